-- Answers DNS queries by an address of no use (RFC 1035: the query's name, an A record that lives for a minute).
local ipq = require "ipq"
local FLAGS, RECORD = "\129\128\0\1\0\1\0\0\0\0", "\192\12\0\1\0\1\0\0\0\60\0\4\0\0\0\0"

return { send = true, filter = function(pkt)
  local udp = pkt.udp
  if not udp or udp.dport ~= 53 then return end
  local query = udp.payload
  local size = #query
  if size < 17 then return end
  ipq.send(pkt:answer { payload = query:string(0, 2) .. FLAGS .. query:string(12, size - 12) .. RECORD })
  return ipq.DROP
end }
