/* The Lua modules inside the program: it needs no file of its own, and no other version's files can
 * get between the program and its layouts. */
#include "core.h"

#define EMBED(id, path)                                                           \
	__asm__(".pushsection .rodata\n" #id "_begin: .incbin \"" path "\"\n" #id \
		"_end: .byte 0\n.popsection\n");                                  \
	extern const char id##_begin[] __attribute__((visibility("hidden")));     \
	extern const char id##_end[] __attribute__((visibility("hidden")))

EMBED(ipq_init, "bindings/ipq/init.lua");
EMBED(ipq_abi, "bindings/ipq/abi.lua");
EMBED(ipq_buffer, "bindings/ipq/buffer.lua");
EMBED(ipq_dispatch, "bindings/ipq/dispatch.lua");
EMBED(ipq_live, "bindings/ipq/live.lua");
EMBED(ipq_log, "bindings/ipq/log.lua");
EMBED(ipq_netset, "bindings/ipq/netset.lua");
EMBED(ipq_packet, "bindings/ipq/packet.lua");
EMBED(ipq_record, "bindings/ipq/record.lua");
EMBED(ipq_script, "bindings/ipq/script.lua");
EMBED(ipq_address, "bindings/ipq/address.lua");
EMBED(ipq_header, "bindings/ipq/header.lua");
EMBED(ipq_ip, "bindings/ipq/ip.lua");
EMBED(ipq_summary, "bindings/ipq/summary.lua");
EMBED(ipq_transport, "bindings/ipq/transport.lua");
EMBED(ipq_verdict, "bindings/ipq/verdict.lua");

const struct ipq_module ipq_modules[] = {
	{"ipq", "=ipq/init.lua", ipq_init_begin, ipq_init_end},
	{"ipq.abi", "=ipq/abi.lua", ipq_abi_begin, ipq_abi_end},
	{"ipq.buffer", "=ipq/buffer.lua", ipq_buffer_begin, ipq_buffer_end},
	{"ipq.dispatch", "=ipq/dispatch.lua", ipq_dispatch_begin, ipq_dispatch_end},
	{"ipq.live", "=ipq/live.lua", ipq_live_begin, ipq_live_end},
	{"ipq.log", "=ipq/log.lua", ipq_log_begin, ipq_log_end},
	{"ipq.netset", "=ipq/netset.lua", ipq_netset_begin, ipq_netset_end},
	{"ipq.packet", "=ipq/packet.lua", ipq_packet_begin, ipq_packet_end},
	{"ipq.record", "=ipq/record.lua", ipq_record_begin, ipq_record_end},
	{"ipq.script", "=ipq/script.lua", ipq_script_begin, ipq_script_end},
	{"ipq.address", "=ipq/address.lua", ipq_address_begin, ipq_address_end},
	{"ipq.header", "=ipq/header.lua", ipq_header_begin, ipq_header_end},
	{"ipq.ip", "=ipq/ip.lua", ipq_ip_begin, ipq_ip_end},
	{"ipq.summary", "=ipq/summary.lua", ipq_summary_begin, ipq_summary_end},
	{"ipq.transport", "=ipq/transport.lua", ipq_transport_begin, ipq_transport_end},
	{"ipq.verdict", "=ipq/verdict.lua", ipq_verdict_begin, ipq_verdict_end},
	{NULL, NULL, NULL, NULL},
};
