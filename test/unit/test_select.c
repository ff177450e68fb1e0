/* links: connection/item.c connection/answer.c test/unit/fake_crypto.c test/unit/fake_host.c -Wl,--as-needed */
/*
 * test_select.c - each piece of information that a script may ask for, from a certificate that no library made
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

#include <cmocka.h>

#include "host/compat.h"
#include "connection/answer.h"
#include "connection/item.h"
#include "fake_crypto.h"
#include "fake_host.h"

#define NO_ITEM "(no item)"
#define NOTHING "(nothing)"

static const struct fake_name names[] = {
	{TLS_ALT_DNS, "a.example", 9},
	{TLS_ALT_EMAIL, "a@example", 9},
	{TLS_ALT_DNS, "good.example\0.evil", 18},
	{TLS_ALT_IP, "\xc0\x00\x02\x01", 4},
	{TLS_ALT_DNS, "b.example", 9},
	{TLS_ALT_URI, "sip:example", 11},
	{TLS_ALT_IP, "\xc0\x00\x02", 3},
	{TLS_ALT_IP, " \x01\r\xb8\0\0\0\0\0\0\0\0\0\0\0\x07", 16},
};

static struct tls_cert peer = {
	.fields =
		{
			[TLS_CERT_SUBJECT_LINE] = "/C=DE/CN=peer",
			[TLS_CERT_SUBJECT_CN] = "peer",
			[TLS_CERT_SUBJECT_L] = "Berlin",
			[TLS_CERT_SUBJECT_C] = "DE",
			[TLS_CERT_SUBJECT_ST] = "BE",
			[TLS_CERT_SUBJECT_O] = "Example",
			[TLS_CERT_SUBJECT_OU] = "Unit",
			[TLS_CERT_SUBJECT_UID] = "u1",
			[TLS_CERT_ISSUER_LINE] = "/CN=authority",
			[TLS_CERT_ISSUER_CN] = "authority",
			[TLS_CERT_VERSION] = "2",
			[TLS_CERT_SERIAL] = "4711",
			[TLS_CERT_NOT_BEFORE] = "Jan  1 00:00:00 2026 GMT",
			[TLS_CERT_NOT_AFTER] = "Jan  1 00:00:00 2027 GMT",
			[TLS_CERT_PEM] = "-----BEGIN A+B\n",
		},
	.names = names,
	.name_count = sizeof(names) / sizeof(names[0]),
};
static struct tls_cert mine = {.fields = {[TLS_CERT_SUBJECT_CN] = "me"}};

static struct tls_answer answer;

static int before_each(void **state)
{
	(void)state;
	fake_crypto_reset();
	fake_peer_cert = &peer;
	fake_own_cert = &mine;
	fake_host_clear();
	return 0;
}

static const char *read_code(int code, int index)
{
	if (code < 0)
		return NO_ITEM;
	tls_answer_begin(&answer);
	return tls_item_read(NULL, code, index, &answer) ? answer.s : NOTHING;
}

/* What @tls.PATH[INDEX] gives. */
static const char *ask_path(const char *path, int index)
{
	str words[8];
	int count = 0;
	char copy[128], *rest = copy, *word;

	snprintf(copy, sizeof(copy), "%s", path);
	while ((word = strsep(&rest, ".")) != NULL && *word != '\0')
		words[count++] = (str){word, (int)strlen(word)};
	return read_code(tls_item_find_path(words, count), index);
}

/* What $tls(KEY) gives. */
static const char *ask_key(const char *key)
{
	str name = {(char *)(uintptr_t)key, (int)strlen(key)};

	return read_code(tls_item_find_key(&name), 0);
}

static void no_library_is_needed(void **state)
{
	(void)state;
	assert_true(fake_crypto_is_alone());
}

static void the_connection(void **state)
{
	(void)state;
	fake_facts.server_name = "sip.example";
	assert_string_equal(ask_path("version", 0), "TLSv1.3");
	assert_string_equal(ask_path("cipher", 0), "FAKE");
	assert_string_equal(ask_path("cipher.bits", 0), "128");
	assert_string_equal(ask_path("", 0), fake_cipher_line);
	assert_string_equal(ask_path("desc", 0), fake_cipher_line);
	assert_string_equal(ask_path("server_name", 0), "sip.example");
	assert_string_equal(ask_key("peer_server_name"), "sip.example");
	assert_string_equal(ask_key("tls_version"), "TLSv1.3");
	fake_facts.server_name = fake_facts.cipher = fake_cipher_line = NULL;
	assert_string_equal(ask_path("server_name", 0), NOTHING);
	assert_string_equal(ask_path("cipher", 0), NOTHING);
	assert_string_equal(ask_path("cipher.bits", 0), NOTHING);
	assert_string_equal(ask_path("desc", 0), NOTHING);
}

