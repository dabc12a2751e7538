--- Packets as a filter sees them: fields by name, good until the filter returns.
---
--- The room of views. A view is a number in a pointer's bits (ipq_handle_bits in lib/ipq_abi.h); live.lua says whether
--- it is still good, and what packet it is of. Fields are tables of functions: here those of the packet itself, in
--- link.lua, arp.lua, ip.lua and transport.lua those of its headers, which header.lua generates. inside.lua is for
--- packets inside of it, own.lua for those of a script's own, either.lua for what is the same in several headers,
--- buffer.lua for bytes, address.lua for addresses as text, number.lua for what fits into a field, tcp_options.lua for
--- lists in a header; record.lua tells what became of a packet.
--- Reading a field allocates nothing but what it gives; writing goes through lib/packet's rewriting, always, but that
--- of the link header, which is no part of the packet.
local abi = require "ipq.engine.abi"
local address = require "ipq.packet.address"
local arp = require "ipq.packet.arp"
local buffer = require "ipq.packet.buffer"
local core = require "ipq.core"
local either = require "ipq.packet.either"
local ffi = require "ffi"
local flow = require "ipq.packet.flow"
local bit = require "bit"
local ip = require "ipq.packet.ip"
local header = require "ipq.packet.header"
local held = require "ipq.engine.held"
local link = require "ipq.packet.link"
local inside = require "ipq.packet.inside"
local live = require "ipq.engine.live"
local numbers = require "ipq.packet.number"
local memory = require "ipq.engine.own"
local own = require "ipq.packet.own"
local sending = require "ipq.engine.send"
local setting = require "ipq.engine.setting"
local spelling = require "ipq.spelling"
local transport = require "ipq.packet.transport"
-- A script may overwrite globals.
local error, ipairs, pairs, tonumber, tostring, type = error, ipairs, pairs, tonumber, tostring, type

-- A metatype lasts as long as the Lua state, this module perhaps not (see engine/abi.lua).
if core.packet then return core.packet end

local C, E, cast, devices = abi.C, ffi.C, ffi.cast, abi.devices
local packet_of, whole_packet_of = live.packet_of, live.whole_packet_of
local band, bor, concat = bit.band, bit.bor, table.concat

--- Readers and writers of the fields: field name → function(struct ipq_packet *[, value]).
local get, set = {}, {}

--- A field that is p[member] where the packet has what the bit says, else nil.
local function optional(name, member, has)
  get[name] = function(p)
    if band(p.present, has) ~= 0 then return p[member] end
  end
end

--- A field that is always there.
local function always(name)
  get[name] = function(p) return p[name] end
end

always "packet_id"
always "queue_num"
always "hook"
always "hw_protocol"
always "data_len"

-- NF_INET_* of linux/netfilter.h
local hook_names = {
  [0] = "prerouting", [1] = "input", [2] = "forward", [3] = "output", [4] = "postrouting",
}

function get.hook_name(p) return hook_names[p.hook] end

-- NFPROTO_* of linux/netfilter.h
local family_names = {
  [0] = "unspec", [1] = "inet", [2] = "ip", [3] = "arp", [5] = "netdev", [7] = "bridge", [10] = "ip6",
}

function get.family(p) return family_names[p.family] end

--- Bytes on the wire; nil where only metadata was copied, for then the kernel does not tell.
function get.len(p)
  if band(p.present, bor(E.IPQ_HAS_PAYLOAD, E.IPQ_HAS_CAP_LEN)) ~= 0 then return p.len end
end

--- Whether the copy lacks a part of the packet.
function get.truncated(p)
  return band(p.present, E.IPQ_HAS_PAYLOAD) == 0 or p.data_len < p.len
end

function get.payload(p)
  if band(p.present, E.IPQ_HAS_PAYLOAD) ~= 0 then return (buffer.new(p, 0)) end
end

function get.timestamp_sec(p)
  if band(p.present, E.IPQ_HAS_TIMESTAMP) ~= 0 then return (tonumber(p.timestamp_sec)) end
