--- The words behind the script's name on the command line.
local abi = require "ipq.engine.abi"
local core = require "ipq.core"
local spelling = require "ipq.spelling"
-- A script may overwrite globals.
local concat, error, ipairs, pairs, select = table.concat, error, ipairs, pairs, select
local sort, tonumber, tostring, type = table.sort, tonumber, tostring, type

-- One for the Lua state, as the module ipq is (see engine/abi.lua).
if core.arguments then return core.arguments end

local C, huge, PORT_MOST = abi.C, math.huge, 65535

local M = {}

-- Those of the script that was loaded last, the table that they are in by name, and whether it has said what it takes.
local words, args, is_said = {}, {}, false

--- key=value words as a table; the others are in `...` and `arg` alone.
---@param argv string[]
---@return table<string, string>
function M.parse(argv)
  words, args, is_said = argv, {}, false
  for _, word in ipairs(argv) do
    local key, value = word:match "^([^=]+)=(.*)$"
    if key then args[key] = value end
  end
  return args
end

local truth = { yes = true, ["true"] = true, ["1"] = true, on = true, no = false, ["false"] = false, ["0"] = false,
  off = false }

--- Ports as a list, in the order of the text: "22,8000-8003"; nil where that is none.
local function ports_of(text)
  local ports = {}
  for word in (text .. ","):gmatch "([^,]*)," do
    local first, last = word:match "^(%d+)%-?(%d*)$"
    first, last = tonumber(first), tonumber(last ~= "" and last or first)
    if not first or word:find "%-$" or first < 1 or first > last or last > PORT_MOST then return nil end
    for port = first, last do ports[#ports + 1] = port end
  end
  return ports
end

-- The types: what is a value (in Lua) for a default; how a word becomes one, or nil and why not; what it takes; whether
-- a default is such a word, too.
local types = {
  string = { lua = "string", takes = "text", read = function(word) return word end },
  number = { lua = "number", takes = "a number", read = function(word)
    local number = tonumber(word)
    if number and number > -huge and number < huge then return number end
  end },
  boolean = { lua = "boolean", takes = "yes or no (true or false, 1 or 0, on or off)", read = function(word)
    return truth[word]
  end },
  ports = { lua = "string", is_word = true, takes = "ports from 1 to 65535, as 80 or 22,8000-8003", read = ports_of },
  file = { lua = "string", is_word = true, takes = "a file that can be read", read = function(word)
    local result = C.ipq_file_check(word)
    if result == 0 then return word end
    return nil, (core.strerror(result))
  end },
}

--- The names of a table, in order: what goes wrong first is no matter of chance.
local function names_of(list)
  local names = {}
  for name in pairs(list) do names[#names + 1] = name end
  sort(names)
  return names
end

--- Raises where a word is none of these arguments. level is that of error() for the caller.
local function check_words(known, level)
  local names, shown = names_of(known), {}
  for i, name in ipairs(names) do shown[i] = name .. "=" end
  for _, word in ipairs(words) do
    local name = word:match "^([^=]+)="
    if not known[name or false] then
      local meant = name and spelling.meant(name, known) or known[word] and word
      local hint = meant and ("; did you mean '%s='?"):format(meant) or ""
      local all = #shown > 0 and concat(shown, ", ") or "none"
      error(("'%s' is no argument of this script, which takes %s%s"):format(word, all, hint), level + 1)
    end
  end
end

local rule_keys = { type = true, default = true, required = true }

--- A rule, { type, default, required }, from what a script says of an argument. Raises where that is none; level is
--- that of error() for the caller.
local function rule_of(name, said, level)
  local function bad(text, ...) error(("ipq.takes(): " .. text):format(...), level + 2) end
  if type(name) ~= "string" then
    bad("names come with their values, { port = 443 }; names alone go without the braces, ipq.takes(\"port\")")
  end
  if name == "" or name:find("=", 1, true) then bad("'%s' cannot be the name of an argument", name) end
  if type(said) ~= "table" then
    if not types[type(said)] then
      bad("%s must be a default, which is text, a number or a boolean, or a table with a type; not a %s", name,
        type(said))
    end
    return { type = type(said), default = said }
  end
  for key in pairs(said) do
    if not rule_keys[key] then
      bad("%s has an unknown field '%s'; it may have type, default and required", name, tostring(key))
    end
  end
  local kind = types[said.type]
  if not kind then
    bad("%s: the type must be \"string\", \"number\", \"boolean\", \"ports\" or \"file\", not %s", name,
      tostring(said.type))
  end
  if said.default ~= nil and type(said.default) ~= kind.lua then
    bad("%s: the default must be a %s, not a %s", name, kind.lua, type(said.default))
  end
  if said.required ~= nil and type(said.required) ~= "boolean" then bad("%s: required must be true or false", name) end
  if said.required and said.default ~= nil then bad("%s: what is required has no default", name) end
  return said
end

--- The value of an argument. Raises where it cannot have what was given.
local function value_of(name, rule, level)
  local word = args[name]
  -- A file has to be there, whoever named it.
  if word == nil and types[rule.type].is_word then word = rule.default end
  if word == nil then
    if rule.required then
      error(("the argument %s= is missing: it takes %s"):format(name, types[rule.type].takes), level + 1)
    end
    return rule.default
  end
  local value, why = types[rule.type].read(word)
  if value == nil then
    error(("%s=%s: the argument %s takes %s%s"):format(name, word, name, types[rule.type].takes,
      why and ": " .. why or ""), level + 1)
  end
  return value
end

local function take_typed(said, level)
  local rules, values = {}, {}
  for name, each in pairs(said) do rules[name] = rule_of(name, each, level + 1) end
  check_words(rules, level + 1)
  for _, name in ipairs(names_of(rules)) do values[name] = value_of(name, rules[name], level + 1) end
  -- The same table: it is ipq.args, and what start() gets.
  for name in pairs(rules) do args[name] = values[name] end
end

--- Names the arguments that the script knows. Raises, at the caller's line, where it was given another, or a word
--- that is no key=value.
---
--- With a table it says what they are: a default, whose type is the argument's, or { type = "string", "number",
--- "boolean" or "file", default = ..., required = true }. ipq.args has the values then, of these types.
---@param ... string|table<string, any>
function M.takes(...)
  if is_said then error("ipq.takes() was called before: one call names all arguments", 2) end
  is_said = true
  local first = ...
  if type(first) == "table" and select("#", ...) == 1 then
    take_typed(first, 2)
    return
  end
  local known = {}
  for i = 1, select("#", ...) do
    local name = select(i, ...)
    if type(name) ~= "string" then
      error("ipq.takes() takes the names of arguments, or one table of them, not a " .. type(name), 2)
    end
    known[name] = true
  end
  check_words(known, 2)
end

core.arguments = M
return M
