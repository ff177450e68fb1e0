/*
 * crypto/openssl/chain.c - certificates from files, each with the chain that is sent with it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <string.h>

#include "crypto/openssl/chain.h"
#include "tls_mem.h"
#include "settings/report.h"
#include "tls_config.h"
#include "material/files.h"
#include "material/place.h"
#include "material/cache.h"
#include "crypto/openssl/types.h"
#include "crypto/openssl/library.h"
#include "crypto/openssl/bundle.h"
#include "crypto/openssl/anchors.h"
#include "crypto/openssl/key.h"

#define WARN_DAYS 14

struct tls_chain {
	struct tls_cache_item item;
	struct tls_chain_file file;
};

/* ---- loading */

/* Notes that the certificate NUMBER, from 0, begins in LINE. Returns 0, -1 without memory. */
static int note_line(struct tls_chain_file *file, int number, int line)
{
	if (number % 16 == 0) {
		int *lines = tls_mem_shared_alloc((size_t)(number + 16) * sizeof(*lines));

		if (lines == NULL)
			return -1;
		if (number > 0)
			memcpy(lines, file->lines, (size_t)number * sizeof(*lines));
		tls_mem_shared_free(file->lines);
		file->lines = lines;
	}
	file->lines[number] = line;
	return 0;
}

/* Reads the leaf and then the rest from B. Returns 0, or -1 (B knows why, or memory is short). */
static int parse_chain(struct tls_bundle *b, struct tls_chain_file *file)
{
	X509 *x;

	file->leaf = tls_bundle_certificate(b);
	file->others = sk_X509_new_null();
	if (file->leaf == NULL || file->others == NULL || note_line(file, 0, b->line) != 0)
		return -1;
	while ((x = tls_bundle_certificate(b)) != NULL)
		if (sk_X509_push(file->others, x) == 0) {
			X509_free(x);
			return -1;
		} else if (note_line(file, sk_X509_num(file->others), b->line) != 0) {
			return -1;
		}
	file->skipped = b->skipped > 0;
	return 0;
}

static int load(struct tls_cache_item *item, const struct tls_cache_source *source,
                const struct tls_origin from[3], struct tls_report *r)
{
	const struct tls_place at = {.path = source->file, .from = from, .report = r};
	struct tls_chain_file *chain = &((struct tls_chain *)item)->file;
	struct tls_bundle bundle;
	struct tls_file f;
	int result;

	if (tls_place_read(&at, &f) != 0)
		return -1;
	tls_bundle_open(&bundle, f.data, f.size, &at);
	result = parse_chain(&bundle, chain);
	chain->path = tls_mem_shared_strdup(source->file);
	if (tls_bundle_end(&bundle, "certificate") != 0)
		result = -1;
	else if (result != 0 || chain->path == NULL)
		tls_bundle_refused(&at, 0, "not loaded");
	tls_files_free(&f);
	return chain->path != NULL ? result : -1;
}

static void warn_of_dates(const struct tls_cache_item *item, const struct tls_cache_source *source,
                          const struct tls_origin *from, struct tls_report *r)
{
	const struct tls_place at = {.path = source->file, .from = from, .report = r};
	const X509 *x = ((const struct tls_chain *)item)->file.leaf;
	int days = 0, seconds = 0;

	if (X509_cmp_current_time(X509_get0_notBefore(x)) > 0)
		tls_place_say(&at, TLS_WARNING, 0,
		              "the certificate is not valid yet; peers will refuse it (is the clock right?)");
	if (ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(x)) != 1)
		return;
	if (days < 0 || seconds < 0)
		tls_place_say(&at, TLS_WARNING, 0,
		              "the certificate expired %d days ago, and peers will refuse it; renew it and reload",
		              -days);
	else if (days < WARN_DAYS)
		tls_place_say(&at, TLS_WARNING, 0, "the certificate expires in %d days; renew it and reload", days);
}

