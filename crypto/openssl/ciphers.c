/*
 * crypto/openssl/ciphers.c - names in cipher_list that OpenSSL ignores silently
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * OpenSSL accepts a list as soon as one of its words stands for a cipher, and names are case-sensitive. So when a
 * name is misspelt, a cipher that was wanted is missing, or one that was excluded stays.
 */
#include <string.h>

#include "crypto/openssl/ciphers.h"
#include "settings/report.h"
#include "tls_config.h"
#include "crypto/openssl/compat.h"

#define SEPARATORS ":,; "
#define WORD_SIZE  128

/*
 * Names from older versions of OpenSSL, or of ciphers that need an engine (GOST), alone or as a part of a cipher's
 * name. A list has them to exclude such ciphers, or loses nothing without them.
 */
static const char *const retired[] = {
	"SSLv2",  "SSLv3",  "EXP",         "EXPORT",  "EXPORT40", "EXPORT56", "EXP1024",   "LOW",      "MEDIUM",
	"RC4",    "RC2",    "DES",         "3DES",    "CBC3",     "IDEA",     "MD5",       "KRB5",     "kKRB5",
	"aKRB5",  "SEED",   "kECDH",       "kECDHr",  "kECDHe",   "aECDH",    "ECDH",      "kDH",      "kDHr",
	"kDHd",   "aDH",    "DH",          "FZA",     "aFZA",     "kFZA",     "eFZA",      "ADH",      "AECDH",
	"NULL",   "aNULL",  "eNULL",       "DSS",     "aDSS",     "PSK",      "SRP",       "kSRP",     "aSRP",
	"GOST",   "kGOST",  "aGOST",       "aGOST01", "aGOST94",  "GOST94",   "GOST89MAC", "CAMELLIA", "ARIA",
	"GOST89", "GOST12", "GOST89MAC12", "aGOST12", "kGOST18",  "GOST2001", "GOST2012",  NULL,
};

static bool is_retired(const char *word)
{
	for (size_t n; *word != '\0'; word += n + (word[n] != '\0')) {
		n = strcspn(word, "-");
		for (int i = 0; retired[i] != NULL; i++)
			if (strlen(retired[i]) == n && strncmp(retired[i], word, n) == 0)
				return true;
	}
	return false;
}

/* Whether OpenSSL, which also accepts the names of older suites here, knows NAME as a suite of TLS 1.3. */
static bool is_suite(SSL *ssl, const char *name)
{
	STACK_OF(SSL_CIPHER) *all = SSL_set_ciphersuites(ssl, name) == 1 ? SSL_get_ciphers(ssl) : NULL;

	for (int i = 0; all != NULL && i < sk_SSL_CIPHER_num(all); i++) {
		const SSL_CIPHER *c = sk_SSL_CIPHER_value(all, i);

		if (strcmp(SSL_CIPHER_get_name(c), name) == 0)
			return strcmp(SSL_CIPHER_get_version(c), "TLSv1.3") == 0;
	}
	return false;
}

/* Whether OpenSSL knows NAME as that of a cipher, of a suite of TLS 1.3, or of many of one kind. */
static bool is_known(SSL *ssl, const char *name)
{
	return strncmp(name, "TLS_", 4) == 0 ? is_suite(ssl, name) : SSL_set_cipher_list(ssl, name) == 1;
}

/* The first part of WORD, names joined by "+", that stands for nothing, cut out in place; NULL: none. */
static const char *unknown_part(SSL *ssl, char *word)
{
	char *rest = word, *part;

	if (is_known(ssl, word))
		return NULL;
	while ((part = strsep(&rest, "+")) != NULL)
		if (!is_known(ssl, part) && !is_retired(part))
			return part;
	return NULL;
}

static void warn_of(const char *name, bool excluded, const struct tls_origin *from, struct tls_report *r)
{
	const char *own = OPENSSL_cipher_name(name);

	if (strncmp(own, "(", 1) != 0 && strcmp(own, name) != 0)
		tls_report_add(r, TLS_WARNING, from->file, from->line, from->setting,
		               "OpenSSL ignores %s: in a list it is called %s; write that", name, own);
	else
		tls_report_add(r, TLS_WARNING, from->file, from->line, from->setting,
		               "OpenSSL knows no cipher named %s and ignores it%s; \"openssl ciphers -v\" "
		               "lists what there is",
		               name, excluded ? ", so nothing is excluded" : "");
}

/* The LENGTH bytes at TEXT: one word of a list. */
static void check_word(SSL *ssl, const char *text, size_t length, const struct tls_origin *from,
                       struct tls_report *r)
{
	bool excluded = *text == '!' || *text == '-';
	size_t sign = excluded || *text == '+' ? 1 : 0;
	char word[WORD_SIZE];
	const char *unknown;

	if (length <= sign || length >= sizeof(word) || *text == '@' || memchr(text, '=', length) != NULL)
		return; /* not a name */
	memcpy(word, text + sign, length - sign);
	word[length - sign] = '\0';
	unknown = unknown_part(ssl, word);
	if (unknown != NULL)
		warn_of(unknown, excluded, from, r);
}

void tls_ciphers_check(const char *list, SSL_CTX *ctx, const struct tls_origin *from, struct tls_report *r)
{
	SSL *ssl = SSL_new(ctx);

	ERR_set_mark();
	for (size_t n; ssl != NULL && *list != '\0'; list += n) {
		list += strspn(list, SEPARATORS);
		n = strcspn(list, SEPARATORS);
		if (n > 0)
			check_word(ssl, list, n, from, r);
	}
	ERR_pop_to_mark();
	SSL_free(ssl);
}
