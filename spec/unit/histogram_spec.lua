local ffi = require "ffi"
local lib = require "spec.support.lib"

local C, BUCKETS = lib.C, ffi.C.IPQ_HISTOGRAM_BUCKETS

describe("ipq_histogram", function()
  it("has each value in the bucket that begins at it or before", function()
    local histogram = ffi.new "struct ipq_histogram"
    for bucket = 0, BUCKETS - 1 do
      C.ipq_histogram_add(histogram, C.ipq_histogram_least(bucket), 1)
      C.ipq_histogram_add(histogram, C.ipq_histogram_least(bucket + 1) - 1, 1)
      assert.equal(2, tonumber(histogram.buckets[bucket]))
    end
  end)

  it("has all that is too large in its last bucket", function()
    local two = ffi.new "struct ipq_histogram[2]"
    for i, value in ipairs { C.ipq_histogram_least(BUCKETS), C.ipq_histogram_least(BUCKETS + 1), -1ULL } do
      C.ipq_histogram_add(two, value, 1)
      assert.equal(i, tonumber(two[0].buckets[BUCKETS - 1]))
    end
    assert.equal(0, tonumber(two[1].count))
  end)

  it("has the lower one of two values in the middle", function()
    local histogram = ffi.new "struct ipq_histogram"
    C.ipq_histogram_add(histogram, 2, 1)
    C.ipq_histogram_add(histogram, 6, 1)
    assert.same({ 2, 2, 6, 6 }, { tonumber(C.ipq_histogram_quantile(histogram, 0)),
      tonumber(C.ipq_histogram_quantile(histogram, 0.5)), tonumber(C.ipq_histogram_quantile(histogram, 0.51)),
      tonumber(C.ipq_histogram_quantile(histogram, 1)) })
  end)

  it("has 0 where there is no value", function()
    assert.equal(0, tonumber(C.ipq_histogram_quantile(ffi.new "struct ipq_histogram", 0.5)))
  end)
end)
