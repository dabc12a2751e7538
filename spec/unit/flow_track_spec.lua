-- What a flow's packets make of it: directions, states, counters, timeouts.
local ffi = require "ffi"
local flows = require "spec.support.flows"
local t = require "ipq.test"

local C, E = flows.C, ffi.C
local CLIENT, SERVER = "10.0.0.1", "192.0.2.80"

--- A connection's packets, by "S 100", ">SA 300 101": ">" goes to the client, "<" to the server is left out; flags,
--- sequence, acknowledgement, and the payload's length.
local function segment(text)
  local back, flags, seq, ack, len = text:match "^(>?)(%a+) (%d+) ?(%d*) ?(%d*)$"
  local given = { sequence = tonumber(seq), ackseq = tonumber(ack) or 0, payload = ("x"):rep(tonumber(len) or 0),
    syn = false, ack = false, fin = false, rst = false }
  for letter, name in pairs { S = "syn", A = "ack", F = "fin", R = "rst" } do
    if flags:find(letter) then given[name] = true end
  end
  local ends = back == "" and { CLIENT, 1024, SERVER, 80 } or { SERVER, 80, CLIENT, 1024 }
  given.saddr, given.sport, given.daddr, given.dport = unpack(ends)
  return t.tcp(given).bytes
end

--- Has the table see packets, each followed by the state that they leave the flow in.
local function talk(table, steps)
  local flow
  for i, step in ipairs(steps) do
    flow = table:see(segment(step[1]))
    assert.equal(step[2], flows.state(flow), ("step %d: %s"):format(i, step[1]))
  end
  return flow
end

local opened = { { "S 100", "syn_sent" }, { ">SA 300 101", "syn_recv" }, { "A 101 301", "established" } }

