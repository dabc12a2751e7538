-- A few fields of two headers.
local ipq = require "ipq"
return function(pkt)
  local tcp = pkt.tcp
  if tcp and tcp.dport == 23 and pkt.ip.saddr == "10.0.0.1" then return ipq.DROP end
end
