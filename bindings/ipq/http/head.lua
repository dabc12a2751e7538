--- A head of HTTP/1.x as a script sees it: its fields, what becomes of them, and what it says of the body behind it.
--- lib/names/http.c finds the parts; here they become text when they are asked for.
local abi = require "ipq.engine.abi"
local core = require "ipq.core"
local ffi = require "ffi"
local spelling = require "ipq.spelling"
local stream_of = require "ipq.packet.stream"
local bit = require "bit"
-- A script may overwrite globals.
local concat, error, pairs, rawget, remove = table.concat, error, pairs, rawget, table.remove
local setmetatable, tonumber, tostring, type = setmetatable, tonumber, tostring, type

-- One for the Lua state (see engine/abi.lua).
if core.http_head then return core.http_head end

local C, E = abi.C, ffi.C
local band = bit.band
local HAS_LENGTH, CODED, CHUNKED, UPGRADES = E.IPQ_HTTP_HAS_LENGTH, E.IPQ_HTTP_CODED, E.IPQ_HTTP_CHUNKED,
  E.IPQ_HTTP_UPGRADES
local FAR = 2 ^ 62

local fields_type, FIELD_SIZE = ffi.typeof "struct ipq_http_field[?]", ffi.sizeof "struct ipq_http_field"

local M = {}

-- What is in a head: its text, its fields as C has found them, and how many; what becomes of them by their number,
-- false or { name, value }; a list of those that are added; what ends its lines; the stream that it comes
-- from, and whether that has passed it; whether its body was passed; what a script sees.
local TEXT, FIELDS, COUNT, CHANGED, ADDED, ENDING, STREAM, IS_PASSED, IS_DONE, SAID = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10

---@class ipq.http.Head
local Head = {}

local function is_head(value) return type(value) == "table" and rawget(value, TEXT) ~= nil end

--- Raises, for the method of that name, where it was called of something else.
local function check_head(head, name)
  if not is_head(head) then error(("%s() is a method of a head: head:%s()"):format(name, name), 3) end
end

local function name_of(head, i)
  local field = head[FIELDS][i]
  return (head[TEXT]:sub(field.at + 1, field.at + field.name_len))
end

local function value_of(head, i)
  local field = head[FIELDS][i]
  local value = head[TEXT]:sub(field.value + 1, field.value + field.value_len)
  if field.is_folded == 0 then return value end
  return (value:gsub("[ \t]*\r?\n[ \t]*", " "):match "^ ?(.-) ?$")
end

