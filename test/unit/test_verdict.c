/* links: BENCH -Wl,--wrap=clock_gettime */
/*
 * test_verdict.c - whether a connection that its peer has opened may carry what is for a client section
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "tls.h"
#include "settings/report.h"
#include "settings/table.h"
#include "tls_domain_types.h"
#include "crypto/openssl/compat.h"
#include "crypto/openssl/types.h"
#include "tls_reload.h"
#include "connection/connection.h"
#include "connection/list.h"
#include "connection/verdict.h"
#include "bench.h"
#include "ends.h"
#include "fake_host.h"
#include "fake_memory.h"

#define DAY 86400

enum { MAY_SHOW = 5071 }; /* a server section that verifies who shows a certificate */

static const char domains[] = BENCH_SERVERS "server_name = strict.example.org\n"
											"certificate = @/rsa.pem\n"
											"private_key = @/rsa.key\n"
											"[server:127.0.0.1:5071]\n"
											"certificate = @/server.pem\n"
											"private_key = @/server.key\n"
											"verify_client = optional_no_ca\n" BENCH_CLIENTS
											"[client:192.0.2.1:5061]\n"
											"server_id = trunk\n"
											"server_name = example.org\n"
											"ca_list = @/ca.pem\n"
											"verify_certificate = yes\n"
											"verify_name = yes\n"
											"[client:192.0.2.2:5061]\n"
											"server_id = careless\n"
											"[client:192.0.2.3:0]\n"
											"server_id = port\n"
											"ca_list = @/ca.pem\n"
											"verify_certificate = yes\n"
											"verify_depth = 0\n"
											"[client:192.0.2.4:0]\n"
											"server_id = other\n"
											"ca_list = @/stranger.pem\n"
											"verify_certificate = yes\n";

static struct ends e;
static struct tls_options usual; /* as every test finds them */
static long blocks_before;

/* ---- the clock, as the module's own calls see it */

static int64_t passed;

int __real_clock_gettime(clockid_t clock, struct timespec *out);
int __wrap_clock_gettime(clockid_t clock, struct timespec *out);

int __wrap_clock_gettime(clockid_t clock, struct timespec *out)
{
	int result = __real_clock_gettime(clock, out);

	out->tv_sec += passed;
	return result;
}

/* ---- around each test */

static int before_each(void **state)
{
	*fake_host_options() = usual;
	passed = 0;
	ends_port = MAY_SHOW;
	fake_host_clear();
	blocks_before = bench_blocks();
	return 0;
}

/* Nothing may be left. */
static int after_each(void **state)
{
	ends_close(&e);
	assert_int_equal(tls_list_count(), 0);
	assert_int_equal(bench_blocks(), blocks_before);
	return 0;
}

/* A client that shows this certificate (NULL: none) has connected. */
static struct tls_connection *connected(const char *certificate, int version)
{
	SSL_CTX *ctx = bench_context(certificate);

	SSL_CTX_set_min_proto_version(ctx, version);
	SSL_CTX_set_max_proto_version(ctx, version);
	assert_true(ends_open(&e, NULL, ctx));
	SSL_CTX_free(ctx);
	if (!ends_shake(&e, NULL))
		fail_msg("%s", fake_host_log());
	return ends_tls(&e.server);
}

/* ---- demands */

/* What the script has chosen (NULL: nothing), and the address, 192.0.2.LAST:PORT. */
static struct tls_demand demand_of(const char *id, const char *name, unsigned last, unsigned port)
{
	struct tls_domain_query q = {
		.role = TLS_CLIENT,
		.address = {.family = 4, .ip = {192, 0, 2, (uint8_t)last}, .port = (uint16_t)port},
		.server_id = id,
		.server_name = name,
		.server_name_length = name != NULL ? strlen(name) : 0};
	struct tls_demand d;

	tls_verdict_begin_demand(&d, &q);
	return d;
}

