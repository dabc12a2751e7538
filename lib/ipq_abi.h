/*
 * The layouts that the rooms of lib share with each other and with LuaJIT.
 *
 * C compiles this text, and ffi.cdef reads it, without its lines that begin with a '#'
 * (bindings/core.c). So do the rooms' headers whose functions Lua calls: what is declared there is
 * declared once. A function whose answer Lua hands on gives int, and not bool: of bool LuaJIT's
 * compiled code has been seen to go wrong. Hence they hold declarations only, and constants as enums. Sizes are in bytes,
 * numbers in host order unless a field says otherwise.
 */
#ifndef IPQ_ABI_H
#define IPQ_ABI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What becomes of a packet: NF_* of linux/netfilter.h. NF_STOLEN is missing on purpose, the kernel
 * refuses it. A verdict is 32 bits wide: bits 0 to 7 are one of these, bit 15 with IPQ_QUEUE is
 * NF_VERDICT_FLAG_QUEUE_BYPASS, bits 16 to 31 with IPQ_QUEUE are the queue's number. */
enum ipq_verdict {
	IPQ_DROP = 0,
	IPQ_ACCEPT = 1,
	IPQ_QUEUE = 3,
	IPQ_REPEAT = 4,
	IPQ_STOP = 5,
	IPQ_VERDICT_MASK = 0xff,
	IPQ_QUEUE_BYPASS = 0x8000,
	IPQ_QUEUE_SHIFT = 16
};

/* What a verdict carries beside itself (struct ipq_packet, field set). */
enum ipq_set {
	IPQ_SET_MARK = 1,
	IPQ_SET_PRIORITY = 2,
	IPQ_SET_PAYLOAD = 4,
	/* Of the payload, and nothing of a verdict's: */
	IPQ_SET_OVERSIZED = 8,	/* it is too large for its way out */
	IPQ_SET_LAYOUT = 16,	/* its headers are laid out anew */
	IPQ_SET_SEGMENTED = 32, /* it is UDP that the kernel has yet to cut into segments */
	/* Of the link header of a captured frame, in the same way: */
	IPQ_SET_LINK = 64
};

/* Bits of a packet's mark: by the one a filter asks the rules to queue no more of its flow, by the
 * other (SO_MARK) it tells them what it sends itself. */
enum ipq_mark { IPQ_BYPASS_MARK = 0x40000000, IPQ_SENT_MARK = 0x20000000 };

/* What the sender of a dropped packet is told: nft's words of "reject with". */
enum ipq_reject {
	IPQ_REJECT_NOT = 0,
	IPQ_REJECT_DEFAULT = 1, /* TCP a reset, others that the port is unreachable */
	IPQ_REJECT_TCP_RESET = 2,
	IPQ_REJECT_PORT_UNREACHABLE = 3,
	IPQ_REJECT_HOST_UNREACHABLE = 4,
	IPQ_REJECT_NET_UNREACHABLE = 5,
	IPQ_REJECT_NO_ROUTE = 6,
	IPQ_REJECT_ADMIN_PROHIBITED = 7,
	/* In Lua a verdict that rejects is this number and one of those. */
	IPQ_REJECT = 0x100
};

/* Why a packet of our own was not sent. Functions give these as negative numbers. */
enum ipq_unsent {
	IPQ_UNSENT_NOT = 0,
	IPQ_UNSENT_RULE = 1,	  /* an RFC forbids an answer to this packet */
	IPQ_UNSENT_RATE = 2,	  /* --reject-rate */
	IPQ_UNSENT_ROOM = 3,	  /* too much is to be sent with this batch already */
	IPQ_UNSENT_MALFORMED = 4, /* it is no whole IP packet, or what it answers is none */
	IPQ_UNSENT_LENGTH = 5,	  /* too large for its way, and nobody may cut it */
	IPQ_UNSENT_BUFFER = 6,	  /* the kernel had no room for it */
	IPQ_UNSENT_ROUTE = 7,	  /* no way there, or no address of one's own for it */
	IPQ_UNSENT_REFUSED = 8,	  /* a rule of the OUTPUT hook, or what else the kernel forbids */
	IPQ_UNSENT_REASONS = 9
};

