-- Packets changed by a filter: what leaves, through the loop and the rewriting that live packets go through.
local ffi = require "ffi"
local ipq = require "ipq"
local craft = require "spec.support.craft"
local log = require "ipq.log"
local m = require "spec.support.message"
local packets = require "spec.support.packet"
local source = require "spec.support.source"

local E = ffi.C
local ip, ip6, tcp, udp = packets.ip, packets.ip6, packets.tcp, packets.udp

-- The one's complement sum of 16-bit words, slowly.
local function sum_of(bytes, start)
  local sum = start or 0
  for i = 1, #bytes, 2 do
    sum = sum + bytes:byte(i) * 256 + (bytes:byte(i + 1) or 0)
  end
  while sum > 0xffff do sum = sum % 0x10000 + math.floor(sum / 0x10000) end
  return sum
end

local function be16_at(bytes, offset) return bytes:byte(offset + 1) * 256 + bytes:byte(offset + 2) end

-- Asserts that all lengths and checksums of an IPv4 or IPv6 packet without options are right.
local function assert_right(bytes)
  local v6 = bytes:byte(1) >= 0x60
  local header = v6 and 40 or 20
  local protocol = bytes:byte(v6 and 7 or 10)
  local transport = bytes:sub(header + 1)
  if v6 then
    assert.equal(#transport, be16_at(bytes, 4))
  else
    assert.equal(#bytes, be16_at(bytes, 2))
    assert.equal(0xffff, sum_of(bytes:sub(1, 20)))
  end
  local addresses = v6 and bytes:sub(9, 40) or bytes:sub(13, 20)
  local pseudo = sum_of(addresses .. m.be16(#transport) .. "\0" .. string.char(protocol))
  if protocol == 17 then
    assert.equal(#transport, be16_at(transport, 4))
    if be16_at(transport, 6) ~= 0 then assert.equal(0xffff, sum_of(transport, pseudo)) end
  elseif protocol == 6 or protocol == 58 then
    assert.equal(0xffff, sum_of(transport, pseudo))
  elseif protocol == 1 then
    assert.equal(0xffff, sum_of(transport))
  end
end

local original_sink = log.sink
local lines

-- Runs change(pkt) on a packet; gives the bytes that leave (nil where they do not change), the verdict.
local function changed(bytes, change, more)
  lines = {}
  log.sink = function(_, text) lines[#lines + 1] = text end
  local v6 = bytes:byte(1) >= 0x60
  local src = source.new { m.packet(m.hdr(1, v6 and 0x86dd or 0x0800) .. (more or "")
    .. m.attr(m.PAYLOAD, bytes), { family = v6 and 10 or 2 }) }
  local verdicts = src:verdicts(change)
  log.sink = original_sink
  local p = src.batch.packets[0]
  return bit.band(p.set, 4) ~= 0 and ffi.string(p.data, p.data_len) or nil, verdicts[1]
end

-- A packet whose checksums are right: completed by the very thing that is tested, as one that is bytes of a filter's,
-- then compared with the slow sum above.
local function right(bytes)
  local result = changed(bytes, function(pkt)
    pkt.payload:set_u8(0, pkt.payload:u8(0)) -- the bytes alone that it came with would change nothing
    return nil, pkt:copy()
  end)
  assert.same({}, lines)
  assert_right(result)
  return result
end

-- As the kernel hands it on while its checksum is left to a network card: UDP's field has the pseudo-header's sum.
local function unfinished(bytes)
  local v6 = bytes:byte(1) >= 0x60
  local p = { version = v6 and 6 or 4, l4 = v6 and 40 or 20, destination = v6 and 24 or 16,
    kind = { protocol = bytes:byte(v6 and 7 or 10) } }
  if p.kind.protocol ~= 17 then return bytes:sub(1, -3) .. "xx" end
  return craft.put(bytes, p.l4 + 6, m.be16(craft.pseudo(p, bytes)))
end

local samples = {
  ["TCP"] = right(ip(6, tcp "hello, world")), ["UDP"] = right(ip(17, udp("hello, world", { checksum = 1 }))),
  ["TCP over IPv6"] = right(ip6(6, tcp "hello, world")), ["UDP over IPv6"] = right(ip6(17, udp "hello, world")),
  ["ICMP"] = right(ip(1, "\8\0\0\0\0\1\0\2hello, world")),
  ["ICMPv6"] = right(ip6(58, "\128\0\0\0\0\1\0\2hello, world")),
}

local function body(pkt)
  return (pkt.tcp or pkt.udp or pkt.icmp or pkt.icmpv6).payload
end

local changes = {
  ["nothing but a byte written over itself"] = function(pkt) body(pkt):set_u8(0, body(pkt):u8(0)) end,
  ["a byte at an even offset"] = function(pkt) body(pkt):set_u8(0, 200) end,
  ["a byte at an odd offset"] = function(pkt) body(pkt):set_u8(3, 200) end,
  ["16 bits at an odd offset"] = function(pkt) body(pkt):set_u16(1, 0xfffe) end,
  ["32 bits"] = function(pkt) body(pkt):set_u32(3, 0xfedcba98) end,
  ["64 bits"] = function(pkt) body(pkt):set_u64(3, 0xfedcba9876543210ULL) end,
  ["text of the same length"] = function(pkt) body(pkt):write(7, "WORLD") end,
  ["a longer text"] = function(pkt) body(pkt):replace(7, 5, "dear old world") end,
  ["a shorter text"] = function(pkt) body(pkt):replace(0, 7, "") end,
  ["an odd text"] = function(pkt) body(pkt):replace(1, 2, "abc") end,
  ["zeros behind it"] = function(pkt) body(pkt):resize(99) end,
  ["all of it gone"] = function(pkt) body(pkt):resize(0) end,
  ["60,000 bytes more"] = function(pkt) body(pkt):replace(0, 0, ("x"):rep(60000)) end,
  ["a TTL and a DSCP"] = function(pkt)
    if pkt.ip then pkt.ip.ttl, pkt.ip.dscp = 1, 9 else pkt.ip6.hoplimit, pkt.ip6.dscp = 1, 9 end
  end,
  ["an address"] = function(pkt) pkt.saddr = pkt.ip and "1.2.3.4" or "fe80::99" end,
  ["both addresses and a byte"] = function(pkt)
    pkt.saddr, pkt.daddr = pkt.daddr, pkt.saddr
    body(pkt):set_u8(5, 0)
  end,
  ["a port"] = function(pkt) if pkt.dport then pkt.dport = 65535 end pkt.payload:set_u8(1, 0) end,
  ["several at once, and one of them growing"] = function(pkt)
    if pkt.ip then pkt.ip.ttl = 3 end
    body(pkt):write(0, "HELLO")
    body(pkt):replace(5, 0, "!!!")
    body(pkt):set_u8(8, 33)
    if pkt.sport then pkt.sport = 1 end
  end,
}

-- What the payload becomes, by plain strings.
local texts = {
  ["text of the same length"] = "hello, WORLD", ["a longer text"] = "hello, dear old world",
  ["a shorter text"] = "world", ["an odd text"] = "habclo, world",
  ["zeros behind it"] = "hello, world" .. ("\0"):rep(87),
  ["all of it gone"] = "", ["60,000 bytes more"] = ("x"):rep(60000) .. "hello, world",
  ["several at once, and one of them growing"] = "HELLO!!!! world",
}

describe("a changed packet", function()
  for name, bytes in pairs(samples) do
    for what, change in pairs(changes) do
      it(("leaves right: %s, %s"):format(name, what), function()
        local seen
        local result, verdict = changed(bytes, function(pkt)
          change(pkt)
          seen = tostring(body(pkt)) -- while changes pile up, it is consistent
        end)
        assert.same({}, lines)
        assert.equal(ipq.ACCEPT, verdict)
        assert_right(result)
        if texts[what] then
          assert.equal(texts[what], seen)
          assert.equal(texts[what], result:sub(#result - #texts[what] + 1))
        end
      end)
    end

    it("is completed where its checksums were unfinished: " .. name, function()
      local not_ready = m.attr(m.SKB_INFO, m.be32(1))
      local result = changed(unfinished(bytes), function(pkt) pkt.payload:set_u8(1, 4) end, not_ready)
      assert_right(result)
    end)

    it("becomes the bytes that the filter returns: " .. name, function()
      local result, verdict = changed(bytes, function(pkt)
        return ipq.STOP, (pkt:copy():gsub("hello", "howdy ho"))
      end)
      assert.same({}, lines)
      assert.equal(ipq.STOP, verdict)
      assert_right(result)
      assert.truthy(result:find("howdy ho, world", 1, true))
    end)

    it("is none where the filter returns the bytes that came: " .. name, function()
      for _, same in ipairs { function(pkt) return pkt.payload end, function(pkt) return pkt:copy() end } do
        local result, verdict = changed(bytes, function(pkt) return ipq.STOP, same(pkt) end)
        assert.same({}, lines)
        assert.equal(ipq.STOP, verdict)
        assert.is_nil(result)
      end
    end)
  end

  it("keeps a UDP checksum of 0 over IPv4, and has none of 0 over IPv6", function()
    local result = changed(ip(17, udp("x", { checksum = 0 })), function(pkt) pkt.dport = 1 end)
    assert.equal(0, be16_at(result, 26))
    assert.not_equal(0, be16_at(samples["UDP over IPv6"], 46))
  end)

  it("leaves as it is with pkt.fix = false", function()
    local bytes = samples.UDP
    local result = changed(bytes, function(pkt)
      pkt.fix = false
      pkt.udp.payload:set_u8(0, 88)
    end)
    assert.equal(bytes:sub(1, 28) .. "X" .. bytes:sub(30), result)
  end)

  it("has a header again that a change made one of", function()
    local bytes = samples.TCP
    local broken = bytes:sub(1, 32) .. "\16" .. bytes:sub(34)
    local seen = {}
    local result = changed(broken, function(pkt)
      seen[1] = pkt.tcp
      pkt.payload:set_u8(32, 0x50)
      seen[2] = pkt.tcp.dport
    end, m.attr(m.SKB_INFO, m.be32(1)))
    assert.same({ nil, 80 }, seen)
    assert.equal(bytes, result)
  end)

  it("is not sent back with a drop", function()
    local result, verdict = changed(samples.UDP, function(pkt) pkt.dport = 9 return ipq.DROP end)
    assert.is_nil(result)
    assert.equal(ipq.DROP, verdict)
  end)

  it("is not sent back when its filter raises", function()
    local result, verdict = changed(samples.UDP, function(pkt) pkt.dport = 9 error "no" end)
    assert.is_nil(result)
    assert.equal(ipq.DROP, verdict)
  end)
end)

describe("a change that cannot be", function()
  local refused = {
    { "of a packet that was not copied whole", samples.UDP, function(pkt) pkt.ip.ttl = 3 end, "only a part",
      m.attr(m.CAP_LEN, m.be32(1500)) },
    { "of a later fragment's bytes", ip(17, udp "hello", { fragment = 5 }), function(pkt) pkt.payload:set_u8(25, 1) end,
      "fragment" },
    { "of a first fragment's size", ip(17, udp("hello", { checksum = 7 }), { fragment = 0x2000 }),
      function(pkt) pkt.payload:resize(60) end, "fragment" },
    { "to another IP version", samples.UDP, function() return nil, ip6(17, udp "x") end, "version" },
    { "to what is no IP packet", samples.UDP, function() return nil, "x" end, "" },
    { "to nothing", samples.UDP, function() return nil, "" end, "" },
    { "to more than can be sent", samples.UDP, function()
      return nil, ip(17, ("x"):rep(65520), { length = 0 })
    end, "65531" },
  }
  for _, case in ipairs(refused) do
    it("costs the error verdict, and the log has the reason: " .. case[1], function()
      local result, verdict = changed(case[2], case[3], case[5])
      assert.is_nil(result)
      assert.equal(ipq.DROP, verdict)
      assert.equal(1, #lines)
      assert.matches("packet 1 of queue 0: .*" .. case[4], lines[1])
    end)
  end

  it("lets a fragment's TTL be changed", function()
    local result = changed(ip(17, udp "hello", { fragment = 5 }), function(pkt) pkt.ip.ttl = 3 end)
    assert.same({}, lines)
    assert.equal(3, result:byte(9))
    assert.equal(0xffff, sum_of(result:sub(1, 20)))
  end)

  it("is an error for bytes that are neither string nor Buffer", function()
    for _, value in ipairs { 5, true, {} } do
      local result, verdict = changed(samples.UDP, function() return ipq.ACCEPT, value end)
      assert.is_nil(result)
      assert.equal(ipq.DROP, verdict)
      assert.matches("as the packet's bytes; they are a string or a Buffer", lines[1])
    end
  end)
end)

describe("a Buffer", function()
  local function raising(change)
    local message
    changed(samples.UDP, function(pkt) message = select(2, pcall(change, pkt.udp.payload)) end)
    return message
  end

  it("writes nothing beyond its bounds", function()
    for _, change in ipairs {
      function(b) b:set_u8(12, 1) end, function(b) b:set_u16(11, 1) end, function(b) b:set_u32(9, 1) end,
      function(b) b:set_u64(5, 1) end, function(b) b:set_u8(-1, 1) end, function(b) b:set_u8(0 / 0, 1) end,
      function(b) b:write(8, "12345") end, function(b) b:write(13, "") end, function(b) b:replace(0, 13, "") end,
      function(b) b:replace(-1, 1, "") end, function(b) b:replace(1, -1, "") end, function(b) b:replace(12, 1, "") end,
      function(b) b:replace(0, 0 / 0, "") end,
    } do assert.matches("change_spec.lua:%d+: offset out of bounds", raising(change)) end
  end)

  it("takes no value that does not fit", function()
    for _, change in ipairs { function(b) b:set_u8(0, 256) end, function(b) b:set_u16(0, 65536) end,
      function(b) b:set_u64(0, 2 ^ 53) end, function(b) b:set_u8(0, -1) end,
      function(b) b:set_u8(0, 1.5) end, function(b) b:set_u8(0, "1") end, function(b) b:set_u8(0) end } do
      assert.matches("change_spec.lua:%d+: value must be an integer from 0 to", raising(change))
    end
    for _, value in ipairs { 2 ^ 32, -2 ^ 31 - 1, 0.5, 0 / 0, "1" } do
      assert.matches("change_spec.lua:%d+: value must be an integer from %-2147483648 to 4294967295; value %% 2%^32",
        raising(function(b) b:set_u32(0, value) end))
    end
    assert.matches("text must be a string", raising(function(b) b:write(0, 5) end))
    assert.matches("text must be a string", raising(function(b) b:replace(0, 1, nil) end))
    assert.matches("offset must be a number", raising(function(b) b:write("x", "y") end))
    assert.matches("length must be a number", raising(function(b) b:replace(0, "x", "y") end))
    assert.matches("length must be an integer from 0 to 65535", raising(function(b) b:resize(65536) end))
    assert.matches("length must be an integer from 0 to 65535", raising(function(b) b:resize(-1) end))
  end)

  it("writes 32 bits that have a sign, as LuaJIT's bit library gives them", function()
    for _, value in ipairs { -2 ^ 31, -1, bit.bor(0x80000000, 1), 2 ^ 32 - 1 } do
      local read
      local result = changed(samples.UDP, function(pkt)
        pkt.udp.payload:set_u32(1, value)
        read = pkt.udp.payload:u32(1)
      end)
      assert.equal(value % 2 ^ 32, read)
      assert.equal(m.be32(value % 2 ^ 32), result:sub(30, 33))
    end
  end)

  it("says what lies out of its bounds", function()
    for text, change in pairs {
      ["1 byte at offset 12 of a Buffer of 12 bytes"] = function(b) b:set_u8(12, 1) end,
      ["2 bytes at offset 11 of a Buffer of 12 bytes"] = function(b) b:set_u16(11, 1) end,
      ["4 bytes at offset 9 of a Buffer of 12 bytes"] = function(b) b:set_u32(9, 1) end,
      ["8 bytes at offset -1 of a Buffer of 12 bytes"] = function(b) b:set_u64(-1, 1) end,
      ["5 bytes at offset 8 of a Buffer of 12 bytes"] = function(b) b:write(8, "12345") end,
      ["offset 13 of a Buffer of 12 bytes"] = function(b) b:write(13, "") end,
      ["13 bytes at offset 0 of a Buffer of 12 bytes"] = function(b) b:replace(0, 13, "") end,
      ["-1 bytes at offset 3 of a Buffer of 12 bytes"] = function(b) b:replace(3, -1, "") end,
      ["nan bytes at offset 3 of a Buffer of 12 bytes"] = function(b) b:replace(3, 0 / 0, "") end,
    } do
      -- Which sign NaN has is the processor's.
      local message = raising(change):gsub("%-nan", "nan")
      assert.equal("offset out of bounds: " .. text, (message:gsub("^spec/unit/change_spec.lua:%d+: ", "")))
    end
  end)

  it("takes no half offsets and lengths to write to", function()
    for _, change in ipairs { function(b) b:set_u8(0.5, 1) end, function(b) b:write(0.5, "x") end,
      function(b) b:replace(0.5, 1, "x") end, function(b) b:replace(0, 1.5, "x") end } do
      assert.matches("must be a whole number", raising(change))
    end
  end)

  it("is empty when the packet was cut off before it", function()
    local length
    changed(samples.UDP, function(pkt)
      local b = pkt.udp.payload
      pkt.payload:resize(24)
      length = #b
      assert(not pcall(b.u8, b, 0))
      pkt.payload:resize(33)
    end)
    assert.equal(0, length)
  end)

  it("grows to what can be sent and no further", function()
    assert.matches("65531", raising(function(b) b:replace(0, 0, ("x"):rep(65500)) end))
    local result = changed(samples.UDP, function(pkt) pkt.udp.payload:resize(65531 - 28) end)
    assert.equal(65531, #result)
    assert_right(result)
  end)

  it("keeps the packet consistent over random changes", function()
    math.randomseed(11)
    for _ = 1, 300 do
      local text = "hello, world"
      local result = changed(samples[math.random(2) == 1 and "UDP" or "TCP over IPv6"], function(pkt)
        for _ = 1, math.random(1, 12) do
          local b = body(pkt)
          assert(#b == #text)
          local kind, at = math.random(5), math.random(0, #text)
          if kind == 1 then
            local length = math.random(0, #text - at)
            local new = ("abcdefghij"):sub(1, math.random(0, 10))
            b:replace(at, length, new)
            text = text:sub(1, at) .. new .. text:sub(at + length + 1)
          elseif kind == 2 and at < #text then
            b:set_u8(at, 65)
            text = text:sub(1, at) .. "A" .. text:sub(at + 2)
          elseif kind == 3 and at + 4 <= #text then
            b:set_u32(at, 0x42434445)
            text = text:sub(1, at) .. "BCDE" .. text:sub(at + 5)
          elseif kind == 4 then
            local size = math.random(0, 30)
            b:resize(size)
            text = (text .. ("\0"):rep(size)):sub(1, size)
          elseif kind == 5 then
            pkt.sport = math.random(0, 65535)
          end
          assert(tostring(body(pkt)) == text)
        end
      end)
      assert.same({}, lines)
      if result then
        assert_right(result)
        assert.equal(text, result:sub(#result - #text + 1))
      end
    end
  end)
end)

describe("fragments that are changed one by one", function()
  local t = require "ipq.test"

  local function filter(pkt)
    pkt.saddr = pkt.ip and "198.51.100.7" or "2001:db8::7"
    if pkt.sport then pkt.sport = 4444 end
    if pkt.icmp then pkt.icmp.id = 77 end
    if pkt.icmpv6 then pkt.icmpv6.id = 77 end
  end

  for name, fields in pairs { tcp = {}, udp = {}, udplite = {}, dccp = {}, icmp = {}, icmpv6 = {},
    ["udp over IPv6"] = { saddr = "2001:db8::1" }, ["tcp over IPv6"] = { saddr = "2001:db8::1" } } do
    it("are those of the packet that is changed as one: " .. name, function()
      fields.payload = ("0123456789"):rep(40)
      local whole = t[name:match "^%w+"](fields)
      local parts, addresses = {}, whole.ip and { 13, 20 } or { 9, 40 }
      local start = whole.ip and 20 or 40
      local expected = t.run(filter, whole).packet.bytes
      for i, fragment in ipairs(t.fragments(whole, 200, 9)) do
        local bytes = assert(t.run(filter, fragment).packet).bytes
        assert.equal(expected:sub(unpack(addresses)), bytes:sub(unpack(addresses)))
        parts[i] = bytes:sub(start + (whole.ip and 0 or 8) + 1)
      end
      assert.is_true(#parts > 2)
      assert.equal(expected:sub(start + 1), table.concat(parts))
    end)
  end
end)

describe("where the kernel drops what was laid out anew, a change", function()
  local function judged(change, drops, held)
    lines = {}
    log.sink = function(_, text) lines[#lines + 1] = text end
    local src = source.new { m.packet(m.hdr(1, 0x0800) .. m.attr(m.PAYLOAD, samples.TCP), { family = 2 }) }
    src.batch.loses = drops and E.IPQ_SET_LAYOUT or 0
    local verdicts = src:verdicts(function(pkt)
      change(pkt)
      if held then held = pkt:hold() end
    end)
    log.sink = original_sink
    return verdicts[1], lines[1]
  end
  local function options(pkt) pkt.ip.options = "\1\1\1\0" end

  it("of options, and in the bytes that a filter returns, is an error", function()
    for _, change in ipairs { options, function(pkt) pkt.ip.mf = true end } do
      local verdict, line = judged(change, true)
      assert.equal(ipq.DROP, verdict)
      assert.matches("packet changed: this kernel drops a packet whose IPv4 options", line)
      assert.equal(ipq.DROP, (judged(change, true, true)))
      assert.equal(ipq.DROP, (judged(function(pkt)
        pkt.fix = false
        change(pkt)
      end, true)))
    end
  end)

  it("of a large UDP packet is another error", function()
    local function large(loses, change)
      lines = {}
      log.sink = function(_, text) lines[#lines + 1] = text end
      local src = source.new { m.packet(m.hdr(1, 0x0800) .. m.attr(m.SKB_INFO, m.be32(3))
        .. m.attr(m.PAYLOAD, unfinished(samples.UDP)), { family = 2 }) }
      src.batch.loses = loses
      local verdicts = src:verdicts(change or function(pkt) pkt.ip.ttl = 9 end)
      log.sink = original_sink
      return verdicts[1], lines[1]
    end
    local verdict, line = large(E.IPQ_SET_SEGMENTED + E.IPQ_SET_LAYOUT)
    assert.equal(ipq.DROP, verdict)
    assert.matches("packet changed: this kernel makes wrong checksums of a large UDP packet", line)
    assert.equal(ipq.ACCEPT, (large(E.IPQ_SET_LAYOUT)))
    -- Some kernels stop for such a packet: whatever a script does, and whether its sums are made right or not.
    for _, change in ipairs { function(pkt) pkt.udp.payload:set_u8(0, 1) end, function(pkt) pkt.dport = 9 end,
      function(pkt) pkt.udp.payload:replace(0, 0, "more") end, function(pkt) return nil, pkt:copy() .. "more" end,
      function() return nil, samples.TCP end } do
      for _, fix in ipairs { true, false } do
        verdict = large(E.IPQ_SET_SEGMENTED, function(pkt)
          pkt.fix = fix
          return change(pkt)
        end)
        assert.equal(ipq.DROP, verdict)
      end
    end
  end)

  it("of anything else is none, nor is one where the kernel takes it", function()
    assert.equal(ipq.ACCEPT, (judged(function(pkt) pkt.ip.ttl, pkt.tcp.dport = 9, 9 end, true)))
    assert.equal(ipq.ACCEPT, (judged(options, false)))
  end)
end)
