/*
 * tls_session.c - resumption: ticket keys, shared by all contexts and processes, and their rotation
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * Sessions live in tickets (RFC 5077, RFC 8446 section 4.6.1), so a resumed connection costs no shared memory
 * while it is away and may come back to any process. The keys belong to the module and not to a context: a
 * reload does not cost every phone a full handshake. What may be resumed where is the session id context's
 * affair.
 */
#include <string.h>
#include <time.h>

#include <openssl/core_names.h>
#include <openssl/rand.h>

#include "tls_compat.h"

#include "tls.h"

#define ROTATE_SECONDS (12 * 3600) /* far above the lifetime of a ticket, so that two keys are enough */

struct ticket_key {
	unsigned char name[16], cipher[32], mac[32];
	time_t made;
};

/* In shared memory. `lock` guards the keys. */
struct ticket_keys {
	gen_lock_t lock;
	struct ticket_key current, previous;
};

static struct ticket_keys *keys;
static EVP_CIPHER *ticket_cipher; /* of the shared library context */

static int make_key(struct ticket_key *k)
{
	OSSL_LIB_CTX *libctx = tls_init_libctx();

	if (RAND_bytes_ex(libctx, k->name, sizeof(k->name), 0) != 1 ||
	    RAND_priv_bytes_ex(libctx, k->cipher, sizeof(k->cipher), 0) != 1 ||
	    RAND_priv_bytes_ex(libctx, k->mac, sizeof(k->mac), 0) != 1)
		return -1;
	k->made = time(NULL);
	return 0;
}

static int start_in_scope(void *arg)
{
	(void)arg;
	keys = tls_shared_alloc(sizeof(*keys));
	if (keys == NULL || lock_init(&keys->lock) == NULL)
		return -1;
	ticket_cipher = EVP_CIPHER_fetch(tls_init_libctx(), "AES-256-CBC", NULL);
	if (ticket_cipher == NULL || make_key(&keys->current) != 0)
		return -1;
	keys->previous = keys->current;
	return 0;
}

int tls_session_start(void)
{
	char reason[256];

	if (tls_init_run_shared(start_in_scope, NULL) == 0)
		return 0;
	LM_ERR("no keys for session tickets: %s\n", tls_init_errors(reason, sizeof(reason)));
	return -1;
}

/* The key for a new ticket, a fresh one when the current is old. */
static void current_key(struct ticket_key *out)
{
	struct ticket_key fresh;

	lock_get(&keys->lock);
	*out = keys->current;
	lock_release(&keys->lock);
	if (time(NULL) - out->made <= ROTATE_SECONDS || make_key(&fresh) != 0)
		return;
	lock_get(&keys->lock);
	if (memcmp(keys->current.name, out->name, sizeof(out->name)) == 0) {
		keys->previous = keys->current;
		keys->current = fresh;
	}
	*out = keys->current;
	lock_release(&keys->lock);
	OPENSSL_cleanse(&fresh, sizeof(fresh));
}

/*
 * The key called NAME. Returns 0 none, 1 the current one, 2 the one before: accept, but issue a new ticket.
 */
static int named_key(const unsigned char *name, struct ticket_key *out)
{
	int found = 0;

	lock_get(&keys->lock);
	if (memcmp(keys->current.name, name, sizeof(out->name)) == 0) {
		*out = keys->current;
		found = 1;
	} else if (memcmp(keys->previous.name, name, sizeof(out->name)) == 0) {
		*out = keys->previous;
		found = 2;
	}
	lock_release(&keys->lock);
	return found;
}

static int set_mac(EVP_MAC_CTX *mac, struct ticket_key *k)
{
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, k->mac, sizeof(k->mac)),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)(uintptr_t) "SHA256", 0),
		OSSL_PARAM_construct_end(),
	};

	return EVP_MAC_CTX_set_params(mac, params);
}

/* OpenSSL's callback for each ticket it writes or reads (SSL_CTX_set_tlsext_ticket_key_evp_cb(3)). */
static int ticket_key_cb(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                         EVP_MAC_CTX *mac, int writing)
{
	struct ticket_key k;
	int found = 1;
	int ok;

	if (writing) {
		current_key(&k);
		memcpy(name, k.name, sizeof(k.name));
		ok = RAND_bytes_ex(tls_init_libctx(), iv, (size_t)EVP_CIPHER_get_iv_length(ticket_cipher), 0) == 1 &&
		     EVP_EncryptInit_ex2(cipher, ticket_cipher, k.cipher, iv, NULL) == 1;
	} else {
		found = named_key(name, &k);
		if (found == 0)
			return 0;
		if (SSL_version(ssl) >= TLS1_3_VERSION)
			found = 2; /* RFC 8446 appendix C.4: a ticket is used once, so each needs a successor */
		ok = EVP_DecryptInit_ex2(cipher, ticket_cipher, k.cipher, iv, NULL) == 1;
	}
	ok = ok && set_mac(mac, &k) == 1;
	OPENSSL_cleanse(&k, sizeof(k));
	return ok ? found : -1;
}

/*
 * OpenSSL's callback for each ticket that was read (SSL_CTX_set_session_ticket_cb(3)). One of a client whose
 * certificate has expired since does not count: the handshake is a full one, and ends as for any such client.
 */
static SSL_TICKET_RETURN ticket_cb(SSL *ssl, SSL_SESSION *session, const unsigned char *name, size_t length,
                                   SSL_TICKET_STATUS status, void *arg)
{
	X509 *peer = session != NULL ? SSL_SESSION_get0_peer(session) : NULL;

	(void)ssl;
	(void)name;
	(void)length;
	(void)arg;
	if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW)
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	if (peer != NULL && X509_cmp_current_time(X509_get0_notAfter(peer)) <= 0)
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

int tls_session_context(const char *identity, unsigned char out[TLS_SESSION_CONTEXT_SIZE])
{
	size_t length;

	return EVP_Q_digest(tls_init_libctx(), "SHA256", NULL, identity, strlen(identity), out, &length) == 1
	           ? 0
	           : -1;
}

int tls_session_setup(SSL_CTX *ctx, bool server, const unsigned char context[TLS_SESSION_CONTEXT_SIZE])
{
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	if (!server)
		return 0;
	if (SSL_CTX_set_session_id_context(ctx, context, TLS_SESSION_CONTEXT_SIZE) != 1 ||
	    SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, ticket_key_cb) != 1 ||
	    SSL_CTX_set_session_ticket_cb(ctx, NULL, ticket_cb, NULL) != 1)
		return -1;
	return SSL_CTX_set_num_tickets(ctx, 1) == 1 ? 0 : -1;
}
