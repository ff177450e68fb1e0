/*
 * tls_mem.c - the two worlds: which memory OpenSSL's allocations come from
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * Outside a scope an allocation is libc's and private to the process; inside one it is a block of the shared
 * heap. Freeing and resizing go by the address.
 */
#include <malloc.h>
#include <openssl/crypto.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "tls.h"

static const struct tls_mem_source *source; /* set before the forks, so the same in all processes */
static atomic_long private_bytes;           /* of this process's own world, with malloc's rounding */
static _Thread_local int scope __attribute__((tls_model("initial-exec")));

static OSSL_LIB_CTX *library; /* the default one inside a scope */
static _Thread_local OSSL_LIB_CTX *outside __attribute__((tls_model("initial-exec")));
static _Thread_local long refused __attribute__((tls_model("initial-exec")));
static _Thread_local bool covered __attribute__((tls_model("initial-exec")));
static _Thread_local long covered_from __attribute__((tls_model("initial-exec")));

static void count_private(long bytes)
{
	atomic_fetch_add_explicit(&private_bytes, bytes, memory_order_relaxed);
}

static void *shared_take(size_t size)
{
	void *p = tls_heap_alloc(size);

	refused += p == NULL;
	return p;
}

/* In place when that wastes less than half; making smaller never fails. */
static void *shared_resize(void *p, size_t size)
{
	size_t old = tls_heap_size(p);
	void *fresh;

	if (size <= old && size > old / 2)
		return p;
	fresh = shared_take(size);
	if (fresh == NULL)
		return size <= old ? p : NULL;
	memcpy(fresh, p, old < size ? old : size);
	tls_heap_free(p);
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
	return source != NULL && tls_heap_contains(p);
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
		tls_heap_free(p);
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
	if (tls_heap_start(from) != 0)
		return -1;
	source = from;
	return 0;
}

void tls_mem_set_library(OSSL_LIB_CTX *of_scope)
{
	library = of_scope;
}

void tls_mem_enter(void)
{
	if (scope == 0 && library != NULL)
		outside = OSSL_LIB_CTX_set0_default(library); /* outside: it may allocate, for this thread alone */
	if (scope++ == 0)
		tls_heap_hold();
}

void tls_mem_leave(void)
{
	if (--scope > 0)
		return;
	tls_heap_let_go();
	if (library != NULL)
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
		tls_heap_free(p);
}

void tls_mem_get_stats(struct tls_mem_stats *out)
{
	tls_heap_get_stats(out);
}

long tls_mem_private(void)
{
	return atomic_load_explicit(&private_bytes, memory_order_relaxed);
}

long tls_mem_balance(void)
{
	return tls_heap_balance();
}

long tls_mem_refused(void)
{
	return refused;
}

size_t tls_mem_available(void)
{
	return source != NULL ? source->available() : 0;
}
