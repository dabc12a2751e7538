#!/bin/sh
# README's commands in a Debian that has nothing else: as root, on Debian, from where apt has its packages.
#
#   debian.sh SUITE [TARGET...]     of make: demo and test
#
# The new Debian is this process's whole root: in a chroot, user namespaces are not permitted, and specs that need them
# would be pending. What is installed comes first, for the commands are run in a network namespace of their own.
set -eu

if [ "$1" != inside ]; then
	cd "$(dirname "$0")/../.."
	dir=$(mktemp -d)
	trap 'rm -rf --one-file-system "$dir"' EXIT
	# Mounts and processes are gone with these namespaces.
	unshare -mpf --kill-child spec/packages/debian.sh inside "$dir" "$@"
	exit 0
fi

dir=$2
suite=$3
shift 3
[ $# -gt 0 ] || set -- demo test
root=$dir/root

say() { echo "== $suite: $*"; }
fail() { echo "FAILED: $suite: $*" >&2; exit 1; }
quietly() { "$@" > "$dir/log" 2>&1 || { cat "$dir/log" >&2; fail "$*"; }; }

say "a Debian that has nothing else"
from=$(apt-get indextargets --format '$(REPO_URI)' | grep -v -- -security | head -n 1)
security=$(apt-get indextargets --format '$(REPO_URI)' | grep -- -security | head -n 1)
quietly debootstrap --variant=minbase "$suite" "$root" "$from"
[ -z "$security" ] || echo "deb $security $suite-security main" >> "$root/etc/apt/sources.list"
apt-config dump | grep '^Acquire::http' > "$root/etc/apt/apt.conf.d/90http" || true
[ ! -e /etc/resolv.conf ] || cp /etc/resolv.conf "$root/etc/"
mkdir "$root/clone"
tar cf - --exclude=./build --exclude=./.git . | tar xf - -C "$root/clone"

mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
cd "$root"
mkdir old
pivot_root . old
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
unset LANG LANGUAGE TMPDIR
dir=/tmp
umount -l /old
rmdir /old
cd /clone
quietly apt-get update
quietly apt-get install -y --no-install-recommends make
say "make deps-build deps-test"
quietly make deps-build deps-test
for target; do
	say "make $target"
	unshare -n sh -c 'ip link set lo up && exec make "$1"' sh "$target" || fail "make $target"
done
