-- What a queue adds to a round trip, when nothing else is going on.
local bench = require "spec.bench.bench"

local ONE, SPIN_US = "C on libmnl, one by one", 1000
local ACCEPT, SPIN = "ipq-lua", ("ipq-lua --spin %d"):format(SPIN_US)
local PER_CPU = "ipq-lua --per-cpu"

local function cases(last)
  local one, ipq = bench.build .. "/bench/one_by_one 0", bench.program .. " %s scripts/accept.lua"
  local list = {
    { name = "no queue", processor = 0, command = "" },
    { name = ONE, processor = last, command = one },
    { name = ACCEPT, processor = last, command = ipq:format "" },
    { name = ONE .. ", on processor 0", processor = 0, command = one },
    { name = ACCEPT .. ", on processor 0", processor = 0, command = ipq:format "" },
    { name = PER_CPU, processor = "all", command = ipq:format "--per-cpu" },
  }
  if bench.has_option "--spin" then
    table.insert(list, 4, { name = SPIN, processor = last, command = ipq:format("--spin " .. SPIN_US) })
  end
  return list
end

local function measure(case)
  local f = bench.figures(bench.in_namespace(("sh spec/bench/latency.sh %d %s %s"):format(
    bench.options.seconds, case.processor, case.command)))
  if case.command ~= "" and f.judged < 2 * f.trips then
    error(("%s: %d trips, %d packets judged"):format(case.name, f.trips, f.judged), 0)
  end
  return f
end

return function()
  local last = tonumber(bench.capture "nproc") - 1
  bench.say("## Latency\n")
  bench.say("A UDP packet to and fro over the loopback device, one at a time, %d × %d s: a round trip is two passes"
    .. "\nof the queue. Both that talk are on processor 0, the queue program on processor %d but where it says"
    .. "\notherwise.\n",
    bench.options.repetitions, bench.options.seconds, last)
  local rows = bench.interleave(cases(last), measure)
  rows:print {
    bench.name_column "program",
    rows:column("p50, µs", "p50", "%.1f", 1e-3),
    rows:column("p99, µs", "p99", "%.1f", 1e-3),
    rows:ratio_column("p50, ratio", "p50", ONE),
  }
  rows:goals("p50", { { ACCEPT, ONE, 1 }, { SPIN, ONE, 1 }, { PER_CPU, ONE, 1 / 0.15 } }, true)
end
