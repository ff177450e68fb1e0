/*
 * heap: the shared allocator against libc's malloc, on what OpenSSL asks for in handshakes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * A child records the server's side of real handshakes in memory: every block that OpenSSL takes, resizes and
 * gives back between SSL_new() and SSL_free(). The record is then played to both allocators, with nothing
 * else in the loop: in one process, in eight at once, and handed from one process to the next between
 * handshake and end of the connection. Times are CPU time for one block taken and given back, least of
 * several rounds, so other work on the machine counts little. The last part holds many connections idle and
 * tells what they keep.
 *
 *   heap [rounds]
 */
#include <malloc.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "../heap/heap.c"
#include "../heap/audit.c"
#include "../heap/lock.c"
#include "../host/child.c"
#include "../heap/pages.c"
#include "../heap/spans.c"

#define ARENA     ((size_t)1 << 30)
#define UNIT      ((size_t)256 << 10)
#define UNITS     (ARENA / UNIT)
#define MAX_STEPS 20000
#define MAX_IDS   10000
#define PLAYS     400 /* connections in one round */
#define PROCESSES 8
#define IDLE      5000

/* ---- the source: runs of units of an arena */

static unsigned char *arena;

struct units {
	atomic_flag lock;
	uint16_t used[UNITS]; /* at the first unit of a taken run its length, at the others 1 */
};

static struct units *units;

static size_t find_units(size_t wanted)
{
	size_t run = 0;

	for (size_t i = 0; i < UNITS; i++) {
		run = units->used[i] == 0 ? run + 1 : 0;
		if (run == wanted)
			return i + 1 - run;
	}
	return UNITS;
}

static void *arena_take(size_t size)
{
	size_t wanted = (size + UNIT - 1) / UNIT, at;

	while (atomic_flag_test_and_set(&units->lock))
		sched_yield();
	at = find_units(wanted);
	for (size_t i = 0; at < UNITS && i < wanted; i++)
		units->used[at + i] = i == 0 ? (uint16_t)wanted : 1;
	atomic_flag_clear(&units->lock);
	return at < UNITS ? arena + at * UNIT : NULL;
}

static void arena_give(void *p)
{
	size_t at = (size_t)((unsigned char *)p - arena) / UNIT;

	while (atomic_flag_test_and_set(&units->lock))
		sched_yield();
	for (size_t n = units->used[at]; n > 0; n--)
		units->used[at + n - 1] = 0;
	atomic_flag_clear(&units->lock);
}

static bool arena_contains(const void *p)
{
	return (const unsigned char *)p >= arena && (const unsigned char *)p < arena + ARENA;
}

static size_t arena_available(void)
{
	return ARENA;
}

static void arena_complain(const char *text)
{
	fputs(text, stderr);
}

static const struct tls_mem_source arena_source = {arena_take, arena_give, arena_contains, arena_available,
                                                   arena_complain};

/* ---- the record of one connection */

struct step {
	uint32_t id;   /* of the block */
	uint32_t size; /* 0: it is given back */
};

struct record {
	uint32_t steps, ids,
		idle; /* idle: the steps up to where the handshake is done and a request was answered */
	uint32_t pairs;
	struct step step[MAX_STEPS];
};

static struct record *record;
static bool recording;

/* Before each block: its number in the record + 1, 0: not in it. */
struct tag {
	size_t id, size;
};

static void note(size_t id, size_t size)
{
	if (record->steps < MAX_STEPS)
		record->step[record->steps++] = (struct step){(uint32_t)id, (uint32_t)size};
}

static void *noted_malloc(size_t size, const char *file, int line)
{
	struct tag *t = size > 0 ? malloc(sizeof(*t) + size) : NULL;

	(void)file;
	(void)line;
	if (t == NULL)
		return NULL;
	t->id = recording && record->ids < MAX_IDS ? ++record->ids : 0;
	t->size = size;
	if (t->id != 0)
		note(t->id - 1, size);
	return t + 1;
}

static void noted_free(void *p, const char *file, int line)
{
	struct tag *t = p != NULL ? (struct tag *)p - 1 : NULL;

	(void)file;
	(void)line;
	if (t != NULL && t->id != 0)
		note(t->id - 1, 0);
	free(t);
}

