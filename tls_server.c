/*
 * tls_server.c - one connection: open, handshake, read, encode, close, clean
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * Who calls what (host 5.6 to 6.1):
 *
 *   open    accepted: tcp_main; outgoing: the sender. Nobody else knows the connection yet.
 *   read    the TCP worker that holds the descriptor; no lock held
 *   encode  any sender, write_lock held
 *   close   tcp_main, no lock held
 *   clean   whichever process lets go last; nobody else can reach the connection any more
 *
 * The library's state of a connection is made with the first byte in either direction. So a silent connection costs
 * little, and it uses the configuration that is current when it speaks.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "tls_server.h"
#include "tls.h"
#include "host/compat.h"
#include "tls_mem.h"
#include "tls_shared.h"
#include "settings/report.h"
#include "settings/table.h"
#include "settings/hostname.h"
#include "settings/runtime.h"
#include "connection/stats.h"
#include "tls_domain_types.h"
#include "crypto/crypto.h"
#include "tls_domain.h"
#include "tls_generation.h"
#include "connection/connection.h"
#include "connection/list.h"
#include "connection/queue.h"
#include "connection/limit.h"
#include "connection/failure.h"
#include "connection/deadline.h"
#include "connection/pressure.h"
#include "connection/turn.h"
#include "connection/outgoing.h"
#include "connection/verdict.h"
#include "connection/choice.h"
#include "connection/reuse.h"

#define EMPTY_COST \
	256 /* a record without data takes as many bytes of a turn: it costs as much as a message */

static atomic_bool *ending; /* in shared memory: the server stops, and nothing is freed any more */

/* The settings as they are now. */
static const struct tls_options *options(void)
{
	return tls_runtime_options();
}

/* ---- the queue for the handshake */

/* Queues cleartext. Returns 0, -1 when too much is queued already or memory is short (logged). */
static int enqueue(struct tls_connection *t, const char *bytes, unsigned size)
{
	char reason[TLS_FAILURE_REASON_SIZE];

	switch (tls_queue_add(&t->queue, bytes, size)) {
	case TLS_QUEUE_OK: return 0;
	case TLS_QUEUE_NO_MEMORY:
		tls_failure_log(t, TLS_STAT_FAILED_MEMORY, "queueing", "no shared memory");
		return -1;
	case TLS_QUEUE_FULL: break;
	}
	snprintf(
		reason, sizeof(reason),
		"%u bytes more than may wait for the handshake: %u wait here (con_ct_wq_max %d), %lu everywhere (ct_wq_max %d)",
		size, t->queue.bytes, options()->con_ct_wq_max, tls_queue_total(), options()->ct_wq_max);
	tls_failure_log(t, TLS_STAT_QUEUE_REFUSED, "queueing", reason);
	return -1;
}

/* ---- open and clean */

/*
 * Counts T, just accepted, among the handshakes of its peer's address. Returns 0, -1 when those are too many
 * (logged).
 */
static int join_limit(const struct tcp_connection *c, struct tls_connection *t)
{
	int limit = options()->max_handshakes_per_address;
	struct tls_address from;

	tls_compat_address(&c->rcv.src_ip, 0, &from);
	if (tls_limit_enter(&from, limit, &t->limit))
		return 0;
	tls_pressure_log_limit(c, limit);
	return -1;
}

int tls_server_open(struct tcp_connection *c, int sock)
{
	struct tls_connection *t;
	struct tls_failure_peer peer;

	(void)sock;
	if (tls_pressure_is_low_to_open(c))
		return -1;
	t = tls_mem_shared_alloc(sizeof(*t));
	if (t == NULL) {
		LM_ERR("connection with %s refused: no shared memory; give Kamailio more with -m\n",
		       tls_failure_peer(c, &peer));
		return -1;
	}
	t->tcp = c;
	t->id = c->id;
	t->role = c->state == S_CONN_ACCEPT ? TLS_SERVER : TLS_CLIENT;
	t->started = get_ticks_raw();
	t->memory = sizeof(*t);
	tls_deadline_set_handshake(t);
	c->type = PROTO_TLS;
	c->rcv.proto = PROTO_TLS;
	c->lifetime = S_TO_TICKS((ticks_t)options()->handshake_timeout);
	c->timeout = get_ticks_raw() + c->lifetime;
	if ((t->role == TLS_CLIENT ? tls_choice_ask_script(c, t) : join_limit(c, t)) != 0) {
		tls_mem_shared_free(t);
		return -1;
	}
	c->extra_data = t;
	tls_list_add(t);
	if (t->role == TLS_CLIENT) {
		tls_compat_show_choice(c, t->server_name, t->server_id);
		tls_reuse_add(t);
	}
	return 0;
}

