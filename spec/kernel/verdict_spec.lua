local netns = require "spec.support.netns"

-- How many pings came back.
local function received(output) return tonumber(output:match "(%d+) received") end

netns.describe("live verdicts", function()
  it("lets accepted packets through", function()
    local output = netns.run [[
      rule -A OUTPUT -p icmp --icmp-type echo-request -j QUEUE
      run accept scripts/accept.lua
      ping -W $REPLY -c 5 -l 5 -i 0.01 127.0.0.1
      stop accept]]
    assert.equal(5, received(output))
    assert.matches("exit 0\n", output)
    assert.matches("queue 0: 5 packets, 5 accepted, 0 dropped", output)
  end)

  it("holds dropped packets back", function()
    local output = netns.run [[
      rule -A OUTPUT -p icmp --icmp-type echo-request -j QUEUE
      filter drop <<'END'
return function() return require "ipq".DROP end
END
      ping -c 3 -l 3 -i 0.01 -W $REPLY 127.0.0.1
      stop drop]]
    assert.equal(0, received(output))
    assert.matches("queue 0: 3 packets, 0 accepted, 3 dropped", output)
  end)

  it("judges IPv6 in the same queue", function()
    local output = netns.run [[
      rule -A OUTPUT -p icmp --icmp-type echo-request -j QUEUE
      rule6 -A OUTPUT -p icmpv6 --icmpv6-type echo-request -j QUEUE
      filter both <<'END'
local seen = {}
return { filter = function(pkt)
  seen[pkt.family .. " " .. pkt.hw_protocol] = (seen[pkt.family .. " " .. pkt.hw_protocol] or 0) + 1
end, stop = function() for key, n in pairs(seen) do print(key, n) end end }
END
      ping -W $REPLY -c 2 -l 2 -i 0.01 127.0.0.1
      ping -W $REPLY -6 -c 3 -l 3 -i 0.01 ::1
      stop both]]
    assert.matches("ip 2048\t2\n", output)
    assert.matches("ip6 34525\t3\n", output)
    assert.matches("5 packets, 5 accepted", output)
  end)

  it("sets marks, the same on many packets and one for each", function()
    for _, mark in ipairs { "7", "pkt.packet_id" } do
      local output = netns.run(([[
        rule -t mangle -A OUTPUT -p icmp --icmp-type echo-request -j NFQUEUE --queue-num 0
        rule -t mangle -A POSTROUTING -m mark --mark 7 -j ACCEPT
        filter mark <<'END'
return function(pkt) assert(pkt.mark == 0) pkt.mark = %s end
END
        ping -W $REPLY -c 10 -l 10 -i 0.01 -q 127.0.0.1
        stop mark
        iptables-legacy -t mangle -nvxL POSTROUTING | awk '/mark match/ { print "marked", $1 }']]):format(mark))
      assert.equal(10, received(output))
      assert.matches("marked " .. (mark == "7" and 10 or 1) .. "\n", output)
    end
  end)

  it("reads the mark that a rule has set, and leaves it alone", function()
    local output = netns.run [[
      rule -t mangle -A OUTPUT -p icmp --icmp-type echo-request -j MARK --set-mark 0xfedcba98
      rule -t mangle -A OUTPUT -p icmp --icmp-type echo-request -j NFQUEUE --queue-num 0
      rule -t mangle -A POSTROUTING -m mark --mark 0xfedcba98 -j ACCEPT
      filter mark <<'END'
return function(pkt) print(("mark %x"):format(pkt.mark)) end
END
      ping -W $REPLY -c 2 -l 2 -i 0.01 127.0.0.1
      stop mark
      iptables-legacy -t mangle -nvxL POSTROUTING | awk '/mark match/ { print "marked", $1 }']]
    assert.matches("mark fedcba98\nmark fedcba98\n", output)
    assert.matches("marked 2\n", output)
  end)

  it("sends a repeated packet through the hook again", function()
    local output = netns.run [[
      rule -A OUTPUT -p icmp --icmp-type echo-request -j QUEUE
      filter again <<'END'
local ipq = require "ipq"
local seen = {}
return function(pkt)
  local id = pkt.payload:u16(26) -- ICMP sequence
  seen[id] = (seen[id] or 0) + 1
  if seen[id] < 3 then return ipq.REPEAT end
end
END
      ping -W $REPLY -c 4 -l 4 -i 0.01 127.0.0.1
      stop again]]
    assert.equal(4, received(output))
    assert.matches("12 packets, 4 accepted, 0 dropped, 8 other verdicts", output)
  end)

  it("takes a stopped packet past the later chains of its hook", function()
    for verdict, expected in pairs { STOP = 2, ACCEPT = 0 } do
      local output = netns.run(([[
        rule -t mangle -A OUTPUT -p icmp --icmp-type echo-request -j NFQUEUE --queue-num 0
        rule -t filter -A OUTPUT -p icmp --icmp-type echo-request -j DROP
        filter early <<'END'
return function() return require "ipq".%s end
END
        ping -c 2 -l 2 -i 0.01 -W $REPLY 127.0.0.1
        stop early]]):format(verdict))
      assert.equal(expected, received(output))
    end
  end)

  it("hands packets to another queue", function()
    local output = netns.run [[
      rule -A OUTPUT -p icmp --icmp-type echo-request -j QUEUE
      filter first <<'END'
return function(pkt) return require "ipq".queue(513) end
END
      QUEUE=513 filter second -q 513 <<'END'
return function(pkt) print("queue " .. pkt.queue_num) end
END
      ping -W $REPLY -c 2 -l 2 -i 0.01 127.0.0.1
      stop first
      stop second]]
    assert.equal(2, received(output))
    assert.matches("queue 0: 2 packets, 0 accepted, 0 dropped, 2 other verdicts", output)
    assert.matches("queue 513\nqueue 513\n", output)
    assert.matches("queue 513: 2 packets, 2 accepted", output)
  end)

  it("drops what goes to a queue without a listener, unless it may go past", function()
    for bypass, expected in pairs { ["false"] = 0, ["true"] = 2 } do
      local output = netns.run(([[
        rule -A OUTPUT -p icmp --icmp-type echo-request -j QUEUE
        filter first <<'END'
return function(pkt) return require "ipq".queue(9, %s) end
END
        ping -c 2 -l 2 -i 0.01 -W $REPLY 127.0.0.1
        stop first]]):format(bypass))
      assert.equal(expected, received(output))
    end
  end)

  it("costs a packet whose filter raises the error verdict, every tenth one here", function()
    for verdict, expected in pairs { drop = 18, accept = 20 } do
      local output = netns.run(([[
        rule -A OUTPUT -p icmp --icmp-type echo-request -j QUEUE
        filter tenth --on-error %s <<'END'
local n = 0
return function(pkt)
  n = n + 1
  if n %% 10 == 0 then error "every tenth" end
  return require "ipq".ACCEPT
end
END
        ping -c 20 -l 20 -i 0.01 -W $REPLY 127.0.0.1
        stop tenth]]):format(verdict))
      assert.equal(expected, received(output))
      assert.matches("error: packet 10 of queue 0: /[^\n]*/tenth.lua:4: every tenth\n\tstack traceback:\n", output)
      assert.matches("error: packet 20 of queue 0", output)
      assert.matches("Its verdict: " .. verdict, output)
      assert.matches("20 packets, " .. expected .. " accepted, " .. 20 - expected .. " dropped, 0 other "
        .. "verdicts, 2 errors", output)
    end
  end)

  it("gives the default verdict where the filter says nothing", function()
    for verdict, expected in pairs { drop = 0, accept = 2 } do
      local output = netns.run(([[
        rule -A OUTPUT -p icmp --icmp-type echo-request -j QUEUE
        filter silent --default %s <<'END'
return function() end
END
        ping -c 2 -l 2 -i 0.01 -W $REPLY 127.0.0.1
        stop silent]]):format(verdict))
      assert.equal(expected, received(output))
    end
  end)

  it("settles each of a burst of mixed verdicts rightly", function()
    -- Of 1,000 packets in bursts every third is dropped, every fifth marked: runs of all kinds.
    local output = netns.run [[
      rule -t mangle -A OUTPUT -p icmp --icmp-type echo-request -j NFQUEUE --queue-num 0
      rule -t mangle -A POSTROUTING -m mark --mark 5 -j ACCEPT
      filter mixed <<'END'
local ipq = require "ipq"
local dropped, marked = 0, 0
return { filter = function(pkt)
  local sequence = pkt.payload:u16(26)
  if sequence % 3 == 0 then dropped = dropped + 1 return ipq.DROP end
  if sequence % 5 == 0 then marked = marked + 1 pkt.mark = 5 end
end, stop = function() print("dropped " .. dropped .. " marked " .. marked) end }
END
      rule -A INPUT -p icmp --icmp-type echo-request
      ping -c 1000 -l 100 -i 0.001 -q -W $REPLY 127.0.0.1
      wait_for judged 1000
      stop mixed
      iptables-legacy -nvxL INPUT | awk '/icmptype 8/ { print "arrived", $1 }'
      iptables-legacy -t mangle -nvxL POSTROUTING | awk '/mark match/ { print "kernel marked", $1 }']]
    assert.matches("arrived 667\n", output)
    assert.matches("dropped 333 marked 134\n", output)
    assert.matches("kernel marked 134\n", output)
    assert.matches("1000 packets, 667 accepted, 333 dropped", output)
  end)
end)