/* Finds it out, and what is known then. */
static bool is_good(struct tls_connection *t, const char *id, const char *name, unsigned last, unsigned port)
{
	struct tls_demand d = demand_of(id, name, last, port);
	bool good = tls_verdict_reach(t, &d);

	tls_verdict_end_demand(&d);
	if (d.kind == TLS_DEMAND_PEER && t->phase == TLS_PHASE_ESTABLISHED)
		assert_int_equal(tls_verdict_look(t, &d), good ? TLS_VERDICT_GOOD : TLS_VERDICT_BAD);
	assert_int_equal(tls_verdict_holds(t, &d), good);
	return good;
}

static enum tls_demand_kind kind_of(const char *id, const char *name, unsigned last, unsigned port)
{
	struct tls_demand d = demand_of(id, name, last, port);

	tls_verdict_end_demand(&d);
	return d.kind;
}

static void what_is_chosen_and_verifies_demands_something(void **state)
{
	assert_int_equal(kind_of("trunk", NULL, 9, 5061), TLS_DEMAND_PEER);
	assert_int_equal(kind_of(NULL, "example.org", 9, 5061), TLS_DEMAND_PEER);
	assert_int_equal(kind_of(NULL, NULL, 1, 5061), TLS_DEMAND_PEER);
	assert_int_equal(kind_of(NULL, NULL, 3, 7777), TLS_DEMAND_PEER);
	assert_int_equal(kind_of("nobody", NULL, 9, 5061), TLS_DEMAND_PEER); /* [client:default] verifies */
	assert_int_equal(kind_of(NULL, NULL, 9, 5061), TLS_DEMAND_NOTHING);
	assert_int_equal(kind_of(NULL, NULL, 1, 5062), TLS_DEMAND_NOTHING);
	assert_int_equal(kind_of("careless", NULL, 9, 5061), TLS_DEMAND_NOTHING);
	assert_int_equal(kind_of(NULL, NULL, 2, 5061), TLS_DEMAND_NOTHING);
}

/* ---- verdicts */

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

static void a_peer_is_verified_by_the_section(void **state)
{
	for (int v = 0; v < 2; v++) {
		struct tls_connection *t = connected("client", versions[v]);

		for (int i = 0; i < 2; i++) { /* the second time one takes the place of the other */
			assert_true(is_good(t, "trunk", NULL, 9, 5061));
			assert_true(is_good(t, "trunk", "EXAMPLE.org", 9, 5061));
			assert_false(is_good(t, "trunk", "other.example.org", 9, 5061));
			assert_true(is_good(t, "port", NULL, 9, 5061));
			assert_false(is_good(t, "other", NULL, 9, 5061));
			assert_true(is_good(t, NULL, NULL, 9, 5061));
		}
		ends_close(&e);
	}
}

static void a_peer_without_a_good_certificate_is_nobody(void **state)
{
	static const char *const shown[] = {NULL, "stranger"};

	for (int i = 0; i < 2; i++)
		for (int v = 0; v < 2; v++) {
			struct tls_connection *t = connected(shown[i], versions[v]);

			assert_false(is_good(t, "trunk", NULL, 9, 5061));
			assert_false(is_good(t, "port", NULL, 9, 5061));
			assert_int_equal(is_good(t, "other", NULL, 9, 5061), shown[i] != NULL);
			ends_close(&e);
		}
}

static void before_its_handshake_a_peer_is_nobody(void **state)
{
	struct tls_demand d = demand_of("port", NULL, 9, 5061);
	SSL_CTX *ctx = bench_context("client");

	assert_true(ends_open(&e, NULL, ctx));
	SSL_CTX_free(ctx);
	ends_run_some(&e, 2);
	assert_false(tls_verdict_reach(ends_tls(&e.server), &d));
	tls_verdict_end_demand(&d);
	assert_true(ends_shake(&e, NULL));
	assert_true(is_good(ends_tls(&e.server), "port", NULL, 9, 5061));
}

static void a_verdict_ends(void **state)
{
	struct tls_connection *t = connected("client", TLS1_3_VERSION);
	struct tls_demand d;

	assert_true(is_good(t, "port", NULL, 9, 5061));
	d = demand_of("port", NULL, 9, 5061);
	tls_verdict_end_demand(&d);
	passed = 80 * DAY;
	assert_int_equal(tls_verdict_look(t, &d), TLS_VERDICT_GOOD);
	passed = 91 * DAY;
	assert_int_equal(tls_verdict_look(t, &d), TLS_VERDICT_OPEN);
	assert_false(tls_verdict_holds(t, &d));
}

