/*
 * heap/shape.h - the shape of the shared allocator, for its own files
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 *   source   the host's shared memory: one range, at the same address in every process.
 *   region   120 KB taken from the source and cut into pages of 2 KB. A block larger than half a region has a region of
 *            its own. Short-lived sizes and long-lived sizes have separate regions, so that a flood of connections leaves
 *            no holes.
 *   span     adjacent pages that hold either at most 63 slots of one size class, or one large block.
 *   cache    one current span for each class. A thread that leases the cache takes slots from these spans.
 *   group    blocks that are freed together have spans and regions of their own. Otherwise two configurations that take
 *            turns would leave holes in all regions.
 *
 * A block has no header. A map of all pages in the source's range gives the kind of each page and its place in its region.
 * The region leads to the span, and the span to the slot. An address that is not the start of a slot is never taken for one.
 *
 * One bit tells whether a slot is free. A slot in use has no bit set. A free slot has its bit set in exactly one of two
 * places: in the word of its span, or in `free` of the cache whose current span it belongs to. A second free of the same
 * slot therefore finds the bit set. The invariants, which tls_heap_check() verifies:
 *
 *   1. The runs of a region (spans and free runs) cover its pages without gaps. Two free runs are never adjacent. A region
 *      is in the list of empty regions, in the list of its sort for the length of its longest free run, or full.
 *   2. A span of a class has one of these states:
 *        current  current span of exactly one cache; its word has HELD set
 *        listed   in the list of its class and available to all; HELD set, some slots free and some in use
 *        spare    at most one for each class; HELD set, all slots free
 *        full     in no list; its word is 0
 *   3. Only the holder of the class's lock changes that state. A span is released only under that lock, and only by the
 *      thread that frees its last slot or that stops using it as its current span. Until then a block in use keeps the
 *      span alive, and so does a cache.
 *
 * The common paths therefore take no lock and write to no cache line that another processor writes to: an allocation clears
 * a bit of the leased cache, and a free into a current span of that cache sets one. A free into any other span sets a bit in
 * that span's word with one atomic instruction, whichever process allocated the block. Only the first free slot of a full
 * span and the last one need the class's lock. One atomic instruction moves slots from a span's word to a cache.
 *
 * A cache is leased to one thread at a time, either from tls_heap_hold() to tls_heap_let_go() or for a single call. Threads
 * never wait for a cache: a thread that finds no idle cache creates one. There are thus about as many caches as threads that
 * work at the same time. Threads and processes are treated alike. tls_heap_trim() can take back the memory that idle caches
 * keep.
 *
 * Order of locks: first a class's lock, then that of the pages. No lock is held while the source is called.
 *
 * A process may be killed at any instruction. Another thread that wants a lock of the dead process takes it over within
 * milliseconds. It does not trust what the lock protected: the lists start empty (the `epoch` identifies the old ones), a
 * region whose change was not finished is never cut again, and spans return as their slots are freed. The cache of a dead
 * process is consistent at every instruction, so it is leased again. Memory may be lost: slots that were being moved, and
 * the rest of the lists. But no thread waits for ever, and no slot is ever handed out twice.
 */
#ifndef TLS_HEAP_SHAPE_H
#define TLS_HEAP_SHAPE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "heap/source.h"

#define TLS_HIDDEN    __attribute__((visibility("hidden")))
#define TLS_COLD      __attribute__((noinline, cold))
#define TLS_LIKELY(x) __builtin_expect(!!(x), 1)

#define CACHE_LINE 64 /* the unit in which processors share memory; regions and caches start at one */

/* ---- locks: heap/lock.c */

struct tls_lock {
	_Atomic uint32_t holder; /* thread id, 0: free */
};

/* This thread's id in the system (gettid(2)). */
uint32_t tls_lock_self(void);

/* Forgets the stored id; for the child after a fork. */
void tls_lock_forked(void);

/* Waits for L. Returns true when the previous holder died with it, so that the data it protects may be half changed. */
bool tls_lock_take(struct tls_lock *l);
void tls_lock_release(struct tls_lock *l);

/* Whether the thread with this id has ended. */
bool tls_lock_is_gone(uint32_t thread);

/* ---- rings: lists from which an element can be removed without knowing the list */

struct link {
	struct link *next, *prev;
};

#define CONTAINER(type, member, l) ((type *)(void *)((unsigned char *)(l)-offsetof(type, member)))

static inline void ring_init(struct link *ring)
{
	ring->next = ring->prev = ring;
}

static inline void ring_insert(struct link *after, struct link *l)
{
	l->prev = after;
	l->next = after->next;
	after->next->prev = l;
	after->next = l;
}

static inline void ring_remove(struct link *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
}

/* ---- regions and pages: heap/pages.c */

#define PAGE         ((size_t)2048)
#define REGION_HEAD  ((size_t)2048)
#define REGION_PAGES 60
#define RUN_LISTS    6 /* free runs of 1, 2-3, 4-7, 8-15, 16-31, 32 and more pages */

/* Regions are sorted by the sizes that they serve; heap/spans.c defines the sorts. */
#define SORTS    6
#define SORT_ANY SORTS

