/* links: crypto/openssl/compress.c crypto/openssl/pair.c host/child.c test/unit/fake_host.c -Wl,--wrap=COMP_get_name -Wl,--wrap=COMP_expand_block -Wl,--wrap=alarm */
/*
 * test_compress.c - the compression method: its proof, its cost, and peers that send what they should not
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
#include <zlib.h>

#include <cmocka.h>

#include "tls_mem.h"
#include "settings/table.h"
#include "crypto/openssl/compat.h"
#include "crypto/crypto.h"
#include "crypto/openssl/compress.h"
#include "fake_host.h"

#define RECORD SSL3_RT_MAX_PLAIN_LENGTH

static unsigned char block[RECORD], answer[RECORD];

/* ---- the shared world: counts, and fails when it is told to */

static long blocks, bytes, most_bytes;
static int fail_after = -1;

void *tls_mem_shared_alloc(size_t size)
{
	size_t *p = fail_after == 0 ? NULL : calloc(1, size + 16);

	if (fail_after > 0)
		fail_after--;
	if (p == NULL)
		return NULL;
	*p = size;
	blocks++;
	bytes += (long)size;
	if (bytes > most_bytes)
		most_bytes = bytes;
	return (char *)p + 16;
}

void tls_mem_shared_free(void *p)
{
	size_t *begin = (size_t *)((char *)p - 16);

	blocks--;
	bytes -= (long)*begin;
	free(begin);
}

/* A library context as the default one, as in a scope. */
static OSSL_LIB_CTX *shared_context;

int tls_crypto_run_shared(int (*work)(void *arg), void *arg)
{
	OSSL_LIB_CTX *before = OSSL_LIB_CTX_set0_default(shared_context);
	int result = work(arg);

	OSSL_LIB_CTX_set0_default(before);
	return result;
}

/* ---- a library that is not as expected: seen by the proof alone */

static enum {
	LIBRARY_FITS,
	LIBRARY_NAMES_WRONG,
	LIBRARY_CRASHES,
	LIBRARY_HANGS,
	LIBRARY_EXPANDS_WRONG
} library;

const char *__real_COMP_get_name(const COMP_METHOD *method);
int __real_COMP_expand_block(COMP_CTX *ctx, unsigned char *out, int room, unsigned char *in, int size);
unsigned __real_alarm(unsigned seconds);
const char *__wrap_COMP_get_name(const COMP_METHOD *method);
int __wrap_COMP_expand_block(COMP_CTX *ctx, unsigned char *out, int room, unsigned char *in, int size);
unsigned __wrap_alarm(unsigned seconds);

const char *__wrap_COMP_get_name(const COMP_METHOD *method)
{
	return library == LIBRARY_NAMES_WRONG ? "something else" : __real_COMP_get_name(method);
}

int __wrap_COMP_expand_block(COMP_CTX *ctx, unsigned char *out, int room, unsigned char *in, int size)
{
	if (library == LIBRARY_CRASHES)
		raise(SIGSEGV);
	while (library == LIBRARY_HANGS)
		pause();
	return __real_COMP_expand_block(ctx, out, room, in, size) + (library == LIBRARY_EXPANDS_WRONG);
}

/*
 * So that the test of a trial that hangs does not; others have their time, on a machine that stands still,
 * too.
 */
unsigned __wrap_alarm(unsigned seconds)
{
	return __real_alarm(library == LIBRARY_HANGS ? 1 : seconds);
}

/* ---- starting */

static void start(int disable_compression)
{
	fake_host_clear();
	tls_compress_start(!disable_compression);
}

/* Whether contexts made now compress by our method. A library that was built with zlib has one of its own. */
static bool is_registered(void)
{
	STACK_OF(SSL_COMP) *methods = SSL_COMP_get_compression_methods();
	int found = 0;

	for (int i = 0; i < sk_SSL_COMP_num(methods); i++)
		found += strcmp(SSL_COMP_get0_name(sk_SSL_COMP_value(methods, i)), "DEFLATE") == 0;
	assert_true(found == 0 || (found == 1 && sk_SSL_COMP_num(methods) == 1));
	return found == 1;
}

static void test_off(void **state)
{
	(void)state;
	start(1);
	assert_false(tls_compress_offered());
	assert_string_equal(fake_host_log(), "");
	assert_false(is_registered());
}