static void *noted_realloc(void *p, size_t size, const char *file, int line)
{
	void *fresh = noted_malloc(size, file, line);

	if (fresh != NULL && p != NULL) {
		size_t old = ((struct tag *)p - 1)->size;

		memcpy(fresh, p, old < size ? old : size);
	}
	if (fresh != NULL || size == 0)
		noted_free(p, file, line);
	return fresh;
}

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "heap: %s\n", what);
	exit(2);
}

static X509 *certificate_for(EVP_PKEY *key)
{
	X509 *x = X509_new();
	X509_NAME *name = x != NULL ? X509_get_subject_name(x) : NULL;

	if (name == NULL || ASN1_INTEGER_set(X509_get_serialNumber(x), 1) != 1 ||
	    X509_gmtime_adj(X509_getm_notBefore(x), 0) == NULL ||
	    X509_gmtime_adj(X509_getm_notAfter(x), 3600) == NULL || X509_set_pubkey(x, key) != 1 ||
	    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"bench", -1, -1, 0) !=
	        1 ||
	    X509_set_issuer_name(x, name) != 1 || X509_sign(x, key, EVP_sha256()) == 0)
		fail("no certificate");
	return x;
}

static SSL_CTX *server_context(bool rsa)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_method());
	EVP_PKEY *key = rsa ? EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048)
	                    : EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	X509 *x = key != NULL ? certificate_for(key) : NULL;

	if (ctx == NULL || x == NULL || SSL_CTX_use_certificate(ctx, x) != 1 ||
	    SSL_CTX_use_PrivateKey(ctx, key) != 1)
		fail("no context");
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	X509_free(x);
	EVP_PKEY_free(key);
	return ctx;
}

static int serve(int (*act)(SSL *), SSL *server)
{
	int result;

	recording = true;
	result = act(server);
	recording = false;
	return result;
}

static int answer(SSL *server)
{
	char text[400];

	return SSL_read(server, text, sizeof(text)) == (int)sizeof(text) ? SSL_write(server, text, sizeof(text))
	                                                                 : -1;
}

/* One connection; the record starts anew, so that the last one stays. */
static void connection(SSL_CTX *ctx, SSL_CTX *client_ctx, int version)
{
	SSL *client = SSL_new(client_ctx), *server;
	BIO *near, *far;
	char text[400] = "request";
	int s = 0, c = 0;

	record->steps = record->ids = 0;
	recording = true;
	server = SSL_new(ctx);
	recording = false;
	if (client == NULL || server == NULL || BIO_new_bio_pair(&near, 0, &far, 0) != 1 ||
	    SSL_set_max_proto_version(client, version) != 1)
		fail("no connection");
	SSL_set_bio(server, near, near);
	SSL_set_bio(client, far, far);
	SSL_set_accept_state(server);
	SSL_set_connect_state(client);
	for (int turn = 0; turn < 20 && (s != 1 || c != 1); turn++) {
		c = SSL_do_handshake(client);
		s = serve(SSL_do_handshake, server);
	}
	if (s != 1 || c != 1 || SSL_write(client, text, sizeof(text)) != (int)sizeof(text) ||
	    serve(answer, server) <= 0)
		fail("no handshake");
	record->idle = record->steps;
	recording = true;
	SSL_free(server);
	recording = false;
	SSL_free(client);
}

/*
 * What is not freed at the end belongs to caches of OpenSSL's: freed in the record, so that it can be played
 * again.
 */
static void finish_record(void)
{
	static bool live[MAX_IDS];
	uint32_t steps = record->steps;

	if (steps == MAX_STEPS || record->ids == MAX_IDS)
		fail("the record is full");
	memset(live, 0, sizeof(live));
	for (uint32_t i = 0; i < steps; i++)
		live[record->step[i].id] = record->step[i].size > 0;
	for (uint32_t id = 0; id < record->ids; id++)
		if (live[id])
			note(id, 0);
	record->pairs = record->steps / 2;
}

