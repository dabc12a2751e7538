local netns = require "spec.support.netns"

-- What the kernel would have to do wrong: every third of its messages is damaged on its way (see
-- spec/c/mangle_messages.c).
local function damaged(how, more)
  return netns.run(([[
    rule -A OUTPUT -p udp --dport 9 -j QUEUE
    rule -A INPUT -p udp --dport 9 -j DROP
    export IPQ_SPEC_MANGLE=%s ASAN_OPTIONS=detect_leaks=0:verify_asan_link_order=0
    LD_PRELOAD=./$IPQ_BUILD/spec/mangle_messages.so
    export LD_PRELOAD
    filter accept <<'END'
return function() return require "ipq".ACCEPT end
END
    unset LD_PRELOAD
    bash -c 'for i in {1..30}; do echo $i > /dev/udp/127.0.0.1/9; done'
    wait_for seen 30
    wait_for arrived 20
    %s
    awk '{ print "waiting", $3 }' /proc/net/netfilter/nfnetlink_queue
    stop accept
    iptables-legacy -nvxL INPUT | awk '/dpt:9/ { print "arrived", $1 }']]):format(how, more or ""))
end

netns.describe("a damaged message", function()
  for _, how in ipairs { "length", "short" } do
    it("costs its packet the error verdict where the id can be read (" .. how .. ")", function()
      local output = damaged(how)
      assert.matches("arrived 20\n", output)
      assert.matches("waiting 0\n", output)
      assert.matches("queue 0: 20 packets, 20 accepted", output)
      assert.matches("warning: queue 0: 10 messages of the kernel could not be read", output)
    end)
  end

  it("costs its packet the error verdict where no id can be read, as soon as another one comes", function()
    -- Of three more one, mostly, cannot be read: the kernel's other messages count as well.
    local output = damaged("id", [[
      few_wait() { waiting 0 || waiting 1; }
      bash -c 'for i in 1 2 3; do echo > /dev/udp/127.0.0.1/9; done'
      wait_for arrived 22
      wait_for few_wait]])
    local arrived, unread = output:match "arrived (%d+)\n", output:match "queue 0: (%d+) messages of the kernel could"
    assert.equal(33, arrived + unread, output)
    assert.is_true(tonumber(unread) >= 10, output)
  end)

  it("that is an error of the kernel is counted with its meaning", function()
    local output = damaged "error"
    assert.matches("warning: queue 0: the kernel refused 10 verdicts, the last with: No such file or directory", output)
  end)
end)
