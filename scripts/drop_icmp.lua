-- Drops pings: ICMP and ICMPv6 echo requests of more than max bytes (0, so all of them), those that come in fragments,
-- which hide how long they are, and what is cut so that it may be one.
--
--   iptables -A INPUT -p icmp -j NFQUEUE --queue-num 0
--   ipq-lua drop_icmp.lua max=100 verbose=yes
local ipq = require "ipq"
ipq.takes { max = 0, verbose = false }

local max, verbose = ipq.args.max, ipq.args.verbose
io.stdout:setvbuf "line"

local ECHO_REQUEST, ECHO_REQUEST6 = 8, 128

--- The ICMP header of an echo request, or nil.
local function echo_request(pkt)
  local icmp = pkt.icmp
  if icmp then return icmp.type == ECHO_REQUEST and icmp or nil end
  local icmpv6 = pkt.icmpv6
  if icmpv6 then return icmpv6.type == ECHO_REQUEST6 and icmpv6 or nil end
end

return {
  queue = { range = 128 },
  filter = function(pkt)
    if pkt.malformed then return ipq.DROP end
    local icmp = echo_request(pkt)
    if not icmp then return end
    local drop = pkt.fragment ~= nil or pkt.len > max
    if verbose then
      print(("ping of %d bytes, sequence %d: %s"):format(pkt.len, icmp.sequence, drop and "drop" or "accept"))
    end
    if drop then return ipq.DROP end
  end,
}
