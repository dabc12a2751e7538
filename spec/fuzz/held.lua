-- Packets that a filter holds, and timers, against a model: each packet gets one verdict, that which it was given, and
-- the bytes that it had then; timers run at their times, in their order; what is not possible raises.
--
-- The global feed is the source: see held.c. The input says what packets come, and then, whenever something of the
-- script's is called, what it does.
local bit = require "bit"
local dispatch = require "ipq.engine.dispatch"
local ipq = require "ipq"
local judge = require "spec.fuzz.judge"
local live = require "ipq.engine.live"
local log = require "ipq.log"
local timers = require "ipq.engine.timer"

local equal = judge.equal
local feed = feed -- luacheck: ignore 113
local SET_PAYLOAD = 4
local huge = math.huge

live.is_replay = true -- the time is the packets'
log.sink = function() end

--- Why a handle takes no verdict, by the state of its packet.
local refusals = {
  running = "has not returned yet", failed = "its filter failed", judged = "has had its verdict already",
  ended = "when its filter ended",
}

local World = {}
World.__index = World

--- Does what has to raise with that text, or where there is none, has to work. Gives what it gave.
local function does(text, what, work, ...)
  local ok, result = pcall(work, ...)
  if ok == (text == nil) and (ok or tostring(result):find(text, 1, true)) then return result end
  error(("%s: %s, and not %s"):format(what, ok and "worked" or tostring(result), text or "that it works"), 0)
end

-- Packets. A record: { index, handle, state, bytes, expected }. state is nil where it is not held; "maybe", where its
-- filter may have failed, as it changed what may not be what can be sent.

local UDP = "\69\0\0\36\0\1\0\0\64\17\0\0\10\0\0\1\10\0\0\2\0\7\0\9\0\16\0\0hello..."
local FRAGMENT = "\69\0\0\28\0\1\32\0\64\17\0\0\10\0\0\1\10\0\0\2\0\7\0\9\0\16\0\0"
local TCP6 = "\96\0\0\0\0\20\6\64" .. ("\0"):rep(15) .. "\1" .. ("\0"):rep(15) .. "\2" .. "\0\7\0\9" .. ("\0"):rep(8)
  .. "\80\2\0\9\0\0\0\0"

local function frame_bytes(c)
  local kind = c.byte() % 5
  if kind == 0 then return c.bytes(c.byte()) end
  if kind == 1 then return FRAGMENT end
  if kind == 2 then return TCP6 .. c.bytes(c.byte() % 40) end
  return UDP .. c.bytes(c.byte() % 8)
end

--- What becomes of a packet in the end. value nil: it got the error verdict.
local function expect(record, value, bytes) record.expected = { value = value, bytes = bytes } end

local values = { ipq.ACCEPT, ipq.DROP, ipq.REPEAT, ipq.STOP, ipq.queue(3), ipq.queue(9, true), "drop", 2, 0 / 0, {} }
local GOOD = 6 -- of them

local function verdict_of(c)
  if c.byte() % 4 == 0 then return nil, true end
  local index = c.byte() % #values + 1
  return values[index], index <= GOOD
end

local act = {}

