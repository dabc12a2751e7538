-- What happens to a filter under load costs no packet.
local faults = require "spec.support.faults"
local lost_nothing = require "spec.support.lossless"
local netns = require "spec.support.netns"

-- Under the sanitizers memory and times are others.
local is_sanitized = netns.program:match "sanitize"

netns.describe("under load", function()
  for _, fault in ipairs(faults.list) do
    -- One of each kind is enough then, and memory is another.
    if not fault.is_for_chaos and not (is_sanitized and fault.is_like_others) then
      it(fault.name .. " loses nothing", function()
        assert.is_nil(faults.verdict(fault, faults.run(fault, 1)))
      end)
    end
  end
end)

local shell = [[
  export ASAN_OPTIONS=detect_leaks=0:handle_segv=0
  gone() { ! kill -0 "$1" 2> /dev/null; }
  send() { bash -c "for i in \$(seq $1); do echo > /dev/udp/127.0.0.1/9; done"; }
  rule -A OUTPUT -p udp --dport 9 -j NFQUEUE --queue-num 0
]]

local function run(script) return netns.run(shell .. script) end

netns.describe("a worker that dies", function()
  it("leaves each packet that it had in hand with the verdict that is due", function()
    -- All ten wait when it comes to the fifth: four are judged, one kills it, five it has not seen.
    local output = run [[
      for i in 1 2 3 4 5 6 7 8 9 10; do rule -A INPUT -p udp --dport 9 -m mark --mark $i -j DROP; done
      filter filter --time-limit 0 --on-error accept <<'END'
local ffi = require "ffi"
local count = 0
return function(pkt)
  if count == 0 and pkt.packet_id > 1 then count = -100 end
  count = count + 1
  if pkt.packet_id == 5 then ffi.cast("int *", 8)[0] = 1 end
  pkt.mark = pkt.packet_id
end
END
      kill -STOP $(worker filter)
      send 10
      wait_for waiting 10
      kill -CONT $(worker filter)
      wait_for judged 10
      iptables-legacy -nvxL INPUT | awk '/mark match/ { printf "%s:%s ", $NF, $1 }'
      stop filter]]
    -- The successor's first packet is the eleventh: none of these ten came to it.
    assert.matches("0x1:1 0x2:1 0x3:1 0x4:1 0x5:0 0x6:0 0x7:0 0x8:0 0x9:0 0xa:0 exit 0\n", output)
    assert.matches("was killed by signal 11 %(Segmentation fault%) while it judged packet 5 %(127.0.0.1.%d+ > "
      .. "127.0.0.1.9, protocol 17%)\n", output)
    assert.matches("queue 0: 10 packets, 10 accepted, 0 dropped, 0 other verdicts, 6 errors, 0 lost unseen, "
      .. "1 restart\n", output)
  end)

  it("is followed more slowly when it never gets to judge a packet, and by none in the end", function()
    local output = run [[
      filter filter --max-restarts 3 --on-error accept <<'END'
local file = io.open(arg[0] .. ".broken")
if file then os.exit(9) end
return function() os.exit(8) end
END
      touch "$DIR/filter.lua.broken"
      rule -A INPUT -p udp --dport 9 -j ACCEPT
      send 1
      wait_for logged filter "4 workers died within a minute"
      send 5
      wait_for judged 6
      arrived 6 && echo all
      echo 'return function(pkt) pkt.mark = 7 end' > "$DIR/filter.lua"
      kill -HUP $pid_filter
      wait_for logged filter "was reloaded"
      rule -A INPUT -p udp --dport 9 -m mark --mark 7 -j DROP
      send 5
      wait_for judged 11
      stop filter]]
    assert.matches("all\n", output)
    assert.matches("ended with status 70 while it judged packet 1", output)
    assert.equal(3, select(2, output:gsub("ended with status 70 while it loaded the script\n", "")))
    assert.matches("from here on every packet gets the error verdict, until HUP or %-%-watch has the script loaded "
      .. "again", output)
    assert.matches("queue 0: 11 packets, 11 accepted, 0 dropped, 0 other verdicts, 6 errors", output)
  end)

  it("dies with its supervisor, and the rule's bypass decides", function()
    local output = run [[
      rule -F OUTPUT
      rule -A OUTPUT -p icmp -j NFQUEUE --queue-num 0 --queue-bypass
      filter filter < scripts/drop_icmp.lua
      w=$(worker filter)
      ping -c1 -W $REPLY 127.0.0.1 > /dev/null || echo dropped
      kill -KILL $pid_filter
      wait_for gone $w
      ping -c1 -W $REPLY 127.0.0.1 > /dev/null && echo passed]]
    assert.equal("dropped\npassed\n", output)
  end)
end)

