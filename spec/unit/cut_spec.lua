-- Packets of which a capture has only the beginning (tcpdump -s), and those that no queue copies whole.
local ffi = require "ffi"
local batch = require "spec.support.batch"
local craft = require "spec.support.craft"
local m = require "spec.support.message"
local rewrite = require "spec.support.rewrite"

local C, E = rewrite.C, ffi.C
local put, be16 = craft.put, m.be16

local shared = batch.new {}

-- The first n of the bytes, in memory that ends with them; wire: how many there were.
local memory -- of the packet that came last
local function captured(bytes, n, wire)
  local version = math.floor(bytes:byte() / 16)
  batch.fill(shared, { m.packet(m.hdr(1, version == 6 and 0x86dd or 0x0800)
    .. m.attr(m.SKB_INFO, m.be32(4)) .. m.attr(m.PAYLOAD, bytes), { family = version == 6 and 10 or 2 }) })
  local packet = shared.packets[0]
  memory = rewrite.own(bytes:sub(1, n))
  packet.data, packet.data_len, packet.len, packet.cut = memory, n, wire or #bytes, E.IPQ_CUT_CAPTURE
  return packet
end

local function bytes_of(packet) return ffi.string(packet.data, packet.data_len) end
local function hex(bytes) return (bytes:gsub(".", function(c) return ("%02x "):format(c:byte()) end)) end
local function store(packet, at, bytes) assert.equal(0, C.ipq_rewrite_store(packet, at, bytes, #bytes)) end
local function set(packet, bytes) assert.equal(0, C.ipq_rewrite_set(packet, bytes, #bytes)) end

local function assert_finished(expected, packet, what)
  local wire = packet.len
  local ret = C.ipq_rewrite_finish(packet)
  if ret ~= 0 then error(("%s: %s"):format(what or "", ffi.string(C.ipq_rewrite_strerror(ret))), 2) end
  if expected ~= bytes_of(packet) then
    error(("%s:\nexpected %s\ngot      %s"):format(what or "", hex(expected), hex(bytes_of(packet))), 2)
  end
  assert.same({ 0, wire }, { packet.dirty, packet.len })
end

local function refused(error, packet, what)
  local before = bytes_of(packet)
  assert.equal(error, C.ipq_rewrite_finish(packet), what)
  assert.equal(hex(before), hex(bytes_of(packet)))
  assert.not_equal(0, packet.dirty)
end

local function new(name, version, body, more)
  local o = { random = rewrite.random(41), name = name, version = version, body = body or ("hello, world"):rep(5) }
  for key, value in pairs(more or {}) do o[key] = value end
  return craft.packet(o)
end

local function header(p) return p.version == 4 and p.bytes:byte() % 16 * 4 or 40 end

describe("A packet that a capture has cut off", function()
  -- What becomes of the whole packet, wrong checksums included, as long as n bytes of it are.
  local function whole(bytes, stores)
    local packet = captured(bytes, #bytes)
    for _, s in ipairs(stores) do store(packet, s[1], s[2]) end
    assert.equal(0, C.ipq_rewrite_finish(packet))
    return bytes_of(packet)
  end

  it("becomes what the whole packet becomes, cut off, for many random changes", function()
    local random = rewrite.random(42)
    local made, cannot = 0, 0
    for round = 1, 8000 do
      local p = craft.random(random)
      local wrong = p.kind.field and random.number(0, 3) == 0
      local bytes = wrong and put(p.bytes, p.l4 + p.kind.field, "\1\2") or p.bytes
      local n = random.pick { random.number(header(p), #bytes - 1), random.number(p.l4, p.body) }
      if n == #bytes then n = n - 1 end
      local stores, after = {}, bytes
      for _ = 1, random.number(1, 3) do
        local at, text = craft.random_store(random, p, after:sub(1, n))
        stores[#stores + 1] = { at, text }
        after = put(after, at, text)
      end
      local expected = whole(bytes, stores):sub(1, n)
      local packet = captured(bytes, n)
      for _, s in ipairs(stores) do store(packet, s[1], s[2]) end
      local is_computed = p.kind.protocol == 132 and n >= p.l4 + 12 and after:sub(p.l4 + 1) ~= bytes:sub(p.l4 + 1)
      if is_computed then
        cannot = cannot + 1
        refused(E.IPQ_REWRITE_CUT, packet)
      else
        -- Half of a checksum, or of a CRC32c, stays.
        local field = p.kind.field and p.l4 + p.kind.field
        local size = p.kind.protocol == 132 and 4 or 2
        if field and n > field and n < field + size then expected = put(expected, field, bytes:sub(field + 1, n)) end
        made = made + 1
        assert_finished(expected, packet, ("round %d, %d of %d bytes"):format(round, n, #bytes))
      end
    end
    assert.is_true(made > 7000 and cannot > 50)
  end)

  it("is changed where bytes of the same number are returned, and not where the same are", function()
    local random = rewrite.random(43)
    for _, name in ipairs { "tcp", "udp", "icmp", "gre_sum", "dccp", "udplite_part" } do
      local p = new(name, 4)
      for n = p.l4, #p.bytes - 1 do
        local at, text = craft.random_store(random, p, p.bytes:sub(1, n))
        local expected = whole(p.bytes, { { at, text } }):sub(1, n)
        local packet = captured(p.bytes, n)
        set(packet, p.bytes:sub(1, n))
        assert.same({ 0, 0, n, #p.bytes }, { packet.set, packet.dirty, packet.data_len, packet.len })
        set(packet, put(p.bytes, at, text):sub(1, n))
        if n ~= p.l4 + p.kind.field + 1 then assert_finished(expected, packet, name .. n) end
      end
    end
  end)

  it("keeps its lengths, whatever they say", function()
    for _, case in ipairs { { "\0\0", 100 }, { "\0\70", 100 }, { "\1\0", 100 }, { "\0\100", 9000 } } do
      local p = new("tcp", 4, ("x"):rep(60))
      local bytes = put(p.bytes, 2, case[1])
      local packet = captured(bytes, 60, case[2])
      store(packet, 8, "\3")
      store(packet, p.l4, "\9\9")
      assert.equal(E.IPQ_DIRTY_FIELDS + E.IPQ_DIRTY_TRANSPORT, packet.dirty)
      local expected = craft.complete(p, put(put(p.bytes, 8, "\3"), p.l4, "\9\9"))
      expected = put(put(expected, 2, case[1]), 10, "\0\0")
      expected = put(expected, 10, be16(rewrite.checksum(expected:sub(1, p.l4))))
      assert_finished(expected:sub(1, 60), packet)
    end
  end)

  it("is whole where only the padding behind it is cut off", function()
    local p = new("tcp", 4, "x")
    local packet = captured(p.bytes .. ("\0"):rep(20), #p.bytes + 3)
    C.ipq_rewrite_replace(packet, #p.bytes, 0, "more", 4)
    assert.equal(0, C.ipq_rewrite_finish(packet))
    assert.equal(craft.complete(p, p.bytes .. "more"), bytes_of(packet))
  end)

  it("may be a first fragment, as one that is not cut off", function()
    for _, version in ipairs { 4, 6 } do
      local p = new("udp", version, nil, { extension = "atomic" })
      local bytes = version == 4 and put(p.bytes, 6, "\x20\0") or put(p.bytes, 42, "\0\1")
      local at = version == 4 and 12 or 8
      for n = p.l4, #bytes - 1 do
        local packet = captured(bytes, n)
        store(packet, at, "\1\2\3\4")
        local expected = craft.complete(p, put(p.bytes, at, "\1\2\3\4"))
        if version == 4 then
          expected = put(put(expected, 6, "\x20\0"), 10, "\0\0")
          expected = put(expected, 10, be16(rewrite.checksum(expected:sub(1, 20))))
        else
          expected = put(expected, 42, "\0\1")
        end
        if n ~= p.l4 + 7 then assert_finished(expected:sub(1, n), packet, "of " .. n) end
      end
      local packet = captured(bytes, p.body + 2)
      store(packet, p.l4 + 6, "\1\2")
      refused(E.IPQ_REWRITE_CUT, packet)
    end
  end)

  it("keeps the addresses of a later fragment changeable, and its bytes not", function()
    local p = new("udp", 4)
    local packet = captured(put(p.bytes, 6, "\0\1"), 40)
    store(packet, 12, "\1\2")
    assert.equal(0, C.ipq_rewrite_finish(packet))
    store(packet, 30, "\1\2")
    refused(E.IPQ_REWRITE_FRAGMENT, packet)
  end)

  it("keeps a UDP checksum of 0 over IPv4, and is refused where IPv6 would need one", function()
    local p = new("udp_without", 4)
    local packet = captured(p.bytes, p.body + 4)
    store(packet, p.body, "J")
    assert_finished(put(p.bytes, p.body, "J"):sub(1, p.body + 4), packet)
    p = new("udp", 6)
    packet = captured(put(p.bytes, p.l4 + 6, "\0\0"), p.body + 4)
    store(packet, p.body, "J")
    refused(E.IPQ_REWRITE_CUT, packet)
  end)

  local tcp, sctp, routed = new("tcp", 4), new("sctp", 6), new("tcp", 6, nil, { extension = "routing2" })
  local cases = {
    ["growing"] = { tcp, 60, function(packet) C.ipq_rewrite_replace(packet, 50, 0, "x", 1) end },
    ["shrinking"] = { tcp, 60, function(packet) C.ipq_rewrite_replace(packet, 50, 2, "", 0) end },
    ["another IP length"] = { tcp, 60, function(packet) store(packet, 2, "\0\50") end },
    ["another IPv4 header length"] = { tcp, 60, function(packet) store(packet, 0, "\x46") end },
    ["another protocol"] = { tcp, 60, function(packet) store(packet, 9, "\17") end },
    ["another data offset"] = { tcp, 60, function(packet) store(packet, 32, "\x50") end },
    ["the same where the header is not all there"] = { tcp, 36, function(packet) store(packet, 32, "\x40") end },
    ["the checksum's own bytes"] = { tcp, 60, function(packet) store(packet, 36, "\1\2") end },
    ["bytes under a CRC32c"] = { sctp, 60, function(packet) store(packet, 56, "\1") end },
    ["an extension header"] = { routed, 70, function(packet) store(packet, 44, "\5") end },
    ["one that is cut off"] = { routed, 54, function(packet) store(packet, 44, "\5") end },
    ["an IP header that is cut off"] = { tcp, 19, function(packet) store(packet, 8, "\5") end },
  }
  for what, case in pairs(cases) do
    it("is refused: " .. what, function()
      local packet = captured(case[1].bytes, case[2])
      case[3](packet)
      refused(E.IPQ_REWRITE_CUT, packet)
    end)
  end

  it("says that it is the capture which has cut it off, and not the queue", function()
    local text = ffi.string(C.ipq_rewrite_strerror(E.IPQ_REWRITE_CUT))
    assert.matches("^the capture has only a part of the packet %(its snapshot length%): .*keep the length", text)
    local packet = captured(tcp.bytes, 30)
    C.ipq_header_parse(packet)
    text = ffi.string(C.ipq_header_strmalformed(packet.malformed))
    assert.matches("^the capture has only a part of the packet", text)
    assert.equal(E.IPQ_MALFORMED_CAPTURE, packet.malformed)
    packet.cut = E.IPQ_CUT_QUEUE
    C.ipq_header_parse(packet)
    assert.equal(E.IPQ_MALFORMED_COPY, packet.malformed)
    store(packet, 8, "\3")
    refused(E.IPQ_REWRITE_TRUNCATED, packet)
  end)

  it("is whole once it was made of other bytes, as many as there are not", function()
    local packet = captured(tcp.bytes, 60)
    set(packet, tcp.bytes .. "more")
    assert.equal(0, C.ipq_rewrite_finish(packet))
    assert.equal(craft.complete(tcp, tcp.bytes .. "more"), bytes_of(packet))
    assert.equal(packet.data_len, packet.len)
  end)
end)

describe("A packet that the queue has cut off", function()
  local function arrive(len)
    local p = new("tcp", 4)
    batch.fill(shared, { m.packet(m.hdr(1, 0x0800) .. m.attr(m.CAP_LEN, m.be32(len)) .. m.attr(m.PAYLOAD, p.bytes),
      { family = 2 }) })
    return shared.packets[0], p
  end

  it("names what copies it whole, or that nothing does", function()
    for len, error in pairs { [1500] = E.IPQ_REWRITE_TRUNCATED, [65531] = E.IPQ_REWRITE_TRUNCATED,
      [65532] = E.IPQ_REWRITE_MOST, [200000] = E.IPQ_REWRITE_MOST } do
      local packet = arrive(len)
      store(packet, 8, "\3")
      refused(error, packet)
    end
    assert.matches("%-%-copy%-range", ffi.string(C.ipq_rewrite_strerror(E.IPQ_REWRITE_TRUNCATED)))
    assert.matches("%-%-no%-gso", ffi.string(C.ipq_rewrite_strerror(E.IPQ_REWRITE_MOST)))
  end)

  it("is cut by the queue again after a larger one", function()
    for _, len in ipairs { 200000, 1500 } do
      assert.equal(len == 1500 and E.IPQ_CUT_QUEUE or E.IPQ_CUT_MOST, (arrive(len)).cut)
    end
  end)

  it("is whole where its bytes are returned", function()
    local packet, p = arrive(1500)
    set(packet, p.bytes)
    assert_finished(p.bytes, packet)
    assert.equal(#p.bytes, packet.len)
  end)
end)
