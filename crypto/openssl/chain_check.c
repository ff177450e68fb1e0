/*
 * crypto/openssl/chain_check.c - whether the chains of a configuration hold together
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * A server that sends its certificate without the intermediate ones works only with browsers and phones that got
 * those elsewhere. One file does not prove that something is missing: a certificate directly below a private
 * authority's root is complete alone. So nothing is said about a chain unless the certificate itself tells where that
 * of its issuer is published (RFC 5280 section 4.2.2.1), or the issuer is an intermediate elsewhere in the
 * configuration.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* asprintf() */
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/x509v3.h>

#include "crypto/openssl/chain.h"
#include "settings/report.h"
#include "tls_config.h"
#include "tls_domain_types.h"
#include "crypto/openssl/compat.h"
#include "crypto/openssl/library.h"
#include "material/place.h"
#include "material/files.h"
#include "crypto/openssl/anchors.h"
#include "crypto/openssl/trust.h"

#define NAME_SIZE  256
#define BESIDE_MAX (1024 * 1024) /* bytes of a file with a chain */
#define STEPS_MAX  20            /* from a certificate to its root */

/* What has been done with a chain or a trust store. */
enum mark { NOTED, CHECKED, EXPLAINED, TOLD, NO_TRUST, MARKS };
static const char marks[MARKS];

/* Something and its mark; or a chain and the trust store that completes it. */
struct pair {
	const void *a, *b;
};

/* A certificate that is somewhere in the configuration. */
struct known {
	unsigned long subject; /* the hash of its name */
	X509 *x;
	const char *path; /* NULL: among the trust anchors */
	int line;
};

/* All of a configuration, in private memory. */
struct audit {
	const struct tls_domain *domains;
	int count;
	struct tls_report *report;
	struct pair *seen; /* a table of SEEN_SIZE, a power of two; free places are NULL */
	size_t seen_size;
	struct known *known; /* by hash; NULL: not needed yet */
	size_t known_count, known_room;
};

/* One chain, as one section uses it. */
struct use {
	struct audit *audit;
	const struct tls_chain_file *file;
	const struct tls_trust *trust;
	struct tls_place at;
	bool *related; /* by place in the file: whether it leads from the first certificate to a root */
	int count;
	bool said; /* something that also explains what is missing */
};

/* ---- what has been seen */

/* The place of (A, B), free when it is not there. */
static struct pair *place_of(struct audit *audit, const void *a, const void *b)
{
	size_t i = ((uintptr_t)a / 16 * 31 + (uintptr_t)b) * 2654435761u;
	struct pair *p;

	do
		p = &audit->seen[i++ & (audit->seen_size - 1)];
	while (p->a != NULL && (p->a != a || p->b != b));
	return p;
}

/* Whether (A, B) has not been seen; it has from now on. */
static bool is_new(struct audit *audit, const void *a, const void *b)
{
	struct pair *p = place_of(audit, a, b);

	if (p->a != NULL)
		return false;
	*p = (struct pair){a, b};
	return true;
}

static unsigned long hash_of(const X509_NAME *name)
{
	return X509_NAME_hash_ex(name, tls_library_context(), NULL, NULL);
}

static void note_known(struct audit *audit, X509 *x, const char *path, int line)
{
	if (audit->known_count == audit->known_room) {
		size_t room = audit->known_room > 0 ? 2 * audit->known_room : 64;
		struct known *known = realloc(audit->known, room * sizeof(*known));

		if (known == NULL)
			return;
		audit->known = known;
		audit->known_room = room;
	}
	audit->known[audit->known_count++] = (struct known){hash_of(X509_get_subject_name(x)), x, path, line};
}

static void note_anchors(struct audit *audit, const struct tls_trust *trust)
{
	X509_STORE *store = tls_trust_anchors(trust);
	STACK_OF(X509_OBJECT) *objects;

	if (X509_STORE_lock(store) != 1)
		return;
	objects = X509_STORE_get0_objects(store);
	for (int i = 0; i < sk_X509_OBJECT_num(objects); i++) {
		X509 *x = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i));

		if (x != NULL)
			note_known(audit, x, NULL, 0);
	}
	X509_STORE_unlock(store);
}

