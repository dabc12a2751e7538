-- The test kit's builders: what they make is what was asked for, and right in the eyes of others.
local fields = require "ipq.build.fields"
local packet = require "ipq.packet.view"
local t = require "ipq.test"
local tshark = require "spec.support.tshark"

local function set_of(list)
  local set = {}
  for _, name in ipairs(list) do set[name] = true end
  return set
end

local builders = { "ip", "ip6", "tcp", "udp", "udplite", "icmp", "icmpv6", "sctp", "dccp", "gre", "esp" }
local V6, OTHER6 = "2001:db8::a", "2001:db8::b"

-- A value that each field can have and none has by itself.
local samples = {
  saddr = { ip = "203.0.113.7", ip6 = V6 }, daddr = { ip = "203.0.113.8", ip6 = OTHER6 },
  options = { ip = "\148\4\0\0", tcp = { { kind = 2, data = "\5\180" }, { kind = 8, data = "12345678" } } },
  payload = "a payload", protocol = 200, nexthdr = 201, length = 700,
}
-- Two of these are given with what they need, below.
local with_others = { ["tcp.doff"] = true, ["gre.key"] = true, ["dccp.doff"] = true, ["udplite.csumcov"] = true,
  ["dccp.csumcov"] = true }

local function sample(header, field, default)
  local value = samples[field]
  if type(value) == "table" then return value[header] end
  if value then return value end
  if type(default) == "boolean" then return not default end
  return default == 3 and 2 or 3
end

describe("ipq.test's names of fields", function()
  it("are those of a packet, but for its flow, and of its headers", function()
    local names = set_of(fields.meta)
    names.flow = true -- which it has in its filter alone
    for _, name in ipairs(fields.derived) do names[name] = true end
    for _, name in ipairs(fields.headers) do names[name] = true end
    local known = {}
    for name in pairs(packet.fields()) do known[name] = true end
    assert.same(known, names)
    for _, header in ipairs(fields.headers) do
      known = {}
      for name in pairs(packet.header_fields(header)) do known[name] = true end
      assert.same(known, set_of(fields.of[header]))
    end
  end)
end)

describe("ipq.test's packets", function()
  it("have a packet inside as one of the kit's, of the bytes that are there", function()
    local inner = t.tcp { sport = 7, dport = 8, payload = "hello" }
    local outer = t.ip { protocol = 4, payload = inner.bytes }
    assert.equal(inner.bytes, outer.inner.bytes)
    assert.equal(7, outer.inner.tcp.sport)
    assert.is_nil(outer.inner.inner)
    local error = t.icmp { type = 3, payload = t.udp { dport = 53 }.bytes }
    assert.equal(53, error.icmp.inner.dport)
    assert.is_nil(error.inner)
    assert.matches("UDP", tostring(error.icmp.inner))
  end)
end)

