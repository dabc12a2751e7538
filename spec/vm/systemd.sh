#!/bin/bash
# The service ipq-lua@ping on a Debian with systemd, in a virtual machine (guest.sh): what systemctl and signals do to it
# while a ping comes every 20 ms. Each is sent through the queue, and each has to be answered.
#
#   systemd.sh FOLDER     with the packages of make deb; as root, on Debian
set -eu

if [ "$1" != inside ]; then
	here=$(dirname "$0")
	dir=$(mktemp -d)
	trap 'rm -rf --one-file-system "$dir"' EXIT
	root=$dir/root
	quietly() { "$@" > "$dir/log" 2>&1 || { cat "$dir/log" >&2; echo "FAILED: $*" >&2; exit 1; }; }
	in_root() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive "$@"; }
	echo "== a Debian with systemd"
	from=$(apt-get indextargets --format '$(REPO_URI)' | grep -v -- -security | head -n 1)
	quietly debootstrap --variant=minbase --include=systemd-sysv,dbus,kmod,iptables,iproute2,iputils-ping,procps \
		"$(. /etc/os-release && echo "$VERSION_CODENAME")" "$root" "$from"
	apt-config dump | grep '^Acquire::http' > "$root/etc/apt/apt.conf.d/90http" || true
	[ ! -e /etc/resolv.conf ] || cp /etc/resolv.conf "$root/etc/"
	cp "$1"/ipq-lua_*.deb "$root/ipq-lua.deb"
	cp "$0" "$root/systemd.sh"
	quietly in_root apt-get update
	quietly in_root apt-get install -y --no-install-recommends /ipq-lua.deb
	mkdir -p "$root/etc/ipq-lua" "$root/etc/systemd/system/ipq-lua@ping.service.d"
	cat > "$root/etc/ipq-lua/ping.conf" <<-'END'
		OPTIONS="--on-error accept --rule OUTPUT\ -p\ icmp\ --icmp-type\ echo-request"
	END
	cat > "$root/etc/ipq-lua/ping.lua" <<-'END'
		local ipq = require "ipq"
		local all, pings = ipq.shared "all", ipq.counter "pings"
		return { flow = { timeout = { icmp = 3600 } }, filter = function(pkt)
			pings:set(all:incr("pings", 1, 0))
			if pkt.len > 128 then return ipq.DROP end
		end }
	END
	printf '[Service]\nWatchdogSec=20\n' > "$root/etc/systemd/system/ipq-lua@ping.service.d/watchdog.conf"
	quietly in_root systemctl enable ipq-lua@ping
	echo "== booted"
	"$here/guest.sh" -t 900 -S -r "$root" -d / bash /systemd.sh inside
	exit 0
fi

fail() {
	echo "FAILED: $*"
	systemctl status --no-pager --full ipq-lua@ping || true
	journalctl --no-pager -u ipq-lua@ping | tail -n 30
	exit 1
}
queue() { grep -q '^ *0 ' /proc/net/netfilter/nfnetlink_queue; }
queued() { awk '$1 == 0 { print $8 }' /proc/net/netfilter/nfnetlink_queue; }
supervisor() { systemctl show -p MainPID --value ipq-lua@ping; }
worker() { pgrep -P "$(supervisor)" -x ipq-lua | head -n 1; }
passes() { ping -c 1 -W 5 "$@" 127.0.0.1 > /dev/null; }
# wait_for COMMAND...: two minutes at most.
wait_for() {
	local until=$((SECONDS + 120))
	until "$@"; do [ $SECONDS -lt $until ] || fail "still not: $*"; sleep 0.1; done
}
active() { [ "$(systemctl is-active ipq-lua@ping)" = active ]; }
# A worker that is not the one that was there before.
other_worker() { local now; now=$(worker) && [ -n "$now" ] && [ "$now" != "$before" ]; }
other_supervisor() { active && [ "$(supervisor)" != "$before" ]; }
status_is_told() { [[ $(systemctl show -p StatusText --value ipq-lua@ping) = *packets* ]]; }
logged() { journalctl -u ipq-lua@ping | grep -q "$1"; }

# What the filter remembers, "FLOWS PINGS", of a table of flows and a shared one; 0 0: not asked yet.
remembered() {
	ipq-lua --top "$(supervisor)" | awk '$2 == "follows" { flows = $3 } $2 == "pings" { pings = $3 }
		END { print flows + 0, pings + 0 }'
}
has_counted() { local flows pings; read -r flows pings < <(remembered) && [ "$pings" -gt 0 ]; }

# pinged FILE: "SENT RECEIVED" of all that is in it.
pinged() { awk '/packets transmitted/ { sent += $1; received += $4 } END { print sent + 0, received + 0 }' "$1"; }