void tls_server_clean(struct tcp_connection *c)
{
	struct tls_connection *t = c->extra_data;

	if (t == NULL || atomic_load(ending))
		return;
	c->extra_data = NULL;
	tls_compat_show_choice(c, NULL, NULL);
	tls_limit_leave(t->limit);
	tls_list_remove(t);
	tls_reuse_remove(t);
	tls_verdict_free(t->verdict);
	tls_domain_close(&t->use, t->ssl);
	tls_generation_unpin(t->generation);
	tls_queue_clear(&t->queue);
	tls_queue_free_chunk(t->input);
	tls_mem_shared_free(t->server_name);
	tls_mem_shared_free(t->server_id);
	tls_mem_shared_free(t);
}

/* ---- from the first byte to the handshake's end */

/*
 * The name that an outgoing connection asks for: the script's, else the domain's. An address is none (RFC 6066
 * section 3). Returns 0 or -1.
 */
static int set_outgoing_name(struct tls_connection *t)
{
	struct tls_hostname host;
	const char *name = t->use.name;

	if (name == NULL || !tls_hostname_read(name, strlen(name), &host) || host.is_address)
		return 0;
	return tls_ssl_set_name(t->ssl, host.text);
}

/* Makes the library's state of T. Returns 0, -1 without memory (logged). */
static int begin(struct tcp_connection *c, struct tls_connection *t)
{
	int result = -1;

	if (tls_choice_set_domain(c, t) != 0)
		return -1;
	tls_crypto_enter();
	t->ssl = tls_domain_open(&t->use);
	if (t->ssl != NULL && tls_io_attach(t->ssl, &t->io) == 0 &&
	    (t->role == TLS_SERVER || set_outgoing_name(t) == 0))
		result = 0;
	tls_crypto_leave();
	if (result == 0)
		t->phase = TLS_PHASE_HANDSHAKE;
	else
		tls_failure_log(t, TLS_STAT_FAILED_MEMORY, "handshake",
		                "no shared memory; give Kamailio more with -m");
	return result;
}

/*
 * Makes this process use its own keys for the next step of a handshake. Returns 0, -1 without memory
 * (logged).
 */
static int refresh_keys(const struct tls_connection *t)
{
	if (tls_ssl_own_keys(t->ssl) == 0)
		return 0;
	tls_failure_log(t, TLS_STAT_FAILED_MEMORY, "handshake", "no shared memory for this process's key");
	return -1;
}

/*
 * Whether T is established and in another handshake, so that what we send is queued until its end. A client
 * of TLS 1.3 has no reason to stop in the middle of such a message, so nothing is queued for it: else any
 * client could fill the queue that all share (ct_wq_max).
 */
static bool in_handshake_again(const struct tls_connection *t)
{
	return t->phase == TLS_PHASE_ESTABLISHED && tls_ssl_in_handshake(t->ssl) &&
	       (t->role == TLS_CLIENT || !tls_ssl_is_1_3(t->ssl));
}

/* Logs how far the handshake has come (tls_debug). */
static void log_step(const struct tls_connection *t)
{
	struct tls_failure_peer peer;

	LOG(options()->debug, "TLS handshake: peer %s, domain %s: %s\n", tls_failure_peer(t->tcp, &peer),
	    tls_failure_domain(t), tls_ssl_state(t->ssl));
}

/*
 * Whether our part of the handshake is its last one, so that the peer's verdict on it comes later, if at all: on our
 * certificate in TLS 1.3, on our Finished when a session of TLS 1.2 is resumed.
 */
static bool speaks_last(const struct tls_connection *t, const struct tls_facts *f)
{
	return t->role == TLS_CLIENT && (f->minor >= 3 || f->resumed);
}

