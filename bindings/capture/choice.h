/* Which frames are wanted: pcap-filter(7) expressions, compiled for each link type that comes. */
#ifndef IPQ_CHOICE_H
#define IPQ_CHOICE_H

#include "reader.h"

struct ipq_choice_program;

struct ipq_choice {
	const char *expression; /* NULL: all are */
	struct ipq_choice_program *programs;
};

/* Whether the expression is right for the link type; where that is not known yet (-1), for any of
 * those that are common. Else why not is in text (size bytes). expression outlives the choice. */
bool ipq_choice_init(struct ipq_choice *choice, const char *expression, int link_type, char *text,
		     size_t size);
void ipq_choice_free(struct ipq_choice *choice);

/* Whether a frame is wanted. An expression that is wrong for its link type wants none of it. */
bool ipq_choice_takes(struct ipq_choice *choice, const struct ipq_frame *frame);

#endif
