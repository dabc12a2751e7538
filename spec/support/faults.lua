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
]]

-- name; is_like_others: another one here is of its kind; options; filter (Lua text); times of the fault, short and
-- long; act (shell, with $N for the times), or nothing where the filter itself does it; await: what the log says each
-- time; gap: the longest that a packet may be late (ms), which `make chaos` holds it to; same_worker: it is not
-- replaced; log: what else the log says so often.
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
    await = "was killed by signal 9", times = { 1, 3 }, gap = 300, filter = [[
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
  if r.lost ~= r.turned_away or r.twice ~= 0 then
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