static void established(struct tcp_connection *c, struct tls_connection *t)
{
	struct tls_failure_peer peer;
	struct tls_facts f;

	tls_ssl_drop_sent_chain(t->ssl);
	tls_ssl_facts(t->ssl, &f);
	t->peer_confirmed = !speaks_last(t, &f);
	t->phase = TLS_PHASE_ESTABLISHED;
	tls_mem_use_reserve(true);
	t->deadline_set = false;
	tls_limit_leave(t->limit);
	t->limit = NULL;
	c->lifetime = tls_deadline_idle_ticks();
	tls_stats_established(t->role, f.minor, f.resumed);
	LOG(options()->log, "TLS established: peer %s, domain %s, %s, %s%s\n", tls_failure_peer(c, &peer),
	    tls_failure_domain(t), f.version, f.cipher, f.resumed ? ", resumed" : "");
}

/* Encrypts what was queued. Returns 0, -1 on an error (logged). */
static int flush_queue(struct tls_connection *t)
{
	for (struct tls_chunk *chunk = t->queue.first; chunk != NULL; chunk = chunk->next) {
		size_t done = 0, taken;

		while (done < chunk->used) {
			if (tls_io_write(t->ssl, chunk->bytes + done, chunk->used - done, &taken) != TLS_STEP_DONE) {
				tls_failure_log_step(t, "sending");
				return -1;
			}
			done += taken;
		}
	}
	tls_queue_clear(&t->queue);
	return 0;
}

/*
 * Goes on with the handshake as far as the input allows. Returns 0, or -1 when it has failed (logged, T is
 * closed).
 */
static int continue_handshake(struct tcp_connection *c, struct tls_connection *t)
{
	if (refresh_keys(t) != 0)
		return -1;
	switch (tls_io_handshake(t->ssl)) {
	case TLS_STEP_DONE: established(c, t); return flush_queue(t);
	case TLS_STEP_WANTS_INPUT: log_step(t); return 0;
	case TLS_STEP_CLOSED:
		tls_failure_log(t, TLS_STAT_FAILED_PEER_CLOSED, "handshake", "the peer closed it");
		break;
	case TLS_STEP_FAILED: tls_failure_log_step(t, "handshake"); break;
	}
	t->phase = TLS_PHASE_CLOSED;
	return -1;
}

/*
 * Begins the handshake or goes on with it, when there is memory for that. Returns 0, -1 when it has failed
 * (logged).
 */
static int handshake(struct tcp_connection *c, struct tls_connection *t)
{
	if (tls_pressure_is_low_to_go_on(c) || (t->ssl == NULL && begin(c, t) != 0))
		return -1;
	return continue_handshake(c, t);
}

/* ---- read */

/*
 * The peer or the network has reset the connection. The host logs that, but not what it means for a
 * handshake.
 */
static void note_break(struct tls_connection *t)
{
	if (t->phase == TLS_PHASE_HANDSHAKE)
		tls_failure_log(t, TLS_STAT_FAILED_PEER_CLOSED, "handshake", "the connection broke");
	else if (t->phase == TLS_PHASE_ESTABLISHED && !t->peer_confirmed)
		tls_failure_log(t, TLS_STAT_FAILED_PEER_CLOSED, "handshake",
		                "the connection broke before the peer had answered our last message");
	else if (t->phase == TLS_PHASE_ESTABLISHED)
		tls_stats_add(TLS_STAT_BROKEN, 1);
	t->phase = TLS_PHASE_CLOSED;
}

/*
 * Fills the process's input with what T did not take before and what this turn may take from the socket.
 * Returns 0, -1 on a read error.
 */
static int fetch_input(struct tcp_connection *c, struct tls_connection *t, struct tls_io *io,
                       rd_conn_flags_t *flags)
{
	unsigned char *in = tls_io_input();
	unsigned kept = t->input != NULL ? t->input->used : 0, room;
	int n;

	if (in == NULL)
		return -1;
	if (kept > 0)
		memcpy(in, t->input->bytes, kept);
	io->in = in;
	io->in_size = kept;
	room = tls_turn_take(c, t, flags);
	if (room == 0)
		return 0;
	n = tcp_read_data(c->fd, c, (char *)in + kept, (int)room, flags);
	if (n < 0) {
		note_break(t);
		return -1;
	}
	io->in_size += (unsigned)n;
	return 0;
}

