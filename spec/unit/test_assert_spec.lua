-- The test kit's assertions: when they hold, and what they say when they do not.
local capture = require "spec.support.capture"
local ipq = require "ipq"
local t = require "ipq.test"

local function drop() return ipq.DROP end
local function accept() end
local function raise() error "no way" end
local function set_ttl(pkt) pkt.ip.ttl = 9 end
local function mark(pkt) pkt.mark = 5 end

local function message_of(work)
  local ok, err = pcall(work)
  assert.is_false(ok, "it holds")
  return type(err) == "table" and tostring(err.message or err) or tostring(err)
end

describe("assert.verdict", function()
  it("holds for the verdict alone", function()
    assert.verdict("drop", drop, t.tcp {})
    assert.verdict(ipq.DROP, drop, t.tcp {})
    assert.verdict("queue 3 bypass", function() return ipq.queue(3, true) end, t.tcp {})
    assert.is_not.verdict("drop", accept, t.tcp {})
    local r = assert.verdict("accept", set_ttl, t.tcp {})
    assert.equal(9, r.packet.ip.ttl)
    assert.verdict("accept", r)
  end)

  it("shows the packet where it does not", function()
    local message = message_of(function() assert.verdict("drop", accept, t.tcp { dport = 4711 }) end)
    assert.matches("test_assert_spec.lua:%d+: expected the verdict drop, got accept\n", message)
    assert.matches("\n  tcp.dport +4711\n", message)
    assert.matches("\n  0000  45 00 00 28 ", message)
    message = message_of(function() assert.is_not.verdict("drop", drop, t.tcp {}) end)
    assert.matches("expected another verdict than drop", message)
  end)

  it("shows the packet of a result, and of one that is held", function()
    local result = t.run(function(pkt) pkt:hold() end, t.tcp { dport = 4711 })
    assert.matches("expected the verdict drop, got hold\nIP .*\n  tcp.dport +4711\n",
      message_of(function() assert.verdict("drop", result) end))
    assert.matches("\n  tcp.dport +4712\n",
      message_of(function() assert.verdict("accept", t.run(drop, t.tcp { dport = 4712 })) end))
  end)

  it("takes no error for a verdict", function()
    local message = message_of(function() assert.verdict("drop", raise, t.tcp {}) end)
    assert.matches("expected the verdict drop, got drop, after an error: .*no way\nstack traceback", message)
    assert.verdict("error", raise, t.tcp {})
    assert.matches("expected the verdict error, got drop", message_of(function() assert.verdict("error", drop,
      t.tcp {}) end))
  end)

  it("says what it does not understand", function()
    assert.matches("there is no verdict 'dorp'", message_of(function() assert.verdict("dorp", drop, t.tcp {}) end))
    assert.matches("assert.verdict takes a filter and a packet",
      message_of(function() assert.verdict("drop", t.tcp {}) end))
  end)
end)

describe("assert.rewritten", function()
  it("takes the fields that change, a packet, or bytes", function()
    local p = t.udp { payload = "hello" }
    assert.rewritten({ ip = { ttl = 9 } }, set_ttl, p)
    assert.rewritten({ ttl = 9 }, set_ttl, p)
    assert.rewritten(p:with { ttl = 9 }, set_ttl, p)
    assert.rewritten(p:with { ttl = 9 }.bytes, set_ttl, p)
    assert.rewritten({ mark = 5 }, mark, p)
    assert.is_not.rewritten({ mark = 6 }, mark, p)
    assert.is_not.rewritten({ ttl = 8 }, set_ttl, p)
    -- No other field may have changed.
    assert.is_not.rewritten({ ttl = 9 }, function(pkt) pkt.ip.ttl = 9 pkt.udp.dport = 9 end, p)
  end)

  it("shows both packets, and marks what differs", function()
    local message = message_of(function()
      assert.rewritten({ ttl = 8, payload = "hullo" }, set_ttl, t.udp { payload = "hello" })
    end)
    assert.matches("the filter made another packet:\n +expected +got\n", message)
    assert.matches("\n  %* ip.ttl +8 +9\n", message)
    assert.matches("\n  %* udp.payload +\"hullo\" +\"hello\"\n", message)
    assert.matches("\n    ip.saddr +\"192.0.2.1\" +\"192.0.2.1\"\n", message)
    assert.matches("\nexpected, 33 bytes:\n.*08%*11 .*\ngot, 33 bytes:\n.*09%*11 ", message)
  end)

  it("says that the packet was dropped, or the filter raised", function()
    assert.matches("expected a packet, but the filter dropped it",
      message_of(function() assert.rewritten({ ttl = 1 }, drop, t.udp {}) end))
    assert.matches("the filter raised: .*no way", message_of(function() assert.rewritten({ ttl = 1 }, raise,
      t.udp {}) end))
    assert.matches("takes the packet that is expected first",
      message_of(function() assert.rewritten(5, drop, t.udp {}) end))
    assert.matches("pkt.ip has no field 'tll'", message_of(function() assert.rewritten({ ip = { tll = 1 } }, drop,
      t.udp {}) end))
  end)
end)

