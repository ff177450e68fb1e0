/*
 * crypto/openssl/context.h - from one section's settings to a context of OpenSSL's
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CRYPTO_OPENSSL_CONTEXT_H
#define TLS_CRYPTO_OPENSSL_CONTEXT_H

#include "tls.h"

struct ssl_st;
struct tls_domain;
struct tls_options;
struct tls_report;
struct tls_section;
struct tls_cache;

/* O must outlive the module. */
void tls_context_start(const struct tls_options *o);

/*
 * Loads what SECTION names into CACHE and gives D its context: that of BEFORE, the same section in the
 * configuration before (NULL: none), when neither settings nor files have changed. Shared scope. Returns 0,
 * -1 with all problems found in R.
 */
int tls_context_make(struct tls_domain *d, const struct tls_section *section, struct tls_cache *cache,
                     const struct tls_domain *before, struct tls_report *r);

/* Puts everything of D into SSL, which began with the context of FROM. Shared scope. Returns 0 or -1. */
int tls_context_move(struct ssl_st *ssl, const struct tls_domain *from, struct tls_domain *d);

#endif
