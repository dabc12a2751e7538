-- What @NAME@.lua has to do. Run by: ipq-lua --test spec
local t = require "ipq.test"

describe("@NAME@.lua", function()
  local filter = t.load "@NAME@.lua"

  it("drops Telnet", function()
    assert.verdict("drop", filter, t.tcp { dport = 23 })
    assert.verdict("drop", filter, t.tcp { dport = 23, daddr = "2001:db8::2" })
  end)

  it("drops what hides its port", function()
    assert.verdict("drop", filter, t.tcp { dport = 23, data_len = 30 }) -- cut off within the TCP header
    assert.verdict("drop", filter, t.fragments(t.tcp { dport = 23, payload = "hello" }, 28)[1])
  end)

  it("leaves all else as it is", function()
    assert.unchanged(filter, t.tcp { dport = 22 })
    assert.unchanged(filter, t.udp { dport = 23 })
    assert.unchanged(filter, t.icmp {})
  end)

  it("drops another port where it is told to", function()
    local other = t.load("@NAME@.lua", { port = 8080 })
    assert.verdict("drop", other, t.tcp { dport = 8080 })
    assert.verdict("accept", other, t.tcp { dport = 23 })
    assert.error_matches(function() t.load("@NAME@.lua", { prot = 23 }) end, "'prot=23' is no argument")
  end)
end)
