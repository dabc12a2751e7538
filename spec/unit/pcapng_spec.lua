-- What pcapng has and pcap has not, through a replay: sections, interfaces, options, other blocks.
local capture = require "spec.support.capture"
local document = require "spec.support.document"
local m = require "spec.support.message"
local netns = require "spec.support.netns"
local packets = require "spec.support.packet"
local pcapng = require "spec.support.pcapng"

local ip, udp = packets.ip, packets.udp
local ethernet = "\2\0\0\0\0\1\2\0\0\0\0\2\8\0"

local COMMENT, NAME, RESOLUTION, OFFSET, FLAGS, HASH = 1, 2, 9, 14, 2, 3
local UNCHANGED = "return function() end\n"

-- A folder for a spec, with in.pcapng of those bytes.
local function folder(bytes)
  local dir = netns.shell "mktemp -d":match "%S+"
  finally(function() netns.shell("rm -rf " .. dir) end)
  if bytes then document.write(dir .. "/in.pcapng", bytes) end
  return dir
end

-- Runs the program in it; script is Lua text. Gives what it said, and its exit status.
local function replay(dir, arguments, script)
  document.write(dir .. "/filter.lua", script or UNCHANGED)
  return netns.shell(("cd %s && LD_PRELOAD= ASAN_OPTIONS=detect_leaks=1 timeout 100 %s %s filter.lua")
    :format(dir, os.getenv "PWD" .. "/" .. netns.program, arguments))
end

local function count(output, name) return tonumber(output:match(name .. "%s+(%d+)\n")) end

