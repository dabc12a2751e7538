-- Sets a header in every request of HTTP/1.x connections to these ports: X-Forwarded-For with the client's address, or
-- another name with another value. It stands in the place of the one that the client has sent by that name, else behind
-- the last one. Both directions have to come to the queue:
--
--   ipq-lua --rule 'FORWARD -p tcp --dport 80' --rule 'FORWARD -p tcp --sport 80' --rule 'FORWARD -p icmp' \
--     http_header.lua
--   ipq-lua ... http_header.lua port=80,8080 name=X-Scanned value=yes unread=reset
--
-- What it cannot read goes on as it is, for the rest of its connection: what is not HTTP/1.x or malformed, what follows
-- CONNECT or a request for another protocol (Upgrade), a line longer than 8,192 bytes or that takes longer than two
-- seconds. So a client can avoid the header. With unread=reset such a connection is reset.
local ipq = require "ipq"
ipq.takes { port = "80", name = "X-Forwarded-For", value = { type = "string" }, unread = "pass" }

local TOKEN = "[%w!#$%%&'*+.^_`|~-]+" -- RFC 9110 section 5.6.2
local REQUEST, FIELD = "^(" .. TOKEN .. ") %S+ HTTP/1%.%d$", "^(" .. TOKEN .. "):[ \t]*(.-)[ \t]*$"
local DIGITS_MOST, HEX_MOST = 15, 12 -- what a number has exactly

local name, value, unread = ipq.args.name, ipq.args.value, ipq.args.unread
assert(name:match("^" .. TOKEN .. "$"), "name must be a header's, as X-Forwarded-For")
assert(not value or not value:find "%c", "value must be one line of text")
assert(unread == "pass" or unread == "reset", "unread must be pass or reset")

local ports = {}
for word in (ipq.args.port .. ","):gmatch "([^,]*)," do
  local port = tonumber(word)
  assert(port and port >= 1 and port <= 65535 and port % 1 == 0, "port must be numbers from 1 to 65535, as 80,8080")
  ports[#ports + 1] = port
end

--- The next line, which is held: its text, what ends it, and the bytes of both. nil where it is none of HTTP's.
local function peek_text(stream)
  local line = stream:peek_line()
  if not line then return nil end
  local text, ending = line:match "^([^\r\n%z]*)(\r?\n)$"
  return text, ending, #line
end

--- Takes note of what a field says of the body. False where that cannot be.
local function note(said, field, text)
  if field == "content-length" then
    if not text:match "^%d+$" or #text > DIGITS_MOST or (said.length or text) ~= text then return false end
    said.length = text
  elseif field == "transfer-encoding" then
    said.coding = (said.coding or "") .. "," .. text:lower()
  elseif field == "upgrade" then
    said.is_upgrade = true
  end
  return true
end

--- Passes fields, up to the empty line; header, where it is given, is set among them. Gives what they say of the body;
--- nil where they are malformed, or there is no room for another edit.
local function pass_fields(stream, header)
  local said = {}
  while true do
    local text, ending, size = peek_text(stream)
    if not text then return nil end
    if text == "" then
      if header and not stream:insert(header .. ending) then return nil end
      stream:skip(size)
      return said
    end
    local field, content = text:match(FIELD)
    if not field or not note(said, field:lower(), content) then return nil end
    if field:lower() ~= name:lower() then
      stream:skip(size)
    elseif not stream:replace(size, header and header .. ending or "") then
      return nil
    else
      header = nil
    end
  end
end

--- Passes a body in chunks, and the fields behind it (RFC 9112 section 7.1). False where it is malformed.
local function pass_chunks(stream)
  while true do
    local text, _, size = peek_text(stream)
    local digits = text and (text .. ";"):match "^(%x+)[ \t]*;"
    if not digits or #digits > HEX_MOST then return false end
    local length = tonumber(digits, 16)
    stream:skip(size + length)
    if length == 0 then return pass_fields(stream) ~= nil end
    text, _, size = peek_text(stream)
    if text ~= "" then return false end
    stream:skip(size)
  end
end

--- RFC 9112 section 6.3. A body of which two lengths are told is one that somebody wants to be misread.
local function pass_body(stream, said)
  if not said.coding then
    stream:skip(tonumber(said.length or 0))
    return true
  end
  if said.length or not said.coding:match "[, \t]chunked$" then return false end
  return pass_chunks(stream)
end

--- Passes a request. Gives whether another one may follow.
local function pass_request(stream, header)
  local first = stream:peek(1)
  if not first or not first:match "[\r\n%w]" then return false end
  local text, _, size = peek_text(stream)
  -- Some clients send an empty line behind a request. (RFC 9112 section 2.2)
  local method = text and text ~= "" and text:match(REQUEST)
  if text ~= "" and not method then return false end
  stream:skip(size)
  if not method then return true end
  local said = pass_fields(stream, header)
  return said and method ~= "CONNECT" and not said.is_upgrade and pass_body(stream, said)
end

return {
  stream = {
    edit = true,
    port = ports,
    hold = 2,
    on_limit = unread,
    client = function(stream, flow)
      local header = ("%s: %s"):format(name, value or flow.saddr)
      while pass_request(stream, header) do end
      if unread == "reset" and not stream.eof then flow:reset() end
    end,
  },
}
