/* Which transports have ports: their headers begin with the sender's and the receiver's, 16 bits each. */
#ifndef IPQ_PORTS_H
#define IPQ_PORTS_H

#include <stdbool.h>
#include <stdint.h>
#include <netinet/in.h>

static inline bool ipq_has_ports(uint8_t protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_SCTP:
	case IPPROTO_DCCP: return true;
	default: return false;
	}
}

#endif
