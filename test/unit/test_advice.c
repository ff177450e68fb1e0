/* links: settings/advice.c tls_config_files.c material/files.c tls_config.c settings/section.c settings/values.c settings/table.c settings/text.c settings/report.c */
/*
 * test_advice.c - what a configuration says in vain is warned of, and nothing else
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "settings/report.h"
#include "tls_config.h"
#include "tls_config_files.h"
#include "settings/advice.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define STRICT       "[server:192.0.2.1:5062]\nrequire_certificate = yes\n"
#define NAMED        "[server:any]\nserver_name = a.test\n"
#define DEFAULT      "[server:default]\n"

/* What is said of TEXT as the file "f": one line in OUT, "" when nothing. */
static void advise(const char *text, bool unknown_refused, char *out, size_t size)
{
	struct tls_report r;
	struct tls_config *cfg;

	tls_report_init(&r);
	cfg = tls_config_parse("f", text, strlen(text), &r);
	assert_non_null(cfg);
	if (r.first != NULL)
		fail_msg("%s: %s", text, r.first->text);
	tls_advice_add(cfg, unknown_refused, &r);
	assert_int_equal(r.errors, 0);
	snprintf(out, size, "%s", r.first != NULL ? r.first->text : "");
	if (r.first != NULL && r.first->next != NULL)
		fail_msg("%s: a second line: %s", text, r.first->next->text);
	tls_report_clear(&r);
	tls_config_free(cfg);
}

/* ---- names that lead around a port's demand */

static const struct way {
	const char *text;
	const char *place; /* that is warned of, NULL: nothing is */
	const char *asked; /* what the client asks for, and where the section is that then serves it */
} ways[] = {
	{STRICT NAMED DEFAULT,
     "f:1: server:192.0.2.1:5062: ", "asks for a.test needs none: f:3 (server:any (a.test))"},
	{DEFAULT NAMED "[server:[::1]:5062]\nverify_client = on\n",
     "f:4: server:[::1]:5062: ", "asks for a.test needs none: f:2"},
	{"[server:192.0.2.1]\nrequire_certificate = yes\n" NAMED DEFAULT,
     "f:1: server:192.0.2.1: ", "asks for a.test"},
	{STRICT "[server:192.0.2.1]\nserver_name = a.test\n" DEFAULT, "f:1: ", "asks for a.test needs none: f:3"},
	{STRICT NAMED "verify_client = optional_no_ca\n" DEFAULT, "f:1: ", "asks for a.test"},
	{STRICT NAMED "server_name_mode = 1\n" DEFAULT, "f:1: ", "asks for a.test needs none"},
	{STRICT NAMED "server_name_mode = 2\n" DEFAULT, "f:1: ", "asks for a subdomain of a.test needs none"},
	/* with the name at the port: no way around, or not for all that the other takes */
	{STRICT NAMED STRICT "server_name = A.test.\n" DEFAULT, NULL, NULL},
	{STRICT NAMED "server_name_mode = 1\n" STRICT "server_name = a.test\n" DEFAULT,
     "f:1: ", "asks for a subdomain of a.test"},
	{STRICT NAMED "server_name_mode = 1\n" STRICT "server_name = a.test\nserver_name_mode = 1\n" DEFAULT,
     NULL, NULL},
	{STRICT NAMED "server_name_mode = 1\n" STRICT "server_name = a.test\nserver_name_mode = 2\n" DEFAULT,
     "f:1: ", "asks for a.test"},
	{STRICT NAMED STRICT "server_name = test\nserver_name_mode = 2\n" DEFAULT, NULL, NULL},
	{STRICT NAMED STRICT "server_name = est\nserver_name_mode = 2\n" DEFAULT, "f:1: ", "asks for a.test"},
	{STRICT NAMED "[server:192.0.2.1]\nserver_name = a.test\nrequire_certificate = yes\n"
                  "[server:192.0.2.1]\nrequire_certificate = yes\n" DEFAULT,
     NULL, NULL},
	/* the name asks for a certificate as well */
	{STRICT NAMED "verify_client = on\n" DEFAULT, NULL, NULL},
	{STRICT "[server:any]\n" DEFAULT, NULL, NULL},
	{STRICT DEFAULT "server_name = a.test\n", NULL, NULL},
	/* meant: the port itself has a section for those without; or it is not a port that demands */
	{STRICT "[server:192.0.2.1:5062]\nserver_name = a.test\n" DEFAULT, NULL, NULL},
	{STRICT "[server:192.0.2.1:5062]\nserver_name = a.test\n" NAMED DEFAULT, NULL, NULL},
	{"[server:default]\nverify_client = on\n" NAMED, NULL, NULL},
	{"[server:any]\nverify_client = on\n" NAMED DEFAULT, NULL, NULL},
	{NAMED "verify_client = on\n[server:192.0.2.1:5062]\n" DEFAULT, NULL, NULL},
	{"[server:192.0.2.1:5062]\nverify_certificate = yes\n" NAMED DEFAULT, NULL, NULL},
	{STRICT "[server:192.0.2.2]\nserver_name = a.test\n" DEFAULT, NULL, NULL},
	{"[client:192.0.2.1:5062]\nrequire_certificate = yes\n[client:any]\nserver_name = a.test\n" DEFAULT, NULL,
     NULL},
	/* a port that has sections with names only */
	{STRICT "server_name = b.test\n" DEFAULT,
     "f:1: server:192.0.2.1:5062 (b.test): ", "any other name needs none: f:4 (server:default)"},
	{STRICT "server_name = b.test\n", "f:1: ", "any other name needs none: f (server:default)"},
	{STRICT "server_name = b.test\n[server:any]\n" DEFAULT,
     "f:1: ", "any other name needs none: f:4 (server:any)"},
	{STRICT "server_name = b.test\n[server:192.0.2.1]\n" DEFAULT, "f:1: ", "f:4 (server:192.0.2.1)"},
	{STRICT "server_name = b.test\n" NAMED DEFAULT, "f:1: ", "asks for a.test needs none: f:4"},
	{STRICT "server_name = b.test\n" STRICT DEFAULT, NULL, NULL},
	{STRICT "server_name = b.test\n" DEFAULT "verify_client = on\n", NULL, NULL},
	{STRICT "server_name = b.test\n[server:192.0.2.1:5062]\nserver_name = c.test\n" DEFAULT, NULL, NULL},
};

