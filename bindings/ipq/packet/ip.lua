--- pkt.ip and pkt.ip6: RFC 791, RFC 8200. Fields have nftables' names.
local abi = require "ipq.engine.abi"
local bit = require "bit"
local core = require "ipq.core"
local ffi = require "ffi"
local header = require "ipq.packet.header"
local text = require "ipq.packet.address"
local error, type = error, type -- a script may overwrite globals

-- A metatype lasts as long as the Lua state, this module perhaps not (see engine/abi.lua).
if core.ip then return core.ip end

local C = abi.C
local number, flag, address, computed = header.number, header.flag, header.address, header.computed

local M = {}

local function set_options(p, h, value)
  header.put_options(p, "ip.options", p.l3, bit.band(h[0], 15) * 4 - 20, value, 0, false, 3)
end

--- The options' bytes, "" where there are none.
local function options(_, h)
  local length = bit.band(h[0], 15) * 4
  return (ffi.string(h + 20, length - 20))
end

M.ip = header.define("ip", "l3", "p.ip_version == 4", {
  dscp = number(1, 1, 2, 6),
  ecn = number(1, 1, 0, 2),
  length = number(2, 2),
  id = number(4, 2),
  df = flag(6, 0x40),
  mf = flag(6, 0x20),
  frag_off = number(6, 2, 0, 13), -- in units of 8 bytes
  ttl = number(8, 1),
  protocol = number(9, 1),
  checksum = number(10, 2),
  saddr = address(12, 4),
  daddr = address(16, 4),
  options = computed(options, set_options),
})

-- The numbers of extension headers (RFC 8200), and of the Mobility Header, which ends a chain (RFC 6275).
local FRAGMENT, AH, MOBILITY = 44, 51, 135
local is_header = { [0] = true, [43] = true, [44] = true, [51] = true, [60] = true, [MOBILITY] = true }

local open6

local methods = {}

--- The bytes of the first extension header of kind n (0 hop-by-hop, 43 routing, 44 fragment, 51 AH,
--- 60 destination, 135 mobility); nil where there is none.
function methods:exthdr(n)
  if type(n) ~= "number" or not is_header[n] then
    error("exthdr() takes 0, 43, 44, 51, 60 or 135: the number of an extension header", 2)
  end
  local p = open6(self)
  local kind, offset = p.data[p.l3 + 6], p.l3 + 40
  while is_header[kind] and offset + 8 <= p["end"] do
    local b = p.data + offset
    local length = kind == FRAGMENT and 8 or kind == AH and (b[1] + 2) * 4 or (b[1] + 1) * 8
    if offset + length > p["end"] then return nil end
    if kind == n then return (ffi.string(b, length)) end
    if kind == MOBILITY then return nil end
    kind, offset = b[0], offset + length
  end
end

M.ip6, open6 = header.define("ip6", "l3", "p.ip_version == 6", {
  dscp = number(0, 2, 6, 6),
  ecn = number(0, 2, 4, 2),
  flowlabel = number(0, 4, 0, 20),
  length = number(4, 2),
  nexthdr = number(6, 1),
  hoplimit = number(7, 1),
  saddr = address(8, 6),
  daddr = address(24, 6),
}, methods)

--- An address of either version, by the offsets in both headers; nil where the packet is neither.
local function either(offset4, offset6)
  local ip, ip6 = text.ip, text.ip6
  return function(p)
    if p.parsed == 0 then C.ipq_header_parse(p) end
    if p.ip_version == 4 then return (ip(p.data + p.l3 + offset4)) end
    if p.ip_version == 6 then return (ip6(p.data + p.l3 + offset6)) end
  end
end

M.saddr = either(12, 8)
M.daddr = either(16, 24)

core.ip = M
return M
