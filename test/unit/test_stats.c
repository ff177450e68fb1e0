/* links: connection/stats.c test/unit/fake_host.c -Wl,--as-needed */
/*
 * test_stats.c - what is counted
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tls.h"
#include "connection/stats.h"
#include "fake_host.h"

static long read_gauge(void)
{
	return 77;
}

static const struct tls_gauge gauges[] = {{"a_gauge", "of the test", read_gauge}, {NULL, NULL, NULL}};

/* What there is before the host takes the counters is not counted, and harms nobody. */
static void counts_from_the_start_on(void **state)
{
	(void)state;
	tls_stats_add(TLS_STAT_ACCEPTED, 5);
	assert_int_equal(fake_host_counter("handshakes_accepted"), -1);
	assert_int_equal(tls_stats_start(gauges), 0);
	assert_int_equal(fake_host_counter("handshakes_accepted"), 0);
	tls_stats_add(TLS_STAT_ACCEPTED, 5);
	assert_int_equal(fake_host_counter("handshakes_accepted"), 5);
	fake_host_change_process();
	tls_stats_add(TLS_STAT_ACCEPTED, 2);
	assert_int_equal(fake_host_counter("handshakes_accepted"), 7);
	tls_stats_add(TLS_STAT_ACCEPTED, -7);
}

static long versions(void)
{
	return fake_host_counter("handshakes_tls_1_0") + fake_host_counter("handshakes_tls_1_1") +
	       fake_host_counter("handshakes_tls_1_2") + fake_host_counter("handshakes_tls_1_3");
}

static void a_handshake_counts_by_role_and_version(void **state)
{
	static const char *const names[] = {"handshakes_tls_1_0", "handshakes_tls_1_1", "handshakes_tls_1_2",
	                                    "handshakes_tls_1_3"};

	(void)state;
	for (int minor = 0; minor < 4; minor++) {
		assert_int_equal(fake_host_counter(names[minor]), 0);
		tls_stats_established(TLS_SERVER, minor, false);
		assert_int_equal(fake_host_counter(names[minor]), 1);
		assert_int_equal(versions(), minor + 1);
	}
	assert_int_equal(fake_host_counter("handshakes_accepted"), 4);
	assert_int_equal(fake_host_counter("handshakes_connected"), 0);
	assert_int_equal(fake_host_counter("handshakes_resumed"), 0);
	tls_stats_established(TLS_CLIENT, 3, true);
	assert_int_equal(fake_host_counter("handshakes_connected"), 1);
	assert_int_equal(fake_host_counter("handshakes_resumed"), 1);
	assert_int_equal(versions(), 5);
	assert_int_equal(fake_host_counter("failed_timeout"), 0); /* which stands behind the versions */
}

static void an_unknown_version_is_no_version(void **state)
{
	long before = versions();

	(void)state;
	tls_stats_established(TLS_SERVER, -1, false);
	tls_stats_established(TLS_SERVER, 4, false);
	assert_int_equal(versions(), before);
	assert_int_equal(fake_host_counter("handshakes_accepted"), 6);
	assert_int_equal(fake_host_counter("handshakes_resumed"), 1);
	assert_int_equal(fake_host_counter("failed_timeout"), 0);
}

static void failures_have_a_sum(void **state)
{
	(void)state;
	assert_int_equal(fake_host_counter("handshakes_failed"), 0);
	for (int i = TLS_STAT_FAILED_FIRST; i <= TLS_STAT_FAILED_LAST; i++)
		tls_stats_add((enum tls_stat)i, 1);
	tls_stats_add(TLS_STAT_BROKEN, 100);
	tls_stats_add(TLS_STAT_REFUSED, 100);
	assert_int_equal(fake_host_counter("handshakes_failed"),
	                 TLS_STAT_FAILED_LAST - TLS_STAT_FAILED_FIRST + 1);
	assert_int_equal(fake_host_counter("failed_internal"), 1);
}

static void a_gauge_is_looked_up(void **state)
{
	(void)state;
	assert_int_equal(fake_host_counter("a_gauge"), 77);
	assert_int_equal(fake_host_counter("no_gauge"), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_from_the_start_on),
		cmocka_unit_test(a_handshake_counts_by_role_and_version),
		cmocka_unit_test(an_unknown_version_is_no_version),
		cmocka_unit_test(failures_have_a_sum),
		cmocka_unit_test(a_gauge_is_looked_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
