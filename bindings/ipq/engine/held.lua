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
local sending = require "ipq.engine.send"
local verdict = require "ipq.verdict"
-- A script may overwrite globals.
local error, getmetatable, ipairs, pcall = error, getmetatable, ipairs, pcall
local rawget, rawset, setmetatable, sort, tostring, type = rawget, rawset, setmetatable, table.sort, tostring, type

-- One for the Lua state: the packets' metatype, which refers to it, lasts as long (see engine/abi.lua).
if core.held then return core.held end

local C, E = abi.C, ffi.C
local is_valid, is_buffer, open_buffer = verdict.is_valid, buffer.is_buffer, buffer.open
local apply, complete, fail = outcome.apply, outcome.complete, outcome.fail
local band = bit.band
local copy_type = ffi.typeof "struct { struct ipq_packet packet; uint8_t bytes[?]; }"
local byte_array = ffi.typeof "uint8_t[?]"
local BY_STREAM = E.IPQ_HELD_BY_STREAM
local SIZE, HAS_CT = ffi.sizeof "struct ipq_packet", E.IPQ_HAS_CT
-- Bytes of a copy: twice as many as long as they are too few, from the least on. Larger ones than the most are not kept
-- to be used again, as all that may be held might have been as large once.
local COPY_LEAST, COPY_MOST = 256, 2048
local NO_COPY = -1 -- less than the bytes of a packet that has none
-- What a packet has of them lies in its slot, and is gone with it.
local KEPT = bit.bnot(bit.bor(E.IPQ_HAS_SECCTX, E.IPQ_HAS_L2HDR))

local RUNNING = "the filter that holds the packet has not returned yet: held:verdict() is for later"
local IN_FILTER = "the filter that holds the packet has not returned yet: there it is pkt:%s()"
local FAILED = "the packet was not held: its filter failed, and it got the error verdict"
local JUDGED = "the packet has had its verdict already"
local ENDED = "the packet got the default verdict when its filter ended"

-- What a packet that grows grows into. One is enough: it is sent before another is judged.
local spare = byte_array(E.IPQ_PACKET_MAX)

--- What is behind the handles, by their slots: { slot, handle, keeper, number, refusal, copy, packet, size }. refusal
--- says why the handle takes no verdict yet. They are not in the handles, where next() would show them to a script,
--- with the addresses that packet has; and not in a weak table of handles: see timer.lua. A slot is used again, with
--- its copy, because scripts may hold every packet; its handle tells whose it is.
local states, free = {}, {}
local state_count, free_count, newest_number = 0, 0, 0

-- What is in a handle: its slot, the packet's id, and 0, or once there is one for good why it takes no verdict.
local SLOT, ID, REFUSAL = 1, 2, 3

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
  }, Keeper))
end

local function too_many(batch)
  return (("%d packets are held already, the most that may be: half of --queue-maxlen, and %d at most")
    :format(batch.held_count, E.IPQ_HELD_MAX))
end

local function new_state()
  state_count = state_count + 1
  local state = { slot = state_count, handle = false, keeper = false, number = 0, refusal = false, copy = false,
    packet = false, size = NO_COPY }
  states[state_count] = state
  return state
end

local function take_state()
  local count = free_count
  if count == 0 then return (new_state()) end
  free_count = count - 1
  return free[count]
end

--- It is nobody's any more.
local function give_back(state)
  local count = free_count + 1
  if state.size > COPY_MOST then state.copy, state.packet, state.size = false, false, NO_COPY end
  state.keeper = false
  free[count], free_count = state, count
end

--- Holds the packet whose filter runs. Gives its handle, the same one each time. Errors are at that level of the
--- caller's.
function M.hold(p, level)
  local keeper = live.keeper
  if p.held ~= 0 then return keeper.newest end
  if C.ipq_driver_hold(keeper.driver, p) ~= 0 then error(too_many(keeper.batch), level + 1) end
  newest_number = newest_number + 1
  local state = take_state()
  local handle = setmetatable({ state.slot, p.packet_id, 0 }, mt)
  state.handle, state.keeper, state.number, state.refusal = handle, keeper, newest_number, RUNNING
  keeper.newest, keeper.newest_state = handle, state
  return handle
end

local function make_copy(state, size)
  local room = COPY_LEAST
  while room < size do room = room * 2 end
  state.copy = copy_type(room)
  state.packet, state.size = state.copy.packet, room
