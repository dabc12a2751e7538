-- Hostile packets through replay, where those arrive as well that the kernel keeps away. Live: spec/kernel.
local barrage = require "spec.support.barrage"
local capture = require "spec.support.capture"

local SEED, COUNT = 1, 5000

describe("hostile packets, replayed,", function()
  local paths = {}
  setup(function()
    for i, link in ipairs { capture.RAW, capture.ETHERNET } do
      paths[i] = os.tmpname()
      barrage.write(paths[i], SEED, COUNT, link)
    end
  end)
  teardown(function() for _, path in ipairs(paths) do os.remove(path) end end)

  for _, filter in ipairs(barrage.filters()) do
    it("cost nothing but their own verdicts: " .. filter, function()
      for _, path in ipairs(paths) do
        local lacks = barrage.replay(filter, path)
        assert.is_nil(lacks, lacks)
      end
    end)
  end
end)
