/*
 * load: a bounded load of SIP clients over TLS (or plain TCP) for tests and benchmarks.
 *
 * Each connection sends OPTIONS requests and must read a 200 to each, with the right Call-ID and CSeq. One
 * thread, epoll, OpenSSL over memory BIOs: the bytes pass through this program's hands, so that it can send them
 * one at a time or break a connection at any byte of its handshake. It ends by itself: after --connections
 * of them, or at --time-limit. One line of JSON tells what happened.
 *
 * With --request-rate all connections stay, and take turns in sending so many requests a second in all; SIGTERM
 * ends that. SIGUSR1 makes a line in between, about the latencies since the line before.
 *
 * With --flood each connection sends ACKs, which nobody answers, as fast as the server takes them, until SIGTERM or
 * --time-limit; --pipeline of them make one write, which is one record as long as it fits.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "settings.h"

#define MAX_PARALLEL 60000
#define MAX_SAMPLES  (4u << 20)
#define MAX_MESSAGE  (1u << 20)
#define IO_CHUNK     16384u
#define FLOOD_QUEUE  65536u
#define NEVER        UINT64_MAX
#define MS           UINT64_C(1000000)
#define SECOND       (1000 * MS)

/* What a connection is waiting for. */
enum state { IDLE, CONNECTING, HANDSHAKE, TALKING, HOLDING, STANDING, FLOODING };

/* Why a connection failed; each is a key of the report. */
enum reason {
	FAIL_CONNECT,
	FAIL_HANDSHAKE,
	FAIL_CLOSED,
	FAIL_TLS,
	FAIL_TIMEOUT,
	FAIL_STATUS,
	FAIL_MISMATCH,
	FAIL_TOO_LONG,
	FAIL_UNFINISHED,
	REASONS
};

static const char *const reason_names[REASONS] = {
	[FAIL_CONNECT] = "connect",   [FAIL_HANDSHAKE] = "handshake", [FAIL_CLOSED] = "closed",
	[FAIL_TLS] = "tls",           [FAIL_TIMEOUT] = "timeout",     [FAIL_STATUS] = "status",
	[FAIL_MISMATCH] = "mismatch", [FAIL_TOO_LONG] = "too_long",   [FAIL_UNFINISHED] = "unfinished",
};

/* A growing queue of bytes: append at the end, consume from the start. */
struct queue {
	char *data;
	size_t start, end, room;
};

/* Times in nanoseconds, sorted once for the percentiles. */
struct samples {
	uint32_t *us;
	size_t count, room;
};

/* One slot; it carries one connection after the other. */
struct conn {
	enum state state;
	int fd;
	SSL *ssl;
	SSL_SESSION *session;   /* of this slot's last connection, for --resume */
	struct queue out;       /* bytes for the socket */
	struct queue in;        /* cleartext not parsed yet */
	uint64_t born;          /* when the connection began */
	uint64_t started;       /* the same, then when the batch of requests began */
	uint64_t deadline;      /* when it has taken too long; the end of the hold while HOLDING */
	uint64_t number;        /* of this connection, for its Call-ID */
	uint64_t sent_bytes;    /* to the socket so far */
	uint64_t kill_at;       /* break it when so many bytes are sent; NEVER for most */
	unsigned int requested; /* requests sent */
	unsigned int answered;  /* replies read */
	uint32_t events;        /* what epoll watches now */
	bool queued;            /* waits for its turn to send, with --request-rate */
	bool active;            /* between its connect and the end of its first requests */
};

static struct options {
	const char *host, *port, *cert, *key, *ca, *sni, *tls, *ciphers;
	unsigned long connections, parallel, requests, pipeline, size, rate, request_rate, at_once;
	unsigned long kill_percent, hold, time_limit, timeout, seed;
	bool resume, drip, plain, flood;
} opt = {
	.host = "127.0.0.1",
	.connections = 1000,
	.parallel = 50,
	.requests = 1,
	.pipeline = 1,
	.time_limit = 120,
	.timeout = 20,
	.seed = 1,
};

static struct {
	unsigned long begun, finished, ok, killed, requests_ok, resumed, open, peak_open, starved, active;
	unsigned long failed[REASONS];
	char first_error[256], version[16], cipher[64];
	struct samples handshakes, replies, wholes;
} count;

static struct addrinfo *target;
static SSL_CTX *context;
static SSL_SESSION *newest; /* of any slot, for --resume in slots that had none */
static struct conn *slots;
static unsigned int *free_slots;
static size_t free_count;
static int poller = -1;
static uint64_t random_state;
static uint64_t run_id;
static unsigned int *turns; /* slots that wait to send, a ring of opt.parallel */
static size_t turn_first, turn_count;
static volatile sig_atomic_t interrupted, asked;

/* Ends the program because of how it was called or what the machine refuses. */
static _Noreturn void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("load: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(2);
}

