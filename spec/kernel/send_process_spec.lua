-- The process that sends: its sockets, its rights, and what happens to it.
local netns = require "spec.support.netns"

-- refused: a TCP connection to port 7 is refused at once, as the filter has it. raw_sockets NAME: how many NAME has.
local prologue = [[
  rule -A OUTPUT -p tcp --dport 7 -j NFQUEUE --queue-num 0
  rule -A INPUT -p udp --dport 9 -j ACCEPT
  attempt() { echo "trial tcp 127.0.0.1 7" | python3 spec/support/ask.py "${1:-60}"; }
  refused() { attempt | grep -q ECONNREFUSED || fail "not refused"; echo "refused $1"; }
  raw_sockets() {
    for fd in /proc/$(worker "$1")/fd/*; do readlink "$fd"; done | sed -n 's/socket:\[\(.*\)\]/\1/p' > "$DIR/inodes"
    echo "$1 has $(cat /proc/net/raw /proc/net/raw6 | grep -cwFf "$DIR/inodes") raw sockets"
  }
  cat > "$DIR/rejects.lua" <<'FILTER'
local ipq = require "ipq"
return { send = true, filter = function() return ipq.REJECT end }
FILTER
  cat > "$DIR/drops.lua" <<'FILTER'
local ipq = require "ipq"
return function() return ipq.DROP end
FILTER
]]

local function run(script) return netns.run(prologue .. script) end

netns.describe("A program of one's own", function()
  it("rejects by default, after an error, and what is held in the end", function()
    local output = run [[
      cat > "$DIR/own.lua" <<'END'
local ipq = require "ipq"
local queue = assert(ipq.open { send = true, default = ipq.REJECT, on_error = ipq.REJECT })
local n = 0
print(queue:run(function(pkt)
  n = n + 1
  if n == 2 then error "no" end
  if n == 3 then
    pkt:hold()
    queue:stop()
  end
end))
END
      export LUA_PATH='bindings/?.lua;bindings/?/init.lua;;' LUA_CPATH="$IPQ_BUILD/?.so;;"
      runtime=
      [ "${IPQ_BUILD%sanitize}" = "$IPQ_BUILD" ] || runtime=$(cc -print-file-name=libasan.so)
      LD_PRELOAD=$runtime luajit "$DIR/own.lua" > "$DIR/own.out" 2> "$DIR/own.err" &
      own=$!
      wait_for queue_is_bound 0
      for what in default error held; do refused $what; done
      wait $own
      cat "$DIR/own.out" "$DIR/own.err"]]
    assert.matches("refused default\nrefused error\nrefused held\ntrue\n", output)
    assert.matches("own.lua:6: no\n.*Its verdict: reject\n", output)
  end)
end)

netns.describe("A worker", function()
  it("has no raw socket, unless its script sends", function()
    local output = run [[
      run drops "$DIR/drops.lua"
      raw_sockets drops
      stop drops > /dev/null
      run rejects "$DIR/rejects.lua"
      raw_sockets rejects
      stop rejects > /dev/null]]
    assert.matches("drops has 0 raw sockets\n", output)
    assert.matches("rejects has 3 raw sockets\n", output)
  end)

  it("sends in the sandbox, and as another user", function()
    local output = run [[
      chmod 755 "$DIR"
      for user in root nobody; do
        run rejects --user $user "$DIR/rejects.lua"
        refused $user
        sed -n 's/^Cap\(Eff\|Bnd\):.*\(................\)$/\1 \2/p; s/^Uid:[ \t]*\([0-9]*\).*/uid \1/p' \
          /proc/$(worker rejects)/status
        stop rejects
      done]]
    assert.matches("refused root\nuid 0\nEff 0000000000001000\nBnd 0000000000000000\n", output)
    assert.matches("refused nobody\nuid 65534\nEff 0000000000001000\nBnd 0000000000000000\n", output)
  end)

  it("may connect no socket but those that it asks for MTUs by", function()
    local output = run [[
      filter connects <<'FILTER'
local ffi, ipq = require "ffi", require "ipq"
ffi.cdef "int socket(int, int, int); int connect(int, const void *, unsigned);"
local own
return { send = true, start = function() own = ffi.C.socket(2, 2, 0) end, filter = function()
  local refused, allowed = 0, 0
  for fd = 0, 63 do
    if ffi.C.connect(fd, "\2\0\0\9\127\0\0\1\0\0\0\0\0\0\0\0", 16) == -1 and ffi.errno() == 1 then
      refused = refused + 1
    else
      allowed = allowed + 1
    end
    if fd == own then print("own", refused + allowed == fd + 1, ffi.errno()) end
  end
  print("allowed " .. allowed)
  return ipq.REJECT
end }
FILTER
      refused yes
      stop connects]]
    assert.matches("own\ttrue\t1\n", output)
    assert.matches("allowed 2\n", output)
  end)
