local netns = require "spec.support.netns"

local is_sanitized = os.getenv "LD_PRELOAD" ~= nil

-- A FIFO that somebody has open and does not read, until read_all FIFO.
local shell = [[
  stuck() {
    mkfifo "$DIR/$1"
    sleep infinity < "$DIR/$1" & eval "holder_$1=$!"
    exec 9> "$DIR/$1"
  }
  serves() { queue_is_bound 0; }
  # pass N: so many packets, which all arrive.
  pass() {
    bash -c "for i in \$(seq $1); do echo > /dev/udp/127.0.0.1/9; done"
    wait_for arrived "$1" && echo "$1 arrived"
  }
  ms() { date +%s%3N; }
  # ends PID: it ends, however long it takes; whether that was in a time that nobody calls hanging.
  ends() {
    started=$(ms)
    kill -TERM $1
    wait $1
    echo "exit $?"
    [ $(($(ms) - started)) -lt $((5000 * ${IPQ_SLOW:-1})) ] && echo soon
  }
  rule -A OUTPUT -p udp --dport 9 -j NFQUEUE --queue-num 0
  rule -A INPUT -p udp --dport 9
]]

local function run(script) return netns.run(shell .. script) end

-- More than a pipe and the writer's own keep.
local TALKS = [[
local ipq = require "ipq"
local text = ("x"):rep(20000)
return function(pkt)
  for i = 1, 200 do %s end
end
]]

netns.describe("nobody who reads", function()
  for name, says in pairs {
    ["the log"] = "ipq.log.error(text)", ["standard error"] = "io.stderr:write(text, '\\n')",
    ["errors"] = "if i == 200 then error(text) end",
  } do
    it("of standard error holds up a packet: " .. name, function()
      local output = run([[
        cat > "$DIR/talk.lua" <<'END'
]] .. TALKS:format(says) .. [[
END
        stuck fifo
        "$PROGRAM" --on-error accept --stats=1 "$DIR/talk.lua" 2> "$DIR/fifo" &
        pid=$!
        wait_for serves
        pass 200
        ends $pid]])
      assert.matches("200 arrived", output)
      assert.matches("exit 0\nsoon\n", output)
    end)
  end

  for name, says in pairs {
    ["ipq.event"] = "ipq.event { text = text }", ["print"] = "print(text)", ["io.write"] = "io.write(text)",
  } do
    it("of standard output holds up a packet: " .. name, function()
      local output = run([[
        cat > "$DIR/talk.lua" <<'END'
]] .. TALKS:format(says) .. [[
END
        stuck fifo
        "$PROGRAM" "$DIR/talk.lua" > "$DIR/fifo" 2> "$DIR/err" &
        pid=$!
        wait_for serves
        pass 200
        wait_for grep -qs 'standard output: [0-9]* lines were lost' "$DIR/err" || cat "$DIR/err"
        ends $pid
        cat "$DIR/err"]])
      assert.matches("200 arrived", output)
      assert.matches("exit 0\nsoon\n", output)
      assert.matches("standard output: its reader has stopped", output)
      assert.is_nil(output:find("no progress", 1, true))
    end)
  end
end)

