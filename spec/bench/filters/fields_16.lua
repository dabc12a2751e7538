-- Reads 16 fields.
local ipq = require "ipq"
local sum = 0
return function(pkt)
  if not pkt.ip then return end
  sum = sum + pkt.len
    + pkt.ip.ttl
    + pkt.ip.protocol
    + pkt.mark
    + pkt.ip.id
    + pkt.ip.length
    + pkt.hook
    + pkt.queue_num
    + pkt.ip.dscp
    + pkt.ip.ecn
    + pkt.packet_id
    + pkt.data_len
    + pkt.ip.checksum
    + pkt.ip.frag_off
    + pkt.hw_protocol
    + (pkt.sport or 0)
  if sum < 0 then return ipq.DROP end
end
