/* links: tls_domain.c settings/hostname.c settings/report.c settings/runtime.c settings/section.c settings/table.c settings/text.c settings/values.c test/unit/fake_crypto.c test/unit/fake_host.c -Wl,--as-needed */
/*
 * test_domain.c - which domain serves whom, without files and without a TLS library
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host/compat.h"
#include "tls_mem.h"
#include "settings/section.h"
#include "settings/values.h"
#include "settings/runtime.h"
#include "tls_domain_types.h"
#include "tls_domain.h"
#include "fake_crypto.h"
#include "fake_host.h"

#define DOMAINS_MAX 16

/* ---- shared memory */

static long blocks;

char *tls_mem_shared_strdup(const char *s)
{
	blocks++;
	return strdup(s);
}

void tls_mem_shared_free(void *p)
{
	blocks -= p != NULL;
	free(p);
}

/* ---- a generation as a test wants it */

static struct tls_domain domains[DOMAINS_MAX];
static struct tls_domain *ids[8], *places[8], *buckets[8];
static struct tls_generation g;

static int before_each(void **state)
{
	memset(domains, 0, sizeof(domains));
	memset(ids, 0, sizeof(ids));
	memset(places, 0, sizeof(places));
	memset(buckets, 0, sizeof(buckets));
	g = (struct tls_generation){
		.domains = domains, .ids = ids, .places = places, .buckets = buckets, .bucket_mask = 7};
	fake_crypto_reset();
	fake_host_options()->unknown_server_name = 0;
	return 0;
}

static int after_each(void **state)
{
	for (int i = 0; i < g.count; i++)
		tls_domain_clear(&domains[i]);
	assert_int_equal(blocks, 0);
	assert_int_equal(fake_connections, 0);
	return 0;
}

/* "192.0.2.1:5061", "[2001:db8::1]:0" */
static struct tls_address address(const char *text)
{
	struct tls_address a = {.family = text[0] == '[' ? 6 : 4};
	const char *colon = strrchr(text, ':');
	char ip[64];

	snprintf(ip, sizeof(ip), "%.*s", (int)(colon - text), text);
	if (a.family == 6)
		ip[strlen(ip) - 1] = '\0';
	assert_int_equal(inet_pton(a.family == 6 ? AF_INET6 : AF_INET, ip + (a.family == 6), a.ip), 1);
	a.port = (uint16_t)atoi(colon + 1);
	return a;
}

/* WHERE: "default", "any" or an address. */
static struct tls_domain *add(enum tls_role role, const char *where, const char *name, int mode,
                              const char *id)
{
	struct tls_section s = {.role = role, .kind = TLS_SECTION_ADDRESS};
	struct tls_domain *d = &domains[g.count++];

	tls_settings_init(&s.settings);
	if (strcmp(where, "default") == 0)
		s.kind = TLS_SECTION_DEFAULT;
	else if (strcmp(where, "any") == 0)
		s.kind = TLS_SECTION_ANY;
	else
		s.address = address(where);
	s.settings.server_name = (char *)(uintptr_t)name;
	s.settings.server_name_mode = mode;
	s.settings.server_id = (char *)(uintptr_t)id;
	assert_int_equal(tls_domain_describe(&s, d), 0);
	d->generation = &g;
	tls_domain_index(&g, d);
	return d;
}

static struct tls_domain *server(const char *where, const char *name)
{
	return add(TLS_SERVER, where, name, TLS_NAME_EXACT, NULL);
}

static struct tls_domain *client(const char *where, const char *name, const char *id)
{
	return add(TLS_CLIENT, where, name, TLS_NAME_EXACT, id);
}

static bool was_named;

static struct tls_domain *find(enum tls_role role, const char *at, const char *name)
{
	struct tls_domain_query q = {.role = role,
	                             .address = address(at),
	                             .server_name = name,
	                             .server_name_length = name != NULL ? strlen(name) : 0};

	return tls_domain_find(&g, &q, &was_named);
}

/* ---- by address */

static void no_library_is_needed(void **state)
{
	assert_true(fake_crypto_is_alone());
}

static void what_nothing_fits_is_the_defaults(void **state)
{
	struct tls_domain *s = server("default", NULL), *c = client("default", NULL, NULL);

	assert_ptr_equal(find(TLS_SERVER, "192.0.2.1:5061", NULL), s);
	assert_ptr_equal(find(TLS_CLIENT, "192.0.2.1:5061", NULL), c);
	assert_ptr_equal(find(TLS_SERVER, "192.0.2.1:5061", "unknown.example"), s);
	assert_false(was_named);
}

