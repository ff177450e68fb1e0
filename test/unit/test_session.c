/* links: BENCH -Wl,--wrap=time,--wrap=clock_gettime,--wrap=SSL_SESSION_set1_ticket_appdata,--wrap=RAND_priv_bytes_ex */
/*
 * test_session.c - what ends a session, and whose clock says so
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * The module's own calls see the clocks that a test has set; OpenSSL, and with it the client, sees the real
 * one. So OpenSSL refuses no session here because of its age: what is refused, the module refuses.
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

#include <openssl/hmac.h>

#include "settings/table.h"
#include "crypto/openssl/compat.h"
#include "crypto/openssl/types.h"
#include "crypto/openssl/ticket.h"
#include "tls_reload.h"
#include "connection/list.h"
#include "bench.h"
#include "ends.h"
#include "fake_host.h"
#include "fake_memory.h"

#define MINUTE 60
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

/* Sections that verify, by port, and the client for each. What is named there ends in an hour, all else later. */
enum { BY_AUTHORITY = 5071, BY_INTERMEDIATE, BY_LIST, BY_LEAF, BY_NOTHING, BY_TRUST };

static const struct {
	int port;
	const char *client, *what;
} soon[] = {
	{BY_AUTHORITY, "of-soon-root", "authority"},
	{BY_INTERMEDIATE, "of-soon-middle", "intermediate"},
	{BY_LIST, "of-root", "revocation list"},
	{BY_LEAF, "soon-leaf", "the client's own"},
};

#define SECTION(port, authority)    \
	"[server:127.0.0.1:" port "]\n" \
	"certificate = @/server.pem\n"  \
	"private_key = @/server.key\n"  \
	"require_certificate = yes\n"   \
	"ca_list = @/" authority ".pem\n"

static const char domains[] = BENCH_SERVERS
	"server_name = strict.example.org\n"
	"certificate = @/rsa.pem\n"
	"private_key = @/rsa.key\n" SECTION("5071", "soon-root") SECTION("5072", "root")
		SECTION("5073", "root") "crl = @/lists.pem\n" SECTION(
			"5074", "root") "[server:127.0.0.1:5075]\n"
							"certificate = @/server.pem\n"
							"private_key = @/server.key\n"
							"verify_client = optional_no_ca\n" SECTION("5076", "root") BENCH_CLIENTS;

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

static struct ends e;
static const char *asked_name;   /* by clients, NULL: none */
static struct tls_options usual; /* as every test finds them */
static long blocks_before;

/* ---- the clocks */

static int64_t wall_offset, steady_offset; /* the latter never goes back */

time_t __real_time(time_t *out);
time_t __wrap_time(time_t *out);
int __real_clock_gettime(clockid_t clock, struct timespec *out);
int __wrap_clock_gettime(clockid_t clock, struct timespec *out);

time_t __wrap_time(time_t *out)
{
	time_t now = __real_time(NULL) + wall_offset;

	if (out != NULL)
		*out = now;
	return now;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *out)
{
	bool wall = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
	int result = __real_clock_gettime(clock, out);

	out->tv_sec += wall ? wall_offset : steady_offset;
	return result;
}

/* Lets SECONDS pass. */
static void pass(int seconds)
{
	wall_offset += seconds;
	steady_offset += seconds;
}

/* ---- what goes with a session */

static enum { RECORD_KEPT, RECORD_LOST, RECORD_CUT } record_is;

int __real_SSL_SESSION_set1_ticket_appdata(SSL_SESSION *session, const void *data, size_t size);
int __wrap_SSL_SESSION_set1_ticket_appdata(SSL_SESSION *session, const void *data, size_t size);

int __wrap_SSL_SESSION_set1_ticket_appdata(SSL_SESSION *session, const void *data, size_t size)
{
	if (record_is == RECORD_LOST)
		return 0;
	return __real_SSL_SESSION_set1_ticket_appdata(session, data, record_is == RECORD_CUT ? size - 1 : size);
}

