/*
 * crypto/openssl/context.c - from one section's settings to a context of OpenSSL's
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 *
 * A reload makes no new context for a domain whose settings and files are as they were: it takes over the one
 * that is in use, and the sessions of its peers stay good.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* asprintf() */
#endif
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/openssl/context.h"
#include "tls.h"
#include "tls_mem.h"
#include "settings/report.h"
#include "settings/table.h"
#include "settings/hostname.h"
#include "tls_config.h"
#include "tls_domain_types.h"
#include "crypto/openssl/compat.h"
#include "crypto/openssl/types.h"
#include "tls_init.h"
#include "material/cache.h"
#include "crypto/openssl/key.h"
#include "crypto/openssl/chain.h"
#include "crypto/openssl/trust.h"
#include "crypto/openssl/ciphers.h"
#include "crypto/openssl/compress.h"
#include "crypto/openssl/policy.h"
#include "crypto/openssl/session.h"
#include "crypto/openssl/verify.h"
#include "tls_domain.h"

static const struct tls_options *options;

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

/* Reports that OpenSSL refuses SETTING. */
static void refused(const struct builder *b, const char *setting, const char *value, const char *advice)
{
	struct tls_origin from = origin(b, setting);
	char reason[256];

	tls_report_add(b->r, TLS_ERROR, from.file, from.line, setting, "\"%s\": OpenSSL refuses it (%s)%s", value,
	               tls_init_errors(reason, sizeof(reason)), advice);
}

static void warn(const struct builder *b, const char *setting, const char *text)
{
	struct tls_origin from = origin(b, setting);

	tls_report_add(b->r, TLS_WARNING, from.file, from.line, setting, "%s", text);
}

/* ---- what is loaded from files */

static bool is_empty(const char *value)
{
	return value == NULL || value[0] == '\0';
}

static bool unsure(const struct builder *b, const char *setting)
{
	return tls_section_unsure(b->section, setting);
}

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

/* The key of P, which is in CHAIN's own file when it is not set. False: one mistake more must be mended first. */
static bool key_is_due(const struct builder *b, const struct pair_settings *p, const struct tls_chain *chain)
{
	if (unsure(b, p->key_name) || unsure(b, p->password_name))
		return false;
	if (chain != NULL)
		return true;
	return p->key != NULL && (p->certificate == NULL || strcmp(p->key, p->certificate) != 0);
}

/*
 * Loads the pair NUMBER, 0 or 1. Returns 0, -1 with the reason in B->r. What is not set because of a mistake is
 * passed over.
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

/* The kind of CHAIN's key: OpenSSL keeps one pair of each kind. EVP_PKEY_NONE without CHAIN. */
static int kind_of(const struct tls_chain *chain)
{
	EVP_PKEY *key = chain != NULL ? X509_get0_pubkey(cert_of(tls_chain_certificate(chain))) : NULL;

	ERR_clear_error();
	return key != NULL ? EVP_PKEY_get_base_id(key) : EVP_PKEY_NONE;
}

/* What people call that. */
static const char *kind_name(const struct tls_chain *chain)
{
	const char *name = EVP_PKEY_get0_type_name(X509_get0_pubkey(cert_of(tls_chain_certificate(chain))));

	if (name == NULL)
		return "one that OpenSSL has no name for";
	return strcmp(name, "EC") == 0 ? "ECDSA" : name;
}

/* Says what loads well and does not do what it looks like. */
static void check_pairs(const struct builder *b, const struct tls_domain *d)
{
	const struct tls_settings *s = &b->section->settings;

	if (d->role == TLS_SERVER && is_empty(s->certificate) && is_empty(s->certificate2) &&
	    !unsure(b, "certificate"))
		warn(b, "certificate", "there is none: every client will be refused; name a file");
	if (is_empty(s->certificate2) && !is_empty(s->private_key2) && !unsure(b, "certificate2"))
		warn(b, "private_key2", "has no effect without certificate2");
}

/*
 * OpenSSL keeps one pair of each kind, whatever its curve or size: of two, nobody is shown the first. Returns
 * 0, -1 when that is so (reported).
 */
