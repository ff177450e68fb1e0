/*
 * crypto/openssl/compress.c - TLS compression (DEFLATE, RFC 3749) for TLS 1.2 and older, by a method of our own
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * Distributions build libssl able to compress, but without zlib, and it takes no method with the id of
 * DEFLATE from outside. So the method is made here, in structures laid out as the library's own
 * (crypto/openssl/compat.h). A child proves at the start that they are, because a wrong guess may crash; only then is the
 * method registered.
 *
 * The streams of a connection are in shared memory, because any process may take its next record. Sending costs
 * 26 KB and receiving 7 KB and the peer's window: 4 KB when the peer is this module, 32 KB at the most. With
 * 18 KB that OpenSSL adds, that is 55 to 83 KB a connection.
 */
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <zlib.h>

#include "crypto/openssl/compress.h"
#include "host/compat.h"
#include "host/child.h"
#include "tls_mem.h"
#include "crypto/openssl/compat.h"
#include "crypto/crypto.h"
#include "crypto/openssl/pair.h"

#define DEFLATE_ID   1
#define DEFLATE_NAME "DEFLATE"

/*
 * A 4 KB window reaches back over the last few SIP messages, where the repetition is: 32 KB save no more and cost ten
 * times the memory. Incompressible data stays within SSL3_RT_MAX_COMPRESSED_OVERHEAD.
 */
#define WINDOW_BITS  12
#define MEMORY_LEVEL 3

#define PROOF_SECONDS 10

static bool offered;

/* ---- memory of the streams: shared, except in the proof, which must not die while it holds the host's lock */

struct memory {
	void *(*take)(size_t size); /* zeroed */
	void (*give)(void *p);
};

static struct memory memory = {.take = tls_mem_shared_alloc, .give = tls_mem_shared_free};

static voidpf stream_take(voidpf unused, uInt count, uInt size)
{
	(void)unused;
	return size == 0 || count <= UINT_MAX / size ? memory.take((size_t)count * size) : NULL;
}

static void stream_give(voidpf unused, voidpf p)
{
	(void)unused;
	memory.give(p);
}

/* ---- the method. A failure ends the connection and nothing else */

/* OpenSSL keeps one for each direction, so only one of the streams is ever used. */
struct state {
	z_stream deflater, inflater;
	bool deflates, inflates;
	unsigned char spare; /* space for one byte more than a record */
};

static struct tls_compat_comp_ctx *inside(COMP_CTX *ctx)
{
	return (struct tls_compat_comp_ctx *)ctx;
}

static int method_init(COMP_CTX *ctx)
{
	struct state *s = memory.take(sizeof(*s));

	if (s == NULL)
		return 0;
	s->deflater.zalloc = s->inflater.zalloc = stream_take;
	s->deflater.zfree = s->inflater.zfree = stream_give;
	inside(ctx)->data = s;
	return 1;
}

static void method_finish(COMP_CTX *ctx)
{
	struct state *s = inside(ctx)->data;

	if (s == NULL)
		return;
	inside(ctx)->data = NULL;
	if (s->deflates)
		deflateEnd(&s->deflater);
	if (s->inflates)
		inflateEnd(&s->inflater);
	memory.give(s);
}

static bool begin_deflate(struct state *s)
{
	if (!s->deflates)
		s->deflates = deflateInit2(&s->deflater, Z_DEFAULT_COMPRESSION, Z_DEFLATED, WINDOW_BITS, MEMORY_LEVEL,
		                           Z_DEFAULT_STRATEGY) == Z_OK;
	return s->deflates;
}

/* A window of 0 bits: as large as the peer's, which its first bytes tell. */
static bool begin_inflate(struct state *s)
{
	if (!s->inflates)
		s->inflates = inflateInit2(&s->inflater, 0) == Z_OK;
	return s->inflates;
}

static void set_buffers(z_stream *z, unsigned char *out, size_t room, unsigned char *in, size_t size)
{
	z->next_out = out;
	z->avail_out = (uInt)room;
	z->next_in = in;
	z->avail_in = (uInt)size;
}

