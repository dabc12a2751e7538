-- A script's own packets: pkt:clone(), what is read and assigned in one, and what keeps it.
local fields = require "ipq.build.fields"
local ipq = require "ipq"
local random_fields = require "spec.support.random_fields"
local rewrite = require "spec.support.rewrite"
local t = require "ipq.test"

--- What work(pkt) gives in a filter that the packet goes through, which leaves the packet alone.
local function in_filter(packet, work)
  local result, more
  local run = t.run(function(pkt) result, more = work(pkt) end, packet)
  assert.is_nil(run.error)
  return result, more
end

local function clone_of(packet)
  return (assert(in_filter(packet, function(pkt) return pkt:clone() end)))
end

local function raised(work)
  local ok, message = pcall(work)
  assert.is_false(ok)
  return message
end

--- What a link, a queue or a capture tells of a packet is nothing that a packet by itself has.
local not_own = { hw_type = true, secctx = true, vlan = true, vlan_proto = true, vlan_tci = true, l2hdr = true,
  prefix = true, gso = true, csum_ready = true, csum_verified = true, ct = true, ether = true }

local read_inner

local function value_of(view, name)
  local value = view[name]
  if name == "payload" and value then return { #value, value:string() } end
  if name == "inner" and value then return read_inner(value) end
  return value
end

local function read_headers(pkt, result)
  for _, name in ipairs(fields.headers) do
    local view = not not_own[name] and name ~= "arp" and pkt[name]
    if view then
      for _, field in ipairs(fields.of[name]) do result[name .. "." .. field] = value_of(view, field) end
    end
  end
  return result
end

read_inner = function(inner)
  local result = { saddr = inner.saddr, dport = inner.dport, payload = value_of(inner, "payload"),
    inner = value_of(inner, "inner"), truncated = inner.truncated }
  return (read_headers(inner, result))
end

--- All fields by their names.
local function read(pkt)
  local result = { line = tostring(pkt), copy = pkt:copy() }
  for _, list in ipairs { fields.meta, fields.derived } do
    for _, name in ipairs(list) do
      if not not_own[name] then result[name] = value_of(pkt, name) end
    end
  end
  return (read_headers(pkt, result))
end

local function each_round(rounds, check)
  for seed = 1, rounds do
    local ok, why = pcall(check, rewrite.random(seed))
    if not ok then error(("seed %d: %s"):format(seed, type(why) == "table" and why.message or why), 0) end
  end
end

describe("a clone", function()
  it("reads as its packet does, in each field", function()
    each_round(300, function(random)
      local name, given = random_fields.given(random)
      local live, own = in_filter(t[name](given), function(pkt)
        local clone = assert(pkt:clone())
        local live, own = read(pkt), read(clone)
        live.mark = own.mark -- which lacks a bit
        return live, own
      end)
      assert.same(live, own)
    end)
  end)

  it("reads as its packet does in what an ICMP error quotes, and what a tunnel carries", function()
    local udp = t.udp { dport = 53, payload = "question" }
    for _, packet in ipairs { t.icmp { type = 3, code = 1, payload = udp.bytes }, t.ip { protocol = 4,
      payload = t.tcp { payload = "hello" }.bytes }, t.ip { protocol = 4, payload = t.icmp { type = 11,
      payload = udp.bytes }.bytes } } do
      local live, own = in_filter(packet, function(pkt) return read(pkt), read(assert(pkt:clone())) end)
      assert.is_table(live.inner or live["icmp.inner"])
      assert.same(live, own)
    end
  end)

  it("outlives its filter, with its views and Buffers", function()
    local kept = in_filter(t.icmp { type = 3, payload = t.udp { dport = 53, payload = "hi" }.bytes }, function(pkt)
      local clone = pkt:clone()
      return { clone, clone.icmp, clone.ip, clone.icmp.inner, clone.icmp.inner.udp, clone.icmp.payload,
        clone.icmp.inner.udp.payload, clone.icmp.inner.payload, clone.payload }
    end)
    collectgarbage()
    collectgarbage()
    assert.same({ 3, 1, 53, 53, 30, "hi", 30, 58 }, { kept[2].type, kept[3].protocol, kept[4].dport, kept[5].dport,
      #kept[6], kept[7]:string(), #kept[8], #kept[9] })
    kept[5].dport = 99
    kept[7]:write(0, "ho")
    assert.equal(99, kept[1].icmp.inner.dport)
    assert.equal("ho", tostring(kept[1].icmp.inner.udp.payload))
  end)

  it("is kept by any view of it alone", function()
    local views = {}
    for i = 1, 200 do
      views[i] = in_filter(t.udp { sport = i, payload = ("x"):rep(i) }, function(pkt)
        local clone = pkt:clone()
        if i % 2 == 0 then return clone.udp.payload end
        return clone.udp
      end)
      if i % 20 == 0 then collectgarbage() end
    end
    for _ = 1, 3 do
      collectgarbage()
      for _ = 1, 1000 do string.rep("y", 100 + math.random(100)) end
    end
    for i = 1, 200 do
      if i % 2 == 0 then
        assert.equal(("x"):rep(i), views[i]:string())
      else
        assert.equal(i, views[i].sport)
        assert.equal(("x"):rep(i), views[i].payload:string())
      end
    end
  end)

  it("is what its packet has been made by the filter, and shares nothing with it", function()
    local packet = t.udp { ttl = 9, payload = "hello", mark = 1 }
    local clone
    local result = t.run(function(pkt)
      pkt.ip.ttl = 8
      pkt.mark = 2
      pkt.udp.payload:replace(0, 5, "longer than it was")
      clone = assert(pkt:clone())
      pkt.ip.ttl = 7
      pkt.mark = 3
      pkt.udp.payload:replace(0, 6, "x")
      clone.ip.saddr = "10.9.9.9"
      clone.udp.payload:replace(0, 6, "still longer")
    end, packet)
    assert.rewritten(packet:with { ttl = 7, payload = "x than it was", mark = 3 }, function() end, result.packet)
    assert.equal(2, clone.mark)
    assert.equal(packet:with { ttl = 8, payload = "still longer than it was", saddr = "10.9.9.9" }.bytes,
      clone:bytes())
  end)

  it("has right checksums where a network card was to make them", function()
    local packet = t.tcp { payload = "hello", checksum = 0x1234, csum_ready = false }
    assert.valid_checksums(t.packet(clone_of(packet):bytes()))
    assert.equal(0x1234, in_filter(packet, function(pkt) return pkt.tcp.checksum end))
  end)

  it("is as it was left where its packet is not to be made right", function()
    local clone
    t.run(function(pkt)
      pkt.fix = false
      pkt.udp.payload:replace(0, 5, "longer")
      clone = assert(pkt:clone())
      pkt.fix = true
    end, t.udp { payload = "hello" })
    assert.is_false(clone.fix)
    assert.equal(33, clone:bytes():byte(4))
    assert.equal("longer", clone:bytes():sub(-6))
  end)

  it("of a bridged packet has no VLAN tag, and is changed as others are", function()
    local inner = t.udp { payload = "hello" }
    local bridged = t.packet("\0\5\8\0" .. inner.bytes, { family = "bridge", hw_protocol = 0x8100 })
    local clone = clone_of(bridged)
    assert.equal(inner.bytes, clone:bytes())
    assert.is_nil(clone.vlan)
    clone.ip.ttl = 3
    assert.equal(inner:with { ttl = 3 }.bytes, clone:bytes())
  end)

  it("has the mark and the priority that the filter gave its packet", function()
    local clone
    t.run(function(pkt)
      pkt.mark, pkt.priority = 3, 8
      clone = pkt:clone()
    end, t.udp {})
    assert.same({ 3, 8 }, { clone.mark, clone.priority })
  end)

  it("leaves the bit of what was sent out of its mark, and no other", function()
    assert.equal(0xdfffffff, clone_of(t.tcp { mark = 0xffffffff }).mark)
    assert.equal(0x40000001, clone_of(t.tcp { mark = 0x40000001 }).mark)
  end)

  it("of a packet that is cut off or malformed is nil, and why", function()
    for _, packet in ipairs { t.tcp { payload = "hello", data_len = 42 }, t.packet "\69\0", t.packet "" } do
      local own, why = in_filter(packet, function(pkt) return pkt:clone() end)
      assert.is_nil(own)
      assert.matches("malformed, or not all there", why)
    end
  end)

  it("has clones of its own", function()
    local first = clone_of(t.tcp { ttl = 9, mark = 5, payload = "hello" })
    first.ip.ttl = 3
    first.tcp.payload:replace(0, 0, "oh, ")
    local second = assert(first:clone())
    second.ip.ttl, second.mark = 4, 6
    assert.same({ 3, 5, 4, 6 }, { first.ip.ttl, first.mark, second.ip.ttl, second.mark })
    assert.equal("oh, hello", tostring(second.tcp.payload))
  end)
end)

describe("a packet of a script's own", function()
  --- Assigns in the same way to the live packet and to the clone: what becomes of both.
  local function both(packet, change)
    local own
    local result = t.run(function(pkt)
      own = assert(pkt:clone())
      change(pkt)
      change(own)
    end, packet)
    assert.is_nil(result.error)
    return result.packet, own
  end

  it("takes what a live packet takes, and its lengths and checksums follow", function()
    each_round(300, function(random)
      local name, given, ip = random_fields.given(random)
      local changes = { [ip] = random_fields.some(random, ip, "options"), [name] = random_fields.some(random, name) }
      local expected, own = both(t[name](given), function(pkt)
        for header, values in pairs(changes) do
          for field, value in pairs(values) do
            if field == "payload" then
              pkt[header].payload:replace(0, #pkt[header].payload, value)
            else
              pkt[header][field] = value
            end
          end
        end
        pkt.mark, pkt.priority = 7, 8
      end)
      assert.equal(expected:hex(), t.packet(own:bytes()):hex())
      assert.same({ 7, 8 }, { own.mark, own.priority })
      assert.valid_checksums(t.packet(own:bytes()))
    end)
  end)

  it("has the inner and outer checksums follow what is assigned in a packet inside of it", function()
    local icmp = t.icmp { type = 3, payload = t.udp { dport = 53, payload = "question" }.bytes }
    local expected, own = both(icmp, function(pkt)
      pkt.icmp.inner.saddr = "10.1.2.3"
      pkt.icmp.inner.udp.dport = 99
      pkt.icmp.inner.ip.ttl = 3
    end)
    assert.equal(expected:hex(), t.packet(own:bytes()):hex())
    local tunnel = t.ip { protocol = 4, payload = t.tcp { payload = "hello" }.bytes }
    expected, own = both(tunnel, function(pkt)
      pkt.inner.tcp.payload:write(1, "o")
      pkt.inner.ip.daddr = "10.1.2.3"
    end)
    assert.equal(expected:hex(), t.packet(own:bytes()):hex())
  end)

  it("grows as far as a live one, in turn with others", function()
    local own, whole = {}, {}
    for i = 1, 4 do own[i], whole[i] = clone_of(t.udp { sport = i, payload = "" }), "" end
    for round = 1, 30 do
      for i, packet in ipairs(own) do
        local text = string.char(64 + i):rep(round * 17 + i)
        packet.udp.payload:replace(round % 2 == 0 and #whole[i] or 0, 0, text)
        whole[i] = round % 2 == 0 and whole[i] .. text or text .. whole[i]
      end
    end
    for i, packet in ipairs(own) do
      assert.equal(whole[i], packet.udp.payload:string())
      assert.equal(t.udp { sport = i, payload = whole[i] }.bytes, packet:bytes())
    end
    own[1].udp.payload:resize(65000)
    assert.equal(65028, #own[1]:bytes())
    assert.matches("over 65531 bytes", raised(function() own[1].udp.payload:replace(0, 0, ("x"):rep(600)) end))
  end)

  it("stays as it was left where it is not to be made right", function()
    local own = clone_of(t.udp { payload = "hello", ttl = 9 })
    own.fix = false
    own.ip.ttl = 3
    own.udp.payload:replace(0, 5, "longer")
    assert.is_false(own.fix)
    local bytes = own:bytes()
    assert.same({ 3, 33, 34 }, { bytes:byte(9), bytes:byte(4), #bytes })
    own.fix = true
    assert.equal(t.udp { payload = "longer", ttl = 3 }.bytes, own:bytes())
  end)

  it("gives nil and why where it cannot be made right", function()
    local own = clone_of(t.udp { payload = "hello" })
    own.payload:set_u8(0, 0x65)
    local bytes, why = own:bytes()
    assert.is_nil(bytes)
    assert.matches("packet changed: ", why)
  end)

  it("has Buffers that are taken where bytes are", function()
    local own = clone_of(t.udp { payload = "\1\2" })
    assert.equal(ipq.checksum "\1\2", ipq.checksum(own.udp.payload))
    local other = clone_of(t.udp { payload = "hello", ttl = 3 })
    local result = t.run(function() return ipq.ACCEPT, other.payload end, t.udp {})
    assert.equal(other:bytes(), result.packet.bytes)
  end)

  it("says at the script's line what it has not, in the words of a live one", function()
    local own = clone_of(t.udp { payload = "hello" })
    local line = debug.getinfo(1, "l").currentline + 2
    for i, case in ipairs {
      { function() return own.udp.dst_port end, "pkt.udp has no field 'dst_port'; did you mean 'dport'?" },
      { function() own.udp.sport = 70000 end, "udp.sport must be an integer from 0 to 65535" },
      { function() own.ip.saddr = "::" end, "ip.saddr must be the text of an IPv4 address" },
      { function() own.saddr = "x" end, "ip.saddr must be the text of an IPv4 address" },
      { function() own.dport = -1 end, "udp.dport must be an integer from 0 to 65535" },
      { function() own.mark = {} end,
        "mark must be an integer from -2147483648 to 4294967295; value % 2^32 brings a larger one there" },
      { function() own.fix = 1 end, "fix must be true or false" },
      { function() own.data_len = 1 end, "a packet's field 'data_len' cannot be assigned" },
      { function() own.payload = "" end, "a packet's field 'payload' cannot be assigned: its methods change it, "
        .. "write(off, text) and replace(off, len, text)" },
      { function() return own.src_ip end,
        "a packet of the script's own has no field 'src_ip'; did you mean 'saddr'?" },
      { function() own:hold() end, "a packet of the script's own has no field 'hold'" },
      { function() own.udp.payload:u8(5) end,
        "offset out of bounds: 1 byte at offset 5 of a Buffer of 5 bytes" },
      { function() own.udp.payload:write(4, "xx") end,
        "offset out of bounds: 2 bytes at offset 4 of a Buffer of 5 bytes" },
      { function() return own.udp.payload.size end,
        "a Buffer has no 'size'; bytes are read by :u8(offset), :string(offset, length)" },
    } do
      local message = raised(case[1])
      local place, text = message:match "^([^:]+:%d+): (.*)$"
      assert.equal(case[2], text)
      assert.matches("^spec/unit/own_spec.lua:", place)
      assert.is_true(tonumber(place:match "%d+$") >= line + i - 1, message)
    end
  end)

  it("is not broken by who looks into it", function()
    local own = clone_of(t.udp { payload = "hello" })
    local view, payload, bytes = own.udp, own.udp.payload, own.bytes
    assert.is_false(getmetatable(own))
    assert.is_false(getmetatable(view))
    assert.is_false(getmetatable(payload))
    for _, change in ipairs { { view, 2, "x" }, { view, 2, -5 }, { view, 2, 9 }, { view, 1, {} }, { own, 1, nil },
      { own, 1, "x" } } do
      rawset(change[1], change[2], change[3])
      assert.is_false(pcall(function() return view.dport end))
    end
    assert.is_false(pcall(function() return own.len end))
    assert.is_false(pcall(function() return payload:string() end))
    assert.is_false(pcall(bytes, own))
    assert.is_false(pcall(bytes, nil))
  end)

  it("is gone with the last that keeps it", function()
    local packet = t.udp { payload = ("x"):rep(1400) }
    collectgarbage()
    collectgarbage()
    local before, most = collectgarbage "count", 0
    for _ = 1, 40 do
      in_filter(packet, function(pkt)
        for _ = 1, 500 do
          local own = pkt:clone()
          own.udp.payload:replace(0, 1, "longer")
          own.ip.ttl = 3
        end
      end)
      most = math.max(most, collectgarbage "count" - before)
    end
    -- All of them have 20,000 × 2,800 bytes.
    assert.is_true(most < 20000, most)
  end)
end)
