/*
 * tls_domain.c - domains: which one a connection belongs to, and how many connections each has
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "tls_domain.h"
#include "tls_hash.h"
#include "tls_mem.h"
#include "settings/text.h"
#include "settings/hostname.h"
#include "settings/runtime.h"
#include "tls_config.h"
#include "tls_domain_types.h"
#include "crypto/crypto.h"

/* ---- finding a domain */

/* Of what a section is chosen by. NAME is in lower case. */
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

/* No mode: sections of every mode count. */
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
 * The section with a name that is for exactly this address, of several the last one in the file; NULL: none.
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

/* By address A alone. Without a section that has no name, one with a name serves peers that ask for none, too. */
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

/* Whether the default section itself has the name: then it is not just the last resort. */
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

/* ---- describing a domain */

/*
 * Sets D's server name from what is WRITTEN: for a client a host, perhaps with a port. Nobody will ask for one that is
 * not a name. Returns 0, -1 without memory.
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
	d->server_name = tls_mem_shared_strdup(name);
	if (d->server_name == NULL)
		return -1;
	length = normal_name(name, strlen(name), d->server_name);
	if (length > 0)
		d->server_name[length] = '\0';
	return 0;
}

int tls_domain_describe(const struct tls_section *section, struct tls_domain *d)
{
	const struct tls_settings *s = &section->settings;
	char name[320];

	d->role = section->role;
	d->kind = section->kind;
	d->address = section->address;
	d->server_name_mode = s->server_name_mode > 0 ? (enum tls_name_mode)s->server_name_mode : TLS_NAME_EXACT;
	tls_section_name(section, name, sizeof(name));
	d->name =
		tls_mem_shared_strdup(tls_text_clean(name)); /* a long name is cut, perhaps within a character */
	if (set_name(d, s->server_name) != 0)
		return -1;
	if (s->server_id != NULL && s->server_id[0] != '\0' &&
	    (d->server_id = tls_mem_shared_strdup(s->server_id)) == NULL)
		return -1;
	if (s->groups != NULL && s->groups[0] != '\0' && (d->groups = tls_mem_shared_strdup(s->groups)) == NULL)
		return -1;
	return d->name != NULL ? 0 : -1;
}

void tls_domain_clear(struct tls_domain *d)
{
	tls_mem_shared_free(d->name);
	tls_mem_shared_free(d->server_name);
	tls_mem_shared_free(d->server_id);
	tls_mem_shared_free(d->groups);
}

/* ---- the index */

void tls_domain_index(struct tls_generation *g, struct tls_domain *d)
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

const struct tls_domain *tls_domain_counterpart(struct tls_generation *previous, const struct tls_domain *d)
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

/* ---- choosing by ClientHello */

/*
 * Whether NAME can be a host name at all. Anything else would reach logs, scripts and RPC answers as the client
 * wrote it.
 */
static bool is_plain(const char *name, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (name[i] <= ' ' || name[i] > '~')
			return false;
	return true;
}

static struct tls_domain *refuse(struct tls_refusal *out, enum tls_alert alert, const char *format, ...)
	TLS_FORMAT(3, 4);

static struct tls_domain *refuse(struct tls_refusal *out, enum tls_alert alert, const char *format, ...)
{
	va_list args;

	out->alert = alert;
	va_start(args, format);
	vsnprintf(out->text, sizeof(out->text), format, args);
	va_end(args);
	return NULL;
}

struct tls_domain *tls_domain_choose(const struct tls_domain_use *use, const char *name, size_t length,
                                     struct tls_refusal *out)
{
	struct tls_domain_query q = {.role = TLS_SERVER, .address = use->address};
	struct tls_domain *d;
	bool named;

	if (name == NULL)
		return use->domain;
	if (!is_plain(name, length))
		return refuse(out, TLS_ALERT_ILLEGAL_PARAMETER, "this is not a server name: \"%.*s\"", (int)length,
		              name);
	q.server_name = name;
	q.server_name_length = length;
	d = tls_domain_find(use->domain->generation, &q, &named);
	if (!named && tls_runtime_options()->unknown_server_name != 0)
		return refuse(out, TLS_ALERT_UNRECOGNIZED_NAME, "no domain is called %.*s", (int)length, name);
	return d;
}

/* ---- connections of a domain */

static void count(struct tls_domain *d, int change)
{
	atomic_fetch_add_explicit(&d->connections, change, memory_order_relaxed);
}

void tls_domain_move(struct tls_domain_use *use, struct tls_domain *d)
{
	count(use->domain, -1);
	count(d, 1);
	use->domain = d;
}

struct tls_ssl *tls_domain_open(struct tls_domain_use *use)
{
	struct tls_ssl *ssl = tls_ssl_new(use);

	if (ssl != NULL)
		count(use->domain, 1);
	return ssl;
}

void tls_domain_close(struct tls_domain_use *use, struct tls_ssl *ssl)
{
	if (ssl == NULL)
		return;
	tls_ssl_free(ssl);
	count(use->domain, -1);
	use->domain = NULL;
}
