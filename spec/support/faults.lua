-- What may happen to a filter under load, and what must come of it. Run short by spec/kernel/survive_spec.lua, and
-- long by `make chaos`.
local netns = require "spec.support.netns"

local M = {}

local RATE = 20000 -- packets a second
local LONGEST = 600 -- seconds of load at most

-- Shell functions for the faults. Each is called with the number of times that it is to happen.
local functions = [[
  export ASAN_OPTIONS=detect_leaks=0:handle_segv=0
  runs() { [ -n "$(worker filter)" ]; }
  again() { for i in $(seq "$1"); do eval "$2"; done; }
  kill_workers() {
    again "$1" 'wait_for runs; kill -KILL $(worker filter); wait_for logged filter "goes on" $i; sleep 0.05'
  }
  reload() {
    for i in $(seq "$1"); do
      cp "$DIR/filter.lua" "$DIR/good.lua"
      [ $((i % 10)) -ne 0 ] || echo 'return {' > "$DIR/filter.lua"
      kill -HUP "$pid_filter"
      wait_for logged filter "reloaded" $i
      cp "$DIR/good.lua" "$DIR/filter.lua"
    done
  }
  reload_only() { again "$1" 'kill -HUP $pid_filter; wait_for logged filter "was reloaded" $i'; }
  # No process may be made for a while: the limit is the supervisor's own.
  starve_and_kill() {
    again "$1" 'wait_for runs; prlimit --pid $pid_filter --nofile=3:; kill -KILL $(worker filter)
      wait_for logged filter "cannot start a worker" $i; prlimit --pid $pid_filter --nofile=1024:
      wait_for logged filter "goes on" $i; sleep 0.05'
  }
]]

