-- Checksums that came wrong, and those that a network card was to finish: the packet's own or that of one inside of it.
local ffi = require "ffi"
local batch = require "spec.support.batch"
local craft = require "spec.support.craft"
local m = require "spec.support.message"
local packets = require "spec.support.packet"
local rewrite = require "spec.support.rewrite"
local tunnel = require "spec.support.tunnel"

local C, E = rewrite.C, ffi.C
local put, be16, u16 = craft.put, m.be16, craft.u16
local NOT_READY, GSO, NOT_VERIFIED = 1, 3, 4
local PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING = 0, 1, 2, 3, 4

local shared = batch.new {}

-- The bytes as a packet of the kernel with that skb_info. It ends with the next one.
local function arrive(bytes, info, hook)
  local version = math.floor(bytes:byte() / 16)
  local header = m.hdr(1, version == 6 and 0x86dd or 0x0800, hook or OUTPUT)
  batch.fill(shared, { m.packet(header .. m.attr(m.SKB_INFO, m.be32(info)) .. m.attr(m.PAYLOAD, bytes),
    { family = version == 6 and 10 or 2 }) })
  return shared.packets[0]
end

local function bytes_of(packet) return ffi.string(packet.data, packet.data_len) end
local function store(packet, at, bytes) assert.equal(0, C.ipq_rewrite_store(packet, at, bytes, #bytes)) end
local function replace(packet, at, len, bytes)
  assert.equal(0, C.ipq_rewrite_replace(packet, at, len, bytes, #bytes))
end
local function set(packet, bytes) assert.equal(0, C.ipq_rewrite_set(packet, bytes, #bytes)) end

local function hex(bytes) return (bytes:gsub(".", function(c) return ("%02x "):format(c:byte()) end)) end

local function assert_finished(expected, packet)
  local ret = C.ipq_rewrite_finish(packet)
  if ret ~= 0 then error(ffi.string(C.ipq_rewrite_strerror(ret)), 2) end
  assert.equal(hex(expected), hex(bytes_of(packet)))
end

local function refused(error, packet)
  local before = bytes_of(packet)
  assert.equal(error, C.ipq_rewrite_finish(packet))
  assert.equal(hex(before), hex(bytes_of(packet)))
end

local new, tunneled = tunnel.packet, tunnel.around

describe("A checksum that came wrong", function()
  local kinds = { "tcp", "udp", "udplite", "dccp", "icmp", "gre_sum", "sctp" }
  local LENGTH = { [4] = 2, [6] = 4 }

  -- By how much it is wrong: modulo 65535, or which bits.
  local function wrong_by(p, bytes)
    local at = p.l4 + p.kind.field
    local right = craft.complete(p, bytes)
    if p.kind.protocol == 132 then
      return require "bit".bxor(u16(bytes, at), u16(right, at)) * 65536 + require "bit".bxor(u16(bytes, at + 2),
        u16(right, at + 2))
    end
    return (u16(bytes, at) - u16(right, at)) % 0xffff
  end

  -- change(packet, p): what a filter does
  local changes = {
    ["stays as wrong where its packet grows"] = function(packet, p) replace(packet, p.body + 2, 1, "longer") end,
    ["stays as wrong where its packet shrinks"] = function(packet, p) replace(packet, p.body, 4, "") end,
    ["stays as wrong where bytes change and then the size"] = function(packet, p)
      store(packet, p.body, "HELLO")
      store(packet, p.version == 4 and 12 or 8, "\9\8\7\6")
      replace(packet, p.body + 1, 0, "x")
    end,
    ["stays as wrong where its packet is returned as bytes"] = function(packet)
      set(packet, bytes_of(packet))
    end,
    ["stays as wrong where one byte of its payload is written"] = function(packet, p) store(packet, p.body, "J") end,
    ["stays as wrong where a length is assigned"] = function(packet, p)
      store(packet, LENGTH[p.version], "\1\1")
    end,
  }
  for name, change in pairs(changes) do
    it(name, function()
      for _, kind in ipairs(kinds) do
        for _, version in ipairs(kind == "icmp" and { 4 } or { 4, 6 }) do
          for _, damage in ipairs { "\1\2", "\xfe\xff" } do
            local p = new(kind, version)
            local field = p.bytes:sub(p.l4 + p.kind.field + 1, p.l4 + p.kind.field + 2)
            if field == damage then damage = "\1\3" end
            local bytes = put(p.bytes, p.l4 + p.kind.field, damage)
            local wrong = wrong_by(p, bytes)
            local packet = arrive(bytes, NOT_VERIFIED, PREROUTING)
            change(packet, p)
            assert.equal(0, C.ipq_rewrite_finish(packet))
            assert.equal(wrong, wrong_by(p, bytes_of(packet)), ("%s over IPv%d"):format(kind, version))
          end
        end
      end
    end)
  end

  it("stays as wrong where IPv4 options are assigned", function()
    local p = new("tcp", 4)
    local packet = arrive(put(p.bytes, p.l4 + 16, "\1\2"), NOT_VERIFIED, FORWARD)
    local wrong = wrong_by(p, put(p.bytes, p.l4 + 16, "\1\2"))
    replace(packet, 20, 0, "\148\4\0\0")
    store(packet, 0, "\x46")
    assert.equal(0, C.ipq_rewrite_finish(packet))
    p.l4, p.body = p.l4 + 4, p.body + 4
    assert.equal(wrong, wrong_by(p, bytes_of(packet)))
  end)

  it("stays as wrong where its packet is changed again after it was finished", function()
    local p = new("tcp", 4)
    local bytes = put(p.bytes, p.l4 + 16, "\1\2")
    local packet = arrive(bytes, NOT_VERIFIED, FORWARD)
    for _ = 1, 3 do
      replace(packet, p.body, 0, "more")
      assert.equal(0, C.ipq_rewrite_finish(packet))
      assert.equal(wrong_by(p, bytes), wrong_by(p, bytes_of(packet)))
    end
  end)

  it("is right where it came right, and where the kernel has found it right or has it not yet", function()
    for _, kind in ipairs(kinds) do
      local p = new(kind, 4)
      for _, case in ipairs { { p.bytes, NOT_VERIFIED }, { put(p.bytes, p.l4 + p.kind.field, "\1\2"), 0 },
        not craft.carries(p) and { craft.unready(p), NOT_READY + NOT_VERIFIED } or nil } do
        local packet = arrive(case[1], case[2], FORWARD)
        replace(packet, p.body, 5, "HELLO!")
        assert_finished(craft.complete(p, p.bytes:sub(1, p.body) .. "HELLO!" .. p.bytes:sub(p.body + 6)), packet)
      end
    end
  end)

  it("is not made of a right one that comes to 0", function()
    local p = new("tcp", 4, "\0\0..0123")
    local rest = 0xffff - u16(p.bytes, p.l4 + 16)
    p.bytes = craft.complete(p, put(p.bytes, p.body + 2, be16((0x2e2e + 0xffff - rest) % 0xffff)))
    assert.equal(0, u16(p.bytes, p.l4 + 16))
    local packet = arrive(craft.complete(p, put(p.bytes, p.body, "ab")), NOT_VERIFIED, FORWARD)
    set(packet, p.bytes)
    assert_finished(p.bytes, packet)
  end)

  it("is none where UDP over IPv6 has none, which gets one", function()
    local p = new("udp", 6)
    local packet = arrive(put(p.bytes, p.l4 + 6, "\0\0"), NOT_VERIFIED, FORWARD)
    replace(packet, p.body, 0, "more")
    assert_finished(craft.complete(p, p.bytes:sub(1, p.body) .. "more" .. p.bytes:sub(p.body + 1)), packet)
  end)

  it("is none where UDP has none", function()
    local p = new("udp_without", 4)
    local packet = arrive(p.bytes, NOT_VERIFIED, FORWARD)
    replace(packet, p.body, 0, "more")
    assert_finished(craft.complete(p, p.bytes:sub(1, p.body) .. "more" .. p.bytes:sub(p.body + 1)), packet)
  end)
end)

describe("A large UDP packet that the kernel cuts into segments", function()
  for _, version in ipairs { 4, 6 } do
    local p = new("udp", version, ("0123456789"):rep(300))
    local function changed(hook, info)
      local packet = arrive(craft.unready(p), info or GSO, hook)
      store(packet, version == 4 and 8 or 7, "\33")
      return packet
    end
    local expected = craft.segmented(p, craft.complete(p, put(p.bytes, version == 4 and 8 or 7, "\33")))

    it("has the sum of the pseudo-header as its checksum, IPv" .. version, function()
      for _, hook in ipairs { FORWARD, OUTPUT, POSTROUTING } do
        local packet = changed(hook)
        assert_finished(expected, packet)
        assert.equal(E.IPQ_SET_PAYLOAD + E.IPQ_SET_SEGMENTED, packet.set)
      end
    end)

    it("has that of what changed, IPv" .. version, function()
      local packet = arrive(craft.unready(p), GSO)
      store(packet, p.l4, "\4\210")
      store(packet, version == 4 and 12 or 8, "\9\9")
      replace(packet, p.body, 0, "longer")
      local bytes = put(put(p.bytes, p.l4, "\4\210"), version == 4 and 12 or 8, "\9\9")
      bytes = bytes:sub(1, p.body) .. "longer" .. bytes:sub(p.body + 1)
      assert_finished(craft.segmented(p, craft.complete(p, bytes)), packet)
    end)

    it("is refused on its way to a socket here, or nobody knows where, IPv" .. version, function()
      refused(E.IPQ_REWRITE_GSO, changed(INPUT))
      refused(E.IPQ_REWRITE_GSO, changed(PREROUTING))
      assert.matches("%-%-no%-gso", ffi.string(C.ipq_rewrite_strerror(E.IPQ_REWRITE_GSO)))
    end)

    it("is no such packet where it is small, IPv" .. version, function()
      for _, hook in ipairs { INPUT, PREROUTING, OUTPUT } do
        assert_finished(craft.complete(p, put(p.bytes, version == 4 and 8 or 7, "\33")), changed(hook, NOT_READY))
      end
    end)
  end

  it("is TCP everywhere, whose checksum the kernel makes anew", function()
    local p = new("tcp", 4)
    for hook = PREROUTING, POSTROUTING do
      local packet = arrive(craft.unready(p), GSO, hook)
      store(packet, 8, "\33")
      assert_finished(craft.complete(p, put(p.bytes, 8, "\33")), packet)
      assert.equal(E.IPQ_SET_PAYLOAD, packet.set)
    end
  end)

  it("is refused if it is SCTP, whose pieces are not of one size", function()
    local p = new("sctp", 4)
    for hook = PREROUTING, POSTROUTING do
      local packet = arrive(put(p.bytes, p.l4 + 8, "\0\0\0\0"), GSO, hook)
      store(packet, 8, "\33")
      refused(E.IPQ_REWRITE_GSO, packet)
    end
  end)
end)

describe("An unfinished checksum inside of a tunnel", function()
  local function each(call)
    for _, name in ipairs(tunnel.names) do
      for _, outer in ipairs { 4, 6 } do
        for _, version in ipairs { 4, 6 } do
          for _, kind in ipairs { "tcp", "udp", "sctp" } do
            if not (name == "VXLAN without a checksum" and outer == 6) then
              local inner = new(kind, version, "inside of it")
              local p, at, came = tunneled(name, outer, inner)
              local ok, why = pcall(call, p, at, came, inner)
              local what = ("%s over IPv%d, %s over IPv%d"):format(name, outer, kind, version)
              if not ok then error(("%s: %s"):format(what, tostring(why)), 0) end
            end
          end
        end
      end
    end
  end

  local function hops(p) return p.version == 4 and 8 or 7 end

  it("is finished where the packet around it changes", function()
    each(function(p, _, came)
      local packet = arrive(came, NOT_READY, FORWARD)
      store(packet, hops(p), "\33")
      assert_finished(craft.complete(p, put(p.bytes, hops(p), "\33")), packet)
    end)
  end)

  it("is that of what the inner packet has become", function()
    each(function(p, at, came, inner)
      local packet = arrive(came, NOT_READY, FORWARD)
      store(packet, at + inner.body, "INSIDE")
      local changed = craft.complete(inner, put(inner.bytes, inner.body, "INSIDE"))
      assert_finished(craft.complete(p, p.bytes:sub(1, at) .. changed), packet)
    end)
  end)

  it("is finished where the tunnel's own, over IPv6, is none (RFC 6935)", function()
    local p, _, came = tunneled("VXLAN", 6, new("tcp", 4))
    for _, info in ipairs { NOT_READY, GSO } do
      local packet = arrive(put(came, p.l4 + 6, "\0\0"), info, FORWARD)
      store(packet, 7, "\33")
      assert_finished(put(put(p.bytes, 7, "\33"), p.l4 + 6, "\0\0"), packet)
    end
  end)

  it("is found again where the bytes in front of it have moved", function()
    local inner = new("tcp", 4)
    local p, _, came = tunneled("VXLAN", 4, inner)
    local packet = arrive(came, NOT_READY, FORWARD)
    replace(packet, 20, 0, "\148\4\0\0")
    store(packet, 0, "\x46")
    p.l4 = 24
    local bytes = "\x46" .. p.bytes:sub(2, 20) .. "\148\4\0\0" .. p.bytes:sub(21)
    assert_finished(craft.complete(p, bytes), packet)
  end)

  it("is finished in a tunnel within a tunnel", function()
    local innermost = new("tcp", 6)
    local inner, inner_at, inner_came = tunneled("GRE", 4, innermost)
    inner.kind.field = 0
    for _, name in ipairs { "VXLAN", "IP in IP" } do
      local middle = { version = 4, kind = { protocol = 47, keys = {}, field = 0 }, l4 = 20, destination = 16,
        bytes = inner.bytes }
      local p, at = tunneled(name, 4, middle)
      local came = put(p.bytes, at, inner_came)
      local packet = arrive(came, NOT_READY, OUTPUT)
      store(packet, 8, "\33")
      assert_finished(craft.complete(p, put(p.bytes, 8, "\33")), packet)
      assert.equal(at + inner_at, packet.inner)
    end
  end)

  it("is the sum of a pseudo-header where UDP is to be cut into segments, and so is the tunnel's", function()
    for _, case in ipairs { { "udp", FORWARD }, { "udp", OUTPUT }, { "tcp", POSTROUTING } } do
      local inner = new(case[1], 4)
      local p, at, came = tunneled("VXLAN", 4, inner)
      came = put(came, p.l4 + 6, be16(craft.pseudo(p, p.bytes)))
      local packet = arrive(came, GSO, case[2])
      store(packet, 8, "\33")
      local expected = craft.complete(p, put(p.bytes, 8, "\33"))
      if case[1] == "udp" then expected = put(expected, at + inner.l4 + 6, be16(craft.pseudo(inner, inner.bytes))) end
      assert_finished(put(expected, p.l4 + 6, be16(craft.pseudo(p, p.bytes))), packet)
      assert.equal(E.IPQ_SET_PAYLOAD + (case[1] == "udp" and E.IPQ_SET_SEGMENTED or 0), packet.set)
    end
  end)

  it("is complete on the way to a tunnel's end here, and refused where UDP is to be cut for a socket", function()
    local p, _, came = tunneled("VXLAN", 4, new("tcp", 4))
    came = put(came, p.l4 + 6, be16(craft.pseudo(p, p.bytes)))
    local packet = arrive(came, GSO, INPUT)
    store(packet, 8, "\33")
    assert_finished(craft.complete(p, put(p.bytes, 8, "\33")), packet)
    packet = arrive(came, GSO, PREROUTING)
    store(packet, 8, "\33")
    refused(E.IPQ_REWRITE_GSO, packet)
    for _, hook in ipairs { INPUT, PREROUTING } do
      _, _, came = tunneled("IP in IP", 4, new("udp", 4))
      packet = arrive(came, GSO, hook)
      store(packet, 8, "\33")
      refused(E.IPQ_REWRITE_GSO, packet)
    end
    p, _, came = tunneled("IP in IP", 4, new("tcp", 4))
    packet = arrive(came, GSO, PREROUTING)
    store(packet, 8, "\33")
    assert_finished(craft.complete(p, put(p.bytes, 8, "\33")), packet)
  end)

  it("moves with its packet where bytes are put right in front of that", function()
    local p, at, came = tunneled("IP in IP", 4, new("tcp", 4))
    local packet = arrive(came, NOT_READY, FORWARD)
    replace(packet, at, 0, "\148\4\0\0")
    store(packet, 0, "\x46")
    p.l4 = 24
    assert_finished(craft.complete(p, "\x46" .. p.bytes:sub(2, 20) .. "\148\4\0\0" .. p.bytes:sub(21)), packet)
    -- A tunnel around it: there the unfinished one is behind the header that was put in.
    packet = arrive(came, NOT_READY, FORWARD)
    replace(packet, at, 0, packets.ip(4, "", { length = 20 + #came - at }))
    assert.equal(0, C.ipq_rewrite_finish(packet))
    assert.equal(p.bytes:sub(at + 1), bytes_of(packet):sub(at + 21))
    packet = arrive(came, GSO, FORWARD)
    replace(packet, at, 0, "\148\4\0\0")
    refused(E.IPQ_REWRITE_INNER, packet)
  end)

  it("is the packet's own where its bytes are set that carry none", function()
    local inner = new("udp", 4, packets.ip(17, packets.udp "fake") .. "more")
    local _, at, came = tunneled("VXLAN", 4, inner)
    for _, body in ipairs { inner.bytes, new("tcp", 4).bytes } do
      local packet = arrive(came, NOT_READY, FORWARD)
      set(packet, body)
      assert_finished(body, packet)
    end
    -- One that carries it where it was goes on, one that carries another is refused.
    local packet = arrive(came, NOT_READY, FORWARD)
    set(packet, put(came, 8, "\33"))
    assert.equal(0, C.ipq_rewrite_finish(packet))
    assert.equal(inner.bytes, bytes_of(packet):sub(at + 1))
    local other = tunneled("GENEVE with options", 4, inner)
    packet = arrive(came, NOT_READY, FORWARD)
    set(packet, other.bytes)
    refused(E.IPQ_REWRITE_INNER, packet)
  end)

  it("is the packet's own where only a part of it was copied, which is made whole", function()
    local p = new("udp", 4, ("x"):rep(80))
    for _, n in ipairs { 60, 28, 19 } do
      for _, info in ipairs { NOT_READY, GSO } do
        batch.fill(shared, { m.packet(m.hdr(1, 0x0800, OUTPUT) .. m.attr(m.SKB_INFO, m.be32(info))
          .. m.attr(m.CAP_LEN, m.be32(#p.bytes)) .. m.attr(m.PAYLOAD, craft.unready(p):sub(1, n)), { family = 2 }) })
        local packet = shared.packets[0]
        set(packet, p.bytes)
        assert.equal(n < 20, require "bit".band(packet.set, E.IPQ_SET_LAYOUT) ~= 0)
        assert_finished(info == GSO and craft.segmented(p, p.bytes) or p.bytes, packet)
      end
    end
  end)

  it("refuses what is not known here, or is gone", function()
    local inner = new("tcp", 4)
    local p, at, came = tunneled("VXLAN", 4, inner)
    local function changed(bytes, change)
      local packet = arrive(bytes, NOT_READY, FORWARD)
      store(packet, 8, "\33")
      if change then change(packet) end
      refused(E.IPQ_REWRITE_INNER, packet)
    end
    changed(put(came, p.body, "\0"))                       -- no VXLAN header
    changed(put(came, at + 2, "\0\21"))                    -- the inner packet ends within its header
    changed(new("udp_without", 4, came:sub(p.body + 1) .. "more").bytes) -- or before the one around it
    changed(put(p.bytes, at + inner.body, "H"))            -- nothing in it is unfinished, and it is not right either
    changed(packets.ip(50, ("e"):rep(40)))                 -- encrypted
    local geneve, _, of_it = tunneled("GENEVE", 4, inner)
    changed(put(of_it, geneve.body, "\x40"))               -- a GENEVE of another version
    changed(came, function(packet) replace(packet, p.body + 2, #came - p.body - 2, "") end)
    changed(came, function(packet) store(packet, at, "\0") end)
    assert.matches("inside of this one.*%-%-no%-gso", ffi.string(C.ipq_rewrite_strerror(E.IPQ_REWRITE_INNER)))
  end)

  it("is none where the checksum of UDP is right as it is", function()
    local p = new("udp", 4)
    local packet = arrive(p.bytes, NOT_READY, FORWARD)
    store(packet, p.body, "H")
    assert_finished(craft.complete(p, put(p.bytes, p.body, "H")), packet)
  end)

  it("refuses to move what segmentation would look for where it was", function()
    local inner = new("tcp", 4)
    local _, _, came = tunneled("VXLAN without a checksum", 4, inner)
    local packet = arrive(came, GSO, OUTPUT)
    replace(packet, 20, 0, "\148\4\0\0")
    store(packet, 0, "\x46")
    refused(E.IPQ_REWRITE_INNER, packet)
    packet = arrive(came, GSO, OUTPUT)
    replace(packet, #came, 0, "more") -- behind it
    assert.equal(0, C.ipq_rewrite_finish(packet))
  end)
end)

describe("A packet whose headers are laid out anew", function()
  local v4 = new("tcp", 4, "hello", { ip_options = "\1\1\1\0" })
  local v6 = new("tcp", 6, "hello", { extension = "options" })
  local unknown6 = new("unknown", 6, "hello", { extension = "options" })
  local function lays_out(p, change, family)
    local packet = arrive(p.bytes, 0)
    if family then packet.family = family end
    change(packet, p)
    return packet.set ~= E.IPQ_SET_PAYLOAD
  end
  local function stores(at, bytes) return function(packet) store(packet, at, bytes) end end
  local function replaces(at, len, bytes) return function(packet) replace(packet, at, len, bytes) end end

  local does = {
    ["an IPv4 option"] = { v4, stores(20, "\148") },
    ["an IPv4 option more"] = { v4, replaces(24, 0, "\1\1\1\1"), true },
    ["IPv4 options taken away"] = { v4, replaces(20, 4, "") },
    ["IPv4's header length"] = { v4, stores(0, "\x45") },
    ["MF"] = { v4, stores(6, "\x20") },
    ["a fragment's offset"] = { v4, stores(7, "\1") },
    ["an extension header"] = { v6, stores(44, "\5") },
    ["the next header"] = { v6, stores(6, "\17") },
    ["an extension header more"] = { v6, replaces(40, 0, "\60\0\1\4\0\0\0\0") },
    ["bytes with other headers"] = { v6, function(packet) set(packet, new("tcp", 6, "hello").bytes) end },
    ["bytes of less than the headers"] = { v6, function(packet) set(packet, ("x"):rep(45)) end },
    ["a bridge's TTL"] = { v4, stores(8, "\9"), family = 7 },
    ["a bridge's payload"] = { v4, replaces(44, 1, "xx"), family = 7 },
  }
  for what, case in pairs(does) do
    it("says so: " .. what, function()
      -- What is put behind the last option is the transport's, until the header's length says more.
      if case[3] then
        assert.is_true(lays_out(case[1], function(packet) case[2](packet) store(packet, 0, "\x47") end))
      else
        assert.is_true(lays_out(case[1], case[2], case.family))
      end
    end)
  end

  local does_not = {
    TTL = { v4, stores(8, "\9") },
    DF = { v4, function(packet, p) store(packet, 6, p.bytes:byte(7) == 0 and "\x40" or "\0") end },
    id = { v4, stores(4, "\9\9") },
    addresses = { v4, stores(12, "\9\9\9\9\8\8\8\8") },
    lengths = { v4, stores(2, "\1\1") },
    ports = { v6, stores(48 + 8, "\9\9\8\8") }, ["hop limit"] = { v6, stores(7, "\9") },
    ["the payload"] = { v6, function(packet, p) replace(packet, p.body, 2, "longer") end },
    ["TCP options"] = { v4, function(packet, p)
      replace(packet, p.l4 + 20, 0, "\1\1\1\1")
      store(packet, p.l4 + 12, "\x60")
    end },
    ["what follows an unknown protocol"] = { unknown6, function(packet, p) store(packet, p.l4, "H") end },
    ["a longer one of an unknown protocol"] = { unknown6, function(packet, p) replace(packet, p.l4, 1, "HH") end },
    ["bytes with the same headers"] = { v6, function(packet, p) set(packet, p.bytes .. "more") end },
  }
  for what, case in pairs(does_not) do
    it("is none where this changes: " .. what, function() assert.is_false(lays_out(case[1], case[2])) end)
  end
end)

describe("The pseudo-header", function()
  local function routed(options, destination)
    local p = new("tcp", 4, "routed", { ip_options = options })
    p.destination = destination or 16
    p.bytes = craft.complete(p, p.bytes)
    return p
  end
  local address = "\10\1\2\3"
  local cases = {
    ["a source route"] = { "\131\7\4" .. address .. "\0", 23 },
    ["a strict source route behind others"] = { "\1\148\4\0\0\137\11\8" .. address .. address, 32 },
    ["a source route that is at its end"] = { "\131\7\8" .. address .. "\0" },
    ["a source route behind the end of the options"] = { "\0\131\7\4" .. address },
    ["what looks like a source route behind the end of the options"] = { "\0\2\131\7\4" .. address .. "\0\0\0" },
    ["a source route that is cut off"] = { "\1\1\1\131\7\4\1\1" },
    ["a recorded route"] = { "\7\7\4" .. address .. "\0" },
  }
  for name, case in pairs(cases) do
    it("has the right destination with " .. name, function()
      local p = routed(case[1], case[2])
      for _, info in ipairs { 0, NOT_READY } do
        local packet = arrive(p.bytes, info, FORWARD)
        store(packet, p.body, "R")
        assert_finished(craft.complete(p, put(p.bytes, p.body, "R")), packet)
        packet = arrive(p.bytes, info, FORWARD)
        store(packet, p.destination, "\9\9")
        replace(packet, p.body, 1, "RR")
        local bytes = put(p.bytes, p.destination, "\9\9")
        assert_finished(craft.complete(p, bytes:sub(1, p.body) .. "RR" .. bytes:sub(p.body + 2)), packet)
      end
    end)
  end

  it("has the home address for a source", function()
    -- What stands before the address, and its length: 16, or it is none.
    for _, option in ipairs { "\1\2\0\0\xc9\16", "\0\0\1\0\xc9\16", "\0\0\1\0\xc9\15" } do
      local p = new("tcp", 6, "home")
      local options = "\6\2" .. option .. ("\x20"):rep(15) .. "\0"
      p.bytes = put(p.bytes:sub(1, 40), 6, "\60") .. options .. p.bytes:sub(41)
      p.l4, p.body = p.l4 + 24, p.body + 24
      p.source = option:byte(-1) == 16 and 48 or 8
      p.bytes = craft.complete(p, p.bytes)
      local packet = arrive(p.bytes, NOT_READY, FORWARD)
      store(packet, 8, "\x30")
      store(packet, p.body, "H")
      assert_finished(craft.complete(p, put(put(p.bytes, 8, "\x30"), p.body, "H")), packet)
      packet = arrive(p.bytes, 0, FORWARD)
      store(packet, 50, "\x21")
      assert_finished(craft.complete(p, put(p.bytes, 50, "\x21")), packet)
    end
  end)

  it("counts the Mobility Header's checksum", function()
    local p = new("unknown", 6, "\59\1\5\0\0\0" .. ("m"):rep(10))
    p.kind = { protocol = 135, field = 4, pseudo = true, keys = { 1, 4, 5 } }
    p.bytes = craft.complete(p, put(p.bytes, 6, "\135"))
    local packet = arrive(p.bytes, 0, FORWARD)
    store(packet, #p.bytes - 1, "M")
    assert_finished(craft.complete(p, put(p.bytes, #p.bytes - 1, "M")), packet)
    packet = arrive(p.bytes, 0, FORWARD)
    store(packet, p.l4 + 4, "\1\2")
    assert_finished(p.bytes, packet)
  end)
end)
