local ffi = require "ffi"
local h = require "spec.support.hello"
local ipq = require "ipq"
local m = require "spec.support.message"
local packets = require "spec.support.packet"
local q = require "spec.support.quic"
local random = require("spec.support.rewrite").random
local source = require "spec.support.source"
local t = require "ipq.test"
local traces = require "spec.support.traces"
local tshark = require "spec.support.tshark"

local quic, r = ipq.quic, random(23)

local function unhex(text)
  return (text:gsub("%s", ""):gsub("%x%x", function(digits) return string.char(tonumber(digits, 16)) end))
end
local function hex(bytes) return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end

local port = 10000

--- A client with addresses and ports of its own: what datagrams of it give, the last one's fields or why not.
local function client(fields)
  fields = fields or {}
  port = port + 1
  local of = { saddr = fields.saddr or "192.0.2.1", daddr = fields.daddr or "192.0.2.2", sport = port, dport = 443 }
  return function(...)
    local got
    for _, datagram in ipairs { ... } do
      of.payload = datagram
      t.run(function(pkt)
        local hello, why = quic.client_hello(pkt)
        got = hello and hello:copy() or why
      end, t.udp(of))
    end
    return got
  end
end

local function sni(got) return type(got) == "table" and got.sni or got end

local function message(name, size) return h.client(name, size):sub(6) end
local function cid() return r.bytes(8) end

-- RFC 9001 appendix A; RFC 9369 has the same hello in its own.
local DCID = unhex "8394c8f03e515708"
local HELLO = unhex [[
  010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e86804fe3a47f06a2b69484c00000413011302010000
  c000000010000e00000b6578616d706c652e636f6dff01000100000a00080006001d0017001800100007000504616c70
  6e000500050100000000003300260024001d00209370b2c9caa47fbabaf4559fedba753de171fa71f50f1ce15d43e994
  ec74d748002b0003020304000d0010000e0403050306030203080408050806002d00020101001c000240010039003204
  08ffffffffffffffff05048000ffff07048000ffff0801100104800075300901100f088394c8f03e51570806048000ff
  ff]]

local vectors = {
  { name = "RFC 9001", version = q.V1, key = "1f369613dd76d5467730efcbe3b1a22d", iv = "fa044b2f42a3fd3b46fb255c",
    hp = "9f50449e04a0e810283a1e9933adedd2",
    begin = "c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11",
    ends = "7e78bfe706ca4cf5e9c5453e9f7cfd2b8b4c8d169a44e55c88d4a9a7f9474241e221af44860018ab0856972e194cd934" },
  { name = "RFC 9369", version = q.V2, key = "8b1a0bc121284290a29e0971b5cd045d", iv = "91f73e2351d8fa91660e909f",
    hp = "45b95e15235d6f45a6b19cbcb0294ba9",
    begin = "d76b3343cf088394c8f03e5157080000449ea0c95e82ffe67b6abcdb4298b485",
    ends = "9a37ddec600545473cfb5a05e08d0b209973b2172b4d21fb69745a262ccde96ba18b2faa745b6fe189cf772a9f84cbfc" },
}

