/*
 * crypto/openssl/policy.c - the defaults of each security profile, and settings that contradict it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * "compatible" is the library's own choice, with block modes and static RSA for old phones, but without finite-field
 * DHE. "rfc9325" is RFC 9325 as RFC 10015 updates it: no static RSA and no DHE in TLS 1.2 (RFC 10015), the suites of
 * RFC 9325 section 4.2, the keys of section 4.5. A section's own settings take precedence, with a warning where they
 * contradict the profile.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "crypto/openssl/policy.h"
#include "tls.h"
#include "settings/report.h"
#include "settings/table.h"
#include "tls_config.h"
#include "tls_domain_types.h"
#include "crypto/openssl/compat.h"
#include "crypto/openssl/types.h"
#include "crypto/openssl/compress.h"

#define PROFILE "security_profile = rfc9325"

/* RFC 9325 section 4.2.1: a server prefers the stronger one, a client names this one first. */
static const char *const suites[] = {
	[TLS_SERVER] = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
				   "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256",
	[TLS_CLIENT] = "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256:"
				   "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES256-GCM-SHA384",
};

/* OpenSSL's level 2: 112 bits, which are RSA 2048, curves of 224 bits and hashes newer than SHA-1. */
#define LEVEL 2

static bool is_tls13(const SSL_CIPHER *c)
{
	return strcmp(SSL_CIPHER_get_version(c), "TLSv1.3") == 0;
}

static bool is_dhe(const SSL_CIPHER *c)
{
	int kx = SSL_CIPHER_get_kx_nid(c);

	return kx == NID_kx_dhe || kx == NID_kx_dhe_psk;
}

/*
 * Takes finite-field DHE out of CTX's list of ciphers for TLS 1.2 and older: a handshake with it costs a
 * server three times as much as with ECDHE. By name, as the list may be the system's own. Returns 0 or -1.
 */
static int drop_dhe(SSL_CTX *ctx)
{
	STACK_OF(SSL_CIPHER) *all = SSL_CTX_get_ciphers(ctx);
	size_t size = 1, used = 0;
	char *list;
	int result;

	for (int i = 0; i < sk_SSL_CIPHER_num(all); i++)
		size += strlen(SSL_CIPHER_get_name(sk_SSL_CIPHER_value(all, i))) + 1;
	list = calloc(1, size);
	if (list == NULL)
		return -1;
	for (int i = 0; i < sk_SSL_CIPHER_num(all); i++) {
		const SSL_CIPHER *c = sk_SSL_CIPHER_value(all, i);

		if (!is_tls13(c) && !is_dhe(c))
			used += (size_t)sprintf(list + used, "%s%s", used > 0 ? ":" : "", SSL_CIPHER_get_name(c));
	}
	result = used == 0 || SSL_CTX_set_cipher_list(ctx, list) == 1 ? 0 : -1;
	free(list);
	return result;
}

int tls_policy_preset(SSL_CTX *ctx, enum tls_security_profile profile, enum tls_role role)
{
	if (profile == TLS_SECURITY_COMPATIBLE)
		return drop_dhe(ctx);
	if (SSL_CTX_get_security_level(ctx) < LEVEL)
		SSL_CTX_set_security_level(ctx, LEVEL);
	return SSL_CTX_set_cipher_list(ctx, suites[role]) == 1 &&
	               SSL_CTX_set1_sigalgs_list(ctx, TLS_COMPAT_SIGNATURES) == 1
	           ? 0
	           : -1;
}

/* ---- settings that contradict the profile */

/* A section, and where to report. */
struct check {
	const struct tls_domain *d;
	const struct tls_section *section;
	struct tls_report *r;
};

static void say(const struct check *c, const char *setting, const char *format, ...) TLS_FORMAT(3, 4);

static void say(const struct check *c, const char *setting, const char *format, ...)
{
	struct tls_origin from = tls_section_origin(c->section, setting);
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	tls_report_add(c->r, TLS_WARNING, from.file, from.line, setting, "%s", text);
}

static void check_versions(const struct check *c)
{
	if (c->d->oldest < TLS1_2_VERSION)
		say(c, "method",
		    "accepts TLS 1.1 and older, which " PROFILE " excludes (RFC 9325, section 3.1.1); use TLSv1.2+");
}

