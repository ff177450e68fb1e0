/*
 * connection/outgoing.c - what the script chooses for an outgoing connection, and whether it allows it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * xavps and the id of tls_set_connect_server_id() are private to the process that sends. So they are read when the
 * connection is opened and kept with it, where the process that finishes the handshake finds them.
 */
#include <string.h>

#include "core/action.h"
#include "core/fmsg.h"
#include "core/kemi.h"
#include "core/onsend.h"
#include "core/receive.h"
#include "core/route.h"
#include "core/script_cb.h"
#include "core/xavp.h"

#include "connection/outgoing.h"
#include "host/compat.h"
#include "tls_mem.h"
#include "settings/table.h"
#include "settings/runtime.h"
#include "settings/hostname.h"

#define EVENT_NAME "tls:connection-out"
#define ID_SIZE    128
#define NAME_MAX_SIZE \
	255 /* of a host name: RFC 1035 section 2.3.4, and the limit of server_name in TLS libraries */

const char TLS_OUTGOING_NO_MEMORY[] = "no shared memory; give Kamailio more with -m";

static int event_route = -1;
static char connect_id[ID_SIZE]; /* this process's, "": none */
static unsigned
	local_number; /* the host's last message number if the route of a local request chose the id, else 0 */
static bool script_chooses; /* by tls_set_connect_server_id() */

/*
 * Before the script runs for another message: an id for which no connection was opened must not apply to
 * another message. It is not forgotten after a run, because a local request is sent after its event route. No
 * callback tells of the next local request, but the host gives it a number before its route runs: see
 * forget_old_id().
 */
static int forget_connect_id(struct sip_msg *msg, unsigned flags, void *arg)
{
	(void)msg;
	(void)flags;
	(void)arg;
	connect_id[0] = '\0';
	return 1;
}

int tls_outgoing_start(void)
{
	event_route = route_lookup(&event_rt, (char *)(uintptr_t)EVENT_NAME);
	if (event_route >= 0 && event_rt.rlist[event_route] == NULL)
		event_route = -1;
	if (register_script_cb(forget_connect_id, PRE_SCRIPT_CB | REQUEST_CB | FAILURE_CB | ONREPLY_CB, NULL) ==
	    0)
		return 0;
	LM_ERR("no memory for a script callback\n");
	return -1;
}

int tls_outgoing_set_id(const char *id, size_t length)
{
	if (memchr(id, '\0', length) != NULL) {
		LM_ERR("the server id \"%s\" has a zero byte; set it to the server_id of a section\n", id);
		return -1;
	}
	if (length >= sizeof(connect_id)) {
		LM_ERR("the server id \"%.*s\" is longer than %d bytes\n", (int)length, id, ID_SIZE - 1);
		return -1;
	}
	if (memchr(id, '\0', length) != NULL) {
		LM_ERR("the server id \"%s...\" has a zero byte in it\n", id);
		return -1;
	}
	memcpy(connect_id, id, length);
	connect_id[length] = '\0';
	local_number = is_route_type(LOCAL_ROUTE) ? inc_msg_no() : 0;
	return 0;
}

/*
 * Forgets the id of a local request once the host has given a number to another message. Asking for the last
 * number takes one.
 */
static void forget_old_id(void)
{
	unsigned now;

	if (connect_id[0] == '\0' || local_number == 0)
		return;
	now = inc_msg_no();
	if (now != local_number + 1)
		connect_id[0] = '\0';
	local_number = now;
}

/* The name of the xavp that holds a connection's profile, NULL: none is configured. */
static char *xavp_name(void)
{
	char *name = tls_runtime_options()->xavp_cfg;

	return name != NULL && name[0] != '\0' ? name : NULL;
}

/* The field NAME of that xavp; empty when it is not set. */
static str from_xavp(const char *name)
{
	str group = {xavp_name(), (int)strlen(xavp_name())};
	str field = {(char *)(uintptr_t)name, (int)strlen(name)};
	sr_xavp_t *found = xavp_get_child_with_sval(&group, &field);

	return found != NULL && found->val.v.s.len > 0 ? found->val.v.s : (str){NULL, 0};
}

/*
 * What W has that cannot be the name of a section or a server, NULL: nothing. A script may have it from the
 * network.
 */
static const char *fault_of(const struct tls_wish *w)
{
	struct tls_hostname host;

	if (w->name_length > 0 && memchr(w->name, '\0', w->name_length) != NULL)
		return "the server_name in the xavp of xavp_cfg has a zero byte; set it to a host name";
	if (w->name_length > NAME_MAX_SIZE)
		return "the server_name in the xavp of xavp_cfg is longer than 255 bytes; set it to a host name";
	if (w->name_length > 0 && !tls_hostname_read(w->name, w->name_length, &host))
		return "the server_name in the xavp of xavp_cfg is neither a host name nor an address; set it to one";
	if (w->id_length > 0 && memchr(w->id, '\0', w->id_length) != NULL)
		return "the server_id in the xavp of xavp_cfg has a zero byte; set it to the server_id of a section";
	return NULL;
}

