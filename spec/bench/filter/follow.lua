-- Follows flows, and asks each packet for its own.
return { flow = {}, filter = function(pkt) return pkt.flow and 1 or 0 end }
