--- Functions that are called between packets, at their time. Times are whole microseconds here.
---
--- A heap of timers does not run by itself: a loop over packets runs what is due (dispatch.lua), by the clock or
--- by the packets' own time. Until a loop has begun, or the first packet has told its time, nobody knows what
--- time it is: a heap begins at 0 then, and moves to the time when it is told.
local abi = require "ipq.engine.abi"
local core = require "ipq.core"
local ffi = require "ffi"
local live = require "ipq.engine.live"
-- A script may overwrite globals.
local error, getmetatable, pcall, rawget, setmetatable = error, getmetatable, pcall, rawget, setmetatable
local tonumber, tostring, type, xpcall = tonumber, tostring, type, xpcall
local debug_traceback = debug.traceback
local floor, huge, min = math.floor, math.huge, math.min

-- One for the Lua state, as the module ipq is (see engine/abi.lua).
if core.timer then return core.timer end

local C = abi.C
local SECONDS_MAX = 1e9
local TIME_MOST = 2 ^ 52 -- microseconds since 1970
local RUNS_MOST = 100000 -- between two packets

local function monotonic() return (C.ipq_monotonic_us()) end

local M = {}

-- A heap: entries by their slots, and their times in C (heap.c). What is in an entry is { id, slot, heap, timer, call,
-- value, number, period, is_running, is_cancelled }; one whose timer is over is used again, as timers may come with
-- every packet. Where a heap has a list raised, what its functions raise goes there and not into the log.
local Heap = {}
Heap.__index = Heap

local heap_type, dues_type, places_type = ffi.typeof "struct ipq_heap", ffi.typeof "struct ipq_due[?]",
  ffi.typeof "uint32_t[?]"
local ROOM = 64 -- slots, at first

--- Gives the heap room for so many slots.
local function make_room(heap, room)
  local dues, places = dues_type(room), places_type(room)
  if heap.room > 0 then
    ffi.copy(dues, heap.dues, ffi.sizeof(heap.dues))
    ffi.copy(places, heap.places, ffi.sizeof(heap.places))
  end
  heap.dues, heap.places, heap.room = dues, places, room
  heap.sorted.dues, heap.sorted.places = dues, places
end

--- Tells who runs it when it is due next.
local function tell(heap)
  local due = heap.count > 0 and heap.dues[0].due or huge
  heap.due = due
  if heap.batch then heap.batch.wake_ns = due < huge and due * 1000 or 0 end
end

local function insert(heap, entry, due)
  C.ipq_heap_add(heap.sorted, entry.slot, due, entry.number)
  heap.count = heap.count + 1
  if due < heap.due then tell(heap) end
end

--- Takes out one that is there.
local function remove(heap, entry)
  C.ipq_heap_remove(heap.sorted, entry.slot)
  heap.count = heap.count - 1
  tell(heap)
end

--- Puts all off by so much.
local function put_off(heap, us)
  for i = 0, heap.count - 1 do heap.dues[i].due = heap.dues[i].due + us end
  tell(heap)
end

--- What time it is by the packet that is judged, or was judged last: not beyond the year 2112, so that a microsecond
--- later is another number.
function M.packet_time(p)
  return (min(tonumber(p.timestamp_sec) * 1e6 + tonumber(p.timestamp_usec), TIME_MOST))
end

--- A heap whose time is what clock() gives, nil where that is not known (yet).
---@param clock? fun(): number?
function M.new(clock)
  return (setmetatable({
    count = 0, due = huge, now = 0, clock = clock,
    is_started = false, -- whether now is a time, and not 0
    sorted = heap_type(), room = 0, -- dues and places are the memory that sorted points to
    slots = 0, free_count = 0, free = {}, -- how many slots have an entry, and the entries that are free
  }, Heap))
end

--- Says what time it is.
function Heap:start(now)
  if self.is_started then return end
  self.is_started = true
  put_off(self, now)
end