static void note_others(struct audit *audit, const struct tls_chain_file *file)
{
	for (int i = 0; i < sk_X509_num(file->others); i++)
		note_known(audit, sk_X509_value(file->others, i), file->path, file->lines[i + 1]);
}

static int by_subject(const void *a, const void *b)
{
	const struct known *x = a, *y = b;

	return (x->subject > y->subject) - (x->subject < y->subject);
}

/* Finds all authorities of the configuration, once. */
static void find_known(struct audit *audit)
{
	if (!is_new(audit, marks, &marks[NOTED]))
		return;
	for (int i = 0; i < audit->count; i++) {
		const struct tls_domain *d = &audit->domains[i];

		if (d->trust != NULL && is_new(audit, d->trust, &marks[NOTED]))
			note_anchors(audit, d->trust);
		for (int n = 0; n < 2; n++)
			if (d->chains[n] != NULL && is_new(audit, d->chains[n], &marks[NOTED]))
				note_others(audit, tls_chain_file(d->chains[n]));
	}
	if (audit->known_count > 0)
		qsort(audit->known, audit->known_count, sizeof(*audit->known), by_subject);
}

/* An issuer of X that is somewhere in the configuration, a root if there is one; NULL: none. */
static const struct known *issuer_elsewhere(struct audit *audit, X509 *x)
{
	unsigned long subject = hash_of(X509_get_issuer_name(x));
	const struct known *found = NULL;
	size_t low = 0, high;

	find_known(audit);
	high = audit->known_count;
	while (low < high) {
		size_t middle = (low + high) / 2;

		if (audit->known[middle].subject < subject)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < audit->known_count && audit->known[low].subject == subject; low++) {
		const struct known *k = &audit->known[low];

		if (X509_check_issued(k->x, x) != X509_V_OK)
			continue;
		if (X509_self_signed(k->x, 0) == 1)
			return k;
		found = found == NULL || found->path == NULL ? k : found;
	}
	return found;
}

/* The issuer of X that TRUST has, a root if there is one, counted for the caller; NULL: none. */
static X509 *issuer_in(const struct tls_trust *trust, X509 *x)
{
	X509_STORE_CTX *ctx = trust != NULL ? X509_STORE_CTX_new_ex(tls_library_context(), NULL) : NULL;
	STACK_OF(X509) *all = NULL;
	X509 *found = NULL;

	if (ctx != NULL && X509_STORE_CTX_init(ctx, tls_trust_anchors(trust), x, NULL) == 1)
		all = X509_STORE_CTX_get1_certs(ctx, X509_get_issuer_name(x));
	for (int i = 0; i < sk_X509_num(all); i++) {
		X509 *one = sk_X509_value(all, i);

		if (X509_check_issued(one, x) == X509_V_OK && (found == NULL || X509_self_signed(one, 0) == 1))
			found = one;
	}
	if (found != NULL && X509_up_ref(found) != 1)
		found = NULL;
	sk_X509_pop_free(all, X509_free);
	X509_STORE_CTX_free(ctx);
	return found;
}

/* ---- one file */

static X509 *certificate_at(const struct use *u, int i)
{
	return i == 0 ? u->file->leaf : sk_X509_value(u->file->others, i - 1);
}

static const char *subject_at(const struct use *u, int i, char out[NAME_SIZE])
{
	return tls_anchors_name(X509_get_subject_name(certificate_at(u, i)), out, NAME_SIZE);
}

static bool signed_by(const struct use *u, int i, int issuer)
{
	return i != issuer && X509_check_issued(certificate_at(u, issuer), certificate_at(u, i)) == X509_V_OK;
}

/* The place of the same certificate before I, -1: there is none. */
static int twin_of(const struct use *u, int i)
{
	for (int n = 0; n < i; n++)
		if (X509_cmp(certificate_at(u, n), certificate_at(u, i)) == 0)
			return n;
	return -1;
}

