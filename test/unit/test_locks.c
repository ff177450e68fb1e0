/* links: tls_init.c host/child.c crypto/openssl/library.c crypto/openssl/memory.c crypto/openssl/pair.c crypto/openssl/random.c tls_mem.c test/unit/fake_host.c test/unit/fake_memory.c test/unit/fake_heap.c -Wl,--wrap=nanosleep */
/*
 * test_locks.c - what the start says where locks of OpenSSL's do not work between processes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "heap/heap.h"
#include "tls_mem.h"
#include "crypto/crypto.h"
#include "tls_init.h"
#include "fake_host.h"
#include "fake_memory.h"

#define PROOF "a lock of OpenSSL's does not wake another process: "

int ksr_tcp_main_threads; /* as a newer host has it */

/* As in the host, which shares locks among processes; a newer one does so only without threads of its own. */
__attribute__((visibility("default"))) int pthread_rwlock_init(pthread_rwlock_t *lock,
                                                               const pthread_rwlockattr_t *attributes)
{
	static int (*real)(pthread_rwlock_t *, const pthread_rwlockattr_t *);
	pthread_rwlockattr_t how;

	(void)attributes;
	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "pthread_rwlock_init");
	pthread_rwlockattr_init(&how);
	if (ksr_tcp_main_threads == 0)
		pthread_rwlockattr_setpshared(&how, PTHREAD_PROCESS_SHARED);
	real(lock, &how);
	pthread_rwlockattr_destroy(&how);
	return 0;
}

int __real_nanosleep(const struct timespec *time, struct timespec *left);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left);

/* The proof waits for 5 s, by steps of 2 ms. */
int __wrap_nanosleep(const struct timespec *time, struct timespec *left)
{
	const struct timespec short_time = {.tv_nsec = time->tv_nsec / 20};

	return __real_nanosleep(&short_time, left);
}

static void test_good_locks_need_no_word(void **state)
{
	(void)state;
	ksr_tcp_main_threads = 0;
	fake_host_clear();
	assert_int_equal(tls_init_start(false), 0);
	assert_string_equal(fake_host_log(), "");
}

/* The setting that took the locks away, its value, and the one that is wanted. */
static void test_threads_of_the_host_take_them_away(void **state)
{
	(void)state;
	for (ksr_tcp_main_threads = 1; ksr_tcp_main_threads <= 2; ksr_tcp_main_threads++) {
		fake_host_clear();
		assert_int_equal(tls_init_start(false), -1);
		assert_non_null(strstr(fake_host_log(), PROOF "tcp_main_threads is "));
		assert_non_null(
			strstr(fake_host_log(), ksr_tcp_main_threads == 1 ? "threads is 1," : "threads is 2,"));
		assert_non_null(strstr(fake_host_log(), ": set tcp_main_threads=0; "));
	}
}

/* Before the forks: a child would inherit what the thread that forks has in shared memory. */
static void test_random_numbers_leave_the_thread_nothing(void **state)
{
	static const unsigned char nothing[32];
	unsigned char bytes[sizeof(nothing)] = {0};
	struct tls_mem_stats before, after;

	(void)state;
	tls_mem_get_stats(&before);
	assert_int_equal(tls_crypto_random(bytes, sizeof(bytes)), 0);
	tls_mem_get_stats(&after);
	assert_memory_not_equal(bytes, nothing, sizeof(bytes));
	assert_int_equal(after.blocks, before.blocks);
}

static int start(void **state)
{
	(void)state;
	return tls_init_load() == 0 ? fake_memory_start((size_t)16 << 20) : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads_of_the_host_take_them_away),
		cmocka_unit_test(test_good_locks_need_no_word),
		cmocka_unit_test(test_random_numbers_leave_the_thread_nothing),
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
