local document = require "spec.support.document"
local ffi = require "ffi"
local h = require "spec.support.hello"
local ipq = require "ipq"
local m = require "spec.support.message"
local packets = require "spec.support.packet"
local random = require("spec.support.rewrite").random
local source = require "spec.support.source"
local t = require "ipq.test"
local traces = require "spec.support.traces"
local tshark = require "spec.support.tshark"

local tls = ipq.tls

local function why(bytes)
  local hello, reason = tls.client_hello(bytes)
  assert.is_nil(hello)
  return reason
end

local function of(fields) return h.records(h.message(fields)) end
local function with(...) return of { extensions = { ... } } end

describe("ipq.tls", function()
  it("reads what a client offers, in order, without GREASE", function()
    local hello = tls.client_hello(h.client "WWW.Example.com")
    assert.same({ sni = "www.example.com", ech = false, alpn = { "h2", "http/1.1" }, versions = { 0x0304, 0x0303 },
      ciphers = { 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f }, extensions = { 0, 10, 11, 16, 13, 43, 51 },
      ja3 = hello.ja3, ja4 = hello.ja4 }, hello:copy())
    assert.equal("www.example.com", hello.sni)
    assert.is_nil(hello.sni_error)
    assert.equal("ClientHello for www.example.com", tostring(hello))
  end)

  it("gives the version of the hello itself where the list of versions is not there", function()
    local hello = tls.client_hello(of { version = 0x0302 })
    assert.same({ 0x0302 }, hello.versions)
    assert.is_nil(hello.sni)
    assert.same({}, hello.alpn)
    assert.equal("ClientHello without a name", tostring(hello))
  end)

  it("reads a hello that has no extensions", function()
    local hello = tls.client_hello(of { extensions = false })
    assert.same({}, hello.extensions)
    assert.same({ 0x1301, 0x1302 }, hello.ciphers)
  end)

  it("leaves GREASE out of lists of protocols", function()
    assert.same({ "h2" }, tls.client_hello(with(h.alpn { "\26\26", "h2" })).alpn)
  end)

  it("reads a hello in records of any size, and says where there is more to come", function()
    local message = h.message { extensions = { h.sni "example.com", h.share(1216) } }
    for _, size in ipairs { 1, 2, 3, 4, 5, 7, 100, 1000, 16384 } do
      local bytes = h.records(message, size)
      assert.equal("example.com", tls.client_hello(bytes).sni)
      assert.equal("example.com", tls.client_hello(bytes .. "GET /").sni)
      for len = 0, #bytes - 1, size < 7 and 37 or 11 do assert.equal("more", why(bytes:sub(1, len))) end
      assert.equal("more", why(bytes:sub(1, -2)))
    end
  end)

  it("reads hellos of up to 64 KiB, and no longer ones", function()
    local function sized(size)
      local o = { extensions = { h.sni "example.com", { 21, "" } } }
      local rest = size - #h.message(o) + 4
      o.extensions[2][2] = ("\0"):rep(math.min(rest, 60000))
      -- What is beyond an extension's length goes into the ciphers.
      if rest > 60000 then
        o.ciphers = {}
        for i = 1, (rest - 60000) / 2 + 2 do o.ciphers[i] = 0x1301 end
      end
      return h.message(o)
    end
    for _, size in ipairs { 1000, 16380, 16381, 65535, 65536 } do
      local message = sized(size - size % 2 + (size % 2 == 1 and size < 60000 and 1 or 0))
      assert.equal("example.com", tls.client_hello(h.records(message)).sni)
    end
    assert.equal("the ClientHello has more than 65536 bytes", why(h.records(sized(65538))))
    assert.equal("the ClientHello has more than 65536 bytes", why "\22\3\1\0\4\1\255\255\255")
  end)

  it("takes no more than the hello of a record that goes on behind it", function()
    local largest = { extensions = { h.sni "example.com", { 21, ("\0"):rep(60000) } }, ciphers = {} }
    for i = 1, 2720 do largest.ciphers[i] = 0x1301 end
    for _, message in ipairs { h.message { extensions = { h.sni "example.com" } }, h.message(largest) } do
      assert.equal("example.com", tls.client_hello(h.records(message .. ("x"):rep(9000))).sni)
    end
  end)

  it("says what is no TLS, or another message, by the first bytes that show it", function()
    for _, bytes in ipairs { "G", "GET / HTTP/1.1\r\n\r\n", "\23\3\3", "\22\2", "\22\3\1\0\0", "\22\3\1\64\1",
      "\128\46\1" } do
      assert.equal("not TLS", why(bytes))
    end
    assert.equal("another message than a ClientHello", why "\22\3\3\0\50\2")
    assert.equal("more", why "\22\3\3\64\0")
    for _, bytes in ipairs { "\23\3\3\0\1x", "\21\3\3\0\2\2\0", "GET /", "\22\3\3\0\0" } do
      assert.equal("the ClientHello is broken off by another record", why(h.client "a.b":sub(1, 4) .. "\9"
        .. h.client "a.b":sub(6, 14) .. bytes))
    end
  end)

  it("tells ECH, and gives the outer name", function()
    local hello = tls.client_hello(with(h.sni "public.example", h.ech()))
    assert.is_true(hello.ech)
    assert.equal("public.example", hello.sni)
    assert.equal("malformed ClientHello: encrypted_client_hello", why(with { 0xfe0d, "" }))
    assert.equal("malformed ClientHello: encrypted_client_hello", why(with { 0xfe0d, "\1" }))
  end)

  local wrong_names = {
    ["the lengths in server_name do not add up"] = { "", "\0", "\0\1\0", "\0\9\0\0\3a.b", "\0\6\0\0\9a.b",
      "\0\6\0\0\3a.bc", "\0\8\0\0\3a.b\0\0" },
    ["server_name has no name"] = { "\0\0", "\0\3\0\0\0", "\0\6\1\0\3a.b" },
    ["server_name has several names"] = { "\0\12\0\0\3a.b\0\0\3c.d", "\0\12\0\0\3a.b\0\0\3a.b" },
    ["the name has more than 253 bytes, or a label of more than 63"] = { h.sni(("a"):rep(64) .. ".b")[2],
      h.sni(("a."):rep(127))[2], h.sni(("a"):rep(60000))[2] },
    ["the name has a byte that is in no name"] = { h.sni("a\0.b")[2], h.sni("a b")[2], h.sni("b\195\188cher.de")[2],
      h.sni("a.b/")[2], h.sni("a@b")[2], h.sni("*.b")[2] },
    ["the name begins or ends with a dot, or has two in a row"] = { h.sni(".")[2], h.sni("a.b.")[2], h.sni(".a")[2],
      h.sni("a..b")[2] },
    ["the name is an address"] = { h.sni("192.0.2.1")[2], h.sni("2001:db8::1")[2], h.sni("1")[2], h.sni("a.0")[2] },
  }
  for reason, all in pairs(wrong_names) do
    it("tells a name of wrong form, and gives none of it: " .. reason, function()
      for _, bytes in ipairs(all) do
        local hello = tls.client_hello(with({ 0, bytes }))
        assert.is_nil(hello.sni)
        assert.equal(reason, hello.sni_error)
      end
    end)
  end

  it("takes names of other types beside the host name for what they are", function()
    assert.equal("a.b", tls.client_hello(with { 0, "\0\11\7\0\2xx\0\0\3a.b" }).sni)
  end)

  local bad = {
    session_id = { of { session = ("s"):rep(33) }, "\22\3\1\0\4\1\0\0\0", "\22\3\1\0\6\1\0\0\2\3\3" },
    cipher_suites = { of { ciphers = {} }, h.records("\1\0\0\38\3\3" .. ("r"):rep(32) .. "\0\0\3abc") },
    compression_methods = { of { compression = "" } },
    extensions = { h.records("\1\0\0\43\3\3" .. ("r"):rep(32) .. "\0\0\2\19\1\1\0\0\9\0"),
      h.records("\1\0\0\46\3\3" .. ("r"):rep(32) .. "\0\0\2\19\1\1\0\0\4\0\5\0\9") },
    ["an extension comes twice"] = { with(h.sni "a.b", h.sni "c.d"), with({ 99, "" }, h.sni "a.b", { 99, "" }) },
    application_layer_protocol_negotiation = { with { 16, "" }, with { 16, "\0\0" }, with { 16, "\0\1\0" },
      with { 16, "\0\3\9h2" }, with { 16, "\0\3\2h2x" } },
    supported_versions = { with { 43, "" }, with { 43, "\0" }, with { 43, "\3\3\4\3" }, with { 43, "\2\3\4\3" } },
    supported_groups = { with { 10, "" }, with { 10, "\0\0" }, with { 10, "\0\1x" }, with { 10, "\0\4\0\29" } },
    ec_point_formats = { with { 11, "" }, with { 11, "\0" }, with { 11, "\2\0" } },
    signature_algorithms = { with { 13, "\0" }, with { 13, "\0\0" }, with { 13, "\0\3abc" } },
  }
  for name, all in pairs(bad) do
    it("refuses what is malformed: " .. name, function()
      for _, bytes in ipairs(all) do assert.equal("malformed ClientHello: " .. name, why(bytes)) end
      assert.equal("a.b", tls.client_hello(with(h.sni "a.b", { 99, "" })).sni)
    end)
  end

  it("takes whatever bytes there are, and what is cut or changed anywhere", function()
    local r = random(5)
    local good = h.client("example.com", 600)
    for _ = 1, 20000 do
      local at = r.number(1, #good)
      local bytes = good:sub(1, at - 1) .. r.bytes(r.number(0, 3)) .. good:sub(at + r.number(0, 3))
      local hello, reason = tls.client_hello(bytes)
      if hello then hello:copy() else assert.is_string(reason) end
    end
    for i = 1, 200 do assert.is_nil((tls.client_hello("\22\3\1" .. r.bytes(i * 300)))) end
    assert.equal("more", why("\22\3\1\64\0\1\0\255\255" .. ("\255"):rep(8000)))
  end)

  it("reads 64 KiB of extensions and of ciphers in time that is linear", function()
    local extensions, ciphers = {}, {}
    for i = 1, 16000 do
      -- Four of them are GREASE.
      extensions[i], ciphers[i] = { i + 100, "" }, 65536 - i
    end
    local start = os.clock()
    assert.equal(16000 - 4, #tls.client_hello(of { extensions = extensions }).extensions)
    local hello = tls.client_hello(of { ciphers = ciphers })
    assert.equal("t12i990000", hello.ja4:sub(1, 10))
    assert.is_true(os.clock() - start < 1)
  end)

  it("has hellos that are good until the next one is read", function()
    local first = tls.client_hello(h.client "a.example")
    local kept = first:copy()
    local second = tls.client_hello(h.client "b.example")
    assert.equal("b.example", second.sni)
    assert.equal("a.example", kept.sni)
    assert.error_matches(function() return first.sni end, "this hello is gone, for another one was read since; "
      .. "hello:copy%(%) gives a table that can be kept$")
    tls.client_hello "x"
    assert.error_matches(function() return second.sni end, "this hello is gone")
  end)

  it("names what a script gets wrong", function()
    local hello = tls.client_hello(h.client "a.example")
    assert.error_matches(function() return hello.cipher end, "a hello has no 'cipher'; did you mean 'ciphers'%?")
    assert.error_matches(function() hello.sni = "x" end, "a hello's fields cannot be assigned")
    assert.error_matches(function() return hello.copy() end, "call it as hello:copy%(%)")
    assert.error_matches(function() tls.client_hello() end, "takes a string, a Buffer or a stream, not nil")
    assert.error_matches(function() tls.client_hello {} end, "takes a string, a Buffer or a stream, not table")
  end)

  it("reads a Buffer: the first segment, also in a SYN", function()
    local f = function(pkt)
      local hello = tls.client_hello(pkt.tcp.payload)
      return hello and hello.sni == "blocked.example" and ipq.DROP or ipq.ACCEPT
    end
    assert.verdict("drop", f, t.tcp { payload = h.client "blocked.example" })
    assert.verdict("drop", f, t.tcp { syn = true, payload = h.client "blocked.example" })
    assert.verdict("accept", f, t.tcp { payload = h.client "free.example" })
    assert.verdict("accept", f, t.tcp { payload = h.client("blocked.example", 1800):sub(1, 1400) })
  end)
end)

describe("a hello's fingerprints", function()
  -- Published with JA4's definition: a Chrome, whose parts are these.
  local chrome = {
    ciphers = { 0x0a0a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c,
      0x009d, 0x002f, 0x0035 },
    extensions = { { 0x1a1a, "" }, { 0x1b, "\2\0\2" }, h.sni "a.b", { 0x33, "" }, h.alpn { "h2", "http/1.1" },
      { 0x4469, "" }, { 0x17, "" }, { 0x2d, "" }, h.signatures { 0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806,
      0x0601 }, { 5, "" }, { 0x23, "" }, { 0x12, "" }, h.versions { 0x2a2a, 0x0304, 0x0303 }, { 0xff01, "\0" },
      h.formats { 0 }, h.groups { 0x3a3a, 29, 23, 24 }, { 0x15, "" } },
  }

  it("are JA4 as published", function()
    assert.equal("t13d1516h2_8daaf6152771_e5627efa2ab1", tls.client_hello(of(chrome)).ja4)
  end)

  it("are the same in another order of ciphers and extensions, but for signature algorithms", function()
    local other = { ciphers = {}, extensions = {} }
    for name, list in pairs(other) do
      for i = 1, #chrome[name] do list[i] = chrome[name][#chrome[name] + 1 - i] end
    end
    assert.equal("t13d1516h2_8daaf6152771_e5627efa2ab1", tls.client_hello(of(other)).ja4)
    other.extensions[#other.extensions + 1] = { 0xbaba, "" }
    assert.equal("t13d1516h2_8daaf6152771_e5627efa2ab1", tls.client_hello(of(other)).ja4)
  end)

  local function ja4(...) return tls.client_hello(with(...)).ja4:sub(1, 10) end

  it("have JA4's first part by versions, name, counts and the first protocol", function()
    assert.equal("t12i020000", ja4())
    assert.equal("t12d020100", ja4({ 0, "" }))
    assert.equal("t13i020100", ja4(h.versions { 0x0303, 0x0304, 0xfafa }))
    assert.equal("t00i020100", ja4(h.versions { 0x7f1c }))
    assert.equal("t10", tls.client_hello(of { version = 0x0301 }).ja4:sub(1, 3))
    assert.equal("ts3", tls.client_hello(of { version = 0x0300 }).ja4:sub(1, 3))
    local expected = { ["h2"] = "h2", ["http/1.1"] = "h1", ["x"] = "xx", ["\171"] = "ab", ["\171\205"] = "ad",
      ["0\171"] = "3b", ["01\171\205"] = "3d", ["0\171\2051"] = "01" }
    for name, text in pairs(expected) do assert.equal(text, ja4(h.alpn { name }):sub(9)) end
    assert.equal("h2", ja4(h.alpn { "\10\10", "h2" }):sub(9))
  end)

  it("have zeros in JA4 for what there is none of, and no signature algorithms where there are none", function()
    assert.equal("t12i010000_000000000000_000000000000", tls.client_hello(of { ciphers = { 0x0a0a } }).ja4
      :gsub("i00", "i01"))
    assert.equal("t12d020200_62ed6f6ca7ad_", tls.client_hello(with(h.sni "a.b", { 0x17, "" })).ja4:sub(1, -13))
  end)

  it("are JA3 of a hello that has nothing but ciphers: 771,4865-4866,,,", function()
    assert.equal(io.popen "printf 771,4865-4866,,, | md5sum":read(32), tls.client_hello(of {}).ja3)
  end)
end)

describe("a stream's hello", function()
  --- What a handler that reads a hello notes, of a connection whose client says that.
  local function noted(says, options)
    options = options or {}
    local path = document.temporary(([[
      local tls = require("ipq").tls
      return { send = true, stream = { port = 443, %s client = function(stream, flow)
        local hello, why = tls.client_hello(stream)
        _G.note(hello and hello.sni or why, stream:peek(1))
      end } }]]):format(options.fields or ""))
    finally(function() os.remove(path) end)
    local seen = {}
    _G.note = function(...) seen[#seen + 1] = { ... } end -- luacheck: ignore 122
    local filter = t.load(path)
    local result = t.connection(filter, { client = says, dport = 443, seed = options.seed, loss = options.loss,
      order = options.order, window = options.window })
    _G.note = nil -- luacheck: ignore 122
    assert.same({}, result.faults)
    assert.same({}, result.log)
    assert.equal(type(says) == "table" and table.concat(says) or says, result.server)
    assert.equal(1, #seen)
    return unpack(seen[1])
  end

  local function pieces(text, size)
    local list = {}
    for at = 1, #text, size do list[#list + 1] = text:sub(at, at + size - 1) end
    return list
  end

  it("is read over any number of segments, and left to the handler", function()
    local long = h.client("example.com", 1800)
    assert.same({ "example.com", "\22" }, { noted(long) })
    for _, size in ipairs { 1, 3, 100, 1400 } do
      assert.same({ "example.com", "\22" }, { noted(pieces(long, size)) })
      assert.same({ "example.com", "\22" }, { noted(pieces(h.records(h.message { extensions = { h.sni "example.com" } },
        3), size)) })
    end
  end)

  it("is read in whatever order its segments come", function()
    for seed = 1, 20 do
      assert.equal("example.com", (noted(pieces(h.client("example.com", 1800), 1000), { seed = seed, loss = 0.1,
        order = 0.3 })))
    end
  end)

  it("is given up for the reason that there is", function()
    assert.equal("not TLS", (noted "GET / HTTP/1.1\r\n\r\n"))
    assert.equal("not TLS", (noted "x"))
    assert.equal("the stream ends within the ClientHello", (noted(h.client "a.b":sub(1, 60))))
    assert.equal("the stream ends within the ClientHello", (noted ""))
    assert.equal("the ClientHello has 1800 bytes or more, and stream.peek is 1000", (noted(h.client("a.b", 1800),
      { fields = "peek = 1000," })))
  end)

  it("of 64 KiB is read where stream.peek has room for it", function()
    local o = { extensions = { h.sni "example.com", { 21, ("\0"):rep(60000) } } }
    assert.equal("example.com", (noted(h.records(h.message(o)), { fields = "peek = 65536, hold = 5," })))
  end)

  it("is for the stream's own handler", function()
    local path = document.temporary [[
      local tls = require("ipq").tls
      return { stream = { port = 443, client = function(stream) _G.note(stream) end } }]]
    finally(function() os.remove(path) end)
    local kept
    _G.note = function(stream) kept = stream end -- luacheck: ignore 122
    t.connection(t.load(path), { client = "x", dport = 443 })
    _G.note = nil -- luacheck: ignore 122
    assert.error_matches(function() tls.client_hello(kept) end,
      "tls.client_hello%(stream%) is for the stream's own handler, while that runs")
  end)
end)

describe("tls.client_hello in a filter", function()
  it("is compiled, and makes no garbage but names that are new", function()
    local packet = packets.ip(6, packets.tcp(h.client("www.example.com", 517)))
    local src = source.new { m.simple(1, packet), m.simple(2, packets.ip(6, packets.tcp "GET /")) }
    local client_hello = tls.client_hello
    local run = src:judge(function(pkt)
      local hello = client_hello(pkt.tcp.payload)
      if hello and hello.sni == "www.example.com" and not hello.ech then return ipq.DROP end
    end)
    local compiled, aborted = traces.of(src:plan({ 64 }, 2000) and run)
    for _, line in ipairs(aborted) do
      assert.falsy(line:match "NYI" and not line:match "NYI: return to lower frame" or line:match "blacklisted", line)
    end
    local loops = 0
    for _, trace in ipairs(compiled) do
      if trace.start:match "dispatch.lua" and trace.link == "loop" then loops = loops + 1 end
    end
    assert.is_true(loops > 0)
    assert.equal(0, tonumber(src.batch.counters.errors))
    assert.is_true(tonumber(src.batch.counters.dropped) > 1000)
    src:plan({ 64, 1, 2, 3 }, 10000)
    run()
    local garbage = traces.garbage(function()
      src:plan({ 64, 1, 2, 3 }, 4000)
      run()
    end)
    assert.is_true(garbage < 4, ("%.1f KiB for 70000 packets"):format(garbage))
  end)
end)

describe("ClientHellos in the eyes of tshark", function()
  local HELLOS = 3000

  it("have the same name, fingerprint and protocol", function()
    if not tshark.available() then return pending "there is no tshark" end
    local r = random(17)
    local messages, bytes = {}, {}
    for i = 1, HELLOS do
      messages[i] = h.message(h.random(r))
      local records = h.records(messages[i], r.number(0, 3) == 0 and r.number(40, 600) or 16384)
      bytes[i] = t.tcp { saddr = ("10.%d.%d.1"):format(i / 256, i % 256), daddr = "10.200.0.1", sport = 50000 + i,
        dport = 443, sequence = 1000, ackseq = 1, ack = true, psh = true, payload = records }.bytes
    end
    local rows = tshark.applications(bytes, { "tls.handshake.extensions_server_name", "tls.handshake.ja3",
      "tls.handshake.version", "tls.handshake.extensions_alpn_str" })
    assert.equal(HELLOS, #rows)
    local named = 0
    for i, row in ipairs(rows) do
      local hello = assert(tls.client_hello(h.records(messages[i])))
      assert.equal(row["tls.handshake.ja3"], hello.ja3, i)
      assert.equal(row["tls.handshake.extensions_server_name"]:lower(), hello.sni or "", i)
      assert.equal(row["tls.handshake.extensions_alpn_str"], hello.alpn[1] or "", i)
      if hello.sni then named = named + 1 end
    end
    assert.is_true(named > HELLOS / 2)
  end)
end)

describe("the memory of a hello", function()
  it("has a bit for each type of an extension, and none is left set", function()
    local memory = require("ipq.packet.hello").memory
    tls.client_hello(with(h.sni "a.b", { 0xffff, "" }, h.sni "c.d"))
    tls.client_hello(with(h.sni "a.b", { 0xffff, "" }, { 7, "" }))
    for i = 0, ffi.sizeof(memory.types) - 1 do assert.equal(0, memory.types[i]) end
  end)
end)
