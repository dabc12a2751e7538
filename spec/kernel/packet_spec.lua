local netns = require "spec.support.netns"

local function received(output) return tonumber(output:match "(%d+) received") end

-- A filter that prints these fields of each packet.
local function printing(...)
  local reads = {}
  for _, name in ipairs { ... } do
    reads[#reads + 1] = ("'%s=' .. tostring(pkt.%s)"):format(name, name)
  end
  return "return function(pkt) print(" .. table.concat(reads, ", ") .. ") end"
end

netns.describe("live packets", function()
  it("tell where they go in OUTPUT", function()
    local output = netns.run([[
      rule -A OUTPUT -p icmp --icmp-type echo-request -j QUEUE
      filter output <<'END'
]] .. printing("packet_id", "hook_name", "family", "indev", "indev_name", "outdev", "outdev_name", "uid", "gid",
        "data_len", "len", "truncated", "hw_addr", "hw_type") .. [[

END
      ping -W $REPLY -c 1 127.0.0.1
      stop output]])
    assert.matches("packet_id=1\thook_name=output\tfamily=ip\tindev=nil\tindev_name=nil\toutdev=1\t"
      .. "outdev_name=lo\tuid=0\tgid=0\tdata_len=84\tlen=84\ttruncated=false\thw_addr=nil\thw_type=nil\n",
      output)
  end)

  it("tell where they come from in INPUT", function()
    local output = netns.run([[
      rule -A INPUT -p icmp --icmp-type echo-request -j QUEUE
      filter input <<'END'
]] .. printing("hook_name", "indev_name", "outdev_name", "hw_type", "hw_addr") .. [[

END
      ping -W $REPLY -c 1 127.0.0.1
      stop input]])
    assert.matches("hook_name=input\tindev_name=lo\toutdev_name=nil\thw_type=772\thw_addr=00:00:00:00:00:00\n",
      output)
    assert.equal(1, received(output))
  end)

  for _, family in ipairs { "4", "6" } do
    it("go through a router in FORWARD, IPv" .. family, function()
      local output = netns.run([[
        router
        ]] .. (family == "4" and "rule" or "rule6") .. [[ -A FORWARD -j NFQUEUE --queue-num 4
        QUEUE=4 filter forward -q 4 <<'END'
]] .. printing("hook_name", "family", "indev_name", "outdev_name", "hw_type", "queue_num") .. [[

END
        on a ping -W $REPLY -c 3 -l 3 -i 0.01 ]] .. (family == "4" and "10.2.0.2" or "-6 fd02::2") .. [[

        stop forward
        ip link show to_a | sed -n 's/.*peer.*//p']])
      assert.equal(3, received(output))
      local name = family == "4" and "ip" or "ip6"
      local there = "hook_name=forward\tfamily=" .. name
        .. "\tindev_name=to_a\toutdev_name=to_b\thw_type=1\tqueue_num=4\n"
      local back = "hook_name=forward\tfamily=" .. name
        .. "\tindev_name=to_b\toutdev_name=to_a\thw_type=1\tqueue_num=4\n"
      local count_there, count_back = select(2, output:gsub(there, "")), select(2, output:gsub(back, ""))
      -- IPv6 neighbour discovery does not go through FORWARD.
      assert.same({ 3, 3 }, { count_there, count_back })
    end)
  end

  it("carry the sender's hardware address", function()
    local output = netns.run([[
      router
      on a ip link set eth0 address 02:00:00:00:00:0a
      rule -A FORWARD -i to_a -j QUEUE
      filter mac <<'END'
]] .. printing("hw_addr") .. [[

END
      on a ping -W $REPLY -c 1 10.2.0.2
      stop mac]])
    assert.matches("hw_addr=02:00:00:00:00:0a\n", output)
  end)

  it("carry the owner of a local socket", function()
    local output = netns.run([[
      rule -A OUTPUT -p udp --dport 9 -j QUEUE
      filter owner <<'END'
]] .. printing("uid", "gid") .. [[

END
      setpriv --reuid 1234 --regid 567 --clear-groups bash -c 'echo x > /dev/udp/127.0.0.1/9'
      wait_for judged 1
      stop owner]])
    assert.matches("uid=1234\tgid=567\n", output)
  end)

  it("carry a time while somebody asks the kernel for it", function()
    local output = netns.run [[
      rule -A INPUT -p icmp --icmp-type echo-request -j QUEUE
      filter time <<'END'
return function(pkt)
  -- ping asks for the times of the answers it gets, which switches stamping on.
  local t = pkt.timestamp
  print("time", t == nil or (math.abs(t - os.time()) < 100 and t % 1 == pkt.timestamp % 1))
end
END
      ping -W $REPLY -c 3 -l 3 -i 0.01 127.0.0.1
      stop time]]
    assert.equal(3, select(2, output:gsub("time\ttrue", "")))
  end)

  it("come without bytes where the filter wants metadata alone", function()
    local output = netns.run [[
      rule -A OUTPUT -p icmp --icmp-type echo-request -j QUEUE
      filter meta <<'END'
return { queue = { copy = "meta" }, filter = function(pkt)
  print("meta", pkt.payload, pkt.len, pkt.data_len, pkt.truncated, pkt.outdev_name)
end }
END
      ping -W $REPLY -c 1 127.0.0.1
      stop meta]]
    assert.matches("meta\tnil\tnil\t0\ttrue\tlo\n", output)
    assert.matches("metadata only", output)
    assert.equal(1, received(output))
  end)

  it("come cut off at the range of the script, or of the command line", function()
    local text = [[
      rule -A OUTPUT -p icmp --icmp-type echo-request -j QUEUE
      filter cut %s <<'END'
return { queue = { range = 20 }, filter = function(pkt)
  print("cut", #pkt.payload, pkt.data_len, pkt.len, pkt.truncated, pcall(pkt.payload.u8, pkt.payload, 20))
end }
END
      ping -W $REPLY -c 1 127.0.0.1
      stop cut]]
    local output = netns.run(text:format "")
    assert.matches("cut\t20\t20\t84\ttrue\tfalse\t[^\n]*offset out of bounds: 1 byte at offset 20 of a Buffer of 20 "
      .. "bytes\n", output)
    assert.equal(1, received(output))
    output = netns.run(text:format "--copy-range 21")
    assert.matches("cut\t21\t21\t84\ttrue\ttrue\t8\n", output)
    output = netns.run(text:format "--copy-range 65535")
    assert.matches("cut\t84\t84\t84\tfalse\ttrue\t8\n", output)
  end)

  it("of 65,507 bytes of UDP come whole up to what a message can carry", function()
    local output = netns.run [[
      rule -A OUTPUT -p icmp --icmp-type echo-request -j QUEUE
      filter large <<'END'
return function(pkt) print("large", #pkt.payload, pkt.len, pkt.truncated) end
END
      ping -W $REPLY -c 1 -s 65507 127.0.0.1
      stop large]]
    assert.matches("large\t65531\t65535\ttrue\n", output)
    assert.equal(1, received(output))
  end)

  it("come whole with GSO, and in wire size without", function()
    local text = [[
      rule -A OUTPUT -p tcp --dport 8000 -j QUEUE
      head -c 3000000 /dev/zero > "$DIR/zeros"
      filter gso %s <<'END'
local most, gso, ready = 0, false, true
return { filter = function(pkt)
  most = math.max(most, pkt.len)
  gso = gso or pkt.gso
  ready = ready and pkt.csum_ready
end, stop = function() print("most", most, "gso", gso, "ready", ready) end }
END
      ip link set lo mtu 1500
      python3 -c '
import socket, sys, threading
server = socket.create_server(("127.0.0.1", 8000))
data = open(sys.argv[1], "rb").read()
def send():
    client = socket.create_connection(("127.0.0.1", 8000))
    client.sendall(data)
    client.close()
thread = threading.Thread(target=send)
thread.start()
peer, got = server.accept()[0], 0
while True:
    piece = peer.recv(1 << 20)
    if not piece: break
    got += len(piece)
thread.join()
print("received", got)
' "$DIR/zeros"
      stop gso]]
    local output = netns.run(text:format "")
    assert.matches("received 3000000\n", output)
    assert.matches("gso\ttrue\tready\tfalse", output)
    assert.is_true(tonumber(output:match "most\t(%d+)") > 1500)
    output = netns.run(text:format "--no-gso")
    assert.matches("received 3000000\n", output)
    assert.matches("most\t1500\tgso\tfalse\tready\ttrue", output)
  end)

  it("come without their connection where the kernel cannot tell it, and with all else", function()
    local output = netns.run [[
      rule -A INPUT -m conntrack --ctstate NEW,ESTABLISHED
      rule -A OUTPUT -p icmp --icmp-type echo-request -j QUEUE
      filter ct <<'END'
return function(pkt)
  local ct = pkt.ct
  print("ct", ct == nil or ct.id ~= nil and ct.state == "new", pkt.uid)
end
END
      ping -W $REPLY -c 1 127.0.0.1
      stop ct]]
    assert.matches("ct\ttrue\t0\n", output)
    assert.matches("whole packets, GSO", output)
  end)

  it("are counted by scripts/count.lua", function()
    local output = netns.run [[
      rule -A OUTPUT -j QUEUE
      run count scripts/count.lua
      ping -W $REPLY -c 3 -l 3 -i 0.01 127.0.0.1
      bash -c 'echo x > /dev/udp/127.0.0.1/9'
      wait_for judged 8
      stop count]]
    local json = require "cjson".decode(output:match "{.-}}}")
    assert.same({ packets = 1, bytes = 30 }, json.output.udp)
    -- Requests, answers, and the word that port 9 is closed.
    assert.same({ packets = 7, bytes = 6 * 84 + 58 }, json.output.icmp)
  end)
end)

netns.describe("a connection's first packet", function()
  it("is dropped by its port behind as many extension headers as its sender likes, as the kernel sees it", function()
    local output = netns.run [[
      rule6 -A OUTPUT -p tcp --dport 23 -j NFQUEUE --queue-num 0
      run drop --copy-range 65531 scripts/drop_port.lua ports=23
      python3 -c '
import socket, struct
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
host = socket.inet_pton(socket.AF_INET6, "::1")
tcp = struct.pack("!HHIIBBHHH", 1024, 23, 1, 0, 5 << 4, 2, 1024, 0, 0)
for count in 1, 64, 65, 66, 500:
    chain = b"\x3c\0\1\4\0\0\0\0" * (count - 1) + b"\6\0\1\4\0\0\0\0"
    header = struct.pack("!IHBB", 6 << 28, len(chain) + len(tcp), 60, 64) + host + host
    s.sendto(header + chain + tcp, ("::1", 0))
'
      wait_for judged 5
      stop drop]]
    assert.matches("5 packets, 0 accepted, 5 dropped, 0 other verdicts, 0 errors", output)
  end)
end)
