-- A connection through a router whose script reads it, or edits it.
local bench = require "spec.bench.bench"

local READ, FIELD = "a filter, port and flags read", "a filter, every TTL rewritten"
local SKIP, TRANSLATED = "a handler that skips", "translated, after one insertion"
local EDITED = "a byte inserted each 1,000 bytes"

local function cases()
  local ipq = bench.program .. " "
  return {
    { name = READ, rules = "queue", command = ipq .. bench.filter "read" },
    { name = FIELD, rules = "queue", command = ipq .. bench.filter "ttl" },
    { name = SKIP, rules = "stream", command = ipq .. bench.filter "skip" },
    { name = TRANSLATED, rules = "stream", command = ipq .. bench.filter "translate" },
    { name = EDITED, rules = "stream", command = ipq .. bench.filter "edit" },
  }
end

local function measure(case)
  local f = bench.figures(bench.in_namespace(("sh spec/bench/router.sh %s %d %s"):format(
    case.rules, bench.options.seconds, case.command)))
  if f.queued == 0 then error(case.name .. ": nothing was queued", 0) end
  return { rate = f.bits, queued = f.queued }
end

return function()
  bench.say("## Streams\n")
  bench.say("%d × %d s each, as of TCP through a router: one connection of iperf3's, of which both directions are"
    .. "\nqueued, GSO packets uncut.\n", bench.options.repetitions, bench.options.seconds)
  local rows = bench.interleave(cases(), measure)
  rows:print {
    bench.name_column "in FORWARD",
    rows:column("Gbit/s", "rate", "%.2f", 1e-9),
    rows:ratio_column("ratio", "rate", READ),
    rows:column("packets queued", "queued", "%.0f"),
  }
  rows:goals("rate", { { SKIP, READ, 0.9 }, { TRANSLATED, FIELD, 0.9 } })
end
