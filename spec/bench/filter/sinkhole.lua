-- Drops DNS queries for the names in a file: names=FILE.
local ipq = require "ipq"
local blocked = ipq.domainset(ipq.args.names)

return function(pkt)
  local query = pkt.dport == 53 and ipq.dns.parse(pkt)
  if query and blocked:has(query) then return ipq.DROP end
end
