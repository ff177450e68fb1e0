/*
 * tls_domain.h - configuration generations and their domains
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_DOMAIN_H
#define TLS_DOMAIN_H

#include "tls.h"

struct tls_config;
struct tls_domain;
struct tls_domain_query;
struct tls_domain_use;
struct tls_generation;
struct tls_look;
struct tls_options;
struct tls_report;
struct tls_ssl;

/*
 * Before the first generation: what contexts are built with beyond a domain's own settings. O must outlive
 * the module.
 */
int tls_domain_start(const struct tls_options *o);

/*
 * Loads everything that CFG names and checks it. Any process; takes no lock. Returns a generation that nobody
 * sees yet, or NULL when R holds an error (then nothing is left behind).
 */
struct tls_generation *tls_generation_build(const struct tls_config *cfg, struct tls_report *r);

/* Makes G the one that new connections use; the one before goes with its last connection. */
void tls_generation_install(struct tls_generation *g);

/* tls_cache_look() at the files that G was built from, the configuration file among them. */
void tls_generation_look(const struct tls_generation *g, struct tls_look *look);

/* Frees a generation that was never installed. */
void tls_generation_discard(struct tls_generation *g);

/* Pins the current generation, NULL when there is none. */
struct tls_generation *tls_generation_pin(void);

/* Lets it go, in whatever process; the last one frees it. NULL is nothing. */
void tls_generation_unpin(struct tls_generation *g);

/* Numbers since start, from 1. */
int tls_generation_number(const struct tls_generation *g);

/*
 * The domain of G for QUERY; there is always one, the role's default. *NAMED tells whether the server name
 * matched.
 */
struct tls_domain *tls_domain_find(struct tls_generation *g, const struct tls_domain_query *query,
                                   bool *named);

/* Whether G has a domain of that role and id. */
bool tls_domain_has_id(struct tls_generation *g, enum tls_role role, const char *id);

/* Whether D's address and port are those of A, its port 0 any. */
bool tls_domain_is_at(const struct tls_domain *d, const struct tls_address *a);

/* Walks the domains of G: NULL gives the first, the last gives NULL. */
struct tls_domain *tls_domain_next(struct tls_generation *g, struct tls_domain *d);

/*
 * A new SSL for a connection of USE->domain. A ClientHello may move USE to the domain of the server name in
 * it. USE must outlive the SSL. Shared scope. NULL when memory is short.
 */
struct tls_ssl *tls_domain_open(struct tls_domain_use *use);

/* Frees SSL (may be NULL) and ends what tls_domain_open() began. Any process. */
void tls_domain_close(struct tls_domain_use *use, struct tls_ssl *ssl);

#endif
