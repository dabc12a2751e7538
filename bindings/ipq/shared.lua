--- Tables that all workers share: they outlive a killed worker and a reload. One call to C an operation, and no garbage
--- but for the text that is read.
local abi = require "ipq.engine.abi"
local core = require "ipq.core"
local ffi = require "ffi"
local live = require "ipq.engine.live"
local region = require "ipq.engine.region"
local spelling = require "ipq.spelling"
-- A script may overwrite globals.
local error, pairs, setmetatable, tonumber, tostring, type = error, pairs, setmetatable, tonumber, tostring, type

-- A metatype lasts as long as the Lua state, this module perhaps not (see engine/abi.lua).
if core.shared_tables then return core.shared_tables end

local C, E, istype = abi.C, ffi.C, ffi.istype
local now, packet_of = region.now, live.packet_of
local huge = math.huge
local NUMBER, TEXT = tonumber(E.IPQ_SHARED_NUMBER), tonumber(E.IPQ_SHARED_TEXT)
local TRUE, FALSE = tonumber(E.IPQ_SHARED_TRUE), tonumber(E.IPQ_SHARED_FALSE)
local ADDRESS4, ADDRESS6 = tonumber(E.IPQ_SHARED_ADDRESS4), tonumber(E.IPQ_SHARED_ADDRESS6)
local SET, ADD, REPLACE = tonumber(E.IPQ_SHARED_SET), tonumber(E.IPQ_SHARED_ADD), tonumber(E.IPQ_SHARED_REPLACE)
local KEY_MAX, NAME_MAX = tonumber(E.IPQ_SHARED_KEY_MAX), tonumber(E.IPQ_SHARED_NAME_MAX)
local ENTRIES_MAX, VALUE_MAX = tonumber(E.IPQ_SHARED_ENTRIES_MAX), tonumber(E.IPQ_SHARED_VALUE_MAX)
local DEFAULT_TTL = tonumber(E.IPQ_SHARED_DEFAULT)
local TTL_MAX, NS = 1e9, 1e9 -- seconds; nanoseconds in one
local ENTRIES, VALUE, KEYS = 10000, 256, 1024 -- where a script says nothing
local NO_ADDRESS = "the packet has no address"

-- A table is a pointer whose finaliser closes it; C alone knows what is behind it (see netset.lua).
local table_pointer = ffi.typeof "struct ipq_shared_table *"
local key = ffi.new "struct ipq_shared_key"
local value = ffi.new "struct ipq_shared_value"
local double = ffi.typeof "double[1]"
local initial, result = double(), double()
local left, cursor = ffi.new "int64_t[1]", ffi.new "uint64_t[1]"
local text = ffi.new("char[?]", E.IPQ_ADDRESS_TEXT)

-- Messages of errors, by their codes: making one takes longer than what went wrong.
local reasons = setmetatable({}, { __index = function(reasons, code)
  reasons[code] = region.reason(code)
  return reasons[code]
end })

-- What methods are called with. Each raises at the line of who called the method, which called it.

local function check_table(shared)
  if not istype(table_pointer, shared) then error("call it as table:method(...)", 3) end
end

-- One level more: its caller is called by the method.
local function check_packet(pkt)
  if not istype(abi.view_pointer, pkt) then error("not a packet: " .. tostring(pkt), 4) end
end

local function check_number(number, what)
  if type(number) ~= "number" or number ~= number then
    error(what .. " must be a number, not " .. tostring(number), 3)
  end
end

