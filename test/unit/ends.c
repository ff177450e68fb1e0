/*
 * ends.c - two ends of a connection in one process, talking through memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * The lower half of this file is what the module calls of the host; the upper one does what the host's
 * processes do with a connection.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "host/compat.h"
#include "tls_mem.h"
#include "crypto/openssl/compat.h"
#include "connection/connection.h"
#include "connection/outgoing.h"
#include "connection/reuse.h"
#include "tls_server.h"
#include "ends.h"
#include "fake_host.h"

#define RUN_MAX 100000 /* steps of one ends_run(): more is a loop */

const char *ends_server_name, *ends_server_id;
bool ends_script_drops;
unsigned short ends_port = 5061;
int unix_tcp_sock = 1 << 20; /* send_all() only compares it */
enum poll_types tcp_poll_method = POLL_EPOLL_LT;

static struct end *known[16]; /* the module's ends that are open */
static int last_id;

/* ---- wires */

static void *grow(void *bytes, size_t *room, size_t wanted)
{
	if (wanted <= *room)
		return bytes;
	*room = 2 * wanted;
	bytes = realloc(bytes, *room);
	if (bytes == NULL)
		abort();
	return bytes;
}

void wire_put(struct wire *w, const void *bytes, size_t size)
{
	w->bytes = grow(w->bytes, &w->room, w->used + size);
	if (size > 0)
		memcpy(w->bytes + w->used, bytes, size);
	w->used += size;
}

/* At most SIZE bytes. */
static size_t wire_take(struct wire *w, void *to, size_t size)
{
	size_t n = w->used - w->taken < size ? w->used - w->taken : size;

	if (n > 0)
		memcpy(to, w->bytes + w->taken, n);
	w->taken += n;
	return n;
}

static void note_message(struct end *to, const void *bytes, size_t size)
{
	to->message = grow(to->message, &to->message_room, to->message_size + size + 1);
	memcpy(to->message + to->message_size, bytes, size);
	to->message_size += size;
}

/* ---- one of the module's */

static bool is_ours(const struct end *end)
{
	return end->ssl == NULL;
}

struct tls_connection *ends_tls(struct end *end)
{
	return end->c.extra_data;
}

static struct end *end_of(const struct tcp_connection *c)
{
	return (struct end *)((char *)(uintptr_t)c - offsetof(struct end, c));
}

static void set_address(struct ip_addr *ip)
{
	static const unsigned char loopback[] = {127, 0, 0, 1};

	ip->af = AF_INET;
	ip->len = 4;
	memcpy(ip->u.addr, loopback, sizeof(loopback));
}

static void set_addresses(struct tcp_connection *c, bool accepted)
{
	set_address(&c->rcv.src_ip);
	set_address(&c->rcv.dst_ip);
	c->rcv.src_port = accepted ? 40000 : ends_port;
	c->rcv.dst_port = accepted ? ends_port : 40000;
}

static struct end **place_of(const struct end *end)
{
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i] == end)
			return &known[i];
	abort();
}

static bool open_ours(struct end *end, bool accepted)
{
	struct tcp_connection *c = &end->c;

	init_tcp_req(&c->req, end->buffer, sizeof(end->buffer));
	c->id = ++last_id;
	c->fd = c->s = 1000 + c->id;
	c->state = accepted ? S_CONN_ACCEPT : S_CONN_CONNECT;
	c->type = PROTO_TLS;
	atomic_set(&c->refcnt, 1);
	lock_init(&c->write_lock);
	set_addresses(c, accepted);
	fake_host_change_process();
	if (tls_server_open(c, c->fd) != 0)
		return false;
	*place_of(NULL) = end;
	return true;
}

/* A lock that a hook has not let go would stop the server. */
static void check_unlocked(struct end *end)
{
	if (lock_try(&end->c.write_lock) != 0)
		abort();
	lock_release(&end->c.write_lock);
}

