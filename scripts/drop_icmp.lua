-- Drops pings: ICMP and ICMPv6 echo requests of more than max bytes (0, so all of them).
--
--   iptables -A INPUT -p icmp -j NFQUEUE --queue-num 0
--   ipq-lua drop_icmp.lua max=100 verbose=yes
local ipq = require "ipq"

local max = tonumber(ipq.args.max or 0)
local verbose = ipq.args.verbose == "yes"
assert(max, "max must be a number of bytes")
io.stdout:setvbuf "line"

--- The offset of the ICMP header if that is what follows the IP header, and the echo request's type.
local function icmp_of(payload)
  local version = bit.rshift(payload:u8(0), 4)
  if version == 4 and payload:u8(9) == 1 then return bit.band(payload:u8(0), 15) * 4, 8 end
  if version == 6 and payload:u8(6) == 58 then return 40, 128 end
end

return {
  queue = { range = 128 },
  filter = function(pkt)
    local payload = pkt.payload
    if #payload < 20 then return end
    local offset, echo_request = icmp_of(payload)
    if not offset or offset >= #payload or payload:u8(offset) ~= echo_request then return end
    local drop = pkt.len > max
    if verbose then
      print(("ping of %d bytes, sequence %d: %s"):format(pkt.len,
        offset + 8 <= #payload and payload:u16(offset + 6) or -1, drop and "drop" or "accept"))
    end
    if drop then return ipq.DROP end
  end,
}
