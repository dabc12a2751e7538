-- One packet in a hundred is held until the next of those.
local ipq = require "ipq"
local count, held = 0, nil
return function(pkt)
  count = count + 1
  if count % 100 == 0 then
    if held then held:verdict(ipq.ACCEPT) end
    held = pkt:hold()
  end
end
