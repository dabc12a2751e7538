local ffi = require "ffi"
local ipq = require "ipq"
local m = require "spec.support.message"
local netset = require "spec.support.netset"
local source = require "spec.support.source"
local traces = require "spec.support.traces"

local C, errno, bytes = netset.C, netset.errno, netset.bytes

--- What work(path) gives for a file with that text.
local function with_file(text, work)
  local path = os.tmpname()
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  local result = { pcall(work, path) }
  os.remove(path)
  if not result[1] then error(result[2], 0) end
  return unpack(result, 2)
end

--- The message that f() raises, with its place, which assert.error_matches leaves out.
local function message_of(f)
  local ok, message = pcall(f)
  assert.is_false(ok)
  return message
end

local function ip(saddr, daddr)
  return "\69\0\0\20" .. ("\0"):rep(8) .. bytes(saddr) .. bytes(daddr)
end
local function ip6(saddr, daddr)
  return "\96" .. ("\0"):rep(5) .. "\59\64" .. bytes(saddr) .. bytes(daddr)
end

--- What look(pkt) gives inside a filter for that packet.
local function inside(packet, look, more)
  local result
  source.new { m.simple(1, packet, more) }:verdicts(function(pkt) result = { pcall(look, pkt) } end)
  if not result[1] then error(result[2], 0) end
  return unpack(result, 2)
end