static void refuses(int how, const char *reason)
{
	library = how;
	start(0);
	library = LIBRARY_FITS;
	assert_false(tls_compress_offered());
	assert_non_null(strstr(fake_host_log(), "tls_disable_compression=0 has no effect"));
	assert_non_null(strstr(fake_host_log(), reason));
	assert_ptr_equal(strchr(fake_host_log(), '\n') + 1, fake_host_log() + strlen(fake_host_log()));
	assert_false(is_registered());
}

static void test_library_that_does_not_fit(void **state)
{
	(void)state;
	refuses(LIBRARY_NAMES_WRONG, "names and numbers");
	refuses(LIBRARY_EXPANDS_WRONG, "does not come back whole");
	refuses(LIBRARY_CRASHES, "crashed or hung");
	refuses(LIBRARY_HANGS, "crashed or hung");
}

static void test_on(void **state)
{
	(void)state;
	start(0);
	assert_true(tls_compress_offered());
	assert_non_null(strstr(fake_host_log(), "CRIME"));
	assert_non_null(strstr(fake_host_log(), "@SECLEVEL=1"));
	assert_true(is_registered());
	OSSL_LIB_CTX_set0_default(shared_context);
	assert_true(is_registered());
	OSSL_LIB_CTX_set0_default(OSSL_LIB_CTX_get0_global_default());
	assert_int_equal(blocks, 0);
}

/* ---- two ends */

struct pair {
	SSL *server, *client;
	STACK_OF(SSL_COMP) *client_methods; /* NULL: the same as the server's */
};

/* A key that both know: certificates have nothing to do with it. */
static unsigned client_key(SSL *ssl, const char *hint, char *identity, unsigned identity_size,
                           unsigned char *key, unsigned size)
{
	(void)ssl;
	(void)hint;
	(void)size;
	snprintf(identity, identity_size, "test");
	memset(key, 7, 32);
	return 32;
}

static unsigned server_key(SSL *ssl, const char *identity, unsigned char *key, unsigned size)
{
	(void)ssl;
	(void)identity;
	(void)size;
	memset(key, 7, 32);
	return 32;
}

static SSL_CTX *new_context(int newest, int level)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_method());
	char ciphers[64];

	snprintf(ciphers, sizeof(ciphers), "PSK-AES128-CBC-SHA256:@SECLEVEL=%d", level);
	assert_int_equal(SSL_CTX_set_cipher_list(ctx, ciphers), 1);
	assert_int_equal(SSL_CTX_set_max_proto_version(ctx, newest), 1);
	SSL_CTX_set_psk_client_callback(ctx, client_key);
	SSL_CTX_set_psk_server_callback(ctx, server_key);
	SSL_CTX_clear_options(ctx, SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	return ctx;
}

/* The library looks methods up in one list for all, so an end with methods of its own needs it exchanged. */
static STACK_OF(SSL_COMP) *exchange(STACK_OF(SSL_COMP) *methods)
{
	return methods != NULL ? SSL_COMP_set0_compression_methods(methods) : NULL;
}

static struct pair open_pair(int newest, int level, STACK_OF(SSL_COMP) *client_methods)
{
	struct pair p = {.client_methods = client_methods};
	SSL_CTX *server = new_context(newest, level), *client;
	STACK_OF(SSL_COMP) *before = exchange(client_methods);
	BIO *left, *right;

	client = new_context(newest, level);
	exchange(before);
	p.server = SSL_new(server);
	p.client = SSL_new(client);
	SSL_CTX_free(server);
	SSL_CTX_free(client);
	assert_int_equal(BIO_new_bio_pair(&left, 64 * 1024, &right, 64 * 1024), 1);
	SSL_set_bio(p.server, left, left);
	SSL_set_bio(p.client, right, right);
	SSL_set_accept_state(p.server);
	SSL_set_connect_state(p.client);
	return p;
}

static bool shake_hands(struct pair *p)
{
	int s = 0, c = 0;

	for (int turn = 0; turn < 10 && (s != 1 || c != 1); turn++) {
		STACK_OF(SSL_COMP) *before = exchange(p->client_methods);

		c = SSL_do_handshake(p->client);
		exchange(before);
		s = SSL_do_handshake(p->server);
	}
	return s == 1 && c == 1;
}

static void close_pair(struct pair *p)
{
	SSL_free(p->server);
	SSL_free(p->client);
	ERR_clear_error();
}

static bool passes(SSL *from, SSL *to, int size)
{
	return SSL_write(from, block, size) == size && SSL_read(to, answer, RECORD) == size &&
	       memcmp(block, answer, (size_t)size) == 0;
}

