-- A table by source, and a for loop over a DNS name.
local ipq = require "ipq"
local seen = {}
return function(pkt)
  local udp = pkt.udp
  if not udp or udp.dport ~= 53 then return end
  local saddr = pkt.ip.saddr
  seen[saddr] = (seen[saddr] or 0) + 1
  local p, sum = udp.payload, 0
  for i = 12, #p - 5 do
    local b = p:u8(i)
    if b == 0 then break end
    sum = sum + b
  end
  if sum == 1 or seen[saddr] > 1e9 then return ipq.DROP end
end
