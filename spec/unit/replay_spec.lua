local capture = require "spec.support.capture"
local m = require "spec.support.message"
local netns = require "spec.support.netns"
local packets = require "spec.support.packet"

local ip, ip6, udp, tcp = packets.ip, packets.ip6, packets.udp, packets.tcp

-- Runs the program over frames. script is a file name, or Lua text. Gives what it wrote as frames (nil: nothing),
-- its output, its exit status, and what it wrote as bytes.
local function replay(frames, script, options, more)
  local dir = netns.shell "mktemp -d":match "%S+"
  local function path(name) return dir .. "/" .. name end
  finally(function() netns.shell("rm -rf " .. dir) end)
  if type(frames) == "table" then
    capture.write(path "in.pcap", frames, options)
  else
    local file = assert(io.open(path "in.pcap", "wb"))
    file:write(frames)
    file:close()
  end
  if script:match "\n" then
    local file = assert(io.open(path "filter.lua", "w"))
    file:write(script)
    file:close()
    script = path "filter.lua"
  end
  local output, status = netns.shell(("LD_PRELOAD= ASAN_OPTIONS=detect_leaks=1 timeout 200 %s -r %s -w %s %s %s")
    :format(netns.program, path "in.pcap", path "out.pcap", more or "", script))
  local written = io.open(path "out.pcap", "rb")
  local bytes = written and written:read "*a"
  if written then written:close() end
  local read, info
  if bytes and #bytes >= 24 then read, info = capture.read(path "out.pcap") end
  return read, output, status, bytes, info
end

local function count(output, name) return tonumber(output:match(name .. "%s+(%d+)\n")) end

local ethernet = "\2\0\0\0\0\1\2\0\0\0\0\2"
local packet, packet6 = ip(17, udp "hello"), ip6(6, tcp "hello")
local arp = ethernet .. "\8\6" .. ("\0"):rep(28)

-- Link type, and what is before an IPv4 and an IPv6 packet.
local links = {
  { "Ethernet", capture.ETHERNET, ethernet .. "\8\0", ethernet .. "\134\221" },
  { "Ethernet with a VLAN tag", capture.ETHERNET, ethernet .. "\129\0\0\5\8\0", ethernet .. "\129\0\0\5\134\221" },
  { "Ethernet with two", capture.ETHERNET, ethernet .. "\136\168\0\5\129\0\0\6\8\0",
    ethernet .. "\136\168\0\5\129\0\0\6\134\221" },
  { "Linux cooked", capture.SLL, "\0\0\0\1\0\6" .. ("\0"):rep(8) .. "\8\0",
    "\0\0\0\1\0\6" .. ("\0"):rep(8) .. "\134\221" },
  { "Linux cooked 2", capture.SLL2, "\8\0" .. ("\0"):rep(18), "\134\221" .. ("\0"):rep(18) },
  { "raw IP", capture.RAW, "", "" },
  { "BSD loopback", capture.NULL, m.host32(2), m.host32(30) },
  { "OpenBSD loopback", capture.LOOP, m.be32(2), m.be32(24) },
}

