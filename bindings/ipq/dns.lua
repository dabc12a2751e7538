--- DNS messages, of packets and of streams: read, answered, changed and built. The room dns/ has what a message is
--- (message.lua), what records say (data.lua), how messages are written (writer.lua) and what numbers are called
--- (names.lua); lib/names walks over the bytes.
local abi = require "ipq.engine.abi"
local buffer = require "ipq.packet.buffer"
local ffi = require "ffi"
local live = require "ipq.engine.live"
local messages = require "ipq.dns.message"
local misuse = require "ipq.build.misuse"
local own = require "ipq.engine.own"
local stream_of = require "ipq.packet.stream"
local streams = require "ipq.dns.stream"
local writer = require "ipq.dns.writer"
local byte, error, type = string.byte, error, type -- a script may overwrite globals

local C, E, istype = abi.C, ffi.C, ffi.istype
local guard = misuse.guard
local message = messages.message

--- What is wrong with what was parsed last, by its code, each text made once.
local reasons = {}
for code = E.IPQ_DNS_NO_UDP, E.IPQ_DNS_DATA do reasons[-code] = ffi.string(C.ipq_dns_strerror(-code)) end

local WHAT = "a DNS message is in a packet, a Buffer or a string, not in %s"

--- Parses what a packet carries, or bytes. Gives 0 or the code. Misuse raises at that level of the caller's.
local function parse(what, level)
  if type(what) == "string" then return (C.ipq_dns_parse(message, what, #what)) end
  if istype(abi.view_pointer, what) or own.is(what) then
    return (C.ipq_dns_parse_packet(message, live.whole_packet_of(what)))
  end
  if not buffer.is_buffer(what) then
    error(WHAT:format(what == nil and "nothing" or "a " .. type(what)), level + 1)
  end
  local bytes, size = buffer.open(what)
  return (C.ipq_dns_parse(message, bytes, size))
end

local M = {}

--- Reads a DNS message: of a packet, what UDP carries, whatever its ports; or bytes. It is good until the next message
--- is parsed, and used after that it raises. Its fields, nil where there is none: id; flags, and of these qr, aa, tc,
--- rd, ra, ad, cd, opcode, rcode; name, type and class of the first question; questions, answers, authorities,
--- additional, which are lists made anew each time; edns; malformed, why the rest cannot be read; bytes.
---@param what ipq.Packet|ipq.OwnPacket|ipq.Buffer|string
---@return ipq.DnsMessage? message nil where it is none
---@return string? why
function M.parse(what)
  local code = parse(what, 2)
  if code ~= 0 then return nil, reasons[code] end
  return (messages.view())
end

--- The message that a function was given, as it is or parsed. Gives nil and why.
local function message_of(what)
  if messages.open(what, 3) then return what end
  local code = parse(what, 3)
  if code ~= 0 then return nil, reasons[code] end
  return (messages.view())
end

--- Answers a query: its id, its questions as they are, letter by letter, and EDNS where it has that, with its DO bit.
--- An answer that is larger than who asks takes over UDP is empty, and says so (tc).
---
--- Fields: rcode ("noerror"), A and AAAA (an address, or a list: for who asks for such), ttl of these (60), answers,
--- authorities, additional (lists of records), aa, and tcp (true: of any size, with its length before it).
---@param query ipq.DnsMessage|ipq.Packet|ipq.OwnPacket|ipq.Buffer|string
---@param fields table<string, any>
---@return string? bytes nil where it is no query
---@return string? why
function M.answer(query, fields)
  local view, why = message_of(query)
  if not view then return nil, why end
  local bytes
  bytes, why = guard(writer.answer, message, fields)
  return bytes, why
end

--- A message with other fields: id, flags, rcode, edns (false: none), answers, authorities, additional. What is not
--- given stays, and so do the questions.
---@param original ipq.DnsMessage|ipq.Packet|ipq.OwnPacket|ipq.Buffer|string
---@param fields table<string, any>
---@return string? bytes nil where the message is malformed
---@return string? why
function M.rewrite(original, fields)
  local view, why = message_of(original)
  if not view then return nil, why end
  local bytes
  bytes, why = guard(writer.rewrite, message, view, fields)
  return bytes, why
end

--- A message of these fields: id (1), qr (there are answers), aa, tc, rd (true), ra, ad, cd, opcode, rcode; name and
--- type of the question, or questions; answers, authorities, additional; edns.
---@param fields? table<string, any>
---@return string? bytes nil where they are more than a message has
---@return string? why
function M.build(fields)
  local bytes, why = guard(writer.build, fields or {})
  return bytes, why
end

--- The next message of a stream, which is held: DNS over TCP has each behind its length. Nothing is passed; with the
--- length, so many bytes are to be skipped or replaced.
---@param stream ipq.Stream
---@return ipq.DnsMessage? message nil at the end of the stream, and where it is none
---@return string|integer? size with its length, in bytes; or why it is none, which is nil at the end
---@return integer? size of what is none, where that can be skipped
function M.peek(stream)
  local most = stream_of.peek_most(stream)
  if not most then error("dns.peek() takes the stream of the handler that calls it", 2) end
  local head = stream:peek(2)
  if not head then return nil end
  local high, low = byte(head, 1, 2)
  local size = low and high * 256 + low + 2
  if size and size > most then
    return nil, ("a message of %d bytes is more than stream.peek has, %d"):format(size - 2, most), size
  end
  local bytes = size and stream:peek(size)
  if not bytes or #bytes < size then return nil, "the stream ends within a message" end
  local code = C.ipq_dns_parse(message, ffi.cast("const uint8_t *", bytes) + 2, size - 2)
  if code ~= 0 then return nil, reasons[code], size end
  return messages.view(), size
end

--- What a script's table has as stream, so that DNS over TCP is answered and changed as that over UDP. Both directions
--- have to come to the queue. answer(query, flow) gives the fields of dns.answer(), or nil where the query passes to
--- the server; rewrite(message, flow) gives those of dns.rewrite(), or nil where the server's answer passes. port is
--- 53, or a list; or select says which connections are read. Queries that are answered do not reach the server: it is
--- asked for another name in their place, and its answer is replaced.
---@param fields table<string, any>
---@return table<string, any>
function M.stream(fields)
  local made = guard(streams.make, M, fields)
  return made
end

--- A message as it goes over TCP: behind its length.
---@param bytes string
---@return string
function M.with_length(bytes)
  if type(bytes) ~= "string" or #bytes > writer.MOST then
    error("dns.with_length() takes a message of at most 65535 bytes", 2)
  end
  return (writer.with_length(bytes))
end

return M
