--- What a handler of a script's reads and edits: stream:peek(), read(), skip(), insert() and the others. It is good in
--- the handler alone, a coroutine, which waits in these functions until what it asks for has come.
local abi = require "ipq.engine.abi"
local core = require "ipq.core"
local ffi = require "ffi"
local flows = require "ipq.engine.flows"
local spelling = require "ipq.spelling"
local streams = require "ipq.engine.streams"
-- A script may overwrite globals.
local coroutine_create, coroutine_running, coroutine_yield = coroutine.create, coroutine.running, coroutine.yield
local error, getmetatable, rawget, rawset, setmetatable = error, getmetatable, rawget, rawset, setmetatable
local tostring, type = tostring, type

-- One for the Lua state (see engine/abi.lua).
if core.stream then return core.stream end

local C, E = abi.C, ffi.C
local PEEK, PEEK_LINE = E.IPQ_STREAM_PEEK, E.IPQ_STREAM_PEEK_LINE
local READ, LINE = E.IPQ_STREAM_READ, E.IPQ_STREAM_LINE
local FAR = 2 ^ 62
local EAGAIN, ERANGE = 11, 34

local M = {}

---@class ipq.Stream
---@field eof boolean whether its end has said all: nothing more will come
local Stream = {}

-- What is in a stream: whose it is, its number, its direction, its handler's coroutine; what is to be done before
-- anything else is, a function, and what that is called with.
local OPENED, NUMBER, DIRECTION, COROUTINE, PENDING, VALUE = 1, 2, 3, 4, 5, 6

local mt = { __metatable = false }

--- Does what was put off.
local function settle(stream)
  local pending = rawget(stream, PENDING)
  rawset(stream, PENDING, nil)
  pending(rawget(stream, VALUE), rawget(stream, OPENED), rawget(stream, NUMBER), rawget(stream, DIRECTION))
end

--- Whether the stream's handler is what runs.
local function is_running(stream)
  return rawget(stream, OPENED).running == stream and coroutine_running() == rawget(stream, COROUTINE)
end

function mt:__index(key)
  local method = Stream[key]
  if method then return method end
  if key == "eof" then
    local opened = rawget(self, OPENED)
    if rawget(self, PENDING) and is_running(self) then settle(self) end
    return (C.ipq_stream_is_end(opened.streams, rawget(self, NUMBER), rawget(self, DIRECTION)))
  end
  error(("a stream has no '%s'%s"):format(tostring(key), spelling.hint(key, Stream)), 2)
end

function mt.__newindex() error("a stream's fields cannot be assigned", 2) end

function mt:__tostring() return rawget(self, DIRECTION) == 0 and "stream of the client" or "stream of the server" end

--- What C is called with, of a stream whose handler runs; nil where it does not. What was put off is done.
local function opened_of(stream)
  local opened = rawget(stream, OPENED)
  if opened.running ~= stream or coroutine_running() ~= rawget(stream, COROUTINE) then return nil end
  if rawget(stream, PENDING) then settle(stream) end
  return opened, rawget(stream, NUMBER), rawget(stream, DIRECTION)
end

local function is_stream(value)
  return type(value) == "table" and getmetatable(value) == false and rawget(value, OPENED) ~= nil
end

--- The same. Errors are at the level of who called the caller. It calls nothing that calls: how deep a handler that
--- waits has ever been is what its coroutine takes.
local function open(stream, name)
  if type(stream) ~= "table" or getmetatable(stream) ~= false or rawget(stream, OPENED) == nil then
    error(("%s() is a method of a stream: stream:%s()"):format(name, name), 3)
  end
  local opened = rawget(stream, OPENED)
  if opened.running ~= stream or coroutine_running() ~= rawget(stream, COROUTINE) then
    error(("stream:%s() is for the stream's own handler, while that runs"):format(name), 3)
  end
  if rawget(stream, PENDING) then settle(stream) end
  return opened, rawget(stream, NUMBER), rawget(stream, DIRECTION)
end

local function check(name, n, most, which)
  if type(n) ~= "number" or not (n >= 0 and n <= most) or n % 1 ~= 0 then
    error(("stream:%s() takes a whole number of bytes, from 0 to %d%s; not %s"):format(name, most, which,
      spelling.value(n)), 3)
  end
end

--- Waits for bytes. Gives them; nil where none are left. reads: they are passed as they come.
local function wait(opened, number, direction, mode, n)
  local list = opened.streams
  local count = C.ipq_stream_ask(list, number, direction, mode, n)
  while count < 0 do
    coroutine_yield()
    count = C.ipq_stream_ask(list, number, direction, mode, n)
  end
  if count == 0 then return n == 0 and "" or nil end
  local bytes = ffi.string(C.ipq_stream_bytes(list, number, direction), count)
  if mode == READ or mode == LINE then C.ipq_stream_pass(list, number, direction, count) end
  return bytes
end

--- The next n bytes, which are held until it is decided what becomes of them; fewer where the stream ends before, nil
--- where it has ended.
---@param n integer at most stream.peek
---@return string? bytes
function Stream:peek(n)
  local opened, number, direction = open(self, "peek")
  check("peek", n, opened.streams.peek_most, " (stream.peek)")
  local bytes = wait(opened, number, direction, PEEK, n)
  return bytes
end

--- The next line, with what ends it ("\n"), held; its first max bytes where it has more, what there is where the stream
--- ends before its end, nil where it has ended.
---@param max? integer at most stream.peek, which is what it is where it is left out
---@return string? line
function Stream:peek_line(max)
  local opened, number, direction = open(self, "peek_line")
  if max == nil then max = opened.streams.peek_most end
  check("peek_line", max, opened.streams.peek_most, " (stream.peek)")
  local line = wait(opened, number, direction, PEEK_LINE, max)
  return line
