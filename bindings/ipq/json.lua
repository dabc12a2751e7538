--- JSON (RFC 8259) that every parser reads: keys in the order of their bytes; whole numbers as such, others with as
--- many digits as they need, 17 at most; bytes that are no UTF-8 as \xNN, in which the backslash is the text's own;
--- 64-bit integers as numbers up to 2^53, and as text beyond. A table with keys from 1 up is a list, an empty one an
--- object.
local core = require "ipq.core"
local ffi = require "ffi"
-- A script may overwrite globals, and what is in them.
local tonumber, tostring, type = tonumber, tostring, type
local format, match = string.format, string.match

local M = {}

local int64, uint64 = ffi.typeof "int64_t", ffi.typeof "uint64_t"
local EXACT = 2 ^ 53

--- A number as text, with as few digits as give it again.
local function digits(number)
  for count = 15, 16 do
    local text = format("%." .. count .. "g", number)
    if tonumber(text) == number then return text end
  end
  return (format("%.17g", number))
end

--- A number as text, a 64-bit integer as a number or text; nil for other values of C's.
local function convert(value)
  if type(value) == "number" then return (digits(value)) end
  if not (ffi.istype(int64, value) or ffi.istype(uint64, value)) then return nil end
  local number = tonumber(value)
  if number < EXACT and number > -EXACT then return number end
  return (match(tostring(value), "^-?%d+"))
end

--- The value's text, with what is to end it. Raises for what JSON has not, and names the field.
---@param value any
---@param ending? string
---@return string
function M.encode(value, ending) return (core.json(value, convert, ending)) end

return M
