-- What filters send, between their filter and the way out; and how it is known again.
local ffi = require "ffi"
local made = require "spec.support.made"
local t = require "ipq.test"
local lib = require "spec.support.lib"

local C, E = lib.C, ffi.C
local MARK = tonumber(E.IPQ_SENT_MARK)

local function new_outbox()
  local batches, outboxes = ffi.new "struct ipq_batch *[1]", ffi.new "struct ipq_outbox *[1]"
  assert(C.ipq_batch_new(batches, 4, 2048) == 0)
  assert(C.ipq_outbox_new(outboxes, batches[0], MARK) == 0)
  local outbox, batch = ffi.gc(outboxes[0], C.ipq_outbox_free), ffi.gc(batches[0], C.ipq_batch_free)
  return outbox, batch
end

local function bytes_at(outbox, i) return ffi.string(outbox.sent[i].data, outbox.sent[i].len) end

local function arrived(pkt, o) return made.arrive(pkt.bytes, o) end

describe("an outbox", function()
  local outbox, batch
  before_each(function() outbox, batch = new_outbox() end)

  local function unsent(reason) return tonumber(batch.counters.unsent[E["IPQ_UNSENT_" .. reason]]) end

  it("takes whole IP packets as they are, in their order", function()
    local one, other = t.udp { payload = "one" }.bytes, t.tcp { saddr = "fd00::1" }.bytes
    assert.equal(0, C.ipq_outbox_bytes(outbox, one, #one, nil))
    assert.equal(0, C.ipq_outbox_bytes(outbox, other, #other, nil))
    assert.same({ 2, one, other }, { outbox.count, bytes_at(outbox, 0), bytes_at(outbox, 1) })
    assert.same({ MARK, E.IPQ_CAUSELESS, 0 }, { outbox.sent[0].mark, outbox.sent[0].cause, outbox.sent[0].answers })
  end)

  it("refuses what is no whole IP packet", function()
    local udp = t.udp { payload = "abc" }.bytes
    local six = t.udp { saddr = "::1", payload = "abc" }.bytes
    for _, bytes in ipairs { "", "x", udp:sub(1, -2), udp .. "\0", six:sub(1, -2), six .. "\0", ("\0"):rep(40),
      t.arp {}.bytes } do
      assert.equal(-E.IPQ_UNSENT_MALFORMED, C.ipq_outbox_bytes(outbox, bytes, #bytes, nil))
    end
    assert.same({ 0, 8 }, { outbox.count, unsent "MALFORMED" })
    local large = ("\69"):rep(E.IPQ_PACKET_MAX + 1)
    assert.equal(-E.IPQ_UNSENT_LENGTH, C.ipq_outbox_bytes(outbox, large, #large, nil))
    assert.equal(1, unsent "LENGTH")
  end)

  it("takes as many packets and as many bytes as it has room for", function()
    local small, large = t.udp {}.bytes, t.udp { payload = ("x"):rep(60000) }.bytes
    for _ = 1, E.IPQ_OUTBOX_PACKETS do assert.equal(0, C.ipq_outbox_bytes(outbox, small, #small, nil)) end
    assert.equal(-E.IPQ_UNSENT_ROOM, C.ipq_outbox_bytes(outbox, small, #small, nil))
    local packet = arrived(t.tcp {})
    assert.equal(-E.IPQ_UNSENT_ROOM, C.ipq_outbox_packet(outbox, packet, packet))
    assert.equal(-E.IPQ_UNSENT_ROOM, C.ipq_outbox_reject(outbox, packet, E.IPQ_REJECT_DEFAULT, nil))
    assert.equal(-E.IPQ_UNSENT_ROOM, C.ipq_outbox_reset(outbox, packet, nil, nil))
    assert.equal(5, unsent "ROOM") -- a reset is two
    C.ipq_outbox_clear(outbox)
    local count = 0
    while C.ipq_outbox_bytes(outbox, large, #large, nil) == 0 do count = count + 1 end
    assert.equal(math.floor(E.IPQ_OUTBOX_BYTES / (60028 + 20)), count) -- each begins a cache line
    assert.equal(0, C.ipq_outbox_bytes(outbox, small, #small, nil))
    assert.is_true(outbox.used <= E.IPQ_OUTBOX_BYTES)
  end)

  it("bears the mark of the packet that it answers, with its own bit", function()
    local packet = arrived(t.tcp {})
    packet.mark = 6
    assert.equal(0, C.ipq_outbox_packet(outbox, packet, packet))
    assert.equal(0, C.ipq_outbox_reject(outbox, packet, E.IPQ_REJECT_DEFAULT, nil))
    local bytes = t.udp {}.bytes
    assert.equal(0, C.ipq_outbox_bytes(outbox, bytes, #bytes, packet))
    for i = 0, 2 do assert.equal(MARK + 6, outbox.sent[i].mark) end
  end)

  it("has a packet's own mark before its cause's", function()
    local pkt = t.udp {}
    local own = ffi.new("struct ipq_packet", { data_len = #pkt.bytes, len = #pkt.bytes, mark = 9 })
    local memory = ffi.new("uint8_t[?]", #pkt.bytes, pkt.bytes)
    own.data = memory
    local packet = arrived(t.tcp {})
    packet.mark = 6
    assert.equal(0, C.ipq_outbox_packet(outbox, own, packet))
    assert.equal(MARK + 9, outbox.sent[0].mark)
  end)

  it("knows an answer by its destination, and the interface that it goes out by", function()
    local packet = arrived(t.udp { saddr = "fe80::1", daddr = "fe80::2" })
    packet.indev, packet.outdev, packet.present = 3, 4, bit.bor(packet.present, E.IPQ_HAS_INDEV, E.IPQ_HAS_OUTDEV)
    C.ipq_header_parse(packet)
    assert.equal(0, C.ipq_outbox_packet(outbox, packet, packet))
    assert.equal(0, C.ipq_outbox_reject(outbox, packet, E.IPQ_REJECT_DEFAULT, nil))
    assert.same({ 0, 4 }, { outbox.sent[0].answers, outbox.sent[0].device })
    assert.same({ 1, 3 }, { outbox.sent[1].answers, outbox.sent[1].device })
  end)

  it("knows an answer to a packet of which the filter has read nothing", function()
    local packet = arrived(t.udp { saddr = "fe80::1", daddr = "fe80::2" })
    packet.indev, packet.outdev, packet.present = 3, 4, bit.bor(packet.present, E.IPQ_HAS_INDEV, E.IPQ_HAS_OUTDEV)
    local answer = t.udp { saddr = "fe80::2", daddr = "fe80::1" }.bytes
    packet.parsed, packet.ip_version = 0, 4 -- as the packet before it has left the slot
    assert.equal(0, C.ipq_outbox_bytes(outbox, answer, #answer, packet))
    assert.same({ 1, 3 }, { outbox.sent[0].answers, outbox.sent[0].device })
  end)

  it("counts rejects, and allows a second's worth of them at once", function()
    local packet = arrived(t.tcp {})
    C.ipq_header_parse(packet)
    outbox.reject_rate = 3
    local function reject() return C.ipq_outbox_reject(outbox, packet, E.IPQ_REJECT_DEFAULT, nil) end
    packet.timestamp_sec, packet.timestamp_usec = 100, 0
    for _ = 1, 3 do assert.equal(0, reject()) end
    assert.equal(-E.IPQ_UNSENT_RATE, reject())
    packet.timestamp_usec = 333334 -- one more
    assert.equal(0, reject())
    assert.equal(-E.IPQ_UNSENT_RATE, reject())
    packet.timestamp_usec = 0 -- time that goes back gives nothing
    assert.equal(-E.IPQ_UNSENT_RATE, reject())
    packet.timestamp_sec = 200
    for _ = 1, 3 do assert.equal(0, reject()) end
    assert.equal(-E.IPQ_UNSENT_RATE, reject())
    assert.same({ 7, 4 }, { tonumber(batch.counters.rejected), unsent "RATE" })
    outbox.reject_rate = 0
    for _ = 1, 10 do assert.equal(0, reject()) end
  end)

  it("takes nothing from the rate for what no RFC wants answered", function()
    local packet = arrived(t.tcp {})
    C.ipq_header_parse(packet)
    outbox.reject_rate = 1
    packet.timestamp_sec = 1
    local bytes = t.tcp { rst = true }.bytes
    local memory = ffi.new("uint8_t[?]", #bytes, bytes)
    local reset = ffi.new("struct ipq_packet", { data = memory, data_len = #bytes, len = #bytes, timestamp_sec = 1 })
    C.ipq_header_parse(reset)
    assert.equal(-E.IPQ_UNSENT_RULE, C.ipq_outbox_reject(outbox, reset, E.IPQ_REJECT_DEFAULT, nil))
    assert.equal(0, C.ipq_outbox_reject(outbox, packet, E.IPQ_REJECT_DEFAULT, nil))
  end)

  it("resets both ends", function()
    local packet = arrived(t.tcp { ack = true, sequence = 7, ackseq = 9, payload = "abc" })
    C.ipq_header_parse(packet)
    assert.equal(0, C.ipq_outbox_reset(outbox, packet, nil, nil))
    assert.equal(2, outbox.count)
    local back, on = t.packet(bytes_at(outbox, 0)), t.packet(bytes_at(outbox, 1))
    assert.same({ "192.0.2.2", "192.0.2.1", 9, true }, { back.saddr, back.daddr, back.tcp.sequence, back.tcp.rst })
    assert.same({ "192.0.2.1", "192.0.2.2", 7, true }, { on.saddr, on.daddr, on.tcp.sequence, on.tcp.rst })
  end)

  it("has its way out take what is there once, and is empty then", function()
    local taken = {}
    local flush = ffi.cast("void (*)(struct ipq_outbox *)", function(o)
      taken[#taken + 1] = o.count
    end)
    outbox.flush = flush
    C.ipq_outbox_flush(outbox)
    local bytes = t.udp {}.bytes
    C.ipq_outbox_bytes(outbox, bytes, #bytes, nil)
    C.ipq_outbox_flush(outbox)
    C.ipq_outbox_flush(outbox)
    flush:free()
    assert.same({ { 1 }, 0, 0 }, { taken, outbox.count, outbox.used })
  end)

  it("keeps what is there where there is no way out", function()
    local bytes = t.udp {}.bytes
    C.ipq_outbox_bytes(outbox, bytes, #bytes, nil)
    C.ipq_outbox_flush(outbox)
    assert.equal(1, outbox.count)
  end)

  it("has words for each reason", function()
    local seen = {}
    for reason = 1, E.IPQ_UNSENT_REASONS - 1 do
      local text, word = ffi.string(C.ipq_unsent_text(-reason)), ffi.string(C.ipq_unsent_word(reason))
      assert.is_nil(seen[text] or seen[word])
      assert.matches("^%l+$", word)
      seen[text], seen[word] = true, true
    end
  end)
end)

describe("what was sent", function()
  local own
  before_each(function() own = ffi.gc(C.ipq_own_new(), C.ipq_own_free) end)

  local function sent(pkt) C.ipq_own_add(own, pkt.bytes, #pkt.bytes) end
  local function is_own(pkt, hook) return (C.ipq_own_is(own, arrived(pkt, { hook = hook }))) end

  it("is known at each hook as often as it was sent", function()
    local pkt = t.udp { payload = "x" }
    assert.is_false(is_own(pkt))
    sent(pkt)
    for hook = 0, 4 do
      assert.is_true(is_own(pkt, hook))
      assert.is_false(is_own(pkt, hook))
    end
    sent(pkt)
    sent(pkt)
    assert.same({ true, true, false }, { is_own(pkt, 3), is_own(pkt, 3), is_own(pkt, 3) })
  end)

  it("is known when NAT, a router and the kernel have changed it", function()
    for _, pkt in ipairs { t.udp { payload = "x" }, t.tcp { payload = "x" }, t.icmp {}, t.udp { saddr = "fd00::1" } } do
      sent(pkt)
      local changes = pkt.ip and { ip = { ttl = 3, id = 77, dscp = 8, saddr = "198.51.100.7" } }
        or { ip6 = { hoplimit = 3, saddr = "fd00::7" } }
      if pkt.udp then changes.udp = { sport = 999 } end
      if pkt.tcp then changes.tcp = { dport = 999 } end
      assert.is_true(is_own(pkt:with(changes)))
    end
  end)

  it("is not another packet", function()
    local pkt = t.tcp { payload = "x", sequence = 5 }
    sent(pkt)
    for _, changes in ipairs { { tcp = { sequence = 6 } }, { tcp = { ackseq = 1 } }, { tcp = { psh = true } } } do
      assert.is_false(is_own(pkt:with(changes)))
    end
    assert.is_false(is_own(t.tcp { payload = "y", sequence = 5 }))
    assert.is_false(is_own(t.tcp { payload = "xx", sequence = 5 }))
    assert.is_false(is_own(t.udp { payload = "x" }))
    assert.is_true(is_own(pkt))
  end)

  it("is an ICMP error whatever it quotes", function()
    local quoted = t.udp { payload = "abc" }
    local function error_of(pkt) return t.icmp { type = 3, code = 3, payload = pkt.bytes } end
    sent(error_of(quoted))
    assert.is_true(is_own(error_of(quoted:with { ip = { saddr = "198.51.100.9" }, udp = { sport = 1 } })))
    assert.is_false(is_own(t.icmp { type = 3, code = 1, payload = quoted.bytes }))
  end)

  it("is thousands of packets", function()
    for i = 1, 8000 do sent(t.udp { payload = "n" .. i }) end
    local known = 0
    for i = 1, 8000 do known = known + (is_own(t.udp { payload = "n" .. i }) and 1 or 0) end
    assert.is_true(known > 7500, known)
  end)

  it("is nothing that has no IP header", function()
    local arp = t.arp {}
    sent(arp)
    assert.is_false((C.ipq_own_is(own, arrived(arp, { protocol = 0x806, family = 3 }))))
  end)
end)
