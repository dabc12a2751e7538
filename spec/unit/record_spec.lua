-- What is told of each packet of a capture: lines of JSON, and lines for people.
local abi = require "ipq.engine.abi"
local capture = require "spec.support.capture"
local cjson = require "cjson"
local document = require "spec.support.document"
local encode = require("ipq.json").encode
local ffi = require "ffi"
local fields = require "spec.support.random_fields"
local ipq = require "ipq"
local netns = require "spec.support.netns"
local packets = require "spec.support.packet"
local reference = require "spec.support.summary"
local replay = require "ipq.test.replay"
local rewrite = require "spec.support.rewrite"
local t = require "ipq.test"
local tcpdump = require "spec.support.tcpdump"

local ip, ip6, udp, tcp = packets.ip, packets.ip6, packets.udp, packets.tcp
local datagram, text = ip(17, udp "hello"), "IP 10.0.0.1.1024 > 10.0.0.2.53: UDP, length 5"

local function new_capture(frames, options)
  local path = os.tmpname()
  finally(function() os.remove(path) end)
  capture.write(path, frames, options)
  return path
end

--- What the program prints of frames that a script judges, without its messages; and its exit status.
local function output_of(frames, script, arguments, environment)
  local path = new_capture(frames)
  local filter = document.temporary(script)
  finally(function() os.remove(filter) end)
  return netns.shell(("LD_PRELOAD= %s %s -r %s %s %s 2>/dev/null"):format(environment or "", netns.program, path,
    arguments, filter))
end

--- The records that the program prints, by the packet's number.
local function records_of(...)
  local records = {}
  for line in output_of(...):gmatch "[^\n]+" do
    local record = cjson.decode(line)
    records[record.number] = record
  end
  return records
end

local names = { "number", "time", "verdict", "mark", "changed", "packet", "error" }

