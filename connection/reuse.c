/*
 * connection/reuse.c - on which of our connections a message may go out
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * A connection that was opened for one server_id and server_name shows that profile's certificate, and the
 * other side's was checked for that name: a message for which the script has chosen otherwise must not go out
 * on it. Nor may one that is for a section that verifies its servers go out on a connection that the peer has
 * opened, unless that peer is good by the section, too (connection/verdict.c).
 *
 * The host tells of each message just before it looks for a connection, in the sender's process. What it would
 * take is looked at there. From 6.1 on it asks about each TLS connection that it finds, which is when those
 * that do not suit are passed over. Up to 6.0 it goes by address and port alone. There the message is given
 * the id of the connection that suits it, or else those that don't are taken out of the host's sight: their
 * entries in its table of addresses get port 0, which nobody asks for. Then the host opens a new one. What is
 * out of sight is still found by its id, for replies, and here, by our own table of addresses. The same is
 * done, on all hosts, with connections of other kinds: the host may take one that speaks no TLS.
 *
 * Between that and its look another process may open one to the same address, for another profile, and the
 * host takes it. So the message is looked at once more when it is to be encrypted, kept back where it must
 * not go, and sent again when the host has done with it.
 */
#include <stdatomic.h>
#include <string.h>
#include <strings.h>

#include "core/kemi.h"
#include "core/tcp_server.h"

#include "connection/reuse.h"
#include "tls.h"
#include "host/compat.h"
#include "tls_shared.h"
#include "settings/table.h"
#include "settings/runtime.h"
#include "tls_domain_types.h"
#include "connection/connection.h"
#include "connection/list.h"
#include "connection/outgoing.h"
#include "connection/verdict.h"

#define BUCKETS  1024
#define HIDE_MAX 10000 /* connections to one address that one message may hide */
#define SEND_MAX 100   /* how often one message is sent again, each time to a new unsuitable connection */
#define NOBODY   (-1)  /* the id of no connection */
#define ASK_MAX  100   /* hidden connections that are verified for one message */

/*
 * In shared memory. `lock` guards the table: the connections that we opened, by their peers' addresses, and
 * those that their peers opened and that are hidden from the host.
 */
struct shared {
	gen_lock_t lock;
	atomic_int hidden; /* how many of the latter */
	struct tls_connection *buckets[BUCKETS];
};

static struct shared *shared;

/* ---- what suits what */

/* Whether C is a connection of ours, encrypted, whatever goes over it. */
static bool is_tls(const struct tcp_connection *c)
{
	return c->type == PROTO_TLS || c->type == PROTO_WSS;
}

/* Whether TEXT, NULL or empty for nothing, is the LENGTH bytes at OTHER. */
static bool is_same(const char *text, const char *other, size_t length,
                    int (*compare)(const char *, const char *, size_t))
{
	size_t own = text != NULL ? strlen(text) : 0;

	return own == length && (own == 0 || compare(text, other, own) == 0);
}

/* Whether T, which we have opened, was opened for what W wants. */
static bool suits(const struct tls_connection *t, const struct tls_wish *w)
{
	return w->fault == NULL && is_same(t->server_id, w->id, w->id_length, strncmp) &&
	       is_same(t->server_name, w->name, w->name_length, strncasecmp);
}

/* ---- the message that this process is sending */

/* Where a message goes. */
struct target {
	struct ip_addr ip, local;
	unsigned short port, local_port; /* local: 0: any */
	bool from_local;                 /* from the address `local` only */
	union sockaddr_union from;
};

/* The message that this process is sending, from tls_verdict_begin_demand() on. */
static struct {
	struct target target;
	struct tls_demand demand; /* what a connection must be that its peer has opened */
	int protocol;             /* that the host has for it */
	bool looking;             /* the choice is being made */
	bool chosen; /* it is made, and the message is neither encrypted yet nor is a connection opened for it */
	bool kept;   /* the message reached an unsuitable connection and was kept back */
} message;

