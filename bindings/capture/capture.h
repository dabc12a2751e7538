/*
 * The room of captures: capture files as a source of packets, and a sink. What is right on a
 * capture is right on the wire.
 *
 * Called by   host/tools/replay.c; bindings/core_capture.c, for the test kit.
 *
 * How         capture.c reads and writes frames by libpcap, link.c finds the IP packet in a frame.
 *
 * States      of a capture: reading, stopped or at the end (receive() gives 0), damaged (what is
 *             wrong is kept as text: ipq_capture_damage()). Its frames wait in the batch's slots
 *             until their packets are judged; that of a held packet is kept by itself.
 *
 * Always      A filter sees as much of a packet as a queue with the same settings would copy; what
 *             only a kernel knows (hook, mark, queue) is the same for all. Frames come out as they
 *             came in, a held packet's when it gets its verdict, and one that nobody changed comes
 *             out byte for byte. A file is hostile: no length in it is trusted.
 */
#ifndef IPQ_CAPTURE_H
#define IPQ_CAPTURE_H

#include "lib/queue/queue.h"

struct ipq_capture;

struct ipq_capture_options {
	const char *read;  /* file name, "-" for standard input: pcap or pcapng */
	const char *write; /* file name, "-" for standard output; NULL: none. pcap, of the same link
			      type */
	const char *filter; /* pcap-filter(7) expression that chooses packets; NULL: all */
	/* What a filter sees of each packet, as of a queue with these settings. */
	bool is_meta;	     /* metadata alone */
	bool takes_arp;	     /* ARP, too */
	uint32_t copy_range; /* bytes at most */
};

enum ipq_capture_fault {
	IPQ_CAPTURE_OK,
	IPQ_CAPTURE_NO_FILE,	/* it cannot be opened */
	IPQ_CAPTURE_BAD_FILE,	/* it is no capture, or of a link type that is not known here */
	IPQ_CAPTURE_BAD_FILTER, /* the expression is wrong */
	IPQ_CAPTURE_NO_OUTPUT	/* the output cannot be written */
};

struct ipq_capture_counters {
	uint64_t frames;   /* read, and chosen by the filter */
	uint64_t unjudged; /* passed on as they are: no IP, or too long */
	uint64_t changed;  /* written otherwise than read */
	uint64_t written;
};

enum { IPQ_CAPTURE_TEXT = 512 };

/* Opens files. Why it cannot is in text (IPQ_CAPTURE_TEXT bytes, one line). */
enum ipq_capture_fault ipq_capture_open(struct ipq_capture **capture,
					const struct ipq_capture_options *options, char *text);

/* The capture as a source; closing either closes both. Every packet but the dropped ones is
 * written, in the order of reading, a held one when it gets its verdict, together with the frames
 * that are no packets. receive() gives 0
 * at the end of the file and where it is damaged. */
struct ipq_source *ipq_capture_source(struct ipq_capture *capture);

/* Bytes that a batch's slot must have. */
uint32_t ipq_capture_slot_size(const struct ipq_capture *capture);

const struct ipq_capture_counters *ipq_capture_counters(const struct ipq_capture *capture);

/* How much of the input was read, from 0 to 1; negative where its size is not known. */
double ipq_capture_progress(const struct ipq_capture *capture);

/* What is wrong with the input or the output, NULL where nothing was. */
const char *ipq_capture_damage(const struct ipq_capture *capture);

/* Writes what is still in memory to the output. IPQ_CAPTURE_NO_OUTPUT where that fails, or failed
 * before. */
enum ipq_capture_fault ipq_capture_flush(struct ipq_capture *capture);

void ipq_capture_close(struct ipq_capture *capture);

#endif
