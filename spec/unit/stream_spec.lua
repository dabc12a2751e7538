-- What a script says of streams, and what its handlers do with them, by the test kit's two ends.
local document = require "spec.support.document"
local script = require "ipq.engine.script"
local t = require "ipq.test"

--- A script of its own, from the fields of its table.
local function load(fields)
  local path = document.temporary("local ipq = require 'ipq'\nreturn { " .. fields .. " }")
  finally(function() os.remove(path) end)
  return (t.load(path))
end

--- What the handler notes. Scripts reach it, as the kit runs in the same state.
local noted
before_each(function()
  noted = {}
  _G.note = function(value) noted[#noted + 1] = value == nil and "nil" or value end -- luacheck: ignore 122
end)
after_each(function() _G.note = nil end) -- luacheck: ignore 122

--- A script that edits what clients say by that body of a function; more fields of its stream.
local function client(body, more)
  return load("stream = { edit = true, port = 80, " .. (more and more .. ", " or "")
    .. "client = function(stream, flow) " .. body .. " end }")
end

--- The same where it reads alone.
local function reader(body, more)
  return load("stream = { port = 80, " .. (more and more .. ", " or "")
    .. "client = function(stream, flow) " .. body .. " end }")
end

--- Both ends come to their end, and nobody got what no correct end would send. Gives what came of it.
local function connect(filter, says, options)
  options = options or {}
  options.client = says
  local result = t.connection(filter, options)
  assert.same({}, result.faults)
  return result
end

local function got(filter, says, options)
  local result = connect(filter, says, options)
  assert.same({}, result.log)
  assert.is_true(result.is_closed)
  return result.server
end

local function error_of(body, says, more)
  local result = connect(client(body, more), says or "hello")
  assert.equal(1, #result.log)
  assert.equal("hello", result.server)
  local message = result.log[1]:match "^error: stream%.client%(%): [^\n]-:2: ([^\n]*)\n"
  assert(message, result.log[1])
  return message
end

describe("the field stream of a script", function()
  local handler = "client = function() end"
  local cases = {
    [""] = "stream needs a function client or server, over what that end of a connection says",
    ["port = 80"] = "stream needs a function client or server, over what that end of a connection says",
    [handler] = "stream needs port, of the server, or select, a function of a flow: which connections are read?",
    [handler .. ", ports = 80"] = "stream has an unknown field 'ports'; did you mean 'port'?",
    [handler .. ", [1] = 80"] = "stream has an unknown field '1'",
    [handler .. ", port = {}"] = "stream.port must be a port, or a list of them",
    [handler .. ", port = { 80, x = 1 }"] = "stream.port must be a port, or a list of them",
    [handler .. ", port = 0"] = "stream.port must be a whole number from 1 to 65535, not 0",
    [handler .. ", port = { 80, 65536 }"] = "stream.port must be a whole number from 1 to 65535, not 65536",
    [handler .. ", port = 1.5"] = "stream.port must be a whole number from 1 to 65535, not 1.5",
    [handler .. ", port = '80'"] = 'stream.port must be a whole number from 1 to 65535, not "80"',
    ["client = 1"] = "stream.client must be a function, not 1",
    ["server = 'f'"] = 'stream.server must be a function, not "f"',
    [handler .. ", select = 80"] = "stream.select must be a function, not 80",
    [handler .. ", edit = 1"] = "stream.edit must be a boolean, not 1",
    [handler .. ", hold = '1'"] = 'stream.hold must be a number, not "1"',
    [handler .. ", hold = 0"] = "stream.hold must be a number of seconds from 0.001 to 10, not 0",
    [handler .. ", hold = 11"] = "stream.hold must be a number of seconds from 0.001 to 10, not 11",
    [handler .. ", hold = 0/0"] = "stream.hold must be a number of seconds from 0.001 to 10, not nan",
    [handler .. ", peek = 0"] = "stream.peek must be a whole number from 1 to 1048576, not 0",
    [handler .. ", peek = 1048577"] = "stream.peek must be a whole number from 1 to 1048576, not 1048577",
    [handler .. ", limit = 1.5"] = "stream.limit must be a whole number from 1 to 16777216, not 1.5",
    [handler .. ", headroom = 501"] = "stream.headroom must be a whole number from 0 to 500, not 501",
    [handler .. ", connections = 0"] = "stream.connections must be a whole number from 1 to 1048576, not 0",
    [handler .. ", on_limit = 'drop'"] = 'stream.on_limit must be "pass" or "reset", not "drop"',
    [handler .. ", on_limit = true"] = "stream.on_limit must be a string, not true",
    [handler .. ", on_error = 'drop'"] = 'stream.on_error must be "pass" or "reset", not "drop"',
  }
  for fields, why in pairs(cases) do
    it("is refused: " .. why .. " (" .. fields .. ")", function()
      local path = document.temporary("return { stream = { " .. fields .. " } }")
      finally(function() os.remove(path) end)
      local loaded, message = script.load(path)
      assert.is_nil(loaded)
      assert.equal(path .. ": " .. why, message)
    end)
  end

  it("is refused where the queue does not give whole packets", function()
    for _, queue in ipairs { "copy = 'meta'", "range = 128" } do
      local path = document.temporary(("return { queue = { %s }, stream = { port = 80, %s } }"):format(queue, handler))
      finally(function() os.remove(path) end)
      local loaded, message = script.load(path)
      assert.is_nil(loaded)
      assert.equal(path .. ": streams need whole packets: leave out queue.copy and queue.range", message)
    end
  end)

  it("has all it may have, and needs no filter; edit has the script send", function()
    local all = "client = function() end, server = function() end, port = { 1, 65535 }, select = function() end, "
      .. "hold = 10, peek = 2^20, limit = 2^24, headroom = 500, connections = 2^20, on_limit = 'reset', "
      .. "on_error = 'pass', edit = "
    for _, edit in ipairs { true, false } do
      local path = document.temporary("return { stream = { " .. all .. tostring(edit) .. " } }")
      finally(function() os.remove(path) end)
      local loaded = assert(script.load(path))
      assert.same({ edit, "function" }, { loaded.send, type(loaded.filter) })
    end
  end)
end)

describe("the connections that are read", function()
  it("are those to the port, or to one of a list", function()
    local f = client "stream:insert 'x'"
    assert.equal("xhello", got(f, "hello"))
    assert.equal("hello", got(f, "hello", { dport = 81 }))
    assert.equal("hello", got(f, "hello", { dport = 81, sport = 80 }))
    local list = load "stream = { edit = true, port = { 1, 8080, 65535 }, client = function(s) s:insert 'x' end }"
    for port, expected in pairs { [1] = "xhello", [8080] = "xhello", [65535] = "xhello", [80] = "hello",
      [8081] = "hello", [8079] = "hello" } do
      assert.equal(expected, got(list, "hello", { dport = port }))
    end
  end)

  it("are those that select chooses, of the port's", function()
    local f = load [[stream = { edit = true, client = function(s) s:insert "x" end,
      select = function(flow) note(flow.saddr) note(flow.dport) note(flow.is_new) return flow.sport == 7 end }]]
    assert.equal("xhello", got(f, "hello", { sport = 7, dport = 81 }))
    assert.equal("hello", got(f, "hello", { sport = 8 }))
    assert.same({ "192.0.2.1", 81 }, { noted[1], noted[2] })
    f = load [[stream = { edit = true, port = 80, client = function(s) s:insert "x" end,
      select = function(flow) note(flow.dport) return true end }]]
    noted = {}
    assert.equal("hello", got(f, "hello", { dport = 81 }))
    assert.equal("xhello", got(f, "hello"))
    assert.same({ 80 }, noted)
  end)

  it("are not those of which select raises", function()
    local result = connect(load [[stream = { edit = true, client = function(s) s:insert "x" end,
      select = function() error "oops" end }]], "hello")
    assert.equal("hello", result.server)
    assert.matches("^error: stream%.select%(%): .*:3: oops$", result.log[1])
  end)

  it("are those that the filter accepts", function()
    local f = load [[
      filter = function(pkt)
        if tostring(pkt.tcp.payload):find "drop" then return ipq.DROP end
        if tostring(pkt.tcp.payload) == "ttl" then pkt.ip.ttl = 9 end
      end,
      stream = { edit = true, port = 80, client = function(s)
        while true do
          local text = s:peek(3)
          note(text)
          if not text then return end
          s:insert "x"
          s:skip(3)
        end
      end }]]
    assert.equal("xttlxyou", got(f, { "ttl", "you" }))
    assert.same({ "ttl", "you", "nil" }, noted)
    noted = {}
    local result = connect(f, { "ttl", "drop", "you" }, { seconds = 3 })
    assert.same({ false, "xttl" }, { result.is_closed, result.server })
    assert.same({ "ttl" }, noted)
  end)

  it("are at most so many", function()
    local f = load [[stream = { edit = true, port = 80, connections = 1, hold = 10, client = function(s)
      s:insert "x" s:skip "all" end }]]
    -- The first one stays: nothing of its end comes.
    connect(f, "", { seconds = 0.01, sport = 1 })
    assert.equal("hello", got(f, "hello", { sport = 2 }))
  end)
end)

describe("stream:peek()", function()
  it("waits for so many bytes, and holds what it looks at", function()
    local f = client [[note(stream:peek(7)) note(stream:peek(3)) stream:erase(7)]]
    assert.equal("uxyz", got(f, { "hello", "youxyz" }))
    assert.same({ "helloyo", "hel" }, noted)
  end)

  it("gives fewer where the stream ends before, and nil where it has ended", function()
    local f = client [[note(stream:peek(100)) stream:skip(5) note(stream:peek(1)) note(stream:peek(0))]]
    assert.equal("hello", got(f, "hello"))
    assert.same({ "hello", "nil", "" }, noted)
  end)

  it("gives nil where nothing is said at all", function()
    assert.equal("", got(client "note(stream:peek(1)) note(stream.eof)", ""))
    assert.same({ "nil", true }, noted)
  end)

  it("holds where nothing is edited, too, until the handler goes on", function()
    assert.equal("helloyou", got(reader [[note(stream:peek(8)) note(stream:peek(8))]], { "hello", "you" }))
    assert.same({ "helloyou", "helloyou" }, noted)
    local result = connect(load [[send = true, stream = { port = 80, client = function(stream, flow)
      if stream:peek(8) == "helloyou" then flow:reset() end end }]], { "hello", "you" })
    assert.same({ "", true }, { result.server, result.is_reset })
  end)
end)

describe("stream:peek_line()", function()
  it("gives a line with what ends it, held", function()
    local f = client [[
      while true do
        local line = stream:peek_line()
        note(line)
        if not line then return end
        stream:replace(#line, "<" .. line .. ">")
      end]]
    assert.equal("<hello\n><\r\n><\n><you>", got(f, { "he", "llo\n\r\n\ny", "ou" }))
    assert.same({ "hello\n", "\r\n", "\n", "you", "nil" }, noted)
  end)

  it("gives so many bytes of a longer one, and stream.peek where it is not said", function()
    local f = client([[note(stream:peek_line(3)) note(stream:peek_line()) note(stream:peek_line(6))]], "peek = 7")
    assert.equal("hello you\n", got(f, "hello you\n"))
    assert.same({ "hel", "hello y", "hello " }, noted)
  end)
end)

describe("stream:read()", function()
  it("gives bytes that were passed as they came", function()
    -- The handler never gets what it waits for, and nothing waits for it.
    local result = connect(client("note(stream:read(100)) note(stream:read(1))", "hold = 0.001"), { "hello", "you" })
    assert.same({ true, "helloyou" }, { result.is_closed, result.server })
    assert.same({ "helloyou", "nil" }, noted)
  end)

  it("gives them in the numbers that it is asked for", function()
    assert.equal("hello", got(client "note(stream:read(2)) note(stream:read(0)) note(stream:read(3))", "hello"))
    assert.same({ "he", "", "llo" }, noted)
  end)

  it("passes what was peeked at, and text goes in behind it", function()
    assert.equal("hexllo", got(client "stream:peek(4) stream:read(2) stream:insert 'x'", "hello"))
  end)
end)

describe("stream:line()", function()
  it("gives lines that were passed as they came", function()
    local f = client("note(stream:line()) note(stream:line(3)) note(stream:line()) note(stream:line())",
      "hold = 0.001, limit = 8")
    assert.equal("hello\nabcdef\nyou", got(f, { "hel", "lo\nabc", "def\n", "you" }))
    assert.same({ "hello\n", "abc", "def\n", "you" }, noted)
  end)
end)

describe("stream:skip()", function()
  it("passes what comes, without waiting for it", function()
    local f = client([[stream:peek(1) stream:skip(9) note "skipped" note(stream:peek(2)) stream:insert "x"]],
      "hold = 0.001")
    assert.equal("hello youx12", got(f, { "hello", " you12" }))
    assert.same({ "skipped", "12" }, noted)
  end)

  it("passes all", function()
    assert.equal("helloyou", got(client [[stream:skip "all" note(stream:peek(1))]], { "hello", "you" }))
    assert.same({ "nil" }, noted)
  end)

  it("passes nothing where it is nothing", function()
    assert.equal("xhello", got(client "stream:peek(1) stream:skip(0) stream:insert 'x'", "hello"))
  end)
end)

describe("stream:insert()", function()
  it("puts text where the handler stands, again behind what it has put there", function()
    local f = client [[note(stream:insert "ab") stream:insert "" stream:insert "cd" stream:skip(2) stream:insert "x"]]
    assert.equal("abcdhexllo", got(f, "hello"))
    assert.same({ true }, noted)
  end)

  it("puts it in front of the stream's end", function()
    local f = client [[stream:read(100) note(stream.eof) stream:insert "x"]]
    assert.equal("hellox", got(f, "hello"))
    assert.equal("x", got(f, ""))
    assert.same({ true, true }, noted)
  end)

  it("puts it behind what is yet to come", function()
    assert.equal("helloxyou", got(client "stream:skip(5) stream:insert 'x'", { "hel", "loyou" }))
  end)

  it("puts it in front of the end that comes before the handler's place", function()
    for _, says in ipairs { { "hello" }, { "hel", "lo" }, { "hell", "o", "" } } do
      assert.equal("hellox", got(client "stream:skip(6) stream:insert 'x'", says))
      assert.equal("hellox", got(client "stream:skip(6) note(stream:peek(1)) stream:insert 'x'", says))
      assert.equal("hellox", got(client "stream:read(9) stream:skip(6) stream:insert 'x'", says))
      local body = "stream:skip(2) stream:erase(9) stream:insert 'x' stream:skip(3) stream:insert 'y'"
      assert.equal("hexy", got(client(body), says))
    end
    assert.same({ "nil", "nil", "nil" }, noted)
  end)

  it("gives nil behind all", function()
    assert.equal("hello", got(client [[stream:skip "all" note(stream:insert "x") note((select(2, stream:erase(1))))]],
      "hello"))
    assert.same({ "nil", "the handler has skipped all" }, noted)
  end)

  it("puts in more than the receiver takes at a time", function()
    local f = client [[stream:insert(("0123456789"):rep(10000)) stream:skip(2) stream:insert(("x"):rep(3000))]]
    assert.equal(("0123456789"):rep(10000) .. "he" .. ("x"):rep(3000) .. "llo",
      got(f, "hello", { window = 4000, mss = 500 }))
  end)

  it("waits while as many edits as there may be are not acknowledged", function()
    local f = client([[for i = 1, 3000 do assert(stream:insert "x") stream:skip(1) end note "done"]],
      "connections = 5000")
    assert.equal(("xa"):rep(3000), got(f, ("a"):rep(3000)))
    assert.same({ "done" }, noted)
  end)

  it("gives nil where there is no room for the text", function()
    local f = client([[local done, why = stream:insert(("x"):rep(1e6)) note(done) note(why)
      note(stream:insert "x")]], "connections = 1")
    assert.equal("xhello", got(f, "hello"))
    assert.same({ "nil", "no room for so much text (--stream-memory)", true }, noted)
  end)
end)

describe("stream:erase()", function()
  it("removes what is there, and what is yet to come", function()
    assert.equal("you", got(client "note(stream:erase(5))", { "hel", "loyou" }))
    assert.same({ true }, noted)
    assert.equal("hlo", got(client "stream:skip(1) stream:erase(2)", "hello"))
    assert.equal("", got(client "stream:erase(5)", "hello"))
  end)

  it("removes all that comes where it is more, and never the end", function()
    assert.equal("x", got(client "stream:erase(2 ^ 60) stream:insert 'x'", { "hello", "you" }))
    assert.equal("x", got(client "stream:erase(9) note(stream:peek(1)) stream:insert 'x'", { "hello", "you" }))
    noted = {}
    assert.equal("x", got(client "stream:peek(9) stream:erase(9) note(stream.eof) stream:insert 'x'", "hello"))
    assert.same({ true }, noted)
  end)
end)

describe("stream:replace()", function()
  it("puts longer text, shorter text and none in the place of bytes", function()
    assert.equal("a longer onelo", got(client "note(stream:replace(3, 'a longer one'))", "hello"))
    assert.same({ true }, noted)
    assert.equal("helxyou", got(client "stream:skip(3) stream:replace(2, 'x')", { "hello", "you" }))
    assert.equal("xyou", got(client "stream:replace(5, 'x')", { "hel", "loyou" }))
    assert.equal("lo", got(client "stream:replace(3, '')", "hello"))
    assert.equal("xhello", got(client "stream:replace(0, 'x')", "hello"))
  end)

  it("has the handler go on behind them", function()
    local body = "stream:replace(3, 'x') note(stream:peek(2)) stream:skip(1) stream:replace(1, 'y')"
    assert.equal("xly", got(client(body), "hello"))
    assert.same({ "lo" }, noted)
  end)
end)

describe("stream.eof", function()
  it("is true where its end has said all, and all of it is behind the handler", function()
    assert.equal("hello", got(client [[note(stream.eof) stream:peek(5) note(stream.eof) stream:skip(4) note(stream.eof)
      stream:skip(1) note(stream.eof) note(stream:peek(1)) note(stream.eof)]], { "hel", "lo" }))
    assert.same({ false, false, false, true, "nil", true }, noted)
  end)
end)

describe("a handler", function()
  it("has the rest pass when it returns", function()
    local f = client("stream:peek(2)", "hold = 0.001")
    assert.equal("hello" .. ("you"):rep(100), got(f, { "hello", ("you"):rep(100) }))
  end)

  it("begins with the first byte, or with the end", function()
    connect(client "note 'begun'", "", { seconds = 0.003 })
    assert.same({}, noted)
    connect(client "note 'begun'", "")
    assert.same({ "begun" }, noted)
  end)

  it("is one for each connection, and direction", function()
    local f = load [[stream = { edit = true, port = 80,
      client = function(s, flow) s:peek(1) note(tostring(s)) note(flow.sport) s:insert(flow.sport .. ":") end,
      server = function(s, flow) s:peek(1) note(tostring(s)) note(flow.sport) s:replace(2, flow.saddr) end }]]
    for sport = 5, 6 do
      local result = connect(f, "hello", { server = "you", sport = sport })
      assert.same({ sport .. ":hello", "192.0.2.1u", true }, { result.server, result.client, result.is_closed })
    end
    assert.same({ "stream of the client", 5, "stream of the server", 5, "stream of the client", 6,
      "stream of the server", 6 }, noted)
  end)

  it("edits both directions at once, whatever the network does", function()
    local body = [[ while true do
        local line = s:peek_line()
        if not line then return end
        s:replace(#line - 1, (line:sub(1, -2):gsub("%%w", "%%0%s")))
        s:skip(1)
      end]]
    local f = load(("stream = { edit = true, port = 80, hold = 10, client = function(s) %s end, "
      .. "server = function(s) %s end }")
      :format(body:format "%0", body:format ""))
    local says, answer = {}, {}
    for i = 1, 40 do says[i], answer[i] = ("a"):rep(i * 7) .. "\n", ("b"):rep(i * 11) .. "\n" end
    for seed = 1, 10 do
      local result = connect(f, says, { server = answer, seed = seed, loss = 0.03, order = 0.05, twice = 0.03,
        sport = 1000 + seed })
      assert.is_true(result.is_closed)
      assert.equal((table.concat(says):gsub("a", "aa")), result.server)
      assert.equal(table.concat(answer), result.client)
    end
  end)

  it("may read the other direction's notes", function()
    local f = load [[stream = { edit = true, port = 80, hold = 5,
      client = function(s, flow) flow.data.said = s:read(5) end,
      server = function(s, flow) s:peek(1) s:insert((flow.data.said or "nothing") .. "-") end }]]
    assert.equal("hello-you", connect(f, "hello", { server = "you" }).client)
  end)

  it("that raises has the rest pass, with what it has decided, and is logged with its place", function()
    local result = connect(client "stream:insert 'x' stream:skip(2) error 'oops'", { "hello", "you" })
    assert.same({ "xhelloyou", true, 1 }, { result.server, result.is_closed, #result.log })
    assert.matches("^error: stream%.client%(%): .*:2: oops\nstack traceback:\n", result.log[1])
  end)

  it("that raises has the connection reset, where the script says so, or says so of limits", function()
    for _, more in ipairs { "on_error = 'reset'", "on_limit = 'reset'" } do
      local result = connect(client("stream:peek(2) error 'oops'", more), { "hello", "you" })
      assert.same({ "", true }, { result.server, result.is_reset })
    end
    assert.equal("hello", connect(client("error 'oops'", "on_limit = 'reset', on_error = 'pass'"), "hello").server)
  end)

  it("may raise what is no text, and catch what it raises", function()
    assert.equal("hello", connect(client "error {}", "hello").server)
    assert.equal("helloyou", got(client "note((select(2, pcall(stream.peek, stream, 8))))", { "hello", "you" }))
    assert.same({ "helloyou" }, noted)
  end)

  it("may not be somebody else's, nor outlive its run", function()
    local f = load [[
      filter = function(pkt) if kept then note((select(2, pcall(kept.peek, kept, 1)))) end end,
      stream = { edit = true, port = 80, client = function(stream)
        kept = stream
        note((select(2, pcall(coroutine.wrap(function() stream:peek(1) end)))))
      end }]]
    finally(function() _G.kept = nil end) -- luacheck: ignore 122
    assert.equal("hello", got(f, "hello"))
    assert.is_true(#noted > 1)
    for _, text in ipairs(noted) do
      assert.matches("stream:peek%(%) is for the stream's own handler, while that runs$", text)
    end
  end)
end)

describe("misuse of a stream is told at the script's line:", function()
  for name, most in pairs { peek = "8192 (stream.peek)", peek_line = "8192 (stream.peek)",
    read = "65536 (stream.limit)", line = "65536 (stream.limit)" } do
    local head = ("stream:%s() takes a whole number of bytes, from 0 to %s; not "):format(name, most)
    it(name .. "() of what is no number of bytes", function()
      for argument, said in pairs { ["-1"] = "-1", ["1.5"] = "1.5", ["0/0"] = "nan", ["'1'"] = '"1"', ["true"] = "true",
        ["70000"] = "70000" } do
        assert.equal(head .. said, error_of(("stream:%s(%s)"):format(name, argument)))
      end
    end)
  end

  it("a number of bytes that is missing", function()
    for _, name in ipairs { "peek", "read", "skip", "erase", "replace" } do
      assert.matches("^stream:" .. name .. "%(%) takes a whole number of bytes, from 0 to .*; not nil$",
        error_of("stream:" .. name .. "()"))
    end
  end)

  it("skip(), erase() and replace() of what is no number of bytes", function()
    assert.matches("^stream:skip%(%) takes a whole number of bytes, from 0 to %d+, or \"all\"; not \"al\"$",
      error_of "stream:skip 'al'")
    assert.matches("^stream:erase%(%) takes a whole number .*; not \"all\"$", error_of "stream:erase 'all'")
    assert.matches("^stream:erase%(%) takes a whole number .*; not %-1$", error_of "stream:erase(-1)")
    assert.matches("^stream:replace%(%) takes a whole number .*; not 0.5$", error_of "stream:replace(0.5, '')")
  end)

  it("text that is none", function()
    assert.equal("stream:insert() takes text, not nil", error_of "stream:insert()")
    assert.equal("stream:insert() takes text, not 5", error_of "stream:insert(5)")
    assert.equal("stream:replace() takes text, not nil", error_of "stream:replace(1)")
  end)

  it("a method that is called as a function", function()
    for _, name in ipairs { "peek", "peek_line", "read", "line", "skip", "insert", "erase", "replace" } do
      local expected = ("%s() is a method of a stream: stream:%s()"):format(name, name)
      assert.equal(expected, error_of(("stream.%s(5)"):format(name)))
      assert.equal(expected, error_of(("stream.%s({})"):format(name)))
    end
  end)

  it("a field that there is not, and one that is assigned", function()
    assert.equal("a stream has no 'peak'; did you mean 'peek'?", error_of "stream:peak(5)")
    assert.equal("a stream's fields cannot be assigned", error_of "stream.eof = true")
  end)

  it("an edit without edit = true", function()
    for _, call in ipairs { "insert 'x'", "erase(1)", "replace(1, 'x')" } do
      local result = connect(reader("stream:" .. call), "hello")
      assert.equal("hello", result.server)
      assert.matches(":2: a stream is edited where the script says so: edit = true in its stream = { … }\n",
        result.log[1], 1, true)
    end
  end)

  it("flow:bypass() where streams are edited", function()
    assert.equal("flow:bypass() cannot be where streams are edited: what is not translated corrupts them",
      error_of "flow:bypass()")
    assert.equal("hello", got(reader "flow:bypass()", "hello"))
  end)
end)

describe("flow:reset()", function()
  it("resets both ends, from a handler and from the filter", function()
    local result = connect(client "stream:peek(3) flow:reset()", "hello")
    assert.same({ "", true, {} }, { result.server, result.is_reset, result.log })
    local f = load [[
      filter = function(pkt) if pkt.tcp.payload:find "you" then pkt.flow:reset() end end,
      stream = { edit = true, port = 80, client = function(stream) stream:insert "x" end }]]
    result = connect(f, { "hello", "you" })
    assert.same({ "xhello", true, {} }, { result.server, result.is_reset, result.log })
  end)

  it("lets go on what was decided before", function()
    local result = connect(client "stream:read(5) flow:reset()", { "hello", "you" })
    assert.is_true(result.is_reset)
  end)

  it("needs streams, the right to send, and a flow that is read", function()
    local result = connect(reader "flow:reset()", "hello")
    assert.matches(":2: flow:reset() needs stream = { … } and send = true in the script's table\n",
      result.log[1], 1, true)
    local f = load [[
      filter = function(pkt) note((select(2, pcall(pkt.flow.reset, pkt.flow)))) end,
      stream = { edit = true, port = 81, client = function(stream) end }]]
    assert.equal("hello", got(f, "hello"))
    assert.matches("flow:reset() : this flow is not read as a stream", (noted[1]:gsub("%(%):", "() :")), 1, true)
  end)
end)

describe("a limit", function()
  --- A script whose client has "you" behind "hello" lost for three seconds.
  local function slow(body, more)
    return load([[
      filter = function(pkt)
        if tostring(pkt.tcp.payload) == "you" and ipq.now() < pkt.flow.first + 3 then return ipq.DROP end
      end,
      stream = { edit = true, port = 80, ]] .. (more and more .. ", " or "") .. "client = function(stream, flow) "
      .. body .. " end }")
  end
  local SAYS = { "hello", "you" }
  local WAIT = "stream:replace(1, 'J') note(stream:peek(4)) note(stream:peek(7))"

  it("of time has what is held pass, unread, with what was decided", function()
    local result = connect(slow(WAIT, "hold = 0.5"), SAYS)
    assert.same({ "Jelloyou", true, {}, { "ello" } }, { result.server, result.is_closed, result.log, noted })
  end)

  it("of time is what the script says, or a quarter of a second", function()
    -- Twice that at most.
    for _, case in ipairs { { 0.24, "J" }, { 0.55, "Jello" }, { 0.49, "J", "hold = 0.5" },
      { 1.1, "Jello", "hold = 0.5" } } do
      assert.equal(case[2], connect(slow(WAIT, case[3]), SAYS, { seconds = case[1] }).server)
    end
  end)

  it("of time has the connection reset where the script says so", function()
    local result = connect(slow(WAIT, "on_limit = 'reset', on_error = 'pass'"), SAYS)
    assert.same({ "J", true, {}, { "ello" } }, { result.server, result.is_reset, result.log, noted })
  end)

  it("of time does not end a handler that waits for what is not there at all, nor one that reads", function()
    for _, body in ipairs { "stream:skip(5) note(stream:peek(3))", "note(stream:read(8))" } do
      assert.matches("x", got(slow(body .. " stream:insert 'x'"), SAYS))
    end
    assert.same({ "you", "helloyou" }, noted)
  end)

  it("there is none for what comes behind a segment that is missing: that waits for it", function()
    local long = ("h"):rep(20000)
    local f = load [[
      filter = function(pkt)
        if #pkt.tcp.payload > 0 and not pkt.flow.data.is_lost then
          pkt.flow.data.is_lost = true
          return ipq.DROP
        end
      end,
      stream = { edit = true, port = 80, limit = 6000, hold = 0.01, on_limit = "reset",
        client = function(stream) note(#stream:read(6000)) stream:insert "x" end }]]
    assert.equal(long:sub(1, 6000) .. "x" .. long:sub(6001), got(f, long))
    assert.same({ 6000 }, noted)
  end)
end)
