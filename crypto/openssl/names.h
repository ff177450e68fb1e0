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
 * For whom X is, as text for people in OUT: the DNS names, URIs and addresses among its alternative names, where
 * there are no such names the common name. A few of many, each in quotes and clean. Any process. Returns OUT.
 */
const char *tls_names_list(const struct x509_st *x, char *out, size_t size);

#endif
