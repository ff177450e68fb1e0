/*
 * tls_select.c - what a script may ask about a message's connection: selects, pseudo-variables, KSR.tls.cget
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * One table, ITEMS, binds each piece of information to its select path, its variable and the function that
 * reads it. All three ways to ask end in ask(), which holds the connection, reads, and lets go; what it
 * returns is a copy.
 *
 * A name with a zero byte in it is no name: such a field reads as missing, such an alternative name is passed
 * over, so that "good.example\0.evil.example" can never be taken for "good.example", here or by whoever gets
 * the value next.
 */
#include <arpa/inet.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/kemi.h"
#include "core/pvar.h"
#include "core/select.h"

#include "tls_select.h"
#include "host/compat.h"
#include "crypto/openssl/compat.h"
#include "crypto/openssl/types.h"
#include "tls_init.h"
#include "connection/connection.h"
#include "connection/list.h"

#define RESULTS     16    /* answers that stay good at the same time */
#define RESULT_KEEP 65536 /* bytes of a buffer that may stay allocated */
#define RESULT_MAX \
	(1024 * 1024) /* bytes; the largest certificate that is taken makes 0.4 MB when URL-encoded */
#define PATH_WORDS 4
#define VARIABLES  160
#define NAME_SIZE  48

enum side { PEER, MINE };

/* One connection, held, and the certificate that the question is about (NULL: there is none). */
struct view {
	const SSL *ssl;
	const X509 *cert;
	enum side side;
	int index;
};

/* An answer as it grows. */
struct text {
	char *s;
	size_t used, room;
	bool broken; /* too long or no memory, logged */
};

enum {
	SIDED = 1 << 0,   /* about a certificate: asked for by the peer's or our side */
	INDEXED = 1 << 1, /* takes [N] */
	NUMBER = 1 << 2,  /* the variable is a number, too */
	KINDS = 1 << 3,   /* takes [KIND] */
};

/*
 * One piece of information. GET adds it to OUT, or returns false when there is none. In the names "|"
 * separates spellings of one word; in PATH "*" stands for peer, or for my, me, myself.
 */
struct item {
	const char *path; /* @tls.PATH; NULL: no select */
	const char
		*variable; /* $tls_VARIABLE, or, when sided, $tls_peer_VARIABLE and $tls_my_VARIABLE; NULL: none */
	bool (*get)(const struct view *v, int what, struct text *out);
	int what;
	unsigned flags;
};

/* ---- answers */

static struct text results[RESULTS];

/*
 * The oldest answer's buffer, emptied: an answer is good until RESULTS - 1 more are asked for in this
 * process.
 */
static struct text *new_text(void)
{
	static unsigned turn;
	struct text *t = &results[turn++ % RESULTS];

	if (t->room > RESULT_KEEP) {
		free(t->s);
		t->s = NULL;
		t->room = 0;
	}
	t->used = 0;
	t->broken = false;
	return t;
}

/* Appends, and keeps a zero byte behind the end. */
static void add(struct text *t, const void *bytes, size_t size)
{
	size_t room = t->used + size + 1 > 2 * t->room ? t->used + size + 1 : 2 * t->room;
	char *s = t->s;

	if (t->broken)
		return;
	if (t->used + size >= t->room) {
		s = t->used + size < RESULT_MAX ? realloc(t->s, room) : NULL;
		if (s == NULL) {
			LM_ERR("an answer of %zu bytes about a certificate: %s\n", t->used + size,
			       t->used + size < RESULT_MAX ? "no memory" : "more than the module gives");
			t->broken = true;
			return;
		}
		t->s = s;
		t->room = room;
	}
	memcpy(s + t->used, bytes, size);
	t->used += size;
	s[t->used] = '\0';
}

static bool add_string(struct text *t, const char *s)
{
	if (s != NULL)
		add(t, s, strlen(s));
	return s != NULL;
}

static bool add_number(struct text *t, long n)
{
	char digits[24];

	snprintf(digits, sizeof(digits), "%ld", n);
	return add_string(t, digits);
}