/* Nanoseconds on a clock that never jumps. */
static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

/* xorshift: the same --seed breaks the same connections at the same bytes. */
static uint64_t random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static void *must_realloc(void *old, size_t size)
{
	void *p = realloc(old, size);

	if (!p)
		die("out of memory");
	return p;
}

/* ---- queues and samples ---------------------------------------------------------------------------- */

static size_t queue_length(const struct queue *q)
{
	return q->end - q->start;
}

/* Makes room for `size` more bytes and returns where they go; the caller adds to `end` what it wrote. */
static char *queue_reserve(struct queue *q, size_t size)
{
	if (q->start == q->end)
		q->start = q->end = 0;
	if (q->room - q->end < size && q->start) {
		memmove(q->data, q->data + q->start, queue_length(q));
		q->end -= q->start;
		q->start = 0;
	}
	if (q->room - q->end < size) {
		q->room = q->end + size + q->room / 2;
		q->data = must_realloc(q->data, q->room);
	}
	return q->data + q->end;
}

static void queue_clear(struct queue *q)
{
	q->start = q->end = 0;
}

static void samples_add(struct samples *s, uint64_t ns)
{
	if (s->count == MAX_SAMPLES)
		return;
	if (s->count == s->room) {
		s->room = s->room ? s->room * 2 : 1024;
		s->us = must_realloc(s->us, s->room * sizeof(*s->us));
	}
	s->us[s->count++] = (uint32_t)(ns / 1000 > UINT32_MAX ? UINT32_MAX : ns / 1000);
}

