-- What a queue looks at before it asks the kernel, which takes neither root nor NFQUEUE.
local ffi = require "ffi"
local lib = require "spec.support.lib"
local netns = require "spec.support.netns"

local C, E = lib.C, ffi.C
local ERANGE, LEAST_BUFFER, MOST_BUFFER = 34, 8 * 2 ^ 20, 2 ^ 30 - 1

local function options(fields)
  local result = ffi.new "struct ipq_queue_options"
  C.ipq_queue_defaults(result)
  for name, value in pairs(fields) do result[name] = value end
  return result
end

describe("ipq_queue_bind", function()
  it("refuses options that are out of range", function()
    if netns.lacks "netlink sockets" then return pending(netns.lacks "netlink sockets") end
    local pointer = ffi.new "struct ipq_queue *[1]"
    assert.equal(0, C.ipq_queue_new(pointer, 65000))
    for _, fields in ipairs { { copy_mode = 0 }, { copy_mode = 3 }, { copy_range = 0 }, { maxlen = 0 },
      { rcvbuf = MOST_BUFFER + 1 } } do
      assert.equal(-ERANGE, C.ipq_queue_bind(pointer[0], options(fields)))
    end
    C.ipq_queue_close(pointer[0])
  end)
end)

describe("a queue's memory", function()
  it("is for all that may wait, from 8 MB to what a socket's option can say", function()
    local function bytes(fields) return C.ipq_queue_rcvbuf(options(fields)) end
    assert.equal(LEAST_BUFFER, bytes { maxlen = 1 })
    assert.equal(1000 * (C.ipq_queue_slot_size(options {}) + 2048), bytes { maxlen = 1000 })
    assert.equal(MOST_BUFFER, bytes { maxlen = 20000 })
    assert.equal(MOST_BUFFER, bytes { maxlen = 0xffffffff })
    assert.equal(4096, bytes { maxlen = 20000, rcvbuf = 4096 })
  end)

  it("has room for a packet as long as is copied of it, in slots of an odd number of cache lines", function()
    for _, range in ipairs { 1, 63, 64, 65, 128, 1500, 65531, 0xffffffff } do
      local size = C.ipq_queue_slot_size(options { copy_range = range })
      assert.is_true(size >= 4096 + math.min(range, E.IPQ_PAYLOAD_MAX))
      assert.equal(1, size / 64 % 2)
    end
    assert.equal(C.ipq_queue_slot_size(options { copy_range = 1 }),
      C.ipq_queue_slot_size(options { copy_mode = 1, copy_range = 65531 }))
  end)
end)
