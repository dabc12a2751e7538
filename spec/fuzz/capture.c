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

static void run(struct ipq_capture *capture, struct input *in)
{
	struct ipq_source *source = ipq_capture_source(capture);
	const struct ipq_capture_counters *counters = ipq_capture_counters(capture);
	struct ipq_batch *batch;
	struct kept kept = {.count = 0};
	uint64_t packets = 0;
	int count;

	CHECK(ipq_batch_new(&batch, 4, IPQ_CAPTURE_SLOT_SIZE) == 0);
	while ((count = source->receive(source, batch)) > 0) {
		CHECK((uint32_t)count == batch->count && batch->count <= batch->capacity);
		packets += batch->count;
		for (uint32_t i = 0; i < batch->count; i++) {
			batch->current = i;
			packet_check(batch, &batch->packets[i]);
			if (kept.count > 0 && take8(in) & 1)
				judge_kept(&kept, source, batch);
			judge(&batch->packets[i], in);
			if (kept.count < KEPT_MOST && take8(in) & 1)
				keep(&kept, &batch->packets[i]);
		}
		CHECK(source->commit(source, batch) == 0);
		CHECK(ipq_capture_progress(capture) <= 1);
	}
	CHECK(count == 0 && counters->frames == packets + counters->other + counters->cut_off +
							counters->too_long + counters->hidden +
							counters->unknown_link);
	while (kept.count > 0)
		judge_kept(&kept, source, batch);
	CHECK(counters->written <= counters->frames && counters->changed <= counters->frames);
	ipq_batch_free(batch);
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

	if (ipq_capture_open(&capture, &options, text) != IPQ_CAPTURE_OK) {
		CHECK(memchr(text, 0, sizeof(text)) && text[0] && !strchr(text, '\n'));
		return 0;
	}
	run(capture, &choices);
	CHECK(ipq_capture_flush(capture) == IPQ_CAPTURE_OK);
	if (options.write)
		read_back(out, ipq_capture_counters(capture)->written);
	ipq_capture_close(capture);
	return 0;
}
