-- A packet in pieces: segments of TCP, fragments of others.
local bit = require "bit"
local ffi = require "ffi"
local t = require "ipq.test"
local craft = require "spec.support.craft"
local made = require "spec.support.made"
local packets = require "spec.support.packet"
local rewrite = require "spec.support.rewrite"
local tshark = require "spec.support.tshark"
local tunnel = require "spec.support.tunnel"

local E = ffi.C
local put, u16 = craft.put, craft.u16
local split, hex = made.split, made.hex
local MALFORMED, ROOM, LENGTH = E.IPQ_UNSENT_MALFORMED, E.IPQ_UNSENT_ROOM, E.IPQ_UNSENT_LENGTH
local FIN, SYN, RST, PSH, ACK, URG, CWR = 1, 2, 4, 8, 16, 32, 128

local random = rewrite.random(71)

local function new(name, version, body, more) return tunnel.packet(name, version, body, more) end
local function u32(bytes, at) return u16(bytes, at) * 65536 + u16(bytes, at + 2) end

-- TCP with those flags, options of IPv4 or an extension header, and options of TCP.
local function tcp(version, flags, payload, f)
  f = f or {}
  local header = { flags = flags, sequence = 0xffffff00, ackseq = 7, options = f.tcp, urgptr = f.urgptr }
  local rest = packets.tcp(payload, header)
  local p = { version = version, kind = craft.kinds.tcp, l4 = 20 + #(f.options or ""), destination = 16 }
  local bytes = version == 4 and packets.ip(6, rest, { options = f.options, fragment = f.fragment or 0x4000 })
  if version == 6 then
    p.l4, p.destination = f.extension and 48 or 40, 24
    bytes = f.extension and packets.ip6(60, packets.extension(6, rest)) or packets.ip6(6, rest)
  end
  p.bytes, p.body = craft.complete(p, bytes), p.l4 + 20 + #(f.tcp or "")
  return p
end

local function sequence(p, piece) return u32(piece, p.l4 + 4) end
local function flags_of(p, piece) return piece:byte(p.l4 + 14) end

-- Whether a segment has its own length and checksums.
local function assert_right(p, piece) assert.equal(hex(craft.complete(p, piece)), hex(piece)) end

local function without_df(p)
  p.bytes = craft.complete(p, put(p.bytes, 6, "\0\0"))
  return p.bytes
end

describe("ipq_packet_split", function()
  it("leaves a packet as it is that is not too large", function()
    for _ = 1, 500 do
      local p = craft.random(random)
      if #p.bytes >= 68 then assert.same({ hex(p.bytes) }, { hex(split(p.bytes, #p.bytes)[1]) }) end
      assert.equal(1, #split(p.bytes, 1500))
    end
  end)

  it("makes segments of TCP, whose payload is the packet's", function()
    local payload = random.bytes(4000)
    for _, version in ipairs { 4, 6 } do
      for _, more in ipairs { {}, { tcp = "\8\10abcdefgh\1\1" }, { options = "\148\4\0\0", extension = true } } do
        for _, mtu in ipairs { 1500, 576, 1280, 140, 4047 } do
          local p = tcp(version, PSH + ACK, payload, more)
          local whole, at = {}, 0
          for i, piece in ipairs(split(p.bytes, mtu)) do
            assert.is_true(#piece <= mtu)
            if at + mtu - p.body < #payload then assert.equal(mtu, #piece) end
            assert_right(p, piece)
            assert.equal((0xffffff00 + at) % 2 ^ 32, sequence(p, piece))
            if version == 4 then assert.same({ i, 0x4000 }, { u16(piece, 4), u16(piece, 6) }) end
            local same = put(piece, p.l4 + 4, p.bytes:sub(p.l4 + 5, p.l4 + 8))
            same = put(put(same, p.l4 + 13, "\0"), p.l4 + 16, "\0\0")
            local expected = put(put(p.bytes, p.l4 + 13, "\0"), p.l4 + 16, "\0\0"):sub(1, p.body)
            for _, offset in ipairs(version == 4 and { 2, 4, 10 } or { 4 }) do
              same, expected = put(same, offset, "\0\0"), put(expected, offset, "\0\0")
            end
            assert.equal(hex(expected), hex(same:sub(1, p.body)))
            whole[i], at = piece:sub(p.body + 1), at + #piece - p.body
          end
          assert.equal(payload, table.concat(whole))
        end
      end
    end
  end)

  it("has what begins and ends in the first and the last segment alone", function()
    for _, version in ipairs { 4, 6 } do
      for _, case in ipairs {
        { FIN + PSH + ACK, ACK, ACK, FIN + PSH + ACK }, { CWR + ACK, CWR + ACK, ACK, ACK },
        { SYN + CWR, SYN + CWR, 0, 0 }, { RST + ACK, ACK, ACK, RST + ACK }, { ACK + 64, ACK + 64, ACK + 64, ACK + 64 },
      } do
        local p = tcp(version, case[1], random.bytes(300))
        local list = split(p.bytes, p.body + 100)
        assert.equal(3, #list)
        for i, piece in ipairs(list) do assert.equal(case[i + 1], flags_of(p, piece)) end
      end
    end
  end)

  it("counts a SYN before the payload", function()
    local p = tcp(4, SYN, random.bytes(300))
    local list = split(p.bytes, 140)
    assert.same({ 0xffffff00, 0xffffff65, 0xffffffc9 },
      { sequence(p, list[1]), sequence(p, list[2]), sequence(p, list[3]) })
  end)

  it("has the urgent pointer lead to the same byte", function()
    local function urgent(pointer)
      local p = tcp(4, URG + ACK, random.bytes(300), { urgptr = pointer })
      local list = {}
      for i, piece in ipairs(split(p.bytes, 140)) do
        assert_right(p, piece)
        list[i] = bit.band(flags_of(p, piece), URG) > 0 and u16(piece, p.l4 + 18) or "none"
        if list[i] == "none" then assert.equal(0, u16(piece, p.l4 + 18)) end
      end
      return list
    end
    assert.same({ 250, 150, 50 }, urgent(250))
    assert.same({ 100, "none", "none" }, urgent(100))
    assert.same({ 101, 1, "none" }, urgent(101))
    local p = tcp(4, ACK, random.bytes(300), { urgptr = 9 })
    local list = split(p.bytes, 140)
    assert.same({ 9, 0, 0 }, { u16(list[1], 38), u16(list[2], 38), u16(list[3], 38) })
  end)

  it("makes fragments of others, those that the test kit makes", function()
    for _, size in ipairs { 100, 1000, 3000, 20000 } do
      local whole = t.udp { payload = random.bytes(size), ip = { id = 9, df = false } }
      for _, mtu in ipairs { 68, 576, 1500 } do
        if #whole.bytes > mtu then
          local expected = t.fragments(whole, mtu)
          local list = split(whole.bytes, mtu)
          assert.equal(#expected, #list)
          for i, piece in ipairs(list) do assert.equal(hex(expected[i].bytes), hex(piece)) end
        end
      end
      whole = t.udp { payload = random.bytes(size), ip6 = {} }
      for _, mtu in ipairs { 56, 1280, 1500 } do
        if #whole.bytes > mtu then
          local expected = t.fragments(whole, mtu, 0x01020304)
          local list = split(whole.bytes, mtu, 0x01020304)
          assert.equal(#expected, #list)
          for i, piece in ipairs(list) do assert.equal(hex(expected[i].bytes), hex(piece)) end
        end
      end
    end
  end)

  it("puts a fragment header behind the headers that each router looks at", function()
    for _, extension in ipairs { "hop", "routing0", "routing4", "options", "none" } do
      local p = new("udp", 6, random.bytes(500), { extension = extension })
      local expected = t.fragments(t.packet(p.bytes), 150, 7)
      local list = split(p.bytes, 150, 7)
      assert.equal(#expected, #list)
      for i, piece in ipairs(list) do assert.equal(hex(expected[i].bytes), hex(piece), extension) end
    end
    -- Destination options before a routing header, and after it.
    local rest = packets.extension(43, packets.extension(60, packets.extension(17, packets.udp(random.bytes(300)))))
    rest = packets.extension(60, rest)
    local bytes = packets.ip6(0, rest)
    for _, piece in ipairs(split(bytes, 200)) do
      assert.same({ 0, 60, 43, 44, 60 },
        { piece:byte(7), piece:byte(41), piece:byte(49), piece:byte(57), piece:byte(65) })
    end
  end)

  it("has those options in later fragments that are to be copied", function()
    -- A record route, no operation, and a router alert; then the end.
    for options, later in pairs {
      ["\7\7\4\0\0\0\0\1\148\4\0\0"] = "\148\4\0\0", ["\1\1\1\0"] = "", ["\130\3\0\1"] = "\130\3\0\0",
      ["\130\6\0\0\0\0\1\1"] = "\130\6\0\0\0\0\0\0",
      ["\148\4\0\0\0\9\9\9"] = "\148\4\0\0", ["\148\9\0\0"] = "", ["\7\0\1\1"] = "", ["\1\1\1\148"] = "",
      [("\148\4\0\0"):rep(10)] = ("\148\4\0\0"):rep(10),
    } do
      local p = { version = 4, kind = craft.kinds.unknown, l4 = 20 + #options }
      p.bytes = craft.complete(p, packets.ip(253, "\1" .. random.bytes(200), { options = options }))
      local list, whole = split(p.bytes, 100), {}
      for i, piece in ipairs(list) do
        local header = piece:byte(1) % 16 * 4
        assert.equal(hex(i == 1 and options or later), hex(piece:sub(21, header)))
        assert.equal(0xffff, rewrite.sum(piece:sub(1, header)))
        assert.equal(#piece, u16(piece, 2))
        whole[i] = piece:sub(header + 1)
      end
      assert.equal(p.bytes:sub(p.l4 + 1), table.concat(whole))
    end
  end)

  it("makes smaller fragments of a fragment over IPv4, in its place", function()
    for _, field in ipairs { 0x2000, 0x2005, 0x0005 } do
      local bytes = packets.ip(17, random.bytes(200), { id = 7, fragment = field })
      local list = split(bytes, 100)
      assert.equal(3, #list)
      for i, piece in ipairs(list) do
        local more = i < 3 and 0x2000 or bit.band(field, 0x2000)
        assert.equal(more + field % 0x2000 + (i - 1) * 10, u16(piece, 6))
      end
    end
    -- A first fragment of TCP is not one of its segments.
    local p = tcp(4, ACK, random.bytes(204), { fragment = 0x2000 })
    assert.equal(0x200a, u16(split(p.bytes, 100)[2], 6))
    local far = packets.ip(17, random.bytes(200), { fragment = 0x1ff0 })
    local got, before = split(far, 100)
    assert.same({ MALFORMED, 2 }, { got, #before })
  end)

  it("gives fragments of an id of 0 one that they have in common", function()
    local p = { version = 4, kind = craft.kinds.unknown, l4 = 20 }
    p.bytes = craft.complete(p, put(packets.ip(253, random.bytes(200)), 4, "\0\0"))
    for id, expected in pairs { [0x01020304] = 0x0304, [0x50000] = 1 } do
      for _, piece in ipairs(split(p.bytes, 100, id)) do
        assert.equal(expected, u16(piece, 4))
        assert.equal(0xffff, rewrite.sum(piece:sub(1, 20)))
      end
    end
  end)

  it("cuts nothing that may not be cut", function()
    for _, name in ipairs { "udp", "sctp", "icmp", "unknown" } do
      local p = new(name, 4, random.bytes(200))
      p.bytes = craft.complete(p, put(p.bytes, 6, "\x40\0"))
      assert.equal(LENGTH, (split(p.bytes, 150)))
      assert.equal("table", type(split(without_df(p), 150)))
    end
    for _, fields in ipairs { { 0, false }, { 0, true }, { 7, true } } do
      local bytes = packets.ip6(44, packets.fragment(17, packets.udp(random.bytes(199)), unpack(fields)))
      assert.equal(LENGTH, (split(bytes, 150)))
    end
    assert.equal(LENGTH, (split(new("udp", 6, random.bytes(300), { extension = "atomic" }).bytes, 150)))
  end)

  it("makes fragments of TCP that is signed", function()
    local signature = "\19\18" .. ("s"):rep(16) .. "\1\1"
    local p = tcp(4, ACK, random.bytes(300), { tcp = signature })
    assert.equal(LENGTH, (split(p.bytes, 200)))
    local list = split(without_df(p), 200)
    assert.equal(0x2000, u16(list[1], 6))
    p = tcp(6, ACK, random.bytes(300), { tcp = "\1\29\16\1\1" .. ("s"):rep(12) .. "\0\0\0" })
    assert.equal(44, split(p.bytes, 200)[1]:byte(7))
    for _, options in ipairs { "\0\2\19\2", "\2\0\19\2", "\2\9\19\2", "\1\1\19\9", "\1\1\1\19" } do
      p = tcp(4, ACK, "\1" .. random.bytes(300), { tcp = options })
      local result = split(p.bytes, 200)
      assert.equal(0x4000, u16(result[2], 6))
    end
    p = new("tcp", 6, random.bytes(300), { extension = "behind_others" })
    local expected = t.fragments(t.packet(p.bytes), 200, 7) -- with an authentication header
    for i, piece in ipairs(split(p.bytes, 200, 7)) do assert.equal(hex(expected[i].bytes), hex(piece)) end
  end)

  it("needs pieces that have room for something", function()
    for _, p in ipairs { tcp(4, ACK, random.bytes(300), { tcp = ("\1"):rep(40), options = ("\1"):rep(8) }),
      tcp(6, ACK, random.bytes(300), { tcp = ("\1"):rep(20) }) } do
      assert.equal(LENGTH, (split(p.bytes, p.body - 1)))
      assert.equal(LENGTH, (split(p.bytes, p.body)))
      assert.equal(300, #split(p.bytes, p.body + 1))
    end
    local p = new("udp", 4, random.bytes(200), { ip_options = ("\1"):rep(40) })
    assert.equal(LENGTH, (split(without_df(p), 67)))
    assert.equal(26, #split(p.bytes, 68))
    p = new("udp", 6, random.bytes(200))
    assert.equal(LENGTH, (split(p.bytes, 55)))
    assert.equal(26, #split(p.bytes, 56))
    assert.equal(LENGTH, (split(tcp(4, ACK, "").bytes, 67))) -- too small for any link
    p = new("udp", 6, random.bytes(200), { extension = "routing0" })
    assert.equal(LENGTH, (split(p.bytes, 95)))
    assert.equal(LENGTH, (split(p.bytes, 56)))
    assert.equal(26, #split(p.bytes, 96))
    p = tcp(4, ACK, "", { tcp = ("\1"):rep(40), options = ("\1"):rep(40) })
    assert.equal(LENGTH, (split(p.bytes, 100)))
  end)

  it("needs room for a piece", function()
    for _, p in ipairs { tcp(4, ACK, random.bytes(300)), tcp(6, ACK, random.bytes(300)) } do
      assert.equal(ROOM, (split(p.bytes, 200, 1, 199)))
      assert.equal(ROOM, (split(p.bytes, 1500, 1, #p.bytes - 1)))
    end
    local p = new("udp", 4, random.bytes(300))
    assert.equal(ROOM, (split(without_df(p), 100, 1, 99)))
    p = new("udp", 6, random.bytes(300))
    assert.equal(ROOM, (split(p.bytes, 104, 1, 103)))
  end)

  it("takes no packet whose length is another one, or that is malformed", function()
    local p = tcp(4, ACK, random.bytes(300))
    for _, bytes in ipairs {
      p.bytes .. "x", p.bytes:sub(1, -2), put(p.bytes, 2, "\0\0"), put(p.bytes, 0, "\x42"), "", "E",
      put(p.bytes, p.l4 + 12, "\x40"), put(tcp(6, ACK, "x").bytes, 4, "\0\0"), ("\0"):rep(1000),
      packets.ip6(253, random.bytes(65535)),
    } do
      assert.equal(MALFORMED, (split(bytes, 200)))
      assert.equal(MALFORMED, (split(bytes, 66000)))
    end
  end)
end)

describe("Pieces in the eyes of tshark", function()
  it("are segments of a stream, and have right checksums", function()
    if not tshark.available() then return pending "there is no tshark" end
    local list = {}
    for _, version in ipairs { 4, 6 } do
      for _, piece in ipairs(split(tcp(version, PSH + ACK, random.bytes(20000)).bytes, 1000)) do
        list[#list + 1] = piece
      end
    end
    local rows = tshark.fields(list, { "ip.version", "ip.checksum.status", "tcp.checksum.status", "tcp.seq" })
    assert.equal(#list, #rows)
    for i, row in ipairs(rows) do
      assert.equal("1", row["tcp.checksum.status"])
      if list[i]:byte(1) < 0x60 then assert.equal("1", row["ip.checksum.status"]) end
    end
  end)
end)