/* Keeps for the next call what the TLS library has not taken. Returns 0, -1 without memory (logged). */
static int keep_input(struct tls_connection *t, const struct tls_io *io)
{
	size_t left = io->in_size - io->in_taken;
	struct tls_chunk *chunk = NULL;

	if (left > 0 &&
	    (chunk = tls_queue_new_chunk(io->in + io->in_taken, (unsigned)left, (unsigned)left)) == NULL) {
		tls_failure_log(t, TLS_STAT_FAILED_MEMORY, "reading", "no shared memory");
		return -1;
	}
	tls_queue_free_chunk(t->input);
	t->input = chunk;
	return 0;
}

/*
 * Decrypts into the host's buffer until that or the turn's share is full (*FULL), or input is short. Returns
 * the bytes added, -1 on an error (logged). After a close_notify nothing more is read; what answers the last
 * message may still be sent.
 */
static int read_cleartext(struct tcp_connection *c, struct tls_connection *t, bool *full)
{
	struct tcp_req *req = &c->req;
	size_t room = req->b_size - (size_t)(req->pos - req->buf), share = tls_turn_size(c, t);
	int total = 0;

	if (room > share)
		room = share;
	while (t->phase == TLS_PHASE_ESTABLISHED && !t->peer_closed) {
		size_t got, before = t->io->in_taken;

		*full = room == 0;
		if (*full)
			break;
		switch (tls_io_read(t->ssl, req->pos, room, &got)) {
		case TLS_STEP_DONE:
			req->pos += got;
			room -= got;
			total += (int)got;
			t->peer_confirmed = true;
			break;
		case TLS_STEP_WANTS_INPUT:
			t->peer_confirmed |= t->io->in_taken > before && !tls_ssl_has_pending(t->ssl);
			if (t->io->in_taken == t->io->in_size)
				return total;
			room -= room < EMPTY_COST ? room : EMPTY_COST;
			break;
		case TLS_STEP_CLOSED: t->peer_closed = t->peer_confirmed = true; return total;
		case TLS_STEP_FAILED:
			tls_failure_log_step(t, t->peer_confirmed ? "reading" : "handshake");
			t->phase = TLS_PHASE_CLOSED;
			return -1;
		}
	}
	return total;
}

/*
 * Handshake, then cleartext, then what waited for the end of another handshake. Returns the bytes added to the
 * host's buffer, -1 on an error (logged).
 */
static int take_input(struct tcp_connection *c, struct tls_connection *t, const struct tls_io *io, bool *full)
{
	int got;

	if (t->ssl == NULL && io->in_size == 0)
		return 0;
	if (t->phase < TLS_PHASE_ESTABLISHED && handshake(c, t) != 0)
		return -1;
	if (in_handshake_again(t) && refresh_keys(t) != 0)
		return -1;
	got = read_cleartext(c, t, full);
	if (got >= 0 && t->phase == TLS_PHASE_ESTABLISHED && !tls_ssl_in_handshake(t->ssl) && flush_queue(t) != 0)
		return -1;
	return got;
}

/* Sends what the TLS library has written. Returns 0, -1 when the host could not. write_lock held. */
static int send_output(struct tcp_connection *c, struct tls_connection *t, const struct tls_io *io)
{
	snd_flags_t flags = c->send_flags;

	if (io->out_used == 0)
		return 0;
	flags.f &= (unsigned short)~SND_F_CON_CLOSE;
	if (t->close_after_queue && t->phase == TLS_PHASE_ESTABLISHED && t->queue.first == NULL) {
		flags.f |= SND_F_CON_CLOSE;
		t->close_after_queue = false;
	}
	return tcpconn_send_unsafe(c->fd, c, (const char *)io->out, (unsigned)io->out_used, flags) < 0 ? -1 : 0;
}

/*
 * Tells the host whether to call again at once, and of the end only after everything before it is delivered.
 * Nothing is left behind here: either the host calls again, or the socket makes it call.
 */
static void set_read_flags(struct tcp_connection *c, struct tls_connection *t, bool full,
                           rd_conn_flags_t *flags)
{
	bool more = full && (t->input != NULL || tls_ssl_has_pending(t->ssl));

	if (c->state == S_CONN_EOF)
		t->eof_after_input = true;
	if (tls_turn_goes_on(c, t, more, flags))
		*flags |= RD_CONN_REPEAT_READ;
	if (more) {
		if (t->eof_after_input)
			c->state = S_CONN_OK;
	} else if (t->eof_after_input || t->peer_closed) {
		*flags |= RD_CONN_EOF;
		c->state = S_CONN_EOF;
		c->event = TCP_CLOSED_EOF;
	}
}