local function after(first, more)
  local steps = {}
  for _, step in ipairs(first) do steps[#steps + 1] = step end
  for _, step in ipairs(more) do steps[#steps + 1] = step end
  return steps
end

describe("a TCP flow", function()
  local table
  before_each(function()
    table = flows.new(64)
    table.flows.wants_ended = 1
  end)

  it("opens, talks and closes", function()
    local flow = talk(table, after(opened, {
      { "A 101 301 50", "established" }, { ">A 301 151 100", "established" },
      { "FA 151 401", "fin_wait" }, { ">A 401 152", "close_wait" }, { ">A 401 152 10", "close_wait" },
      { "A 152 411", "close_wait" }, { ">FA 411 152", "last_ack" }, { "A 152 412", "closed" },
    }))
    assert.same({ 6, 6 * 40 + 50, 5, 5 * 40 + 110 }, { flows.counters(flow) })
  end)

  it("closes from the other end, and from both at once", function()
    talk(table, after(opened, { { ">FA 301 101", "fin_wait" }, { "A 101 302", "close_wait" },
      { "FA 101 302", "last_ack" }, { ">A 302 102", "closed" } }))
    table = flows.new(64)
    talk(table, after(opened, { { ">FA 301 101", "fin_wait" }, { "FA 101 301", "last_ack" },
      { ">A 302 102", "last_ack" }, { "A 102 302", "closed" } }))
  end)

  it("takes both ends' acknowledgements of the other's FIN before it is closed", function()
    talk(table, after(opened, { { "FA 101 301", "fin_wait" }, { ">A 301 101", "fin_wait" },
      { ">FA 301 101", "last_ack" }, { "A 102 302", "last_ack" }, { ">A 302 102", "closed" } }))
  end)

  it("opens from both ends at once", function()
    talk(table, { { "S 100", "syn_sent" }, { ">S 300", "syn_recv" }, { "SA 100 301", "established" },
      { ">SA 300 101", "established" } })
  end)

  it("takes no answer for one that acknowledges another SYN", function()
    talk(table, { { "S 100", "syn_sent" }, { ">SA 300 99", "syn_sent" }, { ">A 300 7", "syn_sent" },
      { ">SA 300 101", "syn_recv" }, { "A 101 400", "syn_recv" }, { "A 101 301", "established" } })
  end)

  it("takes data with its SYN, whether they are acknowledged or not", function()
    talk(table, { { "S 100 0 20", "syn_sent" }, { ">SA 300 121", "syn_recv" }, { "A 121 301", "established" } })
    table = flows.new(64)
    talk(table, { { "S 100 0 20", "syn_sent" }, { ">SA 300 101 9", "syn_recv" }, { "A 101 301", "established" } })
  end)

  it("takes a SYN that is repeated, with another number too", function()
    talk(table, { { "S 100", "syn_sent" }, { "S 100", "syn_sent" }, { "S 5000", "syn_sent" },
      { ">SA 300 101", "syn_sent" }, { ">SA 300 5001", "syn_recv" } })
  end)

  it("is established by what its sender says where the answers are not queued", function()
    local flow = talk(table, { { "S 100", "syn_sent" }, { "A 101 301", "established" },
      { "A 101 301 10", "established" }, { "FA 111 400", "fin_wait" } })
    assert.same({ 4, 0 }, { C.ipq_flow_packets(flow, 0), C.ipq_flow_packets(flow, 1) })
    assert.equal(1, table:sweep(30000))
    assert.equal("closed", table:ended()[1][2])
  end)

  it("is picked up from its middle", function()
    talk(table, { { ">A 301 151 100", "midstream" }, { "A 151 401", "midstream" }, { "FA 151 401", "fin_wait" },
      { ">A 401 152", "close_wait" }, { ">FA 401 152", "last_ack" }, { "A 152 402", "closed" } })
    table = flows.new(64)
    talk(table, { { "FA 151 401", "fin_wait" }, { ">A 401 152", "close_wait" } })
    table = flows.new(64)
    talk(table, { { ">SA 300 101", "midstream" } })
    table = flows.new(64)
    talk(table, { { "R 300", "closed" } })
  end)

  it("is reset by a reset that is exactly what its receiver waits for", function()
    for _, reset in ipairs { ">R 301", ">RA 301 101", "R 101 0", "RA 101 301" } do
      table = flows.new(64)
      table.flows.wants_ended = 1
      talk(table, after(opened, { { reset, "closed" } }))
      assert.equal(1, table:sweep(30000))
      assert.equal("reset", table:ended()[1][2])
    end
  end)

  it("is not reset by another one", function()
    for _, reset in ipairs { ">R 300", ">R 302", ">R 0", "R 102 0", "R 100 0", "RA 4000000000 301" } do
      table = flows.new(64)
      talk(table, after(opened, { { reset, "established" } }))
    end
  end)

  it("is reset behind data, and by what its receiver has not got yet", function()
    talk(table, after(opened, { { ">A 301 101 100", "established" }, { ">R 401", "closed" } }))
    table = flows.new(64)
    talk(table, after(opened, { { ">A 301 101 100", "established" }, { "A 101 351", "established" },
      { ">R 351", "closed" } }))
  end)

  it("is refused by a reset that acknowledges its SYN, and by no other", function()
    talk(table, { { "S 100", "syn_sent" }, { ">RA 0 100", "syn_sent" }, { ">R 0 101", "syn_sent" },
      { ">RA 0 101", "closed" } })
  end)

  it("goes on where the alleged sender of a reset does", function()
    talk(table, after(opened, { { ">R 301", "closed" }, { "A 101 301 5", "closed" }, { ">A 301 106 5", "midstream" },
      { "A 106 306", "midstream" } }))
    assert.equal(0, table:attach())
  end)

  it("is another one once a SYN begins it anew", function()
    local flow, packet = table:see(segment "S 100")
    assert.equal(E.IPQ_FLOW_IS_NEW, packet.flow_bits)
    local generation = flow.generation
    talk(table, after({}, { { ">RA 0 101", "closed" } }))
    flow, packet = table:see(segment ">S 900")
    assert.equal("syn_sent", flows.state(flow))
    assert.same({ 0, E.IPQ_FLOW_IS_NEW }, { packet.flow_direction, packet.flow_bits })
    assert.is_true(flow.generation ~= generation)
    assert.equal("reset", table:ended()[1][2])
    assert.equal(1, table:count())
  end)

  it("begins anew behind what nobody has answered, but not behind a SYN", function()
    for _, first in ipairs { "A 5 5", "FA 5 5", "R 5" } do
      table = flows.new(64)
      table:see(segment(first))
      local _, packet = table:see(segment "S 100")
      assert.same({ E.IPQ_FLOW_IS_NEW, 1 }, { packet.flow_bits, table:count() })
    end
    talk(table, { { "S 100", "syn_sent" }, { "A 101 301", "established" }, { "S 900", "established" } })
  end)

  it("does not begin anew while it is open", function()
    talk(table, after(opened, { { "S 7000", "established" }, { ">S 9000", "established" },
      { ">SA 9000 7001", "established" }, { ">R 9001", "established" } }))
  end)

  it("is not closed by a FIN that is far from what was sent", function()
    talk(table, after(opened, { { "FA 3000000 301", "established" }, { ">FA 2000000000 101", "established" } }))
  end)

  it("takes nothing behind a FIN for what has to be acknowledged", function()
    talk(table, after(opened, { { "FA 101 301", "fin_wait" }, { "A 102 301 50", "fin_wait" },
      { ">A 301 102", "close_wait" } }))
  end)

  it("follows numbers that jump while nothing was queued, where the acknowledgement fits", function()
    talk(table, after(opened, { { ">A 90000301 101 100", "established" }, { "A 101 90000401", "established" },
      { ">R 301", "established" }, { ">R 90000401", "closed" } }))
  end)

  it("follows numbers around their end", function()
    talk(table, { { "S 4294967295", "syn_sent" }, { ">SA 4294967290 0", "syn_recv" },
      { "A 0 4294967291", "established" }, { ">A 4294967291 0 10", "established" }, { "A 0 5", "established" },
      { ">FA 5 0", "fin_wait" }, { "A 0 6", "close_wait" }, { "FA 0 6", "last_ack" }, { ">A 6 1", "closed" } })
  end)

  it("has the timeout of its state", function()
    local waits = {
      { 60, { { "S 100", "syn_sent" } } }, { 60, { opened[1], opened[2] } }, { 3600, opened },
      { 30, after(opened, { { "FA 101 301", "fin_wait" } }) }, { 30, after(opened, { { ">R 301", "closed" } }) },
      { 60, { { "A 5 5", "midstream" } } }, { 3600, { { "A 5 5", "midstream" }, { ">A 5 5", "midstream" } } },
    }
    for i, wait in ipairs(waits) do
      table = flows.new(64)
      talk(table, wait[2])
      table:sweep(wait[1] * 1000 - 1)
      assert.equal(1, table:count(), i)
      table:sweep(1)
      assert.equal(0, table:count(), i)
    end
  end)
end)

local function udp(back, o)
  o = o or {}
  local to, from = { SERVER, 53 }, { CLIENT, 4000 }
  if back then to, from = from, to end
  return t.udp { saddr = from[1], sport = from[2], daddr = to[1], dport = to[2], payload = o.payload or "abcd" }.bytes
end

describe("a flow", function()
  local table
  before_each(function()
    table = flows.new(64)
    table.flows.wants_ended = 1
  end)

  it("has the direction of its first packet, whichever end is the lesser", function()
    for _, back in ipairs { false, true } do
      table = flows.new(64)
      local flow, packet = table:see(udp(back))
      assert.same({ 0, E.IPQ_FLOW_IS_NEW, 1 }, { packet.flow_direction, packet.flow_bits, packet.flow_number })
      local origin = bit.band(flow.bits, E.IPQ_FLOW_ORIGIN)
      assert.same(back and { 192, 53 } or { 10, 4000 }, { flow.key.addresses[origin][0], flow.key.ports[origin] })
      flow, packet = table:see(udp(not back))
      assert.same({ 1, 0, 1 }, { packet.flow_direction, packet.flow_bits, packet.flow_number })
      assert.same({ 1, 32, 1, 32 }, { flows.counters(flow) })
    end
  end)

  it("is a stream of UDP once both directions were seen", function()
    assert.equal("new", flows.state(table:see(udp())))
    assert.equal("new", flows.state(table:see(udp())))
    table:sweep(29999)
    assert.equal(1, table:count())
    assert.equal("stream", flows.state(table:see(udp(true))))
    table:sweep(119999)
    assert.equal(1, table:count())
    table:sweep(1)
    assert.equal(0, table:count())
    assert.equal("timeout", table:ended()[1][2])
  end)

  it("counts what IP says, not the link's padding, and what was not copied", function()
    local flow = table:see(udp() .. ("\0"):rep(14))
    assert.equal(32, flow.bytes[0])
    flow = table:see(udp(false, { payload = ("x"):rep(1000) }):sub(1, 60), { len = 1028 })
    assert.equal(32 + 1028, flow.bytes[0])
  end)

  it("counts more packets than 32 bits hold, and stops where it can count no further", function()
    local flow = table:see(udp())
    flow.packets[0], flow.packets[1] = 0xffffffff, 5
    table:see(udp())
    assert.same({ 2 ^ 32, 5 }, { C.ipq_flow_packets(flow, 0), C.ipq_flow_packets(flow, 1) })
    flow.packets[0], flow.high = 0xffffffff, 0xff
    table:see(udp())
    assert.same({ 2 ^ 36 - 1, 15 * 2 ^ 32 + 5 }, { C.ipq_flow_packets(flow, 0), C.ipq_flow_packets(flow, 1) })
  end)

  it("counts a packet at the first of the hooks that it passes", function()
    local flow = table:see(udp(), { hook = 3 })
    table:see(udp(), { hook = 1 })
    table:see(udp(true), { hook = 1 })
    table:see(udp(true), { hook = 3 })
    assert.same({ 1, 32, 1, 32 }, { flows.counters(flow) })
    assert.same({ 3, 1 }, { C.ipq_flow_hook(flow, 0), C.ipq_flow_hook(flow, 1) })
  end)

  it("tells when its first and its last packet came", function()
    local flow = table:see(udp())
    local first = table.us
    table:see(udp(), { after = 1234 })
    table:see(t.udp { sport = 9 }.bytes, { after = 1000 })
    assert.equal(first, tonumber(C.ipq_flow_first_us(table.flows, flow)))
    assert.equal(first + 1234000, tonumber(C.ipq_flow_last_us(table.flows, flow)))
  end)

  it("tells of its beginning as 46 days ago, where that is longer ago", function()
    local flow = table:see(udp())
    local most = 2 ^ 32 - 1 - 2 ^ 28
    flow.first_ms = (flow.first_ms - most - 5000) % 2 ^ 32
    table:see(udp())
    assert.equal(table.us - most * 1000, tonumber(C.ipq_flow_first_us(table.flows, flow)))
    -- What the clock has not reached, as it was set back, is not long ago.
    flow.first_ms = (flow.first_ms + most + 5000) % 2 ^ 32
    table:see(udp())
    assert.equal(table.us + 5e6, tonumber(C.ipq_flow_first_us(table.flows, flow)))
  end)

  it("keeps what a script decides, beside its hooks", function()
    local flow = table:see(udp(), { hook = 3 })
    table:see(udp(true), { hook = 1 })
    C.ipq_flow_decide(flow, E.IPQ_FLOW_REJECT + E.IPQ_REJECT_ADMIN_PROHIBITED)
    assert.equal(E.IPQ_FLOW_REJECT + E.IPQ_REJECT_ADMIN_PROHIBITED, C.ipq_flow_decision(flow))
    assert.equal(1, C.ipq_flow_hook(flow, 1))
    C.ipq_flow_decide(flow, E.IPQ_FLOW_ASK)
    assert.equal(E.IPQ_FLOW_ASK, C.ipq_flow_decision(flow))
  end)

  it("is known by protocol, addresses, ports and zone", function()
    local six = { saddr = "fd00::1", daddr = "fd00::2", sport = 1, dport = 2 }
    local zone = ffi.new("uint8_t[8]", { 6, 0, 18, 0, 0, 9, 0, 0 })
    table:see(udp())
    table:see(t.tcp { saddr = CLIENT, sport = 4000, daddr = SERVER, dport = 53 }.bytes)
    table:see(t.udp(six).bytes)
    table:see(t.udplite(six).bytes)
    assert.equal(4, table:count())
    local packet, memory = flows.packet(udp())
    packet.present, packet.ct, packet.ct_len = E.IPQ_HAS_CT, zone, 8
    local flow = C.ipq_flows_packet(table.flows, packet, table.us)
    assert.equal(9, flow.key.zone)
    assert.equal(5, table:count())
    assert.truthy(memory)
  end)

  it("reads no zone of attributes that lie", function()
    for _, bytes in ipairs { "\3\0\18\0\0\9", "\7\0\18\0\0\9", "\5\0\18\0\1\0\0\0", "\4\0\18\0", "\6\0" } do
      local own = require("spec.support.rewrite").own(bytes)
      local packet, memory = flows.packet(udp())
      packet.present, packet.ct, packet.ct_len = E.IPQ_HAS_CT, own, #bytes
      assert.equal(0, C.ipq_flows_packet(table.flows, packet, table.us).key.zone)
      assert.truthy(memory)
    end
  end)

  it("is none without IP, for later fragments, and without ports", function()
    local fragment = t.udp { payload = ("x"):rep(16), ip = { frag_off = 8 } }
    for _, bytes in ipairs { "", "\0", fragment.bytes, udp():sub(1, 24) } do
      local flow, packet = table:see(bytes)
      assert.is_nil(flow)
      assert.equal(0, packet.flow_number)
    end
    assert.equal(0, table:count())
  end)

  it("is there for protocols without ports", function()
    local gre = t.gre { saddr = CLIENT, daddr = SERVER }.bytes
    local flow, packet = table:see(gre)
    assert.same({ "new", 1 }, { flows.state(flow), packet.flow_number })
    assert.equal("stream", flows.state((table:see(t.gre { saddr = SERVER, daddr = CLIENT }.bytes))))
  end)

  it("is one for an echo's request and reply, by their identifier", function()
    local function echo(type, id, saddr, daddr)
      return t.icmp { saddr = saddr, daddr = daddr, type = type, id = id, sequence = 1 }.bytes
    end
    table:see(echo(8, 77, CLIENT, SERVER))
    local flow, packet = table:see(echo(0, 77, SERVER, CLIENT))
    assert.same({ "stream", 1, 1 }, { flows.state(flow), packet.flow_direction, table:count() })
    table:see(echo(8, 78, CLIENT, SERVER))
    table:see(echo(13, 77, CLIENT, SERVER))
    table:see(echo(8, 77, SERVER, CLIENT))
    assert.equal(4, table:count())
    -- To oneself, too.
    table:see(echo(8, 5, CLIENT, CLIENT))
    packet = select(2, table:see(echo(0, 5, CLIENT, CLIENT)))
    assert.same({ 1, 5 }, { packet.flow_direction, table:count() })
  end)

  it("is given to an ICMP error that quotes it, in the direction that the error goes", function()
    local flow = table:see(udp())
    local function about(bytes, from, to)
      local error = t.icmp { saddr = from or "203.0.113.1", daddr = to or CLIENT, type = 3, code = 1,
        payload = bytes:sub(1, 28) }
      return table:see(error.bytes)
    end
    local found, packet = about(udp())
    assert.equal(flow, found)
    assert.same({ E.IPQ_FLOW_IS_RELATED, 1, 1 }, { packet.flow_bits, packet.flow_direction, packet.flow_number })
    assert.same({ 1, 32, 0, 0 }, { flows.counters(flow) })
    packet = select(2, about(udp(true), nil, SERVER))
    assert.same({ E.IPQ_FLOW_IS_RELATED, 0 }, { packet.flow_bits, packet.flow_direction })
    -- Of nothing that is there, or of an error, it makes none.
    assert.is_nil(about(t.udp { sport = 1 }.bytes))
    assert.is_nil(about "nonsense")
    assert.equal(1, table:count())
  end)

  it("ends at its next packet, too, where its time is over", function()
    local flow = table:see(udp())
    C.ipq_flow_decide(flow, E.IPQ_FLOW_DROP)
    flow.fields[2] = 5
    local packet
    -- The record that is swept with a packet is another one.
    for i = 1, 8 do table:see(t.udp { sport = i }.bytes) end
    flow, packet = table:see(udp(), { after = 30000 })
    assert.equal(E.IPQ_FLOW_IS_NEW, packet.flow_bits)
    assert.same({ 0, 0, 1 }, { C.ipq_flow_decision(flow), flow.fields[2], C.ipq_flow_packets(flow, 0) })
  end)

  it("ends where the clock jumps by more than its timeout, and not where it goes back by less", function()
    table:see(udp())
    table:sweep(-20000)
    assert.equal(1, table:count())
    table:see(udp())
    table:sweep(-30000)
    assert.equal(0, table:count())
  end)

  it("has words for all its states and reasons", function()
    for state = 1, E.IPQ_FLOW_STATES - 1 do assert.truthy(C.ipq_flow_state_word(state) ~= nil) end
    assert.is_true(C.ipq_flow_state_word(0) == nil and C.ipq_flow_state_word(99) == nil)
    for reason = 1, 4 do assert.truthy(C.ipq_flow_reason_word(reason) ~= nil) end
    assert.is_true(C.ipq_flow_reason_word(0) == nil)
  end)
end)
