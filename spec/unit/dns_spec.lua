local document = require "spec.support.document"
local ipq = require "ipq"
local m = require "spec.support.message"
local source = require "spec.support.source"
local t = require "ipq.test"
local traces = require "spec.support.traces"

local dns = ipq.dns
local be16, be32 = m.be16, m.be32

local function message_of(f, ...)
  local ok, message = pcall(f, ...)
  assert.is_false(ok)
  return message
end

--- A message of these bytes behind its header.
local function raw(counts, rest, flags)
  return be16(7) .. be16(flags or 0x8180) .. be16(counts[1]) .. be16(counts[2] or 0) .. be16(counts[3] or 0)
    .. be16(counts[4] or 0) .. rest
end

local QUESTION = "\3WwW\7example\3oRg\0" .. be16(1) .. be16(1)

local function record(name, kind, data, more)
  return name .. be16(kind) .. be16(1) .. be32(60) .. be16(#data + (more or 0)) .. data
end

describe("dns.parse", function()
  it("reads the header and the first question", function()
    local q = dns.parse(dns.build { id = 0xabcd, name = "WWW.Example.org", type = "AAAA", cd = true, opcode = 4 })
    assert.same({ 0xabcd, false, false, true, false, true, 4, "noerror", "www.example.org", "AAAA", 1 },
      { q.id, q.qr, q.aa, q.rd, q.ra, q.cd, q.opcode, q.rcode, q.name, q.type, q.class })
    assert.equal("DNS query AAAA www.example.org", tostring(q))
    assert.same({ { name = "www.example.org", type = "AAAA", class = 1 } }, q.questions)
    assert.same({ {}, {}, {} }, { q.answers, q.authorities, q.additional })
    assert.same({}, { q.edns, q.malformed })
  end)

  it("takes packets of both families, live ones and a script's own, and Buffers", function()
    for _, address in ipairs { "192.0.2.1", "2001:db8::1" } do
      local seen = {}
      local packet = t.dns { saddr = address, name = "a.example" }
      local result = t.run(function(pkt)
        seen[1] = dns.parse(pkt).name
        seen[2] = dns.parse(pkt:clone()).name
        seen[3] = dns.parse(pkt.udp.payload).name
        seen[4] = dns.parse(pkt.udp.payload:string()).name
      end, packet)
      assert.equal("accept", result.verdict)
      assert.same({ "a.example", "a.example", "a.example", "a.example" }, seen)
    end
  end)

  it("says why a packet has none", function()
    local function of(packet)
      local why
      t.run(function(pkt) why = select(2, dns.parse(pkt)) end, packet)
      return why
    end
    assert.equal("the packet carries no UDP", of(t.tcp { dport = 53 }))
    assert.equal("there is no whole DNS header", of(t.udp { dport = 53, payload = "hello" }))
    assert.equal("there is no whole DNS header", of(t.udp { dport = 53 }))
    assert.equal("the packet carries no UDP", of(t.fragments(t.udp { payload = ("x"):rep(99) }, 48)[2]))
    assert.equal("the message ends within a name, a question or a record",
      of(t.dns { name = "example.org", data_len = 45 }))
  end)

  it("is good until the next message is parsed, whatever becomes of the packet", function()
    local q
    t.run(function(pkt)
      q = dns.parse(pkt)
      pkt.udp.payload:write(0, ("\255"):rep(20))
    end, t.dns { name = "a.example" })
    assert.equal("a.example", q.name)
    assert.is_nil((dns.parse "x"))
    assert.matches("^spec/unit/dns_spec.lua:%d+: the message was used after another dns.parse",
      message_of(function() return q.name end))
    assert.matches("^spec/unit/dns_spec.lua:%d+: the message was used after", message_of(function()
      local bytes, why = dns.answer(q, {})
      return bytes, why
    end))
  end)

  it("writes names so that dots are between labels, and they are safe to print", function()
    local q = dns.parse(raw({ 1 }, "\4a.b\\\3\0\127\255\1*\0" .. be16(1) .. be16(1)))
    assert.equal("a\\046b\\092.\\000\\127\\255.*", q.name)
    assert.equal(".", dns.parse(raw({ 1 }, "\0" .. be16(2) .. be16(1))).name)
    assert.same({}, { dns.parse(raw({ 0 }, "")).name })
  end)

  it("names types and rcodes, or numbers them", function()
    local q = dns.parse(dns.build { type = 999, rcode = 13, qr = true })
    assert.same({ "TYPE999", 13 }, { q.type, q.rcode })
    q = dns.parse(dns.build { type = "TYPE65", rcode = "badvers", edns = {} })
    assert.same({ "HTTPS", "badvers" }, { q.type, q.rcode })
  end)

  local records = {
    { "A", "192.0.2.1" }, { "AAAA", "2001:db8::1" }, { "CNAME", "b.example" }, { "NS", "ns.example" },
    { "PTR", "host.example" }, { "DNAME", "other.example" }, { "MX", "10 mail.example" }, { "TXT", "hello world" },
    { "TXT", { "one", "", "three" } }, { "SRV", "1 2 5060 sip.example" },
    { "SOA", "ns.example admin.example 1 2 3 4 4294967295" },
    { "SVCB", { priority = 0, target = "svc.example" } },
    { "HTTPS", { priority = 1, target = ".", alpn = { "h2", "h3" }, port = 8443,
      ipv4hint = { "192.0.2.1", "192.0.2.2" },
      ipv6hint = { "::1" }, ech = "\0\1\2", mandatory = { "alpn", "port" }, ["no-default-alpn"] = true,
      dohpath = "/q{?dns}", key999 = "x" } },
    { "TLSA", "\3\1\1" .. ("\7"):rep(32) }, { "TYPE65280", "" },
  }
  for _, case in ipairs(records) do
    it("reads and builds records of " .. case[1], function()
      local given = { name = "a.example", type = case[1], class = 1, ttl = 3600, data = case[2] }
      local bytes = dns.build { name = "a.example", answers = { given }, authorities = { given },
        additional = { given, given } }
      local message = dns.parse(bytes)
      assert.same({ { given }, { given }, { given, given } },
        { message.answers, message.authorities, message.additional })
      assert.is_nil(message.malformed)
      assert.equal(bytes, dns.rewrite(message, {}))
    end)
  end

  it("reads EDNS", function()
    local edns = { size = 4096, version = 0, rcode = 0, dnssec_ok = true,
      options = { { code = 10, data = "cookie12" }, { code = 12, data = "" } } }
    local message = dns.parse(dns.build { edns = edns, additional = { { name = "x", data = "192.0.2.1" } } })
    assert.same(edns, message.edns)
    assert.equal(1, #message.additional)
  end)

  it("follows names that refer to others, also within data", function()
    local bytes = raw({ 1, 3 }, QUESTION .. record("\192\12", 5, "\1m\192\16")
      .. record("\1m\192\16", 15, "\0\10\192\12")
      .. record("\192\16", 2, "\192\45"))
    local message = dns.parse(bytes)
    assert.same({ "m.example.org", "10 www.example.org", "m.example.org" },
      { message.answers[1].data, message.answers[2].data, message.answers[3].data })
    assert.is_nil(message.malformed)
  end)

  it("is compiled, and names that come again make no garbage", function()
    local messages = {}
    for i = 1, 64 do messages[i] = m.simple(i, t.dns { name = ("host%d.example"):format(i) }.bytes) end
    local src, seen = source.new(messages), 0
    local run = src:judge(function(pkt)
      local q = dns.parse(pkt)
      if q and q.name and not q.qr and q.type == "A" then seen = seen + 1 end
      return ipq.ACCEPT
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
    src:plan({ 64 }, 3000)
    run()
    local more = traces.garbage(function()
      src:plan({ 64 }, 300)
      run()
    end) * 1024 / 300 / 64
    assert.equal((5000 + 5 * 300) * 64, seen)
    assert.is_true(more < 0.1, more .. " bytes a packet")
  end)
end)

describe("a hostile message", function()
  local pointer_to_itself = raw({ 1 }, "\192\12" .. be16(1) .. be16(1))
  local refused = {
    ["refers to what is not before it"] = { pointer_to_itself, raw({ 1 }, "\1a\192\12" .. be16(1) .. be16(1)),
      raw({ 1 }, "\192\14\1a\0" .. be16(1) .. be16(1)), raw({ 1 }, "\192\0" .. be16(1) .. be16(1)) },
    ["a label is of a kind"] = { raw({ 1 }, "\64x\0" .. be16(1) .. be16(1)), raw({ 1 }, "\128") },
    ["ends within a name"] = { raw({ 1 }, ""), raw({ 1 }, "\3ww"), raw({ 1 }, "\3www"), raw({ 1 }, "\0\0\1\0"),
      raw({ 1 }, "\192"), raw({ 65535 }, "") },
    ["more than 255 bytes"] = { raw({ 1 }, ("\63" .. ("x"):rep(63)):rep(4) .. "\0" .. be16(1) .. be16(1)) },
  }
  for why, list in pairs(refused) do
    it("is refused: a name " .. why, function()
      for _, bytes in ipairs(list) do
        local message, told = dns.parse(bytes)
        assert.is_nil(message)
        assert.matches(why, told)
      end
    end)
  end

  it("may have a name of 255 bytes, in whatever letters", function()
    local name = ("\63" .. ("\1"):rep(63)):rep(3) .. "\61" .. ("\1"):rep(61) .. "\0"
    assert.equal(255, #name)
    local q = dns.parse(raw({ 1 }, name .. be16(1) .. be16(1)))
    assert.equal(4 * 250 + 3, #q.name)
    assert.equal(name, dns.build({ name = q.name }):sub(13, -5))
  end)

  local malformed = {
    ["ends within"] = { raw({ 1, 1 }, QUESTION), raw({ 1, 1 }, QUESTION .. "\192"),
      raw({ 1, 1 }, QUESTION .. record("\0", 1, "\1\2\3\4", 1)), raw({ 1, 65535 }, QUESTION),
      raw({ 2 }, QUESTION .. "\0\0\1"), raw({ 1, 0, 0, 1 }, QUESTION .. "\0" .. be16(41) .. be16(512)) },
    ["not before it"] = { raw({ 1, 1 }, QUESTION .. record("\192\100", 1, "\1\2\3\4")),
      raw({ 2 }, QUESTION .. "\192\33\0\1\0\1"), raw({ 1, 1 }, QUESTION .. "\1a\192\33" .. ("\0"):rep(10)) },
    ["not what its type wants"] = { raw({ 1, 1 }, QUESTION .. record("\0", 1, "\1\2\3")),
      raw({ 1, 1 }, QUESTION .. record("\0", 28, "\1\2\3\4")), raw({ 1, 1 }, QUESTION .. record("\0", 5, "\1a\0x")),
      raw({ 1, 1 }, QUESTION .. record("\0", 5, "")), raw({ 1, 1 }, QUESTION .. record("\0", 5, "\3ab")),
      raw({ 1, 2 }, QUESTION .. record("\0", 5, "\1a") .. record("\0", 1, "\1\2\3\4")),
      raw({ 1, 1 }, QUESTION .. record("\0", 15, "\0")), raw({ 1, 1 }, QUESTION .. record("\0", 16, "")),
      raw({ 1, 1 }, QUESTION .. record("\0", 16, "\2a")), raw({ 1, 1 }, QUESTION .. record("\0", 6, "\0\0" .. be32(1))),
      raw({ 1, 1 }, QUESTION .. record("\0", 33, be32(1))), raw({ 1, 1 }, QUESTION .. record("\0", 65, "\0\1")),
      raw({ 1, 1 }, QUESTION .. record("\0", 65, "\0\1\0" .. be16(3) .. be16(3) .. "\0\1")),
      raw({ 1, 1 }, QUESTION .. record("\0", 65, "\0\1\0" .. be16(3) .. be16(2) .. "\0\1" .. be16(1) .. be16(0))),
      raw({ 1, 1 }, QUESTION .. record("\0", 65, "\0\1\0" .. be16(4) .. be16(3) .. "\1\2\3")),
      raw({ 1, 1 }, QUESTION .. record("\0", 35, "\0\1\0\1\9abc")),
      raw({ 1, 0, 0, 1 }, QUESTION .. record("\0", 41, "\0\1\0")),
      raw({ 1, 0, 0, 1 }, QUESTION .. record("\0", 41, "\0\1\0\9")) },
  }
  for why, list in pairs(malformed) do
    it("says why its sections cannot be read: " .. why, function()
      for i, bytes in ipairs(list) do
        local message = assert(dns.parse(bytes))
        assert.matches(why, message.malformed or "", i)
        assert.same({ nil, message.malformed }, { dns.rewrite(message, {}) })
        assert.is_true(message.answers == nil or message.questions == nil or message.edns == nil)
      end
    end)
  end

  it("of 64 KiB costs little, whatever is in it", function()
    math.randomseed(3)
    local chain = { ("\63" .. ("x"):rep(63)):rep(3) .. "\0" }
    while #chain < 5000 do chain[#chain + 1] = record("\192\12", 2, "\192\12") end
    local labels = ("\1a"):rep(126) .. "\0"
    local long = {}
    while #long < 3000 do long[#long + 1] = record("\192\12", 15, "\0\1\192\12") end
    local start = os.clock()
    for _, bytes in ipairs { raw({ 65535, 65535, 65535, 65535 }, ("\0"):rep(65523)),
      raw({ 0, 4999 }, table.concat(chain, "", 2)):sub(1, 65535),
      raw({ 1, 3000 }, labels .. be32(1) .. table.concat(long)),
      raw({ 0, 65535 }, ("\192\12"):rep(32761)), raw({ 0, 0, 0, 65535 }, ("\0\0\41" .. ("\0"):rep(8)):rep(5956)) } do
      local message = dns.parse(bytes)
      if message then
        local _ = { message.malformed, message.edns, message.rcode, dns.rewrite(message, {}) }
        _ = dns.answer(bytes, {})
      end
    end
    for _ = 1, 3000 do
      local size = math.random(12, 200)
      local list = {}
      for i = 1, size do list[i] = string.char(math.random(3) == 1 and math.random(0, 255) or math.random(0, 3)) end
      local bytes = table.concat(list)
      local message = dns.parse(bytes)
      if message then
        local _ = { tostring(message), message.malformed, message.answers, message.edns, dns.rewrite(message, {}) }
        _ = dns.answer(bytes, { A = "192.0.2.1" })
      end
    end
    assert.is_true(os.clock() - start < 20 * require "spec.support.netns".slow)
  end)

  it("has larger ones than 65,535 bytes refused", function()
    assert.same({ nil, "there are more bytes than a DNS message has" }, { dns.parse(("\0"):rep(65536)) })
    assert.truthy(dns.parse(("\0"):rep(65535)))
  end)
end)

describe("dns.answer", function()
  --- A query by hand, whose letters are of both kinds.
  local function query(kind, more, flags)
    return raw({ 1, 0, 0, more and 1 or 0 }, "\3WwW\7example\3oRg\0" .. be16(kind) .. be16(1) .. (more or ""),
      flags or 0x0110)
  end
  local DO = "\0" .. be16(41) .. be16(4096) .. be32(0x8000) .. be16(4) .. be16(3) .. be16(0)

  it("answers NXDOMAIN, with the question as it is", function()
    local bytes = dns.answer(query(1), { rcode = "nxdomain" })
    assert.equal(raw({ 1 }, QUESTION, 0x8193), bytes)
    local answer = dns.parse(bytes)
    assert.same({ 7, true, true, true, true, false, "nxdomain", "www.example.org" },
      { answer.id, answer.qr, answer.rd, answer.ra, answer.cd, answer.aa, answer.rcode, answer.name })
  end)

  it("answers with addresses, those that are asked for", function()
    local fields = { A = { "192.0.2.1", "192.0.2.2" }, AAAA = "::", ttl = 5 }
    local function data(kind)
      local answer = dns.parse(dns.answer(query(kind), fields))
      local list = {}
      for i, one in ipairs(answer.answers) do
        assert.same({ "www.example.org", 5 }, { one.name, one.ttl })
        list[i] = one.type .. " " .. one.data
      end
      return list
    end
    assert.same({ "A 192.0.2.1", "A 192.0.2.2" }, data(1))
    assert.same({ "AAAA ::" }, data(28))
    assert.same({ "A 192.0.2.1", "A 192.0.2.2", "AAAA ::" }, data(255))
    assert.same({}, data(16))
  end)

  it("keeps EDNS, and the DO bit", function()
    local answer = dns.parse(dns.answer(query(1, DO), { A = "0.0.0.0" }))
    assert.same({ size = 1232, version = 0, rcode = 0, dnssec_ok = true, options = {} }, answer.edns)
    answer = dns.parse(dns.answer(query(1, (DO:gsub("\128\0", "\0\0"))), { rcode = "badvers" }))
    assert.is_false(answer.edns.dnssec_ok)
    assert.equal("badvers", answer.rcode)
    assert.same({ nil, "this rcode takes EDNS, which the query has not" }, { dns.answer(query(1), { rcode = 16 }) })
  end)

  it("is empty and says so where who asks takes no more, but over TCP", function()
    local list = {}
    for i = 1, 100 do list[i] = "192.0.2." .. i end
    local bytes = dns.answer(query(1), { A = list })
    assert.is_true(#bytes <= 512)
    assert.same({ true, 0 }, { dns.parse(bytes).tc, #dns.parse(bytes).answers })
    bytes = dns.answer(query(1, DO), { A = list })
    assert.same({ false, 100 }, { dns.parse(bytes).tc, #dns.parse(bytes).answers })
    bytes = dns.answer(query(1), { A = list, tcp = true })
    assert.equal(be16(#bytes - 2), bytes:sub(1, 2))
    assert.equal(100, #dns.parse(bytes:sub(3)).answers)
    local big = {}
    for i = 1, 5000 do big[i] = "192.0.2.1" end
    assert.same({ nil, "the message would have more than 65535 bytes" },
      { dns.answer(query(1), { A = big, tcp = true }) })
  end)

  it("answers with records of any kind, and names that refer to the question", function()
    local bytes = dns.answer(query(1), { aa = true, answers = { { name = "www.example.org", type = "CNAME",
      data = "sink.example.org" }, { name = "sink.example.org", data = "192.0.2.1" } } })
    assert.equal(raw({ 1, 2 }, QUESTION .. "\192\12" .. be16(5) .. be16(1) .. be32(300) .. be16(7) .. "\4sink\192\16"
      .. "\192\45" .. be16(1) .. be16(1) .. be32(300) .. be16(4) .. "\192\0\2\1", 0x8590), bytes)
  end)

  it("answers no answer, and nothing that asks nothing", function()
    assert.same({ nil, "it is an answer itself" }, { dns.answer(query(1, nil, 0x8180), {}) })
    assert.same({ nil, "it asks nothing" }, { dns.answer(raw({ 0 }, "", 0), {}) })
    assert.same({ nil, "there is no whole DNS header" }, { dns.answer("x", {}) })
    assert.matches("ends within", select(2, dns.answer(raw({ 2 }, QUESTION, 0), {})))
  end)

  it("says which field is wrong, at the caller's line", function()
    for pattern, fields in pairs {
      ["the fields of an answer have no 'rcod'"] = { rcod = 1 }, ["there is no rcode 'x'"] = { rcode = "x" },
      ["of an A record is an IPv4 address, not \"::\""] = { A = "::" }, ["A is an address, or a list"] = { A = 5 },
      ["ttl is a whole number"] = { ttl = -1 }, ["answers are a list"] = { answers = "x" },
    } do
      local message = message_of(function()
        local bytes = dns.answer(query(1), fields)
        return bytes
      end)
      assert.matches("^spec/unit/dns_spec.lua:%d+: dns: .*", message)
      assert.truthy(message:find(pattern, 1, true), message)
    end
    assert.matches("^spec/unit/dns_spec.lua:%d+: a DNS message is in a packet, a Buffer or a string, not in nothing$",
      message_of(function() dns.answer() end))
    assert.matches("not in a table$", message_of(function() dns.parse {} end))
  end)
end)

describe("dns.rewrite", function()
  local original = dns.build { id = 9, qr = true, aa = true, ra = true, name = "WWW.example", answers = {
    { name = "www.example", type = "CNAME", data = "real.example" }, { name = "real.example", data = "192.0.2.1" } },
    authorities = { { name = "example", type = "NS", data = "ns.example" } },
    additional = { { name = "ns.example", type = "AAAA", data = "2001:db8::53" } }, edns = { dnssec_ok = true } }

  it("changes a section, and leaves the others and the question's letters", function()
    local message = dns.parse(original)
    local authorities, additional = message.authorities, message.additional
    local bytes = dns.rewrite(message, { answers = { { name = "www.example", ttl = 1, data = "198.51.100.1" },
      { name = "www.example", ttl = 1, data = "198.51.100.2" } } })
    assert.truthy(bytes:find("\3WWW\7example\0", 13, true))
    local changed = dns.parse(bytes)
    assert.same({ 9, true, true, true }, { changed.id, changed.qr, changed.aa, changed.edns.dnssec_ok })
    assert.same({ authorities, additional }, { changed.authorities, changed.additional })
    assert.same({ "198.51.100.1", "198.51.100.2" }, { changed.answers[1].data, changed.answers[2].data })
    assert.is_nil(changed.malformed)
  end)

  it("changes flags, the rcode and EDNS", function()
    local changed = dns.parse(dns.rewrite(original, { id = 1, aa = false, ad = true, rcode = "refused", edns = false,
      answers = {}, authorities = {}, additional = {} }))
    assert.same({ 1, false, true, true, "refused" }, { changed.id, changed.aa, changed.ad, changed.ra, changed.rcode })
    assert.same({ {}, {}, {} }, { changed.answers, changed.authorities, changed.additional })
    assert.is_nil(changed.edns)
  end)

  it("gives names in data whole that may be referred to: also of old types", function()
    local bytes = raw({ 1, 2 }, QUESTION .. record("\192\12", 35, "\0\1\0\2\1u\3sip\0\192\12")
      .. record("\192\12", 14, "\192\12\192\16"))
    local changed = dns.parse(dns.rewrite(bytes, {}))
    local www = "\3www\7example\3org\0"
    assert.same({ "\0\1\0\2\1u\3sip\0" .. www, www .. "\7example\3org\0" },
      { changed.answers[1].data, changed.answers[2].data })
  end)
end)

describe("dns.build", function()
  it("says what is wrong, at the caller's line", function()
    for pattern, fields in pairs {
      ["message's fields have no 'nam'"] = { nam = "x" }, ["there is no type 'XYZ'"] = { type = "XYZ" },
      ["a label of 64 bytes; 63"] = { name = ("x"):rep(64) }, ["is no name"] = { name = "a..b" },
      ["more than 255 bytes"] = { name = ("abcdefg."):rep(32) }, ["\"\\\\1\" is no name"] = { name = "\\1" },
      ["id is a whole number from 0 to 65535, not 1.5"] = { id = 1.5 },
      ["there is no parameter 'nonsense'"] = { answers = { { name = "x", type = "HTTPS", data = { nonsense = 1 } } } },
      ["HTTPS record's data is a table"] = { answers = { { name = "x", type = "HTTPS", data = 5 } } },
      ["an SRV record's data is \"0 5 5060"] = { answers = { { name = "x", type = "SRV", data = "x" } } },
      ["65536 is more than 16 bits have"] = { answers = { { name = "x", type = "MX", data = "65536 x" } } },
      ["type TLSA must be bytes"] = { answers = { { name = "x", type = "TLSA", data = 5 } } },
      ["a TXT string of 256 bytes"] = { answers = { { name = "x", type = "TXT", data = ("x"):rep(256) } } },
      ["a name must be a string, not nil"] = { questions = { {} } },
    } do
      local message = message_of(function()
        local bytes = dns.build(fields)
        return bytes
      end)
      assert.matches("^spec/unit/dns_spec.lua:%d+: dns: ", message)
      assert.truthy(message:find(pattern, 1, true), message)
    end
  end)

  it("refers to names that are there, in any letters, and further than 16 of them can be", function()
    local list = {}
    for i = 1, 2000 do
      list[i] = { name = ("Host%d.EXAMPLE.org"):format(i % 40), type = "MX", data = "1 mx.example.org" }
    end
    local bytes = dns.build { name = "www.example.org", answers = list }
    assert.is_true(#bytes < 2000 * 33, #bytes)
    local message = dns.parse(bytes)
    assert.is_nil(message.malformed)
    for i, one in ipairs(message.answers) do
      assert(one.name == ("host%d.example.org"):format(i % 40) and one.data == "1 mx.example.org", i)
    end
  end)
end)

describe("dns.peek", function()
  local function tcp(fields) return dns.with_length(dns.build(fields)) end

  --- What a handler sees of such a stream.
  local function seen_of(client)
    local seen = {}
    _G.note = function(value) seen[#seen + 1] = value end -- luacheck: ignore 122
    finally(function() _G.note = nil end) -- luacheck: ignore 122
    local path = document.temporary [[
      local dns = require("ipq").dns
      return { stream = { port = 80, client = function(stream)
        while true do
          local message, size, skipped = dns.peek(stream)
          note(message and message.name or size or "end")
          if not message and not skipped then return end
          stream:skip(message and size or skipped)
        end
      end } }]]
    local result = t.connection(t.load(path), { client = client })
    os.remove(path)
    assert.same({}, result.faults)
    return seen, result
  end

  it("gives one message after the other, however they are cut", function()
    local all = tcp { name = "a.example" } .. tcp { name = "b.example" }
    for at = 1, #all - 1, 7 do
      local seen, result = seen_of { all:sub(1, at), all:sub(at + 1) }
      assert.same({ "a.example", "b.example", "end" }, seen)
      assert.equal(all, result.server)
    end
  end)

  it("says why one is none, and how much to skip", function()
    local large = ("x"):rep(9000)
    assert.same({ "there is no whole DNS header", "a.example",
      "a message of 9000 bytes is more than stream.peek has, 8192",
      "the stream ends within a message" },
      (seen_of { "\0\3abc" .. tcp { name = "a.example" } .. be16(9000) .. large .. "\0\9abc" }))
    assert.same({ "the stream ends within a message" }, (seen_of { "\0" }))
    assert.same({ "end" }, (seen_of { "" }))
  end)

  it("is for handlers", function()
    assert.matches("^spec/unit/dns_spec.lua:%d+: dns.peek%(%) takes the stream of the handler that calls it",
      message_of(function() dns.peek {} end))
    assert.matches("takes a message of at most 65535", message_of(function() dns.with_length(("x"):rep(65536)) end))
  end)
end)

describe("dns.stream", function()
  it("says what is wrong, at the caller's line", function()
    local function answer() end
    for pattern, fields in pairs {
      ["takes answer, or rewrite, or both"] = {}, ["answer must be a function"] = { answer = 5 },
      ["dns.stream()'s fields have no 'ports'"] = { answer = answer, ports = 53 },
    } do
      local message = message_of(function()
        local made = dns.stream(fields)
        return made
      end)
      assert.matches("^spec/unit/dns_spec.lua:%d+: ", message)
      assert.truthy(message:find(pattern, 1, true), message)
    end
  end)

  it("edits connections to port 53, to others, or that a function selects", function()
    local function answer() end
    local made = dns.stream { answer = answer }
    assert.same({ true, 53, "function", "function" }, { made.edit, made.port, type(made.client), type(made.server) })
    assert.same({ 53, 5353 }, dns.stream({ rewrite = answer, port = { 53, 5353 } }).port)
    assert.is_nil(dns.stream({ rewrite = answer }).client)
    made = dns.stream { rewrite = answer, select = answer }
    assert.same({ nil, answer }, { made.port, made.select })
  end)

  it("answers as the function says, and changes what passes, on one connection", function()
    local path = document.temporary [[
      local dns = require("ipq").dns
      return { stream = dns.stream {
        answer = function(query)
          local name = query.name
          dns.parse(dns.build {}) -- another message
          if name == "a.example" then return { A = "192.0.2.1", AAAA = {} } end
          if name == "big.example" then
            local list = {}
            for i = 1, 2000 do list[i] = "192.0.2.2" end
            return { A = list }
          end
        end,
        rewrite = function(message)
          if message.name == "b.example" then return { answers = {}, rcode = "refused" } end
        end,
      } }]]
    local filter = t.load(path)
    os.remove(path)
    local function tcp(fields) return dns.with_length(dns.build(fields)) end
    local says, answers = {}, {}
    for id, name in ipairs { "a.example", "b.example", "c.example", "big.example" } do
      says[id] = tcp { id = id, name = name }
      answers[id] = tcp { id = id, name = (id == 1 or id == 4) and "invalid" or name, qr = true,
        answers = { { name = name, data = "192.0.2.9" } } }
    end
    local result = t.connection(filter, { dport = 53, client = table.concat(says), server = answers })
    assert.same({ {}, true }, { result.faults, result.is_closed })
    local got, at = {}, 1
    while at < #result.client do
      local size = result.client:byte(at) * 256 + result.client:byte(at + 1)
      local message = dns.parse(result.client:sub(at + 2, at + 1 + size))
      got[message.id] = ("%s %s %d"):format(message.name, message.rcode, #message.answers)
      at = at + 2 + size
    end
    assert.same({ "a.example noerror 1", "b.example refused 0", "c.example noerror 1",
      "big.example noerror 2000" }, got)
  end)
end)

describe("DNS messages", function()
  local tshark = require "spec.support.tshark"
  local MESSAGES = 3000

  it("are to tshark what they are here", function()
    if not tshark.available() then return pending "there is no tshark" end
    math.randomseed(11)
    local function pick(list) return list[math.random(#list)] end
    local words = { "www", "mail", "a", "example", "xn--bcher-kva", "_sip", "net", ("l"):rep(63), "UPPER" }
    local function name()
      local parts = {}
      for i = 1, math.random(1, 3) do parts[i] = pick(words) end
      return table.concat(parts, ".") .. ".org"
    end
    local function ip() return ("192.0.2.%d"):format(math.random(0, 255)) end
    local function ip6() return ("2001:db8::%x"):format(math.random(1, 65535)) end
    local kinds = { A = ip, AAAA = ip6, CNAME = name, NS = name, PTR = name,
      MX = function() return math.random(0, 65535) .. " " .. name() end,
      TXT = function() return ("t"):rep(math.random(9)) end,
      SRV = function() return ("%d %d %d %s"):format(math.random(9), math.random(9), math.random(9), name()) end,
      SOA = function() return ("%s %s %d 2 3 4 5"):format(name(), name(), math.random(2 ^ 31)) end,
      HTTPS = function()
        return { priority = math.random(9), target = name(), alpn = { "h2" }, port = math.random(65535) }
      end }
    local names = { "A", "AAAA", "CNAME", "NS", "PTR", "MX", "TXT", "SRV", "SOA", "HTTPS" }
    local packets, expected = {}, {}
    for i = 1, MESSAGES do
      local kind = pick(names)
      local data = kinds[kind]()
      local bytes = dns.build { id = math.random(0, 65535), qr = true, ra = true, rd = math.random(2) == 1,
        name = name(), type = kind, rcode = pick { "noerror", "nxdomain", "refused" },
        answers = { { name = name(), type = kind, data = data, ttl = math.random(2 ^ 31 - 1) } },
        edns = math.random(2) == 1 and { size = math.random(512, 4096), dnssec_ok = math.random(2) == 1 } or nil }
      if math.random(2) == 1 then bytes = assert(dns.rewrite(bytes, {})) end
      packets[i] = t.udp { sport = 53, dport = 1024, payload = bytes }.bytes
      local message = dns.parse(bytes)
      local edns = message.edns
      expected[i] = { id = message.id, name = message.name, rcode = message.flags % 16, answer = message.answers[1],
        size = edns and tostring(edns.size) or "", dnssec = edns and (edns.dnssec_ok and "1" or "0") or "" }
    end
    local FIELDS = { "dns.id", "dns.qry.name", "dns.flags.rcode", "dns.resp.name", "dns.resp.ttl", "dns.a", "dns.aaaa",
      "dns.cname", "dns.ns", "dns.ptr.domain_name", "dns.mx.preference", "dns.mx.mail_exchange", "dns.txt",
      "dns.srv.target", "dns.srv.port",
      "dns.soa.mname", "dns.soa.serial_number", "dns.svcb.svcpriority", "dns.svcb.targetname", "dns.svcb.svcparam.port",
      "dns.rr.udp_payload_size", "dns.resp.z.do", "_ws.malformed" }
    local rows = tshark.all_fields(packets, FIELDS)
    assert.equal(MESSAGES, #rows)
    for i, row in ipairs(rows) do
      local e = expected[i]
      local function first(field) return (row[field]:match "^[^;]*"):lower() end
      local function is(value, field)
        if value ~= first(field) then
          error(("message %d: %s is %q, not %q"):format(i, field, first(field), tostring(value)))
        end
      end
      is("", "_ws.malformed")
      assert.equal(e.id, tonumber(row["dns.id"]))
      is(e.name, "dns.qry.name")
      is(tostring(e.rcode), "dns.flags.rcode")
      -- It has the parts of a name of SRV by themselves.
      if e.answer.type ~= "SRV" then is(e.answer.name, "dns.resp.name") end
      is(tostring(e.answer.ttl), "dns.resp.ttl")
      local kind, data = e.answer.type, e.answer.data
      if kind == "A" then is(data, "dns.a")
      elseif kind == "AAAA" then is(data, "dns.aaaa")
      elseif kind == "CNAME" then is(data, "dns.cname")
      elseif kind == "NS" then is(data, "dns.ns")
      elseif kind == "PTR" then is(data, "dns.ptr.domain_name")
      elseif kind == "TXT" then is(data, "dns.txt")
      elseif kind == "MX" then
        is(data:match "^%d+", "dns.mx.preference")
        is(data:match "%S+$", "dns.mx.mail_exchange")
      elseif kind == "SRV" then
        is(data:match "%S+$", "dns.srv.target")
        is(data:match "^%d+ %d+ (%d+)", "dns.srv.port")
      elseif kind == "SOA" then
        is(data:match "^%S+", "dns.soa.mname")
        is(data:match "^%S+ %S+ (%d+)", "dns.soa.serial_number")
      else
        is(tostring(data.priority), "dns.svcb.svcpriority")
        is(data.target, "dns.svcb.targetname")
        is(tostring(data.port), "dns.svcb.svcparam.port")
      end
      is(e.size, "dns.rr.udp_payload_size")
      is(e.dnssec, "dns.resp.z.do")
    end
  end)
end)

describe("ipq.dns(3lua)", function()
  local page = document.read "bindings/man/ipq.dns.3lua"
  local types = document.read "bindings/types/ipq/dns.lua"
  local messages = require "ipq.dns.message"
  local writer = require "ipq.dns.writer"

  --- The fields of an annotated class.
  local function class(name)
    local fields = {}
    local body = types:match("%-%-%-@class ipq%." .. name .. "\n(.-)\n\n")
    for field in body:gmatch "%-%-%-@field ([%w_]+)" do fields[field] = true end
    return fields
  end

  local function set_of(list)
    local set = {}
    for _, name in ipairs(list) do set[name] = true end
    return set
  end

  it("names what the module has, and so do the annotations", function()
    local annotated = {}
    for name in types:gmatch "\nfunction dns%.([%w_]+)" do annotated[name] = true end
    local has = {}
    for name in pairs(dns) do
      has[name] = true
      assert.truthy(page:find("\n.It Fn dns." .. name .. " ", 1, true), name)
    end
    assert.same(has, annotated)
  end)

  it("names the fields of messages, of records, and of what they are made of", function()
    assert.same(messages.fields(), class "DnsMessage")
    assert.same(set_of(writer.build_fields), class "DnsFields")
    assert.same(set_of(writer.answer_fields), class "DnsAnswer")
    for _, name in ipairs { "DnsMessage", "DnsFields", "DnsAnswer", "DnsRecord", "DnsEdns", "DnsService" } do
      for field in pairs(class(name)) do
        assert.truthy(page:find("Va [^\n]*%f[%w_]" .. field .. "%f[^%w_]"), name .. "." .. field)
      end
    end
  end)

  it("has an example that answers", function()
    local text = page:match '%.\\" example: %S+\n%.Bd [^\n]*\n(.-)%.Ed\n'
    local path = document.temporary(text)
    local filter = t.load(path)
    os.remove(path)
    local result = t.run(filter, t.dns { name = "www.ads.example" })
    assert.equal("drop", result.verdict)
    assert.equal("nxdomain", dns.parse(tostring(result.sent[1].udp.payload)).rcode)
    assert.unchanged(filter, t.dns { name = "www.example" })
    assert.unchanged(filter, t.tcp { dport = 53 })
  end)
end)