/*
 * The peer left in the middle of its handshake, or instead of answering our last message of it. That is worth
 * a log line; a port scan is not.
 */
static void note_early_end(const struct tcp_connection *c, struct tls_connection *t)
{
	bool unheard = t->phase == TLS_PHASE_ESTABLISHED && !t->peer_confirmed;

	if (c->state != S_CONN_EOF || (t->phase != TLS_PHASE_HANDSHAKE && !unheard))
		return;
	tls_failure_log(t, TLS_STAT_FAILED_PEER_CLOSED, "handshake",
	                unheard ? "the peer closed the connection before it had answered our last message"
	                        : "the peer closed the connection before it was finished");
	t->phase = TLS_PHASE_CLOSED;
}

/*
 * Whether T keeps a buffer for an incomplete record. Idle connections keep none; many such buffers could use
 * up the memory.
 */
static bool has_partial_record(const struct tls_connection *t)
{
	return t->phase == TLS_PHASE_ESTABLISHED && (t->input != NULL || tls_ssl_has_pending(t->ssl));
}

/* Sends our close_notify, unless something else is still to be sent. write_lock held. */
static void send_close_notify(struct tcp_connection *c, struct tls_connection *t, int fd)
{
	struct tls_io *io;

	if (t->phase != TLS_PHASE_ESTABLISHED || c->wbuf_q.first != NULL)
		return;
	io = tls_io_begin();
	t->io = io;
	tls_io_shutdown(t->ssl);
	t->io = NULL;
	t->phase = TLS_PHASE_CLOSED;
	if (io->out_used > 0)
		_tcpconn_write_nb(fd, c, (const char *)io->out, (int)io->out_used);
}

/*
 * The peer has closed, everything that it sent is delivered, and it can no longer be answered. The rest is
 * done here, in one of many workers, rather than in tcp_main, which closes for all of them.
 */
static void finish(struct tcp_connection *c, struct tls_connection *t)
{
	if (c->wbuf_q.first != NULL)
		return;
	if (t->peer_closed || options()->send_close_notify != 0)
		send_close_notify(c, t, c->fd);
	t->phase = TLS_PHASE_CLOSED;
	t->deadline_set = false;
	tls_domain_close(&t->use, t->ssl);
	t->ssl = NULL;
}

/* Returns the bytes added to the host's buffer, -1 on an error. write_lock held. */
static int read_locked(struct tcp_connection *c, struct tls_connection *t, struct tls_io *io,
                       rd_conn_flags_t *flags)
{
	bool full = false;
	int got;

	*flags &= ~RD_CONN_REPEAT_READ;
	tls_deadline_watch_message(c, t);
	if (tls_deadline_has_passed(c, t)) {
		tls_deadline_log(t);
		return -1;
	}
	if (c->req.pos >= c->req.buf + c->req.b_size) {
		tls_failure_log(t, TLS_STAT_FAILED_BAD_DATA, "reading",
		                "the message is larger than Kamailio's buffer (tcp_rd_buf_size)");
		c->req.error = TCP_REQ_OVERRUN;
		return -1;
	}
	if (fetch_input(c, t, io, flags) != 0)
		return -1;
	t->io = io;
	got = take_input(c, t, io, &full);
	t->io = NULL;
	tls_deadline_watch_renegotiation(t, t->ssl != NULL && in_handshake_again(t));
	if (send_output(c, t, io) != 0 || got < 0 || keep_input(t, io) != 0)
		return -1;
	if (has_partial_record(t) && tls_pressure_is_low_to_go_on(c))
		return -1;
	t->host_bytes = (unsigned)(c->req.pos - c->req.buf);
	note_early_end(c, t);
	set_read_flags(c, t, full, flags);
	if (got == 0 && t->ssl != NULL && (*flags & RD_CONN_EOF) != 0 && c->req.pos == c->req.buf)
		finish(c, t);
	return got;
}

