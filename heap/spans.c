/*
 * heap/spans.c - the spans of each size class, for all caches together
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * heap/shape.h describes the structure and the invariants.
 */
#include "heap/shape.h"

/* Drops the list, which a holder that died may have left half changed. Its spans return as their slots are freed. */
static TLS_COLD void mend_class(struct class *class)
{
	class->epoch++;
	class->spare = NULL;
	ring_init(&class->spans);
}

struct class *tls_spans_enter(unsigned k)
{
	struct class *class = &tls_heap.shared->classes[k];

	if (tls_lock_take(&class->lock))
		mend_class(class);
	return class;
}

void tls_spans_leave(struct class *class)
{
	tls_lock_release(&class->lock);
}

static void list_span(struct class *class, struct span *s)
{
	ring_insert(class->spans.prev, &s->link);
	s->listed = class->epoch;
}

static void unlist_span(struct span *s)
{
	ring_remove(&s->link);
	s->listed = 0;
}

static struct region *release(struct span *s)
{
	atomic_store_explicit(&s->word, 0, memory_order_relaxed);
	return tls_pages_give(region_of_span(s), s);
}

struct region *tls_spans_settle(struct class *class, struct span *s, unsigned k)
{
	bool listed = span_is_listed(class, s);

	if (atomic_load_explicit(&s->word, memory_order_relaxed) != (HELD | all_slots(k))) {
		if (!listed)
			list_span(class, s);
		return NULL;
	}
	if (listed)
		ring_remove(&s->link);
	s->listed = 0;
	if (class->spare != NULL)
		return release(s);
	class->spare = s;
	return NULL;
}

/*
 * The process may die here, so the order matters, which the fence keeps in the compiler: while `used` is set the rest of
 * the entry is valid, and while the entry is set the span is.
 */
struct region *tls_spans_drop_current(struct class *class, struct current *cur, unsigned k)
{
	struct span *s = atomic_load_explicit(&cur->span, memory_order_relaxed);
	uint64_t rest = atomic_load_explicit(&cur->free, memory_order_relaxed), word;

	if (s == NULL)
		return NULL;
	cur->used = 0;
	atomic_signal_fence(memory_order_seq_cst);
	atomic_store_explicit(&cur->span, NULL, memory_order_relaxed);
	atomic_store_explicit(&cur->free, 0, memory_order_relaxed);
	atomic_store_explicit(&s->owner, 0, memory_order_release);
	word = atomic_fetch_or_explicit(&s->word, rest, memory_order_acq_rel) | rest;
	/* Full: without HELD, freeing the first slot takes the lock. The exchange fails if a slot has just been freed. */
	if (word == HELD && atomic_compare_exchange_strong_explicit(&s->word, &word, 0, memory_order_acq_rel,
	                                                            memory_order_relaxed))
		return NULL;
	return tls_spans_settle(class, s, k);
}

/* Removes and returns a listed span or the spare. NULL: there is none. */
static struct span *pick(struct class *class)
{
	struct span *s = class->spare;

	if (class->spans.next == &class->spans) {
		class->spare = NULL;
		return s;
	}
	s = CONTAINER(struct span, link, class->spans.next);
	unlist_span(s);
	return s;
}

/*
 * The lifetime of a block depends on its size: blocks of 2 to 5 KB (handshakes) and buffers for records are short-lived;
 * small blocks, and the SSL with a size between the two, live as long as the connection.
 */
unsigned tls_spans_sort(size_t size, unsigned in_group)
{
	if (in_group > 0)
		return 3 + in_group;
	return size <= 2048 ? 0 : size <= 5120 ? 1 : size <= 8192 ? 2 : 3;
}

/* The entry is filled in the reverse order. */
bool tls_spans_renew_current(struct class *class, struct current *cur, unsigned k, uint16_t owner,
                             bool anywhere)
{
	const struct layout *l = &tls_heap.layouts[k];
	struct span *s = pick(class);
	uint64_t slots = all_slots(k);
	struct region *r;

	if (s != NULL) {
		atomic_store_explicit(&s->owner, owner, memory_order_relaxed);
		slots = atomic_fetch_and_explicit(&s->word, HELD, memory_order_acquire) & ~HELD;
	} else {
		s = tls_pages_take(l->pages, anywhere ? SORT_ANY : tls_spans_sort(slot_size(k), k / SIZES),
		                   (uint8_t)k, owner);
	}
	if (s == NULL)
		return false;
	r = region_of_span(s);
	cur->base = page_at(r, (size_t)(s - r->spans));
	cur->reciprocal = l->reciprocal;
	cur->size = l->size;
	atomic_store_explicit(&cur->span, s, memory_order_release);
	atomic_store_explicit(&cur->free, slots, memory_order_relaxed);
	atomic_signal_fence(memory_order_seq_cst);
	cur->used = (uint16_t)(l->size * l->slots);
	return true;
}

struct region *tls_spans_release_spare(struct class *class)
{
	struct span *s = class->spare;

	class->spare = NULL;
	return s != NULL ? release(s) : NULL;
}