/* Of another configuration nothing is known, though it is the same. */
static void a_reload_ends_a_verdict(void **state)
{
	struct tls_connection *t = connected("client", TLS1_3_VERSION);
	struct tls_report r;
	struct tls_demand d;

	assert_true(is_good(t, "port", NULL, 9, 5061));
	tls_report_init(&r);
	assert_true(tls_reload_run(&r) > 0);
	tls_report_clear(&r);
	d = demand_of("port", NULL, 9, 5061);
	tls_verdict_end_demand(&d);
	assert_int_equal(tls_verdict_look(t, &d), TLS_VERDICT_OPEN);
	assert_true(is_good(t, "port", NULL, 9, 5061));
	ends_close(&e);
	blocks_before = bench_blocks(); /* the new one's */
}

/* A client that renegotiates may show another certificate: then the verdict is about somebody else. */
static void another_certificate_ends_a_verdict(void **state)
{
	struct tls_connection *t = connected("client", TLS1_2_VERSION);
	struct tls_demand d = demand_of("port", NULL, 9, 5061);
	char name[64];

	assert_true(tls_verdict_reach(t, &d));
	tls_verdict_end_demand(&d);
	assert_true(tls_verdict_holds(t, &d));
	assert_int_equal(SSL_use_certificate_file(e.client.ssl, bench_path("stranger.pem"), SSL_FILETYPE_PEM), 1);
	assert_int_equal(SSL_use_PrivateKey_file(e.client.ssl, bench_path("stranger.key"), SSL_FILETYPE_PEM), 1);
	assert_int_equal(SSL_renegotiate(e.client.ssl), 1);
	ends_say(&e.client, "again");
	ends_run(&e);
	X509_NAME_oneline(X509_get_subject_name(SSL_get0_peer_certificate(ssl_of(t->ssl))), name, sizeof(name));
	assert_string_equal(name, "/CN=stranger");
	assert_false(tls_verdict_holds(t, &d));
}

/* Each allocation fails once, and all later ones with it: the answer is right or no, and nothing is left. */
static void without_memory_the_answer_is_no(void **state)
{
	struct tls_connection *t = connected("client", TLS1_3_VERSION);
	bool good = false;

	for (int forever = 0; forever < 2; forever++)
		for (long n = 1, asked = n; asked >= n - 1; n++) { /* until nothing has failed */
			struct tls_demand d = demand_of("trunk", NULL, 9, 5061);

			ERR_clear_error();
			fake_memory_fail_at(n, forever != 0);
			good = tls_verdict_reach(t, &d);
			asked = fake_memory_asked();
			fake_memory_fail_at(0, false);
			assert_int_equal(ERR_peek_error(), 0); /* or it would count as that of another connection */
			tls_verdict_end_demand(&d);
			assert_true(n > 1 || !good);
			if (good)
				assert_true(tls_verdict_holds(t, &d));
			assert_false(is_good(t, "trunk", "other.example.org", 9, 5061)); /* and forgets the first */
		}
	assert_true(is_good(t, "trunk", NULL, 9, 5061));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, before_each, after_each)
	const struct CMUnitTest tests[] = {
		TEST(what_is_chosen_and_verifies_demands_something),
		TEST(a_peer_is_verified_by_the_section),
		TEST(a_peer_without_a_good_certificate_is_nobody),
		TEST(before_its_handshake_a_peer_is_nobody),
		TEST(a_verdict_ends),
		TEST(a_reload_ends_a_verdict),
		TEST(another_certificate_ends_a_verdict),
		TEST(without_memory_the_answer_is_no),
	};

	if (bench_prepare() != 0)
		return 1;
	bench_options.renegotiation = 1;
	if (bench_start(domains) != 0)
		return 1;
	usual = *fake_host_options();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
