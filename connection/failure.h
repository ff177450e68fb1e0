/*
 * connection/failure.h - the log line and the count of a connection that fails
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CONNECTION_FAILURE_H
#define TLS_CONNECTION_FAILURE_H

#include "tls.h"
#include "host/compat.h"
#include "connection/stats.h"

struct tls_connection;

#define TLS_FAILURE_REASON_SIZE 320

struct tls_failure_peer {
	char text[IP_ADDR_MAX_STR_SIZE + 10];
};

/* The peer of C in OUT: "192.0.2.1:5061" or "[2001:db8::1]:5061". Returns the text in OUT. Any process. */
const char *tls_failure_peer(const struct tcp_connection *c, struct tls_failure_peer *out);

/* The name of T's domain, "none yet" before it is chosen. */
const char *tls_failure_domain(const struct tls_connection *t);

/*
 * Logs one line that says that T's WHAT ("handshake", "reading" ...) failed for REASON, and counts it as WHY. A
 * reason for a failed handshake counts as a broken connection when T's handshake is already over. In the process
 * that works on T; write_lock held, or nobody else knows T.
 */
void tls_failure_log(const struct tls_connection *t, enum tls_stat why, const char *what, const char *reason);

/* The same for a step of the TLS library that failed; it knows why. In the process that took the step. */
void tls_failure_log_step(const struct tls_connection *t, const char *what);

#endif
