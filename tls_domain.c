/*
 * tls_domain.c - configuration generations and their domains: build, validate, swap, look up, count
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * A generation is built aside, by whichever process, and then becomes the current one. A connection pins the
 * generation that is current when its first byte comes or goes, and everything later, the choice by server
 * name too, uses that one. The last connection to let go frees it.
 */
#include <ctype.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tls_domain.h"
#include "tls.h"
#include "tls_hash.h"
#include "host/compat.h"
#include "heap/heap.h"
#include "tls_mem.h"
#include "settings/report.h"
#include "settings/table.h"
#include "settings/hostname.h"
#include "tls_config.h"
#include "settings/runtime.h"
#include "tls_domain_types.h"
#include "crypto/openssl/compat.h"
#include "crypto/openssl/types.h"
#include "crypto/openssl/ssl.h"
#include "tls_init.h"
#include "material/cache.h"
#include "crypto/openssl/key.h"
#include "crypto/openssl/session.h"
#include "crypto/openssl/context.h"

struct tls_generation {
	atomic_int pins; /* connections, and one while it is the current one */
	int number;
	unsigned group; /* of the heap, in which its memory is: the other one than its predecessor's */
	struct tls_cache *cache;
	int count;
	struct tls_domain *domains;     /* COUNT of them */
	struct tls_domain *defaults[2]; /* by role */
	struct tls_domain **ids;        /* as many, by profile */
	struct tls_domain **places;     /* as many, by role and address: those with a name */
	struct tls_domain **buckets;    /* by role, address and name, or by profile */
	unsigned bucket_mask;
};

/*
 * In shared memory. `lock` guards `current`: it keeps the one that a process is about to pin from being
 * freed.
 */
struct shared {
	gen_lock_t lock;
	struct tls_generation *current;
};

static struct shared *shared;

/* ---- lookup */

/* Over what a section is chosen by. NAME is in lower case. */
static uint64_t hash_section(enum tls_role role, enum tls_section_kind kind, const struct tls_address *a,
                             const char *name, size_t length)
{
	unsigned char head[2] = {(unsigned char)role, (unsigned char)kind};
	uint64_t h = tls_hash_bytes(TLS_HASH_SEED, head, sizeof(head));

	if (kind == TLS_SECTION_ADDRESS) {
		h = tls_hash_bytes(h, a->ip, a->family == 4 ? 4 : 16);
		h = tls_hash_bytes(h, &a->port, sizeof(a->port));
	}
	return tls_hash_bytes(h, name, length);
}

static bool same_address(const struct tls_address *a, const struct tls_address *b)
{
	return a->family == b->family && a->port == b->port && memcmp(a->ip, b->ip, a->family == 4 ? 4 : 16) == 0;
}

static bool same_name(const struct tls_domain *d, const char *name, size_t length)
{
	if (d->server_name == NULL)
		return length == 0;
	return strlen(d->server_name) == length && memcmp(d->server_name, name, length) == 0;
}

/* No mode of names: every section will do. */
#define NO_MODE (-1)

/*
 * The domain of exactly this section and name whose mode is not UNWANTED; NAME in lower case, LENGTH 0 for
 * the one without a name.
 */
static struct tls_domain *lookup(struct tls_generation *g, enum tls_role role, enum tls_section_kind kind,
                                 const struct tls_address *a, const char *name, size_t length, int unwanted)
{
	struct tls_domain *d = g->buckets[hash_section(role, kind, a, name, length) & g->bucket_mask];

	for (; d != NULL; d = d->next_in_bucket)
		if (d->role == role && d->kind == kind && (int)d->server_name_mode != unwanted &&
		    same_name(d, name, length) && (kind != TLS_SECTION_ADDRESS || same_address(&d->address, a)))
			return d;
	return NULL;
}

/* The domain whose server_name fits NAME best: itself, then the nearest parent that takes subdomains. */
static struct tls_domain *lookup_name(struct tls_generation *g, enum tls_role role,
                                      enum tls_section_kind kind, const struct tls_address *a,
                                      const char *name, size_t length)
{
	struct tls_domain *d = lookup(g, role, kind, a, name, length, TLS_NAME_SUBDOMAINS);
	const char *end = name + length, *dot = name;

	while (d == NULL && (dot = memchr(dot, '.', (size_t)(end - dot))) != NULL && ++dot < end)
		d = lookup(g, role, kind, a, dot, (size_t)(end - dot), TLS_NAME_EXACT);
	return d;
}

