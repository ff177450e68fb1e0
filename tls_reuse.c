/*
 * tls_reuse.c - on which of our connections a message may go out
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * A connection that was opened for one server_id and server_name shows that profile's certificate, and the
 * other side's was checked for that name: a message for which the script has chosen otherwise must not go out
 * on it. From 6.1 on the host asks about each connection that it finds. Up to 6.0 it goes by address and port
 * alone, but tells of each message just before it looks, in the sender's process. There the message is given
 * the id of the connection that suits it, or else those that don't are taken out of the host's sight: their
 * entries in its table of addresses get port 0, which nobody asks for. Then the host opens a new one. What is
 * out of sight is still found by its id, for replies, and here, by our own table of addresses.
 *
 * Between that and its look another process may open one to the same address, for another profile, and the
 * host takes it. So the message is looked at once more when it is to be encrypted, kept back where it must
 * not go, and sent again when the host has done with it.
 */
#include <string.h>
#include <strings.h>

#include "tls_compat.h"

#include "core/kemi.h"
#include "core/tcp_server.h"

#include "tls.h"

#define BUCKETS  1024
#define HIDE_MAX 10000 /* connections to one address that one message may take out of sight */
#define SEND_MAX 100   /* how often a message is sent that finds a new unsuitable connection each time */

/*
 * In shared memory. `lock` guards the table: the connections that we have opened, by their peers' addresses.
 */
struct shared {
	gen_lock_t lock;
	struct tls_connection *buckets[BUCKETS];
};

static struct shared *shared;

/* ---- what suits what */

/* Whether TEXT, NULL or empty for nothing, is the LENGTH bytes at OTHER. */
static bool is_same(const char *text, const char *other, size_t length,
                    int (*compare)(const char *, const char *, size_t))
{
	size_t own = text != NULL ? strlen(text) : 0;

	return own == length && (own == 0 || compare(text, other, own) == 0);
}

/*
 * Whether T may carry a message for which the script wants W. One that the peer has opened has no profile of
 * ours.
 */
static bool suits(const struct tls_connection *t, const struct tls_wish *w)
{
	return t->role == TLS_SERVER || (is_same(t->server_id, w->id, w->id_length, strncmp) &&
	                                 is_same(t->server_name, w->name, w->name_length, strncasecmp));
}

int tls_reuse_match(struct tcp_connection *c, struct ip_addr *ip, unsigned short port)
{
	const struct tls_connection *t = c->extra_data;
	struct tls_wish wish;

	(void)ip;
	(void)port;
	tls_outgoing_wish(&wish);
	return t == NULL || suits(t, &wish);
}

int tls_reuse_match_two(struct tcp_connection *a, struct tcp_connection *b)
{
	const struct tls_connection *one = a->extra_data, *two = b->extra_data;
	struct tls_wish wish = {NULL, 0, NULL, 0};

	if (one == NULL || two == NULL)
		return 1;
	wish.id = one->server_id;
	wish.id_length = wish.id != NULL ? strlen(wish.id) : 0;
	wish.name = one->server_name;
	wish.name_length = wish.name != NULL ? strlen(wish.name) : 0;
	return suits(two, &wish);
}

/* ---- the message that this process is sending */

/* Where a message goes. */
struct target {
	struct ip_addr ip, local;
	unsigned short port, local_port; /* local: 0: any */
	bool from_local;                 /* from the address `local` only */
	union sockaddr_union from;
};

/* The message that this process is sending, from our choice on. */
static struct {
	struct target target;
	bool chosen; /* and neither encrypted yet nor a connection opened for it */
	bool kept;   /* it came to a connection that does not suit it */
} message;

/* ---- our table */

static struct tls_connection **bucket_of(const struct ip_addr *ip, unsigned short port)
{
	unsigned hash = port;

	for (unsigned i = 0; i < ip->len; i++)
		hash = hash * 31 + ip->u.addr[i];
	return &shared->buckets[hash % BUCKETS];
}

void tls_reuse_add(struct tls_connection *t)
{
	struct tls_connection **bucket = bucket_of(&t->tcp->rcv.src_ip, t->tcp->rcv.src_port);

	message.chosen = false;
	lock_get(&shared->lock);
	t->next_to_peer = *bucket;
	if (t->next_to_peer != NULL)
		t->next_to_peer->link_to_peer = &t->next_to_peer;
	t->link_to_peer = bucket;
	*bucket = t;
	lock_release(&shared->lock);
}

void tls_reuse_remove(struct tls_connection *t)
{
	if (t->link_to_peer == NULL)
		return;
	lock_get(&shared->lock);
	*t->link_to_peer = t->next_to_peer;
	if (t->next_to_peer != NULL)
		t->next_to_peer->link_to_peer = t->link_to_peer;
	lock_release(&shared->lock);
}

/* Whether C can take a message to G. */
static bool reaches(const struct tcp_connection *c, const struct target *g)
{
	return c->state >= S_CONN_OK && c->state != S_CONN_EOF && !tcpconn_close_after_send(c) &&
	       c->rcv.src_port == g->port && ip_addr_cmp(&c->rcv.src_ip, &g->ip) &&
	       (!g->from_local || (ip_addr_cmp(&c->rcv.dst_ip, &g->local) &&
	                           (g->local_port == 0 || c->rcv.dst_port == g->local_port)));
}