/* Whether RFC 9325 or RFC 10015 advises against C. */
static bool is_weak(const SSL_CIPHER *c)
{
	int kx = SSL_CIPHER_get_kx_nid(c);

	return !is_tls13(c) && (!SSL_CIPHER_is_aead(c) || SSL_CIPHER_get_auth_nid(c) == NID_auth_null ||
	                        (kx != NID_kx_ecdhe && kx != NID_kx_ecdhe_psk));
}

static void check_ciphers(const struct check *c)
{
	STACK_OF(SSL_CIPHER) *all = SSL_CTX_get_ciphers(ctx_of(c->d->ctx));
	int level = SSL_CTX_get_security_level(ctx_of(c->d->ctx)), weak = 0;
	const char *first = NULL;

	for (int i = 0; i < sk_SSL_CIPHER_num(all); i++) {
		const SSL_CIPHER *cipher = sk_SSL_CIPHER_value(all, i);

		if (is_weak(cipher) && weak++ == 0)
			first = SSL_CIPHER_get_name(cipher);
	}
	if (weak > 0)
		say(c, "cipher_list",
		    "includes %d ciphers that " PROFILE " excludes, such as %s: block modes, or no forward "
		    "secrecy by ECDHE (RFC 9325, sections 4.1 and 4.2; RFC 10015); the profile's own list is the default",
		    weak, first);
	if (level < LEVEL)
		say(c, "cipher_list",
		    "@SECLEVEL=%d allows keys and signatures that are weaker than " PROFILE
		    " requires (RFC 9325, section 4.5); without it the level is %d",
		    level, LEVEL);
}

/* Whether NAME, SIZE bytes of a list, is a curve of less than 224 bits. */
static bool is_small_curve(const char *name, size_t size)
{
	static const char *const small[] = {
		"sect163k1", "sect163r1", "sect163r2", "sect193r1",  "sect193r2", "secp160k1", "secp160r1",
		"secp160r2", "secp192k1", "secp192r1", "prime192v1", "P-192",     "K-163",     "B-163",
	};

	for (size_t i = 0; i < sizeof(small) / sizeof(small[0]); i++)
		if (strlen(small[i]) == size && strncasecmp(small[i], name, size) == 0)
			return true;
	return false;
}

static void check_groups(const struct check *c)
{
	const char *p = c->d->groups != NULL ? c->d->groups : "";

	for (size_t n; *p != '\0'; p += n + (p[n] != '\0')) {
		size_t mark = strspn(p, "?*");

		n = strcspn(p, ":/");
		if (n > mark && is_small_curve(p + mark, n - mark))
			say(c, "groups",
			    "%.*s has less than the 224 bits that " PROFILE " requires (RFC 9325, section 4.5)",
			    (int)(n - mark), p + mark);
	}
}

/* At the level of the profile OpenSSL itself refuses these; a section may have set a lower one. */
static void check_pair(const struct check *c, int number)
{
	const char *setting = number == 0 ? "certificate" : "certificate2";
	X509 *x = c->d->chains[number] != NULL ? cert_of(tls_chain_certificate(c->d->chains[number])) : NULL;
	const EVP_PKEY *key = x != NULL ? X509_get0_pubkey(x) : NULL;
	int digest, bits;

	if (key != NULL && EVP_PKEY_get_security_bits(key) < 112)
		say(c, setting, "has a key of %d bits, too short for " PROFILE " (RFC 9325, section 4.5)",
		    EVP_PKEY_get_bits(key));
	if (x != NULL && X509_get_signature_info(x, &digest, NULL, &bits, NULL) == 1 && digest != NID_undef &&
	    bits < 112)
		say(c, setting, "is signed with %s, which " PROFILE " excludes (RFC 9325, section 4.5; RFC 9155)",
		    OBJ_nid2sn(digest));
}

void tls_policy_check(const struct tls_domain *d, const struct tls_section *section, struct tls_report *r)
{
	struct check c = {.d = d, .section = section, .r = r};

	if (section->settings.security_profile != TLS_SECURITY_RFC9325)
		return;
	check_versions(&c);
	check_ciphers(&c);
	check_groups(&c);
	check_pair(&c, 0);
	check_pair(&c, 1);
	if (tls_compress_offered())
		say(&c, "security_profile",
		    "rfc9325 excludes compression: remove tls_disable_compression = 0 from the module's parameters "
		    "(RFC 9325, section 3.3)");
	ERR_clear_error();
}
