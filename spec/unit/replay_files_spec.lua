-- The files of a replay: packed ones, several, which frames are taken, where they go.
local capture = require "spec.support.capture"
local document = require "spec.support.document"
local m = require "spec.support.message"
local netns = require "spec.support.netns"
local packets = require "spec.support.packet"

local ip, udp = packets.ip, packets.udp
local ethernet = "\2\0\0\0\0\1\2\0\0\0\0\2"
local arp = ethernet .. "\8\6" .. ("\0"):rep(28)

-- A folder for a spec, with a.pcap and b.pcap of two frames each.
local function folder()
  local dir = netns.shell "mktemp -d":match "%S+"
  finally(function() netns.shell("rm -rf " .. dir) end)
  for _, name in ipairs { "a", "b" } do
    local frames = {}
    for i = 1, 2 do frames[i] = { ip(17, udp(name .. i)), sec = i } end
    capture.write(("%s/%s.pcap"):format(dir, name), frames)
  end
  document.write(dir .. "/show.lua", [[
return function(pkt)
  print(pkt.packet_id, pkt.udp.payload:string())
  io.stdout:flush()
end
]])
  return dir
end

-- Runs commands in it, with the program as $P. Gives what they wrote, and their exit status.
local function run(dir, commands)
  return netns.shell(("cd %s && LD_PRELOAD= ASAN_OPTIONS=detect_leaks=1 P=%s/%s timeout 100 bash -c '%s'")
    :format(dir, os.getenv "PWD", netns.program, commands))
end

local function count(output, name) return tonumber(output:match(name .. "%s+(%d+)\n")) end

