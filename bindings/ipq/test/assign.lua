--- Fields given by name, put into a packet.
local buffer = require "ipq.test.buffer"
local fields = require "ipq.test.fields"
local live_packet = require "ipq.packet.view"
local memory = require "ipq.test.memory"
local misuse = require "ipq.test.misuse"
local spelling = require "ipq.spelling"

local M = {}

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
  return live_packet.header_fields(header)[field] ~= nil
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
  local names = live_packet.header_fields(header)
  local assignable = names[field]
  if assignable == nil then bad("pkt.%s has no field '%s'%s", header, tostring(field), spelling.hint(field, names)) end
  if not assignable and field ~= "payload" then bad("pkt.%s.%s cannot be assigned", header, field) end
  header_at(plan, header)[field] = field == "payload" and buffer.text(value) or value
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
    for name in pairs(live_packet.header_fields(header)) do names[name] = true end
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
    plan.payload = buffer.text(value) or value
  else
    local header = header_of(plan, key)
    if not header then
      bad("a packet with %s has no field '%s'%s", table.concat(plan.order, " and "), tostring(key),
        spelling.hint(key, names_of(plan)))
    end
    add_header_field(plan, header, key, value)
  end
end

--- What follows from fields given by name. order lists the headers that a name without one may mean, the nearest
--- first.
local function new_plan(order, meta)
  local copy = {}
  for key, value in pairs(meta) do copy[key] = value end
  return { order = order, meta = copy, headers = {} }
end

--- What has to be known of the packet for its fields to be assigned.
local function kind_of(plan)
  if plan.order[#plan.order] ~= "arp" then return {} end
  return { family = plan.meta.family, hw_protocol = plan.meta.hw_protocol }
end

--- For a packet that is there. Its metadata stays, but what follows from its length.
---@param packet ipq.test.Packet
function M.plan(packet, changes)
  if type(changes) ~= "table" then bad "with() takes a table of fields" end
  local order = {}
  for i = #fields.headers, 1, -1 do
    local name = fields.headers[i]
    -- A packet's saddr is none of its link's.
    if name ~= "ether" and packet[name] then order[#order + 1] = name end
  end
  local plan = new_plan(order, packet.meta)
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
  local view = pkt[header]
  if not view then bad("the packet has no %s header", header) end
  if field == "payload" then replace_all(view.payload, value) else view[field] = value end
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

--- RFC 791's checksum over the header of an IPv4 packet.
local function with_ip_checksum(bytes)
  local length, sum = (bytes:byte(1) % 16) * 4, 0
  for i = 1, length, 2 do
    local high, low = bytes:byte(i, i + 1)
    if i ~= 11 then sum = sum + high * 256 + low end
  end
  while sum > 0xffff do sum = sum % 65536 + math.floor(sum / 65536) end
  sum = 0xffff - sum
  return bytes:sub(1, 10) .. string.char(math.floor(sum / 256), sum % 256) .. bytes:sub(13)
end

--- The headers' fields that are taken as they are given, put into a complete packet.
local function apply_given(bytes, plan)
  if not has_given(plan) then return bytes end
  local _, result = memory.with(bytes, {}, function(pkt)
    pkt.fix = false
    assign(pkt, plan, true)
  end)
  local ip = plan.headers.ip
  if ip and not ip.checksum then result = with_ip_checksum(result) end
  return result
end

--- The packet's bytes with a plan's fields: what a filter that assigned them would leave.
---@return string bytes
function M.apply(bytes, plan)
  local _, result = memory.with(bytes, kind_of(plan), function(pkt) assign(pkt, plan, false) end)
  return apply_given(result, plan)
end

--- The same for a template: all lengths and checksums are made.
function M.build(template, plan)
  local _, assigned = memory.with(template, kind_of(plan), function(pkt)
    pkt.fix = false
    assign(pkt, plan, false)
    if plan.payload then pkt.payload:replace(#template, 0, plan.payload) end
  end)
  return apply_given(memory.complete(assigned, kind_of(plan)), plan)
end

return M
