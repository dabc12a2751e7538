local netns = require "spec.support.netns"

-- What the kernel loses of the packets that a filter has changed is found by trying, and kept in /run.
netns.describe("the trial of what the kernel loses", function()
  -- A /run of its own, and a filter that gives each ping an IPv4 option.
  local function run(before, more)
    return netns.run([[
      mount -t tmpfs none /run || fail "no /run of its own"
      kept() { printf '%s\n%s\nloses:%s\n' "$(uname -r)" "$(uname -v)" "$1"; }
    ]] .. before .. [[

      rule -A OUTPUT -p icmp --icmp-type echo-request -j NFQUEUE --queue-num 0
      filter options --on-error accept <<'END'
return function(pkt) pkt.ip.options = "\1\1\1\0" end
END
      pings 1 127.0.0.1
      stop options
      echo "file: $(tail -n 1 /run/ipq-lua.kernel) $(stat -c '%a %U' /run/ipq-lua.kernel)"
      ls /run
    ]] .. (more or ""), nil, "-m")
  end
  local REASON = "packet changed: this kernel drops a packet whose IPv4 options, fragment fields %(but DF%) or IPv6 "
    .. "extension headers were changed, and a bridged one"
  -- What it says of this kernel, on other days.
  local LOSES = "file: (loses:[ %l]*) 644 root\n"

  -- Before 6.12 what becomes of changed UDP segments is known, and not tried: Linux 5.10 stops for it.
  local function is_old()
    local major, minor = netns.shell "uname -r":match "^(%d+)%.(%d+)"
    return tonumber(major) < 6 or tonumber(major) == 6 and tonumber(minor) < 12
  end

  it("does not try what an old kernel stops for, and has it lost", function()
    if not is_old() then return pending "this kernel takes it" end
    local output = run ""
    assert.matches("file: loses:[ %l]* segments 644 root\n", output)
  end)

  it("finds what becomes of a changed packet", function()
    local output = run ""
    local lost = assert(output:match(LOSES), output)
    -- The error verdict accepts it unchanged.
    assert.matches("^1 received\n", output)
    if lost:find "layout" then
      assert.matches(REASON, output)
      assert.matches("1 packets, 1 accepted, 0 dropped, 0 other verdicts, 1 errors", output)
    else
      assert.matches("1 packets, 1 accepted, 0 dropped, 0 other verdicts, 0 errors", output)
    end
  end)

  it("is kept: what was found of this kernel is not tried again", function()
    local output = run("kept ' layout segments' > /run/ipq-lua.kernel", '"$PROGRAM" --doctor | grep "such a change"')
    assert.matches(REASON, output)
    assert.matches("1 errors", output)
    assert.matches("file: loses: layout segments 644 root\n", output)
    assert.matches("warning +kernel: this kernel drops a packet whose IPv4 options[^\n]*; such a change is an error\n"
      .. "warning +kernel: this kernel makes wrong checksums of a large UDP packet[^\n]*; such a change is an error\n",
      output)
    local known = is_old() and 1 or 0
    for lost, count in pairs { [""] = known, [" layout"] = 1 + known, [" segments"] = 1 } do
      output = run(("kept '%s' > /run/ipq-lua.kernel"):format(lost),
        '"$PROGRAM" --doctor | grep -c "such a change" || :')
      assert.matches("file: loses:" .. lost .. " 644 root\n", output)
      assert.matches("\n" .. count .. "\n", output)
    end
  end)

  it("is made anew for another kernel, of another version, and where somebody else has written", function()
    local truth = run "":match(LOSES)
    -- What is not the truth, and would be told if it were believed.
    local lie = truth:find "layout" and "''" or "' layout'"
    for _, before in ipairs {
      "kept LIE | sed '1s/$/x/' > /run/ipq-lua.kernel",
      "kept LIE | sed '2s/$/x/' > /run/ipq-lua.kernel",
      "kept LIE > /run/ipq-lua.kernel; chown nobody /run/ipq-lua.kernel",
      "kept LIE > /run/other; ln -s other /run/ipq-lua.kernel",
      "kept ' nonsense' > /run/ipq-lua.kernel",
      "mkfifo /run/ipq-lua.kernel",
    } do
      local output = run((before:gsub("LIE", lie)))
      assert.equal(truth, output:match(LOSES), before .. "\n" .. output)
    end
  end)

  it("leaves nothing behind but its file, and is not tried without the right to", function()
    local output = netns.run([[
      mount -t tmpfs none /run || fail "no /run of its own"
      setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin "$PROGRAM" --doctor |
        grep "every change\|such a change\|tried"
      ls -A /run
      "$PROGRAM" --doctor > /dev/null
      ls -A /run
      jobs]], nil, "-m")
    assert.matches("^warning +kernel: whether it takes every change to a packet could not be tried[^\n]*\n"
      .. (is_old() and "warning +kernel: this kernel makes wrong checksums[^\n]*\n" or "") .. "ipq%-lua.kernel\n",
      output)
  end)
end)
