local ffi = require "ffi"
local lib = require "spec.support.lib"
local m = require "spec.support.message"

local C, errno, E = lib.C, lib.errno, ffi.C

-- Each message lies at the very end of memory of its own size, so that a sanitizer sees any read
-- behind it.
local function parse(message, length)
  local packet = ffi.new "struct ipq_packet"
  length = length or #message
  local bytes = ffi.new("uint8_t[?]", math.max(length, 1))
  ffi.copy(bytes, message, length)
  return C.ipq_attr_parse(packet, bytes, length), packet, bytes
end

local function has(packet, bits) return bit.band(packet.present, bits) ~= 0 end

describe("ipq_attr_parse", function()
  it("reads id, protocol, hook, family and queue", function()
    local ret, p = parse(m.packet(m.hdr(0x01020304, 0x86dd, 2), { family = 10, queue_num = 513 }))
    assert.equal(0, ret)
    assert.same({ 0x01020304, 0x86dd, 2, 10, 513 },
      { p.packet_id, p.hw_protocol, p.hook, p.family, p.queue_num })
  end)

  it("reads the payload where it lies", function()
    local ret, p, bytes = parse(m.simple(1, "hello"))
    assert.equal(0, ret)
    assert.equal("hello", ffi.string(p.data, p.data_len))
    assert.equal(5, p.len)
    assert.is_true(p.data > bytes and p.data < bytes + 100)
  end)

  local numbers = {
    { "mark", m.MARK, E.IPQ_HAS_MARK }, { "indev", m.INDEV, E.IPQ_HAS_INDEV },
    { "outdev", m.OUTDEV, E.IPQ_HAS_OUTDEV }, { "physindev", m.PHYSINDEV, E.IPQ_HAS_PHYSINDEV },
    { "physoutdev", m.PHYSOUTDEV, E.IPQ_HAS_PHYSOUTDEV }, { "ct_info", m.CT_INFO, E.IPQ_HAS_CT_INFO },
    { "len", m.CAP_LEN, E.IPQ_HAS_CAP_LEN }, { "skb_info", m.SKB_INFO, E.IPQ_HAS_SKB_INFO },
    { "uid", m.UID, E.IPQ_HAS_UID }, { "gid", m.GID, E.IPQ_HAS_GID },
    { "priority", m.PRIORITY, E.IPQ_HAS_PRIORITY },
  }
  for _, number in ipairs(numbers) do
    local field, kind, bits = unpack(number)
    it("reads " .. field .. ", and knows where it is absent", function()
      local ret, p = parse(m.packet(m.hdr(1) .. m.attr(kind, m.be32(0xfedcba98))))
      assert.equal(0, ret)
      assert.equal(0xfedcba98, p[field])
      assert.is_true(has(p, bits))
      ret, p = parse(m.packet(m.hdr(1)))
      assert.equal(0, ret)
      assert.is_false(has(p, bits))
    end)

    it("refuses a " .. field .. " that is too short", function()
      local ret, p = parse(m.packet(m.hdr(7) .. m.attr(kind, "abc")))
      assert.equal(-errno.EBADMSG, ret)
      assert.equal(7, p.packet_id)
      assert.is_true(has(p, E.IPQ_HAS_PACKET_HDR))
    end)
  end

  it("gives mark 0 where there is none", function()
    local _, p = parse(m.packet(m.hdr(1)))
    assert.equal(0, p.mark)
  end)

  it("reads the timestamp", function()
    local ret, p = parse(m.packet(m.hdr(1) .. m.attr(m.TIMESTAMP, m.be64(1700000000) .. m.be64(999999))))
    assert.equal(0, ret)
    assert.equal(1700000000, tonumber(p.timestamp_sec))
    assert.equal(999999, tonumber(p.timestamp_usec))
  end)

  it("reads the hardware address", function()
    local ret, p = parse(m.packet(m.hdr(1) .. m.attr(m.HWADDR, m.be16(6) .. "\0\0" .. "abcdef\0\0")))
    assert.equal(0, ret)
    assert.equal(6, p.hw_addrlen)
    assert.equal("abcdef", ffi.string(p.hw_addr, 6))
  end)

  it("refuses a hardware address of more than 8 bytes", function()
    assert.equal(-errno.EBADMSG, (parse(m.packet(m.hdr(1) .. m.attr(m.HWADDR, m.be16(9) .. ("x"):rep(10))))))
  end)

  it("reads the VLAN tag from its nest", function()
    local nest = m.attr(1, m.be16(0x8100)) .. m.attr(2, m.be16(0x2064)) .. m.attr(9, "unknown")
    local ret, p = parse(m.packet(m.hdr(1) .. m.attr(m.VLAN + 0x8000, nest)))
    assert.equal(0, ret)
    assert.same({ 0x8100, 0x2064 }, { p.vlan_proto, p.vlan_tci })
  end)

  it("refuses a VLAN nest whose inside does not fit", function()
    assert.equal(-errno.EBADMSG, (parse(m.packet(m.hdr(1) .. m.attr(m.VLAN, m.attr(1, "x"))))))
    assert.equal(-errno.EBADMSG, (parse(m.packet(m.hdr(1) .. m.attr(m.VLAN, m.attr(1, "xx", 60))))))
  end)

  it("points to security context, link layer header and conntrack", function()
    local ret, p = parse(m.packet(m.hdr(1) .. m.attr(m.SECCTX, "sys:x") .. m.attr(m.L2HDR, ("e"):rep(14))
      .. m.attr(m.CT, m.attr(12, m.be32(77)))))
    assert.equal(0, ret)
    assert.equal("sys:x", ffi.string(p.secctx, p.secctx_len))
    assert.equal(("e"):rep(14), ffi.string(p.l2hdr, p.l2hdr_len))
    assert.equal(8, p.ct_len)
  end)

  it("skips attributes that it does not know", function()
    local ret, p = parse(m.packet(m.hdr(1) .. m.attr(22, "new") .. m.attr(300, "newer")
      .. m.attr(m.MARK, m.be32(5))))
    assert.equal(0, ret)
    assert.equal(5, p.mark)
  end)

  it("tells a truncated copy by NFQA_CAP_LEN", function()
    local ret, p = parse(m.simple(1, "1234", m.attr(m.CAP_LEN, m.be32(1500))))
    assert.equal(0, ret)
    assert.same({ 4, 1500 }, { p.data_len, p.len })
  end)

  it("refuses a NFQA_CAP_LEN below what was copied", function()
    assert.equal(-errno.EBADMSG, (parse(m.simple(1, "12345", m.attr(m.CAP_LEN, m.be32(4))))))
  end)

  it("refuses a message without NFQA_PACKET_HDR", function()
    local ret, p = parse(m.packet(m.attr(m.PAYLOAD, "x")))
    assert.equal(-errno.EBADMSG, ret)
    assert.is_false(has(p, E.IPQ_HAS_PACKET_HDR))
  end)

  it("leaves messages of other kinds alone", function()
    assert.equal(-errno.ENOMSG, (parse(m.packet(m.hdr(1), { type = 2 }))))
    assert.equal(-errno.ENOMSG, (parse(m.packet(m.hdr(1), { type = 0x0301 }))))
  end)

  it("tells a message that was cut off on its way, with its id", function()
    local message = m.simple(9, ("x"):rep(100))
    local ret, p = parse(message, #message - 50)
    assert.equal(-errno.EMSGSIZE, ret)
    assert.equal(9, p.packet_id)
  end)

  it("refuses lengths that lie", function()
    for _, length in ipairs { 0, 1, 3, 200, 65535 } do
      assert.equal(-errno.EBADMSG, (parse(m.packet(m.hdr(1) .. m.attr(m.MARK, m.be32(1), length)))))
    end
    assert.equal(-errno.EBADMSG, (parse(m.packet(m.hdr(1), { length = 16 }))))
  end)

  it("survives every prefix of a full message", function()
    local message = m.packet(m.hdr(1) .. m.attr(m.MARK, m.be32(1)) .. m.attr(m.HWADDR, m.be16(6)
      .. ("x"):rep(10)) .. m.attr(m.VLAN, m.attr(1, "ab")) .. m.attr(m.PAYLOAD, ("p"):rep(50)))
    for length = 0, #message - 1 do assert.is_true(parse(message, length) < 0) end
    assert.equal(0, (parse(message)))
  end)

  it("survives every message with one byte changed", function()
    local message = m.packet(m.hdr(1) .. m.attr(m.MARK, m.be32(1)) .. m.attr(m.HWADDR, m.be16(6)
      .. ("x"):rep(10)) .. m.attr(m.VLAN, m.attr(1, "ab")) .. m.attr(m.PAYLOAD, ("p"):rep(20)))
    for i = 1, #message do
      for _, byte in ipairs { 0, 1, 3, 127, 128, 255 } do
        local ret, p, bytes = parse(message:sub(1, i - 1) .. string.char(byte) .. message:sub(i + 1))
        if ret == 0 and has(p, E.IPQ_HAS_PAYLOAD) then
          assert.is_true(p.data >= bytes and p.data + p.data_len <= bytes + #message)
        end
      end
    end
  end)
end)

describe("ipq_conntrack_parse", function()
  local function conntrack(nest)
    local _, p, bytes = parse(m.packet(m.hdr(1) .. (nest and m.attr(m.CT, nest) or "")))
    local ct = ffi.new "struct ipq_conntrack"
    return C.ipq_conntrack_parse(p, ct), ct, bytes
  end

  it("reads id, mark, status, timeout and zone", function()
    local ret, ct = conntrack(m.attr(12, m.be32(1)) .. m.attr(8, m.be32(2)) .. m.attr(3, m.be32(3))
      .. m.attr(7, m.be32(4)) .. m.attr(18, m.be16(5)) .. m.attr(1, "tuple"))
    assert.equal(0, ret)
    assert.same({ 1, 2, 3, 4, 5 }, { ct.id, ct.mark, ct.status, ct.timeout, ct.zone })
    assert.equal(E.IPQ_CT_HAS_ID + E.IPQ_CT_HAS_MARK + E.IPQ_CT_HAS_STATUS + E.IPQ_CT_HAS_TIMEOUT
      + E.IPQ_CT_HAS_ZONE, ct.has)
  end)

  it("knows what is absent", function()
    local ret, ct = conntrack(m.attr(12, m.be32(1)))
    assert.equal(0, ret)
    assert.equal(E.IPQ_CT_HAS_ID, ct.has)
    assert.equal(-errno.ENOENT, (conntrack(nil)))
  end)

  -- linux/netfilter/nfnetlink_conntrack.h: CTA_TUPLE_IP, CTA_TUPLE_PROTO, and what is in them.
  local function tuple(kind, saddr, daddr, protocol, sport, dport)
    local first = #saddr == 4 and 1 or 3
    return m.attr(kind, m.attr(1, m.attr(first, saddr) .. m.attr(first + 1, daddr))
      .. m.attr(2, m.attr(1, string.char(protocol)) .. m.attr(2, m.be16(sport)) .. m.attr(3, m.be16(dport))))
  end
  local function fields(of)
    local size = of.ip_version == 4 and 4 or 16
    return { of.ip_version, of.protocol, of.sport, of.dport, ffi.string(of.saddr, size), ffi.string(of.daddr, size) }
  end

  it("reads who speaks to whom in both directions, before NAT", function()
    local six, other = ("6"):rep(16), ("7"):rep(16)
    local ret, ct = conntrack(tuple(1, "abcd", "efgh", 6, 1000, 80) .. tuple(2, six, other, 17, 53, 2000))
    assert.equal(0, ret)
    assert.equal(E.IPQ_CT_HAS_ORIGINAL + E.IPQ_CT_HAS_REPLY, ct.has)
    assert.same({ 4, 6, 1000, 80, "abcd", "efgh" }, fields(ct.original))
    assert.same({ 6, 17, 53, 2000, six, other }, fields(ct.reply))
  end)

  it("has no direction of which there is no address, and refuses what is malformed in one", function()
    for _, inside in ipairs { "", "x", m.attr(1, ""), m.attr(2, m.attr(1, "\6")), m.attr(9, "abcd") } do
      local ret, ct = conntrack(m.attr(1, inside) .. m.attr(12, m.be32(1)))
      assert.same({ 0, E.IPQ_CT_HAS_ID, 0 }, { ret, ct.has, ct.original.ip_version })
    end
    for _, inside in ipairs { m.attr(1, m.attr(1, "abc")), m.attr(1, m.attr(3, "abcde")), m.attr(1, m.attr(1, "")),
      m.attr(2, m.attr(2, "a")), m.attr(2, m.attr(1, "ab")) } do
      assert.equal(-errno.EBADMSG, (conntrack(m.attr(2, inside))))
    end
  end)

  -- A TCP packet of a connection behind NAT, and what its ends know: CT_INFO 0 is the original direction, 3 the reply.
  local function ends(info, saddr, daddr, sport, dport, more)
    local ip = "\69\0\0\40\0\0\0\0\64\6\0\0" .. saddr .. daddr .. m.be16(sport) .. m.be16(dport)
      .. ("\0"):rep(8) .. "\80\16" .. ("\0"):rep(6)
    local nest = tuple(1, "CCCC", "VVVV", 6, 1000, 80) .. tuple(2, "SSSS", "MMMM", 6, 8080, 2000)
    local _, p, bytes = parse(m.packet(m.hdr(1) .. m.attr(m.CT, more or nest) .. m.attr(m.CT_INFO, m.be32(info))
      .. m.attr(m.PAYLOAD, ip)))
    C.ipq_header_parse(p)
    local sender, receiver = ffi.new "struct ipq_tuple", ffi.new "struct ipq_tuple"
    local knows = { C.ipq_conntrack_sender(p, sender) ~= 0 and fields(sender),
      C.ipq_conntrack_receiver(p, receiver) ~= 0 and fields(receiver) }
    assert.truthy(bytes) -- which p has lain in
    return knows[1], knows[2]
  end

  it("answers a connection that the kernel keeps in its receiver's terms, others in the sender's", function()
    local nest = tuple(1, "CCCC", "VVVV", 6, 1000, 80) .. tuple(2, "SSSS", "MMMM", 6, 8080, 2000)
    local client, server = { 4, 6, 1000, 80, "CCCC", "VVVV" }, { 4, 6, 2000, 8080, "MMMM", "SSSS" }
    for status, expected in pairs { [0] = client, [8] = server } do -- IPS_CONFIRMED
      local ip = "\69\0\0\40\0\0\0\0\64\6\0\0CCCCSSSS" .. m.be16(1000) .. m.be16(8080) .. ("\0"):rep(8) .. "\80\16"
        .. ("\0"):rep(6)
      local _, p, bytes = parse(m.packet(m.hdr(1) .. m.attr(m.CT, nest .. m.attr(3, m.be32(status)))
        .. m.attr(m.CT_INFO, m.be32(0)) .. m.attr(m.PAYLOAD, ip)))
      C.ipq_header_parse(p)
      local answered = ffi.new "struct ipq_tuple"
      assert.equal(1, C.ipq_conntrack_answered(p, answered))
      assert.same(expected, fields(answered))
      assert.truthy(bytes) -- which p has lain in
    end
  end)

  it("knows both ends of a packet as each of them does", function()
    local client, server = { 4, 6, 1000, 80, "CCCC", "VVVV" }, { 4, 6, 2000, 8080, "MMMM", "SSSS" }
    local from_server, to_client = { 4, 6, 8080, 2000, "SSSS", "MMMM" }, { 4, 6, 80, 1000, "VVVV", "CCCC" }
    -- As it came, when its destination is translated, and when its source is, too.
    assert.same({ false, server }, { ends(0, "CCCC", "VVVV", 1000, 80) })
    assert.same({ client, server }, { ends(0, "CCCC", "SSSS", 1000, 8080) })
    assert.same({ client, false }, { ends(0, "MMMM", "SSSS", 2000, 8080) })
    assert.same({ false, to_client }, { ends(3, "SSSS", "MMMM", 8080, 2000) })
    assert.same({ from_server, to_client }, { ends(3, "SSSS", "CCCC", 8080, 1000) })
    assert.same({ from_server, false }, { ends(3, "VVVV", "CCCC", 80, 1000) })
  end)

  it("knows none of what belongs to another connection, or of another protocol", function()
    assert.same({ false, false }, { ends(1, "CCCC", "SSSS", 1000, 8080) }) -- an ICMP error's
    assert.same({ false, false }, { ends(7, "CCCC", "SSSS", 1000, 8080, "") })
    local udp = tuple(1, "CCCC", "VVVV", 17, 1000, 80) .. tuple(2, "SSSS", "MMMM", 17, 8080, 2000)
    assert.same({ false, false }, { ends(0, "CCCC", "SSSS", 1000, 8080, udp) })
  end)

  it("refuses a field of the wrong size", function()
    assert.equal(-errno.EBADMSG, (conntrack(m.attr(12, "abc"))))
    assert.equal(-errno.EBADMSG, (conntrack(m.attr(18, "abcd"))))
  end)
end)

describe("a length", function()
  it("that NFQA_CAP_LEN tells may be that of what was copied", function()
    local ret, p = parse(m.simple(1, "12345", m.attr(m.CAP_LEN, m.be32(5))))
    assert.equal(0, ret)
    assert.same({ 5, 5 }, { p.data_len, p.len })
  end)

  it("of a hardware address may be the 8 bytes that there are", function()
    local ret, p = parse(m.packet(m.hdr(1) .. m.attr(m.HWADDR, m.be16(8) .. "\0\0" .. "abcdefgh")))
    assert.equal(0, ret)
    assert.equal("abcdefgh", ffi.string(p.hw_addr, p.hw_addrlen))
  end)
end)

describe("what is told of a connection", function()
  it("is nothing of the one before", function()
    local ct = ffi.new "struct ipq_conntrack"
    local function read(nest)
      local _, p, bytes = parse(m.packet(m.hdr(1) .. (nest and m.attr(m.CT, nest) or "")))
      return C.ipq_conntrack_parse(p, ct), bytes
    end
    read(m.attr(12, m.be32(1)) .. m.attr(8, m.be32(2)) .. m.attr(18, m.be16(5)))
    assert.equal(0, (read(m.attr(8, m.be32(3)))))
    assert.same({ 0, 3, 0, E.IPQ_CT_HAS_MARK }, { ct.id, ct.mark, ct.zone, ct.has })
    assert.equal(-errno.ENOENT, (read(nil)))
    assert.same({ 0, 0 }, { ct.mark, ct.has })
  end)
end)
