-- Checksums that came wrong with a capture, told and made right.
local ffi = require "ffi"
local craft = require "spec.support.craft"
local m = require "spec.support.message"
local packets = require "spec.support.packet"
local rewrite = require "spec.support.rewrite"
local tshark = require "spec.support.tshark"
local tunnel = require "spec.support.tunnel"

local C, E = rewrite.C, ffi.C
local put, be16, u16 = craft.put, m.be16, craft.u16
local IP, TRANSPORT = tonumber(E.IPQ_SUM_WRONG_IP), tonumber(E.IPQ_SUM_WRONG_TRANSPORT)

-- The bytes as a packet of a capture, in memory that ends with them; wire: how many there were.
local memory -- of the packet that came last
local function captured(bytes, wire)
  memory = rewrite.own(bytes)
  return ffi.new("struct ipq_packet", { data = memory, data_len = #bytes, len = wire or #bytes,
    cut = E.IPQ_CUT_CAPTURE })
end

local function bytes_of(packet) return ffi.string(packet.data, packet.data_len) end
local function hex(bytes) return (bytes:gsub(".", function(c) return ("%02x "):format(c:byte()) end)) end

local function wrong(bytes, wire)
  local packet = captured(bytes, wire)
  local result = C.ipq_sums_wrong(packet)
  assert.equal(hex(bytes), hex(bytes_of(packet)))
  return result
end

