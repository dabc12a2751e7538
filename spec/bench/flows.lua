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

-- A live queue

local FLOWS = 100000

--- A capture of raw IP for inject.c, in this machine's byte order: a UDP packet of each flow, in an order that no
--- processor foresees.
local function write_capture(path)
  local ffi = require "ffi"
  local t = require "ipq.test"
  local file, at, template = assert(io.open(path, "w")), 0, t.udp { saddr = "127.1.0.1", daddr = "127.2.0.1",
    sport = 1024, dport = 9, payload = ("x"):rep(18) }.bytes
  local function u32(...) return ffi.string(ffi.new("uint32_t[?]", select("#", ...), ...), 4 * select("#", ...)) end
  local function be16(n) return string.char(math.floor(n / 256), n % 256) end
  file:write(u32(0xa1b2c3d4, 0x00040002, 0, 0, 65535, 101))
  for _ = 1, FLOWS do
    at = (at + 61813) % FLOWS -- which has no divisor in common with FLOWS
    local client, port = at % 250 + 1, math.floor(at / 250) + 1024
    -- Without a checksum of UDP's, as IPv4 permits; IP's own is the kernel's.
    file:write(u32(0, 0, #template, #template), template:sub(1, 15), string.char(client), template:sub(17, 20),
      be16(port), template:sub(23, 26), "\0\0", template:sub(29))
  end
  file:close()
end

local function live()
  local folder = bench.capture("mktemp -d"):match "%S+"
  local ACCEPT, FOLLOW = "accept all", "flow and bucket"
  write_capture(folder .. "/flows")
  local cases = bench.interleave({
    { name = ACCEPT, filter = "scripts/accept.lua" }, { name = FOLLOW, filter = bench.filter "flow" },
  }, function(case)
    local f = bench.figures(bench.in_namespace(("sh spec/bench/flows.sh %s/flows %d %s --no-gso %s"):format(folder,
      bench.options.seconds, bench.program, case.filter)))
    if f.packets < 1 or f.accepted ~= f.judged then
      error(("%s: %d packets judged, %d accepted"):format(case.name, f.judged, f.accepted), 0)
    end
    return { rate = f.packets / f.ns * 1e9, cpu = f.cpu / f.packets, busy = f.cpu / f.ns }
  end)
  bench.say("### %d flows on a live queue\n", FLOWS)
  cases:print {
    bench.name_column "filter",
    cases:column("packets/s", "rate", "%.0f"),
    cases:column("CPU µs a packet", "cpu", "%.2f", 1e-3),
    cases:column("busy", "busy", "%.0f %%", 100),
  }
  cases:goals("cpu", { { FOLLOW, ACCEPT, 0.9 } }, true)
  os.execute("rm -r " .. folder)
end

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
  live()
end
