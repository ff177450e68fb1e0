/*
 * crypto/openssl/ticket.c - resumption: ticket keys, shared by all contexts and processes, and their rotation
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * Sessions live in tickets (RFC 5077, RFC 8446 section 4.6.1), so a resumed connection costs no shared memory
 * while it is away and may come back to any process. The keys belong to the module and not to a context: a
 * reload does not cost every phone a full handshake. The session id context says what may be resumed where.
 */
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/rand.h>

#include "crypto/openssl/ticket.h"
#include "host/compat.h"
#include "host/clock.h"
#include "tls_mem.h"
#include "settings/runtime.h"
#include "tls_domain_types.h"
#include "crypto/openssl/compat.h"
#include "crypto/crypto.h"
#include "crypto/openssl/library.h"
#include "crypto/openssl/lifetime.h"

#define TICKET_SECONDS (2 * 3600)  /* one ticket */
#define ROTATE_SECONDS (12 * 3600) /* far above that, so that two keys are enough */

struct ticket_key {
	bool good; /* false: not a key; zeros must not pass for one */
	unsigned char name[16], cipher[32], mac[32];
	int64_t made; /* by the steady clock */
};

/* In shared memory. `lock` guards the keys, and is held only to copy one. */
struct ticket_keys {
	gen_lock_t lock;
	struct ticket_key current, previous;
};

static struct ticket_keys *keys;
static EVP_CIPHER *ticket_cipher; /* of the shared library context */

static int make_key(struct ticket_key *k)
{
	OSSL_LIB_CTX *libctx = tls_library_context();

	if (RAND_bytes_ex(libctx, k->name, sizeof(k->name), 0) != 1 ||
	    RAND_priv_bytes_ex(libctx, k->cipher, sizeof(k->cipher), 0) != 1 ||
	    RAND_priv_bytes_ex(libctx, k->mac, sizeof(k->mac), 0) != 1)
		return -1;
	k->made = tls_clock_steady();
	k->good = true;
	return 0;
}

static int start_in_scope(void *arg)
{
	(void)arg;
	keys = tls_mem_shared_alloc(sizeof(*keys));
	if (keys == NULL || lock_init(&keys->lock) == NULL)
		return -1;
	ticket_cipher = EVP_CIPHER_fetch(tls_library_context(), "AES-256-CBC", NULL);
	return ticket_cipher != NULL ? make_key(&keys->current) : -1;
}

int tls_ticket_start(void)
{
	char reason[256];

	if (tls_crypto_run_shared(start_in_scope, NULL) == 0)
		return 0;
	LM_ERR("cannot make keys for session tickets: %s\n", tls_crypto_errors(reason, sizeof(reason)));
	return -1;
}

static void copy_current(struct ticket_key *out)
{
	lock_get(&keys->lock);
	*out = keys->current;
	lock_release(&keys->lock);
}

static int64_t age_of(const struct ticket_key *k)
{
	return tls_clock_steady() - k->made;
}

/* Replaces the current key, of which OLD is a copy, unless another process has already done so. */
static void replace_key(const struct ticket_key *old)
{
	struct ticket_key fresh;

	if (make_key(&fresh) == 0) {
		lock_get(&keys->lock);
		if (memcmp(keys->current.name, old->name, sizeof(old->name)) == 0) {
			keys->previous = keys->current;
			keys->current = fresh;
		}
		lock_release(&keys->lock);
	}
	OPENSSL_cleanse(&fresh, sizeof(fresh));
	ERR_clear_error();
}

/* The key for a new ticket. The timer replaces an old one; if it is late, this does. */
static void current_key(struct ticket_key *out)
{
	copy_current(out);
	if (age_of(out) <= ROTATE_SECONDS)
		return;
	replace_key(out);
	copy_current(out);
}

