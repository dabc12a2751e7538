-- Packets of our own as lib/packet makes them, for specs; and whether their checksums are right, by a reference that
-- has nothing of lib in it.
local ffi = require "ffi"
local batch = require "spec.support.batch"
local craft = require "spec.support.craft"
local m = require "spec.support.message"
local rewrite = require "spec.support.rewrite"

local M = {}
local C, E = rewrite.C, ffi.C
local u16 = craft.u16

local shared = batch.new {}

--- The bytes as a packet of the kernel; it ends with the next one. Options: more (attributes), skb_info (bits), hook,
--- family, protocol, wire (bytes that it had).
function M.arrive(bytes, o)
  o = o or {}
  local is_6 = math.floor((bytes:byte(1) or 0x40) / 16) == 6
  local more = (o.more or "") .. (o.skb_info and m.attr(m.SKB_INFO, m.be32(o.skb_info)) or "")
    .. (o.wire and m.attr(m.CAP_LEN, m.be32(o.wire)) or "")
  batch.fill(shared, {
    m.packet(m.hdr(1, o.protocol or (is_6 and 0x86dd or 0x0800), o.hook) .. more .. m.attr(m.PAYLOAD, bytes),
      { family = o.family or (is_6 and 10 or 2) }),
  })
  return shared.packets[0]
end

-- Calls make with memory that ends where it may end; gives the bytes that it made, or what is wrong as a number.
local function made(size, make)
  local memory = rewrite.own(("\xaa"):rep(size))
  local len = make(memory, size)
  assert(len <= size)
  if len < 0 then return -len end
  return ffi.string(memory, len)
end

function M.copy(packet, size)
  return (made(size or E.IPQ_PACKET_MAX, function(to, n) return C.ipq_packet_copy(packet, to, n) end))
end

--- o: known, payload, size.
function M.answer(packet, o)
  o = o or {}
  return (made(o.size or E.IPQ_PACKET_MAX, function(to, n)
    return C.ipq_packet_answer(packet, o.known, o.payload, o.payload and #o.payload or 0, to, n)
  end))
end

--- kind: the name of one of enum ipq_reject, without what they all begin with. o: known, is_receiver, size.
function M.reject(packet, kind, o)
  o = o or {}
  return (made(o.size or 1280, function(to, n)
    return C.ipq_packet_reject(packet, E["IPQ_REJECT_" .. kind], o.known, o.is_receiver or false, to, n)
  end))
end

function M.reset(packet, size)
  return (made(size or 60, function(to, n) return C.ipq_packet_reset(packet, nil, to, n) end))
end

--- The list of pieces; or what is wrong, and those before it.
function M.split(bytes, mtu, id, size)
  local offset, list = ffi.new "uint32_t[1]", {}
  local memory = rewrite.own(bytes)
  while true do
    local piece = made(size or mtu, function(to, n)
      return C.ipq_packet_split(memory, #bytes, mtu, id or 1, offset, to, n)
    end)
    if type(piece) == "number" then return piece, list end
    if piece == "" then break end
    list[#list + 1] = piece
  end
  assert(offset[0] == #bytes)
  return list
end

--- struct ipq_tuple; addresses are bytes.
function M.tuple(version, protocol, saddr, daddr, sport, dport)
  local tuple = ffi.new("struct ipq_tuple", { ip_version = version, protocol = protocol, sport = sport or 0,
    dport = dport or 0 })
  ffi.copy(tuple.saddr, saddr, #saddr)
  ffi.copy(tuple.daddr, daddr, #daddr)
  return tuple
end

-- Offset of the checksum, and whether a pseudo-header counts.
local SUMS = { [1] = { 2 }, [6] = { 16, true }, [17] = { 6, true }, [33] = { 6, true }, [58] = { 2, true },
  [136] = { 6, true } }

--- The version, the protocol, and the offset of the transport's header, of a packet without extension headers.
function M.layout(bytes)
  if bytes:byte(1) >= 0x60 then return 6, bytes:byte(7), 40 end
  return 4, bytes:byte(10), bytes:byte(1) % 16 * 4
end

--- Raises unless the packet's length is its own, and IPv4's checksum and the transport's are right. It is whole, and
--- has no extension headers; a coverage is that of all.
function M.check(bytes)
  local version, protocol, l4 = M.layout(bytes)
  local function is(what, expected, got)
    if expected ~= got then error(("%s is %x, not %x"):format(what, got, expected), 3) end
  end
  is("the length", #bytes, version == 4 and u16(bytes, 2) or u16(bytes, 4) + 40)
  if version == 4 then is("the sum of the header", 0xffff, rewrite.sum(bytes:sub(1, l4))) end
  local n, source = version == 4 and 4 or 16, version == 4 and 12 or 8
  local rest = bytes:sub(l4 + 1)
  if protocol == 17 then is("UDP's length", #rest, u16(rest, 4)) end
  if protocol == 132 then
    local crc = m.be32(rewrite.crc32c(craft.put(rest, 8, "\0\0\0\0"))):reverse()
    if crc ~= rest:sub(9, 12) then error("the CRC32c is wrong", 2) end
  elseif SUMS[protocol] then
    local start = 0
    if SUMS[protocol][2] then
      start = rewrite.sum(bytes:sub(source + 1, source + 2 * n) .. m.be32(#rest) .. "\0\0\0" .. string.char(protocol))
    end
    is("the sum of the transport", 0xffff, rewrite.sum(rest, start))
    assert(not (protocol == 17 or protocol == 136) or u16(rest, 6) ~= 0, "there is no checksum")
  end
  return bytes
end

--- Bytes in hexadecimal digits; a number as it is.
function M.hex(bytes)
  if type(bytes) ~= "string" then return bytes end
  return (bytes:gsub(".", function(c) return ("%02x "):format(c:byte()) end))
end

return M
