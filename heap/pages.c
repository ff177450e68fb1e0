/*
 * heap/pages.c - regions of the host's shared memory, and the runs of pages that they are cut into
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * heap/shape.h describes the structure and the invariants. This is the layer below classes and slots. It is called rarely:
 * once for dozens of slots, and for blocks above 32 KB.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "heap/shape.h"

#define HEAD_PAGES         ((unsigned)(REGION_HEAD / PAGE))
#define SMALL_REGION_PAGES 20                 /* when the source has no space for a whole region */
#define EMPTY_SHARE        8                  /* empty regions kept: one, and one more for this many in use */
#define SHRUNK_FROM        (8 * REGION_PAGES) /* with fewer pages in use a trim is not worthwhile */

struct tls_pages_view tls_pages;

_Noreturn void tls_pages_die(const char *what, const void *p)
{
	char text[200];
	snprintf(text, sizeof(text), "shared memory is damaged: %s (%p); stopping at once. Please report this\n",
	         what, p);
	tls_pages.source->complain(text);
	abort();
}

/* ---- with the lock held: all functions up to the runs */

static void init_lists(struct pages *all)
{
	all->epoch++;
	all->empty_regions = 0;
	ring_init(&all->empty);
	for (int sort = 0; sort < SORTS; sort++)
		for (int i = 0; i < RUN_LISTS; i++)
			ring_init(&all->open[sort][i]);
}

/* Takes the lock. If its holder died, drops the lists and the region that the holder was changing. */
static TLS_COLD void mend_pages(struct pages *all)
{
	struct region *r = atomic_load_explicit(&all->changing, memory_order_relaxed);

	if (r != NULL)
		r->broken = true;
	init_lists(all);
}

void tls_pages_enter(void)
{
	if (tls_lock_take(&tls_pages.shared->lock))
		mend_pages(tls_pages.shared);
}

void tls_pages_leave(void)
{
	atomic_store_explicit(&tls_pages.shared->changing, NULL, memory_order_release);
	tls_lock_release(&tls_pages.shared->lock);
}

/*
 * From here to tls_pages_leave() the runs of R may be half changed. The fence keeps the compiler from reordering: a process
 * may die between any two instructions.
 */
static void begin_change(struct region *r)
{
	atomic_store_explicit(&tls_pages.shared->changing, r, memory_order_relaxed);
	atomic_signal_fence(memory_order_seq_cst);
}

/* Enters this kind in the map for the pages from AT on. */
static void map_pages(struct region *r, unsigned at, unsigned pages, uint8_t kind)
{
	struct page *page = &tls_pages.shared->map[page_of(page_at(r, at))];

	for (unsigned i = 0; i < pages; i++)
		page[i] = (struct page){kind, (uint8_t)(at + i)};
}

static void map_head(const struct region *r, unsigned pages)
{
	struct page *page = &tls_pages.shared->map[page_of(r)];

	for (unsigned i = 0; i < pages; i++)
		page[i] = (struct page){KIND_NONE, (uint8_t)i};
}

static void unlist_region(struct region *r)
{
	if (!region_is_listed(r))
		return;
	ring_remove(&r->link);
	r->listed = 0;
	if (r->longest == r->pages)
		tls_pages.shared->empty_regions--;
}

static unsigned longest_free_run(const struct region *r)
{
	unsigned longest = 0;

	for (unsigned i = 0; i < r->pages; i += r->spans[i].pages)
		if (r->spans[i].kind == KIND_FREE && r->spans[i].pages > longest)
			longest = r->spans[i].pages;
	return longest;
}

/* Puts R in the list for its longest free run, in front of the others, so that the one that was full last is used first. */
static void list_region(struct region *r)
{
	struct pages *all = tls_pages.shared;
	unsigned longest = longest_free_run(r);
	bool is_empty = longest == r->pages;

	if (region_is_listed(r) && r->longest < r->pages && longest > 0 && !is_empty &&
	    run_list(longest) == run_list(r->longest)) {
		r->longest = (uint8_t)longest;
		return;
	}
	unlist_region(r);
	r->longest = (uint8_t)longest;
	if (longest == 0)
		return;
	r->listed = all->epoch;
	ring_insert(is_empty ? &all->empty : &all->open[r->sort][run_list(longest)], &r->link);
	all->empty_regions += is_empty;
}

/* Makes a free run; only its ends need to lead to its beginning. */
static void set_run(struct region *r, unsigned at, unsigned pages, uint8_t kind)
{
	r->first[at] = r->first[at + pages - 1] = (uint8_t)at;
	r->spans[at].pages = (uint8_t)pages;
	r->spans[at].kind = kind;
}

/* Makes a span; each of its pages leads to it. */
static void set_span(struct region *r, unsigned at, unsigned pages, uint8_t kind)
{
	set_run(r, at, pages, kind);
	memset(r->first + at, (int)at, pages);
	map_pages(r, at, pages, kind);
}

