local metrics = require "spec.support.metrics"
local netns = require "spec.support.netns"
local t = require "ipq.test"

local function count(output, pattern) return select(2, output:gsub(pattern, "")) end

-- A filter with counters, and packets to it: "send N" to queue 0, "send N 10" to queue 1.
local begin = [[
  rule -A OUTPUT -p udp --dport 9 -j NFQUEUE --queue-num 0
  rule -A OUTPUT -p udp --dport 10 -j NFQUEUE --queue-num 1
  rule -A INPUT -p udp -j DROP
  cat > "$DIR/count.lua" <<'END'
local ipq = require "ipq"
local hits, length = ipq.counter "hits", ipq.counter "length"
return function(pkt)
  hits:inc()
  length:set(pkt.len / 2)
  if pkt.udp.dport == 10 and hits:get() % 2 == 0 then return ipq.DROP end
end
END
  send() { PORT=${2:-9} N=$1 bash -c 'for ((i = 0; i < N; i++)); do echo > /dev/udp/127.0.0.1/$PORT; done'; }
  said() { grep -qs "$2" "$DIR/$1.err"; }
  said_often() { [ "$(grep -c "$2" "$DIR/$1.err")" -ge "$3" ]; }
]]
local function run(script, seconds) return netns.run(begin .. script, seconds) end

netns.describe("statistics", function()
  it("are a line a queue, every so often, with the script's counters", function()
    local output = run [[
      run a -q 0:1 --stats=0.2 "$DIR/count.lua"
      send 20
      send 10 10
      wait_for said a 'queue 0: 20 packets .*; hits 20'
      wait_for said a 'queue 1: 10 packets .*; hits 10'
      wait_for said_often a 'queue 0: 20 packets (0/s)' 2
      stop a]]
    assert.matches("ipq%-lua: queue 0: 20 packets %(%d+/s%), 20 accepted, 0 dropped, 0 other verdicts, 0 errors, "
      .. "0 lost unseen, 0 restarts, %d+%.%d packets a batch, filter %d[%d.]* [num]s %(p50%), %d[%d.]* [num]s %(p99%); "
      .. "hits 20, length 14.5\n", output)
    assert.matches("queue 1: 10 packets [^\n]*, 5 accepted, 5 dropped, [^\n]*; hits 10, length 14.5\n", output)
    assert.matches("exit 0\n", output)
  end)

  it("are every ten seconds where no number is given, and not at all unless asked for", function()
    local output = run [[
      began=$(date +%s)
      run a --stats "$DIR/count.lua"
      QUEUE=1 run b -q 1 "$DIR/count.lua"
      # The first looks at all counters are over then: a supervisor that has nothing else to do wakes for them.
      wakes() { awk '/^voluntary_ctxt_switches/ { print $2 }' /proc/$pid_a/status; }
      before=$(wakes)
      woken() { [ "$(wakes)" -ge $((before + 5)) ]; }
      wait_for woken
      stop a
      echo "took $(($(date +%s) - began))"
      stop b]]
    local first, took, second = output:match "^(.*)took (%d+)\n(.*)$"
    -- A machine on which that took long has seen a line.
    assert.is_true(count(first, "hits") <= math.floor(took / 10), output)
    assert.equal(0, count(second, "hits"))
  end)

  it("are told once for USR1, which does nothing to a worker", function()
    local output = run [[
      run a "$DIR/count.lua"
      send 7
      wait_for judged 7
      kill -USR1 $pid_a $(worker a)
      wait_for said a '7 packets'
      worker=$(worker a)
      kill -USR1 $worker
      send 1
      wait_for judged 8
      [ "$worker" = "$(worker a)" ] && echo the same
      stop a]]
    assert.matches("the same\n", output)
    assert.equal(1, count(output, "queue 0: 7 packets, 7 accepted, [^\n]*; hits 7, length 14.5\n"), output)
    assert.equal(1, count(output, "hits"))
  end)

  it("have counters that go on where a killed worker left them, and after a reload", function()
    local output = run [[
      run a "$DIR/count.lua"
      send 5
      wait_for judged 5
      kill -KILL $(worker a)
      wait_for said a 'goes on'
      send 4
      wait_for judged 9
      kill -HUP $pid_a
      wait_for said a 'was reloaded'
      send 3
      wait_for judged 12
      kill -USR1 $pid_a
      wait_for said a hits
      stop a]]
    assert.matches("queue 0: 12 packets, 12 accepted, [^\n]*, 1 restart, [^\n]*; hits 12, length", output)
  end)

  it("survive a worker that writes over all names", function()
    local output = run [[
      filter wild <<'END'
local ipq, ffi = require "ipq", require "ffi"
ipq.counter "hits"
return function()
  local scripted -- the table itself, which no script has by right
  for i = 1, 20 do
    local name, value = debug.getupvalue(debug.getregistry()["ipq.require"] "ipq.counter".all, i)
    if name == "scripted" then scripted = value end
  end
  ffi.fill(scripted.counters, 64 * 72, 0xff)
end
END
      send 1
      wait_for judged 1
      kill -USR1 $pid_wild
      wait_for said wild '1 packets'
      stop wild]]
    assert.equal(2, count(output, "queue 0: 1 packets, 1 accepted, [^\n;]*\n"), output)
    assert.matches("exit 0\n", output)
  end)

  it("are JSON with --json, each line with its queue", function()
    local output = run [[
      run a -q 0:1 --json "$DIR/count.lua"
      send 3 10
      wait_for said a 'queue 1: waiting'
      told() { kill -USR1 $pid_a; said a 'queue 1: 3 packets'; }
      wait_for told
      kill -KILL $(worker a)
      wait_for said a 'goes on'
      stop a]]
    local lines, queues = 0, {}
    for line in output:gmatch "\n({[^\n]*})" do
      local record = require "cjson".decode(line)
      assert.equal(record.queue, tonumber(record.message:match "^queue (%d)"))
      queues[record.queue or "none"] = true
      lines = lines + 1
    end
    assert.is_true(lines >= 8, output)
    assert.same({ [0] = true, [1] = true, none = true }, queues)
  end)
end)

