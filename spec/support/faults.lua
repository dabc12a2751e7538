-- What may happen to a filter under load, and what must come of it. Run short by spec/kernel/survive_spec.lua, and
-- long by `make chaos`.
local netns = require "spec.support.netns"

local M = {}

local RATE = 20000 -- packets a second

-- Shell functions for the faults. Each is called with the number of times that it is to happen.
local functions = ([[
  export ASAN_OPTIONS=detect_leaks=0:handle_segv=0
  worker() { cat "/proc/$pid_filter/task/$pid_filter/children"; }
  # STREAM SECONDS: the load, in the background. Its line is in $DIR/stream.
  stream() { "$IPQ_BUILD/spec/stream" 9 %d "$1" > "$DIR/stream" 2>&1 & stream=$!; sleep 0.3; }
  again() { for _ in $(seq "$1"); do eval "$2"; sleep "$3"; done; }
  kill_workers() { again "$1" 'kill -KILL $(worker)' 0.08; }
  reload() {
    for i in $(seq "$1"); do
      cp "$DIR/filter.lua" "$DIR/good.lua"
      [ $((i %% 10)) -ne 0 ] || echo 'return {' > "$DIR/filter.lua"
      kill -HUP "$pid_filter"
      sleep 0.05
      cp "$DIR/good.lua" "$DIR/filter.lua"
    done
  }
  stop_worker() { kill -STOP $(worker); sleep 3; }
]]):format(RATE)

