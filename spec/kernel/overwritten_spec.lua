-- What a worker writes over the memory that it shares with its supervisor costs its own packets, and nothing else.
local netns = require "spec.support.netns"

-- Lua for a filter: batches(), an iterator over the addresses of the batches that its process has. Shared memory
-- without a name is theirs, and 64 MB that are for what is saved.
local BATCHES = [[
local function batches()
  return coroutine.wrap(function()
    for line in io.lines "/proc/self/maps" do
      local first, last = line:match "^(%x+)%-(%x+) rw%-s .*/dev/zero"
      if first and tonumber(last, 16) - tonumber(first, 16) ~= 0x4000000 then coroutine.yield(tonumber(first, 16)) end
    end
  end)
end
]]

local function live(script)
  return netns.run((script:gsub("@batches\n", function() return BATCHES end)))
end

local script = [[
local ffi = require "ffi"
@batches
local function overwrite(bytes)
  for at in batches() do ffi.fill(ffi.cast("void *", at), bytes, 0x41) end
  io.open(arg[0] .. ".seen", "a"):close()
end
local is_first = not io.open(arg[0] .. ".seen")
return function(pkt)
  if is_first and pkt.packet_id == 5 then
    overwrite(%d)
    %s
  end
end
]]

local function run(bytes, rest)
  return live(([[
    export ASAN_OPTIONS=detect_leaks=0:handle_segv=0
    send() { bash -c "for i in \$(seq 10); do echo > /dev/udp/127.0.0.1/$1; done"; }
    came() { iptables-legacy -nvxL INPUT | awk '/dpt:10/ && $1 == 10 { found = 1 } END { exit !found }'; }
    rule -A OUTPUT -p udp --dport 9:10 -j NFQUEUE --queue-num 0
    rule -A INPUT -p udp --dport 10 -j ACCEPT
    filter filter --writable "$DIR" --time-limit 0.4 --metrics "$DIR/metrics" <<'END'
%s
END
    send 9
    wait_for test -e "$DIR/filter.lua.seen"
    kill -USR1 $pid_filter
    "$PROGRAM" --top $pid_filter > "$DIR/top" && echo shown
    wait_for logged filter "goes on"
    send 10
    wait_for came
    stop filter]]):format(script:format(bytes, rest)))
end

netns.describe("a worker that writes over", function()
  -- The batch's own fields; those, the packets, the held ids, the figures, and the kernel's messages.
  for what, bytes in pairs { ["its batch"] = 256, ["all that describes packets"] = 200000 } do
    it(what .. " and never returns is ended, and followed", function()
      local output = run(bytes, "local n = 0 while true do n = n + 1 end")
      assert.matches("^shown\nexit 0\n", output)
      assert.matches("no progress for 400 ms[^\n]*; its worker is ended", output)
      assert.matches("a new worker, process %d+, goes on", output)
    end)

    it(what .. " and dies is followed", function()
      local output = run(bytes, "ffi.cast('int *', 8)[0] = 1")
      assert.matches("^shown\nexit 0\n", output)
      assert.matches("was killed by signal 11", output)
      assert.matches("a new worker, process %d+, goes on", output)
    end)
  end
end)

netns.describe("a worker that writes over the size of its batch", function()
  -- With it the memory that is given back would reach to the libraries behind the batch.
  it("as its last act leaves its supervisor to end as it should", function()
    local output = live [[
      export ASAN_OPTIONS=detect_leaks=0
      rule -A OUTPUT -p udp --dport 9 -j NFQUEUE --queue-num 0
      filter filter --writable "$DIR" <<'END'
local ffi = require "ffi"
@batches
return { filter = function() end, stop = function()
  for at in batches() do
    local batch = ffi.cast("struct ipq_batch *", at)
    print("it was " .. batch.capacity)
    batch.capacity = 200000
  end
end }
END
      bash -c 'echo > /dev/udp/127.0.0.1/9'
      wait_for judged 1
      stop filter]]
    assert.matches("^exit 0\nit was 64\n", output)
    assert.matches("queue 0: 1 packets, 1 accepted, 0 dropped, 0 other verdicts, 0 errors, 0 lost unseen\n", output)
  end)
end)

