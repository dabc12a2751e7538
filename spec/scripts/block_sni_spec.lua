-- scripts/block_sni.lua: TLS is reset and QUIC is dropped where a client asks for a name of a list.
local capture = require "spec.support.capture"
local document = require "spec.support.document"
local h = require "spec.support.hello"
local netns = require "spec.support.netns"
local q = require "spec.support.quic"
local random = require("spec.support.rewrite").random
local script = require "ipq.engine.script"
local t = require "ipq.test"

local PATH = "scripts/block_sni.lua"
local BLOCKED = { names = "blocked.example,other.test" }

local function with(more)
  local args = { names = BLOCKED.names }
  for key, value in pairs(more or {}) do args[key] = value end
  return (t.load(PATH, args))
end

--- What comes of a connection in which a client says that.
local function connect(filter, says, options)
  options = options or {}
  options.client, options.server, options.dport = says, options.server or "answer", options.dport or 443
  local result = t.connection(filter, options)
  assert.same({}, result.faults)
  return result
end

local function is_free(result, says)
  assert.is_false(result.is_reset)
  assert.equal(says, result.server)
  assert.equal("answer", result.client)
end

local function is_blocked(result)
  assert.is_true(result.is_reset)
  assert.equal("", result.server)
end

local function pieces(text, size)
  local list = {}
  for at = 1, #text, size do list[#list + 1] = text:sub(at, at + size - 1) end
  return list
end

describe(PATH .. ", TLS", function()
  for _, name in ipairs { "blocked.example", "www.blocked.example", "a.b.BLOCKED.example", "other.test" } do
    it("resets who asks for " .. name, function()
      local result = connect(with(), h.client(name))
      is_blocked(result)
      assert.same({ ("info: 192.0.2.1 asks for %s: blocked"):format(name:lower()) }, result.log)
    end)
  end

  for _, name in ipairs { "free.example", "example", "notblocked.example", "blocked.example.net", "test" } do
    it("lets go on who asks for " .. name, function()
      local result = connect(with(), h.client(name))
      is_free(result, h.client(name))
      assert.same({}, result.log)
    end)
  end

  it("does so over IPv6, and at the ports that it is told", function()
    local f = with { port = "443,8443" }
    is_blocked(connect(f, h.client "blocked.example", { saddr = "2001:db8::1", daddr = "2001:db8::2" }))
    is_blocked(connect(f, h.client "blocked.example", { dport = 8443 }))
    is_free(connect(f, h.client "blocked.example", { dport = 80 }), h.client "blocked.example")
  end)

  it("reads a hello over two segments and more, whatever their order", function()
    for _, size in ipairs { 1, 100, 1400 } do
      is_blocked(connect(with(), pieces(h.client("blocked.example", 1800), size)))
      is_free(connect(with(), pieces(h.client("free.example", 1800), size)), h.client("free.example", 1800))
    end
    for seed = 1, 20 do
      is_blocked(connect(with(), pieces(h.client("blocked.example", 1800), 1000), { seed = seed, loss = 0.1,
        order = 0.4 }))
    end
  end)

  it("tells of ECH, and goes by the outer name", function()
    local function hello(name) return h.records(h.message { extensions = { h.sni(name), h.ech() } }) end
    local result = connect(with(), hello "free.example")
    is_free(result, hello "free.example")
    assert.same({ "info: 192.0.2.1 hides a name behind free.example (ECH)" }, result.log)
    is_blocked(connect(with(), hello "blocked.example"))
  end)

  local unreadable = {
    ["not TLS"] = "GET / HTTP/1.1\r\n\r\n",
    ["server_name has several names"] = h.records(h.message { extensions = {
      { 0, "\0\12\0\0\3a.b\0\0\3c.d" } } }),
    ["malformed ClientHello: an extension comes twice"] = h.records(h.message { extensions = { h.sni "a.b",
      h.sni "blocked.example" } }),
  }
  for why, says in pairs(unreadable) do
    it("lets pass what cannot be read, or resets it: " .. why, function()
      local result = connect(with(), says)
      is_free(result, says)
      assert.same({ "info: 192.0.2.1 cannot be read: " .. why }, result.log)
      is_blocked(connect(with { unread = "reset" }, says))
    end)
  end

  it("lets pass what says no name, also where the unread is reset", function()
    local says = h.records(h.message {})
    is_free(connect(with { unread = "reset" }, says), says)
  end)
end)

