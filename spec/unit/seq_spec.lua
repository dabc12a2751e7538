-- Numbers that scripts calculate with: TCP's, and checksums.
local ipq = require "ipq"
local m = require "spec.support.message"
local rewrite = require "spec.support.rewrite"
local source = require "spec.support.source"

describe("ipq.seq", function()
  it("adds modulo 2^32", function()
    for _, case in ipairs { { 1, 2, 3 }, { 0xffffffff, 1, 0 }, { 0, -1, 0xffffffff }, { 0xffffffff, 0xffffffff,
      0xfffffffe }, { -1, 0, 0xffffffff }, { 5, 2 ^ 53, 5 }, { 0x80000000, 0x80000000, 0 } } do
      assert.equal(case[3], ipq.seq.add(case[1], case[2]))
    end
  end)

  it("tells how far one number is behind another, the shorter way round", function()
    for _, case in ipairs { { 5, 3, 2 }, { 3, 5, -2 }, { 0, 0xffffffff, 1 }, { 0xffffffff, 0, -1 },
      { 0x80000000, 0, -2 ^ 31 }, { 0x7fffffff, 0, 2 ^ 31 - 1 }, { 0, 0x80000000, -2 ^ 31 }, { 7, 7, 0 },
      { -1, 0xffffffff, 0 } } do
      assert.equal(case[3], ipq.seq.diff(case[1], case[2]))
    end
    local r = rewrite.random(3)
    for _ = 1, 1000 do
      local a, b = r.number(0, 2 ^ 32 - 1), r.number(0, 2 ^ 32 - 1)
      assert.equal(a, ipq.seq.add(b, ipq.seq.diff(a, b)))
    end
  end)

  it("raises for what is no whole number, and for other words", function()
    for _, value in ipairs { "1", 0.5, 0 / 0, 1 / 0, 2 ^ 54, {} } do
      for _, name in ipairs { "add", "diff" } do
        local call = ipq.seq[name]
        for _, arguments in ipairs { { value, 1 }, { 1, value } } do
          local ok, message = pcall(function() call(arguments[1], arguments[2]) end)
          assert.is_false(ok)
          assert.matches("^spec/unit/seq_spec.lua:%d+: ipq.seq." .. name .. "%(%) takes two whole numbers$", message)
        end
      end
    end
    local ok, message = pcall(function() return ipq.seq.dif end)
    assert.is_false(ok)
    assert.matches("seq_spec.lua:%d+: ipq.seq has no 'dif'; did you mean 'diff'%?$", message)
  end)
end)

describe("ipq.checksum", function()
  it("is RFC 1071's, of any bytes", function()
    assert.equal(0xffff, ipq.checksum "")
    assert.equal(0x220d, ipq.checksum "\0\1\xf2\3\xf4\xf5\xf6\xf7") -- RFC 1071 section 3
    local r = rewrite.random(9)
    for len = 0, 200 do
      local bytes = r.bytes(len)
      assert.equal(rewrite.checksum(bytes), ipq.checksum(bytes))
    end
  end)

  it("is that of a Buffer's bytes", function()
    local sum, inner
    source.new { m.simple(1, "abcde") }:verdicts(function(pkt)
      sum, inner = ipq.checksum(pkt.payload), select(2, pcall(function() ipq.checksum(pkt) end))
    end)
    assert.equal(rewrite.checksum "abcde", sum)
    assert.matches("seq_spec.lua:%d+: ipq.checksum%(%) takes a string or a Buffer$", inner)
    assert.error_matches(function() ipq.checksum(5) end, "takes a string or a Buffer")
  end)
end)