static void the_nearer_address_wins(void **state)
{
	struct tls_domain *s = server("default", NULL), *any = server("any", NULL),
					  *host = server("192.0.2.1:0", NULL), *port = server("192.0.2.1:5061", NULL),
					  *six = server("[2001:db8::1]:5061", NULL);

	assert_ptr_equal(find(TLS_SERVER, "192.0.2.1:5061", NULL), port);
	assert_ptr_equal(find(TLS_SERVER, "192.0.2.1:5062", NULL), host);
	assert_ptr_equal(find(TLS_SERVER, "192.0.2.2:5061", NULL), any);
	assert_ptr_equal(find(TLS_SERVER, "[2001:db8::1]:5061", NULL), six);
	assert_ptr_not_equal(find(TLS_SERVER, "[2001:db8::2]:5061", NULL), s);
	assert_true(tls_domain_is_at(host, &port->address));
	assert_false(tls_domain_is_at(port, &host->address));
}

/* Older configurations have our own address in a client's section. */
static void a_client_may_be_found_by_its_own_address(void **state)
{
	struct tls_domain *c = client("default", NULL, NULL), *own = client("192.0.2.7:0", NULL, NULL),
					  *peer = client("192.0.2.1:5061", NULL, NULL);
	struct tls_domain_query q = {
		.role = TLS_CLIENT, .address = address("192.0.2.2:5061"), .own = address("192.0.2.7:40000")};

	assert_ptr_equal(tls_domain_find(&g, &q, &was_named), own);
	q.address = address("192.0.2.1:5061");
	assert_ptr_equal(tls_domain_find(&g, &q, &was_named), peer);
	q.address = q.own = address("192.0.2.3:5061");
	assert_ptr_equal(tls_domain_find(&g, &q, &was_named), c);
}

/* ---- by name */

static void a_name_is_found_in_any_case(void **state)
{
	struct tls_domain *s = server("default", NULL), *named = server("192.0.2.1:5061", "SIP.Example");

	assert_ptr_equal(find(TLS_SERVER, "192.0.2.1:5061", "sip.example"), named);
	assert_true(was_named);
	assert_ptr_equal(find(TLS_SERVER, "192.0.2.1:5061", "sIP.EXAMPLE."), named);
	assert_ptr_equal(find(TLS_SERVER, "192.0.2.2:5061", "sip.example"), s);
	assert_false(was_named);
	assert_ptr_equal(find(TLS_SERVER, "192.0.2.1:5061", "a.sip.example"), s);
	assert_ptr_equal(find(TLS_SERVER, "192.0.2.1:5061", NULL), named); /* the only one at that address */
}

static void subdomains_are_taken_where_asked_for(void **state)
{
	struct tls_domain *s = server("default", NULL),
					  *both = add(TLS_SERVER, "any", "example", TLS_NAME_AND_SUBDOMAINS, NULL),
					  *below = add(TLS_SERVER, "any", "net", TLS_NAME_SUBDOMAINS, NULL),
					  *exact = server("any", "a.b.example");

	assert_ptr_equal(find(TLS_SERVER, "192.0.2.1:5061", "example"), both);
	assert_ptr_equal(find(TLS_SERVER, "192.0.2.1:5061", "x.b.example"), both);
	assert_ptr_equal(find(TLS_SERVER, "192.0.2.1:5061", "a.b.example"), exact);
	assert_ptr_equal(find(TLS_SERVER, "192.0.2.1:5061", "x.a.b.example"), both);
	assert_ptr_equal(find(TLS_SERVER, "192.0.2.1:5061", "badexample"), s);
	assert_ptr_equal(find(TLS_SERVER, "192.0.2.1:5061", "net"), s);
	assert_ptr_equal(find(TLS_SERVER, "192.0.2.1:5061", "a.net"), below);
}

/* The default section may have a name: then it serves it by right. */
static void the_default_may_be_named(void **state)
{
	struct tls_domain *s = add(TLS_SERVER, "default", "example", TLS_NAME_AND_SUBDOMAINS, NULL);

	assert_ptr_equal(find(TLS_SERVER, "192.0.2.1:5061", "example"), s);
	assert_true(was_named);
	assert_ptr_equal(find(TLS_SERVER, "192.0.2.1:5061", "a.example"), s);
	assert_true(was_named);
	assert_ptr_equal(find(TLS_SERVER, "192.0.2.1:5061", "xexample"), s);
	assert_false(was_named);
}

static void what_cannot_be_a_name_finds_nothing(void **state)
{
	struct tls_domain *s = server("default", NULL);
	char name[300];

	server("any", "example");
	memset(name, 'a', sizeof(name));
	name[299] = '\0';
	assert_ptr_equal(find(TLS_SERVER, "192.0.2.1:5061", name), s);
	assert_ptr_equal(find(TLS_SERVER, "192.0.2.1:5061", "."), s);
	assert_ptr_equal(find(TLS_SERVER, "192.0.2.1:5061", ""), s);
}

