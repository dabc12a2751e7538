-- pkt.ether, pkt.vlan and pkt.arp: read, assigned, and written into captures.
local capture = require "spec.support.capture"
local core = require "ipq.core"
local dispatch = require "ipq.engine.dispatch"
local ipq = require "ipq"
local m = require "spec.support.message"
local netns = require "spec.support.netns"
local packets = require "spec.support.packet"
local source = require "spec.support.source"
local t = require "ipq.test"
local traces = require "spec.support.traces"
local tshark = require "spec.support.tshark"

local be16 = m.be16
local FROM, TO, OTHER = "\2\0\0\0\0\1", "\2\0\0\0\0\2", "\10\11\12\13\14\15"
local FROM_TEXT, TO_TEXT, OTHER_TEXT = "02:00:00:00:00:01", "02:00:00:00:00:02", "0a:0b:0c:0d:0e:0f"
local packet, packet6 = packets.ip(17, packets.udp "hello"), packets.ip6(6, packets.tcp "hello")
local arp = "\0\1\8\0\6\4\0\1" .. FROM .. "\10\0\0\1" .. ("\0"):rep(6) .. "\10\0\0\2"

--- A link header before a packet of that type, with these tags: { type, own two bytes } each. saddr is the sender's.
local links = {
  Ethernet = { type = capture.ETHERNET, header = function(kind, saddr) return TO .. saddr .. be16(kind) end },
  ["Linux cooked"] = { type = capture.SLL, header = function(kind, saddr)
    return "\0\4\0\1\0\6" .. saddr .. "\0\0" .. be16(kind)
  end },
  ["Linux cooked 2"] = { type = capture.SLL2, header = function(kind, saddr)
    return be16(kind) .. "\0\0\0\0\0\3\0\1\4\6" .. saddr .. "\0\0"
  end },
}

local function frame(link, kind, tags, bytes, saddr)
  local text = link.header(tags[1] and tags[1][1] or kind, saddr or FROM)
  for i, tag in ipairs(tags) do text = text .. be16(tag[2]) .. be16(tags[i + 1] and tags[i + 1][1] or kind) end
  return text .. bytes
end

local function paths(count)
  local list = {}
  for i = 1, count do list[i] = os.tmpname() end
  finally(function() for _, path in ipairs(list) do os.remove(path) end end)
  return unpack(list)
end

--- The frames (strings) that a filter makes of these, and what the replay tells.
local function written(frames, link, filter, options)
  local path, out = paths(2)
  local list = {}
  for i, bytes in ipairs(frames) do list[i] = { bytes } end
  capture.write(path, list, { link = link })
  options = options or {}
  options.write = out
  local result = t.replay(path, filter, options)
  local got = {}
  for i, each in ipairs((capture.read(out))) do got[i] = each[1] end
  return got, result
end

--- What look(pkt) gives for a frame.
local function look_at(bytes, link, look, options)
  local result
  written({ bytes }, link, function(pkt) result = { pcall(look, pkt) } end, options)
  if not result[1] then error(result[2], 0) end
  return unpack(result, 2)
end

--- What a filter raises that is given the packet, without traceback.
local function raised(pkt, filter)
  local why = t.run(filter, pkt).error
  return why and why:match "^[^\n]*:%d+: ([^\n]*)"
end

local id5, id6 = { 0x8100, 5 }, { 0x88a8, 0xf006 }
local five = { proto = 0x8100, id = 5, pcp = 0, dei = false }
local six = { proto = 0x88a8, id = 6, pcp = 7, dei = true }
local all_tags = { { {}, nil }, { { id5 }, { five } }, { { id6, id5 }, { six, five } } }

