/*
 * crypto/openssl/chain.h - certificates from files, each with the chain that is sent with it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CRYPTO_OPENSSL_CHAIN_H
#define TLS_CRYPTO_OPENSSL_CHAIN_H

#include "tls.h"
#include "tls_config.h"
#include "crypto/crypto.h"
#include "crypto/openssl/compat.h"

struct tls_report;

/* What the file of a chain holds. */
struct tls_chain_file {
	char *path;
	X509 *leaf;
	STACK_OF(X509) *others;
	int *lines;   /* of the leaf's BEGIN, then of those of the others */
	bool skipped; /* something in it was skipped, and that is reported */
};

/*
 * Gives CTX the pair of CHAIN and KEY; FROM has the origins of the certificate and of the key. Shared scope. Returns 0,
 * or -1 when they do not match, OpenSSL finds them too weak, or memory is short (in R).
 */
int tls_chain_use(SSL_CTX *ctx, struct tls_chain *chain, struct tls_key *key, const struct tls_origin from[2],
                  struct tls_report *r);

/* Still the chain's. */
const struct tls_chain_file *tls_chain_file(const struct tls_chain *chain);

#endif
