-- The same by concatenation.
local counts = {}
return function(pkt)
  if not pkt.ip then return end
  local key = pkt.ip.saddr .. ">" .. pkt.ip.daddr .. ":" .. (pkt.dport or 0)
  counts[key] = (counts[key] or 0) + 1
end