static int compare_us(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static uint32_t samples_at(const struct samples *s, double share)
{
	return s->count ? s->us[(size_t)((double)(s->count - 1) * share)] : 0;
}

/* ---- the end of a connection ------------------------------------------------------------------------ */

static void conn_remember_error(enum reason why, const char *detail)
{
	unsigned long e = ERR_peek_error();
	char text[160] = "";

	if (count.first_error[0])
		return;
	if (e)
		ERR_error_string_n(e, text, sizeof(text));
	snprintf(count.first_error, sizeof(count.first_error), "%s: %s%s%s", reason_names[why], detail,
	         text[0] ? ", " : "", text);
}

/* The connection stands, or is over: another one may begin, with --at-once. */
static void conn_rest(struct conn *c)
{
	count.active -= c->active;
	c->active = false;
}

/* Frees what a connection holds and gives its slot back; `abort_it` breaks it with an RST. */
static void conn_release(struct conn *c, bool abort_it)
{
	struct linger hard = {.l_onoff = 1, .l_linger = 0};

	if (abort_it)
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	if (c->fd >= 0)
		close(c->fd);
	SSL_free(c->ssl);
	c->ssl = NULL;
	c->fd = -1;
	c->state = IDLE;
	conn_rest(c);
	queue_clear(&c->out);
	queue_clear(&c->in);
	count.finished++;
	count.open--;
	free_slots[free_count++] = (unsigned int)(c - slots);
}

static void conn_fail(struct conn *c, enum reason why, const char *detail)
{
	conn_remember_error(why, detail);
	ERR_clear_error();
	count.failed[why]++;
	conn_release(c, false);
}

/* Breaks a connection on purpose, half of them with an RST and half with a FIN. */
static void conn_kill(struct conn *c)
{
	count.killed++;
	conn_release(c, random_next() & 1);
}

static void conn_finish(struct conn *c)
{
	count.ok++;
	if (c->ssl) {
		SSL_shutdown(c->ssl);
		ERR_clear_error();
		while (BIO_pending(SSL_get_wbio(c->ssl)) > 0) {
			char bytes[256];
			int n = BIO_read(SSL_get_wbio(c->ssl), bytes, sizeof(bytes));

			if (n <= 0 || send(c->fd, bytes, (size_t)n, MSG_NOSIGNAL) != n)
				break;
		}
	}
	conn_release(c, false);
}

/* ---- bytes: cleartext <-> TLS <-> socket ------------------------------------------------------------ */

/* Moves what TLS wants to send into the queue for the socket. */
static void conn_collect(struct conn *c)
{
	size_t waiting;

	if (!c->ssl)
		return;
	while ((waiting = (size_t)BIO_pending(SSL_get_wbio(c->ssl))) > 0) {
		int n = BIO_read(SSL_get_wbio(c->ssl), queue_reserve(&c->out, waiting), (int)waiting);

		if (n <= 0)
			return;
		c->out.end += (size_t)n;
	}
}

/* How many bytes the next send may take: all, one with --drip, never past the byte at which it is to break. */
static size_t conn_allowance(const struct conn *c)
{
	size_t size = queue_length(&c->out);

	if (opt.drip && size > 1)
		size = 1;
	if (c->kill_at != NEVER && size > c->kill_at - c->sent_bytes)
		size = (size_t)(c->kill_at - c->sent_bytes);
	return size;
}

/* Sends what the socket takes. False: the connection is gone. */
static bool conn_flush(struct conn *c)
{
	while (queue_length(&c->out)) {
		size_t size = conn_allowance(c);
		ssize_t n = size ? send(c->fd, c->out.data + c->out.start, size, MSG_NOSIGNAL) : 0;

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return true;
		if (n < 0) {
			conn_fail(c, c->state == HANDSHAKE ? FAIL_HANDSHAKE : FAIL_CLOSED, strerror(errno));
			return false;
		}
		c->out.start += (size_t)n;
		c->sent_bytes += (uint64_t)n;
		if (c->sent_bytes >= c->kill_at) {
			conn_kill(c);
			return false;
		}
		if (opt.drip)
			return true;
	}
	return true;
}

/* Reads the socket empty, into TLS or, without TLS, into the cleartext. False: the connection is gone. */
static bool conn_fill(struct conn *c)
{
	char bytes[IO_CHUNK];

	for (;;) {
		ssize_t n = recv(c->fd, bytes, sizeof(bytes), 0);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return true;
		if (n <= 0) {
			conn_fail(c, c->state == HANDSHAKE ? FAIL_HANDSHAKE : FAIL_CLOSED,
			          n ? strerror(errno) : "the server closed the connection");
			return false;
		}
		if (c->ssl) {
			if (BIO_write(SSL_get_rbio(c->ssl), bytes, (int)n) != (int)n)
				die("out of memory");
		} else {
			memcpy(queue_reserve(&c->in, (size_t)n), bytes, (size_t)n);
			c->in.end += (size_t)n;
		}
		if ((size_t)n < sizeof(bytes))
			return true;
	}
}

/* Decrypts all that came. False: the connection is gone. */
static bool conn_decrypt(struct conn *c)
{
	while (c->ssl) {
		int n = SSL_read(c->ssl, queue_reserve(&c->in, IO_CHUNK), IO_CHUNK);

		if (n > 0) {
			c->in.end += (size_t)n;
			continue;
		}
		switch (SSL_get_error(c->ssl, n)) {
		case SSL_ERROR_WANT_READ:
		case SSL_ERROR_WANT_WRITE: return true;
		case SSL_ERROR_ZERO_RETURN: conn_fail(c, FAIL_CLOSED, "close_notify before the reply"); return false;
		default: conn_fail(c, FAIL_TLS, "reading failed"); return false;
		}
	}
	return true;
}

/* Queues cleartext for sending, through TLS if there is any. */
static bool conn_write(struct conn *c, const char *data, size_t size)
{
	if (!c->ssl) {
		memcpy(queue_reserve(&c->out, size), data, size);
		c->out.end += size;
		return true;
	}
	if (SSL_write(c->ssl, data, (int)size) != (int)size) {
		conn_fail(c, FAIL_TLS, "writing failed");
		return false;
	}
	return true;
}

/* ---- SIP -------------------------------------------------------------------------------------------- */

/* Writes one request of at least opt.size bytes; returns its length. */
static size_t request_format(const struct conn *c, unsigned int cseq, char *to, size_t room)
{
	int head = snprintf(
		to, room,
		"OPTIONS sip:load@%s:%s SIP/2.0\r\n"
		"Via: SIP/2.0/%s 127.0.0.1:5099;branch=z9hG4bK%llx.%llu.%u;rport\r\n"
		"Max-Forwards: 20\r\nFrom: <sip:load@localhost>;tag=l%llu\r\nTo: <sip:load@localhost>\r\n"
		"Call-ID: %llx-%llu\r\nCSeq: %u OPTIONS\r\nContent-Length: ",
		strchr(opt.host, ':') ? "localhost" : opt.host, opt.port, opt.plain ? "TCP" : "TLS",
		(unsigned long long)run_id, (unsigned long long)c->number, cseq, (unsigned long long)c->number,
		(unsigned long long)run_id, (unsigned long long)c->number, cseq);
	/* 11 bytes: up to seven digits and the empty line */
	size_t body = opt.size > (size_t)head + 11 ? opt.size - (size_t)head - 11 : 0;
	int tail = snprintf(to + head, room - (size_t)head, "%0*zu\r\n\r\n", body ? 7 : 1, body);

	memset(to + head + tail, 'x', body);
	return (size_t)head + (size_t)tail + body;
}

/* Writes one ACK of at least opt.size bytes, which is to be ignored; returns its length. */
static size_t ack_format(unsigned int cseq, char *to)
{
	int head =
		sprintf(to,
	            "ACK sip:load@localhost SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1:5099;branch=z9hG4bK%u\r\n"
	            "From: <sip:load@localhost>;tag=f\r\nTo: <sip:load@localhost>;tag=t\r\nCall-ID: flood\r\n"
	            "CSeq: %u ACK\r\nContent-Length: ",
	            cseq, cseq);
	/* 11 bytes: up to seven digits and the empty line */
	size_t body = opt.size > (size_t)head + 11 ? opt.size - (size_t)head - 11 : 0;
	int tail = sprintf(to + head, "%0*zu\r\n\r\n", body ? 7 : 1, body);

	memset(to + head + tail, 'x', body);
	return (size_t)head + (size_t)tail + body;
}

/* Sends the next batch of requests, --pipeline of them in one write. False: the connection is gone. */
static bool conn_request(struct conn *c)
{
	static char *text;
	size_t each = opt.size + 1024, length = 0;

	if (!text)
		text = must_realloc(NULL, each * opt.pipeline);
	for (unsigned long i = 0; !opt.request_rate && i < opt.pipeline && c->requested < opt.requests; i++)
		length += request_format(c, ++c->requested, text + length, each);
	if (opt.request_rate)
		length = request_format(c, ++c->requested, text, each);
	c->state = TALKING;
	c->started = now_ns();
	if (opt.request_rate)
		c->deadline = c->started + opt.timeout * SECOND;
	return conn_write(c, text, length);
}

/* Fills the queue with ACKs, which a socket that is full leaves there. False: the connection is gone. */
static bool conn_flood(struct conn *c)
{
	static char *text;
	static size_t length;
	size_t each = opt.size + 1024;

	if (!text) {
		text = must_realloc(NULL, each * opt.pipeline);
		for (unsigned long i = 0; i < opt.pipeline; i++)
			length += ack_format((unsigned int)i + 1, text + length);
	}
	while (queue_length(&c->out) < FLOOD_QUEUE) {
		if (!conn_write(c, text, length))
			return false;
		conn_collect(c);
	}
	return true;
}

/* Finds a header by its full name at a line's start, within a header block that ends in an empty line. */
static const char *header_find(const char *head, const char *name)
{
	size_t length = strlen(name);

	for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n"))
		if (!strncasecmp(line + 2, name, length) && line[2 + length] == ':')
			return line + 3 + length + strspn(line + 3 + length, " \t");
	return NULL;
}

/* The length of the first whole message in the queue, 0 while it is incomplete. Ends its headers with a NUL. */
static size_t reply_complete(struct queue *q)
{
	char *text = queue_reserve(q, 1), *end;
	const char *length;
	size_t total;

	*text = '\0';
	text = q->data + q->start;
	end = strstr(text, "\r\n\r\n");
	if (!end)
		return 0;
	length = header_find(text, "Content-Length");
	total = (size_t)(end + 4 - text) + (length ? strtoul(length, NULL, 10) : 0);
	if (queue_length(q) < total)
		return 0;
	end[2] = '\0';
	return total;
}

/* Whether a reply is the 200 to this connection's next request; REASONS if it is. */
static enum reason reply_check(const struct conn *c, const char *text)
{
	const char *call_id = header_find(text, "Call-ID"), *cseq = header_find(text, "CSeq");
	char wanted[64];
	int length = snprintf(wanted, sizeof(wanted), "%llx-%llu\r\n", (unsigned long long)run_id,
	                      (unsigned long long)c->number);

	if (strncmp(text, "SIP/2.0 200 ", 12) != 0)
		return FAIL_STATUS;
	if (!call_id || strncmp(call_id, wanted, (size_t)length) != 0)
		return FAIL_MISMATCH;
	if (!cseq || strtoul(cseq, NULL, 10) != c->answered + 1)
		return FAIL_MISMATCH;
	return REASONS;
}

/* Puts the connection at the end of those that wait for their turn to send. A slot stands there once at most. */
static void conn_stand(struct conn *c)
{
	c->state = STANDING;
	c->deadline = NEVER;
	if (c->queued)
		return;
	c->queued = true;
	turns[(turn_first + turn_count++) % opt.parallel] = (unsigned int)(c - slots);
}

/* All requests are answered: remember the session, hold the connection or end it. */
static void conn_done(struct conn *c)
{
	conn_rest(c);
	if (opt.flood) {
		c->state = FLOODING;
		c->deadline = NEVER;
		return;
	}
	if (opt.request_rate) {
		conn_stand(c);
		return;
	}
	if (opt.resume && c->ssl) {
		SSL_SESSION_free(c->session);
		c->session = SSL_get1_session(c->ssl);
		SSL_SESSION_free(newest);
		newest = SSL_get1_session(c->ssl);
	}
	if (!opt.hold) {
		conn_finish(c);
		return;
	}
	c->state = HOLDING;
	c->deadline = now_ns() + opt.hold * SECOND;
}

/* Takes the replies that came out of the queue. False: the connection is gone or done. */
static bool conn_replies(struct conn *c)
{
	size_t length;

	while ((length = reply_complete(&c->in)) > 0) {
		char *text = c->in.data + c->in.start;
		enum reason bad = reply_check(c, text);

		if (bad != REASONS) {
			text[strcspn(text, "\r\n")] = '\0';
			conn_fail(c, bad, text);
			return false;
		}
		c->in.start += length;
		c->answered++;
		count.requests_ok++;
		samples_add(&count.replies, now_ns() - c->started);
		if (c->answered == 1)
			samples_add(&count.wholes, now_ns() - c->born);
	}
	if (queue_length(&c->in) > MAX_MESSAGE) {
		conn_fail(c, FAIL_TOO_LONG, "a reply without end");
		return false;
	}
	if (c->answered < c->requested)
		return true;
	if (c->requested < opt.requests && !opt.request_rate)
		return conn_request(c);
	conn_done(c);
	return c->state != IDLE;
}

/* ---- the steps of a connection ---------------------------------------------------------------------- */

/* The handshake is done: count it, and send the first requests. False: the connection is gone. */
static bool conn_established(struct conn *c)
{
	if (c->kill_at != NEVER) {
		conn_kill(c);
		return false;
	}
	samples_add(&count.handshakes, now_ns() - c->started);
	if (c->ssl) {
		count.resumed += (unsigned long)SSL_session_reused(c->ssl);
		snprintf(count.version, sizeof(count.version), "%s", SSL_get_version(c->ssl));
		snprintf(count.cipher, sizeof(count.cipher), "%s", SSL_get_cipher_name(c->ssl));
	}
	if (opt.requests && !opt.request_rate && !opt.flood)
		return conn_request(c);
	conn_done(c);
	return c->state != IDLE;
}

/* One step of the handshake. False: the connection is gone. */
static bool conn_handshake(struct conn *c)
{
	int result = SSL_do_handshake(c->ssl);

	if (result == 1)
		return conn_established(c);
	if (SSL_get_error(c->ssl, result) == SSL_ERROR_WANT_READ)
		return true;
	conn_fail(c, FAIL_HANDSHAKE, "refused");
	return false;
}

/* Tells epoll what this connection waits for. */
static void conn_watch(struct conn *c)
{
	bool sends = queue_length(&c->out) || c->state == CONNECTING || c->state == FLOODING;
	uint32_t wanted = EPOLLIN | (sends ? EPOLLOUT : 0);
	struct epoll_event event = {.events = wanted, .data.ptr = c};

	if (wanted != c->events && epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event) == 0)
		c->events = wanted;
}

