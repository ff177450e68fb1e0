/*
 * settings/hostname.h - a host as it is written in a setting or a script
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_SETTINGS_HOSTNAME_H
#define TLS_SETTINGS_HOSTNAME_H

#include "tls.h"

struct tls_hostname {
	char text[256]; /* a name without its final dot, or an address in its usual form; never with a port */
	bool is_address;
	bool has_port; /* as written */
};

/*
 * Parses the LENGTH bytes at NAME: a name or an address (IPv6 with or without brackets), with or without a port. Returns
 * false when it is neither. Any process; locks and allocates nothing.
 */
bool tls_hostname_read(const char *name, size_t length, struct tls_hostname *out);

#endif
