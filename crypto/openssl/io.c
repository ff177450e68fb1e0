/*
 * crypto/openssl/io.c - between the host's sockets and OpenSSL: buffers, a BIO on them, and OpenSSL's steps
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * OpenSSL never sees a socket: the host reads and writes those. A hook puts what was received into the
 * process's input buffer, lets OpenSSL take steps, and sends what is in the output buffer then. Both
 * are private memory and are reused by the next call.
 */
#include <stdlib.h>
#include <string.h>

#include "host/compat.h"
#include "tls_mem.h"
#include "connection/stats.h"
#include "crypto/openssl/compat.h"
#include "crypto/openssl/types.h"
#include "crypto/openssl/library.h"

/* Far more than any handshake of ours needs: a mistake must not use up the machine's memory. */
#define OUT_HARD_MAX (4 * 1024 * 1024)

static BIO_METHOD *method;
static struct tls_io io; /* this process's */
static unsigned char *input;

/* ---- the BIO */

static int bio_read(BIO *bio, char *to, size_t room, size_t *got)
{
	struct tls_io **place = BIO_get_data(bio);
	struct tls_io *from = *place;
	size_t left = from != NULL ? from->in_size - from->in_taken : 0;

	BIO_clear_retry_flags(bio);
	if (left == 0) {
		BIO_set_retry_read(bio);
		return 0;
	}
	*got = room < left ? room : left;
	memcpy(to, from->in + from->in_taken, *got);
	from->in_taken += *got;
	tls_stats_add(TLS_STAT_WIRE_IN, (long)*got);
	return 1;
}

static int grow_output(struct tls_io *to, size_t size)
{
	size_t room = to->out_room > 0 ? to->out_room : TLS_IO_OUT_SOFT_MAX + 32 * 1024;
	unsigned char *bigger;

	while (room < size)
		room *= 2;
	if (room > OUT_HARD_MAX || (bigger = realloc(to->out, room)) == NULL)
		return -1;
	to->out = bigger;
	to->out_room = room;
	return 0;
}

static int bio_write(BIO *bio, const char *from, size_t size, size_t *taken)
{
	struct tls_io **place = BIO_get_data(bio);
	struct tls_io *to = *place;

	BIO_clear_retry_flags(bio);
	if (to == NULL || (to->out_room - to->out_used < size && grow_output(to, to->out_used + size) != 0))
		return 0;
	memcpy(to->out + to->out_used, from, size);
	to->out_used += size;
	tls_stats_add(TLS_STAT_WIRE_OUT, (long)size);
	*taken = size;
	return 1;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
	(void)bio;
	(void)number;
	(void)pointer;
	return command == BIO_CTRL_FLUSH ? 1 : 0;
}

int tls_io_start(void)
{
	int type = BIO_get_new_index();

	if (type != -1)
		method = BIO_meth_new(type | BIO_TYPE_SOURCE_SINK, "host connection");
	if (method != NULL && BIO_meth_set_read_ex(method, bio_read) == 1 &&
	    BIO_meth_set_write_ex(method, bio_write) == 1 && BIO_meth_set_ctrl(method, bio_ctrl) == 1)
		return 0;
	LM_ERR("no memory for a BIO method\n");
	return -1;
}

int tls_io_attach(struct tls_ssl *ssl, struct tls_io **place)
{
	BIO *bio = BIO_new_ex(tls_library_context(), method);

	if (bio == NULL)
		return -1;
	BIO_set_data(bio, place);
	BIO_set_init(bio, 1);
	SSL_set_bio(ssl_of(ssl), bio, bio);
	return 0;
}

struct tls_io *tls_io_begin(void)
{
	io.in = NULL;
	io.in_size = io.in_taken = 0;
	io.out_used = 0;
	return &io;
}

unsigned char *tls_io_input(void)
{
	if (input == NULL)
		input = malloc(TLS_IO_IN_SIZE);
	return input;
}

/* ---- steps */

/* The only place that reads OpenSSL's result codes. */
static enum tls_step step_result(const SSL *ssl, int result)
{
	switch (SSL_get_error(ssl, result)) {
	case SSL_ERROR_NONE: return TLS_STEP_DONE;
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE: return TLS_STEP_WANTS_INPUT;
	case SSL_ERROR_ZERO_RETURN: return TLS_STEP_CLOSED;
	default: return TLS_STEP_FAILED;
	}
}

static void begin_step(void)
{
	ERR_clear_error();
	tls_crypto_enter();
}

static enum tls_step end_step(const SSL *ssl, int result)
{
	enum tls_step step = step_result(ssl, result);

	tls_crypto_leave();
	return step;
}

enum tls_step tls_io_handshake(struct tls_ssl *ssl)
{
	begin_step();
	return end_step(ssl_of(ssl), SSL_do_handshake(ssl_of(ssl)));
}

enum tls_step tls_io_read(struct tls_ssl *ssl, void *to, size_t room, size_t *got)
{
	enum tls_step step;

	*got = 0;
	begin_step();
	step = end_step(ssl_of(ssl), SSL_read_ex(ssl_of(ssl), to, room, got));
	tls_stats_add(TLS_STAT_BYTES_IN, (long)*got);
	if (step == TLS_STEP_DONE && SSL_pending(ssl_of(ssl)) == 0)
		tls_stats_add(TLS_STAT_RECORDS_IN, 1); /* one read never takes from two */
	return step;
}

enum tls_step tls_io_write(struct tls_ssl *ssl, const void *from, size_t size, size_t *taken)
{
	enum tls_step step;

	*taken = 0;
	begin_step();
	step = end_step(ssl_of(ssl), SSL_write_ex(ssl_of(ssl), from, size, taken));
	tls_stats_add(TLS_STAT_BYTES_OUT, (long)*taken);
	if (step == TLS_STEP_DONE)
		tls_stats_add(TLS_STAT_RECORDS_OUT, 1); /* SSL_MODE_ENABLE_PARTIAL_WRITE: one record each time */
	return step;
}

enum tls_step tls_io_shutdown(struct tls_ssl *ssl)
{
	int result;

	begin_step();
	result = SSL_shutdown(ssl_of(ssl));
	return end_step(ssl_of(ssl), result == 0 ? 1 : result); /* 0: sent; the peer's has yet to come */
}