--- Says that it is not known any more what time it is: now it is 0, and what is to come is still as far away.
function Heap:stop(now)
  self:start(now)
  self.is_started = false
  put_off(self, -now)
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
--- The entries of all heaps that are still there, by their ids, which are all that is in a timer: an entry, which
--- leads to the batch, is nothing for next() to show to a script. It is no weak table of timers: what that has for one
--- that is garbage lives until the collector's next turn. With a timer a packet that is most of what there is, each
--- turn takes longer than the one before, and memory grows without end.
local entries = setmetatable({}, { __mode = "v" })
local newest_id, newest_number = 0, 0
local mt = {
  __index = Timer,
  __newindex = function() error("a timer's fields cannot be assigned", 2) end,
  __metatable = false,
}

local function new_entry(heap)
  local slot = heap.slots
  if slot == heap.room then make_room(heap, slot > 0 and slot * 2 or ROOM) end
  heap.slots = slot + 1
  newest_id = newest_id + 1
  local entry = { id = newest_id, slot = slot, heap = heap, timer = false, call = false, value = nil, number = 0,
    period = false, is_running = false, is_cancelled = false }
  heap[slot], entries[newest_id] = entry, entry
  return entry
end

local function take_entry(heap)
  local count = heap.free_count
  if count == 0 then return (new_entry(heap)) end
  heap.free_count = count - 1
  return heap.free[count]
end

--- Its timer is over: what that refers to is not needed any more.
local function give_back(heap, entry)
  local count = heap.free_count + 1
  entry.timer, entry.call, entry.value = false, false, nil
  heap.free[count], heap.free_count = entry, count
end

--- Ends the timer: its function is not called any more. A second time does nothing.
function Timer:cancel()
  local id = type(self) == "table" and getmetatable(self) == false and rawget(self, 1)
  if not id then error("cancel() is a method of what ipq.after() and ipq.every() give: timer:cancel()", 2) end
  local entry = entries[id]
  if not entry or entry.timer ~= self then return end
  if entry.is_running then
    entry.is_cancelled = true
  else
    remove(entry.heap, entry)
    give_back(entry.heap, entry)
  end
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
  local heap = M.current
  local due, entry = heap:time() + us, take_entry(heap)
  local timer = setmetatable({ entry.id }, mt)
  entry.timer, entry.call, entry.value, entry.number = timer, call, value, newest_number
  entry.period, entry.is_cancelled = is_periodic and us, false
  insert(heap, entry, due)
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
local function next_due(due, period, now)
  return due + period * (floor((now - due) / period) + 1)
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
--- and what becomes due meanwhile runs too; after RUNS_MOST of them all runs at now, as a capture may have any times.
--- on_raise is xpcall's handler.
---@param now number
---@param on_raise fun(err: any): any
---@param batch? any struct ipq_batch, whose in_timer is odd while a function runs
function Heap:run(now, on_raise, batch)
  self:start(now)
  local is_clock = self.clock == monotonic
  local current, time_before = M.current, live.timer_time
  local runs = 0
  M.current = self
  while self.due <= now do
    local planned, entry = self.due, self[self.dues[0].slot]
    local due = (is_clock or runs < RUNS_MOST) and planned or now
    runs = runs + 1
    local call, value, period = entry.call, entry.value, entry.period
    remove(self, entry)
    if not is_clock then
      self.running = due
      live.timer_time = due / 1e6
      if live.outbox ~= nil then live.outbox.timer_us = due end
    end
    if period then entry.is_running = true else give_back(self, entry) end
    if batch then batch.in_timer = batch.in_timer + 1 end
    xpcall(call, on_raise, value)
    if batch then batch.in_timer = batch.in_timer + 1 end
    if period then
      entry.is_running = false
      if entry.is_cancelled then
        give_back(self, entry)
      else
        insert(self, entry, next_due(planned, period, is_clock and C.ipq_monotonic_us() or due))
      end
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
