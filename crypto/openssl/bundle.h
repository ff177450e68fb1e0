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

/*
 * Reports an error in LINE (0: the whole file): WHAT, and the reason from OpenSSL's error queue, which is emptied; or
 * that shared memory is short.
 */
void tls_bundle_refused(const struct tls_place *at, int line, const char *what);

/* A PEM file that is being read. Callers use LINE and SKIPPED only. */
struct tls_bundle {
	struct tls_place at;
	struct tls_pem pem;
	const char *data;
	size_t size;
	int line;                   /* where the last object begins */
	int skipped;                /* the first line that was meant as a BEGIN and is none; 0: none */
	int count;                  /* objects returned */
	bool failed;                /* reported */
	struct tls_pem_entry other; /* the first of another kind */
};

/* B reads the SIZE bytes at DATA, which must stay, for AT. */
void tls_bundle_open(struct tls_bundle *b, const char *data, size_t size, const struct tls_place *at);

/*
 * The next certificate or revocation list, which the caller owns. NULL at the end, or when one cannot be read:
 * tls_bundle_end() tells which. Shared scope.
 */
struct x509_st *tls_bundle_certificate(struct tls_bundle *b);
struct X509_crl_st *tls_bundle_crl(struct tls_bundle *b);

/* Returns 0, or -1 when something could not be read or there was no NAME, such as "certificate" (reported). */
int tls_bundle_end(const struct tls_bundle *b, const char *name);

#endif