function act.hold(w, _, pkt)
  local record = w.running
  if not pkt then return end
  local full = not record.handle and feed.held() >= w.limit
  local handle = does(full and "packets are held already" or nil, "hold", pkt.hold, pkt)
  if full then return end
  if record.handle then
    equal(record.handle, handle, "the handle")
    return
  end
  record.handle, record.state = handle, "running"
  w.records[#w.records + 1] = record
  equal(("held packet %.0f"):format((w.first_id + record.index - 1) % 2 ^ 32), tostring(handle), "tostring")
end

function act.change(w, c, pkt)
  if not pkt then return end
  local b, kind = pkt.payload, c.byte() % 6
  -- Also to the bytes that were there: what is made right then may be refused.
  w.running.is_changed = w.running.is_changed or kind < 3
  if kind == 0 then pcall(b.set_u8, b, c.byte() % 40, c.byte()) end
  if kind == 1 then pcall(b.replace, b, c.byte() % 40, c.byte() % 4, c.bytes(c.byte() % 8)) end
  if kind == 2 then pcall(b.resize, b, c.byte()) end
  if kind == 3 then pkt.mark = c.u16() end
  if kind == 4 then pkt.priority = c.u16() end
  if kind == 5 then pkt:bypass() end
end

--- What is given for bytes, what they are, and the text of the error where they are none.
local function bytes_of(w, c, pkt)
  local kind = c.byte() % 8
  if kind == 0 then
    local bytes = c.bytes(c.byte())
    return bytes, bytes
  end
  if kind == 1 and pkt then return pkt.payload, pkt:copy() end
  if kind == 2 and w.kept and w.kept.index ~= (w.running and w.running.index) then
    return w.kept.payload, nil, "packet used after its filter returned"
  end
  if kind == 3 then return 5, nil, "as the packet's bytes" end
end

function act.verdict(w, c, pkt)
  if #w.records == 0 then return end
  local record = c.pick(w.records)
  local value, is_value = verdict_of(c)
  local bytes, text, why = bytes_of(w, c, pkt)
  local before = pkt and pkt:copy()
  if not is_value then why = "held:verdict() was given" end
  why = refusals[record.state] or why
  if record.state == "maybe" and not why then
    local ok, message = pcall(record.handle.verdict, record.handle, value, bytes)
    if not ok and not message:find(refusals.failed, 1, true) then
      error("a packet that was perhaps held: " .. message, 0)
    end
    record.state = ok and "judged" or "failed"
    expect(record, ok and (value or ipq.ACCEPT) or nil)
  elseif record.state == "maybe" then
    equal(false, (pcall(record.handle.verdict, record.handle, value, bytes)), "a wrong verdict")
  else
    if not why then
      record.state = "judged"
      expect(record, value or ipq.ACCEPT, text or record.bytes)
    end
    does(why, "held:verdict()", record.handle.verdict, record.handle, value, bytes)
  end
  if pkt then equal(before, pkt:copy(), "the packet that is judged meanwhile") end
end

function act.misuse(w, c)
  local kept, record = w.kept, w.records[1]
  if kept and kept.index ~= (w.running and w.running.index) then
    local ended = "packet used after its filter returned"
    does(ended, "mark", function() return kept.pkt.mark end)
    does(ended, "hold", function() kept.pkt:hold() end)
    does(ended, "payload", kept.payload.u8, kept.payload, c.byte())
    does(ended, "set", kept.payload.set_u8, kept.payload, c.byte(), 0)
  end
  if not record then return end
  does("a held packet has no 'drop'", "index", function() return record.handle.drop end)
  does("cannot be assigned", "assignment", function() record.handle.mark = 1 end)
  does("held:verdict(v)", "a dot", record.handle.verdict, ipq.DROP)
end

function act.collect(_, c)
  if c.byte() % 32 == 0 then collectgarbage "collect" else collectgarbage("step", 10) end
end

-- Timers. An entry: { due, number, period, timer, is_active, is_cancelled }. Times are microseconds; they count from
-- 0 until a packet has told the time, and again where the source ends.

local seconds = { 0, 1e-6, 3e-4, 5e-4, 1e-3, 0.0025, 0.01, -1, 0 / 0, 1 / 0, "1", 1e10 }
local SECONDS_GOOD = 7
local periods = { 3e-4, 5e-4, 1e-3, 0.0025, 0, 1e-7, -1, 0 / 0, "1", 1e10 }
local PERIODS_GOOD = 4

local fired

local function add(w, c, name, list, good)
  local index = c.byte() % #list + 1
  local is_function = c.byte() % 16 > 0
  local entry = { number = w.made, is_active = true }
  local why = (index > good or not is_function) and "takes a" or nil
  local us = not why and math.max(math.floor(list[index] * 1e6 + 0.5), 1)
  local timer = does(why, name, ipq[name], list[index], is_function and function(value) fired(w, value) end or 5, entry)
  if why then return end
  w.made = w.made + 1
  entry.timer, entry.due = timer, w:time() + us
  entry.period = name == "every" and us or nil
  w.entries[#w.entries + 1] = entry
end

function act.after(w, c) add(w, c, "after", seconds, SECONDS_GOOD) end
function act.every(w, c)
  if w.made < 20 then add(w, c, "every", periods, PERIODS_GOOD) end
end

function act.cancel(w, c)
  if #w.entries == 0 then return end
  local entry = c.pick(w.entries)
  does(nil, "cancel", entry.timer.cancel, entry.timer)
  entry.is_active, entry.is_cancelled = false, true
  does("timer:cancel()", "a dot", entry.timer.cancel, w)
end

local acts = { "hold", "hold", "change", "verdict", "verdict", "verdict", "misuse", "collect", "after", "after",
  "every", "cancel" }

--- Some of what can be done. pkt is the packet whose filter runs, where one does.
function World:play(pkt)
  for _ = 1, self.c.byte() % 5 do
    if self.c.is_over() then return end
    act[self.c.pick(acts)](self, self.c, pkt)
  end
end

--- What time it is for who makes a timer.
function World:time()
  if self.running_timer then return self.running_timer.due end
  return self.is_started and self.now or 0
end

--- The packet that comes next tells the time.
function World:start()
  if self.is_started then return end
  self.is_started = true
  for _, entry in ipairs(self.entries) do entry.due = entry.due + self.times[self.next] end
end

function World:first_entry()
  local first
  for _, entry in ipairs(self.entries) do
    if entry.is_active and (not first or entry.due < first.due
      or entry.due == first.due and entry.number < first.number) then first = entry end
  end
  return first
end

--- What went wrong inside of a filter or a timer, where raising is something else.
function World:guard(work, ...)
  local ok, message = pcall(work, ...)
  if not ok then self.problem = self.problem or message end
  return ok
end

local function check_fired(w, entry)
  w:start()
  equal(w:first_entry(), entry, "the timer")
  equal(true, entry.due <= w.times[w.next], "that its time has come")
  equal(entry.due / 1e6, ipq.now(), "the timer's time")
  entry.is_active = false
  w.running_timer = entry
  w:play()
end

function fired(w, entry)
  local is_fine = w:guard(check_fired, w, entry)
  w.running_timer = nil
  w.fired = w.fired + 1
  if is_fine and entry.period and not entry.is_cancelled then
    entry.due, entry.is_active = entry.due + entry.period, true
  end
  if w.c.byte() % 16 == 1 then error "a timer fails" end
end

-- The filter

local function begin(w, pkt)
  w:start()
  local index = w.next
  w.now, w.next = w.times[index], index + 1
  w.running = { index = index }
  w.all[index] = w.running
  equal(w.frames[index], pkt:copy(), "the packet")
  equal(w.now / 1e6, ipq.now(), "the packet's time")
  local entry = w:first_entry()
  equal(true, not entry or entry.due > w.now, "that all timers have run")
  if not w.fix then pkt.fix = false end
  w:play(pkt)
  if w.c.byte() % 4 == 0 then w.kept = { index = index, pkt = pkt, payload = pkt.payload } end
  if w.c.byte() % 8 == 0 then feed.interrupt(true) end
  w.running.bytes = pkt:copy()
end

--- How a filter ends: what it returns, and whether it raises. Notes what has to come of it.
local function finish(w, c, pkt)
  local record, kind = w.running, c.byte() % 6
  local value, bytes, raises
  w.running = nil
  if kind == 5 then
    raises = true
  elseif kind == 4 then
    value = "nonsense"
  elseif kind > 1 then
    value = values[c.byte() % GOOD + 1]
    if kind == 3 then bytes = c.byte() % 2 == 1 and pkt.payload or c.bytes(c.byte()) end
  end
  if raises or value == "nonsense" or record.handle and (value or bytes) then
    expect(record, nil)
    if record.handle then record.state = "failed" end
  elseif record.handle then
    record.state = w.fix and record.is_changed and "maybe" or "held"
  else
    expect(record, value or ipq.ACCEPT, type(bytes) == "string" and bytes or record.bytes)
  end
  return value, bytes, raises
end

local function filter_of(w)
  return function(pkt)
    if w.problem or not w:guard(begin, w, pkt) then return end
    local value, bytes, raises = finish(w, w.c, pkt)
    if raises then error "a filter fails" end
    return value, bytes
  end
end

-- All of it

local function give_frames(w, c)
  local us = 1e15 + c.u16()
  for i = 1, c.byte() % 24 + 1 do
    us = us + c.pick { 0, 1, 100, 500, 1000, 5000 }
    w.frames[i], w.times[i] = frame_bytes(c), us
    feed.give(w.frames[i], us)
  end
end

--- Runs the loop to the end of the segment, however often it is interrupted.
local function run_segment(w, run)
  while true do
    local count = run()
    feed.interrupt(false)
    if w.problem then error(w.problem, 0) end
    if w.is_started then
      w.is_started = false
      for _, entry in ipairs(w.entries) do entry.due = entry.due - w.now end
    end
    if count == 0 then return end
    equal(-4, count, "what the loop gives") -- EINTR
  end
end

--- The observer of some runs: each packet is seen once, with its view.
local function observer(w)
  return function(p, pkt, why, handle)
    w:guard(function()
      local index = (p.packet_id - w.first_id) % 2 ^ 32 + 1
      equal(nil, w.observed[index], "that it was observed before")
      equal(handle, handle and w.all[index].handle, "the handle")
      w.observed[index] = true
      w.ended[#w.ended + 1] = handle and index
      equal(p.data_len, #pkt:copy(), "the view")
      if why then equal("string", type(why), "the reason") end
    end)
  end
end

--- Gives what is still held its verdict, in the order in which it came.
local function finish_held(w, keeper)
  for _, record in ipairs(w.records) do
    if record.state == "held" then
      record.state = "ended"
      expect(record, ipq.ACCEPT, record.bytes)
    end
  end
  w.ended = {}
  keeper:judge_rest()
  for i = 2, #w.ended do equal(true, w.ended[i] > w.ended[i - 1], "the order of what was still held") end
  equal(0, feed.held(), "packets held")
  for _, record in ipairs(w.records) do
    if record.state == "maybe" then
      local _, message = pcall(record.handle.verdict, record.handle)
      record.state = message:find(refusals.ended, 1, true) and "ended" or "failed"
    end
  end
end

--- How long a packet is by its own header.
local function length_of(bytes)
  local first = bytes:byte(1) or 0
  local high, low = bytes:byte(first >= 0x60 and 5 or 3, first >= 0x60 and 6 or 4)
  return (high or 0) * 256 + (low or 0) + (first >= 0x60 and 40 or 0)
end

--- What a packet is when it was made these bytes: those that it came with, without what lies behind them, change
--- nothing.
local function made_of(bytes, came)
  return #bytes == length_of(came) and came:sub(1, #bytes) == bytes and came or bytes
end

local function check(w, index)
  local record, value, set, bytes = w.all[index], feed.outcome(index - 1)
  local expected = record.expected
  local is_error = value == ipq.DROP and set == 0
  if not expected then
    equal(true, w.fix, "a packet without a verdict")
  elseif expected.value == nil then
    equal(true, is_error, "the error verdict")
  elseif not (w.fix and is_error) then
    equal(expected.value, value, "the verdict")
    if not w.fix and value ~= ipq.DROP then
      if bytes ~= expected.bytes then equal(made_of(expected.bytes, w.frames[index]), bytes, "the bytes") end
      if bytes ~= w.frames[index] then equal(SET_PAYLOAD, bit.band(set, SET_PAYLOAD), "that they are sent") end
    end
  end
  return ("%d/%d/%q"):format(value, set, bytes)
end

return function(input)
  local c = judge.choices(input)
  local w = setmetatable({
    c = c, fix = c.byte() % 4 == 0, limit = c.byte() % 12, first_id = c.pick { 0, 1, 4090, 2 ^ 32 - 5 },
    frames = {}, times = {}, all = {}, records = {}, entries = {}, observed = {}, ended = {}, made = 1, next = 1,
    fired = 0, is_started = false,
  }, World)
  feed.reset(w.first_id, c.byte() % 4 + 1, w.limit)
  give_frames(w, c)
  local before = timers.current
  timers.current = timers.new()
  local is_observed = c.byte() % 2 == 0
  local run, keeper = dispatch.new(feed.driver(), filter_of(w), is_observed and observer(w) or nil, timers.current)
  w:play()
  local given = 0
  while given < #w.frames do
    given = math.min(given + c.byte() % 16 + 1, #w.frames)
    feed.stop_at(given)
    run_segment(w, run)
    w:play()
  end
  finish_held(w, keeper)
  w:play()
  timers.current = before
  if w.problem then error(w.problem, 0) end
  local outcomes = { tostring(w.fired) }
  for index = 1, #w.frames do
    outcomes[index + 1] = check(w, index)
    if is_observed then equal(true, w.observed[index], "that it was observed") end
  end
  equal(huge, timers.current.due, "timers left of others")
  return table.concat(outcomes, "\n")
end
