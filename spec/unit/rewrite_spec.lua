local bit = require "bit"
local ffi = require "ffi"
local batch = require "spec.support.batch"
local craft = require "spec.support.craft"
local m = require "spec.support.message"
local packets = require "spec.support.packet"
local rewrite = require "spec.support.rewrite"

local C, E, char = rewrite.C, ffi.C, string.char
local put, be16 = craft.put, m.be16
local NOT_READY, GSO = m.attr(m.SKB_INFO, m.be32(1)), m.attr(m.SKB_INFO, m.be32(3))

local shared = batch.new {}

-- The bytes as a packet of the kernel; more: attributes. It ends with the next one.
local function arrive(bytes, more, options)
  local version = math.floor((bytes:byte(1) or 0x40) / 16)
  options = options or { family = version == 6 and 10 or 2 }
  local protocol = options.protocol or (version == 6 and 0x86dd or 0x0800)
  batch.fill(shared, { m.packet(m.hdr(1, protocol) .. (more or "") .. m.attr(m.PAYLOAD, bytes), options) })
  return shared.packets[0]
end

local function bytes_of(packet) return ffi.string(packet.data, packet.data_len) end

local function hex(bytes) return (bytes:gsub(".", function(c) return ("%02x "):format(c:byte()) end)) end

local function store(packet, at, bytes) return C.ipq_rewrite_store(packet, at, bytes, #bytes) end
local function replace(packet, at, len, bytes) return C.ipq_rewrite_replace(packet, at, len, bytes, #bytes) end
local function set(packet, bytes) return C.ipq_rewrite_set(packet, bytes, #bytes) end
local finish = C.ipq_rewrite_finish

local function assert_finished(expected, packet, what)
  local ret = finish(packet)
  if ret ~= 0 then error(("%s: %s"):format(what or "", ffi.string(C.ipq_rewrite_strerror(ret)))) end
  if expected ~= bytes_of(packet) then
    error(("%s:\nexpected %s\ngot      %s"):format(what or "", hex(expected), hex(bytes_of(packet))))
  end
  assert.equal(0, packet.dirty)
  assert.equal(#expected, packet.len)
end

local function unready(p, more) return more and more ~= "" and craft.unready(p) or p.bytes end

-- Each kind over each version it goes over, with each extension header.
local function each(call)
  local random = rewrite.random(11)
  for _, name in ipairs(craft.names) do
    for _, version in ipairs { 4, 6 } do
      if not (version == 6 and (name == "icmp" or name == "udp_without") or version == 4 and name == "icmpv6") then
        for _, extension in ipairs(version == 6 and craft.extension_names or { "none" }) do
          for _, length in ipairs { 16, 33, 100 } do
            local p = craft.packet {
              random = random, version = version, name = name, extension = extension, body = random.bytes(length),
            }
            call(p, ("%s over IPv%d, %s, %d bytes"):format(name, version, extension, length), random)
          end
        end
      end
    end
  end
end

-- Incremental where that is possible, and in full; with a function that gives the finished packet as it is sent.
local function both(p, call)
  local function same(bytes) return bytes end
  local function segmented(bytes) return craft.segmented(p, bytes) end
  call(nil, "incremental", same)
  if not craft.carries(p) then call(NOT_READY, "in full", same) end
  if p.kind.protocol == 132 then return end -- SCTP cannot be cut anew
  if not craft.carries(p) then call(GSO, "GSO", segmented) end
  call(m.attr(m.SKB_INFO, m.be32(2)), "GSO with a complete checksum", segmented)
end

local function tcp4(body, more)
  local o = { random = rewrite.random(12), version = 4, name = "tcp", body = body or "hello, world!" }
  for key, value in pairs(more or {}) do o[key] = value end
  return craft.packet(o)
end

describe("ipq_rewrite_finish", function()
  it("leaves a packet alone that nobody changed", function()
    local p = arrive "no packet at all"
    assert.equal(0, finish(p))
    assert.equal("no packet at all", bytes_of(p))
    assert.equal(0, p.set)
  end)

  -- change: gives the store (offset, bytes) that it makes of a packet
  local changes = {
    TTL = function(p) return p.version == 4 and 8 or 7, "\9" end,
    DSCP = function(p)
      if p.version == 4 then return 1, "\x88" end
      return 0, char(0x60 + 7) .. "\x85"
    end,
    source = function(p, r) return p.version == 4 and 12 or 8, r.bytes(p.version == 4 and 4 or 16) end,
    ["final destination"] = function(p, r) return p.destination, r.bytes(p.version == 4 and 4 or 16) end,
    ["next destination"] = function(p, r)
      return p.version == 4 and 16 or 24, r.bytes(p.version == 4 and 4 or 16)
    end,
    ["half an address"] = function(p, r) return p.version == 4 and 17 or 25, r.bytes(2) end,
    ["both addresses"] = function(p, r) return p.version == 4 and 12 or 8, r.bytes(p.version == 4 and 8 or 32) end,
    ["transport header"] = function(p, r)
      if #p.kind.keys == 0 then return p.l4, r.bytes(4) end
      return p.l4 + (p.kind.keys[1] < 2 and 2 or 0), p.kind.keys[1] < 2 and p.kind.field ~= 2 and r.bytes(2) or ""
    end,
    ports = function(p, r)
      if p.kind.pseudo and p.kind.protocol ~= 58 then return p.l4 + 1, r.bytes(3) end
      return p.body, ""
    end,
    ["first of body"] = function(p, r) return p.body, r.bytes(1) end,
    ["last of body"] = function(p, r) return #p.bytes - 1, r.bytes(1) end,
    body = function(p, r) return p.body + 1, r.bytes(#p.bytes - p.body - 1) end,
    ["body to zeros"] = function(p) return p.body, ("\0"):rep(#p.bytes - p.body) end,
    ["checksum of IP"] = function(p) return p.version == 4 and 10 or 7, "\1\2" end,
    ["checksum of transport"] = function(p) return p.l4 + (p.kind.field or 0), p.kind.field and "\1\2" or "" end,
    lengths = function(p) return p.version == 4 and 2 or 4, "\1\2" end,
  }
  for name, change in pairs(changes) do
    it("makes checksums right after a change of " .. name, function()
      each(function(p, what, random)
        if name == "checksum of IP" and p.version == 6 then return end
        local at, new = change(p, random)
        local expected = craft.complete(p, put(p.bytes, at, new))
        both(p, function(more, way, sent)
          local packet = arrive(unready(p, more), more)
          assert.equal(0, store(packet, at, new))
          if #new == 0 then return end
          assert.equal(E.IPQ_SET_PAYLOAD, bit.band(packet.set, E.IPQ_SET_PAYLOAD))
          assert_finished(sent(expected), packet, what .. ", " .. way)
        end)
      end)
    end)
  end

  -- change: gives offset, length and new bytes
  local moves = {
    ["grows"] = function(p, r) return p.body + 5, 3, r.bytes(50) end,
    ["grows by one"] = function(p) return p.body, 0, "x" end,
    ["shrinks"] = function(p) return p.body + 1, 14, "" end,
    ["shrinks at its end"] = function(p) return #p.bytes - 1, 1, "" end,
    ["has another body"] = function(p, r) return p.body, #p.bytes - p.body, r.bytes(77) end,
    ["is appended to"] = function(p, r) return #p.bytes, 0, r.bytes(11) end,
    ["has no body left"] = function(p) return p.body, #p.bytes - p.body, "" end,
  }
  for name, move in pairs(moves) do
    it("makes lengths and checksums right where a packet " .. name, function()
      each(function(p, what, random)
        local at, len, new = move(p, random)
        local bytes = p.bytes:sub(1, at) .. new .. p.bytes:sub(at + len + 1)
        -- coverage of bytes that are gone
        local kind, left = p.kind, #bytes - p.body
        if kind.protocol == 136 and craft.u16(bytes, p.l4 + 4) > #bytes - p.l4 then
          bytes = put(bytes, p.l4 + 4, "\0\0")
        elseif kind.protocol == 33 and (bytes:byte(p.l4 + 6) - 1) * 4 > left then
          bytes = put(bytes, p.l4 + 5, "\0")
        end
        local expected = craft.complete(p, bytes)
        both(p, function(more, way, sent)
          local packet = arrive(unready(p, more), more)
          assert.equal(0, replace(packet, at, len, new))
          assert_finished(sent(expected), packet, what .. ", " .. way)
        end)
      end)
    end)
  end

  it("makes a packet right that was set as a whole", function()
    each(function(p, what, random)
      local wrong = put(p.bytes, p.version == 4 and 2 or 4, "\0\0")
      if p.version == 4 then wrong = put(wrong, 10, "\0\0") end
      if p.kind.field then wrong = put(wrong, p.l4 + p.kind.field, random.bytes(1) .. "\1") end
      if p.kind.protocol == 17 and craft.u16(p.bytes, p.l4 + 6) == 0 then wrong = put(wrong, p.l4 + 6, "\0\0") end
      for _, before in ipairs { p.bytes, p.bytes:sub(1, -2), p.bytes .. "more" } do
        local packet = arrive(before)
        assert.equal(0, set(packet, wrong))
        assert_finished(p.bytes, packet, what)
      end
    end)
  end)

  it("gives the same by increments and in full, for many random changes one after the other", function()
    local random = rewrite.random(13)
    for round = 1, 4000 do
      local p = craft.random(random)
      local bytes, stores = p.bytes, {}
      for i = 1, random.number(1, 4) do
        local at, new = craft.random_store(random, p, bytes)
        stores[i] = { at, new }
        bytes = put(bytes, at, new)
      end
      local expected = craft.complete(p, bytes)
      for _, more in ipairs { "", not craft.carries(p) and NOT_READY or nil } do
        local packet = arrive(unready(p, more), more)
        for _, s in ipairs(stores) do assert.equal(0, store(packet, s[1], s[2])) end
        -- Behind an unknown protocol of IPv6 there may be extension headers.
        if more == "" and p.kind.protocol ~= 253 then
          assert.equal(0, bit.band(packet.dirty, E.IPQ_DIRTY_ALL))
        end
        assert_finished(expected, packet, "round " .. round)
      end
    end
  end)

  it("is right again after each of several turns", function()
    local p = tcp4()
    local packet, bytes = arrive(p.bytes), p.bytes
    for i = 1, 20 do
      bytes = craft.complete(p, put(bytes, p.l4 + 4, be16(i * 999)))
      store(packet, p.l4 + 4, be16(i * 999))
      assert_finished(bytes, packet)
      bytes = craft.complete(p, bytes .. "more")
      replace(packet, packet.data_len, 0, "more")
      assert_finished(bytes, packet)
    end
  end)

  it("tells the two zeros apart", function()
    -- What makes sums of 0 and 0xffff, in the word behind the ports.
    for _, name in ipairs { "tcp", "udp", "udplite", "icmp", "gre_sum", "dccp" } do
      for _, version in ipairs { 4, 6 } do
        if not (name == "icmp" and version == 6) then
          local p = craft.packet {
            random = rewrite.random(14), version = version, name = name, body = "0123456789012345",
          }
          local field = p.l4 + p.kind.field
          local sum = craft.u16(p.bytes, field)
          for _, extra in ipairs { -1, 0, 1 } do
            local word = craft.u16(p.bytes, p.body + 2) + sum + extra
            word = word % 0xffff
            for _, w in ipairs { word, word == 0 and 0xffff or word } do
              local expected = craft.complete(p, put(p.bytes, p.body + 2, be16(w)))
              both(p, function(more, way, sent)
                local packet = arrive(unready(p, more), more)
                store(packet, p.body + 2, be16(w))
                assert_finished(sent(expected), packet, name .. version .. way .. extra)
                store(packet, p.body + 2, p.bytes:sub(p.body + 3, p.body + 4))
                assert_finished(sent(p.bytes), packet, name .. version .. way .. extra)
              end)
            end
          end
        end
      end
    end
  end)

  it("takes the other zero for the one that a sum gives", function()
    local p = tcp4("\xff\xff..0123")
    local rest = 0xffff - craft.u16(p.bytes, p.l4 + 16)
    local word = (0x2e2e + 0xffff - rest) % 0xffff -- the sum becomes 0xffff, the checksum 0
    p.bytes = craft.complete(p, put(p.bytes, p.body + 2, be16(word)))
    assert.equal(0, craft.u16(p.bytes, p.l4 + 16))
    both(p, function(more, way)
      local packet = arrive(put(p.bytes, p.l4 + 16, "\xff\xff"), more)
      store(packet, p.body, "\0\0")
      assert_finished(craft.complete(p, put(p.bytes, p.body, "\0\0")), packet, way)
    end)
  end)

  it("loses no carry between a pseudo-header and a routing header", function()
    local p = craft.packet {
      random = rewrite.random(25), version = 6, name = "tcp", extension = "routing2", body = "x",
    }
    local bytes = put(p.bytes, 8, "\0\0\0\0")
    local sum = C.ipq_checksum_add(0, m.be32(#bytes - p.l4) .. "\0\0\0\6", 8)
    sum = C.ipq_checksum_add(sum, bytes:sub(9, 24), 16)
    sum = C.ipq_checksum_add(sum, bytes:sub(p.destination + 1, p.destination + 16), 16)
    -- The 32-bit sum becomes all ones.
    bytes = craft.complete(p, put(p.bytes, 8, m.host32(0xffffffff - sum)))
    local packet = arrive(put(bytes, p.l4 + 16, "\x12\x34"), NOT_READY)
    store(packet, 7, "\1")
    assert_finished(put(bytes, 7, "\1"), packet)
  end)

  it("gives an echo reply of zeros the checksum 0xffff", function()
    local p = craft.packet { random = rewrite.random(15), version = 4, name = "icmp", body = "abcd" }
    local packet = arrive(p.bytes)
    store(packet, p.l4, "\0")
    store(packet, p.l4 + 4, ("\0"):rep(8))
    assert_finished(craft.complete(p, p.bytes:sub(1, p.l4) .. ("\0"):rep(12)), packet)
    assert.equal(0xffff, craft.u16(bytes_of(packet), p.l4 + 2))
  end)

  it("gives UDP over IPv6 a checksum where it had none", function()
    local p = craft.packet { random = rewrite.random(16), version = 6, name = "udp", body = "x" }
    local packet = arrive(put(p.bytes, p.l4 + 6, "\0\0"))
    store(packet, p.l4, p.bytes:sub(p.l4 + 1, p.l4 + 1) == "\1" and "\2" or "\1")
    assert.equal(0, finish(packet))
    assert.equal(hex(craft.complete(p, bytes_of(packet))), hex(bytes_of(packet)))
    assert.not_equal(0, craft.u16(bytes_of(packet), p.l4 + 6))
  end)

  it("leaves a wrong checksum as wrong as it came", function()
    local p = tcp4()
    local wrong = (craft.u16(p.bytes, p.l4 + 16) + 5) % 0xffff
    local packet = arrive(put(p.bytes, p.l4 + 16, be16(wrong)))
    store(packet, p.l4, "\4\210")
    assert.equal(0, finish(packet))
    local right = craft.u16(craft.complete(p, bytes_of(packet)), p.l4 + 16)
    assert.equal((right + 5) % 0xffff, craft.u16(bytes_of(packet), p.l4 + 16))
  end)

  it("leaves a wrong checksum of a packet without pseudo-header wrong that comes to 0", function()
    for _, name in ipairs { "icmp", "gre_sum" } do
      local p = craft.packet { random = rewrite.random(26), version = 4, name = name, body = "\0\0wxyz" }
      local field = p.l4 + p.kind.field
      local word = craft.u16(p.bytes, field) - 5 -- what, stored into the body, takes the wrong sum to 0
      local packet = arrive(put(p.bytes, field, be16(word)))
      store(packet, p.body, be16(word))
      assert_finished(put(put(p.bytes, p.body, be16(word)), field, "\0\0"), packet, name)
    end
  end)

  it("makes a wrong checksum right where the filter stored into it", function()
    for _, name in ipairs { "tcp", "udp", "udplite", "icmp", "gre_sum", "dccp" } do
      local p = craft.packet { random = rewrite.random(24), version = 4, name = name, body = "0123456789012345" }
      local field = p.l4 + p.kind.field
      local packet = arrive(put(p.bytes, field, "\1\2"))
      store(packet, field + 1, "\3")
      assert_finished(p.bytes, packet)
    end
  end)

  it("follows a protocol, a header length, a data offset that change", function()
    local p = tcp4(("x"):rep(60))
    local packet = arrive(p.bytes)
    store(packet, 9, "\17")
    assert.equal(0, finish(packet))
    p.kind = craft.kinds.udp
    assert.equal(hex(craft.complete(p, bytes_of(packet))), hex(bytes_of(packet)))

    p = tcp4(("x"):rep(60))
    packet = arrive(p.bytes)
    assert.equal(0, replace(packet, 20, 0, "\1\1\1\0"))
    assert.equal(0, store(packet, 0, "\x46"))
    p.l4 = 24
    assert_finished(craft.complete(p, "\x46" .. p.bytes:sub(2, 20) .. "\1\1\1\0" .. p.bytes:sub(21)), packet)

    p = tcp4(("x"):rep(60))
    packet = arrive(p.bytes)
    assert.equal(0, store(packet, p.l4 + 12, "\xf0"))
    assert_finished(craft.complete(p, put(p.bytes, p.l4 + 12, "\xf0")), packet)
    assert.equal(0, store(packet, 6, "\x40"))
    assert.equal(E.IPQ_DIRTY_FIELDS, packet.dirty)
  end)

  it("follows an extension header that is put in", function()
    local p = craft.packet { random = rewrite.random(17), version = 6, name = "tcp", body = "xyz" }
    local packet = arrive(p.bytes)
    assert.equal(0, replace(packet, 40, 0, "\6\2\2\1\0\0\0\0" .. ("\32"):rep(16)))
    assert.equal(0, store(packet, 6, "\43"))
    p.l4, p.destination = 64, 48
    assert_finished(craft.complete(p, put(p.bytes:sub(1, 40), 6, "\43") .. "\6\2\2\1\0\0\0\0" .. ("\32"):rep(16)
      .. p.bytes:sub(41)), packet)
  end)

  -- UDP with bytes behind the datagram (RFC 9868), and with right sums.
  local function with_surplus(version)
    local p = craft.packet { random = rewrite.random(18), version = version, name = "udp", body = "0123456789" }
    local v4, size = version == 4, #p.bytes + 7
    local bytes = put(p.bytes .. "surplus", v4 and 2 or 4, be16(v4 and size or size - 40))
    if v4 then
      bytes = put(bytes, 10, "\0\0")
      bytes = put(bytes, 10, be16(rewrite.checksum(bytes:sub(1, 20))))
    end
    return p, bytes
  end

  it("keeps UDP's own length where bytes change in their place", function()
    local p, whole = with_surplus(4)
    both(p, function(more, _, sent)
      local packet = arrive(more and put(whole, p.l4 + 6, be16(craft.pseudo(p, p.bytes))) or whole, more)
      store(packet, p.body, "9")
      store(packet, #whole - 1, "S")
      local changed = sent(craft.complete(p, put(p.bytes, p.body, "9")))
      assert_finished(whole:sub(1, 20) .. changed:sub(21) .. "surpluS", packet)
    end)
  end)

  it("keeps UDP's own length where all is made anew, as long as the packet's size stays", function()
    for _, version in ipairs { 4, 6 } do
      local p, whole = with_surplus(version)
      local changed = put(whole, p.body, "9")
      changed = put(changed, p.l4, craft.complete(p, put(p.bytes, p.body, "9")):sub(p.l4 + 1))
      for _, change in ipairs {
        function(packet) set(packet, put(whole, p.body, "9")) end,
        function(packet) -- a byte that lengths hang on, there and back
          store(packet, version == 4 and 9 or 6, "\1")
          store(packet, version == 4 and 9 or 6, "\17")
          store(packet, p.body, "9")
        end,
        function(packet)
          store(packet, p.l4 + 6, "\1\2")
          store(packet, p.body, "9")
        end,
      } do
        local packet = arrive(whole)
        change(packet)
        assert_finished(changed, packet)
      end
    end
  end)

  it("makes UDP's length that of all that is there where the size changes, or it was assigned", function()
    for _, version in ipairs { 4, 6 } do
      local p, whole = with_surplus(version)
      local at = p.l4 + 4
      for _, case in ipairs {
        { whole .. "x", function(packet) replace(packet, #whole, 0, "x") end },
        { whole .. "x", function(packet) set(packet, whole .. "x") end },
        { whole, function(packet) replace(packet, #whole, 0, "x") replace(packet, #whole, 1, "") end },
        { whole, function(packet) store(packet, at, "\0\9") end },
        { whole, function(packet) set(packet, put(whole, at, "\0\9")) end },
        { whole, function(packet) set(packet, put(whole, at, "\1\0")) end },
      } do
        local packet = arrive(whole)
        case[2](packet)
        assert_finished(craft.complete(p, case[1]), packet)
      end
      -- Nor does the length of the packet before count.
      local packet = arrive(whole)
      store(packet, p.l4 + 6, "\1\2")
      local other = craft.complete(p, whole)
      packet = arrive(other)
      store(packet, at, p.bytes:sub(at + 1, at + 2))
      assert_finished(other, packet)
    end
  end)

  it("makes UDP's length that of all that is there where its header moves to too large a one", function()
    local p = craft.packet { random = rewrite.random(18), version = 4, name = "udp", body = "\0\18........" }
    local bytes = put(p.bytes .. "s", 2, be16(#p.bytes + 1))
    local packet = arrive(bytes)
    store(packet, 0, "\x46")
    assert.equal(0, finish(packet))
    assert.equal(#bytes - 24, craft.u16(bytes_of(packet), 28))
  end)

  it("leaves a packet as it came where it is set to the bytes that it came with", function()
    local p, surplus = with_surplus(4)
    for _, bytes in ipairs { p.bytes, surplus, put(p.bytes, 10, "\1\2"), put(p.bytes, 2, "\0\0"), "no packet" } do
      for _, padding in ipairs { "", "padding" } do
        local packet = arrive(bytes .. padding)
        assert.equal(0, set(packet, bytes .. padding))
        assert.same({ bytes .. padding, 0, 0 }, { bytes_of(packet), packet.dirty, packet.set })
        assert.equal(0, finish(packet))
      end
    end
    local packet = arrive(p.bytes .. "padding")
    assert.equal(0, set(packet, p.bytes))
    assert.same({ p.bytes .. "padding", 0, 0 }, { bytes_of(packet), packet.dirty, packet.set })
    -- One that has changed is made right as a whole.
    local wrong = put(p.bytes, p.l4 + 6, "\1\2")
    packet = arrive(wrong)
    store(packet, 0, wrong:sub(1, 1))
    assert.equal(0, set(packet, wrong))
    assert_finished(p.bytes, packet)
  end)

  it("drops the padding behind the IP packet", function()
    each(function(p, what)
      local expected = craft.complete(p, put(p.bytes, #p.bytes - 1, "\0"))
      local cut = m.attr(m.CAP_LEN, m.be32(#p.bytes + 900))
      for _, more in ipairs { "", cut, not craft.carries(p) and NOT_READY or nil } do
        local bytes = more == NOT_READY and craft.unready(p) or p.bytes
        local packet = arrive(bytes .. "padding", more)
        assert.equal(E.IPQ_REWRITE_BOUNDS, store(packet, #p.bytes - 1, "xx"))
        assert.equal(E.IPQ_REWRITE_BOUNDS, replace(packet, #p.bytes + 1, 0, "x"))
        assert.same({ #p.bytes + 7, 0, 0 }, { packet.data_len, packet.dirty, packet.set })
        store(packet, #p.bytes - 1, "\0")
        assert_finished(expected, packet, what)
        packet = arrive(bytes .. "padding", more)
        replace(packet, #p.bytes, 0, "appended")
        assert_finished(craft.complete(p, p.bytes .. "appended"), packet, what)
      end
    end)
  end)

  it("mends a length that was wrong", function()
    local p = tcp4()
    for _, length in ipairs { 0, 19, #p.bytes + 1, 65535 } do
      local packet = arrive(put(p.bytes, 2, be16(length)))
      store(packet, 8, "\1")
      assert_finished(craft.complete(p, put(p.bytes, 8, "\1")), packet)
    end
  end)

  it("ends a changed packet where its bytes end, before its lengths are right", function()
    local p = tcp4()
    local packet = arrive(p.bytes)
    replace(packet, #p.bytes, 0, "more")
    C.ipq_header_parse(packet)
    assert.equal(#p.bytes + 4, packet["end"])
  end)

  it("works behind VLAN tags of a bridge", function()
    local p = tcp4()
    local tag = "\0\1\8\0"
    local packet = arrive(tag .. p.bytes, nil, { family = 7, protocol = 0x8100 })
    store(packet, 4 + p.body, "J")
    store(packet, 4 + 8, "\7")
    assert_finished(tag .. craft.complete(p, put(put(p.bytes, p.body, "J"), 8, "\7")), packet)
    replace(packet, 4 + p.body, 1, "long")
    assert.equal(0, finish(packet))
    assert.equal(#p.bytes + 3, craft.u16(bytes_of(packet), 6))
  end)
end)

describe("ipq_rewrite_finish with fragments", function()
  local random = rewrite.random(19)

  -- { version, bytes, where the transport begins, the packet as one, whether it is a first fragment }
  local function fragments(name)
    local list = {}
    local p = craft.packet { random = random, version = 4, name = name, body = random.bytes(64) }
    for i, field in ipairs { "\x20\0", "\x20\4", "\0\4" } do
      local bytes = put(put(p.bytes, 6, field), 10, "\0\0")
      list[#list + 1] = { 4, put(bytes, 10, be16(rewrite.checksum(bytes:sub(1, 20)))), 20, p, i == 1 }
    end
    p = craft.packet { random = random, version = 6, name = name, extension = "atomic", body = random.bytes(64) }
    for i, field in ipairs { "\0\1", "\0\33", "\0\32" } do
      list[#list + 1] = { 6, put(p.bytes, 42, field), 48, p, i == 1 }
    end
    return list
  end

  it("lets TTL, DSCP and identification change", function()
    for _, name in ipairs { "tcp", "udp", "sctp" } do
      for _, f in ipairs(fragments(name)) do
        local packet = arrive(f[2])
        if f[1] == 4 then
          store(packet, 8, "\1")
          store(packet, 1, "\xb8")
          assert.equal(0, finish(packet))
          assert.equal(0, rewrite.checksum(bytes_of(packet):sub(1, 20)))
          assert.equal(f[2]:sub(21), bytes_of(packet):sub(21))
        else
          store(packet, 7, "\1")
          store(packet, 1, "\xb0")
          assert_finished(put(put(f[2], 7, "\1"), 1, "\xb0"), packet)
        end
      end
    end
  end)

  -- What is to come of a change of bytes in their place.
  local function changed(f, at, bytes)
    local whole = craft.complete(f[4], put(f[4].bytes, at, bytes))
    if f[1] == 6 then return put(whole, 42, f[2]:sub(43, 44)) end
    whole = put(put(whole, 6, f[2]:sub(7, 8)), 10, "\0\0")
    return put(whole, 10, be16(rewrite.checksum(whole:sub(1, 20))))
  end

  local function next_byte(f, at) return char((f[2]:byte(at + 1) + 1) % 256) end

  it("has a first one's checksum follow bytes that change in their place", function()
    for _, name in ipairs { "tcp", "udp", "udplite", "dccp" } do
      for _, f in ipairs(fragments(name)) do
        for _, at in ipairs(f[5] and { f[1] == 4 and 12 or 8, f[1] == 4 and 19 or 39, f[3] + 1, #f[2] - 1 } or {}) do
          local packet = arrive(f[2])
          store(packet, at, next_byte(f, at))
          assert_finished(changed(f, at, next_byte(f, at)), packet, ("%s, IPv%d, offset %d"):format(name, f[1], at))
        end
      end
    end
  end)

  it("lets a later one's addresses change, whose checksum is the first one's", function()
    for _, name in ipairs { "tcp", "udp", "icmp", "icmpv6" } do
      for _, f in ipairs(fragments(name)) do
        if not f[5] then
          local packet = arrive(f[2])
          store(packet, f[1] == 4 and 12 or 8, "\1\2\3\4")
          assert.equal(0, finish(packet))
          assert.equal(hex(f[2]:sub(f[3] + 1)), hex(bytes_of(packet):sub(f[3] + 1)))
        end
      end
    end
  end)

  it("refuses changes that a checksum in another one covers, and of the size", function()
    for _, name in ipairs { "tcp", "udp" } do
      for _, f in ipairs(fragments(name)) do
        for _, at in ipairs(f[5] and {} or { f[3], #f[2] - 1 }) do
          local packet = arrive(f[2])
          local bytes = put(f[2], at, next_byte(f, at))
          store(packet, at, next_byte(f, at))
          assert.equal(E.IPQ_REWRITE_FRAGMENT, finish(packet))
          assert.equal(hex(bytes), hex(bytes_of(packet)))
        end
        local packet = arrive(f[2])
        replace(packet, #f[2], 0, "12345678")
        assert.equal(E.IPQ_REWRITE_FRAGMENT, finish(packet))
      end
    end
  end)

  it("refuses what has no checksum that could follow", function()
    local udp6 = put(fragments "udp"[4][2], 48 + 6, "\0\0")
    local packet = arrive(udp6)
    store(packet, 48, "\1\2")
    assert.equal(E.IPQ_REWRITE_FRAGMENT, finish(packet))
    for _, f in ipairs(fragments "sctp") do
      packet = arrive(f[2])
      store(packet, f[3], next_byte(f, f[3]))
      assert.equal(E.IPQ_REWRITE_FRAGMENT, finish(packet))
    end
  end)

  it("takes the same bytes, and a whole packet in which only the TTL differs", function()
    for _, f in ipairs(fragments "udp") do
      local packet = arrive(f[2])
      store(packet, 0, f[2])
      assert_finished(f[2], packet)
      packet = arrive(f[2])
      set(packet, put(f[2], f[1] == 4 and 8 or 7, "\3"))
      assert.equal(0, finish(packet))
      packet = arrive(f[2])
      set(packet, put(f[2], #f[2] - 1, next_byte(f, #f[2] - 1)))
      assert.equal(f[5] and 0 or E.IPQ_REWRITE_FRAGMENT, finish(packet))
    end
  end)

  it("lets addresses change where no checksum covers them", function()
    for _, name in ipairs { "sctp", "esp", "gre", "unknown" } do
      for _, f in ipairs(fragments(name)) do
        local packet = arrive(f[2])
        store(packet, f[1] == 4 and 12 or 8, "\1\2\3\4")
        assert.equal(0, finish(packet))
      end
    end
  end)

  it("lets ESP change wholly", function()
    for _, f in ipairs(fragments "esp") do
      local packet = arrive(f[2])
      replace(packet, #f[2], 0, "12345678")
      assert.equal(0, finish(packet))
      assert.equal(f[1] == 4 and #f[2] + 8 or #f[2] - 32, craft.u16(bytes_of(packet), f[1] == 4 and 2 or 4))
    end
  end)

  it("lets the extension headers of a later one change, which no checksum covers", function()
    local later = packets.fragment(17, ("x"):rep(16), 4, true)
    local bytes = packets.ip6(0, "\44\0\1\4\0\0\0\0" .. later)
    local packet = arrive(bytes)
    store(packet, 44, "\1")
    assert_finished(put(bytes, 44, "\1"), packet)
  end)

  it("refuses one whose checksum is not ready", function()
    for _, f in ipairs(fragments "udp") do
      local packet = arrive(f[2], NOT_READY)
      store(packet, f[1] == 4 and 8 or 7, "\1")
      assert.equal(E.IPQ_REWRITE_FRAGMENT, finish(packet))
    end
  end)
end)

describe("ipq_rewrite_finish refuses", function()
  local function refuses(error, packet)
    local before = bytes_of(packet)
    assert.equal(error, finish(packet))
    assert.equal(hex(before), hex(bytes_of(packet)))
    assert.not_equal(0, packet.dirty)
    assert.equal(E.IPQ_SET_PAYLOAD, bit.band(packet.set, E.IPQ_SET_PAYLOAD))
  end

  it("a packet of which only a part was copied", function()
    local p = tcp4(("x"):rep(100))
    local more = m.attr(m.CAP_LEN, m.be32(#p.bytes))
    for _, change in ipairs {
      function(packet) store(packet, 8, "\1") end,
      function(packet) replace(packet, 60, 0, ("y"):rep(200)) end,
      function(packet) replace(packet, 60, 10, "") end,
    } do
      local packet = arrive(p.bytes:sub(1, 80), more)
      change(packet)
      refuses(E.IPQ_REWRITE_TRUNCATED, packet)
    end
  end)

  it("but not one that was made anew as a whole", function()
    local p = tcp4(("x"):rep(100))
    for _, length in ipairs { 30, 80, #p.bytes } do
      local packet = arrive(p.bytes:sub(1, length), m.attr(m.CAP_LEN, m.be32(#p.bytes + 10)))
      set(packet, p.bytes)
      assert_finished(p.bytes, packet)
    end
  end)

  it("what came longer than can be sent back", function()
    local p = tcp4(("x"):rep(65535 - 100))
    for _, length in ipairs { 65531, 65532, 65535 } do
      local packet = arrive(p.bytes)
      local memory = rewrite.own(craft.complete(p, p.bytes .. ("x"):rep(length - #p.bytes)))
      packet.data, packet.data_len, packet.len = memory, length, length
      assert.equal(0, store(packet, 8, "\1"))
      if length == 65531 then
        assert.equal(0, finish(packet))
      else
        refuses(E.IPQ_REWRITE_TOO_LONG, packet)
      end
    end
  end)

  it("nothing of ARP, of which nothing has to follow", function()
    local arp = "\0\1\8\0\6\4\0\1" .. ("\2"):rep(20) .. "padding"
    local p = tcp4()
    for _, came in ipairs { { "", { family = 3, protocol = 0x0806 } }, { "", { family = 7, protocol = 0x0806 } },
      { "\0\5\8\6", { family = 7, protocol = 0x8100 } } } do
      local packet = arrive(came[1] .. arp, nil, came[2])
      assert.equal(0, store(packet, #came[1] + 8, "\9"))
      assert_finished(came[1] .. put(arp, 8, "\9"), packet)
      assert.equal(0, replace(packet, #came[1], 1, p.bytes))
      assert_finished(came[1] .. p.bytes .. put(arp, 8, "\9"):sub(2), packet)
      assert.equal(0, set(packet, came[1] .. "x"))
      assert_finished(came[1] .. "x", packet)
      packet = arrive(came[1] .. arp, m.attr(m.CAP_LEN, m.be32(#arp + #came[1] + 1)), came[2])
      store(packet, 0, "\9")
      refuses(E.IPQ_REWRITE_TRUNCATED, packet)
    end
    -- What is behind another type is no ARP, whatever its last bytes are.
    local packet = arrive(arp .. "\8\6", nil, { family = 7, protocol = 0x88cc })
    store(packet, 0, "\9")
    refuses(E.IPQ_REWRITE_VERSION, packet)
  end)

  it("another IP version, or none", function()
    local p = tcp4()
    local p6 = craft.packet { random = rewrite.random(20), version = 6, name = "tcp", body = "xyz" }
    for _, bytes in ipairs { p6.bytes, "", "\0", "\x50" .. p.bytes:sub(2), "hello" } do
      local packet = arrive(p.bytes)
      set(packet, bytes)
      refuses(E.IPQ_REWRITE_VERSION, packet)
    end
    local packet = arrive(p6.bytes)
    store(packet, 0, "\x45")
    refuses(E.IPQ_REWRITE_VERSION, packet)
    packet = arrive(p6.bytes, nil, { family = 10, protocol = 0 })
    set(packet, p.bytes)
    refuses(E.IPQ_REWRITE_VERSION, packet)
    packet = arrive(p.bytes, nil, { family = 7, protocol = 0x88cc }) -- LLDP
    store(packet, 0, "\0")
    refuses(E.IPQ_REWRITE_VERSION, packet)
    packet = arrive("\0\1\8\0" .. p.bytes, nil, { family = 7, protocol = 0x8100 })
    set(packet, "\0\1\8\0" .. p6.bytes)
    refuses(E.IPQ_REWRITE_VERSION, packet)
  end)

  it("headers that are malformed or cut off", function()
    local p = tcp4()
    for _, bytes in ipairs {
      p.bytes:sub(1, 19), "\x44" .. p.bytes:sub(2), "\x4f" .. p.bytes:sub(2, 30),
      p.bytes:sub(1, p.l4 + 19), put(p.bytes, p.l4 + 12, "\x40"), p.bytes:sub(1, 20),
      put(p.bytes, 9, "\33"):sub(1, 30), put(p.bytes, 9, "\17"):sub(1, 27),
      put(put(p.bytes, 9, "\136"), p.l4 + 4, "\0\7"), -- UDP-Lite that covers a part of its header
    } do
      local packet = arrive(p.bytes)
      set(packet, bytes)
      refuses(E.IPQ_REWRITE_HEADER, packet)
    end
    local p6 = craft.packet { random = rewrite.random(21), version = 6, name = "tcp", extension = "options", body = "" }
    for _, bytes in ipairs { p6.bytes:sub(1, 39), p6.bytes:sub(1, 41), put(p6.bytes, 41, "\200") } do
      local packet = arrive(p6.bytes)
      set(packet, bytes)
      refuses(E.IPQ_REWRITE_HEADER, packet)
    end
  end)

  it("but lets the TTL of a malformed transport change", function()
    local p = tcp4()
    local bytes = craft.complete(p, put(p.bytes, p.l4 + 12, "\x10"))
    local packet = arrive(bytes)
    store(packet, 8, "\1")
    assert.equal(0, finish(packet))
    packet = arrive(bytes, NOT_READY)
    store(packet, 8, "\1")
    refuses(E.IPQ_REWRITE_HEADER, packet)
  end)
end)

describe("ipq_rewrite_store and _replace", function()
  it("take headers as moved where a byte changes that they hang on, and only there", function()
    each(function(p, what)
      local keys = craft.keys(p)
      if p.kind.protocol == 253 then return end
      for at = 0, p.body do
        local packet = arrive(p.bytes)
        assert.equal(0, store(packet, at, p.bytes:sub(at + 1, at + 1)))
        assert.equal(E.IPQ_DIRTY_FIELDS, packet.dirty)
        assert.equal(0, store(packet, at, char(255 - p.bytes:byte(at + 1))))
        local all = bit.band(packet.dirty, E.IPQ_DIRTY_ALL) ~= 0
        -- A checksum of SCTP is computed anyway.
        local expected = keys[at] or false
        if p.kind.protocol == 132 and at >= p.l4 then expected = false end
        if all ~= expected or (packet.parsed == 0) ~= all then
          error(("%s: byte %d, dirty %d, parsed %d"):format(what, at, packet.dirty, packet.parsed))
        end
      end
    end)
  end)

  it("take a fragment field as moved but for DF", function()
    local p = tcp4()
    for field, all in pairs { ["\x20\0"] = true, ["\0\1"] = true, ["\x1f\0"] = true } do
      local packet = arrive(p.bytes)
      store(packet, 6, field)
      assert.equal(all, bit.band(packet.dirty, E.IPQ_DIRTY_ALL) ~= 0)
    end
    local packet = arrive(p.bytes)
    store(packet, 6, char(bit.bxor(p.bytes:byte(7), 0x40)))
    assert.equal(E.IPQ_DIRTY_FIELDS, packet.dirty)
  end)

  it("look for headers again behind a VLAN tag that changed", function()
    local packet = arrive("\0\1\8\0" .. tcp4().bytes, nil, { family = 7, protocol = 0x8100 })
    store(packet, 1, "\2")
    assert.same({ E.IPQ_DIRTY_FIELDS + E.IPQ_DIRTY_ALL, 0 }, { packet.dirty, packet.parsed })
    assert.equal(0, finish(packet))
  end)

  it("refuse what lies outside, and change nothing then", function()
    local p = tcp4()
    local size = #p.bytes
    local all = 0xffffffff
    for _, c in ipairs { { size, 1 }, { size + 1, 0 }, { 0, size + 1 }, { all, 1 }, { all, all }, { 1, all } } do
      local packet = arrive(p.bytes)
      assert.equal(E.IPQ_REWRITE_BOUNDS, C.ipq_rewrite_store(packet, c[1], p.bytes, c[2]))
      assert.equal(E.IPQ_REWRITE_BOUNDS, C.ipq_rewrite_replace(packet, c[1], c[2], "x", 1))
      assert.same({ p.bytes, 0, 0 }, { bytes_of(packet), packet.dirty, packet.set })
    end
  end)

  it("take a change of nothing", function()
    local p = tcp4()
    local packet = arrive(p.bytes)
    for at = 0, #p.bytes do
      assert.equal(0, store(packet, at, ""))
      assert.equal(0, replace(packet, at, 0, ""))
    end
    assert.same({ 0, 0 }, { packet.dirty, packet.set })
  end)

  it("refuse more than can be sent back", function()
    local p = tcp4()
    local packet = arrive(p.bytes)
    local room = 65531 - #p.bytes
    assert.equal(E.IPQ_REWRITE_TOO_LONG, replace(packet, #p.bytes, 0, ("x"):rep(room + 1)))
    assert.equal(E.IPQ_REWRITE_TOO_LONG, C.ipq_rewrite_replace(packet, 0, 0, p.bytes, 0xffffffff))
    assert.equal(E.IPQ_REWRITE_TOO_LONG, set(packet, ("x"):rep(65532)))
    assert.equal(E.IPQ_REWRITE_TOO_LONG, C.ipq_rewrite_set(packet, p.bytes, 0xffffffff))
    assert.same({ p.bytes, 0, 0 }, { bytes_of(packet), packet.dirty, packet.set })
    assert.equal(0, replace(packet, #p.bytes, 0, ("x"):rep(room)))
    assert_finished(craft.complete(p, p.bytes .. ("x"):rep(room)), packet)
    assert.equal(65531, packet.data_len)
    assert.equal(E.IPQ_REWRITE_TOO_LONG, replace(packet, 0, 0, "x"))
    assert.equal(0, replace(packet, 40, 1, "y"))
  end)

  it("replace as Lua's strings would, with bytes of the packet itself too", function()
    local random = rewrite.random(22)
    for _ = 1, 3000 do
      local bytes = tcp4(random.bytes(60)).bytes
      local packet = arrive(bytes)
      for _ = 1, 6 do
        local at = random.number(0, #bytes)
        local len = random.number(0, #bytes - at)
        local new
        if random.number(0, 2) == 0 then
          new = random.bytes(random.number(0, 50))
          assert.equal(0, replace(packet, at, len, new))
        else
          local from = random.number(0, #bytes)
          local n = random.number(0, #bytes - from)
          new = bytes:sub(from + 1, from + n)
          assert.equal(0, C.ipq_rewrite_replace(packet, at, len, packet.data + from, n))
        end
        bytes = bytes:sub(1, at) .. new .. bytes:sub(at + len + 1)
        assert.equal(hex(bytes), hex(bytes_of(packet)))
        if #bytes > 500 or #bytes < 20 then break end
      end
    end
  end)

  it("store and set bytes of the packet itself", function()
    local p = tcp4(("0123456789"):rep(3))
    local packet = arrive(p.bytes)
    C.ipq_rewrite_store(packet, p.body + 1, packet.data + p.body, 10)
    assert_finished(craft.complete(p, put(p.bytes, p.body + 1, p.bytes:sub(p.body + 1, p.body + 10))), packet)
    packet = arrive("\x45" .. p.bytes)
    C.ipq_rewrite_set(packet, packet.data + 1, #p.bytes)
    assert_finished(p.bytes, packet)
  end)

  it("move a packet that grows to its spare memory, and only such a one", function()
    local p = tcp4()
    local packet = arrive(p.bytes)
    local slot = packet.data
    replace(packet, p.body, 3, "x")
    assert.equal(slot, packet.data)
    replace(packet, p.body, 1, "xyz")
    assert.equal(packet.spare, packet.data)
    replace(packet, p.body, 0, "xyz")
    assert.equal(packet.spare, packet.data)
  end)
end)

describe("ipq_rewrite with garbage", function()
  local random = rewrite.random(23)

  local function change(bytes, more, family)
    local packet = arrive("", more, { family = family, protocol = random.pick { 0x0800, 0x86dd, 0x8100 } })
    local own = rewrite.own(bytes)
    packet.data, packet.data_len, packet.len = own, #bytes, #bytes
    for _ = 1, random.number(1, 3) do
      local at = random.number(0, #bytes + 1)
      local what = random.number(1, 5)
      if what <= 3 then store(packet, at, random.bytes(random.number(0, 20)))
      elseif what == 4 then replace(packet, at, random.number(0, 30), random.bytes(random.number(0, 30)))
      else set(packet, random.bytes(random.number(0, 60))) end
    end
    local ret = finish(packet)
    assert.is_true(ret <= 0 and ret > E.IPQ_REWRITE_GSO - 1 and ret ~= E.IPQ_REWRITE_BOUNDS)
    assert.is_true(packet.data_len <= #bytes + 100)
    return own
  end

  it("survives every prefix of packets", function()
    each(function(p)
      if #p.bytes < 150 then
        for length = 0, #p.bytes do
          change(p.bytes:sub(1, length), random.pick { "", NOT_READY }, p.version == 4 and 2 or 10)
        end
      end
    end)
  end)

  it("survives packets with random bytes", function()
    for _ = 1, 20000 do
      local p = craft.random(random)
      local bytes = p.bytes
      for _ = 1, random.number(1, 4) do bytes = put(bytes, random.number(0, #bytes - 1), random.bytes(1)) end
      change(bytes, random.pick { "", NOT_READY, GSO }, random.pick { 2, 10, 7 })
    end
  end)

  it("survives bytes of which nothing is right", function()
    for _ = 1, 20000 do
      local bytes = random.bytes(random.number(1, 120))
      bytes = random.pick { "\x45", "\x60", "\x4f", "" } .. bytes
      change(bytes, random.pick { "", NOT_READY }, random.pick { 2, 10, 7 })
    end
  end)
end)

describe("ipq_rewrite_strerror", function()
  it("has words for each error", function()
    local seen = {}
    for error = E.IPQ_REWRITE_INSIDE - 1, 1 do
      local text = ffi.string(C.ipq_rewrite_strerror(error))
      assert.is_true(#text > 5)
      seen[text] = true
    end
    assert.equal("unknown error", ffi.string(C.ipq_rewrite_strerror(1)))
    local count = 0
    for _ in pairs(seen) do count = count + 1 end
    assert.equal(15, count) -- with that of unknown ones
  end)
end)
