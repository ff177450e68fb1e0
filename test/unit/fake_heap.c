/*
 * fake_heap.c - in place of the shared heap: each block is one of the host's, so that fake_memory.c sees them
 * all
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <stdatomic.h>
#include <string.h>

#include "heap/heap.h"
#include "heap/shape.h"

/* Keeps a block aligned as its source aligned the header. */
struct header {
	size_t size;
	char pad[16 - sizeof(size_t)];
};

static const struct tls_mem_source *source;
static atomic_long blocks, bytes, refused;
static _Thread_local long balance;

static void count(long n, long size)
{
	blocks += n;
	bytes += size;
	balance += size;
}

int tls_heap_start(const struct tls_mem_source *from)
{
	source = from;
	return 0;
}

void *tls_heap_alloc(size_t size)
{
	struct header *h = size < SIZE_MAX - sizeof(*h) ? source->take(size + sizeof(*h)) : NULL;

	if (h == NULL) {
		refused++;
		return NULL;
	}
	h->size = size;
	count(1, (long)size);
	return h + 1;
}

void tls_heap_free(void *p)
{
	struct header *h = (struct header *)p - 1;

	count(-1, -(long)h->size);
	explicit_bzero(p, h->size);
	source->give(h);
}

size_t tls_heap_size(const void *p)
{
	return ((const struct header *)p - 1)->size;
}

bool tls_heap_contains(const void *p)
{
	return source->contains(p);
}

void tls_heap_hold(void) {}

void tls_heap_let_go(void) {}

void tls_heap_trim(void) {}

void tls_heap_choose_group(unsigned g)
{
	(void)g;
}

long tls_heap_balance(void)
{
	return balance;
}

void tls_heap_get_stats(struct tls_mem_stats *out)
{
	*out = (struct tls_mem_stats){blocks, bytes, refused, bytes};
}

long tls_heap_check(void)
{
	return blocks;
}
