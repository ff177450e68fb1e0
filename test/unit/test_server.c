/* links: tls_server.c tls_shared.c connection/choice.c connection/deadline.c connection/failure.c connection/limit.c connection/list.c connection/pressure.c connection/queue.c connection/stats.c connection/turn.c connection/verdict.c settings/hostname.c settings/report.c settings/runtime.c settings/table.c settings/text.c settings/values.c host/clock.c test/unit/fake_crypto.c test/unit/fake_host.c -Wl,--as-needed */
/*
 * test_server.c - one connection from its opening to its end, over a stand-in for the TLS library
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * The first half is what tls_server.c calls: the host, shared memory, domains and the script.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host/compat.h"
#include "tls_mem.h"
#include "settings/table.h"
#include "settings/values.h"
#include "settings/runtime.h"
#include "connection/stats.h"
#include "tls_domain_types.h"
#include "tls_domain.h"
#include "tls_generation.h"
#include "connection/connection.h"
#include "connection/deadline.h"
#include "connection/list.h"
#include "connection/outgoing.h"
#include "connection/reuse.h"
#include "tls_server.h"
#include "fake_crypto.h"
#include "fake_host.h"

/* ---- shared memory */

static long blocks;
static size_t memory_left;
static bool memory_was_short, memory_recovers;
static int recoveries;

void *tls_mem_shared_alloc(size_t size)
{
	blocks++;
	return calloc(1, size);
}

void tls_mem_shared_free(void *p)
{
	blocks -= p != NULL;
	free(p);
}

long tls_mem_balance(void)
{
	return 0;
}

size_t tls_mem_available(void)
{
	return memory_left;
}

void tls_mem_use_reserve(bool on) {}

bool tls_mem_was_short(void)
{
	return memory_was_short;
}

bool tls_mem_recover(size_t size)
{
	recoveries++;
	return memory_recovers;
}

/* ---- domains */

static struct tls_domain server_domain = {.role = TLS_SERVER, .name = "server:default"};
static struct tls_domain client_domain = {
	.role = TLS_CLIENT, .name = "client:default", .server_name = "of.the.domain"};
static int pins;

struct tls_generation *tls_generation_pin(void)
{
	pins++;
	return (struct tls_generation *)&server_domain;
}

void tls_generation_unpin(struct tls_generation *g)
{
	pins -= g != NULL;
}

int tls_generation_number(const struct tls_generation *g)
{
	return 1;
}

struct tls_domain *tls_domain_find(struct tls_generation *g, const struct tls_domain_query *q, bool *named)
{
	*named = true;
	return q->role == TLS_SERVER ? &server_domain : &client_domain;
}

bool tls_domain_has_id(struct tls_generation *g, enum tls_role role, const char *id)
{
	return false;
}

bool tls_domain_is_at(const struct tls_domain *d, const struct tls_address *a)
{
	return false;
}

struct tls_ssl *tls_domain_open(struct tls_domain_use *use)
{
	return tls_ssl_new(use);
}

void tls_domain_close(struct tls_domain_use *use, struct tls_ssl *ssl)
{
	tls_ssl_free(ssl);
}

/* For the verdict on a connection, which nobody asks for here. */
void tls_cert_free(struct tls_cert *cert)
{
	abort();
}

void tls_peer_take(const struct tls_ssl *ssl, struct tls_peer *out)
{
	abort();
}

void tls_peer_drop_chain(struct tls_peer *p)
{
	abort();
}

bool tls_peer_is_good(const struct tls_peer *p, const struct tls_domain *client, const char *name,
                      int64_t *until)
{
	abort();
}

/* ---- the script */

static const char *script_name, *script_id, *script_fault;
static bool script_drops;

const char TLS_OUTGOING_NO_MEMORY[] = "no shared memory";

static char *copy_of(const char *text)
{
	return text != NULL ? strcpy(tls_mem_shared_alloc(strlen(text) + 1), text) : NULL;
}

const char *tls_outgoing_choose(char **server_name, char **server_id)
{
	*server_name = copy_of(script_name);
	*server_id = copy_of(script_id);
	return script_fault;
}

bool tls_outgoing_allowed(struct tcp_connection *c)
{
	return !script_drops;
}

void tls_reuse_add(struct tls_connection *t) {}

void tls_reuse_remove(struct tls_connection *t) {}

void tls_reuse_forget(void) {}

bool tls_reuse_keeps_back(const struct tls_connection *t)
{
	return false;
}

