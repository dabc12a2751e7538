-- Streams and ends that are not as they should be, packet by packet: what is held is bounded, nobody is told what is
-- not so, and a connection that is edited stays whole or is reset.
local ffi = require "ffi"
local lib = require "spec.support.lib"
local seq = require "ipq.seq"
local t = require "ipq.test"

local C = lib.C
local CLIENT, SERVER = "192.0.2.1", "192.0.2.2"
local ISN = { [0] = 1000, 500000 }
local TO_SERVER, TO_CLIENT = 0, 1

--- A script of its own: what it says of its streams, in text.
local function script(text)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(("return { send = true, stream = { port = 80, hold = 10, %s } }"):format(text))
  file:close()
  finally(function() os.remove(path) end)
  return (t.load(path))
end

local Talk = {}
Talk.__index = Talk

--- A segment of one direction: at and ack are positions, 0 is the byte behind the SYN.
local function segment(direction, at, fields)
  local given = { ack = true, window = 60000 }
  for name, value in pairs(fields) do given[name] = value end
  local back = direction == TO_CLIENT
  given.saddr, given.daddr = back and SERVER or CLIENT, back and CLIENT or SERVER
  given.sport, given.dport = back and 80 or 4000, back and 4000 or 80
  given.sequence = seq.add(ISN[direction], 1 + at)
  given.ackseq = given.ack and seq.add(ISN[1 - direction], 1 + (fields.acks or 0)) or 0
  given.acks = nil
  return (t.tcp(given))
end

function Talk:say(direction, at, fields) return (t.run(self.filter, segment(direction, at, fields))) end

--- The kit counts for all filters together.
local function counts(filter, what) return tonumber(filter.streams.streams.counts[ffi.C["IPQ_STREAMS_" .. what]]) end
local function counted(self, what) return counts(self.filter, what) - self.before[what] end

--- Has what was counted for others count for nothing.
local function begin_counts(self)
  t.run(self.filter, t.udp {}) -- from then on it counts where the kit does
  self.before = {}
  for _, what in ipairs { "READ", "LIMITED", "DROPPED", "NO_ROOM", "SIGNED", "DIFFERING", "RESET" } do
    self.before[what] = counts(self.filter, what)
  end
end

--- A connection that has begun.
local function talk(text, client_syn, server_syn)
  local self = setmetatable({ filter = script(text) }, Talk)
  local syn = { syn = true, ack = false }
  for name, value in pairs(client_syn or {}) do syn[name] = value end
  local answer = { syn = true, acks = 0 }
  for name, value in pairs(server_syn or {}) do answer[name] = value end
  finally(function() self.filter:stop() end)
  begin_counts(self)
  self.syn = self:say(TO_SERVER, -1, syn)
  self.answer = self:say(TO_CLIENT, -1, answer)
  self:say(TO_SERVER, 0, { acks = 0 })
  return self
end

--- What was counted so far: "READ", "DROPPED" and the others of enum ipq_stream_count.
local function at(pkt, direction) return (seq.diff(pkt.tcp.sequence, seq.add(ISN[direction], 1))) end
local function acked(pkt, direction) return (seq.diff(pkt.tcp.ackseq, seq.add(ISN[1 - direction], 1))) end

-- One that has said something in front of all, which the server has acknowledged.
local SAYS = [[edit = true, client = function(stream) stream:peek(1) stream:insert "12345" end]]

describe("a handler that removes more than there is", function()
  it("does not remove the end, and what it says behind it comes in front", function()
    local result = t.connection(script [[edit = true, client = function(stream)
        stream:read(4)
        stream:erase(100)
        stream:insert "one,"
        stream:skip(7)
        stream:insert "two"
      end]], { client = { "0123", "456789" } })
    assert.same({ "0123one,two", true, {} }, { result.server, result.is_closed, result.faults })
  end)
end)

