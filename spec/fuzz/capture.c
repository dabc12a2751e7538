/* Capture files: read, judged, changed and written, whatever they hold. */
#include "file.h"
#include "bindings/capture/capture.h"

enum { CHANGED = IPQ_SET_PAYLOAD, KEPT_MOST = 8 };

/* Packets that are held, as a filter's handles have them: copies, of their bytes too. */
struct kept {
	uint32_t count;
	struct ipq_packet packets[KEPT_MOST];
};

/* Of a file that keeps what was written last. */
static const char *output_name(void)
{
	static char name[64];
	int fd;

	if (!name[0]) {
		fd = memfd_create("output", MFD_CLOEXEC);
		CHECK(fd >= 0);
		snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	}
	return name;
}

static const char *const filters[] = {NULL, "tcp", "ip6 or vlan", "no such expression"};

static void packet_check(const struct ipq_batch *batch, const struct ipq_packet *packet)
{
	CHECK(packet->data_len <= packet->len || packet->len == 0);
	CHECK(packet->data_len <= IPQ_PACKET_MAX);
	CHECK(packet->verdict == batch->default_verdict && packet->set == 0);
	CHECK(packet->data == packet->spare && packet->came_data_len == packet->data_len);
	CHECK(memcmp(packet->data, packet->came, packet->data_len) == 0);
}

static void keep(struct kept *kept, struct ipq_packet *packet)
{
	struct ipq_packet *copy = &kept->packets[kept->count++];
	uint8_t *bytes = malloc(packet->data_len + packet->came_data_len + 1);

	CHECK(bytes);
	packet->held = 1;
	*copy = *packet;
	copy->data = memcpy(bytes, packet->data, packet->data_len);
	copy->came = memcpy(bytes + packet->data_len, packet->came, packet->came_data_len);
	copy->why = NULL;
	copy->l2hdr = NULL;
	copy->l2hdr_len = 0;
}

/* The one that is held longest gets its verdict. */
static void judge_kept(struct kept *kept, struct ipq_source *source, struct ipq_batch *batch)
{
	struct ipq_packet packet = kept->packets[0];

	memmove(kept->packets, kept->packets + 1, --kept->count * sizeof(packet));
	CHECK(source->commit_held(source, batch, &packet) == 0 && packet.held == 0);
	free(packet.data);
}

/* Another link header, longer or shorter. */
static void change_link(struct ipq_packet *packet, struct input *in)
{
	uint16_t len = (uint16_t)(take16(in) % (packet->l2hdr_room + 1));

	if (len > packet->l2hdr_len)
		memset(packet->l2hdr + packet->l2hdr_len, len & 0xff, len - packet->l2hdr_len);
	packet->l2hdr_len = len;
	packet->set |= IPQ_SET_LINK;
}

static void judge(struct ipq_packet *packet, struct input *in)
{
	static const uint32_t verdicts[] = {IPQ_ACCEPT, IPQ_DROP, IPQ_REPEAT, IPQ_STOP};
	uint8_t choice = take8(in);
	uint32_t size = packet->data_len;
	int ret = 0;

	packet->verdict = verdicts[choice & 3];
	if (choice & 4)
		ret = ipq_rewrite_replace(packet, 0, 0, "fifteen letters", choice >> 4);
	else if (choice & 8 && size)
		ret = ipq_rewrite_replace(packet, choice % size, 1, "", 0);
	if (ret == 0 && packet->dirty && ipq_rewrite_finish(packet) != 0)
		packet->set &= ~(uint32_t)CHANGED;
	if ((choice & 0x60) == 0x60)
		change_link(packet, in);
}

/* Sends the packet, bytes of either version, an answer or not, because of it or not; or rejects it. Gives how many there
 * are. */
static uint32_t send_some(struct ipq_outbox *outbox, struct ipq_packet *packet, uint8_t choice)
{
	static const uint8_t v4[20] = {0x45, 0, 0, 20, [8] = 64, 17, [12] = 10,
				       0,    0, 1, 10, 0,	 0,  2};
	static const uint8_t v6[40] = {0x60, [6] = 59, 64};
	struct ipq_packet *cause = choice & 8 ? packet : NULL;
	uint32_t before = outbox->count;
	uint8_t answer[20];

	outbox->timer_us = choice & 0x10 ? choice * 1000003LL : 0;
	if (choice & 1)
		ipq_outbox_bytes(outbox, v4, sizeof(v4), cause);
	if (choice & 2)
		ipq_outbox_bytes(outbox, v6, sizeof(v6), cause);
	if (choice & 4 && packet->ip_version)
		ipq_outbox_packet(outbox, packet, cause);
	if (choice & 0x20 && packet->ip_version)
		ipq_outbox_reject(outbox, packet, IPQ_REJECT_PORT_UNREACHABLE, NULL);
	if (choice & 0x40 && packet->ip_version == 4) {
		memcpy(answer, v4, sizeof(answer));
		memcpy(answer + 16, packet->data + packet->l3 + 12, 4);
		ipq_outbox_bytes(outbox, answer, sizeof(answer), cause);
	}
	outbox->timer_us = 0;
	return outbox->count - before;
}

