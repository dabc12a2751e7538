-- What cannot be sent, or not as it is: never an error of the filter's, never a packet that waits.
local netns = require "spec.support.netns"

-- Each echo request to 127.0.0.1 sends the next one. { name, packet, whether ipq.send() takes it }
local script = [[
  router
  ip route add prohibit 198.51.100.1
  ip route add blackhole 198.51.100.2
  ip link add d0 type veth peer name d1
  ip addr add 10.3.0.1/24 dev d0
  for one in d0 d1; do ip link set $one up; done
  wait_for is_up ip link show d0
  ip link set d0 down
  ip route add 10.2.0.2/32 dev to_b mtu 1300
  rule -A OUTPUT -d 10.2.0.3 -j DROP
  rule -A OUTPUT -d 10.2.0.4 -j REJECT
  rule -A OUTPUT -p icmp -d 127.0.0.1 --icmp-type echo-request -j NFQUEUE --queue-num 0
  on a ping -c 1 -W $REPLY 10.1.0.1 > /dev/null
  tc qdisc add dev to_a root tbf rate 8kbit burst 1500 limit 1500
  filter refused --metrics "$DIR/metrics" <<'FILTER'
local ipq = require "ipq"
local function v4(to, len, more)
  local fields = { daddr = to, dport = 9, sport = 4000, payload = ("x"):rep(len) }
  for name, value in pairs(more or {}) do fields[name] = value end
  return assert(ipq.build.udp(fields)):bytes()
end
local function v6(to) return assert(ipq.build.udp { saddr = "fd02::1", daddr = to, sport = 4000, dport = 9 }) end
local largest = "\69\0\255\255" .. v4("10.2.0.2", 65503):sub(5) .. "more"
local all = {
  { "empty", "" }, { "text", "hello" }, { "half", v4("10.2.0.2", 100):sub(1, 60) },
  { "more", v4("10.2.0.2", 10) .. "x" },
  { "65536 bytes", largest .. "x" }, { "a million bytes", ("E"):rep(1e6) },
  { "65535 bytes", largest }, { "no neighbour", v4("10.2.0.77", 1) }, { "IPv6", v6 "fd02::2" },
  { "no route", v4("192.0.2.1", 1) }, { "multicast", v4("224.0.0.1", 1) }, { "everybody", v4("255.255.255.255", 1) },
  { "blackhole", v4("198.51.100.2", 1) }, { "link down", v4("10.3.0.2", 1) }, { "no IPv6 route", v6 "2001:db8::1" },
  { "an IPv4 address in IPv6", v6 "::ffff:10.2.0.2" },
  { "broadcast", v4("10.2.0.255", 1) }, { "prohibited", v4("198.51.100.1", 1) }, { "dropped", v4("10.2.0.3", 1) },
  { "rejected", v4("10.2.0.4", 1) },
  { "DF", v4("10.2.0.2", 1400, { df = true }) }, { "no DF", v4("10.2.0.2", 1400, { df = false }) },
}
for n = 1, 8 do all[#all + 1] = { "full " .. n, v4("10.1.0.2", 1000) } end
local n = 0
return { send = true, filter = function()
  n = n + 1
  print("said", all[n][1], ipq.send(all[n][2]))
end }
FILTER
  pings 30 127.0.0.1
  stop refused
  grep ^ipq_ "$DIR/metrics" | grep sent
]]

netns.describe("What cannot be sent", function()
  local output
  lazy_setup(function() output = netns.run(script) end)

  local function counted(reason) return tonumber(output:match('reason="' .. reason .. '"[^\n]* (%d+)\n')) end

  it("blocks no packet, and raises nowhere", function()
    assert.matches("30 received", output)
    assert.matches("queue 0: 30 packets, 30 accepted, 0 dropped, 0 other verdicts, 0 errors", output)
  end)

  it("is nil and why where it is no packet, or too large for any", function()
    for _, name in ipairs { "empty", "text", "half", "more" } do
      assert.matches("said\t" .. name .. "\tnil\tthe packet is malformed, or not all there\n", output)
    end
    for _, name in ipairs { "65536 bytes", "a million bytes" } do
      assert.matches("said\t" .. name .. "\tnil\tthe packet is too large for its way, and cannot be cut\n", output)
    end
    assert.equal(4, counted "malformed")
    -- And what has DF, for a way that it is too large for.
    assert.equal(3, counted "length")
  end)

  it("is counted where there is no way to its destination", function() assert.equal(7, counted "route") end)

  it("is counted where the kernel refuses it", function() assert.equal(4, counted "refused") end)

  it("is counted where there is no room for it", function()
    -- One is on the way, some wait.
    assert.is_true(counted "buffer" >= 4 and counted "buffer" < 8, output)
  end)

  it("leaves the others alone", function()
    local sent = tonumber(output:match "ipq_sent_total{[^\n]* (%d+)\n")
    assert.equal(30 - 4 - 3 - 7 - 4 - counted "buffer", sent, output)
  end)
end)

-- The router sends to b, by a way of 1,300 bytes. All that arrives there is what the filter sends.
local narrow = [[
  router
  ip route add 10.2.0.2/32 dev to_b mtu 1300
  ip -6 route add fd02::2/128 dev to_b mtu 1300
  nsenter -t $host_b -n tcpdump -n -i eth0 --immediate-mode -U -Q in -w "$DIR/got.pcap" 2> "$DIR/dump" & dumping=$!
  wait_for grep -q listening "$DIR/dump"
  for rule in rule rule6; do for protocol in tcp udp; do
    $rule -A OUTPUT -p $protocol --dport 8080 -j NFQUEUE --queue-num 0
  done; done
  filter instead --metrics "$DIR/metrics" <<'FILTER'
local ipq = require "ipq"
local large = 0
return { send = true, filter = function(pkt)
  if pkt.len > 1500 then large = large + 1 end
  assert(ipq.send(pkt))
  return ipq.DROP
end, stop = function() print("large " .. large) end }
FILTER
]]

local ended = [[
  stop instead
  grep sent_total "$DIR/metrics"
  kill -INT $dumping
  wait $dumping
  frames() { tcpdump -n -r "$DIR/got.pcap" "$@" 2> /dev/null | grep -c .; }
  echo "frames $(frames) too large $(frames 'greater 1315')"
]]

netns.describe("What is too large for its way", function()
  local function assert_cut(output)
    assert.is_true(tonumber(output:match "large (%d+)") > 0, output)
    assert.is_true(tonumber(output:match "frames (%d+)") > 2, output)
    assert.matches("too large 0\n", output)
    assert.matches('ipq_not_sent_total{[^\n]*reason="length"} 0\n', output)
  end

  for family, address in pairs { [4] = "10.2.0.2", [6] = "fd02::2" } do
    it("arrives in segments of TCP, IPv" .. family, function()
      local output = netns.run(narrow .. ([[
        head -c 300000 /dev/urandom > "$DIR/file"
        nsenter -t $host_b -n python3 -c '
import socket, sys
end = socket.create_server(("::", 8080), family=socket.AF_INET6, dualstack_ipv6=True).accept()[0]
while True:
    bytes = end.recv(65536)
    if not bytes: break
    sys.stdout.buffer.write(bytes)' > "$DIR/got" & receives=$!
        listens() { on b grep -q ':1F90 .* 0A ' /proc/net/tcp6; }
        wait_for listens
        python3 -c '
import socket, sys
socket.create_connection(("%s", 8080)).sendall(open(sys.argv[1], "rb").read())' "$DIR/file"
        wait $receives
        cmp "$DIR/file" "$DIR/got" && echo same
      ]]):format(address) .. ended)
      assert.matches("same\n", output)
      assert_cut(output)
    end)

    it("arrives in fragments of UDP, IPv" .. family, function()
      local output = netns.run(narrow .. ([[
        nsenter -t $host_b -n python3 -c '
import socket
end = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
end.bind(("::", 8080))
print("got", len(end.recv(65536)))' & receives=$!
        listens() { on b grep -q ':1F90 ' /proc/net/udp6; }
        wait_for listens
        python3 -c '
import socket
s = socket.socket(%s, socket.SOCK_DGRAM)
IP_MTU_DISCOVER, IP_PMTUDISC_DONT = 10, 0
if s.family == socket.AF_INET: s.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
s.sendto(bytes(4000), ("%s", 8080))'
        wait $receives
      ]]):format(family == 4 and "socket.AF_INET" or "socket.AF_INET6", address) .. ended)
      assert.matches("got 4000\n", output)
      assert_cut(output)
    end)
  end
end)
