/*
 * crypto/openssl/describe.c - what a certificate says
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "crypto/crypto.h"
#include "crypto/openssl/compat.h"
#include "crypto/openssl/types.h"

/* Where a text goes. */
struct target {
	tls_sink *sink;
	void *to;
};

static enum tls_cert_answer give(const struct target *t, const char *bytes, size_t size)
{
	t->sink(t->to, bytes, size);
	return TLS_CERT_GIVEN;
}

/* TEXT is OpenSSL's to free; NULL: no memory. */
static enum tls_cert_answer give_text(const struct target *t, char *text)
{
	enum tls_cert_answer answer = text != NULL ? give(t, text, strlen(text)) : TLS_CERT_NONE;

	OPENSSL_free(text);
	return answer;
}

/* ---- names */

/* The fields of names, from ..._CN to ..._UID, for subject and issuer. */
static const int name_fields[] = {
	NID_commonName,       NID_localityName,           NID_countryName, NID_stateOrProvinceName,
	NID_organizationName, NID_organizationalUnitName, NID_userId,
};

static enum tls_cert_answer give_name_field(const struct target *t, const X509_NAME *name, int nid)
{
	int at = X509_NAME_get_index_by_NID(name, nid, -1), size;
	unsigned char *utf8 = NULL;

	if (at < 0)
		return TLS_CERT_NONE;
	size = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
	if (size < 0)
		return TLS_CERT_NONE;
	give(t, (const char *)utf8, (size_t)size);
	OPENSSL_free(utf8);
	return TLS_CERT_GIVEN;
}

/* FIELD counts from ..._LINE. */
static enum tls_cert_answer give_name(const struct target *t, const X509_NAME *name, int field)
{
	if (field == 0)
		return give_text(t, X509_NAME_oneline(name, NULL, 0));
	return give_name_field(t, name, name_fields[field - 1]);
}

/* ---- what OpenSSL prints */

static bool print_rfc2253(BIO *bio, const X509 *x)
{
	return X509_NAME_print_ex(bio, X509_get_subject_name(x), 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) >= 0;
}

static bool print_not_before(BIO *bio, const X509 *x)
{
	return ASN1_TIME_print(bio, X509_get0_notBefore(x)) == 1;
}

static bool print_not_after(BIO *bio, const X509 *x)
{
	return ASN1_TIME_print(bio, X509_get0_notAfter(x)) == 1;
}

static bool print_pem(BIO *bio, const X509 *x)
{
	return PEM_write_bio_X509(bio, x) == 1;
}

static bool print_alt_names(BIO *bio, const X509 *x)
{
	int found;
	GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, &found, NULL);
	bool printed = names != NULL || found == -1; /* -1: there are none */

	for (int i = 0; printed && i < sk_GENERAL_NAME_num(names); i++)
		printed = (i == 0 || BIO_puts(bio, ", ") > 0) &&
		          GENERAL_NAME_print(bio, sk_GENERAL_NAME_value(names, i)) == 1;
	GENERAL_NAMES_free(names);
	return printed;
}

static enum tls_cert_answer give_printed(const struct target *t, bool (*print)(BIO *, const X509 *),
                                         const X509 *x)
{
	BIO *bio = BIO_new(BIO_s_mem());
	bool printed = bio != NULL && print(bio, x);
	char *bytes;
	long size = printed ? BIO_get_mem_data(bio, &bytes) : 0;

	if (size > 0)
		give(t, bytes, (size_t)size);
	BIO_free(bio);
	return printed ? TLS_CERT_GIVEN : TLS_CERT_UNREADABLE;
}

/* ---- numbers */

static enum tls_cert_answer give_version(const struct target *t, const X509 *x)
{
	char digits[24];

	snprintf(digits, sizeof(digits), "%ld", X509_get_version(x));
	return give(t, digits, strlen(digits));
}

static enum tls_cert_answer give_serial(const struct target *t, const X509 *x)
{
	BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(x), NULL);
	enum tls_cert_answer answer = give_text(t, number != NULL ? BN_bn2dec(number) : NULL);

	BN_free(number);
	return answer;
}

/* ---- all of them */

static enum tls_cert_answer describe(const X509 *x, enum tls_cert_field field, const struct target *t)
{
	switch (field) {
	case TLS_CERT_SUBJECT_RFC2253: return give_printed(t, print_rfc2253, x);
	case TLS_CERT_VERSION: return give_version(t, x);
	case TLS_CERT_SERIAL: return give_serial(t, x);
	case TLS_CERT_NOT_BEFORE: return give_printed(t, print_not_before, x);
	case TLS_CERT_NOT_AFTER: return give_printed(t, print_not_after, x);
	case TLS_CERT_PEM: return give_printed(t, print_pem, x);
	case TLS_CERT_ALT_NAMES: return give_printed(t, print_alt_names, x);
	default: break;
	}
	if (field >= TLS_CERT_ISSUER_LINE)
		return give_name(t, X509_get_issuer_name(x), (int)field - TLS_CERT_ISSUER_LINE);
	return give_name(t, X509_get_subject_name(x), (int)field - TLS_CERT_SUBJECT_LINE);
}

enum tls_cert_answer tls_cert_describe(const struct tls_cert *cert, enum tls_cert_field field, tls_sink *sink,
                                       void *to)
{
	struct target t = {sink, to};
	enum tls_cert_answer answer;

	ERR_set_mark();
	answer = describe(cert_of(cert), field, &t);
	if (answer == TLS_CERT_UNREADABLE)
		ERR_clear_last_mark();
	else
		ERR_pop_to_mark();
	return answer;
}

/* ---- apart from texts */

/* 0: another kind. */
static enum tls_alt_kind kind_of(int type)
{
	switch (type) {
	case GEN_EMAIL: return TLS_ALT_EMAIL;
	case GEN_DNS: return TLS_ALT_DNS;
	case GEN_URI: return TLS_ALT_URI;
	case GEN_IPADD: return TLS_ALT_IP;
	default: return (enum tls_alt_kind)0;
	}
}

void tls_cert_walk_names(const struct tls_cert *cert,
                         void (*each)(void *arg, enum tls_alt_kind kind, const char *bytes, size_t size),
                         void *arg)
{
	GENERAL_NAMES *names;

	ERR_set_mark();
	names = X509_get_ext_d2i(cert_of(cert), NID_subject_alt_name, NULL, NULL);
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		int type;
		const ASN1_STRING *s = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);

		if (kind_of(type) != 0)
			each(arg, kind_of(type), (const char *)ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s));
	}
	GENERAL_NAMES_free(names);
	ERR_pop_to_mark();
}

bool tls_cert_end(const struct tls_cert *cert, int64_t *out)
{
	struct tm tm;
	bool known;

	ERR_set_mark();
	known = ASN1_TIME_to_tm(X509_get0_notAfter(cert_of(cert)), &tm) == 1;
	ERR_pop_to_mark();
	if (known)
		*out = timegm(&tm);
	return known;
}

const char *tls_cert_key(const struct tls_cert *cert, int *bits)
{
	const EVP_PKEY *key;
	const char *type;

	ERR_set_mark();
	key = X509_get0_pubkey(cert_of(cert));
	type = key != NULL ? EVP_PKEY_get0_type_name(key) : NULL;
	*bits = key != NULL ? EVP_PKEY_get_bits(key) : 0;
	ERR_pop_to_mark();
	return type != NULL ? type : "unknown";
}
