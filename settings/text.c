/*
 * settings/text.c - text that is fit for logs and RPC answers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "settings/text.h"

/*
 * The length in bytes of a character whose first byte is FIRST, and the range of its second byte; 0: no character
 * begins with FIRST.
 */
static size_t character_size(unsigned char first, unsigned char *from, unsigned char *to)
{
	*from = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80; /* no overlong forms */
	*to = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;   /* no surrogates, nothing above U+10FFFF */
	if (first < 0x80)
		return first >= ' ' && first != 0x7f ? 1 : 0;
	if (first < 0xc2 || first > 0xf4)
		return 0;
	return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

size_t tls_text_character(const char *s)
{
	const unsigned char *c = (const unsigned char *)s;
	unsigned char from, to;
	size_t size = character_size(c[0], &from, &to);

	for (size_t i = 1; i < size; i++) {
		if (c[i] < from || c[i] > to)
			return 0;
		from = 0x80;
		to = 0xbf;
	}
	return size;
}

char *tls_text_clean(char *text)
{
	for (char *p = text; *p != '\0';) {
		size_t size = tls_text_character(p);

		if (size == 0)
			*p = '?';
		p += size > 0 ? size : 1;
	}
	return text;
}

struct tls_text_excerpt tls_text_excerpt(const char *from, size_t length)
{
	struct tls_text_excerpt e = {""};
	size_t space = sizeof(e.text) - sizeof("\"...\"");
	size_t shown = length < space ? length : space;
	char *to = e.text;

	*to++ = '"';
	for (size_t i = 0; i < shown; i++)
		*to++ = (unsigned char)from[i] < ' ' || from[i] == 0x7f ? '?' : from[i];
	snprintf(to, sizeof("...\""), "%s\"", shown < length ? "..." : "");
	return e;
}

void tls_text_append(char *out, size_t size, const char *format, ...)
{
	size_t used = strlen(out);
	va_list args;

	va_start(args, format);
	vsnprintf(out + used, size - used, format, args);
	va_end(args);
}
