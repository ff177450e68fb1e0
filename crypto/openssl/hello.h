/*
 * crypto/openssl/hello.h - the choice of a domain by ClientHello
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CRYPTO_OPENSSL_HELLO_H
#define TLS_CRYPTO_OPENSSL_HELLO_H

#include "tls.h"

struct ssl_ctx_st;

/* Lets connections of CTX, that of a domain of ROLE, ask for their domain and keys when they need them. */
void tls_hello_setup(struct ssl_ctx_st *ctx, enum tls_role role);

#endif
