-- Flows outlive who follows them: a killed worker, a script, a version of the program.
local netns = require "spec.support.netns"

local shell = [[
  export ASAN_OPTIONS=detect_leaks=0:handle_segv=0
  gone() { ! kill -0 "$1" 2> /dev/null; }
  # say PORT N [TO]: so many packets from that port.
  say() {
    python3 - "$@" <<'END'
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", int(sys.argv[1])))
for _ in range(int(sys.argv[2])): s.sendto(b"x", ("127.0.0.1", int((sys.argv + ["9"])[3])))
END
  }
  # printed NAME TEXT: whether it has.
  printed() { grep -qF -e "$2" "$DIR/$1.out"; }
  rule -A OUTPUT -p udp --dport 9 -j NFQUEUE --queue-num 0
  rule -A INPUT -p udp --dport 9 -j DROP
]]

--- Lua for a filter: counts in a flow's record, and drops flows from port 6000 without being asked again.
local COUNTING = [[
return {
  flow = { fields = { "hits" }, stop = function(flow, reason) print("end", reason, flow.sport, flow.hits) end },
  filter = function(pkt)
    local flow = pkt.flow
    flow.hits = flow.hits + 1
    print("port " .. flow.sport, flow.hits, flow.original.packets, flow.is_new)
    if flow.sport == 6000 then flow:drop() end
  end,
}
]]

local function run(script)
  return netns.run(shell .. script:gsub("@counting\n", function() return COUNTING end))
end