--- The number of the next field from there on that has the name as it came; -1: there is none.
local function find(head, name, from)
  local found = C.ipq_http_find(head[TEXT], head[FIELDS], head[COUNT], from, name, #name)
  return found
end

--- All that a name has, in order, behind what is in the list.
local function values(head, name, list)
  local changed, added = head[CHANGED], head[ADDED]
  local i = find(head, name, 0)
  while i >= 0 do
    local now
    if changed then now = changed[i] end
    if now then list[#list + 1] = now[2] elseif now == nil then list[#list + 1] = value_of(head, i) end
    i = find(head, name, i + 1)
  end
  if added then
    name = name:lower()
    for k = 1, #added do if added[k][1]:lower() == name then list[#list + 1] = added[k][2] end end
  end
  return list
end

local function get(head, name)
  if type(name) ~= "string" then error("a header's name must be a string, not " .. spelling.value(name), 3) end
  if not head[CHANGED] then
    -- Nearly always there is one.
    local i = find(head, name, 0)
    if i < 0 then return nil end
    if find(head, name, i + 1) < 0 then return (value_of(head, i)) end
  end
  local list = values(head, name, {})
  if #list > 0 then return (concat(list, ", ")) end
end

local framing = { ["content-length"] = true, ["transfer-encoding"] = true }

local function check_change(head, name, value)
  if type(name) ~= "string" or not C.ipq_http_is_token(name, #name) then
    error("a header's name must be a word, as X-Forwarded-For, not " .. spelling.value(name), 4)
  end
  if framing[name:lower()] then
    error(("%s cannot be changed: the body goes on as it came"):format(name), 4)
  end
  if value ~= nil and type(value) ~= "number" and (type(value) ~= "string" or value:find "[%z\r\n]") then
    error(("the value of %s must be one line of text, a number or nil, not %s"):format(name, spelling.value(value)), 4)
  end
  if head[IS_PASSED] then
    error("the head has been passed: it is changed before anything else becomes of its stream", 4)
  end
  local stream = head[STREAM]
  if stream and rawget(stream, 1).streams.edits == 0 then
    error("a stream is edited where the script says so: edit = true in its stream = { … }", 4)
  end
end

local function change(head, name, value, is_added)
  check_change(head, name, value)
  local changed, added = head[CHANGED] or {}, head[ADDED] or {}
  head[CHANGED], head[ADDED] = changed, added
  local now = value ~= nil and { name, tostring(value) } or false
  if not is_added then
    local i = find(head, name, 0)
    while i >= 0 do
      -- The first that is still there has the new value, the others go.
      if changed[i] ~= false then changed[i], now = now, false end
      i = find(head, name, i + 1)
    end
    local lower = name:lower()
    for k = #added, 1, -1 do if added[k][1]:lower() == lower then remove(added, k) end end
  end
  if now then added[#added + 1] = now end
end

local headers_mt = { __metatable = false }

function headers_mt.__index(headers, name) return (get(rawget(headers, 1), name)) end

function headers_mt.__newindex(headers, name, value) change(rawget(headers, 1), name, value, false) end

--- Adds a field behind all others, whether there is one of that name or not.
---@param name string
---@param value string|number
function Head:add(name, value)
  check_head(self, "add")
  if value == nil then error("head:add() takes a name and a value", 2) end
  change(self, name, value, true)
end

--- All values of a name, one for each field that has it.
---@param name string
---@return string[]
function Head:all(name)
  check_head(self, "all")
  if type(name) ~= "string" then error("a header's name must be a string, not " .. spelling.value(name), 2) end
  local list = values(self, name, {})
  return list
end

--- All fields in order: for name, value in head:each() do … end.
---@return fun(): string?, string?
function Head:each()
  check_head(self, "each")
  local i, k = -1, 0
  return function()
    local changed, added = self[CHANGED], self[ADDED]
    while i < self[COUNT] - 1 do
      i = i + 1
      local now
      if changed then now = changed[i] end
      if now then return now[1], now[2] end
      if now == nil then return name_of(self, i), value_of(self, i) end
    end
    k = k + 1
    if added and added[k] then return added[k][1], added[k][2] end
  end
end

local function line_of(head, now) return now and now[1] .. ": " .. now[2] .. head[ENDING] or "" end

local function added_lines(head)
  local added, lines = head[ADDED], {}
  for k = 1, added and #added or 0 do lines[k] = line_of(head, added[k]) end
  return (concat(lines))
end

--- The head as it is now, with the empty line that ends it.
---@return string
function Head:bytes()
  check_head(self, "bytes")
  local text, changed = self[TEXT], self[CHANGED]
  if not changed then return text end
  local parts, at = {}, 0
  for i = 0, self[COUNT] - 1 do
    if changed[i] ~= nil then
      local field = self[FIELDS][i]
      parts[#parts + 1] = text:sub(at + 1, field.at)
      parts[#parts + 1] = line_of(self, changed[i])
      at = field["end"]
    end
  end
  parts[#parts + 1] = text:sub(at + 1, #text - #self[ENDING])
  parts[#parts + 1] = added_lines(self)
  parts[#parts + 1] = self[ENDING]
  return (concat(parts))
end

--- Has the stream say so. For want of room (--stream-memory) it raises, which is the handler's error.
local function replace(opened, number, direction, removed, text)
  local done, why = stream_of.change(opened, number, direction, removed, text, 1)
  if not done then error("a head cannot be changed: " .. why, 0) end
end

--- The stream goes on behind the head, as it is now.
function M.write_back(head, opened, number, direction)
  head[IS_PASSED] = true
  local list, changed, size = opened.streams, head[CHANGED], #head[TEXT]
  local at = 0
  for i = 0, changed and head[COUNT] - 1 or -1 do
    if changed[i] ~= nil then
      local field = head[FIELDS][i]
      local from, to = field.at, field["end"]
      C.ipq_stream_pass(list, number, direction, from - at)
      replace(opened, number, direction, to - from, line_of(head, changed[i]))
      at = to
    end
  end
  local lines = added_lines(head)
  if lines ~= "" then
    C.ipq_stream_pass(list, number, direction, size - #head[ENDING] - at)
    replace(opened, number, direction, 0, lines)
    at = size - #head[ENDING]
  end
  C.ipq_stream_pass(list, number, direction, size - at)
end

--- Whom a request asks: the name or address, without a port.
local function host_of(head)
  local target = head.target
  if not target then return nil end
  local said = head.method == "CONNECT" and target or target:match "^%a[%w+.-]*://([^/?#]*)" or get(head, "Host")
  if not said then return nil end
  said = said:match "[^@]*$":lower()
  local host = said:match "^%[(.*)%]" or said:match "^[^:]*"
  if host ~= "" then return host end
end

-- What a head may have; what of it is made when it is asked for.
local known = { headers = true, host = true, method = true, target = true, version = true, status = true, reason = true,
  body_length = true, is_chunked = true, is_tunnel = true }
for name in pairs(Head) do known[name] = true end
known.skip_body = true

local head_mt = { __metatable = false }

function head_mt.__index(head, key)
  local said = rawget(head, SAID)[key]
  if said ~= nil then return said end
  local method = Head[key]
  if method then return method end
  if key == "headers" then
    local headers = setmetatable({ head }, headers_mt)
    head[SAID].headers = headers
    return headers
  end
  if key == "host" then return (host_of(head)) end
  if not known[key] then
    error(("a head has no '%s'%s"):format(tostring(key), spelling.hint(key, known)), 2)
  end
end

function head_mt.__newindex(_, key)
  error(("a head's field '%s' cannot be assigned; head.headers[name] = value changes its headers")
    :format(tostring(key)), 2)
end

--- A head for a script. found is C's, of these bytes.
function M.new(found, bytes, size, stream)
  local count = found.count
  local text, fields = ffi.string(bytes, size), fields_type(count)
  ffi.copy(fields, found.fields, count * FIELD_SIZE)
  return (setmetatable({ text, fields, count, false, false, found.end_len == 1 and "\n" or "\r\n", stream, false, false,
    {} }, head_mt))
end

local function set_version(head, found) head[SAID].version = "1." .. found.minor end

local function set_body(head, found, has_none)
  local is_chunked = not has_none and band(found.bits, CHUNKED) ~= 0
  head[SAID].is_chunked = is_chunked
  if has_none then
    head[SAID].body_length = 0
  elseif band(found.bits, HAS_LENGTH) ~= 0 then
    head[SAID].body_length = tonumber(found.length)
  end
end

--- Of a request; the same of a response, to a request of that method (RFC 9112 section 6.3).
function M.new_request(found, bytes, size, stream)
  local head = M.new(found, bytes, size, stream)
  local text = head[TEXT]
  head[SAID].method = text:sub(1, found.first)
  head[SAID].target = text:sub(found.target + 1, found.target + found.target_len)
  set_version(head, found)
  set_body(head, found, band(found.bits, HAS_LENGTH + CODED) == 0)
  head[SAID].is_tunnel = band(found.bits, UPGRADES) ~= 0 or head.method == "CONNECT"
  return head
end

function M.new_response(found, bytes, size, stream, method)
  local head = M.new(found, bytes, size, stream)
  local status = found.status
  head[SAID].status = status
  head[SAID].reason = head[TEXT]:sub(found.first + 1, found.first + found.text_len)
  set_version(head, found)
  local is_tunnel = status == 101 or method == "CONNECT" and status >= 200 and status < 300
  head[SAID].is_tunnel = is_tunnel
  if is_tunnel then
    head[SAID].is_chunked = false
  else
    set_body(head, found, method == "HEAD" or status < 200 or status == 204 or status == 304)
  end
  return head
end

-- Bodies

--- Passes chunks: pass_chunks(opened, number, direction, stream) gives true and the trailers, a head, or nil and why.
--- Set by ipq/http.lua.
M.pass_chunks = nil

--- Passes the body, whatever says how long it is: a length, chunks, or the end of the connection. It waits for chunks,
--- and for nothing else.
---@return boolean? done nil where it is malformed
---@return ipq.http.Head|string? trailers what follows the chunks of one; or why it is malformed
function Head:skip_body()
  check_head(self, "skip_body")
  local stream = self[STREAM]
  if not stream then error("head:skip_body() is for a head that came from a stream", 2) end
  if self[IS_DONE] or self.is_chunked == nil then error("head:skip_body(): this body has been passed", 2) end
  local opened, number, direction = stream_of.own(stream, "head:skip_body", 3)
  self[IS_DONE] = true
  if self.is_chunked then
    local done, trailers = M.pass_chunks(opened, number, direction, stream)
    return done, trailers
  end
  C.ipq_stream_pass(opened.streams, number, direction, self.body_length or FAR)
  return true
end

core.http_head = M
return M
