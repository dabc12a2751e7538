-- The filters in scripts/ on packets in memory. What they do live is in spec/kernel.
local ipq = require "ipq"
local m = require "spec.support.message"
local script = require "ipq.script"
local source = require "spec.support.source"

local A, D = ipq.ACCEPT, ipq.DROP

local function load(name, ...) return assert(script.load("scripts/" .. name .. ".lua", { ... })) end

local id = 0
local function message(packet, more)
  id = id + 1
  return m.simple(id, packet, more)
end

--- IPv4 with this protocol and what follows the header; options are 32-bit words.
local function ip(protocol, rest, options)
  options = options or 0
  return string.char(0x45 + options) .. ("\0"):rep(8) .. string.char(protocol) .. ("\0"):rep(10 + options * 4)
    .. rest
end
local function ip6(protocol, rest)
  return "\96" .. ("\0"):rep(5) .. string.char(protocol) .. ("\0"):rep(33) .. rest
end

local request = "\8\0\0\0\0\1\0\5" .. ("x"):rep(56)
local answer = "\0" .. request:sub(2)
local request6 = "\128" .. request:sub(2)

describe("every filter in scripts/", function()
  local pipe = io.popen "ls scripts/*.lua"
  for path in pipe:lines() do
    it("loads, and survives any packet: " .. path, function()
      local s = assert(script.load(path))
      local packets = { "", "\69", "\96", ("\0"):rep(20), ("\255"):rep(100), ip(1, ""), ip(1, "\8"),
        ip(17, "x"), ip6(58, ""), ip6(58, "\128"), ip(1, request, 10), ("\79"):rep(20) }
      local messages = {}
      for _, packet in ipairs(packets) do messages[#messages + 1] = message(packet) end
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
      message(ip6(58, answer)), message(ip(17, request)), message(ip(1, request, 3)) }
    assert.same({ D, A, D, A, A, D }, src:verdicts(load "drop_icmp".filter))
  end)

  it("lets those of at most max bytes through, by their length on the wire", function()
    local src = source.new { message(ip(1, request)), message(ip(1, request .. "x")),
      message(ip(1, request), m.attr(m.CAP_LEN, m.be32(1500))) }
    assert.same({ A, D, D }, src:verdicts(load("drop_icmp", "max=84").filter))
  end)

  it("says what it does, if asked", function()
    local lines = {}
    local print_before = print
    _G.print = function(line) lines[#lines + 1] = line end -- luacheck: ignore 122
    local ok, err = pcall(function()
      source.new { message(ip(1, request)), message(ip(1, request .. "x")) }
        :verdicts(load("drop_icmp", "max=84", "verbose=yes").filter)
    end)
    _G.print = print_before -- luacheck: ignore 122
    assert(ok, err)
    assert.same({ "ping of 84 bytes, sequence 5: accept", "ping of 85 bytes, sequence 5: drop" }, lines)
  end)

  it("does not load with a max that is no number", function()
    local s, message_ = script.load("scripts/drop_icmp.lua", { "max=many" })
    assert.is_nil(s)
    assert.matches("max must be a number of bytes", message_)
  end)
end)

describe("scripts/count.lua", function()
  it("counts packets and bytes by hook and protocol, and prints them as JSON", function()
    local s = load "count"
    s.start({}, nil)
    local src = source.new { message(ip(6, "12345")), message(ip(6, "")), message(ip6(17, "1")),
      message(ip(200, "")), message "", m.packet(m.hdr(9, 0x800, 1) .. m.attr(m.PAYLOAD, ip(1, ""))) }
    local printed
    local print_before = print
    src:verdicts(s.filter)
    _G.print = function(line) printed = line end -- luacheck: ignore 122
    local carried = s.stop()
    _G.print = print_before -- luacheck: ignore 122
    assert.same({
      output = { tcp = { packets = 2, bytes = 45 }, udp = { packets = 1, bytes = 41 },
        ["protocol 200"] = { packets = 1, bytes = 20 }, other = { packets = 1, bytes = 0 } },
      input = { icmp = { packets = 1, bytes = 20 } },
    }, require "cjson".decode(printed))

    -- After a reload it goes on from there.
    local s2 = load "count"
    s2.start({}, carried)
    source.new { message(ip(6, "")) }:verdicts(s2.filter)
    _G.print = function() end -- luacheck: ignore 122
    assert.equal(3, s2.stop().output.tcp.packets)
    _G.print = print_before -- luacheck: ignore 122
  end)
end)