describe("a receiver's window", function()
  it("is kept to by what lies in front of what waits for room", function()
    local c = talk([[edit = true, client = function(stream) stream:peek(1) stream:insert(("x"):rep(398)) end]],
      nil, { window = 321 })
    local late = c:say(TO_SERVER, 126, { payload = ("b"):rep(195) })
    local first = c:say(TO_SERVER, 0, { payload = ("a"):rep(126) })
    assert.is_nil(late.packet)
    for _, pkt in ipairs { first.packet, unpack(first.sent) } do
      assert.is_true(at(pkt, TO_SERVER) + #pkt.tcp.payload <= 321)
    end
  end)

  it("is shifted by 14 at most, whatever the memory says", function()
    local c = talk [[edit = true, client = function(stream) stream:peek(1) stream:insert "x" end]]
    c:say(TO_SERVER, 0, { payload = "a" })
    c.filter.streams.streams.records[0].half[0].scale = 200
    local answer = c:say(TO_CLIENT, 0, { acks = 2, window = 1 })
    assert.equal(1, acked(answer.packet, TO_CLIENT))
  end)
end)

describe("a sender whose byte asks for what is there", function()
  it("has the byte in its place that its receiver got last, whoever sent that", function()
    local c = talk([[edit = true, client = function(stream) stream:peek(1) stream:insert "012345678" end]],
      nil, { window = 1 })
    assert.equal("0", c:say(TO_SERVER, 0, { payload = "a" }).packet.tcp.payload:string())
    -- There is room for the text now, and not for what follows it.
    local rest = c:say(TO_CLIENT, 0, { acks = 1, window = 8 }).sent[1]
    assert.same({ 1, "12345678" }, { at(rest, TO_SERVER), rest.tcp.payload:string() })
    c:say(TO_CLIENT, 0, { acks = 9, window = 0 })
    local asks = c:say(TO_SERVER, 0, { payload = "a" }).packet
    assert.same({ 8, "8" }, { at(asks, TO_SERVER), asks.tcp.payload:string() })
  end)
end)

describe("a stream that a successor finds damaged", function()
  it("has its ends reset when they speak, and its room is free", function()
    local c = talk [[edit = true, client = function(stream) stream:peek(1) stream:insert "x" end]]
    c:say(TO_SERVER, 0, { payload = "a" })
    local lost, opened = tonumber(counts(c.filter, "LOST")), c.filter.streams
    local streams, before = opened.streams, ffi.new "struct ipq_streams"
    ffi.copy(before, streams, ffi.sizeof(before))
    local head, size = streams.head, tonumber(C.ipq_streams_size(streams.connections))
    C.ipq_streams_detach(streams)
    before.records[0].half[0].ring[0] = 0
    assert.equal(1, C.ipq_streams_attach(head, size, opened.flows.table, streams))
    for _, name in ipairs { "outbox", "hold", "commit", "owner", "edits" } do streams[name] = before[name] end
    local result = c:say(TO_CLIENT, 0, { acks = 2, payload = "hello" })
    assert.is_nil(result.packet)
    assert.is_true(result.sent[1].tcp.rst)
    assert.equal(streams.chunk_count - 1, streams.chunks_free)
    assert.equal(1, tonumber(counts(c.filter, "LOST")) - lost)
    -- Its client may begin anew.
    assert.is_true(c:say(TO_SERVER, 99, { syn = true, ack = false }).changed)
  end)
end)

describe("a stream of which nobody hears", function()
  it("holds nothing, whatever the memory says", function()
    local c = talk(SAYS)
    local opened = c.filter.streams
    local streams, before = opened.streams, ffi.new "struct ipq_streams"
    ffi.copy(before, streams, ffi.sizeof(before))
    local head, size = streams.head, tonumber(C.ipq_streams_size(streams.connections))
    C.ipq_streams_detach(streams)
    assert.equal(0, C.ipq_streams_attach(head, size, opened.flows.table, streams))
    for _, name in ipairs { "outbox", "hold", "commit", "owner", "edits" } do streams[name] = before[name] end
    streams.records[0].half[0].done = 0
    assert.equal("accept", c:say(TO_SERVER, 0, { payload = "a" }).verdict)
  end)
end)

describe("a segment that outgrows its way", function()
  it("is dropped where its headers are longer than those of our own may be", function()
    local filter = script [[edit = true, client = function(stream)
        stream:peek(1)
        for _ = 1, 20 do stream:insert(("x"):rep(3000)) end
      end]]
    local function v6(fields)
      fields.saddr, fields.daddr, fields.sport, fields.dport = "2001:db8::1", "2001:db8::2", 4000, 80
      return t.tcp(fields)
    end
    local function v6_back(fields)
      fields.saddr, fields.daddr, fields.sport, fields.dport = "2001:db8::2", "2001:db8::1", 80, 4000
      return t.tcp(fields)
    end
    t.run(filter, v6 { syn = true, sequence = 999 })
    t.run(filter, v6_back { syn = true, ack = true, sequence = 7, ackseq = 1000, window = 65535 })
    local plain = v6({ ack = true, sequence = 1000, ackseq = 8, payload = "a" }).bytes
    -- Destination options of 2,048 bytes, thrice.
    local options = ""
    for i = 1, 3 do options = options .. string.char(i < 3 and 60 or 6, 255) .. ("\0"):rep(2046) end
    local length = #options + #plain - 40
    local bytes = plain:sub(1, 4) .. string.char(math.floor(length / 256), length % 256, 60) .. plain:sub(8, 40)
      .. options .. plain:sub(41)
    local result = t.run(filter, t.packet(bytes))
    assert.same({}, result.sent)
  end)
end)

-- A handler that waits for more than comes.
local PEEKS = [[edit = true, client = function(stream) stream:peek(8000) end]]
describe("what is held", function()
  it("is bounded behind a gap that is never filled", function()
    local c = talk(PEEKS)
    local held, last = 0, nil
    for i = 1, 900 do
      last = c:say(TO_SERVER, i * 1401, { payload = ("x"):rep(1400) }).verdict
      if last == "hold" then held = held + 1 end
    end
    assert.is_true(held > 100 and held <= 2 ^ 20 / 1400 + 1, held .. " are held")
    assert.equal("drop", last)
    assert.equal(0, counted(c, "LIMITED"))
  end)

  it("is bounded where the same comes in other pieces, without a gap", function()
    local c = talk(PEEKS .. ", limit = 4096")
    local bytes, held = ("x"):rep(1400), 0
    for i = 0, 3000 do
      local from = i % 50
      if c:say(TO_SERVER, from, { payload = bytes:sub(1, 1350 - i % 1300) }).verdict == "hold" then held = held + 1 end
    end
    assert.is_true(held < 10, held .. " are held")
    assert.equal(0, counted(c, "LIMITED"))
    -- Each one brings a byte that is new.
    c = talk(PEEKS .. ", limit = 4096")
    held = 0
    for i = 1, 1400 do
      if c:say(TO_SERVER, 0, { payload = bytes:sub(1, i) }).verdict == "hold" then held = held + 1 end
    end
    assert.is_true(held < 1400, held .. " are held")
  end)

  it("is bounded of single bytes that fill what a handler asks for, and all of them go on", function()
    local c = talk [[edit = true, client = function(stream)
        stream:peek(500)
        stream:insert "<"
      end]]
    local held = {}
    for i = 0, 499 do held[i] = c:say(TO_SERVER, i, { payload = "x" }) end
    assert.equal(0, counted(c, "LIMITED"))
    for i = 0, 498 do assert.equal(i == 0 and 0 or i + 1, at(held[i].packet, TO_SERVER)) end
  end)

  it("is bounded of a handler that inserts without end", function()
    local c = talk [[edit = true, client = function(stream)
        stream:peek(1)
        while true do
          if not stream:insert "x" then return end
          stream:skip(1)
        end
      end]]
    for i = 0, 2000 do c:say(TO_SERVER, i * 1400, { payload = ("y"):rep(1400) }) end
    local n = 0
    for i = 2001, 3000 do
      if c:say(TO_SERVER, i * 1400, { payload = ("y"):rep(1400) }).verdict == "hold" then n = n + 1 end
    end
    assert.equal(0, n)
  end)
end)

describe("whoever does not see a connection", function()
  it("cannot end it by a FIN that its receiver would not take", function()
    local c = talk(SAYS)
    c:say(TO_SERVER, 0, { payload = "a" })
    assert.is_nil(c:say(TO_SERVER, 2 ^ 29, { fin = true }).packet)
    assert.equal(6, at(c:say(TO_SERVER, 1, { payload = "b" }).packet, TO_SERVER))
  end)

  it("cannot move what is known of it, step by step", function()
    local c = talk(SAYS)
    c:say(TO_SERVER, 0, { payload = "a" })
    for i = 1, 12 do c:say(TO_SERVER, i * 2 ^ 28, { payload = "x" }) end
    assert.equal(6, at(c:say(TO_SERVER, 1, { payload = "b" }).packet, TO_SERVER))
  end)

  it("cannot answer a SYN in the place of the server", function()
    local c = setmetatable({ filter = script(SAYS) }, Talk)
    c:say(TO_SERVER, -1, { syn = true, ack = false })
    local other = c:say(TO_CLIENT, 7000, { syn = true, acks = 77 })
    assert.is_false(other.changed)
    local answer = c:say(TO_CLIENT, -1, { syn = true, options = { { kind = 2, data = "\5\180" } } })
    assert.is_true(answer.changed)
    c:say(TO_SERVER, 0, { payload = "a" })
    assert.equal(1, acked(c:say(TO_CLIENT, 0, { acks = 6, payload = "b" }).packet, TO_CLIENT))
  end)

  it("has nothing pruned by an acknowledgement of what was not sent", function()
    local c = talk(SAYS)
    c:say(TO_SERVER, 0, { payload = "a" })
    local answer = c:say(TO_CLIENT, 0, { acks = 5000 })
    assert.equal(1 + 5000 - 6, acked(answer.packet, TO_CLIENT))
    local half = c.filter.streams.streams.records[0].half[0]
    assert.equal(0, tonumber(half.acked))
    assert.equal(0, at(c:say(TO_SERVER, 0, { payload = "a" }).packet, TO_SERVER))
    assert.equal("12345a", tostring(c:say(TO_SERVER, 0, { payload = "a" }).packet.tcp.payload))
  end)

  it("has nothing dropped by SACK blocks that are inverted, or beyond", function()
    local c = talk(SAYS)
    c:say(TO_SERVER, 0, { payload = "abcdefgh" })
    local function block(left, right)
      local function be32(n)
        n = (1001 + n) % 2 ^ 32
        return string.char(math.floor(n / 2 ^ 24), math.floor(n / 2 ^ 16) % 256, math.floor(n / 256) % 256, n % 256)
      end
      return be32(left) .. be32(right)
    end
    local answer = c:say(TO_CLIENT, 0, { acks = 6,
      options = { { kind = 5, data = block(9, 7) .. block(8, 5000) .. block(7, 9) } } })
    local options = answer.packet.tcp.options
    local sacks = {}
    for _, each in ipairs(options) do if each.kind == 5 then sacks[#sacks + 1] = tostring(each.data) end end
    assert.same({ block(2, 4) }, sacks)
  end)

  it("has nothing heard that has a wrong checksum", function()
    local c = talk(SAYS)
    local right = segment(TO_SERVER, 0, { payload = "a" })
    local wrong = t.packet(right.bytes:sub(1, -2) .. "z", { csum_verified = false })
    local result = t.run(c.filter, wrong)
    assert.is_false(result.changed)
    assert.equal("12345a", tostring(c:say(TO_SERVER, 0, { payload = "a" }).packet.tcp.payload))
    result = t.run(c.filter, wrong)
    assert.is_nil(result.packet)
    assert.equal(1, counted(c, "DROPPED"))
  end)
end)

describe("what a connection may do", function()
  it("has segments of the loopback's size, which a queue cannot take whole", function()
    local c = talk([[edit = true, headroom = 0, client = function(stream) stream:peek(1) stream:insert(("x"):rep(500))
      end]], { options = { { kind = 3, data = "\4" } }, hook = "forward" },
      { options = { { kind = 2, data = "\255\215" }, { kind = 3, data = "\4" } } })
    c:say(TO_CLIENT, 0, { acks = 0 })
    local result = c:say(TO_SERVER, 0, { payload = ("a"):rep(65400), hook = "forward" })
    local got = #result.packet.tcp.payload
    for _, pkt in ipairs(result.sent) do
      assert.is_true(at(pkt, TO_SERVER) >= 0)
      got = got + #pkt.tcp.payload
    end
    assert.equal(65900, got)
    assert.is_true(#result.packet.bytes <= 65531)
  end)
end)

describe("bytes that come again and are others", function()
  it("are dropped before what was heard is decided, and cannot become longer or shorter afterwards", function()
    local c = talk [[edit = true, client = function(stream)
        local line = stream:peek_line()
        stream:insert("<" .. line:sub(1, 4) .. ">")
        stream:skip(5)
      end]]
    local first = c:say(TO_SERVER, 0, { payload = "good" })
    assert.equal("drop", c:say(TO_SERVER, 0, { payload = "evil" }).verdict)
    assert.equal("drop", c:say(TO_SERVER, 1, { payload = "ad" }).verdict)
    local last = c:say(TO_SERVER, 4, { payload = "\n" })
    assert.equal("<good>good", tostring(first.packet.tcp.payload))
    assert.equal(10, at(last.packet, TO_SERVER))
    local again = c:say(TO_SERVER, 0, { payload = "evil\n" }).packet
    assert.same({ 0, "<good>evil\n" }, { at(again, TO_SERVER), tostring(again.tcp.payload) })
  end)
end)

describe("connections that are half open", function()
  it("are passed and counted where there is no room for more", function()
    local c = setmetatable({ filter = script(SAYS .. ", connections = 16") }, Talk)
    begin_counts(c)
    for port = 1, 100 do
      local pkt = t.tcp { saddr = CLIENT, daddr = SERVER, sport = 1000 + port, dport = 80, syn = true,
        options = { { kind = 2, data = "\5\180" } } }
      local result = t.run(c.filter, pkt)
      assert.same({ "accept", port <= 16 }, { result.verdict, result.changed })
    end
    assert.same({ 16, 84 }, { counted(c, "READ"), counted(c, "NO_ROOM") })
  end)

  it("are left alone where their segments are signed", function()
    for _, kind in ipairs { 19, 29 } do
      local c = setmetatable({ filter = script(SAYS) }, Talk)
      begin_counts(c)
      local options = { { kind = kind, data = ("\1"):rep(16) } }
      assert.is_false(c:say(TO_SERVER, -1, { syn = true, ack = false, options = options }).changed)
      assert.is_false(c:say(TO_CLIENT, -1, { syn = true, options = options }).changed)
      assert.is_false(c:say(TO_SERVER, 0, { payload = "a", options = options }).changed)
      assert.equal(1, counted(c, "SIGNED"))
    end
  end)

  it("have no data in a SYN where they may be edited, and are heard where not", function()
    local c = talk(SAYS, { payload = "early" })
    assert.equal("", tostring(c.syn.packet.tcp.payload))
    assert.equal("12345early", tostring(c:say(TO_SERVER, 0, { payload = "early" }).packet.tcp.payload))
    c = talk([[client = function(stream) stream:line() require("ipq").event { line = stream:line() } end]],
      { payload = "one\ntw" }, { acks = 6 })
    assert.equal("one\ntw", tostring(c.syn.packet.tcp.payload))
    local result = c:say(TO_SERVER, 6, { payload = "o\n" })
    assert.equal("two\n", result.events[1].line)
  end)
end)

describe("a handler", function()
  it("may edit as often as a stream is long", function()
    local c = talk [[edit = true, client = function(stream)
        while true do
          local line = stream:peek_line()
          if not line then return end
          stream:replace(#line, "<" .. line .. ">")
        end
      end]]
    local chunks = tonumber(c.filter.streams.streams.chunks_free)
    local place, out, line = 0, 0, "a line\n"
    for i = 1, 2500 do
      local result = c:say(TO_SERVER, place, { payload = line:rep(40) })
      assert.same({ out, 360 }, { at(result.packet, TO_SERVER), #result.packet.tcp.payload }, "segment " .. i)
      place, out = place + 280, out + 360
      local answer = c:say(TO_CLIENT, 0, { acks = out })
      assert.equal(place, acked(answer.packet, TO_CLIENT))
    end
    assert.equal(chunks, tonumber(c.filter.streams.streams.chunks_free))
  end)

  it("that raises has the rest passed, translated", function()
    local c = talk [[edit = true, client = function(stream) stream:peek(1) stream:insert "12345" error "no" end]]
    local result = c:say(TO_SERVER, 0, { payload = "a" })
    assert.equal("12345a", tostring(result.packet.tcp.payload))
    assert.is_truthy(result.log[1]:find("no", 1, true))
    assert.equal(6, at(c:say(TO_SERVER, 1, { payload = "b" }).packet, TO_SERVER))
  end)

  it("that never reads holds nothing", function()
    local c = talk "edit = true, client = function() end"
    for i = 0, 30 do
      local result = c:say(TO_SERVER, i * 1000, { payload = ("a"):rep(1000) })
      assert.same({ "accept", false }, { result.verdict, result.changed })
    end
    assert.is_false(C.ipq_stream_is_heard(c.filter.streams.streams, 0, TO_SERVER))
  end)
end)

describe("an edited connection", function()
  it("is not longer than its FIN", function()
    local c = talk(SAYS)
    c:say(TO_SERVER, 0, { payload = "abc", fin = true })
    assert.is_nil(c:say(TO_SERVER, 4, { payload = "more" }).packet)
    assert.is_nil(c:say(TO_SERVER, 2, { payload = "cd" }).packet)
    assert.equal("12345abc", tostring(c:say(TO_SERVER, 0, { payload = "abc", fin = true }).packet.tcp.payload))
  end)

  it("closes half, and both halves at once", function()
    local c = talk(SAYS)
    local fin = c:say(TO_SERVER, 0, { payload = "abc", fin = true }).packet
    assert.is_true(fin.tcp.fin)
    local answer = c:say(TO_CLIENT, 0, { acks = 9, payload = "still here", fin = true }).packet
    assert.same({ 4, 0, true }, { acked(answer, TO_CLIENT), at(answer, TO_CLIENT), answer.tcp.fin })
    assert.equal(9, at(c:say(TO_SERVER, 4, { acks = 11 }).packet, TO_SERVER))
    c = talk(SAYS)
    c:say(TO_SERVER, 0, { payload = "abc" })
    local one, other = c:say(TO_SERVER, 3, { fin = true }).packet, c:say(TO_CLIENT, 0, { fin = true }).packet
    assert.same({ 8, true, 0, true }, { at(one, TO_SERVER), one.tcp.fin, at(other, TO_CLIENT), other.tcp.fin })
    assert.equal(4, acked(c:say(TO_CLIENT, 1, { acks = 9 }).packet, TO_CLIENT))
    assert.equal(9, at(c:say(TO_SERVER, 4, { acks = 1 }).packet, TO_SERVER))
  end)

  it("is reset in numbers that its receiver knows", function()
    local c = talk(SAYS)
    c:say(TO_SERVER, 0, { payload = "abc" })
    local reset = c:say(TO_SERVER, 3, { rst = true, acks = 0 }).packet
    assert.same({ 8, true }, { at(reset, TO_SERVER), reset.tcp.rst })
    c = talk(SAYS)
    c:say(TO_SERVER, 0, { payload = "abc" })
    reset = c:say(TO_CLIENT, 0, { rst = true, acks = 8 }).packet
    assert.same({ 3, true }, { acked(reset, TO_CLIENT), reset.tcp.rst })
  end)

  it("is asked whether it is alive, with a byte and without", function()
    local c = talk(SAYS)
    c:say(TO_SERVER, 0, { payload = "abc" })
    c:say(TO_CLIENT, 0, { acks = 8 })
    for _, payload in ipairs { "", "?" } do
      local probe = c:say(TO_SERVER, 2, { payload = payload }).packet
      assert.same({ 7, payload == "" and "" or "c" }, { at(probe, TO_SERVER), tostring(probe.tcp.payload) })
    end
  end)

  it("has urgent data where they were", function()
    local c = talk(SAYS)
    local packet = c:say(TO_SERVER, 0, { payload = "abc", urg = true, urgptr = 2 }).packet
    assert.same({ true, 7 }, { packet.tcp.urg, packet.tcp.urgptr })
    packet = c:say(TO_SERVER, 3, { payload = "def", urg = true, urgptr = 2 }).packet
    assert.same({ true, 2 }, { packet.tcp.urg, packet.tcp.urgptr })
  end)

  it("has windows that are scaled where both ends say so", function()
    local mss, scale = { kind = 2, data = "\5\180" }, { kind = 3, data = "\7" }
    for _, case in ipairs { { { mss, scale }, 100 }, { { mss }, 98 } } do
      local c = talk(SAYS, { options = { mss, scale } }, { options = case[1] })
      c:say(TO_SERVER, 0, { payload = "abc" })
      local window = c:say(TO_CLIENT, 0, { acks = 3, window = 100 }).packet.tcp.window
      assert.is_true(math.abs(case[2] - window) <= 1, window)
    end
  end)
end)

describe("the flow of an edited connection that ends", function()
  it("has both ends reset, each in its own numbers, when its time is over", function()
    for _, is_found_by_packet in ipairs { false, true } do
      local c = talk(SAYS)
      c:say(TO_SERVER, 0, { payload = "a" })
      c:say(TO_CLIENT, 0, { acks = 6 })
      local sent
      if is_found_by_packet then
        t.set_time(require "ipq.test.memory".time + 4000)
        sent = c:say(TO_SERVER, 1, { payload = "b" }).sent
      else
        sent = select(3, t.advance(4000))
      end
      -- Filters of other specs may have sent some, too.
      local told = {}
      for _, pkt in ipairs(sent) do
        local direction = pkt.tcp.dport == 80 and TO_SERVER or TO_CLIENT
        if pkt.tcp.rst and at(pkt, direction) == (direction == TO_SERVER and 6 or 0) then told[direction] = true end
      end
      assert.same({ [TO_SERVER] = true, [TO_CLIENT] = true }, told)
    end
  end)
end)

describe("a sender that says other bytes in the place of those that were heard", function()
  local function payload(result) return result.packet and result.packet.tcp.payload:string() end

  for _, edit in ipairs { "", "edit = true, " } do
    local function reader(policy)
      return talk(edit .. "on_limit = '" .. policy .. "', client = function(stream)\n"
        .. "  while stream:read(4) do end\nend")
    end
    local kind = edit == "" and "that is read" or "that is edited"

    it("has those sent that were heard, where on_limit is reset: of a connection " .. kind, function()
      local c = reader "reset"
      assert.equal("abcdefgh", payload(c:say(TO_SERVER, 0, { payload = "abcdefgh" })))
      assert.equal("abcdefgh", payload(c:say(TO_SERVER, 0, { payload = "EVILEVIL" })))
      assert.equal("cd", payload(c:say(TO_SERVER, 2, { payload = "EV" })))
      assert.equal("ghij", payload(c:say(TO_SERVER, 6, { payload = "EVij" })))
      assert.equal("abcdefghij", payload(c:say(TO_SERVER, 0, { payload = "abcdefghij" })))
      assert.equal(3, counted(c, "DIFFERING"))
      c:say(TO_CLIENT, 0, { acks = 4 })
      assert.equal("efgh", payload(c:say(TO_SERVER, 4, { payload = "EVIL" })))
    end)

    it("has its own sent where on_limit is pass: of a connection " .. kind, function()
      local c = reader "pass"
      assert.equal("abcdefgh", payload(c:say(TO_SERVER, 0, { payload = "abcdefgh" })))
      assert.equal("EVILEVIL", payload(c:say(TO_SERVER, 0, { payload = "EVILEVIL" })))
      assert.equal(0, counted(c, "DIFFERING"))
    end)
  end

  it("has those sent that were heard in what was held behind a gap", function()
    local c = talk [[edit = true, on_limit = "reset", client = function(stream)
      stream:peek(8)
      stream:insert "heard "
    end]]
    assert.is_nil(payload(c:say(TO_SERVER, 4, { payload = "efghij" })))
    local first = c:say(TO_SERVER, 0, { payload = "abcdEVIL" })
    local said = {}
    for _, pkt in ipairs { first.packet, unpack(first.sent) } do
      said[#said + 1] = { at(pkt, TO_SERVER), pkt.tcp.payload:string() }
    end
    table.sort(said, function(a, b) return a[1] < b[1] end)
    assert.same({ { 0, "heard abcdEVIL" } }, said)
    assert.equal("EVILij", payload(c:say(TO_SERVER, 4, { payload = "efghij" })))
  end)

  it("has those sent after its handler has returned, too", function()
    local c = talk [[edit = true, on_limit = "reset", client = function(stream)
      stream:peek(4)
      stream:replace(2, "changed")
    end]]
    assert.equal("changedcd", payload(c:say(TO_SERVER, 0, { payload = "abcd" })))
    assert.equal("changedcd", payload(c:say(TO_SERVER, 0, { payload = "EVIL" })))
    assert.equal("changedcdef", payload(c:say(TO_SERVER, 0, { payload = "EVILef" })))
  end)

  it("is reset where more would have to be kept than 8 megabytes that nobody acknowledges", function()
    local c = talk("on_limit = 'reset', client = function(stream) while stream:read(1000) do end end",
      { options = { { kind = 3, data = "\14" } } }, { options = { { kind = 3, data = "\14" } } })
    local piece, most = ("x"):rep(64000), 8 * 2 ^ 20
    c:say(TO_CLIENT, 0, { acks = 0, window = 65535 })
    for from = 0, most - #piece, #piece do
      assert.equal(#piece, #payload(c:say(TO_SERVER, from, { payload = piece })))
    end
    assert.equal(0, counted(c, "RESET"))
    c:say(TO_SERVER, math.floor(most / #piece) * #piece, { payload = piece })
    assert.same({ 1, 1 }, { counted(c, "LIMITED"), counted(c, "RESET") })
  end)
end)
