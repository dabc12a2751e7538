--- What the kernel tells of a packet's connection (NFQA_CT), made of the fields of pkt.ct.
require "ipq.engine.abi" -- declares the packet
local address = require "ipq.packet.address"
local bit = require "bit"
local ffi = require "ffi"

local E = ffi.C

local M = {}

local function be(n, size)
  local bytes = {}
  for i = size, 1, -1 do
    bytes[i] = string.char(n % 256)
    n = math.floor(n / 256)
  end
  return table.concat(bytes)
end

local function attribute(kind, bytes)
  return ffi.string(ffi.new("uint16_t[2]", 4 + #bytes, kind), 4) .. bytes .. ("\0"):rep(-#bytes % 4)
end

-- linux/netfilter/nfnetlink_conntrack.h: CTA_*, and their bytes
local numbers = { status = { 3, 4 }, timeout = { 7, 4 }, mark = { 8, 4 }, id = { 12, 4 }, zone = { 18, 2 } }
local tuples = { original = 1, reply = 2 }
-- linux/netfilter/nf_conntrack_common.h: enum ip_conntrack_info
local infos = {
  original = { established = 0, related = 1, new = 2, untracked = 7 },
  reply = { established = 3, related = 4, new = 5, untracked = 7 },
}

local room = ffi.new "uint8_t[16]"

--- The bytes of an address, 4 or 16.
local function address_bytes(text)
  if address.parse(4, text, room) then return (ffi.string(room, 4)) end
  if address.parse(6, text, room) then return (ffi.string(room, 16)) end
end

--- Who speaks to whom: CTA_TUPLE_IP and CTA_TUPLE_PROTO.
local function tuple(given)
  local saddr, daddr = address_bytes(given.saddr), address_bytes(given.daddr)
  local first = #saddr == 4 and 1 or 3
  local protocol = attribute(1, be(given.protocol, 1))
  if given.sport then protocol = protocol .. attribute(2, be(given.sport, 2)) end
  if given.dport then protocol = protocol .. attribute(3, be(given.dport, 2)) end
  return attribute(1, attribute(first, saddr) .. attribute(first + 1, daddr)) .. attribute(2, protocol)
end

--- Puts the fields of ct into a packet, as the kernel's message has them; what lies in memory is kept by anchors.
function M.fill(p, ct, anchors)
  local parts = {}
  for name, value in pairs(ct) do
    if numbers[name] then
      parts[#parts + 1] = attribute(numbers[name][1], be(value, numbers[name][2]))
    elseif tuples[name] then
      parts[#parts + 1] = attribute(tuples[name], tuple(value))
    end
  end
  local text = table.concat(parts)
  anchors.ct = text
  p.ct, p.ct_len = text, #text
  p.present = bit.bor(p.present, E.IPQ_HAS_CT)
  if not (ct.state or ct.direction) then return end
  p.ct_info = infos[ct.direction or "original"][ct.state or "established"]
  p.present = bit.bor(p.present, E.IPQ_HAS_CT_INFO)
end

return M
