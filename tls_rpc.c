/*
 * tls_rpc.c - commands for operators
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <stdlib.h>
#include <string.h>

#include "tls_compat.h"

#include "core/rpc_lookup.h"

#include "tls.h"

#define PROBLEMS_SIZE 1024

/* ---- tls.reload */

/* The errors of R in one text, as many as fit. */
static const char *join_errors(const struct tls_report *r, char *out, size_t size)
{
	size_t used = 0;

	out[0] = '\0';
	for (const struct tls_problem *p = r->first; p != NULL && used < size; p = p->next) {
		int n = p->severity != TLS_ERROR
		            ? 0
		            : snprintf(out + used, size - used, "%s%s", used > 0 ? "; " : "", p->text);

		used += n > 0 ? (size_t)n : 0;
	}
	return out;
}

static void rpc_reload(rpc_t *rpc, void *ctx)
{
	struct tls_report r;
	char text[PROBLEMS_SIZE];
	int number;

	tls_report_init(&r);
	number = tls_load_reload(&r);
	tls_load_log(&r);
	if (number < 0) {
		LM_ERR("reload failed, the configuration in use stays\n");
		rpc->fault(ctx, 500, "Reload failed, nothing has changed: %s", join_errors(&r, text, sizeof(text)));
	} else {
		LM_NOTICE("reloaded: configuration %d serves new connections\n", number);
		rpc->rpl_printf(ctx, "Ok. TLS configuration reloaded.");
	}
	tls_report_clear(&r);
}

/* ---- tls.list */

struct ids {
	int *id;
	int count, room;
};

static int count_one(struct tls_connection *t, void *arg)
{
	(void)t;
	++*(int *)arg;
	return 0;
}

static int note_id(struct tls_connection *t, void *arg)
{
	struct ids *ids = arg;

	if (ids->count == ids->room)
		return 1;
	ids->id[ids->count++] = t->id;
	return 0;
}

/* The ids of all connections; those that come meanwhile may be missing. Returns 0, -1 without memory. */
static int collect_ids(struct ids *ids)
{
	ids->count = ids->room = 0;
	tls_server_walk(count_one, &ids->room);
	ids->id = calloc((size_t)ids->room + 1, sizeof(*ids->id));
	if (ids->id == NULL)
		return -1;
	tls_server_walk(note_id, ids);
	return 0;
}

static const char *phase_word(const struct tls_connection *t)
{
	switch (t->phase) {
	case TLS_PHASE_NEW: return t->role == TLS_SERVER ? "accepted, silent" : "new";
	case TLS_PHASE_HANDSHAKE: return t->role == TLS_SERVER ? "tls_accept" : "tls_connect";
	case TLS_PHASE_ESTABLISHED: return "established";
	case TLS_PHASE_CLOSED: return "closed";
	}
	return "unknown";
}

static const char *cipher_text(const struct tls_connection *t, char *out, int size)
{
	const SSL_CIPHER *cipher = t->ssl != NULL ? SSL_get_current_cipher(t->ssl) : NULL;
	char *end;

	if (cipher == NULL || SSL_CIPHER_description(cipher, out, size) == NULL)
		return "unknown";
	end = out + strlen(out);
	while (end > out && (end[-1] == '\n' || end[-1] == ' '))
		*--end = '\0';
	return out;
}

