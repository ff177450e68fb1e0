/*
 * tls_domain.h - the domains of a configuration generation
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_DOMAIN_H
#define TLS_DOMAIN_H

#include "tls.h"

struct tls_domain;
struct tls_domain_query;
struct tls_domain_use;
struct tls_generation;
struct tls_section;
struct tls_ssl;

/*
 * The domain of G for QUERY; there is always one, the role's default. *NAMED tells whether the server name
 * matched.
 */
struct tls_domain *tls_domain_find(struct tls_generation *g, const struct tls_domain_query *query,
                                   bool *named);

/* Whether G has a domain of that role and id. */
bool tls_domain_has_id(struct tls_generation *g, enum tls_role role, const char *id);

/* Whether D's address and port are those of A; a port 0 of D's is any. */
bool tls_domain_is_at(const struct tls_domain *d, const struct tls_address *a);

/* Walks the domains of G: NULL gives the first, the last gives NULL. */
struct tls_domain *tls_domain_next(struct tls_generation *g, struct tls_domain *d);

/* ---- for the making of a generation: shared scope, before anybody else sees it */

/* Gives D, which is zeroed, the names, address and role of SECTION. Returns 0, -1 without memory. */
int tls_domain_describe(const struct tls_section *section, struct tls_domain *d);

/* Frees what tls_domain_describe() made. */
void tls_domain_clear(struct tls_domain *d);

/* Lets D, one of G's, be found. */
void tls_domain_index(struct tls_generation *g, struct tls_domain *d);

/* The domain of PREVIOUS (may be NULL) that D would replace, NULL: none. */
const struct tls_domain *tls_domain_counterpart(struct tls_generation *previous, const struct tls_domain *d);

/* ---- connections */

/* tls_ssl_new() for a connection of USE->domain, which counts it. Shared scope. NULL without memory. */
struct tls_ssl *tls_domain_open(struct tls_domain_use *use);

/* Frees SSL (may be NULL) and ends what tls_domain_open() began. Any process. */
void tls_domain_close(struct tls_domain_use *use, struct tls_ssl *ssl);

#endif
