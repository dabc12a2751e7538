local barrage = require "spec.support.barrage"
local netns = require "spec.support.netns"

local SEED, COUNT = 2, 5000

netns.describe("hostile packets, live,", function()
  local path
  setup(function()
    path = os.tmpname()
    barrage.write(path, SEED, COUNT)
  end)
  teardown(function() os.remove(path) end)

  for _, filter in ipairs(barrage.filters()) do
    it("cost nothing but their own verdicts: " .. filter, function()
      local lacks = barrage.live(filter, path)
      assert.is_nil(lacks, lacks)
    end)
  end
end)
