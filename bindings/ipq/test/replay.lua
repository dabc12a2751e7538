--- Capture files: read as packets, and replayed through a filter.
local core = require "ipq.core"
local dispatch = require "ipq.engine.dispatch"
local ffi = require "ffi"
local ipq = require "ipq"
local filters = require "ipq.test.filter"
local keys = require "ipq.build.keys"
local live = require "ipq.engine.live"
local memory = require "ipq.test.memory"
local misuse = require "ipq.build.misuse"
local packet = require "ipq.test.packet"
local record = require "ipq.packet.record"
local timer = require "ipq.engine.timer"

local M = {}

--- Runs all packets of a capture through a filter, with the time and the log as they are in replay. Gives the
--- capture, its driver, what is wrong with its files, and what came meanwhile: { log, events, raised }.
local function run(options, filter, observe, timers, opened)
  local capture, message = core.capture(options)
  if not capture then return nil, message end
  local raised, lines, events = memory.in_replay(memory.with_capture_time, timers, function(heap)
    local is_capture = live.is_capture
    live.is_capture = true
    local judge, keeper = dispatch.new(capture:driver(), filter, observe, heap)
    keeper.flows = opened
    live.is_capture = is_capture
    judge()
    keeper:judge_rest()
  end)
  return capture, ffi.cast("struct ipq_driver *", capture:driver()), capture:flush(),
    { log = lines, events = events, raised = raised }
end

---@class ipq.test.Replay
---@field frames integer read
---@field unjudged integer that no filter was asked about: no IP, or not to be read
---@field packets integer judged; and by verdict:
---@field accepted integer
---@field dropped integer
---@field queued integer
---@field repeated integer
---@field stopped integer
---@field marked integer
---@field changed integer
---@field errors integer
---@field rejected integer dropped, and their senders told
---@field sent integer packets that the filter has sent, those of rejects among them
---@field damage string? what is wrong with the file; what was readable was judged
---@field records table[] one a packet, in the order of verdicts: number, time, verdict, mark, changed, packet (a
---  line), error
---@field log string[]
---@field events table[] copies of the tables that ipq.event() was given

local record_mt = {
  __index = keys.strict("a record", { "number", "time", "verdict", "mark", "changed", "packet", "error" }),
}

local counter_names = { "packets", "accepted", "dropped", "queued", "repeated", "stopped", "marked", "errors",
  "rejected", "sent" }

local replay_mt = {
  __index = keys.strict("a replay", { "frames", "unjudged", "packets", "accepted", "dropped", "queued", "repeated",
    "stopped", "marked", "changed", "errors", "rejected", "sent", "damage", "records", "log", "events" }),
}

local bad = misuse.bad

local function check_options(name, options, known)
  keys.check(name .. "()'s options", options, known)
  for key, value in pairs(options) do
    local wanted = key == "arp" and "boolean" or "string"
    if type(value) ~= wanted then bad("%s(): %s must be a %s, not a %s", name, key, wanted, type(value)) end
  end
end

local function check(path, options)
  if type(path) ~= "string" then bad("replay() takes the path of a capture, not a %s", type(path)) end
  check_options("replay", options, { "write", "select", "arp" })
end

--- Judges all packets of a capture file. Gives what came of it, without records, or nil and why it cannot be. Raises
--- for misuse, and where timers raised.
local function judge(path, under_test, options, observe)
  check(path, options)
  ipq.args = under_test.args
  local capture, driver, damage, told = run({
    read = path, write = options.write, filter = options.select, copy = under_test.queue.copy,
    range = under_test.queue.range, default = under_test.default, on_error = under_test.on_error,
    arp = under_test.arp or options.arp, send = not under_test.script or under_test.script.send,
  }, under_test.filter, observe, under_test.timers or timer.new(), under_test.flows)
  if not capture then return nil, driver end

  local result = { damage = damage, log = told.log, events = told.events }
  for _, name in ipairs(counter_names) do result[name] = tonumber(driver.batch.counters[name]) end
  local frames = capture:counters()
  result.frames, result.changed = frames.frames, frames.changed
  result.unjudged = frames.other + frames.cut_off + frames.too_long + frames.hidden + frames.unknown_link
  capture:close()
  memory.fail_by_timers(told.raised)
  return result
end

--- Judges all packets of a capture file, as `ipq-lua -r` does: pcap or pcapng. Options: write, a file for what is
--- accepted; select, a pcap-filter(7) expression that chooses packets; arp, whether ARP comes to the filter, where the
--- script does not say it. Raises where a file cannot be opened, and where a timer raised, when all packets are judged.
---@param path string
---@param filter ipq.test.Filter|fun(pkt: ipq.Packet): ipq.verdict?, (string|ipq.Buffer)?
---@param options? {write?: string, select?: string, arp?: boolean}
---@return ipq.test.Replay
function M.replay(path, filter, options)
  local under_test = filters.of(filter)
  if not under_test then error("a filter is what load() gives, or a function", 2) end
  local records = {}
  local result, message = misuse.guard(judge, path, under_test, options or {}, function(p, pkt, why)
    records[#records + 1] = setmetatable(record.of(p, pkt, why), record_mt)
  end)
  if not result then error(message, 2) end
  result.records = records
  return (setmetatable(result, replay_mt))
end

--- What `ipq-lua -r --json` prints of the same. Raises as replay() does.
---@return string lines
function M.lines(path, filter)
  local under_test = filters.of(filter)
  if not under_test then error("a filter is what load() gives, or a function", 2) end
  local lines = {}
  local result, message = misuse.guard(judge, path, under_test, {}, function(p, _, why)
    lines[#lines + 1] = record.lines(p, why)
  end)
  if not result then error(message, 2) end
  return table.concat(lines)
end

--- A captured packet as one of the kit. Of its link header Ethernet's is kept.
local function kept(pkt)
  local l2hdr = pkt.ether and pkt.ether.daddr and pkt.l2hdr or nil
  return packet.new(pkt:copy(), {
    packet_id = pkt.packet_id, timestamp_sec = pkt.timestamp_sec, timestamp_usec = pkt.timestamp_usec,
    vlan_proto = not l2hdr and pkt.vlan_proto or nil, vlan_tci = not l2hdr and pkt.vlan_tci or nil, l2hdr = l2hdr,
    hook = pkt.hook, family = pkt.family == "arp" and "arp" or nil, len = pkt.truncated and pkt.len or nil,
  })
end

--- The packets of a capture file. Frames that are no IP are left out, ARP too unless the options ask for it.
---@param path string
---@param options? string|{select?: string, arp?: boolean} select, or a string alone, is a pcap-filter(7) expression
---  that chooses packets
---@return ipq.test.Packet[] packets
---@return string? damage what is wrong with the file, behind the last packet
function M.read(path, options)
  if type(path) ~= "string" or options ~= nil and type(options) ~= "string" and type(options) ~= "table" then
    error("read() takes the path of a capture, and perhaps a pcap-filter(7) expression or a table of options", 2)
  end
  options = type(options) == "table" and options or { select = options }
  misuse.guard(check_options, "read", options, { "select", "arp" })
  local packets = {}
  local capture, message, damage = run({ read = path, filter = options.select, arp = options.arp },
    function(pkt) packets[#packets + 1] = kept(pkt) end, nil, timer.new())
  if not capture then error(message, 2) end
  capture:close()
  return packets, damage
end

return M
