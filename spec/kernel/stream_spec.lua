-- Connections that a script edits on a router, between two hosts: real ends, real segments.
local netns = require "spec.support.netns"

local begin = [[
  router
  for table in iptables-legacy ip6tables-legacy; do
    $table -A FORWARD -m mark ! --mark 0x20000000/0x20000000 -p tcp -j NFQUEUE --queue-num 0
  done
  serve() {
    nsenter -t $host_b -n python3 spec/support/stream.py serve "$@" > "$DIR/serve" 2> /dev/null &
    wait_for grep -qs ready "$DIR/serve"
  }
  ask() { on a timeout $((60 * ${IPQ_SLOW:-1})) python3 spec/support/stream.py ask "$@"; }
]]

local function filter(name, text, options)
  return ("filter %s %s <<'FILTER'\n%s\nFILTER\n"):format(name, options or "", text)
end

local function grow(options) return ("run grow %s spec/data/grow.lua\n"):format(options or "") end

netns.describe("a connection whose lines grow", function()
  for _, case in ipairs {
    { "of IPv4", "10.2.0.2", 1000000 },
    { "of IPv6", "fd02::2", 1000000 },
    { "whose packets come one by one", "10.2.0.2", 300000, "--no-gso" },
  } do
    it("comes as it was edited, " .. case[1], function()
      local output = netns.run(begin .. grow(case[4]) .. ([[
        serve %s 80
        # Where each timeout is one of a slow machine's more of the connection is lost.
        ask %s 80 grown $((%d / ${IPQ_SLOW:-1})) 2
        stop grow]]):format(case[2], case[2], case[3]))
      assert.matches("^grown\ngrown\nexit 0\n", output)
      assert.matches("streams: 2 read, 2 edited", output)
      assert.matches(" 0 errors", output)
    end)
  end
end)

netns.describe("what is inserted at once", function()
  it("may be more than a packet or a window has room for", function()
    local output = netns.run(begin .. filter("begin", [[
      return { stream = { edit = true, port = 80,
        client = function(stream) assert(stream:insert(("b"):rep(120000))) end } }]]) .. [[
      serve 10.2.0.2 80
      ask 10.2.0.2 80 begun 1000
      stop begin]])
    assert.matches("^begun\n", output)
  end)
end)

netns.describe("a stream that is erased", function()
  it("is acknowledged, so that its sender goes on", function()
    local output = netns.run(begin .. filter("erase", [[
      return { stream = { edit = true, port = 80,
        client = function(stream) assert(stream:erase(2 ^ 40)) end } }]]) .. [[
      serve 10.2.0.2 80
      ask 10.2.0.2 80 erased 3000000
      stop erase]])
    assert.matches("^erased\nexit 0\n", output)
  end)
end)

netns.describe("a connection that is edited", function()
  it("goes on through kill -9 of the worker, reloads and another program: no byte is another one", function()
    for _, act in ipairs {
      [[kill -KILL $(worker grow) 2> /dev/null]], [[kill -HUP $pid_grow]], [[kill -USR2 $pid_grow]],
    } do
      local output = netns.run(begin .. grow "--max-restarts 1000" .. ([[
        serve 10.2.0.2 80
        { ask 10.2.0.2 80 mixed 1000000 6 > "$DIR/asked"; : > "$DIR/done"; } &
        while [ ! -e "$DIR/done" ]; do %s; sleep 0.08; done
        sort "$DIR/asked" | uniq -c
        stop grow]]):format(act))
      assert.matches("^%s*6 mixed\n", output, act)
    end
  end)

  it("is reset at both ends when the program ends", function()
    local output = netns.run(begin .. grow() .. [[
      cat > "$DIR/ends.py" <<'END'
import socket, sys, time
server = socket.create_server(("10.2.0.2", 80)) if sys.argv[1] == "server" else None
c = server.accept()[0] if print("ready", flush=True) is None and server else socket.create_connection(("10.2.0.2", 80))
if not server: c.sendall(b"line\n")
print(c.recv(100), flush=True)
if server: c.sendall(b"answer")
try: print(c.recv(100) or "closed")
except ConnectionResetError: print("reset")
END
      nsenter -t $host_b -n python3 "$DIR/ends.py" server > "$DIR/server" & server=$!
      wait_for grep -qs ready "$DIR/server"
      nsenter -t $host_a -n python3 "$DIR/ends.py" client > "$DIR/client" & client=$!
      wait_for grep -qs answer "$DIR/client"
      stop grow > "$DIR/stopped"
      head -n 1 "$DIR/stopped"
      wait $server $client
      cat "$DIR/server" "$DIR/client"]])
    assert.equal("exit 0\nready\nb'line<end>\\n'\nreset\nready\nb'answer'\nreset\n", output)
  end)

  it("has no MPTCP, and segments that leave room to grow", function()
    local output = netns.run(begin .. grow() .. [[
      nsenter -t $host_b -n tcpdump -i eth0 -nn -c 1 -l 'tcp[tcpflags] & tcp-syn != 0' \
        > "$DIR/syn" 2> "$DIR/syn.err" & dump=$!
      wait_for grep -qs listening "$DIR/syn.err"
      serve 10.2.0.2 80
      on a python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
s.connect(("10.2.0.2", 80))' 2> /dev/null || on a python3 -c 'import socket; socket.create_connection(("10.2.0.2", 80))'
      wait $dump
      cat "$DIR/syn"]])
    assert.matches("mss 1396", output)
    assert.not_matches("mptcp", output)
  end)

  it("learns what its path takes behind the filter, and its sender understands that", function()
    -- b is a router, too; between it and c, which says nothing of that, packets have 1,300 bytes at most.
    local output = netns.run(begin .. [[
      iptables-legacy -A FORWARD -m mark ! --mark 0x20000000/0x20000000 -p icmp -j NFQUEUE --queue-num 0
      host c
      ip link add to_c netns $host_b type veth peer name eth0 netns $host_c
      on b ip addr add 10.3.0.1/24 dev to_c
      on c ip addr add 10.3.0.2/24 dev eth0
      for side in "b ip link set to_c" "c ip link set eth0"; do on $side mtu 1300 up; done
      wait_for is_up on c ip link show eth0
      on c ip route add default via 10.3.0.1 advmss 1460
      on b sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
      ip route add 10.3.0.0/24 via 10.2.0.2
    ]] .. grow() .. [[
      host_b=$host_c
      serve 10.3.0.2 80
      ask 10.3.0.2 80 grown 200000
      iptables-legacy -nvxL FORWARD 2 | awk '$1 > 0 { print "errors" }'
      stop grow]])
    assert.matches("^grown\nerrors\nexit 0\n", output)
  end)
end)