end

function get.timestamp_usec(p)
  if band(p.present, E.IPQ_HAS_TIMESTAMP) ~= 0 then return (tonumber(p.timestamp_usec)) end
end

function get.timestamp(p)
  if band(p.present, E.IPQ_HAS_TIMESTAMP) ~= 0 then
    return tonumber(p.timestamp_sec) + tonumber(p.timestamp_usec) / 1e6
  end
end

optional("uid", "uid", E.IPQ_HAS_UID)
optional("gid", "gid", E.IPQ_HAS_GID)

-- Interfaces

--- What this machine knows of an interface; nil where it has none of that index. The indexes in a capture are those of
--- the machine that captured it.
local function device(index)
  if live.is_capture then return nil end
  local found = C.ipq_device_get(devices, index)
  if found.name[0] ~= 0 then return found end
end

local function device_name(index)
  local found = device(index)
  if found then return (ffi.string(found.name)) end
end

for _, name in ipairs { "indev", "outdev", "physindev", "physoutdev" } do
  local has = E["IPQ_HAS_" .. name:upper()]
  optional(name, name, has)
  get[name .. "_name"] = function(p)
    if band(p.present, has) ~= 0 then return (device_name(p[name])) end
  end
end

--- ARPHRD_* of the input device, which the kernel's message lacks.
function get.hw_type(p)
  if band(p.present, E.IPQ_HAS_INDEV) == 0 then return nil end
  local found = device(p.indev)
  if found then return found.type end
end

function get.hw_addr(p)
  if band(p.present, E.IPQ_HAS_HWADDR) == 0 then return nil end
  local a = p.hw_addr
  if p.hw_addrlen == 6 then return (address.ether(a)) end
  local digits = {}
  for i = 1, p.hw_addrlen do digits[i] = ("%02x"):format(a[i - 1]) end
  return (concat(digits, ":"))
end

optional("vlan_proto", "vlan_proto", E.IPQ_HAS_VLAN)
optional("vlan_tci", "vlan_tci", E.IPQ_HAS_VLAN)

--- The link layer header's bytes (bridge family, and captures).
function get.l2hdr(p)
  if band(p.present, E.IPQ_HAS_L2HDR) ~= 0 then return (ffi.string(p.l2hdr, p.l2hdr_len)) end
end

--- The security context, without the 0 byte that some security modules end it with.
function get.secctx(p)
  if band(p.present, E.IPQ_HAS_SECCTX) ~= 0 then
    return (ffi.string(p.secctx, p.secctx_len):gsub("%z$", ""))
  end
end

--- What the rule says that logged the packet (NFLOG).
function get.prefix(p)
  if p.prefix ~= nil then return (ffi.string(p.prefix, p.prefix_len)) end
end

-- NFQA_SKB_INFO

function get.gso(p) return band(p.present, E.IPQ_HAS_SKB_INFO) ~= 0
  and band(p.skb_info, E.IPQ_SKB_GSO) ~= 0 end

--- Whether the bytes already hold their checksums.
function get.csum_ready(p) return band(p.present, E.IPQ_HAS_SKB_INFO) == 0
  or band(p.skb_info, E.IPQ_SKB_CSUMNOTREADY) == 0 end

--- Whether somebody before us has found the checksums right.
function get.csum_verified(p) return band(p.present, E.IPQ_HAS_SKB_INFO) == 0
  or band(p.skb_info, E.IPQ_SKB_CSUM_NOTVERIFIED) == 0 end

-- Conntrack

-- enum ip_conntrack_info of linux/netfilter/nf_conntrack_common.h, in nftables' words
local ct_states = {
  [0] = "established", [1] = "related", [2] = "new", [3] = "established", [4] = "related",
  [5] = "new", [7] = "untracked",
}
local CT_IS_REPLY, CT_REPLY_LAST = 3, 5

