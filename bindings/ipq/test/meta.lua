--- Metadata given to a packet by name: what each field may be.
local numbers = require "ipq.packet.number"
local bad = require("ipq.test.misuse").bad
local spelling = require "ipq.spelling"

local M = {}

local function is_integer(value, max)
  return type(value) == "number" and value >= 0 and value <= max and value % 1 == 0
end

local function integer(max)
  return function(name, value)
    if not is_integer(value, max) then bad("%s must be an integer from 0 to %.0f", name, max) end
  end
end

local function of_type(wanted, what)
  return function(name, value)
    if type(value) ~= wanted then bad("%s must be %s", name, what) end
  end
end

local function device_name(name, value)
  if type(value) ~= "string" or #value > 15 or #value == 0 then
    bad("%s must be an interface's name, a string of 1 to 15 bytes", name)
  end
end

local function hw_addr(name, value)
  local digits = type(value) == "string" and (value .. ":"):gsub("%x%x:", "") == "" and #value <= 23
  if not digits then bad("%s must be at most 8 bytes as \"02:00:00:00:00:01\"", name) end
end

--- One of a list of words, or their number from 0 on where that is what the field is.
local function word(words, max)
  local known = {}
  for _, each in ipairs(words) do known[each] = true end
  return function(name, value)
    if known[value] or max and is_integer(value, max) then return end
    bad("%s: there is no '%s'; there are %s", name, tostring(value), table.concat(words, ", "))
  end
end

local function seconds(name, value)
  if type(value) ~= "number" or not (value >= 0 and value < 2 ^ 53) then bad("%s must be seconds since 1970", name) end
end

--- 32 bits, with a sign as LuaJIT's bit library gives them or without one. Gives them without.
local function bits32(name, value)
  if type(value) ~= "number" or not (value >= numbers.LEAST32 and value <= numbers.MOST32) or value % 1 ~= 0 then
    bad("%s", numbers.refusal(name, numbers.MOST32))
  end
  return value % 2 ^ 32
end

local u16, u32 = integer(0xffff), integer(0xffffffff)
local boolean, bytes = of_type("boolean", "true or false"), of_type("string", "a string")
local hook = word({ "prerouting", "input", "forward", "output", "postrouting" }, 4)

local ct_checks = {
  id = u32, mark = bits32, status = bits32, timeout = u32, zone = u16,
  state = word { "new", "established", "related", "untracked" }, direction = word { "original", "reply" },
}

local function conntrack(name, value)
  if type(value) ~= "table" then bad("%s must be a table of the fields of pkt.ct", name) end
  for field, inner in pairs(value) do
    local check = ct_checks[field]
    if not check then bad("%s has no field '%s'%s", name, tostring(field), spelling.hint(field, ct_checks)) end
    check(name .. "." .. field, inner)
  end
end

local checks = {
  packet_id = u32, queue_num = u16, hook = hook, hook_name = hook, mark = bits32, priority = bits32, indev = u32,
  outdev = u32, physindev = u32, physoutdev = u32, uid = u32, gid = u32, hw_protocol = u16, hw_type = u16,
  vlan_proto = u16, vlan_tci = u16, data_len = integer(0xffff), len = u32, indev_name = device_name,
  outdev_name = device_name, physindev_name = device_name, physoutdev_name = device_name, hw_addr = hw_addr,
  secctx = bytes, l2hdr = bytes, prefix = bytes, gso = boolean, csum_ready = boolean, csum_verified = boolean,
  timestamp = seconds, timestamp_sec = seconds, timestamp_usec = integer(999999), ct = conntrack,
  family = word { "unspec", "inet", "ip", "arp", "netdev", "bridge", "ip6" },
}

--- A copy of meta as a packet has it. Raises where a field is none that a packet has, or cannot be what it is.
function M.checked(meta)
  local copy = {}
  for name, value in pairs(meta) do
    local check = checks[name]
    if not check then bad("a packet has no metadata '%s'%s", tostring(name), spelling.hint(name, checks)) end
    local given = check(name, value)
    if given == nil then given = value end
    copy[name] = given
  end
  return copy
end

return M
