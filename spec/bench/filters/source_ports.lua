-- Ports that each source has asked for, gone through to see how many there are: a scan.
local ipq = require "ipq"
local sources = {}
return function(pkt)
  local saddr, dport = pkt.saddr, pkt.dport
  if not dport then return end
  local ports = sources[saddr]
  if not ports then
    ports = {}
    sources[saddr] = ports
  end
  local known, count = false, #ports
  for i = 1, count do
    if ports[i] == dport then known = true break end
  end
  if not known and count < 16 then ports[count + 1] = dport end
  if count > 15 and pkt.tcp and pkt.tcp.syn then return ipq.DROP end
end
