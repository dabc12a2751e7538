-- What goes to one port goes to another, and the answers come from the first: a redirection without state.
-- Both directions must be queued.
--
--   iptables -A FORWARD -p tcp -j NFQUEUE --queue-num 0
--   ipq-lua redirect_port.lua from=80 to=8080
local ipq = require "ipq"
ipq.takes { from = 80, to = 8080 }

local from, to = ipq.args.from, ipq.args.to
for _, port in ipairs { from, to } do
  assert(port >= 0 and port <= 65535 and port % 1 == 0, "from and to must be ports, 0 to 65535")
end

return function(pkt)
  if pkt.dport == from then
    pkt.dport = to
  elseif pkt.sport == to then
    pkt.sport = from
  end
end
