---@meta ipq.http
-- What the module ipq.http has, for the Lua language server: see ipq.lua beside this folder.

---The head of an HTTP/1.x message. Of a stream it is held until the handler does something else with its stream, or
---returns; until then its headers may be changed.
---@class ipq.http.Head
---@field headers table<string, string|number|nil> by name in whatever case: the value, or all of them with ", " between; assigned, it takes the place of all by that name, and nil removes them
---@field version string "1.1" or "1.0"
---@field method string? of a request
---@field target string? of a request, as it came
---@field host string? who is asked, without port and in small letters: by an absolute target, else by Host
---@field status integer? of a response
---@field reason string? of a response, perhaps ""
---@field body_length integer? bytes of the body; nil where it comes in chunks, or ends with the connection
---@field is_chunked boolean whether the body comes in chunks
---@field is_tunnel boolean whether what follows may be, or of a response is, another protocol (CONNECT, Upgrade)
local Head = {}

---Passes the body, of whatever kind, and leaves the handler behind it.
---@return boolean? done nil where it is malformed
---@return ipq.http.Head|string|nil trailers the fields behind the chunks of one; or why it is malformed
function Head:skip_body() end

---Adds a field behind all others.
---@param name string
---@param value string|number
function Head:add(name, value) end

---All values of a name.
---@param name string
---@return string[]
function Head:all(name) end

---All fields in order: for name, value in head:each() do … end.
---@return fun(): string?, string?
function Head:each() end

---The head as it is now, with the empty line that ends it.
---@return string
function Head:bytes() end

---@class ipq.http
local http = {}

---The head of the next request: of a stream in stream.client, for which it waits, or at the beginning of bytes. nil alone
---at the end of a stream, else with why: "more" where bytes end before the head does, or the reason.
---@param source ipq.Stream|ipq.Buffer|string
---@return ipq.http.Head? head
---@return string? why
function http.request(source) end

---The head of the next response, in stream.server, or at the beginning of bytes.
---@param source ipq.Stream|ipq.Buffer|string
---@param method? string of the request, where source is bytes; of a stream http.request() has read it
---@return ipq.http.Head? head
---@return string? why
function http.response(source, method) end

return http
