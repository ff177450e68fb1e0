/* links: tls_rpc.c connection/answer.c connection/stats.c connection/queue.c tls_shared.c settings/report.c settings/runtime.c settings/section.c settings/table.c settings/text.c settings/values.c test/unit/fake_crypto.c test/unit/fake_host.c -Wl,--as-needed */
/*
 * test_rpc.c - what the commands answer, about connections and certificates that no library made
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

#include "core/rpc_lookup.h"

#include "host/compat.h"
#include "heap/heap.h"
#include "tls_mem.h"
#include "settings/report.h"
#include "settings/values.h"
#include "settings/runtime.h"
#include "tls_domain_types.h"
#include "tls_domain.h"
#include "tls_generation.h"
#include "tls_reload.h"
#include "connection/connection.h"
#include "connection/list.h"
#include "connection/queue.h"
#include "tls_rpc.h"
#include "fake_crypto.h"
#include "fake_host.h"

#define DAY 86400

/* ---- what the commands read */

static struct tls_domain domains[2];
static int domain_count;
static struct tls_generation generation = {.number = 3, .domains = domains};

struct tls_generation *tls_generation_pin(void)
{
	return &generation;
}

void tls_generation_unpin(struct tls_generation *g) {}

int tls_generation_number(const struct tls_generation *g)
{
	return g->number;
}

struct tls_domain *tls_domain_next(struct tls_generation *g, struct tls_domain *d)
{
	d = d == NULL ? domains : d + 1;
	return d < domains + domain_count ? d : NULL;
}

static const char *problem; /* of the next reload, NULL: it goes well */

int tls_reload_run(struct tls_report *r)
{
	if (problem == NULL)
		return 4;
	tls_report_add(r, TLS_ERROR, "/etc/some/where/tls.cfg", 3, NULL, "%s", problem);
	return -1;
}

void tls_reload_check(struct tls_report *r)
{
	tls_reload_run(r);
}

void tls_reload_log(const struct tls_report *r) {}

long tls_reload_changed_files(void)
{
	return 1;
}

long tls_reload_unreadable_files(void)
{
	return 2;
}

static struct tcp_connection c;
static struct tls_connection t;
static int held, killed;

void tls_list_walk(int (*each)(struct tls_connection *t, void *arg), void *arg)
{
	each(&t, arg);
}

int tls_list_count(void)
{
	return 1;
}

struct tls_connection *tls_list_hold(int id)
{
	held++;
	return &t;
}

void tls_list_release(struct tls_connection *one)
{
	held--;
}

int tls_list_kill(int id)
{
	killed = id;
	return id == t.id ? 0 : -1;
}

void *tls_mem_shared_alloc(size_t size)
{
	return calloc(1, size);
}

void tls_mem_shared_free(void *p)
{
	free(p);
}

void tls_mem_get_stats(struct tls_mem_stats *out)
{
	*out = (struct tls_mem_stats){.bytes = 11, .blocks = 12, .refused = 13, .held = 14};
}

long tls_mem_private(void)
{
	return 15;
}

size_t tls_mem_available(void)
{
	return 16;
}

/* ---- the host's side of a command */

static char answer[8192];
static size_t used;
static int fault_code;
static const char *filter;
static int wanted_id;
static bool is_full; /* the transport takes nothing more */
static rpc_export_t *commands;

int rpc_register_array(rpc_export_t *rpcs)
{
	commands = rpcs;
	return 0;
}

int ip_addr2sbuf(struct ip_addr *ip, char *out, int size)
{
	return snprintf(out, (size_t)size, "%s", ip_addr2a(ip));
}

void tcp_get_info(struct tcp_gen_info *info)
{
	*info = (struct tcp_gen_info){.tls_max_connections = 17};
}

static void note(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	used += (size_t)vsnprintf(answer + used, sizeof(answer) - used, format, args);
	va_end(args);
}

