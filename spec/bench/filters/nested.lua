-- Small functions of the script's own that call each other at their ends.
local ipq = require "ipq"
local function is_port(tcp, port) return tcp.dport == port end
local function is_telnet(tcp) return is_port(tcp, 23) end
local function is_bad(tcp) return is_telnet(tcp) end
local function check_flags(pkt, tcp)
  if tcp.syn and tcp.fin then return ipq.DROP end
  if is_bad(tcp) then return ipq.DROP end
  return nil, pkt
end
local function check_tcp(pkt) return check_flags(pkt, pkt.tcp) end
local function check_udp(pkt) return pkt.udp.length == 1 and ipq.DROP or nil end
local function check(pkt)
  if pkt.tcp then return (check_tcp(pkt)) end
  if pkt.udp then return check_udp(pkt) end
end
return function(pkt) return check(pkt) end
