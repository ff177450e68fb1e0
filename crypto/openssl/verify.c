/*
 * crypto/openssl/verify.c - who the peer is
 *
 * SPDX-License-Identifier: GPL-2.0-or-later, with the OpenSSL exception in LICENSE
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "crypto/openssl/verify.h"
#include "tls.h"
#include "settings/table.h"
#include "settings/hostname.h"
#include "tls_domain_types.h"
#include "crypto/openssl/compat.h"
#include "crypto/openssl/names.h"
#include "crypto/openssl/ticket.h"

#define TICKET_CERTIFICATE_MAX 64000 /* bytes: the rest of a session takes a few hundred */

int tls_verify_mode(const struct tls_domain *d)
{
	if (!d->verify)
		return SSL_VERIFY_NONE;
	return d->require ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT : SSL_VERIFY_PEER;
}

int tls_verify_note(int ok, X509_STORE_CTX *store)
{
	X509 *x = X509_STORE_CTX_get_current_cert(store);
	char subject[256] = "unknown";

	if (ok == 1)
		return 1;
	if (x != NULL && /* escapes what is not printable */
	    X509_NAME_oneline(X509_get_subject_name(x), subject, sizeof(subject)) == NULL)
		snprintf(subject, sizeof(subject), "unreadable");
	ERR_raise_data(ERR_LIB_SSL, SSL_R_CERTIFICATE_VERIFY_FAILED, "%s at depth %d, subject %s",
	               X509_verify_cert_error_string(X509_STORE_CTX_get_error(store)),
	               X509_STORE_CTX_get_error_depth(store), subject);
	return 0;
}

int tls_verify_accept(int ok, X509_STORE_CTX *store)
{
	(void)ok;
	(void)store;
	return 1;
}

/* ---- names: RFC 5922 section 7 */

/* Who a certificate should be for: a name, or an address in network order. */
struct identity {
	const char *name;
	size_t length;
	unsigned char ip[16];
	int ip_size; /* 0: it is a name */
	bool wildcards;
};

static struct identity identity_of(const char *name, size_t length)
{
	struct identity who = {.name = name, .length = length};
	bool brackets = length > 2 && name[0] == '[' && name[length - 1] == ']';
	char text[INET6_ADDRSTRLEN];

	if (!brackets && length > 1 && name[length - 1] == '.')
		who.length--; /* certificates do not write the root's dot */
	if (length - 2 * brackets >= sizeof(text))
		return who;
	memcpy(text, name + brackets, length - 2 * brackets);
	text[length - 2 * brackets] = '\0';
	if (!brackets && inet_pton(AF_INET, text, who.ip) == 1)
		who.ip_size = 4;
	else if (inet_pton(AF_INET6, text, who.ip) == 1)
		who.ip_size = 16;
	return who;
}

/*
 * Whether the host in a certificate, SIZE bytes at HOST, is WHO: a whole name, without wildcards (section
 * 7.2).
 */
static bool is_host(const struct identity *who, const char *host, size_t size)
{
	struct identity other;

	if (size == 0 || memchr(host, '\0', size) != NULL)
		return false;
	other = identity_of(host, size);
	if (who->ip_size != other.ip_size)
		return false;
	if (who->ip_size != 0)
		return memcmp(who->ip, other.ip, (size_t)who->ip_size) == 0;
	return who->length == other.length && strncasecmp(who->name, other.name, who->length) == 0;
}

/*
 * Whether a DNS name with a wildcard is for WHO, by RFC 9525 section 6.3: "*" is the whole of the leftmost label
 * and stands for one label. Directly below a top-level domain it matches nothing.
 */
static bool is_below(const struct identity *who, const char *pattern, size_t size)
{
	const char *domain = memchr(who->name, '.', who->length);

	if (size > 0 && pattern[size - 1] == '.')
		size--;
	if (who->ip_size != 0 || domain == NULL || domain == who->name || size < 2 || pattern[0] != '*')
		return false;
	pattern++, size--;
	return pattern[0] == '.' && memchr(pattern + 1, '.', size - 1) != NULL &&
	       memchr(pattern, '*', size) == NULL && memchr(pattern, '\0', size) == NULL &&
	       size == who->length - (size_t)(domain - who->name) && strncasecmp(domain, pattern, size) == 0;
}

