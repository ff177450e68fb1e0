/*
 * connection/outgoing.h - what the script chose for the connection that it opens
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CONNECTION_OUTGOING_H
#define TLS_CONNECTION_OUTGOING_H

#include "tls.h"

struct tcp_connection;

/* Main process, when the script is parsed, after tls_runtime_start(). Returns 0 or -1 (logged). */
int tls_outgoing_start(void);

/*
 * Sets the profile of the next outgoing connection that this process opens for the current message; empty:
 * none. Returns 0, -1 when the id is too long or has a zero byte (logged).
 */
int tls_outgoing_set_id(const char *id, size_t length);

/*
 * What the script wants for the connection that this process is opening: its xavp (xavp_cfg), and the id of
 * tls_outgoing_set_id(), which takes precedence. Shared strings that the caller owns, NULL where nothing is
 * set. Returns NULL, or the reason why the connection cannot be made, a text for the log
 * (TLS_OUTGOING_NO_MEMORY without shared memory); then both are NULL.
 */
extern const char TLS_OUTGOING_NO_MEMORY[];
const char *tls_outgoing_choose(char **server_name, char **server_id);

/*
 * What the script wants now, in this process. Valid until the script goes on. Lengths are 0 where it wants
 * nothing.
 */
struct tls_wish {
	const char *id;
	size_t id_length;
	const char *name;
	size_t name_length;
	const char *fault; /* why one of them cannot be the name of a section or a server; NULL: both can */
};
void tls_outgoing_wish(struct tls_wish *out);

/* Whether the script can choose anything. After it is parsed. */
bool tls_outgoing_can_choose(void);

/* Notes that the script has the function that chooses. While it is parsed. */
void tls_outgoing_may_choose(void);

/*
 * Runs event_route[tls:connection-out] or event_callback for C, which is being opened, in the sender's
 * process. Returns false when it called drop(), and when there is no private memory to ask it (logged).
 */
bool tls_outgoing_allowed(struct tcp_connection *c);

#endif
