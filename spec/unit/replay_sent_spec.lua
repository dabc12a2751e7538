-- What filters send, in a replay: frames among those that are accepted, lines, and counters.
local capture = require "spec.support.capture"
local document = require "spec.support.document"
local m = require "spec.support.message"
local netns = require "spec.support.netns"
local pcapng = require "spec.support.pcapng"
local t = require "ipq.test"

local A, B = "\2\0\0\0\0\1", "\2\0\0\0\0\2" -- who packets are for, and who sends them
local IP, IP6, VLAN = "\8\0", "\134\221", "\129\0\0\5"

local function query(n)
  return t.udp { saddr = "10.0.0.1", daddr = "10.0.0.2", sport = n, dport = 53, payload = "?" }.bytes
end
local function answer(n)
  return t.udp { saddr = "10.0.0.2", daddr = "10.0.0.1", sport = 53, dport = n, payload = "!!" }.bytes
end
local other = t.udp { saddr = "192.0.2.1", daddr = "192.0.2.2", payload = "other" }.bytes
local other6 = t.udp { saddr = "2001:db8::1", daddr = "2001:db8::2", payload = "other" }.bytes

-- Runs the program over a capture, whose bytes are given, in a folder of its own, where what it accepts is in out.
-- Gives its output, and what it wrote as frames, where that is pcap, and the path.
local function replay(bytes, script, more, out)
  local dir = netns.shell "mktemp -d":match "%S+"
  finally(function() netns.shell("rm -rf " .. dir) end)
  out = out or "out.pcap"
  document.write(dir .. "/in", bytes)
  document.write(dir .. "/filter.lua", script)
  local output, status = netns.shell(("cd %s && LD_PRELOAD= TZ=UTC ASAN_OPTIONS=detect_leaks=1 timeout 100 %s/%s "
    .. "-r in -w %s %s filter.lua"):format(dir, os.getenv "PWD", netns.program, out, more or ""))
  assert.equal(0, status, output)
  return output, out == "out.pcap" and capture.read(dir .. "/" .. out) or nil, dir .. "/" .. out
end

-- A capture of frames as spec/support/capture.lua has them.
local function file_of(frames, options)
  local path = os.tmpname()
  capture.write(path, frames, options)
  local bytes = document.read(path)
  os.remove(path)
  return bytes
end

local function ethernet(frames) return file_of(frames, { link = capture.ETHERNET }) end

local function count(output, name) return tonumber(output:match(name .. " +(%d+)\n")) end

-- A script that sends: what its functions are, as Lua text, with the packets from above.
local function sender(functions)
  return ([[
local ipq = require "ipq"
local other, other6 = %q, %q
local function answer(pkt) return pkt.udp.sport == 1 and %q or %q end
local held
return { send = true, %s }
]]):format(other, other6, answer(1), answer(2), functions)
end

local function shown(frames)
  local list = {}
  for i, frame in ipairs(frames) do list[i] = { frame[1], frame.sec, frame.sub } end
  return list
end

