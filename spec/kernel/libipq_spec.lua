-- The classic library on live packets, each case in a network namespace of its own.
local netns = require "spec.support.netns"
local support = require "spec.support.libipq"

local has_queue = select(2, support.run(
  "unshare -n sh -c 'iptables-legacy -A OUTPUT -p udp -j QUEUE && test -r "
  .. "/proc/net/netfilter/nfnetlink_queue'"))

local function live(sentence, run)
  it(sentence, function()
    if not has_queue then pending("needs root and a kernel with NFQUEUE") end
    run()
  end)
end

local function describe_cases(subject, name)
  describe(subject, function()
    for number, sentence in ipairs(support.cases(name)) do
      live(sentence, function() support.case(name, number) end)
    end
  end)
end

describe_cases("ipq_read", "reading")
describe_cases("ipq_set_verdict", "judging")
describe_cases("a handle of libipq", "handles")
describe_cases("libipq's handles for IPv4 and IPv6", "families")

-- A program as the manual page has it, made by nothing but cc and -lipq.
describe("passer", function()
  local dir

  setup(function()
    dir = support.directory()
    support.must(("cc -Ilib/libipq -o %s/passer lib/libipq/examples/passer.c -L%s -lipq"):format(dir, support.build))
  end)
  teardown(function() os.execute("rm -rf " .. dir) end)

  local function program(environment)
    return support.environment .. (environment or "") .. " " .. dir .. "/passer"
  end

  -- Runs passer with argument and environment, then the commands once it owns the queue.
  local function pass(argument, commands, environment)
    return support.run(([[
timeout 600 unshare -n sh -c '
set -e
ip link set lo up
iptables-legacy -A OUTPUT -p icmp -j QUEUE
%s %s & passer=$!
for i in $(seq 6000); do
  grep -q " $passer " /proc/net/netfilter/nfnetlink_queue && break
  sleep 0.01
done
%s
wait $passer'
]]):format(program(environment), argument, commands))
  end

  live("lets pings through and says what they were", function()
    local output, ok = pass("6", "ping -W 10 -q -c 3 -l 3 -i 10 -s 56 127.0.0.1")
    assert.is_true(ok, output)
    assert.matches("3 received", output)
    local packets = 0
    for line in output:gmatch("packet %d+: [^\n]+") do
      assert.matches('84 bytes, hook 3, in "", out "lo"$', line)
      packets = packets + 1
    end
    assert.equal(6, packets)
  end)

  live("ends with EBUSY as a second passer", function()
    local output = pass("2", program() .. " 1 || true; ping -W 10 -q -c 1 127.0.0.1")
    assert.matches("passer: Device or resource busy\n", output)
    assert.matches("1 received", output)
  end)

  live("takes another queue by LIBIPQ_QUEUE", function()
    local output, ok = pass("2", "iptables-legacy -F; iptables-legacy -A OUTPUT -p icmp "
      .. "-j NFQUEUE --queue-num 7; ping -W 10 -q -c 1 127.0.0.1", "LIBIPQ_QUEUE=7")
    assert.is_true(ok, output)
    assert.matches("1 received", output)
  end)

  live("ends with EPERM without CAP_NET_ADMIN", function()
    local output, ok = support.run(
      "unshare -n setpriv --bounding-set -net_admin --inh-caps -net_admin " .. program())
    assert.is_false(ok)
    assert.matches("passer: Operation not permitted\n", output)
  end)
end)

-- The program that the manual page shows, made from what is installed.
describe("the manual page's example", function()
  local dir

  local function compile(name, options)
    support.must(("cc -Wall -Werror -I%s/usr/include -o %s/%s %s/pass.c %s -L%s/usr/lib -lipq"):format(dir, dir, name,
      dir, options, dir))
  end

  setup(function()
    dir = support.directory()
    support.install(dir)
    support.write_example(dir .. "/pass.c")
  end)
  teardown(function() os.execute("rm -rf " .. dir) end)

  -- Runs a script in a namespace of its own with the program at queue 0, which must live on. What the program says when
  -- it ends is in the error.
  local function with(name, rules, script)
    return netns.run(([[
%s
%s%s/%s & pass=$!
runs() { grep -qs '^State:.[^Z]' "/proc/$1/status"; }
wait_for queue_is_bound 0
%s
runs $pass || fail "the program has ended"
kill $pass]]):format(rules, support.environment, dir, name, script))
  end

  live("lets pings through, linked statically and with nothing else", function()
    if support.sanitizer then pending("the archive was built with sanitizers") end
    compile("static", "-static")
    assert.not_matches("NEEDED", support.must("objdump -p " .. dir .. "/static"))
    local output = with("static", "rule -A OUTPUT -p icmp -j QUEUE", "pings 3 127.0.0.1")
    assert.matches("3 received", output)
  end)

  -- Sends 21 MB over so many connections at once, while as many threads read them.
  local transfer = [=[python3 -c '
import socket, threading
CONNECTIONS, BYTES = %d, 21000000
arrived = []
def send(connection):
  with connection: connection.sendall(bytes(BYTES // CONNECTIONS))
def receive(connection):
  with connection: arrived.extend(iter(lambda: len(connection.recv(1 << 16)), 0))
server = socket.create_server(("127.0.0.1", 0))
threads = []
for _ in range(CONNECTIONS):
  threads.append(threading.Thread(target=send, args=[socket.create_connection(server.getsockname())]))
  threads.append(threading.Thread(target=receive, args=[server.accept()[0]]))
for thread in threads: thread.start()
for thread in threads: thread.join()
print(sum(arrived), "bytes arrived")' & transfer=$!
]=]

  for _, connections in ipairs { 1, 6 } do
    live(("lets 21 MB of TCP through, connections at once: %d"):format(connections), function()
      compile("pass", "")
      local output = with("pass", "ip link set lo mtu 1500\nrule -A OUTPUT -p tcp -j QUEUE",
        transfer:format(connections) .. [[
while runs $transfer && runs $pass; do sleep 0.01; done
awk '$1 == 0 { print $7, "lost at the socket" }' /proc/net/netfilter/nfnetlink_queue]])
      assert.matches("21000000 bytes arrived\n0 lost at the socket\n", output)
    end)
  end
end)
