/*
 * crypto/openssl/failure.c - why a step of a connection failed
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <stdio.h>

#include "crypto/crypto.h"
#include "connection/stats.h"
#include "crypto/openssl/compat.h"
#include "crypto/openssl/types.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What number NUMBER, one of OpenSSL's reasons, of X.509's results or of TLS's alerts, counts as. */
struct meaning {
	long number;
	enum tls_stat stat;
};

static const struct meaning of_reasons[] = {
	{SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, TLS_STAT_FAILED_NO_CERTIFICATE},
	{SSL_R_NO_SHARED_CIPHER, TLS_STAT_FAILED_CIPHER},
	{SSL_R_NO_SUITABLE_KEY_SHARE, TLS_STAT_FAILED_CIPHER},
	{SSL_R_NO_SUITABLE_GROUPS, TLS_STAT_FAILED_CIPHER},
	{SSL_R_NO_SHARED_GROUPS, TLS_STAT_FAILED_CIPHER},
	{SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, TLS_STAT_FAILED_CIPHER},
	{SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS, TLS_STAT_FAILED_CIPHER},
	{SSL_R_WRONG_SIGNATURE_TYPE, TLS_STAT_FAILED_CIPHER},
	{SSL_R_NO_CIPHERS_AVAILABLE, TLS_STAT_FAILED_CIPHER},
	{SSL_R_WRONG_CIPHER_RETURNED, TLS_STAT_FAILED_CIPHER},
	{SSL_R_UNSUPPORTED_PROTOCOL, TLS_STAT_FAILED_VERSION},
	{SSL_R_VERSION_TOO_LOW, TLS_STAT_FAILED_VERSION},
	{SSL_R_VERSION_TOO_HIGH, TLS_STAT_FAILED_VERSION},
	{SSL_R_WRONG_SSL_VERSION, TLS_STAT_FAILED_VERSION},
	{SSL_R_INAPPROPRIATE_FALLBACK, TLS_STAT_FAILED_VERSION},
	{SSL_R_NO_PROTOCOLS_AVAILABLE, TLS_STAT_FAILED_VERSION},
	{SSL_R_CALLBACK_FAILED, TLS_STAT_FAILED_SERVER_NAME}, /* our only one that refuses is for the name */
	{SSL_R_UNEXPECTED_EOF_WHILE_READING, TLS_STAT_FAILED_PEER_CLOSED},
	{SSL_R_CERT_CB_ERROR, TLS_STAT_FAILED_INTERNAL},
	{ERR_R_INTERNAL_ERROR, TLS_STAT_FAILED_INTERNAL},
	{ERR_R_MALLOC_FAILURE, TLS_STAT_FAILED_MEMORY},
};

static const struct meaning of_verification[] = {
	{X509_V_ERR_CERT_HAS_EXPIRED, TLS_STAT_FAILED_EXPIRED},
	{X509_V_ERR_CERT_NOT_YET_VALID, TLS_STAT_FAILED_EXPIRED},
	{X509_V_ERR_CERT_REVOKED, TLS_STAT_FAILED_REVOKED},
	{X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, TLS_STAT_FAILED_UNKNOWN_ISSUER},
	{X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, TLS_STAT_FAILED_UNKNOWN_ISSUER},
	{X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, TLS_STAT_FAILED_UNKNOWN_ISSUER},
	{X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, TLS_STAT_FAILED_UNKNOWN_ISSUER},
	{X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, TLS_STAT_FAILED_UNKNOWN_ISSUER},
	{X509_V_ERR_CERT_UNTRUSTED, TLS_STAT_FAILED_UNKNOWN_ISSUER},
	{X509_V_ERR_OUT_OF_MEM, TLS_STAT_FAILED_MEMORY},
};

/* Received; RFC 8446 section 6.2. */
static const struct meaning of_alerts[] = {
	{SSL_AD_BAD_CERTIFICATE, TLS_STAT_FAILED_OUR_CERTIFICATE},
	{SSL_AD_UNSUPPORTED_CERTIFICATE, TLS_STAT_FAILED_OUR_CERTIFICATE},
	{SSL_AD_CERTIFICATE_REVOKED, TLS_STAT_FAILED_OUR_CERTIFICATE},
	{SSL_AD_CERTIFICATE_EXPIRED, TLS_STAT_FAILED_OUR_CERTIFICATE},
	{SSL_AD_CERTIFICATE_UNKNOWN, TLS_STAT_FAILED_OUR_CERTIFICATE},
	{SSL_AD_UNKNOWN_CA, TLS_STAT_FAILED_OUR_CERTIFICATE},
	{SSL_AD_CERTIFICATE_REQUIRED, TLS_STAT_FAILED_OUR_CERTIFICATE},
	{SSL_AD_PROTOCOL_VERSION, TLS_STAT_FAILED_VERSION},
	{SSL_AD_INSUFFICIENT_SECURITY, TLS_STAT_FAILED_CIPHER},
};

static enum tls_stat look_up(const struct meaning *table, size_t count, long number, enum tls_stat otherwise)
{
	for (size_t i = 0; i < count; i++)
		if (table[i].number == number)
			return table[i].stat;
	return otherwise;
}

/* What a failure counts as: ERROR is the newest in the queue (0: none), VERIFY_RESULT that of the peer's certificate. */
static enum tls_stat stat_of(unsigned long error, long verify_result)
{
	int reason = ERR_GET_REASON(error), alert = reason - SSL_AD_REASON_OFFSET;
	bool common = (reason & ERR_RFLAG_COMMON) != 0;

	if (error == 0)
		return TLS_STAT_FAILED_PEER_CLOSED;
	if (ERR_GET_LIB(error) != ERR_LIB_SSL && !common)
		return TLS_STAT_FAILED_BAD_DATA; /* another library's reasons are other numbers */
	if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
		return look_up(of_verification, COUNT(of_verification), verify_result, TLS_STAT_FAILED_CERTIFICATE);
	if (!common && alert >= 0 && alert < 256)
		return look_up(of_alerts, COUNT(of_alerts), alert, TLS_STAT_FAILED_ALERT);
	return look_up(of_reasons, COUNT(of_reasons), reason, TLS_STAT_FAILED_BAD_DATA);
}

/*
 * Whether the newest error is that the peer showed more certificates than it may; then that error gets the name of the
 * setting.
 */
static bool is_chain_too_long(SSL *ssl)
{
	unsigned long error = ERR_peek_last_error();
	char limit[96];

	if (ERR_GET_LIB(error) != ERR_LIB_SSL || ERR_GET_REASON(error) != SSL_R_EXCESSIVE_MESSAGE_SIZE ||
	    !tls_compat_reads_certificates(ssl))
		return false;
	snprintf(limit, sizeof(limit),
	         "the peer shows more than %ld bytes of certificates (max_certificate_chain)",
	         SSL_get_max_cert_list(ssl));
	ERR_add_error_data(1, limit);
	return true;
}

enum tls_stat tls_ssl_failure(struct tls_ssl *ssl, char *out, size_t size)
{
	enum tls_stat why = stat_of(ERR_peek_last_error(), SSL_get_verify_result(ssl_of(ssl)));

	if (is_chain_too_long(ssl_of(ssl)))
		why = TLS_STAT_FAILED_CERTIFICATE;
	tls_crypto_errors(out, size);
	return why;
}
