-- Rules that the program puts in place and takes away.
local lost_nothing = require "spec.support.lossless"
local netns = require "spec.support.netns"

local shell = [[
  # Which rules there are, by all forms of iptables.
  list() {
    for i in iptables iptables-legacy ip6tables ip6tables-legacy; do
      $i-save 2> /dev/null | sed -n "s/^-A/$i -A/p"
    done
  }
  ours() { list | grep 'ipq-lua:'; }
  count() { echo "$1 $(ours | wc -l)"; }
  none() { ! ours > /dev/null; }
  some() { [ "$(ours | wc -l)" = "$1" ]; }
  in_place() { grep -qs 'is in place' "$DIR/$1.err"; }
  # listen SOCKET: until a program tells there, as to systemd, that it is ready.
  listen() {
    python3 -c "if True:
      import socket, sys
      s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
      s.bind(sys.argv[1])
      s.settimeout(300)
      while b'READY=1' not in s.recv(4096).split(b'\n'): pass" "$1"
  }
  # until_ready COMMAND...: which starts a program. Its rules are in place then, what earlier runs left
  # is gone, and it hears signals.
  until_ready() {
    rm -f "$DIR/ready"
    listen "$DIR/ready" & listener=$!
    wait_for test -S "$DIR/ready"
    NOTIFY_SOCKET="$DIR/ready" "$@"
    wait $listener || fail "not ready: $*"
  }
  ruled() { until_ready run "$@"; }
  gone() { ! kill -0 "$1" 2> /dev/null; }
  unread() { ! queue_is_bound "$1"; }
]]

local function run(script) return netns.run(shell .. script) end
local function count(output, text) return select(2, output:gsub(text, "")) end

