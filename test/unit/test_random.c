/* links: crypto/openssl/random.c test/unit/fake_host.c -Wl,--wrap=getrandom */
/*
 * test_random.c - random numbers of a library context, from a kernel that gives them in pieces, or not at all
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#include <cmocka.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/rand.h>

#include "crypto/openssl/compat.h"
#include "crypto/openssl/random.h"
#include "fake_host.h"

#define MANY 200000

static size_t piece;           /* what the kernel gives at once; 0: nothing, it is forbidden */
static unsigned interruptions; /* how many signals come first */
static size_t given;

ssize_t __wrap_getrandom(void *out, size_t size, unsigned flags);

/* The bytes are numbered. */
ssize_t __wrap_getrandom(void *out, size_t size, unsigned flags)
{
	size_t n = size < piece ? size : piece;

	(void)flags;
	if (interruptions > 0 || n == 0) {
		errno = interruptions > 0 ? EINTR : EPERM;
		interruptions -= interruptions > 0;
		return -1;
	}
	for (size_t i = 0; i < n; i++)
		((unsigned char *)out)[i] = (unsigned char)given++;
	return (ssize_t)n;
}

/* Stays, as the module's does. */
static OSSL_LIB_CTX *new_library(void)
{
	static OSSL_LIB_CTX *all[16];
	static size_t count;

	assert_true(count < sizeof(all) / sizeof(all[0]));
	all[count] = OSSL_LIB_CTX_new();
	assert_non_null(all[count]);
	return all[count++];
}

static OSSL_LIB_CTX *library(void)
{
	OSSL_LIB_CTX *libctx = new_library();

	assert_non_null(OSSL_PROVIDER_load(libctx, "default"));
	assert_int_equal(tls_random_start(libctx), 0);
	given = 0;
	return libctx;
}

static void assert_numbered(const unsigned char *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		assert_int_equal(bytes[i], (unsigned char)i);
}

static void test_kernel_is_asked(void **state)
{
	OSSL_LIB_CTX *libctx = library();
	unsigned char bytes[64];

	(void)state;
	assert_int_equal(RAND_bytes_ex(libctx, bytes, 32, 0), 1);
	assert_int_equal(RAND_priv_bytes_ex(libctx, bytes + 32, 32, 256), 1);
	assert_int_equal(given, 64);
	assert_numbered(bytes, sizeof(bytes));
}

static void test_pieces(void **state)
{
	static unsigned char bytes[MANY];
	OSSL_LIB_CTX *libctx = library();

	(void)state;
	piece = 1000;
	interruptions = 3;
	assert_int_equal(RAND_bytes_ex(libctx, bytes, sizeof(bytes), 0), 1);
	assert_numbered(bytes, sizeof(bytes));
}

static void test_keys_are_made_of_it(void **state)
{
	OSSL_LIB_CTX *libctx = library();
	EVP_PKEY *key = EVP_PKEY_Q_keygen(libctx, NULL, "EC", "P-256");

	(void)state;
	assert_non_null(key);
	assert_true(given >= 32);
	EVP_PKEY_free(key);
}

static void test_kernel_refuses(void **state)
{
	OSSL_LIB_CTX *libctx = library();
	unsigned char bytes[32];

	(void)state;
	assert_int_equal(RAND_bytes_ex(libctx, bytes, sizeof(bytes), 0), 1);
	piece = 0;
	assert_int_not_equal(RAND_bytes_ex(libctx, bytes, sizeof(bytes), 0), 1);
	assert_int_not_equal(RAND_priv_bytes_ex(libctx, bytes, sizeof(bytes), 0), 1);
	assert_non_null(strstr(fake_host_log(), "the kernel gives no random numbers: Operation not permitted"));
}

static void test_more_strength_than_there_is(void **state)
{
	OSSL_LIB_CTX *libctx = library();
	unsigned char byte;

	(void)state;
	assert_int_not_equal(RAND_bytes_ex(libctx, &byte, 1, 512), 1);
	assert_int_equal(given, 0);
}

/* Then OpenSSL's own generators do it. */
static void test_kernel_refuses_at_the_start(void **state)
{
	unsigned char bytes[32] = {0};
	OSSL_LIB_CTX *libctx;

	(void)state;
	piece = 0;
	libctx = library();
	assert_int_equal(RAND_bytes_ex(libctx, bytes, sizeof(bytes), 0), 1);
	assert_int_equal(given, 0);
}

/* Once a number was drawn there is no other source any more. */
static void test_too_late(void **state)
{
	OSSL_LIB_CTX *libctx = new_library();
	unsigned char byte;

	(void)state;
	assert_int_equal(RAND_bytes_ex(libctx, &byte, 1, 0), 1);
	assert_int_equal(tls_random_start(libctx), -1);
}

static int kernel_gives(void **state)
{
	(void)state;
	piece = SIZE_MAX;
	interruptions = 0;
	fake_host_clear();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_kernel_is_asked, kernel_gives),
		cmocka_unit_test_setup(test_pieces, kernel_gives),
		cmocka_unit_test_setup(test_keys_are_made_of_it, kernel_gives),
		cmocka_unit_test_setup(test_kernel_refuses, kernel_gives),
		cmocka_unit_test_setup(test_more_strength_than_there_is, kernel_gives),
		cmocka_unit_test_setup(test_kernel_refuses_at_the_start, kernel_gives),
		cmocka_unit_test_setup(test_too_late, kernel_gives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
