-- The same with a numeric for.
local ipq = require "ipq"
local ports = { 22, 23, 25, 110, 143, 3389 }
return function(pkt)
  local dport = pkt.dport
  for i = 1, #ports do
    if ports[i] == dport then return ipq.DROP end
  end
end
