-- What a filter sends on a router about connections that are there already, with NAT and without.
local matrix = require "spec.support.matrix"
local netns = require "spec.support.netns"

-- Ports from 2000 on are masqueraded; 203.0.113.7 is translated to b. One connection of TCP and one of UDP a way.
local script = [[
  router
  ip route add default via 10.2.0.2
  rule -t nat -A PREROUTING -i to_a -d 203.0.113.7 -j DNAT --to-destination 10.2.0.2
  for protocol in tcp udp; do
    rule -t nat -A POSTROUTING -p $protocol --dport 2000:2999 -o to_b -j MASQUERADE
    rule -t mangle -A FORWARD -p $protocol -m multiport --ports 1000:2999 -j NFQUEUE --queue-num 0
  done
  filter forward <<'FILTER'
local ipq = require "ipq"
local udp = {
  unreachable = function() return ipq.REJECT end,
  answer = function(pkt)
    assert(ipq.send(pkt:answer { payload = "by the filter" }))
    return ipq.DROP
  end,
}
return { send = true, filter = function(pkt)
  local transport = pkt.tcp or pkt.udp
  local said = transport.payload:string(0, #transport.payload)
  if said == "reset" then
    assert(pkt:reset())
    return ipq.DROP
  end
  return udp[said] and udp[said](pkt)
end }
FILTER
  nsenter -t $host_b -n python3 spec/support/forward.py serve > "$DIR/server" & server=$!
  wait_for grep -q ready "$DIR/server"
  for way in $WAYS; do on a python3 spec/support/forward.py ask ${way%%/*} ${way#*/}; done
  all_reset() { [ "$(grep -c ECONNRESET "$DIR/server")" -eq "$(echo $WAYS | tr ' ' '\n' | grep -c tcp)" ]; }
  wait_for all_reset
  kill $server
  wait $server
  cat "$DIR/server"
  stop forward
]]

local ways = {
  { name = "without NAT", address = "10.2.0.2", port = 1001 },
  { name = "masqueraded", address = "10.2.0.2", port = 2001 },
  { name = "behind DNAT", address = "203.0.113.7", port = 1002 },
  { name = "masqueraded and behind DNAT", address = "203.0.113.7", port = 2002 },
}
local tcp, unreachable, answer = "tcp/reset", "udp/unreachable", "udp/answer"
-- What a kernel that does not tell connections translates by itself.
local without = {
  ["without NAT"] = { [tcp] = true, [unreachable] = true, [answer] = true },
  masqueraded = { [tcp] = true, [unreachable] = true },
  ["behind DNAT"] = { [tcp] = true, [unreachable] = true, [answer] = true },
  ["masqueraded and behind DNAT"] = {},
}
local expected = { [tcp] = "ECONNRESET", [unreachable] = "ECONNREFUSED", [answer] = "by_the_filter" }

netns.describe("What a filter of a router sends about a connection that is there", function()
  local is_told = matrix.tells_connections()
  local output

  lazy_setup(function()
    local list = {}
    for _, way in ipairs(ways) do
      for what in pairs(expected) do
        if is_told or without[way.name][what] then
          list[#list + 1] = ("%s:%d/%s"):format(way.address, way.port, what)
        end
      end
    end
    output = netns.run("WAYS='" .. table.concat(list, " ") .. "'\n" .. script)
  end)

  for _, way in ipairs(ways) do
    for what, outcome in pairs(expected) do
      it(("is taken: %s, %s"):format(what, way.name), function()
        if not is_told and not without[way.name][what] then
          pending "this kernel does not tell connections"
          return
        end
        local got, ms = output:match(("asked %s:%d %s (%%S+) ([%%d.]+)\n"):format(way.address, way.port, what))
        assert.equal(outcome, got, output)
        assert.is_true(tonumber(ms) < 500 * netns.slow, output)
        if what == tcp then assert.matches(("server %d ECONNRESET\n"):format(way.port), output) end
      end)
    end
  end
end)