/* ---- the keys of tickets */

#define SECRETS 2 /* a key consists of */

static unsigned char secrets[SECRETS][32]; /* the last ones, inside out: what is looked for is not here */
static unsigned secret_count;

int __real_RAND_priv_bytes_ex(OSSL_LIB_CTX *libctx, unsigned char *out, size_t size, unsigned strength);
int __wrap_RAND_priv_bytes_ex(OSSL_LIB_CTX *libctx, unsigned char *out, size_t size, unsigned strength);

int __wrap_RAND_priv_bytes_ex(OSSL_LIB_CTX *libctx, unsigned char *out, size_t size, unsigned strength)
{
	int result = __real_RAND_priv_bytes_ex(libctx, out, size, strength);

	if (size == sizeof(secrets[0]))
		for (size_t i = 0; i < size; i++)
			secrets[secret_count % SECRETS][i] = (unsigned char)~out[i];
	if (size == sizeof(secrets[0]))
		secret_count++;
	return result;
}

/* How many of SECRETS are in shared memory. */
static int secrets_kept(unsigned char of[SECRETS][32])
{
	unsigned char secret[32];
	int kept = 0;

	for (int s = 0; s < SECRETS; s++) {
		for (size_t i = 0; i < sizeof(secret); i++)
			secret[i] = (unsigned char)~of[s][i];
		kept += fake_memory_has(secret, sizeof(secret));
	}
	return kept;
}

/* ---- certificates */

struct identity {
	EVP_PKEY *key;
	X509 *certificate;
};

/* ISSUER NULL: signs itself. ABOVE: what stands behind it in NAME.pem, NULL: nothing. */
static struct identity make(const char *name, const struct identity *issuer, bool authority, long end,
                            const X509 *above)
{
	struct identity id = {.certificate = X509_new(), .key = EVP_EC_gen("P-256")};
	X509_NAME *subject = X509_get_subject_name(id.certificate);
	static long serial = 1000;
	char file[64];
	FILE *f;

	X509_set_version(id.certificate, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(id.certificate), ++serial);
	X509_gmtime_adj(X509_getm_notBefore(id.certificate), -HOUR);
	X509_gmtime_adj(X509_getm_notAfter(id.certificate), end);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(id.certificate,
	                     issuer != NULL ? X509_get_subject_name(issuer->certificate) : subject);
	X509_set_pubkey(id.certificate, id.key);
	if (authority) {
		X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints,
		                                                "critical,CA:TRUE");

		X509_add_ext(id.certificate, extension, -1);
		X509_EXTENSION_free(extension);
	}
	if (X509_sign(id.certificate, issuer != NULL ? issuer->key : id.key, EVP_sha256()) == 0)
		abort();
	snprintf(file, sizeof(file), "%s.pem", name);
	f = fopen(bench_path(file), "w");
	PEM_write_X509(f, id.certificate);
	if (above != NULL)
		PEM_write_X509(f, above);
	fclose(f);
	snprintf(file, sizeof(file), "%s.key", name);
	f = fopen(bench_path(file), "w");
	PEM_write_PrivateKey(f, id.key, NULL, NULL, 0, NULL, NULL);
	fclose(f);
	return id;
}

/* Writes a list of ISSUER that ends in END seconds. */
static void write_list(FILE *f, const struct identity *issuer, long end)
{
	X509_CRL *list = X509_CRL_new();
	ASN1_TIME *at = X509_gmtime_adj(NULL, -HOUR);

	X509_CRL_set_version(list, X509_CRL_VERSION_2);
	X509_CRL_set_issuer_name(list, X509_get_subject_name(issuer->certificate));
	X509_CRL_set1_lastUpdate(list, at);
	X509_gmtime_adj(at, end);
	X509_CRL_set1_nextUpdate(list, at);
	if (X509_CRL_sign(list, issuer->key, EVP_sha256()) == 0)
		abort();
	PEM_write_X509_CRL(f, list);
	ASN1_TIME_free(at);
	X509_CRL_free(list);
}

