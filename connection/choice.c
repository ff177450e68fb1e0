/*
 * connection/choice.c - which domain a connection uses
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * The server name in a ClientHello comes later, and may move the connection to another domain.
 */
#include <stdio.h>
#include <string.h>

#include "connection/choice.h"
#include "tls.h"
#include "host/compat.h"
#include "tls_mem.h"
#include "settings/text.h"
#include "settings/table.h"
#include "settings/runtime.h"
#include "connection/stats.h"
#include "tls_domain_types.h"
#include "tls_domain.h"
#include "tls_generation.h"
#include "connection/connection.h"
#include "connection/failure.h"
#include "connection/outgoing.h"

/* ---- what the script says */

/*
 * Whether T's configuration has a section with the id that the script chose, where there must be one. T keeps the
 * configuration that was asked.
 */
static bool has_section(struct tls_connection *t)
{
	if (t->server_id == NULL || tls_runtime_options()->unknown_server_id == 0)
		return true;
	t->generation = tls_generation_pin();
	return t->generation != NULL && tls_domain_has_id(t->generation, t->role, t->server_id);
}

/* T cannot be opened. Returns -1. */
static int refuse(struct tls_connection *t, enum tls_stat why, const char *reason)
{
	tls_failure_log(t, why, "connecting", reason);
	tls_generation_unpin(t->generation);
	tls_mem_shared_free(t->server_name);
	tls_mem_shared_free(t->server_id);
	return -1;
}

int tls_choice_ask_script(struct tcp_connection *c, struct tls_connection *t)
{
	char reason[TLS_FAILURE_REASON_SIZE];
	const char *fault;

	if (!tls_outgoing_allowed(c)) {
		c->flags |= F_CONN_NOSEND;
		return 0;
	}
	fault = tls_outgoing_choose(&t->server_name, &t->server_id);
	if (fault != NULL)
		return refuse(t, fault == TLS_OUTGOING_NO_MEMORY ? TLS_STAT_FAILED_MEMORY : TLS_STAT_FAILED_INTERNAL,
		              fault);
	if (has_section(t))
		return 0;
	snprintf(reason, sizeof(reason),
	         "no client section has the server_id \"%.128s\" that the script has chosen (unknown_server_id)",
	         t->server_id);
	return refuse(t, TLS_STAT_FAILED_INTERNAL, tls_text_clean(reason));
}

/* ---- the domain */

/* A chosen id that no section has is an operator's mistake that unknown_server_id lets pass. */
static void warn_of_unknown_id(const struct tls_connection *t)
{
	const char *id = t->use.domain->server_id;

	if (t->server_id != NULL && (id == NULL || strcmp(id, t->server_id) != 0))
		LM_WARN("no client section of the TLS configuration has the server_id \"%s\": %s is used\n",
		        t->server_id, t->use.domain->name);
}

/*
 * A domain is chosen by our address when accepting, by the peer's when connecting. Older configurations have our own
 * address in client sections: that counts where no section has the peer's.
 */
int tls_choice_set_domain(const struct tcp_connection *c, struct tls_connection *t)
{
	struct tls_domain_query q = {.role = t->role, .server_id = t->server_id, .server_name = t->server_name};
	bool named;

	if (t->generation == NULL)
		t->generation = tls_generation_pin();
	if (t->generation == NULL)
		return -1;
	tls_compat_address(&c->rcv.dst_ip, c->rcv.dst_port, t->role == TLS_SERVER ? &q.address : &q.own);
	if (t->role == TLS_CLIENT)
		tls_compat_address(&c->rcv.src_ip, c->rcv.src_port, &q.address);
	q.server_name_length = t->server_name != NULL ? strlen(t->server_name) : 0;
	t->use.address = q.address;
	t->use.domain = tls_domain_find(t->generation, &q, &named);
	if (t->role == TLS_CLIENT)
		t->use.name = t->server_name != NULL ? t->server_name : t->use.domain->server_name;
	warn_of_unknown_id(t);
	return 0;
}
