/*
 * tls_mem.c - the two worlds: which memory OpenSSL's allocations come from
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * Outside a scope an allocation is libc's and private to the process. Inside a scope it is shared memory, with a
 * header that holds its size and a mark: the mark tells a live block from a freed or a foreign one.
 */
#include <malloc.h>
#include <openssl/crypto.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "tls.h"

#define MARK_LIVE UINT64_C(0x5e12a11d0c0ffee5)
#define MARK_FREE UINT64_C(0xdeadb10cdeadb10c)

/* Keeps a block aligned as its source aligned the header. */
struct header {
	uint64_t mark;
	uint64_t size;
};

_Static_assert(sizeof(struct header) % _Alignof(max_align_t) == 0, "the header keeps the alignment");

/* One cache line for each group of processes, so that counting does not make the cores wait for each other. */
#define SLOTS 64
struct counters {
	atomic_long blocks;
	atomic_long bytes;
	atomic_long refused;
	char pad[64 - 3 * sizeof(atomic_long)];
};

static const struct tls_mem_source *source; /* set before the forks, so the same in all processes */
static struct counters *counters;           /* SLOTS of them, in shared memory */
static unsigned slot;
static atomic_long private_bytes; /* of this process's own world, with malloc's rounding */
static _Thread_local int scope __attribute__((tls_model("initial-exec")));

static OSSL_LIB_CTX *library; /* the default one inside a scope */
static _Thread_local OSSL_LIB_CTX *outside __attribute__((tls_model("initial-exec")));
static _Thread_local long balance
	__attribute__((tls_model("initial-exec"))); /* shared bytes, less those given back */
static _Thread_local long refused __attribute__((tls_model("initial-exec")));
static _Thread_local bool covered __attribute__((tls_model("initial-exec")));
static _Thread_local long covered_from __attribute__((tls_model("initial-exec")));

static void count(long blocks, long bytes)
{
	atomic_fetch_add_explicit(&counters[slot].blocks, blocks, memory_order_relaxed);
	atomic_fetch_add_explicit(&counters[slot].bytes, bytes, memory_order_relaxed);
	balance += bytes;
}

static void count_private(long bytes)
{
	atomic_fetch_add_explicit(&private_bytes, bytes, memory_order_relaxed);
}

static void *shared_take(size_t size)
{
	struct header *h = size < SIZE_MAX - sizeof(*h) ? source->take(size + sizeof(*h)) : NULL;

	if (h == NULL) {
		atomic_fetch_add_explicit(&counters[slot].refused, 1, memory_order_relaxed);
		refused++;
		return NULL;
	}
	h->mark = MARK_LIVE;
	h->size = size;
	count(1, (long)size);
	return h + 1;
}

/* The header of the live block P. Anything else means that memory is corrupt already: stop here, not later. */
static struct header *live_header(void *p)
{
	struct header *h = (struct header *)p - 1;

	if (h->mark != MARK_LIVE)
		abort();
	return h;
}

static void shared_give(void *p)
{
	struct header *h = live_header(p);

	count(-1, -(long)h->size);
	h->mark = MARK_FREE;
	/* OpenSSL leaves the secrets of TLS 1.3 in what it frees; and other processes, and core dumps, see this memory. */
	explicit_bzero(p, h->size);
	source->give(h);
}

static void *shared_resize(void *p, size_t size)
{
	size_t old = live_header(p)->size;
	void *fresh = shared_take(size);

	if (fresh == NULL)
		return NULL;
	memcpy(fresh, p, old < size ? old : size);
	shared_give(p);
	return fresh;
}

/* P may be NULL. */
static void *private_resize(void *p, size_t size)
{
	long before = (long)malloc_usable_size(p);
	void *fresh = realloc(p, size);

	if (fresh != NULL)
		count_private((long)malloc_usable_size(fresh) - before);
	return fresh;
}

static void private_give(void *p)
{
	count_private(-(long)malloc_usable_size(p));
	free(p);
}

static bool is_shared(const void *p)
{
	return source != NULL && source->contains(p);
}

static void *crypto_malloc(size_t size, const char *file, int line)
{
	void *p;

	(void)file;
	(void)line;
	if (size == 0)
		return NULL;
	p = scope > 0 && source != NULL ? shared_take(size) : private_resize(NULL, size);

	return p != NULL || !covered ? p : private_resize(NULL, size);
}

static void crypto_free(void *p, const char *file, int line)
{
	(void)file;
	(void)line;
	if (p == NULL)
		return;
	if (is_shared(p))
		shared_give(p);
	else
		private_give(p);
}

static void *crypto_realloc(void *p, size_t size, const char *file, int line)
{
	if (p == NULL)
		return crypto_malloc(size, file, line);
	if (size == 0) {
		crypto_free(p, file, line);
		return NULL;
	}
	return is_shared(p) ? shared_resize(p, size) : private_resize(p, size);
}

int tls_mem_install(void)
{
	return CRYPTO_set_mem_functions(crypto_malloc, crypto_realloc, crypto_free) == 1 ? 0 : -1;
}

int tls_mem_start(const struct tls_mem_source *from)
{
	counters = from->take(SLOTS * sizeof(*counters));
	if (counters == NULL)
		return -1;
	memset(counters, 0, SLOTS * sizeof(*counters));
	source = from;
	return 0;
}

void tls_mem_set_slot(int process)
{
	slot = (unsigned)process % SLOTS;
}

void tls_mem_set_library(OSSL_LIB_CTX *of_scope)
{
	library = of_scope;
}

void tls_mem_enter(void)
{
	if (scope == 0 && library != NULL)
		outside = OSSL_LIB_CTX_set0_default(library); /* outside: it may allocate, for this thread alone */
	scope++;
}

void tls_mem_leave(void)
{
	if (--scope == 0 && library != NULL)
		OSSL_LIB_CTX_set0_default(outside);
}

void tls_mem_cover(void)
{
	covered = true;
	covered_from = refused;
}

bool tls_mem_uncover(void)
{
	covered = false;
	return refused == covered_from;
}

void *tls_shared_alloc(size_t size)
{
	void *p = shared_take(size);

	if (p != NULL)
		memset(p, 0, size);
	return p;
}

char *tls_shared_strdup(const char *s)
{
	size_t size = strlen(s) + 1;
	char *copy = shared_take(size);

	return copy != NULL ? memcpy(copy, s, size) : NULL;
}

void tls_shared_free(void *p)
{
	if (p != NULL)
		shared_give(p);
}

void tls_mem_get_stats(struct tls_mem_stats *out)
{
	memset(out, 0, sizeof(*out));
	for (int i = 0; counters != NULL && i < SLOTS; i++) {
		out->blocks += atomic_load_explicit(&counters[i].blocks, memory_order_relaxed);
		out->bytes += atomic_load_explicit(&counters[i].bytes, memory_order_relaxed);
		out->refused += atomic_load_explicit(&counters[i].refused, memory_order_relaxed);
	}
}

long tls_mem_private(void)
{
	return atomic_load_explicit(&private_bytes, memory_order_relaxed);
}

long tls_mem_balance(void)
{
	return balance;
}

long tls_mem_refused(void)
{
	return refused;
}

size_t tls_mem_available(void)
{
	return source != NULL ? source->available() : 0;
}
