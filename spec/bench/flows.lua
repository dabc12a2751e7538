-- What the flow table costs, in memory alone: spec/bench/flows.c tells of what. Each figure is the least of many short
-- rounds, for whatever else uses the processor and its caches only adds to it.
local bench = require "spec.bench.bench"

local PROGRAM = (os.getenv "IPQ_BUILD" or "build") .. "/bench/flows"

-- Name, goals, and for each of them flows and what is done.
local rows = {
  { "flow hit, batch of 64: 1,000 / 100,000 / 1 million flows, ns a packet", "70 / 90 / 140",
    "1000 hit", "100000 hit", "1000000 hit" },
  { "flow hit, one packet at a time: 1,000 / 1 million, ns", "- / 500", "1000 single", "1000000 single" },
  { "create in a flood, table full: 100,000 / 1 million, ns a packet", "200 / 300", "100000 create",
    "1000000 create" },
  { "sweep of 1 million, ns a record", "15", "1000000 sweep" },
  { "all flows in one bucket, ns a packet", "1,000", "100000 collide" },
  { "1 million flows taken over: looked over / index built anew, ms", "- / 200", "1000000 attach", "1000000 rebuild" },
  { "answered flows lost to a flood of 1.7 million, in a table of 100,000, percent", "1", "100000 lost" },
  { "memory of 1 million, bytes a flow", "140", "1000000 size" },
}

return function()
  print "## Flow table\n"
  print "| | goal | |"
  print "|---|---|---|"
  for _, row in ipairs(rows) do
    local figures = {}
    for i = 3, #row do
      local figure = tonumber(bench.capture(("%s %s"):format(PROGRAM, row[i])))
      figures[#figures + 1] = (row[i]:find "lost" and "%.2f" or "%.0f"):format(figure)
    end
    print(("| %s | %s | %s |"):format(row[1], row[2], table.concat(figures, " / ")))
  end
  print ""
end
