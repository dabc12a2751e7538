-- Packets from fields, as bytes, with lengths but without checksums unless given: for specs that look at
-- the bytes themselves.
local m = require "spec.support.message"

local be16, be32 = m.be16, m.be32

local M = {}

local function quad(text)
  return (text:gsub("(%d+)%.?", function(n) return string.char(tonumber(n)) end))
end

--- IPv4 around rest. Fields: saddr, daddr, ttl, tos, id, fragment (16 bits), options (string), length.
function M.ip(protocol, rest, f)
  f = f or {}
  local options = f.options or ""
  local header = 20 + #options
  return string.char(0x40 + header / 4, f.tos or 0) .. be16(f.length or header + #rest) .. be16(f.id or 1)
    .. be16(f.fragment or 0) .. string.char(f.ttl or 64, protocol) .. be16(f.checksum or 0)
    .. quad(f.saddr or "10.0.0.1") .. quad(f.daddr or "10.0.0.2") .. options .. rest
end

M.saddr6 = "\32\1\13\184" .. ("\0"):rep(11) .. "\1" -- 2001:db8::1
M.daddr6 = "\32\1\13\184" .. ("\0"):rep(11) .. "\2"

--- IPv6 around rest; nexthdr is that of its first byte.
function M.ip6(nexthdr, rest, f)
  f = f or {}
  return be32(0x60000000 + (f.tos or 0) * 0x100000 + (f.flowlabel or 0)) .. be16(f.length or #rest)
    .. string.char(nexthdr, f.hoplimit or 64) .. (f.saddr or M.saddr6) .. (f.daddr or M.daddr6) .. rest
end

--- An extension header of 8 × (1 + more) bytes before rest.
function M.extension(nexthdr, rest, more)
  more = more or 0
  return string.char(nexthdr, more) .. "\1" .. string.char(4 + more * 8) .. ("\0"):rep(4 + more * 8) .. rest
end

--- A fragment header (offset in units of 8 bytes).
function M.fragment(nexthdr, rest, offset, more)
  return string.char(nexthdr, 0) .. be16((offset or 0) * 8 + (more and 1 or 0)) .. be32(7) .. rest
end

function M.tcp(payload, f)
  f = f or {}
  local options = f.options or ""
  return be16(f.sport or 1024) .. be16(f.dport or 80) .. be32(f.sequence or 0x01020304)
    .. be32(f.ackseq or 0x05060708) .. string.char((20 + #options) * 4, f.flags or 0x18) .. be16(f.window or 512)
    .. be16(f.checksum or 0) .. be16(f.urgptr or 0) .. options .. payload
end

function M.udp(payload, f)
  f = f or {}
  return be16(f.sport or 1024) .. be16(f.dport or 53) .. be16(f.length or 8 + #payload) .. be16(f.checksum or 0)
    .. payload
end

return M