/* Bits of struct ipq_packet, field present: 1 << NFQA_* of linux/netfilter/nfnetlink_queue.h. */
enum ipq_present {
	IPQ_HAS_PACKET_HDR = 0x2,
	IPQ_HAS_MARK = 0x8,
	IPQ_HAS_TIMESTAMP = 0x10,
	IPQ_HAS_INDEV = 0x20,
	IPQ_HAS_OUTDEV = 0x40,
	IPQ_HAS_PHYSINDEV = 0x80,
	IPQ_HAS_PHYSOUTDEV = 0x100,
	IPQ_HAS_HWADDR = 0x200,
	IPQ_HAS_PAYLOAD = 0x400,
	IPQ_HAS_CT = 0x800,
	IPQ_HAS_CT_INFO = 0x1000,
	IPQ_HAS_CAP_LEN = 0x2000,
	IPQ_HAS_SKB_INFO = 0x4000,
	IPQ_HAS_EXP = 0x8000,
	IPQ_HAS_UID = 0x10000,
	IPQ_HAS_GID = 0x20000,
	IPQ_HAS_SECCTX = 0x40000,
	IPQ_HAS_VLAN = 0x80000,
	IPQ_HAS_L2HDR = 0x100000,
	IPQ_HAS_PRIORITY = 0x200000
};

/* NFQA_SKB_INFO */
enum ipq_skb_info { IPQ_SKB_CSUMNOTREADY = 1, IPQ_SKB_GSO = 2, IPQ_SKB_CSUM_NOTVERIFIED = 4 };

enum ipq_limits {
	IPQ_BATCH_MAX = 64,
	/* nla_len is 16 bits and counts its own 4 */
	IPQ_PAYLOAD_MAX = 65531,
	IPQ_PACKET_MAX = 65535,
	IPQ_WHY_SIZE = 256,
	IPQ_HELD_MAX = 4096, /* packets that one filter may hold */
	IPQ_KEPT_MAX = 64,   /* held packets whose verdicts are sent together */
	IPQ_ETIME = 62,	     /* errno.h: what ipq_driver_next() gives when timers are due */
	IPQ_EALREADY = 114   /* and when look_at has come */
};

/*
 * One packet. The fields up to packet_id say which it is and what it has, those up to present are the
 * verdict, those up to timestamp_usec are what the kernel told; behind these is what was found in it
 * and what becomes of it, and what the kernel told at length. Apart from packet_id, queue_num, hook,
 * family, hw_protocol, mark, len and data_len what the kernel told means something only when its bit
 * in present is set. What points to its bytes, or to what the kernel told, points into the packet's
 * slot, and is good until its batch is filled again; a script's own packets have memory of their own
 * (engine/own.lua).
 */
struct ipq_packet {
	uint8_t *data;	   /* the packet from its network header on */
	uint32_t data_len; /* bytes at data */
	uint32_t len;	   /* bytes on the wire; 0 where the kernel did not tell (copy mode meta) */
	uint32_t packet_id;

	uint32_t verdict;
	uint32_t set;	   /* enum ipq_set */
	uint32_t mark;	   /* the packet's; with IPQ_SET_MARK the one it gets */
	uint32_t priority; /* skb->priority, the same way */

