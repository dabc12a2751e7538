-- --time-limit where no supervisor looks: with -r and with --test.
local capture = require "spec.support.capture"
local netns = require "spec.support.netns"
local packets = require "spec.support.packet"

local program = netns.shell("realpath " .. netns.program):match "%S+"

local scripts = {
  ["interpreted.lua"] = [[
jit.off()
return function(pkt)
  local n = 0
  while pkt.packet_id == 3 do n = n + 1 end
end
]],
  ["compiled.lua"] = [[
jit.on()
return function(pkt)
  local n = 0
  while pkt.packet_id == 3 do n = n + 1 end
end
]],
  ["timer.lua"] = [[
local ipq = require "ipq"
jit.off()
ipq.after(1e-6, function()
  local n = 0
  while true do n = n + 1 end
end)
return function() end
]],
  ["waits.lua"] = "return function() os.execute 'sleep 0.4' end\n",
}

-- Runs the program in a folder that has the scripts, a capture of five frames, and what else is given. Gives what it
-- says, and its status.
local function ipq_lua(arguments, files, patience)
  local dir = netns.shell "mktemp -d":match "%S+"
  finally(function() netns.shell("rm -r " .. dir) end)
  local frames = {}
  for i = 1, 5 do frames[i] = { packets.ip(17, packets.udp "hello"), sec = i } end
  capture.write(dir .. "/in.pcap", frames, { link = capture.RAW })
  for _, list in ipairs { scripts, files or {} } do
    for name, text in pairs(list) do
      local file = assert(io.open(dir .. "/" .. name, "w"))
      file:write(text)
      file:close()
    end
  end
  return netns.shell(("cd %s; LD_PRELOAD= ASAN_OPTIONS=detect_leaks=0 timeout %d %s --time-limit 0.2 %s")
    :format(dir, patience or 200, program, arguments))
end

local give_up = "no progress in 200 ms of the processor's time while it judged %s %d+ %(%g+ > %g+, protocol %d+%)%. "
  .. "What LuaJIT has compiled cannot be interrupted: the program ends %(%-%-time%-limit%)\n"

describe("--time-limit with a capture", function()
  it("leaves a filter the processor's clock as fine as it is", function()
    local output = ipq_lua("-r in.pcap clock.lua", { ["clock.lua"] = [[
local steps, last = 0, os.clock()
return { filter = function()
  local stop = os.clock() + 0.01
  while os.clock() < stop do
    local now = os.clock()
    if now > last then steps = steps + 1 end
    last = now
  end
end, stop = function() print("steps", steps) end }
]] })
    assert.is_true(tonumber(output:match "steps\t(%d+)") > 500, output)
  end)

  it("interrupts a filter that is interpreted, and names the frame and the line", function()
    local output, status = ipq_lua "-r in.pcap interpreted.lua"
    assert.matches("^ipq%-lua: error: frame 3 of the capture: interpreted.lua:4: takes longer than the time limit\n",
      output)
    assert.matches("accepted +4\n.*errors +1\n", output)
    assert.equal(2, status)
  end)

  it("interrupts a timer", function()
    local output, status = ipq_lua "-r in.pcap timer.lua"
    assert.matches("^ipq%-lua: error: timer: timer.lua:%d: takes longer than the time limit\n", output)
    assert.matches("accepted +5\n", output)
    assert.equal(0, status)
  end)

  it("ends the program where the filter is compiled", function()
    local output, status = ipq_lua "-r in.pcap compiled.lua"
    assert.matches("^ipq%-lua: error: " .. give_up:gsub("%%s %%d%+", "frame 3") .. "$", output)
    assert.equal(70, status)
  end)

  it("does not count the time in which a filter waits", function()
    local output, status = ipq_lua "-r in.pcap waits.lua"
    assert.matches("accepted +5\n.*errors +0\n", output)
    assert.equal(0, status)
  end)

  it("is none where it is 0", function()
    local _, status = ipq_lua("--time-limit 0 -r in.pcap compiled.lua", {}, 1)
    assert.equal(124, status) -- timeout(1)'s
  end)
end)

describe("--time-limit with --test", function()
  local function spec(body)
    return { ["a_spec.lua"] = 'local t = require "ipq.test"\nit("ends", function()\n' .. body .. "\nend)\n" }
  end

  it("has a filter that is interpreted raise, in a run, in a replay and in a timer", function()
    local output, status = ipq_lua("--test a_spec.lua", spec [[
      local filter = t.load "interpreted.lua"
      local result = assert.verdict("error", filter, t.tcp { packet_id = 3 })
      assert.matches("interpreted.lua:4: takes longer", result.error)
      assert.verdict("accept", filter, t.tcp { packet_id = 4 })
      assert.matches("frame 3 of the capture: interpreted.lua:4: takes longer", t.replay("in.pcap", filter).log[1])
      t.load "timer.lua"
      assert.error_matches(function() t.advance(1) end, "a timer raised: timer.lua:%d: takes longer")
    ]])
    assert.matches("1 success / 0 failures / 0 errors", output)
    assert.equal(0, status)
  end)

  it("ends the program where the filter is compiled, and names the spec's line", function()
    local output, status = ipq_lua("--test a_spec.lua", spec [[
      local filter = t.load "compiled.lua"
      t.run(filter, t.tcp { packet_id = 1 })
      assert.verdict("accept", filter, t.tcp { packet_id = 3 })
    ]])
    assert.matches("ipq%-lua: error: a_spec.lua:5: " .. give_up:gsub("%%s %%d%+", "packet 3") .. "$", output)
    assert.equal(70, status)
  end)

  it("leaves alone what takes long outside of filters", function()
    local output, status = ipq_lua("--test a_spec.lua", spec [[
      assert.verdict("accept", function() end, t.tcp {})
      local start = os.clock()
      while os.clock() - start < 0.6 do end
    ]])
    assert.matches("1 success", output)
    assert.equal(0, status)
  end)
end)

describe("--time-limit that one packet has met", function()
  it("is the same for the next one that meets it", function()
    local output, status = ipq_lua("-r in.pcap twice.lua", { ["twice.lua"] = [[
jit.off()
return function(pkt)
  local n = 0
  while pkt.packet_id == 2 or pkt.packet_id == 4 do n = n + 1 end
end
]] })
    for _, frame in ipairs { 2, 4 } do
      assert.matches(("error: frame %d of the capture: twice.lua:4: takes longer than the time limit\n"):format(frame),
        output)
    end
    assert.matches("accepted +3\n.*errors +2\n", output)
    assert.equal(2, status)
  end)
end)
