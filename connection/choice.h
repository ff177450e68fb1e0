/*
 * connection/choice.h - which domain a connection uses
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CONNECTION_CHOICE_H
#define TLS_CONNECTION_CHOICE_H

#include "tls.h"

struct tcp_connection;
struct tls_connection;

/*
 * As T is opened by us: asks the script whether it may be, and what for; T keeps the server_name and the server_id.
 * Returns 0, -1 when T cannot be opened (logged; T keeps nothing). When the script forbids it, the host is told to
 * send nothing. The sender's process; nobody else knows T yet.
 */
int tls_choice_ask_script(struct tcp_connection *c, struct tls_connection *t);

/*
 * As T's first byte comes or goes: pins the configuration in use, unless T has one, and sets T's domain. Returns 0, -1
 * when there is no configuration. write_lock held.
 */
int tls_choice_set_domain(const struct tcp_connection *c, struct tls_connection *t);

#endif
