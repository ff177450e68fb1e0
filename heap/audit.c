/*
 * heap/audit.c - checks the invariants of the shared allocator
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * heap/shape.h lists them. All locks are held meanwhile; the free slots, which no lock protects, may change during the
 * check.
 */
#include "heap/heap.h"
#include "heap/shape.h"

/* What the walk has found. */
struct census {
	long blocks, regions;
	unsigned listed[CLASSES], spares[CLASSES];
};

static void expect(bool holds, const char *what, const void *p)
{
	if (!holds)
		tls_pages_die(what, p);
}

/* When a process dies with the class's lock, a span may remain whose owner does not have it: lost, but harmless. */
static void check_current(const struct span *s, unsigned k, uint64_t word, uint64_t *free_slots)
{
	unsigned owner = atomic_load_explicit(&s->owner, memory_order_relaxed);
	const struct cache *c = owner != OWNER_NOBODY ? cache_at(owner - 1) : NULL;
	bool is_owners = c != NULL && atomic_load_explicit(&c->current[k].span, memory_order_relaxed) == s;

	expect((word & HELD) != 0 && s->listed == 0, "a current span is listed or not held", s);
	expect(is_owners || owner == OWNER_NOBODY || tls_heap.shared->classes[k].epoch > 1,
	       "a current span is not its owner's", s);
	if (is_owners)
		*free_slots |= atomic_load_explicit(&c->current[k].free, memory_order_relaxed);
}

static void check_span(const struct span *s, struct census *found)
{
	unsigned k = s->kind;
	const struct class *class = &tls_heap.shared->classes[k];
	uint64_t word = atomic_load_explicit(&s->word, memory_order_relaxed), free_slots = word & ~HELD;

	if (atomic_load_explicit(&s->owner, memory_order_relaxed) != 0) {
		check_current(s, k, word, &free_slots);
	} else if (s == class->spare) {
		expect(word == (HELD | all_slots(k)) && s->listed == 0, "a spare span is in use or listed", s);
		found->spares[k]++;
	} else if (span_is_listed(class, s)) {
		expect((word & HELD) != 0 && free_slots != 0 && free_slots != all_slots(k),
		       "a full or an empty span is listed", s);
		found->listed[k]++;
	} else {
		expect(word == 0 || class->epoch > 1, "a span with free slots is in no list", s);
	}
	expect((free_slots & ~all_slots(k)) == 0, "a slot is free that does not exist", s);
	found->blocks += tls_heap.layouts[k].slots - __builtin_popcountll(free_slots);
}

static void check_region_list(const struct region *r, unsigned longest, unsigned free_pages)
{
	bool listed = region_is_listed(r);

	expect(free_pages == r->free_pages, "the free pages of a region are miscounted", r);
	expect((longest > 0) == listed || tls_pages.shared->epoch > 1,
	       "a region is listed that is full, or not listed", r);
	expect(!listed || r->longest == longest, "a region is in the wrong list", r);
	expect(!listed || (r->link.next->prev == &r->link && r->link.prev->next == &r->link),
	       "the list of regions is broken", r);
}

static void check_map(const struct region *r, unsigned at, const struct span *s)
{
	const struct page *map = &tls_pages.shared->map[page_of(page_at(r, at))];

	expect(r->first[at] == at && r->first[at + s->pages - 1] == at, "a page is in no run", s);
	for (unsigned i = 0; i < s->pages; i++)
		expect(map[i].index == at + i && map[i].kind == s->kind, "the map is wrong about a page", s);
	expect(region_of_span(s) == r && region_of(page_of(page_at(r, at))) == r, "a run is not in its region",
	       s);
}

static void check_runs(const struct region *r, struct census *found)
{
	unsigned longest = 0, free_pages = 0;
	bool after_free = false;

	for (unsigned i = 0; i < r->pages; i += r->spans[i].pages) {
		const struct span *s = &r->spans[i];
		bool is_free = s->kind == KIND_FREE;

		expect(s->pages > 0 && i + s->pages <= r->pages, "the runs of a region do not tile it", s);
		check_map(r, i, s);
		expect(!is_free || !after_free, "two free runs are neighbours", s);
		after_free = is_free;
		free_pages += is_free ? s->pages : 0;
		longest = is_free && s->pages > longest ? s->pages : longest;
		if (s->kind < CLASSES)
			check_span(s, found);
		else
			found->blocks += s->kind == KIND_LARGE;
	}
	check_region_list(r, longest, free_pages);
}

static void check_region(const struct region *r, struct census *found)
{
	found->regions++;
	if (r->pages == 0)
		found->blocks++;
	else if (!r->broken)
		check_runs(r, found);
}

static void check_class(unsigned k, const struct census *found)
{
	const struct class *class = &tls_heap.shared->classes[k];
	unsigned length = 0;

	for (const struct link *l = class->spans.next; l != &class->spans; l = l->next, length++)
		expect(l->next->prev == l && CONTAINER(const struct span, link, l)->kind == k,
		       "the list of a class is broken", l);
	if (tls_pages.shared->epoch > 1) /* then a region may be broken, and its spans were not counted */
		return;
	expect(length == found->listed[k], "the list of a class has a span that is in no region", class);
	expect(found->spares[k] == (class->spare != NULL), "a spare span is in no region", class);
}

long tls_heap_check(void)
{
	struct census found = {0};

	for (unsigned k = 0; k < CLASSES; k++)
		tls_spans_enter(k);
	tls_pages_enter();
	for (size_t i = 0; i < tls_pages.pages; i++)
		if (tls_pages.shared->map[i].kind != KIND_NONE && tls_pages.shared->map[i].index == 0)
			check_region(region_of(i), &found);
	expect(found.regions == tls_pages.shared->regions || tls_pages.shared->epoch > 1,
	       "the regions are miscounted", tls_pages.shared);
	for (unsigned k = 0; k < CLASSES; k++)
		check_class(k, &found);
	tls_pages_leave();
	for (unsigned k = 0; k < CLASSES; k++)
		tls_spans_leave(&tls_heap.shared->classes[k]);
	return found.blocks;
}
