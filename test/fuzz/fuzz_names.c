/* links: BENCH */
/*
 * fuzz_names.c - any bytes as a peer's certificate: what a script may ask about it, and what the log says
 * when it does not verify
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * An input that begins as a certificate does is one. Any other says how to make one: instructions of three
 * bytes, which field, of what kind, and how many bytes follow for it. So what OpenSSL's parser would seldom
 * let pass comes where it is read, and how many names there ought to be is known.
 */
#include <ctype.h>

#include "host/compat.h"
#include "settings/report.h"
#include "settings/text.h"
#include "crypto/openssl/compat.h"
#include "crypto/openssl/names.h"
#include "crypto/openssl/verify.h"
#include "crypto/openssl/types.h"
#include "connection/item.c" /* for its table */
#include "require.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static SSL *ssl;
static X509_STORE *nobody;
static EVP_PKEY *key;

/* ---- what has to hold */

/* No script and no database may read less of a name than the certificate says: such names are missing. */
static void check_answer(const struct item *item, const struct tls_answer *a)
{
	REQUIRE(a->used < a->room && a->s[a->used] == '\0');
	REQUIRE(memchr(a->s, '\0', a->used) == NULL);
	for (size_t i = 0; item->what == TLS_CERT_PEM && item->get == get_field && i < a->used; i++)
		REQUIRE(a->s[i] == '\n' || (a->s[i] >= ' ' && a->s[i] <= '~'));
}

static struct tls_answer answer;

static struct question question_about(X509 *x)
{
	return (struct question){.ssl = (struct tls_ssl *)ssl, .cert = (struct tls_cert *)x};
}

static bool get(const struct item *item, const struct question *q)
{
	tls_answer_begin(&answer);
	return item->get(q, item->what, &answer);
}

/* Each name that is counted is there, from the front and from the back, and no other is. */
static void check_alt_names(const struct item *item, struct question *q)
{
	int count = count_names(q->cert, item->what);

	for (int i = -count - 2; i < count + 2; i++) {
		q->index = i;
		REQUIRE(get(item, q) == (i >= -count && i < count));
		check_answer(item, &answer);
	}
}

static void ask_everything(X509 *x)
{
	struct question q = question_about(x);

	for (int i = 0; i < ITEMS; i++) {
		if ((items[i].flags & TLS_ITEM_SIDED) == 0 || items[i].get == get_chain)
			continue;
		q.index = 0;
		if (get(&items[i], &q))
			check_answer(&items[i], &answer);
		if (items[i].get == get_alt_name)
			check_alt_names(&items[i], &q);
	}
}

/* A line of the log that the peer could break in two, or end, would be its own line. */
static void check_log(X509 *x)
{
	X509_STORE_CTX *store = X509_STORE_CTX_new();
	char reason[320];

	REQUIRE(store != NULL && X509_STORE_CTX_init(store, nobody, x, NULL) == 1);
	X509_STORE_CTX_set_verify_cb(store, tls_verify_note);
	ERR_clear_error();
	X509_verify_cert(store);
	tls_crypto_errors(reason, sizeof(reason));
	REQUIRE(strlen(reason) < sizeof(reason));
	for (const char *c = reason; *c != '\0'; c++)
		REQUIRE(*c >= ' ' && *c <= '~');
	X509_STORE_CTX_free(store);
}

/* A URL says no more and no less than the text itself. */
static void check_url(X509 *x)
{
	static struct tls_answer plain, url;
	struct question q = question_about(x);
	const char *at, *end;

	tls_answer_begin(&plain);
	tls_answer_begin(&url);
	if (!get_field(&q, TLS_CERT_PEM, &plain) || !get_url_encoded(&q, TLS_CERT_PEM, &url))
		return;
	at = plain.s;
	end = plain.s + plain.used;
	for (const char *u = url.s; *u != '\0'; u++, at++) {
		char code[3] = "";

		if (*u == '%') {
			memcpy(code, u + 1, 2);
			u += 2;
		}
		REQUIRE(at < end && *at == (code[0] != '\0' ? (char)strtol(code, NULL, 16) : *u));
	}
	REQUIRE(at == end);
}

/* ---- whom a certificate is for. OpenSSL's own functions know all but URIs, and take more names than ours */

struct uri_search {
	const char *name;
	bool found;
};

static void look_into_uri(void *arg, enum tls_alt_kind kind, const char *bytes, size_t size)
{
	struct uri_search *search = arg;
	char uri[300];

	if (kind != TLS_ALT_URI || !is_usable(kind, bytes, size) || size >= sizeof(uri))
		return;
	snprintf(uri, sizeof(uri), "%.*s", (int)size, bytes);
	search->found |= strcasestr(uri, search->name) != NULL;
}

/* Whether one of its URIs has NAME in it. */
static bool in_uri(X509 *x, const char *name)
{
	struct uri_search search = {.name = name};

	tls_cert_walk_names((struct tls_cert *)x, look_into_uri, &search);
	return search.found;
}

