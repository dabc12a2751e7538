-- scripts/dns_sinkhole.lua and scripts/dns_rewrite.lua between dig and dnsmasq.
local netns = require "spec.support.netns"

-- serve PREFIX...: dnsmasq, which PREFIX runs where it is to be. ask ARGUMENTS...: dig, in one line.
local begin = [[
  serve() {
    "$@" dnsmasq --conf-file=/dev/null --keep-in-foreground --no-resolv --no-hosts --no-daemon --log-queries \
      --user=root --pid-file= --local=/example/ --host-record=www.example,192.0.2.7,2001:db8::7 \
      --host-record=ads.example,192.0.2.8,2001:db8::8 --host-record=a.track.example,192.0.2.9 \
      --txt-record=www.example,hello > "$DIR/served" 2>&1 &
    wait_for grep -qs started "$DIR/served"
  }
  ask() {
    dig +tries=1 +time=$((5 * ${IPQ_SLOW:-1})) +noall +comments +answer "$@" 2>&1 |
      awk '/status:/ { sub(/.*status: /, ""); sub(/,.*/, ""); line = $0; next }
        /EDNS:/ { line = line (/flags: do/ ? " do" : " edns") }
        /^[^;]/ { line = line " " $4 " " $2 " " $5 }
        /timed out|failed|reset|unexpected|mismatch|Warning/ { line = line " " $0 }
        END { print line }'
  }
  asks() {
    for way in +notcp +tcp; do
      ask $way +noedns "$@"
      ask $way +edns "$@"
      ask $way +dnssec "$@"
    done
  }
]]

local function six(answer)
  local lines = {}
  for _, way in ipairs { "", " edns", " do", "", " edns", " do" } do
    lines[#lines + 1] = (answer:gsub("^%S+", "%0" .. way)) .. "\n"
  end
  return table.concat(lines)
end

local WAYS = {
  { "at the host itself, IPv4", "127.0.0.1", "", "OUTPUT", "INPUT" },
  { "at the host itself, IPv6", "::1", "", "OUTPUT", "INPUT" },
  { "on a router, IPv4", "10.2.0.2", "on a", "FORWARD", "FORWARD" },
  { "on a router, IPv6", "fd02::2", "on a", "FORWARD", "FORWARD" },
}

--- The beginning of a script: a server, and a way to ask it.
local function place(way)
  local _, address, prefix = unpack(way)
  if prefix == "" then return begin .. "serve env\nat() { \"$@\"; }\nserver=" .. address .. "\n" end
  return "router\n" .. begin .. "serve nsenter -t $host_b -n\nat() { on a \"$@\"; }\nserver=" .. address
    .. "\ndig() { at $(command -v dig) \"$@\"; }\n"
end

netns.describe("scripts/dns_sinkhole.lua, live,", function()
  for _, way in ipairs(WAYS) do
    it("answers by its list, and what changes in that, " .. way[1], function()
      local output = netns.run(place(way) .. ([[
        printf '0.0.0.0 ads.example\n*.track.example\n' > "$DIR/list"
        run sink --rule '%s -p udp --dport 53' --rule '%s -p tcp --dport 53' --rule '%s -p tcp --sport 53' \
          scripts/dns_sinkhole.lua list="$DIR/list" seconds=0.1
        wait_for logged sink "is in place" 3
        asks @$server Ads.Example
        asks @$server a.track.example AAAA
        asks @$server www.example
        # What the server was asked.
        grep -c 'query.*\(ads\|track\)' "$DIR/served"
        printf 'www.example\n' > "$DIR/new" && mv "$DIR/new" "$DIR/list"
        wait_for logged sink "1 names"
        ask @$server www.example
        ask @$server +tcp ads.example
        echo wrong line >> "$DIR/list"
        wait_for logged sink "list:2: not a domain name"
        ask @$server www.example
        stop sink]]):format(way[4], way[4], way[5]))
      assert.equal(six "NXDOMAIN" .. six "NXDOMAIN" .. six "NOERROR A 0 192.0.2.7" .. "0\nNXDOMAIN edns\n"
        .. "NOERROR edns A 0 192.0.2.8\nNXDOMAIN edns\nexit 0\n", output:match "^.-exit 0\n", output)
      assert.matches(" 0 errors, 0 lost unseen", output)
      assert.equal(14, select(2, output:gsub('"listed":', "")))
    end)
  end

  it("answers with no addresses if told to, with 100,000 names", function()
    local output = netns.run(place(WAYS[1]) .. [[
      awk 'BEGIN { for (i = 0; i < 100000; i++) print "0.0.0.0 host" i ".of" i % 999 ".example" }' > "$DIR/list"
      echo '||ads.example^' >> "$DIR/list"
      run sink --rule 'OUTPUT -p udp --dport 53' --rule 'OUTPUT -p tcp --dport 53' --rule 'INPUT -p tcp --sport 53' \
        scripts/dns_sinkhole.lua list="$DIR/list" answer=zero ttl=33
      wait_for logged sink "is in place" 3
      asks @127.0.0.1 x.ads.example
      asks @127.0.0.1 host99999.of99.example AAAA
      asks @127.0.0.1 ads.example TXT
      # Two queries over one connection.
      dig +tcp +keepopen +short @127.0.0.1 ads.example www.example host1.of1.example
      stop sink]])
    assert.equal(six "NOERROR A 33 0.0.0.0" .. six "NOERROR AAAA 33 ::" .. six "NOERROR"
      .. "0.0.0.0\n192.0.2.7\n0.0.0.0\nexit 0\n", output:match "^.-exit 0\n", output)
    assert.matches("streams: 10 read, 10 edited", output)
  end)

  it("answers thousands at once, and loses none", function()
    local output = netns.run(place(WAYS[1]) .. [[
      echo ads.example > "$DIR/list"
      run sink --rule 'OUTPUT -p udp --dport 53' scripts/dns_sinkhole.lua list="$DIR/list"
      wait_for logged sink "is in place"
      awk 'BEGIN { for (i = 0; i < 4000; i++) print i % 2 ? "www.example A" : "x" i ".ads.example A" }' > "$DIR/ask"
      timeout 60 dnsperf -s 127.0.0.1 -d "$DIR/ask" -n 1 -c 4 -q 60 -t $((5 * ${IPQ_SLOW:-1})) |
        grep -o 'Queries completed:.*\|Response codes:.*'
      stop sink]])
    assert.matches("^Queries completed: *4000 %(100.00%%%)\n"
      .. "Response codes: *NOERROR 2000 %(50.00%%%), NXDOMAIN 2000 %(50.00%%%)\nexit 0\n", output)
    assert.matches(" 0 errors, 0 lost unseen", output)
  end)
end)

netns.describe("scripts/dns_rewrite.lua, live,", function()
  for _, way in ipairs(WAYS) do
    it("changes answers for its name, " .. way[1], function()
      local output = netns.run(place(way) .. ([[
        run rewrite --rule '%s -p udp --sport 53' --rule '%s -p tcp --dport 53' --rule '%s -p tcp --sport 53' \
          scripts/dns_rewrite.lua name=www.example A=198.51.100.1 ttl=44
        wait_for logged rewrite "is in place" 3
        asks @$server WWW.example
        asks @$server www.example AAAA
        asks @$server ads.example
        stop rewrite]]):format(way[5], way[4], way[5]))
      assert.equal(six "NOERROR A 44 198.51.100.1" .. six "NOERROR" .. six "NOERROR A 0 192.0.2.8" .. "exit 0\n",
        output:match "^.-exit 0\n", output)
      assert.matches(" 0 errors, 0 lost unseen", output)
    end)
  end
end)
