-- Packets from memory through a filter, in the loop that live packets go through.
local dispatch = require "ipq.engine.dispatch"
local ffi = require "ffi"
local lib = require "spec.support.lib"

local Source = {}
Source.__index = Source

local M = {}

--- A source of the messages (strings), with a batch of its own: n batches of #messages, or of the sizes
--- given, in turn.
function M.new(messages)
  local pointer = ffi.new "struct ipq_batch *[1]"
  assert(lib.C.ipq_batch_new(pointer, ffi.C.IPQ_BATCH_MAX, 66000) == 0)
  local c = lib.C.spec_source_new()
  for _, message in ipairs(messages) do
    assert(lib.C.spec_source_add(c, message, #message) == 0)
  end
  local driver = ffi.new "struct ipq_driver"
  driver.source = ffi.cast("struct ipq_source *", c)
  driver.batch = pointer[0]
  return setmetatable({ c = c, driver = driver, batch = pointer[0], count = #messages }, Source)
end

--- What comes next: batches of the sizes in turn.
function Source:plan(sizes, batches)
  lib.C.spec_source_plan(self.c, ffi.new("uint32_t[?]", #sizes, sizes), #sizes, batches or #sizes)
  return self
end

--- The function that judges what is planned.
function Source:judge(filter) return dispatch.new(self.driver, filter) end

--- One batch of all messages through the filter; gives the verdicts.
function Source:verdicts(filter)
  assert(self:plan({ self.count }):judge(filter)() == 0)
  local result = {}
  for i = 0, self.count - 1 do result[#result + 1] = self.batch.packets[i].verdict end
  return result
end

--- The held packets that have had their verdict, in its order, as struct ipq_packet of that time.
function Source:committed_held_packets()
  local result = {}
  for i = 0, tonumber(lib.C.spec_source_committed_held(self.c)) - 1 do
    result[#result + 1] = lib.C.spec_source_committed_held_packet(self.c, i)
  end
  return result
end

--- The same as { id, verdict } each.
function Source:committed_held()
  local result = {}
  for i, p in ipairs(self:committed_held_packets()) do result[i] = { p.packet_id, p.verdict } end
  return result
end

return M
