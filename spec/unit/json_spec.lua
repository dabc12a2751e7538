local cjson = require "cjson"
local encode = require "ipq.json".encode

local decode = cjson.new().decode

describe("JSON of a script's values", function()
  for text, value in pairs {
    ['"a\\n\\t\\"\\\\"'] = 'a\n\t"\\', ['"\\u0000\\u001b\\u007f"'] = "\0\27\127", ['"\\u009b"'] = "\194\155",
    ['"ä€🙂"'] = "ä€🙂",
    ['"\\\\xff\\\\xc0\\\\x80 \\\\xed\\\\xa0\\\\x80 \\\\xe2\\\\x82"'] = "\255\192\128 \237\160\128 \226\130",
    ["0"] = 0, ["-5"] = -5, ["0.1"] = 0.1, ["1732924800.123456"] = 1732924800.123456, ["1e+300"] = 1e300,
    ["0.000001"] = 1e-6, ["0.3333333333333333"] = 1 / 3, ["9007199254740991"] = 2 ^ 53 - 1, ["-1.5"] = -1.5,
    ["123"] = 123LL, ["-7"] = -7LL, ['"18446744073709551615"'] = 0xffffffffffffffffULL,
    ['"-9223372036854775808"'] = -0x8000000000000000LL, ["null"] = cjson.null, ["true"] = true, ["false"] = false,
    ["{}"] = {},
  } do
    it("writes " .. text, function() assert.equal(text, encode(value)) end)
  end

  it("has keys in the order of their bytes, numbers as text", function()
    assert.equal('{"":6,"10":2,"A":4,"a":5,"aa":3,"é":1}',
      encode { ["é"] = 1, [10] = 2, aa = 3, A = 4, a = 5, [""] = 6 })
    local many, wanted = {}, {}
    for i = 1, 500 do many[("k%03d"):format(i)], wanted[i] = i, ('"k%03d":%d'):format(i, i) end
    assert.equal("{" .. table.concat(wanted, ",") .. "}", encode(many))
  end)

  it("is a list where keys go from 1 up, and an object else", function()
    assert.equal("[1,[true],{\"a\":1}]", encode { 1, { true }, { a = 1 } })
    assert.equal('{"1":1,"3":3}', encode { 1, nil, 3 })
    assert.equal('{"0":1,"1":1}', encode { [0] = 1, [1] = 1 })
    assert.equal('{"1.5":1}', encode { [1.5] = 1 })
  end)

  local loop = {}
  loop.loop = loop
  for what, value in pairs { ["function"] = print, NaN = 0 / 0, infinity = -1 / 0, deep = loop,
    thread = coroutine.create(print), ["Buffers"] = require "ffi".new "int[2]", ["keys"] = { [true] = 1 } } do
    it("is refused for what it has not, without a trace of it afterwards: " .. what, function()
      local ok, why = pcall(encode, { before = 1, field = value })
      assert.is_false(ok)
      assert.matches("^field 'field': JSON has no ", why)
      assert.equal('{"a":1}', encode { a = 1 })
    end)
  end

  it("is read back as it was, whatever was in it", function()
    math.randomseed(1)
    local function random(depth)
      local kind = math.random(depth > 3 and 4 or 6)
      if kind == 1 then return math.random(-2 ^ 31, 2 ^ 31) / 2 ^ math.random(0, 40) end
      if kind == 2 then return math.random() * 10 ^ math.random(-300, 300) end
      if kind == 3 then return math.random(2) == 1 end
      local table, n = {}, math.random(0, 40)
      if kind == 4 then
        for i = 1, n do table[i] = string.char(math.random(0, 127)) end
        return require "table".concat(table)
      end
      for i = 1, n do table[kind == 5 and i or "k" .. math.random(1000)] = random(depth + 1) end
      return table
    end
    for _ = 1, 300 do
      local value = random(1)
      assert.same({ value }, decode(encode { value }))
    end
  end)

  it("is read by other parsers, whatever bytes there are", function()
    math.randomseed(2)
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    local file = assert(io.open(path, "w"))
    for _ = 1, 500 do
      local bytes = {}
      for i = 1, math.random(0, 30) do bytes[i] = string.char(math.random(0, 255)) end
      file:write(encode({ text = table.concat(bytes), [table.concat(bytes)] = 1 }, "\n"))
    end
    file:close()
    local check = [[python3 -c 'import json, sys
for line in open(sys.argv[1], encoding="utf-8", newline="\n"): json.loads(line)' ]]
    assert.equal(0, os.execute(check .. path))
  end)
end)
