local ffi = require "ffi"
local bit = require "bit"
local batch = require "spec.support.batch"
local lib = require "spec.support.lib"
local m = require "spec.support.message"
local verdict = require "ipq.verdict"

local C, errno, E = lib.C, lib.errno, ffi.C
local VERDICT, BATCH = 0x0301, 0x0303 -- NFQNL_MSG_VERDICT, NFQNL_MSG_VERDICT_BATCH
local LIMIT = 131072

local function u16(s, at) return s:byte(at + 1) * 256 + s:byte(at + 2) end
local function u32(s, at) return u16(s, at) * 65536 + u16(s, at + 2) end
local function host32(s, at) return tonumber(ffi.cast("uint32_t *", ffi.cast("const char *", s) + at)[0]) end
local function host16(s, at) return tonumber(ffi.cast("uint16_t *", ffi.cast("const char *", s) + at)[0]) end

-- The messages of a buffer, decoded by a reader of its own.
local function decode(buffer)
  local parts = {}
  for i = 0, tonumber(buffer.iovlen) - 1 do
    parts[#parts + 1] = ffi.string(buffer.iov[i].iov_base, buffer.iov[i].iov_len)
  end
  local bytes, messages, at = table.concat(parts), {}, 0
  assert.equal(tonumber(buffer.total), #bytes)
  while at < #bytes do
    local length = host32(bytes, at)
    assert.equal(0, length % 4)
    assert.equal(1, host16(bytes, at + 6)) -- NLM_F_REQUEST, no ACK
    local message = { type = host16(bytes, at + 4), queue_num = u16(bytes, at + 18) }
    local a = at + 20
    while a < at + length do
      local size, kind = host16(bytes, a), host16(bytes, a + 2)
      if kind == 2 then
        message.verdict, message.id = u32(bytes, a + 4), u32(bytes, a + 8)
      elseif kind == m.MARK then message.mark = u32(bytes, a + 4)
      elseif kind == m.PRIORITY then message.priority = u32(bytes, a + 4)
      elseif kind == m.PAYLOAD then message.payload = bytes:sub(a + 5, a + size)
      end
      a = a + size + (-size % 4)
    end
    messages[#messages + 1] = message
    at = at + length
  end
  assert.equal(#messages, buffer.messages)
  return messages
end

-- A batch of packets with ids 1, 2, 3 … and these verdicts.
local function with(verdicts)
  local messages = {}
  for i = 1, #verdicts do messages[i] = m.simple(i, "payload", nil) end
  local b = batch.new(messages)
  for i, v in ipairs(verdicts) do b.packets[i - 1].verdict = v end
  return b
end

local function encode(b, options)
  options = options or {}
  local buffer = ffi.new "struct ipq_verdict_buffer"
  local ret = C.ipq_verdict_encode(buffer, b, options.next or 0, options.limit or LIMIT)
  return ret, ret >= 0 and decode(buffer), buffer
end

local A, D = verdict.ACCEPT, verdict.DROP

describe("ipq_verdict_encode", function()
  it("merges a run of equal verdicts into one batch verdict", function()
    local ret, messages = encode(with { A, A, A })
    assert.equal(3, ret)
    assert.same({ { type = BATCH, queue_num = 0, verdict = A, id = 3 } }, messages)
  end)

  it("settles a packet that stands alone by its own id", function()
    local _, messages = encode(with { A, A, D, A, D, D })
    assert.same({
      { type = BATCH, queue_num = 0, verdict = A, id = 2 },
      { type = VERDICT, queue_num = 0, verdict = D, id = 3 },
      { type = VERDICT, queue_num = 0, verdict = A, id = 4 },
      { type = BATCH, queue_num = 0, verdict = D, id = 6 },
    }, messages)
  end)

  it("merges nothing where packets may wait that nobody knows of", function()
    for _, unknown in ipairs { E.IPQ_UNKNOWN_HANDLED, E.IPQ_UNKNOWN_LEFT } do
      local b = with { A, A, A }
      b.unknown = unknown
      local _, messages = encode(b)
      assert.equal(3, #messages)
      for i, message in ipairs(messages) do
        assert.same({ type = VERDICT, queue_num = 0, verdict = A, id = i }, message)
      end
    end
  end)

  it("merges equal marks and priorities, and only those", function()
    local b = with { A, A, A, A }
    for i, mark in ipairs { 7, 7, 8, 8 } do
      b.packets[i - 1].set, b.packets[i - 1].mark = E.IPQ_SET_MARK, mark
    end
    b.packets[3].set, b.packets[3].priority = E.IPQ_SET_MARK + E.IPQ_SET_PRIORITY, 5
    local _, messages = encode(b)
    assert.same({
      { type = BATCH, queue_num = 0, verdict = A, id = 2, mark = 7 },
      { type = VERDICT, queue_num = 0, verdict = A, id = 3, mark = 8 },
      { type = VERDICT, queue_num = 0, verdict = A, id = 4, mark = 8, priority = 5 },
    }, messages)
  end)

  it("leaves held packets out, and merges nothing while one is held, of this batch or of one before", function()
    local b = with { A, A, A, A }
    assert.equal(0, C.ipq_batch_hold(b, b.packets + 1))
    local ret, messages = encode(b)
    assert.equal(4, ret)
    assert.same({
      { type = VERDICT, queue_num = 0, verdict = A, id = 1 },
      { type = VERDICT, queue_num = 0, verdict = A, id = 3 },
      { type = VERDICT, queue_num = 0, verdict = A, id = 4 },
    }, messages)
    batch.fill(b, { m.simple(5, "payload"), m.simple(6, "payload") })
    ret, messages = encode(b)
    assert.same({ 2, 2 }, { ret, #messages })
    b.packets[0].packet_id, b.packets[0].held = 2, 1
    C.ipq_batch_release(b, b.packets)
    batch.fill(b, { m.simple(5, "payload"), m.simple(6, "payload") })
    ret, messages = encode(b)
    assert.same({ 2, 1 }, { ret, #messages })
  end)

  it("does not merge over a packet that was held and has its verdict", function()
    local b = with { A, A, A }
    b.packets[1].held = 1
    local _, messages = encode(b)
    assert.same({ { type = VERDICT, queue_num = 0, verdict = A, id = 1 },
      { type = VERDICT, queue_num = 0, verdict = A, id = 3 } }, messages)
  end)

  it("encodes nothing where all are held", function()
    local b = with { A, A }
    for i = 0, 1 do C.ipq_batch_hold(b, b.packets + i) end
    local ret, messages = encode(b)
    assert.equal(2, ret)
    assert.same({}, messages)
  end)

  it("does not set a mark that was only read", function()
    local b = with { A, A }
    b.packets[0].mark, b.packets[1].mark = 1, 2
    local _, messages = encode(b)
    assert.same({ { type = BATCH, queue_num = 0, verdict = A, id = 2 } }, messages)
  end)

  it("keeps all 32 bits of a verdict", function()
    local _, messages = encode(with { verdict.queue(65535, true) })
    assert.equal(0xffff8003, messages[1].verdict)
  end)

  it("sends changed payloads of every length, each in a message of its own", function()
    local b = with { A, A, A, A, A, A }
    for i = 0, 4 do
      b.packets[i].set = E.IPQ_SET_PAYLOAD
      b.packets[i].data_len = i
    end
    local ret, messages = encode(b)
    assert.equal(6, ret)
    for i = 0, 4 do
      assert.same({ VERDICT, i + 1, ("payload"):sub(1, i) },
        { messages[i + 1].type, messages[i + 1].id, messages[i + 1].payload })
    end
    assert.is_nil(messages[6].payload)
  end)

  it("points to payloads and copies none", function()
    local b = with { A }
    b.packets[0].set = E.IPQ_SET_PAYLOAD
    local _, _, buffer = encode(b)
    assert.equal(b.packets[0].data, ffi.cast("uint8_t *", buffer.iov[1].iov_base))
  end)

  it("takes the largest payload that nla_len can tell, and refuses the next", function()
    local b = batch.new { m.simple(1, ("x"):rep(65531)) }
    b.packets[0].set = E.IPQ_SET_PAYLOAD
    local _, messages = encode(b)
    assert.equal(65531, #messages[1].payload)
    b.packets[0].data_len = 65532
    assert.equal(-errno.EMSGSIZE, (encode(b)))
  end)

  it("stops before the limit, and goes on from there", function()
    local messages = {}
    for i = 1, 10 do messages[i] = m.simple(i, ("x"):rep(1000)) end
    local b = batch.new(messages)
    for i = 0, 9 do b.packets[i].set = E.IPQ_SET_PAYLOAD end
    local next, calls, ids = 0, 0, {}
    while next < b.count do
      local ret, sent, buffer = encode(b, { next = next, limit = 3500 })
      assert.is_true(tonumber(buffer.total) <= 3500)
      for _, message in ipairs(sent) do ids[#ids + 1] = message.id end
      next, calls = ret, calls + 1
    end
    assert.equal(4, calls)
    assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, ids)
  end)

  it("sends one message that is longer than the limit by itself", function()
    local b = batch.new { m.simple(1, ("x"):rep(500)), m.simple(2, "y") }
    b.packets[0].set = E.IPQ_SET_PAYLOAD
    assert.equal(1, (encode(b, { limit = 100 })))
  end)

  it("has room for a full batch of changed packets with marks and priorities", function()
    local messages = {}
    for i = 1, 64 do messages[i] = m.simple(i, "123") end
    local b = batch.new(messages)
    for i = 0, 63 do
      b.packets[i].set = E.IPQ_SET_PAYLOAD + E.IPQ_SET_MARK + E.IPQ_SET_PRIORITY
      b.packets[i].mark = i
    end
    local ret, sent = encode(b)
    assert.equal(64, ret)
    assert.same({ 64, 63, "123" }, { sent[64].id, sent[64].mark, sent[64].payload })
  end)

  it("refuses what the kernel refuses, and encodes what came before", function()
    for _, bad in ipairs { 2, 6, 255, 0x10001, 0x8001, 0x4003 } do
      assert.equal(-errno.EINVAL, (encode(with { bad })))
      assert.equal(1, (encode(with { A, bad })))
    end
  end)
end)

describe("ipq_batch", function()
  it("gives each packet the default verdict", function()
    local b = batch.new {}
    b.default_verdict = D
    batch.fill(b, { m.simple(1, "a"), m.simple(2, "b") })
    assert.same({ D, D }, { b.packets[0].verdict, b.packets[1].verdict })
  end)

  it("gives the error verdict to those from the current one on", function()
    local b = with { A, A, A }
    b.current = 1
    b.packets[1].set = E.IPQ_SET_MARK
    C.ipq_batch_fail_rest(b)
    assert.same({ A, D, D }, { b.packets[0].verdict, b.packets[1].verdict, b.packets[2].verdict })
    assert.equal(0, b.packets[1].set)
    assert.equal(2, tonumber(b.counters.errors))
  end)

  it("counts what became of its packets", function()
    local b = with { A, D, A, verdict.REPEAT, verdict.STOP, verdict.queue(1) }
    b.packets[0].set = E.IPQ_SET_MARK
    C.ipq_batch_tally(b)
    local c = b.counters
    assert.same({ 1, 6, 42, 2, 1, 1, 1, 1, 1 }, { tonumber(c.batches), tonumber(c.packets),
      tonumber(c.bytes), tonumber(c.accepted), tonumber(c.dropped), tonumber(c.repeated),
      tonumber(c.stopped), tonumber(c.queued), tonumber(c.marked) })
  end)

  it("counts no held packet, and forgets that it was held with the next batch", function()
    local b = with { A, D, A }
    C.ipq_batch_hold(b, b.packets + 1)
    C.ipq_batch_tally(b)
    assert.same({ 1, 2, 14, 2, 0 }, { tonumber(b.counters.batches), tonumber(b.counters.packets),
      tonumber(b.counters.bytes), tonumber(b.counters.accepted), tonumber(b.counters.dropped) })
    batch.fill(b, { m.simple(4, "payload"), m.simple(5, "payload") })
    assert.equal(0, b.packets[1].held)
    assert.equal(1, b.held_count)
  end)

  it("keeps the ids of held packets, equal and colliding ones too, until they are released", function()
    local b = with { A, A, A, A }
    for i, id in ipairs { 4095, 8191, 0xffffffff, 8191 } do
      b.packets[i - 1].packet_id = id
      assert.equal(0, C.ipq_batch_hold(b, b.packets + i - 1))
    end
    local function ids()
      local list = {}
      for i = 0, E.IPQ_HELD_MAX - 1 do
        if b.held[i] ~= 0 then list[#list + 1] = tonumber(b.held[i]) - 1 end
      end
      table.sort(list)
      return list
    end
    assert.same({ 4095, 8191, 8191, 0xffffffff }, ids())
    C.ipq_batch_release(b, b.packets + 1)
    C.ipq_batch_release(b, b.packets + 1)
    assert.same({ 4095, 8191, 0xffffffff }, ids())
    C.ipq_batch_release(b, b.packets + 0)
    C.ipq_batch_release(b, b.packets + 2)
    assert.same({ 8191 }, ids())
    assert.equal(1, b.held_count)
  end)

  it("lets half of the queue be held, and 4096 at most", function()
    local b = with { A }
    assert.equal(512, b.held_limit)
    for maxlen, limit in pairs { [1] = 0, [2] = 1, [1000] = 500, [8192] = 4096, [0xffffffff] = 4096 } do
      C.ipq_batch_limit_held(b, maxlen)
      assert.equal(limit, b.held_limit)
    end
    C.ipq_batch_limit_held(b, 0xffffffff)
    for i = 1, 4096 do
      b.packets[0].packet_id = i * 7
      assert.equal(0, C.ipq_batch_hold(b, b.packets))
    end
    assert.equal(-errno.ENOSPC, C.ipq_batch_hold(b, b.packets))
    b = with { A }
    C.ipq_batch_limit_held(b, 0)
    assert.equal(-errno.ENOSPC, C.ipq_batch_hold(b, b.packets))
    assert.equal(0, b.packets[0].held)
  end)

  it("does not leave a packet held that it fails", function()
    local b = with { A, A }
    C.ipq_batch_hold(b, b.packets + 0)
    C.ipq_batch_hold(b, b.packets + 1)
    b.current = 1
    C.ipq_batch_fail_rest(b)
    assert.same({ 1, 1, 0, D }, { b.held_count, b.packets[0].held, b.packets[1].held, b.packets[1].verdict })
  end)

  it("refuses a capacity or a slot that cannot be", function()
    local pointer = ffi.new "struct ipq_batch *[1]"
    for _, pair in ipairs { { 0, 100 }, { 65, 100 }, { 1, 0 } } do
      assert.equal(-errno.EINVAL, C.ipq_batch_new(pointer, pair[1], pair[2]))
    end
    C.ipq_batch_free(nil)
  end)
end)

describe("ipq.verdict", function()
  it("agrees with C on every low half and some high ones, but for rejects, which the kernel is never given", function()
    local read = ffi.new "uint32_t[2]"
    for _, high in ipairs { 0, 1, 0x7fff, 0x8000, 0xffff } do
      for low = 0, 0xffff do
        local v = high * 65536 + low
        local is_reject = v >= 0x101 and v <= 0x107
        assert(is_reject == (verdict.reject_of(v) ~= nil))
        if (C.ipq_verdict_valid(v) or is_reject) ~= verdict.is_valid(v) then
          error(("verdict 0x%x: C says %s"):format(v, tostring(C.ipq_verdict_valid(v))))
        end
        if (C.ipq_verdict_read(v, read, read + 1) == 0) ~= verdict.is_valid(v) then
          error(("verdict 0x%x: C reads it otherwise"):format(v))
        end
      end
    end
  end)

  it("is the kernel's, and what the sender is told beside it", function()
    local read = ffi.new "uint32_t[2]"
    for v, expected in pairs { [verdict.ACCEPT] = { 1, 0 }, [verdict.DROP] = { 0, 0 }, [verdict.REJECT] = { 0, 1 },
      [verdict.reject "admin-prohibited"] = { 0, 7 }, [verdict.queue(3, true)] = { verdict.queue(3, true), 0 } } do
      assert.equal(0, C.ipq_verdict_read(v, read, read + 1))
      assert.same(expected, { read[0], read[1] })
    end
    read[0], read[1] = 5, 6
    for _, v in ipairs { 2, 0x100, 0x108, 0x10101 } do
      assert.equal(-errno.EINVAL, C.ipq_verdict_read(v, read, read + 1))
    end
    assert.same({ 5, 6 }, { read[0], read[1] })
  end)

  it("makes verdicts that reject, in nft's words", function()
    assert.equal(verdict.REJECT, 0x101)
    local words = { "tcp-reset", "port-unreachable", "host-unreachable", "net-unreachable", "no-route",
      "admin-prohibited" }
    for i, word in ipairs(words) do
      assert.equal(0x101 + i, verdict.reject(word))
      assert.equal("reject " .. word, verdict.name(verdict.reject(word)))
      assert.is_true(verdict.is_reject_name("reject " .. word))
    end
    assert.equal("reject", verdict.name(verdict.REJECT))
    assert.is_false(verdict.is_reject_name "reject x")
    assert.is_false(verdict.is_reject_name(5))
    assert.has_error(function() verdict.reject "admin-prohibitted" end,
      "ipq.reject() has no 'admin-prohibitted'; did you mean 'admin-prohibited'?")
    assert.has_error(function() verdict.reject() end)
  end)

  it("makes queue verdicts", function()
    assert.equal(3, verdict.queue(0))
    assert.equal(0x00070003, verdict.queue(7))
    assert.equal(0x00078003, verdict.queue(7, true))
    assert.equal(0xffff8003, verdict.queue(65535, true))
  end)

  it("raises for a queue that cannot be", function()
    for _, n in ipairs { -1, 65536, 1.5, 0 / 0, "1", true } do
      assert.error_matches(function() verdict.queue(n) end, "queue number must be an integer")
    end
    assert.error_matches(function() verdict.queue() end, "queue number must be an integer")
  end)

  it("refuses everything that is no verdict", function()
    for _, v in ipairs { "drop", true, false, {}, 2, 6, -1, 1.5, 0 / 0, math.huge, 2 ^ 32 + 3,
      function() end } do
      assert.is_false(verdict.is_valid(v))
    end
    assert.is_false(verdict.is_valid(nil))
  end)

  it("names them", function()
    assert.equal("accept", verdict.name(A))
    assert.equal("queue 65535 bypass", verdict.name(verdict.queue(65535, true)))
    assert.equal("queue 3", verdict.name(verdict.queue(3)))
    assert.truthy(bit)
  end)
end)

describe("a batch verdict", function()
  it("is for neighbours of one priority, and not for those of another", function()
    local b = with { A, A, A, A }
    for i, priority in ipairs { 5, 5, 6, 0 } do
      b.packets[i - 1].set, b.packets[i - 1].priority = E.IPQ_SET_PRIORITY, priority
    end
    local _, messages = encode(b)
    assert.same({
      { type = BATCH, queue_num = 0, verdict = A, id = 2, priority = 5 },
      { type = VERDICT, queue_num = 0, verdict = A, id = 3, priority = 6 },
      { type = VERDICT, queue_num = 0, verdict = A, id = 4, priority = 0 },
    }, messages)
  end)
end)
