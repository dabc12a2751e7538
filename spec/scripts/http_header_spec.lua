-- scripts/http_header.lua: a header in every request, however its bytes come, and nothing where it is not HTTP/1.x.
local script = require "ipq.engine.script"
local t = require "ipq.test"

local PATH = "scripts/http_header.lua"
local MINE = "X-Forwarded-For: 192.0.2.1\r\n"

local ANSWER = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

local function get(more) return "GET /a HTTP/1.1\r\nHost: a\r\n" .. (more or "") .. "\r\n" end

local function post(body) return ("POST /b HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s"):format(#body, body) end

local function chunked(more, trailers)
  return "PUT /c HTTP/1.1\r\nTransfer-Encoding: gzip, Chunked\r\n" .. (more or "")
    .. "\r\n5;a=b\r\n\r\n\r\nx\r\nA \r\nGET / HTTP\r\n0\r\n" .. (trailers or "") .. "\r\n"
end

--- A request as it is to be: the header is the last one, before the first empty line.
local function with(request, mine) return (request:gsub("\r\n\r\n", "\r\n" .. (mine or MINE) .. "\r\n", 1)) end

--- Text in pieces of that many bytes.
local function pieces(text, size)
  local list = {}
  for i = 1, #text, size do list[#list + 1] = text:sub(i, i + size - 1) end
  return list
end

local function check(expected, filter, options)
  options.server = ANSWER
  local result = t.connection(filter, options)
  assert.same({ {}, {}, ANSWER, true }, { result.faults, result.log, result.client, result.is_closed })
  assert.equal(expected, result.server)
end

describe(PATH, function()
  it("adds the client's address to a request, over IPv4 and IPv6", function()
    check(with(get()), t.load(PATH), { client = get() })
    check(with(get(), "X-Forwarded-For: 2001:db8::1\r\n"), t.load(PATH), { client = get(), saddr = "2001:db8::1" })
  end)

  it("says what it is told to, on the ports that it is told", function()
    local f = t.load(PATH, { port = "8080,8081", name = "x-a", value = "b c" })
    check(with(get(), "x-a: b c\r\n"), f, { client = get(), dport = 8080 })
    check(with(get(), "x-a: b c\r\n"), f, { client = get(), dport = 8081, sport = 5 })
    check(get(), f, { client = get() })
  end)

  it("takes the place of what the client says by that name, however often", function()
    check(get(MINE .. "A: b\r\n"), t.load(PATH),
      { client = get "x-forwarded-FOR: 10.0.0.1\r\nA: b\r\nX-Forwarded-For:127.0.0.1, ::1\r\n" })
  end)

  local all = { get(), post(("x"):rep(3000)), get "Cookie: a\r\n", post "", chunked(), post "GET / HTTP/1.1\r\n\r\n",
    "\r\n" .. get(), chunked(nil, "B: c\r\n"), get() }
  local said = table.concat(all)
  local expected = {}
  for i, request in ipairs(all) do expected[i] = with(request) end
  expected[7] = "\r\n" .. with(get())
  expected = table.concat(expected)

  it("does so in requests that follow one another, in bodies with a length and in chunks", function()
    check(expected, t.load(PATH), { client = all })
  end)

  for _, size in ipairs { 1, 2, 3, 7, 100, 1460, 100000 } do
    it("does so in pieces of " .. size, function()
      check(expected, t.load(PATH), { client = pieces(said, size), window = size == 7 and 500 or nil })
    end)
  end

  it("does so whatever the network does", function()
    for seed = 1, 20 do
      check(expected, t.load(PATH), { client = pieces(said, 300), seed = seed, loss = 0.05, order = 0.1, twice = 0.05 })
    end
  end)

  it("does so where lines end without a carriage return", function()
    check("GET / HTTP/1.0\nX-Forwarded-For: 192.0.2.1\n\n", t.load(PATH), { client = "GET / HTTP/1.0\n\n" })
  end)

  it("takes its name out of what follows chunks", function()
    check(with(chunked(nil, "B: c\r\n")) .. with(get()), t.load(PATH),
      { client = chunked(nil, "X-Forwarded-For: 10.0.0.1\r\nB: c\r\n") .. get() })
  end)

  local upgrade = "GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
  local connect = "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n"

  it("changes nothing behind a request for another protocol, and behind CONNECT", function()
    check(with(upgrade) .. get(), t.load(PATH), { client = { upgrade, get() } })
    check(with(connect) .. get(), t.load(PATH), { client = { connect, get() } })
  end)

  local strange = {
    ["HTTP/2"] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ["TLS"] = "\22\3\1\2\0\1\0\n" .. get(),
    ["SMTP"] = "EHLO a\r\n" .. get(),
    ["a request of HTTP/0.9"] = "GET /\r\n" .. get(),
    ["a line that is too long"] = "GET /" .. ("a"):rep(70000) .. " HTTP/1.1\r\n\r\n",
  }
  local malformed = {
    ["a field without a name"] = ": b\r\n", ["a space before a colon"] = "A : b\r\n",
    ["a folded line that says how long the body is"] = "Content-Length:\r\n 5\r\n",
    ["a carriage return within a line"] = "A: \rb\r\n", ["a zero"] = "A: \0\r\n",
    ["two lengths"] = "Content-Length: 1\r\nContent-Length: 2\r\n", ["a list of lengths"] = "Content-Length: 1, 1\r\n",
    ["a negative length"] = "Content-Length: -1\r\n", ["a length beyond all"] = "Content-Length: 9999999999999999\r\n",
    ["a length told twice"] = "Content-Length: 1\r\nContent-Length: 1\r\n",
    ["a length beside chunks"] = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    ["another coding"] = "Transfer-Encoding: chunked, gzip\r\n", ["two hosts"] = "Host: b\r\n",
  }
  for name, fields in pairs(malformed) do strange[name] = get(fields) .. get() end

  for name, text in pairs(strange) do
    it("lets go on as it is, or resets: " .. name, function()
      check(text, t.load(PATH), { client = text })
      local result = t.connection(t.load(PATH, { unread = "reset" }), { client = text, server = ANSWER })
      assert.same({ true, {} }, { result.is_reset, result.faults })
      assert.is_nil(result.server:find "\r\n\r\n")
    end)
  end

  -- Their heads are whole.
  local bodies = {
    ["a chunk that has no length"] = chunked():gsub("5;a", "g"),
    ["a chunk of too many"] = chunked():gsub("5;a", "1234567890123"),
    ["a chunk that ends elsewhere"] = chunked():gsub("5;a", "4"),
    ["what is no field behind chunks"] = chunked(nil, "x\r\n"),
  }
  for name, text in pairs(bodies) do
    it("lets go on as it is behind the head, or resets: " .. name, function()
      check(with(text) .. get(), t.load(PATH), { client = { text, get() } })
      local result = t.connection(t.load(PATH, { unread = "reset" }), { client = { text, get() } })
      assert.same({ true, {} }, { result.is_reset, result.faults })
    end)
  end

  it("resets what it is told to: another protocol, and CONNECT", function()
    for _, text in ipairs { upgrade, connect } do
      assert.is_true(t.connection(t.load(PATH, { unread = "reset" }), { client = { text, get() } }).is_reset)
    end
    check(with(get()) .. with(get()), t.load(PATH, { unread = "reset" }), { client = { get(), get() } })
  end)

  it("lets go on what was not whole at the end, and what does not come for two seconds", function()
    for _, text in ipairs { "GET / HT", "GET / HTTP/1.1\r\nHost: a\r\n", "GET / HTTP/1.1\r\nHost" } do
      check(text, t.load(PATH), { client = text })
    end
  end)

  it("sets or removes a header of responses, and of requests too", function()
    local client = { get "X-A: 1\r\n", "HEAD / HTTP/1.1\r\n\r\n" }
    local server = { "HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\nx-a: 2\r\n\r\n" }
    local removed = t.connection(t.load(PATH, { name = "X-A", remove = "yes", direction = "response" }),
      { client = client, server = server })
    assert.equal(table.concat(client), removed.server)
    assert.equal((table.concat(server):gsub("[Xx]%-[Aa]: %d\r\n", "")), removed.client)
    local set = t.connection(t.load(PATH, { name = "X-A", value = "b", direction = "both" }),
      { client = client, server = server })
    assert.equal(2, select(2, set.server:gsub("X%-A: b\r\n", "")))
    assert.equal(2, select(2, set.client:gsub("X%-A: b\r\n", "")))
  end)

  it("does not load with arguments that are none", function()
    for argument, why in pairs { ["port=x"] = "takes ports", ["port=0"] = "takes ports",
      ["port=80,"] = "takes ports", ["name=a:"] = "name must be a header's", ["name="] = "name must be",
      ["value=a\r\nb"] = "value must be one line", ["unread=drop"] = "unread must be pass or reset" } do
      local loaded, message = script.load(PATH, { argument })
      assert.is_nil(loaded, argument)
      assert.matches(why, message)
    end
  end)
end)