netns.describe("--rule", function()
  it("is in place while the program runs, for IPv6 too, and is all that goes at its end", function()
    local output = run [[
      iptables -A OUTPUT -p tcp -j NFQUEUE --queue-num 9 --queue-bypass
      ip6tables -A INPUT -m comment --comment "ipq-lua: mine" -j ACCEPT
      ruled drop --rule 'OUTPUT -p icmp --icmp-type echo-request' --rule 'INPUT -p udp --dport 9' scripts/drop_icmp.lua
      list
      ping -c1 -W $REPLY 127.0.0.1 > /dev/null || echo dropped
      ping -c1 -W $REPLY ::1 > /dev/null || echo dropped
      bash -c 'echo > /dev/udp/127.0.0.1/9'
      wait_for judged 3
      stop drop
      echo after
      list
      ping -c1 -W $REPLY ::1 > /dev/null && echo passed]]
    local before, after = output:match "^(.*)\nafter\n(.*)$"
    assert.matches("iptables %-A OUTPUT %-p icmp [^\n]*0x20000000[^\n]* %-j NFQUEUE %-%-queue%-num 0\n", before)
    assert.matches("ip6tables %-A OUTPUT %-p ipv6%-icmp [^\n]*0x20000000[^\n]* %-j NFQUEUE %-%-queue%-num 0\n", before)
    assert.matches("ip6tables %-A INPUT %-p udp [^\n]* %-j NFQUEUE %-%-queue%-num 0\n", before)
    assert.equal(2, count(before, "dropped\n"))
    assert.matches("rule 'INPUT %-p udp %-%-dport 9' is in place %(iptables, ip6tables%)\n", before)
    assert.matches("exit 0\n", before)
    assert.equal("iptables -A OUTPUT -p tcp -j NFQUEUE --queue-num 9 --queue-bypass\n"
      .. "ip6tables -A INPUT -m comment --comment \"ipq-lua: mine\" -j ACCEPT\npassed\n", after)
  end)

  it("feeds all queues, and lets pass with --queue-bypass what nobody reads", function()
    local output = run [[
      ruled accept --rule '-t mangle OUTPUT -p icmp' --queue-bypass -q 0:1 scripts/accept.lua
      ours
      kill -KILL $pid_accept
      wait_for unread 0
      wait_for unread 1
      ping -c1 -W $REPLY 127.0.0.1 > /dev/null && echo passed]]
    assert.matches("iptables %-A OUTPUT [^\n]* %-j NFQUEUE %-%-queue%-balance 0:1 %-%-queue%-bypass\n", output)
    assert.matches("passed\n", output)
  end)

  it("lets what is sent with ipq.SENT_MARK pass the filter that sends it", function()
    local output = run [[
      filter drop --rule 'OUTPUT -p udp --dport 9' <<'END'
return function() return require "ipq".DROP end
END
      wait_for in_place drop
      rule -A INPUT -p udp --dport 9 -j DROP
      cat > "$DIR/send.py" <<'END'
import socket
for mark in 0, 0x20000000, 0x20000007:
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
    s.sendto(b"x", ("127.0.0.1", 9))
END
      python3 "$DIR/send.py"
      wait_for judged 1
      arrived 2 && echo two
      stop drop]]
    assert.matches("two\n", output)
    assert.matches("queue 0: 1 packets, 0 accepted, 1 dropped", output)
  end)

  local ends = {
    ["TERM"] = { "kill -TERM $pid_filter", "exit 0" },
    ["INT"] = { "kill -INT $pid_filter", "exit 0" },
    ["a second signal"] = { "bash -c 'echo > /dev/udp/127.0.0.1/9'; wait_for waiting 1; kill -TERM $pid_filter; "
      .. "wait_for none; kill -TERM $pid_filter", "exit 143" },
    ["QUIT"] = { "kill -QUIT $pid_filter", "exit 131" },
    ["workers that die"] = { "kill -KILL $(worker filter)", "exit 70" },
    ["an upgrade that fails"] = { "mv $DIR/once $DIR/installed; kill -USR2 $pid_filter", "exit 71" },
  }
  for what, case in pairs(ends) do
    it("is gone after " .. what, function()
      local output = run(([[
        cp "$PROGRAM" "$DIR/installed"
        # Passes the check, and cannot be started afterwards.
        printf '#!/bin/sh\nrm "$0"\nexit 0\n' > "$DIR/once"
        chmod +x "$DIR/once"
        cat > "$DIR/filter.lua" <<'END'
return function() while true do end end
END
        start() {
          # What a shell starts in the background ignores them.
          env --default-signal=INT,QUIT "$DIR/installed" --time-limit 0 --max-restarts 0 --on-give-up exit \
            --rule 'OUTPUT -p udp' --rule 'INPUT -s 192.0.2.1' "$DIR/filter.lua" 2> "$DIR/filter.err" &
          pid_filter=$!
        }
        until_ready start
        count before
        %s
        wait $pid_filter
        echo "exit $?"
        count after
        cat "$DIR/filter.err"]]):format(case[1]))
      assert.matches("before 3\n", output)
      assert.matches(case[2] .. "\nafter 0\n", output)
    end)
  end

  it("stays while nobody reads the messages any more, and goes at the end all the same", function()
    local output = run [[
      mkfifo "$DIR/pipe"
      cat "$DIR/pipe" > "$DIR/read" & reader=$!
      env --default-signal=PIPE "$PROGRAM" --stats=0.1 --rule 'OUTPUT -p icmp' scripts/accept.lua 2> "$DIR/pipe" &
      pid=$!
      wait_for grep -qs 'is in place' "$DIR/read"
      kill $reader
      wait $reader 2> /dev/null
      # It has tried to write meanwhile: its supervisor sleeps and wakes at least so often.
      wakes() { awk '/^voluntary_ctxt_switches/ { print $2 }' /proc/$pid/status; }
      before=$(wakes)
      woken() { [ "$(wakes)" -ge $((before + 4)) ]; }
      wait_for woken
      ping -c1 -W $REPLY 127.0.0.1 > /dev/null && echo passed
      count before
      kill -TERM $pid
      wait $pid
      echo "exit $?"
      count after]]
    assert.equal("passed\nbefore 2\nexit 0\nafter 0\n", output)
  end)

  it("is taken away before the queue takes no more packets: none is lost at the end", function()
    local output = run [[
      ruled accept --rule 'OUTPUT -p udp --dport 9' --queue-maxlen 20000 scripts/accept.lua
      "$IPQ_BUILD/spec/stream" 9 5000 600 > "$DIR/stream" & stream=$!
      wait_for seen 1000
      stop accept
      kill -TERM $stream
      wait $stream
      cat "$DIR/stream"]]
    lost_nothing(output)
    assert.matches("exit 0\n", output)
  end)

  it("that a killed run left goes at the next start, and none of a run on another queue", function()
    local output = run [[
      ruled first --rule 'OUTPUT -p icmp' scripts/accept.lua
      QUEUE=5 ruled other -q 5 --rule 'OUTPUT -p udp' scripts/accept.lua
      # Of a process that cannot be seen, on a queue that is read.
      iptables -A INPUT -p tcp -m comment --comment ipq-lua:4194304:1:1 -j NFQUEUE --queue-num 5
      # The same on one that is not.
      iptables-legacy -A INPUT -p tcp -m comment --comment ipq-lua:4194304:1:1 -j NFQUEUE --queue-num 6
      kill -KILL $pid_first
      wait_for unread 0
      count left
      ruled second --rule 'OUTPUT -p icmp' scripts/accept.lua
      ours
      grep -c "ipq-lua:$pid_second:" "$DIR/second.err"
      stop second
      count other
      stop other
      ours]]
    assert.matches("left 6\n", output)
    assert.equal(1, count(output, "\niptables %-A OUTPUT %-p udp"))
    assert.equal(2, count(output, "%-%-comment \"?ipq%-lua:4194304:1:1\"? %-j NFQUEUE %-%-queue%-num 5\n"))
    assert.equal(3, count(output, "a rule that an earlier run left is taken away: "))
    assert.matches("other 3\n", output)
    assert.matches("iptables %-A INPUT %-p tcp [^\n]*ipq%-lua:4194304:1:1[^\n]* 5\n$", output)
  end)

  it("that a killed run was about to put in place never comes", function()
    local output = run [[
      mkdir "$DIR/bin"
      cat > "$DIR/bin/iptables" <<END
#!/bin/sh
[ -e "$DIR/go" ] || { touch "$DIR/waits"; until [ -e "$DIR/go" ]; do sleep 0.01; done; touch "$DIR/late"; }
exec iptables-legacy "\$@"
END
      chmod +x "$DIR/bin/iptables"
      PATH="$DIR/bin:$PATH" "$PROGRAM" --rule 'OUTPUT -p icmp' scripts/accept.lua 2> /dev/null & first=$!
      wait_for test -e "$DIR/waits"
      waiter=$(pgrep -f "$DIR/bin/iptables" | head -n 1)
      kill -KILL $first
      gone() { ! kill -0 "$1" 2> /dev/null; }
      wait_for gone $waiter
      touch "$DIR/go"
      [ -e "$DIR/late" ] || echo "none is late"]]
    assert.matches("none is late\n", output)
  end)

  it("is in place once, and not missed for a moment, through an upgrade", function()
    local output = run [[
      cp "$PROGRAM" "$DIR/installed"
      PROGRAM="$DIR/installed"
      iptables -A INPUT -p icmp -m mark ! --mark 7 -j DROP
      filter mark --rule 'OUTPUT -p icmp' <<'END'
return function(pkt) pkt.mark = 7 end
END
      wait_for in_place mark
      pings 100 127.0.0.1 > "$DIR/ping" & ping=$!
      for i in 2 3; do
        kill -USR2 $pid_mark
        wait_for sh -c "[ \$(grep -c 'is in place' $DIR/mark.err) = $i ]"
        wait_for some 2
      done
      wait $ping
      cat "$DIR/ping"
      stop mark
      count after]]
    assert.matches("100 received", output)
    local log = output:match "(ipq%-lua: rule 'OUTPUT.*)"
    assert.equal(4, count(log, "the rule of the program before the upgrade is taken away: ip6?tables [^\n]*icmp"))
    assert.equal(0, count(log, "an earlier run"))
    -- Each time what is in place, and then what went.
    log = log:gsub("ipq%-lua: ([^\n]*)\n", function(line)
      return line:find "is in place" and "+" or line:find "is taken away" and "-" or ""
    end)
    assert.matches("^%+%+%-%-%+%-%-", log)
    assert.matches("after 0\n", output)
  end)

  it("goes where the program that took over cannot start", function()
    local output = run [[
      cp "$PROGRAM" "$DIR/installed"
      PROGRAM="$DIR/installed"
      filter bad --rule 'OUTPUT -p icmp' <<'END'
return { filter = print, start = function() if io.open(arg[0] .. ".broken") then error "no way" end end }
END
      wait_for in_place bad
      touch "$DIR/bad.lua.broken"
      kill -USR2 $pid_bad
      wait $pid_bad
      echo "exit $?"
      count after]]
    assert.matches("exit 65\nafter 0\n", output)
  end)

  it("stays with sockets that a service manager keeps, and lets pass what nobody reads when it does not", function()
    local output = run [[
      export DIR PROGRAM
      PYTHONPATH=spec/support python3 -B - 2>&1 <<'END'
from manager import *
import atexit
p = None
# Whatever fails here, no process stays.
atexit.register(lambda: p and p.kill())
def serve(): return start("--rule", "OUTPUT -p icmp", "scripts/accept.lua")
def rules(what):
    print(what, flush=True)
    subprocess.run("iptables-save 2> /dev/null | sed -n '/ipq-lua/s/^/rule: /p'", shell=True)
p = serve()
rules("first")
print("exit", stop(p), flush=True)
rules("kept")
ping = subprocess.Popen(["ping", "-c1", "-W60", "-q", "127.0.0.1"])
p = serve()
print("ping", ping.wait(), flush=True)
rules("second")
print("exit", stop(p), flush=True)
forget("queue-0")
print("ping", subprocess.run(["ping", "-c1", "-W1", "-q", "127.0.0.1"]).returncode, flush=True)
END
      ruled last --rule 'OUTPUT -p icmp' scripts/accept.lua
      stop last
      count after]]
    assert.equal(3, count(output, "rule: "), output)
    local rule = "\nrule: %-A OUTPUT [^\n]* %-%-queue%-num 0"
    assert.matches("first" .. rule .. "\n.*kept" .. rule .. "\n.*second" .. rule .. "\n", output)
    -- While it is kept, packets wait; when nobody has the socket any more they do not pass.
    assert.equal(1, count(output, "ping 0\n"), output)
    assert.equal(1, count(output, "ping 1\n"), output)
    assert.matches("after 0\n", output)
  end)

  it("that a run has left goes by --remove-rules, those of a name alone, and none that is in use", function()
    local output = run [[
      keep() { FDSTORE=1 NOTIFY_SOCKET=@none "$PROGRAM" "$@" scripts/accept.lua 2> "$DIR/kept.err" & }
      # One ends and leaves its rule, as for a restart; one is killed; one runs.
      keep -q 3 --name 'kept\x2d' --rule 'OUTPUT -p icmp' && kept=$!
      wait_for grep -q "in place" "$DIR/kept.err"
      QUEUE=4 ruled killed -q 4 --rule 'OUTPUT -p tcp' scripts/accept.lua
      QUEUE=5 ruled running -q 5 --name running --rule 'OUTPUT -p udp' scripts/accept.lua
      kill -TERM $kept
      kill -KILL $pid_killed
      wait $kept
      wait_for unread 4
      count left
      "$PROGRAM" --remove-rules --name nobody
      count nobody
      "$PROGRAM" --remove-rules --name running
      count running
      "$PROGRAM" --remove-rules --name 'kept\x2d'
      echo "exit $?"
      count kept
      "$PROGRAM" --remove-rules
      count all
      "$PROGRAM" --remove-rules scripts/accept.lua
      echo "exit $?"
      stop running
      count after]]
    assert.matches("left 6\n.*nobody 6\n.*running 6\n.*exit 0\nkept 4\n.*all 2\n.*exit 64\n.*after 0\n", output)
  end)
end)

