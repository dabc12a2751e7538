-- A flow table in memory of its own, and packets for it.
local bit = require "bit"
local core = require "ipq.core"
local ffi = require "ffi"
local lib = require "spec.support.lib"

local C, E = lib.C, ffi.C

if not core.spec_flows_declared then
  ffi.cdef "void *aligned_alloc(size_t alignment, size_t size); void free(void *memory);"
  core.spec_flows_declared = true
end

local M = { C = C }
local methods = {}
local mt = { __index = methods }

--- A key for the hash.
M.key = ("0123456789abcdefghij_"):rep(5):sub(1, E.IPQ_FLOW_KEY_SIZE)

--- size bytes at a multiple of 128, that end where they end.
function M.memory(size) return ffi.gc(ffi.cast("char *", E.aligned_alloc(128, size)), E.free) end

--- An empty table for so many flows. key: another one than M.key.
function M.new(entries, key)
  local size = tonumber(C.ipq_flows_size(entries))
  local self = setmetatable({ size = size, memory = M.memory(size), us = 1e12 }, mt)
  ffi.fill(self.memory, size, 0xa5)
  assert(C.ipq_flows_init(self.memory, size, entries, key or M.key) == 0)
  assert(self:attach() == 0)
  return self
end

--- Attaches anew; gives what ipq_flows_attach() does.
function methods:attach()
  self.flows = ffi.new "struct ipq_flows"
  return C.ipq_flows_attach(self.memory, self.size, self.flows)
end

--- The packet of these bytes. o: hook, len, skb_info.
function M.packet(bytes, o)
  o = o or {}
  local memory = ffi.new("uint8_t[?]", #bytes + 1)
  ffi.copy(memory, bytes, #bytes)
  local packet = ffi.new "struct ipq_packet"
  packet.data, packet.data_len, packet.len = memory, #bytes, o.len or #bytes
  packet.family = #bytes > 0 and bytes:byte(1) >= 0x60 and 10 or 2
  packet.hook = o.hook or 0
  return packet, memory
end

--- Hands a packet to the table: its flow or nil, and the packet. o: see M.packet(); after: ms since the one before.
function methods:see(bytes, o)
  self.us = self.us + (o and o.after or 0) * 1000
  local packet, memory = M.packet(bytes, o)
  local flow = C.ipq_flows_packet(self.flows, packet, self.us)
  self.anchor = memory
  return flow ~= nil and flow or nil, packet
end

--- The flows that have ended since the last call: { number, reason, flow (a copy) }.
function methods:ended()
  local list = {}
  while true do
    local ended = C.ipq_flows_ended(self.flows)
    if ended == nil then return list end
    local word = C.ipq_flow_reason_word(ended.reason)
    list[#list + 1] = { tonumber(ended.number), word ~= nil and ffi.string(word) or "none",
      ffi.new("struct ipq_flow", ended.flow) }
    C.ipq_flows_ended_taken(self.flows)
  end
end

--- Looks at all records after so many ms.
function methods:sweep(ms)
  self.us = self.us + ms * 1000
  return C.ipq_flows_sweep(self.flows, self.us, C.ipq_flows_used(self.flows))
end

function methods:count() return C.ipq_flows_count(self.flows) end

--- The port that its first packet came from.
function M.sport(flow) return flow.key.ports[bit.band(flow.bits, E.IPQ_FLOW_ORIGIN)] end

function M.state(flow) return ffi.string(C.ipq_flow_state_word(flow.state)) end

--- packets and bytes of both directions: 1, 40, 0, 0.
function M.counters(flow)
  return C.ipq_flow_packets(flow, 0), flow.bytes[0], C.ipq_flow_packets(flow, 1), flow.bytes[1]
end

return M
