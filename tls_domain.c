/*
 * tls_domain.c - configuration generations and their domains: build, validate, swap, look up, count
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * A generation is built aside, by whichever process, and then becomes the current one. A connection pins the generation that is
 * current when its first byte comes or goes, and everything later, the choice by server name too, uses that one. The last
 * connection to let go frees it.
 */
#include <ctype.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tls_compat.h"

#include "tls.h"

struct tls_generation {
	atomic_int pins; /* connections, and one while it is the current one */
	int number;
	struct tls_store *store;
	int count;
	struct tls_domain *domains;     /* COUNT of them */
	struct tls_domain *defaults[2]; /* by role */
	struct tls_domain **buckets;    /* by role, address and name, or by profile */
	unsigned bucket_mask;
};

/* In shared memory. `lock` guards `current`: it keeps the one that a process is about to pin from being freed. */
struct shared {
	gen_lock_t lock;
	struct tls_generation *current;
	int last_number;
};

static struct shared *shared;
static const struct tls_options *options;

/* ---- lookup */

static uint32_t hash_bytes(uint32_t h, const void *data, size_t size)
{
	const unsigned char *p = data;

	while (size-- > 0)
		h = (h ^ *p++) * 16777619u;
	return h;
}

/* FNV-1a over what a section is chosen by. NAME is in lower case. */
static uint32_t hash_section(enum tls_role role, enum tls_section_kind kind, const struct tls_address *a,
                             const char *name, size_t length)
{
	unsigned char head[2] = {(unsigned char)role, (unsigned char)kind};
	uint32_t h = hash_bytes(2166136261u, head, sizeof(head));

	if (kind == TLS_SECTION_ADDRESS) {
		h = hash_bytes(h, a->ip, a->family == 4 ? 4 : 16);
		h = hash_bytes(h, &a->port, sizeof(a->port));
	}
	return hash_bytes(h, name, length);
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

/* The domain of exactly this section and name; NAME in lower case, LENGTH 0 for the one without a name. */
static struct tls_domain *lookup(struct tls_generation *g, enum tls_role role, enum tls_section_kind kind,
                                 const struct tls_address *a, const char *name, size_t length)
{
	struct tls_domain *d = g->buckets[hash_section(role, kind, a, name, length) & g->bucket_mask];

	for (; d != NULL; d = d->next_in_bucket)
		if (d->role == role && d->kind == kind && same_name(d, name, length) &&
		    (kind != TLS_SECTION_ADDRESS || same_address(&d->address, a)))
			return d;
	return NULL;
}

/* The domain whose server_name fits NAME best: itself, then the nearest parent that takes subdomains. */
static struct tls_domain *lookup_name(struct tls_generation *g, enum tls_role role,
                                      enum tls_section_kind kind, const struct tls_address *a,
                                      const char *name, size_t length)
{
	struct tls_domain *d = lookup(g, role, kind, a, name, length);
	const char *end = name + length, *dot = name;

	if (d != NULL && d->server_name_mode != TLS_NAME_SUBDOMAINS)
		return d;
	while ((dot = memchr(dot, '.', (size_t)(end - dot))) != NULL && ++dot < end) {
		d = lookup(g, role, kind, a, dot, (size_t)(end - dot));
		if (d != NULL && d->server_name_mode != TLS_NAME_EXACT)
			return d;
	}
	return NULL;
}

static struct tls_domain *lookup_id(struct tls_generation *g, enum tls_role role, const char *id)
{
	for (int i = 0; i < g->count; i++) {
		struct tls_domain *d = &g->domains[i];

		if (d->role == role && d->server_id != NULL && strcmp(d->server_id, id) == 0)
			return d;
	}
	return NULL;
}

/* Where a section may stand, from the most particular: this address and port, this address, any. */
static int candidates(const struct tls_domain_query *q, struct tls_address out[2])
{
	if (q->address.family == 0)
		return 0;
	out[0] = q->address;
	out[1] = q->address;
	out[1].port = 0;
	return 2;
}

static struct tls_domain *find_by_name(struct tls_generation *g, const struct tls_domain_query *q,
                                       const char *name, size_t length)
{
	struct tls_address at[2];
	int n = candidates(q, at);
	struct tls_domain *d = NULL;

	for (int i = 0; i < n && d == NULL; i++)
		d = lookup_name(g, q->role, TLS_SECTION_ADDRESS, &at[i], name, length);
	return d != NULL ? d : lookup_name(g, q->role, TLS_SECTION_ANY, NULL, name, length);
}

static struct tls_domain *find_nameless(struct tls_generation *g, const struct tls_domain_query *q)
{
	struct tls_address at[2];
	int n = candidates(q, at);
	struct tls_domain *d = NULL;

	for (int i = 0; i < n && d == NULL; i++)
		d = lookup(g, q->role, TLS_SECTION_ADDRESS, &at[i], "", 0);
	return d != NULL ? d : lookup(g, q->role, TLS_SECTION_ANY, NULL, "", 0);
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

struct tls_domain *tls_domain_find(struct tls_generation *g, const struct tls_domain_query *q, bool *named)
{
	struct tls_domain *d = q->server_id != NULL ? lookup_id(g, q->role, q->server_id) : NULL;
	char name[256];
	size_t length = q->server_name != NULL ? normal_name(q->server_name, q->server_name_length, name) : 0;

	if (d == NULL && length > 0)
		d = find_by_name(g, q, name, length);
	*named = d != NULL;
	if (d == NULL)
		d = find_nameless(g, q);
	return d != NULL ? d : g->defaults[q->role];
}

struct tls_domain *tls_domain_next(struct tls_generation *g, struct tls_domain *d)
{
	if (d == NULL)
		return g->count > 0 ? g->domains : NULL;
	return d + 1 < g->domains + g->count ? d + 1 : NULL;
}

/* ---- OpenSSL's callbacks */

static int accept_any_certificate(int ok, X509_STORE_CTX *store)
{
	(void)ok;
	(void)store;
	return 1;
}

/* Puts everything of DOMAIN into SSL, which began with another one's context. */
static int move_to(SSL *ssl, struct tls_domain *d)
{
	if (SSL_set_SSL_CTX(ssl, d->ctx) == NULL || SSL_set_min_proto_version(ssl, d->oldest) != 1 ||
	    SSL_set_max_proto_version(ssl, d->newest) != 1 ||
	    SSL_set_session_id_context(ssl, d->session_context, sizeof(d->session_context)) != 1)
		return -1;
	SSL_set_verify(ssl, d->verify_mode, d->accept_any ? accept_any_certificate : NULL);
	SSL_set_verify_depth(ssl, d->verify_depth);
	return 0;
}

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
 * For each ClientHello, before the version is chosen: the domain of the server name takes over whole, with its
 * versions and its verification, not only with its certificate.
 */
static int on_client_hello(SSL *ssl, int *alert, void *arg)
{
	struct tls_domain_use *use = SSL_get_app_data(ssl);
	struct tls_domain_query q = {.role = TLS_SERVER, .address = use->local};
	struct tls_domain *d;
	bool named;

	(void)arg;
	q.server_name = hello_name(ssl, &q.server_name_length);
	if (q.server_name == NULL)
		return SSL_CLIENT_HELLO_SUCCESS;
	d = tls_domain_find(use->domain->generation, &q, &named);
	if (!named && options->unknown_server_name) {
		*alert = SSL_AD_UNRECOGNIZED_NAME;
		return SSL_CLIENT_HELLO_ERROR;
	}
	if (d == use->domain)
		return SSL_CLIENT_HELLO_SUCCESS;
	if (move_to(ssl, d) != 0) {
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

int tls_domain_own_keys(SSL *ssl)
{
	struct tls_domain_use *use = SSL_get_app_data(ssl);

	for (int i = 0; i < 2; i++)
		if (use->domain->keys[i] != NULL && tls_key_adopt(ssl, use->domain->keys[i]) != 0)
			return -1;
	return 0;
}

/* In the process, and at the moment, in which a signature is made. */
static int on_certificate_wanted(SSL *ssl, void *arg)
{
	(void)arg;
	return tls_domain_own_keys(ssl) == 0 ? 1 : 0;
}

/* ---- building a domain */

/* What one domain is built from, for messages and for what it shares with others. */
struct builder {
	struct tls_generation *g;
	const struct tls_config *cfg;
	const struct tls_section *section;
	struct tls_report *r;
};

static struct tls_origin origin(const struct builder *b, const char *setting)
{
	struct tls_origin from = {.file = b->cfg->file, .line = b->section->line, .setting = setting};
	const struct tls_setting *row = tls_setting_find(setting, TLS_OF_DOMAIN);
	int line = row != NULL && b->section->set_lines != NULL ? b->section->set_lines[row - tls_settings_table]
	                                                        : 0;

	if (line > 0)
		from.line = line;
	return from;
}

/* Reports that OpenSSL refuses SETTING. */
static void refused(const struct builder *b, const char *setting, const char *value, const char *advice)
{
	struct tls_origin from = origin(b, setting);
	char reason[256];

	tls_report_add(b->r, TLS_ERROR, from.file, from.line, setting, "\"%s\": OpenSSL refuses it (%s)%s", value,
	               tls_init_errors(reason, sizeof(reason)), advice);
}

static void set_versions(struct tls_domain *d, int method)
{
	static const struct {
		int oldest, newest;
	} range[] = {
		[TLS_METHOD_ANY] = {TLS_COMPAT_OLDEST, 0},   [TLS_METHOD_1_0] = {TLS1_VERSION, TLS1_VERSION},
		[TLS_METHOD_1_0_PLUS] = {TLS1_VERSION, 0},   [TLS_METHOD_1_1] = {TLS1_1_VERSION, TLS1_1_VERSION},
		[TLS_METHOD_1_1_PLUS] = {TLS1_1_VERSION, 0}, [TLS_METHOD_1_2] = {TLS1_2_VERSION, TLS1_2_VERSION},
		[TLS_METHOD_1_2_PLUS] = {TLS1_2_VERSION, 0}, [TLS_METHOD_1_3] = {TLS1_3_VERSION, TLS1_3_VERSION},
		[TLS_METHOD_1_3_PLUS] = {TLS1_3_VERSION, 0},
	};

	d->oldest = range[method].oldest;
	d->newest = range[method].newest;
}

static int use_versions(const struct builder *b, struct tls_domain *d)
{
	const struct tls_settings *s = &b->section->settings;
	struct tls_origin from = origin(b, "method");

	if (s->method < 0 || s->method >= TLS_METHOD_SSL2)
		return -1; /* reported by the parser */
	set_versions(d, s->method);
	if (SSL_CTX_set_min_proto_version(d->ctx, d->oldest) != 1 ||
	    SSL_CTX_set_max_proto_version(d->ctx, d->newest) != 1) {
		refused(b, "method", "the protocol version", "; use TLSv1.2+");
		return -1;
	}
	if (s->method != TLS_METHOD_ANY && d->oldest < TLS1_2_VERSION && SSL_CTX_get_security_level(d->ctx) > 0)
		tls_report_add(b->r, TLS_WARNING, from.file, from.line, from.setting,
		               "TLS 1.0 and 1.1 (retired by RFC 8996) work only at OpenSSL's security level 0: add "
		               "\"@SECLEVEL=0\" to cipher_list, or use TLSv1.2+");
	return 0;
}

/* Splits LIST at its colons into TLS 1.3 suites and all else; both as long as LIST at the most. */
static void split_ciphers(const char *list, char *older, char *suites)
{
	const char *p = list;

	*older = *suites = '\0';
	while (*p != '\0') {
		size_t n = strcspn(p, ": ,");
		char *to = strncmp(p, "TLS_", 4) == 0 ? suites : older;

		if (n > 0)
			sprintf(to + strlen(to), "%s%.*s", *to != '\0' ? ":" : "", (int)n, p);
		p += n + strspn(p + n, ": ,");
	}
}

/* Names of TLS <= 1.2 go to the cipher list, those of TLS 1.3 to the suites; the one without names keeps its default. */
static int use_ciphers(const struct builder *b, struct tls_domain *d)
{
	const char *list = b->section->settings.cipher_list;
	size_t size = list != NULL ? strlen(list) + 1 : 0;
	char *older, *suites;
	int result = 0;

	if (list == NULL || list[0] == '\0')
		return 0;
	older = malloc(2 * size);
	if (older == NULL)
		return -1;
	suites = older + size;
	split_ciphers(list, older, suites);
	if ((older[0] != '\0' && SSL_CTX_set_cipher_list(d->ctx, older) != 1) ||
	    (suites[0] != '\0' && SSL_CTX_set_ciphersuites(d->ctx, suites) != 1)) {
		refused(b, "cipher_list", list, "; \"openssl ciphers -v\" lists what there is");
		result = -1;
	}
	free(older);
	return result;
}

/* The pair NUMBER, 0 or 1. */
static int use_pair(const struct builder *b, struct tls_domain *d, int number)
{
	const struct tls_settings *s = &b->section->settings;
	const char *certificate = number == 0 ? s->certificate : s->certificate2;
	const char *key = number == 0 ? s->private_key : s->private_key2;
	const char *password = number == 0 ? s->private_key_password : s->private_key_password2;
	struct tls_origin from = origin(b, number == 0 ? "certificate" : "certificate2");
	struct tls_origin key_from = origin(b, number == 0 ? "private_key" : "private_key2");

	if (certificate == NULL || certificate[0] == '\0')
		return 0;
	d->chains[number] = tls_store_chain(b->g->store, certificate, &from, b->r);
	d->keys[number] = tls_store_key(b->g->store, key != NULL ? key : certificate, password,
	                                key != NULL ? &key_from : &from, b->r);
	if (d->chains[number] == NULL || d->keys[number] == NULL)
		return -1;
	return tls_store_use_pair(d->ctx, d->chains[number], d->keys[number], key != NULL ? &key_from : &from,
	                          b->r);
}

static void set_verification(struct tls_domain *d, const struct tls_settings *s)
{
	bool verify = s->verify_certificate == 1, require = s->require_certificate == 1;

	if (d->role == TLS_SERVER && s->verify_client >= 0) {
		verify = s->verify_client == TLS_VERIFY_CLIENT_ON || s->verify_client == TLS_VERIFY_CLIENT_OPTIONAL;
		require = s->verify_client == TLS_VERIFY_CLIENT_ON;
		d->accept_any = s->verify_client == TLS_VERIFY_CLIENT_OPTIONAL_NO_CA;
	}
	if (require && !verify)
		d->accept_any = true;
	d->verify_mode = verify || require || d->accept_any ? SSL_VERIFY_PEER : SSL_VERIFY_NONE;
	if (require)
		d->verify_mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
	d->verify_depth = s->verify_depth;
}

static int use_verification(const struct builder *b, struct tls_domain *d)
{
	const struct tls_settings *s = &b->section->settings;
	struct tls_origin from = origin(b, s->ca_list == NULL && s->ca_path != NULL ? "ca_path" : "ca_list");
	struct tls_trust *trust;

	set_verification(d, s);
	SSL_CTX_set_verify(d->ctx, d->verify_mode, d->accept_any ? accept_any_certificate : NULL);
	SSL_CTX_set_verify_depth(d->ctx, d->verify_depth);
	if (s->ca_list == NULL && s->ca_path == NULL && s->crl == NULL) {
		if (d->verify_mode != SSL_VERIFY_NONE && !d->accept_any)
			tls_report_add(
				b->r, TLS_WARNING, from.file, from.line, from.setting,
				"%s verifies certificates but trusts no authority: every peer will be refused; set ca_list or ca_path",
				d->name);
		return 0;
	}
	trust = tls_store_trust(b->g->store, s->ca_list, s->ca_path, s->crl, &from, b->r);
	if (trust == NULL)
		return -1;
	if (tls_store_use_trust(d->ctx, trust) == 0)
		return 0;
	refused(b, "ca_list", s->ca_list != NULL ? s->ca_list : "ca_path", "");
	return -1;
}

static void set_options(SSL_CTX *ctx)
{
	SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	if (options->disable_compression != 0)
		SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION);
	if (options->renegotiation == 1)
		SSL_CTX_set_options(ctx, SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
	else
		SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	if (options->ssl_release_buffers != 0)
		SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	if (options->ssl_max_send_fragment > 0)
		SSL_CTX_set_max_send_fragment(ctx, options->ssl_max_send_fragment);
	if (options->ssl_read_ahead >= 0)
		SSL_CTX_set_read_ahead(ctx, options->ssl_read_ahead);
	SSL_CTX_set_dh_auto(ctx, 1);
}

static void set_callbacks(SSL_CTX *ctx, enum tls_role role)
{
	SSL_CTX_set_cert_cb(ctx, on_certificate_wanted, NULL);
	if (role != TLS_SERVER)
		return;
	SSL_CTX_set_client_hello_cb(ctx, on_client_hello, NULL);
	SSL_CTX_set_tlsext_servername_callback(ctx, on_server_name);
}

/*
 * Sessions are resumed only in the domain in which they began, and, where client certificates count, only in the
 * same generation: a ticket must not outlive a revocation.
 */
static int use_sessions(const struct builder *b, struct tls_domain *d)
{
	char identity[512];

	snprintf(identity, sizeof(identity), "%s|%s|%d", options->session_id != NULL ? options->session_id : "",
	         d->name, d->verify_mode != SSL_VERIFY_NONE ? b->g->number : 0);
	return tls_session_context(identity, d->session_context) == 0
	           ? tls_session_setup(d->ctx, d->role == TLS_SERVER, d->session_context)
	           : -1;
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
	d->name = tls_shared_strdup(tls_section_name(section, name, sizeof(name)));
	if (s->server_name != NULL && s->server_name[0] != '\0') {
		d->server_name = tls_shared_strdup(s->server_name);
		if (d->server_name == NULL)
			return -1;
		for (char *p = d->server_name; *p != '\0'; p++)
			*p = (char)tolower((unsigned char)*p);
	}
	if (s->server_id != NULL && s->server_id[0] != '\0' &&
	    (d->server_id = tls_shared_strdup(s->server_id)) == NULL)
		return -1;
	return d->name != NULL ? 0 : -1;
}

/* Makes the context. The order lets one pass find as many problems as possible. Returns 0, -1 with problems in B->r. */
static int build_domain(const struct builder *b, struct tls_domain *d)
{
	struct tls_origin from = origin(b, "certificate");
	int failed = 0;

	d->generation = b->g;
	if (describe(b->section, d) != 0 ||
	    (d->ctx = SSL_CTX_new_ex(tls_init_libctx(), NULL, TLS_method())) == NULL) {
		char reason[256];

		tls_report_add(b->r, TLS_ERROR, from.file, from.line, NULL,
		               "no context for a domain: %s; %zu KB of shared memory are free",
		               tls_init_errors(reason, sizeof(reason)), tls_mem_available() / 1024);
		return -1;
	}
	set_options(d->ctx);
	set_callbacks(d->ctx, d->role);
	failed |= use_versions(b, d);
	failed |= use_ciphers(b, d);
	failed |= use_pair(b, d, 0);
	failed |= use_pair(b, d, 1);
	failed |= use_verification(b, d);
	failed |= use_sessions(b, d);
	return failed;
}

/* ---- building a generation */

static void index_domain(struct tls_generation *g, struct tls_domain *d)
{
	const char *name = d->server_name != NULL ? d->server_name : "";
	struct tls_domain **bucket;

	if (d->kind == TLS_SECTION_DEFAULT)
		g->defaults[d->role] = d;
	bucket = &g->buckets[hash_section(d->role, d->kind, &d->address, name, strlen(name)) & g->bucket_mask];
	d->next_in_bucket = *bucket;
	*bucket = d;
}

static struct tls_generation *new_generation(int count)
{
	struct tls_generation *g = tls_shared_alloc(sizeof(*g));
	unsigned buckets = 4;

	if (g == NULL)
		return NULL;
	while (buckets < 2u * (unsigned)count)
		buckets *= 2;
	g->bucket_mask = buckets - 1;
	g->store = tls_store_new();
	g->domains = tls_shared_alloc((size_t)count * sizeof(*g->domains));
	g->buckets = tls_shared_alloc(buckets * sizeof(*g->buckets));
	if (g->store != NULL && g->domains != NULL && g->buckets != NULL)
		return g;
	tls_generation_discard(g);
	return NULL;
}

struct build_job {
	const struct tls_config *cfg;
	struct tls_report *r;
	struct tls_generation *g;
};

static int build_in_scope(void *arg)
{
	struct build_job *job = arg;
	struct tls_generation *g;
	int count = 0;

	for (const struct tls_section *s = job->cfg->sections; s != NULL; s = s->next)
		count++;
	ERR_clear_error(); /* what somebody left there must not look like ours */
	job->g = g = new_generation(count);
	if (g == NULL) {
		tls_report_add(job->r, TLS_ERROR, job->cfg->file, 0, NULL,
		               "no shared memory for %d domains; give the host more with -m", count);
		return -1;
	}
	g->number = __atomic_add_fetch(&shared->last_number, 1, __ATOMIC_RELAXED);
	for (const struct tls_section *s = job->cfg->sections; s != NULL; s = s->next) {
		struct builder b = {.g = g, .cfg = job->cfg, .section = s, .r = job->r};
		struct tls_domain *d = &g->domains[g->count++];

		if (build_domain(&b, d) == 0)
			index_domain(g, d);
		ERR_clear_error();
	}
	return 0;
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

		SSL_CTX_free(d->ctx);
		tls_shared_free(d->name);
		tls_shared_free(d->server_name);
		tls_shared_free(d->server_id);
	}
	tls_store_free(g->store);
	tls_shared_free(g->domains);
	tls_shared_free(g->buckets);
	tls_shared_free(g);
}

/* ---- the current generation */

int tls_domain_start(const struct tls_options *o)
{
	options = o;
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

int tls_generation_number(const struct tls_generation *g)
{
	return g->number;
}

/* ---- connections of a domain */

SSL *tls_domain_open(struct tls_domain_use *use)
{
	struct tls_domain *d = use->domain;
	SSL *ssl = SSL_new(d->ctx);

	if (ssl == NULL)
		return NULL;
	if (SSL_set_app_data(ssl, use) != 1) {
		SSL_free(ssl);
		return NULL;
	}
	if (d->role == TLS_SERVER)
		SSL_set_accept_state(ssl);
	else
		SSL_set_connect_state(ssl);
	__atomic_add_fetch(&d->connections, 1, __ATOMIC_RELAXED);
	return ssl;
}

void tls_domain_close(struct tls_domain_use *use, SSL *ssl)
{
	if (ssl == NULL)
		return;
	SSL_free(ssl);
	__atomic_sub_fetch(&use->domain->connections, 1, __ATOMIC_RELAXED);
	use->domain = NULL;
}