/* A record is flushed whole: the peer waits for it. */
static tls_compat_comp_result method_compress(COMP_CTX *ctx, unsigned char *out, tls_compat_comp_size room,
                                              unsigned char *in, tls_compat_comp_size size)
{
	struct state *s = inside(ctx)->data;

	if (size == 0)
		return 0;
	if (s == NULL || !begin_deflate(s))
		return -1;
	set_buffers(&s->deflater, out, room, in, size);
	if (deflate(&s->deflater, Z_SYNC_FLUSH) != Z_OK || s->deflater.avail_in > 0 || s->deflater.avail_out == 0)
		return -1;
	return (tls_compat_comp_result)(room - s->deflater.avail_out);
}

/* Whether all output has come. A record that is exactly full does not tell; space for one byte more does. */
static bool is_drained(struct state *s)
{
	z_stream *z = &s->inflater;

	if (z->avail_out == 0) {
		z->next_out = &s->spare;
		z->avail_out = 1;
		inflate(z, Z_SYNC_FLUSH);
	}
	return z->avail_in == 0 && z->avail_out > 0;
}

/* A few bytes can expand to more than a record may hold, which is refused before it is expanded. */
static tls_compat_comp_result method_expand(COMP_CTX *ctx, unsigned char *out, tls_compat_comp_size room,
                                            unsigned char *in, tls_compat_comp_size size)
{
	tls_compat_comp_size most = room < SSL3_RT_MAX_PLAIN_LENGTH ? room : SSL3_RT_MAX_PLAIN_LENGTH, made;
	struct state *s = inside(ctx)->data;
	int status;

	if (size == 0)
		return 0;
	if (s == NULL || !begin_inflate(s))
		return -1;
	set_buffers(&s->inflater, out, most, in, size);
	status = inflate(&s->inflater, Z_SYNC_FLUSH);
	made = most - s->inflater.avail_out;
	if ((status != Z_OK && status != Z_STREAM_END) || !is_drained(s))
		return -1;
	return (tls_compat_comp_result)made;
}

static struct tls_compat_comp_method method = {
	.type = NID_zlib_compression,
	.name = DEFLATE_NAME,
	.init = method_init,
	.finish = method_finish,
	.compress = method_compress,
	.expand = method_expand,
};

/* ---- the library's list of methods */

static COMP_METHOD *our_method(void)
{
	return (COMP_METHOD *)&method;
}

static SSL_COMP *new_entry(void)
{
	struct tls_compat_ssl_comp *entry = OPENSSL_malloc(sizeof(*entry));

	if (entry != NULL)
		*entry = (struct tls_compat_ssl_comp){.id = DEFLATE_ID, .name = DEFLATE_NAME, .method = our_method()};
	return (SSL_COMP *)entry;
}

static int by_id(const SSL_COMP *const *a, const SSL_COMP *const *b)
{
	return SSL_COMP_get_id(*a) - SSL_COMP_get_id(*b);
}

/* The library's methods without a DEFLATE of its own, which costs ten times the memory. NULL without memory. */
static STACK_OF(SSL_COMP) *other_methods(void)
{
	STACK_OF(SSL_COMP) *known = SSL_COMP_get_compression_methods();
	STACK_OF(SSL_COMP) *others = known != NULL ? sk_SSL_COMP_dup(known) : sk_SSL_COMP_new(by_id);

	for (int i = sk_SSL_COMP_num(others) - 1; i >= 0; i--)
		if (SSL_COMP_get_id(sk_SSL_COMP_value(others, i)) == DEFLATE_ID)
			OPENSSL_free(sk_SSL_COMP_delete(others, i));
	return others;
}

/* Contexts made from now on know the method. Returns 0, -1 without memory. */
static int register_method(void)
{
	STACK_OF(SSL_COMP) *methods = other_methods();
	SSL_COMP *entry = new_entry();

	if (methods == NULL || entry == NULL || sk_SSL_COMP_push(methods, entry) <= 0) {
		sk_SSL_COMP_free(methods);
		OPENSSL_free(entry);
		return -1;
	}
	sk_SSL_COMP_free(SSL_COMP_set0_compression_methods(methods));
	return 0;
}

/* ---- the proof, in the child. Each part returns whether the library behaves as expected */

