-- Realistic filters (spec/bench/filters) over a capture of mixed traffic: what a packet costs each of them, replayed.
local bench = require "spec.bench.bench"
local traffic = require "spec.support.traffic"

local PACKETS = 200000

-- No filter may take longer, in ns a packet; fields are to be flat.
local MOST, FIELDS_MOST = 2000, 300

local function names()
  local list = {}
  for name in bench.capture "ls spec/bench/filters":gmatch "(%S+)%.lua" do list[#list + 1] = { name = name } end
  return list
end

--- The processor's time of a whole replay, in ns.
local function cost(name, path, figures)
  bench.capture(("%s/bench/timed %s %s --time-limit 0 -r %s spec/bench/filters/%s.lua > /dev/null 2>&1")
    :format(bench.build, figures, bench.program, path, name))
  return tonumber(bench.capture("cat " .. figures):match "cpu=(%d+)")
end

return function()
  local folder = bench.capture "mktemp -d -p /dev/shm":match "%S+"
  traffic.write(folder .. "/all.pcap", PACKETS)
  traffic.write(folder .. "/one.pcap", 1)
  local rows = bench.interleave(names(), function(case)
    local all = cost(case.name, folder .. "/all.pcap", folder .. "/figures")
    local one = cost(case.name, folder .. "/one.pcap", folder .. "/figures")
    return { ns = (all - one) / (PACKETS - 1) }
  end)
  os.execute("rm -r " .. folder)
  print "## Realistic filters, replayed\n"
  bench.say("%d packets: DNS queries and answers, TCP with and without data, pings, IPv6. The processor's time of the\n"
    .. "whole program, less that of one packet, so reading the file is in it: the row \"accept\" is nothing else.\n",
    PACKETS)
  rows:print { bench.name_column "spec/bench/filters/", rows:column("ns a packet", "ns", "%.0f") }
  local worst, worst_name = 0, nil
  for _, name in ipairs(rows.names) do
    local ns = rows:median(name, "ns")
    if ns > worst then worst, worst_name = ns, name end
  end
  bench.say("- the slowest is %s, %.0f ns; the goal is %d%s", worst_name, worst, MOST,
    worst > MOST and ", missed" or "")
  local fields = rows:median("fields_16", "ns")
  bench.say("- 16 fields: %.0f ns; the goal is %d%s\n", fields, FIELDS_MOST, fields > FIELDS_MOST and ", missed" or "")
end