static void record_connection(int version, bool rsa)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		SSL_CTX *ctx, *client_ctx;

		if (CRYPTO_set_mem_functions(noted_malloc, noted_realloc, noted_free) != 1)
			fail("OpenSSL takes no allocator");
		ctx = server_context(rsa);
		client_ctx = SSL_CTX_new(TLS_method());
		for (int i = 0; i < 20; i++)
			connection(ctx, client_ctx, version);
		finish_record();
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		fail("no record");
}

/* ---- playing it */

struct allocator {
	const char *name;
	void *(*take)(size_t size);
	void (*give)(void *p);
	void (*hold)(void);
	void (*let_go)(void);
};

static void nothing(void) {}

/* As the heap, which leaves no secrets in what is free. */
static void wipe_and_free(void *p)
{
	explicit_bzero(p, malloc_usable_size(p));
	free(p);
}

static const struct allocator libc = {"libc", malloc, free, nothing, nothing};
static const struct allocator wiped = {"libc, wiped", malloc, wipe_and_free, nothing, nothing};
static const struct allocator ours = {"heap", tls_heap_alloc, tls_heap_free, tls_heap_hold, tls_heap_let_go};

static void play(const struct allocator *a, void **blocks, uint32_t from, uint32_t to)
{
	a->hold();
	for (uint32_t i = from; i < to; i++) {
		const struct step *s = &record->step[i];

		if (s->size > 0) {
			blocks[s->id] = a->take(s->size);
			*(volatile char *)blocks[s->id] = 1;
		} else {
			a->give(blocks[s->id]);
		}
	}
	a->let_go();
}

static double cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/*
 * CPU nanoseconds for a pair, when LIVE connections take turns and each is played up to its idle point before
 * the next.
 */
static double time_round(const struct allocator *a, unsigned live)
{
	static void *blocks[64][MAX_IDS];
	double began;

	for (unsigned i = 0; i < live; i++)
		play(a, blocks[i], 0, record->idle);
	began = cpu_ns();
	for (unsigned i = 0; i < PLAYS; i++) {
		play(a, blocks[i % live], record->idle, record->steps);
		play(a, blocks[i % live], 0, record->idle);
	}
	began = (cpu_ns() - began) / ((double)PLAYS * record->pairs);
	for (unsigned i = 0; i < live; i++)
		play(a, blocks[i], record->idle, record->steps);
	return began;
}

static double best_of(const struct allocator *a, unsigned live, int rounds)
{
	double best = 1e9;

	for (int i = 0; i < rounds; i++) {
		double ns = time_round(a, live);

		best = ns < best ? ns : best;
	}
	return best;
}

/* The mean over PROCESSES that run at once; each writes its best. */
static double best_of_many(const struct allocator *a, unsigned live, int rounds, double *shared)
{
	double sum = 0;

	for (int n = 0; n < PROCESSES; n++)
		if (fork() == 0) {
			shared[n] = best_of(a, live, rounds);
			_exit(0);
		}
	for (int n = 0; n < PROCESSES; n++)
		wait(NULL);
	for (int n = 0; n < PROCESSES; n++)
		sum += shared[n];
	return sum / PROCESSES;
}

/* ---- connections that one process brings up and another ends */

#define TOKENS 2 /* connections on their way at once: as many processes are at work */

struct relay {
	void *blocks[TOKENS][MAX_IDS];
};

/* Whoever has the token ends the connection that comes with it and brings up another for the next process. */
static void relay_turns(struct relay *r, int in, int out, double *ns)
{
	double began = cpu_ns();
	char token;

	for (int i = 0; i < PLAYS * TOKENS; i++) {
		if (read(in, &token, 1) != 1)
			_exit(1);
		play(&ours, r->blocks[(int)token], record->idle, record->steps);
		play(&ours, r->blocks[(int)token], 0, record->idle);
		if (write(out, &token, 1) != 1)
			_exit(1);
	}
	*ns = (cpu_ns() - began) / ((double)PLAYS * TOKENS * record->pairs);
}

