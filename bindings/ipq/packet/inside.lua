--- Packets inside of a packet: pkt.inner, what a tunnel carries, and pkt.icmp.inner, what an error quotes.
---
--- A view of one is a handle as that of the packet is, with the offset where it begins in the packet's bytes: the
--- packets are looked for anew each time that a field is read or assigned (lib/packet/inside.c), in memory that is made
--- once. So there is nothing that could be out of date, and a change of the bytes that leaves no packet there ends the
--- view. Its headers' views are those of the packet (header.lua), with the same offset.
local abi = require "ipq.engine.abi"
local buffer = require "ipq.packet.buffer"
local core = require "ipq.core"
local either = require "ipq.packet.either"
local ffi = require "ffi"
local header = require "ipq.packet.header"
local ip = require "ipq.packet.ip"
local live = require "ipq.engine.live"
local own = require "ipq.engine.own"
local spelling = require "ipq.spelling"
local transport = require "ipq.packet.transport"
local error, ipairs, pairs, tostring = error, ipairs, pairs, tostring -- a script may overwrite globals

-- A metatype lasts as long as the Lua state, this module perhaps not (see engine/abi.lua).
if core.inside then return core.inside end

local C = abi.C
local packet_of = live.any_packet_of

local M = {}

--- The packet that this one carries in a tunnel; nil where it carries none that is known here.
function M.inner(p)
  if p.parsed == 0 then C.ipq_header_parse(p) end
  local at = C.ipq_inside_carried(p)
  if at ~= 0 then return (live.view(p, abi.inside_pointer, "inside", at)) end
end

local HEADERS = { "ip", "ip6", "tcp", "udp", "udplite", "icmp", "icmpv6", "sctp", "dccp", "gre", "esp", "ah" }

--- Readers and writers: field name → function(struct ipq_packet *[, value]).
local get = {
  inner = M.inner, malformed = either.malformed, fragment = either.fragment,
  saddr = ip.saddr, daddr = ip.daddr,
  sport = transport.sport, dport = transport.dport, protocol = transport.protocol,
}
local set = {
  saddr = either.set_saddr, daddr = either.set_daddr, sport = either.set_sport, dport = either.set_dport,
}

for _, name in ipairs(HEADERS) do get[name] = ip[name] or transport[name] end

--- The IP packet, so far as it is there.
function get.payload(p) return (buffer.inside(p)) end

--- Whether a part of it is not there: not quoted, or not copied with the packet around it.
function get.truncated(p) return p.data_len < p.len end

local in_header = header.hint(HEADERS)

local function no_field(key, level)
  error(("a packet inside of another one has no field '%s'%s"):format(tostring(key),
    spelling.hint(key, get, in_header)), level + 1)
end

local metamethods = {
  __index = function(view, key)
    local p = packet_of(view)
    local read = get[key]
    if read == nil then no_field(key, 2) end
    return (read(p))
  end,
  __newindex = function(view, key, value)
    local p = packet_of(view)
    local write = set[key]
    if write == nil then
      if get[key] == nil then no_field(key, 2) end
      error(("the field '%s' of a packet inside of another one cannot be assigned%s")
        :format(key, key == "payload" and buffer.HINT or ""), 2)
    end
    write(p, value)
  end,
}
ffi.metatype("struct ipq_view_inside", metamethods)
own.define_view("inside", metamethods)

--- The names of all fields, those that can be assigned mapped to true.
function M.fields()
  local names = {}
  for name in pairs(get) do names[name] = set[name] ~= nil end
  return names
end

core.inside = M
return M