static bool watching;   /* the host tells of messages before they go out */
static bool can_resend; /* and after */

/* ---- what the host asks, from 6.1 on */

/* The same for T, which its peer opened, and a message that the host may not have announced. */
static bool accepted_will_do(const struct tls_connection *t, const struct tls_wish *w)
{
	if (!watching)
		return true;
	if (!message.looking && !message.chosen)
		return w->id_length == 0 && w->name_length == 0;
	switch (tls_verdict_look(t, &message.demand)) {
	case TLS_VERDICT_GOOD: return true;
	case TLS_VERDICT_BAD: return false;
	case TLS_VERDICT_OPEN: break;
	}
	return message.looking; /* which will find it out */
}

int tls_reuse_match(struct tcp_connection *c, struct ip_addr *ip, unsigned short port)
{
	const struct tls_connection *t = c->extra_data;
	struct tls_wish wish;

	(void)ip;
	(void)port;
	tls_outgoing_wish(&wish);
	return t == NULL || (t->role == TLS_SERVER ? accepted_will_do(t, &wish) : suits(t, &wish));
}

/* A connection that we open is not the same as one that its peer opened: that one was not suitable. */
int tls_reuse_match_two(struct tcp_connection *a, struct tcp_connection *b)
{
	const struct tls_connection *one = a->extra_data, *two = b->extra_data;
	struct tls_wish wish = {.fault = NULL};

	if (one == NULL || two == NULL)
		return 1;
	if (two->role == TLS_SERVER)
		return one->role == TLS_SERVER;
	wish.id = one->server_id;
	wish.id_length = wish.id != NULL ? strlen(wish.id) : 0;
	wish.name = one->server_name;
	wish.name_length = wish.name != NULL ? strlen(wish.name) : 0;
	return suits(two, &wish);
}

/* ---- our table */

static struct tls_connection **bucket_of(const struct ip_addr *ip, unsigned short port)
{
	unsigned hash = port;

	for (unsigned i = 0; i < ip->len; i++)
		hash = hash * 31 + ip->u.addr[i];
	return &shared->buckets[hash % BUCKETS];
}

/* Adds T to the table, as leading to IP and PORT. The lock is held. */
static void link_in(struct tls_connection *t, const struct ip_addr *ip, unsigned short port)
{
	struct tls_connection **bucket = bucket_of(ip, port);

	t->peer_port = port;
	t->next_to_peer = *bucket;
	if (t->next_to_peer != NULL)
		t->next_to_peer->link_to_peer = &t->next_to_peer;
	t->link_to_peer = bucket;
	*bucket = t;
}

void tls_reuse_add(struct tls_connection *t)
{
	message.chosen = false;
	lock_get(&shared->lock);
	link_in(t, &t->tcp->rcv.src_ip, t->tcp->rcv.src_port);
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
	if (t->role == TLS_SERVER)
		atomic_fetch_sub(&shared->hidden, 1);
}

/*
 * Hides T, which its peer opened, from the host at PORT; messages that it is suitable for find it here. The
 * port is the peer's own or an alias; one of the two is enough.
 */
static void add_hidden(struct tls_connection *t, unsigned short port)
{
	lock_get(&shared->lock);
	if (t->link_to_peer == NULL) {
		link_in(t, &t->tcp->rcv.src_ip, port);
		atomic_fetch_add(&shared->hidden, 1);
	}
	lock_release(&shared->lock);
}

/* Whether T can take a message to G. */
static bool reaches(const struct tls_connection *t, const struct target *g)
{
	const struct tcp_connection *c = t->tcp;

	return c->state >= S_CONN_OK && c->state != S_CONN_EOF && !tcpconn_close_after_send(c) &&
	       t->peer_port == g->port && ip_addr_cmp(&c->rcv.src_ip, &g->ip) &&
	       (!g->from_local || (ip_addr_cmp(&c->rcv.dst_ip, &g->local) &&
	                           (g->local_port == 0 || c->rcv.dst_port == g->local_port)));
}

