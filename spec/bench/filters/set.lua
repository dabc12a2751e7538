-- Two sets of networks.
local ipq = require "ipq"
local trusted = ipq.netset { "192.0.2.0/24", "198.51.100.0/24" }
local blocked = ipq.netset { "203.0.113.0/24", "10.99.0.0/16" }
return function(pkt)
  if trusted:has_saddr(pkt) then return ipq.ACCEPT end
  if blocked:has_saddr(pkt) or blocked:has_daddr(pkt) then return ipq.DROP end
end
