/*
 * heap/shape.h - the shape of the shared allocator, for its own files
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 *   source   the host's shared memory: one range, at the same address in every process
 *   region   120 KB taken from it, cut into pages of 2 KB; a block beyond half a region gets one of its own.
 *            Sizes that come and go have other regions than sizes that stay: a flood leaves no holes
 *   span     neighbouring pages, cut into at most 63 slots of one size class, or one large block
 *   cache    one current span for each class, from which whoever leases the cache takes slots
 *   group    blocks that go together stand apart from others, in spans and regions of their own: those of two
 *            configurations that are in use in turn would else leave holes in all regions
 *
 * A block has no header. A map of all pages in the source's range tells the kind of each, and where it is in
 * its region. That leads to the span, and to the slot: what is not the start of a slot is never taken for
 * one.
 *
 * Whether a slot is free is one bit. A slot in use has no bit set; a free one has its bit set in exactly one
 * of two places: in the word of its span, or in the `free` of the cache whose current span that is. So who
 * frees a slot for the second time finds its bit set. The invariants, which tls_heap_check() walks:
 *
 *   1. The runs of a region, spans and free ones, tile its pages. No two free runs are neighbours. A region is
 *      in the list of the empty ones, in that of its sort for the length of its longest free run, or full.
 *   2. A span of a class is one of
 *        current  of exactly one cache: HELD in its word
 *        listed   in its class, for anyone to take: HELD, some slots free and some in use
 *        spare    of its class, at most one: HELD, all slots free
 *        full     in no list: its word is 0
 *   3. Only the holder of the class's lock changes that state. A span goes away only under that lock, and only
 *      by whoever frees its last slot or lets go of it as current: a block in use keeps it, and so does a cache.
 *
 * So the common paths take no lock and write to no cache line that another processor writes to: allocating
 * clears a bit of the leased cache, freeing into a current span of that cache sets one. Freeing elsewhere
 * sets a bit in the span's word, by one atomic instruction, whichever process the block came from; the
 * class's lock is needed for the first free slot of a full span, and for the last. One atomic instruction
 * moves slots from the word to a cache.
 *
 * A cache is leased to one thread at a time, from tls_heap_hold() to tls_heap_let_go() or for one call.
 * Nobody waits for one: who finds none idle makes another. So there are about as many as there are threads at
 * work at the same instant, threads and processes are alike, and what idle caches keep can be taken from
 * them, as tls_heap_trim() does.
 *
 * Order of locks: a class, then the pages. None is held while the source is called.
 *
 * A process may be killed at any instruction. Whoever wants a lock that it held takes that over within
 * milliseconds. What the lock protects is then left alone rather than trusted: lists begin anew (the `epoch`
 * tells the old ones), a region in the middle of a change is never cut again, spans come back as their slots
 * are freed. The cache of a dead process is whole at every instruction, and is leased again. What may be lost
 * is memory: slots on their way, the rest of the lists. Nobody waits for ever, and no slot is ever given to
 * two.
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

#define CACHE_LINE 64 /* what processors share or do not share; regions and caches start at one */

/* ---- locks: heap/lock.c */

struct tls_lock {
	_Atomic uint32_t holder; /* thread id, 0: free */
};

/* This thread's id in the system. */
uint32_t tls_lock_self(void);

/* The same, after a fork in the child. */
void tls_lock_forked(void);

/* Waits for L. Returns true when its holder died with it: what it protects may be half changed. */
bool tls_lock_take(struct tls_lock *l);
void tls_lock_release(struct tls_lock *l);

/* Whether no thread of the system has this id any more. */
bool tls_lock_is_gone(uint32_t thread);

/* ---- rings: lists that an element leaves without knowing which it is in */

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

/* Regions are sorted by the sizes that they serve; what the sorts are is the business of heap/heap.c. */
#define SORTS    6
#define SORT_ANY SORTS

/*
 * Kinds of runs; below CLASSES: a span of that class. A class is a size in one of the groups of blocks that
 * stand apart.
 */
