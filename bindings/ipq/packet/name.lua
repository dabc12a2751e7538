--- Names as text. Behind them is a bounded cache, so that a name that comes again costs a comparison, and a flood of
--- new ones no more memory.
local abi = require "ipq.engine.abi"
local bit = require "bit"
local ffi = require "ffi"

local C, band = abi.C, bit.band
local SLOTS = 4096 -- a power of two

local M = {}

-- Made by the first name: what a script does not use costs it nothing.
local texts

local function empty()
  local slots = {}
  for i = 0, SLOTS - 1 do slots[i] = "" end
  return slots
end

--- The text of the len bytes at bytes, which C has made lower case and calculated a hash of.
---@param bytes any char *
---@param len integer
---@param hash integer
---@return string
function M.name(bytes, len, hash)
  if not texts then texts = empty() end
  local slot = band(hash, SLOTS - 1)
  local text = texts[slot]
  if #text == len and C.memcmp(text, bytes, len) == 0 then return text end
  text = ffi.string(bytes, len)
  texts[slot] = text
  return text
end

return M
