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
 * The profile of the next outgoing connection that this process opens for the message at hand; empty: none.
 * Returns 0, -1 when it is too long or has a zero byte (logged).
 */
int tls_outgoing_set_id(const char *id, size_t length);

/*
 * What the script wants for the connection that this process is opening: its xavp (xavp_cfg), and the id of
 * tls_outgoing_set_id(), which comes first. Shared strings that the caller owns, NULL where nothing is set.
 * Returns NULL; else why the connection cannot be made, a text for the log, which is TLS_OUTGOING_NO_MEMORY
 * without shared memory: then both are NULL.
 */
extern const char TLS_OUTGOING_NO_MEMORY[];
const char *tls_outgoing_choose(char **server_name, char **server_id);

/*
 * What the script wants at this moment, in this process. Good until it goes on. Lengths are 0 where it wants
 * nothing.
 */
struct tls_wish {
	const char *id;
	size_t id_length;
	const char *name;
	size_t name_length;
	const char *fault; /* what one of them has that no section and no server can be called; NULL: nothing */
};
void tls_outgoing_wish(struct tls_wish *out);

/* Whether the script has the means to want anything. After its parsing. */
bool tls_outgoing_can_choose(void);

/* The script has the function that chooses. While it is parsed. */
void tls_outgoing_may_choose(void);

/*
 * Runs event_route[tls:connection-out] or event_callback for C, which is being opened, in the sender's process.
 * Returns false when it called drop(), and when it could not be asked for want of private memory (logged).
 */
bool tls_outgoing_allowed(struct tcp_connection *c);

#endif
