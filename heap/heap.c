/*
 * heap/heap.c - the shared allocator: size classes, caches, blocks
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * heap/shape.h describes the structure and the invariants.
 */
#include <pthread.h>
#include <string.h>

#include "heap/heap.h"
#include "heap/shape.h"

#define FINE_CLASSES   15             /* 32 to 256 bytes, 16 apart; then eight for each doubling */
#define TABLE_MAX      ((size_t)1024) /* sizes whose class is looked up */
#define SMALL_MAX      ((size_t)32768)
#define LARGE_PAGES    (REGION_PAGES / 2)
#define MAX_SPAN_PAGES 20

#define IE __attribute__((tls_model("initial-exec")))

struct tls_heap_view tls_heap;

static _Thread_local struct cache *leased IE; /* between hold and let_go */
static _Thread_local unsigned last_cache IE;  /* its number */
static _Thread_local unsigned group IE;       /* of the blocks that this thread allocates */
static _Thread_local long balance IE; /* bytes allocated less freed, up to the start of the current lease */
static _Thread_local long lease_bytes IE; /* the cache's byte count at that time */

/* ---- classes */

/* In group 0. */
static unsigned compute_class(size_t size)
{
	unsigned shift;

	if (size <= 256)
		return size <= 32 ? 0 : (unsigned)((size - 1) / 16 - 1);
	shift = log2_of(size - 1) - 3;
	return FINE_CLASSES + (shift - 5) * 8 + (unsigned)((size - 1) >> shift) - 8;
}

static unsigned class_of(size_t size)
{
	unsigned k = TLS_LIKELY(size <= TABLE_MAX) ? tls_heap.classes[(size + 15) / 16] : compute_class(size);

	return k + group * SIZES;
}

static unsigned class_size(unsigned k)
{
	unsigned size = k % SIZES, step = size - FINE_CLASSES;

	return size < FINE_CLASSES ? (size + 2) * 16 : (step % 8 + 9) << (step / 8 + 5);
}

/* ---- caches */

static bool try_lease(struct cache *c, uint32_t holder)
{
	return atomic_load_explicit(&c->holder, memory_order_relaxed) == holder &&
	       atomic_compare_exchange_strong_explicit(&c->holder, &holder, tls_lock_self(), memory_order_acquire,
	                                               memory_order_relaxed);
}

static void release_lease(struct cache *c)
{
	atomic_store_explicit(&c->holder, 0, memory_order_release);
}

/* Leases C if its holder has ended. */
static bool try_inherit(struct cache *c)
{
	uint32_t holder = atomic_load_explicit(&c->holder, memory_order_relaxed);

	return holder != 0 && tls_lock_is_gone(holder) && try_lease(c, holder);
}

/* Creates and leases a cache, which is never freed. NULL when memory is short or all numbers are taken. */
static struct cache *new_cache(void)
{
	void *taken;
	struct cache *c = tls_pages_fixed(sizeof(*c), &taken);

	if (c == NULL)
		return NULL;
	atomic_store_explicit(&c->holder, tls_lock_self(), memory_order_relaxed);
	for (unsigned n = 0; n < CACHES; n++) {
		struct cache *none = NULL;

		c->number = (uint16_t)n;
		if (cache_at(n) == NULL &&
		    atomic_compare_exchange_strong_explicit(&tls_heap.shared->caches[n], &none, c,
		                                            memory_order_release, memory_order_relaxed)) {
			atomic_fetch_add_explicit(&tls_pages.shared->held, sizeof(*c), memory_order_relaxed);
			return c;
		}
	}
	tls_pages.source->give(taken);
	return NULL;
}

/* Leases an idle cache, one whose holder has ended, or a new one. NULL: none; allocation works without one. */
static struct cache *find_cache(void)
{
	struct cache *c;
	unsigned n;

	for (n = 0; (c = cache_at(n)) != NULL; n++)
		if (try_lease(c, 0))
			return c;
	if (n == CACHES)
		return NULL;
	for (n = 0; (c = cache_at(n)) != NULL; n++)
		if (try_inherit(c))
			return c;
	return new_cache();
}

/* Leases cache number N if it is idle, else returns NULL. */
static struct cache *lease_number(unsigned n)
{
	struct cache *c = cache_at(n);

	return c != NULL && try_lease(c, 0) ? c : NULL;
}

/*
 * Leases a cache for this thread. NULL: none. It first tries the number below that of its last cache, then its last
 * cache: after a peak threads thus return to the lowest numbers, and slots are kept ready only for as many threads as work
 * at the same time.
 */
