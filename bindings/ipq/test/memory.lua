--- One packet through a filter, in the loop that live packets go through: the same dispatch, the same
--- rewriting.
local abi = require "ipq.engine.abi"
local bit = require "bit"
local conntrack = require "ipq.test.conntrack"
local core = require "ipq.core"
local dispatch = require "ipq.engine.dispatch"
local event = require "ipq.event"
local ffi = require "ffi"
local flows = require "ipq.engine.flows"
local link = require "ipq.packet.link"
local live = require "ipq.engine.live"
local log = require "ipq.log"
local metadata = require "ipq.build.meta"
local misuse = require "ipq.build.misuse"
local sending = require "ipq.engine.send"
local streams = require "ipq.engine.streams"
local timer = require "ipq.engine.timer"
local verdict = require "ipq.verdict"

local C, E = abi.C, ffi.C
local SLOT = E.IPQ_PACKET_MAX
-- Bytes of an Ethernet header, and those that a capture's link header may grow to.
local ETHERNET_HEADER, LINK_ROOM = 14, 512

local M = {}

--- Seconds since 1970 at which packets come that have no timestamp of their own: ipq.now() in their filters.
M.time = 0

local bad = misuse.bad

-- Timers, by that time

local function now_us() return math.floor(M.time * 1e6 + 0.5) end

local heaps = setmetatable({}, { __mode = "v" })