end)

netns.describe("A script that sends", function()
  it("does not start where --no-send or the lack of CAP_NET_RAW forbids it", function()
    local output = run [[
      "$PROGRAM" --no-send "$DIR/rejects.lua"
      echo "with --no-send $?"
      setpriv --bounding-set -net_raw --inh-caps -net_raw "$PROGRAM" "$DIR/rejects.lua"
      echo "without the capability $?"]]
    assert.matches("/rejects.lua: it sends packets %(send = true%), and %-%-no%-send forbids that\n", output)
    assert.matches("with %-%-no%-send 77\n", output)
    assert.matches("/rejects.lua: it sends packets %(send = true%), and raw sockets are not permitted; that needs "
      .. "root, or CAP_NET_RAW\n", output)
    assert.matches("without the capability 77\n", output)
  end)

  it("is not loaded by a reload where --no-send forbids it; the old one goes on", function()
    local output = run [[
      cp "$DIR/drops.lua" "$DIR/which.lua"
      run which --no-send "$DIR/which.lua"
      cp "$DIR/rejects.lua" "$DIR/which.lua"
      kill -HUP $pid_which
      wait_for logged which "--no-send forbids that"
      attempt 1
      stop which]]
    assert.matches("trial EINPROGRESS", output)
    assert.matches("exit 0\n", output)
  end)

  it("sends on after reloads to and from one that does not, kills and upgrades", function()
    local output = run [[
      cp "$DIR/rejects.lua" "$DIR/which.lua"
      run which "$DIR/which.lua"
      refused first
      cp "$DIR/drops.lua" "$DIR/which.lua"
      kill -HUP $pid_which
      wait_for reloaded which 1
      raw_sockets which
      cp "$DIR/rejects.lua" "$DIR/which.lua"
      kill -HUP $pid_which
      wait_for reloaded which 2
      raw_sockets which
      refused reloaded
      kill -KILL $(worker which)
      wait_for logged which 'a new worker'
      raw_sockets which
      refused restarted
      kill -USR2 $pid_which
      wait_for logged which 'waiting for packets' 2
      raw_sockets which
      refused upgraded
      stop which]]
    assert.matches("refused first\nwhich has 0 raw sockets\nwhich has 3 raw sockets\nrefused reloaded\n"
      .. "which has 3 raw sockets\nrefused restarted\nwhich has 3 raw sockets\nrefused upgraded\nexit 0\n", output)
  end)

  it("sends from start(), from timers and from stop()", function()
    local output = run [[
      filter sends <<'FILTER'
local ipq = require "ipq"
-- From 127.0.0.1 to itself, port 9.
local datagram = "\69\0\0\29\0\0\0\0\64\17\0\0\127\0\0\1\127\0\0\1" .. "\0\9\0\9\0\9\0\0" .. "x"
local function send(where) print(where, ipq.send(datagram)) end
return { send = true, filter = function() end,
  start = function()
    send "start"
    ipq.after(0.01, send, "timer")
  end,
  stop = function() send "stop" end }
FILTER
      wait_for arrived 2
      stop sends
      arrived 3 && echo "all three"]]
    assert.matches("start\ttrue\ntimer\ttrue\nstop\ttrue\n", output)
    assert.matches("all three\n", output)
  end)
end)