	uint32_t present;  /* enum ipq_present */
	uint32_t skb_info; /* enum ipq_skb_info */
	uint32_t indev;	   /* interface indexes */
	uint32_t outdev;
	uint32_t physindev;
	uint32_t physoutdev;
	uint32_t uid;
	uint32_t gid;
	uint16_t queue_num;
	uint16_t hw_protocol; /* EtherType */
	uint8_t hook;	      /* NF_INET_*, 0 to 4 */
	uint8_t family;	      /* NFPROTO_* */
	uint16_t hw_addrlen;  /* at most 8 */
	uint8_t hw_addr[8];
	uint16_t vlan_proto;
	uint16_t vlan_tci;
	uint32_t ct_info; /* enum ip_conntrack_info */
	uint64_t timestamp_sec;
	uint64_t timestamp_usec;
	/* Where its headers are; good once parsed is set (ipq_header_parse()). */
	uint8_t parsed;
	uint8_t ip_version; /* 4 or 6; 0: neither, or the IP header is not all there */
	uint8_t protocol;   /* of what lies at l4: IPPROTO_*, behind all extension headers */
	uint8_t fragment;   /* enum ipq_fragment */
	uint16_t l3; /* offset of the IP header: 0, but behind the VLAN tags of bridged packets */
	uint16_t upper; /* offset of what follows it with its options or extension headers */
	uint16_t l4;	/* offset of the transport header; 0 where it is not all there */
	uint16_t body;	/* offset of what the transport header is followed by */
	uint16_t end;	/* where the IP packet ends: by its length field, but not behind data_len */
	uint16_t ah;	/* offset of an authentication header, as extension or transport; 0: none */
	uint16_t dirty; /* enum ipq_dirty */
	uint8_t fix;	/* its lengths and checksums are made right before it is sent */
	uint8_t held;	/* enum ipq_held: it has no verdict yet, and waits for one of its own */
	uint8_t decided;   /* it has its verdict already, and no filter is asked */
	uint8_t reject;	   /* enum ipq_reject: what its sender is told beside the verdict */
	uint8_t malformed; /* enum ipq_malformed; a part of the layout */
	/* Of a changed packet, for ipq_rewrite_finish(): see rewrite.c. */
	uint8_t unready;   /* enum ipq_unready: whose checksum is not finished */
	uint16_t inner;	   /* where the IP packet begins inside, whose checksum that is */
	uint16_t l4_delta; /* what changes have added to the transport's sum */
	uint16_t udp_len;  /* UDP's length that ends before IP's does; 0: it is made anew */
	uint32_t l4_wrong; /* by what the transport's checksum was wrong when the packet came */
	uint32_t came_len; /* len, when the packet came */
	uint8_t *spare;	   /* IPQ_PACKET_MAX bytes for a packet that outgrows its place */
	const uint8_t *ct; /* nested CTA_* attributes, for ipq_conntrack_parse() */
	const uint8_t *secctx;
	uint8_t *l2hdr; /* the link header, with its VLAN tags */
	uint16_t ct_len;
	uint16_t secctx_len;
	uint16_t l2hdr_len;
	uint16_t l2hdr_room; /* bytes that it may have when it is changed; 0: it cannot be */
	uint8_t link;	     /* enum ipq_link: what it is, where IPQ_HAS_L2HDR is set */
	uint8_t cut;	     /* enum ipq_cut: why data_len is less than len */
	/* The bytes as they came, where those at data are a copy to be changed: of captures. NULL: there
	 * are none. */
	const uint8_t *came;
	uint32_t came_data_len;
	/* IPQ_WHY_SIZE bytes for what went wrong with it, text that ends with a 0 byte; NULL: nobody
	 * wants to know. */
	char *why;
	const char *prefix; /* NFLOG: what the rule says, prefix_len bytes; NULL: nothing */
	uint16_t prefix_len;
	/* Of a packet that is a part of another one's bytes: see ipq_inside_open(). */
	uint16_t at;   /* where it begins in the outermost one's data; 0: it is that one */
	uint8_t depth; /* how many packets are around it */
	uint8_t part;  /* of its transport header only the first bytes are there, up to body */
	uint8_t own;   /* it is in memory of a script's, which its views keep (engine/own.lua) */
	struct ipq_packet *outer; /* the one around it; NULL: there is none */
	/* By ipq_flows_packet(); nothing before it is called. */
	uint32_t flow_number;	/* its flow's, + 1; 0: it has none */
	uint8_t flow_direction; /* 0: as the flow's first packet; 1: the reply */
	uint8_t flow_bits;	/* enum ipq_packet_flow_bits */
};

