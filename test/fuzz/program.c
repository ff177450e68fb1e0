/*
 * program.c - a connection of the module's with a live peer, worked on by a program
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/compat.h"
#include "settings/table.h"
#include "crypto/openssl/compat.h"
#include "crypto/openssl/compress.h"
#include "connection/list.h"
#include "connection/deadline.h"
#include "connection/queue.h"
#include "tls_server.h"
#include "bench.h"
#include "ends.h"
#include "fake_host.h"
#include "fake_memory.h"
#include "program.h"
#include "require.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SAID_MAX  (4 * 1024 * 1024)
#define STEPS_MAX 400
#define RUNS_MAX \
	(2 * FAKE_HOST_PROCESSES) /* of one input that leaves blocks: what is made once is there after these */

/* What the ports serve. */
static const char domains[] = "[server:default]\n"
							  "certificate = @/server.pem\n"
							  "private_key = @/server.key\n"
							  "[server:127.0.0.1:5062]\n"
							  "certificate = @/rsa.pem\n"
							  "private_key = @/rsa.key\n"
							  "method = TLSv1.2\n"
							  "cipher_list = AES128-GCM-SHA256\n"
							  "[server:127.0.0.1:5063]\n"
							  "certificate = @/server.pem\n"
							  "private_key = @/server.key\n"
							  "ca_list = @/ca.pem\n"
							  "verify_client = on\n"
							  "[server:127.0.0.1:5064]\n"
							  "certificate = @/server.pem\n"
							  "private_key = @/server.key\n"
							  "[server:127.0.0.1:5064]\n"
							  "server_name = example.org\n"
							  "server_name_mode = 1\n"
							  "certificate = @/rsa.pem\n"
							  "private_key = @/rsa.key\n"
							  "ca_list = @/ca.pem\n"
							  "verify_client = optional\n"
							  "[server:127.0.0.1:5065]\n"
							  "certificate = @/server.pem\n"
							  "private_key = @/server.key\n"
							  "method = TLSv1.2\n"
							  "cipher_list = DEFAULT:@SECLEVEL=1\n"
							  "[client:default]\n"
							  "certificate = @/client.pem\n"
							  "private_key = @/client.key\n"
							  "ca_list = @/ca.pem\n"
							  "verify_certificate = yes\n"
							  "[client:127.0.0.1:5062]\n"
							  "method = TLSv1.2\n"
							  "cipher_list = AES128-GCM-SHA256\n"
							  "ca_list = @/ca.pem\n"
							  "verify_certificate = yes\n"
							  "[client:127.0.0.1:5065]\n"
							  "method = TLSv1.2\n"
							  "cipher_list = DEFAULT:@SECLEVEL=1\n"
							  "ca_list = @/ca.pem\n"
							  "verify_certificate = yes\n"
							  "server_id = squeezed\n";

#define PORTS      4
#define COMPRESSES 5065

/* Contexts of peers: by version and kind. */
static SSL_CTX *peers[3][2];

/* ---- what was said, to be compared with what has come */

static uint8_t said[SAID_MAX];

struct run {
	struct ends ends;
	struct end *ours, *peer;
	struct wire *to_us;
	const uint8_t *at, *end; /* of the program */
	size_t peer_said, we_said;
	int steps;
	bool disturbed; /* by more than how the wire is cut into pieces */
	bool stood;     /* both ends had finished their handshakes */
};

static struct run run;

/*
 * The next SIZE bytes of what either side says are known: they stand in SAID at the place where the stream
 * is.
 */
static void say(struct end *from, size_t *count, size_t size)
{
	if (size == 0 || *count + size > SAID_MAX || !from->open || from->failed)
		return;
	if (ends_send(from, said + *count, size))
		*count += size;
}

/* TLS lets nobody change, reorder or repeat what was said. */
static void check_stream(const struct end *to, size_t count)
{
	REQUIRE(to->message_size <= count);
	REQUIRE(to->message_size == 0 || memcmp(to->message, said, to->message_size) == 0);
}

/* ---- instructions. Each gets its ARGUMENT, and may take more from the program */

static void step(struct end *end)
{
	if (run.steps++ < STEPS_MAX)
		ends_step(end);
}

static void step_us(unsigned argument)
{
	run.ours->piece = argument;
	step(run.ours);
}

static void step_peer(unsigned argument)
{
	run.peer->piece = argument;
	step(run.peer);
}

static void run_on(unsigned argument)
{
	run.steps += ends_run_some(&run.ends, STEPS_MAX);
}

