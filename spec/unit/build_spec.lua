-- ipq.build: packets from tables of fields, in a filter.
local E = require("ffi").C
local ipq = require "ipq"
local own_packet = require "ipq.packet.own"
local random_fields = require "spec.support.random_fields"
local rewrite = require "spec.support.rewrite"
local t = require "ipq.test"

local NAMES = { "ip", "ip6", "tcp", "udp", "udplite", "icmp", "icmpv6", "sctp", "dccp", "gre", "esp" }

local function refusal(name, given)
  local packet, why = ipq.build[name](given)
  assert.is_nil(packet)
  return why
end

describe("ipq.build", function()
  it("makes the packets of the test kit, byte by byte", function()
    for seed = 1, 300 do
      local random = rewrite.random(seed)
      local name, given, ip = random_fields.given(random)
      local own, kit = assert(ipq.build[name](given)), t[name](given)
      assert.equal(kit:hex(), t.packet(own:bytes()):hex())
      for key in pairs(random_fields.meta) do
        if given[key] then assert.equal(given[key], own[key], key) end
      end
      assert.same({ kit.family, kit.hw_protocol }, { own.family, own.hw_protocol })
      assert.equal(tostring(kit), tostring(own))
      assert.equal(kit[ip].saddr, own.saddr)
    end
  end)

  it("has a builder for each that the test kit has, but for ARP", function()
    for _, name in ipairs(NAMES) do
      assert.equal(t[name] {}.bytes, assert(ipq.build[name] {}):bytes(), name)
      assert.equal(t[name] {}.bytes, assert(ipq.build[name]()):bytes(), name)
    end
    local count = 0
    for _ in pairs(ipq.build) do count = count + 1 end
    assert.equal(#NAMES, count)
  end)

  it("takes lengths and checksums that lie, which stay", function()
    for name, given in pairs { tcp = { checksum = 0xbeef, ip = { length = 9999 } }, udp = { checksum = 0, length = 9 },
      udplite = { csumcov = 10, payload = "abcdef" }, ip = { checksum = 1, payload = "x" }, ip6 = { length = 7 },
      gre = { flags = 0x20, payload = "\0\0\0\7" }, icmp = { ip = { mf = true, frag_off = 3 } } } do
      local own = assert(ipq.build[name](given))
      assert.equal(t[name](given):hex(), t.packet(own:bytes()):hex())
      assert.equal(own:bytes(), own:bytes())
    end
  end)

  it("makes what is right again of a length that lies once something is assigned", function()
    local own = assert(ipq.build.udp { payload = "hello", ip = { length = 9999 } })
    own.ip.ttl = 3
    assert.equal(t.udp { payload = "hello", ttl = 3 }.bytes, own:bytes())
  end)

  it("has checksums that lie follow what is assigned, as a packet that came so", function()
    for name, given in pairs { tcp = { checksum = 0xbeef }, udp = { checksum = 7, payload = "hello" },
      udplite = { checksum = 9 } } do
      local own = assert(ipq.build[name](given))
      local function change(pkt)
        pkt.sport = pkt.sport + 5
        pkt.saddr = "10.1.2.3"
      end
      change(own)
      assert.equal(t.run(change, t[name](given)).packet:hex(), t.packet(own:bytes()):hex())
    end
  end)

  it("takes payloads that are Buffers, of live packets and of its own", function()
    local own = assert(ipq.build.udp { payload = "hello" })
    assert.equal("hello", tostring(assert(ipq.build.tcp { payload = own.udp.payload }).tcp.payload))
    local answer
    t.run(function(pkt) answer = assert(ipq.build.udp { payload = pkt.tcp.payload }) end, t.tcp { payload = "live" })
    assert.equal("live", tostring(answer.udp.payload))
  end)

  it("takes metadata: what is sent by goes into the packet, and the rest is checked", function()
    local own = assert(ipq.build.udp { mark = -1, priority = 5, indev = 3, outdev = 7, hook = "output", uid = 9,
      timestamp = 1.5, hw_addr = "02:00:00:00:00:01", ct = { state = "new" }, gso = true, secctx = "x" })
    assert.same({ 0xffffffff, 5, 3, 7, "output", 9, 1.5, "02:00:00:00:00:01" }, { own.mark, own.priority, own.indev,
      own.outdev, own.hook_name, own.uid, own.timestamp, own.hw_addr })
    local set = own_packet.packet(own).set
    assert.equal(E.IPQ_SET_MARK + E.IPQ_SET_PRIORITY, bit.band(set, E.IPQ_SET_MARK + E.IPQ_SET_PRIORITY))
    assert.is_truthy(ipq.build.udp { ether = { saddr = "02:00:00:00:00:01" }, vlan = { { id = 5 } } })
    assert.is_nil(own.ct)
    assert.is_false(own.gso)
  end)

  it("finds interfaces by their names", function()
    local own = assert(ipq.build.udp { outdev_name = "lo", indev_name = "lo" })
    assert.same({ 1, 1, "lo" }, { own.outdev, own.indev, own.outdev_name })
    assert.equal("outdev_name: there is no interface 'nowhere0'", refusal("udp", { outdev_name = "nowhere0" }))
    assert.equal(9, assert(ipq.build.udp { outdev_name = "nowhere0", outdev = 9 }).outdev)
  end)

  it("takes any name for none with a capture, whose interfaces are another machine's", function()
    local live = require "ipq.engine.live"
    live.is_capture = true
    finally(function() live.is_capture = false end)
    assert.is_nil(assert(ipq.build.udp { outdev_name = "nowhere0" }).outdev)
  end)

  it("finds those of the test kit's packets in their filters", function()
    local own
    t.run(function(pkt) own = assert(ipq.build.udp { outdev_name = pkt.indev_name }) end, t.udp { indev_name = "wan7" })
    assert.is_true(own.outdev > 0)
  end)

  it("gives nil and why for fields that cannot be", function()
    for _, case in ipairs {
      { "tcp", { dst_port = 80 }, "a packet with tcp and ip has no field 'dst_port'; did you mean 'dport'?" },
      { "tcp", { dport = 65536 }, "tcp.dport must be an integer from 0 to 65535" },
      { "udp", { payload = 5 }, "payload must be a string" },
      { "ip", { payload = 5 }, "payload must be a string" },
      { "udp", { saddr = "10.0.0" }, "ip.saddr must be the text of an IPv4 address" },
      { "icmp", { saddr = "2001:db8::1" },
        "ipq.build.icmp builds IPv4, and saddr is 2001:db8::1; ipq.build.icmpv6 builds IPv6" },
      { "udp", { mark = 2 ^ 32 },
        "mark must be an integer from -2147483648 to 4294967295; value % 2^32 brings a larger one there" },
      { "udp", { hook = "nowhere" },
        "hook: there is no 'nowhere'; there are prerouting, input, forward, output, postrouting" },
      { "udp", { tcp = { dport = 1 } }, "the packet has no tcp header" },
      { "udp", { ip = { data = "x" } }, "pkt.ip has no field 'data'" },
      { "udp", { exthdrs = { {} } }, "exthdrs: entry 1 must be { nexthdr = number, data = string }" },
      { "udp", { payload = ("x"):rep(65520) }, "over 65531 bytes" },
      { "udp", { [{}] = 1 }, "a packet with udp and ip has no field 'table: " },
    } do
      local why = refusal(case[1], case[2])
      assert.truthy(why:find(case[3], 1, true), why)
      assert.not_matches("%.lua:", why)
    end
  end)

  it("raises at the script's line where it is given no table, or asked for what there is not", function()
    for _, case in ipairs {
      { function() return (ipq.build.tcp "x") end, "a builder takes a table of fields" },
      { function() return ipq.build.tpc {} end, "ipq.build has no 'tpc'; did you mean 'tcp'?" },
      { function() return ipq.build.arp {} end, "ipq.build has no 'arp'" },
    } do
      local ok, message = pcall(case[1])
      assert.is_false(ok)
      assert.matches("^spec/unit/build_spec.lua:%d+: ", message)
      assert.truthy(message:find(case[2], 1, true), message)
    end
  end)
end)
