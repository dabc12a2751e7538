--- Packets that a filter holds: each waits for a verdict of its own, which comes later, from elsewhere.
---
--- The batch forgets a held packet as it forgets all others. Its handle has a copy of it: of its bytes, its
--- metadata, and what the filter did to them before it returned. Holding is deliberate and may allocate.
local abi = require "ipq.engine.abi"
local bit = require "bit"
local buffer = require "ipq.packet.buffer"
local core = require "ipq.core"
local ffi = require "ffi"
local live = require "ipq.engine.live"
local outcome = require "ipq.engine.outcome"
local own = require "ipq.packet.own"
local verdict = require "ipq.verdict"
-- A script may overwrite globals.
local error, getmetatable, ipairs, pairs, pcall = error, getmetatable, ipairs, pairs, pcall
local rawget, rawset, setmetatable, sort, tostring, type = rawget, rawset, setmetatable, table.sort, tostring, type

-- One for the Lua state: the packets' metatype, which refers to it, lasts as long (see engine/abi.lua).
if core.held then return core.held end

local C, E = abi.C, ffi.C
local is_valid, is_buffer, open_buffer = verdict.is_valid, buffer.is_buffer, buffer.open
local apply, complete, fail = outcome.apply, outcome.complete, outcome.fail
local band = bit.band
local packet_type, byte_array = ffi.typeof "struct ipq_packet", ffi.typeof "uint8_t[?]"
local SIZE = ffi.sizeof "struct ipq_packet"
-- What a packet has of them lies in its slot, and is gone with it.
local KEPT = bit.bnot(bit.bor(E.IPQ_HAS_SECCTX, E.IPQ_HAS_L2HDR))

local RUNNING = "the filter that holds the packet has not returned yet: held:verdict() is for later"
local IN_FILTER = "the filter that holds the packet has not returned yet: there it is pkt:%s()"
local FAILED = "the packet was not held: its filter failed, and it got the error verdict"
local JUDGED = "the packet has had its verdict already"
local ENDED = "the packet got the default verdict when its filter ended"

-- What a packet that grows grows into. One is enough: it is sent before another is judged.
local spare = byte_array(E.IPQ_PACKET_MAX)

--- What is behind the handles that may still get a verdict, by their number: { handle, keeper, number, refusal, packet,
--- bytes }. refusal says why it takes none yet. It is not in the handle, where next() would show it to a script, with
--- the addresses that packet has; and not in a weak table of handles: see timer.lua.
local states = {}
local newest_number = 0

-- What is in a handle: its number, the packet's id, and once there is one for good why it takes no verdict.
local NUMBER, ID, REFUSAL = 1, 2, 3

---@class ipq.Held
local Held = {}
local mt = {
  __index = Held,
  __newindex = function() error("a held packet's fields cannot be assigned", 2) end,
  __tostring = function(handle) return "held packet " .. tostring(rawget(handle, ID)) end,
  __metatable = false,
}
setmetatable(Held, {
  __index = function(_, key)
    error(("a held packet has no '%s'; it has :verdict(verdict, bytes), :clone() and :answer(fields)")
      :format(tostring(key)), 2)
  end,
})

--- The packets that one loop's filter holds.
local Keeper = {}
Keeper.__index = Keeper

local M = {}

--- owner is what the driver lives as long as: handles may outlive the loop. observe is the loop's (see
--- dispatch.lua), or nil; tell_error(p, why) tells of a packet that got the error verdict.
function M.new(driver, owner, observe, tell_error)
  return (setmetatable({
    driver = driver, owner = owner, batch = driver.batch, observe = observe, tell_error = tell_error,
    open = {}, -- number → state
  }, Keeper))
end

local function too_many(batch)
  return (("%d packets are held already, the most that may be: half of --queue-maxlen, and %d at most")
    :format(batch.held_count, E.IPQ_HELD_MAX))
end

--- Holds the packet whose filter runs. Gives its handle, the same one each time. Errors are at that level of the
--- caller's.
function M.hold(p, level)
  local keeper = live.keeper
  if p.held ~= 0 then return keeper.newest end
  if C.ipq_driver_hold(keeper.driver, p) ~= 0 then error(too_many(keeper.batch), level + 1) end
  newest_number = newest_number + 1
  local handle = setmetatable({ [NUMBER] = newest_number, [ID] = p.packet_id }, mt)
  local state = { handle = handle, keeper = keeper, number = newest_number, refusal = RUNNING }
  states[newest_number] = state
  keeper.newest, keeper.newest_state = handle, state
  return handle
end

