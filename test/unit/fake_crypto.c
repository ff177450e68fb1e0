/*
 * fake_crypto.c - a stand-in for the TLS library: crypto/crypto.h without OpenSSL
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tls_domain_types.h"
#include "fake_crypto.h"

#define RECORD_HEAD 2
#define RECORD_MAX  255

struct tls_ssl {
	struct tls_io **place;
	bool client;
	int seen; /* records of the handshake that have come */
	bool started, again, done;
	char part[RECORD_HEAD + RECORD_MAX]; /* a record that is not complete */
	size_t part_size;
	char clear[RECORD_MAX]; /* what of one has not been read */
	size_t clear_size;
};

const char FAKE_UNREADABLE[] = "unreadable";
struct tls_facts fake_facts;
const char *fake_cipher_line;
struct tls_cert *fake_peer_cert, *fake_own_cert;
struct tls_cert *fake_chain[4];
enum tls_stat fake_failure;
const char *fake_failure_text;
bool fake_no_memory;
char fake_asked_name[256];
int fake_connections;

void fake_crypto_reset(void)
{
	fake_facts = (struct tls_facts){
		.minor = 3, .version = "TLSv1.3", .cipher = "FAKE", .cipher_bits = 128, .compression = "none"};
	fake_cipher_line = "FAKE Kx=none \n";
	fake_peer_cert = fake_own_cert = NULL;
	memset(fake_chain, 0, sizeof(fake_chain));
	fake_failure = TLS_STAT_FAILED_ALERT;
	fake_failure_text = "an alert";
	fake_no_memory = false;
	fake_asked_name[0] = '\0';
}

size_t fake_record(char *out, size_t size, char letter, const char *bytes)
{
	out[size++] = letter;
	out[size++] = (char)strlen(bytes);
	memcpy(out + size, bytes, strlen(bytes));
	return size + strlen(bytes);
}

bool fake_crypto_is_alone(void)
{
	return dlsym(RTLD_DEFAULT, "SSL_new") == NULL && dlsym(RTLD_DEFAULT, "X509_free") == NULL;
}

/* ---- the library as a whole */

void tls_crypto_enter(void) {}

void tls_crypto_leave(void) {}

const char *tls_crypto_errors(char *out, size_t size)
{
	snprintf(out, size, "%s", fake_failure_text);
	return out;
}

void tls_crypto_clear_errors(void) {}

const char *tls_crypto_version(void)
{
	return "a stand-in";
}

const char *tls_crypto_built_with(void)
{
	return "a stand-in's headers";
}

int tls_crypto_random(void *out, size_t size)
{
	memset(out, 42, size);
	return 0;
}

/* Tells apart what differs, which is all that its users want of it. */
int tls_crypto_digest(const struct tls_piece *pieces, size_t count, unsigned char out[TLS_DIGEST_SIZE])
{
	uint64_t h = 1;

	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < pieces[i].size; j++)
			h = (h ^ ((const unsigned char *)pieces[i].data)[j]) * UINT64_C(1099511628211);
	memset(out, 0, TLS_DIGEST_SIZE);
	memcpy(out, &h, sizeof(h));
	return 0;
}

/* ---- records */

static void put(struct tls_ssl *ssl, char letter, const void *bytes, size_t size)
{
	struct tls_io *io = *ssl->place;
	unsigned char *out = realloc(io->out, io->out_used + RECORD_HEAD + size);

	if (out == NULL)
		abort();
	io->out = out;
	out[io->out_used] = (unsigned char)letter;
	out[io->out_used + 1] = (unsigned char)size;
	memcpy(out + io->out_used + RECORD_HEAD, bytes, size);
	io->out_used += RECORD_HEAD + size;
}

/* Takes input until there is a record; its letter, 0 when input is short. The record then is in PART. */
static char take(struct tls_ssl *ssl)
{
	struct tls_io *io = *ssl->place;

	for (;;) {
		size_t wanted = ssl->part_size < RECORD_HEAD ? RECORD_HEAD
		                                             : RECORD_HEAD + (unsigned char)ssl->part[1];

		if (ssl->part_size == wanted && wanted >= RECORD_HEAD && ssl->part_size >= RECORD_HEAD) {
			ssl->part_size = 0;
			return ssl->part[0];
		}
		if (io->in_taken == io->in_size)
			return '\0';
		ssl->part[ssl->part_size++] = (char)io->in[io->in_taken++];
	}
}

static bool is_done(const struct tls_ssl *ssl)
{
	return ssl->client ? ssl->seen >= 1 : ssl->seen >= 2;
}

enum tls_step tls_io_handshake(struct tls_ssl *ssl)
{
	if (ssl->client && !ssl->started)
		put(ssl, 'h', "", 0);
	ssl->started = true;
	while (!is_done(ssl)) {
		switch (take(ssl)) {
		case '\0': return TLS_STEP_WANTS_INPUT;
		case 'h': break;
		case 'c': return TLS_STEP_CLOSED;
		default: return TLS_STEP_FAILED;
		}
		ssl->seen++;
		if (ssl->client || ssl->seen == 1)
			put(ssl, 'h', "", 0);
	}
	ssl->done = true;
	return TLS_STEP_DONE;
}

/* The cleartext of one record, or a part of it. */
static enum tls_step deliver(struct tls_ssl *ssl, void *to, size_t room, size_t *got)
{
	*got = room < ssl->clear_size ? room : ssl->clear_size;
	memcpy(to, ssl->clear, *got);
	ssl->clear_size -= *got;
	memmove(ssl->clear, ssl->clear + *got, ssl->clear_size);
	return TLS_STEP_DONE;
}

