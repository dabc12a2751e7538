-- Where what a filter sends arrives, with real programs at both ends.
local matrix = require "spec.support.matrix"
local netns = require "spec.support.netns"

netns.describe("What a filter sends", function()
  local results, output, is_told

  -- Why this does not arrive, nil where it does.
  local function obstacle(path, hook, kind, family)
    local way, name = matrix.paths[path], matrix.kinds[kind].name
    if name == "duplicate" then return end
    if way.translated and way.translated[hook] then
      if not is_told then return "this kernel does not tell connections" end
    elseif family == "link" and way.client == "" and name == "admin-prohibited" then
      return "the kernel looks for a local TCP connection at lo, where it is none of a link's address"
    end
  end

  lazy_setup(function()
    is_told = matrix.tells_connections()
    results, output = matrix.run(function(...) return not obstacle(...) end, 10 * netns.slow)
  end)

  for kind, of in ipairs(matrix.kinds) do
    for path, way in ipairs(matrix.paths) do
      for _, hook in ipairs(way.hooks) do
        it(("(%s) is taken from %s, %s"):format(of.name, matrix.hooks[hook], way.name), function()
          local tried = 0
          for _, family in ipairs { 4, 6, "link" } do
            if (family ~= "link" or way.link) and not obstacle(path, hook, kind, family) then
              local name = matrix.name(path, hook, kind, family)
              local got = assert(results[name], output)
              assert.equal(of.expected[family == 4 and 1 or 2], got.outcome, name)
              -- Less than one where the machine is quiet. A connection that is told nothing tries again in a second.
              assert.is_true(got.ms < 500 * netns.slow, name .. ": " .. got.ms .. " ms")
              if of.name == "duplicate" then
                local at = (family == 4 and 4 or 6) .. " " .. matrix.port(path, hook, kind, family)
                assert.equal(2, results.counts[at], name)
              end
              tried = tried + 1
            end
          end
          if tried == 0 then pending(obstacle(path, hook, kind, 4)) end
        end)
      end
    end
  end

  it("is sent once for each packet, and judged by no filter", function()
    local asked = 0
    matrix.each(function(path, hook, kind, family)
      local is_udp = matrix.kinds[kind].protocol == "udp"
      if is_udp and not obstacle(path, hook, kind, family) then asked = asked + 1 end
    end)
    assert.matches("the filter saw " .. asked .. " of UDP\n", output)
    assert.matches(" 0 errors, 0 lost unseen", output)
  end)
end)
