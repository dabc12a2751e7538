-- An option of TCP, by its number.
local ipq = require "ipq"
return function(pkt)
  local tcp = pkt.tcp
  if tcp and tcp.syn and tcp:option(2) == "\2\24" then return ipq.DROP end
end
