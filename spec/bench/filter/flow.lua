-- Follows flows, and asks a token bucket of each source that no packet empties.
local ipq = require "ipq"
local limit = ipq.shared("limit", { entries = 1000 })

return { flow = { fields = { "seen" }, timeout = { udp = 600 } }, filter = function(pkt)
  local flow = pkt.flow
  if not flow then return ipq.DROP end
  flow.seen = flow.seen + 1
  if not limit:bucket_saddr(pkt, 1e9, 1e6) then return ipq.DROP end
  return ipq.ACCEPT
end }
