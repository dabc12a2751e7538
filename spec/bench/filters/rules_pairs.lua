-- A table gone through by pairs.
local ipq = require "ipq"
local ports = { telnet = 23, smtp = 25, pop = 110, imap = 143 }
return function(pkt)
  local dport = pkt.dport
  for _, port in pairs(ports) do
    if port == dport then return ipq.DROP end
  end
end