-- The lines that show.lua printed.
local function shown(output)
  local lines = {}
  for line in output:gmatch "(%d+\t%w+)\n" do lines[#lines + 1] = line end
  return lines
end

describe("a packed capture", function()
  it("of gzip's is read as what is in it, also in pieces, from a pipe, and behind another", function()
    local dir = folder()
    local all = { "1\ta1", "2\ta2" }
    assert.same(all, shown(run(dir, "gzip a.pcap && $P -r a.pcap.gz show.lua")))
    assert.same(all, shown(run(dir, "cat a.pcap.gz | $P -r - show.lua")))
    assert.same(all, shown(run(dir, [[
      zcat a.pcap.gz > whole; head -c 30 whole | gzip > two.gz; tail -c +31 whole | gzip >> two.gz
      $P -r two.gz show.lua]])))
    assert.same({ "1\ta1", "2\ta2", "3\tb1", "4\tb2" }, shown(run(dir, "$P -r a.pcap.gz -r b.pcap show.lua")))
  end)

  it("that is damaged is filtered as far as it can be read", function()
    local dir = folder()
    local frames = {}
    for i = 1, 3000 do frames[i] = { ip(17, udp(tostring(i * 7919 % 1000))), sec = i * 31337 } end
    capture.write(dir .. "/long.pcap", frames)
    local output, status = run(dir, "gzip long.pcap && head -c 8000 long.pcap.gz > cut.gz; $P -r cut.gz show.lua")
    assert.matches("error: the capture cut.gz is damaged: the gzip file ends too early\n", output)
    assert.equal(65, status)
    local judged = count(output, "packets judged")
    assert.is_true(judged > 100 and judged < 3000)
    local text = document.read(dir .. "/long.pcap.gz")
    document.write(dir .. "/bad.gz", text:sub(1, 8000) .. ("\255"):rep(300) .. text:sub(8301))
    output, status = run(dir, "$P -r bad.gz show.lua")
    assert.matches("error: the capture bad.gz is damaged: ", output)
    assert.equal(65, status)
  end)

  it("of another program's names the one that unpacks it", function()
    local dir = folder()
    for magic, program in pairs { ["\253\55zXZ\0"] = "xzcat", ["\40\181\47\253"] = "zstdcat",
      ["\4\34\77\24"] = "lz4cat", BZh9 = "bzcat" } do
      document.write(dir .. "/packed", magic .. ("x"):rep(100))
      local output, status = run(dir, "$P -r packed show.lua")
      assert.matches(("error: packed is compressed: %s packed | ipq-lua -r - ...\n"):format(program), output, 1, true)
      assert.equal(65, status)
    end
  end)
end)

describe("several captures", function()
  it("are read one after the other, whatever kinds they are, and written as one", function()
    local dir = folder()
    capture.write(dir .. "/c.pcapng", { { ip(17, udp "c1"), sec = 9 } }, { ng = true })
    local output, status = run(dir, [[$P -r b.pcap -r c.pcapng -r a.pcap -w out.pcapng show.lua &&
      $P -r b.pcap -r a.pcap -w out.pcap show.lua > /dev/null &&
      tshark -r out.pcapng -T fields -e udp.length 2> /dev/null]])
    assert.equal(0, status)
    assert.same({ "1\tb1", "2\tb2", "3\tc1", "4\ta1", "5\ta2" }, shown(output))
    assert.matches(("10\n"):rep(5), output)
    local times = {}
    for i, frame in ipairs(capture.read(dir .. "/out.pcap")) do times[i] = frame.sec end
    assert.same({ 1, 2, 1, 2 }, times)
  end)

  it("are all there, or none is read; a damaged one does not end the others", function()
    local dir = folder()
    local output, status = run(dir, "$P -r a.pcap -r missing.pcap show.lua")
    assert.equal("ipq-lua: error: cannot read the capture missing.pcap: No such file or directory\n", output)
    assert.equal(66, status)
    output, status = run(dir, [[
      head -c 100 a.pcap > cut.pcap; echo text > text; $P -r cut.pcap -r text -r b.pcap show.lua]])
    assert.matches("error: the capture cut.pcap is damaged: it ends in the middle of frame 2\n", output)
    assert.same({ "1\ta1", "2\tb1", "3\tb2" }, shown(output))
    assert.equal(65, status)
    output, status = run(dir, "$P -r - -r - show.lua < a.pcap")
    assert.matches("%-%-read %-: must be given once: standard input has one capture", output)
    assert.equal(64, status)
    output, status = run(dir, "$P -r a.pcap -r b.pcap -w b.pcap show.lua")
    assert.matches("cannot write the capture b.pcap: it is one that is read", output)
    assert.equal(73, status)
    output, status = run(dir, "$P -r . show.lua")
    assert.equal("ipq-lua: error: cannot read the capture .: Is a directory\n", output)
    assert.equal(66, status)
  end)
end)

describe("the captures that are written", function()
  it("are no file that is read or written by another name", function()
    local dir = folder()
    local output, status = run(dir, [[
      touch out.pcap; ln out.pcap same.pcap; $P -r a.pcap -w out.pcap --write-dropped same.pcap show.lua]])
    assert.matches("cannot write the capture same.pcap: it is out.pcap, too; name another file\n", output)
    assert.equal(73, status)
    output, status = run(dir, "$P -r a.pcap -w out.pcap --write-dropped - show.lua > out.pcap")
    assert.matches("cannot write the capture %-: it is out.pcap, too", output)
    assert.equal(73, status)
    output, status = run(dir, "$P -r a.pcap -w - show.lua >> a.pcap")
    assert.matches("cannot write the capture %-: it is one that is read", output)
    assert.equal(73, status)
    output, status = run(dir, "$P -r a.pcap -w /dev/null --write-dropped /dev/../dev/null show.lua")
    assert.equal(0, status, output)
  end)

  it("are said to be not all there, besides what is wrong with the ones that are read", function()
    local dir = folder()
    local output, status = run(dir, "head -c 100 a.pcap > cut.pcap; $P -r cut.pcap -w /dev/full show.lua")
    assert.matches("error: the capture cut.pcap is damaged: ", output)
    assert.matches("error: cannot write the capture /dev/full: No space left on device\n", output)
    assert.equal(74, status)
  end)

  it("are told once to fail, where standard output is one of them", function()
    local dir = folder()
    local output, status = run(dir, "$P -r a.pcap -w - show.lua 2>&1 > /dev/full")
    assert.equal(74, status)
    assert.matches("error: cannot write the capture %-: No space left on device\n", output)
    assert.is_nil(output:find "cannot be written")
  end)

  it("have no length that is nonsense where a shorter link header is in front of one that was", function()
    local dir = folder()
    capture.write(dir .. "/in.pcap", { { ethernet .. "\129\0\0\5\8\0" .. ip(17, udp "a"), len = 0 } },
      { link = capture.ETHERNET })
    document.write(dir .. "/untag.lua", "return function(pkt) pkt.vlan = nil end")
    local output, status = run(dir, "$P -r in.pcap -w out.pcap untag.lua")
    assert.equal(0, status, output)
    local frame = capture.read(dir .. "/out.pcap")[1]
    assert.same({ ethernet .. "\8\0" .. ip(17, udp "a"), #frame[1] }, { frame[1], frame.len })
  end)
end)

describe("a replay", function()
  it("ends after --count frames, those that the expression takes", function()
    local dir = folder()
    assert.same({ "1\ta1", "2\ta2", "3\tb1" }, shown(run(dir, "$P -c 3 -r a.pcap -r b.pcap show.lua")))
    local output = run(dir, [[$P -c 1 -F "greater 31" -r a.pcap -w out.pcap show.lua]])
    assert.same({}, shown(output))
    output = run(dir, [[$P --count 1 -F "udp dst port 53" -r b.pcap -r a.pcap -w out.pcap show.lua]])
    assert.same({ "1\tb1" }, shown(output))
    assert.equal(1, #capture.read(dir .. "/out.pcap"))
  end)

  it("writes what is dropped to a file of its own, with what is no packet where --other is drop", function()
    local dir = folder()
    capture.write(dir .. "/in.pcap", { { ethernet .. "\8\0" .. ip(17, udp "1"), sec = 1 }, { arp, sec = 2 },
      { ethernet .. "\8\0" .. ip(17, udp("2", { dport = 23 })), sec = 3 }, { ethernet .. "\8", sec = 4 } },
      { link = capture.ETHERNET })
    local function seconds(name)
      local list = {}
      for i, frame in ipairs(capture.read(("%s/%s"):format(dir, name))) do list[i] = frame.sec end
      return list
    end
    local command = "$P -r in.pcap -w out.pcap --write-dropped dropped.pcap %s %s/scripts/drop_port.lua ports=23"
    local output, status = run(dir, command:format("", os.getenv "PWD"))
    assert.equal(0, status)
    assert.same({ { 1, 2 }, { 3, 4 } }, { seconds "out.pcap", seconds "dropped.pcap" })
    assert.equal(2, count(output, "dropped frames written"))
    assert.equal(1, count(output, "passed unjudged %(no IP%)"))
    output = run(dir, command:format("--other drop --on-error accept", os.getenv "PWD"))
    assert.same({ { 1, 4 }, { 2, 3 } }, { seconds "out.pcap", seconds "dropped.pcap" })
    assert.equal(1, count(output, "dropped unjudged %(no IP%)"))
  end)

  it("tells in a comment why a packet was dropped, and what was changed", function()
    local dir = folder()
    document.write(dir .. "/filter.lua", [[
return function(pkt)
  if pkt.packet_id == 1 then error "no such luck" end
  if pkt.packet_id == 2 then return 0 end
  if pkt.packet_id == 3 then return "nonsense" end
  pkt.saddr = "192.0.2.1"
  return require "ipq".ACCEPT, pkt:copy() .. "more"
end
]])
    local output, status = run(dir, "$P -r a.pcap -r b.pcap -w out.pcapng --write-dropped dropped.pcapng filter.lua")
    assert.equal(2, status, output)
    local comments = run(dir, [[
      for f in dropped out; do tshark -n -r $f.pcapng -T fields -e udp.length -e frame.comment 2> /dev/null; done]])
    assert.matches("^10\tipq%-lua: drop, error: filter.lua:2: no such luck\n10\tipq%-lua: drop\n"
      .. "10\tipq%-lua: drop, error: [^\n]*nonsense[^\n]*\n"
      .. "14\tipq%-lua: accept, saddr 10.0.0.1 %-> 192.0.2.1, payload of 2 %-> 6 bytes\n$", comments)
  end)

  it("gives the error verdict to what is longer than a packet can be", function()
    local dir = folder()
    local huge = ip(17, udp "x")
    capture.write(dir .. "/in.pcap", { { huge .. ("x"):rep(100000) }, { ("\96" .. ("\0"):rep(70000)) }, { huge } })
    local output, status = run(dir, "$P -r in.pcap -w out.pcap show.lua")
    assert.equal(0, status)
    assert.equal(2, count(output, "too long to be judged"))
    assert.equal(1, count(output, "frames written"))
    output = run(dir, "$P --on-error accept -r in.pcap -w out.pcap show.lua && cmp in.pcap out.pcap && echo same")
    assert.matches("same\n$", output)
  end)

  it("takes a file without a snap length, and frames over it, whole", function()
    local dir = folder()
    local text = document.read(dir .. "/a.pcap")
    for _, snaplen in ipairs { 0x7fffffff, 0, 20 } do
      document.write(dir .. "/in.pcap", text:sub(1, 16) .. m.host32(snaplen) .. text:sub(21))
      local output, status = run(dir, "$P -r in.pcap -w out.pcap show.lua && cmp a.pcap out.pcap && echo same")
      assert.equal(0, status)
      assert.matches("same\n", output)
    end
  end)

  it("reads back a packet that has grown beyond the input's snap length", function()
    local dir = folder()
    local text = document.read(dir .. "/a.pcap")
    document.write(dir .. "/in.pcap", text:sub(1, 16) .. m.host32(30) .. text:sub(21))
    document.write(dir .. "/grow.lua", [[
return function(pkt) return require "ipq".ACCEPT, pkt:copy() .. ("x"):rep(1000) end
]])
    local output, status = run(dir, [[$P -r in.pcap -w out.pcap grow.lua && tcpdump -nr out.pcap 2> /dev/null &&
      $P -r out.pcap -w again.pcap show.lua]])
    assert.equal(0, status)
    assert.matches("domain", output)
    assert.same({ 1030, 1030 }, { #capture.read(dir .. "/out.pcap")[1][1], #capture.read(dir .. "/again.pcap")[2][1] })
  end)

  it("judges what a pipe has given, and does not wait for more", function()
    local dir = folder()
    local output, status = run(dir, [[
      until_shown() { until grep -q "$1" log; do sleep 0.01; done; }
      mkfifo pipe; $P -r - show.lua < pipe > log 2>&1 & exec 3> pipe
      head -c 70 a.pcap >&3; until_shown a1; tail -c +71 a.pcap >&3; until_shown a2; exec 3>&-; wait $!; cat log]])
    assert.equal(0, status, output)
    assert.same({ "1\ta1", "2\ta2" }, shown(output))
  end)

  it("ends when it is asked to, though its pipe has nothing to give", function()
    local dir = folder()
    local output, status = run(dir, [[
      mkfifo pipe; $P -r - show.lua < pipe > log 2>&1 & pid=$!; exec 3> pipe
      cat a.pcap >&3; until grep -q a2 log; do sleep 0.01; done
      kill -TERM $pid; wait $pid; code=$?; cat log; exit $code]])
    assert.equal(0, status, output)
    assert.equal(2, count(output, "packets judged"))
  end)
end)
