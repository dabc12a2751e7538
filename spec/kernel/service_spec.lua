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
print(*(word for word in words if not word.startswith("STATUS=")))
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

netns.describe("the status of a service", function()
  it("tells every few seconds what was judged", function()
    local output = netns.run [[
      rule -A OUTPUT -p udp --dport 9 -j NFQUEUE --queue-num 0
      echo 'return function() error "no" end' > "$DIR/filter.lua"
      cat > "$DIR/manager.py" <<'END'
import os, signal, socket, subprocess
path = os.environ["DIR"] + "/notify"
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.bind(path)
notify.settimeout(60)
p = subprocess.Popen([os.environ["PROGRAM"], os.environ["DIR"] + "/filter.lua"], stderr=subprocess.DEVNULL,
    env=dict(os.environ, NOTIFY_SOCKET=path))
text = ""
while "READY=1" not in text: text = notify.recv(4096).decode()
for _ in range(3): socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9))
while "3 packets" not in text: text = notify.recv(4096).decode()
print(text)
p.terminate()
p.wait()
END
      export DIR PROGRAM
      python3 "$DIR/manager.py"]]
    assert.matches("^STATUS=[^\n]*filter.lua: 3 packets, 3 errors\n$", output)
  end)
end)

netns.describe("sockets of queues that the program serves no more", function()
  it("are given back and closed, and their rules go", function()
    local output = netns.run [==[
      export DIR PROGRAM
      PYTHONPATH=spec/support python3 -B - 2> /dev/null <<'END'
from manager import *
def serve(*queues):
    p = start(*queues, "--name", "same", "--rule", "OUTPUT -p icmp -4", "scripts/accept.lua")
    for fields in told:
        if "FDSTOREREMOVE" in fields: print("gives back", fields["FDNAME"], flush=True)
    subprocess.run("awk '{ print \"bound\", $1 }' /proc/net/netfilter/nfnetlink_queue", shell=True)
    subprocess.run("iptables-save 2> /dev/null | grep -o 'NFQUEUE.*'", shell=True)
    stop(p)
serve("-q", "3:4")
serve("-q", "5")
END
]==]
    assert.matches("^bound 3\nbound 4\n[^\n]*balance 3:4\n", output)
    for _, queue in ipairs { 3, 4 } do
      assert.matches(("gives back queue%%-%d\ngives back flows%%-%d\ngives back streams%%-%d\n")
        :format(queue, queue, queue), output)
    end
    assert.matches("bound 5\n[^\n]*num 5\n$", output)
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
  it("is not taken for the queue's, and the service manager is to forget it", function()
    local output = netns.run [[
      export DIR PROGRAM
      PYTHONPATH=spec/support python3 -B - 2> /dev/null <<'END'
from manager import *
def give_others():
    sockets = [socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) for _ in range(2)]
    for s in sockets: s.bind((0, 0))
    give([s.detach() for s in sockets], ["queue-0", "queue-0"])
p = start("scripts/accept.lua", preexec_fn=give_others)
for fields in told:
    if fields.get("FDNAME") == "queue-0": print(*("=".join(field) for field in fields.items()), flush=True)
subprocess.run("awk '{ print \"bound\", $1 }' /proc/net/netfilter/nfnetlink_queue", shell=True)
print("exit", stop(p))
END
]]
    local forgets = "FDSTOREREMOVE=1 FDNAME=queue-0\n"
    assert.equal(forgets .. forgets .. "FDSTORE=1 FDNAME=queue-0\nbound 0\nexit 0\n", output)
  end)
end)
