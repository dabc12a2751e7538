-- What names cost: reading them in DNS queries, and looking them up in sets.
--
-- "a packet" is what a filter adds to the loop that takes packets and accepts them. Names of a set are of three labels,
-- as those of lists are; looked up are names of four, from a list that no cache holds: a hit is below a random one of
-- the set, a miss has the same form. Each figure is the best of some rounds: whatever else uses the caches only adds to
-- it.
local ffi = require "ffi"
local ipq = require "ipq"
local m = require "spec.support.message"
local source = require "spec.support.source"
local t = require "ipq.test"

local LOOKUPS, ROUNDS, PACKETS, BATCHES = 2 ^ 18, 9, 4096, 3000
local C = require "spec.support.lib".C

local function seconds() return tonumber(C.spec_monotonic_ns()) / 1e9 end

local function best(list) return math.min(unpack(list)) end

local function ns_a_packet(messages, filter)
  local src = source.new(messages)
  local run, times = src:judge(filter), {}
  for round = 0, ROUNDS do
    src:plan({ 64 }, BATCHES)
    collectgarbage()
    local before, start = collectgarbage "count", seconds()
    collectgarbage "stop"
    run()
    if round > 0 then times[round] = (seconds() - start) / BATCHES / 64 * 1e9 end
    times.bytes = (collectgarbage "count" - before) * 1024 / BATCHES / 64
    collectgarbage "restart"
  end
  return best(times), times.bytes
end

local function queries(name)
  local messages = {}
  for i = 1, PACKETS do messages[i] = m.simple(i, t.dns { name = name(i), sport = 1024 + i }.bytes) end
  return messages
end

local function read_names()
  local dns, seen = ipq.dns, 0
  print "| a query's | ns a packet | bytes of garbage |"
  print "|---|---|---|"
  local function row(what, messages, filter)
    local bare = ns_a_packet(messages, function() return ipq.ACCEPT end)
    local ns, bytes = ns_a_packet(messages, filter)
    print(("| %s | %.0f | %.1f |"):format(what, ns - bare, bytes))
    return ns - bare
  end
  local function of_name(pkt)
    local query = dns.parse(pkt)
    if query and query.name then seen = seen + 1 end
    return ipq.ACCEPT
  end
  local function one_of(count) return function(i) return ("www.host%d.example"):format(i % count) end end
  local again = row("name, of 64 that come again", queries(one_of(64)), of_name)
  row("name, of 4,096", queries(one_of(4096)), of_name)
  local set = ipq.domainset { "ads.example" }
  row("name, looked up", queries(one_of(4096)), function(pkt)
    local query = dns.parse(pkt)
    if query and set:has(query) then return ipq.DROP end
    return ipq.ACCEPT
  end)
  print(("\n- reading a name: %.0f ns; the goal is 250%s\n"):format(again, again > 250 and ", missed" or ""))
end

--- Resident memory of this process, in MB.
local function resident()
  for line in io.lines "/proc/self/status" do
    local kb = line:match "^VmRSS:%s*(%d+)"
    if kb then return kb / 1024 end
  end
end

local function name_of(i) return ("ads%d.track%d.example"):format(i, i * 7919 % 99991) end

local function ns_a_lookup(set, names)
  local times, bytes = {}, ffi.new("char[?]", LOOKUPS * 64)
  local sizes = ffi.new("uint8_t[?]", LOOKUPS)
  for i = 0, LOOKUPS - 1 do
    local name = names(i)
    ffi.copy(bytes + i * 64, name, #name)
    sizes[i] = #name
  end
  local found
  for round = 1, ROUNDS do
    local start = seconds()
    found = 0
    for i = 0, LOOKUPS - 1 do
      if C.ipq_domainset_find(set, bytes + i * 64, sizes[i]) > 0 then found = found + 1 end
    end
    times[round] = (seconds() - start) / LOOKUPS * 1e9
  end
  return best(times), found
end

local function look_up(count)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  for i = 1, count do file:write("0.0.0.0 ", name_of(i), "\n") end
  file:close()
  collectgarbage()
  local before, start = resident(), seconds()
  local set = ipq.domainset(path)
  local load, memory = seconds() - start, resident() - before
  os.remove(path)
  local hit, hits = ns_a_lookup(set, function() return "www." .. name_of(math.random(count)) end)
  local miss, misses = ns_a_lookup(set, function(i) return "www.x" .. name_of(i) end)
  assert(hits == LOOKUPS and misses == 0)
  print(("| %d | %.0f | %.0f | %.2f | %.0f |"):format(count, hit, miss, load, memory))
  return hit, miss, load, memory
end

return function()
  print "## Names\n"
  math.randomseed(1)
  read_names()
  print "| names in a set | ns a hit | ns a miss | s to load as hosts file | resident, MB |"
  print "|---|---|---|---|---|"
  local hit, miss, load, memory
  for _, count in ipairs { 1000, 100000, 1000000 } do hit, miss, load, memory = look_up(count) end
  local is_missed = hit > 400 or miss > 400 or load > 2 or memory > 120
  print(("\n- a million names: the goals are 400 ns, 2 s and 120 MB%s\n"):format(is_missed and ", missed" or ""))
end
