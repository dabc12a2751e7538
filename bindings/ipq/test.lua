--- The test kit: a filter is right before it meets the network. No root, no kernel, no network; packets go
--- through the dispatch and the rewriting that live ones go through.
---
---     local t = require "ipq.test"
---     local filter = t.load "drop_telnet.lua"
---     assert.verdict("drop", filter, t.tcp { dport = 23 })
---
--- In a busted spec the assertions are there once this module is required: assert.verdict(expected, filter,
--- packet), assert.rewritten(expected, filter, packet), assert.unchanged(filter, packet), assert.sent(filter, packet),
--- assert.valid_checksums(packet), assert.golden(file, capture, filter). bindings/types/ipq/test.lua describes
--- them all.
local buffer = require "ipq.test.buffer"
local build = require "ipq.test.build"
local filter = require "ipq.test.filter"
local memory = require "ipq.test.memory"
local misuse = require "ipq.build.misuse"
local packet = require "ipq.test.packet"
local replay = require "ipq.test.replay"
local text = require "ipq.test.text"

local M = {
  load = filter.load,
  run = filter.run,
  replay = replay.replay,
  read = replay.read,
  dns = require "ipq.test.dns".dns,
  fragments = require "ipq.test.fragment".fragments,
  connection = require "ipq.test.connection".connection,
}

for name, builder in pairs(build) do M[name] = builder end

--- A packet of those bytes, taken as they are: for what no builder would make.
---@param bytes string|ipq.Buffer
---@param meta? table<string, any> metadata by the names of fields
---@return ipq.test.Packet
function M.packet(bytes, meta)
  bytes = buffer.text(bytes)
  if type(bytes) ~= "string" or meta ~= nil and type(meta) ~= "table" then
    error("packet() takes a string, and perhaps a table of metadata", 2)
  end
  local result = misuse.guard(packet.new, bytes, meta)
  return result
end

--- A packet's fields and bytes, for people: many lines.
---@param pkt ipq.test.Packet
---@return string
function M.describe(pkt)
  if not packet.is_packet(pkt) then
    error("describe() takes a packet of the kit, as t.tcp {} or a result's packet, not "
      .. (pkt == nil and "nil" or "a " .. type(pkt)), 2)
  end
  return text.describe(pkt)
end

--- Sets what ipq.now() gives in the filters of packets without a timestamp: 0 at first.
---@param seconds number since 1970
function M.set_time(seconds)
  if type(seconds) ~= "number" then error("set_time() takes a number of seconds", 2) end
  memory.time = seconds
end

--- Lets time pass: moves what ipq.now() gives, as set_time() does, and runs the timers that are due meanwhile, of all
--- filters, in the order of their times. Raises where one of them raised, with its error and traceback, when all have
--- run: a spec that expects that says assert.error_matches(function() t.advance(1) end, "what it says").
---@param seconds number
---@return string[] log what was logged meanwhile: "level: text"
---@return table[] events copies of the tables that ipq.event() was given meanwhile
---@return ipq.test.Packet[] sent what was sent meanwhile
function M.advance(seconds)
  if type(seconds) ~= "number" or not (seconds >= 0 and seconds < math.huge) then
    error("advance() takes a number of seconds", 2)
  end
  local lines, events, sent = misuse.guard(memory.advance, seconds)
  return lines, events, filter.packets_of(sent)
end

local has_luassert, luassert = pcall(require, "luassert")
if has_luassert then require "ipq.test.assertions".register(luassert, require "say") end

-- nil would be called, and say less.
return setmetatable(M, { __index = function(_, name) error(("ipq.test has no '%s'"):format(tostring(name)), 2) end })