describe("replay", function()
  for _, link in ipairs(links) do
    it("reads and writes " .. link[1], function()
      local frames = { { link[3] .. packet, sec = 5, sub = 6 }, { link[4] .. packet6, sec = 7, sub = 8 } }
      local written, output, status, bytes, info = replay(frames, [[
return function(pkt)
  print(pkt.family, pkt.saddr, pkt.dport, #pkt.payload, pkt.timestamp, pkt.vlan_tci)
end
]], { link = link[2] })
      assert.equal(0, status)
      local tag = link[1]:match "VLAN" and 5 or link[1]:match "two" and 5 or nil
      local expected = "ip\t10.0.0.1\t53\t33\t5.000006\t%s\nip6\t2001:db8::1\t80\t65\t7.000008\t%s\n"
      assert.truthy(output:find(expected:format(tag, tag), 1, true), output)
      assert.same(frames[1][1], written[1][1])
      assert.same({ 5, 6, 7, 8 }, { written[1].sec, written[1].sub, written[2].sec, written[2].sub })
      assert.equal(link[2], info.link)
      assert.is_true(#bytes > 24)
    end)
  end

  for _, options in ipairs { {}, { nano = true }, { swapped = true }, { nano = true, swapped = true }, { ng = true },
    { ng = true, swapped = true } } do
    local name = (options.ng and "pcapng" or "pcap") .. (options.nano and ", nanoseconds" or "")
      .. (options.swapped and ", the other byte order" or "")
    it("reads " .. name .. ", times and bytes kept", function()
      local frames = {}
      for i = 1, 200 do frames[i] = { ip(17, udp(("x"):rep(i))), sec = 1600000000 + i, sub = 999000 + i } end
      local written, output, status, _, info = replay(frames, "scripts/accept.lua", options)
      assert.equal(0, status)
      assert.equal(200, count(output, "packets judged"))
      assert.equal(options.nano or options.ng or false, info.nano)
      for i, frame in ipairs(frames) do
        assert.same({ frame[1], frame.sec, options.ng and frame.sub * 1000 or frame.sub, #frame[1] },
          { written[i][1], written[i].sec, written[i].sub, written[i].len })
      end
    end)
  end

  it("writes what is accepted unchanged byte for byte as it was", function()
    local frames = {}
    for i = 1, 150 do
      frames[i] = { ethernet .. "\8\0" .. ip(17, udp(("x"):rep(i))) .. ("pad"):rep(i % 3), sub = i }
    end
    local dir = os.tmpname()
    capture.write(dir, frames, { link = capture.ETHERNET })
    local file = io.open(dir, "rb")
    local before = file:read "*a"
    file:close()
    os.remove(dir)
    local _, _, status, bytes = replay(frames, "scripts/accept.lua", { link = capture.ETHERNET })
    assert.equal(0, status)
    assert.is_true(before == bytes)
  end)

  it("keeps the order, with what is no packet in its place and what is dropped gone", function()
    local frames, expected = {}, {}
    for i = 1, 300 do
      local is_arp = i % 7 == 0 or i > 200 and i < 280
      frames[i] = { is_arp and arp .. i or ethernet .. "\8\0" .. ip(17, udp(tostring(i), { dport = i % 5 })) }
      if is_arp or i % 5 ~= 2 then expected[#expected + 1] = frames[i][1] end
    end
    local written, output, status = replay(frames, "scripts/drop_port.lua ports=2", { link = capture.ETHERNET })
    assert.equal(0, status)
    local got = {}
    for i, frame in ipairs(written) do got[i] = frame[1] end
    assert.same(expected, got)
    assert.equal(300, count(output, "frames read"))
    assert.equal(300 - #expected, count(output, "dropped"))
    assert.equal(count(output, "packets judged"), 300 - count(output, "passed unjudged %(no IP%)"))
  end)

  it("passes on what is no IP, and gives the error verdict where the link header is cut off", function()
    local function unjudged(link, other, cut, frames)
      for _, verdict in ipairs { "drop", "accept" } do
        local written, output, status = replay(frames, "scripts/accept.lua", { link = capture[link] },
          "--on-error " .. verdict)
        assert.equal(0, status)
        assert.equal(other, count(output, "passed unjudged %(no IP%)"))
        assert.equal(cut > 0 and cut or nil, count(output, "link header cut off"))
        local left = {}
        for _, frame in ipairs(frames) do
          if verdict == "accept" or not frame.is_cut then left[#left + 1] = frame[1] end
        end
        for n, frame in ipairs(written) do written[n] = frame[1] end
        assert.same(left, written)
      end
    end
    unjudged("ETHERNET", 1, 2, { { ethernet .. "\8", is_cut = true }, { ethernet .. "\129\0\0\5\8", is_cut = true },
      { ethernet .. "\136\204" } })
    unjudged("SLL", 0, 2, { { ("\0"):rep(15), is_cut = true }, { "", is_cut = true } })
    unjudged("SLL2", 0, 1, { { "\8\0" .. ("\0"):rep(17), is_cut = true } })
    unjudged("RAW", 1, 1, { { "", is_cut = true }, { "\80" .. packet } })
    unjudged("NULL", 1, 1, { { "\2\0\0", is_cut = true }, { m.host32(99) .. packet } })
    unjudged("NULL", 0, 0, { { m.host32(2):reverse() .. packet }, { m.host32(30) .. packet6 } })
  end)

  it("writes changed packets behind their link header, grown ones too", function()
    local written, output, status = replay({ { ethernet .. "\8\0" .. packet .. "padding" }, { arp } }, [[
return function(pkt)
  pkt.udp.payload:replace(0, 5, "good day")
  pkt.mark = 3
end
]], { link = capture.ETHERNET })
    assert.equal(0, status)
    assert.equal(ethernet .. "\8\0", written[1][1]:sub(1, 14))
    assert.equal("good day", written[1][1]:sub(-8))
    assert.equal(14 + 36, written[1].len)
    assert.equal(arp, written[2][1])
    assert.same({ 1, 1, 1, 2 }, { count(output, "changed"), count(output, "marked"),
      count(output, "passed unjudged %(no IP%)"), count(output, "frames written") })
  end)

  it("writes held packets when they are judged, behind their link header, and what is left at the end", function()
    local frames = {}
    for i = 1, 150 do
      frames[i] = { i % 50 == 0 and arp .. i or ethernet .. "\8\0" .. ip(17, udp("number " .. i)), sec = i, sub = i }
    end
    local written, output, status = replay(frames, [[
local ipq = require "ipq"
local held = {}
return { filter = function(pkt)
  local id = pkt.packet_id
  if id == 1 then pkt.udp.payload:replace(0, 6, "changed and longer,") end
  if id <= 4 or id == 149 or id == 148 then held[id] = pkt:hold() end
  if id == 4 then ipq.after(65.5, function() held[4]:verdict(ipq.ACCEPT) end) end
  if id == 10 then held[1]:verdict(ipq.ACCEPT) end
  if id == 120 then
    held[3]:verdict(ipq.DROP)
    held[2]:verdict(ipq.ACCEPT, pkt.payload)
  end
end, stop = function() held[149]:verdict() end }
]], { link = capture.ETHERNET })
    assert.equal(0, status)
    local order = {}
    for i, frame in ipairs(written) do order[i] = frame.sub end
    local expected = {}
    for i = 5, 147 do
      if i == 10 then expected[#expected + 1] = 1 end
      if i == 70 then expected[#expected + 1] = 4 end
      if i == 120 then expected[#expected + 1] = 2 end
      expected[#expected + 1] = i
    end
    expected[#expected + 1] = 150
    expected[#expected + 1] = 149
    expected[#expected + 1] = 148
    assert.same(expected, order)
    assert.equal(ethernet .. "\8\0", written[6][1]:sub(1, 14))
    assert.equal("changed and longer, 1", written[6][1]:sub(-21))
    assert.same({ 147, 1, 2, 149 }, { count(output, "packets judged"), count(output, "dropped"),
      count(output, "changed"), count(output, "frames written") })
  end)

  it("has a line of JSON for a held packet when it is judged", function()
    local frames = {}
    for i = 1, 3 do frames[i] = { packet, sec = i } end
    local _, output = replay(frames, [[
local held
return function(pkt)
  if pkt.packet_id == 2 then held:verdict(require "ipq".DROP) else held = pkt:hold() end
end
]], nil, "--json")
    local lines = {}
    for number, verdict in output:gmatch '{"number":(%d+),"time":"[%d.]+","verdict":"(%w+)"' do
      lines[#lines + 1] = number .. " " .. verdict
    end
    assert.same({ "1 drop", "2 accept", "3 accept" }, lines)
  end)

  it("changes a packet that the capture cut off in its place, and refuses to make it longer", function()
    local function replayed(change)
      return replay({ { packet:sub(1, 30), len = #packet } },
        "return function(pkt) assert(pkt.truncated and pkt.len == 33) " .. change .. " end\n")
    end
    local written, output, status = replayed "pkt.ip.ttl = 3"
    assert.equal(0, status)
    assert.same({ 3, 30 }, { written[1][1]:byte(9), #written[1][1] })
    assert.equal(0, count(output, "errors"))
    written, output, status = replayed "pkt.payload:replace(30, 0, 'more')"
    assert.same({ 2, 0 }, { status, #written })
    assert.matches("frame 1 of the capture: packet changed: the capture has only a part", output)
    assert.equal(1, count(output, "errors"))
    assert.matches("error: the filter failed for 1 of 1 packets, which got the error verdict", output)
  end)

  it("does not write over the capture that it reads", function()
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    capture.write(path, { { packet } })
    local output, status = netns.shell(("LD_PRELOAD= %s -r %s -w %s scripts/accept.lua"):format(netns.program, path,
      path))
    assert.matches("it is one that is read; name another file", output)
    assert.equal(73, status)
    assert.equal(packet, capture.read(path)[1][1])
  end)

  it("chooses packets by a filter expression", function()
    local frames = { { ip(17, udp("x", { dport = 1 })) }, { ip(17, udp("x", { dport = 2 })) } }
    local written, _, status = replay(frames, "scripts/accept.lua", nil, "-F 'udp dst port 2'")
    assert.equal(0, status)
    assert.equal(1, #written)
    assert.equal(frames[2][1], written[1][1])
    -- Raw IP has several numbers, of which libpcap knows one.
    local _, chosen = replay(frames, "scripts/accept.lua", { link = 14 }, "-F 'udp dst port 2'")
    assert.matches("frames read +1\n", chosen)
    -- Its number is the one that tcpdump and tshark have for it.
    local _, lines = replay(frames, "scripts/accept.lua", nil, "--json -F 'udp dst port 2'")
    assert.matches('{"number":2,', lines)
    local _, output, code = replay(frames, "scripts/accept.lua", nil, "-F 'udp dst prt'")
    assert.matches("error: the filter expression \"udp dst prt\" is wrong: ", output)
    assert.equal(64, code)
  end)

  it("filters what is readable of a damaged file, tells the damage, exits 65", function()
    local path = os.tmpname()
    capture.write(path, { { packet }, { packet } })
    local file = io.open(path, "rb")
    local text = file:read "*a"
    file:close()
    os.remove(path)
    for _, cut in ipairs { 1, 20, 33, 40 } do
      local written, output, status = replay(text:sub(1, #text - cut), "scripts/accept.lua")
      assert.equal(65, status)
      assert.matches("error: the capture [^\n]*in.pcap is damaged: it ends in the middle of frame 2\n", output)
      assert.equal(1, #written)
    end
  end)

  it("says what is no capture, and which link type is not known", function()
    for _, text in ipairs { "", "nonsense", ("\0"):rep(100) } do
      local _, output, status = replay(text, "scripts/accept.lua")
      assert.matches("error: [^\n]*in.pcap is no capture: ", output)
      assert.equal(65, status)
    end
    local _, output, status = replay({ { packet } }, "scripts/accept.lua", { link = 189 })
    assert.matches("link type USB_LINUX %(189%) is not known here; Ethernet", output)
    assert.equal(65, status)
  end)

  it("says which file cannot be read or written", function()
    local output, status = netns.shell(netns.program .. " -r /nonexistent.pcap scripts/accept.lua")
    assert.equal("ipq-lua: error: cannot read the capture /nonexistent.pcap: No such file or directory\n", output)
    assert.equal(66, status)
    output, status = select(2, replay({ { packet } }, "scripts/accept.lua", nil, "-w /nonexistent/out.pcap"))
    assert.matches("error: cannot write the capture /nonexistent/out.pcap: ", output)
    assert.equal(73, status)
    output, status = select(2, replay({ { packet } }, "scripts/accept.lua", nil, "-w /dev/full"))
    assert.matches("error: cannot write the capture /dev/full: No space left on device", output)
    assert.equal(74, status)
    output, status = netns.shell(netns.program .. " -w /tmp/x.pcap scripts/accept.lua")
    assert.matches("%-%-write goes with %-%-read", output)
    assert.equal(64, status)
    output, status = netns.shell(netns.program .. " -r x -w - --json scripts/accept.lua")
    assert.matches("all want standard output, which one can have", output)
    assert.equal(64, status)
  end)

  it("gives a line of JSON for each packet", function()
    local _, output, status = replay({ { packet, sec = 5, sub = 250000 }, { ip(6, tcp "x"), sec = 6 },
      { packet, sec = 7 }, { packet, sec = 8 } }, [[
local ipq = require "ipq"
local times = {}
return { filter = function(pkt)
  times[#times + 1] = ipq.now()
  assert(ipq.monotonic() == ipq.now() and ipq.queue_num == nil and ipq.worker == 0)
  if pkt.packet_id == 1 then pkt.udp.payload:write(0, "J") pkt.mark = 7 return ipq.STOP end
  if pkt.packet_id == 2 then return ipq.DROP end
  if pkt.packet_id == 3 then error "oh no" end
  return "nonsense"
end, stop = function() print("times " .. table.concat(times, " ")) end }
]], nil, "--json --on-error accept")
    assert.equal(2, status)
    local lines = {}
    for line in output:gmatch "({[^\n]*})\n" do lines[#lines + 1] = require "cjson".decode(line) end
    assert.equal(4, #lines)
    assert.same({ number = 1, time = "5.250000", verdict = "stop", mark = 7, changed = true,
      packet = "IP 10.0.0.1.1024 > 10.0.0.2.53: UDP, length 5" }, lines[1])
    assert.same({ 2, "6.000000", "drop", false },
      { lines[2].number, lines[2].time, lines[2].verdict, lines[2].changed })
    assert.matches("filter.lua:8: oh no", lines[3].error)
    assert.equal("accept", lines[3].verdict)
    assert.matches("nonsense", lines[4].error)
    assert.matches("times 5.25 6 7 8\n", output)
  end)

  it("ends a second after it is asked to, where a filter does not return", function()
    local path = os.tmpname()
    finally(function()
      os.remove(path)
      os.remove(path .. ".lua")
    end)
    capture.write(path, { { packet } })
    local file = assert(io.open(path .. ".lua", "w"))
    file:write "return function() print 'judging' io.stdout:flush() while true do end end"
    file:close()
    local _, status = netns.shell(([[
      LD_PRELOAD= %s --time-limit 0 -r %s %s.lua > %s.out & pid=$!
      until grep -qs judging %s.out; do sleep 0.01; done
      kill -TERM $pid
      wait $pid]]):format(netns.program, path, path, path, path))
    os.remove(path .. ".out")
    assert.equal(143, status)
  end)

  it("goes from standard input to standard output", function()
    local path = os.tmpname()
    capture.write(path, { { packet }, { packet6 } }, { nano = true })
    local command = "LD_PRELOAD= %s -r - -w - scripts/accept.lua < %s 2>/dev/null | cmp - %s && echo same"
    local output, status = netns.shell(command:format(netns.program, path, path))
    os.remove(path)
    assert.equal("same\n", output)
    assert.equal(0, status)
  end)

  it("survives any damage to a file", function()
    math.randomseed(3)
    local path = os.tmpname()
    local frames = {}
    for i = 1, 5 do frames[i] = { ethernet .. "\129\0\0\5\8\0" .. ip(6, tcp(("x"):rep(i))) } end
    for _, options in ipairs { { link = capture.ETHERNET }, { link = capture.ETHERNET, ng = true } } do
      capture.write(path, frames, options)
      local file = io.open(path, "rb")
      local text = file:read "*a"
      file:close()
      for _ = 1, 40 do
        local at = math.random(#text)
        local damaged = text:sub(1, at - 1) .. string.char(math.random(0, 255)) .. text:sub(at + 1)
        local _, output, status = replay(damaged, "scripts/set_ttl.lua")
        -- The damage may be in a time, or in a link type.
        local is_unfit = status == 74 and output:match "name a file that ends in .pcapng"
        assert.truthy(status == 0 or status == 65 or is_unfit or status == 2 and count(output, "errors") > 0, output)
      end
    end
    os.remove(path)
  end)

  it("writes back what a filter began to change before it raised", function()
    local frames = { { packet } }
    local written, _, status = replay(frames, "return function(pkt)\n  pkt.ip.ttl = 3\n  error 'no'\nend\n", nil,
      "--on-error accept")
    assert.equal(2, status)
    assert.equal(packet, written[1][1])
  end)

  it("shows a filter as much of a packet as its queue would", function()
    local long = ip(17, udp(("x"):rep(100)))
    local written, output, status = replay({ { long } }, [[
return { queue = { range = 40 }, filter = function(pkt)
  print("seen", pkt.data_len, pkt.len, pkt.truncated)
end }
]])
    assert.equal(0, status)
    assert.matches("seen\t40\t128\ttrue\n", output)
    assert.equal(long, written[1][1])
    output = select(2, replay({ { long } }, "return function(pkt)\n  print('seen', pkt.data_len)\nend\n", nil,
      "--copy-range 30"))
    assert.matches("seen\t30\n", output)
    output = select(2, replay({ { long } }, [[
return { queue = { copy = "meta" }, filter = function(pkt)
  print("seen", pkt.data_len, pkt.len, pkt.payload, pkt.ip)
end }
]]))
    assert.matches("seen\t0\tnil\tnil\tnil\n", output)
    local short = select(2, replay({ { long } }, "return { queue = { range = 40 }, filter = function(pkt)\n"
      .. "  pkt.ip.ttl = 1\nend }\n"))
    assert.matches("only a part of the packet was copied", short)
  end)

  it("exits 74 where records or events cannot be written, and says so once", function()
    local path, event = os.tmpname(), os.tmpname()
    capture.write(path, { { ip(17, udp "a") }, { ip(17, udp "b") } })
    local file = assert(io.open(event, "w"))
    file:write "return function(pkt) require('ipq').event { id = pkt.packet_id } end"
    file:close()
    for _, arguments in ipairs { "--json -r %s scripts/accept.lua", "--print -r %s scripts/accept.lua",
      "-r %s " .. event } do
      local output, status = netns.shell(("LD_PRELOAD= ASAN_OPTIONS= %s %s > /dev/full"):format(netns.program,
        arguments:format(path)))
      assert.equal(74, status)
      assert.equal(2, count(output, "packets judged"))
      assert.equal(1, select(2, output:gsub("warning: what is printed cannot be written: No space left on device", "")))
    end
  end)

  it("takes no more memory for a million packets, and loses none of it", function()
    if os.getenv "IPQ_EMULATED" then return pending "QEMU takes memory of its own" end
    local FRAMES = 50000
    local path, frames = os.tmpname(), {}
    finally(function() os.remove(path) end)
    for i = 1, FRAMES do
      frames[i] = { ethernet .. "\8\0" .. ip(17, udp(("x"):rep(i % 64), { dport = i % 100 })), sub = i }
    end
    local function peak_of(expected, script)
      local output, status = netns.shell(("LD_PRELOAD= ASAN_OPTIONS=detect_leaks=1:quarantine_size_mb=1 %s -r %s "
        .. "-w /dev/null %s"):format(netns.program, path, script))
      -- Its filter may raise now and then, on purpose.
      assert.truthy(status == 0 or status == 2, output)
      assert.equal(expected, count(output, "packets judged"))
      return tonumber(output:match "VmHWM:%s+(%d+) kB")
    end
    local scripts, before = { "spec/data/peak.lua", "spec/data/peak.lua hold=yes" }, {}
    capture.write(path, frames, { link = capture.ETHERNET })
    for i, script in ipairs(scripts) do before[i] = peak_of(FRAMES, script) end
    for second = 1, 19 do
      for _, frame in ipairs(frames) do frame.sec = 1700000000 + second end
      capture.append(path, frames)
    end
    for i, script in ipairs(scripts) do
      local peak = peak_of(20 * FRAMES, script)
      -- When the collector comes differs by some megabytes; ten bytes a packet would be nine.
      assert.is_true(peak < before[i] + 8192, ("%s: %d kB, then %d kB"):format(script, before[i], peak))
    end
  end)

  it("agrees with tcpdump and tshark in count, times and bytes", function()
    local frames = {}
    for i = 1, 100 do frames[i] = { ethernet .. "\8\0" .. ip(17, udp(("x"):rep(i), { dport = i })), sub = i } end
    local path, out = os.tmpname(), os.tmpname()
    finally(function()
      os.remove(path)
      os.remove(out)
    end)
    capture.write(path, frames, { link = capture.ETHERNET })
    netns.shell(("LD_PRELOAD= %s -r %s -w %s scripts/set_ttl.lua ttl=9"):format(netns.program, path, out))
    for _, list in ipairs {
      "tshark -n -r %s -T fields -e frame.number -e frame.time_epoch -e frame.len -e udp.dstport 2>/dev/null",
      "tcpdump -nn -tt -r %s 2>/dev/null",
    } do
      local before = netns.shell("LD_PRELOAD= " .. list:format(path))
      assert.equal(100, select(2, before:gsub("\n", "")))
      assert.equal(before, (netns.shell("LD_PRELOAD= " .. list:format(out))))
    end
    -- The bytes behind the header that was changed.
    local dump = "LD_PRELOAD= tcpdump -nn -xx -r %s 2>/dev/null | grep 0x0020"
    assert.equal((netns.shell(dump:format(path))), (netns.shell(dump:format(out))))
  end)

  -- What other programs write: each kind that editcap knows and this program reads.
  for _, kind in ipairs { "pcap", "nsecpcap", "modpcap", "pcapng" } do
    it("reads what editcap writes: " .. kind, function()
      local frames = {}
      for i = 1, 20 do frames[i] = { ethernet .. "\8\0" .. ip(17, udp(("x"):rep(i))), sec = 100 + i, sub = 5 } end
      local path, made, out = os.tmpname(), os.tmpname(), os.tmpname() .. ".pcap"
      finally(function()
        for _, name in ipairs { path, made, out, (out:gsub("%.pcap$", "")) } do os.remove(name) end
      end)
      capture.write(path, frames, { link = capture.ETHERNET })
      local output, status = netns.shell(("LD_PRELOAD= editcap -F %s %s %s"):format(kind, path, made))
      assert(status == 0, output)
      output, status = netns.shell(("LD_PRELOAD= %s -r %s -w %s scripts/accept.lua"):format(netns.program, made, out))
      assert(status == 0, output)
      local read = capture.read(out)
      assert.equal(20, #read)
      for i, frame in ipairs(read) do
        assert.same({ frames[i][1], 100 + i }, { frame[1], frame.sec })
      end
    end)
  end

  it("says what makes a capture of other kinds of pcap, which only editcap tells from this one", function()
    local frames = {}
    for i = 1, 20 do frames[i] = { ethernet .. "\8\0" .. ip(17, udp("x" .. i)), sec = 1700000000 + i, sub = i } end
    local path, made = os.tmpname(), os.tmpname()
    finally(function() os.remove(path) os.remove(made) end)
    capture.write(path, frames, { link = capture.ETHERNET })
    for _, kind in ipairs { "nokiapcap", "rh6_1pcap", "suse6_3pcap" } do
      local output, status = netns.shell(([[
        LD_PRELOAD= editcap -F %s %s %s && LD_PRELOAD= %s -r %s scripts/accept.lua]])
        :format(kind, path, made, netns.program, made))
      assert.equal(65, status, output)
      assert.matches("bytes, which no frame has; if it is Nokia's pcap, or that of Red Hat 6 or SuSE 6, editcap%(1%) "
        .. "makes another of it\n", output)
    end
  end)

  it("reads what text2pcap and tcpdump write", function()
    local text, made, again, out = os.tmpname(), os.tmpname(), os.tmpname(), os.tmpname()
    finally(function()
      for _, name in ipairs { text, made, again, out } do os.remove(name) end
    end)
    local file = io.open(text, "w")
    file:write("0000 ", (packet:gsub(".", function(c) return ("%02x "):format(c:byte()) end)), "\n")
    file:close()
    -- LINKTYPE_RAW
    local output, status = netns.shell(("LD_PRELOAD= text2pcap -l 101 %s %s"):format(text, made))
    assert(status == 0, output)
    output, status = netns.shell(("LD_PRELOAD= tcpdump -r %s -w %s; LD_PRELOAD= %s -r %s -w %s scripts/accept.lua")
      :format(made, again, netns.program, again, out))
    assert(status == 0, output)
    local read, info = capture.read(out)
    assert.same({ packet, 1 }, { read[1][1], #read })
    assert.truthy(info.link == capture.RAW or info.link == 12) -- DLT_RAW
  end)

  it("tells a terminal how far it is, and no file", function()
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    local frames = {}
    for i = 1, 15000 do frames[i] = { packet } end
    capture.write(path, frames)
    local command = ("LD_PRELOAD= %s -r %s spec/data/slow.lua"):format(netns.program, path)
    local output = netns.shell(("script -qec %q /dev/null"):format(command))
    assert.matches("\r *%d+ %%, %d+ frames", output)
    assert.matches("\r\27%[Kframes read +15000", output)
    assert.is_nil(netns.shell(command):find("%d %%, "))
  end)
end)
