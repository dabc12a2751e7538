--- What a client of TLS says first: its ClientHello, with the name of the server that it wants.
local abi = require "ipq.engine.abi"
local buffer = require "ipq.packet.buffer"
local ffi = require "ffi"
local hellos = require "ipq.packet.hello"
local spelling = require "ipq.spelling"
local streams = require "ipq.packet.stream"
local error, type = error, type -- a script may overwrite globals

local C = abi.C
local hello = hellos.memory
local MORE = ffi.C.IPQ_HELLO_MORE

local M = {}

local reasons = hellos.reasons(C.ipq_hello_strerror)

local function result(code)
  if code == 0 then return (hellos.view()) end
  return nil, reasons[code]
end

--- Waits for what the hello needs, and for no byte more. Errors are at the level of the caller's caller.
local function read_stream(stream)
  local need = 1
  while true do
    local count, bytes = streams.look(stream, need)
    if not count then
      if not bytes then error("tls.client_hello(stream) is for the stream's own handler, while that runs", 3) end
      return nil, ("the ClientHello has %d bytes or more, and stream.peek is %d"):format(need, bytes)
    end
    hellos.close()
    local code = C.ipq_hello_read(hello, bytes, count)
    if code ~= MORE then
      local view, why = result(code)
      return view, why
    end
    if count < need then return nil, "the stream ends within the ClientHello" end
    need = hello.need
  end
end

--- The hello that a client's bytes begin with: a string's, a Buffer's (pkt.tcp.payload), or those of a stream that its
--- handler stands in front of. Of a stream it waits for all of it, holds what it looks at, and leaves the handler where
--- it stands.
---
--- What it gives is good until the next hello is read. nil where there is none, and why: "more" where the bytes end
--- before the hello does, "not TLS", or another reason.
---@param source string|ipq.Buffer|ipq.Stream
---@return ipq.Hello? hello
---@return string? why
function M.client_hello(source)
  local code
  if type(source) == "string" then
    hellos.close()
    code = C.ipq_hello_read(hello, source, #source)
  elseif buffer.is_buffer(source) then
    local bytes, size = buffer.open(source)
    hellos.close()
    code = C.ipq_hello_read(hello, bytes, size)
  elseif streams.is_stream(source) then
    local view, why = read_stream(source)
    return view, why
  else
    error("tls.client_hello() takes a string, a Buffer or a stream, not " .. spelling.value(source), 2)
  end
  local view, why = result(code)
  return view, why
end

return M
