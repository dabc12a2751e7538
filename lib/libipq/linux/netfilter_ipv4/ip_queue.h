/*
 * The messages of ip_queue, the packet queue that kernels before 3.5 had. Kernel headers no longer
 * bring this file; programs written for libipq(3) see packets in its layouts still.
 *
 * Sizes and offsets are those that compiled programs have built in: they never change.
 */
#ifndef _IP_QUEUE_H
#define _IP_QUEUE_H

#include <net/if.h> /* IFNAMSIZ */

/* A queued packet, as ipq_get_packet(3) finds it behind a message's struct nlmsghdr. */
typedef struct ipq_packet_msg {
	unsigned long packet_id; /* names the packet to ipq_set_verdict() */
	unsigned long mark;	 /* 0 where there is none */
	long timestamp_sec;	 /* arrival; both are 0 where the kernel did not stamp it */
	long timestamp_usec;
	unsigned int hook;	   /* NF_IP_PRE_ROUTING to NF_IP_POST_ROUTING */
	char indev_name[IFNAMSIZ]; /* empty where there is none */
	char outdev_name[IFNAMSIZ];
	unsigned short hw_protocol; /* EtherType in network order */
	unsigned short hw_type;	    /* ARPHRD_* of the incoming interface */
	unsigned char hw_addrlen;   /* bytes of hw_addr in use */
	unsigned char hw_addr[8];   /* the sender's */
	size_t data_len;	    /* bytes at payload */
	unsigned char payload[0];   /* the packet from its network header on */
} ipq_packet_msg_t;

/* What ipq_set_mode() asks for. */
typedef struct ipq_mode_msg {
	unsigned char value; /* IPQ_COPY_* */
	size_t range;	     /* bytes of each packet with IPQ_COPY_PACKET, 0 for all of them */
} ipq_mode_msg_t;

/* What ipq_set_verdict() says. */
typedef struct ipq_verdict_msg {
	unsigned int value; /* NF_* */
	unsigned long id;
	size_t data_len; /* bytes at payload */
	unsigned char payload[0];
} ipq_verdict_msg_t;

/* Either of them. */
typedef struct ipq_peer_msg {
	union {
		ipq_verdict_msg_t verdict;
		ipq_mode_msg_t mode;
	} msg;
} ipq_peer_msg_t;

/* How much of each packet is delivered. */
enum {
	IPQ_COPY_NONE,	/* nothing: packets are dropped, as before the first ipq_set_mode() */
	IPQ_COPY_META,	/* all but the payload */
	IPQ_COPY_PACKET /* the payload as well */
};
#define IPQ_COPY_MAX IPQ_COPY_PACKET

/* nlmsg_type */
#define IPQM_BASE    0x10 /* netlink's own types are below */
#define IPQM_MODE    (IPQM_BASE + 1)
#define IPQM_VERDICT (IPQM_BASE + 2)
#define IPQM_PACKET  (IPQM_BASE + 3)
#define IPQM_MAX     (IPQM_BASE + 4)

#endif