struct proof {
	COMP_CTX *ctx;
	unsigned char block[SSL3_RT_MAX_PLAIN_LENGTH + 1];
	unsigned char packed[SSL3_RT_MAX_PLAIN_LENGTH + SSL3_RT_MAX_COMPRESSED_OVERHEAD];
	unsigned char back[SSL3_RT_MAX_PLAIN_LENGTH];
};

static bool reads_names(struct proof *p)
{
	STACK_OF(SSL_COMP) *methods = SSL_COMP_get_compression_methods();
	const SSL_COMP *entry = sk_SSL_COMP_value(methods, sk_SSL_COMP_num(methods) - 1);

	(void)p;
	return entry != NULL && SSL_COMP_get_id(entry) == DEFLATE_ID &&
	       strcmp(SSL_COMP_get0_name(entry), DEFLATE_NAME) == 0 &&
	       COMP_get_type(our_method()) == NID_zlib_compression &&
	       strcmp(COMP_get_name(our_method()), DEFLATE_NAME) == 0;
}

/* The library must have allocated the field that we write, which is behind its counters. */
static bool makes_context(struct proof *p)
{
	p->ctx = COMP_CTX_new(our_method());
	return p->ctx != NULL && malloc_usable_size(p->ctx) >= sizeof(struct tls_compat_comp_ctx) &&
	       COMP_CTX_get_method(p->ctx) == our_method();
}

/* Whether P->block comes back whole and was counted: then both sides agree on the types of sizes. */
static bool survives(struct proof *p, int size)
{
	const struct tls_compat_comp_ctx before = *inside(p->ctx), *now = inside(p->ctx);
	int n = COMP_compress_block(p->ctx, p->packed, size + SSL3_RT_MAX_COMPRESSED_OVERHEAD, p->block, size);

	return n > 0 && COMP_expand_block(p->ctx, p->back, sizeof(p->back), p->packed, n) == size &&
	       memcmp(p->block, p->back, (size_t)size) == 0 &&
	       now->compress_in - before.compress_in == (unsigned long)size &&
	       now->compress_out - before.compress_out == (unsigned long)n &&
	       now->expand_in - before.expand_in == (unsigned long)n &&
	       now->expand_out - before.expand_out == (unsigned long)size;
}

static bool returns_blocks(struct proof *p)
{
	uint32_t noise = 1;

	if (!survives(p, 1) || !survives(p, SSL3_RT_MAX_PLAIN_LENGTH))
		return false;
	for (size_t i = 0; i < sizeof(p->block); i++) {
		noise = noise * 1664525 + 1013904223;
		p->block[i] = (unsigned char)(noise >> 24);
	}
	return survives(p, SSL3_RT_MAX_PLAIN_LENGTH) && survives(p, 100) && survives(p, SSL3_RT_MAX_PLAIN_LENGTH);
}

static bool refuses_too_much(struct proof *p)
{
	const struct tls_compat_comp_ctx *now = inside(p->ctx);
	unsigned long expanded = now->expand_out;
	int n;

	memset(p->block, 0, sizeof(p->block));
	n = COMP_compress_block(p->ctx, p->packed, sizeof(p->packed), p->block, sizeof(p->block));
	return n > 0 && COMP_expand_block(p->ctx, p->back, sizeof(p->back), p->packed, n) < 0 &&
	       now->expand_out == expanded;
}

static bool compresses(const SSL *ssl)
{
	return SSL_get_current_compression(ssl) == our_method() && SSL_get_current_expansion(ssl) == our_method();
}

/* Needs no certificate: nobody listens. */
static SSL_CTX *anonymous_context(void)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_method());

	if (ctx != NULL && SSL_CTX_set_cipher_list(ctx, "AECDH:@SECLEVEL=0") == 1 &&
	    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
	    SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION) == 1)
		SSL_CTX_clear_options(ctx, SSL_OP_NO_COMPRESSION);
	return ctx;
}

