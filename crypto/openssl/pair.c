/*
 * crypto/openssl/pair.c - two ends of a connection, joined in memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include "crypto/openssl/compat.h"
#include "crypto/openssl/pair.h"

#define TURNS_MAX 10

/* Each end writes to what the other one reads from. Returns 0, -1 without memory. */
static int join(SSL *server, SSL *client)
{
	BIO *to_server = BIO_new(BIO_s_mem()), *to_client = BIO_new(BIO_s_mem());

	if (to_server == NULL || to_client == NULL || BIO_up_ref(to_server) != 1 || BIO_up_ref(to_client) != 1) {
		BIO_free(to_server);
		BIO_free(to_client);
		return -1;
	}
	BIO_set_mem_eof_return(to_server, -1);
	BIO_set_mem_eof_return(to_client, -1);
	SSL_set_bio(server, to_server, to_client);
	SSL_set_bio(client, to_client, to_server);
	return 0;
}

int tls_pair_shake_hands(SSL *server, SSL *client)
{
	int s = 0, c = 0;

	if (join(server, client) != 0)
		return -1;
	for (int turn = 0; turn < TURNS_MAX && (s != 1 || c != 1); turn++) {
		c = SSL_do_handshake(client);
		s = SSL_do_handshake(server);
	}
	return s == 1 && c == 1 ? 0 : -1;
}
