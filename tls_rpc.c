/*
 * tls_rpc.c - commands for operators
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * They run in whichever process the host's transport lives in. The first fields have the names that
 * the packaged module gives them; fields that it does not have follow.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/rpc_lookup.h"

#include "tls_rpc.h"
#include "tls.h"
#include "host/compat.h"
#include "heap/heap.h"
#include "tls_mem.h"
#include "settings/report.h"
#include "settings/text.h"
#include "tls_config.h"
#include "settings/runtime.h"
#include "connection/stats.h"
#include "tls_domain_types.h"
#include "crypto/crypto.h"
#include "material/cache.h"
#include "tls_domain.h"
#include "tls_generation.h"
#include "tls_reload.h"
#include "connection/connection.h"
#include "connection/list.h"
#include "connection/answer.h"
#include "connection/queue.h"

/* The host's JSON-RPC cuts longer texts of a fault, and kamcmd loses them. */
#define FAULT_SIZE 126

#define SERVER_NAME_SIZE 256 /* RFC 6066 and RFC 1035 */
#define DAY              86400

/*
 * An answer in the making: where it goes, the struct that is being filled, and what the caller wants to see.
 */
struct answer {
	rpc_t *rpc;
	void *ctx;
	void *fields;
	const char *filter; /* NULL: everything */
	bool full;          /* the transport accepts no more */
	bool short_of_memory;
};

#define PUT(a, ...)                                             \
	do {                                                        \
		if ((a)->rpc->struct_add((a)->fields, __VA_ARGS__) < 0) \
			(a)->full = true;                                   \
	} while (0)

static struct answer begin_answer(rpc_t *rpc, void *ctx)
{
	struct answer a = {.rpc = rpc, .ctx = ctx};
	char *filter;

	if (rpc->scan(ctx, "*.s", &filter) == 1)
		a.filter = filter;
	return a;
}

static void begin_struct(struct answer *a)
{
	if (a->rpc->add(a->ctx, "{", &a->fields) < 0)
		a->full = true;
}

static void no_memory(rpc_t *rpc, void *ctx)
{
	rpc->fault(ctx, 500, "No memory for the answer");
}

static void end_answer(const struct answer *a)
{
	if (a->short_of_memory)
		no_memory(a->rpc, a->ctx);
	else if (a->full)
		a->rpc->fault(a->ctx, 500, "Too much for one answer; give a text to list only what contains it");
}

static bool wanted(const struct answer *a, const char *text)
{
	return a->filter == NULL || strstr(text, a->filter) != NULL;
}

/* ---- tls.reload, tls.check */

/* "/etc/x/tls.cfg:3: ..." without the folders. */
static const char *without_folders(const char *text)
{
	const char *end = text[0] == '/' ? strstr(text, ": ") : NULL, *name = text;

	for (const char *p = text; p < end; p++)
		if (*p == '/')
			name = p + 1;
	return name;
}

/* The first error of R, as much as a fault may hold, with a pointer to the rest. */
static void fault_with(rpc_t *rpc, void *ctx, const struct tls_report *r)
{
	const char *more = r->errors > 1 ? " (more: tls.check)" : "", *cut = "... (see tls.check)", *text;
	const struct tls_problem *p = r->first;
	size_t room = FAULT_SIZE - strlen(more);

	while (p != NULL && p->severity != TLS_ERROR)
		p = p->next;
	text = p != NULL ? p->text : "no reason given";
	if (strlen(text) > room)
		text = without_folders(text);
	if (strlen(text) <= room) {
		rpc->fault(ctx, 500, "%s%s", text, more);
		return;
	}
	room = FAULT_SIZE - strlen(cut);
	while (room > 0 && (text[room] & 0xc0) == 0x80) /* not within a character */
		room--;
	rpc->fault(ctx, 500, "%.*s%s", (int)room, text, cut);
}

static void rpc_reload(rpc_t *rpc, void *ctx)
{
	struct tls_report r;
	int number;

	tls_report_init(&r);
	number = tls_reload_run(&r);
	tls_reload_log(&r);
	if (number < 0) {
		LM_ERR("reload failed; the current configuration remains in use\n");
		fault_with(rpc, ctx, &r);
	} else {
		LM_NOTICE("reloaded: configuration %d serves new connections\n", number);
		rpc->rpl_printf(ctx, "Ok. TLS configuration reloaded.");
	}
	tls_report_clear(&r);
}

