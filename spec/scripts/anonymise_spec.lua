-- scripts/anonymise.lua, and the modules in scripts/anonymise/.
local bit = require "bit"
local capture = require "spec.support.capture"
local m = require "spec.support.message"
local netns = require "spec.support.netns"
local rewrite = require "spec.support.rewrite"
local script = require "ipq.engine.script"
local t = require "ipq.test"
local tshark = require "spec.support.tshark"

local path = package.path
package.path = "scripts/?.lua;" .. path
local addresses, siphash = require "anonymise.addresses", require "anonymise.siphash"
package.path = path

local be16, be32 = m.be16, m.be32

-- What must not be told: the results have none of it.
local MAC_A, MAC_B = "\60\82\130\110\161\7", "\164\187\109\145\195\85"
local IP_A, IP_B, IP_C, IP_D = "93.184.216.34", "198.18.77.201", "81.2.69.142", "175.16.199.11"
local IP6_A, IP6_B = "2a01:4f8:c17:b0f:3e52:82ff:fe6e:a107", "2600:1f18:2c3d:9e0a:5b6c:7d8e:9fa0:b1c2"
local IP6_C, LOCAL6 = "2a02:2e0:3fe:1001:7777:772e:2:85", "fe80::3e52:82ff:fe6e:a107"
local SECRET = "Geheimnis-42"

--- The bytes of an address's text.
local function raw(text)
  if text:find ":" then return (t.ip6 { saddr = text }.bytes:sub(9, 24)) end
  return (t.ip { saddr = text }.bytes:sub(13, 16))
end

