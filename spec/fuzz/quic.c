/* Datagrams of QUIC, of some connections: any bytes, and Initials whose frames are any bytes. Where frames are parts of one
 * hello, whatever their order is, it is what comes out. */
#include "fuzz.h"
#include "lib/names/pieces.h"
#include "lib/names/quic.h"
#include "spec/c/quic.h"

#include <netinet/in.h>

enum { HEADERS = 28, ROOM = 4096 };

static struct ipq_hello hello;

/* A packet of UDP over IPv4 with that payload. */
static int read_datagram(struct ipq_quic *quic, uint8_t sport, const uint8_t *payload, size_t len)
{
	static const uint8_t head[HEADERS] = {0x45, [8] = 64, IPPROTO_UDP, [12] = 10, 0, 0, 1,	 10,
					      0,    0,	      2,	   4,	      0, 1, 0xbb};
	struct ipq_packet packet = {.data_len = (uint32_t)(HEADERS + len), .len = packet.data_len};
	uint8_t *data = malloc(HEADERS + len);
	int ret;

	CHECK(data);
	memcpy(data, head, HEADERS);
	store16(data + 2, HEADERS + len);
	store16(data + 24, 8 + len);
	data[21] = sport;
	if (len)
		memcpy(data + HEADERS, payload, len);
	packet.data = data;
	ret = ipq_quic_read(quic, &packet, &hello);
	free(data);
	return ret;
}

/* An Initial of the connection with that number, whose frames are these. */
static size_t seal(uint8_t number, bool is_v2, const uint8_t *frames, size_t len, uint8_t *out)
{
	uint8_t head[] = {0xc0, 0,   0,	  0,	  1, 8, 'c',  'o', 'n',	  'n',
			  'e',	'c', 't', number, 0, 0, 0x40, 0,   number};

	if (is_v2)
		memcpy(head, "\xd0\x6b\x33\x43\xcf", 5);
	store16(head + 16, 0x4000 + 1 + len + IPQ_TAG);
	return spec_quic_seal(is_v2 ? IPQ_QUIC_V2 : IPQ_QUIC_V1, head + 6, 8, head, sizeof(head),
			      number, frames, len, out);
}

/* Frames from the input: PADDING behind them makes them long enough. */
static size_t choose_frames(struct input *in, uint8_t *frames)
{
	static const uint8_t kinds[] = {0, 1, 2, 3, 6, 6, 6, 0x1c};
	size_t len = 0, count = take8(in) % 8;

	while (count-- && len < ROOM / 2) {
		uint8_t kind = take8(in);
		size_t n = take8(in) % 64;
		const uint8_t *bytes = take(in, &n);

		frames[len++] = kind & 0x80 ? kind : kinds[kind % sizeof(kinds)];
		if (kind & 0x40 && !(kind & 0x80)) {
			frames[len++] = take8(in) & 0x3f;
			frames[len++] = (uint8_t)n;
		}
		memcpy(frames + len, bytes, n);
		len += n;
	}
	memset(frames + len, 0, 8);
	return len + 8;
}

/* Pieces that the input chooses of a text, until it is all there. */
static void put_together(struct input *in)
{
	static uint8_t text[512], out[sizeof(text)];
	struct ipq_pieces pieces = {.count = 0};
	int ret = 0;

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)(i * 7 + i / 256);
	while (in->len > 0 && ret == 0) {
		size_t at = take16(in) % sizeof(text), n = take8(in);

		if (n > sizeof(text) - at)
			n = sizeof(text) - at;
		ret = ipq_pieces_add(&pieces, at, text + at, n);
		n = ipq_pieces_copy(&pieces, out, sizeof(out));
		CHECK(memcmp(out, text, n) == 0 && ipq_pieces_memory(&pieces) < 8192);
	}
	CHECK(ret == 0 || ret == IPQ_QUIC_TOO_MANY);
	if (ret == 0 && pieces.count < IPQ_QUIC_PIECES) {
		CHECK(ipq_pieces_add(&pieces, 0, text, sizeof(text)) == 0 ||
		      pieces.count == IPQ_QUIC_PIECES);
		if (pieces.count < IPQ_QUIC_PIECES)
			CHECK(ipq_pieces_copy(&pieces, out, sizeof(out)) == sizeof(text));
	}
	ipq_pieces_clear(&pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static uint8_t frames[2 * ROOM], sealed[3 * ROOM];
	struct input in = {bytes, len};
	struct ipq_quic *quic = ipq_quic_new();

	CHECK(quic);
	while (in.len > 0) {
		uint8_t kind = take8(&in), number = take8(&in);
		size_t n = take16(&in) % ROOM;
		int ret;

		if (kind % 8 == 7) {
			put_together(&in);
			break;
		}
		if (kind & 1) {
			const uint8_t *any = take(&in, &n);

			ret = read_datagram(quic, number & 3, any, n);
		} else {
			n = seal(number & 3, kind & 2, frames, choose_frames(&in, frames), sealed);
			if (kind & 4)
				n += seal(number >> 2 & 3, kind & 2, frames,
					  choose_frames(&in, frames), sealed + n);
			ret = read_datagram(quic, number >> 4 & 3, sealed, n);
			CHECK(ret != IPQ_QUIC_NOT_QUIC && ret != IPQ_QUIC_VERSION &&
			      ret != IPQ_QUIC_CUT);
		}
		CHECK(ret <= 0 && ipq_quic_strerror(ret));
		CHECK(ipq_quic_bytes(quic) <= IPQ_QUIC_BYTES && ipq_quic_connections(quic) <= 64);
	}
	ipq_quic_free(quic);
	return 0;
}