describe("ipq.test's builders", function()
  for _, name in ipairs(builders) do
    for _, header in ipairs { "ip", "ip6" } do
      local version_fits = name == header
        or name ~= "ip" and name ~= "ip6" and not (name == "icmpv6" and header == "ip")
      local own = name ~= header and name or nil
      if version_fits then
        it("give each field the value asked for: " .. name .. " over " .. header, function()
          for _, of in ipairs { own or header, own and header } do
            local default = t[name] { [header] = {} }[of]
            for _, field in ipairs(fields.of[of]) do
              if not with_others[of .. "." .. field] and default[field] ~= nil then
                local value = sample(of, field, default[field])
                local built = t[name] { [header] = {}, [of] = { [field] = value } }
                -- A transport that the IP header does not name is none to be read.
                if of == header and (field == "protocol" or field == "nexthdr") then
                  assert.same(value, built[header][field])
                elseif field ~= "frag_off" or of ~= "ip" or not own then
                  assert.same(value, built[of][field], of .. "." .. field)
                end
                if field == "payload" then assert.equal(#t[name] { [header] = {} }.bytes + #value, #built.bytes) end
              end
            end
          end
        end)
      end
    end
  end

  it("take a field without a header for the nearest that has it", function()
    local p = t.icmp { id = 7, ip = { id = 8 }, ttl = 9, checksum = 10 }
    assert.same({ 7, 8, 9, 10 }, { p.icmp.id, p.ip.id, p.ip.ttl, p.icmp.checksum })
    assert.valid_checksums(t.icmp { id = 7, ip = { id = 8 } })
  end)

  it("make IPv6 where an address, a field or the family says so", function()
    for _, given in ipairs { { saddr = V6 }, { daddr = V6 }, { hoplimit = 3 }, { flowlabel = 5 }, { family = "ip6" },
      { ip6 = {} }, { exthdrs = {} } } do
      assert.truthy(t.tcp(given).ip6)
    end
    assert.truthy(t.tcp {}.ip)
  end)

  it("set ack where no flag is given, and the flags alone where one is", function()
    assert.equal(0x10, t.tcp {}.tcp.flags)
    assert.equal(0x02, t.tcp { syn = true }.tcp.flags)
    assert.equal(0x29, t.tcp { flags = 0x29 }.tcp.flags)
    assert.equal(0, t.tcp { ack = false }.tcp.flags)
  end)

  it("make what needs several fields", function()
    assert.equal(7, t.gre { flags = 0x20, payload = "\0\0\0\7" }.gre.key)
    assert.equal(6, t.tcp { doff = 6, payload = "\2\4\5\180" }.tcp.doff)
    assert.equal("\5\180", t.tcp { doff = 6, payload = "\2\4\5\180" }.tcp:option(2))
    local covered = t.udplite { csumcov = 10, payload = "abcdef" }
    assert.equal(10, covered.udplite.csumcov)
    assert.valid_checksums(covered)
  end)

  it("put extension headers in", function()
    local p = t.udp { exthdrs = { { nexthdr = 0, data = "\5\2\0\0\1\0" }, { nexthdr = 60, data = ("\1\8"):rep(5) } },
      payload = "hello" }
    assert.equal("\60\0\5\2\0\0\1\0", p.ip6:exthdr(0))
    assert.equal(16, #p.ip6:exthdr(60))
    assert.equal("hello", p.udp.payload)
    assert.valid_checksums(p)
    local secured = t.udp { exthdrs = { { nexthdr = 51, data = ("\0"):rep(22) } } }
    assert.equal(24, #secured.ip6:exthdr(51))
    assert.truthy(secured.ah)
  end)

  it("take lengths and checksums that lie", function()
    assert.equal(0x1234, t.udp { checksum = 0x1234 }.udp.checksum)
    assert.equal(0, t.udp { checksum = 0 }.udp.checksum)
    assert.valid_checksums(t.udp { checksum = 0 })
    assert.equal(9999, t.tcp { ip = { length = 9999 } }.ip.length)
    assert.equal(0x4321, t.tcp { ip = { checksum = 0x4321 } }.ip.checksum)
    -- The header's checksum follows what else lies.
    local p = t.tcp { ip = { mf = true, frag_off = 3 } }
    assert.same({ true, 3 }, { p.ip.mf, p.ip.frag_off })
    assert.valid_checksums(p)
  end)

  it("cut the copy", function()
    local p = t.tcp { payload = "hello", data_len = 40 }
    assert.same({ 40, 45, true, "", 45 }, { p.data_len, p.len, p.truncated, p.tcp.payload, #p.bytes })
    assert.is_nil(t.tcp { data_len = 39 }.tcp)
    assert.equal(3000, t.tcp { len = 3000 }.len)
  end)

  it("give metadata", function()
    local given = {
      packet_id = 77, queue_num = 3, hook = 2, mark = 0xffffffff, priority = 5, hw_addr = "02:00:00:00:00:aa",
      uid = 1000, gid = 0, secctx = "user_u:role_r", vlan_proto = 0x8100, vlan_tci = 5, l2hdr = ("\1"):rep(14),
      prefix = "new: ",
      timestamp_sec = 5, timestamp_usec = 250000, gso = true, csum_ready = false, csum_verified = false,
      family = "bridge", hw_protocol = 0x0800, indev_name = "eth0", outdev_name = "wlan0", physindev_name = "port1",
      physoutdev_name = "port2", hw_type = 1,
      ct = { id = 7, mark = 8, status = 0x18e, zone = 9, timeout = 100, state = "established", direction = "reply" },
    }
    local p = t.tcp(given)
    for name, value in pairs(given) do assert.same(value, p[name], name) end
    assert.equal(5.25, p.timestamp)
    assert.equal("forward", p.hook_name)
    assert.truthy(p.indev and p.outdev and p.physindev and p.physoutdev)
    assert.equal("output", t.tcp { hook = "output" }.hook_name)
    assert.equal(6.5, t.tcp { timestamp = 6.5 }.timestamp)
    assert.same({ 12, "lan9" }, { t.tcp { indev = 12, indev_name = "lan9" }.indev,
      t.tcp { indev_name = "lan9" }.indev_name })
    for _, state in ipairs { "new", "established", "related", "untracked" } do
      assert.equal(state, t.tcp { ct = { state = state } }.ct.state)
    end
  end)

  it("leave out what is not given", function()
    local p = t.tcp {}
    for _, name in ipairs { "indev", "outdev_name", "uid", "gid", "secctx", "hw_addr", "hw_type", "timestamp", "ct",
      "vlan_tci", "l2hdr", "prefix", "priority" } do
      assert.is_nil(p[name], name)
    end
    assert.same({ 0, false, true, "input" }, { p.mark, p.gso, p.csum_ready, p.hook_name })
  end)

  it("take numbers of 32 bits with a sign, as LuaJIT's bit library gives them", function()
    local p = t.tcp { mark = bit.bnot(0), priority = -2 ^ 31, sequence = -1, ct = { mark = -2, status = -3 } }
    assert.same({ 2 ^ 32 - 1, 2 ^ 31, 2 ^ 32 - 1, 2 ^ 32 - 2, 2 ^ 32 - 3 },
      { p.mark, p.priority, p.tcp.sequence, p.ct.mark, p.ct.status })
    assert.equal(t.tcp { mark = 2 ^ 32 - 1 }, t.tcp { mark = -1 })
    assert.equal(2 ^ 31, t.tcp {}:with { mark = -2 ^ 31 }.mark)
    assert.rewritten({ mark = bit.bor(0x80000000, 1) }, function(pkt) pkt.mark = bit.bor(pkt.mark, 1) end,
      t.tcp { mark = 0x80000000 })
  end)

  local wrong = {
    { function() t.tcp { dprot = 1 } end, "a packet with tcp and ip has no field 'dprot'; did you mean 'dport'?" },
    { function() t.udp { dst_port = 1 } end,
      "a packet with udp and ip has no field 'dst_port'; did you mean 'dport'?" },
    { function() t.udp { ct = { states = "new" } } end, "ct has no field 'states'; did you mean 'state'?" },
    { function() t.tcp { dport = 65536 } end, "tcp.dport must be an integer from 0 to 65535" },
    { function() t.tcp { saddr = "10.0.0" } end, "ip.saddr must be the text of an IPv4 address" },
    { function() t.tcp { saddr = "10.0.0.1", daddr = V6 } end, "ip6.saddr must be the text of an IPv6 address" },
    { function() t.tcp { ip = { tll = 1 } } end, "pkt.ip has no field 'tll'; did you mean 'ttl'?" },
    { function() t.tcp { udp = { sport = 1 } } end, "the packet has no udp header" },
    { function() t.tcp { payload = 5 } end, "payload must be a string" },
    { function() t.udp { payload = ("x"):rep(65508) } end, "65531 bytes" },
    { function() t.tcp { hook = "nowhere" } end, "hook: there is no 'nowhere'; there are prerouting, input, forward" },
    { function() t.tcp { family = "ipx" } end, "family: there is no 'ipx'" },
    { function() t.tcp { mark = 2 ^ 32 } end, "mark must be an integer from -2147483648 to 4294967295; value % 2^32" },
    { function() t.tcp { ct = { mark = -2 ^ 31 - 1 } } end, "ct.mark must be an integer from -2147483648" },
    { function() t.tcp { uid = -1 } end, "uid must be an integer from 0 to 4294967295" },
    { function() t.tcp { mark = "5" } end, "mark must be an integer" },
    { function() t.tcp { queue_num = 70000 } end, "queue_num must be an integer from 0 to 65535" },
    { function() t.tcp { data_len = -1 } end, "data_len must be an integer from 0 to 65535" },
    { function() t.tcp { data_len = 1.5 } end, "data_len must be an integer" },
    { function() t.tcp { len = -1 } end, "len must be an integer" },
    { function() t.tcp { hw_addr = "zz" } end, "hw_addr must be at most 8 bytes" },
    { function() t.tcp { indev_name = 5 } end, "indev_name must be an interface's name" },
    { function() t.tcp { indev_name = ("x"):rep(16) } end, "indev_name must be an interface's name" },
    { function() t.tcp { gso = 1 } end, "gso must be true or false" },
    { function() t.tcp { timestamp = "x" } end, "timestamp must be seconds since 1970" },
    { function() t.tcp { ct = 5 } end, "ct must be a table of the fields of pkt.ct" },
    { function() t.tcp { ct = { state = "NEW" } } end, "ct.state: there is no 'NEW'; there are new, established" },
    { function() t.tcp { ct = { x = 1 } } end, "ct has no field 'x'" },
    { function() t.packet("x", { nonsense = 1 }) end, "a packet has no metadata 'nonsense'" },
    { function() t.tcp {}:with { mark = 2 ^ 40 } end, "mark must be an integer" },
    { function() t.tcp "x" end, "a builder takes a table of fields" },
    { function() t.tcp { exthdrs = { 5 } } end, "exthdrs: entry 1's fields are a table" },
    { function() t.tcp { exthdrs = { { nexthdr = "x" } } } end, "exthdrs: entry 1 must be" },
    { function() t.packet(5) end, "packet() takes a string" },
    { function() t.nonsense {} end, "ipq.test has no 'nonsense'" },
    { function() t.tcp {}.mark = 3 end, "the kit's packets stay as they are" },
    { function() return t.tcp {}.nonsense end, "a packet has no field 'nonsense'" },
    { function() return t.tcp {}.sadr end, "a packet has no field 'sadr'; did you mean 'saddr'?" },
    { function() t.dns { type = "XYZ" } end, "dns: there is no type 'XYZ'" },
    { function() t.dns { name = ("x"):rep(64) } end, "dns: a label of 64 bytes" },
    { function() t.fragments(t.tcp {}, 20) end, "mtu leaves no room" },
  }
  for _, pair in ipairs(wrong) do
    it("say what is wrong: " .. pair[2], function()
      local ok, message = pcall(pair[1])
      assert.is_false(ok)
      assert.truthy(message:find(pair[2], 1, true), message)
    end)
  end

  it("tell misuse at the line of the spec", function()
    local _, message = pcall(function() t.tcp { dprot = 1 } end)
    assert.matches("^[^:]*test_build_spec.lua:%d+: a packet with", message)
    _, message = pcall(function() t.tcp { dport = -1 } end)
    assert.matches("^[^:]*test_build_spec.lua:%d+: tcp.dport must be", message)
    _, message = pcall(function() t.tcp {}:with { tcp = { x = 1 } } end)
    assert.matches("^[^:]*test_build_spec.lua:%d+: pkt.tcp has no field 'x'", message)
  end)
end)

describe("packet:with()", function()
  it("changes a copy, lengths and checksums with it", function()
    local p = t.udp { payload = "hello", mark = 1, indev_name = "eth0" }
    local q = p:with { payload = "good day", ttl = 3, mark = 2 }
    assert.same({ "hello", 64, 1, 33 }, { p.udp.payload, p.ip.ttl, p.mark, p.ip.length })
    assert.same({ "good day", 3, 2, 36, 16, "eth0" },
      { q.udp.payload, q.ip.ttl, q.mark, q.ip.length, q.udp.length, q.indev_name })
    assert.valid_checksums(q)
    assert.is_not.equal(p, q)
    assert.equal(p, q:with { payload = "hello", ttl = 64, mark = 1 })
  end)

  it("changes what a fragment may change", function()
    local first, second = unpack(t.fragments(t.udp { payload = ("x"):rep(64) }, 60))
    assert.equal(9, first:with { ttl = 9 }.ip.ttl)
    assert.equal(9, first:with { dport = 9 }.udp.dport)
    assert.equal("192.0.2.9", second:with { saddr = "192.0.2.9" }.saddr)
    assert.has_error(function() first:with { payload = "other" } end)
  end)
end)

describe("t.fragments()", function()
  it("cuts IPv4 packets so that they go together again", function()
    local whole = t.udp { payload = ("0123456789"):rep(20), ip = { options = "\148\4\0\0\7\7\4\0\0\0\0\0", id = 9 } }
    local body, list = {}, t.fragments(whole, 100)
    assert.equal(4, #list)
    for i, piece in ipairs(list) do
      assert.is_true(#piece.bytes <= 100)
      assert.valid_checksums(piece)
      assert.same({ i < #list, 9 }, { piece.ip.mf, piece.ip.id })
      body[piece.ip.frag_off * 8] = piece.bytes:sub(1 + 20 + #piece.ip.options)
    end
    assert.equal("\148\4\0\0\7\7\4\0\0\0\0\0", list[1].ip.options)
    assert.equal("\148\4\0\0", list[2].ip.options)
    local text, at = "", 0
    while body[at] do
      text = text .. body[at]
      at = #text
    end
    assert.equal(whole.bytes:sub(33), text)
    assert.equal(whole.dport, list[1].dport)
    assert.is_nil(list[2].dport)
  end)

  it("cuts IPv6 packets behind what every router looks at", function()
    local whole = t.udp { payload = ("0123456789"):rep(20), exthdrs = { { nexthdr = 0 }, { nexthdr = 60 } } }
    local text = ""
    for i, piece in ipairs(t.fragments(whole, 120, 0x01020304)) do
      assert.is_true(#piece.bytes <= 120)
      local header = piece.ip6:exthdr(44)
      assert.equal("\1\2\3\4", header:sub(5))
      assert.equal("\60", header:sub(1, 1))
      assert.truthy(piece.ip6:exthdr(0))
      assert.equal(i == 1, piece.dport ~= nil)
      text = text .. piece.bytes:sub(41 + 8 + 8)
    end
    assert.equal(whole.bytes:sub(49), text)
  end)
end)

describe("tshark", function()
  local dissected = { "ip.checksum.status", "tcp.checksum.status", "udp.checksum.status", "icmp.checksum.status",
    "icmpv6.checksum.status", "sctp.checksum.status", "dccp.checksum.status", "_ws.malformed", "ip.len", "ipv6.plen" }

  it("finds nothing wrong with what the builders make", function()
    if not tshark.available() then return pending "there is no tshark" end
    local packets = {}
    for _, payload in ipairs { "", "x", ("hello"):rep(50) } do
      for _, name in ipairs { "tcp", "udp", "udplite", "icmp", "icmpv6", "sctp", "dccp" } do
        packets[#packets + 1] = t[name] { payload = name ~= "sctp" and payload or "" }
        if name ~= "icmp" and name ~= "sctp" then packets[#packets + 1] = t[name] { payload = payload, ip6 = {} } end
      end
      packets[#packets + 1] = t.tcp { payload = payload, syn = true, options = { { kind = 2, data = "\5\180" } } }
      packets[#packets + 1] = t.udp { payload = payload, exthdrs = { { nexthdr = 0 }, { nexthdr = 60 } } }
    end
    local bytes = {}
    for i, p in ipairs(packets) do bytes[i] = p.bytes end
    local good = 0
    for i, row in ipairs(tshark.fields(bytes, dissected)) do
      for j = 1, 7 do
        assert.is_true(row[dissected[j]] == "" or row[dissected[j]] == "1", dissected[j] .. " of "
          .. tostring(packets[i]))
        good = good + (row[dissected[j]] == "1" and 1 or 0)
      end
      if packets[i].protocol ~= 132 and packets[i].protocol ~= 33 then assert.equal("", row["_ws.malformed"]) end
      assert.equal(tostring(#packets[i].bytes - (packets[i].ip and 0 or 40)),
        packets[i].ip and row["ip.len"] or row["ipv6.plen"])
    end
    assert.is_true(good > #packets)
  end)

  it("reads the DNS messages that the kit writes", function()
    if not tshark.available() then return pending "there is no tshark" end
    local capture = require "spec.support.capture"
    local netns = require "spec.support.netns"
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    local frames = {}
    for _, p in ipairs {
      t.dns { name = "www.example.org", type = "AAAA", id = 0x1234 },
      t.dns { name = "example.org", rcode = "nxdomain", qr = true },
      t.dns { name = "example.org", type = "MX", daddr = V6, answers = {
        { name = "example.org", type = "MX", data = "10 mail.example.org" },
        { name = "mail.example.org", type = "A", data = "192.0.2.25", ttl = 60 },
        { name = "mail.example.org", type = "AAAA", data = "2001:db8::25" },
        { name = "example.org", type = "TXT", data = "a text" } } },
    } do frames[#frames + 1] = { p.bytes } end
    capture.write(path, frames)
    local output = netns.shell(("LD_PRELOAD= tshark -n -r %s -T fields -E separator=, -e dns.id -e dns.qry.name "
      .. "-e dns.qry.type -e dns.flags.rcode -e dns.mx.mail_exchange -e dns.a -e dns.aaaa -e dns.txt -e _ws.malformed"
      .. " 2>/dev/null"):format(path))
    assert.equal("0x1234,www.example.org,28,,,,,,\n0x0001,example.org,1,3,,,,,\n"
      .. "0x0001,example.org,15,0,mail.example.org,192.0.2.25,2001:db8::25,a text,\n", output)
  end)
end)
