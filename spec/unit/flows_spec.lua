-- Flows as scripts see them, in the test kit: pkt.flow, ipq.flows(), and what a script is told of those that end.
local ipq = require "ipq"
local t = require "ipq.test"
local netns = require "spec.support.netns"

local CLIENT, SERVER = "10.0.0.1", "192.0.2.80"
local HERE = "^spec/unit/flows_spec.lua:%d+: "

--- A filter of the kit that follows flows. Its functions are this file's.
local function follow(flow, filter, more)
  package.loaded["flows-under-test"] = { flow = flow, filter = filter, more = more or {} }
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write [[
local given = require "flows-under-test"
local script = { flow = given.flow, filter = given.filter }
for key, value in pairs(given.more) do script[key] = value end
return script
]]
  file:close()
  local ok, loaded = pcall(t.load, path)
  os.remove(path)
  package.loaded["flows-under-test"] = nil
  if not ok then error(loaded, 0) end
  return loaded
end

local function refusal(flow)
  local ok, message = pcall(follow, flow, function() end)
  assert.is_false(ok)
  return (tostring(message):gsub("^[^ ]*: ", ""))
end

local function copy(fields, more)
  local made = {}
  for key, value in pairs(fields) do made[key] = value end
  for key, value in pairs(more or {}) do made[key] = value end
  return made
end

--- A packet from the client, and one back to it.
local function there(kind, fields)
  return t[kind](copy({ saddr = CLIENT, daddr = SERVER, sport = 1024, dport = 80 }, fields))
end
local function back(kind, fields)
  return t[kind](copy({ saddr = SERVER, daddr = CLIENT, sport = 80, dport = 1024 }, fields))
end

local function udp(port, fields) return there("udp", copy({ sport = port }, fields)) end

local function segment(which, flags, sequence, ackseq, payload)
  return which("tcp", { syn = flags:find "S" ~= nil, ack = flags:find "A" ~= nil, fin = flags:find "F" ~= nil,
    rst = flags:find "R" ~= nil, sequence = sequence, ackseq = ackseq or 0, payload = payload or "" })
end

local opening = { segment(there, "S", 100), segment(back, "SA", 300, 101), segment(there, "A", 101, 301) }

local function run_all(filter, packets)
  local result
  for _, pkt in ipairs(packets) do
    result = t.run(filter, pkt)
    assert.is_nil(result.error)
  end
  return result
end

--- What the filter has raised for a packet, at a line of this file.
local function raised(filter, pkt)
  local result = t.run(filter, pkt or udp(1))
  assert.is_not_nil(result.error)
  assert.matches(HERE, result.error)
  return (result.error:gsub(HERE, ""):gsub("\n.*", ""))
end

before_each(function() t.set_time(1000) end)

describe("what a script says of its flows", function()
  it("may be nothing but that it follows them", function()
    assert.verdict("accept", follow({}, function(pkt) assert.is_true(pkt.flow.is_new) end), udp(1))
  end)

  it("is refused where a field is unknown, with the one that was meant", function()
    assert.equal("flow has an unknown field 'entrys'; did you mean 'entries'?", refusal { entrys = 5 })
    assert.equal("flow has an unknown field '1'", refusal { "hits" })
    assert.equal("flow.timeout has an unknown field 'udp_steam'; did you mean 'udp_stream'?",
      refusal { timeout = { udp_steam = 5 } })
  end)

  it("is refused where a value cannot be", function()
    for _, entries in ipairs { 0, -1, 1.5, 2 ^ 26 + 1, 0 / 0, "5", true } do
      local given = entries == "5" and '"5"' or tostring(entries)
      assert.equal("flow.entries must be a whole number from 1 to 67108864, not " .. given,
        refusal { entries = entries })
    end
    for _, seconds in ipairs { 0, -1, 1e6 + 1, 0 / 0, "5" } do
      assert.equal("flow.timeout.tcp must be a number of seconds, from 0.001 to 1e6",
        refusal { timeout = { tcp = seconds } })
    end
    assert.equal("flow.timeout must be a table of seconds, as { tcp = 3600 }", refusal { timeout = 5 })
    assert.equal("flow.stop must be a function", refusal { stop = "closed" })
  end)

  it("has four names of fields at most, which no flow has already", function()
    assert.equal("flow.fields must be a list of at most 4 names", refusal { fields = { "a", "b", "c", "d", "e" } })
    assert.equal("flow.fields must be a list of at most 4 names", refusal { fields = "hits" })
    assert.equal("flow.fields has 'hits' twice", refusal { fields = { "hits", "score", "hits" } })
    for _, name in ipairs { "saddr", "state", "original", "reply", "data", "drop", "bypass", "is_new" } do
      assert.equal(("flow.fields: a flow has a field '%s' already"):format(name), refusal { fields = { name } })
    end
    for _, name in ipairs { "", "1st", "a-b", ("x"):rep(33), 5, true } do
      assert.equal("flow.fields: entry 2 must be a name of letters, digits and _, at most 32",
        refusal { fields = { "hits", name } })
    end
    assert.equal("flow.fields must be a list of at most 4 names", refusal { fields = { hits = true } })
  end)
end)