static void fault(void *ctx, int code, char *format, ...)
{
	va_list args;

	fault_code = code;
	va_start(args, format);
	used += (size_t)vsnprintf(answer + used, sizeof(answer) - used, format, args);
	va_end(args);
}

/* Writes "NAME=VALUE\n" for each value. */
static int struct_add(void *ctx, char *format, ...)
{
	va_list args;

	if (is_full)
		return -1;
	va_start(args, format);
	for (; *format != '\0'; format++) {
		const char *name = va_arg(args, const char *);

		switch (*format) {
		case 's': note("%s=%s\n", name, va_arg(args, const char *)); break;
		case 'd': note("%s=%d\n", name, va_arg(args, int)); break;
		case 'l': note("%s=%ld\n", name, va_arg(args, long)); break;
		case '[': *va_arg(args, void **) = answer; break;
		default: abort();
		}
	}
	va_end(args);
	return 0;
}

static int add(void *ctx, char *format, ...)
{
	va_list args;

	va_start(args, format);
	*va_arg(args, void **) = answer;
	va_end(args);
	return 0;
}

static int scan(void *ctx, char *format, ...)
{
	va_list args;
	int count = 0;

	va_start(args, format);
	if (strcmp(format, "d") == 0 && wanted_id != 0) {
		*va_arg(args, int *) = wanted_id;
		count = 1;
	} else if (strcmp(format, "*.s") == 0 && filter != NULL) {
		*va_arg(args, char **) = (char *)(uintptr_t)filter;
		count = 1;
	}
	va_end(args);
	return count;
}

static int answer_line(void *ctx, char *format, ...)
{
	va_list args;

	va_start(args, format);
	used += (size_t)vsnprintf(answer + used, sizeof(answer) - used, format, args);
	va_end(args);
	return 0;
}

static const char *run(const char *name)
{
	static rpc_t rpc = {.fault = fault,
	                    .add = add,
	                    .scan = scan,
	                    .struct_add = struct_add,
	                    .array_add = add,
	                    .rpl_printf = answer_line};

	used = 0;
	answer[0] = '\0';
	fault_code = 0;
	for (rpc_export_t *one = commands; one->name != NULL; one++)
		if (strcmp(one->name, name) == 0)
			one->function(&rpc, NULL);
	assert_int_equal(held, 0);
	return answer;
}

/* Whether the answer has this line. */
static bool says(const char *line)
{
	size_t n = strlen(line);

	for (const char *p = answer; (p = strstr(p, line)) != NULL; p++)
		if ((p == answer || p[-1] == '\n') && p[n] == '\n')
			return true;
	return false;
}

/* ---- around each test */

static struct tls_cert cert;

static int before_each(void **state)
{
	fake_crypto_reset();
	problem = filter = NULL;
	wanted_id = killed = 0;
	is_full = false;
	cert = (struct tls_cert){
		.fields =
			{[TLS_CERT_SUBJECT_RFC2253] = "CN=a,O=b", [TLS_CERT_ALT_NAMES] = "DNS:a.example, DNS:b.example"},
		.end = time(NULL) + 10 * DAY + DAY / 2,
		.key = "EC",
		.bits = 256};
	domains[0] = (struct tls_domain){.generation = &generation,
	                                 .role = TLS_SERVER,
	                                 .kind = TLS_SECTION_DEFAULT,
	                                 .name = "server:default",
	                                 .chains = {(struct tls_chain *)&cert, NULL}};
	domains[1] = (struct tls_domain){
		.generation = &generation, .role = TLS_CLIENT, .kind = TLS_SECTION_DEFAULT, .name = "client:default"};
	domain_count = 2;
	c = (struct tcp_connection){.id = 7};
	c.rcv.src_ip = c.rcv.dst_ip = (struct ip_addr){.af = AF_INET, .len = 4, .u.addr = {192, 0, 2, 1}};
	c.rcv.src_port = 40000;
	t = (struct tls_connection){.tcp = &c, .id = 7, .role = TLS_SERVER, .phase = TLS_PHASE_ESTABLISHED};
	t.use.domain = &domains[0];
	t.ssl = (struct tls_ssl *)&t; /* the stand-in does not look */
	t.started = get_ticks_raw();
	return 0;
}

