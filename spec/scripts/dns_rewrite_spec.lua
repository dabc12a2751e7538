-- scripts/dns_rewrite.lua before the test kit.
local ipq = require "ipq"
local script = require "ipq.engine.script"
local t = require "ipq.test"

local PATH = "scripts/dns_rewrite.lua"
local dns = ipq.dns

describe("scripts/dns_rewrite.lua", function()
  local function load(more)
    local arguments = { name = "WWW.example.", A = "198.51.100.1,198.51.100.2", AAAA = "2001:db8::99", ttl = 7 }
    for name, value in pairs(more or {}) do arguments[name] = value end
    return t.load(PATH, arguments)
  end

  local function answer(more)
    local fields = { id = 5, ra = true, ad = true, name = "wWw.Example", type = "A", dport = 4000, edns = {},
      answers = { { name = "www.example", type = "CNAME", data = "real.example" },
        { name = "real.example", data = "192.0.2.1" } },
      authorities = { { name = "example", type = "NS", data = "ns.example" } },
      additional = { { name = "ns.example", data = "192.0.2.53" } } }
    for key, value in pairs(more or {}) do fields[key] = value end
    return fields
  end

  local function data_of(message)
    local list = {}
    for i, one in ipairs(message.answers) do list[i] = ("%s %s %s %d"):format(one.name, one.type, one.data, one.ttl) end
    return list
  end

  for _, address in ipairs { "192.0.2.1", "2001:db8::1" } do
    it("changes the answers, and nothing else, at " .. address, function()
      local result = t.run(load(), t.dns(answer { daddr = address }))
      assert.equal("accept", result.verdict)
      assert.valid_checksums(result.packet)
      local message = dns.parse(tostring(result.packet.udp.payload))
      assert.is_nil(message.malformed)
      assert.same({ "www.example A 198.51.100.1 7", "www.example A 198.51.100.2 7" }, data_of(message))
      assert.same({ 5, true, false, "noerror", 1, 1, 1232 }, { message.id, message.ra, message.ad, message.rcode,
        #message.authorities, #message.additional, message.edns.size })
      assert.truthy(message.bytes:find("\3wWw\7Example\0", 1, true))
    end)
  end

  it("gives what its question's type wants", function()
    local function run(fields, more)
      return dns.parse(tostring(t.run(load(more), t.dns(answer(fields))).packet.udp.payload))
    end
    assert.same({ "www.example AAAA 2001:db8::99 7" }, data_of(run { type = "AAAA", rcode = "nxdomain", answers = {} }))
    assert.same({}, data_of(run({ type = "AAAA" }, { AAAA = "" })))
  end)

  it("leaves all else as it is", function()
    local filter = load()
    for _, packet in ipairs { t.dns(answer { name = "x.www.example" }), t.dns(answer { name = "example" }),
      t.dns(answer { type = "MX" }), t.dns { name = "www.example" }, t.dns(answer { sport = 5353 }),
      t.dns { name = "www.example", sport = 53 }, t.udp { sport = 53, payload = "hello" }, t.tcp { sport = 53 },
      t.fragments(t.dns(answer()), 68)[1] } do
      assert.unchanged(filter, packet)
    end
  end)

  it("does so over TCP", function()
    local function over_tcp(fields)
      fields.dport = nil
      return dns.with_length(dns.build(fields))
    end
    local other = over_tcp(answer { name = "other.example" })
    local result = t.connection(load(), { dport = 53, client = "\0\3abc",
      server = { other .. over_tcp(answer()):sub(1, 9), over_tcp(answer()):sub(10) .. other } })
    assert.same({}, result.faults)
    assert.equal("\0\3abc", result.server)
    assert.equal(other, result.client:sub(1, #other))
    assert.equal(other, result.client:sub(-#other))
    local message = dns.parse(result.client:sub(#other + 3, -#other - 1))
    assert.same({ "www.example A 198.51.100.1 7", "www.example A 198.51.100.2 7" }, data_of(message))
  end)

  it("does not load with arguments that are none", function()
    for _, case in ipairs { { { "name=a..b", "A=192.0.2.1" }, "not a domain name" },
      { { "A=192.0.2.1" }, "name= is missing" }, { { "name=a.b" }, "A or AAAA must be addresses" },
      { { "name=a.b", "A=::1" }, "A must be addresses of that kind" },
      { { "name=a.b", "AAAA=192.0.2.1" }, "AAAA must be addresses of that kind" },
      { { "name=a.b", "A=192.0.2.1", "ttl=x" }, "takes a number" } } do
      local loaded, message = script.load(PATH, case[1])
      assert.is_nil(loaded)
      assert.matches(case[2], message)
    end
  end)
end)
