/*
 * tls_server.h - the host's hooks
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_SERVER_H
#define TLS_SERVER_H

#include "tls.h"
#include "host/compat.h"

struct tcp_connection;

/*
 * Makes what the hooks share. Main process, before the forks, after tls_runtime_start(). Returns 0 or -1
 * (logged).
 */
int tls_server_start(void);

/*
 * When the server stops: from here on nothing is freed. The kernel takes everything back in a moment, while a
 * process that was killed in the middle of its work may have left a connection, or a lock of OpenSSL's, in
 * any state.
 */
void tls_server_end(void);

/* The hooks. The contract is the host's tls_hooks.h; what holds in which process stands in tls_server.c. */
int tls_server_open(struct tcp_connection *c, int sock);
int tls_server_read(struct tcp_connection *c, rd_conn_flags_t *flags);
int tls_server_encode(struct tcp_connection *c, const char **pbuf, unsigned *plen, const char **rest_buf,
                      unsigned *rest_len, snd_flags_t *send_flags);
void tls_server_close(struct tcp_connection *c, int fd);
void tls_server_clean(struct tcp_connection *c);

#endif
