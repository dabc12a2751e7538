-- A list of rules, the first that fits decides.
local ipq = require "ipq"
local rules = {
  { port = 22, verdict = ipq.DROP }, { port = 23, verdict = ipq.DROP }, { port = 25, verdict = ipq.DROP },
  { port = 110, verdict = ipq.DROP }, { port = 143, verdict = ipq.DROP }, { port = 3389, verdict = ipq.DROP },
}
return function(pkt)
  local dport = pkt.dport
  for _, rule in ipairs(rules) do
    if rule.port == dport then return rule.verdict end
  end
end