/* Who holds a packet. */
enum ipq_held { IPQ_HELD_NOT = 0, IPQ_HELD_BY_FILTER = 1, IPQ_HELD_BY_STREAM = 2 };

/* How many packets inside of each other are looked into. */
enum { IPQ_INSIDE_MAX = 8 };

/* Memory for ipq_inside_open(). */
struct ipq_inside {
	struct ipq_packet levels[IPQ_INSIDE_MAX]; /* from the outermost's next one on */
};

/* What a link header is. */
enum ipq_link {
	IPQ_LINK_OTHER = 0,
	IPQ_LINK_ETHER = 1, /* Ethernet II, or 802.3 with LLC and SNAP; tags may follow */
	IPQ_LINK_SLL = 2,   /* Linux cooked: a source address alone */
	IPQ_LINK_SLL2 = 3
};

/* Who has cut a packet off, whose bytes from data_len on are missing. */
enum ipq_cut {
	IPQ_CUT_QUEUE = 0,   /* the queue copies no more of it */
	IPQ_CUT_CAPTURE = 1, /* the capture has no more of it */
	IPQ_CUT_MOST = 2,    /* more than IPQ_PAYLOAD_MAX bytes: no queue can copy it whole */
	IPQ_CUT_QUOTE = 3    /* the ICMP error that quotes it has no more of it */
};

enum ipq_fragment {
	IPQ_FRAGMENT_NONE = 0,
	IPQ_FRAGMENT_FIRST =
		1, /* more follow: the transport header is there, its body is not whole */
	IPQ_FRAGMENT_LATER = 2 /* no transport header */
};

/* Why a packet's headers cannot be told for sure. Who reads on may see another packet than its
 * receiver does. */
enum ipq_malformed {
	IPQ_MALFORMED_NOT = 0,
	IPQ_MALFORMED_COPY = 1,	  /* not malformed, but only a part of the headers was copied */
	IPQ_MALFORMED_IP = 2,	  /* the IP header is not all there, or none */
	IPQ_MALFORMED_LENGTH = 3, /* IP's length is less than its header, or more than there is */
	IPQ_MALFORMED_CHAIN = 4,  /* an IPv6 extension header is not all there, or too short */
	IPQ_MALFORMED_TRANSPORT = 5, /* the same of the transport header, or of UDP's length */
	IPQ_MALFORMED_FRAGMENT = 6,  /* a first fragment without all of its transport header */
	IPQ_MALFORMED_CAPTURE = 7, /* not malformed, but a capture has only a part of the headers */
	IPQ_MALFORMED_QUOTE = 8	   /* the same of the ICMP error that quotes it */
};

/* Whose checksum the network card or the segmentation was to finish. */
enum ipq_unready {
	IPQ_UNREADY_NONE = 0,
	IPQ_UNREADY_OWN = 1,	/* the packet's transport's */
	IPQ_UNREADY_INNER = 2,	/* that of a packet inside of it, at inner */
	IPQ_UNREADY_UNKNOWN = 3 /* that of a packet inside of it that was not found */
};

/* What ipq_rewrite_finish() has to do. */
enum ipq_dirty {
	IPQ_DIRTY_FIELDS = 1,	 /* bytes changed in their place, told by l4_delta */
	IPQ_DIRTY_ALL = 2,	 /* anything: all lengths and checksums */
	IPQ_DIRTY_TRANSPORT = 4, /* among it what the transport's checksum covers */
	IPQ_DIRTY_NOTED = 8	 /* l4_wrong has been looked for */
};

