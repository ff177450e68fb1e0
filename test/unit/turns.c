/* links: HEAPED */
/*
 * turns.c - what a connection costs in the module and in OpenSSL, without a host and without a socket
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 *     turns CONNECTIONS [MICROSECONDS]
 *
 * The same connections as those of bench/floor.c, to which it is compared: TLS 1.3, ECDSA, a request of 400
 * bytes, its reply, close_notify. The server is the module's, with its heap; what the hooks cost is counted, and
 * the client is not. It sleeps so long before each of the server's turns. One line of JSON tells the CPU time of
 * a connection.
 *
 * Under valgrind --tool=callgrind --collect-atstart=no the instructions of the hooks are counted, and nothing
 * else.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "crypto/openssl/compat.h"
#include "bench.h"
#include "ends.h"

#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#else
#define CALLGRIND_TOGGLE_COLLECT
#endif

#define WARM_UP 20
#define REQUEST 400
#define REPLY   350

static struct ends e;
static useconds_t nap;
static long long sum, began;

static long long cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (long long)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void turn_begin(void)
{
	if (nap > 0)
		usleep(nap);
	CALLGRIND_TOGGLE_COLLECT;
	began = cpu_ns();
}

static void turn_end(void)
{
	sum += cpu_ns() - began;
	CALLGRIND_TOGGLE_COLLECT;
}

/* The server takes what has come. */
static void server_step(void)
{
	turn_begin();
	ends_step(&e.server);
	turn_end();
}

static void server_say(const char *text)
{
	bool said;

	turn_begin();
	said = ends_say(&e.server, text);
	turn_end();
	if (!said)
		abort();
}

static void server_hang_up(void)
{
	turn_begin();
	ends_hang_up(&e.server);
	turn_end();
}

/* The request comes together with the end of the client's handshake, as from the load generator. */
static void connection(SSL_CTX *ctx, const char *request, const char *reply)
{
	if (!ends_open(&e, NULL, ctx))
		abort();
	ends_step(&e.client);
	server_step();
	ends_step(&e.client);
	if (!ends_say(&e.client, request))
		abort();
	server_step();
	if (!ends_got(&e.server, request))
		abort();
	server_say(reply);
	ends_step(&e.client);
	if (!ends_got(&e.client, reply))
		abort();
	ends_finish(&e.client);
	server_step();
	server_hang_up();
	ends_close(&e);
}

int main(int argc, char **argv)
{
	int count = argc > 1 ? atoi(argv[1]) : 500;
	char request[REQUEST + 1], reply[REPLY + 1];
	SSL_CTX *ctx;

	nap = argc > 2 ? (useconds_t)atoi(argv[2]) : 0;
	memset(request, 'q', REQUEST);
	memset(reply, 'a', REPLY);
	request[REQUEST] = reply[REPLY] = '\0';
	if (count < 1 || bench_prepare() != 0 ||
	    bench_start(
			"[server:default]\ncertificate = @/server.pem\nprivate_key = @/server.key\n[client:default]\n") !=
	        0)
		return 1;
	ctx = bench_context(NULL);
	SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
	for (int i = 0; i < WARM_UP + count; i++) {
		if (i == WARM_UP)
			sum = 0;
		connection(ctx, request, reply);
	}
	SSL_CTX_free(ctx);
	printf("{\"connections\": %d, \"connection_us\": %.3f}\n", count, (double)sum / count / 1000);
	return 0;
}
