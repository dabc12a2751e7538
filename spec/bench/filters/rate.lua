-- So many packets a source and second.
local ipq = require "ipq"
local since, count = {}, {}
return function(pkt)
  local saddr = pkt.saddr
  if not saddr then return end
  local now = ipq.now()
  if now - (since[saddr] or 0) >= 1 then
    since[saddr], count[saddr] = now, 1
  else
    count[saddr] = count[saddr] + 1
    if count[saddr] > 1e6 then return ipq.DROP end
  end
end
