local m = require "spec.support.message"
local source = require "spec.support.source"

-- What look(payload) gives inside a filter for a packet with these bytes.
local function inside(bytes, look)
  local result
  source.new { m.simple(1, bytes) }:verdicts(function(pkt) result = { pcall(look, pkt.payload) } end)
  if not result[1] then error(result[2], 0) end
  return unpack(result, 2, 10)
end

describe("Buffer", function()
  local bytes = "\1\2\3\4\5\6\7\8\255"

  it("knows its length", function()
    assert.equal(9, inside(bytes, function(b) return #b end))
    assert.equal(0, inside("", function(b) return #b end))
  end)

  it("reads numbers from network order", function()
    local function read(b) return b:u8(8), b:u16(0), b:u32(1), tostring(b:u64(0)), tostring(b:u64(1)) end
    assert.same({ 255, 0x0102, 0x02030405, "72623859790382856ULL", "144964032628459775ULL" },
      { inside(bytes, read) })
    assert.equal(0xffffffff, inside(("\255"):rep(4), function(b) return b:u32(0) end))
    assert.equal("18446744073709551615ULL", inside(("\255"):rep(8), function(b)
      return tostring(b:u64(0))
    end))
  end)

  for name, size in pairs { u8 = 1, u16 = 2, u32 = 4, u64 = 8 } do
    it("reads " .. name .. " up to the last byte and not behind it", function()
      inside(bytes, function(b) return b[name](b, 9 - size) end)
      for _, off in ipairs { 9 - size + 1, 9, 10, 2 ^ 31, 2 ^ 53, -1, math.huge, -math.huge, 0 / 0 } do
        assert.error_matches(function() inside(bytes, function(b) return b[name](b, off) end) end,
          "offset out of bounds")
      end
      assert.error_matches(function() inside(bytes, function(b) local _ = b[name](b, "1") end) end,
        "offset must be a number")
      assert.error_matches(function() inside("", function(b) local _ = b[name](b, 0) end) end,
        "offset out of bounds")
    end)
  end

  it("blames the script's line", function()
    local b = { function(b) return b:u8(99) + 0 end, function(b) return b:string(99) .. "" end,
      function(b) return b:find("x", 99) + 0 end, function(b) return b.nothing end }
    for _, look in ipairs(b) do
      assert.matches("^spec/unit/buffer_spec.lua:%d+: ", select(2, pcall(inside, bytes, look)))
    end
  end)

  it("gives strings", function()
    local function read(b) return b:string(), b:string(7), b:string(1, 2), b:string(9), b:string(0, 0) end
    assert.same({ bytes, "\8\255", "\2\3", "", "" }, { inside(bytes, read) })
    assert.equal(bytes, inside(bytes, tostring))
  end)

  it("gives no string beyond its bounds", function()
    for _, pair in ipairs { { 10 }, { -1 }, { 0, 10 }, { 9, 1 }, { 0, -1 }, { 0 / 0 }, { 0, 0 / 0 },
      { 0, math.huge }, { 8, 2 } } do
      assert.error_matches(function()
        inside(bytes, function(b) return b:string(pair[1], pair[2]) end)
      end, "offset out of bounds")
    end
    assert.error_matches(function() inside(bytes, function(b) return b:string "x" end) end,
      "offset must be a number")
    assert.error_matches(function() inside(bytes, function(b) return b:string(0, {}) end) end,
      "length must be a number")
  end)

  it("says what lies out of its bounds", function()
    for text, look in pairs {
      ["1 byte at offset 9 of a Buffer of 9 bytes"] = function(b) return b:u8(9) + 0 end,
      ["4 bytes at offset 6 of a Buffer of 9 bytes"] = function(b) return b:u32(6) + 0 end,
      ["2 bytes at offset -0.5 of a Buffer of 9 bytes"] = function(b) return b:u16(-0.5) + 0 end,
      ["8 bytes at offset 4294967296 of a Buffer of 9 bytes"] = function(b) return b:u64(2 ^ 32) + 0 end,
      ["10 bytes at offset 0 of a Buffer of 9 bytes"] = function(b) return b:string(0, 10) .. "" end,
      ["-1 bytes at offset 10 of a Buffer of 9 bytes"] = function(b) return b:string(10) .. "" end,
      ["offset 10 of a Buffer of 9 bytes"] = function(b) return (b:find("x", 10)) end,
    } do
      local message = select(2, pcall(inside, bytes, look))
      assert.equal("offset out of bounds: " .. text, (message:gsub("^spec/unit/buffer_spec.lua:%d+: ", "")))
    end
    assert.error_matches(function() inside("x", function(b) return b:u16(0) end) end,
      "2 bytes at offset 0 of a Buffer of 1 byte")
  end)

  it("finds plain text", function()
    local text = "GET /a%.b HTTP\0x"
    local function find(b)
      return b:find "GET", b:find "%.", b:find "x", b:find("T", 3), b:find "y", b:find("GET", 1),
        b:find("", 16), b:find(""), b:find "\0"
    end
    local found = { inside(text, find) }
    assert.same({ 0, 6, 15, 11, nil, nil, 16, 0, 14 }, found)
    assert.error_matches(function() inside(text, function(b) return b:find("x", 17) end) end,
      "offset out of bounds")
    assert.error_matches(function() inside(text, function(b) return b:find(1) end) end,
      "text must be a string")
    assert.is_nil(inside("ab", function(b) return b:find "abc" end))
  end)

  it("compares its beginning", function()
    local function starts(b)
      return b:starts "\1\2", b:starts "\2", b:starts "", b:starts(bytes), b:starts(bytes .. "x")
    end
    assert.same({ true, false, true, true, false }, { inside(bytes, starts) })
  end)

  it("writes itself in hexadecimal digits", function()
    assert.equal("0102030405060708ff", inside(bytes, function(b) return b:hex() end))
  end)

  it("says what it can do instead of a wrong field", function()
    assert.error_matches(function() inside(bytes, function(b) return b.length end) end,
      "a Buffer has no 'length'")
    assert.error_matches(function() inside(bytes, function(b) b.x = 1 end) end, "cannot be assigned")
    assert.error(function() inside(bytes, function(b) return b[0] end) end)
    assert.error(function() inside(bytes, function(b) b[0] = 1 end) end)
  end)
end)
