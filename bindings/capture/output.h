/* Capture files that are written: pcap, or pcapng with what the input's blocks say. */
#ifndef IPQ_OUTPUT_H
#define IPQ_OUTPUT_H

#include <stdio.h>

#include "reader.h"

enum {
	IPQ_OUTPUT_BUFFER = 64 << 10, /* stdio's own is a page */
	/* What tcpdump and tshark write. A packet that has grown can be read back. */
	IPQ_OUTPUT_SNAPLEN = 262144,
	IPQ_OUTPUT_TEXT = 512,
	IPQ_OUTPUT_OF_NONE = 0 /* a section that is none of the input's */
};

/* An interface that the input's section does not have, for frames of one that is over. */
struct ipq_output_interface {
	uint16_t link_type;
	uint32_t number;
	uint32_t after; /* so many of the input's */
};

struct ipq_output {
	FILE *file; /* NULL: not open */
	const char *path;
	bool is_ng;
	bool is_bare;	    /* pcapng has frames and nothing else */
	bool is_nano;	    /* pcap's times have nanoseconds */
	bool is_begun;	    /* its first header is written */
	uint16_t link_type; /* pcap's */
	uint32_t section;   /* pcapng's, by the input's number; 0: none yet */
	bool is_swapped;    /* that is in the other byte order than ours */
	uint32_t interface_count;
	struct ipq_output_interface *added; /* some of these */
	uint32_t added_count;
	uint64_t written;	    /* frames */
	char text[IPQ_OUTPUT_TEXT]; /* what is wrong with it; empty: nothing is */
	char buffer[IPQ_OUTPUT_BUFFER];
};

/* Makes the file of that name anew, "-" for standard output; path outlives it. It is in the byte order
 * of like, in which some link headers are, too (NFLOG). 0 or a negative errno. Nothing is written
 * yet. */
int ipq_output_open(struct ipq_output *output, const char *path, const struct ipq_reader *like,
		    bool is_ng, bool is_nano);

void ipq_output_close(struct ipq_output *output);

/* The functions that follow do nothing where the file is not open, and where something is wrong with
 * it already. */

/* What a pcap file that is read has in the place of blocks: a section with one interface. */
void ipq_output_section(struct ipq_output *output, const struct ipq_reader *reader);

/* A block of pcapng's that is no frame, which a pcap file has no place for. */
void ipq_output_block(struct ipq_output *output, const struct ipq_frame *block);

/* A frame as it came. comment is for whoever looks at it in pcapng; NULL: none. */
void ipq_output_frame(struct ipq_output *output, const struct ipq_frame *frame,
		      const char *comment);

/* The same with other bytes: caplen of them, of len on the wire. */
void ipq_output_changed(struct ipq_output *output, const struct ipq_frame *frame,
			const uint8_t *bytes, uint32_t caplen, uint32_t len, const char *comment);

/* Writes what is in memory. */
void ipq_output_flush(struct ipq_output *output);

/* No frame follows. A pcap file without one is for frames of that type, and a pcapng file of an input
 * without a section has an empty one. */
void ipq_output_end(struct ipq_output *output, uint16_t link_type);

#endif
