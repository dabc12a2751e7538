-- scripts/port_knock.lua: a port that opens for who has knocked.
local script = require "ipq.engine.script"
local t = require "ipq.test"

local PATH = "scripts/port_knock.lua"

local function load(more)
  local arguments = { knock = "7000,8000,7000", port = "22,2222" }
  for key, value in pairs(more or {}) do arguments[key] = value end
  return t.load(PATH, arguments)
end

describe(PATH, function()
  for _, address in ipairs { "192.0.2.1", "2001:db8::1" } do
    local function syn(port, from) return t.tcp { saddr = from or address, dport = port, syn = true } end

    local function is_open_after(filter, ports)
      for _, port in ipairs(ports) do
        assert.verdict((port == 7000 or port == 8000) and "drop" or "accept", filter, syn(port))
      end
      return t.run(filter, syn(22)).verdict == "accept"
    end

    it("opens its ports for who knocks in order, and for nobody else: " .. address, function()
      local f = load()
      assert.verdict("drop", f, syn(22))
      assert.is_true(is_open_after(f, { 7000, 8000, 7000 }))
      assert.verdict("accept", f, syn(2222))
      assert.verdict("drop", f, syn(22, address:gsub("1$", "9")))
      assert.verdict("accept", f, syn(443))
    end)

    it("takes a knock that is sent again for one, and begins anew at a wrong one: " .. address, function()
      assert.is_true(is_open_after(load(), { 7000, 7000, 8000, 8000, 7000 }))
      assert.is_false(is_open_after(load(), { 7000, 8000 }))
      assert.is_false(is_open_after(load(), { 8000, 7000, 7000 }))
      assert.is_false(is_open_after(load(), { 7000, 8000, 9, 7000 }))
      assert.is_true(is_open_after(load { knock = "7000,8000" }, { 9, 8000, 7000, 8000 }))
    end)

    it("forgets knocks that are late, and shuts after its time: " .. address, function()
      local f = load { within = 5, seconds = 60 }
      assert.verdict("drop", f, syn(7000))
      t.advance(6)
      assert.is_false(is_open_after(f, { 8000, 7000 }))
      t.advance(6)
      assert.is_true(is_open_after(f, { 7000, 8000, 7000 }))
      t.advance(61)
      assert.verdict("drop", f, syn(22))
    end)

    it("lets connections go on that have begun, and others alone: " .. address, function()
      local f = load()
      assert.unchanged(f, t.tcp { saddr = address, dport = 22, ack = true, payload = "x" })
      assert.unchanged(f, t.udp { saddr = address, dport = 22 })
    end)
  end

  it("does not load with arguments that are none", function()
    for argument, why in pairs { ["knock=x"] = "knock takes ports", ["knock=7000"] = "knock must be two ports",
      ["knock=22,23"] = "cannot be knocked at: 22", ["knock=1,1"] = "twice in a row: 1", ["knock=1,70000"] = "65535",
      ["knock=1,2 within=0"] = "within and seconds", ["knock=1,2 entries=0"] = "entries must be",
      ["knock=1,2 port=0"] = "port takes ports" } do
      local words = {}
      for word in argument:gmatch "%S+" do words[#words + 1] = word end
      local loaded, message = script.load(PATH, words)
      assert.is_nil(loaded, argument)
      assert.matches(why, message)
    end
  end)
end)
