--- pkt.ether and pkt.vlan: what the link layer says of a packet. Of a capture its header can be changed; the kernel
--- takes none back. An Ethernet header and those of Linux cooked captures (LINKTYPE_LINUX_SLL, LINKTYPE_LINUX_SLL2) are
--- known here; VLAN tags are those of IEEE 802.1Q.
local address = require "ipq.packet.address"
local bit = require "bit"
local core = require "ipq.core"
local ffi = require "ffi"
local header = require "ipq.packet.header"
local numbers = require "ipq.packet.number"
local spelling = require "ipq.spelling"
-- A script may overwrite globals.
local error, floor, min, pairs = error, math.floor, math.min, pairs
local tostring, type = tostring, type

-- A metatype lasts as long as the Lua state, this module perhaps not (see engine/abi.lua).
if core.link then return core.link end

local E = ffi.C
local band, bor, bnot, rshift, lshift = bit.band, bit.bor, bit.bnot, bit.rshift, bit.lshift
local HAS_L2HDR, HAS_VLAN, SET_LINK = E.IPQ_HAS_L2HDR, E.IPQ_HAS_VLAN, E.IPQ_SET_LINK
local ETHER, SLL, SLL2 = E.IPQ_LINK_ETHER, E.IPQ_LINK_SLL, E.IPQ_LINK_SLL2
local BRIDGE = 7 -- NFPROTO_BRIDGE
local ADDRESS, TAG = 6, 4 -- bytes

-- By what the header is: where the sender's address is, where the type of what follows, and how long it is. Tags lie
-- behind it, in which the next type follows a tag's own two bytes.
local source_at = { [ETHER] = 6, [SLL] = 6, [SLL2] = 12 }
local type_at = { [ETHER] = 12, [SLL] = 14, [SLL2] = 0 }
local length_of = { [ETHER] = 14, [SLL] = 16, [SLL2] = 20 }

local CAPTURES_ALONE = "cannot be assigned: the kernel takes no link header back, but that of a capture can be changed"

local scratch = ffi.new "uint8_t[16]"
-- What follows a header without tags, until it is put there.
local TAIL = 512
local tail = ffi.new("uint8_t[?]", TAIL)

local M = {}

local function u16(h, at) return h[at] * 0x100 + h[at + 1] end

local function put16(h, at, n)
  h[at] = rshift(n, 8)
  h[at + 1] = band(n, 255)
end

--- Whether the packet has a link header that is known here.
local function is_known(p)
  if band(p.present, HAS_L2HDR) == 0 then return false end
  local length = length_of[p.link]
  return length ~= nil and p.l2hdr_len >= length
end

--- Whether there is an Ethernet address in it. Those of other devices have other lengths.
local function has_ether(p)
  if not is_known(p) then return false end
  local h, link = p.l2hdr, p.link
  if link == SLL then return u16(h, 4) == ADDRESS end
  return link == ETHER or h[11] == ADDRESS
end

--- Whether tag's type is that of a VLAN tag.
local function is_tag(kind) return kind == 0x8100 or kind == 0x88a8 or kind == 0x9100 end

