-- Each finding of --doctor, provoked.
local netns = require "spec.support.netns"

local shell = [[
  doctor() { "$PROGRAM" --doctor "$@"; echo "exit $?"; }
  # fake NAME: standard input is what the program of that name prints.
  fake() {
    mkdir -p "$DIR/bin"
    { echo '#!/bin/sh'; echo "cat <<'LISTED'"; cat; echo LISTED; } > "$DIR/bin/$1"
    chmod +x "$DIR/bin/$1"
    PATH="$DIR/bin:$PATH"
  }
  # preload NAME [VARIABLE=VALUE]: the program runs with that library before its own.
  preload() {
    PROGRAM="$DIR/preloaded"
    { echo '#!/bin/sh'; echo "exec env ASAN_OPTIONS=detect_leaks=0:verify_asan_link_order=0 $2 \
      LD_PRELOAD=$PWD/$IPQ_BUILD/spec/$1 $PWD/$IPQ_BUILD/ipq-lua \"\$@\""; } > "$PROGRAM"
    chmod +x "$PROGRAM"
  }
  # open_copy: goes where nobody may run the program, and its scripts.
  open_copy() {
    mkdir -m 755 "$DIR/open"
    install -m 755 "$PROGRAM" "$DIR/open/ipq-lua"
    cp -r scripts "$DIR/open/"
    chmod 711 "$DIR"
    cd "$DIR/open"
    PROGRAM="$DIR/open/ipq-lua"
  }
  as_nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
]]

local function run(script) return netns.run(shell .. script) end

--- Each line is one of the three, but for the last.
local function lines(output)
  for line in output:gmatch "([^\n]+)\n" do
    assert.truthy(line:match "^ok       %l" or line:match "^ok       %-%-" or line:match "^ok       GSO"
      or line:match "^warning  [%lG].*; " or line:match "^problem  [%l%-].*[;,] " or line:match "^exit %d+$"
      or line:match "^ipq%-lua: ", line)
  end
end