netns.describe("the end while a successor loads", function()
  it("gives what waits the error verdict", function()
    local output = run [[
      rule -A INPUT -p udp --dport 9
      filter filter --time-limit 0 --on-error accept <<'END'
if io.open(arg[0] .. ".slow") then
  io.open(arg[0] .. ".loading", "w"):close()
  repeat until io.open(arg[0] .. ".go")
end
return function() end
END
      touch "$DIR/filter.lua.slow"
      kill -KILL $(worker filter)
      wait_for test -e "$DIR/filter.lua.loading"
      send 5
      wait_for waiting 5
      kill -TERM $pid_filter
      touch "$DIR/filter.lua.go"
      wait $pid_filter
      wait_for arrived 5
      cat "$DIR/filter.err"]]
    assert.matches("queue 0: 5 packets, 5 accepted, 0 dropped, 0 other verdicts, 5 errors", output)
  end)
end)

netns.describe("the end while a successor starts", function()
  it("gives what waits the error verdict, also where it is ready then", function()
    local output = run [[
      rule -A INPUT -p udp --dport 9
      filter filter --time-limit 0 --on-error accept <<'END'
return {
  start = function()
    if not io.open(arg[0] .. ".slow") then return end
    io.open(arg[0] .. ".starting", "w"):close()
    repeat until io.open(arg[0] .. ".go")
  end,
  filter = function() end,
}
END
      touch "$DIR/filter.lua.slow"
      kill -KILL $(worker filter)
      wait_for test -e "$DIR/filter.lua.starting"
      send 5
      wait_for waiting 5
      descriptors() { ls /proc/$pid_filter/fd | wc -l; }
      before=$(descriptors)
      kill -TERM $pid_filter
      # The one by which it gives orders is closed.
      has_fewer() { test $(descriptors) -lt $before; }
      wait_for has_fewer
      touch "$DIR/filter.lua.go"
      wait $pid_filter
      wait_for arrived 5
      cat "$DIR/filter.err"]]
    assert.matches("queue 0: 5 packets, 5 accepted, 0 dropped, 0 other verdicts, 5 errors", output)
  end)
end)

netns.describe("the check before an upgrade", function()
  it("has its time, and ends with the program", function()
    local output = run [[
      filter filter --time-limit 0.05 <<'END'
return function() end
END
      cp "$DIR/filter.lua" "$DIR/good.lua"
      echo 'io.open(arg[0] .. ".checked", "a"):close() while true do end' > "$DIR/filter.lua"
      kill -USR2 $pid_filter
      wait_for logged filter "cannot take over"
      rm "$DIR/filter.lua.checked"
      kill -USR2 $pid_filter
      wait_for test -e "$DIR/filter.lua.checked"
      check=$(pgrep -P $pid_filter -f -- --check)
      kill -KILL $pid_filter
      wait_for gone $check
      cat "$DIR/filter.err"]]
    assert.matches("error: [^\n]* %-%-check has taken %d%.%d s; it is ended %(%-%-time%-limit%)\n", output)
    assert.matches("cannot take over %(status %-1%): the program that runs goes on\n", output)
  end)
end)

netns.describe("a worker that cannot be started", function()
  it("is tried again, and ends no other", function()
    local output = run [[
      rule -A OUTPUT -p udp --dport 10 -j NFQUEUE --queue-num 1
      rule -A INPUT -p udp --dport 9
      rule -A INPUT -p udp --dport 10
      run filter -q 0:1 scripts/accept.lua
      wait_for logged filter 'waiting for packets' 2
      # No descriptor is left for the channel to a worker, nor may so many be waited for.
      prlimit --pid $pid_filter --nofile=3:4096
      kill -KILL $(worker filter)
      wait_for logged filter 'cannot start a worker for queue 0: Too many open files' 2
      bash -c 'for i in 1 2 3; do echo > /dev/udp/127.0.0.1/9; echo > /dev/udp/127.0.0.1/10; done'
      came() { iptables-legacy -nvxL INPUT | awk '/dpt:10/ && $1 == 3 { found = 1 } END { exit !found }'; }
      wait_for came
      echo "the other goes on"
      prlimit --pid $pid_filter --nofile=1024:4096
      wait_for arrived 3
      stop filter > "$DIR/told"
      grep -v 'cannot start' "$DIR/told"]]
    assert.matches("^the other goes on\nexit 0\n", output)
    assert.matches("queue 0: a new worker, process %d+, goes on", output)
    assert.matches("all queues: 6 packets, 6 accepted, 0 dropped, 0 other verdicts, 0 errors", output)
  end)
end)

