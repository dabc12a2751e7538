--- What a script tells to programs: a line of JSON on standard output.
local core = require "ipq.core"
local json = require "ipq.json"
-- A script may overwrite globals.
local error, io, pcall, type = error, io, pcall, type

-- One for the Lua state, as the module ipq is (see engine/abi.lua).
if core.event then return core.event end

local M = {}

--- Where lines go, each with its newline, and with the table that it was made of, which is the script's own. The host
--- sets its own sink, and so does the test kit.
---@type fun(line: string, fields: table)
M.sink = function(line)
  io.stdout:write(line)
  io.stdout:flush()
end

--- Writes a table as a line of JSON (see json.lua): what is nil is left out. Raises, at the caller's line, for what
--- JSON has not: functions, Buffers, NaN and infinity, tables that contain themselves.
---@param fields table
function M.event(fields)
  if type(fields) ~= "table" then error("ipq.event() takes a table, not a " .. type(fields), 2) end
  local ok, line = pcall(json.encode, fields, "\n")
  if not ok then error("ipq.event(): " .. line, 2) end
  M.sink(line, fields)
end

core.event = M
return M