static bool is_host_of(X509 *x, const char *name, const char *more)
{
	char text[300];

	snprintf(text, sizeof(text), "%s%s", name, more);
	return X509_check_host(x, text, 0, X509_CHECK_FLAG_NO_WILDCARDS, NULL) == 1;
}

/* Addresses can be written in many ways: one in a URI is left to the tests. */
static bool is_address(const char *name)
{
	unsigned char ip[16];

	return inet_pton(AF_INET, name, ip) == 1 || inet_pton(AF_INET6, name, ip) == 1;
}

/* Names of letters and digits in labels: what else may stand in one is another matter. */
static bool is_simple(const char *name, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (!isalnum((unsigned char)name[i]) && (name[i] != '.' || i == 0 || name[i - 1] == '.'))
			return false;
	return size > 0 && name[size - 1] != '.';
}

/* Wildcards let in nobody whom OpenSSL keeps out, and keep out nobody who is there by name. */
static void check_wildcards(X509 *x, const char *name, size_t size)
{
	if (!is_simple(name, size))
		return;
	if (!tls_verify_names(x, name, size, true))
		REQUIRE(!tls_verify_names(x, name, size, false));
	else if (!tls_verify_names(x, name, size, false))
		REQUIRE(X509_check_host(x, name, size, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1);
}

/* The list for a log: whole at any size, and clean. */
static void check_list(const X509 *x, size_t size)
{
	char text[224];

	tls_names_list(x, text, size % (sizeof(text) - 64) + 64);
	REQUIRE(strlen(text) < size % (sizeof(text) - 64) + 64);
	for (const char *c = text; *c != '\0'; c += tls_text_character(c))
		REQUIRE(tls_text_character(c) > 0);
}

static void check_question(X509 *x, const uint8_t *bytes, size_t size)
{
	bool brackets = size > 2 && bytes[0] == '[' && bytes[size - 1] == ']';
	char name[256];

	check_wildcards(x, (const char *)bytes, size);
	check_list(x, size);
	if (!tls_verify_names(x, (const char *)bytes, size, false))
		return;
	REQUIRE(size > 0 && memchr(bytes, 0, size) == NULL);
	snprintf(name, sizeof(name), "%.*s", (int)size - 2 * brackets, bytes + brackets);
	if (name[0] != '\0' && name[1] != '\0' && name[strlen(name) - 1] == '.')
		name[strlen(name) - 1] = '\0';
	for (const char *c = name; *c != '\0'; c++)
		if ((unsigned char)*c > 0x7f)
			return;
	if (is_address(name))
		REQUIRE(X509_check_ip_asc(x, name, 0) == 1 || in_uri(x, "sip:"));
	else
		REQUIRE(in_uri(x, name) || is_host_of(x, name, "") || is_host_of(x, name, "."));
}

/* ---- certificates made as an input says */

static int alt_kind(int type)
{
	return type == GEN_EMAIL ? TLS_ALT_EMAIL
	       : type == GEN_DNS ? TLS_ALT_DNS
	       : type == GEN_URI ? TLS_ALT_URI
	                         : TLS_ALT_IP;
}

/* What is left of it. */
struct input {
	const uint8_t *at, *end;
};

struct maker {
	X509 *x;
	GENERAL_NAMES *names;
	bool raw;            /* has an extension of which nobody knows what it holds */
	int usable[GEN_RID]; /* names, by kind */
	struct {
		const uint8_t *bytes;
		int size;
	} questions[8]; /* is it for this one? */
	int asked;
};

static const int fields[] = {
	NID_commonName,       NID_localityName,           NID_countryName, NID_stateOrProvinceName,
	NID_organizationName, NID_organizationalUnitName, NID_userId,      NID_pkcs9_emailAddress};
static const int strings[] = {V_ASN1_UTF8STRING,    V_ASN1_PRINTABLESTRING, V_ASN1_T61STRING,
                              V_ASN1_IA5STRING,     V_ASN1_BMPSTRING,       V_ASN1_UNIVERSALSTRING,
                              V_ASN1_NUMERICSTRING, V_ASN1_VISIBLESTRING,   V_ASN1_GENERALSTRING,
                              V_ASN1_OCTET_STRING,  V_ASN1_BIT_STRING};

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

static void make_field(X509_NAME *name, int kind, const uint8_t *bytes, int size)
{
	X509_NAME_add_entry_by_NID(name, fields[kind % COUNT(fields)],
	                           strings[kind / COUNT(fields) % COUNT(strings)], bytes, size, -1, kind / 128);
}

static void make_subject(struct maker *m, int kind, const uint8_t *bytes, int size)
{
	make_field(X509_get_subject_name(m->x), kind, bytes, size);
}

static void make_issuer(struct maker *m, int kind, const uint8_t *bytes, int size)
{
	make_field(X509_get_issuer_name(m->x), kind, bytes, size);
}

static void make_alt_name(struct maker *m, int kind, const uint8_t *bytes, int size)
{
	static const int kinds[] = {GEN_EMAIL, GEN_DNS, GEN_URI, GEN_IPADD};
	int type = kinds[kind % COUNT(kinds)];
	ASN1_STRING *s = ASN1_STRING_type_new(type == GEN_IPADD ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);
	GENERAL_NAME *name = GENERAL_NAME_new();

	ASN1_STRING_set(s, bytes, size);
	GENERAL_NAME_set0_value(name, type, s);
	sk_GENERAL_NAME_push(m->names, name);
	m->usable[type] += type == GEN_IPADD ? size == 4 || size == 16 : memchr(bytes, 0, (size_t)size) == NULL;
}

static void make_extension(struct maker *m, int kind, const uint8_t *bytes, int size)
{
	ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
	X509_EXTENSION *extension;

	ASN1_STRING_set(value, bytes, size);
	extension = X509_EXTENSION_create_by_NID(NULL, NID_subject_alt_name, kind % 2, value);
	X509_add_ext(m->x, extension, -1);
	X509_EXTENSION_free(extension);
	ASN1_OCTET_STRING_free(value);
	m->raw = true;
}

static void make_serial(struct maker *m, int kind, const uint8_t *bytes, int size)
{
	ASN1_INTEGER *number = X509_get_serialNumber(m->x);

	ASN1_STRING_set(number, bytes, size);
	number->type = kind % 2 != 0 ? V_ASN1_NEG_INTEGER : V_ASN1_INTEGER;
}

static void make_time(struct maker *m, int kind, const uint8_t *bytes, int size)
{
	ASN1_TIME *at = kind % 2 != 0 ? X509_getm_notAfter(m->x) : X509_getm_notBefore(m->x);

	ASN1_STRING_set(at, bytes, size);
	at->type = kind / 2 % 2 != 0 ? V_ASN1_GENERALIZEDTIME : V_ASN1_UTCTIME;
}

static void make_question(struct maker *m, int kind, const uint8_t *bytes, int size)
{
	if (m->asked == COUNT(m->questions))
		return;
	m->questions[m->asked].bytes = bytes;
	m->questions[m->asked++].size = size;
}

static void (*const makers[])(struct maker *m, int kind, const uint8_t *bytes, int size) = {
	make_subject, make_alt_name, make_issuer, make_extension, make_serial, make_time, make_question,
};

static void run_instructions(struct maker *m, struct input in)
{
	while (in.end - in.at >= 3) {
		int what = in.at[0] % COUNT(makers), kind = in.at[1], size = in.at[2];

		in.at += 3;
		if (size > in.end - in.at)
			size = (int)(in.end - in.at);
		makers[what](m, kind, in.at, size);
		in.at += size;
	}
}

/* As it would come over the wire, in OUT; returns its size, less than 1 when it can't be written. */
static int make(struct maker *m, const uint8_t *data, size_t size, unsigned char **out)
{
	m->x = X509_new();
	m->names = GENERAL_NAMES_new();
	REQUIRE(m->x != NULL && m->names != NULL);
	X509_set_version(m->x, X509_VERSION_3);
	X509_gmtime_adj(X509_getm_notBefore(m->x), 0);
	X509_gmtime_adj(X509_getm_notAfter(m->x), 3600);
	X509_set_pubkey(m->x, key);
	run_instructions(m, (struct input){data, data + size});
	if (sk_GENERAL_NAME_num(m->names) > 0)
		X509_add1_ext_i2d(m->x, NID_subject_alt_name, m->names, 0, X509V3_ADD_APPEND);
	GENERAL_NAMES_free(m->names);
	X509_sign(m->x, key, NULL);
	size = (size_t)i2d_X509(m->x, out);
	X509_free(m->x);
	return (int)size;
}

static void check(X509 *x, const struct maker *m)
{
	ask_everything(x);
	check_url(x);
	check_log(x);
	for (int i = 0; m != NULL && i < m->asked; i++)
		check_question(x, m->questions[i].bytes, (size_t)m->questions[i].size);
	for (int kind = GEN_EMAIL; m != NULL && !m->raw && kind < GEN_RID; kind++)
		if (kind == GEN_EMAIL || kind == GEN_DNS || kind == GEN_URI || kind == GEN_IPADD)
			REQUIRE(count_names((struct tls_cert *)x, alt_kind(kind)) == m->usable[kind]);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	ssl = SSL_new(SSL_CTX_new(TLS_method()));
	nobody = X509_STORE_new();
	key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	REQUIRE(ssl != NULL && nobody != NULL && key != NULL);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool is_made = size > 0 && data[0] != 0x30;
	const unsigned char *at = data;
	unsigned char *made = NULL;
	struct maker m = {.x = NULL};
	X509 *x = NULL;
	int length = is_made ? make(&m, data, size, &made) : (int)size;

	if (is_made)
		at = made;
	if (length > 0)
		x = d2i_X509(NULL, &at, length);
	if (x != NULL)
		check(x, is_made ? &m : NULL);
	X509_free(x);
	OPENSSL_free(made);
	ERR_clear_error();
	return 0;
}