/* Who says something to whom. Addresses are 4 or 16 bytes, in network order. */
struct ipq_tuple {
	uint8_t ip_version; /* 4 or 6; 0: there is none */
	uint8_t protocol;
	uint16_t sport; /* 0 where the protocol has no ports */
	uint16_t dport;
	uint8_t saddr[16];
	uint8_t daddr[16];
};

/* Conntrack as NFQA_CT tells it; has is a bit per field: 1 << CTA_* */
struct ipq_conntrack {
	uint32_t has;
	uint32_t id;
	uint32_t mark;
	uint32_t status;  /* enum ip_conntrack_status */
	uint32_t timeout; /* seconds */
	uint16_t zone;
	struct ipq_tuple original; /* as the connection's first packet came, before NAT */
	struct ipq_tuple reply;	   /* as its answers come, before NAT */
};

/* CTA_* of linux/netfilter/nfnetlink_conntrack.h as bits of struct ipq_conntrack, field has */
enum ipq_conntrack_has {
	IPQ_CT_HAS_ORIGINAL = 0x2,
	IPQ_CT_HAS_REPLY = 0x4,
	IPQ_CT_HAS_STATUS = 0x8,
	IPQ_CT_HAS_TIMEOUT = 0x80,
	IPQ_CT_HAS_MARK = 0x100,
	IPQ_CT_HAS_ID = 0x1000,
	IPQ_CT_HAS_ZONE = 0x40000
};

/* What was done with the connections that a script has chosen, and why others were left alone. */
enum ipq_stream_count {
	IPQ_STREAMS_READ = 0,	   /* that a script has chosen */
	IPQ_STREAMS_EDITED = 1,	   /* of them, those that have had an edit */
	IPQ_STREAMS_RESET = 2,	   /* by the script, by a limit, by an error, at the end */
	IPQ_STREAMS_LOST = 3,	   /* whose edits could not be told any more */
	IPQ_STREAMS_LIMITED = 4,   /* directions whose handler was ended by a limit */
	IPQ_STREAMS_NO_ROOM = 5,   /* left alone: there was no record free */
	IPQ_STREAMS_ONE_SIDED = 6, /* left alone: the other direction does not come to the queue */
	IPQ_STREAMS_SIGNED = 7,	 /* left alone: an option signs the segments (RFC 2385, RFC 5925) */
	IPQ_STREAMS_DROPPED = 8, /* segments: damaged, cut off, or out of reach */
	IPQ_STREAMS_INJECTED = 9, /* segments of our own */
	/* segments that said other bytes than were heard, and were given those */
	IPQ_STREAMS_DIFFERING = 10,
	IPQ_STREAMS_COUNTS = 11
};

/* Counters: one writer, they only grow. */
struct ipq_counters {
	uint64_t batches;
	uint64_t packets;
	uint64_t bytes;	   /* copied */
	uint64_t accepted; /* verdicts given, by kind */
	uint64_t dropped;
	uint64_t queued;
	uint64_t repeated;
	uint64_t stopped;
	uint64_t marked;       /* packets that got a mark from the filter */
	uint64_t errors;       /* packets that cost the error verdict */
	uint64_t oversized;    /* packets that got too large for their way out */
	uint64_t settled;      /* packets that a dead process had in hand */
	uint64_t malformed;    /* kernel messages that could not be read */
	uint64_t refused;      /* verdicts that the kernel answered with an error */
	uint64_t overruns;     /* ENOBUFS: messages lost between kernel and socket */
	uint64_t last_refusal; /* errno of the newest of refused */
	uint64_t rejected;     /* dropped packets whose senders were told */
	uint64_t sent;	       /* packets of our own, those of rejects among them */
	uint64_t own;	       /* of them, those that came back and were passed unseen */
	uint64_t unsent[9];    /* by enum ipq_unsent; IPQ_UNSENT_REASONS */
	uint64_t streams[11];  /* by enum ipq_stream_count; IPQ_STREAMS_COUNTS */
};