static struct tls_domain *lookup_id(struct tls_generation *g, enum tls_role role, const char *id)
{
	struct tls_domain *d = g->ids[tls_hash_bytes(TLS_HASH_SEED, id, strlen(id)) & g->bucket_mask];

	while (d != NULL && (d->role != role || strcmp(d->server_id, id) != 0))
		d = d->next_by_id;
	return d;
}

/*
 * The section with a name that stands for exactly this address, of several the one that is last in the file;
 * NULL: none.
 */
static struct tls_domain *lookup_place(struct tls_generation *g, enum tls_role role,
                                       const struct tls_address *a)
{
	uint64_t h = hash_section(role, TLS_SECTION_ADDRESS, a, "", 0);
	struct tls_domain *d = g->places[h & g->bucket_mask];

	while (d != NULL && (d->role != role || !same_address(&d->address, a)))
		d = d->next_at_place;
	return d;
}

#define CANDIDATES 4

/* Adds A with its port, and then without, to the N addresses in OUT; returns how many there are. */
static int add_candidates(const struct tls_address *a, struct tls_address *out, int n)
{
	if (a->family == 0)
		return n;
	out[n] = out[n + 1] = *a;
	out[n + 1].port = 0;
	return n + 2;
}

static struct tls_domain *find_by_name(struct tls_generation *g, const struct tls_domain_query *q,
                                       const char *name, size_t length)
{
	struct tls_address at[CANDIDATES];
	int n = add_candidates(&q->own, at, add_candidates(&q->address, at, 0));
	struct tls_domain *d = NULL;

	for (int i = 0; i < n && d == NULL; i++)
		d = lookup_name(g, q->role, TLS_SECTION_ADDRESS, &at[i], name, length);
	return d != NULL ? d : lookup_name(g, q->role, TLS_SECTION_ANY, NULL, name, length);
}

/* By address A alone. A section with a name is for who asks for none, too, where there is none without. */
static struct tls_domain *find_place(struct tls_generation *g, const struct tls_domain_query *q,
                                     const struct tls_address *a)
{
	struct tls_address at[CANDIDATES];
	int n = add_candidates(a, at, 0);
	struct tls_domain *d = NULL;

	for (int i = 0; i < n && d == NULL; i++)
		d = lookup(g, q->role, TLS_SECTION_ADDRESS, &at[i], "", 0, NO_MODE);
	for (int i = 0; i < n && d == NULL && q->server_name == NULL; i++)
		d = lookup_place(g, q->role, &at[i]);
	return d;
}

static struct tls_domain *find_nameless(struct tls_generation *g, const struct tls_domain_query *q)
{
	struct tls_domain *d = find_place(g, q, &q->address);

	if (d == NULL)
		d = find_place(g, q, &q->own);
	return d != NULL ? d : lookup(g, q->role, TLS_SECTION_ANY, NULL, "", 0, NO_MODE);
}

/* NAME in lower case and without the final dot; the length, 0 when it cannot be a name. */
static size_t normal_name(const char *name, size_t length, char out[256])
{
	if (length > 0 && name[length - 1] == '.')
		length--;
	if (length == 0 || length > 255)
		return 0;
	for (size_t i = 0; i < length; i++)
		out[i] = (char)tolower((unsigned char)name[i]);
	return length;
}

/* Whether the default section itself has the name: then it serves it by right, not as a last resort. */
static bool is_default_name(const struct tls_domain *d, const char *name, size_t length)
{
	size_t own = d->server_name != NULL ? strlen(d->server_name) : 0;

	if (own == 0 || own > length || memcmp(name + length - own, d->server_name, own) != 0)
		return false;
	if (own == length)
		return d->server_name_mode != TLS_NAME_SUBDOMAINS;
	return name[length - own - 1] == '.' && d->server_name_mode != TLS_NAME_EXACT;
}