static struct cache *lease(void)
{
	struct cache *c = last_cache > 0 ? lease_number(last_cache - 1) : NULL;

	if (c == NULL)
		c = lease_number(last_cache);
	if (c == NULL)
		c = find_cache();
	if (c != NULL) {
		last_cache = c->number;
		lease_bytes = atomic_load_explicit(&c->bytes, memory_order_relaxed);
	}
	return c;
}

void tls_heap_hold(void)
{
	if (tls_heap.shared != NULL && leased == NULL)
		leased = lease();
}

void tls_heap_let_go(void)
{
	struct cache *c = leased;

	if (c == NULL)
		return;
	leased = NULL;
	balance += atomic_load_explicit(&c->bytes, memory_order_relaxed) - lease_bytes;
	release_lease(c);
}

void tls_heap_choose_group(unsigned g)
{
	group = g % GROUPS;
}

/* There is only one writer, so no atomic addition is needed. */
static inline void add(atomic_long *sum, long n)
{
	atomic_store_explicit(sum, atomic_load_explicit(sum, memory_order_relaxed) + n, memory_order_relaxed);
}

static inline void count(struct cache *c, long blocks, long bytes)
{
	add(&c->blocks, blocks);
	add(&c->bytes, bytes);
}

static void count_without_cache(long blocks, long bytes)
{
	atomic_fetch_add_explicit(&tls_heap.shared->blocks, blocks, memory_order_relaxed);
	atomic_fetch_add_explicit(&tls_heap.shared->bytes, bytes, memory_order_relaxed);
	balance += bytes;
}

static void count_any(long blocks, long bytes)
{
	if (leased != NULL)
		count(leased, blocks, bytes);
	else
		count_without_cache(blocks, bytes);
}

/* Takes the current spans from C, which this thread has leased. */
static void empty_cache(struct cache *c)
{
	for (unsigned k = 0; k < CLASSES; k++) {
		struct class *class;
		struct region *gone;

		if (atomic_load_explicit(&c->current[k].span, memory_order_relaxed) == NULL)
			continue;
		class = tls_spans_enter(k);
		gone = tls_spans_drop_current(class, &c->current[k], k);
		tls_spans_leave(class);
		tls_pages_return(gone);
	}
}

/* ---- trimming */

static void empty_idle_caches(void)
{
	struct cache *c;

	for (unsigned n = 0; (c = cache_at(n)) != NULL; n++)
		if (try_lease(c, 0) || try_inherit(c)) {
			empty_cache(c);
			release_lease(c);
		}
}

static void release_spares(void)
{
	for (unsigned k = 0; k < CLASSES; k++) {
		struct class *class = tls_spans_enter(k);
		struct region *gone = tls_spans_release_spare(class);

		tls_spans_leave(class);
		tls_pages_return(gone);
	}
}

void tls_heap_trim(void)
{
	if (tls_heap.shared == NULL)
		return;
	if (leased != NULL)
		empty_cache(leased);
	empty_idle_caches();
	release_spares();
	tls_pages_trim();
#ifdef TLS_DEBUG
	tls_heap_check();
#endif
}

/* ---- allocating */

/* Refills CUR, which has no free slot. Returns false when memory is short even after a trim. */
static TLS_COLD bool refill(struct current *cur, unsigned k, uint16_t owner)
{
	struct span *s = atomic_load_explicit(&cur->span, memory_order_relaxed);
	uint64_t slots = 0;

	if (s != NULL) /* slots that other threads have freed there */
		slots = atomic_fetch_and_explicit(&s->word, HELD, memory_order_acquire) & ~HELD;
	if (slots != 0) {
		atomic_store_explicit(&cur->free, slots, memory_order_relaxed);
		return true;
	}
	for (bool trimmed = false;; trimmed = true) {
		do {
			struct class *class = tls_spans_enter(k);
			struct region *gone = tls_spans_drop_current(class, cur, k);
			bool renewed = tls_spans_renew_current(class, cur, k, owner, trimmed);

			tls_spans_leave(class);
			tls_pages_return(gone);
			if (renewed)
				return true;
		} while (tls_pages_add(tls_heap.layouts[k].pages));
		if (trimmed)
			return false;
		tls_heap_trim();
	}
}

/* Takes a slot of CUR, which has a free one. */
static inline void *take_slot(struct current *cur)
{
	uint64_t slots = atomic_load_explicit(&cur->free, memory_order_relaxed);

	atomic_store_explicit(&cur->free, slots & (slots - 1), memory_order_relaxed);
	return cur->base + (size_t)__builtin_ctzll(slots) * cur->size * 16;
}

