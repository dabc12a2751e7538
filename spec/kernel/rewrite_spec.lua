local netns = require "spec.support.netns"

-- Between hosts a (10.1.0.2) and b (10.2.0.2) a filter changes packets; what arrives must be what was sent,
-- and no kernel may count a bad checksum.

-- A server on b that echoes UDP and serves a file by HTTP, and the file.
local server = [[
  router
  head -c 4000000 /dev/urandom > "$DIR/file"
  (cd "$DIR" && exec nsenter -t $host_b -n python3 -m http.server --bind :: 8080) > /dev/null 2>&1 &
  http=$!
  nsenter -t $host_b -n python3 -c '
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(("::", 7))
while True:
    data, peer = s.recvfrom(65536)
    s.sendto(data, peer)
' &
  echo_server=$!
  wait_for on b grep -q ':1F90 .* 0A ' /proc/net/tcp6
  wait_for on b grep -q ':0007 ' /proc/net/udp6
]]

local check = [[
  kill $http $echo_server
  for side in a b; do
    on $side awk '/^(Tcp|Udp|Icmp):/ { if (!names[$1]) names[$1] = $0; else { split(names[$1], n); split($0, v)
      for (i in n) if (n[i] == "InCsumErrors") print "csum", v[i] } }
      /^(Udp6|UdpLite6|Icmp6)InCsumErrors/ { print "csum", $2 }' \
      /proc/net/snmp /proc/net/snmp6
  done
]]

-- Sends words by UDP from a and prints what comes back.
local function echo(address, port, ...)
  return ([[
  on a python3 -c '
import socket, sys
host, port, words = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(300)
for word in words:
    s.sendto(word.encode(), (host, port))
    data, peer = s.recvfrom(65536)
    print("from", peer[0], peer[1], data.decode())
' %s %d %s
]]):format(address, port, table.concat({ ... }, " "))
end

local function no_checksum_errors(output)
  local counts = 0
  for n in output:gmatch "csum (%d+)" do
    counts = counts + 1
    assert.equal("0", n, output)
  end
  assert.is_true(counts >= 6, output)
end

