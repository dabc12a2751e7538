--- Sets of domain names, looked up in C: one call and no garbage, however many names.
local abi = require "ipq.engine.abi"
local core = require "ipq.core"
local ffi = require "ffi"
local messages = require "ipq.dns.message"
local error, pairs, tonumber, tostring, type = error, pairs, tonumber, tostring, type -- a script may overwrite globals

-- A metatype lasts as long as the Lua state, this module perhaps not (see engine/abi.lua).
if core.domainset then return core.domainset end

local C = abi.C
local istype = ffi.istype
local byte, lower, sub, DOT = string.byte, string.lower, string.sub, 46
local set_pointer = ffi.typeof "struct ipq_domainset *" -- see netset.lua
local line = ffi.new "uint32_t[1]"

---@class ipq.Domainset
local Domainset = {}

local function check_set(set)
  if not istype(set_pointer, set) then error("call it as set:method(...)", 3) end
end

local function reason(code) return (ffi.string(C.ipq_domainset_strerror(code))) end

--- How many bytes at the end of the name are in the set: of a text, or of the question of a message.
local function find(set, name)
  if type(name) == "string" then return (tonumber(C.ipq_domainset_find(set, name, #name))) end
  local message = messages.open(name, 3)
  if not message then error("a name must be a string, or a message of dns.parse(), not a " .. type(name), 3) end
  return (tonumber(C.ipq_domainset_find(set, message.name, message.name_len)))
end

--- Whether a name is in the set, or is below one that is.
---@param name string|ipq.DnsMessage "www.ads.example"; of a message it is that of its first question
---@return boolean
function Domainset:has(name)
  check_set(self)
  return find(self, name) > 0
end

--- The longest name of the set that a name is, or is below; nil where there is none.
---@param name string|ipq.DnsMessage
---@return string? listed in small letters
function Domainset:match(name)
  check_set(self)
  local len = find(self, name)
  if len == 0 then return nil end
  if type(name) ~= "string" then
    local message = messages.open(name, 2)
    return (ffi.string(message.name + (message.name_len - len), len))
  end
  local last = #name
  if byte(name, last) == DOT then last = last - 1 end
  return (lower(sub(name, last - len + 1, last)))
end

local function check_name(name)
  if type(name) ~= "string" then error("a name must be a string, not a " .. type(name), 3) end
end

--- Adds a name, as lists have it: "ads.example", "*.ads.example", "||ads.example^". Raises where it is none.
---@param name string
---@return boolean added false where it was there
function Domainset:add(name)
  check_set(self)
  check_name(name)
  local code = C.ipq_domainset_add(self, name, #name)
  if code < 0 then error(("%q: %s"):format(name, reason(code)), 2) end
  return code > 0
end

--- Takes a name out, not those below it that were added. Raises where it is none.
---@param name string
---@return boolean removed false where it was not there
function Domainset:remove(name)
  check_set(self)
  check_name(name)
  local code = C.ipq_domainset_remove(self, name, #name)
  if code < 0 then error(("%q: %s"):format(name, reason(code)), 2) end
  return code > 0
end

local function file_message(path, code)
  if line[0] == 0 then return (("cannot read the names: %s: %s"):format(path, reason(code))) end
  return (("%s:%d: %s"):format(path, line[0], reason(code)))
end

--- Reads the set's file again, if it has changed since: the set has what is in it then, and nothing else.
---@return boolean? refreshed whether it has; nil where the file cannot be read or has a bad line, which is told once
---@return string? why then the set is as it was
function Domainset:refresh()
  check_set(self)
  local code = C.ipq_domainset_refresh(self, line)
  if code < 0 then return nil, file_message(ffi.string(C.ipq_domainset_path(self)), code) end
  return code > 0
end

ffi.metatype("struct ipq_domainset", {
  __index = function(_, key)
    local method = Domainset[key]
    if method == nil then
      error(("a domainset has no '%s'; it has :has(name), :match(name), :add(name), :remove(name), :refresh()")
        :format(tostring(key)), 2)
    end
    return method
  end,
  __newindex = function() error("a domainset is changed by its methods: set:add(name)", 2) end,
  __len = function(self) return (C.ipq_domainset_count(self)) end,
  __tostring = function(self) return (("domainset of %d names"):format(C.ipq_domainset_count(self))) end,
})

local function add_table(set, list)
  for key, text in pairs(list) do
    if type(key) ~= "number" then
      error(("names come as a list; this table has a key '%s'"):format(tostring(key)), 3)
    end
    if type(text) ~= "string" then
      error(("entry %d: a name must be a string, not a %s"):format(key, type(text)), 3)
    end
    local code = C.ipq_domainset_add(set, text, #text)
    if code < 0 then error(("entry %d, %q: %s"):format(key, text, reason(code)), 3) end
  end
end

local function add_file(set, path)
  if path:find("\0", 1, true) then error(("%q: no file has such a name"):format(path), 3) end
  local code = C.ipq_domainset_load(set, path, line)
  if code < 0 then error(file_message(path, code), 3) end
end

local M = {}

--- A set of domain names: a list of them, or a file that is one of hosts(5), one of a name a line, or one of adblock's
--- "||name^". A name stands for all below it as well. Raises where an entry or a line is wrong, and where the file
--- cannot be read.
---@param names string[]|string the list, or the file's path
---@return ipq.Domainset
function M.new(names)
  local kind = type(names)
  if kind ~= "table" and kind ~= "string" then
    error("names must be a list or a file's path, not a " .. kind, 2)
  end
  local out = ffi.new "struct ipq_domainset *[1]"
  local code = C.ipq_domainset_new(out)
  if code < 0 then error(reason(code), 2) end
  local set = ffi.gc(out[0], C.ipq_domainset_free)
  if kind == "table" then add_table(set, names) else add_file(set, names) end
  return set
end

core.domainset = M
return M
