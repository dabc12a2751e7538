#!/bin/sh
# latency.sh SECONDS PROCESSOR [COMMAND...]: UDP packets to and fro over the loopback device, both ways through
# queue 0 when there is a queue program, which runs on that processor; "all": it has a queue for each. The two that talk
# are on processor 0.
# Prints trips, p50 and p99 (ns), and judged: what the program judged, two packets a trip.
set -e
. spec/bench/common.sh
seconds=$1 processor=$2
shift 2

judged=0
if [ $# -gt 0 ]; then
	if [ "$processor" = all ]; then
		rule -A OUTPUT -p udp -j NFQUEUE --queue-balance "0:$(($(nproc) - 1))" --queue-cpu-fanout
		serve 0 "$@"
	else
		rule -A OUTPUT -p udp -j NFQUEUE --queue-num 0
		serve 0 taskset -c "$processor" "$@"
	fi
fi
taskset -c 0 "$bench/echo" serve 9 &
answers() { taskset -c 0 "$bench/echo" ask 9 0.01 > "$DIR/warm"; }
wait_for answers
taskset -c 0 "$bench/echo" ask 9 "$seconds" > "$DIR/trips" || fail "an answer did not come"
if [ $# -gt 0 ]; then
	still_serves
	judged=$(judged_packets)
fi
echo "$(cat "$DIR/trips") judged=$judged"