netns.describe("what a program says", function()
  it("is in the log once there is room, with the number of lines that were lost", function()
    local output = run([[
      cat > "$DIR/talk.lua" <<'END'
local ipq = require "ipq"
return function(pkt)
  for i = 1, 20000 do io.stderr:write(("%d %s\n"):format(i, ("x"):rep(300))) end
end
END
      stuck fifo
      "$PROGRAM" --time-limit 0 "$DIR/talk.lua" 2> "$DIR/fifo" &
      pid=$!
      wait_for serves
      pass 1 > "$DIR/passed"
      cat "$DIR/fifo" > "$DIR/log" 9>&- &
      reads() { [ -s "$DIR/log" ]; }
      wait_for reads
      kill $holder_fifo
      exec 9>&-
      wait_for grep -q 'lines were lost' "$DIR/log"
      ends $pid
      wait
      awk '/^[0-9]+ x+$/ { n++; if (length($0) < 302) bad = 1 } /lines were lost/ { lost += $5 }
        END { print n + lost, bad + 0 }' "$DIR/log"]])
    assert.matches("exit 0\nsoon\n", output)
    assert.matches("20000 0\n$", output)
  end)

  it("is all there where somebody reads, however long a line is", function()
    local output = run [[
      filter talk <<'END'
local ipq = require "ipq"
return function(pkt)
  for i = 1, 5 do
    print(("a"):rep(100000))
    ipq.event { text = ("b"):rep(i * 1000) }
  end
end
END
      pass 1 > "$DIR/passed"
      stop talk > "$DIR/all"
      awk '/^a+$/ { a += length($0) == 100000 } /^{"text":"b+"}$/ { b += length($0) - 11 }
        END { print a, b }' "$DIR/all"]]
    assert.matches("5 15000\n$", output)
  end)

  it("comes line by line, and is not lost with a worker", function()
    local output = run [[
      cat > "$DIR/talk.lua" <<'END'
print "VERSION 1 starts"
return function() io.write("one ", "line\n") end
END
      "$PROGRAM" "$DIR/talk.lua" > "$DIR/talk.out" 2> "$DIR/talk.err" &
      pid_talk=$!
      wait_for grep -qs 'VERSION 1 starts' "$DIR/talk.out"
      wait_for serves
      pass 1 > "$DIR/passed"
      kill -KILL $(worker talk)
      wait_for logged talk 'goes on'
      stop talk]]
    assert.matches("exit 0\nVERSION 1 starts\none line\nVERSION 1 starts\n", output)
  end)

  it("keeps the order in which it was said, where both streams are one", function()
    local output = run [[
      cat > "$DIR/talk.lua" <<'END'
local ipq = require "ipq"
return function() for i = 1, 300 do print(2 * i - 1) io.stderr:write(2 * i, "\n") end end
END
      "$PROGRAM" "$DIR/talk.lua" > "$DIR/talk.err" 2>&1 &
      pid_talk=$!
      wait_for serves
      pass 1 > "$DIR/passed"
      kill $pid_talk
      wait $pid_talk
      grep -x '[0-9]*' "$DIR/talk.err" > "$DIR/numbers"
      sort -n "$DIR/numbers" | cmp - "$DIR/numbers" && wc -l < "$DIR/numbers"]]
    assert.matches("600\n$", output)
  end)

  it("is written on by another process where the one that writes dies", function()
    local output = run [[
      filter talk <<'END'
return function(pkt) print("packet", pkt.packet_id) end
END
      writers() { pgrep -P $pid_talk -x ipq-lua-output; }
      other() { [ "$(writers | wc -l)" -eq "$count" ] && ! writers | grep -qx "$one"; }
      count=$(writers | wc -l)
      for one in $(writers); do kill -KILL $one; wait_for other; done
      pass 1 > "$DIR/passed"
      stop talk]]
    assert.matches("exit 0\npacket\t1\n", output)
    assert.matches("1 packets, 1 accepted", output)
  end)

  it("waits for nobody in the end, where the supervisor is killed", function()
    local output = run [[
      cat > "$DIR/talk.lua" <<'END'
return function() for _ = 1, 10000 do print(("x"):rep(300)) end end
END
      stuck fifo
      "$PROGRAM" --time-limit 0 "$DIR/talk.lua" > "$DIR/fifo" 2> "$DIR/err" &
      pid=$!
      wait_for serves
      pass 1 > "$DIR/passed"
      writers=$(pgrep -P $pid -x ipq-lua-output)
      kill -KILL $pid
      all_gone() { for p in $writers; do kill -0 $p 2> /dev/null && return 1; done; true; }
      wait_for all_gone
      echo gone]]
    assert.matches("gone\n$", output)
  end)

  it("has nothing that a terminal would obey", function()
    local output = run [[
      cat > "$DIR/talk.lua" <<'END'
local ipq = require "ipq"
local bad = "a\27[31mb\194\155c\155d\7e\ripq-lua: error: forged\nipq-lua: error: forged"
print(bad)
ipq.log.info(bad)
return function() error(bad, 0) end
END
      script -qec "exec \"$PROGRAM\" --on-error accept \"$DIR/talk.lua\"" /dev/null > "$DIR/screen" &
      pid_script=$!
      wait_for serves
      pass 1 > "$DIR/passed"
      kill -TERM $(cat /proc/$pid_script/task/$pid_script/children)
      wait $pid_script
      tr -d '\r' < "$DIR/screen"]]
    assert.is_nil(output:find "[%z\1-\8\11-\31\127]")
    assert.is_nil(output:find("\194\155", 1, true))
    assert.is_nil(output:find("\155", 1, true))
    -- The script's own print may begin a line of its own; the log's may not.
    assert.equal(1, select(2, output:gsub("\nipq%-lua: error: forged", "")))
    assert.matches("\\x1b%[31mb\\xc2\\x9bc\\x9bd\\x07e", output)
  end)

  if not is_sanitized then
    it("is all there at up to 200,000 events a second", function()
      local output = run [[
        cat > "$DIR/talk.lua" <<'END'
local ipq = require "ipq"
local event = { saddr = "192.0.2.1", name = "www.example.org", len = 84 }
local n = 0
ipq.every(0.01, function()
  if n >= 200000 then return end
  for _ = 1, 2000 do n = n + 1 event.n = n ipq.event(event) end
  if n >= 200000 then ipq.log.info("all said") end
end)
return function() end
END
        { "$PROGRAM" "$DIR/talk.lua" 2> "$DIR/talk.err" & echo $! > "$DIR/pid"; wait; } | cat > "$DIR/events" &
        wait_for grep -qs 'all said' "$DIR/talk.err"
        kill $(cat "$DIR/pid")
        wait
        grep -o 'all said\|lines were lost' "$DIR/talk.err"
        wc -l < "$DIR/events"]]
      assert.equal("all said\n200000\n", output)
    end)
  end
end)
