-- Looks at a few fields of each TCP packet, and drops none of the bench's.
local ipq = require "ipq"

return function(pkt)
  local tcp = pkt.tcp
  if tcp and (tcp.dport == 23 or tcp.syn and tcp.fin) then return ipq.DROP end
  return ipq.ACCEPT
end
