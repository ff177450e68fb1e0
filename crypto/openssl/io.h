/*
 * crypto/openssl/io.h - between the host's sockets and OpenSSL
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CRYPTO_OPENSSL_IO_H
#define TLS_CRYPTO_OPENSSL_IO_H

#include "tls.h"

struct tls_ssl;

/*
 * The buffers of one call of a hook. A process handles one connection at a time, so it has one pair of
 * buffers, and a connection points to it only during the call.
 */
struct tls_io {
	const unsigned char *in;
	size_t in_size, in_taken;
	unsigned char *out;
	size_t out_used, out_room;
};

/* What a step of OpenSSL's came to. */
enum tls_step {
	TLS_STEP_DONE,
	TLS_STEP_WANTS_INPUT,
	TLS_STEP_CLOSED, /* close_notify */
	TLS_STEP_FAILED, /* see the error queue */
};

/* How much of the buffer for output may be filled before a sender is asked to come again. */
#define TLS_IO_OUT_SOFT_MAX (64 * 1024)
#define TLS_IO_IN_SIZE      (64 * 1024)

/*
 * The kind of BIO that reads and writes a connection's struct tls_io. Main process, before the forks. Returns
 * 0 or -1.
 */
int tls_io_start(void);

/*
 * Gives SSL a BIO whose reads and writes go to *PLACE, and wait when that is NULL. Shared scope. Returns 0 or
 * -1.
 */
int tls_io_attach(struct tls_ssl *ssl, struct tls_io **place);

/* Begins a call: this process's buffers, with nothing in and out. */
struct tls_io *tls_io_begin(void);

/* This process's input buffer, TLS_IO_IN_SIZE bytes. NULL when memory is short. */
unsigned char *tls_io_input(void);

/*
 * One step each, in the shared scope that they enter themselves; the error queue is empty before and holds
 * the reason after a failure.
 */
enum tls_step tls_io_handshake(struct tls_ssl *ssl);
enum tls_step tls_io_read(struct tls_ssl *ssl, void *to, size_t room, size_t *got);
enum tls_step tls_io_write(struct tls_ssl *ssl, const void *from, size_t size, size_t *taken);
enum tls_step tls_io_shutdown(struct tls_ssl *ssl);

#endif
