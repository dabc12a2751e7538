-- A reload is a new process beside the old one: what goes wrong in it costs no packet.
local document = require "spec.support.document"
local lost_nothing = require "spec.support.lossless"
local netns = require "spec.support.netns"

local shell = [[
  export ASAN_OPTIONS=detect_leaks=0:handle_segv=0:allocator_may_return_null=1
  send() { bash -c "for i in \$(seq $1); do echo > /dev/udp/127.0.0.1/9; done"; }
  gone() { ! kill -0 "$1" 2> /dev/null; }
  rule -A OUTPUT -p udp --dport 9 -j NFQUEUE --queue-num 0

  # 5,000 packets a second in the background, until enough; make chaos has 20,000.
  stream() { "$IPQ_BUILD/spec/stream" 9 5000 600 > "$DIR/stream" & stream=$!; wait_for seen 100; }
  enough() { kill -TERM $stream; wait $stream; cat "$DIR/stream"; }
  # reload TEXT [TIMES]: asks for it, and waits until the log says that so often.
  reload() { kill -HUP $pid_filter; wait_for logged filter "$@"; }
]]

-- Packets wait while something takes its time, and none is turned away.
local function run(script)
  return netns.run(shell .. script:gsub("filter filter", "filter filter --queue-maxlen 20000"))
end

-- Ways to go wrong, as Lua.
local RAISE = "error 'no way'"
local LEAVE = "os.exit(0)"
local CRASH = "require 'ffi'.cast('int *', 8)[0] = 1"
local LOOP = "local n = 0 while true do n = n + 1 end"

-- What the log has of a fault: about the script, or of its process.
local told = {
  [RAISE] = "no way",
  [LEAVE] = "ended the process by os.exit(), which a filter must not",
  [CRASH] = "was killed by signal 11",
  [LOOP] = "its worker is ended (--time-limit)",
}
local faults = { RAISE, LEAVE, CRASH, LOOP }

-- README's examples, by name.
local examples = {}
for name, text in document.read "README.md":gmatch "<!%-%- example: (%S+) %-%->\n```lua\n(.-)```" do
  examples[name] = text
end

netns.describe("the manual's script", function()
  it("that writes a log goes on in a new one when that is rotated, by a user who cannot open it", function()
    local output = run(([==[
      rule -A OUTPUT -p icmp -j NFQUEUE --queue-num 0
      cat > "$DIR/filter.lua" <<'END'
%s
END
      chmod 755 "$DIR"
      run filter --user nobody "$DIR/filter.lua" log="$DIR/seen.log"
      ping -c 1 -W $REPLY 127.0.0.1 > /dev/null
      wait_for grep -q 127.0.0.1 "$DIR/seen.log"
      mv "$DIR/seen.log" "$DIR/seen.log.1"
      "$PROGRAM" --ctl=$pid_filter reload
      ping -c 1 -W $REPLY 127.0.0.1 > /dev/null
      ping -c 1 -W $REPLY 127.0.0.2 > /dev/null
      wait_for grep -q 127.0.0.2 "$DIR/seen.log"
      wait_for grep -q reload "$DIR/seen.log.1"
      stop filter > /dev/null
      cat "$DIR/seen.log.1"
      echo
      cat "$DIR/seen.log"]==]):format(examples["seen.lua"]))
    assert.matches("^reloaded\n127.0.0.1\nend: reload\n\n127.0.0.2\nend: exit\n$", output)
  end)

  it("that listens on a port goes on to listen", function()
    local output = run(([==[
      rule -A INPUT -p udp --dport 9
      cat > "$DIR/filter.lua" <<'END'
%s
END
      run filter "$DIR/filter.lua"
      say() { bash -c "printf $1 > /dev/udp/127.0.0.1/9999"; }
      dropped() { "$PROGRAM" --ctl=$pid_filter stats | grep -q "$1 dropped"; }
      one_is_dropped() { send 1; dropped '[1-9][0-9]*'; }
      one_arrives() { send 1; arrived 1; }
      say 9
      wait_for one_is_dropped
      "$PROGRAM" --ctl=$pid_filter reload
      iptables-legacy -Z INPUT
      send 3
      say 10
      wait_for one_arrives
      stop filter]==]):format(examples["listen.lua"]))
    assert.matches("^reloaded\nexit 0\n", output)
  end)
end)