describe("pkt.flow", function()
  --- Gives the flow's fields as the filter has read them for each packet.
  local function seen(packets, names, flow)
    local list = {}
    local filter = follow(flow or {}, function(pkt)
      local fields = {}
      for _, name in ipairs(names) do fields[name] = pkt.flow[name] end
      list[#list + 1] = fields
    end)
    run_all(filter, packets)
    return list
  end

  local ENDS = { "saddr", "daddr", "sport", "dport", "protocol", "direction" }

  it("has the ends as its first packet had them, and the direction of this one", function()
    for kind, protocol in pairs { tcp = 6, udp = 17, udplite = 136, sctp = 132, dccp = 33 } do
      local one = { saddr = CLIENT, daddr = SERVER, sport = 1024, dport = 80, protocol = protocol }
      assert.same({ copy(one, { direction = "original" }), copy(one, { direction = "reply" }),
        copy(one, { direction = "original" }) }, seen({ there(kind), back(kind), there(kind) }, ENDS), kind)
      -- Whichever end has the lesser address.
      local other = { saddr = SERVER, daddr = CLIENT, sport = 80, dport = 1024, protocol = protocol }
      assert.same({ copy(other, { direction = "original" }), copy(other, { direction = "reply" }) },
        seen({ back(kind), there(kind) }, ENDS), kind)
    end
  end)

  it("is the same over IPv6", function()
    local ends = { saddr = "2001:db8::7", daddr = "2001:db8::1", sport = 5, dport = 53, protocol = 17 }
    assert.same({ copy(ends, { direction = "original" }), copy(ends, { direction = "reply" }) }, seen({
      t.udp { saddr = "2001:db8::7", daddr = "2001:db8::1", sport = 5, dport = 53 },
      t.udp { saddr = "2001:db8::1", daddr = "2001:db8::7", sport = 53, dport = 5 },
    }, ENDS))
  end)

  it("has the identifier of ICMP's requests, and no ports", function()
    local function echo(kind, saddr, daddr, type, id)
      return t[kind] { saddr = saddr, daddr = daddr, type = type, id = id }
    end
    for _, of in ipairs { { "icmp", CLIENT, SERVER, 8, 0, 1 }, { "icmpv6", "fe80::1", "fe80::2", 128, 129, 58 } } do
      local kind, a, b, ask, answer, protocol = unpack(of)
      local ends = { saddr = a, daddr = b, protocol = protocol, icmp_id = 77 }
      local names = { "icmp_id", unpack(ENDS) }
      assert.same({ copy(ends, { direction = "original" }), copy(ends, { direction = "reply" }) },
        seen({ echo(kind, a, b, ask, 77), echo(kind, b, a, answer, 77) }, names))
      assert.same({ true, true }, { seen({ echo(kind, a, b, ask, 1) }, { "is_new" })[1].is_new,
        seen({ echo(kind, a, b, ask, 1), echo(kind, a, b, ask, 2) }, { "is_new" })[2].is_new })
    end
  end)

  it("is there for other protocols by their addresses", function()
    local packets = { t.ip { saddr = CLIENT, daddr = SERVER, protocol = 47, payload = "\0\0\0\0" },
      t.ip { saddr = SERVER, daddr = CLIENT, protocol = 47, payload = "\0\0\0\0" } }
    local ends = { saddr = CLIENT, daddr = SERVER, protocol = 47 }
    assert.same({ copy(ends, { direction = "original", state = "new", is_new = true }),
      copy(ends, { direction = "reply", state = "stream", is_new = false }) },
      seen(packets, { "state", "is_new", "icmp_id", unpack(ENDS) }))
  end)

  it("is nil where a packet has no flow", function()
    local count = 0
    local filter = follow({}, function(pkt)
      assert.is_nil(pkt.flow)
      count = count + 1
    end)
    local fragments = t.fragments(udp(1, { payload = ("x"):rep(100) }), 48)
    run_all(filter, { fragments[2], t.arp {}, t.packet "", t.packet "x", t.packet(udp(1).bytes:sub(1, 22)) })
    assert.equal(5, count)
  end)

  it("is new for the first packet of a flow alone", function()
    local flags = {}
    for i, fields in ipairs(seen({ udp(1), udp(1), udp(2), back("udp", { dport = 2 }) }, { "is_new" })) do
      flags[i] = fields.is_new
    end
    assert.same({ true, false, true, false }, flags)
  end)

  it("is for an ICMP error that which it quotes", function()
    local first = udp(1)
    local about = t.icmp { saddr = "198.51.100.9", daddr = CLIENT, type = 3, code = 1, payload = first.bytes }
    local list = seen({ first, about },
      { "is_related", "is_new", "direction", "sport", "protocol" })
    assert.same({ is_related = false, is_new = true, direction = "original", sport = 1, protocol = 17 }, list[1])
    assert.same({ is_related = true, is_new = false, direction = "reply", sport = 1, protocol = 17 }, list[2])
  end)

  it("counts packets and bytes of each direction", function()
    local list = {}
    local filter = follow({}, function(pkt)
      local flow = pkt.flow
      list[#list + 1] = { flow.original.packets, flow.original.bytes, flow.reply.packets, flow.reply.bytes }
    end)
    run_all(filter, { udp(1024, { payload = "12345" }), back("udp", { payload = "123" }), udp(1024) })
    assert.same({ { 1, 33, 0, 0 }, { 1, 33, 1, 31 }, { 2, 61, 1, 31 } }, list)
  end)

  it("has words for what a TCP connection does", function()
    local words = {}
    local packets = { unpack(opening) }
    for _, step in ipairs { { there, "FA", 101, 301 }, { back, "A", 301, 102 }, { back, "FA", 301, 102 },
      { there, "A", 102, 302 } } do
      packets[#packets + 1] = segment(unpack(step))
    end
    for i, fields in ipairs(seen(packets, { "state" })) do words[i] = fields.state end
    assert.same({ "syn_sent", "syn_recv", "established", "fin_wait", "close_wait", "last_ack", "closed" }, words)
    assert.equal("midstream", seen({ segment(there, "A", 100, 300, "x") }, { "state" })[1].state)
    assert.equal("closed", seen({ segment(there, "R", 100) }, { "state" })[1].state)
  end)

  it("has when its first packet came and its last one", function()
    local times = {}
    local filter = follow({}, function(pkt) times[#times + 1] = { pkt.flow.first, pkt.flow.last, ipq.now() } end)
    t.run(filter, udp(1))
    t.advance(2.5)
    t.run(filter, udp(1))
    t.set_time(1010)
    t.run(filter, udp(1))
    assert.same({ { 1000, 1000, 1000 }, { 1000, 1002.5, 1002.5 }, { 1000, 1010, 1010 } }, times)
  end)

  it("has a number that no other flow has, and not the one that had its place before", function()
    local ids = {}
    local filter = follow({ entries = 1 }, function(pkt) ids[#ids + 1] = pkt.flow.id end)
    run_all(filter, { udp(1), udp(1), udp(2), udp(1) })
    assert.equal(ids[1], ids[2])
    assert.not_equal(ids[1], ids[3])
    assert.not_equal(ids[3], ids[4])
    assert.not_equal(ids[1], ids[4])
  end)

  it("has the hook that it counts at, and the zone of conntrack", function()
    local function at(hook, zone) return udp(1024, { hook = hook, ct = zone and { zone = zone } or nil }) end
    local list = {}
    local filter = follow({}, function(pkt)
      list[#list + 1] = { pkt.flow.hook, pkt.flow.zone, pkt.flow.original.packets }
    end)
    run_all(filter, { at "forward", at "postrouting", at "forward", at("input", 7) })
    assert.same({ { "forward", 0, 1 }, { "forward", 0, 1 }, { "forward", 0, 2 }, { "input", 7, 1 } }, list)
  end)

  it("raises at the script's line where the script follows none", function()
    local filter = follow(nil, function(pkt) return pkt.flow end)
    assert.equal("pkt.flow needs flow = {} in the script's table", raised(filter))
    assert.equal("ipq.flows() needs flow = {} in the script's table", raised(function() ipq.flows() end))
    assert.equal("ipq.flow_count() needs flow = {} in the script's table", raised(function() ipq.flow_count() end))
  end)

  it("raises at the script's line for a field that there is not, with the one that was meant", function()
    local what = { fields = { "hits" } }
    local function message(use) return raised(follow(what, function(pkt) use(pkt.flow) end)) end
    assert.equal("a flow has no field 'sadr'; did you mean 'saddr'?", message(function(flow) return flow.sadr end))
    assert.equal("a flow has no field 'hit'; did you mean 'hits'?", message(function(flow) return flow.hit end))
    assert.equal("a flow has no field 'hit'; did you mean 'hits'?", message(function(flow) flow.hit = 1 end))
    assert.equal("a flow has no field 'dorp'; did you mean 'drop'?", message(function(flow) flow:dorp() end))
    assert.equal("a flow's direction has no field 'packet'; did you mean 'packets'?",
      message(function(flow) return flow.original.packet end))
    assert.equal("a flow's direction has no field 'byte'; did you mean 'bytes'?",
      message(function(flow) return flow.reply.byte end))
  end)

  it("raises at the script's line where what cannot be assigned is", function()
    local what = { fields = { "hits" } }
    local function message(use) return raised(follow(what, function(pkt) use(pkt.flow) end)) end
    for _, name in ipairs { "saddr", "state", "is_new", "data", "original", "drop" } do
      assert.equal(("a flow's field '%s' cannot be assigned; flow.fields declares such"):format(name),
        message(function(flow) flow[name] = 1 end))
    end
    for _, value in ipairs { "5", true, {} } do
      assert.equal("a flow's field 'hits' is a number", message(function(flow) flow.hits = value end))
    end
    assert.equal("a flow's field 'hits' is a number", message(function(flow) flow.hits = nil end))
  end)

  it("raises at the script's line where a method is called as a function", function()
    local function message(use) return raised(follow({}, function(pkt) use(pkt.flow, pkt) end)) end
    for _, name in ipairs { "drop", "bypass" } do
      for _, self in ipairs { false, "x", {}, setmetatable({}, { __metatable = false }) } do
        assert.equal(("%s() is a method of a flow: flow:%s()"):format(name, name),
          message(function(flow) flow[name](self or nil) end))
      end
      assert.equal(("%s() is a method of a flow: flow:%s()"):format(name, name),
        message(function(flow, pkt) flow[name](pkt) end))
    end
  end)

  it("is gone with its packet's filter", function()
    local kept, kept_reply
    local filter = follow({ fields = { "hits" } }, function(pkt)
      if not kept then
        kept, kept_reply = pkt.flow, pkt.flow.reply
        return
      end
      if pkt.sport == 1 then return kept.saddr end
      if pkt.sport == 2 then kept.hits = 1 end
      if pkt.sport == 3 then kept:drop() end
      if pkt.sport == 4 then return kept_reply.packets end
    end)
    t.run(filter, udp(9))
    for port = 1, 4 do
      assert.matches("packet used after its filter returned", raised(filter, udp(port)))
    end
    assert.is_false(pcall(function() return kept.saddr end))
  end)

  it("is no field of a packet of the script's own", function()
    local has = {}
    run_all(follow({}, function(pkt)
      has[1], has[2] = pkt.flow ~= nil, pkt:clone().flow ~= nil
      has[3] = ipq.build.udp { saddr = CLIENT }.flow ~= nil
    end), { udp(1) })
    assert.same({ true, false, false }, has)
  end)
end)

describe("a flow's declared fields", function()
  it("are 0 at first, and keep what is assigned, for each flow", function()
    local hits = {}
    local filter = follow({ fields = { "hits", "score" } }, function(pkt)
      local flow = pkt.flow
      flow.hits = flow.hits + 1
      flow.score = flow.score - 0.5
      hits[#hits + 1] = { flow.hits, flow.score }
    end)
    run_all(filter, { udp(1), udp(1), udp(2), back("udp", { dport = 1 }) })
    assert.same({ { 1, -0.5 }, { 2, -1 }, { 1, -0.5 }, { 3, -1.5 } }, hits)
  end)

  it("may be four, and are each its own", function()
    local names = { "d", "c", "b", "a" }
    local filter = follow({ fields = names }, function(pkt)
      local flow, sum = pkt.flow, 0
      for i, name in ipairs(names) do
        sum = sum + flow[name]
        flow[name] = 10 ^ i
      end
      return sum == (flow.is_new and 0 or 11110) and ipq.ACCEPT or ipq.DROP
    end)
    for _ = 1, 2 do assert.verdict("accept", filter, udp(1)) end
  end)

  it("begin at 0 again in a flow that takes another one's place", function()
    local filter = follow({ entries = 1, fields = { "hits" } }, function(pkt)
      pkt.flow.hits = pkt.flow.hits + 1
      return pkt.flow.hits == 1 and ipq.ACCEPT or ipq.DROP
    end)
    for port = 1, 20 do assert.verdict("accept", filter, udp(port)) end
    assert.verdict("drop", filter, udp(20))
  end)
end)

describe("a flow's table of data", function()
  it("is the same for all its packets, and gone with the flow", function()
    local filter = follow({ timeout = { udp = 5 } }, function(pkt)
      local data = pkt.flow.data
      data.count = (data.count or 0) + 1
      return data.count == 2 and ipq.DROP or ipq.ACCEPT
    end)
    assert.verdict("accept", filter, udp(1))
    assert.verdict("accept", filter, udp(2))
    assert.verdict("drop", filter, udp(1))
    t.advance(10)
    assert.verdict("accept", filter, udp(1))
  end)

  it("is not that of the flow that had its place before, also where nobody was told of its end", function()
    local filter = follow({ entries = 1 }, function(pkt)
      local data = pkt.flow.data
      data.count = (data.count or 0) + 1
      return data.count == 1 and ipq.ACCEPT or ipq.DROP
    end)
    for port = 1, 5 do assert.verdict("accept", filter, udp(port)) end
  end)

  it("is each flow's own where one takes the place of another one that has not been told of yet", function()
    local told, list = {}, {}
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    local frames = {}
    for port = 1, 60 do frames[port] = { udp(math.ceil(port / 2)).bytes } end
    require "spec.support.capture".write(path, frames)
    local filter = follow({ entries = 1, stop = function(flow) told[#told + 1] = flow.data.note == flow.sport end },
      function(pkt)
        list[#list + 1] = pkt.flow.data.note or "none"
        pkt.flow.data.note = pkt.sport
      end)
    t.replay(path, filter)
    for i = 1, 29 do assert.is_true(told[i], i) end
    for port = 1, 60 do assert.equal(port % 2 == 0 and port / 2 or "none", list[port]) end
  end)

  it("is garbage when the flow has ended, whoever is told of that", function()
    local kept = setmetatable({}, { __mode = "v" })
    local filter = follow({ timeout = { udp = 5 } }, function(pkt) kept[pkt.sport] = pkt.flow.data end)
    run_all(filter, { udp(1), udp(2) })
    collectgarbage()
    assert.is_not_nil(kept[2])
    t.advance(7)
    collectgarbage()
    assert.same({}, kept)
  end)

  it("is there for stop()", function()
    local told = {}
    local filter = follow({ stop = function(flow) told[#told + 1] = flow.data.note end, timeout = { udp = 5 } },
      function(pkt) pkt.flow.data.note = "port " .. pkt.sport end)
    run_all(filter, { udp(1), udp(2) })
    t.advance(7)
    table.sort(told)
    assert.same({ "port 1", "port 2" }, told)
  end)
end)

describe("a decision on a flow", function()
  --- A filter that decides at a flow's first packet, and counts how often it is asked.
  local function deciding(decide, more)
    local asked = { count = 0 }
    return follow({}, function(pkt)
      asked.count = asked.count + 1
      local verdict = decide(pkt.flow, pkt)
      return verdict
    end, more), asked
  end

  it("drops this packet and all later ones of both directions, and the filter is not asked", function()
    local filter, asked = deciding(function(flow) flow:drop() end)
    for _, pkt in ipairs { udp(1024), udp(1024), back "udp" } do assert.verdict("drop", filter, pkt) end
    assert.equal(1, asked.count)
    assert.verdict("drop", filter, udp(5))
    assert.equal(2, asked.count)
  end)

  it("accepts them, with the mark that says so to rules", function()
    local filter, asked = deciding(function(flow) flow:bypass() end)
    assert.verdict("accept", filter, udp(1024))
    local later = t.run(filter, back("udp", { mark = 5 }))
    assert.verdict("accept", later)
    assert.equal(ipq.BYPASS_MARK + 5, later.packet.mark)
    assert.equal(1, asked.count)
  end)

  it("rejects them, each with an answer", function()
    local filter, asked = deciding(function(flow) flow:reject() end, { send = true })
    for _ = 1, 2 do
      local result = t.run(filter, udp(1024))
      assert.verdict("reject", result)
      assert.sent(result, { daddr = CLIENT, icmp = { type = 3, code = 3 } })
    end
    assert.equal(1, asked.count)
  end)

  it("rejects them in the way that is asked for", function()
    local filter = deciding(function(flow) flow:reject "admin-prohibited" end, { send = true })
    for _ = 1, 2 do
      local result = t.run(filter, udp(1024))
      assert.verdict("reject admin-prohibited", result)
      assert.sent(result, { icmp = { type = 3, code = 13 } })
    end
    local reset = deciding(function(flow) flow:reject "tcp-reset" end, { send = true })
    for _ = 1, 2 do assert.sent(t.run(reset, opening[1]), { tcp = { rst = true } }) end
  end)

  it("raises where a reject cannot be sent, or has no such name, and decides nothing then", function()
    local filter, asked = deciding(function(flow) flow:reject() end)
    for _ = 1, 2 do assert.matches("^flow:reject%(%) needs send = true", raised(filter)) end
    assert.equal(2, asked.count)
    local nonsense = deciding(function(flow) flow:reject "nonsense" end, { send = true })
    assert.equal("flow:reject() has no 'nonsense'", raised(nonsense))
  end)

  it("yields for this packet to the verdict that the filter gives", function()
    for verdict, value in pairs { accept = ipq.ACCEPT, ["queue 3"] = ipq.queue(3), ["repeat"] = ipq.REPEAT } do
      local filter = deciding(function(flow)
        flow:drop()
        return value
      end)
      assert.verdict(verdict, filter, udp(1))
      assert.verdict("drop", filter, udp(1))
    end
    local filter = deciding(function(flow)
      flow:bypass()
      return ipq.DROP
    end)
    assert.verdict("drop", filter, udp(1))
    assert.verdict("accept", filter, udp(1))
  end)

  it("is the last one that the filter has made", function()
    local filter = deciding(function(flow)
      flow:drop()
      flow:bypass()
    end)
    for _ = 1, 2 do assert.verdict("accept", filter, udp(1)) end
  end)

  it("holds for the ICMP errors that quote the flow", function()
    local filter, asked = deciding(function(flow) flow:drop() end)
    local first = udp(1)
    t.run(filter, first)
    assert.verdict("drop", filter, t.icmp { saddr = SERVER, daddr = CLIENT, type = 3, code = 3, payload = first.bytes })
    assert.equal(1, asked.count)
  end)

  it("is counted, and ends with the flow", function()
    local count
    local filter = follow({ timeout = { udp = 5 } }, function(pkt)
      count = pkt.flow.original.packets
      if count == 1 and pkt.flow.first < 1004 then pkt.flow:drop() end
    end)
    for _ = 1, 3 do assert.verdict("drop", filter, udp(1)) end
    t.advance(7)
    assert.verdict("accept", filter, udp(1))
    assert.equal(1, count)
  end)
end)

describe("stop(flow, reason)", function()
  local function telling(flow, filter)
    local told = {}
    flow.stop = function(ended, reason)
      told[#told + 1] = { reason, ended.sport, ended.original.packets, ended.state, ipq.now() }
    end
    return follow(flow, filter or function() end), told
  end

  it("is told of a connection that was closed or reset, when its time is over", function()
    local filter, told = telling { timeout = { tcp_closing = 10 } }
    run_all(filter, { opening[1], opening[2], opening[3], segment(there, "FA", 101, 301),
      segment(back, "FA", 301, 102), segment(there, "A", 102, 302) })
    t.advance(9.5)
    assert.same({}, told)
    t.advance(1.5)
    assert.equal(1, #told)
    assert.same({ "closed", 1024, 4, "closed" }, { unpack(told[1], 1, 4) })
    assert.is_true(told[1][5] >= 1010 and told[1][5] <= 1011)
    run_all(filter, { opening[1], opening[2], opening[3], segment(back, "R", 301) })
    t.advance(11)
    assert.same({ "reset", 1024, 2, "closed" }, { unpack(told[2], 1, 4) })
  end)

  it("is told of what was silent for too long, within a second, by the timeout of what it was", function()
    local kinds = {
      tcp = opening, tcp_opening = { opening[1] }, tcp_closing = { opening[1], opening[2], opening[3],
        segment(there, "FA", 101, 301) }, udp = { udp(1024) }, udp_stream = { udp(1024), back "udp" },
      icmp = { t.icmp { type = 8 } }, other = { t.ip { protocol = 47, payload = "\0\0\0\0" } },
    }
    for kind, packets in pairs(kinds) do
      local timeout = { tcp = 1, tcp_opening = 1, tcp_closing = 1, udp = 1, udp_stream = 1, icmp = 1, other = 1 }
      timeout[kind] = 100
      local filter, told = telling { timeout = timeout }
      run_all(filter, packets)
      t.advance(99.9)
      assert.same({}, told, kind)
      t.advance(1.1)
      assert.equal(1, #told, kind)
      assert.equal("timeout", told[1][1])
    end
  end)

  it("is told of many within a second, also of those that packets find over", function()
    local filter, told = telling { timeout = { udp = 5 } }
    for port = 1, 2000 do t.run(filter, udp(port)) end
    t.advance(6.1)
    assert.equal(2000, #told)
  end)

  it("is told of what had to go", function()
    local filter, told = telling { entries = 2 }
    run_all(filter, { udp(1), back("udp", { dport = 1 }), udp(2), udp(3) })
    assert.same({ "evicted", 2, 1, "new" }, { unpack(told[1], 1, 4) })
    assert.equal(1, #told)
  end)

  it("is told at the end of each that is still there, and not by a reload", function()
    local filter, told = telling {}
    run_all(filter, { udp(1), udp(2) })
    filter:stop "reload"
    assert.same({}, told)
    filter:stop()
    table.sort(told, function(a, b) return a[2] < b[2] end)
    assert.same({ { "exit", 1 }, { "exit", 2 } },
      { { unpack(told[1], 1, 2) }, { unpack(told[2], 1, 2) }, told[3] })
  end)

  it("sees all that a flow has, and a copy that it may keep", function()
    local kept, reason
    local filter = follow({ timeout = { udp = 1 }, fields = { "hits" }, stop = function(flow, why)
      kept, reason = flow, why
    end }, function(pkt) pkt.flow.hits = 7 end)
    run_all(filter, { udp(1024, { payload = "12345" }), back "udp" })
    t.advance(130)
    local function read(flow)
      return { flow.saddr, flow.daddr, flow.sport, flow.dport, flow.protocol, flow.state, flow.original.packets,
        flow.original.bytes, flow.reply.packets, flow.reply.bytes, flow.hits, flow.first, flow.last }
    end
    local wanted = { CLIENT, SERVER, 1024, 80, 17, "stream", 1, 33, 1, 28, 7, 1000, 1000 }
    assert.equal("timeout", reason)
    assert.same(wanted, read(kept))
    run_all(filter, { udp(1), udp(2) })
    assert.same(wanted, read(kept))
    assert.is_nil(kept.direction)
    assert.is_nil(kept.is_new)
  end)

  it("costs nothing where it raises, which is logged", function()
    local filter = follow({ timeout = { udp = 1 }, stop = function(flow) error("no " .. flow.sport) end },
      function() end)
    run_all(filter, { udp(1), udp(2) })
    local log = t.advance(3)
    local text = table.concat(log, "\n")
    assert.matches("error: flow.stop%(%): spec/unit/flows_spec.lua:%d+: no 1\n", text)
    assert.matches("flow.stop%(%): spec/unit/flows_spec.lua:%d+: no 2\n", text)
    assert.verdict("accept", filter, udp(1))
    -- Those that packets end, as well.
    filter = follow({ entries = 1, stop = function() error "no" end }, function() end)
    run_all(filter, { udp(1) })
    local result = t.run(filter, udp(2))
    assert.verdict("accept", result)
    assert.matches("flow.stop%(%): ", result.log[1])
  end)

  it("is not needed", function()
    local filter = follow({ timeout = { udp = 1 } }, function() end)
    for port = 1, 1000 do t.run(filter, udp(port)) end
    assert.same({}, (t.advance(3)))
    filter:stop()
  end)
end)

describe("ipq.flows()", function()
  it("gives each flow that there is, with its fields, and ipq.flow_count() how many", function()
    local list, count = {}, nil
    local filter = follow({ fields = { "hits" } }, function(pkt)
      pkt.flow.hits = pkt.sport
      if pkt.sport ~= 5 then return end
      for flow in ipq.flows() do
        list[#list + 1] = { flow.sport, flow.hits, flow.original.packets, flow.saddr, flow.state }
      end
      count = ipq.flow_count()
    end)
    run_all(filter, { udp(1), udp(2), udp(2), udp(5) })
    table.sort(list, function(a, b) return a[1] < b[1] end)
    assert.same({ { 1, 1, 1, CLIENT, "new" }, { 2, 2, 2, CLIENT, "new" }, { 5, 5, 1, CLIENT, "new" } }, list)
    assert.equal(3, count)
  end)

  it("gives none where there are none", function()
    local filter = follow({}, function()
      local next_flow = ipq.flows()
      if next_flow() or ipq.flow_count() ~= 0 then return ipq.DROP end
    end)
    assert.verdict("accept", filter, t.packet "x")
  end)

  it("gives flows that can be assigned to, and decided on", function()
    local filter = follow({ fields = { "hits" } }, function(pkt)
      if pkt.sport == 9 then
        for flow in ipq.flows() do
          if flow.sport == 1 then flow:drop() end
          flow.hits = 40 + flow.sport
        end
      end
      return pkt.flow.hits > 40 and not pkt.flow.is_new and ipq.queue(pkt.flow.hits) or ipq.ACCEPT
    end)
    run_all(filter, { udp(1), udp(2), udp(9) })
    assert.verdict("drop", filter, udp(1))
    assert.verdict("queue 42", filter, udp(2))
  end)

  it("gives flows that may be kept, and raise when they have ended", function()
    local kept
    local filter = follow({ timeout = { udp = 5 } }, function(pkt)
      if pkt.sport == 1 then
        for flow in ipq.flows() do kept = flow end
      elseif pkt.sport == 2 then
        return kept.sport == 1 and ipq.DROP or ipq.ACCEPT
      else
        return kept.sport
      end
    end)
    assert.verdict("accept", filter, udp(1))
    assert.verdict("drop", filter, udp(2))
    t.advance(7)
    assert.equal("this flow has ended", raised(filter, udp(3)))
    run_all(filter, { udp(1) })
    assert.verdict("drop", filter, udp(2))
  end)

  it("has fields of a packet for no flow that is none's", function()
    local filter = follow({}, function()
      for flow in ipq.flows() do
        if flow.direction ~= nil or flow.is_new ~= nil or flow.is_related ~= nil then return ipq.DROP end
      end
    end)
    assert.verdict("accept", filter, udp(1))
  end)
end)

describe("a table of flows", function()
  it("has no more than entries says, and what is not answered goes first", function()
    local ports, count = {}, nil
    local filter = follow({ entries = 10 }, function(pkt)
      if pkt.dport ~= 99 then return end
      count = ipq.flow_count()
      for flow in ipq.flows() do ports[#ports + 1] = flow.sport end
    end)
    for port = 1, 5 do run_all(filter, { udp(port), back("udp", { dport = port }) }) end
    for port = 100, 1000 do t.run(filter, udp(port)) end
    t.run(filter, udp(1, { dport = 99 }))
    assert.equal(10, count)
    table.sort(ports)
    assert.same({ 1, 1, 2, 3, 4, 5 }, { unpack(ports, 1, 6) })
  end)

  it("is each filter's own", function()
    local function counting()
      return follow({ fields = { "hits" } }, function(pkt)
        pkt.flow.hits = pkt.flow.hits + 1
        return ipq.queue(pkt.flow.hits)
      end)
    end
    local one, other = counting(), counting()
    assert.verdict("queue 1", one, udp(1))
    assert.verdict("queue 2", one, udp(1))
    assert.verdict("queue 1", other, udp(1))
    assert.verdict("queue 3", one, udp(1))
  end)

  it("is that of the filter that runs, where one runs another", function()
    local inner = follow({ fields = { "inner" } }, function(pkt)
      pkt.flow.inner = pkt.flow.inner + 1
      return ipq.queue(pkt.flow.inner)
    end)
    local outer = follow({ fields = { "outer" } }, function(pkt)
      pkt.flow.outer = pkt.flow.outer + 5
      local result = t.run(inner, udp(1))
      if result.verdict == "queue 1" then pkt.flow.outer = pkt.flow.outer + 1 end
      return ipq.queue(pkt.flow.outer)
    end)
    local result = t.run(outer, udp(1))
    assert.is_nil(result.error)
    assert.verdict("queue 6", result)
    assert.verdict("queue 11", outer, udp(1))
  end)
end)

describe("flows in a script's stop() and save()", function()
  it("are those that are there", function()
    local function count()
      local ports = {}
      for flow in ipq.flows() do ports[#ports + 1] = flow.sport end
      return { ipq.flow_count(), #ports }
    end
    local stopped
    local filter = follow({}, function() end, { save = count, stop = function() stopped = count() end })
    run_all(filter, { udp(1), udp(2) })
    assert.same({ 2, 2 }, filter:save())
    filter:stop()
    assert.same({ 2, 2 }, stopped)
  end)

  it("are told with the times of their packets, whenever they are asked", function()
    local kept = {}
    local filter = follow({ stop = function(flow, reason) kept[reason] = flow end, timeout = { udp = 1 } },
      function() end)
    run_all(filter, { udp(1) })
    t.advance(3)
    run_all(filter, { udp(2) })
    filter:stop()
    assert.same({ 1000, 1000, 1003, 1003 }, { kept.timeout.first, kept.timeout.last, kept.exit.first, kept.exit.last })
  end)
end)

describe("a filter that follows flows, in a replay", function()
  local function capture(packets)
    local path = os.tmpname()
    local frames = {}
    for i, bytes in ipairs(packets) do frames[i] = { bytes } end
    require "spec.support.capture".write(path, frames)
    finally(function() os.remove(path) end)
    return path
  end
  it("is not asked for what is decided, which has its record", function()
    local asked = 0
    local filter = follow({}, function(pkt)
      asked = asked + 1
      pkt.flow:drop()
    end)
    local result = t.replay(capture { udp(1).bytes, udp(1).bytes, udp(2).bytes }, filter)
    assert.same({ 3, 3, 2 }, { result.packets, result.dropped, asked })
    local verdicts = {}
    for i, record in ipairs(result.records) do verdicts[i] = record.verdict end
    assert.same({ "drop", "drop", "drop" }, verdicts)
  end)

  -- By the program: its output.
  local function program(options, script, packets)
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(script)
    file:close()
    finally(function() os.remove(path) end)
    return (netns.shell(("LD_PRELOAD= ASAN_OPTIONS=detect_leaks=1 timeout 60 %s -r %s %s %s")
      :format(netns.program, capture(packets), options, path)))
  end

  it("has the same records in the program's JSON", function()
    local output = program("--json", [[
local asked = 0
return {
  flow = { stop = function(flow, reason) print(reason, flow.sport, flow.original.packets, flow.reply.packets) end },
  filter = function(pkt)
    asked = asked + 1
    if asked == 1 then pkt.flow:drop() else pkt.flow:bypass() end
  end,
  stop = function() print("asked", asked) end,
}
]], { udp(1).bytes, udp(1).bytes, back("udp", { dport = 1 }).bytes, udp(2).bytes, udp(2).bytes })
    local verdicts = {}
    for verdict in output:gmatch '"verdict":"(%w+)"' do verdicts[#verdicts + 1] = verdict end
    assert.same({ "drop", "drop", "drop", "accept", "accept" }, verdicts)
    assert.matches("exit\t1\t2\t1\nexit\t2\t2\t0\nasked\t2\n", output)
  end)

  it("has the time by the capture, and flows that end in it", function()
    local told = {}
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    require "spec.support.capture".write(path, { { udp(1).bytes, sec = 100 }, { udp(1).bytes, sec = 101 },
      { udp(2).bytes, sec = 120 }, { udp(3).bytes, sec = 140 }, { udp(3).bytes, sec = 141 } })
    local filter = follow({ timeout = { udp = 10 }, stop = function(flow, reason)
      told[#told + 1] = { reason, flow.sport, flow.first, flow.last }
    end }, function() end)
    t.replay(path, filter)
    assert.same({ { "timeout", 1, 100, 101 }, { "timeout", 2, 120, 120 } }, told)
  end)

  it("has no more of them than entries says, however much memory there is", function()
    local packets = {}
    for port = 1, 100 do packets[port] = udp(port).bytes end
    assert.matches("count\t10\n", program("", [[
local ipq = require "ipq"
return { flow = { entries = 10 }, filter = function() end, stop = function() print("count", ipq.flow_count()) end }
]], packets))
  end)

  it("may have little memory, where what matters least goes", function()
    local packets = {}
    for port = 1, 9000 do packets[port] = udp(port).bytes end
    local output = program("--flow-memory 1", [[
local ends = {}
return {
  flow = { stop = function(_, reason) ends[reason] = (ends[reason] or 0) + 1 end },
  filter = function() end,
  stop = function() print("evicted", ends.evicted, "left", ends.exit) end,
}
]], packets)
    local evicted, left = output:match "evicted\t(%d+)\tleft\t(%d+)"
    assert.is_true(tonumber(left) > 7000 and tonumber(left) < 7711)
    assert.equal(9000, evicted + left)
  end)
end)
