-- The same fields in IPv4 and IPv6.
local ipq = require "ipq"
return function(pkt)
  local ip = pkt.ip or pkt.ip6
  if not ip then return end
  local left = pkt.ip and ip.ttl or ip.hoplimit
  if left < 2 or ip.dscp == 46 and pkt.dport == 5060 and ip.saddr == ip.daddr then return ipq.DROP end
end
