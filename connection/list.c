/*
 * connection/list.c - all connections of all processes: walk, hold, close
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * The order of locks is: the host's table of connections, then the list. So nothing here asks the host for a
 * connection while it has the list locked: a walk notes ids, and each id is held on its own.
 */
#include <stdatomic.h>

#include "connection/list.h"
#include "host/compat.h"
#include "tls_shared.h"
#include "connection/connection.h"

/* In shared memory. `lock` guards the list. */
struct shared {
	gen_lock_t lock;
	struct tls_connection *first;
	atomic_int count;
};

static struct shared *shared;

int tls_list_start(void)
{
	shared = tls_shared_new_locked(sizeof(*shared));
	return shared != NULL ? 0 : -1;
}

void tls_list_add(struct tls_connection *t)
{
	lock_get(&shared->lock);
	t->next = shared->first;
	if (t->next != NULL)
		t->next->previous = t;
	shared->first = t;
	lock_release(&shared->lock);
	atomic_fetch_add(&shared->count, 1);
}

void tls_list_remove(struct tls_connection *t)
{
	lock_get(&shared->lock);
	if (t->previous != NULL)
		t->previous->next = t->next;
	else
		shared->first = t->next;
	if (t->next != NULL)
		t->next->previous = t->previous;
	lock_release(&shared->lock);
	atomic_fetch_sub(&shared->count, 1);
}

void tls_list_walk(int (*each)(struct tls_connection *t, void *arg), void *arg)
{
	lock_get(&shared->lock);
	for (struct tls_connection *t = shared->first; t != NULL && each(t, arg) == 0; t = t->next)
		;
	lock_release(&shared->lock);
}

int tls_list_count(void)
{
	return shared != NULL ? atomic_load(&shared->count) : 0;
}

/* Passes our reference to C to tcp_main with the request to close C. Returns 0 or -1. */
static int ask_to_close(struct tcp_connection *c)
{
	long request[2] = {(long)c, CONN_EOF};

	if (unix_tcp_sock >= 0 && send_all(unix_tcp_sock, request, sizeof(request)) > 0)
		return 0;
	c->state = S_CONN_BAD; /* the next process that touches it closes it */
	c->timeout = get_ticks_raw();
	return -1;
}

/* The last reference goes to tcp_main, which alone may free a connection. */
void tls_list_put(struct tcp_connection *c)
{
	if (!tcpconn_put(c))
		return;
	tcpconn_ref(c);
	if (ask_to_close(c) != 0)
		LM_ERR("connection %d cannot be freed in this process\n", c->id);
}

static struct tls_connection *tls_of(const struct tcp_connection *c)
{
	return c->type == PROTO_TLS || c->type == PROTO_WSS ? c->extra_data : NULL;
}

int tls_list_kill(int id)
{
	struct tcp_connection *c = tcpconn_get(id, NULL, 0, NULL, 0);

	if (c == NULL)
		return -1;
	if (tls_of(c) == NULL) {
		tls_list_put(c);
		return -1;
	}
	if (ask_to_close(c) != 0)
		tls_list_put(c);
	return 0;
}

struct tls_connection *tls_list_hold(int id)
{
	struct tcp_connection *c = id != 0 ? tcpconn_get(id, NULL, 0, NULL, 0) : NULL;

	if (c == NULL)
		return NULL;
	lock_get(&c->write_lock);
	if (tls_of(c) != NULL)
		return c->extra_data;
	lock_release(&c->write_lock);
	tls_list_put(c);
	return NULL;
}

void tls_list_release(struct tls_connection *t)
{
	struct tcp_connection *c = t->tcp;

	lock_release(&c->write_lock);
	tls_list_put(c);
}
