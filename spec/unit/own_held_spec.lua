-- held:clone() and held:answer(): packets of a script's own, made of one that waits for its verdict; and what both and
-- pkt:answer() make of NAT.
local ipq = require "ipq"
local m = require "spec.support.message"
local packets = require "spec.support.packet"
local source = require "spec.support.source"
local t = require "ipq.test"

-- linux/netfilter/nfnetlink_conntrack.h: CTA_TUPLE_*, CTA_IP_V4_*, CTA_PROTO_*
local function tuple(kind, saddr, daddr, sport, dport)
  return m.attr(kind, m.attr(1, m.attr(1, saddr) .. m.attr(2, daddr)) .. m.attr(2, m.attr(1, "\17")
    .. m.attr(2, m.be16(sport)) .. m.attr(3, m.be16(dport))))
end

--- A question to 203.0.113.1, whose port 53 is that of 10.0.0.2 in truth.
local function question()
  local bytes = packets.ip(17, packets.udp("question", { sport = 5353 }))
  return m.packet(m.hdr(1, 0x0800) .. m.attr(m.CT, tuple(1, "\10\0\0\1", "\203\0\113\1", 5353, 53)
    .. tuple(2, "\10\0\0\2", "\10\0\0\1", 53, 5353)) .. m.attr(m.CT_INFO, m.be32(2)) .. m.attr(m.PAYLOAD, bytes))
end

local function hold(packet)
  local held
  local result = t.run(function(pkt) held = pkt:hold() end, packet)
  return held, result
end

describe("an answer to a packet behind NAT", function()
  it("bears the address that the sender knows", function()
    local own
    source.new { question() }:verdicts(function(pkt) own = assert(pkt:answer { payload = "the answer" }) end)
    assert.same({ "203.0.113.1", "10.0.0.1", 53, 5353 }, { own.saddr, own.daddr, own.sport, own.dport })
    assert.valid_checksums(t.packet(own:bytes()))
  end)

  it("does so when the packet was held", function()
    local held, own
    local src = source.new { question() }
    src:verdicts(function(pkt) held = pkt:hold() end)
    collectgarbage()
    own = assert(held:answer { payload = "the answer" })
    held:verdict(ipq.DROP)
    assert.same({ "203.0.113.1", "10.0.0.1", 53, 5353 }, { own.saddr, own.daddr, own.sport, own.dport })
    assert.valid_checksums(t.packet(own:bytes()))
  end)
end)

describe("a held packet", function()
  it("has clones, as its filter has left it, which outlive it", function()
    local packet = t.udp { payload = "hello", ttl = 9, mark = 5 }
    local held
    local result = t.run(function(pkt)
      pkt.ip.ttl = 3
      held = pkt:hold()
      pkt.udp.payload:replace(0, 5, "longer")
    end, packet)
    local own = assert(held:clone())
    own.udp.payload:write(0, "L")
    own.mark = 6
    held:verdict(ipq.ACCEPT)
    assert.equal(packet:with { ttl = 3, payload = "longer" }.bytes, result.packet.bytes)
    assert.equal(packet:with { ttl = 3, payload = "Longer" }.bytes, own:bytes())
    assert.equal(5, result.packet.mark)
  end)

  it("has none in its filter, nor when it has had its verdict", function()
    local held
    t.run(function(pkt)
      held = pkt:hold()
      for _, name in ipairs { "clone", "answer" } do
        local ok, message = pcall(function() held[name](held, {}) end)
        assert.is_false(ok)
        assert.matches("^spec/unit/own_held_spec.lua:%d+: the filter that holds the packet has not returned yet: "
          .. "there it is pkt:" .. name .. "%(%)$", message)
      end
    end, t.udp {})
    held:verdict()
    local ok, message = pcall(function() return (held:clone()) end)
    assert.is_false(ok)
    assert.matches("^spec/unit/own_held_spec.lua:%d+: the packet has had its verdict already$", message)
  end)

  it("says of what its methods are", function()
    local held = hold(t.udp {})
    for name, call in pairs { ["clone()"] = function() held.clone {} end,
      ["answer()"] = function() held.answer("x") end } do
      local ok, message = pcall(call)
      assert.is_false(ok)
      assert.truthy(message:find(name .. " is a method of what pkt:hold() gives: held:" .. name, 1, true), message)
    end
    held:verdict()
  end)

  it("raises where an answer is given no table, and gives nil and why where there is none", function()
    local held = hold(t.esp {})
    local ok, message = pcall(function() return (held:answer()) end)
    assert.is_false(ok)
    assert.matches("^spec/unit/own_held_spec.lua:%d+: answer%(%) takes a table of fields", message)
    local own, why = held:answer {}
    assert.is_nil(own)
    assert.equal("the packet is malformed, or not all there", why)
    held:verdict()
  end)
end)
