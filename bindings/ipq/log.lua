--- Messages for people, one line each (a traceback has more).
local core = require "ipq.core"
local live = require "ipq.engine.live"
local error, io, ipairs, os, pairs, tostring = error, io, ipairs, os, pairs, tostring -- a script may overwrite globals

-- One for the Lua state, as the module ipq is (see engine/abi.lua).
if core.log then return core.log end

local LINES_A_SECOND = 100

local M = {}

local function escape(c) return (("\\x%02x"):format(c:byte())) end
local function escape_all(text) return (text:gsub(".", escape)) end

--- Where lines go: function(level, text), which has to see to it that bytes of a packet are harmless in a terminal,
--- C0's controls and C1's in UTF-8, and that they begin no message of their own: further lines begin with a tab.
--- The host sets its own.
M.sink = function(level, text)
  text = text:gsub("[%z\1-\8\11-\31\127]", escape):gsub("\194[\128-\159]", escape_all):gsub("\n\t?", "\n\t")
  io.stderr:write("ipq: ", level, ": ", text, "\n")
end

local ranks = { debug = 0, info = 1, warn = 2, error = 3 }

--- The rank of the least level that is written: 0 for debug to 3 for error. The host sets its own.
M.least = 0

--- One message, whatever was written before it.
local function write(level, text)
  -- C's strings end with such a byte.
  if ranks[level] >= M.least then M.sink(level, (text:gsub("%z", escape))) end
end

M.clock = os.time

-- All gates, which keep a count of what they kept back.
local gates = setmetatable({}, { __mode = "k" })

local function tell_suppressed(gate)
  local count = gate.suppressed
  gate.suppressed = 0
  if count > 0 then write(gate.level, ("%d more %s were not written"):format(count, gate.what)) end
end

local function passes(gate)
  local now = gate.clock()
  if now ~= gate.second then gate.second, gate.written = now, 0 end
  if gate.written >= gate.burst then
    gate.suppressed = gate.suppressed + 1
    return false
  end
  gate.written = gate.written + 1
  tell_suppressed(gate)
  return true
end

--- A gate for messages that come as fast as packets: the function that says whether to write one now, at most burst
--- in a second. Before the next one it writes how many it kept back.
---@param level "debug"|"info"|"warn"|"error"
---@param burst integer
---@param what string "filter errors"
---@param clock? fun(): number seconds; os.time
---@return fun(): boolean
function M.gate(level, burst, what, clock)
  local gate = { level = level, burst = burst, what = what, clock = clock or os.time, written = 0, suppressed = 0 }
  local function may_write() return (passes(gate)) end
  gates[may_write] = gate
  return may_write
end

--- Writes how many messages all gates have kept back, when no more will come.
function M.flush()
  for _, gate in pairs(gates) do tell_suppressed(gate) end
end

--- The same that scripts call below, past the gate of scripts.
M.write = write

for _, level in ipairs { "debug", "info", "warn", "error" } do
  local rank = ranks[level]
  local may_write = M.gate(level, LINES_A_SECOND, level .. " messages", function() return (M.clock()) end)
  M[level] = function(text)
    -- Who replays a capture wants all of it, however fast it goes.
    if rank >= M.least and (live.is_replay or may_write()) then write(level, tostring(text)) end
  end
end

-- nil would be called, and say less.
setmetatable(M, { __index = function(_, name)
  error(("ipq.log has no '%s'; it has debug, info, warn and error"):format(tostring(name)), 2)
end })

core.log = M
return M
