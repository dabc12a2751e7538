#!/bin/sh
# queue.sh PLACE PAYLOAD SECONDS COMMAND...: floods queue 0 with UDP packets that carry so many bytes, for the queue
# program to judge; as fast as it can, or with rate=N in the environment, so many a second. PLACE is
#     alone     they are queued where they come in from the loopback device, and what is accepted is dropped by the
#               hook's next table: what is measured is the queue and nothing behind it
#     path      they are queued where they are sent, and what is accepted goes through the loopback device and is
#               dropped where it comes in: all that in the program's time
# Prints
#     packets, ns, cpu     judged by it in a time, and what processor time that took it
#     dropped              that met a full queue meanwhile: above 0, the program is what was measured
#     judged, arrived      all that it judged, and those that went on, by a rule behind the queue
#     rewritten            of those, with the TTL that filters here set
set -e
. spec/bench/common.sh
place=$1 payload=$2 seconds=$3
shift 3
case $place in
alone) from=PREROUTING to=PREROUTING ;;
path) from=OUTPUT to=INPUT ;;
esac

rule -t raw -A $from -p udp --dport 9 -j NFQUEUE --queue-num 0
rule -t mangle -A $to -p udp --dport 9 -m ttl --ttl-eq 33 -j DROP
rule -t mangle -A $to -p udp --dport 9 -j DROP

serve 0 taskset -c "$last" "$@"
measure "$seconds" taskset -c 0 "$bench/flood" 9 "$payload" "$((seconds + 1))" 1 "${rate:-0}"
rewritten=$(counted $to 1)
echo "packets=$packets ns=$ns cpu=$cpu dropped=$dropped" \
	"judged=$(judged_packets) arrived=$((rewritten + $(counted $to 2))) rewritten=$rewritten"
end_program
