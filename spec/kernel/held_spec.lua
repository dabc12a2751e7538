-- Held packets and timers on a live queue.
local netns = require "spec.support.netns"

local function received(output) return tonumber(output:match "(%d+) received") end

netns.describe("held packets", function()
  it("come through delay.lua late by its time, and all of them", function()
    local output = netns.run [[
      rule -A OUTPUT -p icmp --icmp-type echo-request -j QUEUE
      run delay scripts/delay.lua ms=40
      ping -c 30 -l 30 -i 0.01 -q -W $REPLY 127.0.0.1
      stop delay]]
    assert.equal(30, received(output))
    local slow = tonumber(os.getenv "IPQ_SLOW") or 1
    local least, mean = output:match "rtt min/avg/max/mdev = ([%d.]+)/([%d.]+)/"
    assert.is_true(tonumber(least) >= 40 and tonumber(mean) < 80 * slow, output)
    assert.matches("queue 0: 30 packets, 30 accepted, 0 dropped, 0 other verdicts, 0 errors, 0 lost", output)
    assert.matches("exit 0\n", output)
  end)

  it("are half of the queue at most; those beyond get the error verdict, with the reason", function()
    local output = netns.run [[
      rule -A OUTPUT -p icmp --icmp-type echo-request -j QUEUE
      filter hold --queue-maxlen 10 <<'END'
return function(pkt) pkt:hold() end
END
      ping -c 8 -l 8 -i 0.01 -q -W $REPLY 127.0.0.1 > "$DIR/ping" &
      ping=$!
      wait_for seen 8
      wait_for waiting 5
      stop hold
      wait $ping
      cat "$DIR/ping"]]
    -- Those that were held have got the default verdict in the end.
    assert.equal(5, received(output))
    assert.matches("error: packet 6 of queue 0: /[^\n]*/hold.lua:1: 5 packets are held already", output)
    assert.matches("queue 0: 8 packets, 5 accepted, 3 dropped, 0 other verdicts, 3 errors", output)
  end)

  it("can be judged by stop(), and get the default verdict behind it", function()
    for default, expected in pairs { accept = 8, drop = 2 } do
      local output = netns.run(([[
        rule -A OUTPUT -p icmp --icmp-type echo-request -j QUEUE
        filter hold --default %s <<'END'
local ipq, held = require "ipq", {}
return { filter = function(pkt) held[#held + 1] = pkt:hold() end, stop = function()
  held[3]:verdict(ipq.ACCEPT)
  held[1]:verdict(ipq.ACCEPT)
  held[2]:verdict(ipq.DROP)
  held[4]:verdict(ipq.DROP)
end }
END
        ping -c 10 -l 10 -i 0.01 -q -W $REPLY 127.0.0.1 > "$DIR/ping" &
        ping=$!
        wait_for seen 10
        stop hold
        wait $ping
        cat "$DIR/ping"]]):format(default))
      assert.equal(expected, received(output))
      assert.matches(("queue 0: 10 packets, %d accepted, %d dropped"):format(expected, 10 - expected), output)
      assert.not_matches("refused", output)
    end
  end)

  it("lose no other packet, and none twice, where one in ten of many is held", function()
    local output = netns.run [[
      rule -A OUTPUT -p udp --dport 9 -j QUEUE
      rule -A INPUT -p udp --dport 9 -j DROP
      filter tenth --queue-maxlen 20000 <<'END'
local ipq, n, held = require "ipq", 0, {}
local function let_go(one) one:verdict(ipq.ACCEPT) end
return function(pkt)
  n = n + 1
  if n % 10 == 0 then
    if n % 20 == 0 then ipq.after(0.003, let_go, pkt:hold()) else held[#held + 1] = pkt:hold() end
  elseif #held == 50 then
    for i = 50, 1, -1 do held[i]:verdict(ipq.ACCEPT, i % 2 == 0 and pkt.payload or nil) end
    held = {}
  end
end
END
      python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(20000): s.sendto(b"%d" % i, ("127.0.0.1", 9))'
      wait_for arrived 19950
      stop tenth
      arrived 20000 && echo all
      iptables-legacy -nvxL INPUT | awk '/dpt:9/ { print "arrived", $1 }']]
    assert.matches("arrived 20000\n", output)
    assert.matches("queue 0: 20000 packets, 20000 accepted, 0 dropped, 0 other verdicts, 0 errors, 0 lost", output)
    assert.not_matches("refused", output)
  end)

  it("go on as they were changed, and with other bytes where the verdict brings them", function()
    local output = netns.run [[
      rule -A OUTPUT -p udp --dport 9 -j QUEUE
      filter change <<'END'
local ipq = require "ipq"
local first
return function(pkt)
  if not first then
    pkt.udp.payload:replace(0, 5, "first, and longer")
    first = pkt:hold()
    return
  end
  ipq.after(0.01, function(held) held:verdict() end, pkt:hold())
  pkt.udp.payload:write(0, "S")
  ipq.after(0.02, function() first:verdict(ipq.ACCEPT) end)
end
END
      python3 -c '
import socket
r = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
r.bind(("127.0.0.1", 9))
r.settimeout(300)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for text in (b"first", b"second"): s.sendto(text, ("127.0.0.1", 9))
for i in range(2): print("got", r.recv(100).decode())'
      stop change]]
    assert.matches("got Second\ngot first, and longer\n", output)
    assert.not_matches("error:", output)
  end)

  it("go on with their own bytes where many are judged at once, more than one message takes", function()
    local output = netns.run [[
      rule -A OUTPUT -p udp --dport 9 -j QUEUE
      filter together --queue-maxlen 200 <<'END'
local held = {}
return function(pkt)
  local number = tonumber(pkt.udp.payload:string(0, 2))
  pkt.udp.payload:write(0, ("%03d"):format(number + 100))
  held[#held + 1] = pkt:hold()
  if #held < 70 then return end
  require "ipq".after(0.01, function() for i = 70, 1, -1 do held[i]:verdict() end end)
end
END
      python3 -c '
import socket
r = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
r.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)
r.bind(("127.0.0.1", 9))
r.settimeout(300)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 32, 1 << 24)
sent = [b"%02d" % i + bytes([i]) * (20 if i % 3 else 9000) for i in range(10, 80)]
for one in sent: s.sendto(one, ("127.0.0.1", 9))
got = [r.recv(10000) for one in sent]
print("as sent", got == [b"%03d" % (int(one[:2]) + 100) + one[3:] for one in reversed(sent)])'
      stop together]]
    assert.matches("as sent True\n", output)
    assert.matches("queue 0: 70 packets, 70 accepted, 0 dropped, 0 other verdicts, 0 errors", output)
    assert.not_matches("refused", output)
  end)

  it("get the default verdict when a program's own loop ends", function()
    local output = netns.run [[
      rule -A OUTPUT -p icmp --icmp-type echo-request -j QUEUE
      cat > "$DIR/own.lua" <<'END'
local ipq = require "ipq"
local queue = assert(ipq.open { maxlen = 100 })
local held
print(queue:run(function(pkt)
  if held then queue:stop() else held = pkt:hold() end
end))
print(pcall(held.verdict, held))
END
      export LUA_PATH='bindings/?.lua;bindings/?/init.lua;;' LUA_CPATH="$IPQ_BUILD/?.so;;"
      runtime=
      [ "${IPQ_BUILD%sanitize}" = "$IPQ_BUILD" ] || runtime=$(cc -print-file-name=libasan.so)
      LD_PRELOAD=$runtime luajit "$DIR/own.lua" > "$DIR/own.out" 2>&1 &
      own=$!
      wait_for queue_is_bound 0
      ping -c 2 -l 2 -i 0.01 -q -W $REPLY 127.0.0.1
      wait $own
      cat "$DIR/own.out"]]
    assert.equal(2, received(output))
    assert.matches("true\nfalse\tthe packet got the default verdict when its filter ended\n", output)
  end)
end)

netns.describe("timers", function()
  it("run while no packet comes, from start() on, and end with the filter", function()
    local output = netns.run [[
      filter tick <<'END'
local ipq = require "ipq"
return { filter = function() end, start = function()
  local n = 0
  ipq.every(0.02, function()
    n = n + 1
    print("tick " .. n)
    io.stdout:flush()
    if n == 2 then error "two" end
  end)
  ipq.after(0.05, print, "once")
end }
END
      wait_for grep -q "tick 10" "$DIR/tick.out"
      stop tick]]
    local ticks, once = output:match("exit 0\n(.*tick 10\n)"):gsub("once\n", "")
    assert.equal(1, once)
    assert.matches("^tick 1\ntick 2\ntick 3\n", ticks)
    assert.matches("exit 0\n", output)
    assert.matches("error: timer: /[^\n]*/tick.lua:8: two\n\tstack traceback:\n", output)
  end)

  it("keep their time while packets come, with --spin too", function()
    for _, options in ipairs { "", "--spin 200" } do
      local output = netns.run(([[
        rule -A OUTPUT -p icmp --icmp-type echo-request -j QUEUE
        filter load %s <<'END'
local ipq = require "ipq"
local ticks, seen = 0, 0
ipq.every(0.01, function() ticks = ticks + 1 end)
return { filter = function() seen = seen + 1 end, stop = function() print("ticks " .. ticks .. " seen " .. seen) end }
END
        ping -c 1000 -i 0.0005 -l 20 -q -W $REPLY 127.0.0.1
        wait_for judged 1000
        stop load]]):format(options))
      local ticks, seen = output:match "ticks (%d+) seen (%d+)"
      local took = tonumber(output:match "time (%d+)ms")
      assert.equal(1000, tonumber(seen))
      assert.is_true(tonumber(ticks) >= took / 10 * 0.5, output)
    end
  end)
end)
