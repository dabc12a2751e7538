-- The test kit, misspelt.
local capture = require "spec.support.capture"
local ipq = require "ipq"
local packets = require "spec.support.packet"
local t = require "ipq.test"

--- The message that f() raises, without its place, which is this file's.
local function raised(f)
  local ok, message = pcall(f)
  assert.is_false(ok)
  return (assert(message:match "^spec/unit/test_misuse_spec.lua:%d+: (.*)", message))
end

--- What an assertion in f() says that does not hold.
local function failure(f)
  local ok, message = pcall(f)
  assert.is_false(ok)
  return tostring(type(message) == "table" and message.message or message)
end

local function path_of(text)
  local path = os.tmpname()
  finally(function() os.remove(path) end)
  if type(text) == "table" then
    capture.write(path, text)
  else
    local file = assert(io.open(path, "w"))
    file:write(text)
    file:close()
  end
  return path
end

local function accept() return ipq.ACCEPT end

describe("what is given to the kit", function()
  it("has the options of load()", function()
    local path = path_of "return function() end"
    assert.equal("load()'s options have no 'defualt'; there are default, on_error and restore",
      raised(function() t.load(path, {}, { defualt = ipq.DROP }) end))
    assert.equal("load(): default must be a verdict, as ipq.ACCEPT or ipq.DROP, not the string \"drop\"",
      raised(function() t.load(path, {}, { default = "drop" }) end))
    assert.equal("load(): on_error must be a verdict, as ipq.ACCEPT or ipq.DROP, not 99",
      raised(function() t.load(path, nil, { on_error = 99 }) end))
    assert.equal("load(): default rejects packets, which needs send = true in the script's table",
      raised(function() t.load(path, {}, { default = ipq.REJECT }) end))
    assert.equal("load(): on_error rejects packets, which needs send = true in the script's table",
      raised(function() t.load(path, {}, { on_error = ipq.reject "tcp-reset" }) end))
    assert.equal("load() takes the script's arguments as a table, { limit = 500 }, not a string",
      raised(function() t.load(path, "limit=500") end))
    assert.equal("load()'s options are a table that may have default, on_error and restore, not a string",
      raised(function() t.load(path, {}, "drop") end))
    assert.equal("load() takes the path of a script, not a nil", raised(function() t.load() end))
  end)

  it("has the options of replay() and read()", function()
    local path = path_of { { packets.ip(17, packets.udp "x") } }
    assert.equal("replay()'s options have no 'selct'; there are write, select and arp",
      raised(function() t.replay(path, accept, { selct = "tcp" }) end))
    assert.equal("replay(): select must be a string, not a boolean",
      raised(function() t.replay(path, accept, { select = true }) end))
    assert.equal("replay()'s options are a table that may have write, select and arp, not a string",
      raised(function() t.replay(path, accept, "tcp") end))
    assert.equal("replay() takes the path of a capture, not a nil", raised(function() t.replay(nil, accept) end))
    assert.matches("^read%(%) takes the path of a capture", raised(function() t.read(path, 5) end))
    assert.equal("read()'s options have no 'write'; there are select and arp",
      raised(function() t.read(path, { write = "x" }) end))
    assert.equal("read(): arp must be a boolean, not a string", raised(function() t.read(path, { arp = "yes" }) end))
    assert.matches("^read%(%) takes the path of a capture", raised(function() t.read() end))
  end)

  it("is a packet where it has to be", function()
    assert.equal("describe() takes a packet of the kit, as t.tcp {} or a result's packet, not a table",
      raised(function() t.describe {} end))
    assert.matches("a result's packet, not nil$", raised(function() t.describe(t.run(function()
      return ipq.DROP
    end, t.tcp {}).packet) end))
    assert.matches("^packet%(%) takes a string", raised(function() t.packet("x", "mark") end))
  end)

  it("has options of TCP as a list", function()
    assert.equal("tcp.options must be a list of { kind = number, data = string }; this table has a key 'mss'",
      raised(function() t.tcp { options = { mss = 1400 } } end))
    assert.equal("tcp.options: entry 1 has no 'value'; it may have kind and data",
      raised(function() t.tcp { options = { { kind = 2, value = "x" } } } end))
  end)

  it("has the fields of extension headers and of DNS records", function()
    assert.equal("exthdrs: entry 1's fields have no 'kind'; there are nexthdr and data",
      raised(function() t.udp { exthdrs = { { kind = 60 } } } end))
    assert.equal("dns: a record's fields have no 'adress'; there are name, type, class, ttl and data",
      raised(function() t.dns { answers = { { name = "a", adress = "192.0.2.1" } } } end))
    assert.equal("dns: a question's fields have no 'data'; there are name, type and class",
      raised(function() t.dns { questions = { { name = "a", data = "x" } } } end))
  end)

  it("is an address where a DNS record says so", function()
    for kind, version in pairs { A = 4, AAAA = 6 } do
      for _, data in ipairs { "example.org", version == 4 and "2001:db8::1" or "192.0.2.1" } do
        assert.equal(("dns: the data of an %s record is an IPv%d address, not %q"):format(kind, version, data),
          raised(function() t.dns { answers = { { name = "a", type = kind, data = data } } } end))
      end
    end
  end)

  it("is of the builder's IP version", function()
    assert.equal("t.icmp builds IPv4, and saddr is ::1; t.icmpv6 builds IPv6",
      raised(function() t.icmp { saddr = "::1" } end))
    assert.equal("t.icmpv6 builds IPv6, and daddr is 192.0.2.1; t.icmp builds IPv4",
      raised(function() t.icmpv6 { daddr = "192.0.2.1" } end))
    assert.matches("^t.ip builds IPv4, and saddr is ::1", raised(function() t.ip { saddr = "::1" } end))
    assert.matches("^t.ip6 builds IPv6, and saddr is 1.2.3.4", raised(function() t.ip6 { saddr = "1.2.3.4" } end))
    assert.equal("::1", t.icmpv6 { saddr = "::1" }.saddr)
  end)
end)

