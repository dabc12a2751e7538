#!/bin/sh
# queue.sh PAYLOAD SECONDS COMMAND...: floods queue 0 with UDP packets that carry so many bytes, for the queue
# program to judge. Prints
#     packets, ns, cpu     judged by it in a time, and what processor time that took it
#     dropped              that met a full queue meanwhile: above 0, the program is what was measured
#     judged, arrived      all that it judged, and those that went on, by a rule behind the queue
#     rewritten            of those, with the TTL that filters here set
set -e
. spec/bench/common.sh
payload=$1 seconds=$2
shift 2

rule -t raw -A PREROUTING -p udp --dport 9 -j NFQUEUE --queue-num 0
# Accepted packets end here, in the hook's next table: what is measured is the queue and nothing behind it.
rule -t mangle -A PREROUTING -p udp --dport 9 -m ttl --ttl-eq 33 -j DROP
rule -t mangle -A PREROUTING -p udp --dport 9 -j DROP

figures() {
	judged_packets
	date +%s%N
	cpu_of "$program"
	turned_away
}

serve 0 taskset -c "$last" "$@"
taskset -c 0 "$bench/flood" 9 "$payload" "$((seconds + 1))" &
flood=$!
sleep 0.5
# shellcheck disable=SC2046
set -- $(figures)
sleep "$seconds"
# shellcheck disable=SC2046
set -- "$@" $(figures)
wait "$flood"
still_serves
wait_for 5 nothing_waits
rewritten=$(counted PREROUTING 1)
echo "packets=$(($5 - $1)) ns=$(($6 - $2)) cpu=$(($7 - $3)) dropped=$(($8 - $4))" \
	"judged=$(judged_packets) arrived=$((rewritten + $(counted PREROUTING 2))) rewritten=$rewritten"
end_program