-- A filter that sends each packet's copy, which comes back, bytes that are no packet, and one that has no way; and that
-- rejects.
local nowhere = t.udp { saddr = "127.0.0.1", daddr = "203.0.113.1", payload = "x" }.bytes
local sender = ([[
  cat > "$DIR/send.lua" <<'END'
local ipq = require "ipq"
local nowhere = "%s"
return { send = true, filter = function(pkt)
  ipq.send(pkt)
  ipq.send "no packet"
  ipq.send(nowhere)
  return ipq.REJECT
end }
END
]]):format((nowhere:gsub(".", function(c) return ("\\%03d"):format(c:byte()) end)))

netns.describe("what a filter sends", function()
  it("is in the log, the file of metrics, --ctl and --top, and what did not go out by its reason", function()
    local output = netns.run(sender .. begin .. [[
      mount -t tmpfs none /run || fail "no /run of its own"
      run a --metrics "$DIR/m.prom" --reject-rate 2 "$DIR/send.lua"
      send 5
      # Five copies came back.
      wait_for judged 10
      wait_for said a 'no way to'
      # What asks for statistics looks for what is to be told.
      send 1
      wait_for judged 12
      kill -USR1 $pid_a
      wait_for said a 'queue 0: 12 packets'
      "$PROGRAM" --ctl=$pid_a --json stats
      "$PROGRAM" --top $pid_a
      stop a
      echo ---
      cat "$DIR/m.prom"]], nil, "-m")
    local value = metrics.read(output:match "\n%-%-%-\n(.*)$")
    local function number(name, labels)
      return value(("ipq_%s_total"):format(name), ('{queue="0"%s}'):format(labels or ""))
    end
    local function not_sent(reason) return (number("not_sent", (',reason="%s"'):format(reason))) end
    local rejects, slow = number "rejected", not_sent "rate"
    assert.same({ 6, 6, 6 }, { number "own", not_sent "malformed", not_sent "route" }, output)
    assert.equal(6, rejects + slow)
    assert.is_true(rejects >= 2)
    assert.equal(6 + rejects, number "sent")
    assert.same({ 0, 0, 0, 0, 0 }, { not_sent "rule", not_sent "room", not_sent "length", not_sent "buffer",
      not_sent "refused" })

    local words = ("%d packets sent, %d rejects, %d not sent (%smalformed 6, route 6)"):format(6 + rejects, rejects,
      12 + slow, slow > 0 and ("rate %d, "):format(slow) or "")
    local function has(text) return (assert.is_truthy(output:find(text, 1, true), text .. " is not in " .. output)) end
    has("6 accepted, 6 dropped, 0 other verdicts, 0 errors, " .. words .. ", 0 lost unseen") -- USR1
    has("\n    0  sends 0/s: " .. words .. "\n") -- --top
    has("queue 0: " .. words .. "\n") -- the end
    assert.matches("warning: queue 0: [1-5] packets that the filter sent did not leave: there is no way to their ",
      output)
    assert.equal(1, count(output, "did not leave: there is no way"))

    local answer = require "cjson".decode(output:match '{"[^\n]*"not_sent"[^\n]*}')
    local told = answer.result[1]
    assert.same({ 6 + rejects, rejects, 6, 6, 6, 0 }, { told.sent, told.rejected, told.own, told.not_sent.malformed,
      told.not_sent.route, told.not_sent.refused })
  end)

  it("is not told of where no filter sends", function()
    local output = run [[
      run a "$DIR/count.lua"
      send 5
      wait_for judged 5
      kill -USR1 $pid_a
      wait_for said a 'queue 0: 5 packets'
      "$PROGRAM" --top $pid_a
      stop a]]
    assert.is_nil(output:find("sent", 1, true), output)
  end)
end)

