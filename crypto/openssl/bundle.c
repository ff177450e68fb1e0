/*
 * crypto/openssl/bundle.c - the certificates and revocation lists of a PEM file, one after the other
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * Problems of an entry are reported with the line of its BEGIN. Certificates may have OpenSSL's trust attributes
 * (BEGIN TRUSTED CERTIFICATE) in every file.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* asprintf() */
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/openssl/bundle.h"
#include "tls_mem.h"
#include "settings/report.h"
#include "material/pem.h"
#include "crypto/openssl/types.h"
#include "crypto/openssl/library.h"
#include "material/place.h"
#include "material/cache.h"

static const char *const certificate_labels[] = {PEM_STRING_X509, PEM_STRING_X509_TRUSTED,
                                                 PEM_STRING_X509_OLD, NULL};
static const char *const crl_labels[] = {PEM_STRING_X509_CRL, NULL};

void tls_bundle_refused(const struct tls_place *at, int line, const char *what)
{
	bool no_memory = tls_cache_memory_short() ||
	                 ERR_GET_REASON(ERR_peek_last_error()) == ERR_R_MALLOC_FAILURE;
	char reason[256];

	tls_crypto_errors(reason, sizeof(reason));
	if (no_memory)
		tls_place_say(at, TLS_ERROR, 0,
		              "no shared memory to load it, %zu KB are left; give Kamailio more with -m",
		              tls_mem_available() / 1024);
	else
		tls_place_say(at, TLS_ERROR, line, "%s: %s", what, reason);
}

/* ---- entries */

void tls_bundle_open(struct tls_bundle *b, const char *data, size_t size, const struct tls_place *at)
{
	*b = (struct tls_bundle){.at = *at, .data = data, .size = size};
	tls_pem_open(&b->pem, data, size);
}

static bool is_wanted(const struct tls_pem_entry *e, const char *const *labels)
{
	while (*labels != NULL && !tls_pem_is(e, *labels))
		labels++;
	return *labels != NULL;
}

/* Says what is wrong with the lines around E, if anything. Returns whether it can be read all the same. */
static bool is_readable(struct tls_bundle *b, const struct tls_pem_entry *e)
{
	switch (e->state) {
	case TLS_PEM_NO_END:
		tls_place_say(
			&b->at, TLS_WARNING, e->line,
			"this entry has no END line before the next one begins in line %d; other programs lose that one",
			e->end_line);
		return true;
	case TLS_PEM_END_INDENTED:
		tls_place_say(
			&b->at, TLS_WARNING, e->end_line,
			"the END line is indented, and other programs lose the next entry; remove the spaces before it");
		return true;
	case TLS_PEM_ENDS_BADLY:
		tls_place_say(&b->at, TLS_ERROR, e->end_line,
		              "the END line does not match the BEGIN line, which is line %d", e->line);
		return false;
	case TLS_PEM_GLUED:
		tls_place_say(
			&b->at, TLS_ERROR, e->end_line,
			"END and BEGIN are on one line, as when files without a final line break are joined; put a line "
			"break between them");
		return false;
	case TLS_PEM_CUT:
		tls_place_say(&b->at, TLS_ERROR, e->line, "entry %d has no END line; is the file cut short?",
		              e->number);
		return false;
	default: return true;
	}
}

/* The next entry with one of LABELS. Returns false at the end, or when one cannot be read (FAILED). */
static bool next_entry(struct tls_bundle *b, const char *const *labels, struct tls_pem_entry *e)
{
	while (!b->failed && tls_pem_next(&b->pem, e)) {
		bool wanted = is_wanted(e, labels);

		if (e->state == TLS_PEM_NO_BEGIN && b->skipped == 0)
			b->skipped = e->line;
		if (e->state != TLS_PEM_NO_BEGIN && b->other.label == NULL && !wanted)
			b->other = *e;
		if (wanted || e->state == TLS_PEM_GLUED)
			b->failed = !is_readable(b, e);
		if (wanted)
			break;
	}
	b->line = e->line;
	return !b->failed && e->state != TLS_PEM_NO_BEGIN && is_wanted(e, labels);
}

