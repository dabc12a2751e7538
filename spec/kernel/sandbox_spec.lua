local netns = require "spec.support.netns"

-- Shell functions for what follows.
local prologue = [[
  rule -A OUTPUT -p udp --dport 9 -j QUEUE
  send() { bash -c 'echo > /dev/udp/127.0.0.1/9'; wait_for 5 judged "$1"; }
  status() { grep -E '^(Uid|Gid|Groups|Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp):' "/proc/$(worker "$1")/status"; }
]]

local function run(script) return netns.run(prologue .. script) end

-- What stands behind a name in a process's status.
local function told(output, name) return output:match("\n?" .. name .. ":[ \t]*([^\n]-)[ \t]*\n") end

local NET_ADMIN, NONE = "0000000000001000", "0000000000000000"

local function assert_net_admin_alone(output)
  for name, expected in pairs { Inh = NONE, Prm = NET_ADMIN, Eff = NET_ADMIN, Bnd = NONE, Amb = NONE } do
    assert.equal(expected, told(output, "Cap" .. name), name)
  end
end

netns.describe("a worker", function()
  it("has CAP_NET_ADMIN alone, and gains nothing by programs", function()
    local output = run [[
      run accept scripts/accept.lua
      status accept
      send 1
      stop accept]]
    assert_net_admin_alone(output)
    assert.equal("1", told(output, "NoNewPrivs"))
    assert.equal("0\t0\t0\t0", told(output, "Uid"))
    assert.matches("judged by scripts/accept.lua\n", output)
    assert.matches("1 packets, 1 accepted", output)
  end)

  it("has no more where it judges without a script", function()
    local output = run [[
      filter ending --user nobody --max-restarts 0 <<'END'
return function() os.exit(3) end
END
      bash -c 'echo > /dev/udp/127.0.0.1/9'
      wait_for 5 grep -q "from here on every packet" "$DIR/ending.err"
      confined() { status ending | grep -q 'CapEff:.*0001000'; }
      wait_for 5 confined
      status ending
      send 2
      stop ending]]
    assert_net_admin_alone(output)
    assert.not_equal("0", told(output, "Uid"):match "%d+")
    assert.matches("2 packets, 0 accepted, 2 dropped", output)
  end)

  it("has no more when it takes a dead one's place", function()
    local output = run [[
      run accept --user nobody scripts/accept.lua
      kill -KILL $(worker accept)
      wait_for 5 grep -q "a new worker" "$DIR/accept.err"
      status accept
      send 1
      stop accept]]
    assert_net_admin_alone(output)
    assert.matches("1 packets, 1 accepted", output)
  end)

  it("works in a user namespace of one's own", function()
    local output = run [[
      mkdir -m 777 "$DIR/open"
      install -m 755 "$PROGRAM" "$DIR/open/ipq-lua"
      cp scripts/accept.lua "$DIR/open/"
      chmod 711 "$DIR"
      cd "$DIR/open"
      setpriv --reuid 65534 --regid 65534 --clear-groups unshare -Urn sh -c '
        export XTABLES_LOCKFILE=$PWD/lock
        ip link set lo up
        iptables-legacy -A OUTPUT -p icmp --icmp-type echo-request -j QUEUE
        ./ipq-lua accept.lua 2> told & pid=$!
        until grep -q waiting told; do sleep 0.01; done
        grep -E "^(Cap|NoNew|Seccomp:)" /proc/$(cut -d" " -f1 /proc/$pid/task/$pid/children)/status
        ping -c 2 -i 0.01 127.0.0.1
        kill $pid; wait; cat told']]
    assert_net_admin_alone(output)
    assert.matches("2 packets, 2 accepted", output)
    assert.matches("2 received", output)
  end)
end)

netns.describe("--user", function()
  it("has workers be that user in its groups, with CAP_NET_ADMIN", function()
    local output = run [[
      run accept --user nobody scripts/accept.lua
      status accept
      echo "is $(id -u nobody) $(id -g nobody) $(id -G nobody)"
      send 1
      stop accept]]
    local uid, gid, groups = output:match "is (%d+) (%d+) ([%d ]+)\n"
    assert.equal((uid .. "\t"):rep(4), told(output, "Uid") .. "\t")
    assert.equal((gid .. "\t"):rep(4), told(output, "Gid") .. "\t")
    assert.equal(groups, told(output, "Groups"))
    assert_net_admin_alone(output)
    assert.matches("judged by scripts/accept.lua, as nobody\n", output)
    assert.matches("1 packets, 1 accepted", output)
  end)

  it("takes numbers that have no name, and a group", function()
    local output = run [[
      run accept --user 4242:4343 scripts/accept.lua
      status accept
      stop accept]]
    assert.equal(("4242\t"):rep(4), told(output, "Uid") .. "\t")
    assert.equal(("4343\t"):rep(4), told(output, "Gid") .. "\t")
    assert.equal("", told(output, "Groups"))
  end)

  it("leaves a script what it has opened before its first packet, and nothing else of root's", function()
    local output = run [[
      (umask 077; echo "a list" > "$DIR/list")
      filter files --user nobody <<'END'
local path = os.getenv "DIR" .. "/list"
local lines = assert(io.open(path))
return { filter = function()
  print("read", lines:read())
  print("open", io.open(path))
end, start = function() assert(io.open(path)):close() end }
END
      send 1
      stop files]]
    assert.matches("read\ta list\n", output)
    assert.matches("open\tnil\t[^\n]*list: Permission denied\t13\n", output)
  end)

  it("ends with its supervisor", function()
    local output = run [[
      run accept --user nobody scripts/accept.lua
      worker=$(worker accept)
      kill -KILL $pid_accept
      gone() { ! kill -0 "$1" 2> /dev/null; }
      wait_for 5 gone $worker
      echo gone]]
    assert.matches("gone\n", output)
  end)

  it("exits 77 where it may not be, and gives the queue back", function()
    local output = run [[
      mkdir -m 755 "$DIR/open"
      install -m 755 "$PROGRAM" "$DIR/open/ipq-lua"
      cp scripts/accept.lua "$DIR/open/"
      chmod 711 "$DIR"
      cd "$DIR/open"
      setpriv --reuid 65534 --regid 65534 --clear-groups unshare -Urn ./ipq-lua --user games accept.lua
      echo "exit $?"]]
    assert.matches("error: queue 0: cannot become games: Operation not permitted\nexit 77\n", output)
  end)
end)
