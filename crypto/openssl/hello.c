/*
 * crypto/openssl/hello.c - the choice of a domain by ClientHello
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include "crypto/openssl/types.h"
#include "tls_domain_types.h"
#include "crypto/openssl/hello.h"
#include "crypto/openssl/ssl.h"
#include "crypto/openssl/ticket.h"
#include "crypto/openssl/verify.h"

/* The host name in a ClientHello's server_name extension (RFC 6066 section 3), NULL when there is none. */
static const char *name_of(SSL *ssl, size_t *length)
{
	const unsigned char *p;
	size_t size;

	if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &size) != 1 || size < 5 ||
	    p[2] != TLSEXT_NAMETYPE_host_name)
		return NULL;
	*length = (size_t)p[3] << 8 | p[4];
	return *length <= size - 5 ? (const char *)p + 5 : NULL;
}

static const char *groups_of(const struct tls_domain *d)
{
	return d->groups != NULL ? d->groups : TLS_COMPAT_GROUPS;
}

/* Puts everything of D into SSL, which began with the context of FROM. Returns 0, -1 without memory. */
static int move(SSL *ssl, const struct tls_domain *from, struct tls_domain *d)
{
	if (strcmp(groups_of(d), groups_of(from)) != 0 && SSL_set1_groups_list(ssl, groups_of(d)) != 1) {
		if (d->groups != NULL)
			return -1;
		ERR_clear_error(); /* a library built without one of them keeps its own list */
	}
	if (SSL_set_SSL_CTX(ssl, ctx_of(d->ctx)) == NULL || SSL_set_min_proto_version(ssl, d->oldest) != 1 ||
	    SSL_set_max_proto_version(ssl, d->newest) != 1 ||
	    SSL_set_session_id_context(ssl, d->session_context, sizeof(d->session_context)) != 1)
		return -1;
	SSL_set_verify(ssl, tls_verify_mode(d), d->accept_any ? tls_verify_accept : tls_verify_note);
	SSL_set_verify_depth(ssl, d->verify_depth);
	return 0;
}

/*
 * For each ClientHello, before the version is chosen: the domain of the server name takes over whole, with its versions
 * and its verification, not only with its certificate.
 */
static int on_client_hello(SSL *ssl, int *alert, void *arg)
{
	struct tls_domain_use *use = SSL_get_app_data(ssl);
	struct tls_refusal refusal;
	struct tls_domain *d;
	size_t length = 0;
	const char *name = name_of(ssl, &length);

	(void)arg;
	tls_ticket_hello(ssl, name, length);
	d = tls_domain_choose(use, name, length, &refusal);
	if (d == use->domain)
		return SSL_CLIENT_HELLO_SUCCESS;
	if (d == NULL) {
		ERR_raise_data(ERR_LIB_SSL, SSL_R_TLSV1_UNRECOGNIZED_NAME, "%s", refusal.text);
		*alert = refusal.alert;
		return SSL_CLIENT_HELLO_ERROR;
	}
	if (move(ssl, use->domain, d) != 0) {
		*alert = SSL_AD_INTERNAL_ERROR;
		return SSL_CLIENT_HELLO_ERROR;
	}
	tls_domain_move(use, d);
	return SSL_CLIENT_HELLO_SUCCESS;
}

/* The choice is already made. This lets OpenSSL keep and acknowledge the name. */
static int on_server_name(SSL *ssl, int *alert, void *arg)
{
	(void)ssl;
	(void)alert;
	(void)arg;
	return SSL_TLSEXT_ERR_OK;
}

void tls_hello_setup(SSL_CTX *ctx, enum tls_role role)
{
	SSL_CTX_set_cert_cb(ctx, tls_ssl_on_certificate_wanted, NULL);
	if (role != TLS_SERVER)
		return;
	SSL_CTX_set_client_hello_cb(ctx, on_client_hello, NULL);
	SSL_CTX_set_tlsext_servername_callback(ctx, on_server_name);
}
