/*
 * crypto/openssl/lifetime.h - how long a verification is valid
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CRYPTO_OPENSSL_LIFETIME_H
#define TLS_CRYPTO_OPENSSL_LIFETIME_H

#include "tls.h"

struct asn1_string_st;
struct x509_store_ctx_st;

#define TLS_LIFETIME_ENDLESS INT64_MAX

/*
 * How long the finished verification in STORE is valid, in seconds since 1970: until the first certificate of the
 * chain, its authorities' included, or the first revocation list ends. For a certificate that was accepted although
 * it is not valid: until its own end, if that is in the future. 0 when it cannot be told. Shared scope, in the
 * process that verifies.
 */
int64_t tls_lifetime_end(struct x509_store_ctx_st *store);

/* T in seconds since 1970; 0 when it is NULL or not a time. Any process. */
int64_t tls_lifetime_seconds(const struct asn1_string_st *t);

#endif
