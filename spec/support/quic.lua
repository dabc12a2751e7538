-- Datagrams of QUIC as clients send them.
local core = require "ipq.core"
local ffi = require "ffi"
local lib = require "spec.support.lib"
local m = require "spec.support.message"

if not core.spec_quic_declared then
  ffi.cdef [[
    struct ipq_cid { uint8_t len; uint8_t bytes[20]; };
    struct ipq_initial_keys { uint8_t key[16]; uint8_t iv[12]; uint8_t hp[16]; };
    void ipq_initial_keys(uint32_t version, const struct ipq_cid *cid, struct ipq_initial_keys *keys);
    size_t spec_quic_seal(uint32_t version, const uint8_t *cid, size_t cid_len, const uint8_t *head, size_t head_len,
                          uint64_t number, const uint8_t *frames, size_t len, uint8_t *out);
  ]]
  core.spec_quic_declared = true
end

local char = string.char

local M = { V1 = 1, V2 = 0x6b3343cf, C = lib.C }

--- A variable-length number, in as few bytes as there can be, up to four.
function M.number(n)
  if n < 0x40 then return char(n) end
  if n < 0x4000 then return m.be16(0x4000 + n) end
  return m.be32(0x80000000 + n)
end

function M.crypto(offset, bytes) return "\6" .. M.number(offset) .. M.number(#bytes) .. bytes end

--- The whole message as frames of so many bytes.
function M.frames(message, size)
  local frames = {}
  for at = 1, #message, size do frames[#frames + 1] = M.crypto(at - 1, message:sub(at, at + size - 1)) end
  return frames
end

local TYPES = { [M.V1] = { initial = 0, zero = 1, handshake = 2, retry = 3 },
  [M.V2] = { initial = 1, zero = 2, handshake = 3, retry = 0 } }

--- The header of a packet up to its length, which is not there yet.
function M.head(o)
  local version = o.version or M.V1
  local first = 0xc0 + 16 * TYPES[version][o.type or "initial"] + (o.number_len or 1) - 1
  local dcid, scid = o.dcid or "8 bytes.", o.scid or ""
  return char(first) .. m.be32(version) .. char(#dcid) .. dcid .. char(#scid) .. scid
end

--- A protected Initial: frames, number (0), number_len (1), version, dcid, scid, token; key: the connection id that
--- keys are of (dcid); size: bytes that it is padded to.
function M.initial(o)
  local number, number_len, frames = o.number or 0, o.number_len or 1, o.frames
  local token = o.token or ""
  local head = M.head(o) .. M.number(#token) .. token
  local least = math.max(4, (o.size or 0) - #head - 2 - number_len - 16)
  if #frames < least then frames = frames .. ("\0"):rep(least - #frames) end
  local digits = m.be32(number % 2 ^ 32):sub(-number_len)
  head = head .. M.number(number_len + #frames + 16) .. digits
  local out = ffi.new("uint8_t[?]", #head + #frames + 16)
  local key = o.key or o.dcid or "8 bytes."
  local len = M.C.spec_quic_seal(o.version or M.V1, key, #key, head, #head, number, frames, #frames, out)
  return ffi.string(out, len)
end

--- A packet that is protected by other keys: of the handshake, 0-RTT, or with a short header.
function M.other(o)
  if o.type == "short" then return "\64" .. (o.dcid or "8 bytes.") .. ("x"):rep(30) end
  return M.head(o) .. M.number(40) .. ("x"):rep(40)
end

return M
