/*
 * connection/connection.h - one connection
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef TLS_CONNECTION_CONNECTION_H
#define TLS_CONNECTION_CONNECTION_H

#include "tls.h"
#include "tls_domain_types.h"
#include "connection/queue.h"

struct tcp_connection;
struct tls_limit;
struct tls_generation;
struct tls_io;
struct tls_ssl;
struct tls_verdict_note;

enum tls_phase {
	TLS_PHASE_NEW, /* nothing received or sent yet */
	TLS_PHASE_HANDSHAKE,
	TLS_PHASE_ESTABLISHED,
	TLS_PHASE_CLOSED, /* our close_notify is sent, or an error: nothing more goes out */
};

/*
 * One connection. In shared memory, found through the host connection's extra_data. Written by whoever holds
 * the host connection's write_lock, the links by whoever holds the list's lock.
 */
struct tls_connection {
	struct tls_connection *next, *previous; /* all connections */
	struct tls_connection *next_to_peer,
		**link_to_peer;               /* connections to one address: see connection/reuse.c */
	unsigned short peer_port;         /* the port by which it is found there */
	struct tls_verdict_note *verdict; /* accepted: see connection/verdict.c; NULL: no verdict yet */
	struct tcp_connection *tcp;
	int id; /* the host's */
	enum tls_role role;
	enum tls_phase phase;
	struct tls_generation *generation; /* pinned; NULL before the first byte */
	struct tls_domain_use use;
	struct tls_ssl *ssl;
	struct tls_io *io; /* only during a call of a hook */
	unsigned started;  /* ticks */
	unsigned deadline; /* ticks: of the handshake, then of a message begun */
	bool deadline_set;
	bool close_after_queue; /* the sender wants the connection closed after the data in the queue */
	bool
		peer_closed; /* its close_notify has come: RFC 8446 section 6.1 lets us go on sending, and asks for ours */
	bool eof_after_input; /* the peer has closed, but not everything before that is delivered */
	bool has_more;        /* its peer has sent more than its last turn took */
	bool peer_confirmed;  /* the peer has accepted our part of the handshake: no later alert is about that */
	bool renegotiating;   /* established and in another handshake, which the deadline is for */
	struct tls_queue queue;        /* cleartext out */
	long memory;                   /* bytes of shared memory that it uses */
	unsigned host_bytes;           /* bytes in the host's buffer when the last read ended */
	struct tls_chunk *input;       /* ciphertext in */
	char *server_name, *server_id; /* outgoing: what the script chose; NULL: nothing */
	struct tls_limit *limit;       /* accepted, until the handshake is done; NULL: not counted */
};

#endif
