/* What was sent within the last second, to know it again.
 *
 * A packet changes on its way through the hooks: NAT gives it other addresses, ports and checksums, the kernel an
 * identification, a rule another DSCP. So it is known by what stays: its protocol, the numbers of its transport
 * header, and the beginning of what follows. Two that are alike in all of that are told apart by
 * counting: of what was sent n times n pass each hook. */
#include "send.h"
#include "lib/bytes.h"
#include "lib/clock.h"
#include "lib/packet/packet.h"

#include <netinet/in.h>
#include <stdlib.h>

enum {
	SETS = 4096,
	WAYS = 4,
	HOOKS = 5,
	LIFE_MS = 1000,
	BODY_MOST = 256 /* bytes that count of what follows the transport header */
};

struct entry {
	uint64_t key; /* 0: there is none */
	uint32_t sent_ms;
	uint16_t count;
	uint16_t seen[HOOKS];
};

struct ipq_own {
	uint32_t range; /* bytes of what comes back that a queue copies; 0: all */
	struct entry sets[SETS][WAYS];
};

struct ipq_own *ipq_own_new(void)
{
	return calloc(1, sizeof(struct ipq_own));
}

void ipq_own_free(struct ipq_own *own)
{
	free(own);
}

void ipq_own_range(struct ipq_own *own, uint32_t range)
{
	own->range = range;
}

static uint32_t now_ms(void)
{
	return (uint32_t)(ipq_coarse_ns() / 1000000);
}

static uint64_t mix(uint64_t key, uint64_t value)
{
	key = (key ^ value) * 0x9e3779b97f4a7c15;
	return key ^ key >> 29;
}

static uint64_t mix_bytes(uint64_t key, const uint8_t *p, uint32_t len)
{
	const uint32_t size = sizeof(uint64_t);
	uint64_t word;

	for (; len >= size; p += size, len -= size) {
		memcpy(&word, p, size);
		key = mix(key, word);
	}
	word = 0;
	memcpy(&word, p, len);
	return mix(key, word);
}

/* The numbers of the transport header that nothing on the way changes. */
static uint64_t mix_transport(uint64_t key, const struct ipq_packet *p)
{
	const uint8_t *l4 = p->data + p->l4;

	switch (p->protocol) {
	case IPPROTO_TCP:
		key = mix(key, (uint64_t)ipq_load32(l4 + 4) << 32 | ipq_load32(l4 + 8));
		return mix(key, l4[13]);
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6: return mix(key, ipq_load16(l4));
	case IPPROTO_SCTP: return mix(key, ipq_load32(l4 + 4));
	default: return key;
	}
}

/* What an ICMP error quotes changes with NAT. */
static bool is_error(const struct ipq_packet *p)
{
	return p->l4 && (p->protocol == IPPROTO_ICMP || p->protocol == IPPROTO_ICMPV6) &&
	       ipq_inside_quoted(p);
}

/* Bytes from there to where the IP packet ends, those too that were not copied. */
static uint32_t rest_of(const struct ipq_packet *p, uint32_t from)
{
	uint32_t total, end = p->end;

	if (p->data_len < p->len) {
		total = ipq_header_total(p->data + p->l3, p->data_len - p->l3);
		end = total ? p->l3 + total : p->len;
	}
	return end > from ? end - from : 0;
}

static uint64_t key_of(struct ipq_packet *p)
{
	uint32_t from, len;
	uint64_t key;

	if (!p->parsed)
		ipq_header_parse(p);
	if (!p->ip_version)
		return 0;
	from = p->l4 ? p->body : p->upper;
	len = p->end > from ? (uint32_t)p->end - from : 0;
	key = mix(p->ip_version, (uint64_t)p->protocol << 32 | rest_of(p, from));
	if (p->l4)
		key = mix_transport(key, p);
	if (!is_error(p))
		key = mix_bytes(key, p->data + from, len < BODY_MOST ? len : BODY_MOST);
	return key ? key : 1;
}

static struct entry *find(struct ipq_own *own, uint64_t key, uint32_t now)
{
	struct entry *set = own->sets[key % SETS];

	for (int i = 0; i < WAYS; i++)
		if (set[i].key == key && now - set[i].sent_ms <= LIFE_MS)
			return &set[i];
	return NULL;
}

static struct entry *oldest(struct ipq_own *own, uint64_t key, uint32_t now)
{
	struct entry *set = own->sets[key % SETS], *found = set;

	for (int i = 0; i < WAYS; i++) {
		if (!set[i].key)
			return &set[i];
		if (now - set[i].sent_ms > now - found->sent_ms)
			found = &set[i];
	}
	return found;
}

void ipq_own_add(struct ipq_own *own, const uint8_t *bytes, uint32_t len)
{
	struct ipq_packet packet = {
		.data = (uint8_t *)bytes,
		.data_len = own->range && own->range < len ? own->range : len,
		.len = len,
	};
	uint64_t key = key_of(&packet);
	uint32_t now = now_ms();
	struct entry *entry = find(own, key, now);

	if (!entry) {
		entry = oldest(own, key, now);
		*entry = (struct entry){.key = key};
	}
	entry->sent_ms = now;
	if (entry->count < UINT16_MAX)
		entry->count++;
}

bool ipq_own_is(struct ipq_own *own, struct ipq_packet *packet)
{
	uint64_t key = key_of(packet);
	struct entry *entry = key && packet->hook < HOOKS ? find(own, key, now_ms()) : NULL;

	if (!entry || entry->seen[packet->hook] >= entry->count)
		return false;
	entry->seen[packet->hook]++;
	return true;
}