void tls_outgoing_wish(struct tls_wish *out)
{
	str name = {NULL, 0}, id = {NULL, 0};

	if (xavp_name() != NULL) {
		name = from_xavp("server_name");
		id = from_xavp("server_id");
	}
	forget_old_id();
	if (connect_id[0] != '\0')
		id = (str){connect_id, (int)strlen(connect_id)};
	*out = (struct tls_wish){id.s, (size_t)id.len, name.s, (size_t)name.len, NULL};
	out->fault = fault_of(out);
}

/* A shared copy, NULL when LENGTH is 0. Clears *OK without memory. */
static char *copy_of(const char *text, size_t length, bool *ok)
{
	char *copy = length > 0 ? tls_mem_shared_alloc(length + 1) : NULL;

	if (copy != NULL)
		memcpy(copy, text, length);
	else if (length > 0)
		*ok = false;
	return copy;
}

const char *tls_outgoing_choose(char **server_name, char **server_id)
{
	struct tls_wish wish;
	bool ok = true;

	*server_name = *server_id = NULL;
	tls_outgoing_wish(&wish);
	if (wish.fault != NULL) {
		connect_id[0] = '\0';
		return wish.fault;
	}
	*server_name = copy_of(wish.name, wish.name_length, &ok);
	*server_id = copy_of(wish.id, wish.id_length, &ok);
	connect_id[0] = '\0';
	if (ok)
		return NULL;
	tls_mem_shared_free(*server_name);
	tls_mem_shared_free(*server_id);
	*server_name = *server_id = NULL;
	return TLS_OUTGOING_NO_MEMORY;
}

void tls_outgoing_may_choose(void)
{
	script_chooses = true;
}

bool tls_outgoing_can_choose(void)
{
	return script_chooses || xavp_name() != NULL || sr_kemi_eng_get() != NULL;
}

/* A message that stands for the connection in the event route. NULL without memory. */
static struct sip_msg *event_message(const struct tcp_connection *c)
{
	struct sip_msg *msg = faked_msg_init() == 0 ? faked_msg_next() : NULL;

	if (msg != NULL)
		msg->rcv = c->rcv;
	return msg;
}

/* Where the connection goes and where it comes from: what the host's $sndto(), $sndfrom() and $snd() read. */
struct outgoing_info {
	struct dest_info dst;
	union sockaddr_union to;
	onsend_info_t info;
};

/* Our socket that C is sent from; a host that connects before it looks for the socket notes it only later. */
static struct socket_info *own_socket(const struct tcp_connection *c)
{
	if (c->rcv.bind_address != NULL)
		return c->rcv.bind_address;
	return c->rcv.src_ip.af == AF_INET6 ? sendipv6_tls : sendipv4_tls;
}

static void describe(const struct tcp_connection *c, struct sip_msg *msg, struct outgoing_info *out)
{
	struct ip_addr ip = c->rcv.src_ip;

	memset(out, 0, sizeof(*out));
	init_su(&out->to, &ip, c->rcv.src_port);
	init_dest_info(&out->dst);
	out->dst.to = out->to;
	out->dst.send_sock = own_socket(c);
	out->dst.proto = c->rcv.proto;
	out->info = (onsend_info_t){.dst = &out->dst,
	                            .to = &out->to,
	                            .send_sock = out->dst.send_sock,
	                            .buf = (char *)(uintptr_t) "", /* nothing is encrypted yet */
	                            .msg = msg};
}

/* Runs the script's handler for MSG. Returns whether it called drop(). */
static bool run_handler(struct sip_msg *msg, sr_kemi_eng_t *engine, str *callback)
{
	run_act_ctx_t *outer = sr_kemi_act_ctx_get();
	str event = str_init(EVENT_NAME);
	struct run_act_ctx ctx;
	int result;

	init_run_actions_ctx(&ctx);
	if (event_route >= 0) {
		result = run_actions(&ctx, event_rt.rlist[event_route], msg);
	} else {
		sr_kemi_act_ctx_set(&ctx);
		result = sr_kemi_route(engine, msg, EVENT_ROUTE, callback, &event);
		sr_kemi_act_ctx_set(outer);
	}
	if (result < 0 && event_route < 0)
		LM_ERR("event_callback \"%s\" failed for %s\n", callback->s, EVENT_NAME);
	return (ctx.run_flags & DROP_R_F) != 0;
}

bool tls_outgoing_allowed(struct tcp_connection *c)
{
	sr_kemi_eng_t *engine = sr_kemi_eng_get();
	str callback = {tls_runtime_options()->event_callback, 0};
	int outer = get_route_type();
	struct ip_addr peer = c->rcv.src_ip;
	onsend_info_t *outer_info = p_onsend;
	struct outgoing_info outgoing;
	struct sip_msg *msg;
	bool dropped;

	callback.len = callback.s != NULL ? (int)strlen(callback.s) : 0;
	if (event_route < 0 && (engine == NULL || callback.len == 0))
		return true;
	msg = event_message(c);
	if (msg == NULL) { /* the script may have a reason to forbid the connection */
		LM_ERR("no private memory to ask the script (" EVENT_NAME
		       ") about a connection to %s port %u, so it is not made; give Kamailio more with -M\n",
		       ip_addr2a(&peer), c->rcv.src_port);
		return false;
	}
	describe(c, msg, &outgoing);
	set_route_type(EVENT_ROUTE);
	p_onsend = &outgoing.info;
	dropped = run_handler(msg, engine, &callback);
	p_onsend = outer_info;
	set_route_type(outer);
	return !dropped;
}