/* ---- the host */

int unix_tcp_sock = 1;
enum poll_types tcp_poll_method = POLL_EPOLL_LT;
unsigned long shm_mem_size = 64ul << 20;

static struct tcp_connection c;
static char buffer[4096];
static char in[4096], out[8192];
static size_t in_size, out_size;
static bool in_closed, in_broken, told_to_close;
static snd_flags_t sent_with;

int tcp_read_data(int fd, struct tcp_connection *con, char *to, int room, rd_conn_flags_t *flags)
{
	int n = (int)in_size < room ? (int)in_size : room;

	if (in_broken)
		return -1;
	memcpy(to, in, (size_t)n);
	in_size -= (size_t)n;
	memmove(in, in + n, in_size);
	if (n < room)
		*flags |= RD_CONN_SHORT_READ;
	if (in_size == 0 && in_closed)
		con->state = S_CONN_EOF;
	return n;
}

static int keep_output(const char *bytes, unsigned size)
{
	memcpy(out + out_size, bytes, size);
	out_size += size;
	return (int)size;
}

int tcpconn_send_unsafe(int fd, struct tcp_connection *con, const char *bytes, unsigned size,
                        snd_flags_t flags)
{
	sent_with = flags;
	return keep_output(bytes, size);
}

int _tcpconn_write_nb(int fd, struct tcp_connection *con, const char *bytes, int size)
{
	return keep_output(bytes, (unsigned)size);
}

int send_all(int fd, void *bytes, int size)
{
	told_to_close = true;
	return size; /* with the reference */
}

struct tcp_connection *tcpconn_get(int id, struct ip_addr *ip, int port, union sockaddr_union *local,
                                   ticks_t timeout)
{
	if (id != c.id)
		return NULL;
	tcpconn_ref(&c);
	return &c;
}

/* ---- around each test */

static struct tls_options usual;
static long blocks_before;

static int before_each(void **state)
{
	fake_crypto_reset();
	fake_host_clear();
	*fake_host_options() = usual;
	memory_left = 64u << 20;
	memory_was_short = memory_recovers = false;
	recoveries = 0;
	script_name = script_id = script_fault = NULL;
	script_drops = in_closed = in_broken = told_to_close = false;
	in_size = out_size = 0;
	sent_with = (snd_flags_t){0};
	blocks_before = blocks;
	return 0;
}

/* The host lets the connection go; nothing of it may be left. */
static int after_each(void **state)
{
	tls_server_close(&c, 1);
	tls_server_clean(&c);
	assert_null(c.extra_data);
	assert_int_equal(blocks, blocks_before);
	assert_int_equal(fake_connections, 0);
	assert_int_equal(pins, 0);
	assert_int_equal(tls_list_count(), 0);
	return 0;
}

static int open_connection(bool accepted)
{
	memset(&c, 0, sizeof(c));
	init_tcp_req(&c.req, buffer, sizeof(buffer));
	lock_init(&c.write_lock);
	atomic_set(&c.refcnt, 1);
	c.id = 7;
	c.fd = c.s = -1; /* of which poll() has nothing to tell */
	c.state = accepted ? S_CONN_ACCEPT : S_CONN_CONNECT;
	c.rcv.src_ip = c.rcv.dst_ip = (struct ip_addr){.af = AF_INET, .len = 4, .u.addr = {192, 0, 2, 1}};
	c.rcv.src_port = 40000;
	return tls_server_open(&c, 1);
}

static struct tls_connection *t_of(void)
{
	return c.extra_data;
}

static void receive(char letter, const char *bytes)
{
	in_size = fake_record(in, in_size, letter, bytes);
}

static rd_conn_flags_t last_flags;

/* As the host, which then has what came in its buffer. */
static int read_once(void)
{
	last_flags = 0;
	return tls_server_read(&c, &last_flags);
}

/* The host takes a message out of its buffer. */
static void take_message(void)
{
	c.req.pos = c.req.start = c.req.parsed = c.req.buf;
	c.req.state = H_SKIP_EMPTY;
}

static int encode(const char *text, const char **bytes, unsigned *size)
{
	const char *rest;
	unsigned rest_size;
	snd_flags_t flags = {0};

	*bytes = text;
	*size = (unsigned)strlen(text);
	return tls_server_encode(&c, bytes, size, &rest, &rest_size, &flags);
}

