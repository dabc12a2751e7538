local event = require "ipq.event"
local ipq = require "ipq"
local live = require "ipq.engine.live"
local log = require "ipq.log"
local netns = require "spec.support.netns"

local script = require("spec.support.document").temporary

describe("ipq.log", function()
  local lines, sink, clock, least, second

  before_each(function()
    lines, second, sink, clock, least = {}, 1, log.sink, log.clock, log.least
    log.sink = function(level, text) lines[#lines + 1] = level .. ": " .. text end
    log.clock = function() return second end
    second = second + 1000
    log.flush()
    lines = {}
  end)
  after_each(function()
    log.flush()
    log.sink, log.clock, log.least = sink, clock, least
  end)

  it("writes anything as text, at its level", function()
    for _, level in ipairs { "debug", "info", "warn", "error" } do ipq.log[level](level) end
    ipq.log.info(nil)
    ipq.log.info(5)
    assert.same({ "debug: debug", "info: info", "warn: warn", "error: error", "info: nil", "info: 5" }, lines)
  end)

  it("says which levels there are to who calls another", function()
    local ok, message = pcall(function() ipq.log.warning "x" end)
    assert.is_false(ok)
    assert.matches("^spec/unit/log_spec.lua:%d+: ipq.log has no 'warning'; it has debug, info, warn and error$",
      message)
  end)

  it("writes a hundred messages of a level in a second, and then how many it did not", function()
    second = 2000
    for i = 1, 150 do ipq.log.info(i) end
    assert.equal(100, #lines)
    ipq.log.warn "another level"
    second = 2001
    ipq.log.info "again"
    assert.same({ "info: 100", "warn: another level", "info: 50 more info messages were not written", "info: again" },
      { lines[100], lines[101], lines[102], lines[103] })
  end)

  it("writes at the end how many it did not", function()
    second = 3000
    for _ = 1, 101 do ipq.log.error "x" end
    log.flush()
    log.flush()
    assert.equal("error: 1 more error messages were not written", lines[101])
    assert.is_nil(lines[102])
  end)

  it("writes all of them in replay, where packets come as fast as they are read", function()
    finally(function() live.is_replay = false end)
    live.is_replay = true
    second = 4000
    for _ = 1, 500 do ipq.log.info "x" end
    assert.equal(500, #lines)
  end)

  it("does not make text of what is below the least level", function()
    log.least = 2
    local never = setmetatable({}, { __tostring = function() error "made" end })
    ipq.log.debug(never)
    ipq.log.info(never)
    ipq.log.warn "seen"
    assert.same({ "warn: seen" }, lines)
  end)

  it("has gates of one's own", function()
    local now = 1
    local may = log.gate("warn", 2, "things", function() return now end)
    assert.same({ true, true, false, false }, { may(), may(), may(), may() })
    now = 2
    assert.is_true(may())
    assert.same({ "warn: 2 more things were not written" }, lines)
  end)
end)

describe("ipq.event", function()
  local lines, sink

  before_each(function()
    lines, sink = {}, event.sink
    event.sink = function(line) lines[#lines + 1] = line end
  end)
  after_each(function() event.sink = sink end)

  it("writes a table as a line of JSON, without what is nil", function()
    ipq.event { text = "a\n\"b\"", none = nil, list = { 1, 2.5, true }, time = 1732494629.5 }
    assert.equal(1, #lines)
    assert.matches("^{[^\n]*}\n$", lines[1])
    assert.truthy(lines[1]:find('"time":1732494629.5', 1, true), lines[1])
    assert.same({ text = "a\n\"b\"", list = { 1, 2.5, true }, time = 1732494629.5 },
      require "cjson".decode(lines[1]))
    ipq.event {}
    assert.equal("{}\n", lines[2])
    ipq.event { tenth = 0.1 }
    assert.equal("{\"tenth\":0.1}\n", lines[3])
  end)

  local loop = {}
  loop.loop = loop
  local bad = {
    ["a function"] = { f = print }, ["a number that is none"] = { n = 0 / 0 }, ["a table in itself"] = loop,
    ["a table for a key"] = { [{}] = 1 }, ["cdata"] = { n = require "ffi".new "int[1]" },
    ["text for a table"] = "text", ["nothing"] = nil,
  }
  for what, value in pairs(bad) do
    it("raises at the caller's line for " .. what, function()
      local ok, why = pcall(function() ipq.event(value) end)
      assert.is_false(ok)
      assert.matches("^spec/unit/log_spec.lua:%d+: ipq.event%(%)", why)
      assert.same({}, lines)
    end)
  end

  it("names the field", function()
    for field, value in pairs { f = print, inner = { deep = { print } }, [1] = 0 / 0 } do
      local _, why = pcall(function() ipq.event { good = 1, [field] = value } end)
      assert.matches(("ipq.event%%(%%): field '%s': "):format(field), why)
    end
  end)

  it("raises for nil", function()
    assert.has_error(function() ipq.event(nil) end, "ipq.event() takes a table, not a nil")
  end)

  it("writes to standard output, behind what was printed, and to standard error where that is the capture", function()
    local path = script [[
local ipq = require "ipq"
return { filter = function() end, start = function() print "first" ipq.event { second = 2 } print "third" end }]]
    local capture = os.tmpname()
    finally(function() os.remove(capture) end)
    local empty = assert(io.open(capture, "wb"))
    empty:write("\212\195\178\161\2\0\4\0", ("\0"):rep(8), "\0\0\1\0\1\0\0\0")
    empty:close()
    local run = "LD_PRELOAD= ASAN_OPTIONS= " .. netns.program .. " -r " .. capture
    assert.equal("first\n{\"second\":2}\nthird\n", (netns.shell(run .. " " .. path .. " 2>/dev/null")))
    assert.matches("^{\"second\":2}\n", (netns.shell("{ " .. run .. " -w - " .. path .. " >/dev/null; } 2>&1")))
  end)
end)

describe("the program's log", function()
  local function ipq_lua(options, text, before)
    return netns.shell(("%s LD_PRELOAD= ASAN_OPTIONS= %s %s %s"):format(before or "", netns.program, options,
      script(text)))
  end

  local all = [[
local log = require "ipq".log
for _, level in ipairs { "debug", "info", "warn", "error" } do log[level](level) end
return print]]

  it("has messages of a level and those above, from --log-level", function()
    local words = { debug = "ipq-lua: debug: debug\n", info = "ipq-lua: info\n", warn = "ipq-lua: warning: warn\n",
      error = "ipq-lua: error: error\n" }
    local expected = ""
    for _, level in ipairs { "error", "warn", "info", "debug" } do
      expected = words[level] .. expected
      local output = ipq_lua("--check --log-level " .. level, all)
      assert.equal(expected, (output:gsub("ipq%-lua: [^\n]*can be used\n", "")))
    end
    assert.equal(words.info .. words.warn .. words.error,
      (ipq_lua("--check", all):gsub("ipq%-lua: [^\n]*can be used\n", "")))
  end)

  it("refuses a level that there is not", function()
    local output, status = ipq_lua("--log-level loud", all)
    assert.matches("error: %-%-log%-level loud: must be debug, info, warn or error\n", output)
    assert.equal(64, status)
  end)

  it("gives a terminal no commands out of a packet, and ends nowhere", function()
    local text = [[require "ipq".log.warn("a\27]0;title\7\tb\0c\127\13\nd") return print]]
    assert.matches("^ipq%-lua: warning: a\\x1b%]0;title\\x07\tb\\x00c\\x7f\\x0d\n\td\nipq%-lua: [^\n]*\n$",
      (ipq_lua("--check", text)))
    local as_module = "LUA_PATH='bindings/?.lua;bindings/?/init.lua' luajit " .. script(text)
    assert.equal("ipq: warn: a\\x1b]0;title\\x07\tb\\x00c\\x7f\\x0d\n\td\n", (netns.shell(as_module)))
  end)

  it("is an object a line with --json", function()
    local output = ipq_lua("--check --json", [[
local log = require "ipq".log
log.warn "a \"quoted\" \\ word,\n\ta second line, \1 and \127"
log.error "\195\164 \226\130\172 \240\159\153\130 \255 \192\128 \237\160\128 \226\130"
return print]])
    local records = {}
    for line in output:gmatch "[^\n]+" do records[#records + 1] = require "cjson".decode(line) end
    assert.equal(3, #records)
    assert.equal("a \"quoted\" \\ word,\n\ta second line, \1 and \127", records[1].message)
    assert.equal("\195\164 \226\130\172 \240\159\153\130 "
      .. "\\xff \\xc0\\x80 \\xed\\xa0\\x80 \\xe2\\x82", records[2].message)
    assert.same({ "warn", "error", "info" }, { records[1].level, records[2].level, records[3].level })
    assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%d%d%d%dZ$", records[1].time)
    assert.is_nil(records[1].queue)
  end)

  it("begins its lines with a priority where standard error is the journal, each of them", function()
    local path = script [[require "ipq".log.error "one\ntwo" return print]]
    local run = ("JOURNAL_STREAM=$(stat -Lc %%d:%%i /proc/self/fd/2) LD_PRELOAD= ASAN_OPTIONS= %s --check %s")
      :format(netns.program, path)
    local out = os.tmpname()
    finally(function() os.remove(out) end)
    local output = netns.shell(("{ %s; } 2> %s; cat %s"):format(run, out, out))
    assert.equal("<3>ipq-lua: error: one\n<3>\ttwo\n<6>ipq-lua: " .. path .. ": can be used\n", output)
    -- Another file than the journal's.
    output = netns.shell(("{ %s; } 2> %s; cat %s"):format(run:gsub("%%i ", "%%i0 "), out, out))
    assert.equal("ipq-lua: error: one\n\ttwo\nipq-lua: " .. path .. ": can be used\n", output)
  end)
end)
