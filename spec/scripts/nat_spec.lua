-- scripts/nat.lua on packets in memory. What it does between networks is in spec/kernel/nat_spec.lua.
local script = require "ipq.engine.script"
local t = require "ipq.test"

local PATH = "scripts/nat.lua"

--- Of each version: an inside host and its outside address; another's; somebody in the world; a router on the way.
local families = {
  { name = "IPv4", arguments = { inside = "192.0.2.0/24", outside = "198.51.100.0/24" },
    host = "192.0.2.7", public = "198.51.100.7", other = "192.0.2.9", other_public = "198.51.100.9",
    world = "203.0.113.1", router = "203.0.113.254", group = "224.0.0.251", icmp = "icmp", too_big = { 3, 4 } },
  { name = "IPv6", arguments = { inside6 = "2001:db8:1:40::/58", outside6 = "2001:db8:f0ff:ff80::/58" },
    host = "2001:db8:1:7f::7", public = "2001:db8:f0ff:ffbf::7", other = "2001:db8:1:40::9",
    other_public = "2001:db8:f0ff:ff80::9", world = "2001:db8:ffff::1", router = "2001:db8:ffff::fe",
    group = "ff02::fb", icmp = "icmpv6", too_big = { 2, 0 } },
}

--- As it comes to a hook: with the interfaces that are known there.
local function at(hook, fields)
  fields.hook = hook
  if hook ~= "output" and hook ~= "postrouting" then fields.indev_name = "eth0" end
  if hook ~= "prerouting" and hook ~= "input" then fields.outdev_name = "eth1" end
  return fields
end

--- An ICMP error, about a packet of that sender's to that receiver.
local function too_big(family, hook, saddr, daddr, quoted_saddr, quoted_daddr)
  local quoted = t.tcp { saddr = quoted_saddr, daddr = quoted_daddr, sport = 1024, dport = 80, payload = ("x"):rep(60) }
  return t[family.icmp](at(hook, { saddr = saddr, daddr = daddr, type = family.too_big[1], code = family.too_big[2],
    payload = quoted.bytes }))
end

for _, family in ipairs(families) do
  local host, public, world = family.host, family.public, family.world

  describe(PATH .. " over " .. family.name, function()
    local filter
    before_each(function() filter = t.load(PATH, family.arguments) end)

    for _, build in ipairs { "tcp", "udp", "udplite", "dccp", "sctp", family.icmp } do
      it("translates the source behind routing, and the destination before it: " .. build, function()
        local result = assert.rewritten({ saddr = public }, filter,
          t[build](at("postrouting", { saddr = host, daddr = world, payload = "hello" })))
        assert.valid_checksums(result)
        result = assert.rewritten({ daddr = host }, filter,
          t[build](at("prerouting", { saddr = world, daddr = public, payload = "hello" })))
        assert.valid_checksums(result)
      end)
    end

    it("leaves the source to the later hook, and the destination to the earlier", function()
      assert.unchanged(filter, t.udp(at("prerouting", { saddr = host, daddr = world })))
      assert.unchanged(filter, t.udp(at("postrouting", { saddr = world, daddr = public })))
    end)

    it("translates both in the other hooks, and of a capture", function()
      for _, hook in ipairs { "input", "forward", "output" } do
        assert.rewritten({ saddr = public }, filter, t.udp(at(hook, { saddr = host, daddr = world })))
        assert.rewritten({ daddr = host }, filter, t.udp(at(hook, { saddr = world, daddr = public })))
      end
      assert.rewritten({ saddr = public }, filter, t.udp { hook = "prerouting", saddr = host, daddr = world })
    end)

    it("translates both ends of a hairpin, before routing", function()
      assert.rewritten({ saddr = public, daddr = family.other }, filter,
        t.tcp(at("prerouting", { saddr = host, daddr = family.other_public })))
      assert.unchanged(filter, t.tcp(at("postrouting", { saddr = public, daddr = family.other })))
    end)

    it("leaves alone what goes from one inside host to another, to a group, and between others", function()
      for _, hook in ipairs { "prerouting", "forward", "postrouting" } do
        assert.unchanged(filter, t.udp(at(hook, { saddr = host, daddr = family.other })))
        assert.unchanged(filter, t.udp(at(hook, { saddr = host, daddr = family.group })))
        assert.unchanged(filter, t.udp(at(hook, { saddr = world, daddr = family.router })))
      end
    end)

    it("translates every fragment", function()
      local whole = t.udp(at("postrouting", { saddr = host, daddr = world, payload = ("x"):rep(200) }))
      local expected = t.fragments(whole:with { saddr = public }, 120)
      for i, piece in ipairs(t.fragments(whole, 120)) do
        assert.equal(expected[i].bytes, t.run(filter, piece).packet.bytes)
      end
    end)

    it("translates an error about what an inside host has sent, and the packet that it quotes", function()
      local result = t.run(filter, too_big(family, "prerouting", family.router, public, public, world))
      assert.equal(too_big(family, "prerouting", family.router, host, host, world).bytes, result.packet.bytes)
      assert.valid_checksums(result)
    end)

    it("translates an inside host's error about what came to it", function()
      local result = t.run(filter, too_big(family, "postrouting", host, world, world, host))
      assert.equal(too_big(family, "postrouting", public, world, world, public).bytes, result.packet.bytes)
      assert.valid_checksums(result)
    end)

    it("translates what the router's own error quotes, where it goes out", function()
      local result = t.run(filter, too_big(family, "postrouting", family.router, world, world, host))
      assert.equal(too_big(family, "postrouting", family.router, world, world, public).bytes, result.packet.bytes)
      assert.valid_checksums(result)
      assert.unchanged(filter, too_big(family, "postrouting", family.router, host, host, world))
    end)

    it("gives the sender of a hairpin the error about it as it sent it", function()
      local other, other_public = family.other, family.other_public
      local result = t.run(filter, too_big(family, "prerouting", other, public, public, other))
      assert.equal(too_big(family, "prerouting", other_public, host, host, other_public).bytes, result.packet.bytes)
    end)

    it("drops what is cut so that nobody knows what it is", function()
      assert.verdict("drop", filter, t.tcp(at("postrouting", { saddr = host, daddr = world, data_len = 45 - 20 })))
    end)
  end)
