-- What a dead process has left in its batch: it is put right, and its packets get their verdicts.
local batch = require "spec.support.batch"
local ffi = require "ffi"
local lib = require "spec.support.lib"
local m = require "spec.support.message"
local source = require "spec.support.source"
local verdict = require "ipq.verdict"

local C, E = lib.C, ffi.C
local D, STOP = verdict.DROP, verdict.STOP

local function three() return batch.new { m.simple(1, "one"), m.simple(2, "two"), m.simple(3, "three") } end

-- A copy, as whoever made the batch has it.
local function copy(b)
  local made = ffi.new "struct ipq_batch"
  ffi.copy(made, b, ffi.sizeof(made))
  return made
end

describe("ipq_batch_repair", function()
  it("brings count within the capacity, and current within count", function()
    for _, case in ipairs { { 3, 2, 3, 2 }, { 64, 64, 64, 64 }, { 65, 1, 64, 1 }, { 3, 4, 3, 3 },
      { 0xffffffff, 0xffffffff, 64, 64 }, { 0, 1, 0, 0 } } do
      local b = three()
      local made = copy(b)
      b.count, b.current = case[1], case[2]
      C.ipq_batch_repair(b, made)
      assert.same({ case[3], case[4] }, { b.count, b.current })
    end
  end)

  it("puts places, sizes and settings right, and keeps what was counted", function()
    local b = three()
    local made = copy(b)
    b.counters.packets = 9
    for _, field in ipairs { "packets", "slots", "spares", "held", "filter_ns", "script_counters" } do
      b[field] = nil
    end
    for _, field in ipairs { "capacity", "slot_size", "default_verdict", "error_verdict", "held_limit", "timed_each",
      "wake_ns" } do
      b[field] = 0x41
    end
    C.ipq_batch_repair(b, made)
    for _, field in ipairs { "packets", "slots", "spares", "held", "filter_ns", "script_counters", "capacity",
      "slot_size", "default_verdict", "error_verdict", "held_limit", "timed_each", "wake_ns" } do
      assert(b[field] == made[field], field)
    end
    assert.equal(9, tonumber(b.counters.packets))
  end)

  it("gives each packet its spare memory again, and counts the held ids", function()
    local b = three()
    local made = copy(b)
    b.packets[2].spare, b.packets[63].spare = b.slots, nil
    b.held[0], b.held[7], b.held[E.IPQ_HELD_MAX - 1] = 1, 8, 4096
    b.held_count = 77
    C.ipq_batch_repair(b, made)
    for i = 0, 63 do assert(b.packets[i].spare == b.spares + i * E.IPQ_PACKET_MAX) end
    assert.equal(3, b.held_count)
  end)
end)

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

  local function counts(b)
    local c = b.counters
    return { tonumber(c.packets), tonumber(c.accepted), tonumber(c.dropped), tonumber(c.stopped), tonumber(c.errors),
      tonumber(c.settled), tonumber(b.unanswered) }
  end

  local function settle(src) return C.ipq_settle(src.driver.source, src.batch, src.batch[0]) end

  -- A message of the kernel's that nobody has looked at.
  local function lay(b, slot, message) ffi.copy(b.slots + slot * b.slot_size, message, #message) end

  it("gives what was judged its verdict, and the error verdict to the packet at which it died", function()
    local src, b = left()
    assert.equal(3, settle(src))
    assert.same({ 3, 1, 1, 1, 1, 3, 3 }, counts(b))
    assert.same({ 0, 0 }, { b.count, b.current })
  end)

  it("gives the error verdict where a verdict, or bytes, cannot be", function()
    local src, b = left()
    b.packets[0].verdict = 6
    b.packets[1].set, b.packets[1].data = E.IPQ_SET_PAYLOAD, b.slots - 1
    assert.equal(3, settle(src))
    assert.same({ 3, 0, 0, 3, 3, 3, 3 }, counts(b))
    assert.equal(1, b.unknown)
  end)

  it("judges what lies in slots alone once, however often it lies there", function()
    local src, b = left()
    lay(b, 5, m.simple(9, "nine"))
    lay(b, 40, m.simple(9, "nine"))
    lay(b, 63, m.simple(2, "two"))
    assert.equal(4, settle(src))
    assert.same({ 4, 1, 1, 2, 2, 4, 4 }, counts(b))
  end)

  it("leaves no message in a slot for whoever dies next", function()
    local src, b = left()
    for i = 0, 63 do lay(b, i, m.simple(100 + i, "x")) end
    assert.equal(67, settle(src))
    assert.equal(0, settle(src))
  end)
end)