describe("what a filter sends in a replay", function()
  local two = ethernet {
    { A .. B .. VLAN .. IP .. query(1), sec = 5, sub = 6 },
    { A .. B .. IP .. query(2) .. "padding", sec = 7, sub = 8 },
  }

  it("lies behind its cause, with its time: an answer goes back, another packet goes on", function()
    local output, frames = replay(two, sender [[filter = function(pkt)
      assert(ipq.send(other) and ipq.send(answer(pkt)) and ipq.send(pkt))
    end]])
    assert.same({
      { A .. B .. VLAN .. IP .. query(1), 5, 6 },
      { A .. B .. VLAN .. IP .. other, 5, 6 },
      { B .. A .. VLAN .. IP .. answer(1), 5, 6 },
      { A .. B .. VLAN .. IP .. query(1), 5, 6 },
      { A .. B .. IP .. query(2) .. "padding", 7, 8 },
      { A .. B .. IP .. other, 7, 8 },
      { B .. A .. IP .. answer(2), 7, 8 },
      { A .. B .. IP .. query(2), 7, 8 },
    }, shown(frames))
    assert.same({ 6, 8, nil }, { count(output, "sent"), count(output, "frames written"), count(output, "rejected") })
  end)

  it("is there where the cause is dropped, and goes back to who sent that, whatever the filter has made of its link",
    function()
      local output, frames = replay(two, sender [[filter = function(pkt)
        if pkt.ether then pkt.ether.daddr, pkt.ether.saddr = "02:00:00:00:00:07", "02:00:00:00:00:08" end
        ipq.send(answer(pkt))
        ipq.send(other)
        if pkt.packet_id == 1 then return ipq.DROP end
      end]])
      local changed = "\2\0\0\0\0\7\2\0\0\0\0\8"
      assert.same({
        { B .. A .. VLAN .. IP .. answer(1), 5, 6 },
        { A .. B .. VLAN .. IP .. other, 5, 6 },
        { changed .. IP .. query(2) .. "padding", 7, 8 },
        { B .. A .. IP .. answer(2), 7, 8 },
        { changed .. IP .. other, 7, 8 },
      }, shown(frames))
      assert.equal(4, count(output, "sent"))
    end)

  it("has no group for its source, and says by its type which IP it is", function()
    local group = "\255\255\255\255\255\255"
    local _, frames = replay(ethernet { { group .. B .. VLAN .. IP .. query(1) } }, sender [[filter = function(pkt)
      ipq.send(answer(pkt))
      ipq.send(other6)
      return ipq.DROP
    end]])
    assert.same({ B .. ("\0"):rep(6) .. VLAN .. IP .. answer(1), group .. B .. VLAN .. IP6 .. other6 },
      { frames[1][1], frames[2][1] })
  end)

  it("tells a rejected packet's sender, and is counted", function()
    local output, frames, path = replay(two, sender [[filter = function(pkt) return ipq.REJECT end]],
      "--reject-rate 1 --write-dropped dropped.pcapng")
    local dropped = document.read((path:gsub("out.pcap$", "dropped.pcapng")))
    assert.equal(2, select(2, dropped:gsub("ipq%-lua: reject%z", "")))
    assert.equal(2, #frames)
    assert.equal(B .. A .. VLAN .. IP, frames[1][1]:sub(1, 18))
    local told = t.packet(frames[1][1]:sub(19))
    assert.same({ "10.0.0.2", "10.0.0.1", 3, 3 }, { told.saddr, told.daddr, told.icmp.type, told.icmp.code })
    assert.same({ 2, 2, 2, 0 }, { count(output, "dropped"), count(output, "rejected"), count(output, "sent"),
      count(output, "accepted") })
  end)

  it("is not sent by more than may be, and the table says why", function()
    local frames = {}
    for i = 1, 10 do frames[i] = { A .. B .. IP .. query(i), sec = 5 } end
    local output, written = replay(ethernet(frames), sender [[filter = function(pkt)
      ipq.send "no packet"
      return ipq.REJECT
    end]], "--reject-rate 3")
    assert.equal(3, #written)
    assert.same({ 3, 3, 7, 10 }, { count(output, "rejected"), count(output, "sent"), count(output, "not sent: rate"),
      count(output, "not sent: malformed") })
  end)

  it("lies where it was sent, with the time of the timer, or of the last packet", function()
    local frames = {}
    for i = 1, 5 do frames[i] = { (i < 3 and A or B) .. B .. IP .. query(i), sec = 10 * i, sub = i } end
    local output, written = replay(ethernet(frames), sender [[filter = function(pkt)
      if pkt.packet_id == 1 then ipq.after(15.5, function() ipq.send(other) end) end
    end, start = function() ipq.send(other) end, stop = function() ipq.send(other6) end]])
    assert.same({
      { A .. B .. IP .. query(1), 10, 1 },
      { A .. B .. IP .. query(2), 20, 2 },
      { A .. B .. IP .. other, 25, 500001 },
      { B .. B .. IP .. query(3), 30, 3 },
      { B .. B .. IP .. query(4), 40, 4 },
      { B .. B .. IP .. query(5), 50, 5 },
      { B .. B .. IP6 .. other6, 50, 5 },
    }, shown(written))
    -- There was no packet yet when start() ran.
    assert.same({ 2, 1 }, { count(output, "sent"), count(output, "not sent: route") })
  end)

  it("of a held packet lies behind that, in whatever batch, and what its filter sent has not waited for it", function()
    local frames = {}
    for i = 1, 600 do frames[i] = { (i == 1 and A or B) .. B .. IP .. query(i), sec = i } end
    local _, written = replay(ethernet(frames), sender [[filter = function(pkt)
      if pkt.packet_id == 1 then
        ipq.send(other)
        held = pkt:hold()
      elseif pkt.packet_id == 500 then
        ipq.send(other)
        held:verdict(ipq.REJECT)
        ipq.send(other6)
        return ipq.DROP
      end
    end]])
    assert.same({ A .. B .. IP .. other, 1 }, { written[1][1], written[1].sec })
    assert.same({ B .. B .. IP .. query(2), 2 }, { written[2][1], written[2].sec })
    assert.same({ B .. B .. IP .. query(499), 499 }, { written[499][1], written[499].sec })
    assert.same({ B .. A .. IP, 500 }, { written[500][1]:sub(1, 14), written[500].sec })
    local told = t.packet(written[500][1]:sub(15))
    assert.same({ "10.0.0.1", 3 }, { told.daddr, told.icmp.type })
    assert.same({ B .. B .. IP .. other, B .. B .. IP6 .. other6, B .. B .. IP .. query(501) },
      { written[501][1], written[502][1], written[503][1] })
    assert.equal(602, #written)
  end)

  it("is in its order among frames that are written when a timer says so", function()
    local frames = {}
    for i = 1, 4 do frames[i] = { A .. B .. IP .. query(i), sec = 10 * i } end
    local _, written = replay(ethernet(frames), sender [[filter = function(pkt)
      if pkt.packet_id > 1 then return end
      held = pkt:hold()
      ipq.after(15, function()
        ipq.send(other)
        held:verdict(ipq.ACCEPT)
        ipq.send(other6)
      end)
    end]])
    assert.same({
      { A .. B .. IP .. query(2), 20, 0 },
      { A .. B .. IP .. other, 25, 0 },
      { A .. B .. IP .. query(1), 10, 0 },
      { A .. B .. IP6 .. other6, 25, 0 },
      { A .. B .. IP .. query(3), 30, 0 },
      { A .. B .. IP .. query(4), 40, 0 },
    }, shown(written))
  end)

  it("is behind the link header of its cause, of whatever type, which says what follows it", function()
    local snap, pppoe = "\170\170\3\0\0\0", "\136\100\17\0\0\1"
    local function length(n) return m.be16(n) end
    local links = {
      { capture.RAW, "", "" },
      { capture.SLL, "\0\0\0\1\0\6" .. B .. "\0\0" .. IP, "\0\0\0\1\0\6" .. B .. "\0\0" .. IP6 },
      { capture.SLL2, IP .. ("\0"):rep(18), IP6 .. ("\0"):rep(18) },
      { capture.NULL, m.host32(2), m.host32(30) },
      { capture.NULL, m.host32(2):reverse(), m.host32(30):reverse() },
      { capture.LOOP, m.be32(2), m.be32(24) },
      { capture.ETHERNET, A .. B .. length(#query(1) + 8) .. snap .. IP, A .. B .. length(#other6 + 8) .. snap .. IP6 },
      { capture.ETHERNET, A .. B .. pppoe .. length(#query(1) + 2) .. "\0\33",
        A .. B .. pppoe .. length(#other6 + 2) .. "\0\87" },
      { 9, "\255\3\0\33", "\255\3\0\87" },
      { 228, "", "" },
    }
    for i, link in ipairs(links) do
      local _, frames = replay(file_of({ { link[2] .. query(1) } }, { link = link[1] }),
        sender [[filter = function(pkt) ipq.send(other6) end]])
      assert.same({ link[2] .. query(1), link[3] .. other6 }, { frames[1][1], frames[2][1] }, "link header " .. i)
    end
  end)

  it("has a comment in pcapng, its cause's interface, a time in its units, and no options of its cause's", function()
    local tsresol = function(value) return { { 9, string.char(value) } } end
    local bytes = pcapng.section(true):interface { link = 1, options = tsresol(6) }
      :interface { link = 1, options = tsresol(3) }:interface { link = 1, options = tsresol(0x80 + 10) }
      :packet(A .. B .. IP .. query(1), { interface = 1, ticks = 5250, options = { { 1, "came" } } })
      :packet(A .. B .. IP .. query(2), { interface = 2, ticks = 8 * 1024 + 512 })
      :packet(A .. B .. IP .. query(2), { ticks = 20000000 }):text()
    local _, _, path = replay(bytes, sender [[filter = function(pkt)
      if pkt.packet_id == 3 then return end
      ipq.send(answer(pkt))
      ipq.after(pkt.packet_id == 1 and 2.25 or 8.25, function() ipq.send(other) end)
      return ipq.DROP
    end]], nil, "out.pcapng")
    local rows = netns.shell("LD_PRELOAD= tshark -n -r " .. path .. " -T fields -e frame.interface_id "
      .. "-e frame.time_epoch -e eth.src -e ip.src -e frame.comment 2> /dev/null")
    local sent = "ipq-lua: sent by the filter"
    assert.same({
      "1 5.250000000 02:00:00:00:00:01 10.0.0.2 " .. sent,
      "1 7.500000000 02:00:00:00:00:02 192.0.2.1 " .. sent,
      "2 8.500000000 02:00:00:00:00:01 10.0.0.2 " .. sent,
      "2 16.750000000 02:00:00:00:00:02 192.0.2.1 " .. sent,
      "0 20.000000000 02:00:00:00:00:02 10.0.0.1",
    }, (function()
      local list = {}
      for line in rows:gmatch "[^\n]+" do list[#list + 1] = line:gsub("\t", " "):gsub(" $", "") end
      return list
    end)())
  end)

  it("has no comment where the capture tells nothing but frames, nor a link header that the filter has not left",
    function()
      local _, _, path = replay(two, sender [[private = true, filter = function(pkt)
        pkt.ether.daddr, pkt.ether.saddr = "02:00:00:00:00:07", "02:00:00:00:00:08"
        ipq.send(answer(pkt))
        return ipq.DROP
      end]], nil, "out.pcapng")
      local bytes = document.read(path)
      assert.is_nil(bytes:find("sent by", 1, true))
      assert.is_nil(bytes:find(A, 1, true))
      assert.is_truthy(bytes:find("\2\0\0\0\0\8\2\0\0\0\0\7" .. IP .. answer(2), 1, true))
    end)

  -- What is said of packets, and of what was sent, in order: "1 reject", "1 sent", "sent".
  local script = sender [[filter = function(pkt)
    if pkt.packet_id == 1 then
      ipq.after(1, function() ipq.send(other) end)
      ipq.send(other)
      return ipq.REJECT
    elseif pkt.packet_id == 2 then
      held = pkt:hold()
    else
      ipq.send(pkt)
      held:verdict(ipq.REJECT)
      error "no luck"
    end
  end, stop = function() ipq.send(other6) end]]
  local three = ethernet {
    { A .. B .. IP .. query(1), sec = 5, sub = 6 }, { A .. B .. IP .. query(2), sec = 7, sub = 8 },
    { A .. B .. IP .. query(3), sec = 9, sub = 10 },
  }

  it("has lines for programs, behind that of its cause", function()
    local dir = netns.shell "mktemp -d":match "%S+"
    finally(function() netns.shell("rm -rf " .. dir) end)
    document.write(dir .. "/in.pcap", three)
    document.write(dir .. "/filter.lua", script)
    local function lines(option)
      return (netns.shell(("cd %s && LD_PRELOAD= TZ=UTC %s/%s -r in.pcap %s filter.lua 2> err"):format(dir,
        os.getenv "PWD", netns.program, option)))
    end
    local q = { "IP 10.0.0.1.1 > 10.0.0.2.53: UDP, length 1", "IP 10.0.0.1.2 > 10.0.0.2.53: UDP, length 1",
      "IP 10.0.0.1.3 > 10.0.0.2.53: UDP, length 1" }
    local o = tostring(t.packet(other))
    local list = {}
    for line in lines "--json":gmatch "[^\n]+" do
      local number = line:match '^{"number":(%d+),' or "-"
      local what = line:match '"verdict":"(%w+)"' or line:match '"sent":(true),"packet":"[^"]+"}$'
      list[#list + 1] = ("%s %s %s %s"):format(number, line:match '"time":"([%d.]+)"', what,
        line:match '"packet":"(.-): ')
    end
    assert.same({
      "1 5.000006 reject " .. q[1]:match "^(.-): ",
      "1 5.000006 true " .. o:match "^(.-): ",
      "1 5.000006 true IP 10.0.0.2 > 10.0.0.1",
      "- 6.000006 true " .. o:match "^(.-): ",
      "2 7.000008 reject " .. q[2]:match "^(.-): ",
      "2 9.000010 true IP 10.0.0.2 > 10.0.0.1",
      "3 9.000010 drop " .. q[3]:match "^(.-): ",
      "3 9.000010 true " .. q[3]:match "^(.-): ",
      "- 9.000010 true " .. tostring(t.packet(other6)):match "^(.-): ",
    }, list)
    local printed = {}
    for line in lines "--print":gmatch "[^\n]+" do printed[#printed + 1] = line end
    assert.equal(9, #printed)
    assert.equal("00:00:05.000006 " .. q[1] .. "  reject", printed[1])
    assert.equal("00:00:05.000006 " .. o .. "  sent", printed[2])
    assert.equal("00:00:06.000006 " .. o .. "  sent", printed[4])
    assert.matches("  drop, error: .*no luck$", printed[7])
    assert.equal("00:00:09.000010 " .. tostring(t.packet(other6)) .. "  sent", printed[9])
  end)

  it("is what --on-error says, too, and the log has that for the verdict", function()
    local dir = netns.shell "mktemp -d":match "%S+"
    finally(function() netns.shell("rm -rf " .. dir) end)
    document.write(dir .. "/in.pcap", three)
    document.write(dir .. "/filter.lua", sender [[filter = function() error "no luck" end]])
    local output, status = netns.shell(("cd %s && LD_PRELOAD= %s/%s -r in.pcap -w out.pcap --json --on-error reject "
      .. "filter.lua 2>&1"):format(dir, os.getenv "PWD", netns.program))
    assert.equal(2, status, output)
    assert.equal(3, select(2, output:gsub('"verdict":"reject"', "")), output)
    assert.equal(3, select(2, output:gsub("Its verdict: reject\n", "")), output)
    assert.same({ 3, 3, 3 }, { count(output, "rejected"), count(output, "sent"), #capture.read(dir .. "/out.pcap") })
  end)

  it("is what tshark reads without a complaint", function()
    if os.execute "command -v tshark >/dev/null" ~= 0 then pending "there is no tshark" end
    local frames = {}
    for i = 1, 20 do frames[i] = { A .. B .. (i % 2 == 0 and VLAN or "") .. IP .. query(i), sec = i } end
    local _, _, path = replay(ethernet(frames), sender [[filter = function(pkt)
      ipq.send(answer(pkt))
      ipq.send(other6)
      return pkt.packet_id > 10 and ipq.REJECT or ipq.ACCEPT
    end]], nil, "out.pcapng")
    local bad = netns.shell("LD_PRELOAD= tshark -n -r " .. path .. " -o ip.check_checksum:TRUE "
      .. "-o udp.check_checksum:TRUE -d udp.port==0-65535,data -Y '_ws.malformed || ip.checksum.status == 0 "
      .. "|| udp.checksum.status == 0 || icmp.checksum.status == 0' 2> /dev/null")
    assert.equal("", bad)
    local all = netns.shell("LD_PRELOAD= tshark -n -r " .. path .. " -T fields -e frame.number 2> /dev/null | wc -l")
    assert.equal(60, tonumber(all:match "%d+"))
  end)
end)