/* ---- the commands */

static void no_library_is_needed(void **state)
{
	assert_true(fake_crypto_is_alone());
}

static void a_connection_is_listed(void **state)
{
	fake_facts.server_name = "sip.example";
	fake_facts.resumed = true;
	run("tls.list");
	assert_int_equal(fault_code, 0);
	assert_true(says("id=7"));
	assert_true(says("src_ip=192.0.2.1"));
	assert_true(says("src_port=40000"));
	assert_true(says("cipher=FAKE Kx=none")); /* without the end of the line */
	assert_true(says("protocol=TLSv1.3"));
	assert_true(says("compression=none"));
	assert_true(says("server_name=sip.example"));
	assert_true(says("resumed=1"));
	assert_true(says("verified=0"));
	assert_true(says("role=server"));
	assert_true(says("state=established"));
	assert_true(says("domain=server:default"));
}

/* Only who has shown a certificate is verified. */
static void a_peer_is_verified_by_a_certificate(void **state)
{
	fake_peer_cert = &cert;
	run("tls.list");
	assert_true(says("verified=1"));
	fake_facts.verify = TLS_VERIFY_OTHER;
	run("tls.list");
	assert_true(says("verified=0"));
}

static void before_the_handshake_nothing_is_known(void **state)
{
	t.phase = TLS_PHASE_NEW;
	t.ssl = NULL;
	run("tls.list");
	assert_true(says("cipher=unknown"));
	assert_true(says("protocol="));
	assert_true(says("compression=none"));
	assert_true(says("server_name="));
	assert_true(says("verified=0"));
	assert_true(says("state=pre-init"));
}

/* A client may ask for anything: what would be another line of a log is no line here. */
static void a_server_name_is_cleaned(void **state)
{
	fake_facts.server_name = "a\nid=8";
	run("tls.list");
	assert_false(says("id=8"));
}

static void a_list_is_filtered(void **state)
{
	filter = "192.0.2.1:4";
	assert_string_not_equal(run("tls.list"), "");
	filter = "client:";
	assert_string_equal(run("tls.list"), "");
	assert_string_not_equal(run("tls.domains"), "");
	assert_false(says("domain=server:default"));
	assert_true(says("domain=client:default"));
}

static void a_certificate_is_described(void **state)
{
	run("tls.domains");
	assert_true(says("subject=CN=a,O=b"));
	assert_true(says("alternative_names=DNS:a.example, DNS:b.example"));
	assert_true(says("key_type=EC"));
	assert_true(says("key_bits=256"));
	assert_true(says("days_to_expiry=10"));
	assert_null(strstr(answer, "subject2"));
	domains[0].chains[1] = domains[0].chains[0];
	run("tls.domains");
	assert_true(says("subject2=CN=a,O=b"));
}

static void what_cannot_be_read_is_called_so(void **state)
{
	cert.fields[TLS_CERT_SUBJECT_RFC2253] = FAKE_UNREADABLE;
	cert.fields[TLS_CERT_ALT_NAMES] = NULL;
	cert.key = NULL;
	cert.end = 0;
	run("tls.domains");
	assert_true(says("subject=unreadable"));
	assert_true(says("alternative_names="));
	assert_true(says("key_type=unknown"));
	assert_true(says("days_to_expiry=-1"));
}

static void expired_is_never_zero_days(void **state)
{
	static const struct {
		int64_t left;
		const char *says;
	} cases[] = {{DAY / 2, "days_to_expiry=0"},
	             {-3600, "days_to_expiry=-1"},
	             {-DAY - 3600, "days_to_expiry=-1"},
	             {-2 * DAY - 3600, "days_to_expiry=-2"}};

	for (int i = 0; i < 4; i++) {
		cert.end = time(NULL) + cases[i].left;
		run("tls.domains");
		assert_true(says(cases[i].says));
	}
}

