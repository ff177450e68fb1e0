/*
 * crypto/openssl/trust.c - trust anchors and revocation lists from files
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <dirent.h>
#include <limits.h>

#include "crypto/openssl/trust.h"
#include "tls_mem.h"
#include "settings/report.h"
#include "tls_config.h"
#include "material/access.h"
#include "material/files.h"
#include "material/place.h"
#include "material/remarks.h"
#include "material/cache.h"
#include "crypto/openssl/bundle.h"
#include "crypto/openssl/crl.h"
#include "crypto/openssl/anchors.h"

/*
 * A CertificateRequest names the acceptable issuers. With more than this many (a system's bundle, not a private CA)
 * none is named: they would cost every handshake 10 KB and more, and no client chooses by them.
 */
#define NAMED_ISSUERS_MAX 32

struct tls_trust {
	struct tls_cache_item item;
	X509_STORE *anchors;
	STACK_OF(X509_NAME) *issuers; /* NULL: too many to be named */
	struct tls_anchors *loading;  /* NULL when all are loaded */
	struct tls_remark *faults;    /* told only where peers are verified */
	struct tls_crls *lists;
};

/* ---- loading */

static int note_issuer(struct tls_trust *trust, const X509 *x)
{
	X509_NAME *name;

	if (trust->issuers == NULL)
		return 0;
	if (sk_X509_NAME_num(trust->issuers) >= NAMED_ISSUERS_MAX) {
		sk_X509_NAME_pop_free(trust->issuers, X509_NAME_free);
		trust->issuers = NULL;
		return 0;
	}
	name = X509_NAME_dup(X509_get_subject_name(x));
	if (name != NULL && sk_X509_NAME_push(trust->issuers, name) > 0)
		return 0;
	X509_NAME_free(name);
	return -1;
}

static int add_anchors(struct tls_trust *trust, struct tls_bundle *b)
{
	X509 *x;

	while ((x = tls_bundle_certificate(b)) != NULL) {
		int added = X509_STORE_add_cert(trust->anchors, x);

		if (added == 1)
			added = note_issuer(trust, x) == 0 && tls_anchors_add(trust->loading, x, &b->at, b->line) == 0;
		X509_free(x);
		if (added != 1)
			return -1;
	}
	return 0;
}

static int add_crls(struct tls_trust *trust, struct tls_bundle *b)
{
	X509_CRL *crl;

	while ((crl = tls_bundle_crl(b)) != NULL) {
		int added = tls_crls_add(&trust->lists, crl, b->at.path, b->line) == 0;

		if (added == 1 && !tls_crls_is_delta(crl))
			added = X509_STORE_add_crl(trust->anchors, crl);
		X509_CRL_free(crl);
		if (added != 1)
			return -1;
	}
	return 0;
}

/* What a file of a trust store may hold. */
struct content {
	const char *name;
	int (*add)(struct tls_trust *trust, struct tls_bundle *b); /* returns 0, -1 without memory */
};

static const struct content certificates = {"certificate", add_anchors};
static const struct content crls = {"CRL", add_crls};

/* Adds the CONTENT of AT's file. Returns 0, or -1 (reported). */
static int add_file(struct tls_trust *trust, const struct content *content, const struct tls_place *at)
{
	struct tls_bundle bundle;
	struct tls_file f;
	int result;

	if (tls_place_read(at, &f) != 0)
		return -1;
	tls_bundle_open(&bundle, f.data, f.size, at);
	result = content->add(trust, &bundle);
	if (result != 0)
		tls_bundle_refused(at, bundle.line, "cannot be loaded");
	else
		result = tls_bundle_end(&bundle, content->name);
	tls_files_free(&f);
	return result;
}

/*
 * Loads the hashed folder of AT whole. OpenSSL would open its files during handshakes, in workers that must not wait
 * for a disk and may have lost the right to read.
 */
