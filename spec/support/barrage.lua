-- Hostile packets at a filter, by replay or live, and what must come of it. Run short by the specs, and long by
-- `make hostile`.
local capture = require "spec.support.capture"
local cjson = require "cjson"
local hostile = require "spec.support.hostile"
local netns = require "spec.support.netns"

local M = {}

-- What makes a filter do as much as it can. %s is a folder.
local arguments = {
  ["scripts/anonymise.lua"] = "key=barrage",
  ["scripts/block_sni.lua"] = "names=a.b port=23,53,80,443,1024,5353 unread=reset",
  ["scripts/blocklist.lua"] = "file=%s/networks",
  ["scripts/bypass_flow.lua"] = "bytes=60 deny=hello",
  ["scripts/clamp_mss.lua"] = "mss=500",
  ["scripts/delay.lua"] = "ms=1 jitter=1",
  ["scripts/dns_rewrite.lua"] = "name=example.org A=192.0.2.1 AAAA=2001:db8::1",
  ["scripts/dns_sinkhole.lua"] = "list=%s/names answer=zero",
  ["scripts/drop_icmp.lua"] = "max=60 verbose=yes",
  ["scripts/flow_log.lua"] = "http=80,443,5353",
  ["scripts/http_header.lua"] = "port=23,53,80,443,1024,5353",
  ["scripts/impair.lua"] = "delay=1ms jitter=1ms loss=1%% duplicate=20%% corrupt=20%% reorder=20%% rate=1gbit seed=1",
  ["scripts/nat.lua"] = "inside=0.0.0.0/1 outside=128.0.0.0/1 inside6=2000::/3 outside6=e000::/3",
  ["scripts/port_knock.lua"] = "knock=23,53 port=80,443",
  ["scripts/rate_limit.lua"] = "rate=10 prefix4=13 prefix6=47",
  ["scripts/redirect_port.lua"] = "from=53 to=5353",
  ["scripts/reject_port.lua"] = "port=1,23,53,80,443,1024,5353",
  ["scripts/set_ttl.lua"] = "ttl=9",
  ["scripts/transparent_tarpit.lua"] = "used=22",
}
local NETWORKS = "0.0.0.0/1\n8000::/1\n"
local NAMES = "example.org\nexample\n"

-- Why a packet that one of these filters changes may be refused; the others raise nothing.
local CANNOT_BE = {
  "packet changed: the IP header or the transport header is malformed or cut off",
  "packet changed: the checksum of a fragment covers bytes of other fragments: change whole packets, which "
    .. "connection tracking puts together",
  "packet changed: the packet is not of the IP version that it came with",
}
local refusals = {
  ["scripts/anonymise.lua"] = CANNOT_BE,
  ["scripts/clamp_mss.lua"] = CANNOT_BE, ["scripts/dns_rewrite.lua"] = CANNOT_BE,
  ["scripts/nat.lua"] = CANNOT_BE, ["scripts/redirect_port.lua"] = CANNOT_BE,
  ["scripts/set_ttl.lua"] = CANNOT_BE,
}

