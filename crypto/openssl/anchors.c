/*
 * crypto/openssl/anchors.c - whether the certificates of a trust store can anchor a chain
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * A chain ends at a root: a certificate that is self-signed, or that is trusted because of its attributes. An
 * intermediate or a leaf without its root loads like any other, but no peer can be verified by it. Everything here is
 * private memory, used while a trust store is being loaded.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/openssl/anchors.h"
#include "settings/report.h"
#include "tls_config.h"
#include "crypto/openssl/compat.h"
#include "crypto/openssl/library.h"
#include "material/place.h"

#define SAID_MAX  5 /* warnings about one set */
#define NAME_SIZE 256

struct anchor {
	X509 *x; /* counted */
	char *path;
	int line, setting;
	unsigned long subject, issuer; /* hashes of the names */
	bool root, good;               /* trusted itself; leads to a root */
};

struct tls_anchors {
	struct anchor *list;
	size_t count, room;
	int said;
};

struct tls_anchors *tls_anchors_new(void)
{
	return calloc(1, sizeof(struct tls_anchors));
}

void tls_anchors_free(struct tls_anchors *a)
{
	for (size_t i = 0; a != NULL && i < a->count; i++) {
		X509_free(a->list[i].x);
		free(a->list[i].path);
	}
	if (a != NULL)
		free(a->list);
	free(a);
}

/* Makes space for one more. Returns 0, -1 without memory. */
static int grow(struct tls_anchors *a)
{
	size_t room = a->room > 0 ? 2 * a->room : 16;
	struct anchor *list;

	if (a->count < a->room)
		return 0;
	list = realloc(a->list, room * sizeof(*list));
	if (list == NULL)
		return -1;
	a->list = list;
	a->room = room;
	return 0;
}

int tls_anchors_add(struct tls_anchors *a, X509 *x, const struct tls_place *at, int line)
{
	char *path = grow(a) == 0 ? strdup(at->path) : NULL;

	if (path == NULL || X509_up_ref(x) != 1) {
		free(path);
		return -1;
	}
	a->list[a->count++] = (struct anchor){.x = x, .path = path, .line = line, .setting = at->from->line};
	return 0;
}

const char *tls_anchors_name(const X509_NAME *name, char *out, size_t size)
{
	if (X509_NAME_oneline(name, out, (int)size) == NULL)
		snprintf(out, size, "unreadable");
	return out;
}

/* ---- judging */

/* Whether OpenSSL accepts X as the end of a chain, for clients or for servers. */
static bool is_root(X509 *x)
{
	return X509_check_trust(x, X509_TRUST_SSL_CLIENT, 0) == X509_TRUST_TRUSTED ||
	       X509_check_trust(x, X509_TRUST_SSL_SERVER, 0) == X509_TRUST_TRUSTED;
}

/* Whether its attributes forbid X for clients and for servers. */
static bool is_rejected(X509 *x)
{
	return (X509_self_signed(x, 0) == 1 && !is_root(x)) ||
	       (X509_check_trust(x, X509_TRUST_SSL_CLIENT, 0) == X509_TRUST_REJECTED &&
	        X509_check_trust(x, X509_TRUST_SSL_SERVER, 0) == X509_TRUST_REJECTED);
}

static bool signed_by(const struct anchor *a, const struct anchor *issuer)
{
	return a->issuer == issuer->subject && X509_check_issued(issuer->x, a->x) == X509_V_OK;
}

/*
 * Whether A, which leads to no root, is the same authority as GOOD, signed by another issuer: then it does no harm.
 */
static bool same_authority(const struct anchor *a, const struct anchor *good)
{
	return a->subject == good->subject &&
	       X509_NAME_cmp(X509_get_subject_name(a->x), X509_get_subject_name(good->x)) == 0 &&
	       EVP_PKEY_eq(X509_get0_pubkey(a->x), X509_get0_pubkey(good->x)) == 1;
}

static bool any_good(const struct tls_anchors *s, const struct anchor *a,
                     bool (*is_it)(const struct anchor *a, const struct anchor *good))
{
	for (size_t i = 0; i < s->count; i++)
		if (s->list[i].good && is_it(a, &s->list[i]))
			return true;
	return false;
}

