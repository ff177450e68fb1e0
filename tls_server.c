/*
 * tls_server.c - one connection: the host's hooks, the handshake, reading, writing, and what waits
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
 * The connection's SSL is made with the first byte that comes or goes, so one that stays silent costs little
 * and uses the configuration that is current when it speaks.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "tls_server.h"
#include "tls.h"
#include "host/compat.h"
#include "tls_mem.h"
#include "settings/report.h"
#include "settings/table.h"
#include "settings/hostname.h"
#include "settings/runtime.h"
#include "connection/stats.h"
#include "tls_domain_types.h"
#include "crypto/openssl/compat.h"
#include "crypto/openssl/types.h"
#include "tls_init.h"
#include "crypto/openssl/io.h"
#include "crypto/openssl/verify.h"
#include "tls_domain.h"
#include "connection/connection.h"
#include "connection/list.h"
#include "connection/queue.h"
#include "connection/limit.h"
#include "connection/turn.h"
#include "connection/outgoing.h"
#include "connection/verdict.h"
#include "connection/reuse.h"

#define REASON_SIZE 320
#define SWEEP_MAX   128 /* connections that one sweep closes; the next goes on */
#define EMPTY_COST \
	256 /* bytes of a turn that a record without data counts as: it costs as much as a message */

/* A handshake takes pieces of up to 22 KB, in each process. */
#define SHAKE_PIECE (128 * 1024)

/* In shared memory. */
struct shared {
	atomic_uint refused_at;   /* ticks of the last complaint about low memory */
	atomic_uint limited_at;   /* ... about too many handshakes of one address */
	atomic_uint broken_until; /* ticks: no large piece of memory was there, so none is looked for; 0: never */
	atomic_size_t broken_left; /* bytes that were left then */
	atomic_bool ending;        /* the server stops: nothing is freed any more */
};

static struct shared *shared;

/* As they are now. */
static const struct tls_options *options(void)
{
	return tls_runtime_options();
}

/* ---- names for log lines */

struct peer_name {
	char text[IP_ADDR_MAX_STR_SIZE + 10];
};

/* "192.0.2.1:5061" or "[2001:db8::1]:5061" in OUT. */
static const char *peer_of(const struct tcp_connection *c, struct peer_name *out)
{
	struct ip_addr ip = c->rcv.src_ip;
	char *text = ip_addr2a(&ip);

	snprintf(out->text, sizeof(out->text), ip.af == AF_INET6 ? "[%s]:%u" : "%s:%u", text, c->rcv.src_port);
	return out->text;
}

static const char *domain_name(const struct tls_connection *t)
{
	return t->use.domain != NULL ? t->use.domain->name : "none yet";
}

/* WHY is what a handshake's failure counts as. */
static void count_failure(const struct tls_connection *t, enum tls_stat why)
{
	bool handshake = why >= TLS_STAT_FAILED_FIRST && why <= TLS_STAT_FAILED_LAST;

	tls_stats_add(handshake && t->phase == TLS_PHASE_ESTABLISHED && t->heard ? TLS_STAT_BROKEN : why, 1);
}

/*
 * One line for each connection that ends otherwise than by its peer's wish, and its count. doc/ gives the
 * line to fail2ban: keep the form. tls_log can make it more urgent than a notice, not less.
 */
static void log_failure(const struct tls_connection *t, enum tls_stat why, const char *what,
                        const char *reason)
{
	struct peer_name peer;

	count_failure(t, why);
	LOG(options()->log < L_NOTICE ? options()->log : L_NOTICE, "TLS %s failed: peer %s, domain %s: %s\n",
	    what, peer_of(t->tcp, &peer), domain_name(t), reason);
}

/* Logs why the last step failed; empties the error queue. */
static void log_crypto_failure(const struct tls_connection *t, const char *what)
{
	char reason[2 * REASON_SIZE];
	enum tls_stat why = tls_stats_failure_reason(ERR_peek_last_error(),
	                                             SSL_get_verify_result(ssl_of(t->ssl)));

	if (tls_verify_too_long(ssl_of(t->ssl)))
		why = TLS_STAT_FAILED_CERTIFICATE;
	tls_init_errors(reason, sizeof(reason));
	log_failure(t, why, what, reason);
}

/* ---- what waits for the handshake */

