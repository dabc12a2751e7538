#include "capture.h"
#include "link.h"

#include <errno.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <netinet/in.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <pcap/pcap.h>

enum {
	FILE_BUFFER = 64 << 10, /* stdio's own is a page */
	MAGIC_NSEC = 0xa1b23c4d,
	MAGIC_NSEC_SWAPPED = 0x4d3cb2a1,
	MAGIC_PCAPNG = 0x0a0d0d0a
};

/* A frame of the batch, in reading order. It lies in the slot of its number. */
struct frame {
	struct pcap_pkthdr header;
	uint32_t offset;	     /* of IP in it */
	int packet;		     /* its number in the batch, -1: it is none */
	uint16_t link_len;	     /* once it is judged, or held */
	uint8_t link[IPQ_LINK_ROOM]; /* the link header, as the filter leaves it */
};

/* A frame whose packet is held: it is written when that has its verdict. */
struct held {
	struct held *next;
	uint32_t packet_id;
	struct frame frame;
	uint8_t bytes[];
};

struct ipq_capture {
	struct ipq_source source;
	pcap_t *in;
	pcap_dumper_t *out;
	int link;
	bool has_filter;
	struct bpf_program filter;
	uint64_t number; /* of the frame that was read last, from 1 */
	bool is_nano;	 /* times have nanoseconds, in the input and in the output */
	bool stopped;
	bool is_meta;
	bool takes_arp;
	uint32_t copy_range;
	off_t size; /* of the input, 0: not known */
	uint32_t slot_size;
	uint32_t frame_count;
	uint32_t frames_done; /* written, dropped or held */
	struct frame frames[IPQ_BATCH_MAX];
	struct held *held; /* as they came */
	struct held **held_end;
	uint8_t *changed; /* a frame put together anew */
	char in_buffer[FILE_BUFFER];
	char out_buffer[FILE_BUFFER];
	struct ipq_capture_counters counters;
	bool is_damaged;
	char damage[IPQ_CAPTURE_TEXT];
};

static void note_damage(struct ipq_capture *capture, const char *what, const char *why)
{
	if (capture->is_damaged)
		return;
	capture->is_damaged = true;
	snprintf(capture->damage, sizeof(capture->damage), "%s: %s", what, why);
}

/* Writing */

static void write_frame(struct ipq_capture *capture, const struct pcap_pkthdr *header,
			const uint8_t *bytes)
{
	if (!capture->out)
		return;
	pcap_dump((u_char *)capture->out, header, bytes);
	if (ferror(pcap_dump_file(capture->out)))
		note_damage(capture, "cannot write the capture", strerror(errno));
	capture->counters.written++;
}

/* The link header and the packet as the filter left them. What is missing of a packet that is cut
 * off stays so. */
static void write_changed(struct ipq_capture *capture, const struct frame *frame,
			  const uint8_t *slot, const struct ipq_packet *packet)
{
	struct pcap_pkthdr header = frame->header;
	bool is_other = packet->set & IPQ_SET_PAYLOAD;
	const uint8_t *bytes = is_other ? packet->data : slot + frame->offset;
	uint32_t len = is_other ? packet->data_len : header.caplen - frame->offset;

	capture->counters.changed++;
	memcpy(capture->changed, frame->link, frame->link_len);
	memcpy(capture->changed + frame->link_len, bytes, len);
	header.len = frame->link_len + (is_other ? packet->len : header.len - frame->offset);
	header.caplen = frame->link_len + len;
	write_frame(capture, &header, capture->changed);
}

/* Only what is written is kept. */
static void hold_frame(struct ipq_capture *capture, const struct frame *frame, const uint8_t *slot,
		       const struct ipq_packet *packet)
{
	struct held *held;

	if (!capture->out)
		return;
	held = malloc(sizeof(*held) + frame->header.caplen);
	if (!held) {
		note_damage(capture, "cannot keep a held packet", strerror(ENOMEM));
		return;
	}
	*held = (struct held){.packet_id = packet->packet_id, .frame = *frame};
	memcpy(held->bytes, slot, frame->header.caplen);
	*capture->held_end = held;
	capture->held_end = &held->next;
}

static void write_judged(struct ipq_capture *capture, const struct frame *frame,
			 const uint8_t *slot, const struct ipq_packet *packet)
{
	if (packet->verdict == IPQ_DROP)
		return;
	else if (packet->set & (IPQ_SET_PAYLOAD | IPQ_SET_LINK))
		write_changed(capture, frame, slot, packet);
	else
		write_frame(capture, &frame->header, slot);
}

