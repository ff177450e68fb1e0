/*
 * crypto/openssl/ssl.h - a connection's state in OpenSSL
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CRYPTO_OPENSSL_SSL_H
#define TLS_CRYPTO_OPENSSL_SSL_H

#include "tls.h"

struct ssl_st;

/* OpenSSL's callback in the process, and at the moment, in which a signature is made (SSL_CTX_set_cert_cb(3)). */
int tls_ssl_on_certificate_wanted(struct ssl_st *ssl, void *arg);

#endif