/* A trim is worthwhile once the number of pages in use has halved. */
static void count_used(long pages)
{
	struct pages *all = tls_pages.shared;

	all->used += pages;
	if (all->used > all->peak)
		all->peak = all->used;
	if (all->peak <= SHRUNK_FROM || all->used >= all->peak / 2)
		return;
	all->peak = all->used;
	atomic_store_explicit(&all->shrunk, true, memory_order_relaxed);
}

/* Turns the first PAGES of the free run at S into a span of KIND. */
static void cut(struct region *r, struct span *s, unsigned pages, uint8_t kind, uint16_t owner)
{
	unsigned at = (unsigned)(s - r->spans), have = s->pages;

	begin_change(r);
	if (have > pages)
		set_run(r, at + pages, have - pages, KIND_FREE);
	set_span(r, at, pages, kind);
	r->free_pages = (uint8_t)(r->free_pages - pages);
	count_used((long)pages);
	s->listed = 0;
	atomic_store_explicit(&s->owner, owner, memory_order_relaxed);
	atomic_store_explicit(&s->word, HELD, memory_order_relaxed);
	list_region(r);
}

/* The first free run of R with at least PAGES, NULL: none. */
static struct span *find_run(struct region *r, unsigned pages)
{
	for (unsigned i = 0; i < r->pages; i += r->spans[i].pages)
		if (r->spans[i].kind == KIND_FREE && r->spans[i].pages >= pages)
			return &r->spans[i];
	return NULL;
}

/* In the first list only some regions have a run that is long enough: it gives up after a few tries to save time. */
static struct region *find_open(unsigned pages, unsigned sort, struct span **run)
{
	unsigned first = run_list(pages);

	for (unsigned i = first; i < RUN_LISTS; i++) {
		struct link *ring = &tls_pages.shared->open[sort][i], *l = ring->next;

		for (int tries = 8; l != ring && tries > 0; l = l->next, tries--) {
			struct region *r = CONTAINER(struct region, link, l);

			*run = find_run(r, pages);
			if (*run != NULL)
				return r;
		}
	}
	return NULL;
}

/* An empty region takes the sort of its next use. */
static struct region *find_empty(unsigned pages, unsigned sort, struct span **run)
{
	struct link *ring = &tls_pages.shared->empty;

	for (struct link *l = ring->next; l != ring; l = l->next) {
		struct region *r = CONTAINER(struct region, link, l);

		if (r->pages < pages)
			continue;
		*run = r->spans;
		r->sort = (uint8_t)sort;
		return r;
	}
	return NULL;
}

static struct region *find_region(unsigned pages, unsigned sort, struct span **run)
{
	struct region *r = NULL;

	if (sort != SORT_ANY)
		r = find_open(pages, sort, run);
	else
		for (sort = 0; sort < SORTS && r == NULL; sort++)
			r = find_open(pages, sort, run);
	return r != NULL ? r : find_empty(pages, sort % SORTS, run);
}

/* Removes R from the heap; the caller then owns its memory. */
static void remove_region(struct region *r)
{
	struct pages *all = tls_pages.shared;

	begin_change(r);
	unlist_region(r);
	map_pages(r, 0, r->pages > 0 ? r->pages : 1, KIND_NONE);
	all->regions--;
	atomic_fetch_sub_explicit(&all->held, r->bytes, memory_order_relaxed);
}

/* Lists R, which has become empty. If there are enough of those, removes it from the heap and returns it; else NULL. */
static struct region *retire(struct region *r)
{
	struct pages *all = tls_pages.shared;

	if (all->empty_regions <= 1 + all->regions / EMPTY_SHARE)
		return NULL;
	remove_region(r);
	return r;
}

/* Merges the free run at AT with its neighbours; R is then consistent again. */
static struct region *join(struct region *r, unsigned at)
{
	unsigned pages = r->spans[at].pages, next = at + pages;

	if (next < r->pages && r->spans[next].kind == KIND_FREE)
		pages += r->spans[next].pages;
	if (at > 0 && r->spans[r->first[at - 1]].kind == KIND_FREE) {
		at = r->first[at - 1];
		pages += r->spans[at].pages;
	}
	set_run(r, at, pages, KIND_FREE);
	list_region(r);
	return pages == r->pages ? retire(r) : NULL;
}

/* Removes an empty region from the heap and returns it. NULL: there is none. */
static struct region *remove_empty(void)
{
	struct link *ring = &tls_pages.shared->empty;
	struct region *r = CONTAINER(struct region, link, ring->next);

	if (ring->next == ring)
		return NULL;
	remove_region(r);
	return r;
}

/* ---- runs */

struct span *tls_pages_take(unsigned pages, unsigned sort, uint8_t kind, uint16_t owner)
{
	struct span *s = NULL;
	struct region *r;

	tls_pages_enter();
	r = find_region(pages, sort, &s);
	if (r != NULL)
		cut(r, s, pages, kind, owner);
	tls_pages_leave();
	return r != NULL ? s : NULL;
}

struct region *tls_pages_give(struct region *r, struct span *s)
{
	struct region *gone = NULL;

