/*
 * connection/limit.h - handshakes in progress, counted by the peer's address
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CONNECTION_LIMIT_H
#define TLS_CONNECTION_LIMIT_H

#include "tls.h"

struct tls_address;

/* The handshakes in progress of one address. */
struct tls_limit;

/* Main process, before the forks. Returns 0 or -1 (logged). */
int tls_limit_start(void);

/*
 * Counts one more handshake of FROM, an IPv6 address with its whole /64, unless LIMIT are in progress
 * already: then it returns false. *OUT is for tls_limit_leave(), NULL when there is nothing to count (LIMIT
 * 0) or no memory. Any process.
 */
bool tls_limit_enter(const struct tls_address *from, int limit, struct tls_limit **out);

/* Takes that back. LIMIT may be NULL. Any process. */
void tls_limit_leave(struct tls_limit *limit);

#endif
