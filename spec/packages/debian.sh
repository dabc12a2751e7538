#!/bin/sh
# README's commands in a Debian that has nothing else: as root, on Debian, from where apt has its packages.
#
#   debian.sh SUITE [TARGET...]     of make: demo and test
#
# ARCH=arm64 has it be a Debian for that architecture, whose programs run under QEMU where the machine's own is another;
# with Debian 12's package qemu-user-static. BUSTED_ARGS goes on to make.
#
# The new Debian is this process's whole root: in a chroot, user namespaces are not permitted, and specs that need them
# would be pending. What is installed comes first, for the commands are run in a network namespace of their own.
set -eu

arch=${ARCH:-$(dpkg --print-architecture)}

# The kernel hands programs of that architecture to QEMU, on the whole machine, until all is done; unless it does so
# already, and has opened QEMU's file (F), for what is run has another root.
emulate() {
	formats=/proc/sys/fs/binfmt_misc
	[ "$arch" = arm64 ] || { echo "there is no emulation of $arch here" >&2; exit 1; }
	[ -e $formats/register ] || { mount -t binfmt_misc binfmt_misc $formats && is_mounted=yes; }
	for entry in "$formats"/*; do
		! grep -qsx 'magic 7f454c460201010000000000000000000200b700' "$entry" || ! grep -qs '^flags:.*F' "$entry" ||
			return 0
	done
	sed "s/^:qemu-aarch64:/:$format:/" /usr/lib/binfmt.d/qemu-aarch64.conf > $formats/register
	is_registered=yes
}

clean_up() {
	[ -z "$is_registered" ] || echo -1 > "/proc/sys/fs/binfmt_misc/$format"
	[ -z "$is_mounted" ] || umount /proc/sys/fs/binfmt_misc
	rm -rf --one-file-system "$dir"
}

if [ "$1" != inside ]; then
	cd "$(dirname "$0")/../.."
	dir=$(mktemp -d)
	format=ipq-lua-$$ is_mounted='' is_registered=''
	trap clean_up EXIT
	trap 'exit 130' INT TERM
	[ "$arch" = "$(dpkg --print-architecture)" ] || emulate
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
quietly debootstrap --arch="$arch" --variant=minbase "$suite" "$root" "$from"
[ -z "$security" ] || echo "deb $security $suite-security main" >> "$root/etc/apt/sources.list"
apt-config dump | grep '^Acquire::http' > "$root/etc/apt/apt.conf.d/90http" || true
# Nobody misses what is not on the disk yet.
echo force-unsafe-io > "$root/etc/dpkg/dpkg.cfg.d/unsafe-io"
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
