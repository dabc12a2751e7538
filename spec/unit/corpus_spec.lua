-- Realistic filters run compiled: none of them waits for the interpreter.
local netns = require "spec.support.netns"
local traffic = require "spec.support.traffic"

-- What LuaJIT does not compile is what these are about: a closure, an error now and then, tables made all the time.
local is_interpreted = { closure = true, errors = true, state = true }
-- The first 100,000 packets are for the compiler.
local PACKETS, ENOUGH = 1000000, 5

describe("a realistic filter", function()
  local path

  setup(function()
    path = os.tmpname()
    traffic.write(path, PACKETS)
  end)
  teardown(function() os.remove(path) end)

  --- How many of the samples met the interpreter.
  local function profile(filter)
    local output, status = netns.shell(("LD_PRELOAD= ASAN_OPTIONS=detect_leaks=0 %s --time-limit 0 -r %s "
      .. "spec/data/profiled.lua %s 2> /dev/null"):format(netns.program, path, filter))
    assert.equal(filter:match "errors" and 2 or 0, status)
    local interpreted, samples = output:match "interpreted (%d+) of (%d+)"
    return tonumber(interpreted), tonumber(samples)
  end

  for filter in io.popen "ls spec/bench/filters/*.lua":lines() do
    local name = filter:match "([%w_]+)%.lua$"
    if is_interpreted[name] then
      it(name .. " is replayed", function() assert.is_true(select(2, profile(filter)) > 0) end)
    else
      it(name .. " is compiled", function()
        local interpreted, samples = profile(filter)
        assert.is_true(samples >= ENOUGH, samples .. " samples")
        -- A filter that LuaJIT has given up meets it in a third, the rest is in C. gsub meets it in one of ten, for
        -- traces are stitched around it; and a trace may still be recorded.
        assert.is_true(interpreted <= samples * 0.25, ("%d of %d samples"):format(interpreted, samples))
      end)
    end
  end
end)
