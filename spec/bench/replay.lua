-- Captures: whole processes, from their start to their end.
local bench = require "spec.bench.bench"

local titles = {
  tcpdump_accept = "`tcpdump -w /dev/null`",
  ipq_lua_accept = "ipq-lua, accept all",
  tcpdump_telnet = "`tcpdump -w /dev/null 'tcp dst port 23'`",
  ipq_lua_telnet = "ipq-lua, TCP and dport 23",
  tcpdump_lines = "`tcpdump -n -S`",
  ipq_lua_json = "ipq-lua --json",
  ipq_lua_print = "ipq-lua --print",
  tshark_telnet = "tshark, a tap in Lua, TCP and dport 23",
  scapy_telnet = "python3, scapy, TCP and dport 23",
}
local prints = { [titles.tcpdump_lines] = true, [titles.ipq_lua_json] = true, [titles.ipq_lua_print] = true }
local MILLION = 1000000

local function measured(repetitions)
  local by_size = {}
  for size, name, ns, kb in bench.capture("sh spec/bench/replay.sh " .. repetitions)
    :gmatch "(%d+) (%S+) ns=(%d+) cpu=%d+ kb=(%d+)\n" do
    size = tonumber(size)
    by_size[size] = by_size[size] or bench.rows()
    by_size[size]:add(titles[name], { ms = ns / 1e6, rate = size / ns * 1e9, kb = tonumber(kb) })
  end
  return by_size
end

local function show_speed(size, rows)
  bench.say("### %d packets\n", size)
  rows:print {
    bench.name_column "program",
    rows:column("ms", "ms", "%.0f"),
    rows:column("packets/s", "rate", "%.0f"),
    { "against tcpdump that does the same", function(name)
      local base = name:find("23", 1, true) and titles.tcpdump_telnet or prints[name] and titles.tcpdump_lines
        or titles.tcpdump_accept
      return rows:median(base, "rate") and ("%.3g"):format(rows:ratio(name, base, "rate"))
    end },
  }
end

local function show_memory(by_size)
  print "| most resident memory, MB | 10000 packets | 100000 | 1000000 |"
  print "|---|---|---|---|"
  for _, name in ipairs { titles.ipq_lua_accept, titles.ipq_lua_telnet, titles.tcpdump_accept } do
    local cells = {}
    for i, size in ipairs { 10000, 100000, MILLION } do
      cells[i] = ("%.1f"):format(by_size[size]:median(name, "kb") / 1024)
    end
    bench.say("| %s | %s |", name, table.concat(cells, " | "))
  end
  print ""
end

return function()
  print "## Captures\n"
  bench.say("Whole processes, with their start, %d times each (tshark and scapy 3 times at most). TCP and UDP in frames"
    .. "\nof 60 to 250 bytes, in a file in memory; ipq-lua writes no capture.\n", bench.options.repetitions)
  local by_size = measured(bench.options.repetitions)
  for _, size in ipairs { MILLION, 100000, 10000 } do show_speed(size, by_size[size]) end
  by_size[MILLION]:goals("rate", {
    { titles.ipq_lua_accept, titles.tcpdump_accept, 0.7 }, { titles.ipq_lua_telnet, titles.tcpdump_telnet, 0.7 },
    { titles.ipq_lua_json, titles.tcpdump_lines, 0.5 }, { titles.ipq_lua_print, titles.tcpdump_lines, 0.5 },
  })
  show_memory(by_size)
end