/* Lets cleartext wait. Returns 0, -1 when too much waits already or memory is short (logged). */
static int let_wait(struct tls_connection *t, const char *bytes, unsigned size)
{
	char reason[REASON_SIZE];

	switch (tls_queue_add(&t->queue, bytes, size)) {
	case TLS_QUEUE_OK: return 0;
	case TLS_QUEUE_NO_MEMORY:
		log_failure(t, TLS_STAT_FAILED_MEMORY, "queueing", "no shared memory");
		return -1;
	case TLS_QUEUE_FULL: break;
	}
	snprintf(
		reason, sizeof(reason),
		"%u bytes more than may wait for the handshake: %u wait here (con_ct_wq_max %d), %lu everywhere (ct_wq_max %d)",
		size, t->queue.bytes, options()->con_ct_wq_max, tls_queue_total(), options()->ct_wq_max);
	log_failure(t, TLS_STAT_QUEUE_REFUSED, "queueing", reason);
	return -1;
}

/* ---- deadlines */

static bool past(unsigned ticks, unsigned now)
{
	return TICKS_GE((ticks_t)now, (ticks_t)ticks);
}

static void set_deadline(struct tls_connection *t, int seconds)
{
	t->deadline_set = seconds > 0;
	if (seconds > 0)
		t->deadline = get_ticks_raw() + S_TO_TICKS((ticks_t)seconds);
}

/*
 * Seconds that a message may take from its first byte to its last: a connection idle in the middle of one is
 * idle.
 */
static int message_seconds(void)
{
	return options()->connection_timeout > 0 ? options()->connection_timeout : options()->handshake_timeout;
}

/* How long the host keeps an established connection on which nothing happens. */
static ticks_t idle_lifetime(void)
{
	return options()->connection_timeout < 0 ? S_TO_TICKS((ticks_t)1 << 26)
	                                         : S_TO_TICKS((ticks_t)options()->connection_timeout);
}

/* Whether the host holds the beginning of a message whose end has not come. */
static bool host_mid_message(const struct tcp_connection *c)
{
	return c->type == PROTO_WSS ? c->req.pos != c->req.buf : c->req.state > H_SKIP_EMPTY_CRLFCR_FOUND;
}

/* Whether the host or OpenSSL do. */
static bool mid_message(const struct tcp_connection *c, const struct tls_connection *t)
{
	return host_mid_message(c) || SSL_has_pending(ssl_of(t->ssl)) == 1;
}

/*
 * Whether the host has taken a message out of its buffer since the last read: what is under way now is
 * another one. A peer that drips cannot make that happen.
 */
static bool message_taken(const struct tcp_connection *c, const struct tls_connection *t)
{
	return (unsigned)(c->req.pos - c->req.buf) < t->held;
}

/* Starts, keeps or ends the deadline of the message that is under way as this read begins. */
static void watch_message(const struct tcp_connection *c, struct tls_connection *t)
{
	if (t->phase != TLS_PHASE_ESTABLISHED || t->renegotiating)
		return;
	if (!mid_message(c, t))
		t->deadline_set = false;
	else if (!t->deadline_set || message_taken(c, t))
		set_deadline(t, message_seconds());
}

/*
 * Whether the message that the deadline is about is complete: nothing has begun, or the host has taken it, or
 * is at work on it, however long that lasts.
 */
static bool message_over(const struct tcp_connection *c, const struct tls_connection *t)
{
	return TCP_REQ_COMPLETE(&c->req) || message_taken(c, t) || !mid_message(c, t);
}

/* Whether T's deadline has passed. One that was about a message whose end has come meanwhile is over. */
static bool too_late(const struct tcp_connection *c, struct tls_connection *t)
{
	if (!t->deadline_set || !past(t->deadline, get_ticks_raw()))
		return false;
	if (t->phase == TLS_PHASE_ESTABLISHED && !t->renegotiating && message_over(c, t))
		t->deadline_set = false;
	return t->deadline_set;
}

/* Logs and counts that T was not done within so many seconds, as the setting NAME says. */
static void log_late(struct tls_connection *t, int seconds, const char *name)
{
	char reason[REASON_SIZE];

	snprintf(reason, sizeof(reason), "not finished within %d s (%s)", seconds, name);
	log_failure(t, TLS_STAT_FAILED_TIMEOUT, t->phase == TLS_PHASE_ESTABLISHED ? "reading" : "handshake",
	            reason);
	t->deadline_set = false;
}

/* The same for a deadline; once, whoever comes to it first: a read, the sweep, or the host's own timer. */
static void log_deadline(struct tls_connection *t)
{
	bool message = t->phase == TLS_PHASE_ESTABLISHED && !t->renegotiating;

	log_late(t, message ? message_seconds() : options()->handshake_timeout,
	         message && options()->connection_timeout > 0 ? "connection_timeout" : "handshake_timeout");
}

