local ffi = require "ffi"
local ipq = require "ipq"
local m = require "spec.support.message"
local netns = require "spec.support.netns"
local packets = require "spec.support.packet"
local region = require "ipq.engine.region"
local source = require "spec.support.source"

describe("ipq.shared", function()
  local clock
  before_each(function()
    clock = 1000
    region.time = function() return clock end
    region.fresh()
  end)
  after_each(function()
    region.time = nil
    region.size = tonumber(ffi.C.IPQ_SHARED_SIZE_DEFAULT)
    region.fresh()
  end)

  local function raises(expected, call, ...)
    local arguments, count = { ... }, select("#", ...)
    local ok, why = pcall(function() call(unpack(arguments, 1, count)) end)
    assert.is_false(ok)
    assert.matches("^spec/unit/shared_spec.lua:%d+: " .. expected, why)
  end

  describe("get and set", function()
    it("keep numbers, booleans and text under text and numbers", function()
      local t = ipq.shared "t"
      local values = { 0, -1.5, 2 ^ 53, 1 / 0, -1 / 0, 5e-324, true, false, "", "a", "\0", ("x"):rep(256), "12" }
      for i, value in ipairs(values) do
        assert.is_true(t:set(i, value))
        assert.is_true(t:set("key " .. i, value))
      end
      for i, value in ipairs(values) do
        assert.equal(value, t:get(i))
        assert.equal(value, t:get("key " .. i))
      end
      assert.is_nil(t:get "none")
      assert.equal(0, select("#", (function() end)(t:get "none")))
    end)

    it("keep NaN", function()
      local t = ipq.shared "t"
      t:set(1, 0 / 0)
      local value = t:get(1)
      assert.is_true(type(value) == "number" and value ~= value)
      value = t:incr(1)
      assert.is_true(value ~= value)
    end)

    it("tell keys apart by type and to the last byte", function()
      local t = ipq.shared "t"
      local keys = { 1, "1", 1.5, -1, "", "\0", "\0\0", "a", "a\0", ("a"):rep(16), ("a"):rep(17), ("a"):rep(16) .. "\0",
        ("a"):rep(255), ("a"):rep(254) .. "b", "10.0.0.1", "\10\0\0\1", "::1", ("\0"):rep(15) .. "\1", 1 / 0, 5e-324 }
      for i, key in ipairs(keys) do t:set(key, i) end
      for i, key in ipairs(keys) do assert.equal(i, t:get(key)) end
      assert.equal(#keys, #t:keys())
    end)

    it("take 0 and -0 for one key", function()
      local t = ipq.shared "t"
      t:set(0, "zero")
      assert.equal("zero", t:get(-0))
    end)

    it("take an address in text for one key, however it is written", function()
      local t = ipq.shared "t"
      t:set("2001:DB8:0:0::0001", 1)
      t:set("10.0.0.1", 2)
      assert.equal(1, t:get "2001:db8::1")
      assert.equal(2, t:get "10.0.0.1")
      assert.is_nil(t:get "::ffff:10.0.0.1")
      t:set("::ffff:10.0.0.1", 3)
      assert.equal(3, t:get "::FFFF:a00:1")
      assert.is_nil(t:get "10.0.0.01")
      assert.same({ "10.0.0.1", "2001:db8::1", "::ffff:10.0.0.1" }, (function()
        local keys = t:keys()
        table.sort(keys)
        return keys
      end)())
    end)

    it("forget a key that is set to nil", function()
      local t = ipq.shared "t"
      t:set("a", 1)
      assert.is_true(t:set("a", nil))
      assert.is_nil(t:get "a")
      assert.is_true(t:set("a", nil))
    end)

    it("are of one table for all who name it", function()
      local a, b, other = ipq.shared "t", ipq.shared("t", { entries = 5 }), ipq.shared "other"
      a:set("k", "v")
      assert.equal("v", b:get "k")
      assert.is_nil(other:get "k")
    end)

    it("refuse text that is longer than the table takes, until another one names more", function()
      local t = ipq.shared("t", { value = 10 })
      assert.is_true(t:set("a", ("x"):rep(10)))
      assert.same({ nil, "too long" }, { t:set("a", ("x"):rep(11)) })
      ipq.shared("t", { value = 5 })
      assert.is_true(t:set("a", ("y"):rep(10)))
      ipq.shared("t", { value = 16384 })
      assert.is_true(t:set("a", ("z"):rep(16384)))
      assert.equal(("z"):rep(16384), t:get "a")
    end)
  end)

  it("adds where there is nothing, and replaces where there is something", function()
    local t = ipq.shared "t"
    assert.same({ nil, "not found" }, { t:replace("a", 1) })
    assert.is_true(t:add("a", 2))
    assert.same({ nil, "exists" }, { t:add("a", 3) })
    assert.equal(2, t:get "a")
    assert.is_true(t:replace("a", "four"))
    assert.equal("four", t:get "a")
    t:expire("a", 5)
    clock = clock + 5
    assert.same({ nil, "not found" }, { t:replace("a", 1) })
    assert.is_true(t:add("a", 6))
    assert.equal(6, t:get "a")
    assert.equal(0, t:ttl "a")
  end)

  it("counts from what is said to begin with, and only there", function()
    local t = ipq.shared "t"
    assert.same({ nil, "not found" }, { t:incr "a" })
    assert.equal(11, t:incr("a", 1, 10))
    assert.equal(12, t:incr("a"))
    assert.equal(10.5, t:incr("a", -1.5, 99))
    t:set("s", "text")
    assert.same({ nil, "not a number" }, { t:incr("s", 1, 0) })
    t:set("b", true)
    assert.same({ nil, "not a number" }, { t:incr("b", 1, 0) })
  end)

  it("counts for as long as was said when it began", function()
    local t = ipq.shared("t", { ttl = 100 })
    t:incr("a", 1, 0, 10)
    clock = clock + 9
    assert.equal(2, t:incr("a", 1, 0, 10))
    assert.equal(1, t:ttl "a")
    clock = clock + 1
    assert.equal(1, t:incr("a", 1, 0))
    assert.equal(100, t:ttl "a")
  end)

  it("takes the shortest time for one", function()
    local t, own = ipq.shared("t", { ttl = 1e-12 }), ipq.shared "own"
    t:set("a", 1)
    own:set("a", 1, 1e-12)
    clock = clock + 1
    assert.same({}, { t:get "a", (own:get "a") })
  end)

  it("forgets a key when its time has come", function()
    local t, forever = ipq.shared("t", { ttl = 60 }), ipq.shared "forever"
    t:set("a", 1)
    t:set("b", 2, 5)
    t:set("c", 3, 0)
    forever:set("a", 1)
    assert.same({ 60, 5, 0, 0 }, { t:ttl "a", t:ttl "b", t:ttl "c", (forever:ttl "a") })
    clock = clock + 5
    assert.is_nil(t:get "b")
    assert.same({ nil, "not found" }, { t:ttl "b" })
    assert.same({ nil, "not found" }, { t:expire("b", 5) })
    assert.is_true(t:expire("a", 1))
    clock = clock + 1e9
    assert.is_nil(t:get "a")
    assert.equal(3, t:get "c")
    assert.same({ "c" }, t:keys())
  end)

  it("deletes, and says whether there was something", function()
    local t = ipq.shared "t"
    t:set("a", 1)
    assert.is_true(t:delete "a")
    assert.is_false(t:delete "a")
    assert.is_nil(t:get "a")
    t:bucket("a", 1, 1)
    assert.is_true(t:delete "a")
    assert.is_true(t:bucket("a", 1, 1))
  end)

  it("clears all of a table, and nothing of another", function()
    local t, other = ipq.shared "t", ipq.shared "other"
    for i = 1, 1000 do
      t:set(i, i)
      other:set(i, i)
    end
    assert.is_true(t:clear())
    assert.same({}, t:keys())
    assert.equal(1000, #other:keys(0))
    t:set(5, "five")
    assert.same({ 5 }, t:keys())
  end)

  it("lists as many keys as are asked for", function()
    local t = ipq.shared "t"
    for i = 1, 2000 do t:set(i, true) end
    assert.equal(1024, #t:keys())
    assert.equal(7, #t:keys(7))
    local seen = {}
    for _, key in ipairs(t:keys(0)) do
      assert.is_nil(seen[key])
      seen[key] = true
    end
    assert.equal(2000, #t:keys(0))
  end)

  describe("bucket", function()
    it("gives what it holds, then what has come since", function()
      local t = ipq.shared "t"
      for _ = 1, 20 do assert.is_true(t:bucket("a", 10, 20)) end
      assert.is_false(t:bucket("a", 10, 20))
      clock = clock + 0.1
      assert.is_true(t:bucket("a", 10, 20))
      assert.is_false(t:bucket("a", 10, 20))
      clock = clock + 100
      for _ = 1, 20 do assert.is_true(t:bucket("a", 10, 20)) end
      assert.is_false(t:bucket("a", 10, 20))
    end)

    it("takes the cost, or nothing", function()
      local t = ipq.shared "t"
      assert.is_false(t:bucket("a", 1, 10, 10.5))
      assert.is_true(t:bucket("a", 1, 10, 10))
      assert.is_false(t:bucket("a", 1, 10, 0.5))
      assert.is_true(t:bucket("a", 1, 10, 0))
      clock = clock + 4
      assert.is_false(t:bucket("a", 1, 10, 4.5))
      assert.is_true(t:bucket("a", 1, 10, 4))
    end)

    it("lets so many a second through in the long run", function()
      local t = ipq.shared "t"
      for _, rate in ipairs { 0.5, 3, 1000, 33333 } do
        local passed, steps = 0, 20000
        for _ = 1, steps do
          clock = clock + 3 / rate / 10
          if t:bucket("rate " .. rate, rate, 5) then passed = passed + 1 end
        end
        assert.is_true(math.abs(passed - steps * 3 / 10) <= steps * 0.0003 + 5, passed .. " at " .. rate)
      end
    end)

    it("is empty at most where time goes back, and not for longer than it takes to fill", function()
      local t = ipq.shared "t"
      t:bucket("a", 10, 20)
      clock = clock - 500
      assert.is_false(t:bucket("a", 10, 20))
      clock = clock + 2
      for _ = 1, 20 do assert.is_true(t:bucket("a", 10, 20)) end
    end)

    it("is no value, and a value no bucket", function()
      local t = ipq.shared "t"
      t:set("a", 5)
      assert.is_true(t:bucket("a", 1, 1))
      assert.equal(5, t:get "a")
      assert.same({ "a" }, t:keys())
    end)

    it("takes no memory when it is full again", function()
      local t = ipq.shared "t"
      t:bucket("a", 1, 5)
      assert.same({ "a" }, t:keys())
      clock = clock + 1.01
      assert.same({}, t:keys())
    end)
  end)

  -- A plain table, and what the operations make of it.
  local function model_of()
    local model, data = {}, {}
    local function live(key)
      local entry = data[key]
      if entry and (entry.expiry == 0 or entry.expiry > clock) then return entry end
    end
    local function ttl_to(ttl) return ttl == 0 and 0 or clock + ttl end
    function model.get(key) return live(key) and live(key).value end
    function model.set(key, value, ttl) data[key] = { value = value, expiry = ttl_to(ttl) } return true end
    function model.add(key, value, ttl)
      if live(key) then return nil, "exists" end
      return model.set(key, value, ttl)
    end
    function model.replace(key, value, ttl)
      if not live(key) then return nil, "not found" end
      return model.set(key, value, ttl)
    end
    function model.incr(key, n, initial, ttl)
      local entry = live(key)
      if not entry then
        if not initial then return nil, "not found" end
        model.set(key, initial + n, ttl)
        return initial + n
      end
      if type(entry.value) ~= "number" then return nil, "not a number" end
      entry.value = entry.value + n
      return entry.value
    end
    function model.delete(key)
      local was = live(key) ~= nil
      data[key] = nil
      return was
    end
    function model.expire(key, ttl)
      local entry = live(key)
      if not entry then return nil, "not found" end
      entry.expiry = ttl_to(ttl)
      return true
    end
    function model.ttl(key)
      local entry = live(key)
      if not entry then return nil, "not found" end
      return entry.expiry == 0 and 0 or entry.expiry - clock
    end
    function model.clear() data = {} return true end
    function model.keys()
      local keys = {}
      for key in pairs(data) do if live(key) then keys[#keys + 1] = tostring(key) end end
      table.sort(keys)
      return keys
    end
    return model
  end

  local function random_key(count)
    local i = math.random(count)
    if i % 4 == 0 then return i end
    if i % 4 == 1 then return "10.0." .. i % 256 .. "." .. i % 7 end
    if i % 4 == 2 then return "k" .. i end
    return ("long key "):rep(i % 20 + 2) .. i
  end

  local function random_value()
    local kind = math.random(5)
    if kind == 1 then return math.random() < 0.5 end
    if kind == 2 then return (string.char(math.random(0, 255))):rep(math.random(0, 256)) end
    return math.random(1000) - 500
  end

  local operations = {
    function(keys) return "get", random_key(keys) end,
    function(keys) return "set", random_key(keys), random_value(), math.random(0, 20) end,
    function(keys) return "add", random_key(keys), random_value(), math.random(0, 20) end,
    function(keys) return "replace", random_key(keys), random_value(), math.random(0, 20) end,
    function(keys) return "incr", random_key(keys), math.random(9), math.random() < 0.5 and 100 or nil, 7 end,
    function(keys) return "delete", random_key(keys) end,
    function(keys) return "expire", random_key(keys), math.random(0, 20) end,
    function(keys) return "ttl", random_key(keys) end,
  }

  for _, keys in ipairs { 20, 300, 3000 } do
    it(("is what a plain table would be, for %d keys"):format(keys), function()
      math.randomseed(keys)
      local t, model = ipq.shared("t", { entries = 4000 }), model_of()
      for step = 1, 40000 do
        if math.random(50) == 1 then clock = clock + math.random(0, 5) end
        local name, a, b, c, d = operations[math.random(#operations)](keys)
        local got, why = t[name](t, a, b, c, d)
        local expected, reason = model[name](a, b, c, d)
        if got ~= expected or why ~= reason then
          error(("step %d, %s(%s, %s, %s): %s, %s and not %s, %s"):format(step, name, tostring(a), tostring(b),
            tostring(c), tostring(got), tostring(why), tostring(expected), tostring(reason)))
        end
        if step % 10000 == 0 then
          local list = t:keys(0)
          for i, key in ipairs(list) do list[i] = tostring(key) end
          table.sort(list)
          assert.same(model.keys(), list)
        end
        if step == 25000 then t:clear() model.clear() end
      end
    end)
  end

  describe("that is full", function()
    it("forgets the key that was used the longest time ago", function()
      math.randomseed(7)
      local t, order = ipq.shared("t", { entries = 8 }), {} -- one set of 16
      local function use(key)
        for i, other in ipairs(order) do if other == key then table.remove(order, i) break end end
        table.insert(order, 1, key)
        order[17] = nil
      end
      for _ = 1, 5000 do
        local key = math.random(24)
        local is_there = false
        for _, other in ipairs(order) do is_there = is_there or other == key end
        local how = math.random(4)
        if how == 1 then
          assert.equal(is_there and key or nil, t:get(key))
        elseif how == 2 then
          assert.equal(is_there, (t:incr(key, 0)) ~= nil)
        else
          t:set(key, key)
        end
        if is_there or how > 2 then use(key) end
      end
      assert.equal(16, #t:keys())
    end)

    it("forgets first what its time has come for", function()
      local t = ipq.shared("t", { entries = 8 })
      for i = 1, 15 do t:set(i, i) end
      t:set("short", 1, 1)
      clock = clock + 1
      t:set(16, 16)
      for i = 1, 16 do assert.equal(i, t:get(i)) end
    end)

    it("has room for the entries that it was made for", function()
      for _, entries in ipairs { 1, 16, 100, 5000, 100000 } do
        local t, kept = ipq.shared("room for " .. entries, { entries = entries }), 0
        for i = 1, entries do t:set(i, i) end
        for i = 1, entries do if t:get(i) then kept = kept + 1 end end
        assert.equal(entries, kept)
      end
    end)

    it("grows where another one names more entries, and keeps what it has", function()
      local t = ipq.shared("t", { entries = 100 })
      for i = 1, 100 do t:set(i, i) end
      ipq.shared("t", { entries = 20000 })
      for i = 101, 20000 do t:set(i, i) end
      for i = 1, 20000 do assert.equal(i, t:get(i)) end
      ipq.shared("t", { entries = 1 })
      assert.equal(20000, #t:keys(0))
    end)

    it("does not grow without end", function()
      local t = ipq.shared("t", { entries = 1000 })
      for i = 1, 50000 do t:set(i, i) end
      local count = #t:keys(0)
      assert.is_true(count >= 1000 and count <= 2000, tostring(count))
    end)
  end)

  it("says so where the memory has no room for a table", function()
    region.size = 2 ^ 20
    raises('ipq.shared%("big"%): no room in the memory for shared tables: %-%-shared%-memory gives more', ipq.shared,
      "big", { entries = 100000 })
    ipq.shared("small", { entries = 1000 }):set(1, 1)
  end)

  it("keeps numbers where the memory has no room for text, and says so", function()
    region.size = 2 ^ 20
    local t, late = ipq.shared("t", { entries = 4000, value = 4096 }), ipq.shared("late", { entries = 10 })
    late:set("number", 1)
    for i = 1, 4000 do
      assert.is_true(t:set("text " .. i, ("x"):rep(4000)))
      assert.is_true(t:set(i, i))
      assert.equal(i, t:get(i))
    end
    for _, key in ipairs(t:keys(0)) do
      local value = t:get(key)
      assert.is_true(value == key or value == ("x"):rep(4000))
    end
    local ok, why = late:set("text", "x")
    assert.is_nil(ok)
    assert.matches("^no room in the memory for shared tables: %-%-shared%-memory gives more", why)
    assert.is_nil(late:get "text")
    assert.equal(2, late:incr "number")
  end)

  it("has room for 64 tables", function()
    region.size = 2 ^ 26
    for i = 1, 64 do ipq.shared("t" .. i, { entries = 10 }):set(1, i) end
    for i = 1, 64 do assert.equal(i, ipq.shared("t" .. i):get(1)) end
    raises('ipq.shared%("one more"%): there are too many tables', ipq.shared, "one more")
  end)

  describe("misused", function()
    local t
    before_each(function() t = ipq.shared "t" end)

    local function given(value) return ((value == "5" and '"5"' or tostring(value)):gsub("%p", "%%%0")) .. "$" end

    it("raises at the script's line for a name or an option that there cannot be", function()
      for _, name in ipairs { "", ("x"):rep(64), "a\0b", 5, true } do
        raises("ipq.shared%(%): a table's name is text of 1 to 63 bytes", ipq.shared, name)
      end
      raises("ipq.shared%(%) takes a name and a table", ipq.shared, "t", 5)
      raises('ipq.shared%("t"%) has no option \'entires\'; did you mean \'entries\'%?', ipq.shared, "t",
        { entires = 5 })
      for _, entries in ipairs { 0, -1, 1.5, 2 ^ 24 + 1, "5", 0 / 0 } do
        raises('ipq.shared%("t"%): entries must be a whole number from 1 to 16777216, not ' .. given(entries),
          ipq.shared, "t", { entries = entries })
      end
      for _, value in ipairs { -1, 16385 } do
        raises('ipq.shared%("t"%): value must be a whole number from 0 to 16384, not ' .. given(value),
          ipq.shared, "t", { value = value })
      end
      for _, ttl in ipairs { -1, 0 / 0, 1e10, "5" } do
        raises('ipq.shared%("t"%): ttl must be a number of seconds, from 0 %(for ever%) to 1e9, not '
          .. given(ttl), ipq.shared, "t", { ttl = ttl })
      end
    end)

    it("raises at the script's line for what is no key", function()
      for _, key in ipairs { true, {}, 0 / 0, print } do
        for _, name in ipairs { "get", "set", "incr", "delete", "ttl", "expire", "bucket", "add", "replace" } do
          raises("a key must be a string or a number, not ", t[name], t, key, 1, 1)
        end
      end
      raises("a key must be a string or a number, not a nil", t.get, t)
      raises("a key has 255 bytes at most; this one has 256", t.get, t, ("x"):rep(256))
    end)

    it("raises at the script's line for what is no value, number or time", function()
      raises("a value must be a number, a boolean or a string, not a table", t.set, t, "a", {})
      raises("a value must be a number, a boolean or a string, not a nil", t.add, t, "a")
      raises("what is added must be a number", t.incr, t, "a", "1")
      raises("the initial number must be a number", t.incr, t, "a", 1, true)
      raises("a time to live is a number of seconds", t.set, t, "a", 1, -1)
      raises("a time to live is a number of seconds", t.expire, t, "a", 1e10)
      raises("a bucket takes a number of tokens a second", t.bucket, t, "a", 0, 1)
      raises("a bucket's burst is", t.bucket, t, "a", 1, 0)
      raises("a bucket's cost is", t.bucket, t, "a", 1, 1, -1)
      raises("keys%(%) takes how many", t.keys, t, -1)
    end)

    it("raises at the script's line for what is no table, no method and no packet", function()
      raises("call it as table:method", t.get, "a")
      raises("call it as table:method", t.keys)
      raises("a shared table has no 'gte'; did you mean 'get'%?", function() return t.gte end)
      raises("a shared table has no fields to assign", function() t.a = 1 end)
      raises("not a packet: a", t.get_saddr, t, "a")
    end)

    it("leaves the table as it was", function()
      t:set("a", 1)
      pcall(t.set, t, "a", {})
      pcall(t.incr, t, "a", {})
      assert.equal(1, t:get "a")
    end)
  end)

  describe("with packets", function()
    local v4, v6, arp = packets.ip(17, packets.udp "x"), packets.ip6(17, packets.udp "x"), ""

    it("takes their addresses as they are", function()
      local t = ipq.shared "t"
      local src = source.new { m.simple(1, v4), m.simple(2, v6), m.simple(3, arp) }
      src:plan({ 3 }, 1)
      local results = {}
      src:verdicts(function(pkt)
        t:set_saddr(pkt, "from")
        t:set_daddr(pkt, "to")
        results[#results + 1] = { tostring(t:get_saddr(pkt)), tostring(t:get_daddr(pkt)),
          pkt.saddr and t:get(pkt.saddr), pkt.daddr and t:get(pkt.daddr), tostring(t:bucket_saddr(pkt, 1, 1)),
          select(2, t:incr_daddr(pkt)) }
      end)
      assert.same({ "from", "to", "from", "to", "true", "not a number" }, results[1])
      assert.same({ "from", "to", "from", "to", "true", "not a number" }, results[2])
      assert.same({ "nil", "nil", nil, nil, "nil", "the packet has no address" }, results[3])
    end)
  end)

  it("goes with the last of its tables", function()
    local function mapped()
      collectgarbage()
      collectgarbage()
      for line in io.lines "/proc/self/status" do
        local kilobytes = line:match "^VmSize:%s*(%d+)"
        if kilobytes then return kilobytes / 2 ^ 10 end
      end
    end
    region.size = 2 ^ 30
    local before = mapped()
    local t = ipq.shared "t"
    region.fresh()
    assert.is_true(mapped() > before + 1000)
    t:set(1, 1)
    t = nil
    assert.is_true(t == nil and mapped() < before + 500)
  end)
end)

describe("ipq.shared of a script", function()
  local t = require "ipq.test"
  local SCRIPT = [[
    local ipq = require "ipq"
    local seen = ipq.shared("seen", { entries = 100, ttl = 10 })
    return {
      start = function() seen:set("started", true) end,
      filter = function(pkt)
        if not seen:get "started" then ipq.log.warn "forgotten" end
        local count = seen:incr_saddr(pkt, 1, 0)
        if count > 2 or not seen:bucket_daddr(pkt, 1, 5) then return ipq.DROP end
      end,
    }]]
  local path
  setup(function()
    path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(SCRIPT)
    file:close()
  end)
  teardown(function()
    os.remove(path)
    region.time = nil
    region.fresh()
  end)

  it("is fresh each time that it is loaded, by the kit's time", function()
    t.set_time(5000)
    local packet = t.udp { saddr = "192.0.2.1" }
    local first, second = t.load(path), t.load(path)
    for _ = 1, 2 do assert.equal("accept", t.run(first, packet).verdict) end
    assert.equal("drop", t.run(first, packet).verdict)
    assert.equal("accept", t.run(second, packet).verdict)
    t.advance(9)
    assert.same({}, t.run(first, packet).log)
    t.advance(1)
    assert.same({ "warn: forgotten" }, t.run(first, packet).log)
  end)

  it("goes by the packets' time in a replay, from the first of them on", function()
    local capture, script = os.tmpname(), os.tmpname()
    finally(function() os.remove(capture) os.remove(script) end)
    local file = assert(io.open(script, "w"))
    file:write [[
      local seen = require "ipq".shared("seen", { ttl = 10 })
      return {
        start = function() seen:set("started", true) end,
        filter = function(pkt)
          print(seen:get "started", seen:incr_saddr(pkt, 1, 0), seen:ttl_saddr(pkt), (seen:bucket_saddr(pkt, 1, 2)))
        end,
      }]]
    file:close()
    local frames = {}
    for i, second in ipairs { 0, 0, 0, 9, 10, 60 } do
      frames[i] = { packets.ip(17, packets.udp "x"), sec = 1700000000 + second }
    end
    require "spec.support.capture".write(capture, frames)
    local output = netns.shell(("LD_PRELOAD= ASAN_OPTIONS= %s -r %s %s"):format(netns.program, capture, script))
    assert.matches("true\t1\t10\ttrue\ntrue\t2\t10\ttrue\ntrue\t3\t10\tfalse\ntrue\t4\t1\ttrue\n"
      .. "nil\t1\t10\ttrue\nnil\t1\t10\ttrue\n", output)
  end)
end)