static bool connects(struct proof *p)
{
	SSL_CTX *ctx = anonymous_context();
	SSL *server = ctx != NULL ? SSL_new(ctx) : NULL, *client = ctx != NULL ? SSL_new(ctx) : NULL;
	const int size = sizeof(p->back);

	if (server == NULL || client == NULL)
		return false;
	SSL_set_accept_state(server);
	SSL_set_connect_state(client);
	return tls_pair_shake_hands(server, client) == 0 && compresses(server) && compresses(client) &&
	       SSL_write(client, p->block, size) == size && SSL_read(server, p->back, size) == size &&
	       memcmp(p->block, p->back, (size_t)size) == 0 && SSL_write(server, "x", 1) == 1 &&
	       SSL_read(client, p->back, size) == 1;
}

static const struct {
	bool (*holds)(struct proof *p);
	const char *flaw;
} parts[] = {
	{reads_names, "it keeps the names and numbers of its methods elsewhere"},
	{makes_context, "it keeps the state of a method elsewhere"},
	{returns_blocks, "a block that was compressed does not come back whole"},
	{refuses_too_much, "a block that expands to more than a record is not refused"},
	{connects, "two ends do not agree on compression"},
};

#define PART_COUNT ((int)(sizeof(parts) / sizeof(parts[0])))

/* Returns the first part that does not hold, PART_COUNT when all do. */
static int run_proof(void)
{
	struct proof *p = calloc(1, sizeof(*p));
	int i = 0;

	if (p == NULL || register_method() != 0)
		return -1;
	while (i < PART_COUNT && parts[i].holds(p))
		i++;
	return i;
}

/* ---- the proof, from outside */

static void *private_take(size_t size)
{
	return calloc(1, size);
}

/* All that the child does. It may crash or hang, but leaves no core and ends in time. */
static int prove_in_child(void *unused)
{
	static const int deadly[] = {SIGALRM, SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE};
	const struct rlimit no_core = {0, 0};
	sigset_t none;

	(void)unused;
	for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++)
		signal(deadly[i], SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setrlimit(RLIMIT_CORE, &no_core);
	alarm(PROOF_SECONDS);
	memory = (struct memory){.take = private_take, .give = free};
	return run_proof();
}

/* From 3.2 on each library context has a list of its own. */
static int register_shared(void *unused)
{
	(void)unused;
	return reads_names(NULL) ? 0 : register_method();
}

/* NULL when the library behaves as expected, else in what it does not. */
static const char *find_flaw(void)
{
	int part = tls_child_run(prove_in_child, NULL);

	if (part < 0)
		return "the trial crashed or hung, or its process could not be started";
	if (part == PART_COUNT)
		return register_method() == 0 && tls_crypto_run_shared(register_shared, NULL) == 0
		           ? NULL
		           : "memory is short";
	return part < PART_COUNT ? parts[part].flaw : "the trial had no memory";
}

/* ---- what others see */

void tls_compress_start(bool wanted)
{
	const char *flaw;

	if (!wanted)
		return;
	flaw = tls_compat_has_compression() ? find_flaw() : "it was built without compression";
	if (flaw != NULL) {
		LM_WARN(
			"tls_disable_compression=0 has no effect: %s cannot compress by a method of ours (%s); remove the "
			"parameter, or build the module for an OpenSSL that can\n",
			OpenSSL_version(OPENSSL_VERSION), flaw);
		return;
	}
	offered = true;
	LM_WARN(
		"TLS compression is on: an attacker who can make this server send chosen texts and sees the length of its "
		"records can guess what else is in them (CRIME, RFC 7457); set tls_disable_compression=1 unless you have a "
		"good reason\n");
	LM_WARN(
		"OpenSSL compresses only TLS 1.2 and older, and only at security level 1 or 0: a domain that should compress "
		"needs \"@SECLEVEL=1\" in cipher_list, and a client domain method=TLSv1.2 as well\n");
}

bool tls_compress_offered(void)
{
	return offered;
}

bool tls_compress_allowed(const SSL_CTX *ctx)
{
	return offered && SSL_CTX_get_security_level(ctx) < 2;
}

const char *tls_compress_name(const SSL *ssl)
{
	const COMP_METHOD *used = SSL_get_current_compression(ssl);

	return used != NULL ? SSL_COMP_get_name(used) : "none";
}
