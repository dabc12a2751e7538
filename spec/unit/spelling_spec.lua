-- Which name a misspelt word was meant to be.
local spelling = require "ipq.spelling"

local function known(list)
  local names = {}
  for name in list:gmatch "%S+" do names[name] = true end
  return names
end

describe("a misspelt name", function()
  local cases = {
    -- a letter wrong, missing, too many, swapped with its neighbour
    { "spart", "sport", "sport dport" }, { "sprt", "sport", "sport dport" }, { "sporrt", "sport", "sport dport" },
    { "sprot", "sport", "sport dport" }, { "psort", "sport", "sport dport" }, { "sporty", "sport", "sport dport" },
    -- the longer, the more
    { "abd", "abc", "abc" }, { "axx", nil, "abc" }, { "abcxx", nil, "abcde" }, { "abcdxx", "abcdef", "abcdef" },
    { "abcxxx", nil, "abcdef" }, { "abcdefgxxx", "abcdefghij", "abcdefghij" }, { "abcdefxxxx", nil, "abcdefghij" },
    { "ab", nil, "ac" }, { "", nil, "a" },
    -- the nearest; of two the first by name
    { "spor", "sport", "spoons sport" }, { "xport", "dport", "sport dport" },
    -- capitals, and what is between words
    { "ACCEPT", "accept", "accept" }, { "accept", "ACCEPT", "ACCEPT" }, { "a-b_c", "a_b-c", "a_b-c" },
    -- other programs' words, where there is what they mean
    { "src", "saddr", "saddr sport" }, { "src", "sport", "dport sport" }, { "src", nil, "checksum" },
    { "SRC", "saddr", "saddr" }, { "ttl", "hoplimit", "hoplimit" },
    -- what is no misspelt name
    { "sport", nil, "sport spore" }, { ("sport"):rep(10), nil, "sport" }, { 5, nil, "sport" },
    { "sport", nil, ("sport"):rep(10) }, { "sport", nil, "" },
    { ("x"):rep(40), ("x"):rep(39), ("x"):rep(39) }, { ("x"):rep(41), nil, ("x"):rep(40) },
  }
  for _, case in ipairs(cases) do
    local word, name, names = case[1], case[2], case[3]
    it(("%s is %s of %s"):format(tostring(word), tostring(name), names), function()
      assert.equal(name, spelling.meant(word, known(names)))
      assert.equal(name and ("; did you mean '%s'?"):format(name) or "", spelling.hint(word, known(names)))
    end)
  end

  it("may be known elsewhere: before what looks like it, and behind what others call it", function()
    local function elsewhere(name) return ({ sport = "tcp.sport", saddr = "ip.saddr" })[name] end
    assert.equal("tcp.sport", spelling.meant("sport", known "spore", elsewhere))
    assert.equal("ip.saddr", spelling.meant("src", known "srx", elsewhere))
    assert.equal("sport", spelling.meant("src", known "sport", elsewhere))
    assert.equal("spore", spelling.meant("spora", known "spore", elsewhere))
  end)

  it("asks nothing of a table that raises for what it has not", function()
    local strict = setmetatable({ DROP = 0 }, { __index = function() error "no such name" end })
    assert.equal("DROP", spelling.meant("DORP", strict))
    assert.equal("DROP", spelling.meant("deny", strict))
    assert.is_nil(spelling.meant("pass", strict))
  end)
end)
