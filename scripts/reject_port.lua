-- Rejects what goes to these TCP and UDP ports: it is dropped, and its sender is told at once, by a reset, or where
-- there is none, as of UDP, by ICMP. What is cut so that its port cannot be told is dropped without a word.
--
--   iptables -A FORWARD -j NFQUEUE --queue-num 0
--   ipq-lua reject_port.lua port=23,2323 kind=admin-prohibited
--
-- kind is one of nft's words: tcp-reset, port-unreachable, host-unreachable, net-unreachable, no-route or
-- admin-prohibited. All but the first are said by ICMP, of TCP, too.
local ipq = require "ipq"
ipq.takes { port = { type = "ports", default = "23" }, kind = "tcp-reset" }

local TCP, UDP = 6, 17

local kind = ipq.reject(ipq.args.kind)
local verdicts = { [TCP] = kind, [UDP] = ipq.args.kind == "tcp-reset" and ipq.REJECT or kind }

local rejected = {}
for _, port in ipairs(ipq.args.port) do rejected[port] = true end

return {
  send = true,
  -- As much as ICMPv6 quotes.
  queue = { range = 1280 },
  filter = function(pkt)
    if pkt.malformed then return ipq.DROP end
    local verdict = verdicts[pkt.protocol]
    if verdict and rejected[pkt.dport] then return verdict end
  end,
}