static void *take_small(struct cache *c, unsigned k)
{
	struct current *cur = &c->current[k];

	if (atomic_load_explicit(&cur->free, memory_order_relaxed) == 0 &&
	    !refill(cur, k, (uint16_t)(c->number + 1)))
		return NULL;
	return take_slot(cur);
}

/* The same without a cache. */
static void *take_small_bare(unsigned k)
{
	struct current cur = {0};
	void *p = refill(&cur, k, OWNER_NOBODY) ? take_slot(&cur) : NULL;
	struct class *class = tls_spans_enter(k);
	struct region *gone = tls_spans_drop_current(class, &cur, k);

	tls_spans_leave(class);
	tls_pages_return(gone);
	return p;
}

static unsigned pages_for(size_t size)
{
	return (unsigned)((size + PAGE - 1) / PAGE);
}

static void *take_large(size_t size)
{
	unsigned pages = pages_for(size);

	for (bool trimmed = false;; trimmed = true) {
		do {
			struct span *s = tls_pages_take(pages, trimmed ? SORT_ANY : tls_spans_sort(size, group),
			                                KIND_LARGE, 0);
			struct region *r = s != NULL ? region_of_span(s) : NULL;

			if (r != NULL)
				return page_at(r, (size_t)(s - r->spans));
		} while (tls_pages_add(pages));
		if (trimmed)
			return NULL;
		tls_heap_trim();
	}
}

static void *take_huge(size_t size)
{
	struct region *r;

	if (size > SIZE_MAX / 2)
		return NULL;
	r = tls_pages_add_huge(size);
	if (r == NULL) {
		tls_heap_trim();
		r = tls_pages_add_huge(size);
	}
	return r != NULL ? page_at(r, 0) : NULL;
}

#ifdef TLS_FAULTS
static atomic_long fault_asked, fault_at;
static atomic_bool fault_forever;

void tls_heap_fail_at(long n, bool forever)
{
	atomic_store(&fault_at, 0);
	atomic_store(&fault_asked, 0);
	atomic_store(&fault_forever, forever);
	atomic_store(&fault_at, n);
}

long tls_heap_asked(void)
{
	return atomic_load(&fault_asked);
}

static bool is_to_fail(void)
{
	long now = atomic_fetch_add(&fault_asked, 1) + 1, at = atomic_load(&fault_at);

	return at > 0 && (now == at || (now > at && atomic_load(&fault_forever)));
}
#else
static inline bool is_to_fail(void)
{
	return false;
}
#endif

/* Any size, with or without a lease. */
static TLS_COLD void *take_any(size_t size)
{
	bool had_lease = leased != NULL;
	size_t room = size;
	void *p;

	tls_heap_hold();
	if (size > LARGE_PAGES * PAGE) {
		p = take_huge(size);
	} else if (size > SMALL_MAX) {
		p = take_large(size);
		room = pages_for(size) * PAGE;
	} else {
		unsigned k = class_of(size);

		p = leased != NULL ? take_small(leased, k) : take_small_bare(k);
		room = slot_size(k);
	}
	if (p != NULL)
		count_any(1, (long)room);
	if (!had_lease)
		tls_heap_let_go();
	return p;
}

static void *refuse(void)
{
	atomic_fetch_add_explicit(&tls_heap.shared->refused, 1, memory_order_relaxed);
	return NULL;
}

void *tls_heap_alloc(size_t size)
{
	struct cache *c = leased;
	void *p;

	if (is_to_fail())
		return refuse();
	if (TLS_LIKELY(c != NULL && size <= SMALL_MAX)) {
		struct current *cur = &c->current[class_of(size)];

		if (TLS_LIKELY(atomic_load_explicit(&cur->free, memory_order_relaxed) != 0)) {
			count(c, 1, (long)cur->size * 16);
			return take_slot(cur);
		}
	}
	p = take_any(size);
	return p != NULL ? p : refuse();
}

/* ---- finding the block at an address */

/* The bit of the slot that begins OFFSET bytes into a span with slots of SIZE times 16 bytes. 0: no slot begins there. */
static inline uint64_t slot_bit(size_t offset, uint32_t reciprocal, uint16_t size)
{
	uint64_t slot = ((uint64_t)offset * reciprocal) >> 32;

	return slot * size * 16 == offset ? UINT64_C(1) << slot : 0;
}

struct block {
	const void *start;
	struct region *region;
	struct span *span;
	size_t size;
	uint64_t bit; /* of a slot */
};

