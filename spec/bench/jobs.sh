#!/bin/sh
# jobs.sh CAPTURE SECONDS RATE COMMAND...: sends the packets of a capture to a queue program, which has the last
# processor, so many a second, or with 0 as fast as they go. What it accepts is dropped by the hook's next table. Prints
#     packets, ns, cpu     judged by it in a time, and what processor time that took it, the system calls' too
#     dropped              that met a full queue meanwhile: above 0, the program is what was measured
#     kb                   resident memory
#     all, blocked         all that it judged, and those that did not come out of it
set -e
. spec/bench/common.sh
capture=$1 seconds=$2 rate=$3
shift 3

ip addr add 127.1.0.0/16 dev lo
ip addr add 127.2.0.0/16 dev lo
ip route add local 10.0.0.0/8 dev lo
# What a filter sends (ipq.SENT_MARK) goes as far as to the interface.
rule -t raw -A OUTPUT -m mark ! --mark 0x20000000/0x20000000 -j NFQUEUE --queue-num 0
rule -t mangle -A OUTPUT -m mark ! --mark 0x20000000/0x20000000 -j DROP
rule -t raw -A PREROUTING -j DROP

serve 0 taskset -c "$last" "$@"
measure "$seconds" taskset -c 0 "$bench/inject" "$capture" "$((seconds + 1))" "$rate"
all=$(judged_packets) passed=$(counted OUTPUT 1)
kb=0
for pid in $(family "$program"); do
	kb=$((kb + $(awk '/^VmRSS/ { print $2 }' "/proc/$pid/status")))
done
end_program
echo "packets=$packets ns=$ns cpu=$cpu dropped=$dropped kb=$kb" \
	"all=$all blocked=$((all - passed))"
