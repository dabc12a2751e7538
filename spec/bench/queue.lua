-- A saturated queue: what a packet costs a queue program.
local bench = require "spec.bench.bench"

local ONE, BEST, BEST_EVERY = "C on libmnl, one by one", "C, best loop on lib", "C, best loop, every TTL rewritten"
local ACCEPT, HEADER, EVERY = "ipq-lua, accept all", "ipq-lua, port and address", "ipq-lua, every TTL rewritten"

local function has_python() return bench.succeeds "python3 -c 'import netfilterqueue'" end

local function cases()
  local ipq = bench.program .. " --no-gso --default drop --on-error drop "
  local list = {
    { name = ONE, command = bench.build .. "/bench/one_by_one 0" },
    { name = "C on libnetfilter_queue, its sample's loop", command = bench.build .. "/bench/nfq_sample 0" },
    { name = BEST, command = bench.build .. "/bench/best_loop 0" },
    { name = BEST_EVERY, command = bench.build .. "/bench/best_loop 0 33", rewritten = 1 },
    { name = ACCEPT, command = ipq .. "scripts/accept.lua" },
    { name = HEADER, command = ipq .. bench.filter "header" },
    { name = "ipq-lua, one TTL in 16 rewritten", command = ipq .. bench.filter "ttl" .. " every=16",
      rewritten = 1 / 16 },
    { name = EVERY, command = ipq .. bench.filter "ttl", rewritten = 1 },
  }
  if has_python() then
    table.insert(list, 3, { name = "python3, netfilterqueue", command = "python3 spec/bench/netfilterqueue_loop.py 0" })
  end
  return list
end

--- All that were judged went on, and as many were rewritten as was meant.
local function check(case, f)
  local wanted = f.judged * (case.rewritten or 0)
  if f.packets < 1 or f.arrived ~= f.judged or math.abs(f.rewritten - wanted) > 1 then
    error(("%s: %d packets judged, %d went on, %d rewritten"):format(case.name, f.judged, f.arrived, f.rewritten), 0)
  end
end

local function measure(place, payload)
  return function(case)
    local f = bench.figures(bench.in_namespace(("sh spec/bench/queue.sh %s %d %d %s"):format(
      place, payload, bench.options.seconds, case.command)))
    check(case, f)
    return { rate = f.packets / f.ns * 1e9, cpu = f.cpu / f.packets, busy = f.cpu / f.ns }
  end
end

local function show(title, place, size, list)
  bench.say("### %d-byte UDP packets, %s\n", size, title)
  local rows = bench.interleave(list, measure(place, size - 28))
  rows:print {
    bench.name_column "program",
    rows:column("packets/s", "rate", "%.0f"),
    rows:ratio_column("ratio", "rate", ONE),
    rows:column("CPU µs a packet", "cpu", "%.2f", 1e-3),
    rows:ratio_column("ratio", "cpu", ONE, true),
    rows:column("busy", "busy", "%.0f %%", 100),
  }
  return rows
end

local function show_goals(rows)
  rows:goals("cpu", {
    { ACCEPT, ONE, 2.5 }, { ACCEPT, BEST, 0.95 }, { HEADER, ACCEPT, 0.93 }, { EVERY, BEST_EVERY, 0.95 },
  }, true)
end

local NO_PYTHON = [[
There is no row for python3's netfilterqueue: the module is not installed, and Debian has no package of it.
]]

return function()
  local list = cases()
  bench.say("## A saturated queue\n")
  bench.say("%d × %d s each. The sender has processor 0, the program the last one. C loops have the socket buffer that"
    .. "\nipq-lua has; all see whole packets, none of them GSO. A program that is not busy waited for the sender, who"
    .. "\nneeds more than a µs a packet: what it can do is told by its own time a packet, which the ratios below the"
    .. "\ntables are of. The queue alone: accepted packets are dropped by the next table of the hook.\n",
    bench.options.repetitions, bench.options.seconds)
  if not has_python() then print(NO_PYTHON) end
  for _, size in ipairs { 46, 1400 } do show_goals(show("the queue alone", "alone", size, list)) end
  show("and their way through the loopback device in the program's time", "path", 46, list)
end
