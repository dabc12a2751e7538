--- Names that a table may have: a misspelt one raises, where it is given and where it is read.
local bad = require("ipq.build.misuse").bad
local concat, error, ipairs, pairs = table.concat, error, ipairs, pairs
local setmetatable, tostring, type = setmetatable, tostring, type

local M = {}

local function listed(names)
  if #names < 2 then return names[1] or "nothing" end
  return concat(names, ", ", 1, #names - 1) .. " and " .. names[#names]
end

local sets = setmetatable({}, { __mode = "k" })

--- The names as a set, which is made once for each list.
local function set_of(names)
  local set = sets[names]
  if not set then
    set = {}
    for _, name in ipairs(names) do set[name] = true end
    sets[names] = set
  end
  return set
end

--- Raises where given is no table, or has another key than names. what is "load()'s options".
---@param what string
---@param given any
---@param names string[]
function M.check(what, given, names)
  if type(given) ~= "table" then bad("%s are a table that may have %s, not a %s", what, listed(names), type(given)) end
  local known = set_of(names)
  for key in pairs(given) do
    if not known[key] then bad("%s have no '%s'; there are %s", what, tostring(key), listed(names)) end
  end
end

--- The __index of a table that has these names, some of them nil perhaps, and these methods. what is "a result".
---@param what string
---@param names string[]
---@param methods? table<string, function>
---@return fun(t: table, key: any): any
function M.strict(what, names, methods)
  local known = set_of(names)
  return function(_, key)
    local method = methods and methods[key]
    if method == nil and not known[key] then
      error(("%s has no '%s'; it has %s"):format(what, tostring(key), listed(names)), 2)
    end
    return method
  end
end

return M
