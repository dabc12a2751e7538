-- A key made by string.format, and a counter under it.
local counts = {}
return function(pkt)
  if not pkt.ip then return end
  local key = ("%s:%d"):format(pkt.ip.saddr, pkt.dport or 0)
  counts[key] = (counts[key] or 0) + 1
end
