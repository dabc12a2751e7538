local netns = require "spec.support.netns"

-- The program as a person types it. Gives its output and exit status.
local function ipq_lua(arguments, before)
  return netns.shell(("LD_PRELOAD= ASAN_OPTIONS= %s %s %s"):format(before or "", netns.program, arguments))
end

local script = require("spec.support.document").temporary

describe("ipq-lua", function()
  it("tells its version", function()
    local output, status = ipq_lua "-V"
    assert.matches("^ipq%-lua %d+%.%d+%.%d+ %(LuaJIT 2%.1[^)]*%)\n$", output)
    assert.equal(0, status)
    assert.equal(output, (ipq_lua "--version"))
  end)

  it("tells its options on one screen", function()
    local output, status = ipq_lua "--help"
    assert.equal(0, status)
    assert.equal(output, (ipq_lua "-h"))
    local lines = select(2, output:gsub("\n", ""))
    assert.is_true(lines <= 24, lines .. " lines")
    for line in output:gmatch "[^\n]+" do assert.is_true(#line <= 80, line) end
    for _, option in ipairs { "queue-num", "default", "on-error", "copy-range", "queue-maxlen", "fail-open",
      "no-gso", "rcvbuf", "pin", "spin", "user", "no-sandbox", "rule", "queue-bypass", "print-rules", "doctor",
      "check", "read",
      "write", "filter", "json", "log-level", "stats", "metrics", "top",
      "new", "test", "help", "version" } do
      assert.truthy(output:find("--" .. option, 1, true), option)
    end
  end)

  local usage = {
    { "", "^ipq%-lua: error: a script is missing: ipq%-lua %[options%] SCRIPT %[key=value %.%.%.%]\nusage: ipq%-lua " },
    { "-q 3", "^ipq%-lua: error: a script is missing: ipq%-lua %[options%] SCRIPT [^\n]*\nusage: " },
    { "--rule OUTPUT", "^ipq%-lua: error: a script is missing: " },
    { "--check", "^ipq%-lua: error: a script is missing: " },
    { "-r x.pcap", "^ipq%-lua: error: a script is missing: " },
    { "--nonsense x.lua", "error: unknown option %-%-nonsense; see ipq%-lua %-%-help" },
    { "--defualt drop x.lua", "error: unknown option %-%-defualt; did you mean %-%-default%? See ipq%-lua %-%-help\n" },
    { "--copyrange=9 x.lua", "error: unknown option %-%-copyrange; did you mean %-%-copy%-range%? See" },
    { "--no_sandbox x.lua", "error: unknown option %-%-no_sandbox; did you mean %-%-no%-sandbox%? See" },
    { "--queue 3 x.lua", "error: unknown option %-%-queue; did you mean %-%-queue%-num%? See" },
    { "--xy x.lua", "error: unknown option %-%-xy; see ipq%-lua %-%-help" },
    { "-z x.lua", "error: unknown option %-z" },
    { "--default", "error: %-%-default needs a value" },
    { "-q", "error: %-q needs a value" },
    { "--check=1 x.lua", "error: %-%-check takes no value" },
    { "-q 65536 x.lua", "error: %-%-queue%-num 65536: must be a whole number from 0 to 65535" },
    { "-q -1 x.lua", "error: %-%-queue%-num %-1: must be" },
    { "-q 1x x.lua", "error: %-%-queue%-num 1x: must be" },
    { "-q '' x.lua", "error: %-%-queue%-num : must be" },
    { "-q 99999999999999999999 x.lua", "must be a whole number" },
    { "-q 3:1 x.lua", "must be a whole number from 0 to 65535, or N:M for at most 64 of them from N up" },
    { "-q 0:64 x.lua", "error: %-%-queue%-num 0:64: must be" },
    { "-q 65530:65536 x.lua", "error: %-%-queue%-num 65530:65536: must be" },
    { "-q 3: x.lua", "error: %-%-queue%-num 3:: must be" },
    { "-q :3 x.lua", "error: %-%-queue%-num :3: must be" },
    { "-q 1:2:3 x.lua", "error: %-%-queue%-num 1:2:3: must be" },
    { "-q 0:-1 x.lua", "error: %-%-queue%-num 0:%-1: must be" },
    { "--spin 100001 x.lua", "error: %-%-spin 100001: must be a whole number from 0 to 100000" },
    { "-q 0-3 x.lua", "error: %-%-queue%-num 0%-3: must be N or N:M: write 0:3" },
    { "-q 0-3x x.lua", "error: %-%-queue%-num 0%-3x: must be a whole number" },
    { "-r x.pcap -w x.lua", "error: %-%-write x.lua: must be the name of a file, and this looks like the script" },
    { "-r -w x.pcap x.lua", "error: %-%-read %-w: must be the name of a file, and this looks like an option" },
    { "--metrics --json x.lua", "error: %-%-metrics %-%-json: must be the name of a file, and this looks like an op" },
    { "-r x.pcap --check x.lua", "error: %-%-check is of live packets, and does not go with %-%-read" },
    { "-r x.pcap --doctor", "error: %-%-doctor is of live packets, and does not go with %-%-read" },
    { "--default maybe x.lua", "error: %-%-default maybe: must be accept, drop or reject" },
    { "--on-error queue x.lua", "error: %-%-on%-error queue: must be accept, drop or reject" },
    { "--copy-range 0 x.lua", "must be a whole number from 1 to 65535" },
    { "--copy-range 65536 x.lua", "must be a whole number from 1 to 65535" },
    { "--queue-maxlen 0 x.lua", "must be a whole number from 1 to" },
    { "--queue-maxlen 4294967296 x.lua", "must be a whole number from 1 to" },
    { "--stats=0.05 x.lua", "error: %-%-stats 0.05: must be seconds from 0.1 to 86400\n" },
    { "--stats=0 x.lua", "error: %-%-stats 0: must be seconds from 0.1 to 86400\n" },
    { "--time-limit 86401 x.lua", "error: %-%-time%-limit 86401: must be [^\n]*86400, or 0 for no limit\n" },
    { "--stats= x.lua", "error: %-%-stats : must be seconds" },
    { "--metrics", "error: %-%-metrics needs a value" },
    { "--top x", "error: %-%-top x: must be the number of a process" },
    { "--top 0", "error: %-%-top 0: must be the number of a process" },
    { "--top 1 x.lua", "error: %-%-top takes a process number alone" },
    { "--rcvbuf 10 x.lua", "must be a whole number from 1024 to" },
    { "--mark-bits 3,4 x.lua", "error: %-%-mark%-bits 3,4: must be two numbers with a comma between them, decimal or "
      .. "0x, each a single bit of 32 and not the same one: 0x40000000,0x20000000\n" },
    { "--mark-bits 1,6 x.lua", "error: %-%-mark%-bits 1,6: must be two numbers" },
    { "--mark-bits 4,0x4 x.lua", "error: %-%-mark%-bits 4,0x4: must be two numbers" },
    { "--mark-bits 0,1 x.lua", "error: %-%-mark%-bits 0,1: must be two numbers" },
    { "--mark-bits 1,0x100000000 x.lua", "error: %-%-mark%-bits 1,0x100000000: must be two numbers" },
    { "--mark-bits 1 x.lua", "error: %-%-mark%-bits 1: must be two numbers" },
    { "--mark-bits 1,2,4 x.lua", "error: %-%-mark%-bits 1,2,4: must be two numbers" },
    { "--mark-bits 1,-2 x.lua", "error: %-%-mark%-bits 1,%-2: must be two numbers" },
    { "--mark-bits '1, 2' x.lua", "error: %-%-mark%-bits 1, 2: must be two numbers" },
    { "--mark-bits 1,0x x.lua", "error: %-%-mark%-bits 1,0x: must be two numbers" },
    { "--mark-bits '' x.lua", "error: %-%-mark%-bits : must be two numbers" },
  }
  for _, pair in ipairs(usage) do
    it("exits 64 for: ipq-lua " .. pair[1], function()
      local output, status = ipq_lua(pair[1])
      assert.matches(pair[2], output)
      assert.equal(64, status)
    end)
  end

  for _, option in ipairs { "-q 1", "--stats", "--metrics x.prom", "--fail-open", "--no-gso", "--rcvbuf 4096", "--pin",
    "--spin 1", "--memory-limit 64", "--max-restarts 1", "--on-give-up exit", "--user nobody", "--no-sandbox",
    "--watch", "--rule OUTPUT" } do
    it("exits 64 for what a capture has no use for: " .. option, function()
      local output, status = ipq_lua(("-r x.pcap %s x.lua"):format(option))
      local name = option == "-q 1" and "--queue-num" or option:match "%S+"
      assert.truthy(output:find(("error: %s is of live packets, and does not go with --read"):format(name), 1, true),
        output)
      assert.equal(64, status)
    end)
  end

  for _, arguments in ipairs { "--help", "--version", "--rule OUTPUT --print-rules iptables" } do
    it("exits 74 where what it prints cannot be written: " .. arguments, function()
      local output, status = ipq_lua(arguments .. " > /dev/full")
      assert.equal("ipq-lua: warning: what is printed cannot be written: No space left on device\n", output)
      assert.equal(74, status)
    end)
  end

  it("says what the script is where its ending was left out", function()
    local path = script "return function() end"
    netns.shell(("mv %s %s.lua"):format(path, path))
    finally(function() os.remove(path .. ".lua") end)
    local output, status = ipq_lua("--check " .. path)
    assert.equal(("ipq-lua: error: cannot read the script: %s: No such file or directory; there is %s.lua\n")
      :format(path, path), output)
    assert.equal(66, status)
  end)

  it("exits 66 where the script is not there", function()
    local output, status = ipq_lua "/nonexistent.lua"
    assert.equal("ipq-lua: error: cannot read the script: /nonexistent.lua: No such file or directory\n", output)
    assert.equal(66, status)
  end)

  local users = {
    { "nosuch", "there is no such user" }, { "", "there is no such user" }, { ":0", "there is no such user" },
    { "-1", "there is no such user" }, { "4294967295:0", "there is no such user" },
    { "0x1:0", "there is no such user" }, { "+1:0", "there is no such user" },
    { "424242", "there is no such user (a number that has no name needs a group: NUMBER:GROUP)" },
    { "nobody:nosuch", "there is no such group" }, { "nobody:", "there is no such group" },
    { "0:4294967295", "there is no such group" }, { "0:-1", "there is no such group" },
  }
  for _, case in ipairs(users) do
    it("exits 67 for the user \"" .. case[1] .. "\", before the script is loaded", function()
      local output, status = ipq_lua(("--user '%s' %s"):format(case[1], script "print 'loaded' return print"),
        "timeout 100")
      assert.truthy(output:find(("ipq-lua: error: --user %s: %s"):format(case[1], case[2]), 1, true), output)
      assert.falsy(output:find "loaded")
      assert.equal(67, status)
    end)
  end

  it("checks the user, too", function()
    local path = script "return print"
    assert.equal(67, select(2, ipq_lua("--check --user nosuch " .. path)))
    assert.equal(0, select(2, ipq_lua("--check --user 0 " .. path)))
  end)

  it("exits 65 for a script that is cut off, naming file and line", function()
    local path = script "return function(pkt)\n  if pkt.mark == 1 th"
    local output, status = ipq_lua(path)
    assert.truthy(output:find("ipq-lua: error: " .. path .. ":2: 'then' expected near", 1, true))
    assert.equal(65, status)
  end)

  it("exits 65 for a script that returns no filter", function()
    local path = script "return 'drop'"
    local output, status = ipq_lua(path)
    assert.truthy(output:find(path .. ": the script must return a function", 1, true))
    assert.equal(65, status)
  end)

  it("gives a terminal no commands that are in a name", function()
    local output = ipq_lua("--doctor \"$(printf 'no\\033[31m\\302\\233x.lua')\"")
    assert.matches("script: no\\x1b%[31m\\xc2\\x9bx.lua cannot be used", output)
    assert.is_nil(output:find "[%z\1-\8\11-\31\127]")
    assert.is_nil(output:find("\194\155", 1, true))
  end)

  it("lets no script require what is its own", function()
    for _, name in ipairs { "ipq.engine.live", "ipq.core", "ipq.packet.view", "ipq.log" } do
      local path = script(("require 'ipq' require 'ipq.test' require '%s'"):format(name))
      local output, status = ipq_lua("--check " .. path)
      assert.equal(65, status)
      assert.matches(name:gsub("%p", "%%%0") .. " is the program's own; a script has \"ipq\" and \"ipq.test\"", output)
    end
  end)

  it("checks a script without root and without a queue", function()
    local path = script "return function() end"
    local output, status = ipq_lua("--check " .. path)
    assert.equal("ipq-lua: " .. path .. ": can be used\n", output)
    assert.equal(0, status)
    path = script "return { filter = function() end, start = function() error 'no' end }"
    output, status = ipq_lua("--check " .. path)
    assert.equal("ipq-lua: " .. path .. ": can be used; its start(), which may do anything, was not called\n", output)
    assert.equal(0, status)
    output, status = ipq_lua("--check " .. script "error 'no'")
    assert.matches("1: no\n\tstack traceback:", output)
    assert.equal(65, status)
  end)

  it("names globals that nobody defines where it checks a script, which can be used all the same", function()
    local folder = netns.shell "mktemp -d":match "%S+"
    finally(function() netns.shell("rm -r " .. folder) end)
    local document = require "spec.support.document"
    document.write(folder .. "/helper.lua", "made_by_helper = 1\nreturn {}\n")
    document.write(folder .. "/x.lua", [[#!/usr/bin/env ipq-lua
local ipq, helper = require "ipq", require "helper"
local count = 0
conut = count + 1
local function inner(pkt)
  return function() late = pkt; return tabel.concat {}, late, made_by_helper, made_by_nobody, arg[0] end
end
return { filter = function(pkt) print(inner(pkt), _G.not_seen, conut, helper, ipq) conut = 2 end }
]])
    local output, status = ipq_lua(("--check %s/x.lua"):format(folder))
    assert.equal(([[
ipq-lua: warning: DIR/x.lua:4: the global 'conut' is set: put "local" before its first use
ipq-lua: warning: DIR/x.lua:6: the global 'late' is set: put "local" before its first use
ipq-lua: warning: DIR/x.lua:6: the global 'made_by_nobody' is read, and nobody sets it
ipq-lua: warning: DIR/x.lua:6: the global 'tabel' is read, and nobody sets it; did you mean 'table'?
ipq-lua: DIR/x.lua: can be used
]]):gsub("DIR", folder), output)
    assert.equal(0, status)
    -- It is the check that tells, and no run.
    assert.not_matches("global", (ipq_lua(("--doctor %s/x.lua"):format(folder))))
  end)

  it("names no globals of a script whose globals are its own", function()
    local path = script "setfenv(1, setmetatable({}, { __index = _G })) own = 1 return function() return own, other end"
    assert.equal(("ipq-lua: %s: can be used\n"):format(path), (ipq_lua("--check " .. path)))
  end)

  it("exits 65 for a script that needs a newer program, and says so", function()
    local path = script "return { filter = print, flow = {}, needs = '99.1' }"
    local output, status = ipq_lua(path)
    assert.equal(("ipq-lua: error: %s: the script needs ipq-lua 99.1, this is %s\n"):format(path,
      ipq_lua "-V":match "^ipq%-lua (%S+)"), output)
    assert.equal(65, status)
  end)

  it("leaves the script's own options to the script", function()
    local path = script "print(table.concat({ ... }, ' ')) return print"
    local output, status = ipq_lua("--check " .. path .. " a=1 --default x=2 -q")
    assert.matches("a=1 %-%-default x=2 %-q\n", output)
    assert.equal(0, status)
  end)

  it("warns of an option behind the script", function()
    local output, status = ipq_lua("--check " .. script "return function() end" .. " --queue-num 3")
    assert.matches("warning: %-%-queue%-num behind the script is an argument of the script", output)
    assert.equal(0, status)
  end)

  it("warns of a short option behind the script too", function()
    local output = ipq_lua("--check " .. script "return function() end" .. " -q 3 -x -r")
    assert.matches("warning: %-q behind the script is an argument of the script", output)
    assert.matches("warning: %-r behind the script", output)
    assert.is_nil(output:find("-x behind", 1, true))
  end)

  it("exits 65 for a script that misspells ipq's words when it loads", function()
    local output, status = ipq_lua("--check " .. script "local v = require 'ipq'.DORP return function() return v end")
    assert.matches("ipq has no 'DORP'", output)
    assert.equal(65, status)
  end)

  it("tells a script the bits of marks, its queue and its worker", function()
    local path = script [[local ipq = require "ipq"
print(("%x %x"):format(ipq.BYPASS_MARK, ipq.SENT_MARK), ipq.queue_num, ipq.worker) return print]]
    -- What is checked is told what the first worker would be.
    assert.matches("40000000 20000000\t0\t0\n", (ipq_lua("--check " .. path)))
    assert.matches("1 80000000\t7\t0\n", (ipq_lua("--check -q 7:9 --mark-bits 1,2147483648 " .. path)))
    assert.matches("1 2\t0\t0\n", (ipq_lua("--doctor --mark-bits 0x1,2 " .. path)))
    assert.matches("1 2\tnil\t0\n", (ipq_lua("--mark-bits 0x1,2 -r /nonexistent.pcap " .. path)))
  end)

  it("exits 73 where the metrics cannot be written, and says what to do", function()
    local path = script "return function() end"
    for folder, reason in pairs { ["/nonexistent"] = "No such file or directory", ["/dev/null"] = "Not a directory" } do
      local output, status = ipq_lua(("--metrics %s/ipq.prom %s"):format(folder, path))
      assert.equal(("ipq-lua: error: cannot write the metrics %s/ipq.prom: %s; --metrics takes a file in a folder that "
        .. "is there and can be written to, node_exporter's --collector.textfile.directory\n"):format(folder, reason),
        output)
      assert.equal(73, status)
    end
  end)

  it("puts no metrics in the place of what is no plain file", function()
    local path = script "return function() end"
    local folder = netns.shell "mktemp -d":match "%S+"
    finally(function() netns.shell("rm -r " .. folder) end)
    netns.shell(("ln -s /dev/null %s/link; mkfifo %s/pipe; mkdir %s/folder"):format(folder, folder, folder))
    local before = netns.shell("ls -l " .. folder)
    for _, name in ipairs { "link", "pipe", "folder" } do
      local output, status = ipq_lua(("--metrics %s/%s %s"):format(folder, name, path), "timeout 100")
      assert.matches("error: cannot write the metrics [^\n]*: there is something that is no plain file; %-%-metrics "
        .. "takes", output)
      assert.equal(73, status)
    end
    assert.equal(before, (netns.shell("ls -l " .. folder)))
  end)

  it("exits 77 without the privilege, and says what to do", function()
    if netns.shell "id -u" ~= "0\n" then return pending "root only can become nobody" end
    if netns.lacks "netlink sockets" then return pending(netns.lacks "netlink sockets") end
    local path = script "return function() end"
    netns.shell("chmod 644 " .. path)
    local copy = path .. ".ipq-lua"
    netns.shell(("install -m 755 %s %s"):format(netns.program, copy))
    finally(function() os.remove(copy) os.remove(path) end)
    local output, status = netns.shell(
      ("LD_PRELOAD= setpriv --reuid 65534 --regid 65534 --clear-groups %s %s"):format(copy, path))
    assert.matches("error: cannot bind queue 0: not permitted without CAP_NET_ADMIN; run it as root", output)
    assert.equal(77, status)
  end)

  -- EPROTONOSUPPORT, EAFNOSUPPORT, EINVAL of errno.h
  for _, errno in ipairs { 93, 97, 22 } do
    it("exits 69 where the kernel has no NFQUEUE (errno " .. errno .. "), and says what to do", function()
      local path = script "return function() end"
      local preload = ("env ASAN_OPTIONS=detect_leaks=0:verify_asan_link_order=0 IPQ_SPEC_ERRNO=%d "
        .. "LD_PRELOAD=./%s/spec/refuse_socket.so"):format(errno, os.getenv "IPQ_BUILD" or "build")
      local output, status = ipq_lua(path, preload)
      assert.matches("error: cannot bind queue 0: [^\n]*this kernel has no NFQUEUE: try \"modprobe "
        .. "nfnetlink_queue\"", output)
      assert.equal(69, status)
    end)
  end
end)

describe("ipq-lua --new and --test", function()
  local program = netns.shell("realpath " .. netns.program):match "%S+"

  -- Runs commands in a new folder, with $IPQ for the program.
  local function in_folder(commands)
    local dir = netns.shell "mktemp -d":match "%S+"
    finally(function() netns.shell("rm -r " .. dir) end)
    return netns.shell(("cd %s; IPQ='env LD_PRELOAD= ASAN_OPTIONS=detect_leaks=0 %s'\n%s"):format(dir, program,
      commands))
  end

  it("write a filter and a spec that pass as they are", function()
    local output, status = in_folder "$IPQ --new my-filter_2 && $IPQ --check my-filter_2.lua && $IPQ --test spec"
    assert.matches("^my%-filter_2.lua and spec/my%-filter_2_spec.lua are written.\n", output)
    assert.matches("my%-filter_2.lua: can be used\n", output)
    assert.matches("4 successes / 0 failures / 0 errors", output)
    assert.equal(0, status)
  end)

  it("write nothing over what is there", function()
    local output, status = in_folder [[echo mine > a.lua; $IPQ --new a; echo $?; cat a.lua; mkdir spec
      rm a.lua; echo mine > spec/a_spec.lua; $IPQ --new a; echo $?; cat spec/a_spec.lua; test ! -e a.lua]]
    assert.equal("ipq-lua: error: cannot write a.lua: File exists\n73\nmine\n"
      .. "ipq-lua: error: cannot write spec/a_spec.lua: File exists\n73\nmine\n", output)
    assert.equal(0, status)
    output = in_folder "echo > spec; $IPQ --new a; echo $?"
    assert.equal("ipq-lua: error: cannot write spec/a_spec.lua: Not a directory\n73\n", output)
  end)

  for _, name in ipairs { "", "../a", "a.lua", "-a", "a b", ("x"):rep(101), "$HOME" } do
    it("refuse the name " .. name, function()
      local output = in_folder(("$IPQ --new '%s'; echo $?; ls"):format(name))
      assert.matches("a name has letters, digits, \"_\" and \"%-\", 100 at most\n64\n$", output)
    end)
  end

  it("fail where a spec fails, and take busted's options", function()
    local output = in_folder [[$IPQ --new a >/dev/null; sed -i 's/dport == port/dport ~= port/' a.lua; $IPQ --test spec
      echo "exit $?"; $IPQ --test spec/a_spec.lua -o TAP --filter Telnet; echo "exit $?"]]
    assert.matches("expected the verdict drop, got accept\nIP 192.0.2.1.40000 > 192.0.2.2.23: Flags", output)
    assert.matches("exit 1\nnot ok 1 %- a.lua drops Telnet\n.*exit 1\n$", output)
  end)

  it("have specs go by the bits of marks that are given", function()
    local output = in_folder [[mkdir spec; cat > spec/a_spec.lua <<'END'
local t, ipq = require "ipq.test", require "ipq"
it("bypasses", function()
  local mark = t.run(function(pkt) pkt:bypass() end, t.tcp { mark = 4 }).packet.mark
  print("mark", mark, ipq.BYPASS_MARK, ipq.SENT_MARK, ipq.queue_num, ipq.worker)
end)
END
      $IPQ --mark-bits 1,2 --test spec; $IPQ --test spec]]
    assert.matches("mark\t5\t1\t2\tnil\t0\n", output)
    assert.matches("mark\t1073741828\t1073741824\t536870912\tnil\t0\n", output)
  end)

  it("take the folder behind \"=\" as well", function()
    local output, status = in_folder "$IPQ --new a >/dev/null; $IPQ --test=spec --filter Telnet"
    assert.matches("1 success / 0 failures / 0 errors", output)
    assert.equal(0, status)
  end)

  it("run the specs themselves where a project's .busted names an interpreter", function()
    local output, status = in_folder [[$IPQ --new a >/dev/null
      echo 'return { _all = { lua = "/nonexistent" } }' > .busted; $IPQ --test spec]]
    assert.matches("4 successes / 0 failures / 0 errors", output)
    assert.equal(0, status)
  end)

  it("fail where there is no spec", function()
    local output = in_folder "$IPQ --new a >/dev/null; $IPQ --test a.lua; echo $?"
    assert.matches("\nipq%-lua: error: a.lua has no specs, which are describe%(%) and it%(%); .*alone\n65\n$", output)
    local none = "ipq-lua: error: %s has no file with \"%s\" in its name, as specs have: my_filter_spec.lua\n65\n"
    assert.equal(none:format("empty", "_spec"), in_folder "mkdir empty; $IPQ --test empty; echo $?")
    assert.equal(none:format("spec", "_x"), in_folder "$IPQ --new a >/dev/null; $IPQ --test spec --pattern _x; echo $?")
    assert.matches("0 failures / 1 error ",
      in_folder "echo 'it(\"x\", function() error(5) end)' > a.lua; $IPQ --test a.lua")
    assert.matches("Error %-> Cannot find file or directory: nosuch\n.*Error %-> No test files.*\n1\n$",
      in_folder "mkdir empty; $IPQ --test empty nosuch; echo $?")
  end)

  it("are content with specs that busted's options leave out", function()
    for _, options in ipairs { "--filter nosuch", "--list", "--filter-out drops --filter-out leaves" } do
      local _, status = in_folder("$IPQ --new a >/dev/null; $IPQ --test spec " .. options)
      assert.equal(0, status, options)
    end
    assert.matches("1 pending ", in_folder "echo 'pending(\"x\", function() end)' > a.lua; $IPQ --test a.lua")
  end)

  it("say what is missing", function()
    assert.matches("cannot read the specs: nosuch: No such file or directory\n66\n",
      in_folder "$IPQ --test nosuch; echo $?")
    assert.matches("busted is not to be had: install the package lua%-busted, or say \"luarocks .*69\n$",
      in_folder "mkdir spec; LUA_PATH=/nonexistent/?.lua $IPQ --test spec; echo $?")
    assert.matches("%-%-new takes a name alone", in_folder "$IPQ --new a b; echo $?")
    assert.matches("%-%-test needs a value", in_folder "$IPQ --test; echo $?")
  end)
end)

netns.describe("ipq-lua, live,", function()
  it("exits 69 where the queue is taken, and says by whom", function()
    local output = netns.run [[
      QUEUE=7 run first -q 7 scripts/accept.lua
      "$PROGRAM" -q 7 scripts/accept.lua
      echo "second $?"
      "$PROGRAM" -q 8 scripts/drop_icmp.lua &
      wait_for queue_is_bound 8
      kill $!
      wait $!
      echo "third $?"
      echo "port $pid_first"
      stop first]]
    local port = output:match "port (%d+)"
    assert.truthy(output:find(("error: cannot bind queue 7: it belongs to netlink port %s (process %s, "
      .. "\"ipq-lua\"); stop that program or choose another queue number"):format(port, port), 1, true))
    assert.matches("second 69\n", output)
    assert.matches("third 0\n", output)
  end)

  it("works in a user namespace of one's own, and says what goes wrong there", function()
    if netns.lacks "user namespaces" then return pending(netns.lacks "user namespaces") end
    local output = netns.run [[
      mkdir -m 755 "$DIR/open"
      install -m 755 "$PROGRAM" "$DIR/open/ipq-lua"
      cp -r scripts "$DIR/open/"
      chmod 711 "$DIR"
      cd "$DIR/open"
      as_nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
      as_nobody scripts/demo/demo.sh "$DIR/open/ipq-lua"
      as_nobody unshare -Ur ./ipq-lua scripts/accept.lua
      echo "outside $?"
      chmod 777 .
      as_nobody unshare -Urn sh -c './ipq-lua scripts/accept.lua 2> first &
        until grep -q waiting first; do sleep 0.01; done
        ./ipq-lua scripts/accept.lua; echo "second $?"; kill $!; wait']]
    assert.matches("4 packets, 2 accepted, 2 dropped", output)
    assert.matches("this network namespace belongs to another user namespace, run it there\noutside 77", output)
    assert.matches("cannot bind queue 0: it belongs to another program; stop that program[^\n]*\nsecond 69", output)
  end)

  it("exits 65 when start() raises, and leaves the queue free", function()
    local output = netns.run [[
      cat > "$DIR/start.lua" <<'END'
return { filter = print, start = function(args) error("no " .. args.what) end }
END
      "$PROGRAM" "$DIR/start.lua" what=way
      echo "exit $?"
      ! queue_is_bound 0 && echo free]]
    assert.matches("error: start%(%): [^\n]*start.lua:1: no way\n\tstack traceback:", output)
    assert.matches("exit 65\nfree\n", output)
  end)

  it("exits 70 where the script ends the process before the first packet, or dies, and says so", function()
    local faults = {
      ["os.exit(0)"] = "%.lua ended the process by os.exit%(%), which a filter must not",
      ["os.exit(3)"] = "%.lua ended the process by os.exit%(%), which a filter must not",
      ["require 'ffi'.cdef 'void _exit(int);' require 'ffi'.C._exit(0)"] =
        "its worker, process %d+, ended with status 0",
      ["require 'ffi'.cast('int *', 8)[0] = 1"] = "its worker, process %d+, was killed by signal 11 %(Segmentation "
        .. "fault%)",
    }
    for fault, text in pairs(faults) do
      for where, filter in pairs { [" while it loaded the script"] = "%s",
        [" in start()"] = "return { filter = print, start = function() %s end }" } do
        local output = netns.run(([[
          export ASAN_OPTIONS=detect_leaks=0:handle_segv=0
          cat > "$DIR/filter.lua" <<'END'
%s
END
          "$PROGRAM" "$DIR/filter.lua"
          echo "exit $?"
          ! queue_is_bound 0 && echo free]]):format(filter:format(fault)))
        assert.matches("error: [^\n]*" .. text, output)
        assert.matches("exit 70\nfree\n", output)
        if not fault:find "os.exit" then assert.truthy(output:find(where, 1, true), output) end
      end
    end
  end)

  it("--check does not take a script for good that ends the process", function()
    for _, status in ipairs { 0, 3 } do
      local output, code = ipq_lua("--check " .. script(("os.exit(%d)"):format(status)) .. " 2>&1")
      assert.matches("ended the process by os.exit%(%), which a filter must not\n", output)
      assert.equal(70, code)
    end
    local output, code = ipq_lua("-r /dev/null " .. script "os.exit(0)" .. " 2>&1")
    assert.matches("ended the process by os.exit", output)
    assert.equal(70, code)
  end)

  it("exits 65 when stop() raises, after all packets are judged", function()
    local output = netns.run [[
      filter bad <<'END'
return { filter = print, stop = function() error "no way" end }
END
      stop bad]]
    assert.matches("exit 65\n", output)
    assert.matches("error: stop%(%): [^\n]*bad.lua:1: no way", output)
  end)

  it("says how it is set up", function()
    local output = netns.run [[
      run some --fail-open --queue-maxlen 5 --rcvbuf 100000 scripts/accept.lua
      cat /proc/net/netfilter/nfnetlink_queue
      stop some
      run range --copy-range 60 --no-gso scripts/accept.lua
      stop range]]
    assert.matches("queue 0: waiting for packets %(the first 60 bytes%), judged by", output)
    assert.matches("queue 0: waiting for packets %(whole packets, GSO, fail%-open%), judged by scripts/accept.lua",
      output)
  end)
end)

describe("ipq-lua --new", function()
  local program = netns.shell("realpath " .. netns.program):match "%S+"

  local function in_folder(commands)
    local dir = netns.shell "mktemp -d":match "%S+"
    finally(function() netns.shell("rm -r " .. dir) end)
    return netns.shell(("cd %s; IPQ='env LD_PRELOAD= ASAN_OPTIONS=detect_leaks=0 %s'\n%s"):format(dir, program,
      commands))
  end

  it("takes a name of 100 letters", function()
    local name = ("x"):rep(100)
    local output = in_folder(("$IPQ --new %s >/dev/null; echo $?; ls *.lua spec"):format(name))
    assert.equal(("0\n%s.lua\n\nspec:\n%s_spec.lua\n"):format(name, name), output)
  end)

  it("leaves no filter where it could not write its spec", function()
    local output = in_folder "echo > spec; $IPQ --new a 2>/dev/null; echo $?; ls"
    assert.equal("73\nspec\n", output)
  end)
end)

describe("metrics that do not fit on their disk", function()
  it("are told, and leave no file behind", function()
    local dir = netns.shell "mktemp -d":match "%S+"
    finally(function() netns.shell("rm -r " .. dir) end)
    -- A process may be told how long its files can be.
    local output = netns.shell(("trap '' XFSZ; (ulimit -f 1; LD_PRELOAD= ASAN_OPTIONS= exec %s --metrics %s/metrics "
      .. "scripts/accept.lua) 2>&1 | cat; ls -A %s | wc -l"):format(netns.program, dir, dir))
    assert.matches("error: cannot write the metrics [^\n]*/metrics: File too large; [^\n]*\n0\n$", output)
  end)
end)

describe("what a script prints without a buffer", function()
  it("is missed at the end, where it could not be written", function()
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    local file = assert(io.open(path, "w"))
    file:write "io.stdout:setvbuf 'no'; print 'lost'; return function() end"
    file:close()
    local output, status = netns.shell(("{ LD_PRELOAD= ASAN_OPTIONS= %s --check %s > /dev/full; }")
      :format(netns.program, path))
    assert.matches("warning: what is printed cannot be written", output)
    assert.equal(74, status)
  end)
end)
