-- Makes a line bad, in the words of tc's netem: packets come late, get lost, come twice, damaged or in another order.
--
--   iptables -t mangle -A POSTROUTING -o eth0 -j NFQUEUE --queue-num 0
--   ipq-lua --no-gso --queue-maxlen 4096 impair.lua delay=100ms jitter=10ms loss=1% limit=2000
--
-- Words that are not given do nothing. TIME is a number with us, ms or s, RATE one with bit, kbit, mbit, gbit, or bps,
-- kbps, mbps, gbps for bytes, all of them a second.
--
--   delay=TIME         each packet is so late,
--   jitter=TIME        and up to so much more or less, by which packets overtake each other
--   reorder=PERCENT    of the packets go at once, past those that are late;
--   gap=N              at most one in N of them
--   rate=RATE          packets follow each other as on a line that carries so much
--   loss=PERCENT       of them are dropped
--   duplicate=PERCENT  come twice; the second one has a delay, and perhaps a loss, of its own
--   corrupt=PERCENT    have a bit changed behind the IP header, and the checksum stays
--   limit=N            wait at the same time, 500 at most; others are dropped. It is no more than half of
--                      --queue-maxlen
--   seed=N             the same packets have the same fate each time
--
-- --no-gso has the kernel cut large packets before, into those that a line carries. A second packet is sent by this
-- host: it passes OUTPUT and POSTROUTING, wherever the first one was queued, and is not queued again.
local ipq = require "ipq"
ipq.takes {
  delay = "0", jitter = "0", reorder = "0", gap = 0, rate = "0", loss = "0", duplicate = "0", corrupt = "0",
  limit = 500, seed = { type = "number" },
}

local args = ipq.args
local ACCEPT, DROP = ipq.ACCEPT, ipq.DROP
local floor, max, min = math.floor, math.max, math.min

-- tc(8): seconds, bits a second, parts of all
local TIMES = { us = 1e-6, usec = 1e-6, usecs = 1e-6, ms = 1e-3, msec = 1e-3, msecs = 1e-3, s = 1, sec = 1, secs = 1 }
local RATES = {
  bit = 1, kbit = 1e3, mbit = 1e6, gbit = 1e9, kibit = 2 ^ 10, mibit = 2 ^ 20, gibit = 2 ^ 30,
  bps = 8, kbps = 8e3, mbps = 8e6, gbps = 8e9, kibps = 2 ^ 13, mibps = 2 ^ 23, gibps = 2 ^ 33,
}
local PERCENT = { ["%"] = 0.01, [""] = 0.01 }

--- What an argument says, by the units that it may have; 0 needs none.
local function quantity(name, units, most, takes)
  local digits, unit = args[name]:lower():match "^([%d.]+)([%a%%]*)$"
  local number = tonumber(digits)
  local scale = units[unit] or number == 0 and unit == "" and 1
  assert(number and scale and number * scale <= most, ("%s must be %s"):format(name, takes))
  return number * scale
end

local function time(name) return (quantity(name, TIMES, 3600, "a time with its unit, as 100ms, of an hour at most")) end
local function part(name) return (quantity(name, PERCENT, 1, "a percentage from 0% to 100%")) end

local delay, jitter, rate = time "delay", time "jitter", quantity("rate", RATES, 1e15, "a rate with its unit, as 1mbit")
local reorder, gap = part "reorder", args.gap
local loss, duplicate, corrupt = part "loss", part "duplicate", part "corrupt"
assert(rate == 0 or rate >= 1000, "rate must be 1kbit or more")
assert(jitter == 0 or delay > 0, "jitter is how much delay varies, which is missing")
assert(reorder == 0 or delay > 0, "reorder has packets go past those that wait, so delay must be given")
assert(gap == 0 or reorder > 0, "gap is how many packets lie between two that reorder lets go, which is missing")
for _, name in ipairs { "gap", "limit" } do
  assert(args[name] >= 0 and args[name] % 1 == 0, name .. " must be a whole number of packets")
end
local limit = args.limit

-- Numbers between 0 and 1 (Park and Miller, 1988): a seed gives the same ones on every machine.
local MODULUS, FACTOR = 2147483647, 48271

local function chance_seed()
  local file = assert(io.open("/dev/urandom", "rb"))
  local a, b, c = file:read(3):byte(1, 3)
  file:close()
  return a * 65536 + b * 256 + c
end

local state = floor((args.seed or chance_seed()) + ipq.worker) % (MODULUS - 1) + 1

local function random()
  state = state * FACTOR % MODULUS
  return state / MODULUS
end
for _ = 1, 4 do random() end -- those of neighbouring seeds are alike at first

local function happens(probability) return probability > 0 and random() < probability end

local waiting = 0        -- packets whose time has not come
local since = 0          -- packets since the last one that went at once
local free_at = 0        -- when the line has carried all that it was given

--- How many seconds a packet waits.
local function wait_of(pkt)
  if reorder > 0 and since >= gap - 1 and happens(reorder) then
    since = 0
    return 0
  end
  since = since + 1
  local wait = delay
  if jitter > 0 then wait = max(delay + jitter * (2 * random() - 1), 0) end
  if rate == 0 then return wait end
  local now = ipq.monotonic()
  free_at = max(now + wait, free_at) + pkt.len * 8 / rate
  return free_at - now
end

local function let_go(held)
  waiting = waiting - 1
  held:verdict(ACCEPT)
end

local function send(packet)
  waiting = waiting - 1
  ipq.send(packet)
end

--- A second packet like this one.
local function double(pkt)
  if happens(loss) or waiting >= limit then return end
  local wait = wait_of(pkt)
  if wait == 0 then
    ipq.send(pkt)
    return
  end
  local packet = pkt:clone()
  if not packet then return end
  waiting = waiting + 1
  ipq.after(wait, send, packet)
end

--- Changes a bit of what the IP header is followed by, up to the packet's end: not of padding.
local function damage(pkt)
  local ip, ip6, bytes = pkt.ip, pkt.ip6, pkt.payload
  if not (ip or ip6) then return end
  local header = ip and bytes:u8(0) % 16 * 4 or 40
  local size = min(ip and ip.length or 40 + ip6.length, #bytes) - header
  if size <= 0 then return end
  local at = header + floor(random() * size)
  pkt.fix = false
  bytes:set_u8(at, bit.bxor(bytes:u8(at), 2 ^ floor(random() * 8)))
end

return {
  send = duplicate > 0,
  -- Whoever needs no bytes need not have them copied.
  queue = { range = duplicate == 0 and corrupt == 0 and 64 or nil },
  filter = function(pkt)
    local twice, lost = happens(duplicate), happens(loss)
    if lost and not twice then return DROP end
    if twice and not lost then double(pkt) end
    if happens(corrupt) then damage(pkt) end
    if waiting >= limit then return DROP end
    local wait = wait_of(pkt)
    if wait == 0 then return ACCEPT end
    ipq.after(wait, let_go, pkt:hold())
    waiting = waiting + 1
  end,
}
