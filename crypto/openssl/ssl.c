/*
 * crypto/openssl/ssl.c - a connection's state in OpenSSL
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include "crypto/openssl/types.h"
#include "heap/heap.h"
#include "crypto/openssl/key.h"
#include "tls_domain_types.h"
#include "crypto/openssl/memory.h"
#include "crypto/openssl/ssl.h"

struct tls_ssl *tls_ssl_new(struct tls_domain_use *use)
{
	SSL *ssl = SSL_new(ctx_of(use->domain->ctx));

	if (ssl == NULL)
		return NULL;
	if (SSL_set_app_data(ssl, use) != 1 || tls_memory_set_role(ssl, use->domain->role) != 0) {
		SSL_free(ssl);
		return NULL;
	}
	return (struct tls_ssl *)ssl;
}

void tls_ssl_free(struct tls_ssl *ssl)
{
	tls_heap_hold();
	SSL_free(ssl_of(ssl));
	tls_heap_let_go();
}

/* Shared scope. Returns 0, -1 without memory. */
static int adopt_keys(SSL *ssl)
{
	const struct tls_domain_use *use = SSL_get_app_data(ssl);

	for (int i = 0; i < 2; i++)
		if (use->domain->keys[i] != NULL && tls_key_adopt(ssl, use->domain->keys[i]) != 0)
			return -1;
	return 0;
}

int tls_ssl_on_certificate_wanted(SSL *ssl, void *arg)
{
	(void)arg;
	return adopt_keys(ssl) == 0 ? 1 : 0;
}

/*
 * Before TLS 1.3 an RSA key may also be used in the server's second flight, perhaps in another process than the first,
 * where the certificate callback set the key.
 */
int tls_ssl_own_keys(struct tls_ssl *connection)
{
	SSL *ssl = ssl_of(connection);
	int result;

	if (!SSL_is_server(ssl) || SSL_in_before(ssl) || SSL_version(ssl) >= TLS1_3_VERSION)
		return 0;
	tls_crypto_enter();
	result = adopt_keys(ssl);
	tls_crypto_leave();
	return result;
}

int tls_ssl_set_name(struct tls_ssl *ssl, const char *name)
{
	return SSL_set_tlsext_host_name(ssl_of(ssl), name) == 1 ? 0 : -1;
}

void tls_ssl_drop_sent_chain(struct tls_ssl *ssl)
{
	STACK_OF(X509) *chain = SSL_get_peer_cert_chain(ssl_of(ssl));

	tls_crypto_enter();
	while (sk_X509_num(chain) > 0)
		X509_free(sk_X509_pop(chain));
	tls_crypto_leave();
}

bool tls_ssl_has_pending(const struct tls_ssl *ssl)
{
	return SSL_has_pending(ssl_of(ssl)) == 1;
}

size_t tls_ssl_pending(const struct tls_ssl *ssl)
{
	return (size_t)SSL_pending(ssl_of(ssl));
}

bool tls_ssl_in_handshake(const struct tls_ssl *ssl)
{
	return SSL_in_init(ssl_of(ssl));
}

bool tls_ssl_is_1_3(const struct tls_ssl *ssl)
{
	return SSL_version(ssl_of(ssl)) >= TLS1_3_VERSION;
}

const char *tls_ssl_state(const struct tls_ssl *ssl)
{
	return SSL_state_string_long(ssl_of(ssl));
}
