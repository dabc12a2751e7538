local document = require "spec.support.document"
local ffi = require "ffi"
local ipq = require "ipq"
local t = require "ipq.test"

local paths = {}

--- The path of a file with that text, which is gone behind the spec.
local function file_of(text, path)
  path = path or os.tmpname()
  paths[#paths + 1] = path
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  return path
end

local function message_of(f, ...)
  local ok, message = pcall(f, ...)
  assert.is_false(ok)
  return message
end

local function all(set, names)
  local got = {}
  for i, name in ipairs(names) do got[i] = set:has(name) end
  return got
end

describe("ipq.domainset", function()
  after_each(function()
    for _, path in ipairs(paths) do os.remove(path) end
    paths = {}
  end)

  it("has a name, and all below it", function()
    local set = ipq.domainset { "ads.example", "b.c.example", "solo" }
    assert.equal(3, #set)
    assert.equal("domainset of 3 names", tostring(set))
    assert.same({ true, true, true, false, false, false, true, true, false },
      all(set, { "ads.example", "www.ads.example", "a.b.c.ads.example", "example", "xads.example", "c.example",
        "b.c.example", "x.solo", "" }))
  end)

  it("does not mind capital letters, nor a dot at the end", function()
    local set = ipq.domainset { "ADS.Example.", "xn--BCHER-KVA.example" }
    assert.same({ true, true, true, true, false },
      all(set, { "ads.example", "WWW.ads.EXAMPLE.", "ads.example.", "xn--bcher-kva.example", "ads.example.." }))
  end)

  it("reads a name as lists have it: with a star, a dot, or as adblock's", function()
    local set = ipq.domainset { "*.a.example", ".b.example", "||c.example^", "||*.d.example^$important" }
    assert.equal(4, #set)
    for _, name in ipairs { "a", "b", "c", "d" } do
      assert.same({ true, true }, all(set, { name .. ".example", "x." .. name .. ".example" }))
    end
  end)

  it("gives the longest name of it that a name is, or is below", function()
    local set = ipq.domainset { "Example", "b.example", "a.b.example" }
    assert.equal("a.b.example", set:match "x.A.b.example.")
    assert.equal("b.example", set:match "c.b.example")
    assert.equal("example", set:match "EXAMPLE")
    assert.is_nil(set:match "other")
  end)

  it("adds and removes names", function()
    local set = ipq.domainset {}
    assert.same({ true, false, true }, { set:add "a.example", set:add "A.EXAMPLE.", set:add "x.a.example" })
    assert.equal(2, #set)
    assert.same({ true, false }, { set:remove "a.example", set:remove "a.example" })
    assert.same({ false, true }, all(set, { "a.example", "y.x.a.example" }))
    assert.is_true(set:add "a.example")
    assert.is_true(set:has "a.example")
  end)

  it("takes the question of a message for a name", function()
    local set = ipq.domainset { "ads.example" }
    local function ask(name) return set:has(ipq.dns.parse(t.dns { name = name }.bytes:sub(29))) end
    assert.same({ true, false, false }, { ask "WWW.ads.Example", ask "www.example", ask "." })
    assert.equal("ads.example", set:match(ipq.dns.parse(t.dns { name = "x.ads.example" }.bytes:sub(29))))
  end)

  it("has names below one whatever bytes they are of", function()
    local set = ipq.domainset { "ads.example" }
    local long = ("\\001"):rep(60)
    assert.is_true(set:has(long .. "." .. long .. "." .. long .. ".ads.example"))
    assert.is_true(set:has(("\\001"):rep(63) .. ".ads.example"))
    local message = ipq.dns.parse(ipq.dns.build { name = ("\\001"):rep(63) .. ".a\\046b.ads.example" })
    assert.is_true(set:has(message))
    assert.is_false(set:has(ipq.dns.parse(ipq.dns.build { name = "x\\046ads.example" })))
    assert.is_false(set:has("a" .. ("\0"):rep(70000)))
    assert.is_false(set:has "ads\0.example")
  end)

  it("agrees with a table, through additions and removals at random", function()
    math.randomseed(7)
    local labels = { "a", "b", "c", "ads", "a-long-label-of-many-letters", ("x"):rep(60), "1", "_tcp" }
    local function random_name()
      local parts = {}
      for i = 1, math.random(1, 4) do parts[i] = labels[math.random(#labels)] end
      if parts[#parts] == "1" then parts[#parts + 1] = "example" end
      return table.concat(parts, ".")
    end
    local set, has, count = ipq.domainset {}, {}, 0
    for _ = 1, 60000 do
      local name = random_name()
      local kind = math.random(5)
      if kind <= 2 then
        assert.equal(not has[name], set:add(name))
        if not has[name] then count = count + 1 end
        has[name] = true
      elseif kind == 3 then
        assert.equal(has[name] or false, set:remove(name))
        if has[name] then count = count - 1 end
        has[name] = nil
      else
        local listed = name
        while listed and not has[listed] do listed = listed:match "%.(.*)" end
        assert.equal(listed, set:match(name))
      end
    end
    assert.equal(count, #set)
  end)

  it("may be large, and gives back what was removed", function()
    local set = ipq.domainset {}
    for i = 1, 100000 do set:add(("host%d.of%d.example"):format(i, i % 1000)) end
    assert.equal(100000, #set)
    for i = 1, 100000 do assert(set:has(("www.host%d.of%d.example"):format(i, i % 1000))) end
    for i = 1, 100000 do assert(not set:has(("host%d.of%d.example"):format(i, (i + 1) % 1000))) end
    for i = 1, 99999 do assert(set:remove(("host%d.of%d.example"):format(i, i % 1000))) end
    assert.equal(1, #set)
    assert.is_true(set:has "host100000.of0.example")
    local C = require "spec.support.lib".C
    pcall(ffi.cdef, "size_t ipq_domainset_memory(const struct ipq_domainset *set);")
    local before = tonumber(C.ipq_domainset_memory(set))
    for _ = 1, 10 do
      for i = 1, 20000 do set:add(("again%d.example"):format(i)) end
      for i = 1, 20000 do set:remove(("again%d.example"):format(i)) end
    end
    assert.equal(before, tonumber(C.ipq_domainset_memory(set)))
  end)

  it("has an order of its own each time: nobody knows where a name is", function()
    local C = require "spec.support.lib".C
    assert.truthy(C.ipq_domainset_new)
    local first, second = ffi.new "struct ipq_domainset *[1]", ffi.new "struct ipq_domainset *[1]"
    assert(C.ipq_domainset_new(first) == 0 and C.ipq_domainset_new(second) == 0)
    assert.not_equal(ffi.string(ffi.cast("char *", first[0]), 16), ffi.string(ffi.cast("char *", second[0]), 16))
    C.ipq_domainset_free(first[0])
    C.ipq_domainset_free(second[0])
  end)

  it("is looked at by compiled code, without garbage", function()
    local set, found = ipq.domainset { "ads.example" }, 0
    local function look()
      for i = 1, 20000 do if set:has(i % 2 == 0 and "www.ads.example" or "www.example") then found = found + 1 end end
    end
    jit.flush()
    look()
    local more = require("spec.support.traces").garbage(look)
    assert.is_true(more < 20, more)
    assert.equal(60000, found)
  end)
end)

describe("a file of ipq.domainset", function()
  after_each(function()
    for _, path in ipairs(paths) do os.remove(path) end
    paths = {}
  end)

  it("may be one of hosts, whose own names are left out", function()
    local set = ipq.domainset(file_of("# hosts\n127.0.0.1\tlocalhost localhost.localdomain\n::1 ip6-localhost\n"
      .. "255.255.255.255 broadcasthost\n0.0.0.0 0.0.0.0\n0.0.0.0 a.example\tb.example # two\r\n:: c.example\n"))
    assert.equal(3, #set)
    assert.same({ true, true, true, false }, all(set, { "a.example", "x.b.example", "c.example", "localhost" }))
  end)

  it("may have a name a line, in any form, and comments", function()
    local text = "[Adblock Plus 2.0]\n! a list\n\n  \t\n||a.example^\nb.example\r\n*.c.example\n\t.d.example  # wide\n"
      .. "#end\n# " .. ("long "):rep(3000) .. "\n" .. (" "):rep(9000) .. "e.example"
    local set = ipq.domainset(file_of(text))
    assert.equal(5, #set)
    assert.same({ true, true, true, true, true }, all(set, { "a.example", "b.example", "c.example", "d.example",
      "e.example" }))
    assert.equal(0, #ipq.domainset(file_of ""))
  end)

  local label64, long = ("x"):rep(64), ("abcdefg."):rep(32)
  for _, case in ipairs {
    { "a.example\nb c\n", 2, "not a domain name" }, { "a..example", 1, "not a domain name" },
    { "\n\n10.0.0.1", 3, "not a domain name" }, { "0.0.0.0 b/c", 1, "not a domain name" },
    { "a.example##.banner", 1, "not a domain name" }, { "a.example\0", 1, "not a domain name" },
    { label64 .. ".example", 1, "at most 63 bytes" }, { long .. "example", 1, "at most 253" },
    { "x\nb\195\188cher.example", 2, "Punycode, as xn%-%-" }, { "@@||a.example^", 1, "no exceptions" },
    { "||a.example^$third-party", 1, "no options" }, { "||a.example/x^", 1, "no paths" },
    { "||^", 1, "not a domain" },
    { "||a.example", 1, "no exceptions, no paths" }, { "a" .. ("."):rep(5000), 1, "not a domain name" },
    { "-\n*.", 2, "not a domain name" }, { "*.*.a", 1, "not a domain name" }, { ".", 1, "not a domain name" },
  } do
    it(("names the line of %q"):format(case[1]:sub(1, 30)), function()
      local path = file_of(case[1])
      local message = message_of(ipq.domainset, path)
      assert.truthy(message:find(("%s:%d: "):format(path, case[2]), 1, true), message)
      assert.matches(case[3], message)
    end)
  end

  it("is told where it cannot be read, at the caller's line", function()
    assert.matches("^spec/unit/domainset_spec.lua:%d+: cannot read the names: /nonexistent: No such file or directory$",
      message_of(function() ipq.domainset "/nonexistent" end))
    assert.error_matches(function() ipq.domainset "/" end, "cannot read the names: /: Is a directory$")
    assert.error_matches(function() ipq.domainset "/dev/null\0x" end, "no file has such a name")
    assert.error_matches(function() ipq.domainset "/dev/zero" end, "/dev/zero:1: not a domain name")
  end)

  it("is read again where it has changed, and what it had before is gone", function()
    local path = file_of "a.example\n"
    local set = ipq.domainset(path)
    set:add "more.example"
    assert.is_false(set:refresh())
    file_of("b.example\nc.example\n", path)
    assert.is_true(set:refresh())
    assert.is_false(set:refresh())
    assert.same({ false, true, true, false }, all(set, { "a.example", "b.example", "c.example", "more.example" }))
    -- Another file by that name.
    os.rename(file_of "d.example", path)
    assert.is_true(set:refresh())
    assert.equal(1, #set)
    assert.is_false(ipq.domainset({}):refresh())
  end)

  it("leaves the set as it was where it is wrong then, which is told once", function()
    local path = file_of "a.example\n"
    local set = ipq.domainset(path)
    file_of("b.example\nb b\n", path)
    local refreshed, why = set:refresh()
    assert.is_nil(refreshed)
    assert.truthy(why:find(path .. ":2: not a domain name", 1, true), why)
    assert.is_false(set:refresh())
    assert.same({ true, false }, all(set, { "a.example", "b.example" }))
    os.remove(path)
    refreshed, why = set:refresh()
    assert.is_nil(refreshed)
    assert.matches("No such file", why)
    assert.is_false(set:refresh())
    file_of("a.example\n", path)
    assert.is_true(set:refresh())
    assert.is_true(set:has "a.example")
  end)
end)

describe("what is wrong with a use of ipq.domainset", function()
  local set = ipq.domainset {}
  for pattern, f in pairs {
    ["must be a list or a file's path, not a nil"] = function() ipq.domainset() end,
    ["entry 2, \"a b\": not a domain name"] = function() ipq.domainset { "x", "a b" } end,
    ["entry 1: a name must be a string, not a number"] = function() ipq.domainset { 5 } end,
    ["a list; this table has a key 'file'"] = function() ipq.domainset { file = "x" } end,
    ["\"10.0.0.1\": not a domain name"] = function() set:add "10.0.0.1" end,
    ["\"\": not a domain name"] = function() set:remove "" end,
    ["a name must be a string, not a nil"] = function() set:add() end,
    ["a name must be a string, or a message of dns.parse%(%), not a table"] = function() set:has {} end,
    ["call it as set:method"] = function() set.has "x" end,
    ["a domainset has no 'hass'; it has :has%(name%)"] = function() return set.hass end,
    ["a domainset is changed by its methods"] = function() set.x = 1 end,
  } do
    it("is told at its line: " .. pattern, function()
      assert.matches("^spec/unit/domainset_spec.lua:%d+: .*" .. pattern, message_of(f))
    end)
  end
end)

describe("ipq.domainset(3lua)", function()
  local page = document.read "bindings/man/ipq.domainset.3lua"
  local types = document.read "bindings/types/ipq/domainset.lua"

  it("names the methods, and so do the annotations", function()
    local set, seen = ipq.domainset {}, 0
    for name in types:gmatch "function Domainset:([%w_]+)" do
      assert(type(set[name]) == "function")
      assert.truthy(page:find("\n.It Fn set:" .. name .. "%f[%W]"), name)
      seen = seen + 1
    end
    assert.equal(5, seen)
  end)

  it("has an example that reads its file again", function()
    local list = file_of "ads.example\n"
    local path = document.temporary(page:match '%.\\" example: %S+\n%.Bd [^\n]*\n(.-)%.Ed\n')
    local filter = t.load(path, { list = list })
    os.remove(path)
    assert.verdict("drop", filter, t.dns { name = "x.ads.example" })
    assert.unchanged(filter, t.dns { name = "x.more.example" })
    file_of("more.example\n", list)
    assert.matches("1 names", t.advance(5)[1])
    assert.verdict("drop", filter, t.dns { name = "x.more.example" })
    file_of("more.example\n-x y\n", list)
    assert.matches(":2: not a domain name", t.advance(5)[1])
    assert.verdict("drop", filter, t.dns { name = "x.more.example" })
  end)
end)