/* ---- by id */

static void an_id_comes_first(void **state)
{
	struct tls_domain *trunk, *peer;
	struct tls_domain_query q = {
		.role = TLS_CLIENT, .address = address("192.0.2.1:5061"), .server_id = "trunk"};

	client("default", NULL, NULL);
	peer = client("192.0.2.1:5061", NULL, NULL);
	trunk = client("192.0.2.9:5061", NULL, "trunk");
	assert_ptr_equal(tls_domain_find(&g, &q, &was_named), trunk);
	q.server_id = "nobody";
	assert_ptr_equal(tls_domain_find(&g, &q, &was_named), peer);
	assert_true(tls_domain_has_id(&g, TLS_CLIENT, "trunk"));
	assert_false(tls_domain_has_id(&g, TLS_SERVER, "trunk"));
	assert_false(tls_domain_has_id(&g, TLS_CLIENT, "Trunk"));
}

/* ---- by ClientHello */

static void a_client_hello_moves_a_connection(void **state)
{
	struct tls_domain *s = server("default", NULL), *named = server("any", "sip.example");
	struct tls_domain_use use = {.domain = s, .address = address("192.0.2.1:5061")};
	struct tls_refusal why;
	struct tls_ssl *ssl = tls_domain_open(&use);

	assert_int_equal(s->connections, 1);
	assert_ptr_equal(tls_domain_choose(&use, NULL, 0, &why), s);
	assert_ptr_equal(tls_domain_choose(&use, "sip.example", 11, &why), named);
	tls_domain_move(&use, named);
	assert_int_equal(s->connections, 0);
	assert_int_equal(named->connections, 1);
	tls_domain_close(&use, ssl);
	assert_int_equal(named->connections, 0);
	assert_null(use.domain);
}

static void a_client_hello_may_be_refused(void **state)
{
	struct tls_domain *s = server("default", NULL);
	struct tls_domain_use use = {.domain = s, .address = address("192.0.2.1:5061")};
	struct tls_refusal why;

	assert_ptr_equal(tls_domain_choose(&use, "nobody.example", 14, &why), s);
	fake_host_options()->unknown_server_name = 1;
	assert_null(tls_domain_choose(&use, "nobody.example", 14, &why));
	assert_int_equal(why.alert, TLS_ALERT_UNRECOGNIZED_NAME);
	assert_non_null(strstr(why.text, "nobody.example"));
	fake_host_options()->unknown_server_name = 0;
	assert_null(tls_domain_choose(&use, "a\nb", 3, &why));
	assert_int_equal(why.alert, TLS_ALERT_ILLEGAL_PARAMETER);
}

static void without_memory_nothing_is_counted(void **state)
{
	struct tls_domain_use use = {.domain = server("default", NULL)};

	fake_no_memory = true;
	assert_null(tls_domain_open(&use));
	assert_int_equal(use.domain->connections, 0);
	tls_domain_close(&use, NULL);
	assert_non_null(use.domain);
}

static void domains_are_walked_in_order(void **state)
{
	struct tls_domain *d = NULL;

	assert_null(tls_domain_next(&g, NULL));
	for (int i = 0; i < 3; i++)
		server(i == 0 ? "default" : i == 1 ? "any" : "192.0.2.1:5061", NULL);
	for (int i = 0; i < 3; i++)
		assert_ptr_equal(d = tls_domain_next(&g, d), &domains[i]);
	assert_null(tls_domain_next(&g, d));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, before_each, after_each)
	static struct tls_settings settings;
	static struct tls_options options;
	const struct CMUnitTest tests[] = {
		TEST(no_library_is_needed),
		TEST(what_nothing_fits_is_the_defaults),
		TEST(the_nearer_address_wins),
		TEST(a_client_may_be_found_by_its_own_address),
		TEST(a_name_is_found_in_any_case),
		TEST(subdomains_are_taken_where_asked_for),
		TEST(the_default_may_be_named),
		TEST(what_cannot_be_a_name_finds_nothing),
		TEST(an_id_comes_first),
		TEST(a_client_hello_moves_a_connection),
		TEST(a_client_hello_may_be_refused),
		TEST(without_memory_nothing_is_counted),
		TEST(domains_are_walked_in_order),
	};

	tls_settings_init(&settings);
	tls_settings_init_options(&options);
	tls_settings_set_option_defaults(&options);
	if (tls_runtime_start(&settings, &options) != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
