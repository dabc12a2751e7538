--- The driver loop: a filter over a batch.
---
--- C enters it once a batch. Inside, an xpcall a packet compiles like a plain call, so a filter that
--- raises loses its own packet to the error verdict and nothing else. The loop, the view and the
--- settling of a verdict allocate nothing and make no system call.
local abi = require "ipq.abi"
local ffi = require "ffi"
local log = require "ipq.log"
local packet = require "ipq.packet"
local verdict = require "ipq.verdict"

local view, is_valid = packet.view, verdict.is_valid
local ERRORS_A_SECOND = 10

local M = {}

local function describe(value)
  local kind = type(value)
  if kind == "string" then return ("the string %q"):format(value) end
  if kind == "number" or kind == "boolean" then return "the " .. kind .. " " .. tostring(value) end
  return "a " .. kind
end

local function bad_return(value, more)
  if more ~= nil then
    return "filter returned " .. describe(more) .. " as a second value; it may return one"
  end
  return "filter returned " .. describe(value) .. "; it may return nothing, ipq.ACCEPT, ipq.DROP, "
    .. "ipq.REPEAT, ipq.STOP or ipq.queue(n)"
end

--- The traceback down to the filter: what lies below are this module's own calls.
local function traceback(err)
  local text = debug.traceback(tostring(err), 4)
  return (text:gsub("\n%s*%[C%]: in function 'xpcall'.*", ""))
end

--- The function that runs filter over what the batch holds when it is called.
---@param batch_address any lightuserdata or pointer: a struct ipq_batch that outlives the function
---@param filter fun(pkt: ipq.Packet): ipq.verdict?
---@return fun() run
function M.new(batch_address, filter)
  local batch = ffi.cast(abi.batch_pointer, batch_address)
  local may_log = log.limiter(ERRORS_A_SECOND)
  local current -- number of the packet whose filter runs

  local function report(text)
    local yes, suppressed = may_log()
    if not yes then return end
    local p = batch.packets[current]
    if suppressed > 0 then log.error(("%d more filter errors were not written"):format(suppressed)) end
    log.error(("packet %d of queue %d: %s\nIts verdict: %s"):format(
      p.packet_id, p.queue_num, text, verdict.name(batch.error_verdict)))
  end

  -- xpcall's handler: the stack is still there. Must not raise.
  local function on_raise(err)
    local ok, text = pcall(traceback, err)
    report(ok and text or "error with no message")
  end

  local function fail(p)
    p.verdict = batch.error_verdict
    p.set = 0
    batch.counters.errors = batch.counters.errors + 1
  end

  local function settle(p, ok, value, more)
    p.serial = 0
    if not ok then
      fail(p)
    elseif more ~= nil or not (value == nil or is_valid(value)) then
      report(bad_return(value, more))
      fail(p)
    elseif value ~= nil then
      p.verdict = value
    end
  end

  return function()
    for i = 0, batch.count - 1 do
      local p = batch.packets[i]
      current = i
      settle(p, xpcall(filter, on_raise, view(p, p.serial)))
    end
  end
end

return M