/* Closes the capture. Gives how many frames were accepted. */
static uint64_t run(struct ipq_capture *capture, struct input *in)
{
	struct ipq_source *source = ipq_capture_source(capture);
	const struct ipq_capture_counters *counters = ipq_capture_counters(capture);
	struct ipq_batch *batch;
	struct kept kept = {.count = 0};
	uint64_t packets = 0, sent = 0, written;
	struct ipq_outbox *outbox;
	int count;

	CHECK(ipq_batch_new(&batch, 4, IPQ_CAPTURE_SLOT_SIZE) == 0);
	CHECK(ipq_outbox_new(&outbox, batch, IPQ_SENT_MARK) == 0);
	ipq_capture_send(capture, outbox, NULL);
	while ((count = source->receive(source, batch)) > 0) {
		CHECK((uint32_t)count == batch->count && batch->count <= batch->capacity);
		packets += batch->count;
		for (uint32_t i = 0; i < batch->count; i++) {
			batch->current = i;
			packet_check(batch, &batch->packets[i]);
			ipq_header_parse(&batch->packets[i]);
			sent += send_some(outbox, &batch->packets[i], take8(in));
			if (kept.count > 0 && take8(in) & 1)
				judge_kept(&kept, source, batch);
			judge(&batch->packets[i], in);
			if (kept.count < KEPT_MOST && take8(in) & 1)
				keep(&kept, &batch->packets[i]);
		}
		CHECK(source->commit(source, batch) == 0 && outbox->count == 0);
		CHECK(ipq_capture_progress(capture) <= 1);
	}
	CHECK(count == 0 && counters->frames == packets + counters->other + counters->cut_off +
							counters->too_long + counters->hidden +
							counters->unknown_link);
	while (kept.count > 0)
		judge_kept(&kept, source, batch);
	batch->count = 0;
	batch->current = 0;
	if (packets > 0)
		sent += send_some(outbox, &batch->packets[0], 3);
	ipq_outbox_flush(outbox);
	CHECK(batch->counters.sent + batch->counters.unsent[IPQ_UNSENT_ROUTE] == sent);
	CHECK(counters->changed <= counters->frames);
	CHECK(ipq_capture_flush(capture) == IPQ_CAPTURE_OK);
	written = counters->written;
	ipq_capture_close(capture);
	ipq_outbox_free(outbox);
	ipq_batch_free(batch);
	return written;
}

/* What was written is a capture of as many frames, whole ones. */
static void read_back(const char *path, uint64_t count)
{
	const struct ipq_capture_options options = {
		.read = &path,
		.read_count = 1,
		.copy_range = IPQ_PACKET_MAX,
	};
	char text[IPQ_CAPTURE_TEXT] = "";
	struct ipq_capture *capture;
	struct ipq_source *source;
	struct ipq_batch *batch;

	CHECK(ipq_batch_new(&batch, 4, IPQ_CAPTURE_SLOT_SIZE) == 0);
	CHECK(ipq_capture_open(&capture, &options, text) == IPQ_CAPTURE_OK);
	source = ipq_capture_source(capture);
	while (source->receive(source, batch) > 0)
		CHECK(source->commit(source, batch) == 0);
	CHECK(!ipq_capture_damage(capture));
	CHECK(ipq_capture_counters(capture)->frames == count);
	ipq_capture_close(capture);
	ipq_batch_free(batch);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	/* Choices come first, so that what is behind them is a file as tcpdump writes it. */
	struct input choices = {bytes, len < 32 ? len : 32};
	uint8_t flags = take8(&choices), more = take8(&choices);
	uint16_t range = take16(&choices);
	const char *file = file_of(bytes + (len < 32 ? len : 32), len < 32 ? 0 : len - 32);
	const char *const files[] = {file, file};
	const char *out = output_name();
	struct ipq_capture_options options = {
		.read = files,
		.read_count = flags & 8 ? 2 : 1,
		.write = flags & 1 ? out : NULL,
		.write_dropped = more & 1 ? "/dev/null" : NULL,
		.filter = flags & 0x10 ? filters[flags >> 5 & 3] : NULL,
		.limit = more >> 4,
		.is_meta = flags & 2,
		.takes_arp = more & 2,
		.drops_other = more & 4,
		.mends = more & 8,
		.copy_range = flags & 4 ? range : IPQ_PACKET_MAX,
	};
	char text[IPQ_CAPTURE_TEXT] = "";
	struct ipq_capture *capture;
	uint64_t written;

	if (ipq_capture_open(&capture, &options, text) != IPQ_CAPTURE_OK) {
		CHECK(memchr(text, 0, sizeof(text)) && text[0] && !strchr(text, '\n'));
		return 0;
	}
	written = run(capture, &choices);
	if (options.write)
		read_back(out, written);
	return 0;
}
