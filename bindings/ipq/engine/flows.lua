--- The flows that a script has asked for (lib/flow/flow.h): their table, what the script says of it, and what it is
--- told of flows that end.
---
--- The table is in memory of the host's, or of the test kit's: it outlives a killed worker and a reload. One process at
--- a time works with it, from begin() to close().
local abi = require "ipq.engine.abi"
local core = require "ipq.core"
local ffi = require "ffi"
local live = require "ipq.engine.live"
local log = require "ipq.log"
local setting = require "ipq.engine.setting"
local spelling = require "ipq.spelling"
local timer = require "ipq.engine.timer"
-- A script may overwrite globals.
local ceil, debug_traceback, error, floor, ipairs = math.ceil, debug.traceback, error, math.floor, ipairs
local max, pairs, sort, tonumber, tostring, type, xpcall = math.max, pairs, table.sort, tonumber, tostring, type, xpcall

-- One for the Lua state: the metatypes of flows, which refer to it, last as long (see engine/abi.lua).
if core.flows then return core.flows end

local C, E = abi.C, ffi.C
local flows_type, names_type = ffi.typeof "struct ipq_flows", ffi.typeof "const char *[?]"
local places_type, number_type = ffi.typeof "uint32_t[?]", ffi.typeof "uint32_t[1]"
local EINVAL = 22
local SWEEP_S = 0.5 -- each time half of the table is looked at
local TIMEOUTS = { tcp = E.IPQ_FLOW_TCP, tcp_opening = E.IPQ_FLOW_TCP_OPENING, tcp_closing = E.IPQ_FLOW_TCP_CLOSING,
  udp = E.IPQ_FLOW_UDP, udp_stream = E.IPQ_FLOW_UDP_STREAM, icmp = E.IPQ_FLOW_ICMP, other = E.IPQ_FLOW_OTHER }
local TIMEOUT_MOST = 1e6 -- seconds

local M = {
  --- The table of the loop that runs (struct ipq_flows *), nil where no script follows flows.
  table = nil,
  --- Where the declared fields are in a record, by name.
  places = {},
  --- What a script keeps for flows, by their ids.
  data = {},
  --- What all of these are of; what a flow that is kept refers to.
  opened = nil,
}

-- What a script says

local known = { entries = true, timeout = true, fields = true, stop = true }

local function check_timeout(timeout)
  if type(timeout) ~= "table" then return "flow.timeout must be a table of seconds, as { tcp = 3600 }" end
  for name, seconds in pairs(timeout) do
    if not TIMEOUTS[name] then
      return (("flow.timeout has an unknown field '%s'%s"):format(tostring(name), spelling.hint(name, TIMEOUTS)))
    end
    if type(seconds) ~= "number" or not (seconds >= 0.001 and seconds <= TIMEOUT_MOST) then
      return (("flow.timeout.%s must be a number of seconds, from 0.001 to 1e6"):format(name))
    end
  end
end

local function check_fields(fields)
  local most = tonumber(E.IPQ_FLOW_FIELDS)
  local count = 0
  for _ in pairs(type(fields) == "table" and fields or {}) do count = count + 1 end
  if type(fields) ~= "table" or count > most or count ~= #fields then
    return (("flow.fields must be a list of at most %d names"):format(most))
  end
  local seen = {}
  for i, name in ipairs(fields) do
    if type(name) ~= "string" or not name:match "^[%a_][%w_]*$" or #name > 32 then
      return (("flow.fields: entry %d must be a name of letters, digits and _, at most 32"):format(i))
    end
    if M.is_field and M.is_field(name) then return (("flow.fields: a flow has a field '%s' already"):format(name)) end
    if seen[name] then return (("flow.fields has '%s' twice"):format(name)) end
    seen[name] = true
  end
end

