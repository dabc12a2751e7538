--- Buffers: bytes of a packet, read with every access checked.
local abi = require "ipq.abi"
local core = require "ipq.core"
local ffi = require "ffi"
local live = require "ipq.live"

-- A metatype lasts as long as the Lua state, this module perhaps not (see luaopen_ipq_core).
if core.buffer then return core.buffer end

local C, cast = abi.C, ffi.cast
local packet_and_offset_of = live.packet_and_offset_of
local u64 = ffi.typeof "uint64_t"

---@class ipq.Buffer
local Buffer = {}

local function not_a_number(what, level) error(what .. " must be a number", level + 1) end

--- The address of the buffer's first byte, and its length.
local function open(self)
  local p, start = packet_and_offset_of(self)
  return p.data + start, p.data_len - start
end

--- The address of n bytes at off.
local function at(self, off, n)
  local p, start = packet_and_offset_of(self)
  if type(off) ~= "number" then not_a_number("offset", 3) end
  if not (off >= 0 and off <= p.data_len - start - n) then error("offset out of bounds", 3) end
  return p.data + start + off
end

--- The byte at off (0-based).
---@param off integer
---@return integer
function Buffer:u8(off) return at(self, off, 1)[0] end

--- The 16 bits at off, from network order.
---@param off integer
---@return integer
function Buffer:u16(off)
  local b = at(self, off, 2)
  return b[0] * 0x100 + b[1]
end

--- The 32 bits at off, from network order.
---@param off integer
---@return integer
function Buffer:u32(off)
  local b = at(self, off, 4)
  return b[0] * 0x1000000 + b[1] * 0x10000 + b[2] * 0x100 + b[3]
end

--- The 64 bits at off, from network order. A Lua number would lose some of them, so this is a
--- uint64_t: it calculates and compares with numbers, tonumber() and tostring() take it.
---@param off integer
---@return integer
function Buffer:u64(off)
  local b = at(self, off, 8)
  local high = b[0] * 0x1000000 + b[1] * 0x10000 + b[2] * 0x100 + b[3]
  local low = b[4] * 0x1000000 + b[5] * 0x10000 + b[6] * 0x100 + b[7]
  return u64(high) * 0x100000000ULL + u64(low)
end

--- The bytes from off on: all, or len of them.
---@param off? integer 0
---@param len? integer all that follow
---@return string
function Buffer:string(off, len)
  local _, size = open(self)
  off = off or 0
  if type(off) ~= "number" then not_a_number("offset", 2) end
  len = len or size - off
  if type(len) ~= "number" then not_a_number("length", 2) end
  if not (len >= 0) then error("offset out of bounds", 2) end -- luacheck: ignore 581 (NaN)
  return ffi.string(at(self, off, len), len)
end

--- The offset of the first occurrence of text at or after off; nil where there is none.
---@param text string plain bytes, no pattern
---@param off? integer 0
---@return integer?
function Buffer:find(text, off)
  local _, size = open(self)
  if type(text) ~= "string" then error("text must be a string", 2) end
  off = off or 0
  local found = C.find(at(self, off, 0), size - off, text, #text)
  if found >= 0 then return found + off end
end

--- Whether the buffer begins with text.
---@param text string
---@return boolean
function Buffer:starts(text)
  local bytes, size = open(self)
  if type(text) ~= "string" then error("text must be a string", 2) end
  return #text <= size and C.memcmp(bytes, text, #text) == 0
end

--- All bytes as hexadecimal digits.
---@return string
function Buffer:hex()
  return (self:string():gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

ffi.metatype("struct ipq_buffer", {
  __index = function(_, key)
    local method = Buffer[key]
    if method == nil then
      error(("a Buffer has no '%s'; bytes are read by :u8(offset), :string(offset, length)")
        :format(tostring(key)), 2)
    end
    return method
  end,
  __newindex = function() error("a Buffer's fields cannot be assigned", 2) end,
  __len = function(self)
    local _, size = open(self)
    return size
  end,
  __tostring = function(self) return self:string() end,
})

local M = {}

--- The bytes from offset on of the packet whose filter runs.
---@param offset integer 0 to 65535
---@return ipq.Buffer
function M.new(offset) return cast(abi.buffer_pointer, live.buffer_handle(offset)) end

core.buffer = M
return M
