/*
 * material/keyfile.c - what a file contains in which no private key was found
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * Only the labels of PEM and the first bytes of DER count, so neither OpenSSL nor the host is needed, and nothing is
 * parsed that could be hostile. Keeps no state.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem() */
#endif
#include <stdio.h>
#include <string.h>

#include "material/keyfile.h"

/* What a file may contain instead, and the command, with the file's path in it, that makes a private key of it. */
struct sort {
	const char *what;
	const char *command, *rest; /* before and behind the path; NULL: there is none */
};

#define CERTIFICATE "private_key must be the file that was made with it"

static const struct sort openssh = {
	"a private key in OpenSSH's own form; this makes a PEM file of it, unless it is Ed25519",
	"ssh-keygen -p -m PKCS8 -f ", ""};
static const struct sort putty = {"a private key in PuTTY's own form; convert it with", "puttygen ",
                                  " -O private-openssh -o NEW"};
static const struct sort encrypted = {
	"the private key is encrypted and no password is set; set private_key_password, or remove it with",
	"openssl pkey -in ", " -out NEW"};
static const struct sort cut = {"the private key has no END line; is the file cut short?", NULL, NULL};
static const struct sort public_key = {"a public key, not a private one; name the file that it was made from",
                                       NULL, NULL};
static const struct sort request = {"a certificate request, not a private key; " CERTIFICATE, NULL, NULL};
static const struct sort certificate = {"a certificate without its private key; " CERTIFICATE, NULL, NULL};
static const struct sort parameters = {"parameters for a key, not a private key", NULL, NULL};
static const struct sort key_der = {"a private key in DER form; convert it to PEM with",
                                    "openssl pkey -inform DER -in ", " -out NEW"};
static const struct sort certificate_der = {"a certificate in DER form, not a private key; " CERTIFICATE,
                                            NULL, NULL};
static const struct sort pkcs12 = {"a PKCS#12 container; take the private key out of it with",
                                   "openssl pkcs12 -nocerts -noenc -in ", " -out NEW"};

static bool has(const char *data, size_t size, const char *words)
{
	return memmem(data, size, words, strlen(words)) != NULL;
}

static bool begins(const char *data, size_t size, const char *words)
{
	return size >= strlen(words) && memcmp(data, words, strlen(words)) == 0;
}

/* ---- PEM and its kin */

/* Labels of things that are not private keys; the first one found counts. */
static const struct label {
	const char *words;
	const struct sort *sort;
} labels[] = {
	{"PUBLIC KEY-----", &public_key},
	{"---- BEGIN SSH2 PUBLIC KEY", &public_key},
	{"CERTIFICATE REQUEST-----", &request},
	{"-----BEGIN CERTIFICATE-----", &certificate},
	{"-----BEGIN TRUSTED CERTIFICATE-----", &certificate},
	{"-----BEGIN X509 CERTIFICATE-----", &certificate},
	{"-----BEGIN PKCS7-----", &certificate},
	{" PARAMETERS-----", &parameters},
};

/* Whether DATA has the BEGIN line of a private key and no END line after it. */
static bool is_cut(const char *data, size_t size)
{
	const char *label = memmem(data, size, "PRIVATE KEY-----", strlen("PRIVATE KEY-----"));
	const char *before = label != NULL ? memrchr(data, '\n', (size_t)(label - data)) : NULL;
	const char *line = before != NULL ? before + 1 : data;
	size_t left = size - (size_t)(line - data);

	return label != NULL && begins(line, left, "-----BEGIN ") && !has(line, left, "-----END ");
}

static const struct sort *sort_of_text(const char *data, size_t size, bool password)
{
	static const char *const lines[] = {"ssh-rsa ", "ssh-ed25519 ", "ssh-dss ", "ecdsa-sha2-"};

	if (has(data, size, "-----BEGIN OPENSSH PRIVATE KEY-----"))
		return &openssh;
	if (begins(data, size, "PuTTY-User-Key-File-"))
		return &putty;
	if (is_cut(data, size))
		return &cut;
	if (has(data, size, "-----BEGIN ENCRYPTED PRIVATE KEY-----") || has(data, size, "Proc-Type: 4,ENCRYPTED"))
		return password ? NULL : &encrypted;
	if (has(data, size, "PRIVATE KEY-----"))
		return NULL; /* a damaged one */
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		if (begins(data, size, lines[i]))
			return &public_key;
	for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++)
		if (has(data, size, labels[i].words))
			return labels[i].sort;
	return NULL;
}

/* ---- DER */

enum { INTEGER = 0x02, OID = 0x06, SEQUENCE = 0x30, TBS_VERSION = 0xa0 };

/* The content of the element with TAG at the beginning of *DATA becomes *DATA. Returns false when there is none. */
static bool open_element(const unsigned char **data, size_t *size, int tag)
{
	size_t head = 2;

	if (*size < 2 || (*data)[0] != tag)
		return false;
	if ((*data)[1] > 0x80)
		head += (*data)[1] & 0x7f;
	if (head > 6 || head >= *size)
		return false;
	*data += head;
	*size -= head;
	return true;
}

static const struct sort *sort_of_der(const unsigned char *data, size_t size)
{
	static const unsigned char pkcs[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01}; /* PKCS #5, PKCS #12 */

	if (!open_element(&data, &size, SEQUENCE))
		return NULL;
	if (open_element(&data, &size, INTEGER)) /* a version */
		return *data == 3 ? &pkcs12 : *data <= 1 ? &key_der : NULL;
	if (!open_element(&data, &size, SEQUENCE))
		return NULL;
	if (*data == TBS_VERSION || *data == INTEGER)
		return &certificate_der;
	if (!open_element(&data, &size, OID))
		return NULL;
	if (size > sizeof(pkcs) && memcmp(data, pkcs, sizeof(pkcs)) == 0 &&
	    (data[sizeof(pkcs)] == 5 || data[sizeof(pkcs)] == 12))
		return &key_der; /* an encrypted one */
	return &public_key;
}

const char *tls_keyfile_explain(const char *data, size_t size, const char *path, bool password, char *out,
                                size_t room)
{
	const struct sort *sort = sort_of_text(data, size, password);

	if (sort == NULL)
		sort = sort_of_der((const unsigned char *)data, size);
	if (sort == NULL)
		return NULL;
	if (sort->command != NULL)
		snprintf(out, room, "%s: %s%s%s", sort->what, sort->command, path, sort->rest);
	else
		snprintf(out, room, "%s", sort->what);
	return out;
}
