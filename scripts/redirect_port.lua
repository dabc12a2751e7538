-- What goes to one port goes to another, and the answers come from the first: a redirection without state.
-- Both directions must be queued.
--
--   iptables -A FORWARD -p tcp -j NFQUEUE --queue-num 0
--   ipq-lua redirect_port.lua from=80 to=8080
local ipq = require "ipq"
ipq.takes("from", "to")

local function port(name)
  local number = tonumber(ipq.args[name])
  assert(not ipq.args[name] or number and number >= 0 and number <= 65535 and number % 1 == 0,
    name .. " must be a number from 0 to 65535")
  return number
end
local from, to = port "from" or 80, port "to" or 8080

return function(pkt)
  if pkt.dport == from then
    pkt.dport = to
  elseif pkt.sport == to then
    pkt.sport = from
  end
end
