/*
 * tls_build.h - from a section to a domain
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_BUILD_H
#define TLS_BUILD_H

#include "tls.h"

struct tls_domain;
struct tls_report;
struct tls_section;
struct tls_cache;

/*
 * Loads the files that SECTION names into CACHE and gives D, which is described, its context: that of BEFORE, the same
 * section in the configuration before (NULL: none), when neither settings nor files have changed. Shared scope. Returns
 * 0, -1 with all problems found in R.
 */
int tls_build_domain(struct tls_domain *d, const struct tls_section *section, struct tls_cache *cache,
                     const struct tls_domain *before, struct tls_report *r);

#endif
