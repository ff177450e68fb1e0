/* links: host/child.c */
/*
 * test_heap.c - the shared allocator: alone, among processes, among threads, killed, and without memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * Its sources are compiled in, with the checks of debug builds and with faults, so that the tests see what is
 * inside.
 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include <cmocka.h>

#ifndef TLS_FAULTS
#define TLS_FAULTS
#endif
#ifndef TLS_DEBUG
#define TLS_DEBUG
#endif

/* Wiping is many steps for whoever goes through them one by one, and nothing happens meanwhile. */
static int stepping;

static void wipe(void *p, size_t size)
{
	if (!stepping)
		explicit_bzero(p, size);
}

#define explicit_bzero wipe

/* clang-format off */
#include "heap/heap.h"
#include "heap/shape.h"
#include "heap/heap.c"
#include "heap/audit.c"
#include "heap/lock.c"
#include "heap/pages.c"
#include "heap/spans.c"
/* clang-format on */

#define ARENA   ((size_t)128 << 20)
#define UNIT    ((size_t)1024)
#define UNITS   (ARENA / UNIT)
#define GUARD   64 /* bytes that the source keeps free around each block, filled, and looks at */
#define PATTERN 0xa7

#ifdef __SANITIZE_THREAD__ /* ten times slower */
#define KILLS 10
#else
#define KILLS 30
#endif
#define DEATHS 10 /* in each scene */

/* ---- the source: runs of units of an arena, with guards, never more than `limit` bytes */

struct arena_state {
	struct tls_lock lock; /* the test's processes are killed too */
	_Atomic size_t used, limit;
	atomic_long taken, given;
	uint32_t run[UNITS]; /* at the first unit of a run its length, at the others 1 */
};

static unsigned char *arena;
static struct arena_state *state_of_arena;

static size_t find_units(size_t wanted)
{
	size_t run = 0;

	for (size_t i = 0; i < UNITS; i += run == 0 ? state_of_arena->run[i] : 1) {
		run = state_of_arena->run[i] == 0 ? run + 1 : 0;
		if (run == wanted)
			return i + 1 - run;
	}
	return UNITS;
}

static void *take_units(size_t size, size_t wanted)
{
	struct arena_state *a = state_of_arena;
	size_t at = a->used + wanted * UNIT <= a->limit ? find_units(wanted) : UNITS;
	unsigned char *p = arena + at * UNIT;

	if (at == UNITS)
		return NULL;
	for (size_t i = 0; i < wanted; i++)
		a->run[at + i] = i == 0 ? (uint32_t)wanted : 1;
	a->used += wanted * UNIT;
	a->taken++;
	memset(p, PATTERN, GUARD);
	memset(p + GUARD + size, PATTERN, wanted * UNIT - GUARD - size);
	memcpy(p, &size, sizeof(size));
	return p + GUARD + 16; /* aligned for any type, and no more */
}

static void *arena_take(size_t size)
{
	void *p;

	if (size > ARENA)
		return NULL;
	size += 16;
	tls_lock_take(&state_of_arena->lock);
	p = take_units(size, (size + 2 * GUARD + UNIT - 1) / UNIT);
	tls_lock_release(&state_of_arena->lock);
	return p;
}

static void check_guards(const unsigned char *p, size_t size, size_t units)
{
	for (size_t i = sizeof(size); i < GUARD; i++)
		if (p[i] != PATTERN)
			tls_pages_die("written before a block of the source", p);
	for (size_t i = GUARD + size; i < units * UNIT; i++)
		if (p[i] != PATTERN)
			tls_pages_die("written behind a block of the source", p);
}

/* What is given back is overwritten: who still uses it fails. */
static void arena_give(void *given)
{
	unsigned char *p = (unsigned char *)given - 16 - GUARD;
	struct arena_state *a = state_of_arena;
	size_t at = (size_t)(p - arena) / UNIT, units, size;

	tls_lock_take(&a->lock);
	units = a->run[at];
	memcpy(&size, p, sizeof(size));
	check_guards(p, size, units);
	if (!stepping)
		memset(p, 0xee, units * UNIT);
	for (size_t i = 0; i < units; i++)
		a->run[at + i] = 0;
	a->used -= units * UNIT;
	a->given++;
	tls_lock_release(&a->lock);
}

static bool arena_contains(const void *p)
{
	return (uintptr_t)p - (uintptr_t)arena < ARENA;
}

static size_t arena_available(void)
{
	return state_of_arena->limit - state_of_arena->used;
}

static void complain(const char *text)
{
	fputs(text, stderr);
}

static const struct tls_mem_source source = {
	.take = arena_take,
	.give = arena_give,
	.contains = arena_contains,
	.available = arena_available,
	.complain = complain,
};

