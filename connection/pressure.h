/*
 * connection/pressure.h - what is refused when shared memory is low, or one address has too many handshakes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CONNECTION_PRESSURE_H
#define TLS_CONNECTION_PRESSURE_H

#include "tls.h"

struct tcp_connection;

/* Main process, before the forks. Returns 0 or -1 (logged). */
int tls_pressure_start(void);

/*
 * Whether shared memory is too low for C, a new connection (low_mem_threshold1); or to go on with C's handshake or
 * keep the beginning of a record for it (low_mem_threshold2). Each refusal is counted, and logged at most once in five
 * seconds. Any process.
 */
bool tls_pressure_is_low_to_open(const struct tcp_connection *c);
bool tls_pressure_is_low_to_go_on(const struct tcp_connection *c);

/* Counts and, at most once in five seconds, logs that C's address has LIMIT handshakes in progress already. */
void tls_pressure_log_limit(const struct tcp_connection *c, int limit);

#endif