/* Finds the block P; ends the process if there is none. */
static struct block find_block(const void *p)
{
	size_t page = page_of(p), offset;
	unsigned kind = page < tls_pages.pages ? tls_pages.shared->map[page].kind : KIND_NONE;
	struct block b = {.start = p};

	if (kind == KIND_NONE)
		tls_pages_die("what is freed or resized is not in the heap, or not any more", p);
	if (kind == KIND_FREE)
		tls_pages_die("a block was freed twice", p);
	b.region = region_of(page);
	b.span = &b.region->spans[b.region->first[tls_pages.shared->map[page].index]];
	offset = (uintptr_t)p - (uintptr_t)page_at(b.region, (size_t)(b.span - b.region->spans));
	if (kind < CLASSES) {
		const struct layout *l = &tls_heap.layouts[kind];

		b.size = slot_size(kind);
		b.bit = slot_bit(offset, l->reciprocal, l->size) & all_slots(kind);
	} else {
		b.size = kind == KIND_LARGE ? b.span->pages * PAGE : b.region->huge;
		b.bit = offset == 0;
	}
	if (b.bit == 0)
		tls_pages_die("what is freed or resized is not the start of a block", p);
	return b;
}

size_t tls_heap_size(const void *p)
{
	return find_block(p).size;
}

bool tls_heap_contains(const void *p)
{
	return page_of(p) < tls_pages.pages;
}

/* ---- freeing */

/*
 * Whether the slot BIT of S, the current span of a cache, is free in that cache. Reliable only with the lock: the cache
 * may be changing to another span.
 */
static bool is_free_in_cache(const struct span *s, unsigned k, uint64_t bit)
{
	unsigned owner = atomic_load_explicit(&s->owner, memory_order_relaxed);
	struct cache *c = owner != 0 && owner != OWNER_NOBODY ? cache_at(owner - 1) : NULL;

	return c != NULL && atomic_load_explicit(&c->current[k].span, memory_order_relaxed) == s &&
	       (atomic_load_explicit(&c->current[k].free, memory_order_relaxed) & bit) != 0;
}

static void finish_giving(struct region *gone)
{
	tls_pages_return(gone);
	if (tls_pages_shrunk())
		tls_heap_trim();
}

/* Frees the first slot of a full span, or the last one in use, which changes the state of the span. */
static TLS_COLD void give_slot_locked(const struct block *b, unsigned k)
{
	struct class *class = tls_spans_enter(k);
	struct region *gone = NULL;

	if (is_free_in_cache(b->span, k, b->bit) ||
	    (atomic_fetch_or_explicit(&b->span->word, b->bit | HELD, memory_order_acq_rel) & b->bit) != 0)
		tls_pages_die("a block was freed twice", b->start);
	if (atomic_load_explicit(&b->span->owner, memory_order_relaxed) == 0)
		gone = tls_spans_settle(class, b->span, k);
	tls_spans_leave(class);
	finish_giving(gone);
}

/* Frees a slot of a span that is not current in this thread's cache. Once the bit is set, the span may disappear. */
static void give_slot(const struct block *b, unsigned k)
{
	uint64_t word = atomic_load_explicit(&b->span->word, memory_order_relaxed);

	do {
		if ((word & HELD) == 0 || (word & b->bit) != 0 || (word | b->bit) == (HELD | all_slots(k)) ||
		    is_free_in_cache(b->span, k, b->bit)) {
			give_slot_locked(b, k);
			return;
		}
	} while (!atomic_compare_exchange_weak_explicit(&b->span->word, &word, word | b->bit,
	                                                memory_order_release, memory_order_relaxed));
}

/* Returns P to CUR. Returns false when P is not a slot in use of that span. */
static inline bool put_back(struct current *cur, const void *p)
{
	size_t offset = (uintptr_t)p - (uintptr_t)cur->base;
	uint64_t slots, bit;
	struct span *s;

	if (offset >= (size_t)cur->used * 16)
		return false;
	s = atomic_load_explicit(&cur->span, memory_order_relaxed);
	slots = atomic_load_explicit(&cur->free, memory_order_relaxed);
	bit = slot_bit(offset, cur->reciprocal, cur->size);
	if (((slots | atomic_load_explicit(&s->word, memory_order_relaxed)) & bit) != 0 || bit == 0)
		return false;
	atomic_store_explicit(&cur->free, slots | bit, memory_order_relaxed);
	return true;
}