static void *shared_room(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

/* ---- each test has a heap of its own, in an arena that the one before has left */

static int set_up(void **state)
{
	(void)state;
	if (arena == NULL) {
		arena = shared_room(ARENA);
		state_of_arena = shared_room(sizeof(*state_of_arena));
	}
	memset(state_of_arena, 0, sizeof(*state_of_arena));
	state_of_arena->limit = ARENA;
	memset(&tls_heap, 0, sizeof(tls_heap));
	last_cache = 0;
	leased = NULL;
	alarm(280);
	return tls_heap_start(&source);
}

static struct tls_mem_stats stats(void)
{
	struct tls_mem_stats s;

	tls_heap_get_stats(&s);
	return s;
}

/* The invariants hold and the counters tell what the walk has seen. */
static void check_heap(void)
{
	assert_int_equal(tls_heap_check(), stats().blocks);
}

/* Nothing lives, and all regions are back with the source. */
static void check_empty(void)
{
	tls_heap_trim();
	check_heap();
	assert_int_equal(stats().blocks, 0);
	assert_int_equal(stats().bytes, 0);
	assert_int_equal(tls_pages.shared->regions, 0);
}

/* ---- blocks with content that tells whose they are */

struct block_of_test {
	unsigned char *p;
	size_t size;
	unsigned char seed;
	atomic_bool under_way; /* between processes */
};

static void fill(struct block_of_test *b, size_t size, unsigned char seed)
{
	b->p = tls_heap_alloc(size);
	b->size = size;
	b->seed = seed;
	if (b->p == NULL)
		return;
	if (((uintptr_t)b->p & 15) != 0 || tls_heap_size(b->p) < size)
		tls_pages_die("a block is not aligned or too small", b->p);
	for (size_t i = 0; i < size; i++)
		b->p[i] = (unsigned char)(seed + i);
}

static void empty(struct block_of_test *b)
{
	for (size_t i = 0; i < b->size; i++)
		if (b->p[i] != (unsigned char)(b->seed + i))
			tls_pages_die("a block has lost its content", b->p);
	tls_heap_free(b->p);
	b->p = NULL;
}

struct dice {
	uint64_t n;
};

static uint64_t roll(struct dice *d, uint64_t sides)
{
	d->n ^= d->n << 13;
	d->n ^= d->n >> 7;
	d->n ^= d->n << 17;
	return d->n % sides;
}

/* As OpenSSL asks: most small, some records, few large, hardly any huge. */
static size_t some_size(struct dice *d)
{
	uint64_t kind = roll(d, 1000);

	if (kind < 700)
		return 1 + roll(d, 256);
	if (kind < 950)
		return 1 + roll(d, 4096);
	if (kind < 990)
		return 1 + roll(d, 33000);
	return kind < 998 ? 1 + roll(d, 120000) : 1 + roll(d, 400000);
}

/*
 * TURNS of taking and giving, with and without a lease, up to COUNT blocks at a time; all are given in the
 * end.
 */
static void work(struct dice *d, int turns, struct block_of_test *blocks, size_t count)
{
	bool held = false;

	for (int i = 0; i < turns; i++) {
		struct block_of_test *b = &blocks[roll(d, count)];

		if (roll(d, 50) == 0) {
			held ? tls_heap_let_go() : tls_heap_hold();
			held = !held;
		}
		if (b->p != NULL)
			empty(b);
		else
			fill(b, some_size(d), (unsigned char)roll(d, 256));
	}
	for (size_t i = 0; i < count; i++)
		if (blocks[i].p != NULL)
			empty(&blocks[i]);
	tls_heap_let_go();
}

static void assert_ends_well(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* ---- one process */

static void every_size_has_the_class_that_fits(void **state)
{
	unsigned last = 0;

	(void)state;
	for (size_t size = 0; size <= SMALL_MAX; size++) {
		unsigned k = class_of(size);

		assert_in_range(k, last, last + 1);
		assert_true(slot_size(k) >= size);
		assert_true(k == 0 || slot_size(k - 1) < size);
		assert_true(size <= 128 || slot_size(k) - size <= slot_size(k) / 8);
		last = k;
	}
	assert_int_equal(last, SIZES - 1);
}

static void every_span_is_well_filled(void **state)
{
	(void)state;
	for (unsigned k = 0; k < CLASSES; k++) {
		const struct layout *l = &tls_heap.layouts[k];

		assert_in_range(l->slots, 1, SPAN_SLOTS);
		assert_true(l->slots * slot_size(k) <= l->pages * PAGE);
		assert_true((l->pages * PAGE - l->slots * slot_size(k)) * 20 <= l->pages * PAGE);
		for (unsigned slot = 0; slot < l->slots; slot++)
			assert_true(slot_bit(slot * slot_size(k), l->reciprocal, l->size) == UINT64_C(1) << slot);
		for (size_t offset = 1; offset < l->slots * slot_size(k); offset++)
			assert_true(slot_bit(offset, l->reciprocal, l->size) == 0 || offset % slot_size(k) == 0);
	}
}

static void every_boundary_is_served(void **state)
{
	static struct block_of_test blocks[SIZES * 3 + 12];
	const size_t others[] = {LARGE_PAGES * PAGE, 1000000, 5000000, PAGE * 17};
	size_t n = 0;

	(void)state;
	for (unsigned k = 0; k < SIZES; k++)
		for (size_t size = slot_size(k) - 1; size <= slot_size(k) + 1; size++)
			fill(&blocks[n++], size, (unsigned char)size);
	for (size_t i = 0; i < 4; i++)
		for (size_t size = others[i] - 1; size <= others[i] + 1; size++)
			fill(&blocks[n++], size, (unsigned char)size);
	check_heap();
	assert_int_equal(stats().blocks, n);
	for (size_t i = 0; i < n; i++)
		assert_non_null(blocks[i].p);
	while (n > 0)
		empty(&blocks[--n]);
	check_empty();
}

static void random_work_keeps_the_invariants(void **state)
{
	static struct block_of_test blocks[800];
	struct dice d = {12345};

	(void)state;
	for (int round = 0; round < 25; round++) {
		work(&d, 4000, blocks, 800);
		check_heap();
	}
	check_empty();
}

static void sizes_of_nothing_and_of_everything(void **state)
{
	void *p = tls_heap_alloc(0);

	(void)state;
	assert_non_null(p);
	tls_heap_free(p);
	assert_null(tls_heap_alloc(SIZE_MAX));
	assert_null(tls_heap_alloc(SIZE_MAX - 4096));
	assert_null(tls_heap_alloc(SIZE_MAX / 2));
	assert_null(tls_heap_alloc(ARENA));
	assert_int_equal(stats().refused, 4);
	check_empty();
}

static void the_balance_is_the_threads_own(void **state)
{
	void *p, *q;
	long before = tls_heap_balance();

	(void)state;
	p = tls_heap_alloc(100);
	assert_int_equal(tls_heap_balance() - before, 112);
	tls_heap_hold();
	q = tls_heap_alloc(200);
	assert_int_equal(tls_heap_balance() - before, 112 + 208);
	tls_heap_free(p);
	assert_int_equal(tls_heap_balance() - before, 208);
	tls_heap_let_go();
	assert_int_equal(tls_heap_balance() - before, 208);
	tls_heap_free(q);
	assert_int_equal(tls_heap_balance() - before, 0);
}

/* A burst of connections, then quiet: memory goes back while it ends, and the rest with the next trim. */
static void a_flood_leaves_nothing(void **state)
{
	static struct block_of_test blocks[20000];
	struct dice d = {77};
	size_t used, peak;
	void *stays = tls_heap_alloc(100);

	(void)state;
	tls_heap_trim();
	used = state_of_arena->used;
	for (size_t i = 0; i < 20000; i++)
		fill(&blocks[i], some_size(&d) % 8192, (unsigned char)i);
	peak = state_of_arena->used;
	assert_true(peak > used + 40 * REGION_PAGES * PAGE);
	for (size_t i = 0; i < 20000; i++)
		empty(&blocks[i * 7919 % 20000]);
	check_heap();
	assert_true(state_of_arena->used < used + (peak - used) / 2);
	tls_heap_trim();
	assert_int_equal(state_of_arena->used, used);
	assert_int_equal(stats().blocks, 1);
	tls_heap_free(stays);
	check_empty();
}

/* Handshakes that are all under way at once: what they need for a while leaves no holes among what stays. */
static void handshakes_leave_no_holes(void **state)
{
	static const size_t passing[] = {16584, 16712, 21848, 3272, 3272, 4096, 300};
	static const size_t staying[] = {7624, 960, 960, 928, 536, 336, 216, 72, 56, 40, 32, 32};
	static struct block_of_test passes[1000][7], stays[1000][12];
	struct tls_mem_stats before = stats(), now;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		for (int j = 0; j < 12; j++) {
			if (j < 7)
				fill(&passes[i][j], passing[j], (unsigned char)j);
			fill(&stays[i][j], staying[j], (unsigned char)j);
		}
	}
	for (int i = 0; i < 1000; i++)
		for (int j = 0; j < 7; j++)
			empty(&passes[i][j]);
	tls_heap_trim();
	check_heap();
	now = stats();
	assert_true((now.held - before.held) * 100 <= (now.bytes - before.bytes) * 108);
	for (int i = 0; i < 1000; i++)
		for (int j = 0; j < 12; j++)
			empty(&stays[i][j]);
	check_empty();
}

/*
 * A configuration is built while the one before is in use, and that goes afterwards, again and again, while
 * connections come and stay: the memory taken does not creep up to what both need.
 */
static void configurations_in_turn_leave_no_holes(void **state)
{
	static struct block_of_test turn[2][12000], stays[30][50];
	struct dice d = {5};
	long first = 0; /* bytes held for nothing, once all is under way */

	(void)state;
	for (unsigned n = 0; n < 30; n++) {
		struct block_of_test *now = turn[n % 2], *before = turn[(n + 1) % 2];

		tls_heap_hold();
		tls_heap_choose_group(1 + n % 2);
		for (int i = 0; i < 12000; i++)
			fill(&now[i], i % 100 == 0 ? 33000 : some_size(&d) % 3000 + 1, (unsigned char)i);
		tls_heap_choose_group(0);
		for (int i = 0; i < 50; i++)
			fill(&stays[n][i], 1 + roll(&d, 1000), (unsigned char)i);
		for (int i = 0; i < 12000 && n > 0; i++)
			empty(&before[i]);
		tls_heap_let_go();
		tls_heap_trim();
		first = n == 2 ? stats().held - stats().bytes : first;
	}
	assert_true(stats().held - stats().bytes <= first + first / 4);
	for (int i = 0; i < 12000; i++)
		empty(&turn[1][i]);
	for (int i = 0; i < 30 * 50; i++)
		empty(&stays[i / 50][i % 50]);
	check_empty();
}

/* Live bytes against bytes taken, with so many blocks that what caches keep does not matter. */
static void little_is_wasted(void **state)
{
	static struct block_of_test blocks[40000];
	struct dice d = {99};
	size_t asked = 0;

	(void)state;
	for (size_t i = 0; i < 40000; i++) {
		size_t size = 129 + roll(&d, 1500);

		fill(&blocks[i], size, 0);
		asked += size;
	}
	assert_true((size_t)stats().bytes <= asked * 107 / 100);
	assert_true((size_t)stats().held <= asked * 112 / 100);
	for (size_t i = 0; i < 40000; i++)
		empty(&blocks[i]);
	check_empty();
}

/* ---- no memory */

static size_t fill_up(struct block_of_test *blocks, size_t max, size_t size)
{
	size_t n = 0;

	while (n < max && (fill(&blocks[n], size, (unsigned char)n), blocks[n].p != NULL))
		n++;
	return n;
}

static void the_end_of_memory_is_survived(void **state)
{
	static struct block_of_test blocks[100000];
	const size_t sizes[] = {40, 700, 7624, 17000, 50000, 200000};

	(void)state;
	state_of_arena->limit = state_of_arena->used + 3000000;
	for (int held = 0; held < 2; held++)
		for (size_t i = 0; i < 6; i++) {
			size_t n, again;

			held ? tls_heap_hold() : (void)0;
			n = fill_up(blocks, 100000, sizes[i]);
			assert_true(n * sizes[i] > 2000000);
			assert_true(stats().refused > 0);
			check_heap();
			empty(&blocks[n / 2]);
			fill(&blocks[n / 2], sizes[i], 1);
			assert_non_null(blocks[n / 2].p);
			for (again = n; again > 0; again--)
				empty(&blocks[again - 1]);
			again = fill_up(blocks, 100000, sizes[i]);
			assert_in_range(again, n - n / 10, n + n / 10);
			n = again;
			while (n > 0)
				empty(&blocks[--n]);
			tls_heap_let_go();
			check_empty();
		}
}

/* A region's worth of pages in idle caches is no reason to refuse anything. */
static void memory_in_idle_caches_is_found(void **state)
{
	pid_t pid;

	(void)state;
	tls_heap_free(tls_heap_alloc(1));
	state_of_arena->limit = state_of_arena->used;
	pid = fork();
	if (pid == 0) {
		for (size_t size = 100; size < 30000; size *= 2)
			tls_heap_free(tls_heap_alloc(size));
		_exit(0);
	}
	assert_ends_well(pid);
	for (int i = 0; i < 3; i++)
		assert_non_null(tls_heap_alloc(20000)); /* of 120 KB */
	assert_int_equal(stats().blocks, 3);
	assert_int_equal(stats().refused, 0);
}

static void each_allocation_can_fail(void **state)
{
	void *p[20];

	(void)state;
	for (long n = 1; n <= 20; n++)
		for (int forever = 0; forever < 2; forever++) {
			tls_heap_fail_at(n, forever == 1);
			for (long i = 1; i <= 20; i++) {
				p[i - 1] = tls_heap_alloc((size_t)i * 2500);
				assert_int_equal(p[i - 1] == NULL, forever == 1 ? i >= n : i == n);
			}
			tls_heap_fail_at(0, false);
			for (int i = 0; i < 20; i++)
				if (p[i] != NULL)
					tls_heap_free(p[i]);
		}
	check_empty();
}

/* ---- wrong frees */

/*
 * Runs ACT(ARG) in a child and returns the signal that ended it; TEXT gets what it wrote to its standard
 * error.
 */
static int signal_of(void (*act)(void *), void *arg, char *text, size_t size)
{
	int status, pipe_fd[2];
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(pipe_fd), 0);
	pid = fork();
	if (pid == 0) {
		signal(SIGABRT, SIG_DFL);
		dup2(pipe_fd[1], STDERR_FILENO);
		act(arg);
		_exit(0);
	}
	close(pipe_fd[1]);
	n = read(pipe_fd[0], text, size - 1);
	close(pipe_fd[0]);
	text[n > 0 ? n : 0] = '\0';
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void assert_dies(void (*act)(void *), void *arg, const char *why)
{
	char text[300];

	assert_int_equal(signal_of(act, arg, text, sizeof(text)), SIGABRT);
	if (strstr(text, why) == NULL)
		fail_msg("'%s' instead of '%s'", text, why);
}

static void free_it(void *p)
{
	tls_heap_free(p);
}

static void free_it_leased(void *p)
{
	tls_heap_hold();
	tls_heap_free(p);
}

static void free_it_twice(void *p)
{
	tls_heap_hold();
	tls_heap_free(p);
	tls_heap_free(p);
}

static void size_it(void *p)
{
	tls_heap_size(p);
}

static void a_block_freed_twice_is_caught(void **state)
{
	const size_t sizes[] = {1, 100, 1000, 10000, 40000, 60000, 300000};

	(void)state;
	for (size_t i = 0; i < 7; i++) {
		const char *why = sizes[i] <= LARGE_PAGES * PAGE ? "freed twice" : "not any more";
		void *keep = tls_heap_alloc(sizes[i]), *p = tls_heap_alloc(sizes[i]);

		assert_dies(free_it_twice, p, why);
		p = tls_heap_alloc(sizes[i]);
		tls_heap_free(p);
		assert_dies(free_it, p, why);
		assert_dies(free_it_leased, p, why);
		tls_heap_free(keep);
	}
}

/* The slot is free in a cache that another thread holds, and in the word of a span that nobody has. */
static void a_block_freed_twice_is_caught_elsewhere(void **state)
{
	void *p[100], *q;

	(void)state;
	tls_heap_hold();
	q = tls_heap_alloc(64);
	tls_heap_free(q);
	assert_dies(free_it, q, "freed twice"); /* the child has a cache of its own */
	for (int i = 0; i < 100; i++)
		p[i] = tls_heap_alloc(64);
	tls_heap_free(p[3]);
	assert_dies(free_it, p[3], "freed twice");
	assert_dies(free_it_leased, p[3], "freed twice");
	tls_heap_let_go();
}

static void a_wrong_address_is_caught(void **state)
{
	unsigned char *small = tls_heap_alloc(100), *large = tls_heap_alloc(50000),
				  *huge = tls_heap_alloc(500000);
	unsigned char *foreign = arena_take(100), *region = (unsigned char *)region_of(page_of(small));

	(void)state;
	assert_dies(free_it, small + 16, "not the start");
	assert_dies(free_it, small + 1, "not the start");
	assert_dies(free_it_leased, small + 16, "not the start");
	assert_dies(size_it, small + 8, "not the start");
	assert_dies(free_it, large + 16, "not the start");
	assert_dies(free_it, large + PAGE, "not the start");
	assert_dies(free_it, huge + 16, "not the start");
	assert_dies(free_it, huge + PAGE, "not in the heap");
	assert_dies(free_it, foreign, "not in the heap");
	assert_dies(free_it_leased, foreign, "not in the heap");
	assert_dies(free_it, region, "not in the heap");
	assert_dies(free_it, region + REGION_HEAD - 16, "not in the heap");
	assert_dies(free_it, &foreign, "not in the heap");
	assert_dies(free_it, NULL, "not in the heap");
	assert_dies(free_it, region + REGION_HEAD + (REGION_PAGES - 1) * PAGE, "freed twice");
	tls_heap_free(small);
	tls_heap_free(large);
	tls_heap_free(huge);
	check_empty();
	assert_dies(free_it, small, "not any more");
}

/* ---- processes */

#define WORKERS 8
#define RING    64

/* Blocks go round: each worker takes one from its ring, or makes one, and puts it into another worker's. */
struct ring_of_blocks {
	_Atomic(struct block_of_test *) slot[RING];
};

struct exchange {
	struct ring_of_blocks rings[WORKERS];
	struct block_of_test blocks[WORKERS][RING * 4]; /* what describes the blocks, by who made them */
	atomic_bool stop;
	atomic_long passed;
};

/* The description of a block that is not under way. */
static struct block_of_test *unused(struct exchange *x, int me)
{
	for (int i = 0; i < RING * 4; i++)
		if (!atomic_load(&x->blocks[me][i].under_way))
			return &x->blocks[me][i];
	return NULL;
}

static void receive(struct exchange *x, struct ring_of_blocks *ring, struct dice *d)
{
	struct block_of_test *b = atomic_exchange(&ring->slot[roll(d, RING)], NULL);

	if (b == NULL)
		return;
	empty(b);
	atomic_fetch_add_explicit(&x->passed, 1, memory_order_relaxed);
	atomic_store(&b->under_way, false);
}

static void send(struct exchange *x, int me, struct dice *d)
{
	_Atomic(struct block_of_test *) *slot = &x->rings[roll(d, WORKERS)].slot[roll(d, RING)];
	struct block_of_test *b = unused(x, me), *none = NULL;
	size_t size = some_size(d);

	if (b == NULL)
		return;
	fill(b, size, (unsigned char)roll(d, 256));
	if (b->p == NULL)
		return;
	atomic_store(&b->under_way, true);
	if (atomic_compare_exchange_strong(slot, &none, b))
		return;
	empty(b);
	atomic_store(&b->under_way, false);
}

static void exchange_blocks(struct exchange *x, int me, int turns)
{
	struct dice d = {(uint64_t)me * 7919 + 1};

	for (int i = 0; i < turns && !atomic_load(&x->stop); i++) {
		if (i % 16 == 0)
			tls_heap_hold();
		send(x, me, &d);
		receive(x, &x->rings[me], &d);
		receive(x, &x->rings[roll(&d, WORKERS)], &d);
		if (i % 16 == 11)
			tls_heap_let_go();
		if (me == 0 && i % 256 == 0)
			tls_heap_trim();
	}
	tls_heap_let_go();
}

static void drain(struct exchange *x)
{
	for (int i = 0; i < WORKERS; i++)
		for (int j = 0; j < RING; j++) {
			struct block_of_test *b = atomic_exchange(&x->rings[i].slot[j], NULL);

			if (b != NULL)
				empty(b);
		}
}

static void processes_free_each_others_blocks(void **state)
{
	struct exchange *x = shared_room(sizeof(*x));
	pid_t pids[WORKERS];

	(void)state;
	for (int i = 0; i < WORKERS; i++)
		if ((pids[i] = fork()) == 0) {
			exchange_blocks(x, i, 20000);
			_exit(0);
		}
	for (int i = 0; i < WORKERS; i++)
		assert_ends_well(pids[i]);
	assert_true(x->passed > WORKERS * 2000);
	check_heap();
	drain(x);
	check_empty();
	munmap(x, sizeof(*x));
}

/* Processes that come and go, one at a time, use one cache; what each has left behind is no loss. */
static void a_process_leaves_its_cache_to_the_next(void **state)
{
	(void)state;
	for (int i = 0; i < 30; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			tls_heap_hold();
			tls_heap_free(tls_heap_alloc(100));
			if (i % 2 == 0)
				tls_heap_let_go(); /* the others end while they hold it */
			_exit(0);
		}
		assert_ends_well(pid);
	}
	tls_heap_free(tls_heap_alloc(100));
	assert_null(cache_at(1));
	check_empty();
}