local function fill_key(of)
  if type(of) == "string" then
    if C.ipq_shared_key_text(key, of, #of) < 0 then
      error(("a key has %d bytes at most; this one has %d"):format(KEY_MAX, #of), 3)
    end
  elseif type(of) == "number" and of == of then
    C.ipq_shared_key_number(key, of)
  else
    error("a key must be a string or a number, not " .. (type(of) == "number" and "NaN" or "a " .. type(of)), 3)
  end
  return true
end

local function fill_value(of)
  local kind = type(of)
  if kind == "number" then
    value.kind, value.number = NUMBER, of
  elseif kind == "boolean" then
    value.kind = of and TRUE or FALSE
  elseif kind == "string" then
    value.kind, value.text, value.len = TEXT, of, #of
  else
    error("a value must be a number, a boolean or a string, not a " .. kind, 3)
  end
end

--- A time above 0 is one of a nanosecond at least, as 0 is for ever.
local function to_ns(seconds)
  if seconds > 0 and seconds < 1e-9 then return 1 end
  return seconds * NS
end

--- Nanoseconds of a time to live in seconds; the table's own where there is none.
local function ttl_ns(seconds)
  if seconds == nil then return DEFAULT_TTL end
  if type(seconds) ~= "number" or not (seconds >= 0 and seconds <= TTL_MAX) then
    error("a time to live is a number of seconds, from 0 (for ever) to 1e9", 3)
  end
  return (to_ns(seconds))
end

local function check_rate(per_second, burst, cost)
  if not (type(per_second) == "number" and per_second > 0 and per_second < huge) then
    error("a bucket takes a number of tokens a second, above 0", 3)
  end
  if not (type(burst) == "number" and burst > 0 and burst < huge) then
    error("a bucket's burst is the number of tokens that it holds, above 0", 3)
  end
  if not (type(cost) == "number" and cost >= 0 and cost < huge) then
    error("a bucket's cost is the number of tokens that are taken, from 0 up", 3)
  end
end

-- What is done with the key.

local function get(shared)
  local kind = C.ipq_shared_get(shared, key, now(), value)
  if kind == NUMBER then return value.number end
  if kind == 0 then return nil end
  if kind == TRUE then return true end
  if kind == FALSE then return false end
  if kind == TEXT then return (ffi.string(value.text, value.len)) end
  return nil, reasons[kind]
end

local function set(shared, ttl, mode)
  local code = C.ipq_shared_set(shared, key, now(), value, ttl, mode)
  if code == 0 then return true end
  return nil, reasons[code]
end

local function incr(shared, n, first, ttl)
  local start
  if first then
    initial[0] = first
    start = initial
  end
  local code = C.ipq_shared_incr(shared, key, now(), n, start, ttl, result)
  if code == 0 then return result[0] end
  return nil, reasons[code]
end

local function bucket(shared, per_second, burst, cost)
  local code = C.ipq_shared_bucket(shared, key, now(), per_second, burst, cost)
  if code == 1 then return true end
  if code == 0 then return false end
  return nil, reasons[code]
end

local function delete(shared)
  local code = C.ipq_shared_delete(shared, key, now())
  if code >= 0 then return code == 1 end
  return nil, reasons[code]
end

local function expire(shared, ttl)
  local code = C.ipq_shared_expire(shared, key, now(), ttl)
  if code == 0 then return true end
  return nil, reasons[code]
end

local function time_left(shared)
  local code = C.ipq_shared_ttl(shared, key, now(), left)
  if code == 0 then return tonumber(left[0]) / NS end
  return nil, reasons[code]
end

---@class ipq.Shared
local Shared = {}

--- Each method, and those that end with _saddr and _daddr, by how they get the key of what they are called with: fill()
--- raises at the line of the method's caller, and gives false where a packet has no address.
local function define(ending, fill)
  Shared["get" .. ending] = function(self, of)
    check_table(self)
    if not fill(of) then return nil, NO_ADDRESS end
    local found, why = get(self)
    return found, why
  end

  local function setter(mode)
    return function(self, of, new, ttl)
      check_table(self)
      if not fill(of) then return nil, NO_ADDRESS end
      if new == nil and mode == SET then
        local was, reason = delete(self)
        if was == nil then return nil, reason end
        return true
      end
      fill_value(new)
      local done, why = set(self, ttl_ns(ttl), mode)
      return done, why
    end
  end
  Shared["set" .. ending], Shared["add" .. ending] = setter(SET), setter(ADD)
  Shared["replace" .. ending] = setter(REPLACE)

  Shared["incr" .. ending] = function(self, of, n, first, ttl)
    check_table(self)
    if not fill(of) then return nil, NO_ADDRESS end
    if n == nil then n = 1 end
    check_number(n, "what is added")
    if first ~= nil then check_number(first, "the initial number") end
    local sum, why = incr(self, n, first, ttl_ns(ttl))
    return sum, why
  end

  Shared["bucket" .. ending] = function(self, of, per_second, burst, cost)
    check_table(self)
    if not fill(of) then return nil, NO_ADDRESS end
    if cost == nil then cost = 1 end
    check_rate(per_second, burst, cost)
    local has, why = bucket(self, per_second, burst, cost)
    return has, why
  end

  Shared["delete" .. ending] = function(self, of)
    check_table(self)
    if not fill(of) then return nil, NO_ADDRESS end
    local was, why = delete(self)
    return was, why
  end

  Shared["expire" .. ending] = function(self, of, ttl)
    check_table(self)
    if not fill(of) then return nil, NO_ADDRESS end
    local done, why = expire(self, ttl_ns(ttl))
    return done, why
  end

  Shared["ttl" .. ending] = function(self, of)
    check_table(self)
    if not fill(of) then return nil, NO_ADDRESS end
    local seconds, why = time_left(self)
    return seconds, why
  end
end

define("", fill_key)

define("_saddr", function(pkt)
  check_packet(pkt)
  return C.ipq_shared_key_saddr(key, packet_of(pkt)) == 0
end)

define("_daddr", function(pkt)
  check_packet(pkt)
  return C.ipq_shared_key_daddr(key, packet_of(pkt)) == 0
end)

--- The key that C has told, as a script would name it.
local function key_value()
  if key.kind == NUMBER then return ffi.cast("double *", key.bytes)[0] end
  if key.kind == ADDRESS4 or key.kind == ADDRESS6 then
    C.ipq_address_text(key.kind == ADDRESS4 and 4 or 6, key.bytes, text)
    return (ffi.string(text))
  end
  return (ffi.string(key.text ~= nil and key.text or key.bytes, key.len))
end

--- The table's keys, in no order; addresses as text.
---@param most? integer how many at most, 1,024 where it is left out; 0: all
---@return (string|number)[]
function Shared:keys(most)
  check_table(self)
  if most == nil then most = KEYS end
  if type(most) ~= "number" or most < 0 or most ~= most then error("keys() takes how many at most; 0 for all", 2) end
  local list, seen, time = {}, {}, now()
  cursor[0] = 0
  while (most == 0 or #list < most) and C.ipq_shared_next(self, time, cursor, key) > 0 do
    local found = key_value()
    -- A value and a bucket may have the same.
    if not seen[found] then
      seen[found] = true
      list[#list + 1] = found
    end
  end
  return list
end

--- Forgets all that is in the table.
---@return boolean? done
---@return string? why
function Shared:clear()
  check_table(self)
  local code = C.ipq_shared_clear(self)
  if code == 0 then return true end
  return nil, reasons[code]
end

ffi.metatype("struct ipq_shared_table", {
  __index = function(_, name)
    local method = Shared[name]
    if method == nil then
      error(("a shared table has no '%s'%s; what it keeps comes by its methods, table:get(key)")
        :format(tostring(name), spelling.hint(name, Shared)), 2)
    end
    return method
  end,
  __newindex = function()
    error("a shared table has no fields to assign; what it keeps goes in by its methods, table:set(key, value)", 2)
  end,
  __tostring = function() return "shared table" end,
})

local M = {}

local known = { entries = true, ttl = true, value = true }

local function whole(name, options, option, default, least, most)
  local number = options[option]
  if number == nil then return default end
  if type(number) ~= "number" or not (number >= least and number <= most) or number % 1 ~= 0 then
    error(("ipq.shared(%q): %s must be a whole number from %d to %d, not %s"):format(name, option, least, most,
      spelling.value(number)), 4)
  end
  return number
end

local function check_options(name, options)
  if type(name) ~= "string" or #name == 0 or #name > NAME_MAX or name:find("\0", 1, true) then
    error(("ipq.shared(): a table's name is text of 1 to %d bytes"):format(NAME_MAX), 3)
  end
  if type(options) ~= "table" then
    error("ipq.shared() takes a name and a table, { entries = 100000, ttl = 60 }", 3)
  end
  for option in pairs(options) do
    if not known[option] then
      error(("ipq.shared(%q) has no option '%s'%s"):format(name, tostring(option), spelling.hint(option, known)), 3)
    end
  end
  local ttl = options.ttl or 0
  if type(ttl) ~= "number" or not (ttl >= 0 and ttl <= TTL_MAX) then
    error(("ipq.shared(%q): ttl must be a number of seconds, from 0 (for ever) to 1e9, not %s"):format(name,
      spelling.value(ttl)), 3)
  end
  local entries = whole(name, options, "entries", ENTRIES, 1, ENTRIES_MAX)
  return entries, whole(name, options, "value", VALUE, 0, VALUE_MAX), to_ns(ttl)
end

--- The table of that name, which all workers share; made where there is none. Raises where the memory for shared
--- tables has no room for it.
---@param name string
---@param options? {entries?: integer, ttl?: number, value?: integer} entries that it has room for (10,000), seconds
---  that they live (0: for ever), bytes that a text has at most (256)
---@return ipq.Shared
function M.shared(name, options)
  local entries, size, ttl = check_options(name, options or {})
  local shared, why = region.current()
  if not shared then error("ipq.shared(): " .. why, 2) end
  local out = ffi.new "struct ipq_shared_table *[1]"
  local code = C.ipq_shared_open(shared, name, #name, entries, size, ttl, out)
  if code < 0 then error(("ipq.shared(%q): %s"):format(name, reasons[code]), 2) end
  return (ffi.gc(out[0], C.ipq_shared_close))
end

core.shared_tables = M
return M
