-- What tells a packet's sender that it was not let through: resets and ICMP errors.
local bit = require "bit"
local ffi = require "ffi"
local craft = require "spec.support.craft"
local m = require "spec.support.message"
local made = require "spec.support.made"
local packets = require "spec.support.packet"
local rewrite = require "spec.support.rewrite"
local tshark = require "spec.support.tshark"
local tunnel = require "spec.support.tunnel"

local C, E = rewrite.C, ffi.C
local put, be16, u16, char = craft.put, m.be16, craft.u16, string.char
local arrive, reject, reset, hex = made.arrive, made.reject, made.reset, made.hex
local MALFORMED, RULE, ROOM = E.IPQ_UNSENT_MALFORMED, E.IPQ_UNSENT_RULE, E.IPQ_UNSENT_ROOM
local NOT_READY, NOT_VERIFIED = 1, 4
local FIN, SYN, RST, ACK = 1, 2, 4, 16

local ALL = {} -- of what was made, for tshark

local function new(name, version, body, more) return tunnel.packet(name, version, body, more) end
local function u32(bytes, at) return u16(bytes, at) * 65536 + u16(bytes, at + 2) end

-- A complete packet between plain addresses. TCP's fields are those of packets.tcp().
local function plain(version, protocol, rest, f)
  f = f or {}
  local kind = { [6] = "tcp", [17] = "udp", [1] = "icmp", [58] = "icmpv6", [132] = "sctp", [136] = "udplite",
    [33] = "dccp" }
  local p = { version = version, kind = craft.kinds[kind[protocol] or "unknown"], l4 = version == 4 and 20 or 40,
    destination = version == 4 and 16 or 24 }
  if version == 4 then
    f.saddr, f.daddr = f.saddr or "192.0.2.1", f.daddr or "198.51.100.2"
    p.l4 = 20 + #(f.options or "")
  end
  p.bytes = craft.complete(p, version == 4 and packets.ip(protocol, rest, f) or packets.ip6(protocol, rest, f))
  return p
end

local function tcp(version, flags, payload, f)
  local header = { flags = flags, sequence = 0x01020304, ackseq = 0x0a0b0c0d }
  return plain(version, 6, packets.tcp(payload or "", header), f)
end
local function udp(version, payload, f)
  return plain(version, 17, packets.udp(payload or "hello", { checksum = 1 }), f)
end

local function source(bytes) return bytes:byte(1) >= 0x60 and bytes:sub(9, 24) or bytes:sub(13, 16) end
local function destination(bytes) return bytes:byte(1) >= 0x60 and bytes:sub(25, 40) or bytes:sub(17, 20) end

