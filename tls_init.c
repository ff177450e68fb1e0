/*
 * tls_init.c - brings OpenSSL up in two worlds, and proves that they hold
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * Order matters. The process-wide roots come first and are private: a handshake with the default library
 * context makes every lazy table of the process. Then the shared library context, in a thread that ends, so
 * that no process inherits anything that OpenSSL keeps per thread.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tls_init.h"
#include "host/compat.h"
#include "host/child.h"
#include "heap/heap.h"
#include "tls_mem.h"
#include "crypto/openssl/compat.h"
#include "crypto/openssl/random.h"

#define LOCK_PROOF_MS 5000 /* how long the lock proof waits for a woken process */

static OSSL_LIB_CTX *shared_libctx;
static OSSL_PROVIDER *shared_provider;
static bool forked; /* this process was forked, or forks may have happened */

/* ---- shared memory of the host */

static void *host_take(size_t size)
{
	return shm_malloc(size);
}

static void host_give(void *p)
{
	shm_free(p);
}

static bool host_contains(const void *p)
{
	return shm_address_in((void *)(uintptr_t)p) == 1;
}

static size_t host_available(void)
{
	return shm_available();
}

static void host_complain(const char *text)
{
	LM_CRIT("%s", text);
}

static const struct tls_mem_source host_memory = {
	.take = host_take,
	.give = host_give,
	.contains = host_contains,
	.available = host_available,
	.complain = host_complain,
};

/* ---- errors */

const char *tls_init_errors(char *out, size_t size)
{
	char piece[512];
	size_t used = 0;
	unsigned long code;
	const char *data;
	int flags;

	out[0] = '\0';
	while ((code = ERR_get_error_all(NULL, NULL, NULL, &data, &flags)) != 0) {
		const char *reason = ERR_reason_error_string(code);
		const char *text = (flags & ERR_TXT_STRING) != 0 && data[0] != '\0' ? data : NULL;
		int n;

		snprintf(piece, sizeof(piece), "%s%s%s%s", reason != NULL ? reason : "unknown error",
		         text != NULL ? " (" : "", text != NULL ? text : "", text != NULL ? ")" : "");
		if (used >= size || strstr(out, piece) != NULL) /* several ways to read a file fail for one reason */
			continue;
		n = snprintf(out + used, size - used, "%s%s", used > 0 ? "; " : "", piece);
		used += n > 0 ? (size_t)n : 0;
	}
	if (out[0] == '\0')
		snprintf(out, size, "no reason given");
	for (char *p = out; *p != '\0';
	     p++) /* some of it is the peer's words: no lines and no commands of its own */
		if (*p < ' ' || *p > '~')
			*p = '?';
	return out;
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

/* Two ends whose BIO pairs are crossed, driven in turn until both are done. */
static int shake_hands(SSL *server, SSL *client)
{
	BIO *to_server = BIO_new(BIO_s_mem()), *to_client = BIO_new(BIO_s_mem());
	int s = 0, c = 0;
	char byte;

	if (to_server == NULL || to_client == NULL || BIO_up_ref(to_server) != 1 || BIO_up_ref(to_client) != 1) {
		BIO_free(to_server);
		BIO_free(to_client);
		return -1;
	}
	BIO_set_mem_eof_return(to_server, -1);
	BIO_set_mem_eof_return(to_client, -1);
	SSL_set_bio(server, to_server, to_client);
	SSL_set_bio(client, to_client, to_server);
	for (int turn = 0; turn < 10 && (s != 1 || c != 1); turn++) {
		c = SSL_do_handshake(client);
		s = SSL_do_handshake(server);
	}
	if (s != 1 || c != 1 || SSL_write(client, "x", 1) != 1 || SSL_read(server, &byte, 1) != 1 ||
	    SSL_write(server, "y", 1) != 1 || SSL_read(client, &byte, 1) != 1)
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
	    SSL_set_max_proto_version(server, version) == 1) {
		tls_mem_cover();
		SSL_set_accept_state(server);
		SSL_set_connect_state(client);
		result = tls_mem_uncover() ? shake_hands(server, client) : -1;
	}
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
static int rehearse(void *libctx)
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
 * OpenSSL does not always say that memory was short: a certificate whose key found none looks like one with a
 * key of an unknown kind, and stays so. So nothing is kept of which any part may be missing.
 */
static void *run_job(void *arg)
{
	struct job *job = arg;
	long before = tls_mem_refused();

	/*
	 * This makes the thread's error queue. Refused memory for it, OpenSSL 3.6 asks again in order to say so,
	 * for ever.
	 */
	ERR_clear_error();
	tls_mem_enter();
	job->result = job->work(job->arg);
	tls_mem_leave();
	if (tls_mem_refused() == before)
		return NULL;
	LM_ERR("shared memory is short: %zu KB are free; give the host more with -m\n",
	       tls_mem_available() / 1024);
	job->result = -1;
	return NULL;
}

int tls_init_run_shared(int (*work)(void *arg), void *arg)
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

static int start_shared_libctx(void *arg)
{
	char reason[256];

	(void)arg;
	shared_libctx = OSSL_LIB_CTX_new();
	if (shared_libctx != NULL)
		shared_provider = OSSL_PROVIDER_load(shared_libctx, "default");
	tls_mem_set_library(shared_libctx);
	if (shared_provider != NULL && tls_random_start(shared_libctx) == 0 && rehearse(shared_libctx) == 0)
		return 0;
	LM_ERR("OpenSSL does not start in shared memory: %s; %zu KB are free there, give the host more with -m\n",
	       tls_init_errors(reason, sizeof(reason)), tls_mem_available() / 1024);
	return -1;
}

/* ---- the lock proof */

static int new_shared_lock(void *arg)
{
	CRYPTO_RWLOCK **lock = arg;

	*lock = CRYPTO_THREAD_lock_new();
	return *lock != NULL ? 0 : -1;
}

static void sleep_ms(long ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};

	while (nanosleep(&t, &t) != 0)
		;
}

