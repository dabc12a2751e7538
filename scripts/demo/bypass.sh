#!/bin/sh
# Shows a TCP stream of which a filter judges the beginning, and the kernel the rest: a client, a router that
# queues what it forwards, and a server, in network namespaces that are gone afterwards.
#
#   bypass.sh PROGRAM     from the folder that holds scripts/; needs iperf3, and root or user namespaces
set -u

if [ "${1:-}" != inside ]; then
	dir=$(mktemp -d) || exit 1
	trap 'rm -rf "$dir"' EXIT
	user=
	[ "$(id -u)" -eq 0 ] || user=-Ur
	# With a process namespace of its own, nothing is left running, however it ends.
	unshare $user -n --pid --fork --mount-proc --kill-child "$0" inside "$1" "$dir"
	exit $?
fi

program=$2
dir=$3
export XTABLES_LOCKFILE="$dir/xtables.lock"
iptables=$(command -v iptables-legacy || command -v iptables)
BIT=0x40000000

# host NAME NET: a namespace of its own behind a cable to this one, the router.
host() {
	unshare -n sleep 1000 &
	eval "$1=$!"
	until [ "$(readlink "/proc/$!/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.01; done
	ip link add "to_$1" type veth peer name eth0 netns $!
	ip addr add "10.$2.0.1/24" dev "to_$1"
	ip link set "to_$1" up
	nsenter -t $! -n sh -c "ip link set lo up; ip addr add 10.$2.0.2/24 dev eth0; ip link set eth0 up
		ip route add default via 10.$2.0.1"
}

forward() { echo "\$ iptables $*" && "$iptables" "$@"; }

# stream SCRIPT...: two seconds of TCP through the router, judged by that script.
stream() {
	echo "\$ ipq-lua $*"
	"$program" "$@" 2> "$dir/err" &
	filter=$!
	until grep -qs 'waiting for packets' "$dir/err"; do
		kill -0 $filter 2> /dev/null || { cat "$dir/err" >&2; exit 69; }
		sleep 0.01
	done
	nsenter -t "$client" -n iperf3 -c 10.2.0.2 -t 2 -f g | awk '/receiver/ { print "    " $5, $6, "received, at", $7, $8 }'
	kill $filter
	wait $filter
	sed -n 's/^ipq-lua: \(queue 0: [0-9]* packets\).*/    \1 judged/p' "$dir/err"
}

host client 1
host server 2
echo 1 > /proc/sys/net/ipv4/ip_forward
nsenter -t "$server" -n iperf3 -s > /dev/null &
until nsenter -t "$server" -n grep -q ':1451 .* 0A ' /proc/net/tcp6; do sleep 0.01; done

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
