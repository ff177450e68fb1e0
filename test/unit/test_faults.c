/* links: BENCH tls_rpc.c tls_select.c connection/item.c test/unit/asker.c -Wl,--wrap=CRYPTO_set_mem_functions -Wl,--wrap=nanosleep -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc -Wl,--wrap=strdup */
/*
 * test_faults.c - every allocation of shared memory fails in turn: alone, and with all that come after it;
 * where work needs private memory, every allocation of that too
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * A scenario is run until it needs no more allocations than are allowed. After each run no block may be left
 * that was not there before, a bystander's connection must still carry messages, a new one must come about,
 * and whoever failed must have said so. Scenarios run in a child, so that a crash costs one run: the next
 * child goes on behind it.
 *
 * Here each block is one of the host's, watched by fake_memory.c. In test_faults_heap.c the shared allocator
 * stands between the two, and there is a third way to fail: from some allocation on the host has no memory,
 * so the heap goes on with the slots that it has.
 *
 * Of long scenarios a choice of allocations fails, evenly spread; with FAULTS_EACH=1 in the environment each
 * does, which takes an hour.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "heap/heap.h"
#include "tls_mem.h"
#include "settings/report.h"
#include "crypto/openssl/compat.h"
#include "tls_reload.h"
#include "asker.h"
#include "bench.h"
#include "ends.h"
#include "fake_host.h"
#include "fake_memory.h"

#define RUN_SECONDS    60 /* no run takes a hundredth of it */
#define COMPLAINTS_MAX 20
#define HEALTH_EVERY   16

#ifndef HEAPED
#define HEAPED 0
#endif

#ifdef __SANITIZE_ADDRESS__
#define RUNS (HEAPED ? 30 : 60)
#else
#define RUNS (HEAPED ? 100 : 300)
#endif

/* ---- who fails */

enum way { ONCE, ALL_LATER, HOST_IS_OUT };
#define WAYS (HEAPED ? 3 : 2)

#if HEAPED
static long out_at; /* the allocation at which the host has no memory any more, 0: none */
#endif

static bool note_site(void);

/* Lets the N-th allocation from now fail. */
static void begin_failing(long n, enum way way)
{
#if HEAPED
	tls_heap_trim();
	tls_heap_fail_at(way == HOST_IS_OUT ? 0 : n, way == ALL_LATER);
	out_at = way == HOST_IS_OUT ? n : 0;
#else
	fake_memory_fail_at(n, way == ALL_LATER);
#endif
}

/* Returns how many allocations there were since the beginning. */
static long end_failing(void)
{
#if HEAPED
	long asked = tls_heap_asked();

	out_at = 0;
	fake_memory_fail_at(0, false);
	tls_heap_fail_at(0, false);
	return asked;
#else
	long asked = fake_memory_asked();

	fake_memory_fail_at(0, false);
	return asked;
#endif
}

static void before_allocation(void)
{
#if HEAPED
	if (out_at == 0 || tls_heap_asked() + 1 < out_at)
		return;
	out_at = 0;
	fake_memory_fail_at(1, true);
#endif
}

/* ---- where in OpenSSL memory was asked for */

static struct site {
	const char *file;
	int line;
} site;

static CRYPTO_malloc_fn real_malloc;
static CRYPTO_realloc_fn real_realloc;

int __real_CRYPTO_set_mem_functions(CRYPTO_malloc_fn m, CRYPTO_realloc_fn r, CRYPTO_free_fn f);
int __wrap_CRYPTO_set_mem_functions(CRYPTO_malloc_fn m, CRYPTO_realloc_fn r, CRYPTO_free_fn f);

static void *noting_malloc(size_t size, const char *file, int line)
{
	void *p;

	site = (struct site){file, line};
	before_allocation();
	p = real_malloc(size, file, line);
	if (p == NULL && size > 0)
		note_site();
	site.file = NULL;
	return p;
}

