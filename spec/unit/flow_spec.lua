-- The flow table: what is found, made, evicted, ended; and its memory, which others take over.
local ffi = require "ffi"
local flows = require "spec.support.flows"
local rewrite = require "spec.support.rewrite"
local t = require "ipq.test"

local C, E = flows.C, ffi.C

local function udp(sport, o)
  o = o or {}
  return t.udp { saddr = o.saddr or "10.0.0.1", daddr = o.daddr or "192.0.2.1", sport = sport, dport = o.dport or 53 }
    .bytes
end

local function answer(sport) return udp(53, { saddr = "192.0.2.1", daddr = "10.0.0.1", dport = sport }) end

-- A plain model of the table: flows by a text of their ends, and a list of those that nobody has answered.

local model = {}
model.__index = model

local function remove(list, value)
  for i, other in ipairs(list) do
    if other == value then return table.remove(list, i) end
  end
end

function model:drop(flow)
  self.flows[flow.name] = nil
  self.count = self.count - 1
  remove(self.queue, flow)
end

--- What the table says has ended must be what had to.
function model:ended(list)
  for _, ended in ipairs(list) do
    local flow
    for _, other in pairs(self.flows) do
      if other.number == ended[1] then flow = other end
    end
    assert(flow, "an unknown flow has ended")
    if ended[2] == "evicted" then
      assert(self.count >= self.limit, "evicted without need")
      assert(not self.queue[1] or flow == self.queue[1], "another one had to be evicted")
    else
      assert(ended[2] == "timeout" and self.us - flow.last >= flow.timeout, "ended before its time")
    end
    assert(ended[3].fields[0] == flow.field, "the ended flow's field")
    assert(C.ipq_flow_packets(ended[3], 0) == flow.packets[1])
    self:drop(flow)
  end
end

