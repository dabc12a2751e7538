--- Buffers of the kit's packets: what a filter's Buffers are, but read alone, and good for as long as they are kept.
--- One is equal to a string of the same bytes.
local assign = require "ipq.build.assign"
local ffi = require "ffi"
local live_buffer = require "ipq.packet.buffer"
local memory = require "ipq.test.memory"
local misuse = require "ipq.build.misuse"

local M = {}

-- A value of C's as a filter's Buffer is: Lua asks no table whether it is equal to a string.
local buffer_type = ffi.typeof "struct { uint8_t unused; }"

local bytes_of = setmetatable({}, { __mode = "k" })

--- The bytes of a Buffer, the kit's or a filter's; a string as it is; nil for all else.
---@param value any
---@return string?
function M.text(value)
  if type(value) == "string" then return value end
  if ffi.istype(buffer_type, value) then return bytes_of[value] end
  if live_buffer.is_buffer(value) then return tostring(value) end
end

assign.other_text = M.text

local bad = misuse.bad

--- Calls a method of a filter's Buffer that has these bytes.
local function call(self, name, ...)
  local bytes = ffi.istype(buffer_type, self) and bytes_of[self]
  if not bytes then bad("%s() is a method of a Buffer: write a colon before its name, payload:%s()", name, name) end
  local arguments, count = { ... }, select("#", ...)
  return (memory.with(bytes, {}, function(pkt)
    local live = pkt.payload
    return live[name](live, unpack(arguments, 1, count))
  end))
end

local methods = {}

for _, name in ipairs { "u8", "u16", "u32", "u64", "string", "find", "starts", "hex" } do
  methods[name] = function(self, ...)
    local result = misuse.guard(call, self, name, ...)
    return result
  end
end

for _, name in ipairs { "set_u8", "set_u16", "set_u32", "set_u64", "write", "replace", "resize" } do
  methods[name] = function()
    error("the kit's packets stay as they are; packet:with { payload = bytes } gives a changed copy", 2)
  end
end

ffi.metatype(buffer_type, {
  __index = function(_, name)
    local method = methods[name]
    if not method then
      error(("a Buffer has no '%s'; bytes are read by :u8(offset), :string(offset, length)"):format(tostring(name)), 2)
    end
    return method
  end,
  __newindex = function() error("a Buffer's fields cannot be assigned", 2) end,
  __len = function(self) return #bytes_of[self] end,
  __tostring = function(self) return bytes_of[self] end,
  __eq = function(a, b) return M.text(a) == M.text(b) end,
})

--- A Buffer of these bytes.
---@param bytes string
---@return ipq.Buffer
function M.new(bytes)
  local result = buffer_type()
  bytes_of[result] = bytes
  return result
end

--- Whether value is what new() gives.
function M.is_buffer(value) return (ffi.istype(buffer_type, value)) end

return M