static void *noting_realloc(void *old, size_t size, const char *file, int line)
{
	void *p;

	site = (struct site){file, line};
	before_allocation();
	p = real_realloc(old, size, file, line);
	if (p == NULL && size > 0)
		note_site();
	site.file = NULL;
	return p;
}

int __wrap_CRYPTO_set_mem_functions(CRYPTO_malloc_fn m, CRYPTO_realloc_fn r, CRYPTO_free_fn f)
{
	real_malloc = m;
	real_realloc = r;
	return __real_CRYPTO_set_mem_functions(noting_malloc, noting_realloc, f);
}

/* ---- private memory, the module's and OpenSSL's: libc's functions as they are called from here */

static struct {
	long asked, fail_at; /* 0: none */
	bool forever;
} private;

static bool note_site(void);

static bool private_fails(void)
{
	private.asked++;
	if (private.fail_at == 0 || private.asked < private.fail_at ||
	    (private.asked > private.fail_at && !private.forever))
		return false;
	note_site();
	return true;
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__real_strdup(const char *s);
char *__wrap_strdup(const char *s);

void *__wrap_malloc(size_t size)
{
	return private_fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return private_fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return private_fails() ? NULL : __real_realloc(old, size);
}

char *__wrap_strdup(const char *s)
{
	return private_fails() ? NULL : __real_strdup(s);
}

static void private_fail_at(long n, bool forever)
{
	private.asked = 0;
	private.fail_at = n;
	private.forever = forever;
}

/* The lock proof need not take its time in each of many starts, unless its child gets no processor. */
#define LOCK_PROOF_NAP 2000000
#define SHORT_NAPS     50
int __real_nanosleep(const struct timespec *wanted, struct timespec *left);
int __wrap_nanosleep(const struct timespec *wanted, struct timespec *left);

int __wrap_nanosleep(const struct timespec *wanted, struct timespec *left)
{
	const struct timespec short_time = {.tv_nsec = wanted->tv_nsec / 20};
	static int naps;

	if (wanted->tv_nsec == LOCK_PROOF_NAP && naps++ >= SHORT_NAPS)
		return __real_nanosleep(wanted, left);
	return __real_nanosleep(&short_time, left);
}

/* ---- what the runs are about */

/* A port beside those of BENCH_SERVERS. */
enum { OLD = NAMES + 1 };

static const char domains[] = BENCH_SERVERS "server_name = example.org\n"
											"certificate = @/rsa.pem\n"
											"private_key = @/rsa.key\n"
											"[server:127.0.0.1:5065]\n"
											"method = TLSv1.2\n"
											"certificate = @/server.pem\n"
											"private_key = @/server.key\n"
											"ca_list = @/ca.pem\n"
											"verify_client = on\n" BENCH_CLIENTS;

static struct ends e, bystander;
static char bytes[200000];

static bool talk(struct ends *x)
{
	if (!ends_say(&x->client, "question"))
		return false;
	ends_run(x);
	if (!ends_got(&x->server, "question") || !ends_say(&x->server, "answer"))
		return false;
	ends_run(x);
	return ends_got(&x->client, "answer");
}

static bool open_other_client(int version)
{
	SSL_CTX *ctx = bench_context("client");
	bool opened;

	SSL_CTX_set_min_proto_version(ctx, version);
	SSL_CTX_set_max_proto_version(ctx, version);
	opened = ends_open(&e, NULL, ctx);
	SSL_CTX_free(ctx);
	return opened;
}

/* From the first byte to the last, both ends the module's. */
static bool connect_at(int port)
{
	bool worked;

	ends_port = (unsigned short)port;
	worked = ends_open(&e, NULL, NULL) && ends_shake(&e, "question") && ends_got(&e.server, "question") &&
	         ends_say(&e.server, "answer");
	if (worked) {
		ends_run(&e);
		worked = ends_got(&e.client, "answer");
	}
	ends_close(&e);
	return worked;
}

static bool connect_any(void)
{
	return connect_at(ANY);
}

static bool connect_rsa(void)
{
	return connect_at(RSA_EXCHANGE);
}

static bool connect_with_certificate(void)
{
	return connect_at(CERTIFICATE_REQUIRED);
}

static bool connect_with_certificate_old(void)
{
	return connect_at(OLD);
}

static bool connect_with_choices(void)
{
	bool worked;

	ends_server_name = "example.org";
	ends_server_id = "nobody";
	worked = connect_at(NAMES);
	ends_server_name = ends_server_id = NULL;
	return worked;
}

/* ---- resumption */

static SSL_SESSION *session;

static void get_session(int version)
{
	ends_port = ANY;
	if (!open_other_client(version) || !ends_shake(&e, NULL) || !talk(&e))
		abort();
	session = SSL_get1_session(e.client.ssl);
	ends_close(&e);
}

static bool resume(int version)
{
	bool worked = open_other_client(version);

	if (worked) {
		SSL_set_session(e.client.ssl, session);
		worked = ends_shake(&e, NULL) && talk(&e);
	}
	SSL_SESSION_free(session);
	ends_close(&e);
	return worked;
}

static void get_session_12(void)
{
	get_session(TLS1_2_VERSION);
}

static void get_session_13(void)
{
	get_session(TLS1_3_VERSION);
}

static bool resume_12(void)
{
	return resume(TLS1_2_VERSION);
}

static bool resume_13(void)
{
	return resume(TLS1_3_VERSION);
}

/* ---- what goes over a connection that stands */

static void begin(int version)
{
	ends_port = ANY;
	if (!open_other_client(version) || !ends_shake(&e, NULL) || !talk(&e))
		abort();
}

static void begin_12(void)
{
	begin(TLS1_2_VERSION);
}

static void begin_13(void)
{
	begin(TLS1_3_VERSION);
}

static bool passes(struct end *from, struct end *to, size_t size)
{
	if (!ends_send(from, bytes, size))
		return false;
	ends_run(&e);
	return ends_forget(to) == size;
}

/*
 * With a host's buffer so small that ciphertext has to be kept, and with new keys where the version has them.
 */
static bool exchange(void)
{
	bool worked;

	e.server.c.req.b_size = 700;
	e.server.piece = 5000;
	worked = passes(&e.client, &e.server, 20000) && passes(&e.server, &e.client, sizeof(bytes));
	if (SSL_version(e.client.ssl) == TLS1_3_VERSION)
		SSL_key_update(e.client.ssl, SSL_KEY_UPDATE_REQUESTED);
	worked = worked && passes(&e.client, &e.server, sizeof(bytes)) && passes(&e.server, &e.client, 1);
	ends_close(&e);
	return worked;
}

static bool close_politely(void)
{
	bool worked;

	ends_say(&e.client, "last question");
	ends_finish(&e.client);
	ends_step(&e.server);
	worked = ends_got(&e.server, "last question") && ends_say(&e.server, "answer");
	ends_hang_up(&e.server);
	ends_run(&e);
	worked = worked && ends_got(&e.client, "answer");
	ends_close(&e);
	return worked;
}

/* None of the failures may open the door to somebody who is not let in otherwise. */
static bool refuse_stranger(void)
{
	SSL_CTX *ctx = bench_context("stranger");
	bool let_in;

	ends_port = CERTIFICATE_REQUIRED;
	let_in = ends_open(&e, NULL, ctx) && (ends_shake(&e, NULL) || ends_established(&e.server));
	SSL_CTX_free(ctx);
	ends_close(&e);
	if (let_in)
		abort();
	return true;
}

static bool send_rubbish(void)
{
	bool refused;

	ends_port = ANY;
	if (!open_other_client(0))
		return false;
	wire_put(&e.to_server, "GET / HTTP/1.1\r\n\r\n", 18);
	ends_step(&e.server);
	refused = e.server.failed;
	ends_close(&e);
	return refused;
}

static bool let_much_wait(void)
{
	bool worked;

	ends_port = ANY;
	worked = ends_open(&e, NULL, NULL);
	for (int i = 0; worked && i < 12; i++)
		worked = ends_send(&e.client, bytes, 5000);
	ends_run(&e);
	worked = worked && ends_forget(&e.server) == 60000;
	ends_close(&e);
	return worked;
}

/* ---- reloads */

/* Writes a file as it is, so that it is loaded again. */
static void touch(const char *file)
{
	char content[8192];
	FILE *f = fopen(bench_path(file), "r");
	size_t n = f != NULL ? fread(content, 1, sizeof(content) - 1, f) : 0;

	if (f != NULL)
		fclose(f);
	content[n] = '\0';
	bench_write(file, content);
}

static void touch_all(void)
{
	static const char *const files[] = {"ca.pem",  "server.pem", "server.key",
	                                    "rsa.pem", "rsa.key",    "client.key"};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		touch(files[i]);
}

static bool reload(void)
{
	struct tls_report r;
	int number;

	tls_report_init(&r);
	number = tls_reload_run(&r);
	tls_reload_log(&r);
	tls_report_clear(&r);
	return number > 0;
}

static bool check(void)
{
	struct tls_report r;
	bool good;

	tls_report_init(&r);
	tls_reload_check(&r);
	tls_reload_log(&r);
	good = r.errors == 0;
	tls_report_clear(&r);
	return good;
}

static bool watch(void)
{
	fake_host_clear();
	tls_reload_watch(0, NULL);
	return strstr(fake_host_log(), "serves new connections") != NULL;
}

/* ---- what operators and scripts ask */

static int answers; /* that a script gets when nothing fails */

/* About a connection with certificates on both sides and a name. */
static void begin_questions(void)
{
	int i;

	ends_port = CERTIFICATE_REQUIRED;
	ends_server_name = "example.org";
	if (!ends_open(&e, NULL, NULL) || !ends_shake(&e, "question"))
		abort();
	ends_server_name = NULL;
	for (i = 0; answers == 0 && i < 2; i++)
		answers = asker_script(&e.server.c);
}

static bool ask_script(void)
{
	bool all = asker_script(&e.server.c) == answers;

	ends_close(&e);
	return all;
}

/* Commands that only look, on all there is and on some of it. */
static bool give_commands(void)
{
	bool all = true;

	for (const char *const *name = asker_commands(); *name != NULL; name++)
		if (strcmp(*name, "tls.reload") != 0 && strcmp(*name, "tls.kill") != 0)
			all = asker_command(*name, NULL, 0) && asker_command(*name, "127.0.0.1", 0) && all;
	ends_close(&e);
	return all;
}

static bool give_reload(void)
{
	return asker_command("tls.reload", NULL, 0);
}

static bool give_kill(void)
{
	bool killed = asker_command("tls.kill", NULL, e.server.c.id);

	killed = killed && e.server.told_to_close;
	ends_close(&e);
	return killed;
}

/* A configuration of which nothing is left from earlier runs. */
static void renew(void)
{
	touch_all();
	if (!reload())
		abort();
}

/* A file of FILES in the bench's folder, one behind the other, in OUT, which has SIZE bytes. */
static void join(const char *const *files, char *out, size_t size)
{
	size_t used = 0;

	for (; *files != NULL; files++) {
		FILE *f = fopen(bench_path(*files), "r");

		if (f == NULL)
			abort();
		used += fread(out + used, 1, size - 1 - used, f);
		fclose(f);
	}
	out[used] = '\0';
}

static char good_chain[8192], good_anchors[8192];

/* Both are read before anything is done to the files. */
static void remember(void)
{
	static const char *const chain[] = {"server.pem", NULL}, *const anchors[] = {"ca.pem", NULL};

	if (good_chain[0] != '\0')
		return;
	join(chain, good_chain, sizeof(good_chain));
	join(anchors, good_anchors, sizeof(good_anchors));
}

/* A chain with strangers, one of them twice, and anchors that anchor nothing. */
static void spoil(void)
{
	static const char *const strangers[] = {"stranger.pem", "stranger.pem", "rsa.pem", NULL};
	static const char *const leaves[] = {"client.pem", "rsa.pem", NULL};
	char text[3 * 8192];

	remember();
	strcpy(text, good_chain);
	join(strangers, text + strlen(text), sizeof(text) - strlen(text));
	bench_write("server.pem", text);
	join(leaves, text, sizeof(text));
	bench_write("ca.pem", text);
}

static void mend(void)
{
	remember();
	bench_write("server.pem", good_chain);
	bench_write("ca.pem", good_anchors);
	renew();
}

/* ---- scenarios */

struct scenario {
	const char *name;
	void (*settle)(
		void);           /* before and after each run, so that what is there can be compared; NULL: nothing */
	void (*begin)(void); /* what comes before the run itself, NULL: nothing */
	bool (*run)(void);   /* returns whether it worked; leaves nothing open */
	bool private;        /* it is private memory that fails */
	bool quiet;          /* it need not say why it failed: whoever asked sees it */
	bool reserved;       /* one failure is no harm: there is a reserve for established connections */
};

static const struct scenario scenarios[] = {
	{"TLS 1.3", .run = connect_any},
	{"TLS 1.2 with RSA key exchange", .settle = renew, .run = connect_rsa},
	{"TLS 1.3 with client certificate", .run = connect_with_certificate},
	{"TLS 1.2 with client certificate", .run = connect_with_certificate_old},
	{"name and profile", .settle = renew, .run = connect_with_choices},
	{"resumption, TLS 1.3", .begin = get_session_13, .run = resume_13},
	{"resumption, TLS 1.2", .begin = get_session_12, .run = resume_12},
	{"reading and writing, TLS 1.3", .begin = begin_13, .run = exchange, .reserved = true},
	{"reading and writing, TLS 1.2", .begin = begin_12, .run = exchange, .reserved = true},
	{"closing, TLS 1.3", .begin = begin_13, .run = close_politely},
	{"closing, TLS 1.2", .begin = begin_12, .run = close_politely},
	{"stranger", .run = refuse_stranger},
	{"rubbish", .run = send_rubbish},
	{"queueing", .run = let_much_wait},
	{"reload", .settle = renew, .begin = touch_all, .run = reload},
	{"reload without changes", .settle = renew, .run = reload},
	{"check", .settle = renew, .begin = touch_all, .run = check},
	{"check of chains with holes", .settle = mend, .begin = spoil, .run = check},
	{"watching files", .settle = renew, .begin = touch_all, .run = watch},
	{"selects and variables", .begin = begin_questions, .run = ask_script, .quiet = true},
	{"commands", .settle = renew, .begin = begin_questions, .run = give_commands, .quiet = true},
	{"tls.reload", .settle = renew, .begin = touch_all, .run = give_reload},
	{"tls.kill", .begin = begin_questions, .run = give_kill, .quiet = true},
	{"selects and variables, private memory", .begin = begin_questions, .run = ask_script, .private = true,
     .quiet = true},
	{"commands, private memory", .begin = begin_questions, .run = give_commands, .private = true,
     .quiet = true},
	{"check of chains with holes, private memory", .settle = mend, .begin = spoil, .run = check,
     .private = true},
	{"tls.reload, private memory", .settle = renew, .begin = touch_all, .run = give_reload, .private = true},
	{"watching files, private memory", .settle = renew, .begin = touch_all, .run = watch, .private = true,
     .quiet = true},
};

/* Of the memory that S is about. When private memory fails, the host's has nothing to do with it. */
static void begin_run(const struct scenario *s, long n, enum way way)
{
	if (s->private)
		private_fail_at(n, way != ONCE);
	else
		begin_failing(n, way);
}

/*
 * Returns how many allocations there were. Time passes: the module looks for memory once a second, and
 * complains every five.
 */
static long end_run(const struct scenario *s)
{
	long asked = private.asked;

	fake_host_pass(6);
	private_fail_at(0, false);
	return s->private ? asked : end_failing();
}

/* Shared blocks and, when it is about them, private bytes of OpenSSL's. */
static long held(const struct scenario *s)
{
	long blocks = bench_blocks();

	return s->private ? blocks + tls_mem_private() : blocks;
}

/*
 * Of COUNT allocations, the distance between those that fail; odd, so as not to be in step with what OpenSSL
 * does in turn.
 */
static long stride(long count, long runs)
{
	return getenv("FAULTS_EACH") != NULL ? 1 : count / runs | 1;
}

/* ---- one run, in a child. What goes wrong is said, and counted */

/* What a child tells its parent; shared. */
static struct progress {
	long n, step;
	enum way way;
	bool done;
	int complaints;
	long failed;      /* runs */
	long asked;       /* allocations of a whole start */
	struct site site; /* at which the run's first allocation failed */
} * progress;

static void complain(const char *what)
{
	static const char *const ways[] = {"", " and all later", ", from which on the host has no memory"};

	if (progress->complaints++ < COMPLAINTS_MAX)
		printf("# allocation %ld%s (%s:%d): %s\n%s", progress->n, ways[progress->way],
		       progress->site.file != NULL ? progress->site.file : "ours", progress->site.line, what,
		       fake_host_log());
	fflush(stdout);
}

static bool note_site(void)
{
	if (progress->site.line == 0)
		progress->site = (struct site){site.file, site.file != NULL ? site.line : -1};
	return false;
}

static bool run_scenario_once(const struct scenario *s)
{
	if (s->begin != NULL)
		s->begin();
	fake_host_clear();
	return s->run();
}

/* Afterwards all is well again: for others and, looked at now and then, for the same once more. */
static void check_health(const struct scenario *s)
{
	static unsigned turn;

	ends_port = ANY;
	if (!talk(&bystander))
		complain("another connection was touched");
	if ((s->settle != NULL || turn++ % HEALTH_EVERY == 0) && !run_scenario_once(s))
		complain("it does not work afterwards either");
}

#if HEAPED
static void check_heap(void)
{
	struct tls_mem_stats now;

	tls_mem_get_stats(&now);
	if (tls_heap_check() != now.blocks)
		complain("the heap has miscounted its blocks");
}
#endif

/* Returns how many blocks a run adds. */
static long run_failing(const struct scenario *s, long n, enum way way)
{
	long before = held(s);
	bool worked;

	if (s->begin != NULL)
		s->begin();
	fake_host_clear();
	progress->site.line = 0;
	begin_run(s, n, way);
	worked = s->run();
	end_run(s);
	progress->failed += !worked;
	if (!worked && !s->quiet && fake_host_log()[0] == '\0')
		complain("it failed without a word");
	if (!worked && s->reserved && way == ONCE)
		complain("an established connection did not go on with the reserve");
	check_health(s);
	if (s->settle != NULL)
		s->settle();
#if HEAPED
	check_heap();
#endif
	return held(s) - before;
}

/* What is made once and kept is not a leak: that is what each run adds to. */
static bool leaks(const struct scenario *s, long n, enum way way)
{
	for (int i = 0; i < 3; i++)
		if (run_failing(s, n, way) <= 0)
			return false;
	return true;
}

static void open_bystander(void)
{
	ends_port = ANY;
	if (!ends_open(&bystander, NULL, NULL) || !ends_shake(&bystander, "question") ||
	    !ends_got(&bystander.server, "question"))
		abort();
}

/* How many allocations a run of S needs, once all that is made only once is there. */
static long count_allocations(const struct scenario *s)
{
	bool worked = true;
	long count;

	for (int i = 0; i < 2 * FAKE_HOST_PROCESSES; i++)
		worked = worked && run_scenario_once(s);
	if (s->settle != NULL)
		s->settle();
	if (s->begin != NULL)
		s->begin();
	begin_run(s, 0, ONCE);
	worked = s->run() && worked;
	count = end_run(s);
	if (!worked)
		complain("it does not even work with all memory there is");
	if (s->settle != NULL)
		s->settle();
	return count;
}

/* Begins where PROGRESS says. */
static void run_all(const struct scenario *s)
{
	long count;

	open_bystander();
	count = count_allocations(s);
	progress->step = stride(count, s->settle != NULL ? RUNS / 5 : RUNS);
	for (; progress->n <= count; progress->n += progress->step, progress->way = ONCE) {
		for (int way = progress->way; way < WAYS; way++) {
			progress->way = (enum way)way;
			alarm(RUN_SECONDS);
			if (leaks(s, progress->n, progress->way))
				complain("blocks are left");
		}
	}
	progress->done = true;
	printf("# %ld allocations, %ld runs failed in an orderly way\n", count, progress->failed);
}

/* ---- children */

/* Runs WORK(ARG) in a child. Returns its wait status. */
static int in_child(void (*work)(const void *arg), const void *arg)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGSEGV, SIG_DFL);
		signal(SIGABRT, SIG_DFL);
		signal(SIGALRM, SIG_DFL);
		work(arg);
		fflush(NULL);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void run_scenario(const void *arg)
{
	if (bench_start(domains) != 0 || asker_start() != 0)
		abort();
	fake_memory_spares = note_site;
	run_all(arg);
}

