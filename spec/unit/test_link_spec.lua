-- Link headers and ARP of the test kit's packets: what a spec for an anonymiser needs.
local capture = require "spec.support.capture"
local ipq = require "ipq"
local log = require "ipq.log"
local t = require "ipq.test"

local FROM, TO = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
local five = { proto = 0x8100, id = 5, pcp = 0, dei = false }

local function raised(work)
  local ok, why = pcall(work)
  assert.is_false(ok)
  return (why:gsub("^spec/unit/test_link_spec.lua:%d+: ", ""))
end

describe("a packet of the kit", function()
  it("has the link header that it was given", function()
    for _, name in ipairs { "tcp", "udp", "icmp", "icmpv6", "gre", "ip", "ip6", "arp" } do
      local p = t[name] { ether = { saddr = FROM, daddr = TO }, vlan = { { id = 5 } } }
      assert.same({ FROM, TO, { five }, 0x8100, 5 }, { p.ether.saddr, p.ether.daddr, p.vlan, p.vlan_proto, p.vlan_tci })
      assert.equal(p.hw_protocol, p.ether.type)
      assert.equal(18, #p.l2hdr)
      assert.equal(t[name] {}.bytes, p.bytes)
    end
  end)

  it("has addresses of its own where one is not given, and no link header where nothing is", function()
    local p = t.tcp { ether = { saddr = FROM } }
    assert.same({ FROM, "02:00:00:00:00:02", "nil" }, { p.ether.saddr, p.ether.daddr, tostring(p.vlan) })
    p = t.udp { vlan = { five } }
    assert.same({ "02:00:00:00:00:01", { five } }, { p.ether.saddr, p.vlan })
    assert.is_nil(t.tcp {}.ether)
    assert.is_nil(t.tcp {}.l2hdr)
  end)

  it("has another one by with(), and the same where it is not named", function()
    local p = t.tcp { ether = { saddr = FROM }, vlan = { { id = 5 } } }
    local other = p:with { ether = { daddr = TO }, vlan = {}, ttl = 9 }
    assert.same({ FROM, TO, "nil", "nil", 9 }, { other.ether.saddr, other.ether.daddr, tostring(other.vlan),
      tostring(other.vlan_tci), other.ip.ttl })
    assert.equal(p.l2hdr, p:with { ttl = 9 }.l2hdr)
    assert.equal(FROM, t.arp {}:with { ether = { saddr = FROM } }.ether.saddr)
  end)

  it("has a bridge's link header, which a filter cannot change", function()
    local p = t.udp { family = "bridge", ether = { saddr = FROM } }
    assert.equal(FROM, p.ether.saddr)
    assert.matches("the kernel takes no link header back",
      t.run(function(pkt) pkt.ether.saddr = TO end, p).error)
    assert.equal("vlan: a bridge has taken the tag off, and tells it by vlan_proto and vlan_tci",
      raised(function() t.udp { family = "bridge", vlan = { { id = 5 } } } end))
  end)

  it("shows it to people", function()
    local text = t.describe(t.arp { ether = { saddr = FROM }, vlan = { { id = 5, pcp = 3, dei = true }, { id = 6 } } })
    for _, line in ipairs { "\n  ether.saddr        \"02:00:00:00:00:0a\"\n", "\n  ether.type         2054\n",
      "\n  vlan               0x8100 5 pcp 3 dei, 0x8100 6 pcp 0\n", "\n  arp.saddr_ip       \"192.0.2.1\"\n" } do
      assert.truthy(text:find(line, 1, true), text)
    end
  end)

  local wrong = {
    { function() t.tcp { ether = { saddr = "x" } } end, "ether.saddr must be the text of an Ethernet address" },
    { function() t.tcp { ether = { src = FROM } } end, "pkt.ether has no field 'src'; did you mean 'saddr'?" },
    { function() t.tcp { ether = { type = 5 } } end, "pkt.ether.type cannot be assigned" },
    { function() t.tcp { ether = FROM } end, "ether must be a table of the fields of pkt.ether, not a string" },
    { function() t.tcp { vlan = 5 } end, "vlan must be a list of tags, as { { id = 5 } }, or nil" },
    { function() t.tcp { vlan = { { id = 4096 } } } end, "vlan[1].id must be an integer from 0 to 4095" },
    { function() t.tcp { l2hdr = "x", ether = {} } end, "l2hdr is no Ethernet header" },
    { function() t.tcp { ehter = {} } end, "a packet with tcp and ip has no field 'ehter'; did you mean 'ether'?" },
    { function() t.arp { saddr = "10.0.0.1" } end, "a packet with arp has no field 'saddr'" },
    { function() t.arp { saddr_ip = "::1" } end, "arp.saddr_ip must be the text of an IPv4 address" },
    { function() t.arp "x" end, "a builder takes a table of fields" },
    { function() t.tcp { arp = { operation = 2 } } end, "the packet has no arp header" },
  }
  for _, each in ipairs(wrong) do
    it("cannot be built so: " .. each[2], function()
      local why = raised(each[1])
      assert.equal(each[2], why:sub(1, #each[2]))
      assert.matches("^spec/unit/test_link_spec.lua:%d+: ", select(2, pcall(each[1])))
    end)
  end
end)

describe("t.arp()", function()
  it("is a request, with the fields that it was given", function()
    local p = t.arp()
    assert.same({ "arp", 0x0806, 28, 1, "192.0.2.1", "192.0.2.2" },
      { p.family, p.hw_protocol, p.len, p.arp.operation, p.arp.saddr_ip, p.arp.daddr_ip })
    local given = { htype = 6, ptype = 0x0801, operation = 2, saddr_ether = FROM, saddr_ip = "10.0.0.1",
      daddr_ether = TO, daddr_ip = "10.0.0.2" }
    p = t.arp(given)
    for name, value in pairs(given) do assert.equal(value, p.arp[name], name) end
    assert.equal(p, t.arp { arp = given })
    assert.equal(p, t.arp {}:with { arp = given })
    assert.equal(p, t.arp {}:with(given))
    assert.valid_checksums(p)
    assert.equal("bridge", t.arp { family = "bridge" }.family)
    assert.equal("10.0.0.1", t.arp { family = "bridge", saddr_ip = "10.0.0.1" }.arp.saddr_ip)
    assert.valid_checksums(t.arp { family = "bridge" })
    assert.is_nil(t.arp { data_len = 27 }.arp)
  end)
end)

describe("an anonymiser", function()
  local function anonymise(pkt)
    if pkt.ether then pkt.ether.saddr = FROM end
    if pkt.vlan then pkt.vlan = nil end
    if pkt.arp then pkt.arp.saddr_ip = "192.0.2.99" end
  end

  it("is seen in the result, and by assert.rewritten", function()
    local p = t.udp { ether = { saddr = TO }, vlan = { { id = 5 } } }
    local result = assert.rewritten({ ether = { saddr = FROM }, vlan = {} }, anonymise, p)
    assert.same({ FROM, "nil", true, TO }, { result.packet.ether.saddr, tostring(result.packet.vlan), result.changed,
      result.judged.ether.saddr })
    assert.matches("^accept, changed: ", tostring(result))
    assert.rewritten({ saddr_ip = "192.0.2.99", ether = { saddr = FROM } }, anonymise, t.arp { ether = {} })
    assert.rewritten({ saddr_ip = "192.0.2.99" }, anonymise, t.arp {})
    assert.is_not.rewritten({ ether = { saddr = TO }, vlan = {} }, anonymise, p)
    assert.is_not.unchanged(anonymise, p)
    assert.unchanged(anonymise, t.udp { ether = { saddr = FROM } })
    -- A packet without a link header says nothing of it.
    assert.rewritten(t.udp {}, anonymise, p)
  end)

  it("has its packet as it came where it raises, and where it drops it", function()
    local p = t.udp { ether = { saddr = TO } }
    local result = t.run(function(pkt)
      anonymise(pkt)
      error "no"
    end, p)
    assert.same({ "drop", false }, { result.verdict, result.changed })
    result = t.run(function(pkt)
      anonymise(pkt)
      return ipq.DROP
    end, p)
    assert.same({ "drop", false, "nil" }, { result.verdict, result.changed, tostring(result.packet) })
  end)

  it("may hold its packets", function()
    local held
    local result = t.run(function(pkt)
      anonymise(pkt)
      held = pkt:hold()
    end, t.udp { ether = { saddr = TO } })
    assert.same({ "hold", false }, { result.verdict, result.changed })
    held:verdict()
    assert.same({ "accept", true, FROM }, { result.verdict, result.changed, result.packet.ether.saddr })
    result = t.run(function(pkt)
      anonymise(pkt)
      held = pkt:hold()
    end, t.udp { ether = { saddr = TO } })
    local sink = log.sink
    log.sink = function() end
    held:verdict(nil, "nonsense")
    log.sink = sink
    assert.same({ "drop", false }, { result.verdict, result.changed })
  end)

  it("is seen in what a replay has written", function()
    local path, out = os.tmpname(), os.tmpname()
    finally(function() os.remove(path) os.remove(out) end)
    local frames, came = {}, { t.udp { ether = { saddr = TO }, vlan = { { id = 5 } } }, t.arp { ether = {} } }
    for i, p in ipairs(came) do frames[i] = { p.l2hdr .. p.bytes } end
    capture.write(path, frames, { link = capture.ETHERNET })
    assert.equal(1, #t.read(path))
    assert.equal(1, #t.read(path, "vlan and udp"))
    assert.equal(1, #t.read(path, { select = "arp", arp = true }))
    for i, p in ipairs(t.read(path, { arp = true })) do assert.equal(came[i], p) end
    t.replay(path, anonymise, { write = out, arp = true })
    local after = t.read(out, { arp = true })
    assert.equal(2, #after)
    for i, p in ipairs(after) do assert.equal(t.run(anonymise, came[i]).packet, p) end
    assert.equal("192.0.2.99", after[2].arp.saddr_ip)
    assert.equal(FROM, after[2].ether.saddr)
  end)
end)