-- name; is_like_others: another one here is of its kind; options; filter (Lua text); seconds of load and times of the
-- fault, short and long; act (shell, with $N for the times); gap: the longest that a packet may be late (ms);
-- same_worker: it is not replaced; log: what the log says so often.
M.list = {
  { name = "kill -9 of the worker", act = "kill_workers $N", seconds = { 2, 6 }, times = { 10, 50 }, gap = 50,
    log = { "was killed by signal 9 %(Killed%)", "a new worker, process %d+, goes on" } },
  { name = "SIGSEGV in the script, by ffi",
    is_like_others = true, seconds = { 3, 10 }, times = { 2, 9 }, gap = 50, filter = [[
local ffi = require "ffi"
local stop = os.time() + 1
return function(pkt)
  if os.time() >= stop then ffi.cast("int *", 8)[0] = 1 end
end
]], act = "sleep $((N + 1))", log = { "was killed by signal 11 %(Segmentation fault%) while it judged packet %d+ "
      .. "%(127.0.0.1.%d+ > 127.0.0.1.9, protocol 17%)" } },
  { name = "os.exit() in the script",
    is_like_others = true, seconds = { 2, 6 }, times = { 4, 14 }, gap = 50, filter = [[
local count = 0
return function()
  count = count + 1
  if count == 8000 then os.exit(0) end
end
]], act = "sleep 1", log = { "its worker, process %d+, ended with status 0 while it judged packet" } },
  { name = "an endless loop in compiled Lua, limit 200 ms",
    is_like_others = true, options = "--time-limit 0.2",
    seconds = { 3, 12 }, times = { 2, 10 }, gap = 300, filter = [[
local count = 0
return function()
  count = count + 1
  if count == 20000 then
    local n = 0
    while true do n = n + 1 end
  end
end
]], act = "sleep 1", log = { "no progress for 200 ms "
      .. "while it judged packet %d+ %(127.0.0.1.%d+ > 127.0.0.1.9, protocol 17%); "
      .. "its worker is ended %(%-%-time%-limit%)" } },
  { name = "an endless loop in interpreted Lua, limit 200 ms", options = "--time-limit 0.2",
    seconds = { 3, 12 }, times = { 2, 10 }, gap = 300, same_worker = true, filter = [[
local count = 0
local function spin() while true do local _ = string.rep("x", 10) end end
jit.off(spin)
return function()
  count = count + 1
  if count %% 20000 == 0 then spin() end
end
]], act = "sleep 1", log = { "filter.lua:%d+: takes longer than the time limit" } },
  { name = "an endless loop in a timer, limit 200 ms", options = "--time-limit 0.2",
    seconds = { 3, 8 }, times = { 1, 3 }, gap = 300, filter = [[
local ipq = require "ipq"
ipq.after(1.5, function()
  local n = 0
  while true do n = n + 1 end
end)
return function() end
]], act = "sleep 2", log = { "no progress for 200 ms in a timer; its worker is ended",
      "was killed by signal 9 %(Killed%) in a timer" } },
  { name = "kill -9 of a worker that holds packets", seconds = { 2, 6 }, times = { 4, 20 }, gap = 400, filter = [[
local ipq = require "ipq"
local count = 0
local function release(held) held:verdict() end
return function(pkt)
  count = count + 1
  if count %% 50 == 0 then ipq.after(0.1, release, pkt:hold()) end
end
]], act = "kill_workers $N", log = { "was killed by signal 9 %(Killed%)" } },
  { name = "memory eaten by the script, limit 64 MB",
    is_like_others = true, options = "--memory-limit 64",
    seconds = { 3, 8 }, times = { 1, 3 }, gap = 500, filter = [[
local kept = {}
return function(pkt)
  kept[#kept + 1] = ("x"):rep(4000) .. #kept
end
]], act = "sleep 1", log = { "its worker takes %d+ MB; it is ended %(%-%-memory%-limit%)" } },
  { name = "reload, each tenth time of a broken script", seconds = { 3, 8 }, times = { 20, 100 }, gap = 50,
    act = "reload $N", same_worker = true, log = { "filter.lua was reloaded" } },
  { name = "SIGSTOP of the worker for 3 s",
    is_like_others = true, options = "--queue-maxlen 60000", seconds = { 5, 8 }, times = { 1, 1 },
    gap = 1400, act = "stop_worker", log = { "no progress for 1000 ms.*its worker is ended %(%-%-time%-limit%)" } },
}

local ACCEPT = "return function() end\n"

--- Runs one of them, short (1) or long (2). Gives numbers: sent, received, lost, gap (ms); and log, output.
function M.run(fault, length)
  local times = fault.times[length]
  local output = netns.run(functions .. ([[
    rule -A OUTPUT -p udp --dport 9 -j NFQUEUE --queue-num 0
    N=%d
    filter filter --on-error accept --queue-maxlen 20000 %s <<'END'
%s
END
    before=$(worker)
    stream %d
    %s
    wait $stream
    echo "worker $before $(worker)"
    stop filter
    cat "$DIR/stream"]]):format(times, fault.options or "", fault.filter and fault.filter:gsub("%%%%", "%%") or ACCEPT,
    fault.seconds[length], fault.act))
  local r = { output = output, times = times }
  for name in ("sent received lost twice gap"):gmatch "%a+" do r[name] = tonumber(output:match(name .. " ([%d.]+)")) end
  local before, after = output:match "worker (%d+) *\n?(%d*)"
  r.is_same_worker = before == after
  return r
end

local function count(text, pattern) return select(2, text:gsub(pattern, "")) end

--- What a run lacks; nil where it is as it must be.
function M.verdict(fault, r)
  if not r.sent then return "no load: " .. r.output end
  if r.lost ~= 0 or r.twice ~= 0 then return ("%d lost, %d twice\n%s"):format(r.lost, r.twice, r.output) end
  if r.gap > fault.gap then return ("a gap of %.0f ms, over %d\n%s"):format(r.gap, fault.gap, r.output) end
  for _, pattern in ipairs(fault.log) do
    local found = count(r.output, pattern)
    local least = fault.same_worker and fault.act:match "reload" and r.times * 0.9 or r.times
    if found < least then return ("%q %d times, not %d\n%s"):format(pattern, found, least, r.output) end
  end
  if (fault.same_worker or false) ~= r.is_same_worker then
    return (fault.same_worker and "another worker\n" or "the same worker\n") .. r.output
  end
end

return M
