-- A packet's copy, which is a packet by itself.
local ffi = require "ffi"
local craft = require "spec.support.craft"
local m = require "spec.support.message"
local made = require "spec.support.made"
local packets = require "spec.support.packet"
local rewrite = require "spec.support.rewrite"
local tunnel = require "spec.support.tunnel"

local C, E = rewrite.C, ffi.C
local put, be16, u16 = craft.put, m.be16, craft.u16
local arrive, copy, hex = made.arrive, made.copy, made.hex
local MALFORMED, LENGTH, ROOM = E.IPQ_UNSENT_MALFORMED, E.IPQ_UNSENT_LENGTH, E.IPQ_UNSENT_ROOM
local NOT_READY, GSO, NOT_VERIFIED = 1, 2, 4

local function new(name, version, body, more) return tunnel.packet(name, version, body, more) end

local function store(packet, at, bytes) assert(C.ipq_rewrite_store(packet, at, bytes, #bytes) == 0) end
local function replace(packet, at, len, bytes)
  assert(C.ipq_rewrite_replace(packet, at, len, bytes, #bytes) == 0)
end

local function bytes_of(packet) return ffi.string(packet.data, packet.data_len) end

-- The copy, of a packet that keeps its bytes and all that is known of it.
local function copied(packet, size)
  local bytes, before = bytes_of(packet), ffi.string(packet, ffi.sizeof "struct ipq_packet")
  local result = copy(packet, size)
  assert.equal(hex(bytes), hex(bytes_of(packet)))
  assert.equal(hex(before), hex(ffi.string(packet, ffi.sizeof "struct ipq_packet")))
  return result
end

local function assert_copied(expected, packet, what)
  local got = copied(packet)
  if got ~= expected then
    error(("%s\nexpected %s\ngot      %s"):format(what or "", hex(expected), hex(got)), 2)
  end
end

describe("ipq_packet_copy", function()
  it("gives the bytes of each kind of packet", function()
    local random = rewrite.random(61)
    for _ = 1, 2000 do
      local p = craft.random(random)
      assert_copied(p.bytes, arrive(p.bytes))
    end
  end)

  it("leaves the bytes behind the IP packet out, and the VLAN tags before it", function()
    for _, version in ipairs { 4, 6 } do
      local p = new("udp", version)
      assert_copied(p.bytes, arrive(p.bytes .. "padding"))
      local tagged = "\0\5" .. (version == 4 and "\8\0" or "\x86\xdd") .. p.bytes .. "padding"
      local packet = arrive(tagged, { family = 7, protocol = 0x8100 })
      assert_copied(p.bytes, packet)
      store(packet, 4 + p.body, "J")
      assert_copied(craft.complete(p, put(p.bytes, p.body, "J")), packet)
    end
  end)

  it("finishes what a filter has changed, and leaves that to be finished in the packet", function()
    local random = rewrite.random(62)
    for _ = 1, 2000 do
      local p = craft.random(random)
      local packet, bytes = arrive(p.bytes), p.bytes
      for _ = 1, random.number(1, 3) do
        local at, new_bytes = craft.random_store(random, p, bytes)
        store(packet, at, new_bytes)
        bytes = put(bytes, at, new_bytes)
      end
      local expected = craft.complete(p, bytes)
      assert_copied(expected, packet)
      assert.equal(0, C.ipq_rewrite_finish(packet))
      assert_copied(expected, packet, "once it is finished")
    end
  end)

  it("ends where a packet ends that has grown, shrunk or become another", function()
    for _, name in ipairs { "tcp", "udp", "sctp", "icmp" } do
      local p = new(name, 4)
      local packet = arrive(p.bytes)
      replace(packet, p.body, 2, "a longer text")
      assert_copied(craft.complete(p, p.bytes:sub(1, p.body) .. "a longer text" .. p.bytes:sub(p.body + 3)), packet)
      replace(packet, p.body, packet.data_len - p.body, "")
      assert_copied(craft.complete(p, p.bytes:sub(1, p.body)), packet)
    end
    local packet = arrive(new("tcp", 4).bytes)
    local other = new("udp", 6)
    assert.equal(0, C.ipq_rewrite_set(packet, other.bytes, #other.bytes))
    assert_copied(other.bytes, packet)
    packet = arrive(new("tcp", 4).bytes)
    store(packet, 2, "\xff\xff")
    assert_copied(new("tcp", 4).bytes, packet)
  end)

  it("leaves changes as they are where they are not to be made right", function()
    local p = new("tcp", 4)
    local packet = arrive(p.bytes)
    packet.fix = 0
    store(packet, p.body, "J")
    assert_copied(put(p.bytes, p.body, "J"), packet)
  end)

  it("has the checksum that a network card was to finish", function()
    for _, name in ipairs { "tcp", "udp", "sctp", "udplite", "dccp" } do
      for _, version in ipairs { 4, 6 } do
        local p = new(name, version)
        local packet = arrive(craft.unready(p), { skb_info = NOT_READY })
        assert_copied(p.bytes, packet, name)
        store(packet, p.body, "J")
        assert_copied(craft.complete(p, put(p.bytes, p.body, "J")), packet, name .. " that has changed")
      end
    end
  end)

  it("has that of a packet in a tunnel", function()
    for _, name in ipairs(tunnel.names) do
      for _, kind in ipairs { "tcp", "udp", "sctp" } do
        for _, version in ipairs { 4, 6 } do
          local outer, _, came = tunnel.around(name, 4, new(kind, version, "inside of it"))
          local what = ("%s in %s"):format(kind, name)
          assert_copied(outer.bytes, arrive(came, { skb_info = NOT_READY }), what)
          local tagged = "\0\5\8\0" .. came
          assert_copied(outer.bytes, arrive(tagged, { skb_info = NOT_READY, family = 7, protocol = 0x8100 }), what)
        end
      end
    end
  end)

  it("has that of a packet in a tunnel which has been finished already", function()
    local inner = new("tcp", 4, "inside of it")
    local outer, at, came = tunnel.around("GRE", 4, inner)
    local packet = arrive(came, { skb_info = NOT_READY })
    store(packet, at + inner.body, "I")
    assert.equal(0, C.ipq_rewrite_finish(packet))
    local expected = craft.complete(inner, put(inner.bytes, inner.body, "I"))
    assert_copied(outer.bytes:sub(1, at) .. expected, packet)
  end)

  it("has that of a packet which is taken out of a tunnel, or out of two", function()
    local inside = ffi.new "struct ipq_inside"
    for _, kind in ipairs { "tcp", "udp", "sctp" } do
      local inner = new(kind, 6, "inside of it")
      local _, at, came = tunnel.around("GRE", 4, inner)
      local packet = arrive(came, { skb_info = NOT_READY })
      assert_copied(inner.bytes, C.ipq_inside_open(inside, packet, at))
      local twice = craft.complete({ version = 4, kind = craft.kinds.unknown, l4 = 20 }, packets.ip(4, came))
      packet = arrive(twice, { skb_info = NOT_READY })
      assert_copied(inner.bytes, C.ipq_inside_open(inside, packet, 20 + at))
      local damaged = put(inner.bytes, inner.body, "J")
      local outer = tunnel.around("GRE", 4, { version = 6, bytes = damaged, kind = inner.kind, l4 = inner.l4,
        destination = 24 })
      assert_copied(damaged, C.ipq_inside_open(inside, arrive(outer.bytes), at))
    end
  end)

  it("keeps the bytes behind UDP's datagram (RFC 9868)", function()
    local p = new("udp", 4)
    local bytes = put(p.bytes .. "surplus", 2, be16(#p.bytes + 7))
    bytes = put(put(bytes, 10, "\0\0"), 10, be16(rewrite.checksum(put(bytes, 10, "\0\0"):sub(1, 20))))
    local packet = arrive(bytes)
    store(packet, 10, "\1\2")
    assert_copied(bytes, packet)
  end)

  it("is one packet of TCP where the kernel would cut it into segments", function()
    for _, version in ipairs { 4, 6 } do
      local p = new("tcp", version, ("x"):rep(5000))
      local came = craft.unready(p)
      assert_copied(p.bytes, arrive(came, { skb_info = NOT_READY + GSO }))
      local packet = arrive(came, { skb_info = NOT_READY + GSO })
      store(packet, p.body, "J")
      assert_copied(craft.complete(p, put(p.bytes, p.body, "J")), packet)
    end
  end)

  it("has the length that segmentation had yet to tell", function()
    local p = new("tcp", 4, ("x"):rep(5000))
    assert_copied(p.bytes, arrive(put(craft.unready(p), 2, "\0\0"), { skb_info = NOT_READY + GSO }))
    assert_copied(p.bytes, arrive(put(p.bytes, 2, "\0\0")))
    p = new("tcp", 6, ("x"):rep(5000))
    assert_copied(p.bytes, arrive(put(craft.unready(p), 4, "\0\0"), { skb_info = NOT_READY + GSO }))
    assert_copied(p.bytes, arrive(put(craft.unready(p), 4, "\0\0")))
  end)

  it("is none of UDP that the kernel has yet to cut into segments, inside of a tunnel neither", function()
    local p = new("udp", 4, ("x"):rep(5000))
    assert.equal(LENGTH, copied(arrive(craft.unready(p), { skb_info = NOT_READY + GSO })))
    assert.equal(LENGTH, copied(arrive(p.bytes, { skb_info = GSO })))
    local packet = arrive(craft.unready(p), { skb_info = NOT_READY + GSO })
    store(packet, p.body, "J")
    assert.equal(LENGTH, copied(packet))
    local _, _, came = tunnel.around("IP in IP", 4, p)
    assert.equal(LENGTH, copied(arrive(came, { skb_info = NOT_READY + GSO })))
    local outer
    outer, _, came = tunnel.around("IP in IP", 4, new("tcp", 4, ("x"):rep(5000)))
    assert_copied(outer.bytes, arrive(came, { skb_info = NOT_READY + GSO }))
  end)

  it("keeps a checksum wrong that came so", function()
    local p = new("tcp", 4)
    local damaged = put(p.bytes, p.l4 + 16, be16((u16(p.bytes, p.l4 + 16) + 5) % 65535))
    assert_copied(damaged, arrive(damaged))
    local packet = arrive(damaged, { skb_info = NOT_VERIFIED })
    replace(packet, p.body, 0, "more")
    local right = craft.complete(p, p.bytes:sub(1, p.body) .. "more" .. p.bytes:sub(p.body + 1))
    local got = copied(packet)
    assert.equal(5, (u16(got, p.l4 + 16) - u16(right, p.l4 + 16)) % 65535)
    assert.equal(hex(put(right, p.l4 + 16, "\0\0")), hex(put(got, p.l4 + 16, "\0\0")))
  end)

  it("is none of a packet that is too long once it has changed", function()
    local p = new("tcp", 4, ("x"):rep(E.IPQ_PACKET_MAX - #new("tcp", 4, "").bytes))
    local memory = rewrite.own(p.bytes)
    local packet = ffi.new("struct ipq_packet", { data = memory, data_len = #p.bytes, len = #p.bytes, fix = 1 })
    assert.equal(E.IPQ_PACKET_MAX, #p.bytes)
    assert_copied(p.bytes, packet)
    store(packet, p.body, "J")
    assert.equal(LENGTH, copied(packet))
  end)

  it("is a fragment of a fragment", function()
    local p = new("tcp", 4)
    for _, field in ipairs { "\x20\0", "\0\5" } do
      local bytes = put(p.bytes, 6, field)
      assert_copied(bytes, arrive(bytes))
      local packet = arrive(bytes)
      store(packet, 8, "\9")
      local expected = put(put(bytes, 8, "\9"), 10, "\0\0")
      assert_copied(put(expected, 10, be16(rewrite.checksum(expected:sub(1, 20)))), packet)
    end
  end)

  it("is none of what is cut off, malformed, or no IP", function()
    local p = new("tcp", 4)
    assert.equal(MALFORMED, copied(arrive(p.bytes:sub(1, -2), { wire = #p.bytes })))
    for at, bytes in pairs { [2] = "\xff\xff", [0] = "\x42", [p.l4 + 12] = "\x10" } do
      assert.equal(MALFORMED, copied(arrive(put(p.bytes, at, bytes))))
    end
    assert.equal(MALFORMED, copied(arrive("", {})))
    assert.equal(MALFORMED, copied(arrive(packets.ip6(60, "\6"))))
    local arp = "\0\1\8\0\6\4\0\1" .. ("\2\0\0\0\0\1\10\0\0\1"):rep(2)
    assert.equal(MALFORMED, copied(arrive(arp, { family = 3, protocol = 0x0806 })))
    local packet = arrive(put(p.bytes, 6, "\0\5"), { skb_info = NOT_READY }) -- whose sum is in another fragment
    assert.equal(MALFORMED, copied(packet))
  end)

  it("is none where it finds no room", function()
    local p = new("tcp", 4)
    assert.equal(ROOM, copied(arrive(p.bytes), #p.bytes - 1))
    assert.equal(p.bytes, copied(arrive(p.bytes), #p.bytes))
    assert.equal(p.bytes, copied(arrive(p.bytes .. "padding"), #p.bytes))
  end)
end)