/* Does all that can be done now; every path that ends the connection returns before it is touched again. */
static void conn_advance(struct conn *c)
{
	if (c->state == HANDSHAKE && c->ssl && !conn_handshake(c))
		return;
	if (c->state >= TALKING) {
		if (!conn_decrypt(c))
			return;
		if (c->state == TALKING && !conn_replies(c))
			return;
	}
	conn_collect(c);
	if (c->state == FLOODING && !conn_flood(c))
		return;
	if (!conn_flush(c))
		return;
	conn_watch(c);
}

/* The TCP connection stands, or does not. False: the connection is gone. */
static bool conn_connected(struct conn *c)
{
	int error = 0;
	socklen_t size = sizeof(error);

	getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
	if (error) {
		conn_fail(c, FAIL_CONNECT, strerror(error));
		return false;
	}
	c->state = HANDSHAKE;
	return c->ssl ? true : conn_established(c);
}

static void conn_event(struct conn *c, uint32_t events)
{
	if (c->state == IDLE)
		return;
	if (c->state == CONNECTING && !conn_connected(c))
		return;
	if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && !conn_fill(c))
		return;
	conn_advance(c);
}

/* Gives a connection its TLS engine, over memory. */
static void conn_prepare_tls(struct conn *c)
{
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());

	c->ssl = SSL_new(context);
	if (!c->ssl || !in || !out)
		die("out of memory");
	BIO_set_mem_eof_return(in, -1);
	BIO_set_mem_eof_return(out, -1);
	SSL_set_bio(c->ssl, in, out);
	SSL_set_connect_state(c->ssl);
	if (opt.sni)
		SSL_set_tlsext_host_name(c->ssl, opt.sni);
	if (opt.resume && !c->session && newest)
		c->session = SSL_SESSION_dup(newest);
	if (opt.resume && c->session)
		SSL_set_session(c->ssl, c->session);
}