/* Bytes that go into a URL as they are; the rest becomes %xx. */
static void add_url_encoded(struct text *t, const char *bytes, size_t size)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
	char escape[4];

	for (size_t i = 0; i < size; i++) {
		if (bytes[i] != '\0' && strchr(plain, bytes[i]) != NULL) {
			add(t, bytes + i, 1);
		} else {
			snprintf(escape, sizeof(escape), "%%%02x", (unsigned char)bytes[i]);
			add(t, escape, 3);
		}
	}
}

/* Adds what was written to BIO, unless writing failed, and frees it. */
static bool add_bio(struct text *t, BIO *bio, bool written, void (*how)(struct text *, const char *, size_t))
{
	char *bytes, reason[256];
	long size = bio != NULL ? BIO_get_mem_data(bio, &bytes) : 0;

	if (written)
		how(t, bytes, (size_t)size);
	else
		LM_ERR("a certificate's field cannot be written: %s\n", tls_init_errors(reason, sizeof(reason)));
	BIO_free(bio);
	return written;
}

static void add_plain(struct text *t, const char *bytes, size_t size)
{
	add(t, bytes, size);
}

/* ---- the connection */

static bool get_protocol(const struct view *v, int what, struct text *out)
{
	(void)what;
	return add_string(out, SSL_get_version(v->ssl));
}

static bool get_description(const struct view *v, int what, struct text *out)
{
	const SSL_CIPHER *cipher = SSL_get_current_cipher(v->ssl);
	char line[256];

	(void)what;
	return cipher != NULL && add_string(out, SSL_CIPHER_description(cipher, line, sizeof(line)));
}

static bool get_cipher(const struct view *v, int what, struct text *out)
{
	const SSL_CIPHER *cipher = SSL_get_current_cipher(v->ssl);

	(void)what;
	return cipher != NULL && add_string(out, SSL_CIPHER_get_name(cipher));
}

static bool get_cipher_bits(const struct view *v, int what, struct text *out)
{
	const SSL_CIPHER *cipher = SSL_get_current_cipher(v->ssl);

	(void)what;
	return cipher != NULL && add_number(out, SSL_CIPHER_get_bits(cipher, NULL));
}

static bool get_server_name(const struct view *v, int what, struct text *out)
{
	(void)what;
	return add_string(out, SSL_get_servername(v->ssl, TLSEXT_NAMETYPE_host_name));
}

/*
 * Whether verifying the peer's certificate ended with the result WHAT. Of our own certificate nobody knows.
 */
static bool get_state(const struct view *v, int what, struct text *out)
{
	return v->side == PEER && add_number(out, v->cert != NULL && SSL_get_verify_result(v->ssl) == what);
}

/* ---- a certificate: all of these are asked only when there is one */

static bool add_name_field(const X509_NAME *name, int nid, struct text *out)
{
	int at = X509_NAME_get_index_by_NID(name, nid, -1);
	unsigned char *utf8 = NULL;
	int size;
	bool good;

	if (at < 0)
		return false;
	size = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
	if (size < 0)
		return false;
	good = memchr(utf8, '\0', (size_t)size) == NULL;
	if (good)
		add(out, utf8, (size_t)size);
	OPENSSL_free(utf8);
	return good;
}

/*
 * "/C=DE/O=Example/CN=a": for people and logs. A "/" in a value is not marked, so decide by the single
 * fields.
 */
static bool add_name_line(const X509_NAME *name, struct text *out)
{
	char *line = X509_NAME_oneline(name, NULL, 0);
	bool good = add_string(out, line);

	OPENSSL_free(line);
	return good;
}

static bool get_subject(const struct view *v, int nid, struct text *out)
{
	const X509_NAME *name = X509_get_subject_name(v->cert);

	return nid == NID_undef ? add_name_line(name, out) : add_name_field(name, nid, out);
}

static bool get_issuer(const struct view *v, int nid, struct text *out)
{
	const X509_NAME *name = X509_get_issuer_name(v->cert);

	return nid == NID_undef ? add_name_line(name, out) : add_name_field(name, nid, out);
}

