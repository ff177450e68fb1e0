/*
 * crypto/openssl/purpose.h - what a certificate may be used for
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CRYPTO_OPENSSL_PURPOSE_H
#define TLS_CRYPTO_OPENSSL_PURPOSE_H

#include "tls.h"

struct tls_report;
struct tls_section;
struct x509_st;

/*
 * Warns when X, the certificate NUMBER (0 or 1) of SECTION, is one that peers refuse in its role: by its key
 * usages, its kind of key, or because it must be stapled. In the shared scope; leaves the error queue as it is.
 */
void tls_purpose_check(const struct tls_section *section, int number, struct x509_st *x,
                       struct tls_report *r);

#endif
