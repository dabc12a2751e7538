-- What is installed is all that there is, works from where it is, and goes again.
local document = require "spec.support.document"
local support = require "spec.support.libipq"

local root = support.must("pwd"):gsub("\n", "")

local function make(targets, ...)
  return support.must(("make --no-print-directory -C %s %s DEPS=: BUILD=%s %s"):format(root, targets, support.build,
    table.concat({ ... }, " ")))
end

-- The sanitizers' runtime has to be there first in a program that is not built with them.
local luajit = ("ASAN_OPTIONS=detect_leaks=0 LD_PRELOAD=%s luajit"):format(support.sanitizer or "")

describe("what is installed", function()
  local dir, usr
  setup(function()
    dir = support.directory()
    usr = dir .. "/usr"
    make("install", "DESTDIR=" .. dir, "PREFIX=/usr")
  end)
  teardown(function() os.execute("rm -rf " .. dir) end)

  local function module_paths()
    return ("LUA_PATH='%s/share/lua/5.1/?.lua;%s/share/lua/5.1/?/init.lua' LUA_CPATH='%s/lib/lua/5.1/?.so'")
      :format(usr, usr, usr)
  end

  it("has the program, which judges by an installed script", function()
    assert.matches("^ipq%-lua %d", support.must(("cd /; ASAN_OPTIONS=detect_leaks=0 %s/bin/ipq-lua -V"):format(usr)))
    local needed = { ["block_sni.lua"] = "names=a.b", ["blocklist.lua"] = "file=/dev/null",
      ["clamp_mss.lua"] = "mtu=1400", ["dns_sinkhole.lua"] = "list=/dev/null",
      ["dns_rewrite.lua"] = "name=a.example A=192.0.2.1",
      ["port_knock.lua"] = "knock=7000,8000", ["rate_limit.lua"] = "rate=100", ["transparent_tarpit.lua"] = "used=22",
      ["nat.lua"] = "inside=192.0.2.0/24 outside=198.51.100.0/24" }
    for _, name in ipairs(document.scripts()) do
      local arguments = needed[name] or ""
      assert.matches("can be used", support.must(
        ("cd /; ASAN_OPTIONS=detect_leaks=0 %s/bin/ipq-lua --check %s/share/ipq-lua/scripts/%s %s")
        :format(usr, usr, name, arguments)))
    end
  end)

  it("is hardened: addresses at random, relocations read-only, stacks and buffers guarded", function()
    for _, file in ipairs { "bin/ipq-lua", "lib/lua/5.1/ipq/core.so", "lib/libipq.so" } do
      local text = support.must(("readelf -dlW --dyn-syms %s/%s"):format(usr, file))
      assert.matches("GNU_RELRO", text, file)
      assert.matches("BIND_NOW", text, file)
      assert.matches("GNU_STACK[ x%x]+RW ", text, file)
      assert.is_nil(text:match "TEXTREL", file)
      if file:match "^bin" then assert.matches("FLAGS_1.*PIE", text) end
      -- The sanitizers do it in their way.
      if not support.sanitizer then
        assert.matches("__stack_chk_fail", text, file)
        assert.matches("__memcpy_chk", text, file)
      end
    end
  end)

  it("has the module and its test kit, all of them", function()
    for path in support.must "cd bindings; find ipq -name '*.lua'":gmatch "[^\n]+" do
      assert.equal(document.read("bindings/" .. path), document.read(usr .. "/share/lua/5.1/" .. path))
    end
    assert.equal("accept\n", support.must(("cd /; %s %s -e 'print(require \"ipq.test\".run(function() end, "
      .. "require \"ipq.test\".tcp {}).verdict)'"):format(module_paths(), luajit)))
  end)

  it("has every manual page, with the paths of this installation", function()
    for path in support.must "ls host/man/* bindings/man/* lib/libipq/man/*":gmatch "[^\n]+" do
      local name, number = path:match "([^/]+%.(%d)%a*)$"
      local text = document.read(("%s/share/man/man%s/%s"):format(usr, number, name))
      assert.is_nil(text:gsub("@NAME@", ""):match "@%u+@")
      assert.equal(document.read(path):gsub("@DATADIR@", "/usr/share/ipq-lua"), text)
    end
    local output = support.must(("MANPATH=%s/share/man MANWIDTH=80 man ipq-lua-examples ipq-lua; "
      .. "MANPATH=%s/share/man man 3lua ipq"):format(usr, usr))
    assert.truthy(output:find("/usr/share/ipq-lua/scripts", 1, true))
  end)

  it("has the completion by the program's name", function()
    assert.equal(document.read "host/completion.bash",
      document.read(usr .. "/share/bash-completion/completions/ipq-lua"))
  end)

  it("has settings for the Lua language server, which name the annotations", function()
    local settings = require "cjson".decode(document.read(usr .. "/share/ipq-lua/luarc.json"))
    assert.same({ "/usr/share/ipq-lua/types" }, settings["workspace.library"])
    assert.equal("LuaJIT", settings["runtime.version"])
    for _, name in ipairs { "", "/dns", "/domainset", "/http", "/quic", "/test", "/tls" } do
      local path = "ipq" .. name .. ".lua"
      assert.equal(document.read("bindings/types/" .. path),
        document.read(dir .. settings["workspace.library"][1] .. "/" .. path))
    end
  end)

  it("has settings for luacheck, which finds nothing in scripts and in specs", function()
    local project = support.directory()
    finally(function() os.execute("rm -rf " .. project) end)
    support.must(("cp %s/share/ipq-lua/luacheckrc %s/.luacheckrc; cp scripts/*.lua %s; cp -r scripts/template %s/spec")
      :format(usr, project, project, project))
    assert.matches("0 warnings / 0 errors in %d+ files", support.must(("cd %s && luacheck -qqq --no-color .")
      :format(project)))
    document.write(project .. "/bad.lua", "local ipq = require 'ipq' return function() x = 1 end\n")
    document.write(project .. "/bad_spec.lua", "describe('x', function() nosuch() end)\n")
    local output, ok = support.run(("cd %s && luacheck -q --no-color ."):format(project))
    assert.is_false(ok)
    assert.matches("unused variable 'ipq'", output)
    assert.matches("'x'", output)
    assert.matches("'nosuch'", output)
    assert.not_matches("describe", output)
  end)

  it("is named in README", function()
    local text = document.read "README.md"
    for _, name in ipairs { "luarc.json", "luacheckrc", "ipq-lua@" } do
      assert.truthy(text:find(name, 1, true), name)
    end
  end)

  it("goes again, but for folders that others may use", function()
    make("uninstall", "DESTDIR=" .. dir, "PREFIX=/usr")
    assert.equal("", support.must("find " .. dir .. " ! -type d"))
    assert.equal("", support.must("find " .. dir .. " -name 'ipq*' -o -name libipq"))
    make("install", "DESTDIR=" .. dir, "PREFIX=/usr")
  end)
end)

