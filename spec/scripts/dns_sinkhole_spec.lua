-- scripts/dns_sinkhole.lua before the test kit.
local document = require "spec.support.document"
local ipq = require "ipq"
local script = require "ipq.engine.script"
local t = require "ipq.test"

local PATH = "scripts/dns_sinkhole.lua"
local dns = ipq.dns

describe("scripts/dns_sinkhole.lua", function()
  local list
  -- One for all specs: timers of the filters before read it, too.
  setup(function() list = os.tmpname() end)
  before_each(function() document.write(list, "0.0.0.0 ads.example\n||track.example^\n") end)
  teardown(function() os.remove(list) end)

  local function load(more)
    local arguments = { list = list }
    for name, value in pairs(more or {}) do arguments[name] = value end
    return t.load(PATH, arguments)
  end

  --- The answer that a filter sends to a packet, parsed.
  local function answer(filter, packet)
    local result = t.run(filter, packet)
    assert.equal("drop", result.verdict)
    assert.equal(1, #result.sent)
    assert.valid_checksums(result.sent[1])
    assert.same({ packet.daddr, packet.saddr, 53, packet.sport },
      { result.sent[1].saddr, result.sent[1].daddr, result.sent[1].sport, result.sent[1].dport })
    return dns.parse(tostring(result.sent[1].udp.payload)), result
  end

  for _, address in ipairs { "192.0.2.1", "2001:db8::1" } do
    it("answers that there is no such name, and tells it, from " .. address, function()
      local message, result = answer(load(), t.dns { saddr = address, sport = 4000, id = 77, name = "WwW.Ads.example" })
      assert.same({ 77, "nxdomain", "www.ads.example", true }, { message.id, message.rcode, message.name, message.rd })
      assert.truthy(message.bytes:find("\3WwW\3Ads\7example\0", 1, true))
      local event = result.events[1]
      assert.same({ address, "www.ads.example", "A", "ads.example" }, { event.saddr, event.name, event.type,
        event.listed })
    end)
  end

  it("answers with addresses that are none, if told to", function()
    local filter = load { answer = "zero", ttl = 9 }
    local function data(kind)
      local message = answer(filter, t.dns { name = "x.track.example", type = kind, edns = { dnssec_ok = true } })
      assert.same({ "noerror", true }, { message.rcode, message.edns.dnssec_ok })
      local first = message.answers[1]
      return first and { first.data, first.ttl }
    end
    assert.same({ "0.0.0.0", 9 }, data "A")
    assert.same({ "::", 9 }, data "AAAA")
    assert.is_nil(data "HTTPS")
  end)

  it("leaves all else as it is", function()
    local filter = load()
    for _, packet in ipairs { t.dns { name = "www.example" }, t.dns { name = "xads.example" },
      t.dns { name = "ads.example", qr = true, dport = 53 }, t.dns { name = "ads.example", dport = 5353 },
      t.udp { dport = 53, payload = "hello" }, t.udp { dport = 53 }, t.tcp { dport = 53, payload = "hello" },
      t.icmp {}, t.fragments(t.dns { name = ("x"):rep(60) .. ".ads.example" }, 48)[1] } do
      assert.unchanged(filter, packet)
    end
  end)

  it("reads its list anew when that has changed, and keeps it where it is wrong", function()
    local filter = load()
    local packet = t.dns { name = "new.example" }
    assert.unchanged(filter, packet)
    document.write(list, "new.example\n")
    assert.unchanged(filter, packet)
    assert.matches("1 names", t.advance(5)[1])
    assert.verdict("drop", filter, packet)
    assert.unchanged(filter, t.dns { name = "ads.example" })
    document.write(list, "a b\n")
    assert.matches(":1: not a domain name", t.advance(5)[1])
    assert.verdict("drop", filter, packet)
  end)

  -- Over TCP.

  local function query(name, more)
    local fields = { name = name }
    for key, value in pairs(more or {}) do fields[key] = value end
    return dns.with_length(dns.build(fields))
  end

  --- What is in a stream: messages, each as "id name".
  local function messages(bytes)
    local found, at = {}, 1
    while at < #bytes do
      local size = bytes:byte(at) * 256 + bytes:byte(at + 1)
      local message = assert(dns.parse(bytes:sub(at + 2, at + 1 + size)))
      found[#found + 1] = ("%d %s %s"):format(message.id, message.rcode, message.name)
      at = at + 2 + size
    end
    return found
  end

  for _, loss in ipairs { 0, 0.05 } do
    it("answers over TCP, among others, where of packets are lost " .. loss, function()
      local says = { query("www.example", { id = 1 }) .. query("Ads.example", { id = 2 }),
        query("x.track.example", { id = 3, edns = {} }) .. query("b.example", { id = 4 }) }
      local answers = {}
      for id, name in ipairs { "www.example", "invalid", "invalid", "b.example" } do
        local rcode = name == "invalid" and "nxdomain" or "noerror"
        answers[id] = query(name, { id = id, qr = true, ra = true, rcode = rcode,
          answers = rcode == "noerror" and { { name = name, data = "192.0.2.7" } } or {} })
      end
      -- In another order.
      local result = t.connection(load(), { dport = 53, client = says, loss = loss, seed = 3,
        server = { answers[1], answers[3] .. answers[2], answers[4] } })
      assert.same({ {}, true }, { result.faults, result.is_closed })
      assert.same({ "1 noerror www.example", "2 noerror invalid", "3 noerror invalid", "4 noerror b.example" },
        messages(result.server))
      assert.is_nil(result.server:lower():find("ads", 1, true))
      local got = messages(result.client)
      table.sort(got)
      assert.same({ "1 noerror www.example", "2 nxdomain ads.example", "3 nxdomain x.track.example",
        "4 noerror b.example" }, got)
    end)
  end

  it("lets go on as it is what is no DNS, and resets who asks without end", function()
    local says = "\0\3abc" .. "\0"
    local result = t.connection(load(), { dport = 53, client = says, server = "\0\1x\0" })
    assert.same({ says, "\0\1x\0", {} }, { result.server, result.client, result.faults })
    local many = {}
    for id = 1, 200 do many[id] = query("ads.example", { id = id }) end
    result = t.connection(load(), { dport = 53, client = table.concat(many) })
    assert.is_true(result.is_reset)
  end)

  it("does not load with arguments that are none", function()
    for argument, why in pairs { ["answer=drop"] = "answer must be nxdomain or zero",
      ["ttl=1.5"] = "ttl must be a whole", ["ttl=-1"] = "ttl must be",
      ["seconds=0"] = "seconds must be from",
      ["list=/nonexistent"] = "/nonexistent" } do
      local loaded, message = script.load(PATH, { "list=" .. list, argument })
      assert.is_nil(loaded, argument)
      assert.matches(why, message)
    end
    document.write(list, "a\nb c\n")
    local loaded, message = script.load(PATH, { "list=" .. list })
    assert.is_nil(loaded)
    assert.matches(":2: not a domain name", message)
  end)
end)
