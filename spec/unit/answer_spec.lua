-- What the receiver of a packet says to its sender.
local bit = require "bit"
local ffi = require "ffi"
local craft = require "spec.support.craft"
local made = require "spec.support.made"
local packets = require "spec.support.packet"
local rewrite = require "spec.support.rewrite"
local tshark = require "spec.support.tshark"

local E = ffi.C
local put, u16, char = craft.put, craft.u16, string.char
local arrive, answer, hex = made.arrive, made.answer, made.hex
local MALFORMED, RULE, ROOM, LENGTH = E.IPQ_UNSENT_MALFORMED, E.IPQ_UNSENT_RULE, E.IPQ_UNSENT_ROOM, E.IPQ_UNSENT_LENGTH
local FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16

local ALL = {} -- of what was made, for tshark

local KINDS = { [6] = "tcp", [17] = "udp", [1] = "icmp", [58] = "icmpv6", [132] = "sctp", [136] = "udplite",
  [33] = "dccp" }

local function plain(version, protocol, rest, f)
  f = f or {}
  local l4 = version == 4 and 20 + #(f.options or "") or 40
  local p = { version = version, kind = craft.kinds[KINDS[protocol] or "unknown"], l4 = l4,
    destination = version == 4 and 16 or 24 }
  p.bytes = craft.complete(p, version == 4 and packets.ip(protocol, rest, f) or packets.ip6(protocol, rest, f))
  return p
end

local function tcp(version, flags, payload, f)
  local header = { flags = flags, sequence = 0x01020304, ackseq = 0x0a0b0c0d, window = 777, options = f and f.tcp }
  return plain(version, 6, packets.tcp(payload or "", header), f)
end

local function udp(version, payload, f)
  return plain(version, 17, packets.udp(payload or "hello", { checksum = 1 }), f)
end

local function echo(version, payload, kind)
  return plain(version, version == 4 and 1 or 58, char(kind or (version == 4 and 8 or 128)) .. "\0\0\0\1\2\3\4"
    .. (payload or "ping"))
end

local function source(bytes) return bytes:byte(1) >= 0x60 and bytes:sub(9, 24) or bytes:sub(13, 16) end
local function destination(bytes) return bytes:byte(1) >= 0x60 and bytes:sub(25, 40) or bytes:sub(17, 20) end
local function u32(bytes, at) return u16(bytes, at) * 65536 + u16(bytes, at + 2) end