static void peer_says(unsigned argument)
{
	if (SSL_is_init_finished(run.peer->ssl) && !run.to_us->closed)
		say(run.peer, &run.peer_said, argument * argument);
}

static void we_say(unsigned argument)
{
	say(run.ours, &run.we_said, argument * argument);
}

/* A byte of those that are on the wire to us, NULL: there is none. */
static unsigned char *wire_byte(unsigned back)
{
	struct wire *w = run.to_us;

	return w->used - w->taken > back ? &w->bytes[w->used - 1 - back] : NULL;
}

static uint8_t next_byte(void)
{
	return run.at < run.end ? *run.at++ : 0;
}

/* The byte that stands ARGUMENT from the first one that we have not read. */
static void change_byte(unsigned argument)
{
	struct wire *w = run.to_us;
	uint8_t how = next_byte();

	if (w->taken + argument < w->used)
		w->bytes[w->taken + argument] ^= how != 0 ? how : 0x80;
}

/* A byte of the newest flight, counted from its end. */
static void change_late_byte(unsigned argument)
{
	unsigned char *p = wire_byte(argument);
	uint8_t how = next_byte();

	if (p != NULL)
		*p = how;
}

/* ARGUMENT bytes of the program, before all that we have not read. */
static void insert_bytes(unsigned argument)
{
	size_t size = argument < (size_t)(run.end - run.at) ? argument : (size_t)(run.end - run.at);
	struct wire *w = run.to_us;

	if (size == 0)
		return;
	wire_put(w, run.at, size);
	memmove(w->bytes + w->taken + size, w->bytes + w->taken, w->used - w->taken - size);
	memcpy(w->bytes + w->taken, run.at, size);
	run.at += size;
}

static void append_bytes(unsigned argument)
{
	size_t size = argument < (size_t)(run.end - run.at) ? argument : (size_t)(run.end - run.at);

	wire_put(run.to_us, run.at, size);
	run.at += size;
}

/* Removes ARGUMENT bytes that we have not read, from the first on. */
static void remove_bytes(unsigned argument)
{
	struct wire *w = run.to_us;
	size_t size = argument < w->used - w->taken ? argument : w->used - w->taken;

	if (size == 0)
		return;
	memmove(w->bytes + w->taken, w->bytes + w->taken + size, w->used - w->taken - size);
	w->used -= size;
}

static void repeat_bytes(unsigned argument)
{
	struct wire *w = run.to_us;
	size_t size = argument < w->used ? argument : w->used;
	uint8_t copy[256];

	if (size == 0)
		return;
	memcpy(copy, w->bytes + w->used - size, size);
	wire_put(w, copy, size);
}

static void end_wire(unsigned argument)
{
	run.to_us->closed = true;
	run.to_us->broken = argument > 200;
	run.disturbed |= run.to_us->broken;
	run.ours->told_early = argument % 2 == 1;
}

static void peer_acts(unsigned argument)
{
	SSL *ssl = run.peer->ssl;

	if (!SSL_is_init_finished(ssl) || SSL_get_shutdown(ssl) != 0 || run.to_us->closed)
		return;
	switch (argument % 4) {
	case 0: SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED); break;
	case 1: run.disturbed |= SSL_renegotiate(ssl) == 1; break;
	case 2: run.disturbed |= SSL_renegotiate_abbreviated(ssl) == 1; break;
	case 3: ends_finish(run.peer); return;
	}
	SSL_do_handshake(ssl);
	ERR_clear_error();
	say(run.peer, &run.peer_said, argument / 4);
}

/* ---- and those that came later: the first ones keep their numbers */

/* What the host has read is the beginning of a message whose end it waits for. */
static void keep_message(unsigned argument)
{
	run.ours->keeps = argument % 2;
}

static void we_say_last(unsigned argument)
{
	size_t size = argument * argument;

	if (size == 0 || run.we_said + size > SAID_MAX || run.ours->failed)
		return;
	if (ends_send_last(run.ours, said + run.we_said, size))
		run.we_said += size;
}

/* The peer takes nothing for a while. */
static void stall(unsigned argument)
{
	static struct tcp_wbuffer waiting;
	struct tcp_connection *c = &run.ours->c;

	c->wbuf_q.first = &waiting;
	c->wbuf_q.wr_timeout = get_ticks_raw() + cfg_get(tcp, tcp_cfg, send_timeout);
	fake_host_pass((int)argument);
	tls_deadline_sweep(0, NULL);
	c->wbuf_q.first = NULL;
}

