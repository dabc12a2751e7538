-- scripts/flow_log.lua: a line of JSON for each connection at its end.
local cjson = require "cjson"
local hello = require "spec.support.hello"
local quic = require "spec.support.quic"
local script = require "ipq.engine.script"
local t = require "ipq.test"

local PATH = "scripts/flow_log.lua"
local GET = "GET / HTTP/1.1\r\nHost: www.Example.org:8080\r\n\r\n"

--- The lines of one connection of these segments, client's and server's ("<" before), which then is silent for long.
local function lines_of(segments, arguments, address)
  local f = t.load(PATH, arguments)
  local server = address:find ":" and "2001:db8::2" or "192.0.2.2"
  for i, payload in ipairs(segments) do
    local is_reply = payload:sub(1, 1) == "<"
    local fields = { saddr = is_reply and server or address, daddr = is_reply and address or server,
      sport = is_reply and 80 or 40000, dport = is_reply and 40000 or 80, syn = i == 1, ack = i > 1, payload = payload }
    assert.unchanged(f, t.tcp(fields))
  end
  local _, events = t.advance(4000)
  local found = {}
  for i, event in ipairs(events) do found[i] = type(event) == "string" and cjson.decode(event) or event end
  return found
end

describe(PATH, function()
  for _, address in ipairs { "192.0.2.1", "2001:db8::1" } do
    it("tells who, how much, how long, and the name: " .. address, function()
      local lines = lines_of({ "", "<", "", GET:sub(1, 20), GET:sub(21), "<HTTP/1.1 200 OK\r\n\r\n" }, {}, address)
      assert.equal(1, #lines)
      local one = lines[1]
      assert.same({ address, 40000, 80, 6, "timeout", "www.example.org" },
        { one.saddr, one.sport, one.dport, one.protocol, one.reason, one.name })
      assert.same({ 4, 2, 0 }, { one.original.packets, one.reply.packets, one.duration })
      assert.is_string(one.state)
      assert.is_true(one.original.bytes > 160)
    end)
  end

  --- The name of the connection that these packets begin.
  local function name_of(packets, arguments)
    local f = t.load(PATH, arguments)
    finally(function() f:stop() end)
    for _, pkt in ipairs(packets) do assert.unchanged(f, pkt) end
    local _, events = t.advance(4000)
    local event = events[1]
    return (type(event) == "string" and cjson.decode(event) or event).name
  end

  local function tls(said)
    local seq, packets = 1, {}
    for i, payload in ipairs(said) do
      packets[i] = t.tcp { sport = 40000, dport = 443, sequence = seq, ack = true, payload = payload }
      seq = seq + #payload
    end
    return packets
  end

  it("has the name of TLS, of QUIC and of DNS", function()
    local records = hello.client("www.example.org", 1800)
    assert.equal("www.example.org", name_of(tls { records:sub(1, 1400), records:sub(1401) }, {}))
    assert.is_nil(name_of(tls { records:sub(1, 1400) }, {}))
    assert.is_nil(name_of(tls { records }, { tls = "8443" }))
    local initial = quic.initial { frames = quic.crypto(0, hello.client("quic.example.org"):sub(6)), size = 1200 }
    assert.equal("quic.example.org", name_of({ t.udp { sport = 40000, dport = 443, payload = initial } }, {}))
    assert.equal("dns.example.org", name_of({ t.dns { name = "dns.Example.org" } }, {}))
  end)

  it("has no name where none is told, or on another port", function()
    assert.is_nil(lines_of({ "", "<", "SSH-2.0\r\n", GET }, {}, "192.0.2.1")[1].name)
    assert.is_nil(lines_of({ "", "<", GET }, { http = "8080" }, "192.0.2.1")[1].name)
    assert.is_nil(lines_of({ "", "<", ("GET /" .. ("x"):rep(1000)):rep(1), "<" }, {}, "192.0.2.1")[1].name)
  end)

  it("does not load with ports that are none", function()
    for _, argument in ipairs { "http=x", "http=0", "http=80,", "tls=x", "quic=65536", "dns=" } do
      local loaded, message = script.load(PATH, { argument })
      assert.is_nil(loaded, argument)
      assert.matches(argument:match "%a+" .. " takes ports", message)
    end
  end)
end)
