local netns = require "spec.support.netns"

-- A server at address:9000 takes lengths and as many bytes, and answers each with a byte. The client sends it
-- pieces, one after the other in one connection, then one in a new connection; each time it prints how many
-- packets the queue ever had.
local talk = [[
  cat > "$DIR/talk.py" <<'END'
import socket, struct, sys, threading

def read(peer, size):
    while size:
        size -= len(peer.recv(min(size, 1 << 20)) or exit(1))

def serve(peer):
    while True:
        head = peer.recv(8, socket.MSG_WAITALL)
        if not head: return
        read(peer, struct.unpack("!Q", head)[0])
        peer.sendall(b"k")

def queued():
    return int(open(sys.argv[3]).read().split()[7])

def send(client, size):
    client.sendall(struct.pack("!Q", size) + b"x" * size)
    assert client.recv(1) == b"k"
    print("queued", queued(), flush=True)

if sys.argv[1] == "server":
    server = socket.create_server(("", 9000))
    while True:
        threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
client = socket.create_connection((sys.argv[2], 9000))
for size in 10000, 8000000, 1: send(client, size)
send(socket.create_connection((sys.argv[2], 9000)), 1)
END
  # The counters are this namespace's, wherever the client is.
  list=/proc/$$/net/netfilter/nfnetlink_queue
  BIT=0x40000000
]]

local over_loopback = [[
  python3 "$DIR/talk.py" server &
  wait_for grep -q ':2328 .* 0A ' /proc/net/tcp
  run bypass scripts/bypass_flow.lua
  python3 "$DIR/talk.py" client 127.0.0.1 $list
  stop bypass
]]

local through_router = [[
  nsenter -t $host_b -n python3 "$DIR/talk.py" server &
  wait_for on b grep -q ':2328 .* 0A ' /proc/net/tcp
  run bypass scripts/bypass_flow.lua
  on a python3 "$DIR/talk.py" client 10.2.0.2 $list
  stop bypass
]]

local save_mark = "rule -t mangle -A POSTROUTING -m mark --mark $BIT/$BIT -j CONNMARK --or-mark $BIT\n"

local hooks = {
  FORWARD = "router\nrule -A FORWARD -p tcp -m connmark ! --mark $BIT/$BIT -j NFQUEUE --queue-num 0\n"
    .. save_mark .. through_router,
  OUTPUT = "rule -A OUTPUT -p tcp -m connmark ! --mark $BIT/$BIT -j NFQUEUE --queue-num 0\n"
    .. save_mark .. over_loopback,
  INPUT = "rule -t mangle -A INPUT -p tcp -m connmark ! --mark $BIT/$BIT -j NFQUEUE --queue-num 0\n"
    .. "rule -A INPUT -m mark --mark $BIT/$BIT -j CONNMARK --or-mark $BIT\n" .. over_loopback,
  ["FORWARD, saved by nft"] = "router\n"
    .. "rule -A FORWARD -p tcp -m connmark ! --mark $BIT/$BIT -j NFQUEUE --queue-num 0\n" .. [[
    nft 'add table inet bypass'
    nft 'add chain inet bypass post { type filter hook postrouting priority mangle; }'
    nft 'add rule inet bypass post meta mark & 0x40000000 != 0 ct mark set ct mark | 0x40000000'
  ]] .. through_router,
}

netns.describe("pkt:bypass()", function()
  for hook, text in pairs(hooks) do
    it("has a flow queued no more, and a new one again, in " .. hook, function()
      local output = netns.run(talk .. text)
      local queued = {}
      for n in output:gmatch "queued (%d+)" do queued[#queued + 1] = tonumber(n) end
      assert.equal(4, #queued, output)
      -- SYN, SYN and ACK, ACK, the first bytes; megabytes; a byte more.
      assert.is_true(queued[1] >= 4 and queued[1] < 40, output)
      assert.same({ queued[1], queued[1] }, { queued[2], queued[3] })
      assert.is_true(queued[4] >= queued[3] + 4, output)
      assert.matches("0 dropped, 0 other verdicts, 0 errors", output)
    end)
  end
end)
