--- What LuaJIT makes of a filter: whether the loop over packets has a trace of its own, and what is not compiled.
---
--- LuaJIT tells of each trace when it is begun, ended or given up. Nothing is asked while packets are judged.
local jit = require "jit"
local jutil = require "jit.util"
local log = require "ipq.log"
-- A script may overwrite globals.
local getregistry, next, pcall, require = debug.getregistry, next, pcall, require
local tostring, type = tostring, type

local M = {}

-- How often LuaJIT tries before it gives a place up: a loop or a function (each time it waits twice as long), and what
-- follows an exit of a trace (its parameter tryside). Lines that are told at most.
local TRIES, SIDE_TRIES, LINES = 10, 4, 20

local loop -- the function of the loop over packets
local starts = {} -- trace number → { place, is_side, is_loop }, of those that are recorded
local has_loop_trace = false
local failures, told, is_told = {}, 0, {} -- by place: how often it was given up, and whether that was told
local vmdef -- jit.vmdef, where that file is there

local function place_of(func, pc) return (jutil.funcinfo(func, pc).loc) end

local function is_loop(func)
  local info, own = jutil.funcinfo(func), jutil.funcinfo(loop)
  return info.source == own.source and info.linedefined == own.linedefined
end

local function reason_of(code, detail)
  local text = type(code) == "number" and vmdef and vmdef.traceerr[code] or tostring(code)
  if type(detail) == "function" then
    detail = jutil.funcinfo(detail).loc
  elseif text == "NYI: bytecode %d" then
    text, detail = "NYI: bytecode %s", vmdef.bcnames:sub(detail * 6 + 1, detail * 6 + 6):match "%S+"
  end
  local ok, filled = pcall(text.format, text, detail)
  return ok and filled or text
end

local function on_abort(start, code, detail)
  local place = start.place
  failures[place] = (failures[place] or 0) + 1
  if failures[place] < (start.is_side and SIDE_TRIES or TRIES) or is_told[place] or told == LINES then return end
  told, is_told[place] = told + 1, true
  log.write("debug", ("%s is not compiled, but interpreted: %s"):format(place, reason_of(code, detail)))
end

local function on_trace(what, trace, func, pc, code, detail)
  if what == "start" then
    -- Then code is the number of the trace whose exit goes on here.
    starts[trace] = { place = place_of(func, pc), is_side = code ~= nil and code > 0, is_loop = is_loop(func) }
  elseif what == "stop" then
    local start = starts[trace]
    starts[trace] = nil
    if start and start.is_loop and not start.is_side and jutil.traceinfo(trace).linktype == "loop" then
      has_loop_trace = true
    end
  elseif what == "abort" then
    local start = starts[trace]
    starts[trace] = nil
    if start then on_abort(start, code, detail) end
  elseif what == "flush" then
    has_loop_trace = false
  end
end
jit.off(on_trace, true)
jit.off(on_abort, true)

--- Whether somebody else is told of LuaJIT's events: a script by jit.v, say. There can be one listener alone.
local function is_taken()
  local listeners = getregistry()._VMEVENTS
  return listeners ~= nil and next(listeners) ~= nil
end

--- Watches the compiler from here on, for the loop of a program that does nothing else. False where somebody else does,
--- and where nothing is compiled.
---@param func function the loop over packets
---@return boolean
function M.watch(func)
  loop = func
  has_loop_trace = false
  if vmdef ~= nil then return true end
  if is_taken() or not jit.status() then return false end
  local ok, names = pcall(require, "jit.vmdef")
  vmdef = ok and names
  jit.attach(on_trace, "trace")
  return true
end

--- Whether the loop over packets has a trace that begins with it.
function M.has_loop_trace() return has_loop_trace end

--- Throws away what is compiled, so that the loop is the first to be compiled again. Once in a Lua state; false from
--- the second time on.
function M.start_anew()
  if M.has_started_anew then return false end
  M.has_started_anew = true
  -- Going off and on sets all counts back by which LuaJIT finds what is hot: the loop is to be found first.
  jit.off()
  jit.flush()
  jit.on()
  return true
end

return M
