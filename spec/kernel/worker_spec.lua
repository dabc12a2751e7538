local netns = require "spec.support.netns"

local function count(output, pattern) return select(2, output:gsub(pattern, "")) end
local function received(output) return tonumber(output:match "(%d+) received") end

-- Shell functions for what follows.
local workers = [[
  running() { [ "$(grep -c 'waiting for packets' "$DIR/$1.err")" -eq "$2" ]; }
  gone() { ! kill -0 "$1" 2> /dev/null; }
  ended() { ! queue_is_bound "$1"; }
]]

-- Runs a script with workers() and the others.
local function run(script) return netns.run(workers .. script) end

netns.describe("several queues", function()
  it("have a worker each, with a Lua state of its own", function()
    local output = run [[
      rule -A OUTPUT -p udp --dport 9 -j NFQUEUE --queue-num 5
      rule -A OUTPUT -p udp --dport 10 -j NFQUEUE --queue-num 6
      rule -A OUTPUT -p udp --dport 11 -j NFQUEUE --queue-num 7
      filter each -q 5:7 <<'END'
local seen, numbers = 0, {}
return { filter = function(pkt)
  seen = seen + 1
  numbers[#numbers + 1] = pkt.queue_num
end, stop = function() print("seen " .. seen .. " of " .. (numbers[1] or "none")) end }
END
      wait_for running each 3
      workers each | wc -w
      bash -c 'for i in 1 2 3; do echo > /dev/udp/127.0.0.1/9; done; echo > /dev/udp/127.0.0.1/10'
      stop each]]
    assert.matches("^3\n", output)
    assert.matches("seen 3 of 5\n", output)
    assert.matches("seen 1 of 6\n", output)
    assert.matches("seen 0 of none\n", output)
    assert.matches("exit 0\n", output)
    assert.matches("queue 5: 3 packets, 3 accepted[^\n]*\n[^\n]*queue 6: 1 packets, 1 accepted[^\n]*\n"
      .. "[^\n]*queue 7: 0 packets[^\n]*\n[^\n]*all queues: 4 packets, 4 accepted, 0 dropped, 0 other verdicts, "
      .. "0 errors, 0 lost unseen\n", output)
  end)

  it("take what a rule spreads over them", function()
    local output = run [[
      rule -A OUTPUT -p udp -j NFQUEUE --queue-balance 0:3
      rule -A INPUT -p udp -j DROP
      for i in $(seq 64); do ip addr add 127.0.1.$i dev lo; done
      run all -q 0:3 scripts/accept.lua
      wait_for running all 4
      bash -c 'for i in {1..64}; do echo $i > /dev/udp/127.0.1.$i/9; done'
      stop all]]
    assert.matches("all queues: 64 packets, 64 accepted", output)
    assert.is_true(count(output, "queue %d: [1-9]") >= 2, output)
  end)

  it("are refused where one of them is taken, in one message, and the others left free", function()
    local output = run [[
      QUEUE=2 run first -q 2 scripts/accept.lua
      "$PROGRAM" -q 0:3 scripts/accept.lua
      echo "second $?"
      awk '{ print "bound", $1 }' /proc/net/netfilter/nfnetlink_queue
      stop first]]
    assert.matches("second 69\nbound 2\n", output)
    assert.equal(1, count(output, "error: "))
    assert.matches("error: cannot bind queue 2: it belongs to netlink port", output)
  end)

  local bad = {
    ["at its end of file"] = { "return function(", 65, "'<eof>'" },
    ["when it is loaded"] = { "error 'no way'", 65, "no way" },
    ["in start()"] = { "return { filter = print, start = function() error 'no way' end }", 65, "no way" },
    ["by not being there"] = { nil, 66, "No such file" },
  }
  for where, case in pairs(bad) do
    it("tell a script's error once, " .. where, function()
      local output = run((case[1] and ("cat > $DIR/bad.lua <<'END'\n%s\nEND\n"):format(case[1]) or "") .. [[
        "$PROGRAM" -q 0:7 "$DIR/bad.lua"
        echo "exit $?"
        cat /proc/net/netfilter/nfnetlink_queue]])
      assert.matches("exit " .. case[2] .. "\n$", output)
      assert.equal(1, count(output, "error: "), output)
      assert.matches(case[3], output, 1, true)
    end)
  end
end)

netns.describe("a supervisor", function()
  it("ends all workers with status 70 when one dies that may not have a successor", function()
    local output = run [[
      rule -A OUTPUT -p udp --dport 9 -j NFQUEUE --queue-num 1
      run accept --max-restarts 0 --on-give-up exit -q 0:2 scripts/accept.lua
      wait_for running accept 3
      bash -c 'for i in 1 2 3; do echo > /dev/udp/127.0.0.1/9; done'
      settled() { awk '$1 == 1 && $8 == 3 && $3 == 0 { found = 1 } END { exit !found }' "$1"; }
      wait_for settled /proc/net/netfilter/nfnetlink_queue
      all=$(workers accept)
      set -- $all
      kill -KILL $2
      wait $pid_accept
      echo "exit $?"
      for pid in $all; do gone $pid && echo gone; done
      ended 0 && ended 1 && ended 2 && echo free
      cat "$DIR/accept.err"]]
    assert.matches("exit 70\ngone\ngone\ngone\nfree\n", output)
    assert.matches("error: queue 1: its worker, process %d+, was killed by signal 9 %(Killed%)\n", output)
    assert.matches("error: queue 1: 1 worker died within a minute, which is the most %(%-%-max%-restarts%); ending, "
      .. "as %-%-on%-give%-up says\n", output)
    assert.matches("queue 1: 3 packets, 3 accepted", output)
  end)

  it("ends with status 70 when a script ends its process for good", function()
    local output = run [[
      rule -A OUTPUT -p udp --dport 9 -j QUEUE
      filter three -q 0:1 --max-restarts 0 --on-give-up exit <<'END'
return function() os.exit(3) end
END
      bash -c 'echo > /dev/udp/127.0.0.1/9'
      wait $pid_three
      echo "exit $?"
      ended 0 && ended 1 && echo free]]
    assert.matches("exit 70\nfree\n", output)
  end)

  it("takes its workers with it when it is killed", function()
    local output = run [[
      run accept -q 0:1 scripts/accept.lua
      wait_for running accept 2
      all=$(workers accept)
      kill -KILL $pid_accept
      for pid in $all; do wait_for gone $pid; done
      wait_for ended 0
      wait_for ended 1
      echo all gone]]
    assert.matches("all gone\n", output)
  end)

  it("has what waits judged when a terminal's INT reaches all processes, and TERM those of a group", function()
    for _, signal in ipairs { "INT", "TERM" } do
      local output = run(([[
        rule -A OUTPUT -p udp --dport 9 -j QUEUE
        rule -A INPUT -p udp --dport 9 -j DROP
        # What a shell starts in the background ignores INT.
        env --default-signal=INT "$PROGRAM" --time-limit 0 scripts/accept.lua > /dev/null 2> "$DIR/accept.err" &
        pid_accept=$!
        wait_for running accept 1
        all=$(workers accept)
        kill -STOP $all
        bash -c 'for i in {1..200}; do echo $i > /dev/udp/127.0.0.1/9; done'
        wait_for waiting 200
        kill -%s $pid_accept $all
        kill -CONT $all
        wait $pid_accept
        echo "exit $?"
        cat "$DIR/accept.err"
        arrived 200 && echo arrived]]):format(signal))
      assert.matches("exit 0\n", output)
      assert.matches("200 packets, 200 accepted", output)
      assert.matches("arrived\n", output)
    end
  end)

  it("ends at once by a second signal, for a filter that never returns", function()
    for signal, status in pairs { TERM = 143, INT = 130 } do
      local output = run(([[
        rule -A OUTPUT -p udp --dport 9 -j QUEUE
        filter endless --time-limit 0 -q 0:1 <<'END'
return function() while true do end end
END
        wait_for running endless 2
        all=$(workers endless)
        bash -c 'echo > /dev/udp/127.0.0.1/9'
        wait_for waiting 1
        kill -TERM $pid_endless
        set -- $all
        wait_for gone $2
        kill -0 $1 && echo "still there"
        kill -%s $pid_endless
        wait $pid_endless
        echo "exit $?"
        for pid in $all; do gone $pid && echo gone; done]]):format(signal))
      assert.matches("still there\n.-exit " .. status .. "\ngone\ngone\n", output)
    end
  end)

  it("ends while the script is still being loaded, without binding the queue", function()
    local output = run [[
      cat > "$DIR/slow.lua" <<'END'
print "loading"
io.stdout:flush()
repeat until io.open(arg[1])
return { filter = print, start = function() print "started" end }
END
      "$PROGRAM" "$DIR/slow.lua" "$DIR/go" > "$DIR/slow.out" 2>&1 &
      pid_slow=$!
      wait_for grep -q loading "$DIR/slow.out"
      kill -TERM $pid_slow
      : > "$DIR/go"
      wait $pid_slow
      echo "exit $?"
      cat "$DIR/slow.out"]]
    assert.matches("exit 0\nloading\n$", output)
  end)

  it("leaves the signals as they are to the programs that a script starts", function()
    local output = run [[
      filter child <<'END'
return { filter = print, start = function()
  for line in io.popen("grep -E '^Sig(Blk|Ign)' /proc/self/status"):lines() do print(line) end
end }
END
      stop child
      grep -E '^Sig(Blk|Ign)' /proc/self/status]]
    local ours, theirs = output:match "^(.-)exit 0\n.*\n(SigBlk.*)$"
    -- LuaJIT's io.popen() is the C library's, which waits for its child: nothing more is blocked or ignored.
    assert.equal(theirs:match "SigBlk:%s*(%x+)", ours and output:match "SigBlk:%s*(%x+)")
  end)
end)

netns.describe("--pin", function()
  it("keeps each worker on a core of its own, around and around", function()
    local output = run [[
      cores=$(nproc)
      QUEUE=$cores run pinned --pin -q 0:$cores scripts/accept.lua
      wait_for running pinned $((cores + 1))
      for pid in $(workers pinned); do grep Cpus_allowed_list /proc/$pid/status; done
      stop pinned
      echo "cores $cores"]]
    local cores, list = tonumber(output:match "cores (%d+)"), {}
    for core in output:gmatch "Cpus_allowed_list:%s*(%S+)" do list[#list + 1] = core end
    assert.equal(cores + 1, #list)
    local seen = {}
    for i = 1, cores do
      assert.is_nil(seen[list[i]])
      seen[list[i]] = true
    end
    assert.equal(list[1], list[cores + 1])
    assert.matches(("warning: %%-%%-pin: %d queues share %d cores\n"):format(cores + 1, cores), output)
    assert.matches("queue 0: waiting for packets %(whole packets, GSO, core " .. list[1] .. "%)", output)
  end)

  it("takes the cores that it may use", function()
    local output = run [[
      run pinned_one scripts/accept.lua
      grep Cpus_allowed_list /proc/$(worker pinned_one)/status
      stop pinned_one
      last=$(($(nproc) - 1))
      PROGRAM="taskset -c $last $PROGRAM"
      $PROGRAM --pin scripts/accept.lua > /dev/null 2> "$DIR/last.err" &
      pid_last=$!
      wait_for grep -q waiting "$DIR/last.err"
      echo "last $last $(grep Cpus_allowed_list /proc/$(worker last)/status)"
      kill $pid_last
      wait $pid_last]]
    local last, list = output:match "last (%d+) Cpus_allowed_list:%s*(%S+)"
    assert.equal(last, list)
  end)
end)

netns.describe("--spin", function()
  -- Between packets a worker that polls does not sleep.
  local text = [[
    rule -A OUTPUT -p icmp --icmp-type echo-request -j QUEUE
    run accept %s scripts/accept.lua
    sleeps() { awk '/^voluntary/ { print $2 }' /proc/$(worker accept)/status; }
    before=$(sleeps)
    pings 20 127.0.0.1
    echo "slept $(($(sleeps) - before))"
    start=$(date +%%s%%N)
    stop accept
    echo "took $((($(date +%%s%%N) - start) / 1000000))"]]

  it("polls for packets instead of sleeping, and ends as promptly", function()
    local output = run(text:format "--spin 100000")
    assert.equal(20, received(output))
    assert.is_true(tonumber(output:match "slept (%d+)") < 10, output)
    local slow = tonumber(os.getenv "IPQ_SLOW") or 1
    assert.is_true(tonumber(output:match "took (%d+)") < 1000 * slow, output)
    assert.matches("exit 0\n", output)
  end)

  it("is not done unless asked for", function()
    local output = run(text:format "")
    assert.is_true(tonumber(output:match "slept (%d+)") >= 15, output)
  end)

  it("warns where no core is left", function()
    local output = run [[
      cores=$(nproc)
      QUEUE=0 run spinning --spin 1 -q 0:$((cores - 1)) scripts/accept.lua
      stop spinning]]
    assert.matches("warning: %-%-spin: %d+ polling workers on %d+ cores leave none to those whose packets they wait "
      .. "for\n", output)
  end)
end)

netns.describe("--per-cpu", function()
  local processors = tonumber(netns.shell "nproc":match "%d+")

  it("judges a packet on the processor on which it was sent", function()
    if processors < 2 then return pending "there is one processor alone" end
    local output = netns.run [[
      QUEUE=1 run accept --per-cpu --rule 'OUTPUT -p udp' scripts/accept.lua
      wait_for grep -q 'is in place' "$DIR/accept.err"
      send() { taskset -c "$1" bash -c "for i in \$(seq $2); do echo > /dev/udp/127.0.0.1/9; done"; }
      had() { awk -v q="$1" -v n="$2" '$1 == q && $8 == n && $3 == 0 { f = 1 } END { exit !f }' \
        /proc/net/netfilter/nfnetlink_queue; }
      send 0 5
      wait_for had 0 5
      send 1 3
      wait_for had 1 3
      had 0 5 && echo apart
      for pid in $(workers accept); do
        sed -n 's/^Cpus_allowed_list:\t/on /p' "/proc/$pid/status"
      done
      stop accept]]
    assert.matches("apart\non 0\non 1\n", output)
    assert.matches("queue 0: 5 packets, 5 accepted", output)
    assert.matches("queue 1: 3 packets, 3 accepted", output)
    assert.matches("exit 0\n", output)
  end)

  it("says why it cannot be, where not all processors may be used", function()
    if processors < 2 then return pending "there is one processor alone" end
    local output, status = netns.shell(("LD_PRELOAD= taskset -c 0 %s --per-cpu scripts/accept.lua")
      :format(netns.program))
    assert.matches("^ipq%-lua: error: %-%-per%-cpu: this process may not run on all processors", output)
    assert.equal(64, status)
  end)

  it("takes the first queue, and not how many", function()
    local output, status = netns.shell(("LD_PRELOAD= %s --per-cpu -q 3:4 scripts/accept.lua"):format(netns.program))
    assert.matches("%-%-per%-cpu: how many queues there are is up to the processors; give the first one, %-q 3\n",
      output)
    assert.equal(64, status)
  end)
end)