/* The host of a sip URI without a user part, in *HOST_SIZE bytes; NULL: it is another URI (section 7.1). */
static const char *host_of_uri(const char *uri, size_t size, size_t *host_size)
{
	const char *host = uri + 4, *end = uri + size, *p;

	if (size <= 4 || strncasecmp(uri, "sip:", 4) != 0 || memchr(host, '@', size - 4) != NULL ||
	    memchr(uri, '\0', size) != NULL)
		return NULL;
	p = host;
	if (*p == '[')
		while (p < end && *p != ']')
			p++;
	while (p < end && memchr(":;?", *p, 3) == NULL)
		p++;
	*host_size = (size_t)(p - host);
	return host;
}

/* How an alternative name relates to an identity. */
enum match { MATCH_NONE, MATCH_OTHER, MATCH_YES };

/* OTHER: it is a sip URI of somebody else. */
static enum match match_uri(const struct identity *who, const ASN1_STRING *s)
{
	size_t size;
	const char *host = host_of_uri((const char *)ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s),
	                               &size);

	return host == NULL ? MATCH_NONE : is_host(who, host, size) ? MATCH_YES : MATCH_OTHER;
}

static bool match_bytes(const struct identity *who, int type, const ASN1_STRING *s)
{
	const unsigned char *data = ASN1_STRING_get0_data(s);
	int size = ASN1_STRING_length(s);

	if (type == GEN_DNS)
		return who->ip_size == 0 && (is_host(who, (const char *)data, (size_t)size) ||
		                             (who->wildcards && is_below(who, (const char *)data, (size_t)size)));
	return type == GEN_IPADD && who->ip_size != 0 && size == who->ip_size &&
	       memcmp(data, who->ip, (size_t)size) == 0;
}

/* Sip URIs with a host decide; DNS names count where there are none. Addresses always count. */
static bool match_alt_names(const struct identity *who, const GENERAL_NAMES *names)
{
	bool dns = false, ip = false, has_uri = false;

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		int type;
		const ASN1_STRING *s = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);
		enum match uri = type == GEN_URI ? match_uri(who, s) : MATCH_NONE;

		if (uri == MATCH_YES)
			return true;
		has_uri |= uri == MATCH_OTHER;
		dns |= type == GEN_DNS && match_bytes(who, type, s);
		ip |= type == GEN_IPADD && match_bytes(who, type, s);
	}
	return ip || (dns && !has_uri);
}

/* For certificates from before alternative names: the last common name, which is the most specific. */
static bool match_common_name(const struct identity *who, const X509 *x)
{
	const X509_NAME *subject = X509_get_subject_name(x);
	const ASN1_STRING *s = NULL;

	for (int i = -1; (i = X509_NAME_get_index_by_NID(subject, NID_commonName, i)) >= 0;)
		s = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, i));
	return s != NULL && who->ip_size == 0 && ASN1_STRING_type(s) != V_ASN1_BMPSTRING &&
	       ASN1_STRING_type(s) != V_ASN1_UNIVERSALSTRING &&
	       is_host(who, (const char *)ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s));
}

bool tls_verify_names(const X509 *x, const char *domain, size_t length, bool wildcards)
{
	struct identity who = identity_of(domain, length);
	GENERAL_NAMES *names;
	bool result;

	if (length == 0 || memchr(domain, '\0', length) != NULL)
		return false;
	who.wildcards = wildcards;
	if (X509_get_ext_by_NID(x, NID_subject_alt_name, -1) < 0)
		return match_common_name(&who, x);
	names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL,
	                         NULL); /* also NULL: two of them, or a broken one */
	result = names != NULL && match_alt_names(&who, names);
	GENERAL_NAMES_free(names);
	return result;
}

/* Who the server at the other end of USE must be: the host that we ask for, else its address. */
static const char *expected_name(const struct tls_domain_use *use, struct tls_hostname *out)
{
	if (use->name != NULL)
		return tls_hostname_read(use->name, strlen(use->name), out) ? out->text : use->name;
	return inet_ntop(use->address.family == 6 ? AF_INET6 : AF_INET, use->address.ip, out->text,
	                 sizeof(out->text));
}

