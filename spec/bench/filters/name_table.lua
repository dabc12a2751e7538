-- A name as text, label by label, and then a table by source with a table for each.
local ipq = require "ipq"
local sources = {}
return function(pkt)
  local udp = pkt.udp
  if not udp or udp.dport ~= 53 then return end
  local p, offset, name = udp.payload, 12, ""
  while offset < #p do
    local length = p:u8(offset)
    if length == 0 then break end
    name = name .. p:string(offset + 1, length):lower() .. "."
    offset = offset + 1 + length
  end
  local saddr = pkt.ip.saddr
  local source = sources[saddr]
  if not source then
    source = { count = 0, names = {}, since = ipq.now() }
    sources[saddr] = source
  end
  source.count = source.count + 1
  if ipq.now() - source.since > 1 then source.since, source.count = ipq.now(), 0 end
  if source.count > 1e9 or name == "bad.example." or pkt.ip.ttl < 2 or pkt.len > 1400 then return ipq.DROP end
  pkt.mark = 7
end
