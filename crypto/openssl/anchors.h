/*
 * crypto/openssl/anchors.h - what trust anchors are good for
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CRYPTO_OPENSSL_ANCHORS_H
#define TLS_CRYPTO_OPENSSL_ANCHORS_H

#include "tls.h"

struct tls_place;
struct tls_report;
struct x509_st;

/* What is being loaded into a trust store, in private memory. */
struct tls_anchors;
struct X509_name_st;

/* NULL without memory. */
struct tls_anchors *tls_anchors_new(void);
void tls_anchors_free(struct tls_anchors *a);

/* Adds X, whose BEGIN is in LINE; AT->from->line counts the settings. Returns 0, -1 without memory. */
int tls_anchors_add(struct tls_anchors *a, struct x509_st *x, const struct tls_place *at, int line);

/*
 * When all are there: warns of those that anchor nothing. A problem has the number of its setting as its line, and
 * no other origin. Shared scope.
 */
void tls_anchors_judge(struct tls_anchors *a, struct tls_report *r);

/* NAME in one line, in OUT, which is returned. */
const char *tls_anchors_name(const struct X509_name_st *name, char *out, size_t size);

#endif
