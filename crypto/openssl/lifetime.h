/*
 * crypto/openssl/lifetime.h - how long a verification holds
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
 * When the first thing ends that the verification in STORE, which is done, rests on, in seconds since 1970:
 * a certificate of the chain, its authority's included, or a revocation list. Of a certificate that was
 * accepted without being good, its own end, if that is to come. 0 when it cannot be told. Shared scope, in
 * the process that verifies.
 */
int64_t tls_lifetime_end(struct x509_store_ctx_st *store);

/* T in seconds since 1970; 0 when it is NULL or no time. Any process. */
int64_t tls_lifetime_seconds(const struct asn1_string_st *t);

#endif
