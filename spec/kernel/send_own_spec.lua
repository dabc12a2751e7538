-- What was sent comes back to a rule without an exception, and is known there.
local netns = require "spec.support.netns"

-- send MARK N: datagrams to port 9 from a socket with that mark, all alike.
local prologue = [[
  send() { python3 -c '
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, int(sys.argv[1], 0))
for _ in range(int(sys.argv[2])): s.sendto(b"alike", ("127.0.0.1", 9))' "$@"; }
  rule -A INPUT -p udp --dport 9 -j ACCEPT
]]

-- Sends each packet once more at OUTPUT, and tells how many it has seen of each hook.
local duplicates = [[<<'FILTER'
local ipq = require "ipq"
local seen = {}
return { send = true, filter = function(pkt)
  seen[pkt.hook_name] = (seen[pkt.hook_name] or 0) + 1
  if pkt.hook_name == "output" then assert(ipq.send(pkt)) end
end, stop = function() for hook, n in pairs(seen) do print("saw " .. n .. " at " .. hook) end end }
FILTER
]]

local function run(script) return netns.run(prologue .. script) end

netns.describe("What comes back of what was sent", function()
  it("is passed unseen in every hook, once for each that was sent", function()
    local output = run([[
      for way in "filter OUTPUT" "mangle POSTROUTING" "mangle PREROUTING" "mangle INPUT"; do
        rule -t ${way% *} -A ${way#* } -p icmp --icmp-type echo-request -j NFQUEUE --queue-num 0
      done
      rule -A INPUT -p icmp --icmp-type echo-request -j ACCEPT
      filter duplicates ]] .. duplicates .. [[
      ping -f -c 2000 -q -W $REPLY 127.0.0.1
      wait_for judged 16000
      iptables-legacy -nvxL INPUT | awk '/icmptype 8/ { print "arrived", $1 }'
      stop duplicates]])
    assert.matches("arrived 4000\n", output)
    for _, hook in ipairs { "output", "postrouting", "prerouting", "input" } do
      assert.matches("saw 2000 at " .. hook .. "\n", output)
    end
    assert.matches("queue 0: 16000 packets, 16000 accepted, 0 dropped, 0 other verdicts, 0 errors", output)
  end)

  it("is shown to a filter that says so, which ends where it sends no more", function()
    local output = run [[
      rule -A OUTPUT -p udp --dport 9 -j NFQUEUE --queue-num 0
      filter shown <<'FILTER'
local bit, ipq = require "bit", require "ipq"
local fresh, own = 0, 0
return { send = true, queue = { sent = true }, filter = function(pkt)
  if bit.band(pkt.mark, ipq.SENT_MARK) ~= 0 then own = own + 1 return end
  fresh = fresh + 1
  ipq.send(pkt)
end, stop = function() print("fresh " .. fresh .. " own " .. own) end }
FILTER
      send 0 100
      wait_for arrived 200
      stop shown]]
    assert.matches("fresh 100 own 100\n", output)
  end)

  it("is not what a local program sets the bit in, however much it is like it", function()
    local output = run([[
      rule -A OUTPUT -p udp --dport 9 -j NFQUEUE --queue-num 0
      filter duplicates ]] .. duplicates .. [[
      send 0x20000000 500
      wait_for arrived 1000
      wait_for judged 1000
      send 0x20000000 1
      wait_for arrived 1002
      stop duplicates]])
    assert.matches("saw 501 at output\n", output)
    assert.matches("queue 0: 1002 packets, 1002 accepted", output)
  end)

  it("is not a connection that the bit was saved in", function()
    local output = run([[
      rule -t mangle -A OUTPUT -p udp --dport 9 -m mark --mark 0 -j CONNMARK --restore-mark
      rule -t mangle -A POSTROUTING -p udp --dport 9 -j CONNMARK --save-mark
      rule -A OUTPUT -p udp --dport 9 -m mark --mark 0x20000000/0x20000000
      rule -A OUTPUT -p udp --dport 9 -j NFQUEUE --queue-num 0
      filter duplicates ]] .. duplicates .. [[
      mkfifo "$DIR/go"
      python3 -c '
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(20):
    s.sendto(b"%d" % i, ("127.0.0.1", 9))
    sys.stdin.readline()' < "$DIR/go" & program=$!
      for i in $(seq 20); do wait_for arrived $((2 * i)); echo >&3; done 3> "$DIR/go"
      wait $program
      iptables-legacy -nvxL OUTPUT | awk '/mark match/ { print "with the bit", $1 }'
      stop duplicates]])
    assert.matches("saw 20 at output\n", output)
    -- All but the first of the program's, and what was sent for each.
    assert.matches("with the bit 39\n", output)
  end)

  it("bears the bit that --mark-bits says, beside its cause's mark", function()
    local output = run([[
      rule -A OUTPUT -p udp --dport 9 -j NFQUEUE --queue-num 0
      rule -t mangle -A INPUT -p udp --dport 9 -m mark --mark 0x42
      rule -t mangle -A INPUT -p udp --dport 9 -m mark --mark 0x20000040
      filter duplicates --mark-bits 0x1,0x2 ]] .. duplicates .. [[
      send 0x40 10
      wait_for arrived 20
      send 0x20000040 10
      wait_for arrived 40
      iptables-legacy -t mangle -nvxL INPUT | awk '/mark match/ { print "marked", $NF, $1 }'
      stop duplicates]])
    assert.matches("saw 20 at output\n", output)
    assert.matches("marked 0x42 10\nmarked 0x20000040 10\n", output)
  end)

  it("does not come where --rule queues", function()
    local output = run([[
      filter duplicates --rule 'OUTPUT -p udp --dport 9' ]] .. duplicates .. [[
      wait_for logged duplicates 'is in place'
      send 0 100
      wait_for arrived 200
      stop duplicates]])
    assert.matches("saw 100 at output\n", output)
    assert.matches("queue 0: 100 packets, 100 accepted", output)
  end)

  it("is a packet that was cut into fragments, which connection tracking puts together again", function()
    local output = run([[
      ip link set lo mtu 1500
      rule -t mangle -A PREROUTING -m conntrack --ctstate INVALID -j ACCEPT
      rule -A OUTPUT -p udp --dport 9 -j NFQUEUE --queue-num 0
      filter duplicates ]] .. duplicates .. [[
      python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, 10, 0) # no DF
s.sendto(bytes(3000), ("127.0.0.1", 9))'
      wait_for judged 2
      stop duplicates]])
    assert.matches("saw 1 at output\n", output)
    assert.matches("1 packets sent", output)
  end)

  it("is known by what the queue copies of it", function()
    local output = run [[
      rule -A OUTPUT -p udp --dport 9 -j NFQUEUE --queue-num 0
      filter short <<'FILTER'
local ipq = require "ipq"
local seen = 0
return { send = true, queue = { range = 64 }, filter = function()
  seen = seen + 1
  assert(ipq.send(assert(ipq.build.udp { saddr = "127.0.0.1", daddr = "127.0.0.1", sport = 7, dport = 9,
    payload = ("x"):rep(200) })))
end, stop = function() print("saw " .. seen) end }
FILTER
      send 0 1
      wait_for judged 2
      stop short]]
    assert.matches("saw 1\n", output)
  end)
end)
