--- What became of each packet: as a table, and as a line of JSON.
local bit = require "bit"
local ffi = require "ffi"
local encode = require "ipq.json".encode
local verdict = require "ipq.verdict"
-- A script may overwrite globals.
local concat, ipairs, tonumber, tostring = table.concat, ipairs, tonumber, tostring

local M = {}

-- A record's fields in the order in which they are written.
local names = { "number", "time", "verdict", "mark", "changed", "packet", "error" }

--- The record of a packet that was judged (see dispatch.lua for what it is of).
function M.of(p, pkt, why)
  return {
    number = p.packet_id,
    -- As text, which has all six digits of the microseconds.
    time = ("%d.%06d"):format(tonumber(p.timestamp_sec), tonumber(p.timestamp_usec)),
    verdict = verdict.name(p.verdict),
    mark = p.mark,
    changed = bit.band(p.set, ffi.C.IPQ_SET_PAYLOAD) ~= 0,
    packet = tostring(pkt),
    error = why,
  }
end

--- A record as a line of JSON, its fields always in the same order.
---@param record table
---@return string
function M.line(record)
  local members = {}
  for _, name in ipairs(names) do
    if record[name] ~= nil then members[#members + 1] = ("%q:%s"):format(name, encode(record[name])) end
  end
  return "{" .. concat(members, ",") .. "}\n"
end

--- The observer (see dispatch.lua) that hands lines to write.
---@param write fun(line: string)
function M.new(write)
  return function(p, pkt, why) write(M.line(M.of(p, pkt, why))) end
end

return M
