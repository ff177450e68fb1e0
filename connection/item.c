/*
 * connection/item.c - the pieces of information that a script may ask for about a connection
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * One table, ITEMS, binds each piece of information to its select path, its variable and the function that reads it.
 *
 * A name with a zero byte in it is not a name: such a field is missing, such an alternative name is skipped. So
 * "good.example\0.evil.example" can never be taken for "good.example", here or by whatever gets the value next.
 */
#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include "connection/item.h"
#include "host/compat.h"
#include "crypto/crypto.h"
#include "connection/answer.h"

/* A question: about one connection, held, and a certificate (NULL: there is none). */
struct question {
	const struct tls_ssl *ssl;
	const struct tls_cert *cert;
	struct tls_facts facts;
	enum tls_item_side side;
	int index;
};

/*
 * One piece of information. GET adds it to OUT, or returns false when there is none. In the names "|" separates
 * spellings of one word; in PATH "*" stands for peer, or for my, me, myself.
 */
struct item {
	const char *path; /* @tls.PATH; NULL: no select */
	const char
		*variable; /* $tls_VARIABLE, or, when sided, $tls_peer_VARIABLE and $tls_my_VARIABLE; NULL: none */
	bool (*get)(const struct question *q, int what, struct tls_answer *out);
	int what;
	unsigned flags;
};

/* ---- the connection */

static bool get_protocol(const struct question *q, int what, struct tls_answer *out)
{
	(void)what;
	return tls_answer_add_string(out, q->facts.version);
}

static bool get_description(const struct question *q, int what, struct tls_answer *out)
{
	char line[256];

	(void)what;
	return tls_answer_add_string(out, tls_ssl_describe_cipher(q->ssl, line, sizeof(line)));
}

static bool get_cipher(const struct question *q, int what, struct tls_answer *out)
{
	(void)what;
	return tls_answer_add_string(out, q->facts.cipher);
}

static bool get_cipher_bits(const struct question *q, int what, struct tls_answer *out)
{
	(void)what;
	return q->facts.cipher != NULL && tls_answer_add_number(out, q->facts.cipher_bits);
}

static bool get_server_name(const struct question *q, int what, struct tls_answer *out)
{
	(void)what;
	return tls_answer_add_string(out, q->facts.server_name);
}

/* Whether verifying the peer's certificate ended with the result WHAT. Our own certificate is not verified here. */
static bool get_state(const struct question *q, int what, struct tls_answer *out)
{
	return q->side == TLS_ITEM_PEER &&
	       tls_answer_add_number(out, q->cert != NULL && q->facts.verify == (enum tls_verify_result)what);
}

/* ---- a certificate: all of these are asked only when there is one */

/* Gives FIELD of CERT to SINK. */
static bool add_field(const struct tls_cert *cert, int field, tls_sink *sink, struct tls_answer *out)
{
	char reason[256];

	switch (tls_cert_describe(cert, (enum tls_cert_field)field, sink, out)) {
	case TLS_CERT_GIVEN: return out->broken || memchr(out->s, '\0', out->used) == NULL;
	case TLS_CERT_NONE: return false;
	case TLS_CERT_UNREADABLE: break;
	}
	LM_ERR("a field of a certificate cannot be read: %s\n", tls_crypto_errors(reason, sizeof(reason)));
	return false;
}

static bool get_field(const struct question *q, int field, struct tls_answer *out)
{
	return add_field(q->cert, field, tls_answer_sink, out);
}

static bool get_url_encoded(const struct question *q, int field, struct tls_answer *out)
{
	return add_field(q->cert, field, tls_answer_sink_url, out);
}

/* The chain by which the peer was verified, its own certificate first, whichever side is named. */
static bool get_chain(const struct question *q, int field, struct tls_answer *out)
{
	const struct tls_cert *cert = tls_ssl_chain_cert(q->ssl, q->index);

	return cert != NULL && add_field(cert, field, tls_answer_sink, out);
}

