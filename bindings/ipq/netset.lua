--- Sets of networks, looked up in C: one call and no garbage a packet, however many networks.
local abi = require "ipq.engine.abi"
local core = require "ipq.core"
local ffi = require "ffi"
local live = require "ipq.engine.live"
local error, pairs, tostring, type = error, pairs, tostring, type -- a script may overwrite globals

-- A metatype lasts as long as the Lua state, this module perhaps not (see engine/abi.lua).
if core.netset then return core.netset end

local C = abi.C
local istype, packet_of = ffi.istype, live.packet_of
-- A set is a pointer whose finaliser frees what it points to. C alone knows what that is, so a script
-- has nothing to follow or change; and methods take nothing else for a set.
local set_pointer = ffi.typeof "struct ipq_netset *"
local address = ffi.new "uint8_t[16]"
-- (Below, what C gives goes through a local: LuaJIT does not compile a tail call that gives a bool.)

---@class ipq.Netset
local Netset = {}

local function check_set(set)
  if not istype(set_pointer, set) then error("call it as set:method(...)", 3) end
end

local function check_packet(pkt)
  if not istype(abi.view_pointer, pkt) then error("not a packet: " .. tostring(pkt), 3) end
end

--- Whether an address is in one of the set's networks.
---@param text string "10.1.2.3", "2001:db8::1"
---@return boolean
function Netset:has(text)
  check_set(self)
  if type(text) ~= "string" then error("an address must be a string, not a " .. type(text), 2) end
  local version = C.ipq_address_parse(address, text, #text)
  if version < 0 then error(("%q: not an address"):format(text), 2) end
  local found = C.ipq_netset_has(self, version, address, nil)
  return found
end

--- Whether the packet's source address is in one of the set's networks; false where it has no IP header.
---@param pkt ipq.Packet
---@return boolean
function Netset:has_saddr(pkt)
  check_set(self)
  check_packet(pkt)
  local found = C.ipq_netset_has_saddr(self, packet_of(pkt))
  return found
end

--- Whether the packet's destination address is in one of the set's networks; false where it has no IP
--- header.
---@param pkt ipq.Packet
---@return boolean
function Netset:has_daddr(pkt)
  check_set(self)
  check_packet(pkt)
  local found = C.ipq_netset_has_daddr(self, packet_of(pkt))
  return found
end

ffi.metatype("struct ipq_netset", {
  __index = function(_, key)
    local method = Netset[key]
    if method == nil then
      error(("a netset has no '%s'; it has :has(address), :has_saddr(pkt), :has_daddr(pkt)")
        :format(tostring(key)), 2)
    end
    return method
  end,
  __newindex = function() error("a netset cannot be changed", 2) end,
  __len = function(self) return (C.ipq_netset_count(self)) end,
  __tostring = function(self) return (("netset of %d networks"):format(C.ipq_netset_count(self))) end,
})

local function reason(code) return (ffi.string(C.ipq_netset_strerror(code))) end

local function add_table(set, list)
  for key, text in pairs(list) do
    if type(key) ~= "number" then
      error(("networks come as a list; this table has a key '%s'"):format(tostring(key)), 3)
    end
    if type(text) ~= "string" then
      error(("entry %d: a network must be a string, not a %s"):format(key, type(text)), 3)
    end
    local code = C.ipq_netset_add_text(set, text, #text)
    if code < 0 then error(("entry %d, %q: %s"):format(key, text, reason(code)), 3) end
  end
end

local function add_file(set, path)
  if path:find("\0", 1, true) then error(("%q: no file has such a name"):format(path), 3) end
  local line = ffi.new "uint32_t[1]"
  local code = C.ipq_netset_load(set, path, line)
  if code == 0 then return end
  if line[0] == 0 then
    local hint = C.ipq_netset_add_text(set, path, #path) == 0
      and ("; a network comes in a list, ipq.netset { %q }: a string is the name of a file"):format(path) or ""
    error(("cannot read the networks: %s: %s%s"):format(path, reason(code), hint), 3)
  end
  error(("%s:%d: %s"):format(path, line[0], reason(code)), 3)
end

local M = {}

--- A set of networks, "10.0.0.0/8" and "2001:db8::/32", or single addresses; from a list, or from a file
--- that has one a line and comments behind "#" or ";". Bits behind the prefix do not matter: "10.1.2.3/8"
--- is "10.0.0.0/8". Raises where an entry or a line is wrong, and where the file cannot be read.
---@param networks string[]|string the list, or the file's path
---@return ipq.Netset
function M.new(networks)
  local kind = type(networks)
  if kind ~= "table" and kind ~= "string" then
    error("networks must be a list or a file's path, not a " .. kind, 2)
  end
  local out = ffi.new "struct ipq_netset *[1]"
  local code = C.ipq_netset_new(out)
  if code < 0 then error(reason(code), 2) end
  local set = ffi.gc(out[0], C.ipq_netset_free)
  if kind == "table" then add_table(set, networks) else add_file(set, networks) end
  code = C.ipq_netset_build(set)
  if code < 0 then error(reason(code), 2) end
  return set
end

core.netset = M
return M
