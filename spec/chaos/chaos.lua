-- make chaos: each fault of spec/support/faults.lua at length, as a markdown table. Fails where one loses a packet or
-- takes longer than it may.
local faults = require "spec.support.faults"
local shared = require "spec.support.shared"

local LONG = 2
local failures = {}

print "| fault, 20,000 packets a second | times | sent | lost | longest gap, ms | allowed | |"
print "|---|---|---|---|---|---|---|"
for _, fault in ipairs(faults.list) do
  local r = faults.run(fault, LONG)
  local lacks = faults.verdict(fault, r) or r.gap > fault.gap and "the gap is too long"
  print(("| %s | %d | %s | %s | %s | %d | %s |"):format(fault.name, r.times, r.sent, r.lost - r.turned_away, r.gap,
    fault.gap, lacks and "FAILED" or "ok"))
  io.stdout:flush()
  if lacks then failures[#failures + 1] = fault.name .. ": " .. lacks end
end

-- Whoever is killed while he writes to shared tables leaves them whole, and the others go on.
local SHARED_TURNS, SHARED_MS = 500, 50
local r = shared.kills(SHARED_TURNS, os.time())
print "\n| processes killed that write to shared tables | amid a change | reads beside | others go on, ms | |"
print "|---|---|---|---|---|"
local is_slow = r.worst_ms > SHARED_MS
print(("| %d | %d | %d | %.1f | %s |"):format(r.kills, r.inside, r.reads, r.worst_ms,
  (#r.faults > 0 or is_slow) and "FAILED" or "ok"))
for _, fault in ipairs(r.faults) do failures[#failures + 1] = "shared tables: " .. fault end
if is_slow then failures[#failures + 1] = ("shared tables: the others went on after %.1f ms"):format(r.worst_ms) end

if #failures > 0 then
  io.stderr:write("\n", table.concat(failures, "\n\n"), "\n")
  os.exit(1)
end
