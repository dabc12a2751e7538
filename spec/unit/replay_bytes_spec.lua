-- Which bytes of a frame are the packet's, and which of them can be changed and made right, through a replay.
local capture = require "spec.support.capture"
local document = require "spec.support.document"
local m = require "spec.support.message"
local netns = require "spec.support.netns"
local packets = require "spec.support.packet"
local t = require "ipq.test"

local ip, ip6, udp, tcp = packets.ip, packets.ip6, packets.udp, packets.tcp
local ethernet = "\2\0\0\0\0\1\2\0\0\0\0\2"
local ether4, ether6 = ethernet .. "\8\0", ethernet .. "\134\221"

-- Runs the program over frames, with a script as Lua text. Gives what it wrote as frames, its output, its exit status.
local function replay(frames, script, more)
  local dir = netns.shell "mktemp -d":match "%S+"
  finally(function() netns.shell("rm -rf " .. dir) end)
  capture.write(dir .. "/in.pcap", frames, { link = capture.ETHERNET })
  document.write(dir .. "/filter.lua", script)
  local output, status = netns.shell(("cd %s && LD_PRELOAD= ASAN_OPTIONS=detect_leaks=1 timeout 100 %s/%s -r in.pcap "
    .. "-w out.pcap %s filter.lua"):format(dir, os.getenv "PWD", netns.program, more or ""))
  local sums = netns.shell(("LD_PRELOAD= tshark -n -r %s/out.pcap -o ip.check_checksum:TRUE -o udp.check_checksum:TRUE "
    .. "-o tcp.check_checksum:TRUE -T fields -e ip.checksum.status -e udp.checksum.status -e tcp.checksum.status "
    .. "2>/dev/null"):format(dir))
  local are_right = {}
  for line in sums:gmatch "([^\n]*)\n" do are_right[#are_right + 1] = not line:find("0", 1, true) end
  return (capture.read(dir .. "/out.pcap")), output, status, are_right
end

local function count(output, name) return tonumber(output:match(name .. "%s+(%d+)\n")) end

local SHOW = [[
return function(pkt)
  print("seen", pkt.len, pkt.data_len, #pkt.payload, pkt.truncated, #(pkt.tcp or pkt.udp).payload)
end
]]
local SAME = "return function(pkt) return require 'ipq'.ACCEPT, pkt:copy() end\n"
local HOP = "return function(pkt) if pkt.ip then pkt.ip.ttl = 9 else pkt.dport = 9 end end\n"

describe("what lies behind the packet in its frame", function()
  local short = ip(17, udp "abc")
  local padding = ("\0"):rep(60 - 14 - #short)

  it("is not the packet's, whoever has counted it", function()
    local frames = { { ether4 .. short .. padding }, { ether4 .. short .. "FCS!" },
      { ether4 .. short, len = 14 + #short + 4 }, { ether6 .. ip6(6, tcp "hello") .. "a trailer" } }
    local written, output, status = replay(frames, SHOW)
    assert.equal(0, status)
    assert.equal(3, select(2, output:gsub("seen\t31\t31\t31\tfalse\t3\n", "")))
    assert.matches("seen\t65\t65\t65\tfalse\t5\n", output)
    for i, frame in ipairs(frames) do assert.equal(frame[1], written[i][1]) end
    assert.equal(14 + #short + 4, written[3].len)
  end)

  it("does not become the packet's, and goes when that is changed", function()
    local frames = { { ether4 .. short .. padding }, { ether4 .. short .. "FCS!" },
      { ether4 .. short, len = 14 + #short + 4 } }
    local written, output, status, are_right = replay(frames, HOP)
    assert.equal(0, status, output)
    for i = 1, 3 do
      assert.same({ 14 + #short, 14 + #short }, { #written[i][1], written[i].len })
      assert.equal(3, written[i][1]:byte(14 + 26) - 8)
    end
    assert.same({ true, true, true }, are_right)
    written = replay(frames, SAME)
    for i = 1, 3 do assert.equal(m.be16(11), written[i][1]:sub(39, 40)) end
  end)

  it("is not ARP's, either", function()
    local arp = ethernet .. "\8\6\0\1\8\0\6\4\0\1" .. ("\1"):rep(20)
    local written, output, status = replay({ { arp .. ("\0"):rep(18) } }, [[
return { arp = true, filter = function(pkt) print("seen", pkt.len, #pkt.payload) pkt.arp.saddr_ip = "192.0.2.1" end }
]])
    assert.equal(0, status)
    assert.matches("seen\t28\t28\n", output)
    assert.equal(arp:sub(1, 28) .. "\192\0\2\1" .. arp:sub(33), written[1][1])
  end)

  it("is all that follows the header of an IPv6 packet of length 0", function()
    local empty = "\96\0\0\0\0\0\59\64" .. ("\1"):rep(32)
    local _, output = replay({ { ether6 .. empty .. ("\0"):rep(20) } },
      "return function(pkt) print('seen', pkt.len, pkt.ip6.length) end\n")
    assert.matches("seen\t40\t0\n", output)
  end)
end)

describe("a packet that the capture has cut off", function()
  local whole4 = t.udp { payload = ("x"):rep(300) }.bytes
  local whole6 = t.tcp { saddr = "2001:db8::1", daddr = "2001:db8::2", payload = ("y"):rep(300) }.bytes
  local function cut(link, whole, len) return { link .. whole:sub(1, len), len = 14 + #whole } end

  it("is changed in its place, and its checksums follow", function()
    local written, output, status = replay({ cut(ether4, whole4, 60), cut(ether6, whole6, 80) }, [[
return function(pkt)
  pkt.saddr = pkt.ip and "192.0.2.7" or "2001:db8::7"
  pkt.dport = 4711
end
]])
    assert.equal(0, status, output)
    local expected, _, _, are_right = replay({ { ether4 .. whole4 }, { ether6 .. whole6 } }, [[
return function(pkt)
  pkt.saddr = pkt.ip and "192.0.2.7" or "2001:db8::7"
  pkt.dport = 4711
end
]])
    assert.same({ true, true }, are_right)
    for i, len in ipairs { 74, 94 } do
      assert.equal(expected[i][1]:sub(1, len), written[i][1])
      assert.equal(14 + (i == 1 and #whole4 or #whole6), written[i].len)
    end
  end)

  it("cannot grow: what is said is that the capture has no more of it", function()
    for _, script in ipairs { "return function(pkt) pkt.udp.payload:replace(0, 0, 'more') end\n",
      "return function(pkt) pkt.udp.payload:replace(0, 4, 'other') end\n" } do
      local written, output, status = replay({ cut(ether4, whole4, 60) }, script, "--on-error accept")
      assert.equal(2, status)
      assert.matches("frame 1 of the capture: packet changed: [^\n]*capture", output)
      assert.not_matches("copy%-range", output)
      assert.equal(ether4 .. whole4:sub(1, 60), written[1][1])
    end
  end)
end)

describe("checksums", function()
  local right4 = t.udp { saddr = "10.0.0.1", daddr = "10.0.0.2", payload = "hello" }.bytes
  local right6 = t.tcp { saddr = "2001:db8::1", daddr = "2001:db8::2", payload = "hello" }.bytes
  -- As a sender's network card would have got them: with the sum of the pseudo-header; and a wrong IPv4 header's.
  local unfinished = right4:sub(1, 26) .. m.be16(0x0a00 + 0x0001 + 0x0a00 + 0x0002 + 17 + 13) .. right4:sub(29)
  local wrong_ip = right4:sub(1, 10) .. "\1\2" .. right4:sub(13)
  local wrong6 = right6:sub(1, 40 + 16) .. "\1\2" .. right6:sub(40 + 19)
  local none = right4:sub(1, 26) .. "\0\0" .. right4:sub(29)
  local frames = {}
  for i, frame in ipairs { ether4 .. right4 .. "padding", ether4 .. unfinished .. "padding", ether4 .. wrong_ip,
    ether6 .. wrong6, ether4 .. none } do
    frames[i] = { frame }
  end

  it("that are wrong are counted, and stay so", function()
    local written, output, status, are_right = replay(frames, "return function() end\n")
    assert.equal(0, status)
    assert.equal(3, count(output, "came with wrong checksums"))
    assert.same({ true, false, false, false, true }, are_right)
    for i, frame in ipairs(frames) do assert.equal(frame[1], written[i][1]) end
    are_right = select(4, replay(frames, HOP))
    assert.same({ true, false, true, false, true }, are_right)
    -- Also where the filter sees less.
    output = select(2, replay(frames, "return function() end\n", "--copy-range 20"))
    assert.equal(3, count(output, "came with wrong checksums"))
  end)

  it("are made right by --fix-checksums, and nothing else is touched", function()
    local written, output, status, are_right = replay(frames, "return function() end\n", "--fix-checksums")
    assert.equal(0, status)
    assert.same({ true, true, true, true, true }, are_right)
    assert.equal(3, count(output, "checksums made right"))
    assert.equal(0, count(output, "changed"))
    assert.equal(ether4 .. right4 .. "padding", written[1][1])
    assert.equal(ether4 .. right4 .. "padding", written[2][1])
    assert.equal(ether4 .. right4, written[3][1])
    assert.equal(ether6 .. right6, written[4][1])
    assert.equal(ether4 .. none, written[5][1])
    -- What a filter did to the link header before it raised is not written.
    written = replay(frames, "return function(pkt) pkt.ether.saddr = '02:00:00:00:00:09' error 'no' end\n",
      "--fix-checksums --on-error accept")
    assert.equal(ether4 .. right4 .. "padding", written[2][1])
    are_right = select(4, replay(frames, HOP, "--fix-checksums"))
    assert.same({ true, true, true, true, true }, are_right)
  end)
end)
