#!/bin/sh
# flows.sh CAPTURE SECONDS COMMAND...: sends the packets of a capture to a queue program, time and again the same ones, as
# fast as they go. The program has the last processor. What it accepts is dropped by the hook's next table. It is measured
# when it has seen them all. Prints
#     packets, ns, cpu    judged by it in a time, and what processor time that took it
#     judged, accepted    all that it judged, and those that went on
set -e
. spec/bench/common.sh
capture=$1 seconds=$2
shift 2

ip addr add 127.1.0.0/16 dev lo
ip addr add 127.2.0.0/16 dev lo
rule -t raw -A OUTPUT -j NFQUEUE --queue-num 0
rule -t mangle -A OUTPUT -j DROP

serve 0 taskset -c "$last" "$@"
warm_up=1.5
measure "$seconds" taskset -c 0 "$bench/inject" "$capture" "$((seconds + 2))" 0 same
echo "packets=$packets ns=$ns cpu=$cpu judged=$(judged_packets) accepted=$(counted OUTPUT 1)"
end_program