netns.describe("--print-rules nft", function()
  it("is a file that nft takes, for every chain that iptables has, and takes twice", function()
    local output = run [[
      for rule in "PREROUTING raw" "OUTPUT raw" "PREROUTING mangle" "INPUT mangle" "FORWARD mangle" "OUTPUT mangle" \
        "POSTROUTING mangle" "PREROUTING nat" "INPUT nat" "OUTPUT nat" "POSTROUTING nat" "INPUT filter" \
        "FORWARD filter" "OUTPUT filter" "INPUT security" "FORWARD security" "OUTPUT security"; do
        set -- "$@" --rule "-t ${rule#* } ${rule% *} -p tcp"
      done
      # One at a time: there may be 16 of them.
      while [ $# -gt 0 ]; do
        "$PROGRAM" "$1" "$2" --print-rules nft || fail "$2"
        shift 2
      done > "$DIR/printed"
      # Not every kernel has nft's queue; all that is before it they have.
      sed 's/ queue .*/ accept/' "$DIR/printed" > "$DIR/rules"
      nft -f "$DIR/rules" && nft -f "$DIR/rules" && nft list ruleset | grep -c accept$
      nft list ruleset]]
    assert.matches("^68\n", output)
    assert.matches("table ip nat {\n\tchain PREROUTING {\n\t\ttype nat hook prerouting priority dstnat; ", output)
    assert.matches("table ip6 mangle {.*\tchain OUTPUT {\n\t\ttype route hook output priority mangle; ", output)
  end)
end)

netns.describe("a wrong --rule", function()
  local wrong = {
    { "OUTPUT --nonsense", 64, "unknown option \"%-%-nonsense\" %(iptables, status 2%); see iptables%(8%)" },
    { "OUTPUT --dport 80", 64, "unknown option \"%-%-dport\"" },
    { "OUTPUT -m nosuch", 64, "Couldn't load match `nosuch'" },
    { "NOSUCH -p icmp", 69, "No chain/target/match by that name[^\n]*the matches and NFQUEUE must be there" },
    { "-t nosuch OUTPUT", 69, "" },
    { "OUTPUT -p tcp -m set --match-set nosuch src", 64, "Set nosuch doesn't exist" },
  }
  for _, case in ipairs(wrong) do
    it("is iptables' to tell: " .. case[1], function()
      local output = run(([[
        "$PROGRAM" --rule 'INPUT -p icmp' --rule '%s' scripts/accept.lua
        echo "exit $?"
        count left
        ! queue_is_bound 0 && echo free]]):format(case[1]))
      assert.matches("error: %-%-rule '[^\n]*" .. case[3], output)
      assert.equal(1, count(output, "error: "))
      assert.matches(("exit %d\nleft 0\nfree\n$"):format(case[2]), output)
    end)
  end

  it("for IPv6 alone says how to have it for IPv4", function()
    local output = run [[
      iptables -N mine
      "$PROGRAM" --rule 'mine -p icmp' scripts/accept.lua
      echo "exit $?"
      count left
      ruled fine --rule 'mine -4 -p icmp' scripts/accept.lua
      count fine
      stop fine]]
    assert.matches("%(ip6tables, status 1%); see ip6tables%(8%), or say %-4 in the rule", output)
    assert.matches("exit 69\nleft 0\nfine 1\n", output)
  end)
end)

netns.describe("iptables", function()
  -- instead NAME: standard input is a script in the place of that form of iptables, which is $REAL. until_go waits for
  -- the file of that name, ten seconds at most: nothing is left where the spec ends before.
  local instead = [[
    export DIR
    mkdir -p "$DIR/bin"
    instead() {
      { echo '#!/bin/sh'; echo "REAL=$(command -v $1)"; cat <<'FUNCTION'; cat; } > "$DIR/bin/$1"
until_go() { touch "$DIR/called"; for _ in $(seq 1000); do [ -e "$DIR/go" ] && return; sleep 0.01; done; }
FUNCTION
      chmod +x "$DIR/bin/$1"
    }
  ]]

  it("is waited for by nobody else: a worker that dies meanwhile has a successor", function()
    local output = run(instead .. [[
      instead ip6tables <<'END'
until_go
exec "$REAL" "$@"
END
      PATH="$DIR/bin:$PATH" run accept --rule 'OUTPUT -p icmp' scripts/accept.lua
      wait_for test -e "$DIR/called"
      kill -KILL $(worker accept)
      wait_for grep -q 'a new worker' "$DIR/accept.err"
      ping -c1 -W $REPLY -q 127.0.0.1 > /dev/null && echo passed
      in_place accept || echo waiting
      # TERM waits, and is not forgotten.
      kill -TERM $pid_accept
      touch "$DIR/go"
      wait $pid_accept
      echo "exit $?"
      count after]])
    assert.equal("passed\nwaiting\nexit 0\nafter 0\n", output)
  end)

  it("ends the program when it is given up meanwhile, and its rules with it", function()
    local output = run(instead .. [[
      instead ip6tables <<'END'
[ "$5" = -A ] && until_go
exec "$REAL" "$@"
END
      PATH="$DIR/bin:$PATH" run once --rule 'OUTPUT -p icmp' --max-restarts 0 --on-give-up exit scripts/accept.lua
      wait_for test -e "$DIR/called"
      kill -KILL $(worker once)
      wait_for grep -q '1 worker died' "$DIR/once.err"
      count meanwhile
      touch "$DIR/go"
      wait $pid_once
      echo "exit $?"
      count after]])
    assert.equal("meanwhile 1\nexit 70\nafter 0\n", output)
  end)

  it("that was killed may have done it: the rule is taken away all the same", function()
    local output = run(instead .. [[
      instead iptables <<'END'
"$REAL" "$@"
[ "$5" = -A ] && kill -KILL $$
exit 0
END
      echo 'exit 4' | instead iptables-legacy
      echo 'exit 4' | instead iptables-nft
      PATH="$DIR/bin:$PATH" "$PROGRAM" --rule 'OUTPUT -p icmp' scripts/accept.lua
      echo "exit $?"
      count after]])
    assert.matches("iptables, status 137", output)
    assert.matches("exit 69\nafter 0\n", output)
  end)

  it("has a lock file that it must be able to open", function()
    local output = run(instead .. [[
      for i in iptables ip6tables; do ln -s "$(command -v $i-legacy)" "$DIR/bin/$i"; done
      echo 'exit 3' | instead iptables-nft
      PATH="$DIR/bin:$PATH" XTABLES_LOCKFILE=/proc/none "$PROGRAM" --rule 'OUTPUT -p icmp' scripts/accept.lua
      echo "exit $?"]])
    assert.matches("lock file /proc/none: [^\n]*; iptables must be able to write that file, [^\n]*ReadWritePaths=",
      output)
    assert.matches("exit 69\n", output)
  end)

  it("is spared IPv6 where the system has none, and a rule for IPv6 alone is refused", function()
    if netns.lacks "mounts" then return pending(netns.lacks "mounts") end
    local output = run [[
      cat > "$DIR/without.sh" <<'END'
mount -t tmpfs none /proc/$$/net
exec "$PROGRAM" "$@"
END
      export PROGRAM
      unshare -m sh "$DIR/without.sh" --rule 'INPUT -p icmp' scripts/accept.lua 2> "$DIR/fine.err" & pid=$!
      wait_for in_place fine
      cat "$DIR/fine.err"
      count fine
      kill -TERM $pid
      wait $pid
      unshare -m sh "$DIR/without.sh" --rule 'INPUT -p icmp' --rule 'INPUT -p icmpv6' scripts/accept.lua
      echo "exit $?"
      count after]]
    assert.matches("is in place %(iptables%)\nfine 1\n", output)
    assert.matches("%-%-rule 'INPUT %-p icmpv6': it is for IPv6 alone, which this system has not; leave it out\n",
      output)
    assert.matches("exit 69\nafter 0\n", output)
  end)

  it("is found where root alone looks for it", function()
    local output = run [[
      PATH=/usr/bin:/bin ruled accept --rule 'OUTPUT -p icmp' scripts/accept.lua
      count before
      kill $pid_accept
      wait $pid_accept
      count after]]
    assert.equal("before 2\nafter 0\n", output)
  end)

  it("is not ended by a terminal's INT, which reaches all processes", function()
    local output = run [[
      mkdir "$DIR/bin"
      printf '#!/bin/sh\necho "$5" >> "%s"\nsleep 0.3\nexec %s "$@"\n' "$DIR/called" "$(command -v iptables)" \
        > "$DIR/bin/iptables"
      chmod +x "$DIR/bin/iptables"
      PATH="$DIR/bin:$PATH" setsid env --default-signal=INT "$PROGRAM" --rule 'OUTPUT -4' scripts/accept.lua \
        2> "$DIR/accept.err" &
      pid_accept=$!
      wait_for in_place accept
      count before
      kill -INT $pid_accept
      wait_for grep -q -e -D "$DIR/called"
      kill -INT -$pid_accept
      wait $pid_accept
      count after
      grep error: "$DIR/accept.err"
      cat "$DIR/called"]]
    assert.equal("before 1\nafter 0\n-A\n-D\n", output)
  end)

  it("is taken in its other form where the preferred one cannot do it", function()
    local output = run [[
      mkdir "$DIR/bin"
      { echo '#!/bin/sh'; echo 'echo "iptables: Could not fetch rule set: Invalid argument" >&2; exit 4'; } \
        > "$DIR/bin/iptables"
      chmod +x "$DIR/bin/iptables"
      PATH="$DIR/bin:$PATH"
      ruled accept --rule 'OUTPUT -p icmp' scripts/accept.lua
      iptables-legacy-save | grep ipq-lua
      stop accept
      count after]]
    assert.matches("^%-A OUTPUT %-p icmp ", output)
    assert.matches("is in place %(iptables%-legacy, ip6tables%-legacy%)\n", output)
    assert.matches("after 0\n", output)
  end)

  it("is waited for while another program changes rules", function()
    local output = run [[
      mkdir "$DIR/bin"
      for i in iptables ip6tables; do ln -s "$(command -v $i-legacy)" "$DIR/bin/$i"; done
      PATH="$DIR/bin:$PATH"
      flock "$XTABLES_LOCKFILE" sh -c 'touch "$0"; sleep 1' "$DIR/locked" & lock=$!
      wait_for test -e "$DIR/locked"
      ruled accept --rule 'OUTPUT -p icmp' scripts/accept.lua
      gone $lock && echo waited
      stop accept
      count after]]
    assert.matches("^waited\nexit 0\n", output)
    assert.matches("after 0\n", output)
  end)

  it("is not waited for without end", function()
    local output = run [[
      mkdir "$DIR/bin"
      { echo '#!/bin/sh'
        echo 'echo "Another app is currently holding the xtables lock. Stopped waiting after 10s." >&2; exit 4'
      } > "$DIR/bin/iptables"
      chmod +x "$DIR/bin/iptables"
      PATH="$DIR/bin:$PATH" "$PROGRAM" --rule 'OUTPUT -p icmp' scripts/accept.lua
      echo "exit $?"
      count left]]
    assert.matches("xtables lock. Stopped waiting after 10s. %(iptables, status 4%); another program changes rules and "
      .. "does not end: find it by \"fuser /run/xtables.lock\"\n", output)
    assert.matches("exit 69\nleft 0\n", output)
  end)

  it("is asked for where it is not there", function()
    if netns.lacks "mounts" then return pending(netns.lacks "mounts") end
    local output = run [[
      mkdir "$DIR/empty"
      cat > "$DIR/without.sh" <<'END'
mount --bind "$DIR/empty" /usr/sbin
[ -L /sbin ] || mount --bind "$DIR/empty" /sbin
"$PROGRAM" --rule 'OUTPUT -p icmp' scripts/accept.lua
echo "exit $?"
END
      export DIR PROGRAM
      unshare -m sh "$DIR/without.sh"]]
    assert.matches("error: %-%-rule 'OUTPUT %-p icmp': iptables is not there; apt%-get install iptables\n", output)
    assert.matches("exit 69\n", output)
  end)

  it("says who may", function()
    local output = run [[
      mkdir -m 755 "$DIR/open"
      install -m 755 "$PROGRAM" "$DIR/open/ipq-lua"
      cp -r scripts "$DIR/open/"
      chmod 711 "$DIR"
      cd "$DIR/open"
      # cap_net_admin+ep, which iptables does not get from it.
      python3 -c "import os, struct
os.setxattr('ipq-lua', 'security.capability', struct.pack('<5I', 0x02000001, 1 << 12, 0, 0, 0))"
      setpriv --reuid 65534 --regid 65534 --clear-groups ./ipq-lua --rule 'OUTPUT -p icmp' scripts/accept.lua
      echo "exit $?"
      count left]]
    assert.matches("Permission denied[^\n]*; run it as root\n", output)
    assert.matches("exit 77\nleft 0\n", output)
  end)
end)

netns.describe("a rule of another program that runs", function()
  it("is left alone by one that puts its own in place", function()
    local output = netns.run [[
      ruled() { wait_for grep -qs 'is in place' "$DIR/$1.err"; }
      run a --rule 'OUTPUT -p udp --dport 9' scripts/accept.lua
      ruled a
      QUEUE=1 run b -q 1 --rule 'OUTPUT -p udp --dport 10' scripts/accept.lua
      ruled b
      kill -TERM $pid_b
      wait $pid_b
      iptables -S OUTPUT | grep -o 'dport [0-9]*'
      stop a]]
    assert.matches("^dport 9\nexit 0\n", output)
  end)
end)