#define SIZES   71
#define GROUPS  3
#define CLASSES (SIZES * GROUPS)
enum { KIND_HUGE = 0xfc, KIND_LARGE = 0xfd, KIND_FREE = 0xfe, KIND_NONE = 0xff };

/* The descriptor of a run, in the region's head, at the place of the run's first page. */
struct span {
	_Atomic uint64_t word;  /* HELD, and a bit for each slot that is free and not with a cache */
	struct link link;       /* in the list of its class */
	uint32_t listed;        /* the epoch of the list that it is in, 0: none */
	_Atomic uint16_t owner; /* 1 + the number of the cache whose current span it is, 0: none */
	uint8_t kind;
	uint8_t pages;
};

struct region {
	struct link link; /* in the list that its free runs call for */
	void *taken;      /* what the source gave */
	size_t bytes;     /* asked of the source */
	size_t huge;      /* bytes of the one block that is all of it */
	uint32_t listed;  /* the epoch of the list that it is in, 0: none */
	uint8_t longest;  /* free run, when it was listed */
	uint8_t sort;
	uint8_t pages;               /* 0: one huge block */
	uint8_t free_pages;          /* all: the region is empty */
	bool broken;                 /* a change was not finished: never cut again */
	uint8_t first[REGION_PAGES]; /* for each page, the first one of its run */
	struct span spans[REGION_PAGES];
};

_Static_assert(sizeof(struct region) <= REGION_HEAD, "the head has room for the descriptors");

/* What the map tells of a page. */
struct page {
	uint8_t kind;  /* KIND_NONE: not in a region, or not the first page of a huge block */
	uint8_t index; /* in its region, or in the head of one */
};

struct pages {
	struct tls_lock lock;
	uint32_t epoch;
	struct link open[SORTS][RUN_LISTS]; /* regions in use, by their longest free run */
	struct link empty;                  /* regions not in use, of no sort */
	_Atomic(struct region *) changing;  /* by the lock's holder, now */
	long regions, empty_regions;
	long used, peak; /* pages in spans, and the most there were since the last half was given up */
	atomic_bool shrunk;
	_Atomic size_t held; /* bytes taken from the source */
	struct page map[];
};

/* Where the shared structures are: set before the forks, so the same in all processes. */
struct tls_pages_view {
	const struct tls_mem_source *source;
	struct pages *shared;
	uintptr_t low; /* where the source's range begins */
	size_t pages;  /* and how far it goes; both rounded outwards */
};

extern struct tls_pages_view tls_pages TLS_HIDDEN;

/* Finds the range of SOURCE and sets up the map. Returns 0, -1 without memory. */
int tls_pages_start(const struct tls_mem_source *source);

/*
 * SIZE zeroed bytes for a shared structure that stays, at the start of a cache line; *TAKEN is what the
 * source gave. NULL: no memory.
 */
void *tls_pages_fixed(size_t size, void **taken);

/*
 * A span of PAGES, HELD and without free slots, current of OWNER (0: nobody's), from a region of this SORT or
 * an empty one. NULL: there is none; tls_pages_add() may bring one, and SORT_ANY is for when it does not. The
 * class's lock may be held.
 */
struct span *tls_pages_take(unsigned pages, unsigned sort, uint8_t kind, uint16_t owner);

/*
 * Frees the pages of S, in region R. Returns a region that has left the heap by that, for tls_pages_return()
 * once no lock is held, or NULL. The class's lock may be held.
 */
struct region *tls_pages_give(struct region *r, struct span *s);

/* Gives R to the source; NULL: nothing. No lock is held. */
void tls_pages_return(struct region *r);

/* One more region with PAGES in a row. Returns false when the source has no memory. No lock is held. */
bool tls_pages_add(unsigned pages);

/* A region for one block of SIZE bytes, NULL without memory, and its end. No lock is held. */
struct region *tls_pages_add_huge(size_t size);
void tls_pages_give_huge(struct region *r);

/* Whether half of the pages in use have been given up since this was last true. */
bool tls_pages_shrunk(void);

