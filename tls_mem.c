/*
 * tls_mem.c - the two worlds of memory: private to a process, and shared by all
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * Outside a scope an allocation is libc's and private to the process; inside one it is a block of the shared
 * heap. Freeing and resizing go by the address.
 */
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "tls_mem.h"
#include "heap/heap.h"

static const struct tls_mem_source *source; /* set before the forks, so the same in all processes */
static atomic_long private_bytes;           /* of this process's own world, with malloc's rounding */
static _Thread_local int scope __attribute__((tls_model("initial-exec")));

static _Thread_local long refused __attribute__((tls_model("initial-exec")));
static _Thread_local bool fallback __attribute__((tls_model("initial-exec")));
static _Thread_local long refused_before __attribute__((tls_model("initial-exec"))); /* the fallback began */
static _Thread_local bool uses_reserve __attribute__((tls_model("initial-exec")));

/* A piece is the least that the heap asks the source for: enough for the two buffers of a message. */
#define RESERVE_PIECES 8
#define RESERVE_PIECE  ((size_t)45 * 1024)
#define RESERVE_BLOCK  ((size_t)40 * 1024) /* the reserve does not help larger ones */

/* In shared memory. */
struct reserve {
	_Atomic(void *) pieces[RESERVE_PIECES];
	atomic_bool was_short; /* a process was refused memory */
};

static struct reserve *reserve;
static unsigned reserve_pieces; /* how many there should be */

static void count_private(long bytes)
{
	atomic_fetch_add_explicit(&private_bytes, bytes, memory_order_relaxed);
}

/* ---- the reserve */

/* Fills it as far as the source allows. Returns whether it is full. */
static bool fill_reserve(void)
{
	for (unsigned i = 0; i < reserve_pieces; i++) {
		void *none = NULL, *piece;

		if (atomic_load(&reserve->pieces[i]) != NULL)
			continue;
		piece = source->take(RESERVE_PIECE);
		if (piece == NULL)
			return false;
		if (!atomic_compare_exchange_strong(&reserve->pieces[i], &none, piece))
			source->give(piece);
	}
	return true;
}

/* Gives one piece back to the source, for the heap to take it. Returns false when there is none. */
static bool draw_reserve(void)
{
	for (unsigned i = 0; i < reserve_pieces; i++) {
		void *piece = atomic_exchange(&reserve->pieces[i], NULL);

		if (piece == NULL)
			continue;
		source->give(piece);
		return true;
	}
	return false;
}

static long reserve_bytes(void)
{
	long bytes = 0;

	for (unsigned i = 0; i < reserve_pieces; i++)
		bytes += atomic_load(&reserve->pieces[i]) != NULL ? (long)RESERVE_PIECE : 0;
	return bytes;
}

/* At most a 64th of the shared memory. */
static int start_reserve(void)
{
	size_t pieces = source->available() / 64 / RESERVE_PIECE;

	reserve = tls_mem_shared_alloc(sizeof(*reserve));
	if (reserve == NULL)
		return -1;
	reserve_pieces = pieces < RESERVE_PIECES ? (unsigned)pieces : RESERVE_PIECES;
	fill_reserve();
	return 0;
}

bool tls_mem_was_short(void)
{
	return atomic_load_explicit(&reserve->was_short, memory_order_relaxed);
}

bool tls_mem_recover(size_t size)
{
	void *piece = fill_reserve() ? source->take(size) : NULL;

	if (piece == NULL)
		return false;
	source->give(piece);
	atomic_store(&reserve->was_short, false);
	return true;
}

void tls_mem_use_reserve(bool on)
{
	uses_reserve = on;
}

/* ---- allocating in either world */

/*
 * The heap has no space for SIZE bytes. From now on handshakes wait, so the reserve is left to the threads that may use
 * it.
 */
static __attribute__((noinline, cold)) void *take_in_need(size_t size)
{
	void *p = NULL;

	if (reserve != NULL)
		atomic_store(&reserve->was_short, true);
	while (p == NULL && uses_reserve && size <= RESERVE_BLOCK && draw_reserve())
		p = tls_heap_alloc(size);
	refused += p == NULL;
	return p;
}

static void *shared_take(size_t size)
{
	void *p = tls_heap_alloc(size);

	return p != NULL ? p : take_in_need(size);
}

/* In place when that wastes less than half. Shrinking never fails. */
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

void *tls_mem_alloc(size_t size)
{
	void *p;

	if (size == 0)
		return NULL;
	p = scope > 0 && source != NULL ? shared_take(size) : private_resize(NULL, size);
	return p != NULL || !fallback ? p : private_resize(NULL, size);
}

void tls_mem_free(void *p)
{
	if (p == NULL)
		return;
	if (is_shared(p))
		tls_heap_free(p);
	else
		private_give(p);
}

void *tls_mem_realloc(void *p, size_t size)
{
	if (p == NULL)
		return tls_mem_alloc(size);
	if (size == 0) {
		tls_mem_free(p);
		return NULL;
	}
	return is_shared(p) ? shared_resize(p, size) : private_resize(p, size);
}

int tls_mem_start(const struct tls_mem_source *from)
{
	if (tls_heap_start(from) != 0)
		return -1;
	source = from;
	return start_reserve();
}

void tls_mem_enter_scope(void)
{
	if (scope++ == 0)
		tls_heap_hold();
}

void tls_mem_leave_scope(void)
{
	if (--scope == 0)
		tls_heap_let_go();
}

bool tls_mem_in_scope(void)
{
	return scope > 0;
}

void tls_mem_begin_fallback(void)
{
	fallback = true;
	refused_before = refused;
}

bool tls_mem_end_fallback(void)
{
	fallback = false;
	return refused == refused_before;
}

void *tls_mem_shared_alloc(size_t size)
{
	void *p = shared_take(size);

	if (p != NULL)
		memset(p, 0, size);
	return p;
}

char *tls_mem_shared_strdup(const char *s)
{
	size_t size = strlen(s) + 1;
	char *copy = shared_take(size);

	return copy != NULL ? memcpy(copy, s, size) : NULL;
}

void tls_mem_shared_free(void *p)
{
	if (p != NULL)
		tls_heap_free(p);
}

void tls_mem_get_stats(struct tls_mem_stats *out)
{
	tls_heap_get_stats(out);
	out->held += reserve_bytes();
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