describe("assert.unchanged", function()
  it("holds where nothing changed, mark included", function()
    assert.unchanged(accept, t.tcp { mark = 3 })
    assert.unchanged(function(pkt) pkt.ip.ttl = pkt.ip.ttl end, t.tcp {})
    assert.is_not.unchanged(set_ttl, t.tcp {})
    assert.is_not.unchanged(mark, t.tcp {})
    assert.is_not.unchanged(drop, t.tcp {})
    assert.matches("%* mark +0 +5\n", message_of(function() assert.unchanged(mark, t.tcp {}) end))
  end)
end)

describe("assert.valid_checksums", function()
  it("finds each wrong length and checksum", function()
    for _, wrong in ipairs { t.tcp { checksum = 1 }, t.udp { checksum = 1 }, t.icmp { checksum = 1 },
      t.icmpv6 { checksum = 1 }, t.sctp { checksum = 1 }, t.dccp { checksum = 1 }, t.udplite { checksum = 1 },
      t.tcp { ip = { checksum = 1 } }, t.tcp { ip = { length = 41 } }, t.udp { ip6 = { length = 9 } },
      t.udp { length = 9 }, t.udp { checksum = 0, ip6 = {} } } do
      assert.is_not.valid_checksums(wrong)
    end
    for _, name in ipairs { "tcp", "udp", "icmp", "icmpv6", "sctp", "dccp", "udplite", "gre", "esp", "ip", "ip6" } do
      assert.valid_checksums(t[name] { payload = "hello" })
    end
    assert.valid_checksums(t.udp { checksum = 0 })
    assert.valid_checksums(t.run(set_ttl, t.udp {}))
  end)

  it("leaves the link's padding alone", function()
    assert.valid_checksums(t.packet(t.udp { payload = "x" }.bytes .. ("\0"):rep(17)))
  end)

  it("shows what is right", function()
    local message = message_of(function() assert.valid_checksums(t.tcp { checksum = 0xbeef }) end)
    assert.matches("lengths or checksums are wrong:\n.*%* tcp.checksum +%d+ +48879\n", message)
    assert.matches("the packet is cut off", message_of(function() assert.valid_checksums(t.tcp { data_len = 30 }) end))
    assert.matches("malformed", message_of(function() assert.valid_checksums(t.packet "\69\0") end))
  end)
end)

describe("assert.golden", function()
  local function folder()
    local dir = os.tmpname()
    os.remove(dir)
    os.execute("mkdir " .. dir)
    finally(function() os.execute("rm -r " .. dir) end)
    local frames = {}
    for i = 1, 5 do frames[i] = { t.udp { payload = ("x"):rep(i), dport = i }.bytes, sec = i } end
    capture.write(dir .. "/in.pcap", frames)
    return dir
  end
  local function not_two(pkt)
    if pkt.udp.dport == 2 then return ipq.DROP end
    pkt.ip.ttl = 9
  end

  for _, kind in ipairs { "pcap", "json" } do
    it("compares a replay with what was kept, and writes it when asked to: " .. kind, function()
      local dir = folder()
      local golden, input = dir .. "/expected." .. kind, dir .. "/in.pcap"
      assert.matches("there is no golden file: .*expected." .. kind .. ".*IPQ_GOLDEN=update",
        message_of(function() assert.golden(golden, input, not_two) end))
      local getenv = os.getenv
      os.getenv = function(name) return name == "IPQ_GOLDEN" and "update" or getenv(name) end -- luacheck: ignore 122
      local ok, why = pcall(function() assert.golden(golden, input, not_two) end)
      os.getenv = getenv -- luacheck: ignore 122
      assert(ok, why)
      assert.golden(golden, input, not_two)
      assert.is_not.golden(golden, input, function() end)
    end)
  end

  it("says where they differ", function()
    local dir = folder()
    t.replay(dir .. "/in.pcap", not_two, { write = dir .. "/a.pcap" })
    local message = message_of(function() assert.golden(dir .. "/a.pcap", dir .. "/in.pcap", function(pkt)
      pkt.ip.ttl = 9
      if pkt.udp.dport == 4 then pkt.udp.dport = 7 end
    end) end)
    assert.matches("expected 4 packets, got 5", message)
    assert.matches("packet 3\n.*%* udp.dport +4 +3\n", message)
    local file = io.open(dir .. "/a.json", "w")
    file:write('{"number":1}\n')
    file:close()
    message = message_of(function() assert.golden(dir .. "/a.json", dir .. "/in.pcap", drop) end)
    assert.matches('line 1\n  expected {"number":1}\n  got      {"number":1,"time":"1.000000","verdict":"drop"',
      message)
    assert.matches("line 2\n  expected %(nothing%)\n  got ", message)
    assert.matches("a golden file's name ends with",
      message_of(function() assert.golden(dir .. "/a.txt", dir .. "/in.pcap", drop) end))
    assert.matches("cannot read the capture",
      message_of(function() assert.golden(dir .. "/a.pcap", dir .. "/none.pcap", drop) end))
  end)
end)

describe("other assertions", function()
  it("show packets of the kit as people read them", function()
    local message = message_of(function() assert.equal(t.udp { dport = 1 }, t.udp { dport = 2 }) end)
    assert.matches("\n  udp.dport +1\n", message)
    assert.matches("\n  udp.dport +2\n", message)
    assert.same(t.udp {}, t.udp {})
  end)
end)
