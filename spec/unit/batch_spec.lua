-- What a dead process has left in its batch: its packets get their verdicts.
local batch = require "spec.support.batch"
local ffi = require "ffi"
local lib = require "spec.support.lib"
local m = require "spec.support.message"
local source = require "spec.support.source"
local verdict = require "ipq.verdict"

local C, E = lib.C, ffi.C
local D, STOP = verdict.DROP, verdict.STOP

local function three() return batch.new { m.simple(1, "one"), m.simple(2, "two"), m.simple(3, "three") } end

describe("ipq_batch_holds", function()
  it("has all bytes from the first slot to the end of the last spare, and none beside them", function()
    local b = three()
    local stop = b.spares + b.capacity * E.IPQ_PACKET_MAX
    assert.is_true(C.ipq_batch_holds(b, b.slots, 1))
    assert.is_true(C.ipq_batch_holds(b, b.slots, stop - b.slots))
    assert.is_true(C.ipq_batch_holds(b, stop - 5, 5))
    assert.is_true(C.ipq_batch_holds(b, stop, 0))
    assert.is_false(C.ipq_batch_holds(b, stop - 5, 6))
    assert.is_false(C.ipq_batch_holds(b, stop, 1))
    assert.is_false(C.ipq_batch_holds(b, stop + 1, 0))
    assert.is_false(C.ipq_batch_holds(b, b.slots - 1, 1))
    assert.is_false(C.ipq_batch_holds(b, nil, 0))
  end)
end)

describe("ipq_settle", function()
  -- A batch of the packets 1 to 3, of which two are judged; their messages are out of their slots, as a queue has it.
  local function left()
    local src = source.new { m.simple(1, "one"), m.simple(2, "two"), m.simple(3, "three") }
    assert(C.ipq_driver_next(src:plan({ 3 }).driver) == 3)
    local b = src.batch
    b.error_verdict = STOP
    b.packets[1].verdict = D
    b.current = 2
    for i = 0, 2 do ffi.fill(b.slots + i * b.slot_size, 4) end
    return src, b
  end

  -- The number that it gives, and what it has counted.
  local function settle(src)
    local c = ffi.new "struct ipq_counters"
    local number = C.ipq_settle(src.driver.source, src.batch, src.batch[0], c)
    return number, { tonumber(c.packets), tonumber(c.accepted), tonumber(c.dropped), tonumber(c.stopped),
      tonumber(c.errors), tonumber(c.settled) }
  end

  -- A message of the kernel's that nobody has looked at.
  local function lay(b, slot, message) ffi.copy(b.slots + slot * b.slot_size, message, #message) end

  it("gives what was judged its verdict, and the error verdict to the packet at which it died", function()
    local number, counted = settle((left()))
    assert.equal(3, number)
    assert.same({ 3, 1, 1, 1, 1, 3 }, counted)
  end)

  it("gives the error verdict where a verdict, or bytes, cannot be", function()
    local src, b = left()
    b.packets[0].verdict = 6
    b.packets[1].set, b.packets[1].data = E.IPQ_SET_PAYLOAD, b.slots - 1
    local number, counted = settle(src)
    assert.equal(3, number)
    assert.same({ 3, 0, 0, 3, 3, 3 }, counted)
  end)

  it("judges what lies in slots alone once, however often it lies there", function()
    local src, b = left()
    lay(b, 5, m.simple(9, "nine"))
    lay(b, 40, m.simple(9, "nine"))
    lay(b, 63, m.simple(2, "two"))
    local number, counted = settle(src)
    assert.equal(4, number)
    assert.same({ 4, 1, 1, 2, 2, 4 }, counted)
  end)

  it("looks no further than there were packets, whatever the batch says", function()
    for _, case in ipairs { { 65, 1, 64 }, { 0xffffffff, 0xffffffff, 64 }, { 3, 4, 3 }, { 0, 1, 0 } } do
      local src, b = left()
      b.count, b.current = case[1], case[2]
      assert.equal(case[3], (settle(src)))
    end
  end)
end)