-- name; is_like_others: another one here is of its kind; is_for_chaos: there is a spec for it without load; options;
-- filter (Lua text); times of the fault, short and long; act (shell, with $N for the times), or nothing where the
-- filter itself does it; await: what the log says each time; gap: the longest that a packet may be late (ms), which
-- `make chaos` holds it to; same_worker: it is not replaced; is_lossy: packets are dropped meanwhile, as nobody has the
-- queue; log: what else the log says so often.
M.list = {
  { name = "kill -9 of the worker", act = "kill_workers $N", await = "goes on", times = { 10, 50 }, gap = 50,
    log = { "was killed by signal 9 %(Killed%)", "a new worker, process %d+, goes on" } },
  { name = "SIGSEGV in the script, by ffi",
    is_like_others = true, await = "was killed by signal 11", times = { 2, 9 }, gap = 50, filter = [[
local ffi = require "ffi"
local stop = os.time() + 1
return function(pkt)
  if os.time() >= stop then ffi.cast("int *", 8)[0] = 1 end
end
]], log = { "was killed by signal 11 %(Segmentation fault%) while it judged packet %d+ "
      .. "%(127.0.0.1.%d+ > 127.0.0.1.9, protocol 17%)" } },
  { name = "os.exit() in the script",
    is_like_others = true, await = "ended with status 70", times = { 4, 14 }, gap = 50, filter = [[
local count = 0
return function()
  count = count + 1
  if count == 8000 then os.exit(0) end
end
]], log = { "its worker, process %d+, ended with status 70 while it judged packet" } },
  { name = "an endless loop in compiled Lua, limit 200 ms",
    is_like_others = true, options = "--time-limit 0.2",
    await = "its worker is ended", times = { 2, 10 }, gap = 300, filter = [[
local count = 0
return function()
  count = count + 1
  if count == 20000 then
    local n = 0
    while true do n = n + 1 end
  end
end
]], log = { "no progress for 200 ms "
      .. "while it judged packet %d+ %(127.0.0.1.%d+ > 127.0.0.1.9, protocol 17%); "
      .. "its worker is ended %(%-%-time%-limit%)" } },
  { name = "an endless loop in interpreted Lua, limit 200 ms", options = "--time-limit 0.2",
    await = "longer than the time limit", times = { 2, 10 }, gap = 300, same_worker = true, filter = [[
local count = 0
local function spin() while true do local _ = string.rep("x", 10) end end
jit.off(spin)
return function()
  count = count + 1
  if count %% 20000 == 0 then spin() end
end
]], log = { "filter.lua:%d+: takes longer than the time limit" } },
  { name = "an endless loop in a timer, limit 200 ms", options = "--time-limit 0.2",
    await = "was killed by signal 9", times = { 1, 3 }, gap = 400, filter = [[
local ipq = require "ipq"
ipq.after(1.5, function()
  local n = 0
  while true do n = n + 1 end
end)
return function() end
]], log = { "no progress for 200 ms in a timer; its worker is ended",
      "was killed by signal 9 %(Killed%) in a timer" } },
  { name = "kill -9 of a worker that holds packets", await = "goes on", times = { 4, 20 }, gap = 400, filter = [[
local ipq = require "ipq"
local count = 0
local function release(held) held:verdict() end
return function(pkt)
  count = count + 1
  if count %% 50 == 0 then ipq.after(0.1, release, pkt:hold()) end
end
]], act = "kill_workers $N", log = { "was killed by signal 9 %(Killed%)" } },
  { name = "shared memory eaten by the script, limit 64 MB",
    is_like_others = true, options = "--memory-limit 64",
    await = "(--memory-limit)", times = { 1, 3 }, gap = 500, filter = [[
local ffi = require "ffi"
ffi.cdef "void *mmap(void *, size_t, int, int, int, long);"
local count = 0
return function()
  count = count + 1
  -- MAP_SHARED and MAP_ANONYMOUS, 1 MiB.
  if count %% 10 == 0 then ffi.fill(ffi.C.mmap(nil, 1048576, 3, 0x21, -1, 0), 1048576, 1) end
end
]], log = { "its worker takes %d+ MB; it is ended %(%-%-memory%-limit%)" } },
  { name = "memory eaten by the script, limit 64 MB",
    is_like_others = true, options = "--memory-limit 64",
    await = "(--memory-limit)", times = { 1, 3 }, gap = 500, filter = [[
local kept = {}
return function(pkt)
  kept[#kept + 1] = ("x"):rep(4000) .. #kept
end
]], log = { "its worker takes %d+ MB; it is ended %(%-%-memory%-limit%)" } },
  { name = "reload, each tenth time of a broken script", times = { 20, 100 }, gap = 50,
    act = "reload $N", await = "reloaded", log = { "filter.lua was %l*%s?reloaded" } },
  { name = "reload storm: HUP each 30 ms, each third script broken, each fifth time the worker killed",
    is_like_others = true, times = { 10, 200 }, gap = 200, act = [[
      for i in $(seq $N); do
        [ $((i % 3)) -ne 0 ] && echo 'return function() end' > "$DIR/filter.lua" || echo 'return {' > "$DIR/filter.lua"
        kill -HUP $pid_filter
        sleep 0.03
        [ $((i % 5)) -ne 0 ] || kill -KILL $(worker filter)
      done
      echo 'return function() end' > "$DIR/filter.lua"
      before=$(grep -c 'was reloaded' "$DIR/filter.err")
      "$PROGRAM" --ctl=$pid_filter reload
      N=1]], await = "was reloaded", log = {} },
  { name = "reload of a script that saves and restores 10,000 entries",
    is_for_chaos = true, times = { 5, 50 }, gap = 60, act = "reload_only $N", await = "was reloaded", filter = [[
local seen = {}
for i = 1, 10000 do seen["10.0." .. i] = i end
return { filter = function() end, save = function() return seen end, restore = function(saved) seen = saved end }
]], log = { "filter.lua was reloaded" } },
  { name = "a log and events that nobody takes for 2 s",
    is_for_chaos = true, times = { 1, 3 }, gap = 50, same_worker = true, await = "lines were lost", filter = [[
local ipq = require "ipq"
return function(pkt)
  print(("x"):rep(500))
  ipq.event { packet = pkt.packet_id, text = ("y"):rep(500) }
end
]], act = [[
      writers=$(pgrep -P $pid_filter -x ipq-lua-output)
      again $N 'kill -STOP $writers; sleep 2; kill -CONT $writers; wait_for logged filter "lines were lost" $i']],
    log = { "lines were lost" } },
  { name = "its ledger overwritten by the worker of another queue, which dies",
    is_for_chaos = true, options = "-q 0:1", times = { 5, 30 }, gap = 50, await = "was killed by signal 11",
    same_worker = true, act = [[
      wait_for queue_is_bound 1
      rule -A OUTPUT -p udp --dport 10 -j NFQUEUE --queue-num 1
      again $N 'bash -c "echo > /dev/udp/127.0.0.1/10"; wait_for logged filter "was killed by signal 11" $i']],
    filter = [[
local ffi = require "ffi"
return function(pkt)
  if pkt.dport ~= 10 then return end
  for line in io.lines "/proc/self/maps" do
    local first, last = line:match "^(%%x+)%%-(%%x+) rw%%-s .*/dev/zero"
    if first and tonumber(last, 16) - tonumber(first, 16) ~= 0x4000000 then
      ffi.fill(ffi.cast("void *", tonumber(first, 16)), 200000, 0x41)
    end
  end
  ffi.cast("int *", 8)[0] = 1
end
]], log = { "was killed by signal 11" } },
  { name = "the queue unbound by its worker",
    is_for_chaos = true, times = { 1, 1 }, gap = 3000, same_worker = true, await = "has unbound it; that was undone",
    is_lossy = true, filter = [[
local ffi = require "ffi"
ffi.cdef "long send(int, const void *, size_t, int); int getsockopt(int, int, int, void *, int *);"
local value, size, socket = ffi.new "int[1]", ffi.new("int[1]", 4), nil
for fd = 3, 100 do
  if ffi.C.getsockopt(fd, 1, 38, value, size) == 0 and value[0] == 12 then socket = fd end
end
local count = 0
return function()
  count = count + 1
  if count ~= 2000 then return end
  local message = "\28\0\0\0\2\3\1\0" .. ("\0"):rep(12) .. "\8\0\1\0\2\0\0\0"
  ffi.C.send(socket, message, #message, 0)
end
]], log = { "has unbound it; that was undone" } },
  { name = "forks that fail, while workers die",
    is_for_chaos = true, times = { 3, 10 }, gap = 2500, await = "goes on", act = "starve_and_kill $N",
    log = { "was killed by signal 9 %(Killed%)" } },
  { name = "SIGSTOP of the worker for 3 s",
    is_like_others = true, options = "--queue-maxlen 60000", times = { 1, 1 }, await = "its worker is ended",
    gap = 1400, act = "kill -STOP $(worker filter)",
    log = { "no progress for 1000 ms.*its worker is ended %(%-%-time%-limit%)" } },
}

local ACCEPT = "return function() end\n"

--- Runs one of them, short (1) or long (2). Gives numbers: sent, received, lost, turned_away (by the full queue, which
--- a machine with other work causes by itself), twice, gap (ms); and output.
function M.run(fault, length)
  local times = fault.times[length]
  local output = netns.run(functions .. ([[
    rule -A OUTPUT -p udp --dport 9 -j NFQUEUE --queue-num 0
    N=%d
    filter filter --on-error accept --queue-maxlen 20000 %s <<'END'
%s
END
    before=$(worker filter)
    "$IPQ_BUILD/spec/stream" 9 %d %d > "$DIR/stream" & stream=$!
    wait_for seen 100
    %s
    wait_for logged filter '%s' $N
    wait_for runs
    kill -TERM $stream
    wait $stream
    echo "worker $before $(worker filter)"
    stop filter
    cat "$DIR/stream"]]):format(times, fault.options or "", fault.filter and fault.filter:gsub("%%%%", "%%") or ACCEPT,
    RATE, LONGEST, fault.act or "", fault.await), LONGEST)
  local r = { output = output, times = times, turned_away = tonumber(output:match "(%d+) lost unseen") }
  for name in ("sent received lost twice gap"):gmatch "%a+" do r[name] = tonumber(output:match(name .. " ([%d.]+)")) end
  local before, after = output:match "worker (%d+) *\n?(%d*)"
  r.is_same_worker = before == after
  return r
end

local function count(text, pattern) return select(2, text:gsub(pattern, "")) end

--- What a run lacks; nil where it is as it must be.
function M.verdict(fault, r)
  if not (r.sent and r.turned_away) then return "no load: " .. r.output end
  if (r.lost ~= r.turned_away and not fault.is_lossy) or r.twice ~= 0 then
    return ("%d lost, %d twice\n%s"):format(r.lost - r.turned_away, r.twice, r.output)
  end
  for _, pattern in ipairs(fault.log) do
    local found = count(r.output, pattern)
    if found < r.times then return ("%q %d times, not %d\n%s"):format(pattern, found, r.times, r.output) end
  end
  if (fault.same_worker or false) ~= r.is_same_worker then
    return (fault.same_worker and "another worker\n" or "the same worker\n") .. r.output
  end
end

return M