--- A record's line once more.
local function json(record)
  local members = {}
  for _, name in ipairs(names) do
    if record[name] ~= nil then members[#members + 1] = ("%q:%s"):format(name, encode(record[name])) end
  end
  return "{" .. table.concat(members, ",") .. "}\n"
end

-- Behind the script's, which does not return.
local errors = { "oh no", "quotes \" and \\", "\1\31\127\t", "no UTF-8: \255\192", "\194\155 and \226\130\172", "",
  "\0", ("\1"):rep(100000) }

--- What a filter does with a packet, by its number.
local outcomes = {
  function() end,
  function() return ipq.DROP end,
  function() return ipq.STOP end,
  function() return ipq.queue(3) end,
  function() return ipq.queue(65535, true) end,
  function(pkt) pkt.mark = 0xffffffff return ipq.REPEAT end,
  function(pkt) if pkt.ip then pkt.ip.ttl = 1 end end,
  function() return "nonsense" end,
}
for _, message in ipairs(errors) do outcomes[#outcomes + 1] = function() error(message, 0) end end

describe("a record's line of JSON", function()
  it("is what another formatter makes of a record, whatever the packet and its outcome are", function()
    local r, frames = rewrite.random(3), {}
    for i = 1, 1500 do
      local name = r.pick(fields.builders)
      local version = (name == "icmpv6" or name ~= "icmp" and i % 2 == 0) and "ip6" or "ip"
      local bytes = t[name] { [version] = fields.some(r, version), [name] = fields.some(r, name) }.bytes
      frames[i] = { bytes:sub(1, r.pick { #bytes, r.number(1, #bytes) }), len = #bytes, sec = r.number(0, 2 ^ 31 - 1),
        sub = r.number(0, 999999) }
    end
    local path, texts = new_capture(frames), {}
    local function filter(pkt)
      texts[pkt.packet_id] = reference.line(pkt)
      return outcomes[pkt.packet_id % #outcomes + 1](pkt)
    end
    local records, next_line = t.replay(path, filter).records, replay.lines(path, filter):gmatch "[^\n]*\n"
    for _, record in ipairs(records) do
      assert.equal(texts[record.number], record.packet)
      assert.equal(json(record), next_line())
    end
    assert.same({ 1500, nil }, { #records, next_line() })
  end)

  it("tells of the packet as it came, where its change was refused", function()
    local frames = {}
    for i = 1, 8 do frames[i] = { datagram, sec = i } end
    local records = records_of(frames, [[
local ipq = require "ipq"
local changes = {
  function(pkt) pkt.saddr = "192.0.2.9" error "oh no" end,
  function(pkt) pkt.udp.payload:replace(0, 5, "longer than before") error "oh no" end,
  function(pkt) pkt.udp.payload:replace(0, 5, "") pkt.mark = 9 return "nonsense" end,
  function(pkt) pkt.saddr = "192.0.2.9" return nil, {} end,
  function(pkt) pkt.saddr = "192.0.2.9" pkt:hold() return ipq.ACCEPT end,
  function(pkt) pkt.payload:write(0, "\79") end,
  function(pkt) pkt.saddr = "192.0.2.9" return ipq.DROP end,
  function(pkt) pkt.saddr = "192.0.2.9" end,
}
return function(pkt) return changes[pkt.packet_id](pkt) end
]], "--json --on-error accept")
    for i = 1, 7 do
      assert.same({ text, false, 0 }, { records[i].packet, records[i].changed, records[i].mark })
      assert.equal(i == 7 and "drop" or "accept", records[i].verdict)
      assert.equal(i ~= 7, records[i].error ~= nil)
    end
    assert.same({ "IP 192.0.2.9.1024 > 10.0.0.2.53: UDP, length 5", true },
      { records[8].packet, records[8].changed })
    -- Its length, where no header tells it.
    local script = "return function(pkt) pkt.payload:replace(0, 0, 'more') end"
    records = records_of({ { "\69" .. ("x"):rep(18) } }, script, "--json")
    assert.same({ "ip, ethertype 0x0800, 19 bytes", false }, { records[1].packet, records[1].changed })
  end)

  it("says changed of a link header, too, unless the packet was dropped", function()
    local p, to = ffi.new "struct ipq_packet", ffi.new("char[?]", ffi.C.IPQ_RECORD_SIZE)
    p.set = ffi.C.IPQ_SET_LINK
    for verdict, changed in pairs { [ipq.ACCEPT] = true, [ipq.DROP] = false } do
      p.verdict = verdict
      assert.equal(changed, cjson.decode(ffi.string(to, abi.C.ipq_record_json(p, nil, 0, to))).changed)
      assert.equal(changed, ffi.string(to, abi.C.ipq_record_print(p, nil, 0, to)):find(", changed", 1, true) ~= nil)
    end
  end)

  it("tells of a packet that was held as it came, where its change was refused then", function()
    local frames = {}
    for i = 1, 70 do frames[i] = { ip(17, udp(("x"):rep(i))), sec = i } end
    local records = records_of(frames, [[
local ipq = require "ipq"
local held = {}
return { filter = function(pkt)
  if pkt.packet_id > 3 then return end
  held[pkt.packet_id] = pkt:hold()
  pkt.udp.payload:replace(0, pkt.packet_id, "other bytes")
end, stop = function()
  held[1]:verdict(ipq.ACCEPT, ("x"):rep(65532))
  held[2]:verdict(ipq.DROP)
  held[3]:verdict(ipq.ACCEPT)
end }
]], "--json --on-error accept")
    local function told(i) return { records[i].verdict, records[i].changed, records[i].packet:match "length %d+" } end
    assert.matches("over 65531 bytes", records[1].error)
    assert.same({ "accept", false, "length 1" }, told(1))
    assert.same({ "drop", false, "length 2" }, told(2))
    assert.same({ "accept", true, "length 11" }, told(3))
    assert.same({ "accept", false, "length 70" }, told(70))
  end)

  it("is where the packet's events and what is printed of it are", function()
    local output = output_of({ { datagram, sec = 1 }, { datagram, sec = 2 } }, [[
return function(pkt)
  print("printed", pkt.packet_id)
  require("ipq").event { id = pkt.packet_id }
  io.write "written\n"
end
]], "--json")
    local order = {}
    for line in output:gmatch "[^\n]+" do order[#order + 1] = line:match "^%S%a+\t?%d?" or line:match '^{"%a+":%d' end
    assert.same({ "printed\t1", '{"id":1', "written", '{"number":1', "printed\t2", '{"id":2', "written",
      '{"number":2' }, order)
  end)
end)

describe("a record's line for people", function()
  local clock = "[0-9:.]+ "

  it("is tcpdump's, with the verdict behind", function()
    if not tcpdump.available() then return pending "there is no tcpdump" end
    local r, frames = rewrite.random(4), {}
    for i = 1, 300 do
      local name = r.pick { "tcp", "udp" }
      local own = fields.some(r, name)
      own.sport, own.dport, own.options, own.urgptr = 33000 + i, 34000 + i, nil, nil
      frames[i] = { t[name] { [i % 2 == 0 and "ip6" or "ip"] = {}, [name] = own }.bytes,
        sec = 1600000000 + i * 1000, sub = r.number(0, 999999) }
    end
    local path = new_capture(frames)
    -- As a zone without summer time: tcpdump takes today's time for that of all packets.
    local expected = netns.shell("TZ=XXX-5:30 LD_PRELOAD= tcpdump -n -S -r " .. path .. " 2>/dev/null")
    local next_line, count = output_of(frames, "return function() end", "--print", "TZ=XXX-5:30"):gmatch "[^\n]+", 0
    for line in expected:gmatch "[^\n]+" do
      count = count + 1
      assert.equal(tcpdump.plain(line) .. "  accept", next_line())
    end
    assert.same({ 300, nil }, { count, next_line() })
  end)

  it("has the local time of its day", function()
    local output = output_of({ { datagram, sec = 1690000000, sub = 7 }, { datagram, sec = 1700000000, sub = 999999 } },
      "return function() end", "--print", "TZ=CET-1CEST,M3.5.0,M10.5.0/3")
    assert.equal(("06:26:40.000007 %s  accept\n23:13:20.999999 %s  accept\n"):format(text, text), output)
  end)

  it("says what became of the packet", function()
    local frames = {}
    for i = 1, 9 do frames[i] = { datagram, sec = i } end
    local output, status = output_of(frames, [[
local ipq = require "ipq"
local outcomes = {
  function() return ipq.DROP end,
  function() return ipq.queue(3, true) end,
  function(pkt) pkt.ip.ttl = 1 end,
  function(pkt) pkt.mark = 0xff000001 end,
  function(pkt) pkt.ip.ttl = 1 pkt.mark = 0 return ipq.STOP end,
  function() error "oh\27[31m no" end,
  function() error("first\nsecond", 0) end,
  function() error("\226\130\172 \255 \194\155", 0) end,
  function() return 9999 end,
}
return function(pkt) return outcomes[pkt.packet_id](pkt) end
]], "--print")
    local lines = {}
    for line in output:gmatch "[^\n]+" do
      lines[#lines + 1] = line:gsub("^" .. clock, "")
      assert.matches("^%d%d:%d%d:%d%d%.000000 ", line)
    end
    local function is(i, what) assert.equal(text .. "  " .. what, lines[i]) end
    assert.same({ 9, 2 }, { #lines, status })
    is(1, "drop")
    is(2, "queue 3 bypass")
    is(3, "accept, changed")
    is(4, "accept, mark 0xff000001")
    is(5, "stop, changed, mark 0x0")
    assert.matches("  drop, error: %S+:8: oh\\x1b%[31m no$", lines[6])
    is(7, "drop, error: first")
    is(8, "drop, error: \226\130\172 \\xff \\xc2\\x9b")
    assert.matches("  drop, error: filter returned the number 9999; it may return nothing, ", lines[9])
  end)

  it("comes when a held packet is judged, with its own time", function()
    local output = output_of({ { datagram, sec = 1 }, { ip6(6, tcp "hello"), sec = 2 } }, [[
local held
return function(pkt)
  if pkt.packet_id == 1 then held = pkt:hold() else held:verdict(require "ipq".DROP) end
end
]], "--print", "TZ=UTC")
    assert.matches("^00:00:01.000000 IP [^\n]*  drop\n00:00:02.000000 IP6 [^\n]*  accept\n$", output)
  end)

  for _, wrong in ipairs {
    { "--print x.lua", "error: %-%-print goes with %-%-read; see ipq%-lua %-%-help" },
    { "-r x.pcap --print --json x.lua", "error: %-%-json and %-%-print are two forms of the same lines; choose one" },
    { "-r x.pcap --print -w - x.lua", "all want standard output, which one can have" },
  } do
    it("is refused for " .. wrong[1], function()
      local output, status = netns.shell(("LD_PRELOAD= %s %s"):format(netns.program, wrong[1]))
      assert.matches(wrong[2], output)
      assert.equal(64, status)
    end)
  end
end)
