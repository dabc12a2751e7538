-- Opens a port for an address that has knocked: sent SYNs to some ports in their order. Who has knocked is kept in
-- shared tables, which killed workers, reloads and USR2 leave alone, and a restart where systemd keeps descriptors.
--
--   iptables -A INPUT -p tcp --syn -j NFQUEUE --queue-num 0
--   ipq-lua port_knock.lua knock=7000,8000,9000 port=22
--   ipq-lua port_knock.lua knock=7000,8000,9000 port=22,2222 within=5 seconds=60
--
-- Each knock comes within so many seconds (10) of the one before, and the ports are open for so many (3600);
-- connections that have begun go on. A SYN to another port begins anew, so that who scans does not get in. Who listens
-- to the network sees the knocks: they are no secret.
local ipq = require "ipq"
ipq.takes { knock = { type = "ports", required = true }, port = { type = "ports", default = "22" }, within = 10,
  seconds = 3600, entries = 10000 }

local args = ipq.args
local function set_of(list)
  local set = {}
  for _, port in ipairs(list) do set[port] = true end
  return set
end
local knocks, is_knock, guarded = args.knock, set_of(args.knock), set_of(args.port)
assert(#knocks >= 2, "knock must be two ports or more")
for i, port in ipairs(knocks) do
  assert(not guarded[port], "a port that is opened cannot be knocked at: " .. port)
  assert(port ~= knocks[i - 1], "knock must not have a port twice in a row: " .. port)
end
assert(args.within > 0 and args.seconds > 0, "within and seconds must be above 0")
assert(args.entries >= 1 and args.entries % 1 == 0, "entries must be a whole number from 1 up")

local heard = ipq.shared("port_knock.heard", { entries = args.entries, ttl = args.within })
local opened = ipq.shared("port_knock.opened", { entries = args.entries, ttl = args.seconds })

--- How many of the knocks there are now; at the last one the ports are open.
local function hear(pkt, port)
  local count = heard:get_saddr(pkt) or 0
  if port == knocks[count] then return end -- a SYN that is sent again
  count = port == knocks[count + 1] and count + 1 or port == knocks[1] and 1 or 0
  heard:set_saddr(pkt, count > 0 and count < #knocks and count or nil)
  if count < #knocks then return end
  opened:set_saddr(pkt, true)
  ipq.log.info("%s has knocked", pkt.saddr)
end

return {
  queue = { range = 128 },
  filter = function(pkt)
    local tcp = pkt.tcp
    if not tcp or not tcp.syn or tcp.ack then return end
    local port = tcp.dport
    if guarded[port] then return not opened:get_saddr(pkt) and ipq.DROP or nil end
    hear(pkt, port)
    if is_knock[port] then return ipq.DROP end
  end,
}