/* Any block, with or without a lease. */
static TLS_COLD void give_any(void *p)
{
	struct block b = find_block(p);
	bool had_lease = leased != NULL;
	unsigned k = b.span->kind;

	explicit_bzero(p, b.size);
	tls_heap_hold();
	if (k == KIND_HUGE)
		tls_pages_give_huge(b.region);
	else if (k == KIND_LARGE)
		finish_giving(tls_pages_give(b.region, b.span));
	else if (leased == NULL || !put_back(&leased->current[k], p))
		give_slot(&b, k);
	count_any(-1, -(long)b.size);
	if (!had_lease)
		tls_heap_let_go();
}

void tls_heap_free(void *p)
{
	struct cache *c = leased;
	size_t page = page_of(p);

	if (TLS_LIKELY(c != NULL && page < tls_pages.pages)) {
		unsigned kind = tls_pages.shared->map[page].kind;

		if (TLS_LIKELY(kind < CLASSES && put_back(&c->current[kind], p))) {
			explicit_bzero(p, c->current[kind].size * 16); /* no other thread takes it from there */
			count(c, -1, -(long)c->current[kind].size * 16);
			return;
		}
	}
	give_any(p);
}

/* ---- counts */

void tls_heap_get_stats(struct tls_mem_stats *out)
{
	struct heap *h = tls_heap.shared;
	struct cache *c;

	memset(out, 0, sizeof(*out));
	if (h == NULL)
		return;
	out->blocks = atomic_load_explicit(&h->blocks, memory_order_relaxed);
	out->bytes = atomic_load_explicit(&h->bytes, memory_order_relaxed);
	out->refused = atomic_load_explicit(&h->refused, memory_order_relaxed);
	out->held = (long)atomic_load_explicit(&tls_pages.shared->held, memory_order_relaxed);
	for (unsigned n = 0; (c = cache_at(n)) != NULL; n++) {
		out->blocks += atomic_load_explicit(&c->blocks, memory_order_relaxed);
		out->bytes += atomic_load_explicit(&c->bytes, memory_order_relaxed);
	}
}

long tls_heap_balance(void)
{
	return leased == NULL
	           ? balance
	           : balance + atomic_load_explicit(&leased->bytes, memory_order_relaxed) - lease_bytes;
}

/* ---- the start */

/*
 * The smallest number of pages of which the slots waste at most 1/32, or else as little as possible. Small slots get more
 * pages, as each span costs a lock. A connection uses two buffers for records at a time.
 */
static void fit(struct layout *l, unsigned size)
{
	unsigned wanted = size <= 256 ? 32 : size <= 1024 ? 8 : size <= 8192 ? 4 : size <= 20480 ? 2 : 1;
	unsigned least = UINT32_MAX;

	for (unsigned pages = 1; pages <= MAX_SPAN_PAGES && least > 32; pages++) {
		unsigned bytes = pages * (unsigned)PAGE, slots = bytes / size, waste;

		slots = slots < SPAN_SLOTS ? slots : SPAN_SLOTS;
		waste = (bytes - slots * size) * 1024 / bytes;
		if (slots < wanted || waste >= least)
			continue;
		least = waste;
		l->slots = (uint8_t)slots;
		l->pages = (uint8_t)pages;
	}
}

static void fit_classes(void)
{
	for (unsigned k = 0; k < CLASSES; k++) {
		unsigned size = class_size(k);

		tls_heap.layouts[k].size = (uint16_t)(size / 16);
		tls_heap.layouts[k].reciprocal = (uint32_t)(((UINT64_C(1) << 32) + size - 1) / size);
		fit(&tls_heap.layouts[k], size);
	}
	for (size_t i = 0; i <= TABLE_MAX / 16; i++)
		tls_heap.classes[i] = (uint8_t)compute_class(i * 16);
}

/* A child does not inherit a lease. */
static void after_fork(void)
{
	leased = NULL;
	tls_lock_forked();
}

int tls_heap_start(const struct tls_mem_source *source)
{
	struct heap *h;
	void *taken;

	fit_classes();
	if (tls_pages_start(source) != 0 || (h = tls_pages_fixed(sizeof(*h), &taken)) == NULL)
		return -1;
	for (unsigned k = 0; k < CLASSES; k++) {
		h->classes[k].epoch = 1;
		ring_init(&h->classes[k].spans);
	}
	atomic_fetch_add_explicit(&tls_pages.shared->held, sizeof(*h), memory_order_relaxed);
	tls_heap.shared = h;
	return pthread_atfork(NULL, NULL, after_fork) == 0 ? 0 : -1;
}
