-- The same with while, label by label.
local ipq = require "ipq"
local seen = {}
return function(pkt)
  local udp = pkt.udp
  if not udp or udp.dport ~= 53 then return end
  local saddr = pkt.ip.saddr
  seen[saddr] = (seen[saddr] or 0) + 1
  local p, offset, labels = udp.payload, 12, 0
  while offset < #p do
    local length = p:u8(offset)
    if length == 0 then break end
    labels, offset = labels + 1, offset + 1 + length
  end
  if labels > 20 or seen[saddr] > 1e9 then return ipq.DROP end
end
