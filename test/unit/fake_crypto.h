/*
 * fake_crypto.h - a stand-in for the TLS library: crypto/crypto.h without OpenSSL
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * A connection speaks records of one letter, a length byte and so many bytes:
 *
 *   h   of the handshake: the client sends one, the server another, the client a second; then both are done
 *   d   data
 *   r   a later handshake begins; the next h ends it
 *   c   the peer closes
 *   x   the peer makes the step fail
 *
 * What a step's failure counts as, the facts and the certificates are what a test says.
 */
#ifndef FAKE_CRYPTO_H
#define FAKE_CRYPTO_H

#include "crypto/crypto.h"

#define FAKE_FIELDS (TLS_CERT_ALT_NAMES + 1)

struct fake_name {
	enum tls_alt_kind kind;
	const char *bytes;
	size_t size;
};

/* A NULL field is missing, FAKE_UNREADABLE cannot be read. */
extern const char FAKE_UNREADABLE[];
struct tls_cert {
	const char *fields[FAKE_FIELDS];
	const struct fake_name *names;
	size_t name_count;
	int64_t end; /* 0: cannot be read */
	const char *key;
	int bits;
};

/* All of them are as at the start after fake_crypto_reset(). */
extern struct tls_facts fake_facts; /* of every connection */
extern const char *fake_cipher_line;
extern struct tls_cert *fake_peer_cert, *fake_own_cert; /* NULL: none */
extern struct tls_cert *fake_chain[4];
extern enum tls_stat fake_failure; /* what a failed step counts as, and why for people */
extern const char *fake_failure_text;
extern bool fake_no_memory;       /* no new connections */
extern char fake_asked_name[256]; /* that the last connection was told to ask for, "" none */
extern int fake_connections;      /* that have not been freed */

void fake_crypto_reset(void);

/* Appends a record to the SIZE bytes at OUT. Returns the new size. */
size_t fake_record(char *out, size_t size, char letter, const char *bytes);

/* Whether OpenSSL is in this program. */
bool fake_crypto_is_alone(void);

#endif
