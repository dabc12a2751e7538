-- The same with repeat, and the name made into text.
local ipq = require "ipq"
local blocked = { ["ads.example.com"] = true }
return function(pkt)
  local udp = pkt.udp
  if not udp or udp.dport ~= 53 then return end
  local p, offset, name = udp.payload, 12, nil
  repeat
    local length = p:u8(offset)
    if length > 0 then
      local label = p:string(offset + 1, length)
      name = name and name .. "." .. label or label
      offset = offset + 1 + length
    end
  until length == 0 or offset >= #p
  if blocked[name] then return ipq.DROP end
end