netns.describe("a reload", function()
  it("gives the new script what save() returned, and the packets see no gap between the two", function()
    local output = run [[
      filter filter <<'END'
local n = 0
return {
  filter = function() n = n + 1 end,
  save = function() return { n = n, list = { 1, "two", { x = true } } } end,
  restore = function(saved)
    n = saved.n
    print("restored", saved.n, saved.list[1], saved.list[2], saved.list[3].x)
  end,
  stop = function(reason) print("stop", reason, n) end,
}
END
      w=$(worker filter)
      send 3
      wait_for judged 3
      reload "was reloaded"
      wait_for gone $w
      send 2
      wait_for judged 5
      w=$(worker filter)
      reload "was reloaded" 2
      wait_for gone $w
      stop filter]]
    assert.equal("restored\t3\t1\ttwo\ttrue\nstop\treload\t3\nrestored\t5\t1\ttwo\ttrue\nstop\treload\t5\n"
      .. "stop\texit\t5\n", output:match "exit 0\n(.-)ipq%-lua:")
    assert.matches("queue 0: 5 packets, 5 accepted, 0 dropped, 0 other verdicts, 0 errors, 0 lost unseen\n$", output)
  end)

  it("runs start() with all rights beside the one that judges, which goes on as it was where that fails", function()
    -- Neither a pipe, nor a socket, nor a file of root's is possible in the sandbox.
    local output = run [[
      filter filter --user nobody <<'END'
return {
  start = function()
    local pipe = assert(io.popen "id -u")
    print("user " .. pipe:read "*l")
    pipe:close()
    assert(io.open(arg[0] .. ".log", "a")):close()
  end,
  filter = function() end,
}
END
      stream
      reload "was reloaded"
      reload "was reloaded" 2
      enough
      stop filter]]
    assert.matches("user 0\nuser 0\nuser 0\n", output)
    lost_nothing(output)
  end)

  local loading = {
    { "return {", "filter.lua:2: " },
    { "return 5", "must return a function" },
    { "return { filter = print, start = 5 }", "must be a function, not a number" },
    { "require 'nowhere'", "module 'nowhere' not found" },
    { "return setmetatable({}, { __index = function() error 'mine' end })", "filter.lua:1: mine" },
    { "return { filter = print, start = function() " .. RAISE .. " end }", "start(): " },
    { "return { filter = print, start = function() " .. LEAVE .. " end }", told[LEAVE] },
    { "return { filter = print, start = function() " .. CRASH .. " end }", "(Segmentation fault) in start()" },
    { "return { filter = print, start = function() " .. LOOP .. " end }", "filter.lua has been in start() for" },
    { "return { filter = print, start = function() require 'ffi'.C.malloc(1) end }", "start(): " },
    { RAISE, told[RAISE] }, { LEAVE, told[LEAVE] }, { "os.exit(3)", told[LEAVE] },
    { CRASH, "(Segmentation fault) while it loaded the script" }, { LOOP, "filter.lua has been loading for" },
  }

  it("that fails before it has the queue costs nothing, and is told once", function()
    local script = { [[
      filter filter --time-limit 0.05 < /dev/stdin <<'END'
return function() end
END
      w=$(worker filter)
      stream]] }
    for i, case in ipairs(loading) do
      script[#script + 1] = ("cat > \"$DIR/filter.lua\" <<'END'\n%s\nEND\nreload 'was not reloaded: the one that runs "
        .. "goes on' %d"):format(case[1], i)
    end
    script[#script + 1] = [[
      rm "$DIR/filter.lua"
      reload "cannot read the script"
      wait_for logged filter "was not reloaded" ]] .. #loading + 1 .. [[

      [ "$w" = "$(workers filter)" ] && echo "the same worker"
      enough
      stop filter]]
    local output = run(table.concat(script, "\n"))
    assert.matches("the same worker\n", output)
    lost_nothing(output)
    for _, case in ipairs(loading) do
      assert.truthy(output:find(case[2], 1, true), case[2] .. "\n" .. output)
    end
    local errors = select(2, output:gsub("error: ", ""))
    assert.equal(2 * (#loading + 1), errors, output)
  end)

  it("that takes all memory ends alone", function()
    if netns.program:match "sanitize" then return pending "the sanitizers take memory of their own" end
    local output = run [[
      filter filter --memory-limit 64 <<'END'
return function() end
END
      stream
      w=$(worker filter)
      cat > "$DIR/filter.lua" <<'END'
local kept = {}
for i = 1, 1e9 do kept[i] = ("x"):rep(1e6) .. i end
END
      reload "was not reloaded: the one that runs goes on"
      [ "$w" = "$(workers filter)" ] && echo "the same worker"
      enough
      stop filter]]
    assert.matches("the same worker\n", output)
    lost_nothing(output)
  end)

  for _, fault in ipairs(faults) do
    it("whose restore() does this leaves the queue to the one that had it: " .. fault, function()
      local output = run(([[
        filter filter --time-limit 0.05 <<'END'
return { filter = function() end, save = function() return { 1 } end, stop = print,
  restore = function() %s end }
END
        stream
        w=$(worker filter)
        reload "was not reloaded: the one that runs goes on"
        [ "$w" = "$(workers filter)" ] && echo "the same worker"
        enough
        stop filter]]):format(fault))
      assert.matches("the same worker\n", output)
      assert.truthy(output:find(told[fault], 1, true), output)
      assert.equal(1, select(2, output:gsub("was not reloaded", "")))
      lost_nothing(output)
    end)

    it("in whose old script save() does this goes on without what that had to say: " .. fault, function()
      local output = run(([[
        filter filter --time-limit 0.05 <<'END'
return { filter = function() end, save = function() %s end, restore = function() print "restored" end }
END
        stream
        w=$(worker filter)
        reload "was reloaded"
        wait_for gone $w
        enough
        stop filter]]):format(fault))
      assert.truthy(output:find(told[fault], 1, true), output)
      assert.falsy(output:find("restored\n", 1, true))
      if fault == RAISE then
        assert.matches("queue 0: the new script begins without what save%(%) was to give it\n", output)
      end
      lost_nothing(output)
    end)

    it("in whose old script stop() does this is over already: " .. fault, function()
      local output = run(([[
        filter filter --time-limit 0.05 <<'END'
return { filter = function() end, stop = function(reason) if reason == "reload" then %s end end }
END
        stream
        w=$(worker filter)
        reload "was reloaded"
        wait_for gone $w
        wait_for logged filter '%s'
        enough
        stop filter]]):format(fault, told[fault]))
      lost_nothing(output)
    end)
  end

  for what, value in pairs {
    ["a function"] = "a function cannot be saved; booleans, numbers, strings and tables can",
    ["a table in itself"] = "tables are more than 100 deep in each other, or one contains itself, which cannot be "
      .. "saved",
    ["80 MB"] = "it is larger than the 64 MB that can be saved",
  } do
    it("says that this cannot be saved, and goes on without: " .. what, function()
      local output = run(([[
        filter filter <<'END'
local values = { ["a function"] = { f = print }, ["a table in itself"] = {}, ["80 MB"] = ("x"):rep(80e6) }
values["a table in itself"][1] = values["a table in itself"]
return { filter = print, save = function() return values["%s"] end, restore = print }
END
        reload "was reloaded"
        stop filter]]):format(what))
      assert.truthy(output:find("save(): " .. value, 1, true), output)
      assert.matches("the new script begins without what save%(%) was to give it\n", output)
    end)
  end

  it("follows what the script needs of the queue", function()
    local output = run [[
      filter filter <<'END'
return { queue = { range = 40 }, filter = function(pkt) print("seen", pkt.data_len) end }
END
      send 1
      wait_for judged 1
      sed -i 's/40/25/' "$DIR/filter.lua"
      reload "was reloaded"
      send 1
      wait_for judged 2
      sed -i 's/25/28/' "$DIR/filter.lua"
      reload "was reloaded" 2
      send 1
      wait_for judged 3
      stop filter]]
    assert.matches("seen\t29\nseen\t25\nseen\t28\n", output)
  end)

  it("has packets copied for both scripts while both may get them, and for the old one where it fails", function()
    local output = run [[
      copied() { grep -q "^ *0 .* 2 *$1 " /proc/net/netfilter/nfnetlink_queue; }
      filter filter --time-limit 0 --no-sandbox <<'END'
return { queue = { range = 40 }, filter = function() end }
END
      cat > "$DIR/filter.lua" <<'END'
local path = arg[0]:match "^(.*)/"
return { queue = { range = 30 }, filter = function() end, start = function()
  io.open(path .. "/small", "w"):close()
  repeat local file = io.open(path .. "/go") until file
  error "no way"
end }
END
      kill -HUP $pid_filter
      wait_for test -e "$DIR/small"
      copied 40 && echo "40 for both"
      touch "$DIR/go"
      wait_for logged filter "was not reloaded"
      rm "$DIR/go"
      sed -i 's/range = 30/range = 100/' "$DIR/filter.lua"
      copied 40 && echo "40 before"
      kill -HUP $pid_filter
      wait_for copied 100
      touch "$DIR/go"
      wait_for logged filter "was not reloaded" 2
      wait_for copied 40 && echo "40 again"
      stop filter]]
    assert.matches("^40 for both\n40 before\n40 again\n", output)
  end)

  it("has the kernel take the new one for all memory while it loads, and for no more then", function()
    local output = run [[
      filter filter <<'END'
return function() end
END
      cat > "$DIR/filter.lua" <<'END'
local path = arg[0]:match "^(.*)/"
return { filter = function() end, start = function()
  io.open(path .. "/at", "w"):close()
  repeat local file = io.open(path .. "/go") until file
end }
END
      w=$(worker filter)
      cat /proc/$w/oom_score_adj
      kill -HUP $pid_filter
      wait_for test -e "$DIR/at"
      for v in $(workers filter); do [ $v = $w ] || cat /proc/$v/oom_score_adj; done
      touch "$DIR/go"
      wait_for logged filter "was reloaded"
      wait_for gone $w
      cat /proc/$(worker filter)/oom_score_adj
      stop filter > /dev/null]]
    local before, meanwhile, after = output:match "^(%-?%d+)\n(%d+)\n(%-?%d+)\n$"
    assert.equal("1000", meanwhile, output)
    assert.equal(before, after)
  end)

  it("leaves what the old one holds to its timers, while the new one judges", function()
    local output = run [[
      filter filter <<'END'
local ipq = require "ipq"
return {
  filter = function(pkt)
    -- Later than the new one judges, also on a machine with other work.
    ipq.after(4, function(held) print "released" held:verdict(ipq.ACCEPT) end, pkt:hold())
  end,
  stop = function(reason) print("stop", reason) end,
}
END
      rule -A INPUT -p udp --dport 9
      w=$(worker filter)
      send 3
      wait_for seen 3
      echo 'return function() print "judged" end' > "$DIR/filter.lua"
      reload "was reloaded"
      send 2
      wait_for grep -q "judged" "$DIR/filter.out"
      wait_for gone $w
      wait_for arrived 5 && echo arrived
      stop filter]]
    assert.matches("arrived\nexit 0\njudged\njudged\nreleased\nreleased\nreleased\nstop\treload\n", output)
    assert.matches("queue 0: 5 packets, 5 accepted, 0 dropped, 0 other verdicts, 0 errors", output)
  end)

  it("gives the default verdict to what nothing in the old one will release", function()
    local output = run [[
      filter filter --default drop <<'END'
return { filter = function(pkt) pkt:hold() end }
END
      w=$(worker filter)
      send 3
      wait_for seen 3
      echo 'return function() return require "ipq".ACCEPT end' > "$DIR/filter.lua"
      reload "was reloaded"
      wait_for gone $w
      send 2
      wait_for judged 5
      stop filter]]
    assert.matches("queue 0: 5 packets, 2 accepted, 3 dropped, 0 other verdicts, 0 errors", output)
  end)

  -- Each stands where a reload is when it comes: the script says so by a file.
  local stages = {
    start = "start = function() mark 'start' wait 'go' end",
    restore = "restore = function() mark 'restore' wait 'go' end",
  }
  for name, text in pairs(stages) do
    for _, which in ipairs { "the old one", "the new one" } do
      it(("in %s() costs nothing where %s is killed"):format(name, which), function()
        local output = run(([[
          cat > "$DIR/stages.lua" <<'END'
local path = arg[0]:match "^(.*)/"
function mark(name) io.open(path .. "/at." .. name, "a"):close() end
function wait(name) repeat local file = io.open(path .. "/" .. name) until file end
END
          filter filter --time-limit 0 --no-sandbox --on-error accept <<'END'
return { filter = function() end, save = function() return 1 end }
END
          cat > "$DIR/filter.lua" <<'END'
dofile(arg[0]:match "^(.*)/" .. "/stages.lua")
return { filter = function() end, save = function() return 1 end, %s }
END
          stream
          w=$(worker filter)
          kill -HUP $pid_filter
          wait_for test -e "$DIR/at.%s"
          if [ "%s" = "the old one" ]; then
            kill -KILL $w
            touch "$DIR/go"
            wait_for logged filter "was killed by signal 9"
            wait_for logged filter "was reloaded"
          else
            touch "$DIR/go.not"
            for v in $(workers filter); do [ $v = $w ] || kill -KILL $v; done
            wait_for logged filter "was not reloaded: the one that runs goes on"
            [ $w = $(workers filter) ] && echo "the same worker"
          fi
          enough
          stop filter]]):format(text, name, which))
        lost_nothing(output)
        if which == "the new one" then assert.matches("the same worker\n", output) end
      end)
    end
  end

  it("asked for again while it loads begins anew, and asked for while it hands over follows it", function()
    local output = run [[
      filter filter --time-limit 0 --no-sandbox <<'END'
return { filter = function() end, save = function() return 1 end }
END
      stream
      echo 'while true do end' > "$DIR/filter.lua"
      kill -HUP $pid_filter
      two() { [ "$(workers filter | wc -l)" -ge 2 ]; }
      wait_for two
      cat > "$DIR/filter.lua" <<'END'
local path = arg[0]:match "^(.*)/"
return { filter = function() end, save = function() return 1 end, restore = function()
  io.open(path .. "/at", "a"):close()
  repeat local file = io.open(path .. "/go") until file
  print "restored"
end }
END
      kill -HUP $pid_filter
      wait_for test -e "$DIR/at"
      kill -HUP $pid_filter
      kill -HUP $pid_filter
      touch "$DIR/go"
      wait_for logged filter "was reloaded" 2
      enough
      stop filter]]
    assert.matches("restored\nrestored\n", output)
    assert.equal(2, select(2, output:gsub("was reloaded", "")))
    assert.equal(0, select(2, output:gsub("error: ", "")))
    lost_nothing(output)
  end)

  for name, text in pairs(stages) do
    it("does not keep the program from ending, in " .. name .. "()", function()
      local output = run(([[
        filter filter --time-limit 0 --no-sandbox <<'END'
return { filter = function() end, save = function() return 1 end, stop = function(reason) print("stop", reason) end }
END
        cat > "$DIR/filter.lua" <<'END'
local path = arg[0]:match "^(.*)/"
function mark(name) io.open(path .. "/at." .. name, "a"):close() end
function wait(name) repeat local file = io.open(path .. "/" .. name) until file end
return { filter = function() end, %s }
END
        stream
        kill -HUP $pid_filter
        wait_for test -e "$DIR/at.%s"
        kill -TERM $stream
        stop filter
        wait $stream
        cat "$DIR/stream"]]):format(text, name))
      assert.matches("exit 0\nstop\texit\n", output)
      lost_nothing(output)
    end)
  end

  it("asked for while the new one restores, and the old one has died, does not lose what was saved", function()
    local output = run [[
      filter filter --time-limit 0 --no-sandbox <<'END'
return { filter = function() end, save = function() return 42 end }
END
      cat > "$DIR/filter.lua" <<'END'
local path = arg[0]:match "^(.*)/"
return { filter = function() end, save = function() return 42 end, restore = function(saved)
  io.open(path .. "/at", "a"):close()
  repeat local file = io.open(path .. "/go") until file
  print("restored", saved)
end }
END
      w=$(worker filter)
      kill -HUP $pid_filter
      wait_for test -e "$DIR/at"
      kill -KILL $w
      wait_for logged filter "was killed by signal 9"
      kill -HUP $pid_filter
      send 2
      touch "$DIR/go"
      wait_for logged filter "was reloaded" 2
      wait_for judged 2
      stop filter]]
    assert.matches("restored\t42\nrestored\t42\n", output)
    assert.matches("queue 0: 2 packets, 2 accepted", output)
  end)

  it("takes no answer for a refusal that the old one's verdicts get", function()
    local output = run [[
      filter filter --time-limit 0 <<'END'
return function() local stop = os.clock() + 0.5 while os.clock() < stop do end end
END
      w=$(worker filter)
      reload "was reloaded"
      wait_for gone $w
      # Its first verdict is of all that somebody may have left, which is nothing: the next packet comes behind that
      # answer.
      send 1
      wait_for waiting 1
      reload "was reloaded" 2
      send 1
      wait_for judged 2
      stop filter]]
    assert.matches("queue 0: 2 packets, 2 accepted, 0 dropped, 0 other verdicts, 0 errors, 0 lost unseen\n$", output)
  end)

  it("changes all queues, one after the other, or none where the script cannot be loaded", function()
    local output = run [[
      filter filter -q 0:3 <<'END'
return { filter = function() end, save = function() return 1 end }
END
      rule -F OUTPUT
      rule -A OUTPUT -p udp --dport 9 -j NFQUEUE --queue-balance 0:3
      "$IPQ_BUILD/spec/stream" 9 5000 600 > "$DIR/stream" & stream=$!
      before=$(workers filter)
      echo 'return {' > "$DIR/filter.lua"
      reload "was not reloaded"
      [ "$before" = "$(workers filter)" ] && echo "the same workers"
      echo 'return { filter = function() end, restore = function() error "no" end }' > "$DIR/filter.lua"
      reload "was not reloaded" 2
      [ "$before" = "$(workers filter)" ] && echo "the same workers"
      echo 'return function() end' > "$DIR/filter.lua"
      reload "was reloaded" 4
      for w in $before; do wait_for gone $w; done
      [ "$(workers filter | wc -l)" = 4 ] && echo "four"
      enough
      stop filter]]
    assert.matches("the same workers\nthe same workers\nfour\n", output)
    assert.equal(1, select(2, output:gsub("filter.lua:2: ", "")))
    assert.equal(1, select(2, output:gsub("restore%(%): ", "")))
    lost_nothing(output)
  end)

  it("leaves nothing behind, a hundred times", function()
    local output = run [[
      echo -n 0 > "$DIR/filter.lua.version"
      filter filter --metrics "$DIR/metrics" <<'END'
local ipq = require "ipq"
local version = assert(io.open(arg[0] .. ".version")):read "*a"
ipq.counter("of_" .. version):inc()
ipq.counter("all"):inc()
return { filter = function() end, save = function() return { ("x"):rep(1e6) } end, restore = function() end }
END
      facts() {
        ls /proc/$pid_filter/fd | wc -l
        wc -l < /proc/$pid_filter/maps
        ls /proc/$(worker filter)/fd | wc -l
        workers filter | wc -l
      }
      one() { [ "$(workers filter | wc -l)" = 1 ]; }
      for i in 1 2; do reload "was reloaded" $i; done
      wait_for one
      before=$(facts)
      rss=$(awk '/^VmRSS/ { print $2 }' /proc/$pid_filter/status)
      for i in $(seq 3 102); do
        echo -n $i > "$DIR/filter.lua.version"
        reload "was reloaded" $i
      done
      wait_for one
      [ "$before" = "$(facts)" ] && echo "as before" || { echo "$before"; facts; }
      more=$(($(awk '/^VmRSS/ { print $2 }' /proc/$pid_filter/status) - rss))
      [ $more -lt 1000 ] && echo "no more memory" || echo "$more KB more"
      kill -USR1 $pid_filter
      wait_for grep -q of_102 "$DIR/metrics"
      grep -o 'of_[0-9]*' "$DIR/metrics" | sort -u
      grep 'ipq_script_all' "$DIR/metrics" | tail -n 1
      stop filter > /dev/null]]
    assert.matches("as before\n", output)
    assert.matches("\nof_102\nipq_script_all{queue=\"0\"} 103\n$", output)
    -- AddressSanitizer keeps what was freed.
    if not netns.program:match "sanitize" then assert.matches("\nno more memory\n", output) end
  end)

  it("keeps a script's counters, and gives back the names of one that failed", function()
    local output = run [[
      filter filter --metrics "$DIR/metrics" <<'END'
local seen = require "ipq".counter "seen"
return function() seen:inc() end
END
      send 3
      wait_for judged 3
      cat > "$DIR/filter.lua" <<'END'
local ipq = require "ipq"
local seen, size = ipq.counter "seen", ipq.counter "size"
print("begins with", seen:get())
size:set(7)
if not io.open(arg[0] .. ".good") then
  ipq.counter "bad":inc()
  error "not yet"
end
return function() seen:inc() end
END
      reload "was not reloaded"
      touch "$DIR/filter.lua.good"
      # Not one that was written while the script was loaded.
      rm -f "$DIR/metrics"
      kill -USR1 $pid_filter
      wait_for grep -qs seen "$DIR/metrics"
      grep -c 'script_bad\|script_size' "$DIR/metrics"
      reload "was reloaded"
      send 2
      wait_for judged 5
      has() { kill -USR1 $pid_filter; sleep 0.05; grep -q "$1" "$DIR/metrics"; }
      wait_for has 'seen.* 5$'
      wait_for has 'size.* 7$'
      stop filter]]
    assert.matches("^0\n", output)
    assert.matches("begins with\t3\nbegins with\t3\n", output)
  end)

  it("has a counter go on from what was counted while the new script was loaded", function()
    local output = run [[
      filter filter <<'END'
local seen = require "ipq".counter "seen"
return function() seen:inc() end
END
      send 3
      wait_for judged 3
      cat > "$DIR/filter.lua" <<'END'
local seen = require "ipq".counter "seen"
local path = arg[0]:match "^(.*)/"
return { filter = function() seen:inc() end, start = function()
  seen:inc(100)
  io.open(path .. "/at", "w"):close()
  repeat local file = io.open(path .. "/go") until file
end }
END
      kill -HUP $pid_filter
      wait_for test -e "$DIR/at"
      send 2
      wait_for judged 5
      touch "$DIR/go"
      wait_for logged filter "was reloaded"
      send 1
      wait_for judged 6
      "$PROGRAM" --ctl=$pid_filter stats
      stop filter > /dev/null]]
    assert.matches("; seen 106\n", output)
  end)

  it("of a queue that is judged without a script brings it back at once", function()
    local output = run [[
      filter filter --max-restarts 0 --on-error accept <<'END'
return function() os.exit(8) end
END
      send 1
      wait_for logged filter "1 worker died within a minute"
      send 2
      wait_for judged 3
      echo 'return {' > "$DIR/filter.lua"
      reload "was not reloaded"
      send 2
      wait_for judged 5
      echo 'return function() return require "ipq".DROP end' > "$DIR/filter.lua"
      reload "was reloaded"
      send 2
      wait_for judged 7
      stop filter]]
    assert.matches("queue 0: 7 packets, 5 accepted, 2 dropped, 0 other verdicts, 5 errors", output)
  end)

  it("is done by itself with --watch, when the script or what it requires changes, or is gone", function()
    local output = run [[
      echo 'return "first"' > "$DIR/part.lua"
      filter filter --watch <<'END'
local part = require "part"
return function() print("seen", part, 1) end
END
      send 1
      wait_for judged 1
      echo 'return "second"' > "$DIR/part.new"
      mv "$DIR/part.new" "$DIR/part.lua"
      wait_for logged filter "was reloaded"
      send 1
      wait_for judged 2
      sed -i 's/, 1)/, 2)/' "$DIR/filter.lua"
      wait_for logged filter "was reloaded" 2
      send 1
      wait_for judged 3
      rm "$DIR/filter.lua"
      wait_for logged filter "was not reloaded: the one that runs goes on"
      stop filter]]
    assert.matches("error: cannot read the script: [^\n]*/filter.lua: No such file or directory\n", output)
    assert.matches("seen\tfirst\t1\nseen\tsecond\t1\nseen\tsecond\t2\n", output)
  end)

  it("says at load that start() takes one parameter now", function()
    local output = run [[
      filter filter <<'END'
return { filter = function() end, start = function(_, carried) print(carried) end }
END
      stop filter]]
    assert.matches("warning: [^\n]*filter.lua: start%(%) takes one parameter, the arguments; what a reload keeps is "
      .. "what save%(%) returns, and restore%(saved%) gets\n", output)
  end)
end)
