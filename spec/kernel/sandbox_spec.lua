local feature = require "spec.support.feature"
local netns = require "spec.support.netns"

-- Shell functions for what follows.
local prologue = [[
  rule -A OUTPUT -p udp --dport 9 -j QUEUE
  send() { bash -c 'echo > /dev/udp/127.0.0.1/9'; wait_for judged "$1"; }
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

-- What nobody may call who judges packets, and what makes each of them do nothing where it may be called.
local calls = {
  "execve", "execveat", "clone", "clone3", "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_open",
  "pidfd_send_signal", "kill", "tkill", "tgkill", "rt_sigqueueinfo", "mount", "umount2", "fsopen", "open_tree",
  "move_mount", "pivot_root", "chroot", "unshare", "setns", "kexec_load", "init_module", "finit_module",
  "delete_module", "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "keyctl", "add_key", "request_key",
  "reboot", "swapon", "swapoff", "acct", "syslog", "sethostname", "settimeofday", "clock_settime", "setuid", "setgid",
  "setreuid", "setregid", "setresuid", "setresgid", "setgroups", "capset", "seccomp", "socket", "socketpair",
  "connect", "bind", "listen", "accept4", "setsockopt", "memfd_create", "chmod", "fchmod", "chown", "link", "symlink",
  "mknod", "open_by_handle_at", "prctl", "ioctl", "fcntl", "prlimit64", "timer_create", "personality",
}

-- A filter that makes each of them with arguments of -1, and prints those that are not permitted.
local calling = [[
  { echo '#include <sys/syscall.h>'; for call in ]] .. table.concat(calls, " ") .. [[; do
    echo "$call SYS_$call"; done; } | cc -E -P - | grep -E '^[a-z0-9_]+ [0-9]+$' > "$DIR/numbers"
  cat > "$DIR/calling.lua" <<'END'
local ffi, bit = require "ffi", require "bit"
ffi.cdef "long syscall(long number, ...); int fork(void); int kill(int, int); int getpid(void); int getppid(void);"
local none, list = ffi.cast("long", -1), {}
for line in io.lines(arg[1]) do list[#list + 1] = { line:match "^(%S+) (%d+)$" } end
return function()
  local refused = {}
  for _, call in ipairs(list) do
    local result = ffi.C.syscall(tonumber(call[2]), none, none, none, none, none, none)
    if result == -1 and ffi.errno() == 1 then refused[#refused + 1] = call[1] end
  end
  print("made " .. #list)
  print("refused " .. #refused .. ": " .. table.concat(refused, " "))
  if arg[2] then print("fork", ffi.C.fork(), ffi.errno(), "parent", ffi.C.kill(ffi.C.getppid(), 0), "self",
    ffi.C.kill(ffi.C.getpid(), 0)) end
end
END
]]

netns.describe("a worker", function()
  it("has CAP_NET_ADMIN alone, gains nothing by programs, and is filtered", function()
    local output = run [[
      run accept scripts/accept.lua
      status accept
      send 1
      stop accept]]
    assert_net_admin_alone(output)
    assert.equal("1", told(output, "NoNewPrivs"))
    assert.equal("2", told(output, "Seccomp"))
    assert.equal("0\t0\t0\t0", told(output, "Uid"))
    assert.matches("judged by scripts/accept.lua, sandboxed\n", output)
    assert.matches("1 packets, 1 accepted", output)
  end)

  it("may not make the system calls that would lead out of it", function()
    local output = run(calling .. [[
      run calling "$DIR/calling.lua" "$DIR/numbers" fork
      send 1
      send 2
      stop calling]])
    local made, refused, names = output:match "made (%d+)\nrefused (%d+): ([^\n]*)"
    assert.equal(made, refused, names)
    assert.is_true(tonumber(made) > 60)
    assert.matches("fork\t%-1\t1\tparent\t%-1\tself\t0\n", output)
    assert.matches("2 packets, 2 accepted, 0 dropped, 0 other verdicts, 0 errors", output)
  end)

  it("may not set interfaces up, type into a terminal or have signals sent", function()
    local output = run [[
      filter set <<'END'
local ffi = require "ffi"
ffi.cdef "int ioctl(int, unsigned long, ...); int fcntl(int, int, ...);"
local buffer = ffi.new "char[64]"
local function try(name, number, call, request)
  print(name, call(number, request, buffer), ffi.errno())
end
return function()
  try("SIOCSIFFLAGS", 0, ffi.C.ioctl, 0x8914)
  try("TIOCSTI", 0, ffi.C.ioctl, 0x5412)
  try("F_SETOWN", 0, ffi.C.fcntl, 8)
end
END
      send 1
      stop set]]
    for _, name in ipairs { "SIOCSIFFLAGS", "TIOCSTI", "F_SETOWN" } do
      assert.matches(name .. "\t%-1\t1\n", output)
    end
  end)

  it("is told by os.execute() and io.popen() what stops them, and goes on", function()
    local output = run [[
      filter shell <<'END'
local seen = 0
return function(pkt)
  seen = seen + 1
  print("shell", os.execute())
  print("popen", io.popen "echo hello")
  if seen == 1 then os.execute "echo hello" end
  require "ipq".log.info "second"
end
END
      send 1
      send 2
      stop shell]]
    assert.matches("shell\t0\n", output)
    assert.matches("popen\tnil\techo hello: not permitted in the sandbox, see %-%-no%-sandbox\t1\n", output)
    assert.matches("shell.lua:6: os.execute: not permitted in the sandbox, see %-%-no%-sandbox\n", output)
    assert.matches("second\n", output)
    assert.matches("2 packets, 1 accepted, 1 dropped, 0 other verdicts, 1 errors", output)
  end)

  it("may do before its first packet what it may not do then", function()
    local output = run [[
      mkdir "$DIR/out"
      filter early --writable "$DIR/out" <<'END'
local log
return { filter = function() log:write "judged\n" end, start = function()
  log = assert(io.open(os.getenv "DIR" .. "/log", "w"))
  log:setvbuf "no"
  print("popen", io.popen "echo hello":read())
end, stop = function()
  assert(io.open(os.getenv "DIR" .. "/out/end", "a")):write "ended\n"
end }
END
      send 1
      stop early
      cat "$DIR/log" "$DIR/out/end"]]
    assert.matches("popen\thello\n", output)
    assert.matches("judged\nended\n$", output)
  end)

  it("has no thread outside of it", function()
    -- The thread waits for a lock that nobody gives back. It is not Lua's memory, which goes while the thread is there.
    local threads = [==[
local ffi = require "ffi"
ffi.cdef [=[
int pthread_create(unsigned long *, void *, void *(*)(void *), void *);
int pthread_mutex_lock(void *);
void *mmap(void *, size_t, int, int, int, long);
]=]
local pthread, lock = ffi.load "pthread.so.0", ffi.C.mmap(nil, 128, 3, 0x22, -1, 0)
return { filter = print, start = function()
  pthread.pthread_mutex_lock(lock)
  assert(pthread.pthread_create(ffi.new "unsigned long[1]", nil,
    ffi.cast("void *(*)(void *)", pthread.pthread_mutex_lock), lock) == 0)
end }
END
]==]
    local output = run("export DIR; cat > $DIR/threads.lua <<'END'\n" .. threads .. [[
      "$PROGRAM" "$DIR/threads.lua"
      echo "exit $?"
      "$PROGRAM" --user nobody "$DIR/threads.lua"
      echo "exit $?"
      run threads --no-sandbox --user nobody "$DIR/threads.lua"
      grep -hE '^CapPrm:' /proc/$(worker threads)/task/*/status
      stop threads]])
    local refused = "ipq-lua: error: queue 0: cannot enter the sandbox: the script has started threads; "
      .. "see --no-sandbox\nexit 71\n"
    assert.equal(refused:rep(2), output:sub(1, 2 * #refused))
    assert.equal(2, select(2, output:gsub("CapPrm:\t000000000000[01]000\n", "")), output)
  end)

  it("is in it with a script that is reloaded, behind its start(), and sees interfaces' names", function()
    local output = run [[
      filter changing <<'END'
return { filter = function(pkt) print("first", pkt.outdev_name) end, save = function() return 1 end }
END
      send 1
      cat > "$DIR/changing.lua" <<'END'
print("load", pcall(os.execute, "true"))
return {
  start = function() print("start", pcall(os.execute, "true")) end,
  restore = function() print("restore", pcall(os.execute, "true")) end,
  filter = function(pkt) print("second", pkt.outdev_name, pcall(os.execute, "true")) end,
}
END
      kill -HUP $pid_changing
      wait_for grep -q "was reloaded" "$DIR/changing.err"
      send 2
      stop changing]]
    assert.matches("first\tlo\n", output)
    assert.matches("load\ttrue\t0\nstart\ttrue\t0\n", output)
    assert.matches("restore\tfalse\t[^\n]*os.execute: not permitted in the sandbox, see %-%-no%-sandbox\n", output)
    assert.matches("second\tlo\tfalse\t[^\n]*os.execute: not permitted in the sandbox, see %-%-no%-sandbox\n", output)
  end)

  it("is in it where it judges without a script", function()
    local output = run [[
      filter ending --user nobody --max-restarts 0 <<'END'
return function() os.exit(3) end
END
      bash -c 'echo > /dev/udp/127.0.0.1/9'
      wait_for grep -q "from here on every packet" "$DIR/ending.err"
      confined() { status ending | grep -q 'Seccomp:.*2'; }
      wait_for confined
      status ending
      send 2
      stop ending]]
    assert_net_admin_alone(output)
    assert.not_equal("0", told(output, "Uid"):match "%d+")
    assert.matches("2 packets, 0 accepted, 2 dropped", output)
  end)

  it("is in it when it takes a dead one's place", function()
    local output = run [[
      run accept --user nobody scripts/accept.lua
      kill -KILL $(worker accept)
      wait_for grep -q "a new worker" "$DIR/accept.err"
      status accept
      send 1
      stop accept]]
    assert_net_admin_alone(output)
    assert.equal("2", told(output, "Seccomp"))
    assert.matches("1 packets, 1 accepted", output)
  end)

  it("works in a user namespace of one's own", function()
    if netns.lacks "user namespaces" then return pending(netns.lacks "user namespaces") end
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
        grep -E "^(Cap|NoNew|Seccomp:)" /proc/$(pgrep -P $pid -x ipq-lua)/status
        ping -W $REPLY -c 2 -l 2 -i 0.01 127.0.0.1
        kill $pid; wait; cat told']]
    assert_net_admin_alone(output)
    assert.equal("2", told(output, "Seccomp"))
    assert.matches("2 packets, 2 accepted", output)
    assert.matches("2 received", output)
  end)
end)

feature.describe("a worker", { "Landlock" }, function()
  it("writes nothing but what is open, and below --writable", function()
    local output = run [[
      mkdir -m 777 "$DIR/out"
      chmod 711 "$DIR"
      cat > "$DIR/write.lua" <<'END'
local dir = os.getenv "DIR"
local log = assert(io.open(dir .. "/log", "a"))
local function try(what, ok, why) log:write(what, ": ", ok and "done" or why:match "[^/]*$", "\n") end
return function()
  try("write", io.open(dir .. "/write.lua", "r+"))
  try("new", io.open(dir .. "/new", "a"))
  try("cron", io.open("/etc/cron.d/ipq", "a"))
  try("forward", io.open("/proc/sys/net/ipv4/ip_forward", "r+"))
  try("memory", io.open("/proc/self/mem", "r+"))
  try("remove", os.remove(dir .. "/log"))
  try("rename", os.rename(dir .. "/log", dir .. "/out/log"))
  try("out", io.open(dir .. "/out/new", "a"))
  try("removed", os.remove(dir .. "/out/new"))
  try("null", io.open("/dev/null", "r+"))
  try("read", io.open("/etc/passwd"))
  log:write("input: ", tostring(io.read()), "\n")
  log:flush()
end
END
      for user in root nobody; do
        : > "$DIR/log"
        run write --user $user --writable "$DIR/out" "$DIR/write.lua" < /etc/passwd
        send 1
        stop write > "$DIR/told"
        cat "$DIR/log"
      done]]
    local refused = "Permission denied, see --writable\n"
    assert.equal((("write: write.lua: %s" .. "new: new: %s" .. "cron: ipq: %s"
      .. "forward: ip_forward: %s" .. "memory: mem: %s" .. "remove: log: %s" .. "rename: log: %s"):gsub("%%s", refused)
      .. "out: done\nremoved: done\nnull: done\nread: done\ninput: nil\n"):rep(2), output)
  end)

  it("says which folder of --writable cannot be", function()
    local output = run [[
      "$PROGRAM" --writable "$DIR/none" scripts/accept.lua
      echo "exit $?"]]
    assert.matches("cannot have %-%-writable [^\n]*/none: No such file or directory\nexit 71\n", output)
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
    assert.equal("2", told(output, "Seccomp"))
    assert.matches("judged by scripts/accept.lua, sandboxed as nobody\n", output)
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
      wait_for gone $worker
      echo gone]]
    assert.matches("gone\n", output)
  end)

  it("exits 77 where it may not be, and gives the queue back", function()
    if netns.lacks "user namespaces" then return pending(netns.lacks "user namespaces") end
    local output = run [[
      mkdir -m 755 "$DIR/open"
      install -m 755 "$PROGRAM" "$DIR/open/ipq-lua"
      cp scripts/accept.lua "$DIR/open/"
      chmod 711 "$DIR"
      cd "$DIR/open"
      setpriv --reuid 65534 --regid 65534 --clear-groups unshare -Urn ./ipq-lua --user games accept.lua
      echo "exit $?"]]
    assert.matches("error: queue 0: cannot become games: not permitted; it needs root, or CAP_SETUID and CAP_SETGID\n"
      .. "exit 77\n", output)
  end)
end)

netns.describe("--no-sandbox", function()
  it("lets a script start programs, as who started it", function()
    local output = run [[
      grep CapEff /proc/self/status | sed 's/^/own/'
      filter shell --time-limit 0 --no-sandbox <<'END'
return function()
  os.execute "echo hello"
  print(io.popen "echo again":read())
end
END
      status shell
      send 1
      stop shell]]
    assert.matches("hello\n", output)
    assert.matches("again\n", output)
    assert.equal(told(output, "ownCapEff"), output:match "\nCapEff:%s*(%x+)")
    assert.equal("1", told(output, "NoNewPrivs"))
    assert.equal("0", told(output, "Seccomp"))
    assert.matches("judged by [^\n,]*shell.lua\n", output)
  end)

  it("leaves --user in force", function()
    local output = run [[
      filter shell --no-sandbox --user nobody <<'END'
return function() os.execute "grep -E '^Cap(Prm|Eff)' /proc/self/status | sed s/^/child/; id -un" end
END
      status shell
      send 1
      stop shell]]
    assert_net_admin_alone(output)
    assert.matches("childCapPrm:%s*0+\nchildCapEff:%s*0+\nnobody\n", output)
    assert.equal("0", told(output, "Seccomp"))
    assert.matches("shell.lua, as nobody\n", output)
  end)

  it("refuses none of what the sandbox refuses", function()
    local output = run(calling .. [[
      run calling --no-sandbox "$DIR/calling.lua" "$DIR/numbers"
      send 1
      stop calling]])
    -- The system may have turned it off for all.
    assert.matches("refused [01]: ?[io_uring_setup]*\n", output)
  end)
end)
