# What a live spec begins with, in a network namespace of its own. Sourced by sh.
set -u
PROGRAM="$PWD/$IPQ_BUILD/ipq-lua"
# The sanitizers' runtime is for the specs' own process.
unset LD_PRELOAD
XTABLES_LOCKFILE="$DIR/xtables.lock"
export XTABLES_LOCKFILE
ip link set lo up
# IPv6 addresses are of use at once. The kernel would see for seconds whether another has them, and ask for no neighbour.
no_dad='for which in all default; do { echo 0 > /proc/sys/net/ipv6/conf/$which/accept_dad; } 2> /dev/null || :; done'
eval "$no_dad"
# So many seconds ping waits for replies, which may be slow on a busy machine. Shells in a shell use it, too. Once ping has
# one of several, it waits as long as the interval alone: "ping -c N -l N -i $REPLY" sends all at once, and waits for all.
export REPLY=$((2 * ${IPQ_SLOW:-1}))

fail() { echo "FAILED: $*" >&2; exit 1; }

# wait_for COMMAND...: until it succeeds, or fail after a minute; IPQ_SLOW is how many minutes on a machine that needs
# more. Nobody waits so long where all is well.
wait_for() {
	deadline=$(($(date +%s) + 60 * ${IPQ_SLOW:-1}))
	until "$@"; do
		[ "$(date +%s)" -lt "$deadline" ] || fail "still not: $*"
		sleep 0.01
	done
}

queue_is_bound() {
	awk -v n="$1" '$1 == n { found = 1 } END { exit !found }' /proc/net/netfilter/nfnetlink_queue
}

# What the kernel tells of queue 0: packets that wait, and packets that it ever had.
waiting() { awk -v n="$1" '$1 == 0 && $3 == n { found = 1 } END { exit !found }' /proc/net/netfilter/nfnetlink_queue; }
judged() { awk -v n="$1" '$1 == 0 && $8 >= n && $3 == 0 { found = 1 } END { exit !found }' /proc/net/netfilter/nfnetlink_queue; }
# What a full queue 0 has turned away.
turned_away() { awk -v n="$1" '$1 == 0 && $6 >= n { found = 1 } END { exit !found }' /proc/net/netfilter/nfnetlink_queue; }
seen() { awk -v n="$1" '$1 == 0 && $8 >= n { found = 1 } END { exit !found }' /proc/net/netfilter/nfnetlink_queue; }

# What got through to UDP port 9, where a rule in INPUT counts it.
arrived() { iptables-legacy -nvxL INPUT | awk -v n="$1" '/dpt:9/ && $1 >= n { found = 1 } END { exit !found }'; }

# filter NAME [option...]: writes standard input to NAME.lua, runs it, waits until it serves all its queues: a worker
# that is killed before is followed without a word. Its output is in NAME.out and NAME.err; QUEUE is the number to wait
# for (0) where no option -q FIRST:LAST tells more.
filter() {
	name=$1
	shift
	cat > "$DIR/$name.lua"
	run "$name" "$@" "$DIR/$name.lua"
}

# run NAME ARGUMENTS...: the program with these arguments.
run() {
	name=$1
	shift
	"$PROGRAM" "$@" > "$DIR/$name.out" 2> "$DIR/$name.err" &
	eval "pid_$name=$!"
	queues=${QUEUE:-0}
	while [ $# -gt 1 ]; do
		case "$1 $2" in "-q "*:*) queues=$(seq "${2%:*}" "${2#*:}") ;; esac
		shift
	done
	eval "served_$name=$(echo "$queues" | wc -w)"
	for queue in $queues; do
		wait_for grep -qs "queue $queue: waiting for packets" "$DIR/$name.err"
		wait_for queue_is_bound "$queue"
	done
}

# workers_of PID: the processes that run the filter of a program, one a line; those that write what it says are none.
workers_of() {
	for child in $(cat "/proc/$1/task/$1/children"); do
		[ "$(cat "/proc/$child/comm" 2> /dev/null)" = ipq-lua-output ] || echo "$child"
	done
}
# workers NAME, worker NAME: those of the program that was started by that name; the first of them.
workers() { eval "workers_of \$pid_$1"; }
worker() { workers "$1" | head -n 1; }

# logged NAME TEXT [TIMES]: whether the program of that name has logged TEXT (so often).
logged() { [ "$(grep -cF -e "$2" "$DIR/$1.err")" -ge "${3:-1}" ]; }

# reloaded NAME [TIMES]: whether it was reloaded (so often), and the workers before are gone.
reloaded() {
	logged "$1" 'was reloaded' "${2:-1}" && [ "$(workers "$1" | wc -l)" -eq "$(eval "echo \$served_$1")" ]
}

# stop NAME: asks it to end, waits, shows what it printed and its exit status.
stop() {
	eval "pid=\$pid_$1"
	kill -TERM "$pid"
	wait "$pid"
	echo "exit $?"
	cat "$DIR/$1.out" "$DIR/$1.err"
}

rule() { iptables-legacy "$@" || fail "iptables-legacy $*"; }
rule6() { ip6tables-legacy "$@" || fail "ip6tables-legacy $*"; }

# host NAME: a network namespace below this one, held by a process; "on NAME command..." runs in it.
host() {
	unshare -n sleep infinity &
	eval "host_$1=$!"
	wait_for in_other $!
	on "$1" sh -c "$no_dad; ip link set lo up"
}
in_other() { [ "$(readlink /proc/self/ns/net)" != "$(readlink "/proc/$1/ns/net")" ]; }
on() {
	eval "pid=\$host_$1"
	shift
	nsenter -t "$pid" -n "$@"
}

# pings N ADDRESS: one after the other, and how many replies came.
pings() {
	for _ in $(seq "$1"); do ping -c 1 -W $REPLY "$2"; done | awk '/bytes from/ { n++ } END { print n + 0, "received" }'
}

# is_up COMMAND...: it shows a link. Until the kernel says so, which it does in its own time, the link drops all.
is_up() { "$@" | grep -q "state UP"; }

# router: hosts a (10.1.0.2, fd01::2) and b (10.2.0.2, fd02::2), this namespace between them.
router() {
	for side in a b; do
		[ $side = a ] && net=1 || net=2
		host $side
		eval "pid=\$host_$side"
		ip link add "to_$side" type veth peer name eth0 netns "$pid"
		ip addr add "10.$net.0.1/24" dev "to_$side"
		ip -6 addr add "fd0$net::1/64" dev "to_$side"
		ip link set "to_$side" up
		on $side ip addr add "10.$net.0.2/24" dev eth0
		on $side ip -6 addr add "fd0$net::2/64" dev eth0
		on $side ip link set eth0 up
		on $side ip route add default via "10.$net.0.1"
		on $side ip -6 route add default via "fd0$net::1"
		wait_for is_up ip link show "to_$side"
		wait_for is_up on $side ip link show eth0
	done
	echo 1 > /proc/sys/net/ipv4/ip_forward
	echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
}

# Whatever runs in the background ends with this script, however it ends.
end_all() {
	jobs -p > "$DIR/jobs"
	while read -r pid; do kill -KILL "$pid" 2> /dev/null; done < "$DIR/jobs"
}
trap end_all EXIT
