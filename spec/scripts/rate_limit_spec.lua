-- scripts/rate_limit.lua: a token bucket for each source, or each network.
local script = require "ipq.engine.script"
local t = require "ipq.test"

local PATH = "scripts/rate_limit.lua"

--- What becomes of each packet.
local function verdicts(filter, packets)
  local list = {}
  for i, packet in ipairs(packets) do list[i] = t.run(filter, packet).verdict end
  return list
end

local function from(address, more)
  local fields = { saddr = address }
  for key, value in pairs(more or {}) do fields[key] = value end
  return t.udp(fields)
end

describe(PATH, function()
  it("lets each address send its burst, and its rate behind that", function()
    local f = t.load(PATH, { rate = 2, burst = 3 })
    for _, address in ipairs { "192.0.2.1", "2001:db8::1" } do
      local p = from(address)
      assert.same({ "accept", "accept", "accept", "drop" }, verdicts(f, { p, p, p, p }), address)
    end
    assert.verdict("accept", f, from "192.0.2.2")
    t.advance(0.5)
    assert.same({ "accept", "drop" }, verdicts(f, { from "192.0.2.1", from "192.0.2.1" }))
  end)

  it("counts a network as one, of any number of bits", function()
    for bits, others in pairs { [24] = { "10.1.1.255", "10.1.2.1" }, [13] = { "10.7.255.255", "10.8.0.1" },
      [1] = { "127.0.0.1", "128.0.0.1" }, [31] = { "10.0.0.1", "10.0.0.2" } } do
      local f = t.load(PATH, { rate = 1, prefix4 = bits })
      local first = bits == 24 and "10.1.1.1" or "10.0.0.0"
      assert.same({ "accept", "drop", "accept" }, verdicts(f, { from(first), from(others[1]), from(others[2]) }), bits)
    end
    local f = t.load(PATH, { rate = 1, prefix6 = 47 })
    assert.same({ "accept", "drop", "accept" },
      verdicts(f, { from "2001:db8::1", from "2001:db8:1:9::1", from "2001:db8:2::1" }))
  end)

  it("counts bytes if asked", function()
    local f = t.load(PATH, { rate = 2000, unit = "bytes" })
    local p = from("192.0.2.1", { payload = ("x"):rep(972) })
    assert.same({ "accept", "accept", "drop" }, verdicts(f, { p, p, p }))
    t.advance(0.5)
    assert.verdict("accept", f, p)
  end)

  it("leaves alone what has no IP header", function()
    assert.unchanged(t.load(PATH, { rate = 1 }), t.packet "")
  end)

  it("does not load with arguments that are none", function()
    for argument, why in pairs { ["rate=0"] = "rate must be above 0", ["rate=x"] = "rate takes a number",
      ["prefix4=33"] = "prefix4 must be a whole number from 1 to 32", ["prefix6=0"] = "from 1 to 128",
      ["unit=x"] = "unit must be packets or bytes", ["burst=0.5"] = "burst must be 1 or more",
      ["entries=0"] = "entries must be", ["unit=bytes"] = "burst must be 1500 bytes" } do
      local loaded, message = script.load(PATH, { not argument:match "^rate" and "rate=10" or nil, argument })
      if argument:match "^rate" then loaded, message = script.load(PATH, { argument }) end
      assert.is_nil(loaded, argument)
      assert.matches(why, message)
    end
    assert.matches("the argument rate= is missing", select(2, script.load(PATH, {})))
  end)
end)
