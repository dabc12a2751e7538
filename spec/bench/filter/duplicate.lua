-- Sends each packet a second time.
local ipq = require "ipq"
return { send = true, filter = function(pkt)
  ipq.send(pkt)
  return ipq.ACCEPT
end }
