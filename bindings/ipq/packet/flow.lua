--- The flow of a packet, pkt.flow: who speaks with whom, what was said so far, and what the script notes of it.
---
--- A view is a handle as that of the packet is, and dies with it; which flow it is stands in the packet
--- (ipq_flows_packet()). What ipq.flows() gives, and what flow.stop() is told, are objects that keep a copy of the
--- record, or its number: they have the same fields.
local abi = require "ipq.engine.abi"
local address = require "ipq.packet.address"
local bit = require "bit"
local core = require "ipq.core"
local ffi = require "ffi"
local flows = require "ipq.engine.flows"
local live = require "ipq.engine.live"
local sending = require "ipq.engine.send"
local spelling = require "ipq.spelling"
local streams = require "ipq.engine.streams"
local verdict = require "ipq.verdict"
-- A script may overwrite globals.
local error, getmetatable, pairs, rawget, setmetatable = error, getmetatable, pairs, rawget, setmetatable
local tonumber, tostring, type = tonumber, tostring, type

-- A metatype lasts as long as the Lua state, this module perhaps not (see engine/abi.lua).
if core.flow then return core.flow end

local C, E = abi.C, ffi.C
local band, packet_of = bit.band, live.packet_of
local flow_pointer = ffi.typeof "struct ipq_view_flow *"
local original_pointer = ffi.typeof "struct ipq_view_flow_original *"
local reply_pointer = ffi.typeof "struct ipq_view_flow_reply *"
local record_type = ffi.typeof "struct ipq_flow"
local ORIGIN, IS_NEW, IS_RELATED = E.IPQ_FLOW_ORIGIN, E.IPQ_FLOW_IS_NEW, E.IPQ_FLOW_IS_RELATED
local DROP, BYPASS, REJECT = E.IPQ_FLOW_DROP, E.IPQ_FLOW_BYPASS, E.IPQ_FLOW_REJECT
local TCP, UDP, ICMP, ICMPV6, SCTP, DCCP, UDPLITE = 6, 17, 1, 58, 132, 33, 136
local GENERATIONS, NUMBERS = 2 ^ 26, 2 ^ 26

local M = {}

local has_ports = { [TCP] = true, [UDP] = true, [SCTP] = true, [DCCP] = true, [UDPLITE] = true }
local hook_names = { [0] = "prerouting", "input", "forward", "output", "postrouting" }

local states = {}
for state = 0, E.IPQ_FLOW_STATES - 1 do
  local word = C.ipq_flow_state_word(state)
  states[state] = word ~= nil and ffi.string(word) or nil
end

--- Readers: field name → function(record, number, packet or nil).
local get = {}

local function side(f, which)
  local text = f.key.ip_version == 4 and address.ip or address.ip6
  return (text(f.key.addresses[which]))
end

local function origin(f) return (band(f.bits, ORIGIN)) end

function get.saddr(f) return (side(f, origin(f))) end
function get.daddr(f) return (side(f, 1 - origin(f))) end
function get.sport(f) if has_ports[f.key.protocol] then return f.key.ports[origin(f)] end end
function get.dport(f) if has_ports[f.key.protocol] then return f.key.ports[1 - origin(f)] end end
function get.protocol(f) return f.key.protocol end
function get.zone(f) return f.key.zone end
function get.state(f) return states[f.state] end

--- The identifier of ICMP's requests and replies.
function get.icmp_id(f)
  if f.key.protocol == ICMP or f.key.protocol == ICMPV6 then return f.key.ports[origin(f)] end
end

--- A number that no other flow of the table has.
function get.id(f, number) return f.generation % GENERATIONS * NUMBERS + number end

flows.id = get.id

--- Seconds since 1970, of a time by the table's clock.
local function seconds(us)
  if flows.opened.has_packet_time then return tonumber(us) / 1e6 end
  return flows.opened.since_1970 + tonumber(us) / 1e6
end

function get.first(f) return (seconds(C.ipq_flow_first_us(flows.table, f))) end
function get.last(f) return (seconds(C.ipq_flow_last_us(flows.table, f))) end
function get.hook(f) return hook_names[C.ipq_flow_hook(f, 0)] end

