-- Changes what DNS servers answer to who asks for the addresses of one name: to these addresses, over UDP and TCP. A
-- family of which none is given has none. Other questions for the name pass, and so do the other sections of an answer.
--
--   ipq-lua --rule 'INPUT -p udp --sport 53' --rule 'INPUT -p tcp --sport 53' --rule 'OUTPUT -p tcp --dport 53' \
--     dns_rewrite.lua name=www.example.org A=192.0.2.1,192.0.2.2
--   ipq-lua ... dns_rewrite.lua name=www.example.org A=192.0.2.1 AAAA=2001:db8::1 ttl=60
--
-- On a router FORWARD stands in the place of INPUT and OUTPUT. An answer's signatures would not fit any more: who looks
-- at them (DNSSEC) takes it for forged. What is encrypted, or in fragments of IP, passes as it is.
local ipq = require "ipq"
ipq.takes { name = { type = "string", required = true }, A = "", AAAA = "", ttl = 60 }

local dns, ttl = ipq.dns, ipq.args.ttl
local name = ipq.domainset({ ipq.args.name }):match(ipq.args.name)
assert(ipq.args.A ~= "" or ipq.args.AAAA ~= "", "A or AAAA must be addresses, as A=192.0.2.1")
assert(ttl >= 0 and ttl < 2 ^ 31 and ttl % 1 == 0, "ttl must be a whole number of seconds, below 2^31")

--- What is given for a message: its answers, and that nobody has looked at their signatures. By the question's type.
local given = {}
for _, kind in ipairs { "A", "AAAA" } do
  local answers = {}
  for address in ipq.args[kind]:gmatch "[^,]+" do
    answers[#answers + 1] = { name = name, type = kind, ttl = ttl, data = address }
  end
  assert(pcall(dns.build, { answers = answers }), kind .. " must be addresses of that kind, as A=192.0.2.1,192.0.2.2")
  given[kind] = { answers = answers, rcode = "noerror", ad = false }
end

local function fields_for(message)
  if message.qr and message.name == name and message.class == 1 then return given[message.type] end
end

return {
  send = true,
  stream = dns.stream { rewrite = fields_for },
  filter = function(pkt)
    local message = pkt.sport == 53 and pkt.udp and not pkt.fragment and dns.parse(pkt)
    local fields = message and fields_for(message)
    local bytes = fields and dns.rewrite(message, fields)
    if bytes then pkt.udp.payload:replace(0, #pkt.udp.payload, bytes) end
  end,
}