/* ---- open and clean */

static void host_address(const struct ip_addr *ip, unsigned short port, struct tls_address *out)
{
	out->family = ip->af == AF_INET6 ? 6 : 4;
	memcpy(out->ip, ip->u.addr, out->family == 6 ? 16 : 4);
	out->port = port;
}

/*
 * What low_mem_threshold1 is when it is left to us (-1), in KB: half a megabyte for each process, which may
 * all be in a handshake at once; but never more than a sixteenth of the shared memory, so that a small one
 * can be used at all.
 */
static int chosen_limit(void)
{
	int kb = 512 * get_max_procs(), most = (int)(shm_mem_size / 1024 / 16);

	return kb < most ? kb : most;
}

/* Whether the last complaint, at *AT, is five seconds ago; then the next one is now. */
static bool may_complain(atomic_uint *at)
{
	unsigned now = get_ticks_raw(), before = atomic_load(at);

	return (before == 0 || past(before + S_TO_TICKS(5), now)) &&
	       atomic_compare_exchange_strong(at, &before, now > 0 ? now : 1);
}

/*
 * Whether the LEFT bytes of shared memory are in pieces that are large enough: nobody has been refused one,
 * or there are some again. When there are none nobody looks again for a second, or until there is a quarter
 * more: the host logs each attempt that fails.
 */
static bool in_large_pieces(size_t left)
{
	unsigned now, until;

	if (!tls_mem_missed())
		return true;
	now = get_ticks_raw();
	until = atomic_load(&shared->broken_until);
	if (until != 0 && !past(until, now) && left < atomic_load(&shared->broken_left) / 4 * 5)
		return false;
	if (tls_mem_recover(SHAKE_PIECE))
		return true;
	atomic_store(&shared->broken_left, left);
	atomic_store(&shared->broken_until, (now + S_TO_TICKS(1)) | 1);
	return false;
}

/*
 * Whether less than LIMIT_KB (what NAME says; 0: no limit) of shared memory is left, or only small pieces of
 * it, however many: what is left lies between the connections that there are. Complains at most once in five
 * seconds.
 */
static bool memory_low(struct tcp_connection *c, int limit_kb, const char *name)
{
	size_t limit = limit_kb > 0 ? (size_t)limit_kb * 1024 : 0, left = tls_mem_available();
	bool large = in_large_pieces(left);
	struct peer_name peer;

	if (limit == 0 || (left >= limit && large))
		return false;
	tls_stats_add(TLS_STAT_REFUSED, 1);
	if (may_complain(&shared->refused_at))
		LM_ERR(
			"connection with %s refused: %zu KB of shared memory are left%s (%s %d); give the host more with -m\n",
			peer_of(c, &peer), left / 1024, left >= limit ? ", but in small pieces" : "", name, limit_kb);
	return true;
}

/* Too low for a new connection. */
static bool memory_low_to_open(struct tcp_connection *c)
{
	int kb = options()->low_mem_threshold1;

	return memory_low(c, kb >= 0 ? kb : chosen_limit(), "low_mem_threshold1");
}

/* Too low to go on with a handshake, or to keep the beginning of a record. */
static bool memory_low_to_go_on(struct tcp_connection *c)
{
	int kb = options()->low_mem_threshold2;

	return memory_low(c, kb >= 0 ? kb : chosen_limit() / 2, "low_mem_threshold2");
}

/*
 * Counts T, just accepted, among the handshakes of its peer's address. Returns 0, -1 when those are too many
 * (logged).
 */
static int join_limit(const struct tcp_connection *c, struct tls_connection *t)
{
	int limit = options()->max_handshakes_per_address;
	struct tls_address from;
	struct peer_name peer;

	host_address(&c->rcv.src_ip, 0, &from);
	if (tls_limit_enter(&from, limit, &t->limit))
		return 0;
	tls_stats_add(TLS_STAT_CROWDED, 1);
	if (may_complain(&shared->limited_at))
		LM_NOTICE(
			"TLS handshake failed: peer %s, domain none yet: its address has %d handshakes in progress "
			"already (max_handshakes_per_address); more such refusals are counted, and logged every 5 seconds\n",
			peer_of(c, &peer), limit);
	return -1;
}

/*
 * Whether there is a section with the id that the script has chosen, if there must be one. The configuration
 * that says so is the one that T uses then.
 */
