/*
 * crypto/openssl/trust.h - trust anchors and revocation lists from files
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CRYPTO_OPENSSL_TRUST_H
#define TLS_CRYPTO_OPENSSL_TRUST_H

#include "tls.h"
#include "tls_config.h"
#include "crypto/crypto.h"
#include "crypto/openssl/compat.h"

struct tls_report;

/* Makes CTX trust TRUST. Shared scope. Returns 0, -1 without memory. */
int tls_trust_use(SSL_CTX *ctx, struct tls_trust *trust);

/* Still TRUST's. */
X509_STORE *tls_trust_anchors(const struct tls_trust *trust);

/*
 * For a section that verifies peers by TRUST: warns of anchors that anchor nothing, and of revocation lists of CRL
 * (NULL: none count) by which all certificates of an authority are refused. FROM as for tls_trust_load(). Shared
 * scope.
 */
void tls_trust_say(const struct tls_trust *trust, const char *crl, const struct tls_origin from[3],
                   struct tls_report *r);

#endif