/* As it is encoded: 2 for version 3. */
static bool get_version(const struct view *v, int what, struct text *out)
{
	(void)what;
	return add_number(out, X509_get_version(v->cert));
}

static bool get_serial(const struct view *v, int what, struct text *out)
{
	BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(v->cert), NULL);
	char *digits = number != NULL ? BN_bn2dec(number) : NULL;
	bool good = add_string(out, digits);

	(void)what;
	OPENSSL_free(digits);
	BN_free(number);
	return good;
}

enum { NOT_BEFORE, NOT_AFTER };

static bool get_time(const struct view *v, int what, struct text *out)
{
	const ASN1_TIME *at = what == NOT_BEFORE ? X509_get0_notBefore(v->cert) : X509_get0_notAfter(v->cert);
	BIO *bio = BIO_new(BIO_s_mem());

	return add_bio(out, bio, bio != NULL && ASN1_TIME_print(bio, at) == 1, add_plain);
}

static bool add_pem(const X509 *cert, struct text *out, void (*how)(struct text *, const char *, size_t))
{
	BIO *bio = BIO_new(BIO_s_mem());

	return add_bio(out, bio, bio != NULL && PEM_write_bio_X509(bio, cert) == 1, how);
}

enum { PLAIN, URL_ENCODED };

static bool get_pem(const struct view *v, int what, struct text *out)
{
	return add_pem(v->cert, out, what == PLAIN ? add_plain : add_url_encoded);
}

/* The chain by which the peer was verified, its own certificate first, whichever side is named. */
static bool get_chain(const struct view *v, int what, struct text *out)
{
	const X509 *cert = sk_X509_value(SSL_get0_verified_chain(v->ssl), v->index);

	(void)what;
	return cert != NULL && add_pem(cert, out, add_plain);
}

/* ---- alternative names */

enum { ANY_KIND = 0 }; /* of these: GEN_EMAIL, GEN_DNS, GEN_URI, GEN_IPADD */

/* The name as a string of bytes when it is one of KIND and can be used, NULL otherwise. */
static const ASN1_STRING *usable_name(const GENERAL_NAME *name, int kind)
{
	int type;
	const ASN1_STRING *s = GENERAL_NAME_get0_value(name, &type);
	int size;

	if ((kind != ANY_KIND && type != kind) ||
	    (type != GEN_EMAIL && type != GEN_DNS && type != GEN_URI && type != GEN_IPADD))
		return NULL;
	size = ASN1_STRING_length(s);
	if (type == GEN_IPADD)
		return size == 4 || size == 16 ? s : NULL;
	return size == 0 || memchr(ASN1_STRING_get0_data(s), '\0', (size_t)size) == NULL ? s : NULL;
}

/* How many usable names of KIND there are; *FOUND becomes the one that WANTED others precede. */
static int walk_names(const GENERAL_NAMES *names, int kind, int wanted, const ASN1_STRING **found)
{
	int count = 0;

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const ASN1_STRING *s = usable_name(sk_GENERAL_NAME_value(names, i), kind);

		if (s != NULL && count++ == wanted)
			*found = s;
	}
	return count;
}

static bool add_alt_name(const ASN1_STRING *s, int kind, struct text *out)
{
	char ip[INET6_ADDRSTRLEN];
	int size = ASN1_STRING_length(s);

	if (kind == GEN_IPADD)
		return add_string(
			out, inet_ntop(size == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(s), ip, sizeof(ip)));
	add(out, ASN1_STRING_get0_data(s), (size_t)size);
	return true;
}

static GENERAL_NAMES *alt_names(const X509 *cert)
{
	return X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
}

/* Number INDEX of the names of KIND; negative counts from the end, -1 is the last. */
static bool get_alt_name(const struct view *v, int kind, struct text *out)
{
	GENERAL_NAMES *names = alt_names(v->cert);
	const ASN1_STRING *s = NULL;
	int index = v->index;
	bool good;

	if (index < 0)
		index += walk_names(names, kind, -1, &s);
	walk_names(names, kind, index, &s);
	good = s != NULL && add_alt_name(s, kind, out);
	GENERAL_NAMES_free(names);
	return good;
}

