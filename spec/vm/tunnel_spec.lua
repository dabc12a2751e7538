-- TCP through tunnels leaves its checksum to the network card: a tunnel's packet that a filter has changed here arrives
-- with it finished. On its way through a router: large_spec.lua. VXLAN, on any kernel: spec/kernel/segments_spec.lua.
local feature = require "spec.support.feature"
local netns = require "spec.support.netns"

local tunnels = {
  vxlan = { "vxlan id 7 dstport 4789 local $FROM remote $TO dev $DEV", "udp --dport 4789" },
  geneve = { "geneve id 7 remote $TO dstport 6081", "udp --dport 6081" },
  ["geneve with checksums"] = { "geneve id 7 remote $TO dstport 6081 udpcsum", "udp --dport 6081" },
  gre = { "gre local $FROM remote $TO", "47" },
  ["gre with a checksum"] = { "gre local $FROM remote $TO csum", "47" },
  gretap = { "gretap local $FROM remote $TO key 5", "47" },
  ipip = { "ipip local $FROM remote $TO", "4" },
  sit = { "sit local $FROM remote $TO", "41" },
}

-- Host b at the tunnel's other end, where nc serves a file.
local function through(tunnel, hook, change)
  return netns.run(([[
    router
    head -c 400000 /dev/urandom > "$DIR/file"
    FROM=10.2.0.2 TO=10.2.0.1 DEV=eth0
    on b ip link add tunnel0 type %s
    on b ip addr add 10.7.0.2/24 dev tunnel0
    on b ip -6 addr add fd07::2/64 dev tunnel0
    on b ip link set tunnel0 up
    FROM=10.2.0.1 TO=10.2.0.2 DEV=to_b
    ip link add tunnel0 type %s
    ip addr add 10.7.0.1/24 dev tunnel0
    ip -6 addr add fd07::1/64 dev tunnel0
    ip link set tunnel0 up
    nsenter -t $host_b -n busybox nc -ll -p 8080 -e cat "$DIR/file" > /dev/null 2>&1 &
    listens() { on b grep -q ':1F90 .* 0A ' /proc/net/tcp /proc/net/tcp6; }
    wait_for listens
    rule -t mangle -A %s -p %s -j NFQUEUE --queue-num 0
    filter changes <<'END'
return function(pkt) %s end
END
    timeout 300 busybox nc %s 8080 > "$DIR/got"
    cmp "$DIR/file" "$DIR/got" && echo same
    stop changes
  ]]):format(tunnel[1], tunnel[1], hook, tunnel[2], change, tunnel[1]:match "^sit" and "fd07::2" or "10.7.0.2"))
end

feature.describe("a changed packet of a tunnel", { "tunnels" }, function()
  for name, tunnel in pairs(tunnels) do
    for _, hook in ipairs { "OUTPUT", "POSTROUTING" } do
      it(("arrives with the inner checksum finished: %s, %s"):format(name, hook), function()
        local output = through(tunnel, hook, "pkt.ip.ttl = 33")
        assert.matches("^same\n", output)
        assert.matches(" 0 dropped, 0 other verdicts, 0 errors", output)
      end)
    end
  end
end)
