/*
 * crypto/openssl/compat.h - OpenSSL's headers, and every difference between its versions
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * Oldest supported: OpenSSL 3.0, since library contexts do not exist before it. No other file looks at the
 * library's version number.
 */
#ifndef TLS_CRYPTO_OPENSSL_COMPAT_H
#define TLS_CRYPTO_OPENSSL_COMPAT_H

#include <openssl/opensslv.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#if OPENSSL_VERSION_NUMBER < 0x30000000L
#error "OpenSSL 3.0 or newer is needed: older ones have no library contexts"
#endif

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

/* The oldest protocol version that the library was compiled with. */
#if !defined(OPENSSL_NO_TLS1) && !defined(OPENSSL_NO_TLS1_METHOD)
#define TLS_COMPAT_OLDEST TLS1_VERSION
#else
#define TLS_COMPAT_OLDEST TLS1_2_VERSION
#endif

/*
 * The library's own choice of groups without those of RFC 7919: a client that offers nothing else makes a
 * server of OpenSSL 3.0 work for 0.1 s and more (ffdhe8192) before it has shown anything of itself. Newer
 * ones can name their own list.
 */
#if OPENSSL_VERSION_NUMBER >= 0x30500000L
#define TLS_COMPAT_GROUPS "DEFAULT:-ffdhe2048:-ffdhe3072"
#else
#define TLS_COMPAT_GROUPS "X25519:P-256:X448:P-521:P-384"
#endif

/*
 * Signatures with SHA-256 or better, and with ML-DSA where there is any: in a handshake, and by the authorities
 * of a peer's certificates where the library looks at those.
 */
#define TLS_COMPAT_CLASSIC_SIGNATURES                                                               \
	"ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512:ed25519:ed448:rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:" \
	"rsa_pss_rsae_sha512:rsa_pss_pss_sha256:rsa_pss_pss_sha384:rsa_pss_pss_sha512:RSA+SHA256:RSA+SHA384:RSA+SHA512"
#if OPENSSL_VERSION_NUMBER >= 0x30500000L
#define TLS_COMPAT_SIGNATURES "?mldsa65:?mldsa87:?mldsa44:" TLS_COMPAT_CLASSIC_SIGNATURES
#else
#define TLS_COMPAT_SIGNATURES TLS_COMPAT_CLASSIC_SIGNATURES
#endif

/*
 * Certificate compression (RFC 8879), which came with 3.2, and only where the library was built with a
 * compressor. Without it the switches are no more than that.
 */
static inline bool tls_compat_has_certificate_compression(void)
{
#if OPENSSL_VERSION_NUMBER >= 0x30200000L && !defined(OPENSSL_NO_COMP_ALG)
	return true;
#else
	return false;
#endif
}

/*
 * Whether CTX sends and takes compressed certificates. Before they are sent,
 * tls_compat_compress_certificates().
 */
static inline void tls_compat_set_certificate_compression(SSL_CTX *ctx, bool on)
{
#if OPENSSL_VERSION_NUMBER >= 0x30200000L
	if (on)
		SSL_CTX_clear_options(ctx,
		                      SSL_OP_NO_TX_CERTIFICATE_COMPRESSION | SSL_OP_NO_RX_CERTIFICATE_COMPRESSION);
	else
		SSL_CTX_set_options(ctx, SSL_OP_NO_TX_CERTIFICATE_COMPRESSION | SSL_OP_NO_RX_CERTIFICATE_COMPRESSION);
#else
	(void)ctx;
	(void)on;
#endif
}

/* Compresses the chains of CTX, once and for all its connections. One that gains nothing stays as it is. */
static inline void tls_compat_compress_certificates(SSL_CTX *ctx)
{
#if OPENSSL_VERSION_NUMBER >= 0x30200000L && !defined(OPENSSL_NO_COMP_ALG)
	if (SSL_CTX_compress_certs(ctx, 0) != 1)
		ERR_clear_error();
#else
	(void)ctx;
#endif
}

/* Whether the message at which SSL's handshake stands is the one with the peer's certificates, compressed or not. */
static inline bool tls_compat_reads_certificates(const SSL *ssl)
{
	switch (SSL_get_state(ssl)) {
	case TLS_ST_CR_CERT:
	case TLS_ST_SR_CERT: return true;
#if OPENSSL_VERSION_NUMBER >= 0x30200000L
	case TLS_ST_CR_COMP_CERT:
	case TLS_ST_SR_COMP_CERT: return true;
#endif
	default: return false;
	}
}

/*
 * TLS compression. libssl takes a method as a structure that no header shows, and has no function that makes
 * one with the id of DEFLATE. These are the library's own structures; crypto/openssl/compress.c proves that before it
 * uses them. An OpenSSL without compression lacks the functions, so they are bound only when they are there.
 */
#ifndef OPENSSL_NO_COMP
#include <openssl/comp.h>
#else
COMP_CTX *COMP_CTX_new(COMP_METHOD *method);
void COMP_CTX_free(COMP_CTX *ctx);
const COMP_METHOD *COMP_CTX_get_method(const COMP_CTX *ctx);
int COMP_get_type(const COMP_METHOD *method);
const char *COMP_get_name(const COMP_METHOD *method);
int COMP_compress_block(COMP_CTX *ctx, unsigned char *out, int room, unsigned char *in, int size);
int COMP_expand_block(COMP_CTX *ctx, unsigned char *out, int room, unsigned char *in, int size);
#endif
#pragma weak COMP_CTX_new
#pragma weak COMP_CTX_free
#pragma weak COMP_CTX_get_method
#pragma weak COMP_get_type
#pragma weak COMP_get_name
#pragma weak COMP_compress_block
#pragma weak COMP_expand_block

#if OPENSSL_VERSION_NUMBER >= 0x30200000L
typedef size_t tls_compat_comp_size;
typedef ptrdiff_t tls_compat_comp_result;
#else
typedef unsigned int tls_compat_comp_size;
typedef int tls_compat_comp_result;
#endif

/* From IN to OUT. Returns the bytes written, -1 on a failure. */
typedef tls_compat_comp_result tls_compat_comp_work(COMP_CTX *ctx, unsigned char *out,
                                                    tls_compat_comp_size room, unsigned char *in,
                                                    tls_compat_comp_size size);

/* COMP_METHOD; init() returns 1, or 0 on a failure, after which finish() is not called. */
struct tls_compat_comp_method {
	int type;
	const char *name;
	int (*init)(COMP_CTX *ctx);
	void (*finish)(COMP_CTX *ctx);
	tls_compat_comp_work *compress, *expand;
};

/* COMP_CTX; DATA is the method's. */
struct tls_compat_comp_ctx {
	const COMP_METHOD *method;
	unsigned long compress_in, compress_out, expand_in, expand_out;
	void *data;
};

/* SSL_COMP, from OPENSSL_malloc(): the library may free it. */
struct tls_compat_ssl_comp {
	int id;
	const char *name;
	COMP_METHOD *method;
};

static inline bool tls_compat_has_compression(void)
{
	return COMP_CTX_new != NULL;
}

/*
 * Whether the running library can stand in for the one of the headers: same major version, not an older minor
 * one.
 */
static inline bool tls_compat_library_fits(void)
{
	unsigned long running = OpenSSL_version_num() >> 20, built = OPENSSL_VERSION_NUMBER >> 20;

	return running >> 8 == built >> 8 && running >= built;
}

#endif
