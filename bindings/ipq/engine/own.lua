--- The memory of a script's own packets, and what a script holds of them: the packet (packet/own.lua says what that
--- can), views of its headers and of packets inside of it, and Buffers.
---
--- A live packet's views are numbers, good until its filter returns. Those of an own packet keep it alive instead: in
--- each are the packet, and the offset where what it is of begins. Fields, methods and errors are those of live views,
--- whose functions take both.
local bit = require "bit"
local core = require "ipq.core"
local debug = require "debug"
local ffi = require "ffi"
require "ipq.engine.abi" -- declares the packet
-- A script may overwrite globals.
local getfenv, getmetatable, newproxy, pairs = debug.getfenv, getmetatable, newproxy, pairs
local rawget, rawset, setfenv, setmetatable, type = rawget, rawset, debug.setfenv, setmetatable, type

-- One for the Lua state (see engine/abi.lua).
if core.own then return core.own end

local E = ffi.C
local band, bor, cast, istype = bit.band, bit.bor, ffi.cast, ffi.istype
local byte_array, bytes_pointer = ffi.typeof "uint8_t[?]", ffi.typeof "uint8_t *"
local packet_pointer = ffi.typeof "struct ipq_packet *"
-- A packet and its bytes. Their names are none that a script could write behind a dot.
local memory_type = ffi.typeof("struct { struct ipq_packet $; uint8_t $[?]; }", "its packet", "its bytes")
local SIZE = ffi.sizeof "struct ipq_packet"
local HAS_PAYLOAD = E.IPQ_HAS_PACKET_HDR + E.IPQ_HAS_PAYLOAD
-- What an own packet has of one that it was made of: nothing that lies elsewhere, or that is a queue's, a link's or a
-- capture's.
local KEPT = E.IPQ_HAS_MARK + E.IPQ_HAS_TIMESTAMP + E.IPQ_HAS_INDEV + E.IPQ_HAS_OUTDEV + E.IPQ_HAS_PHYSINDEV
  + E.IPQ_HAS_PHYSOUTDEV + E.IPQ_HAS_HWADDR + E.IPQ_HAS_UID + E.IPQ_HAS_GID + E.IPQ_HAS_PRIORITY
local KEPT_SET = E.IPQ_SET_MARK + E.IPQ_SET_PRIORITY
local IPV4, IPV6 = 0x0800, 0x86dd -- EtherTypes

-- In what a script holds: in a packet its memory; in a view the packet, and the offset or a Buffer's bits.
local MEMORY = 1
local OF, AT = 1, 2

-- What a packet grows into. It is moved from there to larger memory of its own as soon as another one is looked into.
local spare = byte_array(E.IPQ_PACKET_MAX)

-- The packet that was looked into last, and its memory, which is kept so while C has the address: a script might take
-- it out of the packet.
local opened, opened_memory = false, nil

-- Those of packets, and of views by their names.
local packet_metatable, metatables = {}, {}
local buffer_of_none = newproxy(true)

local M = {}

local function settle()
  if not opened then return end
  local p = cast(packet_pointer, opened_memory)
  if p.data ~= spare then return end
  local larger = memory_type(p.data_len)
  ffi.copy(larger, p, SIZE)
  p = cast(packet_pointer, larger)
  p.data = cast(bytes_pointer, larger) + SIZE
  ffi.copy(p.data, spare, p.data_len)
  rawset(opened, MEMORY, larger)
end

--- Whether value is an own packet.
local function is(value)
  return type(value) == "table" and getmetatable(value) == false and istype(memory_type, rawget(value, MEMORY))
end
M.is = is

--- The struct ipq_packet of an own packet, good until the next one is opened; nil where value is none.
local function open(value)
  if not is(value) then return nil end
  local memory = rawget(value, MEMORY)
  if opened_memory ~= memory then
    settle()
    opened, opened_memory = value, memory
  end
  return (cast(packet_pointer, memory))
end
M.open = open

--- The struct ipq_packet of the packet that a view is of, and where in that begins what the view is of; nil where value
--- is no view of an own packet's.
function M.open_view(value)
  if type(value) ~= "table" or getmetatable(value) ~= false then return nil end
  local at = rawget(value, AT)
  if type(at) ~= "number" then return nil end
  return open(rawget(value, OF)), at
end

--- The same of a Buffer: its bits are those of a live one's handle, without the serial number.
function M.open_buffer(value)
  if type(value) ~= "userdata" or getmetatable(value) ~= false then return nil end
  local state = getfenv(value)
  return open(state[OF]), state[AT]
end

--- Whether value is a Buffer of an own packet.
function M.is_buffer(value)
  return type(value) == "userdata" and getmetatable(value) == false and is(getfenv(value)[OF])
end

--- A view of that name, of the packet that was opened last.
function M.view(name, at) return (setmetatable({ opened, at }, metatables[name])) end

--- A Buffer of that packet.
function M.buffer(bits)
  local buffer = newproxy(buffer_of_none)
  setfenv(buffer, { opened, bits })
  return buffer
end

local function fill(metatable, metamethods)
  for name, metamethod in pairs(metamethods) do metatable[name] = metamethod end
  metatable.__metatable = false
  return metatable
end

--- Says how the views of a name are read and written: metamethods.
function M.define_view(name, metamethods) metatables[name] = fill({}, metamethods) end

--- The same of Buffers, and of the packets.
function M.define_buffer(metamethods) fill(getmetatable(buffer_of_none), metamethods) end
function M.define_packet(metamethods) fill(packet_metatable, metamethods) end

--- Memory for a packet of at most size bytes. Gives the memory, the address of its packet, which has nothing yet, and
--- that of the bytes.
function M.reserve(size)
  local memory = memory_type(size)
  local bytes = cast(bytes_pointer, memory) + SIZE
  local p = cast(packet_pointer, memory)
  p.data, p.spare, p.own, p.fix = bytes, spare, 1, 1
  p.present = HAS_PAYLOAD
  return memory, p, bytes
end

--- Gives a packet the metadata of another one, but for one bit of its mark, and for the EtherType of a tag before that
--- packet: this one has no tags.
function M.inherit(p, from, bit_of_mark)
  p.packet_id, p.queue_num, p.hook, p.family = from.packet_id, from.queue_num, from.hook, from.family
  p.indev, p.outdev, p.physindev, p.physoutdev = from.indev, from.outdev, from.physindev, from.physoutdev
  p.uid, p.gid, p.priority = from.uid, from.gid, from.priority
  p.timestamp_sec, p.timestamp_usec = from.timestamp_sec, from.timestamp_usec
  p.hw_addrlen = from.hw_addrlen
  ffi.copy(p.hw_addr, from.hw_addr, 8)
  -- A subtraction: bit.band() of a mark above 2^31 may be negative.
  p.mark = band(from.mark, bit_of_mark) ~= 0 and from.mark - bit_of_mark or from.mark
  p.set = band(from.set, KEPT_SET)
  p.present = bor(HAS_PAYLOAD, band(from.present, KEPT))
  p.hw_protocol = from.hw_protocol
  if from.l3 > 0 then p.hw_protocol = from.ip_version == 4 and IPV4 or IPV6 end
end

--- The packet in that memory, now that len bytes are there.
function M.new(memory, len)
  local p = cast(packet_pointer, memory)
  p.data_len, p.len = len, len
  return (setmetatable({ memory }, packet_metatable))
end

core.own = M
return M
