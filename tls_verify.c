/*
 * tls_verify.c - who the peer is
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <stdio.h>

#include "tls_compat.h"

#include "tls.h"

bool tls_verify_peer_is_verified(const SSL *ssl)
{
	return SSL_get0_peer_certificate(ssl) != NULL && SSL_get_verify_result(ssl) == X509_V_OK;
}

const char *tls_verify_describe(const SSL *ssl, char *out, size_t size)
{
	const X509 *peer = SSL_get0_peer_certificate(ssl);
	long result = SSL_get_verify_result(ssl);
	char subject[128] = "";

	out[0] = '\0';
	if (result == X509_V_OK)
		return out;
	if (peer != NULL)
		X509_NAME_oneline(X509_get_subject_name(peer), subject, sizeof(subject));
	snprintf(out, size, "%s%s%s", X509_verify_cert_error_string(result),
	         subject[0] != '\0' ? ", subject " : "", subject);
	return out;
}