/* ---- alternative names */

enum { ANY_KIND = 0 }; /* else one of enum tls_alt_kind */

/* A walk over the usable names of one kind. */
struct walk {
	int kind;
	int count;              /* of those so far */
	int wanted;             /* the number of the one that goes to OUT, from 0 on */
	struct tls_answer *out; /* NULL: they are only counted */
	bool found;
};

static bool is_usable(enum tls_alt_kind kind, const char *bytes, size_t size)
{
	if (kind == TLS_ALT_IP)
		return size == 4 || size == 16;
	return size == 0 || memchr(bytes, '\0', size) == NULL;
}

static void add_name(struct tls_answer *out, enum tls_alt_kind kind, const char *bytes, size_t size)
{
	char ip[INET6_ADDRSTRLEN];

	if (kind == TLS_ALT_IP)
		tls_answer_add_string(out, inet_ntop(size == 4 ? AF_INET : AF_INET6, bytes, ip, sizeof(ip)));
	else
		tls_answer_add(out, bytes, size);
}

static void take_name(void *arg, enum tls_alt_kind kind, const char *bytes, size_t size)
{
	struct walk *w = arg;

	if ((w->kind != ANY_KIND && (int)kind != w->kind) || !is_usable(kind, bytes, size))
		return;
	if (w->out != NULL && w->count == w->wanted) {
		add_name(w->out, kind, bytes, size);
		w->found = true;
	}
	w->count++;
}

static int count_names(const struct tls_cert *cert, int kind)
{
	struct walk w = {.kind = kind};

	tls_cert_walk_names(cert, take_name, &w);
	return w.count;
}

/* Number INDEX of the names of KIND; a negative one counts from the end, -1 is the last. */
static bool get_alt_name(const struct question *q, int kind, struct tls_answer *out)
{
	struct walk w = {.kind = kind, .wanted = q->index, .out = out};

	if (q->index < 0)
		w.wanted += count_names(q->cert, kind);
	tls_cert_walk_names(q->cert, take_name, &w);
	return w.found;
}

/* How many there are of KIND, or of the kind that the index names. */
static bool get_alt_count(const struct question *q, int kind, struct tls_answer *out)
{
	return tls_answer_add_number(out, count_names(q->cert, kind != ANY_KIND ? kind : q->index));
}

/* ---- the table */

#define ROW(...)    \
	{               \
		__VA_ARGS__ \
	}

