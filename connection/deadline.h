/*
 * connection/deadline.h - how long a handshake, a message and a send may take
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * Unless said otherwise these are called in the process that works on the connection, its write_lock held.
 */
#ifndef TLS_CONNECTION_DEADLINE_H
#define TLS_CONNECTION_DEADLINE_H

#include "tls.h"

struct tcp_connection;
struct tls_connection;

/* Whether the time TICKS has come at NOW, both the host's ticks. */
bool tls_deadline_is_past(unsigned ticks, unsigned now);

/* Gives T's handshake the seconds of handshake_timeout from now on; none when that is 0. */
void tls_deadline_set_handshake(struct tls_connection *t);

/* How long the host keeps an established connection on which nothing happens, in ticks (connection_timeout). */
unsigned tls_deadline_idle_ticks(void);

/* Whether the host holds the beginning of a message, but not its end. */
bool tls_deadline_is_mid_message(const struct tcp_connection *c);

/*
 * As a read begins: starts, keeps or ends the deadline of the message under way. It has connection_timeout seconds,
 * else handshake_timeout, from its first byte to its last.
 */
void tls_deadline_watch_message(const struct tcp_connection *c, struct tls_connection *t);

/* After a step: another handshake of an established connection (AGAIN: one is under way) gets a deadline of its own. */
void tls_deadline_watch_renegotiation(struct tls_connection *t, bool again);

/* Whether T's deadline has passed. A deadline of a message that has been completed meanwhile is removed instead. */
bool tls_deadline_has_passed(const struct tcp_connection *c, struct tls_connection *t);

/* Logs and counts that T's deadline has passed, and removes it, so that each is logged once. */
void tls_deadline_log(struct tls_connection *t);

/*
 * As the host closes T: logs why, if T was too late for its handshake. Its timer may come before the sweep; and
 * for a connection that we opened it applies its own tcp_connection_lifetime until the first byte comes.
 */
void tls_deadline_log_close(const struct tcp_connection *c, struct tls_connection *t);

/*
 * Timer process, once a second, no lock held: closes connections past a deadline, and those whose peer has taken
 * nothing for send_timeout seconds.
 */
void tls_deadline_sweep(unsigned ticks, void *param);

#endif
