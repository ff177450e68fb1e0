/*
 * connection/failure.c - the log line and the count of a connection that fails
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * Each connection that does not end by its peer's wish gets one line. doc/fail2ban.md has a pattern for it: keep its
 * form.
 */
#include <stdio.h>

#include "connection/failure.h"
#include "tls.h"
#include "host/compat.h"
#include "settings/table.h"
#include "settings/runtime.h"
#include "connection/stats.h"
#include "tls_domain_types.h"
#include "crypto/crypto.h"
#include "connection/connection.h"

const char *tls_failure_peer(const struct tcp_connection *c, struct tls_failure_peer *out)
{
	struct ip_addr ip = c->rcv.src_ip;
	char *text = ip_addr2a(&ip);

	snprintf(out->text, sizeof(out->text), ip.af == AF_INET6 ? "[%s]:%u" : "%s:%u", text, c->rcv.src_port);
	return out->text;
}

const char *tls_failure_domain(const struct tls_connection *t)
{
	return t->use.domain != NULL ? t->use.domain->name : "none yet";
}

static void count(const struct tls_connection *t, enum tls_stat why)
{
	bool handshake = why >= TLS_STAT_FAILED_FIRST && why <= TLS_STAT_FAILED_LAST;

	tls_stats_add(handshake && t->phase == TLS_PHASE_ESTABLISHED && t->peer_confirmed ? TLS_STAT_BROKEN : why,
	              1);
}

/* The setting `log` can make the line more urgent than a notice, not less. */
static int level(void)
{
	int wanted = tls_runtime_options()->log;

	return wanted < L_NOTICE ? wanted : L_NOTICE;
}

void tls_failure_log(const struct tls_connection *t, enum tls_stat why, const char *what, const char *reason)
{
	struct tls_failure_peer peer;

	count(t, why);
	LOG(level(), "TLS %s failed: peer %s, domain %s: %s\n", what, tls_failure_peer(t->tcp, &peer),
	    tls_failure_domain(t), reason);
}

void tls_failure_log_step(const struct tls_connection *t, const char *what)
{
	char reason[2 * TLS_FAILURE_REASON_SIZE];
	enum tls_stat why = tls_ssl_failure(t->ssl, reason, sizeof(reason));

	tls_failure_log(t, why, what, reason);
}
