local ffi = require "ffi"
local m = require "spec.support.message"
local packet = require "ipq.packet.view"
local packets = require "spec.support.packet"
local rewrite = require "spec.support.rewrite"
local source = require "spec.support.source"
local ip, ip6, be16, be32 = packets.ip, packets.ip6, m.be16, m.be32

-- What look(pkt) gives inside a filter for these bytes, and the packet's bytes after it.
-- With options, and with more attributes of the message.
local function inside(bytes, look, options, more)
  local result, copy
  local src = source.new { m.packet(m.hdr(1) .. (more or "") .. m.attr(m.PAYLOAD, bytes), options) }
  src:verdicts(function(pkt)
    result = { pcall(look, pkt) }
    copy = pkt:copy()
  end)
  if not result[1] then error(result[2], 0) end
  local p = src.batch.packets[0]
  return result[2], p.set ~= 0 and ffi.string(p.data, p.data_len) or copy
end

local function be16_at(bytes, offset) return bytes:byte(offset + 1) * 256 + bytes:byte(offset + 2) end

-- Each view: the bytes of its header, every field with its value and another that it may get.
local views = {
  ip = {
    header = "\69\185\0\60\18\52\64\0\63\6\171\205\10\0\0\1\192\168\255\254" .. ("x"):rep(40), alone = true,
    fields = { dscp = { 46, 1 }, ecn = { 1, 2 }, length = { 60, 50 }, id = { 0x1234, 0xffff }, df = { true, false },
      mf = { false, true }, frag_off = { 0, 0x1fff }, ttl = { 63, 255 }, protocol = { 6, 17 },
      checksum = { 0xabcd, 1 }, saddr = { "10.0.0.1", "255.255.255.255" }, daddr = { "192.168.255.254", "0.0.0.0" } },
  },
  ip6 = {
    header = "\107\145\35\69\0\20\6\7" .. packets.saddr6 .. packets.daddr6 .. ("x"):rep(20), alone = true,
    fields = { dscp = { 46, 1 }, ecn = { 1, 3 }, flowlabel = { 0x12345, 0xfffff }, length = { 20, 19 },
      nexthdr = { 6, 58 }, hoplimit = { 7, 255 }, saddr = { "2001:db8::1", "::" },
      daddr = { "2001:db8::2", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" } },
  },
  tcp = {
    number = 6, header = be16(1024) .. be16(80) .. be32(0xfedcba98) .. be32(0x80000001) .. "\80\18" .. be16(65535)
      .. be16(0xabcd) .. be16(9),
    fields = { sport = { 1024, 65535 }, dport = { 80, 0 }, sequence = { 0xfedcba98, 1 },
      ackseq = { 0x80000001, 0xffffffff }, flags = { 0x12, 0xff }, window = { 65535, 1 }, checksum = { 0xabcd, 0 },
      urgptr = { 9, 8 }, fin = { false, true }, syn = { true, false }, rst = { false, true }, psh = { false, true },
      ack = { true, false }, urg = { false, true }, ece = { false, true }, cwr = { false, true }, doff = { 5 } },
  },
  udp = {
    number = 17, header = be16(1024) .. be16(53) .. be16(8) .. be16(0xabcd),
    fields = { sport = { 1024, 1 }, dport = { 53, 54 }, length = { 8, 9 }, checksum = { 0xabcd, 0xffff } },
  },
  udplite = {
    number = 136, header = be16(1024) .. be16(53) .. be16(8) .. be16(0xabcd),
    fields = { sport = { 1024, 1 }, dport = { 53, 54 }, csumcov = { 8, 0 }, checksum = { 0xabcd, 0xffff } },
  },
  icmp = {
    number = 1, header = "\8\1" .. be16(0xabcd) .. be16(77) .. be16(5),
    fields = { type = { 8, 0 }, code = { 1, 255 }, checksum = { 0xabcd, 1 }, id = { 77, 78 }, sequence = { 5, 6 } },
  },
  icmpv6 = {
    number = 58, header = "\128\1" .. be16(0xabcd) .. be16(77) .. be16(5),
    fields = { type = { 128, 0 }, code = { 1, 255 }, checksum = { 0xabcd, 1 }, id = { 77, 78 }, sequence = { 5, 6 } },
  },
  sctp = {
    number = 132, header = be16(1024) .. be16(80) .. be32(0xfedcba98) .. be32(0xabcdef01),
    fields = { sport = { 1024, 1 }, dport = { 80, 2 }, vtag = { 0xfedcba98, 3 }, checksum = { 0xabcdef01, 4 } },
  },
  dccp = {
    number = 33, header = be16(1024) .. be16(80) .. "\4\33" .. be16(0xabcd) .. "\11\0\0\0\0\0\0\1",
    fields = { sport = { 1024, 1 }, dport = { 80, 2 }, doff = { 4 }, csumcov = { 1, 15 }, checksum = { 0xabcd, 4 },
      type = { 5, 6 } },
  },
  gre = {
    number = 47, header = "\32\1\8\0" .. be32(0xfedcba98),
    fields = { flags = { 0x20 }, version = { 1, 0 }, protocol = { 0x800, 0x86dd }, key = { 0xfedcba98, 5 } },
  },
  esp = {
    number = 50, header = be32(0xfedcba98) .. be32(7),
    fields = { spi = { 0xfedcba98, 1 }, sequence = { 7, 0xffffffff } },
  },
  ah = {
    number = 51, header = "\59\4" .. be16(0) .. be32(0xfedcba98) .. be32(7) .. ("i"):rep(12),
    fields = { nexthdr = { 59, 4 }, hdrlength = { 4 }, spi = { 0xfedcba98, 1 }, sequence = { 7, 8 } },
  },
}

-- The packets that a view is looked at in, with what must be there for it to be one.
local function frames(view, header)
  if view.alone then
    return { { name = "alone", bytes = header, least = #header - (header:byte() == 69 and 40 or 20) } }
  end
  local result = {}
  local function add(name, before, after)
    result[#result + 1] = { name = name, bytes = before .. header .. after, least = #before + #header }
  end
  local rest = header .. "payload"
  add("in IPv4", ip(view.number, rest):sub(1, 20), "payload")
  add("behind IPv4 options", ip(view.number, rest, { options = ("\1"):rep(12) }):sub(1, 32), "payload")
  add("in IPv6", ip6(view.number, rest):sub(1, 40), "payload")
  local chain = packets.extension(60, packets.extension(43, packets.extension(view.number, rest, 2)))
  local whole = ip6(0, chain)
  add("behind a chain of IPv6 extension headers", whole:sub(1, #whole - #rest), "payload")
  return result
end

for name, view in pairs(views) do
  describe("pkt." .. name, function()
    for _, frame in ipairs(frames(view, view.header)) do
      for field, values in pairs(view.fields) do
        it("reads " .. field .. " " .. frame.name, function()
          assert.equal(values[1], (inside(frame.bytes, function(pkt) return pkt[name][field] end)))
        end)
      end

      it("is nil where its header is not wholly there, " .. frame.name, function()
        for length = 0, #frame.bytes do
          local there = inside(frame.bytes:sub(1, length), function(pkt) return pkt[name] ~= nil end)
          assert.equal(length >= frame.least, there, "cut to " .. length .. " bytes")
        end
      end)

      for field, values in pairs(view.fields) do
        local new = values[2]
        if new ~= nil then
          it("assigns " .. field .. " " .. frame.name .. ", and nothing else", function()
            local read, bytes = inside(frame.bytes, function(pkt)
              pkt.fix = false
              local before = {}
              for other in pairs(view.fields) do before[other] = pkt[name][other] end
              pkt[name][field] = new
              if pkt[name] == nil then return "gone" end -- what made it this header has changed
              for other in pairs(view.fields) do
                local is_part = (other == "flags" or field == "flags") and name == "tcp"
                if other ~= field and not is_part then assert(pkt[name][other] == before[other], other) end
              end
              return pkt[name][field]
            end)
            if read ~= "gone" then assert.equal(new, read) end
            assert.equal(#frame.bytes, #bytes)
            assert.not_equal(frame.bytes, bytes)
          end)
        end
      end
    end

    it("says what it lacks", function()
      local bytes = frames(view, view.header)[1].bytes
      assert.error_matches(function() inside(bytes, function(pkt) return pkt[name].nonsense end) end,
        "pkt." .. name .. " has no field 'nonsense'")
      assert.error_matches(function() inside(bytes, function(pkt) pkt[name].nonsense = 1 end) end,
        "pkt." .. name .. " has no field 'nonsense'")
    end)

    it("names all its fields here", function()
      for field in pairs(packet.header_fields(name)) do
        assert.truthy(view.fields[field] or field == "payload" or field == "options" or field == "inner", field)
      end
    end)
  end)
end

describe("a header", function()
  local samples = { ip = ip(6, packets.tcp "x"), ip6 = ip6(17, packets.udp "x"), tcp = ip(6, packets.tcp "x"),
    udp = ip6(17, packets.udp "x") }
  for _, case in ipairs {
    { "tcp", "dst_port", "dport" }, { "tcp", "src", "sport" }, { "tcp", "seq", "sequence" },
    { "tcp", "ack_seq", "ackseq" },
    { "tcp", "flgas", "flags" }, { "tcp", "set_optoin", "set_option" }, { "tcp", "win", "window" },
    { "udp", "len", "length" }, { "udp", "destination_port", "dport" }, { "udp", "data", "payload" },
    { "ip", "src", "saddr" }, { "ip", "tos", "dscp" }, { "ip", "len", "length" }, { "ip", "proto", "protocol" },
    { "ip", "hoplimit", "ttl" }, { "ip6", "ttl", "hoplimit" }, { "ip6", "protocol", "nexthdr" },
    { "ip6", "dst_ip", "daddr" },
  } do
    local name, word, meant = unpack(case)
    it(("names the field that was meant by pkt.%s.%s"):format(name, word), function()
      for _, use in ipairs { function(pkt) return pkt[name][word] end, function(pkt) pkt[name][word] = 1 end } do
        local message = select(2, pcall(inside, samples[name], use))
        assert.equal(("pkt.%s has no field '%s'; did you mean '%s'?"):format(name, word, meant),
          (message:gsub("^spec/unit/header_spec.lua:%d+: ", "")))
      end
    end)
  end
end)

describe("a header's field", function()
  local tcp = ip(6, packets.tcp "x")

  it("raises for a value out of range, and names the field", function()
    for _, case in ipairs { { "ip", "ttl", 300, "255" }, { "ip", "ttl", -1, "255" }, { "ip", "dscp", 64, "63" },
      { "ip", "ttl", 1.5, "255" }, { "ip", "ttl", 0 / 0, "255" }, { "ip", "ttl", "5", "255" },
      { "tcp", "dport", 65536, "65535" } } do
      assert.error_matches(function() inside(tcp, function(pkt) pkt[case[1]][case[2]] = case[3] end) end,
        case[1] .. "." .. case[2] .. " must be an integer from 0 to " .. case[4])
    end
    assert.error_matches(function() inside(tcp, function(pkt) pkt.tcp.syn = 1 end) end,
      "tcp.syn must be true or false")
    assert.error_matches(function() inside(tcp, function(pkt) pkt.dport = -1 end) end, "tcp.dport must be")
  end)

  -- Those of 32 bits: what LuaJIT's bit library gives for a number above 2^31 has a sign.
  for name, view in pairs(views) do
    for field, values in pairs(view.fields) do
      if type(values[1]) == "number" and values[1] > 0xffff and values[1] ~= 0x12345 or field == "sequence"
        and not name:find "^icmp" then
        it(("of 32 bits takes a number with a sign, and gives one without: %s.%s"):format(name, field), function()
          local frame = frames(view, view.header)[1].bytes
          for _, number in ipairs { -2 ^ 31, -1, bit.bor(0x80000000, 1), 0, 2 ^ 31, 2 ^ 32 - 1 } do
            local read, bytes = inside(frame, function(pkt)
              pkt.fix = false
              pkt[name][field] = number
              return pkt[name][field]
            end)
            assert.equal(number % 2 ^ 32, read)
            assert.truthy(bytes:find(be32(number % 2 ^ 32), 1, true))
          end
          for _, number in ipairs { -2 ^ 31 - 1, 2 ^ 32, -0.5, 0 / 0, 1 / 0, "1" } do
            local ok, message = pcall(inside, frame, function(pkt) pkt[name][field] = number end)
            assert.is_false(ok)
            assert.equal(("%s.%s must be an integer from -2147483648 to 4294967295; value %% 2^32 brings a larger one "
              .. "there"):format(name, field), (message:gsub("^spec/unit/header_spec.lua:%d+: ", "")))
          end
        end)
      end
    end
  end

  it("of 20 bits takes none with a sign", function()
    assert.error_matches(function() inside(ip6(6, "x"), function(pkt) pkt.ip6.flowlabel = -1 end) end,
      "ip6.flowlabel must be an integer from 0 to 1048575")
  end)

  it("raises for the text of no address", function()
    for _, text in ipairs { "10.0.0", "10.0.0.256", "::1", "", "10.0.0.1 ", "10.0.0.1\0", 5, false } do
      assert.error_matches(function() inside(tcp, function(pkt) pkt.ip.saddr = text end) end,
        "ip.saddr must be the text of an IPv4 address")
      assert.error_matches(function() inside(tcp, function(pkt) pkt.saddr = text end) end,
        "ip.saddr must be the text of an IPv4 address")
    end
    assert.error_matches(function()
      inside(ip6(59, ""), function(pkt) pkt.ip6.daddr = "10.0.0.1" end)
    end, "ip6.daddr must be the text of an IPv6 address")
  end)

  it("blames the script's line", function()
    for _, change in ipairs { function(pkt) pkt.ip.ttl = 300 end, function(pkt) pkt.ip.saddr = "x" end,
      function(pkt) pkt.dport = -1 end, function(pkt) pkt.saddr = "x" end, function(pkt) return pkt.tcp.x end,
      function(pkt) pkt.tcp.syn = 1 end, function(pkt) pkt.fix = 1 end } do
      local _, message = pcall(inside, tcp, change)
      assert.matches("^spec/unit/header_spec.lua:%d+: ", message)
    end
  end)

  it("ends with its packet", function()
    local kept
    inside(tcp, function(pkt) kept = { pkt.tcp, pkt.ip, pkt.tcp.payload } end)
    for _, view in ipairs { function() return kept[1].dport end, function() return kept[2].saddr end,
      function() return #kept[3] end, function() kept[1].dport = 1 end } do
      assert.error_matches(view, "packet used after its filter returned")
    end
  end)

  it("is gone when its header's length no longer fits", function()
    local ah = ip(51, "\59\4" .. be16(0) .. be32(5) .. be32(7) .. ("i"):rep(12))
    assert.same({ true, false, true }, (inside(ah, function(pkt)
      pkt.fix = false
      local seen = { pkt.ah ~= nil }
      pkt.ah.hdrlength = 200
      seen[2] = pkt.ah ~= nil
      pkt.payload:set_u8(21, 4)
      seen[3] = pkt.ah ~= nil
      return seen
    end)))
  end)

  it("is gone when what made its header one has changed", function()
    assert.error_matches(function()
      inside(tcp, function(pkt)
        local t = pkt.tcp
        pkt.ip.protocol = 17
        return t.dport
      end)
    end, "the packet has no tcp header any more")
  end)
end)

describe("without asking which header it is, a packet", function()
  local cases = {
    { "TCP over IPv4", ip(6, packets.tcp ""), "10.0.0.1", "10.0.0.2", 6, 1024, 80 },
    { "UDP over IPv6", ip6(17, packets.udp ""), "2001:db8::1", "2001:db8::2", 17, 1024, 53 },
    { "ICMP", ip(1, views.icmp.header), "10.0.0.1", "10.0.0.2", 1 },
    { "SCTP", ip(132, views.sctp.header), "10.0.0.1", "10.0.0.2", 132, 1024, 80 },
    { "an unknown protocol", ip(200, "xxxxxxxx"), "10.0.0.1", "10.0.0.2", 200 },
    { "ARP", "\0\1\8\0\6\4\0\1" },
    { "nothing", "" },
  }
  for _, case in ipairs(cases) do
    it("tells addresses, protocol and ports: " .. case[1], function()
      local fields = inside(case[2], function(pkt)
        return { n = 5, pkt.saddr, pkt.daddr, pkt.protocol, pkt.sport, pkt.dport }
      end)
      for i = 1, 5 do assert.equal(case[i + 2], fields[i]) end
    end)
  end

  it("assigns them", function()
    for _, bytes in ipairs { ip(6, packets.tcp ""), ip(17, packets.udp ""), ip(132, views.sctp.header),
      ip(33, views.dccp.header), ip(136, views.udplite.header) } do
      assert.same({ "1.2.3.4", 7, "5.6.7.8", 9 }, (inside(bytes, function(pkt)
        pkt.fix = false
        pkt.saddr, pkt.sport, pkt.daddr, pkt.dport = "1.2.3.4", 7, "5.6.7.8", 9
        return { pkt.ip.saddr, pkt.sport, pkt.ip.daddr, pkt.dport }
      end)))
    end
    assert.equal("fe80::1", (inside(ip6(17, packets.udp ""), function(pkt)
      pkt.fix = false
      pkt.saddr = "fe80::1"
      return pkt.ip6.saddr
    end)))
    assert.error_matches(function() inside(ip(1, views.icmp.header), function(pkt) pkt.dport = 1 end) end,
      "the packet has no dport")
    assert.error_matches(function() inside("", function(pkt) pkt.saddr = "1.1.1.1" end) end, "the packet has no saddr")
  end)
end)

describe("fragments", function()
  it("have a transport header in the first one alone", function()
    local first = ip(17, packets.udp "xxxxxxxx", { fragment = 0x2000 })
    local later = ip(17, packets.udp "xxxxxxxx", { fragment = 0x2001 })
    local last = ip(17, packets.udp "xxxxxxxx", { fragment = 0x0005 })
    local has_udp = function(pkt) return pkt.udp ~= nil end
    assert.is_true((inside(first, has_udp)))
    assert.is_false((inside(later, has_udp)))
    assert.is_false((inside(last, has_udp)))
    assert.is_true((inside(ip6(44, packets.fragment(17, packets.udp "x", 0, true)), has_udp)))
    assert.is_true((inside(ip6(44, packets.fragment(17, packets.udp "x", 0, false)), has_udp)))
    assert.is_false((inside(ip6(44, packets.fragment(17, packets.udp "x", 1, true)), has_udp)))
    assert.equal(17, (inside(ip6(44, packets.fragment(17, packets.udp "x", 1, true)), function(pkt)
      return pkt.protocol
    end)))
  end)
end)

describe("IPv6 extension headers", function()
  local chain = packets.extension(43, packets.extension(60, packets.extension(17, packets.udp "x"), 1))
  local bytes = ip6(0, chain)

  it("are had by their number", function()
    local lengths = inside(bytes, function(pkt)
      return { #pkt.ip6:exthdr(0), #pkt.ip6:exthdr(43), #pkt.ip6:exthdr(60), pkt.ip6:exthdr(44) == nil, pkt.dport }
    end)
    assert.same({ 8, 16, 8, true, 53 }, lengths)
  end)

  it("are refused by a number that is none", function()
    for _, n in ipairs { 6, -1, "0" } do
      assert.error_matches(function() inside(bytes, function(pkt) return pkt.ip6:exthdr(n) end) end,
        "exthdr%(%) takes")
    end
  end)

  it("let AH be seen before TCP", function()
    local ah = "\6\4" .. be16(0) .. be32(5) .. be32(6) .. ("i"):rep(12)
    assert.same({ 5, 80, 24 }, (inside(ip6(51, ah .. packets.tcp ""), function(pkt)
      return { pkt.ah.spi, pkt.tcp.dport, #pkt.ip6:exthdr(51) }
    end)))
  end)

  it("are followed however many there are", function()
    local ah = "\6\4" .. be16(0) .. be32(5) .. be32(6) .. ("i"):rep(12)
    local function chain_of(count)
      local rest = "\51\0" .. ("\0"):rep(6) .. ah .. packets.tcp ""
      return ip6(60, ("\60\0\1\4\0\0\0\0"):rep(count - 2) .. rest)
    end
    local function look(pkt) return { pkt.dport, pkt.ah.spi, pkt.malformed or "well" } end
    for _, count in ipairs { 3, 64, 65, 66, 257, 8180 } do
      assert.same({ 80, 5, "well" }, (inside(chain_of(count), look)), count)
    end
  end)

  it("end with the Mobility Header, as in the kernel", function()
    local mobility = "\6\1\5\0" .. be16(0xabcd) .. ("m"):rep(10)
    local bytes_of_it = ip6(60, "\135\0\1\4\0\0\0\0" .. mobility .. packets.tcp "")
    inside(bytes_of_it, function(pkt)
      assert.is_nil(pkt.tcp)
      assert.equal(135, pkt.protocol)
      assert.equal(mobility, pkt.ip6:exthdr(135))
      assert.is_nil(pkt.ip6:exthdr(43))
    end)
  end)

  it("never make the parser read beyond the copy or run for ever", function()
    local long = ip6(0, ("\0\0\1\4\0\0\0\0"):rep(8000))
    assert.is_nil((inside(long, function(pkt) return pkt.tcp end)))
    assert.is_nil((inside(ip6(0, "\6\255" .. ("\0"):rep(6)), function(pkt) return pkt.tcp end)))
  end)
end)

describe("pkt.malformed", function()
  local function reason(bytes, more)
    return (inside(bytes, function(pkt) return pkt.malformed or "well" end, nil, more))
  end
  local udp, tcp = packets.udp "hello", packets.tcp "hello"
  local function replaced(bytes, at, new) return bytes:sub(1, at) .. new .. bytes:sub(at + #new + 1) end

  it("is nil where all is well", function()
    for _, bytes in ipairs { ip(6, tcp), ip6(6, tcp), ip(17, udp), ip6(17, udp), ip(253, "x"), ip6(59, "") } do
      assert.equal("well", reason(bytes))
    end
  end)

  -- bytes → the reason's beginning
  local ip_cut, length = "the IP header is cut off", "the IP header tells another length"
  local chain, transport = "an IPv6 extension header is cut off", "the transport header is cut off"
  local cases = {
    { "no IP", "\0" .. ip(6, tcp), ip_cut },
    { "an IPv4 header cut off", ip(6, tcp):sub(1, 19), ip_cut },
    { "an IPv6 header cut off", ip6(6, tcp):sub(1, 39), ip_cut },
    { "an IPv4 header of 16 bytes", replaced(ip(6, tcp), 0, "\x44"), ip_cut },
    { "an IPv4 header longer than the packet", replaced(ip(6, tcp):sub(1, 30), 0, "\x4f"), ip_cut },
    { "a total length below the header", replaced(ip(6, tcp), 2, be16(19)), length },
    { "a total length beyond the packet", replaced(ip(6, tcp), 2, be16(20 + #tcp + 1)), length },
    { "a payload length beyond the packet", replaced(ip6(6, tcp), 4, be16(#tcp + 1)), length },
    { "an extension header cut off", ip6(60, "\6\0\1\4\0\0\0"), chain },
    { "an extension header longer than the packet", ip6(60, "\6\9" .. ("\0"):rep(6) .. tcp), chain },
    { "an authentication header of 8 bytes", ip6(51, "\6\0" .. ("\0"):rep(6) .. tcp), chain },
    { "a TCP header cut off", ip(6, tcp:sub(1, 19)), transport },
    { "a TCP header of 16 bytes", ip(6, replaced(tcp, 12, "\x40")), transport },
    { "a TCP header longer than the packet", ip6(6, replaced(tcp, 12, "\xf0")), transport },
    { "a UDP header cut off", ip(17, udp:sub(1, 7)), transport },
    { "a UDP length below its header", ip(17, replaced(udp, 4, be16(7))), transport },
    { "a UDP length of 0 over IPv4", ip(17, replaced(udp, 4, be16(0))), transport },
    { "a UDP length beyond the packet", ip6(17, replaced(udp, 4, be16(#udp + 1))), transport },
    { "a first fragment without its TCP header", replaced(ip(6, tcp:sub(1, 16)), 6, "\x20\0"),
      "the first fragment ends before" },
    { "the same over IPv6", ip6(44, packets.fragment(6, tcp:sub(1, 16), 0, true)), "the first fragment ends before" },
  }
  for _, case in ipairs(cases) do
    it("tells of " .. case[1], function()
      local text = reason(case[2])
      assert.equal(case[3], text:sub(1, #case[3]))
    end)
  end

  it("tells that a copy ends in the headers, and that nothing was copied", function()
    for _, n in ipairs { 0, 19, 30 } do
      local text = reason(ip(6, tcp):sub(1, n), m.attr(m.CAP_LEN, be32(20 + #tcp)))
      assert.matches("^the copy of the packet ends in its headers: a longer %-%-copy%-range", text)
    end
    assert.equal("well", reason(ip(6, tcp):sub(1, 40), m.attr(m.CAP_LEN, be32(20 + #tcp))))
    assert.equal("well", reason(ip(17, udp):sub(1, 28), m.attr(m.CAP_LEN, be32(20 + #udp))))
  end)

  it("says nothing of lengths that segmentation leaves 0, nor of UDP that is shorter than IP", function()
    assert.equal("well", reason(replaced(ip(6, tcp), 2, be16(0))))
    assert.equal("well", reason(replaced(ip6(6, tcp), 4, be16(0))))
    assert.equal("well", reason(ip6(17, replaced(udp, 4, be16(0)))))
    assert.equal("well", reason(ip(17, replaced(udp, 4, be16(#udp - 1)))))
  end)

  it("says nothing more of a length that is made right, once something has changed", function()
    assert.same({ length, "well" }, (inside(replaced(ip(6, tcp), 2, be16(19)), function(pkt)
      local before = pkt.malformed:sub(1, #length)
      pkt.ip.ttl = 9
      return { before, pkt.malformed or "well" }
    end)))
  end)

  it("blames the copy only where the copy has ended, and not the packet before it", function()
    local cut = m.attr(m.CAP_LEN, be32(200))
    local padding = ("p"):rep(60)
    for _, case in ipairs {
      { ip6(60, "\6\9" .. ("\0"):rep(6)), chain }, { ip(6, tcp:sub(1, 10)), transport },
      { ip(17, replaced(udp, 4, be16(180))), transport },
    } do
      assert.equal(case[2], reason(case[1] .. padding, cut):sub(1, #case[2]))
    end
    -- Changes drop the padding.
    assert.same({ chain, chain }, (inside(ip6(60, "\6\9" .. ("\0"):rep(6)) .. padding, function(pkt)
      local before = pkt.malformed:sub(1, #chain)
      pkt.ip6.hoplimit = 9
      return { before, pkt.malformed:sub(1, #chain) }
    end, nil, cut)))
  end)

  it("follows what a filter changes, whose lengths are not made yet", function()
    for _, bytes in ipairs { ip(17, udp), ip6(17, udp) } do
      for _, size in ipairs { 200, 0 } do
        assert.same({ "well", "well" }, (inside(bytes, function(pkt)
          local before = pkt.malformed or "well"
          pkt.udp.payload:resize(size)
          return { before, pkt.malformed or "well" }
        end)))
      end
    end
  end)
end)

describe("pkt.fragment", function()
  it("tells first and later fragments from whole packets", function()
    local function of(bytes) return (inside(bytes, function(pkt) return pkt.fragment or "whole" end)) end
    local v4, v6 = ip(6, packets.tcp "12345678"), packets.tcp "12345678"
    local function offset4(field) return v4:sub(1, 6) .. field .. v4:sub(9) end
    local function offset6(...) return ip6(44, packets.fragment(6, v6, ...)) end
    assert.same({ "whole", "whole", "first", "later", "later" },
      { of(v4), of(offset4 "\x40\0"), of(offset4 "\x20\0"), of(offset4 "\x20\1"), of(offset4 "\0\1") })
    assert.same({ "whole", "whole", "first", "later", "later" },
      { of(ip6(6, v6)), of(offset6(0, false)), of(offset6(0, true)), of(offset6(1, true)), of(offset6(1, false)) })
  end)
end)

describe("bridged packets", function()
  local inner = ip(17, packets.udp "x")
  local function bridged(bytes, ethertype)
    local src = source.new { m.packet(m.attr(m.PACKET_HDR, be32(1) .. be16(ethertype) .. "\2")
      .. m.attr(m.PAYLOAD, bytes), { family = 7 }) }
    local result
    src:verdicts(function(pkt) result = { pkt.saddr, pkt.dport } end)
    return result
  end

  it("are read by their EtherType, behind VLAN tags too", function()
    assert.same({ "10.0.0.1", 53 }, bridged(inner, 0x0800))
    assert.same({ "10.0.0.1", 53 }, bridged("\0\5\8\0" .. inner, 0x8100))
    assert.same({ "10.0.0.1", 53 }, bridged("\0\5\129\0\0\6\8\0" .. inner, 0x88a8))
    assert.same({}, bridged(inner, 0x0806))
    assert.same({}, bridged("\0\5\8", 0x8100))
  end)
end)

describe("pkt.tcp's options", function()
  -- MSS 1460, NOP, window scale 7, NOP NOP, timestamps
  local options = "\2\4\5\180" .. "\1\3\3\7" .. "\1\1\8\10" .. be32(1) .. be32(2)
  local bytes = ip(6, packets.tcp("data", { options = options }))

  it("come as a list and by their kind", function()
    local list = inside(bytes, function(pkt) return pkt.tcp.options end)
    assert.same({ { kind = 2, data = "\5\180" }, { kind = 3, data = "\7" },
      { kind = 8, data = be32(1) .. be32(2) } }, list)
    assert.equal("\5\180", (inside(bytes, function(pkt) return pkt.tcp:option(2) end)))
    assert.is_nil((inside(bytes, function(pkt) return pkt.tcp:option(4) end)))
    assert.same({}, (inside(ip(6, packets.tcp ""), function(pkt) return pkt.tcp.options end)))
  end)

  it("can be assigned, as a list or as bytes; the header grows and shrinks", function()
    local function assigned(value)
      local fields, copy = inside(bytes, function(pkt)
        pkt.tcp.options = value
        return { pkt.tcp.doff, tostring(pkt.tcp.payload), pkt.dport, pkt.tcp.options }
      end)
      return fields, copy
    end
    local fields, copy = assigned { { kind = 2, data = "\5\100" }, { kind = 4 } }
    assert.same({ 7, "data", 80, { { kind = 2, data = "\5\100" }, { kind = 4, data = "" } } }, fields)
    assert.equal("\2\4\5\100\4\2\0\0data", copy:sub(41))
    assert.equal(#copy, be16_at(copy, 2))
    fields = assigned ""
    assert.same({ 5, "data", 80, {} }, fields)
    fields = assigned(("\1"):rep(40))
    assert.same({ 15, "data", 80, {} }, fields)
    for _, bad in ipairs { ("\1"):rep(41), 5, true, { { data = "" } }, { {} }, { 5 }, { { kind = 1, data = "x" } },
      { { kind = 0 } }, { { kind = 2.5 } }, { { kind = 2, data = ("x"):rep(39) } }, { mss = 1400 },
      { { kind = 2, value = "\5\180" } }, { { kind = 4 }, mss = 5 } } do
      assert.matches("^spec/unit/header_spec.lua:%d+: tcp.options", select(2, pcall(assigned, bad)))
    end
    assert.error_matches(function() assigned { mss = 1400 } end,
      "tcp.options must be a list of { kind = number, data = string }; this table has a key 'mss'", 1, true)
    assert.error_matches(function() assigned { { kind = 4 }, { kind = 2, value = "x" } } end,
      "tcp.options: entry 2 has no 'value'; it may have kind and data", 1, true)
  end)

  it("keep the no-operations that an assigned list has", function()
    local _, copy = inside(bytes, function(pkt)
      pkt.tcp.options = { { kind = 1 }, { kind = 1, data = "" }, { kind = 4 } }
    end)
    assert.equal("\1\1\4\2data", copy:sub(41))
  end)

  describe("set one by one", function()
    -- What set_option() makes of the options of a segment.
    local function set(before, kind, data)
      local options_, copy = inside(ip(6, packets.tcp("data", { options = before })), function(pkt)
        pkt.tcp:set_option(kind, data)
        return pkt.tcp:option(kind)
      end)
      assert.equal(options_, data)
      assert.equal("data", copy:sub(21 + math.floor(copy:byte(33) / 16) * 4))
      assert.equal(#copy, be16_at(copy, 2))
      return copy:sub(41, -5)
    end

    it("are written in place where they are as long", function()
      assert.equal("\2\4\4\0" .. options:sub(5), set(options, 2, "\4\0"))
      assert.equal("\2\4\4\0\2\4\9\9", set("\2\4\5\180\2\4\9\9", 2, "\4\0")) -- the first of them
      assert.equal("\4\2\0\9", set("\4\2\0\9", 4, ""))
    end)

    it("are made anew where they are not, with padding, and keep the others", function()
      assert.equal("\2\4\5\180" .. "\1\3\4\7\7" .. options:sub(9) .. "\0\0\0", set(options, 3, "\7\7"))
      assert.equal("\3\3\7\4\2\0\0\0", set("\3\4\7\7\4\2\0\0", 3, "\7"))
      assert.equal("\2\4\5\180", set("\2\3\5\0", 2, "\5\180"))
    end)

    it("are added behind the others", function()
      assert.equal("\2\4\5\180", set("", 2, "\5\180"))
      assert.equal("\4\2\2\4\5\180\0\0", set("\4\2\0\0", 2, "\5\180"))
      assert.equal("\4\2\1\1\2\4\5\180", set("\4\2\1\1", 2, "\5\180"))
      assert.equal("\4\2\2\4\5\180\0\0", set("\4\2\7\9", 2, "\5\180")) -- behind which one is malformed
      assert.equal(("\1"):rep(34) .. "\8\6abcd", set(("\1"):rep(34) .. "\0\0", 8, "abcd"))
    end)

    it("are taken away, and leave no-operations", function()
      assert.equal("\1\1\1\1" .. options:sub(5), set(options, 2, nil))
      assert.equal("\1\1\1\1\4\2\1\1", set("\2\4\5\180\4\2\2\2", 2, nil)) -- all of them
      assert.equal(options, set(options, 99, nil))
    end)

    it("raise at the script's line where they cannot be", function()
      local bad = { { "x" }, { 0, "" }, { 1, "" }, { 256, "" }, { 2.5, "" }, { 0 / 0, "" }, { 2, 5 },
        { 2, ("x"):rep(39) }, { 8, ("x"):rep(38) } }
      for i, arguments in ipairs(bad) do
        local ok, message = pcall(inside, bytes, function(pkt) pkt.tcp:set_option(arguments[1], arguments[2]) end)
        assert.is_false(ok, i)
        assert.matches("^spec/unit/header_spec.lua:%d+: set_option%(%)", message)
      end
      assert.error_matches(function()
        inside(bytes, function(pkt) pkt.tcp:set_option(8, ("x"):rep(38)) end)
      end, "TCP's options would be over 40 bytes, the most that a header has", 1, true)
      assert.error_matches(function()
        inside(bytes, function(pkt)
          local tcp = pkt.tcp
          pkt.fix = false
          pkt.payload:resize(10)
          tcp:set_option(2, "\5\180")
        end)
      end, "the packet has no tcp header any more")
    end)
  end)

  it("end where one is malformed", function()
    for _, bad in ipairs { "\2\1\0\0", "\2\0\0\0", "\2\5\0\0", "\1\1\1\2", "\0\2\4\5" } do
      assert.same({}, (inside(ip(6, packets.tcp("", { options = bad })), function(pkt) return pkt.tcp.options end)))
      assert.is_nil((inside(ip(6, packets.tcp("", { options = bad })), function(pkt) return pkt.tcp:option(2) end)))
    end
  end)

  it("belong to the header: without all of them there is none", function()
    for length = 20, #bytes do
      assert.equal(length >= 20 + 20 + #options, (inside(bytes:sub(1, length), function(pkt)
        return pkt.tcp ~= nil
      end)), length)
    end
    -- A header of less than 20 bytes cannot be.
    local short = bytes:sub(1, 32) .. "\64" .. bytes:sub(34)
    assert.is_false((inside(short, function(pkt) return pkt.tcp ~= nil end)))
  end)

  it("are before the payload", function()
    assert.equal("data", (inside(bytes, function(pkt) return tostring(pkt.tcp.payload) end)))
  end)
end)

describe("pkt.ip.options", function()
  it("can be assigned; the header grows and shrinks", function()
    for _, value in ipairs { "", "\7", "\7\4\4\0", ("\1"):rep(40) } do
      local fields, copy = inside(ip(17, packets.udp "data", { options = "\1\1\1\1" }), function(pkt)
        pkt.ip.options = value
        return { pkt.ip.options, tostring(pkt.udp.payload), pkt.udp.dport }
      end)
      local padded = value .. ("\0"):rep(-#value % 4)
      assert.same({ padded, "data", 53 }, fields)
      assert.equal(0x45 + #padded / 4, copy:byte(1))
      assert.equal(#copy, be16_at(copy, 2))
    end
    for _, bad in ipairs { ("x"):rep(41), 5 } do
      assert.error_matches(function()
        inside(ip(17, packets.udp "data"), function(pkt) pkt.ip.options = bad end)
      end, "ip.options must be a string of at most 40 bytes")
    end
  end)
end)

describe("a payload", function()
  it("ends with the IP packet, whatever lies behind", function()
    local bytes = ip(17, packets.udp "hello") .. "padding"
    assert.same({ "hello", 5, 28 + 5 + 7 }, (inside(bytes, function(pkt)
      return { tostring(pkt.udp.payload), #pkt.udp.payload, #pkt.payload }
    end)))
    assert.error_matches(function() inside(bytes, function(pkt) return pkt.udp.payload:u8(5) end) end,
      "offset out of bounds")
  end)
end)

describe("any bytes", function()
  it("are a packet to the parser", function()
    math.randomseed(5)
    for _ = 1, 2000 do
      local bytes = {}
      for i = 1, math.random(0, 90) do bytes[i] = string.char(math.random(0, 255)) end
      if bytes[1] then bytes[1] = string.char(({ 0x45, 0x60, 0x4f, math.random(0, 255) })[math.random(4)]) end
      if bytes[7] then bytes[7] = string.char(({ 0, 6, 17, 43, 44, 51, 60, 132 })[math.random(8)]) end
      inside(table.concat(bytes), function(pkt)
        for name, view in pairs(views) do
          local v = pkt[name]
          if v then for field in pairs(view.fields) do local _ = v[field] end end
        end
        return tostring(pkt)
      end)
    end
  end)
end)

describe("tostring", function()
  local lines = {
    { ip(6, packets.tcp("abc")), "IP 10.0.0.1.1024 > 10.0.0.2.80: Flags [P.], seq 16909060:16909063, ack 84281096, "
      .. "win 512, length 3" },
    { ip(6, packets.tcp("", { flags = 2 })),
      "IP 10.0.0.1.1024 > 10.0.0.2.80: Flags [S], seq 16909060, win 512, length 0" },
    { ip(6, packets.tcp("", { flags = 16 })),
      "IP 10.0.0.1.1024 > 10.0.0.2.80: Flags [.], ack 84281096, win 512, length 0" },
    { ip(6, packets.tcp("abc", { sequence = 0xffffffff })),
      "IP 10.0.0.1.1024 > 10.0.0.2.80: Flags [P.], seq 4294967295:2, ack 84281096, win 512, length 3" },
    { ip(17, packets.udp("abc", { length = 500 })), "IP 10.0.0.1.1024 > 10.0.0.2.53: UDP, bad length 492 > 3" },
    { ip(17, packets.udp("abc", { length = 7 })), "IP 10.0.0.1.1024 > 10.0.0.2.53: UDP, bad length 7" },
    { ip(17, packets.udp("abc", { length = 500 }), { fragment = 0x2000 }),
      "IP 10.0.0.1.1024 > 10.0.0.2.53: UDP, length 492" },
    { ip6(17, packets.udp "abc"), "IP6 2001:db8::1.1024 > 2001:db8::2.53: UDP, length 3" },
    { ip(1, "\8\0\0\0\0\5\0\6abc"), "IP 10.0.0.1 > 10.0.0.2: ICMP echo request, id 5, seq 6, length 11" },
    { ip(1, "\3\4\0\0\0\0\0\0"), "IP 10.0.0.1 > 10.0.0.2: ICMP unreachable, length 8" },
    { ip6(58, "\135\0\0\0\0\0\0\0"), "IP6 2001:db8::1 > 2001:db8::2: ICMP6, neighbor solicitation, length 8" },
    { ip(132, views.sctp.header), "IP 10.0.0.1.1024 > 10.0.0.2.80: SCTP" },
    { ip(200, "x"), "IP 10.0.0.1 > 10.0.0.2: protocol 200" },
    { "\0\1\8\0", "ip, ethertype 0x0800, 4 bytes" },
  }
  for _, line in ipairs(lines) do
    it("writes " .. line[2], function() assert.equal(line[2], (inside(line[1], tostring))) end)
  end
end)

describe("a length in a header", function()
  it("of all that is less than the header is nonsense, and the packet is what bytes there are", function()
    for _, length in ipairs { 0, 10, 19 } do
      local function look(pkt) return { pkt.tcp and pkt.tcp.dport, #pkt.payload } end
      assert.same({ 80, 42 }, (inside(ip(6, packets.tcp "xy", { length = length }), look)))
    end
  end)

  it("has to have room for the fields that the header says it has", function()
    -- DCCP with sequence numbers of 48 bits has 16 bytes, of 24 bits 12; both are counted in words.
    local function look(pkt) return pkt.dccp ~= nil end
    local function dccp(words, kind)
      return ip(33, be16(1024) .. be16(80) .. string.char(words, 0) .. be16(0) .. string.char(kind) .. ("\0"):rep(11))
    end
    assert.is_true((inside(dccp(4, 11), look)))
    assert.is_false((inside(dccp(3, 11), look)))
    assert.is_true((inside(dccp(3, 10), look)))
    assert.is_false((inside(dccp(2, 10), look)))
  end)
end)

describe("ipq_header_total", function()
  local C = rewrite.C
  local function total(bytes) return C.ipq_header_total(rewrite.own(bytes), #bytes) end
  local padding = ("p"):rep(26)

  it("is what the IP header tells, of however many bytes are there", function()
    for _, rest in ipairs { "", "xyz", ("x"):rep(1480) } do
      assert.equal(20 + #rest, total(ip(17, rest) .. padding))
      assert.equal(32 + #rest, total(ip(17, rest, { options = ("\1"):rep(12) }) .. padding))
      assert.equal(40 + #rest, total(ip6(17, rest) .. padding))
      assert.equal(20 + #rest, total(ip(17, rest):sub(1, 20)))
      assert.equal(32 + #rest, total(ip(17, rest, { options = ("\1"):rep(12) }):sub(1, 20)))
      assert.equal(#rest > 0 and 40 + #rest or 40, total(ip6(17, rest):sub(1, 40)))
    end
    assert.equal(65535, total(ip(17, "x", { length = 65535 })))
    assert.equal(65575, total(ip6(17, "x", { length = 65535 })))
  end)

  it("is nothing where that cannot be told, or is nonsense", function()
    for _, bytes in ipairs {
      "", "\x45", ip(17, ""):sub(1, 19), ip6(17, "x"):sub(1, 39), ("\0"):rep(60), ("\x50"):rep(60),
      "\x44" .. ip(17, ("x"):rep(40)):sub(2), ip(6, packets.tcp "x", { length = 0 }),
      ip(6, packets.tcp "x", { length = 19 }), ip(6, "x", { length = 31, options = ("\1"):rep(12) }),
      ip6(6, packets.tcp "x", { length = 0 }), ip6(6, packets.tcp "x", { length = 0 }):sub(1, 40),
    } do
      assert.equal(0, total(bytes))
    end
  end)

  local function jumbo(options, more) return ip6(0, "\6" .. options .. (more or ("x"):rep(30)), { length = 0 }) end

  it("is that of a jumbogram's option, wherever it stands among the others", function()
    assert.equal(40 + 70000, total(jumbo("\0\xc2\4" .. be32(70000))))
    assert.equal(40 + 65536, total(jumbo("\1\0\1\2\0\0\xc2\4" .. be32(65536) .. "\1\0")))
    assert.equal(40 + 70000, total(jumbo("\0\xc2\4" .. be32(70000), "")))
  end)

  it("is nothing of hop-by-hop options without one that can be, which Linux takes for all that is there", function()
    for _, options in ipairs {
      "\0\1\4\0\0\0\0", "\0\xc2\4" .. be32(65535), "\0\xc2\4\xff\xff\xff\xff", "\0\xc2\3" .. be32(70000),
      "\0\0\0\0\0\0\xc2", "\0\1\5\0\0\0\0", "\9\xc2\4" .. be32(70000),
    } do
      assert.equal(0, total(jumbo(options)))
    end
    for n = 41, 47 do assert.equal(0, total(jumbo("\0\xc2\4" .. be32(70000)):sub(1, n))) end
  end)

  it("rules where the packet ends", function()
    local function parsed(bytes, wire)
      local memory = rewrite.own(bytes)
      local p = ffi.new("struct ipq_packet", { data = memory, data_len = #bytes, len = wire or #bytes })
      C.ipq_header_parse(p)
      return { p["end"], p.malformed }
    end
    assert.same({ 40, 0 }, parsed(ip6(59, "", { length = 0 }) .. "padded"))
    assert.same({ 40, ffi.C.IPQ_MALFORMED_TRANSPORT }, parsed(ip6(17, "", { length = 0 }) .. padding))
    -- Large packets that the kernel has yet to cut, with a jumbogram's option or without.
    local wire = 40 + 8 + 70000
    for _, bytes in ipairs {
      jumbo("\0\xc2\4" .. be32(8 + 70000), packets.tcp(("x"):rep(50))),
      ip6(6, packets.tcp(("x"):rep(50)), { length = 0 }), ip6(17, packets.udp(("x"):rep(50)), { length = 0 }),
    } do
      assert.same({ #bytes, 0 }, parsed(bytes, wire))
    end
  end)

  it("has a packet with hop-by-hop options told malformed that is as long as nobody can tell", function()
    local tells = "the IP header tells another length than the packet can have"
    local function reason(bytes, more)
      return (inside(bytes, function(pkt) return { pkt.dport or "none", pkt.malformed } end, nil, more))
    end
    local rest = packets.tcp(("x"):rep(9))
    assert.same({ 80, tells }, reason(jumbo("\0\1\4\0\0\0\0", rest)))
    assert.same({ 80, tells }, reason(jumbo("\0\xc2\4" .. be32(60), rest)))
    assert.same({ 80, tells }, reason(jumbo("\0\xc2\4" .. be32(70000), rest)))
    local copy = reason(jumbo("\0\xc2\4" .. be32(8 + 70000), ""):sub(1, 44), m.attr(m.CAP_LEN, be32(70048)))
    assert.matches("^the copy of the packet ends in its headers", copy[2])
  end)
end)
