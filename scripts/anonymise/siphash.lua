-- SipHash-2-4, a keyed pseudorandom function: Aumasson and Bernstein, "SipHash: a fast short-input PRF", INDOCRYPT
-- 2012.
local bit = require "bit"

local bxor, bor, lshift, rol = bit.bxor, bit.bor, bit.lshift, bit.rol

local M = {}

local function round(v0, v1, v2, v3)
  v0 = v0 + v1
  v1 = bxor(rol(v1, 13), v0)
  v0 = rol(v0, 32)
  v2 = v2 + v3
  v3 = bxor(rol(v3, 16), v2)
  v0 = v0 + v3
  v3 = bxor(rol(v3, 21), v0)
  v2 = v2 + v1
  v1 = bxor(rol(v1, 17), v2)
  return v0, v1, rol(v2, 32), v3
end

local function begin(k0, k1)
  return bxor(k0, 0x736f6d6570736575ULL), bxor(k1, 0x646f72616e646f6dULL), bxor(k0, 0x6c7967656e657261ULL),
    bxor(k1, 0x7465646279746573ULL)
end

local function compress(v0, v1, v2, v3, word)
  v0, v1, v2, v3 = round(v0, v1, v2, bxor(v3, word))
  v0, v1, v2, v3 = round(v0, v1, v2, v3)
  return bxor(v0, word), v1, v2, v3
end

local function finish(v0, v1, v2, v3)
  v0, v1, v2, v3 = round(v0, v1, bxor(v2, 0xffULL), v3)
  v0, v1, v2, v3 = round(v0, v1, v2, v3)
  v0, v1, v2, v3 = round(v0, v1, v2, v3)
  v0, v1, v2, v3 = round(v0, v1, v2, v3)
  return bxor(v0, v1, v2, v3)
end

--- The hash of a message of 16 to 23 bytes: two words, and one of what is left, whose highest byte is the message's
--- length. Words are little-endian. Written without loops, so that no number is put into memory.
---@param k0 integer uint64_t, as all of them
function M.words(k0, k1, word0, word1, last)
  local v0, v1, v2, v3 = begin(k0, k1)
  v0, v1, v2, v3 = compress(v0, v1, v2, v3, word0)
  v0, v1, v2, v3 = compress(v0, v1, v2, v3, word1)
  return finish(compress(v0, v1, v2, v3, last))
end

--- The little-endian word of up to 8 bytes of text from offset at (1-based) on.
function M.word(text, at)
  local word = 0ULL
  for i = 0, 7 do
    local byte = text:byte(at + i)
    if byte then word = bor(word, lshift(0ULL + byte, 8 * i)) end
  end
  return word
end

--- The hash of a text of any length.
function M.text(k0, k1, text)
  local v0, v1, v2, v3 = begin(k0, k1)
  local whole = #text - #text % 8
  for at = 1, whole, 8 do v0, v1, v2, v3 = compress(v0, v1, v2, v3, M.word(text, at)) end
  local last = bor(M.word(text, whole + 1), lshift(0ULL + #text % 256, 56))
  return finish(compress(v0, v1, v2, v3, last))
end

return M