static void numbers(void **state)
{
	char line[64];

	run("tls.info");
	assert_true(says("max_connections=17"));
	assert_true(says("opened_connections=1"));
	assert_true(says("generation=3"));
	assert_true(says("domains=2"));
	assert_true(says("files_changed=1"));
	assert_true(says("files_unreadable=2"));
	assert_true(says("shared_bytes=11"));
	assert_true(says("shared_refused=13"));
	assert_true(says("private_bytes=15"));
	assert_true(says("library=a stand-in"));
	assert_true(says("built_with=a stand-in's headers"));
	snprintf(line, sizeof(line), "soonest_expiry=%lld", (long long)cert.end);
	assert_true(says(line));
	cert.end = 0;
	run("tls.info");
	assert_true(says("soonest_expiry=0"));
}

static void settings_are_shown(void **state)
{
	int before = fake_host_options()->handshake_timeout;

	fake_host_options()->handshake_timeout = 29;
	run("tls.options");
	assert_true(says("handshake_timeout=29"));
	fake_host_options()->handshake_timeout = before;
	assert_non_null(strstr(answer, "ssl_freelist_max"));
}

static void a_connection_is_closed(void **state)
{
	wanted_id = 7;
	run("tls.kill");
	assert_int_equal(killed, 7);
	assert_int_equal(fault_code, 0);
	wanted_id = 99;
	assert_string_equal(run("tls.kill"), "No TLS connection has the id 99");
	assert_int_equal(fault_code, 404);
	wanted_id = killed = 0;
	run("tls.kill");
	assert_int_equal(fault_code, 400);
	assert_int_equal(killed, 0);
}

static void a_reload_says_how_it_went(void **state)
{
	assert_string_equal(run("tls.reload"), "Ok. TLS configuration reloaded.");
	problem = "something is wrong";
	run("tls.reload");
	assert_int_equal(fault_code, 500);
	assert_non_null(strstr(answer, "something is wrong"));
	run("tls.check");
	assert_int_equal(fault_code, 0);
	assert_true(says("errors=1"));
	assert_true(says("severity=error"));
}

/* Some transports cut what is longer, others lose it. */
static void a_fault_is_short(void **state)
{
	char long_problem[300];

	memset(long_problem, 'x', sizeof(long_problem));
	long_problem[299] = '\0';
	problem = long_problem;
	run("tls.reload");
	assert_in_range(strlen(answer), 100, 126);
	assert_non_null(strstr(answer, "(see tls.check)"));
	assert_memory_equal(answer, "tls.cfg:3", 9); /* the folders are what it can do without */
}

static void a_transport_may_be_full(void **state)
{
	is_full = true;
	run("tls.domains");
	assert_int_equal(fault_code, 500);
	assert_non_null(strstr(answer, "Too much for one answer"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, before_each)
	static struct tls_settings settings;
	static struct tls_options options;
	const struct CMUnitTest tests[] = {
		TEST(no_library_is_needed),
		TEST(a_connection_is_listed),
		TEST(a_peer_is_verified_by_a_certificate),
		TEST(before_the_handshake_nothing_is_known),
		TEST(a_server_name_is_cleaned),
		TEST(a_list_is_filtered),
		TEST(a_certificate_is_described),
		TEST(what_cannot_be_read_is_called_so),
		TEST(expired_is_never_zero_days),
		TEST(numbers),
		TEST(settings_are_shown),
		TEST(a_connection_is_closed),
		TEST(a_reload_says_how_it_went),
		TEST(a_fault_is_short),
		TEST(a_transport_may_be_full),
	};

	tls_settings_init(&settings);
	tls_settings_init_options(&options);
	tls_settings_set_option_defaults(&options);
	if (tls_runtime_start(&settings, &options) != 0 || tls_queue_start() != 0 || tls_rpc_start() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