static void be_reset(unsigned argument)
{
	run.ours->out->broken = true;
}

static void kill_connection(unsigned argument)
{
	tls_list_kill(run.ours->c.id);
}

/* So much is left, as far as the module knows. */
static void run_low(unsigned argument)
{
	fake_memory_pretend_left((size_t)argument * 128 * 1024);
}

static void set_buffer(unsigned argument)
{
	run.ours->c.req.b_size = argument > 0 ? 64 + argument * argument : END_BUFFER_MAX - 1;
}

static void pass_time(unsigned argument)
{
	fake_host_pass((int)argument);
	tls_deadline_sweep(0, NULL);
}

static void change_settings(unsigned argument)
{
	fake_host_options()->send_close_notify = argument % 2;
	fake_host_options()->con_ct_wq_max = (int)argument * 64;
}

static void become_websocket(unsigned argument)
{
	run.ours->c.type = PROTO_WSS;
}

/* One of the next allocations of shared memory fails. */
static void run_short(unsigned argument)
{
	fake_memory_fail_at(argument + 1, false);
}

/* What it is mostly about stands more than once. What disturbs nothing may not end a connection. */
static const struct {
	void (*run)(unsigned argument);
	bool disturbs;
} instructions[] = {
	{run_on, false},      {step_us, false},     {step_peer, false},
	{peer_says, false},   {we_say, false},      {change_byte, true},
	{insert_bytes, true}, {end_wire, false},    {peer_acts, false},
	{set_buffer, false},  {remove_bytes, true}, {append_bytes, true},
	{repeat_bytes, true}, {pass_time, true},    {change_settings, true},
	{step_us, false},     {run_short, true},    {change_late_byte, true},
	{step_peer, false},   {change_byte, true},  {become_websocket, false},
	{run_on, false},      {keep_message, true}, {we_say_last, true},
	{stall, true},        {be_reset, true},     {kill_connection, true},
	{run_low, true},
};

#define INSTRUCTIONS (sizeof(instructions) / sizeof(instructions[0]))

/* ---- the whole */

/* The second byte of an input. */
enum {
	RESUMED = 1 << 0,      /* the peer has a session */
	NAMED = 1 << 1,        /* a length and a server name follow */
	WITH_PROFILE = 1 << 2, /* the script asks for one */
	FORBIDDEN = 1 << 3,    /* the script wants nothing sent */
	CROWDED = 1 << 4,      /* few handshakes for each address */
	COMPRESSED = 1 << 5,
	EXACT_NAMES = 1 << 6, /* a name that no domain has is refused */
	POLITE = 1 << 7,      /* a close_notify is sent */
};

static const char *next_name(void)
{
	static char name[256];
	size_t size = next_byte();

	if (size > (size_t)(run.end - run.at))
		size = (size_t)(run.end - run.at);
	memcpy(name, run.at, size);
	name[size] = '\0';
	run.at += size;
	return name;
}

static void choose_settings(uint8_t choice, uint8_t more)
{
	struct tls_options *o = fake_host_options();

	o->con_ct_wq_max = 65536;
	o->send_close_notify = (more & POLITE) != 0;
	o->max_handshakes_per_address = (more & CROWDED) != 0 ? 2 : 0;
	o->unknown_server_name = (more & EXACT_NAMES) != 0;
	ends_port = (unsigned short)((more & COMPRESSED) != 0 ? COMPRESSES : 5061 + choice / 6 % PORTS);
	ends_server_id = (more & WITH_PROFILE) != 0 ? "squeezed" : NULL;
	ends_script_drops = (more & FORBIDDEN) != 0;
	ends_server_name = (choice & 0x80) != 0 ? "a.example.org" : NULL;
	if ((more & NAMED) != 0)
		ends_server_name = next_name();
}

/* Makes the ends. False when the module refuses: a name of the script that is none, or the connection; it says which. */
static bool open_ends(SSL_CTX *peer, bool server)
{
	if (!ends_open(&run.ends, server ? NULL : peer, server ? peer : NULL)) {
		fputs(fake_host_log(), stderr);
		return false;
	}
	run.ours = server ? &run.ends.server : &run.ends.client;
	run.peer = server ? &run.ends.client : &run.ends.server;
	run.to_us = server ? &run.ends.to_server : &run.ends.to_client;
	if (server && ends_server_name != NULL && ends_server_name[0] != '\0')
		SSL_set_tlsext_host_name(run.peer->ssl, ends_server_name);
	return true;
}

