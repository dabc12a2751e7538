-- The control socket: what is asked of a program that runs, by whom, and what that may not cost.
local json = require "cjson"
local netns = require "spec.support.netns"

-- A /run of its own: the machine may have programs that run.
local shell = [[
  export ASAN_OPTIONS=detect_leaks=0:handle_segv=0 DIR PROGRAM
  mount -t tmpfs none /run || fail "no /run of its own"
  send() { bash -c "for i in \$(seq $1); do echo > /dev/udp/127.0.0.1/9; done"; }
  ctl() { "$PROGRAM" "$@"; echo "exit $?"; }
  rule -A OUTPUT -p udp --dport 9 -j NFQUEUE --queue-num 0
]]

local function run(script) return netns.run(shell .. script, nil, "-m") end

netns.describe("--ctl", function()
  it("asks the one that runs, or the one of that name, and says where there is none", function()
    local output = run [[
      ctl --ctl queues
      filter first --name first@eth0 <<'END'
return function() end
END
      send 3
      wait_for judged 3
      ctl --ctl queues
      ctl --ctl stats
      ctl --ctl=first@eth0 version
      ctl --ctl help
      ctl --ctl nonsense
      ctl --ctl=second version
      ctl --ctl=$pid_first version
      QUEUE=1 filter second -q 1 <<'END'
return function() end
END
      ctl --ctl queues
      ctl --ctl=$pid_second queues
      ls -l /run/ipq-lua
      stop first > /dev/null
      stop second > /dev/null
      ls /run]]
    assert.matches("^ipq%-lua: error: no ipq%-lua runs here\nexit 69\n", output)
    assert.matches("\nqueue 0: judging, process %d+, 0 packets wait, 0 restarts\nexit 0\n", output)
    assert.matches("\nqueue 0: 3 packets, 3 accepted, [^\n]*\nexit 0\n", output)
    assert.matches("\n%d+%.%d+%.%d+\nexit 0\n", output)
    assert.matches("\nreload +takes the script anew, and says what came of it\nexit 0\n", output)
    assert.matches("error: there is no such command; help lists them\nexit 1\n", output)
    assert.matches("error: no ipq%-lua runs by the name of second\nexit 69\n", output)
    assert.matches("error: no ipq%-lua runs by the name of %d+; one that was started with %-%-name answers to that, "
      .. "and not to its number\nexit 69\n", output)
    assert.matches("error: several run; say which, %-%-ctl=NAME: [^\n]*first@eth0[^\n]*\nexit 64\n", output)
    assert.matches("\nqueue 1: judging, process %d+, 0 packets wait, 0 restarts\nexit 0\n", output)
    assert.equal(2, select(2, output:gsub("\ndrwx%-%-%-%-%-%- ", "")))
    assert.equal("ipq-lua.kernel\n", output:match "[^\n]*\n$") -- see trial_spec.lua
  end)

  it("gives JSON where that is asked for, whatever the script counts", function()
    local output = run [[
      filter filter -q 0:1 <<'END'
local ipq = require "ipq"
ipq.counter "seen":set(0.1)
ipq.counter "large":set(2 ^ 60)
return function() end
END
      for what in help version queues stats nonsense; do "$PROGRAM" --ctl --json $what; done
      stop filter > /dev/null]]
    local answers = {}
    for line in output:gmatch "[^\n]+" do answers[#answers + 1] = json.decode(line) end
    assert.equal(5, #answers)
    assert.same({ 0, 0, 0, 0, 1 },
      { answers[1].status, answers[2].status, answers[3].status, answers[4].status, answers[5].status })
    assert.equal(answers[2].text, answers[2].result)
    assert.same({ 0, 1 }, { answers[3].result[1].queue, answers[3].result[2].queue })
    assert.same({ "judging", 0 }, { answers[3].result[1].state, answers[3].result[1].waiting })
    assert.same({ seen = 0.1, large = 2 ^ 60 }, answers[4].result[1].script)
    assert.same({ 0, 0 }, { answers[4].result[1].packets, answers[4].result[1].errors })
  end)

  it("reload comes back when the new script judges, or says why it does not", function()
    local output = run [[
      filter filter -q 0:1 <<'END'
return function() end
END
      ctl --ctl reload
      echo 'return {' > "$DIR/filter.lua"
      ctl --ctl reload
      echo 'return { filter = print, start = function() require "ffi".cast("int *", 8)[0] = 1 end }' > "$DIR/filter.lua"
      ctl --ctl reload
      rm "$DIR/filter.lua"
      ctl --ctl reload
      echo 'return require "ipq".DROP and function() return require "ipq".DROP end' > "$DIR/filter.lua"
      ctl --ctl reload
      send 1
      wait_for judged 1
      stop filter]]
    assert.matches("^reloaded\nexit 0\n", output)
    assert.matches("goes on: [^\n]*filter.lua:2: unexpected symbol near '<eof>'\nexit 1\n", output)
    assert.matches("goes on: queue 0: [^\n]*was killed by signal 11 %(Segmentation fault%) in start%(%)\nexit 1\n",
      output)
    assert.matches("goes on: cannot read the script: [^\n]*: No such file or directory\nexit 1\nreloaded\nexit 0\n",
      output)
    assert.matches("queue 0: 1 packets, 0 accepted, 1 dropped", output)
  end)

  it("reload waits for a script that takes longer than other answers may", function()
    local output = run [[
      filter filter --time-limit 0 <<'END'
return function() end
END
      echo 'repeat until io.open(arg[0] .. ".go") return function() end' > "$DIR/filter.lua"
      PID=$pid_filter python3 -c '
import os, socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
s.connect("/run/ipq-lua/%s/control" % os.environ["PID"])
s.sendall(b"reload\n")
print("first", s.recv(100))
open(os.environ["DIR"] + "/filter.lua.go", "w").close()
print("then", s.recv(100))'
      ctl --ctl reload
      stop filter > /dev/null]]
    assert.equal("first b' '\nthen b'{\"status\":0,\"text\":\"reloaded\"}\\n'\nreloaded\nexit 0\n", output)
  end)

  it("reload hears of the end where the program ends meanwhile", function()
    local output = run [[
      filter filter --time-limit 0 <<'END'
return function() end
END
      echo 'io.open(arg[0] .. ".loading", "w"):close() while true do end' > "$DIR/filter.lua"
      ctl --ctl reload > "$DIR/answer" 2>&1 & asked=$!
      wait_for test -e "$DIR/filter.lua.loading"
      kill -TERM $pid_filter
      wait $asked
      cat "$DIR/answer"]]
    assert.matches("^ipq%-lua: error: the program is about to end\nexit 1\n", output)
  end)

  it("is answered while a worker hangs, and a stopped program does not answer", function()
    local output = run [[
      filter filter --time-limit 0 <<'END'
return function() while true do end end
END
      send 2
      wait_for waiting 2
      ctl --ctl queues
      kill -STOP $pid_filter
      timeout 2 "$PROGRAM" --ctl queues
      echo "exit $?"
      kill -CONT $pid_filter
      kill -QUIT $pid_filter]]
    assert.matches("^queue 0: judging, process %d+, 2 packets wait, 0 restarts\nexit 0\nexit 124\n", output)
  end)

  it("is for root and the program's own user alone", function()
    local output = run [[
      cp -r "$IPQ_BUILD/ipq-lua" /tmp/ipq-lua.$$ && chmod 755 /tmp/ipq-lua.$$
      filter filter --user nobody <<'END'
return function() end
END
      as_nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; echo "exit $?"; }
      as_nobody /tmp/ipq-lua.$$ --ctl=$pid_filter queues
      # With the folder open to all the program itself asks who it is.
      chmod 755 /run/ipq-lua/$pid_filter
      chmod 666 /run/ipq-lua/$pid_filter/control
      as_nobody /tmp/ipq-lua.$$ --ctl=$pid_filter reload
      rm /tmp/ipq-lua.$$
      stop filter]]
    assert.matches("error: %d+: only root, and the user that the program runs as, may ask\nexit 77\n", output)
    assert.matches("error: root alone may ask, and the user that the program runs as\nexit 77\n", output)
    assert.is_nil(output:find("was reloaded", 1, true))
  end)

  it("is not there where /run cannot be written, or the name is another's, which is no reason not to start", function()
    local output = run [[
      filter first --name same <<'END'
return function() end
END
      QUEUE=1 filter second -q 1 --name same <<'END'
return function() end
END
      ctl --ctl queues
      stop first > /dev/null
      mount -o remount,ro /run
      filter third <<'END'
return function() end
END
      cat "$DIR/second.err" "$DIR/third.err"]]
    assert.matches("^queue 0: ", output)
    assert.matches("warning: %-%-ctl will not find this process: /run/ipq%-lua/same: another one has that name\n",
      output)
    assert.matches("warning: %-%-ctl will not find this process: /run/ipq%-lua/%d+: Read%-only file system\n", output)
  end)

  it("of a program that was killed is taken away by the next, and found again by one of its name", function()
    local output = run [[
      filter first <<'END'
return function() end
END
      QUEUE=1 filter second -q 1 --name second <<'END'
return function() end
END
      kill -KILL $pid_first $pid_second
      free() { ! queue_is_bound 0 && ! queue_is_bound 1; }
      wait_for free
      ctl --ctl queues
      QUEUE=1 run second -q 1 --name second "$DIR/second.lua"
      ctl --ctl queues
      ls /run/ipq-lua
      stop second > /dev/null]]
    assert.matches("error: no ipq%-lua runs here\nexit 69\nqueue 1: judging[^\n]*\nexit 0\nsecond\n$", output)
  end)

  it("is not taken away by one that cannot look whether it is there", function()
    local output = run [[
      filter filter --name same <<'END'
return function() end
END
      for limit in 4 5 6 7 8 9 10 11 12 13 14; do
        prlimit --nofile=$limit "$PROGRAM" -q 1 --name same --on-give-up exit "$DIR/filter.lua" \
          > "$DIR/other" 2>&1 & other=$!
        ended() { ! kill -0 $other 2> /dev/null || queue_is_bound 1; }
        wait_for ended
        kill $other 2> /dev/null
        wait $other
      done
      ctl --ctl=same queues
      stop filter > /dev/null]]
    assert.matches("^queue 0: judging[^\n]*\nexit 0\n$", output)
  end)

  it("is found by each of several that start at once", function()
    local output = run [[
      echo 'return function() end' > "$DIR/filter.lua"
      pids=
      for i in 1 2 3 4 5 6; do "$PROGRAM" -q $i "$DIR/filter.lua" 2> "$DIR/$i.err" & pids="$pids $!"; done
      for i in 1 2 3 4 5 6; do wait_for queue_is_bound $i; done
      ls /run/ipq-lua | wc -l
      cat "$DIR"/*.err | grep -c "will not find"
      kill $pids
      wait $pids]]
    assert.matches("^6\n0\n", output)
  end)

  it("costs no time while a client has gone that waits for a reload", function()
    local output = run [[
      filter filter <<'END'
return function() end
END
      echo 'repeat until io.open(arg[0] .. ".go") return function() end' > "$DIR/filter.lua"
      PID=$pid_filter python3 -c '
import os, socket, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
s.connect("/run/ipq-lua/%s/control" % os.environ["PID"])
s.sendall(b"reload\n")
time.sleep(0.2)
s.sendall(b"more")'
      used() { awk '{ print $14 + $15 }' /proc/$pid_filter/stat; }
      before=$(used)
      sleep 1
      [ $(($(used) - before)) -lt 20 ] && echo "little time"
      touch "$DIR/filter.lua.go"
      wait_for logged filter "was reloaded"
      stop filter > /dev/null]]
    assert.equal("little time\n", output)
  end)

  it("is found again behind an upgrade", function()
    local output = run [[
      filter filter <<'END'
return function() end
END
      kill -USR2 $pid_filter
      wait_for logged filter "waiting for packets" 2
      ctl --ctl reload
      stop filter > /dev/null]]
    assert.equal("reloaded\nexit 0\n", output)
  end)
end)

netns.describe("clients of the control socket that", function()
  local clients = {
    ["say nothing, a thousand of them"] = [[
all = []
for _ in range(1000):
    s = client()
    s.setblocking(False)
    try: s.connect(path)
    except BlockingIOError: pass
    all.append(s)
time.sleep(1)]],
    ["say what they say byte by byte"] = [[
s = client()
s.connect(path)
for byte in b"queues\n":
    s.send(bytes([byte]))
    time.sleep(0.1)
print("answered", b"judging" in s.recv(65536))]],
    ["say 10 MB without an end"] = [[
s = client()
s.connect(path)
for _ in range(160): s.send(b"x" * 65536)
print("told", b"too long" in s.recv(65536))
]],
    ["say what is no text, and more than a line"] = [[
for line in b"\0\n", b"\xff\xfe\n", b"queues\0stats\n", b"queues\nqueues\nqueues\n", b"%s%n\n", b" queues\n", b"\n":
    s = client()
    s.connect(path)
    s.send(line)
    print(s.recv(65536)[:11])]],
    ["take no answer"] = [[
all = []
for _ in range(16):
    s = client()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    s.connect(path)
    s.send(b"stats\n")
    all.append(s)
time.sleep(1)]],
    ["go at once, in the middle, or while they wait"] = [[
for line in b"", b"que", b"queues\n", b"reload\n":
    for _ in range(20):
        s = client()
        s.connect(path)
        s.send(line)
        s.close()]],
  }
  for what, text in pairs(clients) do
    it(what .. " cost no packet, and nobody else an answer", function()
      local output = run(([[
        filter filter <<'END'
return function() end
END
        "$IPQ_BUILD/spec/stream" 9 5000 600 > "$DIR/stream" & stream=$!
        wait_for seen 100
        cat > "$DIR/client.py" <<'END'
import os, socket, time
path = "/run/ipq-lua/" + os.environ["PID"] + "/control"
def client(): return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
%s
END
        PID=$pid_filter python3 "$DIR/client.py" & client=$!
        wait $client
        "$PROGRAM" --ctl queues
        kill -TERM $stream
        wait $stream
        cat "$DIR/stream"
        stop filter]]):format(text))
      local sent, received = output:match "sent (%d+) received (%d+)"
      assert.equal(tonumber(sent), received + output:match "errors, (%d+) lost unseen", output)
      -- Some asked for a reload, which may not be over.
      assert.matches("queue 0: %l+, process", output)
      assert.matches("exit 0\n", output)
      if what:find "byte by byte" then assert.matches("answered True\n", output) end
      if what:find "10 MB" then assert.matches("told True\n", output) end
    end)
  end
end)