static void forget(struct identity *id)
{
	X509_free(id->certificate);
	EVP_PKEY_free(id->key);
}

/* The lists: one that has ended already counts for nothing, as another of the same authority has not. */
static void make_certificates(void)
{
	struct identity root = make("root", NULL, true, 90 * DAY, NULL);
	struct identity soon_root = make("soon-root", NULL, true, HOUR, NULL);
	struct identity middle = make("soon-middle", &root, true, HOUR, NULL);
	struct identity leaves[] = {
		make("of-soon-root", &soon_root, false, 90 * DAY, NULL),
		make("of-soon-middle", &middle, false, 90 * DAY, middle.certificate),
		make("of-root", &root, false, 90 * DAY, NULL),
		make("soon-leaf", &root, false, HOUR, NULL),
	};
	FILE *f = fopen(bench_path("lists.pem"), "w");

	write_list(f, &root, -MINUTE);
	write_list(f, &root, HOUR);
	fclose(f);
	for (size_t i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++)
		forget(&leaves[i]);
	forget(&middle);
	forget(&soon_root);
	forget(&root);
}

/* ---- around each test */

static int before_each(void **state)
{
	*fake_host_options() = usual;
	record_is = RECORD_KEPT;
	wall_offset = 0;
	asked_name = NULL;
	ends_port = ANY;
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

/* ---- clients */

static void open_to_server(const char *client, int version)
{
	SSL_CTX *ctx = bench_context(client);
	char file[64];

	snprintf(file, sizeof(file), "%s.pem", client != NULL ? client : "");
	if (client != NULL && SSL_CTX_use_certificate_chain_file(ctx, bench_path(file)) != 1)
		abort();
	SSL_CTX_set_min_proto_version(ctx, version);
	SSL_CTX_set_max_proto_version(ctx, version);
	assert_true(ends_open(&e, NULL, ctx));
	SSL_set_tlsext_host_name(e.client.ssl, asked_name);
	SSL_CTX_free(ctx);
}

static void both_talk(void)
{
	assert_true(ends_say(&e.client, "question"));
	ends_run(&e);
	assert_true(ends_got(&e.server, "question"));
	assert_true(ends_say(&e.server, "answer"));
	ends_run(&e);
	assert_true(ends_got(&e.client, "answer"));
}

/* Ends the connection of E and returns its session as the client has it. */
static SSL_SESSION *take_session(void)
{
	SSL_SESSION *session = SSL_get1_session(e.client.ssl);

	ends_close(&e);
	return session;
}

static SSL_SESSION *first_session(const char *client, int version)
{
	open_to_server(client, version);
	if (!ends_shake(&e, NULL))
		fail_msg("%s", fake_host_log());
	both_talk();
	return take_session();
}

/* Connects with SESSION, which stays the caller's, and talks. Returns whether it was resumed; E stays. */
static bool resumes(SSL_SESSION *session, const char *client, int version)
{
	bool resumed;

	open_to_server(client, version);
	SSL_set_session(e.client.ssl, session);
	if (!ends_shake(&e, NULL))
		fail_msg("%s", fake_host_log());
	both_talk();
	resumed = SSL_session_reused(e.client.ssl) == 1;
	assert_int_equal(resumed, SSL_session_reused(ssl_of(ends_tls(&e.server)->ssl)));
	return resumed;
}

/* The same, and E is closed. */
static bool resumes_once(SSL_SESSION *session, const char *client, int version)
{
	bool resumed = resumes(session, client, version);

	ends_close(&e);
	return resumed;
}

/* The same; *SESSION becomes that of the new connection. */
static bool goes_on(SSL_SESSION **session, const char *client, int version)
{
	bool resumed = resumes(*session, client, version);

	SSL_SESSION_free(*session);
	*session = take_session();
	return resumed;
}

/* ---- what a client was verified by */

/* In TLS 1.3 the ticket is a fresh one each time, and still the first verification counts. */
static void a_session_ends_with_what_its_client_was_verified_by(void **state)
{
	for (size_t i = 0; i < sizeof(soon) / sizeof(soon[0]); i++)
		for (int v = 0; v < 2; v++) {
			SSL_SESSION *session;

			ends_port = (unsigned short)soon[i].port;
			session = first_session(soon[i].client, versions[v]);
			pass(50 * MINUTE);
			if (!goes_on(&session, soon[i].client, versions[v]))
				fail_msg("refused before its end: %s", soon[i].what);
			pass(11 * MINUTE);
			if (resumes_once(session, soon[i].client, versions[v]))
				fail_msg("resumed after its end: %s", soon[i].what);
			SSL_SESSION_free(session);
			wall_offset = 0;
		}
}

/* Of what is accepted unverified nothing else can end. */
static void an_unverified_client_is_resumed_for_a_day(void **state)
{
	ends_port = BY_NOTHING;
	for (int v = 0; v < 2; v++) {
		SSL_SESSION *session = first_session("of-soon-root", versions[v]);

		pass(100 * MINUTE);
		assert_true(goes_on(&session, "of-soon-root", versions[v]));
		SSL_SESSION_free(session);
		session = first_session("soon-leaf", versions[v]); /* says itself when it ends: 40 minutes ago */
		assert_true(resumes_once(session, "soon-leaf", versions[v]));
		SSL_SESSION_free(session);
	}
}

/* Each client is another one, and so is each handshake of a connection. */
static void a_full_handshake_begins_anew(void **state)
{
	SSL_SESSION *session;

	ends_port = BY_TRUST;
	session = first_session("soon-leaf", TLS1_3_VERSION);
	pass(61 * MINUTE);
	assert_false(goes_on(&session, "of-root", TLS1_3_VERSION));
	pass(61 * MINUTE);
	assert_true(goes_on(&session, "of-root", TLS1_3_VERSION));
	SSL_SESSION_free(session);
}

/* ---- a day */

/* How often SESSION is resumed every 100 minutes, while CLOCK says after each what is done to the wall's. */
static int times_resumed(SSL_SESSION *session, void (*each)(void))
{
	int times = 0;

	do {
		pass(100 * MINUTE);
		if (each != NULL)
			each();
	} while (goes_on(&session, NULL, TLS1_3_VERSION) && ++times < 100);
	SSL_SESSION_free(session);
	return times;
}

static void a_session_ends_a_day_after_its_full_handshake(void **state)
{
	assert_int_equal(times_resumed(first_session(NULL, TLS1_3_VERSION), NULL), DAY / (100 * MINUTE));
}

static void the_day_is_a_setting(void **state)
{
	for (int v = 0; v < 2; v++) {
		SSL_SESSION *session = first_session(NULL, versions[v]);

		pass(10 * MINUTE);
		assert_true(goes_on(&session, NULL, versions[v]));
		fake_host_options()->session_lifetime = 11 * MINUTE;
		assert_true(goes_on(&session, NULL, versions[v]));
		pass(2 * MINUTE);
		assert_false(goes_on(&session, NULL, versions[v]));
		assert_true(SSL_SESSION_get_ticket_lifetime_hint(session) <= 11 * MINUTE);
		assert_true(resumes_once(session, NULL, versions[v]));
		fake_host_options()->session_lifetime = 0;
		assert_false(resumes_once(session, NULL, versions[v]));
		SSL_SESSION_free(session);
		session = first_session(NULL, versions[v]);
		assert_false(resumes_once(session, NULL, versions[v]));
		SSL_SESSION_free(session);
		*fake_host_options() = usual;
	}
}

static void a_ticket_is_good_for_two_hours(void **state)
{
	for (int v = 0; v < 2; v++) {
		SSL_SESSION *session = first_session(NULL, versions[v]);

		pass(2 * HOUR - MINUTE);
		assert_true(resumes_once(session, NULL, versions[v]));
		pass(MINUTE);
		assert_false(resumes_once(session, NULL, versions[v]));
		SSL_SESSION_free(session);
	}
}

/* ---- somebody sets the clock */

static void set_back_by_100_minutes(void)
{
	wall_offset -= 100 * MINUTE;
}

static void set_back_and_forth(void)
{
	static int turn;

	wall_offset += turn++ % 2 == 0 ? 10 * DAY : -10 * DAY;
}

/* Whatever is done to the clock, a session never lives longer. */
static void setting_the_clock_makes_no_session_younger(void **state)
{
	int most = DAY / (100 * MINUTE);
	SSL_SESSION *session;

	assert_true(times_resumed(first_session(NULL, TLS1_3_VERSION), set_back_by_100_minutes) <= most);
	assert_true(times_resumed(first_session(NULL, TLS1_3_VERSION), set_back_and_forth) <= most);
	wall_offset = 0;
	ends_port = BY_AUTHORITY;
	session = first_session("of-soon-root", TLS1_3_VERSION);
	wall_offset += 30 * MINUTE; /* somebody sets it forward, and when an hour has passed, right */
	pass(35 * MINUTE);
	assert_false(resumes_once(session, "of-soon-root", TLS1_3_VERSION));
	wall_offset -= 30 * MINUTE;
	assert_true(resumes_once(session, "of-soon-root", TLS1_3_VERSION));
	pass(30 * MINUTE);
	wall_offset -= 50 * MINUTE; /* it is not yet an hour there */
	assert_false(resumes_once(session, "of-soon-root", TLS1_3_VERSION));
	SSL_SESSION_free(session);
}

static void a_session_from_the_future_is_none(void **state)
{
	for (int v = 0; v < 2; v++) {
		SSL_SESSION *session = first_session(NULL, versions[v]);

		wall_offset -= HOUR;
		assert_false(resumes_once(session, NULL, versions[v]));
		wall_offset += HOUR;
		assert_true(resumes_once(session, NULL, versions[v]));
		SSL_SESSION_free(session);
	}
}

/* ---- names */

static bool same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* All lead to one section. Before TLS 1.3 the name belongs to the session, from then on to the connection. */
static void a_session_is_resumed_under_its_own_name(void **state)
{
	static const char *const names[] = {NULL, "a.example.org", "b.example.org", "A.example.org",
	                                    "a.example.or"};
	const size_t count = sizeof(names) / sizeof(names[0]);

	for (size_t i = 0; i < 2 * count * count; i++) {
		const char *first = names[i / 2 / count], *second = names[i / 2 % count];
		int version = versions[i % 2];
		SSL_SESSION *session;

		asked_name = first;
		session = first_session(NULL, version);
		asked_name = second;
		assert_int_equal(resumes(session, NULL, version), version == TLS1_3_VERSION || first == second);
		assert_true(same_text(SSL_get_servername(ssl_of(ends_tls(&e.server)->ssl), TLSEXT_NAMETYPE_host_name),
		                      second));
		ends_close(&e);
		SSL_SESSION_free(session);
	}
}

/* ---- when keys change */

/* The name of the key that SESSION's ticket was made with. */
static const unsigned char *key_of(const SSL_SESSION *session)
{
	const unsigned char *ticket;
	size_t size;

	SSL_SESSION_get0_ticket(session, &ticket, &size);
	return ticket;
}

/* Whether a ticket that is written now has the key of SESSION's. */
static bool has_its_key(const SSL_SESSION *session, int version)
{
	SSL_SESSION *now = first_session(NULL, version);
	bool same = memcmp(key_of(now), key_of(session), 16) == 0;

	SSL_SESSION_free(now);
	return same;
}

/* As if the server had just been started. */
static void new_key(void)
{
	steady_offset += 40 * HOUR;
	tls_ticket_sweep(0, NULL);
}

/* Also when nobody calls the timer's function in time. */
static void keys_change_by_a_clock_that_nobody_sets(void **state)
{
	for (int v = 0; v < 2; v++)
		for (int timer = 0; timer < 2; timer++) {
			SSL_SESSION *session;

			new_key();
			session = first_session(NULL, versions[v]);
			wall_offset -= 10 * DAY;
			steady_offset += 11 * HOUR;
			if (timer == 1)
				tls_ticket_sweep(0, NULL);
			assert_true(has_its_key(session, versions[v]));
			steady_offset += 2 * HOUR;
			if (timer == 1)
				tls_ticket_sweep(0, NULL);
			assert_false(has_its_key(session, versions[v]));
			SSL_SESSION_free(session);
			session = first_session(NULL, versions[v]);
			wall_offset += 20 * DAY;
			if (timer == 1)
				tls_ticket_sweep(0, NULL);
			assert_true(has_its_key(session, versions[v]));
			SSL_SESSION_free(session);
		}
}

/* No ticket comes or goes. */
static void a_key_is_wiped_on_a_quiet_server(void **state)
{
	unsigned char first[SECRETS][32];
	unsigned before;

	new_key();
	memcpy(first, secrets, sizeof(first));
	assert_int_equal(secrets_kept(first), SECRETS);
	before = secret_count;
	pass(12 * HOUR + MINUTE);
	tls_ticket_sweep(0, NULL);
	assert_int_equal(secret_count, before + SECRETS);
	assert_int_equal(secrets_kept(first), SECRETS); /* some tickets are still good */
	pass(2 * HOUR + MINUTE);
	tls_ticket_sweep(0, NULL);
	assert_int_equal(secret_count, before + SECRETS);
	assert_int_equal(secrets_kept(first), 0);
	assert_int_equal(secrets_kept(secrets), SECRETS);
	tls_ticket_sweep(0, NULL);
	assert_int_equal(secret_count, before + SECRETS);
}

/* SESSION as a ticket by a key of zeros, with its name. Returns the size, in OUT. */
static int forge_ticket(SSL_SESSION *session, unsigned char *out, size_t room)
{
	static const unsigned char zeros[32];
	unsigned char plain[4096], *end = plain;
	int size = i2d_SSL_SESSION(session, NULL), n = 0, more = 0;
	EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();

	assert_true(size > 0 && size < (int)sizeof(plain) && size + 128 < (int)room);
	i2d_SSL_SESSION(session, &end);
	memset(out, 0, 32); /* name and IV */
	EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, zeros, zeros);
	EVP_EncryptUpdate(cipher, out + 32, &n, plain, size);
	EVP_EncryptFinal_ex(cipher, out + 32 + n, &more);
	EVP_CIPHER_CTX_free(cipher);
	n += 32 + more;
	HMAC(EVP_sha256(), zeros, sizeof(zeros), out, (size_t)n, out + n, NULL);
	return n + 32;
}

