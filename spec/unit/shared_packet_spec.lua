local ipq = require "ipq"
local m = require "spec.support.message"
local packets = require "spec.support.packet"
local source = require "spec.support.source"
local traces = require "spec.support.traces"

describe("ipq.shared in a filter", function()
  it("is compiled, and makes no garbage", function()
    local t = ipq.shared("t", { entries = 1000, ttl = 60 })
    local src = source.new { m.simple(1, packets.ip(17, packets.udp "x")),
      m.simple(2, packets.ip6(17, packets.udp "x")), m.simple(3, "") }
    local run = src:judge(function(pkt)
      t:incr_saddr(pkt, 1, 0)
      t:set("last", pkt.len)
      if t:get "last" ~= pkt.len or t:get_daddr(pkt) then return ipq.REPEAT end
      if t:bucket_saddr(pkt, 1, 1) == false then return ipq.DROP end
    end)
    local compiled, aborted = traces.of(src:plan({ 64 }, 2000) and run)
    for _, line in ipairs(aborted) do
      assert.falsy(line:match "NYI" and not line:match "NYI: return to lower frame" or line:match "blacklisted", line)
    end
    local loops = 0
    for _, trace in ipairs(compiled) do
      if trace.start:match "dispatch.lua" and trace.link == "loop" then loops = loops + 1 end
    end
    assert.is_true(loops > 0)
    assert.equal(0, tonumber(src.batch.counters.errors))
    assert.is_true(tonumber(src.batch.counters.dropped) > 1000)
    src:plan({ 64, 1, 2, 3 }, 10000)
    run()
    local garbage = traces.garbage(function()
      src:plan({ 64, 1, 2, 3 }, 4000)
      run()
    end)
    assert.is_true(garbage < 4, ("%.1f KiB for 70000 packets"):format(garbage))
  end)
end)
