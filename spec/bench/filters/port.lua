-- Drops one port.
local ipq = require "ipq"
return function(pkt)
  if pkt.tcp and pkt.tcp.dport == 23 then return ipq.DROP end
end