netns.describe("events", function()
  it("that cannot be written are told once, and counted", function()
    local output = run [[
      echo 'return function(pkt) require("ipq").event { id = pkt.packet_id } end' > "$DIR/event.lua"
      "$PROGRAM" "$DIR/event.lua" > /dev/full 2> "$DIR/a.err" &
      pid_a=$!
      wait_for queue_is_bound 0
      wait_for said a waiting
      send 20
      wait_for judged 20
      : > "$DIR/a.out"
      stop a]]
    assert.equal(1, count(output, "warning: standard output cannot be written: No space left on device\n"))
    local lost = 0
    for lines in output:gmatch "standard output: (%d+) lines were lost" do lost = lost + lines end
    assert.equal(20, lost)
    assert.matches("exit 0\n", output)
    assert.matches("queue 0: 20 packets, 20 accepted, 0 dropped, 0 other verdicts, 0 errors", output)
  end)
end)

netns.describe("metrics", function()
  local function file(output) return output:match "\n%-%-%-\n(.*)$" end

  it("are in a file that Prometheus can read, when the program ends", function()
    local output = run [[
      (umask 022; cd "$DIR" && run a -q 0:1 --metrics m.prom count.lua
      send 20
      send 10 10
      wait_for judged 20
      kill -KILL $(worker a)
      wait_for said a 'goes on'
      stop a)
      ls -l "$DIR" | awk '/m.prom/ { print $1, $NF }'
      if command -v promtool > /dev/null; then promtool check metrics < "$DIR/m.prom" 2>&1; echo "promtool $?"; fi
      echo ---
      cat "$DIR/m.prom"]]
    assert.matches("\n%-rw%-r%-%-r%-%- m.prom\n", output)
    assert.equal(1, count(output, " m.prom"))
    assert.is_falsy(output:match "promtool [^0]")
    local value, families = metrics.read(file(output))
    assert.same({ 20, 5, 5, 0 }, { value("ipq_packets_total", '{queue="0",verdict="accept"}'),
      value("ipq_packets_total", '{queue="1",verdict="accept"}'),
      value("ipq_packets_total", '{queue="1",verdict="drop"}'),
      value("ipq_packets_total", '{queue="1",verdict="repeat"}') })
    assert.same({ 1, 0, 0, 0 }, { value("ipq_restarts_total", '{queue="0"}'),
      value("ipq_restarts_total", '{queue="1"}'), value("ipq_errors_total", '{queue="0"}'),
      value("ipq_kernel_dropped_total", '{queue="0",reason="queue_full"}') })
    assert.is_true(value("ipq_batches_total", '{queue="0"}') >= 1)
    assert.is_true(value("ipq_worker_cpu_seconds_total", '{queue="0"}') > 0)
    assert.same({ 20, 10, 14.5 }, { value("ipq_script_hits", '{queue="0"}'), value("ipq_script_hits", '{queue="1"}'),
      value("ipq_script_length", '{queue="1"}') })
    assert.equal(20, value("ipq_filter_seconds_count", '{queue="0"}'))
    assert.is_true(value("ipq_filter_seconds_sum", '{queue="0"}') > 0)
    assert.equal("histogram", families.ipq_filter_seconds.type)
    assert.equal("untyped", families.ipq_script_hits.type)
  end)

  it("are there from the start, and anew for USR1", function()
    local output = run [[
      run a --metrics "$DIR/m.prom" "$DIR/count.lua"
      grep ipq_script "$DIR/m.prom" || echo none yet
      send 3
      wait_for judged 3
      kill -USR1 $pid_a
      wait_for grep -q 'ipq_script_hits{queue="0"} 3' "$DIR/m.prom"
      echo ---
      cat "$DIR/m.prom"
      kill -KILL $pid_a]]
    assert.matches("^none yet\n", output)
    metrics.read(file(output))
  end)

  it("that cannot be written any more are told once, until they can be again", function()
    local output = run [[
      mkdir "$DIR/there"
      run a --metrics "$DIR/there/m.prom" "$DIR/count.lua"
      mv "$DIR/there" "$DIR/away"
      again() { n=$1; kill -USR1 $pid_a; wait_for said_often a '0 packets' "$n"; }
      again 1
      again 2
      mv "$DIR/away" "$DIR/there"
      again 3
      mv "$DIR/there" "$DIR/away"
      again 4
      again 5
      stop a]]
    assert.equal(2, count(output, "warning: cannot write the metrics [^\n]*/there/m.prom: No such file or directory\n"))
    -- What stays is not how it ended.
    assert.matches("error: cannot write the metrics [^\n]*/there/m.prom for the last time: No such file or directory\n",
      output)
    assert.matches("exit 74\n", output)
  end)
end)

