--- What a filter may return, as numbers: the kernel's verdicts, and those that reject.
local abi = require "ipq.engine.abi"
local bit = require "bit"
local ffi = require "ffi"
local spelling = require "ipq.spelling"
local error, pairs, tonumber, tostring, type = error, pairs, tonumber, tostring, type -- a script may overwrite globals

local C, band = abi.C, bit.band
local QUEUE, BYPASS = ffi.C.IPQ_QUEUE, ffi.C.IPQ_QUEUE_BYPASS

local M = {
  DROP = ffi.C.IPQ_DROP,
  ACCEPT = ffi.C.IPQ_ACCEPT,
  REPEAT = ffi.C.IPQ_REPEAT,
  STOP = ffi.C.IPQ_STOP,
}
local DROP, ACCEPT, REPEAT, STOP = M.DROP, M.ACCEPT, M.REPEAT, M.STOP

-- nft's words of "reject with", and their numbers.
local REJECT = ffi.C.IPQ_REJECT
local rejects = {
  ["tcp-reset"] = ffi.C.IPQ_REJECT_TCP_RESET, ["port-unreachable"] = ffi.C.IPQ_REJECT_PORT_UNREACHABLE,
  ["host-unreachable"] = ffi.C.IPQ_REJECT_HOST_UNREACHABLE, ["net-unreachable"] = ffi.C.IPQ_REJECT_NET_UNREACHABLE,
  ["no-route"] = ffi.C.IPQ_REJECT_NO_ROUTE, ["admin-prohibited"] = ffi.C.IPQ_REJECT_ADMIN_PROHIBITED,
}
local reject_names = {}
for name, kind in pairs(rejects) do reject_names[tonumber(kind)] = "reject " .. name end
local FIRST_REJECT = REJECT + ffi.C.IPQ_REJECT_DEFAULT
local LAST_REJECT = REJECT + ffi.C.IPQ_REJECT_ADMIN_PROHIBITED

--- Drops a packet, and tells its sender: TCP by a reset, others that the port is unreachable.
M.REJECT = FIRST_REJECT

--- The verdict that drops a packet, and tells its sender that.
---@param kind "tcp-reset"|"port-unreachable"|"host-unreachable"|"net-unreachable"|"no-route"|"admin-prohibited"
---@return ipq.verdict
function M.reject(kind)
  return (M.reject_by("ipq.reject()", kind, 2))
end

--- The same for a function of another name, whose caller's error it is at that level.
function M.reject_by(name, kind, level)
  local number = rejects[kind]
  if not number then
    error(("%s has no '%s'%s"):format(name, tostring(kind), spelling.hint(kind, rejects)), level + 1)
  end
  return REJECT + number
end

--- The verdict that drops a packet and says that, an enum ipq_reject; the verdict itself where that says nothing.
function M.with_reject(v, kind)
  if kind == 0 then return v end
  return REJECT + kind
end

--- What a verdict that rejects says, as enum ipq_reject has it; nil where it is another verdict.
function M.reject_of(v)
  if v >= FIRST_REJECT and v <= LAST_REJECT then return v - REJECT end
end

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
    and (band(v, 0x7fff) == QUEUE or v >= FIRST_REJECT and v <= LAST_REJECT)
end

local text = ffi.new("char[?]", ffi.C.IPQ_VERDICT_SIZE)

--- Whether that is what name() gives of a verdict that rejects.
function M.is_reject_name(name)
  return type(name) == "string" and (name == "reject" or rejects[name:match "^reject (.*)$"] ~= nil)
end

--- "accept", "queue 3 bypass", "reject tcp-reset": a verdict for people.
---@param v ipq.verdict
---@return string
function M.name(v)
  local kind = M.reject_of(v)
  if kind then return reject_names[kind] or "reject" end
  return (ffi.string(text, C.ipq_verdict_text(v, text)))
end

return M
