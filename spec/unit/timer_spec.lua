-- Timers: when they run, in which order, and what their errors cost.
local capture = require "spec.support.capture"
local ipq = require "ipq"
local lib = require "spec.support.lib"
local log = require "ipq.log"
local m = require "spec.support.message"
local source = require "spec.support.source"
local t = require "ipq.test"
local timer = require "ipq.engine.timer"

local C, errno = lib.C, lib.errno

local function new(n)
  local messages = {}
  for i = 1, n do messages[i] = m.simple(i, ("x"):rep(40)) end
  return source.new(messages)
end

--- Packets without end, until work() says that it is done, or for ten seconds.
local function go_on(src, work)
  local stop = C.spec_monotonic_ns() + 10000000000LL
  return src:plan({ 1 }, 1e9):judge(function()
    if work() or C.spec_monotonic_ns() > stop then src.driver.interrupt = 1 end
  end)()
end

--- What work() raises.
local function raised(work)
  local ok, message = pcall(work)
  assert.is_false(ok)
  return message
end

describe("timers", function()
  local lines, sink, heap
  before_each(function()
    lines, sink, heap = {}, log.sink, timer.current
    log.sink = function(level, text) lines[#lines + 1] = level .. ": " .. text end
    timer.current = timer.new()
  end)
  after_each(function() log.sink, timer.current = sink, heap end)

  --- Runs what is due up to a time in seconds. The heap's time is that of its timers.
  local function run_to(seconds)
    timer.current:run(seconds * 1e6, function(err) lines[#lines + 1] = tostring(err) end)
  end

  it("run in the order of their times, and those of the same time in the order of their making", function()
    local seen = {}
    local seconds = {}
    for i = 1, 200 do
      seconds[i] = (i * 7919) % 50
      ipq.after(seconds[i], function() seen[#seen + 1] = i end)
    end
    run_to(0)
    run_to(24.5)
    local early = #seen
    run_to(100)
    assert.equal(200, #seen)
    for i = 2, 200 do
      local a, b = seen[i - 1], seen[i]
      assert.is_true(seconds[a] < seconds[b] or seconds[a] == seconds[b] and a < b)
    end
    assert.equal(24, seconds[seen[early]])
    assert.equal(0, timer.current.count)
  end)

  it("are given their value", function()
    local got
    ipq.after(1, function(value) got = value end, "value")
    run_to(0)
    run_to(1)
    assert.equal("value", got)
  end)

  it("can be cancelled, before, meanwhile and afterwards", function()
    local seen, all, every = {}, {}, nil
    for i = 1, 100 do all[i] = ipq.after(i % 10, function() seen[#seen + 1] = i end) end
    for i = 1, 100 do if i % 3 > 0 then all[i]:cancel() end end
    every = ipq.every(1, function()
      seen[#seen + 1] = "every"
      if #seen > 30 then every:cancel() end
    end)
    run_to(0)
    run_to(100)
    local numbers, times = {}, 0
    for _, what in ipairs(seen) do
      if what == "every" then times = times + 1 else numbers[what] = true end
    end
    for i = 1, 100 do assert.equal(i % 3 == 0 or nil, numbers[i]) end
    assert.is_true(times > 0 and #seen < 45)
    all[1]:cancel()
    every:cancel()
    assert.equal(0, timer.current.count)
  end)

  it("run in their order, a thousand of them, while others are made and cancelled", function()
    local seen, timers, due, state = {}, {}, {}, 1
    local function random(n)
      state = (state * 1103515245 + 12345) % 2 ^ 31
      return math.floor(state / 2 ^ 16) % n
    end
    local function note(i) seen[#seen + 1] = i end
    for i = 1, 1000 do
      due[i] = random(100)
      timers[i] = ipq.after(due[i], note, i)
      local other = random(i) + 1
      if random(3) == 0 and due[other] then
        timers[other]:cancel()
        due[other] = nil
      end
    end
    run_to(0)
    run_to(100)
    local expected = {}
    for i = 1, 1000 do if due[i] then expected[#expected + 1] = i end end
    table.sort(expected, function(a, b) return due[a] < due[b] or due[a] == due[b] and a < b end)
    assert.is_true(#expected > 500 and #expected < 900)
    assert.same(expected, seen)
  end)

  it("that are over cancel no other one", function()
    local seen, first = {}, nil
    first = ipq.after(1, function()
      ipq.after(1, function() seen[#seen + 1] = "second" end)
      first:cancel()
    end)
    run_to(0)
    run_to(1)
    first:cancel()
    local cancelled = ipq.after(1, error)
    cancelled:cancel()
    ipq.after(3, function() seen[#seen + 1] = "third" end)
    cancelled:cancel()
    run_to(3)
    assert.same({ "second", "third" }, seen)
    assert.equal(0, timer.current.count)
  end)

  it("that cancel themselves may make others then", function()
    local seen, every = {}, nil
    every = ipq.every(1, function()
      every:cancel()
      every:cancel()
      ipq.after(1, function() seen[#seen + 1] = "after" end)
      ipq.every(2, function() seen[#seen + 1] = "every" end)
    end)
    run_to(0)
    run_to(5)
    assert.same({ "after", "every", "every" }, seen)
    assert.same({}, lines)
    assert.equal(1, timer.current.count)
  end)

  it("keep nothing of what they were given, once they are over", function()
    local kept = setmetatable({}, { __mode = "k" })
    local function give(make)
      local value = {}
      kept[value] = true
      return make(value)
    end
    give(function(value) ipq.after(1, function() return value end, value) end)
    give(function(value) ipq.after(1, function() return value end, value):cancel() end)
    run_to(0)
    run_to(1)
    jit.flush() -- a trace keeps the functions that it was made for
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(kept))
  end)

  it("may make others, which run when they are due", function()
    local seen = {}
    ipq.after(1, function()
      seen[#seen + 1] = "first"
      ipq.after(0.5, function() seen[#seen + 1] = "third" end)
      ipq.after(0, function() seen[#seen + 1] = "second" end)
    end)
    ipq.after(3, function() seen[#seen + 1] = "last" end)
    run_to(0)
    run_to(2)
    assert.same({ "first", "second", "third" }, seen)
  end)

  it("that raise are told with a traceback, and cost nothing else", function()
    local src, seen = new(2), 0
    ipq.after(0, function() error "oh no" end)
    ipq.after(0, function() seen = seen + 1 end)
    src:plan({ 1 }, 2):judge(function()
      local start = C.spec_monotonic_ns()
      while C.spec_monotonic_ns() - start < 10000 do end -- luacheck: ignore 542
    end)()
    assert.equal(1, seen)
    assert.equal(1, #lines)
    assert.matches("^error: timer: spec/unit/timer_spec.lua:%d+: oh no\nstack traceback:\n.*timer_spec.lua:%d+: in ",
      lines[1])
    assert.not_matches("dispatch.lua", lines[1])
    assert.equal(0, tonumber(src.batch.counters.errors))
    assert.same({ 2, 2 }, { tonumber(src.batch.counters.packets), tonumber(src.batch.counters.accepted) })
  end)

  it("that raise with what is no string, or for ever, are told, ten a second", function()
    for _ = 1, 20 do ipq.after(0, function() error(setmetatable({}, { __tostring = error })) end) end
    local function deep() return 1 + deep() end
    ipq.after(0, deep)
    local src = new(1)
    local done
    ipq.after(0, function() done = true end)
    go_on(src, function() return done end)
    assert.is_true(#lines >= 10 and #lines <= 22)
    assert.matches("error: timer: error with no message", lines[1])
  end)

  it("run by the clock between packets, and while one runs the supervisor can see it", function()
    local src = new(1)
    local before, during, fired
    ipq.after(0.02, function()
      during, fired = src.batch.in_timer, C.spec_monotonic_ns()
      assert(src.batch.count == 0)
    end)
    before = C.spec_monotonic_ns()
    go_on(src, function() return fired end)
    local took = tonumber(fired - before) / 1e9
    assert.is_true(took >= 0.02)
    assert.equal(1, during)
    assert.equal(2, src.batch.in_timer)
    assert.equal(0, tonumber(src.batch.wake_ns))
  end)

  it("that are periodic are called once after a pause, and then at a multiple", function()
    local src = new(1)
    local calls, before, first, last = 0, nil, nil, nil
    ipq.every(0.01, function() calls = calls + 1 end)
    go_on(src, function()
      if before then
        last = src.batch.wake_ns
        return calls > before
      end
      before, first = calls, src.batch.wake_ns
      -- Five are due by then.
      while C.spec_monotonic_ns() < first + 45000000 do end -- luacheck: ignore 542
    end)
    local periods = tonumber(last - first) / 10000000
    assert.is_true(periods >= 5)
    assert.equal(0, periods % 1)
    -- One, and another for each that became due after the pause: a busy machine may be as late as that.
    assert.is_true(calls > before and calls - before <= periods - 4)
  end)

  it("that were made before their loop began count from its beginning, and cancel the deadline with them", function()
    local src = new(1)
    local fired
    local one = ipq.after(1000, function() fired = true end)
    local run = src:plan({ 1 }, 1):judge(function()
      local left = tonumber(src.batch.wake_ns - C.spec_monotonic_ns()) / 1e9
      assert(left > 990 and left <= 1000)
      one:cancel()
      assert(src.batch.wake_ns == 0)
    end)
    run()
    assert.same({}, lines)
    assert.is_nil(fired)
  end)

  it("raise at the caller's line where they are misused", function()
    local here = "^spec/unit/timer_spec.lua:%d+: "
    for _, seconds in ipairs { -1, 0 / 0, 1 / 0, "1", 1e10 } do
      assert.matches(here .. "ipq.after%(%) takes a number of seconds",
        raised(function() ipq.after(seconds, print) end))
    end
    assert.matches(here .. "ipq.every%(%) takes", raised(function() ipq.every(1) end))
    assert.matches(here .. "ipq.every%(%) takes a period of at least", raised(function() ipq.every(0, print) end))
    local one = ipq.after(1, print)
    assert.matches(here .. "cancel%(%) is a method of what", raised(function() one.cancel() end))
    assert.matches(here .. "cancel%(%) is a method of what", raised(function() one.cancel { rawget(one, 1) } end))
    assert.matches(here .. "a timer's fields cannot be assigned", raised(function() one.x = 1 end))
    -- A script sees nothing of what is behind it, and cannot make it another.
    for key, value in next, one do assert.same({ "number", "number" }, { type(key), type(value) }) end
    local two = ipq.after(1, print)
    local count = timer.current.count
    rawset(one, 1, rawget(two, 1))
    one:cancel()
    assert.equal(count, timer.current.count)
    two:cancel()
    assert.equal(count - 1, timer.current.count)
  end)
end)

describe("ipq_driver_next", function()
  it("gives -ETIME when the deadline has come, and packets their turn after it", function()
    local src = new(1):plan({ 1 }, 3)
    src.batch.wake_ns = 1
    local given = {}
    for i = 1, 7 do given[i] = C.ipq_driver_next(src.driver) end
    assert.same({ -errno.ETIME, 1, -errno.ETIME, 1, -errno.ETIME, 1, -errno.ETIME }, given)
    assert.equal(3, tonumber(src.batch.counters.packets))
    src:plan({ 1 }, 1)
    src.batch.wake_ns = C.spec_monotonic_ns() + 1000000000000LL
    assert.same({ 1, 0 }, { C.ipq_driver_next(src.driver), C.ipq_driver_next(src.driver) })
  end)
end)

describe("timers in replay", function()
  local function replay(seconds, filter)
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    local frames = {}
    for i, at in ipairs(seconds) do
      frames[i] = { t.udp { payload = tostring(i) }.bytes, sec = math.floor(at), sub = (at % 1) * 1e6 }
    end
    capture.write(path, frames)
    return t.replay(path, filter)
  end

  it("run before the packet whose time they have reached, at their own time", function()
    local seen = {}
    local r = replay({ 100, 100.25, 100.5, 103 }, function(pkt)
      seen[#seen + 1] = ("%d %.6f"):format(pkt.packet_id, ipq.now())
      if pkt.packet_id > 1 then return end
      ipq.after(0.25, function() seen[#seen + 1] = ("at %.6f"):format(ipq.now()) end)
      ipq.after(0.250001, function() seen[#seen + 1] = ("at %.6f"):format(ipq.now()) end)
      local every
      every = ipq.every(1, function()
        seen[#seen + 1] = ("every %.6f"):format(ipq.now())
        if ipq.now() >= 102 then every:cancel() end
      end)
      ipq.after(60, function() seen[#seen + 1] = "never" end)
    end)
    assert.same({ "1 100.000000", "at 100.250000", "2 100.250000", "at 100.250001", "3 100.500000", "every 101.000000",
      "every 102.000000", "4 103.000000" }, seen)
    assert.same({}, r.log)
  end)

  it("run so many times at most between two packets, whatever times a capture has", function()
    local every, rearmed, last = 0, 0, nil
    local r = replay({ 100, 4e9, 4e9 + 1 }, function(pkt)
      last = ipq.now()
      if pkt.packet_id > 1 then return end
      ipq.every(0.000001, function() every = every + 1 end)
      local function again()
        rearmed = rearmed + 1
        ipq.after(1, again)
      end
      again()
    end)
    assert.same({}, r.log)
    assert.equal(4e9 + 1, last)
    assert.equal(2 ^ 52, timer.packet_time { timestamp_sec = 9e18, timestamp_usec = 999999 })
    assert.is_true(every > 90000 and every < 200010, every)
    assert.is_true(rearmed < 10)
  end)

  it("that start() made count from the first packet", function()
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    local file = io.open(path, "w")
    file:write [[
local ipq = require "ipq"
local first = ipq.after(2, function() ipq.log.info("top " .. ipq.now()) end)
return { start = function() ipq.after(1, function() ipq.log.info("start " .. ipq.now()) end) end,
  filter = function(pkt) ipq.log.info("packet " .. ipq.now()) end }
]]
    file:close()
    local f = t.load(path)
    assert.same({ "info: packet 5", "info: start 6", "info: packet 6.5", "info: top 7", "info: packet 9" },
      replay({ 5, 6.5, 9 }, f).log)
  end)

  it("fail a replay when they raise, and not before all is judged", function()
    local judged = 0
    local function filter()
      judged = judged + 1
      if judged == 1 then ipq.every(1, function() error "oh no" end) end
    end
    assert.error_matches(function() replay({ 1, 2, 3 }, filter) end,
      "^a timer raised: spec/unit/timer_spec.lua:%d+: oh no\nstack traceback:.*"
        .. "\nand 1 more after it$")
    assert.equal(3, judged)
    local ok, message = pcall(function() replay({ 1, 2 }, filter) end)
    assert.is_true(ok, message)
  end)

  it("of a function are over with its replay", function()
    local ran = false
    replay({ 1, 2 }, function() ipq.after(1.5, function() ran = true end) end)
    replay({ 1, 5 }, function() end)
    t.advance(60)
    assert.is_false(ran)
  end)

  it("fail assert.golden when they raise", function()
    local path, golden = os.tmpname(), os.tmpname() .. ".json"
    finally(function()
      os.remove(path)
      os.remove(golden)
    end)
    capture.write(path, { { t.udp {}.bytes, sec = 1 }, { t.udp {}.bytes, sec = 3 } })
    local function filter() ipq.after(1, function() error "oh no" end) end
    assert.error_matches(function() assert.golden(golden, path, filter) end,
      "^a timer raised: .*: oh no")
  end)

  it("tell events, which are in the replay's", function()
    local r = replay({ 1, 3 }, function(pkt)
      ipq.event { packet = pkt.packet_id }
      if pkt.packet_id == 1 then ipq.after(1, function() ipq.event { time = ipq.now() } end) end
    end)
    assert.same({ { packet = 1 }, { time = 2 }, { packet = 2 } }, r.events)
  end)

  it("judge held packets, whose records come when they are judged", function()
    local r = replay({ 1, 1.5, 2, 4 }, function(pkt)
      if pkt.packet_id % 2 == 1 then
        ipq.after(1.25, function(held) held:verdict(ipq.DROP) end, pkt:hold())
      end
    end)
    local numbers = {}
    for i, record in ipairs(r.records) do numbers[i] = record.number .. " " .. record.verdict end
    assert.same({ "2 accept", "1 drop", "3 drop", "4 accept" }, numbers)
    assert.same({ 4, 2, 2 }, { r.packets, r.accepted, r.dropped })
  end)
end)
