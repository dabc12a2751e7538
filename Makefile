# ipq-lua: what Netfilter queues, judged by Lua.
#
#   make demo          a filter at work on real packets, in a network namespace of its own
#   make demo-bypass   a TCP stream of which the filter judges the beginning alone
#   make demo-names    TLS, QUIC and DNS, judged by the names that clients ask for
#   make test          all specs
#
# Each target installs the packages it needs (see deps). V=1 shows the commands.

VERSION := 0.1.0

BUILD ?= build
PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
LUA_LMOD ?= $(PREFIX)/share/lua/5.1
LUA_CMOD ?= $(PREFIX)/lib/lua/5.1
DATADIR ?= $(PREFIX)/share/ipq-lua
MANDIR ?= $(PREFIX)/share/man
COMPLETIONDIR ?= $(PREFIX)/share/bash-completion/completions
UNITDIR ?= $(PREFIX)/lib/systemd/system

CC ?= cc
PKG_CONFIG ?= pkg-config
OBJCOPY ?= objcopy
BUSTED ?= busted
CFLAGS ?= -O2 -g
# SANITIZE=address,undefined builds with these; give it a BUILD of its own.
SANITIZE ?=

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-7s %s\n' $(1) $(2))

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes \
	-Wmissing-prototypes -Wvla -Werror=implicit-function-declaration -Werror=incompatible-pointer-types
CPPFLAGS += -D_GNU_SOURCE -DIPQ_VERSION='"$(VERSION)"' -I. -Ilib/libipq
# What is released; the sanitizers see more, and FORTIFY needs a compiler that optimizes.
HARDENING = $(if $(SANITIZE)$(findstring -O0,$(CFLAGS)),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 \
	-fstack-protector-strong -fstack-clash-protection)
ALL_CFLAGS = -std=gnu11 -fPIC $(WARNINGS) $(HARDENING) $(CFLAGS) \
	$(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer)
ALL_LDFLAGS = -Wl,-z,relro,-z,now,-z,noexecstack $(if $(SANITIZE),-fsanitize=$(SANITIZE)) $(LDFLAGS)

LIB_CFLAGS = $(shell $(PKG_CONFIG) --cflags libmnl nettle)
LIB_LIBS = $(shell $(PKG_CONFIG) --libs libmnl nettle)
PCAP_LIBS = $(shell $(PKG_CONFIG) --libs libpcap zlib)
SANDBOX_LIBS = $(shell $(PKG_CONFIG) --libs libseccomp libcap-ng)
LUAJIT_CFLAGS = $(shell $(PKG_CONFIG) --cflags luajit)
LUAJIT_LIBS = $(shell $(PKG_CONFIG) --libs luajit)

