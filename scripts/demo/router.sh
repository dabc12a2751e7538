# What demos of a router begin with, which take this in: a client, a router that forwards, and a server, in network
# namespaces of their own that are gone afterwards. The program's path is in $program, a folder for files in $dir.
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

on_client() { nsenter -t "$client" -n "$@"; }
on_server() { nsenter -t "$server" -n "$@"; }

# judge FILE SCRIPT...: starts the program with that script, in the background ($filter), when it serves its queue and
# its rules are in place. What it prints is in FILE.out and FILE.err.
judge() {
	file=$dir/$1
	shift
	printf '$ ipq-lua'
	for word; do
		case $word in *" "*) word="'$word'" ;; esac
		printf ' %s' "$word" | sed "s|$dir/||"
	done
	echo " &"
	"$program" "$@" > "$file.out" 2> "$file.err" &
	filter=$!
	rules=$(echo "$*" | grep -o -e --rule | wc -l)
	until grep -qs 'waiting for packets' "$file.err" && [ "$(grep -c 'is in place' "$file.err")" -eq "$rules" ]; do
		kill -0 $filter 2> /dev/null || { cat "$file.err" >&2; exit 69; }
		sleep 0.01
	done
}

host client 1
host server 2
echo 1 > /proc/sys/net/ipv4/ip_forward
