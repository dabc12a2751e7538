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
      e=$(date +%%s%%N); worker=$(cut -d" " -f1 /proc/$p/task/$p/children)
      # What they have of files is the same pages.
      echo "$(((e - s) / 1000)) $(awk "/Rss(Anon|Shmem)/ { own += \$2 } /RssFile/ && \$2 > file { file = \$2 }
        END { print own + file }" /proc/$p/status /proc/$worker/status)"
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

-- Packets that lie in a batch, filters in Lua and the same in C: what a filter costs, without a queue.
local function filters()
  local lib = require "spec.support.lib"
  local m = require "spec.support.message"
  local source = require "spec.support.source"
  local ipq = require "ipq"
  local C, batches = lib.C, 20000

  local function packet(i, protocol, port)
    return m.simple(i, "\69\0\0\40" .. ("\0"):rep(5) .. string.char(protocol) .. "\0\0\10\0\0" .. string.char(i % 4)
      .. "\10\0\0\2" .. "\200\1\0" .. string.char(port) .. ("\0"):rep(8) .. "\80" .. ("\0"):rep(7))
  end
  local messages = {}
  for i = 1, 64 do messages[i] = packet(i, i % 3 == 0 and 17 or 6, i % 2 == 0 and 23 or 80) end
  local src = source.new(messages)
  src:plan({ 64 })
  C.ipq_driver_next(src.driver)
  C.spec_source_still(src.c, true)

  local function dport(pkt)
    if pkt.tcp and pkt.tcp.dport == 23 then return ipq.DROP end
  end
  local function dport_saddr(pkt)
    if pkt.tcp and pkt.tcp.dport == 23 and pkt.ip and pkt.ip.saddr == "10.0.0.1" then return ipq.DROP end
  end
  local function three(pkt)
    local tcp = pkt.tcp
    if tcp and tcp.syn and not tcp.ack and pkt.ip.ttl < 10 and tcp.payload:find "GET" then return ipq.DROP end
  end
  local runs = {
    { "accept everything", function() C.spec_filter_run(src.driver, C.spec_filter_accept) end,
      src:judge(function() return ipq.ACCEPT end) },
    { "TCP and dport", function() C.spec_filter_run(src.driver, C.spec_filter_dport) end, src:judge(dport) },
    { "TCP, dport and saddr as text", function() C.spec_filter_run(src.driver, C.spec_filter_dport_saddr) end,
      src:judge(dport_saddr) },
    { "flags, ttl and a search in the payload", nil, src:judge(three) },
  }
  local rows = new_rows()
  for repetition = 0, options.repetitions do
    for _, run in ipairs(runs) do
      local figures = {}
      for key, work in pairs { c = run[2], lua = run[3] } do
        src:plan({ 64 }, batches)
        local before = os.clock()
        work()
        figures[key] = (os.clock() - before) / batches / 64 * 1e9
      end
      -- The first time warms up.
      if repetition > 0 then rows:add(run[1], figures) end
    end
  end
  print "## Filters over packets in memory, batches of 64, header parsing included\n"
  print "| filter | C, ns a packet | Lua, ns a packet | Lua / C |"
  print "|---|---|---|---|"
  for _, name in ipairs(rows.order) do
    local c, lua = rows[name].c and median(rows[name].c), median(rows[name].lua)
    print(("| %s | %s | %.1f | %s |"):format(name, c and ("%.1f"):format(c) or "", lua,
      c and ("%.1f"):format(lua / c) or ""))
  end
  local run = runs[3][3]
  src:plan({ 64 }, batches)
  collectgarbage()
  collectgarbage "stop"
  local before = collectgarbage "count"
  run()
  print(("\nGarbage of the third in %d packets: %.1f KiB\n"):format(batches * 64, collectgarbage "count" - before))
  collectgarbage "restart"
end

queue()
filters()
memory_and_start()
print(capture(build .. "/bench/checksum"))
dofile "spec/bench/netset.lua"
