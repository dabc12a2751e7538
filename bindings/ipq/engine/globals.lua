--- The globals of a script that nobody defines: misspelt names, and variables that lack their "local".
---
--- They are read off the bytecode of the script's functions, all of them, run or not: it has an instruction of its own
--- for reading a global and another one for setting one. What goes another way, as _G.name does, is not seen.
local bit = require "bit"
local jutil = require "jit.util"
local spelling = require "ipq.spelling"
-- A script may overwrite globals.
local debug, ipairs, pairs, pcall = debug, ipairs, pairs, pcall
local sort, type = table.sort, type

local M = {}

local function opcode(instruction) return (bit.band(instruction, 0xff)) end

-- LuaJIT's versions number them differently.
local GET = opcode(jutil.funcbc(loadstring "return x", 1))
local SET = opcode(jutil.funcbc(loadstring "x = y", 2))

-- What there is before a script is loaded.
local GLOBALS = _G
local given = {}
for name in pairs(GLOBALS) do given[name] = true end

--- Calls each(name, is_set, line) for each use of a global in a function, and in those that are in it.
local function walk(func, each)
  local pc = 1
  while true do
    local instruction = jutil.funcbc(func, pc)
    if not instruction then break end
    local op = opcode(instruction)
    if op == GET or op == SET then
      local name = jutil.funck(func, -1 - bit.rshift(instruction, 16))
      each(name, op == SET, jutil.funcinfo(func, pc).currentline)
    end
    pc = pc + 1
  end
  local i = -1
  while true do
    local constant = jutil.funck(func, i)
    if constant == nil then return end
    if type(constant) == "proto" then walk(constant, each) end
    i = i - 1
  end
end

--- Whether something that the script has required has made a global of that name.
local function is_there(name)
  local ok, value = pcall(function() return GLOBALS[name] ~= nil end)
  return ok and value
end

--- The names of both tables.
local function joined(a, b)
  local all = {}
  for name in pairs(a) do all[name] = true end
  for name in pairs(b) do all[name] = true end
  return all
end

--- The globals that nobody defines, in the order of lines: what the script sets, where it does first, and what it reads
--- and nobody has set.
---@param chunk function the script, which has been run
---@param path string
---@return string[] "file:line: …"
function M.undefined(chunk, path)
  local uses, set, read = {}, {}, {}
  -- Its globals are its own then.
  if debug.getfenv(chunk) ~= GLOBALS then return uses end
  walk(chunk, function(name, is_set, line)
    if given[name] then return end
    local first = is_set and set or read
    if not first[name] or line < first[name] then first[name] = line end
  end)
  for name, line in pairs(set) do
    uses[#uses + 1] = { line = line, text = ("the global '%s' is set: put \"local\" before its first use")
      :format(name) }
  end
  for name, line in pairs(read) do
    if not set[name] and not is_there(name) then
      uses[#uses + 1] = { line = line, text = ("the global '%s' is read, and nobody sets it%s")
        :format(name, spelling.hint(name, joined(given, set))) }
    end
  end
  sort(uses, function(a, b) return a.line < b.line or a.line == b.line and a.text < b.text end)
  local lines = {}
  for i, use in ipairs(uses) do lines[i] = ("%s:%d: %s"):format(path, use.line, use.text) end
  return lines
end

return M
