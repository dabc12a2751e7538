-- Verdicts that the kernel does not take (see spec/c/refuse_verdicts.c).
local netns = require "spec.support.netns"

-- ENOBUFS and ENOMEM, of which nothing is left when the kernel has memory again; EINVAL, which stays.
local short = { ENOBUFS = 105, ENOMEM = 12 }
local EINVAL = 22

-- What a filter says that judges three packets, and how many of them have come through.
local function refuse(number, times, wait)
  return netns.run(([[
    rule -A OUTPUT -p udp --dport 9 -j QUEUE
    rule -A INPUT -p udp --dport 9 -j DROP
    export IPQ_SPEC_ERRNO=%d IPQ_SPEC_TIMES=%d ASAN_OPTIONS=detect_leaks=0:verify_asan_link_order=0
    LD_PRELOAD=./$IPQ_BUILD/spec/refuse_verdicts.so
    export LD_PRELOAD
    run accept scripts/accept.lua
    unset LD_PRELOAD
    bash -c 'for i in {1..3}; do echo $i > /dev/udp/127.0.0.1/9; done'
    %s
    stop accept
    iptables-legacy -nvxL INPUT | awk '/dpt:9/ { print "arrived", $1 }']]):format(number, times, wait))
end

netns.describe("a verdict that the kernel has no memory for", function()
  for name, number in pairs(short) do
    it("is sent again until it is taken (" .. name .. ")", function()
      local output = refuse(number, 50, "wait_for arrived 3")
      assert.matches("^exit 0\n", output)
      assert.matches("queue 0: 3 packets, 3 accepted, 0 dropped, 0 other verdicts, 0 errors, 0 lost unseen\n", output)
      assert.matches("arrived 3\n", output)
      assert.not_matches("error:", output)
    end)
  end

  it("ends its worker where there never is any", function()
    local output = refuse(short.ENOBUFS, 1000000, 'wait_for logged accept "its worker, process"')
    assert.matches("error: queue 0: No buffer space available\n", output)
    assert.matches("queue 0: its worker, process %d+, ended with status 69\n", output)
    assert.matches("arrived 0\n", output)
  end)
end)

netns.describe("a verdict that the kernel refuses otherwise", function()
  it("is not sent again, and ends its worker", function()
    local output = refuse(EINVAL, 1, 'wait_for logged accept "goes on"')
    assert.matches("error: queue 0: Invalid argument\n", output)
    assert.matches("queue 0: its worker, process %d+, ended with status 69\n", output)
  end)
end)
