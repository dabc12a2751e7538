-- Counters of the script's own.
local ipq = require "ipq"
local tcp, udp, other, bytes = ipq.counter "tcp", ipq.counter "udp", ipq.counter "other", ipq.counter "bytes"
return function(pkt)
  bytes:inc(pkt.len)
  if pkt.tcp then tcp:inc() elseif pkt.udp then udp:inc() else other:inc() end
end
