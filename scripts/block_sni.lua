-- Blocks TLS and QUIC by the names of servers that clients ask for: those of a list, and all below them. TLS is reset
-- at both ends, QUIC is dropped, so that browsers fall back to TLS. Both directions of TCP have to come to the queue:
--
--   ipq-lua --rule 'FORWARD -p tcp --dport 443' --rule 'FORWARD -p tcp --sport 443' \
--     --rule 'FORWARD -p udp --dport 443' block_sni.lua names=example.com,example.org
--   ipq-lua ... block_sni.lua file=/etc/names.txt port=443,8443 unread=reset
--
-- A file is a list of names, of hosts, or a blocker's: see ipq.domainset(3lua). The log tells what is
-- blocked, what cannot be read, and who hides the true name (ECH), of which the outer name counts. With unread=reset
-- what cannot be read is blocked, too.
local ipq = require "ipq"
ipq.takes { names = "", file = { type = "file" }, port = { type = "ports", default = "443" }, unread = "pass" }

-- What QUIC says behind its hello, and what is none.
local passes = { more = true, ["not QUIC"] = true, ["no Initial packet"] = true }

local unread, ports = ipq.args.unread, {}
assert(unread == "pass" or unread == "reset", "unread must be pass or reset")
for _, port in ipairs(ipq.args.port) do ports[port] = true end

local names = {}
for name in ipq.args.names:gmatch "[^,]+" do names[#names + 1] = name end
assert(ipq.args.file or #names > 0, "which names are blocked? names=example.com,example.org or file=FILE")
local blocked = ipq.domainset(ipq.args.file or names)

local function say(from, words, what) ipq.log.info(from.saddr .. " " .. words:format(what)) end

--- Whether what a client asks for is blocked. from has its address.
local function is_blocked(from, hello, why)
  local name = hello and hello.sni
  local is_listed = name and blocked:has(name)
  if hello and hello.ech then say(from, "hides a name behind %s (ECH)", name or "none") end
  why = why or hello.sni_error
  if is_listed then say(from, "asks for %s: blocked", name) elseif why then say(from, "cannot be read: %s", why) end
  return is_listed or why and unread == "reset"
end

return {
  send = true,
  stream = { port = ipq.args.port, peek = 70000, hold = 2, on_limit = unread, client = function(stream, flow)
    if is_blocked(flow, ipq.tls.client_hello(stream)) then flow:reset() else flow:bypass() end
  end },
  filter = function(pkt)
    if pkt.protocol ~= 17 or not ports[pkt.dport] then return end
    local hello, why = ipq.quic.client_hello(pkt)
    if not passes[why] and is_blocked(pkt, hello, why) then return ipq.DROP end
  end,
}
