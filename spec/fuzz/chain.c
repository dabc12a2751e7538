/* IPv4 options and IPv6 extension chains, made of choices, so that it is known where they end. */
#include "fuzz.h"
#include "lib/packet/transport.h"

#include <netinet/in.h>
#include <linux/netfilter.h>

enum {
	HEADERS_MAX = 900,
	HEADER_MAX = 64,
	ROOM = 40 + HEADERS_MAX * HEADER_MAX + 20,
	AH_LEAST = 12
};

struct chain {
	uint8_t bytes[ROOM];
	size_t len;
	size_t next_at; /* where the type of the next header goes */
	int count;
	bool is_later;
	size_t ah;
	size_t destination;
	bool is_routed;
};

static void extension_add(struct chain *chain, struct input *in)
{
	static const uint8_t types[] = {IPPROTO_HOPOPTS, IPPROTO_ROUTING, IPPROTO_DSTOPTS,
					IPPROTO_FRAGMENT, IPPROTO_AH};
	uint8_t choice = take8(in), units = take8(in) & 7;
	uint8_t type = types[choice % sizeof(types)];
	size_t len = type == IPPROTO_FRAGMENT ? 8
		     : type == IPPROTO_AH     ? (units + 2U) * 4
					      : (units + 1U) * 8;
	uint8_t *p = chain->bytes + chain->len;
	size_t rest = len - 2;

	chain->bytes[chain->next_at] = type;
	memset(p, 0, len);
	memcpy(p + 2, take(in, &rest), rest);
	p[1] = units;
	if (type == IPPROTO_FRAGMENT)
		chain->is_later = load16(p + 2) & 0xfff8;
	if (type == IPPROTO_AH && len >= AH_LEAST)
		chain->ah = chain->len;
	if (type == IPPROTO_ROUTING && !chain->is_routed) {
		chain->is_routed = true;
		if (p[3] && units >= 2 && (p[2] == 2 || p[2] == 4))
			chain->destination = chain->len + 8;
		else if (p[3] && units >= 2 && p[2] == 0)
			chain->destination = chain->len + 8 + (units / 2 - 1U) * 16;
	}
	chain->next_at = chain->len;
	chain->len += len;
	chain->count++;
}

static void chain_make(struct chain *chain, struct input *in)
{
	int wanted = take8(in) * 4 % HEADERS_MAX;

	memset(chain, 0, sizeof(*chain));
	chain->bytes[0] = 0x60;
	chain->next_at = 6;
	chain->len = 40;
	chain->destination = 24;
	while (chain->count < wanted && !chain->is_later)
		extension_add(chain, in);
	chain->bytes[chain->next_at] = IPPROTO_TCP;
	chain->bytes[chain->len + 12] = 0x50;
}

static void chain_check(const struct chain *chain, const struct ipq_packet *packet)
{
	struct ipq_transport t;

	CHECK(packet->ip_version == 6 && packet->end == chain->len + 20);
	ipq_transport_find(packet, &t);
	CHECK(packet->ah == chain->ah && packet->protocol == IPPROTO_TCP);
	CHECK(chain->is_later == (packet->fragment == IPQ_FRAGMENT_LATER));
	CHECK(packet->l4 == (chain->is_later ? 0 : chain->len));
	if (!packet->l4)
		return;
	CHECK(t.destination == chain->destination && t.field == chain->len + 16);
	CHECK(packet->body == chain->len + 20);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static struct chain chain;
	struct input in = {bytes, len};
	uint16_t cut = take16(&in);
	struct ipq_packet packet = {.family = NFPROTO_IPV6, .hw_protocol = 0x86dd};

	chain_make(&chain, &in);
	packet.data_len = (uint32_t)chain.len + 20;
	store16(chain.bytes + 4, packet.data_len - 40);
	if (cut)
		packet.data_len -= cut % packet.data_len;
	packet.data = own(chain.bytes, packet.data_len);
	ipq_header_parse(&packet);
	if (packet.data_len == chain.len + 20)
		chain_check(&chain, &packet);
	else if (packet.ip_version)
		CHECK(packet.l4 == 0 || packet.body <= packet.data_len);
	free(packet.data);
	return 0;
}