netns.describe("an upgrade", function()
  it("starts the program that is installed now, on the same queues, and loses nothing", function()
    local output = run [[
      cp "$PROGRAM" "$DIR/installed"
      PROGRAM="$DIR/installed"
      run filter -q 0:1 --queue-maxlen 20000 scripts/accept.lua
      wait_for logged filter 'waiting for packets' 2
      "$IPQ_BUILD/spec/stream" 9 20000 2 > "$DIR/stream" & stream=$!
      wait_for seen 100
      cp "$PROGRAM" "$DIR/new"
      mv "$DIR/new" "$PROGRAM"
      for i in 1 2; do
        kill -USR2 $pid_filter
        wait_for sh -c "[ \$(grep -c 'waiting for packets' $DIR/filter.err) = $((2 + 2 * i)) ]"
      done
      [ "$(readlink /proc/$pid_filter/exe)" = "$DIR/installed" ] && echo new
      wait $stream
      stop filter
      cat "$DIR/stream"]]
    assert.matches("new\n", output)
    lost_nothing(output)
    assert.equal(2, select(2, output:gsub("installed takes over\n", "")))
    assert.matches("exit 0\n", output)
  end)

  it("does not happen where that cannot run", function()
    local output = run [[
      cp "$PROGRAM" "$DIR/installed"
      PROGRAM="$DIR/installed"
      filter filter <<'END'
return function() print "judged" end
END
      echo 'return 5' > "$DIR/filter.lua"
      kill -USR2 $pid_filter
      wait_for logged filter "cannot take over (status 65): the program that runs goes on"
      rm "$DIR/installed"
      kill -USR2 $pid_filter
      wait_for logged filter "cannot take over (status 127): the program that runs goes on"
      send 1
      wait_for judged 1
      stop filter]]
    assert.matches("must return a function", output)
    assert.matches("exit 0\njudged\n", output)
  end)

  it("does not happen to a program that was asked to end meanwhile", function()
    local output = run [[
      cp "$PROGRAM" "$DIR/installed"
      PROGRAM="$DIR/installed"
      filter filter --time-limit 0 <<'END'
return function() end
END
      export DIR
      printf '#!/bin/sh\ntouch "$DIR/asked"\nuntil [ -e "$DIR/go" ]; do sleep 0.01; done\n' > "$DIR/slow"
      chmod +x "$DIR/slow"
      mv "$DIR/slow" "$DIR/installed"
      kill -STOP $(worker filter)
      kill -USR2 $pid_filter
      wait_for test -e "$DIR/asked"
      kill -TERM $pid_filter
      touch "$DIR/go"
      has_no_other_child() { [ "$(workers filter)" = "$(worker filter)" ]; }
      wait_for has_no_other_child
      kill -CONT $(worker filter)
      wait $pid_filter
      echo "exit $?"
      grep -c 'takes over' "$DIR/filter.err"; true]]
    assert.equal("exit 0\n0\n", output)
  end)

  it("by a service manager that keeps the sockets loses nothing", function()
    local output = run [[
      export DIR PROGRAM
      PYTHONPATH=spec/support python3 -B - 2>&1 <<'END'
from manager import *
import time
def serve(): return start("--queue-maxlen", "20000", "scripts/accept.lua")
p = serve()
# At once: the program writes to the same file.
print("kept", *(name for name, _ in store), flush=True)
stream = subprocess.Popen([os.environ["IPQ_BUILD"] + "/spec/stream", "9", "20000", "2"])
for i in range(2):
    time.sleep(0.4)
    print("exit", stop(p), flush=True)
    time.sleep(0.1)
    p = serve()
stream.wait()
stop(p)
END
]]
    assert.matches("kept queue%-0 flows%-0 streams%-0 shared\n", output)
    assert.matches("exit 0\n", output)
    lost_nothing(output)
  end)
end)

