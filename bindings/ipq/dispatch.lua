--- The loop: packet, filter, verdict, and at the end of a batch the next one.
---
--- It is one loop over packets, not a loop over batches around one over packets, and C enters it once,
--- not once a batch. LuaJIT gives up on a loop that mostly ends after its first turn, as it would where
--- packets come one by one; and then it stays interpreted when they come by the hundred thousand. This
--- loop never ends.
---
--- A filter that raises ends it; its packet gets the error verdict, and the loop is entered again behind
--- it. The loop, the view and the settling of a verdict allocate nothing and make no system call.
local abi = require "ipq.abi"
local bit = require "bit"
local buffer = require "ipq.buffer"
local ffi = require "ffi"
local live = require "ipq.live"
local log = require "ipq.log"
local packet = require "ipq.packet"
local verdict = require "ipq.verdict"

local C, begin, finish, is_valid = abi.C, packet.begin, live.finish, verdict.is_valid
-- A script may overwrite globals, by a forgotten "local" if not on purpose.
local debug_traceback, coroutine_running = debug.traceback, coroutine.running
local error, pcall, tostring, type, xpcall = error, pcall, tostring, type, xpcall
local live_view = packet.live_view
local band, is_buffer, open_buffer, DROP = bit.band, buffer.is_buffer, buffer.open, verdict.DROP
local PAYLOAD = ffi.C.IPQ_SET_PAYLOAD
local NO_PAYLOAD = bit.bnot(PAYLOAD)
local ERRORS_A_SECOND = 10
local REPORTED = {} -- what the error handler gives

local M = {}

local function describe(value)
  local kind = type(value)
  if kind == "string" then return ("the string %q"):format(value) end
  if kind == "number" or kind == "boolean" then return "the " .. kind .. " " .. tostring(value) end
  return "a " .. kind
end

local function bad_return(value, bytes)
  if is_valid(value) or value == nil then
    return "filter returned " .. describe(bytes) .. " as the packet's bytes; they are a string or a Buffer"
  end
  return "filter returned " .. describe(value) .. "; it may return nothing, ipq.ACCEPT, ipq.DROP, "
    .. "ipq.REPEAT, ipq.STOP or ipq.queue(n)"
end

--- The traceback down to the filter: what lies below are this module's own calls, drive() and xpcall().
local function traceback(err)
  local text = debug_traceback(tostring(err), 4)
  return (text:gsub("\n[^\n]*\n%s*%[C%]: in function 'xpcall'.*", ""))
end

--- The function that runs filter over all packets of a driver (struct ipq_driver). It returns when the
--- source ends (0), or what else ipq_driver_next() gave that is no packet; it may be called again then.
---@param driver_address any lightuserdata or pointer; driver and batch outlive the function
---@param filter fun(pkt: ipq.Packet): ipq.verdict?, (string|ipq.Buffer)?
---@param observe? fun(p: any, pkt: ipq.Packet, why?: string) called when a packet is judged, with its struct
---  ipq_packet, its view, and what went wrong with it
---@return fun(): integer run
function M.new(driver_address, filter, observe)
  local driver = ffi.cast(abi.driver_pointer, driver_address)
  local batch = driver.batch
  local may_log = log.limiter(ERRORS_A_SECOND)

  local last_error

  local function report(text)
    last_error = text
    local yes, suppressed = may_log()
    if not yes then return end
    local p = batch.packets[batch.current]
    if suppressed > 0 then log.error(("%d more filter errors were not written"):format(suppressed)) end
    log.error(("packet %d of queue %d: %s\nIts verdict: %s"):format(
      p.packet_id, p.queue_num, text, verdict.name(batch.error_verdict)))
  end

  -- xpcall's handler: the stack is still there. Must not raise.
  local function on_raise(err)
    local ok, text = pcall(traceback, err)
    report(ok and text or "error with no message")
    return REPORTED
  end

  local function fail(p)
    p.verdict = batch.error_verdict
    p.set = 0
    batch.counters.errors = batch.counters.errors + 1
  end

  --- Takes what the filter returned as the packet's bytes. Gives why it cannot be, or nil.
  local function take_bytes(p, value, bytes)
    local result
    if type(bytes) == "string" then
      result = C.rewrite_set(p, bytes, #bytes)
    elseif is_buffer(bytes) then
      result = C.rewrite_set(p, open_buffer(bytes))
    else
      return bad_return(value, bytes)
    end
    if result ~= 0 then return "bytes returned: " .. ffi.string(C.rewrite_strerror(result)) end
  end

  --- Makes a changed packet fit to be sent. Gives why it cannot be, or nil.
  local function complete(p)
    if p.verdict == DROP then
      p.set = band(p.set, NO_PAYLOAD)
    elseif p.as_is == 0 then
      local result = C.rewrite_finish(p)
      if result ~= 0 then return "packet changed: " .. ffi.string(C.rewrite_strerror(result)) end
    end
  end

  local function settle(p, value, bytes)
    local why
    if value ~= nil then
      if is_valid(value) then p.verdict = value else why = bad_return(value) end
    end
    if bytes ~= nil and not why then why = take_bytes(p, value, bytes) end
    if band(p.set, PAYLOAD) ~= 0 and not why then why = complete(p) end
    if why then fail(p) end
    if observe then observe(p, live_view(), why) end
    finish()
    if why then report(why) end
    batch.current = batch.current + 1
  end

  local function drive()
    while true do
      if batch.current >= batch.count then
        local count = C.driver_next(driver)
        if count <= 0 then return count end
      end
      local p = batch.packets[batch.current]
      settle(p, filter(begin(p)))
    end
  end

  --- What a raise leaves to be told. Scripts can break what this calls.
  local function tell(count)
    -- No room for the handler itself: the stack is full, or the memory.
    if count ~= REPORTED then report(tostring(count)) end
    if observe then observe(batch.packets[batch.current], live_view(), last_error) end
  end

  return function()
    -- A coroutine that is left in a filter would leave its packet's view open.
    local thread, is_main = coroutine_running()
    if thread and not is_main then error("packets cannot be judged in a coroutine", 2) end
    local packet_before, handle_before = live.save()
    while true do
      local ok, count = xpcall(drive, on_raise)
      if ok then
        live.restore(packet_before, handle_before)
        return count
      end
      fail(batch.packets[batch.current])
      pcall(tell, count)
      finish()
      batch.current = batch.current + 1
    end
  end
end

return M