end

--- The next n bytes, which have been passed, as they came; fewer where the stream ends before, nil where it has ended.
---@param n integer at most stream.limit
---@return string? bytes
function Stream:read(n)
  local opened, number, direction = open(self, "read")
  check("read", n, opened.streams.buffer_most, " (stream.limit)")
  local bytes = wait(opened, number, direction, READ, n)
  return bytes
end

--- The next line, as stream:peek_line() gives it, which has been passed.
---@param max? integer at most stream.limit, which is what it is where it is left out
---@return string? line
function Stream:line(max)
  local opened, number, direction = open(self, "line")
  if max == nil then max = opened.streams.buffer_most end
  check("line", max, opened.streams.buffer_most, " (stream.limit)")
  local line = wait(opened, number, direction, LINE, max)
  return line
end

--- Passes the next n bytes, or all, whenever they come; the handler goes on behind them, and does not wait.
---@param n integer|"all"
function Stream:skip(n)
  local opened, number, direction = open(self, "skip")
  if n == "all" then n = FAR end
  check("skip", n, FAR, ', or "all"')
  C.ipq_stream_pass(opened.streams, number, direction, n)
end

--- Puts text where the handler stands, and removes so many bytes that follow.
local function change(opened, number, direction, removed, text, level)
  if opened.streams.edits == 0 then
    error("a stream is edited where the script says so: edit = true in its stream = { … }", level + 1)
  end
  local code = C.ipq_stream_change(opened.streams, number, direction, removed, text, #text)
  while code == -EAGAIN do
    coroutine_yield()
    code = C.ipq_stream_change(opened.streams, number, direction, removed, text, #text)
  end
  if code == -ERANGE then return nil, "the handler has skipped all" end
  if code ~= 0 then return nil, "no room for so much text (--stream-memory)" end
  return true
end

local function check_text(name, text)
  if type(text) ~= "string" then error(("stream:%s() takes text, not %s"):format(name, spelling.value(text)), 3) end
end

--- Inserts text in front of the byte that comes next: it goes out with that, or with the stream's end.
---@param text string
---@return boolean? inserted nil where there is no room
---@return string? why
function Stream:insert(text)
  local opened, number, direction = open(self, "insert")
  check_text("insert", text)
  local done, why = change(opened, number, direction, 0, text, 2)
  return done, why
end

--- Removes the next n bytes, whenever they come; the handler goes on behind them.
---@param n integer
---@return boolean? erased nil where there is no room
---@return string? why
function Stream:erase(n)
  local opened, number, direction = open(self, "erase")
  check("erase", n, FAR / 2, "")
  local done, why = change(opened, number, direction, n, "", 2)
  return done, why
end

--- Puts text in the place of the next n bytes; the handler goes on behind them.
---@param n integer
---@param text string
---@return boolean? replaced nil where there is no room
---@return string? why
function Stream:replace(n, text)
  local opened, number, direction = open(self, "replace")
  check("replace", n, FAR / 2, "")
  check_text("replace", text)
  local done, why = change(opened, number, direction, n, text, 2)
  return done, why
end

-- For modules that read and edit streams in their own way (ipq/dns.lua, ipq/http.lua, ipq/tls.lua).

M.is_stream = is_stream
M.change = change

--- What C is called with, and the flow, of a stream whose handler runs; errors name that function, at that level.
function M.own(stream, name, level)
  local opened, number, direction = opened_of(stream)
  if not opened then error(("%s() is for the stream's own handler, while that runs"):format(name), level) end
  return opened, number, direction, flows.object(opened.streams.records[number].flow)
end

--- Puts off what is to be done before anything else becomes of the stream, and at the latest when its handler returns:
--- fn(value, opened, number, direction), which may wait.
function M.defer(stream, fn, value)
  rawset(stream, PENDING, fn)
  rawset(stream, VALUE, value)
end

--- How many bytes stream:peek() takes at most; nil where that is no stream of the handler that runs.
function M.peek_most(stream)
  local opened = is_stream(stream) and opened_of(stream)
  return opened and opened.streams.peek_most or nil
end

--- Waits for n bytes as stream:peek(n) does, for modules that look at them where they are. Gives how many there are,
--- fewer than n where the stream ends before, and their address, which is good until the handler waits again, or reads.
--- nil and false: it is not the stream's own handler that runs; nil and the most that may be asked for: n is more.
---@param stream ipq.Stream
---@param n integer
function M.look(stream, n)
  local opened, number, direction = opened_of(stream)
  if not opened then return nil, false end
  local list = opened.streams
  if n > list.peek_most then return nil, list.peek_most end
  local count = C.ipq_stream_ask(list, number, direction, PEEK, n)
  while count < 0 do
    coroutine_yield()
    count = C.ipq_stream_ask(list, number, direction, PEEK, n)
  end
  return count, C.ipq_stream_bytes(list, number, direction)
end

--- A stream, whose handler has not begun.
function streams.new(opened, number, direction)
  return (setmetatable({ opened, number, direction, coroutine_create(opened.handlers[direction]) }, mt))
end

--- The coroutine that its handler runs in.
function streams.coroutine_of(stream) return (rawget(stream, COROUTINE)) end

--- The handler has returned. Whether it has put something off, for which there is a coroutine now in its place: it may
--- wait.
function streams.has_rest(stream)
  if not rawget(stream, PENDING) then return false end
  rawset(stream, COROUTINE, coroutine_create(settle))
  return true
end

core.stream = M
return M
