--- Packets that Netfilter queues, judged by Lua.
local core = require "ipq.core"
-- A script may overwrite globals.
local error, pairs, pcall, require, setmetatable = error, pairs, pcall, require, setmetatable
local tostring, type = tostring, type

-- One module for the life of the Lua state (see engine/abi.lua).
if core.module then return core.module end

local arguments = require "ipq.arguments"
local counter = require "ipq.counter"
local event = require "ipq.event"
local flow = require "ipq.packet.flow"
require "ipq.packet.stream"
local flows = require "ipq.engine.flows"
local live = require "ipq.engine.live"
local log = require "ipq.log"
local sending = require "ipq.engine.send"
local setting = require "ipq.engine.setting"
local spelling = require "ipq.spelling"
local timer = require "ipq.engine.timer"
local verdict = require "ipq.verdict"

---@class ipq
local M = {
  version = core.version,
  --- The key=value arguments of the script, once the program has loaded it: text, or what takes {} made of them.
  ---@type table<string, any>
  args = {},
  takes = arguments.takes,
  ACCEPT = verdict.ACCEPT,
  DROP = verdict.DROP,
  REPEAT = verdict.REPEAT,
  STOP = verdict.STOP,
  REJECT = verdict.REJECT,
  queue = verdict.queue,
  reject = verdict.reject,
  send = sending.send,
  log = log,
  event = event.event,
  counter = counter.counter,
  build = require "ipq.build",
  http = require "ipq.http",
  netset = require "ipq.netset".new,
  quic = require "ipq.quic",
  dns = require "ipq.dns",
  domainset = require "ipq.domainset".new,
  shared = require "ipq.shared".shared,
  checksum = require "ipq.checksum".checksum,
  seq = require "ipq.seq",
  tls = require "ipq.tls",
  flows = flow.flows,
  flow_count = flows.flow_count,
  after = timer.after,
  every = timer.every,
}

-- BYPASS_MARK, the bit that pkt:bypass() sets in the packet's mark; SENT_MARK, the one that a filter sets (SO_MARK) in
-- what it sends itself, so that --rule does not queue it; queue_num, the number of the queue, nil where there is none;
-- worker, which of the program's workers this is, from 0 up.
setting.publish(M)

--- Seconds since 1970, with microseconds: in replay the time of the packet or of the timer, live the clock's.
---@return number
function M.now() return (live.now()) end

--- Seconds by a clock that nobody sets, CLOCK_MONOTONIC: for how long something takes. In replay the time of the packet
--- or of the timer, as now() gives it.
---@return number
function M.monotonic() return (live.monotonic()) end

local COPY, VERDICT = "must be \"packet\" or \"meta\"", "must be a verdict, as ipq.ACCEPT is"
-- Where "must be a number" would not say enough.
local option_hints = { copy = COPY, default = VERDICT, on_error = VERDICT }

local option_types = {
  queue_num = "number", copy = "string", range = "number", maxlen = "number", rcvbuf = "number",
  fail_open = "boolean", gso = "boolean", send = "boolean", default = "number", on_error = "number",
}

local function check_options(options)
  if type(options) ~= "table" then error("ipq.open() takes a table of options", 3) end
  for name, value in pairs(options) do
    local kind = option_types[name]
    if not kind then
      error(("ipq.open() has no option '%s'%s"):format(tostring(name), spelling.hint(name, option_types)), 3)
    end
    if type(value) ~= kind then
      error(("option %s %s"):format(name, option_hints[name] or "must be a " .. kind), 3)
    end
    if kind == "number" and value % 1 ~= 0 then error(("option %s must be a whole number"):format(name), 3) end
  end
end

---@class ipq.Queue
local Queue = {}
Queue.__index = Queue

--- Opens a queue, for programs of one's own; filters for ipq-lua do not need it.
---
--- Options: queue_num (0), copy ("packet" or "meta"), range (bytes, 65531), maxlen (packets, 1024),
--- rcvbuf (bytes), fail_open (false), gso (true), send (false: whether filters may send), default (ipq.ACCEPT),
--- on_error (ipq.DROP); with send these two may reject. Misuse raises.
---@param options? table
---@return ipq.Queue? queue
---@return string? message what was tried, what the system answered, what to do
---@return string? code "EPERM", "EBUSY", "ENOTSUP", "ERANGE" or "EIO"
function M.open(options)
  options = options or {}
  check_options(options)
  local ok, queue, message, code = pcall(core.open, options)
  if not ok then error(queue, 2) end
  if not queue then return nil, message, code end
  return (setmetatable({ core = queue, is_closed = false }, Queue))
end

local function check_open(queue)
  if queue.is_closed then error("the queue is closed: ipq.open() opens another", 3) end
end

--- Judges packets until the queue is stopped. A packet whose filter raises gets the error verdict,
--- and the error is logged. What is held in the end gets the default verdict.
---@param filter fun(pkt: ipq.Packet): ipq.verdict?
---@return boolean? ok nil after an error of the system
---@return string? message
---@return string? code
function Queue:run(filter)
  if type(filter) ~= "function" then error("Queue:run() takes a function", 2) end
  check_open(self)
  local queue = self.core -- and not only its driver's address: it must live as long as the loop
  local run, keeper = require "ipq.engine.dispatch".new(queue:driver(), filter)
  while true do
    local count = run()
    if count == 0 then
      keeper:judge_rest()
      return queue ~= nil
    end
    local message, code = core.strerror(count)
    if code ~= "EINTR" then
      keeper:judge_rest()
      return nil, message, code
    end
  end
end

--- Takes no new packets: run() judges what waits, then returns. For a filter to call.
function Queue:stop()
  check_open(self)
  local ok, message, code = self.core:stop()
  return ok, message, code
end

--- Closes the queue; the kernel drops what still waits in it.
function Queue:close()
  self.is_closed = true
  self.core:close()
end

-- nil is the default verdict: a misspelt one would let packets pass in silence.
setmetatable(M, { __index = function(_, name)
  if name ~= "queue_num" then error(("ipq has no '%s'%s"):format(tostring(name), spelling.hint(name, M)), 2) end
end })

core.module = M
return M