end

describe(PATH, function()
  it("leaves the other version alone", function()
    local v4, v6 = families[1], families[2]
    assert.unchanged(t.load(PATH, v4.arguments), t.udp(at("postrouting", { saddr = v6.host, daddr = v6.world })))
    assert.unchanged(t.load(PATH, v6.arguments), t.udp(at("postrouting", { saddr = v4.host, daddr = v4.world })))
  end)

  it("translates both versions side by side", function()
    local arguments = {}
    for _, family in ipairs(families) do
      for name, value in pairs(family.arguments) do arguments[name] = value end
    end
    local filter = t.load(PATH, arguments)
    for _, family in ipairs(families) do
      assert.rewritten({ saddr = family.public }, filter,
        t.udp(at("postrouting", { saddr = family.host, daddr = family.world })))
    end
  end)

  it("leaves what a bridge queues alone", function()
    for _, family in ipairs(families) do
      assert.unchanged(t.load(PATH, family.arguments),
        t.udp { family = "bridge", hook = "forward", saddr = family.host, daddr = family.world })
    end
  end)

  it("leaves neighbour discovery alone", function()
    local v6 = families[2]
    local filter = t.load(PATH, v6.arguments)
    for kind = 133, 137 do
      assert.unchanged(filter, t.icmpv6(at("postrouting", { saddr = v6.host, daddr = "fe80::1", type = kind })))
    end
    assert.rewritten({ saddr = v6.public }, filter,
      t.icmpv6(at("postrouting", { saddr = v6.host, daddr = v6.world, type = 138 })))
  end)

  it("moves single addresses, and whole halves of all addresses", function()
    local one = t.load(PATH, { inside = "192.0.2.7/32", outside = "198.51.100.9/32",
      inside6 = "2001:db8::7/128", outside6 = "2001:db8:ffff::9/128" })
    assert.rewritten({ saddr = "198.51.100.9" }, one, t.udp { saddr = "192.0.2.7", daddr = "203.0.113.1" })
    assert.rewritten({ daddr = "2001:db8::7" }, one, t.udp { saddr = "2001:db8::1", daddr = "2001:db8:ffff::9" })
    assert.unchanged(one, t.udp { saddr = "192.0.2.6", daddr = "203.0.113.1" })
    assert.unchanged(one, t.udp { saddr = "2001:db8::1", daddr = "2001:db8:ffff::8" })
    local half = t.load(PATH, { inside6 = "fc00::/7", outside6 = "2000::/7" })
    assert.rewritten({ saddr = "2101:2:3:4:5:6:7:8" }, half,
      t.udp { saddr = "fd01:2:3:4:5:6:7:8", daddr = "64:ff9b::1" })
  end)

  it("does not load with networks that do not belong together", function()
    for words, why in pairs {
      [""] = "inside=NETWORK outside=NETWORK is missing",
      ["inside=192.0.2.0/24"] = "inside= and outside= belong together",
      ["outside6=2001:db8::/48"] = "inside6= and outside6= belong together",
      ["inside=192.0.2.0/24 outside=198.51.100.0/25"] = "the same prefix length",
      ["inside=0.0.0.0/0 outside=0.0.0.0/0"] = "the same prefix length, 1 or more",
      ["inside=192.0.2.1 outside=198.51.100.1"] = "inside must be a network with its prefix",
      ["inside=2001:db8::/32 outside=2001:db9::/32"] = "inside must be a network of IPv4",
      ["inside6=192.0.2.0/24 outside6=198.51.100.0/24"] = "inside6 must be a network of IPv6",
      ["inside6=::ffff:192.0.2.0/120 outside6=2001:db8::/120"] = "without an IPv4 address in them",
      ["inside=192.0.2.300/24 outside=198.51.100.0/24"] = "192.0.2.300/24",
    } do
      local argv = {}
      for word in words:gmatch "%S+" do argv[#argv + 1] = word end
      local loaded, message = script.load(PATH, argv)
      assert.is_nil(loaded, words)
      assert.truthy(message:find(why, 1, true), message)
    end
  end)
end)
