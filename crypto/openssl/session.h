/*
 * crypto/openssl/session.h - resumption by tickets
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CRYPTO_OPENSSL_SESSION_H
#define TLS_CRYPTO_OPENSSL_SESSION_H

#include "tls.h"
#include "tls_domain_types.h"

struct ssl_ctx_st;
struct ssl_st;
struct x509_store_ctx_st;

/*
 * Makes the ticket keys that all contexts and processes share. Main process, before the forks. Returns 0 or
 * -1.
 */
int tls_session_start(void);

/*
 * Timer process, once a second: makes a new ticket key when the current one is old, and wipes the one before
 * when no ticket that it made is good any more. Keeps nobody waiting.
 */
void tls_session_sweep(unsigned ticks, void *param);

/*
 * Hashes IDENTITY into what tells contexts apart: a session is resumed only where OUT is the same. Shared
 * scope. Returns 0 or -1.
 */
int tls_session_context(const char *identity, unsigned char out[TLS_SESSION_CONTEXT_SIZE]);

/*
 * In the process that goes on with SSL's handshake, as server: a ClientHello has come that asks for NAME, not
 * NUL-terminated, NULL: for none, and that stays until its ticket has been looked at; the client has been
 * verified, with the outcome in STORE.
 */
void tls_session_hello(struct ssl_st *ssl, const char *name, size_t length);
void tls_session_verified(struct ssl_st *ssl, struct x509_store_ctx_st *store);

/* Sets resumption up in CTX. SERVER: issue tickets. Shared scope. Returns 0 or -1. */
int tls_session_setup(struct ssl_ctx_st *ctx, bool server,
                      const unsigned char context[TLS_SESSION_CONTEXT_SIZE]);

#endif
