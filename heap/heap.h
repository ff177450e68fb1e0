/*
 * heap/heap.h - the shared allocator: what others use
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_HEAP_HEAP_H
#define TLS_HEAP_HEAP_H

#include "tls.h"
#include "heap/source.h"

/*
 * Live blocks, and their bytes as rounded up by the heap; requests that found no memory; bytes taken from the
 * source: blocks, room for more, and bookkeeping.
 */
struct tls_mem_stats {
	long blocks, bytes, refused, held;
};

/*
 * Sets the heap up in the memory of SOURCE, which must outlive the process. Once, in the main process before
 * any fork. Before it hold, let_go, trim and get_stats do nothing, and nothing else may be called. Returns 0,
 * -1 without memory.
 */
int tls_heap_start(const struct tls_mem_source *source);

/*
 * A block for SIZE bytes, aligned to 16, with whatever content. NULL when there is no memory. Any thread of
 * any process may free it.
 */
void *tls_heap_alloc(size_t size);

/*
 * Wipes and frees the block P: OpenSSL leaves secrets of TLS 1.3 in what it frees, and other processes see
 * this memory. Ends the process, with a message, when P is not a live block of the heap.
 */
void tls_heap_free(void *p);

/*
 * How many bytes the block P has room for: what was asked for, or more. Ends the process as tls_heap_free().
 */
size_t tls_heap_size(const void *p);

/* Whether P points into the source's range, as its contains() says, but at less cost. */
bool tls_heap_contains(const void *p);

/*
 * Between these two the thread has a cache to itself and need not lease one for each call. They do not nest.
 * Nobody ever waits for it, so it may be held for long.
 */
void tls_heap_hold(void);
void tls_heap_let_go(void);

/*
 * What this thread takes from now on belongs to group G, 1 or 2, and stands apart from all else; 0: to none.
 * For many blocks that are freed together.
 */
void tls_heap_choose_group(unsigned g);

/* Gives back what no block needs. For a timer, in one process; it takes microseconds. */
void tls_heap_trim(void);

/*
 * Bytes that this thread has taken less those that it has given back, since it began: the difference over a
 * stretch of work tells what that added.
 */
long tls_heap_balance(void);

/* Sums the counters of all processes. */
void tls_heap_get_stats(struct tls_mem_stats *out);

/*
 * For tests, and after each trim in builds with -DTLS_DEBUG: walks everything and ends the process when an
 * invariant does not hold. Returns how many live blocks it saw, which is exact while nobody else is at work.
 */
long tls_heap_check(void);

#ifdef TLS_FAULTS
/*
 * For tests: of this process's allocations the N-th from now fails, and with FOREVER all after it. N of 0:
 * none does any more. The other tells how many there were since.
 */
void tls_heap_fail_at(long n, bool forever);
long tls_heap_asked(void);
#endif

#endif