/* The id of a connection to G that suits W, 0: there is none. */
static int find_suitable(const struct target *g, const struct tls_wish *w)
{
	struct tls_connection *t;
	int id = 0;

	lock_get(&shared->lock);
	for (t = *bucket_of(&g->ip, g->port); t != NULL && id == 0; t = t->next_to_peer)
		if (reaches(t->tcp, g) && suits(t, w))
			id = t->id;
	lock_release(&shared->lock);
	return id;
}

/* ---- the host's table, up to 6.0 */

static void set_target(const struct dest_info *dst, struct target *g)
{
	union sockaddr_union to = dst->to;

	*g = (struct target){.port = su_getport(&to)};
	su2ip_addr(&g->ip, &to);
	if ((dst->send_flags.f & SND_F_FORCE_SOCKET) == 0 || dst->send_sock == NULL)
		return;
	g->from_local = true;
	g->from = dst->send_sock->su;
	g->local_port = cfg_get(tcp, tcp_cfg, reuse_port) ? dst->send_sock->port_no : 0;
	su_setport(&g->from, g->local_port);
	su2ip_addr(&g->local, &g->from);
}

/* The connection that the host would take, with a reference; NULL: it would open one. */
static struct tcp_connection *host_choice(const struct dest_info *dst, struct target *g)
{
	return tls_compat_find(&g->ip, g->port, g->from_local ? &g->from : NULL,
	                       dst->send_sock != NULL ? dst->send_sock->port_no : 0);
}

static bool exists(int id)
{
	struct tcp_connection *c = id != 0 ? tcpconn_get(id, NULL, 0, NULL, 0) : NULL;

	if (c != NULL)
		tls_list_put(c);
	return c != NULL;
}

static void hide(struct tcp_connection *c, unsigned short port)
{
	TCPCONN_LOCK;
	for (int i = 0; i < c->aliases; i++)
		if (c->con_aliases[i].port == port)
			c->con_aliases[i].port = 0;
	TCPCONN_UNLOCK;
}

/*
 * Takes what the host would choose, and does not suit W, out of its sight, until what is left suits. Returns
 * whether it is left with a connection.
 */
static bool hide_unsuitable(const struct dest_info *dst, struct target *g, const struct tls_wish *w)
{
	for (int i = 0; i < HIDE_MAX; i++) {
		struct tcp_connection *c = host_choice(dst, g);
		const struct tls_connection *t = c != NULL && c->type == PROTO_TLS ? c->extra_data : NULL;
		bool suitable = t == NULL || suits(t, w);

		if (c == NULL)
			return false;
		if (!suitable)
			hide(c, g->port);
		tls_list_put(c);
		if (suitable)
			return true;
	}
	return true;
}

/* Leads the host to a connection that suits the message to DST, or to a new one. */
static void choose(struct dest_info *dst)
{
	struct tls_wish wish;

	set_target(dst, &message.target);
	tls_outgoing_wish(&wish);
	if (!hide_unsuitable(dst, &message.target, &wish))
		dst->id = find_suitable(&message.target, &wish);
	message.chosen = true;
	message.kept = false;
}

/* Just before the host looks for the connection to send a message on. */
static int on_message_out(sr_event_param_t *event)
{
	struct dest_info *dst = event->dst;

	message.chosen = message.kept = false;
	if (dst != NULL && dst->proto == PROTO_TLS && su_getport(&dst->to) != 0 && !exists(dst->id))
		choose(dst);
	return 0;
}

bool tls_reuse_keeps_back(const struct tls_connection *t)
{
	const struct receive_info *at = &t->tcp->rcv;
	struct tls_wish wish;

	if (!message.chosen || at->src_port != message.target.port ||
	    !ip_addr_cmp(&at->src_ip, &message.target.ip))
		return false;
	message.chosen = false;
	tls_outgoing_wish(&wish);
	message.kept = !suits(t, &wish);
	return message.kept;
}

void tls_reuse_forget(void)
{
	message.chosen = message.kept = false;
}

/* Behind a message that is sent, for all that the host knows. It holds no lock. */
static int on_message_sent(sr_event_param_t *event)
{
	const sr_net_info_t *sent = event->data;
	struct dest_info *dst = sent->dst;
	bool failed = false;

	for (int i = 0; i < SEND_MAX && message.kept && !failed; i++) {
		dst->id = 0;
		choose(dst);
		failed = tcp_send(dst, message.target.from_local ? &message.target.from : NULL, sent->data.s,
		                  (unsigned)sent->data.len) < 0;
	}
	if (failed || message.kept)
		LM_ERR(
			"a message to %s port %u was not sent: no connection for its server_id and server_name could be opened\n",
			ip_addr2a(&message.target.ip), message.target.port);
	message.chosen = message.kept = false;
	return 0;
}

/* ---- start */

int tls_reuse_start(const struct tls_options *o)
{
	if (o->match_profile > 0 && tls_compat_host_asks())
		tls_compat_ask_about_profiles();
	shared = tls_shared_alloc(sizeof(*shared));
	if (shared != NULL && lock_init(&shared->lock) != NULL)
		return 0;
	LM_ERR("no shared memory; give the host more with -m\n");
	return -1;
}

int tls_reuse_watch(const struct tls_options *o)
{
	if (o->match_profile == 0 || tls_compat_host_asks() || !tls_outgoing_can_choose())
		return 0;
	if (sr_event_register_cb(SREV_NET_DATA_OUT, on_message_out) == 0 &&
	    sr_event_register_cb(SREV_NET_DATA_SENT, on_message_sent) == 0)
		return 0;
	LM_ERR("the host has no room for one more listener to outgoing messages: load fewer modules that change "
	       "messages as they are sent, or set match_profile to 0\n");
	return -1;
}
