local metrics = require "spec.support.metrics"
local netns = require "spec.support.netns"

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
      wait_for 5 said a 'queue 0: 20 packets .*; hits 20'
      wait_for 5 said a 'queue 1: 10 packets .*; hits 10'
      wait_for 5 said_often a 'queue 0: 20 packets (0/s)' 2
      stop a]]
    assert.matches("ipq%-lua: queue 0: 20 packets %(%d+/s%), 20 accepted, 0 dropped, 0 other verdicts, 0 errors, "
      .. "0 lost unseen, 0 restarts, %d+%.%d packets a batch, filter %d[%d.]* [num]s %(p50%), %d[%d.]* [num]s %(p99%); "
      .. "hits 20, length 14.5\n", output)
    assert.matches("queue 1: 10 packets [^\n]*, 5 accepted, 5 dropped, [^\n]*; hits 10, length 14.5\n", output)
    assert.matches("exit 0\n", output)
  end)

  it("are every ten seconds where no number is given, and not at all unless asked for", function()
    local output = run [[
      run a --stats "$DIR/count.lua"
      QUEUE=1 run b -q 1 "$DIR/count.lua"
      sleep 1.2 # the first look at all counters is over then
      stop a
      stop b]]
    assert.equal(0, count(output, "hits"))
  end)

  it("are told once for USR1, which does nothing to a worker", function()
    local output = run [[
      run a "$DIR/count.lua"
      send 7
      wait_for 5 judged 7
      kill -USR1 $pid_a $(worker a)
      wait_for 5 said a '7 packets'
      worker=$(worker a)
      kill -USR1 $worker
      send 1
      wait_for 5 judged 8
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
      wait_for 5 judged 5
      kill -KILL $(worker a)
      wait_for 5 said a 'goes on'
      send 4
      wait_for 5 judged 9
      kill -HUP $pid_a
      wait_for 5 said a 'was reloaded'
      send 3
      wait_for 5 judged 12
      kill -USR1 $pid_a
      wait_for 5 said a hits
      stop a]]
    assert.matches("queue 0: 12 packets, 12 accepted, [^\n]*, 1 restarts, [^\n]*; hits 12, length", output)
  end)

  it("survive a worker that writes over all names", function()
    local output = run [[
      filter wild <<'END'
local ipq, ffi = require "ipq", require "ffi"
ipq.counter "hits"
return function()
  local scripted -- the table itself, which no script has by right
  for i = 1, 20 do
    local name, value = debug.getupvalue(require "ipq.counter".all, i)
    if name == "scripted" then scripted = value end
  end
  ffi.fill(scripted.counters, 64 * 72, 0xff)
end
END
      send 1
      wait_for 5 judged 1
      kill -USR1 $pid_wild
      wait_for 5 said wild '1 packets'
      stop wild]]
    assert.matches("queue 0: 1 packets, 1 accepted, [^\n;]*\n", output)
    assert.matches("exit 0\n", output)
  end)

  it("are JSON with --json, each line with its queue", function()
    local output = run [[
      run a -q 0:1 --json "$DIR/count.lua"
      send 3 10
      wait_for 5 said a 'queue 1: waiting'
      kill -USR1 $pid_a
      wait_for 5 said a 'queue 1: 3 packets'
      kill -KILL $(worker a)
      wait_for 5 said a 'goes on'
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

netns.describe("metrics", function()
  local function file(output) return output:match "\n%-%-%-\n(.*)$" end

  it("are in a file that Prometheus can read, when the program ends", function()
    local output = run [[
      (umask 022; cd "$DIR" && run a -q 0:1 --metrics m.prom count.lua
      send 20
      send 10 10
      wait_for 5 judged 20
      kill -KILL $(worker a)
      wait_for 5 said a 'goes on'
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
      wait_for 5 judged 3
      kill -USR1 $pid_a
      wait_for 5 grep -q 'ipq_script_hits{queue="0"} 3' "$DIR/m.prom"
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
      again() { n=$1; kill -USR1 $pid_a; wait_for 5 said_often a '0 packets' "$n"; }
      again 1
      again 2
      mv "$DIR/away" "$DIR/there"
      again 3
      mv "$DIR/there" "$DIR/away"
      again 4
      again 5
      stop a]]
    assert.equal(2, count(output, "warning: cannot write the metrics [^\n]*/there/m.prom: No such file or directory\n"))
    assert.matches("exit 0\n", output)
  end)
end)
