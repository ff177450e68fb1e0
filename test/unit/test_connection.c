/* links: BENCH */
/*
 * test_connection.c - one connection from its first byte to its end, in every order that processes and peers
 * may choose
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * Each hook is called by another process than the one before (ends.c), so that all of it shows that it does
 * not matter which.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host/compat.h"
#include "settings/report.h"
#include "settings/table.h"
#include "crypto/openssl/compat.h"
#include "crypto/openssl/types.h"
#include "tls_domain.h"
#include "tls_generation.h"
#include "tls_reload.h"
#include "connection/connection.h"
#include "connection/list.h"
#include "connection/deadline.h"
#include "connection/queue.h"
#include "tls_server.h"
#include "bench.h"
#include "ends.h"
#include "fake_host.h"
#include "fake_memory.h"

static const char domains[] = BENCH_SERVERS
	"server_name = strict.example.org\n"
	"certificate = @/rsa.pem\n"
	"private_key = @/rsa.key\n"
	"ca_list = @/ca.pem\n"
	"verify_certificate = yes\n"
	"require_certificate = yes\n" BENCH_CLIENTS
	"[client:127.0.0.9:1]\n" /* no address of ours: chosen by its id alone */
	"server_id = old\n"
	"method = TLSv1.2\n";

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

static char long_text[16001]; /* one record */
static struct ends e;
static struct tls_options usual; /* as every test finds them */
static long blocks_before;

/* ---- around each test */

static int before_each(void **state)
{
	*fake_host_options() = usual;
	ends_port = ANY;
	ends_server_name = ends_server_id = NULL;
	fake_host_clear();
	blocks_before = bench_blocks();
	return 0;
}

/* Nothing may be left: no block, no byte that waits, no connection. */
static int after_each(void **state)
{
	ends_close(&e);
	assert_int_equal(tls_list_count(), 0);
	assert_int_equal(tls_queue_total(), 0);
	assert_int_equal(bench_blocks(), blocks_before);
	return 0;
}

/* ---- opening */

/* An end that knows nothing of the module, of VERSION alone (0: any). */
static SSL_CTX *other(const char *certificate, int version)
{
	SSL_CTX *ctx = bench_context(certificate);

	SSL_CTX_set_min_proto_version(ctx, version);
	SSL_CTX_set_max_proto_version(ctx, version);
	return ctx;
}

static void open_to_server(const char *certificate, int version)
{
	SSL_CTX *ctx = other(certificate, version);

	assert_true(ends_open(&e, NULL, ctx));
	SSL_CTX_free(ctx);
}

static void open_to_client(int version)
{
	SSL_CTX *ctx = other("server", version);

	assert_true(ends_open(&e, ctx, NULL));
	SSL_CTX_free(ctx);
}

