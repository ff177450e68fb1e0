/*
 * crypto/openssl/context.c - from one section's settings to a context of OpenSSL's
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* asprintf() */
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tls.h"
#include "tls_mem.h"
#include "settings/report.h"
#include "settings/table.h"
#include "settings/runtime.h"
#include "tls_config.h"
#include "tls_domain_types.h"
#include "crypto/openssl/compat.h"
#include "crypto/openssl/types.h"
#include "crypto/openssl/chain.h"
#include "crypto/openssl/trust.h"
#include "crypto/openssl/ciphers.h"
#include "crypto/openssl/compress.h"
#include "crypto/openssl/policy.h"
#include "crypto/openssl/hello.h"
#include "crypto/openssl/library.h"
#include "crypto/openssl/ssl.h"
#include "crypto/openssl/ticket.h"
#include "crypto/openssl/verify.h"

/* Where the settings of a context come from, and where its problems go. */
struct builder {
	const struct tls_section *section;
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
	               tls_crypto_errors(reason, sizeof(reason)), advice);
}

/* ---- what is set in the context */

static bool is_empty(const char *value)
{
	return value == NULL || value[0] == '\0';
}

static bool unsure(const struct builder *b, const char *setting)
{
	return tls_section_unsure(b->section, setting);
}

/* The kind of CHAIN's key: OpenSSL keeps one pair of each kind. EVP_PKEY_NONE without CHAIN. */
static int kind_of(const struct tls_chain *chain)
{
	EVP_PKEY *key = chain != NULL ? X509_get0_pubkey(cert_of(tls_chain_certificate(chain))) : NULL;

	ERR_clear_error();
	return key != NULL ? EVP_PKEY_get_base_id(key) : EVP_PKEY_NONE;
}

/* Its name for people. */
static const char *kind_name(const struct tls_chain *chain)
{
	const char *name = EVP_PKEY_get0_type_name(X509_get0_pubkey(cert_of(tls_chain_certificate(chain))));

	if (name == NULL)
		return "one that OpenSSL has no name for";
	return strcmp(name, "EC") == 0 ? "ECDSA" : name;
}

/*
 * OpenSSL keeps one pair of each kind, whatever its curve or size, so a second one would replace the first. Returns 0,
 * -1 when D has two (reported).
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

/* Splits LIST at its colons into TLS 1.3 suites and all else; neither is longer than LIST. */
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
	refused(b, "cipher_list", list, "; \"openssl ciphers -v\" lists all names");
	return -1;
}

/*
 * Names of TLS <= 1.2 go to the cipher list, those of TLS 1.3 to the suites; a list without names keeps its
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

/* Also when the context was taken over: the problems of a configuration are reported each time it is loaded. */
static void check_ciphers(const struct builder *b, const struct tls_domain *d)
{
	const char *list = b->section->settings.cipher_list;
	struct tls_origin from = origin(b, "cipher_list");

	if (!is_empty(list))
		tls_ciphers_check(list, ctx_of(d->ctx), &from, b->r);
}

/* What D offers and accepts for the key exchange. */
static int use_groups(const struct builder *b, struct tls_domain *d)
{
	if (d->groups != NULL && SSL_CTX_set1_groups_list(ctx_of(d->ctx), d->groups) != 1) {
		refused(b, "groups", d->groups, "; separate names by colons, such as X25519:P-256");
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
		d->chains[i] = NULL; /* no further reports about it */
		failed = -1;
	}
	return failed;
}

/*
 * OpenSSL's limit holds for the certificates of a peer and, in a client, for the names of authorities with which
 * a server asks for one: those of a system's bundle are 15 KB, and 64 KB are possible. The limit is about what
 * strangers may cost, so it is for servers.
 */
static int longest_list(const struct tls_domain *d)
{
	int most = tls_runtime_options()->max_certificate_chain;

	return d->role == TLS_CLIENT && most < SSL_MAX_CERT_LIST_DEFAULT ? SSL_MAX_CERT_LIST_DEFAULT : most;
}

static int use_verification(const struct builder *b, struct tls_domain *d)
{
	SSL_CTX_set_cert_verify_callback(ctx_of(d->ctx), tls_verify_chain, NULL);
	SSL_CTX_set_verify(ctx_of(d->ctx), tls_verify_mode(d),
	                   d->accept_any ? tls_verify_accept : tls_verify_note);
	SSL_CTX_set_verify_depth(ctx_of(d->ctx), d->verify_depth);
	SSL_CTX_set_max_cert_list(ctx_of(d->ctx), longest_list(d));
	if (d->trust == NULL || tls_trust_use(ctx_of(d->ctx), d->trust) == 0)
		return 0;
	refused(b, "ca_list", "the list of authorities", "");
	return -1;
}