/* T is held. */
static int add_connection(rpc_t *rpc, void *ctx, const struct tls_connection *t)
{
	const struct tcp_connection *c = t->tcp;
	struct ip_addr source = c->rcv.src_ip, local = c->rcv.dst_ip;
	char from[IP_ADDR_MAX_STR_SIZE + 1], to[IP_ADDR_MAX_STR_SIZE + 1], cipher[256];
	unsigned now = get_ticks_raw();
	int left = TICKS_GT(c->timeout, now) ? (int)TICKS_TO_S(c->timeout - now) : 0;
	void *s;

	from[ip_addr2sbuf(&source, from, sizeof(from) - 1)] = '\0';
	to[ip_addr2sbuf(&local, to, sizeof(to) - 1)] = '\0';
	if (rpc->add(ctx, "{", &s) < 0)
		return -1;
	return rpc->struct_add(s, "ddsdsdsdddsssdd", "id", t->id, "timeout", left, "src_ip", from, "src_port",
	                       (int)c->rcv.src_port, "dst_ip", to, "dst_port", (int)c->rcv.dst_port, "cipher",
	                       cipher_text(t, cipher, sizeof(cipher)), "ct_wq_size", (int)t->queued, "enc_rd_buf",
	                       t->input != NULL ? (int)t->input->used : 0, "flags", (int)c->flags, "state",
	                       phase_word(t), "protocol",
	                       t->ssl != NULL && t->phase == TLS_PHASE_ESTABLISHED ? SSL_get_version(t->ssl) : "",
	                       "domain", t->use.domain != NULL ? t->use.domain->name : "", "generation",
	                       t->generation != NULL ? tls_generation_number(t->generation) : 0, "age",
	                       (int)TICKS_TO_S(now - t->started));
}

static void rpc_list(rpc_t *rpc, void *ctx)
{
	struct ids ids;

	if (collect_ids(&ids) != 0) {
		rpc->fault(ctx, 500, "No memory");
		return;
	}
	for (int i = 0; i < ids.count; i++) {
		struct tls_connection *t = tls_server_hold(ids.id[i]);
		int added = t != NULL ? add_connection(rpc, ctx, t) : 0;

		if (t != NULL)
			tls_server_release(t);
		if (added < 0)
			break;
	}
	free(ids.id);
}

/* ---- tls.info, tls.kill */

static void rpc_info(rpc_t *rpc, void *ctx)
{
	struct tls_generation *g = tls_generation_pin();
	struct tls_server_counts counts;
	struct tls_mem_stats mem;
	struct tcp_gen_info tcp;
	int number = g != NULL ? tls_generation_number(g) : 0;
	void *s;

	tls_generation_unpin(g);
	tcp_get_info(&tcp);
	tls_server_get_counts(&counts);
	tls_mem_get_stats(&mem);
	if (rpc->add(ctx, "{", &s) < 0)
		return;
	rpc->struct_add(s, "dddddddss", "max_connections", tcp.tls_max_connections, "opened_connections",
	                tcp.tls_connections_no, "clear_text_write_queued_bytes", (int)counts.queued, "generation",
	                number, "shared_blocks", (int)mem.blocks, "shared_bytes", (int)mem.bytes,
	                "shared_refused", (int)mem.refused, "library", OpenSSL_version(OPENSSL_VERSION),
	                "built_with", OPENSSL_VERSION_TEXT);
}

static void rpc_kill(rpc_t *rpc, void *ctx)
{
	int id;

	if (rpc->scan(ctx, "d", &id) < 1) {
		rpc->fault(ctx, 400, "Which one? Give the id that tls.list shows");
		return;
	}
	if (tls_server_kill(id) != 0)
		rpc->fault(ctx, 404, "No TLS connection has the id %d", id);
	else
		rpc->rpl_printf(ctx, "Ok. TLS connection %d is being closed.", id);
}

/* ---- the table */

static const char *reload_doc[] = {"Reads the TLS configuration and its files again", NULL};
static const char *list_doc[] = {"Lists the TLS connections", NULL};
static const char *info_doc[] = {"Numbers of connections, configuration, memory, versions", NULL};
static const char *kill_doc[] = {"Closes the TLS connection with the given id", NULL};

static rpc_export_t commands[] = {
	{"tls.reload", rpc_reload, reload_doc, 0},
	{"tls.list", rpc_list, list_doc, RET_ARRAY},
	{"tls.info", rpc_info, info_doc, 0},
	{"tls.kill", rpc_kill, kill_doc, 0},
	{NULL, NULL, NULL, 0},
};

int tls_rpc_start(void)
{
	if (rpc_register_array(commands) == 0)
		return 0;
	LM_ERR("the RPC commands tls.* exist already: is another TLS module loaded?\n");
	return -1;
}
