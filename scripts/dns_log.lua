-- Prints who asks for which name: DNS questions over UDP.
--
--   iptables -A OUTPUT -p udp --dport 53 -j NFQUEUE --queue-num 0
--   ipq-lua dns_log.lua
local ipq = require "ipq"
io.stdout:setvbuf "line"

return {
  -- The first question, behind the longest IP header and two VLAN tags.
  queue = { range = 352 },
  filter = function(pkt)
    local query = pkt.dport == 53 and ipq.dns.parse(pkt)
    if not query or query.qr or not query.name then return end
    print(("%s asks %s for %s %s"):format(pkt.saddr, pkt.daddr, query.type, query.name))
  end,
}