static void a_child_has_no_lease(void **state)
{
	pid_t pid;

	(void)state;
	tls_heap_hold();
	pid = fork();
	if (pid == 0)
		_exit(leased == NULL && tls_heap_alloc(10) != NULL && tls_lock_self() == (uint32_t)getpid() ? 0 : 1);
	assert_ends_well(pid);
	assert_int_equal(leased->holder, tls_lock_self());
	assert_int_equal(stats().blocks, 1);
	tls_heap_let_go();
	check_heap();
}

static void without_caches_all_works(void **state)
{
	static struct block_of_test blocks[500];
	struct dice d = {4711};
	struct cache *c;

	(void)state;
	while ((c = new_cache()) != NULL)
		;
	tls_heap_hold();
	assert_null(leased);
	work(&d, 20000, blocks, 500);
	assert_true(stats().held > (long)(CACHES * sizeof(*c)));
	check_heap();
	check_empty();
}

/* ---- killed processes */

/*
 * A child dies with locks; the parent, which has asked for its status or not, goes on within the alarm's
 * time.
 */
static void a_dead_holder_does_not_stop_others(void **state)
{
	(void)state;
	for (int reaped = 0; reaped < 2; reaped++) {
		static struct block_of_test blocks[300];
		struct dice d = {31};
		void *p = tls_heap_alloc(100);
		siginfo_t info;
		pid_t pid = fork();

		if (pid == 0) {
			tls_spans_enter(class_of(100));
			tls_pages_enter();
			begin_change(region_of(page_of(p)));
			raise(SIGKILL);
		}
		assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | (reaped == 1 ? 0 : WNOWAIT)), 0);
		tls_heap_free(p);
		work(&d, 5000, blocks, 300);
		check_heap();
		assert_int_equal(stats().blocks, 0);
		if (reaped == 0)
			waitpid(pid, NULL, 0);
	}
}

