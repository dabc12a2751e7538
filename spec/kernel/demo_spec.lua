-- What README shows of "make demo" is what it prints.
local netns = require "spec.support.netns"

-- Times differ.
local function stable(text)
  return (text:gsub("time=[%d.]+ ms", "time=0 ms"):gsub("time %d+ms", "time 0ms"))
end

netns.describe("README's recording of make demo", function()
  it("has the lines that the demo prints", function()
    local file = assert(io.open "README.md")
    local recording = file:read "*a":match "<!%-%- recording: make demo %-%->\n```\n(.-)```"
    file:close()
    local output, status = netns.shell("LD_PRELOAD= scripts/demo/demo.sh " .. netns.program)
    assert.equal(0, status)
    assert.equal(stable(recording), stable(output))
  end)
end)
