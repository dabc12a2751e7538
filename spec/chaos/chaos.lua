-- make chaos: each fault of spec/support/faults.lua at length, as a markdown table. Fails where one loses a packet or
-- takes longer than it may.
local faults = require "spec.support.faults"

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
if #failures > 0 then
  io.stderr:write("\n", table.concat(failures, "\n\n"), "\n")
  os.exit(1)
end
