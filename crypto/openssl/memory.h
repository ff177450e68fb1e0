/*
 * crypto/openssl/memory.h - OpenSSL's memory, in two worlds
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CRYPTO_OPENSSL_MEMORY_H
#define TLS_CRYPTO_OPENSSL_MEMORY_H

#include "tls.h"

struct ossl_lib_ctx_st;
struct ssl_st;

/*
 * From now on LIBCTX is the default library context inside a scope, NULL for none. Some parts of OpenSSL do not pass on
 * the context that they were given: 3.0 decodes the peer's certificate in a session ticket with the default one, and
 * would tie a shared key to what only one process has.
 */
void tls_memory_set_context(struct ossl_lib_ctx_st *libctx);

/*
 * Makes SSL a server or a client. OpenSSL makes its record layers anew then, cannot report that it had no memory for
 * them, and from 3.2 on crashes later. Any scope. Returns 0, -1 without memory; then SSL is good only to be freed.
 */
int tls_memory_set_role(struct ssl_st *ssl, enum tls_role role);

#endif
