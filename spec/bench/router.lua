-- TCP through a router whose filter sees every packet.
local bench = require "spec.bench.bench"

local PLAIN = "no queue"
local READ, EVERY = "ipq-lua, port and flags read", "ipq-lua, every TTL rewritten"
local BYPASS = "ipq-lua, pkt:bypass() from a connection's first data on"
local DECIDED = "ipq-lua, the same when a handler of streams has read the client's first byte"

--- Whether filters can take a connection off the queue: tried on a packet.
local function has_bypass()
  local path = os.tmpname()
  bench.capture(("%s/bench/generate %s 1"):format(bench.build, path))
  local text = bench.capture(("%s -r %s %s 2>&1"):format(bench.program, path, bench.filter "bypass"))
  os.remove(path)
  return text:match "\nerrors +0\n" ~= nil
end

local function cases()
  local one, ipq = bench.build .. "/bench/one_by_one 0", bench.program .. " "
  local list = {
    { name = PLAIN, rules = "plain" },
    { name = "no queue, connections followed", rules = "conntrack" },
    { name = READ, rules = "queue", command = ipq .. bench.filter "read" },
    { name = EVERY, rules = "queue", command = ipq .. bench.filter "ttl", rewritten = true },
    { name = READ .. ", --no-gso", rules = "queue", command = ipq .. "--no-gso " .. bench.filter "read" },
    { name = EVERY .. ", --no-gso", rules = "queue", command = ipq .. "--no-gso " .. bench.filter "ttl",
      rewritten = true },
    { name = "C on libmnl, one by one", rules = "queue", command = one },
    { name = "C on libmnl, one by one, with GSO", rules = "queue", command = one .. " gso" },
  }
  if has_bypass() then
    table.insert(list, 3, { name = BYPASS, rules = "bypass", command = ipq .. bench.filter "bypass" })
    table.insert(list, 4, { name = DECIDED, rules = "bypass", command = ipq .. bench.filter "decided" })
  end
  return list
end

local function check(case, f)
  local is_right = (case.rules == "queue") == (f.queued >= f.packets) and (case.rules ~= "bypass" or f.queued > 0)
    and f.rewritten == (case.rewritten and f.packets or 0) and f.packets > 0
  if not is_right then
    error(("%s: %d packets arrived, %d were queued, %d rewritten"):format(
      case.name, f.packets, f.queued, f.rewritten), 0)
  end
end

local function measure(case)
  local f = bench.figures(bench.in_namespace(("sh spec/bench/router.sh %s %d %s"):format(
    case.rules, bench.options.seconds, case.command or "")))
  check(case, f)
  return { rate = f.bits, queued = f.queued }
end

return function()
  bench.say("## TCP through a router\n")
  bench.say("%d × %d s each, by iperf3, behind a second that is not counted: a client's, a router's and a server's"
    .. "\nnamespace, joined by veth, on the same processors as the program, where the scheduler puts them. Packets of"
    .. "\nboth directions are queued in FORWARD, GSO packets uncut but where it says otherwise.\n",
    bench.options.repetitions, bench.options.seconds)
  local rows = bench.interleave(cases(), measure)
  rows:print {
    bench.name_column "in FORWARD",
    rows:column("Gbit/s", "rate", "%.2f", 1e-9),
    rows:ratio_column("ratio", "rate", PLAIN),
    rows:column("packets queued", "queued", "%.0f"),
  }
  rows:goals("rate", {
    { READ, PLAIN, 0.8 }, { EVERY, PLAIN, 0.65 }, { BYPASS, PLAIN, 0.95 }, { DECIDED, PLAIN, 0.95 },
  })
end