/* The first of the BEFORE certificates that is related and has been signed by I; -1: none. */
static int signs(const struct use *u, int i, int before)
{
	for (int n = 0; n < before; n++)
		if (u->related[n] && signed_by(u, n, i))
			return n;
	return -1;
}

/* Marks what leads upwards from the first certificate, in whatever order. */
static void find_related(struct use *u)
{
	bool found = true;

	u->related[0] = true;
	while (found) {
		found = false;
		for (int i = 1; i < u->count; i++)
			if (!u->related[i] && signs(u, i, u->count) >= 0)
				u->related[i] = found = true;
	}
}

/* The last certificate, from the first one upwards, whose issuer is not in the file; -1: the root is in it. */
static int top_of(const struct use *u)
{
	int top = -1;

	for (int i = 0; i < u->count; i++) {
		bool has_issuer = false;

		if (!u->related[i])
			continue;
		if (X509_self_signed(certificate_at(u, i), 0) == 1)
			return -1;
		for (int n = 0; n < u->count; n++)
			has_issuer = has_issuer ||
			             (signed_by(u, i, n) && X509_cmp(certificate_at(u, i), certificate_at(u, n)) != 0);
		top = has_issuer ? top : i;
	}
	return top;
}

static void say_twin(struct use *u, int i, int first)
{
	char subject[NAME_SIZE];

	tls_place_say(&u->at, TLS_WARNING, u->file->lines[i],
	              "\"%s\" is in this file twice, first in line %d, and is sent twice; remove one",
	              subject_at(u, i, subject), u->file->lines[first]);
}

static void say_stranger(struct use *u, int i, int more)
{
	char subject[NAME_SIZE], issuer[NAME_SIZE], others[64] = "", remedy[NAME_SIZE + 64] = "";
	int top = top_of(u);

	if (more > 0)
		snprintf(others, sizeof(others), ", and %d more did not either", more);
	if (top >= 0)
		snprintf(remedy, sizeof(remedy),
		         "; the certificate of \"%s\" belongs in its place, unless that is a root",
		         tls_anchors_name(X509_get_issuer_name(certificate_at(u, top)), issuer, sizeof(issuer)));
	tls_place_say(&u->at, TLS_WARNING, u->file->lines[i],
	              "\"%s\" did not sign the certificates of this chain%s: peers cannot use it; remove it%s",
	              subject_at(u, i, subject), others, remedy);
	u->said = true;
}

static void say_order(struct use *u, int i)
{
	char subject[NAME_SIZE];
	int n = signs(u, i, u->count);

	tls_place_say(
		&u->at, TLS_WARNING, u->file->lines[i],
		"\"%s\" comes before the certificate in line %d, which it signed; strict peers refuse that: the "
		"server's own certificate must be first, and each other one after the one that it signed",
		subject_at(u, i, subject), u->file->lines[n]);
}

/* Problems that the file alone shows. The first one of each kind is named. */
static void check_file(struct use *u)
{
	int twin = 0, stranger = 0, strangers = 0, stray = 0;

	for (int i = u->count - 1; i > 0; i--) {
		if (twin_of(u, i) >= 0) {
			twin = i;
		} else if (!u->related[i]) {
			stranger = i;
			strangers++;
		} else if (signs(u, i, i) < 0) {
			stray = i;
		}
	}
	if (twin > 0)
		say_twin(u, twin, twin_of(u, twin));
	if (stranger > 0)
		say_stranger(u, stranger, strangers - 1);
	else if (stray > 0)
		say_order(u, stray);
}

/* ---- what is missing */