local secrets = { MAC_A, MAC_B, SECRET:sub(1, 6), raw(IP6_A):sub(9), raw(IP6_B):sub(9), raw(IP6_C):sub(9) }
for _, text in ipairs { IP_A, IP_B, IP_C, IP_D, IP6_A, IP6_B, IP6_C, LOCAL6 } do secrets[#secrets + 1] = raw(text) end

local function hex(bytes) return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end

local function assert_no_secret(bytes)
  for _, secret in ipairs(secrets) do
    assert.is_nil(bytes:find(secret, 1, true), "it has " .. hex(secret))
  end
end

local function frame(packet, daddr, saddr)
  local bytes = type(packet) == "string" and packet or packet.bytes
  return (daddr or MAC_B) .. (saddr or MAC_A) .. (bytes:byte(1) >= 0x60 and "\134\221" or "\8\0") .. bytes
end

local STATUS = "-e ip.checksum.status -e tcp.checksum.status -e udp.checksum.status -e icmp.checksum.status "
  .. "-e icmpv6.checksum.status -e igmp.checksum.status"

--- tshark's words on the checksums of a capture, those of quoted packets too: a line a frame, where "0" is a wrong one.
local function checksums_of(file)
  if not tshark.available() then return "" end
  return (netns.shell(("LD_PRELOAD= tshark -n -r %s -o ip.check_checksum:TRUE -o tcp.check_checksum:TRUE "
    .. "-o udp.check_checksum:TRUE -o ip.defragment:FALSE -o ipv6.defragment:FALSE -d udp.port==0-65535,data "
    .. "-T fields -E occurrence=a %s 2>/dev/null"):format(file, STATUS)))
end

--- The numbers of frames of which tshark says that a checksum is wrong.
local function wrong_sums(file)
  local wrong, number = {}, 0
  for line in checksums_of(file):gmatch "([^\n]*)\n" do
    number = number + 1
    if line:find("0", 1, true) then wrong[#wrong + 1] = number end
  end
  return wrong
end

--- Runs the program over frames. Options are arguments, and link. Gives what was written: the bytes of the frames, the
--- whole file, what the program said, its exit status, and where in.pcap and out.pcap are until the spec ends.
local function anonymise(frames, options)
  options = options or {}
  local dir = netns.shell "mktemp -d":match "%S+"
  finally(function() netns.shell("rm -rf " .. dir) end)
  local list = {}
  for i, each in ipairs(frames) do list[i] = type(each) == "table" and each or { each } end
  capture.write(dir .. "/in.pcap", list, { link = options.link or capture.ETHERNET })
  local output, status = netns.shell(("LD_PRELOAD= ASAN_OPTIONS=detect_leaks=0 timeout 100 %s -r %s/in.pcap "
    .. "-w %s/out.pcap scripts/anonymise.lua %s"):format(netns.program, dir, dir,
    options.arguments or "key=spec"))
  local file = assert(io.open(dir .. "/out.pcap", "rb"))
  local bytes = file:read "*a"
  file:close()
  local written = {}
  for i, each in ipairs((capture.read(dir .. "/out.pcap"))) do written[i] = each[1] end
  return { frames = written, bytes = bytes, output = output, status = status, folder = dir }
end

--- Where checksums are wrong that were right. Of a TCP segment that is quoted in part tshark says that it is wrong.
local function new_wrong_sums(folder)
  local wrong = wrong_sums(folder .. "/out.pcap")
  if not wrong[1] then return wrong end
  local was_wrong = {}
  for _, number in ipairs(wrong_sums(folder .. "/in.pcap")) do was_wrong[number] = true end
  for i = #wrong, 1, -1 do
    if was_wrong[wrong[i]] then table.remove(wrong, i) end
  end
  return wrong
end

--- The same; none is lost, all checksums are right, and no secret is told.
local function assert_hidden(frames, options)
  local result = anonymise(frames, options)
  assert.equal(0, result.status, result.output)
  assert.equal(#frames, #result.frames, result.output)
  assert_no_secret(result.bytes)
  assert.same({}, new_wrong_sums(result.folder))
  return result
end

--- An IPv4 packet as ICMP errors quote it.
local function quoted(size)
  local bytes = t.udp { saddr = IP_B, daddr = IP_A, payload = SECRET:rep(8) }.bytes
  return size and bytes:sub(1, size) or bytes
end

local function quoted6(size)
  local bytes = t.tcp { saddr = IP6_B, daddr = IP6_A, payload = SECRET:rep(8) }.bytes
  return size and bytes:sub(1, size) or bytes
end

local function sum_is_right(header) return rewrite.sum(header) == 0xffff end

describe("anonymise.siphash", function()
  -- The paper's, appendix A, and those of its authors' program: the key is 00 to 0f, the message 00, 01, ...
  local k0, k1 = 0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL
  local vectors = { [0] = 0x726fdb47dd0e0e31ULL, [8] = 0x93f5f5799a932462ULL, [15] = 0xa129ca6149be45e5ULL,
    [16] = 0x3f2acc7f57c29bdbULL, [18] = 0x4bc1b3f0968dd39cULL, [23] = 0xa80c038ccd5ccec8ULL,
    [24] = 0xb8ad50c6f649af94ULL }

  local function message(length)
    local bytes = {}
    for i = 1, length do bytes[i] = string.char(i - 1) end
    return table.concat(bytes)
  end

  it("gives what its authors' program gives", function()
    for length, hash in pairs(vectors) do assert.equal(hash, siphash.text(k0, k1, message(length))) end
  end)

  it("gives the same of words", function()
    for length = 16, 23 do
      local text = message(length)
      local last = siphash.word(text, 17) + bit.lshift(0ULL + length, 56)
      assert.equal(siphash.text(k0, k1, text),
        siphash.words(k0, k1, siphash.word(text, 1), siphash.word(text, 9), last))
    end
  end)
end)

describe("anonymise.addresses", function()
  local r = rewrite.random(7)


  --- What the 16 bytes of an IPv6 address become, through a packet.
  local function map6(map, list)
    local result = {}
    t.run(function(pkt)
      local b = pkt.payload
      for i, address in ipairs(list) do
        b:write(8, address)
        map:put_ip6(b, 8)
        result[i] = b:string(8, 16)
      end
      return require "ipq".DROP
    end, t.ip6 {})
    return result
  end

  local function bits_of(bytes)
    return (bytes:gsub(".", function(c)
      local byte, text = c:byte(), ""
      for i = 7, 0, -1 do text = text .. math.floor(byte / 2 ^ i) % 2 end
      return text
    end))
  end

  local function shared(a, b)
    local n = 0
    while n < #a and a:byte(n + 1) == b:byte(n + 1) do n = n + 1 end
    return n
  end

  --- Any two of these share as many bits before as they do after.
  local function assert_shared(before, after)
    local bits, mapped = {}, {}
    for i = 1, #before do
      bits[i], mapped[i] = bits_of(before[i]), bits_of(after[i])
      for j = 1, i - 1 do
        if shared(bits[i], bits[j]) ~= shared(mapped[i], mapped[j]) then
          error(("%s and %s become %s and %s"):format(hex(before[i]), hex(before[j]), hex(after[i]), hex(after[j])))
        end
      end
    end
  end

  --- Random addresses, of which each shares a random number of bits with one before.
  local function random_numbers(count)
    local list = { r.number(0, 65535) * 65536 + r.number(0, 65535) }
    for i = 2, count do
      local kept = 2 ^ r.number(0, 32)
      local other = list[r.number(1, i - 1)]
      local low = (r.number(0, 65535) * 65536 + r.number(0, 65535)) % kept
      list[i] = other - other % kept + low
    end
    return list
  end

  it("keeps what IPv4 addresses share, and no more", function()
    local map, before, after = addresses.new "a key", {}, {}
    for i, address in ipairs(random_numbers(400)) do
      before[i], after[i] = be32(address), be32(map:ip(address))
    end
    assert_shared(before, after)
  end)

  it("keeps what IPv6 addresses share, and no more", function()
    local list = { raw(IP6_A), raw(IP6_B), raw "::", raw "::1", raw "fe80::1", raw "ff02::1:ff01:203", raw "ff02::1",
      raw "ff3e:40:2a01:4f8::1", raw "2002:5db8:d822::1", raw "2002:5db8:d823::1", raw "::ffff:93.184.216.34",
      raw "64:ff9b::93.184.216.34" }
    for i = #list + 1, 120 do
      local other, at = list[r.number(1, i - 1)], r.number(0, 15)
      list[i] = other:sub(1, at) .. r.bytes(16 - at)
    end
    assert_shared(list, map6(addresses.new "a key", list))
  end)

  it("makes a network of a network, without a hole", function()
    local map, seen, count = addresses.new "a key", {}, 0
    for i = 0, 255 do
      local mapped = map:ip(0xc0000200 + i)
      assert.equal(map:ip(0xc0000200) - map:ip(0xc0000200) % 256, mapped - mapped % 256)
      if not seen[mapped] then seen[mapped], count = true, count + 1 end
    end
    assert.equal(256, count)
  end)

  it("gives the same for the same key, and something else for another", function()
    local one, again, other = addresses.new "one", addresses.new "one", addresses.new "other"
    local differ = 0
    for i = 1, 200 do
      local address = 0x0a000000 + i * 7919
      assert.equal(one:ip(address), again:ip(address))
      if one:ip(address) ~= other:ip(address) then differ = differ + 1 end
    end
    assert.is_true(differ > 190)
    assert.same(map6(one, { raw(IP6_A) }), map6(again, { raw(IP6_A) }))
    assert.not_same(map6(one, { raw(IP6_A) }), map6(other, { raw(IP6_A) }))
    assert.equal(one:ether(MAC_A), again:ether(MAC_A))
    assert.not_equal(one:ether(MAC_A), other:ether(MAC_A))
  end)

  it("turns bits over as SipHash says of the bits before them, whoever calculates it", function()
    local key = "a key"
    local k0, k1 = siphash.text(0ULL, 0ULL, key), siphash.text(0ULL, 1ULL, key)
    local map = addresses.new(key)
    local fixed = { "00000000", "01111111", "1010100111111110", "1110", bits_of "\224\0\0", bits_of "\224\0\1",
      bits_of "\239\255\255\250", bits_of "\255\255\255\255" }
    local function is_fixed(before)
      for _, block in ipairs(fixed) do
        if #before < #block and block:sub(1, #before) == before then return true end
      end
    end
    for _, address in ipairs(random_numbers(300)) do
      local text, expected = bits_of(be32(address)), ""
      if not text:find "^00000000" and not text:find "^01111111" and not text:find "^1110000000000000000000000" then
        for i = 0, 31 do
          local digit, place = math.floor(i / 4), i % 4
          local whole = text:sub(1, digit * 4) .. ("0"):rep(64 - digit * 4)
          local number = tonumber(whole:sub(1, 32), 2)
          local word = bit.lshift(0ULL + number, 32)
          local hash = siphash.words(k0, k1, word, 0ULL, bit.lshift(18ULL, 56) + (4 + 256 * digit))
          local begun = tonumber("0" .. text:sub(digit * 4 + 1, i), 2)
          local flip = tonumber(bit.band(bit.rshift(hash, 2 ^ place - 1 + begun), 1ULL))
          if is_fixed(text:sub(1, i)) then flip = 0 end
          expected = expected .. bit.bxor(tonumber(text:sub(i + 1, i + 1)), flip)
        end
        assert.equal(expected, bits_of(be32(map:ip(address))), hex(be32(address)))
      end
    end
  end)

  it("has an address that was mapped once be the same for ever", function()
    assert.equal("cb54ae4a", hex(be32(addresses.new("a key"):ip(0xc0000201))))
    assert.equal("200047f7721b82aef1eb6874956e640d", hex(map6(addresses.new "a key", { raw "2001:db8::1" })[1]))
    assert.equal("fe11dbc0a943", hex(addresses.new("a key"):ether(MAC_A)))
  end)

  it("leaves addresses alone that are nobody's own", function()
    for _, key in ipairs { "one", "two", "three" } do
      local map = addresses.new(key)
      for _, address in ipairs { 0, 0x7f000001, 0x7fffffff, 0xffffffff, 0xe0000001, 0xe00000fb, 0xe0000116,
        0xeffffffa } do
        assert.equal(address, map:ip(address))
      end
      local kept = { raw "::", raw "::1", raw "ff02::1", raw "ff02::2", raw "ff05::1:3", raw "ff02::fb",
        raw "::ffff:127.0.0.1" }
      assert.same(kept, map6(map, kept))
      assert.equal(("\0"):rep(6), map:ether(("\0"):rep(6)))
      assert.equal(("\255"):rep(6), map:ether(("\255"):rep(6)))
    end
  end)

  it("has link-local addresses and groups stay such, and hides who they are", function()
    for _, key in ipairs { "one", "two", "three", "four", "five" } do
      local map = addresses.new(key)
      local link_local, group = map:ip(0xa9fe0102), map:ip(0xe9010203)
      assert.equal(0xa9fe, math.floor(link_local / 65536))
      assert.equal(0xe, math.floor(group / 2 ^ 28))
      assert.not_equal(0xa9fe0102, link_local)
      assert.not_equal(0xe9010203, group)
      local mapped = map6(map, { raw(LOCAL6), raw "ff02::1:ff6e:a107", raw "ff3e:40:2a01:4f8:c17:b0f:0:1" })
      assert.equal("\254", mapped[1]:sub(1, 1))
      assert.equal(2, math.floor(mapped[1]:byte(2) / 64))
      assert.equal(raw "ff02::1:ff6e:a107":sub(1, 13), mapped[2]:sub(1, 13))
      assert.not_equal(raw "ff02::1:ff6e:a107", mapped[2])
      assert.equal("\255\62", mapped[3]:sub(1, 2))
      assert_no_secret(table.concat(mapped))
      assert.is_nil(mapped[3]:find(raw(IP6_A):sub(1, 8), 1, true))
    end
  end)

  it("maps an IPv4 address in an IPv6 one as it does elsewhere", function()
    local map = addresses.new "a key"
    local v4 = be32(map:ip(0x5db8d822))
    local mapped = map6(map, { raw "::ffff:93.184.216.34", raw "64:ff9b::93.184.216.34", raw "2002:5db8:d822::1",
      raw "::93.184.216.34" })
    assert.equal(raw "::ffff:0.0.0.0":sub(1, 12) .. v4, mapped[1])
    assert.equal(raw "64:ff9b::":sub(1, 12) .. v4, mapped[2])
    assert.equal("\32\2" .. v4, mapped[3]:sub(1, 6))
    assert.not_equal(raw "2002:5db8:d822::1":sub(7), mapped[3]:sub(7))
    assert.equal(("\0"):rep(12) .. v4, mapped[4])
  end)

  it("says of Ethernet addresses that nobody has assigned them, and keeps which are a group's", function()
    local map, seen = addresses.new "a key", {}
    for i = 0, 255 do
      local mapped = map:ether(string.char(i) .. "\1\2\3\4\5")
      assert.equal(2 + i % 2, mapped:byte(1) % 4)
      assert.is_nil(seen[mapped])
      seen[mapped] = true
    end
  end)
end)

describe("scripts/anonymise.lua", function()
  it("hides addresses and payloads, and checksums are right", function()
    local frames = {}
    for i, pair in ipairs { { IP_A, IP_B }, { IP6_A, IP6_B }, { LOCAL6, "ff02::1:ff6e:a107" } } do
      for _, build in ipairs { t.tcp, t.udp, t.udplite, t.sctp, t.dccp } do
        frames[#frames + 1] = frame(build { saddr = pair[1], daddr = pair[2], sport = 1000 + i, payload = SECRET })
      end
      frames[#frames + 1] = frame(t.gre { saddr = pair[1], daddr = pair[2], payload = quoted() })
      frames[#frames + 1] = frame(t.esp { saddr = pair[1], daddr = pair[2], payload = SECRET })
    end
    frames[#frames + 1] = frame(t.icmp { saddr = IP_A, daddr = IP_B, type = 8, payload = SECRET })
    frames[#frames + 1] = frame(t.icmpv6 { saddr = IP6_A, daddr = IP6_B, type = 128, payload = SECRET })
    frames[#frames + 1] = frame(t.ip { saddr = IP_A, daddr = IP_B, protocol = 4, payload = quoted() })
    frames[#frames + 1] = frame(t.ip { saddr = IP_A, daddr = IP_B, protocol = 253, payload = SECRET })
    frames[#frames + 1] = frame(t.ip { saddr = IP_A, daddr = IP_B, protocol = 41, payload = quoted6() })
    frames[#frames + 1] = frame(t.tcp { saddr = IP_A, daddr = IP_B, payload = SECRET:rep(400) })
    local result = assert_hidden(frames)
    for i, bytes in ipairs(frames) do
      assert.equal(#bytes, #result.frames[i])
      assert.equal(("\0"):rep(#SECRET), result.frames[i]:sub(-#SECRET))
      assert.valid_checksums(t.packet(result.frames[i]:sub(15)))
    end
    assert.equal(frames[1]:sub(35, 38), result.frames[1]:sub(35, 38)) -- ports
  end)

  it("keeps payloads of programs, if asked, and what is in tunnels not even then", function()
    local frames = { frame(t.tcp { payload = "hello" }), frame(t.udp { payload = "hello" }),
      frame(t.icmp { type = 8, payload = "hello" }), frame(t.icmpv6 { type = 128, payload = "hello" }),
      frame(t.fragments(t.udp { payload = ("x"):rep(64) .. "hello" }, 64)[2]),
      frame(t.ip { protocol = 4, payload = quoted() }), frame(t.gre { payload = SECRET }),
      frame(t.ip { protocol = 253, payload = "hello" }) }
    local result = assert_hidden(frames, { arguments = "key=spec payload=keep" })
    for i = 1, 5 do assert.equal("hello", result.frames[i]:sub(-5)) end
    assert.is_nil(result.frames[8]:find("hello", 1, true))
  end)

  it("has packets in fragments be put together again, where payloads stay", function()
    local frames = {}
    for i, piece in ipairs(t.fragments(t.udp { saddr = IP_A, daddr = IP_B, payload = ("hello "):rep(30) }, 100)) do
      frames[i] = frame(piece)
    end
    local result = assert_hidden(frames, { arguments = "key=spec payload=keep" })
    local bytes = ""
    for _, each in ipairs(result.frames) do bytes = bytes .. each:sub(35) end
    local first = result.frames[1]
    local whole = first:sub(15, 16) .. be16(20 + #bytes) .. first:sub(19, 20) .. "\0\0" .. first:sub(23, 24) .. "\0\0"
      .. first:sub(27, 34) .. bytes
    whole = whole:sub(1, 10) .. be16(rewrite.checksum(whole:sub(1, 20))) .. whole:sub(13)
    assert.valid_checksums(t.packet(whole))
  end)

  it("hides what fragments carry", function()
    local frames = {}
    for _, build in ipairs { t.udp, t.tcp, t.sctp } do
      for _, pair in ipairs { { IP_A, IP_B }, { IP6_A, IP6_B } } do
        local packet = build { saddr = pair[1], daddr = pair[2], payload = SECRET:rep(20) }
        for _, piece in ipairs(t.fragments(packet, 120)) do frames[#frames + 1] = frame(piece) end
      end
    end
    assert_hidden(frames)
  end)

  it("hides what is there of packets that are cut off, whose checksums follow", function()
    local frames = {}
    for _, build in ipairs { t.udp, t.tcp, t.sctp, t.udplite, t.icmp } do
      for _, pair in ipairs { { IP_A, IP_B }, { IP6_A, IP6_B } } do
        if build ~= t.icmp or pair[1] == IP_A then
          local packet = build { saddr = pair[1], daddr = pair[2], payload = SECRET .. ("\0"):rep(100) }
          frames[#frames + 1] = { frame(packet):sub(1, -81), len = #frame(packet) }
        end
      end
    end
    local result = anonymise(frames)
    assert.equal(0, result.status, result.output)
    assert.equal(#frames, #result.frames)
    assert_no_secret(result.bytes)
    -- What is missing is zeros: so it can be filled in again.
    for _, bytes in ipairs(result.frames) do
      local whole = t.packet(bytes:sub(15) .. ("\0"):rep(80))
      if not whole.sctp then assert.valid_checksums(whole) else assert.equal(0, whole.sctp.checksum) end
    end
  end)

  it("drops what is cut off in its headers, and what makes no sense", function()
    local whole = frame(t.tcp { saddr = IP_A, daddr = IP_B })
    local result = anonymise { { whole:sub(1, 14 + 30), len = #whole }, { whole:sub(1, 14 + 12), len = #whole },
      frame(t.ip6 { saddr = IP6_A, daddr = IP6_B, nexthdr = 43, payload = "\59\2\3\1" .. ("\0"):rep(20) }),
      frame("\69\0\0\20") }
    assert.equal(0, result.status, result.output)
    assert.equal(0, #result.frames)
    assert.matches("3 packets were dropped: malformed", result.output)
    assert.matches("1 packets were dropped: headers", result.output)
  end)

  it("has conversations stay conversations", function()
    local frames, r = {}, rewrite.random(3)
    for i = 1, 60 do
      local one, other = ("10.%d.0.%d"):format(i % 3, i % 7), ("192.0.2.%d"):format(i % 5)
      if r.number(0, 1) == 1 then one, other = other, one end
      frames[i] = frame(t.tcp { saddr = one, daddr = other, sport = 80, dport = 80, payload = SECRET })
    end
    local result = assert_hidden(frames)
    local function conversations(list)
      local count, seen = 0, {}
      for _, bytes in ipairs(list) do
        local a, b = bytes:sub(27, 30), bytes:sub(31, 34)
        local name = a < b and a .. b or b .. a
        if not seen[name] then seen[name], count = true, count + 1 end
      end
      return count
    end
    assert.is_true(conversations(frames) > 20)
    assert.equal(conversations(frames), conversations(result.frames))
  end)

  it("maps an address the same everywhere: in IP, in ARP, in options and in what is quoted", function()
    local arp = MAC_B .. MAC_A .. "\8\6\0\1\8\0\6\4\0\2" .. MAC_A .. raw(IP_A) .. MAC_B .. raw(IP_B)
    local result = assert_hidden { frame(t.udp { saddr = IP_A, daddr = IP_B }), arp,
      frame(t.icmp { saddr = IP_C, daddr = IP_B, type = 3, code = 3, payload = quoted() }) }
    local ip, answer, about = unpack(result.frames)
    assert.equal(ip:sub(1, 12), answer:sub(1, 12))
    assert.equal(ip:sub(7, 12) .. ip:sub(27, 30) .. ip:sub(1, 6) .. ip:sub(31, 34), answer:sub(23, 42))
    assert.equal(ip:sub(31, 34) .. ip:sub(27, 30), about:sub(43 + 12, 43 + 19))
  end)

  it("hides ARP's addresses, and padding, and drops other networks' ARP", function()
    local head = ("\255"):rep(6) .. MAC_A .. "\8\6"
    local result = assert_hidden {
      head .. "\0\1\8\0\6\4\0\1" .. MAC_A .. raw(IP_A) .. ("\0"):rep(6) .. raw(IP_B) .. SECRET,
      head .. "\0\1\8\0\6\4\0\1" .. MAC_A .. "\0\0\0\0" .. ("\0"):rep(6) .. raw(IP_B) }
    assert.equal(("\255"):rep(6), result.frames[1]:sub(1, 6))
    assert.equal(("\0"):rep(6), result.frames[1]:sub(33, 38))
    assert.equal("\0\0\0\0", result.frames[2]:sub(29, 32))
    result = anonymise { head .. "\0\1\8\0\8\4\0\1" .. MAC_A .. "\1\1" .. raw(IP_A) .. MAC_A .. "\1\1" .. raw(IP_B) }
    assert.equal(0, #result.frames)
  end)

  it("hides what lies behind a packet in its frame", function()
    local result = anonymise { frame(t.udp { saddr = "0.0.0.0", daddr = "255.255.255.255" }) .. SECRET,
      frame(t.ip6 { saddr = "::", daddr = "ff02::1" }) .. SECRET }
    assert.equal(2, #result.frames)
    assert_no_secret(result.bytes)
  end)

  it("has a group's Ethernet address follow from its IP address", function()
    local solicited = raw "ff02::1:ff6e:a107"
    local result = assert_hidden {
      frame(t.icmpv6 { saddr = LOCAL6, daddr = "ff02::1:ff6e:a107", type = 135, payload = raw(IP6_A) },
        "\51\51" .. solicited:sub(13)),
      frame(t.udp { saddr = IP_A, daddr = "233.1.2.3" }, "\1\0\94\1\2\3"),
      frame(t.udp { saddr = IP_A, daddr = "224.0.0.251" }, "\1\0\94\0\0\251"),
      frame(t.udp { saddr = IP_A, daddr = IP_B }, "\3\191" .. raw(IP_B)),
      frame(t.udp { saddr = IP6_A, daddr = IP6_B }, "\51\51" .. raw(IP6_B):sub(13)),
    }
    local six, four, kept, other, other6 = unpack(result.frames)
    assert.is_nil(result.bytes:find("\255\110\161\7", 1, true))
    assert.equal("\51\51" .. six:sub(14 + 37, 14 + 40), six:sub(1, 6))
    assert.equal("\1\0\94" .. string.char(four:byte(32) % 128) .. four:sub(33, 34), four:sub(1, 6))
    assert.is_nil(four:find("\1\2\3", 1, true))
    assert.equal("\1\0\94\0\0\251", kept:sub(1, 6))
    assert.equal(3, other:byte(1) % 4)
    assert.is_nil(other6:sub(1, 6):find(raw(IP6_B):sub(13), 1, true))
  end)

  it("hides addresses in IPv4's options, and takes those away that it does not know", function()
    local function options(bytes)
      return frame(t.udp { saddr = IP_A, daddr = IP_B, ip = { options = bytes }, payload = SECRET })
    end
    local result = assert_hidden {
      options("\7\11\12" .. raw(IP_C) .. raw(IP_D) .. "\1"), -- record route
      options("\131\11\4" .. raw(IP_C) .. raw(IP_D) .. "\0"), -- a source route, whose last one is the destination
      options("\68\20\21\1" .. raw(IP_C) .. "\1\2\3\4" .. raw(IP_D) .. "\1\2\3\4"), -- timestamps
      options("\68\12\13\0\1\2\3\4\5\6\7\8"), -- those alone
      options("\130\12" .. SECRET:sub(1, 10)), -- unknown
      options("\7\9\4" .. raw(IP_C) .. "\1\2\0\0\0"), -- no whole addresses
      options("\0\1" .. raw(IP_C) .. "\0\0"), -- behind their end
      options("\148\4\0\0"),
    }
    local function read(i) return result.frames[i]:sub(35, -9 - #SECRET) end
    assert.equal("\7\11\12", read(1):sub(1, 3))
    assert.equal("\1\2\3\4", read(3):sub(9, 12))
    assert.equal("\68\12\13\0\1\2\3\4\5\6\7\8", read(4))
    assert.equal(("\1"):rep(12), read(5))
    assert.equal(("\1"):rep(9) .. "\0\0\0", read(6))
    assert.equal(("\0"):rep(8), read(7))
    assert.equal("\148\4\0\0", read(8))
  end)

  it("keeps those of TCP's options that say nothing of who it is", function()
    local function options(bytes)
      return frame(t.tcp { saddr = IP_A, daddr = IP_B, options = bytes, payload = SECRET })
    end
    local common, times = "\2\4\5\180\4\2\3\3\7\1\5\10\0\0\0\1\0\0\0\2\1\1", "\8\10\1\2\3\4\5\6\7\8"
    local frames = { options(common .. "\1\1" .. times .. "\1\1"), options("\30\8\48\1" .. raw(IP_C)),
      options("\34\14" .. SECRET .. "\1\1"), options("\0\1" .. raw(IP_C) .. "\0\0"),
      options("\9\30" .. raw(IP_C) .. "\1\1") }
    local result = assert_hidden(frames)
    assert.equal(frames[1]:sub(55, 90), result.frames[1]:sub(55, 90))
    assert.equal(("\1"):rep(8), result.frames[2]:sub(55, 62))
    assert.equal(("\1"):rep(16), result.frames[3]:sub(55, 70))
    assert.equal(("\0"):rep(8), result.frames[4]:sub(55, 62))
    assert.equal(("\0"):rep(8), result.frames[5]:sub(55, 62))
    result = assert_hidden(frames, { arguments = "key=spec timestamps=no" })
    assert.equal(common .. "\1\1" .. ("\1"):rep(12), result.frames[1]:sub(55, 90))
  end)

  it("hides what ICMP errors quote, and the quoted headers' checksums are right", function()
    local frames = {}
    for _, each in ipairs { { type = 3, code = 3 }, { type = 11 }, { type = 12 }, { type = 4 } } do
      for _, payload in ipairs { quoted(), quoted(28), quoted(40), quoted(20), quoted(12), SECRET } do
        each.saddr, each.daddr, each.payload = IP_C, IP_B, payload
        frames[#frames + 1] = frame(t.icmp(each))
      end
    end
    for _, kind in ipairs { 1, 2, 3, 4 } do
      for _, payload in ipairs { quoted6(), quoted6(48), quoted6(60), quoted6(40), quoted6(30), SECRET } do
        frames[#frames + 1] = frame(t.icmpv6 { type = kind, saddr = IP6_C, daddr = IP6_B, payload = payload })
      end
    end
    local extension = "\32\0" .. ("\0"):rep(2) .. "\0\12\2\10\0\1\0\0" .. raw(IP_D) -- RFC 5837: an interface's address
    frames[#frames + 1] = frame(t.icmp { saddr = IP_C, daddr = IP_B, type = 11,
      payload = quoted() .. ("\0"):rep(128 - #quoted()) .. extension })
    local result = assert_hidden(frames)
    for i = 1, 3 do
      local inner = result.frames[i]:sub(43)
      assert.is_true(sum_is_right(inner:sub(1, 20)))
      if i == 1 then assert.valid_checksums(t.packet(inner)) end
    end
    assert.valid_checksums(t.packet(result.frames[25]:sub(63)))
    assert.equal(quoted():sub(21, 24), result.frames[2]:sub(63, 66)) -- ports
  end)

  it("hides a redirect's gateway, and what other ICMP messages tell", function()
    local gateway = raw(IP_D)
    local first, second = gateway:byte(1) * 256 + gateway:byte(2), gateway:byte(3) * 256 + gateway:byte(4)
    local result = assert_hidden {
      frame(t.icmp { saddr = IP_C, daddr = IP_B, type = 5, code = 1, id = first, sequence = second,
        payload = quoted(28) }),
      frame(t.icmp { saddr = IP_C, daddr = IP_B, type = 40, id = first, sequence = second, payload = quoted(28) }),
      frame(t.icmp { saddr = IP_C, daddr = IP_B, type = 9, payload = raw(IP_D) .. ("\0"):rep(4) }),
      frame(t.icmp { saddr = IP_C, daddr = IP_B, type = 13, payload = SECRET }),
      frame(t.icmpv6 { saddr = IP6_A, daddr = IP6_B, type = 139, payload = raw(IP6_C) }),
    }
    assert.not_equal("\0\0\0\0", result.frames[1]:sub(39, 42))
  end)

  it("hides what neighbour discovery tells", function()
    local mac = "\1\1" .. MAC_A
    local function discovery(kind, payload)
      return frame(t.icmpv6 { saddr = LOCAL6, daddr = "ff02::1", type = kind, payload = payload })
    end
    local prefix = raw "2a01:4f8:c17:b0f::"
    secrets[#secrets + 1] = prefix:sub(1, 8)
    finally(function() secrets[#secrets] = nil end)
    local result = assert_hidden {
      discovery(135, raw(IP6_A) .. mac), discovery(136, raw(IP6_A) .. "\2\1" .. MAC_A), discovery(133, mac),
      discovery(137, raw(LOCAL6) .. raw(IP6_B) .. "\2\1" .. MAC_B .. "\4\7\0\0\0\0\0\0" .. quoted6(48)),
      discovery(134, ("\0"):rep(8) .. mac .. "\5\1\0\0\0\0\5\220" .. "\3\4\64\192" .. ("\0"):rep(12) .. prefix
        .. "\25\3\0\0\0\0\0\9" .. raw(IP6_B) .. "\24\3\64\0\0\0\0\9" .. prefix
        .. "\24\2\64\0\0\0\0\9" .. prefix:sub(1, 8)
        .. "\31\3\0\0\0\0\0\9" .. SECRET .. "\0\0\0\0"),
      discovery(135, raw(IP6_A) .. "\1\2" .. MAC_A .. ("\0"):rep(8)), -- an address of another length
      discovery(135, raw(IP6_A) .. "\1\9" .. MAC_A), discovery(135, raw(IP6_A):sub(1, 12)),
    }
    local about, router = result.frames[1], result.frames[5]
    assert.equal("\1\1" .. about:sub(7, 12), about:sub(-8))
    local mapped = router:sub(14 + 40 + 16 + 16 + 17, 14 + 40 + 16 + 16 + 32)
    assert.equal(about:sub(63, 70) .. ("\0"):rep(8), mapped) -- the prefix is that of the address
    assert.truthy(router:find("\5\1\0\0\0\0\5\220", 1, true))
  end)

  it("hides the sources in IGMP and MLD, and groups", function()
    local function igmp(bytes)
      bytes = bytes:sub(1, 2) .. be16(rewrite.checksum(bytes)) .. bytes:sub(5)
      return frame(t.ip { saddr = IP_A, daddr = "224.0.0.22", protocol = 2, payload = bytes })
    end
    local function mld(kind, payload)
      return frame(t.icmpv6 { saddr = LOCAL6, daddr = "ff02::16", type = kind, payload = payload })
    end
    local group, group6 = "\233\1\2\3", raw "ff3e:40:2a01:4f8:c17:b0f:0:1"
    local result = assert_hidden {
      igmp("\34\0\0\0\0\0\0\1" .. "\1\0" .. be16(2) .. group .. raw(IP_C) .. raw(IP_D)),
      igmp("\17\100\0\0" .. group .. "\2\125" .. be16(1) .. raw(IP_C)), igmp("\22\0\0\0" .. group),
      igmp("\34\0\0\0\0\0\0\1" .. "\1\0" .. be16(9) .. group .. raw(IP_C)), igmp("\99\0\0\0" .. raw(IP_C)),
      mld(143, "\1\0" .. be16(2) .. group6 .. raw(IP6_A) .. raw(IP6_B)), mld(131, group6),
      mld(130, group6 .. "\2\125" .. be16(1) .. raw(IP6_C)), mld(131, group6:sub(1, 12)),
    }
    assert.is_nil(result.bytes:find(group, 1, true))
    assert.is_nil(result.bytes:find(group6:sub(5, 12), 1, true))
  end)

  it("hides addresses in IPv6's extension headers", function()
    local function behind(nexthdr, data)
      return frame(t.udp { saddr = IP6_A, daddr = IP6_B, payload = SECRET,
        exthdrs = { { nexthdr = nexthdr, data = data } } })
    end
    local result = assert_hidden {
      behind(43, "\0\1\0\0\0\0" .. raw(IP6_C)), behind(43, "\2\1\0\0\0\0" .. raw(IP6_C)),
      behind(43, "\4\1\1\0\0\0" .. raw(IP6_C) .. raw(IP6_A)),
      behind(43, "\4\0\0\0\0\0" .. raw(IP6_C) .. "\5\6" .. SECRET:sub(1, 6)),
      behind(60, "\1\2\0\0\201\16" .. raw(IP6_C)), behind(60, "\30\12" .. SECRET), behind(0, "\5\2\0\0\1\0"),
    }
    local route, home, alert = result.frames[2], result.frames[5], result.frames[7]
    assert.equal(route:sub(63, 78), home:sub(63, 78)) -- an address, as they are the same in both
    assert.equal("\201\16", home:sub(61, 62))
    assert.equal("\5\2\0\0\1\0", alert:sub(57, 62))
  end)

  it("hides Linux cooked captures' addresses, and leaves devices alone that have none", function()
    local packet = t.udp { saddr = IP_A, daddr = IP_B, payload = SECRET }.bytes
    local sll = assert_hidden({ "\0\0\0\1\0\6" .. MAC_A .. "\0\0\8\0" .. packet,
      "\0\0\255\254\0\0" .. ("\0"):rep(8) .. "\8\0" .. packet }, { link = capture.SLL })
    assert.equal(2, sll.frames[1]:byte(7) % 4)
    local sll2 = assert_hidden({ "\8\0\0\0\0\0\0\2\0\1\0\6" .. MAC_A .. "\0\0" .. packet,
      "\8\0\0\0\0\0\0\2\255\254\0\0" .. ("\0"):rep(8) .. packet }, { link = capture.SLL2 })
    assert.equal(sll.frames[1]:sub(7, 12), sll2.frames[1]:sub(13, 18))
    assert_hidden({ packet }, { link = capture.RAW })
    assert_hidden({ m.host32(2) .. packet }, { link = capture.NULL })
  end)

  it("drops what has another link header with addresses", function()
    local packet = t.udp { saddr = "192.0.2.1", daddr = "192.0.2.2" }.bytes
    local tunnel = anonymise({ "\0\0\3\0\0\4" .. raw(IP_A) .. "\0\0\0\0\8\0" .. packet }, { link = capture.SLL })
    local wlan = anonymise({ "\8\1\0\0" .. MAC_A .. MAC_B .. MAC_A .. "\0\0\170\170\3\0\0\0\8\0" .. packet },
      { link = 105 })
    for _, result in ipairs { tunnel, wlan } do
      assert.equal(0, #result.frames)
      assert.matches("1 packets were dropped: link header", result.output)
    end
  end)

  it("keeps VLAN tags, or takes them off", function()
    local packet = t.udp { saddr = IP_A, daddr = IP_B, payload = SECRET }.bytes
    local tagged = { MAC_B .. MAC_A .. "\136\168\0\7\129\0\0\5\8\0" .. packet, frame(packet) }
    local result = assert_hidden(tagged)
    assert.equal("\136\168\0\7\129\0\0\5\8\0", result.frames[1]:sub(13, 22))
    result = assert_hidden(tagged, { arguments = "key=spec vlan=no" })
    assert.equal(result.frames[2], result.frames[1])
  end)

  it("drops frames that are neither IP nor ARP, by --other", function()
    assert.equal(0, #anonymise({ MAC_B .. MAC_A .. "\136\204" .. SECRET }).frames)
  end)

  it("gives the same for the same key, from wherever it comes, and else what nobody can tell", function()
    local frames = { frame(t.tcp { saddr = IP_A, daddr = IP_B }) }
    local file = os.tmpname()
    finally(function() os.remove(file) end)
    local f = assert(io.open(file, "w"))
    f:write "a key\n"
    f:close()
    local told = anonymise(frames, { arguments = "'key=a key'" }).bytes
    assert.equal(told, anonymise(frames, { arguments = "key_file=" .. file }).bytes)
    assert.not_equal(told, anonymise(frames, { arguments = "key=another" }).bytes)
    assert.not_equal(anonymise(frames, { arguments = "payload=zero" }).bytes,
      anonymise(frames, { arguments = "payload=zero" }).bytes)
  end)

  it("does not load with arguments that are none", function()
    for argument, message in pairs { ["payload=cut"] = "payload must be zero or keep", ["key="] = "must not be empty",
      ["key_file=/dev/null"] = "is empty", ["vlan=maybe"] = "takes yes or no",
      ["key_file=/nonexistent"] = "can be read" } do
      local loaded, text = script.load("scripts/anonymise.lua", { argument })
      assert.is_nil(loaded)
      assert.matches(message, text)
    end
    local _, text = script.load("scripts/anonymise.lua", { "key=x", "key_file=/etc/hostname" })
    assert.matches("key and key_file are two keys", text)
  end)
end)
