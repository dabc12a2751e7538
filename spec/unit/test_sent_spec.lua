-- Filters that send, reject and reset, as the test kit shows them.
local ipq = require "ipq"
local t = require "ipq.test"

local function script(text)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write('local ipq = require "ipq"\n', text)
  file:close()
  finally(function() os.remove(path) end)
  return path
end

local function failure(call)
  local ok, message = pcall(call)
  assert.is_false(ok)
  return type(message) == "table" and tostring(message.message or message) or tostring(message)
end

local query = t.udp { saddr = "192.0.2.7", dport = 53, payload = "question", mark = 5 }

describe("ipq.send()", function()
  it("sends the packet whose filter runs, a copy, a built one, and bytes", function()
    local built = t.tcp { dport = 80 }
    local result = t.run(function(pkt)
      assert.is_true(ipq.send(pkt))
      assert.is_true(ipq.send(pkt:clone()))
      assert.is_true(ipq.send(pkt:answer { payload = "yes" }))
      assert.is_true(ipq.send(ipq.build.tcp { dport = 80 }))
      assert.is_true(ipq.send(built.bytes))
      assert.is_true(ipq.send(pkt.payload))
    end, query)
    assert.sent(result, query.bytes and { saddr = "192.0.2.7" }, { udp = { payload = "question" } },
      { daddr = "192.0.2.7", sport = 53, udp = { payload = "yes" } }, built, built, { saddr = "192.0.2.7" })
    assert.verdict("accept", result)
  end)

  it("sends a packet as the filter has changed it, complete", function()
    local result = t.run(function(pkt)
      pkt.udp.payload:replace(0, 8, "something longer")
      pkt.ip.ttl = 3
      assert(ipq.send(pkt))
      pkt.ip.ttl = 4
    end, query)
    assert.sent(result, { ip = { ttl = 3 }, udp = { payload = "something longer" } })
    assert.valid_checksums(result.sent[1])
    assert.equal(4, result.packet.ip.ttl)
  end)

  it("bears the mark of the packet that it answers, and the bit that says that it was sent", function()
    local result = t.run(function(pkt)
      ipq.send(pkt)
      ipq.send(pkt:answer {})
      ipq.send(query.bytes)
      ipq.send(ipq.build.udp { mark = 9 })
    end, query)
    for i, mark in ipairs { 5, 5, 5, 9 } do assert.equal(ipq.SENT_MARK + mark, result.sent[i].mark) end
  end)

  it("gives nil and why where it can be known at once", function()
    local cut = t.udp { payload = ("x"):rep(100), data_len = 50 }
    local function reason(value, pkt)
      local sent, why
      assert.is_not.sent(function(live) sent, why = ipq.send(value or live) end, pkt or query)
      assert.is_nil(sent)
      return why
    end
    local malformed = "the packet is malformed, or not all there"
    for _, bytes in ipairs { "", "x", query.bytes .. "x", query.bytes:sub(1, -2), t.arp {}.bytes } do
      assert.equal(malformed, reason(bytes))
    end
    assert.equal(malformed, reason(nil, cut))
    assert.equal("the packet is too large for its way, and cannot be cut", reason(("x"):rep(65536)))
    assert.equal("the packet is too large for its way, and cannot be cut",
      reason(nil, t.udp { gso = true, csum_ready = false }))
  end)

  it("raises at the script's line for what is no packet, and for one whose filter has returned", function()
    local kept
    t.run(function(pkt) kept = pkt end, query)
    local function message(value)
      local result = t.run(function() ipq.send(value) end, query)
      assert.verdict("error", result)
      assert.matches("^spec/unit/test_sent_spec.lua:%d+: ", result.error)
      return result.error
    end
    for _, value in ipairs { 5, true, {}, print, query } do
      assert.matches("ipq.send%(%) takes a packet, as pkt:clone%(%) and ipq.build give it", message(value))
    end
    assert.matches("ipq.send%(%) takes a packet", message(nil))
    assert.matches("packet used after its filter returned", message(kept))
  end)

  it("needs send = true in a script's table", function()
    local silent = t.load(script "return { filter = function(pkt) ipq.send(pkt) end }")
    local result = t.run(silent, query)
    assert.verdict("error", result)
    assert.matches(":2: ipq.send%(%) needs send = true in the script's table", result.error)
    local loud = t.load(script "return { send = true, filter = function(pkt) ipq.send(pkt) end }")
    assert.sent(loud, query, { saddr = "192.0.2.7" })
  end)

  it("may be called by start(), stop(), timers, and what gives a held packet its verdict", function()
    local filter = t.load(script [[
      local held
      return {
        send = true,
        start = function() assert(ipq.send(ipq.build.udp { dport = 1 })) end,
        stop = function() assert(ipq.send(ipq.build.udp { dport = 2 })) end,
        filter = function(pkt)
          held = pkt:hold()
          ipq.after(5, function()
            assert(ipq.send(held:answer { payload = "late" }))
            held:verdict(ipq.REJECT)
          end)
        end,
      }]])
    local result = t.run(filter, query)
    assert.verdict("hold", result)
    local _, _, sent = t.advance(5)
    assert.verdict("reject", result)
    assert.equal(2, #sent)
    assert.same({ "late", 3 }, { tostring(sent[1].udp.payload), sent[2].icmp.type })
    assert.equal("192.0.2.7", sent[2].daddr)
    assert.equal(2, filter:stop()[1].dport)
    assert.same({}, select(3, t.advance(5)))
  end)

  it("tells the senders of what is held in the end, where that is the default", function()
    local filter = t.load(script "return { send = true, filter = function(pkt) pkt:hold() end }", {},
      { default = ipq.REJECT })
    local result = t.run(filter, query)
    local sent = filter:stop()
    assert.verdict("reject", result)
    assert.same({ 1, "192.0.2.7" }, { #sent, sent[1].daddr })
  end)

  it("forgets nothing of a filter that runs another one", function()
    local inner
    local result = t.run(function(pkt)
      ipq.send(pkt)
      inner = t.run(function(other) ipq.send(other) end, t.tcp {})
      ipq.send(pkt)
    end, query)
    assert.equal(2, #result.sent)
    assert.equal(1, #inner.sent)
  end)
end)

describe("ipq.REJECT", function()
  local function rejected(value, pkt) return t.run(function() return value end, pkt) end

  it("drops the packet and tells its sender: TCP a reset, others that the port is unreachable", function()
    local tcp = rejected(ipq.REJECT, t.tcp { syn = true, sequence = 7, dport = 23 })
    assert.verdict("reject", tcp)
    assert.is_nil(tcp.packet)
    assert.sent(tcp, { saddr = "192.0.2.2", sport = 23, tcp = { rst = true, ack = true, ackseq = 8 } })
    local udp = rejected(ipq.REJECT, query)
    assert.sent(udp, { daddr = "192.0.2.7", icmp = { type = 3, code = 3 } })
    assert.equal(query.bytes, tostring(udp.sent[1].icmp.payload))
    assert.sent(rejected(ipq.REJECT, t.udp { saddr = "2001:db8::7" }), { daddr = "2001:db8::7",
      icmpv6 = { type = 1, code = 4 } })
    for _, result in ipairs { tcp, udp } do assert.valid_checksums(result.sent[1]) end
  end)

  it("says in nft's words what its sender is told", function()
    local codes = { ["port-unreachable"] = { 3, 4 }, ["host-unreachable"] = { 1, 3 }, ["net-unreachable"] = { 0, 0 },
      ["no-route"] = { 0, 0 }, ["admin-prohibited"] = { 13, 1 } }
    for word, code in pairs(codes) do
      local four, six = rejected(ipq.reject(word), t.tcp {}), rejected(ipq.reject(word), t.tcp { saddr = "::1" })
      assert.verdict("reject " .. word, four)
      assert.verdict("reject", four)
      assert.verdict(ipq.reject(word), four)
      assert.is_not.verdict("drop", four)
      assert.is_not.verdict("reject tcp-reset", four)
      assert.sent(four, { icmp = { type = 3, code = code[1] } })
      assert.sent(six, { icmpv6 = { type = 1, code = code[2] } })
    end
    assert.sent(rejected(ipq.reject "tcp-reset", t.tcp {}), { tcp = { rst = true } })
  end)

  it("is silent where an RFC says so, and drops all the same", function()
    for _, pkt in ipairs { t.tcp { rst = true }, t.udp { daddr = "224.0.0.1" }, t.icmp { type = 3 },
      t.fragments(t.udp { payload = ("x"):rep(100) }, 68)[2] } do
      local result = rejected(ipq.REJECT, pkt)
      assert.verdict("reject", result)
      assert.is_not.sent(result)
    end
    assert.is_not.sent(rejected(ipq.reject "tcp-reset", query))
  end)

  it("needs send = true in a script's table", function()
    local result = t.run(t.load(script "return function() return ipq.REJECT end"), query)
    assert.verdict("error", result)
    assert.matches("ipq.REJECT needs send = true in the script's table", result.error)
  end)

  it("is a verdict for default and for errors", function()
    local path = script "return { send = true, filter = function(pkt) if pkt.mark == 1 then error 'oh no' end end }"
    local filter = t.load(path, {}, { default = ipq.REJECT, on_error = ipq.reject "admin-prohibited" })
    assert.sent(filter, query, { icmp = { code = 3 } })
    assert.verdict("reject", filter, query)
    local result = t.run(filter, query:with { mark = 1 })
    assert.matches("oh no", result.error)
    assert.sent(t.run(t.load(path, {}, { default = ipq.REJECT }), query:with { mark = 2 }), { icmp = { code = 3 } })
    assert.equal(1, #result.sent)
    assert.equal(13, result.sent[1].icmp.code)
    local accepting = t.load(script "return { send = true, filter = function() return ipq.ACCEPT end }", {},
      { default = ipq.REJECT })
    assert.verdict("accept", accepting, query)
    assert.is_not.sent(accepting, query)
  end)

  it("changes nothing of the packets that come after it", function()
    local reject = true
    local function filter() return reject and ipq.REJECT or nil end
    assert.sent(filter, query, {})
    reject = false
    assert.is_not.sent(filter, query)
    assert.verdict("accept", filter, query)
  end)

  it("bears the addresses that the sender knows, where NAT has changed them", function()
    local ct = { state = "new", direction = "original",
      original = { saddr = "10.0.0.1", daddr = "192.0.2.80", protocol = 6, sport = 1000, dport = 80 },
      reply = { saddr = "10.1.0.9", daddr = "10.0.0.1", protocol = 6, sport = 8080, dport = 1000 } }
    local pkt = t.tcp { saddr = "10.0.0.1", daddr = "10.1.0.9", sport = 1000, dport = 8080, syn = true, ct = ct }
    assert.same(ct.original, pkt.ct.original)
    assert.same(ct.reply, pkt.ct.reply)
    local known = { saddr = "192.0.2.80", sport = 80, daddr = "10.0.0.1", dport = 1000 }
    assert.sent(rejected(ipq.REJECT, pkt), known)
    assert.sent(function(live) ipq.send(live:answer { payload = "x" }) end, pkt, known)
    assert.sent(function(live) live:reset() end, pkt, known, { saddr = "10.0.0.1", daddr = "10.1.0.9", dport = 8080 })
    local quoted = rejected(ipq.reject "admin-prohibited", pkt).sent[1].icmp.inner
    assert.same({ "10.0.0.1", "192.0.2.80", 80 }, { quoted.saddr, quoted.daddr, quoted.dport })
  end)
end)

describe("pkt:reset()", function()
  it("resets both ends", function()
    local result = t.run(function(pkt)
      assert.is_true(pkt:reset())
      return ipq.DROP
    end, t.tcp { ack = true, sequence = 7, ackseq = 9, payload = "abc" })
    assert.sent(result, { saddr = "192.0.2.2", tcp = { rst = true, sequence = 9 } },
      { saddr = "192.0.2.1", tcp = { rst = true, sequence = 7 } })
    assert.verdict("drop", result)
  end)

  it("gives nil and why where there is nothing to reset, and raises without send = true", function()
    local sent, why
    t.run(function(pkt) sent, why = pkt:reset() end, query)
    assert.same({ nil, "an RFC forbids an answer to this packet" }, { sent, why })
    local result = t.run(t.load(script "return function(pkt) pkt:reset() end"), t.tcp {})
    assert.matches(":2: pkt:reset%(%) needs send = true", result.error)
  end)
end)

describe("assert.sent", function()
  local function twice(pkt)
    ipq.send(pkt)
    ipq.send(pkt:answer {})
  end

  it("holds for packets and for fields, in their order", function()
    assert.sent(twice, query, query:with { mark = query.mark }, { sport = 53 })
    assert.sent(twice, query)
    assert.is_not.sent(twice, query, { sport = 53 }, { sport = 40000 })
    assert.is_not.sent(twice, query, { sport = 40000 })
    assert.is_not.sent(function() end, query)
    assert.is_not.sent(function() error "x" end, query)
  end)

  it("tells what was sent, and how it differs", function()
    local message = failure(function() assert.sent(twice, query, {}, { udp = { sport = 54 } }) end)
    assert.matches("packet 2 that was sent: its udp.sport is 53, not 54\nthe filter sent\n  1  IP 192.0.2.7", message)
    message = failure(function() assert.sent(twice, query, {}) end)
    assert.matches("expected that 1 packets are sent\nthe filter sent\n  1 ", message)
    message = failure(function() assert.sent(function() end, query, {}) end)
    assert.matches("expected that 1 packets are sent\nthe filter sent nothing", message)
    message = failure(function() assert.sent(twice, query, {}, { tcp = { syn = true } }) end)
    assert.matches("packet 2 that was sent: it has no tcp", message)
    message = failure(function() assert.sent(twice, query, t.udp {}, {}) end)
    assert.matches("packet 1 that was sent: it has other bytes", message)
    message = failure(function() assert.sent(function() error "oh no" end, query, {}) end)
    assert.matches("the filter raised: .*oh no", message)
  end)

  it("takes no other things", function()
    assert.matches("assert.sent takes packets, or tables", failure(function() assert.sent(twice, query, 5, 6) end))
    assert.matches("assert.sent takes a filter and a packet", failure(function() assert.sent(5) end))
  end)
end)
