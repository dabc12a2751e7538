-- ipq.http: heads from bytes and from streams, their headers changed in place, their bodies passed.
local document = require "spec.support.document"
local ipq = require "ipq"
local rewrite = require "spec.support.rewrite"
local t = require "ipq.test"
local tshark = require "spec.support.tshark"

local http = ipq.http

--- A filter of a script that returns that table, whose functions are the spec's.
local function filter_of(script)
  package.loaded["spec.unit.http_script"] = script
  local path = document.temporary 'return require "spec.unit.http_script"'
  local filter = t.load(path)
  os.remove(path)
  return filter
end

local function fields_of(head)
  local list = {}
  for name, value in head:each() do list[#list + 1] = name .. "=" .. value end
  return list
end

--- The message that f() raises, with its place.
local function message_of(f, ...)
  local ok, message = pcall(f, ...)
  assert.is_false(ok)
  return message
end

local function request(fields) return http.request("GET /a?b HTTP/1.1\r\n" .. fields .. "\r\n") end

describe("ipq.http.request", function()
  it("reads a head from bytes: its parts, and its fields in order", function()
    local head = assert(request "Host: A.example:80\r\nX-One:  1 \t\r\nx-one:2\r\nEmpty:\r\n")
    assert.same({ "GET", "/a?b", "1.1", 0, false, false }, { head.method, head.target, head.version, head.body_length,
      head.is_chunked, head.is_tunnel })
    assert.same({ "Host=A.example:80", "X-One=1", "x-one=2", "Empty=" }, fields_of(head))
    assert.same({ "1, 2", "", "A.example:80" }, { head.headers["X-ONE"], head.headers.empty, head.headers.host })
    assert.same({ "1", "2" }, head:all "x-One")
    assert.is_nil(head.headers.absent)
    assert.is_nil(head.status)
  end)

  it("reads lines that end without a carriage return, and HTTP/1.0", function()
    local head = assert(http.request "GET / HTTP/1.0\nA: b\n\nrest")
    assert.same({ "1.0", "b", "GET / HTTP/1.0\nA: b\n\n" }, { head.version, head.headers.a, head:bytes() })
    head.headers.c = 1
    assert.equal("GET / HTTP/1.0\nA: b\nc: 1\n\n", head:bytes())
  end)

  it("reads folded values as one line, and leaves them as they are", function()
    local head = assert(request "A: one\r\n\ttwo \r\n  three\r\nB:\r\n b\r\nC: c\r\n \r\n")
    assert.same({ "A=one two three", "B=b", "C=c" }, fields_of(head))
    head.headers.b = nil
    assert.equal("GET /a?b HTTP/1.1\r\nA: one\r\n\ttwo \r\n  three\r\nC: c\r\n \r\n\r\n", head:bytes())
  end)

  it("says who is asked: by an absolute target, else by Host, without port and in small letters", function()
    local function host(target, field, method)
      return assert(http.request(("%s %s HTTP/1.1\r\n%s\r\n"):format(method or "GET", target, field or ""))).host
    end
    assert.equal("a.example", host("/", "Host: A.Example:8080\r\n"))
    assert.equal("b.example", host("http://u:p@b.example:1/x", "Host: a.example\r\n"))
    assert.equal("2001:db8::1", host("/", "Host: [2001:DB8::1]:80\r\n"))
    assert.equal("c.example", host("c.example:443", "Host: a\r\n", "CONNECT"))
    assert.is_nil(host "/")
    assert.is_nil(host("/", "Host: \r\n"))
    assert.is_nil(host("*", nil, "OPTIONS"))
  end)

  it("says how long the body is", function()
    assert.equal(0, request("").body_length)
    assert.equal(12, request("content-LENGTH:\t012 \r\n").body_length)
    local head = request "Transfer-Encoding: gzip ,\r\nTransfer-Encoding: , Chunked\r\n"
    assert.is_true(head.is_chunked)
    assert.is_nil(head.body_length)
    assert.equal(999999999999999, request("Content-Length: 999999999999999\r\n").body_length)
  end)

  it("tells what goes on as another protocol", function()
    assert.is_true(request("Upgrade: websocket\r\n").is_tunnel)
    assert.is_true(http.request("CONNECT a:1 HTTP/1.1\r\n\r\n").is_tunnel)
  end)

  it("says \"more\" up to the last byte, and takes no byte behind it", function()
    local text = "POST / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\nContent-Length: 5\r\n\r\n"
    for n = 0, #text - 1 do assert.same({ nil, "more" }, { http.request(text:sub(1, n)) }, n) end
    assert.equal(text, assert(http.request(text .. "GET ")):bytes())
  end)

  local refused = {
    ["not HTTP"] = { "\22\3\1", "SSH-2.0-x\r\n", "EHLO a\r\n", "GET /\r\n", "GET  / HTTP/1.1\r\n",
      "GET / HTTP/1.1 \r\n", " GET / HTTP/1.1\r\n", "GET /\t HTTP/1.1\r\n", "GET / http/1.1\r\n", "GET / HTTP/1.10\r\n",
      "GET /\127 HTTP/1.1\r\n",
      "{", "\r\n\r\n", "G\0" },
    ["another version than HTTP/1.x"] = { "PRI * HTTP/2.0\r\n", "GET / HTTP/0.9\r\n" },
    ["a carriage return within a line"] = { "GET / HTTP/1.1\r\r\n", "GET / HTTP/1.1\r\nA: b\rc\r\n",
      "GET / HTTP/1.1\r\nA: b\r\n\r\r\n" },
    ["a zero within a line"] = { "GET / HTTP/1.1\r\nA: \0\r\n" },
    ["a field without a name"] = { "GET / HTTP/1.1\r\n: b\r\n",
      "GET / HTTP/1.1\r\nA\r\n", "GET / HTTP/1.1\r\nA(: b\r\n" },
    ["a blank between a field's name and its colon"] = { "GET / HTTP/1.1\r\nContent-Length : 5\r\n",
      "GET / HTTP/1.1\r\nA\t: b\r\n", "GET / HTTP/1.1\r\nA b: c\r\n" },
    ["a folded line where none may be"] = { "GET / HTTP/1.1\r\n A: b\r\n",
      "GET / HTTP/1.1\r\nContent-Length: 1\r\n 2\r\n",
      "GET / HTTP/1.1\r\nTransfer-Encoding:\r\n chunked\r\n", "GET / HTTP/1.1\r\nHost: a\r\n b\r\n" },
    ["a Content-Length that is no number"] = { "GET / HTTP/1.1\r\nContent-Length: +1\r\n",
      "GET / HTTP/1.1\r\nContent-Length:\r\n", "GET / HTTP/1.1\r\nContent-Length: 1, 1\r\n",
      "GET / HTTP/1.1\r\nContent-Length: 0x1\r\n", "GET / HTTP/1.1\r\nContent-Length: 1000000000000000\r\n",
      "GET / HTTP/1.1\r\nContent-Length: -1\r\n", "GET / HTTP/1.1\r\nContent-Length: 1 2\r\n" },
    ["several Content-Length"] = { "GET / HTTP/1.1\r\nContent-Length: 1\r\ncontent-length: 1\r\n" },
    ["both Content-Length and Transfer-Encoding"] = {
      "GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
      "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n" },
    ["a Transfer-Encoding that does not end with chunked"] = {
      "GET / HTTP/1.1\r\nTransfer-Encoding: chunked, identity\r\n", "GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
      "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
      "GET / HTTP/1.1\r\nTransfer-Encoding: \11chunked\r\n\r\n", "GET / HTTP/1.1\r\nTransfer-Encoding:\r\n\r\n",
      "GET / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n",
      "GET / HTTP/1.1\r\nTransfer-Encoding: chunked;a\r\n\r\n" },
    ["a Transfer-Encoding in HTTP/1.0"] = { "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" },
    ["several Host"] = { "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n" },
    ["more than 256 fields"] = { "GET / HTTP/1.1\r\n" .. ("A: b\r\n"):rep(257) },
  }
  for why, texts in pairs(refused) do
    it("refuses " .. why .. ", as soon as that is known", function()
      for _, text in ipairs(texts) do assert.same({ nil, why }, { http.request(text) }, text) end
    end)
  end

  it("takes as many fields as there may be, and 64 KiB of anything", function()
    assert.equal(256, #fields_of(assert(request(("A: b\r\n"):rep(256)))))
    assert.equal(65536, #assert(request("A: " .. ("x"):rep(65536) .. "\r\n")).headers.a)
    for _, text in ipairs { "\r", "a", " ", ":", "\0", "A:\n", "\255" } do
      local head, why = http.request(text:rep(65536 / #text))
      assert.is_nil(head)
      assert.is_string(why)
    end
  end)

  it("reads a Buffer of a packet", function()
    local host
    t.run(function(pkt) host = http.request(pkt.tcp.payload).host end,
      t.tcp { payload = "GET / HTTP/1.1\r\nHost: a\r\n\r\n" })
    assert.equal("a", host)
  end)

  it("raises where it is misused, at the caller's line", function()
    assert.matches("^spec/unit/http_spec.lua:%d+: http.request%(%) takes a stream, a string or a Buffer, not 5",
      message_of(function() return (http.request(5)) end))
    assert.matches("^spec/unit/http_spec.lua:%d+: http.response%(%) takes the request's method, \"HEAD\", not true",
      message_of(function() return (http.response("", true)) end))
  end)
end)

describe("ipq.http.response", function()
  local function response(line, fields, method)
    return http.response(("HTTP/1.1 %s\r\n%s\r\n"):format(line, fields or ""), method)
  end

  it("reads status and reason", function()
    local head = assert(response("404 Not Found", "Server: a\r\n"))
    assert.same({ 404, "Not Found", "1.1", "a" }, { head.status, head.reason, head.version, head.headers.server })
    assert.same({ 200, "" }, { response("200 ").status, response("200").reason })
    assert.is_nil(head.method)
    assert.is_nil(head.host)
  end)

  it("says how long the body is, by the request's method, too", function()
    local length = "Content-Length: 5\r\n"
    assert.equal(5, response("200 OK", length, "GET").body_length)
    assert.is_nil(response("200 OK").body_length)
    assert.equal(0, response("200 OK", length, "HEAD").body_length)
    for _, status in ipairs { "100", "103", "204", "304" } do assert.equal(0, response(status, length).body_length) end
    assert.is_true(response("200 OK", "Transfer-Encoding: chunked\r\n").is_chunked)
    assert.is_false(response("200 OK", "Transfer-Encoding: chunked\r\n", "HEAD").is_chunked)
    local coded = response("200 OK", "Transfer-Encoding: gzip\r\n")
    assert.same({ false }, { coded.is_chunked, coded.body_length })
    assert.is_true(response("101 Switching Protocols", "Upgrade: a\r\n").is_tunnel)
    assert.is_true(response("200 OK", nil, "CONNECT").is_tunnel)
    assert.is_false(response("407 No", length, "CONNECT").is_tunnel)
  end)

  it("refuses what is none", function()
    for _, text in ipairs { "GET ", "HTTP/1.1 20 OK\r\n", "HTTP/1.1 2000\r\n", "HTTP/1.1  200 OK\r\n",
      "HTTP/1.1 099 x\r\n", "HTTPS", "\r\n", "HTTP/1.x 200 OK\r\n" } do
      assert.same({ nil, "not HTTP" }, { http.response(text) }, text)
    end
    assert.same({ nil, "more" }, { http.response "HTTP/1.1 2" })
    assert.same({ nil, "both Content-Length and Transfer-Encoding" },
      { response("200 OK", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n") })
  end)
end)

describe("a head's headers", function()
  local function head() return assert(request "A: 1\r\nB: 2\r\na: 3\r\nC: 4\r\n") end

  it("are replaced where the first stood, removed, and added behind the last one", function()
    local h = head()
    h.headers.A = "new"
    h.headers.b = nil
    h.headers.D = 5
    assert.same({ "A=new", "C=4", "D=5" }, fields_of(h))
    assert.equal("GET /a?b HTTP/1.1\r\nA: new\r\nC: 4\r\nD: 5\r\n\r\n", h:bytes())
    assert.same({ "new", "5" }, { h.headers.a, h.headers.d })
    assert.is_nil(h.headers.B)
  end)

  it("may be changed again and again", function()
    local h = head()
    h.headers.A = "x"
    h.headers.a = "y"
    h.headers.D = "1"
    h.headers.d = "2"
    h.headers.B = nil
    h.headers.B = "b"
    assert.same({ "a=y", "C=4", "d=2", "B=b" }, fields_of(h))
    h.headers.A, h.headers.d = nil, nil
    h:add("Set-Cookie", "a")
    h:add("Set-Cookie", "b")
    assert.same({ "C=4", "B=b", "Set-Cookie=a", "Set-Cookie=b" }, fields_of(h))
    assert.same({ "a", "b" }, h:all "set-cookie")
    h.headers["Set-Cookie"] = nil
    assert.same({ "C=4", "B=b" }, fields_of(h))
  end)

  it("refuse what would be no field, or another body", function()
    local h = head()
    for _, name in ipairs { "", "a b", "a:", 5, true } do
      assert.matches("^spec/unit/http_spec.lua:%d+: a header's name must be a word", message_of(function()
        h.headers[name] = "x"
      end))
    end
    for _, value in ipairs { "a\r\nb: c", "a\n", "\0", true, {} } do
      assert.matches("^spec/unit/http_spec.lua:%d+: the value of A must be one line of text", message_of(function()
        h.headers.A = value
      end))
    end
    for _, name in ipairs { "Content-Length", "transfer-encoding" } do
      assert.matches(name .. " cannot be changed: the body goes on as it came",
        message_of(function() h:add(name, "5") end), 1, true)
    end
    assert.matches("^spec/unit/http_spec.lua:%d+: head:add%(%) takes a name and a value",
      message_of(function() h:add "a" end))
    assert.equal(head():bytes(), h:bytes())
  end)

  it("of misspelt fields name the right one", function()
    assert.matches("a head has no 'metod'; did you mean 'method'%?", message_of(function() return head().metod end))
    assert.matches("a head's field 'method' cannot be assigned", message_of(function() head().method = "PUT" end))
    assert.matches("head:skip_body%(%) is for a head that came from a stream", message_of(function()
      head():skip_body()
    end))
    assert.matches("each%(%) is a method of a head: head:each%(%)", message_of(function() head().each() end))
  end)
end)

-- Streams

local GET, OK = "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

--- A connection of which both ends' heads are read: what came of it, and what was read, with why it ended.
local function talk(options, client, server)
  local read = {}
  local function handler(what, each)
    return function(stream, flow)
      local head, why = http[what](stream)
      while head do
        read[#read + 1] = head.method and head.method .. " " .. head.target or head.status
        local done, more = (each or head.skip_body)(head, stream, flow)
        if not done then why = more break end
        head, why = http[what](stream)
      end
      read[what] = why or "end"
    end
  end
  local result = t.connection(filter_of { send = true, flow = {}, stream = { edit = true, port = 80,
    peek = options.peek, client = handler("request", client), server = handler("response", server) } }, options.ends)
  assert.same({ {}, {} }, { result.faults, result.log })
  return read, result
end

local function parts(text, size)
  local list = {}
  for i = 1, #text, size do list[#list + 1] = text:sub(i, i + size - 1) end
  return list
end

local CHUNKED = "POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b\"\r\nGET /\r\n0a \r\n HTTP/1.1\r\r\n"
  .. "000\r\nX-Sum: 1\r\n\r\n"

describe("ipq.http over a stream", function()
  local requests = { "\r\n", GET, "HEAD /h HTTP/1.1\r\n\r\n",
    "POST /p HTTP/1.1\r\nContent-Length: 30\r\nExpect: 100-continue\r\n\r\n", GET:rep(2):sub(1, 30), CHUNKED, GET }
  local responses = { OK, "HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    .. "2\r\nok\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n" .. OK .. ("x"):rep(5000) }

  for _, size in ipairs { 1, 3, 17, 200, 1460 } do
    it("reads requests and responses that follow one another, in pieces of " .. size, function()
      local asked, answered = table.concat(requests), table.concat(responses)
      local read, result = talk({ ends = { client = parts(asked, size), server = parts(answered, size) } },
        function(head)
          head.headers["X-A"] = "b"
          local done, trailers = head:skip_body()
          if done and trailers then trailers.headers["x-sum"] = nil end
          return done, trailers
        end, function(head)
          head.headers["X-C"] = "d"
          return (head:skip_body())
        end)
      local seen = { requests = {}, responses = {} }
      for _, one in ipairs(read) do table.insert(type(one) == "string" and seen.requests or seen.responses, one) end
      assert.same({ "GET /", "HEAD /h", "POST /p", "POST /c", "GET /" }, seen.requests)
      assert.same({ 200, 200, 100, 204, 200, 200 }, seen.responses)
      assert.same({ "end", "end" }, { read.request, read.response })
      assert.equal(5, select(2, result.server:gsub("X%-A: b\r\n\r\n", "")))
      assert.equal(asked:gsub("X%-Sum: 1\r\n", ""), (result.server:gsub("X%-A: b\r\n", "")))
      assert.equal(answered, (result.client:gsub("X%-C: d\r\n", "")))
      assert.equal(6, select(2, result.client:gsub("X%-C: d\r\n", "")))
    end)
  end

  it("writes what was changed when the handler does anything else, or returns", function()
    local expected = GET:gsub("\r\n$", "A: b\r\n\r\n")
    for name, act in pairs { skip = function(head, stream) stream:skip(head.body_length) end,
      peek = function(_, stream) stream:peek(1) end, eof = function(_, stream) return stream.eof and nil end,
      ["return"] = function() end } do
      local _, result = talk({ ends = { client = GET } }, function(head, stream)
        head.headers.A = "b"
        act(head, stream)
        return nil, "returned"
      end)
      assert.equal(expected, result.server, name)
    end
  end)

  it("passes what has a body of a known length by the stream, too", function()
    local post = "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"
    local body
    local read = talk({ ends = { client = post .. GET } }, function(head, stream)
      if head.body_length == 0 then return head:skip_body() end
      body = stream:read(head.body_length)
      return true
    end)
    assert.same({ "hello", "POST /", "GET /" }, { body, read[1], read[2] })
  end)

  it("raises where a head is changed that has passed, and a body is passed twice", function()
    local late, twice
    talk({ ends = { client = GET } }, function(head)
      head:skip_body()
      late = message_of(function() head.headers.a = "b" end)
      twice = message_of(function() head:skip_body() end)
      return true
    end)
    assert.matches("^spec/unit/http_spec.lua:%d+: the head has been passed", late)
    assert.matches("^spec/unit/http_spec.lua:%d+: head:skip_body%(%): this body has been passed", twice)
  end)

  it("raises in the other handler, and outside of it", function()
    local messages, kept = {}, nil
    local function wrong(what) return function(stream)
      kept = stream
      messages[what] = message_of(function() return (http[what](stream)) end)
    end end
    t.connection(filter_of { send = true, stream = { port = 80, client = wrong "response", server = wrong "request" } },
      { client = GET, server = OK })
    assert.matches("^spec/unit/http_spec.lua:%d+: http.response%(%) reads what the server says, in stream.server",
      messages.response)
    assert.matches("http.request%(%) reads what the client says, in stream.client", messages.request)
    assert.matches("http.request%(%) is for the stream's own handler", message_of(function() http.request(kept) end))
  end)

  it("raises where nobody reads requests, and where nothing may be edited", function()
    local alone, unedited
    t.connection(filter_of { send = true, stream = { port = 80, server = function(stream)
      alone = message_of(function() return (http.response(stream)) end)
    end } }, { client = GET, server = OK })
    assert.matches("^spec/unit/http_spec.lua:%d+: http.response%(%) needs stream.client", alone)
    t.connection(filter_of { send = true, stream = { port = 80, client = function(stream)
      local head = http.request(stream)
      unedited = message_of(function() head.headers.a = "b" end)
    end } }, { client = GET })
    assert.matches("^spec/unit/http_spec.lua:%d+: a stream is edited where the script says so", unedited)
  end)

  local function ends(what, client, server)
    return talk({ ends = { client = client, server = server or "" } })[what]
  end

  it("says why it reads no more", function()
    assert.equal("the stream ended within a head", ends("request", "GET / HT"))
    assert.equal("the stream ended within a head", ends("request", GET:sub(1, -2)))
    assert.equal("what follows CONNECT", ends("request", "CONNECT a:1 HTTP/1.1\r\n\r\n" .. GET))
    assert.equal("what follows a request for another protocol",
      ends("request", "GET / HTTP/1.1\r\nUpgrade: a\r\n\r\n" .. GET))
    assert.equal("not HTTP", ends("request", GET .. "\22\3\1"))
    assert.equal("a chunk whose size is none", ends("request", (CHUNKED:gsub("5;", "x;"))))
    assert.equal("a chunk of another size than it says", ends("request", (CHUNKED:gsub("5;", "4;"))))
    assert.equal("the stream ended within a chunk", ends("request", CHUNKED:sub(1, -30)))
    assert.equal("a field without a name", ends("request", (CHUNKED:gsub("X%-Sum", "X Sum"):gsub("X Sum", "?"))))
    assert.equal("another protocol", ends("response", "CONNECT a:1 HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nSSH"))
    assert.equal("another protocol", ends("response", GET, "HTTP/1.1 101 Switching Protocols\r\n\r\nabc"))
    assert.equal("a response to no request that was read", ends("response", GET, OK .. OK))
    assert.equal("a response to no request that was read", ends("response", "", OK))
  end)

  for _, size in ipairs { "g", "", "-1", "0x5", "5 5", "1234567890123", "5\r", " 5" } do
    it("refuses a chunk of the size " .. ("%q"):format(size), function()
      assert.equal("a chunk whose size is none", ends("request", (CHUNKED:gsub("5;a=\"b\"", size))))
    end)
  end

  it("refuses a head of more bytes than may be held, and lets it go on as it is", function()
    local long = "GET / HTTP/1.1\r\nA: " .. ("x"):rep(300) .. "\r\n\r\n"
    local read, result = talk({ peek = 200, ends = { client = long } })
    assert.equal("a head of more than 200 bytes (stream.peek)", read.request)
    assert.equal(long, result.server)
    assert.equal("end", talk({ peek = #long, ends = { client = long } }).request)
  end)

  it("reads no more where too many requests wait for their responses", function()
    local read = talk { ends = { client = ("GET / HTTP/1.1\r\n\r\n"):rep(1100) } }
    assert.equal("more than 1024 requests wait for their responses", read.request)
    assert.equal(1024, #read)
  end)

  it("lets nothing of a head pass that is refused", function()
    local result = t.connection(filter_of { send = true, flow = {}, stream = { edit = true, port = 80,
      client = function(stream, flow)
        if not http.request(stream) then flow:reset() end
      end } }, { client = { "GET / HTTP/1.1\r\nHost: a\r\n", "Content-Length : 1\r\n\r\n" } })
    assert.same({ true, "" }, { result.is_reset, result.server })
  end)
end)

describe("what ipq.http reads", function()
  local FIELDS = { "http.request.method", "http.request.uri", "http.host", "http.content_length_header",
    "http.user_agent", "http.transfer_encoding", "http.response.code", "http.response.phrase", "http.server" }
  local HEADS = 2400

  it("is what tshark reads in " .. HEADS .. " heads", function()
    if not tshark.available() then return pending "there is no tshark" end
    local r = rewrite.random(24)
    local letters = "abcdefghijklmnopqrstuvwxyz0123456789-"
    local function word(most)
      local list = {}
      for i = 1, r.number(1, most) do
        local at = r.number(1, #letters)
        list[i] = letters:sub(at, at)
      end
      return table.concat(list)
    end
    local function case(name)
      return (name:gsub("%a", function(c) return r.number(0, 1) == 0 and c:upper() or c:lower() end))
    end
    local heads, packets = {}, {}
    for i = 1, HEADS do
      local is_request, lines = r.number(0, 2) > 0, {}
      local method = r.pick { "GET", "POST", "PUT", "HEAD", "OPTIONS" }
      local first = is_request and ("%s /%s?%s HTTP/1.%d"):format(method, word(40), word(20), r.number(0, 1))
        or ("HTTP/1.1 %d %s"):format(r.pick { 200, 204, 301, 404, 503 }, word(12))
      local function add(name, value)
        local line = case(name) .. ":" .. r.pick { "", " ", " \t " } .. value .. r.pick { "", " " }
        table.insert(lines, r.number(1, #lines + 1), line)
      end
      if is_request then
        add("Host", word(20) .. ".example")
        if r.number(0, 1) == 0 then add("User-Agent", word(60)) end
      elseif r.number(0, 1) == 0 then
        add("Server", word(20))
      end
      if r.number(0, 2) == 0 then add("Content-Length", tostring(r.number(0, 999999)))
      elseif r.number(0, 3) == 0 and first:match "1%.1" then add("Transfer-Encoding", "chunked") end
      for _ = 1, r.number(0, 6) do add("X-" .. word(8), word(30)) end
      heads[i] = first .. "\r\n" .. table.concat(lines, "\r\n") .. (#lines > 0 and "\r\n\r\n" or "\r\n")
      local fields = { payload = heads[i], ack = true, sport = 20000 + i, dport = 80 }
      if not is_request then fields.sport, fields.dport = 80, 20000 + i end
      packets[i] = t.tcp(fields).bytes
    end
    local rows = tshark.contents(packets, FIELDS)
    assert.equal(HEADS, #rows)
    for i, row in ipairs(rows) do
      local read = heads[i]:match "^HTTP" and http.response or http.request
      local head = assert(read(heads[i]))
      -- tshark has the blanks behind a value in it.
      local function same(field, value)
        assert.equal((row[field] or ""):match "^(.-)[ \t]*$", value and tostring(value) or "", heads[i])
      end
      same("http.request.method", head.method)
      same("http.request.uri", head.target)
      same("http.response.code", head.status)
      same("http.response.phrase", head.reason)
      if head.method then same("http.host", head.host) end
      same("http.user_agent", head.headers["user-agent"])
      same("http.server", head.headers.server)
      same("http.content_length_header", head.headers["content-length"])
      same("http.transfer_encoding", head.headers["transfer-encoding"])
    end
  end)
end)
