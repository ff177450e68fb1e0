/*
 * tls_verify.c - who the peer is
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include "tls_compat.h"

#include "tls.h"

#define TICKET_CERTIFICATE_MAX 64000 /* bytes: what else is in a session takes a few hundred */

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

/*
 * The length of a session ticket is a number of 16 bits, and a client's certificate goes into it whole: with a larger one OpenSSL would end the
 * handshake by "internal error" when it comes to the ticket. In TLS 1.3 none is issued then; before, it has been promised already.
 */
int tls_verify_chain(X509_STORE_CTX *store, void *arg)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	X509 *leaf = X509_STORE_CTX_get0_cert(store);

	(void)arg;
	if (leaf == NULL || i2d_X509(leaf, NULL) <= TICKET_CERTIFICATE_MAX || SSL_is_server(ssl) == 0)
		return X509_verify_cert(store);
	if (SSL_version(ssl) >= TLS1_3_VERSION && SSL_set_num_tickets(ssl, 0) == 1)
		return X509_verify_cert(store);
	ERR_raise_data(ERR_LIB_SSL, SSL_R_EXCESSIVE_MESSAGE_SIZE,
	               "a client's certificate of more than %d bytes can be used with TLS 1.3 only",
	               TICKET_CERTIFICATE_MAX);
	X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
	return 0;
}