describe(PATH .. ", QUIC", function()
  local r = random(3)

  local function packet(fields, payload)
    return t.udp { saddr = fields.saddr or "192.0.2.1", daddr = fields.daddr or "192.0.2.2", payload = payload,
      sport = fields.sport or 5000, dport = fields.dport or 443 }
  end

  --- The datagrams of a client that asks for a name, each of so many bytes of the hello.
  local function datagrams(name, size, version)
    local id, list = r.bytes(8), {}
    for i, frame in ipairs(q.frames(h.client(name, 1800):sub(6), size)) do
      list[i] = q.initial { dcid = id, number = i, frames = frame, version = version, size = 1200 }
    end
    return list
  end

  for _, version in ipairs { q.V1, q.V2 } do
    for _, addresses in ipairs { {}, { saddr = "2001:db8::1", daddr = "2001:db8::2" } } do
      local from = addresses.saddr or "192.0.2.1"
      it(("drops what asks for a name of the list, and all that follows: version %x, %s"):format(version, from),
        function()
        local f = with()
        local first, second = unpack(datagrams("www.blocked.example", 1000, version))
        addresses.sport = r.number(1024, 60000)
        assert.verdict("accept", f, packet(addresses, first))
        assert.verdict("drop", f, packet(addresses, second))
        assert.verdict("drop", f, packet(addresses, first))
        for _, datagram in ipairs(datagrams("free.example", 1000, version)) do
          assert.verdict("accept", f, packet(addresses, datagram))
        end
      end)
    end
  end

  it("does so in whatever order the hello comes", function()
    local f = with()
    local first, second = unpack(datagrams("blocked.example", 1000))
    assert.verdict("accept", f, packet({ sport = 7001 }, second))
    assert.verdict("drop", f, packet({ sport = 7001 }, first))
  end)

  it("lets pass what is behind the hello, and no QUIC, and other ports", function()
    local f = with { unread = "reset" }
    assert.verdict("accept", f, packet({}, "\64" .. ("x"):rep(100)))
    assert.verdict("accept", f, packet({}, q.other { type = "handshake", dcid = "8 bytes." }))
    assert.verdict("accept", f, packet({}, ""))
    local all = q.initial { dcid = r.bytes(8), frames = q.crypto(0, h.client "blocked.example":sub(6)) }
    assert.verdict("accept", f, packet({ dport = 53 }, all))
    assert.verdict("drop", f, packet({ dport = 443 }, all))
    assert.verdict("accept", f, t.icmp {})
  end)

  it("lets pass what cannot be read, or drops it", function()
    local bad = q.initial { dcid = r.bytes(8), frames = "\30" }
    assert.verdict("accept", with(), packet({}, bad))
    assert.verdict("drop", with { unread = "reset" }, packet({}, bad))
  end)
end)

describe(PATH .. ", a capture", function()
  --- A capture of a connection of TLS, whose hello's second half comes first, and of one of QUIC.
  local function write(path, name)
    local frames = {}
    local function add(packet) frames[#frames + 1] = { packet.bytes, sec = 1700000000, sub = #frames * 1000 } end
    local function say(fields)
      local is_answer = fields.syn and fields.ack
      fields.saddr, fields.daddr = is_answer and "192.0.2.2" or "192.0.2.1", is_answer and "192.0.2.1" or "192.0.2.2"
      fields.sport, fields.dport = is_answer and 443 or 5000, is_answer and 5000 or 443
      add(t.tcp(fields))
    end
    local hello = h.client(name, 1800)
    say { syn = true, sequence = 100 }
    say { syn = true, ack = true, sequence = 500, ackseq = 101 }
    say { ack = true, sequence = 101, ackseq = 501 }
    say { ack = true, sequence = 1101, ackseq = 501, payload = hello:sub(1001) }
    say { ack = true, sequence = 101, ackseq = 501, payload = hello:sub(1, 1000) }
    for i, frame in ipairs(q.frames(hello:sub(6), 1000)) do
      add(t.udp { saddr = "192.0.2.1", daddr = "192.0.2.2", sport = 6000, dport = 443,
        payload = q.initial { number = i, frames = frame, size = 1200 } })
    end
    capture.write(path, frames, { link = capture.RAW })
  end

  it("is judged as live packets are", function()
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    -- The whole hello of TLS, and what completes that of QUIC.
    for name, dropped in pairs { ["www.blocked.example"] = 3, ["free.example"] = 0 } do
      write(path, name)
      local output, status = netns.shell(("LD_PRELOAD= ASAN_OPTIONS=detect_leaks=0 timeout 100 %s -r %s %s names=%s")
        :format(netns.program, path, PATH, BLOCKED.names))
      assert.equal(0, status, output)
      assert.equal(tostring(dropped), output:match "dropped%s+(%d+)\n")
      local _, told = output:gsub("192.0.2.1 asks for www.blocked.example: blocked", "")
      assert.equal(dropped > 0 and 2 or 0, told)
    end
  end)
end)

describe(PATH .. ", its arguments", function()
  local function load(...) return script.load(PATH, { ... }) end

  it("are names, or a file of them, with comments and empty lines", function()
    local path = document.temporary "# blocked\n\n Blocked.Example  # this one\nother.test\n"
    finally(function() os.remove(path) end)
    is_blocked(connect(t.load(PATH, { file = path }), h.client "www.blocked.example"))
    is_blocked(connect(t.load(PATH, { file = path }), h.client "other.test"))
    is_free(connect(t.load(PATH, { file = path }), h.client "free.example"), h.client "free.example")
  end)

  it("are told what is wrong with them", function()
    for argument, why in pairs { ["names="] = "which names are blocked%?",
      ["names=a b/c"] = '"a b/c": not a domain name', ["names=a..b"] = '"a..b": not a domain name',
      ["file=/nonexistent"] = "No such file", ["name=a.b"] = "did you mean 'names='" } do
      local loaded, message = load(argument)
      assert.is_nil(loaded, argument)
      assert.matches(why, message)
    end
    for argument, why in pairs { ["port=x"] = "takes ports", ["port=0"] = "takes ports",
      ["unread=drop"] = "unread must be pass or reset" } do
      local loaded, message = load("names=a.b", argument)
      assert.is_nil(loaded, argument)
      assert.matches(why, message)
    end
  end)
end)
