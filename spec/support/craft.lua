-- Packets with right lengths and checksums, made and mended in plain Lua, with nothing of lib in it.
local bit = require "bit"
local m = require "spec.support.message"
local rewrite = require "spec.support.rewrite"

local M = {}
local be16, be32 = m.be16, m.be32
local char = string.char

function M.u16(bytes, at) return bytes:byte(at + 1) * 256 + bytes:byte(at + 2) end

--- bytes with those at offset at replaced by others, as many of them.
function M.put(bytes, at, new) return bytes:sub(1, at) .. new .. bytes:sub(at + #new + 1) end

-- Per kind: protocol; where its checksum is; whether a pseudo-header counts; bytes of its header that
-- lengths and places hang on; a header.
local function kind(protocol, field, pseudo, keys, header)
  return { protocol = protocol, field = field, pseudo = pseudo, keys = keys, header = header }
end

M.kinds = {
  tcp = kind(6, 16, true, { 12, 16, 17 }, function(r)
    local options = r.bytes(4 * r.number(0, 10))
    return r.bytes(12) .. char((5 + #options / 4) * 16) .. r.bytes(3) .. "\0\0" .. r.bytes(2) .. options
  end),
  udp = kind(17, 6, true, { 4, 5, 6, 7 }, function(r) return r.bytes(4) .. "\0\0\1\1" end),
  udp_without = kind(17, 6, true, { 4, 5, 6, 7 }, function(r) return r.bytes(4) .. "\0\0\0\0" end),
  udplite = kind(136, 6, true, { 4, 5, 6, 7 }, function(r) return r.bytes(4) .. "\0\0\0\0" end),
  udplite_header = kind(136, 6, true, { 4, 5, 6, 7 }, function(r) return r.bytes(4) .. "\0\8\0\0" end),
  udplite_part = kind(136, 6, true, { 4, 5, 6, 7 }, function(r) return r.bytes(4) .. "\0\21\0\0" end),
  icmp = kind(1, 2, false, { 2, 3 }, function(r) return r.pick { "\8\0\0\0", "\0\0\0\0" } .. r.bytes(4) end),
  icmpv6 = kind(58, 2, true, { 2, 3 }, function(r) return "\128\0\0\0" .. r.bytes(4) end),
  sctp = kind(132, 8, false, { 8, 9, 10, 11 }, function(r) return r.bytes(8) .. "\0\0\0\0" end),
  dccp = kind(33, 6, true, { 4, 5, 6, 7, 8 }, function(r)
    return r.bytes(4) .. "\5\0\0\0\5" .. r.bytes(7) .. r.bytes(4)
  end),
  dccp_header = kind(33, 6, true, { 4, 5, 6, 7, 8 }, function(r)
    return r.bytes(4) .. "\6\1\0\0\5" .. r.bytes(7) .. r.bytes(8)
  end),
  dccp_part = kind(33, 6, true, { 4, 5, 6, 7, 8 }, function(r)
    return r.bytes(4) .. "\3\4\0\0\4" .. r.bytes(3)
  end),
  gre = kind(47, nil, false, { 0, 4, 5 }, function(r) return "\x20\0\x88\xb5" .. r.bytes(4) end),
  gre_sum = kind(47, 4, false, { 0, 4, 5 }, function(r) return "\xb0\0\x88\xb5\0\0\0\0" .. r.bytes(8) end),
  esp = kind(50, nil, false, {}, function(r) return r.bytes(8) end),
  unknown = kind(253, nil, false, {}, function() return "" end),
}

M.names = {}
for name in pairs(M.kinds) do M.names[#M.names + 1] = name end
table.sort(M.names)

--- Where what the checksum covers ends.
local function covered_end(p, bytes)
  local protocol, at = p.kind.protocol, p.l4
  if protocol == 136 then
    local coverage = M.u16(bytes, at + 4)
    return coverage == 0 and #bytes or at + coverage
  elseif protocol == 33 then
    local coverage = bit.band(bytes:byte(at + 6), 15)
    return coverage == 0 and #bytes or at + bytes:byte(at + 5) * 4 + (coverage - 1) * 4
  end
  return #bytes
end

--- The sum of the pseudo-header, as the field of an unfinished checksum has it.
function M.pseudo(p, bytes)
  local v4 = p.version == 4
  local n, source = v4 and 4 or 16, p.source or v4 and 12 or 8
  return rewrite.sum(bytes:sub(source + 1, source + n) .. bytes:sub(p.destination + 1, p.destination + n)
    .. be32(#bytes - p.l4) .. "\0\0\0" .. char(p.kind.protocol))
end

--- These bytes of packet p with right lengths and checksums.
function M.complete(p, bytes)
  local v4, k, at = p.version == 4, p.kind, p.l4
  if v4 then
    bytes = M.put(bytes, 2, be16(#bytes))
    bytes = M.put(bytes, 10, "\0\0")
    bytes = M.put(bytes, 10, be16(rewrite.checksum(bytes:sub(1, bytes:byte(1) % 16 * 4))))
  else
    bytes = M.put(bytes, 4, be16(#bytes - 40))
  end
  if k.protocol == 17 then bytes = M.put(bytes, at + 4, be16(#bytes - at)) end
  if not k.field then return bytes end
  local old = bytes:sub(at + k.field + 1, at + k.field + 2)
  if k.protocol == 17 and v4 and old == "\0\0" then return bytes end
  if k.protocol == 132 then
    bytes = M.put(bytes, at + 8, "\0\0\0\0")
    local crc = be32(rewrite.crc32c(bytes:sub(at + 1))):reverse()
    return M.put(bytes, at + 8, crc)
  end
  bytes = M.put(bytes, at + k.field, "\0\0")
  local sum = 0
  if k.pseudo then sum = M.pseudo(p, bytes) end
  sum = rewrite.checksum(bytes:sub(at + 1, covered_end(p, bytes)), sum)
  if sum == 0 and (k.protocol == 17 or k.protocol == 136) then sum = 0xffff end
  return M.put(bytes, at + k.field, be16(sum))
end

--- Whether a packet of that kind whose checksum is not ready has to have another one in it, whose that is.
function M.carries(p)
  local protocol = p.kind.protocol
  return protocol == 50 or protocol == 47 or protocol == 253 or p.kind == M.kinds.udp_without
end

--- A finished packet that the kernel cuts into segments: UDP's field has what it makes their checksums of.
function M.segmented(p, bytes)
  if p.kind.protocol ~= 17 or M.u16(bytes, p.l4 + 6) == 0 then return bytes end
  return M.put(bytes, p.l4 + 6, be16(M.pseudo(p, bytes)))
end

--- The packet as it comes where its checksum is not ready: UDP's field has the pseudo-header's sum, by which it is
--- told whether the unfinished checksum is that of a packet inside; the others' may have any number.
function M.unready(p)
  if not p.kind.field or p.kind == M.kinds.udp_without then return p.bytes end
  local field = p.kind.protocol == 17 and be16(M.pseudo(p, p.bytes)) or "\x12\x34"
  return M.put(p.bytes, p.l4 + p.kind.field, field)
end

-- Extension headers in front of the transport: name → type, bytes but the next header, offset of a
-- destination, and a list of types and bytes of those that follow.
M.extensions = {
  none = function() return nil, "" end,
  hop = function() return 0, "\0\1\4\0\0\0\0" end,
  options = function() return 60, "\1\1\12" .. ("\0"):rep(12) end,
  routing0 = function(r) return 43, "\4\0\2\0\0\0\0" .. r.bytes(32), 24 end,
  routing2 = function(r) return 43, "\2\2\1\0\0\0\0" .. r.bytes(16), 8 end,
  routing4 = function(r) return 43, "\4\4\1\1\0\0\0" .. r.bytes(32), 8 end,
  routed = function(r) return 43, "\2\2\0\0\0\0\0" .. r.bytes(16) end, -- no segments left
  behind_others = function(r) -- a routing header behind an authentication header and options
    return 51, "\4" .. ("\0"):rep(22), 24 + 8 + 8, { 60, "\0\1\4\0\0\0\0", 43, "\2\2\1\0\0\0\0" .. r.bytes(16) }
  end,
  atomic = function(r) return 44, "\0\0\0" .. r.bytes(4) end, -- a fragment that is whole
}
M.extension_names = { "none", "hop", "options", "routing0", "routing2", "routing4", "routed", "atomic",
  "behind_others" }

--- A packet { bytes, version, kind, l4, destination, body }: options are name, version, random, body
--- (a string), extension (a name), ip_options (bytes).
function M.packet(o)
  local r = o.random
  local k = M.kinds[o.name]
  local header = k.header(r)
  local p = { version = o.version, kind = k }
  local ip
  if o.version == 4 then
    local options = o.ip_options or ""
    ip = char(0x45 + #options / 4) .. r.bytes(1) .. "\0\0" .. r.bytes(2) .. r.pick { "\0", "\x40" } .. "\0"
      .. char(r.number(1, 255), k.protocol) .. "\0\0" .. r.bytes(8) .. options
    p.destination = 16
  else
    local type, rest, destination, others = M.extensions[o.extension or "none"](r)
    ip = char(0x60 + r.number(0, 15)) .. r.bytes(3) .. "\0\0" .. char(type or k.protocol, r.number(1, 255))
      .. r.bytes(32)
    others = others or {}
    if type then ip = ip .. char(others[1] or k.protocol) .. rest end
    for i = 1, #others, 2 do ip = ip .. char(others[i + 2] or k.protocol) .. others[i + 1] end
    p.destination = destination and 40 + destination or 24
  end
  p.l4 = #ip
  p.body = #ip + #header
  p.bytes = M.complete(p, ip .. header .. o.body)
  return p
end

--- Offsets of the bytes that lengths and places hang on, as a set.
function M.keys(p)
  local set = {}
  for _, at in ipairs(p.version == 4 and { 0, 2, 3, 6, 7, 9, 10, 11 } or { 0, 4, 5, 6 }) do set[at] = true end
  for at = p.version == 4 and 20 or 40, p.l4 - 1 do set[at] = true end
  for _, at in ipairs(p.kind.keys) do set[p.l4 + at] = true end
  return set
end

--- A random packet.
function M.random(r)
  local version = r.pick { 4, 6 }
  local name
  repeat
    name = r.pick(M.names)
  until not (version == 6 and (name == "icmp" or name == "udp_without")) and not (version == 4 and name == "icmpv6")
  return M.packet {
    random = r, version = version, name = name, body = r.bytes(r.pick { r.number(13, 40), r.number(13, 200) }),
    extension = r.pick(M.extension_names),
    ip_options = r.pick { "", "", "\1\1\1\0", "\148\4\0\0" },
  }
end

--- A random store into a packet's bytes that leaves the keys alone: offset and bytes.
function M.random_store(r, p, bytes)
  local keys = M.keys(p)
  local at = r.number(0, #bytes - 1)
  local new = { r.bytes(math.min(r.pick { 1, 2, 3, 4, 16, 33 }, #bytes - at)):byte(1, -1) }
  for i = 1, #new do
    if keys[at + i - 1] then new[i] = bytes:byte(at + i) end
  end
  return at, char(unpack(new))
end

return M
