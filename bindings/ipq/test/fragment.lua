--- A packet in fragments: RFC 791 section 3.2, RFC 8200 section 4.5.
local misuse = require "ipq.build.misuse"
local packet = require "ipq.test.packet"

local M = {}

local function u16(bytes, offset)
  local high, low = bytes:byte(offset + 1, offset + 2)
  return high * 256 + low
end

local function be16(n) return string.char(math.floor(n / 256) % 256, n % 256) end

--- The pieces of body, size bytes each but the last, and whether more follow.
local function pieces(body, size)
  local offset = 0
  return function()
    if offset >= #body then return nil end
    local piece, at = body:sub(offset + 1, offset + size), offset
    offset = offset + size
    return at, piece, offset < #body
  end
end

--- Bytes of a fragment's body that leave room for its header.
local function body_size(mtu, header)
  local size = math.floor((mtu - header) / 8) * 8
  if size < 8 then error("mtu leaves no room for 8 bytes of the packet", 0) end
  return size
end

--- The options that go into each fragment, not into the first alone: their first bit says so.
local function copied_options(options)
  local o, kept = 1, {}
  while o <= #options do
    local kind, length = options:byte(o, o + 1)
    if kind == 0 then break end
    length = kind == 1 and 1 or length
    if not length or length < 1 then break end
    if kind >= 128 then kept[#kept + 1] = options:sub(o, o + length - 1) end
    o = o + length
  end
  local text = table.concat(kept)
  return text .. ("\0"):rep(-#text % 4)
end

local function fragments4(whole, mtu)
  local bytes, list = whole.bytes, {}
  local header = (bytes:byte(1) % 16) * 4
  local later = copied_options(bytes:sub(21, header))
  for at, piece, more in pieces(bytes:sub(header + 1), body_size(mtu, header)) do
    local options = at == 0 and bytes:sub(21, header) or later
    local fixed = string.char(0x45 + #options / 4) .. bytes:sub(2, 2) .. be16(20 + #options + #piece) .. bytes:sub(5, 6)
      .. be16(math.floor(at / 8) + (more and 0x2000 or 0)) .. bytes:sub(9, 20)
    -- Assigning the TTL to itself makes the header's checksum anew.
    list[#list + 1] = packet.new(fixed .. options .. piece, whole.meta):with { ip = { ttl = whole.ip.ttl } }
  end
  return list
end

local HOP_BY_HOP, ROUTING, DESTINATION, FRAGMENT = 0, 43, 60, 44

--- Where the headers end that every router looks at, and the offset of the byte that says what follows them.
local function per_fragment(bytes)
  local kind_at, offset = 6, 40
  local last_kind_at, last = 6, 40
  local kind = bytes:byte(kind_at + 1)
  while kind == HOP_BY_HOP or kind == ROUTING or kind == DESTINATION do
    kind_at = offset
    offset = offset + (bytes:byte(offset + 2) + 1) * 8
    if kind ~= DESTINATION then last_kind_at, last = kind_at, offset end
    kind = bytes:byte(kind_at + 1)
  end
  return last, last_kind_at
end

local function fragments6(whole, mtu, id)
  local bytes, list = whole.bytes, {}
  local stop, kind_at = per_fragment(bytes)
  local nexthdr = bytes:sub(kind_at + 1, kind_at + 1)
  local head = bytes:sub(1, kind_at) .. string.char(FRAGMENT) .. bytes:sub(kind_at + 2, stop)
  for at, piece, more in pieces(bytes:sub(stop + 1), body_size(mtu, stop + 8)) do
    local header = nexthdr .. "\0" .. be16(at + (more and 1 or 0)) .. be16(math.floor(id / 65536)) .. be16(id % 65536)
    local payload = header .. piece
    list[#list + 1] = packet.new(head:sub(1, 4) .. be16(#head - 40 + #payload) .. head:sub(7) .. payload, whole.meta)
  end
  return list
end

--- The fragments of a packet, each of at most mtu bytes.
---@param whole ipq.test.Packet
---@param mtu integer bytes
---@param id? integer the identification of an IPv6 packet's fragments; 1
---@return ipq.test.Packet[]
function M.fragments(whole, mtu, id)
  if not packet.is_packet(whole) or not (whole.ip or whole.ip6) then
    error("fragments() takes an IP packet of the kit", 2)
  end
  if type(mtu) ~= "number" then error("fragments() takes the number of bytes that a fragment may have", 2) end
  if whole.ip and u16(whole.bytes, 6) % 0x4000 ~= 0 then error("the packet is a fragment", 2) end
  local result = misuse.guard(whole.ip and fragments4 or fragments6, whole, mtu, id or 1)
  return result
end

return M
