-- Reads 4 fields.
local ipq = require "ipq"
local sum = 0
return function(pkt)
  if not pkt.ip then return end
  sum = sum + pkt.len
    + pkt.ip.ttl
    + pkt.ip.protocol
    + pkt.mark
  if sum < 0 then return ipq.DROP end
end
