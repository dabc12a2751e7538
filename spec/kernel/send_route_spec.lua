-- Which way goes what a filter sends: marks and rules, filters of reverse paths, bridges.
local netns = require "spec.support.netns"

-- TCP to port 7 and UDP to port 8 are rejected, UDP to port 9 is duplicated.
local judging = [[
  filter judge <<'FILTER'
local ipq = require "ipq"
return { send = true, filter = function(pkt)
  if (pkt.tcp or pkt.udp).dport ~= 9 then return ipq.REJECT end
  assert(ipq.send(pkt))
end }
FILTER
  asks() { python3 spec/support/ask.py $((10 * ${IPQ_SLOW:-1})); }
]]

local rules = [[
  for rule in rule rule6; do for protocol in tcp udp; do
    $rule -t mangle -A HOOK -p $protocol --dport 7:9 -j NFQUEUE --queue-num 0
  done; done
]]

netns.describe("What a filter sends", function()
  it("passes filters of reverse paths, on routers and in both ends", function()
    for _, strictness in ipairs { 1, 2 } do
      for hook, client in pairs { FORWARD = "on a", OUTPUT = "", POSTROUTING = "" } do
        local output = netns.run(("router\n" .. rules .. [[
          for host in "" "on a" "on b"; do
            $host sh -c 'for of in /proc/sys/net/ipv4/conf/*/rp_filter; do echo %d > $of; done'
          done
          on b iptables-legacy -A INPUT -p udp --dport 9]] .. "\n" .. judging .. [[
          twice() { on b iptables-legacy -nvxL INPUT | grep -q '^ *2 .*dpt:9'; }
          printf '%%s\n' 'trial tcp 10.2.0.2 7' 'trial udp 10.2.0.2 8' 'a-duplicate udp 10.2.0.2 9' > "$DIR/questions"
          %s python3 spec/support/ask.py $((10 * ${IPQ_SLOW:-1})) < "$DIR/questions"
          wait_for twice
        ]]):gsub("HOOK", hook):format(strictness, client))
        assert.equal(2, select(2, output:gsub("trial ECONNREFUSED", "")), output)
      end
    end
  end)

  it("goes the way that the mark of its cause has", function()
    local script = ("router\n" .. rules .. [[
      # No other way leads there.
      ip rule add fwmark 0x7/0xff lookup 100
      ip route add 198.51.100.0/24 via 10.2.0.2 table 100
      on b ip addr add 198.51.100.1/32 dev lo
      on b iptables-legacy -A INPUT -p udp --dport 9
      rule -t mangle -I PREROUTING -d 198.51.100.0/24 -j MARK --set-mark 7]] .. "\n" .. judging .. [[
      twice() { on b iptables-legacy -nvxL INPUT | grep -q '^ *2 .*dpt:9'; }
      echo 'a-duplicate udp 198.51.100.1 9' > "$DIR/question"
      on a python3 spec/support/ask.py 10 < "$DIR/question"
      wait_for twice
      echo arrived
    ]]):gsub("HOOK", "FORWARD")
    local output = netns.run(script)
    assert.matches("arrived\n", output)
  end)

  -- The kernel's own answers take a route as well. Where this namespace has no address there is none.
  it("arrives behind a bridge whose packets iptables sees, if the bridge has addresses", function()
    local output = netns.run(([[
      ip link add br0 type bridge
      ip link set br0 up
      for side in a b; do
        [ $side = a ] && n=1 || n=2
        host $side
        eval "pid=\$host_$side"
        ip link add "to_$side" type veth peer name eth0 netns "$pid"
        ip link set "to_$side" master br0 up
        on $side ip addr add 10.0.0.$n/24 dev eth0
        on $side ip -6 addr add fd00::$n/64 dev eth0
        on $side ip link set eth0 up
      done
      forwards() { on a ping -c 1 -W $REPLY 10.0.0.2 > /dev/null; }
      wait_for forwards
      for family in ip ip6; do
        echo 1 2> /dev/null > /proc/sys/net/bridge/bridge-nf-call-${family}tables || { echo no bridge filter; exit 0; }
      done
    ]] .. rules .. judging .. [[
      for address in 10.0.0.2 fd00::2; do
        printf '%%s\n' "trial tcp $address 7" "trial udp $address 8" >> "$DIR/questions"
      done
      on a python3 spec/support/ask.py 1 < "$DIR/questions" > "$DIR/without"
      sed 's/^trial/without/' "$DIR/without"
      ip addr add 10.0.0.254/24 dev br0
      ip -6 addr add fd00::fe/64 dev br0
      on a python3 spec/support/ask.py $((10 * ${IPQ_SLOW:-1})) < "$DIR/questions"
      wait_for logged judge "there is no way to their destination"
      stop judge]]):gsub("HOOK", "FORWARD"):format())
    if output:find "no bridge filter" then
      pending "this kernel lacks br_netfilter"
      return
    end
    assert.equal(4, select(2, output:gsub("trial ECONNREFUSED", "")), output)
    assert.equal(0, select(2, output:gsub("without ECONNREFUSED", "")), output)
  end)

  it("is cut by the MTU of a way, whichever source and link the way before it had", function()
    local output = netns.run [[
      router
      rule -A OUTPUT -p icmp --icmp-type echo-request -d 127.0.0.1 -j NFQUEUE --queue-num 0
      filter large <<'FILTER'
local ipq = require "ipq"
local n = 0
return { send = true, filter = function()
  n = n + 1
  assert(ipq.send(assert(ipq.build.udp { saddr = "127.0.0.1", daddr = n == 1 and "10.1.0.2" or "10.2.0.2", dport = 9,
    sport = 4000, payload = ("x"):rep(2000), df = false }):bytes()))
end }
FILTER
      pings 1 127.0.0.1
      wait_for judged 1
      ip addr flush dev to_a
      pings 1 127.0.0.1
      wait_for judged 2
      stop large]]
    assert.matches("2 packets sent, 0 rejects, 0 not sent", output)
  end)

  it("is cut by the MTU of the way that its mark has", function()
    local output = netns.run [[
      router
      ip rule add fwmark 0x7/0xff lookup 100
      ip route add 198.51.100.0/24 via 10.2.0.2 table 100
      rule -A OUTPUT -p icmp --icmp-type echo-request -d 127.0.0.1 -j NFQUEUE --queue-num 0
      filter large <<'FILTER'
local ipq = require "ipq"
return { send = true, filter = function()
  assert(ipq.send(assert(ipq.build.udp { saddr = "10.2.0.1", daddr = "198.51.100.1", sport = 4000, dport = 9, mark = 7,
    payload = ("x"):rep(2000), df = false })))
end }
FILTER
      pings 1 127.0.0.1
      wait_for judged 1
      stop large]]
    assert.matches("1 packets sent, 0 rejects, 0 not sent", output)
  end)
end)
