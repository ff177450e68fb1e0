/*
 * crypto/openssl/crl.c - revocation lists: which of them OpenSSL will use, and which authorities lack a usable one
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * Of several lists with one name OpenSSL takes the best by its own rules: scope, time, key, then age. An expired list
 * does no harm beside a current one, but a newer list of another key may. These rules are not repeated here: OpenSSL
 * verifies a certificate that each trusted authority might have issued, and its complaints about the lists are
 * reported.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "crypto/openssl/crl.h"
#include "host/clock.h"
#include "tls_mem.h"
#include "settings/report.h"
#include "crypto/openssl/compat.h"
#include "crypto/openssl/library.h"
#include "material/place.h"
#include "crypto/openssl/lifetime.h"

struct tls_crls {
	struct tls_crls *next;
	X509_CRL *crl;
	int line;
	bool told; /* in this check */
	/* In the first list only: a check between these two times, in seconds since 1970, finds nothing. */
	int64_t quiet_from, quiet_before;
	char path[];
};

int tls_crls_add(struct tls_crls **all, X509_CRL *crl, const char *path, int line)
{
	struct tls_crls *one = tls_mem_shared_alloc(sizeof(*one) + strlen(path) + 1);

	if (one == NULL)
		return -1;
	X509_CRL_up_ref(crl);
	one->crl = crl;
	one->line = line;
	strcpy(one->path, path);
	one->next = *all;
	*all = one;
	return 0;
}

bool tls_crls_is_delta(const X509_CRL *crl)
{
	return X509_CRL_get_ext_by_NID(crl, NID_delta_crl, -1) >= 0;
}

void tls_crls_free(struct tls_crls *all)
{
	struct tls_crls *next;

	for (; all != NULL; all = next) {
		next = all->next;
		X509_CRL_free(all->crl);
		tls_mem_shared_free(all);
	}
}

/* ---- what OpenSSL finds */

/*
 * The first problem of the lists that makes OpenSSL refuse certificates of one authority; ERROR is X509_V_OK if none.
 */
struct finding {
	int error;
	const X509_CRL *crl; /* NULL: there is no usable one */
	bool self_signed;
	bool undecided; /* only the certificate itself could tell whether the list covers it */
	bool no_chain;  /* OpenSSL accepts nothing from this authority, whatever the lists say */
};

static bool is_about_lists(int error)
{
	switch (error) {
	case X509_V_ERR_UNABLE_TO_GET_CRL:
	case X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER:
	case X509_V_ERR_UNABLE_TO_DECRYPT_CRL_SIGNATURE:
	case X509_V_ERR_CRL_SIGNATURE_FAILURE:
	case X509_V_ERR_CRL_NOT_YET_VALID:
	case X509_V_ERR_CRL_HAS_EXPIRED:
	case X509_V_ERR_ERROR_IN_CRL_LAST_UPDATE_FIELD:
	case X509_V_ERR_ERROR_IN_CRL_NEXT_UPDATE_FIELD:
	case X509_V_ERR_KEYUSAGE_NO_CRL_SIGN:
	case X509_V_ERR_UNHANDLED_CRITICAL_CRL_EXTENSION:
	case X509_V_ERR_DIFFERENT_CRL_SCOPE:
	case X509_V_ERR_CRL_PATH_VALIDATION_ERROR: return true;
	default: return false;
	}
}

/* Whether CRL covers only certificates that name its distribution point; the one made here names none. */
static bool is_for_its_point(const X509_CRL *crl)
{
	ISSUING_DIST_POINT *idp = crl != NULL
	                              ? X509_CRL_get_ext_d2i(crl, NID_issuing_distribution_point, NULL, NULL)
	                              : NULL;
	bool result = idp != NULL && idp->distpoint != NULL;

	ISSUING_DIST_POINT_free(idp);
	return result;
}