static void free_chain(struct tls_cache_item *item)
{
	struct tls_chain_file *file = &((struct tls_chain *)item)->file;

	X509_free(file->leaf);
	sk_X509_pop_free(file->others, X509_free);
	tls_mem_shared_free(file->lines);
	tls_mem_shared_free(file->path);
}

struct tls_chain *tls_chain_load(struct tls_cache *cache, const char *path, const struct tls_origin *from,
                                 struct tls_report *r)
{
	static const struct tls_cache_kind kind = {
		.size = sizeof(struct tls_chain), .load = load, .review = warn_of_dates, .free = free_chain};
	const struct tls_cache_source source = {.file = path};

	return (struct tls_chain *)tls_cache_get(cache, &kind, &source, from, r);
}

struct tls_cert *tls_chain_certificate(const struct tls_chain *chain)
{
	return (struct tls_cert *)chain->file.leaf;
}

const struct tls_chain_file *tls_chain_file(const struct tls_chain *chain)
{
	return &chain->file;
}

/* ---- together with its key */

/*
 * A certificate that is alone in its file is sent with the authorities above it, except the root, as far as CTX
 * trusts them. OpenSSL would look for them in each handshake. Returns 0, -1 without memory.
 */
static int complete_chain(SSL_CTX *ctx)
{
	const int flags = SSL_BUILD_CHAIN_FLAG_NO_ROOT | SSL_BUILD_CHAIN_FLAG_IGNORE_ERROR;
	long before = tls_mem_refused();

	SSL_CTX_build_cert_chain(ctx, flags);
	ERR_clear_error();
	return tls_mem_refused() == before ? 0 : -1;
}

/* Which of the others in FILE, from 1, has this private key; 0: none. */
static int owner_of(const struct tls_chain_file *file, EVP_PKEY *key)
{
	for (int i = 0; i < sk_X509_num(file->others); i++)
		if (X509_check_private_key(sk_X509_value(file->others, i), key) == 1)
			return i + 1;
	return 0;
}

/* Says that KEY is not the leaf's, and which certificate of the file it belongs to, if any. */
static void say_mismatch(const struct tls_chain_file *file, const struct tls_key *key,
                         const struct tls_origin from[2], struct tls_report *r)
{
	const struct tls_place key_at = {.path = tls_key_path(key), .from = &from[1], .report = r};
	const struct tls_place at = {.path = file->path, .from = &from[0], .report = r};
	int owner = owner_of(file, tls_key_parsed(key));
	char subject[256];

	ERR_clear_error();
	if (owner == 0) {
		tls_place_say(&key_at, TLS_ERROR, 0, "private key does not match the certificate in %s", file->path);
		return;
	}
	tls_anchors_name(X509_get_subject_name(sk_X509_value(file->others, owner - 1)), subject, sizeof(subject));
	tls_place_say(&at, TLS_ERROR, file->lines[owner],
	              "the private key belongs to this certificate, \"%s\", which is number %d in the file; the "
	              "server's own certificate must be first, followed by those of the authorities",
	              subject, owner + 1);
}

int tls_chain_use(SSL_CTX *ctx, struct tls_chain *chain, struct tls_key *key, const struct tls_origin from[2],
                  struct tls_report *r)
{
	const struct tls_chain_file *file = &chain->file;
	const struct tls_place at = {.path = file->path, .from = &from[0], .report = r};

	if (X509_check_private_key(file->leaf, tls_key_parsed(key)) != 1) {
		say_mismatch(file, key, from, r);
		return -1;
	}
	if (SSL_CTX_use_cert_and_key(ctx, file->leaf, tls_key_parsed(key), file->others, 1) != 1) {
		char reason[256];

		tls_place_say(&at, TLS_ERROR, 0, "OpenSSL cannot use it: %s",
		              tls_crypto_errors(reason, sizeof(reason)));
		return -1;
	}
	if (sk_X509_num(file->others) > 0 || complete_chain(ctx) == 0)
		return 0;
	tls_place_say(&at, TLS_ERROR, 0, "no shared memory to use it");
	return -1;
}