netns.describe("flows and shared tables", function()
  it("are in the log, the file of metrics, --ctl and --top, with the memory that they take", function()
    local output = netns.run(begin .. [[
      mount -t tmpfs none /run || fail "no /run of its own"
      cat > "$DIR/flow.lua" <<'END'
local ipq = require "ipq"
local t = ipq.shared("t", { entries = 1000 })
return { flow = { entries = 100000 }, filter = function(pkt) t:incr("a", 1, 0) end }
END
      run a -q 0:1 --metrics "$DIR/m.prom" "$DIR/flow.lua"
      send 1 10
      send 5
      wait_for judged 5
      told() { kill -USR1 $pid_a; said a 'queue 1: 1 packets'; }
      wait_for told
      "$PROGRAM" --ctl=$pid_a --json stats
      "$PROGRAM" --top $pid_a
      stop a
      echo ---
      cat "$DIR/m.prom"]], nil, "-m")
    local function has(text) return (assert.is_truthy(output:find(text, 1, true), text .. " is not in " .. output)) end
    has("queue 0: follows at most 100000 flows, in 13.0 MB\n")
    has("5 accepted, 0 dropped, 0 other verdicts, 0 errors, 5 flows, 0 lost unseen") -- USR1
    local megabytes = tonumber(assert(output:match "\n    0  follows 5 flows, in ([%d.]+) MB\n")) -- --top
    assert.is_true(megabytes >= 12.2, megabytes)
    assert.matches("\n    1  follows 1 flows, in [%d.]+ MB\n  all  share tables, in %d+ KB\n", output)
    local answer = require "cjson".decode(output:match '{"[^\n]*"flows"[^\n]*}')
    assert.same({ 5, 1 }, { answer.result[1].flows, answer.result[2].flows })
    local value = metrics.read(output:match "\n%-%-%-\n(.*)$")
    assert.same({ 5, 1 }, { value("ipq_flows", '{queue="0"}'), value("ipq_flows", '{queue="1"}') })
    assert.is_true(value("ipq_flow_memory_bytes", '{queue="0"}') >= 100000 * 128)
    local shared = value("ipq_shared_memory_bytes", "")
    assert.is_true(shared >= 4096 and shared < 2 ^ 20, shared)
  end)

  it("are not told of where there are none", function()
    local output = run [[
      run a "$DIR/count.lua"
      send 1
      wait_for judged 1
      "$PROGRAM" --top $pid_a
      stop a]]
    assert.not_matches("flows", output)
    assert.not_matches("share tables", output)
  end)
end)

