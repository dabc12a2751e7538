-- The test kit's filters: loaded, run, and what they leave.
local ipq = require "ipq"
local t = require "ipq.test"

local script = require("spec.support.document").temporary

describe("t.run()", function()
  it("gives the verdict, by name and as a number", function()
    for name, value in pairs { accept = ipq.ACCEPT, drop = ipq.DROP, ["repeat"] = ipq.REPEAT, stop = ipq.STOP,
      ["queue 3"] = ipq.queue(3), ["queue 4 bypass"] = ipq.queue(4, true) } do
      local r = t.run(function() return value end, t.tcp {})
      assert.same({ name, value }, { r.verdict, r.value })
      assert.equal(name ~= "drop", r.packet ~= nil)
    end
    assert.equal("accept", t.run(function() end, t.tcp {}).verdict)
  end)

  it("gives the packet as the filter left it, complete", function()
    local r = t.run(function(pkt)
      pkt.ip.ttl = 9
      pkt.tcp.payload:replace(0, 5, "good day")
      pkt.mark = 7
      pkt.priority = 8
    end, t.tcp { payload = "hello", indev_name = "eth0" })
    assert.is_true(r.changed)
    assert.same({ 9, "good day", 7, 8, 48, "eth0" },
      { r.packet.ip.ttl, r.packet.tcp.payload, r.packet.mark, r.packet.priority, r.packet.ip.length,
        r.packet.indev_name })
    assert.valid_checksums(r)
    assert.equal("accept, changed: " .. tostring(r.packet), tostring(r))
  end)

  it("gives bytes that the filter returned, a string or a Buffer", function()
    local other = t.udp { payload = "other" }
    assert.equal(other, t.run(function() return ipq.ACCEPT, other.bytes end, t.udp {}).packet)
    assert.equal("hello", t.run(function(pkt) return nil, pkt.payload end,
      t.udp { payload = "hello" }).packet.udp.payload)
  end)

  it("leaves a packet that the filter only looked at as it was", function()
    local p = t.udp { payload = "x", checksum = 5, mark = 3, csum_ready = false }
    local r = t.run(function(pkt) return pkt.udp.dport == 53 and ipq.ACCEPT end, p)
    assert.is_false(r.changed)
    assert.equal(p, r.packet)
    assert.is_false(r.packet.csum_ready)
  end)

  it("completes the checksums of a packet that came without", function()
    local r = t.run(function(pkt) pkt.ip.ttl = 3 end, t.tcp { payload = "x", checksum = 0x1234, csum_ready = false })
    assert.valid_checksums(r)
    assert.is_true(r.packet.csum_ready)
  end)

  it("gives the error of a filter that raises, and the error verdict", function()
    local r = t.run(function(pkt)
      pkt.ip.ttl = 1
      error "no way"
    end, t.tcp {})
    assert.equal("drop", r.verdict)
    assert.matches("test_run_spec.lua:%d+: no way\nstack traceback:", r.error)
    assert.is_false(r.changed)
    assert.matches("^error: packet 1 of queue 0: .*no way", r.log[1])
    r = t.run(function(pkt) pkt.ip.ttl = 1 end, t.tcp { data_len = 40, payload = "hello" })
    assert.matches("only a part of the packet was copied: raise %-%-copy%-range, or .* queue.range, to", r.error)
    assert.matches("filter returned the string \"drop\"", t.run(function() return "drop" end, t.tcp {}).error)
    assert.matches("^drop, after an error: ", tostring(r))
  end)

  it("gives what was logged", function()
    local r = t.run(function() ipq.log.warn "careful" end, t.tcp {})
    assert.same({ "warn: careful" }, r.log)
    assert.same({}, t.run(function() end, t.tcp {}).log)
  end)

  it("gives the events, as copies of what the script told", function()
    local fields = { name = "first", list = { 1, 2 }, bytes = "\255", number = 2 ^ 53, none = nil }
    local r = t.run(function()
      ipq.event(fields)
      fields.name, fields.list[1] = "second", 7
      ipq.event(fields)
      pcall(ipq.event, { print })
    end, t.tcp {})
    assert.same({ { name = "first", list = { 1, 2 }, bytes = "\255", number = 2 ^ 53 },
      { name = "second", list = { 7, 2 }, bytes = "\255", number = 2 ^ 53 } }, r.events)
    assert.same({}, r.log)
    assert.same({}, t.run(function() end, t.tcp {}).events)
  end)

  it("gives packets their time", function()
    local now
    local function filter() now = { ipq.now(), ipq.monotonic() } end
    t.run(filter, t.tcp { timestamp = 12.5 })
    assert.same({ 12.5, 12.5 }, now)
    t.set_time(77.25)
    finally(function() t.set_time(0) end)
    t.run(filter, t.tcp {})
    assert.same({ 77.25, 77.25 }, now)
    assert.is_true(ipq.now() > 1e9) -- outside the clock's
  end)

  it("runs in a filter that runs", function()
    local inner
    local r = t.run(function(pkt)
      inner = t.run(function(p) p.ip.ttl = 2 end, t.udp { payload = "inner" })
      return pkt.tcp.dport == 80 and ipq.DROP or nil
    end, t.tcp {})
    assert.same({ "drop", 2, "inner" }, { r.verdict, inner.packet.ip.ttl, inner.packet.udp.payload })
  end)

  it("takes any bytes for a packet", function()
    local r = t.run(function(pkt) return pkt.ip and ipq.DROP end, t.packet "\69\0")
    assert.equal("accept", r.verdict)
    assert.equal("\69\0", r.packet.bytes)
    assert.equal("", t.packet "".payload)
    assert.has_error(function() t.run(print, t.packet(("x"):rep(65536))) end,
      "a packet of 65536 bytes; 65535 is the most")
  end)

  it("refuses lengths that are none", function()
    for _, given in ipairs { { data_len = -1 }, { data_len = 1.5 }, { data_len = "4" }, { len = -1 } } do
      assert.has_error(function() t.run(print, t.udp(given)) end)
    end
  end)

  it("says what is no filter and what is no packet", function()
    assert.has_error(function() t.run({}, t.tcp {}) end, "a filter is what load() gives, or a function")
    assert.has_error(function() t.run(print, {}) end, "a packet is what a builder gives, or packet(bytes)")
    assert.has_error(function() t.run("scripts/accept.lua", t.tcp {}) end)
  end)

  it("stands a filter that keeps its packet", function()
    local kept
    t.run(function(pkt) kept = pkt end, t.tcp {})
    assert.has_error(function() return kept.mark end, "packet used after its filter returned")
  end)

  it("judges a hundred thousand packets without growing", function()
    local p = t.tcp { dport = 23 }
    local function filter(pkt) return pkt.tcp.dport == 23 and ipq.DROP or nil end
    for _ = 1, 1000 do t.run(filter, p) end
    collectgarbage()
    local before = collectgarbage "count"
    for _ = 1, 100000 do t.run(filter, p) end
    collectgarbage()
    assert.is_true(collectgarbage "count" - before < 500)
  end)
end)