/* A frame of the batch, whose packet the filter has returned from. */
static void settle(struct ipq_capture *capture, struct frame *frame, const uint8_t *slot,
		   const struct ipq_packet *packet)
{
	frame->link_len = packet->l2hdr_len;
	if (packet->held)
		hold_frame(capture, frame, slot, packet);
	else
		write_judged(capture, frame, slot, packet);
}

/* The frames before packet number end of the batch. */
static void write_frames(struct ipq_capture *capture, const struct ipq_batch *batch, uint32_t end)
{
	for (; capture->frames_done < capture->frame_count; capture->frames_done++) {
		struct frame *frame = &capture->frames[capture->frames_done];
		const uint8_t *slot =
			batch->slots + (size_t)capture->frames_done * batch->slot_size;

		if (frame->packet < 0)
			write_frame(capture, &frame->header, slot);
		else if ((uint32_t)frame->packet < end)
			settle(capture, frame, slot, &batch->packets[frame->packet]);
		else
			return;
	}
}

static void write_all(struct ipq_capture *capture, const struct ipq_batch *batch)
{
	write_frames(capture, batch, batch->count);
	capture->frame_count = 0;
	capture->frames_done = 0;
}

/* The kept frame of a held packet, which is the caller's to free; NULL where there is none. */
static struct held *held_take(struct ipq_capture *capture, uint32_t packet_id)
{
	struct held **link = &capture->held;
	struct held *held;

	while (*link && (*link)->packet_id != packet_id)
		link = &(*link)->next;
	held = *link;
	if (held)
		*link = held->next;
	if (held && capture->held_end == &held->next)
		capture->held_end = link;
	return held;
}

/* Reading */

/* The bytes that the filter sees. It works on a copy: what it began to change before it raised must
 * not be written. */
static void bytes_fill(const struct ipq_capture *capture, struct ipq_packet *packet,
		       const struct frame *frame, uint8_t *slot)
{
	uint32_t len = frame->header.caplen - frame->offset;

	packet->data = packet->spare;
	packet->data_len = 0;
	packet->len = 0;
	packet->came = slot + frame->offset;
	packet->came_data_len = 0;
	if (capture->is_meta)
		return;
	packet->data_len = len < capture->copy_range ? len : capture->copy_range;
	packet->came_data_len = packet->data_len;
	packet->len = frame->header.len - frame->offset;
	packet->present |= IPQ_HAS_PAYLOAD;
	packet->cut = len <= capture->copy_range ? IPQ_CUT_CAPTURE : IPQ_CUT_QUEUE;
	if (packet->len > packet->data_len)
		packet->present |= IPQ_HAS_CAP_LEN;
	memcpy(packet->spare, packet->came, packet->data_len);
}

/* The same of the link header. */
static void link_fill(struct ipq_packet *packet, struct frame *frame, uint8_t link,
		      const uint8_t *slot)
{
	memcpy(frame->link, slot, frame->offset);
	packet->link = link;
	packet->l2hdr = frame->link;
	packet->l2hdr_len = (uint16_t)frame->offset;
	packet->l2hdr_room = IPQ_LINK_ROOM;
	if (frame->offset > 0)
		packet->present |= IPQ_HAS_L2HDR;
}

static void packet_fill(struct ipq_capture *capture, struct ipq_packet *packet, struct frame *frame,
			const struct ipq_link_info *info, uint8_t *slot)
{
	/* Its number among the frames, as tcpdump and tshark count. */
	packet->packet_id = (uint32_t)capture->number;
	packet->queue_num = 0;
	packet->hook = NF_INET_PRE_ROUTING;
	packet->family = info->protocol == ETH_P_IPV6  ? NFPROTO_IPV6
			 : info->protocol == ETH_P_ARP ? NFPROTO_ARP
						       : NFPROTO_IPV4;
	packet->hw_protocol = info->protocol;
	packet->mark = 0;
	packet->priority = 0;
	packet->present = IPQ_HAS_PACKET_HDR | IPQ_HAS_TIMESTAMP | IPQ_HAS_SKB_INFO;
	packet->skb_info = IPQ_SKB_CSUM_NOTVERIFIED; /* a capture has what came, right or wrong */
	packet->timestamp_sec = (uint64_t)frame->header.ts.tv_sec;
	packet->timestamp_usec = (uint64_t)frame->header.ts.tv_usec / (capture->is_nano ? 1000 : 1);
	if (info->vlan_proto) {
		packet->present |= IPQ_HAS_VLAN;
		packet->vlan_proto = info->vlan_proto;
		packet->vlan_tci = info->vlan_tci;
	}
	link_fill(packet, frame, info->link, slot);
	bytes_fill(capture, packet, frame, slot);
}

