/*
 * The room of captures: capture files as a source of packets, and a sink. What is right on a
 * capture is right on the wire.
 *
 * Called by   host/tools/replay.c; bindings/core_capture.c, for the test kit.
 *
 * How         reader.c reads frames, by what pcap.c and pcapng.c know of the formats, from the bytes
 *             that input.c has in memory; link.c, and a file for each layer (layers.h), find the IP
 *             packet in a frame; capture.c makes batches of them, and gives frames to output.c when
 *             their packets are judged; comment.c says there what became of them. choice.c has
 *             libpcap's filters; sent.c writes what filters send.
 *
 * States      of a capture: reading one file after the other, stopped or at the end (receive() gives
 *             0). What is wrong with a file is kept as text (ipq_capture_damage()), and the next one
 *             is read. Frames lie in the input's memory until their packets are judged; that of a
 *             held packet is kept by itself.
 *
 * Always      A filter sees as much of a packet as a queue with the same settings would copy, and
 *             nothing that lies behind it in its frame; what only a kernel knows (hook, mark, queue)
 *             is the same for all. Frames come out as they came in, a held packet's when it gets its
 *             verdict, and one that nobody changed comes out byte for byte. A file is hostile: no
 *             length in it is trusted.
 */
#ifndef IPQ_CAPTURE_H
#define IPQ_CAPTURE_H

#include "lib/queue/queue.h"
#include "lib/send/send.h"

struct ipq_capture;

struct ipq_capture_options {
	/* File names, "-" for standard input: pcap or pcapng, also packed by gzip. They are read one
	 * after the other. */
	const char *const *read;
	unsigned int read_count;
	/* File names, "-" for standard output; NULL: none. Packets that are accepted, and those that
	 * are dropped, with the frames that are no packets. One that ends in .pcapng is that, one that
	 * ends in .pcap is that, any other is what the first input is. */
	const char *write;
	const char *write_dropped;
	const char *filter; /* pcap-filter(7) expression that chooses frames; NULL: all */
	uint32_t limit;	    /* of chosen frames, over all files; 0: none */
	/* What a filter sees of each packet, as of a queue with these settings. */
	bool is_meta;	     /* metadata alone */
	uint32_t copy_range; /* bytes at most */
	bool takes_arp;	     /* ARP, too */
	bool drops_other;    /* frames that are no packets are not accepted */
	bool mends;	     /* checksums of what is accepted are made right */
	bool is_private;     /* pcapng that is written tells nothing but frames */
};

enum ipq_capture_fault {
	IPQ_CAPTURE_OK,
	IPQ_CAPTURE_NO_FILE,	/* it cannot be opened */
	IPQ_CAPTURE_BAD_FILE,	/* it is no capture, or of a link type that is not known here */
	IPQ_CAPTURE_BAD_FILTER, /* the expression is wrong */
	IPQ_CAPTURE_NO_OUTPUT	/* the output cannot be written */
};

struct ipq_capture_counters {
	uint64_t frames; /* read, and chosen */
	uint64_t other;	 /* no packets: no IP, and no ARP where that is taken */
	/* What may be a packet, and cannot be read. It gets the error verdict. */
	uint64_t cut_off;      /* in the link header */
	uint64_t too_long;     /* of more than IPQ_PACKET_MAX bytes, or behind too many tags */
	uint64_t hidden;       /* compressed, encrypted, or several or parts of one */
	uint64_t unknown_link; /* of a link type that is not known here */
	uint64_t changed;      /* accepted, and written otherwise than read */
	uint64_t wrong_sums;   /* packets that came with a checksum that is wrong */
	uint64_t mended;       /* accepted, and written with other checksums */
	uint64_t written;      /* accepted */
	uint64_t written_dropped;
};

enum { IPQ_CAPTURE_TEXT = 512 };

/* Opens files. Why it cannot is in text (IPQ_CAPTURE_TEXT bytes, one line). Texts of options outlive
 * the capture. */
enum ipq_capture_fault ipq_capture_open(struct ipq_capture **capture,
					const struct ipq_capture_options *options, char *text);

/* The capture as a source; closing either closes both. Frames are written in the order of reading, a
 * held packet's when it gets its verdict, together with the frames that are no packets. receive()
 * gives 0 at the end of the last file, and waits only for what standard input has to give. */
struct ipq_source *ipq_capture_source(struct ipq_capture *capture);

/* From here on what filters of its batch send is written to what is accepted: behind the frame of the packet
 * that is the cause, dropped or not, with its time and a link header like its, turned round where it is
 * an answer; without a cause when it is sent, with the time of the timer or of the last packet. The
 * capture is the outbox's way out until it is closed; the outbox lives longer. Before the first packet
 * nothing can be sent (IPQ_UNSENT_ROUTE). tell is called before anything that nobody was told of is
 * forgotten, or NULL. */
void ipq_capture_send(struct ipq_capture *capture, struct ipq_outbox *outbox,
		      void (*tell)(struct ipq_outbox *outbox));

/* Bytes of a batch's slot, which is not used: frames lie in the input's memory, and a filter works on
 * the packet's spare memory. */
enum { IPQ_CAPTURE_SLOT_SIZE = 1 };

const struct ipq_capture_counters *ipq_capture_counters(const struct ipq_capture *capture);

/* The number of the first link type that was not known, where counters tell of frames of one. */
uint16_t ipq_capture_unknown_link(const struct ipq_capture *capture);

/* How much of the input was read, from 0 to 1; negative where its size is not known. */
double ipq_capture_progress(const struct ipq_capture *capture);

/* What is wrong with the input, NULL where nothing was; and with the output. */
const char *ipq_capture_damage(const struct ipq_capture *capture);
const char *ipq_capture_failure(const struct ipq_capture *capture);

/* Writes what is still in memory to the outputs; after that nothing is to be written any more.
 * IPQ_CAPTURE_NO_OUTPUT where that fails, or failed before. */
enum ipq_capture_fault ipq_capture_flush(struct ipq_capture *capture);

void ipq_capture_close(struct ipq_capture *capture);

#endif
