-- Keeps who scans: a connection to a TCP port that nobody uses is answered, and then its window stays shut, so that its
-- sender waits and asks whether it has opened. Other connections, those from here too, pass as they are.
--
--   iptables -A INPUT -p tcp -j NFQUEUE --queue-num 0
--   ipq-lua transparent_tarpit.lua used=22,80,443
--   ipq-lua transparent_tarpit.lua used=22,8000-8100 seconds=86400
--
-- used says which ports are in use: nothing is done to connections to them. A connection that is silent for so many
-- seconds (1800) is forgotten. Nothing is kept of one but its flow's record.
local ipq = require "ipq"
ipq.takes { used = { type = "ports", required = true }, seconds = 1800 }

assert(ipq.args.seconds >= 1, "seconds must be 1 or more")
local used = {}
for _, port in ipairs(ipq.args.used) do used[port] = true end

local function say(pkt, fields)
  local answer = pkt:answer(fields)
  if answer then ipq.send(answer) end
  return ipq.DROP
end

return {
  send = true,
  queue = { range = 128 },
  -- What is acknowledged of one that is kept, + 1: nothing but its SYN.
  flow = { fields = { "kept" }, timeout = { tcp = ipq.args.seconds, tcp_opening = ipq.args.seconds } },
  filter = function(pkt)
    local tcp, flow = pkt.tcp, pkt.flow
    if not tcp or not flow or flow.is_related then return end
    if tcp.syn and not tcp.ack and not used[tcp.dport] and flow.direction == "original" then
      flow.kept = ipq.seq.add(tcp.sequence, 1) + 1
      return say(pkt, { syn = true, ack = true, sequence = tcp.sequence, ackseq = flow.kept - 1, window = 0 })
    end
    if flow.kept == 0 or flow.direction ~= "original" then return end
    if tcp.rst or not tcp.ack then return ipq.DROP end
    -- The end of its greeting needs no answer; a segment or a question does.
    if #tcp.payload == 0 and not tcp.fin and tcp.sequence == flow.kept - 1 then return ipq.DROP end
    return say(pkt, { ack = true, sequence = tcp.ackseq, ackseq = flow.kept - 1, window = 0 })
  end,
}