int tls_server_read(struct tcp_connection *c, rd_conn_flags_t *flags)
{
	struct tls_connection *t = c->extra_data;
	long before = tls_mem_balance();
	int got = -1;

	tls_reuse_forget();
	lock_get(&c->write_lock);
	if (t != NULL) {
		tls_mem_use_reserve(t->phase == TLS_PHASE_ESTABLISHED);
		got = read_locked(c, t, tls_io_begin(), flags);
		tls_mem_use_reserve(false);
		t->memory += tls_mem_balance() - before;
	}
	if (got < 0 && c->req.error == TCP_REQ_OK)
		c->req.error = TCP_READ_ERROR;
	if (got == 0 && !tls_deadline_is_mid_message(c))
		tls_compat_no_message(c);
	lock_release(&c->write_lock);
	return got;
}

/* ---- encode */

/* Before the end of the handshake: starts it when that is ours to do, and queues the cleartext. */
static int encode_early(struct tcp_connection *c, struct tls_connection *t, const char *bytes, unsigned size,
                        snd_flags_t *flags)
{
	if (t->ssl == NULL && t->role == TLS_CLIENT && handshake(c, t) != 0)
		return -1;
	if ((flags->f & SND_F_CON_CLOSE) != 0) {
		t->close_after_queue = true;
		flags->f &= (unsigned short)~SND_F_CON_CLOSE;
		c->send_flags.f &= (unsigned short)~SND_F_CON_CLOSE;
	}
	return enqueue(t, bytes, size);
}

/* Encrypts as much of SIZE bytes as fits one output. Returns the bytes taken, -1 on an error (logged). */
static int encode_records(struct tls_connection *t, const struct tls_io *io, const char *bytes, unsigned size)
{
	unsigned done = 0;

	while (done < size && io->out_used < TLS_IO_OUT_SOFT_MAX) {
		size_t taken;

		if (tls_io_write(t->ssl, bytes + done, size - done, &taken) != TLS_STEP_DONE) {
			tls_failure_log_step(t, "sending");
			t->phase = TLS_PHASE_CLOSED;
			return -1;
		}
		done += (unsigned)taken;
	}
	return (int)done;
}

int tls_server_encode(struct tcp_connection *c, const char **pbuf, unsigned *plen, const char **rest_buf,
                      unsigned *rest_len, snd_flags_t *send_flags)
{
	struct tls_connection *t = c->extra_data;
	const char *bytes = *pbuf;
	unsigned size = *plen;
	long before = tls_mem_balance();
	struct tls_io *io;
	int done = -1;

	*rest_buf = NULL;
	*rest_len = 0;
	if (t == NULL || t->phase == TLS_PHASE_CLOSED)
		return -1;
	if (tls_reuse_keeps_back(t)) {
		*plen = 0;
		return 0;
	}
	io = tls_io_begin();
	t->io = io;
	tls_mem_use_reserve(t->phase == TLS_PHASE_ESTABLISHED);
	if (t->phase == TLS_PHASE_ESTABLISHED && !in_handshake_again(t))
		done = encode_records(t, io, bytes, size);
	else if (encode_early(c, t, bytes, size, send_flags) == 0)
		done = (int)size;
	tls_mem_use_reserve(false);
	t->io = NULL;
	t->memory += tls_mem_balance() - before;
	if (done < 0)
		return -1;
	*pbuf = (const char *)io->out;
	*plen = (unsigned)io->out_used;
	if ((unsigned)done < size) {
		*rest_buf = bytes + done;
		*rest_len = size - (unsigned)done;
		send_flags->f &=
			(unsigned short)~SND_F_CON_CLOSE; /* the connection is closed after the last part only */
	}
	return (int)*plen;
}

/* ---- close */

void tls_server_close(struct tcp_connection *c, int fd)
{
	struct tls_connection *t = c->extra_data;

	/* Do not make tcp_main wait for a busy lock: the close_notify is a courtesy. */
	if (t == NULL || lock_try(&c->write_lock) != 0)
		return;
	tls_deadline_log_close(c, t);
	if (options()->send_close_notify != 0 || t->peer_closed)
		send_close_notify(c, t, fd);
	lock_release(&c->write_lock);
}

/* ---- life cycle */

int tls_server_start(void)
{
	ending = tls_shared_new(sizeof(*ending));
	return ending != NULL && tls_pressure_start() == 0 && tls_queue_start() == 0 && tls_limit_start() == 0 &&
	               tls_verdict_start() == 0 && tls_list_start() == 0
	           ? 0
	           : -1;
}

void tls_server_end(void)
{
	if (ending != NULL)
		atomic_store(ending, true);
}