static void test_ways_around(void **state)
{
	char said[1024];

	(void)state;
	for (size_t i = 0; i < COUNT(ways); i++) {
		advise(ways[i].text, false, said, sizeof(said));
		if (ways[i].place == NULL && said[0] != '\0')
			fail_msg("%s: nothing should be said: %s", ways[i].text, said);
		if (ways[i].place != NULL &&
		    (strstr(said, ways[i].place) != said || strstr(said, ways[i].asked) == NULL))
			fail_msg("%s: \"%s\" instead of \"%s ... %s\"", ways[i].text, said, ways[i].place, ways[i].asked);
	}
}

/* With unknown_server_name 1 nobody gets in by a name that no section has. */
static void test_unknown_names_refused(void **state)
{
	char said[1024];

	(void)state;
	advise(STRICT "server_name = b.test\n" DEFAULT, true, said, sizeof(said));
	assert_string_equal(said, "");
	advise(STRICT "server_name = b.test\n" NAMED DEFAULT, true, said, sizeof(said));
	assert_non_null(strstr(said, "asks for a.test"));
}

/* Each port is told of once, whatever number of names leads around it. */
static void test_many_ports(void **state)
{
	char text[4096] = DEFAULT NAMED "[server:any]\nserver_name = b.test\n";
	struct tls_report r;
	struct tls_config *cfg;

	(void)state;
	for (int port = 1; port <= 20; port++)
		sprintf(text + strlen(text), "[server:192.0.2.1:%d]\nverify_client = on\n", 7 * port % 100);
	tls_report_init(&r);
	cfg = tls_config_parse("f", text, strlen(text), &r);
	tls_advice_add(cfg, false, &r);
	assert_int_equal(r.warnings, 20);
	tls_report_clear(&r);
	tls_config_free(cfg);
}

/* ---- addresses */

static void test_addresses(void **state)
{
	static const char *const hollow[] = {"[server:0.0.0.0:5061]", "[server:[::]:5061]", "[server:0.0.0.0]",
	                                     "[client:0.0.0.0:5061]", "[client:[::]]"};
	static const char *const good[] = {"[server:0.0.0.1:5061]", "[server:[::1]]", "[client:any]",
	                                   "[server:any]"};
	char said[1024];

	(void)state;
	for (size_t i = 0; i < COUNT(hollow); i++) {
		advise(hollow[i], false, said, sizeof(said));
		if (strstr(said, "f:1: ") != said || strstr(said, "no connection has this address") == NULL)
			fail_msg("%s: \"%s\"", hollow[i], said);
	}
	for (size_t i = 0; i < COUNT(good); i++) {
		advise(good[i], false, said, sizeof(said));
		assert_string_equal(said, "");
	}
}

/* ---- passwords */

/* What is said of TEXT in a file that MODE is for. */
static void advise_file(const char *text, mode_t mode, char *out, size_t size)
{
	char name[] = "/tmp/test_advice.XXXXXX";
	int fd = mkstemp(name);
	struct tls_report r;
	struct tls_config *cfg;

	assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && fchmod(fd, mode) == 0);
	close(fd);
	tls_report_init(&r);
	cfg = tls_config_files_read(name, &r);
	assert_non_null(cfg);
	tls_advice_add(cfg, false, &r);
	assert_true(r.errors == 0 && r.warnings <= 1);
	snprintf(out, size, "%s", r.first != NULL ? r.first->text + strlen(name) : "");
	tls_report_clear(&r);
	tls_config_free(cfg);
	unlink(name);
}

static void test_passwords(void **state)
{
	static const char secret[] =
		"[server:default]\nprivate_key_password = hunter\n[server:any]\nprivate_key_password2 = x\n";
	char said[1024];

	(void)state;
	advise_file(secret, 0644, said, sizeof(said));
	assert_true(
		strstr(said, ":2: every user of this machine may read this file, which contains a password") == said);
	assert_null(strstr(said, "hunter"));
	advise_file(secret, 0602, said, sizeof(said));
	assert_non_null(strstr(said, "may write this file"));
	advise_file(secret, 0640, said, sizeof(said));
	assert_string_equal(said, "");
	advise_file("[server:default]\n", 0644, said, sizeof(said));
	assert_string_equal(said, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ways_around), cmocka_unit_test(test_unknown_names_refused),
		cmocka_unit_test(test_many_ports),  cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_passwords),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