--- Of the packet that it is the flow of.
function get.direction(_, _, p) if p then return p.flow_direction == 0 and "original" or "reply" end end
function get.is_new(_, _, p) if p then return band(p.flow_bits, IS_NEW) ~= 0 end end
function get.is_related(_, _, p) if p then return band(p.flow_bits, IS_RELATED) ~= 0 end end

--- A table of the script's own for this flow, made when it is asked for first. By the id: the ends of a batch's flows
--- are told when others have their places.
function get.data(f, number)
  local id = get.id(f, number)
  local data = flows.data[id]
  if data then return data end
  data = {}
  flows.data[id] = data
  -- It goes when the flow does.
  flows.table.wants_ended = 1
  return data
end

-- The two directions

local directions = { packets = true, bytes = true }

local function direction_field(f, direction, key)
  if key == "packets" then return (C.ipq_flow_packets(f, direction)) end
  if key == "bytes" then return (C.ipq_flow_bytes(f, direction)) end
  error(("a flow's direction has no field '%s'%s"):format(tostring(key), spelling.hint(key, directions)), 3)
end

local methods = {}
local names = { original = true, reply = true }

--- Whether a flow has a field or a method of that name, whatever a script declares.
function flows.is_field(name) return get[name] ~= nil or methods[name] ~= nil or names[name] ~= nil end

local function no_field(key, level)
  local known = {}
  for _, list in pairs { get, methods, names, flows.places } do
    for name in pairs(list) do known[name] = true end
  end
  error(("a flow has no field '%s'%s"):format(tostring(key), spelling.hint(key, known)), level + 1)
end

local function assign(f, key, value)
  local place = flows.places[key]
  if not place then
    if not flows.is_field(key) then no_field(key, 3) end
    error(("a flow's field '%s' cannot be assigned; flow.fields declares such"):format(tostring(key)), 3)
  end
  if type(value) ~= "number" then error(("a flow's field '%s' is a number"):format(key), 3) end
  f.fields[place] = value
end

-- Views of the packet whose filter runs

--- The record, its number and the packet behind a view.
local function open(view)
  local p = packet_of(view)
  local number = p.flow_number - 1
  return flows.table.records[number], number, p
end

ffi.metatype("struct ipq_view_flow_original", {
  __index = function(view, key) return (direction_field(open(view), 0, key)) end,
})
ffi.metatype("struct ipq_view_flow_reply", {
  __index = function(view, key) return (direction_field(open(view), 1, key)) end,
})

ffi.metatype("struct ipq_view_flow", {
  __index = function(view, key)
    local f, number, p = open(view)
    local read = get[key]
    if read then return (read(f, number, p)) end
    local place = flows.places[key]
    if place then return (C.ipq_flow_field(f, place)) end
    if key == "original" then return (live.view(p, original_pointer, "flow", 0)) end
    if key == "reply" then return (live.view(p, reply_pointer, "flow", 0)) end
    local method = methods[key]
    if not method then no_field(key, 2) end
    return method
  end,
  __newindex = function(view, key, value)
    assign((open(view)), key, value)
  end,
})

--- The packet's flow; nil where it has none.
function M.flow(p)
  if not flows.table then error("pkt.flow needs flow = {} in the script's table", 3) end
  if p.flow_number == 0 or p.own ~= 0 then return nil end
  return (live.view(p, flow_pointer, "flow", 0))
end

-- Objects, which outlive a filter: { record or false, number, generation, whose it is, what of it is in no record }

local RECORD, NUMBER, GENERATION, OPENED, KEPT = 1, 2, 3, 4, 5

local function is_object(value)
  return type(value) == "table" and getmetatable(value) == false and rawget(value, OPENED) ~= nil
end

--- Its record. Errors are at that level of the caller's.
local function record_of(object, level)
  local record = rawget(object, RECORD)
  if record then return record, rawget(object, NUMBER) end
  local opened = rawget(object, OPENED)
  record = opened.table and C.ipq_flows_find(opened.table, rawget(object, NUMBER), rawget(object, GENERATION)) or nil
  -- Where another filter runs that is not its table either.
  if record == nil or opened ~= flows.opened then error("this flow has ended", level + 1) end
  return record, rawget(object, NUMBER)
