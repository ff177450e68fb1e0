/*
 * crypto/openssl/library.h - OpenSSL as a whole
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CRYPTO_OPENSSL_LIBRARY_H
#define TLS_CRYPTO_OPENSSL_LIBRARY_H

struct ossl_lib_ctx_st;

/* The library context that all processes share; NULL before tls_crypto_start_shared(). */
struct ossl_lib_ctx_st *tls_library_context(void);

#endif
