-- Packets of a bridge, with their link layer.
local feature = require "spec.support.feature"
local netns = require "spec.support.netns"

-- Hosts a and b (10.0.0.1, 10.0.0.2) at ports of a bridge in this namespace.
local bridge = [[
  ip link add br0 type bridge
  ip link set br0 up
  for side in a b; do
    [ $side = a ] && n=1 || n=2
    host $side
    eval "pid=\$host_$side"
    ip link add "to_$side" type veth peer name eth0 netns "$pid"
    ip link set "to_$side" master br0 up
    on $side ip link set eth0 address 02:00:00:00:00:0$n
    on $side ip addr add 10.0.0.$n/24 dev eth0
    on $side ip link set eth0 up
  done
  forwards() { on a ping -c 1 -W $REPLY 10.0.0.2 > /dev/null; }
  wait_for forwards
  nft add table bridge t
  nft 'add chain bridge t forward { type filter hook forward priority 0; }'
]]

local tagged = [[
  for side in a b; do
    [ $side = a ] && n=1 || n=2
    on $side ip link add link eth0 name eth0.7 type vlan proto PROTO id 7 egress-qos-map 0:3
    on $side ip addr add 10.7.0.$n/24 dev eth0.7
    on $side ip link set eth0.7 up
  done
  nft add rule bridge t forward ether type TYPE queue num 0
]]

feature.describe("packets of a bridge", { "bridges, and nft's queue in them" }, function()
  it("tell their ports, their link layer header, and all of IP #short", function()
    local output = netns.run(bridge .. [[
      nft add rule bridge t forward ip protocol icmp queue num 0
      filter bridge <<'END'
return function(pkt)
  print("at", pkt.family, pkt.hook_name, pkt.indev_name, pkt.outdev_name, pkt.physindev_name, pkt.physoutdev_name)
  print("link", pkt.hw_protocol, (pkt.l2hdr:gsub(".", function(c) return ("%02x"):format(c:byte()) end)), pkt.hw_addr,
    pkt.vlan_proto, pkt.vlan_tci)
  print("ip", pkt.saddr, pkt.daddr, pkt.icmp.type, pkt.len)
end
END
      on a ping -c 1 -W $REPLY 10.0.0.2
      stop bridge]])
    assert.matches("1 received", output)
    assert.matches("at\tbridge\tforward\tbr0\tbr0\tto_a\tto_b\nlink\t2048\t0200000000020200000000010800\t"
      .. "02:00:00:00:00:01\tnil\tnil\nip\t10.0.0.1\t10.0.0.2\t8\t84\n", output)
    assert.matches("at\tbridge\tforward\tbr0\tbr0\tto_b\tto_a\nlink\t2048\t0200000000010200000000020800\t"
      .. "02:00:00:00:00:02\tnil\tnil\nip\t10.0.0.2\t10.0.0.1\t0\t84\n", output)
  end)

  for proto, vlan in pairs { ["802.1Q"] = { "vlan", 0x8100 }, ["802.1ad"] = { "8021ad", 0x88a8 } } do
    it("tell their VLAN, " .. proto, function()
      local output = netns.run(bridge .. tagged:gsub("PROTO", proto):gsub("TYPE", vlan[1]) .. [[
        filter vlan <<'END'
return function(pkt) print("vlan", pkt.vlan_proto, pkt.vlan_tci, pkt.hw_protocol) end
END
        on a ping -c 1 -W $REPLY 10.7.0.2
        stop vlan]])
      assert.matches("1 received", output)
      -- Priority 3, VLAN 7.
      assert.matches(("vlan\t%d\t%d\t2048\n"):format(vlan[2], 3 * 8192 + 7), output)
    end)
  end

  it("are dropped, or not, as the filter says", function()
    local output = netns.run(bridge .. [[
      nft add rule bridge t forward ip protocol icmp queue num 0
      run drop scripts/drop_icmp.lua max=100
      on a ping -c 1 -W $REPLY -s 56 10.0.0.2
      on a ping -c 1 -W $REPLY -s 200 10.0.0.2
      stop drop]])
    assert.matches("1 received.* 0 received", output)
    assert.matches("1 dropped", output)
  end)

  it("arrive changed, or are refused where the kernel would drop them", function()
    local output = netns.run(bridge .. [[
      nft add rule bridge t forward ip protocol icmp queue num 0
      filter ttl --on-error accept <<'END'
return function(pkt) pkt.ip.ttl = 33 end
END
      on a ping -c 1 -W $REPLY 10.0.0.2
      cat /run/ipq-lua.kernel
      stop ttl]])
    assert.matches("1 received", output)
    if not output:find "loses:[^\n]* layout" then
      assert.matches("ttl=33 ", output)
      assert.matches("2 packets, 2 accepted, 0 dropped, 0 other verdicts, 0 errors", output)
    else
      assert.matches("packet changed: this kernel drops", output)
      assert.matches("2 packets, 2 accepted, 0 dropped, 0 other verdicts, 2 errors", output)
    end
  end)

  it("that are no IP are judged as well", function()
    local output = netns.run(bridge .. [[
      nft add rule bridge t forward ether type arp queue num 0
      filter arp <<'END'
return function(pkt)
  print("arp", pkt.hw_protocol, pkt.ip, pkt.saddr, pkt.len, pkt.payload:u16(6))
  print("fields", pkt.arp.operation, pkt.arp.saddr_ip, pkt.arp.saddr_ether, pkt.ether.saddr, pkt.ether.type)
end
END
      on a ip neigh flush all
      on a ping -c 1 -W $REPLY 10.0.0.2
      stop arp]])
    assert.matches("1 received", output)
    assert.matches("arp\t2054\tnil\tnil\t28\t1\n", output)
    assert.matches("arp\t2054\tnil\tnil\t28\t2\n", output)
    assert.matches("fields\t1\t10.0.0.1\t02:00:00:00:00:01\t02:00:00:00:00:01\t2054\n", output)
    assert.matches("fields\t2\t10.0.0.2\t02:00:00:00:00:02\t02:00:00:00:00:02\t2054\n", output)
  end)
end)
