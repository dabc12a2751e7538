-- scripts/block_sni.lua on a router, with clients of TLS and QUIC as people have them.
local netns = require "spec.support.netns"

-- Not all of Debian's releases have them.
local has_quic = os.execute "command -v gtlsclient > /dev/null && command -v gtlsserver > /dev/null" == 0

local begin = [[
  router
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=server \
    -keyout "$DIR/key" -out "$DIR/cert" 2> /dev/null
  run block --rule 'FORWARD -p tcp --dport 443' --rule 'FORWARD -p tcp --sport 443' \
    --rule 'FORWARD -p udp --dport 443' scripts/block_sni.lua names=blocked.example
  listens() { on b ss -Hnl"$1" "sport = :443" | grep -q .; }
]]

local TLS = begin .. [[
  nsenter -t $host_b -n openssl s_server -quiet -www -accept 443 -cert "$DIR/cert" -key "$DIR/key" > /dev/null 2>&1 &
  wait_for listens t
  # ask NAME ADDRESS [OPTION...]: what curl says of it.
  ask() {
    name=$1 address=$2
    shift 2
    on a curl -sk -o "$DIR/page" -m $((20 * ${IPQ_SLOW:-1})) --resolve "$name:443:$address" "$@" "https://$name/" &&
      grep -q 'Ciphers supported' "$DIR/page"
    echo "$name: $?"
  }
]]

netns.describe("block_sni.lua on a router", function()
  it("has curl get pages by free names and not by others, over both families", function()
    local output = netns.run(TLS .. [[
      for address in 10.2.0.2 '[fd02::2]'; do
        for name in free.example blocked.example www.blocked.example; do ask $name $address; done
        ask free.example $address --tls-max 1.2
        ask blocked.example $address --tls-max 1.2
      done
      stop block]])
    -- 35: the connection was reset while TLS began.
    local once = "free.example: 0\nblocked.example: 35\nwww.blocked.example: 35\nfree.example: 0\nblocked.example: 35\n"
    assert.equal(once .. once, output:sub(1, 2 * #once))
    assert.matches("10.1.0.2 asks for blocked.example: blocked", output)
    assert.matches("fd01::2 asks for www.blocked.example: blocked", output)
    assert.matches(" 0 errors", output)
  end)

  it("has openssl connect by free names and not by others, by hellos of two segments", function()
    local output = netns.run(TLS .. [[
      protocols=$(seq -s, -f 'protocol-%04g-of-many-that-nobody-speaks-and-that-make-a-hello-long' 1 30)
      for name in free.example blocked.example; do
        on a timeout $((20 * ${IPQ_SLOW:-1})) openssl s_client -connect 10.2.0.2:443 -servername $name \
          -alpn "$protocols" < /dev/null > "$DIR/said" 2>&1
        grep -q '^New, TLSv1.3' "$DIR/said" && echo "$name: connected" || echo "$name: not"
      done
      stop block]])
    assert.matches("^free.example: connected\nblocked.example: not\n", output)
    assert.matches("asks for blocked.example: blocked", output)
  end)

  it("reads a hello whose second segment comes first, and lets the rest of a free connection pass by", function()
    local output = netns.run(TLS .. [[
      cat > "$DIR/late.py" <<'END'
import socket, ssl, sys, threading
name = sys.argv[1]
context = ssl._create_unverified_context()
incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
tls = context.wrap_bio(incoming, outgoing, server_hostname=name)
try: tls.do_handshake()
except ssl.SSLWantReadError: pass
hello = outgoing.read()
s = socket.create_connection(("10.2.0.2", 443))
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
s.sendall(hello[:100])
s.sendall(hello[100:])
try: print(name, "answered" if s.recv(1) == b"\x16" else "closed")
except ConnectionResetError: print(name, "reset")
END
      # A first segment of a hello, which has 100 bytes, is lost once.
      lose() { on a iptables-legacy -t mangle "$@"; }
      lose -N lose
      lose -A lose -j CONNMARK --set-mark 1
      lose -A lose -j DROP
      lose -A OUTPUT -p tcp --dport 443 -m length --length 152 -m connmark --mark 0 -j lose
      on a python3 "$DIR/late.py" free.example
      on a python3 "$DIR/late.py" blocked.example
      lose -nvxL lose | awk '/DROP/ { print $1 " lost" }'
      stop block]])
    assert.matches("^free.example answered\nblocked.example reset\n2 lost\n", output)
  end)

  it("lets no client of QUIC connect by a name of the list", function()
    if not has_quic then return pending "the packages ngtcp2-client and ngtcp2-server are missing" end
    -- Without and with a Retry.
    for _, options in ipairs { "", "-V" } do
      local output = netns.run(begin .. ([[
        nsenter -t $host_b -n gtlsserver -q %s '*' 443 "$DIR/key" "$DIR/cert" > "$DIR/server" 2>&1 &
        wait_for listens u
        for address in 10.2.0.2 fd02::2; do
          for name in free.example blocked.example; do
            printf '%%s %%s\n' $address $name > "$DIR/hosts"
            on a unshare -m sh -c "mount --bind $DIR/hosts /etc/hosts && timeout $((20 * ${IPQ_SLOW:-1})) \
              gtlsclient --exit-on-all-streams-close --handshake-timeout=2s --no-quic-dump --no-http-dump \
              $name 443 https://$name/" > "$DIR/said" 2>&1
            grep -q 'Negotiated cipher suite' "$DIR/said" && echo "$name: connected" || echo "$name: not"
          done
        done
        stop block]]):format(options))
      local once = "free.example: connected\nblocked.example: not\n"
      assert.equal(once .. once, output:sub(1, 2 * #once))
      assert.matches("10.1.0.2 asks for blocked.example: blocked", output)
      assert.matches("fd01::2 asks for blocked.example: blocked", output)
      assert.not_matches("cannot be read", output)
    end
  end)
end)