/* Puts into the error queue that X is not for NAME, and what names it is for. */
static void raise_names(const X509 *x, const char *name)
{
	char names[224];

	tls_names_list(x, names, sizeof(names));
	ERR_raise_data(
		ERR_LIB_SSL, SSL_R_CERTIFICATE_VERIFY_FAILED,
		"the server's certificate is not for \"%.128s\" (verify_name, RFC 5922), but for %s%s", name, names,
		tls_verify_names(x, name, strlen(name), true) ? "; verify_name_wildcard accepts that" : "");
}

/*
 * Whether the server's certificate names it, or need not (verify_name). If not, STORE has the error, and the queue the
 * reason.
 */
static bool server_is_named(SSL *ssl, X509_STORE_CTX *store, const X509 *leaf)
{
	const struct tls_domain_use *use = SSL_get_app_data(ssl);
	struct tls_hostname host;
	const char *name;

	if (use == NULL || use->domain == NULL || !use->domain->verify_name)
		return true;
	name = expected_name(use, &host);
	if (name != NULL && tls_verify_names(leaf, name, strlen(name), use->domain->wildcards))
		return true;
	raise_names(leaf, name != NULL ? name : "");
	X509_STORE_CTX_set_error(store, X509_V_ERR_HOSTNAME_MISMATCH);
	return false;
}

/* ---- what a certificate is for: RFC 5280 section 4.2.1.12, RFC 5924 */

enum { FOR_SERVERS = 1, FOR_CLIENTS = 2, FOR_SIP = 4, FOR_ALL = FOR_SERVERS | FOR_CLIENTS | FOR_SIP };

static unsigned purpose_of(const ASN1_OBJECT *object)
{
	static const struct {
		const char *id;
		unsigned is;
	} known[] = {
		{"1.3.6.1.5.5.7.3.1", FOR_SERVERS}, /* id-kp-serverAuth */
		{"1.3.6.1.5.5.7.3.2", FOR_CLIENTS}, /* id-kp-clientAuth */
		{"1.3.6.1.5.5.7.3.20", FOR_SIP},    /* id-kp-sipDomain */
		{"2.5.29.37.0", FOR_ALL},           /* anyExtendedKeyUsage */
	};
	char id[32] = "";

	OBJ_obj2txt(id, sizeof(id), object, 1);
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(id, known[i].id) == 0)
			return known[i].is;
	return 0;
}

/* What X may be used for by its extended key usage: everything without one, nothing with a broken one. */
static unsigned purposes_of(const X509 *x)
{
	int critical = 0;
	EXTENDED_KEY_USAGE *list = X509_get_ext_d2i(x, NID_ext_key_usage, &critical, NULL);
	unsigned found = 0;

	if (list == NULL)
		return critical == -1 ? FOR_ALL : 0;
	for (int i = 0; i < sk_ASN1_OBJECT_num(list); i++)
		found |= purpose_of(sk_ASN1_OBJECT_value(list, i));
	EXTENDED_KEY_USAGE_free(list);
	return found;
}

/* Whether X's key may do what TLS asks of a PEER: a client signs, a server may also decrypt (RFC 5246 section 7.4). */
static bool key_may(X509 *x, enum tls_role peer)
{
	uint32_t allowed = KU_DIGITAL_SIGNATURE | KU_KEY_AGREEMENT;

	if (peer == TLS_SERVER)
		allowed |= KU_KEY_ENCIPHERMENT;
	return (X509_get_key_usage(x) & allowed) != 0;
}

static int trust_of(enum tls_role peer)
{
	return peer == TLS_CLIENT ? X509_TRUST_SSL_CLIENT : X509_TRUST_SSL_SERVER;
}

/* Whether X, at DEPTH, is trusted by its file (BEGIN TRUSTED CERTIFICATE), which overrides what it says itself. */
static bool is_marked(X509_STORE_CTX *store, X509 *x, int depth, enum tls_role peer)
{
	return depth >= X509_STORE_CTX_get_num_untrusted(store) &&
	       X509_check_trust(x, trust_of(peer), X509_TRUST_NO_SS_COMPAT) == X509_TRUST_TRUSTED;
}