--- The timers of a filter.
function M.new_timers()
  local heap = timer.new(now_us)
  heap:start(now_us())
  heaps[#heaps + 1] = heap
  return heap
end

-- Entries of a flow table, where a script names none, and at most: all of its memory is there at once.
local FLOWS, FLOWS_MOST = 4096, 65536
local LINE = 128

--- A flow table of a script's, empty; what it says of it is its field flow.
function M.new_flows(config)
  local size = tonumber(C.ipq_flows_size(math.min(config.entries or FLOWS, FLOWS_MOST)))
  local bytes = ffi.new("uint8_t[?]", size + LINE)
  local address = tonumber(ffi.cast("uintptr_t", bytes))
  local opened, message = flows.begin(config, bytes + -address % LINE, size)
  if not opened then error(message, 0) end
  opened.memory, opened.has_packet_time = bytes, true
  return opened
end

local CONNECTIONS = 256
local RECORD = 256

--- The streams of a script's, empty; what it says of them is its field stream, and opened_flows what new_flows() gave.
function M.new_streams(config, opened_flows)
  local size = tonumber(C.ipq_streams_size(math.min(config.connections or CONNECTIONS, FLOWS_MOST)))
  local bytes = ffi.new("uint8_t[?]", size + RECORD)
  local address = tonumber(ffi.cast("uintptr_t", bytes))
  local opened, message = streams.begin(config, bytes + -address % RECORD, size, opened_flows)
  if not opened then error(message, 0) end
  opened.memory = bytes
  return opened
end

--- What functions that are no script's have: one for all of them.
local shared_timers = M.new_timers()

--- Calls work(...): the timers that it makes go to that heap.
function M.with_timers(heap, work, ...)
  local before = timer.current
  timer.current = heap or shared_timers
  local ok, result, more = pcall(work, ...)
  timer.current = before
  if not ok then error(result, 0) end
  return result, more
end

--- Calls work(heap) where the packets of a capture tell the time, not the kit.
---@return string[] raised what timers raised
function M.with_capture_time(heap, work)
  local raised, before = {}, heap.raised
  heap.raised = raised
  heap:stop(now_us())
  local ok, why = pcall(M.with_timers, heap, work, heap)
  heap.raised, heap.clock = before, now_us
  heap:start(now_us())
  if not ok then error(why, 0) end
  return raised
end

--- Raises where timers did: no result of a packet's could tell of them.
---@param raised string[]
function M.fail_by_timers(raised)
  if #raised == 0 then return end
  local others = #raised > 1 and ("\nand %d more after it"):format(#raised - 1) or ""
  bad("a timer raised: %s%s", raised[1], others)
end

--- The heap that has something to run, up to that time.
local function next_heap(target)
  local next
  for _, heap in pairs(heaps) do
    if heap.due <= target and (not next or heap.due < next.due) then next = heap end
  end
  return next
end

--- A copy of what is in an event's table now: a script may put its next event into the same one.
local function snapshot(value)
  if type(value) ~= "table" then return value end
  local copy = {}
  for key, inner in pairs(value) do copy[key] = snapshot(inner) end
  return copy
end

--- Time, log and events as they are in replay, while work(...) runs. Gives what it gives, the log's lines
--- ("level: text"), and the events.
local function in_replay(work, ...)
  local is_replay, sink, event_sink, lines, events = live.is_replay, log.sink, event.sink, {}, {}
  live.is_replay = true
  log.sink = function(level, text) lines[#lines + 1] = level .. ": " .. text end
  event.sink = function(_, fields) events[#events + 1] = snapshot(fields) end
  local ok, result = pcall(work, ...)
  live.is_replay, log.sink, event.sink = is_replay, sink, event_sink
  if not ok then error(result, 0) end
  return result, lines, events
end
M.in_replay = in_replay

-- Metadata, by the names of fields

local FAMILY_IP, FAMILY_ARP, FAMILY_BRIDGE, FAMILY_IP6, HOOK_INPUT = 2, 3, 7, 10, 1 -- NFPROTO_*, NF_INET_*
local DEVICES = 32 -- of struct ipq_devices
local FOREVER = 0x7fffffffffffffffLL

--- Where present says that there is one.
local optional = {
  indev = E.IPQ_HAS_INDEV, outdev = E.IPQ_HAS_OUTDEV, physindev = E.IPQ_HAS_PHYSINDEV,
  physoutdev = E.IPQ_HAS_PHYSOUTDEV, uid = E.IPQ_HAS_UID, gid = E.IPQ_HAS_GID, vlan_proto = E.IPQ_HAS_VLAN,
  vlan_tci = E.IPQ_HAS_VLAN, priority = E.IPQ_HAS_PRIORITY, mark = E.IPQ_HAS_MARK,
}

local device_indexes, device_count = {}, 0

local function device_index(name)
  if not device_indexes[name] then
    device_count = device_count + 1
    device_indexes[name] = device_count
  end
  return device_indexes[name]
end

--- The packet's interface of that kind. Its name is put into the cache of those that the system has, so that
--- it needs none.
local function fill_device(p, meta, kind, taken)
  local name, index = meta[kind .. "_name"], meta[kind]
  if not (name or index) then return end
  index = index or device_index(name)
  p[kind] = index
  p.present = bit.bor(p.present, optional[kind])
  if not name then return end
  local slot = index % DEVICES
  if taken[slot] and taken[slot] ~= index then
    bad("%s: choose another index, %d and %d cannot be in one packet", kind, index, taken[slot])
  end
  taken[slot] = index
  local device = abi.devices.slots[slot]
  device.index, device.type, device.until_ms = index, kind == "indev" and meta.hw_type or 1, FOREVER
  ffi.copy(device.name, name)
end

local function fill_devices(p, meta)
  local taken = {}
  for _, kind in ipairs { "indev", "outdev", "physindev", "physoutdev" } do fill_device(p, meta, kind, taken) end
  return taken
end

--- A bridge's cannot be changed; others are as a capture's.
local function fill_link(p, bytes, anchors)
  p.link, p.l2hdr_room = E.IPQ_LINK_OTHER, 0
  if not bytes then return end
  local size = math.max(#bytes, LINK_ROOM)
  local memory = ffi.new("uint8_t[?]", size)
  ffi.copy(memory, bytes, #bytes)
  anchors.l2hdr = memory
  p.l2hdr, p.l2hdr_len, p.link = memory, #bytes, E.IPQ_LINK_ETHER
  p.present = bit.bor(p.present, E.IPQ_HAS_L2HDR)
  if p.family == FAMILY_BRIDGE then return end
  p.l2hdr_room = size
  if #bytes >= ETHERNET_HEADER then link.tell_tag(p) end
end

local function fill_bytes(p, meta, anchors)
  local secctx = meta.secctx
  if secctx then
    anchors.secctx = secctx
    p.secctx, p.secctx_len = secctx, #secctx
    p.present = bit.bor(p.present, E.IPQ_HAS_SECCTX)
  end
  fill_link(p, meta.l2hdr, anchors)
  anchors.prefix = meta.prefix
  p.prefix, p.prefix_len = meta.prefix, #(meta.prefix or "")
  if meta.hw_addr then
    local n = 0
    for digits in meta.hw_addr:gmatch "%x%x" do
      p.hw_addr[n] = tonumber(digits, 16)
      n = n + 1
    end
    p.hw_addrlen = n
    p.present = bit.bor(p.present, E.IPQ_HAS_HWADDR)
  end
end

local function fill_time(p, meta)
  local seconds = meta.timestamp or meta.timestamp_sec
  if seconds then p.present = bit.bor(p.present, E.IPQ_HAS_TIMESTAMP) end
  seconds = seconds or M.time
  local whole = math.floor(seconds)
  p.timestamp_sec = whole
  p.timestamp_usec = meta.timestamp_usec or math.floor((seconds - whole) * 1e6 + 0.5)
end

local function fill_skb_info(p, meta)
  local info = bit.bor(meta.gso and E.IPQ_SKB_GSO or 0, meta.csum_ready == false and E.IPQ_SKB_CSUMNOTREADY or 0,
    meta.csum_verified == false and E.IPQ_SKB_CSUM_NOTVERIFIED or 0)
  if info == 0 then return end
  p.skb_info = info
  p.present = bit.bor(p.present, E.IPQ_HAS_SKB_INFO)
end

local function version_of(bytes)
  local first = bytes:byte(1)
  return first and math.floor(first / 16)
end

local function fill_payload(p, slot, bytes, meta, queue)
  if queue.copy == "meta" then
    p.data, p.data_len, p.len = slot, 0, 0
    return
  end
  local data_len = math.min(meta.data_len or #bytes, queue.range or SLOT, #bytes)
  ffi.copy(slot, bytes, data_len)
  p.data, p.data_len, p.len = slot, data_len, meta.len or #bytes
  p.present = bit.bor(p.present, E.IPQ_HAS_PAYLOAD, p.data_len < p.len and E.IPQ_HAS_CAP_LEN or 0)
end

local function fill(p, slot, bytes, meta, queue, anchors)
  local v6 = version_of(bytes) == 6
  p.present = E.IPQ_HAS_PACKET_HDR
  p.skb_info, p.mark, p.priority = 0, meta.mark or 0, meta.priority or 0
  p.packet_id, p.queue_num = meta.packet_id or 1, meta.queue_num or 0
  p.hook = metadata.hook(meta.hook) or metadata.hook(meta.hook_name) or HOOK_INPUT
  p.family = metadata.family(meta.family) or (v6 and FAMILY_IP6 or FAMILY_IP)
  p.hw_protocol = meta.hw_protocol or (p.family == FAMILY_ARP and 0x0806 or v6 and 0x86dd or 0x0800)
  for name, has in pairs(optional) do
    if meta[name] then
      p[name] = meta[name]
      p.present = bit.bor(p.present, has)
    end
  end
  fill_payload(p, slot, bytes, meta, queue)
  fill_bytes(p, meta, anchors)
  fill_time(p, meta)
  fill_skb_info(p, meta)
  if meta.ct then conntrack.fill(p, meta.ct, anchors) end
  return fill_devices(p, meta)
end

-- The slots: one for each filter that runs inside of another's.

local Slot = {}
Slot.__index = Slot

local function new_slot()
  local memory = assert(core.memory())
  local driver = ffi.cast(abi.driver_pointer, memory:driver())
  return setmetatable({ memory = memory, driver = driver, batch = driver.batch, p = driver.batch.packets[0],
    outbox = driver.outbox, loops = setmetatable({}, { __mode = "k" }), held = {} }, Slot)
end

--- The link header that the filter has left; nil where it has changed none.
local function changed_link(p)
  return bit.band(p.set, E.IPQ_SET_LINK) ~= 0 and ffi.string(p.l2hdr, p.l2hdr_len) or nil
end

--- What came of the packet, when its filter has returned, or when the packet that it held has its verdict.
function Slot:observe(p, why, held)
  local outcome = held and self.held[held] or { l2hdr = changed_link(p) }
  if bit.band(p.set, E.IPQ_SET_LINK) == 0 then outcome.l2hdr = nil end
  outcome.value, outcome.why = verdict.with_reject(p.verdict, p.reject), why
  outcome.set, outcome.mark, outcome.priority = p.set, p.mark, p.priority
  outcome.bytes = bit.band(p.set, E.IPQ_SET_PAYLOAD) ~= 0 and ffi.string(p.data, p.data_len) or nil
  if not held then
    self.outcome = outcome
    return
  end
  self.held[held] = nil
  outcome.is_held = false
  if outcome.on_verdict then outcome.on_verdict(outcome) end
end

--- The loop over packets with that filter: { run, keeper }.
function Slot:loop_of(filter)
  local loop = self.loops[filter]
  if not loop then
    local run, keeper = dispatch.new(self.memory:driver(), filter, function(p, _, why, held)
      self:observe(p, why, held)
    end, false)
    loop = { run = run, keeper = keeper }
    self.loops[filter] = loop
  end
  return loop
end

--- What was sent since it was taken last: { bytes, mark }, in its order.
function Slot:take_sent()
  local outbox, list = self.outbox, {}
  for i = 0, outbox.count - 1 do
    local sent = outbox.sent[i]
    list[i + 1] = { bytes = ffi.string(sent.data, sent.len), mark = sent.mark }
  end
  C.ipq_outbox_clear(outbox)
  return list
end

local slots, depth = {}, 0

local function slot_at(number)
  slots[number] = slots[number] or new_slot()
  return slots[number]
end

--- Calls work(...) where functions other than filters may send. Gives the two values that it gives, and what was sent.
local function with_outbox(work, ...)
  local slot, before = slot_at(depth + 1), live.outbox
  slot.driver.outbox = slot.outbox
  sending.use(slot.driver)
  local ok, result, more = pcall(work, ...)
  live.outbox = before
  local sent = slot:take_sent()
  if not ok then error(result, 0) end
  return result, more, sent
end
M.with_outbox = with_outbox

-- They run in the batch of a slot, as the host looks there for what takes too long.
local function run_timers(target)
  local slot, guard, raised = slot_at(1), live.guard, {}
  local function on_raise(err) raised[#raised + 1] = timer.error_text(err) end
  local guarded = guard and guard(slot.memory:driver())
  local heap = next_heap(target)
  while heap do
    M.time = heap.due / 1e6
    heap:run(heap.due, on_raise, slot.batch)
    heap = next_heap(target)
  end
  M.time = target / 1e6
  if guard then guard(guarded) end
  return raised
end

--- Lets time pass. Where timers raise, it does so when all that were due have run.
---@param seconds number
---@return string[] log
---@return table[] events
---@return table[] sent { bytes, mark }
function M.advance(seconds)
  local result, lines, events = in_replay(function()
    local raised, _, sent = with_outbox(run_timers, math.floor((M.time + seconds) * 1e6 + 0.5))
    return { raised = raised, sent = sent }
  end)
  M.fail_by_timers(result.raised)
  return lines, events, result.sent
end

local read = ffi.new "uint32_t[2]"

--- Of a verdict that a filter may return: the kernel's, and what the packet's sender is told beside it.
local function read_verdict(v)
  C.ipq_verdict_read(v, read, read + 1)
  return read[0], read[1]
end

local newest_id = 1 -- of packets that streams may hold

local function judge(slot, bytes, meta, filter, options)
  local anchors = {}
  slot.anchors = anchors
  slot.batch.default_verdict, slot.batch.default_reject = read_verdict(options.default or E.IPQ_ACCEPT)
  slot.batch.error_verdict, slot.batch.error_reject = read_verdict(options.on_error or E.IPQ_DROP)
  slot.driver.outbox = options.send and slot.outbox or nil
  local devices = fill(slot.p, slot.batch.slots, bytes, meta, options.queue or {}, anchors)
  if options.streams and not meta.packet_id then
    newest_id = newest_id + 1
    slot.p.packet_id = newest_id
  end
  slot.outcome = nil
  slot.memory:offer()
  local loop = slot:loop_of(filter)
  loop.keeper.flows, loop.keeper.streams = options.flows, options.streams
  loop.run()
  if slot.p.held ~= 0 then
    -- Its link header stays with its slot.
    slot.outcome = { is_held = true, l2hdr = changed_link(slot.p) }
    local holder = slot.p.held == E.IPQ_HELD_BY_STREAM and tonumber(slot.p.packet_id) or loop.keeper.newest
    slot.held[holder] = slot.outcome
  end
  for number in pairs(devices) do abi.devices.slots[number].until_ms = 0 end
  slot.outcome.sent = slot:take_sent()
  return slot.outcome
end

--- Judges a packet. Options: queue (copy and range, as a script says them), default and on_error (verdicts), timers,
--- send (whether the filter may), flows and streams (what new_flows() and new_streams() gave).
---@param bytes string an IP packet
---@param meta table its metadata, by the names of fields
---@param filter fun(pkt: ipq.Packet): ipq.verdict?, (string|ipq.Buffer)?
---@param options? table
---@return {value: integer, why: string?, set: integer, mark: integer, priority: integer, bytes: string?,
---  l2hdr: string?, is_held: boolean?, on_verdict: fun(outcome: table)?, log: string[], events: table[],
---  sent: {bytes: string, mark: integer}[]} outcome
---  bytes: what the packet has become, where it was changed; l2hdr: the same of its link header; is_held: it has no
---  value yet, and on_verdict() is called when it has; log: "level: text"
function M.judge(bytes, meta, filter, options)
  if #bytes > SLOT then bad("a packet of %d bytes; %d is the most", #bytes, SLOT) end
  options = options or {}
  depth = depth + 1
  local ok, outcome, lines, events = pcall(in_replay, M.with_timers, options.timers, judge, slot_at(depth), bytes, meta,
    filter, options)
  depth = depth - 1
  if not ok then error(outcome, 0) end
  outcome.log, outcome.events = lines, events
  return outcome
end

--- Gives the default verdict to all packets that the filter holds.
function M.judge_rest(filter)
  for _, slot in ipairs(slots) do
    if slot.loops[filter] then slot.loops[filter].keeper:judge_rest() end
  end
end

local current -- the work of the filter below, and what it gave

local function call_work(pkt)
  local job = current
  job.ok, job.result, job.bytes = pcall(job.work, pkt)
  return nil, job.bytes
end

--- Calls work(view) as a filter; work gives a result, and perhaps bytes that the packet becomes. Raises what work
--- raises, and where the packet cannot be sent as it was left.
---@return any result
---@return string bytes the packet's
function M.with(bytes, meta, work)
  local job, before = { work = work }, current
  current = job
  local ok, outcome = pcall(M.judge, bytes, meta, call_work)
  current = before
  if not ok then error(outcome, 0) end
  if not job.ok then error(job.result, 0) end
  if outcome.why then error(outcome.why, 0) end
  return job.result, outcome.bytes or bytes
end

return M
