-- Holds each packet for some milliseconds, as a slow link would. With jitter each gets a time of its own, that many
-- milliseconds more or less, and packets overtake each other.
--
--   iptables -A OUTPUT -p icmp -j NFQUEUE --queue-num 0
--   ipq-lua delay.lua ms=100 jitter=20
--
-- At most half of --queue-maxlen packets are held at a time; those beyond get the error verdict, as at a link whose
-- queue is full.
local ipq = require "ipq"
ipq.takes { ms = 100, jitter = 0 }

local ms, jitter = ipq.args.ms, ipq.args.jitter
assert(ms >= 0 and ms <= 60000 and jitter >= 0 and jitter <= 60000, "ms and jitter must be from 0 to 60000")

local function let_go(held) held:verdict(ipq.ACCEPT) end

return function(pkt)
  local delay = ms + jitter * (2 * math.random() - 1)
  ipq.after(math.max(delay, 0) / 1000, let_go, pkt:hold())
end
