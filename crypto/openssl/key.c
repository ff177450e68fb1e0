/*
 * crypto/openssl/key.c - private keys from files, and each process's own copy of them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * A key is read into private memory and parsed in the shared world. OpenSSL keeps blinding state with an RSA key that
 * belongs to one thread id, and after a fork every process has the same one. So no process signs with the parsed key:
 * each makes a copy when it first has to. EC and EdDSA keys have no such state.
 */
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "crypto/openssl/key.h"
#include "host/compat.h"
#include "tls_mem.h"
#include "settings/report.h"
#include "tls_config.h"
#include "material/keyfile.h"
#include "material/files.h"
#include "material/place.h"
#include "material/cache.h"
#include "crypto/openssl/library.h"
#include "crypto/openssl/bundle.h"

struct tls_key {
	struct tls_cache_item item;
	char *path;
	EVP_PKEY *parsed;
	bool per_process;
	_Atomic(EVP_PKEY **) copies; /* one place for each process, made with the first copy */
};

/* ---- loading */

/* OpenSSL asks for the password of an encrypted key: it gets the configured one, and no person is asked. */
static int give_password(char *out, int size, int writing, void *password)
{
	size_t n = password != NULL ? strlen(password) : 0;

	(void)writing;
	if (n == 0 || n > (size_t)size)
		return -1;
	memcpy(out, password, n);
	return (int)n;
}

static EVP_PKEY *parse_key(const struct tls_file *f, const char *password)
{
	BIO *bio = BIO_new_mem_buf(f->data, (int)f->size);
	EVP_PKEY *key = NULL;

	if (bio != NULL)
		key = PEM_read_bio_PrivateKey_ex(bio, NULL, give_password, (void *)(uintptr_t)password,
		                                 tls_library_context(), NULL);
	BIO_free(bio);
	return key;
}

/* Whether PATH is how the packaged module names a key of an engine or a provider. */
static bool in_hardware(const char *path)
{
	return strncmp(path, "/engine:", strlen("/engine:")) == 0 || strncmp(path, "/uri:", strlen("/uri:")) == 0;
}

/* No key could be read from F, the file of AT: says why, or what is in it instead. */
static void say_no_key(const struct tls_file *f, bool password, const struct tls_place *at)
{
	char room[2 * PATH_MAX];
	const char *other = tls_keyfile_explain(f->data, f->size, at->path, password, room, sizeof(room));

	if (other == NULL) {
		tls_bundle_refused(at, 0,
		                   password ? "cannot read the private key with private_key_password"
		                            : "no private key (an encrypted one needs private_key_password)");
		return;
	}
	ERR_clear_error();
	tls_place_say(at, TLS_ERROR, 0, "%s", other);
}

static int load(struct tls_cache_item *item, const struct tls_cache_source *source,
                const struct tls_origin from[3], struct tls_report *r)
{
	const struct tls_place at = {.path = source->file, .from = from, .report = r};
	bool password = source->password != NULL && source->password[0] != '\0';
	struct tls_key *key = (struct tls_key *)item;
	struct tls_file f;

	if (in_hardware(source->file)) {
		tls_place_say(&at, TLS_ERROR, 0, "keys in hardware are not supported; name a file");
		return -1;
	}
	if (tls_place_read(&at, &f) != 0)
		return -1;
	key->path = tls_mem_shared_strdup(source->file);
	if (key->path != NULL)
		key->parsed = parse_key(&f, source->password);
	if (key->path == NULL)
		tls_bundle_refused(&at, 0, "not loaded");
	else if (key->parsed == NULL)
		say_no_key(&f, password, &at);
	tls_files_free(&f);
	if (key->parsed == NULL)
		return -1;
	key->per_process = EVP_PKEY_is_a(key->parsed, "RSA") == 1 || EVP_PKEY_is_a(key->parsed, "RSA-PSS") == 1;
	return 0;
}

/* Debian gives keys to root and the group ssl-cert, so a group may read one. */
static void warn_of_readers(const struct tls_cache_item *item, const struct tls_cache_source *source,
                            const struct tls_origin *from, struct tls_report *r)
{
	const struct tls_place at = {.path = source->file, .from = from, .report = r};
	struct stat st;

	(void)item;
	if (stat(source->file, &st) == 0 && (st.st_mode & (S_IROTH | S_IWOTH)) != 0)
		tls_place_say(&at, TLS_WARNING, 0,
		              "every user of this machine may %s this private key; run chmod o-rw on it",
		              (st.st_mode & S_IROTH) != 0 ? "read" : "write");
}

static void free_key(struct tls_cache_item *item)
{
	struct tls_key *key = (struct tls_key *)item;
	EVP_PKEY **copies = atomic_load(&key->copies);

	for (int i = 0; copies != NULL && i < get_max_procs(); i++)
		EVP_PKEY_free(copies[i]);
	tls_mem_shared_free(copies);
	EVP_PKEY_free(key->parsed);
	tls_mem_shared_free(key->path);
}

struct tls_key *tls_key_load(struct tls_cache *cache, const char *path, const char *password,
                             const struct tls_origin *from, struct tls_report *r)
{
	static const struct tls_cache_kind kind = {
		.size = sizeof(struct tls_key), .load = load, .review = warn_of_readers, .free = free_key};
	const struct tls_cache_source source = {.file = path, .password = password};

	return (struct tls_key *)tls_cache_get(cache, &kind, &source, from, r);
}

EVP_PKEY *tls_key_parsed(const struct tls_key *key)
{
	return key->parsed;
}

const char *tls_key_path(const struct tls_key *key)
{
	return key->path;
}

/* ---- copies */

/* The table of the copies of KEY, made by whichever process is first. NULL without memory. */
static EVP_PKEY **copies_of(struct tls_key *key)
{
	EVP_PKEY **copies = atomic_load(&key->copies), **fresh;

	if (copies != NULL)
		return copies;
	fresh = tls_mem_shared_alloc((size_t)get_max_procs() * sizeof(*fresh));
	if (fresh == NULL)
		return NULL;
	if (atomic_compare_exchange_strong(&key->copies, &copies, fresh))
		return fresh;
	tls_mem_shared_free(fresh);
	return copies;
}

/*
 * A copy of KEY. NULL without memory, also when there is a copy but OpenSSL 3.6 could not note down how large it is.
 */
static EVP_PKEY *copy_of(EVP_PKEY *key)
{
	EVP_PKEY *copy = EVP_PKEY_dup(key);

	if (copy == NULL || EVP_PKEY_get_size(copy) > 0)
		return copy;
	EVP_PKEY_free(copy);
	return NULL;
}

int tls_key_adopt(SSL *ssl, struct tls_key *key)
{
	EVP_PKEY **copies;

	if (!key->per_process)
		return 0;
	copies = copies_of(key);
	if (copies == NULL)
		return -1;
	if (copies[process_no] == NULL)
		copies[process_no] = copy_of(key->parsed);
	if (copies[process_no] == NULL)
		return -1;
	if (SSL_get_privatekey(ssl) == copies[process_no])
		return 0;
	return SSL_use_PrivateKey(ssl, copies[process_no]) == 1 ? 0 : -1;
}
