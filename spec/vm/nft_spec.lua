-- README's recipes for nft, literally.
local feature = require "spec.support.feature"
local netns = require "spec.support.netns"

--- The one command of README.md that begins with these words.
local function recipe(words)
  local file = assert(io.open "README.md")
  local found = {}
  for line in file:lines() do
    if line:sub(1, #words) == words then found[#found + 1] = line end
  end
  file:close()
  assert.equal(1, #found, words)
  return found[1]
end

local function first_rules(bypass)
  return recipe "nft add table inet filter" .. "\n" .. recipe "nft add chain inet filter output" .. "\n"
    .. recipe "nft add rule inet filter output" .. bypass .. "\n"
end

local talk = [[
  cat > "$DIR/talk.py" <<'END'
import socket, sys, threading
socket.setdefaulttimeout(60)
server = socket.create_server(("127.0.0.1", 9000))
def send():
    with socket.create_connection(("127.0.0.1", 9000)) as client: client.sendall(b"x" * int(sys.argv[1]))
threading.Thread(target=send).start()
peer, got = server.accept()[0], 0
while piece := peer.recv(1 << 20): got += len(piece)
print("received", got)
END
  # talk BYTES: a connection to port 9000 of this host, by which so many bytes are sent.
  talk() { python3 "$DIR/talk.py" "$1"; }
  # A connection to a port of this host that nobody listens on: 1 where it is refused, 124 where no answer comes.
  knock() { timeout "$REPLY" bash -c "echo > /dev/tcp/127.0.0.1/$1" 2> /dev/null; echo "port $1: $?"; }
  # What queue 0 was ever given.
  queued() { awk '$1 == 0 { print "queued", $8 }' /proc/net/netfilter/nfnetlink_queue; }
]]

feature.describe("README's rules for nft", { "nft's queue" }, function()
  it("have the first filter judge #short", function()
    local output = netns.run(talk .. first_rules "" .. [[
      filter telnet <<'END'
local ipq = require "ipq"

return function(pkt)
  if pkt.malformed then return ipq.DROP end
  if pkt.tcp and pkt.tcp.dport == 23 then return ipq.DROP end
end
END
      ping -c 1 -W $REPLY 127.0.0.1 > /dev/null && echo "ping passed"
      queued
      knock 22
      knock 23
      talk 1000
      stop telnet]])
    assert.matches("ping passed\nqueued 0\nport 22: 1\nport 23: 124\nreceived 1000\n", output)
    local accepted, dropped = output:match "(%d+) accepted, (%d+) dropped, 0 other verdicts, 0 errors"
    assert.is_true(tonumber(accepted) >= 6 and tonumber(dropped) >= 1, output)
  end)

  it("let packets pass with bypass where nobody reads, and drop them without", function()
    assert.matches("received 1000\n", netns.run(talk .. first_rules " bypass" .. "talk 1000"))
    assert.matches("port 22: 124\n", netns.run(talk .. first_rules "" .. "knock 22"))
  end)

  it("spread packets over several queues", function()
    local output = netns.run [[
      nft add table inet filter
      nft add chain inet filter output '{ type filter hook output priority filter; }'
      nft add rule inet filter output meta l4proto udp queue num 0-3
      run balance -q 0:3 scripts/accept.lua
      for n in 1 2 3; do wait_for queue_is_bound $n; done
      python3 -c "if True:
        import socket
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for n in range(2, 42): s.sendto(b'x', ('127.0.0.%d' % n, 9))"
      all_judged() {
        awk '{ sum += $8; waits += $3 } END { exit !(sum == 40 && !waits) }' /proc/net/netfilter/nfnetlink_queue
      }
      wait_for all_judged
      awk '$8 { print "given to", $1 }' /proc/net/netfilter/nfnetlink_queue
      stop balance]]
    -- Forty addresses leave one of the four empty once in 25,000 times.
    assert.equal(4, select(2, output:gsub("given to %d\n", "")), output)
  end)

  it("have a flow queued no more that passes by", function()
    local output = netns.run(talk .. [[
      router
      nft add table inet filter
      nft add chain inet filter forward '{ type filter hook forward priority filter; }'
    ]] .. recipe "nft add rule inet filter forward" .. "\n" .. recipe "nft add chain inet filter save" .. "\n"
      .. recipe "nft add rule inet filter save" .. "\n" .. [[
      run bypass scripts/bypass_flow.lua bytes=4096
      nsenter -t $host_b -n python3 -c "if True:
        import socket
        socket.setdefaulttimeout(60)
        peer, got = socket.create_server(('', 9000)).accept()[0], 0
        while piece := peer.recv(1 << 20): got += len(piece)
        print('received', got)" > "$DIR/server" &
      server=$!
      wait_for on b grep -q ':2328 .* 0A ' /proc/net/tcp
      on a python3 -c "if True:
        import socket
        socket.setdefaulttimeout(60)
        with socket.create_connection(('10.2.0.2', 9000)) as client: client.sendall(b'x' * 4000000)"
      wait $server
      cat "$DIR/server"
      queued
      stop bypass]])
    assert.matches("received 4000000\n", output)
    -- SYN, SYN and ACK, ACK, the first bytes; without the bypass it would be hundreds.
    local queued = tonumber(output:match "queued (%d+)")
    assert.is_true(queued >= 4 and queued < 40, output)
  end)

  it("are found by --doctor", function()
    local output = netns.run(first_rules "" .. [["$PROGRAM" --doctor scripts/accept.lua; echo "status $?"]])
    assert.matches("warning  rule: \"[^\n\"]*queue [^\n\"]*\" %(nft, table inet filter%)", output)
  end)

  it("are what --print-rules nft prints", function()
    local output = netns.run [[
      "$PROGRAM" --rule 'OUTPUT -p icmp --icmp-type echo-request' --print-rules nft > "$DIR/rules" || fail rules
      nft -f "$DIR/rules" || fail "nft -f"
      run drop scripts/drop_icmp.lua
      ping -c 2 -l 2 -i 0.01 -W $REPLY 127.0.0.1
      stop drop]]
    assert.matches(" 0 received", output)
    assert.matches("queue 0: 2 packets, 0 accepted, 2 dropped", output)
  end)
end)
