-- Headers changed on a router between real programs: curl and python's clients, and python's server.
local netns = require "spec.support.netns"

local begin = [[
  router
  for table in iptables-legacy ip6tables-legacy; do
    $table -A FORWARD -m mark ! --mark 0x20000000/0x20000000 -p tcp -j NFQUEUE --queue-num 0
  done
  nsenter -t $host_b -n python3 spec/support/keep_alive.py > "$DIR/serve" 2> /dev/null &
  wait_for grep -qs ready "$DIR/serve"
  curl() { on a curl -sS -m $((20 * ${IPQ_SLOW:-1})) --noproxy '*' "$@"; }
]]

netns.describe("http_header.lua between real programs", function()
  for _, server in ipairs { "10.2.0.2", "[fd02::2]" } do
    it("sets a header in all requests of a connection, and removes one of all responses: " .. server, function()
      local output = netns.run(begin .. ([[
        run header scripts/http_header.lua name=X-Seen value=yes
        url=http://%s:80
        curl $url/a $url/b -H 'x-seen: no' $url/c
        curl -d "$(printf %%05000d 0)" $url/post
        curl -H 'Transfer-Encoding: chunked' -H 'Expect: 100-continue' --data-binary @spec/support/netns.sh $url/chunks
        curl -I $url/head $url/after | grep -c 'X-Echo: yes'
        curl -H 'Connection: Upgrade' -H 'Upgrade: none' $url/upgrade
        stop header
        run server scripts/http_header.lua direction=response name=X-Echo remove=yes
        curl -i $url/d $url/e | grep -c X-Echo
        curl -I $url/head $url/after | grep -c X-Echo
        curl -i $url/chunked | grep -c X-Echo
        stop server]]):format(server))
      assert.matches("^GET /a yes 0\nGET /b yes 0\nGET /c yes 0\nPOST /post yes 5000\nPOST /chunks yes %d%d%d%d\n2\n"
        .. "GET /upgrade yes 0\nexit 0\n", output)
      assert.matches("\n0\n0\n0\nexit 0", output)
      assert.not_matches("[1-9]%d* errors", output)
    end)
  end

  it("does so in requests that do not wait for each other", function()
    local output = netns.run(begin .. [[
      run header scripts/http_header.lua name=X-Seen value=yes
      on a python3 -c '
import socket
s = socket.create_connection(("10.2.0.2", 80))
s.sendall(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n" * 50 + b"GET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
all = b""
while True:
    got = s.recv(65536)
    if not got: break
    all += got
print(all.count(b"GET /1 yes"), all.count(b"GET /2 yes"))'
      stop header]])
    assert.matches("^50 1\nexit 0\n", output)
  end)
end)

netns.describe("flow_log.lua between real programs", function()
  it("tells each connection with the host that it asked for", function()
    local output = netns.run(begin .. [[
      run log scripts/flow_log.lua
      curl -H 'Host: www.Example.org' http://10.2.0.2/a > /dev/null
      stop log
      grep -o '"name":"[^"]*"' "$DIR/log.out"]])
    assert.matches('"name":"www.example.org"\n', output)
  end)
end)

netns.describe("port_knock.lua and rate_limit.lua", function()
  it("open a port after knocks, through a killed worker and a reload", function()
    local output = netns.run(begin .. [[
      try() { on a python3 -c 'import socket, sys; s = socket.socket(); s.settimeout(0.3)
try: s.connect(("10.2.0.2", int(sys.argv[1]))); print("open")
except OSError: print("shut")' $1; }
      run knock --max-restarts 10 scripts/port_knock.lua knock=7000,8000 port=80
      try 80
      try 7000 > /dev/null
      before=$(worker knock)
      kill -KILL $before
      renewed() { now=$(worker knock); [ -n "$now" ] && [ "$now" != "$before" ]; }
      wait_for renewed
      try 8000 > /dev/null
      before=$(worker knock)
      kill -HUP $pid_knock
      wait_for renewed
      try 80
      stop knock]])
    assert.matches("^shut\nopen\nexit 0\n", output)
  end)

  it("keep to a rate, whatever becomes of workers", function()
    local output = netns.run(begin .. [[
      iptables-legacy -F FORWARD
      iptables-legacy -A FORWARD -p icmp --icmp-type echo-request -j NFQUEUE --queue-num 0
      run limit --max-restarts 10 scripts/rate_limit.lua rate=0.001 burst=5
      on a ping -q -c 4 -i 0.2 -W $REPLY 10.2.0.2 | grep -o '[0-9]* received'
      before=$(worker limit)
      kill -KILL $before
      renewed() { now=$(worker limit); [ -n "$now" ] && [ "$now" != "$before" ]; }
      wait_for renewed
      on a ping -q -c 4 -i 0.2 -W 1 10.2.0.2 | grep -o '[0-9]* received'
      stop limit]])
    assert.matches("^4 received\n1 received\n", output)
  end)
end)

netns.describe("transparent_tarpit.lua", function()
  it("keeps a client whose bytes are never taken", function()
    local output = netns.run([[
      router
      for table in iptables-legacy ip6tables-legacy; do nsenter -t $host_b -n $table -A INPUT -p tcp -j NFQUEUE; done
      nsenter -t $host_b -n "$PROGRAM" scripts/transparent_tarpit.lua used=22 > "$DIR/pit.out" 2>&1 & pit=$!
      bound() { nsenter -t $host_b -n cat /proc/net/netfilter/nfnetlink_queue | grep -q .; }
      wait_for bound
      for address in 10.2.0.2 fd02::2; do on a python3 -c '
import socket, sys
s = socket.create_connection((sys.argv[1], 23), 10)
s.settimeout(1)
s.send(b"hello")
try: print(s.recv(1) or "closed")
except socket.timeout: print("kept")
s = socket.socket(s.family)
try: s.connect((sys.argv[1], 22)); print("open")
except ConnectionRefusedError: print("refused")' $address; done
      kill $pit; wait $pit]])
    assert.matches("^kept\nrefused\nkept\nrefused\n", output)
  end)
end)
