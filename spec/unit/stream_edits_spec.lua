-- What a receiver gets instead of what its sender says, against arrays of bytes (spec/c/stream_model.h).
local lib = require "spec.support.lib"

local C = lib.C

describe("the edits of a stream", function()
  it("make the same bytes of any segments, repeated, in any pieces and order, and translate positions both ways",
    function()
      local cases, steps = tonumber(os.getenv "IPQ_CASES" or 3000), 120
      for i = 1, cases do
        local line = C.spec_stream_model(0x9e3779b97f4a7c15ULL * i, steps)
        if line ~= 0 then error(("case %d: spec/c/stream_model.h:%d does not hold"):format(i, line)) end
      end
    end)
end)
