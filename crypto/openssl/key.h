/*
 * crypto/openssl/key.h - private keys from files
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CRYPTO_OPENSSL_KEY_H
#define TLS_CRYPTO_OPENSSL_KEY_H

#include "tls.h"
#include "tls_config.h"
#include "crypto/crypto.h"
#include "crypto/openssl/compat.h"

/* Still KEY's, and in no process what it signs with, unless tls_key_adopt() says so. */
EVP_PKEY *tls_key_parsed(const struct tls_key *key);

/* The path of its file, still KEY's. */
const char *tls_key_path(const struct tls_key *key);

/*
 * In the shared scope, in the process that is about to sign: gives SSL this process's own copy of KEY when it is of a
 * kind that needs one. Returns 0, -1 when memory is short.
 */
int tls_key_adopt(SSL *ssl, struct tls_key *key);

#endif