/* A key that was wiped, or has never been, must not open anything. */
static void zeros_are_no_key(void **state)
{
	unsigned char ticket[4096];
	int size;

	new_key();
	pass(3 * HOUR);
	tls_ticket_sweep(0, NULL);
	open_to_server(NULL, TLS1_2_VERSION);
	assert_true(ends_shake(&e, NULL));
	both_talk();
	size = forge_ticket(SSL_get_session(ssl_of(ends_tls(&e.server)->ssl)), ticket, sizeof(ticket));
	ends_close(&e);
	open_to_server(NULL, TLS1_2_VERSION);
	SSL_set_session_ticket_ext(e.client.ssl, ticket, size);
	ends_run_some(&e, 2);
	assert_int_equal(SSL_session_reused(ssl_of(ends_tls(&e.server)->ssl)), 0);
	ends_run(&e);
	both_talk();
}

/* A ticket that has just been written when the key changes is good for as long as any other. */
static void tickets_outlive_the_change_of_their_key(void **state)
{
	for (int v = 0; v < 2; v++) {
		SSL_SESSION *session;

		new_key();
		pass(12 * HOUR - MINUTE);
		session = first_session(NULL, versions[v]);
		pass(2 * MINUTE);
		tls_ticket_sweep(0, NULL);
		assert_false(has_its_key(session, versions[v]));
		pass(2 * HOUR - 3 * MINUTE);
		tls_ticket_sweep(0, NULL);
		assert_true(resumes(session, NULL, versions[v]));
		SSL_SESSION_free(session);
		session = take_session(); /* TLS 1.2 gives a new ticket, too, when the key is not the current one */
		assert_true(has_its_key(session, versions[v]));
		SSL_SESSION_free(session);
	}
}