netns.describe("a worker that has written over its batch", function()
  it("takes no other queue's worker with it", function()
    local output = live [[
      rule -A OUTPUT -p udp --dport 9 -j NFQUEUE --queue-num 0
      rule -A OUTPUT -p udp --dport 10 -j NFQUEUE --queue-num 1
      rule -A INPUT -p udp --dport 10
      filter filter --no-sandbox -q 0:1 <<'END'
local ffi = require "ffi"
@batches
return function(pkt)
  if pkt.queue_num == 1 then return end
  for at in batches() do
    -- All but where its packets are, so that it lives on.
    ffi.fill(ffi.cast("char *", at) + 12, 4, 0x41)
    ffi.fill(ffi.cast("char *", at) + 36, 4, 0x41)
  end
  io.open(arg[0] .. ".seen", "a"):close()
end
END
      echo > /dev/udp/127.0.0.1/9 || bash -c 'echo > /dev/udp/127.0.0.1/9'
      wait_for test -e "$DIR/filter.lua.seen"
      for i in 1 2 3; do
        kill -KILL $(workers filter | tail -n 1)
        wait_for logged filter 'goes on' $i
      done
      bash -c 'for i in 1 2 3; do echo > /dev/udp/127.0.0.1/10; done'
      came() { iptables-legacy -nvxL INPUT | awk '/dpt:10/ && $1 == 3 { found = 1 } END { exit !found }'; }
      wait_for came
      kill $pid_filter
      wait $pid_filter
      echo "exit $?"]]
    assert.matches("exit 0\n$", output)
  end)

  it("has packets that nobody knows of accepted by nobody", function()
    -- Eleven are in hand when it wipes all that tells of them; those that come later are accepted, with greater ids.
    local output = live [[
      export DIR ASAN_OPTIONS=detect_leaks=0:handle_segv=0
      rule -A OUTPUT -p udp --dport 9:10 -j NFQUEUE --queue-num 0
      rule -A INPUT -p udp --dport 9
      rule -A INPUT -p udp --dport 10
      send() { bash -c "for i in \$(seq $2); do echo > /dev/udp/127.0.0.1/$1; done"; }
      came() { iptables-legacy -nvxL INPUT | awk -v n="$1" '/dpt:10/ && $1 == n { found = 1 } END { exit !found }'; }
      # All but the first are in its second batch.
      filter filter --writable "$DIR" --time-limit 0 <<'END'
local ffi = require "ffi"
@batches
local is_first = not io.open(arg[0] .. ".seen")
return function(pkt)
  if not is_first then return end
  if pkt.packet_id == 1 then
    io.open(os.getenv "DIR" .. "/first", "a"):close()
    repeat until io.open(os.getenv "DIR" .. "/go")
    return
  end
  if pkt.packet_id == 2 then return end
  for at in batches() do ffi.fill(ffi.cast("char *", at) + 8, 400000, 0) end
  io.open(arg[0] .. ".seen", "a"):close()
  ffi.cast("int *", 8)[0] = 1
end
END
      send 9 1
      wait_for test -e "$DIR/first"
      send 9 11
      wait_for waiting 12
      touch "$DIR/go"
      wait_for logged filter "goes on"
      for i in 1 2 3 4 5; do send 10 20; done
      wait_for came 100
      iptables-legacy -nvxL INPUT | awk '/dpt:9/ { print "arrived", $1 }'
      stop filter]]
    -- The first, whose verdict was sent.
    assert.matches("^arrived 1\n", output)
    assert.matches("goes on", output)
  end)

  it("may have left a process that writes on: the supervisor lives", function()
    local output = live [[
      export ASAN_OPTIONS=detect_leaks=0:handle_segv=0
      rule -A OUTPUT -p udp --dport 9 -j NFQUEUE --queue-num 0
      rule -A INPUT -p udp --dport 9
      filter filter --no-sandbox --max-restarts 1000 <<'END'
local ffi = require "ffi"
ffi.cdef "int fork(void); unsigned int alarm(unsigned int); void *signal(int, void *);"
@batches
local regions = {}
for at in batches() do regions[#regions + 1] = ffi.cast("uint32_t *", at) end
return function(pkt)
  if pkt.packet_id % 5 ~= 0 then return end
  if ffi.C.fork() == 0 then
    ffi.C.signal(14, nil) -- SIGALRM ends it, which the worker catches.
    ffi.C.alarm(1)
    -- Counts and sizes that are too large, and small ones, by turns, over all but the slots' pages.
    while true do
      for value = 0, 0x7fffffff, 0x1fffffff do
        for _, region in ipairs(regions) do for at = 0, 20000 do region[at] = value + at % 64 end end
      end
    end
  end
  ffi.cast("int *", 8)[0] = 1
end
END
      for i in $(seq 10); do
        bash -c 'for i in 1 2 3 4 5; do echo > /dev/udp/127.0.0.1/9; done'
        wait_for logged filter 'goes on' $i
      done
      kill $pid_filter
      wait $pid_filter
      echo "exit $?"]]
    -- A worker that still meets such a process when it is asked to stop may fail; the supervisor may not.
    assert.is_true(tonumber(output:match "exit (%d+)\n$") < 128, output)
  end)
end)

netns.describe("what a worker did to its queue", function()
  -- Sends a configuration message (linux/netfilter/nfnetlink_queue.h) on its queue's socket, or sets the descriptor.
  local queue = [==[
      rule -A OUTPUT -p udp --dport 9 -j NFQUEUE --queue-num 0
      rule -A INPUT -p udp --dport 9
      filter filter --writable "$DIR" <<'END'
local ffi = require "ffi"
ffi.cdef [=[
  long send(int, const void *, size_t, int);
  int fcntl(int, int, ...);
  int getsockopt(int, int, int, void *, int *);
]=]
-- The socket of NETLINK_NETFILTER (12).
local socket
local value, size = ffi.new "int[1]", ffi.new("int[1]", 4)
for fd = 3, 100 do
  if ffi.C.getsockopt(fd, 1, 38, value, size) == 0 and value[0] == 12 then socket = fd end
end
--- Family 0, queue 0; attributes as text.
local function config(attributes)
  local message = ffi.string(ffi.new("uint32_t[1]", 20 + #attributes), 4) .. "\2\3\1\0" .. ("\0"):rep(8)
    .. "\0\0\0\0" .. attributes
  ffi.C.send(socket, message, #message, 0)
end
local is_first = not io.open(arg[0] .. ".seen")
return function(pkt)
  if is_first and pkt.packet_id == 1 then
    is_first = false
    io.open(arg[0] .. ".seen", "a"):close()
    %s
  end
end
END
      send() { bash -c "for i in \$(seq $1); do echo > /dev/udp/127.0.0.1/9; done"; }
      send 1
      wait_for test -e "$DIR/filter.lua.seen"
  ]==]

  local function spoiled(act)
    return netns.run(queue:format(act) .. [[
      settings() { awk '$1 == 0 { print $4, $5 }' /proc/net/netfilter/nfnetlink_queue; }
      as_before() { [ "$(settings)" = "2 65531" ]; }
      wait_for as_before
      wait_for grep -q 'undone\|goes on' "$DIR/filter.err"
      send 5
      wait_for arrived 5
      grep -o 'its worker.*' "$DIR/filter.err" | sed 's/process [0-9]*/process N/'
      kill $pid_filter
      wait $pid_filter
      echo "exit $?"]])
  end

  it("is undone where it has unbound it", function()
    local output = spoiled [[config "\8\0\1\0\2\0\0\0"]]
    assert.matches("its worker, process N, has unbound it; that was undone\n", output)
  end)

  it("is undone where it has changed what is copied", function()
    local output = spoiled [[config "\9\0\2\0\0\0\0\0\1\0\0\0"]]
    assert.matches("its worker, process N, has changed its settings; that was undone\n", output)
  end)

  it("is undone where its socket does not wait any more", function()
    local output = spoiled [[ffi.C.fcntl(socket, 4, ffi.cast("int", 2048))]]
    assert.matches("its worker, process N, has changed its settings; that was undone\n", output)
  end)

  it("is undone where it has made it so short that nothing comes, which nobody can see", function()
    local output = netns.run(queue:format [[config "\8\0\3\0\0\0\0\0"]] .. [[
      one_arrives() { send 1; arrived 2; }
      turned_away 1 || { send 3; wait_for turned_away 1; }
      wait_for one_arrives
      kill $pid_filter
      wait $pid_filter
      echo "exit $?"]])
    assert.matches("exit 0\n", output)
  end)

  it("is undone for its successor", function()
    local output = spoiled [[config "\8\0\1\0\2\0\0\0" ffi.cast("int *", 8)[0] = 1]]
    assert.matches("exit 0\n", output)
    assert.is_nil(output:find("undone", 1, true))
  end)
end)

netns.describe("a packet of which a script writes what cannot be sent", function()
  it("gets the error verdict alone, and its worker goes on", function()
    local output = live [[
      export ASAN_OPTIONS=detect_leaks=0
      rule -A OUTPUT -p udp --dport 9 -j NFQUEUE --queue-num 0
      rule -A INPUT -p udp --dport 9 -m mark --mark 7 -j DROP
      rule -A INPUT -p udp --dport 9 -j ACCEPT
      filter filter --time-limit 0.4 --on-error accept <<'END'
local ffi = require "ffi"
@batches
local E, batch = ffi.C, nil
for at in batches() do batch = ffi.cast("struct ipq_batch *", at) end
return function(pkt)
  local packet = batch.packets[batch.current]
  if pkt.packet_id ~= 2 then return end
  packet.set, packet.mark, packet.data_len = E.IPQ_SET_PAYLOAD + E.IPQ_SET_MARK, 7, E.IPQ_PAYLOAD_MAX + 1
end
END
      bash -c 'for i in 1 2 3; do echo > /dev/udp/127.0.0.1/9; done'
      wait_for judged 3
      stop filter
      iptables-legacy -nvxL INPUT | awk '/dpt:9/ { print "arrived", $1 }']]
    assert.matches("queue 0: 3 packets, 3 accepted, 0 dropped, 0 other verdicts, 1 errors, 0 lost unseen\n", output)
    assert.matches("arrived 0\narrived 3\n", output)
  end)
end)
