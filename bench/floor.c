/*
 * floor: what a TLS connection costs a server that is OpenSSL and nothing else
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * Client and server are two ends in one thread of one process; the bytes pass through two arrays, and OpenSSL takes its
 * memory from libc. Only the server's turns are counted: their CPU time, or with --count what they allocate and what
 * is still there when the connection is idle. (Counting costs time, so that one run does the one or the other.) A
 * connection is what the load generator makes of it: a handshake, requests with their replies, the client's
 * close_notify. With --pause it sleeps before each of the server's turns, as a server does that waits for its client: what
 * OpenSSL costs with the caches that it finds then. One line of JSON tells what was found.
 *
 * Under valgrind --tool=callgrind --collect-atstart=no the server's instructions are counted, and nothing else.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#else
#define CALLGRIND_TOGGLE_COLLECT
#endif

#include "settings.h"

#define WIRE_ROOM 65536
#define HELD      200 /* connections that are held to see what an idle one keeps */
#define REPLY     350 /* bytes, about what a SIP server answers to OPTIONS */
#define MAX_SIZE  16384
#define WARM_UP   20 /* connections before anything is counted */

/* One direction: bytes written and not read yet. */
struct wire {
	unsigned char data[WIRE_ROOM];
	size_t start, end;
};

/* One connection with both its ends. */
struct pair {
	SSL *client, *server;
	struct wire *to_client, *to_server;
};

static struct options {
	const char *cert, *key, *cert2, *key2, *tls, *groups, *client_groups, *sigalgs, *suites;
	unsigned long connections, requests, size, tickets, pause;
	bool resume, keep_buffers, stateful, count;
} opt = {.tls = "1.3", .connections = 500, .requests = 1, .size = 400, .tickets = 1};

/* What the server's turns have cost. */
static struct {
	uint64_t handshake_ns, request_ns, end_ns;
	unsigned long resumed;
} cost;

static struct {
	unsigned long taken;
	size_t taken_bytes;
	long long live_blocks, live_bytes;
} tally;

static bool servers_turn;
static uint64_t turn_began, turn_overhead;
static SSL_CTX *server_ctx, *client_ctx;
static SSL_SESSION *session; /* of the client's last connection, for --resume */
static BIO_METHOD *wire_method;

static _Noreturn void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("floor: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	ERR_print_errors_fp(stderr);
	exit(2);
}

/* ---- allocations, counted when the server takes them ------------------------------------------------ */

/* Stands before each block, so that whoever frees it, it is taken off the one who took it. */
struct header {
	size_t size;
	bool server;
} __attribute__((aligned(16)));

static void header_count(const struct header *h, int sign)
{
	if (!h->server)
		return;
	tally.live_blocks += sign;
	tally.live_bytes += sign * (long long)h->size;
}

static void *count_malloc(size_t size, const char *file, int line)
{
	struct header *h = malloc(sizeof(*h) + size);

	(void)file;
	(void)line;
	if (!h || !size) {
		free(h);
		return NULL;
	}
	*h = (struct header){size, servers_turn};
	tally.taken += servers_turn;
	tally.taken_bytes += servers_turn ? size : 0;
	header_count(h, 1);
	return h + 1;
}

static void count_free(void *block, const char *file, int line)
{
	struct header *h = block;

	(void)file;
	(void)line;
	if (!h)
		return;
	header_count(--h, -1);
	free(h);
}

static void *count_realloc(void *block, size_t size, const char *file, int line)
{
	size_t old = block ? ((struct header *)block)[-1].size : 0;
	void *fresh = count_malloc(size, file, line);

	if (fresh && block)
		memcpy(fresh, block, old < size ? old : size);
	if (fresh || !size)
		count_free(block, file, line);
	return fresh;
}

/* ---- the wire: a BIO over an array ------------------------------------------------------------------ */

static int wire_read(BIO *bio, char *to, size_t size, size_t *done)
{
	struct wire *w = ((struct wire **)BIO_get_data(bio))[0];
	size_t waiting = w->end - w->start;

	BIO_clear_retry_flags(bio);
	*done = size < waiting ? size : waiting;
	if (!*done) {
		BIO_set_retry_read(bio);
		return 0;
	}
	memcpy(to, w->data + w->start, *done);
	w->start += *done;
	if (w->start == w->end)
		w->start = w->end = 0;
	return 1;
}

