--- Packets of the test kit: an IP packet's bytes, its metadata, and its fields by the names that a filter knows.
local assign = require "ipq.build.assign"
local buffer = require "ipq.test.buffer"
local fields = require "ipq.build.fields"
local link = require "ipq.test.link"
local live_buffer = require "ipq.packet.buffer"
local live_packet = require "ipq.packet.view"
local memory = require "ipq.test.memory"
local metadata = require "ipq.build.meta"
local misuse = require "ipq.build.misuse"
local spelling = require "ipq.spelling"

local M = {}

---@class ipq.test.Packet
---@field bytes string the whole packet, IP or ARP
local Packet = {}
local mt = {}

local function value_of(view, field)
  local value = view[field]
  if live_buffer.is_buffer(value) then return buffer.new(tostring(value)) end
  -- A packet inside: one of its own, of the bytes that are there.
  if field == "inner" and value then return M.new(tostring(value.payload)) end
  return value
end

-- What headers have beside fields.

local tcp_methods, no_methods = {}, {}

--- The data of the first option of that kind; nil where there is none.
function tcp_methods.option(tcp, kind)
  for _, option in ipairs(tcp.options) do
    if option.kind == kind then return option.data end
  end
end

local function methods_of(packet, name)
  if name == "tcp" then return tcp_methods end
  if name ~= "ip6" then return no_methods end
  return {
    exthdr = function(_, number)
      return (memory.with(packet.bytes, packet.meta, function(pkt) return pkt.ip6:exthdr(number) end))
    end,
  }
end

--- The __index of a header: a field that the packet's own has not is nil, and one that none has raises.
local function strict(name, methods)
  return function(_, key)
    local method = methods[key]
    local names = live_packet.header_fields(name)
    if method == nil and names[key] == nil then
      error(("pkt.%s has no field '%s'%s"):format(name, tostring(key), spelling.hint(key, names)), 2)
    end
    return method
  end
end

local function decode(packet)
  return (memory.with(packet.bytes, packet.meta, function(pkt)
    local decoded = {}
    for _, list in ipairs { fields.meta, fields.derived } do
      for _, name in ipairs(list) do decoded[name] = value_of(pkt, name) end
    end
    for _, name in ipairs(fields.headers) do
      local view = pkt[name]
      if view then
        local header = {}
        for _, field in ipairs(fields.of[name]) do header[field] = value_of(view, field) end
        decoded[name] = setmetatable(header, { __index = strict(name, methods_of(packet, name)) })
      end
    end
    decoded.line = tostring(pkt)
    return decoded
  end))
end

--- A copy with other fields, as a filter that assigned them would leave it: lengths and checksums follow, but
--- those that are given. Metadata (mark, hook, indev_name, ...) too.
---@param changes table<string, any> field → value; a header's in a table of its own: { ip = { ttl = 1 }, mark = 2 }
---@return ipq.test.Packet
function Packet:with(changes)
  local result = misuse.guard(function()
    local plan = assign.plan(self, changes)
    local bytes = assign.apply(self.bytes, plan)
    if #bytes ~= #self.bytes and not changes.len then plan.meta.len = nil end
    return M.new(bytes, plan.meta)
  end)
  return result
end

--- The bytes in hexadecimal digits.
---@return string
function Packet:hex()
  return (self.bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

local known = live_packet.fields()
known.flow = nil -- it has one in its filter alone

function mt.__index(packet, key)
  if Packet[key] then return Packet[key] end
  if known[key] == nil then
    error(("a packet has no field '%s'%s"):format(tostring(key), spelling.hint(key, known)), 2)
  end
  local decoded = rawget(packet, "decoded")
  if not decoded then
    decoded = decode(packet)
    rawset(packet, "decoded", decoded)
  end
  return decoded[key]
end

function mt.__newindex()
  error("the kit's packets stay as they are; packet:with { ... } gives a changed copy", 2)
end

--- Packets are equal when their bytes and marks are, and their link headers where both have one.
function mt.__eq(a, b)
  local one, other = a.meta.l2hdr, b.meta.l2hdr
  return a.bytes == b.bytes and (a.meta.mark or 0) == (b.meta.mark or 0) and (not (one and other) or one == other)
end

--- One line, as tcpdump would print it.
function mt.__tostring(packet)
  return packet.family and rawget(packet, "decoded").line
end

--- A packet of those bytes, taken as they are.
---@param bytes string
---@param meta? table<string, any> metadata by the names of fields, and ether, the fields of pkt.ether
---@return ipq.test.Packet
function M.new(bytes, meta)
  return setmetatable({ bytes = bytes, meta = metadata.checked(link.made(bytes, meta or {})) }, mt)
end

---@return boolean
function M.is_packet(value) return getmetatable(value) == mt end

return M
