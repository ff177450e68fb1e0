/*
 * crypto/openssl/peer.c - whom a certificate is for, and whether a client section would accept a peer
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <string.h>

#include "crypto/crypto.h"
#include "tls_domain_types.h"
#include "crypto/openssl/compat.h"
#include "crypto/openssl/types.h"
#include "crypto/openssl/library.h"
#include "crypto/openssl/lifetime.h"
#include "crypto/openssl/verify.h"

bool tls_cert_is_for(const struct tls_cert *cert, const char *name, size_t length, bool wildcards)
{
	bool result;

	ERR_set_mark();
	result = tls_verify_names(cert_of(cert), name, length, wildcards);
	ERR_pop_to_mark();
	return result;
}

void tls_cert_free(struct tls_cert *cert)
{
	X509_free(cert_of(cert));
}

static STACK_OF(X509) *chain_of(const struct tls_peer *p)
{
	return (STACK_OF(X509) *)p->chain;
}

void tls_peer_take(const struct tls_ssl *ssl, struct tls_peer *out)
{
	STACK_OF(X509) *chain = SSL_get0_verified_chain(ssl_of(ssl));

	ERR_set_mark();
	out->leaf = (struct tls_cert *)SSL_get1_peer_certificate(ssl_of(ssl));
	out->chain = (struct tls_cert_list *)(chain != NULL ? X509_chain_up_ref(chain) : NULL);
	ERR_pop_to_mark();
}

void tls_peer_drop_chain(struct tls_peer *peer)
{
	sk_X509_pop_free(chain_of(peer), X509_free);
	peer->chain = NULL;
}

/* Sets STORE up as OpenSSL does for a server's certificate in a handshake of CLIENT. */
static bool set_rules(X509_STORE_CTX *store, const struct tls_domain *client, const struct tls_peer *p)
{
	SSL_CTX *ctx = ctx_of(client->ctx);
	X509_VERIFY_PARAM *param;

	if (X509_STORE_CTX_init(store, SSL_CTX_get_cert_store(ctx), cert_of(p->leaf), chain_of(p)) != 1)
		return false;
	param = X509_STORE_CTX_get0_param(store);
	X509_VERIFY_PARAM_set_auth_level(param, SSL_CTX_get_security_level(ctx));
	return X509_VERIFY_PARAM_set1(param, SSL_CTX_get0_param(ctx)) == 1;
}

bool tls_peer_is_good(const struct tls_peer *peer, const struct tls_domain *client, const char *name,
                      int64_t *until)
{
	X509_STORE_CTX *store;
	bool good = false;

	if (peer->leaf == NULL)
		return false;
	ERR_set_mark();
	store = X509_STORE_CTX_new_ex(tls_library_context(), NULL);
	if (store != NULL && set_rules(store, client, peer) &&
	    tls_verify_certificates(store, client->verify_purpose, TLS_SERVER) == 1)
		good = !client->verify_name ||
		       tls_verify_names(cert_of(peer->leaf), name, strlen(name), client->wildcards);
	if (good)
		*until = tls_lifetime_end(store);
	X509_STORE_CTX_free(store);
	ERR_pop_to_mark();
	return good;
}
