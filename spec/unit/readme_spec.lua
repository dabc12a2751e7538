-- README's examples run, and the annotations name what there is.
local hello = require "spec.support.hello"
local ipq = require "ipq"
local m = require "spec.support.message"
local packet = require "ipq.packet.view"
local packets = require "spec.support.packet"
local quic = require "spec.support.quic"
local script = require "ipq.engine.script"
local source = require "spec.support.source"

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return text
end

local examples = {}
for name, text in read "README.md":gmatch "<!%-%- example: (%S+) %-%->\n```lua\n(.-)```" do
  examples[name] = text
end

local function load(name, argv)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(examples[name])
  file:close()
  local s, message = script.load(path, argv)
  os.remove(path)
  return assert(s, message)
end

describe("README.md", function()
  it("drops telnet in its first filter", function()
    local telnet = packets.ip(6, packets.tcp("", { dport = 23 }))
    local ssh = packets.ip(6, packets.tcp("", { dport = 22 }))
    local udp = packets.ip(17, packets.udp("", { dport = 23 }))
    assert.same({ ipq.DROP, ipq.ACCEPT, ipq.ACCEPT }, source.new { m.simple(1, telnet), m.simple(2, ssh),
      m.simple(3, udp) }:verdicts(load "telnet.lua".filter))
  end)

  it("drops what is cut so that it may be telnet", function()
    local t = require "ipq.test"
    local filter = load "telnet.lua".filter
    assert.verdict("drop", filter, t.tcp { dport = 22, data_len = 30 })
    local whole = t.tcp { dport = 23, payload = "hello" }
    assert.verdict("drop", filter, t.fragments(whole, 28)[1])
    assert.verdict("drop", filter, t.fragments(whole, 40)[1])
    assert.unchanged(filter, t.fragments(t.tcp { dport = 22, payload = ("x"):rep(40) }, 60)[1])
  end)

  it("tests it, by the command that it names", function()
    local netns = require "spec.support.netns"
    local dir = netns.shell "mktemp -d":match "%S+"
    finally(function() netns.shell("rm -r " .. dir) end)
    for _, name in ipairs { "telnet.lua", "telnet_spec.lua" } do
      local file = assert(io.open(dir .. "/" .. name, "w"))
      file:write(examples[name])
      file:close()
    end
    local output, status = netns.shell(
      ("P=$(realpath %s); cd %s; env LD_PRELOAD= ASAN_OPTIONS=detect_leaks=0 $P --test .")
      :format(netns.program, dir))
    assert.matches("4 successes / 0 failures / 0 errors", output)
    assert.equal(0, status)
  end)

  it("marks large packets in its table", function()
    local s = load("table.lua", { "limit=50" })
    assert.equal(64, s.queue.range)
    local src = source.new { m.simple(1, ("x"):rep(50)), m.simple(2, ("x"):rep(51)) }
    assert.same({ ipq.ACCEPT, ipq.ACCEPT }, src:verdicts(s.filter))
    assert.same({ 0, 1 }, { src.batch.packets[0].set, src.batch.packets[1].set })
    local print_before, printed = print, {}
    _G.print = function(line) printed[#printed + 1] = line end -- luacheck: ignore 122
    script.call(s, "start", s.args)
    script.call(s, "stop", "exit")
    _G.print = print_before -- luacheck: ignore 122
    assert.same({ "limit 50", "1 large packets" }, printed)
  end)

  it("gets typed arguments in its example", function()
    local list = os.tmpname()
    finally(function() os.remove(list) end)
    require("spec.support.document").write(list, "10.0.0.1\n")
    local s = load("arguments.lua", { "port=80", "verbose=yes", "list=" .. list })
    assert.same({ port = 80, verbose = true, iface = "eth0", list = list,
      more = { 22, 8000, 8001, 8002, 8003 } }, s.args)
    local function tcp(dport) return packets.ip(6, packets.tcp("", { dport = dport })) end
    assert.same({ ipq.DROP, ipq.ACCEPT }, source.new { m.simple(1, tcp(80)), m.simple(2, tcp(443)) }:verdicts(s.filter))
  end)

  it("counts requests in its example", function()
    local function udp(dport) return packets.ip(17, packets.udp("", { dport = dport })) end
    source.new { m.simple(1, udp(53)), m.simple(2, udp(7)) }
      :verdicts(load "counters.lua".filter)
    assert.same({ 1, 28 }, { ipq.counter "requests":get(), ipq.counter "newest_length":get() })
  end)

  it("writes connections as events in its example", function()
    local event = require "ipq.event"
    local sink, line = event.sink, nil
    finally(function() event.sink = sink end)
    event.sink = function(text) line = require "cjson".decode(text) end
    source.new { m.simple(1, packets.ip(6, packets.tcp("", { dport = 23, flags = 2 }))) }
      :verdicts(load "event.lua".filter)
    assert.same({ time = line.time, saddr = "10.0.0.1", dport = 23 }, line)
    assert.is_true(math.abs(line.time - os.time()) < 60 * (tonumber(os.getenv "IPQ_SLOW") or 1))
  end)

  it("changes packets in its example", function()
    local s = load "change.lua"
    local results = {}
    source.new { m.simple(1, packets.ip(17, packets.udp("-hello-", { dport = 5353 }), { ttl = 9 })),
      m.simple(2, packets.ip(6, packets.tcp "hello")) }:verdicts(function(pkt)
      s.filter(pkt)
      results[#results + 1] = { pkt.ip.ttl, pkt.daddr, tostring((pkt.udp or pkt.tcp).payload) }
    end)
    assert.same({ { 64, "10.0.0.53", "-good day-" }, { 64, "10.0.0.2", "hello" } }, results)
  end)

  it("lets trusted networks through", function()
    local from = function(saddr) return "\69\0\0\20" .. ("\0"):rep(8) .. saddr .. "\10\0\0\1" end
    assert.same({ ipq.ACCEPT, ipq.ACCEPT, ipq.DROP, ipq.DROP }, source.new { m.simple(1, from "\10\9\9\9"),
      m.simple(2, from "\192\0\2\7"), m.simple(3, from "\192\0\2\8"), m.simple(4, "") }
      :verdicts(load "networks.lua".filter))
  end)

  it("holds a connection in its example, until its host knocks or for half a second", function()
    local t = require "ipq.test"
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    local file = assert(io.open(path, "w"))
    file:write(examples["later.lua"])
    file:close()
    local f = t.load(path)
    local function syn(saddr) return t.tcp { saddr = saddr, daddr = "10.0.0.9", dport = 22, flags = 2 } end
    local function knock(saddr) return t.udp { saddr = saddr, daddr = "10.0.0.9", dport = 7000 } end
    assert.verdict("drop", f, knock "10.0.0.1")
    local first, second = t.run(f, syn "10.0.0.1"), t.run(f, syn "10.0.0.2")
    assert.same({ "hold", "hold" }, { first.verdict, second.verdict })
    assert.verdict("drop", f, syn "10.0.0.1")
    assert.verdict("accept", f, t.tcp { saddr = "10.0.0.1", daddr = "10.0.0.9", dport = 22, flags = 16 })
    assert.verdict("drop", f, knock "10.0.0.1")
    assert.same({ "accept", "hold" }, { first.verdict, second.verdict })
    assert.same({}, t.advance(1))
    assert.same({ "accept", "drop" }, { first.verdict, second.verdict })
    assert.equal("hold", t.run(f, syn "10.0.0.2").verdict)
    t.set_time(0)
  end)

  it("answers and rejects in its example", function()
    local t, path = require "ipq.test", os.tmpname()
    finally(function() os.remove(path) end)
    require("spec.support.document").write(path, examples["refuse.lua"])
    local filter = t.load(path)
    for _, address in ipairs { "192.0.2.1", "2001:db8::1" } do
      local question = t.dns { saddr = address, id = 7, name = "www.example.org" }
      local result = assert.verdict("drop", filter, question)
      local refused = t.dns { id = 7, name = "www.example.org", qr = true, rcode = "refused" }
      assert.sent(result, { saddr = question.daddr, daddr = address, dport = question.sport,
        udp = { sport = 53, payload = tostring(refused.udp.payload) } })
      assert.same({}, assert.unchanged(filter, t.dns { saddr = address, name = "example.net" }).sent)
      assert.sent(assert.verdict("reject", filter, t.tcp { saddr = address, dport = 23 }),
        { daddr = address, sport = 23, tcp = { rst = true } })
    end
  end)

  it("ends a connection with wrong passwords in its example", function()
    local t, path = require "ipq.test", os.tmpname()
    finally(function() os.remove(path) end)
    local file = assert(io.open(path, "w"))
    file:write(examples["wrong.lua"])
    file:close()
    local f = t.load(path)
    local function client(sport, payload)
      return t.tcp { saddr = "10.0.0.1", daddr = "192.0.2.9", sport = sport, dport = 21, payload = payload, ack = true }
    end
    local function server(sport, payload)
      return t.tcp { saddr = "192.0.2.9", daddr = "10.0.0.1", sport = 21, dport = sport, payload = payload, ack = true }
    end
    for i = 1, 3 do
      assert.verdict("accept", f, client(5000, "PASS x\r\n"))
      assert.verdict(i < 3 and "accept" or "drop", f, server(5000, "530 Login incorrect.\r\n"))
    end
    assert.verdict("drop", f, client(5000, "PASS y\r\n"))
    assert.verdict("accept", f, client(5001, "PASS y\r\n"))
    assert.verdict("accept", f, server(5001, "230 Login successful.\r\n"))
    local _, events = t.advance(601)
    assert.same({ { saddr = "10.0.0.1", wrong = 3, reason = "timeout" } }, events)
    t.set_time(0)
  end)

  it("judges by names in its example", function()
    local t, path, list = require "ipq.test", os.tmpname(), os.tmpname()
    finally(function() os.remove(path) os.remove(list) end)
    require("spec.support.document").write(path, examples["names.lua"])
    require("spec.support.document").write(list, "blocked.example\n")
    local filter = t.load(path, { list = list })
    finally(function() filter:stop() end)
    local function connect(name)
      return (t.connection(filter, { client = hello.client(name, 1800), server = "answer", dport = 443 }))
    end
    assert.is_true(connect("www.blocked.example").is_reset)
    assert.equal("answer", connect("free.example").client)
    local function initial(name)
      local frames = quic.crypto(0, hello.client(name):sub(6))
      return t.udp { dport = 443, payload = quic.initial { frames = frames, size = 1200 } }
    end
    assert.verdict("drop", filter, initial "blocked.example")
    assert.unchanged(filter, t.udp { dport = 443, sport = 5, payload = "no QUIC" })
    local answered = assert.verdict("drop", filter, t.dns { id = 7, name = "a.blocked.example" })
    assert.equal("nxdomain", ipq.dns.parse(tostring(answered.sent[1].udp.payload)).rcode)
    assert.unchanged(filter, t.dns { name = "free.example" })
  end)

  it("tells the server who asks in its example, and has a spec of it that passes", function()
    local netns, document = require "spec.support.netns", require "spec.support.document"
    local dir = netns.shell "mktemp -d":match "%S+"
    finally(function() netns.shell("rm -r " .. dir) end)
    for _, name in ipairs { "forwarded.lua", "forwarded_spec.lua" } do
      document.write(dir .. "/" .. name, examples[name])
    end
    local output, status = netns.shell(
      ("P=$(realpath %s); cd %s; env LD_PRELOAD= ASAN_OPTIONS=detect_leaks=0 $P --test .")
      :format(netns.program, dir))
    assert.matches("1 success / 0 failures / 0 errors", output)
    assert.equal(0, status)
    local t, says = require "ipq.test", "EHLO a\r\n"
    assert.equal(says, t.connection(t.load(dir .. "/forwarded.lua"), { client = says }).server)
  end)

  -- It is run by spec/kernel/process_spec.lua: it opens a queue.
  it("has a module example that compiles", function()
    assert(loadstring(examples["own.lua"]))
  end)

  it("links to what there is", function()
    local text = read "README.md"
    local heads = {}
    for head in text:gmatch "\n##+ ([^\n]+)" do
      heads["#" .. head:lower():gsub("[^%w%s-]", ""):gsub("%s", "-")] = true
    end
    local seen = 0
    for target in text:gmatch "%]%(([^)%s]+)%)" do
      if target:sub(1, 1) == "#" then assert.is_true(heads[target], target) else read(target):len() end
      seen = seen + 1
    end
    assert.is_true(seen >= 5)
  end)

  it("names every field of a packet", function()
    local text = read "README.md"
    for name in pairs(packet.fields()) do
      local base = name:gsub("_name$", "")
      assert.truthy(text:find("`" .. name .. "`", 1, true) or text:find("`" .. base .. "`", 1, true), name)
    end
  end)
end)

describe("scripts/README.md", function()
  it("has a line for each filter, and for no other", function()
    local named, has = {}, {}
    for name, target, text in read "scripts/README.md":gmatch "\n| %[([^%]]+)%]%(([^)]+)%) | ([^\n]+) |" do
      assert.equal(name, target)
      assert.is_true(#text > 10)
      named[#named + 1] = name
    end
    for path in io.popen "ls scripts/*.lua":lines() do has[#has + 1] = path:match "[^/]+$" end
    assert.same(has, named)
  end)
end)

describe("bindings/types/ipq.lua", function()
  local text = read "bindings/types/ipq.lua"

  local function class(name)
    local fields = {}
    local body = (text .. "\n"):match("%-%-%-@class " .. name:gsub("%.", "%%.") .. "\n(.-)\n[^-]") .. "\n"
    for field in body:gmatch "%-%-%-@field (%S+)" do fields[field] = true end
    return fields
  end

  it("names the fields of a packet, no more and no fewer", function()
    local fields = {}
    for name in pairs(packet.fields()) do fields[name] = true end
    assert.same(fields, class "ipq.Packet")
  end)

  local headers = { ip = "IP", ip6 = "IP6", tcp = "TCP", udp = "UDP", udplite = "UDPLite", icmp = "ICMP",
    icmpv6 = "ICMPv6", sctp = "SCTP", dccp = "DCCP", gre = "GRE", esp = "ESP", ah = "AH" }
  for name, class_name in pairs(headers) do
    it("names the fields of pkt." .. name .. ", and which can be assigned", function()
      local fields, methods = packet.header_fields(name)
      local names = {}
      for field in pairs(fields) do names[field] = true end
      assert.same(names, class("ipq." .. class_name))
      local body = text:match("%-%-%-@class ipq%." .. class_name .. "\n(.-)\n[^-]")
      for field, assignable in pairs(fields) do
        local line = body:match("%-%-%-@field " .. field .. " ([^\n]*)")
        assert.equal(assignable, line:find("can be assigned", 1, true) ~= nil, field)
      end
      for method in pairs(methods) do
        assert.truthy(text:find("function " .. class_name .. ":" .. method .. "(", 1, true), method)
      end
    end)
  end

  it("says which of them can be assigned", function()
    local body = text:match "%-%-%-@class ipq%.Packet\n(.-)\n[^-]"
    for name, assignable in pairs(packet.fields()) do
      local line = body:match("%-%-%-@field " .. name .. " ([^\n]*)")
      assert.equal(assignable, line:find("can be assigned", 1, true) ~= nil, name)
    end
  end)

  it("names what the module has", function()
    local named = class "ipq"
    for name in text:gmatch "function ipq%.([%w_]+)" do named[name] = true end
    local has = { queue_num = true } -- nil where there is no queue
    for name in pairs(ipq) do has[name] = true end
    assert.same(has, named)
  end)

  it("names what the test kit has, its packets, and its assertions", function()
    local kit = read "bindings/types/ipq/test.lua"
    local named, has = {}, {}
    for name in kit:gmatch "function test%.([%w_]+)" do named[name] = true end
    for name in pairs(require "ipq.test") do has[name] = true end
    assert.same(has, named)
    for name in kit:gmatch "function Packet:([%w_]+)" do assert.is_function(require "ipq.test".tcp {}[name]) end
    local assertions = require "luassert.namespaces".assertion
    local seen = 0
    for name in kit:gmatch "function assertions%.([%w_]+)" do
      assert.truthy(assertions[name], name)
      seen = seen + 1
    end
    assert.equal(6, seen)
  end)

  it("names the methods of held packets and of timers", function()
    local held
    source.new { m.simple(1, "x") }:verdicts(function(pkt)
      assert(type(pkt.hold) == "function" and type(pkt.copy) == "function")
      held = pkt:hold()
    end)
    local timer, seen = ipq.after(1, print), 0
    timer:cancel()
    for class_name, object in pairs { Held = held, Timer = timer } do
      for name in text:gmatch("function " .. class_name .. ":([%w_]+)") do
        assert(type(object[name]) == "function")
        seen = seen + 1
      end
    end
    assert.equal(4, seen)
  end)

  it("names what ipq.build has, and the methods of its packets", function()
    local named, has, own = class "ipq.Build", {}, ipq.build.udp()
    for name in pairs(ipq.build) do has[name] = true end
    assert.same(has, named)
    for name in text:gmatch "function OwnPacket:([%w_]+)" do assert.is_function(own[name]) end
  end)

  it("names a counter's methods", function()
    local hits, seen = ipq.counter "hits", 0
    for name in text:gmatch "function Counter:([%w_]+)" do
      assert(type(hits[name]) == "function")
      seen = seen + 1
    end
    assert.equal(3, seen)
  end)

  it("names a netset's methods", function()
    local set, seen = ipq.netset {}, 0
    for name in text:gmatch "function Netset:([%w_]+)" do
      assert(type(set[name]) == "function")
      seen = seen + 1
    end
    assert.equal(3, seen)
  end)

  it("names a shared table's methods", function()
    local t, seen = ipq.shared "types", 0
    for name in text:gmatch "function Shared:([%w_]+)" do
      assert(type(t[name]) == "function")
      seen = seen + 1
    end
    assert.equal(9 * 3 + 2, seen)
  end)

  it("names a Buffer's methods", function()
    local seen = 0
    source.new { m.simple(1, "x") }:verdicts(function(pkt)
      for name in text:gmatch "function Buffer:([%w_]+)" do
        assert(type(pkt.payload[name]) == "function")
        seen = seen + 1
      end
    end)
    assert.equal(15, seen)
  end)
end)
