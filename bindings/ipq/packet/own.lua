--- A script's own packets: clones, answers, and what ipq.build makes. Each is an object that keeps its bytes, with the
--- fields of a live packet (view.lua); engine/own.lua has its memory. Nothing of the packet that it was made of changes
--- with it.
local abi = require "ipq.engine.abi"
local bit = require "bit"
local buffer = require "ipq.packet.buffer"
local core = require "ipq.core"
local ffi = require "ffi"
local live = require "ipq.engine.live"
local memory = require "ipq.engine.own"
local setting = require "ipq.engine.setting"
-- A script may overwrite globals.
local error, next, pairs, pcall, require, type = error, next, pairs, pcall, require, type

-- Its metatype's functions last as long as the Lua state (see engine/abi.lua).
if core.own_packet then return core.own_packet end

local C, E = abi.C, ffi.C
local band, bnot, bor = bit.band, bit.bnot, bit.bor
local whole_packet_of, reserve, inherit, new = live.whole_packet_of, memory.reserve, memory.inherit, memory.new
local is_buffer, open_buffer = buffer.is_buffer, buffer.open
local PAYLOAD, HAS_CT_INFO = E.IPQ_SET_PAYLOAD, E.IPQ_HAS_CT_INFO
local HAS_INDEV, HAS_OUTDEV = E.IPQ_HAS_INDEV, E.IPQ_HAS_OUTDEV
local CHANGED = PAYLOAD + E.IPQ_SET_LAYOUT + E.IPQ_SET_OVERSIZED + E.IPQ_SET_SEGMENTED
local HEADERS = 60 -- bytes that an answer has at most before its payload, beside the transport header it answers
local NFPROTO_IPV4, NFPROTO_IPV6, IPV4, IPV6 = 2, 10, 0x0800, 0x86dd

local known = ffi.new "struct ipq_tuple"

local M = { is = memory.is, open = memory.open }

--- What enum ipq_unsent says, in words.
local function refusal(code) return (ffi.string(C.ipq_unsent_text(code))) end

--- A copy of p's packet; nil and why it cannot be copied.
---@param p any struct ipq_packet *
---@return ipq.OwnPacket? packet
---@return string? message
function M.clone(p)
  if p.parsed == 0 then C.ipq_header_parse(p) end
  local size = p.data_len
  local own, copy, bytes = reserve(size)
  local len = C.ipq_packet_copy(p, bytes, size)
  if len < 0 then return nil, refusal(len) end
  inherit(copy, p, setting.sent_mark)
  copy.fix = p.fix
  return (new(own, len))
end

--- Who sends the packet, and to whom, so that an answer to that comes to the sender; nil where that is what the packet
--- says.
local function known_of(p)
  if band(p.present, HAS_CT_INFO) ~= 0 and C.ipq_conntrack_answered(p, known) ~= 0 then return known end
end

--- An answer goes out by where its packet came in.
local function turn_devices(answer)
  if band(answer.present, HAS_INDEV) == 0 then return end
  answer.outdev = answer.indev
  answer.present = bor(band(answer.present, bnot(HAS_INDEV)), HAS_OUTDEV)
end

--- The answer with that payload, size bytes.
local function turned(p, payload, size)
  if p.parsed == 0 then C.ipq_header_parse(p) end
  local room = HEADERS + p.body - p.l4 + (payload == nil and p.data_len or size)
  local own, answer, bytes = reserve(room)
  local len = C.ipq_packet_answer(p, known_of(p), payload, size, bytes, room)
  if len < 0 then return nil, refusal(len) end
  inherit(answer, p, setting.sent_mark)
  turn_devices(answer)
  return (new(own, len))
end

--- The other fields of an answer. Gives why one cannot be assigned, or nil.
local function assign_others(packet, fields)
  local others = {}
  for name, value in pairs(fields) do others[name] = value end
  others.payload = nil
  local assign = require "ipq.build.assign"
  local ok, why = pcall(assign.change, packet, others)
  if not ok then return (require("ipq.build.misuse").plain(why)) end
end

--- What a packet's receiver says to its sender, with these fields; nil and why there is no such answer. Errors are at
--- that level of the caller's. packet_of(packet) gives the struct ipq_packet, and is asked behind the fields: to read
--- them may open another own packet, or call the script.
---@param packet_of fun(packet: any): any
---@param from any
---@param fields table<string, any>
---@return ipq.OwnPacket? packet
---@return string? message
function M.answer(packet_of, from, fields, level)
  if type(fields) ~= "table" then
    error("answer() takes a table of fields, as { payload = text }, not " .. (fields == nil and "nil" or "a "
      .. type(fields)), level + 1)
  end
  local payload, size = fields.payload, 0
  if type(payload) == "string" then
    size = #payload
  elseif is_buffer(payload) then
    payload = ffi.string(open_buffer(payload))
    size = #payload
  elseif payload ~= nil then
    return nil, "payload must be a string"
  end
  local packet, why = turned(packet_of(from), payload, size)
  if not packet then return nil, why end
  local first = next(fields)
  if first ~= nil and (first ~= "payload" or next(fields, first) ~= nil) then
    why = assign_others(packet, fields)
    if why then return nil, why end
  end
  return packet
end

--- A packet of these bytes, at most IPQ_PACKET_MAX, taken as they are.
---@param bytes string
---@param family? integer NFPROTO_*; that of its IP version
---@param hw_protocol? integer the same as an EtherType
---@return ipq.OwnPacket packet
function M.from_bytes(bytes, family, hw_protocol)
  local own, p, to = reserve(#bytes)
  ffi.copy(to, bytes, #bytes)
  local is_ip6 = #bytes > 0 and bit.rshift(to[0], 4) == 6
  p.family = family or is_ip6 and NFPROTO_IPV6 or NFPROTO_IPV4
  p.hw_protocol = hw_protocol or is_ip6 and IPV6 or IPV4
  return (new(own, #bytes))
end

--- Makes lengths and checksums right of what was changed. Gives the struct ipq_packet, good until another own packet is
--- looked into; or nil and why it cannot be sent as it is.
---@param packet ipq.OwnPacket
---@return any? p struct ipq_packet *
---@return string? message
function M.packet(packet)
  local p = whole_packet_of(packet)
  if p.fix ~= 0 and band(p.set, PAYLOAD) ~= 0 then
    local result = C.ipq_rewrite_finish(p)
    if result ~= 0 then return nil, "packet changed: " .. ffi.string(C.ipq_rewrite_strerror(result)) end
  end
  return p
end

--- Takes the bytes as they are now for those that the packet came with: what is wrong in them was meant.
---@param p any struct ipq_packet *
function M.settle(p)
  p.set = band(p.set, bnot(CHANGED))
  p.dirty, p.unready, p.parsed, p.fix = 0, 0, 0, 1
end

--- What a live packet has not: view.lua has the others.
M.methods = {}

--- The whole IP packet, with right lengths and checksums; nil and why it cannot be sent as it is.
---@return string? bytes
---@return string? message
function M.methods:bytes()
  local p, why = M.packet(self)
  if not p then return nil, why end
  return (ffi.string(p.data, p.data_len))
end

core.own_packet = M
return M