/* What is known of T, in our table, for the message at hand, for which the script wants W. */
static enum tls_verdict known(const struct tls_connection *t, const struct tls_wish *w)
{
	if (t->role == TLS_SERVER)
		return tls_verdict_look(t, &message.demand);
	return suits(t, w) ? TLS_VERDICT_GOOD : TLS_VERDICT_BAD;
}

/* The id of a connection in our table that is good for the message, else of one that may be; 0: none. */
static int find_listed(const struct tls_wish *w, enum tls_verdict *verdict)
{
	const struct target *g = &message.target;
	struct tls_connection *t;
	int id = 0;

	*verdict = TLS_VERDICT_BAD;
	lock_get(&shared->lock);
	for (t = *bucket_of(&g->ip, g->port); t != NULL && *verdict != TLS_VERDICT_GOOD; t = t->next_to_peer) {
		enum tls_verdict one = reaches(t, g) ? known(t, w) : TLS_VERDICT_BAD;

		if (one != TLS_VERDICT_BAD) {
			id = t->id;
			*verdict = one;
		}
	}
	lock_release(&shared->lock);
	return id;
}

/* Whether C, with a reference, which its peer opened, may carry the message. */
static bool reach_verdict(struct tcp_connection *c)
{
	struct tls_connection *t = c->extra_data;

	return t != NULL && tls_verdict_reach(t, &message.demand);
}

static void find_out(int id)
{
	struct tcp_connection *c = tcpconn_get(id, NULL, 0, NULL, 0);

	if (c == NULL)
		return;
	reach_verdict(c);
	tls_list_put(c);
}

/* The id of a connection in our table that suits the message and W, 0: none. */
static int find_suitable(const struct tls_wish *w)
{
	enum tls_verdict verdict;

	for (int i = 0; i < ASK_MAX; i++) {
		int id = find_listed(w, &verdict);

		if (verdict != TLS_VERDICT_OPEN)
			return id;
		find_out(id);
	}
	return 0;
}

/* ---- the host's table */

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
	                       dst->send_sock != NULL ? dst->send_sock->port_no : 0, dst->proto);
}

/* Whether the host asks about C itself, and so passes over it when it does not suit. */
static bool is_asked_about(const struct tcp_connection *c)
{
	return tls_compat_host_asks() && c->type == PROTO_TLS;
}

static void hide(struct tcp_connection *c, unsigned short port)
{
	struct tls_connection *t = is_tls(c) ? c->extra_data : NULL;

	TCPCONN_LOCK;
	for (int i = 0; i < c->aliases; i++)
		if (c->con_aliases[i].port == port)
			c->con_aliases[i].port = 0;
	TCPCONN_UNLOCK;
	if (t != NULL && t->role == TLS_SERVER)
		add_hidden(t, port);
}

/* Whether C, with a reference, may carry the message, for which the script wants W. */
static bool will_do(struct tcp_connection *c, const struct tls_wish *w)
{
	const struct tls_connection *t = is_tls(c) ? c->extra_data : NULL;

	if (t == NULL) /* no TLS, which is right for what goes to a browser without it */
		return message.protocol != PROTO_TLS || message.demand.kind == TLS_DEMAND_NOTHING;
	return t->role == TLS_SERVER ? reach_verdict(c) : suits(t, w);
}

static void say_unsent(void)
{
	LM_ERR(
		"a message to %s port %u was not sent: no connection for its server_id and server_name could be opened\n",
		ip_addr2a(&message.target.ip), message.target.port);
}

/* What the host finds when it looks for a connection. */
enum found { FOUND_NONE, FOUND_GOOD, FOUND_BAD };

/*
 * Hides what the host would choose and does not suit W, until the rest is suitable. BAD: impossible, as newer
 * hosts look for the peer's own port in another table, too.
 */
static enum found hide_unsuitable(const struct dest_info *dst, const struct tls_wish *w)
{
	int last = 0;

