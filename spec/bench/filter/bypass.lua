-- Takes a connection off the queue when it has seen the first data of it.
local ipq = require "ipq"

return function(pkt)
  if not pkt.tcp or #pkt.tcp.payload > 0 then pkt:bypass() end
  return ipq.ACCEPT
end