netns.describe("--doctor", function()
  it("finds nothing in the way where a script, a rule and a free queue are there", function()
    local output = run [[
      rule -A OUTPUT -p icmp -j NFQUEUE --queue-num 0 --queue-bypass
      rule6 -A OUTPUT -p icmpv6 -j NFQUEUE --queue-num 0 --queue-bypass
      doctor scripts/accept.lua
      cat /proc/net/netfilter/nfnetlink_queue]]
    lines(output)
    for _, line in ipairs { "script: scripts/accept.lua can be used", "permission: CAP_NET_ADMIN",
      "kernel: it has NFQUEUE", "GSO: large packets come whole", "queue 0: it is free",
      'rule: "-A OUTPUT -p icmp -j NFQUEUE --queue-num 0 --queue-bypass" (iptables-legacy, table filter), with bypass',
      'rule: "-A OUTPUT -p ipv6-icmp -j NFQUEUE --queue-num 0 --queue-bypass" (ip6tables-legacy, table filter), with '
        .. "bypass" } do
      assert.truthy(output:find("ok       " .. line .. "\n", 1, true), output)
    end
    assert.matches("ok       buffer: %d+ bytes, as 1024 packets may need\n", output)
    assert.is_nil(output:find "problem")
    assert.matches("exit 0\n$", output)
  end)

  it("needs no script, and tells one that cannot be used", function()
    local output = run [[
      doctor --rule 'OUTPUT -p icmp'
      echo 'return 5' > "$DIR/bad.lua"
      doctor --rule 'OUTPUT -p icmp' "$DIR/bad.lua"]]
    lines(output)
    assert.matches("^ok       permission.*ok       rule: %-%-rule feeds queue 0\nexit 0\n", output)
    assert.matches("problem  script: [^\n]*/bad.lua cannot be used; ipq%-lua %-%-check [^\n]*/bad.lua\n.*exit "
      .. "69\n$", output)
  end)

  it("finds what a script that edits connections needs of conntrack and of rules", function()
    local output = run [[
      liberal=/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal
      said="invalid|go on$|bypass lets|ICMP errors"
      edits() { "$PROGRAM" --doctor "$@" spec/data/grow.lua | grep -E "$said"; echo "--"; }
      [ ! -e $liberal ] || echo 0 > $liberal
      edits --rule 'FORWARD -p tcp'
      [ ! -e $liberal ] || echo 1 > $liberal
      rule -A FORWARD -p tcp -j NFQUEUE --queue-num 0 --queue-bypass
      edits
      edits --rule 'FORWARD -p icmp'
      rule -A FORWARD -p udp -j NFQUEUE --queue-num 1
      edits -q 1 --rule 'FORWARD'
      "$PROGRAM" --doctor scripts/accept.lua | grep -E "$said"
      [ -e $liberal ] || echo "no conntrack"]]
    local strict = "warning  conntrack: it takes edited connections for invalid where it stands on both sides of the "
      .. "queue, as in FORWARD, if rules or NAT use it; sysctl -w net.netfilter.nf_conntrack_tcp_be_liberal=1\n"
    local goes_on = "ok       conntrack: it lets edited connections go on\n"
    local errors = "warning  rule: none brings ICMP errors, by which the ends of edited connections learn the "
      .. "path's MTU; iptables and ip6tables -A CHAIN -p icmp (-p ipv6-icmp) -j NFQUEUE --queue-num 0, or "
      .. "--rule 'CHAIN -p icmp'\n"
    local bypass = 'warning  rule: "-A FORWARD -p tcp -j NFQUEUE --queue-num 0 --queue-bypass" (iptables-legacy, '
      .. "table filter): its bypass lets packets of edited connections by that are not translated, which corrupts "
      .. "them; have it without\n"
    local has_conntrack = not output:find "no conntrack"
    assert.equal((has_conntrack and strict or goes_on) .. errors .. "--\n" .. goes_on .. bypass .. errors .. "--\n"
      .. goes_on .. bypass .. "--\n" .. goes_on .. "--\n" .. (has_conntrack and "" or "no conntrack\n"), output)
  end)

  it("finds that no rule feeds a queue", function()
    local output = run "rule -A OUTPUT -p icmp -j NFQUEUE --queue-num 1 --queue-bypass; doctor -q 1:2"
    lines(output)
    assert.matches("problem  rule: none feeds queue 2; ipq%-lua %-%-rule 'OUTPUT %-p icmp', or iptables %-A "
      .. "OUTPUT %-p icmp "
      .. "%-j NFQUEUE %-%-queue%-num 2\nexit 69\n$", output)
    assert.is_nil(output:find "feeds queue 1")
    assert.matches("warning  rule: queue 1 gets IPv4 alone; ip6tables %-A CHAIN ... %-j NFQUEUE %-%-queue%-num "
      .. "1\n", output)
  end)

  it("finds the owner of a queue that is taken", function()
    local output = run [[
      QUEUE=7 run first -q 7 scripts/accept.lua
      doctor -q 6:8
      echo "port $pid_first"]]
    local port = output:match "port (%d+)"
    assert.truthy(output:find(("ok       queue 7: served by ipq-lua, process %s\n"):format(port), 1, true), output)
    assert.matches("ok       queue 6: it is free\n.*ok       queue 8: it is free\n", output)
  end)

  it("finds a supervisor whose workers have lower numbers, as numbers begin anew", function()
    local output = netns.run([[
      echo $(($(cat /proc/sys/kernel/pid_max) - 2)) > /proc/sys/kernel/ns_last_pid
      run first scripts/accept.lua
      [ $(worker first) -lt $pid_first ] && echo "lower"
      "$PROGRAM" --doctor
      echo "process $pid_first"]], nil, "-p -f --mount-proc")
    assert.matches("^lower\n", output)
    local pid = output:match "\nprocess (%d+)\n$"
    assert.truthy(output:find(("queue 0: served by ipq-lua, process %s\n"):format(pid), 1, true), output)
  end)

  it("finds who has the socket of a queue that another process has opened", function()
    local output = run [[
      cat > "$DIR/opener.py" <<'END'
import os, socket, struct, time
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
s.bind((0, 0))
s.send(struct.pack("=IHHIIBBHHHBBH", 28, 0x302, 5, 1, 0, 0, 0, 7 << 8, 8, 1, 1, 0, 0))
s.recv(4096)
print("opener", os.getpid(), flush=True)
if os.fork(): os._exit(0)
print("reader", os.getpid(), flush=True)
time.sleep(600)
END
      python3 "$DIR/opener.py" > "$DIR/opener" &
      read_by() { grep -q reader "$DIR/opener"; }
      wait_for read_by
      wait_for queue_is_bound 7
      doctor -q 7
      cat "$DIR/opener"
      kill $(awk '/reader/ { print $2 }' "$DIR/opener")]]
    local opener, reader = output:match "opener (%d+)\nreader (%d+)"
    assert.truthy(output:find(("problem  queue 7: it belongs to netlink port %s (process %s, \"python3\"); stop that "
      .. "program or choose another queue number\n"):format(opener, reader), 1, true), output)
    assert.matches("exit 69\n", output)
  end)

  it("finds a rule without a reader, by each of the programs", function()
    for _, case in ipairs { { "iptables", "filter", "OUTPUT", "icmp" },
      { "iptables-legacy", "filter", "OUTPUT", "icmp" },
      { "ip6tables", "filter", "INPUT", "ipv6-icmp" }, { "ip6tables-legacy", "mangle", "FORWARD", "ipv6-icmp" } } do
      local program, rule_table, chain, protocol = unpack(case)
      local output = run(("%s -t %s -A %s -p %s -j NFQUEUE --queue-balance 3:4; doctor -q 4; run a -q 3:4 "
        .. "scripts/accept.lua; wait_for queue_is_bound 4; doctor -q 5"):format(unpack(case)))
      assert.truthy(output:find(('warning  rule: "-A %s -p %s -j NFQUEUE --queue-balance 3:4" (%s, table %s): its '
        .. "packets are dropped while nobody reads queue 3; start ipq-lua -q 3, or have --queue-bypass in the rule\n")
        :format(chain, protocol, program, rule_table), 1, true), output)
      assert.equal(1, select(2, output:gsub("are dropped", "")), output)
      assert.equal(1, select(2, output:gsub("ok       rule: [^\n]*, without bypass\n", "")), output)
    end
  end)

  it("finds nft's rules, by their words", function()
    local output = run [[
      fake nft <<'END'
table inet fw {
	set queue { type ipv4_addr; elements = { 10.0.0.1 } }
	chain queue {
		type filter hook output priority filter; policy accept;
		meta l4proto icmp counter packets 0 bytes 0 queue num 0
		tcp dport 80 queue flags bypass,fanout to 0-3
		udp dport 53 queue to 5
		accept comment "the queue num 9"
	}
}
table ip6 fw {
	chain b { queue }
	chain c {
		queue
	}
}
END
      doctor -q 0:3]]
    lines(output)
    assert.truthy(output:find('warning  rule: "meta l4proto icmp counter packets 0 bytes 0 queue num 0" (nft, '
      .. 'table inet fw): '
      .. 'its packets are dropped while nobody reads queue 0; start ipq-lua -q 0, or have "bypass" in the '
      .. 'rule\n', 1, true))
    assert.truthy(output:find('ok       rule: "tcp dport 80 queue flags bypass,fanout to 0-3" (nft, table inet '
      .. 'fw), with '
      .. 'bypass\n', 1, true))
    assert.matches('"udp dport 53 queue to 5" [^\n]*queue 5;', output)
    assert.truthy(output:find('warning  rule: "queue" (nft, table ip6 fw): ', 1, true))
    assert.is_nil(output:find "queue num 9")
    assert.is_nil(output:find "elements")
    assert.is_nil(output:find "alone")
    assert.matches("exit 0\n$", output)
  end)

  it("tells a rule of iptables-nft once, though nft lists it too", function()
    local output = run [[
      iptables -A OUTPUT -p icmp -j NFQUEUE --queue-num 0
      doctor]]
    assert.equal(1, select(2, output:gsub("are dropped", "")), output)
  end)

  it("finds flow offload", function()
    local output = run [[
      fake nft <<'END'
table inet fw {
	flowtable fast {
		hook ingress priority filter
		devices = { eth0, eth1 }
	}
	chain forward {
		type filter hook forward priority filter; policy accept;
		ip protocol tcp flow add @fast
		queue num 0 bypass
	}
}
END
      doctor]]
    lines(output)
    assert.truthy(output:find('warning  offload: "ip protocol tcp flow add @fast" (nft, table inet fw) leads '
      .. 'flows around '
      .. 'the queue after their first packets; see "nft -a list ruleset"', 1, true), output)
    assert.equal(1, select(2, output:gsub("offload:", "")))
    assert.matches("exit 0\n$", output)
  end)

  it("finds what a killed run left", function()
    local output = run [[
      run first --rule 'OUTPUT -p icmp -s 127.0.0.1' scripts/accept.lua
      wait_for grep -q 'is in place' "$DIR/first.err"
      doctor -q 1 | grep -c left
      kill -KILL $pid_first
      wait $pid_first 2> /dev/null
      free() { ! queue_is_bound 0; }
      wait_for free
      doctor > "$DIR/doctor"
      cat "$DIR/doctor"
      sh -c "$(sed -n 's/.*left by a run.*takes it away, or "\(.*\)"$/\1/p' "$DIR/doctor")"
      echo "gone $?"
      iptables-save | grep ipq-lua || echo none]]
    assert.matches("^0\n", output)
    assert.matches("warning  rule: left by a run that was killed; the next one with %-%-rule takes it away, or "
      .. "\"iptables %-t "
      .. "filter %-D OUTPUT %-s 127.0.0.1/32 ", output)
    assert.matches("gone 0\nnone\n$", output)
  end)

  it("finds that the kernel has no NFQUEUE", function()
    for _, errno in ipairs { 93, 97, 22 } do
      local output = run("preload refuse_socket.so IPQ_SPEC_ERRNO=" .. errno .. "; doctor")
      assert.matches("problem  kernel: [^\n]*; this kernel has no NFQUEUE: try \"modprobe nfnetlink_queue\", or "
        .. "use", output)
      assert.matches("exit 69\n", output)
    end
  end)

  it("finds what the kernel does not do with a queue", function()
    -- GSO, conntrack
    local output = run "preload refuse_flags.so IPQ_SPEC_FLAGS=6; doctor --rule OUTPUT"
    lines(output)
    assert.matches("ok       kernel: it has NFQUEUE\nwarning  GSO: this kernel cuts large packets before it "
      .. "queues them, "
      .. "[^\n]*\nwarning  conntrack: pkt.ct is nil, for this kernel does not tell it; modprobe "
      .. "nf_conntrack_netlink, ", output)
    assert.matches("exit 0\n", output)
  end)

  it("finds that it is not permitted, and what does not help", function()
    if netns.lacks "user namespaces" then return pending(netns.lacks "user namespaces") end
    local output = run [[
      open_copy
      as_nobody ./ipq-lua --doctor
      echo "exit $?"
      as_nobody setpriv --no-new-privs ./ipq-lua --doctor
      as_nobody unshare -Ur ./ipq-lua --doctor | grep permission]]
    local plain, confined = output:match "^(.*)exit 69\n(.*)$"
    lines(plain)
    assert.matches("^problem  permission: not permitted without CAP_NET_ADMIN; run it as root: sudo ipq%-lua, "
      .. "or setcap "
      .. "cap_net_admin%+ep it, without %-%-rule, which needs root; \"unshare %-Urn\"", plain)
    assert.matches("warning  kernel: not asked, for that needs the permission; sudo ipq%-lua %-%-doctor\n", plain)
    assert.matches("warning  queue 0: whose it is cannot be read here %(Permission denied%); run it as root\n", plain)
    assert.matches("warning  rule: not all could be listed; run it as root: sudo ipq%-lua %-%-doctor\n", plain)
    assert.is_nil(plain:find "no_new_privs")
    assert.matches("warning  permission: no_new_privs is set: sudo and setcap have no effect here; start it", confined)
    assert.matches("problem  permission: not permitted; this network namespace belongs to another user "
      .. "namespace, run it "
      .. "there", confined)
  end)

  it("finds a receive buffer that is smaller than the queue needs", function()
    if netns.lacks "user namespaces" then return pending(netns.lacks "user namespaces") end
    local output = run [[
      open_copy
      as_nobody unshare -Urn ./ipq-lua --doctor --rule OUTPUT --queue-maxlen 4000
      as_nobody unshare -Urn ./ipq-lua --doctor --rule OUTPUT --rcvbuf 2048]]
    assert.matches("warning  buffer: the socket gets %d+ bytes of the 286976000 that 4000 packets may need, and "
      .. "some are "
      .. "lost before the queue is full; sysctl %-w net.core.rmem_max=286976000, or a smaller "
      .. "%-%-queue%-maxlen\n", output)
    assert.matches("ok       buffer: 2048 bytes", output)
  end)

  it("finds a seccomp filter that keeps netlink from it", function()
    local output = run [[
      cat > "$DIR/filtered.py" <<'END'
import ctypes, os, platform, struct, sys
number = {"x86_64": 41, "aarch64": 198}[platform.machine()]
# socket(AF_NETLINK, ...) gives EPERM.
code = b"".join(struct.pack("<HBBI", *op) for op in [(0x20, 0, 0, 0), (0x15, 0, 3, number), (0x20, 0, 0, 16),
    (0x15, 0, 1, 16), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7fff0000)])
text = ctypes.create_string_buffer(code)
program = struct.pack("HxxxxxxP", 6, ctypes.addressof(text))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.c_char_p(program)) == 0
os.execv(sys.argv[1], sys.argv[1:])
END
      python3 "$DIR/filtered.py" "$PROGRAM" --doctor
      echo "exit $?"]]
    assert.matches("problem  kernel: Operation not permitted; a seccomp filter keeps netlink sockets from this "
      .. "process: "
      .. "start it outside", output)
    assert.matches("exit 69\n", output)
  end)

  it("finds a rule that iptables does not take, in the words of a start, and puts none in place", function()
    local output = run [[
      doctor --rule 'OUTPUT -p icmp' --rule 'OUTPUT --nonsense'
      doctor --rule '-t nosuch OUTPUT'
      iptables-save
      "$PROGRAM" --rule 'OUTPUT --nonsense' scripts/accept.lua
      echo "start $?"]]
    lines(output:match "^.*exit %d+\n")
    local why = "%-%-rule 'OUTPUT %-%-nonsense': [^\n]*unknown option \"%-%-nonsense\" %(iptables, status 2%); see "
      .. "iptables%(8%)[^\n]*\n"
    assert.matches("problem  " .. why, output)
    assert.matches("problem  %-%-rule 'OUTPUT %-%-nonsense': [^\n]*%(ip6tables, status 2%)", output)
    assert.matches("problem  %-%-rule '%-t nosuch OUTPUT': [^\n]*%(iptables, status 3%)", output)
    assert.matches("error: " .. why, output)
    assert.equal(2, select(2, output:gsub("exit 69\n", "")))
    assert.is_nil(output:find("feeds queue", 1, true))
    assert.is_nil(output:find("OUTPUT ACCEPT", 1, true))
  end)

  it("finds that ip6tables is missing", function()
    if netns.lacks "mounts" then return pending(netns.lacks "mounts") end
    local output = run [[
      mkdir "$DIR/empty" "$DIR/bin"
      cp "$(command -v iptables)" "$DIR/bin/iptables"
      cat > "$DIR/without.sh" <<'END'
mount --bind "$DIR/empty" /usr/sbin
[ -L /sbin ] || mount --bind "$DIR/empty" /sbin
export PATH="$DIR/bin:/usr/bin:/bin"
"$PROGRAM" --doctor --rule 'OUTPUT -p icmp'
"$PROGRAM" --doctor --rule 'OUTPUT -4 -p icmp'
echo "exit $?"
END
      export DIR PROGRAM
      unshare -m sh "$DIR/without.sh"]]
    lines(output)
    assert.matches("problem  %-%-rule 'OUTPUT %-p icmp': ip6tables is not there; apt%-get install iptables, or say %-4 "
      .. "in the rule\n", output)
    assert.is_nil(output:find("problem  --rule 'OUTPUT -4", 1, true))
    assert.matches("exit 0\n$", output)
  end)

  it("finds that there is no iptables", function()
    if netns.lacks "mounts" then return pending(netns.lacks "mounts") end
    local output = run [[
      mkdir "$DIR/empty"
      cat > "$DIR/without.sh" <<'END'
mount --bind "$DIR/empty" /usr/sbin
[ -L /sbin ] || mount --bind "$DIR/empty" /sbin
"$PROGRAM" --doctor --rule 'OUTPUT -p icmp'
END
      export DIR PROGRAM
      unshare -m sh "$DIR/without.sh"
      echo "exit $?"]]
    lines(output)
    assert.matches("problem  %-%-rule 'OUTPUT %-p icmp': iptables is not there; apt%-get install iptables\n", output)
    assert.matches("warning  rule: neither iptables nor nft is there to tell; install one: apt%-get install "
      .. "iptables\n", output)
    assert.matches("exit 69\n", output)
  end)
end)

netns.describe("--doctor --fail-open", function()
  it("finds NFQUEUE in a kernel that cannot fail open", function()
    local output = run "preload refuse_flags.so IPQ_SPEC_FLAGS=1; doctor --fail-open --rule OUTPUT"
    assert.matches("ok       kernel: it has NFQUEUE\n", output)
    assert.matches("exit 0\n", output)
  end)
end)
