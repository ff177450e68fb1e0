/*
 * crypto/openssl/names.h - the names in a certificate, as text
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CRYPTO_OPENSSL_NAMES_H
#define TLS_CRYPTO_OPENSSL_NAMES_H

#include "tls.h"

struct x509_st;

/*
 * Who X is for, as text for people in OUT, SIZE bytes: the DNS names, URIs and addresses among its alternative names,
 * or, if it has no alternative names, the common name. At most a few of them, each in quotes and clean. Any process.
 * Returns OUT.
 */
const char *tls_names_list(const struct x509_st *x, char *out, size_t size);

#endif
