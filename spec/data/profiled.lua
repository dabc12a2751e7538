-- profiled.lua FILTER: the filter, and how much of the time behind the first hundred seconds of the packets Lua was
-- interpreted. Prints "interpreted N of N" samples at its end.
local ipq = require "ipq"
local profile = require "jit.profile"
local samples, interpreted = 0, 0

local function start()
  profile.start("i1", function(_, count, state)
    samples = samples + count
    if state == "I" then interpreted = interpreted + count end
  end)
end

return {
  filter = dofile((...)),
  start = function() ipq.after(100, start) end,
  stop = function()
    profile.stop()
    print(("interpreted %d of %d"):format(interpreted, samples))
  end,
}
