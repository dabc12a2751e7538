#!/bin/sh
# replay.sh REPETITIONS: reads generated captures with several programs, in turn. Prints a line for each run,
#     PACKETS PROGRAM ns=… kb=…
# of the whole process: time from its start to its end, and the most memory that it had. Each that counts what
# it found must have found as many as were generated.
set -eu
bench=$IPQ_BUILD/bench repetitions=$1
ram=/dev/shm
[ -w $ram ] || ram=${TMPDIR:-/tmp}
DIR=$(mktemp -d -p $ram)
trap 'rm -rf "$DIR"' EXIT
trap 'exit 130' INT TERM
# tcpdump reads as a user of its own.
chmod 755 "$DIR"

fail() { echo "FAILED: $*" >&2; exit 1; }

# generate PACKETS: a capture, and in $DIR/PACKETS.telnet what is to be found in it.
generate() { "$bench/generate" "$DIR/$1.pcap" "$1" > "$DIR/$1.telnet"; }

# measure PACKETS NAME COMMAND...
measure() {
	packets=$1 name=$2
	shift 2
	"$bench/timed" "$DIR/figures" "$@" > "$DIR/out" 2>&1 || fail "$*: $(cat "$DIR/out")"
	echo "$packets $name $(cat "$DIR/figures")"
}

# found WORD NUMBER: the last one printed this line.
found() { grep -q "^ *$1  *$2\$" "$DIR/out" || fail "$name: not $1 $2: $(cat "$DIR/out")"; }

ipq_lua() {
	measure "$1" ipq_lua_accept "$IPQ_BUILD/ipq-lua" -r "$DIR/$1.pcap" scripts/accept.lua
	found accepted "$1"
	measure "$1" ipq_lua_telnet "$IPQ_BUILD/ipq-lua" -r "$DIR/$1.pcap" spec/bench/filter/telnet.lua
	found dropped "$(cat "$DIR/$1.telnet")"
}

tcpdump_too() {
	measure "$1" tcpdump_accept tcpdump -r "$DIR/$1.pcap" -w /dev/null
	measure "$1" tcpdump_telnet tcpdump -r "$DIR/$1.pcap" -w /dev/null "tcp dst port 23"
}

# A line for each packet, into a file in memory. Without -S tcpdump looks for each connection in a list, and most
# packets here are of another one.
lines() {
	measure "$1" tcpdump_lines tcpdump -n -S -r "$DIR/$1.pcap"
	measure "$1" ipq_lua_json "$IPQ_BUILD/ipq-lua" -r "$DIR/$1.pcap" --json scripts/accept.lua
	found accepted "$1"
	measure "$1" ipq_lua_print "$IPQ_BUILD/ipq-lua" -r "$DIR/$1.pcap" --print scripts/accept.lua
	found accepted "$1"
}

python=python3
"$python" -c "import scapy" 2> /dev/null || python=/usr/bin/python3

for packets in 10000 100000 1000000; do generate $packets; done
[ "$(tcpdump -n -r "$DIR/10000.pcap" "tcp dst port 23" 2> /dev/null | wc -l)" -eq "$(cat "$DIR/10000.telnet")" ] ||
	fail "tcpdump finds other packets than were generated"

for repetition in $(seq "$repetitions"); do
	for packets in 10000 100000 1000000; do
		tcpdump_too $packets
		ipq_lua $packets
		lines $packets
	done
	[ "$repetition" -le 3 ] || continue
	measure 100000 tshark_telnet tshark -q -X lua_script:spec/bench/telnet_tap.lua -r "$DIR/100000.pcap"
	found telnet "$(cat "$DIR/100000.telnet")"
	measure 10000 scapy_telnet "$python" spec/bench/scapy_loop.py "$DIR/10000.pcap"
	found telnet "$(cat "$DIR/10000.telnet")"
done