describe("pkt.ether", function()
  it("has the addresses and the type behind all tags", function()
    for _, tags in ipairs(all_tags) do
      for kind, bytes in pairs { [0x0800] = packet, [0x86dd] = packet6 } do
        assert.same({ FROM_TEXT, TO_TEXT, kind }, { look_at(frame(links.Ethernet, kind, tags[1], bytes),
          capture.ETHERNET, function(pkt) return pkt.ether.saddr, pkt.ether.daddr, pkt.ether.type end) })
      end
    end
  end)

  it("has no destination in a Linux cooked capture", function()
    for _, name in ipairs { "Linux cooked", "Linux cooked 2" } do
      for _, tags in ipairs(all_tags) do
        assert.same({ FROM_TEXT, "nil", 0x0800 }, { look_at(frame(links[name], 0x0800, tags[1], packet),
          links[name].type, function(pkt) return pkt.ether.saddr, tostring(pkt.ether.daddr), pkt.ether.type end) })
      end
    end
  end)

  it("is nil where there is no Ethernet address", function()
    for _, each in ipairs { { capture.RAW, "" }, { capture.NULL, m.host32(2) },
      { capture.SLL, "\0\4\2\0\0\0" .. ("\0"):rep(8) .. "\8\0" }, { capture.SLL, "\0\4\2\0\0\8" .. FROM .. "\1\1\8\0" },
      { capture.SLL2, "\8\0\0\0\0\0\0\3\0\1\4\4" .. FROM .. "\0\0" } } do
      assert.equal("nil", look_at(each[2] .. packet, each[1], function(pkt) return tostring(pkt.ether) end))
    end
    assert.is_nil(t.tcp {}.ether)
    assert.is_nil(t.tcp { l2hdr = TO .. FROM .. "\8" }.ether)
  end)

  it("is read of a bridge's packets, and cannot be assigned there", function()
    local l2hdr = TO .. FROM .. "\8\0"
    local message = m.packet(m.attr(m.PACKET_HDR, m.be32(1) .. "\8\0\2") .. m.attr(m.L2HDR, l2hdr)
      .. m.attr(m.PAYLOAD, packet), { family = 7 })
    local seen, messages, src = nil, {}, source.new { message }
    src:verdicts(function(pkt)
      seen = { pkt.ether.saddr, pkt.ether.daddr, pkt.ether.type }
      for i, assign in ipairs {
        function() pkt.ether.saddr = OTHER_TEXT end, function() pkt.ether.daddr = OTHER_TEXT end,
        function() pkt.vlan = { { id = 5 } } end, function() pkt.vlan = nil end,
      } do
        messages[i] = select(2, pcall(assign))
      end
      assert.equal(l2hdr, pkt.l2hdr)
    end)
    assert.same({ FROM_TEXT, TO_TEXT, 0x0800 }, seen)
    assert.equal(0, src.batch.packets[0].set)
    for i, name in ipairs { "ether.saddr", "ether.daddr", "vlan", "vlan" } do
      assert.matches("^spec/unit/ether_spec.lua:%d+: " .. name .. " cannot be assigned: the kernel takes no link "
        .. "header back, but that of a capture can be changed$", messages[i])
    end
  end)

  it("has the type behind the tags that a bridge has left in the packet", function()
    local p = t.packet("\0\5\136\168\0\6\8\0" .. packet, { family = "bridge", hw_protocol = 0x8100,
      l2hdr = TO .. FROM .. "\129\0" })
    assert.equal(0x0800, p.ether.type)
    assert.same({ 5, 6, "10.0.0.1" }, { p.vlan[1].id, p.vlan[2].id, p.saddr })
    p = t.packet("\0\5\136", { family = "bridge", hw_protocol = 0x8100, l2hdr = TO .. FROM .. "\129\0" })
    assert.equal(0x8100, p.ether.type)
    assert.is_nil(p.vlan)
  end)

  it("is written into the frame, and nothing else changes", function()
    for name, link in pairs(links) do
      for _, tags in ipairs(all_tags) do
        for kind, bytes in pairs { [0x0800] = packet, [0x86dd] = packet6 } do
          bytes = bytes .. "padding"
          local got, result = written({ frame(link, kind, tags[1], bytes) }, link.type, function(pkt)
            pkt.ether.saddr = OTHER_TEXT
            assert(pkt.ether.saddr == OTHER_TEXT)
          end)
          assert.same({ frame(link, kind, tags[1], bytes, OTHER) }, got, name)
          assert.same({ 0, 1, true }, { result.errors, result.changed, result.records[1].changed })
        end
      end
    end
    assert.same({ OTHER .. FROM .. "\8\0" .. packet }, (written({ frame(links.Ethernet, 0x0800, {}, packet) },
      capture.ETHERNET, function(pkt) pkt.ether.daddr = "0A-0b-0C-0d-0e-0F" end)))
  end)

  it("is written together with what else has changed", function()
    local built = t.udp { payload = "hello" }
    local got = written({ TO .. FROM .. "\8\0" .. built.bytes .. "padding" }, capture.ETHERNET, function(pkt)
      pkt.ether.saddr, pkt.ip.ttl = OTHER_TEXT, 9
      pkt.udp.payload:replace(0, 5, "good day")
    end)
    assert.same({ TO .. OTHER .. "\8\0" .. built:with { ttl = 9, payload = "good day" }.bytes }, got)
  end)

  it("takes text alone, in six pairs of digits", function()
    local p = t.tcp { ether = {} }
    for _, value in ipairs { 1, true, "", "02:00:00:00:00", "02:00:00:00:00:01:02", "2:0:0:0:0:1", "02:00:00:00:00:0g",
      "02:00-00:00:00:01", "02.00.00.00.00.01", "020000000001", "02:00:00:00:00:01 ", "02:00:00:00:00:0\0",
      "/2:00:00:00:00:01", ":2:00:00:00:00:01", "@2:00:00:00:00:01", "`2:00:00:00:00:01" } do
      for _, name in ipairs { "saddr", "daddr" } do
        assert.equal(("ether.%s must be the text of an Ethernet address"):format(name),
          raised(p, function(pkt) pkt.ether[name] = value end), tostring(value))
      end
    end
    assert.equal("pkt.ether.type cannot be assigned", raised(p, function(pkt) pkt.ether.type = 0x0800 end))
    assert.equal("pkt.ether has no field 'src'; did you mean 'saddr'?", raised(p, function(pkt) pkt.ether.src = 1 end))
    assert.equal("ether.daddr cannot be assigned: a Linux cooked capture has none", look_at(
      frame(links["Linux cooked"], 0x0800, {}, packet), capture.SLL, function(pkt)
        return (select(2, pcall(function() pkt.ether.daddr = OTHER_TEXT end)):gsub("^[^:]*:%d+: ", ""))
      end))
  end)

  it("ends with its packet", function()
    local kept
    t.run(function(pkt) kept = pkt.ether end, t.tcp { ether = {} })
    assert.error_matches(function() return kept.saddr end, "packet used after its filter returned")
    assert.error_matches(function() kept.saddr = OTHER_TEXT end, "packet used after its filter returned")
  end)
end)