/* How many there are of KIND, or of the kind that the index names. */
static bool get_alt_count(const struct view *v, int kind, struct text *out)
{
	GENERAL_NAMES *names = alt_names(v->cert);
	const ASN1_STRING *unused;

	add_number(out, walk_names(names, kind != ANY_KIND ? kind : v->index, -1, &unused));
	GENERAL_NAMES_free(names);
	return true;
}

/* ---- the table */

#define ROW(...)    \
	{               \
		__VA_ARGS__ \
	}

/* `subject` or `issuer` as a select is its common name, as a variable the whole line. */
#define NAME_ROWS(path, variable, get)                                                                     \
	ROW(path, NULL, get, NID_commonName, SIDED),                                                           \
		ROW(NULL, variable "|" variable "_line", get, NID_undef, SIDED),                                   \
		ROW(path ".cn|commonName|common_name|name", variable "_cn", get, NID_commonName, SIDED),           \
		ROW(path ".l|localityName|locality_name|locality", variable "_locality", get, NID_localityName,    \
	        SIDED),                                                                                        \
		ROW(path ".c|countryName|country_name|country", variable "_country", get, NID_countryName, SIDED), \
		ROW(path ".st|stateOrProvinceName|state_or_province_name|state", variable "_state", get,           \
	        NID_stateOrProvinceName, SIDED),                                                               \
		ROW(path ".o|organizationName|organization_name|organization", variable "_organization", get,      \
	        NID_organizationName, SIDED),                                                                  \
		ROW(path ".ou|organizationalUnitName|organizational_unit_name|unit", variable "_unit", get,        \
	        NID_organizationalUnitName, SIDED),                                                            \
		ROW(path ".uid|uniqueIdentifier|unique_identifier", variable "_uid", get, NID_userId, SIDED)

#define ALT_ROWS(words, variable, kind)                             \
	ROW("*." words, variable, get_alt_name, kind, SIDED | INDEXED), \
		ROW("*.count." words, NULL, get_alt_count, kind, SIDED)

static const struct item items[] = {
	{"", NULL, get_description, 0, 0},
	{"version", "version", get_protocol, 0, 0},
	{"desc|description", "description", get_description, 0, 0},
	{"cipher", "cipher_info", get_cipher, 0, 0},
	{"cipher.bits", "cipher_bits", get_cipher_bits, 0, NUMBER},
	{"server_name|serverName", "peer_server_name", get_server_name, 0, 0},
	{"*.verified", "verified", get_state, X509_V_OK, SIDED | NUMBER},
	{"*.revoked", "revoked", get_state, X509_V_ERR_CERT_REVOKED, SIDED | NUMBER},
	{"*.expired", "expired", get_state, X509_V_ERR_CERT_HAS_EXPIRED, SIDED | NUMBER},
	{"*.self_signed", "selfsigned", get_state, X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, SIDED | NUMBER},
	{"*", NULL, get_subject, NID_commonName, SIDED},
	NAME_ROWS("*.subject|subj", "subject", get_subject),
	NAME_ROWS("*.issuer", "issuer", get_issuer),
	{"*.version", "version", get_version, 0, SIDED},
	{"*.sn|serialNumber|serial_number", "serial", get_serial, 0, SIDED | NUMBER},
	{"*.notBefore|not_before", "notBefore", get_time, NOT_BEFORE, SIDED},
	{"*.notAfter|not_after", "notAfter", get_time, NOT_AFTER, SIDED},
	{"*.rawCert|raw_cert", "raw_cert", get_pem, PLAIN, SIDED},
	{"*.URLEncodedCert|urlencoded_cert", "urlencoded_cert", get_pem, URL_ENCODED, SIDED},
	{"*.verified_cert_chain", NULL, get_chain, 0, SIDED | INDEXED},
	ALT_ROWS("email|emailAddress|email_address", "san_email", GEN_EMAIL),
	ALT_ROWS("host|hostname|dns", "san_hostname", GEN_DNS),
	ALT_ROWS("uri|url|urn", "san_uri", GEN_URI),
	ALT_ROWS("ip|IPAddress|ip_address", "san_ip", GEN_IPADD),
	{NULL, "san_count", get_alt_count, ANY_KIND, SIDED | KINDS},
};