static void on_keylog_line(const SSL *ssl, const char *line)
{
	(void)ssl;
	tls_keylog_line(line);
}

static void set_options(SSL_CTX *ctx)
{
	const struct tls_options *o = tls_runtime_options();

	SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	if (tls_compress_offered())
		SSL_CTX_clear_options(ctx, SSL_OP_NO_COMPRESSION);
	else
		SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION);
	if (o->renegotiation > 0)
		SSL_CTX_set_options(ctx, SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
	else
		SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_clear_mode(ctx, SSL_MODE_AUTO_RETRY); /* records without data count */
	if (o->ssl_release_buffers != 0)
		SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	if (o->ssl_max_send_fragment > 0)
		SSL_CTX_set_max_send_fragment(ctx, o->ssl_max_send_fragment);
	if (o->ssl_read_ahead >= 0)
		SSL_CTX_set_read_ahead(ctx, o->ssl_read_ahead);
	SSL_CTX_set_dh_auto(ctx, 1);
	tls_compat_set_certificate_compression(ctx, o->certificate_compression > 0);
	if (tls_keylog_enabled())
		SSL_CTX_set_keylog_callback(ctx, on_keylog_line);
}

/*
 * Sessions are resumed only in the domain in which they began and, where certificates of clients count, only
 * while its context is the same: a ticket must not outlive a revocation. Nor may one for a compressed
 * connection come back to where compression is no longer allowed: OpenSSL would end the handshake. Sections of
 * one name may differ only in their mode, which is not part of D's name.
 */
static int use_sessions(struct tls_domain *d)
{
	const char *id = tls_runtime_options()->session_id;
	struct tls_piece piece;
	char *identity;
	int size, result = -1;

	size = asprintf(&identity, "%d|%d|%d|%s|%s", d->verify ? d->generation->number : 0,
	                tls_compress_allowed(ctx_of(d->ctx)), (int)d->server_name_mode, d->name,
	                id != NULL ? id : "");
	if (size < 0)
		return -1;
	piece = (struct tls_piece){identity, (size_t)size};
	if (tls_crypto_digest(&piece, 1, d->session_context) == 0)
		result = tls_ticket_setup(ctx_of(d->ctx), d->role == TLS_SERVER, d->session_context);
	free(identity);
	return result;
}

/* ---- the whole */

static int no_context(const struct builder *b)
{
	char reason[256];

	tls_report_add(b->r, TLS_ERROR, b->section->file, b->section->line, NULL,
	               "no context for a domain: %s; %zu KB of shared memory are free",
	               tls_crypto_errors(reason, sizeof(reason)), tls_mem_available() / 1024);
	return -1;
}

static int fill_context(const struct builder *b, struct tls_domain *d)
{
	int failed = 0;

	set_options(ctx_of(d->ctx));
	tls_hello_setup(ctx_of(d->ctx), d->role);
	failed |= check_kinds(b, d);
	failed |= use_profile(b, d);
	failed |= use_ciphers(b, d); /* first: they may set the security level */
	failed |= use_versions(b, d);
	failed |= use_groups(b, d);
	failed |= use_verification(b, d);
	failed |= use_pairs(b, d); /* after it: chains are completed from trust anchors */
	failed |= use_sessions(d);
	if (failed == 0 && tls_runtime_options()->certificate_compression > 0)
		tls_compat_compress_certificates(ctx_of(d->ctx));
	return failed;
}

int tls_ctx_make(struct tls_domain *d, const struct tls_section *section, struct tls_report *r)
{
	struct builder b = {.section = section, .r = r};

	d->ctx = (struct tls_ctx *)SSL_CTX_new_ex(tls_library_context(), NULL, TLS_method());
	return d->ctx != NULL ? fill_context(&b, d) : no_context(&b);
}

void tls_ctx_check(const struct tls_domain *d, const struct tls_section *section, struct tls_report *r)
{
	struct builder b = {.section = section, .r = r};

	check_ciphers(&b, d);
	tls_policy_check(d, section, r);
}

struct tls_ctx *tls_ctx_share(struct tls_ctx *ctx)
{
	return SSL_CTX_up_ref(ctx_of(ctx)) == 1 ? ctx : NULL;
}

void tls_ctx_free(struct tls_ctx *ctx)
{
	SSL_CTX_free(ctx_of(ctx));
}