--- Why what a script says of its flows cannot be, or nil.
---@param flow table its field flow
---@return string? why
function M.refusal(flow)
  for key in pairs(flow) do
    if not known[key] then
      return (("flow has an unknown field '%s'%s"):format(tostring(key), spelling.hint(key, known)))
    end
  end
  local entries, most = flow.entries, tonumber(E.IPQ_FLOWS_MOST)
  if entries ~= nil and (type(entries) ~= "number" or not (entries >= 1 and entries <= most) or entries % 1 ~= 0) then
    return (("flow.entries must be a whole number from 1 to %d, not %s"):format(most, spelling.value(entries)))
  end
  if flow.stop ~= nil and type(flow.stop) ~= "function" then return "flow.stop must be a function" end
  local why = flow.timeout ~= nil and check_timeout(flow.timeout) or nil
  if not why and flow.fields ~= nil then why = check_fields(flow.fields) end
  return why
end

-- The table

--- What time it is by the packets or by the clock, in microseconds.
local function now_us() return live.monotonic() * 1e6 end

local stop, given -- the script's function; the heap's batch while it runs

--- What a flow that has ended shows to a script, and the id of one. Set by packet/flow.lua.
M.ended, M.id = nil, nil

local function on_raise(err)
  log.write("error", "flow.stop(): " .. debug_traceback(tostring(err), 2))
end

local reasons = {}
for reason = E.IPQ_FLOW_END_CLOSED, E.IPQ_FLOW_END_EVICTED do
  reasons[reason] = ffi.string(C.ipq_flow_reason_word(reason))
end

local NONE, current -- what no script has; and what runs

--- Tells the script of flows that have ended.
local function drain(batch)
  local flows = M.table
  local ended = C.ipq_flows_ended(flows)
  while ended ~= nil do
    local id, reason = M.id(ended.flow, tonumber(ended.number)), tonumber(ended.reason)
    if current.on_ended then current.on_ended(ended) end
    if stop then
      local flow = M.ended(ended)
      if batch then batch.in_timer = batch.in_timer + 1 end
      xpcall(stop, on_raise, flow, reasons[reason])
      if batch then batch.in_timer = batch.in_timer + 1 end
    end
    M.data[id] = nil
    C.ipq_flows_ended_taken(flows)
    ended = C.ipq_flows_ended(flows)
  end
end

--- Between two batches. The loop calls it.
function M.between(batch)
  if C.ipq_flows_ended(M.table) ~= nil then drain(batch) end
end

--- A part of the table is looked at for flows whose time is over, where no packets do it. Where the script is told of
--- them the ring has room for some of them at a time.
local function sweep()
  local flows, now = M.table, now_us()
  local left = max(floor(C.ipq_flows_used(flows) / 2) + 1, 64)
  if flows.wants_ended == 0 then
    C.ipq_flows_sweep(flows, now, left)
    return
  end
  repeat
    local looked = C.ipq_flows_sweep(flows, now, left)
    left = left - looked
    drain(given)
  until left <= 0 or looked == 0
end

local function attach(flows, memory, size, entries)
  local code = C.ipq_flows_attach(memory, size, flows)
  if code ~= -EINVAL then return code end
  -- Where nobody has been it is all zeros.
  if ffi.cast("uint64_t *", memory)[0] ~= 0 then
    log.write("warn", "the table of flows of the process before cannot be read; it is empty now")
  end
  local key = ffi.new("uint8_t[?]", E.IPQ_FLOW_KEY_SIZE)
  code = C.ipq_random(key, E.IPQ_FLOW_KEY_SIZE)
  if code == 0 then code = C.ipq_flows_init(memory, size, entries, key) end
  if code == 0 then code = C.ipq_flows_attach(memory, size, flows) end
  return code
end

--- The places of the fields that a script has declared, by name. In the order of their names: what has a place keeps
--- it.
local function places_of(flows, fields)
  local count, names = #fields, {}
  for i = 1, count do names[i] = fields[i] end
  sort(names)
  local list, numbers, places = names_type(max(count, 1)), places_type(max(count, 1)), {}
  for i = 1, count do list[i - 1] = names[i] end
  if C.ipq_flows_fields(flows, list, count, numbers) ~= 0 then error "the names of flows' fields" end
  for i = 1, count do places[names[i]] = tonumber(numbers[i - 1]) end
  return places