#define ITEMS ((int)(sizeof(items) / sizeof(items[0])))

/* An item and a side as one number, which is what the host keeps for us. */
static int code_of(int item, enum side side)
{
	return 2 * item + (int)side;
}

/* ---- finding an item */

/* Whether WORD is one of the SIZE bytes of spellings at WORDS. */
static bool match_word(const char *words, size_t size, const str *word)
{
	const char *end = words + size;

	for (;;) {
		const char *stop = memchr(words, '|', (size_t)(end - words));
		size_t n = (size_t)((stop != NULL ? stop : end) - words);

		if (n == (size_t)word->len && strncasecmp(words, word->s, n) == 0)
			return true;
		if (stop == NULL)
			return false;
		words = stop + 1;
	}
}

/* The same for a word of a path, where "*" sets *SIDE. */
static bool match_path_word(const char *words, size_t size, const str *word, enum side *side)
{
	static const char peer[] = "peer", mine[] = "my|me|myself";

	if (size != 1 || *words != '*')
		return match_word(words, size, word);
	*side = match_word(peer, sizeof(peer) - 1, word) ? PEER : MINE;
	return *side == PEER || match_word(mine, sizeof(mine) - 1, word);
}

static bool match_path(const char *path, const str *words, int count, enum side *side)
{
	for (int i = 0; i < count; i++) {
		size_t n = strcspn(path, ".");

		if (n == 0 || !match_path_word(path, n, &words[i], side))
			return false;
		path += n + (path[n] == '.');
	}
	return *path == '\0';
}

/* The code of the select with these words, -1 when there is none. */
static int find_path(const str *words, int count)
{
	enum side side = PEER;

	for (int i = 0; i < ITEMS; i++)
		if (items[i].path != NULL && match_path(items[i].path, words, count, &side))
			return code_of(i, (items[i].flags & SIDED) != 0 ? side : PEER);
	return -1;
}

/* Cuts PREFIX off S when it begins with it. */
static bool cut_prefix(str *s, const char *prefix)
{
	int n = (int)strlen(prefix);

	if (s->len < n || strncmp(s->s, prefix, (size_t)n) != 0)
		return false;
	s->s += n;
	s->len -= n;
	return true;
}

static int find_variable(const str *name, unsigned sided, enum side side)
{
	for (int i = 0; i < ITEMS; i++)
		if (items[i].variable != NULL && (items[i].flags & SIDED) == sided &&
		    match_word(items[i].variable, strlen(items[i].variable), name))
			return code_of(i, side);
	return -1;
}

/*
 * The code of what $tls(KEY) and KSR.tls.cget(KEY) give: a variable with or without "tls_", its side also as
 * p_ or m_.
 */
static int find_key(const str *key)
{
	str name = *key;
	int code;

	cut_prefix(&name, "tls_");
	code = find_variable(&name, 0, PEER);
	if (code >= 0)
		return code;
	if (cut_prefix(&name, "peer_") || cut_prefix(&name, "p_"))
		return find_variable(&name, SIDED, PEER);
	if (cut_prefix(&name, "my_") || cut_prefix(&name, "m_"))
		return find_variable(&name, SIDED, MINE);
	return -1;
}

/* ---- asking */

static struct tls_connection *hold_connection(const struct sip_msg *msg)
{
	if (msg == NULL || (msg->rcv.proto != PROTO_TLS && msg->rcv.proto != PROTO_WSS))
		return NULL;
	return tls_list_hold(msg->rcv.proto_reserved1);
}

/* The certificate that we showed: of a server's several ones the one that this client got. */
static const X509 *own_certificate(SSL *ssl)
{
	if (SSL_is_server(ssl))
		SSL_set_current_cert(ssl, SSL_CERT_SET_SERVER);
	return SSL_get_certificate(ssl);
}

/*
 * Reads from SSL, which its holder keeps from changing. What OpenSSL complains of is no business of the next
 * caller's.
 */
