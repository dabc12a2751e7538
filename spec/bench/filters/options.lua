-- A loop over TCP's options.
local ipq = require "ipq"
return function(pkt)
  local tcp = pkt.tcp
  if not tcp or not tcp.syn then return end
  local p, offset = pkt.payload, 40
  local stop = 20 + tcp.doff * 4
  while offset < stop do
    local kind = p:u8(offset)
    if kind == 0 then break end
    if kind == 1 then
      offset = offset + 1
    else
      if kind == 2 and p:u16(offset + 2) < 500 then return ipq.DROP end
      offset = offset + math.max(p:u8(offset + 1), 2)
    end
  end
end
