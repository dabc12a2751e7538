local ipq = require "ipq"
local m = require "spec.support.message"
local netns = require "spec.support.netns"
local packet = require "ipq.packet.view"
local packets = require "spec.support.packet"
local source = require "spec.support.source"

-- What look(pkt) gives inside a filter for the packet of that message.
local function inside(message, look)
  local result
  source.new { message }:verdicts(function(pkt) result = { pcall(look, pkt) } end)
  if not result[1] then error(result[2], 0) end
  return unpack(result, 2)
end

local function packets_of(n)
  local messages = {}
  for i = 1, n do messages[i] = m.simple(i, "x") end
  return source.new(messages)
end

local function field(message, name) return inside(message, function(pkt) return pkt[name] end) end

describe("ipq", function()
  it("raises for a word that it does not have: nil would be the default verdict", function()
    assert.error_matches(function() return ipq.DORP end, "ipq has no 'DORP'; did you mean 'DROP'%?")
    for word, meant in pairs { accept = "ACCEPT", conuter = "counter", arguments = "args", PASS = "ACCEPT", x = "" } do
      local ok, message = pcall(function() return ipq[word] end)
      assert.is_false(ok)
      assert.equal(("ipq has no '%s'"):format(word) .. (meant ~= "" and ("; did you mean '%s'?"):format(meant) or ""),
        (message:gsub("^spec/unit/packet_spec.lua:%d+: ", "")))
    end
  end)

  it("opens no queue with options that cannot be", function()
    for message, options in pairs { ["has no option 'queue_nmu'; did you mean 'queue_num'%?$"] = { queue_nmu = 1 },
      ["has no option 'snaplen'; did you mean 'range'%?$"] = { snaplen = 1 },
      ["has no option 'nonsense'$"] = { nonsense = 1 },
      ["queue_num must be a number"] = { queue_num = "1" }, ["range must be a whole number"] = { range = 1.5 },
      ["gso must be a boolean"] = { gso = "no" }, ["takes a table of options"] = 5,
      ["copy must be \"packet\" or \"meta\""] = { copy = 1 },
      ["option copy must be \"packet\" or \"meta\""] = { copy = "x" },
      ["option queue_num must be from 0 to 65535"] = { queue_num = 65536 },
      ["option on_error must be a verdict, as ipq.ACCEPT is"] = { on_error = "accept" },
      ["option default must be a verdict, as ipq.ACCEPT is"] = { default = 2 },
      ["option default rejects packets, which needs the option send = true$"] = { default = ipq.REJECT },
      ["option on_error rejects packets, which needs the option send = true$"] = { on_error = ipq.reject "no-route",
        send = false } } do
      -- assert.error_matches would take the line away.
      local ok, raised = pcall(function() ipq.open(options) end)
      assert.is_false(ok)
      assert.matches("packet_spec%.lua:%d+: .*" .. message, raised)
    end
  end)

  it("tells the time", function()
    assert.is_true(math.abs(ipq.now() - os.time()) < 2)
  end)

  it("tells the time by a clock that nobody sets", function()
    local file = assert(io.open "/proc/uptime")
    local uptime = file:read "*n"
    file:close()
    local now = ipq.monotonic()
    -- CLOCK_MONOTONIC stands still while the machine sleeps.
    assert.is_true(now > 0 and now < uptime + 60, now .. " seconds, up for " .. uptime)
    assert.is_true(ipq.monotonic() >= now)
  end)

  it("is of no queue, and worker 0, where no program is around it", function()
    assert.is_nil(ipq.queue_num)
    assert.equal(0, ipq.worker)
    assert.matches("^%d+%.%d+%.%d+$", ipq.version)
  end)
end)

