-- Drops what goes to these TCP and UDP ports, and what is cut so that its port cannot be told.
--
--   iptables -A FORWARD -j NFQUEUE --queue-num 0
--   ipq-lua drop_port.lua ports=23,2323 protocol=tcp
local ipq = require "ipq"
ipq.takes { ports = "23", protocol = { type = "string" } }

local numbers = { tcp = 6, udp = 17 }
local only = ipq.args.protocol and assert(numbers[ipq.args.protocol], "protocol must be tcp or udp")

local dropped = {}
for word in ipq.args.ports:gmatch "[^,]+" do
  local port = tonumber(word)
  assert(port and port >= 0 and port <= 65535 and port % 1 == 0, "ports must be numbers from 0 to 65535")
  dropped[port] = true
end

return {
  queue = { range = 128 },
  filter = function(pkt)
    if pkt.malformed then return ipq.DROP end
    local protocol = pkt.protocol
    if only and protocol ~= only or protocol ~= 6 and protocol ~= 17 then return end
    if dropped[pkt.dport] then return ipq.DROP end
  end,
}