static double relayed(struct relay *r, double *shared)
{
	int pipes[PROCESSES][2];
	double sum = 0;

	for (int n = 0; n < PROCESSES; n++)
		if (pipe(pipes[n]) != 0)
			fail("no pipe");
	for (int n = 0; n < PROCESSES; n++)
		if (fork() == 0) {
			relay_turns(r, pipes[n][0], pipes[(n + 1) % PROCESSES][1], &shared[n]);
			_exit(0);
		}
	for (char token = 0; token < TOKENS; token++) {
		play(&ours, r->blocks[(int)token], 0, record->idle);
		if (write(pipes[token * PROCESSES / TOKENS][1], &token, 1) != 1)
			fail("no token");
	}
	for (int n = 0; n < PROCESSES; n++)
		wait(NULL);
	for (int token = 0; token < TOKENS; token++)
		play(&ours, r->blocks[token], record->idle, record->steps);
	for (int n = 0; n < PROCESSES; n++) {
		close(pipes[n][0]);
		close(pipes[n][1]);
		sum += shared[n];
	}
	return sum / PROCESSES;
}

/* ---- what idle connections keep */

static size_t asked_for(void)
{
	static uint32_t live[MAX_IDS];
	size_t sum = 0;

	memset(live, 0, sizeof(live));
	for (uint32_t i = 0; i < record->idle; i++)
		live[record->step[i].id] = record->step[i].size;
	for (uint32_t id = 0; id < record->ids; id++)
		sum += live[id];
	return sum;
}

static void idle_connections(void)
{
	void **blocks = calloc((size_t)IDLE * record->ids, sizeof(void *));
	struct tls_mem_stats before, peak, after;

	if (blocks == NULL)
		fail("no memory");
	tls_heap_trim();
	tls_heap_get_stats(&before);
	for (size_t i = 0; i < IDLE; i++)
		play(&ours, blocks + i * record->ids, 0, record->idle);
	tls_heap_trim();
	tls_heap_get_stats(&peak);
	for (size_t i = 0; i < IDLE; i++)
		play(&ours, blocks + i * record->ids, record->idle, record->steps);
	tls_heap_trim();
	tls_heap_get_stats(&after);
	free(blocks);
	printf("  %d idle: asked for %zu bytes each, rounded to %ld, taken from the host %ld (x %.3f); "
	       "%ld KB held before, %ld after\n",
	       IDLE, asked_for(), (peak.bytes - before.bytes) / IDLE, (peak.held - before.held) / IDLE,
	       (double)(peak.held - before.held) / (double)(asked_for() * IDLE), before.held / 1024,
	       after.held / 1024);
}

static void measure(const char *name, int rounds, double *shared, struct relay *relay)
{
	static const struct allocator *const all[] = {&libc, &wiped, &ours};

	printf("%s: %u blocks, %u of them until the end\n", name, record->pairs, record->steps - record->idle);
	printf("  %-22s%22s%22s\n", "connections at a time", "one process", "8 processes at once");
	for (unsigned live = 1; live <= 64; live *= 8)
		for (int i = 0; i < 3; i++)
			printf("  %2u %-19s%19.1f ns%19.1f ns\n", live, all[i]->name, best_of(all[i], live, rounds),
			       best_of_many(all[i], live, rounds, shared));
	printf("  %-22s%19.1f ns, with the pipe that hands it over\n", "ended by another",
	       relayed(relay, shared));
	idle_connections();
}

static void *shared_room(size_t size)
{
	/* cppcheck-suppress invalidFunctionArg */
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		fail("no shared memory");
	return p;
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 20;
	double *shared = shared_room(PROCESSES * sizeof(double));
	struct relay *relay = shared_room(sizeof(*relay));

	arena = shared_room(ARENA);
	units = shared_room(sizeof(*units));
	record = shared_room(sizeof(*record));
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (tls_heap_start(&arena_source) != 0)
		fail("the heap does not start");
	record_connection(TLS1_3_VERSION, false);
	measure("TLS 1.3, ECDSA", rounds, shared, relay);
	record_connection(TLS1_2_VERSION, true);
	measure("TLS 1.2, RSA", rounds, shared, relay);
	return 0;
}