-- What tshark has of those fields of each frame, as lists of texts.
local function tshark(path, ...)
  local fields = {}
  for i, name in ipairs { ... } do fields[i] = "-e " .. name end
  local text = netns.shell(("LD_PRELOAD= tshark -n -r %s -T fields -E separator=\\| %s 2>/dev/null")
    :format(path, table.concat(fields, " ")))
  local frames = {}
  for line in text:gmatch "([^\n]*)\n" do
    local values = {}
    for value in (line .. "|"):gmatch "([^|]*)|" do values[#values + 1] = value end
    frames[#frames + 1] = values
  end
  return frames
end

-- Two sections, the second of the other byte order; interfaces that differ in link type, snap length and time.
local function unlike(is_swapped)
  local first = pcapng.section(is_swapped)
    :interface { link = capture.ETHERNET, snaplen = 0x40000, options = { { NAME, "eth7" }, { RESOLUTION, "\9" } } }
    :interface { link = capture.RAW, options = { { NAME, "tun3" }, { RESOLUTION, "\3" } } }
  first:block(4, first:u16(1) .. first:u16(8) .. "\10\0\0\1one\0" .. ("\0"):rep(4)) -- names
  first:packet(ethernet .. ip(17, udp "one"), { ticks = 1700000000123456768,
    options = { { COMMENT, "the first" }, { FLAGS, first:u32(1) } } })
  first:packet(ip(17, udp "two"), { interface = 1, ticks = 1700000001250 })
  local second = pcapng.section(not is_swapped):interface { link = capture.RAW, snaplen = 0x40000 }
    :packet(ip(17, udp "three"), { ticks = 1700000002500000, options = { { COMMENT, "the third" } } })
    :simple_packet(ip(17, udp "four"))
    :old_packet(ip(17, udp "five"), { options = { { COMMENT, "the fifth" } } })
  return first:text() .. second:text()
end

describe("pcapng", function()
  for _, is_swapped in ipairs { false, true } do
    it("comes out byte for byte, sections, interfaces and all" .. (is_swapped and ", in both byte orders" or ""),
      function()
        local bytes = unlike(is_swapped)
        local dir = folder(bytes)
        local output, status = replay(dir, "-r in.pcapng -w out.pcapng", [[
return function(pkt) print(pkt.packet_id, pkt.udp.payload:string(), ("%.6f"):format(pkt.timestamp)) end
]])
        assert.equal(0, status)
        assert.equal(5, count(output, "packets judged"))
        local seen = {}
        for line in output:gmatch "(%d\t%a+\t[%d.]+)\n" do seen[#seen + 1] = line end
        assert.same({ "1\tone\t1700000000.123456", "2\ttwo\t1700000001.250000", "3\tthree\t1700000002.500000",
          "4\tfour\t0.000000", "5\tfive\t0.000000" }, seen)
        assert.is_true(bytes == document.read(dir .. "/out.pcapng"))
      end)
  end

  it("keeps comments, flags and the time's resolution of what is changed, and says what was changed", function()
    local dir = folder(unlike())
    local output, status = replay(dir, "-r in.pcapng -w out.pcapng", [[
return function(pkt)
  pkt.ip.ttl = pkt.ip.ttl - 1
  pkt.dport = 5353
  if pkt.packet_id == 2 then pkt.udp.payload:write(0, "TWO") pkt.mark = 7 end
end
]])
    assert(status == 0, output)
    local frames = tshark(dir .. "/out.pcapng", "frame.interface_name", "frame.time_epoch", "frame.comment",
      "frame.packet_flags", "udp.dstport", "udp.checksum.status")
    local changed = "ipq-lua: accept, ip.ttl 64 -> 63, dport 53 -> 5353"
    assert.equal("eth7", frames[1][1])
    assert.matches("^1700000000.123456768", frames[1][2])
    assert.equal("the first," .. changed, frames[1][3])
    assert.equal(1, tonumber(frames[1][4]))
    assert.same({ "tun3", "ipq-lua: accept, mark 7, ip.ttl 64 -> 63, dport 53 -> 5353, 3 of 3 bytes of payload" },
      { frames[2][1], frames[2][3] })
    assert.matches("^1700000001.250", frames[2][2])
    assert.equal("the third," .. changed, frames[3][3])
    assert.equal(changed, frames[4][3])
    assert.equal("the fifth," .. changed, frames[5][3])
    for i = 1, 5 do assert.equal("5353", frames[i][5]) end
  end)

  it("is what the name of the output says, or what the input is", function()
    local dir = folder(unlike())
    capture.write(dir .. "/plain.pcap", { { ip(17, udp "a"), sec = 5, sub = 6 } })
    local function magic_of(name, arguments)
      local output, status = replay(dir, arguments)
      assert(status == 0, output)
      return document.read(dir .. "/" .. name):sub(1, 4)
    end
    local NG, MICRO = "\10\13\13\10", document.read(dir .. "/plain.pcap"):sub(1, 4)
    assert.equal(NG, magic_of("out", "-r in.pcapng -w out"))
    assert.equal(MICRO, magic_of("out", "-r plain.pcap -w out"))
    assert.equal(NG, magic_of("out.pcapng", "-r plain.pcap -w out.pcapng"))
    assert.same({ { "5.000006000", "" } }, tshark(dir .. "/out.pcapng", "frame.time_epoch", "frame.comment"))
    document.write(dir .. "/one.pcapng", pcapng.section():interface { link = capture.RAW }
      :packet(ip(17, udp "a"), { ticks = 7000008 }):text())
    assert.not_equal(NG, magic_of("out.pcap", "-r one.pcapng -w out.pcap"))
    assert.equal("7.000008000", tshark(dir .. "/out.pcap", "frame.time_epoch")[1][1])
  end)

  it("cannot become pcap where link types differ, or a time is too late: that is said", function()
    local dir = folder(unlike())
    local output, status = replay(dir, "-r in.pcapng -w out.pcap")
    assert.matches("error: cannot write the capture out.pcap: pcap has frames of one link type, and these are of 1 and "
      .. "101; name a file that ends in .pcapng\n", output)
    assert.equal(74, status)
    document.write(dir .. "/late.pcapng", pcapng.section():interface { link = capture.RAW }
      :packet(ip(17, udp "a"), { ticks = 5e15 + 250000 }):text())
    output, status = replay(dir, "-r late.pcapng -w out.pcap")
    assert.matches("error: cannot write the capture out.pcap: pcap has no times behind the year 2106; name a file that "
      .. "ends in .pcapng\n", output)
    assert.equal(74, status)
    output, status = replay(dir, "-r late.pcapng -w out.pcapng", "return function(pkt) print(pkt.timestamp) end\n")
    assert.equal(0, status)
    assert.matches("5000000000.25\n", output)
  end)

  -- if_tsresol, a time in its units, and what that is
  for _, time in ipairs {
    { "\0", 77, "77.000000" }, { "\6", 77000001, "77.000001" }, { "\9", 77000001999, "77.000001" },
    { "\12", 7.7e13 + 2e6, "77.000002" }, { "\138", 77 * 1024 + 512, "77.500000" }, { "\160", 77 * 2 ^ 32 + 2 ^ 30,
      "77.250000" }, { "\19", 5e18, "0.500000" }, { "\255", 12345, "0.000000" }, { "\127", 12345, "0.000000" } } do
    it("has times in units of " .. time[1]:byte(), function()
      local dir = folder(pcapng.section():interface { link = capture.RAW, options = { { RESOLUTION, time[1] } } }
        :packet(ip(17, udp "a"), { ticks = time[2] }):text())
      local output = replay(dir, "-r in.pcapng", "return function(pkt) print(('%.6f'):format(pkt.timestamp)) end\n")
      assert.equal(time[3], output:match "\n([%d.]+)\n$")
    end)
  end

  it("has times with an offset", function()
    local section = pcapng.section()
    local dir = folder(section:interface { link = capture.RAW, options = { { OFFSET, section:u64(1000) } } }
      :packet(ip(17, udp "a"), { ticks = 5000000 }):text())
    local output = replay(dir, "-r in.pcapng", "return function(pkt) print(pkt.timestamp) end\n")
    assert.equal("1005", output:match "\n(%d+)\n$")
  end)

  it("loses a hash that does not hold any more, and blocks that are not to be copied", function()
    local section = pcapng.section():interface { link = capture.RAW }
    section:block(0x40000bad, section:u32(4711) .. "not yours...")
    section:packet(ip(17, udp "a"), { options = { { HASH, "\2\1\2\3\4" }, { COMMENT, "kept" } } })
    local bytes = section:text()
    local dir = folder(bytes)
    local _, status = replay(dir, "-r in.pcapng -w out.pcapng", "return function(pkt) pkt.ip.ttl = 9 end\n")
    assert.equal(0, status)
    local out = document.read(dir .. "/out.pcapng")
    assert.truthy(out:find("kept", 1, true) and bytes:find("\2\1\2\3\4", 1, true))
    assert.falsy(out:find("\2\1\2\3\4", 1, true) or out:find("not yours", 1, true))
  end)

  it("has a cut off frame without a length of its own, whose interface says it", function()
    local whole = ip(17, udp(("x"):rep(100)))
    local dir = folder(pcapng.section():interface { link = capture.RAW, snaplen = 40 }
      :simple_packet(whole:sub(1, 40), #whole):text())
    local output, status = replay(dir, "-r in.pcapng -w out.pcapng",
      "return function(pkt) print(pkt.len, pkt.data_len) end\n")
    assert.equal(0, status)
    assert.matches("\n128\t40\n", output)
    assert.same({ { "128", "40" } }, tshark(dir .. "/out.pcapng", "frame.len", "frame.cap_len"))
  end)

  it("has a held packet's frame, though its section is over", function()
    local dir = folder(unlike())
    local output, status = replay(dir, "-r in.pcapng -w out.pcapng", [[
local held
return function(pkt)
  if pkt.packet_id == 2 then held = pkt:hold() end
  if pkt.packet_id == 4 then held:verdict() end
end
]])
    assert(status == 0, output)
    local order = {}
    for i, frame in ipairs(tshark(dir .. "/out.pcapng", "data.text", "udp.length", "frame.time_epoch")) do
      order[i] = tonumber(frame[2]) - 8
    end
    assert.same({ 3, 5, 3, 4, 4 }, order)
    assert.matches("^1700000001.250", tshark(dir .. "/out.pcapng", "frame.time_epoch")[3][1])
  end)

  -- Frames of the second section come before and behind the held packet's, and the description of an interface, too.
  it("has the frames behind it on their own interfaces, whose numbers may be others then", function()
    for _, is_swapped in ipairs { false, true } do
      local first = pcapng.section(not is_swapped):interface { link = capture.RAW }:packet(ip(17, udp "one"))
        :packet(ip(17, udp "two"))
      local second = pcapng.section(is_swapped):interface { link = capture.ETHERNET }
        :packet(ethernet .. ip(17, udp "three")):packet(ethernet .. ip(17, udp "four"))
        :interface { link = capture.RAW, options = { { RESOLUTION, "\3" } } }
      second:packet(ip(17, udp "five"), { interface = 1, ticks = 5000 })
        :old_packet(ip(17, udp "six"), { interface = 1, options = { { COMMENT, "the sixth" } } })
        :simple_packet(ethernet .. ip(17, udp "seven"))
        :block(5, second:u32(1) .. second:u64(0) .. second:options { { 4, second:u64(77) } })
      local dir = folder(first:text() .. second:text())
      local output, status = replay(dir, "-r in.pcapng -w out.pcapng", [[
local held = {}
return function(pkt)
  if pkt.packet_id < 3 then held[pkt.packet_id] = pkt:hold() end
  if pkt.packet_id == 4 then held[1]:verdict() held[2]:verdict() end
end
]])
      assert(status == 0, output)
      assert.same({ { "0", "13", "" }, { "1", "11", "" }, { "1", "11", "" }, { "0", "12", "" }, { "2", "12", "" },
        { "2", "11", "the sixth" }, { "0", "13", "" } },
        tshark(dir .. "/out.pcapng", "frame.interface_id", "udp.length", "frame.comment"))
      assert.equal(5, tonumber(tshark(dir .. "/out.pcapng", "frame.time_epoch")[5][1]))
      local n = is_swapped and m.be32 or m.host32
      assert.is_truthy(document.read(dir .. "/out.pcapng"):find(n(5) .. n(40) .. n(2), 1, true))
    end
  end)

  it("is a capture, too, where its first section is damaged, or has nothing but interfaces", function()
    local dir = folder(pcapng.section():text():sub(1, 20))
    local output, status = replay(dir, "-r in.pcapng -w out.pcapng")
    assert.equal(65, status, output)
    assert.equal(pcapng.section():text(), document.read(dir .. "/out.pcapng"))
    document.write(dir .. "/in.pcapng", pcapng.section():interface { link = capture.RAW }:text())
    output, status = replay(dir, "-r in.pcapng -w out.pcap")
    assert.equal(0, status, output)
    local _, header = capture.read(dir .. "/out.pcap")
    assert.equal(capture.RAW, header.link)
  end)

  it("becomes pcap in its own byte order, in which the header of a log is", function()
    for _, is_swapped in ipairs { false, true } do
      local dir = folder(pcapng.section(is_swapped):interface { link = capture.RAW }:packet(ip(17, udp "a")):text())
      local output, status = replay(dir, "-r in.pcapng -w out.pcap")
      assert.equal(0, status, output)
      local _, header = capture.read(dir .. "/out.pcap")
      assert.equal(is_swapped, header.is_swapped)
    end
  end)

  it("that mergecap makes of unlike files is read, and what editcap makes of ours", function()
    local dir = folder()
    capture.write(dir .. "/a.pcap", { { ethernet .. ip(17, udp "a"), sec = 1 } }, { link = capture.ETHERNET })
    capture.write(dir .. "/b.pcap", { { ip(17, udp "b"), sec = 2 } })
    netns.shell(("cd %s && LD_PRELOAD= mergecap -w in.pcapng a.pcap b.pcap"):format(dir))
    local output, status = replay(dir, "-r in.pcapng -w out.pcapng", "return function(pkt) pkt.ip.ttl = 3 end\n")
    assert(status == 0, output)
    assert.equal(2, count(output, "changed"))
    local again = netns.shell(("cd %s && export LD_PRELOAD= && editcap out.pcapng again.pcapng && "
      .. "capinfos -c again.pcapng"):format(dir))
    assert.matches("Number of packets:%s+2\n", again)
    assert.same({ { "3" }, { "3" } }, tshark(dir .. "/again.pcapng", "ip.ttl"))
  end)

  -- What is wrong with a file, by what is said of it.
  local good = pcapng.section():interface { link = capture.RAW }:packet(ip(17, udp "a"))
  local frame = good:text()
  local damaged = {
    ["it ends in the middle of frame 2"] = frame .. frame:sub(29):sub(1, 30),
    ["what follows frame 1 is no block of pcapng"] = frame .. ("\1"):rep(12),
    ["the block behind frame 1 has two lengths"] = frame .. good:u32(9) .. good:u32(12) .. good:u32(16),
    ["frame 2 is of an interface that nothing describes"] = frame
      .. pcapng.section():packet("x", { interface = 1 }):text():sub(29),
    ["frame 2 is longer than its block"] = frame .. pcapng.section():block(6, ("\0"):rep(12) .. good:u32(9)
      .. ("\0"):rep(4)):text():sub(29),
    ["frame 2 is a block without room for one"] = frame .. pcapng.section():block(6, ("\0"):rep(16)):text():sub(29),
    ["interface 1 is described by 16 bytes"] = frame .. pcapng.section():block(1, ("\0"):rep(4)):text():sub(29),
    ["a section is of version 2, and 1 is known"] = frame .. frame:sub(1, 12) .. good:u16(2) .. frame:sub(15),
  }
  for what, bytes in pairs(damaged) do
    it("is damaged: " .. what, function()
      local dir = folder(bytes)
      local output, status = replay(dir, "-r in.pcapng -w out.pcapng")
      assert.matches("error: the capture in.pcapng is damaged: " .. what, output)
      assert.equal(1, count(output, "frames written"))
      assert.equal(65, status)
    end)
  end

  it("counts frames of a link type that is not known here, which get the error verdict", function()
    local dir = folder(pcapng.section():interface { link = capture.RAW }:interface { link = 189 }
      :packet(ip(17, udp "a")):packet("usb", { interface = 1 }):text())
    local output, status = replay(dir, "-r in.pcapng -w out.pcapng")
    assert.equal(0, status)
    assert.matches("warning: link type 189 is not known here: 1 frames got the error verdict", output)
    assert.equal(1, count(output, "unknown link type"))
    assert.equal(1, count(output, "frames written"))
    output = replay(dir, "-r in.pcapng -w out.pcapng --on-error accept")
    assert.equal(2, count(output, "frames written"))
  end)
end)

describe("a script whose output is private", function()
  local SCRIPT = "return { private = true, filter = function(pkt) pkt.saddr = '192.0.2.1' pkt.fix = true end }\n"

  it("has frames and nothing else in pcapng, and no frame that it has not seen", function()
    local first = unlike()
    local section = pcapng.section():interface { link = capture.ETHERNET, options = { { NAME, "eth9" } } }
      :packet(ethernet:sub(1, 12) .. "\136\204" .. "lldp", { options = { { COMMENT, "a neighbour" } } })
    local dir = folder(first .. section:text())
    local output, status = replay(dir, "-r in.pcapng -w out.pcapng", SCRIPT)
    assert.equal(0, status, output)
    assert.equal(1, count(output, "dropped unjudged %(no IP%)"))
    local out = document.read(dir .. "/out.pcapng")
    for _, secret in ipairs { "eth7", "tun3", "eth9", "the first", "the fifth", "ipq-lua", "neighbour", "lldp",
      "\10\0\0\1" } do
      assert.truthy(secret == "ipq-lua" or (first .. section:text()):find(secret, 1, true), secret)
      assert.falsy(out:find(secret, 1, true), secret)
    end
    local frames = tshark(dir .. "/out.pcapng", "ip.src", "frame.time_epoch", "udp.dstport")
    assert.equal(5, #frames)
    assert.same({ "192.0.2.1", "53" }, { frames[5][1], frames[5][3] })
    assert.matches("^1700000001.250", frames[2][2])
  end)

  it("refuses what would write what came", function()
    local dir = folder(unlike())
    for option, more in pairs { ["write-dropped"] = "--write-dropped x.pcap", ["on-error"] = "--on-error accept" } do
      local output, status = replay(dir, "-r in.pcapng -w out.pcapng " .. more, SCRIPT)
      assert.matches(("error: --%s would write what came, and the output of filter.lua is private (private = true)\n")
        :format(option), output, 1, true)
      assert.equal(64, status)
    end
  end)
end)
