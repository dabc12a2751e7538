-- scripts/reject_port.lua: what goes to some ports is dropped, and its sender is told.
local script = require "ipq.engine.script"
local t = require "ipq.test"

local PATH = "scripts/reject_port.lua"
local V4, V6 = { saddr = "192.0.2.1", daddr = "192.0.2.2" }, { saddr = "2001:db8::1", daddr = "2001:db8::2" }

--- Those addresses, and these fields.
local function with(addresses, fields)
  for key, value in pairs(addresses) do fields[key] = value end
  return fields
end

--- The types and codes of "port unreachable" and of "administratively prohibited": RFC 792, RFC 1812 section 5.2.7.1,
--- RFC 4443 section 3.1.
local function unreachable(addresses, code4, code6)
  local back = { saddr = addresses.daddr, daddr = addresses.saddr }
  if addresses == V4 then
    back.icmp = { type = 3, code = code4 }
  else
    back.icmpv6 = { type = 1, code = code6 }
  end
  return back
end

describe(PATH, function()
  for _, addresses in ipairs { V4, V6 } do
    it("resets TCP to its port, from " .. addresses.saddr, function()
      local f = t.load(PATH, { port = "23,2323" })
      for _, port in ipairs { 23, 2323 } do
        local result = assert.verdict("reject tcp-reset", f, t.tcp(with(addresses, { dport = port, syn = true })))
        assert.sent(result, { saddr = addresses.daddr, daddr = addresses.saddr, sport = port, tcp = { rst = true } })
      end
    end)

    it("tells UDP that the port is unreachable, from " .. addresses.saddr, function()
      local result = assert.verdict("reject", t.load(PATH), t.udp(with(addresses, { dport = 23, payload = "hello" })))
      assert.sent(result, unreachable(addresses, 3, 4))
    end)

    it("says of both what it is told to say, from " .. addresses.saddr, function()
      local f = t.load(PATH, { kind = "admin-prohibited" })
      for _, build in ipairs { t.tcp, t.udp } do
        local result = assert.verdict("reject admin-prohibited", f, build(with(addresses, { dport = 23 })))
        assert.sent(result, unreachable(addresses, 13, 1))
      end
    end)

    it("sends nothing for what goes elsewhere, from " .. addresses.saddr, function()
      local f = t.load(PATH)
      for _, packet in ipairs { t.tcp(with(addresses, { dport = 22, sport = 23 })),
        t.udp(with(addresses, { dport = 53 })), t.sctp(with(addresses, { dport = 23 })) } do
        assert.same({}, assert.unchanged(f, packet).sent)
      end
    end)

    it("drops what hides its port, and tells nobody, from " .. addresses.saddr, function()
      local f = t.load(PATH)
      local cut = t.tcp(with(addresses, { dport = 23, data_len = addresses == V4 and 22 or 42 }))
      assert.same({}, assert.verdict("drop", f, cut).sent)
    end)
  end

  it("quotes as much of a packet as ICMPv6 may", function()
    local result = t.run(t.load(PATH), t.udp(with(V6, { dport = 23, payload = ("x"):rep(4000) })))
    assert.equal(1280, #result.sent[1].bytes)
  end)

  it("does not load with ports that are none, or a word that nft has not", function()
    for argument, why in pairs { ["port=x"] = "takes ports", ["port=70000"] = "takes ports",
      ["port=1.5"] = "takes ports", ["port="] = "takes ports", ["port=23,"] = "takes ports",
      ["kind=admin-prohibitted"] = "did you mean 'admin%-prohibited'" } do
      local loaded, message = script.load(PATH, { argument })
      assert.is_nil(loaded, argument)
      assert.matches(why, message)
    end
  end)
end)
