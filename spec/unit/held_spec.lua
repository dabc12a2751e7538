-- Packets that a filter holds: from pkt:hold() to held:verdict().
local ffi = require "ffi"
local bit = require "bit"
local ipq = require "ipq"
local lib = require "spec.support.lib"
local log = require "ipq.log"
local m = require "spec.support.message"
local packets = require "spec.support.packet"
local source = require "spec.support.source"

local C, E, errno = lib.C, ffi.C, lib.errno
local A, D = ipq.ACCEPT, ipq.DROP

local function udp(id, payload, more) return m.simple(id, packets.ip(17, packets.udp(payload)), more) end

local function new(n)
  local messages = {}
  for i = 1, n do messages[i] = udp(i, "hello " .. i, m.attr(m.CT, m.attr(12, m.be32(i)))) end
  return source.new(messages)
end

--- What went to the source of held packets.
local function sent(src)
  local result = {}
  for i, p in ipairs(src:committed_held_packets()) do
    result[i] = { id = p.packet_id, verdict = p.verdict, set = p.set, mark = p.mark, priority = p.priority,
      bytes = ffi.string(p.data, p.data_len), present = p.present,
      ct = p.ct ~= nil and ffi.string(p.ct, p.ct_len) or nil,
      has_pointers = p.secctx ~= nil or p.l2hdr ~= nil or p.prefix ~= nil }
  end
  return result
end

