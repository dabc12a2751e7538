#!/bin/sh
# router.sh RULES SECONDS COMMAND...: TCP by iperf3 from host a to host b, through this namespace, whose FORWARD
# hook has
#     plain      no rule
#     conntrack  a rule that wants connections followed
#     queue      a rule that queues every packet, for the queue program
#     stream     the same, but for what the program sends
#     bypass     the same, but for connections that the filter has marked
# Prints bits (a second, received), queued (packets that the program judged), packets and rewritten (that b
# got, and those of them with the TTL that filters here set).
set -e
. spec/bench/common.sh
rules=$1 seconds=$2
shift 2
# The bit of pkt:bypass().
mark=0x40000000/0x40000000

router
case $rules in
conntrack) rule -A FORWARD -m conntrack --ctstate INVALID -j DROP ;;
bypass)
	rule -A FORWARD -m connmark --mark $mark -j ACCEPT
	rule -t mangle -A POSTROUTING -m mark --mark $mark -j CONNMARK --save-mark --mask ${mark#*/}
	;;
esac
case $rules in
stream) rule -A FORWARD -m mark --mark 0x20000000/0x20000000 -j ACCEPT ;;
esac
case $rules in
queue | stream | bypass)
	rule -A FORWARD -p tcp -j NFQUEUE --queue-num 0
	serve 0 "$@"
	;;
esac
on b iptables-legacy -t mangle -A INPUT -p tcp -m ttl --ttl-eq 33
on b iptables-legacy -t mangle -A INPUT -p tcp

on b iperf3 -s -1 > "$DIR/server" 2>&1 &
server=$!
listens() { on b grep -q ':1451 .* 0A ' /proc/net/tcp /proc/net/tcp6; } # port 5201
wait_for listens
on a iperf3 -J -c 10.2.0.2 -t "$seconds" -O 1 > "$DIR/client" || fail "iperf3: $(cat "$DIR/client")"
wait "$server"
queued=0
case $rules in
queue | stream | bypass)
	still_serves
	queued=$(judged_packets)
	;;
esac
awk '/"sum_received"/ { sum = 1 } sum && /"bits_per_second"/ { gsub(/,/, ""); printf "bits=%.0f ", $2; exit }' \
	"$DIR/client"
echo "queued=$queued rewritten=$(on b iptables-legacy -t mangle -nvxL INPUT 1 | awk '{ print $1; exit }')" \
	"packets=$(on b iptables-legacy -t mangle -nvxL INPUT 2 | awk '{ print $1; exit }')"
