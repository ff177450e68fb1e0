/*
 * tls_build.c - from a section to a domain: loads its files, says what is wrong, gives it a context
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * A reload makes no new context for a domain whose settings and files are unchanged: it takes over the one that is in
 * use, and the sessions of its peers stay good.
 */
#include <stdlib.h>
#include <string.h>

#include "tls_build.h"
#include "settings/report.h"
#include "settings/table.h"
#include "settings/hostname.h"
#include "tls_config.h"
#include "tls_domain_types.h"
#include "crypto/crypto.h"
#include "material/cache.h"

/* What one domain is built from, for messages and for what it shares with others. */
struct builder {
	const struct tls_section *section;
	struct tls_cache *cache;
	struct tls_report *r;
};

static struct tls_origin origin(const struct builder *b, const char *setting)
{
	return tls_section_origin(b->section, setting);
}

static void warn(const struct builder *b, const char *setting, const char *text)
{
	struct tls_origin from = origin(b, setting);

	tls_report_add(b->r, TLS_WARNING, from.file, from.line, setting, "%s", text);
}

static bool is_empty(const char *value)
{
	return value == NULL || value[0] == '\0';
}

static bool unsure(const struct builder *b, const char *setting)
{
	return tls_section_unsure(b->section, setting);
}

/* ---- what is loaded from files */

/* What one of the two pairs is made from. */
struct pair_settings {
	const char *certificate, *key, *password;                /* values */
	const char *certificate_name, *key_name, *password_name; /* of the settings */
};

static struct pair_settings pair_settings(const struct tls_settings *s, int number)
{
	if (number == 0)
		return (struct pair_settings){s->certificate, s->private_key, s->private_key_password,
		                              "certificate",  "private_key",  "private_key_password"};
	return (struct pair_settings){s->certificate2, s->private_key2, s->private_key_password2,
	                              "certificate2",  "private_key2",  "private_key_password2"};
}

/* Whether to load the key of P, which is in CHAIN's own file when it is not set. False: another mistake comes first. */
static bool key_is_due(const struct builder *b, const struct pair_settings *p, const struct tls_chain *chain)
{
	if (unsure(b, p->key_name) || unsure(b, p->password_name))
		return false;
	if (chain != NULL)
		return true;
	return p->key != NULL && (p->certificate == NULL || strcmp(p->key, p->certificate) != 0);
}

/*
 * Loads the pair NUMBER, 0 or 1. Returns 0, -1 with the reason in B->r. A setting that is
 * missing because of a mistake is skipped.
 */
static int load_pair(const struct builder *b, struct tls_domain *d, int number)
{
	struct pair_settings p = pair_settings(&b->section->settings, number);
	struct tls_origin from = origin(b, p.certificate_name);
	struct tls_origin key_from = p.key != NULL ? origin(b, p.key_name) : from;
	const char *key = p.key != NULL ? p.key : p.certificate;
	bool due = !unsure(b, p.certificate_name);

	if (due && is_empty(p.certificate))
		return 0;
	if (due)
		d->chains[number] = tls_chain_load(b->cache, p.certificate, &from, b->r);
	if ((!due && p.key == NULL) || !key_is_due(b, &p, d->chains[number]))
		return due && d->chains[number] == NULL ? -1 : 0;
	d->keys[number] = tls_key_load(b->cache, key, p.password, &key_from, b->r);
	return (due && d->chains[number] == NULL) || d->keys[number] == NULL ? -1 : 0;
}

static int load_trust(const struct builder *b, struct tls_domain *d)
{
	const struct tls_settings *s = &b->section->settings;
	struct tls_origin from[] = {origin(b, "ca_list"), origin(b, "ca_path"), origin(b, "crl")};

	if (is_empty(s->ca_list) && is_empty(s->ca_path) && d->verify && !d->accept_any &&
	    !unsure(b, "ca_list") && !unsure(b, "ca_path"))
		tls_report_add(
			b->r, TLS_WARNING, from->file, from->line, from->setting,
			"%s verifies certificates but trusts no authority: every peer will be refused; set ca_list "
			"or ca_path",
			d->name);
	if (s->ca_list == NULL && s->ca_path == NULL && s->crl == NULL)
		return 0;
	d->trust = tls_trust_load(b->cache, s->ca_list, s->ca_path, s->crl, from, b->r);
	return d->trust != NULL ? 0 : -1;
}

/* ---- settings that load well and do not do what they seem to */

static void check_pairs(const struct builder *b, const struct tls_domain *d)
{
	const struct tls_settings *s = &b->section->settings;

	if (d->role == TLS_SERVER && is_empty(s->certificate) && is_empty(s->certificate2) &&
	    !unsure(b, "certificate"))
		warn(b, "certificate", "not set, so every client will be refused; name a file");
	if (is_empty(s->certificate2) && !is_empty(s->private_key2) && !unsure(b, "certificate2"))
		warn(b, "private_key2", "has no effect without certificate2");
}

/* A client section names the host that it connects to, perhaps by its address; a server section what clients ask for. */
static void check_name(const struct builder *b)
{
	const char *name = b->section->settings.server_name;
	struct tls_hostname host;

	if (name == NULL)
		return;
	if (b->section->role == TLS_CLIENT && strchr(name, '*') == NULL &&
	    tls_hostname_read(name, strlen(name), &host)) {
		if (host.has_port)
			warn(b, "server_name", "the port is not part of the name and has no effect; remove it");
		return;
	}
	if (strpbrk(name, "*:/@,; \t") != NULL)
		warn(b, "server_name",
		     "this is not a host name, so no client asks for it; write one name without a port, and set "
		     "server_name_mode = 2 for all names below it");
}

