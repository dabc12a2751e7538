#!/bin/sh
# Installs the Debian packages in a folder into a Debian that has nothing else, uses them there, and removes
# them, of which nothing must be left.
#
#   check.sh FOLDER     as root, on Debian; packages come from where apt has them
set -eu

if [ "${1:-}" != inside ]; then
	dir=$(mktemp -d)
	trap 'rm -rf "$dir"' EXIT
	# Mounts and processes are gone with these namespaces.
	unshare -mpf --kill-child "$0" inside "$1" "$dir"
	exit $?
fi

packages=$2
work=$3
root=$work/root
names='ipq-lua libipq0 libipq-dev'
triplet=$(dpkg-architecture -qDEB_HOST_MULTIARCH)

say() { echo "== $*"; }
fail() { echo "FAILED: $*" >&2; exit 1; }
in_root() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive "$@"; }
quietly() { "$@" > "$work/log" 2>&1 || { cat "$work/log" >&2; fail "$*"; }; }
expect() { grep -q -- "$1" "$work/out" || { cat "$work/out" >&2; fail "there is no \"$1\""; }; }

# What is in the root, but for what apt and dpkg keep of their own.
files() {
	(cd "$root" && find . -xdev \( -path ./proc -o -path ./dev -o -path ./run -o -path ./tmp -o -path ./var/lib/dpkg -o \
		-path ./var/lib/apt -o -path ./var/cache -o -path ./var/log -o -path ./packages \) -prune -o -print | sort)
}

say "a Debian that has nothing else"
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
quietly debootstrap --variant=minbase "$release" "$root" "$mirror"
chmod 755 "$work"
mount -t proc proc "$root/proc"
rm -f "$root/etc/apt/sources.list"
cp -r /etc/apt/. "$root/etc/apt/"
mkdir -p "$root/usr/share/keyrings" "$root/packages"
cp /usr/share/keyrings/* "$root/usr/share/keyrings/"
cp "$packages"/*.deb "$root/packages/"
[ ! -e /etc/resolv.conf ] || cp /etc/resolv.conf "$root/etc/"
quietly in_root apt-get update
# What the packages do not need, but their use here does.
quietly in_root apt-get install -y --no-install-recommends luajit iptables
files > "$work/before"

say "lintian"
lintian --fail-on error,warning "$packages"/*.deb || fail lintian

say "installed"
for name in $names; do set -- "$@" "/packages/$(cd "$root/packages" && ls "${name}"_*.deb)"; done
shift 3
quietly in_root apt-get install -y --no-install-recommends "$@"
for name in $names; do in_root dpkg --verify "$name"; done

say "the program, by the scripts that came with it"
in_root ipq-lua -V
for script in "$root"/usr/share/ipq-lua/scripts/*.lua; do
	# What some of them ask for.
	case ${script##*/} in
	block_sni.lua) set -- names=a.b ;;
	blocklist.lua) set -- file=/dev/null ;;
	dns_rewrite.lua) set -- name=a.example A=192.0.2.1 ;;
	dns_sinkhole.lua) set -- list=/dev/null ;;
	clamp_mss.lua) set -- mtu=1420 ;;
	port_knock.lua) set -- knock=7000,8000 ;;
	rate_limit.lua) set -- rate=100 ;;
	transparent_tarpit.lua) set -- used=22 ;;
	nat.lua) set -- inside=192.0.2.0/24 outside=198.51.100.0/24 ;;
	*) set -- ;;
	esac
	quietly in_root ipq-lua --check "/usr/share/ipq-lua/scripts/${script##*/}" "$@"
done

say "the module and its test kit"
in_root luajit -e 'local t = require "ipq.test"
	print(t.run(t.load("/usr/share/ipq-lua/scripts/drop_port.lua"), t.tcp { dport = 23 }).verdict)' > "$work/out"
expect '^drop$'

say "live packets, judged by a script, and by a program of libipq's"
cc -Wall -Werror -I"$root/usr/include/libipq" -I"$root/usr/include" -o "$root/packages/passer" \
	"$root/usr/share/doc/libipq-dev/examples/passer.c" -L"$root/usr/lib/$triplet" -lipq
cat > "$root/packages/live.sh" <<'END'
exec 2>&1
# wait_for COMMAND...: ten seconds at most
wait_for() { for _ in $(seq 1000); do "$@" && return 0; sleep 0.01; done; echo "still not: $*"; exit 1; }
bound() { grep -q '^ *0 ' /proc/net/netfilter/nfnetlink_queue; }
free() { ! bound; }
judged() { awk -v n="$1" '$8 >= n && $3 == 0 { found = 1 } END { exit !found }' /proc/net/netfilter/nfnetlink_queue; }
iptables-legacy -A OUTPUT -p udp -j QUEUE
ipq-lua --user nobody /usr/share/ipq-lua/scripts/drop_port.lua ports=9 & program=$!
wait_for bound
echo > /dev/udp/127.0.0.1/9
echo > /dev/udp/127.0.0.1/10
wait_for judged 2
kill $program
wait $program
echo "exit $?"
wait_for free
/packages/passer & program=$!
wait_for bound
echo > /dev/udp/127.0.0.1/9
wait_for judged 1
kill $program
echo passed
END
in_net() { unshare -n sh -c 'ip link set lo up; exec "$@"' sh "$@"; }
in_net chroot "$root" bash /packages/live.sh > "$work/out" 2>&1 || { cat "$work/out" >&2; fail live; }
expect '2 packets, 1 accepted, 1 dropped'
expect '^exit 0$'
expect '^passed$'

say "completion"
in_root bash -c '. /usr/share/bash-completion/completions/ipq-lua && complete -p ipq-lua' > "$work/out"
expect 'complete -F'

say "removed, with nothing left"
quietly in_root apt-get purge -y $names
quietly in_root apt-get autoremove --purge -y
files > "$work/after"
diff "$work/before" "$work/after" || fail "files are left, or lost"
say "all is well"