LIB_SRC := $(wildcard lib/*/*.c)
BINDINGS_SRC := $(wildcard bindings/*.c bindings/capture/*.c)
HOST_SRC := $(wildcard host/*.c host/*/*.c)
# Paths below bindings/ipq, and the folders among them.
LUA_MODULES := $(patsubst bindings/ipq/%,%,$(wildcard bindings/ipq/*.lua bindings/ipq/*/*.lua))
LUA_ROOMS := $(filter-out ./,$(sort $(dir $(LUA_MODULES))))
C_FILES := $(wildcard lib/*.h lib/*/*.[ch] bindings/*.[ch] bindings/*/*.[ch] host/*.[ch] host/*/*.[ch] spec/*/*.[ch])

obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
LIB_OBJ := $(call obj,$(LIB_SRC))
BINDINGS_OBJ := $(call obj,$(BINDINGS_SRC))
HOST_OBJ := $(call obj,$(HOST_SRC))
SPEC_OBJ := $(call obj,spec/c/source.c spec/c/filter.c spec/c/flows.c spec/c/streams.c \
	spec/c/stream_kills.c spec/c/quic.c)

PROGRAM := $(BUILD)/ipq-lua
CORE := $(BUILD)/ipq/core.so
PRELOADS := $(addprefix $(BUILD)/spec/,refuse_socket.so refuse_flags.so refuse_verdicts.so mangle_messages.so)
SPEC_LIBS := $(BUILD)/spec/lib.so $(PRELOADS) $(BUILD)/spec/stream $(BUILD)/spec/datagrams
BENCH_PROGRAMS := $(patsubst spec/bench/%.c,$(BUILD)/bench/%,$(wildcard spec/bench/*.c))

.PHONY: chaos hostile soak all deps deps-build deps-test deps-bench deps-demo demo demo-bypass demo-names test check lint layers \
	format bench install uninstall clean
.DELETE_ON_ERROR:

all: deps-build
	$(Q)$(MAKE) --no-print-directory $(if $(V),,-s) $(PROGRAM) $(CORE)

$(PROGRAM): $(HOST_OBJ) $(BINDINGS_OBJ) $(LIB_OBJ)
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -pie -Wl,--export-dynamic-symbol='ipq_*' -o $@ $^ $(LUAJIT_LIBS) $(LIB_LIBS) $(PCAP_LIBS) $(SANDBOX_LIBS)

# The Lua C module. What it exports is its entry, and the functions that LuaJIT calls.
$(CORE): $(filter-out %/modules.o,$(BINDINGS_OBJ)) $(LIB_OBJ)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)echo '{ global: luaopen_ipq_core; ipq_*; local: *; };' > $(BUILD)/core.map
	$(Q)$(CC) $(ALL_LDFLAGS) -shared -Wl,--version-script=$(BUILD)/core.map -o $@ $^ $(LIB_LIBS) $(PCAP_LIBS)

# All of lib, and a source in memory, for the specs that call them through FFI.
$(BUILD)/spec/lib.so: $(SPEC_OBJ) $(LIB_OBJ)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -shared -o $@ $^ $(LIB_LIBS)

# Preloaded into the program, without the sanitizers.
$(PRELOADS): $(BUILD)/spec/%.so: spec/c/%.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -D_GNU_SOURCE -O2 -fPIC -shared -o $@ $< -ldl

# The load of live specs.
$(BUILD)/spec/stream $(BUILD)/spec/datagrams: $(BUILD)/spec/%: spec/c/%.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -D_GNU_SOURCE -O2 $(WARNINGS) -o $@ $< -lpthread

$(BUILD)/bench/%: spec/bench/%.c $(LIB_OBJ)
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) $(LIB_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(LIB_LIBS) $(BENCH_LIBS)

$(BUILD)/bench/nfq_sample: BENCH_LIBS = $(shell $(PKG_CONFIG) --libs libnetfilter_queue)

$(BUILD)/obj/%.o: %.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) $(LIB_CFLAGS) $(LUAJIT_CFLAGS) -MMD -MP -c -o $@ $<

# These take files in as they are, which the compiler's dependencies do not tell.
$(BUILD)/obj/bindings/core.o: lib/ipq_abi.h lib/packet/packet.h lib/netset/netset.h lib/names/domainset.h \
	lib/names/dns.h lib/names/hello.h lib/names/http.h lib/names/quic.h lib/send/send.h \
	lib/flow/flow.h lib/flow/shared.h lib/stream/stream.h lib/queue/queue.h bindings/core_calls.h
$(BUILD)/obj/bindings/modules.o: $(addprefix bindings/ipq/,$(LUA_MODULES))
$(BUILD)/obj/host/tools/new.o: $(wildcard scripts/template/*)
$(BUILD)/obj/host/tools/test.o: host/tools/test.lua

-include $(patsubst %.o,%.d,$(LIB_OBJ) $(BINDINGS_OBJ) $(HOST_OBJ) $(SPEC_OBJ))

# Dependencies: Debian packages, in three sets. Nothing is done where all are there; a system without
# dpkg has to bring them itself, and a package's build says DEPS=: for its own are there.

DEPS ?= .ci/deps
DEPS_BUILD := gcc make pkg-config libc6-dev libmnl-dev nettle-dev libpcap-dev zlib1g-dev libseccomp-dev libcap-ng-dev \
	libluajit-5.1-dev luajit lua-cjson iptables iproute2 iputils-ping util-linux
DEPS_TEST := $(DEPS_BUILD) lua-busted lua-check cppcheck clang-format python3 curl
DEPS_DEMO := $(DEPS_BUILD) iperf3 openssl curl bind9-dnsutils dnsmasq-base
DEPS_BENCH := $(DEPS_BUILD) tcpdump tshark python3 python3-scapy iperf3 libnetfilter-queue-dev openssl

deps: deps-build deps-test deps-bench deps-demo
deps-build: ; $(Q)$(DEPS) $(DEPS_BUILD)
deps-test: ; $(Q)$(DEPS) $(DEPS_TEST)
deps-bench: ; $(Q)$(DEPS) $(DEPS_BENCH)
deps-demo: ; $(Q)$(DEPS) $(DEPS_DEMO)

# libipq(3): the classic library, of those objects that it needs. It stands on libc alone, so that programs can be
# linked to it statically: no Debian has a libmnl.a.

.PHONY: libipq libipq-specs install-libipq uninstall-libipq
all: libipq
test: libipq-specs
install: install-libipq
uninstall: uninstall-libipq
DEPS_TEST += g++ valgrind man-db mandoc luarocks
DEPS_TEST += tshark tcpdump bsdutils nftables tmux conntrack bind9-dnsutils dnsmasq-base dnsperf openssl
C_FILES += $(wildcard lib/libipq/examples/*.c lib/libipq/linux/*/*.h)

