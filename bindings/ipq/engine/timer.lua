--- Functions that are called between packets, at their time. Times are whole microseconds here.
---
--- A heap of timers does not run by itself: a loop over packets runs what is due (dispatch.lua), by the clock or
--- by the packets' own time. Until a loop has begun, or the first packet has told its time, nobody knows what
--- time it is: a heap begins at 0 then, and moves to the time when it is told.
local abi = require "ipq.engine.abi"
local core = require "ipq.core"
local live = require "ipq.engine.live"
-- A script may overwrite globals.
local error, getmetatable, pcall, rawget, setmetatable = error, getmetatable, pcall, rawget, setmetatable
local tonumber, tostring, type, xpcall = tonumber, tostring, type, xpcall
local debug_traceback = debug.traceback
local floor, huge = math.floor, math.huge

-- One for the Lua state, as the module ipq is (see engine/abi.lua).
if core.timer then return core.timer end

local C = abi.C
local SECONDS_MAX = 1e9

local function monotonic() return (C.ipq_monotonic_us()) end

local M = {}

-- The heap: entries { timer, due, number, index, call, value, heap, period }, the first one due first; those that are
-- due at the same time in the order of their making. Where it has a list raised, what its functions raise goes there
-- and not into the log.
local Heap = {}
Heap.__index = Heap

local function is_before(a, b) return a.due < b.due or a.due == b.due and a.number < b.number end

local function place(heap, index, entry)
  heap[index] = entry
  entry.index = index
end

local function sift_up(heap, entry)
  local index = entry.index
  while index > 1 do
    local parent = floor(index / 2)
    if not is_before(entry, heap[parent]) then break end
    place(heap, index, heap[parent])
    index = parent
  end
  place(heap, index, entry)
end

local function sift_down(heap, entry)
  local index, count = entry.index, heap.count
  while true do
    local child = index * 2
    if child > count then break end
    if child < count and is_before(heap[child + 1], heap[child]) then child = child + 1 end
    if not is_before(heap[child], entry) then break end
    place(heap, index, heap[child])
    index = child
  end
  place(heap, index, entry)
end

--- Tells who runs it when it is due next.
local function tell(heap)
  local due = heap.count > 0 and heap[1].due or huge
  heap.due = due
  if heap.batch then heap.batch.wake_ns = due < huge and due * 1000 or 0 end
end

local function insert(heap, entry)
  heap.count = heap.count + 1
  place(heap, heap.count, entry)
  sift_up(heap, entry)
  tell(heap)
end

local function remove(heap, entry)
  local last = heap[heap.count]
  heap[heap.count] = nil
  heap.count = heap.count - 1
  if last ~= entry then
    place(heap, entry.index, last)
    sift_up(heap, last)
    sift_down(heap, last)
  end
  entry.index = nil
  tell(heap)
end

--- What time it is by the packet that is judged, or was judged last; nil where none was.
function M.packet_time(p)
  return tonumber(p.timestamp_sec) * 1e6 + tonumber(p.timestamp_usec)
end

--- A heap whose time is what clock() gives, nil where that is not known (yet).
---@param clock? fun(): number?
function M.new(clock)
  return (setmetatable({
    count = 0, due = huge, now = 0, clock = clock,
    is_started = false, -- whether now is a time, and not 0
  }, Heap))
end

--- Says what time it is.
function Heap:start(now)
  if self.is_started then return end
  self.is_started = true
  for i = 1, self.count do self[i].due = self[i].due + now end
  tell(self)
end

--- Says that it is not known any more what time it is: now it is 0, and what is to come is still as far away.
function Heap:stop(now)
  self:start(now)
  self.is_started = false
  for i = 1, self.count do self[i].due = self[i].due - now end
  tell(self)
end

--- What time it is for who makes a timer.
function Heap:time()
  if self.running then return self.running end
  local now = self.clock and self.clock()
  if not now then return 0 end
  self:start(now)
  return now
end

---@class ipq.Timer
local Timer = {}
--- The entries of timers that are still to run, by their numbers, which are all that is in a timer: an entry, which
--- leads to the batch, is nothing for next() to show to a script. It is no weak table of timers: what that has for one
--- that is garbage lives until the collector's next turn. With a timer a packet that is most of what there is, each
--- turn takes longer than the one before, and memory grows without end.
local entries = setmetatable({}, { __mode = "v" })
local newest_number = 0
local mt = {
  __index = Timer,
  __newindex = function() error("a timer's fields cannot be assigned", 2) end,
  __metatable = false,
}