static void fill_with_text(void)
{
	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (unsigned char)"OPTIONS sip:somebody@example.org SIP/2.0\r\n"[i % 42];
}

static void fill_with_noise(void)
{
	uint32_t noise = 7;

	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (unsigned char)((noise = noise * 1664525 + 1013904223) >> 24);
}

static void test_both_ways(void **state)
{
	static const int sizes[] = {RECORD, 1, 1500, RECORD, 17, RECORD - 1};
	struct pair p = open_pair(TLS1_2_VERSION, 1, NULL);

	(void)state;
	assert_true(shake_hands(&p));
	assert_string_equal(tls_compress_name(p.server), "DEFLATE");
	assert_string_equal(tls_compress_name(p.client), "DEFLATE");
	for (size_t i = 0; i < 50 * sizeof(sizes) / sizeof(sizes[0]); i++) {
		int size = sizes[i % (sizeof(sizes) / sizeof(sizes[0]))];

		i % 2 == 0 ? fill_with_text() : fill_with_noise();
		assert_true(passes(p.client, p.server, size));
		assert_true(passes(p.server, p.client, size));
	}
	close_pair(&p);
	assert_int_equal(blocks, 0);
}

/*
 * What the documentation says: 26 KB to send, 11 KB to receive from a peer like us; here are two such ends.
 */
static void test_cost(void **state)
{
	struct pair p = open_pair(TLS1_2_VERSION, 1, NULL);

	(void)state;
	most_bytes = 0;
	assert_true(shake_hands(&p));
	fill_with_text();
	assert_true(passes(p.client, p.server, RECORD) && passes(p.server, p.client, RECORD));
	assert_in_range(most_bytes, 1, 2 * (27 + 12) * 1024);
	close_pair(&p);
	assert_int_equal(bytes, 0);
}

static void test_saves(void **state)
{
	struct pair p = open_pair(TLS1_2_VERSION, 1, NULL);
	uint64_t before;

	(void)state;
	assert_true(shake_hands(&p));
	fill_with_text();
	before = BIO_number_written(SSL_get_wbio(p.client));
	assert_true(passes(p.client, p.server, RECORD));
	assert_in_range(BIO_number_written(SSL_get_wbio(p.client)) - before, 1, RECORD / 20);
	close_pair(&p);
}

static void test_where_it_is_not_allowed(void **state)
{
	static const struct {
		int newest, level;
	} cases[] = {{TLS1_2_VERSION, 2}, {TLS1_3_VERSION, 1}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pair p = open_pair(cases[i].newest, cases[i].level, NULL);

		assert_true(shake_hands(&p));
		assert_string_equal(tls_compress_name(p.server), "none");
		assert_string_equal(tls_compress_name(p.client), "none");
		assert_int_equal(tls_compress_allowed(SSL_get_SSL_CTX(p.server)), cases[i].level < 2);
		assert_true(passes(p.client, p.server, RECORD));
		assert_int_equal(blocks, 0);
		close_pair(&p);
	}
}

/* ---- a peer with a method of its own */

static struct {
	z_stream squeeze, swell;
	int window_bits, flush;
	unsigned char *record; /* sent instead of what the other side wants to send; NULL: that */
	int size;
} peer;

static int peer_init(COMP_CTX *ctx)
{
	(void)ctx;
	return 1;
}

static void peer_finish(COMP_CTX *ctx)
{
	(void)ctx;
}

static tls_compat_comp_result peer_compress(COMP_CTX *ctx, unsigned char *out, tls_compat_comp_size room,
                                            unsigned char *in, tls_compat_comp_size size)
{
	(void)ctx;
	if (peer.record != NULL) {
		memcpy(out, peer.record, (size_t)peer.size);
		return peer.size;
	}
	peer.squeeze.next_in = in;
	peer.squeeze.avail_in = (uInt)size;
	peer.squeeze.next_out = out;
	peer.squeeze.avail_out = (uInt)room;
	deflate(&peer.squeeze, peer.flush);
	return (tls_compat_comp_result)(room - peer.squeeze.avail_out);
}

static tls_compat_comp_result peer_expand(COMP_CTX *ctx, unsigned char *out, tls_compat_comp_size room,
                                          unsigned char *in, tls_compat_comp_size size)
{
	(void)ctx;
	peer.swell.next_in = in;
	peer.swell.avail_in = (uInt)size;
	peer.swell.next_out = out;
	peer.swell.avail_out = (uInt)room;
	return inflate(&peer.swell, Z_SYNC_FLUSH) == Z_OK ? (tls_compat_comp_result)(room - peer.swell.avail_out)
	                                                  : -1;
}