/* The name that Q asks for, as sections are found by it; its length, 0 when it cannot be a name. */
static size_t asked_name(const struct tls_domain_query *q, char out[256])
{
	struct tls_hostname host;

	if (q->server_name == NULL)
		return 0;
	if (q->role == TLS_CLIENT && tls_hostname_read(q->server_name, q->server_name_length, &host))
		return normal_name(host.text, strlen(host.text), out);
	return normal_name(q->server_name, q->server_name_length, out);
}

struct tls_domain *tls_domain_find(struct tls_generation *g, const struct tls_domain_query *q, bool *named)
{
	struct tls_domain *d = q->server_id != NULL ? lookup_id(g, q->role, q->server_id) : NULL;
	char name[256];
	size_t length = asked_name(q, name);

	if (d == NULL && length > 0)
		d = find_by_name(g, q, name, length);
	*named = d != NULL || is_default_name(g->defaults[q->role], name, length);
	if (d == NULL)
		d = find_nameless(g, q);
	return d != NULL ? d : g->defaults[q->role];
}

bool tls_domain_has_id(struct tls_generation *g, enum tls_role role, const char *id)
{
	return lookup_id(g, role, id) != NULL;
}

bool tls_domain_is_at(const struct tls_domain *d, const struct tls_address *a)
{
	struct tls_address at = *a;

	if (d->address.port == 0)
		at.port = 0;
	return same_address(&d->address, &at);
}

struct tls_domain *tls_domain_next(struct tls_generation *g, struct tls_domain *d)
{
	if (d == NULL)
		return g->count > 0 ? g->domains : NULL;
	return d + 1 < g->domains + g->count ? d + 1 : NULL;
}

/* ---- OpenSSL's callbacks */

/* The host name in a ClientHello's server_name extension (RFC 6066 section 3), NULL when there is none. */
static const char *hello_name(SSL *ssl, size_t *length)
{
	const unsigned char *p;
	size_t size;

	if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &size) != 1 || size < 5 ||
	    p[2] != TLSEXT_NAMETYPE_host_name)
		return NULL;
	*length = (size_t)p[3] << 8 | p[4];
	return *length <= size - 5 ? (const char *)p + 5 : NULL;
}

/*
 * Whether NAME can be a host name at all. What cannot would go to logs, scripts and RPC answers as the client
 * wrote it.
 */
static bool is_plain(const char *name, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (name[i] <= ' ' || name[i] > '~')
			return false;
	return true;
}

/*
 * For each ClientHello, before the version is chosen: the domain of the server name takes over whole, with
 * its versions and its verification, not only with its certificate.
 */
static int on_client_hello(SSL *ssl, int *alert, void *arg)
{
	struct tls_domain_use *use = SSL_get_app_data(ssl);
	struct tls_domain_query q = {.role = TLS_SERVER, .address = use->address};
	struct tls_domain *d;
	bool named;

	(void)arg;
	q.server_name = hello_name(ssl, &q.server_name_length);
	tls_session_hello(ssl, q.server_name, q.server_name_length);
	if (q.server_name == NULL)
		return SSL_CLIENT_HELLO_SUCCESS;
	if (!is_plain(q.server_name, q.server_name_length)) {
		ERR_raise_data(ERR_LIB_SSL, SSL_R_TLSV1_UNRECOGNIZED_NAME, "the server name is not one: \"%.*s\"",
		               (int)q.server_name_length, q.server_name);
		*alert = SSL_AD_ILLEGAL_PARAMETER;
		return SSL_CLIENT_HELLO_ERROR;
	}
	d = tls_domain_find(use->domain->generation, &q, &named);
	if (!named && tls_runtime_options()->unknown_server_name != 0) {
		ERR_raise_data(ERR_LIB_SSL, SSL_R_TLSV1_UNRECOGNIZED_NAME, "no domain is called %.*s",
		               (int)q.server_name_length, q.server_name);
		*alert = SSL_AD_UNRECOGNIZED_NAME;
		return SSL_CLIENT_HELLO_ERROR;
	}
	if (d == use->domain)
		return SSL_CLIENT_HELLO_SUCCESS;
	if (tls_context_move(ssl, use->domain, d) != 0) {
		*alert = SSL_AD_INTERNAL_ERROR;
		return SSL_CLIENT_HELLO_ERROR;
	}
	__atomic_sub_fetch(&use->domain->connections, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&d->connections, 1, __ATOMIC_RELAXED);
	use->domain = d;
	return SSL_CLIENT_HELLO_SUCCESS;
}

