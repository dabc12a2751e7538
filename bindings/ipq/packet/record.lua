--- What became of each packet: as a table, and as a line of text (bindings/record.c).
local abi = require "ipq.engine.abi"
local bit = require "bit"
local ffi = require "ffi"
local verdict = require "ipq.verdict"
local tonumber, tostring = tonumber, tostring -- a script may overwrite globals

local C, E = abi.C, ffi.C
local CHANGED = E.IPQ_SET_PAYLOAD + E.IPQ_SET_LINK

local M = {}

--- The record of a packet that was judged (see dispatch.lua for what it is of).
function M.of(p, pkt, why)
  return {
    number = p.packet_id,
    -- As text, which has all six digits of the microseconds.
    time = ("%d.%06d"):format(tonumber(p.timestamp_sec), tonumber(p.timestamp_usec)),
    verdict = verdict.name(p.verdict),
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

--- The record as a line of JSON, with its newline.
---@return string
function M.line(p, why)
  local bytes, len, to = prepare(why)
  return (ffi.string(to, C.ipq_record_json(p, bytes, len, to)))
end

-- Observers (see dispatch.lua) that write to standard output.

--- A line of JSON for each packet.
function M.write_json(p, _, why)
  local bytes, len, to = prepare(why)
  C.ipq_stdout_write(to, C.ipq_record_json(p, bytes, len, to))
end

--- A line for people.
function M.print(p, _, why)
  local bytes, len, to = prepare(why)
  C.ipq_stdout_write(to, C.ipq_record_print(p, bytes, len, to))
end

return M
