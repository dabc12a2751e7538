-- Several workers, a queue each.
local bench = require "spec.bench.bench"

local ONE = "one worker, one queue"

local function measure(case)
  local command = ("sh spec/bench/workers.sh %d %d %s --no-gso %s scripts/accept.lua"):format(
    case.queues, bench.options.seconds, bench.program, case.option)
  local f = bench.figures(bench.in_namespace(command))
  if f.packets < 1 or f.least < 1 then error(case.name .. ": a queue got no packets", 0) end
  return { rate = f.packets / f.ns * 1e9, cpu = f.cpu / f.packets, busy = f.cpu / f.ns }
end

return function()
  print "## Workers\n"
  if not bench.has_option ":M" then
    print "This ipq-lua has no `-q N:M`.\n"
    return
  end
  bench.say("46-byte UDP packets to 64 addresses, %d × %d s, accepted. The sender has processor 0, workers go where the"
    .. "\nscheduler puts them. Of two processors the sender takes one, so that a second worker cannot double anything:"
    .. "\nit shares a processor with the sender or with the first one. This machine has %d.\n",
    bench.options.repetitions, bench.options.seconds, tonumber(bench.capture "nproc"))
  local rows = bench.interleave({
    { name = ONE, queues = 1, option = "-q 0" },
    { name = "two workers, `-q 0:1`, `--queue-balance 0:1`", queues = 2, option = "-q 0:1" },
  }, measure)
  rows:print {
    bench.name_column "",
    rows:column("packets/s", "rate", "%.0f"),
    rows:ratio_column("ratio", "rate", ONE),
    rows:column("CPU µs a packet", "cpu", "%.2f", 1e-3),
    rows:column("busy, of one processor", "busy", "%.0f %%", 100),
  }
end
