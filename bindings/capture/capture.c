#include "capture.h"
#include "choice.h"
#include "comment.h"
#include "link.h"
#include "output.h"
#include "reader.h"
#include "sent.h"
#include "lib/packet/packet.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>
#include <linux/if_ether.h>
#include <pcap/pcap.h>

/* A frame of the batch, in reading order. */
struct entry {
	struct ipq_frame frame;
	enum ipq_link_payload payload;
	int packet;	   /* its number in the batch, -1: it is none */
	uint32_t offset;   /* of the packet in the frame */
	uint32_t whole;	   /* bytes of the packet in the frame: what is behind them is padding */
	uint32_t wire_len; /* bytes that the packet had on the wire */
	uint16_t link_len; /* of link, once the packet is judged, or held */
	uint8_t link[IPQ_LINK_ROOM]; /* the link header, as the filter leaves it */
};

/* A frame whose packet is held: it is written when that has its verdict. */
struct held {
	struct held *next;
	uint32_t packet_id;
	struct entry entry;
	uint8_t bytes[];
};

/* A frame that is put together anew. */
struct changed {
	uint32_t link_len;
	uint32_t caplen;
	uint32_t len; /* on the wire */
	uint8_t bytes[IPQ_LINK_ROOM + IPQ_PACKET_MAX];
};

