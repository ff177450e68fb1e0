/*
 * crypto/openssl/names.c - who a certificate is for, as text for people
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "crypto/openssl/names.h"
#include "settings/report.h"
#include "settings/text.h"
#include "crypto/openssl/compat.h"

#define NAMES_SHOWN 6
#define NAME_SHOWN  64 /* bytes of one */

/* Text that is being written; names that do not fit are left out. */
struct text {
	char *to;
	size_t room, used;
	int shown, left_out;
};

static void add(struct text *t, const char *name)
{
	size_t need = strlen(name) + sizeof(", \"\"");

	if (t->shown == NAMES_SHOWN || t->room - t->used <= need + sizeof(" and 2147483647 more")) {
		t->left_out++;
		return;
	}
	t->used += (size_t)sprintf(t->to + t->used, "%s\"%s\"", t->shown > 0 ? ", " : "", name);
	t->shown++;
}

/* A name from the certificate, without bytes that could be mistaken for something else in a log. */
static void add_bytes(struct text *t, const unsigned char *data, int size)
{
	char name[NAME_SHOWN + sizeof("...")];
	int n = size < NAME_SHOWN ? size : NAME_SHOWN;

	for (int i = 0; i < n; i++)
		name[i] = data[i] == '\0' || data[i] == '"' ? '?' : (char)data[i];
	strcpy(name + n, size > n ? "..." : "");
	add(t, tls_text_clean(name)); /* also where a long one was cut within a character */
}

static void add_string(struct text *t, const ASN1_STRING *s)
{
	add_bytes(t, ASN1_STRING_get0_data(s), ASN1_STRING_length(s));
}

static void add_address(struct text *t, const ASN1_STRING *s)
{
	int size = ASN1_STRING_length(s);
	char name[INET6_ADDRSTRLEN];

	if ((size == 4 || size == 16) &&
	    inet_ntop(size == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(s), name, sizeof(name)) != NULL)
		add(t, name);
}

static void add_alt_names(struct text *t, const GENERAL_NAMES *names)
{
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		int type;
		const ASN1_STRING *s = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);

		if (type == GEN_DNS || type == GEN_URI)
			add_string(t, s);
		else if (type == GEN_IPADD)
			add_address(t, s);
	}
}

static void add_common_names(struct text *t, const X509 *x)
{
	const X509_NAME *subject = X509_get_subject_name(x);

	for (int i = -1; (i = X509_NAME_get_index_by_NID(subject, NID_commonName, i)) >= 0;)
		add_string(t, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, i)));
}

const char *tls_names_list(const X509 *x, char *out, size_t size)
{
	struct text t = {.to = out, .room = size};
	GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);

	if (names != NULL)
		add_alt_names(&t, names);
	else if (X509_get_ext_by_NID(x, NID_subject_alt_name, -1) < 0)
		add_common_names(&t, x);
	GENERAL_NAMES_free(names);
	if (t.left_out > 0)
		snprintf(out + t.used, size - t.used, "%s%d more", t.shown > 0 ? " and " : "", t.left_out);
	else if (t.shown == 0)
		snprintf(out, size, "nobody: it has no name that counts");
	return out;
}