netns.describe("live rewriting", function()
  for _, family in ipairs { 4, 6 } do
    local address = family == 4 and "10.2.0.2" or "fd02::2"
    local url = family == 4 and "10.2.0.2" or "[fd02::2]"
    local rule = family == 4 and "rule" or "rule6"

    for _, gso in ipairs { "", "--no-gso" } do
      it(("carries a TCP stream through changed ports, IPv%d %s"):format(family, gso), function()
        local output = netns.run(server .. ([[
          %s -A FORWARD -p tcp -j NFQUEUE --queue-num 0
          run redirect %s scripts/redirect_port.lua from=80 to=8080
          on a curl -gsS --max-time 300 -o "$DIR/got" http://%s:80/file
          cmp "$DIR/file" "$DIR/got" && echo same
          stop redirect
        ]]):format(rule, gso, url) .. check)
        assert.matches("same\n", output)
        assert.matches(" 0 dropped, 0 other verdicts, 0 errors", output)
        no_checksum_errors(output)
      end)
    end

    it("answers UDP through changed ports, IPv" .. family, function()
      local output = netns.run(server .. rule .. [[ -A FORWARD -p udp -j NFQUEUE --queue-num 0
        run redirect scripts/redirect_port.lua from=77 to=7
      ]] .. echo(address, 77, "one", "two") .. "stop redirect\n" .. check)
      assert.matches(("from %s 77 one\nfrom %s 77 two\n"):format(address, address), output)
      no_checksum_errors(output)
    end)

    it("translates addresses by hand, both directions, IPv" .. family, function()
      local public = family == 4 and "10.9.9.9" or "fd09::9"
      local output = netns.run(server .. rule .. [[ -t mangle -A PREROUTING -i to_a -j NFQUEUE --queue-num 0
        ]] .. rule .. ([[ -t mangle -A PREROUTING -i to_b -j NFQUEUE --queue-num 0
        filter nat <<'END'
local public, private = "%s", "%s"
return function(pkt)
  if pkt.icmpv6 and pkt.icmpv6.type >= 133 then return end -- neighbour discovery is the link's own
  if pkt.daddr == public then pkt.daddr = private end
  if pkt.saddr == private then pkt.saddr = public end
end
END
        on a curl -gsS --max-time 300 -o "$DIR/got" http://%s:8080/file
        cmp "$DIR/file" "$DIR/got" && echo same
      ]]):format(public, address, family == 4 and public or "[" .. public .. "]")
        .. echo(public, 7, "one") .. "on a ping -W $REPLY -c 2 -l 2 -i 0.01 " .. public .. "\nstop nat\n" .. check)
      assert.matches("same\n", output)
      assert.matches("from " .. public .. " 7 one\n", output)
      assert.matches("2 received", output)
      assert.matches(" 0 dropped, 0 other verdicts, 0 errors", output)
      no_checksum_errors(output)
    end)

    it("changes, lengthens and shortens payloads, IPv" .. family, function()
      local output = netns.run(server .. rule .. [[ -A FORWARD -i to_a -p udp -j NFQUEUE --queue-num 0
        filter words <<'END'
return function(pkt)
  local payload = pkt.udp.payload
  local at = payload:find "secret"
  if at then payload:write(at, "public") end
  at = payload:find "short"
  if at then payload:replace(at, 5, ("long "):rep(100)) end
  at = payload:find "verbose"
  if at then payload:replace(at, 7, "") end
  if payload:starts "bytes" then
    local whole = pkt:copy()
    return require "ipq".ACCEPT, whole:sub(1, #whole - 5) .. "BYTES"
  end
end
END
      ]] .. echo(address, 7, "a-secret-b", "a-short-b", "a-verbose-b", "bytes", "none") .. "stop words\n" .. check)
      assert.matches("a%-public%-b\n", output)
      assert.matches("a%-" .. ("long "):rep(100) .. "%-b\n", output)
      assert.matches("a%-%-b\n", output)
      assert.matches(" BYTES\n", output)
      assert.matches(" none\n", output)
      assert.matches("5 packets, 5 accepted", output)
      no_checksum_errors(output)
    end)

    it("has connections announce smaller segments, IPv" .. family, function()
      local output = netns.run(server .. rule .. ([[ -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j NFQUEUE --queue-num 0
        run clamp scripts/clamp_mss.lua mss=1000
        on a python3 -c '
import socket
s = socket.create_connection(("%s", 8080), 5)
s.sendall(b"GET /file HTTP/1.0\r\n\r\n")
while s.recv(65536): pass
print("mss", s.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG))
'
        stop clamp
      ]]):format(address) .. check)
      -- 12 bytes of each segment are for timestamps.
      assert.equal("988", output:match "mss (%d+)", output)
      assert.matches(" 0 dropped, 0 other verdicts, 0 errors", output)
      no_checksum_errors(output)
    end)

    it("sets the hop count, IPv" .. family, function()
      local output = netns.run(server .. rule .. [[ -t mangle -A POSTROUTING -o to_a -j NFQUEUE --queue-num 0
        run ttl scripts/set_ttl.lua ttl=99
        on a ping -W $REPLY -c 2 -l 2 -i 0.01 ]] .. address .. "\nstop ttl\n" .. check)
      assert.equal(2, select(2, output:gsub("ttl=99 ", "")))
      no_checksum_errors(output)
    end)
  end

  it("changes the bytes of a TCP stream, all of them, with GSO", function()
    local output = netns.run(server .. [[
      rule -A FORWARD -i to_b -p tcp -j NFQUEUE --queue-num 0
      filter bytes <<'END'
return function(pkt)
  local payload = pkt.tcp.payload
  if #payload > 0 then payload:write(0, (payload:string():gsub("\1", "\2"))) end
end
END
      on a curl -sS --max-time 300 -o "$DIR/got" http://10.2.0.2:8080/file
      tr '\001' '\002' < "$DIR/file" | cmp - "$DIR/got" && echo changed
      cmp -s "$DIR/file" "$DIR/got" || echo different
      stop bytes
    ]] .. check)
    assert.matches("changed\n", output)
    assert.matches("different\n", output)
    no_checksum_errors(output)
  end)

  it("refuses to change what was not copied whole, with the reason", function()
    local output = netns.run(server .. [[
      rule -A FORWARD -i to_a -p udp -j NFQUEUE --queue-num 0
      filter cut --on-error accept <<'END'
return { queue = { range = 28 }, filter = function(pkt) pkt.dport = 9 end }
END
    ]] .. echo("10.2.0.2", 7, "whole") .. "stop cut\n" .. check)
    assert.matches("error: packet 1 of queue 0: packet changed: only a part of the packet was copied", output)
    assert.matches("from 10.2.0.2 7 whole\n", output)
    no_checksum_errors(output)
  end)

  it("leaves a packet to itself whose filter drops or fails it after a change", function()
    local output = netns.run(server .. [[
      rule -A FORWARD -i to_a -p udp -j NFQUEUE --queue-num 0
      filter fails --on-error accept <<'END'
return function(pkt)
  pkt.udp.payload:set_u8(0, 88)
  error "after a change"
end
END
    ]] .. echo("10.2.0.2", 7, "same") .. "stop fails\n" .. check)
    no_checksum_errors(output)
    -- The bytes are sent back only with a verdict that stands.
    assert.matches("from 10.2.0.2 7 same\n", output)
  end)

  it("sends bytes as they are, if asked", function()
    local output = netns.run(server .. [[
      rule -A FORWARD -i to_a -p udp -j NFQUEUE --queue-num 0
      filter asis <<'END'
return function(pkt)
  pkt.fix = false
  pkt.udp.payload:set_u8(0, 88)
end
END
    on a python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(0.5)
s.sendto(b"wrong", ("10.2.0.2", 7))
try: print("got", s.recv(100))
except socket.timeout: print("nothing came")
'
      stop asis
    ]] .. check)
    assert.matches("nothing came\n", output)
    assert.matches("csum 1\n", output)
  end)
end)