/* Returns what STORE's callback makes of the error. */
static int refuse_purpose(X509_STORE_CTX *store, X509 *x, int depth)
{
	X509_STORE_CTX_set_error(store, X509_V_ERR_INVALID_PURPOSE);
	X509_STORE_CTX_set_error_depth(store, depth);
	X509_STORE_CTX_set_current_cert(store, x);
	return X509_STORE_CTX_get_verify_cb(store)(0, store);
}

/*
 * The rule "sip", for a chain that is valid. RFC 5280 leaves open what an extended key usage in an authority's
 * certificate means; OpenSSL and the public authorities take it as a limit for what it issues. So one purpose must be
 * common to all certificates from the anchor down to the peer.
 */
static int check_purposes(X509_STORE_CTX *store, enum tls_role peer)
{
	STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(store);
	unsigned left = FOR_ALL;

	for (int depth = sk_X509_num(chain) - 1; depth >= 0; depth--) {
		X509 *x = sk_X509_value(chain, depth);

		if (is_marked(store, x, depth, peer))
			continue;
		left &= purposes_of(x);
		if (left == 0 || (depth == 0 && !key_may(x, peer)))
			return refuse_purpose(store, x, depth);
	}
	return 1;
}

int tls_verify_certificates(X509_STORE_CTX *store, enum tls_verify_purpose purpose, enum tls_role peer)
{
	X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(store);
	int strict = peer == TLS_CLIENT ? X509_PURPOSE_SSL_CLIENT : X509_PURPOSE_SSL_SERVER, ok;

	if (X509_VERIFY_PARAM_set_trust(param, trust_of(peer)) != 1 ||
	    X509_VERIFY_PARAM_set_purpose(param, purpose == TLS_PURPOSE_STRICT ? strict : X509_PURPOSE_ANY) !=
	        1) {
		X509_STORE_CTX_set_error(store, X509_V_ERR_UNSPECIFIED);
		return -1;
	}
	ok = X509_verify_cert(store);
	if (ok != 1 || purpose != TLS_PURPOSE_SIP || X509_STORE_CTX_get_error(store) != X509_V_OK)
		return ok;
	return check_purposes(store, peer);
}

/* ---- a chain */

/* The peer's chain, by the rules of SSL's domain. */
static int verify(SSL *ssl, X509_STORE_CTX *store)
{
	const struct tls_domain_use *use = SSL_get_app_data(ssl);
	bool known = use != NULL && use->domain != NULL;

	return tls_verify_certificates(store, known ? use->domain->verify_purpose : TLS_PURPOSE_STRICT,
	                               SSL_is_server(ssl) ? TLS_CLIENT : TLS_SERVER);
}

static int verify_client(SSL *ssl, X509_STORE_CTX *store)
{
	int ok = verify(ssl, store);

	if (ok == 1)
		tls_ticket_verified(ssl, store);
	return ok;
}

/*
 * The length of a session ticket is a number of 16 bits, and the whole of a client's certificate goes into it: with a
 * larger one OpenSSL would end the handshake with "internal error" when it writes the ticket. In TLS 1.3 no ticket is
 * issued then; in older versions it has already been promised.
 */
int tls_verify_chain(X509_STORE_CTX *store, void *arg)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	X509 *leaf = X509_STORE_CTX_get0_cert(store);

	(void)arg;
	if (leaf != NULL && SSL_is_server(ssl) == 0) {
		int ok = verify(ssl, store);

		return ok == 1 && !server_is_named(ssl, store, leaf) ? 0 : ok;
	}
	if (leaf == NULL || i2d_X509(leaf, NULL) <= TICKET_CERTIFICATE_MAX)
		return verify_client(ssl, store);
	if (SSL_version(ssl) >= TLS1_3_VERSION && SSL_set_num_tickets(ssl, 0) == 1)
		return verify_client(ssl, store);
	ERR_raise_data(ERR_LIB_SSL, SSL_R_EXCESSIVE_MESSAGE_SIZE,
	               "a client's certificate of more than %d bytes can be used with TLS 1.3 only",
	               TICKET_CERTIFICATE_MAX);
	X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
	return 0;
}
