--- Buffers: bytes of a packet, read and written with every access checked.
local abi = require "ipq.engine.abi"
local bit = require "bit"
local core = require "ipq.core"
local ffi = require "ffi"
local live = require "ipq.engine.live"
local numbers = require "ipq.packet.number"
local own = require "ipq.engine.own"
local error, tonumber, tostring, type = error, tonumber, tostring, type -- a script may overwrite globals

-- A metatype lasts as long as the Lua state, this module perhaps not (see engine/abi.lua).
if core.buffer then return core.buffer end

local C = abi.C
local bounds_of, BODY, INSIDE = live.bounds_of, live.BODY, live.INSIDE
local band, rshift = bit.band, bit.rshift
local u64 = ffi.typeof "uint64_t"

---@class ipq.Buffer
local Buffer = {}

local function not_a_number(what, level) error(what .. " must be a number", level + 1) end

--- The address of the buffer's first byte, and its length.
local function open(self)
  local p, start, stop = bounds_of(self)
  return p.data + start, stop - start
end

--- n bytes at off are not all in a Buffer of size bytes. level is that of error() for the caller.
local function out_of_bounds(off, n, size, level)
  local bytes = n == 0 and "" or ("%.14g byte%s at "):format(n, n == 1 and "" or "s")
  error(("offset out of bounds: %soffset %.14g of a Buffer of %d byte%s")
    :format(bytes, off, size, size == 1 and "" or "s"), level + 1)
end

--- The packet, and where in it n bytes at off lie.
local function place(self, off, n)
  local p, start, stop = bounds_of(self)
  if type(off) ~= "number" then not_a_number("offset", 3) end
  if not (off >= 0 and off <= stop - start - n) then out_of_bounds(off, n, stop - start, 3) end
  if off % 1 ~= 0 then error("offset must be a whole number", 3) end
  return p, start + off
end

--- Where it is no Buffer that the method was called on, that is to be told first.
local function not_a_text(self)
  bounds_of(self)
  error("text must be a string", 3)
end

--- The address of n bytes at off.
local function at(self, off, n)
  local p, start, stop = bounds_of(self)
  if type(off) ~= "number" then not_a_number("offset", 3) end
  if not (off >= 0 and off <= stop - start - n) then out_of_bounds(off, n, stop - start, 3) end
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
  if not (len >= 0) then out_of_bounds(off, len, size, 2) end -- luacheck: ignore 581 (NaN)
  return (ffi.string(at(self, off, len), len))
end