/* As a server, through the handshake. */
static void establish(void)
{
	assert_int_equal(open_connection(true), 0);
	c.state = S_CONN_OK;
	receive('h', "");
	receive('h', "");
	assert_int_equal(read_once(), 0);
	assert_int_equal(t_of()->phase, TLS_PHASE_ESTABLISHED);
	out_size = 0;
}

static bool logged(const char *text)
{
	return strstr(fake_host_log(), text) != NULL;
}

/* ---- the life of a connection */

static void no_library_is_needed(void **state)
{
	assert_true(fake_crypto_is_alone());
	assert_int_equal(open_connection(true), 0);
}

static void a_silent_connection_has_no_library_state(void **state)
{
	assert_int_equal(open_connection(true), 0);
	assert_int_equal(t_of()->role, TLS_SERVER);
	assert_int_equal(t_of()->phase, TLS_PHASE_NEW);
	assert_int_equal(c.type, PROTO_TLS);
	assert_int_equal(fake_connections, 0);
	assert_int_equal(pins, 0);
	assert_int_equal(tls_list_count(), 1);
}

static void a_handshake_takes_steps(void **state)
{
	long accepted = fake_host_counter("handshakes_accepted");

	assert_int_equal(open_connection(true), 0);
	receive('h', "");
	assert_int_equal(read_once(), 0);
	assert_int_equal(t_of()->phase, TLS_PHASE_HANDSHAKE);
	assert_memory_equal(out, "h\0", 2);
	assert_int_equal(fake_host_counter("handshakes_accepted"), accepted);
	receive('h', "");
	assert_int_equal(read_once(), 0);
	assert_int_equal(t_of()->phase, TLS_PHASE_ESTABLISHED);
	assert_false(t_of()->deadline_set);
	assert_int_equal(fake_host_counter("handshakes_accepted"), accepted + 1);
}

static void a_message_comes_in(void **state)
{
	establish();
	receive('d', "OPTIONS");
	receive('d', " sip:");
	assert_int_equal(read_once(), 12);
	assert_memory_equal(c.req.buf, "OPTIONS sip:", 12);
	take_message();
}

static void a_record_may_come_in_pieces(void **state)
{
	establish();
	receive('d', "OPTIONS");
	in_size = 4;
	assert_int_equal(read_once(), 0);
	memcpy(in, "TIONS", 5);
	in_size = 5;
	assert_int_equal(read_once(), 7);
	assert_memory_equal(c.req.buf, "OPTIONS", 7);
	take_message();
}

/* What the host's buffer has no room for waits, and the host is told to come again. */
static void what_is_too_much_waits(void **state)
{
	establish();
	c.req.b_size = 16;
	c.req.pos = c.req.buf + 12; /* it holds a part of a message already */
	receive('d', "0123456789");
	assert_int_equal(read_once(), 4);
	assert_true((last_flags & RD_CONN_REPEAT_READ) != 0);
	take_message();
	assert_int_equal(read_once(), 4); /* a quarter of a buffer, as it had more than its turn took */
	assert_true((last_flags & RD_CONN_REPEAT_READ) != 0);
	assert_memory_equal(c.req.buf, "4567", 4);
	take_message();
	assert_int_equal(read_once(), 2);
	assert_true((last_flags & RD_CONN_REPEAT_READ) == 0);
	assert_memory_equal(c.req.buf, "89", 2);
	take_message();
}

static void a_message_goes_out(void **state)
{
	const char *bytes;
	unsigned size;

	establish();
	assert_int_equal(encode("SIP/2.0", &bytes, &size), 9);
	assert_memory_equal(bytes, "d\7SIP/2.0", 9);
}

static void what_is_sent_early_waits_for_the_handshake(void **state)
{
	const char *bytes;
	unsigned size;

	assert_int_equal(open_connection(false), 0);
	assert_int_equal(encode("OPTIONS", &bytes, &size), 2);
	assert_memory_equal(bytes, "h\0", 2);
	assert_int_equal(t_of()->queue.bytes, 7);
	receive('h', "");
	assert_int_equal(read_once(), 0);
	assert_int_equal(t_of()->phase, TLS_PHASE_ESTABLISHED);
	assert_int_equal(out_size, 2 + 9);
	assert_memory_equal(out, "h\0d\7OPTIONS", 11);
	assert_int_equal(t_of()->queue.bytes, 0);
}

