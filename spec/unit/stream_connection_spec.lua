-- Connections that a script edits, by the test kit's two ends and the network between them: both ends get what they
-- are to get, whatever the network does.
local t = require "ipq.test"

local function lines(random, count)
  local list = {}
  for i = 1, count do
    local text = {}
    for j = 1, random(1, 3) do text[j] = ("abcdefgh"):sub(1, random(4, 8)):rep(random(1, 40)) .. "\n" end
    list[i] = table.concat(text)
  end
  return list
end

local function generator(seed)
  local state = seed * 48271 % 2147483647
  return function(least, most)
    state = state * 16807 % 2147483647
    return least + state % (most - least + 1)
  end
end

--- One connection of many: what its network does follows from the seed.
local function one(filter, seed)
  local random = generator(seed)
  local says = lines(random, random(1, 60))
  local share = seed % 3 ~= 0 and 0.03 or 0
  local answer = ("x"):rep(random(0, 5000))
  local result = t.connection(filter, { client = says, server = { "hello", answer }, seed = seed, loss = share,
    order = share * 2, twice = share, window = seed % 5 == 0 and 3000 or 65535,
    isn = seed % 4 == 0 and 2 ^ 32 - 500 or 1000, sport = 1024 + seed,
    mss = seed % 7 == 0 and 200 or 1460, saddr = seed % 2 == 0 and "2001:db8::1" or nil, sack = seed % 11 ~= 0 })
  return result, table.concat(says), "hello" .. answer
end

local CASES = tonumber(os.getenv "IPQ_CASES" or 60)

for name, case in pairs {
  ["grows"] = { "spec/data/grow.lua", function(text) return (text:gsub("\n", "<end>\n")) end },
  ["shrinks"] = { "spec/data/cut.lua", function(text)
    return (text:gsub("[^\n]*\n", function(line) return line:sub(5) end))
  end },
} do
  describe("a stream that " .. name, function()
    it("comes as it was edited, and the other one as it was, through loss, duplicates and reordering", function()
      local filter = t.load(case[1])
      for seed = 1, CASES do
        local result, said, answered = one(filter, seed)
        assert.same({}, result.faults, "seed " .. seed)
        assert.is_true(result.is_closed, "seed " .. seed)
        assert.equal(case[2](said), result.server, "seed " .. seed)
        assert.equal(answered, result.client, "seed " .. seed)
      end
    end)
  end)
end
