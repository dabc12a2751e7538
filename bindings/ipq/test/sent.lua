--- What a filter has sent, against what a spec expects: assert.sent.
local buffer = require "ipq.test.buffer"
local misuse = require "ipq.build.misuse"
local packet = require "ipq.test.packet"
local text = require "ipq.test.text"

local M = {}

local bad = misuse.bad

local function is_equal(got, expected)
  if buffer.is_buffer(got) and type(expected) == "string" then return tostring(got) == expected end
  return got == expected
end

--- How the fields of a packet, or of a header of it, are not those; nil where they are.
local function difference(where, got, fields)
  for name, expected in pairs(fields) do
    local value = got[name]
    if type(expected) == "table" and not packet.is_packet(expected) then
      if value == nil then return ("it has no %s%s"):format(where, name) end
      local inner = difference(where .. name .. ".", value, expected)
      if inner then return inner end
    elseif not is_equal(value, expected) then
      return ("its %s%s is %s, not %s"):format(where, name, tostring(value), tostring(expected))
    end
  end
end

local function mismatch(got, expected)
  if packet.is_packet(expected) then
    if got.bytes ~= expected.bytes then return "it has other bytes:\n" .. text.compare(expected, got) end
  elseif type(expected) == "table" then
    return (difference("", got, expected))
  else
    bad "assert.sent takes packets, or tables of their fields, behind a filter and a packet"
  end
end

local function listed(sent)
  local lines = {}
  for i, pkt in ipairs(sent) do lines[i] = ("\n  %d  %s"):format(i, tostring(pkt)) end
  return #lines == 0 and " nothing" or table.concat(lines)
end

--- Whether a result's filter has sent these packets, each given as a packet or as the fields that it has; without any,
--- whether it has sent something.
---@param result ipq.test.Result
---@param expected (ipq.test.Packet|table)[]
---@return boolean holds
---@return string text_if_not
---@return string text_if
function M.check(result, expected)
  local sent = result.sent
  local what = "\nthe filter sent" .. listed(sent)
  if result.error then return false, "the filter raised: " .. result.error, "" end
  if #expected == 0 then
    return #sent > 0, "expected that something is sent", "expected that nothing is sent" .. what
  end
  local text_if = "expected other packets" .. what
  if #sent ~= #expected then
    return false, ("expected that %d packets are sent"):format(#expected) .. what, text_if
  end
  for i, each in ipairs(expected) do
    local why = mismatch(sent[i], each)
    if why then return false, ("packet %d that was sent: %s"):format(i, why) .. what, text_if end
  end
  return true, "", text_if
end

return M
