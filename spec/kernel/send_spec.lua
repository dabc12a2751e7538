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

netns.describe("A DNS answer of a filter", function()
  -- glibc's resolver: it looks at the id, the question, addresses and ports.
  it("is taken by the resolver of a host behind the router", function()
    local why = netns.lacks "mounts"
    if why then
      pending(why)
      return
    end
    local output = netns.run([[
      router
      echo 'nameserver 10.2.0.2' > "$DIR/resolv.conf"
      echo 'hosts: dns' > "$DIR/nsswitch.conf"
      for name in resolv.conf nsswitch.conf; do mount --bind "$DIR/$name" /etc/$name || fail mount; done
      rule -A FORWARD -p udp --dport 53 -j NFQUEUE --queue-num 0
      filter dns <<'FILTER'
local ipq = require "ipq"
return { send = true, filter = function(pkt)
  local question = pkt.udp.payload:string(0, #pkt.udp.payload)
  local _, ends = question:find("\0\0\1\0\1", 13, true)
  if not ends then return ipq.REJECT end
  assert(ipq.send(pkt:answer { payload = question:sub(1, 2) .. "\129\128\0\1\0\1\0\0\0\0" .. question:sub(13, ends)
    .. "\192\12\0\1\0\1\0\0\0\60\0\4\192\0\2\99" }))
  return ipq.DROP
end }
FILTER
      on a getent ahostsv4 example.org
      stop dns]], nil, "-m")
    assert.matches("^192%.0%.2%.99 +STREAM example.org", output)
  end)
end)