static bool is_packet(const struct ipq_capture *capture, const struct pcap_pkthdr *header,
		      const uint8_t *bytes, struct ipq_link_info *info)
{
	enum ipq_link_payload carried = ipq_link_parse(capture->link, bytes, header->caplen, info);

	return (carried == IPQ_LINK_IP || (carried == IPQ_LINK_ARP && capture->takes_arp)) &&
	       header->len >= header->caplen && header->caplen - info->offset <= IPQ_PACKET_MAX;
}

/* Takes one frame into the batch. False for one that no slot can hold. */
static bool take(struct ipq_capture *capture, struct ipq_batch *batch,
		 const struct pcap_pkthdr *header, const uint8_t *bytes)
{
	uint32_t number = capture->frame_count;
	struct frame *frame = &capture->frames[number];
	uint8_t *slot = batch->slots + (size_t)number * batch->slot_size;
	struct ipq_link_info info;

	if (header->caplen > batch->slot_size)
		return false;
	capture->frame_count++;
	capture->counters.frames++;
	memcpy(slot, bytes, header->caplen);
	*frame = (struct frame){.header = *header, .packet = -1};
	if (!is_packet(capture, header, bytes, &info)) {
		capture->counters.unjudged++;
		return true;
	}
	frame->offset = info.offset;
	frame->packet = (int)batch->count;
	packet_fill(capture, ipq_batch_add(batch), frame, &info, slot);
	return true;
}

/* Whether the frame is one of those that are wanted. */
static bool is_chosen(const struct ipq_capture *capture, const struct pcap_pkthdr *header,
		      const uint8_t *bytes)
{
	return !capture->has_filter || pcap_offline_filter(&capture->filter, header, bytes) != 0;
}

/* The next one of them. 1, or 0 at the end of the file. They are chosen here, not by libpcap, which
 * would not tell how many are between them. */
static int next_frame(struct ipq_capture *capture, struct pcap_pkthdr **header,
		      const uint8_t **bytes)
{
	int ret;

	do {
		ret = capture->stopped ? PCAP_ERROR_BREAK
				       : pcap_next_ex(capture->in, header, bytes);
		capture->number++;
	} while (ret == 1 && !is_chosen(capture, *header, *bytes));
	if (ret == PCAP_ERROR)
		note_damage(capture, "the capture is damaged", pcap_geterr(capture->in));
	return ret == 1;
}

static int capture_receive(struct ipq_source *source, struct ipq_batch *batch)
{
	struct ipq_capture *capture = (struct ipq_capture *)source;
	struct pcap_pkthdr *header;
	const uint8_t *bytes;

	ipq_batch_clear(batch);
	while (capture->frame_count < batch->capacity && next_frame(capture, &header, &bytes)) {
		if (!take(capture, batch, header, bytes)) {
			note_damage(capture, "the capture is damaged",
				    "a frame over its snapshot length");
			break;
		}
		/* A batch of frames that are no packets has nobody to commit it. */
		if (capture->frame_count == batch->capacity && batch->count == 0)
			write_all(capture, batch);
	}
	if (batch->count == 0)
		write_all(capture, batch);
	return (int)batch->count;
}

static int capture_commit(struct ipq_source *source, struct ipq_batch *batch)
{
	write_all((struct ipq_capture *)source, batch);
	return 0;
}

/* Frames are written in the order in which their packets got their verdicts: what was judged
 * before, in this batch too, comes first. */
static int capture_commit_held(struct ipq_source *source, struct ipq_batch *batch,
			       struct ipq_packet *packet)
{
	struct ipq_capture *capture = (struct ipq_capture *)source;
	struct held *held;

	write_frames(capture, batch, batch->current);
	held = held_take(capture, packet->packet_id);
	packet->held = 0;
	if (held)
		write_judged(capture, &held->frame, held->bytes, packet);
	else if (packet->verdict != IPQ_DROP && packet->set & IPQ_SET_PAYLOAD)
		capture->counters.changed++;
	free(held);
	return 0;
}

