/*
 * tls_verify.c - who the peer is
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include "tls_compat.h"

#include "tls.h"

bool tls_verify_peer_is_verified(const SSL *ssl)
{
	return SSL_get0_peer_certificate(ssl) != NULL && SSL_get_verify_result(ssl) == X509_V_OK;
}

int tls_verify_note(int ok, X509_STORE_CTX *store)
{
	X509 *x = X509_STORE_CTX_get_current_cert(store);
	char subject[256] = "unknown";

	if (ok == 1)
		return 1;
	if (x != NULL) /* escapes what is not printable */
		X509_NAME_oneline(X509_get_subject_name(x), subject, sizeof(subject));
	ERR_raise_data(ERR_LIB_SSL, SSL_R_CERTIFICATE_VERIFY_FAILED, "%s at depth %d, subject %s",
	               X509_verify_cert_error_string(X509_STORE_CTX_get_error(store)),
	               X509_STORE_CTX_get_error_depth(store), subject);
	return 0;
}

int tls_verify_accept(int ok, X509_STORE_CTX *store)
{
	(void)ok;
	(void)store;
	return 1;
}
