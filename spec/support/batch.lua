-- A batch in memory, filled from netlink messages through the parser that live packets go through.
local ffi = require "ffi"
local lib = require "spec.support.lib"

local M = {}
local SLOT = 70000

--- A batch of the messages (strings). It lives until the Lua state ends.
function M.new(messages)
  local pointer = ffi.new "struct ipq_batch *[1]"
  assert(lib.C.ipq_batch_new(pointer, ffi.C.IPQ_BATCH_MAX, SLOT) == 0)
  M.fill(pointer[0], messages)
  return pointer[0]
end

function M.fill(batch, messages)
  lib.C.ipq_batch_clear(batch)
  for i, message in ipairs(messages) do
    local slot = batch.slots + (i - 1) * SLOT
    ffi.copy(slot, message, #message)
    local packet = lib.C.ipq_batch_add(batch)
    assert(lib.C.ipq_attr_parse(packet, slot, #message) == 0)
  end
end

return M