struct ipq_capture {
	struct ipq_source source;
	struct ipq_capture_options options;
	unsigned int files; /* opened so far */
	off_t sizes;	    /* of all files, 0: not known */
	off_t sizes_done;   /* of those that are read */
	struct ipq_reader reader;
	bool is_reading;
	struct ipq_choice choice;
	uint64_t number; /* of the frame that was read last, from 1 */
	bool stopped;
	uint32_t entry_count;
	uint32_t entries_done; /* written, dropped or held */
	struct entry entries[IPQ_BATCH_MAX];
	struct held *held; /* as they came */
	struct held **held_end;
	struct ipq_output accepted;
	struct ipq_output dropped;
	struct ipq_sending sending;
	struct changed changed;
	char comment[IPQ_COMMENT_SIZE];
	char whys[IPQ_BATCH_MAX][IPQ_WHY_SIZE];
	struct ipq_capture_counters counters;
	uint16_t link_type; /* of a frame that was read, or of the file if none was */
	uint16_t unknown_link;
	char damage[IPQ_CAPTURE_TEXT];
};

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static uint32_t most(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

/* The first one is told. */
static void note_damage(struct ipq_capture *capture, const char *what)
{
	if (!capture->damage[0])
		snprintf(capture->damage, sizeof(capture->damage), "%s", what);
}

static const char *path_of(const struct ipq_capture *capture)
{
	return capture->options.read[capture->files - 1];
}

/* Writing */

/* What a comment says, if there is a place for one. */
static const char *comment(struct ipq_capture *capture, const struct ipq_output *output,
			   const struct entry *entry, const struct ipq_packet *packet,
			   bool is_mended)
{
	const struct ipq_comment_link link = {
		.before = entry->frame.bytes,
		.after = entry->link,
		.before_len = entry->offset,
		.after_len = entry->link_len,
	};

	if (!output->file || !output->is_ng || output->is_bare)
		return NULL;
	ipq_comment(capture->comment, packet, &link, is_mended);
	return capture->comment;
}

/* Puts a frame together: the link header and the packet, each as the filter left it or as it came,
 * and behind a packet that was left alone what lay there. What is missing of a packet that is cut off
 * stays so. */
static void changed_fill(struct ipq_capture *capture, const struct entry *entry,
			 const struct ipq_packet *packet)
{
	const struct ipq_frame *frame = &entry->frame;
	struct changed *changed = &capture->changed;
	bool has_link = packet->set & IPQ_SET_LINK, has_packet = packet->set & IPQ_SET_PAYLOAD;
	uint32_t len = has_packet ? packet->data_len : frame->caplen - entry->offset;

	changed->link_len = has_link ? entry->link_len : entry->offset;
	memcpy(changed->bytes, has_link ? entry->link : frame->bytes, changed->link_len);
	if (has_packet)
		ipq_link_set_length(frame->link_type, changed->bytes, changed->link_len,
				    packet->len);
	memcpy(changed->bytes + changed->link_len,
	       has_packet ? packet->data : frame->bytes + entry->offset, len);
	changed->caplen = changed->link_len + len;
	changed->len = changed->link_len +
		       (has_packet ? packet->len : most(frame->len, frame->caplen) - entry->offset);
}

static void accept_changed(struct ipq_capture *capture, const struct entry *entry,
			   const struct ipq_packet *packet, bool is_mended)
{
	const struct changed *changed = &capture->changed;

	ipq_output_changed(&capture->accepted, &entry->frame, changed->bytes, changed->caplen,
			   most(changed->len, changed->caplen),
			   comment(capture, &capture->accepted, entry, packet, is_mended));
}

/* Makes the checksums right of the packet in a frame that was put together. False: they are. */
static bool changed_mend(struct ipq_capture *capture, const struct entry *entry,
			 const struct ipq_packet *packet)
{
	struct ipq_packet whole = *packet;
	bool is_other = packet->set & IPQ_SET_PAYLOAD;

	if (entry->payload != IPQ_LINK_IP)
		return false;
	whole.data = capture->changed.bytes + capture->changed.link_len;
	whole.data_len = is_other ? packet->data_len : entry->whole;
	whole.len = is_other ? packet->len : entry->wire_len;
	whole.cut = IPQ_CUT_CAPTURE;
	whole.parsed = 0;
	whole.unready = IPQ_UNREADY_NONE;
	return ipq_sums_mend(&whole);
}

static void accept_mended(struct ipq_capture *capture, const struct entry *entry,
			  const struct ipq_packet *packet)
{
	bool is_changed = packet->set & (IPQ_SET_PAYLOAD | IPQ_SET_LINK), is_mended;

	changed_fill(capture, entry, packet);
	is_mended = changed_mend(capture, entry, packet);
	capture->counters.changed += is_changed;
	capture->counters.mended += is_mended;
	if (is_changed || is_mended)
		accept_changed(capture, entry, packet, is_mended);
	else
		ipq_output_frame(&capture->accepted, &entry->frame, NULL);
}

static void accept_packet(struct ipq_capture *capture, const struct entry *entry,
			  const struct ipq_packet *packet)
{
	if (capture->options.mends) {
		accept_mended(capture, entry, packet);
	} else if (packet->set & (IPQ_SET_PAYLOAD | IPQ_SET_LINK)) {
		capture->counters.changed++;
		changed_fill(capture, entry, packet);
		accept_changed(capture, entry, packet, false);
	} else {
		ipq_output_frame(&capture->accepted, &entry->frame, NULL);
	}
}

static void write_judged(struct ipq_capture *capture, const struct entry *entry,
			 const struct ipq_packet *packet)
{
	if (packet->verdict != IPQ_DROP)
		accept_packet(capture, entry, packet);
	else
		ipq_output_frame(&capture->dropped, &entry->frame,
				 comment(capture, &capture->dropped, entry, packet, false));
}

/* A frame that no filter is asked about. */
static void write_other(struct ipq_capture *capture, const struct entry *entry,
			uint32_t error_verdict)
{
	bool is_other = entry->payload == IPQ_LINK_NO_IP || entry->payload == IPQ_LINK_ARP;
	bool is_dropped = is_other ? capture->options.drops_other : error_verdict == IPQ_DROP;

	ipq_output_frame(is_dropped ? &capture->dropped : &capture->accepted, &entry->frame, NULL);
}

static bool is_writing(const struct ipq_capture *capture)
{
	return capture->accepted.file || capture->dropped.file;
}

/* Only what is written is kept. */
static void hold(struct ipq_capture *capture, const struct entry *entry,
		 const struct ipq_packet *packet)
{
	const struct ipq_frame *frame = &entry->frame;
	const uint8_t *from = frame->block ? frame->block : frame->bytes;
	uint32_t len = frame->block ? frame->block_len : frame->caplen;
	struct held *held;

	if (!is_writing(capture))
		return;
	held = malloc(sizeof(*held) + len);
	if (!held) {
		note_damage(capture, "not enough memory to keep a held packet");
		return;
	}
	*held = (struct held){.packet_id = packet->packet_id, .entry = *entry};
	memcpy(held->bytes, from, len);
	held->entry.frame.bytes = held->bytes + (frame->bytes - from);
	if (frame->block) {
		held->entry.frame.block = held->bytes;
		if (frame->options)
			held->entry.frame.options = held->bytes + (frame->options - from);
	}
	*capture->held_end = held;
	capture->held_end = &held->next;
}

/* Of a capture that tells nothing but what the filter has left, its link headers are that, too. */
static struct ipq_like like(const struct ipq_capture *capture, const struct entry *entry,
			    const struct ipq_packet *packet)
{
	bool is_left = packet->set & IPQ_SET_LINK || capture->options.is_private;
	const uint8_t *came = entry->frame.bytes;

	return (struct ipq_like){
		.frame = &entry->frame,
		.came = capture->options.is_private ? entry->link : came,
		.came_len = capture->options.is_private ? entry->link_len : entry->offset,
		.left = is_left ? entry->link : came,
		.left_len = is_left ? entry->link_len : entry->offset,
	};
}

/* A frame whose packet the filter has returned from. */
static void settle(struct ipq_capture *capture, struct entry *entry,
		   const struct ipq_packet *packet)
{
	struct ipq_like others;

	entry->link_len = packet->l2hdr_len;
	ipq_sent_before(&capture->sending, (uint32_t)entry->packet);
	if (packet->held)
		hold(capture, entry, packet);
	else
		write_judged(capture, entry, packet);
	others = like(capture, entry, packet);
	ipq_sent_behind(&capture->sending, (uint32_t)entry->packet, &others);
}

/* The frames before packet number end of the batch. */
static void write_entries(struct ipq_capture *capture, const struct ipq_batch *batch, uint32_t end)
{
	for (; capture->entries_done < capture->entry_count; capture->entries_done++) {
		struct entry *entry = &capture->entries[capture->entries_done];

		if (entry->packet < 0)
			write_other(capture, entry, batch->error_verdict);
		else if ((uint32_t)entry->packet < end)
			settle(capture, entry, &batch->packets[entry->packet]);
		else
			return;
	}
}

static void write_all(struct ipq_capture *capture, const struct ipq_batch *batch)
{
	write_entries(capture, batch, batch->count);
	ipq_sent_end(&capture->sending);
	capture->entry_count = 0;
	capture->entries_done = 0;
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

/* Packets */

/* The bytes that the filter sees. It works on a copy: what it began to change before it raised must
 * not be written. */
static void bytes_fill(const struct ipq_capture *capture, struct ipq_packet *packet,
		       const struct entry *entry)
{
	uint32_t range = capture->options.copy_range;

	packet->data = packet->spare;
	packet->data_len = 0;
	packet->len = 0;
	packet->came = entry->frame.bytes + entry->offset;
	packet->came_data_len = 0;
	if (capture->options.is_meta)
		return;
	packet->data_len = entry->whole < range ? entry->whole : range;
	packet->came_data_len = packet->data_len;
	packet->len = entry->wire_len;
	packet->present |= IPQ_HAS_PAYLOAD;
	packet->cut = entry->whole <= range ? IPQ_CUT_CAPTURE : IPQ_CUT_QUEUE;
	if (packet->len > packet->data_len)
		packet->present |= IPQ_HAS_CAP_LEN;
	memcpy(packet->spare, packet->came, packet->data_len);
}

/* The same of the link header. */
static void link_fill(struct ipq_packet *packet, struct entry *entry, uint8_t link)
{
	memcpy(entry->link, entry->frame.bytes, entry->offset);
	packet->link = link;
	packet->l2hdr = entry->link;
	packet->l2hdr_len = (uint16_t)entry->offset;
	packet->l2hdr_room = IPQ_LINK_ROOM;
	if (entry->offset > 0)
		packet->present |= IPQ_HAS_L2HDR;
}

/* Whether a checksum is wrong in the packet as it came. */
static bool came_wrong(struct ipq_packet *packet, const struct entry *entry)
{
	struct ipq_packet whole;

	if (entry->payload != IPQ_LINK_IP)
		return false;
	if (packet->data_len == entry->whole)
		return ipq_sums_wrong(packet) != 0;
	whole = *packet;
	whole.data = (uint8_t *)packet->came;
	whole.data_len = entry->whole;
	whole.len = entry->wire_len;
	whole.cut = IPQ_CUT_CAPTURE;
	return ipq_sums_wrong(&whole) != 0;
}

static void packet_fill(struct ipq_capture *capture, const struct ipq_batch *batch,
			struct ipq_packet *packet, struct entry *entry,
			const struct ipq_link_info *info)
{
	/* Its number among the frames, as tcpdump and tshark count. */
	packet->packet_id = (uint32_t)capture->number;
	packet->queue_num = 0;
	packet->why = capture->whys[packet - batch->packets];
	packet->why[0] = '\0';
	packet->priority = 0;
	packet->present = IPQ_HAS_PACKET_HDR | IPQ_HAS_TIMESTAMP | IPQ_HAS_SKB_INFO;
	packet->skb_info = IPQ_SKB_CSUM_NOTVERIFIED; /* a capture has what came, right or wrong */
	packet->timestamp_sec = entry->frame.sec;
	packet->timestamp_usec = entry->frame.nsec / 1000;
	ipq_link_describe(info, packet);
	link_fill(packet, entry, info->link);
	bytes_fill(capture, packet, entry);
	capture->counters.wrong_sums += came_wrong(packet, entry);
}

/* What of the frame is the packet's. */
static void measure(struct entry *entry, const struct ipq_link_info *info)
{
	const struct ipq_frame *frame = &entry->frame;
	uint32_t len = most(frame->len, frame->caplen), total;

	entry->offset = info->offset;
	entry->whole = least(frame->caplen, info->end) - info->offset;
	entry->wire_len = least(len, info->end) - info->offset + info->missing;
	/* What is behind it is padding, a trailer, a check sequence. */
	total = info->protocol == ETH_P_ARP
			? ipq_header_arp_len(frame->bytes + entry->offset, entry->whole)
			: ipq_header_total(frame->bytes + entry->offset, entry->whole);
	if (total > 0) {
		entry->whole = least(entry->whole, total);
		entry->wire_len = least(entry->wire_len, total);
	}
}

/* What the frame is to a filter, and counts it if that is none of its business. */
static enum ipq_link_payload payload_of(struct ipq_capture *capture, struct entry *entry,
					struct ipq_link_info *info)
{
	const struct ipq_frame *frame = &entry->frame;
	struct ipq_capture_counters *counters = &capture->counters;
	enum ipq_link_payload payload;

	if (!ipq_link_known(frame->link_type)) {
		if (!counters->unknown_link++)
			capture->unknown_link = frame->link_type;
		return IPQ_LINK_CUT_OFF;
	}
	payload = ipq_link_parse(frame->link_type, frame->bytes, frame->caplen, info);
	if (payload == IPQ_LINK_IP || payload == IPQ_LINK_ARP)
		measure(entry, info);
	/* With what lies behind it: the frame may be put together anew. */
	if ((payload == IPQ_LINK_IP || payload == IPQ_LINK_ARP) &&
	    frame->caplen - entry->offset > IPQ_PACKET_MAX)
		payload = IPQ_LINK_TOO_LONG;
	counters->cut_off += payload == IPQ_LINK_CUT_OFF;
	counters->too_long += payload == IPQ_LINK_TOO_LONG;
	counters->hidden += payload == IPQ_LINK_HIDDEN;
	counters->other += payload == IPQ_LINK_NO_IP ||
			   (payload == IPQ_LINK_ARP && !capture->options.takes_arp);
	return payload;
}

/* Takes the frame that was read into the batch. */
static void take(struct ipq_capture *capture, struct ipq_batch *batch)
{
	struct entry *entry = &capture->entries[capture->entry_count++];
	struct ipq_link_info info;

	capture->counters.frames++;
	capture->link_type = entry->frame.link_type;
	entry->packet = -1;
	entry->payload = payload_of(capture, entry, &info);
	if (entry->payload != IPQ_LINK_IP &&
	    (entry->payload != IPQ_LINK_ARP || !capture->options.takes_arp))
		return;
	entry->packet = (int)batch->count;
	packet_fill(capture, batch, ipq_batch_add(batch), entry, &info);
}

/* Reading */

/* A block of pcapng's that is no frame. */
static void pass_block(struct ipq_capture *capture, const struct ipq_frame *block)
{
	const struct ipq_reader *reader = &capture->reader;

	if (capture->counters.frames == 0 && reader->interface_count > 0)
		capture->link_type = reader->interfaces[0].link_type;
	ipq_output_block(&capture->accepted, block);
	ipq_output_block(&capture->dropped, block);
}

/* What a pcap file has in place of blocks. */
static void pass_section(struct ipq_capture *capture)
{
	const struct ipq_reader *reader = &capture->reader;

	if (reader->is_ng)
		return;
	capture->link_type = reader->interfaces[0].link_type;
	ipq_output_section(&capture->accepted, reader);
	ipq_output_section(&capture->dropped, reader);
}

static bool file_open(struct ipq_capture *capture, bool *is_missing)
{
	const char *path = capture->options.read[capture->files++];

	capture->is_reading =
		ipq_reader_open(&capture->reader, path, capture->reader.section, is_missing);
	return capture->is_reading;
}

static void file_close(struct ipq_capture *capture)
{
	uint32_t sections = capture->reader.section;

	capture->sizes_done += capture->reader.input.file_size;
	ipq_reader_close(&capture->reader);
	capture->reader.section = sections;
	capture->is_reading = false;
}

/* Opens the next file that can be read. False: there is none. */
static bool next_file(struct ipq_capture *capture)
{
	bool is_missing;

	while (!capture->stopped && capture->files < capture->options.read_count) {
		if (file_open(capture, &is_missing)) {
			pass_section(capture);
			return true;
		}
		note_damage(capture, capture->reader.text);
	}
	return false;
}

static void tell_damaged(struct ipq_capture *capture)
{
	char text[IPQ_CAPTURE_TEXT];

	snprintf(text, sizeof(text), "the capture %.200s is damaged: %s", path_of(capture),
		 capture->reader.text);
	note_damage(capture, text);
}

/* The next frame into entry. may_read: no frame of the batch lies in memory. IPQ_READ_END: there is
 * none any more. Frames are chosen here, where those between them are counted. */
static enum ipq_read next_frame(struct ipq_capture *capture, struct entry *entry, bool may_read)
{
	const struct ipq_capture_options *options = &capture->options;
	enum ipq_read ret;

	for (;;) {
		if (capture->stopped ||
		    (options->limit && capture->counters.frames >= options->limit))
			return IPQ_READ_END;
		if (!capture->is_reading && !may_read)
			return IPQ_READ_MORE;
		if (!capture->is_reading && !next_file(capture))
			return IPQ_READ_END;
		ret = ipq_reader_next(&capture->reader, &entry->frame, may_read);
		if (ret == IPQ_READ_MORE || ret == IPQ_READ_INTERRUPTED)
			return ret;
		if (ret == IPQ_READ_DAMAGED)
			tell_damaged(capture);
		if (ret == IPQ_READ_BLOCK)
			pass_block(capture, &entry->frame);
		capture->number += ret == IPQ_READ_FRAME;
		if (ret == IPQ_READ_FRAME && ipq_choice_takes(&capture->choice, &entry->frame))
			return ret;
		/* Frames of the batch lie in the file's memory. */
		if ((ret == IPQ_READ_DAMAGED || ret == IPQ_READ_END) && !may_read)
			return IPQ_READ_MORE;
		if (ret == IPQ_READ_DAMAGED || ret == IPQ_READ_END)
			file_close(capture);
	}
}

static int capture_receive(struct ipq_source *source, struct ipq_batch *batch)
{
	struct ipq_capture *capture = (struct ipq_capture *)source;
	enum ipq_read ret = IPQ_READ_FRAME;

	ipq_batch_clear(batch);
	while (ret == IPQ_READ_FRAME && capture->entry_count < batch->capacity) {
		ret = next_frame(capture, &capture->entries[capture->entry_count],
				 capture->entry_count == 0);
		if (ret == IPQ_READ_FRAME)
			take(capture, batch);
		/* A batch of frames that are no packets has nobody to commit it. */
		if (batch->count == 0 &&
		    (ret == IPQ_READ_MORE || capture->entry_count == batch->capacity)) {
			write_all(capture, batch);
			ret = IPQ_READ_FRAME;
		}
	}
	if (ret == IPQ_READ_INTERRUPTED && batch->count == 0)
		return -EINTR;
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
	struct ipq_like others = {.frame = NULL};
	struct held *held;

	write_entries(capture, batch, batch->current);
	held = held_take(capture, packet->packet_id);
	packet->held = 0;
	ipq_sent_before(&capture->sending, batch->current);
	if (held) {
		others = like(capture, &held->entry, packet);
		write_judged(capture, &held->entry, packet);
	} else if (packet->verdict != IPQ_DROP && packet->set & (IPQ_SET_PAYLOAD | IPQ_SET_LINK)) {
		capture->counters.changed++;
	}
	ipq_sent_held(&capture->sending, packet->packet_id, &others);
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

/* Whether all files are there, before any is read; and how large they are together. */
static bool inputs_check(struct ipq_capture *capture, char *text)
{
	const struct ipq_capture_options *options = &capture->options;
	bool is_known = true;
	struct stat info;

	for (unsigned int i = 0; i < options->read_count; i++) {
		const char *path = options->read[i];
		bool is_stdin = strcmp(path, "-") == 0;

		if (!is_stdin && access(path, R_OK) < 0) {
			snprintf(text, IPQ_CAPTURE_TEXT, "cannot read the capture %s: %s", path,
				 strerror(errno));
			return false;
		}
		is_known = (is_stdin ? fstat(STDIN_FILENO, &info) : stat(path, &info)) == 0 &&
			   S_ISREG(info.st_mode) && is_known;
		capture->sizes += is_known ? info.st_size : 0;
	}
	if (!is_known)
		capture->sizes = 0;
	return true;
}

static enum ipq_capture_fault input_open(struct ipq_capture *capture, char *text)
{
	const struct ipq_reader *reader = &capture->reader;
	bool is_missing;
	const char *name;
	int type;

	if (!inputs_check(capture, text))
		return IPQ_CAPTURE_NO_FILE;
	if (!file_open(capture, &is_missing)) {
		snprintf(text, IPQ_CAPTURE_TEXT, "%s", reader->text);
		return is_missing ? IPQ_CAPTURE_NO_FILE : IPQ_CAPTURE_BAD_FILE;
	}
	/* pcapng's interfaces come later. */
	type = reader->is_ng ? -1 : reader->interfaces[0].link_type;
	if (type < 0 || ipq_link_known(type))
		return IPQ_CAPTURE_OK;
	name = pcap_datalink_val_to_name(type);
	snprintf(text, IPQ_CAPTURE_TEXT, "%s: link type %s (%d) is not known here; %s are",
		 path_of(capture), name ? name : "without a name", type, ipq_link_names());
	return IPQ_CAPTURE_BAD_FILE;
}

/* What is behind a name, for which "-" stands by that descriptor. False where it is no regular file:
 * nothing is lost there where two names are of the same. */
static bool stat_file(const char *path, int standard, struct stat *info)
{
	return (strcmp(path, "-") == 0 ? fstat(standard, info) : stat(path, info)) == 0 &&
	       S_ISREG(info->st_mode);
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Opening an input to be written would empty it before it is read. */
static bool is_input(const struct ipq_capture *capture, const char *path)
{
	const struct ipq_capture_options *options = &capture->options;
	struct stat in, out;

	if (!stat_file(path, STDOUT_FILENO, &out))
		return false;
	for (unsigned int i = 0; i < options->read_count; i++)
		if (stat_file(options->read[i], STDIN_FILENO, &in) && is_same(&in, &out))
			return true;
	return false;
}

/* Whether it is the file of what is accepted by another name. */
static bool is_output(const struct ipq_capture *capture, const char *path)
{
	struct stat open, out;

	return capture->accepted.file && stat_file(path, STDOUT_FILENO, &out) &&
	       fstat(fileno(capture->accepted.file), &open) == 0 && is_same(&open, &out);
}

static bool ends_in(const char *path, const char *end)
{
	size_t len = strlen(path), end_len = strlen(end);

	return len >= end_len && strcmp(path + len - end_len, end) == 0;
}

/* Whether a file of that name is pcapng. Without a name that tells it is what is read. */
static bool is_pcapng(const struct ipq_capture *capture, const char *path)
{
	return ends_in(path, ".pcapng") || (capture->reader.is_ng && !ends_in(path, ".pcap"));
}

/* Whether pcap's times need nanoseconds. Of several inputs the others are not known yet. */
static bool is_nano(const struct ipq_capture *capture)
{
	return capture->reader.is_ng || capture->reader.units == 1000000000 ||
	       capture->options.read_count > 1;
}

static bool output_open(struct ipq_capture *capture, struct ipq_output *output, const char *path,
			char *text)
{
	int ret;

	if (!path)
		return true;
	if (is_input(capture, path)) {
		snprintf(text, IPQ_CAPTURE_TEXT,
			 "cannot write the capture %s: it is one that is read; name another file",
			 path);
		return false;
	}
	if (is_output(capture, path)) {
		snprintf(text, IPQ_CAPTURE_TEXT,
			 "cannot write the capture %s: it is %s, too; name another file", path,
			 capture->accepted.path);
		return false;
	}
	ret = ipq_output_open(output, path, &capture->reader, is_pcapng(capture, path),
			      is_nano(capture));
	output->is_bare = capture->options.is_private;
	if (ret == 0)
		return true;
	snprintf(text, IPQ_CAPTURE_TEXT, "cannot write the capture %s: %s", path, strerror(-ret));
	return false;
}

static enum ipq_capture_fault files_open(struct ipq_capture *capture, char *text)
{
	const struct ipq_capture_options *options = &capture->options;
	const struct ipq_reader *reader = &capture->reader;
	enum ipq_capture_fault fault = input_open(capture, text);

	if (fault != IPQ_CAPTURE_OK)
		return fault;
	if (!ipq_choice_init(&capture->choice, options->filter,
			     reader->is_ng ? -1 : reader->interfaces[0].link_type, text,
			     IPQ_CAPTURE_TEXT))
		return IPQ_CAPTURE_BAD_FILTER;
	/* Last: what is there is not lost for a wrong expression. */
	if (!output_open(capture, &capture->accepted, options->write, text) ||
	    !output_open(capture, &capture->dropped, options->write_dropped, text))
		return IPQ_CAPTURE_NO_OUTPUT;
	pass_section(capture);
	return IPQ_CAPTURE_OK;
}

enum ipq_capture_fault ipq_capture_open(struct ipq_capture **capture,
					const struct ipq_capture_options *options, char *text)
{
	struct ipq_capture *c = calloc(1, sizeof(*c));
	enum ipq_capture_fault fault;

	if (!c) {
		snprintf(text, IPQ_CAPTURE_TEXT, "cannot open the capture: %s", strerror(ENOMEM));
		return IPQ_CAPTURE_NO_FILE;
	}
	c->options = *options;
	c->link_type = DLT_EN10MB;
	c->held_end = &c->held;
	fault = files_open(c, text);
	if (fault != IPQ_CAPTURE_OK) {
		ipq_capture_close(c);
		return fault;
	}
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

/* What is sent while there is no batch. */
static void flush_sent(struct ipq_outbox *outbox)
{
	ipq_sent_end(&((struct ipq_capture *)outbox->way)->sending);
}

void ipq_capture_send(struct ipq_capture *capture, struct ipq_outbox *outbox,
		      void (*tell)(struct ipq_outbox *outbox))
{
	capture->sending.outbox = outbox;
	capture->sending.output = &capture->accepted;
	capture->sending.reader = &capture->reader;
	capture->sending.tell = tell;
	outbox->flush = flush_sent;
	outbox->way = capture;
}

static void send_end(struct ipq_sending *sending)
{
	if (!sending->outbox)
		return;
	sending->outbox->flush = NULL;
	sending->outbox->way = NULL;
	sending->outbox = NULL;
}

struct ipq_source *ipq_capture_source(struct ipq_capture *capture)
{
	return &capture->source;
}

const struct ipq_capture_counters *ipq_capture_counters(const struct ipq_capture *capture)
{
	return &capture->counters;
}

uint16_t ipq_capture_unknown_link(const struct ipq_capture *capture)
{
	return capture->unknown_link;
}

double ipq_capture_progress(const struct ipq_capture *capture)
{
	off_t done = capture->sizes_done;

	if (capture->sizes <= 0)
		return -1;
	if (capture->is_reading)
		done += ipq_input_offset(&capture->reader.input);
	return done < capture->sizes ? (double)done / (double)capture->sizes : 1;
}

const char *ipq_capture_damage(const struct ipq_capture *capture)
{
	return capture->damage[0] ? capture->damage : NULL;
}

const char *ipq_capture_failure(const struct ipq_capture *capture)
{
	if (capture->accepted.text[0])
		return capture->accepted.text;
	return capture->dropped.text[0] ? capture->dropped.text : NULL;
}

static void output_flush(struct ipq_capture *capture, struct ipq_output *output)
{
	if (output->file)
		ipq_output_end(output, capture->link_type);
}

enum ipq_capture_fault ipq_capture_flush(struct ipq_capture *capture)
{
	output_flush(capture, &capture->accepted);
	output_flush(capture, &capture->dropped);
	capture->counters.written = capture->accepted.written;
	capture->counters.written_dropped = capture->dropped.written;
	return ipq_capture_failure(capture) ? IPQ_CAPTURE_NO_OUTPUT : IPQ_CAPTURE_OK;
}

void ipq_capture_close(struct ipq_capture *capture)
{
	if (!capture)
		return;
	send_end(&capture->sending);
	while (capture->held)
		free(held_take(capture, capture->held->packet_id));
	ipq_output_close(&capture->accepted);
	ipq_output_close(&capture->dropped);
	ipq_choice_free(&capture->choice);
	if (capture->is_reading)
		file_close(capture);
	free(capture);
}
