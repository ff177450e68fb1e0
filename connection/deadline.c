/*
 * connection/deadline.c - how long a handshake, a message and a send may take
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * A deadline is a fixed time: bytes that trickle in do not move it. It is checked when bytes come, and by a sweep
 * for connections on which none come.
 */
#include <stdio.h>

#include "connection/deadline.h"
#include "tls.h"
#include "host/compat.h"
#include "settings/table.h"
#include "settings/runtime.h"
#include "connection/stats.h"
#include "crypto/crypto.h"
#include "connection/connection.h"
#include "connection/list.h"
#include "connection/failure.h"

#define SWEEP_MAX 128 /* connections that one sweep closes; the next sweep closes the rest */

static const struct tls_options *options(void)
{
	return tls_runtime_options();
}

bool tls_deadline_is_past(unsigned ticks, unsigned now)
{
	return TICKS_GE((ticks_t)now, (ticks_t)ticks);
}

static void set(struct tls_connection *t, int seconds)
{
	t->deadline_set = seconds > 0;
	if (seconds > 0)
		t->deadline = get_ticks_raw() + S_TO_TICKS((ticks_t)seconds);
}

void tls_deadline_set_handshake(struct tls_connection *t)
{
	set(t, options()->handshake_timeout);
}

unsigned tls_deadline_idle_ticks(void)
{
	return options()->connection_timeout < 0 ? S_TO_TICKS((ticks_t)1 << 26)
	                                         : S_TO_TICKS((ticks_t)options()->connection_timeout);
}

/* ---- messages */

/*
 * Seconds from a message's first byte to its last: a connection idle in the middle of a message is as idle as any.
 */
static int message_seconds(void)
{
	return options()->connection_timeout > 0 ? options()->connection_timeout : options()->handshake_timeout;
}

/* Whether the deadline of T, which is set, is that of a message. */
static bool is_for_message(const struct tls_connection *t)
{
	return t->phase == TLS_PHASE_ESTABLISHED && !t->renegotiating;
}

bool tls_deadline_is_mid_message(const struct tcp_connection *c)
{
	return c->type == PROTO_WSS ? c->req.pos != c->req.buf : c->req.state > H_SKIP_EMPTY_CRLFCR_FOUND;
}

/* The same, with what the TLS library still holds. */
static bool is_any_mid_message(const struct tcp_connection *c, const struct tls_connection *t)
{
	return tls_deadline_is_mid_message(c) || tls_ssl_has_pending(t->ssl);
}

/*
 * Whether the host has taken a message out of its buffer since the last read, so that what is under way now is
 * another message. A peer that sends byte by byte cannot cause that.
 */
static bool is_message_taken(const struct tcp_connection *c, const struct tls_connection *t)
{
	return (unsigned)(c->req.pos - c->req.buf) < t->host_bytes;
}

void tls_deadline_watch_message(const struct tcp_connection *c, struct tls_connection *t)
{
	if (!is_for_message(t))
		return;
	if (!is_any_mid_message(c, t))
		t->deadline_set = false;
	else if (!t->deadline_set || is_message_taken(c, t))
		set(t, message_seconds());
}

/*
 * Whether the message with the deadline is complete: none has begun, or the host has taken it, or it is at work on
 * it, however long that takes.
 */
static bool is_message_over(const struct tcp_connection *c, const struct tls_connection *t)
{
	return TCP_REQ_COMPLETE(&c->req) || is_message_taken(c, t) || !is_any_mid_message(c, t);
}

void tls_deadline_watch_renegotiation(struct tls_connection *t, bool again)
{
	if (again && !t->renegotiating)
		tls_deadline_set_handshake(t);
	else if (!again && t->renegotiating)
		t->deadline_set = false;
	t->renegotiating = again;
}

/* ---- too late */

bool tls_deadline_has_passed(const struct tcp_connection *c, struct tls_connection *t)
{
	if (!t->deadline_set || !tls_deadline_is_past(t->deadline, get_ticks_raw()))
		return false;
	if (is_for_message(t) && is_message_over(c, t))
		t->deadline_set = false;
	return t->deadline_set;
}