netns.describe("ends that speak at once", function()
  for how, what in pairs {
    meet = "and close at once", urgent = "with urgent data", fastopen = "where the client speaks in its SYN",
  } do
    it("get what was edited, " .. what, function()
      local output = netns.run(begin .. filter("both", [[
        local function grow(stream)
          for line in function() return stream:peek_line() end do
            stream:skip(#line - 1)
            assert(stream:insert "<end>")
            stream:skip(1)
          end
        end
        return { stream = { edit = true, port = 80, hold = 10, client = grow, server = grow } }]]) .. ([[
        for side in a b; do on $side sh -c 'echo 3 > /proc/sys/net/ipv4/tcp_fastopen'; done
        how=%s
        nsenter -t $host_b -n python3 spec/support/manners.py $how serve 10.2.0.2 80 2 > "$DIR/serve" & server=$!
        wait_for grep -qs ready "$DIR/serve"
        on a timeout $((60 * ${IPQ_SLOW:-1})) python3 spec/support/manners.py $how ask 10.2.0.2 80 2
        wait $server
        cat "$DIR/serve"
        stop both]]):format(how))
      assert.matches("^grown\ngrown\nready\ngrown\ngrown\nexit 0\n", output)
      assert.matches("streams: 2 read, 2 edited", output)
    end)
  end
end)

netns.describe("a connection of which one direction is queued alone", function()
  it("is left alone, and counted", function()
    local output = netns.run([[
      router
      rule -A FORWARD -m mark ! --mark 0x20000000/0x20000000 -p tcp --dport 80 -j NFQUEUE --queue-num 0
      nsenter -t $host_b -n python3 spec/support/stream.py serve 10.2.0.2 80 > "$DIR/serve" 2> /dev/null &
      wait_for grep -qs ready "$DIR/serve"
    ]] .. grow() .. [[
      on a python3 spec/support/stream.py ask 10.2.0.2 80 same 100000
      stop grow]])
    assert.matches("^same\nexit 0\n", output)
    assert.matches("streams: 1 read, 1 one_sided", output)
  end)
end)

netns.describe("a script that edits", function()
  it("says so at its start where no rule of its own brings ICMP errors", function()
    local output = netns.run [[
      run tcp -q 0:1 --rule 'FORWARD -p tcp' spec/data/grow.lua
      stop tcp
      run icmp --rule 'FORWARD -p tcp' --rule 'FORWARD -p icmp' spec/data/grow.lua
      stop icmp
      run all --rule 'FORWARD -s 10.0.0.1' spec/data/grow.lua
      stop all
      run by_hand spec/data/grow.lua
      stop by_hand]]
    local told = "warning: no %-%-rule brings ICMP errors, by which the ends of a connection learn the path's MTU: "
      .. "what they say of edited ones is not translated; add %-%-rule 'CHAIN %-p icmp', as"
    assert.equal(1, select(2, output:gsub(told, "")), output)
    assert.truthy(output:find(told) < output:find("exit 0", 8), output)
  end)

  it("does not start with options that let packets by untranslated", function()
    local output = netns.run([[
      for option in --per-cpu --fail-open "--on-error accept" "--rule OUTPUT --queue-bypass"; do
        "$PROGRAM" $option spec/data/grow.lua 2>&1 | grep -o "it edits.*would"
      done
      "$PROGRAM" --no-send spec/data/grow.lua 2> /dev/null
      echo $?]])
    assert.equal([[
it edits connections (stream.edit), and --per-cpu would
it edits connections (stream.edit), and --fail-open would
it edits connections (stream.edit), and --on-error accept would
it edits connections (stream.edit), and --queue-bypass would
77
]], output)
  end)
end)