static int add_folder(struct tls_trust *trust, const struct tls_place *at)
{
	DIR *dir = opendir(at->path);
	char path[PATH_MAX];
	struct tls_place file = {.path = path, .from = at->from, .report = at->report};
	int files = 0, result = 0;
	bool is_crl;

	if (dir == NULL) {
		tls_place_say(at, TLS_ERROR, 0, "%s", tls_access_reason(at->path, path, sizeof(path)));
		return -1;
	}
	while (result == 0 && tls_files_next_hashed(dir, at->path, path, sizeof(path), &is_crl)) {
		result = add_file(trust, is_crl ? &crls : &certificates, &file);
		files++;
	}
	closedir(dir);
	if (result == 0 && files == 0) {
		tls_place_say(at, TLS_ERROR, 0,
		              "no hashed certificate files in it: run \"openssl rehash\" on the folder");
		result = -1;
	}
	return result;
}

/* To be called when everything is loaded. */
static void judge(struct tls_trust *trust)
{
	struct tls_report said;

	tls_report_init(&said);
	tls_anchors_judge(trust->loading, &said);
	tls_remarks_keep(&trust->faults, &said);
	tls_report_clear(&said);
	tls_anchors_free(trust->loading);
	trust->loading = NULL;
}

static int load(struct tls_cache_item *item, const struct tls_cache_source *source,
                const struct tls_origin from[3], struct tls_report *r)
{
	const struct tls_place file = {.path = source->file, .from = &from[0], .report = r};
	const struct tls_place folder = {.path = source->folder, .from = &from[1], .report = r};
	const struct tls_place crl = {.path = source->crl, .from = &from[2], .report = r};
	const unsigned long flags = X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL;
	struct tls_trust *trust = (struct tls_trust *)item;

	trust->anchors = X509_STORE_new();
	trust->issuers = sk_X509_NAME_new_null();
	trust->loading = tls_anchors_new();
	if (trust->anchors == NULL || trust->issuers == NULL || trust->loading == NULL) {
		tls_place_say(source->file != NULL     ? &file
		              : source->folder != NULL ? &folder
		                                       : &crl,
		              TLS_ERROR, 0, "no memory to load it");
		return -1;
	}
	if (source->file != NULL && add_file(trust, &certificates, &file) != 0)
		return -1;
	if (source->folder != NULL && add_folder(trust, &folder) != 0)
		return -1;
	if (source->crl != NULL && add_file(trust, &crls, &crl) != 0)
		return -1;
	if (source->crl != NULL && X509_STORE_set_flags(trust->anchors, flags) != 1) {
		tls_bundle_refused(&crl, 0, "the revocation lists cannot be used");
		return -1;
	}
	judge(trust);
	return 0;
}

static void free_trust(struct tls_cache_item *item)
{
	struct tls_trust *trust = (struct tls_trust *)item;

	X509_STORE_free(trust->anchors);
	sk_X509_NAME_pop_free(trust->issuers, X509_NAME_free);
	tls_anchors_free(trust->loading);
	tls_remarks_free(trust->faults);
	tls_crls_free(trust->lists);
}

struct tls_trust *tls_trust_load(struct tls_cache *cache, const char *ca_list, const char *ca_path,
                                 const char *crl, const struct tls_origin from[3], struct tls_report *r)
{
	static const struct tls_cache_kind kind = {
		.size = sizeof(struct tls_trust), .load = load, .free = free_trust};
	const struct tls_cache_source source = {.file = ca_list, .folder = ca_path, .crl = crl};

	return (struct tls_trust *)tls_cache_get(cache, &kind, &source, from, r);
}

/* ---- use */

X509_STORE *tls_trust_anchors(const struct tls_trust *trust)
{
	return trust->anchors;
}

void tls_trust_say(const struct tls_trust *trust, const char *crl, const struct tls_origin from[3],
                   struct tls_report *r)
{
	struct tls_place at = {.path = crl, .from = &from[2], .report = r};

	tls_remarks_say(trust->faults, from, r);
	if (crl != NULL)
		tls_crls_check(trust->lists, trust->anchors, &at);
}

int tls_trust_use(SSL_CTX *ctx, struct tls_trust *trust)
{
	STACK_OF(X509_NAME) *issuers;

	SSL_CTX_set1_cert_store(ctx, trust->anchors);
	if (trust->issuers == NULL)
		return 0;
	issuers = sk_X509_NAME_deep_copy(trust->issuers, X509_NAME_dup, X509_NAME_free);
	if (issuers == NULL)
		return -1;
	SSL_CTX_set0_CA_list(ctx, issuers);
	return 0;
}