static int capture_stop(struct ipq_source *source)
{
	((struct ipq_capture *)source)->stopped = true;
	return 0;
}

static void capture_close(struct ipq_source *source)
{
	ipq_capture_close((struct ipq_capture *)source);
}

/* The object */

/* Whether times have nanoseconds, by the first bytes of the input, which stay to be read. A pcapng
 * file may have any resolution. */
static bool has_nanoseconds(FILE *file)
{
	uint8_t bytes[4];
	size_t len = fread(bytes, 1, sizeof(bytes), file);
	uint32_t magic = 0;

	memcpy(&magic, bytes, len);
	while (len > 0)
		ungetc(bytes[--len], file);
	return magic == MAGIC_NSEC || magic == MAGIC_NSEC_SWAPPED || magic == MAGIC_PCAPNG;
}

/* 0 where there is none, as of a pipe. */
static off_t size_of(FILE *file)
{
	struct stat info;

	return fstat(fileno(file), &info) == 0 && S_ISREG(info.st_mode) ? info.st_size : 0;
}

static unsigned int precision_of(const struct ipq_capture *capture)
{
	return capture->is_nano ? PCAP_TSTAMP_PRECISION_NANO : PCAP_TSTAMP_PRECISION_MICRO;
}

/* libpcap reads and writes each frame by two calls of stdio, which lock; nobody else uses the file.
 * The buffer is FILE_BUFFER bytes. Standard input and output outlive it, and keep their own. */
static void file_prepare(FILE *file, char *buffer)
{
	__fsetlocking(file, FSETLOCKING_BYCALLER);
	if (file != stdin && file != stdout)
		setvbuf(file, buffer, _IOFBF, FILE_BUFFER);
}

static enum ipq_capture_fault input_open(struct ipq_capture *capture, const char *path, char *text)
{
	bool is_stdin = strcmp(path, "-") == 0;
	FILE *file = is_stdin ? stdin : fopen(path, "rbe");
	char why[PCAP_ERRBUF_SIZE];
	const char *name;

	if (!file) {
		snprintf(text, IPQ_CAPTURE_TEXT, "cannot read the capture %s: %s", path,
			 strerror(errno));
		return IPQ_CAPTURE_NO_FILE;
	}
	capture->size = size_of(file);
	file_prepare(file, capture->in_buffer);
	capture->is_nano = has_nanoseconds(file);
	capture->in = pcap_fopen_offline_with_tstamp_precision(file, precision_of(capture), why);
	if (!capture->in) {
		snprintf(text, IPQ_CAPTURE_TEXT, "%s is no capture: %s", path, why);
		if (!is_stdin)
			fclose(file);
		return IPQ_CAPTURE_BAD_FILE;
	}
	capture->link = pcap_datalink(capture->in);
	if (ipq_link_known(capture->link))
		return IPQ_CAPTURE_OK;
	name = pcap_datalink_val_to_name(capture->link);
	snprintf(text, IPQ_CAPTURE_TEXT,
		 "%s: link type %s (%d) is not known here; Ethernet, Linux cooked, raw IP and "
		 "loopback are",
		 path, name ? name : "without a name", capture->link);
	return IPQ_CAPTURE_BAD_FILE;
}

static enum ipq_capture_fault filter_set(struct ipq_capture *capture, const char *expression,
					 char *text)
{
	if (pcap_compile(capture->in, &capture->filter, expression, 1, PCAP_NETMASK_UNKNOWN) < 0) {
		snprintf(text, IPQ_CAPTURE_TEXT, "the filter expression \"%s\" is wrong: %s",
			 expression, pcap_geterr(capture->in));
		return IPQ_CAPTURE_BAD_FILTER;
	}
	capture->has_filter = true;
	return IPQ_CAPTURE_OK;
}

/* Opening the input to be written would empty it before it is read. */
static bool is_input(const struct ipq_capture *capture, const char *path)
{
	struct stat in, out;

	return fstat(fileno(pcap_file(capture->in)), &in) == 0 && S_ISREG(in.st_mode) &&
	       stat(path, &out) == 0 && in.st_dev == out.st_dev && in.st_ino == out.st_ino;
}

static enum ipq_capture_fault output_open(struct ipq_capture *capture, const char *path, char *text)
{
	FILE *file;
	pcap_t *like;

