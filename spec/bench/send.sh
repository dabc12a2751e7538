#!/bin/sh
# send.sh CAPTURE SECONDS COMMAND...: sends the packets of a capture as fast as they go to a queue program, which has the
# last processor. What it accepts is dropped by the hook's next table. What it sends, by the mark that ipq-lua sets, goes
# through the loopback device, and is dropped where it comes in: all that in the program's time. Prints
#     packets, ns, cpu     judged by it in a time, and what processor time that took it
#     dropped              that met a full queue meanwhile: above 0, the program is what was measured
#     judged, accepted, sent   all that it judged, that went on, and that it sent
set -e
. spec/bench/common.sh
capture=$1 seconds=$2
shift 2
own="-m mark --mark 0x20000000/0x20000000"

ip addr add 127.1.0.0/16 dev lo
ip addr add 127.2.0.0/16 dev lo
ip route add local 10.0.0.0/8 dev lo
# shellcheck disable=SC2086
{
	rule -t raw -A OUTPUT $own -j ACCEPT
	rule -t raw -A OUTPUT -j NFQUEUE --queue-num 0
	rule -t mangle -A OUTPUT $own -j ACCEPT
	rule -t mangle -A OUTPUT -j DROP
	rule -t raw -A PREROUTING $own -j DROP
}

serve 0 taskset -c "$last" "$@"
measure "$seconds" taskset -c 0 "$bench/inject" "$capture" "$((seconds + 1))"
judged=$(judged_packets) accepted=$(counted OUTPUT 2)
# What is judged is sent a moment later.
end_program
sent=$(iptables-legacy -t raw -nvxL PREROUTING 1 | awk '{ print $1; exit }')
echo "packets=$packets ns=$ns cpu=$cpu dropped=$dropped" \
	"judged=$judged accepted=$accepted sent=$sent"
