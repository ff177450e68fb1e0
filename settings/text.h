/*
 * settings/text.h - text that is fit for logs and RPC answers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * Nothing here allocates, locks or fails; any process.
 */
#ifndef TLS_SETTINGS_TEXT_H
#define TLS_SETTINGS_TEXT_H

#include "tls.h"

/*
 * The size in bytes of the character at S, which must not be the end of the string: 1 to 4; 0 for a control character
 * and for a byte that is not UTF-8. Neither of these may appear in logs or RPC answers.
 */
size_t tls_text_character(const char *s);

/* Replaces each byte of TEXT for which tls_text_character() returns 0 with a '?'; returns TEXT. */
char *tls_text_clean(char *text);

/* Part of an operator's text for use in a message: in quotes, shortened, without control characters. */
struct tls_text_excerpt {
	char text[56];
};

/* An excerpt of the LENGTH bytes at FROM. */
struct tls_text_excerpt tls_text_excerpt(const char *from, size_t length);

/* Appends to the string in OUT, which has space for SIZE bytes; the result is cut off where it does not fit. */
void tls_text_append(char *out, size_t size, const char *format, ...) TLS_FORMAT(3, 4);

#endif
