--- pkt.tcp, pkt.udp and the other transport headers. Fields have nftables' names. A field on which lengths, checksums
--- or other headers hang has to be among the keys of lib/packet/transport.c, too.
local abi = require "ipq.engine.abi"
local bit = require "bit"
local buffer = require "ipq.packet.buffer"
local core = require "ipq.core"
local header = require "ipq.packet.header"
local live = require "ipq.engine.live"
local tcp_options = require "ipq.packet.tcp_options"
local error, ipairs = error, ipairs -- a script may overwrite globals

-- A metatype lasts as long as the Lua state, this module perhaps not (see engine/abi.lua).
if core.transport then return core.transport end

local C = abi.C
local number, flag, computed = header.number, header.flag, header.computed

local M = {}

local payload = computed(function(p) return (buffer.body(p, p.body)) end)

local function at_l4(protocol) return "p.protocol == " .. protocol .. " and p.l4 ~= 0" end

-- TCP: RFC 9293

local open_tcp

local tcp_methods = {}

--- The data of the first option of that kind, as a string; nil where there is none. No-operations and
--- the end of the list are no options.
function tcp_methods:option(wanted)
  local p, h = open_tcp(self)
  return (tcp_options.get(p, h, wanted))
end

--- Gives the first option of that kind this data, a string: in its place where it is as long, else the options are
--- made anew. One that is not there is added behind the others; nil takes those of that kind away.
function tcp_methods:set_option(kind, data)
  local p, h = open_tcp(self)
  tcp_options.set(p, h, kind, data)
end

M.tcp, open_tcp = header.define("tcp", "l4", at_l4(6), {
  sport = number(0, 2),
  dport = number(2, 2),
  sequence = number(4, 4),
  ackseq = number(8, 4),
  doff = number(12, 1, 4, 4),
  flags = number(13, 1),
  cwr = flag(13, 0x80),
  ece = flag(13, 0x40),
  urg = flag(13, 0x20),
  ack = flag(13, 0x10),
  psh = flag(13, 0x08),
  rst = flag(13, 0x04),
  syn = flag(13, 0x02),
  fin = flag(13, 0x01),
  window = number(14, 2),
  checksum = number(16, 2),
  urgptr = number(18, 2),
  options = computed(tcp_options.list, tcp_options.set_all),
  payload = payload,
}, tcp_methods)

-- RFC 768, RFC 3828 (its length field is the checksum's coverage)

M.udp = header.define("udp", "l4", at_l4(17), {
  sport = number(0, 2), dport = number(2, 2), length = number(4, 2), checksum = number(6, 2), payload = payload,
})

M.udplite = header.define("udplite", "l4", at_l4(136), {
  sport = number(0, 2), dport = number(2, 2), csumcov = number(4, 2), checksum = number(6, 2), payload = payload,
})

-- RFC 792, RFC 4443: id and sequence are those of echo messages

--- The packet that an error quotes; nil where there is none.
local function quoted(p)
  local at = C.ipq_inside_quoted(p)
  if at ~= 0 then return (live.view(p, abi.inside_pointer, "inside", at)) end
end

local icmp = {
  type = number(0, 1), code = number(1, 1), checksum = number(2, 2), id = number(4, 2), sequence = number(6, 2),
  inner = computed(quoted), payload = payload,
}
M.icmp = header.define("icmp", "l4", at_l4(1), icmp)
M.icmpv6 = header.define("icmpv6", "l4", at_l4(58), icmp)

-- RFC 9260

M.sctp = header.define("sctp", "l4", at_l4(132), {
  sport = number(0, 2), dport = number(2, 2), vtag = number(4, 4), checksum = number(8, 4), payload = payload,
})

-- RFC 4340 section 5.1

M.dccp = header.define("dccp", "l4", at_l4(33), {
  sport = number(0, 2), dport = number(2, 2), doff = number(4, 1), csumcov = number(5, 1, 0, 4),
  checksum = number(6, 2), type = number(8, 1, 1, 4), payload = payload,
})

-- RFC 2784, RFC 2890

--- The key's offset in the header; nil where there is none.
local function gre_key_at(h)
  if bit.band(h[0], 0x20) ~= 0 then return bit.band(h[0], 0x80) ~= 0 and 8 or 4 end
end

local function gre_key(_, h)
  local o = gre_key_at(h)
  if not o then return nil end
  return h[o] * 0x1000000 + h[o + 1] * 0x10000 + h[o + 2] * 0x100 + h[o + 3]
end

local set_gre_key = {}
for _, o in ipairs { 4, 8 } do set_gre_key[o] = select(2, number(o, 4)("gre.key", "l4", 4)) end

local function write_gre_key(p, h, value)
  local o = gre_key_at(h)
  if not o then error("the packet has no gre.key", 3) end
  set_gre_key[o](p, h, value)
end

M.gre = header.define("gre", "l4", at_l4(47), {
  flags = number(0, 1), version = number(1, 1, 0, 3), protocol = number(2, 2), key = computed(gre_key, write_gre_key),
  payload = payload,
})

-- RFC 4303, RFC 4302

M.esp = header.define("esp", "l4", at_l4(50), { spi = number(0, 4), sequence = number(4, 4), payload = payload })

M.ah = header.define("ah", "ah", "p.ah ~= 0", {
  nexthdr = number(0, 1), hdrlength = number(1, 1), spi = number(4, 4), sequence = number(8, 4),
})

--- The ports of what has ports: at the same place in TCP, UDP, UDP-Lite, SCTP and DCCP.
local has_ports = { [6] = true, [17] = true, [33] = true, [132] = true, [136] = true }

local function port(offset)
  return function(p)
    if p.parsed == 0 then C.ipq_header_parse(p) end
    if p.l4 == 0 or not has_ports[p.protocol] then return nil end
    local h = p.data + p.l4
    return h[offset] * 0x100 + h[offset + 1]
  end
end

M.sport = port(0)
M.dport = port(2)

--- What follows the IP header and its extension headers: IPPROTO_*.
function M.protocol(p)
  if p.parsed == 0 then C.ipq_header_parse(p) end
  if p.ip_version ~= 0 then return p.protocol end
end

core.transport = M
return M
