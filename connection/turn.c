/*
 * connection/turn.c - how much of a worker one connection may have at a time
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * A turn is what the host does for one connection before it looks at the others again. From a plain socket it
 * takes one buffer in a turn. A TLS connection may ask to be read again at once, because no event tells of
 * what has been read from the socket and not delivered yet: if it read the socket each time, a peer that sends
 * without pause would keep the worker to itself. So the socket is read once in a turn, for as much as from a
 * plain one, and what waits here is left for the next turn where the socket has more: then that turn comes by
 * itself.
 *
 * A connection that had more for us than its last turn took gets a quarter in the next: a handshake needs
 * three turns where a plain connection needs one, and waits in each for those of all others.
 */
#include <poll.h>

#include "connection/turn.h"
#include "host/compat.h"
#include "crypto/crypto.h"
#include "connection/connection.h"

/* The socket has been read in this turn. The host keeps its flags for a turn and does not use this bit. */
#define TAKEN ((rd_conn_flags_t)(1 << 24))

#define MORE_PART 4

unsigned tls_turn_size(const struct tcp_connection *c, const struct tls_connection *t)
{
	unsigned size = c->req.b_size < TLS_IO_IN_SIZE ? c->req.b_size : TLS_IO_IN_SIZE;

	return t->has_more ? (size + MORE_PART - 1) / MORE_PART : size;
}

/*
 * Bytes of T that have been received and not delivered: ciphertext that the TLS library has not taken, and
 * cleartext.
 */
static unsigned bytes_here(const struct tls_connection *t)
{
	return (t->input != NULL ? t->input->used : 0) + (t->ssl != NULL ? (unsigned)tls_ssl_pending(t->ssl) : 0);
}

unsigned tls_turn_take(const struct tcp_connection *c, const struct tls_connection *t, rd_conn_flags_t *flags)
{
	unsigned size = tls_turn_size(c, t), here = bytes_here(t);

	if ((*flags & (RD_CONN_EOF | RD_CONN_SHORT_READ | TAKEN)) != 0 || here >= size)
		return 0;
	*flags |= TAKEN;
	return size - here;
}

/* Whether poll() would report C: data, an end or an error, which makes the host come back. */
static bool socket_tells(const struct tcp_connection *c)
{
	struct pollfd socket = {.fd = c->fd, .events = POLLIN};

	return poll(&socket, 1, 0) > 0;
}

/* Whether the host hears of incoming data only once, and expects it to be read completely. */
static bool told_once(void)
{
	return tcp_poll_method == POLL_EPOLL_ET || tcp_poll_method == POLL_SIGIO_RT;
}

bool tls_turn_goes_on(const struct tcp_connection *c, struct tls_connection *t, bool more,
                      rd_conn_flags_t *flags)
{
	bool unread = (*flags & RD_CONN_SHORT_READ) == 0;

	t->has_more = more || unread;
	if (!told_once())
		return more && !socket_tells(c);
	*flags &= ~TAKEN;
	return more || unread;
}