-- The bytes as they are mended, and whether anything was.
local function mended(bytes, wire)
  local packet = captured(bytes, wire)
  local changed = C.ipq_sums_mend(packet)
  assert.equal(bytes ~= bytes_of(packet), changed)
  assert.same({ 0, 0, wire or #bytes }, { packet.set, packet.dirty, packet.len })
  return bytes_of(packet), changed
end

local function assert_mended(expected, bytes, what)
  local got = mended(bytes)
  if got ~= expected then error(("%s\nexpected %s\ngot      %s"):format(what or "", hex(expected), hex(got)), 2) end
  assert.equal(0, wrong(got))
end

local function new(name, version, body, more) return tunnel.packet(name, version, body, more) end

--- Whether the checksum of the packet's kind can be wrong.
local function has_sum(p) return p.kind.field and p.kind ~= craft.kinds.udp_without end

describe("A packet's checksums", function()
  it("are right of each kind that is, and stay as they are", function()
    local random = rewrite.random(51)
    for _ = 1, 3000 do
      local p = craft.random(random)
      assert.equal(0, wrong(p.bytes))
      assert.is_false(select(2, mended(p.bytes)))
    end
  end)

  it("are wrong where they are not, each by itself, and become right", function()
    local random = rewrite.random(52)
    for round = 1, 3000 do
      local p = craft.random(random)
      local bytes, expected = p.bytes, 0
      if p.version == 4 and round % 2 == 0 then
        bytes, expected = put(bytes, 10, be16((u16(bytes, 10) + random.number(1, 65533)) % 65535)), IP
      end
      if has_sum(p) and round % 3 > 0 then
        local at = p.l4 + p.kind.field
        local size = p.kind.protocol == 132 and 4 or 2
        local field = size == 4 and random.bytes(4) or be16((u16(bytes, at) + random.number(1, 65533)) % 65535)
        if not (p.kind.protocol == 17 and field == "\0\0") then
          bytes, expected = put(bytes, at, field), expected + TRANSPORT
        end
      end
      assert.equal(expected, wrong(bytes), "round " .. round)
      assert_mended(p.bytes, bytes, "round " .. round)
    end
  end)

  it("are wrong where another byte is, and right for that byte then", function()
    for _, name in ipairs { "tcp", "udp", "udplite_part", "icmp", "icmpv6", "sctp", "dccp", "gre_sum" } do
      local p = new(name, name == "icmpv6" and 6 or 4)
      local bytes = put(p.bytes, p.body, "J")
      assert.equal(TRANSPORT, wrong(bytes))
      assert_mended(craft.complete(p, bytes), bytes)
    end
  end)

  it("are wrong where a network card was to finish them", function()
    for _, name in ipairs { "tcp", "udp", "sctp" } do
      for _, version in ipairs { 4, 6 } do
        local p = new(name, version)
        local field = name == "sctp" and "\0\0\0\0" or be16(craft.pseudo(p, p.bytes))
        local bytes = put(p.bytes, p.l4 + p.kind.field, field)
        assert.equal(TRANSPORT, wrong(bytes))
        assert_mended(p.bytes, bytes)
      end
    end
  end)

  it("are the IPv4 header's alone where the packet is a fragment, cut off or malformed", function()
    local p = new("tcp", 4)
    local bytes = put(p.bytes, p.l4 + 16, "\1\2")
    local function ip_mended(b)
      b = put(b, 10, "\0\0")
      return put(b, 10, be16(rewrite.checksum(b:sub(1, 20))))
    end
    for _, case in ipairs {
      { put(bytes, 6, "\x20\0") }, { put(bytes, 6, "\0\5") }, { bytes, #bytes + 1 }, { bytes:sub(1, 30), #bytes },
      { put(bytes, 2, "\1\0") }, { put(bytes, p.l4 + 12, "\x10") }, { put(bytes, 9, "\17") },
    } do
      local damaged = put(case[1], 10, "\1\2")
      assert.equal(IP, wrong(damaged, case[2]))
      assert.equal(hex(ip_mended(damaged)), hex((mended(damaged, case[2]))))
      assert.equal(0, wrong(ip_mended(damaged), case[2]))
    end
    for n = 0, 19 do
      assert.equal(0, wrong(bytes:sub(1, n), #bytes))
      assert.is_false(select(2, mended(bytes:sub(1, n), #bytes)))
    end
    p = new("tcp", 6, nil, { extension = "atomic" })
    assert.equal(0, wrong(put(put(p.bytes, 42, "\0\1"), p.l4 + 16, "\1\2")))
    p = new("udplite", 6)
    assert.equal(0, wrong(put(put(p.bytes, p.l4 + 4, "\0\7"), p.l4 + 6, "\1\2"))) -- covers a part of its header
  end)

  it("may be none of UDP's, over IPv6 too, as tunnels have it (RFC 6935)", function()
    for _, version in ipairs { 4, 6 } do
      local p = new("udp", version)
      local bytes = put(p.bytes, p.l4 + 6, "\0\0")
      assert.equal(0, wrong(bytes))
      assert.is_false(select(2, mended(bytes)))
    end
    local p = new("udplite", 4)
    local bytes = put(p.bytes, p.l4 + 6, "\0\0")
    assert.equal(TRANSPORT, wrong(bytes))
    assert_mended(p.bytes, bytes)
  end)

  it("are the same with either zero, but for what is all zeros", function()
    for name, field in pairs { tcp = "\0\0", udp = "\xff\xff", udplite = "\xff\xff" } do
      local p = new(name, 4, "\0\0..0123")
      local at = p.l4 + p.kind.field
      local zero = craft.complete(p, put(p.bytes, p.body, p.bytes:sub(at + 1, at + 2)))
      assert.equal(field, zero:sub(at + 1, at + 2))
      assert.equal(0, wrong(zero))
      assert.equal(0, wrong(put(zero, at, "\xff\xff")))
      assert_mended(zero, put(zero, at, "\1\2"))
    end
    local p = new("icmp", 4)
    local zeros = p.bytes:sub(1, p.l4) .. ("\0"):rep(#p.bytes - p.l4)
    assert.equal(TRANSPORT, wrong(zeros))
    assert_mended(put(zeros, p.l4 + 2, "\xff\xff"), zeros)
  end)

  it("do not count what lies behind UDP's datagram, or behind the packet", function()
    local p = new("udp", 4)
    local bytes = put(p.bytes .. "surplus", 2, be16(#p.bytes + 7)) -- RFC 9868
    assert.equal(IP, wrong(bytes))
    local damaged = put(bytes, p.l4 + 6, "\1\2")
    assert.equal(hex(p.bytes:sub(13) .. "surplus"), hex((mended(damaged)):sub(13)))
    assert.equal(0, wrong(p.bytes .. "padding"))
    assert.equal(p.bytes .. "padding", (mended(put(p.bytes, p.l4 + 6, "\1\2") .. "padding")))
  end)

  it("are those of all bytes where IP's length is what segmentation has yet to tell, which stays", function()
    local p = new("tcp", 4)
    local bytes = put(put(p.bytes, 2, "\0\0"), p.l4 + 16, be16(craft.pseudo(p, p.bytes)))
    assert.equal(IP + TRANSPORT, wrong(bytes))
    local got = mended(bytes)
    assert.equal(hex(p.bytes:sub(13)), hex(got:sub(13)))
    assert.equal(0, u16(got, 2))
    assert.equal(0, wrong(got))
  end)

  it("are made right inside of a tunnel where they are not finished, and nothing else inside is", function()
    for _, name in ipairs(tunnel.names) do
      for _, outer in ipairs { 4, 6 } do
        for _, version in ipairs { 4, 6 } do
          for _, kind in ipairs { "tcp", "udp", "sctp" } do
            if not (name == "VXLAN without a checksum" and outer == 6) then
              local inner = new(kind, version, "inside of it")
              local p, at, came = tunnel.around(name, outer, inner)
              local what = ("%s over IPv%d, %s over IPv%d"):format(name, outer, kind, version)
              assert_mended(p.bytes, came, what)
              if p.kind.field and has_sum(p) then assert.equal(TRANSPORT, wrong(came), what) end
              local damaged = put(p.bytes, at + inner.body, "I")
              local got = mended(damaged)
              assert.equal(hex(damaged:sub(at + 1)), hex(got:sub(at + 1)), what)
            end
          end
        end
      end
    end
  end)

  it("are found in no more bytes than there are", function()
    local random = rewrite.random(53)
    for _ = 1, 3000 do
      local p = craft.random(random)
      local bytes = p.bytes
      for _ = 1, random.number(0, 3) do bytes = put(bytes, random.number(0, #bytes - 1), random.bytes(1)) end
      bytes = bytes:sub(1, random.number(1, #bytes))
      wrong(bytes, random.pick { #bytes, #p.bytes })
      mended(bytes, random.pick { #bytes, #p.bytes })
    end
    wrong ""
    wrong(packets.ip(253, ""))
  end)
end)

describe("Checksums in the eyes of tshark", function()
  local PACKETS = 10000
  local GOOD, BAD = "1", "0"
  local STATUS = { [6] = "tcp", [17] = "udp", [136] = "udp", [1] = "icmp", [58] = "icmpv6", [132] = "sctp",
    [33] = "dccp", [47] = "gre" }
  local FIELDS = { "ip.checksum.status" }
  for _, name in ipairs { "tcp", "udp", "icmp", "icmpv6", "sctp", "dccp", "gre" } do
    FIELDS[#FIELDS + 1] = name .. ".checksum.status"
  end

  it("are wrong where they are told so, and right once they are mended", function()
    if not tshark.available() then return pending "there is no tshark" end
    local random = rewrite.random(54)
    local kinds, came, after, told = {}, {}, {}, {}
    for i = 1, PACKETS do
      local p = craft.random(random)
      local bytes = p.bytes
      if has_sum(p) and random.number(0, 1) == 0 then bytes = put(bytes, p.l4 + p.kind.field, "\1\2") end
      if random.number(0, 1) == 0 then bytes = put(bytes, #bytes - 1, random.bytes(1)) end
      if p.version == 4 and random.number(0, 1) == 0 then bytes = put(bytes, 10, "\3\4") end
      kinds[i], came[i], told[i], after[i] = p, bytes, wrong(bytes), (mended(bytes))
    end
    local before_rows, after_rows = tshark.fields(came, FIELDS), tshark.fields(after, FIELDS)
    assert.same({ PACKETS, PACKETS }, { #before_rows, #after_rows })
    local seen = { [IP] = 0, [TRANSPORT] = 0 }
    for i, p in ipairs(kinds) do
      local function is(rows, field, bit_of, is_wrong)
        if is_wrong then seen[bit_of] = seen[bit_of] + 1 end
        local expected = is_wrong and BAD or GOOD
        if rows[i][field] ~= expected then
          error(("packet %d, protocol %d over IPv%d: %s is %q, not %q\n%s"):format(i, p.kind.protocol, p.version, field,
            rows[i][field], expected, hex(rows == after_rows and after[i] or came[i])))
        end
      end
      if p.version == 4 then
        is(before_rows, "ip.checksum.status", IP, told[i] % 2 == 1)
        is(after_rows, "ip.checksum.status", IP, false)
      end
      local name = has_sum(p) and STATUS[p.kind.protocol]
      if name then
        is(before_rows, name .. ".checksum.status", TRANSPORT, told[i] >= TRANSPORT)
        is(after_rows, name .. ".checksum.status", TRANSPORT, false)
      end
    end
    assert.is_true(seen[IP] > 1000 and seen[TRANSPORT] > 1000)
  end)
end)
