/*
 * connection/reuse.h - which connection may carry which message
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CONNECTION_REUSE_H
#define TLS_CONNECTION_REUSE_H

#include "tls.h"

struct ip_addr;
struct tcp_connection;
struct tls_connection;

/* Main process, before the forks, after tls_runtime_start(). Returns 0 or -1 (logged). */
int tls_reuse_start(void);

/* Registers for outgoing messages. When the script is parsed. Returns 0 or -1 (logged). */
int tls_reuse_watch(void);

/* Lets T, which we open, be found by its peer's address. The sender, before anybody else knows T. */
void tls_reuse_add(struct tls_connection *t);

/*
 * Whether the message that this process is about to encrypt must not go out on T. Then it is kept back, and
 * goes out on another connection when the host has finished with it. The sender; T's write_lock held.
 */
bool tls_reuse_keeps_back(const struct tls_connection *t);

/*
 * Forgets the message that this process was about to send, also when the host failed to send it and did not
 * say so. For a process that reads. What it sends next unannounced, an answer to a keep-alive, may go out on
 * any connection.
 */
void tls_reuse_forget(void);

/* Removes T, if it was added. Any process. */
void tls_reuse_remove(struct tls_connection *t);
/*
 * Hooks of the host from 6.1 on, its table of connections locked. Whether C may carry the current message, to
 * IP and PORT, in the sender's process; whether A and B are for the same profile and name.
 */
int tls_reuse_match(struct tcp_connection *c, struct ip_addr *ip, unsigned short port);
int tls_reuse_match_two(struct tcp_connection *a, struct tcp_connection *b);

#endif
