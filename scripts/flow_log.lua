-- Writes a line of JSON for each connection at its end: addresses, ports, packets, bytes, duration, state, why it
-- ended, and the name that was asked for, where its first packets tell one.
--
--   iptables -A FORWARD -j NFQUEUE --queue-num 0 --queue-bypass
--   ipq-lua --fail-open flow_log.lua
--   ipq-lua -r capture.pcap flow_log.lua
--
-- name is the host of an HTTP request to one of the ports http=80,8080. A name is lost where a worker is killed between
-- it and the end; the counts are not.
local ipq = require "ipq"
ipq.takes { http = "80" }

local TCP, LOOKED, HEAD_MOST = 6, 1, 16384

--- What reads a name, by protocol and port of the server: of the bytes so far it gives the name, or nil and "more".
local readers = { [TCP] = {}, [17] = {} }

local function host_of(bytes)
  local head, why = ipq.http.request(bytes)
  return head and head.host, why
end

for word in (ipq.args.http .. ","):gmatch "([^,]*)," do
  local port = tonumber(word)
  assert(port and port >= 1 and port <= 65535 and port % 1 == 0, "http must be ports from 1 to 65535, as 80,8080")
  readers[TCP][port] = host_of
end

local function look(flow, read, payload)
  local data = flow.data
  local bytes = (data.bytes or "") .. payload:string()
  local name, why = read(bytes)
  data.name, data.bytes = name, nil
  if why == "more" and #bytes < HEAD_MOST then data.bytes = bytes else flow.looked = LOOKED end
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
    if not read then flow.looked = LOOKED elseif payload and #payload > 0 then look(flow, read, payload) end
  end,
}
