/* The frames of a capture file, pcap or pcapng, and the blocks of pcapng that are none. pcap.c and
 * pcapng.c know the formats (draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng). */
#ifndef IPQ_READER_H
#define IPQ_READER_H

#include "input.h"

/* What a frame came through, as a pcapng section tells; of a pcap file there is one. */
struct ipq_interface {
	uint16_t link_type; /* LINKTYPE_* */
	uint32_t snaplen;   /* bytes; 0: no limit */
	uint8_t resolution; /* of its times: if_tsresol */
	int64_t offset;	    /* seconds to be added: if_tsoffset */
};

/* A frame as it lies in memory, until the reader reads on. */
struct ipq_frame {
	const uint8_t *bytes;
	uint32_t caplen;
	uint32_t len; /* on the wire, as the file says; a wrong one may be less than caplen */
	uint64_t sec; /* since 1970 */
	uint32_t nsec;
	uint16_t link_type;
	/* Of pcapng: the section, from 1, the interface in it, the time in the interface's units, and
	 * the options. */
	uint32_t section;
	uint32_t interface;
	uint64_t ticks;
	const uint8_t *options;
	uint32_t options_len;
	const uint8_t *block; /* the whole; NULL: of pcap */
	uint32_t block_len;
	bool is_swapped; /* it is in the other byte order than ours */
};

enum ipq_read {
	IPQ_READ_FRAME,
	IPQ_READ_BLOCK, /* of pcapng, and no frame: the frame has nothing but it, and its section */
	IPQ_READ_MORE,	/* no more is in memory */
	IPQ_READ_INTERRUPTED,
	IPQ_READ_END,
	IPQ_READ_DAMAGED /* what is wrong is in text; nothing follows */
};

enum { IPQ_READER_TEXT = 256 };

struct ipq_reader {
	struct ipq_input input;
	bool is_ng;
	bool is_swapped;  /* numbers are in the other byte order than ours */
	uint32_t units;	  /* of pcap's times in a second */
	uint8_t header;	  /* bytes before each of pcap's frames */
	uint8_t minor;	  /* of pcap's version 2 */
	uint32_t section; /* number of pcapng's */
	struct ipq_interface *interfaces;
	uint32_t interface_count;
	uint32_t interface_room;
	uint64_t number; /* of the frame that was read last in this file, from 1 */
	char text[IPQ_READER_TEXT];
};

/* Opens a file and reads what it begins with. sections is the number of those that were read before
 * in other files. False with the reason in reader->text: it cannot be read, or is no capture
 * (is_missing tells them apart). */
bool ipq_reader_open(struct ipq_reader *reader, const char *path, uint32_t sections,
		     bool *is_missing);
void ipq_reader_close(struct ipq_reader *reader);

/* The next frame or block. may_read: it may read on, which moves what earlier frames lie in, and give
 * what is no frame; else that is IPQ_READ_MORE. */
enum ipq_read ipq_reader_next(struct ipq_reader *reader, struct ipq_frame *frame, bool may_read);

/* A frame's time in units of its interface's, from its seconds and nanoseconds, which are others than
 * those it came with; what is less than a unit is left out. The ticks that it has, where its interface
 * is not known any more, or nobody knows what its units are. */
uint64_t ipq_reader_ticks(const struct ipq_reader *reader, const struct ipq_frame *frame);

/* For pcap.c and pcapng.c: */

uint16_t ipq_reader_u16(const struct ipq_reader *reader, const uint8_t *p);
uint32_t ipq_reader_u32(const struct ipq_reader *reader, const uint8_t *p);

/* Adds one. False where there are too many, or no memory for it; the reason is in the text. */
bool ipq_reader_add(struct ipq_reader *reader, const struct ipq_interface *interface);

/* Whether len bytes are in memory, or can be read. What else it is comes in *why. */
bool ipq_reader_need(struct ipq_reader *reader, size_t len, bool may_read, enum ipq_read *why);

/* Says what is wrong. */
enum ipq_read ipq_reader_damaged(struct ipq_reader *reader, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Reads the header that the file begins with. False: it is none of pcap's. */
bool ipq_pcap_begin(struct ipq_reader *reader);
enum ipq_read ipq_pcap_next(struct ipq_reader *reader, struct ipq_frame *frame, bool may_read);

/* Looks at what a file begins with, and in which byte order that is; nothing is taken. False: it is
 * none of pcapng's. */
bool ipq_pcapng_begin(struct ipq_reader *reader);
enum ipq_read ipq_pcapng_next(struct ipq_reader *reader, struct ipq_frame *frame, bool may_read);

#endif