/* A child dies with the lock of the class that blocks of SIZE bytes have. */
static void die_with_class_of(size_t size)
{
	pid_t pid = fork();

	if (pid == 0) {
		tls_spans_enter(class_of(size));
		raise(SIGKILL);
	}
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/*
 * It was in a list that nobody trusts any more; then its last block is freed, and it is the spare one, and
 * current again.
 */
static void a_span_of_an_old_list_is_as_good_as_new(void **state)
{
	unsigned slots = tls_heap.layouts[class_of(200)].slots;
	void *blocks[SPAN_SLOTS + 1];

	(void)state;
	for (unsigned i = 0; i <= slots; i++)
		blocks[i] = tls_heap_alloc(200);
	tls_heap_free(blocks[0]); /* not of the current span: listed */
	die_with_class_of(200);
	for (unsigned i = 1; i < slots; i++)
		tls_heap_free(blocks[i]);
	check_heap();
	assert_non_null(tls_heap.shared->classes[class_of(200)].spare);
	for (unsigned i = 0; i < slots; i++)
		blocks[i] = tls_heap_alloc(200);
	check_heap();
	for (unsigned i = 0; i <= slots; i++)
		tls_heap_free(blocks[i]);
	check_empty();
}

/* Workers are killed anywhere; the others and this process go on, and the invariants hold. */
static void killed_workers_do_no_harm(void **state)
{
	static struct block_of_test blocks[300];
	struct dice d = {2026};

	(void)state;
	for (int round = 0; round < KILLS; round++) {
		struct timespec nap = {.tv_nsec = (long)roll(&d, 4000000)};
		struct exchange *x = shared_room(sizeof(*x));
		pid_t pids[3];

		for (int i = 0; i < 3; i++)
			if ((pids[i] = fork()) == 0) {
				exchange_blocks(x, i, 1000000);
				_exit(0);
			}
		nanosleep(&nap, NULL);
		kill(pids[0], SIGKILL);
		waitpid(pids[0], NULL, 0);
		work(&d, 300, blocks, 300);
		atomic_store(&x->stop, true);
		assert_ends_well(pids[1]);
		assert_ends_well(pids[2]);
		tls_heap_trim();
		munmap(x, sizeof(*x));
	}
}

/* ---- killed at each instruction */

/* What the parent has when a child begins. */
static struct block_of_test theirs[200];
static atomic_int *given_away; /* how many of these the child has given, or is giving; shared */

static void take_many(void)
{
	tls_heap_hold();
	for (int i = 0; i < 45; i++)
		tls_heap_alloc(200);
	tls_heap_let_go();
}

/* As many as make the next span empty and the one behind it not full. */
static void give_many(void)
{
	int from = atomic_load(given_away), slots = tls_heap.layouts[class_of(200)].slots;

	for (int i = from; i < from + slots + 1; i++) {
		atomic_store(given_away, i + 1);
		tls_heap_free(theirs[i].p);
	}
}

static void take_and_give_large(void)
{
	tls_heap_free(tls_heap_alloc(50000));
}

static void take_and_give_huge(void)
{
	tls_heap_free(tls_heap_alloc(200000));
}

/* Idle caches, spare spans and empty regions are there to be given up. */
static void leave_rests(void)
{
	for (size_t size = 100; size < 20000; size *= 4)
		tls_heap_free(tls_heap_alloc(size));
	tls_heap_free(tls_heap_alloc(60000));
	tls_heap_free(tls_heap_alloc(61000));
}

/* tls_heap_trim() without the check, which is long and changes nothing. */
static void trim(void)
{
	empty_idle_caches();
	release_spares();
	tls_pages_trim();
}

static void nothing(void) {}

static const struct scene {
	void (*before)(void); /* not stepped through */
	void (*act)(void);
} scenes[] = {
	{nothing, take_many},
	{nothing, give_many},
	{give_many, give_many},
	{nothing, take_and_give_large},
	{leave_rests, take_and_give_large},
	{nothing, take_and_give_huge},
	{leave_rests, trim},
};

/* Lets a child play S, but no more than STEPS instructions of it. Returns how many there were. */
static long play(const struct scene *s, long steps)
{
	pid_t pid = fork();
	long done = 0;
	int status;

	if (pid == 0) {
		s->before();
		stepping = 1;
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
			_exit(1);
		raise(SIGSTOP);
		s->act();
		_exit(0);
	}
	for (; waitpid(pid, &status, 0) == pid && WIFSTOPPED(status) && done < steps; done++)
		ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL);
	if (WIFSTOPPED(status)) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	return done;
}