	if (is_input(capture, path)) {
		snprintf(text, IPQ_CAPTURE_TEXT,
			 "cannot write the capture %s: it is the one that is read; name another "
			 "file",
			 path);
		return IPQ_CAPTURE_NO_OUTPUT;
	}
	file = strcmp(path, "-") == 0 ? stdout : fopen(path, "wbe");
	like = file ? pcap_open_dead_with_tstamp_precision(
			      capture->link, pcap_snapshot(capture->in), precision_of(capture))
		    : NULL;
	/* Before the first byte: the buffer of a file in use is not to be changed. */
	if (file)
		file_prepare(file, capture->out_buffer);
	if (like)
		capture->out = pcap_dump_fopen(like, file);
	if (!capture->out) {
		snprintf(text, IPQ_CAPTURE_TEXT, "cannot write the capture %s: %s", path,
			 like ? pcap_geterr(like) : strerror(errno));
		if (file && file != stdout)
			fclose(file);
	}
	if (like)
		pcap_close(like);
	return capture->out ? IPQ_CAPTURE_OK : IPQ_CAPTURE_NO_OUTPUT;
}

static enum ipq_capture_fault files_open(struct ipq_capture *capture,
					 const struct ipq_capture_options *options, char *text)
{
	enum ipq_capture_fault fault = input_open(capture, options->read, text);

	if (fault == IPQ_CAPTURE_OK && options->filter)
		fault = filter_set(capture, options->filter, text);
	/* Last: what is there is not lost for a wrong expression. */
	if (fault == IPQ_CAPTURE_OK && options->write)
		fault = output_open(capture, options->write, text);
	return fault;
}

enum ipq_capture_fault ipq_capture_open(struct ipq_capture **capture,
					const struct ipq_capture_options *options, char *text)
{
	struct ipq_capture *c = calloc(1, sizeof(*c));
	enum ipq_capture_fault fault;
	uint32_t snapshot;

	if (c)
		c->changed = malloc(IPQ_LINK_ROOM + IPQ_PACKET_MAX);
	if (!c || !c->changed) {
		snprintf(text, IPQ_CAPTURE_TEXT, "cannot open the capture: %s", strerror(ENOMEM));
		free(c);
		return IPQ_CAPTURE_NO_FILE;
	}
	fault = files_open(c, options, text);
	if (fault != IPQ_CAPTURE_OK) {
		ipq_capture_close(c);
		return fault;
	}
	c->held_end = &c->held;
	c->is_meta = options->is_meta;
	c->takes_arp = options->takes_arp;
	c->copy_range = options->copy_range;
	snapshot = (uint32_t)pcap_snapshot(c->in);
	c->slot_size = (snapshot > IPQ_PACKET_MAX ? snapshot : IPQ_PACKET_MAX) + IPQ_LINK_ROOM;
	c->source = (struct ipq_source){
		.receive = capture_receive,
		.commit = capture_commit,
		.commit_held = capture_commit_held,
		.stop = capture_stop,
		.close = capture_close,
	};
	*capture = c;
	return IPQ_CAPTURE_OK;
}

struct ipq_source *ipq_capture_source(struct ipq_capture *capture)
{
	return &capture->source;
}

uint32_t ipq_capture_slot_size(const struct ipq_capture *capture)
{
	return capture->slot_size;
}

const struct ipq_capture_counters *ipq_capture_counters(const struct ipq_capture *capture)
{
	return &capture->counters;
}

double ipq_capture_progress(const struct ipq_capture *capture)
{
	return capture->size > 0 ? (double)ftello(pcap_file(capture->in)) / (double)capture->size
				 : -1;
}

const char *ipq_capture_damage(const struct ipq_capture *capture)
{
	return capture->is_damaged ? capture->damage : NULL;
}

enum ipq_capture_fault ipq_capture_flush(struct ipq_capture *capture)
{
	if (!capture->out)
		return IPQ_CAPTURE_OK;
	if (pcap_dump_flush(capture->out) < 0)
		note_damage(capture, "cannot write the capture", strerror(errno));
	return ferror(pcap_dump_file(capture->out)) ? IPQ_CAPTURE_NO_OUTPUT : IPQ_CAPTURE_OK;
}

void ipq_capture_close(struct ipq_capture *capture)
{
	if (!capture)
		return;
	while (capture->held)
		free(held_take(capture, capture->held->packet_id));
	if (capture->out)
		pcap_dump_close(capture->out);
	if (capture->has_filter)
		pcap_freecode(&capture->filter);
	if (capture->in)
		pcap_close(capture->in);
	free(capture->changed);
	free(capture);
}
