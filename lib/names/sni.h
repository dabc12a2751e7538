/* The extension server_name, for the files of this room. */
#ifndef IPQ_SNI_H
#define IPQ_SNI_H

#include "hello.h"

/* Reads the extension's bytes into the hello's name, name_len, name_hash and sni_error. */
void ipq_sni_read(struct ipq_hello *hello, const uint8_t *bytes, size_t len);

#endif
