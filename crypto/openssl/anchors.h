/*
 * crypto/openssl/anchors.h - whether the certificates of a trust store can anchor a chain
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CRYPTO_OPENSSL_ANCHORS_H
#define TLS_CRYPTO_OPENSSL_ANCHORS_H

#include "tls.h"

struct tls_place;
struct tls_report;
struct x509_st;

/* The certificates of a trust store that is being loaded, in private memory. */
struct tls_anchors;
struct X509_name_st;

/* NULL without memory. */
struct tls_anchors *tls_anchors_new(void);
void tls_anchors_free(struct tls_anchors *a);

/* Adds X, which begins in LINE; AT->from->line is the number of the setting. Returns 0, -1 without memory. */
int tls_anchors_add(struct tls_anchors *a, struct x509_st *x, const struct tls_place *at, int line);

/*
 * To be called when all are added: warns of those that no chain can end at. Each problem has the number of its
 * setting as its line, and no other origin. Shared scope.
 */
void tls_anchors_judge(struct tls_anchors *a, struct tls_report *r);

/* NAME as one line in OUT, SIZE bytes. Any process. Returns OUT. */
const char *tls_anchors_name(const struct X509_name_st *name, char *out, size_t size);

#endif
