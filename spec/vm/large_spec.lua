-- Packets that are larger than the wire's: GSO, fragments, tunnels.
local feature = require "spec.support.feature"
local netns = require "spec.support.netns"

-- A file on host b, served by HTTP at its port 8080. Packets that this namespace forwards go to queue 0 by FORWARD.
local server = [[
  router
  nft add table inet t
  nft 'add chain inet t forward { type filter hook forward priority filter; }'
  head -c 2000000 /dev/urandom > "$DIR/file"
  (cd "$DIR" && exec nsenter -t $host_b -n python3 -m http.server 8080) > /dev/null 2>&1 &
  wait_for on b grep -q ':1F90 .* 0A ' /proc/net/tcp
  # fetch URL: by host a.
  fetch() {
    on a curl -sS --max-time $((20 * ${IPQ_SLOW:-1})) -o "$DIR/got" "$1"
    cmp "$DIR/file" "$DIR/got" && echo same
  }
  bad_checksums() {
    for side in a b; do
      on $side awk '/^Tcp:/ { for (i = 1; i <= NF; i++) {
        if (name[i] == "InCsumErrors") print "bad checksums", $i
        name[i] = $i
      } }' \
        /proc/net/snmp
    done
  }
]]

-- A filter that changes each packet, and tells the largest one.
local changing = [[
return { filter = function(pkt)
  pkt.ip.ttl = 33
  most, gso = math.max(most or 0, pkt.len), gso or pkt.gso
end, stop = function() print("most", most, "gso", gso) end }
]]

feature.describe("large packets", { "nft's queue", "nft's address translation" }, function()
  it("come with GSO through a router that translates addresses, and are changed", function()
    local output = netns.run(server .. [[
      nft 'add chain inet t ask { type nat hook postrouting priority srcnat; }'
      nft add rule inet t ask oifname to_b masquerade
      nft add rule inet t forward meta l4proto tcp queue num 0
      filter change <<'END'
local most, gso = 0, false
]] .. changing .. [[
END
      fetch http://10.2.0.2:8080/file
      bad_checksums
      stop change]])
    assert.matches("same\nbad checksums 0\nbad checksums 0\n", output)
    assert.matches("gso\ttrue\n", output)
    assert.is_true(tonumber(output:match "most\t(%d+)") > 1500, output)
    assert.matches("0 dropped, 0 other verdicts, 0 errors, 0 lost", output)
  end)

  -- What the filter sees of a datagram of 3,000 bytes, and what host b gets of it.
  local datagram = [[
    nsenter -t $host_b -n python3 -c "if True:
      import socket
      s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
      s.bind(('::', 7))
      s.settimeout(60)
      data = s.recv(65536)
      print('got', len(data), data == b'x' * 3000, flush=True)" &
    receiver=$!
    wait_for on b grep -q ':0007 ' /proc/net/udp6
    filter fragments <<'END'
return function(pkt)
  local ip = pkt.ip
  print("seen", pkt.len, ip and ip.frag_off, ip and ip.mf, pkt.udp and pkt.udp.dport, pkt.ip6 and
    pkt.ip6:exthdr(44) ~= nil)
end
END
    on a python3 -c "if True:
      import socket
      s = socket.socket(socket.FAMILY, socket.SOCK_DGRAM)
      s.sendto(b'x' * 3000, ('ADDRESS', 7))"
    wait $receiver
    stop fragments]]
  local router = [[
    router
    nft add table inet t
    nft 'add chain inet t forward { type filter hook forward priority filter; }'
  ]]
  local queue = "nft add rule inet t forward meta nfproto NF queue num 0\n"
  local tracked = "nft add rule inet t forward ct state invalid drop\n"
  for family, words in pairs { IPv4 = { NF = "ipv4", FAMILY = "AF_INET", ADDRESS = "10.2.0.2" },
    IPv6 = { NF = "ipv6", FAMILY = "AF_INET6", ADDRESS = "fd02::2" } } do
    local function run(script) return netns.run((script:gsub("%u+", words))) end

    it("come in fragments, " .. family, function()
      local output = run(router .. queue .. datagram)
      assert.matches("got 3000 True\n", output)
      if family == "IPv4" then
        assert.matches("seen\t1500\t0\ttrue\t7\tnil\nseen\t1500\t185\ttrue\tnil\tnil\nseen\t68\t370\tfalse\tnil\tnil\n",
          output)
      else
        assert.matches("seen\t1496\tnil\tnil\t7\ttrue\nseen\t1496\tnil\tnil\tnil\ttrue\n"
          .. "seen\t%d+\tnil\tnil\tnil\ttrue\n", output)
      end
    end)

    it("come whole where connections are tracked, and go on in fragments, " .. family, function()
      local output = run(router .. tracked .. queue .. datagram)
      assert.matches("got 3000 True\n", output)
      local header = family == "IPv4" and 20 or 40
      assert.matches(("seen\t%d\t[^\n]*\t7\t"):format(3000 + 8 + header), output)
      assert.equal(1, select(2, output:gsub("seen\t", "")), output)
    end)
  end
end)

feature.describe("packets of a tunnel", { "nft's queue", "tunnels" }, function()
  -- Sends a file through a tunnel between hosts a and b, whose packets a filter judges.
  local function through(kind, words, option, filter)
    return netns.run(server .. ([[
      for side in a b; do
        [ $side = a ] && n=1 other=2 || n=2 other=1
        on $side ip link add tunnel type %s local 10.$n.0.2 remote 10.$other.0.2 %s
        on $side ip addr add 10.9.0.$n/24 dev tunnel
        on $side ip link set tunnel up
      done
      nft add rule inet t forward queue num 0
      filter judge %s <<'END'
local most, gso = 0, false
%sEND
      fetch http://10.9.0.2:8080/file
      bad_checksums
      stop judge]]):format(kind, words, option, filter))
  end
  local looking, count = changing:gsub("pkt.ip.ttl = 33", "")
  assert(count == 1)

  for kind, words in pairs { vxlan = "id 7 dstport 4789 udpcsum", gre = "", ipip = "" } do
    it("carry a TCP stream through a queue, " .. kind, function()
      local output = through(kind, words, "", looking)
      assert.matches("same\nbad checksums 0\nbad checksums 0\n", output)
      assert.matches("gso\ttrue\n", output)
      assert.matches("0 dropped, 0 other verdicts, 0 errors, 0 lost", output)
    end)

    for option, gso in pairs { [""] = "true", ["--no-gso"] = "false" } do
      it(("are changed, and their inner checksum finished, %s %s"):format(kind, option), function()
        local output = through(kind, words, option, changing)
        assert.matches("same\nbad checksums 0\nbad checksums 0\n", output)
        assert.matches("gso\t" .. gso .. "\n", output)
        assert.matches("0 dropped, 0 other verdicts, 0 errors, 0 lost", output)
      end)
    end
  end
end)

feature.describe("pkt.secctx", { "a module for security contexts" }, function()
  it("is what a rule has set", function()
    local output = netns.run [[
      rule -t mangle -A OUTPUT -p udp --dport 9 -j SECMARK --selctx unconfined
      rule -A OUTPUT -p udp -j QUEUE
      filter secctx <<'END'
return function(pkt) print("secctx", pkt.dport, pkt.secctx) end
END
      bash -c 'echo > /dev/udp/127.0.0.1/9; echo > /dev/udp/127.0.0.1/10'
      wait_for seen 2
      stop secctx]]
    assert.matches("secctx\t9\tunconfined\nsecctx\t10\tnil\n", output)
  end)
end)
