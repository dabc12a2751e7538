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
        ping -W $REPLY -c 3 -l 3 -i $REPLY 127.0.0.1 > /dev/null
        ping -W $REPLY -c 3 -l 3 -i $REPLY ::1 > /dev/null
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
end)