/* The first address at which the issuer of X publishes its certificate. The caller frees it; NULL: none. */
static char *published_at(const X509 *x)
{
	AUTHORITY_INFO_ACCESS *access = X509_get_ext_d2i(x, NID_info_access, NULL, NULL);
	char *url = NULL;

	for (int i = 0; url == NULL && i < sk_ACCESS_DESCRIPTION_num(access); i++) {
		const ACCESS_DESCRIPTION *one = sk_ACCESS_DESCRIPTION_value(access, i);
		const ASN1_STRING *uri = one->location->d.uniformResourceIdentifier;

		if (OBJ_obj2nid(one->method) != NID_ad_ca_issuers || one->location->type != GEN_URI)
			continue;
		if (asprintf(&url, "%.*s", ASN1_STRING_length(uri), (const char *)ASN1_STRING_get0_data(uri)) < 0)
			url = NULL;
	}
	AUTHORITY_INFO_ACCESS_free(access);
	return url;
}

/* The next certificate of BIO, in the shared library context; NULL: none, or no memory. */
static X509 *next_beside(BIO *bio)
{
	X509 *x = X509_new_ex(tls_library_context(), NULL);

	if (x == NULL || PEM_read_bio_X509_AUX(bio, &x, NULL, NULL) != NULL)
		return x;
	X509_free(x);
	return NULL;
}

/* Whether PATH is a file that begins with X and has more certificates. */
static bool is_whole_chain(const char *path, const X509 *x)
{
	char why[128];
	struct tls_file f;
	BIO *bio = tls_files_read(path, BESIDE_MAX, &f, why, sizeof(why)) == 0
	               ? BIO_new_mem_buf(f.data, (int)f.size)
	               : NULL;
	X509 *first = bio != NULL ? next_beside(bio) : NULL;
	X509 *second = first != NULL ? next_beside(bio) : NULL;
	bool whole = second != NULL && X509_cmp(first, x) == 0 && X509_cmp(second, x) != 0;

	X509_free(first);
	X509_free(second);
	BIO_free(bio);
	tls_files_free(&f);
	return whole;
}

/*
 * The file beside that of U with the whole chain, as ACME clients name it: fullchain.pem beside cert.pem,
 * fullchain3.pem beside cert3.pem. The caller frees it; NULL: none.
 */
static char *whole_chain_beside(const struct use *u)
{
	const char *slash = strrchr(u->file->path, '/'), *base = slash != NULL ? slash + 1 : u->file->path;
	const char *ends[] = {strncmp(base, "cert", 4) == 0 ? base + 4 : ".pem", ".pem", ".cer"};

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		char *path;

		if (asprintf(&path, "%.*sfullchain%s", (int)(base - u->file->path), u->file->path, ends[i]) < 0)
			return NULL;
		if (is_whole_chain(path, u->file->leaf))
			return path;
		free(path);
	}
	return NULL;
}

/* Says that the intermediate certificate above TOP is missing, which is in WHOLE, or at WHERE. */
static void say_missing(struct use *u, int top, const char *whole, const struct known *where)
{
	char issuer[NAME_SIZE], *remedy = NULL;
	int n;

	if (whole != NULL)
		n = asprintf(&remedy, "use %s instead, which has it", whole);
	else if (where->path != NULL)
		n = asprintf(&remedy, "append it from %s:%d", where->path, where->line);
	else
		n = asprintf(&remedy, "append it from the trusted certificates");
	tls_place_say(
		&u->at, TLS_WARNING, u->file->lines[top],
		"the intermediate certificate of its issuer, \"%s\", is missing after it, and peers that do not have "
		"that refuse this one; %s",
		tls_anchors_name(X509_get_issuer_name(certificate_at(u, top)), issuer, sizeof(issuer)),
		n >= 0 ? remedy : "append it");
	u->said = true;
	if (n >= 0)
		free(remedy);
}

/*
 * The same when only its address, URL, is known. Authorities publish that of a root, too, and then nothing is
 * missing.
 */
static void say_unknown(struct use *u, int top, const char *url)
{
	char issuer[NAME_SIZE];

	tls_place_say(
		&u->at, TLS_WARNING, u->file->lines[top],
		"the certificate of its issuer, \"%s\", does not follow it: unless that is a root that peers trust, they "
		"refuse this one; use the file with the whole chain (certbot's fullchain.pem), or append the one at %s",
		tls_anchors_name(X509_get_issuer_name(certificate_at(u, top)), issuer, sizeof(issuer)), url);
	u->said = true;
}