/* Begins the next connection in a free slot. */
static void conn_begin(void)
{
	struct conn *c = &slots[free_slots[--free_count]];
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
	int one = 1;

	c->number = ++count.begun;
	c->state = CONNECTING;
	c->active = true;
	count.active++;
	c->born = c->started = now_ns();
	c->deadline = c->started + opt.timeout * SECOND;
	c->requested = c->answered = 0;
	c->sent_bytes = 0;
	c->events = event.events;
	c->kill_at = random_next() % 100 < opt.kill_percent ? 1 + random_next() % 700 : NEVER;
	if (++count.open > count.peak_open)
		count.peak_open = count.open;
	c->fd = socket(target->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		die("no socket: %s (raise the limit of open files)", strerror(errno));
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (!opt.plain)
		conn_prepare_tls(c);
	if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event) < 0)
		die("epoll: %s", strerror(errno));
	if (connect(c->fd, target->ai_addr, target->ai_addrlen) < 0 && errno != EINPROGRESS)
		conn_fail(c, FAIL_CONNECT, strerror(errno));
}

/* ---- the report ------------------------------------------------------------------------------------- */

static void print_percentiles(const char *name, struct samples *s)
{
	if (s->count)
		qsort(s->us, s->count, sizeof(*s->us), compare_us);
	printf("\"%s\": {\"p50\": %u, \"p90\": %u, \"p99\": %u, \"p999\": %u, \"max\": %u, \"count\": %zu}, ",
	       name, samples_at(s, 0.5), samples_at(s, 0.9), samples_at(s, 0.99), samples_at(s, 0.999),
	       samples_at(s, 1.0), s->count);
}

