--- The words behind the script's name on the command line.
local core = require "ipq.core"
local concat, error, ipairs, select, type = table.concat, error, ipairs, select, type -- a script may overwrite globals

-- One for the Lua state, as the module ipq is (see engine/abi.lua).
if core.arguments then return core.arguments end

local M = {}

-- Those of the script that was loaded last.
local words = {}

--- key=value words as a table; the others are in `...` and `arg` alone.
---@param argv string[]
---@return table<string, string>
function M.parse(argv)
  local args = {}
  words = argv
  for _, word in ipairs(argv) do
    local key, value = word:match "^([^=]+)=(.*)$"
    if key then args[key] = value end
  end
  return args
end

--- Names the arguments that the script knows. Raises, at the caller's line, where it was given another, or a word
--- that is no key=value.
---@param ... string
function M.takes(...)
  local known, shown = {}, {}
  for i = 1, select("#", ...) do
    local name = select(i, ...)
    if type(name) ~= "string" then error("ipq.takes() takes the names of arguments, not a " .. type(name), 2) end
    known[name], shown[i] = true, name .. "="
  end
  for _, word in ipairs(words) do
    if not known[word:match "^([^=]+)=" or false] then
      local all = #shown > 0 and concat(shown, ", ") or "none"
      error(("'%s' is no argument of this script, which takes %s"):format(word, all), 2)
    end
  end
end

core.arguments = M
return M
