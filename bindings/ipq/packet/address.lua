--- Addresses as text. Behind those of IP are bounded caches, so that an address that comes again costs a
--- comparison, and a flood of new ones no more memory.
local abi = require "ipq.engine.abi"
local bit = require "bit"
local ffi = require "ffi"
local type = type -- a script may overwrite globals

local C, band, bxor, rshift = abi.C, bit.band, bit.bxor, bit.rshift
local SLOTS = 4096 -- of each cache: a power of two
local text = ffi.new("char[?]", ffi.C.IPQ_ADDRESS_TEXT)

local M = {}

local keys4 = ffi.new("uint32_t[?]", SLOTS)
local texts4 = {}
-- A slot that was never filled must not be taken for the address that is all zeros.
for i = 0, SLOTS - 1 do texts4[i] = "0.0.0.0" end

--- The text of the 4 bytes at b.
function M.ip(b)
  local key = b[0] * 0x1000000 + b[1] * 0x10000 + b[2] * 0x100 + b[3]
  local slot = band(bxor(key, rshift(key, 12), rshift(key, 20)), SLOTS - 1)
  if keys4[slot] == key then return texts4[slot] end
  local s = b[0] .. "." .. b[1] .. "." .. b[2] .. "." .. b[3]
  keys4[slot] = key
  texts4[slot] = s
  return s
end

local keys6 = ffi.new("uint32_t[?]", SLOTS * 4)
local texts6 = {}
for i = 0, SLOTS - 1 do texts6[i] = "::" end

local function u32(b, o) return b[o] * 0x1000000 + b[o + 1] * 0x10000 + b[o + 2] * 0x100 + b[o + 3] end

--- The text of the 16 bytes at b (RFC 5952).
function M.ip6(b)
  local k0, k1, k2, k3 = u32(b, 0), u32(b, 4), u32(b, 8), u32(b, 12)
  local hash = bxor(k0, k1, k2, k3)
  local slot = band(bxor(hash, rshift(hash, 12), rshift(hash, 20)), SLOTS - 1)
  local key = keys6 + slot * 4
  if key[0] == k0 and key[1] == k1 and key[2] == k2 and key[3] == k3 then return texts6[slot] end
  C.ipq_address_text(6, b, text)
  local s = ffi.string(text)
  key[0], key[1], key[2], key[3] = k0, k1, k2, k3
  texts6[slot] = s
  return s
end

--- The text of the 6 bytes of an Ethernet address at b.
function M.ether(b)
  return (("%02x:%02x:%02x:%02x:%02x:%02x"):format(b[0], b[1], b[2], b[3], b[4], b[5]))
end

--- Puts the bytes of an Ethernet address's text at b, which has room for 6. False where it is none.
function M.parse_ether(s, b) return type(s) == "string" and C.ipq_ether_parse(b, s, #s) ~= 0 end

--- Puts the bytes of an address's text at b, which has room for 16. False where it is no such address.
---@param family 4|6
function M.parse(family, s, b)
  return type(s) == "string" and C.ipq_address_parse(b, s, #s) == family
end

return M
