/*
 * crypto/openssl/random.h - the kernel as the source of random numbers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CRYPTO_OPENSSL_RANDOM_H
#define TLS_CRYPTO_OPENSSL_RANDOM_H

#include "tls.h"

struct ossl_lib_ctx_st;

/*
 * Makes the kernel the source of LIBCTX's random numbers, before any is drawn; if the kernel gives
 * none (an old sandbox), the library's own generators stay. Inside the shared scope. Returns 0, -1 without
 * memory.
 */
int tls_random_start(struct ossl_lib_ctx_st *libctx);

#endif
