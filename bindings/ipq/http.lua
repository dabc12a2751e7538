--- Heads of HTTP/1.x messages (RFC 9112): read from a stream or from bytes, their fields changed in place, and the
--- bodies behind them passed right. lib/names/http.c finds the parts; here they become text when they are asked for.
---
--- A head that comes from a stream is held whole until the handler does something else with its stream, or returns:
--- then what was changed of it is written, and it goes on. So nothing of a head passes before all of it was understood.
local abi = require "ipq.engine.abi"
local buffer = require "ipq.packet.buffer"
local core = require "ipq.core"
local ffi = require "ffi"
local heads = require "ipq.http.head"
local spelling = require "ipq.spelling"
local stream_of = require "ipq.packet.stream"
-- A script may overwrite globals.
local coroutine_yield, error, min, setmetatable = coroutine.yield, error, math.min, setmetatable
local tonumber, type = tonumber, type

-- One for the Lua state (see engine/abi.lua).
if core.http then return core.http end

local C, E = abi.C, ffi.C
local REQUEST, RESPONSE, TRAILERS = E.IPQ_HTTP_REQUEST, E.IPQ_HTTP_RESPONSE, E.IPQ_HTTP_TRAILERS
local PEEK, PEEK_LINE = E.IPQ_STREAM_PEEK, E.IPQ_STREAM_PEEK_LINE
local CR, LF = 13, 10
local WAITING_MOST = 1024 -- requests of a connection that wait for their responses

local head_type = ffi.typeof "struct ipq_http_head"
local size_type, bytes_type = ffi.typeof "uint64_t[1]", ffi.typeof "const uint8_t *"
local HEAD_SIZE, FIELD_SIZE = ffi.offsetof(head_type, "fields"), ffi.sizeof "struct ipq_http_field"

local M = {}

local function reason(code) return (ffi.string(C.ipq_http_strerror(code))) end

-- From a stream

local scratch = head_type()
-- Heads of which only a part has come yet have others' structs.
local free, free_count = {}, 0

local function keep_part(found)
  local own = free_count > 0 and free[free_count] or head_type()
  if free_count > 0 then
    free[free_count] = nil
    free_count = free_count - 1
  end
  ffi.copy(own, found, HEAD_SIZE + found.count * FIELD_SIZE)
  return own
end

local function release(found)
  if found ~= scratch and free_count < 64 then
    free_count = free_count + 1
    free[free_count] = found
  end
end

--- Waits until more than so many bytes are there; how many they are, no more if the stream ends.
local function wait(opened, number, direction, there)
  local list = opened.streams
  local count = C.ipq_stream_ask(list, number, direction, PEEK, there + 1)
  while count < 0 do
    coroutine_yield()
    count = C.ipq_stream_ask(list, number, direction, PEEK, there + 1)
  end
  if count <= there then return there end
  return (min(C.ipq_stream_there(list, number, direction), list.peek_most))
end

--- Passes the empty lines that some clients send behind a request. (RFC 9112 section 2.2)
local function pass_empty_lines(opened, number, direction)
  local list = opened.streams
  while wait(opened, number, direction, 0) > 0 do
    local first = C.ipq_stream_bytes(list, number, direction)[0]
    if first == LF then
      C.ipq_stream_pass(list, number, direction, 1)
    elseif first ~= CR or wait(opened, number, direction, 1) < 2
      or C.ipq_stream_bytes(list, number, direction)[1] ~= LF then
      return
    else
      C.ipq_stream_pass(list, number, direction, 2)
    end
  end
end

--- Reads a head, which stays in front of the handler: C's struct, and its size. nil and why, which is nil where the
--- stream has ended.
local function read(opened, number, direction, kind)
  local list = opened.streams
  local found, there = scratch, wait(opened, number, direction, 0)
  if there == 0 then return nil end
  C.ipq_http_begin(found, kind)
  while true do
    local size = C.ipq_http_read(found, C.ipq_stream_bytes(list, number, direction), there)
    if size ~= 0 then
      if size > 0 then return found, size end
      release(found)
      return nil, reason(size)
    end
    if there == list.peek_most then
      release(found)
      return nil, ("a head of more than %d bytes (stream.peek)"):format(there)
    end
    if found == scratch then found = keep_part(found) end
    local now = wait(opened, number, direction, there)
    if now == there then
      release(found)
      return nil, "the stream ended within a head"
    end
    there = now
  end
end

-- What the two handlers of a connection share: the methods of requests that wait for their responses, from first to
-- last; why no request, or no response, is read any more. By the table flow.data, which lasts as long as the flow.
local shared = setmetatable({}, { __mode = "k" })

local function connection(flow)
  local data = flow.data
  local state = shared[data]
  if not state then
    state = { first = 1, last = 0, is_read = false, over = {} }
    shared[data] = state
  end
  return state
end

local function own(stream, name, expected)
  local opened, number, direction, flow = stream_of.own(stream, name, 5)
  if direction ~= expected then
    error(("%s() reads what the %s says, in stream.%s"):format(name, expected == 0 and "client" or "server",
      expected == 0 and "client" or "server"), 4)
  end
  return opened, number, direction, connection(flow)
end

--- Nothing more is read of that direction, and why.
local function give_up(state, direction, why)
  state.over[direction] = why
  return why
end

