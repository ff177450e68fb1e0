/* links: BENCH */
/*
 * test_child.c - the host does not hear of the children that the start makes, and their status is known all the same
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/child.h"
#include "material/access.h"
#include "bench.h"

extern int uid; /* the host's: as whom it will run */

enum { NOBODY = 65534 }; /* Debian's */

static volatile sig_atomic_t heard;

static void hear(int number)
{
	(void)number;
	heard++;
}

static int give(void *arg)
{
	return *(const int *)arg;
}

static int crash(void *unused)
{
	(void)unused;
	signal(SIGABRT, SIG_DFL);
	return kill(getpid(), SIGKILL);
}

static int only_nobody(void *user)
{
	return geteuid() == *(const uid_t *)user ? 0 : -1;
}

/* What the host may have of SIGCHLD: its handler; nothing; what a supervisor has left. */
static const struct sigaction hosts[] = {
	{.sa_handler = hear},
	{.sa_handler = SIG_DFL},
	{.sa_handler = SIG_IGN},
	{.sa_handler = hear, .sa_flags = SA_NOCLDWAIT},
};

#define HOSTS (sizeof(hosts) / sizeof(hosts[0]))

static void begin(const struct sigaction *host)
{
	assert_int_equal(sigaction(SIGCHLD, host, NULL), 0);
	heard = 0;
}

static void check_unheard(const struct sigaction *host)
{
	struct sigaction now;

	assert_int_equal(sigaction(SIGCHLD, NULL, &now), 0);
	assert_true(now.sa_handler == host->sa_handler);
	assert_int_equal(now.sa_flags & SA_NOCLDWAIT, host->sa_flags & SA_NOCLDWAIT);
	assert_int_equal(heard, 0);
}

static void test_status_is_known_and_nobody_hears(void **state)
{
	int good = 0, seven = 7, minus = -1;

	(void)state;
	for (size_t i = 0; i < HOSTS; i++) {
		begin(&hosts[i]);
		assert_int_equal(tls_child_run(give, &good), 0);
		assert_int_equal(tls_child_run(give, &seven), 7);
		assert_int_equal(tls_child_run(give, &minus), 255);
		assert_int_equal(tls_child_run(crash, NULL), -1);
		check_unheard(&hosts[i]);
	}
}

/* With -u: as that user, and as unheard. */
static void test_work_of_the_servers_user(void **state)
{
	uid_t user = NOBODY, other = NOBODY + 1;

	(void)state;
	if (geteuid() != 0)
		skip();
	uid = NOBODY;
	for (size_t i = 0; i < HOSTS; i++) {
		begin(&hosts[i]);
		assert_int_equal(tls_access_as_user(only_nobody, &user), 0);
		assert_int_equal(tls_access_as_user(only_nobody, &other), -1);
		check_unheard(&hosts[i]);
	}
	uid = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_status_is_known_and_nobody_hears),
		cmocka_unit_test(test_work_of_the_servers_user),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
