-- make bench: prints markdown tables, each from a file of its own beside this one. A table's rows are
-- measured in turn, time and again, in one run; figures are medians, ratios are medians of those within
-- a turn.
--
--   make bench seconds=2 repetitions=7 only=replay,queue
local bench = require "spec.bench.bench"

local tables = { "queue", "held", "send", "router", "latency", "workers", "replay", "filters", "corpus", "jobs",
  "start", "checksum", "netset", "names", "flows", "shared", "streams", "hello" }

local function usage(argument)
  io.stderr:write("bench: unknown argument ", argument, "; there are seconds=N, repetitions=N and only=",
    table.concat(tables, ","), "\n")
  os.exit(64)
end

local function chosen(list)
  local names, known = {}, {}
  for _, name in ipairs(tables) do known[name] = true end
  for name in list:gmatch "[^,]+" do
    if not known[name] then usage("only=" .. name) end
    names[#names + 1] = name
  end
  return names
end

local run = tables
for _, argument in ipairs(arg) do
  local key, value = argument:match "^(%w+)=(.+)$"
  if key == "only" then
    run = chosen(value)
  elseif key and bench.options[key] and value:match "^%d+$" and tonumber(value) > 0 then
    bench.options[key] = tonumber(value)
  else
    usage(argument)
  end
end

local load = tonumber(bench.capture("cat /proc/loadavg"):match "^%S+")
if load > 0.5 then
  io.stderr:write("bench: the machine is not idle (load ", load, "): what it does besides is in the figures\n")
end

io.stdout:setvbuf "line"
for _, name in ipairs(run) do
  local ok, message = pcall(require("spec.bench." .. name))
  if not ok then
    io.stderr:write("bench: ", name, ": ", tostring(message), "\n")
    os.exit(1)
  end
end
