-- Packets inside of packets: what a tunnel carries, and what an ICMP error quotes.
local craft = require "spec.support.craft"
local ffi = require "ffi"
local inside = require "spec.support.inside"
local look = require "spec.support.look"
local m = require "spec.support.message"
local memory = require "ipq.test.memory"
local packets = require "spec.support.packet"
local rewrite = require "spec.support.rewrite"
local source = require "spec.support.source"
local traces = require "spec.support.traces"
local tshark = require "spec.support.tshark"

local put, be16 = craft.put, m.be16
local ACCEPT = require "ipq".ACCEPT

local function hex(bytes) return (bytes:gsub(".", function(c) return ("%02x "):format(c:byte()) end)) end

-- The packet as it leaves a filter; what the filter raises is raised here.
local function judged(bytes, filter, meta)
  local problem
  local outcome = memory.judge(bytes, meta or {}, function(pkt)
    local ok, message = pcall(filter, pkt)
    if not ok then problem = message end
  end)
  if problem then error(problem, 0) end
  if outcome.why then error(outcome.why, 2) end
  return outcome.bytes or bytes
end

local function refusal(bytes, filter)
  local _, message = pcall(judged, bytes, filter)
  return message
end

-- Calls work(tunnel's name, outer version, kind's name, inner packet) for what can be.
local function each_tunneled(work)
  for _, name in ipairs(inside.tunnels) do
    for _, outer in ipairs { 4, 6 } do
      for _, version in ipairs { 4, 6 } do
        for _, kind in ipairs(inside.kinds) do
          if inside.exists(kind, version) then work(name, outer, kind, inside.packet(kind, version)) end
        end
      end
    end
  end
end

local function inner_of(pkt) return pkt.inner end

-- What an error quotes.
local function quoted(pkt)
  local icmp = pkt.icmp or pkt.icmpv6
  return icmp.inner
end