LIBIPQ_NAME := libipq.so.0.0.0
LIBIPQ := $(addprefix $(BUILD)/,$(LIBIPQ_NAME) libipq.so.0 libipq.so libipq.a)
LIBIPQ_OBJ := $(call obj,$(wildcard lib/libipq/*.c) $(addprefix lib/queue/,attr.c device.c netlink.c procfs.c verdict.c))
LIBIPQ_MAN := $(wildcard lib/libipq/man/*.3)
LIBIPQ_SPECS := $(patsubst spec/c/%.c,$(BUILD)/spec/%,$(wildcard spec/c/libipq_*.c))

libipq: deps-build
	$(Q)$(MAKE) --no-print-directory $(if $(V),,-s) $(LIBIPQ)

libipq-specs: deps-test
	$(Q)$(MAKE) --no-print-directory $(if $(V),,-s) $(LIBIPQ) $(LIBIPQ_SPECS)

$(BUILD)/$(LIBIPQ_NAME): $(LIBIPQ_OBJ) lib/libipq/libipq.symbols
	$(call say,LINK,$@)
	$(Q)(echo '{ global:'; sed 's/$$/;/' lib/libipq/libipq.symbols; echo 'local: *; };') > $(BUILD)/libipq.map
	$(Q)$(CC) $(ALL_LDFLAGS) -shared -Wl,-soname,libipq.so.0 -Wl,--version-script=$(BUILD)/libipq.map \
		-o $@ $(LIBIPQ_OBJ)

$(BUILD)/libipq.so.0 $(BUILD)/libipq.so: $(BUILD)/$(LIBIPQ_NAME)
	$(Q)ln -sf $(LIBIPQ_NAME) $@

# One object, in which nothing but the interface can meet a program's own names.
$(BUILD)/libipq.a: $(LIBIPQ_OBJ) lib/libipq/libipq.symbols
	$(call say,AR,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(if $(findstring -flto,$(CFLAGS)),-flinker-output=nolto-rel) \
		-r -nostdlib -o $(BUILD)/libipq.o $(LIBIPQ_OBJ)
	$(Q)$(OBJCOPY) --keep-global-symbols=lib/libipq/libipq.symbols $(BUILD)/libipq.o
	$(Q)rm -f $@
	$(Q)$(AR) rcs $@ $(BUILD)/libipq.o

$(BUILD)/spec/libipq_%: spec/c/libipq_%.c $(wildcard spec/c/libipq_*.h) $(LIBIPQ)
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -D_GNU_SOURCE -Ilib/libipq $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< -L$(BUILD) -lipq -lpthread \
		-Wl,-rpath,'$$ORIGIN/..'

install-libipq: libipq
	install -d $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(MANDIR)/man3 \
		$(DESTDIR)$(INCLUDEDIR)/libipq $(DESTDIR)$(INCLUDEDIR)/linux/netfilter_ipv4
	install -m 755 $(BUILD)/$(LIBIPQ_NAME) $(DESTDIR)$(LIBDIR)/
	ln -sf $(LIBIPQ_NAME) $(DESTDIR)$(LIBDIR)/libipq.so.0
	ln -sf $(LIBIPQ_NAME) $(DESTDIR)$(LIBDIR)/libipq.so
	install -m 644 $(BUILD)/libipq.a $(DESTDIR)$(LIBDIR)/
	$(SUBSTITUTE) lib/libipq/libipq.pc.in > $(DESTDIR)$(LIBDIR)/pkgconfig/libipq.pc
	install -m 644 lib/libipq/libipq.h $(DESTDIR)$(INCLUDEDIR)/
	install -m 644 lib/libipq/libipq.h $(DESTDIR)$(INCLUDEDIR)/libipq/
	install -m 644 lib/libipq/linux/netfilter_ipv4/ip_queue.h $(DESTDIR)$(INCLUDEDIR)/linux/netfilter_ipv4/
	install -m 644 $(LIBIPQ_MAN) $(DESTDIR)$(MANDIR)/man3/

uninstall-libipq:
	rm -f $(addprefix $(DESTDIR)$(LIBDIR)/,$(notdir $(LIBIPQ)) pkgconfig/libipq.pc) \
		$(addprefix $(DESTDIR)$(INCLUDEDIR)/,libipq.h linux/netfilter_ipv4/ip_queue.h) \
		$(addprefix $(DESTDIR)$(MANDIR)/man3/,$(notdir $(LIBIPQ_MAN)))
	rm -rf $(DESTDIR)$(INCLUDEDIR)/libipq

# Fuzzing, with clang's libFuzzer, AddressSanitizer and UBSan: each target FUZZ_S seconds. What is
# found is in build/fuzz/finding.

.PHONY: fuzz fuzz-report fuzz-build fuzz-programs deps-fuzz
DEPS_FUZZ := $(DEPS_BUILD) clang llvm libclang-rt-dev
FUZZ_S ?= 20
FUZZ := $(BUILD)/fuzz
FUZZ_TARGETS ?= $(sort $(basename $(notdir $(wildcard spec/fuzz/*.c))))
FUZZ_PROGRAMS = $(addprefix $(BUILD)/target/,$(FUZZ_TARGETS))

deps: deps-fuzz
deps-fuzz: ; $(Q)$(DEPS) $(DEPS_FUZZ)

fuzz: fuzz-build
	$(Q)spec/fuzz/run.sh $(FUZZ) $(FUZZ_S) check $(FUZZ_TARGETS)

fuzz-report: fuzz-build
	$(Q)spec/fuzz/run.sh $(FUZZ) $(FUZZ_S) report $(FUZZ_TARGETS)

fuzz-build: deps-fuzz
	$(Q)$(MAKE) --no-print-directory $(if $(V),,-s) $(CORE) $(SPEC_LIBS)
	$(Q)$(MAKE) --no-print-directory $(if $(V),,-s) BUILD=$(FUZZ) CC=clang CFLAGS='-O1 -g' \
		SANITIZE=fuzzer-no-link,address,undefined fuzz-programs
	$(Q)mkdir -p $(addprefix $(FUZZ)/seed/,$(FUZZ_TARGETS)) $(addprefix $(FUZZ)/corpus/,$(FUZZ_TARGETS))
	$(Q)$(SPEC_ENV) luajit spec/fuzz/corpus.lua $(FUZZ)/seed $(FUZZ_TARGETS)

fuzz-programs: $(FUZZ_PROGRAMS)

# An archive, so that a target can bring functions of its own in the place of the program's.
$(BUILD)/all.a: $(LIB_OBJ) $(BINDINGS_OBJ) $(filter-out %/main.o,$(HOST_OBJ))
	$(Q)rm -f $@
	$(Q)$(AR) rcs $@ $^

$(BUILD)/target/%: $(BUILD)/obj/spec/fuzz/%.o $(BUILD)/all.a
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -fsanitize=fuzzer -o $@ $(filter %.o,$^) $(WHOLE) $(BUILD)/all.a -Wl,--no-whole-archive \
		$(LUAJIT_LIBS) $(LIB_LIBS) $(PCAP_LIBS) $(SANDBOX_LIBS)

# What scripts call is found by its name, as in the program.
$(BUILD)/target/quic: $(BUILD)/obj/spec/c/quic.o
$(addprefix $(BUILD)/target/,buffer fields held): WHOLE = -Wl,--export-dynamic,--whole-archive

-include $(patsubst %,$(BUILD)/obj/spec/fuzz/%.d,$(FUZZ_TARGETS))

# Coverage by all specs, in a build of its own, and clang's analysis; its checks are in .clang-tidy.

.PHONY: coverage analyze deps-analyze
COVERAGE_LEAST ?= 85
DEPS_ANALYZE := $(DEPS_BUILD) clang-tidy

deps: deps-analyze
deps-analyze: ; $(Q)$(DEPS) $(DEPS_ANALYZE)

# Left out are specs of what is compiled, for while lines are counted LuaJIT compiles nothing, and one in
# which another user would have to write the counts. A spec that fails, as one that looks at the time
# may here, changes little.
coverage: deps-test
	$(Q)mkdir -p $(BUILD)/coverage
	$(Q)$(CC) -O2 -fPIC -shared $(LUAJIT_CFLAGS) -o $(BUILD)/coverage/lines.so spec/c/lines.c
	$(Q)find $(BUILD)/coverage -name '*.gcda' -delete 2>/dev/null || true
	-$(Q)IPQ_COVERAGE=$(BUILD)/coverage/lua.lines $(MAKE) --no-print-directory \
		BUILD=$(BUILD)/coverage CFLAGS='-O0 -g --coverage' LDFLAGS=--coverage \
		BUSTED_ARGS='--helper=spec/coverage/record.lua --filter-out=compile --filter-out=user.namespace' test
	$(Q)luajit spec/coverage/report.lua $(BUILD)/coverage $(COVERAGE_LEAST)

# clang-tidy takes one file at a time: what its analyser knows of va_list does not outlive the first.
# Some warnings of gcc come with the optimizer alone.
analyze: deps-analyze
	$(Q)printf '%s\n' $(LIB_SRC) $(BINDINGS_SRC) $(HOST_SRC) | xargs -I FILE clang-tidy --quiet FILE -- \
		-std=gnu11 $(CPPFLAGS) $(LIB_CFLAGS) $(LUAJIT_CFLAGS)
	$(Q)for file in $(filter %.c,$(C_FILES)); do for compiler in clang gcc; do \
		$$compiler -O2 -c -o /dev/null -Werror -std=gnu11 $(CPPFLAGS) $(WARNINGS) $(LIB_CFLAGS) \
		$(LUAJIT_CFLAGS) $$file || exit 1; done; done

# Use and tests

SPEC_ENV = IPQ_BUILD=$(BUILD) LUA_PATH='bindings/?.lua;bindings/?/init.lua;./?.lua;;' \
	LUA_CPATH='$(BUILD)/?.so;;' \
	$(if $(SANITIZE),ASAN_OPTIONS=detect_leaks=0 LD_PRELOAD=$(shell $(CC) -print-file-name=libasan.so))

demo: all
	$(Q)scripts/demo/demo.sh $(PROGRAM)

demo-bypass: all deps-demo
	$(Q)scripts/demo/bypass.sh $(PROGRAM)

demo-names: all deps-demo
	$(Q)scripts/demo/names.sh $(PROGRAM)

test: deps-test
	$(Q)$(MAKE) --no-print-directory $(if $(V),,-s) $(PROGRAM) $(CORE) $(SPEC_LIBS)
	$(Q)$(SPEC_ENV) BUSTED='$(BUSTED)' spec/run.sh $(BUSTED_ARGS)

check: deps-test lint layers
	$(Q)$(MAKE) --no-print-directory $(if $(V),,-s) BUILD=$(BUILD)/sanitize SANITIZE=address,undefined \
		CFLAGS='-O1 -g' test

# Formatting is what one version makes of it, Debian 12's: each other one differs in places.
CLANG_FORMAT := clang-format-14

lint: deps-test
	$(Q)if command -v $(CLANG_FORMAT) > /dev/null; then $(CLANG_FORMAT) --dry-run -Werror $(C_FILES); \
		else echo 'There is no $(CLANG_FORMAT): formatting is not checked.'; fi
	$(Q)cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr \
		--error-exitcode=1 --suppress=missingIncludeSystem --suppress=normalCheckLevelMaxBranches \
		-D_GNU_SOURCE -I. -Ilib/libipq \
		$(LIB_SRC) $(BINDINGS_SRC) $(HOST_SRC)
	$(Q)luacheck --quiet bindings host scripts spec
	$(Q)for file in $(wildcard spec/fuzz/*.c spec/bench/*.c); do $(CC) -fsyntax-only -Werror -std=gnu11 $(CPPFLAGS) \
		$(WARNINGS) $(LIB_CFLAGS) $(LUAJIT_CFLAGS) $$file || exit 1; done

# Which room may include which: nothing includes upwards.
layers: deps-build
	$(Q)luajit spec/layers.lua

format:
	$(Q)$(CLANG_FORMAT) -i $(C_FILES)

bench: deps-bench
	$(Q)$(MAKE) --no-print-directory $(if $(V),,-s) $(PROGRAM) $(CORE) $(SPEC_LIBS) $(BENCH_PROGRAMS)
	$(Q)$(SPEC_ENV) luajit spec/bench/run.lua $(foreach name,only seconds repetitions,$(addprefix $(name)=,$($(name))))

# All specs again, in a build of its own, where Lua does what else it does seldom: collects garbage all the
# time, interprets all, compiles all at once. The program of that build is linked with spec/c/machine.c.
# Left out are specs of what is compiled: nothing is, or at other times. Where all is interpreted those as
# well of loops that cannot be interrupted, for these can; beside a collector that never rests, how soon the
# program begins.
.PHONY: test-lua test-lua-collect test-lua-interpret test-lua-compile
test-lua: test-lua-collect test-lua-interpret test-lua-compile

MACHINE_collect := collectgarbage('setpause', 0) collectgarbage('setstepmul', 400)
MACHINE_interpret := jit.off()
MACHINE_compile := require('jit.opt').start('hotloop=1', 'hotexit=1')
OF_COMPILING := --filter-out=is.compiled --filter-out=compiles.nothing --filter-out=packet:.compiled
LEFT_OUT_collect := --filter-out=within.50.ms
LEFT_OUT_interpret := $(OF_COMPILING) --filter-out=in.compiled.Lua --filter-out=never.returns \
	--filter-out=endless.loop.in.a.timer
LEFT_OUT_compile := $(OF_COMPILING)

test-lua-collect test-lua-interpret test-lua-compile: test-lua-%: deps-test
	@echo "$(MACHINE_$*)"
	$(Q)IPQ_MACHINE="$(MACHINE_$*)" $(MAKE) --no-print-directory BUILD=$(BUILD)/lua IS_MACHINE=1 \
		BUSTED_ARGS="--helper=spec/support/machine.lua $(LEFT_OUT_$*) $(BUSTED_ARGS)" test

ifdef IS_MACHINE
$(PROGRAM): ALL_LDFLAGS += -Wl,--wrap=luaL_openlibs
$(PROGRAM): $(call obj,spec/c/machine.c)
endif

# The programs that test libipq in C, under memcheck: what is read before it is written, and what is lost.
# Their cases are in processes of their own.
.PHONY: valgrind
valgrind: libipq-specs
	$(Q)for program in $(LIBIPQ_SPECS); do echo "$$program"; LD_LIBRARY_PATH=$(BUILD) valgrind -q \
		--leak-check=full --error-exitcode=99 $$program all > /dev/null || exit 1; done

# Live specs in a virtual machine with one of Debian's kernels; all is built before. The machine has this one's programs,
# so spec/vm, which is pending where a kernel lacks what it is about, is run there as well.
#
#   make vm-test SUITE=bullseye SPECS='spec/vm spec/kernel/packet_spec.lua'
#   make vm-short                        the demo there, and what of spec/vm is marked as short: some minutes
#   make vm SUITE=trixie-backports       a shell in it
.PHONY: vm vm-test vm-short vm-build deps-vm
DEPS_VM := qemu-system-x86 qemu-system-common busybox-static kmod cpio xz-utils
SUITE ?= bookworm
KERNEL ?= linux-image-amd64
SPECS ?= spec/kernel spec/vm
VM_S ?= 7200
GUEST = spec/vm/guest.sh -s $(SUITE) -k $(KERNEL)

deps: deps-vm
deps-vm: ; $(Q)$(DEPS) $(DEPS_VM)

vm-build: deps-vm libipq-specs
	$(Q)$(MAKE) --no-print-directory $(if $(V),,-s) $(PROGRAM) $(CORE) $(SPEC_LIBS)

GUEST_MAKE = env IPQ_NEED_KERNEL=1 $(MAKE) --no-print-directory DEPS=: BUILD=$(BUILD)

vm-test: vm-build
	$(Q)$(GUEST) -t $(VM_S) $(GUEST_MAKE) BUSTED_ARGS='$(SPECS)' test

vm-short: vm-build
	$(Q)$(GUEST) $(GUEST_MAKE) BUSTED_ARGS='spec/vm --tags=short' demo test

vm: vm-build
	$(Q)$(GUEST) -t 86400 -I bash

# What takes too long for every test.
chaos hostile soak: deps-test
	$(Q)$(MAKE) --no-print-directory $(if $(V),,-s) $(PROGRAM) $(CORE) $(SPEC_LIBS)
	$(Q)$(SPEC_ENV) luajit spec/chaos/$@.lua

# What is installed. Each part goes by itself, for packages; SHARE_* are installed as they are.

.PHONY: install-program install-module install-share module
MAN_PAGES := $(wildcard host/man/*.[1-9]*) $(wildcard bindings/man/*.[1-9]*)
man_place = $(DESTDIR)$(MANDIR)/man$(patsubst .%,%,$(shell printf %.2s $(suffix $(1))))
UNIT := ipq-lua@.service
SUBSTITUTE = sed -e 's|@PREFIX@|$(PREFIX)|; s|@BINDIR@|$(BINDIR)|; s|@LIBDIR@|$(LIBDIR)|' \
	-e 's|@INCLUDEDIR@|$(INCLUDEDIR)|; s|@DATADIR@|$(DATADIR)|; s|@VERSION@|$(VERSION)|'

install: install-program install-module install-share

install-program: all
	install -d $(DESTDIR)$(BINDIR)
	install -m 755 $(PROGRAM) $(DESTDIR)$(BINDIR)/

# Without all, which would have packages installed: a rock's build comes with its own.
module:
	$(Q)$(MAKE) --no-print-directory $(if $(V),,-s) $(CORE)

install-module: module
	install -d $(addprefix $(DESTDIR)$(LUA_LMOD)/ipq/,$(LUA_ROOMS)) $(DESTDIR)$(LUA_CMOD)/ipq
	install -m 755 $(CORE) $(DESTDIR)$(LUA_CMOD)/ipq/
	$(foreach module,$(LUA_MODULES),install -m 644 bindings/ipq/$(module) $(DESTDIR)$(LUA_LMOD)/ipq/$(module) &&) :

install-share:
	install -d $(DESTDIR)$(DATADIR)/scripts/anonymise $(DESTDIR)$(DATADIR)/types/ipq $(DESTDIR)$(COMPLETIONDIR) \
		$(DESTDIR)$(UNITDIR) $(sort $(foreach page,$(MAN_PAGES),$(call man_place,$(page))))
	install -m 644 scripts/*.lua $(DESTDIR)$(DATADIR)/scripts/
	install -m 644 scripts/anonymise/*.lua $(DESTDIR)$(DATADIR)/scripts/anonymise/
	install -m 644 bindings/types/ipq.lua $(DESTDIR)$(DATADIR)/types/
	install -m 644 bindings/types/ipq/*.lua $(DESTDIR)$(DATADIR)/types/ipq/
	$(SUBSTITUTE) bindings/types/luarc.json.in > $(DESTDIR)$(DATADIR)/luarc.json
	install -m 644 bindings/types/luacheckrc $(DESTDIR)$(DATADIR)/
	install -m 644 host/completion.bash $(DESTDIR)$(COMPLETIONDIR)/ipq-lua
	$(SUBSTITUTE) host/$(UNIT).in > $(DESTDIR)$(UNITDIR)/$(UNIT)
	$(foreach page,$(MAN_PAGES),$(SUBSTITUTE) $(page) > $(call man_place,$(page))/$(notdir $(page)) &&) :

# Folders that others may use as well are left.
uninstall:
	rm -f $(DESTDIR)$(BINDIR)/ipq-lua $(DESTDIR)$(LUA_CMOD)/ipq/core.so $(DESTDIR)$(COMPLETIONDIR)/ipq-lua \
		$(DESTDIR)$(UNITDIR)/$(UNIT) $(foreach page,$(MAN_PAGES),$(call man_place,$(page))/$(notdir $(page)))
	rm -rf $(DESTDIR)$(LUA_LMOD)/ipq $(DESTDIR)$(DATADIR)
	-rmdir $(DESTDIR)$(LUA_CMOD)/ipq

# Debian packages, in build/deb. check-deb installs them into a Debian of their own, uses them there and
# removes them; it takes root, some minutes, and what apt takes packages from.

.PHONY: deb check-deb deps-deb
DEB := $(BUILD)/deb/ipq-lua-$(VERSION)
DEPS_DEB := $(DEPS_BUILD) debhelper dpkg-dev fakeroot
DEPS_CHECK_DEB := $(DEPS_DEB) debootstrap lintian

deps: deps-deb
deps-deb: ; $(Q)$(DEPS) $(DEPS_CHECK_DEB)

# The packaging is laid where Debian's tools look for it. They must not have this make's variables.
deb:
	$(Q)$(DEPS) $(DEPS_DEB)
	$(Q)rm -rf $(BUILD)/deb
	$(Q)mkdir -p $(DEB)
	$(Q)tar cf - host lib bindings scripts Makefile README.md SECURITY.md LICENSE | tar xf - -C $(DEB)
	$(Q)mv $(DEB)/host/debian $(DEB)/debian
	$(Q)$(SUBSTITUTE) host/debian/changelog > $(DEB)/debian/changelog
	$(Q)cd $(DEB) && { env -u MAKEFLAGS -u MAKELEVEL dpkg-buildpackage -b -us -uc > ../log 2>&1 || \
		{ tail -n 50 ../log; exit 1; }; }
	$(Q)ls $(BUILD)/deb/*.deb

# The service of the packages, in a virtual machine with systemd. As root, some minutes.
.PHONY: vm-systemd
vm-systemd: deb deps-vm
	$(Q)$(DEPS) debootstrap
	$(Q)spec/vm/systemd.sh $(BUILD)/deb

check-deb: deb
	$(Q)$(DEPS) $(DEPS_CHECK_DEB)
	$(Q)spec/packages/check.sh $(BUILD)/deb

# README's two commands, in Debians that have nothing else. As root, some minutes each.
.PHONY: check-debian deps-check-debian
DEPS_CHECK_DEBIAN := debootstrap util-linux
SUITES ?= bookworm trixie

deps: deps-check-debian
deps-check-debian: ; $(Q)$(DEPS) $(DEPS_CHECK_DEBIAN)

check-debian: deps-check-debian
	$(Q)for suite in $(SUITES); do spec/packages/debian.sh $$suite $(COMMANDS) || exit 1; done

# The specs that need no packets from the kernel, in a bare Debian 13 for arm64, on amd64 emulated by QEMU. As root.
# Debian 12's LuaJIT for arm64 compiles a replay with --json so that it loses the base of Lua's stack.
.PHONY: check-arm64 deps-check-arm64
DEPS_CHECK_ARM64 := $(DEPS_CHECK_DEBIAN) qemu-user-static

deps: deps-check-arm64
deps-check-arm64: ; $(Q)$(DEPS) $(DEPS_CHECK_ARM64)

check-arm64: deps-check-arm64
	$(Q)ARCH=arm64 IPQ_EMULATED=1 IPQ_SLOW=10 BUSTED_ARGS='spec/unit spec/scripts $(BUSTED_ARGS)' \
		spec/packages/debian.sh trixie $(or $(COMMANDS),test)

clean:
	rm -rf $(BUILD)