/* Goes on behind the run that PROGRESS says. */
static void step_over(void)
{
	if (progress->way == WAYS - 1)
		progress->n += progress->step;
	progress->way = (progress->way + 1) % WAYS;
}

static void sweep(void **state)
{
	const struct scenario *s = *state;

	memset(progress, 0, sizeof(*progress));
	progress->n = 1;
	while (!progress->done && progress->complaints < COMPLAINTS_MAX) {
		int status = in_child(run_scenario, s);

		if (status == 0)
			continue;
		complain(WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "the process ended");
		step_over();
	}
	assert_int_equal(progress->complaints, 0);
}

/* A pattern as argument chooses scenarios. */
/* ---- the start of the module: each run is a child's whole life */

struct start {
	long n;
	enum way way;
};

static void run_start(const void *arg)
{
	const struct start *s = arg;

	alarm(RUN_SECONDS);
	fake_memory_spares = note_site;
	begin_failing(s->n, s->way);
	if (bench_start(domains) != 0) {
		end_failing();
		progress->failed++;
		if (fake_host_log()[0] == '\0')
			complain("it failed without a word");
		return;
	}
	progress->asked = end_failing();
	ends_port = ANY;
	if (!ends_open(&e, NULL, NULL) || !ends_shake(&e, "question"))
		complain("the start seemed to work, but connections do not");
}