describe("pkt.vlan", function()
  it("is a list of tags, a new one each time, and nil where there is none", function()
    for name, link in pairs(links) do
      for _, tags in ipairs(all_tags) do
        look_at(frame(link, 0x0800, tags[1], packet), link.type, function(pkt)
          assert.same(tags[2], pkt.vlan, name)
          assert.is_true(not tags[2] or pkt.vlan ~= pkt.vlan)
        end)
      end
    end
  end)

  it("is the kernel's one tag where there is no header to look into", function()
    local function tags_of(more, bytes, family)
      local list
      source.new { m.packet(m.hdr(1, 0x0800) .. more .. m.attr(m.PAYLOAD, bytes), { family = family }) }
        :verdicts(function(pkt) list = pkt.vlan end)
      return list
    end
    local tag = m.attr(m.VLAN, m.attr(1, be16(0x88a8)) .. m.attr(2, be16(0xf006)))
    assert.same({ six }, tags_of(tag, packet, 2))
    assert.same({ six }, tags_of(tag .. m.attr(m.L2HDR, TO .. FROM .. "\8\0"), packet, 7))
    assert.is_nil(tags_of("", packet, 7))
    assert.same({ six }, t.tcp { vlan_proto = 0x88a8, vlan_tci = 0xf006 }.vlan)
    assert.same({ six, five }, t.packet("\0\5\8\0" .. packet, { family = "bridge", hw_protocol = 0x8100,
      vlan_proto = 0x88a8, vlan_tci = 0xf006 }).vlan)
  end)

  it("is written into the frame, whatever number of tags there was", function()
    for name, link in pairs(links) do
      for _, before in ipairs(all_tags) do
        for _, after in ipairs(all_tags) do
          for kind, bytes in pairs { [0x0800] = packet, [0x86dd] = packet6 } do
            local seen
            local got = written({ frame(link, kind, before[1], bytes .. "padding") }, link.type, function(pkt)
              pkt.vlan = after[2]
              seen = { pkt.vlan or 0, pkt.vlan_proto or 0, pkt.vlan_tci or 0, pkt.l2hdr, pkt.ether.type }
            end)
            local expected = frame(link, kind, after[1], "")
            assert.same({ expected .. bytes .. "padding" }, got, name)
            local tag = after[1][1] or { 0, 0 }
            assert.same({ after[2] or 0, tag[1], tag[2], expected, kind }, seen)
          end
        end
      end
    end
  end)

  it("is changed by a list that was read, and a tag needs its id alone", function()
    local got = written({ frame(links.Ethernet, 0x0800, { id6, id5 }, packet) }, capture.ETHERNET, function(pkt)
      local tags = pkt.vlan
      tags[1].id, tags[2].pcp = 4095, 5
      tags[3] = { id = 0 }
      pkt.vlan = tags
    end)
    assert.same({ frame(links.Ethernet, 0x0800, { { 0x88a8, 0xffff }, { 0x8100, 0xa005 }, { 0x8100, 0 } }, packet) },
      got)
    assert.same({ frame(links.Ethernet, 0x0800, {}, packet) }, (written(
      { frame(links.Ethernet, 0x0800, { id6, id5 }, packet) }, capture.ETHERNET, function(pkt) pkt.vlan = {} end)))
  end)

  it("leaves what follows the tags in the header as it is", function()
    local snap = be16(#packet + 8) .. "\170\170\3\0\0\0\8\0"
    local p = t.packet(packet, { l2hdr = TO .. FROM .. "\129\0\0\5" .. snap })
    local function with(tags) return t.run(function(pkt) pkt.vlan = tags end, p).packet.l2hdr end
    assert.equal(TO .. FROM .. snap, with(nil))
    assert.equal(TO .. FROM .. "\136\168\240\6\129\0\0\5" .. snap, with { six, five })
    assert.same({ TO .. FROM .. "\136\168\240\6\129\0\0\5" .. snap .. packet }, (written(
      { TO .. FROM .. snap .. packet }, capture.ETHERNET, function(pkt) pkt.vlan = { six, five } end)))
  end)

  it("has no more tags than there is room for", function()
    local function many(count)
      local tags = {}
      for i = 1, count do tags[i] = { id = i } end
      return tags
    end
    for name, link in pairs(links) do
      local most = math.floor((512 - #link.header(0, FROM)) / 4)
      local got, result = written({ frame(link, 0x0800, { id5 }, packet) }, link.type, function(pkt)
        pkt.vlan = many(most)
      end)
      assert.equal(0, result.errors)
      assert.equal(#packet + #link.header(0, FROM) + most * 4, #got[1], name)
      look_at(got[1], link.type, function(pkt)
        assert.equal(most, #pkt.vlan)
        assert.error_matches(function() pkt.vlan = many(most + 1) end,
          ("vlan: %d tags are too many: there is room for %d"):format(most + 1, most))
        assert.equal(most, #pkt.vlan)
      end)
    end
  end)

  local wrong = {
    { 5, "vlan must be a list of tags, as { { id = 5 } }, or nil" },
    { "5", "vlan must be a list of tags, as { { id = 5 } }, or nil" },
    { { id = 5 }, "vlan is a list of tags, as { { id = 5 } }, which has no 'id'" },
    { { 5 }, "vlan[1] must be a tag, as { id = 5 }, and not a number" },
    { { { id = 5 }, [3] = { id = 5 } }, "vlan[2] must be a tag, as { id = 5 }, and not a nil" },
    { { {} }, "vlan[1].id must be an integer from 0 to 4095" },
    { { { id = 4096 } }, "vlan[1].id must be an integer from 0 to 4095" },
    { { { id = 5 }, { id = -1 } }, "vlan[2].id must be an integer from 0 to 4095" },
    { { { id = 0 / 0 } }, "vlan[1].id must be an integer from 0 to 4095" },
    { { { id = 5, pcp = 8 } }, "vlan[1].pcp must be an integer from 0 to 7" },
    { { { id = 5, pcp = 0.5 } }, "vlan[1].pcp must be an integer from 0 to 7" },
    { { { id = 5, dei = 1 } }, "vlan[1].dei must be true or false" },
    { { { id = 5, proto = 0x0800 } }, "vlan[1].proto must be 0x8100, 0x88a8 or 0x9100" },
    { { { id = 5, proto = "x" } }, "vlan[1].proto must be an integer from 0 to 65535" },
    { { { id = 5, pcb = 1 } }, "vlan[1] has no field 'pcb'; did you mean 'pcp'?" },
  }
  for _, each in ipairs(wrong) do
    it("refuses what is none, and changes nothing: " .. each[2], function()
      local p = t.tcp { vlan = { { id = 7 } } }
      local l2hdr
      assert.equal(each[2], raised(p, function(pkt)
        local ok, why = pcall(function() pkt.vlan = each[1] end)
        l2hdr = pkt.l2hdr
        if not ok then error(why, 0) end
      end))
      assert.equal(p.l2hdr, l2hdr)
    end)
  end

  it("raises at the script's line where there is no place for tags", function()
    for _, each in ipairs { { capture.RAW, "" }, { capture.NULL, m.host32(2) } } do
      look_at(each[2] .. packet, each[1], function(pkt)
        assert.is_nil(pkt.vlan)
        local line = debug.getinfo(1, "l").currentline
        local _, why = pcall(function() pkt.vlan = { { id = 5 } } end)
        assert.equal(("spec/unit/ether_spec.lua:%d: vlan cannot be assigned: the packet has no link header that tags "
          .. "could be in"):format(line + 1), why)
      end)
    end
  end)
end)

describe("pkt.arp", function()
  local names = { "htype", "ptype", "hlen", "plen", "operation", "saddr_ether", "saddr_ip", "daddr_ether", "daddr_ip" }

  local function fields_of(view)
    local list = {}
    for i, name in ipairs(names) do
      local value = view[name]
      if value == nil then value = "none" end
      list[i] = value
    end
    return list
  end

  it("has what ARP has, and the packet nothing of IP", function()
    look_at(frame(links.Ethernet, 0x0806, { id5 }, arp), capture.ETHERNET, function(pkt)
      assert.same({ 1, 0x0800, 6, 4, 1, FROM_TEXT, "10.0.0.1", "00:00:00:00:00:00", "10.0.0.2" }, fields_of(pkt.arp))
      assert.same({ "arp", 0x0806, 28, 5 }, { pkt.family, pkt.hw_protocol, pkt.len, pkt.vlan_tci })
      for _, name in ipairs { "ip", "ip6", "saddr", "daddr", "protocol", "tcp", "sport", "malformed", "fragment" } do
        assert.is_nil(pkt[name], name)
      end
      assert.equal("ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 28", tostring(pkt))
    end, { arp = true })
    assert.equal("ARP, Reply 10.0.0.1 is-at 0a:0b:0c:0d:0e:0f, length 28",
      tostring(t.arp { operation = 2, saddr_ip = "10.0.0.1", saddr_ether = OTHER_TEXT }))
    assert.equal("ARP, operation 3, length 28", tostring(t.arp { operation = 3 }))
  end)

  it("is ARP by its type, also where its bytes look like IP", function()
    local p = t.packet(packet, { family = "arp" })
    assert.is_nil(p.ip)
    assert.is_nil(p.saddr)
    p = t.packet(packet, { family = "bridge", hw_protocol = 0x0806 })
    assert.same({ "nil", "nil" }, { tostring(p.ip), tostring(p.udp) })
    assert.is_nil(t.tcp {}.arp)
    assert.is_nil(t.packet(arp).arp)
    assert.is_nil(t.packet(arp, { family = "bridge", hw_protocol = 0x88cc }).arp)
    assert.is_nil(t.packet(arp .. "\8\6", { family = "bridge", hw_protocol = 0x88cc }).arp)
  end)

  it("is nil where its bytes are too few, which is told", function()
    for _, length in ipairs { 0, 1, 7, 8, 27 } do
      local p = t.packet(arp:sub(1, length), { family = "arp" })
      assert.is_nil(p.arp, length)
      assert.truthy(p.malformed)
      p = t.packet(arp, { family = "arp", data_len = length })
      assert.is_nil(p.arp, length)
      assert.matches("the copy of the packet ends", p.malformed)
    end
    assert.is_nil(t.packet(arp:sub(1, 4) .. "\255\255" .. arp:sub(7), { family = "arp" }).arp)
  end)

  it("has no addresses of another length than those have", function()
    local function short(hlen, plen) return "\0\1\8\0" .. string.char(hlen, plen) .. "\0\2" end
    local p = t.packet(short(8, 4) .. ("\1"):rep(8) .. "\10\0\0\1" .. ("\2"):rep(8) .. "\10\0\0\2", { family = "arp" })
    assert.same({ 1, 0x0800, 8, 4, 2, "none", "10.0.0.1", "none", "10.0.0.2" }, fields_of(p.arp))
    assert.equal("arp.saddr_ether cannot be assigned: the packet's hardware addresses have 8 bytes",
      raised(p, function(pkt) pkt.arp.saddr_ether = OTHER_TEXT end))
    p = t.packet(short(6, 16) .. FROM .. ("\1"):rep(16) .. TO .. ("\2"):rep(16), { family = "arp" })
    assert.same({ 1, 0x0800, 6, 16, 2, FROM_TEXT, "none", TO_TEXT, "none" }, fields_of(p.arp))
    assert.equal("arp.daddr_ip cannot be assigned: the packet's protocol addresses have 16 bytes",
      raised(p, function(pkt) pkt.arp.daddr_ip = "10.0.0.1" end))
  end)

  local values = { htype = { 6, 0, "\0\6" }, ptype = { 0x86dd, 2, "\134\221" }, operation = { 2, 6, "\0\2" },
    saddr_ether = { OTHER_TEXT, 8, OTHER }, saddr_ip = { "192.0.2.9", 14, "\192\0\2\9" },
    daddr_ether = { OTHER_TEXT, 18, OTHER }, daddr_ip = { "192.0.2.9", 24, "\192\0\2\9" },
    hlen = { 5, 4, "\5" }, plen = { 3, 5, "\3" } }
  for name, value in pairs(values) do
    it("has its field written where it is, and nothing else: " .. name, function()
      local expected = arp:sub(1, value[2]) .. value[3] .. arp:sub(value[2] + #value[3] + 1)
      for _, tags in ipairs(all_tags) do
        local got, result = written({ frame(links.Ethernet, 0x0806, tags[1], arp) }, capture.ETHERNET, function(pkt)
          pkt.arp[name] = value[1]
          assert.equal(value[1], pkt.arp[name])
        end, { arp = true })
        assert.equal(0, result.errors)
        assert.same({ frame(links.Ethernet, 0x0806, tags[1], expected) }, got)
      end
      -- A bridge's, behind tags that it has left there.
      local p = t.packet("\0\5\8\6" .. arp, { family = "bridge", hw_protocol = 0x8100 })
      local result = t.run(function(pkt) pkt.arp[name] = value[1] end, p)
      assert.equal("\0\5\8\6" .. expected, result.packet and result.packet.bytes, result.error)
    end)
  end

  it("takes what its fields can be", function()
    local p = t.arp {}
    assert.equal("arp.operation must be an integer from 0 to 65535",
      raised(p, function(pkt) pkt.arp.operation = -1 end))
    assert.equal("arp.saddr_ether must be the text of an Ethernet address",
      raised(p, function(pkt) pkt.arp.saddr_ether = "10.0.0.1" end))
    assert.equal("arp.daddr_ip must be the text of an IPv4 address",
      raised(p, function(pkt) pkt.arp.daddr_ip = "::1" end))
    assert.equal("the packet has no arp header any more", raised(p, function(pkt)
      local view = pkt.arp
      view.plen = 16
      view.operation = 1
    end))
  end)

  it("may become any bytes, as long as all of it is there", function()
    local result = t.run(function() return nil, "\0\1" end, t.arp {})
    assert.equal("\0\1", result.packet.bytes)
    assert.matches("only a part of the packet was copied",
      t.run(function(pkt) pkt.payload:set_u8(0, 1) end, t.packet(arp, { family = "arp", data_len = 20 })).error)
  end)
end)

describe("replay", function()
  local mixed = { frame(links.Ethernet, 0x0806, {}, arp), frame(links.Ethernet, 0x0800, {}, packet),
    frame(links.Ethernet, 0x88cc, {}, arp) }

  it("lets ARP pass unjudged, unless the filter is to see it", function()
    local seen = {}
    local function filter(pkt) seen[#seen + 1] = pkt.family end
    local got, result = written(mixed, capture.ETHERNET, filter)
    assert.same({ mixed, { "ip" }, 2 }, { got, seen, result.unjudged })
    seen = {}
    got, result = written(mixed, capture.ETHERNET, filter, { arp = true })
    assert.same({ mixed, { "arp", "ip" }, 1 }, { got, seen, result.unjudged })
  end)

  it("writes a frame as it came where the filter raised, and none that was dropped", function()
    local script = paths(1)
    local file = assert(io.open(script, "w"))
    file:write [[
return function(pkt)
  pkt.ether.saddr, pkt.vlan = "0a:0b:0c:0d:0e:0f", { { id = 9 } }
  if pkt.arp then pkt.arp.saddr_ip = "192.0.2.1" end
  error "no"
end
]]
    file:close()
    local got, result = written(mixed, capture.ETHERNET, t.load(script, {}, { on_error = ipq.ACCEPT }), { arp = true })
    assert.same({ mixed, 2, 0 }, { got, result.errors, result.changed })
    got, result = written(mixed, capture.ETHERNET, function(pkt)
      pkt.ether.saddr, pkt.vlan = OTHER_TEXT, { { id = 9 } }
      return ipq.DROP
    end, { arp = true })
    assert.same({ { mixed[3] }, 0, false }, { got, result.changed, result.records[1].changed })
  end)

  it("writes what a filter assigned before it held the packet", function()
    local function held_by(verdict)
      local held = {}
      return written({ mixed[2], mixed[2] }, capture.ETHERNET, function(pkt)
        pkt.ether.saddr, pkt.vlan = OTHER_TEXT, { { id = 5 } }
        held[#held + 1] = pkt:hold()
        if held[2] then held[1]:verdict(ipq.ACCEPT, verdict) end
      end)
    end
    local changed = frame(links.Ethernet, 0x0800, { id5 }, packet, OTHER)
    assert.same({ changed, changed }, (held_by(nil)))
    -- Bytes that cannot be sent cost it the error verdict.
    assert.same({ changed }, (held_by "nonsense"))
  end)

  it("makes frames that tshark reads", function()
    if not tshark.available() then return pending "needs tshark" end
    local got = written(mixed, capture.ETHERNET, function(pkt)
      pkt.ether.saddr, pkt.vlan = OTHER_TEXT, { six, five }
      if not pkt.arp then return end
      pkt.arp.saddr_ip, pkt.arp.saddr_ether, pkt.arp.operation = "192.0.2.77", pkt.ether.saddr, 2
    end, { arp = true })
    local names = { "eth.src", "eth.dst", "vlan.id", "ieee8021ad.id", "arp.src.proto_ipv4", "arp.src.hw_mac",
      "arp.opcode", "ip.src" }
    local rows = tshark.fields(got, names, capture.ETHERNET)
    for i, expected in ipairs { { OTHER_TEXT, TO_TEXT, "5", "6", "192.0.2.77", OTHER_TEXT, "2", "" },
      { OTHER_TEXT, TO_TEXT, "5", "6", "", "", "", "10.0.0.1" }, { FROM_TEXT, TO_TEXT, "", "", "", "", "", "" } } do
      for j, name in ipairs(names) do assert.equal(expected[j], rows[i][name], name) end
    end
  end)

  it("shows ARP to a script that asks for it, in the program as in the kit", function()
    local path, out, script = paths(3)
    capture.write(path, { { mixed[1] }, { mixed[2] }, { mixed[3] } }, { link = capture.ETHERNET })
    for _, asked in ipairs { true, false } do
      local file = assert(io.open(script, "w"))
      file:write("return { filter = function(pkt) pkt.ether.daddr = '0a:0b:0c:0d:0e:0f' end, arp = ",
        tostring(asked), " }\n")
      file:close()
      local output, status = netns.shell(("LD_PRELOAD= ASAN_OPTIONS=detect_leaks=0 %s -r %s -w %s %s")
        :format(netns.program, path, out, script))
      assert.equal(0, status, output)
      local count = asked and 2 or 1
      assert.matches(("packets judged +%d\n"):format(count), output)
      local got = capture.read(out)
      assert.equal(asked and OTHER .. mixed[1]:sub(7) or mixed[1], got[1][1])
      assert.equal(OTHER .. mixed[2]:sub(7), got[2][1])
      assert.equal(mixed[3], got[3][1])
      assert.equal(count, t.replay(path, t.load(script)).packets)
    end
  end)

  -- Each is one that LuaJIT has room for with the options that it begins with.
  local filters = {
    ["pkt.ether"] = { 0x0800, packet, function(pkt)
      local ether = pkt.ether
      if ether.saddr ~= FROM_TEXT or ether.type ~= 0x0800 then return ipq.DROP end
      ether.saddr, ether.daddr = OTHER_TEXT, FROM_TEXT
    end },
    ["pkt.arp"] = { 0x0806, arp, function(pkt)
      local view = pkt.arp
      if view.saddr_ether ~= FROM_TEXT then return ipq.DROP end
      view.saddr_ether, view.daddr_ip, view.operation = OTHER_TEXT, view.saddr_ip, 2
    end },
  }
  for name, each in pairs(filters) do
    it("has filters compiled that read and assign " .. name, function()
      local path, frames = paths(1), {}
      for i = 1, 10000 do frames[i] = { frame(links.Ethernet, each[1], {}, each[2]) } end
      -- LuaJIT has to have called each C function once.
      written({ frames[1][1] }, capture.ETHERNET, each[3], { arp = true })
      capture.write(path, frames, { link = capture.ETHERNET })
      local input = assert(core.capture { read = path, arp = true })
      local run = dispatch.new(input:driver(), each[3])
      local compiled, aborted = traces.of(run)
      assert.equal(10000, input:counters().changed)
      input:close()
      assert.is_true(#compiled > 0)
      for _, line in ipairs(aborted) do assert.matches("inner loop in root trace", line) end
    end)
  end
end)
