#!/bin/sh
# Succeeds where the kernel queues packets for a namespace of one's own and tells of its queues. Where NFQUEUE is a
# module, as in Debian's kernels, its file in /proc is not there before somebody has asked for a queue: so one is opened
# before the file is looked for. The module is asked for by name where that does not load it.
cd "$(dirname "$0")/../.." || exit 1
export LUA_PATH='bindings/?.lua;bindings/?/init.lua' LUA_CPATH="${IPQ_BUILD:-build}/?.so"
exec unshare -n sh -c '
	luajit -e "assert(require [[ipq]].open())" || modprobe -q nfnetlink_queue
	test -r /proc/net/netfilter/nfnetlink_queue'