/* The choice is made already; this lets OpenSSL keep and acknowledge the name. */
static int on_server_name(SSL *ssl, int *alert, void *arg)
{
	(void)ssl;
	(void)alert;
	(void)arg;
	return SSL_TLSEXT_ERR_OK;
}

/* ---- building a generation */

/*
 * The name of D, as it is written: a client's is a host, which may have a port. What is no name nobody will ask
 * for. Returns 0, -1 without memory.
 */
static int set_name(struct tls_domain *d, const char *written)
{
	struct tls_hostname host;
	const char *name = written;
	size_t length;

	if (written == NULL || written[0] == '\0')
		return 0;
	if (d->role == TLS_CLIENT && tls_hostname_read(written, strlen(written), &host))
		name = host.text;
	d->server_name = tls_shared_strdup(name);
	if (d->server_name == NULL)
		return -1;
	length = normal_name(name, strlen(name), d->server_name);
	if (length > 0)
		d->server_name[length] = '\0';
	return 0;
}

/* Names, address and role. Returns 0, -1 without memory. */
static int describe(const struct tls_section *section, struct tls_domain *d)
{
	const struct tls_settings *s = &section->settings;
	char name[320];

	d->role = section->role;
	d->kind = section->kind;
	d->address = section->address;
	d->server_name_mode = s->server_name_mode > 0 ? (enum tls_name_mode)s->server_name_mode : TLS_NAME_EXACT;
	tls_section_name(section, name, sizeof(name));
	d->name = tls_shared_strdup(tls_text_clean(name)); /* a long one was cut, maybe within a character */
	if (set_name(d, s->server_name) != 0)
		return -1;
	if (s->server_id != NULL && s->server_id[0] != '\0' &&
	    (d->server_id = tls_shared_strdup(s->server_id)) == NULL)
		return -1;
	if (s->groups != NULL && s->groups[0] != '\0' && (d->groups = tls_shared_strdup(s->groups)) == NULL)
		return -1;
	return d->name != NULL ? 0 : -1;
}

static void set_callbacks(SSL_CTX *ctx, enum tls_role role)
{
	SSL_CTX_set_cert_cb(ctx, tls_ssl_on_certificate_wanted, NULL);
	if (role != TLS_SERVER)
		return;
	SSL_CTX_set_client_hello_cb(ctx, on_client_hello, NULL);
	SSL_CTX_set_tlsext_servername_callback(ctx, on_server_name);
}

static void index_domain(struct tls_generation *g, struct tls_domain *d)
{
	const char *name = d->server_name != NULL ? d->server_name : "";
	struct tls_domain **bucket;

	if (d->kind == TLS_SECTION_DEFAULT)
		g->defaults[d->role] = d;
	bucket = &g->buckets[hash_section(d->role, d->kind, &d->address, name, strlen(name)) & g->bucket_mask];
	d->next_in_bucket = *bucket;
	*bucket = d;
	if (d->server_id != NULL) {
		bucket = &g->ids[tls_hash_bytes(TLS_HASH_SEED, d->server_id, strlen(d->server_id)) & g->bucket_mask];
		d->next_by_id = *bucket;
		*bucket = d;
	}
	if (d->kind == TLS_SECTION_ADDRESS && d->server_name != NULL) {
		bucket = &g->places[hash_section(d->role, d->kind, &d->address, "", 0) & g->bucket_mask];
		d->next_at_place = *bucket;
		*bucket = d;
	}
}

/* The domain of PREVIOUS that D would replace, NULL: none. */
static const struct tls_domain *counterpart(struct tls_generation *previous, const struct tls_domain *d)
{
	const char *name = d->server_name != NULL ? d->server_name : "";
	struct tls_domain *old;

	if (previous == NULL)
		return NULL;
	old = previous->buckets[hash_section(d->role, d->kind, &d->address, name, strlen(name)) &
	                        previous->bucket_mask];
	while (old != NULL && (strcmp(old->name, d->name) != 0 || old->server_name_mode != d->server_name_mode))
		old = old->next_in_bucket;
	return old;
}

