-- Rejects TCP by a reset.
local ipq = require "ipq"
return { send = true, filter = function(pkt)
  if pkt.tcp then return ipq.REJECT end
end }
