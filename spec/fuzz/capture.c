/* Capture files: read, judged, changed and written, whatever they hold. */
#include "file.h"
#include "bindings/capture/capture.h"
#include "bindings/capture/link.h"

#include <linux/netfilter.h>
#include <pcap/dlt.h>

enum { CHANGED = IPQ_SET_PAYLOAD };

static const char *const filters[] = {NULL, "tcp", "ip6 or vlan", "no such expression"};

/* A link header in memory that ends with it, which libpcap's does not. */
static void link_check(const uint8_t *bytes, size_t len)
{
	static const int types[] = {DLT_EN10MB, DLT_LINUX_SLL, DLT_LINUX_SLL2, DLT_RAW,
				    DLT_IPV4,	DLT_IPV6,      DLT_NULL,       DLT_LOOP};
	uint8_t *frame = own(bytes, len);
	struct ipq_link_info info;

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (ipq_link_parse(types[i], frame, (uint32_t)len, &info) != IPQ_LINK_CUT_OFF)
			CHECK(info.offset <= len);
	free(frame);
}

static void packet_check(const struct ipq_batch *batch, const struct ipq_packet *packet)
{
	const uint8_t *slots_end = batch->slots + (size_t)batch->capacity * batch->slot_size;
	const uint8_t *end = packet->data + packet->data_len;

	CHECK(packet->data_len <= packet->len || packet->len == 0);
	CHECK(packet->data_len <= IPQ_PACKET_MAX);
	CHECK(packet->verdict == batch->default_verdict && packet->set == 0);
	CHECK(packet->family == NFPROTO_IPV4 || packet->family == NFPROTO_IPV6);
	if (packet->data == packet->spare)
		return;
	CHECK(packet->data >= batch->slots && end <= slots_end);
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
}

static void run(struct ipq_capture *capture, struct input *in)
{
	struct ipq_source *source = ipq_capture_source(capture);
	const struct ipq_capture_counters *counters = ipq_capture_counters(capture);
	struct ipq_batch *batch;
	uint64_t packets = 0;
	int count;

	CHECK(ipq_batch_new(&batch, 4, ipq_capture_slot_size(capture)) == 0);
	while ((count = source->receive(source, batch)) > 0) {
		CHECK((uint32_t)count == batch->count && batch->count <= batch->capacity);
		packets += batch->count;
		for (uint32_t i = 0; i < batch->count; i++) {
			packet_check(batch, &batch->packets[i]);
			judge(&batch->packets[i], in);
		}
		CHECK(source->commit(source, batch) == 0);
		CHECK(ipq_capture_progress(capture) <= 1);
	}
	CHECK(count == 0 && counters->frames == packets + counters->unjudged);
	CHECK(counters->written <= counters->frames && counters->changed <= counters->frames);
	ipq_batch_free(batch);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	/* Choices come first, so that what is behind them is a file as tcpdump writes it. */
	struct input choices = {bytes, len < 16 ? len : 16};
	uint8_t flags = take8(&choices);
	uint16_t range = take16(&choices);
	struct ipq_capture_options options = {
		.read = file_of(bytes + (len < 16 ? len : 16), len < 16 ? 0 : len - 16),
		.write = flags & 1 ? "/dev/null" : NULL,
		.filter = flags & 0x10 ? filters[flags >> 5 & 3] : NULL,
		.is_meta = flags & 2,
		.copy_range = flags & 4 ? range : IPQ_PACKET_MAX,
	};
	const uint8_t *frame = bytes + (len < 80 ? len : 80); /* as many of a file's first one */
	char text[IPQ_CAPTURE_TEXT] = "";
	struct ipq_capture *capture;

	link_check(frame, (size_t)(bytes + len - frame) % 64);
	if (ipq_capture_open(&capture, &options, text) != IPQ_CAPTURE_OK) {
		CHECK(memchr(text, 0, sizeof(text)) && text[0] && !strchr(text, '\n'));
		return 0;
	}
	run(capture, &choices);
	CHECK(ipq_capture_flush(capture) == IPQ_CAPTURE_OK);
	ipq_capture_close(capture);
	return 0;
}
