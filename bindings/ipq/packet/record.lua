--- What became of each packet: as a table, and as a line of text (bindings/record.c).
local abi = require "ipq.engine.abi"
local bit = require "bit"
local ffi = require "ffi"
local live = require "ipq.engine.live"
local verdict = require "ipq.verdict"
local concat, tonumber, tostring = table.concat, tonumber, tostring -- a script may overwrite globals

local C, E = abi.C, ffi.C
local CHANGED = E.IPQ_SET_PAYLOAD + E.IPQ_SET_LINK

local M = {}

local name = ffi.new("char[?]", E.IPQ_VERDICT_SIZE)

--- The record of a packet that was judged (see dispatch.lua for what it is of).
function M.of(p, pkt, why)
  return {
    number = p.packet_id,
    -- As text, which has all six digits of the microseconds.
    time = ("%d.%06d"):format(tonumber(p.timestamp_sec), tonumber(p.timestamp_usec)),
    verdict = ffi.string(name, C.ipq_judged_text(p, name)),
    mark = p.mark,
    changed = p.verdict ~= verdict.DROP and bit.band(p.set, CHANGED) ~= 0,
    packet = tostring(pkt),
    error = why,
  }
end

local room, text = E.IPQ_RECORD_SIZE, ffi.new("char[?]", E.IPQ_RECORD_SIZE)

--- What went wrong with a packet, its length, and memory that takes a line with it.
local function prepare(why)
  if why == nil then return nil, 0, text end
  local needed = E.IPQ_RECORD_SIZE + E.IPQ_RECORD_ESCAPE * #why
  if needed > room then room, text = needed, ffi.new("char[?]", needed) end
  return why, #why, text
end

--- Calls put(line, len) with the line of each packet that was sent, and of which nobody was told: because of a packet
--- (struct ipq_packet *), or of none.
local function tell_sent(cause, is_json, put)
  local outbox = live.outbox
  if outbox == nil then return end
  local sent = C.ipq_record_next(outbox, cause)
  while sent ~= nil do
    put(text, C.ipq_record_sent(sent, is_json, text))
    sent = C.ipq_record_next(outbox, cause)
  end
end

--- Calls put() with the packet's line, between those of what was sent before it and of what its filter has sent.
local function tell(p, why, is_json, put)
  local bytes, len, to = prepare(why)
  tell_sent(nil, is_json, put)
  if is_json then
    put(to, C.ipq_record_json(p, bytes, len, to))
  else
    put(to, C.ipq_record_print(p, bytes, len, to))
  end
  tell_sent(p, is_json, put)
end

--- The record as lines of JSON, each with its newline: the packet's, and those of what was sent.
---@return string
function M.lines(p, why)
  local lines = {}
  tell(p, why, true, function(bytes, len) lines[#lines + 1] = ffi.string(bytes, len) end)
  return (concat(lines))
end

-- Observers (see dispatch.lua) that write to standard output.

local function write(bytes, len) C.ipq_stdout_write(bytes, len) end

--- A line of JSON for each packet.
function M.write_json(p, _, why) tell(p, why, true, write) end

--- A line for people.
function M.print(p, _, why) tell(p, why, false, write) end

return M
