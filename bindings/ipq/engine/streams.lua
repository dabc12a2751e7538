--- The streams that a script reads and edits (lib/stream/stream.h): what the script says of them, and its handlers,
--- which are coroutines over what one direction of a connection says.
---
--- C has the bytes, decides what is passed and what is held, and says when a handler is to run: only when what it waits
--- for has come. Connections of which nobody waits for anything come to no Lua code.
local abi = require "ipq.engine.abi"
local core = require "ipq.core"
local ffi = require "ffi"
local flows = require "ipq.engine.flows"
local live = require "ipq.engine.live"
local log = require "ipq.log"
local spelling = require "ipq.spelling"
local timer = require "ipq.engine.timer"
-- A script may overwrite globals.
local coroutine_resume, coroutine_status = coroutine.resume, coroutine.status
local debug_traceback, floor, ipairs, next, pairs = debug.traceback, math.floor, ipairs, next, pairs
local bit, pcall, tonumber, tostring, type = require "bit", pcall, tonumber, tostring, type

-- One for the Lua state (see engine/abi.lua).
if core.streams then return core.streams end

local C, E = abi.C, ffi.C
local streams_type, direction_type = ffi.typeof "struct ipq_streams", ffi.typeof "uint32_t[1]"
local LIMITED = E.IPQ_STREAMS_LIMITED
local DONE, ASK, WAKE = E.IPQ_STREAM_DONE, E.IPQ_STREAM_ASK, E.IPQ_STREAM_WAKE
local PASSES, RESETS = tonumber(E.IPQ_STREAM_PASSES), tonumber(E.IPQ_STREAM_RESETS)
local NOBODY = 2 ^ 32 - 1
local EINVAL = 22
local SWEEP_S = 1 -- how often handlers are looked for whose connections have ended
local ERRORS_A_SECOND = 10
local SLACK_S = 0.001 -- packets and timers round their times
local HOLD_S, PEEK, LIMIT, HEADROOM = 0.25, 8192, 65536, 64
local PORTS = ffi.typeof "uint8_t[8192]"

local M = {
  --- What runs now, of what begin() gave, and its driver; nil: no script reads streams.
  current = nil,
  driver = nil,
}

-- What a script says

local known = { edit = "boolean", port = true, select = "function", client = "function", server = "function",
  hold = "number", peek = "number", limit = "number", on_limit = "string", on_error = "string", headroom = "number",
  connections = "number" }
-- The least and the most of numbers.
local ranges = { hold = { 0.001, 10 }, peek = { 1, 2 ^ 20 }, limit = { 1, 2 ^ 24 }, headroom = { 0, 500 },
  connections = { 1, tonumber(E.IPQ_STREAMS_MOST) } }
local policies = { pass = PASSES, reset = RESETS }

local function is_port(port) return type(port) == "number" and port >= 1 and port <= 65535 and port % 1 == 0 end

local function check_port(port)
  local list = type(port) == "table" and port or { port }
  local count = 0
  for _ in pairs(list) do count = count + 1 end
  if count == 0 or count ~= #list then return "stream.port must be a port, or a list of them" end
  for _, each in ipairs(list) do
    if not is_port(each) then
      return (("stream.port must be a whole number from 1 to 65535, not %s"):format(spelling.value(each)))
    end
  end
end

local function check_value(key, value)
  local kind, range = known[key], ranges[key]
  if kind ~= true and type(value) ~= kind then
    return (("stream.%s must be a %s, not %s"):format(key, kind, spelling.value(value)))
  end
  if range and not (value >= range[1] and value <= range[2] and (key == "hold" or value % 1 == 0)) then
    return (("stream.%s must be a %s from %s to %s, not %s"):format(key, key == "hold" and "number of seconds"
      or "whole number", range[1], range[2], spelling.value(value)))
  end
  if kind == "string" and not policies[value] then
    return (("stream.%s must be \"pass\" or \"reset\", not %s"):format(key, spelling.value(value)))
  end
end

--- Why what a script says of its streams cannot be, or nil.
---@param stream table its field stream
---@return string? why
function M.refusal(stream)
  for key, value in pairs(stream) do
    if not known[key] then
      return (("stream has an unknown field '%s'%s"):format(tostring(key), spelling.hint(key, known)))
    end
    local why = check_value(key, value)
    if why then return why end
  end
  if not stream.client and not stream.server then
    return "stream needs a function client or server, over what that end of a connection says"
  end
  if stream.port == nil and not stream.select then
    return "stream needs port, of the server, or select, a function of a flow: which connections are read?"
  end
  return stream.port ~= nil and check_port(stream.port) or nil
end

-- The memory