local function copy_of(p)
  local came_len = p.came ~= nil and p.came_data_len or 0
  local why_size = p.why ~= nil and E.IPQ_WHY_SIZE or 0
  local ct_len = band(p.present, E.IPQ_HAS_CT) ~= 0 and p.ct_len or 0
  local copy, bytes = packet_type(), byte_array(p.data_len + came_len + why_size + ct_len)
  ffi.copy(copy, p, SIZE)
  ffi.copy(bytes, p.data, p.data_len)
  copy.data, copy.spare = bytes, spare
  if p.came ~= nil then
    copy.came = bytes + p.data_len
    ffi.copy(bytes + p.data_len, p.came, came_len)
  end
  if p.why ~= nil then copy.why = bytes + p.data_len + came_len end
  copy.ct, copy.secctx, copy.l2hdr, copy.prefix = nil, nil, nil, nil
  if ct_len > 0 then
    copy.ct = bytes + p.data_len + came_len + why_size
    ffi.copy(bytes + p.data_len + came_len + why_size, p.ct, ct_len)
  end
  copy.ct_len, copy.secctx_len, copy.l2hdr_len, copy.prefix_len = ct_len, 0, 0, 0
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
  local state = self.newest_state
  state.packet, state.bytes = copy_of(p)
  state.refusal = nil
  self.open[state.number] = state
end

--- The handle takes no verdict any more.
local function close(state, refusal)
  states[state.number] = nil
  state.keeper.open[state.number] = nil
  rawset(state.handle, REFUSAL, refusal)
end

--- Lets go of the packet of a filter that failed: it gets its verdict with its batch.
function Keeper:release(p)
  C.ipq_driver_release(self.driver, p)
  close(self.newest_state, FAILED)
end

local function judge(state, refusal, value, bytes)
  local keeper, p = state.keeper, state.packet
  close(state, refusal)
  local why = apply(p, value, bytes)
  if why then fail(keeper.batch, p, why) end
  C.ipq_driver_commit_held(keeper.driver, p)
  if keeper.observe then
    local packet_before, handle_before, keeper_before = live.save()
    keeper.observe(p, ffi.cast(abi.view_pointer, live.begin(p)), why, state.handle)
    live.restore(packet_before, handle_before, keeper_before)
  end
  if why then keeper.tell_error(p, why) end
end

--- What is behind a handle, or why there is nothing. method is what was called, as it is to be.
local function state_of(handle, method)
  if type(handle) == "table" and getmetatable(handle) == false then
    local state = states[rawget(handle, NUMBER) or 0]
    if state and state.handle == handle then return state, state.refusal end
    local refusal = rawget(handle, REFUSAL)
    if type(refusal) == "string" then return nil, refusal end
  end
  return nil, method:match "[^(]*" .. "() is a method of what pkt:hold() gives: held:" .. method
end

--- Gives the packet its verdict, and where there are bytes makes it these: as a filter that returns them. Once.
---@param value? ipq.verdict nil: the default verdict
---@param bytes? string|ipq.Buffer a whole IP packet
function Held:verdict(value, bytes)
  local state, refusal = state_of(self, "verdict(v)")
  if refusal then error(refusal, 2) end
  if value ~= nil and not is_valid(value) then
    error(outcome.bad_verdict("held:verdict() was given", value, "it takes"), 2)
  end
  if is_buffer(bytes) then
    local ok, message = pcall(open_buffer, bytes)
    if not ok then error((message:gsub("^[^\n:]*:%d+: ", "")), 2) end
  elseif bytes ~= nil and type(bytes) ~= "string" then
    error(outcome.bad_bytes("held:verdict() was given", bytes), 2)
  end
  local keeper = state.keeper
  judge(state, JUDGED, value, bytes)
  -- Its loop sends it, if that runs.
  if live.keeper ~= keeper then C.ipq_driver_flush(keeper.driver) end
end

--- The struct ipq_packet of a packet that is held, for a method.
local function packet_of(handle, name)
  local state, refusal = state_of(handle, name .. "()")
  if refusal == RUNNING then refusal = IN_FILTER:format(name) end
  if refusal then error(refusal, 3) end
  return state.packet
end

--- A packet of the script's own, as the held one goes out by default; nil and why there can be none.
---@return ipq.OwnPacket? packet
---@return string? message
function Held:clone()
  local packet, why = own.clone(packet_of(self, "clone"))
  return packet, why
end

--- What the receiver of the held packet says to its sender, with these fields; nil and why there is no such answer.
---@param fields table<string, any>
---@return ipq.OwnPacket? packet
---@return string? message
function Held:answer(fields)
  local packet, why = own.answer(packet_of(self, "answer"), fields, 2)
  return packet, why
end

--- Gives the default verdict to all that are still held, in the order in which they came.
function Keeper:judge_rest()
  local held = {}
  for _, state in pairs(self.open) do held[#held + 1] = state end
  sort(held, function(a, b) return a.number < b.number end)
  for _, state in ipairs(held) do judge(state, ENDED) end
  C.ipq_driver_flush(self.driver)
end

core.held = M
return M
