--- The loop: packet, filter, verdict, and at the end of a batch the next one.
---
--- It is one loop over packets, not a loop over batches around one over packets, and C enters it once,
--- not once a batch. LuaJIT gives up on a loop that mostly ends after its first turn, as it would where
--- packets come one by one; and then it stays interpreted when they come by the hundred thousand. This
--- loop never ends.
---
--- A filter that raises ends it; its packet gets the error verdict, and the loop is entered again behind
--- it. The loop, the view and what becomes of a verdict allocate nothing and make no system call.
---
--- The room of the engine: abi.lua is what lib declares, script.lua loads a script and calls its functions, live.lua
--- is the packet whose filter runs, outcome.lua makes what a filter says what becomes of the packet, held.lua keeps
--- packets for later, send.lua takes what filters send, timer.lua calls functions between packets. setting.lua is what
--- the program says of itself; version.lua and globals.lua look at a script. The host calls script.lua and the loop
--- (host/judge/vm.c); so does the test kit.
local abi = require "ipq.engine.abi"
local compiler = require "ipq.engine.compiler"
local ffi = require "ffi"
local flows = require "ipq.engine.flows"
local held = require "ipq.engine.held"
local live = require "ipq.engine.live"
local log = require "ipq.log"
local packet = require "ipq.packet.view"
local outcome = require "ipq.engine.outcome"
local sending = require "ipq.engine.send"
local setting = require "ipq.engine.setting"
local streams = require "ipq.engine.streams"
local timer = require "ipq.engine.timer"
local verdict = require "ipq.verdict"

local C, begin, close, live_view = abi.C, packet.begin, live.close, packet.live_view
local apply, packet_time = outcome.apply, timer.packet_time
-- A script may overwrite globals, by a forgotten "local" if not on purpose.
local debug_getinfo, debug_traceback, coroutine_running = debug.getinfo, debug.traceback, coroutine.running
local error, pcall, tonumber, tostring, xpcall = error, pcall, tonumber, tostring, xpcall
local TIMERS_ARE_DUE, IS_TO_LOOK = -ffi.C.IPQ_ETIME, -ffi.C.IPQ_EALREADY
-- Packets after which the loop is compiled, if its filter lets it be; and turns of the loop, with no filter in them,
-- that are enough to have it compiled.
local LOOK_AFTER, IDLE_TURNS = 3000, 300
local ERRORS_A_SECOND = 10
local TOLD = {} -- what the error handler gives

local M = {}

local OWN = debug.getinfo(1, "S").short_src .. ":"