local function rejected(bytes, kind, o)
  local result = reject(arrive(bytes, o), kind, o)
  assert.equal("string", type(result), "reason " .. tostring(result))
  ALL[#ALL + 1] = made.check(result)
  return result
end

local function refused(expected, bytes, kind, o) assert.equal(expected, reject(arrive(bytes, o), kind, o)) end

-- sequence, acknowledgement, flags, window
local function segment(bytes, l4)
  return { u32(bytes, l4 + 4), u32(bytes, l4 + 8), bytes:byte(l4 + 14), u16(bytes, l4 + 14) }
end

-- the codes over IPv4 and IPv6
local KINDS = { PORT_UNREACHABLE = { 3, 4 }, HOST_UNREACHABLE = { 1, 3 }, NET_UNREACHABLE = { 0, 0 },
  NO_ROUTE = { 0, 0 }, ADMIN_PROHIBITED = { 13, 1 } }

describe("ipq_packet_reject", function()
  it("resets a connection where its sender has got to", function()
    for _, version in ipairs { 4, 6 } do
      local l4 = version == 4 and 20 or 40
      for _, case in ipairs {
        { SYN, "", 0, 0x01020305, RST + ACK }, { SYN, "early", 0, 0x0102030a, RST + ACK },
        { FIN, "end", 0, 0x01020308, RST + ACK }, { 0, "data", 0, 0x01020308, RST + ACK },
        { SYN + ACK, "", 0x0a0b0c0d, 0, RST }, { ACK, "data", 0x0a0b0c0d, 0, RST },
        { FIN + ACK, "", 0x0a0b0c0d, 0, RST },
      } do
        local p = tcp(version, case[1], case[2])
        for _, kind in ipairs { "DEFAULT", "TCP_RESET" } do
          local r = rejected(p.bytes, kind)
          assert.equal(l4 + 20, #r)
          assert.same({ case[3], case[4], case[5], 0 }, segment(r, l4))
          assert.same({ 80, 1024 }, { u16(r, l4), u16(r, l4 + 2) })
          assert.same({ hex(destination(p.bytes)), hex(source(p.bytes)) }, { hex(source(r)), hex(destination(r)) })
          assert.equal(64, r:byte(version == 4 and 9 or 8))
          if version == 4 then assert.same({ 0, 0x4000 }, { u16(r, 4), u16(r, 6) }) end
        end
      end
    end
  end)

  it("counts the bytes that a copy has not", function()
    local p = tcp(4, SYN, ("x"):rep(100))
    local r = rejected(p.bytes:sub(1, 60), "TCP_RESET", { wire = #p.bytes })
    assert.equal(0x01020305 + 100, u32(r, 28))
    r = rejected(p.bytes .. "padding", "TCP_RESET")
    assert.equal(0x01020305 + 100, u32(r, 28))
    p = tcp(6, SYN, ("x"):rep(100))
    r = rejected(p.bytes:sub(1, 80), "TCP_RESET", { wire = #p.bytes })
    assert.equal(0x01020305 + 100, u32(r, 48))
    r = rejected(put(p.bytes, 4, "\0\0"):sub(1, 80), "TCP_RESET", { wire = #p.bytes })
    assert.equal(0x01020305 + 100, u32(r, 48))
  end)

  it("sends an error of each kind, with the packet quoted", function()
    for _, version in ipairs { 4, 6 } do
      local header = version == 4 and 20 or 40
      local list = { udp(version).bytes, tcp(version, SYN).bytes, plain(version, 132, ("x"):rep(12)).bytes,
        plain(version, 253, "what is this").bytes, plain(version, 50, "encrypted").bytes,
        plain(version, version == 4 and 1 or 58, (version == 4 and "\8\0" or "\128\0") .. "\0\0\1\2\3\4ping").bytes }
      for _, bytes in ipairs(list) do
        for kind, codes in pairs(KINDS) do
          local r = rejected(bytes, kind)
          assert.equal(version == 4 and 1 or 58, select(2, made.layout(r)))
          assert.same({ version == 4 and 3 or 1, codes[version == 4 and 1 or 2] }, { r:byte(header + 1, header + 2) })
          assert.equal(hex "\0\0\0\0", hex(r:sub(header + 5, header + 8)))
          assert.equal(hex(bytes), hex(r:sub(header + 9)))
          assert.equal(64, r:byte(version == 4 and 9 or 8))
          assert.equal(hex(source(bytes)), hex(destination(r)))
          assert.equal(hex(("\0"):rep(version == 4 and 4 or 16)), hex(source(r)))
          if version == 4 then
            assert.same({ 0xc0, 0, 0 }, { r:byte(2), u16(r, 4), u16(r, 6) })
          else
            assert.equal(hex "\x60\0\0\0", hex(r:sub(1, 4)))
          end
          assert.equal(hex(destination(bytes)), hex(source(rejected(bytes, kind, { is_receiver = true }))))
        end
      end
      local r = rejected(list[1], "DEFAULT")
      assert.equal(hex(rejected(list[1], "PORT_UNREACHABLE")), hex(r))
    end
  end)

  it("quotes as much as an RFC allows, and no more than is there", function()
    for version, most in pairs { [4] = 576, [6] = 1280 } do
      local header = version == 4 and 28 or 48
      for _, n in ipairs { most - header - 1, most - header, most - header + 1, 1400 } do
        local p = udp(version, ("x"):rep(n - header))
        assert.equal(n, #p.bytes)
        local r = rejected(p.bytes .. "padding", "DEFAULT")
        assert.equal(math.min(most, header + n), #r)
        assert.equal(hex(p.bytes:sub(1, most - header)), hex(r:sub(header + 1)))
      end
      local p = udp(version, ("x"):rep(1000))
      local r = rejected(p.bytes:sub(1, 60), "DEFAULT", { wire = #p.bytes })
      assert.equal(hex(p.bytes:sub(1, 60)), hex(r:sub(header + 1)))
      r = rejected(p.bytes:sub(1, header - 4), "ADMIN_PROHIBITED", { wire = #p.bytes }) -- half of UDP's header
      assert.equal(hex(p.bytes:sub(1, header - 4)), hex(r:sub(header + 1)))
    end
  end)

  it("quotes from the IP header on, behind options, extension headers and VLAN tags", function()
    for _, case in ipairs { { 4, { ip_options = "\148\4\0\0" } }, { 6, { extension = "hop" } } } do
      local version, more = unpack(case)
      local p = new("udp", version, nil, more)
      local bytes = put(p.bytes, version == 4 and 12 or 8, "\10\0\0\1")
      bytes = put(bytes, version == 4 and 16 or 24, "\10\0\0\2")
      local header = version == 4 and 28 or 48
      assert.equal(hex(bytes), hex(rejected(bytes, "DEFAULT"):sub(header + 1)))
      local tagged = "\0\5" .. (version == 4 and "\8\0" or "\x86\xdd") .. bytes
      assert.equal(hex(bytes), hex(rejected(tagged, "DEFAULT", { family = 7, protocol = 0x8100 }):sub(header + 1)))
    end
  end)

  it("says nothing to a reset, but an error where that is asked for", function()
    for _, version in ipairs { 4, 6 } do
      for _, flags in ipairs { RST, RST + ACK } do
        local bytes = tcp(version, flags).bytes
        refused(RULE, bytes, "DEFAULT")
        refused(RULE, bytes, "TCP_RESET")
        rejected(bytes, "ADMIN_PROHIBITED")
      end
    end
  end)

  it("resets nothing but TCP whose header is there", function()
    for _, version in ipairs { 4, 6 } do
      refused(RULE, udp(version).bytes, "TCP_RESET")
      local p = tcp(version, SYN)
      refused(RULE, p.bytes:sub(1, p.l4 + 16), "TCP_RESET", { wire = #p.bytes })
      refused(RULE, p.bytes:sub(1, p.l4 + 16), "DEFAULT", { wire = #p.bytes })
    end
    refused(RULE, udp(4).bytes, "NOT")
  end)

  it("answers no ICMP error or redirect, nor what is not known", function()
    local may = { [4] = {}, [6] = {} }
    for _, kind in ipairs { 0, 8, 13, 14, 15, 16, 17, 18 } do may[4][kind] = true end
    for kind = 128, 255 do may[6][kind] = kind ~= 137 end
    for version, protocol in pairs { [4] = 1, [6] = 58 } do
      for kind = 0, 255 do
        local bytes = plain(version, protocol, char(kind, 0) .. "\0\0\0\0\0\0quoted").bytes
        if may[version][kind] then rejected(bytes, "DEFAULT") else refused(RULE, bytes, "DEFAULT") end
      end
      local bytes = plain(version, protocol, "\8\0\0\0\0\0\0\0").bytes
      refused(MALFORMED, bytes:sub(1, -8), "DEFAULT", { wire = #bytes })
    end
    rejected(plain(4, 58, "\1\0\0\0\0\0\0\0").bytes, "DEFAULT") -- is no ICMP there
    rejected(plain(6, 1, "\3\0\0\0\0\0\0\0").bytes, "DEFAULT")
  end)

  it("answers no fragment but the first", function()
    local p = udp(4)
    refused(RULE, put(p.bytes, 6, "\0\5"), "DEFAULT")
    refused(RULE, put(p.bytes, 6, "\x20\5"), "DEFAULT")
    reject(arrive(put(p.bytes, 6, "\x20\0")), "DEFAULT")
    rejected(craft.complete({ version = 4, kind = craft.kinds.unknown, l4 = 20 }, put(p.bytes, 6, "\x20\0")), "DEFAULT")
    for offset, expected in pairs { [0] = "string", [3] = "number" } do
      local bytes = packets.ip6(44, packets.fragment(17, packets.udp "hello", offset, true))
      assert.equal(expected, type(reject(arrive(bytes), "DEFAULT")))
      assert.equal(expected, type(reject(arrive(bytes), "HOST_UNREACHABLE")))
    end
  end)

  it("answers nothing that was sent to many, or by many, or by nobody", function()
    local v6 = function(first) return char(first) .. ("\0"):rep(14) .. (first == 0 and "\0" or "\1") end
    for _, case in ipairs {
      { 4, "saddr", "0.0.0.0" }, { 4, "saddr", "224.0.0.1" }, { 4, "saddr", "255.255.255.255" },
      { 4, "daddr", "239.1.2.3" }, { 4, "daddr", "224.0.0.251" }, { 4, "daddr", "255.255.255.255" },
      { 6, "saddr", v6(0) }, { 6, "saddr", v6(0xff) }, { 6, "daddr", v6(0xff) },
    } do
      local version, field, address = unpack(case)
      for _, p in ipairs { udp(version, nil, { [field] = address }), tcp(version, SYN, nil, { [field] = address }) } do
        refused(RULE, p.bytes, "DEFAULT")
        refused(RULE, p.bytes, "ADMIN_PROHIBITED")
        if p.kind == craft.kinds.tcp then assert.equal(RULE, reset(arrive(p.bytes))) end
      end
    end
    for _, address in ipairs { "223.255.255.255", "240.0.0.1", "0.0.0.1", "255.255.255.254" } do
      rejected(udp(4, nil, { saddr = address }).bytes, "DEFAULT")
      rejected(udp(4, nil, { daddr = address }).bytes, "DEFAULT")
    end
    local known = made.tuple(4, 17, "\10\0\0\1", "\224\0\0\1", 1, 2)
    refused(RULE, udp(4).bytes, "DEFAULT", { known = known })
    known = made.tuple(4, 17, "\10\0\0\1", "\10\0\0\2", 1, 2)
    refused(RULE, udp(4, nil, { daddr = "224.0.0.1" }).bytes, "DEFAULT", { known = known })
  end)

  it("answers nothing that came in a frame to many", function()
    local bytes = udp(4).bytes
    local function with(link, header)
      local packet, memory = arrive(bytes), rewrite.own(header)
      packet.present = bit.bor(packet.present, E.IPQ_HAS_L2HDR)
      packet.link, packet.l2hdr, packet.l2hdr_len = link, memory, #header
      return (type(reject(packet, "DEFAULT")))
    end
    local function sll(kind) return be16(kind) .. ("\0"):rep(12) .. "\8\0" end
    local function sll2(kind) return "\8\0" .. ("\0"):rep(8) .. char(kind) .. ("\0"):rep(9) end
    local ethernet = "\0\0\0\0\1\2\0\0\0\0\8\0"
    assert.equal("number", with(E.IPQ_LINK_ETHER, "\xff\xff" .. ethernet))
    assert.equal("number", with(E.IPQ_LINK_ETHER, "\1\0" .. ethernet))
    assert.equal("string", with(E.IPQ_LINK_ETHER, "\2\1" .. ethernet))
    assert.equal("string", with(E.IPQ_LINK_ETHER, "\1"))
    assert.equal("string", with(E.IPQ_LINK_OTHER, "\1\0" .. ethernet))
    for kind, expected in pairs { [0] = "string", [1] = "number", [2] = "number", [3] = "string", [4] = "string" } do
      assert.equal(expected, with(E.IPQ_LINK_SLL, sll(kind)))
      assert.equal(expected, with(E.IPQ_LINK_SLL2, sll2(kind)))
    end
    assert.equal("string", with(E.IPQ_LINK_SLL, "\0\1"))
    assert.equal("string", with(E.IPQ_LINK_SLL2, sll2(1):sub(1, 11)))
  end)

  it("answers nothing that came with a wrong checksum, where nobody has verified it", function()
    for _, version in ipairs { 4, 6 } do
      for _, p in ipairs { udp(version), tcp(version, SYN) } do
        local damaged = put(p.bytes, p.l4 + 1, "\9")
        refused(RULE, damaged, "DEFAULT", { skb_info = NOT_VERIFIED })
        assert.equal("string", type(reject(arrive(damaged), "DEFAULT")))
        rejected(p.bytes, "DEFAULT", { skb_info = NOT_VERIFIED })
        assert.equal("string", type(reject(arrive(damaged, { skb_info = NOT_READY + NOT_VERIFIED }), "DEFAULT")))
        if p.kind == craft.kinds.tcp then
          assert.equal(RULE, reset(arrive(damaged, { skb_info = NOT_VERIFIED })))
        end
      end
    end
    local p = udp(4)
    refused(RULE, put(p.bytes, 10, "\9"), "DEFAULT", { skb_info = NOT_VERIFIED })
    -- A filter's changes are not to blame.
    local packet = arrive(p.bytes, { skb_info = NOT_VERIFIED })
    assert.equal(0, C.ipq_rewrite_store(packet, p.l4 + 8, "J", 1))
    assert.equal("string", type(reject(packet, "DEFAULT")))
    packet = arrive(put(p.bytes, p.l4 + 9, "J"), { skb_info = NOT_VERIFIED })
    assert.equal(0, C.ipq_rewrite_replace(packet, p.l4 + 8, 0, "Oh, ", 4))
    assert.equal(RULE, reject(packet, "DEFAULT"))
  end)

  it("answers nothing that is malformed, or no IP, or that does not tell what it is", function()
    local p = udp(4)
    for at, bytes in pairs { [0] = "\x42", [2] = "\xff\xff", [p.l4 + 4] = "\0\3" } do
      refused(MALFORMED, put(p.bytes, at, bytes), "DEFAULT")
    end
    refused(MALFORMED, p.bytes:sub(1, 19), "DEFAULT", { wire = #p.bytes })
    refused(MALFORMED, packets.ip6(60, "\6"), "DEFAULT")
    local behind = packets.ip6(60, packets.extension(6, packets.tcp ""))
    refused(MALFORMED, behind:sub(1, 44), "ADMIN_PROHIBITED", { wire = #behind })
    local arp = "\0\1\8\0\6\4\0\1" .. ("\2\0\0\0\0\1\10\0\0\1"):rep(2)
    refused(MALFORMED, arp, "DEFAULT", { family = 3, protocol = 0x0806 })
    refused(MALFORMED, "", "DEFAULT")
    assert.equal(MALFORMED, reset(arrive ""))
  end)

  it("needs room for all of it", function()
    for _, version in ipairs { 4, 6 } do
      local header = version == 4 and 20 or 40
      refused(ROOM, tcp(version, SYN).bytes, "DEFAULT", { size = header + 19 })
      rejected(tcp(version, SYN).bytes, "DEFAULT", { size = header + 20 })
      local bytes = udp(version).bytes
      refused(ROOM, bytes, "DEFAULT", { size = header + 8 + #bytes - 1 })
      rejected(bytes, "DEFAULT", { size = header + 8 + #bytes })
      assert.equal(ROOM, reset(arrive(tcp(version, SYN).bytes), header + 19))
    end
  end)
end)

describe("A sender who knows other addresses", function()
  local ADDRESSES = { [4] = { "\10\9\8\7", "\10\6\5\4" },
    [6] = { packets.saddr6:sub(1, 15) .. "\x77", packets.saddr6:sub(1, 15) .. "\x88" } }

  local function known(version, protocol)
    local a = ADDRESSES[version]
    return made.tuple(version, protocol, a[1], a[2], 4321, 8080)
  end

  -- p as its sender knows it
  local function as_known(p)
    local a = ADDRESSES[p.version]
    local bytes = put(p.bytes, p.version == 4 and 12 or 8, a[1] .. a[2])
    if p.kind.protocol ~= 1 and p.kind.protocol ~= 58 then bytes = put(bytes, p.l4, be16(4321) .. be16(8080)) end
    return craft.complete(p, bytes)
  end

  it("gets a reset by them", function()
    for _, version in ipairs { 4, 6 } do
      local l4 = version == 4 and 20 or 40
      local r = rejected(tcp(version, SYN).bytes, "DEFAULT", { known = known(version, 6) })
      assert.same({ hex(ADDRESSES[version][2]), hex(ADDRESSES[version][1]), 8080, 4321 },
        { hex(source(r)), hex(destination(r)), u16(r, l4), u16(r, l4 + 2) })
    end
  end)

  it("gets errors that quote them, with checksums that are right", function()
    for _, version in ipairs { 4, 6 } do
      local header = version == 4 and 28 or 48
      for _, p in ipairs {
        udp(version), tcp(version, SYN), plain(version, 132, ("x"):rep(16)),
        plain(version, 136, "\1\2\3\4\0\0\0\0lite"), plain(version, 33, "\1\2\3\4\3\0\0\0\0\0\0\0"),
        plain(version, version == 4 and 1 or 58, (version == 4 and "\8" or "\128") .. "\0\0\0\1\2\3\4ping"),
      } do
        for _, is_receiver in ipairs { true, false } do
          local r = rejected(p.bytes, "PORT_UNREACHABLE",
            { known = known(version, p.kind.protocol), is_receiver = is_receiver })
          assert.equal(hex(ADDRESSES[version][1]), hex(destination(r)))
          if is_receiver then assert.equal(hex(ADDRESSES[version][2]), hex(source(r))) end
          assert.equal(hex(as_known(p)), hex(r:sub(header + 1)), "protocol " .. p.kind.protocol)
        end
        if p.kind.protocol == 6 or p.kind.protocol == 17 then
          local r = rejected(craft.unready(p), "PORT_UNREACHABLE",
            { known = known(version, p.kind.protocol), skb_info = NOT_READY })
          assert.equal(hex(as_known(p)), hex(r:sub(header + 1)), "unfinished, protocol " .. p.kind.protocol)
        end
      end
    end
  end)

  it("gets them of a packet that is not quoted whole, as far as that is there", function()
    for _, version in ipairs { 4, 6 } do
      local header, most = version == 4 and 28 or 48, version == 4 and 576 or 1280
      local p = udp(version, ("x"):rep(1300))
      local r = rejected(p.bytes, "DEFAULT", { known = known(version, 17) })
      assert.equal(hex(as_known(p):sub(1, most - header)), hex(r:sub(header + 1)))
      p = tcp(version, SYN, ("x"):rep(100))
      for _, there in ipairs { 80, p.l4 + 18, p.l4 + 4 } do
        r = rejected(p.bytes:sub(1, there), "ADMIN_PROHIBITED", { known = known(version, 6), wire = #p.bytes })
        assert.equal(hex(as_known(p):sub(1, there)), hex(r:sub(header + 1)))
      end
      -- half of the checksum stays as it is
      r = rejected(p.bytes:sub(1, p.l4 + 17), "ADMIN_PROHIBITED", { known = known(version, 6), wire = #p.bytes })
      assert.equal(hex(as_known(p):sub(1, p.l4 + 16) .. p.bytes:sub(p.l4 + 17, p.l4 + 17)), hex(r:sub(header + 1)))
      -- no ports are there
      r = rejected(p.bytes:sub(1, p.l4 + 3), "ADMIN_PROHIBITED", { known = known(version, 6), wire = #p.bytes })
      assert.equal(hex(as_known(p):sub(1, p.l4) .. p.bytes:sub(p.l4 + 1, p.l4 + 3)), hex(r:sub(header + 1)))
      -- a CRC32c of what is not quoted
      p = plain(version, 132, ("x"):rep(1400))
      r = rejected(p.bytes, "DEFAULT", { known = known(version, 132) })
      assert.equal(hex(put(as_known(p), p.l4 + 8, p.bytes:sub(p.l4 + 9, p.l4 + 12)):sub(1, most - header)),
        hex(r:sub(header + 1)))
    end
    local p = udp(4)
    local without = put(p.bytes, p.l4 + 6, "\0\0")
    local r = rejected(without, "DEFAULT", { known = known(4, 17) })
    assert.equal(hex(put(as_known(p), p.l4 + 6, "\0\0")), hex(r:sub(29)))
  end)

  it("is not asked where what is known is another connection's", function()
    local bytes = udp(4).bytes
    for _, other in ipairs { known(6, 17), known(4, 6), made.tuple(0, 17, "", "") } do
      assert.equal(hex(rejected(bytes, "DEFAULT")), hex(rejected(bytes, "DEFAULT", { known = other })))
    end
  end)
end)

describe("A quoted packet that a filter has changed", function()
  it("has a right checksum of its IPv4 header", function()
    local p = udp(4)
    local packet = arrive(p.bytes)
    assert.equal(0, C.ipq_rewrite_store(packet, 8, "\9", 1))
    local r = reject(packet, "DEFAULT")
    assert.equal(hex(craft.complete(p, put(p.bytes, 8, "\9"))), hex(r:sub(29)))
  end)
end)

describe("ipq_packet_reset", function()
  it("resets the receiver in the sender's name", function()
    for _, version in ipairs { 4, 6 } do
      local l4 = version == 4 and 20 or 40
      for _, case in ipairs {
        { ACK, "data", 0x0a0b0c0d, RST + ACK }, { SYN + ACK, "", 0x0a0b0c0d, RST + ACK }, { SYN, "", 0, RST },
        { FIN + ACK, "", 0x0a0b0c0d, RST + ACK },
      } do
        local p = tcp(version, case[1], case[2])
        local r = reset(arrive(p.bytes))
        ALL[#ALL + 1] = made.check(r)
        assert.same({ 0x01020304, case[3], case[4], 0 }, segment(r, l4))
        assert.same({ 1024, 80 }, { u16(r, l4), u16(r, l4 + 2) })
        assert.same({ hex(source(p.bytes)), hex(destination(p.bytes)) }, { hex(source(r)), hex(destination(r)) })
      end
    end
  end)

  it("resets nothing but TCP, and no reset", function()
    for _, version in ipairs { 4, 6 } do
      assert.equal(RULE, reset(arrive(tcp(version, RST).bytes)))
      assert.equal(RULE, reset(arrive(udp(version).bytes)))
      local p = tcp(version, ACK)
      assert.equal(RULE, reset(arrive(p.bytes:sub(1, -2), { wire = #p.bytes })))
    end
    assert.equal(RULE, reset(arrive(put(tcp(4, ACK).bytes, 6, "\0\5"))))
  end)
end)

describe("Rejects in the eyes of tshark", function()
  it("have right checksums, and quote what they should", function()
    if not tshark.available() then return pending "there is no tshark" end
    assert.is_true(#ALL > 300)
    local names = { "ip.checksum.status", "tcp.checksum.status", "icmp.checksum.status", "icmpv6.checksum.status" }
    local own = { [6] = "tcp", [1] = "icmp", [58] = "icmpv6" }
    local seen = {}
    local rows = tshark.fields(ALL, names)
    assert.equal(#ALL, #rows)
    for i, row in ipairs(rows) do
      local version, protocol = made.layout(ALL[i])
      for _, name in ipairs { own[protocol], version == 4 and "ip" or nil } do
        name = name .. ".checksum.status"
        seen[name] = (seen[name] or 0) + 1
        assert.equal("1", row[name], name .. " of " .. hex(ALL[i]))
      end
    end
    for _, name in ipairs(names) do assert.is_true((seen[name] or 0) > 20, name) end
  end)
end)

