--- The kit's builders: those of ipq.build, whose packets are the kit's.
local builder = require "ipq.build.builder"
local misuse = require "ipq.build.misuse"
local packet = require "ipq.test.packet"
require "ipq.test.buffer" -- payloads may be the kit's Buffers

local M = {}

local function check(given)
  if type(given) ~= "table" then error("a builder takes a table of fields", 3) end
end

local function made(build, ...)
  local own, meta = build(...)
  return packet.new(own:copy(), meta)
end

--- Metadata may be any that packets come with; data_len cuts the copy, as a copy range does.
for name in pairs(builder.names) do
  M[name] = function(given)
    given = given or {}
    check(given)
    local result = misuse.guard(made, builder.build, name, given, "t.")
    return result
  end
end

function M.arp(given)
  given = given or {}
  check(given)
  local result = misuse.guard(made, builder.arp, given)
  return result
end

return M
