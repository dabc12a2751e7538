#!/bin/sh
# Shows connections and queries that are judged by the name that they ask for: of TLS, QUIC and DNS.
#
#   names.sh PROGRAM     from the folder that holds scripts/; needs openssl, curl, dig and dnsmasq, for QUIC ngtcp2's
#                        gtlsclient and gtlsserver, and root or user namespaces
. scripts/demo/router.sh

NAMES="free.example blocked.example"

serves() { on_server ss -Hnl"$1" "sport = :$2" | grep -q .; }

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=server \
	-keyout "$dir/key" -out "$dir/cert" 2> /dev/null
on_server openssl s_server -quiet -www -accept 443 -cert "$dir/cert" -key "$dir/key" > /dev/null 2>&1 &
on_server dnsmasq --conf-file=/dev/null --keep-in-foreground --no-resolv --no-hosts --user=root --pid-file= \
	--address=/free.example/192.0.2.1 --address=/blocked.example/192.0.2.2 > /dev/null 2>&1 &
until serves t 443 && serves u 53; do sleep 0.01; done

echo "A client, a router and a server. The router judges TLS, QUIC and DNS by names:"
echo
echo blocked.example > "$dir/list"
judge sni --rule 'FORWARD -p tcp --dport 443' --rule 'FORWARD -p tcp --sport 443' --rule 'FORWARD -p udp --dport 443' \
	scripts/block_sni.lua file="$dir/list"
sni=$filter
judge dns -q 1 --rule 'FORWARD -p udp --dport 53' --rule 'FORWARD -p tcp --dport 53' \
	--rule 'FORWARD -p tcp --sport 53' scripts/dns_sinkhole.lua list="$dir/list"

echo
echo "TLS, by curl:"
for name in $NAMES; do
	echo "\$ curl https://$name/"
	on_client curl -ksS -m 5 --resolve "$name:443:10.2.0.2" -o /dev/null -w '%{http_code}\n' "https://$name/" 2>&1 |
		sed '/^000$/d; s/^/    /'
done

echo
if command -v gtlsclient > /dev/null && command -v gtlsserver > /dev/null; then
	on_server gtlsserver -q '*' 443 "$dir/key" "$dir/cert" > /dev/null 2>&1 &
	until serves u 443; do sleep 0.01; done
	echo "QUIC, by gtlsclient:"
	for name in $NAMES; do
		echo "\$ gtlsclient $name 443"
		echo "10.2.0.2 $name" > "$dir/hosts"
		on_client unshare -m sh -c "mount --bind $dir/hosts /etc/hosts && gtlsclient --exit-on-all-streams-close \
			--handshake-timeout=1s --no-quic-dump --no-http-dump $name 443 https://$name/" > "$dir/said" 2>&1
		grep -q 'Negotiated cipher suite' "$dir/said" && echo "    connected" || echo "    no answer"
	done
else
	echo "QUIC is left out: ngtcp2's gtlsclient and gtlsserver are not here (ngtcp2-client, ngtcp2-server)"
fi

echo
echo "DNS, by dig:"
for name in $NAMES; do
	for way in +notcp +tcp; do
		echo "\$ dig $way $name @10.2.0.2"
		on_client dig +tries=1 +time=2 +noall +comments +answer $way "$name" @10.2.0.2 |
			awk '/status:/ { sub(/,/, "", $6); print "    " $6 } /^[^;]/ { print "    " $1, $4, $5 }'
	done
done

echo
echo "What the filters said:"
kill "$sni" "$filter"
wait "$sni" "$filter"
sed -n 's/^ipq-lua: \(.*asks for.*\)/    \1/p' "$dir/sni.err"
sed 's/^/    /' "$dir/dns.out"
