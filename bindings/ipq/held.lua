--- Packets that a filter holds: each waits for a verdict of its own, which comes later, from elsewhere.
---
--- The batch forgets a held packet as it forgets all others. Its handle has a copy of it: of its bytes, its
--- metadata, and what the filter did to them before it returned. Holding is deliberate and may allocate.
local abi = require "ipq.abi"
local bit = require "bit"
local buffer = require "ipq.buffer"
local core = require "ipq.core"
local ffi = require "ffi"
local live = require "ipq.live"
local settle = require "ipq.settle"
local verdict = require "ipq.verdict"
-- A script may overwrite globals.
local error, ipairs, pairs, pcall, rawget, setmetatable = error, ipairs, pairs, pcall, rawget, setmetatable
local sort, tostring, type = table.sort, tostring, type

-- One for the Lua state: the packets' metatype, which refers to it, lasts as long (see luaopen_ipq_core).
if core.held then return core.held end

local C, E = abi.C, ffi.C
local is_valid, is_buffer, open_buffer = verdict.is_valid, buffer.is_buffer, buffer.open
local apply, complete, fail = settle.apply, settle.complete, settle.fail
local band = bit.band
local packet_type, byte_array = ffi.typeof "struct ipq_packet", ffi.typeof "uint8_t[?]"
local SIZE = ffi.sizeof "struct ipq_packet"
-- What a packet has of them lies in its slot, and is gone with it.
local KEPT = bit.bnot(bit.bor(E.IPQ_HAS_CT, E.IPQ_HAS_SECCTX, E.IPQ_HAS_L2HDR))

local RUNNING = "the filter that holds the packet has not returned yet: held:verdict() is for later"
local FAILED = "the packet was not held: its filter failed, and it got the error verdict"
local JUDGED = "the packet has had its verdict already"
local ENDED = "the packet got the default verdict when its filter ended"

-- What a packet that grows grows into. One is enough: it is sent before another is judged.
local spare = byte_array(E.IPQ_PACKET_MAX)

-- The key, which no script has, of what is behind a handle: { keeper, id, number, refusal, packet, bytes }. refusal
-- says why it takes no verdict. It is in the handle, not in a weak table of handles: see timer.lua.
local STATE = {}

---@class ipq.Held
local Held = {}
local mt = {
  __index = Held,
  __newindex = function() error("a held packet's fields cannot be assigned", 2) end,
  __tostring = function(handle) return "held packet " .. rawget(handle, STATE).id end,
  __metatable = false,
}
setmetatable(Held, {
  __index = function(_, key)
    error(("a held packet has no '%s'; it has :verdict(verdict, bytes)"):format(tostring(key)), 2)
  end,
})

--- The packets that one loop's filter holds.
local Keeper = {}
Keeper.__index = Keeper

local M = {}

--- owner is what the driver lives as long as: handles may outlive the loop. observe is the loop's (see
--- dispatch.lua), or nil; report(p, why) tells of a packet that got the error verdict.
function M.new(driver, owner, observe, report)
  return setmetatable({
    driver = driver, owner = owner, batch = driver.batch, observe = observe, report = report,
    open = {}, -- handle → true
    count = 0, -- of those that were ever held
  }, Keeper)
end

local function too_many(batch)
  return ("%d packets are held already, the most that may be: half of --queue-maxlen, and %d at most")
    :format(batch.held_count, E.IPQ_HELD_MAX)
end

--- Holds the packet whose filter runs. Gives its handle, the same one each time. Its caller is to be called by
--- the script, with a tail call to here: errors are told there.
function M.hold(p)
  local keeper = live.keeper
  if p.held ~= 0 then return keeper.newest end
  if C.driver_hold(keeper.driver, p) ~= 0 then error(too_many(keeper.batch), 2) end
  keeper.count = keeper.count + 1
  local state = { keeper = keeper, id = p.packet_id, number = keeper.count, refusal = RUNNING }
  keeper.newest = setmetatable({ [STATE] = state }, mt)
  return keeper.newest
end

local function copy_of(p)
  local copy, bytes = packet_type(), byte_array(p.data_len)
  ffi.copy(copy, p, SIZE)
  ffi.copy(bytes, p.data, p.data_len)
  copy.data, copy.spare = bytes, spare
  copy.ct, copy.secctx, copy.l2hdr = nil, nil, nil
  copy.ct_len, copy.secctx_len, copy.l2hdr_len = 0, 0, 0
  copy.present = band(copy.present, KEPT)
  return copy, bytes
end

--- Keeps the packet, when the filter that held it has returned. Gives why it cannot be, or nil.
function Keeper:keep(p, value, bytes)
  if value ~= nil or bytes ~= nil then
    return "filter returned a verdict for a packet that it holds; it gets one by held:verdict(), later"
  end
  local why = complete(p)
  if why then return why end
  local state = self.newest[STATE]
  state.packet, state.bytes = copy_of(p)
  state.refusal = nil
  self.open[self.newest] = true
end

--- Lets go of the packet of a filter that failed: it gets its verdict with its batch.
function Keeper:release(p)
  C.driver_release(self.driver, p)
  self.newest[STATE].refusal = FAILED
end

local function judge(handle, state, refusal, value, bytes)
  local keeper, p = state.keeper, state.packet
  state.refusal = refusal
  keeper.open[handle] = nil
  local why = apply(p, value, bytes)
  if why then fail(keeper.batch, p) end
  C.driver_settle(keeper.driver, p)
  if keeper.observe then
    local packet_before, handle_before, keeper_before = live.save()
    keeper.observe(p, ffi.cast(abi.view_pointer, live.begin(p)), why, handle)
    live.restore(packet_before, handle_before, keeper_before)
  end
  if why then keeper.report(p, why) end
  state.packet, state.bytes = nil, nil
end

--- Gives the packet its verdict, and where there are bytes makes it these: as a filter that returns them. Once.
---@param value? ipq.verdict nil: the default verdict
---@param bytes? string|ipq.Buffer a whole IP packet
function Held:verdict(value, bytes)
  local state = type(self) == "table" and rawget(self, STATE)
  if not state then error("verdict() is a method of what pkt:hold() gives: held:verdict(v)", 2) end
  if state.refusal then error(state.refusal, 2) end
  if value ~= nil and not is_valid(value) then
    error(settle.bad_verdict("held:verdict() was given", value, "it takes"), 2)
  end
  if is_buffer(bytes) then
    local ok, message = pcall(open_buffer, bytes)
    if not ok then error((message:gsub("^[^\n:]*:%d+: ", "")), 2) end
  elseif bytes ~= nil and type(bytes) ~= "string" then
    error(settle.bad_bytes("held:verdict() was given", bytes), 2)
  end
  judge(self, state, JUDGED, value, bytes)
end

--- Gives the default verdict to all that are still held, in the order in which they came.
function Keeper:finish()
  local handles = {}
  for handle in pairs(self.open) do handles[#handles + 1] = handle end
  sort(handles, function(a, b) return a[STATE].number < b[STATE].number end)
  for _, handle in ipairs(handles) do judge(handle, handle[STATE], ENDED) end
end

core.held = M
return M
