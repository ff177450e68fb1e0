/*
 * crypto/crypto.h - the seam: what the module asks of its TLS library
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CRYPTO_H
#define TLS_CRYPTO_H

#include "tls.h"

/* The library's state of one connection, the context of one domain, a certificate: only the library's folder looks inside. */
struct tls_ssl;
struct tls_ctx;
struct tls_cert;

#endif
