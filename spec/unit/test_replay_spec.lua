-- The test kit's replays: what the program's own replay gives.
local capture = require "spec.support.capture"
local document = require "spec.support.document"
local ipq = require "ipq"
local netns = require "spec.support.netns"
local t = require "ipq.test"

local ethernet = "\2\0\0\0\0\1\2\0\0\0\0\2"

local function mixed(path)
  local frames = {}
  for i = 1, 200 do
    local p = i % 3 == 0 and t.udp { payload = ("x"):rep(i), dport = i } or t.tcp { dport = i, ip6 = {} }
    frames[i] = i % 10 == 0 and { ethernet .. "\8\6" .. ("\0"):rep(28) }
      or { ethernet .. (p.ip and "\8\0" or "\134\221") .. p.bytes, sec = 1000 + i, sub = i }
  end
  capture.write(path, frames, { link = capture.ETHERNET })
end

local function new_capture()
  local path = os.tmpname()
  finally(function() os.remove(path) end)
  mixed(path)
  return path
end

describe("t.replay()", function()
  it("counts as the program does", function()
    local path = new_capture()
    local r = t.replay(path, t.load("scripts/drop_port.lua", { ports = "7,8,9,11" }))
    local output = netns.shell(("LD_PRELOAD= %s -r %s scripts/drop_port.lua ports=7,8,9,11"):format(netns.program,
      path))
    for name, label in pairs { frames = "frames read", unjudged = "passed unjudged %(no IP%)",
      packets = "packets judged",
      accepted = "  accepted", dropped = "  dropped", queued = "  queued", repeated = "  repeated",
        stopped = "  stopped",
      marked = "marked", changed = "changed", errors = "errors" } do
      assert.equal(tonumber(output:match(label .. " +(%d+)\n")), r[name], name)
    end
    assert.same({ 200, 20, 180, 4, 176 }, { r.frames, r.unjudged, r.packets, r.dropped, r.accepted })
    assert.equal(180, #r.records)
    assert.is_nil(r.damage)
  end)

  it("gives the records that --json writes", function()
    local path = new_capture()
    local cjson = require "cjson"
    local r = t.replay(path, t.load "scripts/set_ttl.lua")
    local output = netns.shell(("LD_PRELOAD= %s -r %s --json scripts/set_ttl.lua 2>/dev/null"):format(netns.program,
      path))
    local i = 0
    for line in output:gmatch "[^\n]+" do
      i = i + 1
      assert.same(cjson.decode(line), r.records[i])
    end
    assert.equal(180, i)
  end)

  it("writes what the program writes", function()
    local path, mine, its = new_capture(), os.tmpname(), os.tmpname()
    finally(function()
      os.remove(mine)
      os.remove(its)
    end)
    t.replay(path, t.load("scripts/set_ttl.lua", { ttl = 7 }), { write = mine })
    netns.shell(("LD_PRELOAD= %s -r %s -w %s scripts/set_ttl.lua ttl=7"):format(netns.program, path, its))
    local _, status = netns.shell(("cmp %s %s"):format(mine, its))
    assert.equal(0, status)
  end)

  it("writes what is sent, and tells of it, as the program does", function()
    local path, mine, its, script = new_capture(), os.tmpname(), os.tmpname(), os.tmpname()
    finally(function() for _, name in ipairs { mine, its, script } do os.remove(name) end end)
    document.write(script, [[
local ipq = require "ipq"
return { send = true, filter = function(pkt)
  if pkt.udp then ipq.send(pkt) end
  if pkt.packet_id == 40 then ipq.after(0.5, function() ipq.send "no packet" end) end
  return pkt.packet_id % 2 == 0 and ipq.REJECT or ipq.ACCEPT
end }
]])
    local r = t.replay(path, t.load(script), { write = mine })
    local output = netns.shell(("LD_PRELOAD= %s -r %s -w %s --json %s 2> /dev/null"):format(netns.program, path, its,
      script))
    local _, status = netns.shell(("cmp %s %s"):format(mine, its))
    assert.equal(0, status)
    assert.equal(180, #r.records)
    assert.equal("reject", r.records[2].verdict)
    assert.equal(output, require "ipq.test.replay".lines(path, t.load(script)))
    assert.is_true(select(2, output:gsub('"sent":true', "")) > 60)
  end)

  it("rejects by default, after errors, and what is held in the end, as the program does", function()
    local path, mine, its, script = new_capture(), os.tmpname(), os.tmpname(), os.tmpname()
    finally(function() for _, name in ipairs { mine, its, script } do os.remove(name) end end)
    document.write(script, [[
return { send = true, filter = function(pkt)
  if pkt.packet_id == 2 then error "no" end
  if pkt.packet_id == 3 then pkt:hold() end
end }
]])
    local function load() return (t.load(script, {}, { default = ipq.REJECT, on_error = ipq.REJECT })) end
    local program = ("LD_PRELOAD= %s -r %s --default reject --on-error reject --reject-rate 0 %s 2> /dev/null ")
      :format(netns.program, path, script)
    local r = t.replay(path, load(), { write = mine })
    local _, status = netns.shell((program:gsub("%-r ", "-w " .. its .. " -r ")) .. ("; cmp %s %s"):format(mine, its))
    assert.equal(0, status)
    assert.same({ 180, 180, 180, 1 }, { r.dropped, r.rejected, r.sent, r.errors })
    for _, line in ipairs(r.records) do assert.equal("reject", line.verdict) end
    local output = netns.shell((program:gsub("%-r ", "--json -r ")))
    assert.equal(output, require "ipq.test.replay".lines(path, load()))
  end)

  it("takes the time from the capture, and a function for a filter", function()
    local times = {}
    local r = t.replay(new_capture(), function(pkt)
      times[#times + 1] = ipq.now()
      if pkt.packet_id == 1 then error "no" end
      return pkt.packet_id == 2 and ipq.queue(3) or nil
    end, { select = "tcp" })
    assert.same({ 1001.000001, 1002.000002 }, { times[1], times[2] })
    assert.same({ 1, 1, 1 }, { r.errors, r.dropped, r.queued })
    assert.matches("test_replay_spec.lua:%d+: no", r.records[1].error)
    assert.matches("^error: frame 1 of the capture", r.log[1])
  end)

  it("says what cannot be opened, and what is damaged", function()
    assert.has_error(function() t.replay("/nonexistent.pcap", print) end,
      "cannot read the capture /nonexistent.pcap: No such file or directory")
    assert.has_error(function() t.replay(new_capture(), print, { select = "nonsense" }) end)
    assert.has_error(function() t.replay(new_capture(), print, { write = "/nonexistent/x" }) end)
    assert.has_error(function() t.replay(new_capture(), "print") end, "a filter is what load() gives, or a function")
    local path = new_capture()
    local file = io.open(path, "rb")
    local bytes = file:read "*a"
    file:close()
    file = io.open(path, "wb")
    file:write(bytes:sub(1, -10))
    file:close()
    local r = t.replay(path, function() end)
    assert.matches("the capture [^\n]* is damaged: it ends in the middle of frame 200", r.damage)
    assert.equal(199, r.frames)
  end)
end)

describe("t.read()", function()
  it("gives a capture's packets, with their times", function()
    local packets, damage = t.read(new_capture())
    assert.is_nil(damage)
    assert.equal(180, #packets)
    assert.same({ 1, 1001, 1, 1 }, { packets[1].dport, packets[1].timestamp_sec, packets[1].timestamp_usec,
      packets[1].packet_id })
    assert.equal(t.tcp { dport = 1, ip6 = {} }.bytes, packets[1].bytes)
    assert.equal("drop", t.run(function(pkt) return pkt.dport == 1 and ipq.DROP or nil end, packets[1]).verdict)
  end)

  it("chooses them by an expression", function()
    local packets = t.read(new_capture(), "udp dst port 9")
    assert.same({ 1, 9 }, { #packets, packets[1].dport })
  end)

  it("tells what a capture lacks of a packet", function()
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    capture.write(path, { { t.tcp {}.bytes:sub(1, 30), len = 40 } })
    local p = t.read(path)[1]
    assert.same({ 30, 40, true }, { p.data_len, p.len, p.truncated })
    assert.is_nil(p.tcp)
  end)
end)