/* Kinds of runs; a number below CLASSES is a span of that class. A class is a size in one of the groups. */
#define SIZES   71
#define GROUPS  3
#define CLASSES (SIZES * GROUPS)
enum { KIND_HUGE = 0xfc, KIND_LARGE = 0xfd, KIND_FREE = 0xfe, KIND_NONE = 0xff };

/* The descriptor of a run, in the region's head, at the place of the run's first page. */
struct span {
	_Atomic uint64_t word;  /* HELD, and a bit for each free slot that no cache has taken */
	struct link link;       /* in the list of its class */
	uint32_t listed;        /* the epoch of the list that it is in, 0: none */
	_Atomic uint16_t owner; /* 1 + the number of the cache whose current span it is, 0: none */
	uint8_t kind;
	uint8_t pages;
};

struct region {
	struct link link; /* in the list for its longest free run */
	void *taken;      /* the block from the source */
	size_t bytes;     /* asked of the source */
	size_t huge;      /* bytes of its only block, 0: a region with pages */
	uint32_t listed;  /* the epoch of the list that it is in, 0: none */
	uint8_t longest;  /* longest free run when it was listed */
	uint8_t sort;
	uint8_t pages;               /* 0: one huge block */
	uint8_t free_pages;          /* all: the region is empty */
	bool broken;                 /* a change was not finished: no longer cut */
	uint8_t first[REGION_PAGES]; /* for each page, the first one of its run */
	struct span spans[REGION_PAGES];
};

_Static_assert(sizeof(struct region) <= REGION_HEAD, "the head holds the descriptors");

/* The entry of a page in the map. */
struct page {
	uint8_t kind;  /* KIND_NONE: not in a region, or not the first page of a huge block */
	uint8_t index; /* in its region, or in the head of one */
};

struct pages {
	struct tls_lock lock;
	uint32_t epoch;
	struct link open[SORTS][RUN_LISTS]; /* regions in use, by their longest free run */
	struct link empty;                  /* regions not in use, of no sort */
	_Atomic(struct region *) changing;  /* the region that the lock's holder is changing */
	long regions, empty_regions;
	long used, peak; /* pages in spans, and their maximum since tls_pages_shrunk() was last true */
	atomic_bool shrunk;
	_Atomic size_t held; /* bytes taken from the source */
	struct page map[];
};

/* The addresses of the shared structures: set before the forks, so the same in all processes. */
struct tls_pages_view {
	const struct tls_mem_source *source;
	struct pages *shared;
	uintptr_t low; /* where the source's range begins */
	size_t pages;  /* its length; both rounded outwards */
};

extern struct tls_pages_view tls_pages TLS_HIDDEN;

/* Finds the range of SOURCE and sets up the map. Returns 0, -1 when memory is short. */
int tls_pages_start(const struct tls_mem_source *source);

/*
 * SIZE zeroed bytes for a permanent shared structure, at the start of a cache line; *TAKEN is the block from the source.
 * NULL when memory is short.
 */
void *tls_pages_fixed(size_t size, void **taken);

/*
 * A span of PAGES with HELD set and no free slots, current span of OWNER (0: no cache), from a region of this SORT or an
 * empty one. NULL when there is none: tls_pages_add() may provide one; if it cannot, SORT_ANY accepts any region. The
 * class's lock may be held.
 */
struct span *tls_pages_take(unsigned pages, unsigned sort, uint8_t kind, uint16_t owner);

/*
 * Frees the pages of S in region R. Returns a region that the heap no longer needs, for tls_pages_return() once no lock is
 * held, or NULL. The class's lock may be held.
 */
struct region *tls_pages_give(struct region *r, struct span *s);

/* Returns R (NULL: nothing) to the source. No lock may be held. */
void tls_pages_return(struct region *r);

/* Adds a region with PAGES adjacent pages. Returns false when the source has no memory. No lock may be held. */
bool tls_pages_add(unsigned pages);

/* Creates a region for one block of SIZE bytes (NULL when memory is short), or frees it. No lock may be held. */
struct region *tls_pages_add_huge(size_t size);
void tls_pages_give_huge(struct region *r);

/* Whether the number of pages in use has halved since this was last true. */
bool tls_pages_shrunk(void);

/* Returns all empty regions to the source. No lock may be held. */
void tls_pages_trim(void);

/* For tls_heap_check(): take and release the lock. */
void tls_pages_enter(void);
void tls_pages_leave(void);

/* Ends the process at once, as it would crash later in an unrelated place. */
_Noreturn void tls_pages_die(const char *what, const void *p);

/* The number of P's page; tls_pages.pages or more when P is not in the source's range. */
static inline size_t page_of(const void *p)
{
	return ((uintptr_t)p - tls_pages.low) / PAGE;
}

/* The first byte of page I of R; page 0 follows the head. */
static inline unsigned char *page_at(const struct region *r, size_t i)
{
	return (unsigned char *)(uintptr_t)r + REGION_HEAD + i * PAGE;
}

/* The region of a page that the map has. */
static inline struct region *region_of(size_t page)
{
	return (struct region *)(tls_pages.low + (page - tls_pages.shared->map[page].index) * PAGE - REGION_HEAD);
}