	tls_pages_enter();
	if (s->kind == KIND_FREE)
		tls_pages_die("a block was freed twice", s);
	begin_change(r);
	s->kind = KIND_FREE;
	map_pages(r, (unsigned)(s - r->spans), s->pages, KIND_FREE);
	r->free_pages = (uint8_t)(r->free_pages + s->pages);
	count_used(-(long)s->pages);
	if (!r->broken)
		gone = join(r, (unsigned)(s - r->spans));
	tls_pages_leave();
	return gone;
}

/* ---- regions. No lock is held while the source is called. */

void tls_pages_return(struct region *r)
{
	if (r != NULL)
		tls_pages.source->give(r->taken);
}

/* The lowest address not below P that is a multiple of UNIT away from ORIGIN. */
static void *align(const void *p, uintptr_t origin, size_t unit)
{
	return (void *)(((uintptr_t)p - origin + unit - 1) / unit * unit + origin);
}

void *tls_pages_fixed(size_t size, void **taken)
{
	*taken = tls_pages.source->take(size + CACHE_LINE - 1);
	return *taken != NULL ? memset(align(*taken, 0, CACHE_LINE), 0, size) : NULL;
}

/* A region of PAGES, or for a block of HUGE bytes, that is not in the heap yet. NULL: the source has no memory. */
static struct region *take_region(unsigned pages, size_t huge)
{
	size_t bytes = REGION_HEAD + pages * PAGE + huge + PAGE - 1;
	void *taken = tls_pages.source->take(bytes);
	struct region *r;

	if (taken == NULL)
		return NULL;
	r = memset(align(taken, tls_pages.low, PAGE), 0, REGION_HEAD);
	r->taken = taken;
	r->bytes = bytes;
	r->huge = huge;
	r->pages = (uint8_t)pages;
	return r;
}

static void enter_region(struct region *r)
{
	struct pages *all = tls_pages.shared;

	tls_pages_enter();
	begin_change(r);
	all->regions++;
	atomic_fetch_add_explicit(&all->held, r->bytes, memory_order_relaxed);
	map_head(r, HEAD_PAGES);
	if (r->pages > 0) {
		r->free_pages = r->pages;
		set_run(r, 0, r->pages, KIND_FREE);
		map_pages(r, 0, r->pages, KIND_FREE);
		list_region(r);
	} else {
		set_span(r, 0, 1, KIND_HUGE);
	}
	tls_pages_leave();
}

bool tls_pages_add(unsigned pages)
{
	struct region *r = take_region(REGION_PAGES, 0);

	if (r == NULL && pages <= SMALL_REGION_PAGES)
		r = take_region(SMALL_REGION_PAGES, 0);
	if (r == NULL)
		return false;
	enter_region(r);
	return true;
}

struct region *tls_pages_add_huge(size_t size)
{
	struct region *r = take_region(0, size);

	if (r != NULL)
		enter_region(r);
	return r;
}

void tls_pages_give_huge(struct region *r)
{
	tls_pages_enter();
	if (r->spans[0].kind != KIND_HUGE)
		tls_pages_die("a block was freed twice", r);
	r->spans[0].kind = KIND_FREE;
	remove_region(r);
	tls_pages_leave();
	tls_pages_return(r);
}

bool tls_pages_shrunk(void)
{
	atomic_bool *shrunk = &tls_pages.shared->shrunk;

	return atomic_load_explicit(shrunk, memory_order_relaxed) &&
	       atomic_exchange_explicit(shrunk, false, memory_order_relaxed);
}

void tls_pages_trim(void)
{
	struct region *r;

	do {
		tls_pages_enter();
		r = remove_empty();
		tls_pages_leave();
		tls_pages_return(r);
	} while (r != NULL);
}

/* ---- the start */

/* The size of the source's range from P upwards (SIGN 1) or downwards (-1). */
static size_t reach(const void *p, int sign)
{
	bool (*contains)(const void *) = tls_pages.source->contains;
	size_t step = 4096, far = 0;

	for (; contains((const void *)((uintptr_t)p + (uintptr_t)sign * (far + step))); step *= 2)
		far += step;
	for (; step > 0; step /= 2)
		if (contains((const void *)((uintptr_t)p + (uintptr_t)sign * (far + step))))
			far += step;
	return far;
}

static int find_range(void)
{
	void *p = tls_pages.source->take(1);

	if (p == NULL)
		return -1;
	tls_pages.low = ((uintptr_t)p - reach(p, -1)) & ~(uintptr_t)(CACHE_LINE - 1);
	tls_pages.pages = ((uintptr_t)p + reach(p, 1) - tls_pages.low) / PAGE + 1;
	tls_pages.source->give(p);
	return 0;
}

int tls_pages_start(const struct tls_mem_source *source)
{
	struct pages *all;
	size_t size;
	void *taken;

	tls_pages.source = source;
	if (find_range() != 0)
		return -1;
	size = sizeof(*all) + tls_pages.pages * sizeof(struct page);
	all = tls_pages_fixed(size, &taken);
	if (all == NULL)
		return -1;
	memset(all->map, KIND_NONE, tls_pages.pages * sizeof(struct page));
	init_lists(all);
	atomic_store_explicit(&all->held, size, memory_order_relaxed);
	tls_pages.shared = all;
	return 0;
}