static int wire_write(BIO *bio, const char *from, size_t size, size_t *done)
{
	struct wire *w = ((struct wire **)BIO_get_data(bio))[1];

	if (size > WIRE_ROOM - w->end)
		die("more than %d bytes at once", WIRE_ROOM);
	memcpy(w->data + w->end, from, size);
	w->end += size;
	*done = size;
	return 1;
}

static long wire_ctrl(BIO *bio, int command, long number, void *pointer)
{
	(void)bio;
	(void)number;
	(void)pointer;
	return command == BIO_CTRL_FLUSH;
}

static int wire_free(BIO *bio)
{
	free(BIO_get_data(bio));
	return 1;
}

/* A BIO that reads from one wire and writes to the other; it is no part of what a server has to keep. */
static BIO *wire_bio(struct wire *in, struct wire *out)
{
	BIO *bio = BIO_new(wire_method);
	struct wire **both = malloc(2 * sizeof(*both));

	if (!bio || !both)
		die("out of memory");
	both[0] = in;
	both[1] = out;
	BIO_set_data(bio, both);
	BIO_set_init(bio, 1);
	return bio;
}

/* ---- turns ------------------------------------------------------------------------------------------ */

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static void turn_begin(void)
{
	if (opt.pause)
		usleep((useconds_t)opt.pause);
	servers_turn = true;
	CALLGRIND_TOGGLE_COLLECT;
	turn_began = cpu_ns();
}

static void turn_end(uint64_t *sum)
{
	uint64_t took = cpu_ns() - turn_began;

	CALLGRIND_TOGGLE_COLLECT;
	servers_turn = false;
	*sum += took > turn_overhead ? took - turn_overhead : 0;
}

/* What the two looks at the clock themselves show. */
static void turn_calibrate(void)
{
	unsigned long pause = opt.pause;
	uint64_t sum = 0;

	opt.pause = 0;
	for (int i = 0; i < 10000; i++) {
		turn_begin();
		turn_end(&sum);
	}
	turn_overhead = sum / 10000;
	opt.pause = pause;
}

/* ---- a connection ----------------------------------------------------------------------------------- */

static void pair_open(struct pair *p)
{
	SSL_SESSION *copy = NULL; /* a session of TLS 1.3 is good for one connection */
	BIO *bio;

	p->to_client = calloc(1, sizeof(*p->to_client));
	p->to_server = calloc(1, sizeof(*p->to_server));
	p->client = SSL_new(client_ctx);
	if (!p->to_client || !p->to_server || !p->client)
		die("out of memory");
	bio = wire_bio(p->to_client, p->to_server);
	SSL_set_bio(p->client, bio, bio);
	SSL_set_connect_state(p->client);
	SSL_set_tlsext_host_name(p->client, "localhost");
	if (opt.resume && session && !SSL_set_session(p->client, copy = SSL_SESSION_dup(session)))
		die("the session cannot be used");
	SSL_SESSION_free(copy);
	bio = wire_bio(p->to_server, p->to_client);
	turn_begin();
	p->server = SSL_new(server_ctx);
	if (!p->server)
		die("out of memory");
	SSL_set_bio(p->server, bio, bio);
	SSL_set_accept_state(p->server);
	turn_end(&cost.handshake_ns);
}

static bool pair_step(SSL *ssl)
{
	int result = SSL_do_handshake(ssl);

	if (result != 1 && SSL_get_error(ssl, result) != SSL_ERROR_WANT_READ)
		die("the handshake failed");
	return result == 1;
}

static void pair_handshake(struct pair *p)
{
	bool client = false, server = false;

	for (int steps = 0; !client || !server; steps++) {
		if (steps > 20)
			die("the handshake comes to no end");
		client = pair_step(p->client);
		turn_begin();
		server = pair_step(p->server);
		turn_end(&cost.handshake_ns);
	}
	cost.resumed += (unsigned long)SSL_session_reused(p->server);
}

static void pair_request(struct pair *p)
{
	static char request[MAX_SIZE], taken[MAX_SIZE], reply[REPLY];

	if (SSL_write(p->client, request, (int)opt.size) != (int)opt.size)
		die("the client cannot write");
	turn_begin();
	if (SSL_read(p->server, taken, sizeof(taken)) != (int)opt.size)
		die("the server cannot read");
	if (SSL_write(p->server, reply, REPLY) != REPLY)
		die("the server cannot write");
	turn_end(&cost.request_ns);
	if (SSL_read(p->client, taken, sizeof(taken)) != REPLY)
		die("the client cannot read");
}