/* `subject` or `issuer` as a select is its common name, as a variable the whole line. WHO: a part of the field names. */
#define NAME_ROWS(path, variable, WHO)                                                                      \
	ROW(path, NULL, get_field, TLS_CERT_##WHO##_CN, TLS_ITEM_SIDED),                                        \
		ROW(NULL, variable "|" variable "_line", get_field, TLS_CERT_##WHO##_LINE, TLS_ITEM_SIDED),         \
		ROW(path ".cn|commonName|common_name|name", variable "_cn", get_field, TLS_CERT_##WHO##_CN,         \
	        TLS_ITEM_SIDED),                                                                                \
		ROW(path ".l|localityName|locality_name|locality", variable "_locality", get_field,                 \
	        TLS_CERT_##WHO##_L, TLS_ITEM_SIDED),                                                            \
		ROW(path ".c|countryName|country_name|country", variable "_country", get_field, TLS_CERT_##WHO##_C, \
	        TLS_ITEM_SIDED),                                                                                \
		ROW(path ".st|stateOrProvinceName|state_or_province_name|state", variable "_state", get_field,      \
	        TLS_CERT_##WHO##_ST, TLS_ITEM_SIDED),                                                           \
		ROW(path ".o|organizationName|organization_name|organization", variable "_organization", get_field, \
	        TLS_CERT_##WHO##_O, TLS_ITEM_SIDED),                                                            \
		ROW(path ".ou|organizationalUnitName|organizational_unit_name|unit", variable "_unit", get_field,   \
	        TLS_CERT_##WHO##_OU, TLS_ITEM_SIDED),                                                           \
		ROW(path ".uid|uniqueIdentifier|unique_identifier", variable "_uid", get_field,                     \
	        TLS_CERT_##WHO##_UID, TLS_ITEM_SIDED)

#define ALT_ROWS(words, variable, kind)                                               \
	ROW("*." words, variable, get_alt_name, kind, TLS_ITEM_SIDED | TLS_ITEM_INDEXED), \
		ROW("*.count." words, NULL, get_alt_count, kind, TLS_ITEM_SIDED)

static const struct item items[] = {
	{"", NULL, get_description, 0, 0},
	{"version", "version", get_protocol, 0, 0},
	{"desc|description", "description", get_description, 0, 0},
	{"cipher", "cipher_info", get_cipher, 0, 0},
	{"cipher.bits", "cipher_bits", get_cipher_bits, 0, TLS_ITEM_NUMBER},
	{"server_name|serverName", "peer_server_name", get_server_name, 0, 0},
	{"*.verified", "verified", get_state, TLS_VERIFY_GOOD, TLS_ITEM_SIDED | TLS_ITEM_NUMBER},
	{"*.revoked", "revoked", get_state, TLS_VERIFY_REVOKED, TLS_ITEM_SIDED | TLS_ITEM_NUMBER},
	{"*.expired", "expired", get_state, TLS_VERIFY_EXPIRED, TLS_ITEM_SIDED | TLS_ITEM_NUMBER},
	{"*.self_signed", "selfsigned", get_state, TLS_VERIFY_SELF_SIGNED, TLS_ITEM_SIDED | TLS_ITEM_NUMBER},
	{"*", NULL, get_field, TLS_CERT_SUBJECT_CN, TLS_ITEM_SIDED},
	NAME_ROWS("*.subject|subj", "subject", SUBJECT),
	NAME_ROWS("*.issuer", "issuer", ISSUER),
	{"*.version", "version", get_field, TLS_CERT_VERSION, TLS_ITEM_SIDED},
	{"*.sn|serialNumber|serial_number", "serial", get_field, TLS_CERT_SERIAL,
     TLS_ITEM_SIDED | TLS_ITEM_NUMBER},
	{"*.notBefore|not_before", "notBefore", get_field, TLS_CERT_NOT_BEFORE, TLS_ITEM_SIDED},
	{"*.notAfter|not_after", "notAfter", get_field, TLS_CERT_NOT_AFTER, TLS_ITEM_SIDED},
	{"*.rawCert|raw_cert", "raw_cert", get_field, TLS_CERT_PEM, TLS_ITEM_SIDED},
	{"*.URLEncodedCert|urlencoded_cert", "urlencoded_cert", get_url_encoded, TLS_CERT_PEM, TLS_ITEM_SIDED},
	{"*.verified_cert_chain", NULL, get_chain, TLS_CERT_PEM, TLS_ITEM_SIDED | TLS_ITEM_INDEXED},
	ALT_ROWS("email|emailAddress|email_address", "san_email", TLS_ALT_EMAIL),
	ALT_ROWS("host|hostname|dns", "san_hostname", TLS_ALT_DNS),
	ALT_ROWS("uri|url|urn", "san_uri", TLS_ALT_URI),
	ALT_ROWS("ip|IPAddress|ip_address", "san_ip", TLS_ALT_IP),
	{NULL, "san_count", get_alt_count, ANY_KIND, TLS_ITEM_SIDED | TLS_ITEM_KINDS},
};

#define ITEMS ((int)(sizeof(items) / sizeof(items[0])))

/* An item and a side as one number, which is what the host keeps for us. */
static int code_of(int item, enum tls_item_side side)
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
static bool match_path_word(const char *words, size_t size, const str *word, enum tls_item_side *side)
{
	static const char peer[] = "peer", mine[] = "my|me|myself";

	if (size != 1 || *words != '*')
		return match_word(words, size, word);
	*side = match_word(peer, sizeof(peer) - 1, word) ? TLS_ITEM_PEER : TLS_ITEM_MINE;
	return *side == TLS_ITEM_PEER || match_word(mine, sizeof(mine) - 1, word);
}

static bool match_path(const char *path, const str *words, int count, enum tls_item_side *side)
{
	for (int i = 0; i < count; i++) {
		size_t n = strcspn(path, ".");

		if (n == 0 || !match_path_word(path, n, &words[i], side))
			return false;
		path += n + (path[n] == '.');
	}
	return *path == '\0';
}

int tls_item_find_path(const str *words, int count)
{
	enum tls_item_side side = TLS_ITEM_PEER;

	for (int i = 0; i < ITEMS; i++)
		if (items[i].path != NULL && match_path(items[i].path, words, count, &side))
			return code_of(i, (items[i].flags & TLS_ITEM_SIDED) != 0 ? side : TLS_ITEM_PEER);
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

static int find_variable(const str *name, unsigned sided, enum tls_item_side side)
{
	for (int i = 0; i < ITEMS; i++)
		if (items[i].variable != NULL && (items[i].flags & TLS_ITEM_SIDED) == sided &&
		    match_word(items[i].variable, strlen(items[i].variable), name))
			return code_of(i, side);
	return -1;
}

int tls_item_find_key(const str *key)
{
	str name = *key;
	int code;

	cut_prefix(&name, "tls_");
	code = find_variable(&name, 0, TLS_ITEM_PEER);
	if (code >= 0)
		return code;
	if (cut_prefix(&name, "peer_") || cut_prefix(&name, "p_"))
		return find_variable(&name, TLS_ITEM_SIDED, TLS_ITEM_PEER);
	if (cut_prefix(&name, "my_") || cut_prefix(&name, "m_"))
		return find_variable(&name, TLS_ITEM_SIDED, TLS_ITEM_MINE);
	return -1;
}

unsigned tls_item_flags(int code)
{
	return items[code / 2].flags;
}

int tls_item_kind(int code)
{
	return items[code / 2].what;
}

/* The variables of one item, one for each spelling and side. As tls_item_walk_variables(). */
static int walk_spellings(int item, int (*each)(const char *prefix, const char *name, int size, int code))
{
	const char *name = items[item].variable;
	bool sided = (items[item].flags & TLS_ITEM_SIDED) != 0;
	int result = 0;

	while (result == 0 && name != NULL && *name != '\0') {
		int size = (int)strcspn(name, "|");

		result = each(sided ? "peer_" : "", name, size, code_of(item, TLS_ITEM_PEER));
		if (result == 0 && sided)
			result = each("my_", name, size, code_of(item, TLS_ITEM_MINE));
		name += size + (name[size] == '|');
	}
	return result;
}

int tls_item_walk_variables(int (*each)(const char *prefix, const char *name, int size, int code))
{
	int result = 0;

	for (int i = 0; i < ITEMS && result == 0; i++)
		result = walk_spellings(i, each);
	return result;
}

/* ---- reading */

bool tls_item_read(struct tls_ssl *ssl, int code, int index, struct tls_answer *out)
{
	const struct item *item = &items[code / 2];
	struct question q = {.ssl = ssl, .side = (enum tls_item_side)(code % 2), .index = index};

	tls_ssl_facts(ssl, &q.facts);
	q.cert = q.side == TLS_ITEM_PEER ? tls_ssl_peer_cert(ssl) : tls_ssl_own_cert(ssl);
	if (q.cert == NULL && (item->flags & TLS_ITEM_SIDED) != 0 && item->get != get_state)
		return false;
	return item->get(&q, item->what, out) && !out->broken;
}
