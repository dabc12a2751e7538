#!/bin/sh
# jobs.sh CAPTURE SECONDS COMMAND...: sends the packets of a capture to a queue program, which has the last processor, as
# fast as it takes them. What it accepts is dropped by the hook's next table. Prints
#     packets, ns, cpu     judged by it in a time, and what processor time that took it, the system calls' too
#     dropped              that met a full queue meanwhile: above 0, the program is what was measured
#     kb                   resident memory
#     all, blocked         all that it judged, and those that it dropped
set -e
. spec/bench/common.sh
capture=$1 seconds=$2
shift 2

ip addr add 127.1.0.0/16 dev lo
ip addr add 127.2.0.0/16 dev lo
ip route add local 10.0.0.0/8 dev lo
rule -t raw -A OUTPUT -j NFQUEUE --queue-num 0
rule -t mangle -A OUTPUT -j DROP

serve 0 taskset -c "$last" "$@"
taskset -c 0 "$bench/inject" "$capture" "$((seconds + 1))" &
inject=$!
sleep 0.5
# shellcheck disable=SC2046
set -- $(figures)
sleep "$seconds"
# shellcheck disable=SC2046
set -- "$@" $(figures)
wait "$inject"
still_serves
kb=0
for pid in $(family "$program"); do
	kb=$((kb + $(awk '/^VmRSS/ { print $2 }' "/proc/$pid/status")))
done
end_program
echo "packets=$(($5 - $1)) ns=$(($6 - $2)) cpu=$(($7 - $3)) dropped=$(($8 - $4)) kb=$kb" \
	"$(sed -n 's/.*: \([0-9]*\) packets, [0-9]* accepted, \([0-9]*\) dropped.*/all=\1 blocked=\2/p' "$DIR/program.out")"