function model:packet(name, from, len)
  local flow = self.flows[name]
  local is_new = not flow
  if is_new then
    flow = { name = name, origin = from, packets = { 0, 0 }, bytes = { 0, 0 }, timeout = 30e6, field = 0 }
    self.flows[name] = flow
    self.count = self.count + 1
    self.queue[#self.queue + 1] = flow
  end
  local direction = flow.origin == from and 1 or 2
  if direction == 2 and flow.packets[2] == 0 then
    remove(self.queue, flow)
    if name:find "udp" then flow.timeout = 120e6 end
  end
  flow.packets[direction], flow.bytes[direction] = flow.packets[direction] + 1, flow.bytes[direction] + len
  flow.last = self.us
  return flow, direction, is_new
end

local kinds = {
  udp = function(a, b, r) return t.udp { saddr = a, daddr = b, sport = r, dport = r } end,
  udp6 = function(a, b, r) return t.udp { saddr = "fd00::" .. a, daddr = "fd00::" .. b, sport = r, dport = r } end,
  icmp = function(a, b, r, is_back)
    return t.icmp { saddr = a, daddr = b, type = is_back and 0 or 8, id = r, sequence = 1 }
  end,
}
local kind_names = { "udp", "udp6", "icmp" }

--- Packets that are used again and again: { name, from, bytes }.
local function packets_of(random, count)
  local list = {}
  for i = 1, count do
    local kind = random.pick(kind_names)
    local a, b, number = "10.0.0." .. random.number(1, 9), "10.0.1." .. random.number(1, 9), random.number(1, 9)
    local name = ("%s %s %s %d"):format(kind, a, b, number)
    list[2 * i - 1] = { name, 1, kinds[kind](a, b, number).bytes }
    list[2 * i] = { name, 2, kinds[kind](b, a, number, true).bytes }
  end
  return list
end

local function compare(self, flow, found, packet, direction, is_new)
  assert.same({ direction - 1, is_new and E.IPQ_FLOW_IS_NEW or 0 }, { packet.flow_direction, packet.flow_bits })
  assert.same({ flow.packets[1], flow.bytes[1], flow.packets[2], flow.bytes[2] }, { flows.counters(found) })
  assert.equal(flow.field, found.fields[0])
  assert.equal(self.count, C.ipq_flows_count(self.table.flows))
end

local steps = {
  packet = function(self, random, packets)
    local name, from, bytes = unpack(packets[random.number(1, #packets)])
    local found, packet = self.table:see(bytes)
    self:ended(self.table:ended())
    local flow, direction, is_new = self:packet(name, from, #bytes)
    flow.number = packet.flow_number - 1
    compare(self, flow, found, packet, direction, is_new)
    flow.field = flow.field + 1
    found.fields[0] = flow.field
  end,
  wait = function(self, random)
    self.us = self.us + random.number(0, 12) * 1e6
    self.table:sweep((self.us - self.table.us) / 1000)
    self:ended(self.table:ended())
    for _, flow in pairs(self.flows) do assert.is_true(self.us - flow.last < flow.timeout) end
  end,
  limit = function(self, random)
    self.limit = random.number(math.max(20, self.count), 60)
    self.table.flows.limit = self.limit
  end,
  attach = function(self)
    assert.equal(0, self.table:attach())
    self.table.flows.wants_ended, self.table.flows.limit = 1, self.limit
  end,
  rebuild = function(self)
    local head = ffi.cast("uint32_t *", self.table.memory)
    head[self.table.sequence] = head[self.table.sequence] + 1
    assert.equal(1, self.table:attach())
    self.table.flows.wants_ended, self.table.flows.limit = 1, self.limit
    table.sort(self.queue, function(a, b) return a.number < b.number end)
  end,
}

-- Where the head has its sequence number: it is 2 more behind each flow that is made.
local function sequence_of(self)
  local words, before = ffi.cast("uint32_t *", self.memory), {}
  for i = 0, E.IPQ_FLOW_HEAD_SIZE / 4 - 1 do before[i] = words[i] end
  self:see(udp(1))
  for i = 0, E.IPQ_FLOW_HEAD_SIZE / 4 - 1 do
    if words[i] == before[i] + 2 then return i end
  end
end

describe("a flow table", function()
  it("does what a plain model does", function()
    local random = rewrite.random(5)
    local place = sequence_of(flows.new(64))
    for _ = 1, 8 do
      local self = setmetatable({ table = flows.new(64), flows = {}, queue = {}, count = 0, limit = 64 }, model)
      self.us, self.table.sequence, self.table.flows.wants_ended = self.table.us, place, 1
      local packets = packets_of(random, random.pick { 30, 60, 300 })
      for _ = 1, 2000 do
        local n = random.number(1, 100)
        local step = n < 90 and "packet" or n < 96 and "wait" or n < 98 and "limit" or n < 99 and "attach" or "rebuild"
        steps[step](self, random, packets)
      end
      local number, seen = ffi.new "uint32_t[1]", 0
      while C.ipq_flows_next(self.table.flows, number) ~= nil do seen = seen + 1 end
      assert.equal(self.count, seen)
    end
  end)

  it("finds each of a full table's flows again", function()
    local self = flows.new(3000)
    for i = 1, 3000 do self:see(udp(i)) end
    assert.equal(3000, self:count())
    for i = 1, 3000 do
      local flow, packet = self:see(udp(i))
      assert.same({ 0, 2 }, { packet.flow_bits, C.ipq_flow_packets(flow, 0) })
    end
  end)

  it("evicts those that nobody has answered, the oldest first", function()
    local self = flows.new(100)
    self.flows.wants_ended = 1
    for i = 1, 100 do
      self:see(udp(i))
      if i % 2 == 0 then self:see(answer(i)) end
    end
    for i = 101, 150 do
      self:see(udp(i))
      local ended = self:ended()
      assert.same({ 1, "evicted", (i - 101) * 2 + 1 }, { #ended, ended[1][2], flows.sport(ended[1][3]) })
    end
  end)

  it("keeps what was answered in a flood of what nobody answers", function()
    local self = flows.new(1000)
    for i = 1, 500 do
      self:see(udp(i))
      self:see(answer(i))
    end
    for i = 1, 20000 do self:see(udp(1000 + i)) end
    for i = 1, 500 do
      local _, packet = self:see(udp(i))
      assert.equal(0, packet.flow_bits)
    end
    assert.equal(1000, self:count())
    assert.equal(0, self:attach())
  end)

  it("evicts where all were answered, too, and a closed one before others", function()
    local self = flows.new(8)
    self.flows.wants_ended = 1
    local function tcp(o)
      local given = { saddr = "10.0.0.9", daddr = "192.0.2.9", sport = 9, dport = 80, syn = false, ack = false }
      for key, value in pairs(o) do given[key] = value end
      return t.tcp(given).bytes
    end
    for i = 1, 7 do
      self:see(udp(i))
      self:see(answer(i))
    end
    local back = { saddr = "192.0.2.9", daddr = "10.0.0.9", sport = 80, dport = 9 }
    self:see(tcp { syn = true, sequence = 5 })
    for _, o in ipairs { { syn = true, ack = true, sequence = 9, ackseq = 6 }, { rst = true, sequence = 10 } } do
      for key, value in pairs(back) do o[key] = value end
      self:see(tcp(o))
      self:see(tcp { ack = true, sequence = 6, ackseq = 10 })
    end
    local reasons = {}
    for i = 8, 11 do
      self:see(udp(i))
      self:see(answer(i))
      for _, ended in ipairs(self:ended()) do reasons[#reasons + 1] = ended[2] end
    end
    assert.same({ "reset", "evicted", "evicted", "evicted" }, reasons)
    assert.equal(8, self:count())
  end)

  it("goes on where strangers know its key and all flows have the same bucket", function()
    local self = flows.new(1000, ("\0"):rep(E.IPQ_FLOW_KEY_SIZE))
    for i = 1, 500 do
      local _, packet = self:see(udp(i))
      assert.is_true(packet.flow_number > 0)
    end
    assert.equal(24, self:count())
    assert.equal(0, self:attach())
  end)

  it("evicts where a bucket is full who was not answered, then who was silent for longest", function()
    local self = flows.new(1000, ("\0"):rep(E.IPQ_FLOW_KEY_SIZE))
    self.flows.wants_ended = 1
    for i = 1, 24 do
      self:see(udp(i), { after = 10 })
      if i ~= 9 then self:see(answer(i)) end
    end
    self:see(udp(1), { after = 10 })
    for _, expected in ipairs { 9, 2, 3 } do
      self:see(udp(100 + expected), { after = 10 })
      self:see(answer(100 + expected))
      local ended = self:ended()
      assert.same({ 1, expected }, { #ended, flows.sport(ended[1][3]) })
    end
  end)

  it("evicts who came to be the oldest after all others had ended", function()
    for first = 3, 4 do
      local self = flows.new(2)
      for i = 1, first do self:see(udp(i)) end
      self:sweep(30000)
      for i = 11, 13 do self:see(udp(i)) end
      assert.equal(2, self:count())
      assert.equal(0, self:attach())
    end
  end)

  it("shrinks to a lower limit as flows are made", function()
    local self = flows.new(100)
    for i = 1, 100 do self:see(udp(i)) end
    self.flows.limit = 10
    for i = 101, 190 do self:see(udp(i)) end
    assert.equal(10, self:count())
    self.flows.limit = 1e9
    for i = 1, 300 do self:see(udp(i)) end
    assert.equal(100, self:count())
  end)

  it("works with one entry, and refuses none or too many", function()
    local self = flows.new(1)
    for i = 1, 5 do self:see(udp(i)) end
    assert.equal(1, self:count())
    assert.equal(0, tonumber(C.ipq_flows_size(0)))
    assert.equal(0, tonumber(C.ipq_flows_size(E.IPQ_FLOWS_MOST + 1)))
    assert.equal(-22, C.ipq_flows_init(self.memory, self.size - 1, 1, flows.key))
    assert.equal(-22, C.ipq_flows_init(self.memory, self.size, 0, flows.key))
  end)

  it("is looked on by others, whatever stands there", function()
    local self = flows.new(100)
    assert.equal(0, C.ipq_flows_seen(self.memory, self.size))
    for i = 1, 7 do self:see(udp(i)) end
    assert.equal(7, C.ipq_flows_seen(self.memory, self.size))
    assert.equal(0, C.ipq_flows_seen(self.memory, E.IPQ_FLOW_HEAD_SIZE - 1))
    local bytes = ffi.cast("uint8_t *", self.memory)
    ffi.fill(bytes + 16, 200, 0xff)
    assert.is_true(C.ipq_flows_seen(self.memory, self.size) <= 100)
    ffi.fill(bytes, 8)
    assert.equal(0, C.ipq_flows_seen(self.memory, self.size))
  end)

  it("has the pages of so many records at once", function()
    local PAGE, DONTNEED, POPULATE_WRITE, entries = 4096, 4, 23, 100000
    ffi.cdef [[
      int mincore(void *address, size_t size, unsigned char *pages);
      int madvise(void *address, size_t size, int advice);
    ]]
    local self = flows.new(entries)
    local first = math.ceil(tonumber(ffi.cast("uintptr_t", self.flows.records)) / PAGE) * PAGE
    local count = math.floor(entries * ffi.sizeof "struct ipq_flow" / PAGE) - 1
    local function present()
      local pages, sum = ffi.new("unsigned char[?]", count), 0
      assert.equal(0, E.mincore(ffi.cast("void *", first), count * PAGE, pages))
      for i = 0, count - 1 do sum = sum + pages[i] % 2 end
      return sum
    end
    if E.madvise(ffi.cast("void *", first), PAGE, POPULATE_WRITE) ~= 0 then pending "it takes Linux 5.14" end
    assert.equal(0, E.madvise(ffi.cast("void *", first), count * PAGE, DONTNEED))
    assert.equal(0, present())
    C.ipq_flows_populate(self.flows, 20000)
    local some = present()
    assert.is_true(some >= 20000 * 128 / PAGE - 1 and some <= 20000 * 128 / PAGE + 1, some)
    C.ipq_flows_populate(self.flows, 2 ^ 32 - 1)
    assert.equal(count, present())
  end)

  it("has 136 bytes a flow, and as many flows as fit", function()
    assert.is_true(tonumber(C.ipq_flows_size(1e6)) / 1e6 < 136.1)
    for _, entries in ipairs { 1, 63, 64, 1000, 2 ^ 18 } do
      local size = C.ipq_flows_size(entries)
      assert.is_true(C.ipq_flows_entries(size) >= entries)
      assert.is_true(C.ipq_flows_size(C.ipq_flows_entries(size)) <= size)
      assert.is_true(C.ipq_flows_entries(size - 1) < C.ipq_flows_entries(size) + 1)
    end
    assert.equal(0, C.ipq_flows_entries(0))
  end)

  it("tells of a flow that has ended before its record has another one", function()
    local self = flows.new(2)
    self.flows.wants_ended = 1
    local flow = self:see(udp(1))
    flow.fields[3] = 42
    local generation = flow.generation
    self:see(udp(2))
    self:see(udp(3))
    local ended = self:ended()
    assert.same({ 1, 0, "evicted", 42, generation },
      { #ended, ended[1][1], ended[1][2], ended[1][3].fields[3], ended[1][3].generation })
    assert.same({}, self:ended())
  end)

  it("ends nothing by its time while nobody takes what has ended, and does not tell of what is evicted then", function()
    local self = flows.new(400)
    self.flows.wants_ended = 1
    for i = 1, 400 do self:see(udp(i)) end
    self:sweep(30000)
    assert.equal(400 - E.IPQ_FLOW_RING, self:count())
    assert.equal(E.IPQ_FLOW_RING, #self:ended())
    self:sweep(0)
    assert.equal(0, self:count())
    assert.equal(400 - E.IPQ_FLOW_RING, #self:ended())
    for i = 1, 400 + E.IPQ_FLOW_RING + 7 do self:see(udp(i)) end
    assert.equal(E.IPQ_FLOW_RING, #self:ended())
  end)

  it("sweeps a record with each packet", function()
    local self = flows.new(64)
    for i = 1, 32 do self:see(udp(i)) end
    for _ = 1, 64 do self:see("", { after = 1000 }) end
    assert.equal(0, self:count())
  end)

  it("gives its flows one by one, and by number and generation", function()
    local self = flows.new(8)
    for i = 1, 4 do self:see(udp(i)) end
    local number, ports = ffi.new "uint32_t[1]", {}
    while true do
      local flow = C.ipq_flows_next(self.flows, number)
      if flow == nil then break end
      ports[#ports + 1] = flows.sport(flow)
      assert.equal(flow, C.ipq_flows_find(self.flows, number[0] - 1, flow.generation))
      assert.is_true(C.ipq_flows_find(self.flows, number[0] - 1, flow.generation + 1) == nil)
    end
    assert.same({ 1, 2, 3, 4 }, ports)
    assert.is_true(C.ipq_flows_find(self.flows, 4, 0) == nil and C.ipq_flows_find(self.flows, 2 ^ 32 - 1, 0) == nil)
    self:sweep(30000)
    number[0] = 0
    assert.is_true(C.ipq_flows_next(self.flows, number) == nil)
  end)

  it("looks at a batch as at its packets one by one", function()
    local self, other = flows.new(64), flows.new(64)
    local batch = require("spec.support.batch").new {}
    local m = require "spec.support.message"
    local random = rewrite.random(3)
    local packets = packets_of(random, 60)
    for _ = 1, 30 do
      local messages, list = {}, {}
      for i = 1, 64 do
        list[i] = packets[random.number(1, #packets)][3]
        local is_6 = list[i]:byte(1) >= 0x60
        messages[i] = m.packet(m.hdr(i, is_6 and 0x86dd or 0x0800, 0) .. m.attr(m.PAYLOAD, list[i]),
          { family = is_6 and 10 or 2 })
      end
      require("spec.support.batch").fill(batch, messages)
      C.ipq_flows_batch(self.flows, batch, self.us)
      for i = 1, 64 do
        -- What a filter does to a packet before the next one's turn changes nothing of this.
        local packet = batch.packets[i - 1]
        ffi.fill(packet.data, packet.data_len, i % 2 == 0 and 0x45 or packet.data[0])
        if i % 2 == 1 then ffi.copy(packet.data, list[i], #list[i]) end
        local flow = C.ipq_flows_packet(self.flows, packet, self.us)
        local expected, twin = other:see(list[i])
        assert.same({ twin.flow_number, twin.flow_direction, twin.flow_bits },
          { packet.flow_number, packet.flow_direction, packet.flow_bits })
        assert.equal(C.ipq_flow_packets(expected, 0), C.ipq_flow_packets(flow, 0))
      end
    end
    -- Once: what lies there later is another packet.
    local packet, bytes = batch.packets[0], udp(999)
    ffi.copy(packet.data, bytes, #bytes)
    packet.parsed, packet.data_len, packet.len, packet.family = 0, #bytes, #bytes, 2
    local flow = C.ipq_flows_packet(self.flows, packet, self.us)
    assert.same({ 999, E.IPQ_FLOW_IS_NEW }, { flows.sport(flow), packet.flow_bits })
    assert.equal(0, self:attach())
  end)
end)

describe("a flow table's fields", function()
  local function places(self, names)
    local strings = ffi.new("const char *[?]", #names + 1, names)
    local list = ffi.new "uint32_t[4]"
    local code = C.ipq_flows_fields(self.flows, strings, #names, list)
    if code ~= 0 then return code end
    local result = {}
    for i, name in ipairs(names) do result[name] = list[i - 1] end
    return result
  end

  it("keep their places by name, whoever attaches", function()
    local self = flows.new(8)
    local first = places(self, { "hits", "score" })
    local flow = self:see(udp(1))
    flow.fields[first.hits], flow.fields[first.score] = 7, 8
    self:attach()
    local second = places(self, { "score", "other", "hits" })
    assert.same({ first.hits, first.score }, { second.hits, second.score })
    assert.same({ 7, 8, 0 }, { flow.fields[second.hits], flow.fields[second.score], flow.fields[second.other] })
  end)

  it("begin with 0 where another name had the place", function()
    local self = flows.new(8)
    places(self, { "a", "b", "c", "d" })
    local flow = self:see(udp(1))
    for i = 0, 3 do flow.fields[i] = i + 1 end
    local new = places(self, { "d", "e", "f", "b" })
    assert.same({ 4, 0, 0, 2 }, { flow.fields[new.d], flow.fields[new.e], flow.fields[new.f], flow.fields[new.b] })
    assert.equal(0, flow.fields[places(self, { "a" }).a])
  end)

  it("are four at most, each of another name", function()
    local self = flows.new(8)
    assert.equal(-22, places(self, { "a", "b", "c", "d", "e" }))
    assert.equal(-22, places(self, { "a", "a" }))
    assert.same({}, places(self, {}))
  end)
end)

describe("a flow table's memory", function()
  it("is refused where it is no table, or of another size or version", function()
    local self = flows.new(8)
    local good = ffi.string(self.memory, self.size)
    local function attach_changed(at, bytes)
      ffi.copy(self.memory, good, self.size)
      ffi.copy(self.memory + at, bytes, #bytes)
      return self:attach()
    end
    assert.equal(0, attach_changed(0, ""))
    for at = 0, 20, 4 do assert.equal(-22, attach_changed(at, "\255\255\255\127")) end
    assert.equal(-22, attach_changed(16, "\9\0\0\0")) -- entries
    ffi.copy(self.memory, good, self.size)
    assert.equal(-22, C.ipq_flows_attach(self.memory, self.size - 128, self.flows))
    assert.equal(-22, C.ipq_flows_attach(self.memory, 100, self.flows))
    assert.equal(-22, C.ipq_flows_attach(self.memory + 64, self.size, self.flows))
  end)

  it("is built anew where a chain through its records is broken", function()
    local breaks = {
      function(records) records[1].seq[1].ack = 1 end,              -- unanswered ones, that never end
      function(records) records[2].seq[1].edge = 0 end,             -- by another way back
      function(records) records[3].seq[1].ack = 2 ^ 32 - 1 end,     -- that end early
      function(records) records[3].bits = 0 end,                    -- one that is not among them
      function(records) records[7].seq[1].ack = 7 end,              -- free ones, that never end
      function(records) records[6].seq[1].ack = 2 ^ 32 - 1 end,     -- that end early
      function(records) records[7].seq[1].ack = 2 end,              -- of which one is not free
    }
    for i, damage in ipairs(breaks) do
      local self = flows.new(16)
      self.flows.timeout_ms[E.IPQ_FLOW_ICMP] = 1
      for sport = 1, 5 do self:see(udp(sport)) end
      for id = 6, 8 do self:see(t.icmp { type = 8, id = id }.bytes) end
      self:sweep(1)
      assert.same({ 5, 8, 0 }, { self:count(), C.ipq_flows_used(self.flows), self:attach() }, i)
      damage(self.flows.records)
      assert.equal(1, self:attach(), i)
      assert.same({ 5, 0 }, { self:count(), self:attach() }, i)
      for sport = 1, 5 do assert.equal(0, select(2, self:see(udp(sport))).flow_bits) end
    end
  end)

  it("is made sound, whatever a process has written there, with the flows that are whole", function()
    local random = rewrite.random(11)
    local rebuilt, kept = 0, 0
    for _ = 1, 300 do
      local self = flows.new(40)
      for i = 1, 50 do
        self:see(udp(i))
        if i % 3 == 0 then self:see(answer(i)) end
      end
      local key_end = 24 + E.IPQ_FLOW_KEY_SIZE
      for _ = 1, random.number(1, 12) do
        local at = random.number(key_end, self.size - 1)
        self.memory[at] = random.number(0, 255)
      end
      local code = self:attach()
      assert.is_true(code >= 0)
      rebuilt, kept = rebuilt + code, kept + self:count()
      assert.equal(0, self:attach())
      for i = 1, 200 do assert.is_true(self:see(udp(i)) ~= nil) end
      self:sweep(1e6)
      self:sweep(1e7)
      assert.equal(0, self:count())
    end
    assert.is_true(rebuilt > 20 and kept > 250 * 30, ("%d rebuilt, %d kept"):format(rebuilt, kept))
  end)

  it("has all flows but the one in hand, at whatever instruction a process is killed", function()
    local kills, count = ffi.new "struct spec_kills", tonumber(os.getenv "IPQ_KILLS" or 200)
    assert.equal(0, C.spec_flows_kill(kills, count, 88172645463325252ULL))
    assert.same({ count, 0, 0, kills.inside }, { kills.kills, kills.lost, kills.unsound, kills.rebuilt })
    assert.is_true(kills.inside > count / 20, "killed within a change: " .. kills.inside)
  end)

  it("has one kind of NaN for Lua, whatever bits stand there", function()
    local flow = ffi.new "struct ipq_flow"
    for _, memory in ipairs { flow.fields, flow.bytes } do
      local bits = ffi.cast("uint64_t *", memory)
      for _, forged in ipairs { 0xffff800000000001ULL, 0x7ff0000000000001ULL, 0xfffb800000000000ULL } do
        bits[1] = forged
      end
    end
    for _, number in ipairs { C.ipq_flow_field(flow, 1), C.ipq_flow_bytes(flow, 1) } do
      assert.equal("number", type(number))
      assert.is_true(number ~= number)
      assert.equal("\0\0\0\0\0\0\248\127", ffi.string(ffi.new("double[1]", number), 8))
    end
    flow.fields[3] = 1.5
    assert.same({ 1.5, 0 }, { C.ipq_flow_field(flow, 3), C.ipq_flow_field(flow, 4) })
  end)

  it("is worked with safely while another process writes into it", function()
    local random = rewrite.random(12)
    for _ = 1, 100 do
      local self = flows.new(40)
      self.flows.wants_ended = 1
      for i = 1, 400 do
        self:see(udp(random.number(1, 100)), { after = random.number(0, 500) })
        if i % 5 == 0 then self:see(answer(random.number(1, 100))) end
        local at = random.number(0, self.size - 4)
        for j = 0, 3 do self.memory[at + j] = random.pick { 0, 255, random.number(0, 255) } end
        C.ipq_flows_sweep(self.flows, self.us, 10)
        self:ended()
      end
    end
  end)
end)
