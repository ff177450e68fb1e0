/*
 * crypto/openssl/purpose.c - whether our own certificate suits the role of its section
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * OpenSSL sends any certificate whose key matches, and the peer refuses it in the handshake. Where that can be
 * foreseen, a warning is given when the certificate is loaded.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* strcasestr() */
#endif
#include <string.h>

#include "crypto/crypto.h"
#include "tls.h"
#include "settings/report.h"
#include "settings/table.h"
#include "tls_config.h"
#include "crypto/openssl/types.h"

/* What a role requires of its own certificate. */
static const struct purpose {
	const char *role, *peers, *usage;
	uint32_t extended;
	int id;
} purposes[] = {
	[TLS_SERVER] = {"server", "clients", "serverAuth", XKU_SSL_SERVER | XKU_SGC, X509_PURPOSE_SSL_SERVER},
	[TLS_CLIENT] = {"client", "servers that ask for one", "clientAuth", XKU_SSL_CLIENT,
                    X509_PURPOSE_SSL_CLIENT},
};

/* A certificate, and where its section names it. */
struct subject {
	X509 *x;
	const struct tls_section *section;
	struct tls_origin from;
	const char *path;
	struct tls_report *r;
};

#define warn(s, ...) \
	tls_report_add((s)->r, TLS_WARNING, (s)->from.file, (s)->from.line, (s)->from.setting, __VA_ARGS__)

static void check_usage(const struct subject *s)
{
	const struct purpose *p = &purposes[s->section->role];

	if ((X509_get_extended_key_usage(s->x) & p->extended) == 0)
		warn(
			s,
			"%s: this is not a certificate for a %s: its extended key usage lacks %s, and %s refuse it; get one "
			"with %s",
			s->path, p->role, p->usage, p->peers, p->usage);
	else if ((X509_get_key_usage(s->x) & KU_DIGITAL_SIGNATURE) == 0)
		warn(
			s,
			"%s: the key of this certificate may not sign: its key usage lacks digitalSignature, and most %s "
			"refuse it; get one with digitalSignature",
			s->path, p->peers);
	else if (X509_check_purpose(s->x, p->id, 0) != 1)
		warn(
			s,
			"%s: this is not a certificate for a %s according to its Netscape type: %s refuse it; get another one",
			s->path, p->role, p->peers);
}

/* Whether peers with default settings support the curve NAME. */
static bool usual_curve(const char *name)
{
	static const char *const usual[] = {"prime256v1", "P-256", "secp384r1", "P-384", "secp521r1", "P-521"};

	for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]); i++)
		if (strcasecmp(name, usual[i]) == 0)
			return true;
	return false;
}

/* A section that names the curve in `groups` is meant for peers that support it. */
static void check_key(const struct subject *s)
{
	static const char *const unusual[] = {"DSA", "SM2", "DH", "X25519", "X448"};
	const char *groups = s->section->settings.groups;
	EVP_PKEY *key = X509_get0_pubkey(s->x);
	char curve[64] = "";

	if (key == NULL)
		return;
	if (EVP_PKEY_is_a(key, "EC") == 1 && EVP_PKEY_get_group_name(key, curve, sizeof(curve), NULL) == 1 &&
	    !usual_curve(curve) && !tls_section_unsure(s->section, "groups") &&
	    (groups == NULL || strcasestr(groups, curve) == NULL))
		warn(
			s,
			"%s: the key of this certificate is on the curve %s, which peers do not accept by default; make one on "
			"P-256 (prime256v1)",
			s->path, curve);
	for (size_t i = 0; i < sizeof(unusual) / sizeof(unusual[0]); i++)
		if (EVP_PKEY_is_a(key, unusual[i]) == 1)
			warn(
				s,
				"%s: the key of this certificate is of the kind %s, which peers do not accept; make an ECDSA "
				"key on P-256, or an RSA key",
				s->path, unusual[i]);
}

/* RFC 7633: whether X is valid only together with an OCSP response. */
static bool must_staple(const X509 *x)
{
	TLS_FEATURE *features = X509_get_ext_d2i(x, NID_tlsfeature, NULL, NULL);
	bool found = false;

	for (int i = 0; features != NULL && i < sk_ASN1_INTEGER_num(features); i++)
		found |= ASN1_INTEGER_get(sk_ASN1_INTEGER_value(features, i)) == TLSEXT_TYPE_status_request;
	TLS_FEATURE_free(features);
	return found;
}

void tls_purpose_check(const struct tls_section *section, int number, struct tls_cert *x,
                       struct tls_report *r)
{
	const struct tls_settings *settings = &section->settings;
	struct subject s = {
		.x = cert_of(x),
		.section = section,
		.from = tls_section_origin(section, number == 0 ? "certificate" : "certificate2"),
		.path = number == 0 ? settings->certificate : settings->certificate2,
		.r = r,
	};

	if (section->file == NULL && section->role == TLS_CLIENT)
		return; /* module parameters are for both roles */
	ERR_set_mark();
	check_usage(&s);
	check_key(&s);
	if (section->role == TLS_SERVER && must_staple(s.x))
		warn(
			&s,
			"%s: this certificate requires a stapled OCSP response (must-staple, RFC 7633), and none is sent: "
			"clients that check that refuse it; get one without",
			s.path);
	ERR_pop_to_mark();
}
