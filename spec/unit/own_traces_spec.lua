-- What is done to packets of a script's own is compiled. It has a process of its own: LuaJIT never compiles again what
-- has failed to compile often enough, as a function does in which many errors are raised.
local t = require "ipq.test"
local traces = require "spec.support.traces"

describe("a packet of a script's own", function()
  for what, work in pairs {
    answered = function(pkt, own) own[1] = pkt:answer { payload = "the answer" } end,
    cloned = function(pkt, own) own[1] = pkt:clone() end,
    read = function(_, own, i) own.sum = own.sum + own.kept.udp.sport + i end,
    assigned = function(_, own, i) own.kept.ip.ttl = i % 100 end,
    ["given metadata"] = function(_, own, i) own.kept.mark = i end,
  } do
    it("is " .. what .. " in traces", function()
      local loops
      local run = t.run(function(pkt)
        local own = { kept = pkt:clone(), sum = 0 }
        loops = traces.loops(function()
          for i = 1, 1000 do work(pkt, own, i) end
        end)
      end, t.udp { payload = "hello" })
      assert.is_nil(run.error)
      assert.same({ "own_traces_spec.lua" }, loops)
    end)
  end
end)
