-- Drops DNS queries for the names in a file: names=FILE.
local ipq = require "ipq"
local blocked = {}
for name in io.lines(ipq.args.names) do blocked[name] = true end

return function(pkt)
  local udp = pkt.udp
  if not udp or udp.dport ~= 53 then return end
  local p, at, name = udp.payload, 12, nil
  local size = #p
  while at < size do
    local length = p:u8(at)
    if length == 0 then break end
    if length > 63 or at + 1 + length > size then return end
    local label = p:string(at + 1, length)
    name = name and name .. "." .. label or label
    at = at + 1 + length
  end
  if name and blocked[name] then return ipq.DROP end
end
