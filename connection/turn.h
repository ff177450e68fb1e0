/*
 * connection/turn.h - how much of a worker one connection may have at a time
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CONNECTION_TURN_H
#define TLS_CONNECTION_TURN_H

#include "tls.h"
#include "host/compat.h"

struct tcp_connection;
struct tls_connection;

/* Bytes that T may deliver in one call of its reading hook. */
unsigned tls_turn_size(const struct tcp_connection *c, const struct tls_connection *t);

/*
 * Bytes that may be taken from T's socket now, 0 when this turn has had its share. The caller takes them at
 * once. FLAGS are the host's; write_lock held.
 */
unsigned tls_turn_take(const struct tcp_connection *c, const struct tls_connection *t,
                       rd_conn_flags_t *flags);

/*
 * At the end of a call: whether the host must call again at once, since nothing else would make it come back.
 * MORE: something waits here that can be delivered. write_lock held.
 */
bool tls_turn_goes_on(const struct tcp_connection *c, struct tls_connection *t, bool more,
                      rd_conn_flags_t *flags);

#endif