local conntrack = ffi.new "struct ipq_conntrack"
local ct_fields = {
  id = E.IPQ_CT_HAS_ID, mark = E.IPQ_CT_HAS_MARK, status = E.IPQ_CT_HAS_STATUS,
  zone = E.IPQ_CT_HAS_ZONE, timeout = E.IPQ_CT_HAS_TIMEOUT,
}

--- Who sends to whom, in one direction of a connection; nil where the kernel does not tell.
local function tuple_of(tuple)
  local text = tuple.ip_version == 4 and address.ip or tuple.ip_version == 6 and address.ip6
  if not text then return nil end
  local has_ports = tuple.sport ~= 0 or tuple.dport ~= 0
  return {
    saddr = text(tuple.saddr), daddr = text(tuple.daddr), protocol = tuple.protocol,
    sport = has_ports and tuple.sport or nil, dport = has_ports and tuple.dport or nil,
  }
end

--- A table of its own for each call: read it once.
function get.ct(p)
  if C.ipq_conntrack_parse(p, conntrack) ~= 0 then return nil end
  local ct = {}
  for name, has in pairs(ct_fields) do
    if band(conntrack.has, has) ~= 0 then ct[name] = conntrack[name] end
  end
  ct.original, ct.reply = tuple_of(conntrack.original), tuple_of(conntrack.reply)
  if band(p.present, E.IPQ_HAS_CT_INFO) ~= 0 then
    ct.state = ct_states[p.ct_info]
    local reply = p.ct_info >= CT_IS_REPLY and p.ct_info <= CT_REPLY_LAST
    ct.direction = reply and "reply" or "original"
  end
  return ct
end

-- Headers

get.malformed, get.fragment = either.malformed, either.fragment
get.ether, get.vlan, set.vlan, get.arp = link.ether, link.vlan, link.set_vlan, arp.arp
get.ip, get.ip6 = ip.ip, ip.ip6
for _, name in ipairs { "tcp", "udp", "udplite", "icmp", "icmpv6", "sctp", "dccp", "gre", "esp", "ah" } do
  get[name] = transport[name]
end

--- The flow that it is of.
get.flow = flow.flow

--- The packet that this one carries in a tunnel.
get.inner = inside.inner

-- The same without asking which header it is
get.saddr, get.daddr = ip.saddr, ip.daddr
get.sport, get.dport, get.protocol = transport.sport, transport.dport, transport.protocol

set.saddr, set.daddr, set.sport, set.dport = either.set_saddr, either.set_daddr, either.set_sport, either.set_dport

-- What a filter may assign

--- Whether lengths and checksums are made right when the filter has returned.
function get.fix(p) return p.fix ~= 0 end
function set.fix(p, value)
  if type(value) ~= "boolean" then error("fix must be true or false", 3) end
  p.fix = value and 1 or 0
end

local LEAST32, MOST32 = numbers.LEAST32, numbers.MOST32

--- The value without a sign, which C would have to be asked for.
local function u32(name, value)
  if type(value) ~= "number" or not (value >= LEAST32 and value <= MOST32) or value % 1 ~= 0 then
    error(numbers.refusal(name, MOST32), 4)
  end
  if value < 0 then return value + 4294967296 end
  return value
end

--- A packet without a mark has mark 0: the kernel does not tell them apart.
always "mark"
function set.mark(p, value)
  p.mark = u32("mark", value)
  p.set = bor(p.set, E.IPQ_SET_MARK)
end

--- skb->priority; nil where it is 0, and with kernels before 5.18.
function get.priority(p)
  if bor(band(p.present, E.IPQ_HAS_PRIORITY), band(p.set, E.IPQ_SET_PRIORITY)) ~= 0 then
    return p.priority
  end
end
function set.priority(p, value)
  p.priority = u32("priority", value)
  p.set = bor(p.set, E.IPQ_SET_PRIORITY)
end

-- The view

local methods = {}

-- Those that a script's own packets have, too; the others of these are in own.lua.
local shared = {}

--- The packet's bytes as they are now, as a string that outlives the call.
---@return string
function shared:copy()
  local p = whole_packet_of(self)
  return (ffi.string(p.data, p.data_len))
end