/* As the host, which reads messages out of its buffer while there are any. */
static void take_message(struct end *end)
{
	struct tcp_req *r = &end->c.req;

	if (end->keeps) {
		r->state = H_BODY;
		return;
	}
	note_message(end, r->buf, (size_t)(r->pos - r->buf));
	r->pos = r->parsed = r->start = r->buf;
	r->state = H_SKIP_EMPTY;
}

static void read_ours(struct end *end)
{
	rd_conn_flags_t flags = end->told_early && end->in->closed ? RD_CONN_FORCE_EOF : 0;
	int n;

	do {
		fake_host_change_process();
		n = tls_server_read(&end->c, &flags);
		check_unlocked(end);
		end->failed = n < 0 || end->c.req.error != TCP_REQ_OK;
		if (!end->failed)
			take_message(end);
	} while (!end->failed && (flags & RD_CONN_REPEAT_READ) != 0);
	end->ended = end->c.state == S_CONN_EOF;
}

/* As the host's tcp_send() does with what goes over TLS. */
static bool send_ours(struct end *end, const char *bytes, unsigned size, snd_flags_t wanted)
{
	struct tcp_connection *c = &end->c;
	const char *rest;
	unsigned left;
	int n;

	fake_host_change_process();
	lock_get(&c->write_lock);
	do {
		snd_flags_t flags = wanted;

		n = tls_server_encode(c, &bytes, &size, &rest, &left, &flags);
		end->failed = n < 0 || (n > 0 && tcpconn_send_unsafe(c->fd, c, bytes, size, flags) < 0);
		bytes = rest;
		size = left;
	} while (!end->failed && left > 0 && n > 0);
	lock_release(&c->write_lock);
	return !end->failed;
}

static void hang_up_ours(struct end *end)
{
	fake_host_change_process();
	tls_server_close(&end->c, end->c.s);
	check_unlocked(end);
	fake_host_change_process();
	tls_server_clean(&end->c);
	*place_of(end) = NULL;
}

/* ---- one that knows nothing of the module */