/* A JSON string: this program's own texts and OpenSSL's, so dropping what would need an escape is enough. */
static void print_text(const char *name, const char *text)
{
	printf("\"%s\": \"", name);
	for (; *text; text++)
		if ((unsigned char)*text >= ' ' && *text != '"' && *text != '\\' && (unsigned char)*text < 127)
			putchar(*text);
	printf("\", ");
}

static void print_failures(void)
{
	unsigned long failed = 0;
	const char *comma = "";

	for (int i = 0; i < REASONS; i++)
		failed += count.failed[i];
	printf("\"failed\": %lu, \"reasons\": {", failed);
	for (int i = 0; i < REASONS; i++)
		if (count.failed[i]) {
			printf("%s\"%s\": %lu", comma, reason_names[i], count.failed[i]);
			comma = ", ";
		}
	printf("}, ");
}

static void print_report(uint64_t took)
{
	double seconds = (double)(took ? took : 1) /
	                 (double)SECOND; /* a signal may come before anything has begun */
	struct rusage used;
	double cpu;

	getrusage(RUSAGE_SELF, &used);
	cpu = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
	      (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
	printf("{\"connections\": %lu, \"ok\": %lu, ", count.begun, count.ok);
	print_failures();
	print_text("first_error", count.first_error);
	printf(
		"\"killed\": %lu, \"requests_ok\": %lu, \"resumed\": %lu, \"open\": %lu, \"standing\": %lu, \"peak_open\": %lu, "
		"\"starved\": %lu, ",
		count.killed, count.requests_ok, count.resumed, count.open, count.open - count.active,
		count.peak_open, count.starved);
	print_text("version", count.version);
	print_text("cipher", count.cipher);
	print_percentiles("handshake_us", &count.handshakes);
	print_percentiles("reply_us", &count.replies);
	print_percentiles("whole_us", &count.wholes);
	printf("\"seconds\": %.3f, \"connections_per_second\": %.1f, \"requests_per_second\": %.1f, "
	       "\"cpu_seconds\": %.3f, \"busy\": %.3f}\n",
	       seconds, (double)count.ok / seconds, (double)count.requests_ok / seconds, cpu, cpu / seconds);
	fflush(stdout);
}

/* ---- the whole run ---------------------------------------------------------------------------------- */

/* Ends connections that took too long, and those that were held long enough. */
static void run_check_deadlines(uint64_t now)
{
	for (unsigned long i = 0; i < opt.parallel; i++) {
		struct conn *c = &slots[i];

		if (c->state == IDLE || now < c->deadline)
			continue;
		if (c->state == HOLDING)
			conn_finish(c);
		else
			conn_fail(c, FAIL_TIMEOUT, "no end in time");
	}
}

/* Begins as many connections as the slots, the total and the rate allow. */
static void run_begin_more(uint64_t start, uint64_t now)
{
	if (opt.rate && !free_count && count.begun < opt.connections &&
	    count.begun < (now - start) * opt.rate / SECOND)
		count.starved++;
	while (free_count && count.begun < opt.connections) {
		if (opt.rate && count.begun >= (now - start) * opt.rate / SECOND + 1)
			return;
		if (opt.at_once && count.active >= opt.at_once)
			return;
		conn_begin();
	}
}

/* Lets the standing connections send that are due. Time that passed while none was there is not made up for. */
static void run_take_turns(uint64_t now)
{
	static uint64_t next;

	if (next + 100 * MS < now)
		next = now;
	for (; next <= now && turn_count; next += SECOND / opt.request_rate) {
		struct conn *c = &slots[turns[turn_first]];

		turn_first = (turn_first + 1) % opt.parallel;
		turn_count--;
		c->queued = false;
		if (c->state == STANDING && conn_request(c))
			conn_advance(c);
	}
}

/* Whether a request is still unanswered. */
static bool run_talking(void)
{
	for (unsigned long i = 0; i < opt.parallel; i++)
		if (slots[i].state == TALKING)
			return true;
	return false;
}

/* Whether it is time to end; standing connections get --timeout for the replies that are under way. */
static bool run_over(uint64_t now, uint64_t limit)
{
	static uint64_t ended;

	if (!interrupted && now < limit)
		return count.finished >= opt.connections;
	if (!opt.request_rate)
		return true;
	if (!ended)
		ended = now;
	return now > ended + opt.timeout * SECOND || !run_talking();
}

static void run_abandon(void)
{
	for (unsigned long i = 0; i < opt.parallel; i++)
		if (slots[i].state >= HOLDING)
			conn_finish(&slots[i]);
		else if (slots[i].state != IDLE)
			conn_fail(&slots[i], FAIL_UNFINISHED, "the time limit came first");
}

/* Does what is due by the clock. */
static void run_tick(uint64_t start, uint64_t now)
{
	static uint64_t checked;

	if (!interrupted)
		run_begin_more(start, now);
	if (opt.request_rate && !interrupted)
		run_take_turns(now);
	if (now - checked > 50 * MS) {
		run_check_deadlines(now);
		checked = now;
	}
}

/* Runs until every connection is over or the time is; returns the nanoseconds it took. */
static uint64_t run(void)
{
	uint64_t start = now_ns(), limit = start + opt.time_limit * SECOND, now = start, reported = start;
	struct epoll_event events[256];

	while (!run_over(now, limit)) {
		int n;

		run_tick(start, now);
		n = epoll_wait(poller, events, (int)(sizeof(events) / sizeof(*events)),
		               opt.rate || opt.request_rate ? 1 : 20);
		for (int i = 0; i < n; i++)
			conn_event(events[i].data.ptr, events[i].events);
		now = now_ns();
		if (asked) {
			asked = 0;
			print_report(now - reported);
			reported = now;
			count.handshakes.count = count.replies.count = count.wholes.count = 0;
		}
	}
	run_abandon();
	return now - start;
}

/* ---- set-up ----------------------------------------------------------------------------------------- */

static void on_signal(int number)
{
	if (number == SIGUSR1)
		asked = 1;
	else
		interrupted = 1;
}

static void setup_target(void)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
	int error = getaddrinfo(opt.host, opt.port, &hints, &target);

	if (error)
		die("--host must be an address and --port a number: %s", gai_strerror(error));
}

