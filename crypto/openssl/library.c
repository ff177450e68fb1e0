/*
 * crypto/openssl/library.c - OpenSSL as a whole: started in two worlds, at forks, its errors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * The process-wide roots come first and are private: a handshake with the default library context makes every table
 * that OpenSSL makes on first use. Then the shared library context, in a thread that ends, so that no process inherits
 * anything that OpenSSL keeps per thread.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <openssl/rand.h>

#include "crypto/openssl/types.h"
#include "crypto/openssl/library.h"
#include "host/compat.h"
#include "tls_mem.h"
#include "crypto/openssl/memory.h"
#include "crypto/openssl/pair.h"
#include "crypto/openssl/random.h"

static OSSL_LIB_CTX *shared_libctx;
static OSSL_PROVIDER *shared_provider;
static EVP_MD *sha256; /* of the shared library context: EVP_sha256() is of the default one */
static bool forked;    /* this process was forked, or forks may have happened */

OSSL_LIB_CTX *tls_library_context(void)
{
	return shared_libctx;
}

bool tls_crypto_fits(void)
{
	return tls_compat_library_fits();
}

const char *tls_crypto_version(void)
{
	return OpenSSL_version(OPENSSL_VERSION);
}

const char *tls_crypto_built_with(void)
{
	return OPENSSL_VERSION_TEXT;
}

bool tls_crypto_has_certificate_compression(void)
{
	return tls_compat_has_certificate_compression();
}

/* ---- errors */

/* One error of the queue, as text in OUT. */
static void describe(unsigned long code, const char *data, int flags, char *out, size_t size)
{
	const char *reason = ERR_reason_error_string(code);
	const char *text = (flags & ERR_TXT_STRING) != 0 && data[0] != '\0' ? data : NULL;

	snprintf(out, size, "%s%s%s%s", reason != NULL ? reason : "unknown error", text != NULL ? " (" : "",
	         text != NULL ? text : "", text != NULL ? ")" : "");
}

/* Some of TEXT is the peer's words: it must not hold lines and commands of its own. */
static void make_printable(char *text)
{
	for (char *p = text; *p != '\0'; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
}

const char *tls_crypto_errors(char *out, size_t size)
{
	char piece[512];
	size_t used = 0;
	unsigned long code;
	const char *data;
	int flags;

	out[0] = '\0';
	while ((code = ERR_get_error_all(NULL, NULL, NULL, &data, &flags)) != 0) {
		int n;

		describe(code, data, flags, piece, sizeof(piece));
		if (used >= size || strstr(out, piece) != NULL) /* several ways to read a file fail for one reason */
			continue;
		n = snprintf(out + used, size - used, "%s%s", used > 0 ? "; " : "", piece);
		used += n > 0 ? (size_t)n : 0;
	}
	if (out[0] == '\0')
		snprintf(out, size, "no reason given");
	make_printable(out);
	return out;
}

void tls_crypto_clear_errors(void)
{
	ERR_clear_error();
}

/* ---- one handshake in memory, to make every table that OpenSSL makes on first use */

struct rehearsal {
	OSSL_LIB_CTX *libctx;
	EVP_PKEY *key;
	X509 *certificate;
	SSL_CTX *server, *client;
};

static X509 *self_signed(EVP_PKEY *key, OSSL_LIB_CTX *libctx)
{
	X509 *x = X509_new_ex(libctx, NULL);
	X509_NAME *name;

	if (x == NULL)
		return NULL;
	name = X509_get_subject_name(x);
	if (X509_set_version(x, X509_VERSION_3) != 1 || ASN1_INTEGER_set(X509_get_serialNumber(x), 1) != 1 ||
	    X509_gmtime_adj(X509_getm_notBefore(x), 0) == NULL ||
	    X509_gmtime_adj(X509_getm_notAfter(x), 3600) == NULL || X509_set_pubkey(x, key) != 1 ||
	    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"start-up", -1, -1, 0) !=
	        1 ||
	    X509_set_issuer_name(x, name) != 1 || X509_sign(x, key, EVP_sha256()) == 0) {
		X509_free(x);
		return NULL;
	}
	return x;
}

