/*
 * connection/list.h - all connections
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CONNECTION_LIST_H
#define TLS_CONNECTION_LIST_H

#include "tls.h"

struct tcp_connection;
struct tls_connection;

/* Main process, before the forks. Returns 0 or -1 (logged). */
int tls_list_start(void);

/* T must exist until it is removed. Any process; nobody else removes T at the same time. */
void tls_list_add(struct tls_connection *t);
void tls_list_remove(struct tls_connection *t);

/* How many there are. */
int tls_list_count(void);

/*
 * Calls EACH for every connection with the list locked: EACH must not block nor call back. Stops when it
 * returns non-zero.
 */
void tls_list_walk(int (*each)(struct tls_connection *t, void *arg), void *arg);

/*
 * Has tcp_main close connection ID. Any process that has the host's socket to tcp_main. Returns 0, -1 when
 * there is no such connection.
 */
int tls_list_kill(int id);

/*
 * The TLS or WSS connection with the host's ID, its write_lock held, so that it does not change or go away;
 * NULL when there is none. tls_list_release() ends that.
 */
struct tls_connection *tls_list_hold(int id);
void tls_list_release(struct tls_connection *t);

/*
 * Gives back a reference to C that the host's tcpconn_get() gave. Any process that has the host's socket to
 * tcp_main.
 */
void tls_list_put(struct tcp_connection *c);

#endif
