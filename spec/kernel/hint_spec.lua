-- What a program says that no packet comes to.
local netns = require "spec.support.netns"

local HINT = "no packet has come within 5 s"

local function count(output, pattern) return select(2, output:gsub(pattern, "")) end

netns.describe("a queue without packets", function()
  it("is told of once, with what looks why", function()
    local output = netns.run [[
      "$PROGRAM" -q 10 --log-level warn scripts/accept.lua 2> "$DIR/quiet.err" &
      run a scripts/accept.lua
      QUEUE=7 run b -q 7 --json scripts/accept.lua
      run c -q 8:9 scripts/accept.lua
      # Neither a worker that follows nor a reload is a start.
      kill -KILL $(worker a)
      wait_for logged a 'goes on'
      kill -HUP $pid_a
      wait_for logged a 'was reloaded'
      # The last one to start is told of behind all that the others could say.
      QUEUE=11 run last -q 11 scripts/accept.lua
      for name in a b c last; do wait_for logged $name 'no packet has come'; done
      # Each of them looks again before it ends.
      looks() { awk '/^voluntary_ctxt_switches/ { print $2 }' /proc/$pid_a/status; }
      before=$(looks)
      has_looked() { [ "$(looks)" -ge $((before + 4)) ]; }
      wait_for has_looked
      queue_is_bound 10 || fail "it does not run"
      for name in a b c last; do stop $name; done
      cat "$DIR/quiet.err"]]
    assert.matches("ipq%-lua: queue 0: " .. HINT .. ": ipq%-lua %-%-doctor looks whether a rule queues any\n", output)
    assert.matches('"level":"info".*"queue":7,.*"queue 7: ' .. HINT .. ": ipq%-lua %-%-doctor %-q 7 looks", output)
    assert.matches("all queues: " .. HINT .. ": ipq%-lua %-%-doctor %-q 8:9 looks", output)
    assert.equal(4, count(output, HINT), output)
    assert.equal(4, count(output, "exit 0\n"), output)
  end)

  it("is not told of where one has come, to another queue of the program, or to the program before", function()
    local output = netns.run [[
      rule -A OUTPUT -p udp --dport 9 -j NFQUEUE --queue-num 1
      rule -A OUTPUT -p udp --dport 10 -j NFQUEUE --queue-num 3
      run three -q 0:2 scripts/accept.lua
      QUEUE=3 run upgraded -q 3 scripts/accept.lua
      bash -c 'echo > /dev/udp/127.0.0.1/9; echo > /dev/udp/127.0.0.1/10'
      has_judged() { awk -v n="$1" '$1 == n && $8 >= 1 && $3 == 0 { found = 1 } END { exit !found }' \
        /proc/net/netfilter/nfnetlink_queue; }
      for queue in 1 3; do wait_for has_judged $queue; done
      kill -KILL $(workers three)
      wait_for logged three 'goes on' 3
      kill -HUP $pid_three
      wait_for logged three 'was reloaded'
      kill -USR2 $pid_upgraded
      wait_for logged upgraded 'waiting for packets' 2
      QUEUE=4 run last -q 4 scripts/accept.lua
      wait_for logged last 'no packet has come'
      for name in three upgraded; do stop $name; done]]
    assert.equal(0, count(output, HINT), output)
    assert.equal(2, count(output, "exit 0\n"), output)
  end)
end)