describe("packet", function()
  local bare = m.packet(m.hdr(5, 0x86dd, 1), { family = 10, queue_num = 9 })

  it("has what every packet has", function()
    assert.equal(5, field(bare, "packet_id"))
    assert.equal(9, field(bare, "queue_num"))
    assert.equal(1, field(bare, "hook"))
    assert.equal("input", field(bare, "hook_name"))
    assert.equal("ip6", field(bare, "family"))
    assert.equal(0x86dd, field(bare, "hw_protocol"))
    assert.equal(0, field(bare, "mark"))
    assert.equal(0, field(bare, "data_len"))
    assert.is_true(field(bare, "csum_ready"))
    assert.is_true(field(bare, "csum_verified"))
    assert.is_false(field(bare, "gso"))
  end)

  for _, name in ipairs { "priority", "timestamp", "timestamp_sec", "timestamp_usec", "indev", "outdev",
    "physindev", "physoutdev", "indev_name", "outdev_name", "physindev_name", "physoutdev_name",
    "hw_type", "hw_addr", "uid", "gid", "secctx", "vlan_proto", "vlan_tci", "l2hdr", "prefix", "vlan", "ether",
    "arp", "inner", "ct", "len", "payload" } do
    it("has no " .. name .. " where the kernel told none", function()
      assert.is_nil(field(bare, name))
    end)
  end

  local hooks = { [0] = "prerouting", "input", "forward", "output", "postrouting" }
  for number, name in pairs(hooks) do
    it("names hook " .. name, function()
      assert.equal(name, field(m.packet(m.hdr(1, 0x800, number)), "hook_name"))
    end)
  end

  for number, name in pairs { [2] = "ip", [3] = "arp", [5] = "netdev", [7] = "bridge", [10] = "ip6" } do
    it("names family " .. name, function()
      assert.equal(name, field(m.packet(m.hdr(1), { family = number }), "family"))
    end)
  end

  local values = {
    mark = { m.MARK, m.be32(0xffffffff), 0xffffffff }, priority = { m.PRIORITY, m.be32(6), 6 },
    indev = { m.INDEV, m.be32(1), 1 }, outdev = { m.OUTDEV, m.be32(1), 1 },
    physindev = { m.PHYSINDEV, m.be32(1), 1 }, physoutdev = { m.PHYSOUTDEV, m.be32(1), 1 },
    indev_name = { m.INDEV, m.be32(1), "lo" }, outdev_name = { m.OUTDEV, m.be32(1), "lo" },
    physindev_name = { m.PHYSINDEV, m.be32(1), "lo" },
    physoutdev_name = { m.PHYSOUTDEV, m.be32(1), "lo" },
    hw_type = { m.INDEV, m.be32(1), 772 }, -- ARPHRD_LOOPBACK
    uid = { m.UID, m.be32(1000), 1000 }, gid = { m.GID, m.be32(0), 0 },
    secctx = { m.SECCTX, "user:role\0", "user:role" }, l2hdr = { m.L2HDR, "ab\0cd", "ab\0cd" },
    vlan_proto = { m.VLAN, m.attr(1, m.be16(0x8100)) .. m.attr(2, m.be16(5)), 0x8100 },
    vlan_tci = { m.VLAN, m.attr(1, m.be16(0x8100)) .. m.attr(2, m.be16(5)), 5 },
    hw_addr = { m.HWADDR, m.be16(6) .. "\0\0\1\2\171\205\254\255\0\0", "01:02:ab:cd:fe:ff" },
    timestamp = { m.TIMESTAMP, m.be64(10) .. m.be64(500000), 10.5 },
    timestamp_sec = { m.TIMESTAMP, m.be64(10) .. m.be64(500000), 10 },
    timestamp_usec = { m.TIMESTAMP, m.be64(10) .. m.be64(500000), 500000 },
    gso = { m.SKB_INFO, m.be32(2), true }, csum_ready = { m.SKB_INFO, m.be32(1), false },
    csum_verified = { m.SKB_INFO, m.be32(4), false }, len = { m.CAP_LEN, m.be32(1500), 1500 },
  }
  for name, value in pairs(values) do
    it("reads " .. name, function()
      -- The kernel is asked for an interface's.
      local why = (name:find "dev_name$" or name == "hw_type") and netns.lacks "netlink sockets"
      if why then return pending(why) end
      assert.equal(value[3], field(m.packet(m.hdr(1) .. m.attr(value[1], value[2])), name))
    end)
  end

  it("writes hardware addresses of other lengths too", function()
    assert.equal("01:02", field(m.packet(m.hdr(1)
      .. m.attr(m.HWADDR, m.be16(2) .. "\0\0\1\2\0\0\0\0\0\0")), "hw_addr"))
  end)

  it("has no name for an interface that is gone", function()
    assert.is_nil(field(m.packet(m.hdr(1) .. m.attr(m.INDEV, m.be32(0x7ffffff0))), "indev_name"))
    assert.is_nil(field(m.packet(m.hdr(1) .. m.attr(m.INDEV, m.be32(0x7ffffff0))), "hw_type"))
  end)

  it("reads conntrack", function()
    local nest = m.attr(12, m.be32(77)) .. m.attr(8, m.be32(5)) .. m.attr(3, m.be32(6))
      .. m.attr(18, m.be16(7)) .. m.attr(7, m.be32(8))
    local message = m.packet(m.hdr(1) .. m.attr(m.CT, nest) .. m.attr(m.CT_INFO, m.be32(3)))
    assert.same({ id = 77, mark = 5, status = 6, zone = 7, timeout = 8, state = "established",
      direction = "reply" }, field(message, "ct"))
  end)

  for number, words in pairs { [0] = "established original", "related original", "new original",
    "established reply", "related reply", "new reply", [7] = "untracked original" } do
    it("names conntrack state " .. number, function()
      local ct = field(m.packet(m.hdr(1) .. m.attr(m.CT, m.attr(12, m.be32(1)))
        .. m.attr(m.CT_INFO, m.be32(number))), "ct")
      assert.equal(words, ct.state .. " " .. ct.direction)
    end)
  end

  it("is truncated when the copy is shorter than the wire, or has no bytes at all", function()
    assert.is_false(field(m.simple(1, "abc"), "truncated"))
    assert.is_true(field(m.simple(1, "abc", m.attr(m.CAP_LEN, m.be32(4))), "truncated"))
    assert.is_true(field(bare, "truncated"))
  end)

  it("blames the script's line", function()
    local function message_of(look)
      return select(2, pcall(inside, bare, look))
    end
    local here = debug.getinfo(1, "l").currentline
    assert.equal(here + 2, tonumber(message_of(function(pkt)
      return pkt.payload_
    end):match "packet_spec.lua:(%d+):"))
    assert.matches("packet_spec.lua:%d+: a packet's", message_of(function(pkt) pkt.hook = 1 end))
    assert.matches("packet_spec.lua:%d+: mark must", message_of(function(pkt) pkt.mark = 2 ^ 32 end))
  end)

  it("takes a mark, and reads it back", function()
    local src = source.new { m.simple(1, "x", m.attr(m.MARK, m.be32(3))) }
    local seen = {}
    src:verdicts(function(pkt)
      seen[1] = pkt.mark
      pkt.mark = 0xffffffff
      seen[2] = pkt.mark
      pkt.priority = 2
      seen[3] = pkt.priority
    end)
    local b = src.batch
    assert.same({ 3, 0xffffffff, 2 }, seen)
    assert.same({ 3, 0xffffffff, 2 }, { b.packets[0].set, b.packets[0].mark, b.packets[0].priority })
  end)

  it("sets a bit beside the mark to have its flow pass by, once, whatever the mark", function()
    for _, mark in ipairs { 0, 3, 0x40000000, 0x40000003, 0x80000001, 0xffffffff } do
      local src = source.new { m.simple(1, "x", m.attr(m.MARK, m.be32(mark))) }
      local seen
      src:verdicts(function(pkt)
        pkt:bypass()
        pkt:bypass()
        seen = pkt.mark
      end)
      local expected = math.floor(mark / 2 ^ 30) % 2 == 1 and mark or mark + 2 ^ 30
      local p = src.batch.packets[0]
      assert.same({ expected, expected, 1 }, { seen, p.mark, p.set })
      assert.equal(ipq.BYPASS_MARK, 2 ^ 30)
    end
    assert.error_matches(function()
      local kept
      source.new { m.simple(1, "x") }:verdicts(function(pkt) kept = pkt end)
      kept:bypass()
    end, "packet used after its filter returned")
  end)

  it("raises for a mark that is none, at the script's line", function()
    for _, value in ipairs { -2 ^ 31 - 1, 2 ^ 32, -0.5, 1.5, 0 / 0, "1", true, {} } do
      for _, name in ipairs { "mark", "priority" } do
        assert.error_matches(function()
          inside(bare, function(pkt) pkt[name] = value end)
        end, name .. " must be an integer from %-2147483648 to 4294967295; value %% 2%^32 brings a larger one there")
      end
    end
  end)

  it("takes a mark as LuaJIT's bit library gives it, and gives it without a sign", function()
    for _, name in ipairs { "mark", "priority" } do
      for _, value in ipairs { -2 ^ 31, -1, bit.bor(0x80000000, 1), 0, 2 ^ 32 - 1 } do
        local src, seen = source.new { m.simple(1, "x", m.attr(m.MARK, m.be32(0x80000000))) }, nil
        src:verdicts(function(pkt)
          pkt[name] = value
          seen = pkt[name]
        end)
        assert.same({ value % 2 ^ 32, value % 2 ^ 32 }, { seen, src.batch.packets[0][name] })
      end
    end
    local src = source.new { m.simple(1, "x", m.attr(m.MARK, m.be32(0x80000000))) }
    assert.same({ ipq.ACCEPT }, src:verdicts(function(pkt) pkt.mark = bit.bor(pkt.mark, 1) end))
    assert.equal(0x80000001, src.batch.packets[0].mark)
  end)

  it("raises for a field that there is not, reading and writing", function()
    assert.error_matches(function() field(bare, "sport_") end,
      "a packet has no field 'sport_'")
    assert.error_matches(function() inside(bare, function(pkt) pkt.foo = 1 end) end, "no field 'foo'")
  end)

  local meant = {
    -- misspelt
    dprot = "dport", sadr = "saddr", packetid = "packet_id", hookname = "hook_name", Mark = "mark", copyy = "copy",
    trucated = "truncated", udplit = "udplite",
    -- what others call it
    src_port = "sport", dst_port = "dport", src = "saddr", dst = "daddr", sip = "saddr", dip = "daddr",
    proto = "protocol", length = "len", size = "len", data = "payload", fwmark = "mark", iface = "indev_name",
    ipv4 = "ip", ipv6 = "ip6", icmp6 = "icmpv6", port = "dport", mac = "hw_addr", time = "timestamp",
    -- what a header has
    ttl = "ip.ttl", seq = "tcp.sequence", ack_seq = "tcp.ackseq", flags = "tcp.flags", syn = "tcp.syn", tos = "ip.dscp",
    hoplimit = "ip6.hoplimit", spi = "esp.spi", vtag = "sctp.vtag",
    operation = "arp.operation", opcode = "arp.operation", saddr_ether = "arp.saddr_ether", eth = "ether",
    vlan_id = "vlan", encapsulated = "inner",
  }
  for word, name in pairs(meant) do
    it(("names the field that was meant by pkt.%s"):format(word), function()
      for _, use in ipairs { function(pkt) return pkt[word] end, function(pkt) pkt[word] = 1 end } do
        local message = select(2, pcall(inside, bare, use))
        assert.equal(("a packet has no field '%s'; did you mean '%s'?"):format(word, name),
          (message:gsub("^spec/unit/packet_spec.lua:%d+: ", "")))
      end
    end)
  end

  it("names none where none is near", function()
    for _, word in ipairs { "foo", "x", "", "sp", "nonsense", ("dport"):rep(20), true } do
      local message = select(2, pcall(inside, bare, function(pkt) return pkt[word] end))
      assert.equal(("a packet has no field '%s'"):format(tostring(word)),
        (message:gsub("^spec/unit/packet_spec.lua:%d+: ", "")))
    end
    -- There it is, and no field.
    assert.error_matches(function() inside(bare, function(pkt) pkt.copy = 1 end) end, "a packet has no field 'copy'$")
  end)

  it("raises for a field that cannot be assigned", function()
    assert.error_matches(function() inside(bare, function(pkt) pkt.hook = 1 end) end,
      "field 'hook' cannot be assigned$")
    assert.error_matches(function() inside(m.simple(1, "abc"), function(pkt) pkt.payload = "x" end) end,
      "field 'payload' cannot be assigned: its methods change it, write%(off, text%) and replace%(off, len, text%)$")
    local udp = m.simple(1, packets.ip(17, packets.udp "abc"))
    assert.error_matches(function() inside(udp, function(pkt) pkt.udp.payload = "x" end) end,
      "pkt.udp.payload cannot be assigned: its methods change it, write%(off, text%)")
    for name in pairs { ip = 1, tcp = 1, udp = 1, icmp = 1, ip6 = 1, icmpv6 = 1, gre = 1, esp = 1, ah = 1, arp = 1 } do
      for key, is_assignable in pairs((packet.header_fields(name))) do
        assert.equal(key ~= "payload" and key ~= "inner", is_assignable, name .. "." .. key)
      end
    end
  end)

  it("does not let a script at the memory behind it", function()
    inside(m.simple(1, "abc"), function(pkt)
      for _, object in ipairs { pkt, pkt.payload } do
        assert.is_false(pcall(function() return object[0] end))
        assert.is_false(pcall(function() return object[1] end))
        assert.is_false(pcall(function() object[0] = 1 end))
        assert.is_false(pcall(function() return object + 1 end))
        assert.is_false(pcall(function() return object - object end))
        assert.is_false(pcall(function() return object.packet end))
        assert.is_false(pcall(function() object.data = nil end))
        assert.is_false(pcall(pairs, object))
        assert.equal("ffi", getmetatable(object))
      end
      assert.is_false(pcall(function() return #pkt end))
    end)
  end)

  it("has ended when what its filter returned is complained about", function()
    local log = require "ipq.log"
    local sink, kept, ok = log.sink, nil, nil
    log.sink = function() ok = pcall(function() return kept.mark end) end
    packets_of(1):verdicts(function(pkt) kept = pkt return "nonsense" end)
    log.sink = sink
    assert.is_false(ok)
  end)

  it("is not to be had by calling a method with something else", function()
    local copy, u8, text, option, exthdr
    inside(m.simple(1, "\69" .. ("\0"):rep(8) .. "\6" .. ("\0"):rep(22) .. "\80" .. ("\0"):rep(7)), function(pkt)
      copy, u8, text, option = pkt.copy, pkt.payload.u8, pkt.payload.string, pkt.tcp.option
      for _, value in ipairs { 0, -1, 1.5, 0 / 0, 2 ^ 63, "x", {}, true, print } do
        for _, method in ipairs { copy, u8, text, option } do
          assert.is_false(pcall(method, value, 0, 1), tostring(value))
        end
      end
    end)
    inside(m.packet(m.hdr(1) .. m.attr(m.PAYLOAD, "\96" .. ("\0"):rep(39)), { family = 10 }), function(pkt)
      exthdr = pkt.ip6.exthdr
    end)
    for _, value in ipairs { 0, -1, 1.5, 0 / 0, 2 ^ 63, "x", {}, true, print } do
      for _, method in ipairs { copy, u8, text, option, exthdr } do
        assert.is_false(pcall(method, value, 0, 1), tostring(value))
      end
    end
  end)

  it("is equal to itself and to no other", function()
    local first, same, other
    packets_of(2):verdicts(function(pkt)
      first = first or pkt
      if first == pkt then same = true else other = true end
    end)
    assert.is_true(same and other)
  end)

  it("does not end while its filter runs filters of its own", function()
    local inner, outer
    source.new { m.simple(1, "abc") }:verdicts(function(pkt)
      source.new { m.simple(2, "x"), m.simple(3, "y") }:verdicts(function(p) inner = p end)
      outer = pkt.packet_id
      assert.is_false(pcall(function() return inner.mark end))
    end)
    assert.equal(1, outer)
  end)

  it("ends when its filter returns: fields, assignment and payload", function()
    local kept, payload
    source.new { m.simple(1, "abc") }:verdicts(function(pkt) kept, payload = pkt, pkt.payload end)
    assert.error_matches(function() return kept.mark end,
      "packet used after its filter returned")
    assert.error_matches(function() kept.mark = 1 end, "packet used after its filter returned")
    assert.error_matches(function() return #payload end, "packet used after its filter returned")
    assert.error_matches(function() return payload:u8(0) end,
      "packet used after its filter returned")
  end)

  it("tells at the script's line that it has ended, whatever it is used by", function()
    local kept, payload, tcp
    source.new { m.simple(1, "\69\0\0\40" .. ("\0"):rep(5) .. "\6" .. ("\0"):rep(22) .. "\80" .. ("\0"):rep(7)) }
      :verdicts(function(pkt) kept, payload, tcp = pkt, pkt.payload, pkt.tcp end)
    for _, use in ipairs {
      function() return (kept.mark) end, function() kept.mark = 1 end, function() kept:copy() end,
      function() kept:bypass() end, function() kept:hold() end, function() return (tostring(kept)) end,
      function() return (payload:u8(0)) end, function() payload:set_u8(0, 1) end, function() payload:resize(1) end,
      function() return (payload:hex()) end, function() return #payload end, function() return (tcp.dport) end,
      function() tcp.dport = 1 end, function() return (tcp:option(2)) end, function() tcp:set_option(2, "") end,
    } do
      local ok, message = pcall(use)
      assert.is_false(ok)
      assert.matches("^spec/unit/packet_spec.lua:%d+: packet used after its filter returned$", message)
    end
  end)

  it("says that a method takes a colon", function()
    local messages = {}
    source.new { m.simple(1, "\69\0\0\40" .. ("\0"):rep(5) .. "\6" .. ("\0"):rep(22) .. "\80" .. ("\0"):rep(7)) }
      :verdicts(function(pkt)
        for i, use in ipairs {
          function() pkt.copy() end, function() pkt.hold "x" end, function() pkt.bypass(5) end,
          function() pkt.payload.u8(0) end, function() pkt.payload.write(0, "x") end, function() pkt.payload.hex {} end,
          function() pkt.payload.find "x" end, function() pkt.payload.resize(5) end,
          function() pkt.payload.replace(0, 5, "x") end, function() pkt.tcp.option(2) end,
          function() pkt.tcp.set_option(2, "x") end,
        } do
          messages[i] = select(2, pcall(use)) or "nothing"
        end
      end)
    assert.equal(11, #messages)
    for i, message in ipairs(messages) do
      assert.matches("^spec/unit/packet_spec.lua:%d+: a method was called on [%a ]+: write a colon before its name",
        message, nil, nil, i)
    end
  end)

  it("has ended for the filter of the next packet in the same slot", function()
    local kept, ok, message
    source.new { m.simple(1, "abc"), m.simple(2, "def") }:plan({ 1, 1 }):judge(function(pkt)
      if kept then ok, message = pcall(function() return kept.packet_id end) end
      kept = kept or pkt
    end)()
    assert.is_false(ok)
    assert.matches("packet used after its filter returned", message)
  end)

  it("has ended after its filter raised, too", function()
    local kept
    local log = require "ipq.log"
    local sink = log.sink
    log.sink = function() end
    source.new { m.simple(1, "abc") }:verdicts(function(pkt) kept = pkt error "x" end)
    log.sink = sink
    assert.error_matches(function() return kept.mark end, "packet used after")
  end)
end)