static bool open_other(struct end *end, SSL_CTX *ctx, bool accepted)
{
	end->ssl = SSL_new(ctx);
	if (end->ssl == NULL)
		abort();
	SSL_set_bio(end->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	if (accepted)
		SSL_set_accept_state(end->ssl);
	else
		SSL_set_connect_state(end->ssl);
	return true;
}

static void feed_other(struct end *end)
{
	unsigned char bytes[16384];
	size_t most = end->piece > 0 && end->piece < sizeof(bytes) ? end->piece : sizeof(bytes), n;

	while ((n = wire_take(end->in, bytes, most)) > 0)
		if (BIO_write(SSL_get_rbio(end->ssl), bytes, (int)n) != (int)n)
			abort();
	BIO_set_mem_eof_return(SSL_get_rbio(end->ssl), end->in->closed ? 0 : -1);
}

static void drain_other(struct end *end)
{
	unsigned char bytes[16384];
	int n;

	while ((n = BIO_read(SSL_get_wbio(end->ssl), bytes, sizeof(bytes))) > 0)
		wire_put(end->out, bytes, (size_t)n);
}

static void note_result(struct end *end, int result)
{
	int error = SSL_get_error(end->ssl, result);

	if (error == SSL_ERROR_ZERO_RETURN)
		end->ended = true;
	else if (error == SSL_ERROR_SSL || error == SSL_ERROR_SYSCALL) {
		end->failed = true;
		end->error = ERR_peek_error();
	}
	if (end->in->closed && end->in->taken == end->in->used)
		end->ended = true;
	ERR_clear_error();
}

static void step_other(struct end *end)
{
	unsigned char bytes[16384];
	int n;

	feed_other(end);
	ERR_clear_error();
	while ((n = SSL_read(end->ssl, bytes, sizeof(bytes))) > 0)
		note_message(end, bytes, (size_t)n);
	note_result(end, n);
	drain_other(end);
}

static bool send_other(struct end *end, const void *bytes, size_t size)
{
	int n;

	ERR_clear_error();
	n = SSL_write(end->ssl, bytes, (int)size);
	drain_other(end);
	return n == (int)size;
}

/* ---- both kinds */

static bool open_end(struct end *end, struct wire *in, struct wire *out, SSL_CTX *ctx, bool accepted)
{
	end->in = in;
	end->out = out;
	end->open = ctx != NULL ? open_other(end, ctx, accepted) : open_ours(end, accepted);
	return end->open;
}

bool ends_open(struct ends *e, SSL_CTX *server, SSL_CTX *client)
{
	memset(e, 0, sizeof(*e));
	if (open_end(&e->server, &e->to_server, &e->to_client, server, true) &&
	    open_end(&e->client, &e->to_client, &e->to_server, client, false))
		return true;
	ends_close(e);
	return false;
}

void ends_finish(struct end *end)
{
	if (!is_ours(end)) {
		SSL_shutdown(end->ssl);
		drain_other(end);
		ERR_clear_error();
	}
	end->out->closed = true;
}

void ends_hang_up(struct end *end)
{
	if (!end->open)
		return;
	if (is_ours(end)) {
		hang_up_ours(end);
	} else {
		ends_finish(end);
		SSL_free(end->ssl);
		end->ssl = NULL;
	}
	end->out->closed = true;
	end->open = false;
}

void ends_close(struct ends *e)
{
	ends_hang_up(&e->client);
	ends_hang_up(&e->server);
	free(e->client.message);
	free(e->server.message);
	free(e->to_client.bytes);
	free(e->to_server.bytes);
	memset(e, 0, sizeof(*e));
}

bool ends_send(struct end *from, const void *bytes, size_t size)
{
	snd_flags_t none = {0};

	return is_ours(from) ? send_ours(from, bytes, (unsigned)size, none) : send_other(from, bytes, size);
}

bool ends_send_last(struct end *from, const void *bytes, size_t size)
{
	snd_flags_t last = {.f = SND_F_CON_CLOSE};

	return send_ours(from, bytes, (unsigned)size, last);
}

bool ends_say(struct end *from, const char *text)
{
	return ends_send(from, text, strlen(text));
}

static bool has_work(const struct end *to)
{
	if (!to->open || to->failed || to->ended)
		return false;
	return to->in->taken < to->in->used || to->in->closed || to->in->broken ||
	       (!is_ours(to) && SSL_in_before(to->ssl) && !SSL_is_server(to->ssl));
}

bool ends_step(struct end *to)
{
	if (!has_work(to))
		return false;
	if (is_ours(to))
		read_ours(to);
	else
		step_other(to);
	return true;
}

int ends_run_some(struct ends *e, int steps)
{
	int done = 0;

	while (done < steps && (ends_step(&e->client) || ends_step(&e->server)))
		done++;
	return done;
}

void ends_run(struct ends *e)
{
	if (ends_run_some(e, RUN_MAX) == RUN_MAX)
		abort();
}

bool ends_established(const struct end *end)
{
	const struct tls_connection *t = end->c.extra_data;

	if (!end->open || end->failed)
		return false;
	return is_ours(end) ? t->phase == TLS_PHASE_ESTABLISHED : SSL_is_init_finished(end->ssl) == 1;
}

bool ends_shake(struct ends *e, const char *text)
{
	if (text != NULL && !is_ours(&e->client))
		ends_run(e);
	if (text != NULL && !ends_say(&e->client, text))
		return false;
	ends_run(e);
	return ends_established(&e->client) && ends_established(&e->server);
}

bool ends_got(struct end *end, const char *text)
{
	size_t size = strlen(text);
	bool same = end->message_size == size && memcmp(end->message, text, size) == 0;

	end->message_size = 0;
	return same;
}

size_t ends_forget(struct end *end)
{
	size_t size = end->message_size;

	end->message_size = 0;
	return size;
}

/* ---- what the module calls of the host's connections */

int tcp_read_data(int fd, struct tcp_connection *c, char *buf, int size, rd_conn_flags_t *flags)
{
	struct end *end = end_of(c);
	size_t most = end->piece > 0 && end->piece < (size_t)size ? end->piece : (size_t)size;
	int n;

	if (end->in->broken)
		return -1;
	n = (int)wire_take(end->in, buf, most);
	if (n == size)
		return n;
	*flags |= RD_CONN_SHORT_READ;
	if ((n == 0 || (*flags & RD_CONN_FORCE_EOF) != 0) && end->in->closed && end->in->taken == end->in->used) {
		c->state = S_CONN_EOF;
		*flags |= RD_CONN_EOF;
	} else if (n > 0 && (c->state == S_CONN_ACCEPT || c->state == S_CONN_CONNECT)) {
		c->state = S_CONN_OK;
	}
	return n;
}

/*
 * In place of the C library's poll(), which is declared as one that only writes: the module looks whether a
 * connection's socket has something to tell.
 */
int poll_wire(const struct pollfd *sockets, nfds_t count, int timeout) __asm__("poll");

int poll_wire(const struct pollfd *sockets, nfds_t count, int timeout)
{
	for (size_t i = 0; count == 1 && timeout == 0 && i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i] != NULL && known[i]->c.fd == sockets->fd) {
			const struct wire *in = known[i]->in;

			return in->taken < in->used || in->closed || in->broken;
		}
	abort();
}