/* The client takes what came behind its handshake, the tickets of TLS 1.3 among it. */
static void pair_keep_session(struct pair *p)
{
	char byte;

	SSL_peek(p->client, &byte, 1);
	ERR_clear_error();
	SSL_SESSION_free(session);
	session = SSL_get1_session(p->client);
}

static void pair_close(struct pair *p)
{
	char byte;

	if (opt.resume)
		pair_keep_session(p);
	SSL_shutdown(p->client);
	turn_begin();
	SSL_read(p->server, &byte, 1);
	SSL_free(p->server);
	turn_end(&cost.end_ns);
	SSL_free(p->client);
	free(p->to_client);
	free(p->to_server);
}

static void pair_whole(void)
{
	struct pair p;

	pair_open(&p);
	pair_handshake(&p);
	for (unsigned long i = 0; i < opt.requests; i++)
		pair_request(&p);
	pair_close(&p);
}

/* ---- set-up ----------------------------------------------------------------------------------------- */

static void setup_certificate(const char *cert, const char *key)
{
	if (!cert)
		return;
	if (SSL_CTX_use_certificate_chain_file(server_ctx, cert) != 1 ||
	    SSL_CTX_use_PrivateKey_file(server_ctx, key ? key : cert, SSL_FILETYPE_PEM) != 1)
		die("%s and its key cannot be loaded", cert);
}

