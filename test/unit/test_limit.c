/* links: connection/limit.c tls_shared.c test/unit/fake_host.c */
/*
 * test_limit.c - handshakes counted by address
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tls.h"
#include "tls_mem.h"
#include "crypto/crypto.h"
#include "connection/limit.h"

#define MANY 20000

/* The shared memory is the heap here. */
static bool memory_is_short;
static long blocks;

void *tls_mem_shared_alloc(size_t size)
{
	void *p = memory_is_short ? NULL : calloc(1, size);

	blocks += p != NULL;
	return p;
}

void tls_mem_shared_free(void *p)
{
	blocks -= p != NULL;
	free(p);
}

int tls_crypto_random(void *out, size_t size)
{
	memset(out, 42, size);
	return 0;
}

static struct tls_address address(const char *text)
{
	struct tls_address a = {.family = strchr(text, ':') != NULL ? 6 : 4, .port = 5061};

	assert_int_equal(inet_pton(a.family == 6 ? AF_INET6 : AF_INET, text, a.ip), 1);
	return a;
}

static bool enter(const char *from, int limit, struct tls_limit **out)
{
	struct tls_address a = address(from);

	return tls_limit_enter(&a, limit, out);
}

static void test_limit(void **state)
{
	struct tls_limit *in[4];

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_true(enter("192.0.2.1", 3, &in[i]));
		assert_non_null(in[i]);
	}
	assert_false(enter("192.0.2.1", 3, &in[3]));
	assert_null(in[3]);
	assert_true(enter("192.0.2.2", 3, &in[3]));
	tls_limit_leave(in[3]);
	tls_limit_leave(in[1]);
	assert_true(enter("192.0.2.1", 3, &in[1]));
	assert_false(enter("192.0.2.1", 3, &in[3]));
	for (int i = 0; i < 3; i++)
		tls_limit_leave(in[i]);
}

static void test_no_limit(void **state)
{
	struct tls_limit *in;

	(void)state;
	for (int i = 0; i < 10; i++) {
		assert_true(enter("192.0.2.1", 0, &in));
		assert_null(in);
	}
	tls_limit_leave(NULL);
}

/*
 * What was not counted, because the limit came later, is not taken back; a lower limit lets nobody else in.
 */
static void test_limit_changes(void **state)
{
	struct tls_limit *in[5], *none;

	(void)state;
	for (int i = 0; i < 5; i++)
		assert_true(enter("192.0.2.1", 5, &in[i]));
	assert_false(enter("192.0.2.1", 2, &none));
	assert_true(enter("192.0.2.1", 0, &none));
	for (int i = 0; i < 3; i++)
		tls_limit_leave(in[i]);
	assert_false(enter("192.0.2.1", 2, &none));
	tls_limit_leave(in[3]);
	assert_true(enter("192.0.2.1", 2, &in[3]));
	tls_limit_leave(in[3]);
	tls_limit_leave(in[4]);
}

static void test_ipv6_counts_by_its_network(void **state)
{
	struct tls_limit *in, *other;

	(void)state;
	assert_true(enter("2001:db8:1:2::1", 1, &in));
	assert_false(enter("2001:db8:1:2:ffff:ffff:ffff:ffff", 1, &other));
	assert_true(enter("2001:db8:1:3::1", 1, &other));
	tls_limit_leave(other);
	tls_limit_leave(in);
}

/* 192.0.2.1 is not c000:201::/64. */
static void test_families_are_apart(void **state)
{
	struct tls_limit *in, *other;

	(void)state;
	assert_true(enter("192.0.2.1", 1, &in));
	assert_true(enter("c000:201::", 1, &other));
	tls_limit_leave(in);
	tls_limit_leave(other);
}

/* Many to a bucket: each is found, and nothing is left when all have gone, whatever the order. */
static void test_many_addresses(void **state)
{
	static struct tls_limit *in[MANY];
	struct tls_address a = {.family = 4};
	struct tls_limit *none;
	long before = blocks;

	(void)state;
	for (uint32_t i = 0; i < MANY; i++) {
		memcpy(a.ip, &i, sizeof(i));
		assert_true(tls_limit_enter(&a, 1, &in[i]));
		assert_false(tls_limit_enter(&a, 1, &none));
	}
	assert_int_equal(blocks, before + MANY);
	for (uint32_t i = 0; i < MANY; i++) {
		uint32_t j = (i * 7919) % MANY;

		memcpy(a.ip, &j, sizeof(j));
		assert_false(tls_limit_enter(&a, 1, &none));
		tls_limit_leave(in[j]);
	}
	assert_int_equal(blocks, before);
}

static void test_memory_is_short(void **state)
{
	struct tls_limit *in;

	(void)state;
	memory_is_short = true;
	assert_true(enter("192.0.2.1", 1, &in));
	assert_null(in);
	memory_is_short = false;
}

static int start(void **state)
{
	(void)state;
	return tls_limit_start();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_no_limit),
		cmocka_unit_test(test_limit_changes),
		cmocka_unit_test(test_ipv6_counts_by_its_network),
		cmocka_unit_test(test_families_are_apart),
		cmocka_unit_test(test_many_addresses),
		cmocka_unit_test(test_memory_is_short),
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