static void setup_credentials(void)
{
	if (opt.ca) {
		if (SSL_CTX_load_verify_file(context, opt.ca) != 1)
			die("--ca %s cannot be loaded", opt.ca);
		SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	}
	if (opt.cert && SSL_CTX_use_certificate_chain_file(context, opt.cert) != 1)
		die("--cert %s cannot be loaded", opt.cert);
	if (opt.cert && SSL_CTX_use_PrivateKey_file(context, opt.key ? opt.key : opt.cert, SSL_FILETYPE_PEM) != 1)
		die("--key %s cannot be loaded or does not match", opt.key ? opt.key : opt.cert);
}

static void setup_tls(void)
{
	int version = 0;

	if (opt.tls)
		version = !strcmp(opt.tls, "1.2") ? TLS1_2_VERSION : !strcmp(opt.tls, "1.3") ? TLS1_3_VERSION : -1;
	if (version < 0)
		die("--tls must be 1.2 or 1.3");
	context = SSL_CTX_new(TLS_client_method());
	if (!context || !SSL_CTX_set_min_proto_version(context, version ? version : TLS1_2_VERSION) ||
	    !SSL_CTX_set_max_proto_version(context, version))
		die("OpenSSL does not start");
	if (opt.ciphers && !SSL_CTX_set_cipher_list(context, opt.ciphers))
		die("--ciphers %s: none of them is known", opt.ciphers);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	setup_credentials();
}

static void setup_slots(void)
{
	struct rlimit files = {.rlim_cur = opt.parallel + 64, .rlim_max = opt.parallel + 64}, now;

	if (getrlimit(RLIMIT_NOFILE, &now) == 0 && now.rlim_cur < files.rlim_cur) {
		if (files.rlim_max < now.rlim_max)
			files.rlim_max = now.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &files) != 0)
			die("--parallel %lu needs more open files than allowed", opt.parallel);
	}
	slots = must_realloc(NULL, opt.parallel * sizeof(*slots));
	free_slots = must_realloc(NULL, opt.parallel * sizeof(*free_slots));
	turns = must_realloc(NULL, opt.parallel * sizeof(*turns));
	memset(slots, 0, opt.parallel * sizeof(*slots));
	for (free_count = 0; free_count < opt.parallel; free_count++) {
		slots[free_count].fd = -1;
		free_slots[free_count] = (unsigned int)free_count;
	}
	poller = epoll_create1(EPOLL_CLOEXEC);
	if (poller < 0)
		die("epoll: %s", strerror(errno));
}