for _, vector in ipairs(vectors) do
  describe("the vectors of " .. vector.name .. ", appendix A", function()
    it("are the keys that follow from the connection id", function()
      local keys, id = ffi.new "struct ipq_initial_keys", ffi.new("struct ipq_cid", 8)
      ffi.copy(id.bytes, DCID, 8)
      q.C.ipq_initial_keys(vector.version, id, keys)
      assert.same({ vector.key, vector.iv, vector.hp }, { hex(ffi.string(keys.key, 16)), hex(ffi.string(keys.iv, 12)),
        hex(ffi.string(keys.hp, 16)) })
    end)

    -- Its last 16 bytes are a sum of all others.
    it("are what protects the client's Initial, whose name is read", function()
      local datagram = q.initial { version = vector.version, dcid = DCID, number = 2, number_len = 4,
        frames = "\6\0\64\241" .. HELLO .. ("\0"):rep(917) }
      assert.equal(1200, #datagram)
      assert.equal(vector.begin, hex(datagram:sub(1, 32)))
      assert.equal(vector.ends, hex(datagram:sub(-48)))
      local got = client()(datagram)
      assert.equal("example.com", got.sni)
      assert.same({ "alpn" }, got.alpn)
      assert.equal("q13d0211an", got.ja4:sub(1, 10))
    end)
  end)
end

describe("ipq.quic", function()
  it("has no hello in what the server of RFC 9001's appendix A says", function()
    local answer = unhex [[
  cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a5816b6394100f37a1c69797554780bb3
  8cc5a99f5ede4cf73c3ec2493a1839b3dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84
  022f8ef4cdd93795d77d06edbb7aaf2f58891850abbdca3d20398c276456cbc42158407dd074ee]]
    assert.matches("^no key fits", client()(answer))
    assert.equal("Retry", client()(unhex [[ff000000010008f067a5502a4262b5746f6b656e04a265ba2eff4d829058fb3f0f2496ba]]))
  end)

  for _, version in ipairs { q.V1, q.V2 } do
    local of = (" of version %d"):format(version == q.V1 and 1 or 2)

    it("reads a hello in one datagram" .. of, function()
      local got = client()(q.initial { version = version, dcid = cid(), frames = q.crypto(0, message "Example.COM"),
        size = 1200 })
      assert.same({ "example.com", "q13d0507h2", { 0x0304, 0x0303 }, false },
        { got.sni, got.ja4:sub(1, 10), got.versions, got.ech })
    end)

    it("reads a hello over several datagrams, in any order and twice" .. of, function()
      local frames = q.frames(message("example.com", 3000), 1100)
      assert.equal(3, #frames)
      for _, order in ipairs { { 1, 2, 3 }, { 3, 2, 1 }, { 2, 3, 1 }, { 2, 2, 3, 3, 1 } } do
        local say, id = client(), cid()
        for i, at in ipairs(order) do
          local got = sni(say(q.initial { version = version, dcid = id, number = i, frames = frames[at], size = 1200 }))
          assert.equal(i == #order and "example.com" or "more", got)
        end
      end
    end)

    it("reads frames of any size, in any order, that overlap" .. of, function()
      local bytes = message("example.com", 600)
      for _ = 1, 50 do
        local frames = q.frames(bytes, r.number(1, 40))
        for _ = 1, 10 do
          local at = r.number(1, #bytes)
          frames[#frames + 1] = q.crypto(at - 1, bytes:sub(at, at + r.number(0, 50)))
        end
        for i = #frames, 2, -1 do
          local j = r.number(1, i)
          frames[i], frames[j] = frames[j], frames[i]
        end
        for i = 1, #frames, 5 do frames[i] = frames[i] .. "\1\0\0" end
        if #frames < 200 then
          assert.equal("example.com", sni(client()(q.initial { version = version, dcid = cid(),
            frames = table.concat(frames) })))
        end
      end
    end)
  end

  it("reads IPv6", function()
    assert.equal("example.com", sni(client { saddr = "2001:db8::1", daddr = "2001:db8::2" }(q.initial { dcid = cid(),
      frames = q.crypto(0, message "example.com") })))
  end)

  it("reads connection ids of all lengths, tokens, and packet numbers of all lengths", function()
    for len = 0, 20 do
      assert.equal("example.com", sni(client()(q.initial { dcid = r.bytes(len), scid = r.bytes(20 - len),
        token = r.bytes(len * 15), number_len = len % 4 + 1, frames = q.crypto(0, message "example.com") })))
    end
  end)

  it("knows packet numbers of which the packet has but the end", function()
    local say, id = client(), cid()
    local frames = q.frames(message("example.com", 1200), 400)
    assert.equal("more", say(q.initial { dcid = id, number = 250, frames = frames[1] }))
    assert.equal("more", say(q.initial { dcid = id, number = 257, frames = frames[2] }))
    assert.equal("example.com", sni(say(q.initial { dcid = id, number = 255, frames = frames[3] })))
  end)

  it("reads packets that share a datagram, and no Initial behind them for another connection", function()
    local id = cid()
    local frames = q.frames(message("example.com", 1200), 700)
    local first = q.initial { dcid = id, frames = frames[1] }
    local second = q.initial { dcid = id, number = 1, frames = frames[2] }
    local zero = q.other { type = "zero", dcid = id }
    assert.equal("example.com", sni(client()(first .. second)))
    assert.equal("example.com", sni(client()(zero .. first .. zero .. second .. q.other { type = "short", dcid = id })))
    local decoy = q.initial { dcid = cid(), frames = q.crypto(0, message "decoy.example") }
    assert.equal("more", client()(first .. decoy))
    assert.equal("example.com", sni(client()(first .. second .. decoy)))
    assert.equal("no Initial packet", client()(zero .. q.other { type = "handshake", dcid = id }))
  end)

  it("gives the hello again for each Initial that follows, also where those are for the server's id", function()
    local say, id, server = client(), cid(), cid()
    assert.equal("example.com", sni(say(q.initial { dcid = id, frames = q.crypto(0, message "example.com") })))
    assert.equal("example.com", sni(say(q.initial { dcid = server, key = id, number = 1, frames = "\2\0\0\0\0" })))
    local frames = q.frames(message("example.com", 1800), 1000)
    say, id = client(), cid()
    assert.equal("more", say(q.initial { dcid = id, frames = frames[1] }))
    assert.equal("example.com", sni(say(q.initial { dcid = server, key = id, number = 1, frames = frames[2] })))
    assert.matches("^no key fits", client()(q.initial { dcid = server, key = id, number = 1, frames = frames[2] }))
  end)

  it("begins anew behind a Retry, with keys of the id that it gave", function()
    local say, id, retried = client(), cid(), cid()
    local frames = q.frames(message("example.com", 1800), 1000)
    assert.equal("more", say(q.initial { dcid = id, frames = frames[1] }))
    assert.equal("more", say(q.initial { dcid = retried, token = "token", number = 1, frames = frames[1] }))
    assert.equal("example.com", sni(say(q.initial { dcid = retried, token = "token", number = 2, frames = frames[2] })))
  end)

  it("follows a client to another version, by negotiation or in the same connection", function()
    local frames = q.frames(message("example.com", 1800), 1000)
    local say, id = client(), cid()
    assert.equal("more", say(q.initial { dcid = id, frames = frames[1] }))
    assert.equal("example.com", sni(say(q.initial { version = q.V2, dcid = id, number = 1, frames = frames[2] })))
    say, id = client(), cid()
    assert.equal("more", say(q.initial { dcid = id, frames = frames[1] }))
    assert.equal("example.com", sni(say(q.initial { version = q.V2, dcid = cid(), key = id, number = 1,
      frames = frames[2] })))
    local negotiation = "\128\0\0\0\0\0\8" .. id .. m.be32(q.V1)
    assert.equal("version negotiation", client()(negotiation))
    say = client()
    assert.equal("not QUIC, or a version that is unknown",
      say("\202\10\26\42\58\8" .. id .. "\0\0\64\40" .. ("x"):rep(40)))
    assert.equal("example.com", sni(say(q.initial { dcid = id, frames = q.crypto(0, message "example.com") })))
  end)

  it("keeps connections of the same addresses and ports apart", function()
    local say, one, two = client(), cid(), cid()
    local frames = q.frames(message("hidden.example", 1800), 1000)
    assert.equal("more", say(q.initial { dcid = one, frames = frames[1] }))
    assert.equal("decoy.example", sni(say(q.initial { dcid = two, frames = q.crypto(0, message "decoy.example") })))
    assert.equal("hidden.example", sni(say(q.initial { dcid = one, number = 1, frames = frames[2] })))
  end)

  it("reads over ACK, PING, PADDING and CONNECTION_CLOSE", function()
    local crypto = q.crypto(0, message "example.com")
    for _, frames in ipairs { "\1", "\0\0\0", "\2\5\0\0\1", "\2\5\0\1\0\1\1", "\3\5\0\0\1\1\2\3", "\28\1\6\3abc" } do
      assert.equal("example.com", sni(client()(q.initial { dcid = cid(), frames = frames .. crypto .. frames })))
    end
  end)

  it("refuses frames that no Initial has, and lengths that lie", function()
    local crypto = q.crypto(0, message "example.com")
    for _, frames in ipairs { "\8\0\1x", "\29\1\1x", "\64", "\30", "\6", "\6\0", "\6\0\64", "\6\0\127\255x",
      "\2\5\0\191\255\255\255\1", "\3\5\0\0\1\1\2", "\28\1\6\255", "\255" } do
      -- Without padding, which would be more of them.
      assert.equal("malformed Initial packet", client()(q.initial { dcid = cid(), frames = crypto .. frames }),
        hex(frames))
    end
    local far = "\6" .. m.be32(0x80000000 + 65540) .. "\1x"
    assert.equal("the ClientHello has more than 65536 bytes", client()(q.initial { dcid = cid(), frames = far }))
    local farthest = "\6" .. ("\255"):rep(8) .. "\1x"
    assert.equal("the ClientHello has more than 65536 bytes", client()(q.initial { dcid = cid(), frames = farthest }))
  end)

  it("refuses frames that contradict one another, and too many pieces", function()
    local bytes = message "example.com"
    assert.equal("CRYPTO frames say different things of the same bytes", client()(q.initial { dcid = cid(),
      frames = q.crypto(0, bytes) .. q.crypto(50, "x" .. bytes:sub(52, 60)) }))
    local frames = {}
    for i = 1, 300 do frames[i] = q.crypto(2 * i, "x") end
    assert.equal("the ClientHello is in more than 256 pieces", client()(q.initial { dcid = cid(),
      frames = table.concat(frames) }))
  end)

  it("says why a hello is none, as ipq.tls does", function()
    for bytes, why in pairs { ["\2\0\0\1x"] = "another message than a ClientHello",
      ["\1\0\0\1x"] = "malformed ClientHello: session_id",
      ["\1\255\0\1x"] = "the ClientHello has more than 65536 bytes" } do
      assert.equal(why, client()(q.initial { dcid = cid(), frames = q.crypto(0, bytes) }))
    end
    assert.equal("more", client()(q.initial { dcid = cid(), frames = "\1" }))
  end)

  it("says what is no QUIC, and takes any bytes", function()
    for _, bytes in ipairs { "", "x", "\64" .. ("x"):rep(40), "\192\0\0", "\192\0\0\0\1\21" .. ("x"):rep(40) } do
      assert.equal("not QUIC", client()(bytes))
    end
    for _, bytes in ipairs { "\192\0\0\0\1\0\0", "\192\0\0\0\1\0\0\0", "\192\0\0\0\1\0\0\0\19" .. ("x"):rep(19),
      "\192\0\0\0\1\0\0\0\64\99" .. ("x"):rep(40), "\192\0\0\0\1\0\0\255" .. ("x"):rep(40) } do
      assert.equal("malformed Initial packet", client()(bytes))
    end
    local good = q.initial { dcid = cid(), frames = q.crypto(0, message "example.com"), size = 300 }
    for i = 1, #good do
      local changed = good:sub(1, i - 1) .. string.char(255 - good:byte(i)) .. good:sub(i + 1)
      assert.is_string(client()(changed))
      assert.is_string(client()(good:sub(1, i - 1)))
    end
    for i = 1, 300 do assert.is_string(client()("\192\0\0\0\1" .. r.bytes(i * 4))) end
  end)

  it("says what is not all there", function()
    local datagram = q.initial { dcid = cid(), frames = q.crypto(0, message "example.com") }
    local function why(packet)
      local reason
      t.run(function(pkt) reason = select(2, quic.client_hello(pkt)) end, packet)
      return reason
    end
    assert.equal("the datagram is not all there", why(t.udp { payload = datagram, data_len = 200 }))
    assert.equal("the datagram is not all there", why(t.udp { payload = datagram, frag_off = 0, mf = true }))
    assert.equal("not QUIC", why(t.tcp { payload = datagram }))
    assert.equal("not QUIC", why(t.icmp {}))
    assert.equal("not QUIC", why(t.udp { payload = datagram, frag_off = 5 }))
  end)

  it("keeps so many connections and bytes, and forgets the oldest", function()
    local C = require("ipq.engine.abi").C
    local state = ffi.gc(C.ipq_quic_new(), C.ipq_quic_free)
    local packet, hello = ffi.new "struct ipq_packet", require("ipq.packet.hello").memory
    local function read(number, datagram)
      local bytes = packets.ip(17, packets.udp(datagram, { sport = 1024 + number % 60000,
        dport = 443 + math.floor(number / 60000) }))
      local memory = ffi.new("uint8_t[?]", #bytes)
      ffi.copy(memory, bytes, #bytes)
      packet.data, packet.data_len, packet.len, packet.parsed = memory, #bytes, #bytes, 0
      return C.ipq_quic_read(state, packet, hello)
    end
    local frames = q.frames(message("example.com", 1800), 1000)
    local first = q.initial { dcid = "first id", frames = frames[1] }
    assert.equal(ffi.C.IPQ_HELLO_MORE, read(0, first))
    for i = 1, 1023 do read(i, first) end
    assert.equal(1024, C.ipq_quic_connections(state))
    -- The first one was seen again, and is not the oldest then.
    read(0, first)
    read(1024, first)
    assert.equal(1024, C.ipq_quic_connections(state))
    local second = q.initial { dcid = "first id", number = 1, frames = frames[2] }
    assert.equal(0, read(0, second))
    assert.equal(ffi.C.IPQ_HELLO_MORE, read(1, second))
    -- That one began anew, in the place of the oldest.
    assert.equal(ffi.C.IPQ_HELLO_MORE, read(2, second))
    assert.equal(0, read(4, second))
    local large = q.initial { dcid = "large id", frames = q.crypto(2000, ("x"):rep(40000)) }
    for i = 2000, 2200 do
      read(i, large)
      assert.is_true(C.ipq_quic_bytes(state) <= ffi.C.IPQ_QUIC_BYTES)
    end
    assert.is_true(C.ipq_quic_connections(state) < 100)
    assert.equal(ffi.C.IPQ_HELLO_MORE, read(500, second))
  end)

  it("names what a script gets wrong", function()
    assert.error_matches(function() quic.client_hello "x" end, "quic.client_hello%(%) takes a packet, not")
    assert.error_matches(function() quic.client_hello() end, "takes a packet, not nil")
    local kept
    t.run(function(pkt) kept = pkt end, t.udp {})
    assert.error_matches(function() quic.client_hello(kept) end, "packet used after its filter returned")
  end)

  it("takes packets of the script's own", function()
    local packet = ipq.build.udp { saddr = "192.0.2.1", daddr = "192.0.2.2", sport = 5, dport = 443,
      payload = q.initial { dcid = cid(), frames = q.crypto(0, message "example.com") } }
    assert.equal("example.com", quic.client_hello(packet).sni)
  end)

  it("is compiled, and makes no garbage but names that are new", function()
    local src = source.new { m.simple(1, packets.ip(17, packets.udp(q.initial { dcid = "compiled", size = 1200,
      frames = q.crypto(0, message "www.example.com") }))), m.simple(2, packets.ip(17, packets.udp "x")) }
    local client_hello = quic.client_hello
    local run = src:judge(function(pkt)
      local hello = client_hello(pkt)
      if hello and hello.sni == "www.example.com" and not hello.ech then return ipq.DROP end
    end)
    local compiled, aborted = traces.of(src:plan({ 64 }, 200) and run)
    for _, line in ipairs(aborted) do
      assert.falsy(line:match "NYI" and not line:match "NYI: return to lower frame" or line:match "blacklisted", line)
    end
    local loops = 0
    for _, trace in ipairs(compiled) do
      if trace.start:match "dispatch.lua" and trace.link == "loop" then loops = loops + 1 end
    end
    assert.is_true(loops > 0)
    assert.equal(0, tonumber(src.batch.counters.errors))
    assert.is_true(tonumber(src.batch.counters.dropped) > 100)
    src:plan({ 64, 1, 2, 3 }, 1000)
    run()
    local garbage = traces.garbage(function()
      src:plan({ 64, 1, 2, 3 }, 400)
      run()
    end)
    assert.is_true(garbage < 4, ("%.1f KiB for 7000 packets"):format(garbage))
  end)
end)

describe("Initials in the eyes of tshark", function()
  local INITIALS = 2500

  it("have the same name, fingerprint and protocol", function()
    if not tshark.available() then return pending "there is no tshark" end
    local of, bytes = {}, {}
    for i = 1, INITIALS do
      local hello = h.random(r)
      local said = h.message(hello)
      local frames = q.frames(said, #said)
      local fields = { saddr = ("10.%d.%d.1"):format(i / 256, i % 256), daddr = "10.200.0.1", sport = 50000 + i,
        dport = 443, payload = q.initial { version = r.pick { q.V1, q.V2 }, dcid = r.bytes(r.number(8, 20)),
          scid = r.bytes(r.number(0, 20)), token = r.bytes(r.number(0, 30)), number = r.number(0, 200),
          number_len = r.number(1, 4), frames = table.concat(frames), size = 1200 } }
      of[i] = t.udp(fields)
      bytes[i] = of[i].bytes
    end
    local rows = tshark.applications(bytes, { "tls.handshake.extensions_server_name", "tls.handshake.ja3",
      "tls.handshake.extensions_alpn_str" })
    assert.equal(INITIALS, #rows)
    local named = 0
    for i, packet in ipairs(of) do
      local got
      t.run(function(pkt)
        local hello, why = quic.client_hello(pkt)
        got = hello and hello:copy() or why
      end, packet)
      assert.is_table(got, got)
      assert.equal(rows[i]["tls.handshake.ja3"], got.ja3, i)
      assert.equal(rows[i]["tls.handshake.extensions_server_name"]:lower(), got.sni or "", i)
      assert.equal(rows[i]["tls.handshake.extensions_alpn_str"], got.alpn[1] or "", i)
      if got.sni then named = named + 1 end
    end
    assert.is_true(named > INITIALS / 2)
  end)
end)
