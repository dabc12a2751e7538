#!/bin/bash
# Runs a command in a virtual machine with one of Debian's kernels. The guest's root is this machine's, seen through an
# overlay: it has every program that is installed here, and what it writes is gone with it. There is no network in it.
#
#   guest.sh [OPTION...] [--] COMMAND [ARGUMENT...]
#
#   -s SUITE      Debian's suite that the kernel comes from (bookworm); bookworm-backports, bullseye, ...
#   -k PACKAGE    the kernel's package (linux-image-amd64)
#   -l MODULES    loaded before the command: "nft_queue br_netfilter"
#   -a WORDS      more for the kernel's command line: "security=selinux selinux=1"
#   -d FOLDER     where the command runs (here). Below /tmp it is all of /tmp that the guest has
#   -o FOLDER     comes into the guest as /run/out, and what is written there stays
#   -r FOLDER     another root than this machine's
#   -S            the root's own init (systemd) is started, and the command when multi-user.target is reached
#   -I            the command reads from this terminal
#   -m MIB        memory (2048)
#   -c CPUS       processors (2)
#   -t SECONDS    after which it is ended (600)
#   -v            the kernel's messages as well
#   --fetch       only gets the kernel, and prints its version
#
# As root, for the root's files that others may not read; with Debian's packages qemu-system-x86, busybox-static, kmod,
# cpio, xz-utils, and for kernels without 9p, as the "cloud" ones, virtiofsd (in Debian 12 a part of
# qemu-system-common). Kernels are downloaded and unpacked, not installed, and kept in $GUEST_CACHE
# (/var/cache/ipq-guest): 100 to 600 MB each.
#
# Without KVM, code runs 15 to 30 times slower. The command is told by IPQ_SLOW, a factor for deadlines, and finds the
# kernel's version in IPQ_GUEST.
#
# Exit status: the command's; 124, its time was over; 125, the guest could not be started or ended without a status.
set -eu

die() { echo "guest: $*" >&2; exit 125; }

kernel=linux-image-amd64 suite=bookworm folder=$PWD out='' root=/ memory=2048 cpus=2 limit=600
append='' load='' systemd='' interactive='' verbose='' fetch=''
while [ $# -gt 0 ]; do
	case $1 in
	-k) kernel=$2; shift 2 ;;
	-s) suite=$2; shift 2 ;;
	-l) load=$2; shift 2 ;;
	-a) append=$2; shift 2 ;;
	-d) folder=$2; shift 2 ;;
	-o) out=$2; shift 2 ;;
	-r) root=$2; shift 2 ;;
	-m) memory=$2; shift 2 ;;
	-c) cpus=$2; shift 2 ;;
	-t) limit=$2; shift 2 ;;
	-S) systemd=yes; shift ;;
	-I) interactive=yes; shift ;;
	-v) verbose=loglevel=7; shift ;;
	--fetch) fetch=yes; shift ;;
	--) shift; break ;;
	-*) die "no such option: $1" ;;
	*) break ;;
	esac
done
[ $# -gt 0 ] || [ -n "$fetch" ] || die "no command"
for program in qemu-system-x86_64 busybox modprobe depmod cpio xz dpkg-deb; do
	command -v $program > /dev/null || die "there is no $program (qemu-system-x86 busybox-static kmod cpio xz-utils)"
done
[ "$(uname -m)" = x86_64 ] || die "the guest is an amd64 one, and has this machine's programs"

cache=${GUEST_CACHE:-/var/cache/ipq-guest}
at=$cache/$suite-$kernel

# The kernel, by an apt that has nothing to do with this machine's but where packages come from.

# apt_of PROGRAM ARGUMENT...: one of apt's programs, for the suite.
apt_of() {
	local of=$cache/apt-$suite
	if [ ! -e "$of/conf" ]; then
		local from security
		from=$(apt-get indextargets --format '$(REPO_URI)' | grep -v -- -security | head -n 1)
		security=$(apt-get indextargets --format '$(REPO_URI)' | grep -- -security | head -n 1)
		mkdir -p "$of/lists/partial" "$of/cache/archives/partial"
		echo "deb $from $suite main" > "$of/sources.list"
		case $suite in
		*-*|sid|unstable|experimental) ;;
		*) [ -z "$security" ] || echo "deb $security $suite-security main" >> "$of/sources.list" ;;
		esac
		{
			apt-config dump | grep '^Acquire::http' || true
			cat <<-END
				Dir::State "$of"; Dir::State::lists "$of/lists"; Dir::State::status "/dev/null";
				Dir::Cache "$of/cache"; Dir::Etc::sourcelist "$of/sources.list"; Dir::Etc::sourceparts "-";
				Dir::Etc::main "-"; Dir::Etc::parts "-"; APT::Sandbox::User "root";
				APT::Architecture "amd64"; APT::Architectures "amd64"; Acquire::Languages "none";
			END
		} > "$of/conf"
	fi
	APT_CONFIG=$of/conf "$@"
}

