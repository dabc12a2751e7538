-- A closure made for each packet.
local ipq = require "ipq"
local function any(list, test)
  for i = 1, #list do
    if test(list[i]) then return true end
  end
  return false
end
local ports = { 22, 23, 25 }
return function(pkt)
  local dport = pkt.dport
  if any(ports, function(port) return port == dport end) then return ipq.DROP end
end