/* The text of E with a correct END line. The caller frees it; NULL without memory. */
static char *with_end(const struct tls_pem_entry *e)
{
	char *text;

	if (asprintf(&text, "%.*s-----END %.*s-----\n", (int)e->size, e->text, (int)e->label_size, e->label) < 0)
		return NULL;
	return text;
}

/* The object that READ makes of E, or NULL with FAILED set (reported). */
static void *parse(struct tls_bundle *b, const struct tls_pem_entry *e, void *(*read)(BIO *bio),
                   const char *name)
{
	char *whole = e->state != TLS_PEM_GOOD ? with_end(e) : NULL;
	const char *text = whole != NULL ? whole : e->text;
	BIO *bio = BIO_new_mem_buf(text, whole != NULL ? (int)strlen(whole) : (int)e->size);
	void *object = bio != NULL && !tls_cache_memory_short() ? read(bio) : NULL;
	char what[64];

	BIO_free(bio);
	free(whole);
	if (object != NULL) {
		b->count++;
		return object;
	}
	snprintf(what, sizeof(what), "entry %d is not a valid %s", e->number, name);
	tls_bundle_refused(&b->at, e->line, what);
	b->failed = true;
	return NULL;
}

/*
 * OpenSSL reads extensions on first use. Better now than in one of the worker processes, where a lack of memory would
 * spoil them for all.
 */
static void read_extensions(X509 *x)
{
	ERR_set_mark();
	X509_check_purpose(x, -1, 0);
	ERR_pop_to_mark();
}

static void *read_certificate(BIO *bio)
{
	X509 *x = X509_new_ex(tls_library_context(), NULL);

	if (x != NULL && PEM_read_bio_X509_AUX(bio, &x, NULL, NULL) == NULL) {
		X509_free(x);
		return NULL;
	}
	if (x != NULL)
		read_extensions(x);
	return x;
}

static void *read_crl(BIO *bio)
{
	X509_CRL *crl = X509_CRL_new_ex(tls_library_context(), NULL);

	if (crl != NULL && PEM_read_bio_X509_CRL(bio, &crl, NULL, NULL) == NULL) {
		X509_CRL_free(crl);
		return NULL;
	}
	return crl;
}

X509 *tls_bundle_certificate(struct tls_bundle *b)
{
	struct tls_pem_entry e = {0};

	return next_entry(b, certificate_labels, &e) ? parse(b, &e, read_certificate, "certificate") : NULL;
}

X509_CRL *tls_bundle_crl(struct tls_bundle *b)
{
	struct tls_pem_entry e = {0};

	return next_entry(b, crl_labels, &e) ? parse(b, &e, read_crl, "CRL") : NULL;
}

static void say_skipped(const struct tls_bundle *b, enum tls_severity severity)
{
	tls_place_say(
		&b->at, severity, b->skipped,
		"this line is skipped, and so is the entry that it begins: a BEGIN line has five hyphens at each end, "
		"and nothing before or after them, not even spaces");
}

/* Says why there is no NAME in B. */
static void say_none(const struct tls_bundle *b, const char *name)
{
	const char *other = tls_pem_other_form(b->data, b->size);

	if (b->skipped > 0)
		say_skipped(b, TLS_ERROR);
	else if (other != NULL)
		tls_place_say(&b->at, TLS_ERROR, 0, "contains no %s in PEM form: %s", name, other);
	else if (b->other.label != NULL)
		tls_place_say(&b->at, TLS_ERROR, b->other.line, "contains no %s in PEM form, but another entry: %.*s",
		              name, (int)b->other.label_size, b->other.label);
	else
		tls_place_say(&b->at, TLS_ERROR, 0, "contains no %s in PEM form", name);
}

int tls_bundle_end(const struct tls_bundle *b, const char *name)
{
	if (b->failed)
		return -1;
	if (b->count == 0) {
		say_none(b, name);
		return -1;
	}
	if (b->skipped > 0)
		say_skipped(b, TLS_WARNING);
	return 0;
}