netns.describe("flows", function()
  it("are there for the successor of a killed worker, with counters, fields and decisions", function()
    local output = run [[
      filter filter <<'END'
@counting
END
      say 5000 3
      say 6000 1
      wait_for judged 4
      kill -KILL $(worker filter)
      wait_for logged filter "goes on"
      say 5000 1
      say 6000 2
      wait_for judged 7
      wait_for printed filter "port 5000	4"
      stop filter]]
    assert.matches("port 5000\t4\t4\tfalse\n", output)
    assert.not_matches("port 6000\t2", output)
    assert.matches("end\texit\t5000\t4\n", output)
    assert.matches("end\texit\t6000\t1\n", output)
    assert.matches("queue 0: 7 packets, 4 accepted, 3 dropped, 0 other verdicts, 0 errors", output)
  end)

  it("are there for a script that was reloaded, whose new fields begin at 0, and stop() is not told", function()
    local output = run [[
      filter filter <<'END'
@counting
END
      say 5000 2
      say 6000 1
      wait_for judged 3
      w=$(worker filter)
      sed -i 's/"hits" }/"score", "hits" }/; s/"port "/flow.score, "port "/' "$DIR/filter.lua"
      kill -HUP $pid_filter
      wait_for logged filter "was reloaded"
      wait_for gone $w
      say 5000 1
      say 6000 1
      wait_for judged 5
      w=$(worker filter)
      sed -i 's/"score", "hits" }/"score", "count" }/; s/flow.hits/flow.count/g' "$DIR/filter.lua"
      kill -HUP $pid_filter
      wait_for logged filter "was reloaded" 2
      wait_for gone $w
      say 5000 1
      wait_for judged 6
      wait_for printed filter "port 5000	1	4"
      ! printed filter "end	"
      echo "ends before $?"
      stop filter]]
    assert.matches("ends before 0\n", output)
    assert.matches("0\tport 5000\t3\t3\tfalse\n", output)
    assert.matches("0\tport 5000\t1\t4\tfalse\n", output)
    assert.matches("end\texit\t5000\t1\n", output)
    assert.matches("6 packets, 4 accepted, 2 dropped, 0 other verdicts, 0 errors", output)
  end)

  it("stay those of the script that runs, where a new one cannot take its place", function()
    local output = run [[
      filter filter <<'END'
@counting
END
      say 5000 2
      wait_for judged 2
      sed -i '1i local broken = true' "$DIR/filter.lua"
      sed -i 's/^  filter =/  start = function() error "not now" end, filter =/' "$DIR/filter.lua"
      kill -HUP $pid_filter
      wait_for logged filter "not now"
      say 5000 1
      wait_for judged 3
      wait_for printed filter "port 5000	3"
      stop filter]]
    assert.matches("port 5000\t3\t3\tfalse\n", output)
    assert.matches("3 packets, 3 accepted, 0 dropped, 0 other verdicts, 0 errors", output)
  end)

  it("are followed no more by a process that holds packets of before the reload", function()
    local output = run [[
      filter filter <<'END'
local ipq = require "ipq"
local held
return {
  flow = {},
  filter = function(pkt)
    if pkt.sport ~= 5000 then return end
    held = pkt:hold()
    print "held"
    ipq.every(0.02, function()
      local follows, why = pcall(ipq.flow_count)
      if follows or not held then return end
      print(why)
      held:verdict(ipq.ACCEPT)
      held = nil
    end)
  end,
}
END
      say 5000 1
      wait_for printed filter "held"
      kill -HUP $pid_filter
      wait_for logged filter "was reloaded"
      wait_for printed filter "needs flow"
      say 5001 1
      wait_for judged 2
      stop filter]]
    assert.matches("held\n[^\n]*ipq.flow_count%(%) needs flow = {} in the script's table\n", output)
    assert.matches("2 packets, 2 accepted, 0 dropped, 0 other verdicts, 0 errors", output)
  end)

  it("are there for the program that takes over", function()
    local output = run [[
      cp "$PROGRAM" "$DIR/installed"
      PROGRAM="$DIR/installed"
      filter filter <<'END'
@counting
END
      say 5000 2
      say 6000 1
      wait_for judged 3
      kill -USR2 $pid_filter
      wait_for logged filter 'waiting for packets' 2
      say 5000 1
      say 6000 1
      wait_for judged 5
      wait_for printed filter "port 5000	3"
      stop filter]]
    assert.matches("takes over", output)
    assert.matches("queue 0: follows at most 493187 flows, in 64.0 MB", output)
    assert.matches("port 5000\t3\t3\tfalse\n", output)
    assert.not_matches("port 6000\t2", output)
    assert.equal(1, select(2, output:gsub("end\t%w+\t5000", "")))
  end)

  it("are kept by a service manager, by the queue's number", function()
    local output = run [==[
      cat > "$DIR/filter.lua" <<'END'
@counting
END
      export DIR PROGRAM
      PYTHONPATH=spec/support python3 -B - <<'END'
from manager import *
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 5000))
for end in subprocess.Popen.kill, subprocess.Popen.terminate:
    p = start(os.environ["DIR"] + "/filter.lua", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    s.sendto(b"x", ("127.0.0.1", 9))
    print(p.stdout.readline().decode(), end="")
    end(p)
    p.wait()
    print(*sorted(name for name, _ in store if name.startswith("flows")), flush=True)
END
]==]
    assert.equal("port 5000\t1\t1\ttrue\nflows-0\nport 5000\t2\t2\tfalse\nflows-0\n", output)
  end)

  it("take the place of those of another size that a service manager keeps", function()
    local output = run [==[
      cat > "$DIR/filter.lua" <<'END'
return { flow = {}, filter = function() end }
END
      export DIR PROGRAM
      PYTHONPATH=spec/support python3 -B - <<'END'
from manager import *
for size in ["16", "32", "32"]:
    stop(start("--flow-memory", size, os.environ["DIR"] + "/filter.lua", stderr=open(os.environ["DIR"] + "/err", "ab")))
    print(*(os.fstat(fd).st_size >> 20 for name, fd in store if name == "flows-0"), flush=True)
    print(*(os.fstat(fd).st_ino for name, fd in store if name == "flows-0"), flush=True)
END
      grep 'the program before' "$DIR/err"]==]
    local first, other, second = output:match("^16\n(%d+)\n32\n(%d+)\n32\n(%d+)\n[^\n]*queue 0: the program before "
      .. "had another %-%-flow%-memory; its flows are forgotten\n$")
    assert.is_truthy(first, output)
    assert.not_equal(first, other)
    assert.equal(other, second)
  end)

  it("are in a table for each queue", function()
    local output = run [[
      rule -A OUTPUT -p udp --dport 10 -j NFQUEUE --queue-num 1
      cat > "$DIR/filter.lua" <<'END'
local ipq = require "ipq"
return { flow = {}, filter = function(pkt) print(pkt.dport, ipq.flow_count(), pkt.flow.original.packets) end }
END
      run filter -q 0:1 "$DIR/filter.lua"
      wait_for logged filter 'waiting for packets' 2
      say 5000 2
      say 5000 1 10
      say 5001 1 10
      wait_for printed filter "9	1	2"
      wait_for printed filter "10	2	1"
      stop filter > /dev/null
      sort "$DIR/filter.out"]]
    assert.equal("10\t1\t1\n10\t2\t1\n9\t1\t1\n9\t1\t2\n", output)
  end)

  it("end within a second of their time, also where no packet comes", function()
    local output = run [[
      filter filter <<'END'
local ipq = require "ipq"
return {
  flow = { timeout = { udp = 0.3 }, stop = function(flow, reason)
    print(reason, flow.sport, ipq.now() - flow.last >= 0.3 and ipq.now() - flow.last < 60, flow.first == flow.last)
  end },
  filter = function() end,
}
END
      say 5000 1
      wait_for printed filter "timeout	5000"
      stop filter > /dev/null
      cat "$DIR/filter.out"]]
    assert.equal("timeout\t5000\ttrue\ttrue\n", output)
  end)

  it("are fewer than the script wants where memory has no room for more, which the log says", function()
    local output = run [[
      filter filter --flow-memory 2 <<'END'
return { flow = { entries = 100000 }, filter = function() end }
END
      stop filter
      filter enough --flow-memory 14 <<'END'
return { flow = { entries = 100000 }, filter = function() end }
END
      stop enough]]
    local room = assert(output:match "queue 0: follows at most (%d+) flows, in 2.0 MB\n")
    assert.is_true(tonumber(room) > 15000 and tonumber(room) < 15421, room)
    assert.matches("warning: queue 0: flow.entries = 100000 takes 14 MB; %-%-flow%-memory has room for " .. room
      .. "\n", output)
    assert.equal(1, select(2, output:gsub("flow.entries = 100000", "")))
    assert.matches("queue 0: follows at most 100000 flows, in 13.0 MB\n", output)
  end)

  it("may have little memory, where what matters least goes first", function()
    local output = run [[
      filter filter --flow-memory 1 --queue-maxlen 20000 <<'END'
local ipq = require "ipq"
local evicted = 0
return {
  flow = { stop = function(_, reason) if reason == "evicted" then evicted = evicted + 1 end end },
  filter = function() end,
  stop = function() print(evicted, ipq.flow_count()) end,
}
END
      python3 - <<'END'
import socket
for port in range(20000, 29000):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", port))
        s.sendto(b"x", ("127.0.0.1", 9))
END
      wait_for judged 9000
      stop filter > /dev/null
      cat "$DIR/filter.out"]]
    local evicted, left = output:match "^(%d+)\t(%d+)\n$"
    assert.equal(9000, evicted + left)
    assert.is_true(tonumber(left) > 7000 and tonumber(left) < 7711)
  end)