describe("the systemd service", function()
  it("is one that systemd takes", function()
    if not select(2, support.run "command -v systemd-analyze") then pending "systemd is not there" end
    local dir = support.directory()
    finally(function() os.execute("rm -rf " .. dir) end)
    make("install-program install-share", "PREFIX=" .. dir)
    support.must(("cp '%s/lib/systemd/system/ipq-lua@.service' '%s/ipq-lua@one.service'"):format(dir, dir))
    assert.equal("", support.must(("systemd-analyze verify --man=no '%s/ipq-lua@one.service'"):format(dir)))
    -- It tells of what it does not know.
    support.must(("sed -i s/WatchdogSec/WatchdogSecs/ '%s/ipq-lua@one.service'"):format(dir))
    assert.matches("WatchdogSecs",
      support.must(("systemd-analyze verify --man=no '%s/ipq-lua@one.service'"):format(dir)))
  end)

  it("makes the lock of iptables-legacy before its sandbox, and leaves one that is there", function()
    local text = document.read "host/ipq-lua@.service.in"
    local command = text:match "\nExecStartPre=%-%+/bin/sh %-c '([^'\n]*)'\n"
    local lock = command:match ">> (%S+)$"
    assert.equal(lock, text:match "\nReadWritePaths=%-(%S+)\n")
    local dir = support.directory()
    finally(function() os.execute("rm -r " .. dir) end)
    support.must((command:gsub(lock, dir .. "/lock")))
    assert.equal("600 0\n", support.must(("stat -c '%%a %%s' %s/lock"):format(dir)))
    document.write(dir .. "/lock", "kept")
    support.must((command:gsub(lock, dir .. "/lock")))
    assert.equal("kept", document.read(dir .. "/lock"))
  end)

  it("keeps the sockets, and the one capability that it takes", function()
    local unit = document.read "host/ipq-lua@.service.in"
    for _, line in ipairs { "Type=notify", "FileDescriptorStoreMax=193", "Environment=FDSTORE=193", "KillMode=mixed",
      "Restart=on-failure",
      "CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW CAP_SETUID CAP_SETGID CAP_SETPCAP CAP_KILL",
      "NoNewPrivileges=yes", "ExecReload=@BINDIR@/ipq-lua --ctl=%i reload", "RuntimeDirectory=ipq-lua/%i" } do
      assert.truthy(unit:find("\n" .. line .. "\n", 1, true), line)
    end
    assert.is_nil(unit:match "\nMemoryDenyWriteExecute")
  end)
end)

describe("the rock", function()
  it("is built and installed by luarocks", function()
    if not select(2, support.run "command -v luarocks") then pending "luarocks is not there" end
    local dir = support.directory()
    finally(function() os.execute("rm -rf " .. dir) end)
    support.must("tar cf - host lib bindings scripts Makefile | tar xf - -C " .. dir)
    -- The specs' own make has variables, which the rock's would take.
    support.must(("unset MAKEFLAGS SANITIZE BUILD CFLAGS; cd %s && HOME=%s luarocks --lua-version 5.1 "
      .. "--tree %s/tree make bindings/ipq-scm-1.rockspec")
      :format(dir, dir, dir))
    local version = document.read "Makefile":match "\nVERSION := (%S+)"
    assert.equal(version .. " drop\n", support.must(([[cd / && LUA_PATH='%s/tree/share/lua/5.1/?.lua;]]
      .. [[%s/tree/share/lua/5.1/?/init.lua' LUA_CPATH='%s/tree/lib/lua/5.1/?.so' luajit -e ']]
      .. [[local ipq, t = require "ipq", require "ipq.test"
      print(ipq.version, t.run(function() return ipq.DROP end, t.udp {}).verdict)' | tr '\t' ' ']])
      :format(dir, dir, dir)))
  end)
end)
