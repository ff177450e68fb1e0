/*
 * crypto/openssl/compress.h - TLS compression
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CRYPTO_OPENSSL_COMPRESS_H
#define TLS_CRYPTO_OPENSSL_COMPRESS_H

#include "tls.h"

struct ssl_ctx_st;
struct ssl_st;

/* Whether contexts should offer and accept compression. */
bool tls_compress_offered(void);

/* Whether CTX, whose ciphers are set, would agree to it. From security level 2 on OpenSSL does not. */
bool tls_compress_allowed(const struct ssl_ctx_st *ctx);

/* "DEFLATE", or "none". SSL is held, or its handshake is done. */
const char *tls_compress_name(const struct ssl_st *ssl);

#endif