end

--- The table in that memory as this process works with it, and the places of the declared fields.
local function open(config, memory, size)
  if memory == nil then return nil, "there is no memory for flows" end
  local flows = flows_type()
  memory = ffi.cast("uint8_t *", memory)
  local code = attach(flows, memory, size, C.ipq_flows_entries(size))
  if code < 0 then return nil, "cannot begin a table of flows in " .. size .. " bytes" end
  if config.entries and config.entries < flows.limit then flows.limit = config.entries end
  if config.entries then C.ipq_flows_populate(flows, config.entries) end
  for name, seconds in pairs(config.timeout or {}) do flows.timeout_ms[TIMEOUTS[name]] = floor(seconds * 1000 + 0.5) end
  if config.stop then flows.wants_ended = 1 end
  return flows, places_of(flows, config.fields or {})
end

NONE = { table = nil, places = {}, data = {}, has_packet_time = false }
current = NONE

--- Makes what begin() gave the flows of what runs; nil: it has none. Gives those before, to be put back so.
function M.use(opened, batch)
  local before = current
  current = opened or NONE
  M.opened, M.table, M.places, M.data, stop = current, current.table, current.places, current.data, current.stop
  if batch then current.batch = batch end
  given = current.batch
  return before
end

--- What the table's clock was started at, in seconds since 1970. Asked for from time to time, so that two times of a
--- flow differ by what was between them.
local function since_1970() return C.ipq_now() - C.ipq_monotonic_us() / 1e6 end

--- Begins to work with the table in that memory, which is the host's or the kit's and outlives this, and sweeps it from
--- time to time.
---@param config table the script's field flow
---@param memory any pointer or lightuserdata; nil: there is none
---@param size integer bytes
---@return table? opened for use()
---@return string? message
function M.begin(config, memory, size)
  local flows, places = open(config, memory, size)
  if not flows then return nil, places end
  local opened = { table = flows, places = places, data = {}, stop = config.stop, entries = config.entries,
    anchor = memory, has_packet_time = live.is_replay, since_1970 = since_1970() }
  timer.every(SWEEP_S, function()
    if opened.is_closed then return end
    opened.since_1970 = since_1970()
    local before = M.use(opened)
    sweep()
    M.use(before)
  end)
  return opened
end

--- Another process has the table from here on.
function M.close(opened)
  opened.is_closed = true
  opened.table = nil
  if current == opened then M.table = nil end
end

--- The program ends: the script is told of each flow that is there.
function M.exit(opened)
  if not opened.stop or opened.is_closed then return end
  local before = M.use(opened)
  local number = number_type()
  drain()
  local flow = C.ipq_flows_next(opened.table, number)
  while flow ~= nil do
    xpcall(opened.stop, on_raise, M.ended { flow = flow, number = number[0] - 1 }, "exit")
    flow = C.ipq_flows_next(opened.table, number)
  end
  M.use(before)
end

local function megabytes(entries) return (tonumber(C.ipq_flows_size(entries)) / 2 ^ 20) end

--- Tells the log how many flows there may be, and what memory they take then; and where the script wants more of them
--- than there is room for.
function M.tell(opened)
  local limit, entries = opened.table.limit, opened.entries
  log.write("info", ("queue %d: follows at most %d flows, in %.1f MB"):format(setting.queue_num, limit,
    megabytes(limit)))
  if entries and entries > limit then
    log.write("warn", ("queue %d: flow.entries = %d takes %d MB; --flow-memory has room for %d"):format(
      setting.queue_num, entries, ceil(megabytes(entries)), limit))
  end
end

--- How many flows there are.
---@return integer
function M.flow_count()
  if not M.table then error("ipq.flow_count() needs flow = {} in the script's table", 2) end
  return (tonumber(C.ipq_flows_count(M.table)))
end

core.flows = M
return M