/* A handshake, a byte in each direction and the end. */
static int talk(SSL *server, SSL *client)
{
	char byte;

	if (tls_pair_shake_hands(server, client) != 0 || SSL_write(client, "x", 1) != 1 ||
	    SSL_read(server, &byte, 1) != 1 || SSL_write(server, "y", 1) != 1 || SSL_read(client, &byte, 1) != 1)
		return -1;
	SSL_shutdown(client);
	SSL_shutdown(server);
	return 0;
}

static int rehearse_version(struct rehearsal *r, int version)
{
	SSL *server = SSL_new(r->server), *client = SSL_new(r->client);
	int result = -1;

	if (server != NULL && client != NULL && SSL_set_min_proto_version(server, version) == 1 &&
	    SSL_set_max_proto_version(server, version) == 1 && tls_memory_set_role(server, TLS_SERVER) == 0 &&
	    tls_memory_set_role(client, TLS_CLIENT) == 0)
		result = talk(server, client);
	SSL_free(server);
	SSL_free(client);
	return result;
}

static int rehearse_with(struct rehearsal *r)
{
	if ((r->key = EVP_PKEY_Q_keygen(r->libctx, NULL, "EC", "P-256")) == NULL ||
	    (r->certificate = self_signed(r->key, r->libctx)) == NULL ||
	    (r->server = SSL_CTX_new_ex(r->libctx, NULL, TLS_method())) == NULL ||
	    (r->client = SSL_CTX_new_ex(r->libctx, NULL, TLS_method())) == NULL ||
	    SSL_CTX_use_certificate(r->server, r->certificate) != 1 ||
	    SSL_CTX_use_PrivateKey(r->server, r->key) != 1)
		return -1;
	SSL_CTX_set_session_cache_mode(r->server, SSL_SESS_CACHE_OFF);
	return rehearse_version(r, TLS1_2_VERSION) == 0 ? rehearse_version(r, TLS1_3_VERSION) : -1;
}

/* One handshake for TLS 1.2 and one for 1.3 in LIBCTX. Returns 0 or -1, errors in OpenSSL's queue. */
static int rehearse(OSSL_LIB_CTX *libctx)
{
	struct rehearsal r = {.libctx = libctx};
	int result = rehearse_with(&r);

	SSL_CTX_free(r.server);
	SSL_CTX_free(r.client);
	X509_free(r.certificate);
	EVP_PKEY_free(r.key);
	return result;
}

/* ---- work in the shared scope */

struct job {
	int (*work)(void *arg);
	void *arg;
	int result;
};

/*
 * OpenSSL does not always report that memory was short: a certificate whose key found none looks like one with a key of
 * an unknown kind, and stays so. So nothing is kept of which any part may be missing.
 */
static void *run_job(void *arg)
{
	struct job *job = arg;
	long before = tls_mem_refused();

	/*
	 * This makes the thread's error queue. When memory for it is refused, OpenSSL 3.6 asks again in order to say so,
	 * for ever.
	 */
	ERR_clear_error();
	tls_crypto_enter();
	job->result = job->work(job->arg);
	tls_crypto_leave();
	if (tls_mem_refused() == before)
		return NULL;
	LM_ERR("shared memory is short: %zu KB are free; give Kamailio more with -m\n",
	       tls_mem_available() / 1024);
	job->result = -1;
	return NULL;
}

int tls_crypto_run_shared(int (*work)(void *arg), void *arg)
{
	struct job job = {.work = work, .arg = arg, .result = -1};
	sigset_t all, before;
	pthread_t thread;
	int error;

	if (forked) {
		run_job(&job);
		return job.result;
	}
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before); /* the host's signals are for its own thread */
	error = pthread_create(&thread, NULL, run_job, &job);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error != 0) {
		LM_ERR("cannot start a thread for OpenSSL: %s; raise the limit on processes or memory\n",
		       strerror(error));
		return -1;
	}
	pthread_join(thread, NULL);
	return job.result;
}