static void rpc_check(rpc_t *rpc, void *ctx)
{
	struct answer a = {.rpc = rpc, .ctx = ctx};
	struct tls_report r;
	void *list;

	tls_report_init(&r);
	tls_reload_check(&r);
	begin_struct(&a);
	PUT(&a, "sdd[", "result", r.errors == 0 ? "ok" : "a reload would fail", "errors", r.errors, "warnings",
	    r.warnings, "problems", &list);
	for (const struct tls_problem *p = r.first; p != NULL && !a.full; p = p->next)
		if (rpc->array_add(list, "{", &a.fields) < 0)
			a.full = true;
		else
			PUT(&a, "ss", "severity", p->severity == TLS_ERROR ? "error" : "warning", "text", p->text);
	end_answer(&a);
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

/*
 * The ids of all connections; connections that are opened meanwhile may be missing. Returns 0, -1 without
 * memory.
 */
static int collect_ids(struct ids *ids)
{
	ids->count = ids->room = 0;
	tls_list_walk(count_one, &ids->room);
	ids->id = calloc((size_t)ids->room + 1, sizeof(*ids->id));
	if (ids->id == NULL)
		return -1;
	tls_list_walk(note_id, ids);
	return 0;
}

static const char *phase_word(const struct tls_connection *t)
{
	switch (t->phase) {
	case TLS_PHASE_NEW: return "pre-init";
	case TLS_PHASE_HANDSHAKE: return t->role == TLS_SERVER ? "tls_accept" : "tls_connect";
	case TLS_PHASE_ESTABLISHED: return "established";
	case TLS_PHASE_CLOSED: return "closed";
	}
	return "unknown";
}

static const char *cipher_text(const struct tls_connection *t, char *out, size_t size)
{
	char *end;

	if (t->ssl == NULL || tls_ssl_describe_cipher(t->ssl, out, size) == NULL)
		return "unknown";
	end = out + strlen(out);
	while (end > out && (end[-1] == '\n' || end[-1] == ' '))
		*--end = '\0';
	return out;
}

struct address_text {
	char text[IP_ADDR_MAX_STR_SIZE + 1];
};

static struct address_text address_text(const struct ip_addr *address)
{
	struct ip_addr ip = *address;
	struct address_text out = {""};

	if (ip.af != AF_INET && ip.af != AF_INET6)
		return out; /* a connection that is just being opened */
	out.text[ip_addr2sbuf(&ip, out.text, sizeof(out.text) - 1)] = '\0';
	return out;
}

/* "TLSs<127.0.0.1:5061>" for the domain "server:127.0.0.1:5061". */
static void add_dom(struct answer *a, const struct tls_connection *t)
{
	const char *place = t->use.domain != NULL ? strchr(t->use.domain->name, ':') : NULL;
	char text[128] = "N/A";

	if (place != NULL)
		snprintf(text, sizeof(text), "TLS%c<%s>", t->role == TLS_SERVER ? 's' : 'c', place + 1);
	PUT(a, "s", "dom", text);
}

struct server_name {
	char text[SERVER_NAME_SIZE];
};

/*
 * The name that was asked for, by the client or by our script, which may have it from anywhere; NONE: no name was asked
 * for.
 */
static struct server_name server_name(const struct tls_connection *t, const char *none)
{
	struct server_name out;
	struct tls_facts f = {.server_name = NULL};

	if (t->ssl != NULL)
		tls_ssl_facts(t->ssl, &f);
	snprintf(out.text, sizeof(out.text), "%s", f.server_name != NULL ? f.server_name : none);
	tls_text_clean(out.text);
	return out;
}

/* Fields that the module packaged for newer hosts puts first. */
static void add_since_6(struct answer *a, const struct tls_connection *t)
{
	time_t opened = time(NULL) - (time_t)TICKS_TO_S(get_ticks_raw() - t->started);
	char text[sizeof("2000-01-01 00:00:00")] = "";
	struct tm tm;

	if (TLS_COMPAT_LIST_DOM)
		add_dom(a, t);
	if (!TLS_COMPAT_LIST_SNI)
		return;
	if (localtime_r(&opened, &tm) != NULL)
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
	PUT(a, "ss", "sni", server_name(t, "N/A").text, "timestamp", text);
}

/* What the host knows of T. */
static void add_transport(struct answer *a, const struct tls_connection *t)
{
	const struct tcp_connection *c = t->tcp;
	unsigned now = get_ticks_raw();
	int left = TICKS_GT(c->timeout, now) ? (int)TICKS_TO_S(c->timeout - now) : 0;

	PUT(a, "d", "id", t->id);
	add_since_6(a, t);
	PUT(a, "d", "timeout", left);
	PUT(a, "sd", "src_ip", address_text(&c->rcv.src_ip).text, "src_port", (int)c->rcv.src_port);
	PUT(a, "sd", "dst_ip", address_text(&c->rcv.dst_ip).text, "dst_port", (int)c->rcv.dst_port);
}

/* 1: cleartext waits for the handshake, 2: the handshake is done. */
static int flags_of(const struct tls_connection *t)
{
	return (t->queue.bytes > 0 ? 1 : 0) | (t->phase == TLS_PHASE_ESTABLISHED ? 2 : 0);
}

static void add_buffers(struct answer *a, const struct tls_connection *t)
{
	PUT(a, "d", "ct_wq_size", (int)t->queue.bytes);
	PUT(a, "d", "enc_rd_buf", t->input != NULL ? (int)t->input->used : 0);
	PUT(a, "d", "flags", flags_of(t));
	PUT(a, "l", "memory", t->memory);
}

/* The outcome of the handshake. */
static void add_crypto(struct answer *a, const struct tls_connection *t)
{
	struct tls_facts f = {.version = "", .compression = "none"};

	if (t->ssl != NULL && t->phase == TLS_PHASE_ESTABLISHED)
		tls_ssl_facts(t->ssl, &f);
	PUT(a, "s", "protocol", f.version);
	PUT(a, "s", "compression", f.compression);
	PUT(a, "s", "server_name", server_name(t, "").text);
	PUT(a, "d", "resumed", f.resumed ? 1 : 0);
	PUT(a, "d", "verified", f.has_peer_certificate && f.verify == TLS_VERIFY_GOOD ? 1 : 0);
}

static void add_place(struct answer *a, const struct tls_connection *t)
{
	PUT(a, "s", "role", t->role == TLS_SERVER ? "server" : "client");
	PUT(a, "s", "domain", t->use.domain != NULL ? t->use.domain->name : "");
	PUT(a, "d", "generation", t->generation != NULL ? tls_generation_number(t->generation) : 0);
	PUT(a, "d", "age", (int)TICKS_TO_S(get_ticks_raw() - t->started));
}

/* T is held. */
static void add_connection(struct answer *a, const struct tls_connection *t)
{
	char cipher[256];

	begin_struct(a);
	if (a->full)
		return;
	add_transport(a, t);
	PUT(a, "s", "cipher", cipher_text(t, cipher, sizeof(cipher)));
	add_buffers(a, t);
	PUT(a, "s", "state", phase_word(t));
	add_crypto(a, t);
	add_place(a, t);
}

/* By its peer, as ADDRESS:PORT or [ADDRESS]:PORT, or by its domain. */
static bool wanted_connection(const struct answer *a, const struct tls_connection *t)
{
	const struct receive_info *rcv = &t->tcp->rcv;
	bool six = rcv->src_ip.af == AF_INET6;
	char peer[IP_ADDR_MAX_STR_SIZE + sizeof("[]:65535")];

	snprintf(peer, sizeof(peer), "%s%s%s:%u", six ? "[" : "", address_text(&rcv->src_ip).text, six ? "]" : "",
	         (unsigned)rcv->src_port);
	return wanted(a, peer) || (t->use.domain != NULL && wanted(a, t->use.domain->name));
}

static void rpc_list(rpc_t *rpc, void *ctx)
{
	struct answer a = begin_answer(rpc, ctx);
	struct ids ids;

	if (collect_ids(&ids) != 0) {
		no_memory(rpc, ctx);
		return;
	}
	for (int i = 0; i < ids.count && !a.full; i++) {
		struct tls_connection *t = tls_list_hold(ids.id[i]);

		if (t == NULL)
			continue;
		if (wanted_connection(&a, t))
			add_connection(&a, t);
		tls_list_release(t);
	}
	end_answer(&a);
	free(ids.id);
}

/* ---- tls.domains */

/* Adds FIELD of CERTIFICATE. */
static void add_text(struct answer *a, const char *name, enum tls_cert_field field,
                     const struct tls_cert *certificate)
{
	static struct tls_answer text;

	tls_answer_begin(&text);
	if (tls_cert_describe(certificate, field, tls_answer_sink, &text) == TLS_CERT_UNREADABLE) {
		tls_answer_begin(&text);
		tls_answer_add_string(&text, "unreadable");
		tls_crypto_clear_errors();
	}
	if (!text.broken)
		PUT(a, "s", name, tls_text_clean(text.s));
	else
		a->short_of_memory = true;
}

/* -1: it has expired, be it an hour ago, or its end cannot be read. */
static int days_left(const struct tls_cert *certificate)
{
	int64_t end, left;

	if (!tls_cert_end(certificate, &end))
		return -1;
	left = end - (int64_t)time(NULL);
	return left < 0 && left > -DAY ? -1 : (int)(left / DAY);
}

/* Names of the fields for a domain's first and second certificate. */
static const struct certificate_fields {
	const char *subject, *names, *key, *bits, *days;
} certificate_fields[2] = {
	{"subject", "alternative_names", "key_type", "key_bits", "days_to_expiry"},
	{"subject2", "alternative_names2", "key_type2", "key_bits2", "days_to_expiry2"},
};

static void add_certificate(struct answer *a, const struct certificate_fields *field,
                            const struct tls_cert *certificate)
{
	int bits;
	const char *type = tls_cert_key(certificate, &bits);

	add_text(a, field->subject, TLS_CERT_SUBJECT_RFC2253, certificate);
	add_text(a, field->names, TLS_CERT_ALT_NAMES, certificate);
	PUT(a, "s", field->key, type);
	PUT(a, "dd", field->bits, bits, field->days, days_left(certificate));
}

static void add_domain(struct answer *a, const struct tls_domain *d)
{
	struct tls_section place = {.role = d->role, .kind = d->kind, .address = d->address};
	char address[128];

	begin_struct(a);
	if (a->full)
		return;
	tls_section_name(&place, address, sizeof(address));
	PUT(a, "ss", "domain", d->name, "role", d->role == TLS_SERVER ? "server" : "client");
	PUT(a, "s", "address", strchr(address, ':') + 1);
	PUT(a, "s", "server_name", d->server_name != NULL ? d->server_name : "");
	PUT(a, "s", "server_id", d->server_id != NULL ? d->server_id : "");
	PUT(a, "d", "generation", tls_generation_number(d->generation));
	PUT(a, "d", "connections", atomic_load_explicit(&d->connections, memory_order_relaxed));
	for (int i = 0; i < 2; i++)
		if (d->chains[i] != NULL)
			add_certificate(a, &certificate_fields[i], tls_chain_certificate(d->chains[i]));
}

static void rpc_domains(rpc_t *rpc, void *ctx)
{
	struct answer a = begin_answer(rpc, ctx);
	struct tls_generation *g = tls_generation_pin();

	for (struct tls_domain *d = g != NULL ? tls_domain_next(g, NULL) : NULL;
	     d != NULL && !a.full && !a.short_of_memory; d = tls_domain_next(g, d))
		if (wanted(&a, d->name))
			add_domain(&a, d);
	tls_generation_unpin(g);
	end_answer(&a);
}

/* ---- gauges: tls.info, and the statistics */

static long max_connections(void)
{
	struct tcp_gen_info tcp;

	tcp_get_info(&tcp);
	return tcp.tls_max_connections;
}

static long opened_connections(void)
{
	return tls_list_count();
}

static long queued_bytes(void)
{
	return (long)tls_queue_total();
}

static struct tls_mem_stats memory(void)
{
	struct tls_mem_stats mem;

	tls_mem_get_stats(&mem);
	return mem;
}

static long shared_bytes(void)
{
	return memory().bytes;
}

static long shared_blocks(void)
{
	return memory().blocks;
}

static long shared_held(void)
{
	return memory().held;
}

static long shared_refused(void)
{
	return memory().refused;
}

static long shared_available(void)
{
	return (long)tls_mem_available();
}

/* Calls EACH for every domain of the current configuration. */
static void each_domain(void (*each)(const struct tls_domain *d, long *sum), long *sum)
{
	struct tls_generation *g = tls_generation_pin();

	for (struct tls_domain *d = g != NULL ? tls_domain_next(g, NULL) : NULL; d != NULL;
	     d = tls_domain_next(g, d))
		each(d, sum);
	tls_generation_unpin(g);
}

static long generation(void)
{
	struct tls_generation *g = tls_generation_pin();
	long number = g != NULL ? tls_generation_number(g) : 0;

	tls_generation_unpin(g);
	return number;
}

static void count_domain(const struct tls_domain *d, long *sum)
{
	(void)d;
	++*sum;
}

static long domains(void)
{
	long count = 0;

	each_domain(count_domain, &count);
	return count;
}

static void note_expiry(const struct tls_domain *d, long *sum)
{
	int64_t end;

	for (int i = 0; i < 2; i++)
		if (d->chains[i] != NULL && tls_cert_end(tls_chain_certificate(d->chains[i]), &end) &&
		    (*sum == 0 || (long)end < *sum))
			*sum = (long)end;
}

static long soonest_expiry(void)
{
	long when = 0;

	each_domain(note_expiry, &when);
	return when;
}

const struct tls_gauge tls_rpc_gauges[] = {
	{"max_connections", "TLS connections that Kamailio allows", max_connections},
	{"opened_connections", "TLS connections there are", opened_connections},
	{"clear_text_write_queued_bytes", "cleartext that waits for handshakes", queued_bytes},
	{"generation", "number of the configuration in use", generation},
	{"domains", "domains of that configuration", domains},
	{"soonest_expiry", "when the first of its certificates expires, in seconds since 1970", soonest_expiry},
	{"files_changed", "files that have changed since the configuration in use was read",
     tls_reload_changed_files},
	{"files_unreadable", "files of it that the server's user may not read", tls_reload_unreadable_files},
	{"shared_bytes", "shared memory in use for TLS", shared_bytes},
	{"shared_blocks", "blocks of it", shared_blocks},
	{"shared_held", "shared memory taken from Kamailio for them, with room for more", shared_held},
	{"shared_available", "shared memory that Kamailio has left", shared_available},
	{"shared_refused", "requests for shared memory that were refused", shared_refused},
	{NULL, NULL, NULL},
};

static void rpc_info(rpc_t *rpc, void *ctx)
{
	struct answer a = {.rpc = rpc, .ctx = ctx};

	begin_struct(&a);
	for (const struct tls_gauge *g = tls_rpc_gauges; g->name != NULL; g++)
		PUT(&a, "l", g->name, g->read());
	PUT(&a, "l", "private_bytes", tls_mem_private());
	PUT(&a, "s", "library", tls_crypto_version());
	PUT(&a, "s", "built_with", tls_crypto_built_with());
	end_answer(&a);
}

/* ---- tls.options, tls.kill */

static void add_option(struct answer *a, const char *name, const char *text)
{
	char *copy = text != NULL ? strdup(text) : NULL;

	PUT(a, "s", name, copy != NULL ? tls_text_clean(copy) : NULL);
	free(copy);
}

static void rpc_options(rpc_t *rpc, void *ctx)
{
	struct answer a = {.rpc = rpc, .ctx = ctx};
	struct tls_runtime_value v;

	begin_struct(&a);
	for (int i = 0; tls_runtime_get(i, &v); i++) {
		if (v.is_number)
			PUT(&a, "d", v.rpc_name, v.number);
		else
			add_option(&a, v.rpc_name, v.text);
	}
	end_answer(&a);
}

static void rpc_kill(rpc_t *rpc, void *ctx)
{
	int id;

	if (rpc->scan(ctx, "d", &id) < 1 || id == 0) { /* some transports turn a missing number into 0 */
		rpc->fault(ctx, 400, "Connection id required (see tls.list)");
		return;
	}
	if (tls_list_kill(id) != 0)
		rpc->fault(ctx, 404, "No TLS connection has the id %d", id);
	else
		rpc->rpl_printf(ctx, "Ok. TLS connection %d is being closed.", id);
}

/* ---- the table */

static const char *reload_doc[] = {"Reads the TLS configuration and its files again", NULL};
static const char *check_doc[] = {"Tells what a tls.reload would find wrong, and changes nothing", NULL};
static const char *list_doc[] = {
	"Lists the TLS connections; with a text, those whose peer (ADDRESS:PORT) or domain contains it", NULL};
static const char *domains_doc[] = {"Lists the domains; with a text, those whose name contains it", NULL};
static const char *info_doc[] = {"Numbers of connections, configuration, memory, versions", NULL};
static const char *options_doc[] = {"The module's settings as they are now", NULL};
static const char *kill_doc[] = {"Closes the TLS connection with the given id", NULL};

static rpc_export_t commands[] = {
	{"tls.reload", rpc_reload, reload_doc, TLS_COMPAT_RPC_SPACED},
	{"tls.check", rpc_check, check_doc, 0},
	{"tls.list", rpc_list, list_doc, RET_ARRAY},
	{"tls.domains", rpc_domains, domains_doc, RET_ARRAY},
	{"tls.info", rpc_info, info_doc, 0},
	{"tls.options", rpc_options, options_doc, 0},
	{"tls.kill", rpc_kill, kill_doc, 0},
	{NULL, NULL, NULL, 0},
};

int tls_rpc_start(void)
{
	if (rpc_register_array(commands) == 0)
		return 0;
	LM_ERR("the RPC commands tls.* exist already; is another TLS module loaded?\n");
	return -1;
}
