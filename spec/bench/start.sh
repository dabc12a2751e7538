#!/bin/sh
# start.sh TIMES: starts ipq-lua so often, each time until it says that it serves its queue. Prints a line each
# time: microseconds until then, and the resident memory of its processes then, added up, in KiB.
set -e
. spec/bench/common.sh
for _ in $(seq "$1"); do
	begin=$(date +%s%N)
	"$IPQ_BUILD/ipq-lua" scripts/accept.lua 2> "$DIR/log" &
	program=$!
	until grep -qs waiting "$DIR/log"; do kill -0 $program || fail "$(cat "$DIR/log")"; done
	end=$(date +%s%N)
	kb=0
	for pid in $(family "$program"); do
		kb=$((kb + $(awk '/^VmRSS:/ { print $2 }' "/proc/$pid/status")))
	done
	echo "$(((end - begin) / 1000)) $kb"
	end_program
	rm "$DIR/log"
done
