--- Filters under test, and what comes of a packet in them.
local core = require "ipq.core"
local ffi = require "ffi"
local flows = require "ipq.engine.flows"
local ipq = require "ipq"
local keys = require "ipq.build.keys"
local memory = require "ipq.test.memory"
local misuse = require "ipq.build.misuse"
local packet = require "ipq.test.packet"
local region = require "ipq.engine.region"
local script = require "ipq.engine.script"
local streams = require "ipq.engine.streams"
local verdict = require "ipq.verdict"

local M = {}

---@class ipq.test.Filter
---@field filter fun(pkt: ipq.Packet): ipq.verdict?, (string|ipq.Buffer)?
---@field queue {copy?: "packet"|"meta", range?: integer} what the script asks of its queue
---@field args table<string, string>
---@field arp boolean whether the script asks for the ARP of a capture
---@field send boolean whether the script sends packets of its own
local Filter = {}
local filter_mt = {
  __index = keys.strict("a filter", { "filter", "queue", "arp", "send", "args", "script", "default", "on_error",
    "timers", "flows", "streams" }, Filter),
}

--- Calls a function of the script's, with its timers, and its right to send.
local function call_with(timers, loaded, name, argument)
  if not loaded.send then
    local ok, result = memory.with_timers(timers, script.call, loaded, name, argument)
    return ok, result
  end
  local ok, result, sent = memory.with_outbox(memory.with_timers, timers, script.call, loaded, name, argument)
  return ok, result, sent
end

--- The same, with the flows that it follows, if it does.
local function call(timers, loaded, name, argument, opened)
  local before = flows.use(opened)
  local ok, result, sent = call_with(timers, loaded, name, argument)
  flows.use(before)
  return ok, result, sent
end

--- Packets as the kit has them, of what was sent.
local function packets_of(sent)
  local list = {}
  for i, each in ipairs(sent or {}) do list[i] = packet.new(each.bytes, { mark = each.mark }) end
  return list
end
M.packets_of = packets_of