describe("ipq_address_parse", function()
  local function parse(text)
    local address = ffi.new "uint8_t[16]"
    local version = C.ipq_address_parse(address, text, #text)
    return version, ffi.string(address, version == 4 and 4 or 16)
  end

  it("reads both families", function()
    assert.same({ 4, "\10\1\2\3" }, { parse "10.1.2.3" })
    assert.same({ 4, "\255\255\255\255" }, { parse "255.255.255.255" })
    assert.same({ 6, "\32\1\13\184" .. ("\0"):rep(11) .. "\1" }, { parse "2001:db8::1" })
    assert.same({ 6, ("\0"):rep(16) }, { parse "::" })
    assert.same({ 6, ("\0"):rep(10) .. "\255\255\10\1\2\3" }, { parse "::ffff:10.1.2.3" })
    assert.equal(6, parse "1111:2222:3333:4444:5555:6666:123.123.123.123")
  end)

  for _, text in ipairs { "", "10", "10.1.2", "10.1.2.3.4", "10.1.2.256", "010.1.2.3", "10.1.2.3 ", " 10.1.2.3",
    "10.1.2.3/32", "10.1.2.3\0", "10.1.2.3\0junk", ":", ":::", "1::2::3", "fe80::1%lo", "2001:db8::g",
    "example.org", ("1"):rep(45), ("1"):rep(46), ("0"):rep(5000) } do
    it("refuses " .. ("%q"):format(text:sub(1, 50)), function()
      assert.equal(-errno.EINVAL, (parse(text)))
    end)
  end
end)

describe("ipq_prefix_parse", function()
  local function parse(text)
    local prefix = ffi.new "struct ipq_prefix"
    local ret = C.ipq_prefix_parse(prefix, text, #text)
    if ret < 0 then return ret end
    return prefix.version, prefix.len, ffi.string(prefix.address, prefix.version == 4 and 4 or 16)
  end

  it("reads prefixes, and addresses as prefixes of all their bits", function()
    assert.same({ 4, 8, "\10\0\0\0" }, { parse "10.0.0.0/8" })
    assert.same({ 4, 0, "\0\0\0\0" }, { parse "0.0.0.0/0" })
    assert.same({ 4, 32, "\10\1\2\3" }, { parse "10.1.2.3" })
    assert.same({ 4, 32, "\10\1\2\3" }, { parse "10.1.2.3/32" })
    assert.same({ 6, 32, "\32\1\13\184" .. ("\0"):rep(12) }, { parse "2001:db8::/32" })
    assert.same({ 6, 128, ("\0"):rep(15) .. "\1" }, { parse "::1" })
    assert.same({ 6, 128, ("\0"):rep(15) .. "\1" }, { parse "::1/128" })
  end)

  for _, text in ipairs { "", "/", "/8", "10.0.0.0/", "10.0.0.0/a", "10.0.0.0/8a", "10.0.0.0/ 8", "10.0.0.0/-1",
    "10.0.0.0/+8", "10.0.0.0/08", "10.0.0.0/00", "10.0.0.0/8/8", "10.0.0.0//8", "10.0.0.0/8\0",
    "10.0.0.0/255.0.0.0", "10.0.0/8", "2001:db8::/x" } do
    it("refuses " .. ("%q"):format(text), function() assert.equal(-errno.EINVAL, (parse(text))) end)
  end

  for _, text in ipairs { "10.0.0.0/33", "10.0.0.0/128", "2001:db8::/129", "10.0.0.0/4294967304",
    "10.0.0.0/18446744073709551624", "10.0.0.0/" .. ("9"):rep(100) } do
    it("says that a length is too large: " .. text:sub(1, 40), function()
      assert.equal(-errno.ERANGE, (parse(text)))
    end)
  end
end)

describe("ipq_netset", function()
  local function set_of(prefixes)
    local set = netset.empty()
    for _, text in ipairs(prefixes) do assert.equal(0, C.ipq_netset_add_text(set, text, #text)) end
    assert.equal(0, C.ipq_netset_build(set))
    return set
  end
  local function lookup(set, text) return netset.lookup(set, bytes(text)) end

  it("has nothing when it is empty", function()
    for _, set in ipairs { netset.empty(), set_of {} } do
      assert.equal(0, C.ipq_netset_count(set))
      for _, text in ipairs { "0.0.0.0", "255.255.255.255", "::", "ffff::ffff" } do
        assert.is_nil(lookup(set, text))
      end
    end
  end)

  it("has nothing of what was added until it is finished, and takes nothing after that", function()
    local set = netset.empty()
    assert.equal(0, C.ipq_netset_add_text(set, "10.0.0.0/8", 10))
    assert.is_nil(lookup(set, "10.0.0.1"))
    assert.equal(0, C.ipq_netset_build(set))
    assert.equal(8, lookup(set, "10.0.0.1"))
    assert.equal(-errno.EBUSY, C.ipq_netset_add_text(set, "11.0.0.0/8", 10))
    assert.equal(0, C.ipq_netset_build(set))
    assert.equal(1, C.ipq_netset_count(set))
    assert.equal(8, lookup(set, "10.0.0.1"))
  end)

  it("takes no prefix that is none", function()
    local set = netset.empty()
    local prefix = ffi.new("struct ipq_prefix", 5, 8)
    assert.equal(-errno.EINVAL, C.ipq_netset_add(set, prefix))
    prefix.version, prefix.len = 4, 33
    assert.equal(-errno.ERANGE, C.ipq_netset_add(set, prefix))
    prefix.version, prefix.len = 6, 129
    assert.equal(-errno.ERANGE, C.ipq_netset_add(set, prefix))
    assert.equal(0, C.ipq_netset_count(set))
  end)

  it("keeps the families apart", function()
    local set = set_of { "0.0.0.0/0" }
    assert.equal(0, lookup(set, "10.0.0.1"))
    assert.is_nil(lookup(set, "::"))
    assert.is_nil(lookup(set, "a00::"))
    assert.is_nil(lookup(set, "::ffff:10.0.0.1"))
    set = set_of { "::/0" }
    assert.equal(0, lookup(set, "::1"))
    assert.is_nil(lookup(set, "0.0.0.1"))
  end)

  it("has the whole address space with /0", function()
    local set = set_of { "0.0.0.0/0", "::/0" }
    for _, text in ipairs { "0.0.0.0", "127.255.255.255", "255.255.255.255", "::", "::ffff:ffff:ffff:ffff",
      "7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" } do
      assert.equal(0, lookup(set, text), text)
    end
  end)

  it("gives the longest prefix, whatever came first", function()
    local prefixes = { "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3", "0.0.0.0/0" }
    for _ = 1, #prefixes do
      table.insert(prefixes, table.remove(prefixes, 1))
      local set = set_of(prefixes)
      local got = {}
      for _, text in ipairs { "9.255.255.255", "10.0.0.0", "10.1.0.0", "10.1.2.0", "10.1.2.2", "10.1.2.3",
        "10.1.2.4", "10.1.3.0", "10.2.0.0", "11.0.0.0" } do
        got[#got + 1] = lookup(set, text)
      end
      assert.same({ 0, 8, 16, 24, 24, 32, 24, 16, 8, 0 }, got)
    end
  end)

  it("does not mind bits behind the prefix", function()
    local set = set_of { "10.1.2.3/8", "2001:db8::ffff/32", "2001:db9::1:2:3:4/80" }
    assert.equal(8, lookup(set, "10.255.0.0"))
    assert.is_nil(lookup(set, "11.0.0.0"))
    assert.equal(32, lookup(set, "2001:db8:1::"))
    assert.equal(80, lookup(set, "2001:db9::1:0:0:0"))
    assert.is_nil(lookup(set, "2001:db9::2:0:0:0"))
  end)

  it("counts each prefix as often as it was given", function()
    local set = set_of { "10.0.0.0/8", "10.0.0.0/8", "10.0.0.1/8", "::1", "::1" }
    assert.equal(5, C.ipq_netset_count(set))
    assert.equal(8, lookup(set, "10.0.0.0"))
    assert.is_nil(lookup(set, "11.0.0.0"))
    assert.equal(128, lookup(set, "::1"))
    assert.is_nil(lookup(set, "::2"))
  end)

  it("nests all lengths there are", function()
    for _, address in ipairs { "85.85.85.85", "0.0.0.0", "255.255.255.255", "5555:5555:5555:5555:5555:5555:5555:5555",
      "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" } do
      local set, plain = netset.empty(), netset.simple()
      local b = bytes(address)
      for len = 0, #b * 8 do
        assert.equal(0, netset.add(set, b, len))
        plain:add(b, len)
      end
      assert.equal(0, C.ipq_netset_build(set))
      for len = 0, #b * 8 do
        for _, edge in ipairs { netset.mask(b, len), netset.mask(b, len, 255) } do
          assert.equal(plain:lookup(edge), netset.lookup(set, edge))
          for step = -1, 1, 2 do
            local near = netset.beside(edge, step)
            if near then assert.equal(plain:lookup(near), netset.lookup(set, near)) end
          end
        end
      end
    end
  end)

  -- Random sets against the simple one. Where few bits vary, prefixes nest, touch and repeat.
  local function random_address(size, varying)
    local b = {}
    for i = 1, size do
      local bits = varying[i] or 0
      b[i] = bits == 8 and math.random(0, 255) or math.random(0, 1) == 1 and math.random(0, 2 ^ bits - 1) or 0
      if math.random(20) == 1 then b[i] = ({ 0, 255 })[math.random(2)] end
    end
    return string.char(unpack(b))
  end

  local function lens(from, to) return function() return math.random(from, to) end end
  local any4, any6 = { 8, 8, 8, 8 }, { 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8 }
  local kinds = {
    { "IPv4, anywhere", 4, any4, lens(0, 32), 3000 },
    { "IPv4, anywhere, long", 4, any4, lens(20, 32), 5000 },
    { "IPv4, crowded", 4, { 0, 0, 3, 8 }, lens(18, 32), 3000 },
    { "IPv4, at the ends", 4, { 1, 0, 0, 2 }, lens(0, 32), 400 },
    { "IPv6, anywhere", 16, any6, lens(0, 128), 3000 },
    { "IPv6, networks", 16, any6, lens(16, 64), 5000 },
    { "IPv6, hosts", 16, any6, lens(120, 128), 3000 },
    { "IPv6, hosts within few networks", 16, { [8] = 2, [15] = 3, [16] = 8 }, lens(56, 128), 3000 },
    { "IPv6, around the middle", 16, { [7] = 1, [8] = 3, [9] = 3, [10] = 1 }, lens(52, 80), 2000 },
    { "IPv6, at the ends", 16, { [1] = 1, [16] = 2 }, lens(0, 128), 400 },
  }
  for _, kind in ipairs(kinds) do
    local name, size, varying, len, count = unpack(kind)
    for _, n in ipairs { 1, 2, 7, 8, 9, 63, 64, 65, 500, count } do
      it(("agrees with a simple set: %s, %d prefixes"):format(name, n), function()
        math.randomseed(n)
        local set, plain, given = netset.empty(), netset.simple(), {}
        for i = 1, n do
          local b, l = random_address(size, varying), len()
          given[i] = { b, l }
          plain:add(b, l)
          assert(netset.add(set, b, l) == 0)
        end
        assert(C.ipq_netset_build(set) == 0)
        local tried = 0
        local function try(b)
          if not b then return end
          tried = tried + 1
          if plain:lookup(b) ~= netset.lookup(set, b) then
            assert.equal(plain:lookup(b), netset.lookup(set, b), (b:gsub(".", function(c)
              return ("%02x"):format(c:byte())
            end)))
          end
        end
        for _, pair in ipairs(given) do
          local first, last = netset.mask(pair[1], pair[2]), netset.mask(pair[1], pair[2], 255)
          try(first)
          try(last)
          try(netset.beside(first, -1))
          try(netset.beside(last, 1))
        end
        for _ = 1, 1000 do try(random_address(size, varying)) end
        try(("\0"):rep(size))
        try(("\255"):rep(size))
        assert.is_true(tried > 1000 + n)
      end)
    end
  end

  --- Every other address of n in a row is in it: over 2 MiB, which is another kind of memory.
  local function large_set(n)
    local set, b = netset.empty(), bytes "2001:db8::"
    for _ = 1, n do
      assert(netset.add(set, b, 128) == 0)
      b = netset.beside(netset.beside(b, 1), 1)
    end
    assert(C.ipq_netset_build(set) == 0)
    return set
  end

  it("may be large", function()
    local set, b = large_set(70000), bytes "2001:db8::"
    assert.is_true(tonumber(C.ipq_netset_memory(set)) > 2 ^ 21)
    for _ = 1, 70000 do
      assert(netset.lookup(set, b) == 128)
      b = netset.beside(b, 1)
      assert(netset.lookup(set, b) == nil)
      b = netset.beside(b, 1)
    end
    assert.is_nil(netset.lookup(set, b))
    assert.is_nil(lookup(set, "::"))
    assert.is_nil(lookup(set, "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff"))
    assert.is_nil(lookup(set, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"))
  end)

  it("gives its mappings back", function()
    local function mapped()
      local kib = 0
      for line in io.lines "/proc/self/status" do kib = tonumber(line:match "^VmData:%s*(%d+)") or kib end
      return kib
    end
    if os.getenv "ASAN_OPTIONS" then pending "AddressSanitizer keeps what is freed" end
    local function churn(n)
      for _ = 1, n do
        large_set(70000)
        collectgarbage()
      end
    end
    churn(2)
    local before = mapped()
    churn(6)
    -- Leaked they would be 25 MB: 6 of more than 2 MiB and a huge page each.
    assert.is_true(mapped() - before < 8000, mapped() - before .. " KiB")
  end)

  it("keeps neighbours of one length as one", function()
    local set = netset.empty()
    for i = 0, 65535 do netset.add(set, string.char(10, math.floor(i / 256), i % 256, 0), 24) end
    assert.equal(0, C.ipq_netset_build(set))
    assert.same({ nil, 24, 24, nil }, { lookup(set, "9.255.255.255"), lookup(set, "10.0.0.0"),
      lookup(set, "10.255.255.255"), lookup(set, "11.0.0.0") })
    assert.is_true(tonumber(C.ipq_netset_memory(set)) < 1024)
  end)

  it("is small: below 32 bytes a prefix, and the list is not kept", function()
    math.randomseed(1)
    local set = netset.empty()
    for _ = 1, 20000 do netset.add(set, random_address(4, any4), math.random(8, 32)) end
    assert.equal(0, C.ipq_netset_build(set))
    assert.is_true(tonumber(C.ipq_netset_memory(set)) < 32 * 20000)
  end)
end)

describe("ipq.netset", function()
  it("is made from a table", function()
    local set = ipq.netset { "10.0.0.0/8", "2001:db8::/32", "192.0.2.1" }
    assert.equal(3, #set)
    assert.equal("netset of 3 networks", tostring(set))
    local got = {}
    for i, text in ipairs { "10.1.2.3", "11.1.2.3", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db9::1" } do
      got[i] = set:has(text)
    end
    assert.same({ true, false, true, false, true, false }, got)
  end)

  it("may be empty", function()
    local set = ipq.netset {}
    assert.equal(0, #set)
    assert.is_false(set:has "10.1.2.3")
    assert.is_false(set:has "::")
  end)

  it("is made from a file with comments, blanks and lines of any system", function()
    local text = "# networks\n\n10.0.0.0/8\n  \t\n\t192.0.2.1 # a host\r\n2001:db8::/32;SBL1\r\n; end\r\n# "
      .. ("long "):rep(1000) .. "\n" .. (" "):rep(1000) .. "::1\n198.51.100.0/24"
    local set = with_file(text, ipq.netset)
    assert.equal(5, #set)
    for _, address in ipairs { "10.1.2.3", "192.0.2.1", "2001:db8::1", "::1", "198.51.100.255" } do
      assert.is_true(set:has(address), address)
    end
    assert.equal(0, #with_file("", ipq.netset))
    assert.equal(0, #with_file("\n\n#\n", ipq.netset))
    local blanks = (" \t"):rep(100)
    set = with_file(blanks .. "10.0.0.0/8" .. blanks .. "# a column of remarks\n" .. blanks, ipq.netset)
    assert.equal(1, #set)
    assert.is_true(set:has "10.1.2.3")
  end)

  for _, case in ipairs {
    { "10.0.0.0/8\n# x\n10.0.0/8\n", 3, "not an address or a prefix" }, { "10.0.0.0/33", 1, "at most 32" },
    { "\r\n\n::/129\r\n", 3, "at most 32 %(IPv4%) or 128" }, { "10.0.0.1 10.0.0.2\n", 1, "not an address" },
    { "10.0.0.1\0\n", 1, "not an address" }, { "::1\n" .. ("1"):rep(100000), 2, "not an address" },
    { "10.0.0.1\n/8", 2, "not an address" }, { "\0", 1, "not an address" },
    { "10.0.0.1" .. (" "):rep(200) .. "/8", 1, "not an address" },
  } do
    it(("names the line of %q"):format(case[1]:sub(1, 30)), function()
      local path
      local ok, message = pcall(with_file, case[1], function(name)
        path = name
        ipq.netset(name)
      end)
      assert.is_false(ok)
      assert.truthy(message:find(("%s:%d: "):format(path, case[2]), 1, true), message)
      assert.matches(case[3], message)
    end)
  end

  it("says which file cannot be read, and why, at the caller's line", function()
    assert.matches(
      "^spec/unit/netset_spec.lua:%d+: cannot read the networks: /nonexistent/list: No such file or directory$",
      message_of(function() ipq.netset "/nonexistent/list" end))
    assert.error_matches(function() ipq.netset "10.0.0.0/8" end,
      "No such file or directory; a network comes in a list, ipq.netset { \"10.0.0.0/8\" }: "
      .. "a string is the name of a file", 1, true)
    assert.error_matches(function() ipq.netset "/" end, "cannot read the networks: /: Is a directory$")
    assert.error_matches(function() ipq.netset "" end, "No such file or directory")
    assert.error_matches(function() ipq.netset "/dev/null\0x" end, "no file has such a name")
    assert.error_matches(function() ipq.netset "/dev/zero" end, "/dev/zero:1: not an address")
  end)

  it("names the entry that is wrong, at the caller's line", function()
    assert.matches("^spec/unit/netset_spec.lua:%d+: entry 2, \"10.0.0/8\": not an address or a prefix",
      message_of(function() ipq.netset { "::1", "10.0.0/8" } end))
    assert.error_matches(function() ipq.netset { "10.0.0.0/33" } end, "entry 1, .*: a prefix length is at most 32")
    assert.error_matches(function() ipq.netset { "10.0.0.0/8\0" } end, "entry 1, .*not an address")
    assert.error_matches(function() ipq.netset { " 10.0.0.0/8" } end, "entry 1, .*not an address")
    assert.error_matches(function() ipq.netset { "::1", 5 } end, "entry 2: a network must be a string, not a number")
    assert.error_matches(function() ipq.netset { file = "x" } end, "a list; this table has a key 'file'")
    assert.error_matches(function() ipq.netset() end, "must be a list or a file's path, not a nil")
    assert.error_matches(function() ipq.netset(5) end, "not a number")
  end)

  it("raises where what it is asked for is no address", function()
    local set = ipq.netset { "10.0.0.0/8" }
    assert.matches("^spec/unit/netset_spec.lua:%d+: \"10.0.0.0/8\": not an address$",
      message_of(function() set:has "10.0.0.0/8" end))
    assert.error_matches(function() set:has "" end, "not an address")
    assert.error_matches(function() set:has(5) end, "must be a string, not a number")
    assert.error_matches(function() set:has() end, "must be a string, not a nil")
  end)

  it("looks at a packet's addresses", function()
    local set = ipq.netset { "10.0.0.0/8", "2001:db8::/32" }
    local function look(pkt) return set:has_saddr(pkt), set:has_daddr(pkt) end
    assert.same({ true, false }, { inside(ip("10.1.2.3", "11.1.2.3"), look) })
    assert.same({ false, true }, { inside(ip("9.255.255.255", "10.0.0.0"), look) })
    assert.same({ true, true }, { inside(ip("10.255.255.255", "10.0.0.0"), look) })
    assert.same({ true, false }, { inside(ip6("2001:db8::1", "2001:db9::"), look) })
    assert.same({ false, true }, { inside(ip6("2001:db7:ffff::", "2001:db8:ffff::"), look) })
    assert.same({ false, true }, { inside(ip6("a00::", "2001:db8::"), look) })
  end)

  it("looks behind the VLAN tag of a bridged packet", function()
    local set = ipq.netset { "10.0.0.0/8" }
    local message = m.packet(m.hdr(1, 0x8100) .. m.attr(m.PAYLOAD, "\0\5\8\0" .. ip("10.1.2.3", "11.1.2.3")),
      { family = 7 })
    local result
    source.new { message }:verdicts(function(pkt) result = { set:has_saddr(pkt), set:has_daddr(pkt) } end)
    assert.same({ true, false }, result)
  end)

  it("has no packet without a whole IP header", function()
    local set = ipq.netset { "0.0.0.0/0", "::/0" }
    local function look(pkt) return set:has_saddr(pkt), set:has_daddr(pkt) end
    local whole, whole6 = ip("10.1.2.3", "10.1.2.3"), ip6("::1", "::1")
    for _, packet in ipairs { "", "\69", whole:sub(1, 19), whole6:sub(1, 39), ("\0"):rep(60), ("\255"):rep(60) } do
      assert.same({ false, false }, { inside(packet, look) })
    end
    assert.same({ true, true }, { inside(whole, look) })
    assert.same({ true, true }, { inside(whole6, look) })
    local result
    source.new { m.packet(m.hdr(1)) }:verdicts(function(pkt) result = { look(pkt) } end)
    assert.same({ false, false }, result)
  end)

  it("does not look at a packet whose filter has returned", function()
    local set = ipq.netset { "10.0.0.0/8" }
    local kept
    inside(ip("10.1.2.3", "10.1.2.3"), function(pkt) kept = pkt end)
    for _, method in ipairs { "has_saddr", "has_daddr" } do
      assert.matches("^spec/unit/netset_spec.lua:%d+: packet used after its filter returned",
        message_of(function() set[method](set, kept) end))
      assert.error_matches(function() inside(ip("10.1.2.3", "10.1.2.3"), function()
        return set[method](set, kept)
      end) end, "packet used after its filter returned")
    end
  end)

  it("takes nothing but packets for packets, and nothing but sets for sets", function()
    local set = ipq.netset { "10.0.0.0/8" }
    for _, method in ipairs { "has_saddr", "has_daddr" } do
      for _, wrong in ipairs { 0, 65536, "10.1.2.3", {}, false, io.stdout, set, 0ULL } do
        assert.error_matches(function() set[method](set, wrong) end, "not a packet: ")
      end
      assert.error_matches(function() set[method](set) end, "not a packet: nil")
      assert.error_matches(function() inside(ip("10.1.2.3", "10.1.2.3"), function(pkt)
        return set[method](set, pkt.payload)
      end) end, "not a packet: ")
    end
    inside(ip("10.1.2.3", "10.1.2.3"), function(pkt)
      for _, wrong in ipairs { 0, "x", {}, io.stdout, pkt, 0ULL } do
        assert.error_matches(function() set.has(wrong, "10.1.2.3") end, "call it as set:method")
        assert.error_matches(function() set.has_saddr(wrong, pkt) end, "call it as set:method")
        assert.error_matches(function() set.has_daddr(wrong, pkt) end, "call it as set:method")
      end
    end)
  end)

  it("gives a script nothing to follow or to change", function()
    local set = ipq.netset { "10.0.0.0/8" }
    for _, wrong in ipairs {
      function() set.x = 1 end, function() set.has = print end, function() return set.x end,
      function() return set[0] end, function() set[0] = 1 end, function() return set + 1 end,
      function() return set - set end, function() return set .. "" end, function() return set() end,
    } do
      assert.is_false((pcall(wrong)))
    end
    assert.equal("ffi", getmetatable(set))
    assert.error_matches(function() return set.size end, "a netset has no 'size'; it has :has%(address%)")
  end)

  it("lives as long as it is referred to", function()
    local set = ipq.netset { "10.0.0.0/8" }
    local seen = setmetatable({ set }, { __mode = "v" })
    local before = set
    for _ = 1, 200 do ipq.netset { "11.0.0.0/8", "::/1" } end
    collectgarbage()
    collectgarbage()
    assert.is_true(before:has "10.1.2.3")
    assert.is_false(before:has "11.1.2.3")
    assert.equal(set, seen[1])
    set, before = nil, nil -- luacheck: ignore 311
    collectgarbage()
    collectgarbage()
    assert.is_nil(seen[1])
  end)

  it("is given back to the system", function()
    if os.getenv "ASAN_OPTIONS" then pending "AddressSanitizer keeps what is freed" end
    local function resident()
      for line in io.lines "/proc/self/status" do
        local kib = line:match "^VmRSS:%s*(%d+)"
        if kib then return tonumber(kib) end
      end
    end
    local networks = {}
    for i = 1, 20000 do networks[i] = ("%d.%d.0.0/16"):format(i % 250, math.floor(i / 250) * 3) end
    local function churn(n)
      for _ = 1, n do
        ipq.netset(networks)
        collectgarbage()
      end
    end
    churn(3)
    local before = resident()
    churn(60)
    -- Leaked they would be over 15 MB: 60 sets of more than 250 KB.
    assert.is_true(resident() - before < 8000, resident() - before .. " KiB")
  end)

  it("frees what it had of a list with a wrong entry", function()
    for _ = 1, 100 do assert.is_false((pcall(ipq.netset, { "10.0.0.0/8", "wrong" }))) end
    collectgarbage()
  end)

  it("is one call for a packet: compiled, and free of garbage", function()
    local set = ipq.netset { "10.0.0.0/8", "2001:db8::/32" }
    local src = source.new { m.simple(1, ip("10.1.2.3", "1.1.1.1")), m.simple(2, ip6("::1", "2001:db8::")),
      m.simple(3, ip("9.1.2.3", "1.1.1.1")), m.simple(4, "") }
    local run = src:judge(function(pkt)
      if set:has_saddr(pkt) or set:has_daddr(pkt) then return ipq.DROP end
    end)
    local compiled, aborted = traces.of(src:plan({ 64 }, 2000) and run)
    for _, line in ipairs(aborted) do
      assert.falsy(line:match "NYI" and not line:match "NYI: return to lower frame" or line:match "blacklisted", line)
    end
    local loops = 0
    for _, trace in ipairs(compiled) do
      if trace.start:match "dispatch.lua" and trace.link == "loop" then loops = loops + 1 end
    end
    assert.is_true(loops > 0)
    assert.equal(0, tonumber(src.batch.counters.errors))
    assert.equal(tonumber(src.batch.counters.packets) / 2, tonumber(src.batch.counters.dropped))

    src:plan({ 64, 1, 2, 3 }, 10000)
    run()
    local garbage = traces.garbage(function()
      src:plan({ 64, 1, 2, 3 }, 4000)
      run()
    end)
    -- 70,000 packets: a byte each would be 68 KiB.
    assert.is_true(garbage < 4, ("%.1f KiB for 70000 packets"):format(garbage))
  end)
end)

describe("the length of a prefix", function()
  it("is read to its last digit", function()
    for _, text in ipairs { "10.0.0.0/320", "10.0.0.0/3200", "2001:db8::/1280", "2001:db8::/1281" } do
      local set = ffi.new "struct ipq_netset *[1]"
      assert.equal(0, C.ipq_netset_new(set))
      assert.equal(-errno.ERANGE, C.ipq_netset_add_text(set[0], text, #text))
      C.ipq_netset_free(set[0])
    end
  end)
end)
