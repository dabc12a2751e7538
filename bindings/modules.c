/* The Lua modules inside the program: it needs no file of its own, and no other version's files can
 * get between the program and its layouts. */
#include "core.h"

/* The name of a module, and its file. */
#define MODULES(M)                                                                \
	M(init, "ipq", "init.lua")                                                \
	M(arguments, "ipq.arguments", "arguments.lua")                            \
	M(build, "ipq.build", "build.lua")                                        \
	M(checksum, "ipq.checksum", "checksum.lua")                               \
	M(counter, "ipq.counter", "counter.lua")                                  \
	M(dns, "ipq.dns", "dns.lua")                                              \
	M(domainset, "ipq.domainset", "domainset.lua")                            \
	M(event, "ipq.event", "event.lua")                                        \
	M(http, "ipq.http", "http.lua")                                           \
	M(json, "ipq.json", "json.lua")                                           \
	M(log, "ipq.log", "log.lua")                                              \
	M(netset, "ipq.netset", "netset.lua")                                     \
	M(quic, "ipq.quic", "quic.lua")                                           \
	M(seq, "ipq.seq", "seq.lua")                                              \
	M(shared, "ipq.shared", "shared.lua")                                     \
	M(spelling, "ipq.spelling", "spelling.lua")                               \
	M(test, "ipq.test", "test.lua")                                           \
	M(tls, "ipq.tls", "tls.lua")                                              \
	M(verdict, "ipq.verdict", "verdict.lua")                                  \
	M(build_assign, "ipq.build.assign", "build/assign.lua")                   \
	M(build_builder, "ipq.build.builder", "build/builder.lua")                \
	M(build_fields, "ipq.build.fields", "build/fields.lua")                   \
	M(build_keys, "ipq.build.keys", "build/keys.lua")                         \
	M(build_meta, "ipq.build.meta", "build/meta.lua")                         \
	M(build_misuse, "ipq.build.misuse", "build/misuse.lua")                   \
	M(dns_data, "ipq.dns.data", "dns/data.lua")                               \
	M(dns_message, "ipq.dns.message", "dns/message.lua")                      \
	M(dns_names, "ipq.dns.names", "dns/names.lua")                            \
	M(dns_stream, "ipq.dns.stream", "dns/stream.lua")                         \
	M(dns_writer, "ipq.dns.writer", "dns/writer.lua")                         \
	M(http_head, "ipq.http.head", "http/head.lua")                            \
	M(engine_abi, "ipq.engine.abi", "engine/abi.lua")                         \
	M(engine_compiler, "ipq.engine.compiler", "engine/compiler.lua")          \
	M(engine_dispatch, "ipq.engine.dispatch", "engine/dispatch.lua")          \
	M(engine_flows, "ipq.engine.flows", "engine/flows.lua")                   \
	M(engine_globals, "ipq.engine.globals", "engine/globals.lua")             \
	M(engine_held, "ipq.engine.held", "engine/held.lua")                      \
	M(engine_live, "ipq.engine.live", "engine/live.lua")                      \
	M(engine_outcome, "ipq.engine.outcome", "engine/outcome.lua")             \
	M(engine_own, "ipq.engine.own", "engine/own.lua")                         \
	M(engine_region, "ipq.engine.region", "engine/region.lua")                \
	M(engine_script, "ipq.engine.script", "engine/script.lua")                \
	M(engine_send, "ipq.engine.send", "engine/send.lua")                      \
	M(engine_setting, "ipq.engine.setting", "engine/setting.lua")             \
	M(engine_streams, "ipq.engine.streams", "engine/streams.lua")             \
	M(engine_timer, "ipq.engine.timer", "engine/timer.lua")                   \
	M(engine_version, "ipq.engine.version", "engine/version.lua")             \
	M(packet_address, "ipq.packet.address", "packet/address.lua")             \
	M(packet_arp, "ipq.packet.arp", "packet/arp.lua")                         \
	M(packet_buffer, "ipq.packet.buffer", "packet/buffer.lua")                \
	M(packet_either, "ipq.packet.either", "packet/either.lua")                \
	M(packet_flow, "ipq.packet.flow", "packet/flow.lua")                      \
	M(packet_header, "ipq.packet.header", "packet/header.lua")                \
	M(packet_hello, "ipq.packet.hello", "packet/hello.lua")                   \
	M(packet_inside, "ipq.packet.inside", "packet/inside.lua")                \
	M(packet_ip, "ipq.packet.ip", "packet/ip.lua")                            \
	M(packet_link, "ipq.packet.link", "packet/link.lua")                      \
	M(packet_name, "ipq.packet.name", "packet/name.lua")                      \
	M(packet_number, "ipq.packet.number", "packet/number.lua")                \
	M(packet_own, "ipq.packet.own", "packet/own.lua")                         \
	M(packet_record, "ipq.packet.record", "packet/record.lua")                \
	M(packet_stream, "ipq.packet.stream", "packet/stream.lua")                \
	M(packet_tcp_options, "ipq.packet.tcp_options", "packet/tcp_options.lua") \
	M(packet_transport, "ipq.packet.transport", "packet/transport.lua")       \
	M(packet_view, "ipq.packet.view", "packet/view.lua")                      \
	M(test_assertions, "ipq.test.assertions", "test/assertions.lua")          \
	M(test_buffer, "ipq.test.buffer", "test/buffer.lua")                      \
	M(test_build, "ipq.test.build", "test/build.lua")                         \
	M(test_checksum, "ipq.test.checksum", "test/checksum.lua")                \
	M(test_connection, "ipq.test.connection", "test/connection.lua")          \
	M(test_conntrack, "ipq.test.conntrack", "test/conntrack.lua")             \
	M(test_dns, "ipq.test.dns", "test/dns.lua")                               \
	M(test_endpoint, "ipq.test.endpoint", "test/endpoint.lua")                \
	M(test_filter, "ipq.test.filter", "test/filter.lua")                      \
	M(test_fragment, "ipq.test.fragment", "test/fragment.lua")                \
	M(test_golden, "ipq.test.golden", "test/golden.lua")                      \
	M(test_link, "ipq.test.link", "test/link.lua")                            \
	M(test_memory, "ipq.test.memory", "test/memory.lua")                      \
	M(test_packet, "ipq.test.packet", "test/packet.lua")                      \
	M(test_replay, "ipq.test.replay", "test/replay.lua")                      \
	M(test_sent, "ipq.test.sent", "test/sent.lua")                            \
	M(test_text, "ipq.test.text", "test/text.lua")

#define EMBED(id, name, path)                                                           \
	__asm__(".pushsection .rodata\nipq_" #id "_begin: .incbin \"bindings/ipq/" path \
		"\"\nipq_" #id "_end: .byte 0\n.popsection\n");                         \
	extern const char ipq_##id##_begin[] __attribute__((visibility("hidden")));     \
	extern const char ipq_##id##_end[] __attribute__((visibility("hidden")));

MODULES(EMBED)

#define ROW(id, name, path) {name, "=ipq/" path, ipq_##id##_begin, ipq_##id##_end},

const struct ipq_module ipq_modules[] = {MODULES(ROW){NULL, NULL, NULL, NULL}};
