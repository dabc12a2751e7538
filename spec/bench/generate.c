/* Writes a capture of TCP and UDP packets over IPv4, in Ethernet frames of 60 to 250 bytes, and
 * says how many of them are TCP to port 23: generate FILE PACKETS */
#include "lib/packet/checksum.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <netinet/in.h>

enum { FRAME_MIN = 60, FRAME_MAX = 250, ETHERNET = 14, IP = 20, LINKTYPE_ETHERNET = 1 };

struct file_header {
	uint32_t magic;
	uint16_t major, minor;
	uint32_t zone, accuracy, snaplen, link;
};

struct frame_header {
	uint32_t sec, usec, caplen, len;
};

/* xorshift: the same capture each time. */
static uint32_t next_random(void)
{
	static uint32_t state = 2463534242;

	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	return state;
}

static void put16(uint8_t *p, uint32_t value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

static void put_ip(uint8_t *ip, uint32_t len, uint8_t protocol, uint32_t random)
{
	uint16_t sum;

	memset(ip, 0, IP);
	ip[0] = 0x45;
	put16(ip + 2, len);
	ip[8] = 64;
	ip[9] = protocol;
	memcpy(ip + 12, "\x0a\0\0\1\x0a\1\0", 7);
	ip[15] = (uint8_t)random;
	ip[19] = (uint8_t)(random >> 8);
	sum = ipq_checksum_fold(ipq_checksum_add(0, ip, IP));
	memcpy(ip + 10, &sum, sizeof(sum));
}

/* A frame of len bytes. Whether it is TCP to port 23. */
static bool put_frame(uint8_t *frame, uint32_t len)
{
	static const uint32_t ports[] = {23, 80, 443, 53, 8080, 22, 5060, 123};
	uint32_t random = next_random();
	uint8_t protocol = random % 10 < 6 ? IPPROTO_TCP : IPPROTO_UDP;
	uint32_t port = ports[random >> 29];
	uint8_t *l4 = frame + ETHERNET + IP;

	put_ip(frame + ETHERNET, len - ETHERNET, protocol, random >> 8);
	memset(l4, 0, 20);
	put16(l4, 1024 + (random >> 16));
	put16(l4 + 2, port);
	if (protocol == IPPROTO_TCP)
		memcpy(l4 + 12, "\x50\x18\x02", 3);
	else
		put16(l4 + 4, len - ETHERNET - IP);
	return protocol == IPPROTO_TCP && port == 23;
}

static uint32_t put_frames(FILE *file, uint32_t packets)
{
	static uint8_t frame[FRAME_MAX] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0};
	struct frame_header header = {.sec = 1700000000};
	uint32_t telnet = 0;

	for (uint32_t i = 0; i < packets; i++) {
		header.len = FRAME_MIN + next_random() % (FRAME_MAX - FRAME_MIN + 1);
		header.caplen = header.len;
		header.usec = i % 1000000;
		header.sec += header.usec == 0;
		telnet += put_frame(frame, header.len);
		fwrite(&header, sizeof(header), 1, file);
		fwrite(frame, header.len, 1, file);
	}
	return telnet;
}

int main(int argc, char **argv)
{
	const struct file_header header = {0xa1b2c3d4, 2, 4, 0, 0, 65535, LINKTYPE_ETHERNET};
	FILE *file = argc == 3 ? fopen(argv[1], "wb") : NULL;
	uint32_t telnet;

	if (!file)
		return 1;
	setvbuf(file, NULL, _IOFBF, 1 << 20);
	fwrite(&header, sizeof(header), 1, file);
	telnet = put_frames(file, (uint32_t)atoi(argv[2]));
	if (ferror(file) | fclose(file))
		return 1;
	printf("%" PRIu32 "\n", telnet);
	return 0;
}
