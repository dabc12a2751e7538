#!/bin/sh
# workers.sh QUEUES SECONDS COMMAND...: floods as many queues as there are in QUEUES (from 0 on), which the kernel
# chooses by addresses, for one queue program. Prints packets, ns and cpu as queue.sh does, and least: what the
# queue that got the fewest packets had of them.
set -e
. spec/bench/common.sh
queues=$1 seconds=$2
shift 2
to="--queue-num 0"
[ "$queues" -eq 1 ] || to="--queue-balance 0:$((queues - 1))"

# shellcheck disable=SC2086
rule -t raw -A PREROUTING -p udp --dport 9 -j NFQUEUE $to
rule -t mangle -A PREROUTING -p udp --dport 9 -j DROP

serve "$(seq -s ' ' 0 $((queues - 1)))" "$@"
measure "$seconds" taskset -c 0 "$bench/flood" 9 18 "$((seconds + 1))" 64
[ "$(counted PREROUTING 1)" -eq "$(judged_packets)" ] || fail "packets that were judged did not go on"
echo "packets=$packets ns=$ns cpu=$cpu" \
	"least=$(awk 'NR == 1 || $8 < least { least = $8 } END { print least }' /proc/net/netfilter/nfnetlink_queue)"
end_program
