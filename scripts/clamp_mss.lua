-- Sets the largest segment that TCP connections announce (MSS) to what the path carries, where it is more: for a
-- tunnel or a PPPoE line on whose way the answers to packets that are too large get lost.
--
--   iptables -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j NFQUEUE --queue-num 0
--   ipq-lua clamp_mss.lua mtu=1420
--
-- mtu is the path's: the MSS is 40 less, and 60 less over IPv6. mss=1300 sets it for both. A SYN that announces none
-- is left alone unless what that stands for, 536 bytes or over IPv6 1220, is more.
local ipq = require "ipq"
ipq.takes { mtu = { type = "number" }, mss = { type = "number" } }

local HEADERS4, HEADERS6 = 40, 60
local DEFAULT4, DEFAULT6 = 536, 1220 -- RFC 9293 section 3.7.1
local MSS = 2 -- the option's kind

local function number(name, least)
  local value = ipq.args[name]
  assert(value >= least and value <= 65535 and value % 1 == 0,
    ("%s must be a number of bytes, %d to 65535"):format(name, least))
  return value
end

assert(ipq.args.mtu or ipq.args.mss, "mtu=BYTES is missing, or mss=BYTES: what the path carries")
assert(not (ipq.args.mtu and ipq.args.mss), "mtu says what mss is: give one of them")
local mss4, mss6
if ipq.args.mtu then
  local mtu = number("mtu", 576)
  mss4, mss6 = mtu - HEADERS4, mtu - HEADERS6
else
  mss4 = number("mss", 64)
  mss6 = mss4
end

local function bytes_of(mss) return string.char(math.floor(mss / 256), mss % 256) end
local bytes4, bytes6 = bytes_of(mss4), bytes_of(mss6)

return function(pkt)
  local tcp = pkt.tcp
  if not (tcp and tcp.syn) then return end
  local is_v6 = pkt.ip6 ~= nil
  local announced = tcp:option(MSS)
  local mss = is_v6 and DEFAULT6 or DEFAULT4
  if announced and #announced == 2 then
    local high, low = announced:byte(1, 2)
    mss = high * 256 + low
  end
  if mss > (is_v6 and mss6 or mss4) then tcp:set_option(MSS, is_v6 and bytes6 or bytes4) end
end
