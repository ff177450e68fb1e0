/*
 * tls_generation.c - configuration generations: build, check, swap, count
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * A generation is built aside, by whichever process, and then becomes the current one. A connection pins the generation
 * that is current when its first byte comes or goes, and everything later, the choice by server name included, uses that
 * one. The last connection to let go frees it.
 */
#include <stdatomic.h>
#include <string.h>

#include "tls_generation.h"
#include "host/compat.h"
#include "heap/heap.h"
#include "tls_mem.h"
#include "settings/report.h"
#include "tls_config.h"
#include "tls_domain_types.h"
#include "crypto/crypto.h"
#include "material/cache.h"
#include "tls_domain.h"
#include "tls_build.h"

/*
 * In shared memory. `lock` guards `current`: a generation that a process is about to pin must not be
 * freed.
 */
struct shared {
	gen_lock_t lock;
	struct tls_generation *current;
};

static struct shared *shared;

/* ---- building a generation */

static struct tls_generation *new_generation(int count, struct tls_generation *previous)
{
	struct tls_generation *g = tls_mem_shared_alloc(sizeof(*g));
	unsigned buckets = 4;

	if (g == NULL)
		return NULL;
	while (buckets < 2u * (unsigned)count)
		buckets *= 2;
	g->bucket_mask = buckets - 1;
	g->cache = tls_cache_new(previous != NULL ? previous->cache : NULL);
	g->domains = tls_mem_shared_alloc((size_t)count * sizeof(*g->domains));
	g->buckets = tls_mem_shared_alloc(buckets * sizeof(*g->buckets));
	g->ids = tls_mem_shared_alloc(buckets * sizeof(*g->ids));
	g->places = tls_mem_shared_alloc(buckets * sizeof(*g->places));
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

/* Whether a domain of D's role before D has CHAIN, too: then its problems are already reported. */
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

	d->generation = g;
	if (tls_domain_describe(section, d) != 0) {
		tls_report_add(job->r, TLS_ERROR, section->file, section->line, NULL,
		               "no shared memory for a domain");
		return;
	}
	if (tls_build_domain(d, section, g->cache, tls_domain_counterpart(previous, d), job->r) == 0)
		tls_domain_index(g, d);
	check_purposes(job, section, d);
	tls_crypto_clear_errors();
}

/* Reports the problems of all sections, as far as memory goes. */
static void build_domains(struct build_job *job, struct tls_generation *previous)
{
	for (const struct tls_section *s = job->cfg->sections; s != NULL; s = s->next) {
		if (tls_cache_memory_short()) {
			tls_report_add(
				job->r, TLS_ERROR, s->file, s->line, NULL,
				"no shared memory for this domain and those after it, %zu KB are left; give Kamailio "
				"more with -m",
				tls_mem_available() / 1024);
			return;
		}
		build_domain(job, s, previous);
	}
}

/* The configuration's own files, and their folder, count as files that it was built from. */
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
	tls_crypto_clear_errors(); /* errors of somebody else must not look like ours */
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
		               "no shared memory for %d domains; give Kamailio more with -m", count);
	}
	tls_heap_choose_group(0);
	tls_generation_unpin(previous);
	return job->g != NULL ? 0 : -1;
}

struct tls_generation *tls_generation_build(const struct tls_config *cfg, struct tls_report *r)
{
	struct build_job job = {.cfg = cfg, .r = r};
	int before = r->errors;

	if (tls_crypto_run_shared(build_in_scope, &job) == 0 && r->errors == before &&
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
		tls_ctx_free(g->domains[i].ctx);
		tls_domain_clear(&g->domains[i]);
	}
	tls_cache_free(g->cache);
	tls_mem_shared_free(g->domains);
	tls_mem_shared_free(g->buckets);
	tls_mem_shared_free(g->ids);
	tls_mem_shared_free(g->places);
	tls_mem_shared_free(g);
}

/* ---- the current generation */

int tls_generation_start(void)
{
	shared = tls_mem_shared_alloc(sizeof(*shared));
	if (shared != NULL && lock_init(&shared->lock) != NULL)
		return 0;
	LM_ERR("no shared memory; give Kamailio more with -m\n");
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