static void teardown(void)
{
	for (unsigned long i = 0; i < opt.parallel; i++) {
		SSL_SESSION_free(slots[i].session);
		free(slots[i].out.data);
		free(slots[i].in.data);
	}
	free(slots);
	free(free_slots);
	free(turns);
	free(count.handshakes.us);
	free(count.replies.us);
	free(count.wholes.us);
	SSL_SESSION_free(newest);
	SSL_CTX_free(context);
	freeaddrinfo(target);
	close(poller);
}

static const char usage[] =
	"usage: load --port PORT [options]\n"
	"  --host ADDRESS        default 127.0.0.1\n"
	"  --connections N       in all (1000)         --parallel N      at a time (50)\n"
	"  --requests N          on each (1)           --pipeline N      of them in one write (1)\n"
	"  --size BYTES          of a request          --rate N          new connections a second, at most\n"
	"  --hold SECONDS        keep each open after its last reply\n"
	"  --at-once N           so many at most between connect and last reply; those that are held are not counted\n"
	"  --request-rate N      all stay, and take turns in sending N requests a second; SIGTERM ends it, SIGUSR1 reports\n"
	"  --tls 1.2|1.3         default: the best     --ciphers LIST    for TLS 1.2\n"
	"  --cert FILE --key FILE --ca FILE --sni NAME\n"
	"  --resume              each slot resumes its last session, a new slot the newest one\n"
	"  --kill-percent N      break so many connections at a random byte of their handshake\n"
	"  --drip                send one byte in a segment\n"
	"  --plain               TCP without TLS\n"
	"  --flood               each connection sends ACKs without pause; SIGTERM ends it\n"
	"  --timeout S           for a connection (20) --time-limit S    for all (120)\n"
	"  --seed N              of the random choices (1)\n";

static const struct setting settings[] = {
	{"host", .text = &opt.host},
	{"port", .text = &opt.port},
	{"cert", .text = &opt.cert},
	{"key", .text = &opt.key},
	{"ca", .text = &opt.ca},
	{"sni", .text = &opt.sni},
	{"tls", .text = &opt.tls},
	{"ciphers", .text = &opt.ciphers},
	{"connections", .number = &opt.connections, .low = 1, .high = 10000000},
	{"parallel", .number = &opt.parallel, .low = 1, .high = MAX_PARALLEL},
	{"requests", .number = &opt.requests, .low = 0, .high = 10000000},
	{"pipeline", .number = &opt.pipeline, .low = 1, .high = 1000},
	{"size", .number = &opt.size, .low = 0, .high = MAX_MESSAGE},
	{"rate", .number = &opt.rate, .low = 0, .high = 1000000},
	{"at-once", .number = &opt.at_once, .low = 0, .high = MAX_PARALLEL},
	{"request-rate", .number = &opt.request_rate, .low = 0, .high = 1000000},
	{"kill-percent", .number = &opt.kill_percent, .low = 0, .high = 100},
	{"hold", .number = &opt.hold, .low = 0, .high = 3600},
	{"time-limit", .number = &opt.time_limit, .low = 1, .high = 3600},
	{"timeout", .number = &opt.timeout, .low = 1, .high = 3600},
	{"seed", .number = &opt.seed, .low = 1, .high = UINT32_MAX},
	{"resume", .flag = &opt.resume},
	{"drip", .flag = &opt.drip},
	{"plain", .flag = &opt.plain},
	{"flood", .flag = &opt.flood},
};

#define SETTINGS (sizeof(settings) / sizeof(*settings))

static void setup_options(int argc, char **argv)
{
	if (!settings_read(settings, SETTINGS, argc, argv) || !opt.port) {
		fputs(usage, stderr);
		exit(2);
	}
	if (opt.parallel > opt.connections)
		opt.parallel = opt.connections;
}

int main(int argc, char **argv)
{
	struct sigaction stop = {.sa_handler = on_signal};

	setup_options(argc, argv);
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGUSR1, &stop, NULL);
	sigemptyset(&stop.sa_mask);
	sigaddset(&stop.sa_mask, SIGTERM);
	sigaddset(&stop.sa_mask, SIGUSR1);
	sigprocmask(SIG_UNBLOCK, &stop.sa_mask,
	            NULL); /* held back until now by those who ask early (test/lib/load.py) */
	random_state = opt.seed * UINT64_C(0x9E3779B97F4A7C15);
	run_id = now_ns() ^ (uint64_t)getpid() << 40;
	setup_target();
	if (!opt.plain)
		setup_tls();
	setup_slots();
	print_report(run());
	teardown();
	return 0;
}
