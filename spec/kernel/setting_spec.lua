-- What a script knows of the program around it: bits of marks, its queue, its worker.
local netns = require "spec.support.netns"

local function count(output, text) return select(2, output:gsub(text, "")) end

netns.describe("--mark-bits", function()
  it("are those of pkt:bypass(), of the module, and of the rule, in every worker", function()
    local output = netns.run [[
      # MARK: a datagram to port 9 from a socket with that mark; when it has been judged, if it is to be, two more.
      cat > "$DIR/send.py" <<'END'
import socket, sys, time
def queued(): return int(open("/proc/net/netfilter/nfnetlink_queue").read().split()[7])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, int(sys.argv[1], 0))
before = queued()
s.sendto(b"x", ("127.0.0.1", 9))
while sys.argv[2] == "judged" and queued() == before: time.sleep(0.01)
while int(open("/proc/net/netfilter/nfnetlink_queue").read().split()[2]) > 0: time.sleep(0.01)
for _ in range(2): s.sendto(b"x", ("127.0.0.1", 9))
END
      send() { python3 "$DIR/send.py" "$@"; }
      in_place() { grep -qs 'is in place' "$DIR/$1.err"; }
      rule -t mangle -A POSTROUTING -m mark --mark 0x1/0x1 -j CONNMARK --or-mark 0x1
      rule -A INPUT -p udp --dport 9 -j ACCEPT
      cat > "$DIR/marks.lua" <<'END'
local ipq = require "ipq"
ipq.log.info(("bits %d %d"):format(ipq.BYPASS_MARK, ipq.SENT_MARK))
return function(pkt)
  pkt:bypass()
  ipq.log.info("mark " .. pkt.mark)
end
END
      run marks --mark-bits 0x1,0x2 --rule 'OUTPUT -p udp --dport 9 -m connmark ! --mark 0x1/0x1' "$DIR/marks.lua"
      wait_for in_place marks
      send 0x2 unseen           # ipq.SENT_MARK
      wait_for arrived 3
      send 0x20000000 judged    # what it would be without the option
      wait_for arrived 6
      kill -HUP $pid_marks
      wait_for reloaded marks
      send 0 judged
      wait_for arrived 9
      kill -KILL $(worker marks)
      wait_for logged marks 'a new worker'
      send 0 judged
      wait_for arrived 12
      stop marks]]
    assert.equal(3, count(output, "bits 1 2\n"), output)
    assert.equal(1, count(output, "mark 536870913\n"), output) -- 0x20000001
    assert.equal(2, count(output, "mark 1\n"), output)
    assert.matches("queue 0: 3 packets, 3 accepted, 0 dropped, 0 other verdicts, 0 errors", output)
  end)
end)

netns.describe("ipq.queue_num and ipq.worker", function()
  it("tell each worker which it is, at the top level and after reloads and deaths", function()
    local output = netns.run [[
      cat > "$DIR/which.lua" <<'END'
local ipq = require "ipq"
ipq.log.info(("I am %d of queue %d"):format(ipq.worker, ipq.queue_num))
local since = ipq.monotonic()
local function stop() ipq.log.info("monotonic " .. tostring(ipq.monotonic() >= since and ipq.monotonic() < 1e9)) end
return { filter = function() end, stop = stop }
END
      run which -q 5:6 "$DIR/which.lua"
      wait_for logged which 'waiting for packets' 2
      kill -HUP $pid_which
      wait_for reloaded which
      kill -KILL $(workers which | tail -n 1)
      wait_for logged which 'a new worker'
      stop which]]
    local first, second = count(output, "I am 0 of queue 5\n"), count(output, "I am 1 of queue 6\n")
    -- Which of them was killed is not said.
    assert.is_true(first == 2 and second == 3 or first == 3 and second == 2, output)
    assert.equal(5, count(output, "I am "), output)
    assert.equal(4, count(output, "monotonic true\n"), output)
  end)
end)