/* OpenSSL's callback. Depth 0 is the made certificate, 1 the authority, to which its own list applies, too. */
static int note(int ok, X509_STORE_CTX *store)
{
	struct finding *f = X509_STORE_CTX_get_app_data(store);
	int error = X509_STORE_CTX_get_error(store), depth = X509_STORE_CTX_get_error_depth(store);
	const X509_CRL *crl = X509_STORE_CTX_get0_current_crl(store);

	if (ok == 1 || f->error != X509_V_OK)
		return 1;
	if (error == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
	    error == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT)
		f->no_chain |= depth == 0;
	if (!is_about_lists(error) || depth > (f->self_signed ? 1 : 0))
		return 1;
	if (depth == 0 && error == X509_V_ERR_DIFFERENT_CRL_SCOPE && is_for_its_point(crl))
		f->undecided = true;
	if (depth == 0 && f->undecided) /* OpenSSL goes on to say that there is no other list */
		return 1;
	f->error = error;
	f->crl = crl;
	return 1;
}

/*
 * A certificate that AUTHORITY might have issued. Its signature is wrong, which does not matter. NULL without memory.
 */
static X509 *issued_by(X509 *authority)
{
	X509 *x = X509_dup(authority);
	X509_NAME *name = X509_NAME_new();
	int ok = x != NULL && name != NULL && X509_set_issuer_name(x, X509_get_subject_name(authority)) == 1 &&
	         X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"a peer", -1, -1,
	                                    0) == 1 &&
	         X509_set_subject_name(x, name) == 1;

	while (ok && X509_get_ext_count(x) > 0)
		X509_EXTENSION_free(X509_delete_ext(x, 0));
	X509_NAME_free(name);
	if (ok)
		return x;
	X509_free(x);
	return NULL;
}

static void verify(X509_STORE *lists, X509 *peer, STACK_OF(X509) *trusted, struct finding *f)
{
	X509_STORE_CTX *store = X509_STORE_CTX_new_ex(tls_library_context(), NULL);

	if (store != NULL && X509_STORE_CTX_init(store, lists, peer, NULL) == 1) {
		X509_STORE_CTX_set0_trusted_stack(store, trusted);
		X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(store), X509_V_FLAG_PARTIAL_CHAIN);
		X509_STORE_CTX_set_verify_cb(store, note);
		if (X509_STORE_CTX_set_app_data(store, f) == 1)
			X509_verify_cert(store);
	}
	X509_STORE_CTX_free(store);
}

/* Why all certificates of AUTHORITY are refused because of the lists in LISTS. Without memory nothing is found. */
static struct finding examine(X509_STORE *lists, X509 *authority)
{
	struct finding f = {.error = X509_V_OK, .self_signed = X509_self_signed(authority, 0) == 1};
	X509 *peer = issued_by(authority);
	STACK_OF(X509) *trusted = sk_X509_new_null();

	if (peer != NULL && trusted != NULL && sk_X509_push(trusted, authority) > 0)
		verify(lists, peer, trusted, &f);
	sk_X509_free(trusted);
	X509_free(peer);
	ERR_clear_error();
	if (f.no_chain)
		f.error = X509_V_OK;
	return f;
}

/* ---- messages */

static bool is_current(const X509_CRL *crl)
{
	const ASN1_TIME *end = X509_CRL_get0_nextUpdate(crl);

	return X509_cmp_current_time(X509_CRL_get0_lastUpdate(crl)) < 0 &&
	       (end == NULL || X509_cmp_current_time(end) > 0);
}

/* Why OpenSSL ignores a list of the right name; NULL: it does not. */
static const char *unused_because(const X509_CRL *crl)
{
	ISSUING_DIST_POINT *idp = X509_CRL_get_ext_d2i(crl, NID_issuing_distribution_point, NULL, NULL);
	const char *why = NULL;

	if (tls_crls_is_delta(crl))
		why = "it is a delta list, and those are not used; load the full one";
	else if (idp != NULL && idp->indirectCRL > 0)
		why = "it is an indirect list, and those are not used; load the authority's own";
	else if (idp != NULL && idp->onlysomereasons != NULL)
		why = "it covers only some reasons for revocation, and such lists are not used; load the full one";
	ISSUING_DIST_POINT_free(idp);
	return why;
}

