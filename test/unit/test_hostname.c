/* links: settings/hostname.c */
/*
 * test_hostname.c - hosts as scripts and settings write them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "settings/hostname.h"

static void hosts(void **state)
{
	static const struct {
		const char *written, *text; /* NULL: it is none */
		bool is_address, has_port;
	} known[] = {
		{"a.test", "a.test", false, false},
		{"A.Test.", "A.Test", false, false},
		{"a.test:5061", "a.test", false, true},
		{"a.test.:5061", "a.test", false, true},
		{"a.test:", "a.test", false, true},
		{"_sip._tls.a.test", "_sip._tls.a.test", false, false},
		{"*.a.test", "*.a.test", false, false},
		{"localhost", "localhost", false, false},
		{"1.2.3.4.5", "1.2.3.4.5", false, false},
		{"192.0.2.7", "192.0.2.7", true, false},
		{"192.0.2.7.", "192.0.2.7", true, false},
		{"192.0.2.7:5061", "192.0.2.7", true, true},
		{"2001:DB8:0::7", "2001:db8::7", true, false},
		{"[2001:db8::7]", "2001:db8::7", true, false},
		{"[2001:db8::7]:5061", "2001:db8::7", true, true},
		{"[::ffff:192.0.2.7]", "::ffff:192.0.2.7", true, false},
		{"::", "::", true, false},
		{"", NULL, false, false},
		{".", NULL, false, false},
		{".a.test", NULL, false, false},
		{":", NULL, false, false},
		{":5061", NULL, false, false},
		{"a.test:sip", NULL, false, false},
		{"a.test:1:2", NULL, false, false},
		{"[2001:db8::7", NULL, false, false},
		{"[2001:db8::7]5061", NULL, false, false},
		{"[2001:db8::7]:x", NULL, false, false},
		{"[192.0.2.7]", NULL, false, false},
		{"[a.test]", NULL, false, false},
		{"[]", NULL, false, false},
		{"fe80::1%lo", NULL, false, false},
		{"a test", NULL, false, false},
		{"a.test\n", NULL, false, false},
		{"sip:a.test", NULL, false, false},
		{"joe@a.test", NULL, false, false},
		{"a.test/x", NULL, false, false},
		{"b\xc3\xbc.test", NULL, false, false},
	};
	struct tls_hostname host;

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		bool good = tls_hostname_read(known[i].written, strlen(known[i].written), &host);

		if (good != (known[i].text != NULL))
			fail_msg("\"%s\"", known[i].written);
		if (!good)
			continue;
		assert_string_equal(host.text, known[i].text);
		assert_int_equal(host.is_address, known[i].is_address);
		assert_int_equal(host.has_port, known[i].has_port);
	}
}

static void a_zero_byte_is_in_no_host(void **state)
{
	struct tls_hostname host;

	assert_false(tls_hostname_read("a.test\0", 7, &host));
	assert_false(tls_hostname_read("\0a.test", 7, &host));
	assert_false(tls_hostname_read("192.0.2.7\0", 10, &host));
	assert_true(tls_hostname_read("a.test and more", 6, &host));
	assert_string_equal(host.text, "a.test");
}

static void a_host_is_as_long_as_a_name_can_be(void **state)
{
	char name[400];
	struct tls_hostname host;

	memset(name, 'a', sizeof(name));
	for (size_t length = 1; length < sizeof(name); length++) {
		assert_int_equal(tls_hostname_read(name, length, &host), length <= 255);
		assert_true(length > 255 || strlen(host.text) == length);
	}
	memcpy(name + 255, ".:65535", 7);
	assert_true(tls_hostname_read(name, 262, &host));
	assert_int_equal(strlen(host.text), 255);
	assert_true(host.has_port);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hosts),
		cmocka_unit_test(a_zero_byte_is_in_no_host),
		cmocka_unit_test(a_host_is_as_long_as_a_name_can_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
