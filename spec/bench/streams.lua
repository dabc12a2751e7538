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

-- Connections of their own

local ACCEPTED, READ_BOTH, INSERTED = "accept all", "a handler for each end, which reads a line", "a line inserted"
local FLOWS, WAITING, RETURNED = "flows followed", "a handler that waits for the end of a line", "one that has returned"
local WHOLE, HALF = 100000, 40000 -- packets a second

local function judge(case)
  local f = bench.figures(bench.in_namespace(("sh spec/bench/jobs.sh %s %d %d %s --no-gso %s"):format(case.capture,
    bench.options.seconds, case.rate, bench.program, case.filter)))
  return { us = f.cpu / f.packets * case.each / 1000, busy = f.cpu / f.ns, dropped = f.dropped, kb = f.kb,
    connections = f.all / case.each }
end

local function connections()
  local folder = bench.capture "mktemp -d -p /dev/shm":match "%S+"
  local made = bench.figures("python3 spec/bench/connections.py " .. folder)
  local each = made.whole / made.connections
  local rows = {}
  for _, case in ipairs { { ACCEPTED, "scripts/accept.lua" }, { READ_BOTH, bench.filter "line" },
    { INSERTED, bench.filter "forwarded" } } do
    rows[#rows + 1] = { name = case[1], filter = case[2], capture = folder .. "/whole.pcap", each = each, rate = WHOLE }
  end
  bench.say("\n### %d connections a second\n\nOf HTTP, a request and its answer each, %d packets. The processor's time "
    .. "is the program's,\nwith its system calls.\n", WHOLE / each, each)
  rows = bench.interleave(rows, judge)
  rows:print {
    bench.name_column "each connection has",
    rows:column("µs a connection", "us", "%.1f"),
    rows:column("busy", "busy", "%.0f %%", 100),
    rows:column("packets that met a full queue", "dropped", "%.0f"),
  }
  rows = {}
  for _, case in ipairs { { ACCEPTED, "scripts/accept.lua" }, { FLOWS, bench.filter "follow" },
    { WAITING, bench.filter "line" }, { RETURNED, bench.filter "first" } } do
    rows[#rows + 1] = { name = case[1], filter = case[2], capture = folder .. "/half.pcap", rate = HALF,
      each = made.half / made.connections }
  end
  rows = bench.interleave(rows, judge)
  bench.say("\n### Memory of open connections\n\nThat have said half a line. What the program has resident, less what "
    .. "it has resident where all is accepted.\n")
  print "| each connection has | connections | bytes a connection |"
  print "|---|---|---|"
  for _, name in ipairs { FLOWS, WAITING, RETURNED } do
    local count = rows:median(name, "connections")
    print(("| %s | %.0f | %.0f |"):format(name, count,
      (rows:median(name, "kb") - rows:median(ACCEPTED, "kb")) * 1024 / count))
  end
  os.execute("rm -r " .. folder)
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
  connections()
end