static struct tls_generation *new_generation(int count, struct tls_generation *previous)
{
	struct tls_generation *g = tls_shared_alloc(sizeof(*g));
	unsigned buckets = 4;

	if (g == NULL)
		return NULL;
	while (buckets < 2u * (unsigned)count)
		buckets *= 2;
	g->bucket_mask = buckets - 1;
	g->cache = tls_cache_new(previous != NULL ? previous->cache : NULL);
	g->domains = tls_shared_alloc((size_t)count * sizeof(*g->domains));
	g->buckets = tls_shared_alloc(buckets * sizeof(*g->buckets));
	g->ids = tls_shared_alloc(buckets * sizeof(*g->ids));
	g->places = tls_shared_alloc(buckets * sizeof(*g->places));
	if (g->cache != NULL && g->domains != NULL && g->buckets != NULL && g->ids != NULL && g->places != NULL)
		return g;
	tls_generation_discard(g);
	return NULL;
}

struct build_job {
	const struct tls_config *cfg;
	struct tls_report *r;
	struct tls_generation *g;
};

/* Whether a domain of D's role before D has CHAIN, too: what is wrong with it has been said. */
static bool is_known_chain(const struct tls_generation *g, const struct tls_domain *d,
                           const struct tls_chain *chain)
{
	for (const struct tls_domain *other = g->domains; other < d; other++)
		if (other->role == d->role && (other->chains[0] == chain || other->chains[1] == chain))
			return true;
	return false;
}

static void check_purposes(const struct build_job *job, const struct tls_section *section,
                           const struct tls_domain *d)
{
	for (int i = 0; i < 2; i++)
		if (d->chains[i] != NULL && !is_known_chain(job->g, d, d->chains[i]))
			tls_purpose_check(section, i, tls_chain_certificate(d->chains[i]), job->r);
}

static void build_domain(struct build_job *job, const struct tls_section *section,
                         struct tls_generation *previous)
{
	struct tls_generation *g = job->g;
	struct tls_domain *d = &g->domains[g->count++];
	const struct tls_domain *before;

	d->generation = g;
	if (describe(section, d) != 0) {
		tls_report_add(job->r, TLS_ERROR, section->file, section->line, NULL,
		               "no shared memory for a domain");
		return;
	}
	before = counterpart(previous, d);
	if (tls_context_make(d, section, g->cache, before, job->r) == 0) {
		if (before == NULL || before->ctx != d->ctx)
			set_callbacks(ctx_of(d->ctx), d->role);
		index_domain(g, d);
	}
	check_purposes(job, section, d);
	ERR_clear_error();
}

/* What is wrong with the sections is found as far as memory goes. */
static void build_domains(struct build_job *job, struct tls_generation *previous)
{
	for (const struct tls_section *s = job->cfg->sections; s != NULL; s = s->next) {
		if (tls_cache_memory_short()) {
			tls_report_add(
				job->r, TLS_ERROR, s->file, s->line, NULL,
				"no shared memory for this domain and those after it, %zu KB are left; give the host "
				"more with -m",
				tls_mem_available() / 1024);
			return;
		}
		build_domain(job, s, previous);
	}
}

/*
 * The configuration's own files count as files that it was built from, and so does the folder that they are
 * in.
 */
static void watch_config(const struct build_job *job)
{
	const struct tls_config *cfg = job->cfg;

	if (cfg->file != NULL)
		tls_cache_watch(job->g->cache, cfg->file, cfg->read_at, job->r);
	for (const struct tls_config_file *f = cfg->files; f != NULL; f = f->next)
		if (cfg->file == NULL || strcmp(f->name, cfg->file) != 0)
			tls_cache_watch(job->g->cache, f->name, cfg->read_at, job->r);
}