describe("what is read from the kit", function()
  it("is a field of the header", function()
    local p = t.tcp { saddr = "192.0.2.9" }
    assert.equal("pkt.tcp has no field 'dprot'; did you mean 'dport'?", raised(function() return p.tcp.dprot end))
    assert.equal("pkt.ip has no field 'hoplimit'; did you mean 'ttl'?", raised(function() return p.ip.hoplimit end))
    local meant = "pkt.ip6 has no field 'exthdrs'; did you mean 'nexthdr'?"
    assert.equal(meant, raised(function() return t.ip6 {}.ip6.exthdrs end))
    assert.is_nil(t.gre {}.gre.key) -- it has none, and others have
    assert.is_nil(t.ip6 {}.ip6:exthdr(60))
    assert.is_nil(p.tcp:option(2))
  end)

  it("is what a result has, or a replay, a record, a filter", function()
    local result = t.run(accept, t.tcp {})
    assert.equal("a result has no 'verdit'; it has verdict, value, judged, packet, changed, error, sent, log and "
      .. "events", raised(function() return result.verdit end))
    assert.is_nil(result.error)
    assert.is_nil(t.run(function() return ipq.DROP end, t.tcp {}).packet)
    local replay = t.replay(path_of { { packets.ip(17, packets.udp "x") } }, accept)
    assert.matches("^a replay has no 'droped'; it has frames, .*, records, log and events$",
      raised(function() return replay.droped end))
    assert.is_nil(replay.damage)
    assert.matches("^a record has no 'verdit'; it has number, ", raised(function() return replay.records[1].verdit end))
    assert.is_nil(replay.records[1].error)
    local filter = t.load(path_of "return function() end")
    assert.matches("^a filter has no 'arg'; it has filter, ", raised(function() return filter.arg end))
    assert.is_nil(filter.default)
  end)

  it("is still there to be walked over, compared and printed", function()
    local tcp = t.tcp { dport = 7 }.tcp
    local seen = 0
    for name in pairs(tcp) do
      assert.is_string(name)
      seen = seen + 1
    end
    assert.is_true(seen > 15)
    assert.same(t.tcp { dport = 7 }.tcp, tcp)
    assert.not_same(t.tcp { dport = 8 }.tcp, tcp)
    assert.matches("dport", failure(function() assert.same({ dport = 5 }, tcp) end))
    assert.matches("accept", failure(function() assert.is_nil(t.run(accept, t.tcp {})) end))
    local path = path_of { { packets.ip(17, packets.udp "x") } }
    assert.same(t.replay(path, accept), t.replay(path, accept))
    assert.matches("unjudged", failure(function() assert.is_nil(t.replay(path, accept)) end))
  end)
end)

describe("assert.valid_checksums", function()
  it("says that there is no packet, and why", function()
    local function message(filter)
      return (failure(function() assert.valid_checksums(t.run(filter, t.tcp {})) end):gsub("^spec[^:]+:%d+: ", ""))
    end
    local none = "there is no packet whose checksums could be right: the filter "
    assert.equal(none .. "dropped it", message(function() return ipq.DROP end))
    assert.equal(none .. "holds it", message(function(pkt) pkt:hold() end))
    assert.matches("^" .. none .. "raised: .*oh no", message(function() error "oh no" end))
  end)
end)
