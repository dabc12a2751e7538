-- Sets a header in the requests or the responses of HTTP/1.x connections to these ports, or removes it: X-Forwarded-For
-- with the client's address in each request, or another one. It stands in the place of the one by that name, else
-- behind the last one. Both directions have to come to the queue:
--
--   ipq-lua --rule 'FORWARD -p tcp --dport 80' --rule 'FORWARD -p tcp --sport 80' --rule 'FORWARD -p icmp' \
--     http_header.lua
--   ipq-lua ... http_header.lua port=80,8080 name=X-Scanned value=yes unread=reset
--   ipq-lua ... http_header.lua direction=response name=Server remove=yes
--
-- direction is request, response or both. What it cannot read goes on as it is, for the rest of its connection: what is
-- not HTTP/1.x, is malformed or can be misread (RFC 9112), what follows CONNECT or a request for another protocol
-- (Upgrade), a head of more than 65,536 bytes, or than its sender says in two seconds while nothing is acknowledged
-- (some 14,000 bytes at first). So a client can avoid the header. With unread=reset such a connection is reset.
local ipq = require "ipq"
ipq.takes { port = { type = "ports", default = "80" }, name = "X-Forwarded-For", value = { type = "string" },
  remove = false, direction = "request", unread = "pass" }

local name, value, remove = ipq.args.name, ipq.args.value, ipq.args.remove
local direction, unread = ipq.args.direction, ipq.args.unread
local framing = { ["content-length"] = true, ["transfer-encoding"] = true }
assert(name:match "^[%w!#$%%&'*+.^_`|~-]+$" and not framing[name:lower()],
  "name must be a header's, as X-Forwarded-For, and none that says how long a body is")
assert(not value or not value:find "%c", "value must be one line of text")
assert(not (remove and value), "value and remove=yes cannot go together")
assert(direction == "request" or direction == "response" or direction == "both",
  "direction must be request, response or both")
assert(unread == "pass" or unread == "reset", "unread must be pass or reset")

--- A handler over heads, which read(stream) gives, and which are changed or not.
local function handler(read, is_changed)
  return function(stream, flow)
    local head = read(stream)
    while head do
      if is_changed then head.headers[name] = not remove and (value or flow.saddr) or nil end
      local done, trailers = head:skip_body()
      if not done then break end
      if is_changed and trailers then trailers.headers[name] = nil end
      head = read(stream)
    end
    if unread == "reset" and not stream.eof then flow:reset() end
  end
end

return {
  stream = {
    edit = true, port = ipq.args.port, hold = 2, peek = 65536, on_limit = unread,
    client = handler(ipq.http.request, direction ~= "response"),
    server = direction ~= "request" and handler(ipq.http.response, true) or nil,
  },
}