static bool read_item(SSL *ssl, int code, int index, struct text *out)
{
	const struct item *item = &items[code / 2];
	struct view v = {.ssl = ssl, .side = (enum side)(code % 2), .index = index};
	bool good;

	v.cert = v.side == PEER ? SSL_get0_peer_certificate(ssl) : own_certificate(ssl);
	if (v.cert == NULL && (item->flags & SIDED) != 0 && item->get != get_state)
		return false;
	ERR_set_mark();
	add(out, "", 0);
	good = item->get(&v, item->what, out);
	ERR_pop_to_mark();
	return good && !out->broken;
}

/*
 * Item CODE about the connection that MSG came over. Returns whether there is such information; OUT then
 * points to a buffer of this process's that stays as it is for RESULTS - 1 more questions.
 */
static bool ask(const struct sip_msg *msg, int code, int index, str *out)
{
	struct tls_connection *t = hold_connection(msg);
	struct text *text;
	bool good;

	if (t == NULL)
		return false;
	text = new_text();
	good = t->ssl != NULL && read_item(ssl_of(t->ssl), code, index, text);
	tls_list_release(t);
	if (good) {
		out->s = text->s;
		out->len = (int)text->used;
	}
	return good;
}

/* ---- selects */

/* S as a script has it, as far as it fits OUT. */
static const char *spell(const select_t *s, char *out, size_t size)
{
	size_t used = (size_t)snprintf(out, size, "@tls");

	for (int i = 1; i < s->n && used < size; i++) {
		const select_param_t *p = &s->params[i];

		used += (size_t)(p->type == SEL_PARAM_INT
		                     ? snprintf(out + used, size - used, "[%d]", p->v.i)
		                     : snprintf(out + used, size - used, ".%.*s", p->v.s.len, p->v.s.s));
	}
	return out;
}

/*
 * Finds out, when the script is read, what S asks for, and leaves it in the first two parameters. Returns 0
 * or -1 (logged).
 */
static int resolve(select_t *s)
{
	str words[PATH_WORDS];
	char name[128];
	int count = 0, index = 0, code = -1;
	bool indexed = s->n > 1 && s->params[s->n - 1].type == SEL_PARAM_INT;
	int last = s->n - (indexed ? 1 : 0);

	while (count < PATH_WORDS && count + 1 < last && s->params[count + 1].type == SEL_PARAM_STR) {
		words[count] = s->params[count + 1].v.s;
		count++;
	}
	if (count + 1 == last)
		code = find_path(words, count);
	if (code < 0 || (indexed && (items[code / 2].flags & INDEXED) == 0)) {
		LM_ERR("there is no select %s\n", spell(s, name, sizeof(name)));
		return -1;
	}
	if (indexed)
		index = s->params[s->n - 1].v.i;
	s->params[0] = (select_param_t){.type = SEL_PARAM_INT, .v.i = code};
	s->params[1] = (select_param_t){.type = SEL_PARAM_INT, .v.i = index};
	return 0;
}

/*
 * Without a result to fill: the script is being read. Returns 0, 1 when there is no such information, -1 on
 * an error.
 */
static int run(str *res, select_t *s, struct sip_msg *msg)
{
	if (res == NULL)
		return resolve(s);
	return ask(msg, s->params[0].v.i, s->params[1].v.i, res) ? 0 : 1;
}

static select_row_t select_rows[] = {
	{NULL, SEL_PARAM_STR, str_init("tls"), run, CONSUME_ALL | FIXUP_CALL},
	{NULL, SEL_PARAM_INT, {NULL, 0}, NULL, 0},
};

/* ---- pseudo-variables */

static int get_variable(struct sip_msg *msg, pv_param_t *param, pv_value_t *res)
{
	int code = param->pvn.u.isname.name.n, index = 0, flags = 0;
	long number;
	str value;

	if (pv_get_spec_index(msg, param, &index, &flags) != 0 || !ask(msg, code, index, &value))
		return pv_get_null(msg, param, res);
	if ((items[code / 2].flags & NUMBER) == 0)
		return pv_get_strval(msg, param, res, &value);
	number = strtol(value.s, NULL, 10); /* a serial number beyond an int is 0 as a number */
	return pv_get_strintval(msg, param, res, &value,
	                        number >= INT_MIN && number <= INT_MAX ? (int)number : 0);
}

