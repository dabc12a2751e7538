--- Counters of a script's own: numbers in memory that the supervisor reads, and that outlives the worker.
---
--- What a script holds of one is its number in the table, as the bits of a pointer that leads nowhere (see live.lua):
--- there is nothing that it could follow or change, and counting is one addition in memory, which allocates nothing.
local abi = require "ipq.engine.abi"
local core = require "ipq.core"
local ffi = require "ffi"
local error, tostring, type = error, tostring, type -- a script may overwrite globals

-- One for the Lua state, as the module ipq is (see engine/abi.lua).
if core.counter then return core.counter end

local C, cast, huge = abi.C, ffi.cast, math.huge
local u64 = ffi.typeof "uint64_t"
local MAX = ffi.C.IPQ_SCRIPT_COUNTERS_MAX
local NAME_MAX = ffi.C.IPQ_COUNTER_NAME_SIZE - 1

local M = {}

-- Where there is no program around the Lua state, its own memory.
local own = ffi.new("struct ipq_counter[?]", MAX)
local scripted = ffi.new(abi.scripted, own)

--- Has the counters be in that memory from here on, IPQ_SCRIPT_COUNTERS_MAX of them, which outlives the Lua state.
---@param counters any lightuserdata or pointer; nil: the Lua state's own
---@param inherited any as many, which a counter of their name begins with; nil: none
function M.place(counters, inherited)
  scripted.counters = counters and cast("struct ipq_counter *", counters) or own
  scripted.inherited = inherited and cast("struct ipq_counter *", inherited) or nil
end

--- All of them, by name.
---@return table<string, number>
function M.all()
  local all = {}
  for i = 0, MAX - 1 do
    local counter = scripted.counters[i]
    if counter.name[0] ~= 0 then all[ffi.string(counter.name)] = counter.value end
  end
  return all
end

--- The struct behind a counter, or an error at the line of who called its method.
local function slot(count, method)
  local number = cast(u64, count) - 1
  if number >= MAX then error(method .. "() is a method of what ipq.counter() gives", 3) end
  return scripted.counters[number]
end

local function check(n, method)
  if not (type(n) == "number" and n > -huge and n < huge) then
    error(method .. "() takes a number", 3)
  end
  return n
end

---@class ipq.Counter
local Counter = {}

function Counter:inc(n)
  local counter = slot(self, "inc")
  counter.value = counter.value + (n == nil and 1 or check(n, "inc"))
end

function Counter:set(value)
  slot(self, "set").value = check(value, "set")
end

function Counter:get() return slot(self, "get").value end

ffi.metatype("struct ipq_count", {
  __index = Counter,
  __tostring = function(self) return "ipq.counter(\"" .. ffi.string(slot(self, "tostring").name) .. "\")" end,
})

local pointer = ffi.typeof "struct ipq_count *"

--- The number of that name, or the first that is free.
local function find(counters, name)
  for i = 0, MAX - 1 do
    local counter = counters[i]
    if counter.name[0] == 0 then return i, true end
    if ffi.string(counter.name) == name then return i, false end
  end
end

local function inherited_value(name)
  if scripted.inherited == nil then return 0 end
  local number, is_new = find(scripted.inherited, name)
  return number and not is_new and scripted.inherited[number].value or 0
end

--- The counter of that name, which begins at 0, or goes on from where the worker before this one left it.
---@param name string letters a to z, digits, "_"; no digit at its beginning; 63 characters at most
---@return ipq.Counter
function M.counter(name)
  if type(name) ~= "string" or #name > NAME_MAX or not name:find "^[a-z_][a-z0-9_]*$" then
    error(("ipq.counter(): a name has the letters a to z, digits and \"_\", begins with no digit, and is at most %d "
      .. "long; %s is none"):format(NAME_MAX, tostring(name)), 2)
  end
  local number, is_new = find(scripted.counters, name)
  if not number then error(("ipq.counter(): there are %d already, which is the most"):format(MAX), 2) end
  if is_new then C.ipq_counter_name(scripted.counters[number], name, #name, inherited_value(name)) end
  return (cast(pointer, number + 1))
end

core.counter = M
return M