/* The state letter of process PID in /proc, 0 when it cannot be read. */
static char process_state(pid_t pid)
{
	char path[64], text[512], *end;
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
	f = fopen(path, "r");
	if (f == NULL)
		return 0;
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = '\0';
	end = strrchr(text, ')');
	return end != NULL && end[1] == ' ' ? end[2] : 0;
}

/* Waits until PID sleeps, which after its announcement on the pipe can only be in the lock. */
static void wait_until_asleep(pid_t pid)
{
	for (int ms = 0; ms < 200; ms += 2) {
		char state = process_state(pid);

		if (state == 'S' || state == 0)
			break;
		sleep_ms(2);
	}
	sleep_ms(10);
}

/* Waits at most LOCK_PROOF_MS for PID to end well; ends it otherwise. */
static int reap(pid_t pid)
{
	int status = -1;

	for (int ms = 0; ms < LOCK_PROOF_MS; ms += 2) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
		sleep_ms(2);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return -1;
}

/* A child waits for a lock of OpenSSL's that this process holds. Returns 0 when letting go wakes it. */
static int lock_wakes_child(void *lock)
{
	int pipe_fd[2], result = -1;
	char byte = 'x';
	pid_t pid;

	if (pipe(pipe_fd) != 0)
		return -1;
	pid = CRYPTO_THREAD_write_lock(lock) == 1 ? fork() : -1;
	if (pid == 0) {
		if (write(pipe_fd[1], &byte, 1) == 1 && CRYPTO_THREAD_write_lock(lock) == 1)
			_exit(CRYPTO_THREAD_unlock(lock) == 1 ? 0 : 1);
		_exit(1);
	}
	if (pid > 0 && read(pipe_fd[0], &byte, 1) == 1)
		wait_until_asleep(pid);
	CRYPTO_THREAD_unlock(lock); /* that it worked is what the child proves */
	if (pid > 0)
		result = reap(pid);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	return result;
}

/* Says what keeps the locks in one process, as far as that can be told, and what to do. */
static void complain_of_locks(void)
{
	const char *said = "a lock of OpenSSL's does not wake another process";

	if (!tls_compat_has_shared_locks())
		LM_ERR(
			"%s: the host was built without KSR_PTHREAD_MUTEX_SHARED ('TLS_PTHREAD_MUTEX_SHARED' is not among "
			"the flags of 'kamailio -v'): build it with that, or take the distribution's; tls_force_run starts "
			"all the same\n",
			said);
	else if (tls_compat_main_threads() != 0)
		LM_ERR("%s: tcp_main_threads is %d, and from 6.2 on the host has such locks only with 0: set "
		       "tcp_main_threads=0; tls_force_run starts all the same\n",
		       said, tls_compat_main_threads());
	else
		LM_ERR("%s: something replaces the host's pthread_rwlock_init (see LD_PRELOAD): start without it; "
		       "tls_force_run starts all the same\n",
		       said);
}