/* The region with the descriptor S in its head; the map counts the pages of the head from 0 as well. */
static inline struct region *region_of_span(const struct span *s)
{
	size_t page = page_of(s);

	return (struct region *)(tls_pages.low + (page - tls_pages.shared->map[page].index) * PAGE);
}

static inline unsigned log2_of(size_t n)
{
	return 63 - (unsigned)__builtin_clzll(n);
}

/* The list for regions whose longest free run has PAGES (at least 1). */
static inline unsigned run_list(unsigned pages)
{
	unsigned list = log2_of(pages);

	return list < RUN_LISTS ? list : RUN_LISTS - 1;
}

/* ---- classes, spans and caches: heap/heap.c */

#define SPAN_SLOTS   63
#define HELD         (UINT64_C(1) << 63) /* in a span's word, beside the bits of the slots */
#define CACHES       256    /* with more threads at work at once, the others use the spans directly */
#define OWNER_NOBODY 0xffff /* current, but in no cache */

struct class
{
	struct tls_lock lock;
	uint32_t epoch;
	struct link spans;  /* the listed ones */
	struct span *spare; /* kept so that the same pages are not taken and freed again and again */
	char pad[CACHE_LINE - sizeof(struct tls_lock) - sizeof(uint32_t) - sizeof(struct link) - sizeof(void *)];
};

/* The slots of a class. */
struct layout {
	uint32_t reciprocal; /* 2^32 / size, rounded up: a product instead of a division */
	uint16_t size;       /* of a slot, in units of 16 bytes */
	uint8_t slots;       /* of a span */
	uint8_t pages;
};

struct current {
	_Atomic(struct span *) span; /* changed under the class's lock only */
	_Atomic uint64_t free;       /* changed by the lease's holder only, as is the rest */
	unsigned char *base;         /* NULL: no span */
	uint32_t reciprocal;         /* of the class; copied here because this cache line is in use anyway */
	uint16_t size;
	uint16_t used; /* all slots together, in units of 16 bytes; 0: no span */
};

struct cache {
	_Atomic uint32_t holder; /* thread that leases it, 0: idle */
	uint16_t number;
	atomic_long blocks,
		bytes; /* allocated less freed by its holders; meaningful only as a sum over all caches */
	struct current current[CLASSES] __attribute__((aligned(CACHE_LINE)));
};

struct heap {
	atomic_long refused;
	atomic_long blocks, bytes; /* of threads without a cache */
	struct class classes[CLASSES] __attribute__((aligned(CACHE_LINE)));
	_Atomic(struct cache *) caches[CACHES]; /* filled from the front, never emptied */
};

/* Like tls_pages_view. */
struct tls_heap_view {
	struct heap *shared;
	struct layout layouts[CLASSES];
	uint8_t classes[65]; /* in group 0, of sizes up to 1024, by the size in units of 16 rounded up */
};

extern struct tls_heap_view tls_heap TLS_HIDDEN;

static inline uint64_t all_slots(unsigned k)
{
	return (UINT64_C(1) << tls_heap.layouts[k].slots) - 1;
}

/* Bytes of a slot of class K. */
static inline size_t slot_size(unsigned k)
{
	return (size_t)tls_heap.layouts[k].size * 16;
}

/* The cache with number N, NULL: not created yet. */
static inline struct cache *cache_at(unsigned n)
{
	return n < CACHES ? atomic_load_explicit(&tls_heap.shared->caches[n], memory_order_acquire) : NULL;
}

static inline bool span_is_listed(const struct class *class, const struct span *s)
{
	return s->listed == class->epoch;
}

static inline bool region_is_listed(const struct region *r)
{
	return r->listed == tls_pages.shared->epoch;
}

/* ---- the spans of a class: heap/spans.c */

/* Take and release the lock of class K, which all functions below need but tls_spans_sort(). */
struct class *tls_spans_enter(unsigned k);
void tls_spans_leave(struct class *class);

/*
 * Each returns a region that the heap no longer needs, or NULL; the caller passes it to tls_pages_return() without a
 * lock.
 *   settle         lists S, which is HELD, in no cache and has free slots; if all slots are free, makes it the spare or
 *                  releases it. S may still refer to an old list, left by a holder that died
 *   drop_current   empties CUR and returns its free slots to the span
 *   release_spare  gives the pages of the spare back, if there is one
 */
struct region *tls_spans_settle(struct class *class, struct span *s, unsigned k);
struct region *tls_spans_drop_current(struct class *class, struct current *cur, unsigned k);
struct region *tls_spans_release_spare(struct class *class);

/*
 * Gives CUR, which is empty, a span with free slots: a listed one, the spare, or new pages, from a region of any sort
 * with ANYWHERE. Returns false when there are no pages for it.
 */
bool tls_spans_renew_current(struct class *class, struct current *cur, unsigned k, uint16_t owner,
                             bool anywhere);

/* The sort of regions for blocks of SIZE bytes in group IN_GROUP. */
unsigned tls_spans_sort(size_t size, unsigned in_group);

#endif