static bool has_section(struct tls_connection *t)
{
	if (t->server_id == NULL || options()->unknown_server_id == 0)
		return true;
	t->generation = tls_generation_pin();
	return t->generation != NULL && tls_domain_has_id(t->generation, t->role, t->server_id);
}

/* T cannot be opened. Returns -1. */
static int refuse_choice(struct tls_connection *t, enum tls_stat why, const char *reason)
{
	log_failure(t, why, "connecting", reason);
	tls_generation_unpin(t->generation);
	tls_shared_free(t->server_name);
	tls_shared_free(t->server_id);
	return -1;
}

/* An outgoing connection: whether the script allows it, and what it chose. Returns 0, -1 when not (logged). */
static int ask_script(struct tcp_connection *c, struct tls_connection *t)
{
	char reason[REASON_SIZE];
	const char *fault;

	if (!tls_outgoing_allowed(c)) {
		c->flags |= F_CONN_NOSEND;
		return 0;
	}
	fault = tls_outgoing_choose(&t->server_name, &t->server_id);
	if (fault != NULL)
		return refuse_choice(
			t, fault == TLS_OUTGOING_NO_MEMORY ? TLS_STAT_FAILED_MEMORY : TLS_STAT_FAILED_INTERNAL, fault);
	if (has_section(t))
		return 0;
	snprintf(reason, sizeof(reason),
	         "no client section has the server_id \"%.128s\" that the script has chosen (unknown_server_id)",
	         t->server_id);
	return refuse_choice(t, TLS_STAT_FAILED_INTERNAL, tls_text_clean(reason));
}

int tls_server_open(struct tcp_connection *c, int sock)
{
	struct tls_connection *t;
	struct peer_name peer;

	(void)sock;
	if (memory_low_to_open(c))
		return -1;
	t = tls_shared_alloc(sizeof(*t));
	if (t == NULL) {
		LM_ERR("connection with %s refused: no shared memory; give the host more with -m\n",
		       peer_of(c, &peer));
		return -1;
	}
	t->tcp = c;
	t->id = c->id;
	t->role = c->state == S_CONN_ACCEPT ? TLS_SERVER : TLS_CLIENT;
	t->started = get_ticks_raw();
	t->memory = sizeof(*t);
	set_deadline(t, options()->handshake_timeout);
	c->type = PROTO_TLS;
	c->rcv.proto = PROTO_TLS;
	c->lifetime = S_TO_TICKS((ticks_t)options()->handshake_timeout);
	c->timeout = get_ticks_raw() + c->lifetime;
	if ((t->role == TLS_CLIENT ? ask_script(c, t) : join_limit(c, t)) != 0) {
		tls_shared_free(t);
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

	if (t == NULL || atomic_load(&shared->ending))
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
	tls_chunk_free(t->input);
	tls_shared_free(t->server_name);
	tls_shared_free(t->server_id);
	tls_shared_free(t);
}

/* ---- from the first byte to the handshake's end */

/*
 * The side of the connection by which a domain is chosen: ours when accepting, the peer's when connecting;
 * where no section stands for that, ours too, as older configurations mean it.
 */
static void choose_domain(const struct tcp_connection *c, struct tls_connection *t)
{
	struct tls_domain_query q = {.role = t->role, .server_id = t->server_id, .server_name = t->server_name};
	bool named;

	host_address(&c->rcv.dst_ip, c->rcv.dst_port, t->role == TLS_SERVER ? &q.address : &q.own);
	if (t->role == TLS_CLIENT)
		host_address(&c->rcv.src_ip, c->rcv.src_port, &q.address);
	q.server_name_length = t->server_name != NULL ? strlen(t->server_name) : 0;
	t->use.address = q.address;
	t->use.domain = tls_domain_find(t->generation, &q, &named);
	if (t->role == TLS_CLIENT)
		t->use.name = t->server_name != NULL ? t->server_name : t->use.domain->server_name;
	if (t->server_id != NULL &&
	    (t->use.domain->server_id == NULL || strcmp(t->use.domain->server_id, t->server_id) != 0))
		LM_WARN("no client section of the TLS configuration has the server_id \"%s\": %s is used\n",
		        t->server_id, t->use.domain->name);
}

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
	return SSL_set_tlsext_host_name(ssl_of(t->ssl), host.text) == 1 ? 0 : -1;
}