/* Both on one processor step faster. */
static void stay_here(void)
{
	cpu_set_t here;

	CPU_ZERO(&here);
	CPU_SET(sched_getcpu(), &here);
	sched_setaffinity(0, sizeof(here), &here);
}

/* A new heap, and blocks of ours in it that fill spans. */
static void begin_scene(void)
{
	void *none = NULL;

	set_up(&none);
	atomic_store(given_away, 0);
	for (int i = 0; i < 200; i++)
		fill(&theirs[i], 200, (unsigned char)i);
}

/*
 * What the dead child had is lost, what it was about too, and no more. All others' blocks are what they were.
 */
static void end_scene(void)
{
	static struct block_of_test blocks[300];
	struct dice d = {17};

	work(&d, 600, blocks, 300);
	tls_heap_check();
	for (int i = atomic_load(given_away); i < 200; i++)
		empty(&theirs[i]);
	tls_heap_trim();
	tls_heap_check();
	assert_in_range(tls_pages.shared->regions, 0, 4);
}

/*
 * A child is killed after so many instructions, then after more, some distance apart. HEAP_DEATHS in the
 * environment says how often in each scene.
 */
static void a_death_at_any_instruction_does_no_harm(void **state)
{
	const char *wanted = getenv("HEAP_DEATHS");
	long deaths = wanted != NULL ? atol(wanted) : DEATHS;
	cpu_set_t all_processors;

	(void)state;
#if !defined(__x86_64__) || defined(__SANITIZE_THREAD__)
	skip(); /* elsewhere stepping through an atomic instruction may never end */
#endif
	given_away = shared_room(sizeof(*given_away));
	sched_getaffinity(0, sizeof(all_processors), &all_processors);
	stay_here();
	for (size_t i = 0; i < sizeof(scenes) / sizeof(scenes[0]); i++) {
		long all, stride;

		begin_scene();
		all = play(&scenes[i], LONG_MAX);
		end_scene();
		assert_true(all > 100);
		stride = all / deaths | 1;
		for (long n = 1; n < all; n += stride) {
			begin_scene();
			play(&scenes[i], n);
			end_scene();
		}
	}
	sched_setaffinity(0, sizeof(all_processors), &all_processors);
	munmap(given_away, sizeof(*given_away));
}