	for (int i = 0; i < HIDE_MAX; i++) {
		struct tcp_connection *c = host_choice(dst, &message.target);
		bool good = c != NULL && will_do(c, w), asked = c != NULL && is_asked_about(c),
			 again = c != NULL && c->id == last;

		if (c == NULL)
			return FOUND_NONE;
		last = c->id;
		if (!good && !asked)
			hide(c, message.target.port);
		tls_list_put(c);
		if (good)
			return FOUND_GOOD;
		if (again) /* the host passes over what it asks about */
			return asked ? FOUND_NONE : FOUND_BAD;
	}
	return FOUND_BAD;
}

/* Leads the host to a connection that suits the message to DST and W, to a new one, or nowhere. */
static void lead(struct dest_info *dst, const struct tls_wish *w)
{
	enum found found = hide_unsuitable(dst, w);

	if (found == FOUND_GOOD)
		return;
	dst->id = find_suitable(w);
	if (found == FOUND_NONE || dst->id != 0)
		return;
	dst->id = NOBODY;
	su_setport(&dst->to, 0); /* else it would look by the address, too */
	say_unsent();
}

/* What the message to DST, for which the script wants W, asks of connections that their peers have opened. */
static void begin_demand(const struct dest_info *dst, const struct tls_wish *w)
{
	const struct target *g = &message.target;
	struct tls_domain_query q = {.role = TLS_CLIENT,
	                             .server_id = w->id_length > 0 ? w->id : NULL,
	                             .server_name = w->name_length > 0 ? w->name : NULL,
	                             .server_name_length = w->name_length};

	tls_compat_address(&g->ip, g->port, &q.address);
	if (g->from_local)
		tls_compat_address(&g->local, g->local_port, &q.own);
	else if (dst->send_sock != NULL)
		tls_compat_address(&dst->send_sock->address, 0, &q.own);
	tls_verdict_begin_demand(&message.demand, &q);
	if (w->fault != NULL)
		message.demand.kind = TLS_DEMAND_IMPOSSIBLE;
}

/* Whether there may be connections that do not suit a message that demands nothing. */
static bool may_differ(void)
{
	return tls_outgoing_can_choose() || atomic_load(&shared->hidden) > 0;
}

/* Where the host looks for a browser's connection, it takes the one that it finds, or fails. */
static void check_browser(struct dest_info *dst, const struct tls_wish *w)
{
	struct tcp_connection *c = host_choice(dst, &message.target);

	if (c == NULL)
		return;
	if (!will_do(c, w))
		dst->id = NOBODY;
	tls_list_put(c);
}

/* Leads the host to a connection that suits the message to DST, or to a new one. */
static void choose(struct dest_info *dst)
{
	struct tls_wish wish;

	set_target(dst, &message.target);
	message.protocol = dst->proto;
	tls_outgoing_wish(&wish);
	begin_demand(dst, &wish);
	message.looking = true;
	if (dst->proto != PROTO_TLS && message.demand.kind != TLS_DEMAND_NOTHING)
		check_browser(dst, &wish);
	else if (dst->proto == PROTO_TLS && (message.demand.kind != TLS_DEMAND_NOTHING || may_differ()))
		lead(dst, &wish);
	message.looking = false;
	tls_verdict_end_demand(&message.demand);
	message.chosen = true;
	message.kept = false;
}

/* ---- events */

static bool is_reply(const str *data)
{
	return data != NULL && data->len > 8 && strncmp(data->s, "SIP/2.0 ", 8) == 0;
}

/*
 * Whether DST names an existing connection on which DATA may go: a reply goes where its request came from,
 * and so do requests on connections that we opened.
 */
