-- Writes a line of JSON for each connection at its end: addresses, ports, packets, bytes, duration, state, why it
-- ended, and the name that was asked for, where its first packets tell one.
--
--   iptables -A FORWARD -j NFQUEUE --queue-num 0 --queue-bypass
--   ipq-lua --fail-open flow_log.lua
--   ipq-lua -r capture.pcap flow_log.lua
--
-- name is the host of an HTTP request, the server's name of TLS or of QUIC, or what DNS is asked for, by the ports of
-- http=80,8080 tls=443 quic=443 dns=53. Where a worker is killed names are lost, counts are not.
local ipq = require "ipq"
ipq.takes { http = { type = "ports", default = "80" }, tls = { type = "ports", default = "443" },
  quic = { type = "ports", default = "443" }, dns = { type = "ports", default = "53" } }

local TCP, UDP, LOOKED, BYTES_MOST = 6, 17, 1, 65536

local function field(name, found, why) return found and found[name], why end

-- Each gives a name, of what a client has said so far or of its packet, or nil and "more".
local kinds = {
  http = { TCP, function(bytes) return field("host", ipq.http.request(bytes)) end },
  tls = { TCP, function(bytes) return field("sni", ipq.tls.client_hello(bytes)) end },
  quic = { UDP, function(_, pkt) return field("sni", ipq.quic.client_hello(pkt)) end },
  dns = { UDP, function(bytes) return field("name", ipq.dns.parse(bytes)) end },
}
local readers = { [TCP] = {}, [UDP] = {} } -- by the server's port
for argument, kind in pairs(kinds) do
  for _, port in ipairs(ipq.args[argument]) do readers[kind[1]][port] = kind[2] end
end

local function look(flow, read, payload, pkt)
  local data = flow.data
  local bytes = (data.bytes or "") .. payload:string()
  local name, why = read(bytes, pkt)
  data.name, data.bytes = name, nil
  if why == "more" and #bytes < BYTES_MOST then data.bytes = bytes else flow.looked = LOOKED end
end

return {
  queue = { range = 2048 },
  flow = {
    fields = { "looked" },
    stop = function(flow, reason)
      ipq.event { saddr = flow.saddr, daddr = flow.daddr, sport = flow.sport, dport = flow.dport,
        protocol = flow.protocol, original = flow.original, reply = flow.reply, first = flow.first,
        duration = flow.last - flow.first, state = flow.state, reason = reason, name = flow.data.name }
    end,
  },
  filter = function(pkt)
    local flow = pkt.flow
    if not flow or flow.looked == LOOKED or flow.direction ~= "original" then return end
    local by_port = readers[flow.protocol]
    local read = by_port and by_port[flow.dport]
    local payload = read and (pkt.tcp or pkt.udp or pkt).payload
    if not read then flow.looked = LOOKED elseif payload and #payload > 0 then look(flow, read, payload, pkt) end
  end,
}
