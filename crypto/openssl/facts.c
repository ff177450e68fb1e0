/*
 * crypto/openssl/facts.c - what is known of a connection
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include "crypto/crypto.h"
#include "crypto/openssl/compat.h"
#include "crypto/openssl/types.h"
#include "crypto/openssl/compress.h"

static enum tls_verify_result verify_result(long result)
{
	switch (result) {
	case X509_V_OK: return TLS_VERIFY_GOOD;
	case X509_V_ERR_CERT_REVOKED: return TLS_VERIFY_REVOKED;
	case X509_V_ERR_CERT_HAS_EXPIRED: return TLS_VERIFY_EXPIRED;
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT: return TLS_VERIFY_SELF_SIGNED;
	default: return TLS_VERIFY_OTHER;
	}
}

/* Protocol versions are consecutive numbers. */
static int minor_of(int version)
{
	return version >= TLS1_VERSION && version <= TLS1_3_VERSION ? version - TLS1_VERSION : -1;
}

void tls_ssl_facts(const struct tls_ssl *ssl, struct tls_facts *out)
{
	const SSL *s = ssl_of(ssl);
	const SSL_CIPHER *cipher = SSL_get_current_cipher(s);

	*out = (struct tls_facts){
		.minor = minor_of(SSL_version(s)),
		.version = SSL_get_version(s),
		.cipher = cipher != NULL ? SSL_CIPHER_get_name(cipher) : NULL,
		.cipher_bits = cipher != NULL ? SSL_CIPHER_get_bits(cipher, NULL) : 0,
		.server_name = SSL_get_servername(s, TLSEXT_NAMETYPE_host_name),
		.compression = tls_compress_name(s),
		.verify = verify_result(SSL_get_verify_result(s)),
		.has_peer_certificate = SSL_get0_peer_certificate(s) != NULL,
		.resumed = SSL_session_reused(s) == 1,
	};
}

const char *tls_ssl_describe_cipher(const struct tls_ssl *ssl, char *out, size_t size)
{
	const SSL_CIPHER *cipher = SSL_get_current_cipher(ssl_of(ssl));

	return cipher != NULL ? SSL_CIPHER_description(cipher, out, (int)size) : NULL;
}

const struct tls_cert *tls_ssl_peer_cert(const struct tls_ssl *ssl)
{
	return (const struct tls_cert *)SSL_get0_peer_certificate(ssl_of(ssl));
}

const struct tls_cert *tls_ssl_own_cert(struct tls_ssl *ssl)
{
	SSL *s = ssl_of(ssl);

	if (SSL_is_server(s)) {
		ERR_set_mark();
		SSL_set_current_cert(s, SSL_CERT_SET_SERVER);
		ERR_pop_to_mark();
	}
	return (const struct tls_cert *)SSL_get_certificate(s);
}

const struct tls_cert *tls_ssl_chain_cert(const struct tls_ssl *ssl, int index)
{
	return (const struct tls_cert *)sk_X509_value(SSL_get0_verified_chain(ssl_of(ssl)), index);
}
