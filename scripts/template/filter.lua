-- Drops TCP to one port, over IPv4 and IPv6, and what hides its port: a filter to start from.
--
--   iptables -A OUTPUT -p tcp -j NFQUEUE --queue-num 0
--   ipq-lua @NAME@.lua port=23
local ipq = require "ipq"
ipq.takes { port = 23 }

local port = ipq.args.port

return {
  -- It looks at headers alone, so that is all it has the kernel copy of each packet.
  queue = { range = 128 },
  filter = function(pkt)
    if pkt.malformed then return ipq.DROP end
    if pkt.tcp and pkt.tcp.dport == port then return ipq.DROP end
  end,
}