/* A certificate that is alone in its file is sent with what is trusted. Returns whether the issuer of X is. */
static bool is_completed(const struct use *u, X509 *x)
{
	X509 *issuer = issuer_in(u->trust, x);
	bool found = issuer != NULL && (u->count == 1 || X509_self_signed(issuer, 0) == 1);

	X509_free(issuer);
	return found;
}

/* Only the first certificate: for that of an authority, peers may have a root of the same name. */
static void check_complete(struct use *u)
{
	int top = top_of(u);
	X509 *x = top >= 0 ? certificate_at(u, top) : NULL;
	const struct known *issuer;
	char *url, *whole;

	if (x == NULL || x != u->file->leaf || is_completed(u, x))
		return;
	issuer = issuer_elsewhere(u->audit, x);
	if (issuer != NULL && X509_self_signed(issuer->x, 0) == 1)
		return;
	url = published_at(x);
	whole = issuer != NULL || url != NULL ? whole_chain_beside(u) : NULL;
	if (issuer != NULL || whole != NULL)
		say_missing(u, top, whole, issuer);
	else if (url != NULL)
		say_unknown(u, top, url);
	free(whole);
	free(url);
}

/* ---- all files */

/* Checks each chain once with each trust store that completes it, its file once, and reports one gap at most. */
static void check_chain(struct audit *audit, const struct tls_chain *chain, const struct tls_trust *trust,
                        const struct tls_origin *from)
{
	struct use u = {.audit = audit, .file = tls_chain_file(chain), .trust = trust};

	if (!is_new(audit, chain, trust != NULL ? (const void *)trust : &marks[NO_TRUST]))
		return;
	u.at = (struct tls_place){.path = u.file->path, .from = from, .report = audit->report};
	u.count = 1 + sk_X509_num(u.file->others);
	u.said = u.file->skipped;
	u.related = calloc((size_t)u.count, sizeof(*u.related));
	if (u.related == NULL)
		return;
	find_related(&u);
	if (is_new(audit, chain, &marks[CHECKED]))
		check_file(&u);
	if (!u.said && place_of(audit, chain, &marks[EXPLAINED])->a == NULL)
		check_complete(&u);
	if (u.said)
		is_new(audit, chain, &marks[EXPLAINED]);
	free(u.related);
}

static void check_domain(struct audit *audit, const struct tls_domain *d, const struct tls_section *s)
{
	static const char *const settings[] = {"certificate", "certificate2"};
	const struct tls_origin from[] = {tls_section_origin(s, "ca_list"), tls_section_origin(s, "ca_path"),
	                                  tls_section_origin(s, "crl")};

	for (int n = 0; n < 2; n++) {
		const struct tls_origin at = tls_section_origin(s, settings[n]);

		if (d->chains[n] != NULL)
			check_chain(audit, d->chains[n], d->trust, &at);
	}
	if (d->trust != NULL && d->verify && !d->accept_any && is_new(audit, d->trust, &marks[TOLD]))
		tls_trust_say(d->trust, s->settings.crl, from, audit->report);
}

void tls_chains_check(const struct tls_domain *domains, int count, const struct tls_config *cfg,
                      struct tls_report *r)
{
	struct audit audit = {.domains = domains, .count = count, .report = r, .seen_size = 64};
	const struct tls_section *s = cfg->sections;

	while (audit.seen_size < 32 * (size_t)count)
		audit.seen_size *= 2;
	audit.seen = calloc(audit.seen_size, sizeof(*audit.seen));
	for (int i = 0; audit.seen != NULL && i < count && s != NULL; i++, s = s->next)
		check_domain(&audit, &domains[i], s);
	free(audit.seen);
	free(audit.known);
	ERR_clear_error();
}