static const struct tls_compat_comp_method peer_method = {
	.type = NID_zlib_compression,
	.name = "peer",
	.init = peer_init,
	.finish = peer_finish,
	.compress = peer_compress,
	.expand = peer_expand,
};
static struct tls_compat_ssl_comp peer_entry = {
	.id = 1,
	.name = "peer",
	.method = (COMP_METHOD *)(uintptr_t)&peer_method,
};
static STACK_OF(SSL_COMP) *peer_methods;

static int by_id(const SSL_COMP *const *a, const SSL_COMP *const *b)
{
	return SSL_COMP_get_id(*a) - SSL_COMP_get_id(*b);
}

static struct pair open_peer(int window_bits, int flush)
{
	struct pair p;

	peer_methods = sk_SSL_COMP_new(by_id);
	sk_SSL_COMP_push(peer_methods, (SSL_COMP *)&peer_entry);
	memset(&peer, 0, sizeof(peer));
	peer.flush = flush;
	deflateInit2(&peer.squeeze, 9, Z_DEFLATED, window_bits, 9, Z_DEFAULT_STRATEGY);
	inflateInit2(&peer.swell, 15);
	p = open_pair(TLS1_2_VERSION, 1, peer_methods);
	assert_true(shake_hands(&p));
	assert_ptr_equal(SSL_get_current_compression(p.client), (COMP_METHOD *)(uintptr_t)&peer_method);
	assert_string_equal(tls_compress_name(p.server), "DEFLATE");
	return p;
}

static void close_peer(struct pair *p)
{
	close_pair(p);
	deflateEnd(&peer.squeeze);
	inflateEnd(&peer.swell);
	sk_SSL_COMP_free(peer_methods);
	assert_int_equal(blocks, 0);
}

static void test_peers_with_other_windows_and_flushes(void **state)
{
	static const int flushes[] = {Z_SYNC_FLUSH, Z_PARTIAL_FLUSH, Z_FULL_FLUSH};

	(void)state;
	for (int window_bits = 9; window_bits <= 15; window_bits++)
		for (int i = 0; i < 3; i++) {
			struct pair p = open_peer(window_bits, flushes[i]);

			for (int turn = 0; turn < 8; turn++) {
				turn % 2 == 0 ? fill_with_text() : fill_with_noise();
				assert_true(passes(p.client, p.server, turn < 6 ? RECORD : 1));
				assert_true(passes(p.server, p.client, RECORD));
			}
			close_peer(&p);
		}
}

/* The server must end this connection, with the alert for it, and give back what it has. */
static void refuses_record(struct pair *p, unsigned char *record, int size)
{
	peer.record = record;
	peer.size = size;
	assert_int_equal(SSL_write(p->client, "x", 1), 1);
	peer.record = NULL;
	ERR_clear_error();
	assert_true(SSL_read(p->server, answer, RECORD) <= 0);
	assert_int_equal(SSL_get_error(p->server, -1), SSL_ERROR_SSL);
	assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_BAD_DECOMPRESSION);
	assert_true(SSL_read(p->client, answer, RECORD) <= 0);
	assert_int_equal(ERR_GET_REASON(ERR_peek_last_error()), SSL_R_SSLV3_ALERT_DECOMPRESSION_FAILURE);
	close_peer(p);
}

/* SIZE zeros as the peer's stream goes on. Returns how long the record is. */
static int squeeze_zeros(size_t size, unsigned char *record, size_t room)
{
	unsigned char *zeros = calloc(1, size);

	peer.squeeze.next_in = zeros;
	peer.squeeze.avail_in = (uInt)size;
	peer.squeeze.next_out = record;
	peer.squeeze.avail_out = (uInt)room;
	deflate(&peer.squeeze, Z_SYNC_FLUSH);
	assert_int_equal(peer.squeeze.avail_in, 0);
	free(zeros);
	return (int)(room - peer.squeeze.avail_out);
}

static void test_bombs(void **state)
{
	static const size_t sizes[] = {RECORD + 1, RECORD + 258, 2 * RECORD, 1 << 20, 15 << 20};
	static unsigned char record[RECORD];

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct pair p = open_peer(15, Z_SYNC_FLUSH);

		refuses_record(&p, record, squeeze_zeros(sizes[i], record, sizeof(record)));
	}
}