static const char *reason(int error, const X509_CRL *crl)
{
	const char *why = crl != NULL ? unused_because(crl) : NULL;

	switch (error) {
	case X509_V_ERR_CRL_HAS_EXPIRED: return "it has expired; load the current one";
	case X509_V_ERR_CRL_NOT_YET_VALID: return "it is not valid yet; is the clock right?";
	case X509_V_ERR_CRL_SIGNATURE_FAILURE:
	case X509_V_ERR_UNABLE_TO_DECRYPT_CRL_SIGNATURE:
		return "it is not signed by the key that ca_list or ca_path has for that name; load the right list or the "
			   "right certificate";
	case X509_V_ERR_UNABLE_TO_GET_CRL:
	case X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER:
		return why != NULL
		           ? why
		           : "it is for another key of that name than ca_list or ca_path has; load the right list "
		             "or the right certificate";
	case X509_V_ERR_KEYUSAGE_NO_CRL_SIGN:
		return "the authority's certificate does not allow it to sign lists (key usage cRLSign)";
	case X509_V_ERR_DIFFERENT_CRL_SCOPE:
		return "it covers only some of the certificates (issuing distribution point); load the full one";
	case X509_V_ERR_UNHANDLED_CRITICAL_CRL_EXTENSION:
		return "it has a critical extension that OpenSSL does not know";
	default: return X509_verify_cert_error_string(error);
	}
}

static const char *name_of(const X509_NAME *name, char *out, int size)
{
	if (X509_NAME_oneline(name, out, size) == NULL)
		snprintf(out, (size_t)size, "an unreadable name");
	return out;
}

/* Reports each list once, though several authorities may have its name. */
static void say(struct tls_crls *list, int error, const struct tls_place *at)
{
	struct tls_place place = {.path = list->path, .from = at->from, .report = at->report};
	char name[256];

	if (list->told)
		return;
	list->told = true;
	tls_place_say(&place, TLS_WARNING, list->line,
	              "every certificate of %s is refused because of its revocation list: %s",
	              name_of(X509_CRL_get_issuer(list->crl), name, sizeof(name)), reason(error, list->crl));
}

/* There is another list, so nobody is refused. But a certificate that only this list names is accepted. */
static void say_unused(const struct tls_crls *list, const struct tls_place *at)
{
	struct tls_place place = {.path = list->path, .from = at->from, .report = at->report};
	const char *why = unused_because(list->crl);
	char name[256];

	if (why != NULL && !list->told)
		tls_place_say(&place, TLS_WARNING, list->line, "the revocation list of %s has no effect: %s",
		              name_of(X509_CRL_get_issuer(list->crl), name, sizeof(name)), why);
}

/* The list that is CRL, or, when that is NULL, the first that has NAME. */
static struct tls_crls *find_list(struct tls_crls *all, const X509_CRL *crl, const X509_NAME *name)
{
	while (all != NULL &&
	       (crl != NULL ? all->crl != crl : X509_NAME_cmp(X509_CRL_get_issuer(all->crl), name) != 0))
		all = all->next;
	return all;
}

/* Authorities without any list. */
struct missing {
	const X509_NAME *first;
	int count;
};

static void say_missing(const struct missing *m, const struct tls_place *at)
{
	char name[256], more[48] = "";

	if (m->count == 0)
		return;
	if (m->count > 1)
		snprintf(more, sizeof(more), " and %d other trusted authorities", m->count - 1);
	tls_place_say(
		at, TLS_WARNING, 0,
		"there is no revocation list of %s%s: every certificate of such an authority is refused; add its list, "
		"or remove the authority from ca_list or ca_path",
		name_of(m->first, name, sizeof(name)), more);
}

static bool is_valid_now(const X509 *x)
{
	return X509_cmp_current_time(X509_get0_notBefore(x)) < 0 &&
	       X509_cmp_current_time(X509_get0_notAfter(x)) > 0;
}

/* Authorities that are no anchors, or are expired, are reported elsewhere. */
static void check_authority(struct tls_crls *all, X509_STORE *store, X509 *x, struct missing *m,
                            const struct tls_place *at)
{
	struct tls_crls *list;
	struct finding f;

	if (X509_check_ca(x) == 0 || !is_valid_now(x))
		return;
	f = examine(store, x);
	if (f.error == X509_V_OK)
		return;
	list = find_list(all, f.crl, X509_get_subject_name(x));
	if (list != NULL)
		say(list, f.error, at);
	else if (m->count++ == 0)
		m->first = X509_get_subject_name(x);
}

