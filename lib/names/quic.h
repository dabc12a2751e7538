/*
 * The ClientHello in the first packets of a QUIC connection: RFC 9000, RFC 9001, and RFC 9369 for version 2.
 *
 * Called by   Lua: bindings/ipq/quic.lua, with packets of UDP.
 *
 * States      of a connection, which is known by its addresses and ports: it has said a part of its hello, or all
 *             of it. It is kept until it is the one that was seen least recently and another one takes its place.
 *
 * Always      What an Initial says counts only if its protection is whole, by keys that follow from what the client
 *             itself has said. All memory is bounded: so many connections, so many bytes of all of them. The
 *             time that a datagram takes is bounded: IPQ_QUIC_INITIALS packets in it, two keys for each.
 *
 * How         quic.c reads datagrams and keeps connections, initial.c has keys and takes protection off, pieces.c
 *             puts CRYPTO frames together, in whatever order they come; hello.c reads what they are then.
 *
 * This text is read by LuaJIT too (bindings/core.c): below its #include lines it has declarations only.
 */
#ifndef IPQ_QUIC_H
#define IPQ_QUIC_H

#include "lib/ipq_abi.h"
#include "lib/names/hello.h"

enum ipq_quic_limits {
	IPQ_QUIC_CONNECTIONS = 1024,
	IPQ_QUIC_BYTES = 4194304, /* of CRYPTO frames, of all connections */
	IPQ_QUIC_PIECES = 256,	  /* that a connection's frames are in */
	IPQ_QUIC_INITIALS = 8	  /* that are looked at in a datagram */
};

/* Why there is no hello, beside enum ipq_hello_error. */
enum ipq_quic_error {
	IPQ_QUIC_NOT_QUIC = -32,    /* another protocol, or no packet of QUIC with a long header */
	IPQ_QUIC_NO_INITIAL = -33,  /* QUIC, but the datagram has no Initial */
	IPQ_QUIC_VERSION = -34,	    /* a version that is unknown here */
	IPQ_QUIC_NEGOTIATION = -35, /* a server's version negotiation */
	IPQ_QUIC_RETRY = -36,	    /* a server's Retry */
	IPQ_QUIC_CUT = -37,	    /* the datagram is not all there */
	IPQ_QUIC_MALFORMED = -38,   /* a header, or the frames of an Initial */
	IPQ_QUIC_KEYS =
		-39, /* no client's Initial, or one of a connection whose begin was not seen */
	IPQ_QUIC_TOO_MANY = -40, /* more than IPQ_QUIC_PIECES */
	IPQ_QUIC_TWOFOLD = -41,	 /* frames say different things of the same place */
	IPQ_QUIC_NO_MEMORY = -42
};

struct ipq_quic;

/* Makes what keeps connections; NULL: there is no memory. ipq_quic_free() takes NULL. */
struct ipq_quic *ipq_quic_new(void);
void ipq_quic_free(struct ipq_quic *quic);

/* Reads a packet, which is parsed where it was not. 0: the hello of its connection is whole, by this packet or by those
 * before it. Else an enum ipq_quic_error or enum ipq_hello_error, IPQ_HELLO_MORE where an Initial was read and
 * others have to come. */
int ipq_quic_read(struct ipq_quic *quic, struct ipq_packet *packet, struct ipq_hello *hello);

/* How many connections are kept, and how many bytes of them. */
uint32_t ipq_quic_connections(const struct ipq_quic *quic);
uint32_t ipq_quic_bytes(const struct ipq_quic *quic);

/* The reasons of both enumerations in words; never NULL. */
const char *ipq_quic_strerror(int error);

#endif
