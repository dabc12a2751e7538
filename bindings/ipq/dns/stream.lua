--- DNS over TCP through a filter: queries that are answered in the place of the server, and answers that are changed.
local keys = require "ipq.build.keys"
local messages = require "ipq.dns.message"
local misuse = require "ipq.build.misuse"
local writer = require "ipq.dns.writer"
local byte, ipairs, type = string.byte, ipairs, type -- a script may overwrite globals

local names = { "answer", "rewrite", "port", "select" }
local MOST = 100 -- queries of a connection that wait for what replaces their answers
local PEEK = 65537 -- a message with its length
local WAITING = {} -- what flow.data has them by

--- What the server is asked in the place of a query that is not for it: a name that there is not (RFC 6761).
local function other_query(dns, id) return (dns.with_length(dns.build { id = id, name = "invalid" })) end

--- Answers what is to be answered. The server gets another query by the same id, so that the connection goes on as it
--- would, and its answer is replaced.
local function client_of(dns, answer)
  return function(stream, flow)
    local waiting = { count = 0 }
    flow.data[WAITING] = waiting
    while true do
      local query, size, unread = dns.peek(stream)
      if not query and not unread then return end
      local id = query and query.id
      local fields = query and not query.qr and answer(query, flow)
      -- Again: the function may have parsed another message.
      local bytes = fields and dns.peek(stream) and writer.answer(messages.message, fields, true)
      if not bytes then
        stream:skip(query and size or unread)
      else
        if not waiting[id] then waiting.count = waiting.count + 1 end
        waiting[id] = bytes
        if waiting.count > MOST or not stream:replace(size, other_query(dns, id)) then
          flow:reset()
          return
        end
      end
    end
  end
end

--- What takes the place of the server's next message, nil where that passes; and its size.
local function change(dns, rewrite, stream, flow)
  local message, size, unread = dns.peek(stream)
  local fields = message and message.qr and rewrite(message, flow)
  local bytes = fields and dns.rewrite(dns.peek(stream), fields)
  return bytes and dns.with_length(bytes), message and size or unread
end

local function server_of(dns, rewrite)
  return function(stream, flow)
    while true do
      local head = stream:peek(4)
      if not head or #head < 4 then return end
      local high, low, id_high, id_low = byte(head, 1, 4)
      local size, id = high * 256 + low + 2, id_high * 256 + id_low
      local waiting = flow.data[WAITING]
      local bytes = waiting and waiting[id]
      if bytes then
        waiting[id], waiting.count = nil, waiting.count - 1
      elseif rewrite then
        bytes, size = change(dns, rewrite, stream, flow)
        if not size then return end
      end
      if not bytes then
        stream:skip(size)
      elseif not stream:replace(size, bytes) then
        flow:reset()
        return
      end
    end
  end
end

local function make(dns, given)
  keys.check("dns.stream()'s fields", given, names)
  for _, name in ipairs { "answer", "rewrite" } do
    if given[name] ~= nil and type(given[name]) ~= "function" then
      misuse.bad("dns.stream(): %s must be a function", name)
    end
  end
  if not given.answer and not given.rewrite then misuse.bad "dns.stream() takes answer, or rewrite, or both" end
  return {
    edit = true, peek = PEEK, port = given.port or not given.select and 53 or nil, select = given.select,
    client = given.answer and client_of(dns, given.answer), server = server_of(dns, given.rewrite),
  }
end

return { make = make }