--- A packet of the script's own, as this one is now, whole and with right lengths and checksums; nil and why there can
--- be none.
---@return ipq.OwnPacket? packet
---@return string? message
function shared:clone()
  local packet, why = own.clone(whole_packet_of(self))
  return packet, why
end

--- What the receiver of this packet says to its sender, a packet of the script's own, with these fields; nil and why
--- there is no such answer.
---@param fields table<string, any>
---@return ipq.OwnPacket? packet
---@return string? message
function shared:answer(fields)
  whole_packet_of(self) -- raises where there is none, before anything is said of the fields
  local packet, why = own.answer(whole_packet_of, self, fields, 2)
  return packet, why
end

--- Asks the rules to queue no more of this packet's flow: sets ipq.BYPASS_MARK beside what else is in the
--- mark, for a rule to save in the connection's mark. The packet itself gets its verdict as ever.
function methods:bypass()
  local p = packet_of(self)
  -- An addition: bit.bor() of a mark above 2^31 is negative.
  local bypass_mark = setting.bypass_mark
  if band(p.mark, bypass_mark) == 0 then p.mark = p.mark + bypass_mark end
  p.set = bor(p.set, E.IPQ_SET_MARK)
end

--- Resets both ends of the packet's TCP connection, behind the verdicts of its batch. The packet itself is to be
--- dropped: return ipq.DROP.
---@return boolean? sent nil where there is nothing to reset
---@return string? why
function methods:reset()
  local sent, why = sending.reset(packet_of(self))
  return sent, why
end

--- Holds the packet: what the filter returns is ignored, and the packet waits for held:verdict().
---@return ipq.Held held
function methods:hold() return (held.hold(packet_of(self), 2)) end

local summary = ffi.new("char[?]", E.IPQ_SUMMARY_SIZE)

local in_header = header.hint { "ip", "ip6", "tcp", "udp", "udplite", "icmp", "icmpv6", "sctp", "dccp", "gre", "esp",
  "ah", "arp", "ether" }

--- How packets of a kind are read and written: by these methods and all fields. The noun is for messages; open() gives
--- the struct ipq_packet, or raises at the script's line.
local function metamethods(noun, open, more)
  local of_kind, names = {}, {}
  for _, list in ipairs { shared, more } do
    for name, method in pairs(list) do of_kind[name] = method end
  end
  for _, list in ipairs { get, of_kind } do
    for name in pairs(list) do names[name] = true end
  end

  local function no_field(key, level)
    error(("%s has no field '%s'%s"):format(noun, tostring(key), spelling.hint(key, names, in_header)), level + 1)
  end

  return {
    __index = function(packet, key)
      local p = open(packet)
      local read = get[key]
      if read ~= nil then return (read(p)) end
      local method = of_kind[key]
      if method == nil then no_field(key, 2) end
      return method
    end,
    __newindex = function(packet, key, value)
      local p = open(packet)
      local write = set[key]
      if write == nil then
        if get[key] == nil then no_field(key, 2) end
        error(("a packet's field '%s' cannot be assigned%s"):format(key, key == "payload" and buffer.HINT or ""), 2)
      end
      write(p, value)
    end,
    __tostring = function(packet) return (ffi.string(summary, C.ipq_packet_summary(open(packet), summary))) end,
  }
end

ffi.metatype("struct ipq_view", metamethods("a packet", packet_of, methods))
memory.define_packet(metamethods("a packet of the script's own", whole_packet_of, own.methods))

local M = {}

--- Makes p (struct ipq_packet *) the packet whose filter runs; the view is good until live.close().
---@return ipq.Packet
function M.begin(p) return (cast(abi.view_pointer, live.begin(p))) end

--- The view of the packet whose filter runs.
function M.live_view() return (live.live_view(abi.view_pointer)) end

--- The names of all fields, those that can be assigned mapped to true.
function M.fields()
  local names = {}
  for name in pairs(get) do names[name] = set[name] ~= nil end
  return names
end

M.header_fields = header.fields

core.packet = M
return M
