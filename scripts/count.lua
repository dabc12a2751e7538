-- Counts packets and bytes by protocol and hook, and prints them as JSON when it stops.
--
--   iptables -A FORWARD -j NFQUEUE --queue-num 0
--   ipq-lua count.lua
local cjson = require "cjson"

-- Numbers of the IANA registry that people know by name.
local names = {
  [1] = "icmp", [2] = "igmp", [6] = "tcp", [17] = "udp", [47] = "gre", [50] = "esp", [51] = "ah",
  [58] = "icmpv6", [132] = "sctp", [136] = "udplite",
}

local counts = {}

local function protocol_of(pkt)
  local number = pkt.protocol
  if not number then return "other" end
  return names[number] or "protocol " .. number
end

return {
  queue = { range = 128 },
  filter = function(pkt)
    local hook = pkt.hook_name or "other"
    local by_hook = counts[hook]
    if not by_hook then
      by_hook = {}
      counts[hook] = by_hook
    end
    local protocol = protocol_of(pkt)
    local count = by_hook[protocol]
    if not count then
      count = { packets = 0, bytes = 0 }
      by_hook[protocol] = count
    end
    count.packets = count.packets + 1
    count.bytes = count.bytes + pkt.len
  end,
  stop = function()
    print(cjson.encode(counts))
  end,
}
