/*
 * crypto/openssl/chain.h - whether chains hold together
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CRYPTO_OPENSSL_CHAIN_H
#define TLS_CRYPTO_OPENSSL_CHAIN_H

#include "tls.h"

struct evp_pkey_st;
struct tls_chain_file;
struct tls_config;
struct tls_domain;
struct tls_report;

/*
 * Warns of chains with holes, strangers and twins, and of trust anchors that anchor nothing, each once. DOMAINS are
 * the first COUNT sections of CFG. Shared scope.
 */
void tls_chains_check(const struct tls_domain *domains, int count, const struct tls_config *cfg,
                      struct tls_report *r);

/* Which of the others in FILE, from 1, has this private key; 0: none. */
int tls_chain_owner(const struct tls_chain_file *file, struct evp_pkey_st *key);

#endif
