local netns = require "spec.support.netns"

local function count(output, pattern) return select(2, output:gsub(pattern, "")) end

-- Packets of size bytes come while the filter does not run; what the supervisor says of it, and the end.
local function overflow(options, size, packets)
  return netns.run(([[
    lost() { awk -v n="$1" '$1 == 0 && $6 + $7 >= n { found = 1 } END { exit !found }' \
      /proc/net/netfilter/nfnetlink_queue; }
    told() { grep -q "$1" "$DIR/accept.err"; }
    rule -A OUTPUT -p udp --dport 9 -j QUEUE
    rule -A INPUT -p udp --dport 9 -j DROP
    run accept --time-limit 0 %s scripts/accept.lua
    kill -STOP $(worker accept)
    send() { python3 -c 'import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(int(sys.argv[2])): s.sendto(b"x" * int(sys.argv[1]), ("127.0.0.1", 9))' "$@"; }
    send %d %d
    %s
    kill -CONT $(worker accept)
    wait_for judged 1
    stop accept]]):format(options, size, packets, options:find "fail%-open" and "" or "wait_for told warning"))
end

netns.describe("packets that are lost unseen", function()
  it("are told while they are lost, and at the end, when the queue was full", function()
    local output = overflow("--queue-maxlen 10", 1, 50)
    assert.matches("warning: queue 0 was full: 40 packets were dropped; more queues %(%-q N:M%) judge faster, "
      .. "%-%-queue%-maxlen lets more wait, %-%-fail%-open accepts them unseen\n", output)
    assert.equal(1, count(output, "warning"))
    assert.matches("queue 0: 10 packets, 10 accepted, 0 dropped, 0 other verdicts, 0 errors, 40 lost unseen\n", output)
  end)

  it("are told when the socket had no room", function()
    local output = overflow("--rcvbuf 4096", 1000, 50)
    local lost = output:match("warning: queue 0: its socket had no room for (%d+) packets, which were dropped; "
      .. "give it more with %-%-rcvbuf\n")
    assert.equal(1, count(output, "warning"))
    assert.matches(("queue 0: %d packets, [^\n]* 0 errors, %d lost unseen\n"):format(50 - lost, lost), output)
  end)

  it("are none that the kernel counts when the queue fails open", function()
    local output = overflow("--queue-maxlen 10 --fail-open", 1, 50)
    assert.equal(0, count(output, "warning"))
    assert.matches("10 packets, [^\n]* 0 lost unseen\n", output)
  end)

  it("are told once a second at most", function()
    local output = netns.run [[
      rule -A OUTPUT -p udp --dport 9 -j QUEUE
      run accept --time-limit 0 --queue-maxlen 1 scripts/accept.lua
      kill -STOP $(worker accept)
      # bash counts SECONDS.
      start=$(date +%s%N)
      bash -c 'while [ $SECONDS -lt 2 ]; do for i in {1..20}; do echo > /dev/udp/127.0.0.1/9; done; done'
      kill -CONT $(worker accept)
      stop accept
      echo "seconds $((($(date +%s%N) - start) / 1000000000))"]]
    local seconds = tonumber(output:match "seconds (%d+)")
    local warnings, sum = 0, 0
    for n in output:gmatch "was full: (%d+) packets" do warnings, sum = warnings + 1, sum + n end
    -- One more for what came after the last, when it ends.
    assert.is_true(warnings >= 2 and warnings <= seconds + 2, output)
    assert.matches(sum .. " lost unseen\n", output)
  end)

  it("are counted while the program ends, and not warned of", function()
    -- The filter has a packet when TERM comes, and another when the queue takes no more: a third is lost.
    local output = netns.run [[
      send() { bash -c 'echo > /dev/udp/127.0.0.1/9'; }
      holds() { [ "$(grep -c holding "$DIR/slow.out")" -eq "$1" ]; }
      lost() { awk '$1 == 0 && $6 == 1 { found = 1 } END { exit !found }' /proc/net/netfilter/nfnetlink_queue; }
      rule -A OUTPUT -p udp --dport 9 -j QUEUE
      filter slow --time-limit 0 <<'END'
local n = 0
return function()
  n = n + 1
  print "holding"
  io.stdout:flush()
  repeat until io.open(os.getenv "DIR" .. "/go" .. n)
end
END
      send
      wait_for holds 1
      send
      kill -TERM $pid_slow $(worker slow)
      : > "$DIR/go1"
      wait_for holds 2
      send
      wait_for lost
      : > "$DIR/go2"
      wait $pid_slow
      cat "$DIR/slow.err"]]
    assert.matches("queue 0: 2 packets, 2 accepted[^\n]* 1 lost unseen\n", output)
    assert.equal(0, count(output, "warning"))
  end)

  it("are not spoken of where the kernel's list cannot be read", function()
    if netns.lacks "user namespaces" then return pending(netns.lacks "user namespaces") end
    local output = netns.run [[
      mkdir -m 777 "$DIR/open"
      install -m 755 "$PROGRAM" "$DIR/open/ipq-lua"
      cp scripts/accept.lua "$DIR/open/"
      chmod 711 "$DIR"
      cd "$DIR/open"
      setpriv --reuid 65534 --regid 65534 --clear-groups unshare -Urn sh -c './ipq-lua accept.lua 2> err &
        until grep -q waiting err; do sleep 0.01; done
        kill $!; wait; cat err']]
    assert.matches("queue 0: 0 packets, 0 accepted, 0 dropped, 0 other verdicts, 0 errors\n", output)
    -- That it finds no place for its control socket it says, too.
    assert.equal(1, count(output, "warning"))
    assert.equal(1, count(output, "warning: %-%-ctl will not find this process"))
  end)

  it("are told when the socket says that its buffer overran", function()
    local output = netns.run [[
      rule -A OUTPUT -p icmp --icmp-type echo-request -j QUEUE
      export IPQ_SPEC_MANGLE=overrun ASAN_OPTIONS=detect_leaks=0:verify_asan_link_order=0
      LD_PRELOAD=./$IPQ_BUILD/spec/mangle_messages.so
      export LD_PRELOAD
      run accept scripts/accept.lua
      unset LD_PRELOAD
      pings 10 127.0.0.1
      stop accept]]
    assert.matches("warning: queue 0: the socket's buffer overran %d+ times; give it more with %-%-rcvbuf\n", output)
    assert.matches("queue 0: 10 packets, 10 accepted", output)
  end)
end)

netns.describe("a kernel that cannot fail open", function()
  it("is told, and nothing runs, where that was asked for", function()
    local output = netns.run [[
      export IPQ_SPEC_FLAGS=1 ASAN_OPTIONS=detect_leaks=0:verify_asan_link_order=0
      preload() { LD_PRELOAD=./$IPQ_BUILD/spec/refuse_flags.so "$@" 2>&1; echo "exit $?"; }
      preload timeout 10 "$PROGRAM" --fail-open scripts/accept.lua]]
    assert.matches("error: cannot set queue 0 to fail open: this kernel lacks it", output)
    assert.matches("exit 69\n", output)
  end)
end)
