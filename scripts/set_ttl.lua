-- Sets the TTL of IPv4 packets and the hop limit of IPv6 ones, so that they do not tell how far they came.
--
--   iptables -t mangle -A POSTROUTING -j NFQUEUE --queue-num 0
--   ipq-lua set_ttl.lua ttl=64
local ipq = require "ipq"
ipq.takes { ttl = 64 }

local ttl = ipq.args.ttl
assert(ttl >= 1 and ttl <= 255 and ttl % 1 == 0, "ttl must be a number from 1 to 255")

--- What lives on one link alone is known by its hop limit: neighbour discovery by 255 (RFC 4861), MLD and
--- IGMP by 1 (RFC 3810, RFC 3376). These must keep it.
local function is_of_the_link(pkt)
  local icmpv6 = pkt.icmpv6
  if not icmpv6 then return pkt.protocol == 2 end
  local kind = icmpv6.type
  return kind >= 130 and kind <= 137 or kind == 143
end

return function(pkt)
  if is_of_the_link(pkt) then return end
  local ip = pkt.ip
  if ip then
    if ip.ttl ~= ttl then ip.ttl = ttl end
    return
  end
  local ip6 = pkt.ip6
  if ip6 and ip6.hoplimit ~= ttl then ip6.hoplimit = ttl end
end
