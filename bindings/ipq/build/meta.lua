--- Metadata given to a packet by name: what each field may be, and what a script's own packet has of it.
local abi = require "ipq.engine.abi"
local address = require "ipq.packet.address"
local bit = require "bit"
local ffi = require "ffi"
local live = require "ipq.engine.live"
local numbers = require "ipq.packet.number"
local bad = require("ipq.build.misuse").bad
local spelling = require "ipq.spelling"
-- A script may overwrite globals.
local concat, floor, ipairs, pairs = table.concat, math.floor, ipairs, pairs
local tonumber, tostring, type = tonumber, tostring, type

local C, E = abi.C, ffi.C

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
    bad("%s: there is no '%s'; there are %s", name, tostring(value), concat(words, ", "))
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

local scratch = ffi.new "uint8_t[16]"

--- Whether text is an address, and of which version.
local function version_of(text)
  return address.parse(4, text, scratch) and 4 or address.parse(6, text, scratch) and 6
end

local tuple_checks = { protocol = integer(255), sport = u16, dport = u16, saddr = false, daddr = false }

--- Who speaks to whom in one direction of a connection.
local function tuple(name, value)
  if type(value) ~= "table" then bad("%s must be a table: { saddr, daddr, sport, dport, protocol }", name) end
  for field, inner in pairs(value) do
    local check = tuple_checks[field]
    if check == nil then bad("%s has no field '%s'%s", name, tostring(field), spelling.hint(field, tuple_checks)) end
    if check then check(name .. "." .. field, inner) end
  end
  local version = version_of(value.saddr)
  if not version or version ~= version_of(value.daddr) then
    bad("%s takes saddr and daddr, two addresses of one version", name)
  end
  if not value.protocol then bad("%s takes a protocol, as 6 for TCP", name) end
end

local ct_checks = {
  id = u32, mark = bits32, status = bits32, timeout = u32, zone = u16, original = tuple, reply = tuple,
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

local families = { unspec = 0, inet = 1, ip = 2, arp = 3, netdev = 5, bridge = 7, ip6 = 10 } -- NFPROTO_*
local hooks = { prerouting = 0, input = 1, forward = 2, output = 3, postrouting = 4 } -- NF_INET_*

--- The number of a family or a hook, which may be given as a word; nil where none is given.
function M.family(value) return families[value] or value end
function M.hook(value) return hooks[value] or value end

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

-- What an own packet has of it, each where there is one.
local optional = {
  mark = E.IPQ_HAS_MARK, priority = E.IPQ_HAS_PRIORITY, uid = E.IPQ_HAS_UID, gid = E.IPQ_HAS_GID,
  indev = E.IPQ_HAS_INDEV, outdev = E.IPQ_HAS_OUTDEV, physindev = E.IPQ_HAS_PHYSINDEV,
  physoutdev = E.IPQ_HAS_PHYSOUTDEV,
}
local devices = { "indev", "outdev", "physindev", "physoutdev" }

--- The index of the interface that is named, where its index is not given; nil where neither is. The interfaces of a
--- capture are another machine's, and their names not known.
local function device_index(meta, kind)
  local index, name = meta[kind], meta[kind .. "_name"]
  if index or not name or live.is_capture then return index end
  index = C.ipq_device_find(abi.devices, name)
  if index == 0 then bad("%s_name: there is no interface '%s'", kind, name) end
  return index
end

local function put(p, name, value)
  if value == nil then return end
  p[name] = value
  p.present = bit.bor(p.present, optional[name])
end

local function put_time(p, meta)
  local time = meta.timestamp or meta.timestamp_sec
  if not time then return end
  local whole = floor(time)
  p.timestamp_sec = whole
  p.timestamp_usec = meta.timestamp_usec or floor((time - whole) * 1e6 + 0.5)
  p.present = bit.bor(p.present, E.IPQ_HAS_TIMESTAMP)
end

local function put_hw_addr(p, text)
  if not text then return end
  local n = 0
  for digits in text:gmatch "%x%x" do
    p.hw_addr[n] = tonumber(digits, 16)
    n = n + 1
  end
  p.hw_addrlen = n
  p.present = bit.bor(p.present, E.IPQ_HAS_HWADDR)
end

--- Gives an own packet (struct ipq_packet *) metadata that was checked, but for what is a queue's or a capture's alone,
--- as ct and l2hdr. Raises where there is no such interface.
function M.apply(p, meta)
  for _, kind in ipairs(devices) do put(p, kind, device_index(meta, kind)) end
  for _, name in ipairs { "mark", "priority", "uid", "gid" } do put(p, name, meta[name]) end
  if meta.mark then p.set = bit.bor(p.set, E.IPQ_SET_MARK) end
  if meta.priority then p.set = bit.bor(p.set, E.IPQ_SET_PRIORITY) end
  for _, name in ipairs { "packet_id", "queue_num", "hw_protocol" } do p[name] = meta[name] or p[name] end
  p.family = M.family(meta.family) or p.family
  p.hook = M.hook(meta.hook) or M.hook(meta.hook_name) or p.hook
  put_hw_addr(p, meta.hw_addr)
  put_time(p, meta)
end

return M