/* Logs and counts that T took more than these seconds, as the setting NAME says. */
static void log_late(struct tls_connection *t, int seconds, const char *name)
{
	char reason[TLS_FAILURE_REASON_SIZE];

	snprintf(reason, sizeof(reason), "not finished within %d s (%s)", seconds, name);
	tls_failure_log(t, TLS_STAT_FAILED_TIMEOUT, t->phase == TLS_PHASE_ESTABLISHED ? "reading" : "handshake",
	                reason);
	t->deadline_set = false;
}

void tls_deadline_log(struct tls_connection *t)
{
	bool message = is_for_message(t);

	log_late(t, message ? message_seconds() : options()->handshake_timeout,
	         message && options()->connection_timeout > 0 ? "connection_timeout" : "handshake_timeout");
}

/* Whether the host closes T, which we have opened, for its own lifetime: that may be shorter than handshake_timeout. */
static bool is_past_lifetime(const struct tls_connection *t)
{
	return t->role == TLS_CLIENT && t->phase == TLS_PHASE_HANDSHAKE && t->deadline_set &&
	       tls_deadline_is_past(t->started + cfg_get(tcp, tcp_cfg, con_lifetime), get_ticks_raw());
}

void tls_deadline_log_close(const struct tcp_connection *c, struct tls_connection *t)
{
	if (t->phase < TLS_PHASE_ESTABLISHED && tls_deadline_has_passed(c, t))
		tls_deadline_log(t);
	else if (is_past_lifetime(t))
		log_late(t, (int)TICKS_TO_S(cfg_get(tcp, tcp_cfg, con_lifetime)), "tcp_connection_lifetime");
}

/* ---- the sweep */

/* Whether the peer has taken nothing of what waits for it for longer than send_timeout. */
static bool is_send_late(const struct tcp_connection *c, unsigned now)
{
	ticks_t host_timeout = cfg_get(tcp, tcp_cfg, send_timeout);

	return options()->send_timeout > 0 && c->state == S_CONN_OK && c->wbuf_q.first != NULL &&
	       tls_deadline_is_past(
			   c->wbuf_q.wr_timeout - host_timeout + S_TO_TICKS((ticks_t)options()->send_timeout), now);
}

struct sweep {
	unsigned now;
	int count;
	int ids[SWEEP_MAX];
};

/*
 * Notes the id of T if it seems to be late. Without the connection's lock what is read here may be half written, so
 * is_late() checks again.
 */
static int note_if_late(struct tls_connection *t, void *arg)
{
	struct sweep *s = arg;

	if (t->tcp->state < S_CONN_OK) /* being closed already */
		return 0;
	if ((t->deadline_set && tls_deadline_is_past(t->deadline, s->now)) || is_send_late(t->tcp, s->now))
		s->ids[s->count++] = t->id;
	return s->count == SWEEP_MAX;
}

/* Whether T, which is held, is to be closed (logged). */
static bool is_late(struct tls_connection *t, unsigned now)
{
	if (tls_deadline_has_passed(t->tcp, t)) {
		tls_deadline_log(t);
		return true;
	}
	if (!is_send_late(t->tcp, now))
		return false;
	tls_failure_log(t, TLS_STAT_FAILED_TIMEOUT, "sending", "the peer takes nothing (send_timeout)");
	return true;
}

void tls_deadline_sweep(unsigned ticks, void *param)
{
	struct sweep s = {.now = get_ticks_raw()};

	(void)ticks;
	(void)param;
	tls_list_walk(note_if_late, &s);
	for (int i = 0; i < s.count; i++) {
		struct tls_connection *t = tls_list_hold(s.ids[i]);
		bool late = t != NULL && is_late(t, s.now);

		if (t != NULL)
			tls_list_release(t);
		if (late)
			tls_list_kill(s.ids[i]);
	}
}
