#!/bin/sh
# Shows ipq-lua at work on real packets, in a network namespace that is gone afterwards.
#
#   demo.sh PROGRAM     from the folder that holds scripts/; needs no network, and no root where user
#                       namespaces are allowed
set -u

if [ "${1:-}" != inside ]; then
	dir=$(mktemp -d) || exit 1
	trap 'rm -rf "$dir"' EXIT
	if [ "$(id -u)" -eq 0 ]; then
		unshare -n "$0" inside "$1" "$dir"
	else
		unshare -Urn "$0" inside "$1" "$dir" || {
			status=$?
			echo "An ordinary user needs user namespaces for this; as root it works without them." >&2
			exit $status
		}
	fi
	exit $?
fi

program=$2
dir=$3
# The lock file of all is root's.
export XTABLES_LOCKFILE="$dir/xtables.lock"

# The legacy tool reaches kernels that lack nft's queue; where it is missing, nft's must do.
iptables=$(command -v iptables-legacy || command -v iptables)

show() {
	echo "\$ $*"
	"$@"
}

ip link set lo up
echo "A network namespace with nothing but a loopback device. Pings go to queue 0:"
echo
echo "\$ iptables -A OUTPUT -p icmp --icmp-type echo-request -j QUEUE"
"$iptables" -A OUTPUT -p icmp --icmp-type echo-request -j QUEUE || {
	echo "This kernel cannot do it: CONFIG_NETFILTER_XT_TARGET_NFQUEUE is missing." >&2
	exit 69
}
echo "\$ ipq-lua scripts/drop_icmp.lua max=100 verbose=yes &"
"$program" scripts/drop_icmp.lua max=100 verbose=yes >> "$dir/out" 2>> "$dir/err" &
filter=$!
deadline=$(($(date +%s) + 5))
until grep -qs 'waiting for packets' "$dir/err"; do
	if ! kill -0 $filter 2> /dev/null || [ "$(date +%s)" -ge $deadline ]; then
		cat "$dir/err" >&2
		exit 69
	fi
	sleep 0.01
done
sed 's/^/    /' "$dir/err"

for size in 56 200 72 1000; do
	echo
	show ping -c 1 -W 0.3 -s $size 127.0.0.1 | grep -v '^$\|statistics\|^rtt\|^PING'
	sed 's/^/    filter: /' "$dir/out"
	: > "$dir/out"
done

: > "$dir/err"
kill -TERM $filter
wait $filter
status=$?
echo
echo "\$ kill %1"
sed 's/^/    /' "$dir/err"
exit $status
