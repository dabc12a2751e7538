-- A search in a payload.
local ipq = require "ipq"
return function(pkt)
  local tcp = pkt.tcp
  if tcp and tcp.payload:find "attack" then return ipq.DROP end
end
