local counter = require "ipq.counter"
local ffi = require "ffi"
local ipq = require "ipq"
local lib = require "spec.support.lib"
local netns = require "spec.support.netns"
local packets = require "spec.support.packet"

describe("ipq.counter", function()
  local counters
  before_each(function()
    counters = ffi.new("struct ipq_counter[?]", ffi.C.IPQ_SCRIPT_COUNTERS_MAX)
    counter.place(counters)
  end)
  after_each(function() counter.place() end)

  it("counts, is set, and tells what it has", function()
    local hits = ipq.counter "hits"
    assert.equal(0, hits:get())
    hits:inc()
    hits:inc(41)
    assert.equal(42, hits:get())
    hits:set(-0.5)
    assert.equal(-0.5, hits:get())
    assert.equal("number", type(hits:get()))
    assert.equal("ipq.counter(\"hits\")", tostring(hits))
  end)

  it("is in the memory that the program has, under its name", function()
    ipq.counter "first":inc(5)
    local second = ipq.counter "second_2"
    second:inc(7)
    assert.same({ "first", 5, "second_2", 7 }, { ffi.string(counters[0].name), counters[0].value,
      ffi.string(counters[1].name), counters[1].value })
    assert.same({ first = 5, second_2 = 7 }, counter.all())
  end)

  it("goes on from where another of that name was", function()
    ipq.counter "other":inc()
    ipq.counter "hits":inc(3)
    ipq.counter "hits":inc(4)
    assert.equal(7, ipq.counter "hits":get())
  end)

  it("is true and not nil, the first one too", function()
    local first = ipq.counter "first"
    assert.is_true(first ~= nil and first and true)
  end)

  for _, name in ipairs { "", "A", "1a", "a-b", "a b", "a\n", "a\0", "\195\164", ("a"):rep(64), 5, {}, true } do
    it("raises at the caller's line for the name " .. tostring(name):sub(1, 10), function()
      local ok, why = pcall(function() return (ipq.counter(name)) end)
      assert.is_false(ok)
      assert.matches("^spec/unit/counter_spec.lua:%d+: ipq.counter%(%): a name has", why)
    end)
  end

  it("takes names of 63 characters", function()
    local name = ("a"):rep(63)
    ipq.counter(name):inc()
    assert.same({ [name] = 1 }, counter.all())
  end)

  it("raises where there are 64, but not for one of them", function()
    for i = 1, 64 do ipq.counter("c" .. i):inc(i) end
    assert.equal(64, ipq.counter "c64":get())
    local ok, why = pcall(function() return (ipq.counter "one_more") end)
    assert.is_false(ok)
    assert.matches("^spec/unit/counter_spec.lua:%d+: ipq.counter%(%): there are 64 already", why)
  end)

  it("raises at the caller's line for what is no number, and counts nothing then", function()
    local hits = ipq.counter "hits"
    for _, value in ipairs { "1", {}, true, 0 / 0, 1 / 0, -1 / 0, 5ULL } do
      for _, method in ipairs { "inc", "set" } do
        local ok, why = pcall(function() hits[method](hits, value) end)
        assert.is_false(ok)
        assert.matches("^spec/unit/counter_spec.lua:%d+: " .. method .. "%(%) takes a number", why)
      end
    end
    assert.has_error(function() hits:set() end)
    assert.equal(0, hits:get())
  end)

  it("has nothing that a script could reach memory by", function()
    local hits = ipq.counter "hits"
    for _, key in ipairs { 0, 1, "name", "value" } do
      assert.is_false(pcall(function() hits[key] = 1 end))
      assert.is_false((pcall(function() return hits[key] .. "" end)))
    end
    for _, other in ipairs { 0, 65, -1, 1e9 } do assert.is_false(pcall(hits.inc, other)) end
    assert.is_false(pcall(hits.inc, nil))
    assert.equal(0, hits:get())
  end)

  it("is told at the end of a replay", function()
    local path, capture = os.tmpname(), os.tmpname()
    finally(function() os.remove(path) os.remove(capture) end)
    local file = assert(io.open(path, "w"))
    file:write "local c = require 'ipq'.counter 'seen' return function() c:inc(2) end"
    file:close()
    require "spec.support.capture".write(capture, { { packets.ip(17, packets.udp "hello") } })
    assert.matches("\nseen +2\n", (netns.shell(("LD_PRELOAD= ASAN_OPTIONS= %s -r %s %s"):format(netns.program, capture,
      path))))
  end)
end)

describe("ipq_histogram", function()
  local C = lib.C
  local function new() return ffi.new "struct ipq_histogram" end

  --- The bucket that a value is counted in.
  local function bucket_of(value)
    local histogram = new()
    C.ipq_histogram_add(histogram, value, 1)
    for bucket = 0, ffi.C.IPQ_HISTOGRAM_BUCKETS - 1 do
      if histogram.buckets[bucket] == 1 then return bucket end
    end
  end

  it("has buckets without a gap, each an eighth of a power of two at most", function()
    local last = ffi.C.IPQ_HISTOGRAM_BUCKETS - 1
    for bucket = 0, last do
      local least, next = C.ipq_histogram_least(bucket), C.ipq_histogram_least(bucket + 1)
      assert.is_true(next > least)
      assert.is_true(tonumber(next - least) <= math.max(1, tonumber(least) / 8))
      assert.equal(bucket, bucket_of(least))
      assert.equal(bucket, bucket_of(next - 1))
    end
    assert.equal(last, bucket_of(0xffffffffffffffffULL))
    assert.equal(2 ^ 36, tonumber(C.ipq_histogram_least(last + 1)))
    assert.equal(272, ffi.C.IPQ_HISTOGRAM_BUCKETS)
  end)

  it("finds the value that a share of all is not above", function()
    local h = new()
    assert.equal(0, tonumber(C.ipq_histogram_quantile(h, 0.5)))
    C.ipq_histogram_add(h, 98 * 100, 98)
    C.ipq_histogram_add(h, 2 * 5000, 2)
    assert.same({ 100, 19800 }, { tonumber(h.count), tonumber(h.sum) })
    local function is_near(expected, quantile)
      local value = tonumber(C.ipq_histogram_quantile(h, quantile))
      assert.is_true(math.abs(value - expected) <= expected / 16, value .. " for " .. expected)
    end
    is_near(100, 0)
    is_near(100, 0.5)
    is_near(100, 0.98)
    is_near(5000, 0.99)
    is_near(5000, 1)
  end)

  it("takes away what was before", function()
    local h, before = new(), new()
    C.ipq_histogram_add(h, 300, 3)
    C.ipq_histogram_add(before, 300, 3)
    C.ipq_histogram_add(h, 7, 1)
    C.ipq_histogram_subtract(h, before)
    assert.same({ 1, 7, 7 }, { tonumber(h.count), tonumber(h.sum), tonumber(C.ipq_histogram_quantile(h, 0.5)) })
  end)
end)