local function attach(streams, memory, size, followed, connections)
  local code = C.ipq_streams_attach(memory, size, followed, streams)
  if code ~= -EINVAL then return code end
  -- Where nobody has been it is all zeros.
  if ffi.cast("uint64_t *", memory)[0] ~= 0 then
    log.write("warn", "the streams of the process before cannot be read; connections that it has edited stand still")
  end
  code = C.ipq_streams_init(memory, size, connections)
  if code == 0 then code = C.ipq_streams_attach(memory, size, followed, streams) end
  return code
end

local function ports_of(config)
  if config.port == nil then return nil end
  local ports = PORTS()
  for _, port in ipairs(type(config.port) == "table" and config.port or { config.port }) do
    local place = floor(port / 8)
    ports[place] = bit.bor(ports[place], bit.lshift(1, port % 8))
  end
  return ports
end

local function configure(streams, config)
  streams.devices = abi.devices
  streams.hold_us = (config.hold or HOLD_S) * 1e6
  streams.peek_most, streams.buffer_most = config.peek or PEEK, config.limit or LIMIT
  streams.headroom = config.headroom or HEADROOM
  streams.edits = config.edit and 1 or 0
  streams.on_limit = policies[config.on_limit or "pass"]
  streams.on_error = policies[config.on_error or config.on_limit or "pass"]
end

-- Handlers

local which = { [0] = "client", [1] = "server" }

--- What a handler is called with, set by packet/stream.lua: new(opened, number, direction); coroutine_of(stream), which
--- its handler runs in; and has_rest(stream), whether it goes on when its handler has returned.
M.new, M.coroutine_of, M.has_rest = nil, nil, nil

local function tell_error(opened, key, thread, err)
  if not opened.may_tell() then return end
  local ok, text = pcall(debug_traceback, thread, tostring(err))
  log.write("error", ("stream.%s(): %s"):format(which[key % 2], ok and text or "error with no message"))
end

--- Runs a handler until it waits for something that has not come. It gets the flow when it begins.
local function run(opened, key, stream, flow)
  local before, thread = opened.running, M.coroutine_of(stream)
  opened.running = stream
  local ok, err = coroutine_resume(thread, stream, flow)
  opened.running = before
  local number, direction = floor(key / 2), key % 2
  if not ok then
    tell_error(opened, key, thread, err)
    opened.waiting[key] = nil
    C.ipq_stream_fail(opened.streams, number, direction, opened.streams.on_error)
  elseif coroutine_status(thread) == "dead" and M.has_rest(stream) then
    run(opened, key, stream)
  elseif coroutine_status(thread) == "dead" then
    opened.waiting[key] = nil
    C.ipq_stream_leave(opened.streams, number, direction)
  end
end

--- Packets that were held and have had their verdicts are shown, where somebody looks.
local function show(opened)
  local p = C.ipq_streams_shown(opened.streams)
  while p ~= nil do
    opened.shown(p)
    C.ipq_streams_seen(opened.streams)
    p = C.ipq_streams_shown(opened.streams)
  end
end

local check_overdue

--- Packets are held: their time is looked at.
local function watch(opened)
  if opened.is_watched or opened.streams.holding == 0 then return end
  opened.is_watched = true
  timer.after(opened.hold + SLACK_S, check_overdue, opened)
end

function check_overdue(opened)
  opened.is_watched = false
  if opened.is_closed then return end
  local streams, direction = opened.streams, direction_type()
  streams.now_us = live.monotonic() * 1e6
  local number = tonumber(C.ipq_streams_overdue(streams, direction))
  while number ~= NOBODY do
    opened.waiting[number * 2 + direction[0]] = nil
    streams.counts[LIMITED] = streams.counts[LIMITED] + 1
    C.ipq_stream_fail(streams, number, direction[0], streams.on_limit)
    number = tonumber(C.ipq_streams_overdue(streams, direction))
  end
  if opened.shown then show(opened) end
  watch(opened)
end

local function begin_handler(opened, p, key)
  local stream = M.new(opened, floor(key / 2), key % 2)
  opened.waiting[key] = stream
  run(opened, key, stream, flows.object(p.flow_number - 1))
end

local function wake(opened, p)
  local number = tonumber(C.ipq_streams_number(opened.streams, p))
  local direction = tonumber(C.ipq_streams_woken(opened.streams, number))
  while direction ~= NOBODY do
    local key = number * 2 + direction
    local stream = opened.waiting[key]
    if stream then run(opened, key, stream) else begin_handler(opened, p, key) end
    direction = tonumber(C.ipq_streams_woken(opened.streams, number))
  end
end

