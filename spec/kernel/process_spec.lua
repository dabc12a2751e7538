local netns = require "spec.support.netns"

local function received(output) return tonumber(output:match "(%d+) received") end

netns.describe("the live program", function()
  it("ends by TERM and by INT, with status 0, when no packet comes", function()
    for _, signal in ipairs { "TERM", "INT" } do
      local output = netns.run(([[
        run accept scripts/accept.lua
        kill -%s $pid_accept
        wait $pid_accept
        echo "exit $?"]]):format(signal))
      assert.matches("exit 0\n", output)
    end
  end)

  it("goes on with the same worker when nobody reads what the script prints", function()
    local output = netns.run [[
      rule -A OUTPUT -p icmp -j QUEUE
      mkfifo "$DIR/pipe"
      head -n 1 "$DIR/pipe" > "$DIR/read" & reader=$!
      cat > "$DIR/talk.lua" <<'END'
return function() print "packet"; io.stdout:flush() end
END
      env --default-signal=PIPE "$PROGRAM" "$DIR/talk.lua" > "$DIR/pipe" 2> "$DIR/talk.err" &
      pid_talk=$!
      wait_for queue_is_bound 0
      wait_for grep -q waiting "$DIR/talk.err"
      ping -c1 -W $REPLY -q 127.0.0.1 > /dev/null
      wait $reader
      ping -c 3 -l 3 -i 0.01 -W $REPLY -q 127.0.0.1
      kill -TERM $pid_talk
      wait $pid_talk
      echo "exit $?"
      cat "$DIR/talk.err"]]
    assert.equal(3, received(output))
    assert.matches("exit 0\n", output)
    assert.is_nil(output:find("its worker", 1, true))
  end)

  it("ends, and its rule with it, when its terminal is closed, for which HUP stands as well", function()
    local output = netns.run [[
      script -qec "exec \"$PROGRAM\" --rule 'OUTPUT -p icmp' scripts/accept.lua" /dev/null > "$DIR/screen" &
      pid_script=$!
      wait_for grep -qs 'is in place' "$DIR/screen"
      pid=$(cat /proc/$pid_script/task/$pid_script/children)
      kill -HUP $pid
      wait_for grep -qs 'was reloaded' "$DIR/screen"
      kill -KILL $pid_script
      gone() { ! kill -0 "$1" 2> /dev/null; }
      wait_for gone $pid
      iptables-legacy -S OUTPUT
      queue_is_bound 0 || echo free]]
    assert.equal("-P OUTPUT ACCEPT\nfree\n", output)
  end)

  it("has no socket in the place of a stream that was closed", function()
    local output = netns.run [[
      "$PROGRAM" --stats=0.1 scripts/accept.lua <&- >&- 2>&- &
      pid=$!
      wait_for queue_is_bound 0
      for fd in 0 1 2; do readlink /proc/$pid/fd/$fd; done
      kill -TERM $pid
      wait $pid
      echo "exit $?"]]
    assert.equal("/dev/null\n/dev/null\n/dev/null\nexit 0\n", output)
  end)

  it("judges what waits before it ends", function()
    -- Stopped by a signal, packets pile up behind it; TERM comes before it goes on.
    local output = netns.run [[
      rule -A OUTPUT -p udp --dport 9 -j QUEUE
      rule -A INPUT -p udp --dport 9 -j DROP
      run accept --time-limit 0 scripts/accept.lua
      kill -STOP $(worker accept)
      bash -c 'for i in {1..200}; do echo $i > /dev/udp/127.0.0.1/9; done'
      wait_for waiting 200
      kill -TERM $pid_accept
      kill -CONT $(worker accept)
      wait $pid_accept
      echo "exit $?"
      cat "$DIR/accept.err"
      iptables-legacy -nvxL INPUT | awk '/dpt:9/ { print "arrived", $1 }']]
    assert.matches("arrived 200\n", output)
    assert.matches("exit 0\n", output)
    assert.matches("200 packets, 200 accepted", output)
  end)

  it("loses nothing when it ends under load, where rule and queue fail open", function()
    local output = netns.run [[
      rule -A OUTPUT -p udp --dport 9 -j NFQUEUE --queue-num 0 --queue-bypass
      run accept --fail-open --queue-maxlen 20000 scripts/accept.lua
      "$IPQ_BUILD/spec/stream" 9 5000 600 > "$DIR/stream" & stream=$!
      wait_for seen 500
      stop accept
      arrived=$(cat /proc/net/snmp | awk '/^Udp: [0-9]/ { print $2 }')
      passed() { [ "$(awk '/^Udp: [0-9]/ { print $2 }' /proc/net/snmp)" -gt $((arrived + 100)) ]; }
      wait_for passed
      kill -TERM $stream
      wait $stream
      cat "$DIR/stream"]]
    local sent, arrived = output:match "sent (%d+) received (%d+) lost 0 twice 0"
    assert.truthy(sent, output)
    assert.equal(sent, arrived)
    local judged = tonumber(output:match "queue 0: (%d+) packets")
    assert.is_true(judged >= 500 and judged < tonumber(sent))
  end)

  it("fails open when its queue is full, if asked to", function()
    for option, case in pairs { ["--fail-open"] = { 50, "arrived 40" }, [""] = { 10, "turned_away 40" } } do
      local output = netns.run(([[
        rule -A OUTPUT -p udp --dport 9 -j QUEUE
        rule -A INPUT -p udp --dport 9
        run accept --time-limit 0 --queue-maxlen 10 %s scripts/accept.lua
        kill -STOP $(worker accept)
        bash -c 'for i in $(seq 50); do echo > /dev/udp/127.0.0.1/9; done'
        wait_for waiting 10
        # The other 40 have met the full queue.
        wait_for %s
        kill -CONT $(worker accept)
        wait_for arrived %d
        stop accept
        iptables-legacy -nvxL INPUT | awk '/dpt:9/ { print "arrived", $1 }']]):format(option, case[2], case[1]))
      assert.equal(case[1], tonumber(output:match "arrived (%d+)"))
    end
  end)

  -- What the program costs; sanitizers cost more.
  local measured = netns.program:match "sanitize" and function() end or it

  measured("needs less than 16 MB of memory", function()
    local output = netns.run [[
      rule -A OUTPUT -p icmp --icmp-type echo-request -j QUEUE
      run count scripts/count.lua
      ping -c 300 -i 0.002 -s 60000 -q -W $REPLY 127.0.0.1
      wait_for judged 300
      grep -h VmHWM /proc/$pid_count/status /proc/$(worker count)/status
      stop count]]
    assert.matches("queue 0: 300 packets, 300 accepted", output)
    local supervisor, judging = output:match "VmHWM:%s+(%d+) kB\nVmHWM:%s+(%d+) kB"
    assert.is_true(supervisor + judging < 16384, output)
  end)

  it("takes packets from the kernel alone", function()
    local output = netns.run [[
      run accept scripts/accept.lua
      port=$(awk '{ print $2 }' /proc/net/netfilter/nfnetlink_queue)
      python3 -c '
import socket, sys
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
s.bind((0, 0))
try:
    s.sendto(b"\0" * 100, (int(sys.argv[1]), 0))
    print("taken")
except ConnectionRefusedError:
    print("refused")
' "$port"
      stop accept]]
    assert.matches("refused\n", output)
    assert.matches("exit 0\n", output)
  end)

  it("runs in a plain luajit as README shows it", function()
    local text = assert(io.open "README.md"):read "*a"
    local own = text:match "<!%-%- example: own.lua %-%->\n```lua\n(.-)```"
    local output = netns.run([[
      rule -A OUTPUT -p icmp --icmp-type echo-request -j QUEUE
      cat > "$DIR/own.lua" <<'END'
]] .. own .. [[
END
      export LUA_PATH='bindings/?.lua;bindings/?/init.lua;;' LUA_CPATH="$IPQ_BUILD/?.so;;"
      runtime=
      [ "${IPQ_BUILD%sanitize}" = "$IPQ_BUILD" ] || runtime=$(cc -print-file-name=libasan.so)
      LD_PRELOAD=$runtime luajit "$DIR/own.lua" &
      own=$!
      wait_for queue_is_bound 0
      LD_PRELOAD=$runtime luajit "$DIR/own.lua" || echo "second $?"
      ping -W $REPLY -c 2 -l 2 -i 0.01 127.0.0.1
      kill $own]])
    assert.equal(2, received(output))
    assert.matches("cannot bind queue 0: it belongs to netlink port[^\n]*\nsecond 1\n", output)
  end)

  it("runs in a plain luajit, and stops by itself", function()
    local output = netns.run [[
      rule -A OUTPUT -p icmp --icmp-type echo-request -j QUEUE
      cat > "$DIR/own.lua" <<'END'
package.path = "bindings/?.lua;bindings/?/init.lua;" .. package.path
package.cpath = os.getenv "IPQ_BUILD" .. "/?.so;" .. package.cpath
local ipq = require "ipq"
local queue = assert(ipq.open { queue_num = 0, range = 40 })
local second, message, code = ipq.open { queue_num = 0 }
print("second", second, message, code)
io.stdout:flush()
local n = 0
print("run", queue:run(function(pkt)
  n = n + 1
  if n == 3 then queue:stop() end
  if n == 2 then return ipq.DROP end
  assert(#pkt.payload == 40)
end))
queue:close()
queue:close()
print("closed", pcall(function() queue:stop() end))
print("closed", pcall(function() queue:run(print) end))
print("again", ipq.open { queue_num = 0 } ~= nil)
END
      export IPQ_BUILD
      [ "${IPQ_BUILD%sanitize}" = "$IPQ_BUILD" ] || export LD_PRELOAD="$(cc -print-file-name=libasan.so)"
      luajit "$DIR/own.lua" > "$DIR/own.out" 2>&1 &
      own=$!
      wait_for grep -q second "$DIR/own.out"
      unset LD_PRELOAD
      ping -c 3 -l 3 -i 0.01 -W $REPLY 127.0.0.1
      wait $own
      cat "$DIR/own.out"]]
    assert.equal(2, received(output))
    assert.matches("second\tnil\tcannot bind queue 0: it belongs to netlink port %d+[^\n]*\tEBUSY\n", output)
    assert.matches("run\ttrue\n", output)
    assert.equal(2, select(2, output:gsub("closed\tfalse\t[^\n]*/own%.lua:%d+: the queue is closed: ipq.open", "")))
    assert.matches("again\ttrue\n", output)
  end)
end)
