-- A port and an address, which all packets of the bench have: both are looked at each time.
local ipq = require "ipq"

return function(pkt)
  if pkt.udp and pkt.udp.dport == 9 and pkt.saddr == "127.0.0.1" then return ipq.ACCEPT end
  return ipq.DROP
end