netns.describe("--top", function()
  -- A terminal: "keys KEYS", "screen" gives what is on it, "shows PATTERN".
  local terminal = [[
    unset TMUX
    tmux_() { tmux -S "$DIR/tmux" -f /dev/null "$@"; }
    tmux_ new-session -d -x 80 -y 12 "PS1='$ ' sh"
    trap 'tmux_ kill-server 2> /dev/null; end_all' EXIT
    keys() { tmux_ send-keys "$@"; }
    screen() { tmux_ capture-pane -p; }
    shows() { screen | grep -qe "$1"; }
  ]]

  it("shows rates and counters once where standard output is no terminal", function()
    local output = run [[
      run a -q 0:1 "$DIR/count.lua"
      (while :; do send 50; done) &
      sending=$!
      (while :; do send 50 10; done) &
      sending="$sending $!"
      "$PROGRAM" --top $pid_a
      echo "status $?"
      kill $sending]]
    assert.matches("^ipq%-lua [%d.]+, process %d+, up 0:00:%d%d\nscript [^\n]*/count.lua\n\nqueue +pkts/s ", output)
    for queue, dropped in pairs { [0] = false, [1] = true } do
      local numbers = { output:match(("\n +%d +(%%d+) +(%%d+) +(%%d+) +(%%d+) +(%%d+) +(%%d+) +([%%d.]+) +%%S+[nums]+ +"
        .. "%%S+[nums]+ +%%d+%%%% +0\n"):format(queue)) }
      assert.equal(7, #numbers, output)
      assert.is_true(tonumber(numbers[1]) > 0)
      assert.equal(dropped, tonumber(numbers[3]) > 0)
    end
    assert.matches("\n +0  hits +%d+ +%d[%d.e+]*/s\n", output)
    assert.matches("\nstatus 0\n", output)
    for line in output:gmatch "[^\n]+" do assert.is_true(#line <= 80 or line:match "^script" ~= nil, line) end
  end)

  it("shows them live in a terminal, whatever its size, and leaves it as it was", function()
    local output = run(terminal .. [[
      run a "$DIR/count.lua"
      keys "stty -a > $DIR/before; clear; echo start" Enter
      wait_for shows '^start'
      for key in q C-c; do
        keys "$PROGRAM --top $pid_a; echo left \$?; stty -a > $DIR/after" Enter
        wait_for shows '^queue  pkts/s'
        send 10
        wait_for shows '    0  hits  .*[1-9]0  '
        tmux_ resize-window -x 30 -y 5
        wait_for shows '^    0 '
        screen | sed 's/^/small|/'
        tmux_ resize-window -x 80 -y 12
        wait_for shows '    0  hits'
        screen | sed 's/^/large|/'
        keys $key
        wait_for shows 'left 0'
        shows start && ! shows pkts && echo "screen as before"
        wait_for test -s "$DIR/after"
        sed 's/rows [0-9]*; columns [0-9]*//' "$DIR/before" > "$DIR/1"
        sed 's/rows [0-9]*; columns [0-9]*//' "$DIR/after" > "$DIR/2"
        cmp "$DIR/1" "$DIR/2" && echo "settings as before"
        keys "rm $DIR/after; clear; echo start" Enter
        wait_for shows '^start'
      done
      stop a]])
    assert.equal(2, count(output, "screen as before\n"), output)
    assert.equal(2, count(output, "settings as before\n"))
    assert.matches("small|queue  pkts/s accept/s drop/", output)
    assert.equal(10, count(output, "small|"))
    assert.matches("large|    0  hits +%d0", output)
    assert.matches("queue 0: 20 packets, 20 accepted", output)
  end)

  it("is left by TERM, and when the process that it shows ends, with the terminal as it was", function()
    local output = run(terminal .. [[
      for end in TERM gone; do
        run a "$DIR/count.lua"
        cat > "$DIR/watch" <<END
clear; stty -a > $DIR/before
$PROGRAM --top $pid_a & echo \$! > $DIR/pid
fg; echo left \$?
stty -a > $DIR/after
END
        keys ". $DIR/watch" Enter
        wait_for shows '^queue  pkts/s'
        [ $end = gone ] || kill -TERM $(cat "$DIR/pid")
        [ $end = TERM ] || kill -TERM $pid_a
        wait_for shows 'left 0'
        wait_for test -s "$DIR/after"
        cmp "$DIR/before" "$DIR/after" && echo same
        rm "$DIR/after"
        screen
        kill -TERM $pid_a 2> /dev/null
        wait $pid_a
      done]])
    assert.equal(2, count(output, "same\n"), output)
    assert.equal(1, count(output, "ipq%-lua: process %d+ has ended\n"))
  end)

  it("needs no number where one program runs, and lists several", function()
    local output = run [[
      # A process of this namespace sees those of others: only these two are told by their scripts.
      run a "$DIR/count.lua"
      cp "$DIR/count.lua" "$DIR/other.lua"
      run b -q 5:6 "$DIR/other.lua"
      "$PROGRAM" --top
      echo "status $?"
      echo "$pid_a and $pid_b"]]
    local a, b = output:match "(%d+) and (%d+)\n"
    assert.matches("\n? +" .. a .. "  queues 0:0  [^\n]*/count.lua\n", "\n" .. output)
    assert.matches("\n +" .. b .. "  queues 5:6  [^\n]*/other.lua\n", "\n" .. output)
    assert.matches("error: several run; say which: ipq%-lua %-%-top PID\n", output)
    assert.matches("status 64\n", output)
  end)

  it("says what a process is that it cannot show", function()
    local output = run [[
      "$PROGRAM" --top $$
      echo "none $?"
      python3 -c '
import fcntl, os, struct, time
fd = os.memfd_create("ipq-lua", os.MFD_ALLOW_SEALING)
os.write(fd, b"ipqstat\0" + struct.pack("=IIIIqq16s224s", 280, 999, 1, 2, 0, 0, b"9.9.9", b"x.lua") + bytes(4096))
fcntl.fcntl(fd, 1033, 2 | 4)
print(os.getpid(), flush=True)
time.sleep(100000)' > "$DIR/other" &
      python=$!
      wait_for test -s "$DIR/other"
      "$PROGRAM" --top $(cat "$DIR/other")
      echo "other $?"
      kill $python
      run a "$DIR/count.lua"
      install -m 755 "$PROGRAM" "$DIR/ipq-lua"
      chmod 711 "$DIR"
      setpriv --reuid 65534 --regid 65534 --clear-groups "$DIR/ipq-lua" --top $pid_a
      echo "nobody $?"]]
    assert.matches("error: process %d+ is no ipq%-lua that judges a queue\nnone 69\n", output)
    assert.matches("error: process %d+ is ipq%-lua 9.9.9, and counts otherwise than this one, [%d.]+: ask its own "
      .. "program, /proc/%d+/exe %-%-top %d+\nother 69\n", output)
    assert.matches("error: process %d+: this user may not look into it; its own may, or root\nnobody 77\n", output)
  end)

  it("is not led astray by a process that only looks like one", function()
    local output = run [[
      run a "$DIR/count.lua"
      cat > "$DIR/page.lua" <<'END'
-- A page like a true one, but for text, and for a count of queues that changes all the time.
local ffi = require "ffi"
ffi.cdef [=[
int memfd_create(const char *name, unsigned flags);
int ftruncate(int fd, long size);
int fcntl(int fd, int command, ...);
void *mmap(void *address, size_t len, int protection, int flags, int fd, long offset);
]=]
local file = assert(io.open(arg[1], "rb"))
local bytes = file:read "*a"
file:close()
local fd = ffi.C.memfd_create("ipq-lua", 2)
ffi.C.ftruncate(fd, #bytes)
local page = ffi.cast("uint8_t *", ffi.C.mmap(nil, #bytes, 3, 1, fd, 0))
ffi.copy(page, bytes, #bytes)
-- Behind the version.
ffi.copy(page + 56, ("\27]0;owned\7"):rep(22), 220)
ffi.C.fcntl(fd, 1033, ffi.cast("int", 2 + 4)) -- F_ADD_SEALS: SHRINK, GROW
local ready = io.open(arg[2], "w")
ready:write "ready"
ready:close()
local count, time = ffi.cast("uint32_t *", page + 16), ffi.cast("int64_t *", page + 24)
local many = tonumber(arg[3])
for i = 1, math.huge do
  time[0] = time[0] + 1
  count[0] = i % 8 < 4 and 1 or many
end
END
      page=/proc/$pid_a/fd/$(ls -l /proc/$pid_a/fd | awk '/memfd:ipq-lua/ { print $9 }')
      for many in 1 0 60000; do
        rm -f "$DIR/ready"
        luajit "$DIR/page.lua" "$page" "$DIR/ready" $many &
        fake=$!
        wait_for test -s "$DIR/ready"
        for _ in $(seq 12); do
          timeout 200 "$PROGRAM" --top $fake > "$DIR/shown" 2>&1
          [ $? -le 69 ] || echo crash
          cat "$DIR/shown" >> "$DIR/all"
          ! grep -q "$(printf '\033')" "$DIR/shown" || echo escape
        done
        [ $many != 1 ] || "$PROGRAM" --top 2> "$DIR/several" | grep "^ *$fake " | grep -o 'queues.*owned'
        kill $fake
      done
      grep -o 'script .*owned' "$DIR/all" | sort -u
      stop a]]
    assert.matches("^queues 0:0  %?]0;owned[^\n]*\nscript %?]0;owned[^\n]*\nexit 0\n", output)
  end)

  it("does not wait for what a stranger calls like it", function()
    local output = run [[
      unshare -m sh -c '
        mount -t tmpfs none /mnt
        mkfifo "/mnt/memfd:ipq-lua (deleted)"
        exec 9<> "/mnt/memfd:ipq-lua (deleted)"
        exec sleep infinity' & pid=$!
      has_it() { ls -l /proc/$pid/fd 2> /dev/null | grep -q '/memfd:ipq-lua (deleted)'; }
      wait_for has_it
      timeout $((20 * ${IPQ_SLOW:-1})) "$PROGRAM" --top $pid
      echo "exit $?"
      kill $pid]]
    assert.is_nil(output:find("exit 124", 1, true))
    assert.matches("exit %d+\n", output)
  end)

  it("does not wait for a lease that a stranger has on what is called like it", function()
    local output = run [[
      export DIR
      python3 -c '
import fcntl, os, signal, time
signal.signal(signal.SIGIO, signal.SIG_IGN)
memory = os.memfd_create("ipq-lua", os.MFD_ALLOW_SEALING)
os.ftruncate(memory, 4096)
fd = os.open("/proc/self/fd/%d" % memory, os.O_RDONLY)
os.close(memory)
fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
open(os.environ["DIR"] + "/leased", "w").close()
time.sleep(600)' & pid=$!
      wait_for test -e "$DIR/leased"
      timeout $((20 * ${IPQ_SLOW:-1})) "$PROGRAM" --top $pid
      echo "exit $?"
      kill $pid]]
    assert.is_nil(output:find("exit 124", 1, true))
    assert.matches("exit %d+\n", output)
  end)

  it("reads memory that no other process can change, and that no worker has", function()
    local output = run [[
      run a "$DIR/count.lua"
      page_of() { ls -l /proc/$1/fd | awk '/memfd:ipq-lua/ { print $9 }'; }
      fd=$(page_of $pid_a)
      [ -n "$fd" ] && echo found
      (echo x > /proc/$pid_a/fd/$fd) 2>&1
      python3 -c '
import os, sys
for work in [lambda fd: os.write(fd, b"x"), lambda fd: os.ftruncate(fd, 0), lambda fd: os.ftruncate(fd, 1 << 20)]:
    try:
        work(os.open(sys.argv[1], os.O_RDWR))
        print("changed")
    except PermissionError:
        print("refused")' /proc/$pid_a/fd/$fd
      worker=$(worker a)
      [ -z "$(page_of $worker)" ] && ! grep -q memfd:ipq-lua /proc/$worker/maps && echo "not the worker's"
      "$PROGRAM" --top $pid_a | head -1
      stop a]]
    assert.matches("^found\n", output)
    assert.matches("refused\nrefused\nrefused\nnot the worker's\nipq%-lua [%d.]+, process", output)
    assert.equal(0, count(output, "changed\n"))
  end)
end)

netns.describe("figures of what does not run any more", function()
  it("are shown with their age, where the program has stopped", function()
    local output = run [[
      run a "$DIR/count.lua"
      kill -STOP $pid_a
      old() { "$PROGRAM" --top $pid_a > "$DIR/shown" && grep -q 'not heard of' "$DIR/shown"; }
      wait_for old
      head -n 1 "$DIR/shown"
      kill -CONT $pid_a
      stop a]]
    local seconds = output:match "^ipq%-lua [%d.]+, process %d+, up 0:00:%d%d, not heard of for (%d+) s\n"
    assert.is_true(tonumber(seconds) >= 3, output)
  end)

  it("are in the processor time of a queue's workers, which never falls", function()
    local output = run [[
      told() { rm -f "$DIR/metrics"; kill -USR1 $pid_a; wait_for test -e "$DIR/metrics"
        awk '/^ipq_worker_cpu_seconds_total/ { print "used", $2 }' "$DIR/metrics"; }
      followed() { grep -q 'goes on' "$DIR/a.err"; }
      rule -A OUTPUT -p udp --dport 9 -j QUEUE
      filter a --time-limit 0 --metrics "$DIR/metrics" <<'END'
return function(pkt)
  local start = os.clock()
  if pkt.packet_id == 1 then repeat until os.clock() - start > 0.3 end
  if pkt.packet_id == 2 then os.exit(1) end
end
END
      bash -c 'echo > /dev/udp/127.0.0.1/9'
      wait_for judged 1
      told
      bash -c 'echo > /dev/udp/127.0.0.1/9'
      wait_for followed
      told
      stop a]]
    local before, after = output:match "used ([%d.]+)\nused ([%d.]+)\n"
    assert.is_true(tonumber(before) >= 0.3 and tonumber(after) > tonumber(before), output)
  end)
end)