describe("a payload of the kit's packets", function()
  local payload = t.run(function(pkt) pkt.udp.payload:replace(0, 5, "\1\2\3\4\5\6\7\8world") end,
    t.udp { payload = "hello" }).packet.udp.payload

  it("is read as a filter's Buffer is, also when the run is over", function()
    collectgarbage()
    assert.same({ 1, 0x0203, 0x03040506, 0x0102030405060708ULL, 13 }, { payload:u8(0), payload:u16(1), payload:u32(2),
      payload:u64(0), #payload })
    assert.same({ "world", "rld", "or" }, { payload:string(8), payload:string(10), payload:string(9, 2) })
    assert.same({ 8, 11 }, { payload:find "world", payload:find("l", 9) })
    assert.is_nil(payload:find "none")
    assert.same({ true, false }, { payload:starts "\1\2", payload:starts "\2" })
    assert.equal("0102030405060708776f726c64", payload:hex())
    assert.equal("\1\2\3\4\5\6\7\8world", tostring(payload))
  end)

  it("is of each header, and of the packet", function()
    assert.equal(8, t.tcp { payload = "segment" }.tcp.payload:find "t" + 2)
    assert.equal(0x45, t.tcp {}.payload:u8(0))
    assert.equal(0, #t.packet "".payload)
    assert.is_nil(t.run(function() end, t.icmp { payload = "" }).packet.icmp.payload:find "x")
  end)

  it("is equal to a string of its bytes, in specs too", function()
    local p = t.udp { payload = "hello" }
    assert.is_true(p.udp.payload == "hello")
    assert.is_true("hello" == p.udp.payload)
    assert.is_true(p.udp.payload == t.tcp { payload = "hello" }.tcp.payload)
    assert.is_false(p.udp.payload == "hallo" or p.udp.payload == nil or p.udp.payload == 5)
    assert.equal("hello", p.udp.payload)
    assert.same({ "hello" }, { p.udp.payload })
    assert.matches("%(Buffer%) 'hello'", tostring(select(2, pcall(assert.equal, "x", p.udp.payload))))
    local seen
    t.run(function(pkt) seen = p.udp.payload == pkt.udp.payload end, p)
    assert.is_true(seen)
  end)

  it("is what a packet can be built of", function()
    local p = t.udp { payload = "hello" }
    assert.equal(t.tcp { payload = "hello" }, t.tcp { payload = p.udp.payload })
    assert.equal(p, t.udp {}:with { udp = { payload = p.udp.payload } })
    assert.equal(p, t.packet(p.payload))
    assert.equal("x", t.ip { protocol = 99, payload = t.udp { payload = "x" }.udp.payload }.payload:string(20))
    assert.rewritten(t.udp {}.payload, function() return nil, t.udp {}.bytes end, p)
  end)

  it("raises at the spec's line, as a Buffer does", function()
    local function raised(work)
      local ok, message = pcall(work)
      assert.is_false(ok)
      return (assert(message:match "^spec/unit/test_run_spec.lua:%d+: (.*)", message))
    end
    local beyond = "offset out of bounds: 1 byte at offset 13 of a Buffer of 13 bytes"
    assert.equal(beyond, raised(function() return (payload:u8(13)) end))
    assert.equal("offset must be a number", raised(function() return (payload:u16()) end))
    assert.equal("text must be a string", raised(function() return (payload:find(5)) end))
    assert.matches("^a Buffer has no 'sub'; bytes are read by ", raised(function() return (payload:sub(1)) end))
    assert.matches("^u8%(%) is a method of a Buffer: write a colon", raised(function() return (payload.u8(0)) end))
    assert.equal("a Buffer's fields cannot be assigned", raised(function() payload.x = 1 end))
    for _, name in ipairs { "set_u8", "write", "replace", "resize" } do
      assert.matches("^the kit's packets stay as they are; packet:with",
        raised(function() payload[name](payload, 0) end))
    end
  end)
end)

describe("a held packet", function()
  local held
  local function hold(pkt)
    pkt.ip.ttl, pkt.mark = 7, 3
    held = pkt:hold()
  end

  it("has the verdict hold, until it gets another, which its result tells", function()
    local r = t.run(hold, t.udp { payload = "hello" })
    assert.verdict("hold", r)
    assert.verdict("hold", hold, t.tcp {})
    assert.is_not.verdict("accept", hold, t.tcp {})
    assert.same({ nil, nil, false, "hold" }, { r.value, r.packet, r.changed, tostring(r) })
    local message = select(2, pcall(assert.rewritten, { ttl = 7 }, hold, t.tcp {}))
    assert.matches("expected a packet, but the filter holds it", tostring(message))
    r = t.run(hold, t.udp { payload = "hello" })
    held:verdict(ipq.queue(3))
    assert.same({ "queue 3", ipq.queue(3), true, 7, 3, "hello" }, { r.verdict, r.value, r.changed, r.packet.ip.ttl,
      r.packet.mark, r.packet.udp.payload })
    assert.valid_checksums(r)
    r = t.run(hold, t.udp {})
    held:verdict(ipq.DROP)
    assert.same({ "drop", false }, { r.verdict, r.changed })
    assert.is_nil(r.packet)
  end)

  it("is told apart from others of the same number, and from those of other runs", function()
    local a = t.run(hold, t.udp { dport = 1 })
    local first = held
    local b = t.run(hold, t.udp { dport = 2 })
    t.run(function() held:verdict(ipq.STOP, t.udp { dport = 9 }.bytes) end, t.tcp {})
    assert.same({ "hold", "stop", 9 }, { a.verdict, b.verdict, b.packet.dport })
    first:verdict(ipq.ACCEPT)
    assert.same({ "accept", 1 }, { a.verdict, a.packet.dport })
  end)

  it("tells what went wrong with its bytes", function()
    local r = t.run(hold, t.udp {})
    t.run(function() held:verdict(ipq.ACCEPT, "nonsense") end, t.tcp {})
    assert.equal("drop", r.verdict)
    assert.matches("is not of the IP version", r.error)
  end)

  it("gets the default verdict behind stop(), which may give another", function()
    local f = t.load(script [[
local ipq, held = require "ipq", {}
return { filter = function(pkt) held[#held + 1] = pkt:hold() end,
  stop = function() held[2]:verdict(ipq.DROP) end }
]])
    local first, second = t.run(f, t.udp {}), t.run(f, t.udp {})
    f:stop()
    assert.same({ "accept", "drop" }, { first.verdict, second.verdict })
  end)
end)

describe("t.advance()", function()
  after_each(function() t.set_time(0) end)

  it("moves the time, and runs the timers that are due, at theirs", function()
    local seen = {}
    t.set_time(1000)
    local function filter()
      seen[#seen + 1] = ipq.now()
      ipq.after(1, function() seen[#seen + 1] = ipq.now() end)
    end
    t.run(filter, t.tcp {})
    t.advance(0.5)
    assert.same({ 1000 }, seen)
    t.run(filter, t.tcp {})
    t.advance(0.75)
    assert.same({ 1000, 1000.5, 1001 }, seen)
    t.advance(10)
    t.run(filter, t.tcp {})
    assert.same({ 1000, 1000.5, 1001, 1001.5, 1011.25 }, seen)
    t.advance(1)
  end)

  it("runs those of all filters that are there, in the order of their times", function()
    local path = script [[
local ipq = require "ipq"
return { start = function(args)
  ipq.every(tonumber(args.every), function() ipq.log.info(args.every .. " " .. ipq.now()) end)
end, filter = function() end }
]]
    local a, b = t.load(path, { every = 2 }), t.load(path, { every = 3 })
    assert.same({ "info: 2 2", "info: 3 3", "info: 2 4" }, t.advance(5))
    assert.truthy(a and b)
  end)

  it("raises the error of a timer, with its traceback, when all that were due have run", function()
    local ran
    local function oh_no() error "oh no" end
    t.run(function()
      ipq.after(1, oh_no)
      ipq.after(1, function() error(setmetatable({}, { __tostring = function() error "none" end })) end)
      ipq.after(2, function() ran = ipq.now() end)
    end, t.tcp {})
    local ok, message = pcall(function() t.advance(3) end)
    assert.is_false(ok)
    assert.matches("^HERE a timer raised: HERE oh no\nstack traceback:\n\t%[C%]: in function 'error'\n"
      .. "\tHERE in function <spec/unit/test_run_spec.lua:%d+>\nand 1 more after it$",
      (message:gsub("spec/unit/test_run_spec.lua:%d+:", "HERE")))
    assert.equal(2, ran)
    assert.same({ {}, {}, {} }, { t.advance(1) })
    assert.unchanged(function() assert(ipq.now() == 4) end, t.tcp {})
  end)

  it("leaves a spec that expects an error to say so", function()
    t.run(function() ipq.after(1, function() error "oh no" end) end, t.tcp {})
    assert.error_matches(function() t.advance(1) end, "a timer raised: .*: oh no\n")
  end)

  it("fails a filter that lets time pass", function()
    t.run(function() ipq.after(1, function() error "oh no" end) end, t.tcp {})
    assert.matches("a timer raised: .*: oh no", t.run(function() t.advance(1) end, t.tcp {}).error)
  end)

  it("gives what was logged, and the events", function()
    t.run(function()
      ipq.after(1, function() ipq.log.info "one" end)
      ipq.after(2, function() ipq.event { number = 2 } end)
    end, t.tcp {})
    local log, events = t.advance(3)
    assert.same({ "info: one" }, log)
    assert.same({ { number = 2 } }, events)
  end)

  it("takes a number of seconds", function()
    for _, seconds in ipairs { -1, 0 / 0, 1 / 0, "1" } do
      assert.has_error(function() t.advance(seconds) end, "advance() takes a number of seconds")
    end
  end)
end)

describe("t.load()", function()
  it("loads a script as the program does", function()
    local f = t.load("scripts/drop_port.lua", { ports = "23,80" })
    assert.verdict("drop", f, t.tcp { dport = 80 })
    assert.verdict("accept", f, t.tcp { dport = 81 })
    assert.equal("23,80", f.args.ports)
  end)

  it("gives arguments by name and by place, and each filter its own", function()
    local path = script [[
local ipq = require "ipq"
local first = ...
return function(pkt) return ipq.args.verdict == first and ipq.DROP or ipq.ACCEPT end
]]
    local a, b = t.load(path, { "drop", verdict = "drop" }), t.load(path, { "drop", verdict = "accept" })
    assert.verdict("drop", a, t.tcp {})
    assert.verdict("accept", b, t.tcp {})
    assert.verdict("drop", a, t.tcp {})
  end)

  it("calls start(), and save(), restore() and stop() when asked to", function()
    local path = script [[
local n
return {
  start = function(args) n = tonumber(args.n) end,
  restore = function(saved) n = n + saved.n end,
  filter = function() n = n + 1 end,
  save = function() return { n = n } end,
  stop = function(reason) stopped = reason end,
}
]]
    local f = t.load(path, { n = 5 })
    t.run(f, t.tcp {})
    local saved = f:save()
    assert.same({ n = 6 }, saved)
    f:stop "reload"
    assert.equal("reload", _G.stopped)
    local after = t.load(path, { n = 5 }, { restore = saved })
    assert.same({ n = 11 }, after:save())
    after:stop()
    assert.equal("exit", _G.stopped)
    _G.stopped = nil -- luacheck: ignore 122
  end)

  it("raises where what save() returns cannot be saved", function()
    local path = script "return { filter = print, save = function() return { f = print } end }"
    assert.has_error(function() t.load(path):save() end,
      "save(): a function cannot be saved; booleans, numbers, strings and tables can")
  end)

  it("cuts packets as the script's queue is set up", function()
    local short = t.load(script "return { queue = { range = 30 }, filter = function(pkt) seen = pkt.data_len end }")
    t.run(short, t.tcp {})
    assert.equal(30, _G.seen)
    local meta = t.load(script [[
return { queue = { copy = "meta" }, filter = function(pkt) seen = { pkt.payload, pkt.len } end }
]])
    assert.unchanged(meta, t.tcp {})
    assert.same({}, _G.seen)
    _G.seen = nil -- luacheck: ignore 122
  end)

  it("takes the verdicts of --default and --on-error", function()
    local path = script "return function(pkt) if pkt.udp then error 'x' end end"
    local f = t.load(path, {}, { default = ipq.DROP, on_error = ipq.STOP })
    assert.equal("drop", t.run(f, t.tcp {}).verdict)
    assert.equal("stop", t.run(f, t.udp {}).verdict)
  end)

  it("raises where a script cannot be used", function()
    assert.has_error(function() t.load "/nonexistent.lua" end,
      "cannot read the script: /nonexistent.lua: No such file or directory")
    local function message_of(work)
      local ok, message = pcall(work)
      assert.is_false(ok)
      return message
    end
    assert.matches("the script must return a function", message_of(function() t.load(script "return 5") end))
    assert.matches("start%(%): .*: no\n", message_of(function()
      t.load(script "return { filter = print, start = function() error 'no' end }")
    end))
    assert.matches("stop%(%): .*: no\n", message_of(function()
      t.load(script "return { filter = print, stop = function() error 'no' end }"):stop()
    end))
  end)
end)
