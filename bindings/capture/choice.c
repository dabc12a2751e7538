#include "choice.h"
#include "link.h"

#include <stdio.h>
#include <stdlib.h>
#include <pcap/pcap.h>

enum { SNAPLEN = 262144 };

struct ipq_choice_program {
	struct ipq_choice_program *next;
	uint16_t link_type;
	bool is_right;
	struct bpf_program code;
};

/* libpcap's own number of a file's link type. */
static int dlt_of(uint16_t link_type)
{
	return link_type == IPQ_LINKTYPE_RAW || link_type == IPQ_LINKTYPE_RAW_OPENBSD ? DLT_RAW
										      : link_type;
}

/* text is left alone where the expression is right. NULL where there is no memory. */
static struct ipq_choice_program *compile(struct ipq_choice *choice, uint16_t link_type, char *text,
					  size_t size)
{
	struct ipq_choice_program *program = calloc(1, sizeof(*program));
	pcap_t *like = pcap_open_dead(dlt_of(link_type), SNAPLEN);

	if (program && like) {
		program->link_type = link_type;
		program->is_right = pcap_compile(like, &program->code, choice->expression, 1,
						 PCAP_NETMASK_UNKNOWN) == 0;
		if (!program->is_right)
			snprintf(text, size, "the filter expression \"%s\" is wrong: %s",
				 choice->expression, pcap_geterr(like));
		program->next = choice->programs;
		choice->programs = program;
	} else {
		snprintf(text, size, "not enough memory for a filter expression");
		free(program);
		program = NULL;
	}
	if (like)
		pcap_close(like);
	return program;
}

bool ipq_choice_init(struct ipq_choice *choice, const char *expression, int link_type, char *text,
		     size_t size)
{
	static const uint16_t common[] = {DLT_EN10MB, DLT_LINUX_SLL, DLT_IEEE802_11, DLT_PPP};
	const struct ipq_choice_program *program;

	*choice = (struct ipq_choice){.expression = expression};
	if (!expression)
		return true;
	if (link_type >= 0) {
		program = compile(choice, (uint16_t)link_type, text, size);
		return program && program->is_right;
	}
	for (size_t i = sizeof(common) / sizeof(common[0]); i > 0; i--) {
		/* The first one's text is the one that is told. */
		program = compile(choice, common[i - 1], text, size);
		if (program && program->is_right)
			return true;
	}
	return false;
}

void ipq_choice_free(struct ipq_choice *choice)
{
	struct ipq_choice_program *program = choice->programs, *next;

	for (; program; program = next) {
		next = program->next;
		if (program->is_right)
			pcap_freecode(&program->code);
		free(program);
	}
	choice->programs = NULL;
}

bool ipq_choice_takes(struct ipq_choice *choice, const struct ipq_frame *frame)
{
	struct pcap_pkthdr header = {.caplen = frame->caplen, .len = frame->len};
	struct ipq_choice_program *program = choice->programs;
	char text[PCAP_ERRBUF_SIZE];

	if (!choice->expression)
		return true;
	while (program && program->link_type != frame->link_type)
		program = program->next;
	if (!program)
		program = compile(choice, frame->link_type, text, sizeof(text));
	return program && program->is_right &&
	       pcap_offline_filter(&program->code, &header, frame->bytes) != 0;
}
