-- What LuaJIT makes of a filter, and what is told of it; in a program of its own, for it has to be alone there.
local netns = require "spec.support.netns"
local traffic = require "spec.support.traffic"

describe("how a filter is compiled", function()
  local folder = netns.shell "mktemp -d":match "%S+"
  traffic.write(folder .. "/in.pcap", 20000)
  teardown(function() os.execute("rm -r " .. folder) end)

  --- What the program logs, and its status, with a filter (text), of a capture of this folder.
  local function replay(filter, options, capture)
    local file = assert(io.open(folder .. "/filter.lua", "w"))
    file:write(filter)
    file:close()
    return netns.shell(("cd %s; LD_PRELOAD= ASAN_OPTIONS=detect_leaks=0 $OLDPWD/%s %s -r %s filter.lua")
      :format(folder, netns.program, options or "--log-level debug", capture or "in.pcap"))
  end

  local closure = [[
local function any(list, test)
  for _, value in ipairs(list) do if test(value) then return true end end
end
return function(pkt)
  local port = pkt.dport
  if any({ 1, 2 }, function(value) return value == port end) then return 0 end
end
]]

  it("is told, once a place, where that cannot be", function()
    local output, status = replay(closure)
    assert.equal(0, status)
    local count = select(2, output:gsub("debug: filter.lua:%d+ is not compiled, but interpreted: NYI: bytecode %u+\n",
      ""))
    assert.is_true(count >= 1 and count <= 20, output)
    local seen = {}
    for place in output:gmatch "debug: (%S+) is not compiled" do
      assert.is_nil(seen[place], output)
      seen[place] = true
    end
  end)

  it("is not told unless somebody wants to know, nor where there is nothing to tell", function()
    assert.not_matches("not compiled", (replay(closure, "")))
    assert.not_matches("not compiled", (replay "return function(pkt) pkt.mark = 1 end"))
  end)

  -- The loop over packets gets its trace from packets without a loop in their filter, of which there are none here.
  local loops = [[
return function(pkt)
  local sum = 0
  for i = 0, 19 do sum = sum + pkt.payload:u8(i) end
  if sum < 0 then return 0 end
end
]]

  it("is begun anew once where the filter's loop is in the way of the loop over packets", function()
    local flushes = [[
-- No script has it by require.
local compiler = debug.getregistry()["ipq.require"] "ipq.engine.compiler"
local start_anew, times = compiler.start_anew, 0
compiler.start_anew = function()
  times = times + 1
  return (start_anew())
end
local filter = (function() %s end)()
return { filter = filter, stop = function() print("anew " .. times, compiler.has_loop_trace()) end }
]]
    assert.matches("anew 1\ttrue\n", (replay(flushes:format(loops), "")))
    assert.matches("anew 0\ttrue\n", (replay(flushes:format "return function(pkt) pkt.mark = 1 end", "")))
  end)

  it("leaves nothing of it interpreted where that reads flows and adds to them, and makes no garbage", function()
    traffic.write(folder .. "/many.pcap", 140000)
    local output, status = replay([[
local ipq = require "ipq"
local count, before = 0, 0
return {
  flow = { entries = 5000, fields = { "hits", "size" }, timeout = { udp = 0.001, udp_stream = 0.001, tcp = 0.5 } },
  filter = function(pkt)
    local flow = pkt.flow
    count = count + 1
    if count == 40000 then
      collectgarbage()
      collectgarbage "stop"
      before = collectgarbage "count"
    elseif count == 140000 then
      print("kilobytes", collectgarbage "count" - before)
    end
    if not flow then return ipq.DROP end
    flow.hits = flow.hits + 1
    if flow.is_new then flow.size = pkt.len end
    if flow.original.bytes + flow.reply.bytes > 1e9 then flow:bypass() end
    if flow.original.packets > 1e7 then flow:drop() end
    if flow.direction == "reply" and flow.state == "closed" or flow.is_related then return ipq.DROP end
    if flow.sport == 5 or flow.protocol == 99 or flow.id == 7 or flow.hook == "forward" then return ipq.DROP end
  end,
}
]], nil, "many.pcap")
    assert.equal(0, status)
    assert.not_matches("not compiled", output)
    -- One byte a packet would be a hundred; the timer that sweeps has some of its own.
    assert.is_true(tonumber(output:match "kilobytes\t(%S+)") < 40, output)
  end)

  it("is left alone where a script watches LuaJIT itself", function()
    local output, status = replay([[
local count = 0
jit.attach(function(what) if what == "stop" then count = count + 1 end end, "trace")
return { filter = function() end, stop = function() print("seen " .. count) end }
]])
    assert.equal(0, status)
    assert.is_true(tonumber(output:match "seen (%d+)") > 0)
  end)
end)
