/*
 * settings/hostname.c - a host as written in scripts and settings: a name or an address, with or without a port
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "settings/hostname.h"

static bool read_address(int family, const char *text, struct tls_hostname *out)
{
	unsigned char ip[16];

	out->is_address = inet_pton(family, text, ip) == 1 &&
	                  inet_ntop(family, ip, out->text, sizeof(out->text)) != NULL;
	return out->is_address;
}

/* Whether TEXT is empty, or a colon with or without a port. */
static bool is_port(const char *text)
{
	return text[0] == '\0' || (text[0] == ':' && text[1 + strspn(text + 1, "0123456789")] == '\0');
}

/* "[2001:db8::1]" with or without a port. */
static bool read_bracketed(char *text, struct tls_hostname *out)
{
	char *end = strchr(text, ']');

	if (end == NULL || !is_port(end + 1))
		return false;
	out->has_port = end[1] != '\0';
	*end = '\0';
	return read_address(AF_INET6, text + 1, out);
}

/* Whether TEXT may be a name: it has no character that no name contains. Stricter rules are left to the peer. */
static bool is_name(const char *text)
{
	for (const char *p = text; *p != '\0'; p++)
		if (*p <= ' ' || *p > '~' || strchr(":/@,;[]", *p) != NULL)
			return false;
	return text[0] != '\0' && text[0] != '.';
}

bool tls_hostname_read(const char *name, size_t length, struct tls_hostname *out)
{
	char text[sizeof(out->text) + sizeof(".:65535")], *colon;
	size_t size;

	*out = (struct tls_hostname){.is_address = false};
	if (length >= sizeof(text) || memchr(name, '\0', length) != NULL)
		return false;
	memcpy(text, name, length);
	text[length] = '\0';
	if (text[0] == '[')
		return read_bracketed(text, out);
	if (read_address(AF_INET6, text, out))
		return true;
	colon = strchr(text, ':');
	out->has_port = colon != NULL;
	if (colon != NULL && !is_port(colon))
		return false;
	size = colon != NULL ? (size_t)(colon - text) : length;
	if (size > 1 && text[size - 1] == '.')
		size--;
	text[size] = '\0';
	if (size >= sizeof(out->text) || (!read_address(AF_INET, text, out) && !is_name(text)))
		return false;
	if (!out->is_address)
		memcpy(out->text, text, size + 1);
	return true;
}
