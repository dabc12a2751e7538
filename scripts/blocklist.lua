-- Drops packets from, and to, the networks in a file: one a line, as "10.0.0.0/8", "2001:db8::/32" or
-- "192.0.2.1"; what follows a "#" or a ";" is a comment. Hundreds of thousands are no burden.
--
--   iptables -A INPUT -j NFQUEUE --queue-num 0
--   iptables -A OUTPUT -j NFQUEUE --queue-num 0
--   ipq-lua blocklist.lua file=/etc/blocklist.txt
--
-- direction=in looks at sources alone, direction=out at destinations. The file is read when the program
-- starts; one with a bad line does not load.
local ipq = require "ipq"
ipq.takes { direction = "both", file = { type = "file", required = true } }

local directions = { both = true, ["in"] = true, out = true }
local direction = ipq.args.direction
assert(directions[direction], "direction must be in, out or both")
local sources, destinations = direction ~= "out", direction ~= "in"

local blocked = ipq.netset(ipq.args.file)

return {
  -- The IP header, behind two VLAN tags at most.
  queue = { range = 68 },
  filter = function(pkt)
    if sources and blocked:has_saddr(pkt) or destinations and blocked:has_daddr(pkt) then
      return ipq.DROP
    end
  end,
}
