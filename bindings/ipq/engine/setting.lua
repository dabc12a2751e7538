--- What the program around a Lua state says of itself before it loads a script: which bits of marks it goes by, and
--- which of its queues and workers the state is for. Without a program, as in plain luajit, what is here at first.
local core = require "ipq.core"
require "ipq.engine.abi" -- declares the bits
local ffi = require "ffi"
local require, tonumber = require, tonumber -- a script may overwrite globals

-- One for the Lua state, as the module ipq is (see engine/abi.lua).
if core.setting then return core.setting end

local M = {
  bypass_mark = tonumber(ffi.C.IPQ_BYPASS_MARK),
  sent_mark = tonumber(ffi.C.IPQ_SENT_MARK),
  --- nil where there is no queue: in a replay, in specs.
  ---@type integer?
  queue_num = nil,
  worker = 0,
}

--- Puts them into the module ipq, where a script reads them.
local function publish(ipq)
  ipq.BYPASS_MARK, ipq.SENT_MARK = M.bypass_mark, M.sent_mark
  ipq.queue_num, ipq.worker = M.queue_num, M.worker
end
M.publish = publish

--- For the host.
---@param bypass_mark integer
---@param sent_mark integer
---@param queue_num integer? nil: none
---@param worker integer from 0 up: which of the program's workers
function M.set(bypass_mark, sent_mark, queue_num, worker)
  M.bypass_mark, M.sent_mark, M.queue_num, M.worker = bypass_mark, sent_mark, queue_num, worker
  publish(require "ipq")
end

core.setting = M
return M