void tls_ticket_sweep(unsigned ticks, void *param)
{
	struct ticket_key k;

	(void)ticks;
	(void)param;
	tls_crypto_enter(); /* random numbers come from the shared library context */
	current_key(&k);
	tls_crypto_leave();
	if (age_of(&k) > TICKET_SECONDS) {
		lock_get(&keys->lock);
		OPENSSL_cleanse(&keys->previous, sizeof(keys->previous));
		lock_release(&keys->lock);
	}
	OPENSSL_cleanse(&k, sizeof(k));
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
	} else if (keys->previous.good && memcmp(keys->previous.name, name, sizeof(out->name)) == 0) {
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

/* OpenSSL's callback for each ticket that it writes or reads (SSL_CTX_set_tlsext_ticket_key_evp_cb(3)). */
static int ticket_key_cb(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                         EVP_MAC_CTX *mac, int writing)
{
	struct ticket_key k;
	int found = 1;
	int ok;

	if (writing) {
		current_key(&k);
		memcpy(name, k.name, sizeof(k.name));
		ok = RAND_bytes_ex(tls_library_context(), iv, (size_t)EVP_CIPHER_get_iv_length(ticket_cipher), 0) ==
		         1 &&
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

/* ---- what ends a session */

/* Travels in the session's tickets. No other server, and no later run of this one, can read those. */
struct record {
	int64_t began, began_wall; /* of the full handshake, by both clocks */
	int64_t end;               /* of the client's verification, by the wall clock */
	int64_t written;           /* when the ticket was */
};

static struct tls_session_terms *terms_of(const SSL *ssl)
{
	struct tls_domain_use *use = SSL_get_app_data(ssl);

	return use != NULL ? &use->session : NULL;
}

/* The ClientHello that this thread is working on. Its ticket is looked at right after its name. */
static __thread struct {
	const SSL *ssl;
	const char *name;
	size_t length;
} hello;

void tls_ticket_hello(SSL *ssl, const char *name, size_t length)
{
	struct tls_session_terms *terms = terms_of(ssl);

	hello.ssl = ssl;
	hello.name = name;
	hello.length = length;
	if (terms != NULL)
		*terms = (struct tls_session_terms){.end = TLS_LIFETIME_ENDLESS};
}

void tls_ticket_verified(SSL *ssl, X509_STORE_CTX *store)
{
	struct tls_session_terms *terms = terms_of(ssl);

	if (terms != NULL)
		terms->end = tls_lifetime_end(store);
}

/* Returns false when SESSION has no valid one. */
static bool read_record(SSL_SESSION *session, struct record *r)
{
	void *data = NULL;
	size_t size = 0;

	if (SSL_SESSION_get0_ticket_appdata(session, &data, &size) != 1 || data == NULL || size != sizeof(*r))
		return false;
	memcpy(r, data, sizeof(*r));
	return true;
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/*
 * For how many seconds a session with R may still be resumed; 0 or less when it may not. Both clocks count: setting the
 * wall clock back must not make a session younger. A session from the future was made before the clock was set back,
 * and may have been verified by a certificate that is not valid yet, so it takes a full handshake.
 */
static int64_t seconds_left(const struct record *r)
{
	int64_t wall = tls_clock_wall(), age = tls_clock_steady() - r->began;
	int64_t left = tls_runtime_options()->session_lifetime - age;

	if (age < 0 || wall < r->began_wall)
		return 0;
	if (r->end == TLS_LIFETIME_ENDLESS)
		return left;
	return earlier(left, earlier(r->end - wall, r->end - r->began_wall - age));
}

/*
 * OpenSSL's callback for each ticket that is about to be written (SSL_CTX_set_session_ticket_cb(3)). A resumed
 * session keeps the record of its full handshake. In TLS 1.3 its ticket is new nevertheless; in TLS 1.2 it is the old
 * one, for OpenSSL too. Without memory the ticket is useless, but the connection works.
 */
static int on_ticket_written(SSL *ssl, void *arg)
{
	const struct tls_session_terms *terms = terms_of(ssl);
	SSL_SESSION *session = SSL_get_session(ssl);
	bool resumed = SSL_session_reused(ssl) == 1;
	struct record r = {.began = tls_clock_steady(), .began_wall = tls_clock_wall()};
	int64_t left;

	(void)arg;
	r.end = terms != NULL ? terms->end : 0;
	if (session == NULL || (resumed && (!read_record(session, &r) || SSL_version(ssl) < TLS1_3_VERSION)))
		return 1;
	r.written = tls_clock_steady();
	left = earlier(TICKET_SECONDS, seconds_left(&r));
	SSL_SESSION_set_timeout(session, left > 0 ? (long)left : 1); /* 0 would end the handshake */
	if (SSL_SESSION_set1_ticket_appdata(session, &r, sizeof(r)) != 1)
		ERR_clear_error();
	return 1;
}

/*
 * Whether SESSION may be resumed by a client that asks for the name in the hello. Before TLS 1.3 the name
 * belongs to the session (RFC 6066 section 3): the connection would get the name of the first one, and a script that
 * tells its domains apart by name would take the client for one of another domain. In TLS 1.3 it is that of the
 * hello (RFC 8446 section 4.2.11), and the certificate decides what else a client may use its session for
 * (section 4.6.1), which only the client can know.
 */
static bool has_name_of_hello(const SSL *ssl, const SSL_SESSION *session)
{
	const char *name = SSL_SESSION_get0_hostname(session);

	if (SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION)
		return true;
	if (hello.ssl != ssl || name == NULL || hello.name == NULL)
		return hello.ssl == ssl && name == NULL && hello.name == NULL;
	return strlen(name) == hello.length && memcmp(name, hello.name, hello.length) == 0;
}

/*
 * Whether a full handshake could give SESSION's cipher. OpenSSL takes it from the session without checking what
 * the server allows now: a reload that forbids it would take effect two hours later. In TLS 1.3 it chooses anew.
 */
static bool has_allowed_cipher(SSL *ssl, const SSL_SESSION *session)
{
	return SSL_version(ssl) >= TLS1_3_VERSION ||
	       sk_SSL_CIPHER_find(SSL_get_ciphers(ssl), SSL_SESSION_get0_cipher(session)) >= 0;
}

/*
 * OpenSSL's callback for each ticket that was read. A ticket that no longer counts means a full handshake, as for a
 * new client. OpenSSL itself would judge the age of a ticket by the wall clock.
 */
static SSL_TICKET_RETURN on_ticket_read(SSL *ssl, SSL_SESSION *session, const unsigned char *name,
                                        size_t length, SSL_TICKET_STATUS status, void *arg)
{
	struct record r;

	(void)name;
	(void)length;
	(void)arg;
	if ((status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW) || !read_record(session, &r) ||
	    seconds_left(&r) <= 0 || tls_clock_steady() - r.written >= TICKET_SECONDS ||
	    !has_name_of_hello(ssl, session) || !has_allowed_cipher(ssl, session))
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

/* ---- contexts */

int tls_ticket_setup(SSL_CTX *ctx, bool server, const unsigned char context[TLS_SESSION_CONTEXT_SIZE])
{
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	if (!server)
		return 0;
	if (SSL_CTX_set_session_id_context(ctx, context, TLS_SESSION_CONTEXT_SIZE) != 1 ||
	    SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, ticket_key_cb) != 1 ||
	    SSL_CTX_set_session_ticket_cb(ctx, on_ticket_written, on_ticket_read, NULL) != 1)
		return -1;
	SSL_CTX_set_timeout(ctx, TICKET_SECONDS);
	return SSL_CTX_set_num_tickets(ctx, 1) == 1 ? 0 : -1;
}
