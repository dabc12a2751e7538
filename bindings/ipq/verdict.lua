--- What a filter may return: the kernel's verdicts, as numbers.
local abi = require "ipq.engine.abi"
local bit = require "bit"
local ffi = require "ffi"
local error, type = error, type -- a script may overwrite globals

local C, band = abi.C, bit.band
local QUEUE, BYPASS = ffi.C.IPQ_QUEUE, ffi.C.IPQ_QUEUE_BYPASS

local M = {
  DROP = ffi.C.IPQ_DROP,
  ACCEPT = ffi.C.IPQ_ACCEPT,
  REPEAT = ffi.C.IPQ_REPEAT,
  STOP = ffi.C.IPQ_STOP,
}
local DROP, ACCEPT, REPEAT, STOP = M.DROP, M.ACCEPT, M.REPEAT, M.STOP

--- The verdict that hands a packet to queue n.
---@param n integer queue number, 0 to 65535
---@param bypass? boolean accept the packet where nobody listens to that queue
---@return ipq.verdict
function M.queue(n, bypass)
  if type(n) ~= "number" or not (n >= 0 and n <= 65535) or n % 1 ~= 0 then
    error("queue number must be an integer from 0 to 65535", 2)
  end
  return n * 65536 + (bypass and BYPASS or 0) + QUEUE
end

--- Whether a filter may return v.
function M.is_valid(v)
  if v == ACCEPT or v == DROP or v == REPEAT or v == STOP then return true end
  return type(v) == "number" and v >= 0 and v <= 0xffffffff and v % 1 == 0
    and band(v, 0x7fff) == QUEUE
end

local text = ffi.new("char[?]", ffi.C.IPQ_VERDICT_SIZE)

--- "accept", "queue 3 bypass": a verdict for people.
---@param v ipq.verdict
---@return string
function M.name(v) return (ffi.string(text, C.ipq_verdict_text(v, text))) end

return M
