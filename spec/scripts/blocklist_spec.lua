-- scripts/blocklist.lua on packets in memory.
local ipq = require "ipq"
local m = require "spec.support.message"
local netset = require "spec.support.netset"
local script = require "ipq.engine.script"
local source = require "spec.support.source"

local A, D = ipq.ACCEPT, ipq.DROP
local bytes = netset.bytes

local function ip(saddr, daddr)
  return m.simple(1, "\69\0\0\20" .. ("\0"):rep(8) .. bytes(saddr) .. bytes(daddr))
end
local function ip6(saddr, daddr)
  return m.simple(1, "\96" .. ("\0"):rep(5) .. "\59\64" .. bytes(saddr) .. bytes(daddr))
end

--- Loads it with a file of that text and more arguments.
local function load(text, ...)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
  local s, message, code = script.load("scripts/blocklist.lua", { "file=" .. path, ... })
  os.remove(path)
  return s, message, code
end

describe("scripts/blocklist.lua", function()
  local list = "# bad\n198.51.100.0/24\n2001:db8::/32 ; worse\n192.0.2.7\n"
  local packets = { ip("198.51.100.9", "10.0.0.1"), ip("10.0.0.1", "198.51.100.9"), ip("10.0.0.1", "10.0.0.2"),
    ip("192.0.2.7", "10.0.0.1"), ip("192.0.2.8", "10.0.0.1"), ip6("2001:db8::1", "::1"),
    ip6("::1", "2001:db8::1"), ip6("2001:db9::1", "::1"), m.simple(1, "") }

  it("drops packets from and to the networks in its file", function()
    assert.same({ D, D, A, D, A, D, D, A, A }, source.new(packets):verdicts(assert(load(list)).filter))
  end)

  it("looks at sources alone, or at destinations alone, if asked", function()
    assert.same({ D, A, A, D, A, D, A, A, A },
      source.new(packets):verdicts(assert(load(list, "direction=in")).filter))
    assert.same({ A, D, A, A, A, A, D, A, A },
      source.new(packets):verdicts(assert(load(list, "direction=out")).filter))
  end)

  it("does not load with a direction that is none", function()
    local _, message, code = load(list, "direction=up")
    assert.matches("direction must be in, out or both", message)
    assert.equal("EBAD", code)
  end)

  it("does not load with a bad line, and names it", function()
    local s, message, code = load "198.51.100.0/24\n198.51.100/24\n"
    assert.is_nil(s)
    assert.matches("^scripts/blocklist.lua:%d+: /tmp/[%w_./]+:2: not an address or a prefix", message)
    assert.equal("EBAD", code)
  end)

  it("does not load without its file, and says why", function()
    local _, message = script.load("scripts/blocklist.lua", { "file=/nonexistent/list" })
    assert.matches("^scripts/blocklist.lua:%d+: file=/nonexistent/list: the argument file takes a file that can be "
      .. "read: No such file or directory\n", message)
  end)

  it("does not load without being told a file", function()
    local s, message, code = script.load "scripts/blocklist.lua"
    assert.is_nil(s)
    assert.matches("^scripts/blocklist.lua:%d+: the argument file= is missing: it takes a file that can be read\n",
      message)
    assert.equal("EBAD", code)
  end)
end)
