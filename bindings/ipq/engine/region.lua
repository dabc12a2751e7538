--- The memory in which a Lua state's shared tables are, and what time it is for them.
---
--- The program has one for all its workers, and says so before it loads a script. Without a program, in a replay, and
--- in specs it is the process's own, made when the first table is.
local abi = require "ipq.engine.abi"
local core = require "ipq.core"
local ffi = require "ffi"
local live = require "ipq.engine.live"
local error = error -- a script may overwrite globals

-- One for the Lua state, as the module ipq is (see engine/abi.lua).
if core.region then return core.region end

local C, max = abi.C, math.max
local CLOCK = tonumber(ffi.C.IPQ_SHARED_CLOCK)
local NS = 1e9

local M = {
  --- Bytes of a region of the process's own.
  size = tonumber(ffi.C.IPQ_SHARED_SIZE_DEFAULT),
  --- Seconds, where a spec tells the time between packets.
  ---@type nil|fun(): number
  time = nil,
}

-- struct ipq_shared *
local current

local function reason(code) return (ffi.string(C.ipq_shared_strerror(code))) end
M.reason = reason

--- Has tables be in that region from here on, which outlives the Lua state. For the host.
---@param address any lightuserdata or pointer
---@param size integer bytes
---@param worker integer the process's number, which no other one has that is alive
function M.use(address, size, worker)
  local out = ffi.new "struct ipq_shared *[1]"
  local code = C.ipq_shared_attach(out, ffi.cast("void *", address), size, worker)
  if code < 0 then error("the memory for shared tables: " .. reason(code), 2) end
  current = ffi.gc(out[0], C.ipq_shared_detach)
end

--- Has tables that are made from here on be in a region of their own. Those that are there stay where they are.
function M.fresh() current = nil end

--- The region (struct ipq_shared *); nil and why there is none.
function M.current()
  if current then return current end
  local out = ffi.new "struct ipq_shared *[1]"
  local code = C.ipq_shared_private(out, M.size)
  if code < 0 then return nil, reason(code) end
  current = ffi.gc(out[0], C.ipq_shared_detach)
  return current
end

-- Seconds of a replay's first packet: times count from there, and it is 0 until then.
local first

local function replay_now()
  if not live.timer_time and live.packet() == nil then return 0 end
  local seconds = live.monotonic()
  if M.time then return (max(seconds * NS, 0)) end
  first = first or seconds
  return (max((seconds - first) * NS, 0))
end

--- What time it is for tables, in nanoseconds: by the packets where these tell it; else the clock's, at which C looks
--- itself where it has to.
---@return number
function M.now()
  if live.is_replay then return (replay_now()) end
  if M.time then return (max(M.time() * NS, 0)) end
  return CLOCK
end

core.region = M
return M
