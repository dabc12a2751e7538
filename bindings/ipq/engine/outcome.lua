--- What a filter says of a packet, made to be what becomes of it.
local abi = require "ipq.engine.abi"
local bit = require "bit"
local buffer = require "ipq.packet.buffer"
local ffi = require "ffi"
local live = require "ipq.engine.live"
local sending = require "ipq.engine.send"
local streams = require "ipq.engine.streams"
local verdict = require "ipq.verdict"
-- A script may overwrite globals.
local match, sub, tostring, type = string.match, string.sub, tostring, type

local C, devices, is_valid, reject_of = abi.C, abi.devices, verdict.is_valid, verdict.reject_of
local reject, step = sending.reject, streams.step
local band, bor, cast, DROP, REPEAT = bit.band, bit.bor, ffi.cast, verdict.DROP, verdict.REPEAT
local BY_STREAM = ffi.C.IPQ_HELD_BY_STREAM
local is_buffer, open_buffer = buffer.is_buffer, buffer.open
local PAYLOAD, OVERSIZED = ffi.C.IPQ_SET_PAYLOAD, ffi.C.IPQ_SET_OVERSIZED
local LAYOUT, SEGMENTED = ffi.C.IPQ_SET_LAYOUT, ffi.C.IPQ_SET_SEGMENTED
local PERHAPS_LOST = LAYOUT + SEGMENTED
-- What is said of a packet that has these, where the kernel loses it.
local LOST = {
  [tonumber(LAYOUT)] = ffi.C.IPQ_REWRITE_LAYOUT, [tonumber(PERHAPS_LOST)] = ffi.C.IPQ_REWRITE_LAYOUT,
  [tonumber(SEGMENTED)] = ffi.C.IPQ_REWRITE_SEGMENTS,
}
local MARK, bytes_pointer = ffi.C.IPQ_SET_MARK, ffi.typeof "uint8_t *"
local NO_CHANGE, NOT_OVERSIZED = bit.bnot(PAYLOAD + OVERSIZED + ffi.C.IPQ_SET_LINK), bit.bnot(OVERSIZED)

local WHY_MOST = ffi.C.IPQ_WHY_SIZE - 1

local M = {}

local function describe(value)
  local kind = type(value)
  if kind == "string" then return (("the string %q"):format(value)) end
  if kind == "number" or kind == "boolean" then return "the " .. kind .. " " .. tostring(value) end
  return "a " .. kind
end

--- Why a verdict cannot be one; who is "filter returned", and it_takes begins the list of what is one: "it may return".
function M.bad_verdict(who, value, it_takes)
  return (("%s %s; %s nothing, ipq.ACCEPT, ipq.DROP, ipq.REJECT, ipq.REPEAT, ipq.STOP or ipq.queue(n)")
    :format(who, describe(value), it_takes))
end

--- Why bytes cannot be the packet's.
function M.bad_bytes(who, bytes)
  return who .. " " .. describe(bytes) .. " as the packet's bytes; they are a string or a Buffer"
end

--- Makes these bytes the packet's. Gives why they cannot be, or nil.
local function take_bytes(p, bytes)
  local result
  p.set = band(p.set, NOT_OVERSIZED) -- a held packet's own bytes were
  if type(bytes) == "string" then
    result = C.ipq_rewrite_set(p, bytes, #bytes)
  elseif is_buffer(bytes) then
    result = C.ipq_rewrite_set(p, open_buffer(bytes))
  else
    return (M.bad_bytes("filter returned", bytes))
  end
  if result ~= 0 then return "bytes returned: " .. ffi.string(C.ipq_rewrite_strerror(result)) end
end

--- Makes a changed packet fit to be sent: its lengths and checksums, if it has them made right. Gives why it cannot be
--- sent, or nil.
function M.complete(p)
  if band(p.set, PAYLOAD) == 0 then return nil end
  if p.fix ~= 0 then
    local result = C.ipq_rewrite_finish(p)
    if result ~= 0 then return "packet changed: " .. ffi.string(C.ipq_rewrite_strerror(result)) end
  end
  if band(p.set, PERHAPS_LOST) ~= 0 then
    local lost = band(p.set, live.keeper.batch.loses)
    if lost ~= 0 then return "packet changed: " .. ffi.string(C.ipq_rewrite_strerror(LOST[lost])) end
  end
  if p.data_len > p.came_len then
    if p.parsed == 0 then C.ipq_header_parse(p) end
    if C.ipq_device_is_outgrown(devices, p) then p.set = bor(p.set, OVERSIZED) end
  end
end

--- Makes the bytes of a captured packet those that came, from which no change is made any more: what is told of a
--- packet whose changes count for nothing is what is written of it. Live nothing is told of it.
local function put_back(p)
  if band(p.set, PAYLOAD) == 0 or p.came == nil then return end
  p.data, p.data_len, p.len = cast(bytes_pointer, p.came), p.came_data_len, p.came_len
  p.parsed, p.dirty = 0, 0
end

--- Gives the packet the verdict and the bytes, each where there is one. Gives why it cannot have them, or nil:
--- the packet is as fail() takes it then.
function M.apply(p, value, bytes)
  if value ~= nil then
    if not is_valid(value) then return (M.bad_verdict("filter returned", value, "it may return")) end
    local kind = reject_of(value)
    if kind then
      p.verdict, p.reject = DROP, kind
    else
      p.verdict, p.reject = value, 0
    end
  end
  if bytes ~= nil then
    local why = take_bytes(p, bytes)
    if why then return why end
  end
  if p.verdict == DROP then
    if p.reject ~= 0 then
      local why = reject(p)
      if why then return why end
    end
    put_back(p)
    p.set = band(p.set, NO_CHANGE)
    return nil
  end
  if streams.current and p.verdict ~= REPEAT then
    local why = step(p)
    if why then return why end
    if p.held == BY_STREAM then return nil end
    if p.verdict == DROP then
      put_back(p)
      p.set = band(p.set, NO_CHANGE)
      return nil
    end
  end
  return (M.complete(p))
end

--- Gives a packet of the batch's, or a copy, the error verdict.
function M.fail(batch, p, why)
  p.verdict = batch.error_verdict
  if p.why ~= nil then ffi.copy(p.why, sub(match(why, "^[^\n]*"), 1, WHY_MOST)) end
  put_back(p)
  -- In a capture none has a mark.
  if p.came ~= nil and band(p.set, MARK) ~= 0 then p.mark = 0 end
  p.set = 0
  -- What is not translated corrupts an edited connection.
  if streams.is_edited(p) then p.verdict = DROP end
  p.reject = batch.error_reject
  if p.reject ~= 0 then reject(p) end
  batch.counters.errors = batch.counters.errors + 1
end

return M
