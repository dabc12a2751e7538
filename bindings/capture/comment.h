/* What became of a frame, as a comment that Wireshark shows. */
#ifndef IPQ_COMMENT_H
#define IPQ_COMMENT_H

#include "lib/ipq_abi.h"

enum { IPQ_COMMENT_SIZE = 1024 };

/* The frame's link header, as it came and as the filter left it. */
struct ipq_comment_link {
	const uint8_t *before;
	const uint8_t *after;
	uint32_t before_len;
	uint32_t after_len;
};

/* Of a packet that was judged: the verdict, what went wrong, and which fields were changed, from what
 * to what. is_mended: its checksums were made right. The text ends with a 0 byte, and is cut off
 * where there is no room. */
void ipq_comment(char text[IPQ_COMMENT_SIZE], const struct ipq_packet *packet,
		 const struct ipq_comment_link *link, bool is_mended);

/* Of a packet that a filter has sent. */
extern const char ipq_comment_sent[];

#endif