static void a_close_is_answered(void **state)
{
	establish();
	receive('d', "last");
	receive('c', "");
	assert_int_equal(read_once(), 4);
	assert_true(t_of()->peer_closed);
	assert_int_equal(c.state, S_CONN_EOF);
	take_message();
	assert_int_equal(read_once(), 0);
	assert_memory_equal(out, "c\0", 2);
	assert_int_equal(fake_connections, 0);
	assert_string_equal(fake_host_log(), "");
}

static void our_close_says_so(void **state)
{
	establish();
	fake_host_options()->send_close_notify = 0;
	tls_server_close(&c, 1);
	assert_int_equal(out_size, 0);
	fake_host_options()->send_close_notify = 1;
	tls_server_close(&c, 1);
	assert_memory_equal(out, "c\0", 2);
	assert_int_equal(t_of()->phase, TLS_PHASE_CLOSED);
}

/* ---- failures */

static void a_failure_has_a_line_and_a_count(void **state)
{
	long before = fake_host_counter("failed_certificate_expired");

	assert_int_equal(open_connection(true), 0);
	receive('h', "");
	assert_int_equal(read_once(), 0);
	fake_failure = TLS_STAT_FAILED_EXPIRED;
	fake_failure_text = "certificate has expired";
	receive('x', "");
	assert_int_equal(read_once(), -1);
	assert_true(logged("TLS handshake failed: peer 192.0.2.1:40000, domain server:default: "
	                   "certificate has expired\n"));
	assert_int_equal(fake_host_counter("failed_certificate_expired"), before + 1);
	assert_int_equal(t_of()->phase, TLS_PHASE_CLOSED);
}

static void a_failure_after_the_handshake_is_a_broken_connection(void **state)
{
	long alerts = fake_host_counter("failed_alert"), broken = fake_host_counter("connections_broken");

	establish();
	receive('x', "");
	assert_int_equal(read_once(), -1);
	assert_true(logged("TLS reading failed: peer 192.0.2.1:40000, domain server:default: an alert\n"));
	assert_int_equal(fake_host_counter("failed_alert"), alerts);
	assert_int_equal(fake_host_counter("connections_broken"), broken + 1);
}

/* A client of TLS 1.3 is done before the server has judged its certificate. */
static void a_client_that_speaks_last_hears_of_it_later(void **state)
{
	long alerts = fake_host_counter("failed_alert");
	const char *bytes;
	unsigned size;

	assert_int_equal(open_connection(false), 0);
	c.state = S_CONN_OK;
	encode("OPTIONS", &bytes, &size);
	receive('h', "");
	assert_int_equal(read_once(), 0);
	assert_int_equal(t_of()->phase, TLS_PHASE_ESTABLISHED);
	receive('x', "");
	assert_int_equal(read_once(), -1);
	assert_true(logged("TLS handshake failed: peer 192.0.2.1:40000, domain client:default: an alert\n"));
	assert_int_equal(fake_host_counter("failed_alert"), alerts + 1);
}

static void a_peer_that_says_nothing_is_not_noted(void **state)
{
	assert_int_equal(open_connection(true), 0);
	in_closed = true;
	assert_int_equal(read_once(), 0);
	assert_int_equal(c.state, S_CONN_EOF);
	assert_string_equal(fake_host_log(), "");
}

static void a_peer_that_leaves_its_handshake_is_noted(void **state)
{
	long before = fake_host_counter("failed_peer_closed");

	assert_int_equal(open_connection(true), 0);
	receive('h', "");
	in_closed = true;
	assert_int_equal(read_once(), 0);
	assert_true(logged("the peer closed the connection before it was finished"));
	assert_int_equal(fake_host_counter("failed_peer_closed"), before + 1);
}

static void a_connection_that_breaks_is_noted(void **state)
{
	long closed = fake_host_counter("failed_peer_closed"), broken = fake_host_counter("connections_broken");

	assert_int_equal(open_connection(true), 0);
	receive('h', "");
	assert_int_equal(read_once(), 0);
	in_broken = true;
	assert_int_equal(read_once(), -1);
	assert_int_equal(fake_host_counter("failed_peer_closed"), closed + 1);
	assert_true(logged("the connection broke"));
	in_broken = false;
	tls_server_clean(&c);
	establish();
	in_broken = true;
	assert_int_equal(read_once(), -1);
	assert_int_equal(fake_host_counter("failed_peer_closed"), closed + 1);
	assert_int_equal(fake_host_counter("connections_broken"), broken + 1);
}