end)

netns.describe("the memory of flows", function()
  it("is no descriptor of a worker's", function()
    local output = run [[
      filter filter --no-sandbox <<'END'
return { flow = {}, filter = function() end }
END
      memory() { ls -l /proc/$1/fd | grep -c memfd; }
      memory $pid_filter
      memory $(worker filter)
      stop filter > /dev/null]]
    assert.matches("^[1-9]%d*\n0\n", output)
  end)

  -- What code of a stranger's in a worker could do, by ffi.
  for what, damage in pairs {
    ["its head"] = "ffi.fill(flows.head, 512, 0xff)",
    ["its sizes"] = "ffi.fill(ffi.cast('char *', flows.head) + 16, 240, 0x7f)",
    ["its index"] = "ffi.fill(flows.buckets, 64 * 1000, 0xa5)",
    ["its records"] = "ffi.fill(flows.records, 128 * 1000, 0xa5)",
  } do
    it("costs nobody but who writes rubbish to " .. what .. " anything", function()
      local output = run(([[
      filter filter --on-error accept <<'END'
local ffi = require "ffi"
return {
  flow = { fields = { "hits" } },
  filter = function(pkt)
    local flow = pkt.flow
    flow.hits = flow.hits + 1
    print("asked", pkt.sport, pkt.packet_id)
    if pkt.sport == 6000 then
      local flows = debug.getregistry()["ipq.require"] "ipq.engine.flows".table
      %s
      ffi.cast("int *", 8)[0] = 1
    end
  end,
}
END
      say 5000 1
      say 6000 1
      wait_for logged filter "goes on"
      say 5001 2
      wait_for judged 4
      wait_for printed filter "asked	5001	4"
      stop filter]]):format(damage))
      assert.matches("asked\t5001\t3\nasked\t5001\t4\n", output)
      assert.matches("exit 0\n", output)
      local is_told = output:find("the table of flows of the process before cannot be read; it is empty now", 1, true)
      assert.equal(what == "its head" or what == "its sizes", is_told ~= nil)
      assert.matches("4 packets, 4 accepted, 0 dropped, 0 other verdicts, 1 errors, 0 lost unseen, 1 restart\n",
        output)
    end)
  end
end)
