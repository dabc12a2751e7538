-- scripts/transparent_tarpit.lua: connections to unused ports are greeted, and nothing of them is ever taken.
local script = require "ipq.engine.script"
local t = require "ipq.test"

local PATH = "scripts/transparent_tarpit.lua"

describe(PATH, function()
  for _, address in ipairs { "192.0.2.1", "2001:db8::1" } do
    local function segment(fields)
      fields.saddr, fields.dport = address, fields.dport or 23
      return t.tcp(fields)
    end

    it("answers what comes with a window of 0, and acknowledges nothing but the SYN: " .. address, function()
      local f = t.load(PATH, { used = "22" })
      local result = assert.verdict("drop", f, segment { syn = true, sequence = 2 ^ 32 - 1 })
      assert.sent(result, { daddr = address, sport = 23, tcp = { syn = true, ack = true, window = 0, ackseq = 0 } })
      local isn = result.sent[1].tcp.sequence
      local function ack(fields)
        fields.ack, fields.ackseq = true, isn + 1 - 2 ^ 32
        return t.run(f, segment(fields))
      end
      local greeted = ack { sequence = 0 }
      assert.same({ "drop", {} }, { greeted.verdict, greeted.sent })
      for _, fields in ipairs { { sequence = 0, payload = "x" }, { sequence = 2 ^ 32 - 1 },
        { sequence = 0, fin = true } } do
        local one = ack(fields)
        assert.equal("drop", one.verdict)
        assert.sent(one, { daddr = address, tcp = { syn = false, ack = true, window = 0, ackseq = 0, rst = false } })
      end
      local reset = t.run(f, segment { rst = true, sequence = 0 })
      assert.same({ "drop", {} }, { reset.verdict, reset.sent })
    end)

    it("leaves used ports alone, and what was not begun here: " .. address, function()
      local f = t.load(PATH, { used = "22,8000-8001" })
      for _, port in ipairs { 22, 8000, 8001 } do assert.unchanged(f, segment { dport = port, syn = true }) end
      assert.unchanged(f, segment { dport = 40001, syn = true, ack = true })
      assert.unchanged(f, segment { dport = 40002, ack = true, payload = "x" })
      assert.unchanged(f, t.udp { saddr = address, dport = 23 })
    end)
  end

  it("does not load with arguments that are none", function()
    for _, argument in ipairs { "used=x", "used=0", "used=5-4", "used=1,70000", "used=" } do
      local loaded, message = script.load(PATH, { argument })
      assert.is_nil(loaded, argument)
      assert.matches("used takes ports", message)
    end
    assert.matches("seconds must be 1 or more", select(2, script.load(PATH, { "used=1", "seconds=0" })))
    assert.matches("the argument used= is missing", select(2, script.load(PATH, {})))
  end)
end)
