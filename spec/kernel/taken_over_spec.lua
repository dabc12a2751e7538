-- What a worker can do to others that a packet has taken over: by ffi, as code of a stranger's in it would.
local netns = require "spec.support.netns"

-- Lua for a filter: descriptors by what they stand for, and messages on the queue's socket.
local TOOLS = [==[
local ffi = require "ffi"
ffi.cdef [[
  long readlink(const char *, char *, size_t);
  long read(int, void *, size_t);
  long write(int, const void *, size_t);
  long send(int, const void *, size_t, int);
  int fcntl(int, int, ...);
  int open(const char *, int, ...);
  int socket(int, int, int);
  int flock(int, int);
  int fork(void);
  unsigned int alarm(unsigned int);
  int getsockopt(int, int, int, void *, int *);
  int setsockopt(int, int, int, const void *, unsigned int);
  void *signal(int, void *);
]]
local C = ffi.C
local function link(fd)
  local text = ffi.new "char[256]"
  local len = C.readlink("/proc/self/fd/" .. fd, text, 256)
  return len > 0 and ffi.string(text, len) or nil
end
local function queue_socket()
  local value, size = ffi.new "int[1]", ffi.new("int[1]", 4)
  for fd = 3, 100 do
    -- SO_PROTOCOL, NETLINK_NETFILTER; the other netlink socket is NETLINK_USERSOCK.
    if C.getsockopt(fd, 1, 38, value, size) == 0 and value[0] == 12 then return fd end
  end
end
--- Sends a message of configuration (linux/netfilter/nfnetlink_queue.h).
local function config(num, attributes, flags)
  local message = ffi.string(ffi.new("uint32_t[1]", 20 + #attributes), 4) .. "\2\3" .. (flags or "\1\0")
    .. ("\0"):rep(8) .. "\0\0" .. string.char(math.floor(num / 256), num % 256) .. attributes
  C.send(queue_socket(), message, #message, 0)
end
local is_first = not io.open(arg[0] .. ".seen")
local function seen() io.open(arg[0] .. ".seen", "a"):close() end
]==]

local shell = [[
  export ASAN_OPTIONS=detect_leaks=0:handle_segv=0
  send() { bash -c "for i in \$(seq $2); do echo > /dev/udp/127.0.0.1/$1; done"; }
  gone() { ! kill -0 "$1" 2> /dev/null; }
  rule -A OUTPUT -p udp --dport 9 -j NFQUEUE --queue-num 0
]]

local function run(script)
  return netns.run(shell .. script:gsub("@tools\n", function() return TOOLS end))
end

netns.describe("a worker that was taken over", function()
  it("has no descriptor of its supervisor's", function()
    local output = run [[
      filter filter --watch <<'END'
@tools
return function()
  for fd = 3, 100 do
    local what = link(fd)
    if what and what ~= "/dev/null" then print((what:gsub("%d+", "N"):gsub("/tmp/.*", "a file"))) end
  end
end
END
      send 9 1
      wait_for judged 1
      stop filter > /dev/null
      sort "$DIR/filter.out" | uniq -c | awk '{ $1 = $1; print }']]
    -- News, orders, and a pipe for each of both streams; the queue's socket, and the one for interfaces' names.
    assert.equal("4 pipe:[N]\n2 socket:[N]\n", output)
  end)

  it("has no signal sent by a terminal's key", function()
    local output = run [[
      filter filter <<'END'
@tools
return function()
  local F_SETFL, O_ASYNC, O_NONBLOCK = 4, ffi.cast("int", 0x2000), ffi.cast("int", 0x800)
  local fd = C.open("/dev/null", 0)
  print("asynchronous", C.fcntl(fd, F_SETFL, O_ASYNC), "waits for nobody", C.fcntl(fd, F_SETFL, O_NONBLOCK))
end
END
      send 9 1
      wait_for judged 1
      stop filter]]
    assert.matches("asynchronous\t%-1\twaits for nobody\t0\n", output)
  end)

  it("opens no socket, takes no lock, and has no more descriptors than it was given", function()
    local output = run [[
      ulimit -Sn 200
      filter filter --user nobody <<'END'
@tools
return function()
  -- AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_USERSOCK; LOCK_SH.
  print("socket", C.socket(16, 0x80003, 2), "lock", C.flock(0, 1))
  local files, file = {}, nil
  repeat
    file = io.open("/dev/null")
    files[#files + 1] = file
  until not file or #files > 300
  print("files", #files < 200)
end
END
      send 9 1
      wait_for judged 1
      stop filter]]
    assert.matches("socket\t%-1\tlock\t%-1\nfiles\ttrue\n", output)
  end)

  it("does not keep the program from ending by not listening", function()
    local output = run [[
      filter filter --user nobody --time-limit 0.2 <<'END'
@tools
return function() for _, number in ipairs { 1, 10, 12, 15, 24 } do C.signal(number, ffi.cast("void *", 1)) end end
END
      send 9 1
      wait_for judged 1
      stop filter]]
    assert.matches("filter.lua has not ended for %d+%.%d s; its worker is ended %(%-%-time%-limit%)\n", output)
  end)

  it("binds no other queue for long, and judges none of its packets", function()
    local output = run [[
      rule -A OUTPUT -p udp --dport 10 -j NFQUEUE --queue-num 5 --queue-bypass
      rule -A INPUT -p udp --dport 10
      came() { iptables-legacy -nvxL INPUT | awk '/dpt:10/ && $1 >= 1 { found = 1 } END { exit !found }'; }
      filter filter --user nobody <<'END'
@tools
return function(pkt)
  print("judged", pkt.dport)
  if pkt.dport ~= 9 then return end
  config(5, "\8\0\1\0\1\0\0\0")
  config(5, "\9\0\2\0\0\0\255\255\2\0\0\0")
end
END
      send 9 1
      wait_for judged 1
      send 10 1
      wait_for logged filter "has bound queue 5 to its socket; that was undone"
      one_comes() { send 10 1; came; }
      wait_for one_comes
      stop filter]]
    assert.matches("exit 0\njudged\t9\nipq%-lua:", output)
  end)

  it("sets no flag of its queue back for its successor, nor for those behind an upgrade", function()
    local output = run [[
      filter filter <<'END'
@tools
return function(pkt)
  print("uid", pkt.uid)
  -- NFQA_CFG_MASK and NFQA_CFG_FLAGS: no users any more.
  config(0, "\8\0\4\0\0\0\0\8\8\0\5\0\0\0\0\0")
end
END
      kill -USR2 $pid_filter
      wait_for logged filter "takes over"
      wait_for logged filter "waiting for packets" 2
      send 9 1
      wait_for judged 1
      before=$(worker filter)
      kill -KILL $before
      wait_for logged filter "goes on"
      send 9 1
      wait_for judged 2
      stop filter]]
    assert.matches("exit 0\nuid\t0\nuid\t0\n", output)
  end)

  it("swallows nothing of what its supervisor says", function()
    local output = run [[
      filter filter --user nobody <<'END'
@tools
return function(pkt)
  if pkt.packet_id > 1 then return end
  for fd = 3, 100 do
    -- A frame's beginning, of 4,088 bytes that never come.
    if (link(fd) or ""):find "^pipe" then C.write(fd, "\248\15\2\3\1\0\0\0", 8) end
  end
  ffi.cast("int *", 8)[0] = 1
end
END
      send 9 1
      wait_for logged filter "was killed by signal 11"
      wait_for logged filter "goes on"
      stop filter]]
    assert.matches("queue 0: 1 packets, 0 accepted, 1 dropped", output)
  end)

  it("has others' lines lost by nothing that it does to the streams", function()
    local output = run [[
      mkfifo "$DIR/said"
      python3 -c '
import os, time
lines = 0
while True:
    text = os.read(0, 65536)
    if not text: break
    lines += text.count(b"\n")
    print("lines", lines, flush=True)
    time.sleep(0.05)' < "$DIR/said" > "$DIR/read" & reader=$!
      cat > "$DIR/filter.lua" <<'END'
@tools
return function(pkt)
  -- O_WRONLY, O_NONBLOCK
  if pkt.packet_id == 1 then C.fcntl(1, 4, ffi.cast("int", 0x801)) end
  for i = 1, 1000 do print(i, ("x"):rep(100)) end
end
END
      "$PROGRAM" "$DIR/filter.lua" > "$DIR/said" 2> "$DIR/filter.err" & pid=$!
      wait_for queue_is_bound 0
      send 9 5
      wait_for judged 5
      wait_for grep -q "lines 5000" "$DIR/read"
      kill -TERM $pid
      wait $pid
      wait $reader
      cat "$DIR/filter.err"]]
    assert.is_nil(output:find("lost, as", 1, true))
  end)
end)

netns.describe("a worker without a sandbox that was taken over, and has left a process", function()
  it("has the end wait for no queue that never is empty", function()
    local output = run [[
      filter filter --no-sandbox --user nobody <<'END'
@tools
return function(pkt)
  C.signal(15, nil)
  if C.fork() ~= 0 then return end
  C.signal(14, nil)
  C.alarm(60)
  -- Answered each time (NLM_F_ACK).
  while true do config(0, "", "\5\0") end
end
END
      send 9 1
      wait_for judged 1
      child=$(pgrep -f "$DIR/filter.lua" | tail -n 1)
      kill -TERM $pid_filter
      wait $pid_filter
      echo "exit $?"
      queue_is_bound 0 || echo "unbound"
      kill -KILL $child]]
    assert.matches("exit %d+\nunbound\n", output)
  end)

  it("keeps no queue that the program has left", function()
    local output = run [[
      filter filter --no-sandbox --user nobody <<'END'
@tools
return function(pkt)
  if C.fork() ~= 0 then return end
  C.signal(14, nil)
  C.signal(15, nil)
  C.alarm(60)
  while true do C.read(-1, nil, 0) end
end
END
      send 9 1
      wait_for judged 1
      child=$(pgrep -f "$DIR/filter.lua" | tail -n 1)
      kill -TERM $pid_filter
      wait $pid_filter
      echo "exit $?"
      queue_is_bound 0 || echo "unbound"
      kill -KILL $child]]
    assert.matches("exit 0\nunbound\n", output)
  end)

  it("leaves its successor no socket that takes nothing", function()
    for _, act in ipairs {
      -- SO_ATTACH_FILTER: one instruction, "take 0 bytes"; SO_RCVBUF; connect() to nobody.
      [[local code = ffi.new("uint64_t[1]", 6)
        local program = ffi.new("struct { uint16_t len; void *code; }", 1, code)
        C.setsockopt(queue_socket(), 1, 26, program, ffi.sizeof(program))]],
      [[C.setsockopt(queue_socket(), 1, 8, ffi.new("int[1]", 1), 4)]],
      [[ffi.cdef "int connect(int, const void *, unsigned int);"
        C.connect(queue_socket(), ffi.new("uint16_t[6]", { 16, 0, 4711, 0, 0, 0 }), 12)]],
    } do
      local output = run(([[
        rule -A INPUT -p udp --dport 9
        filter filter --no-sandbox --user nobody --on-error accept <<'END'
@tools
return function(pkt)
  if pkt.packet_id > 1 then return end
  %s
  ffi.cast("int *", 8)[0] = 1
end
END
        send 9 1
        wait_for logged filter "goes on"
        send 9 100
        wait_for arrived 100
        stop filter]]):format(act))
      assert.matches("exit 0\n", output)
    end
  end)
end)
