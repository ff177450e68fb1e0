/*
 * crypto/openssl/ticket.h - resumption by session tickets
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CRYPTO_OPENSSL_TICKET_H
#define TLS_CRYPTO_OPENSSL_TICKET_H

#include "tls.h"
#include "tls_domain_types.h"

struct ssl_ctx_st;
struct ssl_st;
struct x509_store_ctx_st;

/*
 * In the process that goes on with SSL's handshake, as server. The first: a ClientHello asks for NAME, LENGTH bytes which
 * stay until its ticket has been read; NULL: for none. The second: the client was verified, with the result in STORE.
 */
void tls_ticket_hello(struct ssl_st *ssl, const char *name, size_t length);
void tls_ticket_verified(struct ssl_st *ssl, struct x509_store_ctx_st *store);

/* Sets up resumption in CTX, with tickets when SERVER. Shared scope. Returns 0, -1 without memory. */
int tls_ticket_setup(struct ssl_ctx_st *ctx, bool server,
                     const unsigned char context[TLS_SESSION_CONTEXT_SIZE]);

#endif