local function answered(bytes, o)
  local result = answer(arrive(bytes, o), o)
  assert.equal("string", type(result), "reason " .. tostring(result))
  ALL[#ALL + 1] = made.check(result)
  return result
end

local function refused(expected, bytes, o) assert.equal(expected, answer(arrive(bytes, o), o)) end

describe("ipq_packet_answer", function()
  it("exchanges addresses and ports, and begins with a TTL of 64", function()
    for _, version in ipairs { 4, 6 } do
      local l4 = version == 4 and 20 or 40
      for _, p in ipairs { udp(version), tcp(version, ACK), plain(version, 132, packets.udp "" .. "tagg"),
        plain(version, 136, packets.udp "lite"), plain(version, 33, "\4\0\0\80\3\0\0\0\0\0\0\0") } do
        local a = answered(p.bytes, { payload = "an answer" })
        assert.equal(p.kind.protocol, select(2, made.layout(a)))
        assert.same({ hex(destination(p.bytes)), hex(source(p.bytes)) }, { hex(source(a)), hex(destination(a)) })
        assert.same({ u16(p.bytes, l4 + 2), u16(p.bytes, l4) }, { u16(a, l4), u16(a, l4 + 2) })
        assert.equal(64, a:byte(version == 4 and 9 or 8))
        assert.equal("an answer", a:sub(-9))
        if version == 4 then
          assert.same({ 0, 0, p.kind.protocol == 6 and 0x4000 or 0 }, { a:byte(2), u16(a, 4), u16(a, 6) })
        else
          assert.equal(hex "\x60\0\0\0", hex(a:sub(1, 4)))
        end
      end
    end
  end)

  it("goes on in a TCP connection where the packet left it", function()
    for _, version in ipairs { 4, 6 } do
      local l4 = version == 4 and 20 or 40
      for _, case in ipairs {
        { SYN, "", 0, 0x01020305, SYN + ACK }, { SYN, "early", 0, 0x0102030a, SYN + ACK },
        { SYN + ACK, "", 0x0a0b0c0d, 0x01020305, ACK }, { PSH + ACK, "data", 0x0a0b0c0d, 0x01020308, ACK },
        { FIN + ACK, "end", 0x0a0b0c0d, 0x01020308, ACK }, { 0, "data", 0, 0x01020308, ACK },
      } do
        for _, payload in ipairs { false, "", "HTTP/1.1 200 OK" } do
          local a = answered(tcp(version, case[1], case[2]).bytes, { payload = payload or nil })
          assert.same({ case[3], case[4], 0x50, case[5], 777, 0 },
            { u32(a, l4 + 4), u32(a, l4 + 8), a:byte(l4 + 13), a:byte(l4 + 14), u16(a, l4 + 14), u16(a, l4 + 18) })
          assert.equal(payload or "", a:sub(l4 + 21))
        end
      end
      local p = tcp(version, PSH + ACK, ("x"):rep(100))
      local a = answered(p.bytes:sub(1, 70), { wire = #p.bytes })
      assert.equal(0x01020304 + 100, u32(a, l4 + 8))
    end
  end)

  it("leaves options and extension headers out", function()
    local a = answered(tcp(4, ACK, "data", { options = "\148\4\0\0", tcp = "\2\4\5\180" }).bytes)
    assert.same({ 40, 0x01020308 }, { #a, u32(a, 28) })
    a = answered(packets.ip6(60, packets.extension(17, packets.udp "hello")), { payload = "oh" })
    assert.same({ 50, 17 }, { #a, a:byte(7) })
    a = answered("\0\5\8\0" .. udp(4).bytes, { family = 7, protocol = 0x8100, payload = "oh" })
    assert.same({ 30, 0x45 }, { #a, a:byte(1) })
  end)

  it("replies to an echo request with its id and sequence, and its payload or another one", function()
    for _, version in ipairs { 4, 6 } do
      local l4 = version == 4 and 20 or 40
      for _, payload in ipairs { "", "ping", ("x"):rep(1401) } do
        local a = answered(echo(version, payload).bytes .. "padding")
        assert.same({ version == 4 and 0 or 129, 0 }, { a:byte(l4 + 1, l4 + 2) })
        assert.equal(hex("\1\2\3\4" .. payload), hex(a:sub(l4 + 5)))
        a = answered(echo(version, payload).bytes, { payload = "pong" })
        assert.equal(hex "\1\2\3\4pong", hex(a:sub(l4 + 5)))
        a = answered(echo(version, payload).bytes, { payload = "" })
        assert.equal(hex "\1\2\3\4", hex(a:sub(l4 + 5)))
      end
      local p = echo(version)
      refused(MALFORMED, p.bytes:sub(1, -2), { wire = #p.bytes })
      answered(p.bytes:sub(1, -2), { wire = #p.bytes, payload = "pong" })
    end
    refused(MALFORMED, put(echo(4).bytes, 6, "\x20\0"))
    answered(put(echo(4).bytes, 6, "\x20\0"), { payload = "pong" })
  end)

  it("is empty without a payload, but for an echo", function()
    for _, version in ipairs { 4, 6 } do
      local l4 = version == 4 and 20 or 40
      assert.equal(l4 + 8, #answered(udp(version).bytes))
      assert.equal(l4 + 20, #answered(tcp(version, ACK, "data").bytes))
      assert.equal(l4 + 8, #answered(plain(version, 136, packets.udp "lite").bytes))
      local gre = "\x20\0\8\0\0\0\0\7"
      assert.equal(hex(gre), hex(answered(plain(version, 47, gre .. "inside").bytes):sub(l4 + 1)))
    end
  end)

  it("has a checksum of its own, and covers all", function()
    local p = udp(4)
    answered(put(p.bytes, p.l4 + 6, "\0\0"), { payload = "oh" })
    p = plain(4, 136, "\4\0\0\80\0\8\0\0lite")
    local a = answered(p.bytes, { payload = "oh" })
    assert.equal(0, u16(a, 24))
    p = plain(4, 33, "\4\0\0\80\3\1\0\0\0\0\0\0")
    a = answered(p.bytes, { payload = "oh" })
    assert.equal(0, bit.band(a:byte(26), 15))
    p = plain(4, 47, "\x80\0\8\0\0\0\0\0")
    a = answered(p.bytes, { payload = "oh!" })
    assert.equal(0xffff, rewrite.sum(a:sub(21)))
  end)

  it("has UDP's checksum of 0 as 0xffff", function()
    for _, version in ipairs { 4, 6 } do
      local p = udp(version)
      local a = answered(p.bytes, { payload = "\0\0" })
      a = answered(p.bytes, { payload = a:sub(p.l4 + 7, p.l4 + 8) })
      assert.equal(0xffff, u16(a, p.l4 + 6))
    end
  end)

  it("goes to who the sender knows that he is", function()
    for _, version in ipairs { 4, 6 } do
      local l4 = version == 4 and 20 or 40
      local n = version == 4 and 4 or 16
      local here, there = ("\32"):rep(n), ("\33"):rep(n)
      for protocol, bytes in pairs { [17] = udp(version).bytes, [6] = tcp(version, ACK).bytes,
        [version == 4 and 1 or 58] = echo(version).bytes } do
        local a = answered(bytes, { known = made.tuple(version, protocol, here, there, 4321, 8080) })
        assert.same({ hex(there), hex(here) }, { hex(source(a)), hex(destination(a)) })
        if protocol == 6 or protocol == 17 then assert.same({ 8080, 4321 }, { u16(a, l4), u16(a, l4 + 2) }) end
        assert.equal(hex(answered(bytes)),
          hex(answered(bytes, { known = made.tuple(version, 132, here, there, 4321, 8080) })))
      end
    end
  end)

  it("is not given to ICMP but echo requests, nor to resets", function()
    for version, request in pairs { [4] = 8, [6] = 128 } do
      for kind = 0, 255 do
        local expected = kind == request and "string" or "number"
        local result = answer(arrive(echo(version, nil, kind).bytes), { payload = "" })
        assert.equal(expected, type(result))
        if expected == "number" then assert.equal(RULE, result) end
      end
      refused(RULE, tcp(version, RST).bytes)
      refused(RULE, tcp(version, RST + ACK).bytes, { payload = "oh" })
    end
  end)

  it("is not given to what was sent to many, or by nobody", function()
    for field, address in pairs { daddr = "224.0.0.251", saddr = "0.0.0.0" } do
      refused(RULE, udp(4, nil, { [field] = address }).bytes)
      refused(RULE, tcp(4, ACK, nil, { [field] = address }).bytes)
    end
    refused(RULE, udp(4, nil, { daddr = "255.255.255.255" }).bytes)
    refused(RULE, udp(6, nil, { daddr = "\xff\2" .. ("\0"):rep(13) .. "\xfb" }).bytes)
  end)

  it("needs a header that can be turned round", function()
    for _, protocol in ipairs { 50, 51, 253, 1, 58 } do
      local version = protocol == 58 and 4 or 6
      refused(MALFORMED, plain(version, protocol, "\0\4" .. ("x"):rep(40)).bytes)
    end
    refused(MALFORMED, packets.ip6(135, "\59\1" .. ("\0"):rep(14)))
    refused(MALFORMED, "")
    refused(MALFORMED, put(udp(4).bytes, 24, "\0\3"))
    refused(MALFORMED, put(udp(4).bytes, 6, "\0\5"))
    refused(MALFORMED, udp(4).bytes:sub(1, 27), { wire = 33 })
    answered(udp(4).bytes:sub(1, 28), { wire = 33 })
    answered(put(udp(4).bytes, 6, "\x20\0"))
    refused(MALFORMED, put(tcp(4, ACK, "part").bytes, 6, "\x20\0")) -- whose length is not known
    local arp = "\0\1\8\0\6\4\0\1" .. ("\2\0\0\0\0\1\10\0\0\1"):rep(2)
    refused(MALFORMED, arp, { family = 3, protocol = 0x0806 })
  end)

  it("has at most as many bytes as a packet can have, and needs room for them", function()
    for _, p in ipairs { udp(4), udp(6), tcp(4, ACK), tcp(6, ACK), echo(4), echo(6) } do
      local header = p.l4 + (p.kind.protocol == 6 and 20 or 8)
      assert.equal(65535, #answered(p.bytes, { payload = ("x"):rep(65535 - header) }))
      refused(LENGTH, p.bytes, { payload = ("x"):rep(65536 - header) })
      refused(ROOM, p.bytes, { payload = "four", size = header + 3 })
      answered(p.bytes, { payload = "four", size = header + 4 })
    end
  end)
end)

describe("Answers in the eyes of tshark", function()
  it("have right checksums", function()
    if not tshark.available() then return pending "there is no tshark" end
    assert.is_true(#ALL > 100)
    local own = { [6] = "tcp", [17] = "udp", [1] = "icmp", [58] = "icmpv6", [132] = "sctp", [136] = "udp",
      [33] = "dccp" }
    local names, list = { "ip.checksum.status" }, {}
    for _, name in ipairs { "tcp", "udp", "icmp", "icmpv6", "sctp", "dccp" } do
      names[#names + 1] = name .. ".checksum.status"
    end
    for _, bytes in ipairs(ALL) do
      if u16(bytes, 6) % 0x4000 == 0 or bytes:byte(1) >= 0x60 then list[#list + 1] = bytes end
    end
    local rows = tshark.fields(list, names)
    assert.equal(#list, #rows)
    local seen = {}
    for i, row in ipairs(rows) do
      local version, protocol = made.layout(list[i])
      for _, name in ipairs { version == 4 and "ip" or own[protocol], own[protocol] } do
        seen[name] = (seen[name] or 0) + 1
        assert.equal("1", row[name .. ".checksum.status"], name .. " of " .. hex(list[i]))
      end
    end
    for name in pairs { ip = 1, tcp = 1, udp = 1, icmp = 1, icmpv6 = 1, sctp = 1, dccp = 1 } do
      assert.is_true((seen[name] or 0) > 0, name)
    end
  end)
end)

describe("An answer", function()
  it("does not change the packet that it is to", function()
    local bytes = udp(4).bytes
    local packet = arrive(bytes)
    local before = ffi.string(packet, ffi.sizeof "struct ipq_packet")
    answer(packet, { payload = "oh" })
    assert.equal(hex(bytes), hex(ffi.string(packet.data, packet.data_len)))
    assert.equal(hex(before), hex(ffi.string(packet, ffi.sizeof "struct ipq_packet")))
  end)
end)