/* A whole connection that nobody disturbs, for its session. */
static SSL_SESSION *earn_session(SSL_CTX *peer)
{
	SSL_SESSION *session = NULL;

	REQUIRE(open_ends(peer, true));
	ends_run(&run.ends);
	if (ends_established(run.ours))
		session = SSL_get1_session(run.peer->ssl);
	ends_close(&run.ends);
	return session;
}

static void begin(SSL_CTX *peer, bool server, bool resumed)
{
	SSL_SESSION *session = server && resumed ? earn_session(peer) : NULL;

	REQUIRE(open_ends(peer, server));
	if (session != NULL)
		SSL_set_session(run.peer->ssl, session);
	SSL_SESSION_free(session);
	if (!server)
		we_say(10);
}

static void run_instructions(void)
{
	while (run.at < run.end) {
		uint8_t what = next_byte(), argument = next_byte();

		run.disturbed |= instructions[what % INSTRUCTIONS].disturbs;
		instructions[what % INSTRUCTIONS].run(argument);
		run.stood |= ends_established(run.ours) && ends_established(run.peer);
		check_stream(run.ours, run.peer_said);
		check_stream(run.peer, run.we_said);
		if (run.ours->failed)
			break; /* the host closes it now */
	}
}

/* Whatever has been said comes, unless something came between. */
static void check_delivery(void)
{
	if (run.disturbed || !run.stood)
		return;
	run.ours->piece = run.peer->piece = 0;
	run.ours->c.req.b_size = END_BUFFER_MAX - 1;
	ends_run(&run.ends);
	REQUIRE(run.ours->message_size == run.peer_said);
	if (run.to_us->closed)
		return; /* and nobody need listen any more */
	REQUIRE(!run.ours->failed && !run.peer->failed);
	REQUIRE(run.peer->message_size == run.we_said);
}

/* A peer that could write lines of its own into the log could hide what it does. */
static void check_log(void)
{
	for (const char *c = fake_host_log(); *c != '\0'; c++)
		REQUIRE((*c >= ' ' && *c <= '~') || *c == '\n');
}

static void run_once(const uint8_t *data, size_t size, bool server)
{
	SSL_CTX *peer = peers[data[0] % 3][data[0] / 3 % 2];

	memset(&run, 0, sizeof(run));
	process_no = 0;
	fake_host_clear();
	run.at = data + 2;
	run.end = data + size;
	choose_settings(data[0], data[1]);
	begin(peer, server, (data[1] & RESUMED) != 0);
	run_instructions();
	check_delivery();
	ends_close(&run.ends);
	fake_memory_fail_at(0, false);
	fake_memory_pretend_left(0);
	fake_host_pass(2); /* who had no memory refuses the next one for a second */
	check_log();
	REQUIRE(tls_list_count() == 0);
	REQUIRE(tls_queue_total() == 0);
}

/* What is made once and kept is not a leak: that is what each run adds to. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	long before = 0;
	int runs = 0;

	if (size < 2)
		return 0;
	do {
		before = fake_memory_blocks();
		run_once(data, size, program_is_server);
		REQUIRE(runs++ < RUNS_MAX);
	} while (fake_memory_blocks() > before);
	return 0;
}

/* A peer of VERSION (0: any) with a certificate, which takes compression where it is offered. */
static SSL_CTX *new_peer(int version, const char *certificate)
{
	SSL_CTX *ctx = bench_context(certificate);

	SSL_CTX_set_min_proto_version(ctx, version);
	SSL_CTX_set_max_proto_version(ctx, version);
	SSL_CTX_set_security_level(ctx, 1);
	SSL_CTX_clear_options(ctx, SSL_OP_NO_COMPRESSION);
	return ctx;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const int versions[] = {0, TLS1_2_VERSION, TLS1_3_VERSION};

	for (size_t i = 0; i < sizeof(said); i++)
		said[i] = (uint8_t)(i * 7 + i / 255);
	if (bench_prepare() != 0)
		abort();
	bench_options.disable_compression = 0;
	if (bench_start(domains) != 0 || !tls_compress_offered()) {
		fputs(fake_host_log(), stderr);
		abort();
	}
	for (int i = 0; i < 3; i++) {
		peers[i][0] = new_peer(versions[i], "server");
		peers[i][1] = new_peer(versions[i], "rsa");
	}
	return 0;
}