--- A filter that ends with a call is gone when that raises, and what raises at the filter's line does so at the line
--- that called the filter, which is one of these: the filter's name takes its place.
local function in_script(text, filter)
  if text:sub(1, #OWN) ~= OWN then return text end
  local info = debug_getinfo(filter, "S")
  return (("%s: in the filter that begins at line %d:%s"):format(info.short_src, info.linedefined,
    (text:sub(#OWN + 1):gsub("^%d+:", ""))))
end

--- The traceback down to the filter: what lies below are this module's own calls, drive() and xpcall().
local function traceback(err, filter)
  local text = debug_traceback(in_script(tostring(err), filter), 4)
  return (text:gsub("\n[^\n]*\n%s*%[C%]: in function 'xpcall'.*", ""))
end

--- The function that runs filter over all packets of a driver (struct ipq_driver). It returns when the
--- source ends (0), or what else ipq_driver_next() gave that is no packet; it may be called again then.
---
--- Timers run between packets: by the clock, or before the packet whose time they have reached where the time is
--- the packets' own (live.is_replay).
---@param driver_address any lightuserdata or pointer; driver and batch outlive the functions
---@param filter fun(pkt: ipq.Packet): ipq.verdict?, (string|ipq.Buffer)?
---@param observe? fun(p: any, pkt: ipq.Packet, why?: string, held?: ipq.Held) called when a packet is judged, with
---  its struct ipq_packet, its view, what went wrong with it, and where it was held its handle, or by a stream its id
---@param timers? any a heap of timer.lua, or false: none are run; those of ipq.after() and ipq.every()
---@param is_program? boolean whether the process is there for this loop alone: then LuaJIT is watched
---@return fun(): integer run
---@return any keeper of the packets that the filter holds (see held.lua): its judge_rest() gives what is left of them
---  the default verdict, when the source has ended for good and has not been closed
function M.new(driver_address, filter, observe, timers, is_program)
  local driver = ffi.cast(abi.driver_pointer, driver_address)
  local batch = driver.batch
  local may_tell = log.gate("error", ERRORS_A_SECOND, "filter errors")
  if timers == nil then timers = timer.current end
  local is_replay = live.is_replay

  local what = live.is_capture and "frame %d of the capture" or "packet %d of queue %d"
  local last_error

  local function tell_error(p, text)
    last_error = text
    if not may_tell() then return end
    log.write("error", ("%s: %s\nIts verdict: %s"):format(
      what:format(p.packet_id, p.queue_num), text, batch.error_reject ~= 0 and "reject"
        or verdict.name(batch.error_verdict)))
  end

  -- xpcall's handlers: the stack is still there. Must not raise.
  local function on_raise(err)
    local ok, text = pcall(traceback, err, filter)
    tell_error(batch.packets[batch.current], ok and text or "error with no message")
    return TOLD
  end

  local function tell_timer_error(text)
    if may_tell() then log.write("error", "timer: " .. text) end
  end

  local function on_timer_raise(err)
    local text, raised = timer.error_text(err), timers.raised
    if raised then raised[#raised + 1] = text else pcall(tell_timer_error, text) end
  end

  -- Whether packets have flows: as long as run() has not come back.
  local is_following = false

  local keeper = held.new(driver, driver_address, observe, tell_error)

  --- A packet that a stream has held has its verdict.
  local function show_held(p)
    local packet_before, handle_before, keeper_before = live.save()
    observe(p, ffi.cast(abi.view_pointer, live.begin(p)), nil, tonumber(p.packet_id))
    live.restore(packet_before, handle_before, keeper_before)
  end

  local function fail(p, why)
    if p.held ~= 0 then keeper:release(p) end
    outcome.fail(batch, p, why)
  end

  --- The packet has its verdict, and its filter is not asked.
  local function pass(p)
    if observe then
      begin(p)
      observe(p, live_view())
      close()
    end
    batch.current = batch.current + 1
  end

  --- Whether a packet's filter is not to be asked.
  local function is_decided(p)
    if p.decided ~= 0 then return true end
    return is_following and C.ipq_driver_decide(driver, p) == 0
  end

  --- What the filter returned is what becomes of the packet.
  local function judge(p, value, bytes)
    local why
    if p.held == 0 then why = apply(p, value, bytes) else why = keeper:keep(p, value, bytes) end
    if why then fail(p, why) end
    if observe and p.held == 0 then observe(p, live_view(), why) end
    close()
    if why then tell_error(p, why) end
    batch.current = batch.current + 1
  end

  local function drive()
    while true do
      if batch.current >= batch.count then
        if is_following then flows.between(batch) end
        local count = C.ipq_driver_next(driver)
        if count <= 0 then
          if count ~= TIMERS_ARE_DUE then return count end
          timers:run(C.ipq_monotonic_us(), on_timer_raise, batch)
          goto next
        end
      end
      do
        local p = batch.packets[batch.current]
        if is_decided(p) then
          pass(p)
          goto next
        end
        judge(p, filter(begin(p)))
      end
      ::next::
    end
  end

  --- The same where the packets tell the time.
  local function drive_timed()
    while true do
      if batch.current >= batch.count then
        if is_following then flows.between(batch) end
        local count = C.ipq_driver_next(driver)
        if count <= 0 then
          if count ~= TIMERS_ARE_DUE then return count end
          goto next
        end
      end
      do
        local p = batch.packets[batch.current]
        local now = packet_time(p)
        if now >= timers.due then timers:run(now, on_timer_raise, batch) end
        if is_decided(p) then
          pass(p)
          goto next
        end
        judge(p, filter(begin(p)))
      end
      ::next::
    end
  end

  --- What a raise leaves to be told. Scripts can break what this calls.
  local function tell(count)
    local p = batch.packets[batch.current]
    -- No room for the handler itself: the stack is full, or the memory.
    if count ~= TOLD then tell_error(p, tostring(count)) end
    if observe then observe(p, live_view(), last_error) end
  end

  local loop = timers and is_replay and drive_timed or drive

  if is_program and compiler.watch(loop) then driver.look_at = batch.counters.packets + LOOK_AFTER end

  --- A trace that begins with this loop may not enter a loop of the filter's. Where the filter's is compiled first, or
  --- LuaJIT has given up, a packet that does not come to it is interpreted. So the loop is compiled by itself then:
  --- what the filter does goes on from there, and such a trace may enter loops. Where the loop has its trace, as with
  --- most filters, with the filter in it, nothing is done.
  local function compile_first()
    if not compiler.has_loop_trace() and compiler.start_anew() then driver.idle_turns = IDLE_TURNS end
  end

  local function run()
    -- A coroutine that is left in a filter would leave its packet's view open.
    local thread, is_main = coroutine_running()
    if thread and not is_main then error("packets cannot be judged in a coroutine", 2) end
    local packet_before, handle_before, keeper_before = live.save()
    local outbox_before = live.outbox
    if keeper_before then C.ipq_driver_flush(keeper_before.driver) end
    local guard = live.guard
    local guarded = guard and guard(driver_address)
    live.keeper = keeper
    sending.use(driver)
    local opened = keeper.flows
    local flows_before = flows.use(opened, batch)
    is_following = opened ~= nil
    driver.flows = opened and opened.table or nil
    local streams_before, driver_before = streams.current, streams.driver
    if keeper.streams ~= streams_before then streams.use(keeper.streams, driver, observe and show_held) end
    driver.bypass_mark, driver.times_packets = setting.bypass_mark, is_replay and 1 or 0
    if timers then timers:enter(batch, is_replay) end
    while true do
      local ok, count = xpcall(loop, on_raise)
      if ok and count == IS_TO_LOOK then
        compile_first()
      elseif ok then
        if timers then timers:leave() end
        live.restore(packet_before, handle_before, keeper_before)
        live.outbox = outbox_before
        -- A program's save() and stop() may look at them.
        if not is_program then
          flows.use(flows_before)
          if keeper.streams ~= streams_before then
            streams.use(streams_before, driver_before, streams_before and streams_before.shown)
          end
        end
        if guard then guard(guarded) end
        return count
      else
        fail(batch.packets[batch.current], count == TOLD and last_error or tostring(count))
        pcall(tell, count)
        close()
        batch.current = batch.current + 1
      end
    end
  end

  return run, keeper
end

return M