--- Ends the timer: its function is not called any more. A second time does nothing.
function Timer:cancel()
  local number = type(self) == "table" and getmetatable(self) == false and rawget(self, 1)
  if not number then error("cancel() is a method of what ipq.after() and ipq.every() give: timer:cancel()", 2) end
  local entry = entries[number]
  if not entry or entry.timer ~= self then return end
  entries[number] = nil
  entry.is_cancelled = true
  if entry.index then remove(entry.heap, entry) end
end

local function add(name, seconds, call, value, is_periodic)
  if type(seconds) ~= "number" or not (seconds >= 0 and seconds <= SECONDS_MAX) then
    error(name .. " takes a number of seconds, from 0 to 1e9, and a function", 3)
  end
  if type(call) ~= "function" then error(name .. " takes a number of seconds and a function", 3) end
  -- One that is due at once would be due for ever, where it is made anew each time.
  local us = floor(seconds * 1e6 + 0.5)
  if us < 1 then
    if is_periodic then error(name .. " takes a period of at least a microsecond", 3) end
    us = 1
  end
  newest_number = newest_number + 1
  local heap, timer = M.current, setmetatable({ newest_number }, mt)
  local entry = { timer = timer, due = heap:time() + us, number = newest_number, call = call, value = value,
    heap = heap, period = is_periodic and us or nil }
  entries[newest_number] = entry
  insert(heap, entry)
  return timer
end

--- Calls fn(value) once, when so many seconds have passed.
---@param seconds number
---@param fn fun(value: any)
---@param value? any it spares a closure, which LuaJIT does not compile
---@return ipq.Timer
function M.after(seconds, fn, value) return (add("ipq.after()", seconds, fn, value, false)) end

--- Calls fn(value) every so many seconds. Where that was not possible for a while, it is called once, and then goes on
--- with the first multiple that is still to come.
---@param seconds number
---@param fn fun(value: any)
---@param value? any
---@return ipq.Timer
function M.every(seconds, fn, value) return (add("ipq.every()", seconds, fn, value, true)) end

--- The next time of a periodic one, behind now.
local function next_due(entry, now)
  return entry.due + entry.period * (floor((now - entry.due) / entry.period) + 1)
end

local function traceback(err)
  local text = debug_traceback(tostring(err), 5)
  return (text:gsub("\n%s*%[C%]: in function 'xpcall'.*", ""))
end

--- What a timer's function raised, with the traceback down to that function: for the handler that run() takes, which
--- calls this itself. Never raises.
---@return string
function M.error_text(err)
  local ok, text = pcall(traceback, err)
  return ok and text or "error with no message"
end

--- Calls what is due at now, in the order of times. Where the time is not the clock's, each runs at its own time,
--- and what becomes due meanwhile runs too. on_raise is xpcall's handler.
---@param now number
---@param on_raise fun(err: any): any
---@param batch? any struct ipq_batch, whose in_timer is odd while a function runs
function Heap:run(now, on_raise, batch)
  self:start(now)
  local is_clock = self.clock == monotonic
  local current, time_before = M.current, live.timer_time
  M.current = self
  while self.due <= now do
    local entry = self[1]
    remove(self, entry)
    if not is_clock then
      self.running = entry.due
      live.timer_time = entry.due / 1e6
      if live.outbox ~= nil then live.outbox.timer_us = entry.due end
    end
    if batch then batch.in_timer = batch.in_timer + 1 end
    xpcall(entry.call, on_raise, entry.value)
    if batch then batch.in_timer = batch.in_timer + 1 end
    if entry.period and not entry.is_cancelled then
      entry.due = next_due(entry, is_clock and C.ipq_monotonic_us() or entry.due)
      insert(self, entry)
    else
      entries[entry.number] = nil
    end
  end
  self.running = nil
  M.current, live.timer_time = current, time_before
  if not is_clock and live.outbox ~= nil then live.outbox.timer_us = (time_before or 0) * 1e6 end
end

--- A loop that runs it begins: by the clock, which wakes the batch's driver, or by the packets' time.
function Heap:enter(batch, is_replay)
  if is_replay then
    self.clock = function()
      local p = live.packet()
      return p ~= nil and M.packet_time(p) or nil
    end
    -- The first packet tells the time.
    if not self.is_started and self.count > 0 then self.due = -huge end
  else
    self.clock, self.batch = monotonic, batch
    self:start(C.ipq_monotonic_us())
    tell(self)
  end
end

--- It ends, perhaps to begin again.
function Heap:leave()
  if self.batch then self.batch.wake_ns = 0 elseif self.is_started then self:stop(self.clock()) end
  self.batch = nil
end

--- The heap that ipq.after() and ipq.every() add to.
M.current = M.new()

core.timer = M
return M
