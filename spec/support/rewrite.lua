-- The C functions that change packets, for specs and the bench; and a reference for what they compute.
local bit = require "bit"
local core = require "ipq.core"
local ffi = require "ffi"
local lib = require "spec.support.lib"

if not core.spec_rewrite_declared then
  ffi.cdef [[
    void *malloc(size_t size);
    void free(void *memory);
    uint32_t ipq_checksum_add(uint32_t sum, const void *bytes, size_t len);
    uint16_t ipq_checksum_fold(uint32_t sum);
    uint32_t ipq_crc32c(const void *bytes, size_t len);
    uint32_t ipq_crc32c_portable(const void *bytes, size_t len);
  ]]
  core.spec_rewrite_declared = true
end

local M = { C = lib.C }

--- The bytes in memory of their own, which ends where they end: a sanitizer sees who goes on reading.
function M.own(bytes)
  local memory = ffi.gc(ffi.cast("uint8_t *", ffi.C.malloc(#bytes)), ffi.C.free)
  ffi.copy(memory, bytes, #bytes)
  return memory
end

-- The reference: byte by byte, with nothing of lib in it.

--- The sum of 16-bit words in network order, folded.
function M.sum(bytes, start)
  local sum = start or 0
  for i = 1, #bytes, 2 do
    local high, low = bytes:byte(i, i + 1)
    sum = sum + high * 256 + (low or 0)
  end
  while sum > 0xffff do sum = sum % 65536 + math.floor(sum / 65536) end
  return sum
end

--- The checksum over bytes whose checksum field is 0.
function M.checksum(bytes, start) return 0xffff - M.sum(bytes, start) end

local function u32(n) return n % 2 ^ 32 end

--- CRC32c, bit by bit.
function M.crc32c(bytes)
  local crc = bit.tobit(0xffffffff)
  for i = 1, #bytes do
    crc = bit.bxor(crc, bytes:byte(i))
    for _ = 1, 8 do
      local low = bit.band(crc, 1)
      crc = bit.rshift(crc, 1)
      if low == 1 then crc = bit.bxor(crc, 0x82f63b78) end
    end
  end
  return u32(bit.bnot(crc))
end

--- Bytes from a generator of its own, so that a failure comes again.
function M.random(seed)
  local state = bit.tobit(seed * 2654435761 % 2 ^ 32 + 1)
  local R = {}
  function R.number(low, high)
    state = bit.bxor(state, bit.lshift(state, 13))
    state = bit.bxor(state, bit.rshift(state, 17))
    state = bit.bxor(state, bit.lshift(state, 5))
    return low + u32(state) % (high - low + 1)
  end
  function R.bytes(n)
    local t = {}
    for i = 1, n do t[i] = string.char(R.number(0, 255)) end
    return table.concat(t)
  end
  function R.pick(list) return list[R.number(1, #list)] end
  return R
end

return M