/* Gives all empty regions to the source. No lock is held. */
void tls_pages_trim(void);

/* For tls_heap_check(): takes the lock and leaves it taken; lets it go. */
void tls_pages_enter(void);
void tls_pages_leave(void);

/* Ends the process: better here than later and elsewhere. */
_Noreturn void tls_pages_die(const char *what, const void *p);

/* The page of address P, tls_pages.pages or more when that is not in the source's range. */
static inline size_t page_of(const void *p)
{
	return ((uintptr_t)p - tls_pages.low) / PAGE;
}

/* The first byte of page I of R, counted from 0 after its head. */
static inline unsigned char *page_at(const struct region *r, size_t i)
{
	return (unsigned char *)(uintptr_t)r + REGION_HEAD + i * PAGE;
}

/* The region of a page that the map knows. */
static inline struct region *region_of(size_t page)
{
	return (struct region *)(tls_pages.low + (page - tls_pages.shared->map[page].index) * PAGE - REGION_HEAD);
}

/* The region that has the descriptor S in its head, whose pages the map counts from 0 too. */
static inline struct region *region_of_span(const struct span *s)
{
	size_t page = page_of(s);

	return (struct region *)(tls_pages.low + (page - tls_pages.shared->map[page].index) * PAGE);
}

static inline unsigned log2_of(size_t n)
{
	return 63 - (unsigned)__builtin_clzll(n);
}

/* The list for regions whose longest free run has PAGES, more than none. */
static inline unsigned run_list(unsigned pages)
{
	unsigned list = log2_of(pages);

	return list < RUN_LISTS ? list : RUN_LISTS - 1;
}

/* ---- classes, spans and caches: heap/heap.c */

#define SPAN_SLOTS   63
#define HELD         (UINT64_C(1) << 63) /* in a span's word, beside the bits of the slots */
#define CACHES       256    /* beyond so many threads at work at once, each call goes to the spans */
#define OWNER_NOBODY 0xffff /* current, but in no cache */

struct class
{
	struct tls_lock lock;
	uint32_t epoch;
	struct link spans;  /* the listed ones */
	struct span *spare; /* kept against taking and giving the same pages again and again */
	char pad[CACHE_LINE - sizeof(struct tls_lock) - sizeof(uint32_t) - sizeof(struct link) - sizeof(void *)];
};

/* What slots of a class are like. */
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
	uint32_t reciprocal;         /* of the class, here because this line is at hand */
	uint16_t size;
	uint16_t used; /* all slots together, in units of 16 bytes; 0: no span */
};

struct cache {
	_Atomic uint32_t holder; /* thread that leases it, 0: idle */
	uint16_t number;
	atomic_long blocks,
		bytes; /* taken less given by its holders: only the sums over all caches mean something */
	struct current current[CLASSES] __attribute__((aligned(CACHE_LINE)));
};

struct heap {
	atomic_long refused;
	atomic_long blocks, bytes; /* of those who got no cache */
	struct class classes[CLASSES] __attribute__((aligned(CACHE_LINE)));
	_Atomic(struct cache *) caches[CACHES]; /* filled from the front, never emptied */
};

/* As tls_pages_view. */
struct tls_heap_view {
	struct heap *shared;
	struct layout layouts[CLASSES];
	uint8_t classes[65]; /* in group 0, of sizes up to 1024, by the size in units of 16 rounded up */
};

extern struct tls_heap_view tls_heap TLS_HIDDEN;

/* For tls_heap_check(): takes the lock of class K and leaves it taken; lets it go. */
struct class *tls_heap_enter_class(unsigned k);
void tls_heap_leave_class(struct class *class);

static inline uint64_t all_slots(unsigned k)
{
	return (UINT64_C(1) << tls_heap.layouts[k].slots) - 1;
}

/* Bytes of a slot of class K. */
static inline size_t slot_size(unsigned k)
{
	return (size_t)tls_heap.layouts[k].size * 16;
}

/* The cache with number N, NULL: there is none yet. */
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

#endif
