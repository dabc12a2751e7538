-- Link headers: where IP begins in a captured frame of each type, and what it tells of its packet.
local abi = require "ipq.engine.abi"
local capture = require "spec.support.capture"
local core = require "ipq.core"
local ffi = require "ffi"
local headers = require "spec.support.link"
local m = require "spec.support.message"
local netns = require "spec.support.netns"
local tcpdump = require "spec.support.tcpdump"
local tshark = require "spec.support.tshark"

if not core.spec_link_declared then
  local file = assert(io.open "bindings/capture/link.h")
  ffi.cdef((("\n" .. file:read "*a"):gsub("\n#[^\n]*", "\n")))
  file:close()
  core.spec_link_declared = true
end

local C, E = abi.C, ffi.C
local be16, be32 = m.be16, m.be32
local IP, IP6, ARP = 0x0800, 0x86dd, 0x0806
local ANY = 0xffffffff

local links, NFULA = headers.list, headers.NFULA
local packet, packet6, macs, sll = headers.packet, headers.packet6, headers.macs, headers.sll
local snap, label, wlan, radiotap = headers.snap, headers.label, headers.wlan, headers.radiotap
local attr, nflog = headers.attr, headers.nflog

-- The same by link type, and byte order of the file.
local by_number = {}
for _, link in ipairs(links) do
  if not link.foreign then
    local number = link.is_swapped and "swapped" or link[2]
    by_number[number] = by_number[number] or {}
    table.insert(by_number[number], link)
  end
end