static bool is_settled(const struct dest_info *dst, const str *data)
{
	struct tcp_connection *c = dst->id != 0 ? tcpconn_get(dst->id, NULL, 0, NULL, 0) : NULL;
	const struct tls_connection *t = c != NULL && is_tls(c) ? c->extra_data : NULL;
	bool settled = c != NULL;

	if (t != NULL && t->role == TLS_SERVER && !is_reply(data)) {
		struct tls_wish wish;

		set_target(dst, &message.target);
		tls_outgoing_wish(&wish);
		begin_demand(dst, &wish);
		settled = reach_verdict(c);
		tls_verdict_end_demand(&message.demand);
	}
	if (c != NULL)
		tls_list_put(c);
	return settled;
}

static bool is_for_us(const struct dest_info *dst)
{
	return dst != NULL && (dst->proto == PROTO_TLS || dst->proto == PROTO_WSS || dst->proto == PROTO_WS) &&
	       su_getport(&dst->to) != 0;
}

/* Just before the host looks for the connection to send a message on. */
static int on_message_out(sr_event_param_t *event)
{
	struct dest_info *dst = event->dst;

	message.chosen = message.kept = false;
	if (!is_for_us(dst) || is_settled(dst, event->data))
		return 0;
	dst->id = 0;
	choose(dst);
	return 0;
}

/* Keeps the message back; the host goes on as if it had been sent. */
static bool keep_back(void)
{
	message.kept = can_resend;
	if (!can_resend)
		say_unsent();
	return true;
}

/*
 * Whether T leads to where the message goes. A connection that its peer opened may do so by an alias, at
 * another port than its own.
 */
static bool leads_there(const struct tls_connection *t)
{
	const struct receive_info *at = &t->tcp->rcv;

	return ip_addr_cmp(&at->src_ip, &message.target.ip) &&
	       (t->role == TLS_SERVER || at->src_port == message.target.port);
}

bool tls_reuse_keeps_back(const struct tls_connection *t)
{
	struct tls_wish wish;
	bool good;

	if (!message.chosen || !leads_there(t))
		return false;
	message.chosen = false;
	if (t->role == TLS_SERVER) {
		good = tls_verdict_holds(t, &message.demand);
	} else {
		tls_outgoing_wish(&wish);
		good = suits(t, &wish);
	}
	return !good && keep_back();
}

void tls_reuse_forget(void)
{
	message.chosen = message.kept = false;
}

/* After a message that the host believes to be sent. The host holds no lock. */
static int on_message_sent(sr_event_param_t *event)
{
	const sr_net_info_t *sent = event->data;
	struct dest_info *dst = sent->dst;
	bool failed = message.kept &&
	              message.protocol != PROTO_TLS; /* only the host packs what is for a browser */

	for (int i = 0; i < SEND_MAX && message.kept && !failed; i++) {
		dst->id = 0;
		choose(dst);
		failed = tcp_send(dst, message.target.from_local ? &message.target.from : NULL, sent->data.s,
		                  (unsigned)sent->data.len) < 0;
	}
	if (failed || message.kept)
		say_unsent();
	message.chosen = message.kept = false;
	return 0;
}

/* ---- start */

int tls_reuse_start(void)
{
	if (tls_runtime_options()->match_profile > 0 && tls_compat_host_asks())
		tls_compat_ask_about_profiles();
	shared = tls_shared_new_locked(sizeof(*shared));
	return shared != NULL ? 0 : -1;
}

/*
 * The host accepts some listeners to messages that go out, and one to messages that have gone out. Without
 * the latter a message that must be kept back is lost. That is rare: another connection to its address must
 * come up just as it is sent.
 */
int tls_reuse_watch(void)
{
	if (tls_runtime_options()->match_profile == 0)
		return 0;
	watching = sr_event_register_cb(SREV_NET_DATA_OUT, on_message_out) == 0;
	can_resend = watching && sr_event_register_cb(SREV_NET_DATA_SENT, on_message_sent) == 0;
	if (can_resend || (watching && (tls_compat_host_asks() || !tls_outgoing_can_choose())))
		return 0;
	LM_ERR("Kamailio accepts no more listeners to outgoing messages; load fewer modules that change "
	       "messages as they are sent, or set match_profile to 0\n");
	return -1;
}
