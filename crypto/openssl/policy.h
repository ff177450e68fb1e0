/*
 * crypto/openssl/policy.h - security profiles
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CRYPTO_OPENSSL_POLICY_H
#define TLS_CRYPTO_OPENSSL_POLICY_H

#include "tls.h"
#include "settings/table.h"

struct ssl_ctx_st;
struct tls_report;
struct tls_section;

struct tls_domain;

/*
 * Gives CTX, which is new, the ciphers, signature algorithms and security level of PROFILE. Before the section's
 * own settings, which take precedence. In the shared scope. Returns 0, -1 when OpenSSL refuses (in its queue) or
 * memory is short.
 */
int tls_policy_preset(struct ssl_ctx_st *ctx, enum tls_security_profile profile, enum tls_role role);

/* Warns of settings of SECTION, which D is made from, that contradict its own profile. Shared scope. */
void tls_policy_check(const struct tls_domain *d, const struct tls_section *section, struct tls_report *r);

#endif
