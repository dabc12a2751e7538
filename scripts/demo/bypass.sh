#!/bin/sh
# Shows a TCP stream of which a filter judges the beginning, and the kernel the rest.
#
#   bypass.sh PROGRAM     from the folder that holds scripts/; needs iperf3, and root or user namespaces
. scripts/demo/router.sh

BIT=0x40000000

forward() { echo "\$ iptables $*" && "$iptables" "$@"; }

# stream SCRIPT...: two seconds of TCP through the router, judged by that script.
stream() {
	judge stream "$@"
	on_client iperf3 -c 10.2.0.2 -t 2 -f g | awk '/receiver/ { print "    " $5, $6, "received, at", $7, $8 }'
	kill $filter
	wait $filter
	sed -n 's/^ipq-lua: \(queue 0: [0-9]* packets\).*/    \1 judged/p' "$dir/stream.err"
}

on_server iperf3 -s > /dev/null &
until on_server grep -q ':1451 .* 0A ' /proc/net/tcp6; do sleep 0.01; done

echo "A client, a router and a server. The router queues all TCP that it forwards:"
echo
forward -A FORWARD -p tcp -j NFQUEUE --queue-num 0 || exit 69
stream scripts/accept.lua
echo
echo "Now connections pass by the queue whose first 4096 bytes were judged:"
echo
"$iptables" -F FORWARD
forward -A FORWARD -p tcp -m connmark ! --mark $BIT/$BIT -j NFQUEUE --queue-num 0 &&
	forward -t mangle -A POSTROUTING -m mark --mark $BIT/$BIT -j CONNMARK --or-mark $BIT || exit 69
stream scripts/bypass_flow.lua bytes=4096