local function request_of(stream)
  local opened, number, direction, state = own(stream, "http.request", 0)
  state.is_read = true
  if state.over[0] then return nil, state.over[0] end
  if state.last - state.first + 1 >= WAITING_MOST then
    return nil, (give_up(state, 0, ("more than %d requests wait for their responses"):format(WAITING_MOST)))
  end
  pass_empty_lines(opened, number, direction)
  local found, size = read(opened, number, direction, REQUEST)
  if not found then return nil, size end
  local head = heads.new_request(found, C.ipq_stream_bytes(opened.streams, number, direction), size, stream)
  release(found)
  state.last = state.last + 1
  state[state.last] = head.method
  if head.is_tunnel then
    state.over[0] = head.method == "CONNECT" and "what follows CONNECT" or "what follows a request for another protocol"
  end
  stream_of.defer(stream, heads.write_back, head)
  return head
end

local function response_of(stream)
  local opened, number, direction, state = own(stream, "http.response", 1)
  if not opened.handlers[0] then
    error("http.response() needs stream.client, where http.request() reads what is answered", 3)
  end
  if state.over[1] then return nil, state.over[1] end
  local found, size = read(opened, number, direction, RESPONSE)
  if not found then return nil, size end
  local method = state[state.first]
  if not method then
    release(found)
    return nil, (give_up(state, 1, "a response to no request that was read"))
  end
  local head = heads.new_response(found, C.ipq_stream_bytes(opened.streams, number, direction), size, stream, method)
  release(found)
  if head.status >= 200 or head.is_tunnel then
    state[state.first] = nil
    state.first = state.first + 1
  end
  if head.is_tunnel then state.over[1] = "another protocol" end
  stream_of.defer(stream, heads.write_back, head)
  return head
end

--- The next line, held: where it is and its length. nil where there is no whole one.
local function peek_line(opened, number, direction)
  local list = opened.streams
  local count = C.ipq_stream_ask(list, number, direction, PEEK_LINE, list.peek_most)
  while count < 0 do
    coroutine_yield()
    count = C.ipq_stream_ask(list, number, direction, PEEK_LINE, list.peek_most)
  end
  local bytes = C.ipq_stream_bytes(list, number, direction)
  if count == 0 or bytes[count - 1] ~= LF then return nil end
  return bytes, count
end

local chunk_size = size_type()

--- Passes chunks, and gives what follows the last one. (RFC 9112 section 7.1)
function heads.pass_chunks(opened, number, direction, stream)
  local list = opened.streams
  while true do
    local line, len = peek_line(opened, number, direction)
    if not line then return nil, "the stream ended within a chunk" end
    local code = C.ipq_http_chunk(line, len, chunk_size)
    if code < 0 then return nil, reason(code) end
    local size = tonumber(chunk_size[0])
    C.ipq_stream_pass(list, number, direction, len + size)
    if size == 0 then break end
    line, len = peek_line(opened, number, direction)
    if not line then return nil, "the stream ended within a chunk" end
    if len > 2 or len == 2 and line[0] ~= CR then return nil, "a chunk of another size than it says" end
    C.ipq_stream_pass(list, number, direction, len)
  end
  local found, size = read(opened, number, direction, TRAILERS)
  if not found then return nil, size or "the stream ended within a chunk" end
  local trailers = heads.new(found, C.ipq_stream_bytes(list, number, direction), size, stream)
  release(found)
  stream_of.defer(stream, heads.write_back, trailers)
  return true, trailers
end

-- From bytes

--- Reads a head at the beginning of bytes: C's struct, where they are, its size. nil and why.
local function read_bytes(bytes, kind, name)
  local at, len
  if type(bytes) == "string" then
    at, len = ffi.cast(bytes_type, bytes), #bytes
  elseif buffer.is_buffer(bytes) then
    at, len = buffer.open(bytes)
  else
    error(("%s() takes a stream, a string or a Buffer, not %s"):format(name, spelling.value(bytes)), 3)
  end
  C.ipq_http_begin(scratch, kind)
  local size = C.ipq_http_read(scratch, at, min(len, 2 ^ 31 - 1))
  if size > 0 then return scratch, at, size end
  return nil, size == 0 and "more" or reason(size)
end

--- The head of the next request: of a stream, in stream.client, or at the beginning of bytes. Of a stream it waits
--- until all of it has come, up to stream.peek bytes, and holds it. nil alone where the stream has ended; nil and
--- "more" where bytes end within it; nil and a reason where it is refused, and where the rest is another protocol.
---@param from ipq.Stream|ipq.Buffer|string
---@return ipq.http.Head? head
---@return string? why
function M.request(from)
  if stream_of.is_stream(from) then
    local head, why = request_of(from)
    return head, why
  end
  local found, at, size = read_bytes(from, REQUEST, "http.request")
  if not found then return nil, at end
  local head = heads.new_request(found, at, size, false)
  return head
end

--- The head of the next response, in the same way, in stream.server. Which request it answers, and so whether it has a
--- body, is known by what http.request() has read in stream.client; of bytes by method.
---@param from ipq.Stream|ipq.Buffer|string
---@param method? string of the request, where from is bytes ("GET")
---@return ipq.http.Head? head
---@return string? why
function M.response(from, method)
  if method ~= nil and type(method) ~= "string" then
    error("http.response() takes the request's method, \"HEAD\", not " .. spelling.value(method), 2)
  end
  if stream_of.is_stream(from) then
    local head, why = response_of(from)
    return head, why
  end
  local found, at, size = read_bytes(from, RESPONSE, "http.response")
  if not found then return nil, at end
  local head = heads.new_response(found, at, size, false, method)
  return head
end

core.http = M
return M
