-- A loop over all bytes of a payload.
local ipq = require "ipq"
return function(pkt)
  local tcp = pkt.tcp
  if not tcp then return end
  local p, sum = tcp.payload, 0
  for i = 0, #p - 1 do sum = sum + p:u8(i) end
  if sum == 1 then return ipq.DROP end
end