static void without_memory_there_is_no_handshake(void **state)
{
	long before = fake_host_counter("failed_memory");

	assert_int_equal(open_connection(true), 0);
	fake_no_memory = true;
	receive('h', "");
	assert_int_equal(read_once(), -1);
	assert_true(
		logged("TLS handshake failed: peer 192.0.2.1:40000, domain server:default: no shared memory"));
	assert_int_equal(fake_host_counter("failed_memory"), before + 1);
}

/* ---- deadlines */

static void a_handshake_has_a_deadline(void **state)
{
	long before = fake_host_counter("failed_timeout");

	assert_int_equal(open_connection(true), 0);
	c.state = S_CONN_OK;
	receive('h', "");
	assert_int_equal(read_once(), 0);
	fake_host_pass(usual.handshake_timeout - 1);
	tls_deadline_sweep(0, NULL);
	assert_false(told_to_close);
	fake_host_pass(2);
	tls_deadline_sweep(0, NULL);
	assert_true(told_to_close);
	assert_true(logged("(handshake_timeout)"));
	assert_int_equal(fake_host_counter("failed_timeout"), before + 1);
	tls_deadline_sweep(0, NULL); /* once is enough */
	assert_int_equal(fake_host_counter("failed_timeout"), before + 1);
}

static void bytes_that_trickle_in_do_not_move_it(void **state)
{
	assert_int_equal(open_connection(true), 0);
	receive('h', "");
	assert_int_equal(read_once(), 0);
	fake_host_pass(usual.handshake_timeout + 1);
	receive('h', "");
	assert_int_equal(read_once(), -1);
	assert_true(logged("(handshake_timeout)"));
}

static void a_message_has_a_deadline(void **state)
{
	fake_host_options()->connection_timeout = 20;
	establish();
	receive('d', "OPTIONS");
	assert_int_equal(read_once(), 7);
	c.req.state = H_BODY; /* the host waits for the rest */
	assert_int_equal(read_once(), 0);
	assert_true(t_of()->deadline_set);
	fake_host_pass(21);
	receive('d', "x");
	assert_int_equal(read_once(), -1);
	assert_true(logged("TLS reading failed: peer 192.0.2.1:40000, domain server:default: not finished within "
	                   "20 s (connection_timeout)\n"));
}

/* The host has taken it, and holds the beginning of the next one, which has time of its own. */
static void the_next_message_has_its_own(void **state)
{
	fake_host_options()->connection_timeout = 20;
	establish();
	receive('d', "OPTIONS");
	assert_int_equal(read_once(), 7);
	c.req.state = H_BODY;
	assert_int_equal(read_once(), 0);
	fake_host_pass(21);
	c.req.pos = c.req.buf + 3;
	receive('d', "x");
	assert_int_equal(read_once(), 1);
	assert_true(t_of()->deadline_set);
	take_message();
}

/* ---- pressure */

static void low_memory_refuses_connections(void **state)
{
	long refused = fake_host_counter("connections_refused");

	fake_host_pass(60);
	fake_host_options()->low_mem_threshold1 = 1024;
	memory_left = 1023 * 1024;
	assert_int_equal(open_connection(true), -1);
	assert_true(logged("connection with 192.0.2.1:40000 refused: 1023 KB of shared memory are left "
	                   "(low_mem_threshold1 1024)"));
	fake_host_clear();
	assert_int_equal(open_connection(true), -1);
	assert_string_equal(fake_host_log(), ""); /* not again within five seconds */
	fake_host_pass(6);
	assert_int_equal(open_connection(true), -1);
	assert_true(logged("refused"));
	assert_int_equal(fake_host_counter("connections_refused"), refused + 3);
	memory_left = 1025 * 1024;
	assert_int_equal(open_connection(true), 0);
}

/* Small pieces are as good as none; the search is not repeated at once. */
static void small_pieces_refuse_connections(void **state)
{
	fake_host_pass(60);
	fake_host_options()->low_mem_threshold1 = 1024;
	memory_was_short = true;
	assert_int_equal(open_connection(true), -1);
	assert_true(logged(", but in small pieces"));
	assert_int_equal(open_connection(true), -1);
	assert_int_equal(recoveries, 1);
	fake_host_pass(2);
	memory_recovers = true;
	assert_int_equal(open_connection(true), 0);
	assert_int_equal(recoveries, 2);
}

