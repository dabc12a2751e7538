-- A pattern on the payload's text.
local ipq = require "ipq"
return function(pkt)
  local tcp = pkt.tcp
  if not tcp or #tcp.payload == 0 then return end
  local host = tcp.payload:string():match "Host: (%S+)"
  if host == "blocked.example.com" then return ipq.DROP end
end