/* The settings that the module gives its own contexts, as far as they cost anything. */
static void setup_server(void)
{
	server_ctx = SSL_CTX_new(TLS_server_method());
	if (!server_ctx)
		die("OpenSSL does not start");
	setup_certificate(opt.cert, opt.key);
	setup_certificate(opt.cert2, opt.key2);
	SSL_CTX_set_num_tickets(server_ctx, opt.tickets);
	if (!opt.stateful)
		SSL_CTX_set_session_cache_mode(server_ctx, SSL_SESS_CACHE_OFF);
	else
		SSL_CTX_set_options(server_ctx, SSL_OP_NO_TICKET);
	SSL_CTX_set_session_id_context(server_ctx, (const unsigned char *)"floor", 5);
	if (!opt.keep_buffers)
		SSL_CTX_set_mode(server_ctx, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_options(server_ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
	if (opt.groups && SSL_CTX_set1_groups_list(server_ctx, opt.groups) != 1)
		die("--groups %s is not known", opt.groups);
	if (opt.suites && SSL_CTX_set_ciphersuites(server_ctx, opt.suites) != 1)
		die("--suites %s is not known", opt.suites);
	if (opt.sigalgs && SSL_CTX_set1_sigalgs_list(server_ctx, opt.sigalgs) != 1)
		die("--sigalgs %s is not known", opt.sigalgs);
}

static void setup_client(void)
{
	int version = !strcmp(opt.tls, "1.2") ? TLS1_2_VERSION : TLS1_3_VERSION;

	client_ctx = SSL_CTX_new(TLS_client_method());
	if (!client_ctx || !SSL_CTX_set_min_proto_version(client_ctx, version) ||
	    !SSL_CTX_set_max_proto_version(client_ctx, version))
		die("OpenSSL does not start");
	SSL_CTX_set_session_cache_mode(client_ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	if (opt.client_groups && SSL_CTX_set1_groups_list(client_ctx, opt.client_groups) != 1)
		die("--client-groups %s is not known", opt.client_groups);
}

static void setup_wire(void)
{
	wire_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "wire");
	if (!wire_method || !BIO_meth_set_read_ex(wire_method, wire_read) ||
	    !BIO_meth_set_write_ex(wire_method, wire_write) || !BIO_meth_set_ctrl(wire_method, wire_ctrl) ||
	    !BIO_meth_set_destroy(wire_method, wire_free))
		die("OpenSSL does not start");
}

static const struct setting settings[] = {
	{"cert", .text = &opt.cert},
	{"key", .text = &opt.key},
	{"cert2", .text = &opt.cert2},
	{"key2", .text = &opt.key2},
	{"tls", .text = &opt.tls},
	{"groups", .text = &opt.groups},
	{"client-groups", .text = &opt.client_groups},
	{"sigalgs", .text = &opt.sigalgs},
	{"suites", .text = &opt.suites},
	{"connections", .number = &opt.connections, .low = 1, .high = 10000000},
	{"requests", .number = &opt.requests, .low = 0, .high = 10000000},
	{"size", .number = &opt.size, .low = 1, .high = MAX_SIZE},
	{"tickets", .number = &opt.tickets, .low = 0, .high = 16},
	{"pause", .number = &opt.pause, .low = 0, .high = 999999},
	{"resume", .flag = &opt.resume},
	{"keep-buffers", .flag = &opt.keep_buffers},
	{"stateful", .flag = &opt.stateful},
	{"count", .flag = &opt.count},
};

#define SETTINGS (sizeof(settings) / sizeof(*settings))

static const char usage[] =
	"usage: floor --cert FILE [--key FILE] [options]\n"
	"  --tls 1.2|1.3         (1.3)                 --resume          each connection resumes the one before\n"
	"  --connections N       (500)                 --requests N      on each (1)\n"
	"  --size BYTES          of a request (400)    --tickets N       after a handshake (1)\n"
	"  --groups LIST --sigalgs LIST --suites LIST  of the server; --client-groups LIST of the client\n"
	"  --cert2 FILE --key2 FILE                    a second certificate of another kind\n"
	"  --stateful            sessions in the server's memory, no tickets\n"
	"  --keep-buffers        idle connections keep their buffers (the module lets go of them)\n"
	"  --pause MICROSECONDS  sleeps before each of the server's turns (0)\n"
	"  --count               counts allocations and live bytes instead of time\n";

static void setup_options(int argc, char **argv)
{
	if (!settings_read(settings, SETTINGS, argc, argv) || !opt.cert ||
	    (strcmp(opt.tls, "1.2") && strcmp(opt.tls, "1.3"))) {
		fputs(usage, stderr);
		exit(2);
	}
}

/* ---- the two runs ----------------------------------------------------------------------------------- */

static void run_timed(void)
{
	double n = (double)opt.connections * 1000;

	turn_calibrate();
	memset(&cost, 0, sizeof(cost));
	for (unsigned long i = 0; i < opt.connections; i++)
		pair_whole();
	printf("{\"connections\": %lu, \"resumed\": %lu, \"handshake_us\": %.3f, \"request_us\": %.3f, "
	       "\"end_us\": %.3f, \"connection_us\": %.3f}\n",
	       opt.connections, cost.resumed, (double)cost.handshake_ns / n,
	       opt.requests ? (double)cost.request_ns / n / (double)opt.requests : 0, (double)cost.end_ns / n,
	       (double)(cost.handshake_ns + cost.request_ns + cost.end_ns) / n);
}

/* What one connection allocates from begin to end, and what it keeps while idle: before and after its requests. */
static void run_counted(void)
{
	static struct pair held[HELD];
	long long live_fresh, live_asked, blocks_asked, before = tally.live_bytes,
													before_blocks = tally.live_blocks;
	unsigned long taken = tally.taken;
	size_t taken_bytes = tally.taken_bytes;

	for (int i = 0; i < HELD; i++) {
		pair_open(&held[i]);
		pair_handshake(&held[i]);
	}
	live_fresh = tally.live_bytes - before;
	for (int i = 0; i < HELD; i++)
		for (unsigned long r = 0; r < opt.requests; r++)
			pair_request(&held[i]);
	live_asked = tally.live_bytes - before;
	blocks_asked = tally.live_blocks - before_blocks;
	for (int i = 0; i < HELD; i++)
		pair_close(&held[i]);
	printf("{\"connections\": %d, \"resumed\": %lu, \"allocations\": %.1f, \"allocated_bytes\": %.0f, "
	       "\"live_fresh\": %.0f, \"live_asked\": %.0f, \"live_blocks\": %.1f, \"left\": %.1f}\n",
	       HELD, cost.resumed, (double)(tally.taken - taken) / HELD,
	       (double)(tally.taken_bytes - taken_bytes) / HELD, (double)live_fresh / HELD,
	       (double)live_asked / HELD, (double)blocks_asked / HELD,
	       (double)(tally.live_bytes - before) / HELD);
}

int main(int argc, char **argv)
{
	setup_options(argc, argv);
	if (opt.count && CRYPTO_set_mem_functions(count_malloc, count_realloc, count_free) != 1)
		die("OpenSSL takes no other allocator");
	setup_wire();
	setup_server();
	setup_client();
	for (int i = 0; i < WARM_UP; i++)
		pair_whole();
	cost.resumed = 0;
	if (opt.count)
		run_counted();
	else
		run_timed();
	SSL_SESSION_free(session);
	SSL_CTX_free(server_ctx);
	SSL_CTX_free(client_ctx);
	BIO_meth_free(wire_method);
	return 0;
}
