/*
 * crypto/openssl/ciphers.h - names of cipher suites
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CRYPTO_OPENSSL_CIPHERS_H
#define TLS_CRYPTO_OPENSSL_CIPHERS_H

#include "tls.h"

struct ssl_ctx_st;
struct tls_origin;
struct tls_report;

/*
 * Warns of each word of LIST, which CTX has as its ciphers and which is set at FROM, that stands for nothing in
 * this OpenSSL. In the shared scope; leaves the error queue as it is; says nothing without memory.
 */
void tls_ciphers_check(const char *list, struct ssl_ctx_st *ctx, const struct tls_origin *from,
                       struct tls_report *r);

#endif
