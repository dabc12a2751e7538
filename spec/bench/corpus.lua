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
  -- 2: one of them raises now and then, on purpose.
  bench.capture(("%s/bench/timed %s %s --time-limit 0 -r %s spec/bench/filters/%s.lua > /dev/null 2>&1 || [ $? -eq 2 ]")
    :format(bench.build, figures, bench.program, path, name))
  return tonumber(bench.capture("cat " .. figures):match "cpu=(%d+)")
end

--- The processor's time of a packet that was queued, in µs.
local function live(name, path)
  local command = ("sh spec/bench/jobs.sh %s %d 0 %s --time-limit 0 spec/bench/filters/%s.lua"):format(
    path, bench.options.seconds, bench.program, name)
  local f = bench.figures(bench.in_namespace(command))
  return f.cpu / f.packets / 1000
end

return function()
  local folder = bench.capture "mktemp -d -p /dev/shm":match "%S+"
  traffic.write(folder .. "/all.pcap", PACKETS)
  traffic.write(folder .. "/one.pcap", 1)
  local rows = bench.interleave(names(), function(case, repetition)
    local all = cost(case.name, folder .. "/all.pcap", folder .. "/figures")
    local one = cost(case.name, folder .. "/one.pcap", folder .. "/figures")
    return { ns = (all - one) / (PACKETS - 1),
      live = repetition == 1 and live(case.name, folder .. "/all.pcap") or nil }
  end)
  os.execute("rm -r " .. folder)
  print "## Realistic filters\n"
  bench.say("%d packets: DNS queries and answers, TCP with and without data, pings, IPv6. The processor's time of the\n"
    .. "whole program, less that of one packet, so reading the file is in it: the row \"accept\" is nothing else.\n"
    .. "Live, the same packets but for IPv6 are queued and judged, once for %d s: its system calls are in the time.\n",
    PACKETS, bench.options.seconds)
  rows:print { bench.name_column "spec/bench/filters/", rows:column("ns a packet, replayed", "ns", "%.0f"),
    rows:column("µs a packet, live", "live", "%.2f") }
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
