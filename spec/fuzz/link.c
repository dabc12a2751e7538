/* Link headers: whatever a frame holds, what is told of it lies in it, and its lengths can be set. */
#include "fuzz.h"
#include "bindings/capture/link.h"

enum { ALL = 300, PAYLOAD = 1000 };

static void info_check(const struct ipq_link_info *info, const uint8_t *frame, size_t len)
{
	const uint8_t *prefix = (const uint8_t *)info->prefix;

	CHECK(info->offset <= len && info->end >= info->offset);
	CHECK(info->hw_addrlen <= sizeof(info->hw_addr));
	CHECK(info->length_count <= sizeof(info->lengths) / sizeof(info->lengths[0]));
	for (uint8_t i = 0; i < info->length_count; i++)
		CHECK(info->lengths[i].at + 2 <= info->offset &&
		      info->lengths[i].from <= info->offset);
	CHECK(info->flags_at < info->offset || info->flags_at == 0);
	if (!prefix)
		return;
	CHECK(prefix >= frame && (size_t)(prefix - frame) + info->prefix_len <= info->offset);
	CHECK(!memchr(prefix, 0, info->prefix_len));
}

/* What is judged has all of it told to its filter. */
static void packet_check(const struct ipq_link_info *info)
{
	struct ipq_packet packet = {.present = IPQ_HAS_PACKET_HDR};

	ipq_link_describe(info, &packet);
	CHECK(packet.family && packet.hw_protocol && packet.present & IPQ_HAS_PACKET_HDR);
	CHECK(!(packet.present & IPQ_HAS_VLAN) == !packet.vlan_proto);
	CHECK(info->offset <= IPQ_LINK_ROOM);
}

/* A header whose lengths were set is as long as before, and says so. */
static void length_check(int type, const struct ipq_link_info *info, const uint8_t *frame)
{
	uint8_t *header = own(frame, info->offset);
	uint8_t *changed = calloc(1, info->offset + PAYLOAD);
	struct ipq_link_info after;

	CHECK(changed);
	ipq_link_set_length(type, header, info->offset, PAYLOAD);
	memcpy(changed, header, info->offset);
	memset(changed + info->offset, info->protocol == 0x86dd ? 0x60 : 0x45, PAYLOAD);
	ipq_link_parse(type, changed, info->offset + PAYLOAD, &after);
	CHECK(after.length_count == info->length_count && after.offset == info->offset);
	CHECK(info->length_count == 0 || after.end == info->offset + PAYLOAD);
	free(changed);
	free(header);
}

static void check(int type, const uint8_t *frame, size_t len)
{
	struct ipq_link_info info;
	enum ipq_link_payload carried = ipq_link_parse(type, frame, (uint32_t)len, &info);

	CHECK(carried == IPQ_LINK_NO_IP || ipq_link_known(type));
	if (carried == IPQ_LINK_CUT_OFF || carried == IPQ_LINK_HIDDEN)
		return;
	info_check(&info, frame, len);
	if (carried == IPQ_LINK_IP)
		length_check(type, &info, frame);
	if (carried == IPQ_LINK_IP || carried == IPQ_LINK_ARP)
		packet_check(&info);
}

/* The first two bytes choose a type, and whether all others are tried on the frame, too. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct input in = {bytes, len};
	uint16_t choice = take16(&in);
	uint8_t *frame = own(in.bytes, in.len);

	check(choice % ALL, frame, in.len);
	for (int type = 0; choice >= 0x8000 && type < ALL; type++)
		check(type, frame, in.len);
	free(frame);
	return 0;
}