static int build_in_scope(void *arg)
{
	struct build_job *job = arg;
	struct tls_generation *previous = tls_generation_pin();
	unsigned chosen = previous != NULL && previous->group == 1 ? 2 : 1;
	int count = 0;

	for (const struct tls_section *s = job->cfg->sections; s != NULL; s = s->next)
		count++;
	ERR_clear_error(); /* what somebody left there must not look like ours */
	tls_heap_choose_group(chosen);
	job->g = new_generation(count, previous);
	if (job->g != NULL) {
		job->g->group = chosen;
		job->g->number = previous != NULL ? previous->number + 1 : 1;
		watch_config(job);
		build_domains(job, previous);
		tls_chains_check(job->g->domains, job->g->count, job->cfg, job->r);
		tls_cache_seal(job->g->cache);
	} else {
		tls_report_add(job->r, TLS_ERROR, job->cfg->file, 0, NULL,
		               "no shared memory for %d domains; give the host more with -m", count);
	}
	tls_heap_choose_group(0);
	tls_generation_unpin(previous);
	return job->g != NULL ? 0 : -1;
}

struct tls_generation *tls_generation_build(const struct tls_config *cfg, struct tls_report *r)
{
	struct build_job job = {.cfg = cfg, .r = r};
	int before = r->errors;

	if (tls_init_run_shared(build_in_scope, &job) == 0 && r->errors == before &&
	    job.g->defaults[TLS_SERVER] != NULL && job.g->defaults[TLS_CLIENT] != NULL)
		return job.g;
	if (r->errors == before)
		tls_report_add(r, TLS_ERROR, cfg->file, 0, NULL,
		               "the configuration could not be built; is shared memory short?");
	if (job.g != NULL)
		tls_generation_discard(job.g);
	return NULL;
}

void tls_generation_discard(struct tls_generation *g)
{
	for (int i = 0; i < g->count; i++) {
		struct tls_domain *d = &g->domains[i];

		SSL_CTX_free(ctx_of(d->ctx));
		tls_shared_free(d->name);
		tls_shared_free(d->server_name);
		tls_shared_free(d->server_id);
		tls_shared_free(d->groups);
	}
	tls_cache_free(g->cache);
	tls_shared_free(g->domains);
	tls_shared_free(g->buckets);
	tls_shared_free(g->ids);
	tls_shared_free(g->places);
	tls_shared_free(g);
}

/* ---- the current generation */

int tls_domain_start(const struct tls_options *o)
{
	tls_context_start(o);
	shared = tls_shared_alloc(sizeof(*shared));
	if (shared != NULL && lock_init(&shared->lock) != NULL)
		return 0;
	LM_ERR("no shared memory; give the host more with -m\n");
	return -1;
}

void tls_generation_install(struct tls_generation *g)
{
	struct tls_generation *before;

	if (g != NULL)
		atomic_store(&g->pins, 1);
	lock_get(&shared->lock);
	before = shared->current;
	shared->current = g;
	lock_release(&shared->lock);
	tls_generation_unpin(before);
}

struct tls_generation *tls_generation_pin(void)
{
	struct tls_generation *g;

	lock_get(&shared->lock);
	g = shared->current;
	if (g != NULL)
		atomic_fetch_add(&g->pins, 1);
	lock_release(&shared->lock);
	return g;
}

void tls_generation_unpin(struct tls_generation *g)
{
	if (g != NULL && atomic_fetch_sub(&g->pins, 1) == 1)
		tls_generation_discard(g);
}

void tls_generation_look(const struct tls_generation *g, struct tls_look *look)
{
	tls_cache_look(g->cache, look);
}

int tls_generation_number(const struct tls_generation *g)
{
	return g->number;
}

/* ---- connections of a domain */

struct tls_ssl *tls_domain_open(struct tls_domain_use *use)
{
	struct tls_ssl *ssl = tls_ssl_new(use);

	if (ssl != NULL)
		__atomic_add_fetch(&use->domain->connections, 1, __ATOMIC_RELAXED);
	return ssl;
}

void tls_domain_close(struct tls_domain_use *use, struct tls_ssl *ssl)
{
	if (ssl == NULL)
		return;
	tls_ssl_free(ssl);
	__atomic_sub_fetch(&use->domain->connections, 1, __ATOMIC_RELAXED);
	use->domain = NULL;
}
