-- make soak: ten minutes (SOAK_S seconds) of load through a filter that looks, rewrites, marks and sometimes raises.
-- Fails unless memory stays flat and all counts agree.
local netns = require "spec.support.netns"

local seconds = tonumber(os.getenv "SOAK_S" or 600)
local SAMPLES, RATE, ROOM_KB = 20, 20000, 1024

local output = netns.run(([[
  rule -A OUTPUT -p udp --dport 9 -j NFQUEUE --queue-num 0
  filter filter --on-error accept --queue-maxlen 20000 <<'END'
local n = 0
return function(pkt)
  n = n + 1
  if pkt.udp.dport ~= 9 then return 0 end
  if n %% 3 == 0 then pkt.ip.ttl = 9 end
  if n %% 5 == 0 then pkt.mark = n %% 7 end
  if n %% 1000 == 0 then error "one in a thousand" end
  local text = pkt.saddr .. tostring(pkt)
  return #text > 0 and 1 or 0
end
END
  worker=$(worker filter)
  "$IPQ_BUILD/spec/stream" 9 %d %d > "$DIR/stream" & stream=$!
  for i in $(seq %d); do
    sleep %s
    awk -v i=$i '/^VmRSS/ { rss = $2 } /^RssShmem/ { print "rss", i, rss - $2 }' /proc/$worker/status
  done
  wait $stream
  stop filter > "$DIR/log"
  tail -n 1 "$DIR/log"
  cat "$DIR/stream"]]):format(RATE, seconds, SAMPLES, seconds / SAMPLES), seconds + 60)

local samples = {}
for kb in output:gmatch "rss %d+ (%d+)" do samples[#samples + 1] = tonumber(kb) end
local sent, received, lost = output:match "sent (%d+) received (%d+) lost (%d+)"
local packets, accepted, errors = output:match "queue 0: (%d+) packets, (%d+) accepted, .- (%d+) errors"
print(("%d s, %d packets, %d lost; memory from %d to %d KB; %s packets judged, %s accepted, %s errors"):format(seconds,
  sent, lost, samples[2], samples[#samples], packets, accepted, errors))
assert(sent == received and sent == packets and packets == accepted, output)
assert(tonumber(errors) == math.floor(packets / 1000), output)
assert(samples[#samples] <= samples[2] + ROOM_KB, table.concat(samples, " "))
