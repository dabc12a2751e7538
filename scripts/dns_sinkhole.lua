-- Answers DNS queries for the names in a list, and for all below them, in the place of the server: that there is no
-- such name, or with answer=zero the addresses 0.0.0.0 and ::. Prints a line of JSON for each. The list has a name a
-- line, or is one of hosts(5) or of adblock's "||name^"; when its file changes it is read anew, without a reload.
--
--   ipq-lua --rule 'OUTPUT -p udp --dport 53' --rule 'OUTPUT -p tcp --dport 53' --rule 'INPUT -p tcp --sport 53' \
--     dns_sinkhole.lua list=/etc/blocked.txt
--   ipq-lua ... dns_sinkhole.lua list=/etc/blocked.txt answer=zero ttl=300 seconds=60
--
-- On a router FORWARD stands in the place of OUTPUT and INPUT. Over UDP the query is dropped, and answered at once.
-- Over TCP the server is asked for another name, which there is not, and its answer is replaced, so that the connection
-- goes on. What is encrypted (DNS over TLS or HTTPS) is not seen, and queries in fragments of IP are not read.
local ipq = require "ipq"
ipq.takes { list = { type = "file", required = true }, answer = "nxdomain", ttl = 60, seconds = 5 }

local dns, ttl, seconds = ipq.dns, ipq.args.ttl, ipq.args.seconds
assert(ipq.args.answer == "nxdomain" or ipq.args.answer == "zero", "answer must be nxdomain or zero")
assert(ttl >= 0 and ttl < 2 ^ 31 and ttl % 1 == 0, "ttl must be a whole number of seconds, below 2^31")
assert(seconds >= 0.1 and seconds <= 86400, "seconds must be from 0.1 to 86400")

local blocked = ipq.domainset(ipq.args.list)
local sink = ipq.args.answer == "zero" and { A = "0.0.0.0", AAAA = "::", ttl = ttl } or { rcode = "nxdomain" }

ipq.every(seconds, function()
  local refreshed, why = blocked:refresh()
  if refreshed then ipq.log.info(#blocked .. " names") elseif why then ipq.log.error(why) end
end)

--- Whether a query from there is to be answered, which is told.
local function is_blocked(query, saddr)
  if query.qr or not blocked:has(query) then return false end
  ipq.event { time = ipq.now(), saddr = saddr, name = query.name, type = query.type, listed = blocked:match(query) }
  return true
end

return {
  send = true,
  stream = dns.stream { answer = function(query, flow) return is_blocked(query, flow.saddr) and sink or nil end },
  filter = function(pkt)
    local query = pkt.dport == 53 and pkt.udp and dns.parse(pkt)
    if not query or not is_blocked(query, pkt.saddr) then return end
    local bytes = dns.answer(query, sink)
    local answer = bytes and pkt:answer { payload = bytes }
    if answer then ipq.send(answer) end
    return ipq.DROP
  end,
}