--- The offset of the first occurrence of text at or after off; nil where there is none.
---@param text string plain bytes, no pattern
---@param off? integer 0
---@return integer?
function Buffer:find(text, off)
  local _, size = open(self)
  if type(text) ~= "string" then error("text must be a string", 2) end
  off = off or 0
  local found = C.ipq_find(at(self, off, 0), size - off, text, #text)
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
  return (Buffer.string(self):gsub(".", function(c) return (("%02x"):format(c:byte())) end))
end

-- Writing. The packet's lengths and checksums follow when its filter has returned.

local scratch = ffi.new "uint8_t[8]"

local function integer(value, max)
  if type(value) ~= "number" or not (value >= 0 and value <= max) or value % 1 ~= 0 then
    error(numbers.refusal("value", max), 3)
  end
end

local LEAST32, MOST32 = numbers.LEAST32, numbers.MOST32

local function integer32(value)
  if type(value) ~= "number" or not (value >= LEAST32 and value <= MOST32) or value % 1 ~= 0 then
    error(numbers.refusal("value", MOST32), 3)
  end
end

local function check(result)
  if result ~= 0 then error(ffi.string(C.ipq_rewrite_strerror(result)), 3) end
end

--- Sets the byte at off.
---@param off integer
---@param value integer
function Buffer:set_u8(off, value)
  local p, o = place(self, off, 1)
  integer(value, 0xff)
  scratch[0] = value
  check(C.ipq_rewrite_store(p, o, scratch, 1))
end

--- Sets the 16 bits at off, in network order.
---@param off integer
---@param value integer
function Buffer:set_u16(off, value)
  local p, o = place(self, off, 2)
  integer(value, 0xffff)
  scratch[0], scratch[1] = rshift(value, 8), band(value, 255)
  check(C.ipq_rewrite_store(p, o, scratch, 2))
end

local function put_u32(b, value)
  b[0], b[1] = band(rshift(value, 24), 255), band(rshift(value, 16), 255)
  b[2], b[3] = band(rshift(value, 8), 255), band(value, 255)
end

--- Sets the 32 bits at off, in network order.
---@param off integer
---@param value integer -2^31 to 2^32 - 1
function Buffer:set_u32(off, value)
  local p, o = place(self, off, 4)
  integer32(value)
  put_u32(scratch, value)
  check(C.ipq_rewrite_store(p, o, scratch, 4))
end

--- Sets the 64 bits at off, in network order.
---@param off integer
---@param value integer a number below 2^53, or a uint64_t
function Buffer:set_u64(off, value)
  local p, o = place(self, off, 8)
  if not ffi.istype(u64, value) then integer(value, 2 ^ 53 - 1) end
  local whole = u64(value)
  put_u32(scratch, tonumber(rshift(whole, 32)))
  put_u32(scratch + 4, tonumber(band(whole, 0xffffffffULL)))
  check(C.ipq_rewrite_store(p, o, scratch, 8))
end

--- Puts text over the bytes at off; it must fit.
---@param off integer
---@param text string
function Buffer:write(off, text)
  if type(text) ~= "string" then not_a_text(self) end
  local p, o = place(self, off, #text)
  check(C.ipq_rewrite_store(p, o, text, #text))
end

local function bad_length(self, off, len)
  local _, size = open(self)
  if type(off) ~= "number" then not_a_number("offset", 3) end
  out_of_bounds(off, len, size, 3)
end

--- Puts text in the place of the len bytes at off; the packet grows or shrinks.
---@param off integer
---@param len integer
---@param text string
function Buffer:replace(off, len, text)
  if type(text) ~= "string" then not_a_text(self) end
  if type(len) ~= "number" then not_a_number("length", 2) end
  if not (len >= 0) then bad_length(self, off, len) end -- luacheck: ignore 581 (NaN)
  if len % 1 ~= 0 then error("length must be a whole number", 2) end
  local p, o = place(self, off, len)
  check(C.ipq_rewrite_replace(p, o, len, text, #text))
end

--- Cuts the buffer to len bytes, or fills it up with zeros.
---@param len integer
function Buffer:resize(len)
  local p, start, stop = bounds_of(self)
  if type(len) ~= "number" or not (len >= 0 and len <= 65535) or len % 1 ~= 0 then
    error("length must be an integer from 0 to 65535", 2)
  end
  local size = stop - start
  if len > size then
    check(C.ipq_rewrite_replace(p, stop, 0, ("\0"):rep(len - size), len - size))
  elseif len < size then
    check(C.ipq_rewrite_replace(p, start + len, size - len, "", 0))
  end
end

local metamethods = {
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
  __tostring = function(self) return (self:string()) end,
}
ffi.metatype("struct ipq_buffer", metamethods)
own.define_buffer(metamethods)

local M = {}

--- Behind the error where a Buffer is assigned.
M.HINT = ": its methods change it, write(off, text) and replace(off, len, text)"

--- The bytes of p from offset on.
---@param p any struct ipq_packet *, of a packet that is not inside of another one
---@param offset integer 0 to 65535
---@return ipq.Buffer
function M.new(p, offset) return (live.buffer(p, offset)) end

--- The bytes from offset on of p, a packet or one inside of it, up to the end of the IP packet: bytes behind it
--- (padding of the link) are left out.
---@param p any struct ipq_packet *
---@param offset integer 0 to 65535
---@return ipq.Buffer
function M.body(p, offset)
  if p.at ~= 0 then return (live.buffer(p, p.at + offset + INSIDE + BODY)) end
  return (live.buffer(p, offset + BODY))
end

--- All of a packet that is inside of another one.
---@param p any struct ipq_packet *
---@return ipq.Buffer
function M.inside(p) return (live.buffer(p, p.at + INSIDE)) end

--- Whether value is a Buffer; and the address of its first byte and its length, at the time.
function M.is_buffer(value) return ffi.istype(abi.buffer_pointer, value) or own.is_buffer(value) end
M.open = open

core.buffer = M
return M
