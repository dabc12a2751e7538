-- Holds each packet for some milliseconds, as a slow link would. With jitter each gets a time of its own, that many
-- milliseconds more or less, and packets overtake each other.
--
--   iptables -A OUTPUT -p icmp -j NFQUEUE --queue-num 0
--   ipq-lua delay.lua ms=100 jitter=20
--
-- At most half of --queue-maxlen packets are held at a time; those beyond get the error verdict, as at a link whose
-- queue is full.
local ipq = require "ipq"
ipq.takes("ms", "jitter")

local function milliseconds(name, default)
  local value = tonumber(ipq.args[name] or default)
  assert(value and value >= 0 and value <= 60000, name .. " must be a number of milliseconds, up to 60000")
  return value
end

local ms, jitter = milliseconds("ms", 100), milliseconds("jitter", 0)

local function let_go(held) held:verdict(ipq.ACCEPT) end

return function(pkt)
  local delay = ms + jitter * (2 * math.random() - 1)
  ipq.after(math.max(delay, 0) / 1000, let_go, pkt:hold())
end