/* ---- the two worlds */

/* What OpenSSL keeps for the forking thread must not be in two processes. */
static void before_fork(void)
{
	OPENSSL_thread_stop();
}

int tls_crypto_start(void)
{
	char reason[256];

	if (OPENSSL_init_ssl(OPENSSL_INIT_NO_ATEXIT | OPENSSL_INIT_LOAD_SSL_STRINGS |
	                         OPENSSL_INIT_LOAD_CRYPTO_STRINGS,
	                     NULL) != 1 ||
	    rehearse(NULL) != 0) {
		LM_ERR("OpenSSL does not start: %s\n", tls_crypto_errors(reason, sizeof(reason)));
		return -1;
	}
	if (pthread_atfork(before_fork, NULL, NULL) == 0)
		return 0;
	LM_ERR("pthread_atfork: no memory\n");
	return -1;
}

static int start_in_scope(void *arg)
{
	char reason[256];

	(void)arg;
	shared_libctx = OSSL_LIB_CTX_new();
	if (shared_libctx != NULL)
		shared_provider = OSSL_PROVIDER_load(shared_libctx, "default");
	tls_memory_set_context(shared_libctx);
	if (shared_provider != NULL && tls_random_start(shared_libctx) == 0 && rehearse(shared_libctx) == 0 &&
	    (sha256 = EVP_MD_fetch(shared_libctx, "SHA256", NULL)) != NULL)
		return 0;
	LM_ERR("OpenSSL does not start in shared memory: %s; %zu KB are free there, give Kamailio more with -m\n",
	       tls_crypto_errors(reason, sizeof(reason)), tls_mem_available() / 1024);
	return -1;
}

int tls_crypto_start_shared(void)
{
	return tls_crypto_run_shared(start_in_scope, NULL);
}

void tls_crypto_process(void)
{
	forked = true;
	ERR_clear_error(); /* makes the error queue, in private memory */
}

/* ---- random numbers, digests and locks for the rest of the module */

struct wanted {
	void *out;
	size_t size;
};

static int fill_in_scope(void *arg)
{
	const struct wanted *w = arg;
	int ok = RAND_bytes_ex(shared_libctx, w->out, w->size, 0);

	ERR_clear_error();
	return ok == 1 ? 0 : -1;
}

/* OpenSSL makes a generator for each thread that asks, in the shared library context. */
int tls_crypto_random(void *out, size_t size)
{
	struct wanted w = {.out = out, .size = size};

	return tls_crypto_run_shared(fill_in_scope, &w);
}

int tls_crypto_digest(const struct tls_piece *pieces, size_t count, unsigned char out[TLS_DIGEST_SIZE])
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	bool ok = md != NULL && EVP_DigestInit_ex2(md, sha256, NULL) == 1;

	for (size_t i = 0; ok && i < count; i++)
		ok = EVP_DigestUpdate(md, pieces[i].data, pieces[i].size) == 1;
	ok = ok && EVP_DigestFinal_ex(md, out, NULL) == 1;
	EVP_MD_CTX_free(md);
	return ok ? 0 : -1;
}

static CRYPTO_RWLOCK *lock_of(struct tls_crypto_lock *lock)
{
	return (CRYPTO_RWLOCK *)lock;
}

struct tls_crypto_lock *tls_crypto_lock_new(void)
{
	return (struct tls_crypto_lock *)CRYPTO_THREAD_lock_new();
}

int tls_crypto_lock_take(struct tls_crypto_lock *lock)
{
	return CRYPTO_THREAD_write_lock(lock_of(lock)) == 1 ? 0 : -1;
}

int tls_crypto_lock_release(struct tls_crypto_lock *lock)
{
	return CRYPTO_THREAD_unlock(lock_of(lock)) == 1 ? 0 : -1;
}

void tls_crypto_lock_free(struct tls_crypto_lock *lock)
{
	CRYPTO_THREAD_lock_free(lock_of(lock));
}
