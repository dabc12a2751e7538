-- scripts/nat.lua on a router: host a has an inside address, and what the world sees of it is an outside one. Behind
-- the router is another one, m, and behind that host b.
local netns = require "spec.support.netns"

local NETWORK = [[
  for name in a m b; do host $name; done
  forward='for family in ipv4/ip_forward ipv6/conf/all/forwarding; do echo 1 > /proc/sys/net/$family; done'
  eval "$forward"
  on m sh -c "$forward"
  echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter
  echo 0 > /proc/sys/net/ipv4/conf/default/rp_filter
  ip link add to_a type veth peer name eth0 netns $host_a
  ip link add to_m type veth peer name eth0 netns $host_m
  on m ip link add to_b type veth peer name eth0 netns $host_b
  # link WHERE DEVICE ADDRESS...: where is "on NAME" or empty
  link() {
    where=$1
    device=$2
    shift 2
    for address in "$@"; do $where ip addr add $address dev $device || fail "$address"; done
    $where ip link set $device up
  }
  link '' to_a 192.0.2.1/24 2001:db8:1::1/64
  link 'on a' eth0 192.0.2.7/24 2001:db8:1::7/64
  link '' to_m 203.0.113.1/25 2001:db8:2::1/64
  link 'on m' eth0 203.0.113.2/25 2001:db8:2::2/64
  link 'on m' to_b 203.0.113.129/25 2001:db8:3::1/64
  link 'on b' eth0 203.0.113.130/25 2001:db8:3::2/64
  wait_for is_up ip link show to_a
  wait_for is_up ip link show to_m
  wait_for is_up on m ip link show to_b
  # Who says so announces large segments over a link that does not carry them.
  on a ip route add default via 192.0.2.1 advmss 1460
  on a ip -6 route add default via 2001:db8:1::1 advmss 1440
  on b ip route add default via 203.0.113.129 advmss 1460
  on b ip -6 route add default via 2001:db8:3::1 advmss 1440
  ip route add default via 203.0.113.2
  ip -6 route add default via 2001:db8:2::2
  on m ip route add 198.51.100.0/24 via 203.0.113.1
  on m ip -6 route add 2001:db8:100::/64 via 2001:db8:2::1
  for command in rule rule6; do
    $command -t raw -A PREROUTING -j NFQUEUE --queue-num 0
    $command -t mangle -A POSTROUTING -j NFQUEUE --queue-num 0
  done
  run nat scripts/nat.lua inside=192.0.2.0/24 outside=198.51.100.0/24 \
    inside6=2001:db8:1::/64 outside6=2001:db8:100::/64
  # To how many pings replies came.
  replies() { awk '/bytes from/ { n++ } END { print n + 0, "replies" }'; }
]]

-- transfer LISTENER PORT SENDER ADDRESS: a megabyte by TCP. Prints whom the listener takes the sender for, and how much
-- came.
local TRANSFER = [[
  transfer() {
    on $1 python3 -c '
import socket, sys
server = socket.create_server(("::", int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True)
connection, peer = server.accept()
count = 0
while True:
    data = connection.recv(65536)
    if not data: break
    count += len(data)
print("from", peer[0].replace("::ffff:", ""), count, flush=True)
connection.sendall(b"thanks")
' $2 > "$DIR/got" &
    listener=$!
    wait_for on $1 grep -q "$(printf ':%04X .* 0A ' $2)" /proc/net/tcp6
    on $3 timeout 60 python3 -c '
import socket, sys
client = socket.create_connection((sys.argv[1], int(sys.argv[2])))
client.sendall(bytes(1000000))
client.shutdown(socket.SHUT_WR)
print("answer", client.recv(100).decode())
' $4 $2 || fail "transfer $*"
    wait $listener
    cat "$DIR/got"
  }
]]

local families = {
  { name = "IPv4", ip = "ip", public = "198.51.100.7", world = "203.0.113.130", near = "203.0.113.2" },
  { name = "IPv6", ip = "ip -6", public = "2001:db8:100::7", world = "2001:db8:3::2", near = "2001:db8:2::2" },
}

local function literal(text) return (text:gsub("[%.%-]", "%%%0")) end

netns.describe("scripts/nat.lua on a router,", function()
  for _, family in ipairs(families) do
    local function run(script)
      for name, value in pairs(family) do script = script:gsub("@" .. name, value) end
      return netns.run(NETWORK .. TRANSFER .. script .. "\nstop nat\n")
    end

    it("has each side reach the other, and errors find who they are for, " .. family.name, function()
      local output = run [[
        on a ping -c 2 -W $REPLY -l 2 -i 0.01 @world | replies
        on b ping -c 2 -W $REPLY -l 2 -i 0.01 @public | replies
        on a ping -c 1 -W $REPLY -t 2 @world
        transfer b 7001 a @world
        transfer a 7002 b @public
      ]]
      assert.matches("^2 replies\n2 replies\n", output)
      assert.matches("From " .. literal(family.near) .. " icmp_seq=1 Time", output)
      assert.matches("from " .. literal(family.public) .. " 1000000\n", output)
      assert.matches("from " .. literal(family.world) .. " 1000000\n", output)
      assert.equal(2, select(2, output:gsub("answer thanks\n", "")))
      assert.matches(" 0 dropped, 0 other verdicts, 0 errors", output)
    end)

    it("leads an inside host's packets to an outside address back in, " .. family.name, function()
      local output = run "on a ping -c 2 -W $REPLY -l 2 -i 0.01 @public | replies"
      assert.matches("^2 replies\n", output)
      assert.matches(" 0 dropped, 0 other verdicts, 0 errors", output)
    end)

    it("tells an inside host of a narrow link behind it, " .. family.name, function()
      local output = run [[
        on m ip link set to_b mtu 1300
        on b ip link set eth0 mtu 1300
        transfer b 7001 a @world
        on a @ip route get @world
      ]]
      assert.matches("from " .. literal(family.public) .. " 1000000\n", output)
      assert.matches("answer thanks\n", output)
      assert.matches("mtu 1300", output)
      assert.matches(" 0 dropped, 0 other verdicts, 0 errors", output)
    end)

    it("tells the world of a narrow link before it, " .. family.name, function()
      local output = run [[
        ip link set to_a mtu 1300
        on a ip link set eth0 mtu 1300
        transfer a 7002 b @public
        on b @ip route get @public
      ]]
      assert.matches("from " .. literal(family.world) .. " 1000000\n", output)
      assert.matches("answer thanks\n", output)
      assert.matches("mtu 1300", output)
      assert.matches(" 0 dropped, 0 other verdicts, 0 errors", output)
    end)
  end
end)