--- The type behind tags, and where what follows them begins, among the len bytes at h, of which those from at on are
--- of that type. Adds the tags to the list, where there is one.
local function behind_tags(h, at, len, kind, list)
  while is_tag(kind) and at + TAG <= len do
    local tci = u16(h, at)
    if list then
      list[#list + 1] = { proto = kind, id = band(tci, 0xfff), pcp = rshift(tci, 13), dei = band(tci, 0x1000) ~= 0 }
    end
    kind = u16(h, at + 2)
    at = at + TAG
  end
  return kind, at
end

--- The same in a link header.
local function in_header(p, list)
  local link = p.link
  local kind, at = behind_tags(p.l2hdr, length_of[link], p.l2hdr_len, u16(p.l2hdr, type_at[link]), list)
  return kind, at
end

--- What a bridge has not taken off lies before the packet.
local function in_packet(p, kind, list)
  if p.family ~= BRIDGE then return kind end
  return (behind_tags(p.data, 0, p.data_len, kind, list))
end

-- pkt.ether

--- Puts an address into the header. Errors are at that level of the caller's.
local function set_address(p, name, at, value, level)
  if p.l2hdr_room == 0 then error(name .. " " .. CAPTURES_ALONE, level + 1) end
  if not address.parse_ether(value, scratch) then
    error(name .. " must be the text of an Ethernet address", level + 1)
  end
  ffi.copy(p.l2hdr + at, scratch, ADDRESS)
  p.set = bor(p.set, SET_LINK)
end

local function saddr(p) return (address.ether(p.l2hdr + source_at[p.link])) end

local function set_saddr(p, _, value) set_address(p, "ether.saddr", source_at[p.link], value, 3) end

local function daddr(p)
  if p.link == ETHER then return (address.ether(p.l2hdr)) end
end

local function set_daddr(p, _, value)
  if p.link ~= ETHER then error("ether.daddr cannot be assigned: a Linux cooked capture has none", 3) end
  set_address(p, "ether.daddr", 0, value, 3)
end

M.ether = header.define("ether", "l2hdr", has_ether, {
  saddr = header.computed(saddr, set_saddr),
  daddr = header.computed(daddr, set_daddr),
  type = header.computed(function(p) return (in_packet(p, (in_header(p)))) end),
})

-- pkt.vlan

--- The tags, outermost first: a table of its own for each call. nil where there are none.
function M.vlan(p)
  local list = {}
  if p.l2hdr_room > 0 and is_known(p) then
    in_header(p, list)
  else
    if band(p.present, HAS_VLAN) ~= 0 then
      put16(scratch, 0, p.vlan_tci)
      behind_tags(scratch, 0, TAG, p.vlan_proto, list)
    end
    in_packet(p, p.hw_protocol, list)
  end
  if list[1] then return list end
end

--- Says in vlan_proto and vlan_tci what the outermost tag of the header is.
function M.tell_tag(p)
  local h, link = p.l2hdr, p.link
  local kind = u16(h, type_at[link])
  if is_tag(kind) and p.l2hdr_len >= length_of[link] + TAG then
    p.vlan_proto, p.vlan_tci = kind, u16(h, length_of[link])
    p.present = bor(p.present, HAS_VLAN)
  else
    p.present = band(p.present, bnot(HAS_VLAN))
  end
end

local known_of_tag = { id = true, pcp = true, dei = true, proto = true }

--- A tag's field as a number. Errors are at that level of the caller's.
local function tag_number(tag, i, field, max, otherwise, level)
  local value = tag[field]
  if value == nil then value = otherwise end
  if type(value) ~= "number" or not (value >= 0 and value <= max) or value % 1 ~= 0 then
    error(numbers.refusal(("vlan[%d].%s"):format(i, field), max), level + 1)
  end
  return value
end

--- A tag's two numbers: its type, and its own two bytes.
local function read_tag(tag, i, level)
  if type(tag) ~= "table" then
    error(("vlan[%d] must be a tag, as { id = 5 }, and not a %s"):format(i, type(tag)), level + 1)
  end
  for field in pairs(tag) do
    if not known_of_tag[field] then
      error(("vlan[%d] has no field '%s'%s"):format(i, tostring(field), spelling.hint(field, known_of_tag)), level + 1)
    end
  end
  local proto = tag_number(tag, i, "proto", 0xffff, 0x8100, level + 1)
  if not is_tag(proto) then error(("vlan[%d].proto must be 0x8100, 0x88a8 or 0x9100"):format(i), level + 1) end
  local dei = tag.dei
  if dei ~= nil and type(dei) ~= "boolean" then error(("vlan[%d].dei must be true or false"):format(i), level + 1) end
  return proto, bor(tag_number(tag, i, "id", 0xfff, nil, level + 1),
    lshift(tag_number(tag, i, "pcp", 7, 0, level + 1), 13), dei and 0x1000 or 0)
end

--- How many tags there are in a list.
local function count_tags(list, level)
  local count = 0
  if type(list) ~= "table" then error("vlan must be a list of tags, as { { id = 5 } }, or nil", level + 1) end
  for key in pairs(list) do
    if type(key) ~= "number" then
      error(("vlan is a list of tags, as { { id = 5 } }, which has no '%s'"):format(tostring(key)), level + 1)
    end
    count = count + 1
  end
  return count
end

--- Makes these the tags. The header grows or shrinks, and what is behind its tags moves.
function M.set_vlan(p, value)
  if p.l2hdr_room == 0 then error("vlan " .. CAPTURES_ALONE, 3) end
  if not is_known(p) then error("vlan cannot be assigned: the packet has no link header that tags could be in", 3) end
  local count = value == nil and 0 or count_tags(value, 3)
  local h, length = p.l2hdr, length_of[p.link]
  local kind, at = in_header(p)
  local rest = p.l2hdr_len - at
  local most = floor((min(p.l2hdr_room - length, TAIL) - rest) / TAG)
  if count > most then error(("vlan: %d tags are too many: there is room for %d"):format(count, most), 3) end
  -- Each type but the first stands behind the tag before it.
  local first = kind
  for i = 1, count do
    local proto, tci = read_tag(value[i], i, 3)
    if i == 1 then first = proto else put16(tail, (i - 1) * TAG - 2, proto) end
    put16(tail, (i - 1) * TAG, tci)
  end
  if count > 0 then put16(tail, count * TAG - 2, kind) end
  ffi.copy(tail + count * TAG, h + at, rest)
  put16(h, type_at[p.link], first)
  ffi.copy(h + length, tail, count * TAG + rest)
  p.l2hdr_len = length + count * TAG + rest
  M.tell_tag(p)
  p.set = bor(p.set, SET_LINK)
end

core.link = M
return M