/* Makes T's SSL. Returns 0, -1 without memory (logged). */
static int begin(struct tcp_connection *c, struct tls_connection *t)
{
	int result = -1;

	if (t->generation == NULL)
		t->generation = tls_generation_pin();
	if (t->generation == NULL)
		return -1;
	choose_domain(c, t);
	tls_mem_enter();
	t->ssl = tls_domain_open(&t->use);
	if (t->ssl != NULL && tls_io_attach(t->ssl, &t->io) == 0 &&
	    (t->role == TLS_SERVER || set_outgoing_name(t) == 0))
		result = 0;
	tls_mem_leave();
	if (result == 0)
		t->phase = TLS_PHASE_HANDSHAKE;
	else
		log_failure(t, TLS_STAT_FAILED_MEMORY, "handshake", "no shared memory; give the host more with -m");
	return result;
}

/*
 * Before TLS 1.3 an RSA key may also be used in the server's second flight, perhaps in another process than
 * the first, where the certificate callback set the key. Returns 0, -1 without memory (logged).
 */
static int refresh_keys(const struct tls_connection *t)
{
	int result;

	if (t->role != TLS_SERVER || SSL_in_before(ssl_of(t->ssl)) ||
	    SSL_version(ssl_of(t->ssl)) >= TLS1_3_VERSION)
		return 0;
	tls_mem_enter();
	result = tls_domain_own_keys(t->ssl);
	tls_mem_leave();
	if (result != 0)
		log_failure(t, TLS_STAT_FAILED_MEMORY, "handshake", "no shared memory for this process's key");
	return result;
}

/*
 * Whether T is established and in the middle of another handshake, or of a message that belongs to one, and
 * what we send waits for its end. A client of TLS 1.3 has no reason to stop in the middle of such a message: for
 * it nothing waits, or any stranger could fill what may wait for all (ct_wq_max).
 */
static bool in_handshake_again(const struct tls_connection *t)
{
	return t->phase == TLS_PHASE_ESTABLISHED && SSL_in_init(ssl_of(t->ssl)) &&
	       (t->role == TLS_CLIENT || SSL_version(ssl_of(t->ssl)) < TLS1_3_VERSION);
}

/* Behind a step of T's: another handshake has as much time as the first one, whatever comes meanwhile. */
static void watch_renegotiation(struct tls_connection *t)
{
	bool again = t->ssl != NULL && in_handshake_again(t);

	if (again && !t->renegotiating)
		set_deadline(t, options()->handshake_timeout);
	else if (!again && t->renegotiating)
		t->deadline_set = false;
	t->renegotiating = again;
}

/* How far the handshake has come, for those who look closely (tls_debug). */
static void log_step(const struct tls_connection *t)
{
	struct peer_name peer;

	LOG(options()->debug, "TLS handshake: peer %s, domain %s: %s\n", peer_of(t->tcp, &peer), domain_name(t),
	    SSL_state_string_long(ssl_of(t->ssl)));
}

/*
 * What the peer has sent beside its certificate: it is in the verified chain, which stays, or was of no use.
 */
static void drop_sent_chain(SSL *ssl)
{
	STACK_OF(X509) *chain = SSL_get_peer_cert_chain(ssl);

	tls_mem_enter();
	while (sk_X509_num(chain) > 0)
		X509_free(sk_X509_pop(chain));
	tls_mem_leave();
}

/*
 * Whether our part of the handshake is its last one, so that the peer's verdict on it comes later, if it comes at
 * all: on our certificate in TLS 1.3, on our Finished when a session of TLS 1.2 is resumed.
 */
static bool speaks_last(const struct tls_connection *t)
{
	return t->role == TLS_CLIENT &&
	       (SSL_version(ssl_of(t->ssl)) >= TLS1_3_VERSION || SSL_session_reused(ssl_of(t->ssl)));
}

static void established(struct tcp_connection *c, struct tls_connection *t)
{
	struct peer_name peer;

	drop_sent_chain(ssl_of(t->ssl));
	t->heard = !speaks_last(t);
	t->phase = TLS_PHASE_ESTABLISHED;
	tls_mem_insist(true);
	t->deadline_set = false;
	tls_limit_leave(t->limit);
	t->limit = NULL;
	c->lifetime = idle_lifetime();
	tls_stats_established(ssl_of(t->ssl), t->role);
	LOG(options()->log, "TLS established: peer %s, domain %s, %s, %s%s\n", peer_of(c, &peer), domain_name(t),
	    SSL_get_version(ssl_of(t->ssl)), SSL_get_cipher_name(ssl_of(t->ssl)),
	    SSL_session_reused(ssl_of(t->ssl)) ? ", resumed" : "");
}

