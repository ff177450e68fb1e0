/*
 * crypto/openssl/bundle.h - certificates and revocation lists out of a PEM file
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CRYPTO_OPENSSL_BUNDLE_H
#define TLS_CRYPTO_OPENSSL_BUNDLE_H

#include "tls.h"
#include "material/pem.h"
#include "material/place.h"

struct X509_crl_st;
struct x509_st;

/* An error: WHAT, and what OpenSSL's queue says, which is emptied; or that there is no shared memory for it. */
void tls_bundle_refused(const struct tls_place *at, int line, const char *what);

/* Others than crypto/openssl/bundle.c look at LINE and SKIPPED only. */
struct tls_bundle {
	struct tls_place at;
	struct tls_pem pem;
	const char *data;
	size_t size;
	int line;                   /* of the last object's BEGIN */
	int skipped;                /* the first line that was meant as a BEGIN; 0: none */
	int count;                  /* objects given */
	bool failed;                /* reported */
	struct tls_pem_entry other; /* the first of another kind */
};

/* B reads the SIZE bytes at DATA, which must stay, for AT. */
void tls_bundle_open(struct tls_bundle *b, const char *data, size_t size, const struct tls_place *at);

/*
 * The next one, which the caller owns; NULL when there is none, or one cannot be read: tls_bundle_end() tells.
 * Shared scope.
 */
struct x509_st *tls_bundle_certificate(struct tls_bundle *b);
struct X509_crl_st *tls_bundle_crl(struct tls_bundle *b);

/* Returns 0; -1 when something could not be read, or there was nothing, which NAME calls (reported). */
int tls_bundle_end(const struct tls_bundle *b, const char *name);

#endif