end

local function copy(state, p)
  local data_len, came_len = p.data_len, p.came ~= nil and p.came_data_len or 0
  local why_size = p.why ~= nil and E.IPQ_WHY_SIZE or 0
  local ct_len = band(p.present, HAS_CT) ~= 0 and p.ct_len or 0
  local size = data_len + came_len + why_size + ct_len
  if state.size < size then make_copy(state, size) end
  local to, bytes = state.packet, state.copy.bytes
  ffi.copy(to, p, SIZE)
  ffi.copy(bytes, p.data, data_len)
  to.data, to.spare = bytes, spare
  if p.came ~= nil then
    to.came = bytes + data_len
    ffi.copy(bytes + data_len, p.came, came_len)
  end
  if p.why ~= nil then
    to.why = bytes + data_len + came_len
    to.why[0] = 0
  end
  to.ct, to.secctx, to.l2hdr, to.prefix = nil, nil, nil, nil
  if ct_len > 0 then
    to.ct = bytes + data_len + came_len + why_size
    ffi.copy(bytes + data_len + came_len + why_size, p.ct, ct_len)
  end
  to.ct_len, to.secctx_len, to.l2hdr_len, to.prefix_len = ct_len, 0, 0, 0
  to.present = band(to.present, KEPT)
end

--- Keeps the packet, when the filter that held it has returned. Gives why it cannot be, or nil.
function Keeper:keep(p, value, bytes)
  if value ~= nil or bytes ~= nil then
    return "filter returned a verdict for a packet that it holds; it gets one by held:verdict(), later"
  end
  local why = complete(p)
  if why then return why end
  local state = self.newest_state
  copy(state, p)
  state.refusal = false
end

--- The handle takes no verdict any more.
local function close(state, refusal)
  rawset(state.handle, REFUSAL, refusal)
  state.handle = false
end

--- Lets go of the packet of a filter that failed: it gets its verdict with its batch.
function Keeper:release(p)
  C.ipq_driver_release(self.driver, p)
  close(self.newest_state, FAILED)
  give_back(self.newest_state)
end

local function judge(state, refusal, value, bytes)
  local keeper, p, handle = state.keeper, state.packet, state.handle
  close(state, refusal)
  local keeper_before = live.keeper
  live.keeper = keeper -- it may not run, or another one may
  local why = apply(p, value, bytes)
  live.keeper = keeper_before
  if why then fail(keeper.batch, p, why) end
  if p.held == BY_STREAM then
    give_back(state) -- its stream has a copy
    return
  end
  C.ipq_driver_commit_held(keeper.driver, p)
  if keeper.observe then
    local packet_before, handle_before = live.save()
    keeper.observe(p, ffi.cast(abi.view_pointer, live.begin(p)), why, handle)
    live.restore(packet_before, handle_before, keeper_before)
  end
  if why then keeper.tell_error(p, why) end
  give_back(state)
end

--- What is behind a handle, or why there is nothing. method is what was called, as it is to be.
local function state_of(handle, method)
  if type(handle) == "table" and getmetatable(handle) == false then
    local state = states[rawget(handle, SLOT)]
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

local function answered(handle) return (packet_of(handle, "answer")) end

--- What the receiver of the held packet says to its sender, with these fields; nil and why there is no such answer.
---@param fields table<string, any>
---@return ipq.OwnPacket? packet
---@return string? message
function Held:answer(fields)
  packet_of(self, "answer") -- raises where there is none, before anything is said of the fields
  local packet, why = own.answer(answered, self, fields, 2)
  return packet, why
end

--- Gives the default verdict to all that are still held, in the order in which they came.
function Keeper:judge_rest()
  local held = {}
  for _, state in ipairs(states) do
    if state.keeper == self and state.handle and not state.refusal then held[#held + 1] = state end
  end
  sort(held, function(a, b) return a.number < b.number end)
  -- A default verdict that rejects sends, where the loop has ended, too.
  local outbox_before = live.outbox
  if outbox_before == nil then sending.use(self.driver) end
  for _, state in ipairs(held) do judge(state, ENDED) end
  C.ipq_driver_flush(self.driver)
  if live.outbox ~= nil then C.ipq_outbox_flush(live.outbox) end
  live.outbox = outbox_before
end

core.held = M
return M
