#!/bin/sh
# In a network namespace: queue.sh BUILD SECONDS REPETITIONS. Floods queue 0 with small UDP packets and
# lets each program accept them, in turn. Prints a line a run:
#     NAME PACKETS NANOSECONDS CPU_NANOSECONDS DROPPED
# DROPPED above 0 says that the queue was full: the program, not the sender, is what was measured.
set -eu
build=$1 seconds=$2 repetitions=$3
proc=/proc/net/netfilter/nfnetlink_queue
last=$(($(nproc) - 1))

ip link set lo up
iptables-legacy -A OUTPUT -p udp --dport 9 -j NFQUEUE --queue-num 0
# Accepted packets end here: nothing behind the queue is measured.
iptables-legacy -A INPUT -p udp --dport 9 -j DROP

# The CPU time of a program and of its workers.
cpu() {
	for process in "$1" $(cat "/proc/$1/task/$1/children"); do cat "/proc/$process/schedstat"; done |
		awk '{ sum += $1 } END { printf "%.0f\n", sum }'
}

now() { awk '{ print $8 - $7, $6 }' $proc; date +%s%N; cpu "$1"; }

# measure NAME COMMAND...
measure() {
	name=$1
	shift
	taskset -c "$last" "$@" > /dev/null 2>&1 &
	program=$!
	until grep -q '^ *0 ' $proc; do sleep 0.01; done
	taskset -c 0 "$build/bench/flood" 9 18 "$((seconds + 1))" &
	flood=$!
	sleep 0.5
	# shellcheck disable=SC2046
	set -- $(now $program)
	sleep "$seconds"
	# shellcheck disable=SC2046
	set -- "$@" $(now $program)
	echo "$name $(($5 - $1)) $(($7 - $3)) $(($8 - $4)) $(($6 - $2))"
	wait $flood
	{ kill $program && wait $program; } 2> /dev/null || true
	while grep -q '^ *0 ' $proc; do sleep 0.01; done
}

for _ in $(seq "$repetitions"); do
	measure one_by_one "$build/bench/one_by_one" 0
	measure best_loop "$build/bench/best_loop" 0
	measure ipq-lua "$build/ipq-lua" --no-gso scripts/accept.lua
done