static void fields_of_a_certificate(void **state)
{
	(void)state;
	assert_string_equal(ask_path("peer", 0), "peer");
	assert_string_equal(ask_path("peer.subject", 0), "peer");
	assert_string_equal(ask_key("peer_subject"), "/C=DE/CN=peer");
	assert_string_equal(ask_key("p_subject_cn"), "peer");
	assert_string_equal(ask_path("peer.subject.l", 0), "Berlin");
	assert_string_equal(ask_path("peer.subj.country", 0), "DE");
	assert_string_equal(ask_path("peer.subject.st", 0), "BE");
	assert_string_equal(ask_path("peer.subject.o", 0), "Example");
	assert_string_equal(ask_path("peer.subject.ou", 0), "Unit");
	assert_string_equal(ask_path("peer.subject.uid", 0), "u1");
	assert_string_equal(ask_path("peer.issuer", 0), "authority");
	assert_string_equal(ask_key("peer_issuer"), "/CN=authority");
	assert_string_equal(ask_path("peer.issuer.l", 0), NOTHING);
	assert_string_equal(ask_path("peer.version", 0), "2");
	assert_string_equal(ask_path("peer.sn", 0), "4711");
	assert_string_equal(ask_path("peer.notBefore", 0), "Jan  1 00:00:00 2026 GMT");
	assert_string_equal(ask_path("peer.not_after", 0), "Jan  1 00:00:00 2027 GMT");
	assert_string_equal(ask_path("peer.rawCert", 0), "-----BEGIN A+B\n");
	assert_string_equal(ask_path("peer.URLEncodedCert", 0), "-----BEGIN%20A%2bB%0a");
	assert_string_equal(ask_path("me.subject", 0), "me");
	assert_string_equal(ask_path("my.version", 0), NOTHING);
	assert_string_equal(ask_key("my_subject_cn"), "me");
}

static void what_is_not_there_has_no_fields(void **state)
{
	(void)state;
	fake_peer_cert = NULL;
	assert_string_equal(ask_path("peer.subject", 0), NOTHING);
	assert_string_equal(ask_path("peer.dns", 0), NOTHING);
	assert_string_equal(ask_path("my.subject", 0), "me");
	assert_string_equal(ask_path("peer.verified", 0), "0");
}

static void a_field_that_cannot_be_read_is_logged(void **state)
{
	struct tls_cert broken = {.fields = {[TLS_CERT_PEM] = FAKE_UNREADABLE}};

	(void)state;
	fake_peer_cert = &broken;
	assert_string_equal(ask_path("peer.rawCert", 0), NOTHING);
	assert_non_null(strstr(fake_host_log(), "an alert"));
}

static void verification(void **state)
{
	static const struct {
		const char *path;
		enum tls_verify_result result;
	} states[] = {{"peer.verified", TLS_VERIFY_GOOD},
	              {"peer.revoked", TLS_VERIFY_REVOKED},
	              {"peer.expired", TLS_VERIFY_EXPIRED},
	              {"peer.self_signed", TLS_VERIFY_SELF_SIGNED}};

	(void)state;
	for (int i = 0; i < 4; i++)
		for (int result = TLS_VERIFY_GOOD; result <= TLS_VERIFY_OTHER; result++) {
			fake_facts.verify = (enum tls_verify_result)result;
			assert_string_equal(ask_path(states[i].path, 0),
			                    states[i].result == (enum tls_verify_result)result ? "1" : "0");
		}
	assert_string_equal(ask_path("my.verified", 0), NOTHING);
}

