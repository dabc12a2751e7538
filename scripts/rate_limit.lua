-- Lets each source send so many packets, or bytes, a second, and drops the rest: a token bucket for each address, or
-- for each network of so many bits. All queues share the buckets, which a reload and a killed worker leave.
--
--   iptables -A INPUT -p udp --dport 53 -j NFQUEUE --queue-num 0
--   ipq-lua rate_limit.lua rate=100 burst=200
--   ipq-lua rate_limit.lua rate=1000000 unit=bytes prefix4=24 prefix6=56
--
-- burst is what one may send at once: a second's worth where nothing is said. Of more sources than entries (100,000)
-- those that were silent longest are forgotten. Where another worker keeps a bucket for too long the packet passes.
local ipq = require "ipq"
local bit = require "bit"
ipq.takes { rate = { type = "number", required = true }, burst = { type = "number" }, unit = "packets", prefix4 = 32,
  prefix6 = 128, entries = 100000 }

local args = ipq.args
local rate, burst = args.rate, args.burst or math.max(args.rate, 1)
assert(rate > 0, "rate must be above 0")
assert(burst >= 1, "burst must be 1 or more")
assert(args.unit == "packets" or args.unit == "bytes", "unit must be packets or bytes")
local function check(name, least, most)
  local value = args[name]
  assert(value >= least and value <= most and value % 1 == 0,
    ("%s must be a whole number from %d to %d"):format(name, least, most))
end
check("prefix4", 1, 32)
check("prefix6", 1, 128)
check("entries", 1, 1e6)
local counts_bytes = args.unit == "bytes"
assert(not counts_bytes or burst >= 1500, "burst must be 1500 bytes or more: no larger packet would ever pass")

--- What finds the bucket of a packet: its table, the bits of its network, and where in the packet the address lies.
local function buckets(name, bits, most, offset)
  return { table = ipq.shared("rate_limit." .. name, { entries = args.entries }), whole = math.floor(bits / 8),
    is_whole = bits == most, rest = bits % 8, offset = offset }
end
local ip = buckets("ip", args.prefix4, 32, 12)
local ip6 = buckets("ip6", args.prefix6, 128, 8)

local function network_of(payload, of)
  local key = payload:string(of.offset, of.whole)
  if of.rest == 0 then return key end
  return key .. string.char(bit.band(payload:u8(of.offset + of.whole), bit.lshift(0xff, 8 - of.rest)))
end

return {
  queue = { range = 40 },
  filter = function(pkt)
    local of = pkt.ip and ip or pkt.ip6 and ip6
    if not of then return end
    local cost = counts_bytes and pkt.len or 1
    local has
    if of.is_whole then has = of.table:bucket_saddr(pkt, rate, burst, cost)
    else has = of.table:bucket(network_of(pkt.payload, of), rate, burst, cost) end
    if has == false then return ipq.DROP end
  end,
}
