-- Tables that all workers share, live: what is left of them when workers are killed, scripts reloaded, and programs
-- replaced.
local netns = require "spec.support.netns"

local counting = [[
  rule -A OUTPUT -p udp --dport 9 -j NFQUEUE --queue-num 0
  rule -A OUTPUT -p udp --dport 10 -j NFQUEUE --queue-num 1
  filter filter -q 0:1 <<'END'
local ipq = require "ipq"
local counts = ipq.shared("counts", { entries = 1000 })
return function(pkt)
  local n = counts:incr("all", 1, 0)
  counts:set("text", "packet " .. n)
  ipq.log.info(("%d of all, by worker %d: %s"):format(n, ipq.worker, counts:get "text"))
end
END
  send_to() { bash -c "echo x > /dev/udp/127.0.0.1/$1"; wait_for logged filter "$2 of all, by worker $3: packet $2"; }
]]

netns.describe("Shared tables", function()
  it("are one for the workers of all queues", function()
    local output = netns.run(counting .. [[
      send_to 9 1 0
      send_to 10 2 1
      send_to 9 3 0
      stop filter
      cat "$DIR/filter.err"]])
    assert.matches("3 packets, 3 accepted, 0 dropped, 0 other verdicts, 0 errors", output)
  end)

  it("outlive killed workers, reloads, and the program that is replaced", function()
    local output = netns.run(counting .. [[
      send_to 9 1 0
      kill -KILL $(workers filter)
      again() { [ $(grep -c "a new worker" "$DIR/filter.err") -eq 2 ]; }
      wait_for again
      send_to 9 2 0
      send_to 10 3 1
      kill -HUP $pid_filter
      reloaded() { [ $(grep -c "was reloaded" "$DIR/filter.err") -eq 2 ]; }
      wait_for reloaded
      send_to 10 4 1
      kill -USR2 $pid_filter
      replaced() { [ $(grep -c "waiting for packets" "$DIR/filter.err") -eq 4 ]; }
      wait_for replaced
      send_to 9 5 0
      send_to 10 6 1
      stop filter
      cat "$DIR/filter.err"]])
    assert.is_nil(output:find("cannot be read", 1, true))
  end)

  it("outlive a worker that overwrites what their memory is known by", function()
    local output = netns.run [[
      rule -A OUTPUT -p udp --dport 9 -j NFQUEUE --queue-num 0
      filter filter -q 0 <<'END'
local ffi, ipq = require "ffi", require "ipq"
local counts = ipq.shared("counts", { entries = 1000 })
local head
for line in io.lines "/proc/self/maps" do
  local from = line:match "^(%x+)%-.*/memfd:shared"
  if from then head = ffi.cast("char *", tonumber(from, 16)) end
end
return function(pkt)
  ipq.log.info(counts:incr("all", 1, 0) .. " of all")
  ffi.fill(head, 24)
end
END
      send() { bash -c "echo x > /dev/udp/127.0.0.1/9"; wait_for logged filter "$1 of all"; }
      send 1
      kill -KILL $(workers filter)
      wait_for logged filter "a new worker"
      send 2
      stop filter
      cat "$DIR/filter.err"]]
    assert.matches("2 packets, 2 accepted", output)
    assert.matches("a worker has overwritten the head of the shared tables' memory", output)
  end)

  it("are begun anew where the program before has left what cannot be read, and that is said", function()
    local output = netns.run [[
      cat > "$DIR/filter.lua" <<'END'
local ipq = require "ipq"
local counts = ipq.shared "counts"
return { start = function() ipq.log.info("has " .. tostring(counts:get "x")) counts:set("x", 5) end,
  filter = function() end }
END
      python3 - "$PROGRAM" "$DIR/filter.lua" > "$DIR/filter.err" 2>&1 <<'END' &
import os, sys
SEALS = 0x1 | 0x2 | 0x4
fd = os.memfd_create("other", os.MFD_ALLOW_SEALING)
os.ftruncate(fd, 64 << 20)
os.pwrite(fd, b"nonsense" * 1000, 0)
import fcntl
fcntl.fcntl(fd, 1033, SEALS)
os.dup2(fd, 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="shared")
os.execv(sys.argv[1], sys.argv[1:])
END
      pid_filter=$!
      wait_for grep -qs 'waiting for packets' "$DIR/filter.err"
      kill -HUP $pid_filter
      wait_for grep -q 'was reloaded' "$DIR/filter.err"
      kill $pid_filter
      wait $pid_filter
      cat "$DIR/filter.err"]]
    assert.matches("warning: the shared tables of the program before cannot be read; they are empty now\n", output)
    assert.matches("has nil\n.*has 5\n", output)
  end)

  it("are no part of a worker's --memory-limit", function()
    if netns.program:match "sanitize" then return pending "the sanitizers take memory of their own" end
    local output = netns.run [[
      filter filter --memory-limit 40 --shared-memory 256 --time-limit 0 --stats=0.1 <<'END'
local ipq = require "ipq"
local table = ipq.shared("large", { entries = 500000, value = 100 })
return {
  start = function()
    local text = ("x"):rep(100)
    for i = 1, 500000 do table:set(i, text) end
  end,
  filter = function() end,
}
END
      resident() { awk '/^RssShmem/ { print $2 }' "/proc/$(worker filter)/status"; }
      echo "shared: $(($(resident) / 1024)) MB"
      # The supervisor has looked at its memory meanwhile: it does so as often as it tells figures here.
      wait_for logged filter "0 packets" 10
      stop filter
      cat "$DIR/filter.err"]]
    assert.is_true(tonumber(output:match "shared: (%d+) MB") > 45, output)
    assert.is_nil(output:find("takes", 1, true), output)
    assert.matches("0 restarts", output)
  end)

  it("have as much memory as --shared-memory says, and a script that asks for more is told so", function()
    local output = netns.run [[
      cat > "$DIR/filter.lua" <<'END'
require "ipq".shared("large", { entries = 2 ^ 24 })
return function() end
END
      "$PROGRAM" --shared-memory 1 "$DIR/filter.lua" 2>&1
      echo "exit $?"]]
    assert.matches("%-%-shared%-memory", output)
    assert.matches("exit 65\n", output)
  end)
end)
