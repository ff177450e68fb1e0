/*
 * crypto/openssl/types.h - the seam's opaque types as OpenSSL's own
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * The seam's types are never defined. A pointer to one is a pointer to the library's object under another name, so
 * that a connection costs no block more than the library's own.
 */
#ifndef TLS_CRYPTO_OPENSSL_TYPES_H
#define TLS_CRYPTO_OPENSSL_TYPES_H

#include "crypto/crypto.h"
#include "crypto/openssl/compat.h"

static inline SSL *ssl_of(const struct tls_ssl *ssl)
{
	return (SSL *)(uintptr_t)ssl;
}

static inline SSL_CTX *ctx_of(const struct tls_ctx *ctx)
{
	return (SSL_CTX *)(uintptr_t)ctx;
}

static inline X509 *cert_of(const struct tls_cert *cert)
{
	return (X509 *)(uintptr_t)cert;
}

#endif
