/*
 * crypto/openssl/verify.h - who the peer is
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CRYPTO_OPENSSL_VERIFY_H
#define TLS_CRYPTO_OPENSSL_VERIFY_H

#include "tls.h"
#include "settings/table.h"

struct tls_domain;
struct x509_st;
struct x509_store_ctx_st;

/* How D verifies its peers, as OpenSSL's SSL_VERIFY_ flags. */
int tls_verify_mode(const struct tls_domain *d);

/*
 * OpenSSL's callbacks for the certificates of a chain, in the process that goes on with the handshake. The
 * first leaves a refusal as it is and says in the error queue what was wrong with whose certificate; the
 * second accepts all.
 */
int tls_verify_note(int ok, struct x509_store_ctx_st *store);
int tls_verify_accept(int ok, struct x509_store_ctx_st *store);

/*
 * Whether X is for DOMAIN, a name or an address of LENGTH bytes ("[" and "]" around an IPv6 address or not),
 * by the rules of RFC 5922 section 7: the sip URIs among its alternative names, without a user part, count;
 * without any, its DNS names; without alternative names at all, its common name. No part of a name, and no
 * wildcards but, with WILDCARDS, those of DNS names by RFC 9525 section 6.3. An address is also looked for
 * among the IP addresses. Any process; holds no lock; without memory the answer is no.
 */
bool tls_verify_names(const struct x509_st *x, const char *domain, size_t length, bool wildcards);

/*
 * X509_verify_cert(3), which it returns, with PURPOSE as the rule for what the certificates of a PEER of this
 * role may be for. STORE is set up for the peer's certificate as for X509_verify_cert(): this function puts
 * purpose and trust into its parameters itself, and all else in them counts. A refusal is in STORE
 * (X509_V_ERR_INVALID_PURPOSE, with depth and certificate) and goes to its callback, which may let it pass. A
 * certificate above the peer's own must be an authority's by every rule. Any process; holds no lock; in the
 * scope of STORE's memory. Without memory the answer is no.
 */
int tls_verify_certificates(struct x509_store_ctx_st *store, enum tls_verify_purpose purpose,
                            enum tls_role peer);

/*
 * OpenSSL's callback for a whole chain (SSL_CTX_set_cert_verify_callback(3)). Verifies it; a client's, if a
 * ticket for such a client can be issued; a server's name, where its domain asks for that (verify_name). What
 * the certificate may be for is as the domain says (verify_purpose).
 */
int tls_verify_chain(struct x509_store_ctx_st *store, void *arg);

#endif
