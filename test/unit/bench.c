/*
 * bench.c - the module's rooms below its face, started on a host that is not there
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "heap/heap.h"
#include "tls_mem.h"
#include "settings/table.h"
#include "settings/values.h"
#include "settings/runtime.h"
#include "connection/stats.h"
#include "crypto/openssl/compat.h"
#include "tls_init.h"
#include "connection/keylog.h"
#include "crypto/openssl/compress.h"
#include "crypto/openssl/ticket.h"
#include "crypto/crypto.h"
#include "tls_domain.h"
#include "tls_generation.h"
#include "tls_reload.h"
#include "tls_server.h"
#include "bench.h"
#include "fake_memory.h"

#define MEMORY_SIZE ((size_t)1 << 30) /* mapped, not used */

struct tls_options bench_options;
static char folder[64];
static pid_t owner;

/* ---- the host makes locks that processes share, as libcrypto finds these before libc's */

__attribute__((visibility("default"))) int pthread_rwlock_init(pthread_rwlock_t *lock,
                                                               const pthread_rwlockattr_t *attributes)
{
	static int (*real)(pthread_rwlock_t *, const pthread_rwlockattr_t *);
	pthread_rwlockattr_t shared;
	int result;

	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "pthread_rwlock_init");
	pthread_rwlockattr_init(&shared);
	pthread_rwlockattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
	result = real(lock, &shared);
	pthread_rwlockattr_destroy(&shared);
	return result;
}

/* ---- files */

const char *bench_path(const char *file)
{
	static char paths[8][128];
	static unsigned turn;
	char *path = paths[turn++ % 8];

	snprintf(path, sizeof(paths[0]), "%s/%s", folder, file);
	return path;
}

static FILE *open_file(const char *file)
{
	FILE *f = fopen(bench_path(file), "w");

	if (f == NULL)
		abort();
	return f;
}

void bench_write(const char *file, const char *text)
{
	FILE *f = open_file(file);
	const char *at;

	while ((at = strstr(text, "@/")) != NULL) {
		fprintf(f, "%.*s%s/", (int)(at - text), text, folder);
		text = at + 2;
	}
	fputs(text, f);
	fclose(f);
}

void bench_end(void)
{
	DIR *dir = owner == getpid() ? opendir(folder) : NULL;
	struct dirent *entry;

	if (dir == NULL)
		return;
	while ((entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.')
			unlink(bench_path(entry->d_name));
	closedir(dir);
	rmdir(folder);
}

/* ---- certificates */

struct identity {
	EVP_PKEY *key;
	X509 *certificate;
};

static int add_extension(X509 *x, int nid, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, (char *)(uintptr_t)value);
	int added = extension != NULL ? X509_add_ext(x, extension, -1) : 0;

	X509_EXTENSION_free(extension);
	return added;
}

/* ISSUER NULL: signs itself. */
static struct identity make_identity(const char *name, const char *kind, const struct identity *issuer)
{
	struct identity id = {.certificate = X509_new()};
	X509_NAME *subject = X509_get_subject_name(id.certificate);
	static long serial;

	id.key = strcmp(kind, "RSA") == 0 ? EVP_RSA_gen(2048) : EVP_EC_gen(kind);
	X509_set_version(id.certificate, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(id.certificate), ++serial);
	X509_gmtime_adj(X509_getm_notBefore(id.certificate), -3600);
	X509_gmtime_adj(X509_getm_notAfter(id.certificate), 90 * 86400);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(id.certificate,
	                     issuer != NULL ? X509_get_subject_name(issuer->certificate) : subject);
	X509_set_pubkey(id.certificate, id.key);
	if (issuer == NULL)
		add_extension(id.certificate, NID_basic_constraints, "critical,CA:TRUE");
	else
		add_extension(id.certificate, NID_subject_alt_name, "DNS:example.org,IP:127.0.0.1");
	if (X509_sign(id.certificate, issuer != NULL ? issuer->key : id.key, EVP_sha256()) == 0)
		abort();
	return id;
}

static void write_identity(const char *name, const struct identity *id)
{
	char file[64];
	FILE *f;

	snprintf(file, sizeof(file), "%s.pem", name);
	f = open_file(file);
	PEM_write_X509(f, id->certificate);
	fclose(f);
	snprintf(file, sizeof(file), "%s.key", name);
	f = open_file(file);
	PEM_write_PrivateKey(f, id->key, NULL, NULL, 0, NULL, NULL);
	fclose(f);
}

static void make_identities(void)
{
	static const struct {
		const char *name, *kind;
		bool self_signed;
	} wanted[] = {
		{"ca", "P-256", true},      {"server", "P-256", false},  {"rsa", "RSA", false},
		{"client", "P-256", false}, {"stranger", "P-256", true},
	};
	struct identity id[sizeof(wanted) / sizeof(wanted[0])];

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		id[i] = make_identity(wanted[i].name, wanted[i].kind, wanted[i].self_signed ? NULL : &id[0]);
		write_identity(wanted[i].name, &id[i]);
	}
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		X509_free(id[i].certificate);
		EVP_PKEY_free(id[i].key);
	}
}

SSL_CTX *bench_context(const char *name)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_method());
	char file[64];

	if (ctx == NULL || SSL_CTX_load_verify_file(ctx, bench_path("ca.pem")) != 1)
		abort();
	if (name == NULL)
		return ctx;
	snprintf(file, sizeof(file), "%s.pem", name);
	if (SSL_CTX_use_certificate_file(ctx, bench_path(file), SSL_FILETYPE_PEM) != 1)
		abort();
	snprintf(file, sizeof(file), "%s.key", name);
	if (SSL_CTX_use_PrivateKey_file(ctx, bench_path(file), SSL_FILETYPE_PEM) != 1)
		abort();
	return ctx;
}

/* ---- starting */

int bench_prepare(void)
{
	if (tls_init_load() != 0)
		return -1;
	snprintf(folder, sizeof(folder), "/tmp/tls-bench-XXXXXX");
	if (mkdtemp(folder) == NULL)
		return -1;
	owner = getpid();
	atexit(bench_end);
	make_identities();
	tls_settings_init_options(&bench_options);
	return 0;
}

int bench_start(const char *text)
{
	static const struct tls_gauge no_gauges[] = {{NULL, NULL, NULL}};
	static struct tls_settings params;
	static char config[128];

	tls_settings_init(&params);
	bench_write("tls.cfg", text);
	snprintf(config, sizeof(config), "%s", bench_path("tls.cfg"));
	bench_options.config = config;
	tls_settings_set_option_defaults(&bench_options);
	if (fake_memory_start(MEMORY_SIZE) != 0 || tls_runtime_start(&params, &bench_options) != 0 ||
	    tls_init_start(false) != 0)
		return -1;
	tls_compress_start(bench_options.disable_compression == 0);
	if (tls_io_start() != 0 || tls_ticket_start() != 0 || tls_keylog_start() != 0 ||
	    tls_generation_start() != 0 || tls_server_start() != 0 || tls_reload_start(&params) != 0 ||
	    tls_stats_start(no_gauges) != 0)
		return -1;
	tls_crypto_process();
	return 0;
}

long bench_blocks(void)
{
	struct tls_mem_stats mem;

	OPENSSL_thread_stop();
	ERR_clear_error();
	tls_mem_get_stats(&mem);
	return mem.blocks;
}