# The packages that PACKAGE depends on and that have a kernel's version in their names.
versioned() {
	apt_of apt-cache depends -q=2 "$1" 2> /dev/null | sed -n 's/^ *Depends: //p' |
		grep -E '^linux-(image|modules|binary|base)-[0-9]' || true
}

# Makes $at: vmlinuz, modules/lib/modules/VERSION, and version, which is written last.
get_kernel() {
	local packages=$kernel more package modules tree=$at/tree
	rm -rf "$at"
	mkdir -p "$at/debs" "$at/modules/lib"
	apt_of apt-get -q update > "$at/log" 2>&1 || { cat "$at/log" >&2; die "no packages of $suite"; }
	# The one that is asked for names another, and newer kernels are in several.
	for _ in 1 2 3; do
		more=
		for package in $packages; do more="$more $package $(versioned "$package" | tr '\n' ' ')"; done
		packages=$(printf '%s\n' $more | sort -u)
	done
	(cd "$at/debs" && apt_of apt-get -q download $packages) >> "$at/log" 2>&1 || { cat "$at/log" >&2; die "no $kernel"; }
	for package in "$at"/debs/*.deb; do dpkg-deb -x "$package" "$tree"; done
	modules=$(find "$tree/lib/modules" "$tree/usr/lib/modules" -mindepth 1 -maxdepth 1 2> /dev/null | head -n 1)
	[ -n "$modules" ] || die "no modules in $packages"
	mv "$(dirname "$modules")" "$at/modules/lib/modules"
	find "$tree" "$at/modules" -name 'vmlinuz*' -type f -exec cp {} "$at/vmlinuz" \;
	[ -e "$at/vmlinuz" ] || die "no vmlinuz in $packages"
	rm -rf "$at/debs" "$tree"
	depmod -b "$at/modules" "${modules##*/}"
	echo "${modules##*/}" > "$at/version"
}

mkdir -p "$cache" || die "no folder for kernels: $cache"
# Two guests may want the same one.
exec 9> "$cache/lock"
flock 9
[ -e "$at/version" ] || get_kernel
exec 9>&-
version=$(cat "$at/version")
[ -z "$fetch" ] || { echo "$version"; exit 0; }

work=$(mktemp -d)
daemons=
cleanup() {
	local pid
	for pid in $daemons; do kill "$pid" 2> /dev/null || true; done
	rm -rf "$work"
}
trap cleanup EXIT
[ -n "$out" ] || { out=$work/out; mkdir "$out"; }
mkdir -p "$work/job" "$work/initrd/bin" "$work/initrd/modules"

# What the guest begins with: busybox, and the modules that lead to its root.

# The files of a module and of what it needs.
module_files() { modprobe -d "$at/modules" -S "$version" --show-depends -q "$1" 2> /dev/null; }

if module_files 9p > /dev/null && module_files 9pnet_virtio > /dev/null; then
	share=9p first='virtio_pci 9pnet_virtio 9p'
elif module_files virtiofs > /dev/null; then
	share=virtiofs first='virtio_pci virtiofs'
else
	die "$version has neither 9p nor virtiofs"
