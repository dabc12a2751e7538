-- What tcpdump captures of real packets is filtered as it is, for each link type that it writes.
local netns = require "spec.support.netns"

netns.describe("a capture of live packets", function()
  for _, kind in ipairs {
    { "Ethernet", "-i lo", 1 }, { "Linux cooked", "-i any -y LINUX_SLL", 113 },
    { "Linux cooked 2", "-i any -y LINUX_SLL2", 276 },
  } do
    it("goes through byte for byte: " .. kind[1], function()
      local output = netns.run(([[
        ip link set lo up
        tcpdump -U %s -w "$DIR/in.pcap" 2> "$DIR/tcpdump" &
        tcpdump=$!
        wait_for grep -q listening "$DIR/tcpdump"
        ping -W $REPLY -c 3 -l 3 -i 0.01 127.0.0.1 > /dev/null
        ping -W $REPLY -c 3 -l 3 -i 0.01 ::1 > /dev/null
        wait_for sh -c "test \$(tcpdump -r $DIR/in.pcap 2> /dev/null | wc -l) -ge 12"
        kill $tcpdump
        wait $tcpdump
        "$PROGRAM" -r "$DIR/in.pcap" -w "$DIR/out.pcap" scripts/accept.lua
        cmp "$DIR/in.pcap" "$DIR/out.pcap" && echo same
        od -A n -t u4 -j 20 -N 4 "$DIR/in.pcap"
        echo "tcpdump $(tcpdump -r "$DIR/in.pcap" 'icmp or icmp6' 2> /dev/null | wc -l)"
        "$PROGRAM" -r "$DIR/in.pcap" -F 'icmp or icmp6' scripts/drop_icmp.lua]]):format(kind[2]))
      assert.matches("\nsame\n", output)
      assert.equal(kind[3], tonumber(output:match "same\n +(%d+)\n"))
      local packets = tonumber(output:match "tcpdump (%d+)\n")
      assert.is_true(packets >= 12)
      local judged, dropped = output:match "tcpdump %d+\n.*packets judged +(%d+)\n.*  dropped +(%d+)\n"
      assert.same({ packets, packets / 2 }, { tonumber(judged), tonumber(dropped) })
    end)
  end

  it("tells of a logged packet what a queue tells of it, and the rule's prefix", function()
    local why, status = netns.shell "XTABLES_LOCKFILE=$(mktemp -u) unshare -n iptables-legacy -A OUTPUT -j NFLOG"
    if status ~= 0 then return pending("no rule can log packets here: " .. why) end
    local output = netns.run [[
      tcpdump -U -i nflog:5 -w "$DIR/in.pcap" 2> "$DIR/tcpdump" &
      tcpdump=$!
      wait_for grep -q listening "$DIR/tcpdump"
      for rule in rule rule6; do
        $rule -A OUTPUT -m mark --mark 7 -j NFLOG --nflog-group 5 --nflog-prefix "mine: "
        $rule -A OUTPUT -m mark --mark 7 -j NFQUEUE
        $rule -A INPUT -m mark --mark 7 -j NFLOG --nflog-group 5 --nflog-size 50
      done
      filter live <<-'EOF'
	return function(pkt)
	  print("packet", pkt.hook_name, pkt.family, pkt.hw_protocol, pkt.mark, pkt.indev, pkt.outdev, pkt.uid, pkt.gid,
	    pkt.len, pkt.saddr, pkt.prefix)
	end
	EOF
      ping -m 7 -W $REPLY -c 2 127.0.0.1 > /dev/null
      ping -m 7 -W $REPLY -c 2 ::1 > /dev/null
      wait_for sh -c "test \$(tcpdump -r $DIR/in.pcap 2> /dev/null | wc -l) -ge 8"
      kill $tcpdump
      wait $tcpdump
      stop live | grep '^packet'
      echo replay
      cat > "$DIR/part.lua" <<-'EOF'
	local filter = dofile(LIVE)
	return function(pkt)
	  if pkt.prefix ~= "" then return filter(pkt) end
	  print("part", pkt.hook_name, pkt.len, pkt.data_len, pkt.truncated, pkt.malformed, pkt.indev, pkt.indev_name)
	end
	EOF
      sed -i "s|LIVE|'$DIR/live.lua'|" "$DIR/part.lua"
      "$PROGRAM" -r "$DIR/in.pcap" -w "$DIR/out.pcap" "$DIR/part.lua"
      cmp "$DIR/in.pcap" "$DIR/out.pcap" && echo same]]
    local live, replayed = output:match "^(.-)replay\n(.*)$"
    assert.equal(4, select(2, live:gsub("packet\toutput\tip", "%0")))
    local logged, parts = {}, {}
    for line in replayed:gmatch "[^\n]+\n" do
      if line:match "^packet\t" then logged[#logged + 1] = line end
      if line:match "^part\t" then parts[line] = (parts[line] or 0) + 1 end
    end
    assert.equal((live:gsub("nil\n", "mine: \n")), table.concat(logged))
    assert.same({ ["part\tinput\t84\t50\ttrue\tnil\t1\tnil\n"] = 2,
      ["part\tinput\t104\t50\ttrue\tnil\t1\tnil\n"] = 2 }, parts)
    assert.matches("same\n", replayed)
  end)
end)