--- Whether the script is to read the connection that the packet begins.
local function is_selected(opened, p)
  local select = opened.config.select
  if not select then return true end
  local ok, chosen = pcall(select, flows.object(p.flow_number - 1))
  if not ok and opened.may_tell() then log.write("error", "stream.select(): " .. tostring(chosen)) end
  return ok and chosen
end

local function begin_stream(opened, p)
  if not is_selected(opened, p) then return false end
  local number = C.ipq_stream_open(opened.streams, p)
  if number < 0 then return false end
  for direction in pairs(opened.handlers) do C.ipq_stream_listen(opened.streams, number, direction) end
  return true
end

--- A packet that a handler has to be asked of.
local function ask(opened, driver, p, result)
  if result == ASK then
    if not begin_stream(opened, p) then return DONE end
    result = C.ipq_driver_stream(driver, p)
  end
  if result == WAKE then
    wake(opened, p)
    result = C.ipq_driver_stream_settle(driver, p)
  end
  if opened.shown then show(opened) end
  watch(opened)
  return result
end

--- Has a packet that its filter has accepted take part in its stream. Gives why it cannot, or nil.
function M.step(p)
  local opened, driver = M.current, M.driver
  local result = C.ipq_driver_stream(driver, p)
  if result > DONE then result = ask(opened, driver, p, result) end
  if result < 0 then return "stream: " .. ffi.string(C.ipq_rewrite_strerror(result)) end
  if p.held ~= 0 then watch(opened) end
end

--- Whether a packet's connection may have been edited.
function M.is_edited(p)
  local opened = M.current
  return opened ~= nil and opened.streams.edits ~= 0 and C.ipq_streams_number(opened.streams, p) ~= NOBODY
end

--- Handlers of connections that have ended are forgotten.
local function sweep(opened)
  for key in pairs(opened.waiting) do
    if not C.ipq_stream_is_heard(opened.streams, floor(key / 2), key % 2) then opened.waiting[key] = nil end
  end
end

--- Makes what begin() gave the streams of the loop that runs by that driver; nil: it has none. shown(p) is called with
--- each packet that was held when it has its verdict.
function M.use(opened, driver, shown)
  M.current, M.driver = opened, driver
  if opened then
    opened.shown = shown
    opened.streams.shows = shown and 1 or 0
  end
  if driver then C.ipq_driver_use_streams(driver, opened and opened.streams or nil) end
end

--- Begins to work with the streams in that memory, which is the host's or the kit's and outlives this.
---@param config table the script's field stream
---@param memory any pointer or lightuserdata; nil: there is none
---@param size integer bytes
---@param followed table what flows.begin() gave
---@return table? opened for use()
---@return string? message
function M.begin(config, memory, size, followed)
  if memory == nil then return nil, "there is no memory for streams" end
  local streams = streams_type()
  memory = ffi.cast("uint8_t *", memory)
  local most = C.ipq_streams_connections(size)
  local connections = config.connections and config.connections < most and config.connections or most
  local code = attach(streams, memory, size, followed.table, connections)
  if code < 0 then return nil, ("cannot begin streams in %d bytes"):format(tonumber(size)) end
  if code > 0 then
    log.write("warn", ("%d edited connections of the process before cannot be read; they are reset"):format(code))
  end
  configure(streams, config)
  local opened = { streams = ffi.gc(streams, C.ipq_streams_detach), config = config, anchor = memory, waiting = {},
    ports = ports_of(config), handlers = { [0] = config.client, [1] = config.server }, hold = config.hold or HOLD_S,
    may_tell = log.gate("error", ERRORS_A_SECOND, "errors of streams' handlers"), flows = followed }
  streams.ports = opened.ports
  if config.edit then
    -- What it has edited cannot go on without its flow.
    followed.table.wants_ended = 1
    followed.on_ended = function(ended)
      if not opened.is_closed then C.ipq_streams_ended(streams, ended) end
    end
  end
  timer.every(SWEEP_S, function() if not opened.is_closed and next(opened.waiting) then sweep(opened) end end)
  return opened
end

--- The program ends, and nobody translates any more: connections that were edited are reset.
function M.exit(opened)
  if opened.is_closed then return end
  C.ipq_streams_exit(opened.streams)
  if opened.streams.outbox ~= nil then C.ipq_outbox_flush(opened.streams.outbox) end
end

--- Another process has the streams from here on, or nobody has. What is held is dropped: its senders repeat it.
function M.close(opened)
  if opened.is_closed then return end
  opened.is_closed = true
  C.ipq_streams_detach(ffi.gc(opened.streams, nil))
  opened.waiting = {}
  if M.current == opened then M.current, M.driver = nil, nil end
end

core.streams = M
return M
