-- What pkt.ct says, beside what conntrack(8) says of the same connection.
local feature = require "spec.support.feature"
local netns = require "spec.support.netns"

-- linux/netfilter/nf_conntrack_common.h: enum ip_conntrack_status
local SEEN_REPLY, ASSURED, CONFIRMED, SRC_NAT, DST_NAT = 2, 4, 8, 16, 32

local function has(status, bit) return math.floor(status / bit) % 2 == 1 end

-- Host a asks 10.1.0.1 three times, and host b answers: both addresses are translated. Packets are queued where they
-- are forwarded.
local translated = [[
  router
  nft -f - <<'END'
table ip t {
  chain in_zone { type filter hook prerouting priority raw; ct zone set 5; }
  chain answer { type nat hook prerouting priority dstnat; iifname "to_a" udp dport 7 dnat to 10.2.0.2:7007; }
  chain ask { type nat hook postrouting priority srcnat; oifname "to_b" masquerade; }
  chain marked { type filter hook forward priority mangle; ct mark set 42; }
}
END
  nsenter -t $host_b -n python3 -c "if True:
    import socket
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(('', 7007))
    while True: s.sendto(*s.recvfrom(100))" &
  wait_for on b grep -q ':1B5F ' /proc/net/udp
  rule -A FORWARD -p udp -j QUEUE
  filter ct <<'END'
return function(pkt)
  local ct = pkt.ct
  print("ct", pkt.saddr, pkt.daddr, ct.id, ct.mark, ct.status, ct.state, ct.direction, ct.zone, ct.timeout)
end
END
  on a python3 -c "if True:
    import socket
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(('10.1.0.2', 1234))
    s.settimeout(60)
    for _ in range(3):
      s.sendto(b'x', ('10.1.0.1', 7))
      print('answer from', s.recvfrom(100)[1])"
  conntrack -L -p udp -o id,extended 2> /dev/null | sed 's/^/all: /'
  conntrack -L -p udp -n 2> /dev/null | sed 's/^/source translated: /'
  conntrack -L -p udp -g 2> /dev/null | sed 's/^/destination translated: /'
  stop ct]]

feature.describe("pkt.ct", { "nft's address translation", "a queue that tells connections" }, function()
  it("tells of a translated connection what conntrack -L tells #short", function()
    local output = netns.run(translated)
    assert.equal(3, select(2, output:gsub("answer from %('10%.1%.0%.1', 7%)", "")), output)
    local line = assert(output:match "all: (ipv4 [^\n]+)", output)
    local packets = {}
    for from, to, id, mark, status, state, direction, zone, timeout in
      output:gmatch "ct\t(%S+)\t(%S+)\t(%d+)\t(%d+)\t(%d+)\t(%S+)\t(%S+)\t(%d+)\t(%S+)\n" do
      packets[#packets + 1] = { from = from, to = to, id = id, mark = mark, status = tonumber(status), state = state,
        direction = direction, zone = zone, timeout = tonumber(timeout) }
    end
    assert.equal(6, #packets, output)
    for n, packet in ipairs(packets) do
      local question = n % 2 == 1
      assert.same({ question and "10.1.0.2" or "10.2.0.2", question and "10.2.0.2" or "10.1.0.2" },
        { packet.from, packet.to })
      assert.equal(line:match " id=(%d+)", packet.id, output)
      assert.equal(line:match " mark=(%d+)", packet.mark, output)
      assert.equal(line:match " zone=(%d+)", packet.zone, output)
      assert.equal(n == 1 and "new" or "established", packet.state, output)
      assert.equal(question and "original" or "reply", packet.direction, output)
      assert.is_true(has(packet.status, DST_NAT), output)
      -- The source is translated behind this hook, when the first packet has been judged.
      assert.equal(n > 1, has(packet.status, SRC_NAT), output)
      assert.equal(n > 1, has(packet.status, CONFIRMED), output)
      assert.equal(n > 1, has(packet.status, SEEN_REPLY), output)
    end
    assert.same({ "42", "5" }, { packets[1].mark, packets[1].zone })
    local last = packets[6]
    assert.equal(line:find("[ASSURED]", 1, true) ~= nil, has(last.status, ASSURED), output)
    assert.is_nil(line:find("[UNREPLIED]", 1, true), output)
    assert.matches("source translated: udp [^\n]*src=10.1.0.2", output)
    assert.matches("destination translated: udp [^\n]*src=10.1.0.2", output)
    -- Seconds; conntrack was asked a moment later.
    local left = tonumber(line:match "udp +17 (%d+)")
    assert.is_true(last.timeout >= left and last.timeout <= left + 30, output)
  end)

  it("tells the state of each packet of a connection, and of an error that belongs to one", function()
    local output = netns.run [[
      rule -A INPUT -m conntrack --ctstate NEW -j ACCEPT
      rule -t mangle -A OUTPUT -j QUEUE
      filter ct <<'END'
return function(pkt)
  local tcp, ct = pkt.tcp, pkt.ct
  local what = pkt.icmp and "error" or not tcp and "question" or (tcp.syn and "syn" or "") .. (tcp.ack and "ack" or "")
  print(what, ct.state, ct.direction)
end
END
      python3 -c "if True:
        import socket
        socket.setdefaulttimeout(60)
        server = socket.create_server(('127.0.0.1', 9000))
        client = socket.create_connection(('127.0.0.1', 9000))
        client.sendall(b'x')
        server.accept()[0].recv(1)"
      bash -c 'echo > /dev/udp/127.0.0.1/9'
      wait_for seen 6
      stop ct]]
    assert.matches("syn\tnew\toriginal\nsynack\testablished\treply\nack\testablished\toriginal\n", output)
    assert.matches("question\tnew\toriginal\nerror\trelated\treply\n", output)
  end)
end)
