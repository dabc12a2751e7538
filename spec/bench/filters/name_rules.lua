-- A name as text, and a list of suffixes that is gone through for each.
local ipq = require "ipq"
local suffixes = { "ads.example.com", "tracker.example.net", "doubleclick.example", "metrics.example.org" }
local counts = {}
return function(pkt)
  local udp = pkt.udp
  if not udp or udp.dport ~= 53 then return end
  local p, offset, labels = udp.payload, 12, {}
  while offset < #p do
    local length = p:u8(offset)
    if length == 0 then break end
    labels[#labels + 1] = p:string(offset + 1, length)
    offset = offset + 1 + length
  end
  local name = table.concat(labels, ".")
  counts[name] = (counts[name] or 0) + 1
  for _, suffix in ipairs(suffixes) do
    if name:sub(-#suffix) == suffix then
      pkt.mark = 1
      return ipq.DROP
    end
  end
end
