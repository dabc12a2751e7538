#!/bin/sh
# suricata.sh: gets Suricata from Debian 12's backports for the jobs beside ours, and prints its folder. It is downloaded
# and unpacked there ($BENCH_CACHE, /var/cache/ipq-bench), not installed, with what it needs that this machine lacks.
#
# suricata.sh KIND FOLDER FILE: runs it on queue 0 until it is ended. FOLDER is what jobs.py made, FILE the rule; KIND is
# "tuned" (workers, verdicts in batches, no output, the job's protocols alone) or "stock" (the package's configuration).
set -eu
at=${BENCH_CACHE:-/var/cache/ipq-bench}/suricata
lib=$at/root/usr/lib/$(uname -m)-linux-gnu

apt_of() { APT_CONFIG=$at/conf "$@"; }

get() {
	mkdir -p "$at/lists/partial" "$at/cache/archives/partial"
	from=$(apt-get indextargets --format '$(REPO_URI)' 'Codename: bookworm' | grep -v -- -security | head -n 1)
	[ -n "$from" ] || { echo 'suricata: this is not Debian 12' >&2; return 1; }
	printf 'deb %s bookworm main\ndeb %s bookworm-backports main\n' "$from" "$from" > "$at/sources.list"
	{
		apt-config dump | grep '^Acquire::http' || true
		cat <<-END
			Dir::State "$at"; Dir::State::lists "$at/lists"; Dir::State::status "/var/lib/dpkg/status";
			Dir::Cache "$at/cache"; Dir::Etc::sourcelist "$at/sources.list"; Dir::Etc::sourceparts "/dev/null";
			APT::Sandbox::User "root"; Acquire::Languages "none";
		END
	} > "$at/conf"
	apt_of apt-get -q update
	apt_of apt-get -q -y --download-only --no-install-recommends -t bookworm-backports install suricata
	for package in "$at"/cache/archives/*.deb; do dpkg-deb -x "$package" "$at/root"; done
	touch "$at/done"
}

if [ $# -eq 0 ]; then
	mkdir -p "$at"
	[ -e "$at/done" ] || get > "$at/log" 2>&1 || { tail -n 3 "$at/log" >&2; exit 1; }
	echo "$at"
	exit
fi

kind=$1 folder=$2 rule=$3
mkdir -p "$folder/suricata"
cat > "$folder/suricata/tuned.yaml" <<'END'
%YAML 1.1
---
vars:
  address-groups: { HOME_NET: any, EXTERNAL_NET: any }
stats: { enabled: no }
outputs: []
logging:
  default-log-level: error
  outputs: [ console: { enabled: yes } ]
nfq: { mode: accept, batchcount: 20 }
app-layer:
  protocols:
    tls: { enabled: yes, detection-ports: { dp: 443 } }
    dns: { udp: { enabled: yes, detection-ports: { dp: 53 } }, tcp: { enabled: no } }
stream: { memcap: 256mb, checksum-validation: no, inline: yes, reassembly: { memcap: 256mb } }
flow: { memcap: 256mb, hash-size: 262144, prealloc: 10000 }
detect: { profile: high }
END
case $kind in
tuned) set -- --runmode workers -k none -c "$folder/suricata/tuned.yaml" ;;
stock) set -- -c "$at/root/etc/suricata/suricata.yaml" ;;
*) exit 64 ;;
esac
LD_LIBRARY_PATH=$lib exec "$at/root/usr/bin/suricata" -q 0 "$@" -S "$rule" -l "$folder/suricata" \
	--set classification-file="$at/root/etc/suricata/classification.config" \
	--set reference-config-file="$at/root/etc/suricata/reference.config"