enum ipq_statistics_limits {
	IPQ_HISTOGRAM_BUCKETS = 272, /* up to 2^36, by eighths of a power of two: see histogram.c */
	IPQ_COUNTER_NAME_SIZE = 64,
	IPQ_SCRIPT_COUNTERS_MAX = 64
};

/* How often values of what size were seen. One writer. */
struct ipq_histogram {
	uint64_t count;
	uint64_t sum;
	uint64_t buckets[272]; /* IPQ_HISTOGRAM_BUCKETS */
};

/* A counter of a script's own. One writer. A number is a double, as Lua's are: it counts one by one
 * up to 2^53. */
struct ipq_counter {
	char name[64]; /* IPQ_COUNTER_NAME_SIZE, ends with a 0 byte; empty where there is none */
	double value;
};

/* Packets of a queue that a batch knows nothing of. */
enum ipq_unknown {
	IPQ_UNKNOWN_NONE,
	IPQ_UNKNOWN_HANDLED, /* another process has them in hand, and gives them their verdicts */
	IPQ_UNKNOWN_LEFT     /* nobody has them: they get the error verdict as soon as it is known
			      * which they are, those in front of the next that comes */
};

/* Up to capacity packets that are judged together. */
struct ipq_batch {
	struct ipq_packet *packets;
	uint32_t count;
	uint32_t capacity;
	uint32_t default_verdict; /* what a packet has from its arrival on */
	uint32_t error_verdict;	  /* what a packet gets whose filter raised */
	uint32_t default_reject;  /* enum ipq_reject: what is said with these, if they are */
	uint32_t error_reject;	  /* IPQ_DROP */
	uint32_t current;	  /* the packet whose filter runs; those before it are judged */
	uint32_t unanswered;	  /* verdicts of settled packets, which may be too late */
	/* enum ipq_unknown: whether packets wait that came before this batch's, and that it knows
	 * nothing of. Then no verdict is merged into one of all packets up to an id. */
	uint32_t unknown;
	/* IPQ_SET_LAYOUT, IPQ_SET_SEGMENTED: the kernel loses packets that have it set, behind an
	 * ACCEPT. */
	uint32_t loses;
	uint32_t slot_size;
	uint8_t *spares; /* capacity × IPQ_PACKET_MAX bytes */
	uint8_t *slots;	 /* capacity × slot_size bytes */
	/* Packets of earlier batches, and of this one, that wait for a verdict of their own: their
	 * packet_id + 1, 0 where there is none. IPQ_HELD_MAX places. */
	uint64_t *held;
	uint32_t held_count;
	uint32_t held_limit; /* how many there may be */
	/* Goes up when a timer's function is called and again when it has returned: odd while one
	 * runs. */
	uint32_t in_timer;
	int64_t wake_ns; /* CLOCK_MONOTONIC: when the next timer is due; 0: there is none */
	struct ipq_counters counters;
	uint32_t timed_each; /* every so many batches are timed: a power of two; 0: none is */
	/* What a packet's filter takes: the time of a batch that is timed, divided by its packets.
	 */
	struct ipq_histogram *filter_ns;
	struct ipq_counter *script_counters; /* IPQ_SCRIPT_COUNTERS_MAX of them */
	/* As many: what one of that name begins with, as the process before this one left it. */
	struct ipq_counter *inherited;
};

/*
 * What a Lua filter holds: a packet (struct ipq_view *), a header of it (struct ipq_view_tcp * and
 * the others), or bytes of it (struct ipq_buffer *). These pointers lead nowhere. The pointer's
 * bits are the handle:
 *
 *   63 ... 18   a serial number, which no other packet of the Lua state has
 *   17          IPQ_INSIDE: the buffer is of a packet inside of the packet: with IPQ_BODY of the
 *               last one that begins before it, without of the one that begins there
 *   16          IPQ_BODY: the buffer ends with the IP packet, not with the bytes behind it
 *   15 ... 0    IPQ_OFFSET_MASK: where the buffer begins in the packet; in a view of a packet inside,
 *               or of its headers, where that one begins; 0 in others
 *
 * There is nothing that a script could follow or change, and as the whole view is one immutable
 * word, LuaJIT never needs memory for it. bindings/ipq/engine/live.lua makes and checks handles.
 */
