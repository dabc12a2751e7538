-- make bench: prints markdown tables. Each table's rows were measured in turn, time and again, in one run;
-- figures are medians, ratios are to the first row.
--
--   BENCH_ARGS="seconds=2 repetitions=7"
local options = { seconds = 2, repetitions = 5 }
for _, argument in ipairs(arg) do
  local key, value = argument:match "^(%w+)=(%d+)$"
  if not (key and options[key]) then
    io.stderr:write("bench: unknown argument ", argument, "; there are seconds=N and repetitions=N\n")
    os.exit(64)
  end
  options[key] = tonumber(value)
end

local build = os.getenv "IPQ_BUILD" or "build"

local function median(list)
  table.sort(list)
  local middle = math.floor(#list / 2)
  if #list % 2 == 1 then return list[middle + 1] end
  return (list[middle] + list[middle + 1]) / 2
end

local function capture(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read "*a"
  pipe:close()
  return text
end

-- Rows of a table, in order of their first appearance.
local Rows = {}
Rows.__index = Rows

local function new_rows() return setmetatable({ order = {} }, Rows) end

function Rows:add(name, figures)
  local row = self[name]
  if not row then
    row = {}
    self[name] = row
    self.order[#self.order + 1] = name
  end
  for key, value in pairs(figures) do
    row[key] = row[key] or {}
    table.insert(row[key], value)
  end
end

local titles = {
  one_by_one = "C on libmnl, one by one", best_loop = "C, best loop on lib", ["ipq-lua"] = "ipq-lua, accept.lua",
}

local function queue()
  local rows = new_rows()
  local unshare = capture "id -u" == "0\n" and "unshare -n" or "unshare -Urn"
  local text = capture(("XTABLES_LOCKFILE=%s/bench/xtables.lock %s sh spec/bench/queue.sh %s %d %d"):format(
    build, unshare, build, options.seconds, options.repetitions))
  for name, packets, ns, cpu, dropped in text:gmatch "(%S+) (%-?%d+) (%d+) (%d+) (%d+)\n" do
    packets, ns = tonumber(packets), tonumber(ns)
    rows:add(name, { rate = packets / ns * 1e9, cpu = tonumber(cpu) / packets / 1000,
      full = tonumber(dropped) > 0 and 1 or 0 })
  end
  print(("## A saturated queue, 46-byte UDP packets, accept-all, %d × %d s each\n"):format(
    options.repetitions, options.seconds))
  print "| program | packets/s | ratio | CPU µs a packet | ratio | queue was full |"
  print "|---|---|---|---|---|---|"
  local first = rows.order[1] and rows[rows.order[1]]
  local rate, cpu = first and median(first.rate), first and median(first.cpu)
  for _, name in ipairs(rows.order) do
    local row = rows[name]
    print(("| %s | %.0f | %.2f | %.2f | %.2f | %s |"):format(titles[name], median(row.rate), median(row.rate) / rate,
      median(row.cpu), cpu / median(row.cpu), median(row.full) == 1 and "yes" or "no"))
  end
  print ""
end

local function memory_and_start()
  print "## Start and memory\n"
  local text = capture(([[unshare -n sh -c 'ip link set lo up
    for i in 1 2 3 4 5 6 7 8 9; do
      s=$(date +%%s%%N); %s/ipq-lua scripts/accept.lua 2> /tmp/ipq_bench.$$ & p=$!
      until grep -qs waiting /tmp/ipq_bench.$$; do :; done
      e=$(date +%%s%%N); echo "$(((e - s) / 1000)) $(awk "/VmRSS/ { print \$2 }" /proc/$p/status)"
      kill $p; wait $p; rm -f /tmp/ipq_bench.$$
    done']]):format(build))
  local us, kb = {}, {}
  for a, b in text:gmatch "(%d+) (%d+)\n" do
    us[#us + 1], kb[#kb + 1] = tonumber(a), tonumber(b)
  end
  print "| from exec to serving the queue | resident memory then |"
  print "|---|---|"
  print(("| %.1f ms | %.1f MB |\n"):format(median(us) / 1000, median(kb) / 1024))
end

-- Packets from memory, through the parser and the loop, without a system call.
local function loop()
  local lib = require "spec.support.lib"
  local m = require "spec.support.message"
  local source = require "spec.support.source"
  local script = require "ipq.script"
  local ip = "\69\0\0\40" .. ("\0"):rep(5) .. "\17" .. ("\0"):rep(36)
  local messages = {}
  for i = 1, 64 do messages[i] = m.simple(i, ip) end
  local src = source.new(messages)
  local batches = 20000

  local function per_packet(run)
    src:plan({ 64 }, batches)
    local before = os.clock()
    run()
    return (os.clock() - before) / batches / 64 * 1e9
  end
  local runs = {
    { "parser and loop in C", function() while lib.C.ipq_driver_next(src.driver) > 0 do end end },
    { "the same, accept.lua", src:judge(assert(script.load "scripts/accept.lua").filter) },
    { "the same, drop_icmp.lua", src:judge(assert(script.load "scripts/drop_icmp.lua").filter) },
    { "the same, count.lua", src:judge(assert(script.load "scripts/count.lua").filter) },
  }
  local rows = new_rows()
  for _ = 1, 1 + options.repetitions do
    for _, run in ipairs(runs) do
      local ns = per_packet(run[2])
      if not rows[run[1]] then rows:add(run[1], {}) else rows:add(run[1], { ns = ns }) end
    end
  end
  print "## Packets from memory, batches of 64\n"
  print "| | ns a packet |"
  print "|---|---|"
  for _, name in ipairs(rows.order) do print(("| %s | %.1f |"):format(name, median(rows[name].ns))) end
  print ""
end

queue()
loop()
memory_and_start()