# under_pings WHAT COMMAND...: pings, 20 ms apart, amid which the command is run, however long it takes. All come back.
under_pings() {
	local what=$1 pings sent received
	shift
	rm -f /tmp/over
	(until [ -e /tmp/over ]; do ping -i 0.02 -c 500 -W 20 127.0.0.1 || true; done > /tmp/pings) &
	pings=$!
	wait_for grep -q icmp_seq=10 /tmp/pings
	"$@"
	touch /tmp/over
	wait $pings
	read -r sent received < <(pinged /tmp/pings)
	[ "$sent" -ge 500 ] && [ "$sent" = "$received" ] || { tail -n 3 /tmp/pings; fail "$what: $received of $sent pings"; }
	queue && [ "$(queued)" -gt 0 ] || fail "$what: the queue was not asked"
	echo "ok: $what: $received of $sent pings"
}

active || fail "it does not run after boot"
wait_for queue
passes || fail "no ping passes"
! passes -W 1 -s 200 || fail "the filter does not judge"
echo "ok: it is started at boot"

reload() {
	cp /etc/ipq-lua/ping.lua /tmp/good.lua
	sed -i s/128/300/ /etc/ipq-lua/ping.lua
	systemctl reload ipq-lua@ping
	passes -s 200 || fail "the new script does not judge when reload comes back"
}
under_pings "reload" reload

reload_broken() {
	echo 'return function(' > /etc/ipq-lua/ping.lua
	! systemctl reload ipq-lua@ping || fail "a reload of a broken script does not fail"
	logged 'was not reloaded' || fail "the log does not say so"
	active && passes -s 200 || fail "the old script does not go on"
	cp /tmp/good.lua /etc/ipq-lua/ping.lua
}
under_pings "reload of a broken script" reload_broken

restart() {
	local asked flows pings flows_now pings_now
	asked=$(queued)
	read -r flows pings < <(remembered)
	[ "$flows" -gt 1 ] && [ "$pings" -gt 1 ] || fail "the filter remembers nothing: $flows flows, $pings pings"
	before=$(supervisor)
	systemctl restart ipq-lua@ping
	other_supervisor || fail "the same process after a restart"
	# A new queue would count from 0.
	[ "$(queued)" -gt "$asked" ] || fail "the queue is another one"
	! passes -W 1 -s 200 || fail "the script was not read anew"
	wait_for has_counted
	read -r flows_now pings_now < <(remembered)
	[ "$flows_now" -ge "$flows" ] && [ "$pings_now" -gt "$pings" ] ||
		fail "it remembers $flows_now flows and $pings_now pings, where there were $flows and $pings"
}
under_pings "restart" restart

kill_worker() { before=$(worker); kill -KILL "$before"; wait_for other_worker; }
under_pings "kill -9 of the worker" kill_worker

kill_supervisor() { before=$(supervisor); kill -KILL "$before"; wait_for other_supervisor; }
under_pings "kill -9 of the supervisor" kill_supervisor

reexec() { systemctl daemon-reexec; restart; }
under_pings "daemon-reexec, and a restart" reexec

before=$(supervisor)
kill -STOP "$before"
wait_for other_supervisor
wait_for queue
passes || fail "no ping passes after the watchdog"
echo "ok: a supervisor that stands still is replaced by the watchdog"

upgrade() { dpkg -i /ipq-lua.deb > /dev/null; restart; }
under_pings "upgrade of the package, and a restart" upgrade

systemctl stop ipq-lua@ping
! queue || fail "the queue is there after a stop"
[ "$(systemctl is-active ipq-lua@ping)" = inactive ] || fail "not inactive"
! iptables-save | grep ipq-lua: || fail "a rule is left"
! ip6tables-save | grep ipq-lua: || fail "a rule is left for IPv6"
[ ! -e /run/ipq-lua/ping ] || fail "the control socket is left"
passes -s 200 || fail "no ping passes after a stop"
echo "ok: stop takes the queue away, and packets pass"

# Another queue: the old one's socket is not kept, and its rule goes.
systemctl start ipq-lua@ping
[[ $(systemctl show -p StatusText --value ipq-lua@ping) = *packets* ]] || wait_for status_is_told
cp /etc/ipq-lua/ping.conf /tmp/ping.conf
sed -i 's/^OPTIONS="/&-q 5 /' /etc/ipq-lua/ping.conf
systemctl restart ipq-lua@ping
wait_for grep -q '^ *5 ' /proc/net/netfilter/nfnetlink_queue
! queue || fail "the queue before is kept"
[ "$(iptables-save | grep -c ipq-lua:)" = 1 ] || fail "there is another rule than its own"
passes || fail "no ping passes by the other queue"
echo "ok: another queue: the one before is given back"

# A restart that fails: the rule has no bypass, and no ping passes for that.
echo 'return function(' > /etc/ipq-lua/ping.lua
systemctl restart ipq-lua@ping && fail "a restart with a broken script does not fail"
! passes -W 1 || fail "a ping passes without a filter"
iptables-save | grep ipq-lua: | grep -q -- --queue-bypass && fail "the rule has a bypass"
cp /tmp/good.lua /etc/ipq-lua/ping.lua
systemctl restart ipq-lua@ping
passes || fail "no ping passes behind it"
echo "ok: a restart that fails lets nothing pass"

dpkg -r ipq-lua > /dev/null
! iptables-save | grep ipq-lua: || fail "a rule is left by the package"
passes || fail "no ping passes without the package"
echo "ok: the package takes its rules away"
