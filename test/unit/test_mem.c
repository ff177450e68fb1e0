/* links: tls_mem.c crypto/openssl/memory.c heap/heap.c heap/audit.c heap/spans.c heap/pages.c heap/lock.c host/child.c */
/*
 * test_mem.c - the scope: which world OpenSSL's blocks come from, and how they move and grow there
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/crypto.h>

#include "heap/heap.h"
#include "tls_mem.h"
#include "crypto/crypto.h"
#include "crypto/openssl/compat.h"
#include "crypto/openssl/memory.h"

#define ARENA_SIZE (8 << 20)

static unsigned char *arena;
static size_t arena_used;
static atomic_int given;

/* While it is scarce, only what is given back can be had. */
static bool scarce;
static void *returned[32];
static unsigned returns;

/* Else what is given back is not used again: the heap's own tests look at that. */
static void *arena_take(size_t size)
{
	unsigned char *p = arena + arena_used;

	if (scarce)
		return returns > 0 && size <= 45 * 1024 ? returned[--returns] : NULL;
	if (arena_used + size > ARENA_SIZE)
		return NULL;
	arena_used += (size + 15) & ~(size_t)15;
	return p;
}

static void arena_give(void *p)
{
	assert_true((unsigned char *)p >= arena && (unsigned char *)p < arena + arena_used);
	given++;
	if (scarce && returns < sizeof(returned) / sizeof(returned[0]))
		returned[returns++] = p;
}

static bool arena_contains(const void *p)
{
	return (const unsigned char *)p >= arena && (const unsigned char *)p < arena + ARENA_SIZE;
}