static int check_kinds(const struct builder *b, const struct tls_domain *d)
{
	const struct tls_settings *s = &b->section->settings;
	struct tls_origin from = origin(b, "certificate2");
	int kind = kind_of(d->chains[1]);

	if (kind == EVP_PKEY_NONE || kind != kind_of(d->chains[0]))
		return 0;
	tls_report_add(
		b->r, TLS_ERROR, from.file, from.line, from.setting,
		"%s has a key of the same kind, %s, as the certificate %s: a section serves one certificate of "
		"each kind; remove one, or make one of them RSA and the other ECDSA",
		s->certificate2, kind_name(d->chains[1]), s->certificate);
	return -1;
}

/* A client section has the host that it connects to, maybe by its address; a server section the names of clients. */
static void check_name(const struct builder *b)
{
	const char *name = b->section->settings.server_name;
	struct tls_hostname host;

	if (name == NULL)
		return;
	if (b->section->role == TLS_CLIENT && strchr(name, '*') == NULL &&
	    tls_hostname_read(name, strlen(name), &host)) {
		if (host.has_port)
			warn(b, "server_name", "the port is no part of the name, and has no effect; write it without");
		return;
	}
	if (strpbrk(name, "*:/@,; \t") != NULL)
		warn(b, "server_name",
		     "no host is called so, and nobody asks for it; write one name without a port, and for all "
		     "below it set server_name_mode = 2");
}

/* What is about verified certificates where none is. The module parameters make two sections: one of them says it. */
static void check_verification(const struct builder *b, const struct tls_domain *d)
{
	static const char text[] = "has no effect: no certificate is verified here; set verify_certificate = yes";

	if (d->verify_mode != SSL_VERIFY_NONE || (b->section->file == NULL && d->role != TLS_SERVER))
		return;
	if (d->verify_purpose != TLS_PURPOSE_STRICT)
		warn(b, "verify_purpose", text);
	if (d->wildcards)
		warn(b, "verify_name_wildcard", text);
}

/* The module parameters make two sections, one of them a client's. */
static void check_reuse(const struct builder *b, const struct tls_domain *d)
{
	if (b->section->settings.reuse_verified_only <= 0)
		return;
	if (d->role == TLS_SERVER && b->section->file != NULL)
		warn(b, "reuse_verified_only",
		     "is about connections to servers, and has no effect in a server section");
	if (d->role == TLS_CLIENT && (d->verify_mode == SSL_VERIFY_NONE || d->accept_any))
		warn(b, "reuse_verified_only",
		     "has no effect: no certificate is verified here; set verify_certificate = yes");
}

