/*
 * material/pem.c - the entries of a PEM file, and where they are in it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * OpenSSL skips everything that is not exactly a BEGIN line, does not say which entry of a file is bad, and silently
 * loses an entry when the END line before it is missing or indented. RFC 7468 allows text before, between and after
 * entries, and both kinds of line ends. Nothing here needs OpenSSL or the host.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem() */
#endif
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "material/pem.h"

#define BEGIN "-----BEGIN "
#define END   "-----END "
#define TAIL  "-----"

/* One line without its end and without blanks before that. */
struct line {
	const char *text;
	size_t size;
};

static bool is_blank(char c)
{
	return (unsigned char)c <= ' ';
}

static bool starts_with(const struct line *l, const char *word)
{
	return l->size >= strlen(word) && memcmp(l->text, word, strlen(word)) == 0;
}

static bool ends_with(const struct line *l, const char *word)
{
	return l->size >= strlen(word) && memcmp(l->text + l->size - strlen(word), word, strlen(word)) == 0;
}

static struct line without_indent(struct line l)
{
	while (l.size > 0 && is_blank(*l.text)) {
		l.text++;
		l.size--;
	}
	return l;
}

/* The next line of P, false at its end. P->LINE counts it. */
static bool next_line(struct tls_pem *p, struct line *out)
{
	const char *stop = p->at < p->end ? memchr(p->at, '\n', (size_t)(p->end - p->at)) : NULL;

	if (p->at >= p->end)
		return false;
	if (stop == NULL)
		stop = p->end;
	*out = (struct line){.text = p->at, .size = (size_t)(stop - p->at)};
	while (out->size > 0 && is_blank(out->text[out->size - 1]))
		out->size--;
	p->at = stop < p->end ? stop + 1 : stop;
	p->line++;
	return true;
}

static bool is_begin(const struct line *l)
{
	return l->size >= strlen(BEGIN TAIL) && starts_with(l, BEGIN) && ends_with(l, TAIL);
}

/* Whether there is a dash in L at AT: "-", or one that word processors put in its place. */
static bool is_dash(const struct line *l, size_t at)
{
	return at < l->size &&
	       (l->text[at] == '-' || (l->size - at >= 3 && memcmp(l->text + at, "\xe2\x80", 2) == 0));
}

/* Whether TEXT, the rest of a line, is the label of something that this module reads; case does not matter. */
static bool is_label(const char *text, size_t size)
{
	static const char *const labels[] = {"CERTIFICATE", "TRUSTED CERTIFICATE", "X509 CERTIFICATE",
	                                     "X509 CRL"};

	for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++) {
		size_t n = strlen(labels[i]);

		if (size >= n && strncasecmp(text, labels[i], n) == 0 &&
		    (size == n || (text[n] != ' ' && isalpha((unsigned char)text[n]) == 0)))
			return true;
	}
	return false;
}

static bool names_entry(const struct line *l)
{
	const size_t n = strlen("BEGIN ");

	for (size_t i = 0; i + n < l->size; i++)
		if (strncasecmp(l->text + i, "BEGIN ", n) == 0 && is_label(l->text + i + n, l->size - i - n))
			return true;
	return false;
}

/* Whether L was meant as a BEGIN line and is none. A comment was not. */
static bool was_meant_as_begin(struct line l)
{
	l = without_indent(l);
	if (l.size == 0 || strchr("#;/", l.text[0]) != NULL || !names_entry(&l))
		return false;
	return is_dash(&l, 0) || ends_with(&l, "-") || (l.size >= 3 && is_dash(&l, l.size - 3));
}

/* What the END line L makes of the entry E. */
static enum tls_pem_state end_state(const struct tls_pem_entry *e, const struct line *l)
{
	struct line rest = {.text = l->text + strlen(END), .size = l->size - strlen(END)};

	if (rest.size == e->label_size + strlen(TAIL) && memcmp(rest.text, e->label, e->label_size) == 0 &&
	    ends_with(&rest, TAIL))
		return TLS_PEM_GOOD;
	return memmem(rest.text, rest.size, "BEGIN ", strlen("BEGIN ")) != NULL ? TLS_PEM_GLUED
	                                                                        : TLS_PEM_ENDS_BADLY;
}

/* Reads on from the BEGIN of E to its end, wherever that is. */
static void find_end(struct tls_pem *p, struct tls_pem_entry *e)
{
	struct tls_pem before = *p;
	struct line l, unindented;

	for (; next_line(p, &l); before = *p) {
		unindented = without_indent(l);
		e->end_line = p->line;
		if (starts_with(&unindented, END)) {
			e->state = unindented.size == l.size ? end_state(e, &l) : TLS_PEM_END_INDENTED;
			e->size = (size_t)((e->state == TLS_PEM_GOOD ? p->at : l.text) - e->text);
			return;
		}
		if (is_begin(&l)) {
			e->state = TLS_PEM_NO_END;
			e->size = (size_t)(l.text - e->text);
			*p = before;
			return;
		}
	}
	e->state = TLS_PEM_CUT;
	e->size = (size_t)(p->end - e->text);
}

void tls_pem_open(struct tls_pem *p, const char *data, size_t size)
{
	const char bom[] = "\xef\xbb\xbf";

	*p = (struct tls_pem){.at = data, .end = data + size};
	if (size >= strlen(bom) && memcmp(data, bom, strlen(bom)) == 0)
		p->at += strlen(bom);
}

bool tls_pem_next(struct tls_pem *p, struct tls_pem_entry *out)
{
	struct line l;

	while (next_line(p, &l)) {
		*out = (struct tls_pem_entry){.line = p->line, .end_line = p->line, .text = l.text, .size = l.size};
		if (is_begin(&l)) {
			out->number = ++p->entries;
			out->label = l.text + strlen(BEGIN);
			out->label_size = l.size - strlen(BEGIN TAIL);
			find_end(p, out);
			return true;
		}
		if (was_meant_as_begin(l)) {
			out->state = TLS_PEM_NO_BEGIN;
			return true;
		}
	}
	return false;
}

bool tls_pem_is(const struct tls_pem_entry *e, const char *label)
{
	return e->label_size == strlen(label) && memcmp(e->label, label, e->label_size) == 0;
}

/* Whether something of SIZE bytes at DATA begins with the element of DER that holds all the rest. */
static bool is_der(const unsigned char *data, size_t size)
{
	return size > 4 && data[0] == 0x30 && data[1] >= 0x80 && data[1] <= 0x83;
}

const char *tls_pem_other_form(const char *data, size_t size)
{
	const unsigned char *bytes = (const unsigned char *)data;

	if (is_der(bytes, size))
		return "the file is binary (DER, PKCS#7 or PKCS#12); convert it, such as with \"openssl x509 -inform DER\", a revocation list with \"openssl crl -inform DER\"";
	if (size >= 2 && ((bytes[0] == 0xff && bytes[1] == 0xfe) || (bytes[0] == 0xfe && bytes[1] == 0xff)))
		return "the file is UTF-16 text; save it as plain text";
	if (memchr(data, '\r', size) != NULL && memchr(data, '\n', size) == NULL)
		return "its lines end with carriage returns alone; convert them to line feeds";
	return NULL;
}