fi
order=$work/initrd/modules/order
: > "$order"
for module in $first overlay virtio_console virtio_rng; do
	module_files "$module" | sed -n 's/^insmod \([^ ]*\).*/\1/p' | while read -r file; do
		name=$(basename "$file" .xz)
		grep -qx "$name" "$order" && continue
		# Debian's newer modules are compressed.
		if [ "$file" = "${file%.xz}" ]; then cat "$file"; else xz -dc "$file"; fi > "$work/initrd/modules/$name"
		echo "$name" >> "$order"
	done
done
cp "$(command -v busybox)" "$work/initrd/bin/busybox"
cat > "$work/initrd/init" <<'END'
#!/bin/busybox sh
b=/bin/busybox
$b mkdir -p /proc /sys /dev /low /top /root /kernel /job /out
$b mount -t proc proc /proc; $b mount -t sysfs sys /sys; $b mount -t devtmpfs dev /dev
fail() { echo "guest: $*" > /dev/console; $b poweroff -f; }
while read -r m; do $b insmod /modules/$m || echo "guest: insmod $m failed"; done < /modules/order
for word in $($b cat /proc/cmdline); do case $word in guest.*) eval "${word#guest.}";; esac; done
mount_share() { # TAG FOLDER ro|rw
	case $share in
	9p) c=loose; [ $3 = ro ] || c=none
	    $b mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,cache=$c,$3 $1 $2 ;;
	*) $b mount -t virtiofs -o $3 $1 $2 ;;
	esac || fail "cannot mount $1"
}
mount_share root /low ro; mount_share kernel /kernel ro; mount_share job /job rw; mount_share out /out rw
$b mount -t tmpfs -o size=75%,mode=755 tmpfs /top
over() { # LOWER NAME TARGET
	$b mkdir -p /top/$2.u /top/$2.w
	$b mount -t overlay -o lowerdir=$1,upperdir=/top/$2.u,workdir=/top/$2.w overlay $3 || fail "no overlay of $1"
}
over /low root /root
$b chmod 755 /root
$b mount -t tmpfs -o mode=1777,size=50% tmpfs /root/tmp
folder=$($b cat /job/folder)
case $folder in /tmp/*) $b mkdir -p /root$folder; over /low$folder tmp /root$folder ;; esac
# The kernel's modules are where the root's would be.
modules=/root/usr/lib/modules; [ -L /root/lib ] || modules=/root/lib/modules
$b mkdir -p $modules; $b mount -o bind /kernel $modules
$b mkdir -p /root/run; $b mount -t tmpfs -o mode=755 tmpfs /root/run
$b mkdir -p /root/run/out /root/run/job
$b mount -o bind /out /root/run/out; $b mount -o bind /job /root/run/job
$b mount -o move /proc /root/proc; $b mount -o move /sys /root/sys; $b mount -o move /dev /root/dev
[ ! -e /job/guest.service ] || {
	units=/root/run/systemd/system
	$b mkdir -p $units/multi-user.target.wants
	$b cp /job/guest.service $units/
	$b ln -s ../guest.service $units/multi-user.target.wants/
	for tty in hvc0 ttyS0; do $b ln -s /dev/null $units/serial-getty@$tty.service; done
	exec $b switch_root /root /lib/systemd/systemd
}
exec $b switch_root /root /bin/sh /run/job/init
END
chmod 755 "$work/initrd/init"
(cd "$work/initrd" && find . | cpio -o -H newc --quiet | gzip -1) > "$work/initrd.gz"

# The processor's own help is what Debian's kernels need to run under KVM: where a machine's /dev/kvm does without, they
# never leave their first instructions.
accel=tcg,thread=multi,tb-size=1024 cpu=max slow=${IPQ_SLOW:-20}
if [ -w /dev/kvm ] && grep -qwE 'vmx|svm' /proc/cpuinfo; then accel=kvm cpu=host slow=${IPQ_SLOW:-1}; fi

# What is done there. The command's input and output is the console hvc0, its status is left in the folder "job".

tty='-opost -echo'
[ -z "$interactive" ] || tty="sane rows $(tput lines) cols $(tput cols)"
printf '%s\n' "$folder" > "$work/job/folder"
{
	printf 'cd %q || exit 1\nexec' "$folder"
	[ $# -eq 0 ] || printf ' %q' "$@"
	echo
} > "$work/job/command"
cat > "$work/job/run" <<END
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=${TERM:-dumb} LANG=C.UTF-8
export IPQ_GUEST=$version IPQ_SLOW=$slow
for m in $load; do modprobe \$m || echo "guest: no module \$m" > /dev/hvc0; done
stty -F /dev/hvc0 $tty
setsid -cw bash /run/job/command < /dev/hvc0 > /dev/hvc0 2>&1
echo \$? > /run/job/status
sync
END
# As PID 1 without systemd: a small system around it.
cat > "$work/job/init" <<'END'
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mkdir -p /dev/pts /dev/shm /run/lock /run/netns /run/user
chmod 1777 /run/lock
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t securityfs securityfs /sys/kernel/security
ln -s /proc/self/fd /dev/fd; ln -s fd/0 /dev/stdin; ln -s fd/1 /dev/stdout; ln -s fd/2 /dev/stderr
hostname guest
ip link set lo up
echo 1 > /proc/sys/kernel/panic_on_oops
sh /run/job/run
echo o > /proc/sysrq-trigger
while :; do sleep 1; done
END
[ -z "$systemd" ] || cat > "$work/job/guest.service" <<'END'
[Unit]
Description=What this guest was started for
After=multi-user.target
[Service]
ExecStart=/bin/bash /run/job/run
ExecStopPost=/bin/systemctl --no-block poweroff
KillMode=process
END

# The machine.

arguments=(-nodefaults -no-user-config -no-reboot -display none -accel "$accel" -cpu "$cpu" -smp "$cpus" -m "$memory"
	-kernel "$at/vmlinuz" -initrd "$work/initrd.gz"
	-append "console=ttyS0 panic=-1 net.ifnames=0 guest.share=$share ${verbose:-quiet} $append"
	-serial "file:$work/console"
	-device virtio-rng-pci
	-device virtio-serial-pci -chardev stdio,id=hvc,signal=off -device virtconsole,chardev=hvc)
declare -A shared=([root]=$root [kernel]=$at/modules/lib/modules [job]=$work/job [out]=$out)
[ $share = 9p ] ||
	arguments+=(-object "memory-backend-memfd,id=mem,size=${memory}M,share=on" -numa node,memdev=mem)
for tag in root kernel job out; do
	if [ $share = 9p ]; then
		more=; [ $tag = job ] || [ $tag = out ] || more=,readonly=on
		[ $tag != root ] || more=$more,multidevs=remap
		arguments+=(-fsdev "local,id=$tag,path=${shared[$tag]},security_model=none$more"
			-device "virtio-9p-pci,fsdev=$tag,mount_tag=$tag")
		continue
	fi
	virtiofsd=$(command -v virtiofsd || ls /usr/libexec/virtiofsd /usr/lib/qemu/virtiofsd 2> /dev/null | head -n 1)
	[ -n "$virtiofsd" ] || die "$version has no 9p, and there is no virtiofsd"
	"$virtiofsd" --socket-path="$work/$tag.sock" -o "source=${shared[$tag]}" -o cache=auto -o sandbox=chroot \
		> "$work/$tag.log" 2>&1 &
	daemons="$daemons $!"
	for _ in $(seq 50); do [ ! -S "$work/$tag.sock" ] || break; sleep 0.1; done
	arguments+=(-chardev "socket,id=$tag,path=$work/$tag.sock"
		-device "vhost-user-fs-pci,chardev=$tag,tag=$tag,queue-size=1024")
done

[ -n "$interactive" ] || exec < /dev/null
status=0
# Beside this shell, which ends it when it is itself asked to end.
timeout --foreground -k 5 "$limit" qemu-system-x86_64 "${arguments[@]}" <&0 &
machine=$!
trap 'kill $machine; exit 125' HUP INT TERM
wait $machine || status=$?
[ -z "$verbose" ] || cat "$work/console" >&2
if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
	tail -n 20 "$work/console" >&2
	echo "guest: not done within $limit s" >&2
	exit 124
fi
[ -s "$work/job/status" ] || { tail -n 40 "$work/console" >&2; die "the guest ended without a status (qemu: $status)"; }
exit "$(cat "$work/job/status")"
