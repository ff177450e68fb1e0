/* links: HEAPED -Wl,--wrap=CRYPTO_set_mem_functions -Wl,--wrap=tls_mem_shared_alloc */
/*
 * diet.c - what an idle connection keeps in shared memory: every live block, by where it was asked for
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * `make diet` runs it. A client that knows nothing of the module, in private memory, makes a handshake with
 * the module's server, asks a question, gets an answer, and is silent. Blocks that a second, equal connection
 * adds are listed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "heap/heap.h"
#include "crypto/openssl/compat.h"
#include "bench.h"
#include "ends.h"
#include "fake_host.h"

#define BLOCKS_MAX 65536
#define SITES_MAX  512

static struct block {
	const void *p;
	size_t size;
	const char *file;
	int line;
	bool old; /* there before the connection */
} blocks[BLOCKS_MAX];

static size_t count;

static CRYPTO_malloc_fn real_malloc;
static CRYPTO_realloc_fn real_realloc;
static CRYPTO_free_fn real_free;

static void forget(const void *p)
{
	for (size_t i = count; i > 0; i--)
		if (blocks[i - 1].p == p) {
			blocks[i - 1] = blocks[--count];
			return;
		}
}

static void note(const void *p, size_t size, const char *file, int line)
{
	if (p != NULL && tls_heap_contains(p) && count < BLOCKS_MAX)
		blocks[count++] = (struct block){p, size, file, line, false};
}

static void *noting_malloc(size_t size, const char *file, int line)
{
	void *p = real_malloc(size, file, line);

	note(p, size, file, line);
	return p;
}

static void *noting_realloc(void *old, size_t size, const char *file, int line)
{
	void *p = real_realloc(old, size, file, line);

	if (p != NULL || size == 0)
		forget(old);
	note(p, size, file, line);
	return p;
}

static void noting_free(void *p, const char *file, int line)
{
	if (p != NULL)
		forget(p);
	real_free(p, file, line);
}

int __real_CRYPTO_set_mem_functions(CRYPTO_malloc_fn m, CRYPTO_realloc_fn r, CRYPTO_free_fn f);
int __wrap_CRYPTO_set_mem_functions(CRYPTO_malloc_fn m, CRYPTO_realloc_fn r, CRYPTO_free_fn f);

int __wrap_CRYPTO_set_mem_functions(CRYPTO_malloc_fn m, CRYPTO_realloc_fn r, CRYPTO_free_fn f)
{
	real_malloc = m;
	real_realloc = r;
	real_free = f;
	return __real_CRYPTO_set_mem_functions(noting_malloc, noting_realloc, noting_free);
}

void *__real_tls_mem_shared_alloc(size_t size);
void *__wrap_tls_mem_shared_alloc(size_t size);

void *__wrap_tls_mem_shared_alloc(size_t size)
{
	void *p = __real_tls_mem_shared_alloc(size);

	forget(p); /* one that was there before was freed without a note */
	note(p, size, "this module", 0);
	return p;
}

static int by_size(const void *a, const void *b)
{
	const struct block *x = a, *y = b;
	int order = x->size < y->size ? 1 : x->size > y->size ? -1 : strcmp(x->file, y->file);

	return order != 0 ? order : x->line - y->line;
}

static void list(const char *what)
{
	static struct block sorted[BLOCKS_MAX];
	size_t n = 0, sum = 0, taken = 0;

	for (size_t i = 0; i < count; i++)
		if (!blocks[i].old) {
			sorted[n++] = blocks[i];
			sum += blocks[i].size;
			taken += tls_heap_size(blocks[i].p);
		}
	qsort(sorted, n, sizeof(sorted[0]), by_size);
	printf("%s: %zu blocks, %zu bytes, %zu in slots\n", what, n, sum, taken);
	for (size_t i = 0, same; i < n; i += same) {
		for (same = 1; i + same < n && by_size(&sorted[i], &sorted[i + same]) == 0; same++)
			;
		if (sorted[i].line > 0)
			printf("  %7zu  %zu x %6zu  %s:%d\n", same * sorted[i].size, same, sorted[i].size, sorted[i].file,
			       sorted[i].line);
		else
			printf("  %7zu  %zu x %6zu  %s\n", same * sorted[i].size, same, sorted[i].size, sorted[i].file);
	}
}

static bool talk(struct ends *e)
{
	if (!ends_say(&e->client, "question"))
		return false;
	ends_run(e);
	if (!ends_got(&e->server, "question") || !ends_say(&e->server, "answer"))
		return false;
	ends_run(e);
	return ends_got(&e->client, "answer");
}

static void open_one(struct ends *e, int version, const char *certificate, SSL_SESSION *session)
{
	SSL_CTX *ctx = bench_context(certificate);

	SSL_CTX_set_min_proto_version(ctx, version);
	SSL_CTX_set_max_proto_version(ctx, version);
	if (!ends_open(e, NULL, ctx) || (session != NULL && SSL_set_session(e->client.ssl, session) != 1) ||
	    !ends_shake(e, NULL) || !talk(e))
		abort();
	SSL_CTX_free(ctx);
}

/* A first connection makes what is made once; its session serves the second. */
static void show(const char *what, unsigned short port, int version, const char *certificate, bool resumed)
{
	static struct ends first, second;
	SSL_SESSION *session;

	ends_port = port;
	open_one(&first, version, certificate, NULL);
	session = SSL_get1_session(first.client.ssl);
	for (size_t i = 0; i < count; i++)
		blocks[i].old = true;
	open_one(&second, version, certificate, resumed ? session : NULL);
	list(what);
	SSL_SESSION_free(session);
	ends_close(&first);
	ends_close(&second);
}

int main(void)
{
	if (bench_prepare() != 0 || bench_start("[server:default]\n"
	                                        "certificate = @/server.pem\n"
	                                        "private_key = @/server.key\n"
	                                        "[server:127.0.0.1:5062]\n"
	                                        "certificate = @/server.pem\n"
	                                        "private_key = @/server.key\n"
	                                        "ca_list = @/ca.pem\n"
	                                        "verify_certificate = yes\n"
	                                        "require_certificate = yes\n"
	                                        "[client:default]\n") != 0)
		return 1;
	show("TLS 1.3", 5061, TLS1_3_VERSION, NULL, false);
	show("TLS 1.3, resumed", 5061, TLS1_3_VERSION, NULL, true);
	show("TLS 1.3, client certificate", 5062, TLS1_3_VERSION, "client", false);
	show("TLS 1.3, client certificate, resumed", 5062, TLS1_3_VERSION, "client", true);
	show("TLS 1.2", 5061, TLS1_2_VERSION, NULL, false);
	show("TLS 1.2, resumed", 5061, TLS1_2_VERSION, NULL, true);
	return 0;
}
