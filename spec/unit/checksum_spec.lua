local ffi = require "ffi"
local m = require "spec.support.message"
local rewrite = require "spec.support.rewrite"

local C = rewrite.C

local function stored(fold) -- the two bytes as they lie in memory
  return ffi.string(ffi.new("uint16_t[1]", fold), 2)
end

local function checksum(bytes) return stored(C.ipq_checksum_fold(C.ipq_checksum_add(0, bytes, #bytes))) end

describe("ipq_checksum_add", function()
  it("gives the sum of RFC 1071's example", function()
    assert.equal("\x22\x0d", checksum "\x00\x01\xf2\x03\xf4\xf5\xf6\xf7")
  end)

  it("gives 0xffff for no bytes and for zeros, 0 for ones", function()
    assert.equal("\xff\xff", checksum "")
    assert.equal("\xff\xff", checksum(("\0"):rep(100)))
    assert.equal("\0\0", checksum(("\xff"):rep(100)))
  end)

  it("agrees with a byte-pair loop at every length and alignment", function()
    local random = rewrite.random(1)
    for _, bytes in ipairs { random.bytes(300), ("\xff"):rep(300) } do
      local buffer = ffi.cast("const uint8_t *", bytes)
      for length = 0, 200 do
        for start = 0, 15 do
          local sum = C.ipq_checksum_add(0, buffer + start, length)
          assert.equal(m.be16(rewrite.checksum(bytes:sub(start + 1, start + length))),
            stored(C.ipq_checksum_fold(sum)))
        end
      end
    end
  end)

  it("reads nothing behind the bytes", function()
    for length = 0, 100 do
      local bytes = rewrite.own(("\1"):rep(length))
      assert.equal(checksum(("\1"):rep(length)), stored(C.ipq_checksum_fold(C.ipq_checksum_add(0, bytes, length))))
      assert.equal(C.ipq_crc32c_portable(bytes, length), C.ipq_crc32c(bytes, length))
    end
  end)

  it("goes on from an earlier sum", function()
    local random = rewrite.random(2)
    local bytes = random.bytes(1000)
    for at = 0, 1000, 2 do
      local sum = C.ipq_checksum_add(0, bytes, at)
      sum = C.ipq_checksum_add(sum, ffi.cast("const uint8_t *", bytes) + at, #bytes - at)
      assert.equal(checksum(bytes), stored(C.ipq_checksum_fold(sum)))
    end
  end)

  it("loses no carry from the largest sum", function()
    local sum = C.ipq_checksum_add(0xffffffff, ("\xff"):rep(65535), 65535)
    -- 32,767 words of ones, which are nothing, and one of 0xff00
    assert.equal(m.be16(0x00ff), stored(C.ipq_checksum_fold(sum)))
    assert.equal(0, C.ipq_checksum_fold(0xffffffff))
    assert.equal(0xfffe, C.ipq_checksum_fold(0x00010000))
  end)
end)

for _, name in ipairs { "ipq_crc32c", "ipq_crc32c_portable" } do
  describe(name, function()
    local crc = C[name]

    it("gives the known values", function()
      assert.equal(0xe3069283, crc("123456789", 9))
      assert.equal(0, crc("", 0))
      -- RFC 3720, appendix B.4
      assert.equal(0x8a9136aa, crc(("\0"):rep(32), 32))
      assert.equal(0x62a8ab43, crc(("\xff"):rep(32), 32))
      local up = {}
      for i = 0, 31 do up[#up + 1] = string.char(i) end
      assert.equal(0x46dd794e, crc(table.concat(up), 32))
      assert.equal(0x113fdb5c, crc(table.concat(up):reverse(), 32))
    end)

    it("agrees with a bit by bit loop at every length and alignment", function()
      local bytes = rewrite.random(4).bytes(120)
      local buffer = ffi.cast("const uint8_t *", bytes)
      for length = 0, 100 do
        for start = 0, 8 do
          assert.equal(rewrite.crc32c(bytes:sub(start + 1, start + length)), crc(buffer + start, length))
        end
      end
    end)
  end)
end