/* [N], but neither [*] nor [+]: they would look like an answer. */
static int parse_index(pv_spec_t *sp, str *in)
{
	if (in->len == 1 && (*in->s == '*' || *in->s == '+')) {
		LM_ERR("[%c] is no index here: give a number\n", *in->s);
		return -1;
	}
	return pv_parse_index(sp, in);
}

/* [KIND], by the words that the select takes. */
static int parse_kind(pv_spec_t *sp, str *in)
{
	str words[] = {str_init("peer"), str_init("count"), *in};
	int code = find_path(words, 3);

	if (code < 0) {
		LM_ERR("[%.*s] is no kind of name: email, hostname, uri or ip\n", in->len, in->s);
		return -1;
	}
	sp->pvp.pvi.type = PV_IDX_INT;
	sp->pvp.pvi.u.ival = items[code / 2].what;
	return 0;
}

/* $tls(KEY) */
static int parse_key(pv_spec_t *sp, str *in)
{
	int code = find_key(in);

	if (code < 0) {
		LM_ERR("there is no $tls(%.*s)\n", in->len, in->s);
		return -1;
	}
	return pv_init_iname(sp, code);
}

static pv_export_t variables[VARIABLES] = {
	{str_init("tls"), PVT_OTHER, get_variable, NULL, parse_key, NULL, NULL, 0},
};
static char variable_names[VARIABLES][NAME_SIZE];

/* Adds the variable called PREFIX and the SIZE bytes at NAME. Returns 0, -1 when the table is full. */
static int add_variable(const char *prefix, const char *name, int size, int item, enum side side)
{
	static int count = 1;
	pv_parse_index_f parse = (items[item].flags & INDEXED) != 0 ? parse_index : NULL;
	char *full = variable_names[count];
	pv_export_t *v = &variables[count];

	if (count >= VARIABLES - 1)
		return -1;
	if ((items[item].flags & KINDS) != 0)
		parse = parse_kind;
	snprintf(full, NAME_SIZE, "tls_%s%.*s", prefix, size, name);
	*v = (pv_export_t){{full, (int)strlen(full)}, PVT_OTHER, get_variable, NULL, NULL, parse, pv_init_iname,
	                   code_of(item, side)};
	count++;
	return 0;
}

/* Adds the variables of one item, one for each spelling and side. */
static int add_variables(int item)
{
	const char *name = items[item].variable;
	bool sided = (items[item].flags & SIDED) != 0;

	while (name != NULL && *name != '\0') {
		int size = (int)strcspn(name, "|");

		if (add_variable(sided ? "peer_" : "", name, size, item, PEER) != 0 ||
		    (sided && add_variable("my_", name, size, item, MINE) != 0))
			return -1;
		name += size + (name[size] == '|');
	}
	return 0;
}

/* ---- for tls_mod.c */

int tls_select_load(void)
{
	for (int i = 0; i < ITEMS; i++) {
		if (add_variables(i) != 0) {
			LM_BUG("more variables than %d\n", VARIABLES);
			return -1;
		}
	}
	return register_select_table(select_rows) < 0 ? -1 : 0;
}

struct _pv_export *tls_select_variables(void)
{
	return variables;
}

struct sr_kemi_xval *tls_select_cget(struct sip_msg *msg, struct _str *key)
{
	static sr_kemi_xval_t value;
	int code = find_key(key);

	memset(&value, 0, sizeof(value));
	if (code < 0)
		LM_WARN("KSR.tls.cget(\"%.*s\"): there is no such value\n", key->len, key->s);
	if (code >= 0 && ask(msg, code, 0, &value.v.s))
		value.vtype = SR_KEMIP_STR;
	else
		sr_kemi_xval_null(&value, SR_KEMI_XVAL_NULL_EMPTY);
	return &value;
}