enum tls_step tls_io_read(struct tls_ssl *ssl, void *to, size_t room, size_t *got)
{
	*got = 0;
	while (ssl->clear_size == 0) {
		switch (take(ssl)) {
		case '\0': return TLS_STEP_WANTS_INPUT;
		case 'd':
			ssl->clear_size = (unsigned char)ssl->part[1];
			memcpy(ssl->clear, ssl->part + RECORD_HEAD, ssl->clear_size);
			if (ssl->clear_size == 0)
				return TLS_STEP_WANTS_INPUT;
			break;
		case 'r': ssl->again = true; break;
		case 'h': ssl->again = false; break;
		case 'c': return TLS_STEP_CLOSED;
		default: return TLS_STEP_FAILED;
		}
	}
	return deliver(ssl, to, room, got);
}

enum tls_step tls_io_write(struct tls_ssl *ssl, const void *from, size_t size, size_t *taken)
{
	*taken = size < RECORD_MAX ? size : RECORD_MAX;
	put(ssl, 'd', from, *taken);
	return TLS_STEP_DONE;
}

enum tls_step tls_io_shutdown(struct tls_ssl *ssl)
{
	put(ssl, 'c', "", 0);
	return TLS_STEP_DONE;
}

int tls_io_attach(struct tls_ssl *ssl, struct tls_io **place)
{
	ssl->place = place;
	return 0;
}

struct tls_io *tls_io_begin(void)
{
	static struct tls_io io;

	io.in = NULL;
	io.in_size = io.in_taken = io.out_used = 0;
	return &io;
}

unsigned char *tls_io_input(void)
{
	static unsigned char input[TLS_IO_IN_SIZE];

	return input;
}

/* ---- a connection */

struct tls_ssl *tls_ssl_new(struct tls_domain_use *use)
{
	struct tls_ssl *ssl = fake_no_memory ? NULL : calloc(1, sizeof(*ssl));

	if (ssl == NULL)
		return NULL;
	ssl->client = use->domain->role == TLS_CLIENT;
	fake_connections++;
	return ssl;
}

void tls_ssl_free(struct tls_ssl *ssl)
{
	if (ssl != NULL)
		fake_connections--;
	free(ssl);
}

int tls_ssl_own_keys(struct tls_ssl *ssl)
{
	return 0;
}

int tls_ssl_set_name(struct tls_ssl *ssl, const char *name)
{
	snprintf(fake_asked_name, sizeof(fake_asked_name), "%s", name);
	return 0;
}

void tls_ssl_drop_sent_chain(struct tls_ssl *ssl) {}

bool tls_ssl_has_pending(const struct tls_ssl *ssl)
{
	return ssl->part_size > 0 || ssl->clear_size > 0;
}

size_t tls_ssl_pending(const struct tls_ssl *ssl)
{
	return ssl->clear_size;
}

bool tls_ssl_in_handshake(const struct tls_ssl *ssl)
{
	return !ssl->done || ssl->again;
}

bool tls_ssl_is_1_3(const struct tls_ssl *ssl)
{
	return fake_facts.minor >= 3;
}

const char *tls_ssl_state(const struct tls_ssl *ssl)
{
	return "somewhere";
}

void tls_ssl_facts(const struct tls_ssl *ssl, struct tls_facts *out)
{
	*out = fake_facts;
	out->has_peer_certificate = fake_peer_cert != NULL;
}

const char *tls_ssl_describe_cipher(const struct tls_ssl *ssl, char *out, size_t size)
{
	if (fake_cipher_line == NULL)
		return NULL;
	snprintf(out, size, "%s", fake_cipher_line);
	return out;
}

enum tls_stat tls_ssl_failure(struct tls_ssl *ssl, char *out, size_t size)
{
	snprintf(out, size, "%s", fake_failure_text);
	return fake_failure;
}

const struct tls_cert *tls_ssl_peer_cert(const struct tls_ssl *ssl)
{
	return fake_peer_cert;
}

const struct tls_cert *tls_ssl_own_cert(struct tls_ssl *ssl)
{
	return fake_own_cert;
}

const struct tls_cert *tls_ssl_chain_cert(const struct tls_ssl *ssl, int index)
{
	return index >= 0 && index < 4 ? fake_chain[index] : NULL;
}

/* ---- certificates */

enum tls_cert_answer tls_cert_describe(const struct tls_cert *cert, enum tls_cert_field field, tls_sink *sink,
                                       void *to)
{
	const char *text = cert->fields[field];
	size_t half;

	if (text == NULL)
		return TLS_CERT_NONE;
	half = strlen(text) / 2;
	sink(to, text,
	     half); /* in two pieces, as it may be; the first stays where it cannot be read to its end */
	if (text == FAKE_UNREADABLE)
		return TLS_CERT_UNREADABLE;
	sink(to, text + half, strlen(text) - half);
	return TLS_CERT_GIVEN;
}

void tls_cert_walk_names(const struct tls_cert *cert,
                         void (*each)(void *arg, enum tls_alt_kind kind, const char *bytes, size_t size),
                         void *arg)
{
	for (size_t i = 0; i < cert->name_count; i++)
		each(arg, cert->names[i].kind, cert->names[i].bytes, cert->names[i].size);
}

bool tls_cert_end(const struct tls_cert *cert, int64_t *out)
{
	*out = cert->end;
	return cert->end != 0;
}

const char *tls_cert_key(const struct tls_cert *cert, int *bits)
{
	*bits = cert->bits;
	return cert->key != NULL ? cert->key : "unknown";
}

/* A chain is its certificate. */
struct tls_cert *tls_chain_certificate(const struct tls_chain *chain)
{
	return (struct tls_cert *)(uintptr_t)chain;
}