local function parse(link, frame)
  local info = ffi.new "struct ipq_link_info"
  return tonumber(C.ipq_link_parse(link, frame, #frame, info)), info
end

--- Calls work(EtherType, packet, header) for each version that the link can have.
local function each_version(link, work)
  for kind, bytes in pairs { [IP] = packet, [IP6] = packet6 } do
    if not link.only or link.only == kind then work(kind, bytes, link[3](kind, bytes)) end
  end
end

--- A file of that link type, which is gone when the spec ends.
local function file_of(frames, link, options)
  local path = os.tmpname()
  finally(function() os.remove(path) end)
  capture.write(path, frames, { link = link, swapped = options and options.is_swapped })
  return path
end

--- Runs a script (text) over a file. Gives the frames that it wrote, and what it printed.
local function replay(path, script, more)
  local dir = netns.shell "mktemp -d":match "%S+"
  local file = assert(io.open(dir .. "/filter.lua", "w"))
  file:write(script)
  file:close()
  local output, status = netns.shell(("LD_PRELOAD= timeout 200 %s -r %s -w %s/out.pcap %s %s/filter.lua"):format(
    netns.program, path, dir, more or "", dir))
  local written = status == 0 and capture.read(dir .. "/out.pcap")
  netns.shell("rm -r " .. dir)
  assert.equal(0, status, output)
  return written, output
end

describe("a link header", function()
  for _, link in ipairs(links) do
    it("is read as far as IP: " .. link[1], function()
      each_version(link, function(kind, bytes, header)
        local kinds, info = parse(link[2], header .. bytes .. "padding")
        assert.same({ tonumber(E.IPQ_LINK_IP), #header, kind }, { kinds, info.offset, info.protocol })
        assert.equal(link.has_length and #header + #bytes or ANY, info["end"])
        assert.same({ kind == IP and 2 or 10, 0 }, { info.family, info.missing })
      end)
    end)

    it("is not guessed where it is cut off: " .. link[1], function()
      each_version(link, function(_, bytes, header)
        local frame = header .. bytes
        for len = 0, #header + (link.looks_on and 0 or -1) do
          assert.equal(tonumber(E.IPQ_LINK_CUT_OFF), (parse(link[2], frame:sub(1, len))), len)
        end
        assert.equal(tonumber(E.IPQ_LINK_IP), (parse(link[2], frame:sub(1, #header + 1))))
      end)
    end)
  end

  for name, list in pairs(by_number) do
    local number = list[1][2]
    it("is the same for tcpdump, Wireshark and a filter: link type " .. name, function()
      if not (tshark.available() and tcpdump.available()) then return pending "tcpdump or tshark is missing" end
      local frames, expected, unread = {}, {}, {}
      for _, link in ipairs(list) do
        each_version(link, function(kind, bytes, header)
          frames[#frames + 1] = { header .. bytes }
          expected[#frames] = kind == IP and "10.0.0.1" or "2001:db8::1"
          unread[#frames] = link.unread
        end)
      end
      local path = file_of(frames, number, list[1])
      local _, output = replay(path, "return function(pkt) print(pkt.saddr, pkt.dport, #pkt.payload) end\n")
      local fields = netns.shell(("LD_PRELOAD= tshark -n -r %s -T fields -e ip.src -e ipv6.src 2>/dev/null")
        :format(path))
      local lines, number_of = tcpdump.lines(path), 0
      for field in fields:gmatch "([^\n]*)\n" do
        number_of = number_of + 1
        assert.equal(expected[number_of], (field:gsub("\t", "")), number_of)
      end
      assert.equal(#frames, number_of)
      local seen = {}
      for saddr in output:gmatch "([%x:.]+)\t%d+\t%d+\n" do seen[#seen + 1] = saddr end
      assert.same(expected, seen)
      for i, saddr in ipairs(expected) do
        local line = lines[i]
        assert.truthy(unread[i] or line and line:find(saddr .. ".1024 > ", 1, true), (lines[i] or "no line") .. i)
      end
    end)

    it("tells the right length of a packet that was changed: link type " .. name, function()
      local frames, expected = {}, {}
      for _, link in ipairs(list) do
        each_version(link, function(kind, bytes, header)
          frames[#frames + 1] = { header .. bytes .. "padding" }
          expected[#frames] = { link = link, kind = kind, header = header, len = #bytes + 11 }
        end)
      end
      local written = replay(file_of(frames, number, list[1]), [[
return function(pkt) (pkt.tcp or pkt.udp).payload:replace(0, 4, "good day to you") end
]])
      for i, e in ipairs(expected) do
        local frame = written[i][1]
        local changed = frame:sub(#e.header + 1)
        assert.same({ e.len, "good day to you" }, { #changed, changed:sub(-15) }, e.link[1])
        local _, info = parse(number, frame)
        assert.equal(e.link.has_length and #frame or ANY, info["end"])
        if not e.link.is_swapped then assert.equal((e.link[3](e.kind, changed)), frame:sub(1, #e.header), e.link[1]) end
      end
    end)
  end

  it("carries ARP", function()
    local arp = "\0\1\8\0\6\4\0\1" .. ("\0"):rep(20)
    for _, frame in ipairs { { 1, macs .. "\8\6" }, { 1, macs .. be16(8 + #arp) .. snap(ARP) },
      { 105, wlan(0, 1) .. snap(ARP) }, { 239, nflog("little", 3, "", #arp) } } do
      local kind, info = parse(frame[1], frame[2] .. arp)
      assert.same({ tonumber(E.IPQ_LINK_ARP), #frame[2], 3 }, { kind, info.offset, info.family })
    end
  end)

  local none, hidden, cut = tonumber(E.IPQ_LINK_NO_IP), tonumber(E.IPQ_LINK_HIDDEN), tonumber(E.IPQ_LINK_CUT_OFF)
  local long = tonumber(E.IPQ_LINK_TOO_LONG)
  for name, given in pairs {
    ["a spanning tree's LLC"] = { none, 1, macs .. "\0\38\66\66\3" .. ("\0"):rep(43) },
    ["IPX without LLC"] = { none, 1, macs .. "\0\40\255\255\0\40" .. ("\0"):rep(38) },
    ["SNAP of Cisco's"] = { none, 1, macs .. be16(8 + #packet) .. "\170\170\3\0\0\12\8\0" .. packet },
    ["SNAP with a length in place of a type"] = { none, 1, macs .. "\0\50" .. snap(40) .. snap(IP) .. packet },
    ["SNAP with a tag and a length"] = { none, 1, macs .. "\0\50" .. snap(0x8100) .. "\0\5\0\40" .. snap(IP)
      .. packet },
    ["a length that ends before LLC"] = { none, 1, macs .. "\0\2\170\170\3\0\0\0\8\0" .. packet },
    ["no length and no type"] = { none, 1, macs .. be16(1501) .. snap(IP) .. packet },
    ["LLC where a header has no length"] = { none, 113, sll .. "\0\40" .. snap(IP) .. packet },
    ["PPPoE discovery"] = { none, 1, macs .. "\136\99\17\9\0\0\0\4\1\1\0\0" },
    ["PPPoE with another code"] = { none, 1, macs .. "\136\100\17\167\0\7" .. be16(#packet + 2) .. "\0\33" .. packet },
    ["PPPoE of another version"] = { none, 1, macs .. "\136\100\33\0\0\7" .. be16(#packet + 2) .. "\0\33" .. packet },
    ["PPPoE that ends before PPP"] = { none, 1, macs .. "\136\100\17\0\0\7\0\1\0\33" .. packet },
    ["PPP's control protocol"] = { none, 9, "\255\3\192\33\1\1\0\4" },
    ["PPP with Van Jacobson's compression"] = { hidden, 9, "\255\3\0\45" .. packet },
    ["PPP that is compressed"] = { hidden, 9, "\0\253" .. packet },
    ["PPP that is compressed, with a protocol of one byte"] = { hidden, 9, "\253" .. packet },
    ["PPP that is encrypted"] = { hidden, 1, macs .. "\136\100\17\0\0\7" .. be16(#packet + 2) .. "\0\83" .. packet },
    ["a part of PPP over several links"] = { hidden, 9, "\0\61" .. packet },
    ["PPP with compressed headers"] = { hidden, 50, "\255\3\32\99" .. packet },
    ["a pseudowire's control word"] = { none, 1, macs .. "\136\71" .. label(20, true) .. be32(0) .. macs .. "\8\0"
      .. packet },
    ["a pseudowire whose address looks like IPv4"] = { none, 1, macs .. "\136\71" .. label(20, true) .. "\64"
      .. packet },
    ["labels without an end"] = { cut, 1, macs .. "\136\71" .. label(20):rep(100) },
    ["labels without an end, in PPPoE"] = { none, 1, macs .. "\136\100\17\0\0\7\0\6\2\129" .. label(20) },
    ["too many labels"] = { long, 1, macs .. "\136\71" .. label(20):rep(130) .. label(20, true) .. packet },
    ["too many VLAN tags"] = { long, 1, macs .. ("\129\0\0\5"):rep(130) .. "\8\0" .. packet },
    ["another machine's old loopback"] = { none, 12, be32(18) .. packet },
    ["Cisco's keepalive"] = { none, 104, "\143\0\128\53" .. ("\0"):rep(18) },
    ["a beacon"] = { none, 105, "\128\0" .. ("\0"):rep(40) },
    ["802.11 without data"] = { none, 105, wlan(4, 1) },
    ["802.11 of another version"] = { none, 105, "\9" .. wlan(0, 1):sub(2) .. snap(IP) .. packet },
    ["802.11 that is encrypted"] = { hidden, 105, wlan(0, 65) .. snap(IP) .. packet },
    ["802.11's first fragment"] = { hidden, 105, wlan(0, 5) .. snap(IP) .. packet },
    ["802.11's last fragment"] = { hidden, 105, wlan(0, 1):sub(1, 22) .. "\18\0" .. snap(IP) .. packet },
    ["several packets in one of 802.11"] = { hidden, 105, wlan(8, 1, "\128\0") .. snap(IP) .. packet },
    ["radiotap of another version"] = { none, 127, "\1" .. radiotap(0, ""):sub(2) .. wlan(0, 1) .. snap(IP) .. packet },
    ["radiotap that is too short"] = { none, 127, "\0\0\7\0\0\0\0\0" .. wlan(0, 1) .. snap(IP) .. packet },
    ["a log of another version"] = { none, 239, "\2\1" .. nflog("little", 2, "", #packet):sub(3) .. packet },
    ["a log without a packet"] = { cut, 239, "\2\0\0\5" .. attr("little", NFULA.MARK, be32(5)) },
    ["a log with a length of nothing"] = { cut, 239, "\2\0\0\5" .. attr("little", NFULA.MARK, be32(5), 3)
      .. packet },
    ["a log of what is no IP"] = { none, 239, nflog("little", 7, attr("little", 1, "\136\204\0\0"), 8)
      .. ("\0"):rep(8) },
    ["a link type that is not known"] = { none, 147, packet },
  } do
    it("tells what is no IP from what cannot be read: " .. name, function()
      assert.equal(given[1], (parse(given[2], given[3])))
    end)
  end

  it("is known or not by the number that a capture file has for it", function()
    local known = {}
    for _, link in ipairs(links) do known[link[2]] = true end
    for number = -1, 300 do assert.equal(known[number] or false, C.ipq_link_known(number), number) end
    local path = file_of({ { packet } }, 147)
    local output, status = netns.shell(("LD_PRELOAD= %s -r %s scripts/accept.lua"):format(netns.program, path))
    assert.matches("link type .+ %(147%) is not known here; Ethernet, .*PPPoE.* and NFLOG are\n", output)
    assert.equal(65, status)
  end)

  it("says no more of a frame check sequence that is gone", function()
    local header = radiotap(2, "\16") .. wlan(0, 1) .. snap(IP)
    local frame = header .. packet .. "\1\2\3\4"
    local path = file_of({ { frame }, { frame } }, 127)
    local written = replay(path, "return function(pkt) if pkt.packet_id == 2 then pkt.ip.ttl = 9 end end\n")
    assert.equal(frame, written[1][1])
    assert.equal(radiotap(2, "\0") .. header:sub(10), written[2][1]:sub(1, #header))
    assert.equal(#header + #packet, #written[2][1])
  end)

  it("has no length that would be a type", function()
    local path = file_of({ { macs .. be16(8 + #packet) .. snap(IP) .. packet } }, 1)
    local written = replay(path, [[return function(pkt) pkt.udp.payload:replace(0, 4, ("x"):rep(1600)) end
]])
    assert.equal(macs .. be16(1500), written[1][1]:sub(1, 14))
  end)
end)

describe("a log's packet", function()
  local names = { "hook_name", "family", "hw_protocol", "mark", "prefix", "indev", "indev_name", "outdev",
    "outdev_name", "physindev", "physindev_name", "physoutdev", "physoutdev_name", "hw_type", "hw_addr", "uid", "gid",
    "vlan_proto", "vlan_tci", "len", "data_len", "truncated", "malformed", "saddr" }
  local script = "local names = { '" .. table.concat(names, "', '") .. [[' }
return function(pkt)
  for _, name in ipairs(names) do if pkt[name] ~= nil then print(name .. "=" .. tostring(pkt[name])) end end
end
]]

  --- The fields that a filter sees.
  local function fields(frame, link)
    local _, output = replay(file_of({ { frame } }, link or 239), script)
    local seen = {}
    for name, value in output:gmatch "([%w_]+)=([^\n]*)\n" do seen[name] = value end
    return seen
  end

  it("has what the rule's kernel knew", function()
    for _, order in ipairs { "little", "big" } do
      local function a(name, value, length) return attr(order, NFULA[name], value, length) end
      local attributes = a("PACKET_HDR", be16(IP) .. "\2\0") .. a("MARK", be32(0xfffffff0)) .. a("INDEV", be32(1))
        .. a("OUTDEV", be32(1)) .. a("PHYSINDEV", be32(1)) .. a("PHYSOUTDEV", be32(70000)) .. a("UID", be32(1000))
        .. a("GID", be32(0)) .. a("HWADDR", be16(6) .. "\0\0\2\0\0\0\0\9\0\0") .. a("PREFIX", "new: \0")
      local frame = nflog(order, 2, attributes, #packet) .. packet
      -- No names: index 1 is the loopback device here, and whatever it was there.
      assert.same({ hook_name = "forward", family = "ip", hw_protocol = "2048", mark = "4294967280", prefix = "new: ",
        indev = "1", outdev = "1", physindev = "1", physoutdev = "70000", hw_addr = "02:00:00:00:00:09", uid = "1000",
        gid = "0", len = "32", data_len = "32", truncated = "false", saddr = "10.0.0.1" }, fields(frame))
    end
  end)

  it("has nothing that is not told", function()
    assert.same({ hook_name = "prerouting", family = "ip6", hw_protocol = "34525", mark = "0", len = "64",
      data_len = "64", truncated = "false", saddr = "2001:db8::1" },
      fields(nflog("little", 10, "", #packet6) .. packet6))
    -- Nor has a frame of another kind.
    assert.same({ hook_name = "prerouting", family = "ip", hw_protocol = "2048", mark = "0", len = "32",
      data_len = "32", truncated = "false", saddr = "10.0.0.1" }, fields(packet, 101))
  end)

  it("is no longer the one before it", function()
    local first = nflog("little", 2, attr("little", NFULA.PREFIX, "first\0") .. attr("little", NFULA.MARK, be32(5))
      .. attr("little", NFULA.UID, be32(7)), #packet) .. packet
    local frames = {}
    for i = 1, 130 do frames[i] = { i == 1 and first or nflog("little", 2, "", #packet) .. packet } end
    local _, output = replay(file_of(frames, 239), [[
return function(pkt) if pkt.prefix or pkt.mark ~= 0 or pkt.uid then print(pkt.packet_id, pkt.prefix) end end
]])
    assert.equal("1\tfirst\n", output:match "(%d+\t.*)")
  end)

  it("has a prefix with any bytes, up to the first 0", function()
    for value, expected in pairs { ["a\0b\0"] = "a", ["\0"] = "", ["no end"] = "no end", ["\1\255\0"] = "\1\255" } do
      assert.equal(expected, fields(nflog("little", 2, attr("little", NFULA.PREFIX, value), #packet) .. packet).prefix)
    end
    local most = ("p"):rep(127)
    local attributes = attr("little", NFULA.PREFIX, most .. "\0")
    assert.equal(most, fields(nflog("little", 2, attributes, #packet) .. packet).prefix)
  end)

  it("is read past attributes that are too short, too large, or not known", function()
    local odd = attr("little", NFULA.MARK, "\1\2\3") .. attr("little", NFULA.HWADDR, be16(9) .. ("\1"):rep(10))
      .. attr("little", 200, "what") .. attr("little", 0x3fff, "") .. attr("little", NFULA.PACKET_HDR, "\8")
    local seen = fields(nflog("little", 2, odd, #packet) .. packet)
    assert.same({ "0", nil, "10.0.0.1" }, { seen.mark, seen.hw_addr, seen.saddr })
    -- One that is longer than what is left.
    assert.equal(tonumber(E.IPQ_LINK_CUT_OFF),
      (parse(239, "\2\0\0\5" .. attr("little", NFULA.MARK, be32(5), 9) .. "\0")))
  end)

  it("is truncated where the rule logs a part of it", function()
    local seen = fields(nflog("little", 2, "", 28) .. packet:sub(1, 28))
    assert.same({ "32", "28", "true", nil }, { seen.len, seen.data_len, seen.truncated, seen.malformed })
    seen = fields(nflog("little", 10, "", 60) .. packet6:sub(1, 60))
    assert.same({ "64", "60", "true", nil }, { seen.len, seen.data_len, seen.truncated, seen.malformed })
    -- What came by a device may have a wrong length.
    seen = fields(nflog("little", 5, attr("little", 1, be16(IP) .. "\0\0"), 28) .. packet:sub(1, 28))
    assert.same({ "28", "28", "false" }, { seen.len, seen.data_len, seen.truncated })
    assert.is_string(seen.malformed)
  end)

  it("of a bridge has its VLAN tag, beside the packet or in it", function()
    local header = attr("little", NFULA.PACKET_HDR, be16(IP) .. "\0\0")
    local nested = attr("little", 1, be16(0x88a8)) .. attr("little", 2, be16(0x6005))
    local seen = fields(nflog("little", 7, header .. attr("little", 0x8000 + NFULA.VLAN, nested), #packet) .. packet)
    assert.same({ "bridge", "34984", "24581", "10.0.0.1" },
      { seen.family, seen.vlan_proto, seen.vlan_tci, seen.saddr })
    header = attr("little", NFULA.PACKET_HDR, be16(0x8100) .. "\0\0")
    seen = fields(nflog("little", 7, header, 4 + #packet) .. "\0\5\8\0" .. packet)
    assert.same({ "bridge", "33024", "5", "10.0.0.1" }, { seen.family, seen.vlan_proto, seen.vlan_tci, seen.saddr })
  end)

  it("that a device is about to send begins behind its link header", function()
    local header = attr("little", NFULA.PACKET_HDR, be16(IP) .. "\1\0")
      .. attr("little", NFULA.L2HDR, macs .. "\8\0")
    local seen = fields(nflog("little", 5, header, 14 + #packet) .. macs .. "\8\0" .. packet)
    assert.same({ "netdev", "10.0.0.1", "32" }, { seen.family, seen.saddr, seen.len })
    seen = fields(nflog("little", 5, header, #packet) .. packet)
    assert.same({ "netdev", "10.0.0.1", "32" }, { seen.family, seen.saddr, seen.len })
  end)

  it("keeps what it has when it is held, but its prefix", function()
    local frame = nflog("little", 2, attr("little", NFULA.MARK, be32(5)) .. attr("little", NFULA.PREFIX, "gone\0"),
      #packet) .. packet
    local written, output = replay(file_of({ { frame }, { frame } }, 239), [[
local held
return function(pkt)
  if held then held:verdict(require "ipq".ACCEPT) else
    pkt.udp.payload:replace(0, 4, "longer than it")
    held = pkt:hold()
  end
end
]], "--json")
    assert.matches('"number":1,[^\n]*"verdict":"accept","mark":5,"changed":true', output)
    assert.same({ 2, #frame + 10 }, { #written, #written[1][1] })
    local _, info = parse(239, written[1][1])
    assert.equal(#written[1][1], info["end"])
  end)
end)
