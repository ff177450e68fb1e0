/*
 * crypto/openssl/lifetime.c - how long the verification of a client's certificate is valid
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <time.h>

#include "crypto/openssl/lifetime.h"
#include "host/clock.h"
#include "tls_mem.h"
#include "crypto/openssl/compat.h"

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

int64_t tls_lifetime_seconds(const ASN1_TIME *t)
{
	struct tm tm;

	return t != NULL && ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

/*
 * When the first of the lists ends that may have shown that X is not revoked: those of its issuer's name that have
 * not ended. OpenSSL does not tell which of them it used. Where several overlap, the session ends with the older one,
 * and the next session is based on the newer.
 */
static int64_t end_of_lists(X509_STORE_CTX *store, const X509 *x)
{
	long refused = tls_mem_refused();
	STACK_OF(X509_CRL) *lists = X509_STORE_CTX_get1_crls(store, X509_get_issuer_name(x));
	int64_t end = TLS_LIFETIME_ENDLESS;

	for (int i = 0; i < sk_X509_CRL_num(lists); i++) {
		const ASN1_TIME *next = X509_CRL_get0_nextUpdate(sk_X509_CRL_value(lists, i));

		if (next != NULL && X509_cmp_current_time(next) > 0)
			end = earlier(end, tls_lifetime_seconds(next));
	}
	sk_X509_CRL_pop_free(lists, X509_CRL_free);
	return tls_mem_refused() == refused ? end : 0;
}

/* The first end among the certificates of the verified chain and the lists. */
static int64_t end_of_chain(X509_STORE_CTX *store)
{
	unsigned long flags = X509_VERIFY_PARAM_get_flags(X509_STORE_CTX_get0_param(store));
	STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(store);
	int64_t end = TLS_LIFETIME_ENDLESS;

	for (int i = 0; i < sk_X509_num(chain); i++) {
		const X509 *x = sk_X509_value(chain, i);

		end = earlier(end, tls_lifetime_seconds(X509_get0_notAfter(x)));
		if ((flags & X509_V_FLAG_CRL_CHECK) != 0)
			end = earlier(end, end_of_lists(store, x));
	}
	return end;
}

int64_t tls_lifetime_end(X509_STORE_CTX *store)
{
	const X509 *leaf = X509_STORE_CTX_get0_cert(store);
	int64_t end;

	if (X509_STORE_CTX_get_error(store) == X509_V_OK)
		return end_of_chain(store);
	end = leaf != NULL ? tls_lifetime_seconds(X509_get0_notAfter(leaf)) : 0;
	return end > tls_clock_wall() ? end : TLS_LIFETIME_ENDLESS;
}
