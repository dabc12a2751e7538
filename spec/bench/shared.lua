-- What shared tables cost: in C, and in Lua.
--
-- Keys are numbers in random order; each figure is the best of some rounds, above the same loop without the operation.
local abi = require "ipq.engine.abi"
local bench = require "spec.bench.bench"
local ipq = require "ipq"

local OPERATIONS, ROUNDS = 2 ^ 18, 9

local rows = {
  { "get a number", function(t, keys) for i = 1, OPERATIONS do t:get(keys[i]) end end },
  { "miss", function(t, keys) for i = 1, OPERATIONS do t:get(-1 - keys[i]) end end },
  { "set a number", function(t, keys) for i = 1, OPERATIONS do t:set(keys[i], i) end end },
  { "incr", function(t, keys) for i = 1, OPERATIONS do t:incr(keys[i], 1) end end },
  { "bucket", function(t, keys) for i = 1, OPERATIONS do t:bucket(keys[i], 100, 20) end end },
}

local function empty(_, keys)
  local sum = 0
  for i = 1, OPERATIONS do sum = sum + keys[i] end
  return sum
end

local function ns_of(work, t, keys)
  local best = math.huge
  for _ = 1, ROUNDS do
    local start = abi.C.ipq_monotonic_us()
    work(t, keys)
    best = math.min(best, abi.C.ipq_monotonic_us() - start)
  end
  return best * 1000 / OPERATIONS
end

local function measure(count)
  local t, keys, figures = ipq.shared("bench " .. count, { entries = 2 * count }), {}, {}
  for i = 1, OPERATIONS do keys[i] = math.random(count) end
  for i = 1, count do
    t:set(i, i)
    t:bucket(i, 100, 20)
  end
  local base = ns_of(empty, t, keys)
  for i, row in ipairs(rows) do figures[i] = ns_of(row[2], t, keys) - base end
  return figures
end

return function()
  print(bench.capture(bench.build .. "/bench/shared"))
  local few, many = measure(1000), measure(100000)
  print "## Shared tables, in Lua\n\n| ns above an empty loop | 1,000 keys | 100,000 keys |\n| --- | ---: | ---: |"
  for i, row in ipairs(rows) do print(("| %s | %.1f | %.1f |"):format(row[1], few[i], many[i])) end
  print ""
end