/* Settings about verified certificates where none is verified. Of the two sections that module parameters make, one warns. */
static void check_verification(const struct builder *b, const struct tls_domain *d)
{
	static const char text[] = "has no effect: no certificate is verified here; set verify_certificate = yes";

	if (d->verify || (b->section->file == NULL && d->role != TLS_SERVER))
		return;
	if (d->verify_purpose != TLS_PURPOSE_STRICT)
		warn(b, "verify_purpose", text);
	if (d->wildcards)
		warn(b, "verify_name_wildcard", text);
}

/* Module parameters make two sections, one of them a client's: no warning for the other. */
static void check_reuse(const struct builder *b, const struct tls_domain *d)
{
	if (b->section->settings.reuse_verified_only <= 0)
		return;
	if (d->role == TLS_SERVER && b->section->file != NULL)
		warn(b, "reuse_verified_only",
		     "has no effect in a server section: it is about connections to servers");
	if (d->role == TLS_CLIENT && (!d->verify || d->accept_any))
		warn(b, "reuse_verified_only",
		     "has no effect: no certificate is verified here; set verify_certificate = yes");
}

/* ---- verification */

/* The parser has turned verify_client into the two switches. A certificate that is required must verify, too. */
static void set_verification(struct tls_domain *d, const struct tls_settings *s)
{
	bool verify = s->verify_certificate > 0, require = s->require_certificate > 0;

	d->accept_any = s->verify_client == TLS_VERIFY_CLIENT_OPTIONAL_NO_CA && !verify;
	d->verify = verify || require || d->accept_any;
	d->require = require;
	d->verify_depth = s->verify_depth;
	d->verify_name = d->role == TLS_CLIENT && s->verify_name > 0;
	d->wildcards = s->verify_name_wildcard > 0;
	d->verify_purpose = (enum tls_verify_purpose)s->verify_purpose;
	d->reuse_verified_only = d->role == TLS_CLIENT && s->reuse_verified_only > 0;
}

/* ---- whether a context can be taken over */

static struct tls_piece piece_of_text(const char *text)
{
	return text != NULL ? (struct tls_piece){text, strlen(text) + 1} : (struct tls_piece){"\0", 2};
}

/* The value of ROW, a setting of the domain. */
static struct tls_piece piece_of(const struct tls_setting *row, const struct tls_settings *s)
{
	const char *field = (const char *)s + row->offset;
	const char *text;

	if (row->type != TLS_STRING)
		return (struct tls_piece){field, sizeof(int)};
	memcpy(&text, field, sizeof(text));
	return piece_of_text(text);
}

static size_t count_settings(void)
{
	size_t count = 0;

	for (const struct tls_setting *row = tls_settings_table; row->name != NULL; row++)
		count++;
	return count;
}

/*
 * Puts a digest of what D's context is made from, except the content of files, into D->fingerprint. The module's own
 * settings that end up in a context cannot change while the server runs. Returns 0, -1 without memory.
 */
static int take_fingerprint(const struct builder *b, struct tls_domain *d)
{
	struct tls_piece *pieces = malloc(count_settings() * sizeof(*pieces));
	size_t count = 0;
	int result = -1;

	for (const struct tls_setting *row = tls_settings_table; pieces != NULL && row->name != NULL; row++)
		if ((row->flags & TLS_OF_DOMAIN) != 0)
			pieces[count++] = piece_of(row, &b->section->settings);
	if (pieces != NULL)
		result = tls_crypto_digest(pieces, count, d->fingerprint);
	free(pieces);
	return result;
}

/* Takes over the context of BEFORE, the same section in the configuration before, when nothing of it has changed. */
static bool take_over(struct tls_domain *d, const struct tls_domain *before)
{
	if (before == NULL || before->trust != d->trust || memcmp(before->keys, d->keys, sizeof(d->keys)) != 0 ||
	    memcmp(before->chains, d->chains, sizeof(d->chains)) != 0 ||
	    memcmp(before->fingerprint, d->fingerprint, sizeof(d->fingerprint)) != 0)
		return false;
	d->ctx = tls_ctx_share(before->ctx);
	d->oldest = before->oldest;
	d->newest = before->newest;
	memcpy(d->session_context, before->session_context, sizeof(d->session_context));
	return d->ctx != NULL;
}

/* ---- the whole */

static int give_context(const struct builder *b, struct tls_domain *d, const struct tls_domain *before,
                        int failed)
{
	if (take_fingerprint(b, d) != 0) {
		tls_report_add(b->r, TLS_ERROR, b->section->file, b->section->line, NULL, "no memory for a domain");
		return -1;
	}
	if (failed == 0 && take_over(d, before))
		return 0;
	return tls_ctx_make(d, b->section, b->r); /* also after a failure: that finds all problems at once */
}

int tls_build_domain(struct tls_domain *d, const struct tls_section *section, struct tls_cache *cache,
                     const struct tls_domain *before, struct tls_report *r)
{
	struct builder b = {.section = section, .cache = cache, .r = r};
	int failed = 0;

	set_verification(d, &section->settings);
	failed |= load_pair(&b, d, 0);
	failed |= load_pair(&b, d, 1);
	check_pairs(&b, d);
	check_name(&b);
	check_verification(&b, d);
	check_reuse(&b, d);
	failed |= load_trust(&b, d);
	failed |= give_context(&b, d, before, failed);
	if (failed == 0)
		tls_ctx_check(d, section, r);
	return failed;
}
