-- scripts/impair.lua: each of tc netem's words, by the kit's time. What it does live is in spec/kernel/impair_spec.lua.
local script = require "ipq.engine.script"
local t = require "ipq.test"

local PATH, MANY = "scripts/impair.lua", 10000

--- A UDP packet of that many bytes, at least 28.
local function packet(size) return t.udp { payload = ("x"):rep((size or 100) - 28) } end

--- What becomes of packets that come at once: a list of { number, milliseconds } in the order in which they go, and
--- what was sent meanwhile.
local function departures(filter, packets, milliseconds)
  local results, gone, sent = {}, {}, {}
  local function note(now, list)
    for _, each in ipairs(list) do sent[#sent + 1] = { now, each } end
    for i, result in ipairs(results) do
      if result and result.verdict == "accept" then
        gone[#gone + 1] = { i, now }
        results[i] = false
      end
    end
  end
  for i, each in ipairs(packets) do
    results[i] = t.run(filter, each)
    note(0, results[i].sent)
  end
  for now = 1, milliseconds do
    local _, _, list = t.advance(0.001)
    note(now, list)
  end
  return gone, sent
end

local function times_of(gone)
  local times = {}
  for i, each in ipairs(gone) do times[i] = each[2] end
  return times
end

local function order_of(gone)
  local order = {}
  for i, each in ipairs(gone) do order[i] = each[1] end
  return order
end

local function copies(count, size)
  local list = {}
  for i = 1, count do list[i] = packet(size) end
  return list
end

--- How many of so many packets have that verdict, and how many were sent.
local function count_of(filter, verdict, what)
  local count, sent = 0, 0
  for _ = 1, MANY do
    local result = t.run(filter, what)
    if result.verdict == verdict then count = count + 1 end
    sent = sent + #result.sent
  end
  return count, sent
end

local function is_near(expected, count)
  assert.is_true(math.abs(count - expected) < 4 * math.sqrt(expected), ("%d, expected some %d"):format(count, expected))
end

describe(PATH, function()
  -- What a spec leaves behind is not for the next.
  after_each(function() t.advance(3600) end)

  it("lets packets be where nothing is said", function()
    local filter = t.load(PATH)
    assert.unchanged(filter, packet())
    assert.is_false(filter.send)
  end)

  it("has them come late, in their order", function()
    local gone = departures(t.load(PATH, { delay = "20ms" }), copies(3), 25)
    assert.same({ { 1, 20 }, { 2, 20 }, { 3, 20 } }, gone)
  end)

  it("takes tc's units of time", function()
    for word, milliseconds in pairs { ["2ms"] = 2, ["2msecs"] = 2, ["2000us"] = 2, ["0.002s"] = 2, ["2000usec"] = 2,
      ["0.01sec"] = 10, ["3.0MS"] = 3 } do
      assert.same({ { 1, milliseconds } }, departures(t.load(PATH, { delay = word }), copies(1), 12), word)
    end
  end)

  it("spreads them over twice the jitter", function()
    local gone = departures(t.load(PATH, { delay = "20ms", jitter = "10ms", seed = 1 }), copies(400), 31)
    assert.equal(400, #gone)
    local early, last = 0, 0
    for _, each in ipairs(gone) do
      assert.is_true(each[2] >= 10 and each[2] <= 30)
      early = early + (each[2] <= 20 and 1 or 0)
      last = math.max(last, each[2])
    end
    is_near(200, early)
    assert.is_true(last >= 29)
    assert.not_same(order_of(departures(t.load(PATH, { delay = "20ms" }), copies(400), 31)), order_of(gone))
  end)

  it("lets none go before it has come, however large the jitter is", function()
    local gone = departures(t.load(PATH, { delay = "5ms", jitter = "10ms", limit = MANY, seed = 1 }), copies(400), 16)
    local at_once = 0
    for _, each in ipairs(gone) do at_once = at_once + (each[2] == 0 and 1 or 0) end
    is_near(100, at_once)
    assert.equal(400, #gone)
  end)

  it("has packets follow each other as a line carries them", function()
    local filter = t.load(PATH, { rate = "1mbit" })
    assert.same({ 10, 20, 30 }, times_of(departures(filter, copies(3, 1250), 35)))
    -- The line was idle for 5 ms: that is not to be had later.
    assert.same({ 10, 12, 22 }, times_of(departures(filter, { packet(1250), packet(250), packet(1250) }, 25)))
  end)

  it("adds the line's time to the delay", function()
    local filter = t.load(PATH, { rate = "1mbit", delay = "100ms" })
    assert.same({ 110, 120, 130 }, times_of(departures(filter, copies(3, 1250), 135)))
  end)

  it("takes tc's units of rates", function()
    for word, milliseconds in pairs { ["1000kbit"] = 10, ["1mbit"] = 10, ["2Mbit"] = 5, ["125kbps"] = 10,
      ["0.25mbps"] = 5, ["1000000bit"] = 10, ["0.01gbit"] = 1, ["125000bps"] = 10 } do
      assert.same({ { 1, milliseconds } }, departures(t.load(PATH, { rate = word }), copies(1, 1250), 11), word)
    end
  end)

  it("loses as many as it is told to", function()
    is_near(100, (count_of(t.load(PATH, { loss = "1%", seed = 1 }), "drop", packet())))
    is_near(3000, (count_of(t.load(PATH, { loss = "30%", seed = 1 }), "drop", packet())))
    assert.equal(MANY, (count_of(t.load(PATH, { loss = "100%" }), "drop", packet())))
    assert.equal(0, (count_of(t.load(PATH, { loss = "0%" }), "drop", packet())))
  end)

  it("sends as many twice as it is told to", function()
    local accepted, sent = count_of(t.load(PATH, { duplicate = "10%", seed = 1 }), "accept", packet())
    assert.equal(MANY, accepted)
    is_near(1000, sent)
    assert.sent(t.load(PATH, { duplicate = "100%" }), packet(), packet())
  end)

  it("delays the second one as well", function()
    local gone, sent = departures(t.load(PATH, { duplicate = "100%", delay = "5ms" }), copies(2), 10)
    assert.same({ { 1, 5 }, { 2, 5 } }, gone)
    assert.equal(2, #sent)
    for _, each in ipairs(sent) do assert.same({ 5, packet().bytes }, { each[1], each[2].bytes }) end
  end)

  it("has both take their turn on the line", function()
    local gone, sent = departures(t.load(PATH, { duplicate = "100%", rate = "1mbit" }), copies(1, 1250), 25)
    assert.same({ { 1, 20 } }, gone)
    assert.same({ 10 }, { sent[1][1], sent[2] })
  end)

  it("loses one of both as often as any other", function()
    local accepted, sent = count_of(t.load(PATH, { duplicate = "100%", loss = "50%", seed = 1 }), "accept", packet())
    assert.equal(MANY, accepted)
    is_near(2500, sent)
  end)

  it("changes one bit behind the IP header, and leaves the checksum", function()
    local seen = {}
    for _, each in ipairs { t.udp { payload = "hello" }, t.tcp { saddr = "2001:db8::1", payload = "hello" } } do
      local filter, header = t.load(PATH, { corrupt = "100%", seed = 1 }), each.ip and 20 or 40
      for _ = 1, 500 do
        local result = assert.verdict("accept", filter, each)
        local bits = 0
        for i = 1, #each.bytes do
          local difference = bit.bxor(each.bytes:byte(i), result.packet.bytes:byte(i))
          if difference ~= 0 then
            assert.is_true(i > header)
            seen[header .. " " .. i .. " " .. difference] = true
            while difference > 0 do
              bits = bits + difference % 2
              difference = math.floor(difference / 2)
            end
          end
        end
        assert.equal(1, bits)
      end
    end
    local places = 0
    for _ in pairs(seen) do places = places + 1 end
    assert.is_true(places > 200, places) -- of 8 * 13 + 8 * 25
  end)

  it("leaves padding and what has nothing but a header as they are", function()
    local filter = t.load(PATH, { corrupt = "100%", seed = 1 })
    for _, each in ipairs { t.ip { protocol = 200 }, t.ip6 { nexthdr = 200 } } do
      assert.unchanged(filter, each)
      assert.unchanged(filter, t.packet(each.bytes .. ("\0"):rep(20)))
    end
    assert.unchanged(filter, t.packet "")
    for _ = 1, 100 do
      assert.equal(28, #t.run(filter, t.packet(packet(28).bytes .. ("\0"):rep(20))).packet.bytes)
    end
  end)

  it("changes as many as it is told to", function()
    local filter, changed = t.load(PATH, { corrupt = "5%", seed = 1 }), 0
    for _ = 1, MANY do changed = changed + (t.run(filter, packet()).changed and 1 or 0) end
    is_near(500, changed)
  end)

  it("lets some go at once, past those that wait", function()
    local filter = t.load(PATH, { delay = "10ms", reorder = "25%", limit = MANY, seed = 1 })
    is_near(2500, (count_of(filter, "accept", packet())))
  end)

  it("lets one in gap packets go at once", function()
    local gone = departures(t.load(PATH, { delay = "5ms", reorder = "100%", gap = 3 }), copies(7), 6)
    assert.same({ { 3, 0 }, { 6, 0 }, { 1, 5 }, { 2, 5 }, { 4, 5 }, { 5, 5 }, { 7, 5 } }, gone)
  end)

  it("drops what comes while so many wait", function()
    local filter = t.load(PATH, { delay = "5ms", limit = 2 })
    local first, second = t.run(filter, packet()), t.run(filter, packet())
    assert.verdict("drop", filter, packet())
    t.advance(0.005)
    assert.same({ "accept", "accept" }, { first.verdict, second.verdict })
    assert.verdict("hold", filter, packet())
  end)

  it("counts second packets among those that wait", function()
    local filter = t.load(PATH, { delay = "5ms", limit = 2, duplicate = "100%" })
    assert.verdict("hold", filter, packet())
    local refused = assert.verdict("drop", filter, packet())
    assert.same({}, refused.sent)
    assert.equal(1, #select(3, t.advance(0.005)))
    assert.verdict("hold", filter, packet())
  end)

  it("does the same with the same seed, and something else with another", function()
    local function fates(seed)
      local filter, list = t.load(PATH, { loss = "50%", seed = seed }), {}
      for i = 1, 64 do list[i] = t.run(filter, packet()).verdict end
      return table.concat(list, " ")
    end
    assert.equal(fates(7), fates(7))
    assert.not_equal(fates(7), fates(8))
    assert.not_equal(fates(nil), fates(nil))
  end)

  it("has the kernel copy bytes where it needs them alone", function()
    assert.equal(64, t.load(PATH, { loss = "1%", rate = "1mbit" }).queue.range)
    assert.is_nil(t.load(PATH, { duplicate = "1%" }).queue.range)
    assert.is_nil(t.load(PATH, { corrupt = "1%" }).queue.range)
  end)

  it("does not load with words that tc would not take", function()
    for words, why in pairs {
      ["delay=100"] = "delay must be a time with its unit", ["delay=x"] = "delay must be a time",
      ["delay=1.2.3ms"] = "delay must be a time", ["delay=-1ms"] = "delay must be a time",
      ["delay=2h"] = "delay must be a time", ["delay=3601s"] = "an hour at most", ["delay="] = "delay must be a time",
      ["loss=101%"] = "loss must be a percentage", ["loss=-1%"] = "loss must be",
      ["duplicate=1ms"] = "duplicate must be a percentage",
      ["rate=1"] = "rate must be a rate with its unit", ["rate=10bit"] = "rate must be 1kbit or more",
      ["jitter=1ms"] = "jitter is how much delay varies", ["reorder=1%"] = "delay must be given",
      ["delay=1ms gap=5"] = "two that reorder lets go", ["delay=1ms reorder=1% gap=1.5"] = "gap must be a whole number",
      ["limit=-1"] = "limit must be a whole number", ["seed=x"] = "seed takes a number",
    } do
      local argv = {}
      for word in words:gmatch "%S+" do argv[#argv + 1] = word end
      local loaded, message = script.load(PATH, argv)
      assert.is_nil(loaded, words)
      assert.truthy(message:find(why, 1, true), message)
    end
  end)
end)
