/*
 * bare: a SIP server that is sockets, OpenSSL and nothing else
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * One process, one thread, epoll; it answers every request with 200, over plain TCP on one port and over TLS on
 * others. Between the floor, which knows no kernel and whose caches are warm, and a real server it shows what TLS costs
 * in any server at all: what its TLS connections use above its plain ones. It ends with SIGTERM.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#define MAX_MESSAGE 65536
#define EVENTS      64

#define MAX_PORTS 4

struct conn {
	int fd;
	SSL *ssl; /* NULL: plain TCP */
	size_t length;
	char *text; /* of a request that is not whole yet */
};

struct listener {
	struct conn conn;
	SSL_CTX *ctx; /* NULL: plain TCP */
};

static int poller;
static struct listener listeners[MAX_PORTS];

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "bare: %s: %s\n", what, strerror(errno));
	ERR_print_errors_fp(stderr);
	exit(2);
}

static void conn_close(struct conn *c)
{
	close(c->fd);
	SSL_free(c->ssl);
	ERR_clear_error();
	free(c->text);
	free(c);
}

/* Bytes read, 0 when there are none now, -1 when the connection is over. */
static int conn_read(struct conn *c, char *to, int room)
{
	ssize_t n;

	if (c->ssl) {
		int got = SSL_read(c->ssl, to, room);

		return got > 0 ? got : SSL_get_error(c->ssl, got) == SSL_ERROR_WANT_READ ? 0 : -1;
	}
	n = recv(c->fd, to, (size_t)room, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	return n > 0 ? (int)n : -1;
}

static bool conn_write(struct conn *c, const char *data, size_t size)
{
	if (c->ssl)
		return SSL_write(c->ssl, data, (int)size) == (int)size;
	return send(c->fd, data, size, MSG_NOSIGNAL) == (ssize_t)size;
}

/* Whether a header goes from the request into the reply. */
static bool header_kept(const char *line)
{
	static const char *const kept[] = {"Via:", "From:", "To:", "Call-ID:", "CSeq:"};

	for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++)
		if (!strncasecmp(line, kept[i], strlen(kept[i])))
			return true;
	return false;
}

/* Answers the request whose headers end at HEAD; false when the connection is over. */
static bool conn_answer(struct conn *c, const char *request, const char *head)
{
	static char reply[MAX_MESSAGE];
	size_t length = (size_t)sprintf(reply, "SIP/2.0 200 OK\r\n");
	const char *line, *end;

	for (line = strstr(request, "\r\n") + 2; line < head; line = end + 2) {
		end = strstr(line, "\r\n");
		if (!header_kept(line) || length + (size_t)(end - line) > sizeof(reply) - 64)
			continue;
		memcpy(reply + length, line, (size_t)(end + 2 - line));
		length += (size_t)(end + 2 - line);
	}
	length += (size_t)sprintf(reply + length, "Server: bare\r\nContent-Length: 0\r\n\r\n");
	return conn_write(c, reply, length);
}

/* The length of the first request, 0 when it is not whole; *HEAD is where its headers end. */
static size_t request_length(const char *text, size_t have, const char **head)
{
	const char *length, *end = strstr(text, "\r\n\r\n");
	size_t whole;

	if (!end)
		return 0;
	length = strcasestr(text, "\r\nContent-Length:");
	whole = (size_t)(end + 4 - text) + (length && length < end ? strtoul(length + 17, NULL, 10) : 0);
	*head = end + 2;
	return have >= whole ? whole : 0;
}

/* Answers all whole requests of TEXT, and keeps what is left. */
static bool conn_requests(struct conn *c, char *text, size_t have)
{
	const char *head;
	size_t taken = 0, whole;

	while ((whole = request_length(text + taken, have - taken, &head)) > 0) {
		if (!conn_answer(c, text + taken, head))
			return false;
		taken += whole;
	}
	c->length = have - taken;
	if (c->length && !c->text && !(c->text = malloc(MAX_MESSAGE)))
		die("memory");
	if (c->length)
		memmove(c->text, text + taken, c->length);
	return true;
}

static void conn_event(struct conn *c)
{
	static char room[MAX_MESSAGE];
	int n;

	if (c->ssl && !SSL_is_init_finished(c->ssl)) {
		n = SSL_do_handshake(c->ssl);
		if (n != 1 && SSL_get_error(c->ssl, n) == SSL_ERROR_WANT_READ)
			return;
		if (n != 1) {
			conn_close(c);
			return;
		}
	}
	for (;;) {
		if (c->length)
			memcpy(room, c->text, c->length);
		n = conn_read(c, room + c->length, (int)(sizeof(room) - 1 - c->length));
		if (n == 0)
			return;
		room[c->length + (size_t)(n > 0 ? n : 0)] = '\0';
		if (n < 0 || !conn_requests(c, room, c->length + (size_t)n)) {
			conn_close(c);
			return;
		}
		if (!c->ssl || !SSL_has_pending(c->ssl))
			return;
	}
}

static void accept_all(const struct listener *l)
{
	int fd, one = 1;

	while ((fd = accept4(l->conn.fd, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
		struct conn *c = calloc(1, sizeof(*c));
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};

		if (!c)
			die("memory");
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		c->fd = fd;
		if (l->ctx) {
			c->ssl = SSL_new(l->ctx);
			if (!c->ssl || SSL_set_fd(c->ssl, fd) != 1)
				die("memory");
			SSL_set_accept_state(c->ssl);
			SSL_set_read_ahead(c->ssl, 1);
		}
		if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0)
			die("epoll");
	}
}

static void setup_listener(struct conn *listener, const char *port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = listener};
	int one = 1;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (listener->fd < 0 || bind(listener->fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(listener->fd, 1024) < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, listener->fd, &event) < 0)
		die(port);
}

static SSL_CTX *setup_tls(const char *certificate, const char *key)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	if (!ctx || SSL_CTX_use_certificate_chain_file(ctx, certificate) != 1 ||
	    SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
		die(certificate);
	SSL_CTX_set_num_tickets(ctx, 1);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	return ctx;
}

static struct listener *listener_of(struct conn *c)
{
	for (int i = 0; i < MAX_PORTS; i++)
		if (c == &listeners[i].conn)
			return &listeners[i];
	return NULL;
}

int main(int argc, char **argv)
{
	struct epoll_event events[EVENTS];

	if (argc < 2 || argc % 3 != 2 || argc / 3 >= MAX_PORTS) {
		fprintf(stderr, "usage: bare PLAIN-PORT [TLS-PORT CERTIFICATE KEY] ...\n");
		return 2;
	}
	poller = epoll_create1(0);
	setup_listener(&listeners[0].conn, argv[1]);
	for (int i = 1; i * 3 < argc; i++) {
		listeners[i].ctx = setup_tls(argv[i * 3], argv[i * 3 + 1]);
		setup_listener(&listeners[i].conn, argv[i * 3 - 1]);
	}
	for (;;) {
		int n = epoll_wait(poller, events, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			struct listener *l = listener_of(events[i].data.ptr);

			if (l)
				accept_all(l);
			else
				conn_event(events[i].data.ptr);
		}
	}
}