enum ipq_handle_bits {
	IPQ_OFFSET_MASK = 0xffff,
	IPQ_BODY = 0x10000,
	IPQ_INSIDE = 0x20000,
	IPQ_SERIAL_STEP = 0x40000
};

struct ipq_view;
struct ipq_view_inside;
struct ipq_view_flow;
struct ipq_view_flow_original;
struct ipq_view_flow_reply;
struct ipq_buffer;
struct ipq_view_ether;
struct ipq_view_arp;
struct ipq_view_ip;
struct ipq_view_ip6;
struct ipq_view_tcp;
struct ipq_view_udp;
struct ipq_view_udplite;
struct ipq_view_icmp;
struct ipq_view_icmpv6;
struct ipq_view_sctp;
struct ipq_view_dccp;
struct ipq_view_gre;
struct ipq_view_esp;
struct ipq_view_ah;

/* The packet whose filter runs. */
struct ipq_live {
	struct ipq_packet *packet;
	uint64_t handle; /* its view's bits; 0 while no filter runs */
	uint64_t newest; /* the last handle given out */
};

/* A network interface as the kernel knew it when it was asked last. */
struct ipq_device {
	uint32_t index;
	uint16_t type;	  /* ARPHRD_* */
	uint32_t mtu;	  /* bytes; 0 where the kernel does not tell */
	char name[16];	  /* IFNAMSIZ, ends with a 0 byte; empty where there is no such interface */
	int64_t until_ms; /* CLOCK_MONOTONIC_COARSE: asked again after that */
};

/* A cache of them; zeroed memory is an empty one. */
struct ipq_devices {
	int fd; /* for ioctl, 0 until it is needed */
	struct ipq_device slots[32];
};

/* What a script holds of a counter: a pointer (struct ipq_count *) that leads nowhere, and is the
 * counter's number in the table, from 1 up. */
struct ipq_count;

/* Where the counters of a Lua state are. */
struct ipq_scripted {
	struct ipq_counter *counters;
	struct ipq_counter *inherited; /* NULL: none are */
};

struct ipq_source;
struct ipq_outbox;
struct ipq_flows;
struct ipq_streams;
struct ipq_netset;

/* A source and the batch that goes round between it and a filter. */
struct ipq_driver {
	struct ipq_source *source;
	struct ipq_batch *batch;
	struct ipq_outbox *outbox;   /* what filters send (lib/send); NULL: they do not */
	struct ipq_flows *flows;     /* the packets' (lib/flow); NULL: none are followed */
	struct ipq_streams *streams; /* their connections' (lib/stream); NULL: none are read */
	int64_t now_us;		     /* their time; packets tell it where times_packets is set */
	uint32_t bypass_mark;	     /* the bit that a flow's packets get that are bypassed */
	uint8_t times_packets;
	volatile int interrupt; /* not 0: leave the loop. A signal handler may set it. */
	uint32_t woken;		/* timers had their turn last: it is the packets' */
	uint32_t idle_turns;	/* so many times ipq_driver_next() gives -ETIME, without packets */
	uint64_t look_at;  /* packets that are counted when it gives -EALREADY, once; 0: never */
	int64_t handed_ns; /* CLOCK_MONOTONIC: when the batch was handed out; 0: not looked at */
	/* Held packets whose verdicts the source keeps until ipq_driver_flush(): their ids, which
	 * are still in the batch's table, and what they add to its counters then. */
	uint32_t kept_count;
	uint32_t kept[64]; /* IPQ_KEPT_MAX */
	struct ipq_counters kept_counters;
};

#endif
