/*
 * tls.h - what all files of this module share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_H
#define TLS_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TLS_FORMAT(fmt, first) __attribute__((format(printf, fmt, first)))

enum tls_role { TLS_SERVER, TLS_CLIENT };

struct tls_address {
	int family;     /* 4 or 6, 0: none */
	uint8_t ip[16]; /* network order, an IPv4 address in the first four */
	uint16_t port;  /* host order, 0: any */
};

#endif
