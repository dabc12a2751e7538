-- Drops TLS connections to the names in a file: names=FILE.
local ipq = require "ipq"
local client_hello = ipq.tls.client_hello
local blocked = {}
for name in io.lines(ipq.args.names) do blocked[name] = true end

return function(pkt)
  local tcp = pkt.tcp
  if not tcp or tcp.dport ~= 443 then return end
  local hello = client_hello(tcp.payload)
  local name = hello and hello.sni
  if name and blocked[name] then return ipq.DROP end
end
