/*
 * fake_memory.c - the host's shared memory, of which any allocation can be made to fail
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "host/compat.h"
#include "core/globals.h"
#include "core/mem/shm.h"

#include "fake_memory.h"

#ifdef __SANITIZE_ADDRESS__
#define SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED
#endif
#endif

#ifdef SANITIZED
#include <sanitizer/asan_interface.h>
#include <sanitizer/lsan_interface.h>
#define HIDE(p, size) ASAN_POISON_MEMORY_REGION(p, size)
#define SHOW(p, size) ASAN_UNPOISON_MEMORY_REGION(p, size)
#define SCAN(p, size) __lsan_register_root_region(p, size)
#else
#define HIDE(p, size) ((void)(p), (void)(size))
#define SHOW(p, size) ((void)(p), (void)(size))
#define SCAN(p, size) ((void)(p), (void)(size))
#endif

#define MARK_LIVE UINT64_C(0x5afe5afe5afe5afe)
#define MARK_FREE UINT64_C(0xf4eef4eef4eef4ee)
#define FREED     0xdb /* what a freed block begins with: no pointer that can be followed, no small number */
#define GUARD     0xa7 /* behind a block */
#define FILL      128  /* bytes of either, as far as there is room */
#define CLASSES   32   /* by powers of two */
#define SCANNED   ((size_t)1 << 20)

struct header {
	uint64_t mark;
	uint32_t size; /* asked for */
	uint32_t class;
	struct header *next; /* free: in its class's queue */
	uint64_t pad;
};

/* Freed blocks are used again as late as possible. */
static struct queue {
	struct header *first, *last;
} queues[CLASSES];

static unsigned char *arena;
static size_t arena_size, arena_used, arena_scanned, pretended;
static long blocks, asked, fail_at;
static bool fail_forever;

bool (*fake_memory_spares)(void);
sr_shm_api_t _shm_root;
unsigned long shm_mem_size;

static _Noreturn void die(const char *what, const struct header *h)
{
	fprintf(stderr, "fake memory: %s: a block of %u bytes at %p\n", what, h->size, (const void *)(h + 1));
	abort();
}

static unsigned char *body(struct header *h)
{
	return (unsigned char *)(h + 1);
}

static size_t room_of(const struct header *h)
{
	return (size_t)1 << h->class;
}

static size_t fill_size(size_t room)
{
	return room < FILL ? room : FILL;
}

static void fill(unsigned char *p, size_t room, unsigned char with)
{
	memset(p, with, fill_size(room));
}

static bool is_filled(const unsigned char *p, size_t room, unsigned char with)
{
	size_t size = fill_size(room);

	return size == 0 || (p[0] == with && memcmp(p, p + 1, size - 1) == 0);
}

static struct header *take_queued(uint32_t class)
{
	struct queue *q = &queues[class];
	struct header *h = q->first;

	if (h == NULL)
		return NULL;
	SHOW(h, sizeof(*h) + ((size_t)1 << class));
	q->first = h->next;
	if (q->first == NULL)
		q->last = NULL;
	if (h->mark != MARK_FREE || !is_filled(body(h), room_of(h), FREED))
		die("written to after it was freed", h);
	return h;
}

/* Private memory that only shared memory points to is not lost. */
static void scan_used(void)
{
	for (; arena_scanned < arena_used && arena_scanned + SCANNED <= arena_size; arena_scanned += SCANNED)
		SCAN(arena + arena_scanned, SCANNED);
}

static struct header *take_fresh(uint32_t class)
{
	size_t size = sizeof(struct header) + ((size_t)1 << class);
	struct header *h = (struct header *)(arena + arena_used);

	if (size > arena_size - arena_used)
		return NULL;
	arena_used += size;
	scan_used();
	SHOW(h, size);
	return h;
}

static bool is_to_fail(void)
{
	asked++;
	if (fail_at == 0 || asked < fail_at || (asked > fail_at && !fail_forever))
		return false;
	return fake_memory_spares == NULL || !fake_memory_spares();
}

static void *take(size_t size)
{
	uint32_t class = 4;
	struct header *h;

	while (class < CLASSES && (size_t)1 << class <= size)
		class ++;
	if (is_to_fail() || class == CLASSES)
		return NULL;
	h = take_queued(class);
	if (h == NULL)
		h = take_fresh(class);
	if (h == NULL)
		return NULL;
	*h = (struct header){.mark = MARK_LIVE, .size = (uint32_t)size, .class = class};
	fill(body(h) + size, room_of(h) - size, GUARD);
	HIDE(body(h) + size, room_of(h) - size);
	HIDE(h, sizeof(*h));
	blocks++;
	return body(h);
}

static void give(void *p)
{
	struct header *h = (struct header *)p - 1;
	struct queue *q;

	SHOW(h, sizeof(*h));
	if (h->mark != MARK_LIVE)
		die(h->mark == MARK_FREE ? "freed twice" : "freed, but none of ours", h);
	SHOW(p, room_of(h));
	if (!is_filled(body(h) + h->size, room_of(h) - h->size, GUARD))
		die("written to beyond its end", h);
	fill(p, room_of(h), FREED);
	h->mark = MARK_FREE;
	h->next = NULL;
	q = &queues[h->class];
	if (q->last != NULL) {
		SHOW(q->last, sizeof(*h));
		q->last->next = h;
		HIDE(q->last, sizeof(*h));
	} else {
		q->first = h;
	}
	q->last = h;
	blocks--;
	HIDE(p, room_of(h));
	HIDE(h, sizeof(*h));
}

/* ---- as the host gives it */

#ifdef DBG_SR_MEMORY
#define WHERE , const char *file, const char *function, unsigned line, const char *module
#else
#define WHERE
#endif

static void *shm_take(void *block, size_t size WHERE)
{
	return take(size);
}

static void shm_give(void *block, void *p WHERE)
{
	give(p);
}

static unsigned long shm_left(void *block)
{
	return pretended > 0 ? pretended : arena_size - arena_used;
}

int shm_address_in(void *p)
{
	return (unsigned char *)p >= arena && (unsigned char *)p < arena + arena_size;
}

/* ---- for tests */

int fake_memory_start(size_t size)
{
	arena = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (arena == MAP_FAILED)
		return -1;
	HIDE(arena, size);
	arena_size = shm_mem_size = size;
	_shm_root.xmalloc = shm_take;
	_shm_root.xfree = shm_give;
	_shm_root.xavailable = shm_left;
	return 0;
}

void fake_memory_fail_at(long n, bool forever)
{
	asked = 0;
	fail_at = n;
	fail_forever = forever;
}

long fake_memory_asked(void)
{
	return asked;
}

long fake_memory_blocks(void)
{
	return blocks;
}

/* Freed blocks are looked into, too, which only this function may. */
__attribute__((no_sanitize("address"))) bool fake_memory_has(const void *bytes, size_t size)
{
	const unsigned char *wanted = bytes;

	for (size_t at = 0; at + size <= arena_used; at++) {
		size_t n = 0;

		while (n < size && arena[at + n] == wanted[n])
			n++;
		if (n == size)
			return true;
	}
	return false;
}

void fake_memory_pretend_left(size_t bytes)
{
	pretended = bytes;
}
