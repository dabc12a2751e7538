-- The filters in scripts/ on packets in memory. What they do live is in spec/kernel.
local ipq = require "ipq"
local m = require "spec.support.message"
local packets = require "spec.support.packet"
local script = require "ipq.engine.script"
local source = require "spec.support.source"

local A, D = ipq.ACCEPT, ipq.DROP

local function load(name, ...) return assert(script.load("scripts/" .. name .. ".lua", { ... })) end

local ip, ip6, tcp, udp = packets.ip, packets.ip6, packets.tcp, packets.udp

local id = 0
local function message(packet, more)
  id = id + 1
  local v6 = packet:byte(1) and packet:byte(1) >= 0x60
  return m.packet(m.hdr(id, v6 and 0x86dd or 0x800) .. (more or "") .. m.attr(m.PAYLOAD, packet),
    { family = v6 and 10 or 2 })
end

local request = "\8\0\0\0\0\1\0\5" .. ("x"):rep(56)
local answer = "\0" .. request:sub(2)
local request6 = "\128" .. request:sub(2)

--- Calls work() with what it prints caught; gives the lines.
local function printed(work)
  local lines = {}
  local print_before = print
  _G.print = function(line) lines[#lines + 1] = line end -- luacheck: ignore 122
  local ok, err = pcall(work)
  _G.print = print_before -- luacheck: ignore 122
  assert(ok, err)
  return lines
end

-- What a script does not load without.
local arguments = {
  ["scripts/block_sni.lua"] = { "names=a.b" },
  ["scripts/blocklist.lua"] = { "file=/dev/null" }, ["scripts/dns_sinkhole.lua"] = { "list=/dev/null" },
  ["scripts/dns_rewrite.lua"] = { "name=example.org", "A=192.0.2.1" }, ["scripts/clamp_mss.lua"] = { "mtu=1400" },
  ["scripts/nat.lua"] = { "inside=0.0.0.0/1", "outside=128.0.0.0/1", "inside6=2000::/3", "outside6=e000::/3" },
  ["scripts/port_knock.lua"] = { "knock=7000,8000" }, ["scripts/rate_limit.lua"] = { "rate=10" },
  ["scripts/transparent_tarpit.lua"] = { "used=22" },
}

describe("every filter in scripts/", function()
  -- Timers that a filter makes are not for the loops of other specs.
  local timer, heap = require "ipq.engine.timer", nil
  before_each(function() heap, timer.current = timer.current, timer.new() end)
  after_each(function() timer.current = heap end)

  local pipe = io.popen "ls scripts/*.lua"
  for path in pipe:lines() do
    it("loads, and survives any packet: " .. path, function()
      local s = assert(script.load(path, arguments[path]))
      local samples = { "", "\69", "\96", ("\0"):rep(20), ("\255"):rep(100), ip(1, ""), ip(1, "\8"),
        ip(17, "x"), ip6(58, ""), ip6(58, "\128"), ip(1, request, { options = ("\1"):rep(40) }), ("\79"):rep(20),
        ip(17, udp "x"), ip(17, udp(("\255"):rep(40))), ip(17, udp(("\0"):rep(40))), ip6(6, tcp "x"), ip(6, tcp ""),
        ip(17, udp "x", { fragment = 1 }), ip(17, udp(("\0"):rep(5) .. "\1" .. ("\0"):rep(6) .. "\63")) }
      if s.flow then
        -- The kit has a table of flows.
        local t = require "ipq.test"
        local given = {}
        for _, word in ipairs(arguments[path] or {}) do given[word:match "^[^=]+"] = word:match "=(.*)" end
        local f = t.load(path, given)
        for _, sample in ipairs(samples) do assert.not_equal("error", t.run(f, t.packet(sample)).verdict) end
        return
      end
      local messages = {}
      for _, sample in ipairs(samples) do messages[#messages + 1] = message(sample) end
      local src = source.new(messages)
      src:verdicts(s.filter)
      assert.equal(0, tonumber(src.batch.counters.errors))
    end)
  end
  pipe:close()
end)

describe("scripts/accept.lua", function()
  it("accepts everything", function()
    local src = source.new { message(ip(1, request)), message "" }
    src.batch.default_verdict = D
    assert.same({ A, A }, src:verdicts(load "accept".filter))
  end)
end)

describe("scripts/drop_icmp.lua", function()
  it("drops echo requests of both families, with options too, and nothing else", function()
    local src = source.new { message(ip(1, request)), message(ip(1, answer)), message(ip6(58, request6)),
      message(ip6(58, answer)), message(ip(17, udp(request))), message(ip(1, request, { options = "\1\1\1\0" })) }
    assert.same({ D, A, D, A, A, D }, src:verdicts(load "drop_icmp".filter))
  end)

  it("lets those of at most max bytes through, by their length on the wire", function()
    local src = source.new { message(ip(1, request)), message(ip(1, request .. "x")),
      message(ip(1, request), m.attr(m.CAP_LEN, m.be32(1500))) }
    assert.same({ A, D, D }, src:verdicts(load("drop_icmp", "max=84").filter))
  end)

  it("drops those that fragments make, however small these are, and what may be one", function()
    local t = require "ipq.test"
    local f = t.load("scripts/drop_icmp.lua", { max = 84 })
    for _, build in ipairs { t.icmp, t.icmpv6 } do
      local pieces = t.fragments(build { payload = ("x"):rep(200) }, 72)
      assert.is_true(pieces[1].len <= 84)
      assert.verdict("drop", f, pieces[1])
      assert.verdict("drop", f, build { payload = "x", data_len = 44 - 20 })
    end
    assert.unchanged(f, t.fragments(t.udp { payload = ("x"):rep(200) }, 80)[1])
  end)

  it("says what it does, if asked", function()
    assert.same({ "ping of 84 bytes, sequence 5: accept", "ping of 85 bytes, sequence 5: drop" }, printed(function()
      source.new { message(ip(1, request)), message(ip(1, request .. "x")) }
        :verdicts(load("drop_icmp", "max=84", "verbose=yes").filter)
    end))
  end)

  it("does not load with a max that is no number", function()
    local s, message_ = script.load("scripts/drop_icmp.lua", { "max=many" })
    assert.is_nil(s)
    assert.matches("max=many: the argument max takes a number\n", message_)
  end)
end)

describe("scripts/count.lua", function()
  it("counts packets and bytes by hook and protocol, and prints them as JSON", function()
    local s = load "count"
    source.new { message(ip(6, "12345")), message(ip(6, "")), message(ip6(17, "1")), message(ip(200, "")), message "",
      m.packet(m.hdr(9, 0x800, 1) .. m.attr(m.PAYLOAD, ip(1, ""))) }:verdicts(s.filter)
    local lines = printed(s.stop)
    assert.same({
      output = { tcp = { packets = 2, bytes = 45 }, udp = { packets = 1, bytes = 41 },
        ["protocol 200"] = { packets = 1, bytes = 20 }, other = { packets = 1, bytes = 0 } },
      input = { icmp = { packets = 1, bytes = 20 } },
    }, require "cjson".decode(lines[1]))
  end)
end)

describe("every filter in scripts/ that has arguments", function()
  local pipe = io.popen "grep -l ipq.args scripts/*.lua scripts/template/*.lua"
  for path in pipe:lines() do
    it("takes those that its comment and its messages name, and no other: " .. path, function()
      local file = assert(io.open(path))
      local text = file:read "*a"
      file:close()
      local takes = assert(text:match "\nipq%.takes( %b{})\n")
      local named = {}
      -- Not what is in the braces of one.
      for name in takes:gsub("^ {(.*)}$", "%1"):gsub("%b{}", ""):gmatch "([%w_]+) =" do named[name] = true end
      for name in text:gmatch "%f[%w]args%.([%w_]+)" do assert.is_true(named[name], name) end
      local example = text:match "%-%-   ipq%-lua ([^\n]*%.lua[^\n]*)"
      for name in example:gmatch " ([%w_]+)=" do assert.is_true(named[name], name) end
      local s, message_ = script.load(path, { "nonsense=1" })
      assert.is_nil(s)
      assert.matches("^%S+%.lua:%d+: 'nonsense=1' is no argument of this script", message_)
    end)
  end
  pipe:close()
end)

describe("scripts/drop_port.lua", function()
  local messages = { message(ip(6, tcp("", { dport = 23 }))), message(ip6(17, udp("", { dport = 23 }))),
    message(ip(6, tcp("", { dport = 2323 }))), message(ip(6, tcp("", { sport = 23, dport = 9 }))),
    message(ip(132, ("\0\23"):rep(6))), message(ip(1, request)) }

  it("drops telnet, if nothing is said", function()
    assert.same({ D, D, A, A, A, A }, source.new(messages):verdicts(load "drop_port".filter))
  end)

  it("drops several ports, of one protocol if asked", function()
    assert.same({ D, A, D, A, A, A },
      source.new(messages):verdicts(load("drop_port", "ports=23,2323", "protocol=tcp").filter))
  end)

  it("drops what hides its port: a first fragment that is too short, headers that the copy does not hold", function()
    local t = require "ipq.test"
    local f = t.load "scripts/drop_port.lua"
    for _, address in ipairs { "192.0.2.1", "2001:db8::1" } do
      local telnet = t.tcp { saddr = address, dport = 23, payload = ("x"):rep(40) }
      local head = #telnet.bytes - 60
      assert.verdict("drop", f, t.fragments(telnet, head + (address:find ":" and 16 or 8))[1])
      assert.verdict("drop", f, t.fragments(telnet, head + 40)[1])
      assert.unchanged(f, t.fragments(t.tcp { saddr = address, dport = 22, payload = ("x"):rep(40) }, head + 40)[1])
    end
    local options = { nexthdr = 60, data = "\13" .. ("\0"):rep(109) }
    assert.verdict("drop", f, t.tcp { ip6 = {}, dport = 22, exthdrs = { options } })
  end)

  it("does not load with ports that are none", function()
    for _, argument in ipairs { "ports=x", "ports=70000", "ports=1.5", "protocol=sctp" } do
      assert.is_nil((script.load("scripts/drop_port.lua", { argument })))
    end
  end)
end)

describe("scripts/set_ttl.lua", function()
  it("sets TTL and hop limit, and touches no packet that has it or must keep its own", function()
    local src = source.new { message(ip(17, udp "x", { ttl = 3 })), message(ip6(17, udp "x", { hoplimit = 3 })),
      message(ip(17, udp "x", { ttl = 64 })), message "",
      message(ip(2, "\17\0\0\0\0\0\0\0", { ttl = 1 })),
      message(ip6(58, "\135" .. ("\0"):rep(23), { hoplimit = 255 })) }
    assert.same({ A, A, A, A, A, A }, src:verdicts(load "set_ttl".filter))
    local packet = src.batch.packets
    assert.same({ 64, 64 }, { packet[0].data[8], packet[1].data[7] })
    local changed = {}
    for i = 0, 5 do changed[i + 1] = packet[i].set end
    assert.same({ 4, 4, 0, 0, 0, 0 }, changed)
  end)
end)

describe("scripts/clamp_mss.lua", function()
  local t = require "ipq.test"

  -- SYNs of both versions with that MSS between other options; nil: with none.
  local function syns(mss, more)
    local list = {}
    for i, address in ipairs { "192.0.2.1", "2001:db8::1" } do
      local fields = { saddr = address, syn = true, payload = "hello",
        options = { { kind = 4 }, { kind = 1 }, { kind = 1 }, mss and { kind = 2, data = m.be16(mss) } } }
      for key, value in pairs(more or {}) do fields[key] = value end
      list[i] = t.tcp(fields)
    end
    return unpack(list)
  end

  --- Whether the filter gives both packets these MSS, nil where they keep what they have, and changes nothing else.
  local function gives(filter, mss4, mss6, first, second)
    for _, case in ipairs { { first, mss4 }, { second, mss6 } } do
      if not case[2] then
        assert.unchanged(filter, case[1])
      else
        local expected = case[1]:with { options = { { kind = 4 }, { kind = 1 }, { kind = 1 },
          { kind = 2, data = m.be16(case[2]) } } }
        assert.valid_checksums(assert.rewritten(expected, filter, case[1]))
      end
    end
  end

  it("takes an MSS down to what the path's MTU carries", function()
    local f = t.load("scripts/clamp_mss.lua", { mtu = 1420 })
    gives(f, 1380, 1360, syns(1460))
    gives(f, nil, 1360, syns(1380))
    gives(f, nil, nil, syns(1360))
    gives(f, 1380, 1360, syns(1460, { ack = true }))
  end)

  it("takes it down to a given size", function()
    gives(t.load("scripts/clamp_mss.lua", { mss = 1000 }), 1000, 1000, syns(1460))
    gives(t.load("scripts/clamp_mss.lua", { mss = 1000 }), nil, nil, syns(999))
  end)

  it("adds one where none stands for more", function()
    local f = t.load("scripts/clamp_mss.lua", { mss = 1000 })
    gives(f, nil, 1000, syns())
    gives(t.load("scripts/clamp_mss.lua", { mss = 500 }), 500, 500, syns())
    assert.rewritten({ options = { { kind = 2, data = m.be16(1000) } } }, f,
      t.tcp { syn = true, saddr = "2001:db8::1", options = "\2\3\5\0" })
  end)

  it("touches nothing but SYNs", function()
    local f = t.load("scripts/clamp_mss.lua", { mss = 100 })
    gives(f, nil, nil, syns(1460, { syn = false, ack = true }))
    assert.unchanged(f, t.udp { payload = "hello" })
    assert.unchanged(f, t.icmp {})
  end)

  it("does not load with sizes that are none", function()
    for _, list in ipairs { {}, { "mtu=x" }, { "mtu=575" }, { "mtu=65536" }, { "mss=63" }, { "mss=1.5" },
      { "mss=1000", "mtu=1400" } } do
      assert.is_nil((script.load("scripts/clamp_mss.lua", list)))
    end
  end)
end)

describe("scripts/bypass_flow.lua", function()
  local syn, ack = 2, 16

  --- Whether each of the packets { sport, flags, payload } has its flow pass by; their verdicts.
  local function judge(list, ...)
    local messages = {}
    for i, p in ipairs(list) do
      messages[i] = message(ip(6, tcp(p[3], { sport = p[1], flags = p[2] })))
    end
    local src = source.new(messages)
    local verdicts, bypassed = src:verdicts(load("bypass_flow", ...).filter), {}
    for i = 0, #list - 1 do bypassed[i + 1] = src.batch.packets[i].mark ~= 0 end
    return bypassed, verdicts
  end

  it("has a flow pass by once so many bytes of it were seen", function()
    assert.same({ false, false, false, false, true }, (judge({ { 1, syn, "" }, { 1, ack, "" }, { 1, ack, "1234" },
      { 2, ack, "1234" }, { 1, ack, "5678" } }, "bytes=8")))
  end)

  it("begins anew where a flow does", function()
    assert.same({ false, false, false }, (judge({ { 1, ack, "1234" }, { 1, syn, "" }, { 1, ack, "1234" } },
      "bytes=8")))
  end)

  it("drops what has the word, which makes no flow pass by", function()
    local bypassed, verdicts = judge({ { 1, ack, "secret" }, { 1, ack, "secret" }, { 1, ack, "public" } },
      "bytes=6", "deny=secret")
    assert.same({ false, false, true }, bypassed)
    assert.same({ D, D, A }, verdicts)
  end)

  it("drops what it cannot look for the word in, where there is one", function()
    local t = require "ipq.test"
    local deny = t.load("scripts/bypass_flow.lua", { deny = "secret" })
    local fragment = t.fragments(t.tcp { payload = ("x"):rep(40) .. "secret" }, 64)[1]
    local short = t.tcp { payload = "public", data_len = 30 }
    assert.verdict("drop", deny, fragment)
    assert.verdict("drop", deny, short)
    assert.verdict("accept", deny, t.fragments(t.udp { payload = ("x"):rep(40) }, 48)[1])
    local any = t.load "scripts/bypass_flow.lua"
    assert.verdict("accept", any, fragment)
    assert.verdict("accept", any, short)
  end)

  it("leaves other protocols alone", function()
    local src = source.new { message(ip(17, udp(("x"):rep(5000)))) }
    assert.same({ A }, src:verdicts(load "bypass_flow".filter))
    assert.equal(0, src.batch.packets[0].set)
  end)

  it("forgets flows when there are too many", function()
    local filter, messages, marks = load("bypass_flow", "bytes=2").filter, {}, {}
    for i = 1, 64 * 400 do
      local sport = i < 64 * 400 and i or 1
      messages[i] = message(ip(6, tcp("x", { sport = sport, flags = ack })))
    end
    source.new(messages):plan({ 64 }, 400):judge(function(pkt)
      filter(pkt)
      marks[pkt.sport] = pkt.mark
    end)()
    assert.equal(64 * 400 - 1, #marks)
    assert.equal(0, marks[1])
  end)

  it("does not load with bytes that are no number", function()
    assert.is_nil((script.load("scripts/bypass_flow.lua", { "bytes=many" })))
  end)
end)

describe("scripts/redirect_port.lua", function()
  it("changes the port there and back", function()
    local src = source.new { message(ip(6, tcp("x", { dport = 80 }))),
      message(ip(6, tcp("x", { sport = 8080, dport = 1024 }))),
      message(ip(17, udp("x", { dport = 81 }))) }
    local ports = {}
    local filter = load "redirect_port".filter
    src:verdicts(function(pkt)
      local verdict = filter(pkt)
      ports[#ports + 1] = pkt.sport .. " " .. pkt.dport
      return verdict
    end)
    assert.same({ "1024 8080", "80 1024", "1024 81" }, ports)
  end)
end)

describe("scripts/delay.lua", function()
  local t = require "ipq.test"

  it("lets packets go as they are, when their time has come", function()
    local f = t.load("scripts/delay.lua", { ms = 20 })
    local p = t.udp { payload = "hello" }
    local first = t.run(f, p)
    t.advance(0.015)
    local second = t.run(f, p)
    assert.verdict("hold", first)
    t.advance(0.005)
    assert.same({ "accept", "hold" }, { first.verdict, second.verdict })
    t.advance(0.015)
    assert.verdict("accept", second)
    assert.equal(p, second.packet)
  end)

  it("spreads them over twice the jitter", function()
    local f = t.load("scripts/delay.lua", { ms = 20, jitter = 10 })
    local results = {}
    for i = 1, 200 do results[i] = t.run(f, t.udp {}) end
    local function gone()
      local count = 0
      for _, r in ipairs(results) do if r.verdict == "accept" then count = count + 1 end end
      return count
    end
    t.advance(0.0099)
    assert.equal(0, gone())
    t.advance(0.01)
    assert.is_true(gone() > 50 and gone() < 150)
    t.advance(0.0102)
    assert.equal(200, gone())
  end)

  it("does not load with times that are none", function()
    for _, argument in ipairs { "ms=x", "ms=-1", "ms=60001", "jitter=x" } do
      assert.is_nil((script.load("scripts/delay.lua", { argument })))
    end
  end)
end)

describe("scripts/dns_log.lua", function()
  local function question(name, kind, flags)
    return m.be16(7) .. (flags or "\1\0") .. "\0\1\0\0\0\0\0\0" .. name .. m.be16(kind) .. m.be16(1)
  end
  local www = "\3www\7example\3org\0"

  it("prints questions, and whatever they hold in letters that are safe", function()
    local messages = {}
    for _, payload in ipairs { question(www, 28), question("\0", 2), question("\2a\27\1.\0", 999),
      question(www, 1, "\129\0"), question("\64x\0", 1), www, question("\3ww", 1) } do
      messages[#messages + 1] = message(ip(17, udp(payload)))
    end
    messages[#messages + 1] = message(ip(17, udp(question(www, 1), { dport = 54 })))
    local lines = printed(function() source.new(messages):verdicts(load "dns_log".filter) end)
    assert.same({ "10.0.0.1 asks 10.0.0.2 for AAAA www.example.org", "10.0.0.1 asks 10.0.0.2 for NS .",
      "10.0.0.1 asks 10.0.0.2 for TYPE999 a\\027.\\046" }, lines)
  end)
end)