int tcpconn_send_unsafe(int fd, struct tcp_connection *c, const char *buf, unsigned size, snd_flags_t flags)
{
	struct end *end = end_of(c);

	if (end->out->broken)
		return -1;
	wire_put(end->out, buf, size);
	end->sent_last |= (flags.f & SND_F_CON_CLOSE) != 0;
	return (int)size;
}

int _tcpconn_write_nb(int fd, struct tcp_connection *c, const char *buf, int size)
{
	return tcpconn_send_unsafe(fd, c, buf, (unsigned)size, (snd_flags_t){0});
}

struct tcp_connection *tcpconn_get(int id, struct ip_addr *ip, int port, union sockaddr_union *local,
                                   ticks_t timeout)
{
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i] != NULL && known[i]->c.id == id) {
			tcpconn_ref(&known[i]->c);
			return &known[i]->c;
		}
	return NULL;
}

/* The wish to close a connection, with a reference to it that tcp_main gives back. */
int send_all(int socket, void *data, int size)
{
	const long *request = data;
	struct tcp_connection *c = (struct tcp_connection *)request[0];

	end_of(c)->told_to_close = request[1] == CONN_EOF;
	if (tcpconn_put(c))
		abort();
	return size;
}

/* ---- what the module asks of the script */

static char *copy_of(const char *text, bool *ok)
{
	char *copy = text != NULL ? tls_mem_shared_strdup(text) : NULL;

	if (text != NULL && copy == NULL)
		*ok = false;
	return copy;
}

const char TLS_OUTGOING_NO_MEMORY[] = "no shared memory";

const char *tls_outgoing_choose(char **name, char **id)
{
	bool ok = true;

	*name = copy_of(ends_server_name, &ok);
	*id = copy_of(ends_server_id, &ok);
	if (ok)
		return NULL;
	tls_mem_shared_free(*name);
	tls_mem_shared_free(*id);
	*name = *id = NULL;
	return TLS_OUTGOING_NO_MEMORY;
}

void tls_reuse_add(struct tls_connection *t)
{
	(void)t;
}

void tls_reuse_remove(struct tls_connection *t)
{
	(void)t;
}

bool tls_reuse_keeps_back(const struct tls_connection *t)
{
	(void)t;
	return false;
}

void tls_reuse_forget(void) {}

bool tls_outgoing_allowed(struct tcp_connection *c)
{
	return !ends_script_drops;
}