/* ---- files */

static bool watcher_sees_a_change(void)
{
	fake_host_clear();
	tls_reload_watch(0, NULL);
	return strstr(fake_host_log(), "has changed") != NULL;
}

/* What was written before the clock was set back does not look written again and again. */
static void files_from_the_future_are_loaded_once(void **state)
{
	wall_offset = -HOUR;
	bench_write("tls.cfg", domains);
	assert_true(watcher_sees_a_change());
	assert_false(watcher_sees_a_change());
	bench_write("tls.cfg", domains);
	assert_true(watcher_sees_a_change());
	assert_false(watcher_sees_a_change());
}

/* ---- what goes with a session does not come back */

static void a_session_without_its_record_is_none(void **state)
{
	for (int v = 0; v < 2; v++)
		for (record_is = RECORD_LOST; record_is <= RECORD_CUT; record_is++) {
			SSL_SESSION *session = first_session(NULL, versions[v]);

			assert_false(resumes_once(session, NULL, versions[v]));
			SSL_SESSION_free(session);
		}
}

/* ---- everything that is made on first use */

static void warm_up(void)
{
	for (int v = 0; v < 2; v++) {
		SSL_SESSION *session;

		ends_port = BY_LIST;
		session = first_session("of-root", versions[v]);
		if (!resumes_once(session, "of-root", versions[v]))
			abort();
		SSL_SESSION_free(session);
	}
	for (size_t i = 0; i < sizeof(soon) / sizeof(soon[0]); i++) {
		ends_port = (unsigned short)soon[i].port;
		SSL_SESSION_free(first_session(soon[i].client, TLS1_3_VERSION));
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, before_each, after_each)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_session_ends_with_what_its_client_was_verified_by),
		TEST(an_unverified_client_is_resumed_for_a_day),
		TEST(a_full_handshake_begins_anew),
		TEST(a_session_ends_a_day_after_its_full_handshake),
		TEST(the_day_is_a_setting),
		TEST(a_ticket_is_good_for_two_hours),
		TEST(setting_the_clock_makes_no_session_younger),
		TEST(a_session_from_the_future_is_none),
		TEST(a_session_without_its_record_is_none),
		TEST(a_session_is_resumed_under_its_own_name),
		TEST(keys_change_by_a_clock_that_nobody_sets),
		TEST(a_key_is_wiped_on_a_quiet_server),
		TEST(zeros_are_no_key),
		TEST(tickets_outlive_the_change_of_their_key),
		cmocka_unit_test(files_from_the_future_are_loaded_once), /* last: what it loads has its own blocks */
	};

	if (bench_prepare() != 0)
		return 1;
	make_certificates();
	if (bench_start(domains) != 0) {
		fputs(fake_host_log(), stderr);
		return 1;
	}
	usual = *fake_host_options();
	warm_up();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
