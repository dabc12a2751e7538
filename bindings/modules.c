/* The Lua modules inside the program: it needs no file of its own, and no other version's files can
 * get between the program and its layouts. */
#include "core.h"

/* The name of a module, and its file. */
#define MODULES(M)                                                       \
	M(init, "ipq", "init.lua")                                       \
	M(abi, "ipq.abi", "abi.lua")                                     \
	M(address, "ipq.address", "address.lua")                         \
	M(arguments, "ipq.arguments", "arguments.lua")                   \
	M(buffer, "ipq.buffer", "buffer.lua")                            \
	M(counter, "ipq.counter", "counter.lua")                         \
	M(dispatch, "ipq.dispatch", "dispatch.lua")                      \
	M(event, "ipq.event", "event.lua")                               \
	M(header, "ipq.header", "header.lua")                            \
	M(held, "ipq.held", "held.lua")                                  \
	M(ip, "ipq.ip", "ip.lua")                                        \
	M(live, "ipq.live", "live.lua")                                  \
	M(log, "ipq.log", "log.lua")                                     \
	M(netset, "ipq.netset", "netset.lua")                            \
	M(packet, "ipq.packet", "packet.lua")                            \
	M(record, "ipq.record", "record.lua")                            \
	M(script, "ipq.script", "script.lua")                            \
	M(settle, "ipq.settle", "settle.lua")                            \
	M(summary, "ipq.summary", "summary.lua")                         \
	M(tcp_options, "ipq.tcp_options", "tcp_options.lua")             \
	M(test, "ipq.test", "test.lua")                                  \
	M(timer, "ipq.timer", "timer.lua")                               \
	M(transport, "ipq.transport", "transport.lua")                   \
	M(verdict, "ipq.verdict", "verdict.lua")                         \
	M(test_assertions, "ipq.test.assertions", "test/assertions.lua") \
	M(test_assign, "ipq.test.assign", "test/assign.lua")             \
	M(test_build, "ipq.test.build", "test/build.lua")                \
	M(test_checksum, "ipq.test.checksum", "test/checksum.lua")       \
	M(test_dns, "ipq.test.dns", "test/dns.lua")                      \
	M(test_fields, "ipq.test.fields", "test/fields.lua")             \
	M(test_filter, "ipq.test.filter", "test/filter.lua")             \
	M(test_fragment, "ipq.test.fragment", "test/fragment.lua")       \
	M(test_golden, "ipq.test.golden", "test/golden.lua")             \
	M(test_keys, "ipq.test.keys", "test/keys.lua")                   \
	M(test_memory, "ipq.test.memory", "test/memory.lua")             \
	M(test_meta, "ipq.test.meta", "test/meta.lua")                   \
	M(test_misuse, "ipq.test.misuse", "test/misuse.lua")             \
	M(test_packet, "ipq.test.packet", "test/packet.lua")             \
	M(test_replay, "ipq.test.replay", "test/replay.lua")             \
	M(test_text, "ipq.test.text", "test/text.lua")

#define EMBED(id, name, path)                                                           \
	__asm__(".pushsection .rodata\nipq_" #id "_begin: .incbin \"bindings/ipq/" path \
		"\"\nipq_" #id "_end: .byte 0\n.popsection\n");                         \
	extern const char ipq_##id##_begin[] __attribute__((visibility("hidden")));     \
	extern const char ipq_##id##_end[] __attribute__((visibility("hidden")));

MODULES(EMBED)

#define ROW(id, name, path) {name, "=ipq/" path, ipq_##id##_begin, ipq_##id##_end},

const struct ipq_module ipq_modules[] = {MODULES(ROW){NULL, NULL, NULL, NULL}};
