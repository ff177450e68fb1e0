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

/* The same, when the script is parsed. */
int tls_reuse_watch(void);

/* T, which we open, can be found by its peer's address. The sender, before anybody else knows it. */
void tls_reuse_add(struct tls_connection *t);

/*
 * Whether what this process is about to encrypt for T must not go out on it: then it is kept back, and goes
 * out on another connection when the host has done with it. The sender; T's write_lock held.
 */
bool tls_reuse_keeps_back(const struct tls_connection *t);

/*
 * The message that this process was about to send is over, also where the host could not send it and did not
 * tell: it reads. What it sends next without telling, the answer to a keep-alive, may go out anywhere.
 */
void tls_reuse_forget(void);

/* Takes T out again, if it is in. Any process. */
void tls_reuse_remove(struct tls_connection *t);
/*
 * Hooks of the host from 6.1 on, the host's table of connections locked. Whether C may carry the message at
 * hand, to IP and PORT, in the sender's process; whether A and B stand for the same profile and name.
 */
int tls_reuse_match(struct tcp_connection *c, struct ip_addr *ip, unsigned short port);
int tls_reuse_match_two(struct tcp_connection *a, struct tcp_connection *b);

#endif
