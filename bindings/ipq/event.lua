--- What a script tells to programs: a line of JSON on standard output.
local core = require "ipq.core"
-- A script may overwrite globals.
local error, io, pairs, pcall, require, tostring, type = error, io, pairs, pcall, require, tostring, type

-- One for the Lua state, as the module ipq is (see engine/abi.lua).
if core.event then return core.event end

local M = {}

--- Where lines go, each with its newline. The host sets its own.
---@param line string
M.sink = function(line)
  io.stdout:write(line)
  io.stdout:flush()
end

local encode

-- An encoder of its own: what a script sets in its own cjson changes nothing here.
local function load_encoder()
  local ok, cjson = pcall(require, "cjson")
  if not ok then return nil, "ipq.event() needs lua-cjson: install the package lua-cjson" end
  encode = cjson.new().encode
  return true
end

--- The field, for a message, whose value JSON has not.
local function culprit(fields)
  for key, value in pairs(fields) do
    if not pcall(encode, { value }) then return (("field '%s': "):format(tostring(key))) end
  end
  return ""
end

--- Writes a table as a line of JSON: what is nil is left out. Raises, at the caller's line, for what JSON has not:
--- functions, Buffers, numbers that are none, tables that contain themselves. Numbers have 14 digits.
---@param fields table
function M.event(fields)
  if type(fields) ~= "table" then error("ipq.event() takes a table, not a " .. type(fields), 2) end
  if not encode then
    local ok, why = load_encoder()
    if not ok then error(why, 2) end
  end
  local ok, line = pcall(encode, fields)
  if not ok then error("ipq.event(): " .. culprit(fields) .. tostring(line), 2) end
  M.sink(line .. "\n")
end

core.event = M
return M
