-- What it costs to hold every packet for a while: beside accepting it at once, at the same rate.
local bench = require "spec.bench.bench"

local RATE, MS, MOST = 39000, 50, 5
local ACCEPT, HOLD = "accept all", ("hold all for %d ms"):format(MS)

local function cases()
  local ipq = bench.program .. " --no-gso --default drop --on-error drop --queue-maxlen 8192 "
  return {
    { name = ACCEPT, command = ipq .. "scripts/accept.lua" },
    { name = HOLD, command = ipq .. "scripts/delay.lua ms=" .. MS },
  }
end

--- All went on but for a few that were too many to be held, where the program had to wait for a processor.
local function measure(payload)
  return function(case)
    local f = bench.figures(bench.in_namespace(("env rate=%d sh spec/bench/queue.sh alone %d %d %s"):format(
      RATE, payload, bench.options.seconds, case.command)))
    if f.packets < 1 or f.arrived < 0.95 * f.judged or f.dropped > 0.05 * f.packets then
      error(("%s: %d packets judged, %d went on, %d turned away"):format(case.name, f.judged, f.arrived, f.dropped), 0)
    end
    return { rate = f.packets / f.ns * 1e9, cpu = f.cpu / f.packets }
  end
end

return function()
  bench.say("## Packets that are held\n")
  bench.say("%d × %d s each. %d UDP packets a second come once a millisecond, so that some %d are held at a time.\n",
    bench.options.repetitions, bench.options.seconds, RATE, RATE * MS / 1000)
  for _, size in ipairs { 46, 1400 } do
    bench.say("### %d-byte packets\n", size)
    local rows = bench.interleave(cases(), measure(size - 28))
    rows:print {
      bench.name_column "ipq-lua",
      rows:column("packets/s", "rate", "%.0f"),
      rows:column("CPU µs a packet", "cpu", "%.2f", 1e-3),
      rows:ratio_column("ratio", "cpu", ACCEPT, true),
    }
    local cpu = rows:median(HOLD, "cpu") / 1e3
    bench.say("- %s: %.2f µs; the goal is %d%s\n", HOLD, cpu, MOST, cpu > MOST and ", missed" or "")
  end
end