end

local object_mt = {
  __index = function(object, key)
    local f, number = record_of(object, 2)
    local kept = rawget(object, KEPT)
    if kept and kept[key] then return kept[key] end
    local read = get[key]
    if read then return (read(f, number)) end
    local place = rawget(object, OPENED).places[key]
    if place then return (C.ipq_flow_field(f, place)) end
    if key == "original" or key == "reply" then
      local direction = key == "original" and 0 or 1
      return { packets = direction_field(f, direction, "packets"), bytes = direction_field(f, direction, "bytes") }
    end
    local method = methods[key]
    if not method then no_field(key, 2) end
    return method
  end,
  __newindex = function(object, key, value) assign((record_of(object, 2)), key, value) end,
  __metatable = false,
}

--- What flow.stop() is told: a copy of what has ended, or of what is there in the end.
function flows.ended(ended)
  local copy = record_type()
  ffi.copy(copy, ended.flow, ffi.sizeof(record_type))
  local number = tonumber(ended.number)
  local kept = { first = get.first(copy), last = get.last(copy), data = flows.data[get.id(copy, number)] or {} }
  return (setmetatable({ copy, number, copy.generation, flows.opened, kept }, object_mt))
end

--- The flow of that number, as what ipq.flows() gives.
function flows.object(number)
  return (setmetatable({ false, number, flows.table.records[number].generation, flows.opened }, object_mt))
end

local number_type = ffi.typeof "uint32_t[1]"

--- The flows that there are, one after the other: for flow in ipq.flows() do … end.
---@return fun(): ipq.Flow?
function M.flows()
  if not flows.table then error("ipq.flows() needs flow = {} in the script's table", 2) end
  local at, opened = number_type(), flows.opened
  return function()
    -- Another process may have it by now.
    local f = opened.table and C.ipq_flows_next(opened.table, at) or nil
    if f == nil then return nil end
    return (setmetatable({ false, tonumber(at[0]) - 1, f.generation, opened }, object_mt))
  end
end

-- What becomes of all its packets

--- The record of a view or an object, and the packet that is judged if it is a view.
local function target(flow, name)
  if ffi.istype(flow_pointer, flow) then
    local f, _, p = open(flow)
    return f, p
  end
  if not is_object(flow) then error(("%s() is a method of a flow: flow:%s()"):format(name, name), 3) end
  local f = record_of(flow, 3)
  return f, nil
end

--- Drops this packet, if the filter says nothing else, and all that come after it, without the filter being asked.
function methods:drop()
  local f, p = target(self, "drop")
  C.ipq_flow_decide(f, DROP)
  if p then p.verdict, p.reject = verdict.DROP, 0 end
end

--- The same, and their senders are told.
---@param kind? string nft's words, as of ipq.reject()
function methods:reject(kind)
  if not live.outbox then error("flow:reject() needs " .. sending.HOW, 2) end
  local number = verdict.reject_of(kind ~= nil and verdict.reject_by("flow:reject()", kind, 2) or verdict.REJECT)
  local f, p = target(self, "reject")
  C.ipq_flow_decide(f, REJECT + number)
  if p then p.verdict, p.reject = verdict.DROP, number end
end

--- Accepts this packet, if the filter says nothing else, and all that come after it, without the filter being asked.
function methods:bypass()
  if streams.current and streams.current.streams.edits ~= 0 then
    error("flow:bypass() cannot be where streams are edited: what is not translated corrupts them", 2)
  end
  local f, p = target(self, "bypass")
  C.ipq_flow_decide(f, BYPASS)
  if p then p.verdict, p.reject = verdict.ACCEPT, 0 end
end

--- Resets both ends of a connection that is read as a stream.
function methods:reset()
  local opened = streams.current
  if not opened or not live.outbox then
    error("flow:reset() needs stream = { … } and send = true in the script's table", 2)
  end
  local f, p = target(self, "reset")
  local number = p and p.flow_number - 1 or rawget(self, NUMBER)
  if not C.ipq_streams_reset_flow(opened.streams, number, f.generation) then
    error("flow:reset(): this flow is not read as a stream", 2)
  end
end

core.flow = M
return M