describe("pkt.inner", function()
  it("is the packet that a tunnel carries, of either version in either", function()
    local count = 0
    each_tunneled(function(name, outer, kind, p)
      judged(inside.tunnel(name, outer, p), function(pkt)
        local inner = assert(pkt.inner, name .. " " .. kind)
        assert.equal(p.bytes, inner.payload:string())
        assert.equal(p.kind.protocol, inner.protocol)
        assert.equal(p.version == 4, inner.ip ~= nil)
        assert.equal(p.version == 6, inner.ip6 ~= nil)
        assert.is_false(inner.truncated)
        assert.is_nil(inner.malformed)
        assert.is_nil(inner.inner)
        if kind == "tcp" then
          assert.equal(craft.u16(p.bytes, p.l4), inner.sport)
          assert.equal(craft.u16(p.bytes, p.l4 + 2), inner.tcp.dport)
          assert.equal("hello, world", tostring(inner.tcp.payload))
          assert.equal(12, #inner.tcp.payload)
        end
      end)
      count = count + 1
    end)
    assert.is_true(count > 400, count)
  end)

  it("is nil where a packet carries none, or one to another port", function()
    local p = inside.packet("tcp", 4)
    local vxlan = inside.tunnel("VXLAN", 4, p)
    for _, bytes in ipairs { p.bytes, inside.packet("udp", 6).bytes, inside.packet("unknown", 4).bytes,
      put(vxlan, 22, be16(4790)), inside.error(4, 3, p.bytes), vxlan:sub(1, 40), packets.ip(4, p.bytes .. "x"),
      packets.ip(4, p.bytes, { fragment = 0x2000 }), packets.ip(4, p.bytes:sub(1, 19)),
      packets.ip(47, "\0\0\8\6....") } do
      judged(bytes, function(pkt) assert.is_nil(pkt.inner) end)
    end
    assert.is_nil(judged("", function(pkt) assert.is_nil(pkt.inner) end):match ".")
  end)

  it("is there in a frame that Ethernet has padded", function()
    local p = inside.packet("udp", 4, "x")
    local frame = ("\2"):rep(12) .. "\8\0" .. p.bytes
    local function around(padding)
      local udp = packets.udp("\8\0\0\0\0\0\7\0" .. frame .. ("\0"):rep(padding), { dport = 4789 })
      return packets.ip(17, udp)
    end
    judged(around(60 - #frame), function(pkt)
      assert.equal(p.bytes, pkt.inner.payload:string())
      assert.equal("x", tostring(pkt.inner.udp.payload))
    end)
    judged(around(65 - #frame), function(pkt) assert.is_nil(pkt.inner) end)
  end)

  it("is there where a capture has cut the packet off in it", function()
    local p = inside.packet("tcp", 4, ("x"):rep(100))
    local bytes = inside.tunnel("VXLAN", 4, p)
    local cut = #bytes - 50
    judged(bytes:sub(1, cut), function(pkt)
      assert.is_true(pkt.truncated)
      assert.is_true(pkt.inner.truncated)
      assert.equal(50, #pkt.inner.tcp.payload)
    end, { len = #bytes })
  end)

  it("is of any depth up to 8", function()
    local p = inside.packet("tcp", 4)
    local bytes = p.bytes
    for _ = 1, 10 do bytes = packets.ip(4, bytes) end
    judged(bytes, function(pkt)
      local count, inner = 0, pkt.inner
      while inner do
        count = count + 1
        inner = inner.inner
      end
      assert.equal(8, count)
    end)
    local nested = inside.tunnel("VXLAN", 6, { version = 6, bytes = inside.tunnel("GRE with a checksum", 6, p) })
    judged(nested, function(pkt)
      assert.equal(47, pkt.inner.protocol)
      assert.equal(6, pkt.inner.inner.protocol)
      assert.equal(p.bytes, pkt.inner.inner.payload:string())
      assert.equal(p.bytes, pkt.inner.gre.payload:string())
    end)
  end)
end)

describe("A Buffer of a packet in a tunnel", function()
  local p = inside.packet("tcp", 4)
  local bytes = inside.tunnel("VXLAN", 6, { version = 6, bytes = inside.tunnel("GRE", 6, p) })

  it("is of the packet whose header it is from, not of the next one that begins there", function()
    local after = judged(bytes, function(pkt)
      pkt.fix = false
      pkt.inner.gre.payload:set_u8(0, 0x55)
      assert.is_nil(pkt.inner.inner)
    end)
    assert.equal(hex(put(bytes, #bytes - #p.bytes, "\x55")), hex(after))
  end)

  it("ends where that packet does", function()
    judged(bytes, function(pkt)
      for _, payload in ipairs { pkt.inner.gre.payload, pkt.inner.inner.payload } do
        assert.equal(#p.bytes, #payload)
        assert.error_matches(function() payload:u8(#p.bytes) end, "offset out of bounds")
      end
    end)
  end)
end)

describe("What is assigned to a packet in a tunnel", function()
  it("makes the packet that has been built with it, checksums and all", function()
    local count = 0
    each_tunneled(function(name, outer, kind, p)
      for what, change in pairs(inside.changes) do
        local at, bytes = inside.place(change, kind, p)
        if at then
          local expected = inside.tunnel(name, outer, inside.with(p, at, bytes))
          local after = judged(inside.tunnel(name, outer, p), function(pkt) change.assign(pkt.inner) end)
          assert.equal(hex(expected), hex(after), ("%s of %s over IPv%d in %s over IPv%d"):format(what, kind, p.version,
            name, outer))
          count = count + 1
        end
      end
    end)
    assert.is_true(count > 2000, count)
  end)

  it("does so at any depth", function()
    local p = inside.packet("udp", 4)
    local function around(inner)
      local middle = inside.tunnel("VXLAN", 4, inner)
      local gre = inside.tunnel("GRE with a checksum", 6, { version = 4, bytes = middle })
      return inside.tunnel("GTP-U", 4, { version = 6, bytes = gre })
    end
    for _, what in ipairs { "saddr", "ttl", "sport", "payload" } do
      local change = inside.changes[what]
      local at, bytes = inside.place(change, "udp", p)
      assert.equal(hex(around(inside.with(p, at, bytes))), hex(judged(around(p), function(pkt)
        change.assign(pkt.inner.inner.inner)
      end)), what)
    end
  end)

  it("has the checksum right that the network card was to finish", function()
    local count = 0
    each_tunneled(function(name, outer, kind, p)
      if kind == "unknown" or kind == "udp_without" or kind == "gre_sum" or kind == "icmp" then return end
      for what, change in pairs(inside.changes) do
        local at, bytes = inside.place(change, kind, p)
        if at then
          local expected = inside.tunnel(name, outer, inside.with(p, at, bytes))
          local after = judged(inside.unfinished(name, outer, p), function(pkt) change.assign(pkt.inner) end,
            { csum_ready = false })
          assert.equal(hex(expected), hex(after), ("%s of %s in %s over IPv%d"):format(what, kind, name, outer))
          count = count + 1
        end
      end
    end)
    assert.is_true(count > 1000, count)
  end)

  it("has that right, too, and those around it, two tunnels deep", function()
    local p = inside.packet("tcp", 4)
    local function around(inner, wrap)
      return inside.tunnel("GTP-U", 4, { version = 4, bytes = wrap("VXLAN", 4, inner) })
    end
    -- The tunnel's own checksum counts what the inner one will be: that of the finished packet.
    local whole = around(p, inside.tunnel)
    local field = #whole - #p.bytes + p.l4 + 16
    local unfinished = put(whole, field, be16(craft.pseudo(p, p.bytes)))
    for _, what in ipairs { "saddr", "dport", "payload" } do
      local change = inside.changes[what]
      local at, bytes = inside.place(change, "tcp", p)
      assert.equal(hex(around(inside.with(p, at, bytes), inside.tunnel)), hex(judged(unfinished, function(pkt)
        change.assign(pkt.inner.inner)
      end, { csum_ready = false })), what)
    end
  end)

  it("is followed in what a capture has of a packet", function()
    local C, E = rewrite.C, ffi.C
    local p = inside.packet("tcp", 4)
    local at, new = inside.place(inside.changes.saddr, "tcp", p)
    for _, name in ipairs(inside.tunnels) do
      for _, version in ipairs { 4, 6 } do
        local bytes = inside.tunnel(name, version, p)
        local expected = inside.tunnel(name, version, inside.with(p, at, new))
        -- From where the checksum is there on.
        for len = #bytes - #p.bytes + p.l4 + 18, #bytes do
          local packet, levels, own = ffi.new "struct ipq_packet", ffi.new "struct ipq_inside", rewrite.own(bytes)
          packet.data, packet.data_len, packet.len, packet.cut, packet.fix = own, len, #bytes, E.IPQ_CUT_CAPTURE, 1
          C.ipq_header_parse(packet)
          local inner = C.ipq_inside_open(levels, packet, C.ipq_inside_carried(packet))
          assert.is_true(inner ~= nil, name)
          assert.equal(0, C.ipq_rewrite_store(inner, at, new, #new))
          assert.equal(0, C.ipq_rewrite_finish(packet))
          assert.equal(hex(expected:sub(1, len)), hex(ffi.string(own, len)), ("%s, %d bytes"):format(name, len))
        end
      end
    end
  end)

  it("leaves a checksum as wrong as it was", function()
    for _, kind in ipairs { "tcp", "sctp" } do
      local p = inside.packet(kind, 4)
      local field = p.l4 + p.kind.field
      local wrong = put(p.bytes, field, "\1\2")
      local bytes = inside.tunnel("IP in IP", 4, { version = 4, bytes = wrong })
      local there = judged(bytes, function(pkt) pkt.inner.dport = 7 end)
      local back = judged(there, function(pkt) pkt.inner.dport = craft.u16(p.bytes, p.l4 + 2) end)
      assert.equal(hex(bytes), hex(back))
      assert.not_equal(hex(inside.with(p, p.l4 + 2, "\0\7").bytes), hex(there:sub(21)))
    end
  end)

  it("is all that changes with pkt.fix = false", function()
    local p = inside.packet("tcp", 4)
    local bytes = inside.tunnel("VXLAN", 4, p)
    local after = judged(bytes, function(pkt)
      pkt.fix = false
      pkt.inner.sport = 0x0304
    end)
    assert.equal(hex(put(bytes, #bytes - #p.bytes + p.l4, "\3\4")), hex(after))
  end)

  it("is what a checksum is that is assigned itself", function()
    local p = inside.packet("tcp", 4)
    local bytes = inside.tunnel("GRE", 4, p)
    local after = judged(bytes, function(pkt)
      pkt.inner.tcp.checksum = 0x0304
      pkt.inner.ip.checksum = 0x0506
    end)
    local start = #bytes - #p.bytes
    assert.equal(hex(put(put(bytes, start + p.l4 + 16, "\3\4"), start + 10, "\5\6")), hex(after))
  end)

  it("raises where it would change a length, or where headers are", function()
    local bytes = inside.tunnel("VXLAN", 4, inside.packet("tcp", 4))
    local udp = inside.tunnel("VXLAN", 4, inside.packet("udp", 4))
    for _, try in ipairs {
      { bytes, function(pkt) pkt.inner.tcp.options = "\1\1\1\1" .. ("\1"):rep(36) end },
      { bytes, function(pkt) pkt.inner.ip.options = "\1\1\1\1" end },
      { bytes, function(pkt) pkt.inner.tcp.doff = (pkt.inner.tcp.doff + 1) % 16 end },
      { bytes, function(pkt) pkt.inner.ip.length = 21 end },
      { bytes, function(pkt) pkt.inner.ip.protocol = 17 end },
      { bytes, function(pkt) pkt.inner.ip.mf = true end },
      { bytes, function(pkt) pkt.inner.payload:set_u8(0, 0x46) end },
      { bytes, function(pkt) pkt.inner.payload:write(8, "\7\17\1\2") end },
      { bytes, function(pkt) pkt.inner.tcp.payload:replace(0, 1, "xx") end },
      { bytes, function(pkt) pkt.inner.tcp.payload:resize(3) end },
      { udp, function(pkt) pkt.inner.udp.length = 9 end },
      { udp, function(pkt) pkt.inner.payload:write(22, "\7\7\0\9\0\0") end },
    } do
      local message = refusal(try[1], try[2])
      assert.matches("^spec/unit/inside_spec.lua:%d+: .*the length of a packet inside of another one, and where its "
        .. "headers are, cannot be changed", message)
    end
    assert.matches("inside_spec.lua:%d+: a packet inside of another one has no field 'ttl'; did you mean 'ip.ttl'%?",
      refusal(bytes, function(pkt) pkt.inner.ttl = 1 end))
    assert.matches("inside_spec.lua:%d+: a packet inside of another one has no field 'mark'$",
      refusal(bytes, function(pkt) return pkt.inner.mark end))
    assert.matches("inside_spec.lua:%d+: the field 'inner' of a packet inside of another one cannot be assigned$",
      refusal(bytes, function(pkt) pkt.inner.inner = 1 end))
    assert.matches("inside_spec.lua:%d+: the field 'payload' .* cannot be assigned: its methods change it",
      refusal(bytes, function(pkt) pkt.inner.payload = "x" end))
    assert.matches("inside_spec.lua:%d+: a packet's field 'inner' cannot be assigned$",
      refusal(bytes, function(pkt) pkt.inner = 1 end))
    assert.matches("inside_spec.lua:%d+: ip.saddr must be the text of an IPv4 address$",
      refusal(bytes, function(pkt) pkt.inner.saddr = "x" end))
  end)
end)

describe("pkt.icmp.inner and pkt.icmpv6.inner", function()
  it("are the packet that an error quotes, and nil for other types", function()
    for version, types in pairs(inside.errors) do
      local p = inside.packet("udp", version)
      for kind = 0, 255 do
        judged(inside.error(version, kind, p.bytes), function(pkt)
          local inner = quoted(pkt)
          assert.equal(types[kind] ~= nil, inner ~= nil, kind)
          if inner then assert.equal(p.bytes, inner.payload:string()) end
        end)
      end
      local other = inside.packet("udp", version == 4 and 6 or 4)
      judged(inside.error(version, 3, other.bytes), function(pkt) assert.is_nil(quoted(pkt)) end)
    end
  end)

  it("read as far as the quote goes, and make the quote that has been built with what is assigned", function()
    local count = 0
    for version, types in pairs(inside.errors) do
      for kind in pairs(types) do
        for _, name in ipairs(inside.kinds) do
          local p = inside.exists(name, version) and inside.packet(name, version)
          for len = p and 0 or 1, p and #p.bytes or 0, kind % 3 == 0 and 1 or 7 do
            local bytes = inside.error(version, kind, p.bytes:sub(1, len))
            local header = version == 4 and 20 or 40
            for what, change in pairs(inside.changes) do
              local at, new = inside.place(change, name, p)
              -- What is quoted of TCP counts from its first 8 bytes on, of the others' all of their header.
              local least = change.at == "ip" and header
                or (name == "tcp" or name == "sctp" or name == "dccp") and change.at == "l4" and p.l4 + 8
                or name == "icmp" and p.l4 + 8 or p.body
              if at and len >= math.max(least, at + #new) then
                local with = inside.with(p, at, new)
                -- A CRC32c of what is not all there, or half a checksum, stays as it was.
                local field = p.l4 + (p.kind.field or 0)
                if name == "sctp" and len < #p.bytes or p.kind.field and len == field + 1 then
                  with.bytes = put(with.bytes, field, p.bytes:sub(field + 1, field + (name == "sctp" and 4 or 2)))
                end
                assert.equal(hex(inside.error(version, kind, with.bytes:sub(1, len))), hex(judged(bytes, function(pkt)
                  change.assign(quoted(pkt))
                end)), ("%s of %s, %d bytes in type %d"):format(what, name, len, kind))
                count = count + 1
              end
            end
            judged(bytes, function(pkt)
              local inner = quoted(pkt)
              assert.equal(len >= header, inner ~= nil)
              if not inner then return end
              assert.equal(len < #p.bytes, inner.truncated)
              local has_ports = name ~= "icmp" and name ~= "icmpv6" and name ~= "gre_sum" and name ~= "unknown"
              assert.equal(has_ports and len >= p.l4 + 8 and craft.u16(p.bytes, p.l4) or nil, inner.sport)
              if name ~= "tcp" then return end
              assert.equal(len >= p.l4 + 8, inner.tcp ~= nil)
              if not inner.tcp then return end
              assert.equal(craft.u16(p.bytes, p.l4 + 4) * 65536 + craft.u16(p.bytes, p.l4 + 6), inner.tcp.sequence)
              assert.equal(len >= p.l4 + 16 and craft.u16(p.bytes, p.l4 + 14) or nil, inner.tcp.window)
              assert.equal(len >= p.body, inner.tcp.payload ~= nil)
              assert.equal(len >= p.body, inner.malformed == nil)
            end)
          end
        end
      end
    end
    assert.is_true(count > 3000, count)
  end)

  it("end where the error's length field says (RFC 4884)", function()
    for version, types in pairs(inside.errors) do
      local p = inside.packet("udp", version, ("x"):rep(300))
      local quote = p.bytes:sub(1, 128)
      for kind, unit in pairs(types) do
        local words = 128 / (unit or 8)
        local rest = version == 4 and "\0" .. string.char(words) .. "\0\0" or string.char(words) .. "\0\0\0"
        judged(inside.error(version, kind, quote .. "\x20\0\xaa\xaa\0\8\1\1abcd", rest), function(pkt)
          assert.equal(unit and 128 or 140, #quoted(pkt).payload)
        end)
        -- A length that is more than there is says nothing.
        judged(inside.error(version, kind, quote, (version == 4 and "\0\255\0\0" or "\255\0\0\0")), function(pkt)
          assert.equal(128, #quoted(pkt).payload)
        end)
        -- Nor does one that is less than the 128 bytes that there have to be.
        judged(inside.error(version, kind, quote, (version == 4 and "\0\31\0\0" or "\15\0\0\0")), function(pkt)
          assert.equal(128, #quoted(pkt).payload)
        end)
      end
    end
  end)

  it("do not end behind the quoted packet itself", function()
    local p = inside.packet("udp", 4)
    judged(inside.error(4, 3, p.bytes .. ("\0"):rep(100)), function(pkt)
      assert.equal(#p.bytes, #pkt.icmp.inner.payload)
      assert.is_false(pkt.icmp.inner.truncated)
    end)
  end)

  it("say what is not quoted, and why", function()
    local bytes = inside.error(4, 3, inside.packet("tcp", 4).bytes:sub(1, 28))
    judged(bytes, function(pkt)
      local inner = pkt.icmp.inner
      assert.equal("the ICMP error quotes only a part of the packet, which ends in its headers", inner.malformed)
      for _, name in ipairs { "ackseq", "flags", "checksum", "options", "payload" } do
        assert.is_nil(inner.tcp[name], name)
      end
      assert.is_nil(inner.tcp:option(2))
    end)
    assert.matches("inside_spec.lua:%d+: pkt.tcp.flags cannot be assigned: the ICMP error does not quote it",
      refusal(bytes, function(pkt) pkt.icmp.inner.tcp.flags = 1 end))
    assert.matches("inside_spec.lua:%d+: pkt.icmp.inner cannot be assigned",
      refusal(bytes, function(pkt) pkt.icmp.inner = 1 end))
  end)

  it("are in a tunnel, too, and quote what is one", function()
    local p = inside.packet("tcp", 4)
    local function around(inner)
      return inside.tunnel("GENEVE", 6, { version = 4,
        bytes = inside.error(4, 11, inside.tunnel("VXLAN", 4, inner)) })
    end
    local at, new = inside.place(inside.changes.sport, "tcp", p)
    assert.equal(hex(around(inside.with(p, at, new))), hex(judged(around(p), function(pkt)
      local innermost = pkt.inner.icmp.inner.inner
      assert.equal(p.bytes, innermost.payload:string())
      innermost.sport = 65534
    end)))
  end)
end)

describe("A view of a packet inside", function()
  local bytes = inside.tunnel("VXLAN", 4, inside.packet("tcp", 4))

  it("ends with its filter, and so do its headers and Buffers", function()
    local kept = {}
    judged(bytes, function(pkt)
      kept = { pkt.inner, pkt.inner.tcp, pkt.inner.payload, pkt.inner.tcp.payload }
    end)
    local function after(filter)
      local message
      judged(bytes, function() message = select(2, pcall(filter)) end)
      assert.matches("inside_spec.lua:%d+: packet used after its filter returned", message)
      assert.matches("packet used after its filter returned", select(2, pcall(filter)))
    end
    after(function() return kept[1].saddr end)
    after(function() return kept[2].sport end)
    after(function() return kept[3]:u8(0) end)
    after(function() return #kept[4] end)
  end)

  it("ends where there is no packet any more", function()
    local message = refusal(bytes, function(pkt)
      local inner, tcp, payload, body = pkt.inner, pkt.inner.tcp, pkt.inner.payload, pkt.inner.tcp.payload
      pkt.udp.dport = 53
      assert.is_nil(pkt.inner)
      for _, use in ipairs { function() return inner.saddr end, function() inner.saddr = "1.2.3.4" end,
        function() return tcp.sport end, function() return payload:u8(0) end, function() return #body end } do
        local ok, why = pcall(use)
        assert.is_false(ok)
        assert.matches("inside_spec.lua:%d+: there is no packet any more where this one was inside of the packet", why)
      end
      pkt.udp.dport = 4789
      assert.equal(6, inner.protocol)
      error("done", 0)
    end)
    assert.equal("done", message)
  end)

  it("is no packet that methods of packets are for", function()
    judged(bytes, function(pkt)
      for _, method in ipairs { "copy", "bypass", "hold" } do
        assert.matches("packet used after its filter returned", select(2, pcall(pkt[method], pkt.inner)))
      end
      assert.matches("packet used after its filter returned", select(2, pcall(pkt.tcp and pkt.copy or pkt.copy,
        pkt.inner.payload)))
    end)
  end)

  it("never raises when it is read, whatever the bytes are, and however many of them there are", function()
    local r = rewrite.random(5)
    local seen = 0
    local function try(each)
      local problem
      memory.judge(each, {}, function(pkt)
        local ok, why = pcall(function()
          seen = seen + look.read_all(pkt.inner)
          for _, name in ipairs { "icmp", "icmpv6" } do
            if pkt[name] then seen = seen + look.read_all(pkt[name].inner) end
          end
        end)
        problem = not ok and why
      end)
      if problem then error(hex(each) .. ": " .. problem) end
    end
    for _, name in ipairs(inside.tunnels) do
      local inner = inside.packet(r.pick { "tcp", "sctp", "gre_sum" }, r.pick { 4, 6 })
      local whole = inside.tunnel(name, r.pick { 4, 6 }, inner)
      for len = 0, #whole do try(whole:sub(1, len)) end
      for _ = 1, 200 do try(put(whole, r.number(0, #whole - 1), r.bytes(1))) end
    end
    for version, types in pairs(inside.errors) do
      for kind in pairs(types) do
        local whole = inside.error(version, kind, inside.packet("tcp", version).bytes)
        for len = 0, #whole do try(whole:sub(1, len)) end
        for _ = 1, 200 do try(put(whole, r.number(0, #whole - 1), r.bytes(1))) end
      end
    end
    assert.is_true(seen > 1000, seen)
  end)
end)

describe("A filter that reads and assigns what is inside", function()
  local BATCHES = 300

  -- The bytes that a packet costs once all is compiled, and why a trace was not.
  local function cost(bytes, filter)
    local messages = {}
    for i = 1, 64 do messages[i] = m.simple(i, bytes) end
    local src = source.new(messages)
    local judge = src:judge(filter)
    src:plan({ 64 }, BATCHES)
    local compiled, aborted = traces.of(judge)
    assert.is_true(#compiled > 0)
    local grown = traces.garbage(function()
      src:plan({ 64 }, BATCHES)
      judge()
    end)
    return grown * 1024 / (BATCHES * 64), aborted
  end

  it("is compiled, and allocates nothing", function()
    local p = inside.packet("tcp", 4)
    for _, each in ipairs {
      { inside.tunnel("VXLAN", 4, p), function(pkt)
        local inner = pkt.inner
        if inner and inner.tcp and inner.tcp.payload:u8(0) == 104 and inner.saddr ~= "1.2.3.4" then return ACCEPT end
      end },
      { inside.tunnel("VXLAN", 4, p), function(pkt)
        pkt.inner.tcp.sequence = 5
        pkt.inner.ip.ttl = 9
        return ACCEPT
      end },
      { inside.error(4, 3, p.bytes:sub(1, 28)), function(pkt)
        local inner = pkt.icmp.inner
        if inner and inner.tcp and inner.tcp.window == nil then inner.sport = 5 end
        return ACCEPT
      end },
    } do
      local bytes, aborted = cost(each[1], each[2])
      for _, why in ipairs(aborted) do assert.is_nil(why:find("NYI", 1, true), why) end
      assert.is_true(bytes < 2, bytes .. " bytes")
    end
  end)
end)

describe("Wireshark", function()
  local names = { "ip.checksum.status", "tcp.checksum.status", "udp.checksum.status", "icmp.checksum.status",
    "icmpv6.checksum.status", "gre.checksum.status", "tcp.srcport" }

  it("finds all checksums right of what was assigned inside", function()
    if not tshark.available() then return pending "tshark is not here" end
    local list, what = {}, {}
    for _, name in ipairs(inside.tunnels) do
      for _, outer in ipairs { 4, 6 } do
        for _, version in ipairs { 4, 6 } do
          what[#what + 1] = name
          list[#list + 1] = judged(inside.tunnel(name, outer, inside.packet("tcp", version)), function(pkt)
            for _, change in ipairs { "saddr", "header's daddr", "ttl", "sport", "tcp.sequence", "payload" } do
              inside.changes[change].assign(inner_of(pkt))
            end
          end)
        end
      end
    end
    for version, types in pairs(inside.errors) do
      for kind in pairs(types) do
        what[#what + 1] = "ICMP error " .. kind
        list[#list + 1] = judged(inside.error(version, kind, inside.packet("tcp", version).bytes), function(pkt)
          for _, change in ipairs { "saddr", "header's daddr", "ttl", "sport", "tcp.sequence", "payload" } do
            inside.changes[change].assign(quoted(pkt))
          end
        end)
      end
    end
    local rows = tshark.all_fields(list, names)
    assert.equal(#list, #rows)
    for i, row in ipairs(rows) do
      -- 1 is good, 2 not looked at, 3 without.
      for _, name in ipairs(names) do
        if name ~= "tcp.srcport" then assert.matches("^[123;]*$", row[name], what[i] .. " " .. name) end
      end
      -- On VXLAN's port it takes nothing for VXLAN-GPE.
      assert.equal(what[i] == "VXLAN-GPE" and "" or "65534", row["tcp.srcport"], what[i])
    end
  end)
end)
