local netns = require "spec.support.netns"

-- Whether the kernel drops packets whose headers were laid out anew is found by trying, and kept in /run.
netns.describe("the trial of what the kernel drops", function()
  -- A /run of its own, and a filter that gives each ping an IPv4 option.
  local function run(before, more)
    return netns.run([[
      mount -t tmpfs none /run || fail "no /run of its own"
      kept() { printf '%s\n%s\n%s\n' "$(uname -r)" "$(uname -v)" "$1"; }
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

  it("finds what becomes of a changed packet", function()
    local output = run ""
    local result = output:match "file: (%l+) 644 root\n"
    if result == "taken" then
      assert.matches("^1 received\n", output)
      assert.matches("1 packets, 1 accepted, 0 dropped, 0 other verdicts, 0 errors", output)
    else
      assert.equal("dropped", result, output)
      assert.matches(REASON, output)
      -- The error verdict accepts it unchanged.
      assert.matches("^1 received\n", output)
      assert.matches("1 packets, 1 accepted, 0 dropped, 0 other verdicts, 1 errors", output)
    end
  end)

  it("is kept: what was found of this kernel is not tried again", function()
    local output = run("kept dropped > /run/ipq-lua.kernel", '"$PROGRAM" --doctor | grep "every change\\|kernel drops"')
    assert.matches(REASON, output)
    assert.matches("1 errors", output)
    assert.matches("file: dropped 644 root\n", output)
    assert.matches("warning +kernel: this kernel drops a packet whose IPv4 options", output)
  end)

  it("is made anew for another kernel, of another version, and where somebody else has written", function()
    for _, before in ipairs {
      "kept dropped | sed '1s/$/x/' > /run/ipq-lua.kernel",
      "kept dropped | sed '2s/$/x/' > /run/ipq-lua.kernel",
      "kept dropped > /run/ipq-lua.kernel; chown nobody /run/ipq-lua.kernel",
      "kept dropped > /run/other; ln -s other /run/ipq-lua.kernel",
      "kept nonsense > /run/ipq-lua.kernel",
      "mkfifo /run/ipq-lua.kernel",
    } do
      local output = run(before)
      local others = netns.run '"$PROGRAM" --doctor | grep "every change\\|kernel drops"'
      assert.equal(others:find("every change", 1, true) ~= nil, output:find("file: taken 644 root", 1, true) ~= nil,
        before .. "\n" .. output)
    end
  end)

  it("leaves nothing behind but its file, and is not tried without the right to", function()
    local output = netns.run([[
      mount -t tmpfs none /run || fail "no /run of its own"
      setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin "$PROGRAM" --doctor |
        grep "every change\|kernel drops\|tried"
      ls -A /run
      "$PROGRAM" --doctor | grep -c "every change\|kernel drops"
      ls -A /run
      jobs]], nil, "-m")
    assert.matches("^warning +kernel: whether it takes every change to a packet could not be tried[^\n]*\n1\n"
      .. "ipq%-lua.kernel\n", output)
  end)
end)
