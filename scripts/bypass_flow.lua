-- Judges the beginning of each TCP flow and has the rest of it pass by the queue: a flow in whose first bytes
-- the word `deny` is found is blocked, any other goes on at the kernel's own speed. What is cut so that the word cannot
-- be looked for is dropped then: fragments, and headers that cannot be told. A word in two segments is not found.
--
--   iptables -A FORWARD -p tcp -m connmark ! --mark 0x40000000/0x40000000 -j NFQUEUE --queue-num 0
--   iptables -t mangle -A POSTROUTING -m mark --mark 0x40000000/0x40000000 -j CONNMARK --or-mark 0x40000000
--   ipq-lua bypass_flow.lua bytes=4096 deny=secret
--
-- 0x40000000 is the bit of pkt:bypass(); --mark-bits chooses another.
local ipq = require "ipq"
ipq.takes { bytes = 4096, deny = { type = "string" } }

local limit = ipq.args.bytes -- of payload, in one of the flow's directions
assert(limit >= 1, "bytes must be a number from 1 up")
local deny = ipq.args.deny

-- Bytes seen in each direction of a flow. Flows that never get so far are forgotten, oldest first.
local MANY = 10000
local young, old, count = {}, {}, 0

local function seen(key) return young[key] or old[key] or 0 end

local function remember(key, bytes)
  if not young[key] then count = count + 1 end
  if count > MANY then young, old, count = {}, young, 1 end
  young[key] = bytes
end

return function(pkt)
  local tcp = pkt.tcp
  if deny and (pkt.malformed or tcp and pkt.fragment) then return ipq.DROP end
  if not tcp then return end
  local payload = tcp.payload
  if deny and payload:find(deny) then return ipq.DROP end
  local key = pkt.saddr .. " " .. tcp.sport .. " " .. pkt.daddr .. " " .. tcp.dport
  -- A new flow may have the ports of an old one.
  local bytes = (tcp.syn and 0 or seen(key)) + #payload
  if bytes < limit then
    remember(key, bytes)
  else
    pkt:bypass()
  end
end