static int load_trust(const struct builder *b, struct tls_domain *d)
{
	const struct tls_settings *s = &b->section->settings;
	struct tls_origin from[] = {origin(b, "ca_list"), origin(b, "ca_path"), origin(b, "crl")};

	if (is_empty(s->ca_list) && is_empty(s->ca_path) && d->verify_mode != SSL_VERIFY_NONE && !d->accept_any &&
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

/* ---- what is set in the context */

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
	if (SSL_CTX_set_min_proto_version(ctx_of(d->ctx), d->oldest) != 1 ||
	    SSL_CTX_set_max_proto_version(ctx_of(d->ctx), d->newest) != 1) {
		refused(b, "method", "the protocol version", "; use TLSv1.2+");
		return -1;
	}
	if (s->method != TLS_METHOD_ANY && d->oldest < TLS1_2_VERSION &&
	    SSL_CTX_get_security_level(ctx_of(d->ctx)) > 0 && s->security_profile == TLS_SECURITY_COMPATIBLE &&
	    !unsure(b, "cipher_list"))
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

static int use_profile(const struct builder *b, struct tls_domain *d)
{
	int profile = b->section->settings.security_profile;

	if (tls_policy_preset(ctx_of(d->ctx), (enum tls_security_profile)profile, d->role) == 0)
		return 0;
	refused(b, "security_profile", profile == TLS_SECURITY_RFC9325 ? "rfc9325" : "compatible", "");
	return -1;
}

static int refused_ciphers(const struct builder *b, const char *list)
{
	refused(b, "cipher_list", list, "; \"openssl ciphers -v\" lists what there is");
	return -1;
}

/*
 * Names of TLS <= 1.2 go to the cipher list, those of TLS 1.3 to the suites; the one without names keeps its
 * default.
 */
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
	if (older[0] != '\0' && SSL_CTX_set_cipher_list(ctx_of(d->ctx), older) != 1)
		result = refused_ciphers(b, older);
	else if (suites[0] != '\0' && SSL_CTX_set_ciphersuites(ctx_of(d->ctx), suites) != 1)
		result = refused_ciphers(b, suites);
	free(older);
	return result;
}

/* Also where the context was taken over: what is wrong with a configuration is said each time that it is loaded. */
static void check_ciphers(const struct builder *b, const struct tls_domain *d)
{
	const char *list = b->section->settings.cipher_list;
	struct tls_origin from = origin(b, "cipher_list");

	if (!is_empty(list))
		tls_ciphers_check(list, ctx_of(d->ctx), &from, b->r);
}

/* What D offers and takes for the key exchange. */
static int use_groups(const struct builder *b, struct tls_domain *d)
{
	if (d->groups != NULL && SSL_CTX_set1_groups_list(ctx_of(d->ctx), d->groups) != 1) {
		refused(b, "groups", d->groups, "; names stand apart by colons, such as X25519:P-256");
		return -1;
	}
	if (d->groups == NULL && SSL_CTX_set1_groups_list(ctx_of(d->ctx), TLS_COMPAT_GROUPS) != 1)
		ERR_clear_error(); /* a library built without one of them keeps its own list */
	return 0;
}

/* Returns 0, -1 when a pair does not fit (in B->r). */
static int use_pairs(const struct builder *b, struct tls_domain *d)
{
	static const char *const settings[2][2] = {{"certificate", "private_key"},
	                                           {"certificate2", "private_key2"}};
	int failed = 0;

	for (int i = 0; i < 2; i++) {
		struct tls_origin from[] = {origin(b, settings[i][0]), origin(b, settings[i][1])};

		if (d->chains[i] == NULL || d->keys[i] == NULL ||
		    tls_chain_use(ctx_of(d->ctx), d->chains[i], d->keys[i], from, b->r) == 0)
			continue;
		d->chains[i] = NULL; /* nothing else need be said of it */
		failed = -1;
	}
	return failed;
}

/* The parser has put what verify_client asks for into the two switches. What must be shown must verify, too. */
static void set_verification(struct tls_domain *d, const struct tls_settings *s)
{
	bool verify = s->verify_certificate > 0, require = s->require_certificate > 0;

	d->accept_any = s->verify_client == TLS_VERIFY_CLIENT_OPTIONAL_NO_CA && !verify;
	d->verify_mode = verify || require || d->accept_any ? SSL_VERIFY_PEER : SSL_VERIFY_NONE;
	if (require)
		d->verify_mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
	d->verify_depth = s->verify_depth;
	d->verify_name = d->role == TLS_CLIENT && s->verify_name > 0;
	d->wildcards = s->verify_name_wildcard > 0;
	d->verify_purpose = (enum tls_verify_purpose)s->verify_purpose;
	d->reuse_verified_only = d->role == TLS_CLIENT && s->reuse_verified_only > 0;
}

/*
 * OpenSSL's limit holds for the certificates of a peer and, in a client, for the names of authorities with which
 * a server asks for one: those of a system's bundle are 15 KB, and 64 KB are possible. What a stranger may cost is
 * a server's matter.
 */
static int longest_list(const struct tls_domain *d)
{
	int most = options->max_certificate_chain;

	return d->role == TLS_CLIENT && most < SSL_MAX_CERT_LIST_DEFAULT ? SSL_MAX_CERT_LIST_DEFAULT : most;
}

static void on_keylog_line(const SSL *ssl, const char *line)
{
	(void)ssl;
	tls_keylog_line(line);
}

static int use_verification(const struct builder *b, struct tls_domain *d)
{
	SSL_CTX_set_cert_verify_callback(ctx_of(d->ctx), tls_verify_chain, NULL);
	SSL_CTX_set_verify(ctx_of(d->ctx), d->verify_mode, d->accept_any ? tls_verify_accept : tls_verify_note);
	SSL_CTX_set_verify_depth(ctx_of(d->ctx), d->verify_depth);
	SSL_CTX_set_max_cert_list(ctx_of(d->ctx), longest_list(d));
	if (d->trust == NULL || tls_trust_use(ctx_of(d->ctx), d->trust) == 0)
		return 0;
	refused(b, "ca_list", "the list of authorities", "");
	return -1;
}

static void set_options(SSL_CTX *ctx)
{
	SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	if (tls_compress_offered())
		SSL_CTX_clear_options(ctx, SSL_OP_NO_COMPRESSION);
	else
		SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION);
	if (options->renegotiation > 0)
		SSL_CTX_set_options(ctx, SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
	else
		SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_clear_mode(ctx, SSL_MODE_AUTO_RETRY); /* records without data count */
	if (options->ssl_release_buffers != 0)
		SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	if (options->ssl_max_send_fragment > 0)
		SSL_CTX_set_max_send_fragment(ctx, options->ssl_max_send_fragment);
	if (options->ssl_read_ahead >= 0)
		SSL_CTX_set_read_ahead(ctx, options->ssl_read_ahead);
	SSL_CTX_set_dh_auto(ctx, 1);
	tls_compat_set_certificate_compression(ctx, options->certificate_compression > 0);
	if (tls_keylog_enabled())
		SSL_CTX_set_keylog_callback(ctx, on_keylog_line);
}

/*
 * Sessions are resumed only in the domain in which they began and, where certificates of clients count, only
 * while its context is the same: a ticket must not outlive a revocation. Nor may one for a compressed
 * connection come back to where compression is no longer allowed: OpenSSL would end the handshake. Sections of
 * one name may differ in the mode alone, which D's name does not tell.
 */
static int use_sessions(const struct builder *b, struct tls_domain *d)
{
	char *identity;
	int result = -1;

	(void)b;
	if (asprintf(&identity, "%d|%d|%d|%s|%s",
	             d->verify_mode != SSL_VERIFY_NONE ? tls_generation_number(d->generation) : 0,
	             tls_compress_allowed(ctx_of(d->ctx)), (int)d->server_name_mode, d->name,
	             options->session_id != NULL ? options->session_id : "") < 0)
		return -1;
	if (tls_session_context(identity, d->session_context) == 0)
		result = tls_session_setup(ctx_of(d->ctx), d->role == TLS_SERVER, d->session_context);
	free(identity);
	return result;
}

/* ---- whether a context can be taken over */

static int digest_text(EVP_MD_CTX *md, const char *text)
{
	return text != NULL ? EVP_DigestUpdate(md, text, strlen(text) + 1) : EVP_DigestUpdate(md, "\0\0", 2);
}

/* Mixes the value of ROW, a setting of the domain, into MD. */
static int digest_setting(EVP_MD_CTX *md, const struct tls_setting *row, const struct tls_settings *s)
{
	const char *field = (const char *)s + row->offset;
	const char *text;

	if (row->type != TLS_STRING)
		return EVP_DigestUpdate(md, field, sizeof(int));
	memcpy(&text, field, sizeof(text));
	return digest_text(md, text);
}

/* Those of the module's own settings that end up in a context. */
static int digest_options(EVP_MD_CTX *md)
{
	const int used[] = {options->disable_compression,    options->renegotiation,
	                    options->ssl_release_buffers,    options->ssl_max_send_fragment,
	                    options->ssl_read_ahead,         options->max_certificate_chain,
	                    options->certificate_compression};

	return EVP_DigestUpdate(md, used, sizeof(used)) == 1 && digest_text(md, options->session_id) == 1;
}

/* What D's context is made from, but for the content of files, in D->fingerprint. Returns 0 or -1. */
static int take_fingerprint(const struct builder *b, struct tls_domain *d)
{
	EVP_MD *sha256 = EVP_MD_fetch(tls_init_libctx(), "SHA256", NULL); /* EVP_sha256() is of the other world */
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	int ok = sha256 != NULL && md != NULL && EVP_DigestInit_ex2(md, sha256, NULL) == 1 &&
	         digest_options(md) == 1;

	for (const struct tls_setting *row = tls_settings_table; ok && row->name != NULL; row++)
		if ((row->flags & TLS_OF_DOMAIN) != 0)
			ok = digest_setting(md, row, &b->section->settings) == 1;
	ok = ok && EVP_DigestFinal_ex(md, d->fingerprint, NULL) == 1;
	EVP_MD_CTX_free(md);
	EVP_MD_free(sha256);
	return ok ? 0 : -1;
}

/*
 * Takes over the context of BEFORE, the same section in the configuration before, when nothing of it has
 * changed.
 */
static bool take_over(struct tls_domain *d, const struct tls_domain *before)
{
	if (before == NULL || before->trust != d->trust || memcmp(before->keys, d->keys, sizeof(d->keys)) != 0 ||
	    memcmp(before->chains, d->chains, sizeof(d->chains)) != 0 ||
	    memcmp(before->fingerprint, d->fingerprint, sizeof(d->fingerprint)) != 0 ||
	    SSL_CTX_up_ref(ctx_of(before->ctx)) != 1)
		return false;
	d->ctx = before->ctx;
	d->oldest = before->oldest;
	d->newest = before->newest;
	memcpy(d->session_context, before->session_context, sizeof(d->session_context));
	return true;
}

/* ---- the whole */

static int no_context(const struct builder *b)
{
	char reason[256];

	tls_report_add(b->r, TLS_ERROR, b->section->file, b->section->line, NULL,
	               "no context for a domain: %s; %zu KB of shared memory are free",
	               tls_init_errors(reason, sizeof(reason)), tls_mem_available() / 1024);
	return -1;
}

static int fill_context(const struct builder *b, struct tls_domain *d)
{
	int failed = 0;

	set_options(ctx_of(d->ctx));
	failed |= use_profile(b, d);
	failed |= use_ciphers(b, d); /* first: they may set the security level */
	failed |= use_versions(b, d);
	failed |= use_groups(b, d);
	failed |= use_verification(b, d);
	failed |= use_pairs(b, d); /* after it: their chains are completed from what is trusted */
	failed |= use_sessions(b, d);
	if (failed == 0 && options->certificate_compression > 0)
		tls_compat_compress_certificates(ctx_of(d->ctx));
	return failed;
}

int tls_context_make(struct tls_domain *d, const struct tls_section *section, struct tls_cache *cache,
                     const struct tls_domain *before, struct tls_report *r)
{
	struct builder b = {.section = section, .cache = cache, .r = r};
	int failed = 0;

	set_verification(d, &section->settings);
	failed |= load_pair(&b, d, 0);
	failed |= load_pair(&b, d, 1);
	failed |= check_kinds(&b, d);
	check_pairs(&b, d);
	check_name(&b);
	check_verification(&b, d);
	check_reuse(&b, d);
	failed |= load_trust(&b, d);
	if (take_fingerprint(&b, d) != 0)
		return no_context(&b);
	if (failed != 0 || !take_over(d, before)) {
		d->ctx = (struct tls_ctx *)SSL_CTX_new_ex(tls_init_libctx(), NULL, TLS_method());
		if (d->ctx == NULL)
			return no_context(&b);
		failed |= fill_context(&b, d);
	}
	if (failed == 0) {
		check_ciphers(&b, d);
		tls_policy_check(d, section, r);
	}
	return failed;
}

static const char *groups_of(const struct tls_domain *d)
{
	return d->groups != NULL ? d->groups : TLS_COMPAT_GROUPS;
}

int tls_context_move(SSL *ssl, const struct tls_domain *from, struct tls_domain *d)
{
	if (strcmp(groups_of(d), groups_of(from)) != 0 && SSL_set1_groups_list(ssl, groups_of(d)) != 1) {
		if (d->groups != NULL)
			return -1;
		ERR_clear_error(); /* as in use_groups() */
	}
	if (SSL_set_SSL_CTX(ssl, ctx_of(d->ctx)) == NULL || SSL_set_min_proto_version(ssl, d->oldest) != 1 ||
	    SSL_set_max_proto_version(ssl, d->newest) != 1 ||
	    SSL_set_session_id_context(ssl, d->session_context, sizeof(d->session_context)) != 1)
		return -1;
	SSL_set_verify(ssl, d->verify_mode, d->accept_any ? tls_verify_accept : tls_verify_note);
	SSL_set_verify_depth(ssl, d->verify_depth);
	return 0;
}

void tls_context_start(const struct tls_options *o)
{
	options = o;
}
