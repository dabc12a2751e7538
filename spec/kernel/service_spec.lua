-- What a service manager gives the program with its environment: a watchdog, and sockets.
local netns = require "spec.support.netns"

-- Starts the program with these variables, which may say $$ for its own process, and asks it to end once it has told
-- of itself. Gives what it told the service manager, a word each.
local function told(variables)
  return netns.run(([[
    cat > "$DIR/manager.py" <<'END'
import os, signal, socket, subprocess
path = os.environ["DIR"] + "/notify"
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.bind(path)
notify.settimeout(10)
p = subprocess.Popen(["/bin/sh", "-c", '%s exec "$PROGRAM" scripts/accept.lua 2> "$DIR/err"'],
    env=dict(os.environ, NOTIFY_SOCKET=path))
words = []
while "READY=1" not in words: words += notify.recv(4096).decode().split("\n")
p.send_signal(signal.SIGTERM)
p.wait()
notify.setblocking(False)
try:
    while True: words += notify.recv(4096).decode().split("\n")
except BlockingIOError: pass
print(*words)
END
    export DIR PROGRAM
    python3 "$DIR/manager.py"]]):format(variables))
end

netns.describe("a watchdog", function()
  it("hears of the program that it is for, from its start on", function()
    assert.matches("^READY=1 WATCHDOG=1", told "WATCHDOG_USEC=60000000 WATCHDOG_PID=$$")
    assert.matches("^READY=1 WATCHDOG=1", told "WATCHDOG_USEC=60000000")
  end)

  it("does not hear of one that it is not for", function()
    assert.not_matches("WATCHDOG", told "WATCHDOG_USEC=60000000 WATCHDOG_PID=1")
    assert.not_matches("WATCHDOG", told "WATCHDOG_PID=$$")
  end)
end)

netns.describe("a descriptor that came with the program", function()
  it("is closed where its name is no queue's, and no script sees that there was one", function()
    local output = netns.run [[
      export DIR PROGRAM
      echo passed > "$DIR/passed"
      cat > "$DIR/filter.lua" <<'END'
for _, name in ipairs { "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES" } do print(name, os.getenv(name)) end
return function() end
END
      sh -c 'export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=queue-70000:other
        exec "$PROGRAM" "$DIR/filter.lua" > "$DIR/filter.out" 2> "$DIR/filter.err" 3< "$DIR/passed" 4< "$DIR/passed"' &
      pid_filter=$!
      wait_for grep -qs 'waiting for packets' "$DIR/filter.err"
      for pid in $pid_filter $(worker filter); do ls -l /proc/$pid/fd | grep -c passed; done
      stop filter]]
    assert.matches("^0\n0\nexit 0\nLISTEN_PID\tnil\nLISTEN_FDS\tnil\nLISTEN_FDNAMES\tnil\n", output)
  end)
end)

netns.describe("a queue's socket that came with the program", function()
  it("is used with the program's own options", function()
    local output = netns.run [[
      cat > "$DIR/manager.py" <<'END'
import os, socket, struct
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
s.bind((0, 0))
# NFQNL_MSG_CONFIG for queue 0, NFQNL_CFG_CMD_BIND
s.send(struct.pack("=IHHIIBBHHHBBH", 28, 0x302, 5, 1, 0, 0, 0, 0, 8, 1, 1, 0, 0))
s.recv(4096)
os.dup2(s.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="queue-0")
os.execv(os.environ["PROGRAM"], ["ipq-lua", "--fail-open", "scripts/accept.lua"])
END
      export PROGRAM
      python3 "$DIR/manager.py" > "$DIR/accept.out" 2> "$DIR/accept.err" &
      pid_accept=$!
      wait_for grep -qs 'waiting for packets' "$DIR/accept.err"
      stop accept]]
    assert.matches("queue 0: waiting for packets %(whole packets, GSO, fail%-open%)", output)
    assert.matches("^exit 0\n", output)
  end)
end)

netns.describe("a netfilter socket that came with the program, and has no queue", function()
  it("is not taken for the queue's", function()
    local output = netns.run [[
      cat > "$DIR/manager.py" <<'END'
import os, socket
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
s.bind((0, 0))
os.dup2(s.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="queue-0")
os.execv(os.environ["PROGRAM"], ["ipq-lua", "scripts/accept.lua"])
END
      export PROGRAM
      python3 "$DIR/manager.py" > "$DIR/accept.out" 2> "$DIR/accept.err" &
      pid_accept=$!
      wait_for grep -qs 'waiting for packets' "$DIR/accept.err"
      queue_is_bound 0 && echo bound
      stop accept]]
    assert.matches("^bound\nexit 0\n", output)
  end)
end)