--- Calls the script's stop(). What the filter still holds gets the default verdict then; what its streams hold is
--- dropped, and they are read no more.
---@param reason? "reload"|"exit" "exit" where it is left out
---@return ipq.test.Packet[] sent what stop() has sent, and rejects of what was held
function Filter:stop(reason)
  if reason ~= nil and reason ~= "reload" and reason ~= "exit" then
    error('stop() takes the reason, "reload" or "exit"', 2)
  end
  if self.flows and reason ~= "reload" then flows.exit(self.flows) end
  local ok, message, sent = call(self.timers, self.script, "stop", reason or "exit", self.flows)
  if self.streams then
    streams.close(self.streams)
    self.streams = nil
  end
  local _, _, last = memory.with_outbox(memory.judge_rest, self.filter)
  if not ok then error(message, 2) end
  local list = packets_of(sent)
  for _, pkt in ipairs(packets_of(last)) do list[#list + 1] = pkt end
  return list
end

--- Calls the script's save(). Raises where that does, and where what it returns cannot be saved.
---@return any saved what the restore() of a script that takes its place would get
function Filter:save()
  local before = flows.use(self.flows)
  local ok, saved = memory.with_timers(self.timers, script.call, self.script, "save")
  flows.use(before)
  if not ok then error(saved, 2) end
  local copied, copy = pcall(core.value_copy, saved)
  if not copied then error("save(): " .. tostring(copy), 2) end
  return copy
end

local bad = misuse.bad

local function check(path, args, options)
  if type(path) ~= "string" then bad("load() takes the path of a script, not a %s", type(path)) end
  if type(args) ~= "table" then
    bad("load() takes the script's arguments as a table, { limit = 500 }, not a %s", type(args))
  end
  keys.check("load()'s options", options, { "default", "on_error", "restore" })
  for _, name in ipairs { "default", "on_error" } do
    if options[name] ~= nil and not verdict.is_valid(options[name]) then
      bad("load(): %s must be a verdict, as ipq.ACCEPT or ipq.DROP, not %s", name,
        type(options[name]) == "string" and ("the string %q"):format(options[name]) or tostring(options[name]))
    end
  end
end

--- The command line's arguments, from a table of strings by name.
local function argv_of(args)
  local argv = {}
  for i, argument in ipairs(args) do argv[i] = argument end
  for key, value in pairs(args) do
    if type(key) == "string" then argv[#argv + 1] = key .. "=" .. tostring(value) end
  end
  return argv
end

local function kit_time() return memory.time end

--- Loads a script as the program does, and calls its start(). Its arguments are a table: { limit = "500" }.
--- Options: default and on_error, the verdicts of those names; restore, what a script before it has saved, which its
--- restore() gets. Raises where the script is no filter, and where its start() or restore() raises.
---@param path string a relative one begins in the current directory
---@param args? table<string, any>
---@param options? {default?: ipq.verdict, on_error?: ipq.verdict, restore?: any}
---@return ipq.test.Filter
function M.load(path, args, options)
  args, options = args or {}, options or {}
  misuse.guard(check, path, args, options)
  -- Its shared tables are its own, and empty, by the kit's time.
  region.time = kit_time
  region.fresh()
  local timers = memory.new_timers()
  local loaded, message = memory.with_timers(timers, script.load, path, argv_of(args))
  if not loaded then error(message, 2) end
  for _, name in ipairs { "default", "on_error" } do
    if options[name] and verdict.reject_of(options[name]) and not loaded.send then
      error(("load(): %s rejects packets, which needs send = true in the script's table"):format(name), 2)
    end
  end
  local opened = loaded.flow and memory.with_timers(timers, memory.new_flows, loaded.flow) or nil
  local read = loaded.stream and memory.with_timers(timers, memory.new_streams, loaded.stream, opened) or nil
  local ok, why = call(timers, loaded, "start", loaded.args)
  if ok and options.restore ~= nil then ok, why = call(timers, loaded, "restore", options.restore) end
  if not ok then error(why, 2) end
  return setmetatable({
    script = loaded, filter = loaded.filter, queue = loaded.queue, arp = loaded.arp, send = loaded.send,
    args = loaded.args, default = options.default, on_error = options.on_error, timers = timers, flows = opened,
    streams = read,
  }, filter_mt)
end

--- A function is a filter as well. Gives nil for what is none.
function M.of(value)
  if type(value) == "function" then return { filter = value, queue = {}, arp = false, send = true, args = {} } end
  if getmetatable(value) == filter_mt then return value end
end

---@class ipq.test.Result
---@field verdict string "accept", "drop", "reject", "reject tcp-reset" and so on, "repeat", "stop", "queue 3",
---  "queue 3 bypass"; "hold" until a packet that is held has its verdict
---@field value ipq.verdict? the same as a number; nil while the packet is held
---@field judged ipq.test.Packet what the filter was given
---@field packet ipq.test.Packet? what goes on; nil where it was dropped, or is held
---@field changed boolean whether the packet's bytes were changed, or its link header's
---@field error string? why the filter's verdict could not be taken: the error that it raised
---@field sent ipq.test.Packet[] what the filter has sent, in its order; its answer to a reject is the last
---@field log string[] what was logged meanwhile: "level: text"
---@field events table[] copies of the tables that ipq.event() was given meanwhile
local Result = {
  __index = keys.strict("a result", { "verdict", "value", "judged", "packet", "changed", "error", "sent", "log",
    "events" }),
}

function Result:__tostring()
  if self.error then return ("%s, after an error: %s"):format(self.verdict, self.error) end
  if not self.packet then return self.verdict end
  return ("%s%s: %s"):format(self.verdict, self.changed and ", changed" or "", tostring(self.packet))
end

--- Metadata of what a packet has become: its bytes are all there then.
local function meta_after(before, outcome)
  local meta = {}
  for key, value in pairs(before) do meta[key] = value end
  if bit.band(outcome.set, ffi.C.IPQ_SET_MARK) ~= 0 then meta.mark = outcome.mark end
  if bit.band(outcome.set, ffi.C.IPQ_SET_PRIORITY) ~= 0 then meta.priority = outcome.priority end
  if outcome.l2hdr then meta.l2hdr = outcome.l2hdr end
  if outcome.bytes then meta.len, meta.data_len, meta.gso, meta.csum_ready = nil, nil, nil, nil end
  return meta
end

local function fill_in(result, pkt, outcome)
  result.verdict, result.value, result.error = verdict.name(outcome.value), outcome.value, outcome.why
  result.changed = outcome.bytes ~= nil or outcome.l2hdr ~= nil
  if outcome.value ~= ipq.DROP and not verdict.reject_of(outcome.value) then
    result.packet = packet.new(outcome.bytes or pkt.bytes, meta_after(pkt.meta, outcome))
  end
end

--- Judges a packet, by the dispatch and the rewriting that live packets go through.
---@param filter ipq.test.Filter|fun(pkt: ipq.Packet): ipq.verdict?, (string|ipq.Buffer)?
---@param pkt ipq.test.Packet
---@return ipq.test.Result
function M.run(filter, pkt)
  local under_test = M.of(filter)
  if not under_test then error("a filter is what load() gives, or a function", 2) end
  if not packet.is_packet(pkt) then error("a packet is what a builder gives, or packet(bytes)", 2) end
  ipq.args = under_test.args
  local outcome = misuse.guard(memory.judge, pkt.bytes, pkt.meta, under_test.filter, under_test)
  local result = setmetatable({ verdict = "hold", changed = false, log = outcome.log, events = outcome.events,
    sent = packets_of(outcome.sent), judged = pkt }, Result)
  if outcome.is_held then
    outcome.on_verdict = function(later) fill_in(result, pkt, later) end
  else
    fill_in(result, pkt, outcome)
  end
  return result
end

--- Whether value is what run() gives.
function M.is_result(value) return getmetatable(value) == Result end

return M
