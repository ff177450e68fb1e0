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

/* Lists and where each one is from, in shared memory. NULL: none. */
struct tls_crls;

/* Adds CRL, from LINE of PATH, to *ALL, which keeps a reference. Shared scope. Returns 0, -1 without memory. */
int tls_crls_add(struct tls_crls **all, struct X509_crl_st *crl, const char *path, int line);

/*
 * Whether CRL lists only the changes since another one. OpenSSL would take it for a full list, and accept
 * certificates that only the full one names, so it must not be added to a store.
 */
bool tls_crls_is_delta(const struct X509_crl_st *crl);

/* Frees ALL. Any process, any scope. */
void tls_crls_free(struct tls_crls *all);

/*
 * Warns at AT about each authority in STORE whose certificates OpenSSL will all refuse because of the lists in STORE,
 * which are those of ALL, with file, line and reason; and about lists of kinds that OpenSSL does not use. A check
 * that found nothing is repeated only after the validity of a list or an authority has begun or ended, so ALL and
 * STORE must always be the same pair. Shared scope; one process at a time, while others may use STORE.
 */
void tls_crls_check(struct tls_crls *all, struct x509_store_st *store, const struct tls_place *at);

#endif
