-- Raises for one packet in a hundred.
local count = 0
return function(pkt)
  count = count + 1
  if count % 100 == 0 then error "now and then" end
  pkt.mark = 1
end
