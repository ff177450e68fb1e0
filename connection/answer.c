/*
 * connection/answer.c - a text that grows, as an answer to a script or an operator
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connection/answer.h"
#include "host/compat.h"

#define KEEP 65536 /* bytes of a buffer that may stay allocated */
#define MOST \
	(1024 * 1024) /* bytes; the largest certificate that is accepted makes 0.4 MB when encoded as for a URL */

void tls_answer_begin(struct tls_answer *a)
{
	if (a->room > KEEP) {
		free(a->s);
		a->s = NULL;
		a->room = 0;
	}
	a->used = 0;
	a->broken = false;
	tls_answer_add(a, "", 0);
}

/* Room for SIZE more bytes and a zero byte. Returns false when there is none (logged). */
static bool has_room(struct tls_answer *a, size_t size)
{
	size_t whole = a->used + size + 1, room = whole > 2 * a->room ? whole : 2 * a->room;
	char *s;

	if (whole <= a->room)
		return true;
	s = whole <= MOST ? realloc(a->s, room) : NULL;
	if (s == NULL) {
		LM_ERR("an answer of %zu bytes about a certificate: %s\n", a->used + size,
		       whole <= MOST ? "no memory" : "more than the module returns");
		return false;
	}
	a->s = s;
	a->room = room;
	return true;
}

void tls_answer_add(struct tls_answer *a, const char *bytes, size_t size)
{
	if (a->broken)
		return;
	if (!has_room(a, size)) {
		a->broken = true;
		return;
	}
	memcpy(a->s + a->used, bytes, size);
	a->used += size;
	a->s[a->used] = '\0';
}

bool tls_answer_add_string(struct tls_answer *a, const char *s)
{
	if (s != NULL)
		tls_answer_add(a, s, strlen(s));
	return s != NULL;
}

bool tls_answer_add_number(struct tls_answer *a, long n)
{
	char digits[24];

	snprintf(digits, sizeof(digits), "%ld", n);
	return tls_answer_add_string(a, digits);
}

void tls_answer_sink(void *answer, const char *bytes, size_t size)
{
	tls_answer_add(answer, bytes, size);
}

void tls_answer_sink_url(void *answer, const char *bytes, size_t size)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
	char escape[4];

	for (size_t i = 0; i < size; i++) {
		if (bytes[i] != '\0' && strchr(plain, bytes[i]) != NULL) {
			tls_answer_add(answer, bytes + i, 1);
		} else {
			snprintf(escape, sizeof(escape), "%%%02x", (unsigned char)bytes[i]);
			tls_answer_add(answer, escape, 3);
		}
	}
}
