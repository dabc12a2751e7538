local bit = require "bit" -- and not by the environment that busted has for globals
local ipq = require "ipq"
local lib = require "spec.support.lib"
local log = require "ipq.log"
local m = require "spec.support.message"
local script = require "ipq.engine.script"
local source = require "spec.support.source"
local timer = require "ipq.engine.timer"
local traces = require "spec.support.traces"

local function packets(n, payload)
  local messages = {}
  for i = 1, n do messages[i] = m.simple(i, payload or ("x"):rep(40)) end
  return source.new(messages)
end

describe("dispatch", function()
  local lines, sink

  before_each(function()
    lines, sink = {}, log.sink
    log.sink = function(level, text) lines[#lines + 1] = level .. ": " .. text end
  end)
  after_each(function() log.sink = sink end)

  it("gives each packet its filter's verdict", function()
    local answers = { ipq.ACCEPT, ipq.DROP, ipq.REPEAT, ipq.STOP, ipq.queue(3), ipq.queue(4, true) }
    assert.same(answers, packets(6):verdicts(function(pkt) return answers[pkt.packet_id] end))
    assert.same({}, lines)
  end)

  it("gives the default verdict where the filter says nothing", function()
    for _, default in ipairs { ipq.ACCEPT, ipq.DROP } do
      local src = packets(2)
      src.batch.default_verdict = default
      assert.same({ default, default }, src:verdicts(function(pkt)
        if pkt.packet_id == 1 then return nil end
      end))
    end
  end)

  it("visits packets in their order, once each", function()
    local seen = {}
    packets(70):plan({ 64, 1, 5 }):judge(function(pkt) seen[#seen + 1] = pkt.packet_id end)()
    assert.equal(70, #seen)
    for i = 1, 70 do assert.equal(i, seen[i]) end
  end)

  it("does nothing at the end of its source, time and again", function()
    local run = packets(1):judge(function() error "called" end)
    assert.equal(0, run())
    assert.equal(0, run())
    assert.same({}, lines)
  end)

  it("leaves when it is interrupted, and goes on with the next packet", function()
    local src = packets(4)
    local seen = {}
    local run = src:plan({ 2, 2 }):judge(function(pkt)
      seen[#seen + 1] = pkt.packet_id
      if pkt.packet_id == 1 then src.driver.interrupt = 1 end
    end)
    assert.equal(-4, run()) -- EINTR
    assert.same({ 1, 2 }, seen)
    assert.equal(0, src.batch.count)
    assert.equal(-4, run())
    src.driver.interrupt = 0
    assert.equal(0, run())
    assert.same({ 1, 2, 3, 4 }, seen)
    assert.equal(4, tonumber(src.batch.counters.packets))
  end)

  it("costs a packet whose filter raises the error verdict, and no other packet", function()
    for _, on_error in ipairs { ipq.DROP, ipq.ACCEPT } do
      for bad = 1, 4 do
        local src = packets(4)
        src.batch.error_verdict = on_error
        local expected = { ipq.STOP, ipq.STOP, ipq.STOP, ipq.STOP }
        expected[bad] = on_error
        assert.same(expected, src:verdicts(function(pkt)
          if pkt.packet_id == bad then error "oh no" end
          return ipq.STOP
        end))
        assert.equal(1, tonumber(src.batch.counters.errors))
      end
    end
  end)

  it("forgets the mark of a filter that raises after setting it", function()
    local src = packets(1)
    src:verdicts(function(pkt) pkt.mark = 1 error "oh no" end)
    assert.equal(0, src.batch.packets[0].set)
  end)

  it("logs an error with its place and its traceback", function()
    local function inner(pkt) return pkt.packet_id + nil end
    packets(1):verdicts(function(pkt)
      local sum = inner(pkt)
      return sum
    end)
    assert.equal(1, #lines)
    assert.matches("^error: packet 1 of queue 0: spec/unit/dispatch_spec.lua:%d+: attempt to", lines[1])
    assert.matches("\n\tspec/unit/dispatch_spec.lua:%d+: in function 'inner'", lines[1])
    assert.matches("\nIts verdict: drop$", lines[1])
    assert.not_matches("dispatch.lua", lines[1]:gsub("spec/unit/dispatch_spec.lua", ""))
  end)

  it("names the script where a filter ends with the call that raises", function()
    packets(5):verdicts(function(pkt)
      if pkt.packet_id == 1 then return pkt.payload:u8(5000) end
      if pkt.packet_id == 2 then return pkt.payload.u8(0) end
      if pkt.packet_id == 3 then return pkt.payload:replace(5000, 1, "") end
      if pkt.packet_id == 4 then return ipq.queue(-1) end
      return error "oh no"
    end)
    for i, text in ipairs { "offset out of bounds", "a method was called on a number", "offset out of bounds",
      "queue number must be", "oh no" } do
      assert.matches("^error: packet " .. i .. " of queue 0: spec/unit/dispatch_spec.lua: in the filter that begins at "
        .. "line %d+: " .. text, lines[i])
    end
  end)

  it("logs errors that are no strings", function()
    local errors = { {}, setmetatable({}, { __tostring = function() error "worse" end }), false }
    packets(3):verdicts(function(pkt) error(errors[pkt.packet_id]) end)
    assert.matches("table: 0x", lines[1])
    assert.matches("error with no message", lines[2])
    assert.matches("false", lines[3])
  end)

  it("stands what a script does to globals", function()
    local saved = { type, tostring, error, pcall, xpcall, tonumber, ipairs } -- luacheck: ignore
    local verdicts
    local src = packets(3, "\69" .. ("\0"):rep(8) .. "\17" .. ("\0"):rep(18))
    local run = src:plan({ 3 }):judge(function(pkt)
      -- luacheck: ignore 121 122
      type, tostring, error, pcall, xpcall, tonumber, ipairs = 1, 2, 3, 4, 5, 6, 7
      if pkt.packet_id == 2 then return pkt.nonsense end
      return pkt.payload:u8(9) == 17 and pkt.ip.saddr == "0.0.0.0" and pkt.dport == 0 and ipq.STOP or "no"
    end)
    local result = run()
    -- luacheck: ignore 121 122
    type, tostring, error, pcall, xpcall, tonumber, ipairs = unpack(saved)
    verdicts = { src.batch.packets[0].verdict, src.batch.packets[1].verdict, src.batch.packets[2].verdict }
    assert.equal(0, result)
    assert.same({ ipq.STOP, ipq.DROP, ipq.STOP }, verdicts)
    assert.equal(1, #lines)
  end)

  it("goes on when even the log raises", function()
    log.sink = function() error "no log" end
    assert.same({ ipq.DROP, ipq.DROP, ipq.ACCEPT }, packets(3):verdicts(function(pkt)
      if pkt.packet_id == 1 then error "oh no" end
      if pkt.packet_id == 2 then return "nonsense" end
    end))
  end)

  it("does not run in a coroutine, which could be left in a filter", function()
    local run = packets(1):plan({ 1 }):judge(function() end)
    local ok, message = coroutine.resume(coroutine.create(run))
    assert.is_false(ok)
    assert.matches("packets cannot be judged in a coroutine", message)
  end)

  it("survives a filter that calls itself for ever", function()
    local function deep() return 1 + deep() end
    assert.same({ ipq.DROP, ipq.STOP }, packets(2):verdicts(function(pkt)
      if pkt.packet_id == 1 then deep() end
      return ipq.STOP
    end))
    assert.equal(1, #lines)
  end)

  local nonsense = {
    { "drop", "the string \"drop\"" }, { true, "the boolean true" }, { false, "the boolean false" },
    { 2, "the number 2" }, { 1.5, "the number 1.5" }, { -1, "the number %-1" }, { {}, "a table" },
    { 0 / 0, "the number %-?nan" }, { print, "a function" }, { 2 ^ 33, "the number 8589934592" },
  }
  for _, pair in ipairs(nonsense) do
    it("takes " .. pair[2] .. " for an error", function()
      local src = packets(1)
      assert.same({ ipq.DROP }, src:verdicts(function() return pair[1] end))
      assert.equal(1, tonumber(src.batch.counters.errors))
      assert.matches("filter returned " .. pair[2] .. "; it may return nothing, ipq.ACCEPT", lines[1])
    end)
  end

  it("takes a second returned value for an error", function()
    assert.same({ ipq.DROP }, packets(1):verdicts(function() return ipq.ACCEPT, 5 end))
    assert.matches("filter returned the number 5 as the packet's bytes; they are a string or a Buffer", lines[1])
  end)

  it("logs ten errors a second and then how many it did not", function()
    local now, second = os.time, 1000
    os.time = function() return second end -- luacheck: ignore 122
    packets(65):plan({ 64, 1 }):judge(function(pkt)
      if pkt.packet_id == 65 then second = 1001 end
      error "oh no"
    end)()
    os.time = now -- luacheck: ignore 122
    assert.equal(12, #lines)
    assert.matches("54 more filter errors were not written", lines[11])
    assert.matches("packet 65", lines[12])
  end)

  -- The hot path: compiled, whatever comes first, and free of garbage.

  local ip = "\69\0\0\40" .. ("\0"):rep(5)
  local tcp = m.simple(1, ip .. "\6" .. ("\0"):rep(12) .. "\0\23" .. ("\0"):rep(16))
  local udp = m.simple(2, ip .. "\17" .. ("\0"):rep(30))
  local icmp = m.simple(3, ip .. "\1" .. ("\0"):rep(10) .. "\8" .. ("\0"):rep(30))

  -- The lines of the loop over packets.
  local drive, number = {}, 0
  for line in io.lines "bindings/ipq/engine/dispatch.lua" do
    number = number + 1
    if line:match "^  local function drive%(%)" then drive.first = number end
    if drive.first and not drive.last and line == "  end" then drive.last = number end
  end

  local function not_compiled(aborted)
    local bad = {}
    for _, line in ipairs(aborted) do
      -- A trace that begins inside a function called by a metamethod cannot return from it; the one
      -- that begins in the loop does. All other NYI are real.
      if (line:match "NYI" and not line:match "NYI: return to lower frame") or line:match "blacklisted" then
        bad[#bad + 1] = line
      end
    end
    return bad
  end

  local packets_seen, bytes_seen, newest_port = ipq.counter "packets", ipq.counter "bytes", ipq.counter "port"

  local filters = {
    ["scripts/accept.lua"] = assert(script.load "scripts/accept.lua").filter,
    ["scripts/drop_icmp.lua"] = assert(script.load "scripts/drop_icmp.lua").filter,
    ["scripts/count.lua"] = assert(script.load "scripts/count.lua").filter,
    ["a filter that reads metadata and sets a mark"] = function(pkt)
      if pkt.hook_name == "output" and pkt.family == "ip" and not pkt.indev and pkt.mark == 0 then
        pkt.mark = pkt.packet_id
        return ipq.ACCEPT
      end
      return ipq.DROP
    end,
    ["a filter that searches the payload"] = function(pkt)
      if pkt.payload:find "GET" or pkt.payload:starts "y" or #pkt.payload < 20 then return ipq.DROP end
    end,
    ["a filter that reads three headers and an address"] = function(pkt)
      if pkt.tcp and pkt.tcp.dport == 23 and pkt.ip.saddr == "0.0.0.0" and not pkt.tcp.syn then return ipq.DROP end
      if pkt.udp and pkt.udp.sport == 0 and pkt.daddr == "10.0.0.1" then return ipq.REPEAT end
      if pkt.icmp and pkt.icmp.type == 8 then return ipq.STOP end
    end,
    ["a filter that searches a byte of the payload"] = function(pkt)
      local header = pkt.tcp
      if header and #header.payload > 0 and header.payload:u8(0) == 0x16 then return ipq.DROP end
    end,
    ["a filter that sets bits by LuaJIT's bit library"] = function(pkt)
      pkt.mark = bit.bor(pkt.mark, pkt.packet_id == 2 and 0x80000000 or 1)
      if pkt.tcp then pkt.tcp.sequence = bit.bxor(pkt.tcp.sequence, 0x80000000) end
      if pkt.udp then pkt.payload:set_u32(20, bit.bnot(pkt.payload:u32(20))) end
    end,
    ["a filter that changes fields"] = function(pkt)
      local ip_header = pkt.ip
      ip_header.ttl = ip_header.ttl == 9 and 10 or 9
      if pkt.udp then pkt.dport = 7 pkt.saddr = "10.0.0.3" end
      if pkt.tcp then pkt.tcp.psh = true pkt.tcp.payload:find "x" end
    end,
    ["a filter that counts"] = function(pkt)
      packets_seen:inc()
      bytes_seen:inc(pkt.len)
      if pkt.tcp then newest_port:set(pkt.tcp.dport) end
      if packets_seen:get() > 1e12 then return ipq.DROP end
    end,
    ["a filter with a verdict for each protocol"] = function(pkt)
      local protocol = pkt.payload:u8(9)
      if protocol == 6 then return ipq.ACCEPT end
      if protocol == 17 then return ipq.REPEAT end
      return ipq.queue(3)
    end,
  }
  local armed -- a timer that never runs
  after_each(function()
    if armed then armed:cancel() end
    armed = nil
  end)

  local function specs(name, filter, with_timer)
    for _, sizes in ipairs { { 64 }, { 1 }, { 1, 2, 3, 64 } } do
      it("is compiled with " .. name .. ", batches of " .. table.concat(sizes, ", "), function()
        local src = source.new { tcp, udp, icmp }
        armed = with_timer and ipq.after(1000, print)
        local compiled, aborted = traces.of(src:plan(sizes, 2000):judge(filter))
        assert.same({}, not_compiled(aborted))
        local loops = 0
        for _, trace in ipairs(compiled) do
          if trace.start:match "dispatch.lua" and trace.link == "loop" then loops = loops + 1 end
        end
        assert.is_true(loops > 0)
        assert.same({}, lines)
      end)
    end

    it("compiles nothing more, and allocates nothing, once it is warm with " .. name, function()
      local src = source.new { tcp, udp, icmp }
      local run = src:judge(filter)
      armed = with_timer and ipq.after(1000, print)
      jit.flush()
      -- A long time of single packets first: a loop over batches would have been given up by then.
      src:plan({ 1 }, 100000)
      run()
      src:plan({ 64, 1, 2, 3 }, 10000)
      run()
      local garbage = traces.garbage(function()
        src:plan({ 64, 1, 2, 3 }, 4000)
        run()
      end)
      -- 70,000 packets: a byte each would be 68 KiB.
      assert.is_true(garbage < 4, ("%.1f KiB for 70000 packets"):format(garbage))
      src:plan({ 64 }, 1000)
      local compiled, aborted = traces.watch(run)
      -- What runs once a run, not once a packet, may become hot at any time: the function that is called,
      -- which cannot be compiled for the loop in it, and what saves the view of before.
      for _, line in ipairs(aborted) do assert.matches("inner loop in root trace", line) end
      for _, trace in ipairs(compiled) do
        local line = tonumber(trace.start:match "^dispatch.lua:(%d+)")
        assert.falsy(line and line >= drive.first and line <= drive.last, trace.start)
      end
      assert.is_true(#compiled <= 3, #compiled .. " traces")
    end)
  end
  for name, filter in pairs(filters) do specs(name, filter, false) end
  for _, name in ipairs { "scripts/accept.lua", "a filter that changes fields" } do
    specs(name .. " and a timer that is not due", filters[name], true)
  end

  it("is compiled where all packets are held by timers", function()
    local heap = timer.current
    timer.current = timer.new()
    finally(function() timer.current = heap end)
    local loops = 0
    -- Where a loop's trace begins is also up to chance, and to the clock that timers go by.
    for _ = 1, 5 do
      local src = source.new { tcp, udp, icmp }
      local compiled, aborted = traces.of(src:plan({ 1, 2, 3, 64 }, 2000):judge(script.load("scripts/delay.lua",
        { "ms=0" }).filter))
      assert.same({}, not_compiled(aborted))
      for _, trace in ipairs(compiled) do
        if trace.start:match "dispatch.lua" and trace.link == "loop" then loops = loops + 1 end
      end
    end
    assert.is_true(loops > 0)
    assert.same({}, lines)
  end)
end)

describe("ipq_driver_next", function()
  it("times every so many batches, and takes a batch's time for its packets'", function()
    for each, batches in pairs { [0] = 0, [1] = 8, [4] = 2 } do
      local src = packets(64)
      src.batch.timed_each = each
      src:plan({ 64 }, 8):judge(function()
        local from = lib.C.spec_monotonic_ns()
        repeat until lib.C.spec_monotonic_ns() - from > 20000
      end)()
      local filter = src.batch.filter_ns
      assert.equal(batches * 64, tonumber(filter.count))
      assert.is_true(batches == 0 or tonumber(filter.sum / filter.count) > 20000)
      assert.is_true(batches == 0 or tonumber(lib.C.ipq_histogram_quantile(filter, 0.5)) > 20000 * 15 / 16)
    end
  end)

  it("says once that so many packets are counted, and gives turns without packets when it is asked to", function()
    local src = packets(3):plan { 2, 1 }
    local next, errno = lib.C.ipq_driver_next, { ETIME = 62, EALREADY = 114 }
    src.driver.look_at = 2
    assert.equal(2, next(src.driver))
    src.driver.idle_turns = 2
    assert.equal(-errno.EALREADY, next(src.driver))
    assert.equal(0, src.batch.count)
    assert.equal(2, tonumber(src.batch.counters.packets))
    assert.equal(-errno.ETIME, next(src.driver))
    assert.equal(-errno.ETIME, next(src.driver))
    assert.equal(1, next(src.driver))
    assert.equal(0, next(src.driver))
    assert.equal(3, tonumber(src.batch.counters.packets))
  end)

  it("counts batches and packets, and empties the batch at the end", function()
    local src = packets(3):plan { 2, 1 }
    assert.equal(2, lib.C.ipq_driver_next(src.driver))
    assert.equal(1, lib.C.ipq_driver_next(src.driver))
    assert.equal(0, lib.C.ipq_driver_next(src.driver))
    assert.equal(0, src.batch.count)
    assert.same({ 2, 3, 3 }, { tonumber(src.batch.counters.batches),
      tonumber(src.batch.counters.packets), tonumber(src.batch.counters.accepted) })
  end)
end)
