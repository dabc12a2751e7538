--- Fields given by name, put into a packet.
local abi = require "ipq.engine.abi"
local buffer = require "ipq.packet.buffer"
local ffi = require "ffi"
local fields = require "ipq.build.fields"
local meta = require "ipq.build.meta"
local misuse = require "ipq.build.misuse"
local own = require "ipq.packet.own"
local spelling = require "ipq.spelling"
local view = require "ipq.packet.view"
-- A script may overwrite globals.
local concat, error, ipairs, pairs, tostring, type = table.concat, error, ipairs, pairs, tostring, type

local C, E = abi.C, ffi.C

local M = {}

--- A function that gives the bytes of what else than a string or a Buffer a payload may be, nil where it is none of it.
---@type fun(value: any): string?
M.other_text = nil

--- The bytes of a payload; nil where it is none.
local function text_of(value)
  if type(value) == "string" then return value end
  if buffer.is_buffer(value) then return (tostring(value)) end
  if M.other_text then return (M.other_text(value)) end
end

local bad = misuse.bad

local function set_of(list)
  local set = {}
  for _, name in ipairs(list) do set[name] = true end
  return set
end

local is_meta, is_header = set_of(fields.meta), set_of(fields.headers)

--- What is assigned when the rest is complete, as it is given: it may lie.
local as_given = {
  arp = {},
  ip = set_of { "checksum", "length", "protocol", "frag_off", "mf" },
  ip6 = set_of { "length", "nexthdr" },
  ah = set_of { "nexthdr", "hdrlength" },
  tcp = set_of { "checksum", "doff" }, udp = set_of { "checksum", "length" }, udplite = set_of { "checksum" },
  icmp = set_of { "checksum" }, icmpv6 = set_of { "checksum" }, sctp = set_of { "checksum" },
  dccp = set_of { "checksum", "doff" }, gre = {}, esp = {},
}

local function has_field(header, field)
  local names = view.header_fields(header)
  return names[field] ~= nil
end

local function header_at(plan, name)
  plan.headers[name] = plan.headers[name] or {}
  return plan.headers[name]
end

local function add_header_field(plan, header, field, value)
  if header == "ip6" and field == "exthdrs" then
    if not plan.takes_exthdrs then bad "ip6.exthdrs: only a builder can put extension headers in" end
    plan.exthdrs = value
    return
  end
  local names = view.header_fields(header)
  local assignable = names[field]
  if assignable == nil then bad("pkt.%s has no field '%s'%s", header, tostring(field), spelling.hint(field, names)) end
  if not assignable and field ~= "payload" then bad("pkt.%s.%s cannot be assigned", header, field) end
  header_at(plan, header)[field] = field == "payload" and text_of(value) or value
end

--- The header that a field without one belongs to: the transport's, then the IP header's.
local function header_of(plan, field)
  for _, name in ipairs(plan.order) do
    if has_field(name, field) then return name end
  end
end

--- All that a builder or with() takes by its name alone.
local function names_of(plan)
  local names = {}
  for _, list in ipairs { plan.order, fields.meta, { "ether" } } do
    for _, name in ipairs(list) do names[name] = true end
  end
  for _, header in ipairs(plan.order) do
    for name in pairs(view.header_fields(header)) do names[name] = true end
  end
  return names
end

local function add(plan, key, value)
  if is_meta[key] or key == "ether" then
    plan.meta[key] = value
  elseif is_header[key] and type(value) == "table" then
    for field, inner in pairs(value) do add_header_field(plan, key, field, inner) end
  elseif key == "exthdrs" then
    add_header_field(plan, "ip6", key, value)
  elseif key == "payload" and not header_of(plan, "payload") then
    plan.payload = text_of(value) or value
  else
    local header = header_of(plan, key)
    if not header then
      bad("a packet with %s has no field '%s'%s", concat(plan.order, " and "), tostring(key),
        spelling.hint(key, names_of(plan)))
    end
    add_header_field(plan, header, key, value)
  end
end

--- What follows from fields given by name. order lists the headers that a name without one may mean, the nearest
--- first.
local function new_plan(order, metadata)
  local copy = {}
  for key, value in pairs(metadata) do copy[key] = value end
  return { order = order, meta = copy, headers = {} }
end