static void test_largest_record(void **state)
{
	static unsigned char record[RECORD];
	struct pair p = open_peer(15, Z_SYNC_FLUSH);

	(void)state;
	peer.size = squeeze_zeros(RECORD, record, sizeof(record));
	peer.record = record;
	assert_int_equal(SSL_write(p.client, "x", 1), 1);
	peer.record = NULL;
	assert_int_equal(SSL_read(p.server, answer, RECORD), RECORD);
	assert_true(passes(p.server, p.client, RECORD));
	assert_true(passes(p.client, p.server, RECORD));
	close_peer(&p);
}

static void test_garbage(void **state)
{
	unsigned char garbage[] = {0x07, 0xff, 0x00, 0x12, 0xff, 0xff, 0xff, 0xff};
	struct pair p = open_peer(15, Z_SYNC_FLUSH);

	(void)state;
	refuses_record(&p, garbage, sizeof(garbage));
}

/* Records that say nothing are free for who sends them: the library must tire of them. */
static void test_records_without_content(void **state)
{
	unsigned char flushed[] = {0x00, 0x00, 0x00, 0xff, 0xff}; /* an empty stored block */
	struct pair p = open_peer(15, Z_SYNC_FLUSH);
	int sent = 0;

	(void)state;
	peer.record = flushed;
	peer.size = sizeof(flushed);
	while (sent < 1000 && SSL_write(p.client, "x", 1) == 1) {
		sent++;
		if (SSL_read(p.server, answer, RECORD) <= 0 && SSL_get_error(p.server, -1) == SSL_ERROR_SSL)
			break;
	}
	assert_in_range(sent, 1, 100);
	peer.record = NULL;
	close_peer(&p);
}

/* Whatever is wrong in a block, nothing is written past its place. */
static void test_damaged_blocks(void **state)
{
	static unsigned char packed[RECORD + SSL3_RT_MAX_COMPRESSED_OVERHEAD], damaged[sizeof(packed)];
	COMP_METHOD *method = NULL;
	int size;

	(void)state;
	method = (COMP_METHOD *)(uintptr_t)((const struct tls_compat_ssl_comp *)sk_SSL_COMP_value(
											SSL_COMP_get_compression_methods(), 0))
	             ->method;
	for (unsigned turn = 0; turn < 3000; turn++) {
		COMP_CTX *ctx = COMP_CTX_new(method);
		unsigned char *out = malloc(RECORD);

		turn % 2 == 0 ? fill_with_text() : fill_with_noise();
		size = COMP_compress_block(ctx, packed, sizeof(packed), block, 1 + (int)(turn * 7919 % RECORD));
		assert_true(size > 0);
		memcpy(damaged, packed, (size_t)size);
		damaged[turn * 104729 % (unsigned)size] ^= (unsigned char)(1 + turn % 255);
		assert_true(COMP_expand_block(ctx, out, RECORD, damaged, size) <= RECORD);
		assert_true(COMP_expand_block(ctx, out, 10, packed, size) <= 10);
		free(out);
		COMP_CTX_free(ctx);
	}
	assert_int_equal(blocks, 0);
}

/* Each allocation fails in turn: the connection may end, and all of it goes with it. */
static void test_no_memory(void **state)
{
	bool works = false;

	(void)state;
	fill_with_text();
	for (int n = 0; n < 100 && !works; n++) {
		struct pair p;

		fail_after = n;
		p = open_pair(TLS1_2_VERSION, 1, NULL);
		works = shake_hands(&p) && passes(p.client, p.server, RECORD) && passes(p.server, p.client, RECORD);
		works = works && fail_after != 0;
		fail_after = -1;
		if (!works)
			SSL_shutdown(p.server);
		close_pair(&p);
		assert_int_equal(blocks, 0);
	}
	assert_true(works);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_off),
		cmocka_unit_test(test_library_that_does_not_fit),
		cmocka_unit_test(test_on),
		cmocka_unit_test(test_both_ways),
		cmocka_unit_test(test_cost),
		cmocka_unit_test(test_saves),
		cmocka_unit_test(test_where_it_is_not_allowed),
		cmocka_unit_test(test_peers_with_other_windows_and_flushes),
		cmocka_unit_test(test_bombs),
		cmocka_unit_test(test_largest_record),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_records_without_content),
		cmocka_unit_test(test_damaged_blocks),
		cmocka_unit_test(test_no_memory),
	};

	shared_context = OSSL_LIB_CTX_new();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