static void try_start(struct start *s, enum way way)
{
	int status;

	s->way = way;
	progress->n = s->n;
	progress->way = way;
	progress->site.line = 0;
	status = in_child(run_start, s);
	if (status != 0)
		complain(WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "the process ended");
}

static void sweep_start(void **state)
{
	struct start s = {0, ONCE};

	memset(progress, 0, sizeof(*progress));
	assert_int_equal(in_child(run_start, &s), 0);
	for (s.n = 1; s.n <= progress->asked && progress->complaints < COMPLAINTS_MAX;
	     s.n += stride(progress->asked, RUNS / 2))
		for (int way = ONCE; way < WAYS; way++)
			try_start(&s, (enum way)way);
	printf("# %ld allocations, %ld runs failed in an orderly way\n", progress->asked, progress->failed);
	assert_int_equal(progress->complaints, 0);
}

int main(int argc, char **argv)
{
	struct CMUnitTest tests[sizeof(scenarios) / sizeof(scenarios[0]) + 1] = {
		{.name = "start", .test_func = sweep_start},
	};

	for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
		tests[i + 1] = (struct CMUnitTest){
			.name = scenarios[i].name, .test_func = sweep, .initial_state = (void *)(uintptr_t)&scenarios[i]};
	progress = mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (progress == MAP_FAILED || bench_prepare() != 0)
		return 1;
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
