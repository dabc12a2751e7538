-- What a worker writes over the memory that it shares with its supervisor costs its own packets, and nothing else.
local netns = require "spec.support.netns"

-- Shared memory without a name is the batch's alone.
local script = [[
local ffi = require "ffi"
local function overwrite(bytes)
  for line in io.lines "/proc/self/maps" do
    local first = line:match "^(%%x+)%%-%%x+ rw%%-s .*/dev/zero"
    if first then ffi.fill(ffi.cast("void *", tonumber(first, 16)), bytes, 0x41) end
  end
  io.open(arg[0] .. ".seen", "w"):close()
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
  return netns.run(([[
    export ASAN_OPTIONS=detect_leaks=0:handle_segv=0
    send() { bash -c "for i in \$(seq 10); do echo > /dev/udp/127.0.0.1/$1; done"; }
    came() { iptables-legacy -nvxL INPUT | awk '/dpt:10/ && $1 == 10 { found = 1 } END { exit !found }'; }
    rule -A OUTPUT -p udp --dport 9:10 -j NFQUEUE --queue-num 0
    rule -A INPUT -p udp --dport 10 -j ACCEPT
    filter filter --time-limit 0.4 --metrics "$DIR/metrics" <<'END'
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
    local output = netns.run [[
      export ASAN_OPTIONS=detect_leaks=0
      rule -A OUTPUT -p udp --dport 9 -j NFQUEUE --queue-num 0
      filter filter <<'END'
require "ipq.engine.abi"
local ffi = require "ffi"
return { filter = function() end, stop = function()
  for line in io.lines "/proc/self/maps" do
    local first = line:match "^(%x+)%-%x+ rw%-s .*/dev/zero"
    if first then
      local batch = ffi.cast("struct ipq_batch *", tonumber(first, 16))
      print("it was " .. batch.capacity)
      batch.capacity = 200000
    end
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

netns.describe("a packet of which a script writes what cannot be sent", function()
  it("gets the error verdict alone, and its worker goes on", function()
    local output = netns.run [[
      export ASAN_OPTIONS=detect_leaks=0
      rule -A OUTPUT -p udp --dport 9 -j NFQUEUE --queue-num 0
      rule -A INPUT -p udp --dport 9 -m mark --mark 7 -j DROP
      rule -A INPUT -p udp --dport 9 -j ACCEPT
      filter filter --time-limit 0.4 --on-error accept <<'END'
require "ipq.engine.abi"
local ffi = require "ffi"
local E, batch = ffi.C, nil
for line in io.lines "/proc/self/maps" do
  local first = line:match "^(%x+)%-%x+ rw%-s .*/dev/zero"
  if first then batch = ffi.cast("struct ipq_batch *", tonumber(first, 16)) end
end
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