static void low_memory_ends_a_handshake(void **state)
{
	assert_int_equal(open_connection(true), 0);
	fake_host_options()->low_mem_threshold2 = 1024;
	memory_left = 1000 * 1024;
	receive('h', "");
	assert_int_equal(read_once(), -1);
	assert_int_equal(fake_connections, 0);
}

/* ---- outgoing connections */

static void the_script_chooses_a_name(void **state)
{
	const char *bytes;
	unsigned size;

	script_name = "of.the.script";
	assert_int_equal(open_connection(false), 0);
	assert_int_equal(t_of()->role, TLS_CLIENT);
	encode("x", &bytes, &size);
	assert_string_equal(fake_asked_name, "of.the.script");
}

static void else_the_domain_does(void **state)
{
	const char *bytes;
	unsigned size;

	assert_int_equal(open_connection(false), 0);
	encode("x", &bytes, &size);
	assert_string_equal(fake_asked_name, "of.the.domain");
}

static void an_address_is_no_name_to_ask_for(void **state)
{
	const char *bytes;
	unsigned size;

	script_name = "192.0.2.9";
	assert_int_equal(open_connection(false), 0);
	encode("x", &bytes, &size);
	assert_string_equal(fake_asked_name, "");
}

static void an_unknown_id_is_refused_where_it_must_be_known(void **state)
{
	const char *bytes;
	unsigned size;

	script_id = "nobody";
	fake_host_options()->unknown_server_id = 1;
	assert_int_equal(open_connection(false), -1);
	assert_true(logged("\"nobody\""));
	assert_int_equal(blocks, blocks_before);
	fake_host_options()->unknown_server_id = 0;
	fake_host_clear();
	assert_int_equal(open_connection(false), 0);
	encode("x", &bytes, &size);
	assert_true(logged("has the server_id \"nobody\": client:default is used"));
}

static void a_script_may_forbid_it(void **state)
{
	script_drops = true;
	assert_int_equal(open_connection(false), 0);
	assert_true((c.flags & F_CONN_NOSEND) != 0);
}

/* Last of all: what belongs to a connection stays when the server has ended, and the kernel takes it back. */
static void at_the_end_nothing_is_freed(void **state)
{
	establish();
	tls_server_end();
	tls_server_clean(&c);
	assert_non_null(c.extra_data);
	assert_int_equal(fake_connections, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, before_each, after_each)
	static const struct tls_gauge no_gauges[] = {{NULL, NULL, NULL}};
	static struct tls_settings settings;
	static struct tls_options options;
	const struct CMUnitTest tests[] = {
		TEST(no_library_is_needed),
		TEST(a_silent_connection_has_no_library_state),
		TEST(a_handshake_takes_steps),
		TEST(a_message_comes_in),
		TEST(a_record_may_come_in_pieces),
		TEST(what_is_too_much_waits),
		TEST(a_message_goes_out),
		TEST(what_is_sent_early_waits_for_the_handshake),
		TEST(a_close_is_answered),
		TEST(our_close_says_so),
		TEST(a_failure_has_a_line_and_a_count),
		TEST(a_failure_after_the_handshake_is_a_broken_connection),
		TEST(a_client_that_speaks_last_hears_of_it_later),
		TEST(a_peer_that_says_nothing_is_not_noted),
		TEST(a_peer_that_leaves_its_handshake_is_noted),
		TEST(a_connection_that_breaks_is_noted),
		TEST(without_memory_there_is_no_handshake),
		TEST(a_handshake_has_a_deadline),
		TEST(bytes_that_trickle_in_do_not_move_it),
		TEST(a_message_has_a_deadline),
		TEST(the_next_message_has_its_own),
		TEST(low_memory_refuses_connections),
		TEST(small_pieces_refuse_connections),
		TEST(low_memory_ends_a_handshake),
		TEST(the_script_chooses_a_name),
		TEST(else_the_domain_does),
		TEST(an_address_is_no_name_to_ask_for),
		TEST(an_unknown_id_is_refused_where_it_must_be_known),
		TEST(a_script_may_forbid_it),
		cmocka_unit_test_setup(at_the_end_nothing_is_freed, before_each),
	};

	tls_settings_init(&settings);
	tls_settings_init_options(&options);
	tls_settings_set_option_defaults(&options);
	if (tls_runtime_start(&settings, &options) != 0 || tls_server_start() != 0 ||
	    tls_stats_start(no_gauges) != 0)
		return 1;
	usual = *fake_host_options();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
