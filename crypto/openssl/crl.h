/*
 * crypto/openssl/crl.h - revocation lists
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CRYPTO_OPENSSL_CRL_H
#define TLS_CRYPTO_OPENSSL_CRL_H

#include "tls.h"

struct X509_crl_st;
struct tls_place;
struct x509_store_st;

/* Lists and where each is from, in shared memory. NULL is none. */
struct tls_crls;

/* Adds CRL, of which it keeps a reference, from LINE of PATH. Shared scope. Returns 0, -1 without memory. */
int tls_crls_add(struct tls_crls **all, struct X509_crl_st *crl, const char *path, int line);

/*
 * Whether CRL lists only what has changed since another one. OpenSSL would take it for a full list, and let in whom
 * only the full one names, so it must not get into a store.
 */
bool tls_crls_is_delta(const struct X509_crl_st *crl);

/* Any process, any scope. */
void tls_crls_free(struct tls_crls *all);

/*
 * Warns, for AT, of each authority in STORE all of whose certificates OpenSSL will refuse by the lists in it, which are
 * of ALL: by file, line and reason; and of lists of kinds that it does not use. A check that had nothing to say is
 * repeated only when a list or an authority has begun or ended to be valid since: that is why ALL and STORE always
 * come together. Shared scope; one process at a time, while others may use STORE.
 */
void tls_crls_check(struct tls_crls *all, struct x509_store_st *store, const struct tls_place *at);

#endif
