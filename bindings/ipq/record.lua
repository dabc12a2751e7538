--- What became of each packet, as a line of JSON.
local bit = require "bit"
local ffi = require "ffi"
local verdict = require "ipq.verdict"

local M = {}

--- The observer (see dispatch.lua) that hands lines to write.
---@param write fun(line: string)
function M.new(write)
  local cjson = require "cjson"
  return function(p, pkt, why)
    write(cjson.encode {
      number = p.packet_id,
      -- As text: cjson writes 14 digits of a number, and microseconds need 16.
      time = ("%d.%06d"):format(tonumber(p.timestamp_sec), tonumber(p.timestamp_usec)),
      verdict = verdict.name(p.verdict),
      mark = p.mark,
      changed = bit.band(p.set, ffi.C.IPQ_SET_PAYLOAD) ~= 0,
      packet = tostring(pkt),
      error = why,
    } .. "\n")
  end
end

return M
