/* Filters in C, called through a pointer a packet: what the same ones in Lua are measured by. */
#include "lib/packet/packet.h"
#include "lib/queue/queue.h"

#include <arpa/inet.h>
#include <string.h>
#include <netinet/in.h>

typedef uint32_t (*filter_t)(struct ipq_packet *packet);

uint32_t spec_filter_accept(struct ipq_packet *packet);
uint32_t spec_filter_dport(struct ipq_packet *packet);
uint32_t spec_filter_dport_saddr(struct ipq_packet *packet);
int spec_filter_run(struct ipq_driver *driver, filter_t filter);

uint32_t spec_filter_accept(struct ipq_packet *packet)
{
	(void)packet;
	return IPQ_ACCEPT;
}

static bool is_tcp_to(struct ipq_packet *packet, uint16_t port)
{
	uint16_t dport;

	if (!packet->parsed)
		ipq_header_parse(packet);
	if (packet->protocol != IPPROTO_TCP || !packet->l4)
		return false;
	memcpy(&dport, packet->data + packet->l4 + 2, sizeof(dport));
	return ntohs(dport) == port;
}

/* TCP and destination port 23 */
uint32_t spec_filter_dport(struct ipq_packet *packet)
{
	return is_tcp_to(packet, 23) ? IPQ_DROP : IPQ_ACCEPT;
}

/* and from 10.0.0.1 */
uint32_t spec_filter_dport_saddr(struct ipq_packet *packet)
{
	uint32_t saddr;

	if (!is_tcp_to(packet, 23) || packet->ip_version != 4)
		return IPQ_ACCEPT;
	memcpy(&saddr, packet->data + packet->l3 + 12, sizeof(saddr));
	return saddr == htonl(0x0a000001) ? IPQ_DROP : IPQ_ACCEPT;
}

int spec_filter_run(struct ipq_driver *driver, filter_t filter)
{
	struct ipq_batch *batch = driver->batch;
	int ret;

	while ((ret = ipq_driver_next(driver)) > 0)
		for (; batch->current < batch->count; batch->current++)
			batch->packets[batch->current].verdict =
				filter(&batch->packets[batch->current]);
	return ret;
}