static int prove_locks(void)
{
	CRYPTO_RWLOCK *lock = NULL;
	int result;

	if (tls_init_run_shared(new_shared_lock, &lock) != 0)
		return -1;
	result = tls_child_unheard(lock_wakes_child, lock);
	CRYPTO_THREAD_lock_free(lock);
	if (result != 0)
		complain_of_locks();
	return result;
}

/* ---- core dumps */

/* The mapping that WITHIN lies in. Returns 0, -1 when it cannot be found. */
static int find_mapping(const void *within, void **start, size_t *size)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	uintptr_t address = (uintptr_t)within;
	unsigned long from, to;
	char line[512];
	int result = -1;

	while (result != 0 && maps != NULL && fgets(line, sizeof(line), maps) != NULL)
		if (sscanf(line, "%lx-%lx", &from, &to) == 2 && from <= address && address < to) {
			*start = (void *)(uintptr_t)from;
			*size = to - from;
			result = 0;
		}
	if (maps != NULL)
		fclose(maps);
	return result;
}

void tls_init_hide_memory(void)
{
	void *probe = tls_shared_alloc(1), *start;
	size_t size;

	if (probe != NULL &&
	    (find_mapping(probe, &start, &size) != 0 || madvise(start, size, MADV_DONTDUMP) != 0))
		LM_WARN(
			"core dumps of this server would hold the keys and secrets of TLS (%s): set disable_core_dump=yes, or keep "
			"them safe\n",
			strerror(errno));
	tls_shared_free(probe);
}

/* ---- life cycle */

int tls_init_load(void)
{
	if (tls_mem_install() != 0) {
		LM_ERR(
			"OpenSSL is in use already and takes no allocator any more: put loadmodule \"tls.so\" before every other "
			"module that uses OpenSSL (such as db_mysql, db_postgres, crypto, http_client, outbound, auth_identity)\n");
		return -1;
	}
	return 0;
}

static int check_library(bool force)
{
	if (tls_compat_library_fits())
		return 0;
	LM_ERR("this module was built with %s but runs with %s: build it again%s\n", OPENSSL_VERSION_TEXT,
	       OpenSSL_version(OPENSSL_VERSION),
	       force ? "; going on because of tls_force_run" : ", or set tls_force_run");
	return force ? 0 : -1;
}

static int start_process_roots(void)
{
	char reason[256];

	if (OPENSSL_init_ssl(OPENSSL_INIT_NO_ATEXIT | OPENSSL_INIT_LOAD_SSL_STRINGS |
	                         OPENSSL_INIT_LOAD_CRYPTO_STRINGS,
	                     NULL) == 1 &&
	    rehearse(NULL) == 0)
		return 0;
	LM_ERR("OpenSSL does not start: %s\n", tls_init_errors(reason, sizeof(reason)));
	return -1;
}

/* What OpenSSL keeps for the forking thread must not be in two processes. */
static void before_fork(void)
{
	OPENSSL_thread_stop();
}

int tls_init_start(bool force)
{
	if (check_library(force) != 0 || start_process_roots() != 0)
		return -1;
	if (tls_mem_start(&host_memory) != 0) {
		LM_ERR("no shared memory for OpenSSL: give the host more with -m\n");
		return -1;
	}
	if (pthread_atfork(before_fork, NULL, NULL) != 0) {
		LM_ERR("pthread_atfork: no memory\n");
		return -1;
	}
	if (prove_locks() != 0 && !force)
		return -1;
	return tls_init_run_shared(start_shared_libctx, NULL);
}

void tls_init_process(void)
{
	forked = true;
	ERR_clear_error(); /* makes the error queue, in private memory */
}

OSSL_LIB_CTX *tls_init_libctx(void)
{
	return shared_libctx;
}