/* ---- threads */

struct job {
	struct exchange *x;
	int me;
};

static void *run_thread(void *arg)
{
	struct job *job = arg;

	exchange_blocks(job->x, job->me, 6000);
	return NULL;
}

static void threads_are_as_good_as_processes(void **state)
{
	struct exchange *x = shared_room(sizeof(*x));
	struct job jobs[4];
	pthread_t threads[4];

	(void)state;
	for (int i = 0; i < 4; i++) {
		jobs[i] = (struct job){x, i};
		assert_int_equal(pthread_create(&threads[i], NULL, run_thread, &jobs[i]), 0);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_true(x->passed > 1000);
	check_heap();
	drain(x);
	check_empty();
	munmap(x, sizeof(*x));
}

#define TEST(f) cmocka_unit_test_setup(f, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_size_has_the_class_that_fits),
		TEST(every_span_is_well_filled),
		TEST(every_boundary_is_served),
		TEST(random_work_keeps_the_invariants),
		TEST(sizes_of_nothing_and_of_everything),
		TEST(the_balance_is_the_threads_own),
		TEST(a_flood_leaves_nothing),
		TEST(handshakes_leave_no_holes),
		TEST(configurations_in_turn_leave_no_holes),
		TEST(little_is_wasted),
		TEST(the_end_of_memory_is_survived),
		TEST(memory_in_idle_caches_is_found),
		TEST(each_allocation_can_fail),
		TEST(a_block_freed_twice_is_caught),
		TEST(a_block_freed_twice_is_caught_elsewhere),
		TEST(a_wrong_address_is_caught),
		TEST(processes_free_each_others_blocks),
		TEST(a_process_leaves_its_cache_to_the_next),
		TEST(a_child_has_no_lease),
		TEST(without_caches_all_works),
		TEST(a_dead_holder_does_not_stop_others),
		TEST(a_span_of_an_old_list_is_as_good_as_new),
		TEST(killed_workers_do_no_harm),
		TEST(a_death_at_any_instruction_does_no_harm),
		TEST(threads_are_as_good_as_processes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