--- A packet of the plan's kind.
---@return ipq.OwnPacket packet
local function start(bytes, plan)
  if #bytes > E.IPQ_PACKET_MAX then bad("a packet of %d bytes; %d is the most", #bytes, E.IPQ_PACKET_MAX) end
  local family, hw_protocol
  if plan.order[#plan.order] == "arp" then
    family, hw_protocol = meta.family(plan.meta.family), plan.meta.hw_protocol
  end
  return (own.from_bytes(bytes, family, hw_protocol))
end

local function headers_of(packet)
  local order = {}
  for i = #fields.headers, 1, -1 do
    local name = fields.headers[i]
    -- A packet's saddr is none of its link's.
    if name ~= "ether" and packet[name] then order[#order + 1] = name end
  end
  return order
end

--- For a packet that is there. Its metadata stays, but what follows from its length.
---@param packet ipq.test.Packet
function M.plan(packet, changes)
  if type(changes) ~= "table" then bad "with() takes a table of fields" end
  local plan = new_plan(headers_of(packet), packet.meta)
  for key, value in pairs(changes) do add(plan, key, value) end
  return plan
end

--- For a packet to be built with the headers of order.
function M.build_plan(order, given)
  local plan = new_plan(order, {})
  plan.takes_exthdrs = true
  for key, value in pairs(given) do add(plan, key, value) end
  return plan
end

local function replace_all(bytes, text)
  if type(text) ~= "string" then bad "payload must be a string" end
  bytes:replace(0, #bytes, text)
end

local function set_field(pkt, header, field, value)
  local of = pkt[header]
  if not of then bad("the packet has no %s header", header) end
  if field == "payload" then replace_all(of.payload, value) else of[field] = value end
end

--- Assigns what is, or what is not, to be taken as it is given.
local function assign(pkt, plan, given)
  -- Headers in the order of the wire, fields by name: what a run does does not depend on chance.
  for _, header in ipairs(fields.headers) do
    local values = plan.headers[header] or {}
    -- First: what else is assigned may be read from it (the key that GRE's flags announce).
    if values.payload and not given then set_field(pkt, header, "payload", values.payload) end
    for _, field in ipairs(fields.of[header]) do
      if values[field] ~= nil and field ~= "payload" and (as_given[header][field] or false) == given then
        set_field(pkt, header, field, values[field])
      end
    end
  end
end

local function has_given(plan)
  for header, values in pairs(plan.headers) do
    for field in pairs(values) do
      if as_given[header][field] then return true end
    end
  end
end

local function finish(packet)
  local p, why = own.packet(packet)
  if not p then error(why, 0) end
  return p
end

--- RFC 791's checksum over the header of an IPv4 packet.
local function put_ip_checksum(p)
  local h = p.data
  local length = (h[0] % 16) * 4
  if length < 20 or length > p.data_len then return end
  h[10], h[11] = 0, 0
  local sum = C.ipq_checksum_read(h, length)
  h[10], h[11] = sum / 256, sum % 256
end

--- Puts the headers' fields that are taken as they are given into a complete packet.
local function apply_given(packet, plan)
  if not has_given(plan) then return end
  packet.fix = false
  assign(packet, plan, true)
  local p, ip = finish(packet), plan.headers.ip
  if ip and not ip.checksum then put_ip_checksum(p) end
  own.settle(p)
end

--- Assigns a plan's fields as a filter would.
local function apply(packet, plan)
  assign(packet, plan, false)
  finish(packet)
  apply_given(packet, plan)
end

--- The packet's bytes with a plan's fields.
---@return string bytes
function M.apply(bytes, plan)
  local packet = start(bytes, plan)
  apply(packet, plan)
  return (packet:copy())
end

--- Makes all lengths and checksums.
local function complete(packet)
  local p = own.open(packet)
  -- Bytes that a packet came with would change nothing.
  C.ipq_rewrite_store(p, 0, p.data, 1)
  C.ipq_rewrite_set(p, p.data, p.data_len)
  finish(packet)
end

--- The bytes of a packet with all lengths and checksums made. Raises where they cannot be.
---@param family string|integer
---@param hw_protocol integer
---@return string bytes
function M.complete(bytes, family, hw_protocol)
  local packet = own.from_bytes(bytes, meta.family(family), hw_protocol)
  complete(packet)
  return (packet:copy())
end

--- A packet with a plan's fields, from a template: all lengths and checksums are made.
---@return ipq.OwnPacket
function M.build(template, plan)
  local packet = start(template, plan)
  packet.fix = false
  assign(packet, plan, false)
  if plan.payload then
    if type(plan.payload) ~= "string" then bad "payload must be a string" end
    packet.payload:replace(#template, 0, plan.payload)
  end
  packet.fix = true
  complete(packet)
  apply_given(packet, plan)
  return packet
end

--- Assigns fields of a packet that is there, metadata too. Raises where one cannot be.
---@param packet ipq.OwnPacket
---@param changes table<string, any>
function M.change(packet, changes)
  local plan = new_plan(headers_of(packet), {})
  for key, value in pairs(changes) do add(plan, key, value) end
  apply(packet, plan)
  meta.apply(own.packet(packet), meta.checked(plan.meta))
end

return M