netns.describe("a service manager", function()
  -- Prints what the program tells it, and "now" where it gave the time and that was right.
  local manager = [[
      cat > "$DIR/manager.py" <<'END'
import os, signal, socket, subprocess, sys, time
path, script = os.environ["DIR"] + "/notify", os.environ["DIR"] + "/filter.lua"
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.bind(path)
notify.settimeout(300)
def write(text):
    with open(script, "w") as file: file.write(text)
def told():
    fields = {"STATUS": ""}
    while "STATUS" in fields: fields = dict(line.split("=", 1) for line in notify.recv(4096).decode().split("\n"))
    at = int(fields.pop("MONOTONIC_USEC", 0)) / 1e6
    print(*fields, "now" if at and 0 <= time.monotonic() - at < 5 else "", flush=True)
    return fields
def reload(wanted=2):
    before = os.path.getsize(log.name)
    p.send_signal(signal.SIGHUP)
    while "READY" not in told(): pass
    count, until = 0, time.monotonic() + 60 * int(os.environ.get("IPQ_SLOW", 1))
    while count < wanted and time.monotonic() < until:
        with open(log.name) as file:
            file.seek(before)
            count = sum("reloaded" in line or "goes on" in line for line in file)
    print("logged", count, flush=True)
write("return { filter = print, start = function() end }")
log = open(os.environ["DIR"] + "/log", "a")
p = subprocess.Popen([os.environ["PROGRAM"], "--max-restarts", "0", "-q", "0:1", script], stderr=log,
    env=dict(os.environ, NOTIFY_SOCKET=path))
told()
END
      export DIR PROGRAM
      run_manager() {
        cat >> "$DIR/manager.py"
        printf 'p.send_signal(signal.SIGTERM)\ntold()\nprint("exit", p.wait())\n' >> "$DIR/manager.py"
        python3 "$DIR/manager.py" 2>&1
      }
]]

  it("is told of a reload, and of its end when all workers have the new script", function()
    assert.equal("READY \nRELOADING now\nREADY \nlogged 2\nRELOADING now\nREADY \nlogged 2\nSTOPPING \nexit 0\n",
      run(manager .. [[
      run_manager <<'END'
reload()
reload()
END
]]))
  end)

  it("is told of the end of a reload that has failed", function()
    assert.equal("READY \nRELOADING now\nREADY \nlogged 1\nSTOPPING \nexit 0\n", run(manager .. [[
      run_manager <<'END'
write("return 5")
reload(1)
END
]]))
  end)

  it("is told of the end of a reload in which the workers die", function()
    assert.equal("READY \nRELOADING now\nREADY \nRELOADING now\nREADY \nlogged 2\nSTOPPING \nexit 0\n",
      (run(manager .. [[
      run_manager <<'END'
write("os.exit(3)")
reload(0)
write("return print")
reload()
END
]]):gsub("READY \nlogged %d+\n", "READY \n", 1)))
  end)
end)

netns.describe("overflow", function()
  it("is counted: what was sent is what was received and what is told to be lost", function()
    local output = run [[
      filter filter --queue-maxlen 100 <<'END'
return function() local n = 0 for i = 1, 20000 do n = n + i % 3 end end
END
      "$IPQ_BUILD/spec/stream" 9 40000 2 > "$DIR/stream"
      stop filter
      cat "$DIR/stream"]]
    local sent, received = output:match "sent (%d+) received (%d+)"
    local lost = output:match "errors, (%d+) lost unseen"
    assert.is_true(tonumber(lost) > 0, output)
    assert.equal(tonumber(sent), received + lost)
  end)
end)

netns.describe("a worker that dies in a timer", function()
  it("has nothing in hand where the packets before it have their verdicts", function()
    local output = run [[
      filter filter --on-error accept <<'END'
local ipq = require "ipq"
return function(pkt)
  if pkt.packet_id == 1 then ipq.after(0, function() require "ffi".cast("int *", 8)[0] = 1 end) end
end
END
      send 1
      wait_for logged filter "goes on"
      stop filter]]
    assert.matches("was killed by signal 11 %(Segmentation fault%) in a timer\n", output)
    assert.matches("queue 0: 1 packets, 1 accepted, 0 dropped, 0 other verdicts, 0 errors, 0 lost unseen, 1 restart\n",
      output)
  end)
end)

netns.describe("workers that die one after the other", function()
  it("are counted at the end", function()
    local output = run [[
      rule -A INPUT -p udp --dport 9 -j ACCEPT
      filter filter --on-error accept <<'END'
return function() os.exit(3) end
END
      send 1
      wait_for arrived 1
      send 1
      wait_for arrived 2
      followed() { [ "$(grep -c 'goes on' "$DIR/filter.err")" -eq 2 ]; }
      wait_for followed
      stop filter]]
    assert.matches("queue 0: 2 packets, 2 accepted, 0 dropped, 0 other verdicts, 2 errors, 0 lost unseen, 2 restarts\n",
      output)
  end)
end)
