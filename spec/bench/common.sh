# What a measurement begins with, in a network namespace of its own. Sourced by sh. $DIR is a folder that
# goes with the script; whatever runs in the background then ends too.
set -u
DIR=$(mktemp -d)
. spec/support/netns.sh
trap 'status=$?; set +e; end_all; rm -rf "$DIR"; exit "$status"' EXIT
trap 'exit 130' INT TERM

bench=$IPQ_BUILD/bench
last=$(($(nproc) - 1))

# The columns of the queues in the kernel's list: packets judged, and packets that met a full queue.
judged_packets() { awk '{ n += $8 - $7 - $3 } END { print n + 0 }' /proc/net/netfilter/nfnetlink_queue; }
turned_away() { awk '{ n += $6 } END { print n + 0 }' /proc/net/netfilter/nfnetlink_queue; }
nothing_waits() { awk '$3 { waits = 1 } END { exit waits }' /proc/net/netfilter/nfnetlink_queue; }

# serve QUEUES COMMAND...: a queue program in the background, as $program, when it has these queues.
serve() {
	queues=$1
	shift
	"$@" > "$DIR/program.out" 2>&1 &
	program=$!
	for queue in $queues; do wait_for serves "$queue"; done
}
serves() {
	kill -0 "$program" 2> /dev/null || fail "it ended: $(cat "$DIR/program.out")"
	queue_is_bound "$1"
}

# family PID: the process and those that it began.
family() {
	echo "$1"
	for child in $(cat "/proc/$1/task/$1/children" 2> /dev/null); do family "$child"; done
}

# cpu_of PID: nanoseconds that it and those that it began have run.
cpu_of() {
	total=0
	for pid in $(family "$1"); do
		for task in "/proc/$pid/task"/*; do
			read -r ns _ < "$task/schedstat" && total=$((total + ns))
		done
	done
	echo "$total"
}

# still_serves: it did not end while it was measured.
still_serves() { kill -0 "$program" 2> /dev/null || fail "it ended: $(cat "$DIR/program.out")"; }

end_program() {
	kill "$program"
	wait "$program" 2> /dev/null || true
}

# What a rule has counted: counted CHAIN NUMBER, of table mangle.
counted() { iptables-legacy -t mangle -nvxL "$1" "$2" | awk '{ print $1; exit }'; }

# What the program has done so far: packets judged, the time in ns, its processor time in ns, and packets turned away.
figures() {
	judged_packets
	date +%s%N
	cpu_of "$program"
	turned_away
}

# measure SECONDS SENDER...: what the program does within a time while the sender sends, from $warm_up seconds (0.5)
# after its beginning on; the sender has to last so long. Sets $packets, $ns, $cpu and $dropped, the differences of
# figures. All is judged then.
measure() {
	measured_s=$1
	shift
	"$@" &
	sender=$!
	sleep "${warm_up:-0.5}"
	# shellcheck disable=SC2046
	set -- $(figures)
	sleep "$measured_s"
	# shellcheck disable=SC2046
	set -- "$@" $(figures)
	wait "$sender"
	still_serves
	wait_for nothing_waits
	packets=$(($5 - $1)) ns=$(($6 - $2)) cpu=$(($7 - $3)) dropped=$(($8 - $4))
}