static bool is_trusted(const STACK_OF(X509) *authorities, const X509_NAME *name)
{
	for (int i = 0; i < sk_X509_num(authorities); i++)
		if (X509_NAME_cmp(X509_get_subject_name(sk_X509_value(authorities, i)), name) == 0)
			return true;
	return false;
}

/* Whether one of the lists of NAME could be good. */
static bool has_good(const struct tls_crls *all, const X509_NAME *name)
{
	for (; all != NULL; all = all->next)
		if (X509_NAME_cmp(X509_CRL_get_issuer(all->crl), name) == 0 && is_current(all->crl) &&
		    unused_because(all->crl) == NULL)
			return true;
	return false;
}

/*
 * LIST is that of an intermediate authority, whose certificate peers send: only its time and kind can be checked.
 */
static void check_stranger(struct tls_crls *all, struct tls_crls *list, const STACK_OF(X509) *authorities,
                           const struct tls_place *at)
{
	const X509_NAME *name = X509_CRL_get_issuer(list->crl);
	int error = X509_V_ERR_UNABLE_TO_GET_CRL;

	if (find_list(all, NULL, name) != list || is_trusted(authorities, name) || has_good(all, name))
		return;
	if (unused_because(list->crl) == NULL)
		error = X509_cmp_current_time(X509_CRL_get0_lastUpdate(list->crl)) < 0 ? X509_V_ERR_CRL_HAS_EXPIRED
		                                                                       : X509_V_ERR_CRL_NOT_YET_VALID;
	say(list, error, at);
}

static void check_all(struct tls_crls *all, X509_STORE *store, const STACK_OF(X509) *authorities,
                      const struct tls_place *at)
{
	struct missing m = {0};

	for (struct tls_crls *list = all; list != NULL; list = list->next)
		list->told = false;
	for (int i = 0; i < sk_X509_num(authorities); i++)
		check_authority(all, store, sk_X509_value(authorities, i), &m, at);
	say_missing(&m, at);
	for (struct tls_crls *list = all; list != NULL && authorities != NULL; list = list->next)
		check_stranger(all, list, authorities, at);
	for (struct tls_crls *list = all; list != NULL; list = list->next)
		say_unused(list, at);
}

/* ---- a check verifies signatures, so it is repeated only when something may have changed */

static void bring_forward(int64_t *first, int64_t now, const ASN1_TIME *t)
{
	int64_t when = tls_lifetime_seconds(t);

	if (when > now && when < *first)
		*first = when;
}

/* The first time after NOW at which the validity of a list or an authority begins or ends. */
static int64_t next_change(const struct tls_crls *all, const STACK_OF(X509) *authorities, int64_t now)
{
	int64_t first = TLS_LIFETIME_ENDLESS;

	for (; all != NULL; all = all->next) {
		bring_forward(&first, now, X509_CRL_get0_lastUpdate(all->crl));
		bring_forward(&first, now, X509_CRL_get0_nextUpdate(all->crl));
	}
	for (int i = 0; i < sk_X509_num(authorities); i++) {
		bring_forward(&first, now, X509_get0_notBefore(sk_X509_value(authorities, i)));
		bring_forward(&first, now, X509_get0_notAfter(sk_X509_value(authorities, i)));
	}
	return first;
}

void tls_crls_check(struct tls_crls *all, X509_STORE *store, const struct tls_place *at)
{
	int64_t now = tls_clock_wall();
	int warnings = at->report->warnings;
	long refused = tls_mem_refused();
	STACK_OF(X509) *authorities;

	if (all != NULL && all->quiet_from <= now && now < all->quiet_before)
		return;
	authorities = X509_STORE_get1_all_certs(store);
	check_all(all, store, authorities, at);
	if (all != NULL && at->report->warnings == warnings && tls_mem_refused() == refused) {
		all->quiet_from = now;
		all->quiet_before = next_change(all, authorities, now);
	}
	sk_X509_pop_free(authorities, X509_free);
}