static void alternative_names(void **state)
{
	(void)state;
	assert_string_equal(ask_path("peer.dns", 0), "a.example");
	assert_string_equal(ask_path("peer.dns", 1), "b.example"); /* the one with a zero byte is none */
	assert_string_equal(ask_path("peer.dns", 2), NOTHING);
	assert_string_equal(ask_path("peer.dns", -1), "b.example");
	assert_string_equal(ask_path("peer.dns", -2), "a.example");
	assert_string_equal(ask_path("peer.dns", -3), NOTHING);
	assert_string_equal(ask_path("peer.email", 0), "a@example");
	assert_string_equal(ask_path("peer.uri", 0), "sip:example");
	assert_string_equal(ask_path("peer.ip", 0), "192.0.2.1");
	assert_string_equal(ask_path("peer.ip", 1), "2001:db8::7");
	assert_string_equal(ask_path("peer.ip", 2), NOTHING);
	assert_string_equal(ask_path("peer.count.dns", 0), "2");
	assert_string_equal(ask_path("peer.count.ip", 0), "2");
	assert_string_equal(ask_path("my.count.dns", 0), "0");
}

static void a_count_by_kind(void **state)
{
	str key = str_init("peer_san_count"), words[] = {str_init("peer"), str_init("count"), str_init("email")};
	int code = tls_item_find_key(&key), email = tls_item_find_path(words, 3);

	(void)state;
	assert_int_equal(tls_item_flags(code) & TLS_ITEM_KINDS, TLS_ITEM_KINDS);
	assert_string_equal(read_code(code, tls_item_kind(email)), "1");
	assert_string_equal(read_code(code, 0), "6");
}

static void the_verified_chain(void **state)
{
	struct tls_cert above = {.fields = {[TLS_CERT_PEM] = "the authority"}};

	(void)state;
	assert_string_equal(ask_path("peer.verified_cert_chain", 0), NOTHING);
	fake_chain[0] = &peer;
	fake_chain[1] = &above;
	assert_string_equal(ask_path("peer.verified_cert_chain", 0), "-----BEGIN A+B\n");
	assert_string_equal(ask_path("peer.verified_cert_chain", 1), "the authority");
	assert_string_equal(ask_path("peer.verified_cert_chain", -1), NOTHING);
}

static void what_there_is_not(void **state)
{
	(void)state;
	assert_string_equal(ask_path("peer.nothing", 0), NO_ITEM);
	assert_string_equal(ask_path("nobody.subject", 0), NO_ITEM);
	assert_string_equal(ask_path("peer.subject.cn.more", 0), NO_ITEM);
	assert_string_equal(ask_path("pee", 0), NO_ITEM);
	assert_string_equal(ask_key("subject"), NO_ITEM);
	assert_string_equal(ask_key("p_nothing"), NO_ITEM);
}

/* Longer than a name can be: it is refused, said, and the next answer is whole again. */
static void an_answer_has_an_end(void **state)
{
	struct tls_cert large = {.name_count = 0};
	char *text = malloc(2 << 20);

	(void)state;
	memset(text, 'x', 2 << 20);
	text[(2 << 20) - 1] = '\0';
	large.fields[TLS_CERT_PEM] = text;
	fake_peer_cert = &large;
	assert_string_equal(ask_path("peer.rawCert", 0), NOTHING);
	assert_non_null(strstr(fake_host_log(), "more than the module returns"));
	fake_peer_cert = &peer;
	assert_string_equal(ask_path("peer.sn", 0), "4711");
	free(text);
}

static int variables;
static char last_variable[128];

static int count_variable(const char *prefix, const char *name, int size, int code)
{
	char key[128];

	snprintf(key, sizeof(key), "%s%.*s", prefix, size, name);
	assert_string_not_equal(ask_key(key), NO_ITEM);
	snprintf(last_variable, sizeof(last_variable), "%s", key);
	variables++;
	return variables == 1000;
}

static int stop_at_once(const char *prefix, const char *name, int size, int code)
{
	return 7;
}

/* Each is also a key. */
static void variables_are_walked(void **state)
{
	(void)state;
	assert_int_equal(tls_item_walk_variables(count_variable), 0);
	assert_in_range(variables, 60, 158); /* which is what tls_select.c has room for */
	assert_string_equal(last_variable, "my_san_count");
	assert_int_equal(tls_item_walk_variables(stop_at_once), 7);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, before_each)
	const struct CMUnitTest tests[] = {
		TEST(no_library_is_needed),
		TEST(the_connection),
		TEST(fields_of_a_certificate),
		TEST(what_is_not_there_has_no_fields),
		TEST(a_field_that_cannot_be_read_is_logged),
		TEST(verification),
		TEST(alternative_names),
		TEST(a_count_by_kind),
		TEST(the_verified_chain),
		TEST(what_there_is_not),
		TEST(an_answer_has_an_end),
		TEST(variables_are_walked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