static size_t arena_available(void)
{
	return ARENA_SIZE - arena_used;
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

/* What the counters say now, less what they said in BEFORE. */
static struct tls_mem_stats since(const struct tls_mem_stats *before)
{
	struct tls_mem_stats now;

	tls_mem_get_stats(&now);
	return (struct tls_mem_stats){now.blocks - before->blocks, now.bytes - before->bytes,
	                              now.refused - before->refused, now.held - before->held};
}

static int set_up(void **state)
{
	(void)state;
	/*
	 * OpenSSL keeps the functions only when it has allocated nothing before: this is the first call of it
	 * here.
	 */
	if (tls_crypto_load() != 0)
		return -1;
	arena = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return arena != MAP_FAILED ? tls_mem_start(&source) : -1;
}

static void outside_a_scope_memory_is_private(void **state)
{
	void *p = OPENSSL_malloc(100);

	(void)state;
	assert_non_null(p);
	assert_false(arena_contains(p));
	OPENSSL_free(p);
}

static void inside_a_scope_memory_is_shared(void **state)
{
	struct tls_mem_stats before;
	void *p;

	(void)state;
	tls_mem_get_stats(&before);
	tls_crypto_enter();
	p = OPENSSL_malloc(100);
	tls_crypto_leave();
	assert_true(arena_contains(p));
	assert_int_equal(since(&before).blocks, 1);
	assert_in_range(since(&before).bytes, 100, 112);
	OPENSSL_free(p); /* outside the scope: the address tells */
	assert_int_equal(since(&before).blocks, 0);
	assert_int_equal(since(&before).bytes, 0);
}

static void scopes_nest(void **state)
{
	void *p, *q;

	(void)state;
	tls_crypto_enter();
	tls_crypto_enter();
	tls_crypto_leave();
	p = OPENSSL_malloc(1);
	tls_crypto_leave();
	q = OPENSSL_malloc(1);
	assert_true(arena_contains(p));
	assert_false(arena_contains(q));
	OPENSSL_free(p);
	OPENSSL_free(q);
}

static void the_default_library_context_is_the_scopes_own(void **state)
{
	OSSL_LIB_CTX *own = OSSL_LIB_CTX_new(), *before;

	(void)state;
	tls_memory_set_context(own);
	tls_crypto_enter();
	tls_crypto_enter();
	tls_crypto_leave();
	assert_ptr_equal(OSSL_LIB_CTX_set0_default(NULL), own);
	tls_crypto_leave();
	before = OSSL_LIB_CTX_set0_default(NULL);
	assert_ptr_not_equal(before, own);
	tls_memory_set_context(NULL);
	OSSL_LIB_CTX_free(own);
}

static void a_block_stays_in_its_world_when_resized(void **state)
{
	struct tls_mem_stats before;
	char *shared, *private = OPENSSL_malloc(8);

	(void)state;
	tls_mem_get_stats(&before);
	tls_crypto_enter();
	shared = OPENSSL_malloc(8);
	private = OPENSSL_realloc(private, 5000);
	tls_crypto_leave();
	strcpy(shared, "content");
	shared = OPENSSL_realloc(shared, 5000);
	assert_true(arena_contains(shared));
	assert_false(arena_contains(private));
	assert_string_equal(shared, "content");
	assert_in_range(since(&before).bytes, 5000, 5500);
	shared = OPENSSL_realloc(shared, 4);
	assert_memory_equal(shared, "cont", 4);
	assert_in_range(since(&before).bytes, 4, 32);
	OPENSSL_free(shared);
	OPENSSL_free(private);
	assert_int_equal(since(&before).blocks, 0);
}

static void a_small_change_of_size_moves_nothing(void **state)
{
	char *p = tls_mem_shared_strdup("this stays where it is"), *old = p;

	(void)state;
	p = OPENSSL_realloc(p, 32);
	assert_ptr_equal(p, old);
	p = OPENSSL_realloc(p, 20);
	assert_ptr_equal(p, old);
	assert_memory_equal(p, "this stays where it is", 20);
	tls_mem_shared_free(p);
}

/* Takes all memory there is, in blocks that get smaller; each begins with the address of the one before. */
static void *take_all(void)
{
	void *last = NULL, *p;

	for (size_t size = 100000; size >= 16; size = size * 3 / 4)
		while ((p = tls_mem_shared_alloc(size)) != NULL) {
			memcpy(p, &last, sizeof(last));
			last = p;
		}
	return last;
}

static void give_all(void *last)
{
	while (last != NULL) {
		void *p = last;

		memcpy(&last, p, sizeof(last));
		tls_mem_shared_free(p);
	}
}

/*
 * A message of an established connection wants two buffers of 17 KB, and gives them back before the next one
 * comes.
 */
static void pass_message(void)
{
	void *in, *out;

	tls_mem_use_reserve(true);
	in = tls_mem_shared_alloc(17000);
	out = tls_mem_shared_alloc(17000);
	tls_mem_use_reserve(false);
	assert_non_null(in);
	assert_non_null(out);
	tls_mem_shared_free(in);
	tls_mem_shared_free(out);
}

static void established_connections_have_a_reserve(void **state)
{
	struct tls_mem_stats full;
	void *all;

	(void)state;
	assert_true(tls_mem_recover(100));
	tls_heap_trim();
	tls_mem_get_stats(&full);
	scarce = true;
	all = take_all();
	assert_true(tls_mem_was_short());
	assert_null(tls_mem_shared_alloc(17000));
	for (int i = 0; i < 10; i++)
		pass_message();
	assert_true(tls_mem_was_short());
	assert_false(tls_mem_recover(100)); /* nothing beside the reserve, or not even that */
	tls_mem_use_reserve(true);
	assert_null(tls_mem_shared_alloc(100000)); /* the reserve is not for such */
	tls_mem_use_reserve(false);
	scarce = false;
	give_all(all);
	assert_true(tls_mem_recover(100));
	assert_false(tls_mem_was_short());
	tls_heap_trim();
	assert_true(since(&full).held <= 0);
}

static void a_resize_without_memory_leaves_the_block(void **state)
{
	struct tls_mem_stats before;
	char *small = tls_mem_shared_strdup("still here"), *great = tls_mem_shared_alloc(1000);
	void *all = take_all();

	(void)state;
	tls_mem_get_stats(&before);
	assert_null(OPENSSL_realloc(small, 1000));
	assert_null(tls_mem_shared_alloc(10));
	assert_null(tls_mem_shared_strdup("no room"));
	assert_string_equal(small, "still here");
	assert_int_equal(since(&before).refused, 3);
	assert_ptr_equal(OPENSSL_realloc(great, 20), great); /* it has room, so it does not fail */
	assert_int_equal(since(&before).blocks, 0);
	give_all(all);
	tls_mem_shared_free(small);
	tls_mem_shared_free(great);
}

static void odd_sizes_are_answered_as_libc_does(void **state)
{
	(void)state;
	tls_crypto_enter();
	assert_null(OPENSSL_malloc(0));
	assert_null(OPENSSL_malloc(SIZE_MAX));
	assert_null(OPENSSL_malloc(SIZE_MAX - 8));
	OPENSSL_free(NULL);
	tls_mem_shared_free(NULL);
	tls_crypto_leave();
}

static void shared_blocks_are_zeroed(void **state)
{
	static const unsigned char zero[64];
	unsigned char *p = tls_mem_shared_alloc(sizeof(zero)), *again;

	(void)state;
	memset(p, 0xff, sizeof(zero));
	tls_mem_shared_free(p);
	again = tls_mem_shared_alloc(sizeof(zero));
	assert_ptr_equal(again, p);
	assert_memory_equal(again, zero, sizeof(zero));
	tls_mem_shared_free(again);
}

static void a_resized_block_leaves_no_secret_behind(void **state)
{
	char *p = tls_mem_shared_strdup("a secret that must go"), *old = p;

	(void)state;
	p = OPENSSL_realloc(p, 4000);
	assert_non_null(p);
	assert_ptr_not_equal(p, old);
	assert_null(memmem(old, 22, "secret", 6));
	tls_mem_shared_free(p);
}

/* Runs ACT in a child and returns the signal that ended it, 0 for none. */
static int signal_of(void (*act)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		signal(SIGABRT, SIG_DFL);
		act();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void free_twice(void)
{
	void *p = tls_mem_shared_alloc(10);

	tls_mem_shared_free(p);
	tls_mem_shared_free(p);
}

static void free_foreign(void)
{
	tls_mem_shared_free(arena + ARENA_SIZE - 64);
}

static void wrong_frees_are_caught(void **state)
{
	(void)state;
	assert_int_equal(signal_of(free_twice), SIGABRT);
	assert_int_equal(signal_of(free_foreign), SIGABRT);
}

static void processes_count_together(void **state)
{
	struct tls_mem_stats before;
	void *p = tls_mem_shared_alloc(1000);
	int status;
	pid_t pid;

	(void)state;
	tls_mem_get_stats(&before);
	pid = fork();
	if (pid == 0) {
		tls_mem_shared_free(p);
		_exit(tls_mem_shared_alloc(300) != NULL ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(since(&before).blocks, 0);
	assert_int_equal(since(&before).bytes, 320 - 1024);
}

/* Whatever the tests did, the heap is whole; and what it got back, the source gets back. */
static void the_heap_is_whole(void **state)
{
	struct tls_mem_stats now;

	(void)state;
	tls_heap_trim();
	tls_mem_get_stats(&now);
	assert_int_equal(tls_heap_check(), now.blocks);
	assert_true(given > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(outside_a_scope_memory_is_private),
		cmocka_unit_test(inside_a_scope_memory_is_shared),
		cmocka_unit_test(scopes_nest),
		cmocka_unit_test(the_default_library_context_is_the_scopes_own),
		cmocka_unit_test(a_block_stays_in_its_world_when_resized),
		cmocka_unit_test(a_small_change_of_size_moves_nothing),
		cmocka_unit_test(established_connections_have_a_reserve),
		cmocka_unit_test(odd_sizes_are_answered_as_libc_does),
		cmocka_unit_test(shared_blocks_are_zeroed),
		cmocka_unit_test(a_resized_block_leaves_no_secret_behind),
		cmocka_unit_test(wrong_frees_are_caught),
		cmocka_unit_test(processes_count_together),
		cmocka_unit_test(a_resize_without_memory_leaves_the_block), /* this takes the rest of the arena */
		cmocka_unit_test(the_heap_is_whole),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
