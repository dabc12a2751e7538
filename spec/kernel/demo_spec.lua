-- What README shows of "make demo" is what it prints; and what "make demo-names" does.
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

netns.describe("scripts/demo/names.sh", function()
  it("shows free names, and others that are blocked, by TLS, QUIC and DNS", function()
    local output = netns.shell(("LD_PRELOAD= ASAN_OPTIONS=detect_leaks=0 timeout $((60 * ${IPQ_SLOW:-1})) "
      .. "scripts/demo/names.sh %s"):format(netns.program))
    local shown = {}
    for line in output:gmatch "[^\n]+" do
      shown[#shown + 1] = line:match "^%$ ([cdg][^|]*)$" or line:match "^    (.*)"
    end
    local text = table.concat(shown, "\n")
    assert.matches("curl https://free.example/\n200\ncurl https://blocked.example/\ncurl: %(35%)", text)
    local function shows(lines) return (text:find(lines, 1, true)) end
    for _, way in ipairs { "notcp", "tcp" } do
      local dig = "dig +" .. way .. " %s.example @10.2.0.2\n"
      assert.truthy(shows(dig:format "free" .. "NOERROR\nfree.example. A 192.0.2.1\n"), output)
      assert.truthy(shows(dig:format "blocked" .. "NXDOMAIN\n"), output)
    end
    assert.truthy(output:find "QUIC is left out" or shows "gtlsclient free.example 443\nconnected\n", output)
    assert.truthy(output:find "QUIC is left out" or shows "gtlsclient blocked.example 443\nno answer\n", output)
    assert.matches("10.1.0.2 asks for blocked.example: blocked\n", output)
    assert.matches('"listed":"blocked.example"', output)
    assert.not_matches("asks for free.example", output)
  end)
end)