/* Encrypts what waited for the handshake. Returns 0, -1 on an error (logged). */
static int flush_queue(struct tls_connection *t)
{
	for (struct tls_chunk *chunk = t->queue.first; chunk != NULL; chunk = chunk->next) {
		size_t done = 0, taken;

		while (done < chunk->used) {
			if (tls_io_write(t->ssl, chunk->bytes + done, chunk->used - done, &taken) != TLS_STEP_DONE) {
				log_crypto_failure(t, "sending");
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
static int shake(struct tcp_connection *c, struct tls_connection *t)
{
	if (refresh_keys(t) != 0)
		return -1;
	switch (tls_io_handshake(t->ssl)) {
	case TLS_STEP_DONE: established(c, t); return flush_queue(t);
	case TLS_STEP_WANTS_INPUT: log_step(t); return 0;
	case TLS_STEP_CLOSED:
		log_failure(t, TLS_STAT_FAILED_PEER_CLOSED, "handshake", "the peer closed it");
		break;
	case TLS_STEP_FAILED: log_crypto_failure(t, "handshake"); break;
	}
	t->phase = TLS_PHASE_CLOSED;
	return -1;
}

/*
 * Begins the handshake or goes on with it, when there is memory for that. Returns 0, -1 when it has failed
 * (logged).
 */
static int go_on(struct tcp_connection *c, struct tls_connection *t)
{
	if (memory_low_to_go_on(c) || (t->ssl == NULL && begin(c, t) != 0))
		return -1;
	return shake(c, t);
}

/* ---- read */

/*
 * The peer has reset the connection, or the network has. The host logs that, but not what it means for a
 * handshake.
 */
static void note_break(struct tls_connection *t)
{
	if (t->phase == TLS_PHASE_HANDSHAKE)
		log_failure(t, TLS_STAT_FAILED_PEER_CLOSED, "handshake", "the connection broke");
	else if (t->phase == TLS_PHASE_ESTABLISHED && !t->heard)
		log_failure(t, TLS_STAT_FAILED_PEER_CLOSED, "handshake",
		            "the connection broke before the peer had answered our last message");
	else if (t->phase == TLS_PHASE_ESTABLISHED)
		tls_stats_add(TLS_STAT_BROKEN, 1);
	t->phase = TLS_PHASE_CLOSED;
}

/*
 * Fills the process's input with what T could not take before and what this turn may take from the socket.
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

/* Keeps for the next call what OpenSSL has not taken. Returns 0, -1 without memory (logged). */
static int keep_input(struct tls_connection *t, const struct tls_io *io)
{
	size_t left = io->in_size - io->in_taken;
	struct tls_chunk *chunk = NULL;

	if (left > 0 && (chunk = tls_chunk_new(io->in + io->in_taken, (unsigned)left, (unsigned)left)) == NULL) {
		log_failure(t, TLS_STAT_FAILED_MEMORY, "reading", "no shared memory");
		return -1;
	}
	tls_chunk_free(t->input);
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
			t->heard = true;
			break;
		case TLS_STEP_WANTS_INPUT:
			t->heard |= t->io->in_taken > before && SSL_has_pending(ssl_of(t->ssl)) == 0;
			if (t->io->in_taken == t->io->in_size)
				return total;
			room -= room < EMPTY_COST ? room : EMPTY_COST;
			break;
		case TLS_STEP_CLOSED: t->peer_closed = t->heard = true; return total;
		case TLS_STEP_FAILED:
			log_crypto_failure(t, t->heard ? "reading" : "handshake");
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
	if (t->phase < TLS_PHASE_ESTABLISHED && go_on(c, t) != 0)
		return -1;
	if (in_handshake_again(t) && refresh_keys(t) != 0)
		return -1;
	got = read_cleartext(c, t, full);
	if (got >= 0 && t->phase == TLS_PHASE_ESTABLISHED && !SSL_in_init(ssl_of(t->ssl)) && flush_queue(t) != 0)
		return -1;
	return got;
}

/* Sends what OpenSSL has put out. Returns 0, -1 when the host could not. write_lock held. */
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
 * Tells the host whether to call again at once, and of the end only when all that came before it is
 * delivered. Nothing that waits here is forgotten: either the host calls again, or the socket makes it.
 */
static void set_read_flags(struct tcp_connection *c, struct tls_connection *t, bool full,
                           rd_conn_flags_t *flags)
{
	bool more = full && (t->input != NULL || SSL_has_pending(ssl_of(t->ssl)) == 1);

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
 * The peer has gone in the middle of its handshake, or instead of an answer to our last message of it: that is
 * worth a line, a port scan is not.
 */
static void note_early_end(const struct tcp_connection *c, struct tls_connection *t)
{
	bool unheard = t->phase == TLS_PHASE_ESTABLISHED && !t->heard;

	if (c->state != S_CONN_EOF || (t->phase != TLS_PHASE_HANDSHAKE && !unheard))
		return;
	log_failure(t, TLS_STAT_FAILED_PEER_CLOSED, "handshake",
	            unheard ? "the peer closed the connection before it had answered our last message"
	                    : "the peer closed the connection before it was finished");
	t->phase = TLS_PHASE_CLOSED;
}

/*
 * Whether T keeps a buffer for a record that is not complete: idle connections do not, so all together they
 * could take what there is.
 */
static bool half_record(const struct tls_connection *t)
{
	return t->phase == TLS_PHASE_ESTABLISHED && (t->input != NULL || SSL_has_pending(ssl_of(t->ssl)) == 1);
}

/* Sends our close_notify, when nothing waits to be sent before it. write_lock held. */
static void say_goodbye(struct tcp_connection *c, struct tls_connection *t, int fd)
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
 * The peer has gone, everything that it sent is delivered, and nobody can be answered any more: what remains
 * is done here, by one of many workers that has the connection at hand, rather than by tcp_main, which closes
 * for all of them.
 */
static void finish(struct tcp_connection *c, struct tls_connection *t)
{
	if (c->wbuf_q.first != NULL)
		return;
	if (t->peer_closed || options()->send_close_notify != 0)
		say_goodbye(c, t, c->fd);
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
	watch_message(c, t);
	if (too_late(c, t)) {
		log_deadline(t);
		return -1;
	}
	if (c->req.pos >= c->req.buf + c->req.b_size) {
		log_failure(t, TLS_STAT_FAILED_BAD_DATA, "reading",
		            "the message is larger than the host's buffer (tcp_rd_buf_size)");
		c->req.error = TCP_REQ_OVERRUN;
		return -1;
	}
	if (fetch_input(c, t, io, flags) != 0)
		return -1;
	t->io = io;
	got = take_input(c, t, io, &full);
	t->io = NULL;
	watch_renegotiation(t);
	if (send_output(c, t, io) != 0 || got < 0 || keep_input(t, io) != 0)
		return -1;
	if (half_record(t) && memory_low_to_go_on(c))
		return -1;
	t->held = (unsigned)(c->req.pos - c->req.buf);
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
		tls_mem_insist(t->phase == TLS_PHASE_ESTABLISHED);
		got = read_locked(c, t, tls_io_begin(), flags);
		tls_mem_insist(false);
		t->memory += tls_mem_balance() - before;
	}
	if (got < 0 && c->req.error == TCP_REQ_OK)
		c->req.error = TCP_READ_ERROR;
	if (got == 0 && !host_mid_message(c))
		tls_compat_no_message(c);
	lock_release(&c->write_lock);
	return got;
}

/* ---- encode */

/* Until the handshake is done: starts it when it is ours to start, and lets the cleartext wait. */
static int encode_early(struct tcp_connection *c, struct tls_connection *t, const char *bytes, unsigned size,
                        snd_flags_t *flags)
{
	if (t->ssl == NULL && t->role == TLS_CLIENT && go_on(c, t) != 0)
		return -1;
	if ((flags->f & SND_F_CON_CLOSE) != 0) {
		t->close_after_queue = true;
		flags->f &= (unsigned short)~SND_F_CON_CLOSE;
		c->send_flags.f &= (unsigned short)~SND_F_CON_CLOSE;
	}
	return let_wait(t, bytes, size);
}

/*
 * Encrypts as much of SIZE bytes as goes into one output. Returns the bytes taken, -1 on an error (logged).
 */
static int encode_records(struct tls_connection *t, const struct tls_io *io, const char *bytes, unsigned size)
{
	unsigned done = 0;

	while (done < size && io->out_used < TLS_IO_OUT_SOFT_MAX) {
		size_t taken;

		if (tls_io_write(t->ssl, bytes + done, size - done, &taken) != TLS_STEP_DONE) {
			log_crypto_failure(t, "sending");
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
	tls_mem_insist(t->phase == TLS_PHASE_ESTABLISHED);
	if (t->phase == TLS_PHASE_ESTABLISHED && !in_handshake_again(t))
		done = encode_records(t, io, bytes, size);
	else if (encode_early(c, t, bytes, size, send_flags) == 0)
		done = (int)size;
	tls_mem_insist(false);
	t->io = NULL;
	t->memory += tls_mem_balance() - before;
	if (done < 0)
		return -1;
	*pbuf = (const char *)io->out;
	*plen = (unsigned)io->out_used;
	if ((unsigned)done < size) {
		*rest_buf = bytes + done;
		*rest_len = size - (unsigned)done;
		send_flags->f &= (unsigned short)~SND_F_CON_CLOSE; /* to be closed behind the last part only */
	}
	return (int)*plen;
}

/* ---- close */

/*
 * Whether the host's timer closes T, which we have opened: until the peer's first byte it counts its own
 * tcp_connection_lifetime, and that may be shorter than handshake_timeout.
 */
static bool outlived(const struct tls_connection *t)
{
	return t->role == TLS_CLIENT && t->phase == TLS_PHASE_HANDSHAKE && t->deadline_set &&
	       past(t->started + cfg_get(tcp, tcp_cfg, con_lifetime), get_ticks_raw());
}

void tls_server_close(struct tcp_connection *c, int fd)
{
	struct tls_connection *t = c->extra_data;

	/* A busy lock is no reason to keep tcp_main waiting: the notice is a courtesy. */
	if (t == NULL || lock_try(&c->write_lock) != 0)
		return;
	if (t->phase < TLS_PHASE_ESTABLISHED && too_late(c, t)) /* its timer may come before the sweep */
		log_deadline(t);
	else if (outlived(t))
		log_late(t, (int)TICKS_TO_S(cfg_get(tcp, tcp_cfg, con_lifetime)), "tcp_connection_lifetime");
	if (options()->send_close_notify != 0 || t->peer_closed)
		say_goodbye(c, t, fd);
	lock_release(&c->write_lock);
}

/* ---- the sweep */

/* Whether the peer has not taken what waits for it for longer than send_timeout allows. */
static bool send_stalled(const struct tcp_connection *c, unsigned now)
{
	ticks_t host_timeout = cfg_get(tcp, tcp_cfg, send_timeout);

	return options()->send_timeout > 0 && c->state == S_CONN_OK && c->wbuf_q.first != NULL &&
	       past(c->wbuf_q.wr_timeout - host_timeout + S_TO_TICKS((ticks_t)options()->send_timeout), now);
}

struct sweep {
	unsigned now;
	int count;
	int ids[SWEEP_MAX];
};

/*
 * Notes who seems to be late. What is seen here without the connection's lock may be half written, so it is
 * looked at again.
 */
static int suspect(struct tls_connection *t, void *arg)
{
	struct sweep *s = arg;

	if (t->tcp->state < S_CONN_OK) /* being closed already */
		return 0;
	if ((t->deadline_set && past(t->deadline, s->now)) || send_stalled(t->tcp, s->now))
		s->ids[s->count++] = t->id;
	return s->count == SWEEP_MAX;
}

/* Whether T, which is held, has to go (logged). */
static bool convict(struct tls_connection *t, unsigned now)
{
	if (too_late(t->tcp, t)) {
		log_deadline(t);
		return true;
	}
	if (!send_stalled(t->tcp, now))
		return false;
	log_failure(t, TLS_STAT_FAILED_TIMEOUT, "sending", "the peer takes nothing (send_timeout)");
	return true;
}

void tls_server_sweep(unsigned ticks, void *param)
{
	struct sweep s = {.now = get_ticks_raw()};

	(void)ticks;
	(void)param;
	tls_list_walk(suspect, &s);
	for (int i = 0; i < s.count; i++) {
		struct tls_connection *t = tls_list_hold(s.ids[i]);
		bool guilty = t != NULL && convict(t, s.now);

		if (t != NULL)
			tls_list_release(t);
		if (guilty)
			tls_list_kill(s.ids[i]);
	}
}

/* ---- life cycle */

int tls_server_start(void)
{
	shared = tls_shared_alloc(sizeof(*shared));
	if (shared != NULL)
		return tls_queue_start() == 0 && tls_limit_start() == 0 && tls_verdict_start() == 0 ? tls_list_start()
		                                                                                    : -1;
	LM_ERR("no shared memory; give the host more with -m\n");
	return -1;
}

void tls_server_end(void)
{
	if (shared != NULL)
		atomic_store(&shared->ending, true);
}