--- All bundled filters, and one that reads whatever there is.
function M.filters()
  local list = { "spec/data/all_fields.lua" }
  local pipe = io.popen "ls scripts/*.lua"
  for path in pipe:lines() do list[#list + 1] = path end
  pipe:close()
  return list
end

local function is_allowed(path, why)
  for _, allowed in ipairs(refusals[path] or {}) do
    if why == allowed then return true end
  end
end

local function command_line(path, folder) return path .. " " .. (arguments[path] or ""):format(folder) end

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

-- Replay

local MAC = "\2\0\0\0\0\1\2\0\0\0\0\2"

--- As raw IP, or as Ethernet frames, which may say another version than the packet has. A millisecond between two.
local function frames_of(list, link)
  local frames, types = {}, { "\8\0", "\134\221" }
  for i, packet in ipairs(list) do
    local before = link == capture.ETHERNET and MAC .. types[i % 2 + 1] or ""
    frames[i] = { before .. packet[2], sec = 1700000000 + math.floor(i / 1000), sub = i % 1000 * 1000 }
  end
  return frames
end

--- Writes hostile packets as a capture.
function M.write(path, seed, count, link)
  link = link or capture.RAW
  capture.write(path, frames_of(hostile.packets(seed, count), link), { link = link })
end

--- Runs a filter over a capture. Gives its records (and what it prints), the capture that it wrote, what it says at
--- its end, and its exit status.
local function run(path, input)
  local folder = netns.shell "mktemp -d":match "%S+"
  write(folder .. "/networks", NETWORKS)
  write(folder .. "/names", NAMES)
  local output, status = netns.shell(
    -- Frames without a byte in them, too, are written back.
    ("LD_PRELOAD= ASAN_OPTIONS=detect_leaks=1 timeout 300 %s --json --on-error %s -r %s -w %s/out.pcap %s 2> %s/err")
      :format(netns.program, path:match "accept" and "accept" or "drop", input, folder, command_line(path, folder),
        folder))
  local written, told = read(folder .. "/out.pcap"), read(folder .. "/err")
  netns.shell("rm -rf " .. folder)
  return output, written, told, status
end

local function is_record(line) return line:sub(1, 10) == '{"number":' end

--- What came of each packet, as text: its record, and what was written.
function M.outcome(path, input)
  local output, written = run(path, input)
  local records = {}
  for line in output:gmatch "[^\n]+" do
    if is_record(line) then records[#records + 1] = line end
  end
  return table.concat(records, "\n") .. written
end

--- A filter over a capture. Gives what is wrong with what came of it; nil where nothing is.
function M.replay(path, input)
  local output, written, told, status = run(path, input)
  if status ~= 0 and status ~= 2 then return ("exit %d\n%s"):format(status, told) end
  if path:match "accept" and written ~= read(input) then return "the output is not the input" end

  local packets, errors = 0, 0
  for line in output:gmatch "[^\n]+" do
    local record = is_record(line) and cjson.decode(line)
    if record and record.sent then record = nil end -- what the filter has sent for a packet
    if record then packets = packets + 1 end
    if record and record.error then
      if not is_allowed(path, record.error) then return line end
      errors = errors + 1
    end
  end
  local judged, counted = told:match "packets judged%s+(%d+)\n", told:match "errors%s+(%d+)\n"
  if packets == 0 or packets ~= tonumber(judged) or errors ~= tonumber(counted) then
    return ("%d packets, %d errors in the records; then\n%s"):format(packets, errors, told)
  end
  if (status == 2) ~= (errors > 0) then return ("exit %d, with %d errors"):format(status, errors) end
end

-- Live

-- By a link, where the kernel looks at headers before its hooks, and by raw sockets, where it hardly does. What comes
-- of it (the kernel's own answers) is queued as well. Then nothing more is, and what waits is judged.
local LIVE = [[
  printf '%s' > "$DIR/networks"
  printf '%s' > "$DIR/names"
  host peer
  ip link add v0 address 02:00:00:00:00:01 type veth peer name eth0 address 02:00:00:00:00:02 netns $host_peer
  ip addr add 10.9.0.1/24 dev v0
  ip addr add fd09::1/64 dev v0
  ip link set v0 up
  on peer ip addr add 10.9.0.2/24 dev eth0
  on peer ip link set eth0 up
  ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev v0
  ip neigh add fd09::2 lladdr 02:00:00:00:00:02 dev v0
  all() {
    for command in rule rule6; do
      "$command" -t raw "$1" PREROUTING -i v0 $2
      "$command" -t raw "$1" OUTPUT -o v0 $2
    done
  }
  run a --queue-maxlen 100000 %s
  all -A '-j NFQUEUE'
  inject() { luajit spec/support/inject.lua "$@" %s || fail "inject $*"; }
  on peer luajit spec/support/inject.lua link eth0 02:00:00:00:00:01 %s || fail inject
  inject raw 10.9.0.2
  inject raw fd09::2
  all -I '-j ACCEPT'
  wait_for waiting 0
  for command in iptables-legacy ip6tables-legacy; do
    for chain in PREROUTING OUTPUT; do
      "$command" -t raw -nvxL $chain | awk -v name="$command $chain" '$3 == "NFQUEUE" { print "kernel", name, $1 }'
    done
  done
  awk '{ print "queue", $3, $6, $7, $8 }' /proc/net/netfilter/nfnetlink_queue
  stop a > "$DIR/log"
  grep '^exit\|^ipq-lua: ' "$DIR/log"]]

--- What is wrong with the program's last line and the rest of its log.
local function log_lacks(path, output, queued)
  local packets, accepted, dropped, others, errors, lost = output:match(
    "queue 0: (%d+) packets, (%d+) accepted, (%d+) dropped, (%d+) other verdicts, (%d+) errors, (%d+) lost unseen\n")
  if not packets then return "no last line" end
  if tonumber(packets) ~= queued then return packets .. " packets judged, " .. queued .. " queued" end
  if accepted + dropped + others ~= queued then return "not as many verdicts as packets" end
  if lost ~= "0" then return "packets lost" end
  if errors ~= "0" and not refusals[path] then return errors .. " errors" end
  -- Of the errors a second's first ten are written.
  for line in output:gmatch "ipq%-lua: ([^\n]+)" do
    local why = line:match "^error: packet %d+ of queue 0: (.*)"
    local is_told = why and is_allowed(path, why)
      or refusals[path] and line:match "^error: %d+ more filter errors were not written$"
      or line:match "^queue 0: waiting for packets" or line:match "^queue 0: %d+ packets, "
      or line:match "^queue 0: follows at most %d+ flows, " or line:match "^queue 0: streams: "
      or line:match "^queue 0: %d+ packets sent, " or line:match "packets that the filter sent did not leave: "
      or line:match "^warning: %d+ packets were dropped: " -- the anonymiser counts what it drops
      or line:match "^%S+ cannot be read: " -- hellos
      or line:match "^queue 0: no packet has come within " -- the first comes late on a busy machine
    if not is_told then return line end
  end
end

local ROADS = { "iptables%-legacy PREROUTING", "ip6tables%-legacy PREROUTING", "iptables%-legacy OUTPUT",
  "ip6tables%-legacy OUTPUT" }

--- A filter before the packets of a capture of raw IP, in a namespace. Gives what is wrong with what came of it, nil
--- where nothing is; and how many packets the kernel queued.
function M.live(path, input)
  local output = netns.run(LIVE:format((NETWORKS:gsub("\n", "\\n")), (NAMES:gsub("\n", "\\n")),
    command_line(path, "$DIR"), input, input), 300)
  local queued = 0
  for _, road in ipairs(ROADS) do
    local count = tonumber(output:match("kernel " .. road .. " (%d+)\n"))
    if not count or count < 1000 then return "hardly a packet by " .. road .. "\n" .. output end
    queued = queued + count
  end
  local expected = ("queue 0 0 0 %d\nexit 0\n"):format(queued)
  if not output:find(expected, 1, true) then return expected .. "is not in\n" .. output, queued end
  local lacks = log_lacks(path, output, queued)
  return lacks and lacks .. "\n" .. output, queued
end

return M
