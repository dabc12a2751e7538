-- Drops TLS connections to the names in a file: names=FILE.
local ipq = require "ipq"
local blocked = {}
for name in io.lines(ipq.args.names) do blocked[name] = true end

--- The server's name in a ClientHello (RFC 8446 section 4.1.2, RFC 6066 section 3), nil where there is none.
local function server_name(p)
  local size = #p
  if size < 44 or p:u8(0) ~= 22 or p:u8(5) ~= 1 then return nil end
  local at = 44 + p:u8(43)
  if at + 2 > size then return nil end
  at = at + 2 + p:u16(at)
  if at + 1 > size then return nil end
  at = at + 1 + p:u8(at)
  if at + 2 > size then return nil end
  at = at + 2
  while at + 4 <= size do
    local kind, length = p:u16(at), p:u16(at + 2)
    if kind == 0 and at + 9 <= size then
      local n = p:u16(at + 7)
      return at + 9 + n <= size and p:string(at + 9, n) or nil
    end
    at = at + 4 + length
  end
end

return function(pkt)
  local tcp = pkt.tcp
  if not tcp or tcp.dport ~= 443 then return end
  local payload = tcp.payload
  if #payload == 0 then return end
  local name = server_name(payload)
  if name and blocked[name] then return ipq.DROP end
end
