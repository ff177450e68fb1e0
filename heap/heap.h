/*
 * heap/heap.h - the allocator for shared memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_HEAP_HEAP_H
#define TLS_HEAP_HEAP_H

#include "tls.h"
#include "heap/source.h"

/*
 * Blocks in use, and their bytes as rounded up by the heap; requests that were refused for lack of memory; bytes taken from
 * the source for blocks, free space and bookkeeping.
 */
struct tls_mem_stats {
	long blocks, bytes, refused, held;
};

/*
 * Sets up the heap in the memory of SOURCE, which must outlive the process. Once, in the main process before any fork.
 * Before this call hold, let_go, trim and get_stats do nothing, and no other function may be called. Returns 0, -1 when
 * memory is short.
 */
int tls_heap_start(const struct tls_mem_source *source);

/*
 * A block of at least SIZE bytes, aligned to 16, with undefined content. NULL when memory is short. Any thread of any
 * process may free it.
 */
void *tls_heap_alloc(size_t size);

/*
 * Wipes and frees the block P: OpenSSL frees blocks that hold TLS 1.3 secrets, and other processes can read this memory.
 * Ends the process with a message when P is not a block in use.
 */
void tls_heap_free(void *p);

/* The size of the block P: the bytes that were asked for, or more. Ends the process as tls_heap_free() does. */
size_t tls_heap_size(const void *p);

/* Whether P points into the source's range; faster than the source's contains(). */
bool tls_heap_contains(const void *p);

/*
 * Between these two calls the thread leases a cache instead of leasing one for each allocation. They do not nest. No other
 * thread ever waits for the cache, so it may be held for long.
 */
void tls_heap_hold(void);
void tls_heap_let_go(void);

/*
 * Blocks that this thread allocates from now on belong to group G, 1 or 2, and are kept apart from all others; 0: to no
 * group. For many blocks that are freed together.
 */
void tls_heap_choose_group(unsigned g);

/* Returns unused memory to the source. For a timer, in one process; takes microseconds. */
void tls_heap_trim(void);

/*
 * Bytes that this thread has allocated less those that it has freed since it began. The difference between two calls is
 * what the work in between added.
 */
long tls_heap_balance(void);

/* Sums the counters of all processes. */
void tls_heap_get_stats(struct tls_mem_stats *out);

/*
 * For tests, and after each trim in builds with -DTLS_DEBUG: checks all invariants and ends the process when one does not
 * hold. Returns the number of blocks in use, which is exact while no other thread uses the heap.
 */
long tls_heap_check(void);

#ifdef TLS_FAULTS
/*
 * For tests: the N-th allocation of this process from now fails, and with FOREVER all later ones; N of 0 ends that. The
 * other function returns the number of allocations since.
 */
void tls_heap_fail_at(long n, bool forever);
long tls_heap_asked(void);
#endif

#endif
