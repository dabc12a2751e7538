-- pkt:answer(): a packet turned round, in Lua. What C makes of each protocol is told by answer_spec.lua.
local ipq = require "ipq"
local t = require "ipq.test"

local function answer(packet, fields)
  local own, why
  local run = t.run(function(pkt) own, why = pkt:answer(fields) end, packet)
  assert.is_nil(run.error)
  assert.is_true(run.packet == packet)
  return own, why
end

local query = t.udp { saddr = "10.0.0.1", daddr = "10.0.0.53", sport = 5353, dport = 53, payload = "question", ttl = 9,
  mark = 0x60000005, indev = 3, hook = "prerouting", priority = 7 }

describe("pkt:answer()", function()
  it("gives what the receiver says to the sender", function()
    local own = assert(answer(query, { payload = "the answer" }))
    assert.equal(t.udp { saddr = "10.0.0.53", daddr = "10.0.0.1", sport = 53, dport = 5353, payload = "the answer",
      ttl = 64, ip = { id = own.ip.id } }.bytes, own:bytes())
    assert.same({ 0x40000005, 7, "prerouting", "ip" }, { own.mark, own.priority, own.hook_name, own.family })
  end)

  it("goes out by where its packet came in", function()
    local back = assert(answer(query, {}))
    assert.same({ nil, 3 }, { back.indev, back.outdev })
    local here = assert(answer(query:with { indev = 3, outdev = 4 }, {}))
    assert.same({ nil, 3 }, { here.indev, here.outdev })
    local own = assert(answer(t.udp { outdev = 4 }, {}))
    assert.same({ nil, 4 }, { own.indev, own.outdev })
  end)

  it("takes a Buffer as its payload, or none", function()
    local own
    t.run(function(pkt) own = pkt:answer { payload = pkt.udp.payload } end, query)
    assert.equal("question", own.udp.payload:string())
    local again = assert(own:answer { payload = own.udp.payload })
    assert.equal("question", again.udp.payload:string())
    assert.same({ 5353, 53, "10.0.0.1" }, { again.sport, again.dport, again.saddr })
    assert.equal(0, #assert(answer(query, {})).udp.payload)
    local echo = t.icmp { type = 8, id = 5, sequence = 6, payload = ("ping"):rep(100) }
    local reply = assert(answer(echo, {}))
    assert.same({ 0, 5, 6, ("ping"):rep(100) }, { reply.icmp.type, reply.icmp.id, reply.icmp.sequence,
      reply.icmp.payload:string() })
    assert.equal("pong", tostring(assert(answer(echo, { payload = "pong" })).icmp.payload))
  end)

  it("assigns what else it is given, as the builders do", function()
    local own = assert(answer(query, { payload = "x", ttl = 3, dport = 99, mark = -1, outdev = 5,
      ip = { id = 77, saddr = "192.0.2.7" } }))
    assert.same({ 3, 99, 0xffffffff, 5, 77, "192.0.2.7" }, { own.ip.ttl, own.udp.dport, own.mark, own.outdev,
      own.ip.id, own.saddr })
    assert.valid_checksums(t.packet(own:bytes()))
    assert.equal(7, assert(answer(query, { payload = "x", checksum = 7 })).udp.checksum)
    local nested = assert(answer(query, { udp = { payload = "nested" } }))
    assert.equal("nested", tostring(nested.udp.payload))
    local tcp = assert(answer(t.tcp { syn = true, sequence = 7 }, { window = 500, options = "\2\4\5\180" }))
    assert.same({ 8, true, 500, "\5\180" }, { tcp.tcp.ackseq, tcp.tcp.syn, tcp.tcp.window, tcp.tcp:option(2) })
    assert.valid_checksums(t.packet(tcp:bytes()))
  end)

  it("is nil, and why, where there is no answer, or a field cannot be", function()
    for _, case in ipairs {
      { t.udp { daddr = "224.0.0.1" }, {}, "an RFC forbids an answer to this packet" },
      { t.icmp { type = 3, payload = query.bytes }, {}, "an RFC forbids an answer to this packet" },
      { t.esp {}, {}, "the packet is malformed, or not all there" },
      { t.packet "\69", {}, "the packet is malformed, or not all there" },
      { query, { payload = 5 }, "payload must be a string" },
      { query, { payload = ("x"):rep(65532) }, "the packet is too large for its way, and cannot be cut" },
      { query, { payload = ("x"):rep(65520) }, "the packet is too large for its way, and cannot be cut" },
      { query, { dst_port = 5 }, "a packet with udp and ip has no field 'dst_port'; did you mean 'dport'?" },
      { query, { dport = 65536 }, "udp.dport must be an integer from 0 to 65535" },
      { query, { udp = { payload = 5 } }, "payload must be a string" },
      { query, { outdev_name = "nowhere0" }, "outdev_name: there is no interface 'nowhere0'" },
    } do
      local own, why = answer(case[1], case[2])
      assert.is_nil(own)
      assert.equal(case[3], why)
    end
  end)

  it("raises at the script's line where it is given no table", function()
    t.run(function(pkt)
      for _, given in ipairs { "text", 5 } do
        local ok, message = pcall(function() return (pkt:answer(given)) end)
        assert.is_false(ok)
        assert.matches("^spec/unit/own_answer_spec.lua:%d+: answer%(%) takes a table of fields", message)
      end
      local ok, message = pcall(function() return (pkt:answer()) end)
      assert.is_false(ok)
      assert.matches("own_answer_spec.lua:%d+: answer%(%) takes a table of fields.*not nil$", message)
    end, query)
  end)

  it("answers its packet whatever is done to others while its fields are read", function()
    local other = assert(ipq.build.udp { payload = "other" })
    for _ = 1, 20 do
      local own = assert(ipq.build.udp { sport = 7, dport = 8, payload = "text" })
      own.udp.payload:replace(0, 4, ("longer"):rep(100))
      local turned = assert(own:answer(setmetatable({}, { __index = function()
        local payload = other.udp.payload:string(0)
        collectgarbage()
        for _ = 1, 20 do assert(ipq.build.udp { sport = 1, dport = 2, payload = ("else"):rep(10) }) end
        return payload
      end })))
      assert.equal("8 7 other", ("%d %d %s"):format(turned.udp.sport, turned.udp.dport, turned.udp.payload:string(0)))
      own.udp.payload:replace(0, 4, ("longer"):rep(100))
      assert.equal("other", assert(own:answer { payload = other.udp.payload }).udp.payload:string(0))
    end
  end)

  it("changes nothing of its packet", function()
    assert.unchanged(function(pkt)
      local own = pkt:answer { payload = "longer than the question", ttl = 3 }
      own.udp.payload:replace(0, 0, "still ")
      own.saddr = "192.0.2.9"
      return ipq.ACCEPT
    end, query)
  end)
end)
