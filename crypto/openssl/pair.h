/*
 * crypto/openssl/pair.h - two ends of a connection, joined in memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CRYPTO_OPENSSL_PAIR_H
#define TLS_CRYPTO_OPENSSL_PAIR_H

struct ssl_st;

/*
 * Joins SERVER and CLIENT, whose roles are set, and drives them through their handshake. Returns 0, -1 when it fails
 * (errors in OpenSSL's queue) or memory is short. The caller frees both.
 */
int tls_pair_shake_hands(struct ssl_st *server, struct ssl_st *client);

#endif