static bool logged(const char *text)
{
	return strstr(fake_host_log(), text) != NULL;
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

/* ---- handshakes */

static void the_module_talks_to_itself(void **state)
{
	for (int port = ANY; port <= NAMES; port++) {
		ends_port = (unsigned short)port;
		assert_true(ends_open(&e, NULL, NULL));
		assert_true(ends_shake(&e, "question"));
		assert_true(ends_got(&e.server, "question"));
		assert_true(ends_say(&e.server, "answer"));
		ends_run(&e);
		assert_true(ends_got(&e.client, "answer"));
		ends_close(&e);
	}
}

static void the_module_talks_to_others(void **state)
{
	for (int i = 0; i < 2; i++) {
		open_to_server(NULL, versions[i]);
		assert_true(ends_shake(&e, NULL));
		both_talk();
		ends_close(&e);
		open_to_client(versions[i]);
		assert_true(ends_shake(&e, "first"));
		assert_true(ends_got(&e.server, "first"));
		both_talk();
		ends_close(&e);
	}
}

static void one_byte_at_a_time(void **state)
{
	for (int i = 0; i < 2; i++) {
		open_to_server(NULL, versions[i]);
		e.server.piece = e.client.piece = 1;
		assert_true(ends_shake(&e, NULL));
		both_talk();
		ends_close(&e);
		open_to_client(versions[i]);
		e.server.piece = e.client.piece = 1;
		assert_true(ends_shake(&e, "first"));
		assert_true(ends_got(&e.server, "first"));
		both_talk();
		ends_close(&e);
	}
}

/* Notes which key the server's process has used; another process must not have used it. */
static void note_key(EVP_PKEY *keys[FAKE_HOST_PROCESSES])
{
	EVP_PKEY *key = SSL_get_privatekey(ssl_of(ends_tls(&e.server)->ssl));

	assert_true(keys[process_no] == NULL || keys[process_no] == key);
	keys[process_no] = key;
	for (int i = 0; i < FAKE_HOST_PROCESSES; i++)
		assert_true(i == process_no || keys[i] != key);
}

/*
 * The key that ends an RSA key exchange is wanted in another process than the one that sent the certificate.
 */
static void a_process_signs_and_decrypts_with_a_key_of_its_own(void **state)
{
	EVP_PKEY *keys[FAKE_HOST_PROCESSES] = {NULL};

	ends_port = RSA_EXCHANGE;
	for (int i = 0; i < 2 * FAKE_HOST_PROCESSES; i++) {
		open_to_server(NULL, TLS1_2_VERSION);
		e.server.piece = i % 2 == 0 ? 100 : 0;
		while (ends_run_some(&e, 1) > 0)
			if (e.to_client.used > 0 && !ends_established(&e.server))
				note_key(keys);
		assert_string_equal(SSL_get_cipher_name(e.client.ssl), "AES128-GCM-SHA256");
		both_talk();
		ends_close(&e);
	}
}

/* The same when they negotiate again; what is sent meanwhile waits for the end of it. */
static void a_renegotiation_has_keys_of_its_own(void **state)
{
	EVP_PKEY *keys[FAKE_HOST_PROCESSES] = {NULL};

	ends_port = RSA_EXCHANGE;
	for (int i = 0; i < 2 * FAKE_HOST_PROCESSES; i++) {
		SSL *ssl;
		bool within;

		open_to_server(NULL, TLS1_2_VERSION);
		assert_true(ends_shake(&e, NULL));
		ssl = ssl_of(ends_tls(&e.server)->ssl);
		SSL_clear_options(ssl, SSL_OP_NO_RENEGOTIATION);
		SSL_set_options(ssl, SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
		e.server.piece = i % 2 == 0 ? 100 : 0;
		assert_int_equal(SSL_renegotiate(e.client.ssl), 1);
		ends_say(&e.client, "");
		for (bool said = false; ends_step(&e.client) || e.to_server.taken < e.to_server.used;) {
			within = SSL_in_init(ssl);
			if (!ends_step(&e.server))
				continue;
			if (within || SSL_in_init(ssl))
				note_key(keys);
			if (SSL_in_init(ssl) && !said)
				assert_true(said = ends_say(&e.server, "meanwhile"));
		}
		assert_true(ends_got(&e.client, "meanwhile"));
		assert_int_equal(SSL_total_renegotiations(e.client.ssl), 1);
		both_talk();
		ends_close(&e);
	}
}

/* Begins a renegotiation with a server of the module's that allows it, and stops in the middle. */
static void stop_in_a_renegotiation(void)
{
	SSL *ssl;

	open_to_server(NULL, TLS1_2_VERSION);
	assert_true(ends_shake(&e, NULL));
	ssl = ssl_of(ends_tls(&e.server)->ssl);
	SSL_clear_options(ssl, SSL_OP_NO_RENEGOTIATION);
	SSL_set_options(ssl, SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
	assert_int_equal(SSL_renegotiate(e.client.ssl), 1);
	ends_say(&e.client, "");
	assert_true(ends_step(&e.server) && SSL_in_init(ssl));
}

/* What waits for its end waits no longer than for a first handshake, whatever else the peer says. */
static void a_renegotiation_has_a_deadline(void **state)
{
	for (int sweeps = 0; sweeps < 2; sweeps++) {
		fake_host_options()->handshake_timeout = 30;
		stop_in_a_renegotiation();
		assert_true(ends_say(&e.server, "waits"));
		assert_int_equal(tls_queue_total(), 5);
		fake_host_pass(29);
		tls_deadline_sweep(0, NULL);
		assert_false(e.server.told_to_close);
		fake_host_pass(1);
		if (sweeps)
			tls_deadline_sweep(0, NULL);
		else
			ends_run(&e);
		assert_int_equal(e.server.told_to_close, sweeps);
		assert_int_equal(e.server.failed, !sweeps);
		assert_true(logged("not finished within 30 s (handshake_timeout)"));
		ends_close(&e);
		assert_int_equal(tls_queue_total(), 0);
		fake_host_clear();
	}
	stop_in_a_renegotiation();
	ends_run(&e);
	fake_host_pass(1000);
	both_talk(); /* one that is over has none */
}

static void what_comes_with_finished_is_not_lost(void **state)
{
	for (size_t piece = 0; piece < 3; piece++) {
		open_to_server(NULL, TLS1_3_VERSION);
		e.server.piece = piece * 7;
		while (!ends_established(&e.client))
			assert_int_equal(ends_run_some(&e, 1), 1);
		assert_false(ends_established(&e.server));
		assert_true(ends_say(&e.client, "with Finished"));
		ends_run(&e);
		assert_true(ends_got(&e.server, "with Finished"));
		both_talk();
		ends_close(&e);
	}
}

static void what_waits_goes_with_finished_in_its_order(void **state)
{
	open_to_client(TLS1_3_VERSION);
	assert_true(ends_say(&e.client, "one "));
	assert_true(ends_say(&e.client, "two "));
	assert_true(ends_say(&e.client, "three"));
	assert_int_equal(tls_queue_total(), 13);
	ends_run(&e);
	assert_true(ends_got(&e.server, "one two three"));
	assert_int_equal(tls_queue_total(), 0);
}

static void not_tls(void **state)
{
	static const char said[][40] = {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS sip:a SIP/2.0\r\n\r\n",
	                                "\x16\x03\x01\x40\x01", "\x15\x03\x01\x00\x02\x02\x28", "\x80\x2e\x01"};

	for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
		open_to_server(NULL, 0);
		wire_put(&e.to_server, said[i], sizeof(said[i]));
		e.to_server.closed = true;
		ends_step(&e.server);
		if (!e.server.failed)
			ends_step(&e.server);
		assert_true(e.server.failed || e.server.ended);
		assert_true(logged("TLS handshake failed: peer 127.0.0.1:40000"));
		assert_int_equal(e.server.message_size, 0);
		ends_close(&e);
		fake_host_clear();
	}
}

static void a_break_at_any_step_leaves_nothing(void **state)
{
	for (int steps = 0; steps < 12; steps++) {
		assert_true(ends_open(&e, NULL, NULL));
		assert_true(ends_say(&e.client, "question"));
		ends_run_some(&e, steps);
		e.to_server.broken = e.to_client.broken = true;
		ends_run(&e);
		assert_true(e.client.failed && e.server.failed);
		ends_close(&e);
		assert_int_equal(bench_blocks(), blocks_before);
	}
}

static void an_end_at_any_byte_leaves_nothing(void **state)
{
	size_t whole = SIZE_MAX;

	for (size_t cut = 0; cut < whole; cut += 1 + cut / 20) {
		open_to_server(NULL, cut % 2 == 0 ? TLS1_3_VERSION : TLS1_2_VERSION);
		e.server.told_early = cut % 3 == 0;
		ends_run(&e);
		whole = e.to_server.used;
		ends_close(&e);
		open_to_server(NULL, cut % 2 == 0 ? TLS1_3_VERSION : TLS1_2_VERSION);
		while (ends_run_some(&e, 1) > 0 && e.to_server.used < cut)
			;
		if (e.to_server.used > cut)
			e.to_server.used = cut;
		e.to_server.closed = true;
		ends_run(&e);
		assert_true(e.server.ended || e.server.failed);
		ends_close(&e);
	}
}

/* ---- certificates and domains */

static bool peer_is_verified(struct end *end)
{
	struct tls_facts f;

	tls_ssl_facts(ends_tls(end)->ssl, &f);
	return f.has_peer_certificate && f.verify == TLS_VERIFY_GOOD;
}

static void a_client_shows_its_certificate(void **state)
{
	ends_port = CERTIFICATE_REQUIRED;
	for (int i = 0; i < 2; i++) {
		open_to_server("client", versions[i]);
		assert_true(ends_shake(&e, NULL));
		assert_true(peer_is_verified(&e.server));
		both_talk();
		ends_close(&e);
		open_to_server(NULL, versions[i]);
		ends_run(&e);
		assert_true(e.server.failed);
		assert_true(logged("peer did not return a certificate"));
		ends_close(&e);
		open_to_server("stranger", versions[i]);
		ends_run(&e);
		assert_true(e.server.failed);
		assert_true(logged("self-signed certificate"));
		ends_close(&e);
	}
}

static void the_stricter_domain_of_a_name_counts(void **state)
{
	ends_port = NAMES;
	open_to_server(NULL, 0);
	assert_true(ends_shake(&e, NULL));
	ends_close(&e);
	open_to_server(NULL, 0);
	SSL_set_tlsext_host_name(e.client.ssl, "STRICT.example.org");
	ends_run(&e);
	assert_true(e.server.failed);
	ends_close(&e);
	open_to_server("client", 0);
	SSL_set_tlsext_host_name(e.client.ssl, "strict.example.org");
	assert_true(ends_shake(&e, NULL));
	assert_true(peer_is_verified(&e.server));
}

static void a_server_that_is_not_trusted_is_refused(void **state)
{
	SSL_CTX *ctx = other("stranger", 0);

	assert_true(ends_open(&e, ctx, NULL));
	SSL_CTX_free(ctx);
	assert_false(ends_shake(&e, "question"));
	assert_true(e.client.failed);
	assert_true(logged("self-signed certificate"));
	assert_int_equal(e.server.message_size, 0);
}

static void the_script_chooses_name_and_profile(void **state)
{
	ends_server_name = "chosen.example.org";
	ends_server_id = "old";
	open_to_client(0);
	assert_true(ends_shake(&e, "question"));
	assert_string_equal(SSL_get_servername(e.server.ssl, TLSEXT_NAMETYPE_host_name), "chosen.example.org");
	assert_int_equal(SSL_version(e.server.ssl), TLS1_2_VERSION);
}

/* ---- resumption */

/* Ends the connection of E and returns its session as the client has it. */
static SSL_SESSION *take_session(void)
{
	SSL_SESSION *session = SSL_get1_session(e.client.ssl);

	ends_close(&e);
	return session;
}

static SSL_SESSION *first_session(int version)
{
	open_to_server(NULL, version);
	assert_true(ends_shake(&e, NULL));
	both_talk();
	return take_session();
}

/* Connects with SESSION, which is freed. Returns whether it was resumed. */
static bool resumes(SSL_SESSION *session, int version)
{
	bool resumed;

	open_to_server(NULL, version);
	SSL_set_session(e.client.ssl, session);
	SSL_SESSION_free(session);
	assert_true(ends_shake(&e, NULL));
	both_talk();
	resumed = SSL_session_reused(e.client.ssl) == 1;
	assert_int_equal(resumed, SSL_session_reused(ssl_of(ends_tls(&e.server)->ssl)));
	return resumed;
}

static void sessions_are_resumed(void **state)
{
	for (int i = 0; i < 2; i++) {
		assert_true(resumes(first_session(versions[i]), versions[i]));
		assert_true(resumes(take_session(), versions[i]));
		ends_close(&e);
	}
}

/* ---- reading */

static void many_records_in_one_read(void **state)
{
	open_to_server(NULL, 0);
	assert_true(ends_shake(&e, NULL));
	for (int i = 0; i < 500; i++)
		assert_true(ends_say(&e.client, "a record of its own "));
	assert_true(ends_step(&e.server));
	assert_int_equal(e.server.message_size, 500 * 20);
}

static void a_full_buffer_is_read_again(void **state)
{
	static char bytes[100000];

	for (int closes = 0; closes < 3; closes++) {
		open_to_server(NULL, 0);
		e.server.c.req.b_size = 1000;
		e.server.told_early = closes == 2;
		assert_true(ends_shake(&e, NULL));
		assert_true(ends_send(&e.client, bytes, sizeof(bytes)));
		if (closes > 0)
			ends_finish(&e.client);
		ends_run(&e);
		assert_int_equal(e.server.message_size, sizeof(bytes));
		assert_int_equal(e.server.ended, closes > 0);
		assert_false(e.server.failed);
		ends_close(&e);
	}
}

static void the_end_is_told_behind_the_data(void **state)
{
	for (int how = 0; how < 8; how++) {
		open_to_server(NULL, how & 4 ? TLS1_2_VERSION : TLS1_3_VERSION);
		e.server.told_early = (how & 1) != 0;
		e.server.c.req.b_size = 10;
		assert_true(ends_shake(&e, NULL));
		assert_true(ends_say(&e.client, "the very last words of this peer"));
		if ((how & 2) != 0)
			ends_finish(&e.client);
		e.to_server.closed = true; /* without close_notify when it has not finished */
		ends_run(&e);
		assert_true(ends_got(&e.server, "the very last words of this peer"));
		assert_true(e.server.ended);
		ends_close(&e);
	}
}

static void a_message_larger_than_the_buffer(void **state)
{
	static char bytes[3000];

	open_to_server(NULL, 0);
	e.server.c.req.b_size = 1000;
	assert_true(ends_shake(&e, NULL));
	e.server.keeps = true;
	assert_true(ends_send(&e.client, bytes, sizeof(bytes)));
	ends_run(&e);
	assert_true(e.server.failed);
	assert_int_equal(e.server.c.req.error, TCP_REQ_OVERRUN);
	assert_true(logged("tcp_rd_buf_size"));
}

static void large_messages_both_ways(void **state)
{
	static char bytes[300000];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * 7 + i / 1000);
	for (int i = 0; i < 2; i++) {
		open_to_server(NULL, versions[i]);
		e.server.piece = 1000;
		assert_true(ends_shake(&e, NULL));
		assert_true(ends_send(&e.server, bytes, sizeof(bytes)));
		assert_true(ends_send(&e.client, bytes, sizeof(bytes)));
		ends_run(&e);
		assert_int_equal(e.client.message_size, sizeof(bytes));
		assert_memory_equal(e.client.message, bytes, sizeof(bytes));
		assert_int_equal(e.server.message_size, sizeof(bytes));
		assert_memory_equal(e.server.message, bytes, sizeof(bytes));
		ends_close(&e);
	}
}

static void key_updates_and_renegotiation(void **state)
{
	open_to_server(NULL, TLS1_3_VERSION);
	assert_true(ends_shake(&e, NULL));
	for (int i = 0; i < 20; i++) {
		assert_int_equal(SSL_key_update(e.client.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
		both_talk();
	}
	ends_close(&e);
	open_to_server(NULL, TLS1_2_VERSION);
	assert_true(ends_shake(&e, NULL));
	both_talk();
	assert_int_equal(SSL_renegotiate(e.client.ssl), 1);
	ends_say(&e.client, "again");
	ends_run(&e);
	assert_true(e.client.failed);
	assert_int_equal(ERR_GET_REASON(e.client.error), SSL_R_NO_RENEGOTIATION);
}

/* ---- turns */

/* So much of what TEXT is, in records of their own. */
static void say_often(const char *text, int count)
{
	for (int i = 0; i < count; i++)
		assert_true(ends_say(&e.client, text));
}

static void open_with_buffer(unsigned size)
{
	open_to_server(NULL, TLS1_3_VERSION);
	e.server.c.req.b_size = size;
	assert_true(ends_shake(&e, NULL));
}

/* What a peer sends without pause comes in pieces, and none of it is lost. */
static void a_turn_takes_what_a_plain_one_does(void **state)
{
	static const struct {
		const char *text;
		int count;
	} floods[] = {{"a message in a record", 3000}, {long_text, 10}};
	size_t sum, most, turns = 0;

	for (size_t i = 0; i < sizeof(floods) / sizeof(floods[0]); i++) {
		open_with_buffer(4000);
		say_often(floods[i].text, floods[i].count);
		for (sum = turns = 0, most = 4000; ends_step(&e.server); most = 1000) {
			if (e.to_server.taken < e.to_server.used)
				assert_true(e.server.message_size <= most);
			sum += ends_forget(&e.server);
			turns++;
		}
		assert_true(turns > 20);
		assert_int_equal(sum, strlen(floods[i].text) * (size_t)floods[i].count);
		ends_close(&e);
	}
}

/* No event tells of what is inside OpenSSL, or here, when the socket is empty. */
static void what_no_event_tells_of_is_not_left(void **state)
{
	open_with_buffer(1000);
	assert_true(ends_say(&e.client, long_text));
	for (int steps = 0; e.to_server.taken < e.to_server.used; steps++)
		assert_true(ends_step(&e.server) && steps < 100);
	assert_true(ends_got(&e.server, long_text));
	assert_false(SSL_has_pending(ssl_of(ends_tls(&e.server)->ssl)));
	ends_close(&e);
	open_with_buffer(1000);
	e.server.piece = 200; /* in one call and the next */
	say_often("a message in a record", 5);
	assert_true(ends_step(&e.server));
	assert_true(ends_forget(&e.server) > 0);
}

/* A host that hears of each event only once must read all. */
static void a_host_that_is_told_once_reads_all(void **state)
{
	for (int i = 0; i < 2; i++) {
		tcp_poll_method = i == 0 ? POLL_EPOLL_ET : POLL_SIGIO_RT;
		open_with_buffer(1000);
		say_often("a message in a record", 3000);
		assert_true(ends_say(&e.client, long_text));
		assert_true(ends_step(&e.server));
		assert_int_equal(e.to_server.taken, e.to_server.used);
		assert_int_equal(ends_forget(&e.server), 3000 * strlen("a message in a record") + strlen(long_text));
		ends_close(&e);
	}
	tcp_poll_method = POLL_EPOLL_LT;
}

/* The host reads again for each frame of a WebSocket: all of that is one turn. */
static void frames_are_one_turn(void **state)
{
	rd_conn_flags_t flags = 0;
	int sum = 0;

	open_with_buffer(4000);
	e.server.c.type = PROTO_WSS;
	say_often("a message in a record", 3000);
	for (int i = 0; i < 1000; i++) {
		int got = tls_server_read(&e.server.c, &flags);

		assert_true(got >= 0);
		e.server.c.req.pos -= got;
		sum += got;
	}
	assert_true(sum <= 4000);
	e.server.c.req.pos = e.server.c.req.buf;
}

static void change_key(int times)
{
	for (int i = 0; i < times; i++) {
		assert_int_equal(SSL_key_update(e.client.ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
		assert_int_equal(SSL_do_handshake(e.client.ssl), 1);
		ends_send(&e.client, "", 0);
	}
}

static void records_without_data_count(void **state)
{
	int turns = 0;

	open_with_buffer(16000);
	change_key(800);
	assert_true(ends_say(&e.client, "data"));
	while (ends_step(&e.server))
		turns++;
	assert_true(ends_got(&e.server, "data"));
	assert_true(turns > 800 * 256 / 16000);
}

/* ---- the end of a connection */

/* The peer may still be answered when it has said that it will say no more. */
static void a_peers_close_notify_is_answered(void **state)
{
	for (int i = 0; i < 2; i++) {
		open_to_server(NULL, versions[i]);
		assert_true(ends_shake(&e, NULL));
		assert_true(ends_say(&e.client, "question"));
		SSL_shutdown(e.client.ssl);
		ends_finish(&e.client);
		e.to_server.closed = false;
		ends_step(&e.server);
		assert_true(ends_got(&e.server, "question"));
		assert_true(e.server.ended);
		assert_true(ends_say(&e.server, "answer"));
		ends_hang_up(&e.server);
		e.to_client.closed = false;
		ends_step(&e.client);
		assert_true(ends_got(&e.client, "answer"));
		assert_int_equal(SSL_get_shutdown(e.client.ssl), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
		ends_close(&e);
	}
}

static void our_close_notify_is_a_setting(void **state)
{
	for (int setting = 0; setting < 2; setting++) {
		fake_host_options()->send_close_notify = setting;
		open_to_server(NULL, 0);
		assert_true(ends_shake(&e, NULL));
		both_talk();
		ends_hang_up(&e.server);
		ends_run(&e);
		assert_int_equal((SSL_get_shutdown(e.client.ssl) & SSL_RECEIVED_SHUTDOWN) != 0, setting);
		ends_close(&e);
	}
}

static void a_connection_is_closed_behind_what_waits(void **state)
{
	open_to_client(0);
	assert_true(ends_send_last(&e.client, "the only message", 16));
	assert_false(e.client.sent_last);
	ends_run(&e);
	assert_true(ends_got(&e.server, "the only message"));
	assert_true(e.client.sent_last);
}

static void nothing_is_sent_after_a_failure(void **state)
{
	open_to_server(NULL, 0);
	assert_true(ends_shake(&e, NULL));
	wire_put(&e.to_server, "\x17\x03\x03\x00\x20 this is nothing that a peer sends", 40);
	ends_run(&e);
	assert_true(e.server.failed);
	assert_false(ends_say(&e.server, "answer"));
	assert_true(ERR_GET_REASON(e.client.error) == SSL_R_SSLV3_ALERT_BAD_RECORD_MAC);
}

/* ---- refused behind our Finished */

/* An outgoing connection, up to our Finished, to a server that does not know our certificate's authority. */
static void open_to_demanding(int version)
{
	SSL_CTX *ctx = other("server", version);

	SSL_CTX_set_cert_store(ctx, X509_STORE_new());
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	assert_true(ends_open(&e, ctx, NULL));
	SSL_CTX_free(ctx);
	assert_true(ends_say(&e.client, "question"));
	while (!ends_established(&e.client) && ends_run_some(&e, 1) == 1)
		;
}

static long broken(void)
{
	return fake_host_counter("connections_broken");
}

static void a_refusal_behind_our_finished(void **state)
{
	long failed = fake_host_counter("failed_own_certificate"), before = broken();

	open_to_demanding(TLS1_3_VERSION);
	assert_true(ends_established(&e.client));
	ends_run(&e);
	assert_true(e.client.failed);
	assert_true(logged("TLS handshake failed") && logged("unknown ca"));
	assert_false(logged("TLS reading failed"));
	assert_int_equal(fake_host_counter("failed_own_certificate"), failed + 1);
	assert_int_equal(broken(), before);
}

static void an_end_behind_our_finished(void **state)
{
	static const char *const lines[] = {"closed the connection before it had answered",
	                                    "broke before the peer had answered"};
	long failed, before = broken();

	for (int i = 0; i < 2; i++) {
		failed = fake_host_counter("failed_peer_closed");
		open_to_demanding(TLS1_3_VERSION);
		assert_true(ends_established(&e.client));
		e.to_client.closed = i == 0;
		e.to_client.broken = i == 1;
		ends_step(&e.client);
		assert_true(logged("TLS handshake failed") && logged(lines[i]));
		assert_int_equal(fake_host_counter("failed_peer_closed"), failed + 1);
		ends_close(&e);
		fake_host_clear();
	}
	assert_int_equal(broken(), before);
}

/* Once the peer has taken it, by a ticket or an answer, its end is an end like others. */
static void an_end_behind_an_answer(void **state)
{
	long before = broken();

	for (int i = 0; i < 4; i++) {
		open_to_client(versions[i / 2]);
		assert_true(ends_shake(&e, "question"));
		ends_forget(&e.server);
		if (i % 2 == 0)
			both_talk();
		e.to_client.closed = true;
		ends_run(&e);
		assert_false(logged("failed"));
		ends_close(&e);
		open_to_client(versions[i / 2]);
		assert_true(ends_shake(&e, "question"));
		e.to_client.broken = true;
		ends_step(&e.client);
		assert_int_equal(broken(), ++before);
		assert_false(logged("TLS handshake failed"));
		ends_close(&e);
	}
}

/* ---- limits */

static void what_waits_is_limited(void **state)
{
	fake_host_options()->con_ct_wq_max = 100;
	fake_host_options()->ct_wq_max = 1000;
	open_to_client(0);
	assert_true(ends_send(&e.client, domains, 400)); /* the first may be larger */
	assert_false(ends_send(&e.client, domains, 1));
	assert_true(logged("con_ct_wq_max 100"));
	ends_close(&e);
	open_to_client(0);
	assert_true(ends_send(&e.client, domains, 60));
	assert_true(ends_send(&e.client, domains, 40));
	assert_false(ends_send(&e.client, domains, 1));
	ends_close(&e);
	open_to_client(0);
	fake_host_options()->ct_wq_max = 50;
	assert_false(ends_send(&e.client, domains, 60));
	ends_close(&e);
}

static void a_handshake_has_a_deadline(void **state)
{
	for (int sweeps = 0; sweeps < 2; sweeps++) {
		fake_host_options()->handshake_timeout = 30;
		open_to_server(NULL, 0);
		e.server.piece = 1;
		ends_run_some(&e, 10);
		fake_host_pass(29);
		tls_deadline_sweep(0, NULL);
		assert_false(e.server.told_to_close);
		ends_run_some(&e, 10);
		assert_false(e.server.failed);
		fake_host_pass(1);
		if (sweeps)
			tls_deadline_sweep(0, NULL);
		else
			ends_run(&e);
		assert_int_equal(e.server.told_to_close, sweeps);
		assert_int_equal(e.server.failed, !sweeps);
		assert_true(logged("not finished within 30 s (handshake_timeout)"));
		ends_close(&e);
		fake_host_clear();
	}
}

static void a_message_has_a_deadline(void **state)
{
	open_to_server(NULL, 0);
	assert_true(ends_shake(&e, NULL));
	fake_host_pass(1000);
	both_talk(); /* the handshake's is over */
	e.server.keeps = true;
	for (int i = 0; i < 700 && !e.server.failed; i++) {
		assert_true(ends_say(&e.client, "x"));
		ends_run(&e);
		fake_host_pass(1);
	}
	assert_true(e.server.failed);
	assert_true(logged("TLS reading failed") && logged("connection_timeout"));
}

static void a_peer_that_takes_nothing_is_closed(void **state)
{
	struct tcp_wbuffer unsent = {0};

	open_to_server(NULL, 0);
	assert_true(ends_shake(&e, NULL));
	both_talk();
	e.server.c.wbuf_q.first = &unsent;
	e.server.c.wbuf_q.wr_timeout = get_ticks_raw() + cfg_get(tcp, tcp_cfg, send_timeout);
	fake_host_pass(fake_host_options()->send_timeout - 1);
	tls_deadline_sweep(0, NULL);
	assert_false(e.server.told_to_close);
	fake_host_pass(1);
	tls_deadline_sweep(0, NULL);
	assert_true(e.server.told_to_close);
	assert_true(logged("send_timeout"));
}

static void little_memory_refuses_new_connections_only(void **state)
{
	struct ends second;

	fake_host_options()->low_mem_threshold1 = 1000;
	fake_host_options()->low_mem_threshold2 = 500;
	open_to_server(NULL, 0);
	assert_true(ends_shake(&e, NULL));
	fake_memory_pretend_left(999 * 1024);
	for (int i = 0; i < 10; i++)
		assert_false(ends_open(&second, NULL, NULL));
	assert_true(logged("low_mem_threshold1 1000"));
	assert_ptr_equal(strchr(fake_host_log(), '\n') + 1, fake_host_log() + strlen(fake_host_log()));
	both_talk();
	fake_memory_pretend_left(0);
	ends_close(&e);
	open_to_server(NULL, 0);
	fake_memory_pretend_left(499 * 1024);
	ends_run(&e);
	assert_true(e.server.failed);
	fake_memory_pretend_left(0);
}

/* ---- who else handles connections */

static void secure_websocket(void **state)
{
	struct tls_connection *held;

	open_to_server(NULL, 0);
	assert_true(ends_shake(&e, NULL));
	e.server.c.type = PROTO_WSS;
	both_talk();
	held = tls_list_hold(e.server.c.id);
	assert_ptr_equal(held, ends_tls(&e.server));
	tls_list_release(held);
	assert_int_equal(tls_list_kill(e.server.c.id), 0);
	assert_true(e.server.told_to_close);
}

static void only_tls_connections_are_held(void **state)
{
	open_to_server(NULL, 0);
	assert_null(tls_list_hold(0));
	assert_null(tls_list_hold(12345678));
	e.server.c.type = PROTO_TCP;
	assert_null(tls_list_hold(e.server.c.id));
	assert_int_equal(tls_list_kill(e.server.c.id), -1);
	assert_int_equal(atomic_get(&e.server.c.refcnt), 1);
	e.server.c.type = PROTO_TLS;
}

/* ---- reloads */

/* Returns the new number, -1 when it fails. */
static int reload(const char *config)
{
	struct tls_report r;
	int number;

	bench_write("tls.cfg", config);
	tls_report_init(&r);
	number = tls_reload_run(&r);
	tls_report_clear(&r);
	return number;
}

/* The subject of the certificate that the client of X has seen. */
static bool saw(struct ends *x, const char *name)
{
	X509 *certificate = SSL_get0_peer_certificate(x->client.ssl);
	char text[64] = "";

	if (certificate != NULL)
		X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, text, sizeof(text));
	return strcmp(text, name) == 0;
}

static int number_of(struct ends *x)
{
	return tls_generation_number(ends_tls(&x->server)->generation);
}

/*
 * One that has begun its handshake goes on as it began, one that has only been accepted begins with the new
 * configuration.
 */
static void a_connection_keeps_its_configuration(void **state)
{
	static const char with_rsa[] =
		"[server:default]\ncertificate = @/rsa.pem\nprivate_key = @/rsa.key\n[client:default]\n";
	static struct ends silent;
	SSL_CTX *ctx = other(NULL, 0);
	int number;

	open_to_server(NULL, 0);
	e.server.piece = 1;
	ends_run_some(&e, 10);
	assert_true(ends_open(&silent, NULL, ctx));
	number = number_of(&e);
	assert_int_equal(reload(with_rsa), number + 1);
	assert_int_equal(reload(domains), number + 2);
	assert_int_equal(reload(with_rsa), number + 3);
	ends_run(&silent);
	assert_true(saw(&silent, "rsa"));
	assert_int_equal(number_of(&silent), number + 3);
	ends_run(&e);
	assert_true(ends_established(&e.server) && saw(&e, "server"));
	assert_int_equal(number_of(&e), number);
	both_talk();
	ends_close(&silent);
	assert_int_equal(reload(domains), number + 4);
	SSL_CTX_free(ctx);
}

static void a_failed_reload_changes_nothing(void **state)
{
	assert_int_equal(reload("[server:default]\ncertificate = @/none.pem\n[client:default]\n"), -1);
	assert_int_equal(bench_blocks(), blocks_before);
	assert_int_equal(reload("[server:default]\ncertificate = @/rsa.pem\nprivate_key = @/server.key\n"), -1);
	assert_int_equal(reload("what is this\n"), -1);
	assert_int_equal(bench_blocks(), blocks_before);
	open_to_server(NULL, 0);
	assert_true(ends_shake(&e, NULL));
	assert_true(saw(&e, "server"));
}

/*
 * Every process makes its copy of the RSA key, and keeps it; a ticket's algorithms are looked up when the
 * first one comes back.
 */
static void warm_up(void)
{
	if (!resumes(first_session(TLS1_3_VERSION), TLS1_3_VERSION))
		abort();
	ends_close(&e);
	ends_port = RSA_EXCHANGE;
	for (int i = 0; i < 2 * FAKE_HOST_PROCESSES; i++) {
		if (!ends_open(&e, NULL, NULL) || !ends_shake(&e, "question"))
			abort();
		if (i % 2 == 0)
			fake_host_change_process();
		ends_close(&e);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, before_each, after_each)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_module_talks_to_itself),
		TEST(the_module_talks_to_others),
		TEST(one_byte_at_a_time),
		TEST(a_process_signs_and_decrypts_with_a_key_of_its_own),
		TEST(a_renegotiation_has_keys_of_its_own),
		TEST(a_renegotiation_has_a_deadline),
		TEST(what_comes_with_finished_is_not_lost),
		TEST(what_waits_goes_with_finished_in_its_order),
		TEST(not_tls),
		TEST(a_break_at_any_step_leaves_nothing),
		TEST(an_end_at_any_byte_leaves_nothing),
		TEST(a_client_shows_its_certificate),
		TEST(the_stricter_domain_of_a_name_counts),
		TEST(a_server_that_is_not_trusted_is_refused),
		TEST(the_script_chooses_name_and_profile),
		TEST(sessions_are_resumed),
		TEST(many_records_in_one_read),
		TEST(a_full_buffer_is_read_again),
		TEST(the_end_is_told_behind_the_data),
		TEST(a_message_larger_than_the_buffer),
		TEST(large_messages_both_ways),
		TEST(key_updates_and_renegotiation),
		TEST(a_turn_takes_what_a_plain_one_does),
		TEST(what_no_event_tells_of_is_not_left),
		TEST(a_host_that_is_told_once_reads_all),
		TEST(frames_are_one_turn),
		TEST(records_without_data_count),
		TEST(a_peers_close_notify_is_answered),
		TEST(our_close_notify_is_a_setting),
		TEST(a_connection_is_closed_behind_what_waits),
		TEST(nothing_is_sent_after_a_failure),
		TEST(a_refusal_behind_our_finished),
		TEST(an_end_behind_our_finished),
		TEST(an_end_behind_an_answer),
		TEST(what_waits_is_limited),
		TEST(a_handshake_has_a_deadline),
		TEST(a_message_has_a_deadline),
		TEST(a_peer_that_takes_nothing_is_closed),
		TEST(little_memory_refuses_new_connections_only),
		TEST(secure_websocket),
		TEST(only_tls_connections_are_held),
		TEST(a_connection_keeps_its_configuration),
		TEST(a_failed_reload_changes_nothing),
	};

	if (bench_prepare() != 0 || bench_start(domains) != 0) {
		fputs(fake_host_log(), stderr);
		return 1;
	}
	usual = *fake_host_options();
	memset(long_text, 'x', sizeof(long_text) - 1);
	warm_up();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