describe("pkt:hold()", function()
  local lines, sink
  before_each(function()
    lines, sink = {}, log.sink
    log.sink = function(level, text) lines[#lines + 1] = level .. ": " .. text end
  end)
  after_each(function() log.sink = sink end)

  it("keeps a packet from the verdicts of its batch until its handle gets one", function()
    local src = new(4)
    local held
    local run = src:plan({ 2, 2 }):judge(function(pkt)
      if pkt.packet_id == 1 then held = pkt:hold() return end
      if pkt.packet_id == 4 then
        assert.equal(1, src.batch.held_count)
        assert.equal(2, tonumber(src.batch.held[1])) -- id + 1
        assert.same({}, src:committed_held())
        held:verdict(D)
        assert.same({ { 1, D } }, src:committed_held())
        assert.equal(0, src.batch.held_count)
        assert.equal(4, pkt.packet_id) -- its own packet is live again
      end
    end)
    assert.equal(0, run())
    local counters = src.batch.counters
    assert.same({ 4, 3, 1 }, { tonumber(counters.packets), tonumber(counters.accepted), tonumber(counters.dropped) })
    assert.same({}, lines)
  end)

  it("may be judged from the same batch", function()
    local src = new(3)
    local held
    local run = src:plan({ 3 }):judge(function(pkt)
      if pkt.packet_id == 1 then held = pkt:hold() else if held then held:verdict(D) end held = nil end
    end)
    run()
    assert.same({ { 1, D } }, src:committed_held())
    assert.same({ 3, 2 }, { tonumber(src.batch.counters.packets), tonumber(src.batch.counters.accepted) })
  end)

  it("takes every verdict that a filter may return", function()
    for _, v in ipairs { A, D, ipq.REPEAT, ipq.STOP, ipq.queue(3), ipq.queue(9, true) } do
      local src = new(2)
      local held
      src:plan({ 1, 1 }):judge(function(pkt)
        if pkt.packet_id == 1 then held = pkt:hold() else held:verdict(v) end
      end)()
      assert.same({ { 1, v } }, src:committed_held())
    end
    local src = new(2)
    src.batch.default_verdict = ipq.STOP
    local held
    src:plan({ 1, 1 }):judge(function(pkt)
      if pkt.packet_id == 1 then held = pkt:hold() else held:verdict() end
    end)()
    assert.same({ { 1, ipq.STOP } }, src:committed_held())
  end)

  it("keeps what the filter changed, before and after it, though other packets come to the same place", function()
    local src = new(3)
    local held, ct
    src:plan({ 1, 1, 1 }):judge(function(pkt)
      if pkt.packet_id == 1 then
        pkt.ip.ttl = 9
        ct = ffi.string(src.batch.packets[0].ct, src.batch.packets[0].ct_len)
        src.batch.packets[0].prefix = "as long as its batch"
        held = pkt:hold()
        pkt.mark, pkt.priority = 7, 8
        pkt.udp.payload:replace(0, 5, "good day")
      elseif pkt.packet_id == 3 then
        held:verdict(A)
      end
    end)()
    local seen = sent(src)
    local expected = packets.ip(17, packets.udp "good day 1", { ttl = 9 })
    assert.same({ 1, 1, A, 7, 7, 8 }, { #seen, seen[1].id, seen[1].verdict, seen[1].set, seen[1].mark,
      seen[1].priority })
    assert.equal(#expected, #seen[1].bytes)
    assert.same({ "\9", "good day 1" }, { seen[1].bytes:sub(9, 9), seen[1].bytes:sub(-10) })
    assert.is_true(require "ipq.test".packet(seen[1].bytes).udp.length == 18)
    assert.valid_checksums(require "ipq.test".packet(seen[1].bytes))
    assert.is_false(seen[1].has_pointers)
    assert.is_true(#ct > 0)
    assert.equal(ct, seen[1].ct)
    assert.equal(0, bit.band(seen[1].present, E.IPQ_HAS_L2HDR))
  end)

  it("sends the bytes that come with the verdict, a string's or a Buffer's, complete", function()
    local src = new(3)
    local held = {}
    src:plan({ 2, 1 }):judge(function(pkt)
      if pkt.packet_id < 3 then
        pkt.ip.ttl, pkt.mark = 3, 5
        held[pkt.packet_id] = pkt:hold()
        return
      end
      held[1]:verdict(A, packets.ip(17, packets.udp(("much longer"):rep(100))))
      held[2]:verdict(ipq.STOP, pkt.payload)
    end)()
    local seen = sent(src)
    local t = require "ipq.test"
    local long = t.packet(seen[1].bytes)
    assert.same({ ("much longer"):rep(100), E.IPQ_SET_PAYLOAD + E.IPQ_SET_MARK, 5 }, { long.udp.payload, seen[1].set,
      seen[1].mark })
    assert.valid_checksums(long)
    assert.equal("hello 3", t.packet(seen[2].bytes).udp.payload)
    assert.equal(ipq.STOP, seen[2].verdict)
    assert.same({}, lines)
  end)

  it("does not send the changes of a packet that is dropped", function()
    local src = new(2)
    local held
    src:plan({ 1, 1 }):judge(function(pkt)
      pkt.ip.ttl = 9
      if pkt.packet_id == 1 then held = pkt:hold() else held:verdict(D) end
    end)()
    local seen = sent(src)
    assert.equal(0, seen[1].set)
  end)

  it("keeps changes where the default verdict is drop", function()
    local src = new(2)
    src.batch.default_verdict = D
    local held
    src:plan({ 1, 1 }):judge(function(pkt)
      if pkt.packet_id == 1 then
        pkt.ip.ttl = 9
        held = pkt:hold()
      else
        held:verdict(A)
      end
    end)()
    local seen = sent(src)
    assert.same({ E.IPQ_SET_PAYLOAD, "\9" }, { seen[1].set, seen[1].bytes:sub(9, 9) })
  end)

  it("sends the bytes as they are with fix = false", function()
    local src = new(2)
    local held
    src:plan({ 1, 1 }):judge(function(pkt)
      if pkt.packet_id == 1 then
        pkt.fix = false
        held = pkt:hold()
      else
        held:verdict(A, "\69 no packet")
      end
    end)()
    local seen = sent(src)
    assert.equal("\69 no packet", seen[1].bytes)
  end)

  it("gives the same handle each time, with a name", function()
    local src = new(1)
    src:verdicts(function(pkt)
      local held = pkt:hold()
      assert(held == pkt:hold())
      assert(tostring(held) == "held packet 1")
    end)
    assert.same({}, lines)
    assert.equal(1, src.batch.held_count)
  end)

  it("and a verdict or bytes returned cost the packet the error verdict", function()
    for _, returned in ipairs { { A }, { nil, "x" }, { "nonsense" } } do
      local src = new(1)
      local held
      assert.same({ D }, src:verdicts(function(pkt)
        held = pkt:hold()
        return unpack(returned, 1, 2)
      end))
      assert.matches("filter returned a verdict for a packet that it holds", lines[#lines])
      assert.same({ 0, 1, 1 }, { src.batch.held_count, tonumber(src.batch.counters.errors),
        tonumber(src.batch.counters.dropped) })
      assert.has_error(function() held:verdict(A) end,
        "the packet was not held: its filter failed, and it got the error verdict")
      assert.same({}, src:committed_held())
    end
  end)

  it("does not hold the packet of a filter that raises behind it, or changes what cannot be changed", function()
    local src = source.new { udp(1, "hello"), udp(2, "hello", m.attr(m.CAP_LEN, m.be32(100))), udp(3, "hello") }
    assert.same({ D, D, A }, src:verdicts(function(pkt)
      if pkt.packet_id == 3 then return end
      pkt:hold()
      pkt.ip.ttl = 3
      if pkt.packet_id == 1 then error "no" end
    end))
    assert.equal(0, src.batch.held_count)
    assert.matches("packet 1 of queue 0: .*no\n", lines[1])
    assert.matches("packet 2 of queue 0: packet changed: only a part", lines[2])
    assert.same({ 3, 2 }, { tonumber(src.batch.counters.packets), tonumber(src.batch.counters.errors) })
  end)

  it("raises where the limit is reached, with the reason, and the packet gets the error verdict", function()
    local src = new(4)
    C.ipq_batch_limit_held(src.batch, 5)
    local held = {}
    local run = src:plan({ 3, 1 }):judge(function(pkt)
      held[#held + 1] = pkt:hold()
      if pkt.packet_id == 2 then return end
    end)
    run()
    assert.equal(2, #lines)
    assert.matches("packet 3 of queue 0: spec/unit/held_spec.lua:%d+: 2 packets are held already, the most that may "
      .. "be: half of %-%-queue%-maxlen, and 4096 at most", lines[1])
    assert.same({ 2, 2, 2 }, { src.batch.held_count, tonumber(src.batch.counters.dropped),
      tonumber(src.batch.counters.errors) })
    held[1]:verdict()
    assert.equal(1, src.batch.held_count)
    src:plan({ 1 })
    run()
    assert.equal(2, src.batch.held_count)
  end)

  it("is no longer there when the filter has returned", function()
    local kept
    new(1):verdicts(function(pkt) kept = pkt end)
    assert.has_error(function() kept:hold() end, "packet used after its filter returned")
  end)
end)

describe("held:verdict()", function()
  local lines, sink
  before_each(function()
    lines, sink = {}, log.sink
    log.sink = function(level, text) lines[#lines + 1] = level .. ": " .. text end
  end)
  after_each(function() log.sink = sink end)

  local function hold_one(src)
    local held
    local run, keeper = src:plan({ 1 }):judge(function(pkt)
      if pkt.packet_id == 1 then held = pkt:hold() end
    end)
    run()
    return held, keeper
  end

  --- What work() raises, with the line of this file that it is told at.
  local function raised(work)
    local ok, message = pcall(work)
    assert.is_false(ok)
    return message
  end
  local here = "^spec/unit/held_spec.lua:%d+: "

  it("raises the second time, at the caller's line", function()
    local src = new(1)
    local held = hold_one(src)
    held:verdict(A)
    assert.matches(here .. "the packet has had its verdict already", raised(function() held:verdict(A) end))
    assert.same({ { 1, A } }, src:committed_held())
  end)

  it("raises the second time also when other packets are held since", function()
    local src, held = new(4), {}
    src:plan({ 2, 2 }):judge(function(pkt)
      held[pkt.packet_id] = held[pkt.packet_id] or pkt:hold()
      if pkt.packet_id == 2 then
        held[1]:verdict(D)
        held[2] = nil
      end
    end)()
    for _ = 1, 2 do
      assert.matches(here .. "the packet has had its verdict already", raised(function() held[1]:verdict(A) end))
    end
    assert.same({ { 1, D } }, src:committed_held())
  end)

  it("sends the packet's own bytes, whatever was held before it", function()
    local messages, expected = {}, {}
    for i = 1, 40 do
      -- Short and long ones, in turn, over those that are kept to be used again.
      local payload = string.char(64 + i):rep(i % 4 == 0 and 3000 or i % 3 == 0 and 1200 or i)
      messages[i] = udp(i, payload)
      expected[i] = payload
    end
    local src, held = source.new(messages), {}
    src:plan({ 10, 10, 10, 10 }):judge(function(pkt)
      held[#held + 1] = pkt:hold()
      if #held == 4 then for i = 3, 1, -1 do table.remove(held, i):verdict(A) end end
    end)()
    for _, one in ipairs(held) do one:verdict(A) end
    local seen = sent(src)
    assert.equal(40, #seen)
    for _, one in ipairs(seen) do assert.equal(expected[one.id], one.bytes:sub(29)) end
  end)

  it("is there for a packet without bytes, too", function()
    local src = source.new { m.simple(1, "") }
    hold_one(src):verdict(A)
    assert.same({ { 1, A } }, src:committed_held())
    assert.equal("", sent(src)[1].bytes)
  end)

  it("raises for what is no verdict and no bytes, and can be given one then", function()
    local src = new(1)
    local held = hold_one(src)
    for _, v in ipairs { "drop", 2, {}, true, 1.5 } do
      assert.matches(here .. "held:verdict%(%) was given .*; it takes nothing, ipq.ACCEPT, ipq.DROP",
        raised(function() held:verdict(v) end))
    end
    assert.matches(here .. "held:verdict%(%) was given the number 5 as the packet's bytes; they are",
      raised(function() held:verdict(A, 5) end))
    assert.matches(here .. "verdict%(%) is a method of what pkt:hold%(%) gives", raised(function() held.verdict(A) end))
    assert.matches(here .. "verdict%(%) is a method", raised(function() held.verdict({}, A) end))
    assert.matches(here .. "a held packet has no 'drop'", raised(function() held:drop() end))
    assert.matches(here .. "a held packet's fields cannot be assigned", raised(function() held.mark = 1 end))
    local kept
    new(1):verdicts(function(pkt) kept = pkt.payload end)
    assert.matches(here .. "packet used after its filter returned", raised(function() held:verdict(A, kept) end))
    assert.same({}, src:committed_held())
    held:verdict(D)
    assert.same({ { 1, D } }, src:committed_held())
  end)

  it("is for later, not for the filter that holds", function()
    local src = new(1)
    src:verdicts(function(pkt) pkt:hold():verdict(A) end)
    assert.matches("spec/unit/held_spec.lua:%d+: the filter that holds the packet has not returned yet", lines[1])
    assert.equal(0, src.batch.held_count)
  end)

  it("costs the packet the error verdict, and no other, where the bytes cannot be sent", function()
    local src = new(2)
    src.batch.error_verdict = ipq.STOP
    local held
    local run = src:plan({ 1, 1 }):judge(function(pkt)
      if pkt.packet_id == 1 then held = pkt:hold() return end
      held:verdict(A, ("x"):rep(40))
    end)
    run()
    assert.same({ { 1, ipq.STOP } }, src:committed_held())
    assert.matches("error: packet 1 of queue 0: packet changed: the packet is not of the IP version", lines[1])
    assert.same({ 1, 1, 1 }, { tonumber(src.batch.counters.errors), tonumber(src.batch.counters.accepted),
      tonumber(src.batch.counters.stopped) })
    held = hold_one(new(1))
    held:verdict(A, ("\69"):rep(65532))
    assert.matches("bytes returned: the packet would be over 65531 bytes", lines[2])
  end)

  it("costs the packet the error verdict where its queue loses such changes, when the loop is over too", function()
    local bytes = packets.ip(17, packets.udp "anew", { options = ("\1"):rep(8) })
    for loses, expected in pairs { [0] = A, [E.IPQ_SET_LAYOUT] = D } do
      local src = new(1)
      src.batch.loses = loses
      hold_one(src):verdict(A, bytes)
      assert.same({ { 1, expected } }, src:committed_held())
    end
    assert.matches("packet changed: ", lines[1])
  end)

  it("shows nothing behind the handle to the script", function()
    local src = new(2)
    local held = {}
    src:plan({ 1, 1 }):judge(function(pkt) held[pkt.packet_id] = pkt:hold() end)()
    local own = rawget(held[1], 1)
    for _ = 1, 2 do
      for key, value in next, held[1] do
        assert.is_number(key)
        assert.is_true(type(value) == "number" or type(value) == "string")
      end
      -- What a script puts there makes it no other packet's, and gives no second verdict.
      rawset(held[1], 1, rawget(held[2], 1))
      assert.matches(here .. "verdict%(%) is a method of what", raised(function() held[1]:verdict(D) end))
      rawset(held[1], 1, own)
      pcall(held[1].verdict, held[1], D)
      rawset(held[1], 3, nil)
    end
    assert.matches(here .. "verdict%(%) is a method of what", raised(function() held[1]:verdict(D) end))
    assert.same({ { 1, D } }, src:committed_held())
  end)

  it("can come when nothing but the handle remembers the loop", function()
    local src = new(1)
    local held = hold_one(src)
    local driver = setmetatable({ src.driver }, { __mode = "v" })
    src = nil -- luacheck: ignore 311
    collectgarbage()
    collectgarbage()
    assert.truthy(driver[1])
    held:verdict(A)
  end)

  it("leaves no view of the packet behind", function()
    local src = new(2)
    local held
    src:plan({ 1, 1 }):judge(function(pkt)
      if pkt.packet_id == 1 then held = pkt:hold() return end
      local payload = pkt.payload
      held:verdict(A)
      assert(payload:string(28) == "hello 2" and pkt.udp.sport)
    end)()
    assert.same({}, lines)
  end)

  it("tells observers then, and not when the packet is held", function()
    local src = new(2)
    local seen, held = {}, nil
    local run = require "ipq.engine.dispatch".new(src:plan({ 1, 1 }).driver, function(pkt)
      if pkt.packet_id == 1 then
        pkt.ip.ttl, held = 5, pkt:hold()
      else
        held:verdict(ipq.REPEAT)
      end
    end, function(p, pkt, why, handle)
      seen[#seen + 1] = { p.packet_id, p.verdict, pkt.ip.ttl, why or false, handle == held }
    end)
    run()
    assert.same({ { 1, ipq.REPEAT, 5, false, true }, { 2, A, 64, false, false } }, seen)
  end)
end)

describe("what is still held", function()
  it("gets the default verdict in the end, in its order, and takes none any more", function()
    local src = new(5)
    src.batch.default_verdict = ipq.STOP
    local held = {}
    local run, keeper = src:plan({ 5 }):judge(function(pkt)
      if pkt.packet_id == 2 then pkt.mark = 9 end
      held[pkt.packet_id] = pkt:hold()
    end)
    run()
    held[3]:verdict(D)
    keeper:judge_rest()
    local seen = sent(src)
    local ids = {}
    for i, packet in ipairs(seen) do ids[i] = { packet.id, packet.verdict, packet.mark } end
    assert.same({ { 3, D, 0 }, { 1, ipq.STOP, 0 }, { 2, ipq.STOP, 9 }, { 4, ipq.STOP, 0 }, { 5, ipq.STOP, 0 } }, ids)
    assert.equal(0, src.batch.held_count)
    assert.has_error(function() held[1]:verdict() end, "the packet got the default verdict when its filter ended")
    keeper:judge_rest()
    assert.equal(5, #src:committed_held())
  end)

  it("can be settled without Lua, by the ids", function()
    local src = new(3)
    src:plan({ 3 }):judge(function(pkt) if pkt.packet_id ~= 2 then pkt:hold() end end)()
    assert.equal(0, C.ipq_driver_commit_all_held(src.driver, D))
    assert.same({ { 1, D }, { 3, D } }, src:committed_held())
    assert.same({ 0, 2, 3 }, { src.batch.held_count, tonumber(src.batch.counters.dropped),
      tonumber(src.batch.counters.packets) })
    assert.truthy(errno)
  end)

  it("gets the error verdict when its process has died, whatever that has left in the table", function()
    local src = new(3)
    src:plan({ 3 }):judge(function(pkt) if pkt.packet_id ~= 2 then pkt:hold() end end)()
    src.batch.error_verdict = ipq.STOP
    src.batch.held[77], src.batch.held[4095] = 2, 0xffffffffffffffffULL -- the first one again, and none
    src.batch.held_count = 9
    -- A queue takes a message out of its slot once its packet is judged or held.
    for i = 0, 2 do ffi.fill(src.batch.slots + i * src.batch.slot_size, 4) end
    local counted = ffi.new "struct ipq_counters"
    assert.equal(4, C.ipq_settle(src.driver.source, src.batch, src.batch, counted))
    assert.same({ { 1, ipq.STOP }, { 3, ipq.STOP }, { 1, ipq.STOP }, { 0xfffffffe, ipq.STOP } }, src:committed_held())
    assert.same({ 4, 4 }, { tonumber(counted.settled), tonumber(counted.errors) })
  end)
end)

describe("verdicts of held packets that a source keeps", function()
  --- A filter that holds the packets of its first batch, and what it has held.
  local function holding(n)
    local src, held = new(n), {}
    C.spec_source_keep(src.c, 0)
    return src, held, function(pkt) held[#held + 1] = pkt:hold() end
  end

  --- Holds them, and then judges them by a function that runs in the filter of one more packet.
  local function judged_in_filter(n, judge_them)
    local src, held, hold = holding(n)
    local run = src:plan({ n, 1 }):judge(function(pkt)
      if #held < n then hold(pkt) else judge_them(src, held, pkt) end
    end)
    return src, run()
  end

  it("are sent together before the loop waits, and the packets are held and not counted till then", function()
    local before
    local src, count = judged_in_filter(3, function(src, held)
      held[2]:verdict(D)
      held[1]:verdict(A)
      before = { #src:committed_held(), src.batch.held_count, tonumber(src.batch.counters.packets) }
    end)
    assert.equal(0, count)
    assert.same({ 0, 3, 0 }, before)
    assert.same({ { 2, D }, { 1, A } }, src:committed_held())
    assert.same({ 1, 3, 2, 1 }, { src.batch.held_count, tonumber(src.batch.counters.packets),
      tonumber(src.batch.counters.accepted), tonumber(src.batch.counters.dropped) })
  end)

  it("are sent as soon as they are 64", function()
    local sent_at = {}
    local src = judged_in_filter(64, function(src, held)
      for i = 1, 64 do
        held[i]:verdict(A)
        sent_at[i] = #src:committed_held()
      end
    end)
    assert.same({ 0, 64 }, { sent_at[63], sent_at[64] })
    assert.equal(0, src.batch.held_count)
    assert.equal(65, tonumber(src.batch.counters.packets))
  end)

  it("are sent before a packet is not held because too many are", function()
    local ok
    local src = judged_in_filter(2, function(src, held, pkt)
      src.batch.held_limit = 2
      held[1]:verdict(A)
      ok = pcall(pkt.hold, pkt)
      assert(#src:committed_held() == 1)
    end)
    assert.is_true(ok)
    assert.equal(2, src.batch.held_count)
  end)

  it("go out with their bytes as they were then", function()
    local src = judged_in_filter(2, function(_, held)
      held[1]:verdict(A, packets.ip(17, packets.udp "the first one's"))
      held[2]:verdict(A, packets.ip(17, packets.udp "other bytes"))
    end)
    local seen = sent(src)
    assert.matches("the first one's$", seen[1].bytes)
    assert.matches("other bytes$", seen[2].bytes)
  end)

  it("are sent at once where their loop does not run", function()
    local src, held, hold = holding(3)
    local run, keeper = src:plan({ 3 }):judge(hold)
    run()
    held[3]:verdict(D)
    assert.same({ { 3, D } }, src:committed_held())
    keeper:judge_rest()
    assert.same({ { 3, D }, { 1, A }, { 2, A } }, src:committed_held())
    assert.equal(0, src.batch.held_count)
  end)

  it("are sent before another loop runs in the filter", function()
    local inner, sent_before = new(1), nil
    local src = judged_in_filter(1, function(src, held)
      held[1]:verdict(D)
      inner:plan({ 1 }):judge(function() sent_before = #src:committed_held() end)()
    end)
    assert.equal(1, sent_before)
    assert.equal(0, src.batch.held_count)
  end)

  it("are sent where Lua cannot do it any more, each once", function()
    local sent_then
    local src, held, hold = holding(3)
    local run = src:plan({ 3, 1 }):judge(function(pkt)
      if #held < 3 then return hold(pkt) end
      held[2]:verdict(A)
      assert(C.ipq_driver_commit_all_held(src.driver, D) == 0)
      sent_then = src:committed_held()
    end)
    run()
    assert.same({ { 2, A }, { 1, D }, { 3, D } }, sent_then)
    assert.same({ 0, 4 }, { src.batch.held_count, tonumber(src.batch.counters.packets) })
    assert.same({ { 2, A }, { 1, D }, { 3, D } }, src:committed_held())
  end)

  it("leave the packets held, and end the loop, where they cannot be sent", function()
    local src, count = judged_in_filter(3, function(src, held)
      C.spec_source_keep(src.c, -5)
      held[2]:verdict(D)
    end)
    assert.equal(-5, count)
    assert.same({ 0, 3, 1 }, { #src:committed_held(), src.batch.held_count, tonumber(src.batch.counters.packets) })
  end)

  it("are sent of a process that has died", function()
    local src, _, hold = holding(2)
    src:plan({ 2 }):judge(hold)()
    for i = 0, 1 do ffi.fill(src.batch.slots + i * src.batch.slot_size, 4) end
    assert.equal(2, C.ipq_settle(src.driver.source, src.batch, src.batch, ffi.new "struct ipq_counters"))
    assert.same({ { 1, D }, { 2, D } }, src:committed_held())
  end)
end)