/* Goes one step further from the roots. Returns whether it found any. */
static bool spread(struct tls_anchors *s)
{
	bool found = false;

	for (size_t i = 0; i < s->count; i++) {
		struct anchor *a = &s->list[i];

		if (a->good || is_rejected(a->x) || !any_good(s, a, signed_by))
			continue;
		a->good = found = true;
	}
	return found;
}

static unsigned long hash_of(const X509_NAME *name)
{
	return X509_NAME_hash_ex(name, tls_library_context(), NULL, NULL);
}

/* Marks the good ones of S. Returns whether all are. */
static bool find_good(struct tls_anchors *s)
{
	size_t roots = 0;

	for (size_t i = 0; i < s->count; i++) {
		s->list[i].root = s->list[i].good = is_root(s->list[i].x);
		roots += s->list[i].root ? 1 : 0;
	}
	if (roots == s->count)
		return true;
	for (size_t i = 0; i < s->count; i++) {
		s->list[i].subject = hash_of(X509_get_subject_name(s->list[i].x));
		s->list[i].issuer = hash_of(X509_get_issuer_name(s->list[i].x));
	}
	while (spread(s))
		continue;
	return false;
}

/* ---- saying */

static void say(struct tls_anchors *s, const struct anchor *a, struct tls_report *r, const char *what)
{
	const struct tls_origin from = {.line = a->setting};
	const struct tls_place at = {.path = a->path, .from = &from, .report = r};
	char subject[NAME_SIZE];

	if (s->said++ < SAID_MAX)
		tls_place_say(&at, TLS_WARNING, a->line, "\"%s\" %s",
		              tls_anchors_name(X509_get_subject_name(a->x), subject, sizeof(subject)), what);
}

static void say_useless(struct tls_anchors *s, const struct anchor *a, struct tls_report *r)
{
	char issuer[NAME_SIZE], what[2 * NAME_SIZE];

	tls_anchors_name(X509_get_issuer_name(a->x), issuer, sizeof(issuer));
	if (is_rejected(a->x))
		snprintf(
			what, sizeof(what),
			"has trust attributes that allow neither clients nor servers: no peer can be verified by it");
	else
		snprintf(
			what, sizeof(what),
			"is %s, and no root above it is in ca_list or ca_path: no peer can be verified by it; add the root "
			"(its issuer is \"%s\")",
			X509_check_ca(a->x) > 0 ? "an intermediate certificate" : "not a CA certificate", issuer);
	say(s, a, r, what);
}

static bool is_of_today(const X509 *x)
{
	return X509_cmp_current_time(X509_get0_notBefore(x)) < 0 &&
	       X509_cmp_current_time(X509_get0_notAfter(x)) > 0;
}

/* If one root is valid, nothing is said about the others: bundles keep old ones for a long time. */
static void check_dates(struct tls_anchors *s, struct tls_report *r)
{
	const struct anchor *first = NULL;

	for (size_t i = 0; i < s->count; i++) {
		if (!s->list[i].root)
			continue;
		if (is_of_today(s->list[i].x))
			return;
		first = first != NULL ? first : &s->list[i];
	}
	if (first != NULL)
		say(s, first, r,
		    "has expired or is not valid yet, and there is no other root: every peer is refused; add the authority's "
		    "current root");
}

void tls_anchors_judge(struct tls_anchors *s, struct tls_report *r)
{
	const struct anchor *last = NULL;

	if (!find_good(s))
		for (size_t i = 0; i < s->count; i++) {
			if (s->list[i].good || any_good(s, &s->list[i], same_authority))
				continue;
			last = &s->list[i];
			say_useless(s, last, r);
		}
	if (s->said > SAID_MAX) {
		const struct tls_origin from = {.line = last->setting};

		tls_report_add(r, TLS_WARNING, NULL, from.line, NULL, "%s: %d more certificates have such a problem",
		               last->path, s->said - SAID_MAX);
	}
	check_dates(s, r);
	ERR_clear_error();
}
