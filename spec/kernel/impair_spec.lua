-- scripts/impair.lua before real packets: those of a router to host b.
local netns = require "spec.support.netns"

netns.describe("scripts/impair.lua, live,", function()
  for _, family in ipairs { { "IPv4", "rule", "10.2.0.2" }, { "IPv6", "rule6", "fd02::2" } } do
    local name, rule, address = unpack(family)

    it("sends as many second packets as first ones, each once, and late, " .. name, function()
      local output = netns.run(([[
        router
        ping -c 1 -W $REPLY %s > "$DIR/first" || fail first
        %s -t mangle -A POSTROUTING -o to_b -p udp --dport 9 -j NFQUEUE --queue-num 0
        for command in iptables-legacy ip6tables-legacy; do
          on b $command -A INPUT -p udp --dport 9 || fail $command
        done
        run impair scripts/impair.lua duplicate=100%% delay=2s
        began=$(date +%%s%%N)
        python3 -c '
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(100): s.sendto(b"hello", (sys.argv[1], 9))
' %s
        came() { on b sh -c "iptables-legacy -nvxL INPUT; ip6tables-legacy -nvxL INPUT" |
          awk -v n="$1" '/dpt:9/ { seen += $1 } END { exit !(seen >= n) }'; }
        wait_for came 200
        [ $(($(date +%%s%%N) - began)) -ge 2000000000 ] && echo late
        came 201 && echo more
        stop impair
      ]]):format(address, rule, address))
      assert.matches("late\n", output)
      assert.not_matches("more\n", output)
      assert.matches(" 0 dropped, 0 other verdicts, 0 errors", output)
    end)
  end
end)
